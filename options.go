package clixnow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"time"
)

// Option sets one property of a new [Client]. The order of options does not
// matter, but the last of one kind wins.
type Option func(*config) error

// config gathers what the options say; [NewClient] builds from it once.
type config struct {
	httpClient       *http.Client
	baseURL          *url.URL
	insecureHTTP     bool
	userAgent        string
	retry            RetryPolicy
	limiter          RateLimiter
	logger           *slog.Logger
	maxResponseBytes int64
	skipValidation   bool
}

// RateLimiter delays requests. *rate.Limiter of golang.org/x/time/rate is one.
// It must be safe for concurrent use.
type RateLimiter interface {
	// Wait blocks until a request may be sent, and returns an error when ctx
	// ends first or would end too early.
	Wait(ctx context.Context) error
}

// RetryPolicy says how often and how fast attempts are made again. Its zero
// value is the default policy. Which requests are retried at all is not a
// matter of policy; see the package comment.
type RetryPolicy struct {
	MaxAttempts int           // in all; 1 = never retry; 0 = 3
	MinBackoff  time.Duration // span of the random wait before the second attempt; doubles with each; 0 = 250 ms
	MaxBackoff  time.Duration // longest wait, and the longest Retry-After that is waited out; 0 = 10 s
}

const (
	defaultMaxAttempts      = 3
	defaultMinBackoff       = 250 * time.Millisecond
	defaultMaxBackoff       = 10 * time.Second
	defaultMaxResponseBytes = 32 << 20
)

// withDefaults fills in what is zero; where a given bound crosses the default
// of the other one, the given bound wins.
func (p RetryPolicy) withDefaults() RetryPolicy {
	filled := p
	if p.MaxAttempts == 0 {
		filled.MaxAttempts = defaultMaxAttempts
	}
	if p.MinBackoff == 0 {
		filled.MinBackoff = defaultMinBackoff
		if p.MaxBackoff != 0 {
			filled.MinBackoff = min(defaultMinBackoff, p.MaxBackoff)
		}
	}
	if p.MaxBackoff == 0 {
		filled.MaxBackoff = max(defaultMaxBackoff, filled.MinBackoff)
	}
	return filled
}

// WithHTTPClient sends by a copy of hc: its Transport (nil = the client's own,
// a clone of http.DefaultTransport with 64 idle connections per host), Jar and
// Timeout (per attempt, 0 = none) are used. Its CheckRedirect is not: redirects
// are never followed. Without this option the client's own transport is used,
// with a timeout of 30 s per attempt.
//
// [Client.CloseIdleConnections] reaches the connections of a Transport that has
// such a method; one that wraps another, as that of otelhttp, may have none.
//
// A RoundTripper in it that sends a POST again by itself voids what this
// package promises about creates.
func WithHTTPClient(hc *http.Client) Option {
	return func(c *config) error {
		if hc == nil {
			return errors.New("WithHTTPClient: nil client")
		}
		c.httpClient = hc
		return nil
	}
}

// WithBaseURL replaces https://integration.{brand}.clixnow.com, for hosts that
// serve the same API under another name and for tests. It may hold a path,
// which stays in front of the API's own; it may not hold user info, a query or
// a fragment.
func WithBaseURL(rawURL string) Option {
	return func(c *config) error {
		base, err := url.Parse(rawURL)
		switch {
		case err != nil:
			return errors.New("WithBaseURL: not a URL") // the parser's error would print it, password and all
		case base.Scheme != "https" && base.Scheme != "http", base.Hostname() == "":
			return errors.New("WithBaseURL: must be an absolute http or https URL")
		case base.User != nil:
			return errors.New("WithBaseURL: must not carry user info")
		case base.RawQuery != "", base.ForceQuery, strings.Contains(rawURL, "#"):
			return errors.New("WithBaseURL: must not carry a query or a fragment")
		}
		c.baseURL = base
		return nil
	}
}

// WithInsecureHTTP allows plain http:// to a host that is not loopback. Token
// and lead data then travel readable to all.
func WithInsecureHTTP() Option {
	return func(c *config) error {
		c.insecureHTTP = true
		return nil
	}
}

// WithUserAgent puts product, such as "my-app/1.2", in front of clixnow-go/...
// in the User-Agent header.
func WithUserAgent(product string) Option {
	return func(c *config) error {
		if strings.TrimSpace(product) != product || product == "" || strings.ContainsFunc(product, notPrintable) {
			return errors.New("WithUserAgent: must be printable ASCII without surrounding blanks")
		}
		c.userAgent = product
		return nil
	}
}

// WithRetry replaces the retry policy.
func WithRetry(policy RetryPolicy) Option {
	return func(c *config) error {
		switch {
		case policy.MaxAttempts < 0, policy.MinBackoff < 0, policy.MaxBackoff < 0:
			return errors.New("WithRetry: negative number")
		case policy.MaxBackoff != 0 && policy.MinBackoff > policy.MaxBackoff:
			return fmt.Errorf("WithRetry: MinBackoff %v exceeds MaxBackoff %v", policy.MinBackoff, policy.MaxBackoff)
		}
		c.retry = policy
		return nil
	}
}

// WithRateLimiter waits on limiter before every attempt, those of searches
// included.
func WithRateLimiter(limiter RateLimiter) Option {
	return func(c *config) error {
		if isNil(limiter) {
			return errors.New("WithRateLimiter: nil limiter")
		}
		c.limiter = limiter
		return nil
	}
}

// isNil finds a nil of any type that a method can be called on, which fails
// only when it is used.
func isNil(limiter RateLimiter) bool {
	value := reflect.ValueOf(limiter)
	switch value.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Chan, reflect.Slice:
		return value.IsNil()
	default:
		return false
	}
}

// WithLogger logs every attempt at debug level, and at warn level one that is
// made again. No token, header or body, and no lead data, is logged.
func WithLogger(logger *slog.Logger) Option {
	return func(c *config) error {
		if logger == nil {
			return errors.New("WithLogger: nil logger")
		}
		c.logger = logger
		return nil
	}
}

// WithMaxResponseBytes sets the longest (unpacked) body of a 2xx that is read;
// beyond it a call fails with [ErrResponseTooLarge]. The default is 32 MiB; a
// page of 1000 leads takes about 0.4 MB. Whatever it is, a page of more than
// 100,000 leads is [ErrInvalidResponse].
func WithMaxResponseBytes(n int64) Option {
	return func(c *config) error {
		if n <= 0 {
			return errors.New("WithMaxResponseBytes: must be positive")
		}
		c.maxResponseBytes = n
		return nil
	}
}

// WithoutValidation sends requests unchecked, and the server judges. Refused is
// still what no server could judge: invalid UTF-8, a key of Extra that names a
// field of ours, a value that JSON cannot hold, a negative number in a search.
func WithoutValidation() Option {
	return func(c *config) error {
		c.skipValidation = true
		return nil
	}
}

// checkBaseURL refuses plain http where others could read along.
func (c *config) checkBaseURL() error {
	if c.baseURL.Scheme == "https" || c.insecureHTTP || isLoopback(c.baseURL.Hostname()) {
		return nil
	}
	return errors.New("plain http to a host that is not loopback needs WithInsecureHTTP")
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return ip.IsLoopback() || strings.EqualFold(host, "localhost")
}

// notPrintable finds what the value of an HTTP header is not to hold.
func notPrintable(r rune) bool { return r < ' ' || r > '~' }

// isLabel reports whether text is one label of a host name.
func isLabel(text string) bool {
	inner := func(r rune) bool {
		return r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	}
	return text != "" && len(text) <= 63 && text[0] != '-' && text[len(text)-1] != '-' &&
		!strings.ContainsFunc(text, func(r rune) bool { return !inner(r) })
}
