package walk_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
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

// journal answers from items in order of their dates. It compares dates exactly
// and includes the bound, if it has no filter.
type journal struct {
	items   []item
	queries []query
	at      time.Time
	before  func() error // called with each request, before it is answered
	filter  *filter
}

func (j *journal) fetch(ctx context.Context, from time.Time, skip, count int) (walk.Page[item], error) {
	j.queries = append(j.queries, query{from, skip, count})
	if j.before != nil {
		if err := j.before(); err != nil {
			return walk.Page[item]{}, err
		}
	}
	first := sort.Search(len(j.items), func(i int) bool {
		if j.filter == nil {
			return !j.items[i].Modified.Before(from)
		}
		return j.filter.shows(j.items[i].Modified, from)
	})
	found := j.items[min(first+skip, len(j.items)):]
	return walk.Page[item]{Items: slices.Clone(found[:min(count, len(found))]), At: j.at}, ctx.Err()
}

func (j *journal) feed(count int) *walk.Feed[item] {
	return &walk.Feed[item]{Fetch: j.fetch, ID: itemID, Version: itemVersion, Modified: itemModified, Count: count}
}

// move gives the item a new version and date, at the end of the list.
func (j *journal) move(id int64, to time.Time) {
	i := slices.IndexFunc(j.items, func(i item) bool { return i.ID == id })
	moved := item{ID: id, Version: j.items[i].Version + 1, Modified: to}
	j.items = append(slices.Delete(j.items, i, i+1), moved)
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

// If the filter is as fine as the dates, a pass costs the requests of a search
// and two more.
func TestFeedCost(t *testing.T) {
	t.Parallel()
	starts := []struct {
		apart time.Duration
		since time.Time
	}{
		{apart: 11 * time.Millisecond},
		{apart: 11 * time.Millisecond, since: epoch()},
		{apart: 11 * time.Millisecond, since: epoch().Add(time.Hour)},
		{apart: 3 * time.Second, since: epoch().Add(time.Minute)},
		{apart: time.Hour, since: epoch().Add(50 * time.Hour)},
	}
	for _, count := range []int{2, 10, 11, 50} {
		for _, n := range []int{0, 1, 2, 10, 11, 99, 100, 101} {
			for _, start := range starts {
				since := start.since
				t.Run(fmt.Sprint(n, " by ", count, " since ", since.Format("15:04:05"), start.apart),
					func(t *testing.T) {
						t.Parallel()
						j := journal{items: entries(n, start.apart), at: epoch().Add(200 * time.Hour)}
						want := slices.DeleteFunc(slices.Clone(j.items),
							func(i item) bool { return i.Modified.Before(since) })
						search := 0
						list := walk.List[item]{
							Fetch: func(_ context.Context, skip, count int, _ []item) ([]item, error) {
								search++
								found := want[min(skip, len(want)):]
								return slices.Clone(found[:min(count, len(found))]), nil
							},
							ID: itemID, Version: itemVersion, Count: count,
						}
						for _, err := range list.Items(t.Context()) {
							require.NoError(t, err)
						}
						f := j.feed(count)
						f.Since = since
						assert.Equal(t, ids(want), pass(t, f))
						allowed := search + 2
						if len(want) == 0 { // the end has to be found without a bound
							allowed += 2*log2(n) + 1
						}
						assert.LessOrEqual(t, len(j.queries), allowed)
					})
			}
		}
	}
}

func log2(n int) (log int) {
	for ; n > 1; n /= 2 {
		log++
	}
	return log
}

func TestFeedQueries(t *testing.T) {
	t.Parallel()
	j := journal{items: entries(5, time.Minute), at: epoch().Add(time.Hour)}
	f := j.feed(4)
	f.Since, f.Overlap = epoch().Add(61*time.Second+time.Millisecond), time.Minute
	assert.Equal(t, []int64{2, 3, 4, 5}, pass(t, f))
	assert.Equal(t, []query{
		{epoch().Add(-time.Second), 0, 4}, // the whole second, two seconds before the start
		{epoch().Add(3*time.Minute - 10*time.Millisecond), 0, 4},
	}, j.queries)
	assert.Equal(t, epoch().Add(4*time.Minute), f.Position())

	j.queries = nil
	assert.Empty(t, pass(t, f))
	assert.Equal(t, []query{{epoch().Add(3*time.Minute - 10*time.Millisecond), 0, 4}}, j.queries,
		"just before the last item that is not after the start")
}

// A bound that shows nothing from before the start steps back as far as a page
// can show. Then there is no bound.
func TestFeedStepsBack(t *testing.T) {
	t.Parallel()
	start := epoch().Add(-time.Hour)
	tests := []struct {
		name   string
		before time.Duration // of an item from before the start; 0: there is none
		apart  time.Duration
		want   []time.Duration // the bounds, before the start
		free   bool            // at last there is no bound
	}{
		{name: "within two seconds", before: time.Second, apart: time.Minute, want: []time.Duration{2 * time.Second}},
		{
			name: "within two days", before: 48 * time.Hour, apart: time.Hour,
			want: []time.Duration{2 * time.Second, 49 * time.Hour},
		},
		{
			name: "within half a page", before: 40 * time.Minute, apart: time.Minute,
			want: []time.Duration{2 * time.Second, 50 * time.Minute},
		},
		{
			name: "within a minute", before: 50 * time.Second, apart: 20 * time.Millisecond,
			want: []time.Duration{2 * time.Second, time.Minute + 2*time.Second},
		},
		{
			name: "half a page is as far as the bound before", before: 50 * time.Second, apart: 40 * time.Millisecond,
			want: []time.Duration{2 * time.Second, time.Minute + 2*time.Second},
		},
		{
			name: "a page is as far as the longest step", before: 20 * time.Hour, apart: 49 * time.Hour / 100,
			want: []time.Duration{2 * time.Second, 49 * time.Hour / 2},
		},
		{
			name: "longer ago", before: 100 * time.Hour, apart: time.Hour,
			want: []time.Duration{2 * time.Second, 49 * time.Hour}, free: true,
		},
		{
			name: "never", apart: 20 * time.Millisecond,
			want: []time.Duration{2 * time.Second, time.Minute + 2*time.Second},
			free: true,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			j := journal{items: entries(8, test.apart), at: epoch().Add(1000 * time.Hour)}
			want := ids(j.items)
			if test.before > 0 {
				j.items = slices.Insert(j.items, 0, item{ID: 100, Modified: start.Add(-test.before)})
			}
			f := j.feed(100)
			f.Since = start
			assert.Equal(t, want, pass(t, f))
			var asked []query
			for _, from := range test.want {
				asked = append(asked, query{start.Add(-from), 0, 100})
			}
			if test.free {
				asked = append(asked, query{time.Time{}, 0, 100})
			}
			assert.Equal(t, asked, j.queries)

			for range 3 {
				j.queries = nil
				assert.Empty(t, pass(t, f))
				assert.Len(t, j.queries, 1, "a pass without changes")
			}
		})
	}
}

// If there is only an item from before the start, the next pass begins at it.
func TestFeedBeginsAtTheOnlyItem(t *testing.T) {
	t.Parallel()
	j := journal{items: entries(1, 0), at: epoch().Add(time.Hour)}
	f := j.feed(10)
	f.Since = epoch().Add(30 * time.Minute)
	assert.Empty(t, pass(t, f))
	j.queries = nil
	assert.Empty(t, pass(t, f))
	assert.Equal(t, []query{{epoch().Add(-10 * time.Millisecond), 0, 10}}, j.queries)
}

// Many items of one instant, before and behind others, are read whatever the
// filter.
func TestFeedInstant(t *testing.T) {
	t.Parallel()
	for _, filter := range filters() {
		for _, count := range []int{2, 7, 11, 100} {
			t.Run(fmt.Sprint(filter.name, count), func(t *testing.T) {
				t.Parallel()
				j := journal{at: epoch().Add(time.Hour), filter: &filter}
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

// An instant that fills a page cannot move the bound, which then stays.
func TestFeedInstantQueries(t *testing.T) {
	t.Parallel()
	j := journal{items: entries(5, 0), at: epoch().Add(time.Hour)}
	assert.Equal(t, ids(j.items), pass(t, j.feed(3)))
	assert.Equal(t,
		[]query{
			{time.Time{}, 0, 3},
			{epoch().Add(-10 * time.Millisecond), 0, 3},
			{time.Time{}, 2, 3},
			{time.Time{}, 4, 3},
		}, j.queries)
}

// The item that a page ended with is modified before the next one. It comes
// once more, and nothing is lost.
func TestFeedMoves(t *testing.T) {
	t.Parallel()
	for _, filter := range filters() {
		t.Run(filter.name, func(t *testing.T) {
			t.Parallel()
			j := journal{items: entries(8, 20*time.Millisecond), at: epoch().Add(time.Hour), filter: &filter}
			j.before = func() error {
				if len(j.queries) == 2 {
					j.move(4, epoch().Add(time.Minute))
				}
				return nil
			}
			assert.Equal(t, []int64{1, 2, 3, 4, 5, 6, 7, 8, 4}, pass(t, j.feed(4)))
		})
	}
}

// If the item from which a pass wants to begin is gone, the pass begins in the
// window of the pass before.
func TestFeedBeginsInAProvenWindow(t *testing.T) {
	t.Parallel()
	const n = 5000
	j := journal{items: entries(n, time.Minute), at: epoch().Add(1000 * time.Hour)}
	f := j.feed(100)
	f.Since = j.items[n-2].Modified
	assert.Equal(t, []int64{n - 1, n}, pass(t, f))
	require.Len(t, j.queries, 3)

	j.items = slices.Delete(j.items, n-3, n-2) // the last one before the start
	for _, most := range []int{3, 2, 1, 1} {
		j.queries = nil
		assert.Empty(t, pass(t, f))
		assert.LessOrEqual(t, len(j.queries), most)
	}
}

// The same without an overlap: the start is the last item itself.
func TestFeedBeginsInAProvenWindowWithoutOverlap(t *testing.T) {
	t.Parallel()
	j := journal{items: entries(5000, time.Minute), at: epoch().Add(1000 * time.Hour)}
	f := j.feed(100)
	assert.Len(t, pass(t, f), 5000)
	assert.Empty(t, pass(t, f))
	j.items = j.items[:4999]
	for range 3 {
		j.queries = nil
		assert.Empty(t, pass(t, f))
		assert.Len(t, j.queries, 1)
	}
}

// An item that is not in order says nothing of where a pass can begin.
func TestFeedBeginsAtAnItemInOrder(t *testing.T) {
	t.Parallel()
	j := journal{items: entries(10, time.Minute), at: epoch().Add(time.Hour)}
	f := j.feed(100)
	f.Overlap = 30 * time.Second
	f.Ordered = func(i *item) bool { return i.ID < 1000 }
	other := item{ID: 1000, Modified: epoch().Add(8*time.Minute + 20*time.Second)}
	yield := func(item, time.Time) bool { return true }
	f.Before = func(context.Context) (bool, error) { return f.Deliver(other, yield), nil }
	pass(t, f)
	j.queries = nil
	pass(t, f)
	assert.Equal(t, []query{{epoch().Add(8*time.Minute - 10*time.Millisecond), 0, 100}}, j.queries)
}

// A filter that hides items of a minute does not hide those of two: the bound
// follows the changes in spite of it.
func TestFeedBoundFollowsChangesBehindACoarseFilter(t *testing.T) {
	t.Parallel()
	for _, filter := range filters() {
		if !strings.HasPrefix(filter.name, "minutes") {
			continue
		}
		for _, since := range []time.Time{{}, epoch().Add(1500*time.Second + 30*time.Second)} {
			t.Run(fmt.Sprint(filter.name, since.IsZero()), func(t *testing.T) {
				t.Parallel()
				j := journal{items: entries(3000, time.Second), filter: &filter}
				f := j.feed(1000)
				f.Since = since
				for range 30 {
					last := j.items[len(j.items)-1]
					j.items = append(j.items, item{ID: last.ID + 1, Modified: last.Modified.Add(7 * time.Minute)})
					j.at = last.Modified.Add(8 * time.Minute)
					j.queries = nil
					pass(t, f)
				}
				newest := j.items[len(j.items)-1].Modified
				for _, query := range j.queries {
					assert.WithinDuration(t, newest, query.from, 10*time.Minute)
				}
			})
		}
	}
}

// If the item that a page starts on moves each time, the pages share more.
func TestFeedOfAListThatMovesAtEachRequest(t *testing.T) {
	t.Parallel()
	ignored := filters()[0]
	j := journal{items: entries(200, 0), at: epoch().Add(10 * time.Hour), filter: &ignored}
	f := j.feed(10)
	var last int64
	moves := 0
	f.Fetch = func(ctx context.Context, from time.Time, skip, count int) (walk.Page[item], error) {
		if last > 0 && moves < 80 {
			moves++
			j.move(last, epoch().Add(time.Duration(moves)*time.Minute))
		}
		page, err := j.fetch(ctx, from, skip, count)
		if skip > 0 && len(page.Items) > 0 {
			last = page.Items[len(page.Items)-1].ID
		}
		return page, err
	}
	got := pass(t, f)
	assert.Subset(t, got, ids(j.items))
	assert.Equal(t, 80, moves)
}

// If many items leave what was read, the pass steps back twice as far each
// time.
func TestFeedStepsBackTwiceAsFar(t *testing.T) {
	t.Parallel()
	ignored := filters()[0]
	require.True(t, ignored.ignore)
	j := journal{items: entries(400, time.Second), at: epoch().Add(time.Hour), filter: &ignored}
	requests := 0
	j.before = func() error {
		if j.queries[len(j.queries)-1].skip > 250 && requests == 0 {
			requests = len(j.queries)
			j.items = j.items[200:]
		}
		return nil
	}
	assert.Equal(t, from(1, 400), pass(t, j.feed(10)))
	back := 0
	for i := requests; j.queries[i].skip < j.queries[i-1].skip; i++ {
		back++
	}
	assert.LessOrEqual(t, back, 5)
	assert.Len(t, j.queries, 61)
}

// from returns the numbers from first to last.
func from(first, last int) []int64 {
	var all []int64
	for id := first; id <= last; id++ {
		all = append(all, int64(id))
	}
	return all
}

func TestFeedPosition(t *testing.T) {
	t.Parallel()
	noon := epoch()
	tests := []struct {
		name           string
		since, at      time.Time
		items          []time.Time // their dates
		want           time.Time
		yielded, asked int
	}{
		{name: "nothing ever", at: noon, want: noon, asked: 1},
		{name: "nothing new", since: noon, at: noon.Add(time.Hour), want: noon, asked: 3},
		{
			name: "the newest", at: noon.Add(time.Hour), items: []time.Time{noon, noon.Add(time.Minute)},
			want: noon.Add(time.Minute), yielded: 2, asked: 1,
		},
		{
			name: "one ahead", at: noon, items: []time.Time{noon.Add(-1), noon.Add(time.Hour)}, want: noon, yielded: 2,
			asked: 1,
		},
		{
			name: "an old one", since: noon, at: noon.Add(time.Hour), items: []time.Time{noon.Add(-1)}, want: noon,
			asked: 1,
		},
		{name: "begun a second ahead", since: noon.Add(time.Second), at: noon, want: noon.Add(time.Second), asked: 3},
		{
			name: "begun ahead", since: noon.Add(time.Hour), at: noon, items: []time.Time{noon.Add(time.Minute)},
			want: noon, yielded: 1, asked: 4,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				j := journal{at: tt.at}
				for i, date := range tt.items {
					j.items = append(j.items, item{ID: int64(i + 1), Modified: date})
				}
				f := j.feed(10)
				f.Since = tt.since
				assert.Equal(t, tt.since, f.Position())
				assert.Len(t, pass(t, f), tt.yielded)
				assert.Equal(t, tt.want, f.Position())
				assert.Len(t, j.queries, tt.asked)
			})
		})
	}
}

// Each item comes with the position that holds once it has been handled.
func TestFeedPositionOfEachItem(t *testing.T) {
	t.Parallel()
	noon := epoch()
	j := journal{items: entries(5, time.Minute), at: noon.Add(150 * time.Second)}
	j.items[1].Modified = time.Time{} // as an item that was never modified
	f := j.feed(10)
	f.Since, f.Overlap = noon.Add(30*time.Second), time.Minute
	f.Fetch = func(context.Context, time.Time, int, int) (walk.Page[item], error) {
		return walk.Page[item]{Items: slices.Clone(j.items), At: j.at}, nil
	}
	created := noon.Add(10 * time.Minute)
	f.Ordered = func(i *item) bool { return !i.Modified.IsZero() }
	f.Modified = func(i *item) time.Time {
		if i.Modified.IsZero() {
			return created
		}
		return i.Modified
	}
	var positions []time.Duration
	more, err := f.Pass(t.Context(), func(_ item, position time.Time) bool {
		positions = append(positions, position.Sub(noon))
		return len(positions) < 5
	})
	require.NoError(t, err)
	assert.False(t, more)
	assert.Equal(t, []time.Duration{
		30 * time.Second,  // the first one is from before Since
		30 * time.Second,  // the second one is not in order
		120 * time.Second, // the third one
		150 * time.Second, // the beginning of the pass
		150 * time.Second,
	}, positions)
	assert.Equal(t, noon.Add(150*time.Second), f.Position())
}

// The server's time is taken from the first response. If that is slow, it may
// be dated after the pass began.
func TestFeedServerTime(t *testing.T) {
	t.Parallel()
	for _, dated := range []bool{false, true} {
		for took, early := range map[time.Duration]time.Duration{
			0: 0, 400 * time.Millisecond: 0, time.Second: 0, 3 * time.Second: 0, 3500 * time.Millisecond: time.Second,
		} {
			t.Run(fmt.Sprint(dated, took), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					began := time.Now().UTC()
					j := journal{items: entries(1, 0)} // it is dated ahead
					j.before = func() error {
						time.Sleep(took)
						if dated {
							j.at = time.Now().UTC().Truncate(time.Second)
						}
						return nil
					}
					f := j.feed(10)
					f.Overlap = time.Minute
					pass(t, f)
					assert.Equal(t, began.Add(-early), f.Position())
				})
			})
		}
	}
}

// Without an overlap, nothing makes up for the fraction of a second that the
// server's time lacks.
func TestFeedServerTimeWithoutOverlap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(900 * time.Millisecond)
		began := time.Now().UTC()
		j := journal{}
		j.before = func() error {
			time.Sleep(200 * time.Millisecond)
			j.at = time.Now().UTC().Truncate(time.Second)
			return nil
		}
		f := j.feed(10)
		assert.Empty(t, pass(t, f))
		assert.Equal(t, began.Truncate(time.Second), f.Position())
		j.items = []item{{ID: 1, Modified: began.Add(50 * time.Millisecond)}} // it was made after the response
		assert.Equal(t, []int64{1}, pass(t, f))
	})
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

// If changes come faster than they are read, a pass ends all the same, and the
// next one goes on from when it began.
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

// A server whose pages do not advance costs a handful of requests.
func TestFeedDoesNotAdvance(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		since    time.Time
		fetch    func(j *journal, from time.Time, skip, count int) (time.Time, int, int)
		yielded  int
		requests int
	}{
		{
			name:    "ignores bound and skip",
			fetch:   func(_ *journal, _ time.Time, _, count int) (time.Time, int, int) { return time.Time{}, 0, count },
			yielded: 10, requests: 7,
		},
		{
			name:  "ignores skip, the start is further on",
			since: epoch().Add(30 * time.Minute),
			fetch: func(_ *journal, _ time.Time, _, count int) (time.Time, int, int) {
				return time.Time{}, 0, count
			},
			requests: 3,
		},
		{
			name: "answers two pages in turn",
			fetch: func(j *journal, _ time.Time, _, count int) (time.Time, int, int) {
				return time.Time{}, len(j.queries) % 2, count
			},
			yielded: 11, requests: 7,
		},
		{
			name:  "answers two pages in turn, the start is further on",
			since: epoch().Add(30 * time.Minute),
			fetch: func(j *journal, _ time.Time, _, count int) (time.Time, int, int) {
				return time.Time{}, len(j.queries) % 2, count
			},
			requests: 27,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			j := journal{items: entries(50, time.Minute), at: epoch().Add(time.Hour)}
			f := j.feed(10)
			f.Since = test.since
			f.Fetch = func(ctx context.Context, from time.Time, skip, count int) (walk.Page[item], error) {
				from, skip, count = test.fetch(&j, from, skip, count)
				return j.fetch(ctx, from, skip, count)
			}
			got, err := failingPass(t, f)
			require.ErrorIs(t, err, walk.ErrUnstable)
			assert.Equal(t, ids(j.items[:test.yielded]), got)
			assert.Len(t, j.queries, test.requests)
		})
	}
}

// A new version of a known item is progress: items that change all the time are
// no reason to give up.
func TestFeedOfItemsThatChangeAllTheTime(t *testing.T) {
	t.Parallel()
	j := journal{items: entries(30, 0), at: epoch().Add(time.Hour)}
	turns := 0
	j.before = func() error {
		if turns++; turns < 60 {
			for i := range j.items {
				j.items[i].Version++
			}
		}
		return nil
	}
	got := pass(t, j.feed(10))
	assert.Subset(t, got, ids(j.items))
	assert.GreaterOrEqual(t, turns, 60)
}

// Whatever is modified, the feed remembers no more than an overlap of it, a
// page, and what is about to be forgotten.
func TestFeedMemory(t *testing.T) {
	t.Parallel()
	j := journal{items: entries(100_000, time.Second)}
	f := j.feed(1000)
	f.Overlap = 500*time.Second + 500*time.Millisecond
	j.at = j.items[len(j.items)-1].Modified
	n, most := 0, 0
	f.Fetch = func(_ context.Context, from time.Time, skip, count int) (walk.Page[item], error) {
		j.queries = append(j.queries, query{from, skip, count})
		first, _ := slices.BinarySearchFunc(j.items, from,
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

	j.queries = nil
	assert.Empty(t, pass(t, f))
	assert.Equal(t, j.items[len(j.items)-502].Modified.Add(-10*time.Millisecond), j.queries[0].from,
		"it remembers where the next pass begins")
}

// However many items the feed forgets, it remembers the one at which the next
// pass begins.
func TestFeedRemembersWhereAPassBegins(t *testing.T) {
	t.Parallel()
	j := journal{items: entries(5000, time.Second), at: epoch().Add(10 * time.Hour)}
	first := item{ID: 9999, Modified: epoch().Add(-time.Hour)}
	j.items = slices.Insert(j.items, 0, first)
	f := j.feed(100)
	f.Overlap = 2 * time.Hour
	assert.Len(t, pass(t, f), 5001)
	j.queries = nil
	pass(t, f)
	assert.Equal(t, first.Modified.Add(-10*time.Millisecond), j.queries[0].from)
}

// 3,000 items, one a second, and further ones: all are yielded whatever the
// filter, from the beginning and from any position, and the requests are those
// of the pages that the server shows, not of their square.
func TestFeedReadsAllWhateverTheFilter(t *testing.T) {
	t.Parallel()
	const n = 3000
	for _, filter := range filters() {
		for _, count := range []int{10, 1000} {
			for _, first := range []int{0, 1500, n - 1} {
				t.Run(fmt.Sprint(filter.name, ", ", count, " a page, from ", first), func(t *testing.T) {
					t.Parallel()
					j := journal{items: entries(n, time.Second), filter: &filter}
					j.at = j.items[n-1].Modified.Add(time.Hour)
					f := j.feed(count)
					if first > 0 {
						f.Since = j.items[first].Modified
					}
					assert.Equal(t, ids(j.items[first:]), pass(t, f))
					pages := (n-first)/(count-1) + 1
					// A filter of seconds shows two or three more in each page.
					assert.LessOrEqual(t, len(j.queries), pages+pages/8+4*log2(n/count)+5)

					for range 20 {
						last := j.items[len(j.items)-1]
						j.items = append(j.items, item{ID: last.ID + 1, Modified: last.Modified.Add(7 * time.Minute)})
						j.at = last.Modified.Add(8 * time.Minute)
						j.queries = nil
						assert.Equal(t, []int64{last.ID + 1}, pass(t, f))
						assert.LessOrEqual(t, len(j.queries), 4)
					}
					if count == 10 {
						assert.Len(t, j.queries, 1, "the feed knows where to begin")
					}
				})
			}
		}
	}
}

// Ten days of polling servers whose filters are coarse. An item comes every six
// minutes.
func TestFeedPollsForTenDays(t *testing.T) {
	t.Parallel()
	const items = 2400
	for _, filter := range filters() {
		t.Run(filter.name, func(t *testing.T) {
			t.Parallel()
			perPoll := 20
			// This is CAST(ModifiedOn AS date) >= @from.
			if filter.name == "days, bound cut false, included true" {
				perPoll = 1
			}
			j := journal{filter: &filter, at: epoch()}
			f := j.feed(1000)
			f.Overlap = time.Minute
			var got []int64
			for n := range items {
				j.at = j.at.Add(6 * time.Minute)
				j.items = append(j.items, item{ID: int64(n + 1), Modified: j.at.Add(-time.Second)})
				if (n+1)%perPoll == 0 {
					got = append(got, pass(t, f)...)
				}
			}
			assert.Equal(t, ids(j.items), got)
			assert.LessOrEqual(t, len(j.queries), 2*items/perPoll+5)
		})
	}
}

// Without a bound that shows anything, the start is found by doubling and
// halving skip.
func TestFeedFindsItsStartBySkip(t *testing.T) {
	t.Parallel()
	const n = 100_000
	hides := filter{way: way{"ahead", every(time.Millisecond)}, ahead: 100_000 * time.Hour}
	for _, test := range []struct{ from, count, requests int }{
		{1, 10, 8},
		{999, 10, 22},
		{1001, 10, 17},
		{50_000, 10, 32},
		{n - 1, 10, 31},
		{1, 1000, 8},
		{999, 1000, 9},
		{1001, 1000, 9},
		{50_000, 1000, 20},
		{n - 1, 1000, 17},
	} {
		from, count := test.from, test.count
		t.Run(fmt.Sprint(from, " by ", count), func(t *testing.T) {
			t.Parallel()
			j := journal{items: entries(n, time.Second), filter: &hides}
			j.items = j.items[:min(n, from+5*count)]
			j.at = j.items[len(j.items)-1].Modified.Add(time.Hour)
			f := j.feed(count)
			f.Since = j.items[from].Modified
			assert.Equal(t, ids(j.items[from:]), pass(t, f))
			assert.LessOrEqual(t, len(j.queries), test.requests)

			last := j.items[len(j.items)-1]
			j.items = append(j.items, item{ID: last.ID + 1, Modified: last.Modified.Add(time.Hour)})
			j.queries = nil
			assert.Equal(t, []int64{last.ID + 1}, pass(t, f))
			assert.LessOrEqual(t, len(j.queries), 4)
		})
	}
}

// An item that shows late is read although items that stand after it are known:
// they prove nothing of what stands before them.
func TestFeedDoesNotTrustLaterItems(t *testing.T) {
	t.Parallel()
	for _, filter := range filters() {
		t.Run(filter.name, func(t *testing.T) {
			t.Parallel()
			noon := epoch()
			j := journal{filter: &filter, at: noon.Add(time.Hour)}
			first := item{ID: 1, Modified: noon.Add(-100 * time.Hour)}
			late := item{ID: 2, Modified: noon.Add(59*time.Minute + 30*time.Second)}
			last := item{ID: 3, Modified: noon.Add(time.Hour)}
			j.items = []item{first, last}
			f := j.feed(10)
			f.Overlap = time.Minute
			assert.Equal(t, []int64{1, 3}, pass(t, f))
			assert.Empty(t, pass(t, f))

			first.Version, first.Modified = 1, noon.Add(time.Hour)
			j.items = []item{late, last, first}
			assert.Equal(t, []int64{2, 1}, pass(t, f))
		})
	}
}

// Items that were never modified may stand in front of all others, or behind
// them, and bounds may hide them or not. Deliver yields them once, and they are
// no proof of anything.
func TestFeedItemsThatAreNotInOrder(t *testing.T) {
	t.Parallel()
	for _, filter := range filters() {
		for _, front := range []bool{true, false} {
			for _, hidden := range []bool{true, false} {
				for _, count := range []int{4, 10, 1000} {
					name := fmt.Sprintf("%s, in front %t, hidden %t, %d a page", filter.name, front, hidden, count)
					t.Run(name, func(t *testing.T) {
						t.Parallel()
						j := journal{items: entries(60, 30*time.Second), at: epoch().Add(time.Hour)}
						others := make([]item, 45)
						for i := range others {
							others[i] = item{
								ID: int64(1000 + i), Version: 1000,
								Modified: epoch().Add(time.Duration(i) * time.Second),
							}
						}
						f := j.feed(count)
						f.Since = epoch().Add(600 * time.Second)
						f.Overlap = 595 * time.Second
						f.Ordered = func(i *item) bool { return i.Version < 1000 }
						f.Fetch = func(_ context.Context, from time.Time, skip, count int) (walk.Page[item], error) {
							all := slices.DeleteFunc(slices.Clone(j.items),
								func(i item) bool { return !filter.shows(i.Modified, from) })
							switch {
							case hidden && !from.IsZero() && !filter.ignore:
							case front:
								all = append(slices.Clone(others), all...)
							default:
								all = append(all, others...)
							}
							all = all[min(skip, len(all)):]
							return walk.Page[item]{Items: all[:min(count, len(all))], At: j.at}, nil
						}
						var got []int64
						yield := func(i item, _ time.Time) bool {
							got = append(got, i.ID)
							return true
						}
						f.Before = func(context.Context) (bool, error) {
							assert.Empty(t, got)
							for _, other := range others[5:] {
								if !f.Deliver(other, yield) {
									return false, nil
								}
							}
							return true, nil
						}
						more, err := f.Pass(t.Context(), yield)
						require.NoError(t, err)
						assert.True(t, more)
						assert.Equal(t, append(ids(others[5:]), ids(j.items[1:])...), got)
						assert.Equal(t, j.items[59].Modified, f.Position())

						got = nil
						moved := &j.items[0]
						moved.Version++
						moved.Modified = epoch().Add(time.Hour)
						j.items = append(j.items[1:], *moved)
						_, err = f.Pass(t.Context(), yield)
						require.NoError(t, err)
						assert.Equal(t, []int64{1}, got)
					})
				}
			}
		}
	}
}

func TestFeedBefore(t *testing.T) {
	t.Parallel()
	j := journal{items: entries(30, time.Minute), at: epoch().Add(time.Hour)}
	f := j.feed(10)
	fault := errors.New("fault")
	calls := 0
	f.Before = func(context.Context) (bool, error) { calls++; return true, fault }
	got, err := failingPass(t, f)
	require.ErrorIs(t, err, fault)
	assert.Empty(t, got)
	assert.Len(t, j.queries, 1)

	f.Before = func(context.Context) (bool, error) { calls++; return false, nil }
	more, err := f.Pass(t.Context(), func(item, time.Time) bool { return true })
	require.NoError(t, err)
	assert.False(t, more)
	assert.Zero(t, f.Position())

	f.Before = func(context.Context) (bool, error) { calls++; return true, nil }
	assert.Equal(t, ids(j.items), pass(t, f))
	assert.Equal(t, 3, calls, "once in a pass")
}

// The rows that the server skips grow with the changes and not with their
// square, also if a bound of a coarse filter repeats a part of each page.
func TestFeedSkipsFewRowsBehindACoarseFilter(t *testing.T) {
	t.Parallel()
	for _, filter := range filters() {
		if !strings.HasPrefix(filter.name, "seconds") {
			continue
		}
		t.Run(filter.name, func(t *testing.T) {
			t.Parallel()
			skipped := make(map[int]int)
			for _, n := range []int{3000, 12_000} {
				j := journal{items: entries(n, 100*time.Millisecond), filter: &filter, at: epoch().Add(time.Hour)}
				assert.Equal(t, ids(j.items), pass(t, j.feed(100)))
				for _, query := range j.queries {
					skipped[n] += query.skip
				}
			}
			assert.LessOrEqual(t, skipped[12_000], 5*skipped[3000])
		})
	}
}
