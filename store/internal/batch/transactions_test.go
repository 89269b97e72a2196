package batch_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/clixnow/clixnow-go/store/internal/batch"
	"github.com/clixnow/clixnow-go/store/internal/sqlitefile"
)

// TestTransactions checks that a function that fails or panics changes nothing,
// and that those of other callers are committed.
func TestTransactions(t *testing.T) {
	t.Parallel()
	for _, join := range []bool{false, true} {
		t.Run(fmt.Sprint("join ", join), func(t *testing.T) {
			t.Parallel()
			db, err := sql.Open("sqlite", sqlitefile.Address(filepath.Join(t.TempDir(), "test.db")))
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, db.Close()) })
			db.SetMaxOpenConns(1)
			_, err = db.ExecContext(t.Context(), "CREATE TABLE numbers (n INTEGER)")
			require.NoError(t, err)
			transactions := batch.Transactions{DB: db, Join: join}
			failed := errors.New("failed")
			var wait sync.WaitGroup
			for n := range 90 {
				wait.Go(func() {
					err := transactions.Do(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
						_, err := tx.ExecContext(ctx, "INSERT INTO numbers (n) VALUES ($1)", n)
						switch {
						case err != nil || n%3 == 0:
							return err
						case n%3 == 1 && join:
							panic("a fault of the caller")
						}
						return failed
					})
					switch {
					case n%3 == 0:
						assert.NoError(t, err)
					case n%3 == 1 && join:
						assert.ErrorContains(t, err, "a fault of the caller")
					default:
						assert.ErrorIs(t, err, failed)
					}
				})
			}
			wait.Wait()
			var number, wrong int
			require.NoError(t, db.QueryRowContext(t.Context(),
				"SELECT count(*), count(*) FILTER (WHERE n % 3 <> 0) FROM numbers").Scan(&number, &wrong))
			assert.Equal(t, 30, number)
			assert.Zero(t, wrong)
		})
	}
}
