package call_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
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

// serve starts a server on loopback. It returns a caller that makes one
// attempt, the URL, and the number of connections to the server.
func serve(t *testing.T, handle http.HandlerFunc) (*call.Caller, string, *atomic.Int64) {
	t.Helper()
	var connections atomic.Int64
	server := httptest.NewUnstartedServer(handle)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	caller := newCaller(transport)
	caller.Attempts = 1
	return caller, server.URL + "/leads", &connections
}

func gzipped(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := io.WriteString(w, text)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func TestSuccessBody(t *testing.T) {
	t.Parallel()
	const limit = 1000
	plain := func(n int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("x", n)) }
	}
	chunked := func(n int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			_, _ = io.WriteString(w, strings.Repeat("x", n))
		}
	}
	packed := func(n int) http.HandlerFunc {
		body := gzipped(t, strings.Repeat("x", n))
		return func(w http.ResponseWriter, r *http.Request) {
			assert.Equal(t, "gzip", r.Header.Get("Accept-Encoding"))
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(body)
		}
	}
	announced := func(length, n int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			conn, rw, err := w.(http.Hijacker).Hijack()
			if !assert.NoError(t, err) {
				return
			}
			defer conn.Close()
			const header = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
			_, _ = fmt.Fprintf(rw, header+"%s", length, strings.Repeat("x", n))
			_ = rw.Flush()
		}
	}
	tests := []struct {
		name   string
		handle http.HandlerFunc
		limit  int64
		// read is the number of bytes that Read gets.
		read int
		err  error
	}{
		{"empty", plain(0), limit, 0, nil},
		{"one byte less than the limit", plain(limit - 1), limit, limit - 1, nil},
		{"the limit", plain(limit), limit, limit, nil},
		{"one byte more", plain(limit + 1), limit, 0, call.ErrTooLarge},
		{"the limit, without Content-Length", chunked(limit), limit, limit, nil},
		{"one byte more, without Content-Length", chunked(limit + 1), limit, 0, call.ErrTooLarge},
		{"unpacked to the limit", packed(limit), limit, limit, nil},
		{"unpacked to one byte more", packed(limit + 1), limit, 0, call.ErrTooLarge},
		{"a gzip bomb", packed(5 << 20), limit, 0, call.ErrTooLarge},
		{"longer than Content-Length", announced(100, 200), limit, 100, nil},
		{"shorter than Content-Length", announced(200, 100), limit, 0, io.ErrUnexpectedEOF},
		{"Content-Length above the limit, short body", announced(2*limit, 100), limit, 0, io.ErrUnexpectedEOF},
		{"huge Content-Length, body above the limit", announced(math.MaxInt32, limit+1), limit, 0, call.ErrTooLarge},
		{"the largest limit", plain(limit), math.MaxInt64, limit, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			caller, target, _ := serve(t, test.handle)
			caller.MaxBytes = test.limit
			r, read := newRequest(http.MethodGet, target), -1
			r.Read = func(body []byte) error {
				read = len(body)
				return nil
			}
			o := caller.Do(t.Context(), r)
			assert.Equal(t, 200, o.Status)
			if test.err != nil {
				require.ErrorIs(t, o.Err, test.err)
				assert.Equal(t, -1, read, "Read must not be called")
				assert.NotEmpty(t, o.Body)
				assert.LessOrEqual(t, len(o.Body), limit+1)
				assert.Equal(t, !errors.Is(test.err, call.ErrTooLarge), o.ConnectionLost)
				return
			}
			require.NoError(t, o.Err)
			assert.Equal(t, test.read, read)
			assert.Empty(t, o.Body, "the body of a success is not kept")
		})
	}
}

func TestSuccessStatus(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]bool{200: true, 299: true, 300: false} {
		caller, target, _ := serve(t, write(status, 10))
		read := false
		r := newRequest(http.MethodGet, target)
		r.Read = func([]byte) error {
			read = true
			return nil
		}
		o := caller.Do(t.Context(), r)
		assert.Equal(t, status, o.Status)
		assert.Equal(t, want, read, status)
		assert.Equal(t, !want, o.Failed(), status)
	}
}

func TestErrorBody(t *testing.T) {
	t.Parallel()
	const kept = 64 << 10
	tests := []struct {
		name       string
		sent, want int
		limit      int64
	}{
		{"short", 100, 100, 1 << 20},
		{"as long as what is kept", kept, kept, 1 << 20},
		{"longer", kept + 1, kept, 1 << 20},
		{"much longer", 10 << 20, kept, 1 << 20},
		{"longer than the limit of a success", 5000, 5000, 10},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			caller, target, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusBadRequest)
				_, _ = w.Write(bytes.Repeat([]byte("x"), test.sent))
			})
			caller.MaxBytes = test.limit
			o := caller.Do(t.Context(), newRequest(http.MethodGet, target))
			assert.Equal(t, 400, o.Status)
			require.NoError(t, o.Err)
			assert.Len(t, o.Body, test.want)
		})
	}
}

func TestUnreadableBodyIsKept(t *testing.T) {
	t.Parallel()
	caller, target, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "<html>"+strings.Repeat(" ", 100<<10))
	})
	r, refused := newRequest(http.MethodGet, target), errors.New("not JSON")
	r.Read = func([]byte) error { return refused }
	o := caller.Do(t.Context(), r)
	require.ErrorIs(t, o.Err, refused)
	assert.False(t, o.ConnectionLost)
	assert.Len(t, o.Body, 64<<10)
	assert.True(t, bytes.HasPrefix(o.Body, []byte("<html>")))
}

// The next request uses the same connection, whatever the response was. Only if
// the rest of the body costs more than a new connection, there is a new one.
func TestConnectionIsReused(t *testing.T) {
	t.Parallel()
	packed := gzipped(t, strings.Repeat("x", 10_000))
	tests := []struct {
		name   string
		handle http.HandlerFunc
		limit  int64
		// want is the number of connections for three requests.
		want int64
	}{
		{"success", write(200, 1000), 1 << 20, 1},
		{"success of exactly the limit", write(200, 1000), 1000, 1},
		{"short error", write(400, 100), 1 << 20, 1},
		{"error of the size that is kept", write(400, 64<<10), 1 << 20, 1},
		{"error above the size that is kept", write(500, 200<<10), 1 << 20, 1},
		{"endless error", write(500, 5<<20), 1 << 20, 3},
		{"redirect with a page", write(302, 1000), 1 << 20, 1},
		{"success above the limit", write(200, 50_000), 1000, 1},
		{"success far above the limit", write(200, 5<<20), 1000, 3},
		{"gzip success", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(packed)
		}, 1 << 20, 1},
		{"gzip error", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write(packed)
		}, 1 << 20, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			const tries = 5
			var got int64
			for range tries {
				caller, target, connections := serve(t, test.handle)
				caller.MaxBytes = test.limit
				for range 3 {
					o := caller.Do(t.Context(), newRequest(http.MethodPost, target))
					require.NotZero(t, o.Status)
				}
				if got = connections.Load(); got == test.want {
					return
				}
				// On a loaded machine, net/http closes a connection if its own
				// goroutine does not report within 50 ms that the request was
				// written.
			}
			assert.Equal(t, test.want, got, "in each of %d tries", tries)
		})
	}
}

func write(status, n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
		_, _ = w.Write(bytes.Repeat([]byte("x"), n))
	}
}

// The body of a 101 is the connection. It has no end.
func TestSwitchingProtocols(t *testing.T) {
	t.Parallel()
	closed := make(chan error, 1)
	caller, target, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := w.(http.Hijacker).Hijack()
		if !assert.NoError(t, err) {
			return
		}
		defer conn.Close()
		const header = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
		_, _ = io.WriteString(rw, header)
		_ = rw.Flush()
		_, err = rw.ReadByte() // until the client closes
		closed <- err
	})
	caller.Timeout = 0
	o := caller.Do(t.Context(), newRequest(http.MethodGet, target))
	assert.Equal(t, 101, o.Status)
	assert.True(t, o.Failed())
	assert.Empty(t, o.Body)
	require.ErrorIs(t, <-closed, io.EOF, "the connection must be closed")
}

// A buffer that grows by doubling leaves much garbage.
func TestBufferHasTheSizeOfContentLength(t *testing.T) {
	t.Parallel()
	const mebibyte = 1 << 20
	tests := []struct {
		name                       string
		length, announced, maximum int64
		// capacity is the largest capacity of the buffer.
		capacity int64
	}{
		{"announced", mebibyte, mebibyte, 2 * mebibyte, mebibyte + mebibyte/16},
		{"not announced", mebibyte, -1, 2 * mebibyte, 3 * mebibyte},
		{"announced beyond the limit", 1000, 1 << 40, mebibyte / 2, mebibyte/2 + mebibyte/16},
		{"announced far beyond the body", 1000, 1 << 40, math.MaxInt64, mebibyte + mebibyte/16},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			caller := newCaller(&script{steps: []step{func(*http.Request) (*http.Response, error) {
				body := bytes.NewReader(bytes.Repeat([]byte("x"), int(test.length)))
				return &http.Response{
					StatusCode: http.StatusOK, ContentLength: test.announced,
					Body: io.NopCloser(body),
				}, nil
			}}})
			caller.MaxBytes = test.maximum
			req := newRequest(http.MethodGet, "http://127.0.0.1/leads")
			req.Read = func(body []byte) error {
				assert.Len(t, body, int(test.length))
				assert.LessOrEqual(t, int64(cap(body)), test.capacity)
				return nil
			}
			require.NoError(t, caller.Do(t.Context(), req).Err)
		})
	}
}

// Read gets memory that the next call writes into. No call may see the data of
// another one.
func TestBuffersDoNotLeak(t *testing.T) {
	t.Parallel()
	caller, target, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		if n%3 == 0 {
			w.WriteHeader(http.StatusBadRequest)
		}
		_, _ = io.WriteString(w, body(n))
	})
	refused := errors.New("not JSON")
	var calls sync.WaitGroup
	for worker := range 8 {
		calls.Go(func() {
			kept := make(map[int][]byte)
			for i := range 50 {
				n := worker*50 + i
				r := newRequest(http.MethodGet, target+"?n="+strconv.Itoa(n))
				r.Read = func(read []byte) error {
					assert.Equal(t, body(n), string(read))
					if n%3 == 1 {
						return refused
					}
					return nil
				}
				if o := caller.Do(t.Context(), r); o.Failed() {
					kept[n] = o.Body
				}
			}
			for n, text := range kept { // the body of an outcome is a copy
				assert.Equal(t, body(n), string(text))
			}
		})
	}
	calls.Wait()
}

// body returns a body whose length and content depend on n.
func body(n int) string { return strings.Repeat(strconv.Itoa(n)+",", 1+n*7%200) }

func TestBufferIsEmptiedAfterAnError(t *testing.T) {
	t.Parallel()
	caller, target, _ := serve(t, write(200, 1000))
	caller.MaxBytes = 10
	var buffer *bytes.Buffer
	caller.Buffers = &sync.Pool{New: func() any {
		buffer = new(bytes.Buffer)
		return buffer
	}}
	o := caller.Do(t.Context(), newRequest(http.MethodGet, target))
	require.ErrorIs(t, o.Err, call.ErrTooLarge)
	assert.Zero(t, buffer.Len())
}

// An error response that trickles takes at most the timeout of the attempt.
func TestTricklingError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		trickling := func(ctx context.Context) io.Reader {
			return io.MultiReader(strings.NewReader("Duplicate lead"), untilDone{ctx})
		}
		o, _ := scripted(t.Context(), http.MethodGet, answer(http.StatusBadRequest, trickling))
		assert.Equal(t, http.StatusBadRequest, o.Status)
		require.NoError(t, o.Err)
		assert.Equal(t, "Duplicate lead", string(o.Body))
		assert.LessOrEqual(t, time.Since(began), 30*time.Second)

		began = time.Now()
		long := func(ctx context.Context) io.Reader {
			return io.MultiReader(strings.NewReader(strings.Repeat("x", 64<<10)), untilDone{ctx})
		}
		o, _ = scripted(t.Context(), http.MethodPost, answer(http.StatusBadRequest, long))
		assert.Len(t, o.Body, 64<<10)
		assert.Equal(t, time.Second, time.Since(began), "what is not kept is read for a second")
	})
}

// endsContext is a body that ends the context after so many bytes.
type endsContext struct {
	remaining int
	end       context.CancelFunc
}

func (s *endsContext) Read(p []byte) (int, error) {
	if s.remaining == 0 {
		s.end()
		return 0, context.Canceled
	}
	n := min(len(p), s.remaining)
	s.remaining -= n
	return n, nil
}

// The buffer of a call is used by the next one, unless it is very large.
func TestBuffersAreReused(t *testing.T) {
	t.Parallel()
	caller, target, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		write(http.StatusOK, n)(w, r)
	})
	caller.MaxBytes = 8 << 20
	buffers := 0
	caller.Buffers = &sync.Pool{New: func() any {
		buffers++
		return new(bytes.Buffer)
	}}
	const calls = 20
	for range calls {
		require.NoError(t, caller.Do(t.Context(), newRequest(http.MethodGet, target+"?n=100")).Err)
	}
	assert.Less(t, buffers, calls) // the pool drops some with the race detector
	for range calls {
		require.NoError(t, caller.Do(t.Context(), newRequest(http.MethodGet, target+"?n=8000000")).Err)
		assert.Less(t, caller.Buffers.Get().(*bytes.Buffer).Cap(), 8<<20)
	}
}

// A RoundTripper gets a body only if there is one. The context of an attempt
// ends with it.
func TestRequestOfAnAttempt(t *testing.T) {
	t.Parallel()
	for method, hasBody := range map[string]bool{http.MethodGet: false, http.MethodPost: true} {
		var got *http.Request
		caller := newCaller(step(func(r *http.Request) (*http.Response, error) {
			got = r
			require.NoError(t, r.Context().Err())
			return status(204)(r)
		}))
		o := caller.Do(t.Context(), newRequest(method, "https://acme.example/"))
		require.False(t, o.Failed())
		assert.Equal(t, hasBody, got.Body != nil)
		assert.ErrorIs(t, got.Context().Err(), context.Canceled)
	}
}

// The body is too large. That the context has ended is reported too.
func TestContextEndsWhileASuccessIsDrained(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	caller := newCaller(step(func(r *http.Request) (*http.Response, error) {
		body := io.NopCloser(&endsContext{remaining: 64 << 10, end: cancel})
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: body, Request: r}, nil
	}))
	caller.MaxBytes = 10
	o := caller.Do(ctx, newRequest(http.MethodGet, "https://acme.example/"))
	require.ErrorIs(t, o.Err, call.ErrTooLarge)
	require.ErrorIs(t, o.Err, context.Canceled)
}

// The status is known. That the context has ended is reported too.
func TestContextEndsWhileAnErrorIsDrained(t *testing.T) {
	t.Parallel()
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		caller := newCaller(&script{steps: []step{func(r *http.Request) (*http.Response, error) {
			body := io.NopCloser(&endsContext{remaining: 64 << 10, end: cancel})
			return &http.Response{StatusCode: http.StatusBadRequest, Header: http.Header{}, Body: body, Request: r}, nil
		}}})
		o := caller.Do(ctx, newRequest(method, "https://acme.example/"))
		assert.Equal(t, http.StatusBadRequest, o.Status)
		require.ErrorIs(t, o.Stopped, context.Canceled)
	}
}
