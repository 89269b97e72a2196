package reconcile_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/internal/postgrestest"
	"github.com/clixnow/clixnow-go/store/outbox"
)

// TestOutbox reads the outbox's own table in both databases.
func TestOutbox(t *testing.T) {
	t.Parallel()
	for _, driver := range []string{"sqlite", "pgx"} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			address := filepath.Join(t.TempDir(), "out box?.db")
			dialect, source := outbox.SQLite, outbox.SQLiteAddress(address)
			if driver == "pgx" {
				address = postgrestest.New(t).URL
				dialect, source = outbox.PostgreSQL, address
			}
			db, err := sql.Open(driver, source)
			require.NoError(t, err)
			defer func() { _ = db.Close() }()
			_, err = outbox.Open(t.Context(), db, dialect, outbox.Options{})
			require.NoError(t, err)
			fillOutbox(t, db)

			brand := clixnowtest.NewServer()
			defer brand.Close()
			brand.AddLeads(lead(1, nil), lead(3, nil), lead(6, email("x@example.com")), lead(10, nil))
			got := run(t, brand, "--from", "2021-11-01", "--to", "2021-11-30", "--db", address, "-o", "json")
			assert.Equal(t, []string{
				"missing_there outbox:s2 2 click-2", "email_differs outbox:s6 6 click-6", "unknown_here 10 click-10",
				"in_doubt outbox:s4 0 click-4 the lead is not there", "in_doubt outbox:s3 3 click-3 the lead is there",
			}, got.findings(t))
			assert.Contains(t, got.errs, "Not compared: 1 of other brands, 2 refused or not sent\n")
			assert.Equal(t, 1, got.code)
			var n int
			require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(*) FROM outbox_signups`).Scan(&n))
			assert.Equal(t, 9, n)

			// A file adds deposits to the same registrations.
			file := write(t, "click_id,ftd\nclick-1,2021-11-07\n")
			got = run(t, brand, "--from", "2021-11-01", "--to", "2021-11-30", "--db", address, "-o", "jsonl", file)
			assert.Contains(t, got.out, `{"kind":"cannot_tell","source":"`+file+`:2","leadId":1,`)

			_, err = db.ExecContext(t.Context(), `DROP TABLE outbox_signups`)
			require.NoError(t, err)
			got = run(t, brand, "--from", "2021-11-01", "--db", address)
			assert.Equal(t, 2, got.code)
			assert.Equal(t,
				"clixnow: --db: read the outbox: the database has no table outbox_signups: it must be that of "+
					"\"clixnow serve\"\n", got.errs)
		})
	}
}

// fillOutbox makes sign-ups of all statuses, one of them at another brand, and
// one outside the period.
func fillOutbox(t *testing.T, db *sql.DB) {
	t.Helper()
	for i, row := range []struct {
		status, brand, attempt string
		leadID                 int64
		day                    int
	}{
		{"registered", "acme", "", 1, 5},
		{"registered", "acme", "", 2, 5},
		{"doubtful", "", "acme", 0, 5},
		{"pending", "", "acme", 0, 5},
		{"pending", "", "", 0, 5},
		{"registered", "acme", "", 6, 5},
		{"refused", "", "", 0, 5},
		{"registered", "acme", "", 8, -10},
		{"registered", "beta", "", 9, 5},
	} {
		request := clixnow.CreateLeadRequest{
			Email: fmt.Sprintf("visitor%d@example.com", i+1), ClickID: fmt.Sprintf("click-%d", i+1),
		}
		data, err := request.MarshalJSON()
		require.NoError(t, err)
		created := at(row.day, 12).UTC().Format("2006-01-02T15:04:05.000000Z")
		_, err = db.ExecContext(t.Context(), `INSERT INTO outbox_signups (id, click_hash, job_id, lead, search, status,
			created_at, brand, attempt_brand, lead_id, password) VALUES ($1, $2, 1, $3, '', $4, $5, $6, $7, $8, '')`,
			fmt.Sprintf("s%d", i+1), fmt.Sprintf("hash %d", i), string(data), row.status, created, row.brand,
			row.attempt,
			row.leadID)
		require.NoError(t, err)
	}
}
