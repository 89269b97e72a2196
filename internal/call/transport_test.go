package call_test

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/internal/call"
)

func TestNewTransport(t *testing.T) {
	t.Parallel()
	given := &http.Transport{}
	assert.Same(t, given, call.NewTransport(given))
	for name, none := range map[string]http.RoundTripper{"nil": nil, "nil *http.Transport": (*http.Transport)(nil)} {
		own, ok := call.NewTransport(none).(*http.Transport)
		require.True(t, ok, name)
		assert.NotNil(t, own, name)
		assert.NotSame(t, http.DefaultTransport, own, name)
	}
}

func TestCloseIdleConnections(t *testing.T) {
	t.Parallel()
	closer := &closing{RoundTripper: status(200)}
	call.CloseIdleConnections(closer)
	assert.True(t, closer.closed)
	assert.NotPanics(t, func() { call.CloseIdleConnections(status(200)) }, "not every RoundTripper has the method")
}

type closing struct {
	http.RoundTripper

	closed bool
}

func (c *closing) CloseIdleConnections() { c.closed = true }

func TestJar(t *testing.T) {
	t.Parallel()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	var cookies []string
	caller := newCaller(step(func(r *http.Request) (*http.Response, error) {
		cookies = append(cookies, r.Header.Get("Cookie"))
		r.URL.Host = "evil.example" // some RoundTrippers change it
		return status(302, "Location", "/other", "Set-Cookie", "affinity=node-3")(r)
	}))
	caller.Jar = jar
	for range 2 {
		caller.Do(t.Context(), newRequest(http.MethodGet, "https://acme.example/"))
	}
	assert.Equal(t, []string{"", "affinity=node-3"}, cookies)
}

// A redirect is a response like any other one, whatever its Location is.
func TestRedirectIsNotFollowed(t *testing.T) {
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
			for range 2 { // a RoundTripper may return the same header twice, also at the same time
				calls.Go(func() {
					o := caller.Do(t.Context(), newRequest(http.MethodPost, "https://acme.example/leads"))
					assert.NoError(t, o.Err)
					assert.Equal(t, 302, o.Status)
					assert.Equal(t, http.Header{"Location": {location}, "X-Other": {"kept"}}, o.Header)
				})
			}
			calls.Wait()
			assert.Equal(t, int64(2), requests.Load())
			assert.Equal(t, []string{"Location", "X-Other"}, slices.Sorted(maps.Keys(served)), "it is not changed")
		})
	}
}

func TestRoundTripperThatReturnsNothing(t *testing.T) {
	t.Parallel()
	o, _ := scripted(t.Context(), http.MethodPost,
		func(*http.Request) (*http.Response, error) { return nil, nil }) //nolint:nilnil // that is the case
	require.ErrorContains(t, o.Err, "neither a response nor an error")
	assert.True(t, o.Sent)
}

// An *http.Transport reports the connection that it asks for. Errors before
// that show that the request was not sent.
func TestSilenceOfAnHTTPTransport(t *testing.T) {
	t.Parallel()
	noProxy := errors.New("the proxy is not configured")
	broken := func(caller *call.Caller) {
		caller.Header = func(string, string) http.Header { return http.Header{"X-Broken": {"a\nb"}} }
	}
	failingProxy := func(*http.Request) (*url.URL, error) { return nil, noProxy }
	tests := []struct {
		name      string
		transport *http.Transport
		target    string
		change    func(*call.Caller)
		sent      bool
	}{
		{name: "invalid header", transport: &http.Transport{}, change: broken},
		{name: "no host", transport: &http.Transport{}, target: "https:///leads"},
		{name: "unsupported scheme", transport: &http.Transport{}, target: "gopher://acme.example/leads"},
		{name: "the proxy function fails", transport: &http.Transport{Proxy: failingProxy}},
		{
			name: "a registered protocol fails after sending", sent: true,
			transport: registered(fails(errors.New("connection reset by peer")), nil),
		},
		{
			name: "a registered protocol hangs", sent: true,
			transport: registered(fails(context.DeadlineExceeded), nil),
		},
		{
			name: "a registered protocol fails, where the proxy function fails too", sent: true,
			transport: registered(fails(errors.New("connection reset by peer")), failingProxy),
		},
		{
			name:      "a registered protocol leaves the request to the transport",
			transport: registered(fails(http.ErrSkipAltProtocol), failingProxy),
		},
		{
			name:      "a registered protocol refuses",
			transport: registered(fails(call.ErrNotSent), nil),
		},
		{
			name: "a registered protocol reports a connection", sent: true,
			transport: registered(connects(fails(call.ErrNotSent)), nil),
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			caller := newCaller(test.transport)
			caller.Attempts = 1
			if test.change != nil {
				test.change(caller)
			}
			o := caller.Do(t.Context(), newRequest(http.MethodPost, cmp.Or(test.target, "http://acme.example/leads")))
			require.Error(t, o.Err)
			assert.Equal(t, test.sent, o.Sent)
		})
	}
}

// registered returns a transport with another RoundTripper for http.
func registered(other http.RoundTripper, proxy func(*http.Request) (*url.URL, error)) *http.Transport {
	transport := &http.Transport{Proxy: proxy}
	transport.RegisterProtocol("http", other)
	return transport
}

// net/http resends a request that the server declares unprocessed, as often as
// the server declares it.
func TestResendsOfNetHTTPAreBounded(t *testing.T) {
	t.Parallel()
	untilDone := func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, context.Cause(r.Context())
	}
	unlessDone := func(r *http.Request) (*http.Response, error) {
		if err := r.Context().Err(); err != nil {
			return nil, err
		}
		return status(201)(r)
	}
	tests := []struct {
		name string
		step step
		// status is 0 if the call ends.
		status int
	}{
		{"three times", writes(3, unlessDone), 201},
		{"three times, and an error", writes(3, fails(net.ErrClosed)), 0},
		{"four times", writes(4, untilDone), 0},
		{"four times, and an error of its own", writes(4, fails(net.ErrClosed)), 0},
		{"four times, in the body", writes(4, answer(201, stalling)), 201},
	}
	for _, test := range tests {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			inBubble(t, method+" "+test.name, func(t *testing.T) {
				s := &script{steps: []step{test.step}}
				caller := newCaller(s)
				caller.Attempts = 1
				o := caller.Do(t.Context(), newRequest(method, "https://acme.example/leads"))
				assert.Zero(t, time.Since(s.began[0]), "it ends at once")
				assert.Equal(t, test.status, o.Status)
				if test.name == "three times" {
					assert.NoError(t, o.Err)
					return
				}
				assert.True(t, o.Sent)
				assert.True(t, o.ConnectionLost)
				if test.name == "three times, and an error" {
					assert.ErrorIs(t, o.Err, net.ErrClosed)
					return
				}
				require.EqualError(t, o.Err, "net/http has resent the request too often")
				require.NotErrorIs(t, o.Err, context.Canceled, "the context of the caller lives")
			})
		}
	}
	for method, want := range map[string]int{http.MethodGet: 3, http.MethodPost: 1} {
		inBubble(t, method+" is retried as after a lost connection", func(t *testing.T) {
			_, s := scripted(t.Context(), method, writes(4, untilDone))
			assert.Len(t, s.began, want)
		})
	}
}

// If the kernel went on sending after a failed attempt, the request could
// arrive after EnsureLead has seen that the lead is absent.
func TestUndeliveredRequestIsDiscarded(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		for method, want := range map[string][]int{http.MethodGet: nil, http.MethodPost: {0}} {
			t.Run(method+", HTTP/2 "+strconv.FormatBool(http2), func(t *testing.T) {
				t.Parallel()
				server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
				server.EnableHTTP2 = http2
				server.StartTLS()
				t.Cleanup(server.Close)
				var lingers []int
				transport := server.Client().Transport.(*http.Transport)
				transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
					conn, err := new(net.Dialer).DialContext(ctx, network, address)
					if err != nil {
						return nil, err
					}
					return &lingerConn{conn.(*net.TCPConn), &lingers}, nil
				}
				o := newCaller(transport).Do(t.Context(), newRequest(method, server.URL))
				require.NoError(t, o.Err)
				assert.Equal(t, want, lingers)
			})
		}
	}
}

// lingerConn records the calls of SetLinger.
type lingerConn struct {
	*net.TCPConn

	lingers *[]int
}

func (c *lingerConn) SetLinger(seconds int) error {
	*c.lingers = append(*c.lingers, seconds)
	return c.TCPConn.SetLinger(seconds)
}
