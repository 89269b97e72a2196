package walk

import (
	"context"
	"time"
)

// Feed follows what changes in a list that is read in ascending order of the
// time of modification. It reads by position in time, not by offset, so its
// cost grows with the number of changes and not with its square. It is not safe
// for concurrent use. Its exported fields must not be changed after the first
// pass began.
//
// A Feed reads in passes. Each pass starts Overlap before the position and ends
// at the present. An item must become visible within Overlap of its
// modification. Then the next pass that succeeds yields its last state. The
// same holds for a new Feed that begins at the position of
// an old one. Within one Feed, no version of an item is yielded twice in a row.
//
// pass.go says how a pass is read.
type Feed[T any] struct {
	// Fetch returns the items that were modified since a time, without the
	// first skip and at most count of them, in ascending order of their
	// modification. A zero time means all items. The server decides what the
	// bound shows. If one bound shows an item, it must also show every item
	// that stands after that item in the list. The slice belongs to the feed
	// from then on.
	Fetch func(ctx context.Context, from time.Time, skip, count int) (Page[T], error)

	// ID returns the id of an item.
	ID func(*T) int64
	// Version returns a fingerprint of an item's date and content. Two changes
	// may have the same date.
	Version func(*T) uint64
	// Modified returns when an item was modified last.
	Modified func(*T) time.Time
	// Ordered reports whether the item stands in the list by its Modified.
	// Other items may stand anywhere, and a bound may hide them. nil means that
	// all items are in order.
	Ordered func(*T) bool
	// Before is called in each pass when its first page has arrived, before any
	// item of that page is yielded. It can yield other items by Deliver. It
	// reports whether the consumer wants more. nil means that nothing is
	// called.
	Before func(ctx context.Context) (more bool, err error)

	// Since is the position to begin at. Zero means before all items.
	Since time.Time
	// Count is the number of items to ask for in a page. It is at least 2.
	Count int
	// Overlap is how far before its position a pass starts. It is at least 0.
	Overlap time.Duration

	// position is that of Position, once begun.
	begun    bool
	position time.Time
	// newest is the latest modification read.
	newest time.Time
	// yielded holds the items from the start of the next pass on, and the last
	// one before it.
	yielded memory

	// passes is the number of the current pass. began is when it began, by the
	// server's clock.
	passes int
	began  time.Time
	// base is where the next pass can begin.
	base base
	// hiding is the first step whose bounds are not known to hide items.
	hiding int
	// repeats is how many items a new bound repeated lately.
	repeats int
	// failed is the last bound whose trial failed. Zero means none.
	failed time.Time
}

// Page is one response of a server.
type Page[T any] struct {
	Items []T
	// At is when the server sent the response, by its own clock. Zero means
	// unknown.
	At time.Time
}

// Yield takes an item. position is what a new Feed may begin at once the item
// has been handled. It reports whether the consumer wants more.
type Yield[T any] func(item T, position time.Time) bool

// Position returns what a new Feed may begin at to go on from here. It never
// goes back, with one exception: a position ahead of the server's time becomes
// that time at the first response.
func (f *Feed[T]) Position() time.Time {
	if !f.begun {
		return f.Since
	}
	return f.position
}

// start returns the time from which on items are still of interest. Older items
// have been yielded.
func (f *Feed[T]) start() time.Time {
	position := f.Position()
	if position.IsZero() {
		return position
	}
	return position.Add(-f.Overlap)
}

// Pass yields what was modified since the position, up to the present, and
// moves the position. It reports whether the consumer wants more. After an
// error the next pass goes on from what was read.
func (f *Feed[T]) Pass(ctx context.Context, yield Yield[T]) (more bool, err error) {
	p := newPass(f)
	for first := true; ; first = false {
		items, err := p.next(ctx)
		if err != nil {
			return true, err
		}
		if first && f.Before != nil {
			if more, err := f.Before(ctx); err != nil || !more {
				return more, err
			}
		}
		if !f.deliver(items, p.page, yield) {
			return false, nil
		}
		ended := p.ends()
		if ended {
			f.end()
		} else {
			f.move(p.reach)
		}
		p.moveBase()
		if ended {
			return true, nil
		}
		if err := p.advance(); err != nil {
			return true, err
		}
	}
}

// Deliver yields an item from elsewhere, if this pass has to and has not done
// so yet. It reports whether the consumer wants more.
func (f *Feed[T]) Deliver(item T, yield Yield[T]) bool {
	return f.deliver([]T{item}, []entry{f.entry(&item)}, yield)
}

// deliver yields the items from the start on whose version was not yielded
// last. The entries are those of the items.
func (f *Feed[T]) deliver(items []T, entries []entry, yield Yield[T]) bool {
	start := f.start()
	for i, e := range entries {
		f.newest = later(f.newest, e.modified)
		if e.modified.Before(start) || !f.yielded.add(e, f.passes) {
			continue
		}
		position := f.position
		if e.ordered {
			position = later(position, earlier(e.modified, f.began))
		}
		if !yield(items[i], position) {
			return false
		}
		f.position = position
	}
	return true
}

func (f *Feed[T]) entry(item *T) entry {
	return entry{mark{f.ID(item), f.Version(item)}, f.Modified(item), f.Ordered == nil || f.Ordered(item)}
}

// move moves the position to t, but not beyond the beginning of the pass and
// never back.
func (f *Feed[T]) move(t time.Time) {
	f.position = later(f.position, earlier(t, f.began))
	f.yielded.forget(f.start())
}

// end moves the position at the end of a pass. If there has never been an item,
// the position is the beginning of the pass.
func (f *Feed[T]) end() {
	f.move(f.newest)
	if f.position.IsZero() {
		f.position = f.began
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
