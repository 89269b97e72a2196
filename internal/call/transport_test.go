package call_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/internal/call"
)

func TestNewHTTPClient(t *testing.T) {
	t.Parallel()
	t.Run("of nothing", func(t *testing.T) {
		t.Parallel()
		client, timeout := call.NewHTTPClient(nil)
		assert.Equal(t, 30*time.Second, timeout)
		assert.NotNil(t, client.Transport)
	})
	t.Run("of a client", func(t *testing.T) {
		t.Parallel()
		jar, err := cookiejar.New(nil)
		require.NoError(t, err)
		given := &http.Client{
			Jar: jar, Timeout: time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("used") },
		}
		client, timeout := call.NewHTTPClient(given)
		assert.Equal(t, time.Second, timeout)
		assert.Same(t, jar, client.Jar)
		assert.Equal(t, http.ErrUseLastResponse, client.CheckRedirect(nil, nil))
		assert.Nil(t, given.Transport, "the given client is not changed")
		assert.Equal(t, time.Second, given.Timeout)
		assert.EqualError(t, given.CheckRedirect(nil, nil), "used")
	})
	t.Run("of one without a timeout", func(t *testing.T) {
		t.Parallel()
		_, timeout := call.NewHTTPClient(&http.Client{})
		assert.Zero(t, timeout)
	})
}

func TestCloseIdleConnections(t *testing.T) {
	t.Parallel()
	closer := &closing{RoundTripper: status(200)}
	client, _ := call.NewHTTPClient(&http.Client{Transport: closer})
	client.CloseIdleConnections()
	assert.True(t, closer.closed)
	client, _ = call.NewHTTPClient(&http.Client{Transport: status(200)})
	assert.NotPanics(t, client.CloseIdleConnections, "not every RoundTripper can")
}

type closing struct {
	http.RoundTripper

	closed bool
}

func (c *closing) CloseIdleConnections() { c.closed = true }

// http.Client looks at Location before it asks CheckRedirect, and fails on one
// that it cannot parse.
func TestLocationIsKept(t *testing.T) {
	t.Parallel()
	for _, location := range []string{"https://other.example/", "/other", "http://[::1", "%zz", "://", "\x7f", ""} {
		t.Run(location, func(t *testing.T) {
			t.Parallel()
			served := http.Header{"Location": {location}, "X-Other": {"kept"}}
			var requests atomic.Int64
			caller := newCaller(step(func(r *http.Request) (*http.Response, error) {
				requests.Add(1)
				return &http.Response{StatusCode: 302, Header: served, Body: http.NoBody, Request: r}, nil
			}))
			var calls sync.WaitGroup
			for range 2 { // a RoundTripper may hand out the same header again, even at once
				calls.Go(func() {
					o := caller.Do(t.Context(), newRequest(http.MethodPost, "https://acme.example/leads"))
					assert.NoError(t, o.Err)
					assert.Equal(t, 302, o.Status)
					assert.Equal(t, http.Header{"Location": {location}, "X-Other": {"kept"}}, o.Header)
				})
			}
			calls.Wait()
			assert.Equal(t, int64(2), requests.Load())
			assert.Equal(t, []string{"Location", "X-Other"}, slices.Sorted(maps.Keys(served)),
				"what was handed out is not changed")
		})
	}
}

func TestLocationOfAnAnswerThatIsNoRedirect(t *testing.T) {
	t.Parallel()
	o, _ := scripted(t.Context(), http.MethodPost, status(201, "Location", "/leads/7"))
	assert.Equal(t, "/leads/7", o.Header.Get("Location"))
}

func TestLog(t *testing.T) {
	t.Parallel()
	secret := errors.New("dial s3cret: refused")
	tests := []struct {
		name   string
		level  slog.Level
		method string
		steps  []step
		want   []string
	}{
		{"success", slog.LevelDebug, http.MethodGet, []step{status(200)}, []string{
			`level=DEBUG msg="clixnow: HTTP attempt" method=GET path=/base/leads attempt=1 took=0s status=200`,
		}},
		{"made again", slog.LevelDebug, http.MethodPost, []step{status(429, "Retry-After", "2"), status(201)}, []string{
			`level=WARN msg="clixnow: HTTP attempt" method=POST path=/base/leads attempt=1 took=0s status=429 retry_in=2s`,
			`level=DEBUG msg="clixnow: HTTP attempt" method=POST path=/base/leads attempt=2 took=0s status=201`,
		}},
		{
			"warnings alone", slog.LevelWarn, http.MethodPost,
			[]step{status(429, "Retry-After", "2"), status(201)},
			[]string{
				`level=WARN msg="clixnow: HTTP attempt" method=POST path=/base/leads attempt=1 took=0s status=429 retry_in=2s`,
			},
		},
		{"failed", slog.LevelDebug, http.MethodPost, []step{fails(secret)}, []string{
			`level=DEBUG msg="clixnow: HTTP attempt" method=POST path=/base/leads attempt=1 took=0s error="dial [hidden]: refused" sent=true`,
		}},
		{
			"not made again for want of time", slog.LevelDebug, http.MethodPost,
			[]step{status(429, "Retry-After", "9")},
			[]string{
				`level=DEBUG msg="clixnow: HTTP attempt" method=POST path=/base/leads attempt=1 took=0s status=429`,
			},
		},
	}
	for _, test := range tests {
		inBubble(t, test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			var log bytes.Buffer
			caller := newCaller(&script{steps: test.steps})
			caller.Header = func(string) http.Header { return http.Header{"Authorization": {"ApiToken s3cret"}} }
			caller.Logger = slog.New(slog.NewTextHandler(&log,
				&slog.HandlerOptions{Level: test.level, ReplaceAttr: withoutTime}))
			r := newRequest(test.method, "https://acme.example/base/leads?id=7")
			r.Mask = func(text string) string { return strings.ReplaceAll(text, "s3cret", "[hidden]") }
			caller.Do(ctx, r)
			assert.Equal(t, test.want, strings.Split(strings.TrimSpace(log.String()), "\n"))
		})
	}
}

func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey && len(groups) == 0 {
		return slog.Attr{}
	}
	return a
}

func TestLogSaysHowLongItTook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		caller := newCaller(step(func(r *http.Request) (*http.Response, error) {
			time.Sleep(3 * time.Second)
			return answer(400,
				func(context.Context) io.Reader { return strings.NewReader("allison.brown@example.com") })(r)
		}))
		caller.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		caller.Do(t.Context(), newRequest(http.MethodPost, "https://acme.example/leads"))
		assert.Contains(t, log.String(), "took=3s")
		assert.NotContains(t, log.String(), "allison", "bodies are not logged, neither way")
	})
}
