package mirror

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/store/internal/faulty"
)

// TestCompare checks which leads are written, and the numbers of the events.
func TestCompare(t *testing.T) {
	t.Parallel()
	records := func(leads ...clixnow.Lead) (all []record) {
		for i := range leads {
			r, err := recordOf(&leads[i])
			require.NoError(t, err)
			all = append(all, r)
		}
		return all
	}
	known := map[int64]record{}
	for _, r := range records(clixnow.Lead{ID: 1, BrandID: 1, Status: "new"}, clixnow.Lead{ID: 2, Status: "new"}) {
		known[r.ints[0]] = r
	}
	leads := records(
		clixnow.Lead{ID: 1, BrandID: 1, Status: "new"},
		clixnow.Lead{ID: 2, Status: "called"}, clixnow.Lead{ID: 2, Status: "called", Sub2: "x"},
		clixnow.Lead{ID: 3, Status: "new"},
	)
	changed, events := compare(known, leads, 7)
	assert.Equal(t, []record{leads[2], leads[3]}, changed, "an unchanged lead is not written")
	var got [][2]int64
	for _, e := range events {
		got = append(got, e.ints)
	}
	assert.Equal(t, [][2]int64{{8, 2}, {9, 3}}, got)
	assert.Equal(t, []string{"status changed", "new", "called"}, events[0].texts[:3])
	assert.Equal(t, []string{"created", "", "new"}, events[1].texts[:3])

	changed, events = compare(known, records(clixnow.Lead{ID: 1, BrandID: 2, Status: "new"}), 0)
	assert.Len(t, changed, 1, "another brand id is a change")
	assert.Empty(t, events)
}

func TestFaultsOfIndexes(t *testing.T) {
	t.Parallel()
	db, faults := faulty.Open(t, "file:"+filepath.Join(t.TempDir(), "leads.db"))
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	m, err := Open(t.Context(), db, SQLite)
	require.NoError(t, err)
	faults.Each(t, "createIndexes", func() error { return m.Transact(t.Context(), "create indexes", m.createIndexes) })
}
