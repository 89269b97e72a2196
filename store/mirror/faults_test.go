package mirror_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/store/internal/faulty"
	"github.com/clixnow/clixnow-go/store/mirror"
)

// TestFaultsOfDatabase checks that no fault of the database is hidden. If any
// statement fails, the caller gets an error.
func TestFaultsOfDatabase(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db, faults := faulty.Open(t, sqliteAddress(filepath.Join(t.TempDir(), "leads.db")))
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	m, err := mirror.Open(ctx, db, mirror.SQLite)
	require.NoError(t, err)
	faults.Each(t, "OpenReadOnly", func() error {
		_, err := mirror.OpenReadOnly(ctx, db, mirror.SQLite)
		return err
	})

	for _, address := range []string{"https://a.example.com", "https://b.example.com", "https://b.example.com"} {
		faults.Each(t, "Claim", func() error { return m.Claim(ctx, "acme", address) })
	}
	leads := make([]clixnow.Lead, 45)
	for _, status := range []string{"new", "called"} {
		for i := range leads {
			leads[i] = clixnow.Lead{ID: int64(i + 1), Status: status}
		}
		faults.Each(t, "Apply", func() error {
			return m.Transact(ctx, "save", func(ctx context.Context, tx *sql.Tx) error {
				_, err := m.Apply(ctx, tx, "acme", leads)
				return err
			})
		})
	}
	faults.Each(t, "Leads", func() error {
		for _, err := range m.Leads(ctx, mirror.Query{}) {
			if err != nil {
				return err
			}
		}
		return nil
	})
	faults.Each(t, "Events", func() error { _, err := m.Events(ctx, 0, 10); return err })
	faults.Each(t, "EventsDone", func() error { _, err := m.EventsDone(ctx, "reader"); return err })
	faults.Each(t, "SetEventsDone", func() error { return m.SetEventsDone(ctx, "reader", 2) })
	faults.Each(t, "Positions", func() error { _, err := m.Positions(ctx); return err })
	faults.Each(t, "HandleEvents", func() error {
		return m.HandleEvents(ctx, "reader", 50, func([]mirror.Event) error { return nil })
	})
}

// TestFaultOfBatch checks that Run ends with the error of a batch that was
// saved while the next one was read, and loses no lead of it.
func TestFaultOfBatch(t *testing.T) {
	t.Parallel()
	m := sqliteKind().mirror(t)
	server := newServer(t)
	server.AddLeads(append(make([]clixnow.Lead, 2*mirror.BatchSize), clixnow.Lead{ID: 7})...)
	const full = "CREATE TRIGGER full BEFORE INSERT ON leads WHEN NEW.id = 7 BEGIN SELECT RAISE(ABORT, 'full'); END"
	_, err := m.DB().ExecContext(t.Context(), full)
	require.NoError(t, err)
	require.ErrorIs(t, once(t, m, server), mirror.ErrDatabase)
	_, err = m.DB().ExecContext(t.Context(), "DROP TRIGGER full")
	require.NoError(t, err)
	require.NoError(t, once(t, m, server))
	checkLeads(t, m, server)
}

// TestDamagedRows checks that a row that cannot be read is an error.
func TestDamagedRows(t *testing.T) {
	t.Parallel()
	db, _ := faulty.Open(t, sqliteAddress(filepath.Join(t.TempDir(), "leads.db")))
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	m, err := mirror.Open(t.Context(), db, mirror.SQLite)
	require.NoError(t, err)
	server := newServer(t)
	server.AddLeads(clixnow.Lead{ID: 1})
	require.NoError(t, once(t, m, server))
	for _, damage := range []string{
		"UPDATE leads SET extra = '{'",
		"UPDATE leads SET extra = NULL, brand_id = 'one'",
	} {
		_, err := db.ExecContext(t.Context(), damage)
		require.NoError(t, err)
		var found []error
		for _, err := range m.Leads(t.Context(), mirror.Query{}) {
			found = append(found, err)
		}
		require.Len(t, found, 1)
		require.Error(t, found[0], damage)
	}
	server.AddLeads(clixnow.Lead{ID: 1, Status: "called"})
	require.ErrorIs(t, once(t, m, server), mirror.ErrDatabase)
	require.NoError(t, m.Claim(t.Context(), "beta", "https://b.example.com"))
	positions, err := m.Positions(t.Context())
	require.NoError(t, err)
	assert.Len(t, positions, 2)
}

func TestFaultsOfOpen(t *testing.T) {
	t.Parallel()
	db, faults := faulty.Open(t, sqliteAddress(filepath.Join(t.TempDir(), "leads.db")))
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	open := func() error {
		_, err := mirror.Open(t.Context(), db, mirror.SQLite)
		return err
	}
	require.NoError(t, open())
	faults.EachEnd(t, "Open", open)
}
