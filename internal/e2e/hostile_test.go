package e2e_test

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
)

// hostile is a server that answers the first request with an attack, and all
// other requests correctly.
type hostile struct {
	attack http.HandlerFunc

	mu      sync.Mutex
	arrived []*http.Request
}

func (h *hostile) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.arrived = append(h.arrived, r)
	first := len(h.arrived) == 1
	h.mu.Unlock()
	_, _ = io.Copy(io.Discard, r.Body)
	switch {
	case first:
		h.attack(w, r)
	case r.Method == http.MethodPost:
		_, _ = io.WriteString(w, `{"leadId":7}`)
	default:
		_, _ = io.WriteString(w, `[]`)
	}
}

// A hostile server tries to have the token or the lead sent to another server.
// Nothing must arrive there, nothing must be retried, no secret may be in the
// error or the log, and the next requests must not change.
func TestHostileServerGetsNothing(t *testing.T) {
	t.Parallel()
	var strangers atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { strangers.Add(1) }))
	t.Cleanup(func() {
		other.Close()
		assert.Zero(t, strangers.Load(), "requests to the other server")
	})
	give := func(status int, body string, headers ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(headers); i += 2 {
				w.Header().Add(headers[i], headers[i+1])
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	const created = `{"leadId":6}`
	host := strings.TrimPrefix(other.URL, "http://")
	bothSecrets := testToken + " " + secretPassword
	tests := []struct {
		attack string
		answer http.HandlerFunc
		// class is the class of the error. nil means success.
		class error
	}{
		{"307 to another host", give(307, "", "Location", other.URL), clixnow.ErrRefused},
		{"308 to another host", give(308, "", "Location", "//"+host+"/api/system/v1/leads"), clixnow.ErrRefused},
		{"303 to another host", give(303, created, "Location", other.URL), clixnow.ErrOutcomeUnknown},
		{"305 to a proxy", give(305, "", "Location", other.URL), clixnow.ErrRefused},
		{
			"300 with choices", give(300, "", "Location", other.URL, "Alternates", "{\""+other.URL+"\" 1}"),
			clixnow.ErrRefused,
		},
		{"a success with Location", give(201, created, "Location", other.URL, "Content-Location", other.URL), nil},
		{"Refresh", give(200, created, "Refresh", "0; url="+other.URL), nil},
		{"Refresh of an error", give(503, "", "Refresh", "0; url="+other.URL), clixnow.ErrOutcomeUnknown},
		{"Alt-Svc", give(200, created, "Alt-Svc", `h2="`+host+`"; persist=1, h3="`+host+`"`), nil},
		{"Link", give(200, created, "Link", "<"+other.URL+">; rel=preload, <"+other.URL+">; rel=next"), nil},
		{"early hints", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "<"+other.URL+">; rel=preconnect")
			w.WriteHeader(http.StatusEarlyHints)
			give(200, created)(w, r)
		}, nil},
		{"cookies", give(200, created, "Set-Cookie", "a=1; Path=/; Domain="+host, "Set-Cookie", "b=2"), nil},
		{
			"a challenge for other credentials", give(401, "", "Www-Authenticate", `Basic realm="`+other.URL+`"`),
			clixnow.ErrRefused,
		},
		{"a proxy's challenge", give(407, "", "Proxy-Authenticate", "Basic"), clixnow.ErrRefused},
		{"a misdirected request", give(421, "", "Location", other.URL), clixnow.ErrRefused},
		{"an upgrade", give(426, "", "Upgrade", "h2c", "Connection", "Upgrade"), clixnow.ErrRefused},
		{
			"a login page", give(200, `<meta http-equiv="refresh" content="0;url=`+other.URL+`">`),
			clixnow.ErrOutcomeUnknown,
		},
		{"an echo as message", give(400, `{"message":`+strconv.Quote(bothSecrets)+`}`), clixnow.ErrRefused},
		{
			"an echo as field",
			give(400, `{"errors":{`+strconv.Quote(bothSecrets)+`:[`+strconv.Quote(bothSecrets)+`]}}`),
			clixnow.ErrRefused,
		},
		{"an echo as text", give(502, bothSecrets, "Content-Type", "text/plain"), clixnow.ErrOutcomeUnknown},
		{"an echo as page", give(502, "<p>"+bothSecrets, "Content-Type", "text/html"), clixnow.ErrOutcomeUnknown},
		{
			"an echo that is not a lead", give(200, `{"redirectUrl":"`+secretRedirect+`","x":"`+bothSecrets),
			clixnow.ErrOutcomeUnknown,
		},
		{"an echo as request id", give(500, "", "X-Request-Id", bothSecrets), clixnow.ErrOutcomeUnknown},
		{"an echo as header and trailer", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Echo")
			w.Header().Set("Location", bothSecrets)
			w.Header().Set("Retry-After", testToken)
			give(500, "")(w, r)
			w.Header().Set("X-Echo", bothSecrets)
		}, clixnow.ErrOutcomeUnknown},
	}
	for _, test := range tests {
		t.Run(test.attack, func(t *testing.T) {
			t.Parallel()
			var logged bytes.Buffer
			logger := slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
			server := &hostile{attack: test.answer}
			client := newClient(t, server.ServeHTTP, clixnow.WithLogger(logger))

			_, err := client.CreateLead(t.Context(), hostilesLead())
			if test.class == nil {
				require.NoError(t, err)
			} else {
				requireClass(t, test.class, err)
				assert.Empty(t, leaks(fmt.Sprintf("%v %+v %#v %q", err, err, err, err)))
			}
			assert.Len(t, server.arrived, 1, "requests")

			_, err = client.CreateLead(t.Context(), hostilesLead())
			require.NoError(t, err)
			_, err = client.SearchLeadsPage(t.Context(), clixnow.SearchLeadsRequest{})
			require.NoError(t, err)
			require.Len(t, server.arrived, 3)
			assert.Equal(t, server.arrived[0].Header, server.arrived[1].Header, "the next create")
			assert.Subset(t, []string{"Accept", "Accept-Encoding", "Authorization", "User-Agent"},
				keys(server.arrived[2].Header), "the next search")
			assert.Empty(t, leaks(logged.String()))
		})
	}
}

func hostilesLead() clixnow.CreateLeadRequest {
	req := vendorsLead()
	req.Password = secretPassword
	return req
}

func keys(header http.Header) (names []string) {
	for name := range maps.Keys(header) {
		names = append(names, name)
	}
	return names
}

// net/http quotes a response that it cannot read. This server puts the request
// there.
func TestHostileServerIsNotQuoted(t *testing.T) {
	t.Parallel()
	const ok = "HTTP/1.1 200 OK\r\n"
	for name, answer := range map[string]string{
		"protocol":            "{echo}\r\n\r\n",
		"version":             "HTTP/{echo} 200 OK\r\n\r\n",
		"status":              "HTTP/1.1 {echo}\r\n\r\n",
		"header":              ok + "{echo}\r\n\r\n",
		"first header":        ok + " {echo}\r\n\r\n",
		"header name":         ok + "X({echo}): 1\r\n\r\n",
		"Content-Length":      ok + "Content-Length: {echo}\r\n\r\n",
		"two Content-Lengths": ok + "Content-Length: {echo}\r\nContent-Length: 1\r\n\r\n",
		"Transfer-Encoding":   ok + "Transfer-Encoding: {echo}\r\n\r\n",
		"two encodings":       ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: {echo}\r\n\r\n",
		"Trailer":             ok + "Transfer-Encoding: chunked\r\nTrailer: Content-Length, {echo}\r\n\r\n",
		"trailer":             ok + "Transfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n{echo}\r\n\r\n",
		"chunk":               ok + "Transfer-Encoding: chunked\r\n\r\n{echo}\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startServer(t, plainHTTP, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				conn, _, err := http.NewResponseController(w).Hijack()
				if !assert.NoError(t, err) {
					return
				}
				defer conn.Close()
				echo := r.Header.Get("Authorization") + string(body)
				_, _ = io.WriteString(conn, strings.ReplaceAll(answer, "{echo}", echo))
			})
			err := requireNotQuoted(t, clixnow.ErrOutcomeUnknown, clixnow.WithBaseURL(server.URL))
			assert.NotContains(t, err.Error(), "not shown", "the beginning of the text is known")
		})
	}
}

// The same over HTTP/2. The server knows the lead of the tests.
func TestHostileHTTP2ServerIsNotQuoted(t *testing.T) {
	t.Parallel()
	const echo = testToken + " allison.brown@example.com +41123456789"
	field := func(name, value string) string { // in HPACK, literal and not indexed
		return "\x00" + string(rune(len(name))) + name + string(rune(len(value))) + value
	}
	for name, answer := range map[string]func(*http2Conn, uint32){
		"GOAWAY": func(conn *http2Conn, stream uint32) {
			ids := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, stream), 2)
			conn.write(frameGoAway, 0, 0, string(ids)+echo)
		},
		"GOAWAY without an error": func(conn *http2Conn, stream uint32) {
			ids := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, stream), 0)
			conn.write(frameGoAway, 0, 0, string(ids)+echo)
		},
		"header name": func(conn *http2Conn, stream uint32) {
			conn.write(frameHeaders, flagEndHeaders, stream, status200+field("X "+echo, "1"))
		},
		"header value": func(conn *http2Conn, stream uint32) {
			conn.write(frameHeaders, flagEndHeaders, stream, status200+field("x", echo+"\x00"))
		},
		"pseudo-header": func(conn *http2Conn, stream uint32) {
			conn.write(frameHeaders, flagEndHeaders, stream, status200+field(":"+echo, "1"))
		},
		"status": func(conn *http2Conn, stream uint32) {
			conn.write(frameHeaders, flagEndHeaders, stream, field(":status", echo))
		},
		"no status": func(conn *http2Conn, stream uint32) {
			conn.write(frameHeaders, flagEndHeaders, stream, field("x", echo))
		},
		"compression": func(conn *http2Conn, stream uint32) {
			conn.write(frameHeaders, flagEndHeaders, stream, echo)
		},
		"frame": func(conn *http2Conn, _ uint32) {
			conn.write(frameHeaders, flagEndHeaders, 0, echo)
		},
		"HTTP/1.1": func(conn *http2Conn, _ uint32) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 "+echo+"\r\n\r\n")
		},
		"trailer": func(conn *http2Conn, stream uint32) {
			conn.write(frameHeaders, flagEndHeaders, stream, status200)
			conn.write(frameHeaders, flagEndHeaders|flagEndStream, stream, field("X "+echo, "1"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			posts := newArrivals()
			server := http2Server(t, func(conn *http2Conn) { answer(conn, conn.request(posts)) })
			err := requireNotQuoted(t, clixnow.ErrOutcomeUnknown, server...)
			assert.NotContains(t, err.Error(), "not shown", "the beginning of the text is known")
		})
	}
}

// A proxy that decrypts the traffic has a certificate that no trusted authority
// has signed. The client ends the handshake and sends nothing.
func TestInterceptingProxyGetsNothing(t *testing.T) {
	t.Parallel()
	other := httptest.NewUnstartedServer(nil)
	other.StartTLS()
	t.Cleanup(other.Close)
	var asked atomic.Int32
	proxy := rawServer(t, nil, func(conn net.Conn) {
		connect, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		asked.Add(1)
		assert.Equal(t, "CONNECT integration.acme.invalid:443", connect.Method+" "+connect.RequestURI)
		assert.NotContains(t, fmt.Sprint(connect.Header), testToken)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		decrypted := tls.Server(conn, other.TLS)
		received, _ := io.ReadAll(decrypted)
		assert.Empty(t, received)
	})
	_ = requireNotQuoted(t, clixnow.ErrNotSent, clixnow.WithBaseURL("https://integration.acme.invalid"),
		over(t, throughProxy(t, "http://"+proxy)))
	assert.Positive(t, asked.Load())
}

// What is not a response of the API may be quoted too: that of a proxy, and the
// URL of a proxy, which may hold a password.
func TestHostileProxyIsNotQuoted(t *testing.T) {
	t.Parallel()
	const echo = testToken + " allison.brown@example.com"
	for name, status := range map[string]string{
		"status text":   "HTTP/1.1 407 " + echo + "\r\n\r\n",
		"status line":   echo + "\r\n\r\n",
		"header":        "HTTP/1.1 200 OK\r\n" + echo + "\r\n\r\n",
		"no TLS behind": "HTTP/1.1 200 OK\r\n\r\n" + echo,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy := rawServer(t, nil, func(conn net.Conn) {
				_, _ = http.ReadRequest(bufio.NewReader(conn))
				_, _ = io.WriteString(conn, status)
			})
			_ = requireNotQuoted(t, clixnow.ErrNotSent, clixnow.WithBaseURL("https://integration.acme.invalid"),
				over(t, throughProxy(t, "http://"+proxy)))
		})
	}
	t.Run("URL", func(t *testing.T) {
		t.Parallel()
		err := requireNotQuoted(t, clixnow.ErrNotSent, clixnow.WithBaseURL("https://integration.acme.invalid"),
			over(t, brokenProxy()))
		assert.ErrorContains(t, err, "parse: invalid port")
	})
}

// requireNotQuoted makes a create, and asserts that neither its error nor its
// log contains a secret or data of the lead. It returns the error.
func requireNotQuoted(t *testing.T, class error, opts ...clixnow.Option) error {
	t.Helper()
	var logged bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	client := clientOf(t, "http://127.0.0.1", append(opts, clixnow.WithLogger(logger))...)
	_, err := client.CreateLead(t.Context(), hostilesLead())
	requireClass(t, class, err)
	shown := fmt.Sprintf("%v %+v %#v ", err, err, err) + logged.String()
	assert.Empty(t, leaks(shown), shown)
	for _, datum := range []string{"allison", "Allison", "Brown", "41123456789"} {
		assert.NotContains(t, shown, datum)
	}
	return err
}

// A hostile server tries to take memory or time. The call ends by itself, with
// the error of the table, and allocates at most some multiples of the limit of
// a response.
func TestHostileServerExhaustsNothing(t *testing.T) { //nolint:paralleltest // it measures allocations
	const limit = 1 << 20
	endless := func(piece string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, piece); err != nil {
					return
				}
			}
		}
	}
	give := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	many := func(piece string) string { return strings.Repeat(piece, (limit-100)/len(piece)) }
	tests := []struct {
		attack string
		answer http.HandlerFunc
		// search is the error of reading all leads. nil means success.
		search error
		// factor is how many times the limit may be allocated, by client and
		// server together. 0 means 32.
		factor uint64
	}{
		{"a body without end", endless("[{},"), clixnow.ErrResponseTooLarge, 0},
		{"spaces without end", endless("        "), clixnow.ErrResponseTooLarge, 0},
		{"an error without end", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			endless("<p>no</p>")(w, r)
		}, clixnow.ErrBadRequest, 0},
		{"a gzip bomb", bomb(http.StatusOK, 256), clixnow.ErrResponseTooLarge, 0},
		{"a gzip bomb as error", bomb(http.StatusForbidden, 256), clixnow.ErrForbidden, 0},
		{"a length of 8 EiB", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9223372036854775807")
			_, _ = io.WriteString(w, "[")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, clixnow.ErrInvalidResponse, 0},
		{"deep nesting", give(200, many("[")), clixnow.ErrInvalidResponse, 0},
		{"deep nesting of an unknown field", give(200, `[{"id":1,"x":`+many(`{"x":`)), clixnow.ErrInvalidResponse, 0},
		{"deep nesting of an error", give(400, many(`{"errors":`)), clixnow.ErrBadRequest, 0},
		{"a number of a million digits", give(200, `[{"id":`+many("9")+`}]`), clixnow.ErrInvalidResponse, 0},
		{
			"a date of a million digits", give(200, `[{"id":1,"createdOn":"2022-12-19T11:01:58.`+many("0")+`Z"}]`),
			clixnow.ErrInvalidResponse, 0,
		},
		{"a name of a million letters", give(200, `[{"id":1,"`+many("x")+`":1}]`), nil, 0},
		{"a million escapes", give(200, `[{"id":1,"email":"`+many(`\ud800`)+`"}]`), nil, 0},
		{"many unknown fields", give(200, `[{"id":1`+many(`,"":0`)+`}]`), nil, 0},
		{"many leads", give(200, `[{}`+many(`,{}`)+`]`), clixnow.ErrInvalidResponse, 256},
		{"many arrays in an envelope", give(200, `{"a":[]`+many(`,"":[]`)+`}`), nil, 0},
		{"many fields of an error", give(400, `{"errors":{"a":"b"`+many(`,"":""`)+`}}`), clixnow.ErrBadRequest, 0},
		{
			"the same page without end", give(200, `[`+strings.Repeat(`{"id":1},`, 9)+`{"id":2}]`),
			clixnow.ErrUnstableResults, 0,
		},
		{"interim answers without end", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				w.WriteHeader(http.StatusEarlyHints)
			}
		}, errAny, 0},
		{"headers without end", func(w http.ResponseWriter, _ *http.Request) {
			for i := range 2000 {
				w.Header()["X-"+strconv.Itoa(i)] = []string{strings.Repeat("0", 1000)}
			}
		}, errAny, 0},
		{"a wait of a century", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "3155760000")
			w.WriteHeader(http.StatusServiceUnavailable)
		}, clixnow.ErrServer, 0},
		{"always later", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
		}, clixnow.ErrRateLimited, 0},
		{"a byte every few milliseconds", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, " ")
				_ = http.NewResponseController(w).Flush()
				select {
				case <-time.After(5 * time.Millisecond):
				case <-r.Context().Done():
				}
			}
		}, context.DeadlineExceeded, 0},
		{
			"no answer", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			context.DeadlineExceeded,
			0,
		},
	}
	for _, test := range tests { //nolint:paralleltest // see above
		t.Run(test.attack, func(t *testing.T) {
			client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				test.answer(w, r)
			}, clixnow.WithMaxResponseBytes(limit))
			patience := time.Minute
			if errors.Is(test.search, context.DeadlineExceeded) {
				patience = 100 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()

			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			var searched error
			for _, err := range client.SearchLeads(ctx, clixnow.SearchLeadsRequest{Count: 10}) {
				searched = err
			}
			runtime.ReadMemStats(&after)
			switch test.search {
			case nil:
				require.NoError(t, searched)
			case errAny: //nolint:errorlint // compared by identity
				require.Error(t, searched)
			default:
				require.ErrorIs(t, searched, test.search)
			}
			assert.Less(t, after.TotalAlloc-before.TotalAlloc, cmp.Or(test.factor, 32)*limit)

			ctx, cancel = context.WithTimeout(t.Context(), patience)
			defer cancel()
			_, err := client.CreateLead(ctx, vendorsLead())
			requireOneClass(t, err)
		})
	}
}

// errAny means any error. It is for errors of net/http that have no name.
var errAny = errors.New("any")

// bomb returns a handler that answers with so many MiB of spaces, as gzip.
func bomb(status, mebibytes int) http.HandlerFunc {
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	_, _ = zip.Write(bytes.Repeat([]byte(" "), 1<<20))
	_ = zip.Close()
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(status)
		for range mebibytes { // gzip allows several members
			_, _ = w.Write(packed.Bytes())
		}
	}
}
