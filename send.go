package clixnow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/clixnow/clixnow-go/internal/call"
	"github.com/clixnow/clixnow-go/internal/wire"
)

// request is one request to the API.
type request struct {
	method, path string
	query        url.Values
	body         []byte
	attempts     int                     // at most; 0 = those of the retry policy
	read         func(body []byte) error // of a 2xx; must not keep the body
	password     string                  // in the body: hidden where the server repeats it
	mask         func(text string) string
}

// send is the one path on which requests are sent. Its error is of one of the
// four classes if the request is a POST.
func (c *Client) send(ctx context.Context, r *request) (call.Outcome, error) {
	r.mask = func(text string) string { return c.mask(text, r.password) }
	if ctx == nil {
		o := call.Outcome{Stopped: errNilContext}
		return o, r.failure(&o)
	}
	target := *c.urls[r.path]
	target.RawQuery = r.query.Encode()
	o := c.caller.Do(ctx, &call.Request{
		Method: r.method, URL: &target, Body: r.body, Attempts: r.attempts, Read: r.read, Mask: r.mask,
	})
	return o, r.failure(&o)
}

var errNilContext = errors.New("nil context")

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
