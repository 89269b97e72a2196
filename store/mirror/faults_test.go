package mirror_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
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

	server := newServer(t, clixnowtest.WithBrand("beta"), clixnowtest.WithPageLimit(10))
	server.AddLeads(lastMonth(15)...)
	run := func() error {
		saved := false
		err := m.Run(ctx, mirror.RunOptions{
			Clients: clients(t, server), Once: true, Observe: func(mirror.Status) { saved = true },
		})
		require.Equal(t, !errors.Is(err, faulty.Err), saved, "only what was saved is reported")
		return err
	}
	faults.Each(t, "Run that fails after a page", func() error {
		server.ClearFaults()
		server.Inject(clixnowtest.Fault{Times: 1}, clixnowtest.Fault{Status: 503, Times: 1_000})
		err := run()
		if errors.Is(err, faulty.Err) {
			return err
		}
		require.ErrorIs(t, err, clixnow.ErrServer)
		return nil
	})
	server.ClearFaults()
	faults.Each(t, "Run", run)
	checkLeads(t, m, server)
}

// faultOfBatch checks that Run ends with the error of a batch that was saved
// while the next one was read, and loses no lead of it.
func (k kind) faultOfBatch(t *testing.T) {
	t.Parallel()
	m := k.mirror(t)
	server := newServer(t)
	server.AddLeads(append(make([]clixnow.Lead, 2*mirror.BatchSize), clixnow.Lead{ID: 7})...)
	refuse := "CREATE TRIGGER refuse BEFORE INSERT ON leads WHEN NEW.id = 7 BEGIN SELECT RAISE(ABORT, 'no 7'); END"
	accept := "DROP TRIGGER refuse"
	if k.dialect == mirror.PostgreSQL {
		refuse = `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no 7'; END $$;
			CREATE TRIGGER refuse BEFORE INSERT ON leads FOR EACH ROW WHEN (NEW.id = 7) EXECUTE FUNCTION refuse()`
		accept = "DROP TRIGGER refuse ON leads"
	}
	_, err := m.DB().ExecContext(t.Context(), refuse)
	require.NoError(t, err)
	err = once(t, m, server)
	require.ErrorIs(t, err, mirror.ErrDatabase)
	require.ErrorContains(t, err, "no 7", "the reason is told")
	err = m.Transact(t.Context(), "save", func(ctx context.Context, tx *sql.Tx) error {
		_, err := m.Apply(ctx, tx, "beta", []clixnow.Lead{{ID: 7}})
		return err
	})
	require.ErrorContains(t, err, "no 7")
	_, err = m.DB().ExecContext(t.Context(), accept)
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
	err = once(t, m, server)
	require.ErrorIs(t, err, mirror.ErrDatabase)
	require.ErrorContains(t, err, "read the stored leads")
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
