package gateway

import (
	"net"
	"net/http"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/gateway/admin"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/loopback"
	"github.com/clixnow/clixnow-go/store/outbox"
)

// site has the pages that visitors see.
type site interface {
	Handler() http.Handler
	Answer(w http.ResponseWriter, r *http.Request, s *outbox.Signup, err error)
}

type noSite struct{}

func (noSite) Handler() http.Handler { return http.NotFoundHandler() }
func (noSite) Answer(w http.ResponseWriter, r *http.Request, s *outbox.Signup, err error) {
	if s != nil && s.RedirectURL != "" {
		http.Redirect(w, r, s.RedirectURL, http.StatusSeeOther)
	}
}

// complete adds what the request of a visitor tells.
func (e *endpoint) complete(req *clixnow.CreateLeadRequest, r *http.Request) {
	if isBrowser(r) && !req.IPAddress.IsValid() {
		req.IPAddress = e.guard.address(r)
	}
}

// publicHandler returns the handler for visitors.
func (g *gateway) publicHandler(net.Addr) (http.Handler, error) {
	guard, err := newGuard(g.config, g.log)
	if err != nil {
		return nil, err
	}
	e := &endpoint{outbox: g.outbox, routes: g.routes, guard: guard, wait: g.settings.wait, log: g.log, site: noSite{}}
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
	page, err := admin.New(admin.Options{
		Outbox: g.outbox, PasswordFile: config.PasswordFile, UserHeader: config.UserHeader, Proxies: g.config.Proxies,
		Hosts: config.Hosts, Loopback: isLoopback(addr), Version: clixnow.Version, Log: g.log,
	})
	if err != nil {
		return nil, app.Usage("--admin: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", page)
	mux.Handle("GET /healthz", onlyFor(config.Hosts, http.HandlerFunc(g.monitor.Health)))
	mux.Handle("GET /readyz", onlyFor(config.Hosts, http.HandlerFunc(g.monitor.Ready)))
	mux.Handle("GET /metrics", onlyFor(config.Hosts, g.monitor.Metrics()))
	return mux, nil
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
