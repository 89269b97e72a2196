package clixnow

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/clixnow/clixnow-go/internal/call"
	"github.com/clixnow/clixnow-go/internal/walk"
)

// The classes of a failed create. Every error of [Client.CreateLead],
// [Client.EnsureLead] and [Client.CreateLeads] matches exactly one of these
// four. [OutcomeOf] returns the class as a value.
var (
	// ErrOutcomeUnknown means that the lead may exist. The connection was lost
	// or the context ended when the request could already have been written, or
	// the response does not say what happened: any 5xx, a 303, 408, 460 or 499,
	// a status outside 200 to 599, or a 2xx that cannot be understood. Do not
	// send the request again. Pass it to Client.EnsureLeadSince, with the time
	// of the first attempt.
	ErrOutcomeUnknown = errors.New("clixnow: the outcome is unknown, the lead may exist")
	// ErrRefused means that nothing was created. It matches a *ValidationError,
	// and an *APIError with a 3xx except 303 or a 4xx except 408, 429, 460 and
	// 499. A refusal is not final: a brand that is full or closed refuses too,
	// and may take the same lead an hour later. ReasonOf says what to do.
	ErrRefused = errors.New("clixnow: refused")
	// ErrNotSent means that the request provably never reached the server. DNS,
	// dial, TLS handshake or proxy failed, the rate limiter refused, or the
	// context ended before there was a connection. Send the request again
	// later. A RoundTripper that refuses a request without sending it, such as
	// a circuit breaker, wraps ErrNotSent in its error.
	ErrNotSent = call.ErrNotSent
	// ErrRateLimited means that the API answered 429. Nothing was created. Send
	// the request again later, after APIError.RetryAfter. The client has
	// already retried, as the RetryPolicy allows.
	ErrRateLimited = errors.New("clixnow: too many requests")
)

// These errors say why a request was refused or how a call failed. Use
// [errors.Is]. For all of them except [ErrInvalidRequest], [ErrLeadNotFound],
// [ErrUnstableResults] and [ErrPassFailed], [errors.As] finds an [*APIError].
var (
	// ErrInvalidRequest means that the SDK refused the request before anything
	// was sent. The error is a *ValidationError, and also matches ErrRefused.
	ErrInvalidRequest = fmt.Errorf("%w: invalid request", ErrRefused)
	// ErrBadRequest matches a 400. APIError.Fields holds the server's texts by
	// field.
	ErrBadRequest = errors.New("clixnow: bad request")
	// ErrUnauthorized matches a 401: the token is missing or wrong. All further
	// requests would fail in this way.
	ErrUnauthorized = errors.New("clixnow: unauthorized")
	// ErrForbidden matches a 403: the token is not allowed to do this. Ask your
	// Clixnow manager.
	ErrForbidden = errors.New("clixnow: forbidden")
	// ErrUnsupportedMediaType matches a 415. A proxy may have changed the
	// Accept or Content-Type header.
	ErrUnsupportedMediaType = errors.New("clixnow: unsupported media type")
	// ErrServer matches any 5xx. An error of a create then also matches
	// ErrOutcomeUnknown.
	ErrServer = errors.New("clixnow: server error")
	// ErrRedirect matches any 3xx. Redirects are never followed, because they
	// would carry the lead and the token to another host. Check the brand or
	// the base URL. APIError.Header has the Location.
	ErrRedirect = errors.New("clixnow: redirect refused")
	// ErrDuplicateLead means that the email or phone is already registered. It
	// matches a 400, 409 or 422 whose message or field text contains "duplicate
	// lead", "already exist" or "already registered", ignoring case. If the
	// function of WithRefusals returns an error, that error decides instead.
	ErrDuplicateLead = errors.New("clixnow: duplicate lead")
	// ErrCountryNotAllowed means that the brand does not take leads of the
	// country. It matches a 400, 409 or 422 whose message or field text
	// contains "not allowed for country", ignoring case. If the function of
	// WithRefusals returns an error, that error decides instead.
	ErrCountryNotAllowed = errors.New("clixnow: country not allowed")
	// ErrNoCapacity means that the brand is full or closed for now. An
	// *APIError matches it only if the function of WithRefusals says so.
	ErrNoCapacity = errors.New("clixnow: no capacity")
	// ErrLeadNotFound means that the API shows no lead with this id to this
	// token.
	ErrLeadNotFound = errors.New("clixnow: lead not found")
	// ErrInvalidResponse means a 2xx that cannot be understood, or whose body
	// ended early. The *APIError has its status, its header and the beginning
	// of its body.
	ErrInvalidResponse = errors.New("clixnow: invalid response")
	// ErrResponseTooLarge means a body over the limit of WithMaxResponseBytes.
	// Request fewer leads per page. The error also matches ErrInvalidResponse.
	ErrResponseTooLarge = fmt.Errorf("%w: too large", ErrInvalidResponse)
	// ErrUnstableResults means that a search could not find its place again
	// among leads that move, or that the server's pages do not advance. The
	// leads that were yielded are correct. Start again, or use
	// Client.LeadChanges.
	ErrUnstableResults = walk.ErrUnstable
	// ErrPassFailed is yielded by Client.LeadChanges with a PollInterval. This
	// pass failed, and another one follows.
	ErrPassFailed = errors.New("clixnow: pass failed, another one follows")
)

// APIError is a response of the API that is not a success. It matches the
// sentinel errors by its StatusCode, Message and Fields, and by what the
// function of [WithRefusals] returned. So a literal in a mock matches like a
// real error. One exception: [ErrOutcomeUnknown] does not follow from the
// response alone, so a mock of a create adds it:
//
//	fmt.Errorf("%w: %w", ErrOutcomeUnknown, &APIError{StatusCode: 503})
//
// The token and the password of the request, if the server repeats them, are
// masked in Message and Fields, and URLs are cut to scheme and host. Error, fmt
// and slog also mask the email and the phone of the request. A literal, or an
// error that was unmarshalled, has no request and masks nothing.
//
// It marshals to JSON and unmarshals from it. The JSON has retryAfter in
// seconds. Header, Body and what the function of WithRefusals returned are not
// in the JSON.
type APIError struct {
	// StatusCode is the HTTP status.
	StatusCode int `json:"statusCode"`
	// Brand is the brand of the client. It is "" only in a literal.
	Brand string `json:"brand"`
	// Method is for example "POST". It is "" only in a literal.
	Method string `json:"method"`
	// Path is for example "/api/system/v1/leads", without the path of
	// WithBaseURL. It is "" only in a literal.
	Path string `json:"path"`
	// Message is the server's text. It is "" if the server gave no readable
	// text.
	Message string `json:"message"`
	// Fields holds the server's texts by field, under the wire names ("email").
	// It is nil if the server gave none.
	Fields map[string][]string `json:"fields"`
	// RequestID is the server's name of the request, from the body or from a
	// header. It is "" if the server gave none.
	RequestID string `json:"requestId"`
	// RetryAfter is the wait that the server asks for. It is 0 if the server
	// gave none.
	RetryAfter time.Duration `json:"-"`
	// Attempts is the number of attempts that were made. It is 0 only in a
	// literal.
	Attempts int `json:"attempts"`
	// Header is the header of the response. It is nil if the error is not of a
	// call, or was unmarshalled.
	Header http.Header `json:"-"`
	// Body is the first 64 KiB of the body, unchanged, whatever its type. It is
	// empty if there was no body, or the error was unmarshalled.
	Body []byte `json:"-"`

	// duplicate and country report that the words were found before Message and
	// Fields were masked. The mask may hide the words.
	duplicate, country bool
	// refusal is what the function of WithRefusals returned. It may be nil.
	refusal error
	// mask hides lead data in texts for logs. It is a closure, so that fmt
	// cannot print the lead data. It is nil in a literal.
	mask func(text string) string
}

// Error returns a text of one line. Behind the prefix "clixnow: acme: " it is
// for example
//
//	POST /api/system/v1/leads: 400 Bad Request: Duplicate lead [request 4bf9]
func (e *APIError) Error() string { return errorPrefix(e.Brand) + e.describe() }

// describe returns the text of Error without its prefix.
func (e *APIError) describe() string {
	var b strings.Builder
	if e.Method+e.Path != "" {
		b.WriteString(strings.TrimSpace(e.Method+" "+e.Path) + ": ")
	}
	b.WriteString(strings.TrimSpace(strconv.Itoa(e.StatusCode) + " " + http.StatusText(e.StatusCode)))
	if e.Message != "" {
		b.WriteString(": " + e.forLog(e.Message))
	}
	if len(e.Fields) > 0 {
		faults := make([]string, 0, len(e.Fields))
		for _, name := range slices.Sorted(maps.Keys(e.Fields)) {
			faults = append(faults, e.forLog(name+": "+strings.Join(e.Fields[name], ", ")))
		}
		fmt.Fprintf(&b, " (%s)", oneLine(strings.Join(faults, "; "), maxTexts))
	}
	if e.Attempts > 1 {
		fmt.Fprintf(&b, " after %d attempts", e.Attempts)
	}
	if e.RetryAfter > 0 {
		fmt.Fprintf(&b, ", retry after %v", e.RetryAfter)
	}
	if e.RequestID != "" {
		fmt.Fprintf(&b, " [request %s]", e.forLog(e.RequestID))
	}
	return b.String()
}

// forLog returns a text of the server in the form in which Error shows it.
func (e *APIError) forLog(text string) string {
	if e.mask != nil {
		text = e.mask(text)
	}
	return oneLine(text, maxText)
}

// These are the longest parts of an error text, in bytes.
const (
	maxText  = 500
	maxTexts = 2000
)

// oneLine makes one line of bounded length of a text, so that it cannot break
// or fill a log.
func oneLine(text string, maxBytes int) string {
	text = strings.Join(strings.FieldsFunc(text,
		func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	if len(text) > maxBytes {
		text = text[:maxBytes] + "…"
	}
	return strings.ToValidUTF8(text, "")
}

// Is reports whether the error matches a sentinel error of this package, or an
// error that the function of [WithRefusals] returned for it.
func (e *APIError) Is(target error) bool {
	switch target {
	case ErrOutcomeUnknown, ErrNotSent:
		return false
	case ErrRefused:
		return refuses(e.StatusCode)
	case ErrRateLimited:
		return e.StatusCode == http.StatusTooManyRequests
	}
	return e.statusIs(target) || e.reasonIs(target)
}

func (e *APIError) statusIs(target error) bool {
	switch target {
	case ErrBadRequest: //nolint:errorlint // Is compares with the sentinels themselves
		return e.StatusCode == http.StatusBadRequest
	case ErrUnauthorized:
		return e.StatusCode == http.StatusUnauthorized
	case ErrForbidden:
		return e.StatusCode == http.StatusForbidden
	case ErrUnsupportedMediaType:
		return e.StatusCode == http.StatusUnsupportedMediaType
	case ErrServer:
		return e.StatusCode >= 500 && e.StatusCode <= 599
	case ErrRedirect:
		return e.StatusCode >= 300 && e.StatusCode <= 399
	case errFieldTexts:
		return e.refusesLead() && len(e.Fields) > 0
	case errNoAccess:
		return e.refusesAccess()
	}
	return false
}

// reasonIs reports whether the response gives the reason target. If the
// function of WithRefusals returned an error, that error decides. Otherwise the
// words below decide. The comments of the sentinel errors list the same words.
func (e *APIError) reasonIs(target error) bool {
	if e.refusal != nil {
		return errors.Is(e.refusal, target)
	}
	switch target {
	case ErrDuplicateLead: //nolint:errorlint // Is compares with the sentinels themselves
		return e.refusesLead() && (e.duplicate || e.says("duplicate lead", "already exist", "already registered"))
	case ErrCountryNotAllowed:
		return e.refusesLead() && (e.country || e.says("not allowed for country"))
	}
	return false
}

// errReadByCaller is the refusal of an APIError that the function of
// WithRefusals was called with and returned an error for. It matches nothing.
var errReadByCaller = errors.New("clixnow: the function of WithRefusals returned an error")

// setRefusal sets the refusal to what the function of WithRefusals returns. The
// function is called with a copy, because it may return its argument or an
// error that wraps it, and then Is would call itself without end.
func (e *APIError) setRefusal(read func(*APIError) error) {
	shown := *e
	if e.refusal = read(&shown); e.refusal != nil {
		shown.refusal = errReadByCaller
	}
}

// refuses reports whether a status means that nothing was created. A 303 to a
// create means "done, see there". The server or a proxy sends 408, 460 or 499
// if a connection ends, perhaps after the lead was created. A 429 is
// ErrRateLimited.
func refuses(status int) bool {
	const loadBalancerClientClosed, nginxClientClosed = 460, 499
	switch status {
	case http.StatusSeeOther, http.StatusRequestTimeout, http.StatusTooManyRequests,
		loadBalancerClientClosed, nginxClientClosed:
		return false
	}
	return status >= 300 && status <= 499
}

// refusesLead reports whether the status can be about the lead itself.
func (e *APIError) refusesLead() bool {
	switch e.StatusCode {
	case http.StatusBadRequest, http.StatusConflict, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// refusesAccess reports whether the host or a proxy is at fault, and no
// sentinel error matches the status. A 404, 405 or 410 counts if its message is
// only the text of the status.
func (e *APIError) refusesAccess() bool {
	switch e.StatusCode {
	case http.StatusProxyAuthRequired, http.StatusMisdirectedRequest:
		return true
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone:
		message := strings.TrimSpace(e.Message)
		return message == "" || strings.EqualFold(message, http.StatusText(e.StatusCode))
	}
	return false
}

// says reports whether the message or the text of a field contains one of the
// phrases.
func (e *APIError) says(phrases ...string) bool {
	texts := append(slices.Concat(slices.Collect(maps.Values(e.Fields))...), e.Message)
	return slices.ContainsFunc(texts, func(text string) bool {
		text = strings.ToLower(text)
		return slices.ContainsFunc(phrases, func(phrase string) bool { return strings.Contains(text, phrase) })
	})
}

// ValidationError holds all faults that the SDK found in a request. Nothing was
// sent.
type ValidationError struct {
	// Fields holds the faults. It is empty only in a literal.
	Fields []FieldError `json:"fields"`
}

// FieldError is one fault of a request.
type FieldError struct {
	// Field is the wire name of the field, such as "countryCode". It is "" only
	// in a literal.
	Field string `json:"field"`
	// Code names the problem for programs, and for texts in other languages. It
	// is "" only in a literal.
	Code ProblemCode `json:"code"`
	// Problem is a text such as "must be two letters". It is "" only in a
	// literal.
	Problem string `json:"problem"`
}

// ProblemCode names a problem of a field.
type ProblemCode string

// The problems of fields.
const (
	// ProblemMissing means that a mandatory value is missing.
	ProblemMissing ProblemCode = "missing"
	// ProblemEmail means that the value is not one bare address.
	ProblemEmail ProblemCode = "email"
	// ProblemPasswordLength means that the password is too short.
	ProblemPasswordLength ProblemCode = "password_length"
	// ProblemPasswordSpecial means that the password has only letters and
	// digits.
	ProblemPasswordSpecial ProblemCode = "password_special"
	// ProblemTwoLetters means that the value is not two ASCII letters.
	ProblemTwoLetters ProblemCode = "two_letters"
	// ProblemURL means that the value is not an absolute http or https URL.
	ProblemURL ProblemCode = "url"
	// ProblemTooLong means that the value has too many characters.
	ProblemTooLong ProblemCode = "too_long"
	// ProblemUTF8 means that the value is not valid UTF-8.
	ProblemUTF8 ProblemCode = "utf8"
	// ProblemNotEncodable means a value of Extra that JSON cannot hold.
	ProblemNotEncodable ProblemCode = "not_encodable"
	// ProblemReserved means a key of Extra that is one of the SDK's names.
	ProblemReserved ProblemCode = "reserved"
	// ProblemOutOfRange means a number or a date that is not allowed.
	ProblemOutOfRange ProblemCode = "out_of_range"
	// ProblemUnknownValue means an OrderBy that is not one of the constants.
	ProblemUnknownValue ProblemCode = "unknown_value"
)

// Error names each field at fault and the problem. It contains no value.
func (e *ValidationError) Error() string {
	faults := make([]string, len(e.Fields))
	for i, fault := range e.Fields {
		faults[i] = fault.Field + ": " + fault.Problem
	}
	return "clixnow: invalid request: " + oneLine(strings.Join(faults, "; "), maxTexts)
}

// Is returns true for [ErrInvalidRequest] and [ErrRefused].
func (e *ValidationError) Is(target error) bool {
	return target == ErrInvalidRequest || target == ErrRefused
}

// invalid returns a *ValidationError with the faults, or nil if there are none.
func invalid(faults []FieldError) error {
	if len(faults) == 0 {
		return nil
	}
	return &ValidationError{Fields: faults}
}
