package call_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/internal/call"
)

// inBubble is a subtest whose time passes only while all wait.
func inBubble(t *testing.T, name string, test func(*testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, test)
	})
}

// waits returns the times between attempts.
func (s *script) waits() []time.Duration {
	var waits []time.Duration
	for i := 1; i < len(s.began); i++ {
		waits = append(waits, s.began[i].Sub(s.began[i-1]))
	}
	return waits
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		min, max time.Duration
		spans    []time.Duration // the longest each wait may be
	}{
		{
			"doubles", time.Second, time.Minute,
			[]time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second},
		},
		{
			"up to the maximum", time.Second, 3 * time.Second,
			[]time.Duration{time.Second, 2 * time.Second, 3 * time.Second, 3 * time.Second},
		},
		{"from the maximum on", time.Second, time.Second, []time.Duration{time.Second, time.Second, time.Second}},
		{"none", 0, 0, []time.Duration{1, 1, 1}},
	}
	for _, test := range tests {
		inBubble(t, test.name, func(t *testing.T) {
			longest := make([]time.Duration, len(test.spans))
			for range 300 {
				s := &script{steps: []step{status(503)}}
				caller := newCaller(s)
				caller.Attempts, caller.MinBackoff, caller.MaxBackoff = len(test.spans)+1, test.min, test.max
				caller.Do(t.Context(), newRequest(http.MethodGet, "https://acme.example/"))
				waits := s.waits()
				require.Len(t, waits, len(test.spans))
				for i, wait := range waits {
					require.LessOrEqual(t, wait, test.spans[i])
					longest[i] = max(longest[i], wait)
				}
			}
			for i, span := range test.spans { // of 300 draws one is in the upper tenth, but for once in 10^13
				assert.GreaterOrEqual(t, longest[i], (span-1)*9/10, "full jitter uses the whole span")
			}
		})
	}
	inBubble(t, "without overflow", func(t *testing.T) {
		caller := newCaller(status(503))
		caller.Attempts, caller.MinBackoff, caller.MaxBackoff = 2, math.MaxInt64, math.MaxInt64
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour) // or the clock would run out
		defer cancel()
		require.NotPanics(t, func() { caller.Do(ctx, newRequest(http.MethodGet, "https://acme.example/")) })
	})
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	inAWhile := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	tests := []struct {
		name   string
		header func() string
		read   time.Duration // RetryAfter of the outcome
		waited time.Duration // 0 = a back-off of at most 250 ms
		giveUp bool
	}{
		{name: "seconds", header: text("7"), read: 7 * time.Second, waited: 7 * time.Second},
		{name: "in blanks", header: text(" 7 "), read: 7 * time.Second, waited: 7 * time.Second},
		{name: "as long as allowed", header: text("10"), read: 10 * time.Second, waited: 10 * time.Second},
		{name: "longer than allowed", header: text("11"), read: 11 * time.Second, giveUp: true},
		{name: "an hour", header: text("3600"), read: time.Hour, giveUp: true},
		{
			name: "longer than a Duration", header: text("9999999999999"), read: (1 << 62 / time.Second) * time.Second,
			giveUp: true,
		},
		{
			name: "longer than an int64", header: text("99999999999999999999"),
			read: (1 << 62 / time.Second) * time.Second, giveUp: true,
		},
		{
			name: "date", header: func() string { return inAWhile(5 * time.Second) }, read: 5 * time.Second,
			waited: 5 * time.Second,
		},
		{name: "late date", header: func() string { return inAWhile(time.Minute) }, read: time.Minute, giveUp: true},
		{name: "past date", header: func() string { return inAWhile(-time.Minute) }},
		{name: "now", header: text("0")},
		{name: "negative", header: text("-5")},
		{name: "below an int64", header: text("-99999999999999999999")},
		{name: "fraction", header: text("1.5")},
		{name: "nonsense", header: text("soon")},
		{name: "empty", header: text("")},
	}
	for _, test := range tests {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			inBubble(t, method+" "+test.name, func(t *testing.T) {
				o, s := scripted(t.Context(), method, status(429, "Retry-After", test.header()), status(200))
				if test.giveUp {
					assert.Len(t, s.began, 1)
					assert.Equal(t, 429, o.Status)
					assert.Equal(t, test.read, o.RetryAfter)
					assert.NoError(t, o.Stopped, "the answer is the reason, not the context")
					assert.Zero(t, time.Since(s.began[0]))
					return
				}
				require.Len(t, s.waits(), 1)
				if test.waited == 0 {
					assert.LessOrEqual(t, s.waits()[0], 250*time.Millisecond)
				} else {
					assert.Equal(t, test.waited, s.waits()[0])
				}
				o, _ = scripted(t.Context(), method, status(404, "Retry-After", test.header()))
				assert.Equal(t, test.read, o.RetryAfter)
			})
		}
	}
}

func text(s string) func() string { return func() string { return s } }

// A wait that the context would not outlive is not begun. What the last attempt
// met is kept beside the context's error.
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
	inBubble(t, "cancelled in the wait", func(t *testing.T) {
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
	inBubble(t, "in an attempt", func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Second, cause)
		defer cancel()
		o, s := scripted(ctx, http.MethodGet, connects(hangs))
		require.ErrorIs(t, o.Err, context.DeadlineExceeded)
		require.ErrorIs(t, o.Err, cause)
		require.NoError(t, o.Stopped, "said once is enough")
		assert.Len(t, s.began, 1)
		assert.Equal(t, 2*time.Second, time.Since(s.began[0]))
	})
	inBubble(t, "before a connection", func(t *testing.T) {
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
		assert.Equal(t, 400, o.Status, "the answer stands")
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

// stalling is a body that stops until the context ends.
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
			assert.InDelta(t, 30*time.Second, wait, float64(500*time.Millisecond), "and the back-off")
		}
		assert.Len(t, s.waits(), 2)
	})
	inBubble(t, "the body has to come in it too", func(t *testing.T) {
		o, s := scripted(t.Context(), http.MethodPost, answer(201, stalling))
		assert.True(t, o.ConnectionLost)
		require.ErrorIs(t, o.Err, context.DeadlineExceeded)
		assert.Equal(t, 30*time.Second, time.Since(s.began[0]))
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
	inBubble(t, "keeps what the RoundTripper says", func(t *testing.T) {
		o, _ := scripted(t.Context(), http.MethodPost, func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, fmt.Errorf("no place in the queue: %w: %w", call.ErrNotSent, r.Context().Err())
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
			return call.Pause(ctx, time.Minute) // not of the attempt's 30 s
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

	// golang.org/x/time/rate has no type for this.
	tooLate := errors.New("rate: Wait(n=1) would exceed context deadline")
	inBubble(t, "sees that it would outlast the deadline", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		o, _ := limited(ctx, func(context.Context) error { return tooLate }, http.MethodPost, status(201))
		require.ErrorIs(t, o.Stopped, context.DeadlineExceeded)
		require.ErrorIs(t, o.Stopped, tooLate)
	})
	inBubble(t, "speaks of a deadline where there is none", func(t *testing.T) {
		o, _ := limited(t.Context(), func(context.Context) error { return tooLate }, http.MethodPost, status(201))
		require.NotErrorIs(t, o.Stopped, context.DeadlineExceeded)
		require.ErrorIs(t, o.Stopped, tooLate)
	})
	inBubble(t, "speaks of its burst", func(t *testing.T) {
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

func TestPause(t *testing.T) {
	t.Parallel()
	inBubble(t, "waits", func(t *testing.T) {
		began := time.Now()
		require.NoError(t, call.Pause(t.Context(), time.Hour))
		assert.Equal(t, time.Hour, time.Since(began))
	})
	inBubble(t, "not at all", func(t *testing.T) {
		require.NoError(t, call.Pause(t.Context(), 0))
	})
	inBubble(t, "not after the context's end", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range 20 { // a select between a timer and the context would let it pass now and then
			require.ErrorIs(t, call.Pause(ctx, 0), context.Canceled)
		}
	})
	inBubble(t, "up to the deadline", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		require.ErrorIs(t, call.Pause(ctx, time.Minute+1), context.DeadlineExceeded)
		assert.Zero(t, time.Since(began))
		require.NoError(t, call.Pause(ctx, time.Minute-1))
	})
}

// late is a context whose deadline has passed, and that nobody has ended yet.
type late struct{ context.Context }

func (late) Deadline() (time.Time, bool) { return time.Now().Add(-time.Millisecond), true }

func TestDeadlineThatPassedUnnoticed(t *testing.T) {
	t.Parallel()
	o, s := scripted(late{t.Context()}, http.MethodPost, status(200))
	assert.Empty(t, s.began)
	assert.Zero(t, o.Attempts)
	require.ErrorIs(t, o.Stopped, context.DeadlineExceeded)
}
