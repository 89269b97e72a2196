package walk_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/internal/walk"
)

var (
	walks = flag.Int("walks", 200, "how often to walk a list of each kind")
	seed  = flag.Uint64("seed", 0, "seed of the first walk of each kind")
)

// TestListUnderChange walks lists that change between and during the requests.
// Whatever stays for the whole walk must be yielded, and nothing twice, or the
// walk must say that it is unstable.
func TestListUnderChange(t *testing.T) {
	t.Parallel()
	for _, by := range []order{byID, byCreated, byModified, byDeposit, newest} {
		for _, ahead := range []bool{false, true} {
			for _, skips := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s ahead=%t skip=%t", by, ahead, skips), func(t *testing.T) {
					t.Parallel()
					unstable := 0
					for n := range uint64(*walks) {
						if ahead {
							synctest.Test(t, func(t *testing.T) { unstable += oneWalk(t, by, *seed+n, ahead, skips) })
						} else {
							unstable += oneWalk(t, by, *seed+n, ahead, skips)
						}
					}
					t.Logf("%d of %d walks were unstable", unstable, *walks)
				})
			}
		}
	}
}

func oneWalk(t *testing.T, by order, seed uint64, ahead, skips bool) (unstable int) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	table := newTable(random, by)
	list := table.list(1 + random.IntN(50))
	if by == newest {
		list.Count++ // one item shows no order
	}
	if skips {
		list.Skip = 1 + random.IntN(30)
	}
	if random.IntN(4) == 0 {
		list.Limit = 1 + random.IntN(60)
		list.Count = min(list.Count, list.Limit)
	}
	if ahead {
		list.Prefetch = 1 + random.IntN(6)
		list.Fetch = slowly(seed, list.Fetch)
	}

	yielded := make(map[int64]bool)
	for item, err := range list.Items(t.Context()) {
		if errors.Is(err, walk.ErrUnstable) {
			return 1
		}
		require.NoError(t, err, "seed %d", seed)
		require.False(t, yielded[item.ID], "seed %d: item %d twice", seed, item.ID)
		yielded[item.ID] = true
	}
	if list.Limit > 0 && len(yielded) == list.Limit {
		return 0
	}
	for id := range table.staying {
		require.True(t, yielded[id], "seed %d: item %d is missing of %v", seed, id,
			slices.Sorted(maps.Keys(table.staying)))
	}
	return 0
}

type fetchFunc = func(ctx context.Context, skip, count int, room []item) ([]item, error)

// slowly delays requests and answers, each by a time of its own, so that
// answers come in any order.
func slowly(seed uint64, fetch fetchFunc) fetchFunc {
	return func(ctx context.Context, skip, count int, room []item) ([]item, error) {
		h := fnv.New64a()
		fmt.Fprint(h, seed, skip, count, time.Now().UnixNano())
		random := rand.New(rand.NewPCG(h.Sum64(), 2))
		time.Sleep(time.Duration(random.IntN(1e9)))
		items, err := fetch(ctx, skip, count, room)
		time.Sleep(time.Duration(random.IntN(1e9)))
		return items, err
	}
}
