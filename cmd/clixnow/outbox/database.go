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

// database is SQLite or PostgreSQL. It has the sign-ups and River's jobs, so
// that one transaction can change both. All differences between SQLite and
// PostgreSQL are in this file.
type database struct {
	// DB is for statements that change only the sign-ups.
	*sql.DB
	queue

	name string
	// shared reports whether other processes can use the database too.
	shared bool
	close  func() error
}

// queue is River with a database.
type queue interface {
	Start(ctx context.Context) error
	Stopped() <-chan struct{}
	// transact runs do in a transaction, which can change sign-ups and jobs.
	transact(ctx context.Context, do func(transaction) error) error
}

type transaction interface {
	exec(ctx context.Context, query string, args ...any) (rows int64, err error)
	enqueue(ctx context.Context, args registration) (job int64, err error)
	retryNow(ctx context.Context, job int64) (found bool, err error)
	complete(ctx context.Context, job *river.Job[registration]) error
}

//go:embed schema.sql
var schema string

// openDatabase opens the database at a postgres:// URL or in an SQLite file. It
// creates missing tables. configure returns River's configuration.
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
	// With synchronous=FULL, committed data is on the disk.
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
	// Because of the lock, no other process is running. So running jobs and the
	// leader belong to a process that died.
	for _, statement := range []string{
		`UPDATE river_job SET state = 'available' WHERE state = 'running'`,
		`DELETE FROM river_leader`,
	} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return nil, errors.Join(err, closeAll())
		}
	}
	d.queue, err = newQueue(driver, configure(d), sqliteTransactions(db))
	if err != nil {
		return nil, errors.Join(err, closeAll())
	}
	return d, nil
}

func sqliteTransactions(db *sql.DB) runTx[*sql.Tx] {
	return func(ctx context.Context, do func(*sql.Tx, execute) error) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback() //nolint:errcheck // does nothing after a commit; other errors are returned
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

// lockSQLite excludes other processes until this one ends or dies. It begins a
// transaction in a separate file and never ends it. The file is separate, so
// that backups and the sqlite3 program can read the database.
func lockSQLite(ctx context.Context, path string) (unlock func() error, err error) {
	lock, err := openSQLiteFile(path, "_pragma=busy_timeout(10000)") // another process may be stopping
	if err != nil {
		return nil, err
	}
	conn, err := lock.Conn(ctx)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	unlock = func() error { return errors.Join(conn.Close(), lock.Close()) }
	if _, err := conn.ExecContext(ctx, `BEGIN EXCLUSIVE`); err != nil {
		err = fmt.Errorf("another process seems to use the database: lock %s: %w", path, err)
		return nil, errors.Join(err, unlock())
	}
	return unlock, nil
}

// openSQLiteFile opens an SQLite file. If there is none, it creates one that
// other users cannot read, because it will contain passwords. It uses one
// connection, because SQLite allows only one writer.
func openSQLiteFile(path, options string) (*sql.DB, error) {
	created, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // G304: the path comes from a flag
	if err != nil {
		return nil, err
	}
	if err := created.Close(); err != nil {
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
	if err := migrateLocked(ctx, d, driver); err != nil {
		return nil, errors.Join(err, closeAll())
	}
	d.queue, err = newQueue(driver, configure(d), postgresTransactions(pool))
	if err != nil {
		return nil, errors.Join(err, closeAll())
	}
	return d, nil
}

func postgresTransactions(pool *pgxpool.Pool) runTx[pgx.Tx] {
	return func(ctx context.Context, do func(pgx.Tx, execute) error) error {
		return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			return do(tx, func(ctx context.Context, query string, args ...any) (int64, error) {
				tag, err := tx.Exec(ctx, query, args...)
				return tag.RowsAffected(), err
			})
		})
	}
}

// migrateLocked calls migrate under a lock, because several processes may start
// at once.
func migrateLocked(ctx context.Context, d *database, driver *riverpgxv5.Driver) error {
	const key = 6348_6914 // an arbitrary number that no other program locks
	conn, err := d.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // this returns the connection to the pool
	if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, key); err != nil {
		return err
	}
	err = migrate(ctx, d, driver)
	_, unlockErr := conn.ExecContext(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, key)
	return errors.Join(err, unlockErr)
}

// migrate creates the tables that are missing.
func migrate[TTx any](ctx context.Context, d *database, driver riverdriver.Driver[TTx]) error {
	migrator, err := rivermigrate.New(driver, nil)
	if err != nil {
		return err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("create River's tables: %w", err)
	}
	for statement := range strings.SplitSeq(schema, ";") {
		if _, err := d.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("create the table of sign-ups: %w", err)
		}
	}
	if _, err := d.ExecContext(ctx, `SELECT refusals FROM signups LIMIT 0`); err == nil {
		return nil
	}
	// The table was created before it had this column.
	const add = `ALTER TABLE signups ADD COLUMN refusals BIGINT NOT NULL DEFAULT 0`
	if _, err := d.ExecContext(ctx, add); err != nil {
		return fmt.Errorf("change the table of sign-ups: %w", err)
	}
	return nil
}

// riverQueue is River with a database whose transactions have the type TTx.
type riverQueue[TTx any] struct {
	*river.Client[TTx]
	runTx runTx[TTx]
}

// runTx runs do in a new transaction. If do returns nil, it commits the
// transaction.
type runTx[TTx any] func(ctx context.Context, do func(TTx, execute) error) error

type execute func(ctx context.Context, query string, args ...any) (rows int64, err error)

func newQueue[TTx any](driver riverdriver.Driver[TTx], config *river.Config, run runTx[TTx]) (queue, error) {
	client, err := river.NewClient(driver, config)
	if err != nil {
		return nil, err
	}
	return riverQueue[TTx]{client, run}, nil
}

func (q riverQueue[TTx]) transact(ctx context.Context, do func(transaction) error) error {
	return q.runTx(ctx, func(tx TTx, exec execute) error { return do(riverTx[TTx]{q.Client, tx, exec}) })
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

// retryNow makes a job available at once. It returns false if a new job is
// needed. River deletes a job one day after its completion. And a completed job
// cannot be retried safely: a moment later River may complete it once more, as
// the end of the old run, and the new run would be lost.
func (t riverTx[TTx]) retryNow(ctx context.Context, job int64) (found bool, err error) {
	row, err := t.client.JobGetTx(ctx, t.tx, job)
	if err == nil && row.FinalizedAt != nil {
		return false, nil
	}
	if err == nil {
		_, err = t.client.JobRetryTx(ctx, t.tx, job)
	}
	if errors.Is(err, rivertype.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// complete completes the job in the transaction. If the job is not running, it
// was taken from this worker, because the worker seemed to be dead. Then
// complete does nothing: the next run of the job will find that the sign-up is
// settled.
func (t riverTx[TTx]) complete(ctx context.Context, job *river.Job[registration]) error {
	_, err := river.JobCompleteTx[riverdriver.Driver[TTx]](ctx, t.tx, job)
	if errors.Is(err, rivertype.ErrNotFound) {
		return nil
	}
	return err
}
