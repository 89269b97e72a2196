package clixnow_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
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
		// fault is part of the error.
		fault string
	}{
		{"no brand", "", testToken, nil, "brand"},
		{"brand with a dot", "acme.clixnow", testToken, nil, "brand"},
		{"brand that is a host", "integration.acme.clixnow.com", testToken, nil, "brand"},
		{"brand that is a URL", "https://acme", testToken, nil, "brand"},
		{"brand with a slash", "acme/", testToken, nil, "brand"},
		{"brand with an at", "me@acme", testToken, nil, "brand"},
		{"brand with a port", "acme:443", testToken, nil, "brand"},
		{"brand with an underscore", "ac_me", testToken, nil, "brand"},
		{"brand with a space", "ac me", testToken, nil, "brand"},
		{"brand with a space before it", " acme", testToken, nil, "brand"},
		{"brand with a line break after it", "acme\n", testToken, nil, "brand"},
		{"brand that begins with a hyphen", "-acme", testToken, nil, "brand"},
		{"brand that ends with a hyphen", "acme-", testToken, nil, "brand"},
		{"brand with a letter that is not ASCII", "äcme", testToken, nil, "brand"},
		{
			"nil token source, and a token", "acme", testToken,
			[]clixnow.Option{clixnow.WithTokenSource(nil)},
			"WithTokenSource",
		},
		{"brand of 64 characters", strings.Repeat("a", 64), testToken, nil, "brand"},
		{"brand and token swapped", testToken + "_" + strings.Repeat("x", 64), "acme", nil, "brand"},
		{
			"no brand, but a base URL", "", testToken,
			[]clixnow.Option{clixnow.WithBaseURL("https://api.example")},
			"brand",
		},

		{"no token", "acme", "", nil, "WithTokenSource"},
		{"token that is a space", "acme", " ", nil, "token"},
		{"token with a space", "acme", testToken + " x", nil, "token"},
		{"token with a space before it", "acme", " " + testToken, nil, "token"},
		{"token with a line break after it", "acme", testToken + "\n", nil, "token"},
		{"token with a header", "acme", testToken + "\r\nX-Evil: 1", nil, "token"},
		{"token with a tab", "acme", testToken + "\tx", nil, "token"},
		{"token with a NUL", "acme", testToken + "\x00", nil, "token"},
		{"token with a DEL", "acme", testToken + "\x7f", nil, "token"},
		{"token with a letter that is not ASCII", "acme", testToken + "é", nil, "token"},
		{"token that is not UTF-8", "acme", testToken + "\xff", nil, "token"},

		{"nil option", "acme", testToken, []clixnow.Option{clixnow.WithoutValidation(), nil}, "nil option"},
		{"nil HTTP client", "acme", testToken, []clixnow.Option{clixnow.WithHTTPClient(nil)}, "WithHTTPClient"},
		{"nil rate limiter", "acme", testToken, []clixnow.Option{clixnow.WithRateLimiter(nil)}, "WithRateLimiter"},
		{
			"nil pointer as rate limiter", "acme", testToken,
			[]clixnow.Option{clixnow.WithRateLimiter(nilPointer)},
			"WithRateLimiter",
		},
		{
			"nil function as rate limiter", "acme", testToken,
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
		{"nil transport wrap", "acme", testToken, []clixnow.Option{clixnow.WithTransport(nil)}, "WithTransport"},
		{
			"transport wrap that returns nil", "acme", testToken,
			[]clixnow.Option{clixnow.WithTransport(func(http.RoundTripper) http.RoundTripper { return nil })},
			"WithTransport",
		},
		{
			"transport wrap that returns a nil pointer", "acme", testToken,
			[]clixnow.Option{clixnow.WithTransport(func(http.RoundTripper) http.RoundTripper {
				return (*http.Transport)(nil)
			})},
			"WithTransport",
		},
		{
			"second transport wrap that returns nil", "acme", testToken,
			[]clixnow.Option{
				clixnow.WithTransport(func(next http.RoundTripper) http.RoundTripper { return next }),
				clixnow.WithTransport(func(http.RoundTripper) http.RoundTripper { return nil }),
			},
			"WithTransport",
		},
		{"negative timeout", "acme", testToken, []clixnow.Option{clixnow.WithTimeout(-1)}, "WithTimeout"},
		{"no looks", "acme", testToken, []clixnow.Option{clixnow.WithLooks()}, "WithLooks"},
		{"negative look", "acme", testToken, []clixnow.Option{clixnow.WithLooks(time.Second, -1)}, "WithLooks"},
		{"nil function for refusals", "acme", testToken, []clixnow.Option{clixnow.WithRefusals(nil)}, "WithRefusals"},
		{"nil token source", "acme", "", []clixnow.Option{clixnow.WithTokenSource(nil)}, "WithTokenSource"},
		{
			"token and token source", "acme", testToken,
			[]clixnow.Option{clixnow.WithTokenSource(sourceOf(testToken))},
			"WithTokenSource",
		},
		{
			"token source, and a brand that is not a label", "acme.", "",
			[]clixnow.Option{clixnow.WithTokenSource(sourceOf(testToken))},
			"brand",
		},
		{
			"product with a line break", "acme", testToken,
			[]clixnow.Option{clixnow.WithUserAgent("my-app\r\nX-Evil: 1")},
			"WithUserAgent",
		},
		{
			"product with a space after it", "acme", testToken,
			[]clixnow.Option{clixnow.WithUserAgent("my-app ")},
			"WithUserAgent",
		},
		{"empty product", "acme", testToken, []clixnow.Option{clixnow.WithUserAgent("")}, "WithUserAgent"},
		{
			"product with a letter that is not ASCII", "acme", testToken,
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

// assertPrintsNeither asserts that an error prints neither token nor brand.
// They may have been swapped.
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
		// fault is part of the error. "" means that the URL is accepted.
		fault string
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
		"brand of one letter":    {"a", nil},
		"brand in both cases":    {"AcMe", nil},
		"brand of digits":        {"0123456789", nil},
		"brand from a to Z":      {"azAZ", nil},
		"brand with hyphens":     {"ac--me", nil},
		"brand of 63 characters": {strings.Repeat("a", 63), nil},
		"every default":          {"acme", []clixnow.Option{clixnow.WithRetry(clixnow.RetryPolicy{})}},
		"MinBackoff alone": {
			"acme",
			[]clixnow.Option{clixnow.WithRetry(clixnow.RetryPolicy{MinBackoff: time.Hour})},
		},
		"MaxBackoff alone": {
			"acme",
			[]clixnow.Option{clixnow.WithRetry(clixnow.RetryPolicy{MaxBackoff: 1})},
		},
		"equal bounds of the back-off": {
			"acme",
			[]clixnow.Option{clixnow.WithRetry(clixnow.RetryPolicy{MinBackoff: 1, MaxBackoff: 1})},
		},
		"the longest back-off": {
			"acme",
			[]clixnow.Option{clixnow.WithRetry(clixnow.RetryPolicy{MinBackoff: 1, MaxBackoff: math.MaxInt64})},
		},
		"the smallest response limit":          {"acme", []clixnow.Option{clixnow.WithMaxResponseBytes(1)}},
		"the largest response limit":           {"acme", []clixnow.Option{clixnow.WithMaxResponseBytes(math.MaxInt64)}},
		"a rate limiter that is not a pointer": {"acme", []clixnow.Option{clixnow.WithRateLimiter(unlimited{})}},
		"options of all kinds": {"acme", []clixnow.Option{
			clixnow.WithHTTPClient(&http.Client{}), clixnow.WithUserAgent("my-app/1.2 (~linux)"),
			clixnow.WithInsecureHTTP(),
			clixnow.WithRateLimiter(limiter(func(context.Context) error { return nil })),
			clixnow.WithLogger(slog.Default()),
			clixnow.WithTransport(func(next http.RoundTripper) http.RoundTripper { return next }),
			clixnow.WithTimeout(0), clixnow.WithLooks(0, time.Hour),
			clixnow.WithRefusals(func(*clixnow.APIError) error { return nil }),
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
		// only the last one is checked
		{clixnow.WithBaseURL("http://not.loopback.example"), clixnow.WithBaseURL("https://last.example")},
	} {
		assert.Equal(t, "last.example", recorded(t, opts...).URL.Host)
	}
}

// recorded returns the request of a create by a client with these options.
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

// These are all headers. With an Idempotency-Key, net/http would resend a POST
// by itself.
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
		"Accept-Encoding": {"gzip"}, // net/http adds it, and decompresses
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

// A RoundTripper may append to the values of a header.
func TestHeadersDoNotShareValues(t *testing.T) {
	t.Parallel()
	names := []string{"Authorization", "User-Agent", "Accept", "Content-Type"}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			appends := func(next http.RoundTripper) http.RoundTripper {
				return roundTripper(func(r *http.Request) (*http.Response, error) {
					before := r.Header.Clone()
					r.Header.Add(name, "more")
					before.Add(name, "more")
					assert.Equal(t, before, r.Header)
					return next.RoundTrip(r)
				})
			}
			client := newClient(t, answer(201, "", `{"leadId":7}`), clixnow.WithTransport(appends))
			_, err := client.CreateLead(t.Context(), vendorsLead())
			require.NoError(t, err)
		})
	}
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
			return nil, errors.New("changed later")
		})
		_, err = client.GetLead(t.Context(), 7)
		require.NoError(t, err, "a later change must have no effect")
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
	t.Run("its Timeout is that of each attempt", func(t *testing.T) {
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
	assert.Len(t, proxied, 1, "the proxy settings are kept")
	assert.Zero(t, program.MaxIdleConnsPerHost, "it is not changed")
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

// sourceOf returns a token source that returns the tokens in turn, and then the
// last one again.
func sourceOf(tokens ...string) func(context.Context) (string, error) {
	var asked atomic.Int64
	return func(context.Context) (string, error) {
		return tokens[min(int(asked.Add(1)), len(tokens))-1], nil
	}
}

func TestBrand(t *testing.T) {
	t.Parallel()
	client, err := clixnow.NewClient("AcMe", testToken)
	require.NoError(t, err)
	assert.Equal(t, "AcMe", client.Brand())
}

// passing returns a wrap that notes its name for each request.
func passing(notes *[]string, name string) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			*notes = append(*notes, name)
			return next.RoundTrip(r)
		})
	}
}

func TestWithTransport(t *testing.T) {
	t.Parallel()
	t.Run("the last wrap is the outermost", func(t *testing.T) {
		t.Parallel()
		var notes []string
		hc := &http.Client{Transport: passing(&notes, "client")(http.DefaultTransport)}
		client := newClient(t, answer(200, "", `[{"id":7}]`), clixnow.WithTransport(passing(&notes, "first")),
			clixnow.WithTransport(passing(&notes, "last")), clixnow.WithHTTPClient(hc))
		_, err := client.GetLead(t.Context(), 7)
		require.NoError(t, err)
		assert.Equal(t, []string{"last", "first", "client"}, notes)
	})
	t.Run("it sees each attempt, with the header", func(t *testing.T) {
		t.Parallel()
		var seen []string
		client := newClient(t, answer(429, "", ""), clixnow.WithTransport(
			func(next http.RoundTripper) http.RoundTripper {
				return roundTripper(func(r *http.Request) (*http.Response, error) {
					seen = append(seen, r.Header.Get("Authorization"))
					return next.RoundTrip(r)
				})
			}))
		_, err := client.CreateLead(t.Context(), vendorsLead())
		require.ErrorIs(t, err, clixnow.ErrRateLimited)
		authorization := "ApiToken " + testToken
		assert.Equal(t, []string{authorization, authorization, authorization}, seen)
	})
	t.Run("it wraps the client's own transport", func(t *testing.T) {
		t.Parallel()
		var inner http.RoundTripper
		_, err := clixnow.NewClient("acme", testToken, clixnow.WithTransport(
			func(next http.RoundTripper) http.RoundTripper {
				inner = next
				return next
			}))
		require.NoError(t, err)
		own, ok := inner.(*http.Transport)
		require.True(t, ok)
		assert.Equal(t, 64, own.MaxIdleConnsPerHost)
		assert.Equal(t, 30*time.Second, own.IdleConnTimeout)
	})
	t.Run("the timeout does not change", func(t *testing.T) {
		t.Parallel()
		hour, none := &http.Client{Timeout: time.Hour}, &http.Client{}
		for name, test := range map[string]struct {
			opts []clixnow.Option
			want time.Duration
		}{
			"default":                       {nil, 30 * time.Second},
			"of the client":                 {[]clixnow.Option{clixnow.WithHTTPClient(hour)}, time.Hour},
			"of the client, which has none": {[]clixnow.Option{clixnow.WithHTTPClient(none)}, 0},
		} {
			assert.Equal(t, test.want, timeoutOf(t, test.opts...), name)
		}
	})
	t.Run("it may refuse to send", func(t *testing.T) {
		t.Parallel()
		open := errors.New("circuit breaker is open")
		client := newClient(t, answer(201, "", `{"leadId":7}`), clixnow.WithTransport(
			func(http.RoundTripper) http.RoundTripper {
				return roundTripper(func(*http.Request) (*http.Response, error) {
					return nil, errors.Join(open, clixnow.ErrNotSent)
				})
			}))
		_, err := client.CreateLead(t.Context(), vendorsLead())
		requireClass(t, clixnow.ErrNotSent, err)
		require.ErrorIs(t, err, open)
		require.ErrorContains(t, err, "circuit breaker is open")
	})
}

// timeoutOf returns the timeout of an attempt. 0 means that there is none. The
// options come before and after WithTransport: their order must not matter.
func timeoutOf(t *testing.T, opts ...clixnow.Option) (timeout time.Duration) {
	t.Helper()
	measure := clixnow.WithTransport(func(http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if deadline, ok := r.Context().Deadline(); ok {
				timeout = time.Until(deadline)
			}
			return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(`[{"id":7}]`))}, nil
		})
	})
	var timeouts []time.Duration
	for _, ordered := range [][]clixnow.Option{append([]clixnow.Option{measure}, opts...), append(opts, measure)} {
		timeout = 0
		synctest.Test(t, func(t *testing.T) {
			client, err := clixnow.NewClient("acme", testToken, ordered...)
			require.NoError(t, err)
			_, err = client.GetLead(t.Context(), 7)
			require.NoError(t, err)
		})
		timeouts = append(timeouts, timeout)
	}
	require.Equal(t, timeouts[0], timeouts[1], "the order of options matters")
	return timeout
}

func TestWithTimeout(t *testing.T) {
	t.Parallel()
	hour := clixnow.WithHTTPClient(&http.Client{Timeout: time.Hour})
	for name, test := range map[string]struct {
		opts []clixnow.Option
		want time.Duration
	}{
		"alone": {[]clixnow.Option{clixnow.WithTimeout(time.Minute)}, time.Minute},
		"none":  {[]clixnow.Option{clixnow.WithTimeout(0)}, 0},
		"after the Timeout of a client": {
			[]clixnow.Option{hour, clixnow.WithTimeout(time.Minute)},
			time.Minute,
		},
		"before the Timeout of a client": {
			[]clixnow.Option{clixnow.WithTimeout(time.Minute), hour},
			time.Minute,
		},
		"none, instead of the Timeout of a client": {[]clixnow.Option{clixnow.WithTimeout(0), hour}, 0},
		"the last one counts": {
			[]clixnow.Option{clixnow.WithTimeout(time.Second), clixnow.WithTimeout(time.Minute)}, time.Minute,
		},
	} {
		assert.Equal(t, test.want, timeoutOf(t, test.opts...), name)
	}
}

// closing notes that its idle connections are closed.
type closing struct {
	http.RoundTripper

	closed *atomic.Int64
}

func (c closing) CloseIdleConnections() { c.closed.Add(1) }

func TestCloseIdleConnections(t *testing.T) {
	t.Parallel()
	t.Run("reaches the transport inside the wraps", func(t *testing.T) {
		t.Parallel()
		var connections, requests atomic.Int64
		server := httptest.NewUnstartedServer(answer(200, "", `[{"id":7}]`))
		server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				connections.Add(1)
			}
		}
		server.Start()
		t.Cleanup(server.Close)
		counted := func(next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(r *http.Request) (*http.Response, error) {
				requests.Add(1)
				return next.RoundTrip(r)
			})
		}
		client := clientOf(t, server.URL, clixnow.WithTransport(counted), clixnow.WithTransport(counted))
		for range 2 {
			_, err := client.GetLead(t.Context(), 7)
			require.NoError(t, err)
		}
		require.Equal(t, int64(1), connections.Load(), "the pool is kept")
		client.CloseIdleConnections()
		_, err := client.GetLead(t.Context(), 7)
		require.NoError(t, err, "the client stays usable")
		assert.Equal(t, int64(2), connections.Load())
		assert.Equal(t, int64(6), requests.Load())
	})
	t.Run("reaches each wrap", func(t *testing.T) {
		t.Parallel()
		var inner, middle, outer atomic.Int64
		client, err := clixnow.NewClient("acme", testToken,
			clixnow.WithHTTPClient(&http.Client{Transport: closing{nil, &inner}}),
			clixnow.WithTransport(func(next http.RoundTripper) http.RoundTripper { return closing{next, &middle} }),
			clixnow.WithTransport(func(next http.RoundTripper) http.RoundTripper { return closing{next, &outer} }))
		require.NoError(t, err)
		client.CloseIdleConnections()
		assert.Equal(t, []int64{1, 1, 1}, []int64{inner.Load(), middle.Load(), outer.Load()})
	})
}

func TestBrandInLogAndErrors(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	client := newClient(t, answer(503, "", ""), clixnow.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	_, err := client.GetLead(t.Context(), 7)
	require.ErrorContains(t, err, "clixnow: acme: GET /api/system/v1/leads/search: 503 Service Unavailable")
	var answered *clixnow.APIError
	require.ErrorAs(t, err, &answered)
	assert.Equal(t, "acme", answered.Brand)
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	require.Len(t, lines, 2, "two retries")
	for _, line := range lines {
		assert.Contains(t, line, " brand=acme ")
	}
}

func TestSearchWithNoContent(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]error{204: nil, 200: clixnow.ErrInvalidResponse} {
		client := newClient(t, answer(status, "", ""))
		page, err := client.SearchLeadsPage(t.Context(), clixnow.SearchLeadsRequest{})
		require.ErrorIs(t, err, want, status)
		if want == nil {
			assert.Empty(t, page.Leads)
			assert.Nil(t, page.Next)
		}
		_, err = client.CreateLead(t.Context(), vendorsLead())
		requireClass(t, clixnow.ErrOutcomeUnknown, err)
	}
	_, err := newClient(t, answer(204, "", "")).GetLead(t.Context(), 7)
	require.ErrorIs(t, err, clixnow.ErrLeadNotFound)
}

func TestWithLooksCopiesItsPauses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := newAPI()
		api.Inject(clixnowtest.Fault{Method: http.MethodPost, Drop: clixnowtest.DropAfterHandling})
		pauses := []time.Duration{time.Second}
		client := memoryClient(t, api, clixnow.WithLooks(pauses...))
		pauses[0] = time.Hour
		began := time.Now()
		lead, err := client.EnsureLead(t.Context(), vendorsLead())
		require.NoError(t, err)
		assert.True(t, lead.Recovered)
		assert.Less(t, time.Since(began), time.Minute)
	})
}
