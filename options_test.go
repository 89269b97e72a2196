package clixnow_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
)

func TestNewClientRefuses(t *testing.T) {
	t.Parallel()
	retry := func(attempts int, shortest, longest time.Duration) clixnow.Option {
		return clixnow.WithRetry(clixnow.RetryPolicy{MaxAttempts: attempts, MinBackoff: shortest, MaxBackoff: longest})
	}
	var nilFunc limiter
	var nilPointer *limiter
	tests := []struct {
		name         string
		brand, token string
		opts         []clixnow.Option
		fault        string // that the error names
	}{
		{"no brand", "", testToken, nil, "brand"},
		{"brand with a dot", "acme.clixnow", testToken, nil, "brand"},
		{"brand that is a host", "integration.acme.clixnow.com", testToken, nil, "brand"},
		{"brand that is a URL", "https://acme", testToken, nil, "brand"},
		{"brand with a slash", "acme/", testToken, nil, "brand"},
		{"brand with an at", "me@acme", testToken, nil, "brand"},
		{"brand with a port", "acme:443", testToken, nil, "brand"},
		{"brand with an underscore", "ac_me", testToken, nil, "brand"},
		{"brand with a blank", "ac me", testToken, nil, "brand"},
		{"brand with a blank before", " acme", testToken, nil, "brand"},
		{"brand with a new line after", "acme\n", testToken, nil, "brand"},
		{"brand with a hyphen before", "-acme", testToken, nil, "brand"},
		{"brand with a hyphen after", "acme-", testToken, nil, "brand"},
		{"brand of other letters", "äcme", testToken, nil, "brand"},
		{"brand of 64", strings.Repeat("a", 64), testToken, nil, "brand"},
		{"brand and token swapped", testToken + "_" + strings.Repeat("x", 64), "acme", nil, "brand"},
		{
			"no brand, but a base URL", "", testToken,
			[]clixnow.Option{clixnow.WithBaseURL("https://api.example")},
			"brand",
		},

		{"no token", "acme", "", nil, "token"},
		{"token of a blank", "acme", " ", nil, "token"},
		{"token with a blank", "acme", testToken + " x", nil, "token"},
		{"token with a blank before", "acme", " " + testToken, nil, "token"},
		{"token with a new line after", "acme", testToken + "\n", nil, "token"},
		{"token with a header", "acme", testToken + "\r\nX-Evil: 1", nil, "token"},
		{"token with a tab", "acme", testToken + "\tx", nil, "token"},
		{"token with a NUL", "acme", testToken + "\x00", nil, "token"},
		{"token with a DEL", "acme", testToken + "\x7f", nil, "token"},
		{"token of other letters", "acme", testToken + "é", nil, "token"},
		{"token of invalid UTF-8", "acme", testToken + "\xff", nil, "token"},

		{"nil option", "acme", testToken, []clixnow.Option{clixnow.WithoutValidation(), nil}, "nil option"},
		{"nil HTTP client", "acme", testToken, []clixnow.Option{clixnow.WithHTTPClient(nil)}, "WithHTTPClient"},
		{"nil rate limiter", "acme", testToken, []clixnow.Option{clixnow.WithRateLimiter(nil)}, "WithRateLimiter"},
		{
			"nil rate limiter of a pointer", "acme", testToken,
			[]clixnow.Option{clixnow.WithRateLimiter(nilPointer)},
			"WithRateLimiter",
		},
		{
			"nil rate limiter of a function", "acme", testToken,
			[]clixnow.Option{clixnow.WithRateLimiter(nilFunc)},
			"WithRateLimiter",
		},
		{"nil logger", "acme", testToken, []clixnow.Option{clixnow.WithLogger(nil)}, "WithLogger"},
		{"negative attempts", "acme", testToken, []clixnow.Option{retry(-1, 0, 0)}, "WithRetry"},
		{"negative MinBackoff", "acme", testToken, []clixnow.Option{retry(0, -1, 0)}, "WithRetry"},
		{"negative MaxBackoff", "acme", testToken, []clixnow.Option{retry(0, 0, -1)}, "WithRetry"},
		{
			"MinBackoff above MaxBackoff", "acme", testToken,
			[]clixnow.Option{retry(0, time.Second+1, time.Second)},
			"MinBackoff",
		},
		{
			"response limit of 0", "acme", testToken,
			[]clixnow.Option{clixnow.WithMaxResponseBytes(0)},
			"WithMaxResponseBytes",
		},
		{
			"negative response limit", "acme", testToken,
			[]clixnow.Option{clixnow.WithMaxResponseBytes(-1)},
			"WithMaxResponseBytes",
		},
		{
			"product with a line break", "acme", testToken,
			[]clixnow.Option{clixnow.WithUserAgent("my-app\r\nX-Evil: 1")},
			"WithUserAgent",
		},
		{
			"product of other letters", "acme", testToken,
			[]clixnow.Option{clixnow.WithUserAgent("mïne/1")},
			"WithUserAgent",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			client, err := clixnow.NewClient(test.brand, test.token, test.opts...)
			require.ErrorContains(t, err, test.fault)
			assert.Nil(t, client)
			assertPrintsNeither(t, err, test.brand, test.token)
		})
	}
}

// assertPrintsNeither asserts that an error has neither token nor brand in it:
// they may have been swapped.
func assertPrintsNeither(t *testing.T, err error, brand, token string) {
	t.Helper()
	assert.NotContains(t, err.Error(), testToken)
	assert.NotContains(t, err.Error(), "acme")
	if strings.TrimSpace(token) != "" {
		assert.NotContains(t, err.Error(), token)
	}
	if brand != "" {
		assert.NotContains(t, err.Error(), brand)
	}
}

func TestWithBaseURL(t *testing.T) {
	t.Parallel()
	insecure := []clixnow.Option{clixnow.WithInsecureHTTP()}
	tests := []struct {
		baseURL string
		opts    []clixnow.Option
		fault   string // "" = accepted
	}{
		{"https://api.example", nil, ""},
		{"https://api.example/", nil, ""},
		{"HTTPS://api.example:8443/tenant/7/", nil, ""},
		{"https://[2001:db8::1]/", nil, ""},
		{"http://localhost:8080", nil, ""},
		{"http://LOCALHOST", nil, ""},
		{"http://127.0.0.1:1", nil, ""},
		{"http://127.8.9.10", nil, ""},
		{"http://[::1]:1", nil, ""},
		{"http://api.example", insecure, ""},
		{"http://192.168.0.1", insecure, ""},

		{"http://api.example", nil, "plain http"},
		{"HTTP://api.example", nil, "plain http"},
		{"http://192.168.0.1", nil, "plain http"},
		{"http://0.0.0.0", nil, "plain http"},
		{"http://localhost.example", nil, "plain http"},
		{"http://127.0.0.1.example", nil, "plain http"},
		{"http://notlocalhost", nil, "plain http"},
		{"http://[2001:db8::1]", nil, "plain http"},

		{"", nil, "absolute"},
		{"api.example", nil, "absolute"},
		{"/api", nil, "absolute"},
		{"//api.example", nil, "absolute"},
		{"https://", nil, "absolute"},
		{"https:///path", nil, "absolute"},
		{"https://:443", nil, "absolute"},
		{"https:api.example", nil, "absolute"},
		{"ftp://api.example", nil, "absolute"},
		{"ws://api.example", insecure, "absolute"},
		{"https://user:" + testToken + "@api.example", nil, "user info"},
		{"https://user@api.example", nil, "user info"},
		{"https://@api.example", nil, "user info"},
		{"https://api.example?token=" + testToken, nil, "query"},
		{"https://api.example/?", nil, "query"},
		{"https://api.example/#" + testToken, nil, "fragment"},
		{"https://api.example/#", nil, "fragment"},
		{"https://user:" + testToken + "@api.example:port", nil, "not a URL"},
		{"https://api.example\n", nil, "not a URL"},
		{" https://api.example", nil, "not a URL"},
		{"https://api.example/%zz" + testToken, nil, "not a URL"},
	}
	for _, test := range tests {
		t.Run(test.baseURL, func(t *testing.T) {
			t.Parallel()
			_, err := clixnow.NewClient("acme", testToken, append(test.opts, clixnow.WithBaseURL(test.baseURL))...)
			if test.fault == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.fault)
			assertPrintsNeither(t, err, "acme", testToken)
		})
	}
}

func TestNewClientAccepts(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		brand string
		opts  []clixnow.Option
	}{
		"brand of one letter": {"a", nil},
		"brand of both cases": {"AcMe", nil},
		"brand of digits":     {"24", nil},
		"brand with hyphens":  {"ac--me", nil},
		"brand of 63":         {strings.Repeat("a", 63), nil},
		"every default":       {"acme", []clixnow.Option{clixnow.WithRetry(clixnow.RetryPolicy{})}},
		"MinBackoff alone": {
			"acme",
			[]clixnow.Option{clixnow.WithRetry(clixnow.RetryPolicy{MinBackoff: time.Hour})},
		},
		"MaxBackoff alone": {
			"acme",
			[]clixnow.Option{clixnow.WithRetry(clixnow.RetryPolicy{MaxBackoff: 1})},
		},
		"one back-off": {
			"acme",
			[]clixnow.Option{clixnow.WithRetry(clixnow.RetryPolicy{MinBackoff: 1, MaxBackoff: 1})},
		},
		"the longest back-off": {
			"acme",
			[]clixnow.Option{clixnow.WithRetry(clixnow.RetryPolicy{MinBackoff: 1, MaxBackoff: math.MaxInt64})},
		},
		"the smallest response limit":       {"acme", []clixnow.Option{clixnow.WithMaxResponseBytes(1)}},
		"the greatest response limit":       {"acme", []clixnow.Option{clixnow.WithMaxResponseBytes(math.MaxInt64)}},
		"a rate limiter that is no pointer": {"acme", []clixnow.Option{clixnow.WithRateLimiter(unlimited{})}},
		"options of all kinds": {"acme", []clixnow.Option{
			clixnow.WithHTTPClient(&http.Client{}), clixnow.WithUserAgent("my-app/1.2 (linux)"),
			clixnow.WithInsecureHTTP(),
			clixnow.WithRateLimiter(limiter(func(context.Context) error { return nil })),
			clixnow.WithLogger(slog.Default()),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := clixnow.NewClient(test.brand, testToken, test.opts...)
			require.NoError(t, err)
		})
	}
}

func TestOptionsInAnyOrder(t *testing.T) {
	t.Parallel()
	insecure, base := clixnow.WithInsecureHTTP(), clixnow.WithBaseURL("http://api.example/v")
	for _, opts := range [][]clixnow.Option{{insecure, base}, {base, insecure}} {
		seen := recorded(t, opts...)
		assert.Equal(t, "http://api.example/v/api/system/v1/leads", seen.URL.String())
	}
	for _, opts := range [][]clixnow.Option{
		{clixnow.WithBaseURL("https://first.example"), clixnow.WithBaseURL("https://last.example")},
		// the last one is judged
		{clixnow.WithBaseURL("http://not.loopback.example"), clixnow.WithBaseURL("https://last.example")},
	} {
		assert.Equal(t, "last.example", recorded(t, opts...).URL.Host)
	}
}

// recorded is the request of a create by a client with these options.
func recorded(t *testing.T, opts ...clixnow.Option) *http.Request {
	t.Helper()
	var seen *http.Request
	client, err := clixnow.NewClient("AcMe", testToken, append(opts, clixnow.WithHTTPClient(&http.Client{
		Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			seen = r
			return &http.Response{StatusCode: 201, Body: io.NopCloser(strings.NewReader(`{"leadId":7}`)), Request: r},
				nil
		}),
	}))...)
	require.NoError(t, err)
	_, err = client.CreateLead(t.Context(), vendorsLead())
	require.NoError(t, err)
	return seen
}

func TestURLs(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "https://integration.acme.clixnow.com/api/system/v1/leads",
		strings.ToLower(recorded(t).URL.String()))
	for base, want := range map[string]string{
		"https://api.example":              "https://api.example/api/system/v1/leads",
		"https://api.example/":             "https://api.example/api/system/v1/leads",
		"https://api.example/v":            "https://api.example/v/api/system/v1/leads",
		"https://api.example/v/":           "https://api.example/v/api/system/v1/leads",
		"https://api.example/a%2Fb/c%20d/": "https://api.example/a%2Fb/c%20d/api/system/v1/leads",
		"https://api.example:8443":         "https://api.example:8443/api/system/v1/leads",
	} {
		t.Run(base, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, want, recorded(t, clixnow.WithBaseURL(base)).URL.String())
		})
	}
}

// What is on the wire, and nothing else: an Idempotency-Key would have net/http
// send a POST again by itself.
func TestHeaders(t *testing.T) {
	t.Parallel()
	var seen atomic.Pointer[http.Request]
	handle := func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r.Clone(r.Context()))
		if r.Method == http.MethodGet {
			answer(200, "", `[{"id":7}]`)(w, r)
			return
		}
		answer(201, "", `{"leadId":7}`)(w, r)
	}
	client := newClient(t, handle)
	_, err := client.CreateLead(t.Context(), vendorsLead())
	require.NoError(t, err)
	post := seen.Load()
	assert.Equal(t, "POST /api/system/v1/leads", post.Method+" "+post.RequestURI)
	assert.Positive(t, post.ContentLength)
	post.Header.Del("Content-Length")
	assert.Equal(t, http.Header{
		"Authorization":   {"ApiToken " + testToken},
		"Accept":          {"application/json"},
		"Content-Type":    {"application/json"},
		"User-Agent":      {"clixnow-go/0.1.0"},
		"Accept-Encoding": {"gzip"}, // net/http's own: it unpacks by itself
	}, post.Header)

	_, err = client.GetLead(t.Context(), 7)
	require.NoError(t, err)
	get := seen.Load()
	assert.Equal(t, http.Header{
		"Authorization":   {"ApiToken " + testToken},
		"Accept":          {"application/json"},
		"User-Agent":      {"clixnow-go/0.1.0"},
		"Accept-Encoding": {"gzip"},
	}, get.Header)
	assert.Zero(t, get.ContentLength)

	client = newClient(t, handle, clixnow.WithUserAgent("my-app/1.2"))
	_, err = client.GetLead(t.Context(), 7)
	require.NoError(t, err)
	assert.Equal(t, "my-app/1.2 clixnow-go/"+clixnow.Version, seen.Load().UserAgent())
}

func TestWithHTTPClient(t *testing.T) {
	t.Parallel()
	t.Run("is copied and never changed", func(t *testing.T) {
		t.Parallel()
		transport := &http.Transport{}
		t.Cleanup(transport.CloseIdleConnections)
		given := &http.Client{Transport: transport, Timeout: time.Minute}
		client := newClient(t, answer(200, "", `[{"id":7}]`), clixnow.WithHTTPClient(given))
		_, err := client.GetLead(t.Context(), 7)
		require.NoError(t, err)
		assert.Equal(t, http.Client{Transport: transport, Timeout: time.Minute}, *given)

		given.Transport = roundTripper(func(*http.Request) (*http.Response, error) {
			return nil,
				errors.New("changed later")
		})
		_, err = client.GetLead(t.Context(), 7)
		require.NoError(t, err, "a change that comes later changes nothing")
	})
	t.Run("its CheckRedirect is not used", func(t *testing.T) {
		t.Parallel()
		var asked, requests atomic.Int64
		client := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
			requests.Add(1)
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(http.StatusTemporaryRedirect)
		}, clixnow.WithHTTPClient(&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error {
			asked.Add(1)
			return nil
		}}))
		_, err := client.GetLead(t.Context(), 7)
		require.ErrorIs(t, err, clixnow.ErrRedirect)
		assert.Zero(t, asked.Load())
		assert.Equal(t, int64(1), requests.Load())
	})
	t.Run("its Jar is used", func(t *testing.T) {
		t.Parallel()
		jar, err := cookiejar.New(nil)
		require.NoError(t, err)
		var cookies []string
		client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
			cookies = append(cookies, r.Header.Get("Cookie"))
			http.SetCookie(w, &http.Cookie{Name: "affinity", Value: "node-3"})
			answer(200, "", `[{"id":7}]`)(w, r)
		}, clixnow.WithHTTPClient(&http.Client{Jar: jar}))
		for range 2 {
			_, err = client.GetLead(t.Context(), 7)
			require.NoError(t, err)
		}
		assert.Equal(t, []string{"", "affinity=node-3"}, cookies)
	})
	t.Run("its Timeout is each attempt's", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			gets := 0
			transport := inMemory{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if gets++; gets < 3 {
					<-r.Context().Done()
					return
				}
				answer(200, "", `[{"id":7}]`)(w, r)
			})}
			hc := &http.Client{Transport: transport, Timeout: time.Minute}
			_, err := clientOf(t, "https://clixnow.example", clixnow.WithHTTPClient(hc)).GetLead(t.Context(), 7)
			require.NoError(t, err)
			assert.Equal(t, 3, gets)
		})
	})
	t.Run("without a Transport", func(t *testing.T) {
		t.Parallel()
		client := newClient(t, answer(200, "", `[{"id":7}]`), clixnow.WithHTTPClient(&http.Client{}))
		_, err := client.GetLead(t.Context(), 7)
		require.NoError(t, err)
	})
}

func TestTransportIsOfTheProgram(t *testing.T) { //nolint:paralleltest // it replaces http.DefaultTransport
	standard := http.DefaultTransport
	t.Cleanup(func() { http.DefaultTransport = standard })
	for name, opts := range map[string][]clixnow.Option{ //nolint:paralleltest // see above
		"without a client": nil, "with a client that has none": {clixnow.WithHTTPClient(&http.Client{})},
	} {
		t.Run(name, func(t *testing.T) {
			var requests int
			http.DefaultTransport = roundTripper(func(r *http.Request) (*http.Response, error) {
				requests++
				deadline, has := r.Context().Deadline()
				assert.Equal(t, opts == nil, has)
				if has {
					assert.InDelta(t, 30, time.Until(deadline).Seconds(), 10)
				}
				return &http.Response{
					StatusCode: 200, Body: io.NopCloser(strings.NewReader(`[{"id":7}]`)),
					Request: r,
				}, nil
			})
			client, err := clixnow.NewClient("acme", testToken, opts...)
			require.NoError(t, err)
			_, err = client.GetLead(t.Context(), 7)
			require.NoError(t, err)
			assert.Equal(t, 1, requests)
		})
	}
}

func TestTransportIsACloneOfTheProgramsOwn(t *testing.T) { //nolint:paralleltest // it replaces http.DefaultTransport
	standard := http.DefaultTransport
	t.Cleanup(func() { http.DefaultTransport = standard })
	var proxied []*url.URL
	program := &http.Transport{
		Proxy: func(r *http.Request) (*url.URL, error) {
			proxied = append(proxied, r.URL)
			return nil, nil //nolint:nilnil // no proxy
		},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	}
	http.DefaultTransport = program
	client := newClient(t, answer(200, "", `[{"id":7}]`))
	http.DefaultTransport = standard
	_, err := client.GetLead(t.Context(), 7)
	require.NoError(t, err)
	assert.Len(t, proxied, 1, "its proxy settings are kept")
	assert.Zero(t, program.MaxIdleConnsPerHost, "and it is not changed")
}

func TestTypedNilTransport(t *testing.T) {
	t.Parallel()
	client := newClient(t, answer(http.StatusOK, "application/json", `{"leadId":7}`),
		clixnow.WithHTTPClient(&http.Client{Transport: (*http.Transport)(nil)}))
	_, err := client.CreateLead(t.Context(), vendorsLead())
	require.NoError(t, err)
}

type unlimited struct{}

func (unlimited) Wait(context.Context) error { return nil }
