package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/database"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/gateway/monitor"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/telemetry"
	"github.com/clixnow/clixnow-go/router"
	"github.com/clixnow/clixnow-go/store/outbox"
)

// gateway is one run of "serve" or "work".
type gateway struct {
	app      *app.App
	settings settings
	config   app.Gateway
	// secret is that of servers. "" means no secret.
	secret   string
	log      *slog.Logger
	registry *prometheus.Registry
	routes   []router.Route
	brands   []app.Settings
	// demoOrigins are the origins of the fake brands of --demo.
	demoOrigins []string
	outbox      *outbox.Outbox
	monitor     *monitor.Monitor
}

// run serves or works until ctx ends. Then it finishes the requests and tries
// in progress.
func run(ctx context.Context, a *app.App, set settings) error {
	a.RetryTokens = true
	g := &gateway{
		app: a, settings: set, log: slog.New(slog.NewTextHandler(a.Err, nil)), registry: prometheus.NewRegistry(),
	}
	var err error
	if g.config, err = a.Gateway(); err != nil {
		return err
	}
	if set.serves() { // other processes need no secret
		if g.secret, err = readSecret(g.config); err != nil {
			return err
		}
	}
	if a.Demo && set.database == "" {
		folder, err := os.MkdirTemp("", "clixnow-gateway-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(folder) }()
		g.settings.database = filepath.Join(folder, "signups.db")
	}
	db, err := database.OpenOutbox(cmp.Or(g.settings.database, "signups.db"))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	exports := telemetry.Start(ctx, a.Getenv, g.registry, g.log)
	defer exports.Close(ctx) // before the database is closed, from which metrics are read
	withExports := clixnow.WithTransport(exports.Transport)
	if g.routes, g.brands, err = newRoutes(ctx, a, g.config.Brands, withExports); err != nil {
		return err
	}
	if a.Demo {
		defer g.addDemoRoute(withExports)()
	}
	g.monitor = monitor.New(g.registry, exports.Traces())
	if err = g.openOutbox(ctx, db); err != nil {
		return explain(err)
	}
	servers, err := g.servers(ctx)
	if err != nil {
		return err
	}
	g.log.Info("opened the database", "database", db.Name, "brands", len(g.routes))
	return g.work(ctx, servers)
}

func (g *gateway) openOutbox(ctx context.Context, db *database.Outbox) (err error) {
	opts := outbox.Options{
		Routes: g.routes, Workers: g.settings.workers, TryTimeout: g.settings.try, Keep: g.config.KeepFor,
		TokenKey: g.tokenKey(ctx), Logger: g.log,
	}
	g.monitor.Hook(&opts)
	if g.outbox, err = outbox.Open(ctx, db.DB, db.Dialect, opts); err == nil {
		g.monitor.Watch(g.outbox)
	}
	return err
}

// servers opens the sockets.
func (g *gateway) servers(ctx context.Context) (servers []server, err error) {
	inherited, err := inheritedSockets()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			for _, s := range servers {
				_ = s.listener.Close()
			}
		}
	}()
	open := func(
		name, socket, flag, address string, handler func(net.Addr) (http.Handler, error),
	) error {
		listener, err := inherited.listen(ctx, socket, flag, address)
		if err != nil {
			return err
		}
		servers = append(servers, server{name: name, listener: listener})
		h, err := handler(listener.Addr())
		servers[len(servers)-1].Server = newServer(h, g.settings.wait+saveTimeout, g.log)
		return err
	}
	if g.settings.serves() {
		if err := open("sign-ups", "signups", "--listen", g.settings.listen, g.publicHandler); err != nil {
			return servers, err
		}
	}
	if g.settings.admin != "" {
		if err := open("admin page", "admin", "--admin", g.settings.admin, g.adminHandler); err != nil {
			return servers, err
		}
	}
	return servers, nil
}

// work registers sign-ups and serves requests until ctx ends. The requests end
// first, because they wait for the worker.
func (g *gateway) work(ctx context.Context, servers []server) error {
	workCtx, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	ctx, stopServing := context.WithCancel(ctx)
	defer stopServing()
	worked := make(chan error, 1)
	go func() {
		defer stopServing()
		worked <- g.outbox.Work(workCtx)
	}()
	context.AfterFunc(ctx, func() {
		g.log.Info("stopping after the requests and the tries in progress; a second signal stops at once")
	})
	for _, s := range servers {
		g.log.Info("serving the "+s.name, "url", pageURL(s.listener.Addr()))
	}
	if g.app.Demo {
		g.printDemo(servers)
	}
	err := serve(ctx, servers, g.settings.wait+saveTimeout)
	stopWork()
	return explain(errors.Join(err, <-worked))
}

// printDemo says what to open. All brands are fake ones.
func (g *gateway) printDemo(servers []server) {
	for _, s := range servers {
		address := pageURL(s.listener.Addr())
		if s.name == "sign-ups" {
			address += "?clickid=click-1&subcampaign=autumn"
		}
		fmt.Fprintf(g.app.Out, "Open the %s: %s\n", s.name, address)
	}
	fmt.Fprintln(g.app.Out,
		"The brands are fake ones. Ctrl-C ends the demo, and deletes its sign-ups unless --db is given.")
}
