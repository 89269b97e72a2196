package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// aftermath is the state after a call, on the server and at the caller.
type aftermath struct {
	// posts is the number of POSTs that reached the server.
	posts int
	// class is the class of the error. nil means that the lead was registered.
	class error
	// leads is the number of leads on the server.
	leads     int
	recovered bool
}

var (
	unknown, refused, notSent, tooMany = clixnow.ErrOutcomeUnknown, clixnow.ErrRefused, clixnow.ErrNotSent,
		clixnow.ErrRateLimited

	registered = aftermath{posts: 1, leads: 1}
	recovered  = aftermath{posts: 1, leads: 1, recovered: true}
	sentTwice  = aftermath{posts: 2, leads: 1}
)

// faultCase is one fault and its effect on the three ways to register a lead.
// EnsureLeadSince is called for an earlier try that did not arrive.
type faultCase struct {
	name   string
	inject []clixnowtest.Fault
	opts   func(*testing.T, *clixnowtest.Server) []clixnow.Option
	ctx    func(context.Context, *clixnowtest.Server) (context.Context, context.CancelFunc)
	// is is what every error matches besides its class. It may be nil.
	is error

	create, ensure, since aftermath
}

// onPOST limits a fault to POSTs.
func onPOST(f clixnowtest.Fault) []clixnowtest.Fault {
	f.Method = http.MethodPost
	return []clixnowtest.Fault{f}
}

func faultCases() []faultCase {
	const (
		forever = time.Hour
		html    = "<html><body><h1>502 Bad Gateway</h1></body></html>"
	)
	oneSecond := func(*testing.T, *clixnowtest.Server) []clixnow.Option {
		return []clixnow.Option{clixnow.WithTimeout(time.Second)}
	}
	deadline := func(ctx context.Context, _ *clixnowtest.Server) (context.Context, context.CancelFunc) {
		return context.WithTimeout(ctx, 2*time.Second)
	}
	never := aftermath{class: unknown, posts: 1}
	cases := []faultCase{
		{name: "none", create: registered, ensure: registered, since: registered},

		// Before there is a connection. An earlier try stays in doubt then.
		{
			name: "dial refused", opts: dialRefused, create: aftermath{class: notSent},
			ensure: aftermath{class: notSent}, since: aftermath{class: unknown},
		},
		{
			name: "DNS failure", opts: noSuchHost, create: aftermath{class: notSent}, ensure: aftermath{class: notSent},
			since: aftermath{class: unknown},
		},
		{
			name: "TLS failure", opts: untrusted, create: aftermath{class: notSent}, ensure: aftermath{class: notSent},
			since: aftermath{class: unknown},
		},
		{
			name: "proxy refuses CONNECT", opts: refusingProxy, create: aftermath{class: notSent},
			ensure: aftermath{class: notSent}, since: aftermath{class: unknown},
		},
		{
			name: "a RoundTripper refuses", opts: refusing, create: aftermath{class: notSent},
			ensure: aftermath{class: notSent}, since: aftermath{class: unknown},
		},
		{
			name: "a RoundTripper that reports nothing fails to dial", opts: silent, create: aftermath{class: unknown},
			ensure: aftermath{class: unknown}, since: aftermath{class: unknown},
		},

		// The connection.
		{
			name: "cut before handling", inject: onPOST(clixnowtest.Fault{Drop: clixnowtest.DropBeforeHandling}),
			create: never, ensure: sentTwice, since: sentTwice,
		},
		{
			name: "cut after handling", inject: onPOST(clixnowtest.Fault{Drop: clixnowtest.DropAfterHandling}),
			create: aftermath{class: unknown, posts: 1, leads: 1}, ensure: recovered, since: recovered,
		},
		{
			name: "cut in the response body", inject: onPOST(clixnowtest.Fault{Drop: clixnowtest.DropMidBody}),
			is: clixnow.ErrInvalidResponse, create: aftermath{class: unknown, posts: 1, leads: 1}, ensure: recovered,
			since: recovered,
		},
		{
			name: "cut every time", inject: onPOST(clixnowtest.Fault{Drop: clixnowtest.DropBeforeHandling, Times: 99}),
			create: never, ensure: aftermath{class: unknown, posts: 3}, since: aftermath{class: unknown, posts: 3},
		},
		{
			name:   "cut, in a RoundTripper that resends and then cannot dial",
			inject: onPOST(clixnowtest.Fault{Drop: clixnowtest.DropAfterHandling}), opts: resending,
			create: aftermath{class: unknown, posts: 1, leads: 1}, ensure: recovered, since: recovered,
		},
		{
			name: "hangs until the timeout of the attempt", inject: onPOST(clixnowtest.Fault{Delay: forever}),
			opts: oneSecond, create: never,
			ensure: sentTwice, since: sentTwice,
		},
		{
			name:   "hangs until the timeout of the attempt, handled",
			inject: onPOST(clixnowtest.Fault{Delay: forever, HandleFirst: true}),
			opts:   oneSecond, create: aftermath{class: unknown, posts: 1, leads: 1},
			ensure: recovered, since: recovered,
		},
		{
			name: "hangs until the deadline", inject: onPOST(clixnowtest.Fault{Delay: forever}), ctx: deadline,
			is: context.DeadlineExceeded, create: never, ensure: never, since: never,
		},
		{
			name:   "hangs until the deadline, handled",
			inject: onPOST(clixnowtest.Fault{Delay: forever, HandleFirst: true}), ctx: deadline,
			is:     context.DeadlineExceeded,
			create: aftermath{class: unknown, posts: 1, leads: 1},
			ensure: aftermath{class: unknown, posts: 1, leads: 1},
			since:  aftermath{class: unknown, posts: 1, leads: 1},
		},

		// Too many requests.
		{
			name: "429", inject: onPOST(clixnowtest.Fault{Status: 429}), create: sentTwice, ensure: sentTwice,
			since: sentTwice,
		},
		{
			name: "429 every time", inject: onPOST(clixnowtest.Fault{Status: 429, Times: 99}),
			create: aftermath{class: tooMany, posts: 3}, ensure: aftermath{class: tooMany, posts: 3},
			since: aftermath{class: unknown, posts: 3},
		},
		{
			name:   "429 with a Retry-After that is too long",
			inject: onPOST(clixnowtest.Fault{Status: 429, Header: http.Header{"Retry-After": {"3600"}}}),
			create: aftermath{class: tooMany, posts: 1}, ensure: aftermath{class: tooMany, posts: 1}, since: never,
		},

		// Responses that do not say whether the lead was created.
		{
			name: "truncated 200", inject: onPOST(clixnowtest.Fault{Status: 200, Body: `{"leadId":12`}),
			is: clixnow.ErrInvalidResponse, create: never, ensure: sentTwice, since: sentTwice,
		},
		{
			name: "empty 201", inject: onPOST(clixnowtest.Fault{Status: 201}), is: clixnow.ErrInvalidResponse,
			create: never,
			ensure: sentTwice, since: sentTwice,
		},
		{
			name:   "200 without id",
			inject: onPOST(clixnowtest.Fault{Status: 200, Body: `{"redirectUrl":"https://brand.com"}`}),
			is:     clixnow.ErrInvalidResponse, create: never, ensure: sentTwice, since: sentTwice,
		},
		{
			name:   "truncated 200, handled",
			inject: onPOST(clixnowtest.Fault{HandleFirst: true, Status: 200, Body: `{"leadId":12`}),
			is:     clixnow.ErrInvalidResponse,
			create: aftermath{class: unknown, posts: 1, leads: 1}, ensure: recovered, since: recovered,
		},
		{
			name: "500 every time", inject: onPOST(clixnowtest.Fault{Status: 500, Times: 99}), is: clixnow.ErrServer,
			create: never, ensure: aftermath{class: unknown, posts: 3}, since: aftermath{class: unknown, posts: 3},
		},

		// Responses that refuse.
		{
			name:   "307",
			inject: onPOST(clixnowtest.Fault{Status: 307, Header: http.Header{"Location": {"/elsewhere"}}}),
			is:     clixnow.ErrRedirect,
			create: aftermath{class: refused, posts: 1}, ensure: aftermath{class: refused, posts: 1}, since: never,
		},
		{
			name: "401", inject: onPOST(clixnowtest.Fault{Status: 401}), is: clixnow.ErrUnauthorized,
			create: aftermath{class: refused, posts: 1}, ensure: aftermath{class: refused, posts: 1}, since: never,
		},
		{
			name:   "duplicate of a lead that no search shows",
			inject: onPOST(clixnowtest.Fault{Status: 400, Body: `{"message":"Duplicate lead"}`}),
			is:     clixnow.ErrDuplicateLead,
			create: aftermath{class: refused, posts: 1}, ensure: aftermath{class: refused, posts: 1}, since: never,
		},

		// The end of the context. See also TestCancelDuringWrite.
		{
			name: "cancelled before", ctx: cancelledBefore, is: context.Canceled, create: aftermath{class: notSent},
			ensure: aftermath{class: notSent}, since: aftermath{class: unknown},
		},
		{
			name: "cancelled after the write", inject: onPOST(clixnowtest.Fault{Delay: forever, HandleFirst: true}),
			ctx: cancelledByLead, is: context.Canceled,
			create: aftermath{class: unknown, posts: 1, leads: 1},
			ensure: aftermath{class: unknown, posts: 1, leads: 1},
			since:  aftermath{class: unknown, posts: 1, leads: 1},
		},

		// A search that fails.
		{
			name: "cut, and all searches fail",
			inject: append(onPOST(clixnowtest.Fault{Drop: clixnowtest.DropBeforeHandling}),
				clixnowtest.Fault{Method: "GET", Status: 503, Times: 99}),
			create: never, ensure: never, since: aftermath{class: unknown},
		},
		{
			name: "cut, and one search fails in all its attempts",
			inject: append(onPOST(clixnowtest.Fault{Drop: clixnowtest.DropBeforeHandling}),
				clixnowtest.Fault{Method: "GET", Times: 2},
				clixnowtest.Fault{Method: "GET", Status: 503, Times: 3}),
			create: never, ensure: never, since: aftermath{class: unknown},
		},
		{
			name: "cut after handling, and searches fail at first",
			inject: append(onPOST(clixnowtest.Fault{Drop: clixnowtest.DropAfterHandling}),
				clixnowtest.Fault{Method: "GET", Drop: clixnowtest.DropMidBody, Times: 7}),
			create: aftermath{class: unknown, posts: 1, leads: 1}, ensure: recovered, since: aftermath{class: unknown},
		},
	}
	for _, status := range []int{101, 303, 408, 460, 499, 500, 502, 503, 504, 520, 600} {
		answer := clixnowtest.Fault{Status: status, Body: html}
		handled := answer
		handled.HandleFirst = true
		cases = append(
			cases,
			faultCase{
				name: strconv.Itoa(status), inject: onPOST(answer), create: never, ensure: sentTwice,
				since: sentTwice,
			},
			faultCase{
				name: strconv.Itoa(status) + ", handled", inject: onPOST(handled),
				create: aftermath{class: unknown, posts: 1, leads: 1}, ensure: recovered, since: recovered,
			},
		)
	}
	return cases
}

// Every fault, with every way to register a lead.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, test := range faultCases() {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for method, want := range map[string]aftermath{
				"CreateLead": test.create, "EnsureLead": test.ensure,
				"EnsureLeadSince": test.since,
			} {
				t.Run(method, func(t *testing.T) {
					t.Parallel()
					server := clixnowtest.NewServer()
					t.Cleanup(server.Close)
					server.Inject(test.inject...)
					var opts []clixnow.Option
					if test.opts != nil {
						opts = test.opts(t, server)
					}
					client := server.Client(opts...)
					t.Cleanup(client.CloseIdleConnections)
					ctx, cancel := t.Context(), func() {}
					if test.ctx != nil {
						ctx, cancel = test.ctx(ctx, server)
					}
					defer cancel()

					lead, err := register(ctx, client, method)
					requireOutcome(t, want.class, err)
					assert.Equal(t, want.posts, posts(server), "POSTs")
					assert.Len(t, server.Leads(), want.leads, "leads")
					if err != nil {
						assert.Nil(t, lead)
						if test.is != nil {
							require.ErrorIs(t, err, test.is)
						}
						return
					}
					assert.Equal(t, want.recovered, lead.Recovered)
					assert.Equal(t, server.Leads()[0].ID, lead.LeadID)
				})
			}
		})
	}
}

func register(ctx context.Context, client *clixnow.Client, method string) (*clixnow.EnsureLeadResponse, error) {
	switch method {
	case "EnsureLead":
		return client.EnsureLead(ctx, vendorsLead())
	case "EnsureLeadSince":
		return client.EnsureLeadSince(ctx, vendorsLead(), time.Now().Add(-time.Minute))
	}
	created, err := client.CreateLead(ctx, vendorsLead())
	if err != nil {
		return nil, err
	}
	return &clixnow.EnsureLeadResponse{CreateLeadResponse: *created}, nil
}

func posts(server *clixnowtest.Server) int {
	n := 0
	for _, request := range server.Requests() {
		if request.Method == http.MethodPost {
			n++
		}
	}
	return n
}

func dialRefused(t *testing.T, _ *clixnowtest.Server) []clixnow.Option {
	t.Helper()
	return []clixnow.Option{clixnow.WithBaseURL("http://" + deadPort(t))}
}

func noSuchHost(t *testing.T, _ *clixnowtest.Server) []clixnow.Option {
	t.Helper()
	nameless := net.Dialer{Resolver: &net.Resolver{
		PreferGo: true,
		Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("no name server")
		},
	}}
	return []clixnow.Option{
		clixnow.WithBaseURL("https://clixnow.invalid"),
		over(t, &http.Transport{DialContext: nameless.DialContext}),
	}
}

func untrusted(t *testing.T, server *clixnowtest.Server) []clixnow.Option {
	t.Helper()
	return []clixnow.Option{clixnow.WithBaseURL(startServer(t, overTLS, server.ServeHTTP).URL)}
}

func refusingProxy(t *testing.T, _ *clixnowtest.Server) []clixnow.Option {
	t.Helper()
	proxy := startServer(t, plainHTTP, answer(http.StatusForbidden, "", ""))
	return []clixnow.Option{clixnow.WithBaseURL("https://clixnow.invalid"), over(t, throughProxy(t, proxy.URL))}
}

func refusing(t *testing.T, _ *clixnowtest.Server) []clixnow.Option {
	t.Helper()
	return []clixnow.Option{over(t, roundTripper(func(*http.Request) (*http.Response, error) {
		return nil, fmt.Errorf("breaker: %w", clixnow.ErrNotSent)
	}))}
}

func silent(t *testing.T, _ *clixnowtest.Server) []clixnow.Option {
	t.Helper()
	return []clixnow.Option{over(t, roundTripper(func(*http.Request) (*http.Response, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	}))}
}

// resending does what a RoundTripper must not do: it resends a POST by itself.
// Here it does so to a port without a listener.
func resending(t *testing.T, _ *clixnowtest.Server) []clixnow.Option {
	t.Helper()
	transport := new(http.Transport)
	t.Cleanup(transport.CloseIdleConnections)
	dead := deadPort(t)
	return []clixnow.Option{over(t, roundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := transport.RoundTrip(r)
		if err == nil || r.Method != http.MethodPost {
			return resp, err
		}
		second := r.Clone(r.Context())
		second.URL.Host = dead
		if second.Body, err = r.GetBody(); err != nil {
			return nil, err
		}
		return transport.RoundTrip(second)
	}))}
}

func cancelledBefore(ctx context.Context, _ *clixnowtest.Server) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return ctx, cancel
}

// cancelledByLead returns a context that is cancelled once the server has a
// lead.
func cancelledByLead(ctx context.Context, server *clixnowtest.Server) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		for ctx.Err() == nil && len(server.Leads()) == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	return ctx, cancel
}

// The context is cancelled once there is a connection, or while the request is
// being written. The server may get the request or not.
func TestCancelDuringWrite(t *testing.T) {
	t.Parallel()
	points := map[string]func(*httptrace.ClientTrace, func()){
		"got a connection": func(trace *httptrace.ClientTrace, cancel func()) {
			trace.GotConn = func(httptrace.GotConnInfo) { cancel() }
		},
		"wrote the headers": func(trace *httptrace.ClientTrace, cancel func()) {
			trace.WroteHeaders = cancel
		},
		"wrote the request": func(trace *httptrace.ClientTrace, cancel func()) {
			trace.WroteRequest = func(httptrace.WroteRequestInfo) { cancel() }
		},
	}
	for name, point := range points {
		for _, method := range []string{"CreateLead", "EnsureLead"} {
			t.Run(name+", "+method, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var trace httptrace.ClientTrace
				point(&trace, cancel)
				returned := make(chan struct{})
				api := clixnowtest.NewHandler(clixnowtest.WithToken(testToken))
				client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
					api.ServeHTTP(w, r)
					<-returned // a response could overtake the cancellation
				})
				began := time.Now()
				_, err := register(httptrace.WithClientTrace(ctx, &trace), client, method)
				close(returned)
				requireClass(t, clixnow.ErrOutcomeUnknown, err)
				require.ErrorIs(t, err, context.Canceled)

				// A later call finds out, and registers no second lead.
				lead, err := client.EnsureLeadSince(t.Context(), vendorsLead(), began)
				require.NoError(t, err)
				require.Len(t, api.Leads(), 1)
				assert.Equal(t, api.Leads()[0].ID, lead.LeadID)
			})
		}
	}
}

// net/http resends some requests by itself, on reused connections and over
// HTTP/2.
func TestFaultsOnReusedConnections(t *testing.T) {
	t.Parallel()
	faults := map[string]clixnowtest.Fault{
		"cut before handling": {Drop: clixnowtest.DropBeforeHandling},
		"cut after handling":  {Drop: clixnowtest.DropAfterHandling},
		"cut in the body":     {Drop: clixnowtest.DropMidBody},
		"502, handled":        {HandleFirst: true, Status: 502},
	}
	protocols := map[string]func(*httptest.Server){"HTTP/1.1": overTLS, "HTTP/2": overHTTP2}
	for protocol, start := range protocols {
		for name, fault := range faults {
			t.Run(protocol+", "+name, func(t *testing.T) {
				t.Parallel()
				api := clixnowtest.NewHandler(clixnowtest.WithToken(testToken))
				server := startServer(t, start, api.ServeHTTP)
				client := clientOf(t, server.URL, over(t, trusting(server)))
				_, err := client.SearchLeadsPage(t.Context(), clixnow.SearchLeadsRequest{}) // it opens a connection
				require.NoError(t, err)

				api.Inject(onPOST(fault)...)
				_, err = client.CreateLead(t.Context(), vendorsLead())
				requireClass(t, clixnow.ErrOutcomeUnknown, err)
				require.Equal(t, 1, posts(api))
				arrived := len(api.Leads())

				lead, err := client.EnsureLeadSince(t.Context(), vendorsLead(), time.Now())
				require.NoError(t, err)
				require.Len(t, api.Leads(), 1)
				assert.Equal(t, api.Leads()[0].ID, lead.LeadID)
				assert.Equal(t, arrived == 1, lead.Recovered)
				assert.Equal(t, 2-arrived, posts(api))
			})
		}
	}
}
