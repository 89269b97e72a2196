package call_test

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/internal/call"
)

// Every secret text contains this word.
const secretWord = "allison"

func TestErrorTextHidesWhatAServerSent(t *testing.T) {
	t.Parallel()
	const quoted = `"allison.brown@example.com"`
	read := func(err error) error {
		return &net.OpError{
			Op: "read", Net: "tcp", Source: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4000},
			Addr: &net.TCPAddr{IP: net.IPv6loopback, Port: 443}, Err: err,
		}
	}
	const brokenText = "net/http: HTTP/1.x transport connection broken"
	const readText = "read tcp 127.0.0.1:4000->[::1]:443"
	broken := func(err error) error {
		return fmt.Errorf("%s: %w", brokenText, err)
	}
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"EOF", io.EOF, "EOF"},
		{
			"unexpected EOF", broken(io.ErrUnexpectedEOF),
			brokenText + ": unexpected EOF",
		},
		{
			"reset", read(syscall.ECONNRESET),
			readText + ": connection reset by peer",
		},
		{
			"reset within", broken(read(syscall.ECONNRESET)),
			brokenText + ": " + readText + ": connection reset by peer",
		},
		{"an operation with an unknown cause", read(errors.New(quoted)), readText},
		{
			"status line", broken(errors.New("malformed HTTP response " + quoted)),
			brokenText + ": malformed HTTP response",
		},
		{"status code", errors.New("malformed HTTP status code " + quoted), "malformed HTTP status code"},
		{"version", errors.New("malformed HTTP version " + quoted), "malformed HTTP version"},
		{"header line", errors.New("malformed MIME header line: allison: brown"), "malformed MIME header line"},
		{
			"header line without colon", errors.New("malformed MIME header: missing colon: " + quoted),
			"malformed MIME header: missing colon",
		},
		{"length", errors.New("bad Content-Length " + quoted), "bad Content-Length"},
		{
			"two lengths",
			errors.New("http: message cannot contain multiple Content-Length headers; got [" + quoted + "]"),
			"http: message cannot contain multiple Content-Length headers",
		},
		{"encoding", errors.New("unsupported transfer encoding: " + quoted), "unsupported transfer encoding"},
		{"two encodings", errors.New("too many transfer encodings: [" + quoted + "]"), "too many transfer encodings"},
		{"trailer", errors.New("bad trailer key " + quoted), "bad trailer key"},
		{
			"GOAWAY",
			errors.New("http2: server sent GOAWAY and closed the connection; " +
				"LastStreamID=1, ErrCode=NO_ERROR, debug=" + quoted),
			"http2: server sent GOAWAY and closed the connection",
		},
		{
			"reset stream", errors.New("stream error: stream ID 17; ENHANCE_YOUR_CALM; received from peer"),
			"stream error: stream ID 17; ENHANCE_YOUR_CALM; received from peer",
		},
		{
			"HTTP/2 header name",
			errors.New("stream error: stream ID 1; PROTOCOL_ERROR; invalid header field name " + quoted),
			"stream error: stream ID 1; PROTOCOL_ERROR; invalid header field name",
		},
		{
			"pseudo-header", errors.New("stream error: stream ID 1; PROTOCOL_ERROR; invalid pseudo-header " + quoted),
			"stream error: stream ID 1; PROTOCOL_ERROR; invalid pseudo-header",
		},
		{"an unknown stream error", errors.New("stream error: stream ID 1; allison"), "stream error: stream ID 1"},
		{
			"text of a proxy that refuses", errors.New("Proxy Authentication Required"),
			"Proxy Authentication Required",
		},
		{
			"another text of a proxy", errors.New("allison is not welcome"),
			"an error of type *errors.errorString (not shown, because it may quote the server)",
		},
		{
			"proxy URL", errors.New(`invalid proxy address "http://user:allison@:x": parse error`),
			"invalid proxy address",
		},
		{
			"URL", &url.Error{Op: "parse", URL: "http://user:allison@%zz", Err: url.EscapeError("%zz")},
			"parse: invalid URL escape",
		},
		{
			"URL with a cause that is unknown",
			&url.Error{Op: "Get", URL: "http://allison", Err: errors.New("allison")},
			"Get",
		},
		{
			"no host",
			&net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "acme.example"}},
			"dial tcp: lookup acme.example: no such host",
		},
		{
			"certificate", &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}},
			"tls: failed to verify certificate: x509: certificate signed by unknown authority",
		},
		{
			"TLS alert", &net.OpError{Op: "remote error", Err: errors.New("tls: handshake failure")},
			"remote error: tls: handshake failure",
		},
		{"wrapped in a text of a RoundTripper", fmt.Errorf("allison: %w", io.EOF), "EOF"},
		{
			"joined with a text of a RoundTripper", errors.Join(errors.New("allison"), syscall.ECONNRESET),
			"connection reset by peer",
		},
		{
			"a text that begins like a known one", errors.New("EOFallison"),
			"an error of type *errors.errorString (not shown, because it may quote the server)",
		},
		{
			"a word that begins like a known text", errors.New("EOFa: allison"),
			"an error of type *errors.errorString (not shown, because it may quote the server)",
		},
		{
			"a number", errors.New("41791234567 allison"),
			"an error of type *errors.errorString (not shown, because it may quote the server)",
		},
		{
			"a colon first", errors.New(": allison"),
			"an error of type *errors.errorString (not shown, because it may quote the server)",
		},
		{
			"a known text that begins with another one", errors.New("response body closed early"),
			"response body closed early",
		},
		{
			"a word that begins with a known text", errors.New("EOFallison"),
			"an error of type *errors.errorString (not shown, because it may quote the server)",
		},
		{"a known text as its own end", errors.New("malformed HTTP response: EOF"), "malformed HTTP response: EOF"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o, _ := scripted(t.Context(), http.MethodPost, connects(fails(test.err)))
			require.EqualError(t, o.Err, test.want)
			require.ErrorIs(t, o.Err, test.err, "the cause stays reachable")
			assert.NotContains(t, fmt.Sprintf("%v %+v", o.Err, o.Err), secretWord)

			body := answer(200, func(context.Context) io.Reader { return failing{test.err} })
			if errors.Is(test.err, io.EOF) {
				return // the end of a body
			}
			o, _ = scripted(t.Context(), http.MethodPost, body)
			require.EqualError(t, o.Err, "reading the body: "+test.want)
		})
	}
}

// The error of a RoundTripper that reports no connection is one of the program.
// Its text is shown up to the first quotation mark.
func TestErrorTextOfARoundTripper(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"circuit breaker is open":                    "circuit breaker is open",
		"http client is closed: try later":           "http client is closed: try later",
		"http client is closed;":                     "http client is closed;",
		`sending "allison" failed`:                   "sending",
		`malformed HTTP response "allison"`:          "malformed HTTP response",
		"malformed MIME header line: allison: brown": "malformed MIME header line",
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			o, _ := scripted(t.Context(), http.MethodPost, fails(errors.New(text)))
			require.EqualError(t, o.Err, want)
		})
	}
	// net/http has asked for a connection, so it may have made the error.
	o, _ := scripted(t.Context(), http.MethodPost, asks(fails(errors.New("allison is not welcome"))))
	assert.NotContains(t, o.Err.Error(), secretWord)
}

// An *http.Transport that reports no connection may quote the URL of a proxy.
func TestErrorTextOfASilentHTTPTransport(t *testing.T) {
	t.Parallel()
	noProxy := errors.New("no proxy for allison")
	caller := newCaller(&http.Transport{Proxy: func(*http.Request) (*url.URL, error) { return nil, noProxy }})
	caller.Attempts = 1
	o := caller.Do(t.Context(), newRequest(http.MethodPost, "http://acme.example/leads"))
	require.ErrorIs(t, o.Err, noProxy)
	assert.NotContains(t, o.Err.Error(), secretWord)
}

// Errors that real responses cause, by the protocol that they break.
func TestErrorTextOfABrokenResponse(t *testing.T) {
	t.Parallel()
	for name, response := range map[string]string{
		"gzip":             "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 13\r\n\r\nallison brown",
		"status line":      "allison\r\n\r\n",
		"status":           "HTTP/1.1 allison\r\n\r\n",
		"header":           "HTTP/1.1 200 OK\r\nallison\r\n\r\n",
		"header name":      "HTTP/1.1 200 OK\r\nX(allison): 1\r\n\r\n",
		"header value":     "HTTP/1.1 200 OK\r\nX: allison\x00\r\n\r\n",
		"two encodings":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: allison\r\n\r\n",
		"chunk":            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nallison\r\n",
		"two lengths":      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: allison\r\n\r\n",
		"trailer":          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nallison\r\n\r\n",
		"100 and then not": "HTTP/1.1 100 Continue\r\n\r\nallison\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			caller, target, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				conn, _, err := w.(http.Hijacker).Hijack()
				if assert.NoError(t, err) {
					_, _ = io.WriteString(conn, response)
					_ = conn.Close()
				}
			})
			o := caller.Do(t.Context(), newRequest(http.MethodGet, target))
			require.Error(t, o.Err)
			assert.NotContains(t, o.Err.Error(), secretWord)
			assert.NotContains(t, o.Err.Error(), "not shown", "its beginning is known: %v",
				errors.Unwrap(o.Err))
			if name == "gzip" {
				require.ErrorIs(t, o.Err, gzip.ErrHeader)
			}
		})
	}
}

// A context that ends is no text of a server: its cause comes from the program.
func TestErrorTextOfAContext(t *testing.T) {
	t.Parallel()
	inBubble(t, "with a cause", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		o, _ := scripted(ctx, http.MethodPost, connects(func(r *http.Request) (*http.Response, error) {
			cancel(errors.New("shutting down"))
			return nil, context.Cause(r.Context())
		}))
		require.EqualError(t, o.Err, "context canceled: shutting down")
	})
	inBubble(t, "the timeout of the attempt", func(t *testing.T) {
		o, _ := scripted(t.Context(), http.MethodPost, connects(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, context.Cause(r.Context())
		}))
		require.EqualError(t, o.Err, "not done within 30s: context deadline exceeded")
	})
	inBubble(t, "an error of its own", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		o, _ := scripted(ctx, http.MethodPost, connects(func(*http.Request) (*http.Response, error) {
			cancel()
			return nil, fmt.Errorf("allison: %w", call.ErrNotSent)
		}))
		require.EqualError(t, o.Err, "context canceled: clixnow: the request was not sent")
	})
}
