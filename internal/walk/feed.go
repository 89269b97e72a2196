package walk

import (
	"context"
	"time"
)

// Feed follows what changes in a list that is read in ascending order of the
// time of modification. It reads by position in time instead of by offset, so
// its cost grows with the number of changes and not with its square. It is not
// safe for concurrent use, and its exported fields must not be changed once it
// has begun.
//
// It reads in passes, each from Overlap before its position up to the present.
// The last state of an item that became visible within Overlap of its date is
// yielded by a pass that begins after that, if the pass comes to its end, or
// else by one of those that follow. The same goes for a new Feed that begins
// where another one stood. Within one Feed no version of an item is yielded
// twice in a row.
type Feed[T any] struct {
	// Fetch returns the items that were modified since a time (zero: all of
	// them), without the first skip and at most count, in ascending order of
	// their modification. Whether the bound is included, and how coarsely the
	// server compares, does not matter. The slice is the feed's from then on.
	Fetch func(ctx context.Context, from time.Time, skip, count int) (Page[T], error)

	ID       func(*T) int64     // the item's id
	Version  func(*T) uint64    // a fingerprint of the item's date and content, since two changes may share a date
	Modified func(*T) time.Time // when the item was changed last

	Since   time.Time     // where to begin; zero: before all that there is
	Count   int           // items to ask for per page, at least 2
	Overlap time.Duration // how far before its position a pass starts, at least 0

	begun    bool      // Since has been taken over into position
	position time.Time // all that was modified before, and visible within Overlap, has been yielded
	newest   time.Time // latest modification read
	yielded  memory    // from the start of the next pass on
}

// Page is one answer of a server.
type Page[T any] struct {
	Items []T
	At    time.Time // when it was given, by the server's clock; zero: not known
}

// Position returns what a new feed may begin at, to go on where this one
// stands. It never goes back, with one exception: a position ahead of the
// server's time is taken as that time when the first answer arrives.
func (f *Feed[T]) Position() time.Time {
	if !f.begun {
		return f.Since
	}
	return f.position
}

// start returns the earliest modification of interest. What is older has been
// yielded.
func (f *Feed[T]) start() time.Time {
	position := f.Position()
	if position.IsZero() {
		return position
	}
	return position.Add(-f.Overlap)
}

// Pass yields what was modified since the position, up to the present, and
// moves the position on. It reports whether yield wants more. A pass that
// follows one with an error begins at what had been read.
func (f *Feed[T]) Pass(ctx context.Context, yield func(T) bool) (more bool, err error) {
	p := newPass(f)
	for {
		page, err := f.Fetch(ctx, p.bound, p.place.skip, f.Count)
		if err != nil {
			return true, err
		}
		if p.began.IsZero() && p.begin(page.At) {
			continue
		}
		if ok, err := p.accept(page.Items); err != nil {
			return true, err
		} else if !ok {
			continue
		}
		if !f.deliver(page.Items, yield) {
			return false, nil
		}
		if p.ends(page.Items) {
			f.advance(earlier(f.newest, p.began))
			return true, nil
		}
		f.advance(earlier(p.reach, p.began))
		if err := p.advance(page.Items); err != nil {
			return true, err
		}
	}
}

// deliver yields what is of interest and was not the last of its item to be
// yielded.
func (f *Feed[T]) deliver(items []T, yield func(T) bool) bool {
	start := f.start()
	for i := range items {
		item := &items[i]
		modified := f.Modified(item)
		f.newest = later(f.newest, modified)
		if modified.Before(start) || !f.yielded.add(f.ID(item), f.Version(item), modified) {
			continue
		}
		if !yield(*item) {
			return false
		}
	}
	return true
}

// advance moves the position on, never back, and forgets what no later pass
// reads.
func (f *Feed[T]) advance(position time.Time) {
	f.position = later(f.position, position)
	f.yielded.forget(f.start())
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
