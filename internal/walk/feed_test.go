package walk_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/internal/walk"
)

// query is one call of a journal.
type query struct {
	from        time.Time
	skip, count int
}

// journal answers from items in order of their dates, which it compares
// exactly, bounds included.
type journal struct {
	items   []item
	queries []query
	at      time.Time
	before  func() error  // called with each request, before it is answered
	exclude time.Duration // how coarsely dates are compared, bounds excluded; 0: exactly, bounds included
}

func (j *journal) fetch(ctx context.Context, from time.Time, skip, count int) (walk.Page[item], error) {
	j.queries = append(j.queries, query{from, skip, count})
	if j.before != nil {
		if err := j.before(); err != nil {
			return walk.Page[item]{}, err
		}
	}
	var found []item
	for _, i := range j.items {
		date, bound := i.Modified.Truncate(max(j.exclude, 1)), from.Truncate(max(j.exclude, 1))
		if date.After(bound) || j.exclude == 0 && date.Equal(bound) {
			found = append(found, i)
		}
	}
	found = found[min(skip, len(found)):]
	return walk.Page[item]{Items: slices.Clone(found[:min(count, len(found))]), At: j.at}, ctx.Err()
}

func (j *journal) feed(count int) *walk.Feed[item] {
	return &walk.Feed[item]{Fetch: j.fetch, ID: itemID, Version: itemVersion, Modified: itemModified, Count: count}
}

// epoch is when the first item of a journal was modified.
func epoch() time.Time { return time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC) }

// entries returns n items, each modified some time after the one before.
func entries(n int, apart time.Duration) []item {
	var all []item
	for i := range n {
		all = append(all, item{ID: int64(i + 1), Modified: epoch().Add(time.Duration(i) * apart)})
	}
	return all
}

func pass(t *testing.T, f *walk.Feed[item]) []int64 {
	t.Helper()
	got, err := failingPass(t, f)
	require.NoError(t, err)
	return got
}

func failingPass(t *testing.T, f *walk.Feed[item]) ([]int64, error) {
	t.Helper()
	var got []int64
	more, err := f.Pass(t.Context(), func(i item, _ time.Time) bool {
		got = append(got, i.ID)
		return true
	})
	assert.True(t, more)
	return got, err
}

func TestFeedCost(t *testing.T) {
	t.Parallel()
	for _, count := range []int{2, 10, 11, 50} {
		for _, n := range []int{0, 1, 2, 10, 11, 99, 100, 101} {
			for _, since := range []time.Time{{}, epoch()} {
				t.Run(fmt.Sprint(n, " by ", count, since.IsZero()), func(t *testing.T) {
					t.Parallel()
					j := journal{items: entries(n, 11*time.Millisecond), at: epoch().Add(time.Hour)}
					f := j.feed(count)
					f.Since = since
					assert.Equal(t, ids(j.items), pass(t, f))
					assert.LessOrEqual(t, len(j.queries), max(1, (n-1+count-2)/(count-1))+2)
				})
			}
		}
	}
}

func TestFeedQueries(t *testing.T) {
	t.Parallel()
	j := journal{items: entries(4, time.Minute), at: epoch().Add(time.Hour)}
	f := j.feed(3)
	f.Since, f.Overlap = epoch().Add(90*time.Second+time.Millisecond), time.Minute
	assert.Equal(t, []int64{2, 3, 4}, pass(t, f))
	assert.Equal(t, []query{
		{epoch().Add(28 * time.Second), 0, 3},
		{epoch().Add(3*time.Minute - 10*time.Millisecond), 0, 3},
	}, j.queries)
	assert.Equal(t, epoch().Add(3*time.Minute), f.Position())

	j.queries = nil
	assert.Empty(t, pass(t, f))
	assert.Equal(t, []query{{epoch().Add(2*time.Minute - 2*time.Second), 0, 3}}, j.queries)
}

// Many items of one instant, before and behind others, are read whatever the
// filter.
func TestFeedInstant(t *testing.T) {
	t.Parallel()
	for _, exclude := range []time.Duration{0, time.Millisecond, time.Second} {
		for _, count := range []int{2, 7, 11, 100} {
			t.Run(fmt.Sprint(exclude, count), func(t *testing.T) {
				t.Parallel()
				j := journal{at: epoch().Add(time.Hour), exclude: exclude}
				for i := range int64(90) {
					j.items = append(j.items,
						item{ID: i + 1, Modified: epoch().Add(time.Duration(i/30) * 20 * time.Millisecond)})
				}
				j.items = append(j.items, item{ID: 91, Modified: epoch().Add(time.Minute)})
				assert.Equal(t, ids(j.items), pass(t, j.feed(count)))
			})
		}
	}
}

// An instant that fills a page cannot move the bound, which then stays a while
// and is never before the first.
func TestFeedInstantQueries(t *testing.T) {
	t.Parallel()
	j := journal{items: entries(5, 0), at: epoch().Add(time.Hour)}
	assert.Equal(t, ids(j.items), pass(t, j.feed(3)))
	bound := epoch().Add(-2 * time.Second)
	assert.Equal(t,
		[]query{
			{time.Time{}, 0, 3},
			{epoch().Add(-10 * time.Millisecond), 0, 3},
			{bound, 0, 3},
			{bound, 2, 3},
			{bound, 4, 3},
		}, j.queries)

	j.queries = nil
	f := j.feed(3)
	f.Since = epoch().Add(1500 * time.Millisecond)
	assert.Empty(t, pass(t, f))
	bound = epoch().Add(-time.Second)
	assert.Equal(t,
		[]query{
			{bound, 0, 3},
			{epoch().Add(-10 * time.Millisecond), 0, 3},
			{bound, 0, 3},
			{bound, 2, 3},
			{bound, 4, 3},
		}, j.queries)
}

// The item that a page ended with is modified before the next one. It comes
// once more, and nothing is lost.
func TestFeedMoves(t *testing.T) {
	t.Parallel()
	j := journal{items: entries(8, 20*time.Millisecond), at: epoch().Add(time.Hour)}
	j.before = func() error {
		if len(j.queries) == 2 {
			moved := item{ID: 4, Version: 1, Modified: epoch().Add(time.Minute)}
			j.items = append(slices.Delete(j.items, 3, 4), moved)
		}
		return nil
	}
	assert.Equal(t, []int64{1, 2, 3, 4, 5, 6, 7, 8, 4}, pass(t, j.feed(4)))
	assert.Equal(t, epoch().Add(-2*time.Second), j.queries[2].from)
}

// The same, where the filter hides what is left of the second, but not where
// the item has moved to.
func TestFeedMovesBehindCoarseFilter(t *testing.T) {
	t.Parallel()
	j := journal{items: entries(8, 20*time.Millisecond), at: epoch().Add(time.Hour), exclude: time.Second}
	j.before = func() error {
		if len(j.queries) == 2 {
			moved := item{ID: 4, Version: 1, Modified: epoch().Add(time.Minute)}
			j.items = append(slices.Delete(j.items, 3, 4), moved)
		}
		return nil
	}
	assert.Equal(t, []int64{1, 2, 3, 4, 5, 6, 7, 8, 4}, pass(t, j.feed(4)))
}

func TestFeedPosition(t *testing.T) {
	t.Parallel()
	noon := epoch()
	tests := []struct {
		name           string
		since, at      time.Time
		newest         []time.Time // the items' dates
		want           time.Time
		yielded, asked int
	}{
		{name: "nothing ever", at: noon, asked: 1},
		{name: "nothing new", since: noon, at: noon.Add(time.Hour), want: noon, asked: 1},
		{
			name: "the newest", at: noon.Add(time.Hour), newest: []time.Time{noon, noon.Add(time.Minute)},
			want: noon.Add(time.Minute), yielded: 2, asked: 1,
		},
		{
			name: "one ahead", at: noon, newest: []time.Time{noon.Add(-1), noon.Add(time.Hour)}, want: noon, yielded: 2,
			asked: 1,
		},
		{
			name: "an old one", since: noon, at: noon.Add(time.Hour), newest: []time.Time{noon.Add(-1)}, want: noon,
			asked: 1,
		},
		{name: "begun a second ahead", since: noon.Add(time.Second), at: noon, want: noon.Add(time.Second), asked: 1},
		{
			name: "begun ahead", since: noon.Add(time.Hour), at: noon, newest: []time.Time{noon.Add(time.Minute)},
			want: noon, yielded: 1, asked: 2,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			j := journal{at: tt.at}
			for i, date := range tt.newest {
				j.items = append(j.items, item{ID: int64(i + 1), Modified: date})
			}
			f := j.feed(10)
			f.Since = tt.since
			assert.Equal(t, tt.since, f.Position())
			assert.Len(t, pass(t, f), tt.yielded)
			assert.Equal(t, tt.want, f.Position())
			assert.Len(t, j.queries, tt.asked)
		})
	}
}

// Where the server does not tell its time, ours counts; where it took its time
// to answer, that is taken off.
func TestFeedServerTime(t *testing.T) {
	t.Parallel()
	for _, told := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now().UTC()
			j := journal{items: entries(1, 0)}
			j.before = func() error {
				time.Sleep(3500 * time.Millisecond)
				if told {
					j.at = time.Now().UTC().Truncate(time.Second)
				}
				return nil
			}
			f := j.feed(10)
			pass(t, f)
			assert.Equal(t, began, f.Position())
		})
	}
}

// An item that changes to and fro within one instant is yielded each time, and
// one that stays is not.
func TestFeedVersions(t *testing.T) {
	t.Parallel()
	j := journal{items: entries(2, 0), at: epoch().Add(time.Hour)}
	f := j.feed(10)
	assert.Equal(t, []int64{1, 2}, pass(t, f))
	assert.Empty(t, pass(t, f))
	j.items[0].Version = 1
	assert.Equal(t, []int64{1}, pass(t, f))
	j.items[0].Version = 0
	assert.Equal(t, []int64{1}, pass(t, f))
	assert.Empty(t, pass(t, f))
}

func TestFeedError(t *testing.T) {
	t.Parallel()
	fault := errors.New("fault")
	j := journal{items: entries(20, time.Minute), at: epoch().Add(time.Hour)}
	j.before = func() error {
		if len(j.queries) == 3 || len(j.queries) == 4 {
			return fault
		}
		return nil
	}
	f := j.feed(5)
	f.Since = epoch()
	got, err := failingPass(t, f)
	require.ErrorIs(t, err, fault)
	assert.Equal(t, ids(j.items[:9]), got)
	assert.Equal(t, epoch().Add(8*time.Minute), f.Position())

	got, err = failingPass(t, f)
	require.ErrorIs(t, err, fault)
	assert.Empty(t, got)
	assert.Equal(t, epoch().Add(8*time.Minute), f.Position())

	assert.Equal(t, ids(j.items[9:]), pass(t, f))
}

func TestFeedEndsWithTheConsumer(t *testing.T) {
	t.Parallel()
	j := journal{items: entries(20, time.Minute), at: epoch().Add(time.Hour)}
	n := 0
	more, err := j.feed(5).Pass(t.Context(), func(item, time.Time) bool { n++; return n < 3 })
	require.NoError(t, err)
	assert.False(t, more)
	assert.Equal(t, 3, n)
	assert.Len(t, j.queries, 1)
}

// Where changes come faster than they are read, a pass ends all the same, and
// the next one goes on from when it began.
func TestFeedUnderSteadyWrites(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var j journal
		write := func() error {
			for range 20 {
				time.Sleep(20 * time.Millisecond)
				j.items = append(j.items, item{ID: int64(len(j.items) + 1), Modified: time.Now().UTC()})
			}
			return nil
		}
		require.NoError(t, write())
		j.before = write
		f := j.feed(10)
		f.Overlap = 10 * time.Second
		began := time.Now().UTC()
		got := pass(t, f)
		took := time.Since(began)
		assert.Greater(t, took, f.Overlap)
		assert.Less(t, took, 10*f.Overlap)
		assert.Equal(t, began.Truncate(time.Second), f.Position())
		assert.Equal(t, ids(j.items[:len(got)]), got)

		j.before = nil
		assert.Equal(t, ids(j.items[len(got):]), pass(t, f))
	})
}

// A server that minds neither the bound nor the skip costs a handful of
// requests.
func TestFeedDoesNotAdvance(t *testing.T) {
	t.Parallel()
	j := journal{items: entries(50, time.Minute), at: epoch().Add(time.Hour)}
	f := j.feed(10)
	f.Fetch = func(ctx context.Context, _ time.Time, _, count int) (walk.Page[item], error) {
		return j.fetch(ctx, time.Time{}, 0, count)
	}
	got, err := failingPass(t, f)
	require.ErrorIs(t, err, walk.ErrUnstable)
	assert.Equal(t, ids(j.items[:10]), got)
	assert.LessOrEqual(t, len(j.queries), 9)
}

// Whatever is modified, the feed remembers no more than an overlap of it, a
// page, and what is about to be forgotten.
func TestFeedMemory(t *testing.T) {
	t.Parallel()
	j := journal{items: entries(100_000, time.Second)}
	f := j.feed(1000)
	f.Overlap = 500 * time.Second
	j.at = j.items[len(j.items)-1].Modified
	n, most := 0, 0
	var fetched int
	f.Fetch = func(_ context.Context, from time.Time, skip, count int) (walk.Page[item], error) {
		fetched++
		first,
			_ := slices.BinarySearchFunc(j.items, from,
			func(i item, from time.Time) int { return i.Modified.Compare(from) })
		found := j.items[first+skip:]
		return walk.Page[item]{Items: slices.Clone(found[:min(count, len(found))]), At: j.at}, nil
	}
	more, err := f.Pass(t.Context(), func(item, time.Time) bool {
		n++
		most = max(most, f.Remembered())
		return true
	})
	require.NoError(t, err)
	assert.True(t, more)
	assert.Equal(t, len(j.items), n)
	assert.LessOrEqual(t, most, 2*(500+1000)+1000)
	assert.Empty(t, pass(t, f))
}
