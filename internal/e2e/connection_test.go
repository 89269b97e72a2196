package e2e_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// ledger counts the connections and bodies of a transport.
type ledger struct {
	// dials is the number of connections that were opened. open is the number
	// of those that are still open.
	dials, open atomic.Int64
	// unclosed is the number of bodies that are not closed.
	unclosed atomic.Int64

	// reads is called before each read of a body. It may be nil.
	reads func()
}

// over returns the option that sends by a transport whose connections and
// bodies are counted. At the end of the test none may be open.
func (l *ledger) over(t *testing.T, transport *http.Transport, timeout time.Duration) clixnow.Option {
	t.Helper()
	transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		l.dials.Add(1)
		l.open.Add(1)
		return &countedConn{conn, sync.OnceFunc(func() { l.open.Add(-1) })}, nil
	}
	t.Cleanup(func() {
		assert.Zero(t, l.unclosed.Load(), "bodies that were not closed")
		assert.Eventually(t, func() bool {
			// An HTTP/2 connection becomes idle a little after its last
			// response was read.
			transport.CloseIdleConnections()
			return l.open.Load() == 0
		}, time.Minute, time.Millisecond, "open connections")
	})
	counting := closer{transport, func(r *http.Request) (*http.Response, error) {
		resp, err := transport.RoundTrip(r)
		if err == nil {
			l.unclosed.Add(1)
			resp.Body = &countedBody{resp.Body, l.reads, sync.OnceFunc(func() { l.unclosed.Add(-1) })}
		}
		return resp, err
	}}
	return clixnow.WithHTTPClient(&http.Client{Transport: counting, Timeout: timeout})
}

type countedConn struct {
	net.Conn

	closed func()
}

func (c *countedConn) Close() error {
	c.closed()
	return c.Conn.Close()
}

type countedBody struct {
	io.ReadCloser

	reads, closed func()
}

func (b *countedBody) Read(p []byte) (int, error) {
	if b.reads != nil {
		b.reads()
	}
	return b.ReadCloser.Read(p)
}

func (b *countedBody) Close() error {
	b.closed()
	return b.ReadCloser.Close()
}

// After a fault every body is closed and no connection is left. This holds for
// every fault, protocol and method of the client.
func TestNothingIsLeftOpen(t *testing.T) {
	t.Parallel()
	cases := append(faultCases(), faultCase{
		name: "hangs until a deadline", inject: []clixnowtest.Fault{{Delay: time.Hour}},
		ctx: func(ctx context.Context, _ *clixnowtest.Server) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 30*time.Millisecond)
		},
	})
	protocols := []struct {
		name    string
		start   func(*httptest.Server)
		methods []string
	}{
		{"HTTP/1.1", plainHTTP, []string{"CreateLead", "EnsureLead", "EnsureLeadSince", "SearchLeads"}},
		{"HTTP/2", overHTTP2, []string{"EnsureLead", "SearchLeads"}},
	}
	for _, protocol := range protocols {
		for _, test := range cases {
			if test.opts != nil || strings.HasPrefix(test.name, "hangs until the deadline") ||
				protocol.name == "HTTP/2" && strings.HasPrefix(test.name, "101") {
				// These cases have a transport of their own, take longer than
				// the one above, or do not exist in HTTP/2.
				continue
			}
			for _, method := range protocol.methods {
				if method == "SearchLeads" && test.name == "cancelled after the write" {
					continue // a search adds no lead
				}
				t.Run(protocol.name+", "+test.name+", "+method, func(t *testing.T) {
					t.Parallel()
					api := newAPI()
					server := startServer(t, protocol.start, api.ServeHTTP)
					t.Cleanup(api.Close) // before startServer's Cleanup, which waits for delayed requests
					for _, fault := range test.inject {
						if method == "SearchLeads" {
							fault.Method = ""
						}
						api.Inject(fault)
					}
					ctx, cancel := t.Context(), context.CancelFunc(func() {})
					if test.ctx != nil {
						ctx, cancel = test.ctx(ctx, api)
					}
					defer cancel()
					client := clientOf(t, server.URL, new(ledger).over(t, trusting(server), 10*time.Second))
					if method != "SearchLeads" {
						_, _ = register(ctx, client, method)
						return
					}
					api.AddLeads(make([]clixnow.Lead, 30)...)
					for _, err := range client.SearchLeads(ctx, clixnow.SearchLeadsRequest{Count: 10, Prefetch: 2}) {
						if err != nil {
							t.Log(err)
						}
					}
				})
			}
		}
	}
}

// All error responses come over one connection.
func TestConnectionIsKeptAfterErrors(t *testing.T) {
	t.Parallel()
	for protocol, start := range map[string]func(*httptest.Server){"HTTP/1.1": plainHTTP, "HTTP/2": overHTTP2} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			var handle atomic.Value
			server := startServer(t, start,
				func(w http.ResponseWriter, r *http.Request) { handle.Load().(http.HandlerFunc)(w, r) })
			var used ledger
			client := clientOf(t, server.URL, used.over(t, trusting(server), 0))
			for _, status := range []int{
				200, 201, 204, 302, 400, 401, 403, 404, 408, 409, 415, 422, 429, 500, 502, 503,
				504, 520,
			} {
				// the last one is larger than the part that is kept
				for _, body := range []string{
					"", `{"message":"no"}`, strings.Repeat("<p>", 3000),
					strings.Repeat("<p>", 30_000),
				} {
					handle.Store(answer(status, "", body))
					require.Error(t, request(t, client, http.MethodPost))
					require.Error(t, request(t, client, http.MethodGet))
					require.Equal(t, int64(1), used.dials.Load(), "connections after a %d with %d bytes", status,
						len(body))
				}
			}
		})
	}
}

// If the handshake fails, nothing was sent. In TLS 1.3 the client's handshake
// ends before the server has checked the certificate of the client.
func TestTLSFailures(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		server *tls.Config
		client func(*tls.Config)
		class  error
		text   string
	}{
		{name: "expired certificate", client: func(c *tls.Config) {
			c.Time = func() time.Time { return time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC) }
		}, class: clixnow.ErrNotSent, text: "expired"},
		{name: "certificate that is not valid yet", client: func(c *tls.Config) {
			c.Time = func() time.Time { return time.Date(1969, 1, 1, 0, 0, 0, 0, time.UTC) }
		}, class: clixnow.ErrNotSent, text: "not yet valid"},
		{
			name: "only old TLS", server: &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10},
			class: clixnow.ErrNotSent, text: "protocol version",
		},
		{
			name:   "client certificate required, TLS 1.2",
			server: &tls.Config{ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12},
			class:  clixnow.ErrNotSent, text: "tls",
		},
		{
			name:   "client certificate required, TLS 1.3",
			server: &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13},
			class:  clixnow.ErrOutcomeUnknown,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var arrived atomic.Int64
			server := startServer(t, func(s *httptest.Server) {
				s.TLS = test.server
				s.StartTLS()
			}, func(http.ResponseWriter, *http.Request) { arrived.Add(1) })
			transport := trusting(server)
			if test.client != nil {
				test.client(transport.TLSClientConfig)
			}
			client := clientOf(t, server.URL, new(ledger).over(t, transport, 0))
			err := request(t, client, http.MethodPost)
			requireClass(t, test.class, err)
			assert.Contains(t, err.Error(), test.text)
			assertNoSecrets(t, err.Error())
			err = request(t, client, http.MethodGet)
			require.Error(t, err)
			notSent := test.class == clixnow.ErrNotSent //nolint:errorlint // a class is one of four values
			assert.Equal(t, notSent, errors.Is(err, clixnow.ErrNotSent))
			assert.Zero(t, arrived.Load(), "requests")
		})
	}
}

// endlessResponse is a response that is too long, too slow or broken. The
// server writes until the client closes the connection, so the test notices a
// client that reads to the end.
type endlessResponse struct {
	name string
	// serve writes the response. It returns an error if the client has closed
	// the connection.
	serve func(io.Writer) error
	// until is "header" or "body" if the deadline passes when the client reads
	// it. "" means that there is no deadline.
	until string
	// class is the class of a create. nil means that the lead is registered.
	class error
	// within is what the errors of a create and of a search match.
	within []error
	// text is part of the error text.
	text string
}

func endlessResponses() []endlessResponse {
	const (
		unknown, refused = "HTTP/1.1 201 Created\r\n", "HTTP/1.1 400 Bad Request\r\n"
		chunked          = "Transfer-Encoding: chunked\r\n\r\n"
		zipped           = "Content-Encoding: gzip\r\n"
		lead             = `{"leadId":7,"redirectUrl":"https://brand.example/autologin"}`
	)
	much := strings.Repeat("x", 8000)
	bomb := string(gzipped(strings.Repeat(" ", 8<<20))) // 8 KiB
	chunk := "1f40\r\n" + much + "\r\n"
	invalid := []error{clixnow.ErrInvalidResponse}
	large := []error{clixnow.ErrResponseTooLarge, clixnow.ErrInvalidResponse}
	bad := []error{clixnow.ErrBadRequest}
	late := []error{context.DeadlineExceeded}
	return []endlessResponse{
		{
			name: "endless first line", serve: endless("HTTP/1.1 201 ", much), class: clixnow.ErrOutcomeUnknown,
			text: "exceeded",
		},
		{
			name: "endless header line", serve: endless(unknown+"X-Flood: ", much), class: clixnow.ErrOutcomeUnknown,
			text: "exceeded",
		},
		{
			name: "endless headers", serve: endless(unknown, strings.Repeat("X-Flood: x\r\n", 800)),
			class: clixnow.ErrOutcomeUnknown, text: "exceeded",
		},
		{
			name: "endless early hints", serve: endless("", "HTTP/1.1 103 Early Hints\r\nLink: "+much+"\r\n\r\n"),
			class: clixnow.ErrOutcomeUnknown, text: "exceeded",
		},
		{
			name:  "endless 100 Continue",
			serve: endless("", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 400)),
			class: clixnow.ErrOutcomeUnknown, text: "exceeded",
		},
		{
			name:  "endless trailers",
			serve: endless(unknown+chunked+"1\r\n{\r\n0\r\n", strings.Repeat("X-Flood: x\r\n", 800)),
			class: clixnow.ErrOutcomeUnknown, within: invalid, text: "trailer",
		},
		{
			name: "endless chunk extension", serve: endless(unknown+chunked+"1;", much),
			class: clixnow.ErrOutcomeUnknown, within: invalid,
		},
		{
			name:  "chunks of one byte, with long extensions",
			serve: endless(unknown+chunked, "1;"+much[:1000]+"\r\n \r\n"), class: clixnow.ErrOutcomeUnknown,
			within: invalid,
		},
		{
			name:  "many headers",
			serve: once(unknown + strings.Repeat("X-Flood: x\r\n", 10_000) + "Content-Length: 60\r\n\r\n" + lead),
		},
		{
			name:  "many headers of an error",
			serve: once(refused + strings.Repeat("X-Flood: x\r\n", 10_000) + "Content-Length: 0\r\n\r\n"),
			class: clixnow.ErrRefused, within: bad,
		},

		{
			name: "endless success", serve: endless(unknown+chunked, chunk), class: clixnow.ErrOutcomeUnknown,
			within: large,
		},
		{
			name: "endless success without a length", serve: endless(unknown+"\r\n", much),
			class: clixnow.ErrOutcomeUnknown, within: large,
		},
		{name: "endless refusal", serve: endless(refused+chunked, chunk), class: clixnow.ErrRefused, within: bad},
		{
			name: "endless redirect", serve: endless("HTTP/1.1 302 Found\r\nLocation: /login\r\n"+chunked, chunk),
			class: clixnow.ErrRefused, within: []error{clixnow.ErrRedirect},
		},
		{
			name:  "endless white space before the lead",
			serve: endless(unknown+chunked, "1f40\r\n"+strings.Repeat(" ", 8000)+"\r\n"),
			class: clixnow.ErrOutcomeUnknown, within: large,
		},

		{
			name: "gzip bomb", serve: once(unknown + zipped + "\r\n" + bomb), class: clixnow.ErrOutcomeUnknown,
			within: large,
		},
		{
			name: "gzip bomb that is a refusal", serve: once(refused + zipped + "\r\n" + bomb),
			class:  clixnow.ErrRefused,
			within: bad,
		},
		{
			name: "truncated gzip", serve: once(unknown + zipped + "\r\n" + string(gzipped(lead)[:30])),
			class: clixnow.ErrOutcomeUnknown, within: append(invalid, io.ErrUnexpectedEOF),
		},
		{
			name:  "gzip with a wrong checksum",
			serve: once(unknown + zipped + "\r\n" + string(gzipped(lead)[:len(gzipped(lead))-8]) + "checksum"),
			class: clixnow.ErrOutcomeUnknown, within: append(invalid, gzip.ErrChecksum),
		},
		{
			name: "gzip only by its header", serve: once(unknown + zipped + "\r\n" + lead),
			class: clixnow.ErrOutcomeUnknown, within: append(invalid, gzip.ErrHeader),
		},
		{
			name: "another encoding", serve: once(unknown + "Content-Encoding: br\r\n\r\n\x8b\x03\x80{}\x03"),
			class: clixnow.ErrOutcomeUnknown, within: invalid,
		},
		{
			name: "refusal that is gzip only by its header", serve: once(refused + zipped + "\r\n" + lead),
			class: clixnow.ErrRefused, within: bad,
		},

		{
			name: "slow early hints", serve: inSteps("", "HTTP/1.1 103 Early Hints\r\n\r\n"), until: "header",
			class: clixnow.ErrOutcomeUnknown, within: late,
		},
		{
			name: "slow header", serve: inSteps(unknown+"X-Drip: ", "x"), until: "header",
			class: clixnow.ErrOutcomeUnknown, within: late,
		},
		{
			name: "slow body", serve: inSteps(unknown+chunked, "1\r\n \r\n"), until: "body",
			class: clixnow.ErrOutcomeUnknown, within: append(invalid, late...),
		},
		{
			name: "slow body of known length", serve: inSteps(unknown+"Content-Length: 1000000\r\n\r\n", " "),
			until: "body", class: clixnow.ErrOutcomeUnknown, within: append(invalid, late...),
		},
		{
			name: "slow refusal", serve: inSteps(refused+chunked, "1\r\n \r\n"), until: "body",
			class: clixnow.ErrRefused, within: append(bad, late...),
		},
		{name: "complete, byte by byte", serve: byteByByte(unknown + "Content-Length: 60\r\n\r\n" + lead)},
	}
}

// endless returns a function that writes a beginning and then the same text
// without an end.
func endless(begin, same string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, begin)
		for err == nil {
			_, err = io.WriteString(w, same)
		}
		return err
	}
}

func once(text string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}
}

// byteByByte returns a function that writes one byte at a time.
func byteByByte(text string) func(io.Writer) error {
	return func(w io.Writer) error {
		for i := range len(text) {
			if _, err := io.WriteString(w, text[i:i+1]); err != nil {
				return err
			}
		}
		return nil
	}
}

// inSteps returns a function that writes a beginning and then a little every
// few milliseconds.
func inSteps(begin, drop string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, begin)
		for err == nil {
			time.Sleep(2 * time.Millisecond)
			_, err = io.WriteString(w, drop)
		}
		return err
	}
}

func gzipped(text string) []byte {
	var b bytes.Buffer
	zipper := gzip.NewWriter(&b)
	_, _ = io.WriteString(zipper, text)
	_ = zipper.Close()
	return b.Bytes()
}

// A response without an end ends at the limits of the client, or at the
// deadline.
func TestEndlessResponses(t *testing.T) {
	t.Parallel()
	const maxBytes = 32 << 20 // of one response, including buffers of the system
	for _, test := range endlessResponses() {
		for _, method := range []string{http.MethodPost, http.MethodGet} {
			t.Run(method+" "+test.name, func(t *testing.T) {
				t.Parallel()
				addr := rawServer(t, nil, func(conn net.Conn) {
					r, err := http.ReadRequest(bufio.NewReader(conn))
					if !assert.NoError(t, err) {
						return
					}
					_, _ = io.Copy(io.Discard, r.Body)
					answer := &limitedWriter{conn, maxBytes}
					if test.serve(answer) != nil {
						assert.Positive(t, answer.remaining, "the client read too much")
					}
				})
				var used ledger
				ctx := test.context(t, &used)
				client := clientOf(t, "http://"+addr, clixnow.WithMaxResponseBytes(100_000),
					clixnow.WithRetry(clixnow.RetryPolicy{MaxAttempts: 1}),
					used.over(t, &http.Transport{MaxResponseHeaderBytes: 256 << 10}, 0))
				var err error
				if method == http.MethodPost {
					_, err = client.CreateLead(ctx, vendorsLead())
					requireOutcome(t, test.class, err)
				} else {
					_, err = client.SearchLeadsPage(ctx, clixnow.SearchLeadsRequest{})
				}
				if test.class == nil {
					return // a search cannot read it
				}
				require.Error(t, err)
				for _, target := range test.within {
					require.ErrorIs(t, err, target)
				}
				assert.Contains(t, err.Error(), test.text)
				assert.Less(t, len(err.Error()), 1000)
				assertNoSecrets(t, err.Error())
				assert.NotContains(t, err.Error(), "autologin")
				var answered *clixnow.APIError
				if errors.As(err, &answered) {
					assert.LessOrEqual(t, len(answered.Body), 64<<10)
				}
			})
		}
	}
}

// context returns a context with the deadline of the test. The deadline does
// not depend on the clock.
func (a *endlessResponse) context(t *testing.T, used *ledger) context.Context {
	t.Helper()
	if a.until == "" {
		return t.Context()
	}
	passed := make(chan struct{})
	pass := sync.OnceFunc(func() { close(passed) })
	ctx := context.Context(deadlineAt{t.Context(), passed})
	if a.until == "body" {
		used.reads = pass
		return ctx
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotFirstResponseByte: pass})
}

// limitedWriter fails once it has written so many bytes.
type limitedWriter struct {
	io.Writer

	remaining int
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	if w.remaining -= len(p); w.remaining <= 0 {
		return 0, errors.New("too much was read")
	}
	return w.Writer.Write(p)
}

// The timeout also ends a body that makes progress.
func TestSlowBodyAndTheTimeout(t *testing.T) {
	t.Parallel()
	client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, " ")
			w.(http.Flusher).Flush()
			time.Sleep(time.Millisecond)
		}
	}, new(ledger).over(t, new(http.Transport), time.Second))
	_, err := client.CreateLead(t.Context(), vendorsLead())
	requireClass(t, clixnow.ErrOutcomeUnknown, err)
	require.ErrorIs(t, err, clixnow.ErrInvalidResponse)
	require.ErrorContains(t, err, "not done within 1s")
}

// Only REFUSED_STREAM says that the server did not process the request, and
// net/http resends the request then. After every other reset of a stream the
// lead may exist. The connection stays usable.
func TestHTTP2Resets(t *testing.T) {
	t.Parallel()
	codes := map[string]uint32{
		"NO_ERROR": 0, "PROTOCOL_ERROR": 1, "INTERNAL_ERROR": 2, "FLOW_CONTROL_ERROR": 3, "SETTINGS_TIMEOUT": 4,
		"STREAM_CLOSED": 5, "FRAME_SIZE_ERROR": 6,
		"CANCEL": 8, "COMPRESSION_ERROR": 9, "CONNECT_ERROR": 10, "ENHANCE_YOUR_CALM": 11, "INADEQUATE_SECURITY": 12,
		"HTTP_1_1_REQUIRED": 13, "unknown": 255,
	}
	for name, code := range codes {
		for when, begin := range map[string]func(*http2Conn, uint32){
			"before the response": func(*http2Conn, uint32) {},
			"during the response": func(conn *http2Conn, stream uint32) {
				conn.write(frameHeaders, flagEndHeaders, stream, status200)
				conn.write(frameData, 0, stream, `{"leadId":7}`)
			},
		} {
			t.Run(name+" "+when, func(t *testing.T) {
				t.Parallel()
				posts := newArrivals()
				var connections atomic.Int64
				client := http2Client(t, func(conn *http2Conn) {
					connections.Add(1)
					for stream := conn.request(posts); stream != 0; stream = conn.request(posts) {
						if posts.Load() > 1 {
							answerCreated(conn, stream)
							continue
						}
						begin(conn, stream)
						conn.write(frameReset, 0, stream, string(binary.BigEndian.AppendUint32(nil, code)))
					}
				})
				_, err := client.CreateLead(t.Context(), vendorsLead())
				if name == "PROTOCOL_ERROR" && when == "before the response" && resendsAfterProtocolError() {
					require.NoError(t, err)
					assert.Equal(t, int64(2), posts.Load())
					return
				}
				requireClass(t, clixnow.ErrOutcomeUnknown, err)
				assertNoSecrets(t, err.Error())
				assert.Equal(t, int64(1), posts.Load())

				_, err = client.CreateLead(t.Context(), vendorsLead())
				require.NoError(t, err)
				assert.Equal(t, int64(2), posts.Load())
				if name != "PROTOCOL_ERROR" { // then net/http opens a new connection
					assert.Equal(t, int64(1), connections.Load(), "connections")
				}
			})
		}
	}
}

// resendsAfterProtocolError reports whether net/http resends a request after a
// PROTOCOL_ERROR, although the server may have processed it (golang/go#47635).
// It does so before Go 1.27. README says so.
func resendsAfterProtocolError() bool {
	return strings.HasPrefix(runtime.Version(), "go1.25") || strings.HasPrefix(runtime.Version(), "go1.26")
}

func answerCreated(conn *http2Conn, stream uint32) {
	conn.write(frameHeaders, flagEndHeaders, stream, status200)
	conn.write(frameData, flagEndStream, stream, `{"leadId":7}`)
}

// Other things that an HTTP/2 server may do to a connection with creates.
func TestHTTP2Connections(t *testing.T) {
	t.Parallel()
	const (
		frameContinuation = 0x9
		status103         = "\x08\x03103"           // ":status: 103" in HPACK
		longHeader        = "\x00\x01x\x7f\xc1\x3d" // "x" and the length of its value, 8000 bytes
	)
	header := longHeader + strings.Repeat("x", 8000)
	goAway := func(conn *http2Conn, last, code uint32) {
		conn.write(frameGoAway, 0, 0,
			string(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, last), code)))
	}
	tests := []struct {
		name string
		// serve handles a connection. Connections are numbered from 1.
		serve func(conn *http2Conn, posts *arrivals, number int64)
		// ctx returns the context of the first create. nil means that of the
		// test.
		ctx func(*testing.T, *arrivals) context.Context
		// class is the class of the first create. nil means that the lead is
		// registered.
		class  error
		within []error
		// posts is the number of POSTs that arrive. 0 means that it varies.
		posts int64
		// twice means that a second create is registered.
		twice bool
	}{
		{
			name: "GOAWAY before the response", posts: 2, twice: true,
			serve: func(conn *http2Conn, posts *arrivals, _ int64) {
				stream := conn.request(posts)
				goAway(conn, stream, 0)
				answerCreated(conn, stream)
			},
		},
		{
			name: "GOAWAY after the response", posts: 2, twice: true,
			serve: func(conn *http2Conn, posts *arrivals, _ int64) {
				stream := conn.request(posts)
				answerCreated(conn, stream)
				goAway(conn, stream, 0)
			},
		},
		{
			name: "GOAWAY with an error", class: unknown, posts: 2, twice: true,
			serve: func(conn *http2Conn, posts *arrivals, number int64) {
				stream := conn.request(posts)
				if number == 1 {
					goAway(conn, 0, 11)
					return
				}
				answerCreated(conn, stream)
			},
		},
		{
			name: "GOAWAY with an error after the request was processed", class: unknown, posts: 2, twice: true,
			serve: func(conn *http2Conn, posts *arrivals, number int64) {
				stream := conn.request(posts)
				if number == 1 {
					goAway(conn, stream, 2)
					return
				}
				answerCreated(conn, stream)
			},
		},
		{
			name: "REFUSED_STREAM every time", class: unknown, within: []error{context.DeadlineExceeded},
			ctx: untilArrival, serve: func(conn *http2Conn, posts *arrivals, _ int64) {
				for stream := conn.request(posts); stream != 0; stream = conn.request(posts) {
					conn.write(frameReset, 0, stream, "\x00\x00\x00\x07")
				}
			},
		},
		{name: "HTTP/1.1 response", class: unknown, posts: 1, serve: func(conn *http2Conn, posts *arrivals, _ int64) {
			conn.request(posts)
			_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
		}},
		{name: "flood of headers", class: unknown, posts: 1, serve: func(conn *http2Conn, posts *arrivals, _ int64) {
			stream := conn.request(posts)
			conn.write(frameHeaders, 0, stream, status200)
			for range 2000 {
				conn.write(frameContinuation, 0, stream, header)
			}
			conn.write(frameContinuation, flagEndHeaders, stream, header)
			conn.write(frameData, flagEndStream, stream, `{"leadId":7}`)
		}},
		{
			name: "flood of early hints", class: unknown, posts: 1,
			serve: func(conn *http2Conn, posts *arrivals, _ int64) {
				stream := conn.request(posts)
				for range 2000 {
					conn.write(frameHeaders, flagEndHeaders, stream, status103+header)
				}
				answerCreated(conn, stream)
			},
		},
		{
			name: "body without an end", class: unknown, within: []error{clixnow.ErrResponseTooLarge}, posts: 2,
			twice: true, serve: func(conn *http2Conn, posts *arrivals, number int64) {
				for stream := conn.request(posts); stream != 0; stream = conn.request(posts) {
					if number > 1 || stream > 1 {
						answerCreated(conn, stream)
						continue
					}
					conn.write(frameHeaders, flagEndHeaders, stream, status200)
					for range 200 { // until the flow control of the client stops it
						conn.write(frameData, 0, stream, strings.Repeat(" ", 16_000))
					}
				}
			},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			posts := newArrivals()
			var connections atomic.Int64
			client := http2Client(t, func(conn *http2Conn) { test.serve(conn, posts, connections.Add(1)) },
				clixnow.WithMaxResponseBytes(100_000))
			ctx := t.Context()
			if test.ctx != nil {
				ctx = test.ctx(t, posts)
			}
			_, err := client.CreateLead(ctx, vendorsLead())
			requireOutcome(t, test.class, err)
			for _, target := range test.within {
				require.ErrorIs(t, err, target)
			}
			if err != nil {
				assertNoSecrets(t, err.Error())
			}
			if test.twice {
				_, err = client.CreateLead(t.Context(), vendorsLead())
				require.NoError(t, err)
			}
			if test.posts > 0 {
				assert.Equal(t, test.posts, posts.Load())
			}
		})
	}
}

// A server may declare each request unprocessed, although it carries it out.
// net/http then resends the request without an end. The client ends that, also
// with a single attempt.
func TestHTTP2ServerThatDeclaresEachRequestUnprocessed(t *testing.T) {
	t.Parallel()
	const maxResends = 5 // the client ends the fourth one, but the server may see it
	servers := map[string]func(conn *http2Conn, stream uint32){
		"by GOAWAY": func(conn *http2Conn, _ uint32) { conn.goAway(0) },
		"by REFUSED_STREAM": func(conn *http2Conn,
			stream uint32,
		) {
			conn.write(frameReset, 0, stream, "\x00\x00\x00\x07")
		},
	}
	for name, declare := range servers {
		for _, method := range []string{http.MethodPost, http.MethodGet} {
			t.Run(method+" "+name, func(t *testing.T) {
				t.Parallel()
				requests := newArrivals()
				client := http2Client(t, func(conn *http2Conn) {
					for stream := conn.request(requests); stream != 0; stream = conn.request(requests) {
						declare(conn, stream)
					}
				}, clixnow.WithRetry(clixnow.RetryPolicy{MaxAttempts: 1}))
				err := request(t, client, method)
				require.ErrorContains(t, err, "net/http has resent the request too often")
				if method == http.MethodPost {
					requireClass(t, clixnow.ErrOutcomeUnknown, err)
				}
				assert.Less(t, requests.Load(), int64(maxResends))
			})
		}
	}
}

// Servers close idle connections, and a request may be sent at the same time.
// net/http then resends a GET by itself, and a POST is unknown. No lead may be
// registered twice, and no search may fail.
func TestServerThatClosesIdleConnections(t *testing.T) {
	t.Parallel()
	modes := map[string]struct {
		start func(*httptest.Server)
		wrap  func(http.Handler) http.HandlerFunc
	}{
		"HTTP/1.1, when idle":           {start: plainHTTP},
		"HTTP/2, when idle":             {start: overHTTP2},
		"HTTP/1.1, after each response": {start: plainHTTP, wrap: hangingUp},
	}
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const workers, each = 4, 10
			api := newAPI(clixnowtest.WithoutDuplicateCheck()) // a lead that is sent twice is registered twice
			handle := http.HandlerFunc(api.ServeHTTP)
			if mode.wrap != nil {
				handle = mode.wrap(api)
			}
			server := startServer(t, func(s *httptest.Server) {
				s.Config.IdleTimeout = 2 * time.Millisecond
				mode.start(s)
			}, handle)
			var used ledger
			client := clientOf(t, server.URL, used.over(t, trusting(server), time.Minute))

			ids, errs, began := make([]int64, workers*each), make([]error, workers*each), time.Now()
			var running sync.WaitGroup
			for worker := range workers {
				random := rand.New(rand.NewPCG(1, uint64(worker)))
				running.Go(func() {
					for i := worker * each; i < (worker+1)*each; i++ {
						created, err := client.CreateLead(t.Context(), numbered(i))
						if errs[i] = err; err == nil {
							ids[i] = created.LeadID
						}
						// about the idle timeout of the server
						time.Sleep(time.Duration(random.Int64N(int64(4 * time.Millisecond))))
						_, err = client.SearchLeadsPage(t.Context(), clixnow.SearchLeadsRequest{})
						assert.NoError(t, err)
					}
				})
			}
			running.Wait()
			lost := 0
			for i, err := range errs {
				if err != nil {
					requireClass(t, clixnow.ErrOutcomeUnknown, err)
					lost++
					ensured, err := client.EnsureLeadSince(t.Context(), numbered(i), began)
					if err != nil { // it met a closed connection too
						requireClass(t, clixnow.ErrOutcomeUnknown, err)
						continue
					}
					ids[i] = ensured.LeadID
				}
			}
			byEmail := make(map[string][]int64)
			for _, lead := range api.Leads() {
				byEmail[lead.Email] = append(byEmail[lead.Email], lead.ID)
			}
			for i, id := range ids {
				if id == 0 {
					assert.LessOrEqual(t, len(byEmail[numbered(i).Email]), 1, "lead %d", i)
					continue
				}
				assert.Equal(t, []int64{id}, byEmail[numbered(i).Email], "lead %d", i)
			}
			t.Logf("%d connections for %d requests; %d creates had an unknown outcome", used.dials.Load(),
				2*workers*each, lost)
			assert.Greater(t, used.dials.Load(), int64(workers))
		})
	}
}

// hangingUp closes the connection after each response, without a
// "Connection: close".
func hangingUp(next http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		recorder := httptest.NewRecorder()
		next.ServeHTTP(recorder, r)
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		result := recorder.Result()
		defer result.Body.Close()
		_ = result.Write(conn)
		_ = conn.Close()
	}
}
