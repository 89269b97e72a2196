// Command sync keeps a database of leads current, and prints what happens to
// them: created, status changed, deposited, deposit withdrawn. Without flags it
// follows a fake Clixnow on loopback, whose leads change by themselves:
//
//	go run .
//	CLIXNOW_TOKEN=... go run . -brand acme -db leads.db
//	CLIXNOW_TOKEN=... PGPASSWORD=... go run . -brand acme -db postgres://sync@db.example/leads
//
// Leads, events and position are saved in one transaction, so it may be killed
// at any moment. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/clixnow/clixnow-go"
)

const usage = `Usage: sync [flags]

Keeps a database of leads current, and prints what happens to them. Without -brand it follows a fake Clixnow on loopback.
The token is read from CLIXNOW_TOKEN. Keep a password of PostgreSQL in PGPASSWORD or ~/.pgpass: others can see flags.

It ends with 0 when it was stopped or, with -once, has caught up; 1: it failed, try again later; 2: wrong flags;
3: it was refused, see the message; 4: another process has taken over the database.

`

var errUsage = errors.New("wrong flags")

type settings struct {
	brand, baseURL, token string
	database              string
	poll                  time.Duration
	once                  bool
	demoLeads             int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	err := run(ctx, os.Args[1:], os.Getenv("CLIXNOW_TOKEN"), os.Stdout, os.Stderr)
	code, advice := explain(err)
	if code != 0 {
		fmt.Fprintf(os.Stderr, "sync: %v\n%s\n", err, advice)
	}
	os.Exit(code)
}

func run(ctx context.Context, args []string, token string, out, logs io.Writer) error {
	set, err := parse(args, token, out)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if set.brand == "" {
		stop, err := startDemo(ctx, &set)
		if err != nil {
			return err
		}
		defer stop()
	}
	log := slog.New(slog.NewTextHandler(logs, nil))
	options := []clixnow.Option{clixnow.WithLogger(log)}
	if set.baseURL != "" {
		options = append(options, clixnow.WithBaseURL(set.baseURL))
	}
	client, err := clixnow.NewClient(set.brand, set.token, options...)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	defer client.CloseIdleConnections()
	store, err := openStore(ctx, set.database, set.brand)
	if err != nil {
		return err
	}
	log.Info("opened", "brand", set.brand, "database", store.name)
	if set.once {
		set.poll = 0
	}
	s := &syncer{client: client, store: store, poll: set.poll, out: out, log: log, progress: newProgress(logs, log)}
	return errors.Join(s.run(ctx), store.close())
}

func parse(args []string, token string, out io.Writer) (settings, error) {
	set := settings{token: token}
	flags := flag.NewFlagSet("sync", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // main prints the error
	flags.StringVar(&set.brand, "brand", "", "follow the brand of this `name`; without it, a fake Clixnow on loopback")
	flags.StringVar(&set.baseURL, "url", "", "base `URL` of a host that serves the API under another name")
	flags.StringVar(&set.database, "db", "",
		"SQLite `file` or postgres:// URL (default leads.db; for the fake, a temporary file)")
	flags.DurationVar(&set.poll, "poll", 0, "`time` between two passes (default 1m; for the fake, 2s)")
	flags.BoolVar(&set.once, "once", false, "end when caught up")
	flags.IntVar(&set.demoLeads, "demo-leads", 20, "`number` of leads that the fake begins with")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(out, usage)
		flags.SetOutput(out)
		flags.PrintDefaults()
	case err != nil: // as it is
	case flags.NArg() > 0:
		err = fmt.Errorf("%q is none", flags.Arg(0))
	case set.poll < 0 || set.demoLeads < 0:
		err = errors.New("-poll and -demo-leads must not be negative")
	case set.brand == "" && set.baseURL != "":
		err = errors.New("-url needs -brand")
	case set.brand != "" && set.token == "":
		err = errors.New("the environment has no CLIXNOW_TOKEN")
	}
	if set.database == "" && set.brand != "" {
		set.database = "leads.db"
	}
	if set.poll == 0 {
		set.poll = time.Minute
		if set.brand == "" {
			set.poll = 2 * time.Second
		}
	}
	return set, err
}

// explain returns the code to end the program with, and what a person is to do.
func explain(err error) (code int, advice string) {
	switch {
	case err == nil:
		return 0, ""
	case errors.Is(err, errUsage):
		return 2, "-h lists the flags."
	case errors.Is(err, clixnow.ErrUnauthorized):
		return 3, "Check CLIXNOW_TOKEN: it is wrong, or for another brand."
	case errors.Is(err, clixnow.ErrForbidden):
		return 3, "Ask your Clixnow manager to let this token read leads."
	case errors.Is(err, clixnow.ErrRedirect):
		return 3, "Check -brand and -url: the API itself does not redirect."
	case errors.Is(err, clixnow.ErrRefused):
		return 3, "The API does not take this request. Check -url, and look for a newer version of this program."
	case errors.Is(err, errUnfit):
		return 3, "Give another -db."
	case errors.Is(err, errTakenOver):
		return 4, "The one that was started last goes on. Start one only."
	default:
		return 1, "What was saved is whole. Start it again, and it goes on from there."
	}
}
