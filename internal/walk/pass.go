package walk

import "time"

const (
	// fineStep is how far before the last item read the next page begins, where
	// the server compares dates as finely as it prints them. The datetime of
	// SQL Server counts in steps of 3.33 ms.
	fineStep = 10 * time.Millisecond

	// coarseStep is the same where it does not: one second for dates printed a
	// second late, and one for a filter that compares whole seconds and
	// excludes its bound.
	coarseStep = 2 * time.Second
)

// pass is one reading of a feed up to the present.
//
// It begins fine: each page is asked for from just before the last item read,
// and must hold that item. It does where the server's filter is as fine as its
// dates, and then also holds whatever follows that item; and as such a page is
// asked for without an offset, nothing can shift it. Where a page does not hold
// the item, or where a page cannot move the bound because one instant fills it,
// the pass goes on coarse: its bound is then so far back that no filter can
// hide the item, and within that bound it reads by offset, with the rules of
// place, until the bound moves.
type pass[T any] struct {
	feed  *Feed[T]
	clock time.Time // when it began, by our clock
	began time.Time // the same by the server's; zero before the first answer

	first, bound time.Time // the bound of the first page, and that of the next
	place        place[T]  // within the bound
	coarse       bool

	reach time.Time // the latest modification read
	last  mark      // the item that the page before ended with
}

func newPass[T any](f *Feed[T]) *pass[T] {
	p := &pass[T]{feed: f, clock: time.Now()}
	p.first = coarsely(f.start())
	p.move(p.first)
	return p
}

// coarsely returns a bound that lets through what was modified at t, whatever
// the server does with it.
func coarsely(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	bound := t.Truncate(time.Second).Add(-coarseStep)
	if bound.Before(time.Time{}) { // no date that can be sent
		return time.Time{}
	}
	return bound
}

// move takes another bound, and stands at the first item within it.
func (p *pass[T]) move(bound time.Time) {
	p.bound = bound
	p.place = place[T]{id: p.feed.ID, version: p.feed.Version, count: p.feed.Count, versions: make(map[int64]uint64)}
}

// begin takes the server's time from the first answer. It reports whether that
// answer is void, because the feed was to begin in the server's future: a clock
// that is ahead must not hide what changes until the server's gets there.
func (p *pass[T]) begin(at time.Time) (void bool) {
	if at.IsZero() {
		p.began = p.clock.UTC().Truncate(time.Second) // dates may be cut to seconds, as the server's time is
	} else {
		p.began = at.Add(-time.Since(p.clock).Truncate(time.Second)) // a slow answer is dated at its end
	}
	f := p.feed
	if f.begun {
		return false
	}
	f.begun, f.position = true, f.Since
	if !f.position.After(p.began.Add(time.Second)) { // the header that tells the server's time has no fractions
		return false
	}
	f.position = p.began
	p.first = coarsely(f.start())
	p.move(p.first)
	return true
}

// accept reports whether the page may be read. If not, it has prepared for
// another one.
func (p *pass[T]) accept(items []T) (bool, error) {
	if p.coarse {
		return p.place.accept(items)
	}
	if p.reach.IsZero() || p.holdsLast(items) {
		return true, nil
	}
	p.coarse = true
	p.move(p.coarseBound())
	return false, nil
}

func (p *pass[T]) holdsLast(items []T) bool {
	for i := range items {
		if p.place.mark(&items[i]) == p.last {
			return true
		}
	}
	return false
}

// coarseBound is not before the first bound, which let through all that is of
// interest.
func (p *pass[T]) coarseBound() time.Time { return later(coarsely(p.reach), p.first) }

// ends takes note of a page that has been read, and reports whether the pass
// ends with it: with the end of the list or, where changes keep coming, with
// the first page up to the present once the pass took longer than the overlap.
func (p *pass[T]) ends(items []T) bool {
	if len(items) == 0 {
		return true
	}
	item := &items[len(items)-1]
	modified := p.feed.Modified(item)
	p.last, p.reach = p.place.mark(item), later(p.reach, modified)
	return Last(len(items), p.feed.Count) || time.Since(p.clock) > p.feed.Overlap &&
		modified.After(p.began.Add(time.Second))
}

// advance moves on to the page after the one that was read.
func (p *pass[T]) advance(items []T) error {
	bound := p.reach.Add(-fineStep)
	p.coarse = p.coarse || !bound.After(p.bound)
	if p.coarse {
		bound = p.coarseBound()
	}
	if !bound.Equal(p.bound) {
		p.move(bound)
		return nil
	}
	p.place.take(items)
	return p.place.advance(len(items))
}
