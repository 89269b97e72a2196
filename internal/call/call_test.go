package call_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/internal/call"
)

// script is a server in memory: each step answers one request, and the last
// step answers all further ones. It reports no connection, unless a step does.
type script struct {
	steps []step
	// began holds the time of each attempt.
	began []time.Time
	// tokens holds the token of each attempt.
	tokens []string
}

type step func(*http.Request) (*http.Response, error)

func (s step) RoundTrip(r *http.Request) (*http.Response, error) { return s(r) }

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	s.began = append(s.began, time.Now())
	s.tokens = append(s.tokens, r.Header.Get("Authorization"))
	return s.steps[min(len(s.began), len(s.steps))-1](r)
}

// waits returns the times between attempts.
func (s *script) waits() []time.Duration {
	var waits []time.Duration
	for i := 1; i < len(s.began); i++ {
		waits = append(waits, s.began[i].Sub(s.began[i-1]))
	}
	return waits
}

// status answers with a status. header holds names and values in turn.
func status(code int, header ...string) step {
	return answer(code, func(context.Context) io.Reader { return strings.NewReader("{}") }, header...)
}

// answer answers with a new body for each request.
func answer(code int, body func(context.Context) io.Reader, header ...string) step {
	return func(r *http.Request) (*http.Response, error) {
		resp := &http.Response{
			StatusCode: code, Header: http.Header{}, Body: io.NopCloser(body(r.Context())), ContentLength: -1,
			Request: r,
		}
		for i := 0; i < len(header); i += 2 {
			resp.Header.Set(header[i], header[i+1])
		}
		return resp, nil
	}
}

func fails(err error) step {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

// hangs waits until the context of the attempt ends.
func hangs(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// asks reports that it asks for a connection, as net/http does.
func asks(next step) step {
	return func(r *http.Request) (*http.Response, error) {
		httptrace.ContextClientTrace(r.Context()).GetConn("acme:443")
		return next(r)
	}
}

// connects reports that it got a connection.
func connects(next step) step {
	return asks(func(r *http.Request) (*http.Response, error) {
		httptrace.ContextClientTrace(r.Context()).GotConn(httptrace.GotConnInfo{})
		return next(r)
	})
}

// writes reports that it began to write the request n times.
func writes(n int, next step) step {
	return connects(func(r *http.Request) (*http.Response, error) {
		for range n {
			httptrace.ContextClientTrace(r.Context()).WroteHeaders()
		}
		return next(r)
	})
}

// truncated is a body that ends too early.
func truncated(context.Context) io.Reader {
	return io.MultiReader(strings.NewReader(`{"a`), failing{io.ErrUnexpectedEOF})
}

type failing struct{ err error }

func (r failing) Read([]byte) (int, error) { return 0, r.err }

// newCaller returns a caller with the defaults of the SDK.
func newCaller(transport http.RoundTripper) *call.Caller {
	return &call.Caller{
		Transport: call.NewTransport(transport), Timeout: 30 * time.Second,
		Header:   func(_, token string) http.Header { return http.Header{"Authorization": {token}} },
		Attempts: 3, MinBackoff: 250 * time.Millisecond, MaxBackoff: 10 * time.Second, MaxBytes: 1 << 20,
		Buffers: &sync.Pool{New: func() any { return new(bytes.Buffer) }},
	}
}

// scripted makes one call against a script.
func scripted(ctx context.Context, method string, steps ...step) (call.Outcome, *script) {
	s := &script{steps: steps}
	o := newCaller(s).Do(ctx, newRequest(method, "https://acme.example/leads"))
	return o, s
}

func newRequest(method, target string) *call.Request {
	u, err := url.Parse(target)
	if err != nil {
		panic(err)
	}
	r := &call.Request{
		Method: method, URL: u, Read: func([]byte) error { return nil },
		Token: func(context.Context) (string, error) { return "token", nil },
		Mask:  func(text string) string { return text },
	}
	if method == http.MethodPost {
		r.Body = []byte(`{"email":"allison.brown@example.com"}`)
	}
	return r
}

// inBubble is a subtest in a bubble of fake time.
func inBubble(t *testing.T, name string, test func(*testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, test)
	})
}

func TestNumberOfAttempts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name            string
		caller, request int
		want            int
	}{
		{"one", 1, 0, 1},
		{"three", 3, 0, 3},
		{"the request has fewer", 3, 2, 2},
		{"the request has more", 3, 5, 5},
	}
	for _, test := range tests {
		inBubble(t, test.name, func(t *testing.T) {
			s := &script{steps: []step{status(429)}}
			caller, r := newCaller(s), newRequest(http.MethodPost, "https://acme.example/leads")
			caller.Attempts, r.Attempts = test.caller, test.request
			o := caller.Do(t.Context(), r)
			assert.Equal(t, test.want, o.Attempts)
			assert.Equal(t, test.want, o.AllAttempts())
			assert.Len(t, s.began, test.want)
			assert.Equal(t, 429, o.Status)
			assert.NoError(t, o.Stopped, "no attempt was left")
		})
	}
}

// The facts are those of the last attempt that began, not of the worst one.
func TestOutcomeIsOfTheLastAttempt(t *testing.T) {
	t.Parallel()
	dial := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	tests := []struct {
		name   string
		steps  []step
		status int
		sent   bool
	}{
		{"429, then no connection", []step{status(429), asks(fails(dial))}, 0, false},
		{"no connection, then 500", []step{asks(fails(dial)), status(500)}, 500, true},
		{"no connection, then lost", []step{asks(fails(dial)), connects(fails(io.EOF))}, 0, true},
		{"no connection, then 201", []step{asks(fails(dial)), status(201)}, 201, true},
	}
	for _, test := range tests {
		inBubble(t, test.name, func(t *testing.T) {
			o, _ := scripted(t.Context(), http.MethodPost, test.steps...)
			assert.Equal(t, test.status, o.Status)
			assert.Equal(t, test.sent, o.Sent)
			assert.Equal(t, test.status == 0, o.Err != nil)
			assert.Equal(t, test.status != 201, o.Failed())
		})
	}
}

// tokens is a token source that returns the tokens in turn. An error stands for
// a source that fails.
func tokens(results ...any) func(context.Context) (string, error) {
	asked := 0
	return func(context.Context) (string, error) {
		asked++
		switch result := results[min(asked, len(results))-1].(type) {
		case error:
			return "", result
		case string:
			return result, nil
		}
		panic("neither a token nor an error")
	}
}

var errSource = errors.New("the vault is sealed")

func TestToken(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		source   []any
		attempts int
		steps    []step
		// tokens are those of the attempts, in order.
		tokens []string
		// status and counted are those of the outcome.
		status, counted int
		stopped         error
	}{
		{
			name: "one for each attempt", source: []any{"a", "b"}, attempts: 3,
			steps: []step{status(429), status(201)}, tokens: []string{"a", "b"}, status: 201, counted: 2,
		},
		{
			name: "the source fails", source: []any{errSource}, attempts: 3,
			steps: []step{status(201)}, stopped: errSource,
		},
		{
			name: "the source fails before the second attempt", source: []any{"a", errSource}, attempts: 3,
			steps: []step{status(429)}, tokens: []string{"a"}, status: 429, counted: 1, stopped: errSource,
		},
		{
			name: "401, and a new token", source: []any{"a", "b"}, attempts: 3,
			steps: []step{status(401), status(201)}, tokens: []string{"a", "b"}, status: 201, counted: 1,
		},
		{
			name: "401, and a new token beyond the last attempt", source: []any{"a", "b"}, attempts: 1,
			steps: []step{status(401), status(201)}, tokens: []string{"a", "b"}, status: 201, counted: 1,
		},
		{
			name: "401, and the same token", source: []any{"a"}, attempts: 3,
			steps: []step{status(401)}, tokens: []string{"a"}, status: 401, counted: 1,
		},
		{
			name: "401 twice", source: []any{"a", "b", "c"}, attempts: 3,
			steps: []step{status(401)}, tokens: []string{"a", "b"}, status: 401, counted: 1,
		},
		{
			name: "401, and the source fails", source: []any{"a", errSource}, attempts: 3,
			steps: []step{status(401)}, tokens: []string{"a"}, status: 401, counted: 1, stopped: errSource,
		},
		{
			name: "401, a new token, and then 429", source: []any{"a", "b", "c"}, attempts: 2,
			steps:  []step{status(401), status(429), status(201)},
			tokens: []string{"a", "b", "c"}, status: 201, counted: 2,
		},
		{
			name: "401, a new token, and then 429 at the last attempt", source: []any{"a", "b"}, attempts: 1,
			steps: []step{status(401), status(429)}, tokens: []string{"a", "b"}, status: 429, counted: 1,
		},
		{
			name: "429, and then 401 at the last attempt", source: []any{"a", "b", "c"}, attempts: 2,
			steps:  []step{status(429), status(401), status(201)},
			tokens: []string{"a", "b", "c"}, status: 201, counted: 2,
		},
		{
			name: "401, a new token, 429, and then 401", source: []any{"a", "b", "c", "d"}, attempts: 3,
			steps:  []step{status(401), status(429), status(401)},
			tokens: []string{"a", "b", "c"}, status: 401, counted: 2,
		},
		{
			name: "403 is not about the age of a token", source: []any{"a", "b"}, attempts: 3,
			steps: []step{status(403)}, tokens: []string{"a"}, status: 403, counted: 1,
		},
	}
	for _, test := range tests {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			inBubble(t, method+" "+test.name, func(t *testing.T) {
				s := &script{steps: test.steps}
				caller, r := newCaller(s), newRequest(method, "https://acme.example/leads")
				caller.Attempts, r.Token = test.attempts, tokens(test.source...)
				o := caller.Do(t.Context(), r)
				assert.Equal(t, test.tokens, s.tokens)
				assert.Equal(t, test.status, o.Status)
				assert.Equal(t, test.counted, o.Attempts)
				assert.Equal(t, len(test.tokens), o.AllAttempts())
				require.ErrorIs(t, o.Stopped, test.stopped)
			})
		}
	}
}

func TestNewTokenAfter401IsSentAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []step{status(401, "Retry-After", "5"), status(201)}}
		r := newRequest(http.MethodPost, "https://acme.example/leads")
		r.Token = tokens("old", "new")
		o := newCaller(s).Do(t.Context(), r)
		assert.Equal(t, 201, o.Status)
		assert.Equal(t, []time.Duration{0}, s.waits())
	})
}

func TestTokenSourceAndTheContext(t *testing.T) {
	t.Parallel()
	type key struct{}
	cause := errors.New("shutting down")
	inBubble(t, "the source gets the context of the call", func(t *testing.T) {
		r := newRequest(http.MethodGet, "https://acme.example/")
		r.Token = func(ctx context.Context) (string, error) {
			assert.Equal(t, "value", ctx.Value(key{}))
			_, limited := ctx.Deadline()
			assert.False(t, limited, "the timeout is that of an attempt")
			return "token", nil
		}
		o := newCaller(&script{steps: []step{status(200)}}).Do(context.WithValue(t.Context(), key{}, "value"), r)
		assert.Equal(t, 200, o.Status)
	})
	for name, result := range map[string]error{"an error": errSource, "no error": nil} {
		inBubble(t, "the source outlives the context and returns "+name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			s := &script{steps: []step{status(201)}}
			r := newRequest(http.MethodPost, "https://acme.example/")
			r.Token = func(context.Context) (string, error) {
				cancel(cause)
				return "token", result
			}
			o := newCaller(s).Do(ctx, r)
			require.ErrorIs(t, o.Stopped, context.Canceled)
			require.ErrorIs(t, o.Stopped, cause)
			if result != nil {
				require.ErrorIs(t, o.Stopped, result)
			}
			assert.Empty(t, s.began)
		})
	}
	inBubble(t, "the context ends with the 401", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &script{steps: []step{func(r *http.Request) (*http.Response, error) {
			cancel()
			return status(401)(r)
		}}}
		o := newCaller(s).Do(ctx, newRequest(http.MethodPost, "https://acme.example/"))
		assert.Equal(t, 401, o.Status)
		assert.NoError(t, o.Stopped, "there is no new token, so nothing was stopped")
	})
	inBubble(t, "the context ends during the body of the 401", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		asked := 0
		r := newRequest(http.MethodPost, "https://acme.example/")
		r.Token = func(context.Context) (string, error) {
			asked++
			return strconv.Itoa(asked), nil
		}
		o := newCaller(&script{steps: []step{answer(401, stalling)}}).Do(ctx, r)
		assert.Equal(t, 401, o.Status)
		require.ErrorIs(t, o.Stopped, context.DeadlineExceeded)
		assert.Equal(t, 1, asked)
	})
}

func TestRateLimiterIsAskedBeforeTheNewToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		full, asked := errors.New("queue is full"), 0
		s := &script{steps: []step{status(401), status(201)}}
		caller, r := newCaller(s), newRequest(http.MethodPost, "https://acme.example/leads")
		r.Token = tokens("old", "new")
		caller.Wait = func(context.Context) error {
			if asked++; asked == 2 {
				return full
			}
			return nil
		}
		o := caller.Do(t.Context(), r)
		assert.Equal(t, 401, o.Status, "the 401 stands")
		require.ErrorIs(t, o.Stopped, full)
		assert.Equal(t, []string{"old"}, s.tokens)
	})
}

func TestNoContent(t *testing.T) {
	t.Parallel()
	unreadable := errors.New("unexpected end")
	for name, test := range map[string]struct {
		status  int
		allowed bool
		want    error
	}{
		"204 that is allowed":     {204, true, nil},
		"204 that is not allowed": {204, false, unreadable},
		"200 without a body":      {200, true, unreadable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			caller := newCaller(step(func(r *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: test.status, Request: r}, nil // a nil body is an empty one
			}))
			r := newRequest(http.MethodGet, "https://acme.example/")
			r.NoContent, r.Read = test.allowed, func(body []byte) error {
				assert.Empty(t, body)
				return unreadable
			}
			o := caller.Do(t.Context(), r)
			require.ErrorIs(t, o.Err, test.want)
			assert.Equal(t, test.want != nil, o.Failed())
		})
	}
}

func TestDate(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Time{
		"Sun, 06 Nov 1994 08:49:37 GMT": time.Date(1994, 11, 6, 8, 49, 37, 0, time.UTC),
		"yesterday":                     {},
		"":                              {},
	} {
		t.Run(strconv.Quote(text), func(t *testing.T) {
			t.Parallel()
			o := call.Outcome{Header: http.Header{"Date": {text}}}
			assert.True(t, want.Equal(o.Date()))
		})
	}
	assert.Zero(t, (&call.Outcome{}).Date(), "no response")
}

// Some RoundTrippers change what they are given, although package http forbids
// it.
func TestAttemptsShareNoURLHeaderOrBody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var urls, headers, bodies, hosts []string
		meddler := step(func(r *http.Request) (*http.Response, error) {
			body, err := io.ReadAll(r.Body)
			require.NoError(t, err)
			urls, hosts = append(urls, r.URL.String()), append(hosts, r.Host)
			headers, bodies = append(headers, r.Header.Get("Authorization")), append(bodies, string(body))
			assert.Equal(t, int64(len(body)), r.ContentLength)
			r.URL.Host, r.URL.Path, r.URL.RawQuery, r.Host = "evil.example", "/", "", "evil.example"
			r.Header.Set("Authorization", "changed")
			r.Header["Authorization"][0] = "changed"
			return status(429)(r)
		})
		newCaller(meddler).Do(t.Context(), newRequest(http.MethodPost, "https://acme.example/base/leads?a=b"))
		same := func(want string) []string { return []string{want, want, want} }
		assert.Equal(t, same("https://acme.example/base/leads?a=b"), urls)
		assert.Equal(t, same("acme.example"), hosts)
		assert.Equal(t, same("token"), headers)
		assert.Equal(t, same(`{"email":"allison.brown@example.com"}`), bodies)
	})
}

func TestLog(t *testing.T) {
	t.Parallel()
	const begin = `msg="clixnow: HTTP attempt" method=POST path=/base/leads `
	secret := errors.New("breaker s3cret: open")
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
		{"retried", slog.LevelDebug, http.MethodPost, []step{status(429, "Retry-After", "2"), status(201)}, []string{
			`level=WARN ` + begin + `attempt=1 took=0s status=429 retry_in=2s`,
			`level=DEBUG ` + begin + `attempt=2 took=0s status=201`,
		}},
		{
			"warnings only", slog.LevelWarn, http.MethodPost,
			[]step{status(429, "Retry-After", "2"), status(201)},
			[]string{
				`level=WARN ` + begin + `attempt=1 took=0s status=429 retry_in=2s`,
			},
		},
		{"new token", slog.LevelDebug, http.MethodPost, []step{status(401), status(201)}, []string{
			`level=WARN ` + begin + `attempt=1 took=0s status=401 retry_in=0s`,
			`level=DEBUG ` + begin + `attempt=2 took=0s status=201`,
		}},
		{"failed", slog.LevelDebug, http.MethodPost, []step{fails(secret)}, []string{
			`level=DEBUG ` + begin + `attempt=1 took=0s error="breaker [hidden]: open" sent=true`,
		}},
		{"no time for a retry", slog.LevelDebug, http.MethodPost, []step{status(429, "Retry-After", "9")}, []string{
			`level=DEBUG ` + begin + `attempt=1 took=0s status=429`,
		}},
	}
	for _, test := range tests {
		inBubble(t, test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			var log bytes.Buffer
			caller := newCaller(&script{steps: test.steps})
			caller.Logger = slog.New(slog.NewTextHandler(&log,
				&slog.HandlerOptions{Level: test.level, ReplaceAttr: withoutTime}))
			r := newRequest(test.method, "https://acme.example/base/leads?id=7")
			r.Token = tokens("s3cret", "n3w")
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

func TestLogHasTheDurationAndNoBody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		caller := newCaller(step(func(r *http.Request) (*http.Response, error) {
			time.Sleep(3 * time.Second)
			body := func(context.Context) io.Reader { return strings.NewReader("allison.brown@example.com") }
			return answer(400, body)(r)
		}))
		caller.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		caller.Do(t.Context(), newRequest(http.MethodPost, "https://acme.example/leads"))
		assert.Contains(t, log.String(), "took=3s")
		assert.NotContains(t, log.String(), "allison", "neither body is logged")
	})
}
