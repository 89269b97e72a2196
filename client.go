package clixnow

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/clixnow/clixnow-go/internal/call"
)

// Version of this package, sent in User-Agent as "clixnow-go/0.1.0".
const Version = "0.1.0"

// MaxPageSize is the most leads that the API returns in one page (Clixnow API
// reference, "Monitoring data").
const MaxPageSize = 1000

const (
	leadsPath  = "/api/system/v1/leads"
	searchPath = "/api/system/v1/leads/search"
)

// Client calls the Clixnow API of one brand with one token. Create it with
// [NewClient]; its zero value is not usable. It is immutable and safe for
// concurrent use, and is meant to be kept: it holds the connections. For a new
// token make a new Client and close the idle connections of the old one.
type Client struct {
	brand    string
	caller   *call.Caller
	urls     map[string]*url.URL // by path
	retry    RetryPolicy
	validate bool
	// token returns the token. It is a closure, so that fmt cannot print it.
	token func() string
}

// NewClient returns a client for a brand and the API token that Clixnow gave
// the affiliate. The brand is Clixnow's label for the host: "acme" stands for
// integration.acme.clixnow.com. Nothing is sent. Its errors name what is at
// fault and print neither brand nor token.
func NewClient(brand, token string, opts ...Option) (*Client, error) {
	c := config{maxResponseBytes: defaultMaxResponseBytes}
	for _, opt := range opts {
		if opt == nil {
			return nil, errors.New("clixnow: new client: nil option")
		}
		if err := opt(&c); err != nil {
			return nil, fmt.Errorf("clixnow: new client: %w", err)
		}
	}
	if !isLabel(brand) {
		return nil,
			errors.New("clixnow: new client: the brand must be one DNS label: letters, digits, inner hyphens, at most 63")
	}
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r == ' ' || notPrintable(r) }) {
		return nil, errors.New("clixnow: new client: the token must be printable ASCII without blanks, and not empty")
	}
	if c.baseURL == nil {
		c.baseURL = &url.URL{Scheme: "https", Host: "integration." + brand + ".clixnow.com"}
	}
	c.baseURL.Path = cmp.Or(c.baseURL.Path, "/") // JoinPath keeps a path that is not rooted so
	if err := c.checkBaseURL(); err != nil {
		return nil, fmt.Errorf("clixnow: new client: %w", err)
	}
	return c.build(brand, token), nil
}

// build puts the send path together. The token is kept in closures, where fmt
// cannot reach it through any struct.
func (c *config) build(brand, token string) *Client {
	retry := c.retry.withDefaults()
	hc, timeout := call.NewHTTPClient(c.httpClient)
	caller := &call.Caller{
		HTTP: hc, Timeout: timeout, Header: headers(token, c.userAgent), Logger: c.logger,
		Attempts: retry.MaxAttempts, MinBackoff: retry.MinBackoff, MaxBackoff: retry.MaxBackoff,
		MaxBytes: c.maxResponseBytes, Buffers: &sync.Pool{New: func() any { return new(bytes.Buffer) }},
	}
	if c.limiter != nil {
		caller.Wait = c.limiter.Wait
	}
	return &Client{
		caller: caller, retry: retry, validate: !c.skipValidation,
		brand: brand, token: func() string { return token },
		urls: map[string]*url.URL{leadsPath: c.baseURL.JoinPath(leadsPath), searchPath: c.baseURL.JoinPath(searchPath)},
	}
}

// headers returns what makes the headers of a request. There is never an
// Idempotency-Key among them: net/http would take it as leave to send a POST
// again by itself.
func headers(token, product string) func(method string) http.Header {
	userAgent := strings.TrimSpace(product + " clixnow-go/" + Version)
	authorization := "ApiToken " + token
	return func(method string) http.Header {
		values := [...]string{authorization, userAgent, "application/json", "application/json"}
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

// CloseIdleConnections closes connections that no request is using, as that of
// http.Client does: for tests, and for a client that is replaced. The client
// stays usable.
func (c *Client) CloseIdleConnections() { c.caller.HTTP.CloseIdleConnections() }
