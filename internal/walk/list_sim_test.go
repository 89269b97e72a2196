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
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/internal/walk"
)

var (
	walks = flag.Int("walks", 200, "the number of walks of each kind")
	seed  = flag.Uint64("seed", 0, "the seed of the first walk of each kind")
)

// TestListUnderChange walks lists that change between and during the requests.
// An item that stays for the whole walk must be yielded, and no item twice, or
// the walk must end with ErrUnstable.
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
							synctest.Test(t, func(t *testing.T) {
								_, failed := oneWalk(t, by, *seed+n, ahead, skips)
								unstable += failed
							})
						} else {
							_, failed := oneWalk(t, by, *seed+n, ahead, skips)
							unstable += failed
						}
					}
					t.Logf("%d of %d walks were unstable", unstable, *walks)
					require.LessOrEqual(t, unstable, max(10, *walks/10), "too many to be useful")
				})
			}
		}
	}
}

func oneWalk(t *testing.T, by order, seed uint64, ahead, skips bool) (requests, unstable int) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	table := newTable(random, by)
	list := table.list(1 + random.IntN(50))
	if by == newest {
		list.Count++ // one item has no order
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
			return table.sent, 1
		}
		require.NoError(t, err, "seed %d", seed)
		require.False(t, yielded[item.ID], "seed %d: item %d twice", seed, item.ID)
		yielded[item.ID] = true
	}
	if list.Limit > 0 && len(yielded) == list.Limit {
		return table.sent, 0
	}
	require.Less(t, table.sent, 3000, "seed %d: requests", seed)
	for id := range table.staying {
		require.True(t, yielded[id], "seed %d: item %d is missing of %v", seed, id,
			slices.Sorted(maps.Keys(table.staying)))
	}
	return table.sent, 0
}

type fetchFunc = func(ctx context.Context, skip, count int, room []item) ([]item, error)

// slowly delays each request and each answer by a random time, so that answers
// come in any order.
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

// TestListEnds walks servers whose pages do not advance: after some pages they
// answer with a few pages, in turn, at random or by skip. Each walk must end
// after a number of requests that depends on what it has seen.
func TestListEnds(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		for _, ahead := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s ahead=%t", kind, ahead), func(t *testing.T) {
				t.Parallel()
				unstable, most := 0, 0
				for n := range uint64(*walks) {
					synctest.Test(t, func(t *testing.T) {
						requests, failed := oneStuckWalk(t, kind, *seed+n, ahead)
						most = max(most, requests)
						if failed {
							unstable++
						}
					})
				}
				t.Logf("%d of %d walks were unstable; at most %d requests", unstable, *walks, most)
			})
		}
	}
}

func oneStuckWalk(t *testing.T, kind kind, seed uint64, ahead bool) (requests int, unstable bool) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 3))
	honest := random.IntN(30)
	s := server{items: items(1, int64(9*honest+1))}
	pages := make([][]item, 1+random.IntN(5))
	for i := range pages {
		first := 1 + random.Int64N(400)
		pages[i] = items(first, first+9+random.Int64N(6))
		for j := range pages[i] {
			pages[i][j].Version = uint64(random.IntN(2))
		}
	}
	choose := pick(random,
		func(n, _ int) int { return n },
		func(int, int) int { return random.IntN(len(pages)) },
		func(_, skip int) int { return skip },
		func(n, skip int) int { return n*skip + n },
	)
	list := kind.apply(s.list(10))
	var mu sync.Mutex
	list.Fetch = func(ctx context.Context, skip, count int, room []item) ([]item, error) {
		mu.Lock()
		defer mu.Unlock()
		page, err := s.fetch(ctx, skip, count, room)
		if n := s.sent(); n > honest {
			page = append(page[:0], pages[choose(n, skip)%len(pages)]...)
		}
		return page, err
	}
	if ahead {
		list.Prefetch = 1 + random.IntN(6)
		list.Fetch = slowly(seed, list.Fetch)
	}
	// Each page that is new may cost a pass over everything, with a step back
	// for each page.
	seen := len(s.items) + 15*len(pages)
	limit := honest + (len(pages)+1)*(seen/3+40)
	yielded := make(map[int64]bool)
	for item, err := range list.Items(t.Context()) {
		if unstable = err != nil; unstable {
			require.ErrorIs(t, err, walk.ErrUnstable, "seed %d", seed)
			break
		}
		require.False(t, yielded[item.ID], "seed %d: item %d twice", seed, item.ID)
		yielded[item.ID] = true
	}
	require.LessOrEqual(t, s.sent(), limit, "seed %d: requests", seed)
	return s.sent(), unstable
}
