package gateway

import (
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/gateway/admin"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/gateway/monitor"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/gateway/page"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/loopback"
	"github.com/clixnow/clixnow-go/router"
	"github.com/clixnow/clixnow-go/store/outbox"
)

// complete adds what the request of a visitor tells. The address and the device
// of a server are not those of its visitor.
func (e *endpoint) complete(req *clixnow.CreateLeadRequest, r *http.Request) {
	if isBrowser(r) {
		page.Complete(req, r, e.guard.address(r))
		return
	}
	page.Complete(req, new(http.Request), netip.Addr{})
}

// newSite returns the pages that visitors see.
func (g *gateway) newSite(e *endpoint) (site *page.Site, err error) {
	opts := page.Options{
		Add: e.add, Wait: e.waitFor, ByToken: g.outbox.ByToken, Countries: g.formCountries(),
		Address: e.guard.address, DemoOrigins: g.demoOrigins, Log: e.log,
	}
	if g.config.TextsFile != "" {
		if opts.Texts, err = page.ReadTexts(g.config.TextsFile); err != nil {
			return nil, app.Usage("texts_file: %w", err)
		}
	}
	if site, err = page.New(opts); err != nil {
		return nil, app.Usage("[gateway]: %w", err)
	}
	return site, nil
}

// Public is what the handler for visitors needs.
type Public struct {
	Outbox *outbox.Outbox
	Routes []router.Route
	Config app.Gateway
	// Secret is that of servers. "" means no secret.
	Secret string
	// Wait is the longest time that an answer waits for a brand.
	Wait time.Duration
	Log  *slog.Logger
}

// Handler returns the handler for visitors, for tests without sockets.
func (p Public) Handler() (http.Handler, error) {
	g := &gateway{
		config: p.Config, settings: settings{wait: p.Wait}, secret: p.Secret, log: p.Log, routes: p.Routes,
		outbox: p.Outbox, monitor: monitor.New(prometheus.NewRegistry(), noop.NewTracerProvider()),
	}
	g.monitor.Watch(g.outbox)
	handler, err := g.publicHandler(nil)
	return protected(handler, g.log), err
}

// publicHandler returns the handler for visitors.
func (g *gateway) publicHandler(net.Addr) (http.Handler, error) {
	guard, err := newGuard(g.config, g.secret, g.log)
	if err != nil {
		return nil, err
	}
	e := &endpoint{
		outbox: g.outbox, routes: g.routes, guard: guard, wait: g.settings.wait, hourly: limiter{every: time.Hour},
		log: newFewErrors(g.log),
	}
	if e.site, err = g.newSite(e); err != nil {
		return nil, err
	}
	guard.refuse = e.refuse
	mux := http.NewServeMux()
	mux.Handle("POST /signups", guard.protect(http.HandlerFunc(e.signUp)))
	mux.HandleFunc("GET /signups/{token}", e.show)
	public := http.NewServeMux()
	public.Handle("/signups", guard.allowOrigins(mux))
	public.Handle("/signups/", guard.allowOrigins(mux))
	public.HandleFunc("GET /healthz", g.monitor.Ready) // only operators may see more
	public.HandleFunc("GET /readyz", g.monitor.Ready)
	public.Handle("/", guard.limitPosts(e.site.Handler()))
	return g.monitor.Requests(public), nil
}

// adminHandler returns the handler for operators, who reach it at an address.
func (g *gateway) adminHandler(addr net.Addr) (http.Handler, error) {
	config := g.config.Admin
	handler, err := admin.New(admin.Options{
		Outbox: g.outbox, PasswordFile: config.PasswordFile, UserHeader: config.UserHeader, Proxies: g.config.Proxies,
		Hosts: config.Hosts, Loopback: isLoopback(addr), Version: app.Version(), Log: g.log,
	})
	if err != nil && config.PasswordFile != "" {
		return nil, app.Usage("password_file: %s: %w", config.PasswordFile, passwordFault(err))
	}
	if err != nil {
		return nil, app.Usage("--admin: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", handler)
	mux.Handle("GET /healthz", onlyFor(config.Hosts, http.HandlerFunc(g.monitor.Health)))
	mux.Handle("GET /readyz", onlyFor(config.Hosts, http.HandlerFunc(g.monitor.Ready)))
	mux.Handle("GET /metrics", onlyFor(config.Hosts, g.monitor.Metrics()))
	return mux, nil
}

// passwordFault returns what is wrong with the file of passwords, without its
// name.
func passwordFault(err error) error {
	if inPath, ok := errors.AsType[*fs.PathError](err); ok {
		return inPath.Err
	}
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}

// onlyFor refuses requests whose Host is the name of another site, whose page
// may read the response after DNS rebinding. Monitoring may use an address.
func onlyFor(hosts []string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !loopback.Allows(r.Host, hosts...) && !parseHop(r.Host).IsValid() {
			http.Error(w, "This host name is not allowed. Add it to hosts in [gateway.admin].", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}
