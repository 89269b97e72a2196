package batch

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Transactions runs functions in transactions. It is safe for concurrent use.
type Transactions struct {
	// DB is the database. It must not be nil.
	DB *sql.DB
	// Join commits the transactions of concurrent callers together. With SQLite
	// a commit takes much longer than what is in it. False means that they run
	// at the same time.
	Join bool

	joined Batcher[function]
}

type function func(ctx context.Context, tx *sql.Tx) error

// Do calls do in a transaction, and commits it if do returns nil. If ctx ends
// before, joined transactions may still be committed.
func (t *Transactions) Do(ctx context.Context, do func(ctx context.Context, tx *sql.Tx) error) error {
	if !t.Join {
		return t.run(ctx, do)
	}
	// A context that ends must not interrupt a statement, because that would
	// roll back the transactions of all callers.
	unbroken := func(_ context.Context, tx *sql.Tx) error { return do(context.WithoutCancel(ctx), tx) }
	return t.joined.Do(ctx, unbroken, t.runJoined)
}

func (t *Transactions) run(ctx context.Context, do function) error {
	tx, err := t.DB.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after a commit
	if err := do(ctx, tx); err != nil {
		return err
	}
	return tx.Commit()
}

// runJoined runs the functions of several callers in one transaction. If one of
// them fails, the others are committed.
func (t *Transactions) runJoined(all []*Entry[function]) error {
	return t.run(context.Background(), func(ctx context.Context, tx *sql.Tx) error {
		for _, e := range all {
			if _, err := tx.ExecContext(ctx, "SAVEPOINT joined"); err != nil {
				return err
			}
			if e.Err = runSafely(ctx, e.Value, tx); e.Err != nil {
				if _, err := tx.ExecContext(ctx, "ROLLBACK TO joined"); err != nil {
					return errors.Join(e.Err, err)
				}
			}
			if _, err := tx.ExecContext(ctx, "RELEASE joined"); err != nil {
				return err
			}
		}
		return nil
	})
}

// runSafely turns a panic into an error, because it must not reach the other
// callers.
func runSafely(ctx context.Context, do function, tx *sql.Tx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return do(ctx, tx)
}
