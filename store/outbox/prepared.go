package outbox

import (
	"context"
	"database/sql"
)

// prepared are the statements of each try, by their text. With SQLite, parsing
// a statement takes longer than running it. The driver of PostgreSQL keeps
// parsed statements by itself.
type prepared map[string]*sql.Stmt

// prepare prepares the statements. They are closed with the database.
func prepare(ctx context.Context, db *sql.DB) (prepared, error) {
	p := make(prepared)
	for _, text := range []string{claimStatement, attemptStatement, saveStatement} {
		statement, err := db.PrepareContext(ctx, text) //nolint:sqlclosecheck // see above
		if err != nil {
			return nil, databaseError("open", err)
		}
		p[text] = statement
	}
	return p, nil
}

// preparedTx is a transaction that uses prepared statements.
type preparedTx struct {
	*sql.Tx

	statements prepared
}

func (p prepared) in(tx *sql.Tx) preparedTx { return preparedTx{tx, p} }

func (t preparedTx) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	if statement := t.statements[text]; statement != nil {
		return t.StmtContext(ctx, statement).QueryContext(ctx, args...)
	}
	return t.Tx.QueryContext(ctx, text, args...)
}

func (t preparedTx) ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error) {
	if statement := t.statements[text]; statement != nil {
		return t.StmtContext(ctx, statement).ExecContext(ctx, args...)
	}
	return t.Tx.ExecContext(ctx, text, args...)
}

// single runs a single statement, which is a transaction.
func (o *Outbox) single(ctx context.Context, action string, do func(context.Context, querier) error) error {
	if o.dialect == PostgreSQL {
		return databaseError(action, do(ctx, o.db)) // without the round trips of BEGIN and COMMIT
	}
	return o.transact(ctx, action, func(ctx context.Context, tx *sql.Tx) error { return do(ctx, o.prepared.in(tx)) })
}
