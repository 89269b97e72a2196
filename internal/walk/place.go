package walk

import "fmt"

// place is the position of a reader in a list that is read by offset. It
// notices when the list has shifted.
//
// Each page starts on the last item of the page before. An item of a page is an
// anchor if it was read before and has not moved since. Items move only towards
// the end of the list. So an item in front of an anchor was already there when
// the anchor was read, or it was inserted later. Nothing was lost between the
// two pages, and the page is accepted.
//
// A page without an anchor has shifted by an unknown number of items, even if
// the page is empty. The reader drops it and steps back, twice as far each
// time, until a page holds an anchor or starts where the reading began.
//
// Only an accepted page can show that the list ends. If too many items in a row
// had been read before, advance ends the walk with ErrUnstable.
type place[T any] struct {
	id func(*T) int64
	// version is nil if items do not move.
	version func(*T) uint64
	// start is the offset at which the reading began. The reader never steps
	// back beyond it.
	start int

	// skip and count are those of the next request.
	skip, count int

	// versions holds the version of each item that was read. It is nil in
	// ascending order of ids, because highest is enough there.
	versions versions
	// highest is the highest id that was read.
	highest int64
	// last is the item that the page before ended with.
	last mark
	// begun reports that a page was accepted.
	begun bool
	// step is the distance of the next step back.
	step int
	// different is the number of different items in the page before.
	different int
	// seen is the number of different items that were read.
	seen int

	guard guard
}

// guard finds out that the pages do not advance: a server may ignore skip, or
// answer with a few pages in turn. Each page with a new item starts the guard
// anew.
type guard struct {
	// passed is the number of items in a row that had been read before, without
	// the first one of each page.
	passed int
	// highestEnd is the highest id that a page without a new item ended with.
	highestEnd int64
	// lowestSkip is the lowest offset that a step back restarted the count at.
	lowestSkip int
	// restarts is the number of these step backs. At most maxRestarts count.
	restarts int
}

// maxRestarts bounds what a server costs that makes the reader step back all
// the time, a little farther each time.
const maxRestarts = 8

// mark identifies an item in one version.
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
		if err := p.rememberAll(); err != nil {
			return false, err
		}
	}
	switch {
	case !p.begun || p.anchored(page):
		return true, nil
	case p.skip > p.start:
		p.stepBack()
		return false, nil
	case p.start > 0:
		// Items that were read may now be in front of start, and so may items
		// that were not.
		return false, fmt.Errorf(
			"%w: the page at skip %d, where the reading began, shows nothing that was read before; read the list again",
			ErrUnstable, p.start)
	default:
		// Nothing can be missed from the very beginning.
		return true, nil
	}
}

// ascending reports whether the ids ascend. One item several times in a row is
// one item.
func (p *place[T]) ascending(page []T) bool {
	for i := 1; i < len(page); i++ {
		if p.id(&page[i-1]) > p.id(&page[i]) {
			return false
		}
	}
	return true
}

// rememberAll prepares for a server that uses its own order instead of
// ascending ids. It fails if ids ascended before.
func (p *place[T]) rememberAll() error {
	// One item alone has no order.
	if p.seen > 1 {
		return fmt.Errorf(
			"%w: the page at skip %d is not in ascending order of ids, but the first page was; read the list again",
			ErrUnstable, p.skip)
	}
	p.versions = make(versions)
	if p.begun {
		p.versions.set(p.last)
	}
	return nil
}

func (p *place[T]) anchored(page []T) bool {
	for i := range page {
		m := p.mark(&page[i])
		if p.versions == nil {
			// The first id of the page is its lowest.
			return m.id <= p.highest
		}
		if p.versions.has(m) {
			return true
		}
	}
	return false
}

// stepBack moves the next request towards the start.
func (p *place[T]) stepBack() {
	p.skip = max(p.start, p.skip-p.step)
	p.step *= 2
	p.guard.stepBack(p.skip)
}

// stepBack restarts the count if the reader steps back farther than before: it
// may then have to pass over all items again. A step back that is not farther
// does not count, or pages in turn could restart the count forever.
func (g *guard) stepBack(skip int) {
	if g.restarts == 0 || g.restarts < maxRestarts && skip < g.lowestSkip {
		g.passed, g.lowestSkip = 0, skip
		g.restarts++
	}
}

// continues reports whether a page may be read although the server may have
// made it before the page that was read last.
//
// If items move, one of them may have been in front of this page when the
// server made it, and behind the page before when the server made that one
// later. Neither page shows the item. When the item moved, the list shifted. So
// this page does not begin with the item that the page before ended with,
// unless another item was inserted in front meanwhile. In that case a later
// page shows the item, because it moved to the end of the list. But this is
// true only if the list is not taken to end with this page.
func (p *place[T]) continues(page []T) bool {
	return p.version == nil || !Last(len(page), p.count) && p.mark(&page[0]) == p.last
}

// take remembers the items of a page that was accepted. It returns the new
// ones, in the memory of the page. One item several times in a row is one item.
func (p *place[T]) take(page []T) (unread []T) {
	if len(page) == 0 {
		return nil
	}
	var last mark
	different := 0
	begin, end := 0, 0 // of the new items
	for i := range page {
		m := p.mark(&page[i])
		if m.id != last.id {
			different++
		}
		last = m
		if !p.remember(m) {
			continue
		}
		if begin == end {
			begin, end = i, i
		}
		if end < i {
			page[end] = page[i]
		}
		end++
	}
	if begin < end {
		p.guard = guard{}
	} else {
		p.guard.pass(different-1, last.id, p.versions == nil)
	}
	p.begun, p.last, p.step, p.different = true, last, len(page), different
	p.seen += end - begin
	return page[begin:end]
}

// pass notes a page without a new item. Its first item is shared with the page
// before, so items does not include it. In ascending order of ids such a page
// is progress if it ends higher than all of them before. It is not enough if it
// ends higher than the page before: two pages in turn do that.
func (g *guard) pass(items int, end int64, ascending bool) {
	if ascending && end > g.highestEnd {
		g.passed, g.highestEnd = 0, end
	}
	g.passed += max(items, 1)
}

// remember notes that an item was read. It reports whether the item is new.
func (p *place[T]) remember(m mark) bool {
	isNew := m.id > p.highest
	if p.versions != nil {
		isNew = p.versions.set(m)
	}
	p.highest = max(p.highest, m.id)
	return isNew
}

// advance moves on to the page after the one that was taken. received is the
// length of that page.
//
// After a step back the reader may have to pass over all items that it has
// read, and over two pages for the edges. If it passes over more items in a
// row, the pages do not advance.
//
// A server may repeat items before or after it cuts the page. So the next page
// starts as many items later as there are different ones. If there is only one,
// the reader takes the repetitions for rows of the list.
func (p *place[T]) advance(received int) error {
	if p.guard.passed > p.seen+2*p.different {
		return fmt.Errorf("%w: the pages do not advance: the last %d items, up to skip %d, had all been read before",
			ErrUnstable, p.guard.passed, p.skip+received)
	}
	distance := p.different - 1
	if distance == 0 {
		distance = received - 1
	}
	p.skip += distance
	p.count = max(p.count, 2) // a page of one item would only show the last item again
	return nil
}

// versions holds the last version of each item that was read. A long walk holds
// millions of them. So it keeps the lower half of each version, by the lower
// half of the id, in one map for each upper half of an id. This takes half of
// the memory of a map[int64]uint64.
type versions map[int64]map[uint32]uint32

// set replaces the version of an item. It reports whether the item is new.
func (v versions) set(m mark) bool {
	lower := v[m.id>>32]
	if lower == nil {
		lower = make(map[uint32]uint32)
		v[m.id>>32] = lower
	}
	before := len(lower)
	lower[uint32(m.id)] = uint32(m.version) //nolint:gosec // the lower halves are wanted
	return len(lower) > before
}

// has reports whether the item was read last in this version. It is wrong about
// one of four billion changes.
func (v versions) has(m mark) bool {
	version, read := v[m.id>>32][uint32(m.id)]  //nolint:gosec // see set
	return read && version == uint32(m.version) //nolint:gosec // see set
}
