package postback_test

import (
	"database/sql"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/store/internal/faulty"
	"github.com/clixnow/clixnow-go/store/mirror"
	"github.com/clixnow/clixnow-go/store/postback"
)

// TestFaultsOfDatabase checks that no fault of the database is hidden. If any
// statement fails, the caller gets an error.
func TestFaultsOfDatabase(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, db, faults := newFaultyWorld(t)
	m := w.mirror
	s := w.sender(time.Time{}, w.destination())
	created := time.Now().Add(time.Hour)
	w.save(clixnow.Lead{ID: 1, ClickID: "c1", CreatedOn: created},
		clixnow.Lead{ID: 2, ClickID: "c2", CreatedOn: created}, clixnow.Lead{ID: 3, CreatedOn: created})
	faults.Each(t, "Once", func() error { return s.Once(ctx) })
	health, err := s.Health(ctx)
	require.NoError(t, err)
	assert.Equal(t, int64(2), health[0].Sent)
	assert.Equal(t, int64(1), health[0].SkippedNoClickID)

	_, err = db.ExecContext(ctx, `INSERT INTO postback_queue (destination, event_id, brand, lead_id, macros, state,
		waiting_since, due_at) VALUES ('tracker', 1, 'acme', 1, '{}', 'failed', $1, $1)`, "2026-01-01T00:00:00.000000Z")
	require.NoError(t, err)
	faults.Each(t, "Health", func() error { _, err := s.Health(ctx); return err })
	faults.Each(t, "ListFailed", func() error {
		return postback.ListFailed(ctx, m, func(postback.Failed) error { return nil })
	})
	faults.Each(t, "Retry of one", func() error { _, err := postback.Retry(ctx, m, "tracker", 1); return err })
	faults.Each(t, "Retry of all", func() error { _, err := postback.Retry(ctx, m, "tracker"); return err })
}

// TestUnreadableRows checks that a row that cannot be read is an error, and
// that its connection goes back to the pool.
func TestUnreadableRows(t *testing.T) {
	t.Parallel()
	once := func(w *world, s *postback.Sender) error { return s.Once(w.t.Context()) }
	for _, test := range []struct {
		name, spoil string
		read        func(*world, *postback.Sender) error
	}{
		{"new event", "UPDATE lead_events SET ftd_date = 'yesterday'", once},
		{"queued event", "UPDATE postback_queue SET due_at = '', failing_since = 'yesterday'", once},
		{
			"health", "UPDATE postback_queue SET waiting_since = 'yesterday'",
			func(w *world, s *postback.Sender) error { _, err := s.Health(w.t.Context()); return err },
		},
		{
			"failed event", "UPDATE postback_queue SET state = 'failed', waiting_since = 'yesterday'",
			func(w *world, _ *postback.Sender) error {
				return postback.ListFailed(w.t.Context(), w.mirror, func(postback.Failed) error {
					assert.Fail(w.t, "it got an event that could not be read")
					return nil
				})
			},
		},
		{
			"name of a destination", "INSERT INTO postback_destinations (name, starts_at) VALUES (NULL, '')",
			func(w *world, _ *postback.Sender) error {
				_, err := postback.Retry(w.t.Context(), w.mirror, "tracker")
				return err
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sqliteKind())
			s := w.sender(moment(0), w.destination())
			w.setAnswer(status(http.StatusNotFound))
			w.save(lead(1, "New", 0))
			w.once(s)
			w.save(lead(2, "New", 0))
			w.exec(test.spoil)
			require.ErrorContains(t, test.read(w, s), "Scan error")
			assert.Zero(t, w.mirror.DB().Stats().InUse)
		})
	}
}

func newFaultyWorld(t *testing.T) (*world, *sql.DB, *faulty.Faults) {
	t.Helper()
	db, faults := faulty.Open(t, "file:"+filepath.Join(t.TempDir(), "leads.db")+
		"?_txlock=immediate&_pragma=journal_mode(WAL)")
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	m, err := mirror.Open(t.Context(), db, mirror.SQLite)
	require.NoError(t, err)
	return &world{tracker: newTracker(t), t: t, kind: sqliteKind(), mirror: m}, db, faults
}

func TestFaultsOfNew(t *testing.T) {
	t.Parallel()
	w, _, faults := newFaultyWorld(t)
	w.sender(time.Time{})
	opts := postback.Options{Destinations: []postback.Destination{w.destination()}}
	faults.EachEnd(t, "New", func() error {
		_, err := postback.New(t.Context(), w.mirror, opts)
		return err
	})
}
