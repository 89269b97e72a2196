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
		{10, 1000, false}, // the server may have a cap
		{9, 0, true},
		{10, 0, false},
		{20, 5, false}, // the server does as it likes
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

// server answers from a list that a test changes at will.
type server struct {
	mu       sync.Mutex
	items    []item
	requests []request
	before   func(request) // called with each request, before it is answered
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

// sent returns how many requests were answered.
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

// items returns items from the first id to the last, upwards or downwards.
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

// read returns the ids yielded, and the error. Nothing may follow an error.
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

// Where nothing moves, each page brings all its items but the one that it
// shares with the page before.
func TestListCost(t *testing.T) {
	t.Parallel()
	for _, byID := range []bool{false, true} {
		for _, limit := range []int{10, 17, 1000} {
			for _, count := range []int{2, 3, 10, 11, 50} {
				for _, n := range []int{0, 1, 2, 9, 10, 11, 12, 19, 99, 100, 101, 200} {
					t.Run(fmt.Sprintf("%d items by %d, capped at %d, by id %t", n, count, limit, byID),
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
			t.Run(fmt.Sprintf("%d ahead %d", limit, prefetch), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					s := server{items: items(1, 100)}
					l := s.list(10)
					l.Limit, l.Prefetch = limit, prefetch
					l.Fetch = func(ctx context.Context, skip, count int, room []item) ([]item, error) {
						time.Sleep(time.Duration(skip+1) * time.Second) // one at a time
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
	s := server{items: items(1, 100)}
	for item, err := range s.list(10).Items(t.Context()) {
		require.NoError(t, err)
		if item.ID == 10 {
			break
		}
	}
	assert.Len(t, s.requests, 1)
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

// TestListMoves tells what happens to the list before the second request, and
// what is read all the same.
func TestListMoves(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		move     func(*server)
		byID     bool
		skip     int
		want     []item
		unstable string
		requests []request
	}{
		{
			name: "the anchor is deleted",
			move: func(s *server) { s.remove(5) },
			want: items(1, 12), requests: []request{{0, 5}, {4, 5}, {0, 5}, {4, 5}, {8, 5}},
		},
		{
			name: "the anchor is deleted, by id",
			move: func(s *server) { s.remove(5) }, byID: true,
			want: items(1, 12), requests: []request{{0, 5}, {4, 5}, {0, 5}, {4, 5}, {8, 5}},
		},
		{
			name: "the anchor is modified",
			move: func(s *server) { s.items[4].Version++ },
			want: items(1, 12), requests: []request{{0, 5}, {4, 5}, {8, 5}}[:1],
		},
		{
			name: "all but what was not read is deleted",
			move: func(s *server) { s.remove(1, 2, 3, 4, 5) },
			want: items(1, 12),
		},
		{
			name: "all is deleted",
			move: func(s *server) { s.items = nil },
			want: items(1, 5), requests: []request{{0, 5}, {4, 5}, {0, 5}},
		},
		{
			name: "all is deleted, and reading began in the middle",
			move: func(s *server) { s.items = nil }, skip: 2,
			want: items(3, 7), unstable: "at skip 2", requests: []request{{2, 5}, {6, 5}, {2, 5}},
		},
		{
			name: "there are arrivals in front",
			move: func(s *server) { s.items = append(items(20, 29), s.items...) },
			want: slices.Concat(items(1, 5), items(20, 29), items(6, 12)),
		},
		{
			name: "there are many arrivals in front, by id",
			move: func(s *server) { s.items = append(items(101, 180), s.items...) }, byID: true, skip: 0,
			want: nil,
		},
		{
			name: "the order of ids is lost",
			move: func(s *server) { slices.Reverse(s.items) }, byID: true,
			want: items(1, 5), unstable: "ascending",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &server{items: items(1, 12)}
			if tt.want == nil { // ids above those of the arrivals
				s.items, tt.want = items(201, 212), items(201, 212)
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
			if len(tt.requests) > 1 {
				assert.Equal(t, tt.requests, s.requests[:len(tt.requests)])
			}
		})
	}
}

// A page that begins too far on steps back twice as far each time.
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

// To find an anchor, a walk may have to pass over all that it has seen.
func TestListPassesOver(t *testing.T) {
	t.Parallel()
	for _, count := range []int{2, 3, 10} {
		s := &server{items: items(1, 200)}
		once := true
		s.before = func(r request) {
			if r.skip >= 100 && once {
				once = false
				for i := range s.items[1:] { // only the first item is still what it was
					s.items[i+1].Version++
				}
			}
		}
		got, err := read(t, s.list(count))
		require.NoError(t, err)
		assert.Equal(t, ids(items(1, 200)), got)
	}
}

// A server whose pages do not advance costs a handful of requests.
func TestListDoesNotAdvance(t *testing.T) {
	t.Parallel()
	for _, byID := range []bool{false, true} {
		for _, n := range []int64{10, 50} {
			t.Run(fmt.Sprintf("%d by id %t", n, byID), func(t *testing.T) {
				t.Parallel()
				s := server{items: items(1, n)}
				l := s.list(10)
				l.ByID = byID
				l.Fetch = func(ctx context.Context, _, _ int, room []item) ([]item, error) {
					return s.fetch(ctx, 0, int(n), room)
				}
				got, err := read(t, l)
				require.ErrorIs(t, err, walk.ErrUnstable)
				require.ErrorContains(t, err, "do not advance")
				assert.Equal(t, ids(s.items), got)
				assert.LessOrEqual(t, len(s.requests), 6)
			})
		}
	}
}

// A server that cannot order by id is read all the same.
func TestListNotByID(t *testing.T) {
	t.Parallel()
	s := server{items: items(30, 1)}
	l := s.list(7)
	l.ByID, l.Version = true, nil
	got, err := read(t, l)
	require.NoError(t, err)
	assert.Equal(t, ids(s.items), got)
}
