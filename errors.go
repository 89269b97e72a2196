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
// four. Ask for them in this order, and before any reason below: an outcome
// that is unknown may come with a duplicate or a 401 of a later attempt.
var (
	// ErrOutcomeUnknown: the lead may exist or not. The connection was lost or
	// the context ended once the request could have been written, or the server
	// answered with a 5xx, a 303 or a 2xx that cannot be understood. Do not
	// create it again: hand it to Client.EnsureLeadSince, with the time before
	// the first try, which finds out.
	ErrOutcomeUnknown = errors.New("clixnow: the outcome is unknown, the lead may exist")
	// ErrRefused: nothing was created, and the same request would be refused
	// again. A *ValidationError, or an *APIError with a 3xx other than 303 or a
	// 4xx other than 429. Mend the request (or the token) first.
	ErrRefused = errors.New("clixnow: refused")
	// ErrNotSent: the request provably never reached the server: DNS, dial, TLS
	// handshake or proxy failed, your RateLimiter refused, or the context ended
	// before there was a connection. Send it again later. A RoundTripper of
	// yours that refuses a request without sending it, as a circuit breaker
	// does, says so by wrapping ErrNotSent in its error.
	ErrNotSent = call.ErrNotSent
	// ErrRateLimited: the API answered 429, nothing was created. Send it again
	// later, after APIError.RetryAfter where it is given. A Retry-After within
	// MaxBackoff was waited out before, MaxAttempts times.
	ErrRateLimited = errors.New("clixnow: too many requests")
)

// What was refused, or how a call failed; errors.Is tells. Except for
// [ErrInvalidRequest], [ErrLeadNotFound] and [ErrUnstableResults] an
// [*APIError] is then within reach of errors.As.
var (
	// ErrInvalidRequest: the SDK refused the request before anything was sent;
	// see ValidationError. Also ErrRefused.
	ErrInvalidRequest = fmt.Errorf("%w: invalid request", ErrRefused)
	// ErrBadRequest: 400. The API found fault with the request; APIError.Fields
	// names the fields.
	ErrBadRequest = errors.New("clixnow: bad request")
	// ErrUnauthorized: 401. The token is missing or wrong. Every further
	// request will be refused like this one.
	ErrUnauthorized = errors.New("clixnow: unauthorized")
	// ErrForbidden: 403. The token may not do this. Ask your Clixnow manager.
	ErrForbidden = errors.New("clixnow: forbidden")
	// ErrUnsupportedMediaType: 415. Something between here and the API changed
	// the Accept or Content-Type header.
	ErrUnsupportedMediaType = errors.New("clixnow: unsupported media type")
	// ErrServer: any 5xx. A search was retried before this was returned; a
	// create is also ErrOutcomeUnknown.
	ErrServer = errors.New("clixnow: server error")
	// ErrRedirect: any 3xx. Redirects are never followed, since they would
	// carry lead and token elsewhere. Check the brand, or the base URL:
	// APIError.Header has the Location.
	ErrRedirect = errors.New("clixnow: redirect refused")
	// ErrDuplicateLead: the email or phone is registered already: a 400, 409 or
	// 422 whose message, or the text of a field, contains "duplicate lead",
	// "already exist" or "already registered", in any case. A brand that words
	// it otherwise leaves ErrBadRequest; see APIError.Message.
	ErrDuplicateLead = errors.New("clixnow: duplicate lead")
	// ErrCountryNotAllowed: the brand does not take leads of the country: a
	// 400, 409 or 422 whose message, or the text of a field, contains "not
	// allowed for country", in any case.
	ErrCountryNotAllowed = errors.New("clixnow: country not allowed")
	// ErrLeadNotFound: the API shows no lead of this id to this token.
	ErrLeadNotFound = errors.New("clixnow: lead not found")
	// ErrInvalidResponse: a 2xx that cannot be understood or was cut. The
	// *APIError has its status, header and the beginning of its body.
	ErrInvalidResponse = errors.New("clixnow: invalid response")
	// ErrResponseTooLarge: a 2xx body beyond WithMaxResponseBytes. Ask for
	// fewer leads a page. Also ErrInvalidResponse.
	ErrResponseTooLarge = fmt.Errorf("%w: too large", ErrInvalidResponse)
	// ErrUnstableResults: a search could not find its place again among leads
	// that move, or the server's pages do not advance. What was yielded is
	// sound; range again, or use Client.LeadChanges.
	ErrUnstableResults = walk.ErrUnstable
)

// APIError is an answer of the API that is no success. It matches the sentinel
// errors by StatusCode, Message and Fields alone, so that a literal in a mock
// matches like a real one; but [ErrOutcomeUnknown] is not of the answer alone,
// so a mock of a create adds it: fmt.Errorf("%w: %w", ErrOutcomeUnknown,
// &APIError{StatusCode: 503}). Printed by fmt or logged by slog it shows what
// Error says.
type APIError struct {
	StatusCode int // of HTTP
	// Brand is the brand of the client.
	Brand      string
	Method     string              // "POST"
	Path       string              // "/api/system/v1/leads", without the path of WithBaseURL
	Message    string              // the server's text; "" when it gave none that is readable
	Fields     map[string][]string // the server's texts by field, under the wire names ("email"); nil when none
	RequestID  string              // the server's name of the request, from the body or a header; "" when none
	RetryAfter time.Duration       // how long the server asks to wait; 0 = not given
	Attempts   int                 // that were made in all
	Header     http.Header         `json:"-"` // of the answer
	Body       []byte              `json:"-"` // its first 64 KiB, whatever its type, as it was sent

	// Read off before secrets are masked in Message and Fields, which may take
	// the words away.
	duplicate, country bool
	// refusal is what the function of WithRefusals returned. It may be nil.
	refusal error
}

// Error reads like
//
//	clixnow: POST /api/system/v1/leads: 400 Bad Request: Duplicate lead (email: already registered) [request 00-4bf9]
func (e *APIError) Error() string { return errorPrefix(e.Brand) + e.describe() }

func (e *APIError) describe() string {
	var b strings.Builder
	if e.Method+e.Path != "" { // a literal may have neither
		b.WriteString(strings.TrimSpace(e.Method+" "+e.Path) + ": ")
	}
	b.WriteString(strings.TrimSpace(strconv.Itoa(e.StatusCode) + " " + http.StatusText(e.StatusCode)))
	if e.Message != "" {
		b.WriteString(": " + oneLine(e.Message))
	}
	if len(e.Fields) > 0 {
		faults := make([]string, 0, len(e.Fields))
		for _, name := range slices.Sorted(maps.Keys(e.Fields)) {
			faults = append(faults, oneLine(name+": "+strings.Join(e.Fields[name], ", ")))
		}
		fmt.Fprintf(&b, " (%s)", strings.Join(faults, "; "))
	}
	if e.Attempts > 1 {
		fmt.Fprintf(&b, " after %d attempts", e.Attempts)
	}
	if e.RetryAfter > 0 {
		fmt.Fprintf(&b, ", retry after %v", e.RetryAfter)
	}
	if e.RequestID != "" {
		fmt.Fprintf(&b, " [request %s]", oneLine(e.RequestID))
	}
	return b.String()
}

// oneLine keeps a server's text from breaking the lines of a log, or filling
// it.
func oneLine(text string) string {
	const most = 500
	text = strings.Join(strings.FieldsFunc(text,
		func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// Is reports whether the error is one of the sentinel errors of this package.
func (e *APIError) Is(target error) bool {
	switch target {
	case ErrRefused:
		return refuses(e.StatusCode)
	case ErrRateLimited:
		return e.StatusCode == http.StatusTooManyRequests
	case ErrBadRequest:
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
	case ErrDuplicateLead:
		return e.judgesLead() && (e.duplicate || e.says("duplicate lead", "already exist", "already registered"))
	case ErrCountryNotAllowed:
		return e.judgesLead() && (e.country || e.says("not allowed for country"))
	}
	return false
}

// refuses reports whether a status says that nothing was created and that the
// same request would be refused again. A 303 to a create means "done, see
// there"; a 429 passes.
func refuses(status int) bool {
	return status >= 300 && status <= 499 && status != http.StatusSeeOther && status != http.StatusTooManyRequests
}

func (e *APIError) judgesLead() bool {
	switch e.StatusCode {
	case http.StatusBadRequest, http.StatusConflict, http.StatusUnprocessableEntity:
		return true
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

// ValidationError says what the SDK found wrong with a request, all of it at
// once. Nothing was sent.
type ValidationError struct {
	Fields []FieldError
}

// FieldError is one fault.
type FieldError struct {
	Field   string // its name on the wire: "countryCode"
	Problem string // "must be two letters"
}

// Error names every field and its fault, and no value.
func (e *ValidationError) Error() string {
	faults := make([]string, len(e.Fields))
	for i, fault := range e.Fields {
		faults[i] = fault.Field + ": " + fault.Problem
	}
	return "clixnow: invalid request: " + strings.Join(faults, "; ")
}

// Is reports true for [ErrInvalidRequest] and [ErrRefused].
func (e *ValidationError) Is(target error) bool {
	return target == ErrInvalidRequest || target == ErrRefused
}

// invalid is nil, as an error, where there are no faults.
func invalid(faults []FieldError) error {
	if len(faults) == 0 {
		return nil
	}
	return &ValidationError{Fields: faults}
}
