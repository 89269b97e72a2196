package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
)

// batcher runs the values of concurrent callers in batches: while one batch
// runs, the next one gathers. Its zero value is usable.
type batcher[T any] struct {
	mu      sync.Mutex
	waiting []*entry[T]
	running bool
}

type entry[T any] struct {
	value T
	err   error
	done  chan struct{}
}

// do runs a value together with others, and returns its error. run sets the
// error of each entry, or returns one for all. If ctx ends, do returns at once,
// and the value may still be run.
func (b *batcher[T]) do(ctx context.Context, value T, run func([]*entry[T]) error) error {
	e := &entry[T]{value: value, done: make(chan struct{})}
	b.mu.Lock()
	b.waiting = append(b.waiting, e)
	if !b.running {
		b.running = true
		go b.loop(run)
	}
	b.mu.Unlock()
	select {
	case <-e.done:
		return e.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// loop runs batches until no caller waits.
func (b *batcher[T]) loop(run func([]*entry[T]) error) {
	const limit = 100
	for {
		b.mu.Lock()
		n := min(len(b.waiting), limit)
		batch := b.waiting[:n:n]
		b.waiting = b.waiting[n:]
		b.running = n > 0
		b.mu.Unlock()
		if n == 0 {
			return
		}
		err := run(batch)
		for _, e := range batch {
			if err != nil {
				e.err = err
			}
			close(e.done)
		}
	}
}

// transaction is a part of a transaction.
type transaction func(ctx context.Context, tx *sql.Tx) error

// transact calls do in a transaction, and commits it if do returns nil. With
// SQLite, the transactions of concurrent callers are committed together,
// because a commit takes much longer than what is in it. action describes it in
// errors.
func (o *Outbox) transact(ctx context.Context, action string, do transaction) error {
	if o.dialect == SQLite {
		// A context that ends must not interrupt a statement, because that
		// would roll back the transactions of all callers.
		unbroken := func(_ context.Context, tx *sql.Tx) error { return do(context.WithoutCancel(ctx), tx) }
		return databaseError(action, o.joined.do(ctx, unbroken, o.runJoined))
	}
	return databaseError(action, o.begin(ctx, do))
}

func (o *Outbox) begin(ctx context.Context, do transaction) error {
	tx, err := o.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after a commit
	if err := do(ctx, tx); err != nil {
		return err
	}
	return tx.Commit()
}

// runJoined runs the transactions of several callers in one. If one of them
// fails, the others are committed.
func (o *Outbox) runJoined(batch []*entry[transaction]) error {
	ctx := context.Background()
	return o.begin(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, e := range batch {
			if _, err := tx.ExecContext(ctx, "SAVEPOINT outbox"); err != nil {
				return err
			}
			if e.err = runSafely(ctx, e.value, tx); e.err != nil {
				if _, err := tx.ExecContext(ctx, "ROLLBACK TO outbox"); err != nil {
					return errors.Join(e.err, err)
				}
			}
			if _, err := tx.ExecContext(ctx, "RELEASE outbox"); err != nil {
				return err
			}
		}
		return nil
	})
}

// runSafely turns a panic into an error, because it must not reach the other
// callers.
func runSafely(ctx context.Context, do transaction, tx *sql.Tx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return do(ctx, tx)
}

// exec runs a statement and returns the number of rows that it has changed.
func exec(ctx context.Context, tx *sql.Tx, statement string, args ...any) (rows int64, err error) {
	result, err := tx.ExecContext(ctx, statement, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}
