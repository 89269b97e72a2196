package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/clixnow/clixnow-go"
)

// The exit codes of all commands, which rootHelp explains.
const (
	CodeDone = iota
	CodeRefused
	CodeUsage
	CodeLater
	CodeAccess
	CodeDoubt
)

// codedError is an error with an exit code.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// Usage returns an error with CodeUsage.
func Usage(format string, args ...any) error {
	return WithCode(CodeUsage, fmt.Errorf(format, args...))
}

// WithCode returns an error with an exit code. It returns nil if err is nil.
func WithCode(code int, err error) error {
	if err == nil {
		return nil
	}
	return &codedError{code, err}
}

// Code returns the exit code of an error. An error that has no code and is
// none of the API or the network has CodeUsage.
func Code(err error) int {
	var coded *codedError
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var hostname x509.HostnameError
	var network net.Error
	var api *clixnow.APIError
	reason := clixnow.ReasonOf(err)
	mayPass := reason == clixnow.ReasonNoCapacity || reason == clixnow.ReasonOther
	switch {
	case err == nil:
		return CodeDone
	case errors.As(err, &coded):
		return coded.code
	case errors.Is(err, clixnow.ErrOutcomeUnknown):
		return CodeDoubt
	case reason == clixnow.ReasonAccess, unknownPath(err), errors.As(err, &dns) && dns.IsNotFound,
		errors.As(err, &certificate), errors.As(err, &hostname):
		return CodeAccess
	case errors.As(err, &api) && api.Method == http.MethodPost && mayPass,
		errors.Is(err, clixnow.ErrNotSent), errors.Is(err, clixnow.ErrRateLimited),
		errors.Is(err, clixnow.ErrServer), errors.Is(err, clixnow.ErrUnstableResults),
		errors.Is(err, clixnow.ErrInvalidResponse), errors.Is(err, context.Canceled):
		return CodeLater
	case errors.Is(err, clixnow.ErrRefused), errors.Is(err, clixnow.ErrLeadNotFound):
		return CodeRefused
	case errors.As(err, &api), errors.As(err, &network):
		return CodeLater
	}
	return CodeUsage
}

// unknownPath reports whether a host has no API at the path of the request. A
// 404 about the lead has words of the brand.
func unknownPath(err error) bool {
	api, ok := errors.AsType[*clixnow.APIError](err)
	return ok && (api.StatusCode == http.StatusNotFound || api.StatusCode == http.StatusMethodNotAllowed) &&
		(strings.EqualFold(strings.Trim(api.Message, ". "), http.StatusText(api.StatusCode)) ||
			!strings.Contains(api.Header.Get("Content-Type"), "json"))
}

// Text returns the text of an error in one line, without names of the SDK.
func Text(err error) string {
	return strings.NewReplacer("\n", "; ", "new client: ", "", "WithBaseURL", "base URL", "needs WithInsecureHTTP",
		"would show the token to others: write https").Replace(strings.TrimPrefix(err.Error(), "clixnow: "))
}

// Explain returns the text of an error for the user, with the next step.
func Explain(err error) string {
	text := Text(err)
	if _, ok := errors.AsType[*codedError](err); ok {
		return text
	}
	switch code, reason := Code(err), clixnow.ReasonOf(err); {
	case code == CodeAccess && unknownPath(err):
		return text + "; check base_url: the host has no API at this path"
	case code == CodeAccess:
		return text + "; check the brand and its token with \"clixnow doctor\""
	case reason == clixnow.ReasonCountry:
		return text + "; try another brand"
	case code == CodeLater && reason != clixnow.ReasonNone:
		return text + "; try again later, or try another brand"
	case code == CodeLater:
		return text + "; run the same command again later"
	case reason == clixnow.ReasonDuplicate:
		return text + "; the brand has this email or phone already; if an earlier attempt may be yours, use --since"
	case reason == clixnow.ReasonInvalid:
		return text + "; fix that and run the command again"
	default:
		return text
	}
}
