package gateway

import (
	"net"
	"net/http"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
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
	public.Handle("/", guard.limitPosts(e.site.Handler()))
	return public, nil
}

// adminHandler returns the handler for operators, who reach it at an address.
func (g *gateway) adminHandler(addr net.Addr) (http.Handler, error) {
	login := g.config.Admin.PasswordFile + g.config.Admin.UserHeader
	if !isLoopback(addr) && login == "" {
		return nil, app.Usage("--admin: without a login the admin page must be on a loopback address: configure " +
			"[gateway.admin], see \"clixnow help config\"")
	}
	return http.NotFoundHandler(), nil
}
