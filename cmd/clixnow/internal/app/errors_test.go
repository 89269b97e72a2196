package app_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
)

func TestCode(t *testing.T) {
	t.Parallel()
	answer := func(method string, status int, message string) *clixnow.APIError {
		return &clixnow.APIError{Brand: "acme", Method: method, Path: "/leads", StatusCode: status, Message: message}
	}
	const later = "; run the same command again later"
	const doctor = "; check the brand and its token with \"clixnow doctor\""
	unknownHost := &net.DNSError{Err: "no such host", Name: "integration.amce.clixnow.com", IsNotFound: true}
	for _, test := range []struct {
		name string
		err  error
		code int
		next string
	}{
		{"no error", nil, app.CodeDone, ""},
		{"usage", app.Usage("unknown brand"), app.CodeUsage, ""},
		{"an error of cobra", errors.New("unknown command"), app.CodeUsage, ""},
		{"an explicit code", app.WithCode(app.CodeDoubt, answer("POST", 401, "")), app.CodeDoubt, ""},
		{
			"duplicate", answer("POST", 400, "Duplicate lead"), app.CodeRefused,
			"; the brand has this email or phone already; if an earlier attempt may be yours, use --since",
		},
		{
			"country", answer("POST", 400, "Registration is not allowed for country XX"), app.CodeRefused,
			"; try another brand",
		},
		{"invalid", &clixnow.ValidationError{}, app.CodeRefused, "; fix that and run the command again"},
		{
			"words of the brand", answer("POST", 400, "Daily cap reached"), app.CodeLater,
			"; try again later, or try another brand",
		},
		{"search refused", answer("GET", 400, "What?"), app.CodeRefused, ""},
		{"lead not found", clixnow.ErrLeadNotFound, app.CodeRefused, ""},
		{"token", answer("GET", 401, ""), app.CodeAccess, doctor},
		{"forbidden", answer("POST", 403, ""), app.CodeAccess, doctor},
		{
			"unknown path", answer("POST", 404, "Not found."), app.CodeAccess,
			"; check base_url: the host has no API at this path",
		},
		{
			"unknown path of a search", answer("GET", 404, "404 page not found"), app.CodeAccess,
			"; check base_url: the host has no API at this path",
		},
		{
			"404 about the lead", &clixnow.APIError{
				Method: "POST", StatusCode: 404, Message: "Campaign not found",
				Header: http.Header{"Content-Type": {"application/json"}},
			}, app.CodeLater, "; try again later, or try another brand",
		},
		{"redirect", answer("GET", 302, ""), app.CodeAccess, doctor},
		{
			"mistyped brand", fmt.Errorf("%w: %w", clixnow.ErrNotSent, unknownHost), app.CodeAccess,
			doctor,
		},
		{
			"network down", fmt.Errorf("%w: %w", clixnow.ErrNotSent, io.ErrUnexpectedEOF), app.CodeLater,
			later,
		},
		{"too many requests", answer("POST", 429, ""), app.CodeLater, later},
		{"search failed", answer("GET", 503, ""), app.CodeLater, later},
		{"create failed", fmt.Errorf("%w: %w", clixnow.ErrOutcomeUnknown, answer("POST", 503, "")), app.CodeDoubt, ""},
		{"unstable", clixnow.ErrUnstableResults, app.CodeLater, later},
		{"interrupted", context.Canceled, app.CodeLater, later},
		{"timeout", context.DeadlineExceeded, app.CodeLater, later},
		{"connection lost", &net.OpError{Op: "read", Err: io.EOF}, app.CodeLater, later},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, test.code, app.Code(test.err))
			if test.err != nil {
				assert.Equal(t, app.Text(test.err)+test.next, app.Explain(test.err))
				assert.NotContains(t, app.Explain(test.err), "\n")
			}
		})
	}
}
