//go:build !race

package simulation_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"modernc.org/sqlite"
)

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
	if err := d.p.store(); err != nil {
		return nil, err
	}
	h := d.p.h
	h.mu.Lock()
	defer h.mu.Unlock()
	if kept := h.conns[address]; len(kept) > 0 {
		h.conns[address] = kept[:len(kept)-1]
		return &mortalConn{kept[len(kept)-1], d.p}, nil
	}
	conn, err := h.sqlite.Open(address)
	if err != nil {
		return nil, err
	}
	return &mortalConn{&keptConn{conn.(sqliteConn), address, make(map[string]sqliteStmt)}, d.p}, nil
}

// sqliteConn is what the driver's connections can do.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
}

// sqliteStmt is what the driver's statements can do.
type sqliteStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// keptConn is a connection that is kept for the next process, with its parsed
// statements, because SQLite in Go parses slowly.
type keptConn struct {
	sqliteConn

	address string
	// idle has the statements that no rows use, by their text.
	idle map[string]sqliteStmt
}

// mortalConn is a connection of a process.
type mortalConn struct {
	*keptConn

	p *process
}

// take returns a statement that no rows use.
func (c *mortalConn) take(ctx context.Context, query string) (sqliteStmt, error) {
	if err := c.p.store(); err != nil {
		return nil, err
	}
	if s := c.idle[query]; s != nil {
		delete(c.idle, query)
		return s, nil
	}
	s, err := c.sqliteConn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.(sqliteStmt), nil
}

// give gives a statement back after it has run.
func (c *mortalConn) give(query string, s sqliteStmt, err error) {
	isPragma := strings.HasPrefix(query, "PRAGMA ") // SQLite executes some of them when it parses them
	if err != nil || isPragma || c.idle[query] != nil {
		_ = s.Close()
		return
	}
	c.idle[query] = s
}

func (c *mortalConn) ExecContext(
	ctx context.Context, query string, args []driver.NamedValue,
) (result driver.Result, err error) {
	s, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { c.give(query, s, err) }()
	return s.ExecContext(ctx, args)
}

func (c *mortalConn) QueryContext(
	ctx context.Context, query string, args []driver.NamedValue,
) (driver.Rows, error) {
	s, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := s.QueryContext(ctx, args)
	if err != nil {
		c.give(query, s, err)
		return nil, err
	}
	return &keptRows{Rows: rows, closed: func(err error) { c.give(query, s, err) }}, nil
}

// PrepareContext prepares nothing, so that its statements are steps too.
func (c *mortalConn) PrepareContext(_ context.Context, query string) (driver.Stmt, error) {
	if err := c.p.store(); err != nil {
		return nil, err
	}
	return preparedStmt{c, query}, nil
}

func (c *mortalConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if err := c.p.store(); err != nil {
		return nil, err
	}
	tx, err := c.sqliteConn.BeginTx(ctx, opts)
	return mortalTx{tx, c.p}, err
}

// Close ends the transaction, as the end of a process does.
func (c *mortalConn) Close() error {
	if !strings.Contains(c.address, "busy_timeout") { // the process may have changed something else
		return c.keptConn.Close()
	}
	_ = c.run("ROLLBACK") // mostly there is no transaction
	if err := c.run("PRAGMA busy_timeout(20000)"); err != nil {
		return errors.Join(err, c.keptConn.Close())
	}
	h := c.p.h
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns[c.address] = append(h.conns[c.address], c.keptConn)
	return nil
}

// run runs a statement that is not a step of the process.
func (c *keptConn) run(query string) error {
	s, err := c.PrepareContext(context.Background(), query)
	if err != nil {
		return err
	}
	_, err = s.(sqliteStmt).ExecContext(context.Background(), nil)
	return errors.Join(err, s.Close())
}

func (c *keptConn) Close() error {
	for _, s := range c.idle {
		_ = s.Close()
	}
	return c.sqliteConn.Close()
}

// closeConns closes the connections that are kept.
func (h *history) closeConns(t *testing.T) {
	t.Helper()
	for _, kept := range h.conns {
		for _, c := range kept {
			assert.NoError(t, c.Close())
		}
	}
}

// preparedStmt is a statement that the program has prepared.
type preparedStmt struct {
	conn  *mortalConn
	query string
}

func (s preparedStmt) Close() error                               { return nil }
func (s preparedStmt) NumInput() int                              { return -1 }
func (s preparedStmt) Exec([]driver.Value) (driver.Result, error) { return nil, driver.ErrSkip }
func (s preparedStmt) Query([]driver.Value) (driver.Rows, error)  { return nil, driver.ErrSkip }

func (s preparedStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.conn.ExecContext(ctx, s.query, args)
}

func (s preparedStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.conn.QueryContext(ctx, s.query, args)
}

// keptRows are rows whose statement is kept.
type keptRows struct {
	driver.Rows

	// failed is the error of Next. It may be nil.
	failed error
	closed func(error)
}

func (r *keptRows) Close() error {
	err := r.Rows.Close()
	r.closed(errors.Join(r.failed, err))
	return err
}

func (r *keptRows) Next(values []driver.Value) error {
	err := r.Rows.Next(values)
	if err != nil && !errors.Is(err, io.EOF) {
		r.failed = err
	}
	return err
}

type mortalTx struct {
	driver.Tx

	p *process
}

// Commit may die before the transaction is committed, or after it.
func (tx mortalTx) Commit() error {
	if err := tx.p.store(); err != nil {
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
