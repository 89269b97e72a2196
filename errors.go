package clixnow

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/clixnow/clixnow-go/internal/call"
	"github.com/clixnow/clixnow-go/internal/walk"
	"github.com/clixnow/clixnow-go/internal/wire"
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
	StatusCode int                 // of HTTP
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
}

// Error reads like
//
//	clixnow: POST /api/system/v1/leads: 400 Bad Request: Duplicate lead (email: already registered) [request 00-4bf9]
func (e *APIError) Error() string { return "clixnow: " + e.describe() }

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

// Format prints what Error says, whatever the verb: neither Body nor Header
// belongs into a log.
func (e APIError) Format(state fmt.State, verb rune) { formatError(&e, state, verb) }

// LogValue logs what Error says.
func (e APIError) LogValue() slog.Value { return slog.StringValue(e.Error()) }

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

// callError is a failure that is more, or less, than an answer of the API. It
// matches its class, and none of the other three whatever its cause would
// match: "unknown" stays unknown when what followed was refused.
type callError struct {
	class  error // one of the four; nil for a read that is none of them
	text   string
	cause  error
	passes bool // by what a GET is retried on
}

func (e *callError) Error() string { return e.text }

func (e *callError) Is(target error) bool {
	switch target {
	case ErrOutcomeUnknown, ErrRefused, ErrNotSent, ErrRateLimited:
		return target == e.class
	}
	return errors.Is(e.cause, target)
}

func (e *callError) As(target any) bool { return errors.As(e.cause, target) }

// Format keeps fmt from looking into the cause by a verb that asks no Error
// method, as %d and %#v.
func (e *callError) Format(state fmt.State, verb rune) { formatError(e, state, verb) }

func formatError(err error, state fmt.State, verb rune) {
	_, _ = fmt.Fprintf(state, fmt.FormatString(state, verb), err.Error())
}

// createClass decides what is known of a create from the facts of its last
// attempt; nil when the answer is a 2xx that was understood.
func createClass(o *call.Outcome) error {
	switch {
	case o.Attempts == 0, o.Status == 0 && !o.Sent:
		return ErrNotSent
	case o.Status == http.StatusTooManyRequests:
		return ErrRateLimited
	case refuses(o.Status):
		return ErrRefused
	case o.Failed():
		return ErrOutcomeUnknown
	}
	return nil
}

// readClass is createClass for a request that changes nothing: of its outcome
// there is no doubt.
func readClass(o *call.Outcome) error {
	if class := createClass(o); class != ErrOutcomeUnknown { //nolint:errorlint // it is one of four values
		return class
	}
	return nil
}

// failure is the error for a call that has no usable answer; nil when it has
// one.
func (r *request) failure(o *call.Outcome) error {
	if o.Attempts > 0 && !o.Failed() {
		return nil
	}
	class := readClass(o)
	if r.method == http.MethodPost {
		class = createClass(o)
	}
	e := &callError{class: class, text: r.method + " " + r.path + ": ", passes: o.Transient()}
	// an attempt without an error was answered, if only by a status of 0
	if o.Status != 0 || o.Attempts > 0 && o.Err == nil {
		answer := r.apiError(o)
		if o.Err == nil && o.Stopped == nil && (class == nil || answer.Is(class)) {
			return answer
		}
		e.text, e.cause = answer.describe(), answer
	} else if o.Err != nil {
		e.text += r.mask(o.Err.Error())
		if o.Attempts > 1 {
			e.text += fmt.Sprintf(" after %d attempts", o.Attempts)
		}
		e.cause = o.Err
	}
	if o.Status != 0 && o.Err != nil {
		kind := ErrInvalidResponse
		if errors.Is(o.Err, call.ErrTooLarge) {
			kind = ErrResponseTooLarge
		}
		e.text += ": invalid response: " + r.mask(o.Err.Error())
		e.cause = errors.Join(kind, e.cause, o.Err)
	}
	if o.Stopped != nil {
		if o.Attempts > 0 {
			e.text += "; then "
		}
		e.text += r.mask(o.Stopped.Error())
		e.cause = errors.Join(e.cause, o.Stopped)
	}
	e.text = "clixnow: " + prefix(class) + e.text
	return e
}

// passes reports whether a request failed by what a GET is retried on: a later
// one may do.
func passes(err error) bool {
	var (
		failed *callError
		answer *APIError
	)
	if errors.As(err, &failed) {
		return failed.passes
	}
	return errors.As(err, &answer) && call.TransientStatus(answer.StatusCode)
}

// prefix begins the text of an error of a class with what the class says.
func prefix(class error) string {
	switch class {
	case ErrOutcomeUnknown: //nolint:errorlint // a class is one of four values
		return "outcome unknown, the lead may exist: "
	case ErrNotSent:
		return "not sent: "
	}
	return ""
}

// apiError is the answer of a call as an error, its secrets masked.
func (r *request) apiError(o *call.Outcome) *APIError {
	problem := readProblem(o)
	e := &APIError{
		StatusCode: o.Status, Method: r.method, Path: r.path, Message: problem.Message, Fields: problem.Fields,
		RequestID:  r.mask(cmp.Or(problem.TraceID, requestID(o.Header))),
		RetryAfter: o.RetryAfter, Attempts: o.Attempts, Header: o.Header, Body: o.Body,
	}
	e.duplicate, e.country = e.Is(ErrDuplicateLead), e.Is(ErrCountryNotAllowed)
	e.Message, e.Fields = r.mask(e.Message), r.maskFields(e.Fields)
	return e
}

func (r *request) maskFields(fields map[string][]string) map[string][]string {
	masked := maps.Clone(fields) // nil stays nil
	clear(masked)
	for name, texts := range fields {
		name = r.mask(name)
		if first, size := utf8.DecodeRuneInString(name); unicode.IsLower(first) { // its case may be wire's doing
			if asSent := string(unicode.ToUpper(first)) + name[size:]; r.mask(asSent) != asSent {
				name = r.mask(asSent)
			}
		}
		for _, text := range texts {
			masked[name] = append(masked[name], r.mask(text))
		}
	}
	return masked
}

// readProblem reads the body of an answer, whatever it is; HTML says nothing
// that is worth repeating. The texts of a 2xx are not told: they may be a
// create's answer that was cut, with its redirect URL.
func readProblem(o *call.Outcome) wire.Problem {
	problem, ok := wire.DecodeProblem(o.Body, fieldNames())
	if o.Status >= 200 && o.Status <= 299 {
		return wire.Problem{TraceID: problem.TraceID}
	}
	if !ok && strings.HasPrefix(strings.ToLower(o.Header.Get("Content-Type")), "text/plain") {
		problem.Message = strings.TrimSpace(strings.ToValidUTF8(string(o.Body), "\uFFFD"))
	}
	return problem
}

func requestID(header http.Header) string {
	for _, name := range []string{"X-Request-Id", "Request-Id", "X-Correlation-Id", "Cf-Ray"} {
		if id := header.Get(name); id != "" {
			return id
		}
	}
	return ""
}

// notSent is the error of a call that ended before its first attempt.
func notSent(doing string, cause error) error {
	return &callError{class: ErrNotSent, text: fmt.Sprintf("clixnow: %s: not sent: %v", doing, cause), cause: cause}
}
