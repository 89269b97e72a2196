package call

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"
)

const (
	idleConnectionsPerHost = 64
	// idleTimeout is shorter than that of common servers, which is about a
	// minute. If the server closes the connection while a POST is sent, the
	// outcome is unknown.
	idleTimeout = 30 * time.Second
	// maxHeaderBytes is a tenth of what the standard library allows.
	maxHeaderBytes = 1 << 20
	// maxWrites is how often net/http may begin to write one attempt. net/http
	// resends a request that the server declares unprocessed, and it does so
	// without an end if the server always declares that.
	maxWrites = 3
	// pingAfter is how long an HTTP/2 connection may be silent before it is
	// asked for a sign of life, and pongWithin is how long that may take.
	// Without it, net/http sends requests on a dead connection until the kernel
	// gives up, which takes 15 minutes on Linux. The sum is less than the
	// default timeout of an attempt.
	pingAfter  = 10 * time.Second
	pongWithin = 10 * time.Second
)

// NewTransport returns given. If it is nil, or a nil *http.Transport, it
// returns a new transport instead.
func NewTransport(given http.RoundTripper) http.RoundTripper {
	if transport, ok := given.(*http.Transport); given == nil || ok && transport == nil {
		return defaultTransport()
	}
	return given
}

// defaultTransport returns a clone of http.DefaultTransport with settings of
// our own. If a program has replaced http.DefaultTransport by another type, it
// returns that.
func defaultTransport() http.RoundTripper {
	shared, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return http.DefaultTransport
	}
	own := shared.Clone()
	own.MaxIdleConnsPerHost = max(own.MaxIdleConnsPerHost, idleConnectionsPerHost)
	own.IdleConnTimeout = idleTimeout
	own.MaxResponseHeaderBytes = cmp.Or(own.MaxResponseHeaderBytes, maxHeaderBytes)
	if own.HTTP2 == nil {
		own.HTTP2 = new(http.HTTP2Config)
	}
	own.HTTP2.SendPingTimeout = cmp.Or(own.HTTP2.SendPingTimeout, pingAfter)
	own.HTTP2.PingTimeout = cmp.Or(own.HTTP2.PingTimeout, pongWithin)
	return own
}

// CloseIdleConnections closes the idle connections of a RoundTripper that has a
// method for it.
func CloseIdleConnections(transport http.RoundTripper) {
	if closer, ok := transport.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
}

// errResentTooOften ends an attempt that net/http began to write more than
// maxWrites times.
var errResentTooOften = errors.New("net/http has resent the request too often")

// connectionTrace records what net/http reports during one attempt. Several
// goroutines may report.
type connectionTrace struct {
	// wanted and got report that a connection was asked for and obtained.
	wanted, got atomic.Bool
	// writes counts how often net/http began to write the request.
	writes atomic.Int64
	// cancel ends the attempt.
	cancel context.CancelFunc
	// discard means that what was not delivered is dropped when the connection
	// is closed.
	discard bool
	// client holds the hooks. It is a field to save an allocation.
	client httptrace.ClientTrace
}

func (t *connectionTrace) hooks() *httptrace.ClientTrace {
	t.client = httptrace.ClientTrace{
		GetConn: func(string) { t.wanted.Store(true) },
		GotConn: func(info httptrace.GotConnInfo) {
			t.got.Store(true)
			if t.discard {
				discardOnClose(info.Conn)
			}
		},
		WroteHeaders: func() {
			if t.writes.Add(1) > maxWrites {
				t.cancel()
			}
		},
	}
	return &t.client
}

// discardOnClose makes the kernel drop what was not delivered when conn is
// closed. Otherwise, the kernel goes on sending for a minute or more, and a
// request could arrive after its attempt has failed, and after a search has
// proved that it did not arrive.
func discardOnClose(conn net.Conn) {
	const deepest = 10
	for range deepest {
		inner, ok := conn.(interface{ NetConn() net.Conn }) // for example, of TLS
		if !ok {
			break
		}
		conn = inner.NetConn()
	}
	if tcp, ok := conn.(interface{ SetLinger(sec int) error }); ok {
		_ = tcp.SetLinger(0) // It fails only if the connection is closed already.
	}
}

func (t *connectionTrace) resentTooOften() bool { return t.writes.Load() > maxWrites }

// couldCarry reports whether the request could have been written in an attempt
// that failed with err. A connection decides, whatever error followed: a
// RoundTripper may have resent the request. If nothing was reported, a
// RoundTripper is believed only if it says that it did not send the request.
func (t *connectionTrace) couldCarry(r *http.Request, err error, transport http.RoundTripper) bool {
	switch {
	case t.got.Load():
		return true
	case t.wanted.Load(), errors.Is(err, ErrNotSent):
		return false
	}
	return !failedBeforeDial(r, err, transport)
}

// failedBeforeDial reports whether err is one that an *http.Transport returns
// before it asks for a connection. Silence alone does not show this: a protocol
// of RegisterProtocol also reports nothing, and may have sent the request.
func failedBeforeDial(r *http.Request, err error, transport http.RoundTripper) bool {
	standard, ok := transport.(*http.Transport)
	if !ok {
		return false
	}
	for _, text := range []string{
		"net/http: invalid header", "net/http: invalid method", "unsupported protocol scheme",
		"http: no Host in request URL",
	} {
		if strings.HasPrefix(err.Error(), text) {
			return true
		}
	}
	if standard.Proxy == nil {
		return false
	}
	_, proxyErr := standard.Proxy(r)
	return proxyErr != nil && proxyErr.Error() == err.Error()
}

// describe returns the error of an attempt that got no response.
func (t *connectionTrace) describe(ctx context.Context, err error, transport http.RoundTripper) error {
	if t.resentTooOften() {
		return withContext(ctx, errResentTooOften)
	}
	if ctx.Err() != nil && (err == ctx.Err() || err == context.Cause(ctx)) { //nolint:errorlint // not if it is wrapped
		return ContextError(ctx)
	}
	_, standard := transport.(*http.Transport)
	silent := !t.wanted.Load() && !t.got.Load()
	if silent && !standard {
		return withContext(ctx, hideQuotes(err))
	}
	return withContext(ctx, hideServerText(err))
}
