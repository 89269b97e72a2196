// Package gateway holds the commands "clixnow serve" and "clixnow work", which
// register the sign-ups of landing pages, and "clixnow backup".
package gateway

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/database"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/gateway/admin"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/gateway/page"
	"github.com/clixnow/clixnow-go/store/outbox"
)

// settings are the flags of the commands.
type settings struct {
	database, listen, admin string
	wait, try               time.Duration
	workers                 int
}

// serves reports whether the command accepts sign-ups.
func (s settings) serves() bool { return s.listen != "" }

// Serve returns the command "serve".
func Serve(a *app.App) *cobra.Command {
	var set settings
	var user string
	cmd := &cobra.Command{
		Use: "serve", Short: "Accept sign-ups of landing pages, and register them", Args: app.Args(),
		Long: `Accept the sign-ups of landing pages, save them in a database, and register
each of them exactly once, at the first configured brand that takes it.

  POST /signups         takes JSON or a form with the field names of the API
  GET /signups/{token}  returns what became of a sign-up
  GET /                 is a sign-up form

An admin page on another address shows what waits and why. SIGTERM finishes
the requests and gives the tries ten seconds. docs/gateway.md describes the
endpoint, the configuration and the operation. See also "clixnow help config".

Put the password of a PostgreSQL database into PGPASSWORD or ~/.pgpass,
because other users of the machine can see flags.

Exit codes: 1 if another process works with the SQLite database, 2 if a flag,
the configuration or the database cannot be used, and 3 if the database fails.`,
		Example: `  clixnow serve --demo
  clixnow serve --db signups.db --listen 127.0.0.1:8080
  clixnow serve --db postgres://gateway@db.example/signups --listen :8080`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if user != "" {
				return printHash(a, user)
			}
			if set.listen == "" {
				return app.Usage("--listen must be an address such as 127.0.0.1:8080")
			}
			return run(cmd.Context(), a, set)
		},
	}
	cmd.Flags().StringVar(&set.listen, "listen", "127.0.0.1:8080", "accept sign-ups at this `HOST:PORT`")
	cmd.Flags().DurationVar(&set.wait, "wait", 5*time.Second,
		"the longest `TIME` that the answer to a sign-up waits for the brand")
	cmd.Flags().StringVar(&user, "hash-password", "",
		"ask for the password of the `USER`, print the line for password_file, and exit")
	addFlags(cmd, &set)
	return cmd
}

// printHash prints the line of a user for the file of passwords.
func printHash(a *app.App, user string) error {
	line, err := admin.HashPassword(user, a.In, a.Err)
	if err != nil {
		return app.Usage("--hash-password: %w", err)
	}
	_, err = fmt.Fprintln(a.Out, line)
	return err
}

// Texts returns the help topic "texts".
func Texts() *cobra.Command {
	return &cobra.Command{Use: "texts", Short: "The texts of the sign-up form of \"serve\"", Long: page.Texts()}
}

// Work returns the command "work".
func Work(a *app.App) *cobra.Command {
	var set settings
	cmd := &cobra.Command{
		Use: "work", Short: "Register the sign-ups of a PostgreSQL database", Args: app.Args(),
		Long: `Register the sign-ups that "clixnow serve" has saved in a PostgreSQL database.
It does not accept sign-ups. Any number of processes can work with one
database. All of them need the same configuration and the same --try.`,
		Example: "  clixnow work --db postgres://gateway@db.example/signups",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !a.Demo && !strings.Contains(set.database, "://") {
				return app.Usage("work needs --db postgres://...: only one process can work with an SQLite file")
			}
			return run(cmd.Context(), a, set)
		},
	}
	addFlags(cmd, &set)
	return cmd
}

// addFlags adds the flags of both commands.
func addFlags(cmd *cobra.Command, set *settings) {
	flags := cmd.Flags()
	flags.StringVar(&set.database, "db", "", "an SQLite `FILE` or a postgres:// URL (signups.db)")
	flags.StringVar(&set.admin, "admin", "127.0.0.1:8081",
		"serve the admin page, /metrics and /healthz at this `HOST:PORT`; \"\" for none")
	flags.IntVar(&set.workers, "workers", 50, "the `NUMBER` of sign-ups that are tried at once")
	flags.DurationVar(&set.try, "try", 2*time.Minute, "the timeout of one try to register a sign-up; "+
		"the same `TIME` for all processes")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if set.workers < 1 || set.wait < 0 || set.try < time.Second {
			return app.Usage("--workers must be at least 1, --wait at least 0s, and --try at least 1s")
		}
		return nil
	}
}

// Backup returns the command "backup".
func Backup(a *app.App) *cobra.Command {
	var address string
	var restored bool
	cmd := &cobra.Command{
		Use: "backup FILE", Short: "Copy the database of the gateway while it runs",
		Long: `Write a copy of the SQLite database of "clixnow serve" into a new FILE. This is
safe while it runs. The copy has the passwords of sign-ups that wait, and only
its owner can read it. For PostgreSQL use pg_dump or a standby.

After you have restored a backup, of either kind of database, and before the
first start, run it with --restored and without FILE. A brand may have
registered sign-ups after the backup was made. With one brand, the gateway
then searches for each lead before it sends it. With several brands, a person
must decide about each sign-up that waits. --restored needs the configuration
of the gateway, because it names the brands.

Before you put a copy of an SQLite database in place, stop the gateway and
delete FILE-wal and FILE-shm of the old database. They would damage the copy.

Exit codes: 1 if a gateway works with the SQLite database, 2 if a flag, the
configuration or a file cannot be used, and 3 if the database fails.`,
		Example: `  clixnow backup --db signups.db signups-backup.db
  clixnow backup --config clixnow.toml --db signups.db --restored`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if restored {
				if err := app.Args()(cmd, args); err != nil {
					return err
				}
				return markRestored(cmd.Context(), a, address)
			}
			if err := app.Args("FILE")(cmd, args); err != nil {
				return err
			}
			return backUp(cmd.Context(), a, address, args[0])
		},
	}
	cmd.Flags().StringVar(&address, "db", "signups.db", "an SQLite `FILE` or a postgres:// URL")
	cmd.Flags().BoolVar(&restored, "restored", false, "the database is a restored backup: search before sending")
	return cmd
}

// open opens an outbox that exists already.
func open(ctx context.Context, address string, opts outbox.Options) (*outbox.Outbox, *database.Outbox, error) {
	if !strings.Contains(address, "://") {
		if _, err := os.Stat(address); err != nil { // SQLite would create the file
			return nil, nil, app.Usage("--db: %w", err)
		}
	}
	db, err := database.OpenOutbox(address)
	if err != nil {
		return nil, nil, err
	}
	o, err := outbox.Open(ctx, db.DB, db.Dialect, opts)
	if err != nil {
		_ = db.Close()
		return nil, nil, explain(err)
	}
	return o, db, nil
}

func backUp(ctx context.Context, a *app.App, address, target string) error {
	o, db, err := open(ctx, address, outbox.Options{})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	if db.Dialect != outbox.SQLite {
		return app.Usage("backup is for SQLite: use pg_dump or a standby for PostgreSQL")
	}
	if err := o.Backup(ctx, target); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return app.Usage("%s exists already: give the name of a new file", target)
		}
		return explain(err)
	}
	fmt.Fprintf(a.Err, "clixnow: wrote a copy of %s to %s; it has passwords: keep it secret\n", db.Name, target)
	return nil
}

func markRestored(ctx context.Context, a *app.App, address string) error {
	config, err := a.Gateway()
	if err != nil {
		return err
	}
	routes, _, err := newRoutes(ctx, a, config.Brands)
	if err != nil {
		return err
	}
	if !strings.Contains(address, "://") {
		if err := checkRestored(ctx, address); err != nil {
			return err
		}
	}
	o, db, err := open(ctx, address, outbox.Options{Routes: routes})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	number, err := o.MarkRestored(ctx)
	if errors.Is(err, outbox.ErrLocked) {
		return errInUse()
	}
	if err != nil {
		return explain(err)
	}
	result := "%s: %d sign-ups are searched for before they are sent\n"
	if len(routes) > 1 {
		result = "%s: %d sign-ups need a decision: see the admin page\n"
	}
	fmt.Fprintf(a.Err, "clixnow: "+result, db.Name, number)
	return nil
}

func errInUse() error {
	return app.WithCode(app.CodeRefused,
		errors.New("another process works with this database: stop the gateway first"))
}

// checkRestored refuses an SQLite file that has a write-ahead log. SQLite would
// write an old log into the restored file when it is opened, and damage it.
func checkRestored(ctx context.Context, file string) error {
	if info, err := os.Stat(file + "-wal"); err != nil || info.Size() == 0 {
		return nil //nolint:nilerr // there is no log
	}
	if isInUse(ctx, file+".lock") {
		return errInUse()
	}
	return app.Usage("%[1]s-wal exists: if it belongs to the database before, delete %[1]s-wal and %[1]s-shm, and put "+
		"the backup in place again; if it belongs to the backup, make a copy by \"clixnow backup\", and use that", file)
}

// isInUse reports whether a process has locked a lock file of an outbox.
func isInUse(ctx context.Context, lock string) bool {
	if _, err := os.Stat(lock); err != nil { // SQLite would create it
		return false
	}
	address, _, _ := strings.Cut(outbox.SQLiteAddress(lock), "?")
	db, err := sql.Open("sqlite", address)
	if err != nil {
		return false
	}
	defer func() { _ = db.Close() }()
	_, err = db.ExecContext(ctx, "BEGIN EXCLUSIVE")
	return err != nil
}

// explain gives an error of the outbox its exit code.
func explain(err error) error {
	switch {
	case err != nil && strings.Contains(err.Error(), "image is malformed"):
		return app.Usage("%w; if the file is a restored backup: delete FILE-wal and FILE-shm beside it, and put the "+
			"backup in place again", err)
	case errors.Is(err, outbox.ErrLocked):
		return app.WithCode(app.CodeRefused, fmt.Errorf("%w; stop that process first, or use PostgreSQL", err))
	case errors.Is(err, outbox.ErrWrongDatabase), errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return app.Usage("%w; give another --db", err)
	case refusesLogin(err):
		return app.Usage("%w; check the user, the password and the database of --db", err)
	case errors.Is(err, outbox.ErrDatabase):
		return app.WithCode(app.CodeLater, fmt.Errorf("%w; nothing is lost: run the command again", err))
	}
	return err
}

// refusesLogin reports whether PostgreSQL does not let this program in, which a
// repetition does not change.
func refusesLogin(err error) bool {
	const unknownDatabase, noPermission, badLogin = "3D000", "42501", "28" // the last one is a class
	failed, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (failed.Code == unknownDatabase || failed.Code == noPermission ||
		strings.HasPrefix(failed.Code, badLogin))
}
