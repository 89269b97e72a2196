package call_test

import (
	"bytes"
	"context"
	"errors"
	"io"
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

// script is a server in memory: each of its steps takes one request, the last
// one all that follow. It reports no connection, unless a step does.
type script struct {
	steps []step
	began []time.Time
}

type step func(*http.Request) (*http.Response, error)

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	s.began = append(s.began, time.Now())
	return s.steps[min(len(s.began), len(s.steps))-1](r)
}

// status answers with name and value pairs as header.
func status(code int, header ...string) step {
	return answer(code, func(context.Context) io.Reader { return strings.NewReader("{}") }, header...)
}

// answer makes the body anew for each request.
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

// hangs until the attempt's context ends.
func hangs(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// asks reports that a connection is wanted, as net/http does, and connects that
// there is one.
func asks(next step) step {
	return func(r *http.Request) (*http.Response, error) {
		httptrace.ContextClientTrace(r.Context()).GetConn("acme:443")
		return next(r)
	}
}

func connects(next step) step {
	return asks(func(r *http.Request) (*http.Response, error) {
		httptrace.ContextClientTrace(r.Context()).GotConn(httptrace.GotConnInfo{})
		return next(r)
	})
}

// cut is a body that ends too early.
func cut(context.Context) io.Reader {
	return io.MultiReader(strings.NewReader(`{"a`), failing{io.ErrUnexpectedEOF})
}

type failing struct{ err error }

func (r failing) Read([]byte) (int, error) { return 0, r.err }

// newCaller returns one that makes three attempts, with the defaults of the
// SDK.
func newCaller(transport http.RoundTripper) *call.Caller {
	client, _ := call.NewHTTPClient(&http.Client{Transport: transport})
	return &call.Caller{
		HTTP: client, Timeout: 30 * time.Second, Header: func(string) http.Header { return http.Header{} },
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
		Method: method, URL: u, Read: func([]byte) error { return nil }, Mask: func(text string) string { return text },
	}
	if method == http.MethodPost {
		r.Body = []byte(`{"email":"allison.brown@example.com"}`)
	}
	return r
}

// What is sent again. A GET changes nothing, so that it may be sent whenever
// another attempt may help. Of a POST it must be known that the first one did
// nothing.
func TestWhatIsSentAgain(t *testing.T) {
	t.Parallel()
	var (
		dial       = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
		lookup     = &net.DNSError{Err: "no such host", Name: "acme.example", IsNotFound: true}
		reset      = &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
		unreadable = errors.New("not JSON")
		refused    = errors.Join(errors.New("breaker is open"), call.ErrNotSent)
	)
	tests := []struct {
		name      string
		answer    step
		read      error
		get, post bool
	}{
		{name: "200", answer: status(200)},
		{name: "201", answer: status(201)},
		{name: "204", answer: status(204)},
		// the POST was carried out, and the GET would be unreadable again
		{name: "200 unreadable", answer: status(200), read: unreadable},
		{name: "200 out of order", answer: status(200), read: call.Retryable(unreadable), get: true},
		{name: "200 too large", answer: answer(200, large)},    // it would be as large again
		{name: "200 cut", answer: answer(200, cut), get: true}, // the POST was carried out

		{name: "101", answer: status(101)},
		{name: "199", answer: status(199)},
		{name: "301", answer: status(301, "Location", "/other")},
		{name: "302", answer: status(302, "Location", "/other")},
		{name: "303", answer: status(303, "Location", "/other")}, // "done, see there"
		{name: "304", answer: status(304)},
		// literally "send it again, there": with lead and token
		{name: "307", answer: status(307, "Location", "/other")},
		{name: "308", answer: status(308, "Location", "/other")},

		{name: "400", answer: status(400)},
		{name: "401", answer: status(401)}, // the token does not change
		{name: "403", answer: status(403)},
		{name: "404", answer: status(404)},
		{name: "408", answer: status(408), get: true}, // a proxy may say so after the API has read the whole POST
		{name: "409", answer: status(409)},            // whatever it conflicts with stays
		{name: "422", answer: status(422)},
		{name: "423", answer: status(423)},
		{name: "425", answer: status(425)},
		{name: "429", answer: status(429), get: true, post: true}, // counted and turned away, before it was looked at
		{name: "429 cut", answer: answer(429, cut), get: true, post: true},
		{name: "451", answer: status(451)},

		{name: "500", answer: status(500), get: true}, // from here on a POST may have failed after the lead was stored
		{name: "501", answer: status(501)},            // what is not implemented will not be in a second
		{name: "502", answer: status(502), get: true}, // the API may have carried it out before its proxy lost it
		{name: "503", answer: status(503), get: true},
		// says when, not that nothing was done
		{name: "503 with Retry-After", answer: status(503, "Retry-After", "1"), get: true},
		{name: "503 cut", answer: answer(503, cut), get: true},
		{name: "504", answer: status(504), get: true}, // the proxy gave up, the API perhaps not
		{name: "505", answer: status(505)},
		{name: "507", answer: status(507)},
		{name: "511", answer: status(511)}, // a captive portal wants somebody to log in
		{name: "519", answer: status(519)},
		{name: "520", answer: status(520), get: true},
		// "web server is down": probably not sent, but Cloudflare's word is no
		// proof
		{name: "521", answer: status(521), get: true},
		{name: "522", answer: status(522), get: true},
		{name: "523", answer: status(523), get: true},
		{name: "524", answer: status(524), get: true},
		{name: "525", answer: status(525)}, // a TLS that Cloudflare and the origin cannot agree on stays so
		{name: "526", answer: status(526)},
		{name: "600", answer: status(600)},

		{name: "no connection", answer: asks(fails(dial)), get: true, post: true},
		{name: "no host", answer: asks(fails(lookup)), get: true, post: true},
		{name: "no connection in time", answer: asks(hangs), get: true, post: true},
		{name: "no answer in time", answer: connects(hangs), get: true},
		{name: "connection reset", answer: connects(fails(reset)), get: true},
		{name: "connection closed", answer: connects(fails(io.EOF)), get: true},
		// The RoundTripper sent it, then failed to connect for another try of
		// its own: the last error is not all that happened.
		{name: "dial error after a connection", answer: connects(fails(dial)), get: true},
		// A RoundTripper that reports nothing may have sent it by any means.
		{name: "dial error of a silent RoundTripper", answer: fails(dial), get: true},
		{name: "DNS error of a silent RoundTripper", answer: fails(lookup), get: true},
		{name: "timeout of a silent RoundTripper", answer: hangs, get: true},
		// But it is believed when it says that it did not; unless the trace
		// knows better.
		{name: "refused by a RoundTripper", answer: fails(refused), get: true, post: true},
		{name: "refused by a RoundTripper that asked", answer: asks(fails(refused)), get: true, post: true},
		{name: "refused by a RoundTripper that connected", answer: connects(fails(refused)), get: true},
	}
	for _, test := range tests {
		for method, again := range map[string]bool{http.MethodGet: test.get, http.MethodPost: test.post} {
			t.Run(method+" "+test.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					s := &script{steps: []step{test.answer, status(200)}}
					r, reads := newRequest(method, "https://acme.example/leads"), 0
					r.Read = func([]byte) error {
						if reads++; reads == 1 {
							return test.read
						}
						return nil
					}
					o := newCaller(s).Do(t.Context(), r)
					want := 1
					if again {
						want = 2
					}
					assert.Len(t, s.began, want)
					assert.Equal(t, want, o.Attempts)
				})
			})
		}
	}
}

// large is more than a caller reads.
func large(context.Context) io.Reader { return strings.NewReader(strings.Repeat("x", 2<<20)) }

func TestAttempts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name          string
		caller, ofOne int
		want          int
	}{
		{"one", 1, 0, 1},
		{"three", 3, 0, 3},
		{"a request's own", 3, 2, 2},
		{"a request's own, more", 3, 5, 5},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &script{steps: []step{status(429)}}
				caller, r := newCaller(s), newRequest(http.MethodPost, "https://acme.example/leads")
				caller.Attempts, r.Attempts = test.caller, test.ofOne
				o := caller.Do(t.Context(), r)
				assert.Equal(t, test.want, o.Attempts)
				assert.Len(t, s.began, test.want)
				assert.Equal(t, 429, o.Status)
				assert.NoError(t, o.Stopped, "nothing was due any more")
			})
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
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				o, _ := scripted(t.Context(), http.MethodPost, test.steps...)
				assert.Equal(t, test.status, o.Status)
				assert.Equal(t, test.sent, o.Sent)
				assert.Equal(t, test.status == 0, o.Err != nil)
				assert.Equal(t, test.status != 201, o.Failed())
			})
		})
	}
}

// An http.Transport reports every connection that it asks for: its silence
// means that it asked for none.
func TestSilenceOfAnHTTPTransport(t *testing.T) {
	t.Parallel()
	caller := newCaller(&http.Transport{})
	caller.Attempts = 1
	caller.Header = func(string) http.Header { return http.Header{"X-Broken": {"a\nb"}} }
	o := caller.Do(t.Context(), newRequest(http.MethodPost, "https://acme.example/leads"))
	require.ErrorContains(t, o.Err, "invalid header")
	assert.False(t, o.Sent)
}

func TestTransient(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		outcome call.Outcome
		want    bool
	}{
		{"503", call.Outcome{Status: 503}, true},
		{"429", call.Outcome{Status: 429}, true},
		{"400", call.Outcome{Status: 400}, false},
		{"cut", call.Outcome{Status: 200, Err: io.ErrUnexpectedEOF, ConnectionLost: true}, true},
		{"unreadable", call.Outcome{Status: 200, Err: errors.New("not JSON")}, false},
		{"success", call.Outcome{Status: 200}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, test.want, test.outcome.Retryable())
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
	assert.Zero(t, (&call.Outcome{}).Date(), "no answer")
}

// RoundTrippers change what they are given, against the rules of package http
// but often.
func TestEachAttemptHasURLHeaderAndBodyOfItsOwn(t *testing.T) {
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
		caller := newCaller(meddler)
		caller.Header = func(string) http.Header { return http.Header{"Authorization": {"ApiToken t"}} }
		caller.Do(t.Context(), newRequest(http.MethodPost, "https://acme.example/base/leads?a=b"))
		same := func(want string) []string { return []string{want, want, want} }
		assert.Equal(t, same("https://acme.example/base/leads?a=b"), urls)
		assert.Equal(t, same("acme.example"), hosts)
		assert.Equal(t, same("ApiToken t"), headers)
		assert.Equal(t, same(`{"email":"allison.brown@example.com"}`), bodies)
	})
}

func (s step) RoundTrip(r *http.Request) (*http.Response, error) { return s(r) }
