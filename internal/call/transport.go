package call

import (
	"cmp"
	"net/http"
	"time"
)

const (
	idleConnectionsPerHost = 64
	// Servers close idle connections after a minute or so, and a POST that
	// meets the closing has an unknown outcome.
	idleTimeout    = 30 * time.Second
	attemptTimeout = 30 * time.Second
	maxHeaderBytes = 1 << 20 // the standard library takes ten times as much
)

// NewHTTPClient returns a copy of given that follows no redirect, with a
// transport of its own where given has none, and given's timeout, which is the
// Caller's to keep; given is not changed. Nil stands for a client with a
// timeout of 30 s.
func NewHTTPClient(given *http.Client) (client *http.Client, timeout time.Duration) {
	hc := http.Client{Timeout: attemptTimeout}
	if given != nil {
		hc = *given
	}
	timeout, hc.Timeout = hc.Timeout, 0
	if own, ok := hc.Transport.(*http.Transport); hc.Transport == nil || ok && own == nil {
		hc.Transport = defaultTransport()
	}
	hc.Transport = redirectless{hc.Transport}
	hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &hc, timeout
}

// defaultTransport is the program's default with its proxy settings and HTTP/2,
// kept apart so that its settings are ours.
func defaultTransport() http.RoundTripper {
	shared, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return http.DefaultTransport
	}
	own := shared.Clone()
	own.MaxIdleConnsPerHost = max(own.MaxIdleConnsPerHost, idleConnectionsPerHost)
	own.IdleConnTimeout = idleTimeout
	own.MaxResponseHeaderBytes = cmp.Or(own.MaxResponseHeaderBytes, maxHeaderBytes) // a program's own stays
	return own
}

// reportsConnections tells whether silence of the trace means that no
// connection was asked for.
func (c *Caller) reportsConnections() bool {
	wrapped, _ := c.HTTP.Transport.(redirectless)
	_, ok := wrapped.RoundTripper.(*http.Transport)
	return ok
}

// redirectless hides the Location of a redirect from http.Client, which looks
// at it before it asks CheckRedirect, and fails on one that it cannot parse:
// the status would be lost.
type redirectless struct{ http.RoundTripper }

// hiddenLocation is not in canonical form, so that no Header method finds it.
const hiddenLocation = "location"

func (t redirectless) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(req)
	if err != nil || resp == nil || resp.StatusCode < 300 || resp.StatusCode > 399 {
		return resp, err
	}
	header := resp.Header.Clone() // a RoundTripper may hand out the same map again
	if location, ok := header["Location"]; ok {
		delete(header, "Location")
		header[hiddenLocation] = location
	}
	answer := *resp
	answer.Header = header
	return &answer, nil
}

// CloseIdleConnections is http.Client's, passed on.
func (t redirectless) CloseIdleConnections() {
	if closer, ok := t.RoundTripper.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
}

func restoreLocation(resp *http.Response) {
	if location, ok := resp.Header[hiddenLocation]; ok { //nolint:staticcheck // not canonical on purpose
		delete(resp.Header, hiddenLocation)
		resp.Header["Location"] = location
	}
}
