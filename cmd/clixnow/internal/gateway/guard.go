package gateway

import (
	"crypto/subtle"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-chi/httprate"
	"github.com/rs/cors"

	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
)

// guard decides who may send sign-ups, and how many.
type guard struct {
	// secret is what servers send. "" means that anyone may send sign-ups.
	secret  string
	origins []string
	// pages allows requests from the origins and from this host.
	pages   *http.CrossOriginProtection
	proxies []netip.Prefix
	// limit passes on at most a number of requests per minute and address.
	limit func(http.Handler) http.Handler
	// refuse answers requests that are not allowed.
	refuse func(w http.ResponseWriter, r *http.Request, code int, status, problem string)
	// warn warns once of a proxy that is not trusted.
	warn func()
	// hourly limits the log lines about requests that are not allowed.
	hourly limiter
	log    *slog.Logger
}

func newGuard(config app.Gateway, secret string, log *slog.Logger) (*guard, error) {
	g := &guard{
		secret: secret, origins: config.Origins, proxies: config.Proxies, log: log,
		pages: http.NewCrossOriginProtection(), hourly: limiter{every: time.Hour},
		limit: func(next http.Handler) http.Handler { return next },
		warn: sync.OnceFunc(func() {
			log.Warn("a request had X-Forwarded-For, but not from a trusted proxy: if this is your proxy, add it to " +
				"trusted_proxies; until then all its visitors share one rate")
		}),
	}
	for _, origin := range config.Origins {
		if err := g.pages.AddTrustedOrigin(origin); err != nil {
			return nil, app.Usage("origins: %w", err)
		}
	}
	if config.Rate > 0 {
		g.limit = httprate.LimitBy(config.Rate, time.Minute, g.rateKey, httprate.WithLimitHandler(g.tooMany))
	}
	return g, nil
}

// readSecret reads the secret of servers. It is "" without secret_file.
func readSecret(config app.Gateway) (string, error) {
	if config.SecretFile == "" {
		return "", nil
	}
	secret, err := app.ReadSecret(config.SecretFile)
	if err != nil {
		return "", app.Usage("secret_file: %w", err)
	}
	if len(secret) < 16 {
		return "", app.Usage("secret_file: %s must have at least 16 characters", config.SecretFile)
	}
	return secret, nil
}

// protect wraps the handler of POST /signups.
func (g *guard) protect(next http.Handler) http.Handler {
	limited := g.limit(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case g.hasSecret(r): // its visitors are not at the address of the server
			next.ServeHTTP(w, r)
		case g.secret == "":
			limited.ServeHTTP(w, r)
		case !isBrowser(r):
			w.Header().Set("WWW-Authenticate", "Bearer")
			g.refuse(w, r, http.StatusUnauthorized, "invalid", "the header Authorization must be \"Bearer SECRET\"")
		case g.pages.Check(r) != nil:
			g.logOrigin(r)
			g.refuse(w, r, http.StatusForbidden, "invalid", "this page may not send sign-ups")
		default:
			limited.ServeHTTP(w, r)
		}
	})
}

// logOrigin tells operators which page was refused.
func (g *guard) logOrigin(r *http.Request) {
	const longest = 200
	origin := r.Header.Get("Origin")
	origin = origin[:min(len(origin), longest)]
	if g.hourly.allows(origin) {
		g.log.WarnContext(r.Context(), "a page may not send sign-ups: if it is yours, add its origin to origins in "+
			"[gateway]", "origin", origin)
	}
}

// limitPosts wraps the handler of the form, which checks its own requests.
func (g *guard) limitPosts(next http.Handler) http.Handler {
	limited := g.limit(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			limited.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// allowOrigins answers the questions of browsers whether a page may read the
// answers.
func (g *guard) allowOrigins(next http.Handler) http.Handler {
	if len(g.origins) == 0 {
		return next
	}
	return cors.New(cors.Options{
		AllowedOrigins: g.origins, AllowedMethods: []string{http.MethodGet, http.MethodPost},
		AllowedHeaders: []string{"Content-Type"}, ExposedHeaders: []string{"Location", "Retry-After"}, MaxAge: 3600,
	}).Handler(next)
}

func (g *guard) hasSecret(r *http.Request) bool {
	sent, isBearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return g.secret != "" && isBearer && subtle.ConstantTimeCompare([]byte(sent), []byte(g.secret)) == 1
}

// isBrowser reports whether a request comes from a page in a browser. Then the
// address and the device of the request are those of the visitor.
func isBrowser(r *http.Request) bool {
	return r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != ""
}

// address returns the address of the visitor. It is the address of the
// connection. If that is a trusted proxy, it is the last address in
// X-Forwarded-For that is not a trusted proxy. Each proxy appends the address
// of its client, so an untrusted client may have invented the addresses before
// its own. If no address can be trusted, it returns the zero Addr.
func (g *guard) address(r *http.Request) netip.Addr {
	forwarded := r.Header.Values("X-Forwarded-For")
	hops := append(strings.Split(strings.Join(forwarded, ","), ","), r.RemoteAddr)
	for i, hop := range slices.Backward(hops) {
		addr := parseHop(strings.TrimSpace(hop))
		isProxy := slices.ContainsFunc(g.proxies, func(network netip.Prefix) bool { return network.Contains(addr) })
		if isProxy {
			continue
		}
		if i == len(hops)-1 && len(forwarded) > 0 {
			g.warn()
		}
		return addr
	}
	return netip.Addr{}
}

// parseHop reads an address with or without a port, brackets and a zone,
// because proxies write different forms. It returns the zero Addr if text is
// not an address.
func parseHop(text string) netip.Addr {
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	if err != nil {
		withPort, _ := netip.ParseAddrPort(text) // zero if it fails
		addr = withPort.Addr()
	}
	return addr.Unmap().WithZone("")
}

// rateKey returns what has a rate: an IPv4 address, or an IPv6 network of the
// size that one customer gets.
func (g *guard) rateKey(r *http.Request) (string, error) {
	addr := g.address(r)
	if !addr.IsValid() {
		addr = parseHop(r.RemoteAddr) // all hops are trusted proxies
	}
	if !addr.IsValid() {
		return "", errors.New("the request has no address")
	}
	return httprate.CanonicalizeIP(addr.String()), nil
}

// tooMany answers a request that exceeds the rate. The header Retry-After is
// already set.
func (g *guard) tooMany(w http.ResponseWriter, r *http.Request) {
	g.refuse(w, r, http.StatusTooManyRequests, "limited",
		"Too many sign-ups have come from this address. Please try again in a minute.")
}
