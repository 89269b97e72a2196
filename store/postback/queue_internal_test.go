package postback

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/store/internal/faulty"
	"github.com/clixnow/clixnow-go/store/mirror"
)

// TestStableID checks that a new version of the program gives events the same
// ids.
func TestStableID(t *testing.T) {
	t.Parallel()
	updated := time.Date(2026, 5, 1, 14, 1, 0, 0, time.FixedZone("", 7200))
	deposited := time.Date(2026, 5, 1, 12, 2, 0, 500_000_000, time.UTC)
	for want, e := range map[string]mirror.Event{
		"648a148f16cefd971db9c3b2f381348b": {Kind: clixnow.LeadCreated, Status: "New", UpdatedOn: updated},
		"2f4291a0f1791df3e8ca66e2e1a4b2fe": {Kind: clixnow.LeadStatusChanged, Status: "Old", UpdatedOn: updated},
		"96d53aa6fd80384cff9ab784735d1396": {Kind: clixnow.LeadDeposited, Status: "Old", FTDDate: deposited},
		"180b97866e69b9fd1b72d6cb49c2a689": {Kind: clixnow.LeadDepositWithdrawn, Status: "Old"},
	} {
		e.Brand, e.LeadID = "acme", 42
		assert.Equal(t, want, (&event{Event: e}).stableID(), e.Kind)
	}
}

// TestSaveAfterADay checks what is given up when a tracker has failed for
// exactly a day, and that no fault of the database is hidden.
func TestSaveAfterADay(t *testing.T) {
	t.Parallel()
	ctx, now := t.Context(), time.Now()
	db, faults := faulty.Open(t, "file:"+filepath.Join(t.TempDir(), "leads.db")+"?_txlock=immediate")
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	m, err := mirror.Open(ctx, db, mirror.SQLite)
	require.NoError(t, err)
	s, err := New(ctx, m, Options{
		From:         now.Add(-time.Hour),
		Destinations: []Destination{{Name: "a", URL: "https://a.example/?id={clickId}"}},
	})
	require.NoError(t, err)
	other := compiled(t, Destination{Name: "b", URL: "https://a.example/?id={clickId}"})
	faults.Each(t, "register", func() error { return s.register(ctx, other, time.Time{}) })
	d := s.destinations[0]
	require.NoError(t, m.Transact(ctx, "test", func(ctx context.Context, tx *sql.Tx) error {
		_, err := m.Apply(ctx, tx, "acme", []clixnow.Lead{
			{ID: 1, ClickID: "1", CreatedOn: now, FTDDate: now}, {ID: 2, ClickID: "2", CreatedOn: now, FTDDate: now},
		})
		return err
	}))
	_, err = s.enqueue(ctx, d)
	require.NoError(t, err)
	items, err := s.due(ctx, d, 1)
	require.NoError(t, err)
	require.Len(t, items, 1)
	dayLater := now.Add(giveUpAfter)
	save := func(o outcome) func() error {
		return func() error { return s.save(ctx, d, items, []outcome{o}, dayLater) }
	}

	items[0].failingSince = now
	faults.Each(t, "save", save(outcome{err: errors.New("refused")}))
	assert.EqualValues(t, 1, d.givenUp, "the other event has not failed")
	d.failingSince = now.Add(time.Nanosecond)
	faults.Each(t, "save", save(outcome{err: errors.New("down"), everyone: true}))
	assert.EqualValues(t, 2, d.givenUp, "the event again, but not the destination")
	d.failingSince = now
	_, err = db.ExecContext(ctx, "UPDATE postback_queue SET state = 'waiting', waiting_since = $1",
		"2026-01-01T00:00:00.000000Z")
	require.NoError(t, err)
	faults.Each(t, "save", save(outcome{err: errors.New("down"), everyone: true}))
	assert.EqualValues(t, 4, d.givenUp, "all events of the destination")
	all, err := s.Health(ctx)
	require.NoError(t, err)
	assert.Equal(t, []int64{0, 2}, []int64{all[0].Waiting, all[0].Failed})
}
