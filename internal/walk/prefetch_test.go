package walk_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/internal/walk"
)

// remote is a server that needs a second for an answer. The answer shows the
// list at the end of that second.
type remote struct {
	server

	// delay returns a time to add to the second. It may be nil.
	delay func(request) time.Duration
	// fail returns the error of a request. It may be nil.
	fail      func(request) error
	running   atomic.Int32
	cancelled atomic.Int32
}

func (r *remote) list(count, ahead int) walk.List[item] {
	l := r.server.list(count)
	l.Prefetch = ahead
	l.Fetch = func(ctx context.Context, skip, count int, room []item) ([]item, error) {
		r.running.Add(1)
		defer r.running.Add(-1)
		delay := time.Second + time.Duration(skip) // no two answers at the same time
		if r.delay != nil {
			delay += r.delay(request{skip, count})
		}
		select {
		case <-ctx.Done():
			r.cancelled.Add(1)
			return nil, context.Cause(ctx)
		case <-time.After(delay):
		}
		if r.fail != nil {
			if err := r.fail(request{skip, count}); err != nil {
				return nil, err
			}
		}
		return r.fetch(ctx, skip, count, room)
	}
	return l
}

func TestPrefetchIsConcurrent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := remote{server: server{items: items(1, 181)}} // 21 pages
		l := r.list(10, 4)
		l.Version = nil
		began := time.Now()
		got, err := read(t, l)
		require.NoError(t, err)
		assert.Equal(t, ids(items(1, 181)), got)
		// 1 page, 1, 2, 4, 4, 4, 4, 1
		assert.Equal(t, 8*time.Second, time.Since(began).Truncate(time.Second))
	})
}

func TestPrefetchIsBounded(t *testing.T) {
	t.Parallel()
	for _, ahead := range []int{1, 3} {
		for _, limit := range []int{0, 190} {
			t.Run(fmt.Sprintf("%d, limit %d", ahead, limit), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					r := remote{server: server{items: items(1, 200)}}
					l := r.list(11, ahead)
					l.Limit = limit
					n := 0
					for _, err := range l.Items(t.Context()) {
						require.NoError(t, err)
						time.Sleep(time.Minute) // for all requests that are on their way
						page := max(0, n-1) / 10
						require.LessOrEqual(t, r.sent(), page+1+ahead)
						n++
					}
					assert.Equal(t, 200-limit/19, n)
				})
			})
		}
	}
}

// The first pages are not requested all at once: a short list would cost many
// requests for nothing.
func TestPrefetchGrows(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		most, limit int
		ahead       []int // requests ahead while each page is consumed
	}{
		{0, 0, []int{0, 0, 0, 0}},
		{1, 0, []int{1, 1, 1, 1}},
		{1, 11, []int{1, 0}}, // the second page has one more item
		{2, 0, []int{1, 2, 2, 2}},
		{3, 0, []int{1, 2, 2, 3, 3}},
		{5, 0, []int{1, 2, 2, 4, 4, 4, 4, 5, 5}},
		{64, 0, []int{1, 2, 2, 4, 4, 4, 4, 8, 8, 8, 8, 8, 8, 8, 8, 16}},
		{64, 47, []int{1, 2, 2, 2, 1, 0}}, // the last page has one more item
		{64, 46, []int{1, 2, 2, 1, 0}},
	} {
		t.Run(fmt.Sprintf("%d, limit %d", tt.most, tt.limit), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := remote{server: server{items: items(1, 1000)}}
				var ahead []int
				l := r.list(10, tt.most)
				l.Limit = tt.limit
				for item, err := range l.Items(t.Context()) {
					require.NoError(t, err)
					if page := int(item.ID-2) / 9; item.ID == 2 || item.ID%9 == 2 && page < len(tt.ahead) {
						time.Sleep(time.Minute) // for all requests that are on their way
						ahead = append(ahead, r.sent()-page-1)
					}
				}
				assert.Equal(t, tt.ahead, ahead)
			})
		})
	}
}

// A short list costs few requests, however large Prefetch is.
func TestPrefetchOfShortList(t *testing.T) {
	t.Parallel()
	for n, most := range map[int64]int{0: 1, 1: 1, 9: 1, 10: 2, 19: 4, 28: 6, 53: 10, 100: 20} {
		for _, kind := range kinds {
			t.Run(fmt.Sprintf("%d items, %s", n, kind), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					r := remote{server: server{items: items(1, n)[:n]}}
					got, err := read(t, kind.apply(r.list(10, 64)))
					require.NoError(t, err)
					assert.Equal(t, ids(r.items), got)
					assert.LessOrEqual(t, r.sent(), most)
				})
			})
		}
	}
}

// The context of a request ends with it.
func TestPrefetchEndsContexts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := remote{server: server{items: items(1, 100)}}
		l := r.list(10, 4)
		fetch := l.Fetch
		var last context.Context
		l.Fetch = func(ctx context.Context, skip, count int, room []item) ([]item, error) {
			if skip == 9 {
				last = ctx
			}
			return fetch(ctx, skip, count, room)
		}
		for item, err := range l.Items(t.Context()) {
			require.NoError(t, err)
			if item.ID > 20 {
				require.ErrorIs(t, last.Err(), context.Canceled)
			}
		}
	})
}

// Nothing is requested ahead of the end, or of what may be the end: a first
// short page.
func TestPrefetchStarts(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		n      int64
		pages  []int   // the limits of the server's pages; the last one is for all further pages
		begins []int64 // the first new item of each page
		want   []int   // the number of requests ahead while that item is consumed
	}{
		"fewer than ten":        {9, []int{50}, []int64{1}, []int{0}},
		"a full page":           {300, []int{50}, []int64{1, 51}, []int{1, 2}},
		"a short page":          {35, []int{50}, []int64{1}, []int{0}},
		"two short pages":       {40, []int{25}, []int64{1, 26}, []int{0, 1}},
		"three short pages":     {70, []int{25}, []int64{1, 26, 50}, []int{0, 1, 2}},
		"a short, a full page":  {150, []int{20, 50}, []int64{1, 21}, []int{0, 1}},
		"a full, a short page":  {150, []int{50, 20, 50}, []int64{1, 51}, []int{1, 0}},
		"a short, a final page": {30, []int{25}, []int64{1, 26}, []int{0, 0}},
		"a short page later": {
			600,
			[]int{50},
			[]int64{1, 51, 100, 149, 198, 247, 296, 345, 364},
			[]int{1, 2, 2, 4, 4, 4, 4, 3, 4},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := remote{server: server{items: items(1, tt.n)}}
				l := fixedPlaces.apply(r.list(50, 8))
				fetch := l.Fetch
				var began atomic.Int32
				l.Fetch = func(ctx context.Context, skip, count int, room []item) ([]item, error) {
					page := min(int(began.Add(1)), len(tt.pages))
					if name == "a short page later" && skip == 343 { // several requests begin in any order
						count = 20
					}
					return fetch(ctx, skip, min(count, tt.pages[page-1]), room)
				}
				var ahead []int
				for item, err := range l.Items(t.Context()) {
					require.NoError(t, err)
					if slices.Contains(tt.begins, item.ID) {
						time.Sleep(time.Minute) // for all requests that are on their way
						ahead = append(ahead, r.sent()-len(ahead)-1)
					}
				}
				assert.Equal(t, tt.want, ahead)
			})
		})
	}
}

// After a step back the walk begins again with one page ahead.
func TestPrefetchBeginsAgainAfterStepBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &remote{server: server{items: items(1, 800)}}
		var more []int // requests since the page before
		before := 0
		for item, err := range r.list(10, 16).Items(t.Context()) {
			require.NoError(t, err)
			if item.ID%9 != 2 {
				continue
			}
			time.Sleep(time.Minute) // for all requests that are on their way
			more = append(more, r.sent()-before)
			before = r.sent()
			if item.ID == 200 {
				r.items = r.items[150:]
			}
		}
		// Steps back of 10, 20, 40 and 80 items, and one page ahead. Then the
		// numbers are those of the beginning.
		require.Greater(t, len(more), 47)
		assert.Equal(t, []int{2, 2, 1, 3, 1, 1, 1, 5}, more[:8])
		assert.Equal(t, []int{5, 2, 1, 3, 1, 1, 1, 5}, more[39:47])
	})
}

// The memory of a page that was consumed is used for the next one. So there are
// at most as many pages as are requested ahead, and the one that is consumed.
func TestPagesAreBounded(t *testing.T) {
	t.Parallel()
	for _, ahead := range []int{0, 1, 4} {
		t.Run(strconv.Itoa(ahead), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := remote{server: server{items: items(1, 300)}}
				l := r.list(10, ahead)
				fetch := l.Fetch
				var pages atomic.Int32
				l.Fetch = func(ctx context.Context, skip, count int, room []item) ([]item, error) {
					if assert.Empty(t, room); cap(room) == 0 {
						pages.Add(1)
					}
					return fetch(ctx, skip, count, room)
				}
				got, err := read(t, l)
				require.NoError(t, err)
				assert.Equal(t, ids(items(1, 300)), got)
				assert.LessOrEqual(t, pages.Load(), int32(ahead+1))
			})
		})
	}
}

// A server may send far more items than were asked for. The memory of such a
// page is not kept for the pages after it.
func TestLongPageIsNotKept(t *testing.T) {
	t.Parallel()
	for _, ahead := range []int{0, 4} {
		t.Run(strconv.Itoa(ahead), func(t *testing.T) {
			t.Parallel()
			s := server{items: items(1, 3000)}
			l := s.list(10)
			l.Prefetch = ahead
			var reused atomic.Bool
			l.Fetch = func(ctx context.Context, skip, count int, room []item) ([]item, error) {
				if room != nil {
					reused.Store(true)
				}
				assert.LessOrEqual(t, cap(room), 2*count)
				if skip == 0 {
					count = 2000
				}
				return s.fetch(ctx, skip, count, room)
			}
			got, err := read(t, l)
			require.NoError(t, err)
			assert.Equal(t, ids(items(1, 3000)), got)
			assert.True(t, reused.Load())
		})
	}
}

// A short page in the memory of a longer one clears the rest. Otherwise the old
// items would stay in memory.
func TestPrefetchClearsOldItems(t *testing.T) {
	t.Parallel()
	s := server{items: items(1, 300)}
	l := s.list(50)
	var page []item
	l.Fetch = func(ctx context.Context, skip, count int, room []item) (_ []item, err error) {
		page, err = s.fetch(ctx, skip, count-skip%7, room)
		return page, err
	}
	reused := false
	for _, err := range l.Items(t.Context()) {
		require.NoError(t, err)
		rest := page[len(page):cap(page)]
		require.Equal(t, make([]item, len(rest)), rest)
		reused = reused || len(rest) > 0
	}
	assert.True(t, reused)
}

func TestPrefetchEndsWithTheLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := remote{server: server{items: items(1, 200)}}
		for item, err := range r.list(10, 3).Items(t.Context()) {
			require.NoError(t, err)
			if item.ID == 50 {
				synctest.Wait()
				assert.EqualValues(t, 3, r.running.Load())
				break
			}
		}
		assert.Zero(t, r.running.Load())
		assert.EqualValues(t, 3, r.cancelled.Load())
	})
}

// An error comes after the items before it. An error past the end is dropped.
func TestPrefetchError(t *testing.T) {
	t.Parallel()
	fault := errors.New("fault")
	tests := []struct {
		name string
		n    int64
		skip int // of the requests that fail at once
		want int64
		err  error
	}{
		{"in the middle", 100, 45, 46, fault},
		{"past the end", 40, 45, 40, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := remote{
					server: server{items: items(1, tt.n)},
					fail: func(r request) error {
						if r.skip >= tt.skip {
							return fault
						}
						return nil
					},
					delay: func(r request) time.Duration { return -time.Duration(r.skip) * time.Millisecond },
				}
				got, err := read(t, r.list(10, 4))
				require.ErrorIs(t, err, tt.err)
				assert.Equal(t, ids(items(1, tt.want)), got)
			})
		})
	}
}

// When the context has ended, pages that were requested ahead are not yielded.
func TestPrefetchContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("cause")
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		r := remote{server: server{items: items(1, 200)}}
		var got []int64
		var last error
		requested := 0
		for item, err := range r.list(10, 3).Items(ctx) {
			if last = err; err != nil {
				break
			}
			if got = append(got, item.ID); item.ID == 10 {
				time.Sleep(time.Minute) // the pages requested ahead are there
				requested = r.sent()
				cancel(cause)
			}
		}
		require.ErrorIs(t, last, cause)
		assert.Equal(t, ids(items(1, 10)), got)
		assert.Equal(t, requested, r.sent())
	})
}

// If items move, a page that the server made before the page before it counts
// only if it begins with the last item of that page. Here the third page is
// made after the fourth.
func TestPrefetchRequestsAgain(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		change   func(*remote)
		kind     kind
		requests int // for the fourth page
	}{
		{"nothing changed", func(*remote) {}, movingItems, 1},
		{"the shared item changed", func(r *remote) { r.items[12].Version++ }, movingItems, 2},
		{"the shared item changed, but items stay", func(r *remote) { r.items[12].Version++ }, fixedPlaces, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := &remote{server: server{items: items(1, 60)}}
				r.delay = func(q request) time.Duration {
					if q.skip == 8 {
						return time.Second
					}
					return 0
				}
				r.before = func(q request) {
					if q.skip == 8 {
						tt.change(r)
					}
				}
				got, err := read(t, tt.kind.apply(r.list(5, 2)))
				require.NoError(t, err)
				assert.Equal(t, ids(items(1, 60)), got)
				fourth := 0
				for _, q := range r.requests {
					if q.skip == 12 {
						fourth++
					}
				}
				assert.Equal(t, tt.requests, fourth)
			})
		})
	}
}

// The server makes the last page, then item 10 moves to the end, and then the
// server makes the page before. Neither page shows item 10.
func TestPrefetchEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &remote{server: server{items: items(1, 14)}}
		r.delay = func(q request) time.Duration {
			if q.skip == 8 {
				return time.Second
			}
			return 0
		}
		r.before = func(q request) {
			if q.skip == 8 && len(r.items) == 14 { // and another item is inserted in front
				r.remove(10)
				r.items = append(items(15, 15), append(r.items, item{ID: 10, Version: 1})...)
			}
		}
		got, err := read(t, r.list(5, 3))
		require.NoError(t, err)
		assert.Contains(t, got, int64(10))
	})
}

// The fourth page is requested again, because item 13 changed. While the
// server makes it, item 15 moves to the end. The fifth page was made before
// that. It is short, but it is not the end.
func TestPrefetchEndAfterSecondRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &remote{server: server{items: items(1, 19)}}
		var fourth atomic.Int32
		r.delay = func(q request) time.Duration {
			if q.skip == 8 || q.skip == 12 && fourth.Add(1) == 2 {
				return time.Second
			}
			return 0
		}
		r.before = func(q request) {
			switch {
			case q.skip == 8:
				r.items[12].Version++
			case q.skip == 12 && fourth.Load() == 2:
				r.remove(15)
				r.items = append(r.items, item{ID: 15, Version: 1})
			}
		}
		got, err := read(t, r.list(5, 3))
		require.NoError(t, err)
		assert.Contains(t, got, int64(15))
	})
}

// If a server limits its pages, the pages ahead are as far apart as its pages
// are long.
func TestPrefetchCapped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := remote{server: server{items: items(1, 200)}}
		l := r.list(1000, 4)
		fetch := l.Fetch
		l.Fetch = func(ctx context.Context, skip, _ int, room []item) ([]item, error) {
			return fetch(ctx, skip, 11, room)
		}
		began := time.Now()
		got, err := read(t, l)
		require.NoError(t, err)
		assert.Equal(t, ids(items(1, 200)), got)
		assert.Less(t, time.Since(began), 12*time.Second)
	})
}
