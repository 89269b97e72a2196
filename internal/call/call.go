// Package call makes one HTTP call: it sends a request, retries it if that is
// safe, and reports the facts of the last attempt. The facts are the response
// or the error, and whether the request could have reached the server. The
// package that uses it decides what the facts mean.
//
// These requests are retried:
//   - a GET after a lost connection, and after a status of [RetryableStatus];
//   - any other request if it provably did not reach the server, or if the
//     response was a 429.
//
// After a 401, any request is sent once more if there is a new token.
package call

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"
)

var (
	// ErrNotSent marks the error of a RoundTripper that refused a request
	// without sending it.
	ErrNotSent = errors.New("clixnow: the request was not sent")
	// ErrTooLarge is the Err of an Outcome whose 2xx body is larger than
	// Caller.MaxBytes.
	ErrTooLarge = errors.New("the body is larger than allowed")
)

// Caller makes calls. Its fields must not change once it is in use. It is then
// safe for concurrent use.
type Caller struct {
	// Transport sends each attempt. Redirects are not followed.
	Transport http.RoundTripper
	// Jar holds cookies. It may be nil.
	Jar http.CookieJar
	// Header returns the header of one attempt. It must return a new map each
	// time, because some RoundTrippers change it.
	Header func(method, token string) http.Header
	// Timeout is the time limit of one attempt, including the body. 0 means no
	// limit.
	Timeout time.Duration
	// Wait is called before every attempt. It may be nil.
	Wait func(context.Context) error
	// Logger may be nil.
	Logger *slog.Logger
	// Attempts is the largest number of attempts.
	Attempts int
	// MinBackoff is the upper limit of the random wait before the second
	// attempt. The limit doubles with each attempt.
	MinBackoff time.Duration
	// MaxBackoff is the longest wait, also for a Retry-After.
	MaxBackoff time.Duration
	// MaxBytes is the largest size of a 2xx body.
	MaxBytes int64
	// Buffers holds values of type *bytes.Buffer.
	Buffers *sync.Pool
}

// Request is one request to send.
type Request struct {
	Method string
	URL    *url.URL
	// Query replaces the query of URL. "" means that of URL.
	Query string
	Body  []byte
	// Attempts is the largest number of attempts. 0 means that of the Caller.
	Attempts int
	// Token returns the token for the next attempt. It is called before every
	// attempt, and after a 401.
	Token func(context.Context) (string, error)
	// Read decodes the body of a 2xx. The body is valid until Read returns. An
	// error of Read is retried only if [Retryable] made it.
	Read func(body []byte) error
	// NoContent means that a 204 is a success for which Read is not called.
	NoContent bool
	// Mask hides secrets in a text for the log.
	Mask func(text string) string
	// Observe is called after each attempt. It may be nil.
	Observe func(*Outcome)
}

// Outcome holds the facts of the last attempt that began.
type Outcome struct {
	// Attempts is the number of attempts that began. It does not include the
	// attempt after a renewed token.
	Attempts int
	// Renewed reports that one more attempt was made, with a new token after a
	// 401.
	Renewed bool
	// Status is the status of the response. 0 means that there was no response.
	Status int
	// Header is the header of the response.
	Header http.Header
	// Body holds the first 64 KiB of a response that is not a 2xx or could not
	// be read.
	Body []byte
	// RetryAfter is how long the response asks to wait. 0 means that it does
	// not ask.
	RetryAfter time.Duration
	// Sent reports that the request could have been written to a connection.
	Sent bool
	// Err is why there was no response, or why a 2xx body could not be read.
	Err error
	// ConnectionLost reports that Err is a connection error: no response, or a
	// truncated body.
	ConnectionLost bool
	// Stopped is why no further attempt was made: the end of the context, or an
	// error of Wait or Token. It is nil if no attempt was left to make.
	Stopped error

	// took is the duration of the attempt.
	took time.Duration
}

// Failed reports whether the outcome is anything but a 2xx that was read.
func (o *Outcome) Failed() bool { return o.Err != nil || o.Status < 200 || o.Status > 299 }

// AllAttempts returns the number of all attempts, including the one after a
// renewed token.
func (o *Outcome) AllAttempts() int {
	if o.Renewed {
		return o.Attempts + 1
	}
	return o.Attempts
}

// Date returns the server's time of the response. It is the zero time if the
// response has no valid Date.
func (o *Outcome) Date() time.Time { return headerDate(o.Header) }

// Do makes the call.
func (c *Caller) Do(ctx context.Context, req *Request) Outcome {
	var last Outcome
	for {
		if err := c.send(ctx, req, &last); err != nil {
			last.Stopped = err
			return last
		}
		retry, wait := c.shouldRetry(ctx, req, &last)
		c.log(ctx, req, &last, retry, wait)
		if !retry {
			return last
		}
		if err := Pause(ctx, wait); err != nil {
			last.Stopped = err
			return last
		}
	}
}

// send makes one attempt and stores its outcome in last. After a 401 it makes
// one more attempt if there is a new token. A 401 means that the server did
// nothing, so this is safe for any request. The error says why an attempt could
// not begin.
func (c *Caller) send(ctx context.Context, req *Request, last *Outcome) error {
	if err := c.waitForLimiter(ctx); err != nil {
		return err
	}
	token, err := nextToken(ctx, req)
	if err != nil {
		return err
	}
	o := c.attempt(ctx, req, token)
	o.Attempts, o.Renewed = last.Attempts+1, last.Renewed
	*last = o
	if o.Status != http.StatusUnauthorized || o.Renewed || o.Stopped != nil {
		return nil //nolint:nilerr // last has the error
	}
	renewed, err := req.Token(ctx) // if it fails, the 401 stands
	if err == nil && renewed == token {
		return nil
	}
	if err := afterCallback(ctx, "token source", err); err != nil {
		return err
	}
	c.log(ctx, req, last, true, 0)
	if err := c.waitForLimiter(ctx); err != nil {
		return err
	}
	o = c.attempt(ctx, req, renewed)
	o.Attempts, o.Renewed = last.Attempts, true
	*last = o
	return nil
}

// log logs the last attempt. retry reports whether another attempt follows
// after wait.
func (c *Caller) log(ctx context.Context, req *Request, o *Outcome, retry bool, wait time.Duration) {
	level := slog.LevelDebug
	if retry {
		level = slog.LevelWarn
	}
	if c.Logger == nil || !c.Logger.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("method", req.Method), slog.String("path", req.URL.Path),
		slog.Int("attempt", o.AllAttempts()), slog.Duration("took", o.took),
	}
	if o.Status != 0 {
		attrs = append(attrs, slog.Int("status", o.Status))
	}
	if o.Err != nil {
		attrs = append(attrs, slog.String("error", req.Mask(o.Err.Error())), slog.Bool("sent", o.Sent))
	}
	if retry {
		attrs = append(attrs, slog.Duration("retry_in", wait))
	}
	c.Logger.LogAttrs(ctx, level, "clixnow: HTTP attempt", attrs...)
}
