package call

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"time"
)

const (
	// keptBytes is how much of an error body is kept.
	keptBytes = 64 << 10
	// drainedBytes and drainTime bound what is read of a body only to reuse the
	// connection. A new connection costs less than more of it.
	drainedBytes = 256 << 10
	drainTime    = time.Second
	// pooledBytes is the largest buffer that goes back to the pool.
	pooledBytes = 4 << 20
	// maxPrealloc bounds the buffer that is allocated from Content-Length. A
	// page of 1000 leads has less than half of it.
	maxPrealloc = 1 << 20
)

// attempt sends the request once and reads the response.
func (c *Caller) attempt(ctx context.Context, req *Request, token string) (o Outcome) {
	began := time.Now()
	defer func() {
		o.took = time.Since(began)
		if req.Observe != nil {
			req.Observe(&o)
		}
	}()

	limited, cancel := c.withTimeout(ctx)
	defer cancel()
	trace := connectionTrace{cancel: cancel, discard: req.Method != http.MethodGet}
	r := c.newRequest(httptrace.WithClientTrace(limited, trace.hooks()), req, token)
	resp, err := c.roundTrip(r, req)
	if err != nil {
		o.Sent = trace.couldCarry(r, err, c.Transport)
		o.Err, o.ConnectionLost = trace.describe(ctx, err, c.Transport), true
		return o
	}
	defer resp.Body.Close()
	o = Outcome{Sent: true, Status: resp.StatusCode, Header: resp.Header, RetryAfter: retryAfter(resp.Header)}
	switch {
	case resp.StatusCode == http.StatusSwitchingProtocols: // its body is the connection and has no end
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		c.readError(ctx, resp, &o, cancel)
	case resp.StatusCode == http.StatusNoContent && req.NoContent:
	default:
		c.readSuccess(ctx, req, resp, &o)
		if o.ConnectionLost && trace.resentTooOften() {
			o.Err = withContext(ctx, errResentTooOften)
		}
		if errors.Is(o.Err, ErrTooLarge) && drain(resp.Body, cancel) != nil {
			o.Err = withContext(ctx, o.Err)
		}
	}
	return o
}

// roundTrip does what http.Client does, except that it follows no redirect.
// It uses the cookies of the URL of req, because some RoundTrippers change the
// URL of r.
func (c *Caller) roundTrip(r *http.Request, req *Request) (*http.Response, error) {
	if c.Jar != nil {
		for _, cookie := range c.Jar.Cookies(req.target()) {
			r.AddCookie(cookie)
		}
	}
	resp, err := c.Transport.RoundTrip(r)
	switch {
	case err != nil:
		return nil, err
	case resp == nil:
		return nil, fmt.Errorf("the RoundTripper %T returned neither a response nor an error", c.Transport)
	case resp.Body == nil:
		resp.Body = http.NoBody
	}
	if c.Jar == nil {
		return resp, nil
	}
	if cookies := resp.Cookies(); len(cookies) > 0 {
		c.Jar.SetCookies(req.target(), cookies)
	}
	return resp, nil
}

// withTimeout limits the time of one attempt.
func (c *Caller) withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.Timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, c.Timeout, (*timeoutError)(&c.Timeout))
}

// timeoutError means that an attempt took longer than Caller.Timeout.
type timeoutError time.Duration

func (e *timeoutError) Error() string {
	return fmt.Sprintf("not done within %v: %v", time.Duration(*e), context.DeadlineExceeded)
}

func (*timeoutError) Unwrap() error { return context.DeadlineExceeded }

// target returns a copy of the URL with the query.
func (r *Request) target() *url.URL {
	target := *r.URL
	target.RawQuery = cmp.Or(r.Query, target.RawQuery)
	return &target
}

// newRequest returns a request that shares nothing with that of another
// attempt, because some RoundTrippers change what they get.
func (c *Caller) newRequest(ctx context.Context, req *Request, token string) *http.Request {
	target := req.target()
	r := (&http.Request{
		Method: req.Method, URL: target, Host: target.Host, Header: c.Header(req.Method, token),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	if req.Body != nil {
		r.ContentLength = int64(len(req.Body))
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(req.Body)), nil }
		r.Body, _ = r.GetBody()
	}
	return r
}

// readError keeps the beginning of a body that is not a 2xx. If it is
// incomplete, only text is missing: the status is known.
func (c *Caller) readError(ctx context.Context, resp *http.Response, o *Outcome, cancel context.CancelFunc) {
	var err error
	o.Body, err = io.ReadAll(io.LimitReader(resp.Body, keptBytes))
	if err == nil {
		err = drain(resp.Body, cancel)
	}
	if err != nil && ctx.Err() != nil {
		o.Stopped = ContextError(ctx)
	}
}

// readSuccess passes the body of a 2xx to req.Read. The buffer comes from the
// pool and never holds more than MaxBytes and one byte.
func (c *Caller) readSuccess(ctx context.Context, req *Request, resp *http.Response, o *Outcome) {
	buffer := c.Buffers.Get().(*bytes.Buffer)
	defer func() {
		if buffer.Cap() <= pooledBytes {
			buffer.Reset()
			c.Buffers.Put(buffer)
		}
	}()
	// Growing once costs less than doubling. ReadFrom needs MinRead bytes of
	// room even at the end of the body.
	if length := min(resp.ContentLength, c.MaxBytes, maxPrealloc); length > 0 {
		buffer.Grow(int(length) + bytes.MinRead)
	}
	limit := max(c.MaxBytes, c.MaxBytes+1) // MaxBytes+1 overflows for the largest int64
	_, err := buffer.ReadFrom(io.LimitReader(resp.Body, limit))
	switch {
	case int64(buffer.Len()) > c.MaxBytes:
		o.Err = fmt.Errorf("%w: more than %d bytes", ErrTooLarge, c.MaxBytes)
	case err != nil:
		o.Err, o.ConnectionLost = withContext(ctx, fmt.Errorf("reading the body: %w", hideServerText(err))), true
	default:
		o.Err = req.Read(buffer.Bytes())
	}
	if o.Err != nil {
		o.Body = bytes.Clone(buffer.Bytes()[:min(buffer.Len(), keptBytes)])
	}
}

// drain reads the rest of a body, within bounds, so that the connection can be
// reused. cancel ends the attempt.
func drain(body io.Reader, cancel context.CancelFunc) error {
	defer time.AfterFunc(drainTime, cancel).Stop()
	if _, err := io.CopyN(io.Discard, body, drainedBytes); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
