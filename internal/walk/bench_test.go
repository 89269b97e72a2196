package walk_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/internal/walk"
)

// still returns a list of n items that do not change, in pages of 100.
func still(n int) walk.List[item] {
	all := items(1, int64(n))
	return walk.List[item]{
		Fetch: func(_ context.Context, skip, count int, room []item) ([]item, error) {
			page := all[min(skip, len(all)):]
			return append(room, page[:min(count, len(page))]...), nil
		},
		ID: itemID, Version: itemVersion, Count: 100,
	}
}

func countItems(tb testing.TB, l walk.List[item]) (n int) {
	tb.Helper()
	for _, err := range l.Items(tb.Context()) {
		require.NoError(tb, err)
		n++
	}
	return n
}

func BenchmarkList(b *testing.B) {
	const n = 10_000
	for _, kind := range kinds {
		b.Run(string(kind), func(b *testing.B) {
			l := kind.apply(still(n))
			b.ReportAllocs()
			for b.Loop() {
				require.Equal(b, n, countItems(b, l))
			}
		})
	}
}

func BenchmarkFeed(b *testing.B) {
	const n = 10_000
	all := entries(n, time.Minute)
	b.ReportAllocs()
	for b.Loop() {
		feed := (&journal{items: all, at: epoch().Add(n * time.Minute)}).feed(100)
		read := 0
		more, err := feed.Pass(b.Context(), func(item, time.Time) bool {
			read++
			return true
		})
		require.NoError(b, err)
		require.True(b, more)
		require.Equal(b, n, read)
	}
}

// By id, the memory of a walk does not grow with the number of items.
func TestListMemoryByID(t *testing.T) { //nolint:paralleltest // allocations are counted for the whole program
	allocations := func(kind kind, n int) float64 {
		l := kind.apply(still(n))
		return testing.AllocsPerRun(5, func() { countItems(t, l) })
	}
	require.Less(t, allocations(ascendingIDs, 20_000), allocations(ascendingIDs, 200)+3)
	require.Greater(t, allocations(movingItems, 20_000), allocations(movingItems, 200)+3)
}
