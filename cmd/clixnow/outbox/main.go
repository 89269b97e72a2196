// Command outbox accepts sign-ups and registers each one exactly once, even if
// the API is down or a process dies. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/riverqueue/river"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

const usage = `outbox accepts sign-ups and registers each one exactly once at Clixnow.

    outbox serve [flags]    runs the sign-up endpoint, a worker and the status page
    outbox work [flags]     runs one more worker with the same PostgreSQL database

Without -brand it uses a fake Clixnow. With -brand it reads the API token from the environment variable CLIXNOW_TOKEN.

Flags:
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	c, err := parse(os.Args[1:], os.Stderr)
	if err == nil {
		err = run(ctx, c)
	}
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "outbox:", err)
		os.Exit(1)
	}
}

// config is the configuration. Tests set the fields that have no flags.
type config struct {
	// serve is true for the command serve and false for the command work.
	serve         bool
	database      string
	brand, token  string
	listen, admin string
	workers       int
	wait          time.Duration
	timing        timing
	options       []clixnow.Option
	// out receives the log.
	out io.Writer
}

func newLog(out io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: level}))
}

func parse(args []string, out io.Writer) (*config, error) {
	c := &config{
		token:  os.Getenv("CLIXNOW_TOKEN"),
		timing: defaultTiming(),
		out:    out,
	}
	flags := flag.NewFlagSet("outbox", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.StringVar(&c.database, "db", "",
		"an SQLite file or a postgres:// URL; put the password into PGPASSWORD\n(default outbox-BRAND.db)")
	flags.StringVar(&c.brand, "brand", "", "Clixnow's name of the brand; if empty, use a fake Clixnow")
	flags.StringVar(&c.listen, "listen", "127.0.0.1:8080", "the address for sign-ups (only with serve)")
	flags.StringVar(&c.admin, "admin", "127.0.0.1:8081",
		"the address of the status page, /metrics and /healthz; keep it private")
	flags.IntVar(&c.workers, "workers", 50,
		"the number of sign-ups that are tried at once; a sign-up in doubt mostly waits")
	flags.DurationVar(&c.wait, "wait", 5*time.Second, "how long a sign-up request waits for its outcome")
	flags.DurationVar(&c.timing.tryTimeout, "try", 2*time.Minute,
		"the timeout of one try to register; it must be the same for all processes")
	flags.DurationVar(&c.timing.maxWait, "retry", 5*time.Minute,
		"the longest wait before the next try, except after a temporary refusal")
	flags.Usage = func() {
		fmt.Fprint(out, usage)
		flags.PrintDefaults()
	}
	if len(args) == 0 {
		flags.Usage()
		return nil, flag.ErrHelp
	}
	if flags.Parse(args[1:]) != nil {
		return nil, flag.ErrHelp // Parse has printed the error
	}
	if c.database == "" {
		c.database = "outbox-fake.db"
		if c.brand != "" {
			c.database = "outbox-" + c.brand + ".db"
		}
	}
	c.serve = args[0] == "serve"
	switch {
	case args[0] != "serve" && args[0] != "work", flags.NArg() > 0:
		flags.Usage()
		return nil, flag.ErrHelp
	case !c.serve && !isPostgres(c.database):
		return nil, errors.New("work needs -db postgres://...: only one process can use SQLite")
	case !c.serve && c.brand == "":
		return nil, errors.New("work needs -brand: it cannot reach the fake Clixnow of the serving process")
	case c.brand != "" && c.token == "":
		return nil, errors.New("-brand needs the API token in the environment variable CLIXNOW_TOKEN")
	case c.workers < 1, c.wait < 0, c.timing.tryTimeout < time.Second, c.timing.maxWait < c.timing.minWait:
		return nil, errors.New("-workers must be at least 1, -wait at least 0, -try and -retry at least 1s")
	}
	return c, nil
}

// run serves or works until ctx ends. Then it finishes the requests and tries
// in progress.
func run(ctx context.Context, c *config) (err error) {
	log := newLog(c.out, slog.LevelInfo)
	if c.brand == "" {
		fake := clixnowtest.NewServer()
		defer fake.Close()
		c.brand, c.token, c.options = fake.Brand, fake.Token, append(c.options, clixnow.WithBaseURL(fake.URL))
		log.Info("using a fake Clixnow: no lead is registered at a brand", "url", fake.URL)
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	metrics := newMetrics()
	store := &signups{}
	w := &worker{signups: store, clixnow: client, timing: c.timing, countTry: metrics.countTry, log: log}
	db, err := openDatabase(ctx, c.database, func(db *database) *river.Config {
		store.db = db
		return riverConfig(c, w)
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.close()) }()
	metrics.addSignups(store)

	workCtx, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	if err := db.Start(workCtx); err != nil {
		return fmt.Errorf("start the worker: %w", err)
	}
	defer func() {
		stopWork()
		<-db.Stopped()
	}()
	servers := []server{{"status page", c.admin, adminHandler(store, metrics, log)}}
	if c.serve {
		servers = append(servers, server{"sign-ups", c.listen, publicHandler(store, c.wait, log)})
	}
	return serve(ctx, log, servers, c.wait+10*time.Second)
}

func newClient(c *config) (*clixnow.Client, error) {
	options := []clixnow.Option{clixnow.WithUserAgent("outbox/1.0"), clixnow.WithRateLimiter(deadlineLimiter{})}
	return clixnow.NewClient(c.brand, c.token, append(options, c.options...)...)
}

func riverConfig(c *config, w *worker) *river.Config {
	workers := river.NewWorkers()
	river.AddWorker(workers, w)
	return &river.Config{
		Queues:               map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: c.workers}},
		Workers:              workers,
		FetchCooldown:        10 * time.Millisecond,
		FetchPollInterval:    50 * time.Millisecond, // PostgreSQL does not notify twice within the cooldown
		JobTimeout:           c.timing.tryTimeout,
		RescueStuckJobsAfter: c.timing.rescueAfter(),
		MaxAttempts:          math.MaxInt16, // snoozed tries do not count, so a job is never given up
		SoftStopTimeout:      c.timing.stopTimeout,
		Logger:               newLog(c.out, slog.LevelWarn),
	}
}

type server struct {
	name, address string
	handler       http.Handler
}

// serve serves requests until ctx ends. Then it finishes the requests that have
// arrived, for at most grace.
func serve(ctx context.Context, log *slog.Logger, servers []server, grace time.Duration) error {
	failed := make(chan error, len(servers))
	var running []*http.Server
	for _, s := range servers {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.address)
		if err != nil {
			return errors.Join(fmt.Errorf("listen for the %s: %w", s.name, err),
				shutDown(context.WithoutCancel(ctx), running, grace))
		}
		log.Info("serving the "+s.name, "url", "http://"+listener.Addr().String()) // tests read this
		httpServer := &http.Server{
			Handler: s.handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
			IdleTimeout: 2 * time.Minute,
		}
		running = append(running, httpServer)
		go func() { failed <- httpServer.Serve(listener) }()
	}
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
		log.Info("stopping")
	}
	return errors.Join(err, shutDown(context.WithoutCancel(ctx), running, grace))
}

func shutDown(ctx context.Context, servers []*http.Server, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	var err error
	for _, s := range servers {
		err = errors.Join(err, s.Shutdown(ctx))
	}
	return err
}
