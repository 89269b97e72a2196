package e2e_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
)

// These tests make creates fail over real connections. Each case has the class
// of the error, the number of POSTs that arrived, and what the error matches.

// arrivals counts the requests that reached a server.
type arrivals struct {
	atomic.Int64

	first sync.Once
	// came is closed once the first request has arrived.
	came chan struct{}
}

func newArrivals() *arrivals { return &arrivals{came: make(chan struct{})} }

func (a *arrivals) arrive() {
	a.Add(1)
	a.first.Do(func() { close(a.came) })
}

func (a *arrivals) count(handle http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			a.arrive()
		}
		handle(w, r)
	}
}

// startServer starts a server that serves until the test ends. It does not log
// the connections that tests break.
func startServer(t *testing.T, start func(*httptest.Server), handle http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(handle)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	start(server)
	t.Cleanup(server.Close)
	return server
}

func plainHTTP(s *httptest.Server) { s.Start() }

func overTLS(s *httptest.Server) { s.StartTLS() }

func overHTTP2(s *httptest.Server) {
	s.EnableHTTP2 = true
	s.StartTLS()
}

// over returns the option that uses a transport. The connections are closed at
// the end of the test.
func over(t *testing.T, transport http.RoundTripper) clixnow.Option {
	t.Helper()
	hc := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	t.Cleanup(hc.CloseIdleConnections)
	return clixnow.WithHTTPClient(hc)
}

// trusting returns a transport that trusts the certificate of the server. It
// uses HTTP/2 if the server does.
func trusting(server *httptest.Server) *http.Transport {
	return server.Client().Transport.(*http.Transport).Clone()
}

// deadPort returns the address of a port without a listener.
func deadPort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	return listener.Addr().String()
}

// failure is one way in which a create can fail.
type failure struct {
	name string
	// set returns the client.
	set func(t *testing.T, posts *arrivals) *clixnow.Client
	// ctx returns the context of the create. nil means that of the test.
	ctx func(*testing.T, *arrivals) context.Context
	// class is the class of the error.
	class error
	// posts is the number of POSTs that arrive.
	posts int64
	// within is what the error matches besides its class.
	within []error
	// text is part of the error text.
	text string
}

func TestClassOfAFailedCreate(t *testing.T) {
	t.Parallel()
	var tests []failure
	for _, some := range [][]failure{neverConnected(), lostOverHTTP1(), lostOverHTTP2(), tooSlow(), rejected()} {
		tests = append(tests, some...)
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			posts := newArrivals()
			// This runs after the servers are closed.
			t.Cleanup(func() { assert.Equal(t, test.posts, posts.Load(), "POSTs that arrived") })
			client, ctx := test.set(t, posts), t.Context()
			if test.ctx != nil {
				ctx = test.ctx(t, posts)
			}
			resp, err := client.CreateLead(ctx, vendorsLead())
			assert.Nil(t, resp)
			requireClass(t, test.class, err)
			for _, target := range test.within {
				require.ErrorIs(t, err, target)
			}
			assert.Contains(t, err.Error(), test.text)
			assertNoSecrets(t, err.Error())
		})
	}
}

// assertNoSecrets asserts that a text does not contain the token or data of the
// lead of the tests.
func assertNoSecrets(t *testing.T, text string) {
	t.Helper()
	lead := vendorsLead()
	for _, secret := range []string{testToken, lead.Password, lead.Email, lead.Phone, lead.LastName} {
		assert.NotContains(t, text, secret)
	}
}

// neverConnected returns failures without a connection: the request cannot have
// been written.
func neverConnected() []failure {
	return []failure{
		{
			name: "dial refused", class: clixnow.ErrNotSent, within: []error{errRefused},
			text: "after 3 attempts", set: func(t *testing.T, _ *arrivals) *clixnow.Client {
				return clientOf(t, "http://"+deadPort(t))
			},
		},
		{
			name: "no such host", class: clixnow.ErrNotSent, text: "lookup",
			set: func(t *testing.T, _ *arrivals) *clixnow.Client {
				noDNS := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
					return nil, errors.New("network is down")
				}}
				dialer := &net.Dialer{Resolver: noDNS}
				return clientOf(t, "https://integration.acme.invalid",
					over(t, &http.Transport{DialContext: dialer.DialContext}))
			},
		},
		{
			name: "DNS error of a dialer", class: clixnow.ErrNotSent, text: "no such host",
			set: func(t *testing.T, _ *arrivals) *clixnow.Client {
				return clientOf(t, "https://integration.acme.invalid",
					over(t, &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
						return nil,
							&net.DNSError{Err: "no such host", Name: "integration.acme.invalid", IsNotFound: true}
					}}))
			},
		},
		{
			name: "certificate that is not trusted", class: clixnow.ErrNotSent, text: "certificate",
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				server := startServer(t, overTLS, posts.count(answer(201, "", `{"leadId":1}`)))
				return clientOf(t, server.URL, over(t, &http.Transport{}))
			},
		},
		{
			name: "certificate of another host", class: clixnow.ErrNotSent, text: "certificate",
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				server := startServer(t, overHTTP2, posts.count(answer(201, "", `{"leadId":1}`)))
				transport := trusting(server)
				transport.TLSClientConfig.ServerName = "acme.invalid"
				return clientOf(t, server.URL, over(t, transport))
			},
		},
		{
			name: "server without TLS", class: clixnow.ErrNotSent,
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				server := startServer(t, plainHTTP, posts.count(answer(201, "", `{"leadId":1}`)))
				return clientOf(t, strings.Replace(server.URL, "http", "https", 1), over(t, &http.Transport{}))
			},
		},
		{name: "TLS handshake cut", class: clixnow.ErrNotSent, set: func(t *testing.T, _ *arrivals) *clixnow.Client {
			return clientOf(t, "https://"+rawServer(t, nil, func(net.Conn) {}), over(t, &http.Transport{}))
		}},
		{
			name: "TLS handshake hangs", class: clixnow.ErrNotSent, text: "handshake timeout",
			set: func(t *testing.T, _ *arrivals) *clixnow.Client {
				silent := rawServer(t, nil, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
				return clientOf(t, "https://"+silent,
					over(t, &http.Transport{TLSHandshakeTimeout: 20 * time.Millisecond}))
			},
		},
		{
			name: "proxy refuses CONNECT", class: clixnow.ErrNotSent, text: "Proxy Authentication Required",
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				proxy := startServer(t, plainHTTP, posts.count(answer(http.StatusProxyAuthRequired, "", "")))
				return clientOf(t, "https://integration.acme.invalid", over(t, throughProxy(t, proxy.URL)))
			},
		},
		{
			name: "proxy is down", class: clixnow.ErrNotSent, within: []error{errRefused},
			text: "proxyconnect", set: func(t *testing.T, _ *arrivals) *clixnow.Client {
				return clientOf(t, "https://integration.acme.invalid", over(t, throughProxy(t, "http://"+deadPort(t))))
			},
		},
		{
			name: "proxy URL that cannot be parsed", class: clixnow.ErrNotSent, text: "invalid port",
			set: func(t *testing.T, _ *arrivals) *clixnow.Client {
				return clientOf(t, "https://integration.acme.invalid", over(t, brokenProxy()))
			},
		},
		{
			name: "context ended before the call", class: clixnow.ErrNotSent,
			within: []error{context.Canceled, errShutdown},
			ctx: func(t *testing.T, _ *arrivals) context.Context {
				t.Helper()
				ctx, cancel := context.WithCancelCause(t.Context())
				cancel(errShutdown)
				return ctx
			},
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				return newClient(t, posts.count(answer(201, "", `{"leadId":1}`)))
			},
		},
		{
			name: "deadline passed before the call", class: clixnow.ErrNotSent,
			within: []error{context.DeadlineExceeded},
			ctx:    within(0),
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				return newClient(t, posts.count(answer(201, "", `{"leadId":1}`)))
			},
		},
		{
			name: "deadline passes during the dial", class: clixnow.ErrNotSent,
			within: []error{context.DeadlineExceeded},
			ctx:    within(30 * time.Millisecond),
			set: func(t *testing.T, _ *arrivals) *clixnow.Client {
				return clientOf(t, "http://127.0.0.1", over(t, &http.Transport{DialContext: hangingDial}))
			},
		},
		{
			name: "nil context", class: clixnow.ErrNotSent, text: "nil context",
			ctx: func(*testing.T, *arrivals) context.Context { return nil },
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				return newClient(t, posts.count(answer(201, "", `{"leadId":1}`)))
			},
		},
		{
			name: "timeouts of the attempts during the dial", class: clixnow.ErrNotSent, text: "after 3 attempts",
			set: func(t *testing.T, _ *arrivals) *clixnow.Client {
				hc := &http.Client{Transport: &http.Transport{DialContext: hangingDial}, Timeout: 20 * time.Millisecond}
				return clientOf(t, "http://127.0.0.1", clixnow.WithHTTPClient(hc))
			},
		},
		{
			name: "rate limiter refuses", class: clixnow.ErrNotSent, within: []error{errShutdown},
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				return newClient(t, posts.count(answer(201, "", `{"leadId":1}`)),
					clixnow.WithRateLimiter(limiter(func(context.Context) error { return errShutdown })))
			},
		},
		{
			name: "rate limiter would exceed the deadline", class: clixnow.ErrNotSent,
			within: []error{context.DeadlineExceeded}, ctx: within(time.Hour),
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				return newClient(t, posts.count(answer(201, "", `{"leadId":1}`)),
					clixnow.WithRateLimiter(limiter(func(context.Context) error {
						return errors.New("rate: Wait(n=1) would exceed context deadline")
					})))
			},
		},
		{
			name: "context ends in the rate limiter", class: clixnow.ErrNotSent,
			within: []error{context.DeadlineExceeded}, ctx: within(30 * time.Millisecond),
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				return newClient(t, posts.count(answer(201, "", `{"leadId":1}`)),
					clixnow.WithRateLimiter(limiter(func(ctx context.Context) error {
						<-ctx.Done()
						return ctx.Err()
					})))
			},
		},
		{
			name: "RoundTripper refuses", class: clixnow.ErrNotSent, within: []error{errBreaker},
			text: "after 3 attempts", set: func(t *testing.T, _ *arrivals) *clixnow.Client {
				return clientOf(t, "http://127.0.0.1",
					over(t, roundTripper(func(*http.Request) (*http.Response, error) {
						return nil, fmt.Errorf("%w: %w", errBreaker, clixnow.ErrNotSent)
					})))
			},
		},
	}
}

var (
	errShutdown = errors.New("shutting down")
	errBreaker  = errors.New("circuit breaker is open")
)

func hangingDial(ctx context.Context, _, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// within returns a context with a real deadline. It is for calls that nothing
// else can end.
func within(d time.Duration) func(*testing.T, *arrivals) context.Context {
	return func(t *testing.T, _ *arrivals) context.Context {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), d)
		t.Cleanup(cancel)
		return ctx
	}
}

// untilArrival returns a context whose deadline passes once the POST has
// arrived. So it does not depend on the speed of the machine.
func untilArrival(t *testing.T, posts *arrivals) context.Context {
	t.Helper()
	return deadlineAt{t.Context(), posts.came}
}

type deadlineAt struct {
	context.Context

	passed <-chan struct{}
}

func (d deadlineAt) Done() <-chan struct{} { return d.passed }

func (d deadlineAt) Err() error {
	select {
	case <-d.passed:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// brokenProxy returns a transport whose proxy URL has a password and cannot be
// parsed.
func brokenProxy() *http.Transport {
	return &http.Transport{Proxy: func(*http.Request) (*url.URL, error) {
		return url.Parse("http://user:" + secretPassword[:5] + "@proxy.example:port")
	}}
}

func throughProxy(t *testing.T, proxyURL string) *http.Transport {
	t.Helper()
	proxy, err := url.Parse(proxyURL)
	require.NoError(t, err)
	return &http.Transport{Proxy: http.ProxyURL(proxy)}
}

// rawServer starts a server that handles each connection with a function, and
// returns its address.
func rawServer(t *testing.T, tlsConfig *tls.Config, serve func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	if tlsConfig != nil {
		listener = tls.NewListener(listener, tlsConfig)
	}
	var (
		serving sync.WaitGroup
		mu      sync.Mutex
		open    []net.Conn
	)
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, conn)
			mu.Unlock()
			serving.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		mu.Lock()
		for _, conn := range open {
			_ = conn.Close()
		}
		mu.Unlock()
		serving.Wait()
	})
	return listener.Addr().String()
}

// lostOverHTTP1 returns failures with a connection, but without a complete
// response.
func lostOverHTTP1() []failure {
	return []failure{
		{
			name: "closed at once", class: clixnow.ErrOutcomeUnknown,
			set: func(t *testing.T, _ *arrivals) *clixnow.Client {
				return clientOf(t, "http://"+rawServer(t, nil, func(net.Conn) {}))
			},
		},
		{
			name: "cut before the body is read", class: clixnow.ErrOutcomeUnknown, posts: 1,
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				return newClient(t, posts.count(hangUp))
			},
		},
		{
			name: "cut after the body is read", class: clixnow.ErrOutcomeUnknown, posts: 1, within: []error{io.EOF},
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				return newClient(t, posts.count(func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					hangUp(w, r)
				}))
			},
		},
		{
			name: "reset", class: clixnow.ErrOutcomeUnknown, posts: 1, within: []error{errReset},
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				return newClient(t, posts.count(func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					conn, _, err := w.(http.Hijacker).Hijack()
					if assert.NoError(t, err) {
						assert.NoError(t, conn.(*net.TCPConn).SetLinger(0))
						_ = conn.Close()
					}
				}))
			},
		},
		{
			name: "cut during the header", class: clixnow.ErrOutcomeUnknown, posts: 1,
			within: []error{io.ErrUnexpectedEOF},
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				return newClient(t, posts.count(speaks("HTTP/1.1 201 Created\r\nContent-Length: 12\r\n")))
			},
		},
		{
			name: "cut during the body", class: clixnow.ErrOutcomeUnknown, posts: 1,
			within: []error{clixnow.ErrInvalidResponse, io.ErrUnexpectedEOF},
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				return newClient(t,
					posts.count(speaks("HTTP/1.1 201 Created\r\nContent-Length: 99\r\n\r\n{\"leadId\":1}")))
			},
		},
		{
			name: "cut between chunks", class: clixnow.ErrOutcomeUnknown, posts: 1,
			within: []error{clixnow.ErrInvalidResponse, io.ErrUnexpectedEOF},
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				const header = "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
				return newClient(t, posts.count(speaks(header+"c\r\n{\"leadId\":1}\r\n")))
			},
		},
		{
			name: "response that is not HTTP", class: clixnow.ErrOutcomeUnknown, posts: 1, text: "malformed",
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				return newClient(t, posts.count(speaks("220 mail.example ESMTP\r\n")))
			},
		},
		{
			name: "proxy loses a plain request", class: clixnow.ErrOutcomeUnknown, posts: 1,
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				proxy := startServer(t, plainHTTP, posts.count(hangUp))
				return clientOf(t, "http://integration.acme.invalid", over(t, throughProxy(t, proxy.URL)),
					clixnow.WithInsecureHTTP())
			},
		},
		{
			name: "idle connection closes with the request on it", class: clixnow.ErrOutcomeUnknown, posts: 2,
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				client := newClient(t, posts.count(func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					if posts.Load() > 1 {
						hangUp(w, r)
					}
					answer(201, "", `{"leadId":1}`)(w, r)
				}))
				_, err := client.CreateLead(t.Context(), vendorsLead())
				require.NoError(t, err)
				return client
			},
		},
		{
			// net/http resends the request by itself, because nothing was
			// written. It does not report that nothing was written.
			name: "idle connection is dead, and the dial fails", class: clixnow.ErrOutcomeUnknown, posts: 1,
			within: []error{errRefused},
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				server := startServer(t, plainHTTP, posts.count(answer(201, "", `{"leadId":1}`)))
				var (
					dials atomic.Int64
					dead  atomic.Bool
					gone  = deadPort(t)
				)
				client := clientOf(t, server.URL,
					over(t,
						&http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
							if dials.Add(1) > 1 {
								addr = gone
							}
							return dyingDial(ctx, network, addr, &dead)
						}}))
				_, err := client.CreateLead(t.Context(), vendorsLead())
				require.NoError(t, err)
				dead.Store(true)
				return client
			},
		},
		{
			name: "context ended during the write", class: clixnow.ErrOutcomeUnknown,
			within: []error{context.DeadlineExceeded}, ctx: untilArrival,
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				server := startServer(t, plainHTTP, posts.count(answer(201, "", `{"leadId":1}`)))
				return clientOf(t, server.URL,
					over(t,
						&http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
							conn, err := new(net.Dialer).DialContext(ctx, network, addr)
							return &stuckConn{
								Conn: conn, begun: func() { close(posts.came) },
								closed: make(chan struct{}),
							}, err
						}}))
			},
		},
		{
			name: "RoundTripper resends by itself", class: clixnow.ErrOutcomeUnknown, posts: 1,
			within: []error{errRefused},
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				server := startServer(t, plainHTTP, posts.count(hangUp))
				transport, dead := &http.Transport{}, deadPort(t)
				return clientOf(t, server.URL, over(t, closer{transport, func(r *http.Request) (*http.Response, error) {
					resp, err := transport.RoundTrip(r)
					if err == nil {
						return resp, nil
					}
					second := r.Clone(r.Context())
					second.Body, _ = r.GetBody()
					second.URL.Host = dead
					return transport.RoundTrip(second)
				}}))
			},
		},
		{
			name: "RoundTripper that reports nothing", class: clixnow.ErrOutcomeUnknown,
			within: []error{errRefused}, set: func(t *testing.T, _ *arrivals) *clixnow.Client {
				var calls atomic.Int64
				t.Cleanup(func() { assert.Equal(t, int64(1), calls.Load(), "requests") })
				return clientOf(t, "http://127.0.0.1",
					over(t, roundTripper(func(*http.Request) (*http.Response, error) {
						calls.Add(1)
						return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errRefused}
					})))
			},
		},
		{
			name: "registered protocol of an http.Transport fails after sending", class: clixnow.ErrOutcomeUnknown,
			posts: 1, set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				server := startServer(t, plainHTTP, posts.count(hangUp))
				inner, outer := &http.Transport{}, &http.Transport{}
				outer.RegisterProtocol("http", roundTripper(func(r *http.Request) (*http.Response, error) {
					return inner.RoundTrip(r.WithContext(context.Background())) // without the trace
				}))
				return clientOf(t, server.URL, over(t, outer))
			},
		},
		{
			name: "RoundTripper that hides its transport", class: clixnow.ErrOutcomeUnknown,
			within: []error{errRefused}, set: func(t *testing.T, _ *arrivals) *clixnow.Client {
				transport := &http.Transport{}
				return clientOf(t, "http://"+deadPort(t),
					over(t, roundTripper(func(r *http.Request) (*http.Response, error) {
						return transport.RoundTrip(r.WithContext(context.Background()))
					})))
			},
		},
		{
			name: "RoundTripper refuses a request that it has sent", class: clixnow.ErrOutcomeUnknown, posts: 1,
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				server := startServer(t, plainHTTP, posts.count(hangUp))
				transport := &http.Transport{}
				return clientOf(t, server.URL, over(t, closer{transport, func(r *http.Request) (*http.Response, error) {
					_, err := transport.RoundTrip(r)
					return nil, fmt.Errorf("%w: %w", clixnow.ErrNotSent, err)
				}}))
			},
		},
		{
			name: "RoundTripper around a transport that reports", class: clixnow.ErrNotSent,
			within: []error{errRefused}, text: "after 3 attempts",
			set: func(t *testing.T, _ *arrivals) *clixnow.Client {
				transport := &http.Transport{}
				return clientOf(t, "http://"+deadPort(t), over(t, closer{transport, transport.RoundTrip}))
			},
		},
	}
}

// hangUp closes the connection without a response.
func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// speaks returns a handler that writes a text and closes the connection.
func speaks(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, text)
		_ = conn.Close()
	}
}

// closer is a RoundTripper around a transport.
type closer struct {
	*http.Transport

	roundTrip roundTripper
}

func (c closer) RoundTrip(r *http.Request) (*http.Response, error) { return c.roundTrip(r) }

// dyingDial returns a connection on which writing fails once dead is set.
func dyingDial(ctx context.Context, network, addr string, dead *atomic.Bool) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &dyingConn{conn, dead}, nil
}

type dyingConn struct {
	net.Conn

	dead *atomic.Bool
}

func (c *dyingConn) Write(p []byte) (int, error) {
	if c.dead.Load() {
		return 0, syscall.EPIPE
	}
	return c.Conn.Write(p)
}

// stuckConn blocks when it is written to, as if the peer had stopped reading.
type stuckConn struct {
	net.Conn

	begun  func()
	closed chan struct{}
	once   sync.Once
}

func (c *stuckConn) Write([]byte) (int, error) {
	c.begun()
	<-c.closed
	return 0, net.ErrClosed
}

func (c *stuckConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

func tooSlow() []failure {
	hang := func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // otherwise the server does not notice that the client leaves
		<-r.Context().Done()
	}
	return []failure{
		{
			name: "no response before the context's deadline", class: clixnow.ErrOutcomeUnknown, posts: 1,
			within: []error{context.DeadlineExceeded}, ctx: untilArrival,
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				return newClient(t, posts.count(hang))
			},
		},
		{
			name: "no response before the attempt's timeout", class: clixnow.ErrOutcomeUnknown, posts: 1,
			text: "not done within 1s", set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				return newClient(t, posts.count(hang), clixnow.WithHTTPClient(&http.Client{Timeout: time.Second}))
			},
		},
		{
			name: "no response before the transport's timeout", class: clixnow.ErrOutcomeUnknown, posts: 1,
			text: "awaiting response headers", set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				return newClient(t, posts.count(hang),
					over(t, &http.Transport{ResponseHeaderTimeout: 50 * time.Millisecond}))
			},
		},
		{
			name: "HTTP/2, no response before the context's deadline", class: clixnow.ErrOutcomeUnknown, posts: 1,
			within: []error{context.DeadlineExceeded}, ctx: untilArrival,
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				server := startServer(t, overHTTP2, posts.count(hang))
				return clientOf(t, server.URL, over(t, trusting(server)))
			},
		},
		{
			name: "body stops", class: clixnow.ErrOutcomeUnknown, posts: 1, ctx: within(time.Second),
			within: []error{context.DeadlineExceeded, clixnow.ErrInvalidResponse},
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				return newClient(t, posts.count(trickle(http.StatusCreated, `{"lead`)))
			},
		},
		{
			name: "body of a refusal stops", class: clixnow.ErrRefused, posts: 1, ctx: within(time.Second),
			within: []error{context.DeadlineExceeded, clixnow.ErrBadRequest},
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				return newClient(t, posts.count(trickle(http.StatusBadRequest, `{"mess`)))
			},
		},
	}
}

// trickle returns a handler that begins a response and does not end it.
func trickle(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
}

func rejected() []failure {
	tooMany := func(retryAfter string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if retryAfter != "" {
				w.Header().Set("Retry-After", retryAfter)
			}
			answer(http.StatusTooManyRequests, "", "")(w, r)
		}
	}
	patient := clixnow.WithRetry(clixnow.RetryPolicy{MinBackoff: time.Millisecond, MaxBackoff: time.Hour})
	return []failure{
		{
			name: "429", class: clixnow.ErrRateLimited, posts: 3, text: "after 3 attempts",
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				return newClient(t, posts.count(tooMany("")))
			},
		},
		{
			name: "429 with a Retry-After that is too long", class: clixnow.ErrRateLimited, posts: 1,
			text: "retry after 1h0m0s", set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				return newClient(t, posts.count(tooMany("3600")))
			},
		},
		{
			name: "429 with a Retry-After beyond the deadline", class: clixnow.ErrRateLimited, posts: 1,
			within: []error{context.DeadlineExceeded}, ctx: within(time.Minute),
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				return newClient(t, posts.count(tooMany("120")), patient)
			},
		},
		{
			name: "429, context ends during the wait", class: clixnow.ErrRateLimited, posts: 1,
			within: []error{context.Canceled, errShutdown},
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				return newClient(t, posts.count(tooMany("120")), patient)
			},
			ctx: func(t *testing.T, _ *arrivals) context.Context {
				t.Helper()
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(time.Second, func() { cancel(errShutdown) })
				return ctx
			},
		},
		{
			name: "429, then the rate limiter refuses", class: clixnow.ErrRateLimited, posts: 1,
			within: []error{errShutdown}, set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				return newClient(t, posts.count(tooMany("")),
					clixnow.WithRateLimiter(limiter(func(context.Context) error {
						if posts.Load() > 0 {
							return errShutdown
						}
						return nil
					})))
			},
		},
		{
			name: "429, then no connection", class: clixnow.ErrNotSent, posts: 1, within: []error{errRefused},
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				server := startServer(t, plainHTTP, posts.count(tooMany("")))
				return clientOf(t, server.URL,
					over(t,
						&http.Transport{
							DisableKeepAlives: true,
							DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
								if posts.Load() > 0 {
									return nil, errRefused
								}
								return new(net.Dialer).DialContext(ctx, network, addr)
							},
						}))
			},
		},
		{
			name: "429, then 503", class: clixnow.ErrOutcomeUnknown, posts: 2, within: []error{clixnow.ErrServer},
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				return newClient(t, posts.count(inTurn(posts, tooMany(""), answer(503, "", ""))))
			},
		},
		{
			name: "429, then cut", class: clixnow.ErrOutcomeUnknown, posts: 2,
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				return newClient(t, posts.count(inTurn(posts, tooMany(""), hangUp)))
			},
		},
		{
			name: "429, then 400", class: clixnow.ErrRefused, posts: 2, within: []error{clixnow.ErrBadRequest},
			text: "after 2 attempts", set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				return newClient(t, posts.count(inTurn(posts, tooMany(""), answer(400, "", ""))))
			},
		},
		{
			name: "503 with a Retry-After", class: clixnow.ErrOutcomeUnknown, posts: 1,
			within: []error{clixnow.ErrServer}, set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				return newClient(t, posts.count(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Retry-After", "0")
					answer(503, "", "")(w, r)
				}))
			},
		},
	}
}

// inTurn returns a handler that uses the first handler for the first request,
// and so on.
func inTurn(posts *arrivals, handlers ...http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { handlers[posts.Load()-1](w, r) }
}

// net/http resends by itself what was provably not processed. The client allows
// that.
func TestCreateLeadResentByNetHTTP(t *testing.T) {
	t.Parallel()
	once := clixnow.WithRetry(clixnow.RetryPolicy{MaxAttempts: 1})
	create := func(t *testing.T, client *clixnow.Client) {
		t.Helper()
		resp, err := client.CreateLead(t.Context(), vendorsLead())
		require.NoError(t, err)
		assert.Equal(t, int64(7), resp.LeadID)
	}
	t.Run("nothing was written on a reused connection", func(t *testing.T) {
		t.Parallel()
		var (
			posts = newArrivals()
			dials atomic.Int64
			dead  atomic.Bool
		)
		server := startServer(t, plainHTTP, posts.count(answer(201, "", `{"leadId":7}`)))
		client := clientOf(t, server.URL, once,
			over(t, &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				if dials.Add(1) > 1 {
					return new(net.Dialer).DialContext(ctx, network, addr)
				}
				return dyingDial(ctx, network, addr, &dead)
			}}))
		create(t, client)
		dead.Store(true)
		create(t, client)
		assert.Equal(t, int64(2), dials.Load())
		assert.Equal(t, int64(2), posts.Load())
	})
	created := func(conn *http2Conn, stream uint32) {
		conn.write(frameHeaders, flagEndHeaders, stream, status200)
		conn.write(frameData, flagEndStream, stream, `{"leadId":7}`)
	}
	t.Run("HTTP/2 GOAWAY before the request was processed", func(t *testing.T) {
		t.Parallel()
		posts := newArrivals()
		create(t, http2Client(t, func(conn *http2Conn) {
			stream := conn.request(posts)
			if posts.Load() == 1 {
				conn.goAway(0)
				return
			}
			created(conn, stream)
		}, once))
		assert.Equal(t, int64(2), posts.Load())
	})
	t.Run("HTTP/2 REFUSED_STREAM", func(t *testing.T) {
		t.Parallel()
		posts := newArrivals()
		create(t, http2Client(t, func(conn *http2Conn) {
			conn.write(frameReset, 0, conn.request(posts), "\x00\x00\x00\x07")
			created(conn, conn.request(posts))
		}, once))
		assert.Equal(t, int64(2), posts.Load())
	})
}

// A create that did not reach the server is retried.
func TestCreateLeadRetriedAfterNoConnection(t *testing.T) {
	t.Parallel()
	var (
		posts = newArrivals()
		dials atomic.Int64
	)
	server := startServer(t, plainHTTP, posts.count(answer(201, "", `{"leadId":7}`)))
	client := clientOf(t, server.URL,
		over(t, &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if dials.Add(1) < 3 {
				return nil, errRefused
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		}}))
	resp, err := client.CreateLead(t.Context(), vendorsLead())
	require.NoError(t, err)
	assert.Equal(t, int64(7), resp.LeadID)
	assert.Equal(t, int64(1), posts.Load())
}

// A search changes nothing, so its outcome is not unknown. ErrNotSent marks
// searches too.
func TestFailedSearch(t *testing.T) {
	t.Parallel()
	t.Run("not sent", func(t *testing.T) {
		t.Parallel()
		_, err := clientOf(t, "http://"+deadPort(t)).GetLead(t.Context(), 7)
		require.ErrorIs(t, err, clixnow.ErrNotSent)
		require.ErrorIs(t, err, errRefused)
	})
	t.Run("nil context", func(t *testing.T) {
		t.Parallel()
		client := clientOf(t, "http://"+deadPort(t))
		_, err := client.GetLead(nil, 7) //nolint:staticcheck // a nil context is the case
		require.ErrorIs(t, err, clixnow.ErrNotSent)
	})
	for name, handle := range map[string]http.HandlerFunc{
		"cut": hangUp, "cut during the body": speaks("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n[{"),
		"502": answer(502, "text/html", "<html>"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var gets atomic.Int64
			client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
				if gets.Add(1) < 3 {
					handle(w, r)
					return
				}
				answer(200, "", `[{"id":7}]`)(w, r)
				// On a reused connection net/http would resend a GET by
				// itself.
			}, over(t, &http.Transport{DisableKeepAlives: true}))
			lead, err := client.GetLead(t.Context(), 7)
			require.NoError(t, err)
			assert.Equal(t, int64(7), lead.ID)
			assert.Equal(t, int64(3), gets.Load())

			gets.Store(-9)
			_, err = client.GetLead(t.Context(), 7)
			require.Error(t, err)
			for _, class := range []error{
				clixnow.ErrOutcomeUnknown, clixnow.ErrRefused, clixnow.ErrNotSent,
				clixnow.ErrRateLimited,
			} {
				require.NotErrorIs(t, err, class)
			}
			assert.Equal(t, int64(-6), gets.Load())
		})
	}
}

// The error of a failed GET has no URL in it: the query may hold lead data.
func TestErrorsHoldNoQuery(t *testing.T) {
	t.Parallel()
	client := newClient(t, hangUp)
	_, err := client.SearchLeadsPage(t.Context(), clixnow.SearchLeadsRequest{Extra: url.Values{"q": {"allison"}}})
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "allison")
}
