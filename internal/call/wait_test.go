package call_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/internal/call"
)

// A wait does not begin if the context would end before it. The outcome of the
// last attempt is kept beside the error of the context.
func TestWaitEndsWithTheContext(t *testing.T) {
	t.Parallel()
	cause := errors.New("shutting down")
	inBubble(t, "deadline before the Retry-After", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		o, s := scripted(ctx, http.MethodPost, status(429, "Retry-After", "5"))
		require.ErrorIs(t, o.Stopped, context.DeadlineExceeded)
		assert.Equal(t, 429, o.Status)
		assert.Equal(t, 5*time.Second, o.RetryAfter)
		assert.Zero(t, time.Since(s.began[0]), "at once")
	})
	inBubble(t, "deadline after the Retry-After", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
		defer cancel()
		o, s := scripted(ctx, http.MethodPost, status(429, "Retry-After", "5"), status(201))
		require.NoError(t, o.Stopped)
		assert.Equal(t, 201, o.Status)
		assert.Equal(t, []time.Duration{5 * time.Second}, s.waits())
	})
	inBubble(t, "cancelled during the wait", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(2*time.Second, func() { cancel(cause) })
		o, s := scripted(ctx, http.MethodGet, status(503, "Retry-After", "5"))
		require.ErrorIs(t, o.Stopped, context.Canceled)
		require.ErrorIs(t, o.Stopped, cause)
		assert.Equal(t, 503, o.Status)
		assert.Equal(t, 1, o.Attempts)
		assert.Equal(t, 2*time.Second, time.Since(s.began[0]))
	})
	inBubble(t, "ended before the first attempt", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		o, s := scripted(ctx, http.MethodPost, status(201))
		require.ErrorIs(t, o.Stopped, context.Canceled)
		require.ErrorIs(t, o.Stopped, cause)
		assert.Zero(t, o.Attempts)
		assert.Empty(t, s.began)
	})
	inBubble(t, "during an attempt", func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Second, cause)
		defer cancel()
		o, s := scripted(ctx, http.MethodGet, connects(hangs))
		require.ErrorIs(t, o.Err, context.DeadlineExceeded)
		require.ErrorIs(t, o.Err, cause)
		require.NoError(t, o.Stopped, "Err has the error of the context already")
		assert.Len(t, s.began, 1)
		assert.Equal(t, 2*time.Second, time.Since(s.began[0]))
	})
	inBubble(t, "before there is a connection", func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Second, cause)
		defer cancel()
		o, s := scripted(ctx, http.MethodPost, asks(hangs))
		require.ErrorIs(t, o.Err, context.DeadlineExceeded)
		require.ErrorIs(t, o.Err, cause)
		assert.False(t, o.Sent)
		assert.Len(t, s.began, 1)
	})
	inBubble(t, "in the body of an error", func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Second, cause)
		defer cancel()
		o, s := scripted(ctx, http.MethodPost, answer(400, stalling))
		assert.Equal(t, 400, o.Status, "the response stands")
		require.ErrorIs(t, o.Stopped, context.DeadlineExceeded)
		require.ErrorIs(t, o.Stopped, cause)
		assert.Equal(t, 2*time.Second, time.Since(s.began[0]))
	})
	inBubble(t, "in the body of a success", func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Second, cause)
		defer cancel()
		o, _ := scripted(ctx, http.MethodGet, answer(200, stalling))
		assert.True(t, o.ConnectionLost)
		require.ErrorIs(t, o.Err, context.DeadlineExceeded)
		require.ErrorIs(t, o.Err, cause)
	})
}

// stalling is a body that stops before its end, until the context ends.
func stalling(ctx context.Context) io.Reader {
	return io.MultiReader(strings.NewReader(`{"message":"Dup`), untilDone{ctx})
}

type untilDone struct{ context.Context }

func (u untilDone) Read([]byte) (int, error) {
	<-u.Done()
	return 0, u.Err()
}

func TestAttemptTimeout(t *testing.T) {
	t.Parallel()
	inBubble(t, "each attempt has its own", func(t *testing.T) {
		o, s := scripted(t.Context(), http.MethodGet, connects(hangs), connects(hangs), status(200))
		assert.Equal(t, 200, o.Status)
		for _, wait := range s.waits() {
			assert.InDelta(t, 30*time.Second, wait, float64(500*time.Millisecond), "and a back-off")
		}
		assert.Len(t, s.waits(), 2)
	})
	inBubble(t, "it includes the body", func(t *testing.T) {
		o, s := scripted(t.Context(), http.MethodPost, answer(201, stalling))
		assert.True(t, o.ConnectionLost)
		require.ErrorIs(t, o.Err, context.DeadlineExceeded)
		assert.Equal(t, 30*time.Second, time.Since(s.began[0]))
	})
	inBubble(t, "the shortest", func(t *testing.T) {
		caller := newCaller(step(hangs))
		caller.Timeout, caller.Attempts = 1, 1
		o := caller.Do(t.Context(), newRequest(http.MethodGet, "https://acme.example/"))
		require.ErrorIs(t, o.Err, context.DeadlineExceeded)
	})
	inBubble(t, "none", func(t *testing.T) {
		s := &script{steps: []step{func(r *http.Request) (*http.Response, error) {
			time.Sleep(time.Hour)
			return status(200)(r)
		}}}
		caller := newCaller(s)
		caller.Timeout = 0
		o := caller.Do(t.Context(), newRequest(http.MethodGet, "https://acme.example/"))
		assert.Equal(t, 200, o.Status)
	})
	inBubble(t, "the error of the RoundTripper is kept", func(t *testing.T) {
		o, _ := scripted(t.Context(), http.MethodPost, func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, fmt.Errorf("the queue is full: %w: %w", call.ErrNotSent, r.Context().Err())
		})
		assert.False(t, o.Sent)
		require.ErrorIs(t, o.Err, call.ErrNotSent)
		assert.Equal(t, 3, o.Attempts)
	})
}

func TestRateLimiter(t *testing.T) {
	t.Parallel()
	limited := func(ctx context.Context, wait func(context.Context) error, method string,
		steps ...step,
	) (call.Outcome, *script) {
		s := &script{steps: steps}
		caller := newCaller(s)
		caller.Wait = wait
		return caller.Do(ctx, newRequest(method, "https://acme.example/leads")), s
	}
	inBubble(t, "is asked before every attempt", func(t *testing.T) {
		asked := 0
		o, s := limited(t.Context(), func(ctx context.Context) error {
			asked++
			return call.Pause(ctx, time.Minute) // the timeout of 30 s is that of an attempt
		}, http.MethodGet, status(503), status(503), status(200))
		assert.Equal(t, 3, asked)
		assert.Equal(t, 200, o.Status)
		assert.Len(t, s.began, 3)
	})
	inBubble(t, "refuses", func(t *testing.T) {
		full := errors.New("queue is full")
		o, s := limited(t.Context(), func(context.Context) error { return full }, http.MethodPost, status(201))
		require.ErrorIs(t, o.Stopped, full)
		require.NotErrorIs(t, o.Stopped, context.DeadlineExceeded)
		assert.Zero(t, o.Attempts)
		assert.Empty(t, s.began)
	})
	inBubble(t, "refuses the second attempt", func(t *testing.T) {
		full, asked := errors.New("queue is full"), 0
		o, s := limited(t.Context(), func(context.Context) error {
			if asked++; asked == 2 {
				return full
			}
			return nil
		}, http.MethodPost, status(429))
		require.ErrorIs(t, o.Stopped, full)
		assert.Equal(t, 429, o.Status)
		assert.Equal(t, 1, o.Attempts)
		assert.Len(t, s.began, 1)
	})

	// The error of golang.org/x/time/rate has no type.
	tooLate := errors.New("rate: Wait(n=1) would exceed context deadline")
	inBubble(t, "would exceed the deadline", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		o, _ := limited(ctx, func(context.Context) error { return tooLate }, http.MethodPost, status(201))
		require.ErrorIs(t, o.Stopped, context.DeadlineExceeded)
		require.ErrorIs(t, o.Stopped, tooLate)
	})
	inBubble(t, "says that it would exceed a deadline, but there is none", func(t *testing.T) {
		o, _ := limited(t.Context(), func(context.Context) error { return tooLate }, http.MethodPost, status(201))
		require.NotErrorIs(t, o.Stopped, context.DeadlineExceeded)
		require.ErrorIs(t, o.Stopped, tooLate)
	})
	inBubble(t, "exceeds its burst", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		burst := errors.New("rate: Wait(n=1) exceeds limiter's burst 0")
		o, _ := limited(ctx, func(context.Context) error { return burst }, http.MethodPost, status(201))
		require.ErrorIs(t, o.Stopped, burst)
		require.NotErrorIs(t, o.Stopped, context.DeadlineExceeded)
	})

	cause := errors.New("shutting down")
	for name, result := range map[string]error{
		"its error": context.Canceled, "its own error": errors.New("gave up"),
		"no error": nil,
	} {
		inBubble(t, "outlives the context and returns "+name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			o, s := limited(ctx, func(ctx context.Context) error {
				cancel(cause)
				<-ctx.Done()
				return result
			}, http.MethodPost, status(201))
			require.ErrorIs(t, o.Stopped, context.Canceled)
			require.ErrorIs(t, o.Stopped, cause)
			if result != nil {
				require.ErrorIs(t, o.Stopped, result)
			}
			assert.NotContains(t, o.Stopped.Error(), "nil")
			assert.Empty(t, s.began)
		})
	}
}

func TestTokenIsNotAskedForAfterTheContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req := newRequest(http.MethodGet, "https://acme.example/")
	req.Token = func(context.Context) (string, error) {
		t.Error("the token source was called")
		return "", nil
	}
	require.ErrorIs(t, newCaller(status(200)).Do(ctx, req).Stopped, context.Canceled)
}

func TestPause(t *testing.T) {
	t.Parallel()
	inBubble(t, "waits", func(t *testing.T) {
		began := time.Now()
		require.NoError(t, call.Pause(t.Context(), time.Hour))
		assert.Equal(t, time.Hour, time.Since(began))
	})
	inBubble(t, "does not wait for 0", func(t *testing.T) {
		require.NoError(t, call.Pause(t.Context(), 0))
	})
	inBubble(t, "does not wait after the end of the context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range 20 { // a select with two ready cases chooses at random
			require.ErrorIs(t, call.Pause(ctx, 0), context.Canceled)
		}
	})
	inBubble(t, "does not wait beyond the deadline", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		require.ErrorIs(t, call.Pause(ctx, time.Minute+1), context.DeadlineExceeded)
		assert.Zero(t, time.Since(began))
		require.NoError(t, call.Pause(ctx, time.Minute-1))
	})
}

// late is a context whose deadline has passed, but whose timer has not fired.
type late struct{ context.Context }

func (late) Deadline() (time.Time, bool) { return time.Now().Add(-time.Millisecond), true }

func TestDeadlineThatPassedBeforeTheTimerFired(t *testing.T) {
	t.Parallel()
	o, s := scripted(late{t.Context()}, http.MethodPost, status(200))
	assert.Empty(t, s.began)
	assert.Zero(t, o.Attempts)
	require.ErrorIs(t, o.Stopped, context.DeadlineExceeded)
}
