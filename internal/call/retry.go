package call

import (
	"cmp"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// This file decides whether a request is sent again, and after which wait. The
// rule is isRetryable. The one attempt that may follow a 401 is in Caller.send.

// maxRetryAfter bounds a Retry-After. Some servers send nonsense there, such as
// the time in epoch seconds.
const maxRetryAfter = 24 * time.Hour

// shouldRetry reports whether another attempt follows, and after which wait. If
// only the context prevents it, shouldRetry sets Stopped. It does not retry if
// Retry-After asks for more than MaxBackoff: an error now is better than a
// caller that hangs.
func (c *Caller) shouldRetry(ctx context.Context, req *Request, o *Outcome) (retry bool, wait time.Duration) {
	if o.Attempts >= cmp.Or(req.Attempts, c.Attempts) || !o.isRetryable(req.Method) {
		return false, 0
	}
	if o.ConnectionLost && ctx.Err() != nil {
		return false, 0 // Err says already that the context ended
	}
	wait = cmp.Or(o.RetryAfter, c.backoff(o.Attempts))
	if wait > c.MaxBackoff {
		return false, 0
	}
	o.Stopped = checkDeadline(ctx, wait)
	return o.Stopped == nil, wait
}

// isRetryable reports whether a request of this method is retried after the
// outcome.
func (o *Outcome) isRetryable(method string) bool {
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

// Retryable reports whether a GET would be retried after the outcome.
func (o *Outcome) Retryable() bool { return o.Failed() && o.isRetryable(http.MethodGet) }

// RetryableStatus reports whether a GET is retried after the status. 520 to 524
// are the statuses of Cloudflare for an origin that is down or slow.
func RetryableStatus(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, 520, 521, 522, 523, 524:
		return true
	}
	return false
}

// retryableError is the error of a Read after which a GET is retried.
type retryableError struct{ error }

func (e *retryableError) Unwrap() error { return e.error }

// Retryable marks the error of a Read, so that a GET is retried after it.
func Retryable(err error) error { return &retryableError{err} }

func isMarkedRetryable(err error) bool {
	if err == nil {
		return false
	}
	var marked *retryableError
	return errors.As(err, &marked)
}

// backoff returns a random wait below an exponentially growing limit ("full
// jitter"), so that clients that failed together do not retry together.
func (c *Caller) backoff(attempts int) time.Duration {
	limit := c.MinBackoff
	for range attempts - 1 {
		if limit *= 2; limit >= c.MaxBackoff || limit <= 0 {
			limit = c.MaxBackoff
			break
		}
	}
	return rand.N(max(min(limit, c.MaxBackoff), 1)) //nolint:gosec // spreads load; there is nothing to guess
}

// retryAfter reads Retry-After: seconds, which may have a fraction and are
// rounded up, or a date. A date counts from the Date of the same response, so
// that the clock of this machine does not matter.
func retryAfter(header http.Header) time.Duration {
	text := strings.TrimSpace(header.Get("Retry-After"))
	if text == "" {
		return 0
	}
	if strings.Trim(text, "+-.0123456789") == "" {
		seconds, _ := strconv.ParseFloat(text, 64) // 0 for no number, infinity for one that is too large
		seconds = min(math.Ceil(seconds), maxRetryAfter.Seconds())
		return time.Duration(max(seconds, 0)) * time.Second
	}
	date, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	now := headerDate(header)
	if now.IsZero() {
		now = time.Now()
	}
	return min(max(date.Sub(now), 0), maxRetryAfter)
}

// headerDate returns the Date of a header, or the zero time.
func headerDate(header http.Header) time.Time {
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return date
}
