package call

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// ErrTooLarge is the Err of an Outcome whose 2xx body exceeds the Caller's
// MaxBytes.
var ErrTooLarge = errors.New("the body is larger than allowed")

const (
	keptBytes    = 64 << 10    // of an error body
	drainedBytes = 256 << 10   // read and thrown away so that the connection can be used again
	drainTime    = time.Second // at most, since a new connection costs less
	pooledBytes  = 4 << 20     // a buffer that grew beyond it is left to the garbage collector
	trustedBytes = 1 << 20     // made room for on the word of a server; a page of 1000 leads has less than half of it
)

// attempt sends the request once.
func (c *Caller) attempt(ctx context.Context, req *Request) (o Outcome) {
	var connection connectionTrace
	limited, cancel := c.limited(httptrace.WithClientTrace(ctx, connection.clientTrace()))
	defer cancel()
	resp, err := c.HTTP.Do(c.request(limited, req))
	if err != nil {
		err = discreet(withoutURL(err))
		o.Sent = connection.couldCarry(err, c.reportsConnections())
		o.Err, o.ConnectionLost = withContext(ctx, err), true
		return o
	}
	restoreLocation(resp)
	o = Outcome{Sent: true, Status: resp.StatusCode, Header: resp.Header, RetryAfter: retryAfter(resp.Header)}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return o // its body is the connection and has no end
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		o.Body, err = io.ReadAll(io.LimitReader(resp.Body, keptBytes))
		if err == nil {
			err = drain(resp.Body, cancel)
		}
		if err != nil && ctx.Err() != nil {
			o.Stopped = ContextError(ctx)
		} // otherwise the status is known, and what is missing is only text
		return o
	}
	if resp.StatusCode == http.StatusNoContent && req.NoContent {
		return o
	}
	c.read(ctx, req, resp, &o)
	if errors.Is(o.Err, ErrTooLarge) && drain(resp.Body, cancel) != nil {
		o.Err = withContext(ctx, o.Err)
	}
	return o
}

// limited gives an attempt its time. http.Client's own Timeout would replace
// the error of a RoundTripper by a text, and a refusal that wraps ErrNotSent
// would be lost.
func (c *Caller) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.Timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, c.Timeout, timeoutError(c.Timeout))
}

// timeoutError is an attempt's own timeout.
type timeoutError time.Duration

func (e timeoutError) Error() string {
	return fmt.Sprintf("not done within %v: %v", time.Duration(e), context.DeadlineExceeded)
}

func (timeoutError) Unwrap() error { return context.DeadlineExceeded }

func (c *Caller) request(ctx context.Context, req *Request) *http.Request {
	target := *req.URL // RoundTrippers change it
	r := (&http.Request{
		Method: req.Method, URL: &target, Host: target.Host, Header: c.Header(req.Method),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	if req.Body != nil {
		r.ContentLength = int64(len(req.Body))
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(req.Body)), nil }
		r.Body, _ = r.GetBody()
	}
	return r
}

// read hands the body to req.Read from a pooled buffer that never holds more
// than MaxBytes and one.
func (c *Caller) read(ctx context.Context, req *Request, resp *http.Response, o *Outcome) {
	buffer := c.Buffers.Get().(*bytes.Buffer)
	defer func() {
		if buffer.Cap() <= pooledBytes {
			buffer.Reset()
			c.Buffers.Put(buffer)
		}
	}()
	// A buffer that doubles until it is large enough costs the body several
	// times, whenever the pool has lost its own.
	if announced := min(resp.ContentLength, c.MaxBytes, trustedBytes); announced > 0 {
		buffer.Grow(int(announced) + bytes.MinRead) // of which ReadFrom needs some even at the end
	}
	// the greatest number has no next
	_, err := buffer.ReadFrom(io.LimitReader(resp.Body, max(c.MaxBytes, c.MaxBytes+1)))
	switch {
	case int64(buffer.Len()) > c.MaxBytes:
		o.Err = fmt.Errorf("%w: more than %d bytes", ErrTooLarge, c.MaxBytes)
	case err != nil:
		o.Err, o.ConnectionLost = withContext(ctx, fmt.Errorf("reading the body: %w", discreet(err))), true
	default:
		o.Err = req.Read(buffer.Bytes())
	}
	if o.Err != nil {
		o.Body = bytes.Clone(buffer.Bytes()[:min(buffer.Len(), keptBytes)])
	}
}

// drain reads what is left of a body, within reason, so that the connection can
// be used again; giveUp ends the attempt.
func drain(body io.Reader, giveUp context.CancelFunc) error {
	defer time.AfterFunc(drainTime, giveUp).Stop()
	if _, err := io.CopyN(io.Discard, body, drainedBytes); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// connectionTrace records what net/http reports of connections during one
// attempt. Another goroutine may report.
type connectionTrace struct{ wanted, got atomic.Bool }

func (t *connectionTrace) clientTrace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) { t.wanted.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { t.got.Store(true) },
	}
}

// couldCarry decides whether the request of an attempt that failed by err could
// have been written. A connection that was had at any time decides, since a
// RoundTripper may have sent the request again by itself; a RoundTripper that
// reports nothing is believed only when it says that it refused.
func (t *connectionTrace) couldCarry(err error, reports bool) bool {
	switch {
	case t.got.Load():
		return true
	case t.wanted.Load(), errors.Is(err, ErrNotSent):
		return false
	default:
		return !reports
	}
}

// withoutURL takes off the *url.Error of http.Client, whose text holds the
// whole query.
func withoutURL(err error) error {
	var outer *url.Error
	if errors.As(err, &outer) {
		return outer.Err
	}
	return err
}

// discreet hides what net/http quotes of an answer that it cannot read: a
// server that echoes a request has lead data there.
func discreet(err error) error {
	text := err.Error()
	for _, quoting := range []string{
		"malformed HTTP ", "malformed MIME ", "bad Content-Length", "multiple Content-Length", "bad trailer key",
		"unsupported transfer encoding",
	} {
		if at := strings.Index(text, quoting); at >= 0 {
			quote := strings.IndexByte(text[at:]+`"`, '"')
			return discreetError{err, strings.TrimRight(text[:at+quote], ": ")}
		}
	}
	return err
}

type discreetError struct {
	cause error
	text  string
}

func (e discreetError) Error() string { return e.text }

func (e discreetError) Unwrap() error { return e.cause }

// withContext adds what net/http leaves out of the error of a context that
// ended: it tells the cause alone.
func withContext(ctx context.Context, err error) error {
	if ctx.Err() == nil || errors.Is(err, ctx.Err()) && errors.Is(err, context.Cause(ctx)) {
		return err
	}
	return fmt.Errorf("%w: %w", ContextError(ctx), err)
}

// retryAfter reads Retry-After as seconds or as a date.
func retryAfter(header http.Header) time.Duration {
	text := strings.TrimSpace(header.Get("Retry-After"))
	if text == "" {
		return 0
	}
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(max(seconds, 0), int64(1<<62/time.Second))) * time.Second
	}
	if date, err := http.ParseTime(text); err == nil {
		return max(time.Until(date), 0)
	}
	return 0
}
