// Command outbox takes sign-ups and registers each one exactly once, whatever
// dies meanwhile: see its README.
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

const usage = `outbox takes sign-ups and registers each one exactly once at Clixnow.

    outbox serve [flags]    sign-up endpoint, worker and status page
    outbox work [flags]     one more worker, on the same PostgreSQL

Without -brand it talks to a fake Clixnow. With it, the API token is read from the environment: CLIXNOW_TOKEN.

`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
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

// config is all that can be set. What has no flag is for tests.
type config struct {
	serve         bool // else work alone
	database      string
	brand, token  string
	listen, admin string
	workers       int
	wait          time.Duration
	pace          pace
	options       []clixnow.Option
	out           io.Writer // of the log
}

func newLog(out io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: level}))
}

func parse(args []string, out io.Writer) (*config, error) {
	c := &config{token: os.Getenv("CLIXNOW_TOKEN"), pace: pace{first: time.Second, stop: 10 * time.Second}, out: out}
	flags := flag.NewFlagSet("outbox", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.StringVar(&c.database, "db", "",
		"file of SQLite, or postgres:// URL (its password is better in PGPASSWORD);\nby default outbox-BRAND.db")
	flags.StringVar(&c.brand, "brand", "", "Clixnow's name of the brand; without it a fake Clixnow is used")
	flags.StringVar(&c.listen, "listen", "127.0.0.1:8080", "address for sign-ups (serve only)")
	flags.StringVar(&c.admin, "admin", "127.0.0.1:8081",
		"address of the status page, /metrics and /healthz: not for the public")
	flags.IntVar(&c.workers, "workers", 50,
		"sign-ups that are tried at once; one in doubt takes a while, waiting most of it")
	flags.DurationVar(&c.wait, "wait", 5*time.Second, "how long a sign-up request waits to be settled")
	flags.DurationVar(&c.pace.try, "try", 2*time.Minute,
		"how long one try to register may take; all processes need the same")
	flags.DurationVar(&c.pace.last, "again", 5*time.Minute, "longest wait until the next try")
	flags.Usage = func() {
		fmt.Fprint(out, usage)
		flags.PrintDefaults()
	}
	if len(args) == 0 {
		flags.Usage()
		return nil, flag.ErrHelp
	}
	if flags.Parse(args[1:]) != nil {
		return nil, flag.ErrHelp // it has said what is wrong
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
		return nil, errors.New("work needs -db postgres://...: SQLite is for one process")
	case !c.serve && c.brand == "":
		return nil, errors.New("work needs -brand: the fake Clixnow of the serving process is out of reach")
	case c.brand != "" && c.token == "":
		return nil, errors.New("-brand needs the API token in the environment: CLIXNOW_TOKEN")
	case c.workers < 1, c.wait < 0, c.pace.try < time.Second, c.pace.last < c.pace.first:
		return nil, errors.New("-workers has to be at least 1, -wait 0, -try and -again 1s")
	}
	return c, nil
}

// run serves or works until ctx ends, then lets what is under way come to its
// end.
func run(ctx context.Context, c *config) (err error) {
	log := newLog(c.out, slog.LevelInfo)
	if c.brand == "" {
		fake := clixnowtest.NewServer()
		defer fake.Close()
		c.brand, c.token, c.options = fake.Brand, fake.Token, append(c.options, clixnow.WithBaseURL(fake.URL))
		log.Info("this is a fake Clixnow: leads go nowhere", "url", fake.URL)
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	metrics := newMetrics()
	store := &signups{}
	w := &worker{signups: store, clixnow: client, pace: c.pace, tried: metrics.tried, log: log}
	db, err := openDatabase(ctx, c.database, func(db *database) *river.Config {
		store.db = db
		return riverConfig(c, w)
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.close()) }()
	metrics.watch(store)

	working, stopWorking := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWorking()
	if err := db.Start(working); err != nil {
		return fmt.Errorf("start to work: %w", err)
	}
	defer func() {
		stopWorking()
		<-db.Stopped()
	}()
	servers := []server{{"status page", c.admin, adminHandler(store, metrics, log)}}
	if c.serve {
		servers = append(servers, server{"sign-ups", c.listen, publicHandler(store, c.wait, log)})
	}
	return serve(ctx, log, servers, c.wait+10*time.Second)
}

func newClient(c *config) (*clixnow.Client, error) {
	options := []clixnow.Option{clixnow.WithUserAgent("outbox/1.0"), clixnow.WithRateLimiter(onTime{})}
	return clixnow.NewClient(c.brand, c.token, append(options, c.options...)...)
}

func riverConfig(c *config, w *worker) *river.Config {
	workers := river.NewWorkers()
	river.AddWorker(workers, w)
	return &river.Config{
		Queues:               map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: c.workers}},
		Workers:              workers,
		FetchCooldown:        10 * time.Millisecond,
		FetchPollInterval:    50 * time.Millisecond, // PostgreSQL tells of no second sign-up within the cooldown
		JobTimeout:           c.pace.try,
		RescueStuckJobsAfter: c.pace.rescue(),
		MaxAttempts:          math.MaxInt16, // never given up; what is tried again is snoozed, which does not count
		SoftStopTimeout:      c.pace.stop,
		Logger:               newLog(c.out, slog.LevelWarn),
	}
}

type server struct {
	name, address string
	handler       http.Handler
}

// serve answers requests until ctx ends, and then those that have arrived, if
// they take no longer than grace.
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
		one := &http.Server{
			Handler: s.handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
			IdleTimeout: 2 * time.Minute,
		}
		running = append(running, one)
		go func() { failed <- one.Serve(listener) }()
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
