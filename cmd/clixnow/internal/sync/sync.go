// Package sync holds the command "clixnow sync", which keeps a copy of the
// leads in a database.
package sync

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/database"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/telemetry"
	"github.com/clixnow/clixnow-go/store/mirror"
	"github.com/clixnow/clixnow-go/store/postback"
)

// settings are the flags of the command.
type settings struct {
	database, listen, format string
	poll                     time.Duration
	once                     bool
	// postbacksFrom is where new postbacks start. A zero time means now.
	postbacksFrom time.Time
}

// Command returns the command "sync".
func Command(a *app.App) *cobra.Command {
	var set settings
	cmd := &cobra.Command{
		Use: "sync", Short: "Keep a copy of all leads in a database", Args: app.Args(),
		Long: `Follow all configured brands, or only --brand. Save each lead in a database,
and print a line for each event: created, status changed, deposited, deposit
withdrawn, or email changed. Ctrl-C ends it; the next run continues there.

The first run reads the whole history, and prints its events too. Each event
is printed at least once. A line begins with the id of the event, by which a
reader can skip events that it has seen. docs/mirror.md describes the tables.

If the configuration file has [[postbacks]], it tells these trackers about
first deposits or other events. See docs/postbacks.md. If the environment has
OTEL_EXPORTER_OTLP_ENDPOINT, it exports traces and metrics by OpenTelemetry.

Put the password of a PostgreSQL database into PGPASSWORD or ~/.pgpass,
because other users of the machine can see flags.

Exit codes: 1 if another process has taken over the database, 2 if the
database cannot be used, 3 if it fails or postbacks wait after a failure, both
with --once, and 4 if all brands refuse their tokens. Without --once, it
retries what fails.`,
		Example: `  clixnow sync --demo
  clixnow sync --db leads.db --once -o jsonl >events.jsonl
  clixnow sync --db postgres://sync@db.example/leads --listen 127.0.0.1:9100`,
	}
	flags := cmd.Flags()
	flags.StringVar(&set.database, "db", "", "an SQLite `FILE` or a postgres:// URL (leads.db)")
	flags.DurationVar(&set.poll, "poll", time.Minute, "the `TIME` between two polls of a brand")
	flags.BoolVar(&set.once, "once", false, "end when all changes have been read")
	flags.StringVar(&set.listen, "listen", "", "serve /healthz and /metrics on a loopback `HOST:PORT`")
	postbacksFromFlag(cmd, &set.postbacksFrom)
	flags.StringVarP(&set.format, "output", "o", "text", "the `FORMAT` of events: text or jsonl")
	_ = cmd.RegisterFlagCompletionFunc("output",
		cobra.FixedCompletions([]string{"text", "jsonl"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case set.format != "text" && set.format != "jsonl":
			return app.Usage("unknown format %q: it must be text or jsonl", set.format)
		case set.poll <= 0:
			return app.Usage("--poll must be longer than 0")
		}
		return run(cmd.Context(), a, set)
	}
	return cmd
}

func run(ctx context.Context, a *app.App, set settings) error {
	a.RetryTokens = true
	destinations, err := a.Postbacks()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	isKept := set.database != ""
	if a.Demo {
		folder, err := os.MkdirTemp("", "clixnow-sync-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(folder) }()
		set.database = cmp.Or(set.database, filepath.Join(folder, "leads.db"))
		set.poll = min(set.poll, time.Second)
	}
	db, err := database.Open(cmp.Or(set.database, "leads.db"))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	log, monitor := slog.New(slog.NewTextHandler(a.Err, nil)), newMonitor()
	exports := telemetry.Start(ctx, a.Getenv, monitor.registry, log)
	defer exports.Close(ctx) // before the database is closed, from which metrics are read
	clients, err := a.Clients(ctx, clixnow.WithTransport(exports.Transport))
	if err != nil {
		return err
	}
	if a.Demo {
		go a.ChangeDemo(ctx)
	}
	m, err := mirror.Open(ctx, db.DB, db.Dialect)
	if err != nil {
		return database.Error(err)
	}
	tokens, err := claim(ctx, a, m, clients)
	if err != nil {
		return database.Error(err)
	}
	log = slog.New(&handler{log.Handler(), tokens})
	s := &syncer{
		app: a, settings: set, mirror: m, stop: stop, progress: a.Progress("leads read"), log: log, monitor: monitor,
	}
	if set.listen != "" {
		closeServer, err := s.monitor.listen(ctx, set.listen, s.log)
		if err != nil {
			return err
		}
		defer closeServer()
	}
	if a.Demo && isKept {
		s.log.Warn("the database keeps made-up leads of the brand \"demo\"", "database", db.Name)
	}
	s.log.Info("opened the database", "database", db.Name, "brands", len(clients), "postbacks", len(destinations))
	tasks := []task{s.printEvents}
	if len(destinations) > 0 {
		postbacks, err := s.postbacks(ctx, destinations)
		if err != nil {
			return database.Error(err)
		}
		tasks = append(tasks, postbacks)
	}
	err = s.run(ctx, clients, tasks...)
	if errors.Is(err, context.Canceled) && set.once {
		return app.WithCode(app.CodeLater, errors.New("stopped before all changes were read; run it again"))
	}
	if err == nil && set.once && s.sender != nil {
		err = waiting(ctx, s.sender)
	}
	return database.Error(err)
}

// claim saves where the brands are read from, and returns where their tokens
// come from. It returns an error if the database has leads from elsewhere.
func claim(
	ctx context.Context, a *app.App, m *mirror.Mirror, clients []*clixnow.Client,
) (tokens map[string]string, err error) {
	tokens = make(map[string]string)
	for _, client := range clients {
		settings, err := a.SettingsOf(client.Brand())
		if err != nil {
			return nil, err
		}
		address := strings.TrimRight(settings.Address(), "/")
		if a.Demo {
			address = "the demo" // its port changes
		}
		if err := m.Claim(ctx, client.Brand(), address); err != nil {
			return nil, err
		}
		tokens[client.Brand()] = settings.TokenFrom()
	}
	return tokens, nil
}

// syncer is one run of the command.
type syncer struct {
	app      *app.App
	settings settings
	mirror   *mirror.Mirror
	log      *slog.Logger
	stop     func()
	progress *progressbar.ProgressBar
	monitor  *monitor
	// sender is nil without postbacks.
	sender *postback.Sender

	// shown is when a line of progress was logged last.
	shown time.Time
	// read is the number of leads that progress counts, by brand.
	read map[string]int64
}

// task handles events beside the mirror. saved gets a value when events may
// have been saved, and is closed when no more will be.
type task func(ctx context.Context, saved <-chan struct{}) error

// run follows the brands and runs tasks until ctx is done or one of them fails.
func (s *syncer) run(ctx context.Context, clients []*clixnow.Client, tasks ...task) error {
	s.read, s.shown = make(map[string]int64), time.Now()
	signals, errs := make([]chan struct{}, len(tasks)), make([]error, len(tasks))
	var running sync.WaitGroup
	for i, task := range tasks {
		signals[i] = make(chan struct{}, 1)
		signals[i] <- struct{}{} // an earlier run may have left events
		running.Go(func() {
			if errs[i] = task(ctx, signals[i]); errs[i] != nil {
				s.stop()
			}
		})
	}
	err := s.mirror.Run(ctx, mirror.RunOptions{
		Clients: clients, PollInterval: s.settings.poll, Once: s.settings.once, Logger: s.log,
		Observe: func(status mirror.Status) {
			s.show(status)
			for _, signal := range signals {
				select {
				case signal <- struct{}{}:
				default: // the task has not seen the last one yet
				}
			}
		},
	})
	for _, signal := range signals {
		close(signal)
	}
	running.Wait()
	_ = s.progress.Finish()
	return errors.Join(append(errs, err)...)
}

// show shows the progress of a brand.
func (s *syncer) show(status mirror.Status) {
	s.monitor.set(status)
	_ = s.progress.Add64(status.Leads - s.read[status.Brand])
	s.read[status.Brand] = status.Leads
	if !status.CaughtUpAt.IsZero() {
		_ = s.progress.Clear()
		return
	}
	if !s.app.Interactive() && time.Since(s.shown) > 10*time.Second {
		s.shown = time.Now()
		s.log.Info("catching up", "brand", status.Brand, "leads", status.Leads, "position", status.Position)
	}
}
