package clixnow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/clixnow/clixnow-go/internal/call"
	"github.com/clixnow/clixnow-go/internal/wire"
)

// request is one request to the API.
type request struct {
	method, path string
	query        url.Values
	body         []byte
	// attempts is the largest number of attempts. 0 means that of the retry
	// policy.
	attempts int
	// read decodes the body of a 2xx. It must not keep the body.
	read func(body []byte) error
	// noContent means that a 204 is a success for which read is not called.
	noContent bool
	// mask hides what the server repeats of the request. A nil mask hides only
	// the token.
	mask *textMask
}

// send is the only path on which requests are sent. If the request is a POST,
// the error is of one of the four classes.
func (c *Client) send(ctx context.Context, r *request) (call.Outcome, error) {
	if r.mask == nil {
		r.mask = c.newMask(nil)
	}
	if ctx == nil {
		o := call.Outcome{Stopped: errNilContext}
		return o, c.failure(r, &o)
	}
	target := *c.urls[r.path]
	target.RawQuery = r.query.Encode()
	o := c.caller.Do(ctx, &call.Request{
		Method: r.method, URL: &target, Body: r.body, Attempts: r.attempts, Read: r.read,
		NoContent: r.noContent, Mask: r.mask.forLogs,
	})
	return o, c.failure(r, &o)
}

var errNilContext = errors.New("nil context")

// callError is any failure that an APIError alone cannot describe. It matches
// its class and none of the other three classes, whatever its cause matches: an
// unknown outcome stays unknown if a later attempt was refused.
type callError struct {
	brand string
	// class is one of the four classes of errors. It is nil for a failed read.
	class error
	// detail is the text after the brand and the class.
	detail string
	cause  error
	// retryable reports that a GET would be retried after this failure.
	retryable bool
}

func (e *callError) Error() string { return errorPrefix(e.brand) + classPrefix(e.class) + e.detail }

func (e *callError) Is(target error) bool {
	switch target {
	case ErrOutcomeUnknown, ErrRefused, ErrNotSent, ErrRateLimited:
		return target == e.class
	}
	return errors.Is(e.cause, target)
}

func (e *callError) As(target any) bool { return errors.As(e.cause, target) }

// Format prints what Error returns for every verb. Without it, verbs such as %d
// and %#v would print the cause.
func (e *callError) Format(state fmt.State, verb rune) { formatError(e, state, verb) }

// errorPrefix returns the beginning of an error text. The brand may be "".
func errorPrefix(brand string) string {
	if brand == "" {
		return "clixnow: "
	}
	return "clixnow: " + brand + ": "
}

// classPrefix returns the words for a class with which an error text begins.
func classPrefix(class error) string {
	switch class {
	case ErrOutcomeUnknown: //nolint:errorlint // a class is one of four values
		return "outcome unknown, the lead may exist: "
	case ErrNotSent:
		return "not sent: "
	}
	return ""
}

// errorDetail returns the text of an error of this package without its prefix.
func errorDetail(err error) string {
	switch e := err.(type) { //nolint:errorlint // the texts of wrapping errors are kept whole
	case *callError:
		return e.detail
	case *APIError:
		return e.describe()
	}
	return err.Error()
}

// wrap says what was being done when err happened.
func (c *Client) wrap(doing string, err error) error {
	return fmt.Errorf("%s%s: %w", errorPrefix(c.brand), doing, err)
}

// notSent returns the error of a call that ended before its first attempt.
func (c *Client) notSent(doing string, cause error) error {
	return &callError{
		brand: c.brand, class: ErrNotSent, detail: fmt.Sprintf("%s: %v", doing, cause), cause: cause,
	}
}

// isRetryable reports whether err is one that a GET would be retried after.
func isRetryable(err error) bool {
	var (
		failed *callError
		answer *APIError
	)
	if errors.As(err, &failed) {
		return failed.retryable
	}
	return errors.As(err, &answer) && call.RetryableStatus(answer.StatusCode)
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
func (c *Client) failure(r *request, o *call.Outcome) error {
	if o.Attempts > 0 && !o.Failed() {
		return nil
	}
	class := readClass(o)
	if r.method == http.MethodPost {
		class = createClass(o)
	}
	e := &callError{brand: c.brand, class: class, detail: r.method + " " + r.path + ": ", retryable: o.Retryable()}
	// an attempt without an error was answered, if only by a status of 0
	if o.Status != 0 || o.Attempts > 0 && o.Err == nil {
		answer := c.apiError(r, o)
		if o.Err == nil && o.Stopped == nil && (class == nil || answer.Is(class)) {
			return answer
		}
		e.detail, e.cause = answer.describe(), answer
	} else if o.Err != nil {
		e.detail += r.mask.forLogs(o.Err.Error())
		if o.Attempts > 1 {
			e.detail += fmt.Sprintf(" after %d attempts", o.Attempts)
		}
		e.cause = o.Err
	}
	if o.Status != 0 && o.Err != nil {
		kind := ErrInvalidResponse
		if errors.Is(o.Err, call.ErrTooLarge) {
			kind = ErrResponseTooLarge
		}
		e.detail += ": invalid response: " + r.mask.forLogs(o.Err.Error())
		e.cause = errors.Join(kind, e.cause, o.Err)
	}
	if o.Stopped != nil {
		if o.Attempts > 0 {
			e.detail += "; then "
		}
		e.detail += r.mask.forLogs(o.Stopped.Error())
		e.cause = errors.Join(e.cause, o.Stopped)
	}
	return e
}

// apiError is the answer of a call as an error, its secrets masked.
func (c *Client) apiError(r *request, o *call.Outcome) *APIError {
	problem := readProblem(o)
	e := &APIError{
		StatusCode: o.Status, Brand: c.brand, Method: r.method, Path: r.path, Message: problem.Message, Fields: problem.Fields,
		RequestID:  cmp.Or(problem.TraceID, requestID(o.Header)),
		RetryAfter: o.RetryAfter, Attempts: o.Attempts, Header: o.Header, Body: o.Body,
	}
	r.mask.mask(e)
	return e
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
