package walk_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/internal/walk"
)

// way is a way to store, print or compare dates.
type way struct {
	name string
	cut  func(time.Time) time.Time
}

func every(d time.Duration) func(time.Time) time.Time {
	return func(t time.Time) time.Time { return t.Truncate(d) }
}

// datetime rounds to the type of that name of SQL Server: to .000, .003 or .007
// seconds.
func datetime(t time.Time) time.Time {
	const step = 10 * time.Millisecond / 3
	second := t.Truncate(time.Second)
	n := (t.Sub(second) + step/2) / step
	return second.Add((n*10*time.Millisecond/3 + time.Millisecond/2).Truncate(time.Millisecond))
}

// localDay cuts to days of a zone that is ahead of UTC.
func localDay(t time.Time) time.Time {
	const ahead = 5*time.Hour + 30*time.Minute
	return t.Add(ahead).Truncate(24 * time.Hour).Add(-ahead)
}

// filter is how a server compares dates with a bound.
type filter struct {
	way
	// cutsBound reports that the bound is cut like the dates. SQL such as
	// CAST(ModifiedOn AS date) >= @from does not.
	cutsBound bool
	includes  bool
	// ahead is added to the bound: a server may take it for local time.
	ahead  time.Duration
	ignore bool
}

func (f filter) shows(date, from time.Time) bool {
	if f.ignore || from.IsZero() {
		return true
	}
	date, from = f.cut(date), from.Add(f.ahead)
	if f.cutsBound {
		from = f.cut(from)
	}
	return date.After(from) || f.includes && date.Equal(from)
}

// filters are the ways to compare that the API reference leaves open.
func filters() []filter {
	ways := []way{
		{"milliseconds", every(time.Millisecond)},
		{"datetime", datetime},
		{"seconds", every(time.Second)},
		{"minutes", every(time.Minute)},
		{"hours", every(time.Hour)},
		{"days", every(24 * time.Hour)},
		{"local days", localDay},
	}
	all := []filter{{way: way{"ignored", nil}, ignore: true}}
	for _, w := range ways {
		for _, includes := range []bool{true, false} {
			for _, cutsBound := range []bool{true, false} {
				f := filter{w, cutsBound, includes, 0, false}
				f.name = fmt.Sprintf("%s, bound cut %t, included %t", w.name, cutsBound, includes)
				all = append(all, f)
			}
		}
	}
	for _, ahead := range []time.Duration{-12 * time.Hour, 14 * time.Hour} {
		f := filter{ways[0], true, true, ahead, false}
		f.name = fmt.Sprintf("bound taken for a time of %v", ahead)
		all = append(all, f)
	}
	return all
}

// place is where rows stand that were never modified, in the order of
// modification.
type place string

const (
	byCreation place = "by creation"
	inFront    place = "in front"
	atTheEnd   place = "at the end"
)

// log is a model of a server whose rows are changed while they are followed. A
// change may show late.
type log struct {
	filter
	stored, shown way
	// undated reports that rows have no date of modification before they are
	// modified. hides reports that bounds hide them then.
	undated, hides bool
	undatedAt      place
	rand           *rand.Rand
	overlap        time.Duration
	limit          int
	busy           int
	left           int           // changes to come
	pace           time.Duration // longest time between two changes
	rest           time.Duration // longest time of a rest
	lag            time.Duration // longest time that a request or a response takes
	slow           time.Duration // longest time that the consumer takes for an item
	faults         int           // one of so many requests fails; 0: none
	noDate         bool          // the server does not tell its time
	mixed          bool          // rows of one instant are not in order of ids
	seed           maphash.Seed
	rows           []*entity // in order of ids
	nextID         int64
	sent           int
}

// entity is a row with the states that it went through.
type entity struct {
	id      int64
	created time.Time
	states  []version
}

type version struct {
	date    time.Time // zero: not modified
	content int
	visible time.Time
}

var errFault = errors.New("fault")

func newLog(random *rand.Rand, f filter) *log {
	ways := []way{
		{"milliseconds", every(time.Millisecond)},
		{"seconds", every(time.Second)},
		{"datetime", datetime},
		{"rounded", func(t time.Time) time.Time { return t.Round(time.Second) }},
	}
	l := &log{
		filter: f, rand: random, seed: maphash.MakeSeed(), nextID: 1,
		stored: pick(random, ways[:3]...), shown: pick(random, ways...),
		undated: random.IntN(4) == 0, undatedAt: pick(random, byCreation, inFront, atTheEnd),
		hides:   random.IntN(2) == 0,
		overlap: pick(random, 0, 2*time.Second, 3500*time.Millisecond, 20*time.Second, time.Minute),
		busy:    pick(random, 0, 1, 3, 10),
		left:    pick(random, 20, 200),
		pace:    pick(random, 5*time.Millisecond, 300*time.Millisecond, 4*time.Second, 10*time.Minute),
		rest:    pick(random, time.Minute, time.Hour, 100*time.Hour),
		lag:     pick(random, time.Millisecond, 200*time.Millisecond, 3*time.Second),
		slow:    pick(random, 1, 1, 3*time.Second),
		faults:  pick(random, 0, 0, 8),
		noDate:  random.IntN(3) == 0,
		mixed:   random.IntN(2) == 0,
	}
	if random.IntN(2) == 0 {
		l.limit = 10 + random.IntN(15)
	}
	for range random.IntN(pick(random, 1, 120, 400)) {
		l.write()
		l.pause()
	}
	return l
}

func (l *log) nap(longest time.Duration) { time.Sleep(time.Duration(l.rand.Int64N(int64(longest)))) }

// pause is the time between two changes.
func (l *log) pause() {
	l.nap(l.pace)
	if l.rand.IntN(50) == 0 {
		l.nap(l.rest)
	}
}

// write makes one change, or several at one instant.
func (l *log) write() {
	l.left--
	now := time.Now().UTC()
	switch {
	case len(l.rows) == 0 || l.rand.IntN(3) == 0:
		e := &entity{id: l.nextID, created: l.stored.cut(now)}
		l.rows = append(l.rows, e)
		l.nextID++
		if l.undated {
			e.states = []version{{content: l.rand.IntN(3), visible: l.visible(e.created)}}
		} else {
			l.change(e, now)
		}
	case l.rand.IntN(30) == 0:
		l.rows = slices.Delete(l.rows, 0, 1)
	case l.rand.IntN(40) == 0:
		at := l.rand.IntN(len(l.rows))
		l.rows = slices.Delete(l.rows, at, at+1)
	case l.rand.IntN(100) == 0: // by someone whose clock is wrong
		l.change(l.some(), now.Add(time.Hour))
	case l.rand.IntN(41) == 0:
		for range l.rand.IntN(60) {
			l.change(l.some(), now)
		}
	default:
		l.change(l.some(), now)
	}
}

func (l *log) some() *entity { return l.rows[l.rand.IntN(len(l.rows))] }

func (l *log) change(e *entity, now time.Time) {
	v := version{date: l.stored.cut(now), content: l.rand.IntN(3)}
	v.visible = l.visible(v.date)
	if n := len(e.states); n > 0 && e.states[n-1].visible.After(v.visible) {
		v.visible = e.states[n-1].visible
		if v.visible.After(l.latest(v.date)) {
			return // it would show too late: does not happen
		}
	}
	e.states = append(e.states, v)
}

// visible is when a change shows.
func (l *log) visible(date time.Time) time.Time {
	now := time.Now()
	if lag := l.latest(date).Sub(now); lag > 0 && l.rand.IntN(3) == 0 {
		return now.Add(time.Duration(l.rand.Int64N(int64(lag))))
	}
	return now
}

// latest is when a change must show. It is a second less than the overlap,
// because the server tells its time in whole seconds. A row dated ahead shows
// at once, or a second later.
func (l *log) latest(date time.Time) time.Time {
	if shown := l.shown.cut(date); shown.Before(date) {
		date = shown
	}
	if soon := time.Now().Add(time.Second); date.After(soon) {
		date = soon
	}
	return date.Add(l.overlap - time.Second)
}

// current is the state that shows, if any.
func (e *entity) current() (version, bool) {
	for _, v := range slices.Backward(e.states) {
		if !v.visible.After(time.Now()) {
			return v, true
		}
	}
	return version{}, false
}

// record is a row as a response shows it.
type record struct {
	item
	created time.Time
	dated   bool
}

func (l *log) record(e *entity, v version) record {
	r := record{created: l.shown.cut(e.created), dated: !v.date.IsZero()}
	shown := r.created
	if r.dated {
		shown = l.shown.cut(v.date)
	}
	content := [3]int64{shown.UnixNano(), int64(v.content)}
	if r.dated {
		content[2] = 1
	}
	r.item = item{e.id, maphash.Comparable(l.seed, content), shown}
	return r
}

func (l *log) churn() {
	for range min(l.left, l.rand.IntN(l.busy+1)) {
		l.write()
		l.pause()
	}
}

// found is a row that stands in a list.
type found struct {
	record
	rank int
	date time.Time // to sort and filter by
}

// modified lists the rows in order of modification.
func (l *log) modified(from time.Time) (all []found) {
	for _, e := range l.rows {
		v, ok := e.current()
		switch {
		case !ok:
		case !v.date.IsZero():
			if l.shows(v.date, from) {
				all = append(all, found{l.record(e, v), 0, v.date})
			}
		case l.undatedAt == byCreation:
			if l.shows(e.created, from) {
				all = append(all, found{l.record(e, v), 0, e.created})
			}
		case from.IsZero() || l.ignore || !l.hides:
			rank := 1
			if l.undatedAt == inFront {
				rank = -1
			}
			all = append(all, found{l.record(e, v), rank, time.Time{}})
		}
	}
	return all
}

// created lists the rows in order of creation.
func (l *log) created(from time.Time) (all []found) {
	for _, e := range l.rows {
		if v, ok := e.current(); ok && l.shows(e.created, from) {
			all = append(all, found{l.record(e, v), 0, e.created})
		}
	}
	return all
}

// fetch answers one request while others write.
func (l *log) fetch(
	ctx context.Context, list func(time.Time) []found, from time.Time, skip, count int,
) (walk.Page[record], error) {
	l.sent++
	l.churn()
	l.nap(l.lag)
	all := list(from)
	slices.SortFunc(all, func(a, b found) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), a.date.Compare(b.date), cmp.Compare(l.tie(a.ID), l.tie(b.ID)))
	})
	all = all[min(skip, len(all)):]
	if l.limit > 0 {
		count = min(count, l.limit)
	}
	var page walk.Page[record]
	for _, f := range all[:min(count, len(all))] {
		page.Items = append(page.Items, f.record)
	}
	l.churn()
	l.nap(l.lag)
	if !l.noDate {
		page.At = time.Now().UTC().Truncate(time.Second)
	}
	if l.faults > 0 && l.rand.IntN(l.faults) == 0 {
		return walk.Page[record]{}, errFault
	}
	return page, ctx.Err()
}

// tie orders the rows of one instant: by their ids, or as a server may that
// does not say how.
func (l *log) tie(id int64) uint64 {
	if l.mixed {
		return uint64(id) * 0x9e3779b97f4a7c15
	}
	return uint64(id)
}

// feeds returns a feed of the log. As LeadChanges does, it also reads what was
// created, if rows may be undated.
func (l *log) feeds(since time.Time, count int, yield walk.Yield[record]) *walk.Feed[record] {
	feed := func(list func(time.Time) []found) *walk.Feed[record] {
		return &walk.Feed[record]{
			Fetch: func(ctx context.Context, from time.Time, skip, count int) (walk.Page[record], error) {
				return l.fetch(ctx, list, from, skip, count)
			},
			ID: func(r *record) int64 { return r.ID }, Version: func(r *record) uint64 { return r.Version },
			Since: since, Count: count, Overlap: l.overlap,
		}
	}
	changes, creations := feed(l.modified), feed(l.created)
	changes.Modified = func(r *record) time.Time { return r.Modified }
	changes.Ordered = func(r *record) bool { return r.dated }
	creations.Modified = func(r *record) time.Time { return r.created }
	if l.undated {
		changes.Before = func(ctx context.Context) (bool, error) {
			return creations.Pass(ctx, func(r record, _ time.Time) bool { return r.dated || changes.Deliver(r, yield) })
		}
	}
	return changes
}

// replica keeps a copy of a log by a feed. It dies now and then, and goes on
// from what it saved.
type replica struct {
	t      *testing.T
	log    *log
	rand   *rand.Rand
	seed   uint64
	count  int
	every  int // items after which it saves within a pass
	budget int // items until it dies; negative: it does not

	saved    map[int64]uint64 // as is since
	since    time.Time
	promised time.Time // what was modified before need not be yielded
	batch    []record
	position time.Time
	last     map[int64]uint64 // the versions that this feed yielded
	floor    time.Time        // no item may be older; zero: unknown

	passes, unstable, failed, delivered int
}

func (r *replica) yield(item record, position time.Time) bool {
	r.delivered++
	require.False(r.t, item.Modified.Before(r.floor), "seed %d: item %d is too old", r.seed, item.ID)
	require.NotEqual(r.t, r.last[item.ID], item.Version, "seed %d: item %d twice", r.seed, item.ID)
	require.False(r.t, position.Before(r.position), "seed %d: position went back", r.seed)
	r.last[item.ID], r.position = item.Version, position
	r.batch = append(r.batch, item)
	if len(r.batch) == r.every {
		r.save(position)
	}
	r.log.nap(r.log.slow)
	r.budget--
	return r.budget != 0
}

func (r *replica) save(position time.Time) {
	for _, item := range r.batch {
		r.saved[item.ID] = item.Version
	}
	r.batch, r.since = nil, position
}

func (r *replica) start() *walk.Feed[record] {
	r.batch, r.last, r.position = nil, make(map[int64]uint64), time.Time{}
	return r.log.feeds(r.since, r.count, r.yield)
}

// follow reads passes until all is quiet, and then one more.
func (r *replica) follow() {
	l := r.log
	feed := r.start()
	for quiet := false; ; {
		r.passes++
		before := feed.Position()
		ahead := before.After(time.Now()) // then the pass may begin elsewhere
		r.floor = time.Time{}
		if !ahead && !before.IsZero() {
			r.floor = before.Add(-l.overlap)
		}
		r.budget = -1
		if r.rand.IntN(6) == 0 && !quiet {
			r.budget = 1 + r.rand.IntN(40)
		}
		more, err := feed.Pass(r.t.Context(), r.yield)
		after := feed.Position()
		switch {
		case ahead && after.Before(time.Now()): // it did
			r.promised = later(r.promised, time.Now())
		case !ahead:
			require.False(r.t, after.Before(before), "seed %d: position went back", r.seed)
		}
		switch {
		case errors.Is(err, walk.ErrUnstable):
			require.False(r.t, quiet, "seed %d: %v", r.seed, err)
			r.unstable++
			r.t.Logf("seed %d, %d a page: %v", r.seed, r.count, err)
		case err != nil:
			require.ErrorIs(r.t, err, errFault)
			r.failed++
		case more:
			require.False(r.t, after.IsZero(), "seed %d: no position after a pass", r.seed)
			require.False(r.t, after.After(later(before, time.Now())), "seed %d: position ahead", r.seed)
			if quiet {
				r.save(after)
				return
			}
			if r.rand.IntN(4) > 0 {
				r.save(after)
			}
		}
		if !more || r.rand.IntN(10) == 0 {
			feed = r.start()
		}
		if l.left <= 0 || r.passes > 50 {
			quiet, l.left, l.faults = true, 0, 0
			// Then all changes show, and none is dated ahead any more.
			time.Sleep(2 * time.Hour)
		}
		for range min(l.left, r.rand.IntN(4)) {
			l.write()
			l.pause()
		}
		l.nap(pick(r.rand, l.pace, time.Second, 30*time.Second, l.rest))
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// check compares the copy with the log.
func (r *replica) check() {
	l := r.log
	for _, e := range l.rows {
		final := l.record(e, e.states[len(e.states)-1])
		if !final.Modified.Before(r.promised.Add(-l.overlap)) {
			require.Equal(r.t, final.Version, r.saved[e.id], "seed %d: item %d of %v, dated %t, is missed", r.seed,
				e.id,
				final.Modified, final.dated)
		}
	}
}

func followLog(t *testing.T, f filter, kind, seed uint64) *replica {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, kind))
	l := newLog(random, f)
	r := &replica{
		t: t, log: l, rand: random, seed: seed, saved: make(map[int64]uint64),
		count: 2 + random.IntN(50), every: 1 + random.IntN(60),
	}
	switch random.IntN(4) {
	case 0:
		r.since = time.Now().Add(-time.Duration(random.Int64N(int64(100 * l.pace)))).UTC()
	case 1:
		r.since = time.Now().Add(time.Hour).UTC()
	}
	r.promised = r.since
	r.follow()
	r.check()
	return r
}

// feedSeeds returns the seeds to run with each filter. CLIXNOW_LONG runs many.
// CLIXNOW_SEED is the first of them. Alone it is the only one.
func feedSeeds(t *testing.T) (seeds []uint64) {
	t.Helper()
	first, feeds := uint64(1), uint64(4)
	if text := os.Getenv("CLIXNOW_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
		first, feeds = seed, 1
	}
	if os.Getenv("CLIXNOW_LONG") != "" {
		feeds = 700
	}
	for n := range feeds {
		seeds = append(seeds, first+n)
	}
	return seeds
}

// TestFeedUnderChange follows logs whose rows change meanwhile, past errors,
// deaths and restarts. In the end the last state of each row must have been the
// last that was yielded and saved of it.
func TestFeedUnderChange(t *testing.T) {
	t.Parallel()
	seeds := feedSeeds(t)
	var (
		mu    sync.Mutex
		total replica
		feeds int
	)
	t.Cleanup(func() {
		t.Logf("seeds %d to %d: %d feeds, %d passes, %d failed, %d unstable, %d items delivered", seeds[0],
			seeds[len(seeds)-1], feeds, total.passes, total.failed, total.unstable, total.delivered)
	})
	for n, f := range filters() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			var kind replica
			requests := 0
			for _, seed := range seeds {
				synctest.Test(t, func(t *testing.T) {
					r := followLog(t, f, uint64(n), seed)
					kind.passes += r.passes
					kind.failed += r.failed
					kind.unstable += r.unstable
					kind.delivered += r.delivered
					requests += r.log.sent
				})
			}
			t.Logf("%d feeds, %d passes, %d failed, %d unstable, %d items delivered by %d requests", len(seeds),
				kind.passes, kind.failed, kind.unstable, kind.delivered, requests)
			mu.Lock()
			defer mu.Unlock()
			feeds += len(seeds)
			total.passes += kind.passes
			total.failed += kind.failed
			total.unstable += kind.unstable
			total.delivered += kind.delivered
		})
	}
}

func TestDatetime(t *testing.T) {
	t.Parallel()
	for milliseconds, want := range map[int]int{0: 0, 1: 0, 2: 3, 4: 3, 5: 7, 8: 7, 9: 10, 998: 997, 999: 1000} {
		at := epoch().Add(time.Duration(milliseconds) * time.Millisecond)
		assert.Equal(t, time.Duration(want)*time.Millisecond, datetime(at).Sub(epoch()), milliseconds)
	}
}
