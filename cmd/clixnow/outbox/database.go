package main

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// database is SQLite or PostgreSQL. The sign-ups and River's jobs are in the
// same one, so that one transaction changes both. All that differs between the
// two is in this file.
type database struct {
	*sql.DB // for what concerns the sign-ups alone
	queue

	name   string
	shared bool // other processes may work on it too
	close  func() error
}

// queue is River on a database.
type queue interface {
	Start(ctx context.Context) error
	Stopped() <-chan struct{}
	// transact commits what do did to sign-ups and jobs, all or nothing.
	transact(ctx context.Context, do func(transaction) error) error
}

type transaction interface {
	exec(ctx context.Context, query string, args ...any) (rows int64, err error)
	enqueue(ctx context.Context, args registration) (job int64, err error)
	hurry(ctx context.Context, job int64) (found bool, err error)
	complete(ctx context.Context, job *river.Job[registration]) error
}

//go:embed schema.sql
var schema string

// openDatabase opens, and where it is new sets up, the database at a
// postgres:// URL or in a file of SQLite. River gets the configuration that
// configure returns.
func openDatabase(ctx context.Context, address string, configure func(*database) *river.Config) (*database, error) {
	open := openSQLite
	if isPostgres(address) {
		open = openPostgres
	}
	db, err := open(ctx, address, configure)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	return db, nil
}

func isPostgres(address string) bool {
	return strings.HasPrefix(address, "postgres://") || strings.HasPrefix(address, "postgresql://")
}

func openSQLite(ctx context.Context, path string, configure func(*database) *river.Config) (*database, error) {
	unlock, err := lockSQLite(ctx, path+".lock")
	if err != nil {
		return nil, err
	}
	// What is committed is on the disk (FULL). One connection: SQLite has one
	// writer, and a second one would only wait for it.
	db, err := openSQLiteFile(path,
		"_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		return nil, errors.Join(err, unlock())
	}
	closeAll := func() error { return errors.Join(db.Close(), unlock()) }
	d := &database{DB: db, name: "SQLite", close: closeAll}
	driver := riversqlite.New(db)
	if err := migrate(ctx, d, driver); err != nil {
		return nil, errors.Join(err, closeAll())
	}
	// The lock says that no other process is alive: what seems to be at work,
	// or to lead, died.
	for _, dead := range []string{
		`UPDATE river_job SET state = 'available' WHERE state = 'running'`,
		`DELETE FROM river_leader`,
	} {
		if _, err := db.ExecContext(ctx, dead); err != nil {
			return nil, errors.Join(err, closeAll())
		}
	}
	d.queue, err = newQueue(driver, configure(d), transactionsOfSQLite(db))
	if err != nil {
		return nil, errors.Join(err, closeAll())
	}
	return d, nil
}

func transactionsOfSQLite(db *sql.DB) transactions[*sql.Tx] {
	return func(ctx context.Context, do func(*sql.Tx, execute) error) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback() //nolint:errcheck // does nothing after a commit; what happened before it is told
		err = do(tx, func(ctx context.Context, query string, args ...any) (int64, error) {
			result, err := tx.ExecContext(ctx, query, args...)
			if err != nil {
				return 0, err
			}
			return result.RowsAffected()
		})
		if err != nil {
			return err
		}
		return tx.Commit()
	}
}

// lockSQLite keeps other processes away until this one ends, in whatever way:
// by a transaction that is never ended. It has a file of its own, so that
// backups and the sqlite3 program can read the database meanwhile.
func lockSQLite(ctx context.Context, path string) (unlock func() error, err error) {
	lock, err := openSQLiteFile(path, "_pragma=busy_timeout(10000)") // a process that is stopping takes a while
	if err != nil {
		return nil, err
	}
	conn, err := lock.Conn(ctx)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	unlock = func() error { return errors.Join(conn.Close(), lock.Close()) }
	if _, err := conn.ExecContext(ctx, `BEGIN EXCLUSIVE`); err != nil {
		return nil, errors.Join(fmt.Errorf("another process seems to have %s: %w", path, err), unlock())
	}
	return unlock, nil
}

// openSQLiteFile opens a file, which it makes where there is none: for no other
// user, since passwords wait in it.
func openSQLiteFile(path, options string) (*sql.DB, error) {
	made, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // G304: the file that was asked for
	if err != nil {
		return nil, err
	}
	if err := made.Close(); err != nil {
		return nil, err
	}
	file := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: options}
	db, err := sql.Open("sqlite", file.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

func openPostgres(ctx context.Context, address string, configure func(*database) *river.Config) (*database, error) {
	settings, err := pgxpool.ParseConfig(address)
	if err != nil {
		return nil, err // pgx masks the password
	}
	settings.MaxConns = max(settings.MaxConns, 20)
	pool, err := pgxpool.NewWithConfig(ctx, settings)
	if err != nil {
		return nil, err
	}
	db := stdlib.OpenDBFromPool(pool)
	closeAll := func() error {
		defer pool.Close()
		return db.Close()
	}
	d := &database{DB: db, name: "PostgreSQL", shared: true, close: closeAll}
	driver := riverpgxv5.New(pool)
	if err := migrateAlone(ctx, d, driver); err != nil {
		return nil, errors.Join(err, closeAll())
	}
	d.queue, err = newQueue(driver, configure(d), transactionsOfPostgres(pool))
	if err != nil {
		return nil, errors.Join(err, closeAll())
	}
	return d, nil
}

func transactionsOfPostgres(pool *pgxpool.Pool) transactions[pgx.Tx] {
	return func(ctx context.Context, do func(pgx.Tx, execute) error) error {
		return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			return do(tx, func(ctx context.Context, query string, args ...any) (int64, error) {
				tag, err := tx.Exec(ctx, query, args...)
				return tag.RowsAffected(), err
			})
		})
	}
}

// migrateAlone lets one process at a time set up the tables, where several
// start at once.
func migrateAlone(ctx context.Context, d *database, driver *riverpgxv5.Driver) error {
	const key = 6348_6914 // any number that nothing else in the database locks
	conn, err := d.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // it goes back to the pool
	if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, key); err != nil {
		return err
	}
	err = migrate(ctx, d, driver)
	_, unlockErr := conn.ExecContext(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, key)
	return errors.Join(err, unlockErr)
}

func migrate[TTx any](ctx context.Context, d *database, driver riverdriver.Driver[TTx]) error {
	migrator, err := rivermigrate.New(driver, nil)
	if err != nil {
		return err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("set up River's tables: %w", err)
	}
	for statement := range strings.SplitSeq(schema, ";") {
		if _, err := d.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("set up the table of sign-ups: %w", err)
		}
	}
	return nil
}

// riverQueue is River on the database whose transactions are of type TTx.
type riverQueue[TTx any] struct {
	*river.Client[TTx]
	transactions transactions[TTx]
}

// transactions runs do in a transaction of its own, and commits that where do
// returns nil.
type transactions[TTx any] func(ctx context.Context, do func(TTx, execute) error) error

type execute func(ctx context.Context, query string, args ...any) (rows int64, err error)

func newQueue[TTx any](driver riverdriver.Driver[TTx], config *river.Config, all transactions[TTx]) (queue, error) {
	client, err := river.NewClient(driver, config)
	if err != nil {
		return nil, err
	}
	return riverQueue[TTx]{client, all}, nil
}

func (q riverQueue[TTx]) transact(ctx context.Context, do func(transaction) error) error {
	return q.transactions(ctx, func(tx TTx, exec execute) error { return do(riverTx[TTx]{q.Client, tx, exec}) })
}

type riverTx[TTx any] struct {
	client *river.Client[TTx]
	tx     TTx
	run    execute
}

func (t riverTx[TTx]) exec(ctx context.Context, query string, args ...any) (int64, error) {
	return t.run(ctx, query, args...)
}

func (t riverTx[TTx]) enqueue(ctx context.Context, args registration) (int64, error) {
	result, err := t.client.InsertTx(ctx, t.tx, args, nil)
	if err != nil {
		return 0, err
	}
	return result.Job.ID, nil
}

// hurry makes a job available at once. River deletes a job one day after it was
// completed.
func (t riverTx[TTx]) hurry(ctx context.Context, job int64) (found bool, err error) {
	_, err = t.client.JobRetryTx(ctx, t.tx, job)
	if errors.Is(err, rivertype.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// complete ends the job with the transaction. A job that is not running any
// more was taken from a worker that was believed dead: it will come again, and
// find that there is nothing to do.
func (t riverTx[TTx]) complete(ctx context.Context, job *river.Job[registration]) error {
	_, err := river.JobCompleteTx[riverdriver.Driver[TTx]](ctx, t.tx, job)
	if errors.Is(err, rivertype.ErrNotFound) {
		return nil
	}
	return err
}
