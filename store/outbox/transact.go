package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/clixnow/clixnow-go/store/internal/batch"
)

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
		return databaseError(action, o.joined.Do(ctx, unbroken, o.runJoined))
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
func (o *Outbox) runJoined(all []*batch.Entry[transaction]) error {
	ctx := context.Background()
	return o.begin(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, e := range all {
			if _, err := tx.ExecContext(ctx, "SAVEPOINT outbox"); err != nil {
				return err
			}
			if e.Err = runSafely(ctx, e.Value, tx); e.Err != nil {
				if _, err := tx.ExecContext(ctx, "ROLLBACK TO outbox"); err != nil {
					return errors.Join(e.Err, err)
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
