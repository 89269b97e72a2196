package walk_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/internal/walk"
)

// dates is how a server handles them.
type dates struct {
	name   string
	stored func(time.Time) time.Time // of each row, and what they are sorted by
	shown  func(time.Time) time.Time // in answers
	passes func(stored, from time.Time) bool
}

func millis(t time.Time) time.Time  { return t.Truncate(time.Millisecond) }
func seconds(t time.Time) time.Time { return t.Truncate(time.Second) }
func rounded(t time.Time) time.Time { return t.Round(time.Second) }

// datetime rounds to the type of that name of SQL Server: to .000, .003 or .007
// seconds.
func datetime(t time.Time) time.Time {
	const step = 10 * time.Millisecond / 3
	second := t.Truncate(time.Second)
	n := (t.Sub(second) + step/2) / step
	return second.Add((n*10*time.Millisecond/3 + time.Millisecond/2).Truncate(time.Millisecond))
}

// servers are all the ways to handle dates that the reference leaves open.
func servers() []dates {
	var all []dates
	type way struct {
		name string
		do   func(time.Time) time.Time
	}
	for _, stored := range []way{{"ms", millis}, {"s", seconds}, {"datetime", datetime}} {
		for _, shown := range []way{{"ms", millis}, {"s", seconds}, {"rounded", rounded}} {
			for _, compared := range []way{{"ms", millis}, {"s", seconds}, {"datetime", datetime}} {
				for _, includes := range []bool{true, false} {
					all = append(all, dates{
						name: fmt.Sprintf("stored %s, shown %s, compared %s, bound included %t", stored.name,
							shown.name, compared.name, includes),
						stored: stored.do,
						shown:  shown.do,
						passes: func(date, from time.Time) bool {
							date, from = compared.do(date), compared.do(from)
							return date.After(from) || includes && date.Equal(from)
						},
					})
				}
			}
		}
	}
	return all
}

// log is a model of a server whose rows are changed while they are followed. A
// change may show late.
type log struct {
	dates
	rand    *rand.Rand
	overlap time.Duration
	limit   int
	busy    int
	left    int // changes to come
	pace    time.Duration
	lag     time.Duration // longest time that a request or an answer takes
	faults  int           // one of so many requests fails; 0: none
	noDate  bool          // the server does not tell its time
	seed    maphash.Seed
	rows    []*entity // in order of ids
	nextID  int64
	sent    int
}

// entity is a row with the states that it went through.
type entity struct {
	id     int64
	states []version
}

type version struct {
	date    time.Time
	content int
	visible time.Time
}

var errFault = errors.New("fault")

func newLog(random *rand.Rand, d dates) *log {
	l := &log{
		dates: d, rand: random, seed: maphash.MakeSeed(), nextID: 1,
		overlap: pick(random, 0, 2*time.Second, 3500*time.Millisecond, 20*time.Second),
		busy:    pick(random, 1, 3, 10),
		left:    pick(random, 20, 200),
		pace:    pick(random, 5*time.Millisecond, 300*time.Millisecond, 4*time.Second),
		lag:     pick(random, time.Millisecond, 200*time.Millisecond, 3*time.Second),
		faults:  pick(random, 0, 0, 8),
		noDate:  random.IntN(3) == 0,
	}
	if random.IntN(2) == 0 {
		l.limit = 10 + random.IntN(15)
	}
	for range random.IntN(120) {
		l.write()
		l.nap(l.pace)
	}
	return l
}

func (l *log) nap(longest time.Duration) { time.Sleep(time.Duration(l.rand.Int64N(int64(longest)))) }

// write makes one change, or several at one instant.
func (l *log) write() {
	l.left--
	now := time.Now().UTC()
	switch {
	case len(l.rows) == 0 || l.rand.IntN(3) == 0:
		l.rows = append(l.rows, &entity{id: l.nextID})
		l.nextID++
		l.change(l.rows[len(l.rows)-1], now)
	case l.rand.IntN(30) == 0:
		l.rows = slices.Delete(l.rows, 0, 1)
	case l.rand.IntN(100) == 0: // by someone whose clock is wrong
		l.change(l.some(), now.Add(time.Hour))
	case l.rand.IntN(40) == 0:
		for range l.rand.IntN(60) {
			l.change(l.some(), now)
		}
	default:
		l.change(l.some(), now)
	}
}

func (l *log) some() *entity { return l.rows[l.rand.IntN(len(l.rows))] }

func (l *log) change(e *entity, now time.Time) {
	v := version{date: l.stored(now), content: l.rand.IntN(3), visible: time.Now()}
	latest := l.latest(v.date)
	if lag := latest.Sub(v.visible); lag > 0 && l.rand.IntN(3) == 0 {
		v.visible = v.visible.Add(time.Duration(l.rand.Int64N(int64(lag))))
	}
	if n := len(e.states); n > 0 && e.states[n-1].visible.After(v.visible) {
		v.visible = e.states[n-1].visible
		if v.visible.After(latest) {
			return // it would show too late: does not happen
		}
	}
	e.states = append(e.states, v)
}

// latest is when a change must show. The server tells its time in whole
// seconds, and only once it has answered: hence the second less than the
// overlap. A row dated ahead shows at once, or a second later.
func (l *log) latest(date time.Time) time.Time {
	if shown := l.shown(date); shown.Before(date) {
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

func (l *log) item(id int64, v version) item {
	shown := l.shown(v.date)
	return item{id, maphash.Comparable(l.seed, [2]int64{shown.UnixNano(), int64(v.content)}), shown}
}

func (l *log) churn() {
	for range min(l.left, l.rand.IntN(l.busy+1)) {
		l.write()
		l.nap(l.pace)
	}
}

func (l *log) fetch(ctx context.Context, from time.Time, skip, count int) (walk.Page[item], error) {
	l.sent++
	l.churn()
	l.nap(l.lag)
	type found struct {
		item
		stored time.Time
	}
	var all []found
	for _, e := range l.rows {
		if v, ok := e.current(); ok && (from.IsZero() || l.passes(v.date, from)) {
			all = append(all, found{l.item(e.id, v), v.date})
		}
	}
	slices.SortFunc(all, func(a, b found) int { return cmp.Or(a.stored.Compare(b.stored), cmp.Compare(a.ID, b.ID)) })
	all = all[min(skip, len(all)):]
	if l.limit > 0 {
		count = min(count, l.limit)
	}
	var page walk.Page[item]
	for _, f := range all[:min(count, len(all))] {
		page.Items = append(page.Items, f.item)
	}
	l.nap(l.lag)
	if !l.noDate {
		page.At = seconds(time.Now().UTC())
	}
	l.churn()
	if l.faults > 0 && l.rand.IntN(l.faults) == 0 {
		return walk.Page[item]{}, errFault
	}
	return page, ctx.Err()
}

// TestFeedUnderChange follows logs whose rows change meanwhile, over passes,
// errors, kills and new feeds. In the end the last state of each row must have
// been the last that was yielded of it.
func TestFeedUnderChange(t *testing.T) {
	t.Parallel()
	for _, d := range servers() {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			unstable, passes := 0, 0
			for n := range uint64(max(1, *walks/20)) {
				synctest.Test(t, func(t *testing.T) {
					u, p := oneFeed(t, d, *seed+n)
					unstable += u
					passes += p
				})
			}
			t.Logf("%d of %d passes were unstable", unstable, passes)
		})
	}
}

func oneFeed(t *testing.T, d dates, seed uint64) (unstable, passes int) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	l := newLog(random, d)
	count := 2 + random.IntN(50)
	var since time.Time
	switch random.IntN(4) {
	case 0:
		since = time.Now().Add(-time.Duration(random.Int64N(int64(100 * l.pace)))).UTC()
	case 1:
		since = time.Now().Add(time.Hour).UTC()
	}
	promised := since // what was modified before need not be yielded
	newFeed := func() *walk.Feed[item] {
		return &walk.Feed[item]{
			Fetch: l.fetch, ID: itemID, Version: itemVersion, Modified: itemModified,
			Since: since, Count: count, Overlap: l.overlap,
		}
	}

	feed := newFeed()
	inFeed := make(map[int64]uint64) // last version yielded by this feed
	last := make(map[int64]uint64)   // last version yielded
	for quiet := false; ; {
		passes++
		before := feed.Position()
		ahead := before.After(time.Now()) // then the pass may begin elsewhere
		budget := -1
		if random.IntN(6) == 0 && !quiet {
			budget = random.IntN(40)
		}
		more, err := feed.Pass(t.Context(), func(i item) bool {
			if !ahead {
				require.False(t, !before.IsZero() &&
					i.Modified.Before(before.Add(-l.overlap)), "seed %d: item %d is too old", seed, i.ID)
			}
			require.NotEqual(t, inFeed[i.ID], i.Version, "seed %d: item %d twice", seed, i.ID)
			inFeed[i.ID], last[i.ID] = i.Version, i.Version
			budget--
			return budget != 0
		})
		switch now := time.Now(); {
		case ahead && feed.Position().Before(now): // it did
			promised = now
		case !ahead:
			require.False(t, feed.Position().Before(before), "seed %d: position went back", seed)
		}
		switch {
		case errors.Is(err, walk.ErrUnstable):
			require.False(t, quiet, "seed %d: %v", seed, err)
			unstable++
		case err != nil:
			require.ErrorIs(t, err, errFault)
		case quiet && more:
			for _, e := range l.rows {
				final := l.item(e.id, e.states[len(e.states)-1])
				if !final.Modified.Before(promised.Add(-l.overlap)) {
					require.Equal(t, final.Version, last[e.id], "seed %d: item %d of %v", seed, e.id, final.Modified)
				}
			}
			return unstable, passes
		}
		if !more || random.IntN(10) == 0 { // killed: a new feed goes on from what was saved
			since = feed.Position()
			feed = newFeed()
			clear(inFeed)
		}
		if l.left <= 0 || passes > 50 {
			quiet, l.left, l.faults = true, 0, 0
			time.Sleep(2 * time.Hour) // all shows, and is in the past: a slow pass ends before what is ahead
		}
		l.nap(pick(random, l.pace, time.Second, 30*time.Second))
	}
}
