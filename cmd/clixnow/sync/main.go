// Command sync keeps a database of leads current. It prints the events of the
// leads: created, status changed, deposited, deposit withdrawn. Without flags
// it follows a fake Clixnow on loopback, whose leads change all the time:
//
//	go run ./sync
//	CLIXNOW_TOKEN=... go run ./sync -brand acme -db leads.db
//	CLIXNOW_TOKEN=... go run ./sync -brand acme -db postgres://db.local/leads
//
// It saves leads, events and position in one transaction, so it can be killed
// at any time. See README.md.
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

sync keeps a database of leads current and prints the events of the leads. Without -brand it follows a fake Clixnow on
loopback. It reads the token from the environment variable CLIXNOW_TOKEN. Put a password for PostgreSQL into PGPASSWORD
or ~/.pgpass, because other users of the machine can see flags.

Exit codes:
  0  it was stopped, or with -once it has caught up
  1  it failed; start it again later
  2  the flags are wrong
  3  the API refused it, or the database cannot be used; see the message
  4  another process has taken over the database

Flags:
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
	log.Info("opened the database", "brand", set.brand, "database", store.name)
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
	flags.StringVar(&set.brand, "brand", "",
		"the `name` of the brand to follow (default a fake Clixnow on loopback)")
	flags.StringVar(&set.baseURL, "url", "", "the base `URL` of another host that serves the API")
	flags.StringVar(&set.database, "db", "",
		"an SQLite `file` or a postgres:// URL (default leads.db; for the fake, a temporary file)")
	flags.DurationVar(&set.poll, "poll", 0, "the `time` between two passes (default 1m; for the fake, 2s)")
	flags.BoolVar(&set.once, "once", false, "stop when it has caught up")
	flags.IntVar(&set.demoLeads, "demo-leads", 20, "the `number` of leads that the fake has at the start")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(out, usage)
		flags.SetOutput(out)
		flags.PrintDefaults()
	case err != nil:
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case set.poll < 0 || set.demoLeads < 0:
		err = errors.New("-poll and -demo-leads must not be negative")
	case set.brand == "" && set.baseURL != "":
		err = errors.New("-url needs -brand")
	case set.brand != "" && set.token == "":
		err = errors.New("the environment variable CLIXNOW_TOKEN is not set")
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

// explain returns the exit code for an error, and advice on what to do.
func explain(err error) (code int, advice string) {
	switch {
	case err == nil:
		return 0, ""
	case errors.Is(err, errUsage):
		return 2, "-h lists the flags."
	case errors.Is(err, clixnow.ErrUnauthorized):
		return 3, "Check CLIXNOW_TOKEN: it is wrong, or it is for another brand."
	case errors.Is(err, clixnow.ErrForbidden):
		return 3, "Ask your Clixnow manager to let this token read leads."
	case errors.Is(err, clixnow.ErrRedirect):
		return 3, "Check -brand and -url: the API does not redirect."
	case errors.Is(err, clixnow.ErrRefused):
		return 3, "The API does not accept this request. Check -url, and look for a newer version of this program."
	case errors.Is(err, errWrongDatabase):
		return 3, "Set -db to another database."
	case errors.Is(err, errTakenOver):
		return 4, "Only the process that was started last continues. Start only one."
	default:
		return 1, "The saved data is consistent. Start sync again to continue from there."
	}
}
