package walk_test

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/internal/walk"
)

// remote is a server whose answers take a second. Requests are answered at the
// end of it.
type remote struct {
	server

	delay     func(request) time.Duration
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
		delay := time.Second + time.Duration(skip) // one at a time
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
		r := remote{server: server{items: items(1, 181)}} // 20 pages
		began := time.Now()
		got, err := read(t, r.list(10, 4))
		require.NoError(t, err)
		assert.Equal(t, ids(items(1, 181)), got)
		assert.InDelta(t, 7, time.Since(began).Seconds(), 1)
	})
}

func TestPrefetchIsBounded(t *testing.T) {
	t.Parallel()
	for _, ahead := range []int{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			r := remote{server: server{items: items(1, 200)}}
			n := 0
			for _, err := range r.list(11, ahead).Items(t.Context()) {
				require.NoError(t, err)
				time.Sleep(time.Minute) // all that may be requested has been answered
				page := max(0, n-1) / 10
				require.LessOrEqual(t, r.sent(), page+1+ahead)
				n++
			}
			assert.Equal(t, 200, n)
		})
	}
}

// No more pages are alive than requested ahead, and the one being consumed: the
// memory of one that was consumed goes to the next.
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

// Of a long page, a shorter one in the same memory leaves nothing, or it would
// be kept alive.
func TestNothingIsLeftOfAnOldPage(t *testing.T) {
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
			if item.ID == 5 {
				synctest.Wait()
				assert.EqualValues(t, 3, r.running.Load())
				break
			}
		}
		assert.Zero(t, r.running.Load())
		assert.EqualValues(t, 3, r.cancelled.Load())
	})
}

// An error waits for the items before it, and one past the end does not count.
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

// Once the context has ended, what was requested ahead does not count.
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

// Where items move, a page from before the page before it counts only if it
// begins with that page's end.
func TestPrefetchAsksAgain(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*remote)
		moves  bool
		twice  int // requests for the third page
	}{
		{"nothing changed", func(*remote) {}, true, 1},
		{"the shared item changed", func(r *remote) { r.items[8].Version++ }, true, 2},
		{"the shared item changed, but items do not move", func(r *remote) { r.items[8].Version++ }, false, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := &remote{server: server{items: items(1, 60)}}
				r.delay = func(q request) time.Duration {
					if q.skip == 4 {
						return time.Second // the second page comes after the third
					}
					return 0
				}
				r.before = func(q request) {
					if q.skip == 4 {
						tt.change(r)
					}
				}
				l := r.list(5, 2)
				if !tt.moves {
					l.Version = nil
				}
				got, err := read(t, l)
				require.NoError(t, err)
				assert.Equal(t, ids(items(1, 60)), got)
				third := 0
				for _, q := range r.requests {
					if q.skip == 8 {
						third++
					}
				}
				assert.Equal(t, tt.twice, third)
			})
		})
	}
}

// An item may leave for the end of the list after the last page was made, and
// before the page before that one was.
func TestPrefetchEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &remote{server: server{items: items(1, 10)}}
		r.delay = func(q request) time.Duration {
			if q.skip == 4 {
				return time.Second
			}
			return 0
		}
		r.before = func(q request) {
			if q.skip == 4 && len(r.items) == 10 { // item 6 leaves, and another comes in front
				r.remove(6)
				r.items = append(items(11, 11), append(r.items, item{ID: 6, Version: 1})...)
			}
		}
		got, err := read(t, r.list(5, 3))
		require.NoError(t, err)
		assert.Contains(t, got, int64(6))
	})
}

// A server that caps its pages is read ahead by the length of what it sends.
func TestPrefetchCapped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := remote{server: server{items: items(1, 200)}}
		l := r.list(1000, 4)
		fetch := l.Fetch
		l.Fetch = func(ctx context.Context, skip, _ int, room []item) ([]item,
			error,
		) {
			return fetch(ctx, skip, 11, room)
		}
		began := time.Now()
		got, err := read(t, l)
		require.NoError(t, err)
		assert.Equal(t, ids(items(1, 200)), got)
		assert.Less(t, time.Since(began), 12*time.Second)
	})
}
