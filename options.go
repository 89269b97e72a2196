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
	"slices"
	"strings"
	"time"
)

// Option sets one property of a new [Client]. The order of options does not
// matter. If an option is given twice, the last one counts; only
// [WithTransport] adds up.
type Option func(*config) error

// config gathers the options. [NewClient] builds the client from it once.
type config struct {
	httpClient *http.Client
	// wraps are those of WithTransport, in order.
	wraps []func(http.RoundTripper) http.RoundTripper
	// timeout is that of WithTimeout. It may be nil.
	timeout          *time.Duration
	tokenSource      func(context.Context) (string, error)
	baseURL          *url.URL
	insecureHTTP     bool
	userAgent        string
	retry            RetryPolicy
	limiter          RateLimiter
	logger           *slog.Logger
	maxResponseBytes int64
	skipValidation   bool
	looks            []time.Duration
	refusals         func(*APIError) error
}

const (
	defaultTimeout          = 30 * time.Second
	defaultMaxAttempts      = 3
	defaultMinBackoff       = 250 * time.Millisecond
	defaultMaxBackoff       = 10 * time.Second
	defaultMaxResponseBytes = 32 << 20
)

// defaultLooks returns the pauses of EnsureLead without WithLooks.
func defaultLooks() []time.Duration {
	return []time.Duration{500 * time.Millisecond, 2 * time.Second, 5 * time.Second, 10 * time.Second}
}

// RateLimiter delays requests. *rate.Limiter of golang.org/x/time/rate
// implements it. It must be safe for concurrent use.
type RateLimiter interface {
	// Wait blocks until a request may be sent. It returns an error if ctx ends
	// before that, or would end before that.
	Wait(ctx context.Context) error
}

// RetryPolicy sets how often and how fast requests are retried. Its zero value
// is the default policy. RetryPolicy does not change which requests are
// retried; see the package comment.
type RetryPolicy struct {
	// MaxAttempts is the number of all attempts. 1 means that nothing is
	// retried. 0 means the default of 3. The one attempt after a 401 with a new
	// token does not count; see WithTokenSource.
	MaxAttempts int
	// MinBackoff is the upper limit of the random wait before the second
	// attempt. The limit doubles with each attempt. 0 means the default of 250
	// ms.
	MinBackoff time.Duration
	// MaxBackoff is the longest wait. It is also the longest Retry-After that a
	// retry waits for. 0 means the default of 10 s. It does not limit the looks
	// of EnsureLead; see WithLooks.
	MaxBackoff time.Duration
}

// withDefaults fills in the fields that are zero. If one bound is set beyond
// the other's default, the default is moved to match.
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

// WithTransport wraps the transport that would be used otherwise: the client's
// own, or that of [WithHTTPClient]. The connection pool and the timeout do not
// change. Use it for metrics, traces or a circuit breaker. Several wraps are
// applied in order, so the last one is the outermost. wrap is called once, by
// [NewClient].
//
// A RoundTripper that resends a POST by itself voids what this package promises
// about creates. One that refuses a request without sending it should wrap
// [ErrNotSent] in its error.
func WithTransport(wrap func(http.RoundTripper) http.RoundTripper) Option {
	return func(c *config) error {
		if wrap == nil {
			return errors.New("WithTransport: nil function")
		}
		c.wraps = append(c.wraps, wrap)
		return nil
	}
}

// WithTimeout sets the timeout of one attempt, including the body. The default
// is 30 s. 0 means no timeout. It replaces the Timeout of [WithHTTPClient].
func WithTimeout(d time.Duration) Option {
	return func(c *config) error {
		if d < 0 {
			return errors.New("WithTimeout: must not be negative")
		}
		c.timeout = &d
		return nil
	}
}

// WithTokenSource replaces the token of [NewClient], which must then be "". The
// client calls source before each attempt, with the context of the call. The
// client does not cache the token. If source caches it, source must notice a
// new token by itself, since the call after a 401 looks like any other. source
// must be safe for concurrent use.
//
// If source fails, nothing is sent: a create fails with [ErrNotSent], and the
// error of source is reachable by errors.Is and errors.As.
//
// After a 401 the client calls source again. If the token is a new one, the
// client sends the request once more, at once. So a process that runs for
// months survives a token rotation.
func WithTokenSource(source func(ctx context.Context) (string, error)) Option {
	return func(c *config) error {
		if source == nil {
			return errors.New("WithTokenSource: nil function")
		}
		c.tokenSource = source
		return nil
	}
}

// WithHTTPClient uses the Transport, Jar and Timeout of hc. A nil Transport
// means the client's own transport: a clone of http.DefaultTransport with 64
// idle connections per host, and with pings that find dead HTTP/2 connections.
// The Timeout is that of one attempt, and 0 means no timeout. CheckRedirect is
// not used: redirects are never followed. hc is copied and never changed.
//
// If the Transport of hc speaks HTTP/2, set its HTTP2.SendPingTimeout.
// Otherwise all requests can fail for 15 minutes after a connection has died.
//
// See [WithTransport] for what a RoundTripper should not do.
func WithHTTPClient(hc *http.Client) Option {
	return func(c *config) error {
		if hc == nil {
			return errors.New("WithHTTPClient: nil client")
		}
		c.httpClient = hc
		return nil
	}
}

// WithBaseURL replaces https://integration.{brand}.clixnow.com. It is for hosts
// that serve the same API under another name, and for tests. The URL may have a
// path, which stays in front of the API's own. It must not have user info, a
// query or a fragment.
func WithBaseURL(rawURL string) Option {
	return func(c *config) error {
		base, err := url.Parse(rawURL)
		switch {
		case err != nil:
			return errors.New("WithBaseURL: not a URL") // the parser's error would print a password in it
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

// WithInsecureHTTP allows http:// to a host that is not loopback. Everyone on
// the way can then read the token and the leads.
func WithInsecureHTTP() Option {
	return func(c *config) error {
		c.insecureHTTP = true
		return nil
	}
}

// WithUserAgent puts product ("my-app/1.2") in front of clixnow-go/... in the
// User-Agent header.
func WithUserAgent(product string) Option {
	return func(c *config) error {
		if strings.TrimSpace(product) != product || product == "" || strings.ContainsFunc(product, notPrintable) {
			return errors.New("WithUserAgent: must be printable ASCII without surrounding spaces")
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
			return fmt.Errorf("WithRetry: MinBackoff %v is above MaxBackoff %v", policy.MinBackoff, policy.MaxBackoff)
		}
		c.retry = policy
		return nil
	}
}

// WithRateLimiter calls Wait of the limiter before every attempt, including
// those of searches.
func WithRateLimiter(limiter RateLimiter) Option {
	return func(c *config) error {
		if isNil(limiter) {
			return errors.New("WithRateLimiter: nil limiter")
		}
		c.limiter = limiter
		return nil
	}
}

// WithLogger logs every attempt: at level Warn if it is retried, and at level
// Debug otherwise. Each line has the brand. No line has a token, a header, a
// body or lead data.
func WithLogger(logger *slog.Logger) Option {
	return func(c *config) error {
		if logger == nil {
			return errors.New("WithLogger: nil logger")
		}
		c.logger = logger
		return nil
	}
}

// WithMaxResponseBytes sets the limit of the (unpacked) body of a 2xx. A larger
// body is [ErrResponseTooLarge]. The default is 32 MiB. A page of 1000 leads
// takes about 0.4 MB. Whatever the limit is, a page of more than 100,000 leads
// is [ErrInvalidResponse].
func WithMaxResponseBytes(n int64) Option {
	return func(c *config) error {
		if n <= 0 {
			return errors.New("WithMaxResponseBytes: must be positive")
		}
		c.maxResponseBytes = n
		return nil
	}
}

// WithoutValidation turns off client-side validation. The server then checks
// the requests. Requests that no server could read are still refused: invalid
// UTF-8, a key of Extra that is one of the SDK's fields, a value that JSON
// cannot hold, a negative number in a search.
func WithoutValidation() Option {
	return func(c *config) error {
		c.skipValidation = true
		return nil
	}
}

// WithLooks sets the pauses of [Client.EnsureLead], one before each look. A
// look may take several searches. The default is 500 ms, 2 s, 5 s, 10 s. If the
// searches of a brand show new leads later than the last look, EnsureLead
// cannot find them.
func WithLooks(pauses ...time.Duration) Option {
	return func(c *config) error {
		if len(pauses) == 0 {
			return errors.New("WithLooks: no pauses")
		}
		if slices.Min(pauses) < 0 {
			return errors.New("WithLooks: negative pause")
		}
		c.looks = slices.Clone(pauses)
		return nil
	}
}

// WithRefusals sets a function that reads a refusal in the brand's own words.
// The client calls read with each response to a create that refuses it. Secrets
// are already masked in Message and Fields. errors.Is on the error of the
// create then matches what read returns: [ErrDuplicateLead],
// [ErrCountryNotAllowed], [ErrNoCapacity], or an error of the caller. If read
// returns nil, the words that this package knows count. Otherwise they do not.
//
// read never changes the class of the error: it stays [ErrRefused]. read must
// be safe for concurrent use.
func WithRefusals(read func(*APIError) error) Option {
	return func(c *config) error {
		if read == nil {
			return errors.New("WithRefusals: nil function")
		}
		c.refusals = read
		return nil
	}
}

// isNil reports whether value is nil, or a nil of a type that has methods.
func isNil(value any) bool {
	v := reflect.ValueOf(value)
	switch v.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Chan, reflect.Slice:
		return v.IsNil()
	default:
		return false
	}
}

// checkScheme refuses plain http to a host that is not loopback.
func (c *config) checkScheme(base *url.URL) error {
	if base.Scheme == "https" || c.insecureHTTP || isLoopback(base.Hostname()) {
		return nil
	}
	return errors.New("plain http to a host that is not loopback needs WithInsecureHTTP")
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return ip.IsLoopback() || strings.EqualFold(host, "localhost")
}

// checkToken refuses a token that a header value cannot hold. Its error does
// not print the token.
func checkToken(token string) error {
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r == ' ' || notPrintable(r) }) {
		return errors.New("the token must be printable ASCII without spaces, and not empty")
	}
	return nil
}

// notPrintable reports whether r must not be in a header value.
func notPrintable(r rune) bool { return r < ' ' || r > '~' }

// isLabel reports whether text is one label of a host name.
func isLabel(text string) bool {
	inner := func(r rune) bool {
		return r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	}
	return text != "" && len(text) <= 63 && text[0] != '-' && text[len(text)-1] != '-' &&
		!strings.ContainsFunc(text, func(r rune) bool { return !inner(r) })
}
