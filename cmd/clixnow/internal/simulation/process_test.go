//go:build !race

package simulation_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"modernc.org/sqlite"
)

var errDead = errors.New("the process is dead")

// process is a process that can die. After its death it changes nothing: each
// step in the database and in the network fails.
type process struct {
	h *history
	// name is gateway or follower.
	name string
	ctx  context.Context //nolint:containedctx // it is the life of the process
	// stop ends the process gracefully.
	stop context.CancelFunc

	steps, dieAt atomic.Int64
	dead         atomic.Bool
}

// newProcess returns a process that dies after a random number of steps, or
// never.
func (h *history) newProcess(t *testing.T, name string, life int) *process {
	t.Helper()
	p := &process{h: h, name: name}
	p.ctx, p.stop = context.WithCancel(t.Context())
	if !h.healed.Load() && h.chance(2, name, "dies", life) {
		p.dieAt.Store(int64(1 + h.number(300, name, "dies at", life)))
	}
	return p
}

// step is a point at which the process may die. It returns errDead if the
// process is dead.
func (p *process) step() error {
	if p.steps.Add(1) == p.dieAt.Load() {
		p.h.total.add("deaths")
		p.dead.Store(true)
		p.stop()
	}
	if p.dead.Load() {
		return errDead
	}
	return nil
}

// open opens an SQLite database by its address.
func (p *process) open(address string) *sql.DB {
	return sql.OpenDB(connector{mortalDriver{p}, address})
}

type connector struct {
	driver  mortalDriver
	address string
}

func (c connector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.address) }
func (c connector) Driver() driver.Driver                        { return c.driver }

// mortalDriver is the driver of SQLite in a process that can die.
type mortalDriver struct{ p *process }

func (d mortalDriver) Open(address string) (driver.Conn, error) {
	if err := d.p.step(); err != nil {
		return nil, err
	}
	conn, err := d.p.h.sqlite.Open(address)
	if err != nil {
		return nil, err
	}
	return mortalConn{conn.(sqliteConn), d.p}, nil
}

// sqliteConn is what the driver's connections can do.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
}

type mortalConn struct {
	sqliteConn

	p *process
}

func (c mortalConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if err := c.p.step(); err != nil {
		return nil, err
	}
	return c.sqliteConn.ExecContext(ctx, query, args)
}

func (c mortalConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if err := c.p.step(); err != nil {
		return nil, err
	}
	return c.sqliteConn.QueryContext(ctx, query, args)
}

func (c mortalConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	if err := c.p.step(); err != nil {
		return nil, err
	}
	return c.sqliteConn.PrepareContext(ctx, query)
}

func (c mortalConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if err := c.p.step(); err != nil {
		return nil, err
	}
	tx, err := c.sqliteConn.BeginTx(ctx, opts)
	return mortalTx{tx, c.p}, err
}

type mortalTx struct {
	driver.Tx

	p *process
}

// Commit may die before the transaction is committed, or after it.
func (tx mortalTx) Commit() error {
	if err := tx.p.step(); err != nil {
		_ = tx.Rollback()
		return err
	}
	if err := tx.Tx.Commit(); err != nil {
		return err
	}
	return tx.p.step()
}

// datetime replaces a function of SQL by which River asks for the time, because
// SQLite does not know about virtual time. River also uses it to add a number
// of seconds.
func datetime(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
	const layout = "2006-01-02 15:04:05.000"
	at := time.Now().UTC()
	text, ok := args[0].(string)
	if !ok {
		return nil, errors.New("unexpected time")
	}
	if text != "now" {
		var err error
		if at, err = time.Parse(layout, text); err != nil {
			return nil, err
		}
	}
	for _, arg := range args[1:] {
		var seconds float64
		if modifier, _ := arg.(string); modifier != "subsec" {
			if _, err := fmt.Sscanf(modifier, "%f seconds", &seconds); err != nil {
				return nil, err
			}
			at = at.Add(time.Duration(seconds * float64(time.Second)))
		}
	}
	return at.Format(layout), nil
}

func registerDatetime(t *testing.T) {
	t.Helper()
	require.NoError(t, sqlite.RegisterScalarFunction("datetime", -1, datetime))
}
