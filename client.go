package clixnow

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/clixnow/clixnow-go/internal/call"
)

// Version is sent in the User-Agent header: "clixnow-go/0.1.0".
const Version = "0.1.0"

// MaxPageSize is the largest number of leads that the API returns in one page
// (Clixnow API reference, "Monitoring data").
const MaxPageSize = 1000

const (
	leadsPath  = "/api/system/v1/leads"
	searchPath = "/api/system/v1/leads/search"
)

// Client calls the Clixnow API of one brand. Create it with [NewClient]; its
// zero value is not usable. It is immutable after NewClient and safe for
// concurrent use. Keep it and use it for all requests: it holds the
// connections.
type Client struct {
	brand     string
	caller    *call.Caller
	leadsURL  *url.URL
	searchURL *url.URL
	retry     RetryPolicy
	looks     []time.Duration
	// observe is called with the outcome of each attempt. It may be nil.
	observe  func(*call.Outcome)
	refusals func(*APIError) error
	validate bool

	// These fields are closures, so that fmt cannot print what they hold.

	// token returns the token of NewClient. It is "" if there is a source.
	token func() string
	// source returns the token for the next attempt.
	source func(context.Context) (string, error)
	// closeIdle closes the idle connections of the transport and its wraps.
	closeIdle func()
}

// NewClient returns a client for one brand. The brand is Clixnow's label for
// the host: "acme" means https://integration.acme.clixnow.com. It is one DNS
// label, not a host name. [Lead.BrandName] is a different thing: the broker
// that accepted the lead. The token is the API token of the affiliate.
//
// NewClient sends nothing. Its errors name what is wrong and print neither
// brand nor token.
func NewClient(brand, token string, opts ...Option) (*Client, error) {
	c := config{maxResponseBytes: defaultMaxResponseBytes, looks: defaultLooks()}
	for _, opt := range opts {
		if opt == nil {
			return nil, errors.New("clixnow: new client: nil option")
		}
		if err := opt(&c); err != nil {
			return nil, fmt.Errorf("clixnow: new client: %w", err)
		}
	}
	client, err := c.build(brand, token)
	if err != nil {
		return nil, fmt.Errorf("clixnow: new client: %w", err)
	}
	return client, nil
}

// build checks what concerns more than one option, and makes the client.
func (c *config) build(brand, token string) (*Client, error) {
	if !isLabel(brand) {
		return nil, errors.New("the brand must be one DNS label: letters, digits, inner hyphens, at most 63 characters")
	}
	source, err := c.source(token)
	if err != nil {
		return nil, err
	}
	base := url.URL{Scheme: "https", Host: "integration." + brand + ".clixnow.com"}
	if c.baseURL != nil {
		base = *c.baseURL
	}
	base.Path = cmp.Or(base.Path, "/") // otherwise JoinPath makes a relative path
	if err := c.checkScheme(&base); err != nil {
		return nil, err
	}
	c.retry = c.retry.withDefaults()
	caller, closeIdle, err := c.caller(brand)
	if err != nil {
		return nil, err
	}
	return &Client{
		brand: brand, caller: caller, closeIdle: closeIdle,
		leadsURL: base.JoinPath(leadsPath), searchURL: base.JoinPath(searchPath),
		retry: c.retry, looks: c.looks, refusals: c.refusals, validate: !c.skipValidation,
		token: func() string { return token }, source: source,
	}, nil
}

// caller returns what sends the requests, and a function that closes its idle
// connections.
func (c *config) caller(brand string) (*call.Caller, func(), error) {
	var given http.Client
	timeout := defaultTimeout
	if c.httpClient != nil {
		given, timeout = *c.httpClient, c.httpClient.Timeout
	}
	if c.timeout != nil {
		timeout = *c.timeout
	}
	transports, err := c.transports(given.Transport)
	if err != nil {
		return nil, nil, err
	}
	caller := &call.Caller{
		Transport: transports[len(transports)-1], Jar: given.Jar, Header: header(c.userAgent), Timeout: timeout,
		Attempts: c.retry.MaxAttempts, MinBackoff: c.retry.MinBackoff, MaxBackoff: c.retry.MaxBackoff,
		MaxBytes: c.maxResponseBytes, Buffers: &sync.Pool{New: func() any { return new(bytes.Buffer) }},
	}
	if c.limiter != nil {
		caller.Wait = c.limiter.Wait
	}
	if c.logger != nil {
		caller.Logger = c.logger.With("brand", brand)
	}
	closeIdle := func() {
		for _, transport := range transports {
			call.CloseIdleConnections(transport)
		}
	}
	return caller, closeIdle, nil
}

// transports returns the given transport, or the client's own, and each wrap of
// it. The last one is the outermost.
func (c *config) transports(given http.RoundTripper) ([]http.RoundTripper, error) {
	transport := call.NewTransport(given)
	transports := []http.RoundTripper{transport}
	for _, wrap := range c.wraps {
		transport = wrap(transport)
		if isNil(transport) {
			return nil, errors.New("WithTransport: the function returned nil")
		}
		transports = append(transports, transport)
	}
	return transports, nil
}

// source returns the function that returns the token for each attempt.
func (c *config) source(token string) (func(context.Context) (string, error), error) {
	if c.tokenSource != nil {
		if token != "" {
			return nil, errors.New("both a token and WithTokenSource are given")
		}
		return c.tokenSource, nil
	}
	if token == "" {
		return nil, errors.New("the token is empty, and there is no WithTokenSource")
	}
	if err := checkToken(token); err != nil {
		return nil, err
	}
	return func(context.Context) (string, error) { return token, nil }, nil
}

// header returns the function that makes the header of each attempt. There is
// never an Idempotency-Key: net/http would then resend a POST by itself.
func header(product string) func(method, token string) http.Header {
	userAgent := strings.TrimSpace(product + " clixnow-go/" + Version)
	return func(method, token string) http.Header {
		// One array for all values saves two or three allocations.
		values := [...]string{"ApiToken " + token, userAgent, "application/json", "application/json"}
		header := http.Header{
			"Authorization": values[0:1:1],
			"User-Agent":    values[1:2:2],
			"Accept":        values[2:3:3],
		}
		if method == http.MethodPost {
			header["Content-Type"] = values[3:4:4]
		}
		return header
	}
}

// Brand returns the brand in the form in which NewClient was given it.
func (c *Client) Brand() string { return c.brand }

// CloseIdleConnections closes connections that no request is using. It is for
// tests and for a client that is replaced. The client stays usable. It also
// reaches the transport inside the wraps of [WithTransport].
func (c *Client) CloseIdleConnections() { c.closeIdle() }
