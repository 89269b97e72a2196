// Package call makes one HTTP call as often as its rules allow and reports the
// facts of its last attempt: what was answered, what failed, and whether the
// request can have reached the server. What the facts mean is its caller's to
// say.
//
// Which attempts are made again: a GET after a failed connection and after the
// statuses of a passing trouble; any other method only when the request
// provably never reached the server, or was answered 429.
package call

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// ErrNotSent marks the error of a RoundTripper that refused a request without
// sending it.
var ErrNotSent = errors.New("clixnow: the request was not sent")

// Caller makes calls by one HTTP client under one policy. Its fields are not
// changed once it is in use; it is then safe for concurrent use.
type Caller struct {
	HTTP       *http.Client
	Header     func(method string) http.Header // a new map for each attempt: RoundTrippers change it
	Timeout    time.Duration                   // of each attempt, its body included; 0 = none
	Wait       func(context.Context) error     // waited on before every attempt; nil = not
	Logger     *slog.Logger                    // nil = silent
	Attempts   int                             // at most, in all
	MinBackoff time.Duration
	MaxBackoff time.Duration // also the longest Retry-After that is waited out
	MaxBytes   int64         // longest body of a 2xx
	Buffers    *sync.Pool    // of *bytes.Buffer
}

// Request is what is sent. Read is handed the body of a 2xx, which is valid
// until it returns.
type Request struct {
	Method   string
	URL      *url.URL
	Body     []byte
	Attempts int                      // at most; 0 = the Caller's
	Read     func(body []byte) error  // its error is not retried, unless it was made by Retryable
	// NoContent means that a 204 is a success for which Read is not called.
	NoContent bool
	Mask     func(text string) string // hides secrets in what is logged
}

// Outcome holds the facts of the last attempt that began.
type Outcome struct {
	Attempts   int           // that began
	Status     int           // 0 = no answer
	Header     http.Header   // of the answer
	Body       []byte        // of an answer that is an error or could not be read: the first 64 KiB
	RetryAfter time.Duration // that the answer asks for; 0 = none
	Sent       bool          // the request could have been written
	Err        error         // no answer came, or its 2xx body could not be read; nil otherwise
	ConnectionLost        bool          // Err is the connection's: no answer, or a body that ended early
	Stopped    error         // why an attempt that was due was not made: the context, or Wait
}

// Failed reports whether there is anything but a 2xx that was read.
func (o *Outcome) Failed() bool { return o.Err != nil || o.Status < 200 || o.Status > 299 }

// Date is the server's time when it answered; the zero time if it did not say.
func (o *Outcome) Date() time.Time {
	date, err := http.ParseTime(o.Header.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return date
}

// Do makes the call.
func (c *Caller) Do(ctx context.Context, req *Request) Outcome {
	limit := req.Attempts
	if limit == 0 {
		limit = c.Attempts
	}
	var last Outcome
	for {
		if err := c.admit(ctx); err != nil {
			last.Stopped = err
			return last
		}
		began := time.Now()
		next := c.attempt(ctx, req)
		next.Attempts = last.Attempts + 1
		last = next
		wait, due := last.next(req.Method, c.backoff(last.Attempts), c.MaxBackoff)
		// a context that cut an attempt is in its error
		due = due && last.Attempts < limit && (!last.ConnectionLost || ctx.Err() == nil)
		if due {
			last.Stopped = outlasts(ctx, wait)
			due = last.Stopped == nil
		}
		c.log(ctx, req, &last, time.Since(began), due, wait)
		if !due {
			return last
		}
		if last.Stopped = Pause(ctx, wait); last.Stopped != nil {
			return last
		}
	}
}

// admit lets the next attempt begin: the context lives, and the rate limiter
// agrees.
func (c *Caller) admit(ctx context.Context) error {
	if err := ended(ctx); err != nil || c.Wait == nil {
		return err
	}
	err := c.Wait(ctx)
	switch {
	case err == nil:
		return ended(ctx)
	case ctx.Err() != nil:
		return fmt.Errorf("%w: rate limiter: %w", ContextError(ctx), err)
	case exceedsDeadline(ctx, err):
		return fmt.Errorf("%w: rate limiter: %w", context.DeadlineExceeded, err)
	default:
		return fmt.Errorf("rate limiter: %w", err)
	}
}

// exceedsDeadline recognises a limiter that gave up early because of the
// deadline, as that of golang.org/x/time/rate does with an error of no type.
func exceedsDeadline(ctx context.Context, err error) bool {
	_, has := ctx.Deadline()
	return has && strings.Contains(err.Error(), "exceed") && strings.Contains(err.Error(), "deadline")
}

// next says whether another attempt is due by the rules of this package, and
// how long to wait before it. A Retry-After beyond longest is not waited out:
// better an answer now than a caller that hangs.
func (o *Outcome) next(method string, backoff, longest time.Duration) (wait time.Duration, due bool) {
	wait = max(backoff, 0)
	if o.RetryAfter > 0 {
		wait = o.RetryAfter
	}
	return wait, o.again(method) && wait <= longest
}

func (o *Outcome) again(method string) bool {
	switch {
	case o.Status == http.StatusTooManyRequests:
		return true
	case method != http.MethodGet:
		return o.Status == 0 && !o.Sent
	case o.ConnectionLost, isMarkedRetryable(o.Err):
		return true
	}
	return RetryableStatus(o.Status)
}

// RetryableStatus lists the statuses that a later attempt may well not meet:
// 520 to 524 are Cloudflare's words for the origin being down or slow.
func RetryableStatus(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, 520, 521, 522, 523, 524:
		return true
	}
	return false
}

// Retryable reports whether the call failed by what a GET is retried on.
func (o *Outcome) Retryable() bool { return o.Failed() && o.again(http.MethodGet) }

// backoff is a random part of an exponentially growing span ("full jitter"), so
// that clients that failed together do not come back together.
func (c *Caller) backoff(attempts int) time.Duration {
	span := c.MinBackoff
	for range attempts - 1 {
		if span *= 2; span >= c.MaxBackoff || span <= 0 {
			span = c.MaxBackoff
			break
		}
	}
	return rand.N(max(min(span, c.MaxBackoff), 1)) //nolint:gosec // spreads load; nothing to guess
}

// Pause waits, unless the context ends, or would end before the wait does: then
// it returns at once.
func Pause(ctx context.Context, wait time.Duration) error {
	if err := outlasts(ctx, wait); err != nil {
		return err
	}
	return Sleep(ctx, wait)
}

// Sleep waits, at most to the end of the context.
func Sleep(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ContextError(ctx)
	}
}

// outlasts is nil unless the context has ended, or will before the wait does.
func outlasts(ctx context.Context, wait time.Duration) error {
	if err := ended(ctx); err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait {
		return fmt.Errorf("a wait of %v would outlast the context: %w", wait.Round(time.Millisecond),
			context.DeadlineExceeded)
	}
	return nil
}

// ended is nil while the context lives. In a process that was stopped for a
// while its deadline may have passed unnoticed.
func ended(ctx context.Context) error {
	if ctx.Err() != nil {
		return ContextError(ctx)
	}
	if deadline, ok := ctx.Deadline(); ok && time.Now().After(deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// ContextError is ctx.Err() with the context's cause within reach.
func ContextError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == nil || errors.Is(err, cause) {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// retryableError marks an answer that was read, and is to be asked for again as
// after a failed connection.
type retryableError struct{ error }

func (e *retryableError) Unwrap() error { return e.error }

func isMarkedRetryable(err error) bool {
	var again *retryableError
	return errors.As(err, &again)
}

// Retryable makes the error of a Read one that a GET is retried on.
func Retryable(err error) error { return &retryableError{err} }

func (c *Caller) log(ctx context.Context, req *Request, o *Outcome, took time.Duration, again bool,
	wait time.Duration,
) {
	level := slog.LevelDebug
	if again {
		level = slog.LevelWarn
	}
	if c.Logger == nil || !c.Logger.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("method", req.Method), slog.String("path", req.URL.Path),
		slog.Int("attempt", o.Attempts), slog.Duration("took", took),
	}
	if o.Status != 0 {
		attrs = append(attrs, slog.Int("status", o.Status))
	}
	if o.Err != nil {
		attrs = append(attrs, slog.String("error", req.Mask(o.Err.Error())), slog.Bool("sent", o.Sent))
	}
	if again {
		attrs = append(attrs, slog.Duration("retry_in", wait))
	}
	c.Logger.LogAttrs(ctx, level, "clixnow: HTTP attempt", attrs...)
}
