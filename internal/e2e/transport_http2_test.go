package e2e_test

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/clixnow/clixnow-go"
)

func lostOverHTTP2() []failure {
	return []failure{
		{
			name: "HTTP/2 stream reset", class: clixnow.ErrOutcomeUnknown, posts: 1, text: "stream error",
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				server := startServer(t, overHTTP2, posts.count(hangUp))
				return clientOf(t, server.URL, over(t, trusting(server)))
			},
		},
		{
			name: "HTTP/2 stream reset after the headers", class: clixnow.ErrOutcomeUnknown, posts: 1,
			within: []error{clixnow.ErrInvalidResponse}, text: "stream error",
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				server := startServer(t, overHTTP2, posts.count(func(w http.ResponseWriter, r *http.Request) {
					assert.Equal(t, 2, r.ProtoMajor)
					_, _ = io.Copy(io.Discard, r.Body)
					w.WriteHeader(http.StatusCreated)
					_, _ = io.WriteString(w, `{"leadId":1}`)
					w.(http.Flusher).Flush()
					hangUp(w, r)
				}))
				return clientOf(t, server.URL, over(t, trusting(server)))
			},
		},
		{
			name: "HTTP/2 connection cut", class: clixnow.ErrOutcomeUnknown, posts: 1,
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				return http2Client(t, func(conn *http2Conn) {
					conn.request(posts)
				})
			},
		},
		{
			name: "HTTP/2 connection cut during the body", class: clixnow.ErrOutcomeUnknown, posts: 1,
			within: []error{clixnow.ErrInvalidResponse}, set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				return http2Client(t, func(conn *http2Conn) {
					conn.request(posts)
					conn.write(frameHeaders, flagEndHeaders, 1, status200)
					conn.write(frameData, 0, 1, `{"leadId":1}`)
				})
			},
		},
		{
			name: "HTTP/2 GOAWAY after the request was processed", class: clixnow.ErrOutcomeUnknown, posts: 1,
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				return http2Client(t, func(conn *http2Conn) {
					conn.request(posts)
					conn.goAway(1)
				})
			},
		},
		{
			name: "HTTP/2 ENHANCE_YOUR_CALM", class: clixnow.ErrOutcomeUnknown, posts: 1, text: "ENHANCE_YOUR_CALM",
			set: func(t *testing.T, posts *arrivals) *clixnow.Client {
				return http2Client(t, func(conn *http2Conn) {
					conn.request(posts)
					conn.write(frameReset, 0, 1, "\x00\x00\x00\x0b")
				})
			},
		},
	}
}

const (
	frameData      = 0x0
	frameHeaders   = 0x1
	frameReset     = 0x3
	frameSettings  = 0x4
	frameGoAway    = 0x7
	flagEndStream  = 0x1
	flagEndHeaders = 0x4
	status200      = "\x88" // ":status: 200" in HPACK
)

// http2Conn is the server's end of an HTTP/2 connection. It implements the
// parts of RFC 9113 that the tests need.
type http2Conn struct {
	net.Conn

	in *bufio.Reader
}

// http2Client returns a client of a server that handles each connection with a
// function. The client can read everything before the connection is closed.
func http2Client(t *testing.T, handle func(*http2Conn), opts ...clixnow.Option) *clixnow.Client {
	t.Helper()
	return clientOf(t, "https://clixnow.example", append(http2Server(t, handle), opts...)...)
}

// http2Server starts the server of http2Client. It returns the options of its
// client.
func http2Server(t *testing.T, handle func(*http2Conn)) []clixnow.Option {
	t.Helper()
	certified := startServer(t, overHTTP2, func(http.ResponseWriter, *http.Request) {})
	config := &tls.Config{
		Certificates: certified.TLS.Certificates, NextProtos: []string{"h2"},
		MinVersion: tls.VersionTLS13,
	}
	addr := rawServer(t, config, func(conn net.Conn) {
		c := &http2Conn{conn, bufio.NewReader(conn)}
		preface := make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
		if _, err := io.ReadFull(c.in, preface); err != nil {
			return
		}
		c.write(frameSettings, 0, 0, "")
		handle(c)
		_ = conn.(*tls.Conn).CloseWrite()
		_, _ = io.Copy(io.Discard, c.in) // closing with unread data would reset the connection
	})
	return []clixnow.Option{clixnow.WithBaseURL("https://" + addr), over(t, trusting(certified))}
}

func (c *http2Conn) write(kind, flags byte, stream uint32, payload string) {
	frame := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	frame = binary.BigEndian.AppendUint32(append(frame, flags), stream)
	_, _ = c.Write(append(frame, payload...))
}

func (c *http2Conn) goAway(lastStream uint32) {
	c.write(frameGoAway, 0, 0, string(binary.BigEndian.AppendUint32(nil, lastStream))+"\x00\x00\x00\x00")
}

// request reads frames up to the end of a request, and counts the request. It
// returns 0 if the connection ends.
func (c *http2Conn) request(requests *arrivals) (stream uint32) {
	var header [9]byte
	for {
		if _, err := io.ReadFull(c.in, header[:]); err != nil {
			return 0
		}
		length := binary.BigEndian.Uint32(header[:4]) >> 8
		if _, err := io.CopyN(io.Discard, c.in, int64(length)); err != nil {
			return 0
		}
		kind, flags := header[3], header[4]
		if (kind == frameData || kind == frameHeaders) && flags&flagEndStream != 0 {
			requests.arrive()
			return binary.BigEndian.Uint32(header[5:])
		}
	}
}
