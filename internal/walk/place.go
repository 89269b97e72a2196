package walk

import "fmt"

// place is where a reader of a list by offset stands, and what it needs to
// notice that the list has moved.
//
// Each page starts on the last item of the page before. An item of it is an
// anchor when it was read before and has not moved since. Items move only
// towards the end, so whatever stands before an anchor now stood before it when
// the anchor was read, and was read too: nothing was lost between the two
// pages, and this page may be read. A page without an anchor, be it empty, has
// been shifted by an unknown number of items. It is thrown away, and the reader
// steps back, twice as far each time, until a page holds an anchor or starts
// where the reading began.
//
// The end of the list is to be judged on pages that may be read, and on no
// other.
type place[T any] struct {
	id      func(*T) int64
	version func(*T) uint64 // nil where items do not move
	start   int             // where the reading began: never step back beyond

	skip, count int // of the next request

	versions map[int64]uint64 // of each item read; nil in ascending order of ids, where highest says as much
	highest  int64            // the highest id read
	last     mark             // the item that the page before ended with
	begun    bool             // a page was read
	back     int              // how far to step back next
	seen     int              // different items read
	passed   int              // items in a row that had been read before
}

// mark tells an item in one version.
type mark struct {
	id      int64
	version uint64
}

func (p *place[T]) mark(item *T) mark {
	if p.version == nil {
		return mark{id: p.id(item)}
	}
	return mark{p.id(item), p.version(item)}
}

// accept reports whether the page that was fetched from skip may be read. If
// not, it has stepped back.
func (p *place[T]) accept(page []T) (bool, error) {
	if p.versions == nil && !p.ascending(page) {
		if p.seen > 1 { // one item alone has no order
			return false,
				fmt.Errorf("%w: the page at skip %d is not in ascending order of ids, as the first page was",
					ErrUnstable, p.skip)
		}
		p.versions = make(map[int64]uint64) // the server has an order of its own
		if p.begun {
			p.versions[p.last.id] = p.last.version
		}
	}
	switch {
	case !p.begun || p.anchored(page):
		return true, nil
	case p.skip > p.start:
		p.skip = max(p.start, p.skip-p.back)
		p.back *= 2
		return false, nil
	case p.start > 0:
		// What was read may now stand before start, together with items that
		// were not.
		return false,
			fmt.Errorf("%w: at skip %d, where reading began, nothing is left that was read", ErrUnstable, p.start)
	default:
		return true, nil // from the very beginning nothing can be missed
	}
}

func (p *place[T]) ascending(page []T) bool {
	for i := 1; i < len(page); i++ {
		if p.id(&page[i-1]) >= p.id(&page[i]) {
			return false
		}
	}
	return true
}

func (p *place[T]) anchored(page []T) bool {
	for i := range page {
		m := p.mark(&page[i])
		if p.versions == nil {
			return m.id <= p.highest // of the lowest id in the page
		}
		if version, read := p.versions[m.id]; read && version == m.version {
			return true
		}
	}
	return false
}

// continues reports whether a page may be read although it may be older than
// the page before it.
//
// Where items move, one of them may have stood in front of this page when it
// was made, and behind the page before when that one was made later: neither
// shows it. Its leaving shifted the list, so this page then does not begin with
// the very item that the page before ended with, unless another item came in
// front meanwhile. Even then a later page shows it, as it went to the end of
// the list; but only if the list is not taken to end here.
func (p *place[T]) continues(page []T) bool {
	return p.version == nil || !Last(len(page), p.count) && p.mark(&page[0]) == p.last
}

// take remembers the items of a page that was accepted. It returns those that
// are new, in the page's own memory.
func (p *place[T]) take(page []T) (news []T) {
	if len(page) == 0 {
		return nil
	}
	last := p.mark(&page[len(page)-1])
	if p.versions == nil && last.id > p.last.id {
		p.passed = 0 // the ids rise: this is progress, though all of them may have been passed before
	}
	begin, end := 0, 0 // of what is new, in page
	for i := range page {
		switch {
		case p.remember(p.mark(&page[i])):
			p.passed = 0
			if begin == end {
				begin, end = i, i
			}
			if end < i { // else it stands where it is to be
				page[end] = page[i]
			}
			end++
		case i > 0: // the first item is shared with the page before
			p.passed++
		}
	}
	p.begun, p.last, p.back = true, last, len(page)
	p.seen += end - begin
	return page[begin:end]
}

// remember notes that an item was read, and reports whether it is new.
func (p *place[T]) remember(m mark) bool {
	isNew := m.id > p.highest
	if p.versions != nil {
		_, read := p.versions[m.id]
		isNew = !read
		p.versions[m.id] = m.version
	}
	p.highest = max(p.highest, m.id)
	return isNew
}

// advance moves on to the page after one of received items.
//
// Having stepped back, the reader may have to pass over all that it has read,
// and two pages for the edges. More than that means that the pages do not
// advance, as where a server ignores skip.
func (p *place[T]) advance(received int) error {
	if p.passed > p.seen+2*received {
		return fmt.Errorf("%w: the pages do not advance: %d items in a row were known, at skip %d", ErrUnstable,
			p.passed, p.skip)
	}
	p.skip += received - 1
	p.count = max(p.count, 2) // a page of one item could only show the last one again
	return nil
}
