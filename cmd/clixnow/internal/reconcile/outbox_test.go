package reconcile_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/internal/postgrestest"
)

// TestOutbox reads the outbox's own table in both databases.
func TestOutbox(t *testing.T) {
	t.Parallel()
	for _, driver := range []string{"sqlite", "pgx"} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			address := filepath.Join(t.TempDir(), "out box?.db")
			source := "file:" + filepath.Dir(address) + "/out%20box%3f.db?_pragma=journal_mode(WAL)"
			if driver == "pgx" {
				address = postgrestest.New(t).URL
				source = address
			}
			db, err := sql.Open(driver, source)
			require.NoError(t, err)
			defer func() { _ = db.Close() }()
			fillOutbox(t, db)

			brand := clixnowtest.NewServer()
			defer brand.Close()
			brand.AddLeads(lead(1, nil), lead(3, nil), lead(6, email("x@example.com")), lead(10, nil))
			got := run(t, brand, "--from", "2021-11-01", "--to", "2021-11-30", "--db", address, "-o", "json")
			assert.Equal(t, []string{
				"missing_there outbox:s2 2 click-2", "email_differs outbox:s6 6 click-6", "unknown_here 10 click-10",
				"in_doubt outbox:s4 0 click-4 the lead is not there", "in_doubt outbox:s3 3 click-3 the lead is there",
			}, got.findings(t))
			assert.Contains(t, got.errs, "Not compared: 2 refused or not sent\n")
			assert.Equal(t, 1, got.code)
			var n int
			require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(*) FROM signups`).Scan(&n))
			assert.Equal(t, 8, n)

			// A file adds deposits to the same registrations.
			file := write(t, "click_id,ftd\nclick-1,2021-11-07\n")
			got = run(t, brand, "--from", "2021-11-01", "--to", "2021-11-30", "--db", address, "-o", "jsonl", file)
			assert.Contains(t, got.out, `{"kind":"cannot_tell","source":"`+file+`:2","leadId":1,`)

			_, err = db.ExecContext(t.Context(), `DROP TABLE signups`)
			require.NoError(t, err)
			got = run(t, brand, "--from", "2021-11-01", "--db", address)
			assert.Equal(t, 2, got.code)
			assert.Equal(t,
				"clixnow: --db: read the outbox: the database has no table signups: it must be that of the outbox\n",
				got.errs)
		})
	}
}

// fillOutbox makes sign-ups of all statuses, and two outside the period.
func fillOutbox(t *testing.T, db *sql.DB) {
	t.Helper()
	schema, err := os.ReadFile("../../outbox/schema.sql")
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), string(schema))
	require.NoError(t, err)
	for i, row := range []struct {
		status       string
		leadID, sent any
		day          int
	}{
		{"registered", 1, 1, 5},
		{"registered", 2, 1, 5},
		{"doubtful", nil, 1, 5},
		{"pending", nil, 1, 5},
		{"pending", nil, nil, 5},
		{"registered", 6, 1, 5},
		{"refused", nil, nil, 5},
		{"registered", 8, 1, -10},
	} {
		request := clixnow.CreateLeadRequest{
			Email: fmt.Sprintf("visitor%d@example.com", i+1), ClickID: fmt.Sprintf("click-%d", i+1),
		}
		data, err := request.MarshalJSON()
		require.NoError(t, err)
		_,
			err = db.ExecContext(t.Context(),
			`INSERT INTO signups (id, token, click_id, job_id, lead, status, created_at,
			lead_id, first_attempt_at) VALUES ($1, $2, $3, 1, $4, $5, $6, $7, $8)`, fmt.Sprintf("s%d", i+1),
			fmt.Sprintf("token %d", i), request.ClickID, string(data), row.status, at(row.day, 12).UnixMilli(),
			row.leadID, row.sent)
		require.NoError(t, err)
	}
}
