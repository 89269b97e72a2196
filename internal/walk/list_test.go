package walk_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/clixnow/clixnow-go/internal/walk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLast(t *testing.T) {
	t.Parallel()
	tests := []struct {
		received, asked int
		want            bool
	}{
		{0, 1, true},
		{1, 1, false},
		{4, 5, true},
		{5, 5, false},
		{9, 10, true},
		{9, 1000, true},
		{10, 1000, false}, // the server may limit pages to 10
		{9, 0, true},
		{10, 0, false},
		{20, 5, false}, // the server ignores what was asked
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.received, " of ", tt.asked), func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, tt.want, walk.Last(tt.received, tt.asked))
		})
	}
}

// request is one call of a server.
type request struct{ skip, count int }

// server answers from a list that a test may change.
type server struct {
	mu       sync.Mutex
	items    []item
	requests []request
	// before is called with each request, before the answer. It may be nil.
	before func(request)
}

func (s *server) fetch(ctx context.Context, skip, count int, room []item) ([]item, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := request{skip, count}
	s.requests = append(s.requests, r)
	if s.before != nil {
		s.before(r)
	}
	page := s.items[min(skip, len(s.items)):]
	return append(room, page[:min(count, len(page))]...), ctx.Err()
}

// sent returns the number of requests.
func (s *server) sent() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

func (s *server) remove(ids ...int64) {
	s.items = slices.DeleteFunc(s.items, func(i item) bool { return slices.Contains(ids, i.ID) })
}

func (s *server) list(count int) walk.List[item] {
	return walk.List[item]{Fetch: s.fetch, ID: itemID, Version: itemVersion, Count: count}
}

// items returns items with the ids from first to last, ascending or descending.
func items(first, last int64) []item {
	var all []item
	for id := min(first, last); id <= max(first, last); id++ {
		all = append(all, item{ID: id})
	}
	if first > last {
		slices.Reverse(all)
	}
	return all
}

// read returns the ids that were yielded, and the error. Nothing may follow an
// error.
func read(t *testing.T, l walk.List[item]) (ids []int64, err error) {
	t.Helper()
	for item, e := range l.Items(t.Context()) {
		require.NoError(t, err)
		if err = e; err == nil {
			ids = append(ids, item.ID)
		}
	}
	return ids, err
}

func ids(of []item) []int64 {
	var all []int64
	for _, i := range of {
		all = append(all, i.ID)
	}
	return all
}

// If nothing moves, each page has one item in common with the page before, and
// all others are new.
func TestListCost(t *testing.T) {
	t.Parallel()
	for _, byID := range []bool{false, true} {
		for _, limit := range []int{10, 17, 1000} {
			for _, count := range []int{2, 3, 10, 11, 50} {
				for _, n := range []int{0, 1, 2, 9, 10, 11, 12, 19, 99, 100, 101, 200} {
					t.Run(fmt.Sprintf("%d items, %d a page, at most %d, by id %t", n, count, limit, byID),
						func(t *testing.T) {
							t.Parallel()
							s := server{items: items(1, int64(n))[:n]}
							l := s.list(count)
							l.ByID = byID
							l.Fetch = func(ctx context.Context, skip, count int, room []item) ([]item, error) {
								return s.fetch(ctx, skip, min(count, limit), room)
							}
							got, err := read(t, l)
							require.NoError(t, err)
							assert.Equal(t, ids(s.items), got)
							page := min(count, limit)
							least := max(1, (n-1+page-2)/(page-1))
							assert.GreaterOrEqual(t, len(s.requests), least)
							assert.LessOrEqual(t, len(s.requests), least+1)
						})
				}
			}
		}
	}
}

func TestListRequests(t *testing.T) {
	t.Parallel()
	s := server{items: items(1, 12)}
	_, err := read(t, s.list(5))
	require.NoError(t, err)
	assert.Equal(t, []request{{0, 5}, {4, 5}, {8, 5}}[:2], s.requests[:2])

	s.items, s.requests = items(1, 3), nil
	l := s.list(1)
	got, err := read(t, l)
	require.NoError(t, err)
	assert.Equal(t, []int64{1, 2, 3}, got)
	assert.Equal(t, []request{{0, 1}, {0, 2}, {1, 2}, {2, 2}}, s.requests, "a page of one item could not advance")
}

func TestListIsLazyAndCanBeReadAgain(t *testing.T) {
	t.Parallel()
	s := server{items: items(1, 30)}
	l := s.list(10)
	l.Skip = 3
	all := l.Items(t.Context())
	assert.Empty(t, s.requests)
	for range 2 {
		var got []int64
		for item, err := range all {
			require.NoError(t, err)
			got = append(got, item.ID)
		}
		assert.Equal(t, ids(items(4, 30)), got)
	}
}

func TestListLimit(t *testing.T) {
	t.Parallel()
	for _, prefetch := range []int{0, 4} {
		for limit, want := range map[int]int{1: 1, 9: 1, 10: 1, 11: 2, 19: 2, 20: 3, 28: 3} {
			t.Run(fmt.Sprintf("%d items, prefetch %d", limit, prefetch), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					s := server{items: items(1, 100)}
					l := s.list(10)
					l.Limit, l.Prefetch = limit, prefetch
					l.Fetch = func(ctx context.Context, skip, count int, room []item) ([]item, error) {
						time.Sleep(time.Duration(skip+1) * time.Second) // one answer after the other
						return s.fetch(ctx, skip, count, room)
					}
					got, err := read(t, l)
					require.NoError(t, err)
					assert.Equal(t, ids(items(1, int64(limit))), got)
					assert.Len(t, s.requests, want)
				})
			})
		}
	}
}

func TestListEndsWithTheLoop(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{0, 50} {
		s := server{items: items(1, 100)}
		l := s.list(10)
		l.Limit = limit
		for item, err := range l.Items(t.Context()) {
			require.NoError(t, err)
			if item.ID == 10 {
				break
			}
		}
		assert.Len(t, s.requests, 1)
	}
}

func TestListError(t *testing.T) {
	t.Parallel()
	fault := errors.New("fault")
	s := server{items: items(1, 100)}
	l := s.list(10)
	l.Fetch = func(ctx context.Context, skip, count int, room []item) ([]item, error) {
		if skip > 10 {
			return nil, fault
		}
		return s.fetch(ctx, skip, count, room)
	}
	got, err := read(t, l)
	require.ErrorIs(t, err, fault)
	assert.NotErrorIs(t, err, walk.ErrUnstable)
	assert.Equal(t, ids(items(1, 19)), got)
}

// The list changes before the second request.
func TestListMoves(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		items    []item // nil means 1 to 12
		move     func(*server)
		byID     bool
		skip     int
		want     []item
		unstable string
		requests []request
	}{
		{
			name: "the last item that was read is deleted",
			move: func(s *server) { s.remove(5) },
			want: items(1, 12), requests: []request{{0, 5}, {4, 5}, {0, 5}, {4, 5}, {8, 5}},
		},
		{
			name: "the last item that was read is deleted, by id",
			move: func(s *server) { s.remove(5) }, byID: true,
			want: items(1, 12), requests: []request{{0, 5}, {4, 5}, {0, 5}, {4, 5}, {8, 5}},
		},
		{
			name: "the last item that was read is modified",
			move: func(s *server) { s.items[4].Version++ },
			want: items(1, 12), requests: []request{{0, 5}, {4, 5}, {0, 5}, {4, 5}, {8, 5}},
		},
		{
			name: "all items that were read are deleted",
			move: func(s *server) { s.remove(1, 2, 3, 4, 5) },
			want: items(1, 12),
		},
		{
			name: "all items are deleted",
			move: func(s *server) { s.items = nil },
			want: items(1, 5), requests: []request{{0, 5}, {4, 5}, {0, 5}},
		},
		{
			name: "all items are deleted, and the reading began in the middle",
			move: func(s *server) { s.items = nil }, skip: 2,
			want: items(3, 7), unstable: "at skip 2", requests: []request{{2, 5}, {6, 5}, {2, 5}},
		},
		{
			name: "all items are deleted, and the reading began at the second",
			move: func(s *server) { s.items = nil }, skip: 1,
			want: items(2, 6), unstable: "at skip 1", requests: []request{{1, 5}, {5, 5}, {1, 5}},
		},
		{
			name: "ten items are inserted in front",
			move: func(s *server) { s.items = append(items(20, 29), s.items...) },
			want: slices.Concat(items(1, 5), items(20, 29), items(6, 12)),
		},
		{
			name:  "many items are inserted in front, by id",
			items: items(201, 212),
			move:  func(s *server) { s.items = append(items(101, 180), s.items...) }, byID: true,
			want: items(201, 212),
		},
		{
			name: "ids do not ascend any more",
			move: func(s *server) { slices.Reverse(s.items) }, byID: true,
			want: items(1, 5), unstable: "ascending",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &server{items: items(1, 12)}
			if tt.items != nil {
				s.items = tt.items
			}
			s.before = func(request) {
				if len(s.requests) == 2 {
					tt.move(s)
				}
			}
			l := s.list(5)
			l.ByID, l.Skip = tt.byID, tt.skip
			got, err := read(t, l)
			if tt.unstable != "" {
				require.ErrorIs(t, err, walk.ErrUnstable)
				require.ErrorContains(t, err, tt.unstable)
			} else {
				require.NoError(t, err)
			}
			assert.Equal(t, ids(tt.want), got)
			if tt.requests != nil {
				assert.Equal(t, tt.requests, s.requests)
			}
		})
	}
}

// Two items in ascending order of ids show that the server orders by them.
func TestListOfTwoItemsIsByID(t *testing.T) {
	t.Parallel()
	l, _ := inTurn(items(1, 2), []item{{ID: 4}, {ID: 3}})
	l.ByID, l.Count = true, 2
	got, err := read(t, l)
	require.ErrorIs(t, err, walk.ErrUnstable)
	require.ErrorContains(t, err, "not in ascending order of ids")
	assert.Equal(t, []int64{1, 2}, got)
}

// Ids may have more than 32 bits.
func TestListOfLongIDs(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		s := server{items: items(1<<32-15, 1<<32+30)}
		got, err := read(t, kind.apply(s.list(10)))
		require.NoError(t, err)
		assert.Equal(t, ids(s.items), got)
		assert.Len(t, s.requests, 6)
	}
}

// If a page has no anchor, the walk steps back, twice as far each time.
func TestListStepsBack(t *testing.T) {
	t.Parallel()
	s := &server{items: items(1, 2000)}
	s.before = func(r request) {
		if r.skip == 900 {
			s.items = s.items[500:]
		}
	}
	got, err := read(t, s.list(10))
	require.NoError(t, err)
	assert.Equal(t, ids(items(1, 2000)), got)
	i := slices.Index(s.requests, request{900, 10})
	assert.Equal(t, []request{{900, 10}, {890, 10}, {870, 10}, {830, 10}, {750, 10}, {590, 10}, {270, 10}},
		s.requests[i:i+7])
}

// After a step back a walk may have to pass over all items that it has read.
func TestListPassesOver(t *testing.T) {
	t.Parallel()
	for _, count := range []int{2, 3, 10} {
		s := &server{items: items(1, 200)}
		once := true
		s.before = func(r request) {
			if r.skip >= 100 && once {
				once = false
				for i := range s.items[1:] { // all but the first item move
					s.items[i+1].Version++
				}
			}
		}
		got, err := read(t, s.list(count))
		require.NoError(t, err)
		assert.Equal(t, ids(items(1, 200)), got)
	}
}

// A server that ignores skip costs a handful of requests.
func TestListServerThatIgnoresSkip(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		for n, told := range map[int64]string{10: "36 items, up to skip 46,", 50: "196 items, up to skip 246,"} {
			t.Run(fmt.Sprintf("%s, %d items", kind, n), func(t *testing.T) {
				t.Parallel()
				s := server{items: items(1, n)}
				l := kind.apply(s.list(10))
				l.Fetch = func(ctx context.Context, _, _ int, room []item) ([]item, error) {
					return s.fetch(ctx, 0, int(n), room)
				}
				got, err := read(t, l)
				require.ErrorIs(t, err, walk.ErrUnstable)
				require.ErrorContains(t, err, "do not advance: the last "+told)
				assert.Equal(t, ids(s.items), got)
				assert.LessOrEqual(t, len(s.requests), 5)
			})
		}
	}
}

// kind is what a list is ordered by.
type kind string

const (
	ascendingIDs kind = "by id"
	fixedPlaces  kind = "items stay"
	movingItems  kind = "items move"
)

var kinds = []kind{ascendingIDs, fixedPlaces, movingItems}

func (k kind) apply(l walk.List[item]) walk.List[item] {
	l.ByID = k == ascendingIDs
	if k != movingItems {
		l.Version = nil
	}
	return l
}

// inTurn answers with pages in turn, whatever the request skips.
func inTurn(pages ...[]item) (l walk.List[item], requests *int) {
	var mu sync.Mutex
	requests = new(int)
	fetch := func(ctx context.Context, _, _ int, room []item) ([]item, error) {
		mu.Lock()
		defer mu.Unlock()
		page := pages[*requests%len(pages)]
		*requests++
		return append(room, page...), ctx.Err()
	}
	return walk.List[item]{Fetch: fetch, ID: itemID, Version: itemVersion, Count: 10}, requests
}

// changed returns the items in another version.
func changed(items []item) []item {
	items = slices.Clone(items)
	for i := range items {
		items[i].Version++
	}
	return items
}

// A server that answers a few pages in turn costs a handful of requests.
func TestListPagesInTurn(t *testing.T) {
	t.Parallel()
	for name, pages := range map[string][][]item{
		"one page":              {items(1, 10)},
		"one item ten times":    {slices.Repeat(items(1, 1), 10)},
		"two, one item apart":   {items(1, 10), items(2, 11)},
		"two, next to another":  {items(1, 10), items(10, 19)},
		"two, nothing shared":   {items(1, 10), items(101, 110)},
		"two, the second first": {items(101, 110), items(1, 10)},
		"two versions":          {items(1, 10), changed(items(1, 10))},
		"three":                 {items(1, 10), items(2, 11), items(3, 12)},
		"three, far apart":      {items(1, 10), items(101, 110), items(51, 60)},
		"five":                  {items(1, 10), items(5, 14), items(9, 18), items(3, 12), items(7, 16)},
		"of different lengths":  {items(1, 10), items(2, 30), items(5, 16)},
		"up and down": {
			items(1, 10), items(11, 20), items(21, 30), items(31, 40), items(21, 30), items(11, 20),
		},
	} {
		for _, kind := range kinds {
			for _, prefetch := range []int{0, 4} {
				t.Run(fmt.Sprintf("%s, %s, prefetch %d", name, kind, prefetch), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						l, requests := inTurn(pages...)
						l = kind.apply(l)
						l.Prefetch = prefetch
						got, err := read(t, l)
						require.ErrorIs(t, err, walk.ErrUnstable)
						require.ErrorContains(t, err, "do not advance")
						different := make(map[int64]bool)
						for _, id := range got {
							require.False(t, different[id], "item %d twice", id)
							different[id] = true
						}
						most := 12 + 6*len(pages)
						if prefetch > 0 {
							// Pages arrive in any order. A page that was
							// requested ahead may be requested again.
							most *= 2
						}
						assert.LessOrEqual(t, *requests, most)
					})
				})
			}
		}
	}
}

// A server may begin to answer the same few pages after a long time. It then
// costs a few requests for each page that was read before.
func TestListPagesInTurnAfterManyPages(t *testing.T) {
	t.Parallel()
	const pages = 50
	known, unknown := items(1, 10), items(9001, 9010)
	for name, answer := range map[string]func(n, skip int) []item{
		"two known pages":             func(n, _ int) []item { return [][]item{known, items(2, 11)}[n%2] },
		"a known and an unknown page": func(n, _ int) []item { return [][]item{known, unknown}[n%2] },
		"known pages one by one, each followed by an unknown one": func(n, skip int) []item {
			return [][]item{items(int64(1+skip%400), int64(10+skip%400)), changed(unknown)}[n%2]
		},
	} {
		for _, kind := range kinds {
			t.Run(fmt.Sprintf("%s, %s", name, kind), func(t *testing.T) {
				t.Parallel()
				s := server{items: items(1, 9*pages+1)}
				l := kind.apply(s.list(10))
				l.Fetch = func(ctx context.Context, skip, count int, room []item) ([]item, error) {
					page, err := s.fetch(ctx, skip, count, room)
					if n := len(s.requests); n > pages {
						page = append(page[:0], answer(n, skip)...)
					}
					return page, err
				}
				_, err := read(t, l)
				require.ErrorIs(t, err, walk.ErrUnstable)
				assert.LessOrEqual(t, len(s.requests), 6*pages)
			})
		}
	}
}

// By id, a page is progress if it ends higher than the pages before. In other
// orders ids say nothing about the place of an item.
func TestListPagesOfKnownItems(t *testing.T) {
	t.Parallel()
	const pages = 50
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := server{items: items(1, 9*pages+1)}
			l := kind.apply(s.list(10))
			l.Fetch = func(ctx context.Context, skip, count int, room []item) ([]item, error) {
				page, err := s.fetch(ctx, skip, count, room)
				if n := int64(len(s.requests)) - pages; n > 0 { // each page ends one item later
					page = append(page[:0], items(min(n, 9*pages-8), min(n+9, 9*pages+1))...)
				}
				return page, err
			}
			_, err := read(t, l)
			require.ErrorIs(t, err, walk.ErrUnstable)
			if kind == ascendingIDs {
				assert.Greater(t, len(s.requests), 9*pages)
			} else {
				assert.Less(t, len(s.requests), 3*pages)
			}
		})
	}
}

// Items that are inserted in front all the time push the list forward. By id
// they count as read, and there may be more of them than the walk has seen.
func TestListInsertionsInFront(t *testing.T) {
	t.Parallel()
	const arrivals = 30
	for _, kind := range kinds {
		for prefetch, each := range map[int]int64{0: 8, 3: 1} {
			t.Run(fmt.Sprintf("%s, prefetch %d", kind, prefetch), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					s := server{items: items(1001, 1050)}
					s.before = func(request) {
						if n := int64(len(s.requests)); n > 1 && n < arrivals {
							s.items = append(items(1000-each*n, 999-each*(n-1)), s.items...)
						}
					}
					l := kind.apply(s.list(10))
					l.Prefetch = prefetch
					got, err := read(t, l)
					require.NoError(t, err)
					assert.Subset(t, got, ids(items(1001, 1050)))
					if each == 8 {
						assert.Greater(t, len(s.requests), arrivals, "they came while the walk went on")
					}
				})
			})
		}
	}
}

// Many items are inserted in front, then new items are read, and then many are
// inserted in front again.
func TestListInsertionsInFrontTwice(t *testing.T) {
	t.Parallel()
	s := server{items: items(1001, 1030)}
	s.before = func(r request) {
		switch {
		case len(s.requests) == 2:
			s.items = append(items(101, 180), s.items...)
		case len(s.items) == 110 && r.skip > 90:
			s.items = append(items(1, 80), s.items...)
		}
	}
	l := ascendingIDs.apply(s.list(5))
	got, err := read(t, l)
	require.NoError(t, err)
	assert.Equal(t, ids(items(1001, 1030)), got)
	assert.Len(t, s.items, 190)
}

// While the walk passes over items that it has read, the list may shift again.
// If the walk then steps back farther, it has to pass over more of them. This
// may happen again after each new item.
func TestListStepsBackFarther(t *testing.T) {
	t.Parallel()
	s := &server{items: items(1, 900)}
	shift := func(first int) {
		for i := range s.items[first:] {
			s.items[first+i].Version++
		}
	}
	next, first := 108, -9 // the offset of the next shift, and the request of the last one
	s.before = func(r request) {
		switch {
		case r.skip >= next:
			first = len(s.requests)
			shift(r.skip - 48)
			next = r.skip + 90
		case len(s.requests) == first+9: // the walk has passed over 54 items
			shift(5)
		}
	}
	got, err := read(t, s.list(10))
	require.NoError(t, err)
	assert.Equal(t, ids(items(1, 900)), got)
	var skips []int
	for _, r := range s.requests[12:27] {
		skips = append(skips, r.skip)
	}
	assert.Equal(t, []int{108, 98, 78, 38, 47, 56, 65, 74, 83, 92, 82, 62, 22, 0, 9}, skips)
	assert.Greater(t, next, 900)
}

// A server that cannot order by id is read all the same.
func TestListNotByID(t *testing.T) {
	t.Parallel()
	for _, count := range []int{1, 2, 7} {
		s := server{items: items(30, 1)}
		l := s.list(count)
		l.ByID, l.Version = true, nil
		got, err := read(t, l)
		require.NoError(t, err)
		assert.Equal(t, ids(s.items), got)
	}
}

// One item several times in a row is one item, whether the server repeats it
// before it cuts the page or afterwards.
func TestListRepeatedItems(t *testing.T) {
	t.Parallel()
	const n = 60
	for name, copies := range map[string]func(id int64) int{
		"one, twice":                   func(id int64) int { return 1 + equal(id, 25) },
		"one, three times":             func(id int64) int { return 1 + 2*equal(id, 25) },
		"the first, twice":             func(id int64) int { return 1 + equal(id, 1) },
		"the first, 30 times":          func(id int64) int { return 1 + 29*equal(id, 1) },
		"the last of a page, twice":    func(id int64) int { return 1 + equal(id, 10) },
		"the first of a page, 3 times": func(id int64) int { return 1 + 2*equal(id, 19) },
		"one, more than a page":        func(id int64) int { return 1 + 14*equal(id, 25) },
		"the last, twice":              func(id int64) int { return 1 + equal(id, n) },
		"the last, nearly a page":      func(id int64) int { return 1 + 8*equal(id, n) },
		"all, twice":                   func(int64) int { return 2 },
		"all, four times":              func(int64) int { return 4 },
		"every third, twice":           func(id int64) int { return 1 + equal(id%3, 0) },
	} {
		repeat := func(all []item) (repeated []item) {
			for _, i := range all {
				for range copies(i.ID) {
					repeated = append(repeated, i)
				}
			}
			return repeated
		}
		for _, kind := range kinds {
			for _, limit := range []int{10, 1000} {
				for _, prefetch := range []int{0, 3} {
					for _, whole := range []bool{true, false} {
						t.Run(fmt.Sprintf("%s, %s, at most %d, prefetch %d, in the list %t",
							name, kind, limit, prefetch, whole),
							func(t *testing.T) {
								t.Parallel()
								s := server{items: items(1, n)}
								if whole {
									s.items = repeat(s.items)
								}
								l := kind.apply(s.list(12))
								l.Prefetch = prefetch
								l.Fetch = func(ctx context.Context, skip, count int, room []item) ([]item, error) {
									page, err := s.fetch(ctx, skip, min(count, limit), room)
									if !whole {
										page = repeat(page)
									}
									return page, err
								}
								got, err := read(t, l)
								require.NoError(t, err)
								assert.Equal(t, ids(items(1, n)), got)
							})
					}
				}
			}
		}
	}
}

func equal(a, b int64) int {
	if a == b {
		return 1
	}
	return 0
}

// An item that comes again after others is not one item several times in a row.
// By id this is not the order that was asked for.
func TestListItemThatComesAgain(t *testing.T) {
	t.Parallel()
	again := slices.Concat(items(1, 15), items(12, 30))
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := server{items: again}
			got, err := read(t, kind.apply(s.list(10)))
			if kind == ascendingIDs {
				require.ErrorIs(t, err, walk.ErrUnstable)
				require.ErrorContains(t, err, "ascending")
				assert.Equal(t, ids(items(1, 10)), got)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, ids(items(1, 30)), got)
		})
	}
}
