package clixnow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/clixnow/clixnow-go/internal/call"
	"github.com/clixnow/clixnow-go/internal/wire"
)

// request is one request to the API.
type request struct {
	method, path string
	// query is the encoded query.
	query string
	body  []byte
	// attempts is the largest number of attempts. 0 means that of the retry
	// policy.
	attempts int
	// read decodes the body of a 2xx. It must not keep the body. It is not
	// called for a 204 to a GET, which is a success.
	read func(body []byte) error
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
	target := c.leadsURL
	if r.path == searchPath {
		target = c.searchURL
	}
	o := c.caller.Do(ctx, &call.Request{
		Method: r.method, URL: target, Query: r.query, Body: r.body, Attempts: r.attempts,
		Token: func(ctx context.Context) (string, error) { return c.nextToken(ctx, r.mask) },
		Read:  r.read, NoContent: r.method == http.MethodGet, Mask: r.mask.forLogs,
		Observe: c.observe,
	})
	return o, c.failure(r, &o)
}

// nextToken returns the token for the next attempt, and has it masked.
func (c *Client) nextToken(ctx context.Context, mask *textMask) (string, error) {
	token, err := c.source(ctx)
	if !slices.Contains(mask.tokens, token) {
		mask.tokens = append(mask.tokens, token)
	}
	if err != nil {
		return "", err
	}
	return token, checkToken(token)
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

// createClass returns the class of a create, from the facts of its last
// attempt. It returns nil for a 2xx that was understood.
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

// readClass is createClass for a search. A search changes nothing, so its
// outcome is never unknown.
func readClass(o *call.Outcome) error {
	if class := createClass(o); class != ErrOutcomeUnknown { //nolint:errorlint // a class is one of four values
		return class
	}
	return nil
}

// failure returns the error of a call. It returns nil for a 2xx that was read.
func (c *Client) failure(r *request, o *call.Outcome) error {
	if o.Attempts > 0 && !o.Failed() {
		return nil
	}
	class := readClass(o)
	if r.method == http.MethodPost {
		class = createClass(o)
	}
	e := &callError{brand: c.brand, class: class, retryable: o.Retryable()}
	switch {
	case o.Attempts == 0:
		e.detail, e.cause = r.stopped(o)
		return e
	case o.Err == nil:
		answer := c.apiError(r, o)
		if o.Stopped == nil && (class == nil || answer.Is(class)) {
			return answer
		}
		e.detail, e.cause = answer.describe(), answer
	case o.Status == 0:
		e.detail, e.cause = r.noResponse(o)
	default:
		e.detail, e.cause = c.unreadable(r, o)
	}
	if o.Stopped != nil {
		e.detail += "; then " + r.mask.forLogs(o.Stopped.Error())
		e.cause = errors.Join(e.cause, o.Stopped)
	}
	return e
}

// stopped describes a call whose first attempt could not begin.
func (r *request) stopped(o *call.Outcome) (detail string, cause error) {
	return fmt.Sprintf("%s %s: %s", r.method, r.path, r.mask.forLogs(o.Stopped.Error())), o.Stopped
}

// noResponse describes an attempt without a response.
func (r *request) noResponse(o *call.Outcome) (detail string, cause error) {
	detail = fmt.Sprintf("%s %s: %s", r.method, r.path, r.mask.forLogs(o.Err.Error()))
	if n := o.AllAttempts(); n > 1 {
		detail += fmt.Sprintf(" after %d attempts", n)
	}
	return detail, o.Err
}

// unreadable describes a 2xx that could not be read.
func (c *Client) unreadable(r *request, o *call.Outcome) (detail string, cause error) {
	kind := ErrInvalidResponse
	if errors.Is(o.Err, call.ErrTooLarge) {
		kind = ErrResponseTooLarge
	}
	answer := c.apiError(r, o)
	detail = answer.describe() + ": invalid response: " + r.mask.forLogs(o.Err.Error())
	return detail, errors.Join(kind, answer, o.Err)
}

// apiError returns the error for a response. Secrets are masked in it.
func (c *Client) apiError(r *request, o *call.Outcome) *APIError {
	problem := readProblem(o)
	e := &APIError{
		StatusCode: o.Status, Brand: c.brand, Method: r.method, Path: r.path,
		Message: problem.Message, Fields: problem.Fields,
		RequestID:  cmp.Or(problem.TraceID, requestID(o.Header)),
		RetryAfter: o.RetryAfter, Attempts: o.AllAttempts(), Header: o.Header, Body: o.Body,
	}
	r.mask.mask(e)
	if c.refusals != nil && r.method == http.MethodPost && refuses(o.Status) {
		e.setRefusal(c.refusals)
	}
	return e
}

// readProblem reads the body of an error response, whatever its form is. It
// takes no text from HTML, and none from a 2xx: that may be a truncated
// response to a create, with its redirect URL.
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
