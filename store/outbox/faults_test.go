package outbox_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/router"
	"github.com/clixnow/clixnow-go/store/internal/faulty"
	"github.com/clixnow/clixnow-go/store/outbox"
)

// TestFaultsOfDatabase checks that no fault of the database is hidden. If any
// statement fails, the caller gets an error.
func TestFaultsOfDatabase(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db, faults := faulty.Open(t, outbox.SQLiteAddress(filepath.Join(t.TempDir(), "signups.db")))
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	opts := outbox.Options{Routes: []router.Route{{Client: newFakeAPI(t).client}}, TokenKey: []byte("key")}
	o, err := outbox.Open(ctx, db, outbox.SQLite, opts)
	require.NoError(t, err)

	var first, s *outbox.Signup
	add := func(req clixnow.CreateLeadRequest) func() error {
		return func() (err error) {
			s, err = o.Add(ctx, req)
			return err
		}
	}
	faults.Each(t, "Add", add(newLead("1")))
	first = s
	faults.Each(t, "Add of a double click", add(newLead("1")))
	assert.Equal(t, first.ID, s.ID)
	corrected := newLead("1")
	corrected.Email = "other@example.com"
	faults.Each(t, "Add of a correction", add(corrected))
	assert.Equal(t, first.ID, s.ID)
	faults.Each(t, "AddTx", func() error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // does nothing after a commit
		if _, err = o.AddTx(ctx, tx, newLead("2")); err != nil {
			return err
		}
		return tx.Commit()
	})

	for action, do := range map[string]func() error{
		"Get":          func() error { _, err := o.Get(ctx, first.ID); return err },
		"ByToken":      func() error { _, err := o.ByToken(ctx, s.Token); return err },
		"Wait":         func() error { _, err := o.Wait(ctx, first.ID); return err },
		"List":         func() error { _, err := o.List(ctx, outbox.Query{Before: first.ID}); return err },
		"Counts":       func() error { _, err := o.Counts(ctx); return err },
		"Check":        func() error { return o.Check(ctx) },
		"History":      func() error { _, err := o.History(ctx, first.ID); return err },
		"Retry":        func() error { return o.Retry(ctx, first.ID, "me") },
		"Backup":       func() error { return o.Backup(ctx, filepath.Join(t.TempDir(), "backup.db")) },
		"Correct":      func() error { return o.Correct(ctx, first.ID, outbox.Correction{Phone: "+4144"}, "me") },
		"GiveUp":       func() error { return o.GiveUp(ctx, first.ID, "me") },
		"MarkRestored": func() error { _, err := o.MarkRestored(ctx); return err },
	} {
		_, err := db.ExecContext(ctx, "UPDATE outbox_signups SET status = 'doubtful' WHERE id = $1", first.ID)
		require.NoError(t, err)
		faults.Each(t, action, do)
	}
}

// TestDamagedRows checks that a row that cannot be read is an error.
func TestDamagedRows(t *testing.T) {
	t.Parallel()
	r := sqliteKind().idle(t, outbox.Options{})
	s := r.add(t, "1")
	for _, damage := range []string{"lead = '{'", "lead = '{}', created_at = 'yesterday'"} {
		_, err := r.db.ExecContext(t.Context(), "UPDATE outbox_signups SET "+damage)
		require.NoError(t, err)
		_, err = r.Get(t.Context(), s.ID)
		require.ErrorIs(t, err, outbox.ErrDatabase, damage)
		_, err = r.List(t.Context(), outbox.Query{})
		require.ErrorIs(t, err, outbox.ErrDatabase, damage)
	}
	_, err := r.Counts(t.Context())
	require.ErrorIs(t, err, outbox.ErrDatabase)
	require.NoError(t, r.Check(t.Context()), "the only connection is free again")
}

func TestFaultsOfOpen(t *testing.T) {
	t.Parallel()
	db, faults := faulty.Open(t, outbox.SQLiteAddress(filepath.Join(t.TempDir(), "signups.db")))
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	open := func() error {
		_, err := outbox.Open(t.Context(), db, outbox.SQLite, outbox.Options{})
		return err
	}
	require.NoError(t, open())
	assert.Equal(t, 1, db.Stats().MaxOpenConnections, "SQLite has only one writer")
	faults.EachEnd(t, "Open", open)
}
