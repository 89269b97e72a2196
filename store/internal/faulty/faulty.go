// Package faulty opens a database whose calls can fail, for tests.
package faulty

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"sync/atomic"
	"testing"
)

// Err is the error of a call that fails.
var Err = errors.New("injected fault")

// Faults lets calls of a database fail.
type Faults struct {
	// remaining is the number of calls until one fails, with that call.
	remaining atomic.Int64
	// lasting reports that all later calls fail too.
	lasting atomic.Bool
}

// Open opens a database of an SQLite driver. The test must close it.
func Open(tb testing.TB, address string) (*sql.DB, *Faults) {
	tb.Helper()
	plain, err := sql.Open("sqlite", address)
	if err != nil {
		tb.Fatal(err)
	}
	f := &Faults{}
	db := sql.OpenDB(connector{plain.Driver(), address, f})
	if err := plain.Close(); err != nil {
		tb.Fatal(err)
	}
	return db, f
}

// Each runs do several times. In the first run, the first call of the database
// fails, in the second run the second call, and so on. Each time do must return
// an error that matches Err. In the last run all calls work.
func (f *Faults) Each(tb testing.TB, action string, do func() error) {
	tb.Helper()
	for n := int64(1); ; n++ {
		f.remaining.Store(n)
		err := do()
		failed := f.remaining.Swap(0) < 0
		switch {
		case !failed && err != nil:
			tb.Fatalf("%s without a fault: %v", action, err)
		case !failed && n == 1:
			tb.Fatalf("%s does not use the database", action)
		case !failed:
			return
		case !errors.Is(err, Err):
			tb.Fatalf("%s with a fault of call %d: the error is %v", action, n, err)
		}
	}
}

// EachEnd is Each, but all calls after the one that fails also fail.
func (f *Faults) EachEnd(tb testing.TB, action string, do func() error) {
	tb.Helper()
	f.lasting.Store(true)
	defer f.lasting.Store(false)
	f.Each(tb, action, do)
}

// call returns Err if this call must fail.
func (f *Faults) call() error {
	if f.remaining.Load() < 0 && f.lasting.Load() {
		return Err
	}
	if f.remaining.Load() > 0 && f.remaining.Add(-1) == 0 {
		f.remaining.Store(-1)
		return Err
	}
	return nil
}

// call runs a call of the database, unless it must fail.
func call[T any](f *Faults, do func() (T, error)) (result T, err error) {
	if err := f.call(); err != nil {
		return result, err
	}
	return do()
}

type connector struct {
	driver  driver.Driver
	address string
	faults  *Faults
}

func (c connector) Driver() driver.Driver { return c.driver }

func (c connector) Connect(context.Context) (driver.Conn, error) {
	found, err := c.driver.Open(c.address)
	if err != nil {
		return nil, err
	}
	return conn{found, c.faults}, nil
}

type conn struct {
	driver.Conn

	faults *Faults
}

func (c conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	return call(c.faults, func() (driver.Tx, error) {
		begun, err := c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
		return tx{begun, c.faults}, err
	})
}

func (c conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	return call(c.faults, func() (driver.Stmt, error) {
		prepared, err := c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, query)
		return stmt{prepared, c.faults}, err
	})
}

func (c conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return call(c.faults, func() (driver.Result, error) {
		return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
	})
}

func (c conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return call(c.faults, func() (driver.Rows, error) {
		found, err := c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
		return rows{found, c.faults}, err
	})
}

type stmt struct {
	driver.Stmt

	faults *Faults
}

func (s stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return call(s.faults, func() (driver.Result, error) {
		return s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
	})
}

func (s stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return call(s.faults, func() (driver.Rows, error) {
		found, err := s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
		return rows{found, s.faults}, err
	})
}

type rows struct {
	driver.Rows

	faults *Faults
}

func (r rows) Next(values []driver.Value) error {
	if err := r.faults.call(); err != nil {
		return err
	}
	return r.Rows.Next(values)
}

type tx struct {
	driver.Tx

	faults *Faults
}

func (t tx) Commit() error {
	if err := t.faults.call(); err != nil {
		return errors.Join(err, t.Rollback())
	}
	return t.Tx.Commit()
}
