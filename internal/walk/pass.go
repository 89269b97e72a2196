package walk

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// A step is the distance from an item back to a bound. A coarser filter needs a
// larger step. Otherwise the bound hides the item.
const (
	// Step 0 is for a filter that compares as finely as the server prints
	// dates. The datetime of SQL Server counts in steps of 3.33 ms.
	_ = iota
	// secondStep is for dates that are printed a second late, and for a filter
	// that compares whole seconds and excludes its bound.
	secondStep
	minuteStep
	hourStep
	dayStep
	// noStep says that every bound may hide items.
	noStep
)

// distance returns how far a step goes back.
func distance(step int) time.Duration {
	const late = 2 * time.Second
	return [...]time.Duration{
		10 * time.Millisecond, late, time.Minute + late, time.Hour + late, 49 * time.Hour,
	}[step]
}

// boundBefore returns the bound that is so far before t, or before the second
// of t. It is zero if there is no date that could be sent.
func boundBefore(t time.Time, back time.Duration) time.Time {
	if back >= time.Second {
		t = t.Truncate(time.Second)
	}
	return fromYear1(t.Add(-back))
}

// fromYear1 returns t, or zero if t is before the year 1.
func fromYear1(t time.Time) time.Time { return later(t, time.Time{}) }

// window is a part of the list: what a bound shows, without the first skip
// items.
type window struct {
	bound time.Time
	skip  int
	// proven reports that the bound is known to show every item that is still
	// to be read.
	proven bool
}

// base is the window in which the next pass can begin.
type base struct {
	window
	// known reports that a pass has found its start.
	known bool
}

// pass is one reading of a list up to the present.
//
// # Which pages count
//
// A filter that is coarser than the dates, or that excludes its bound, hides
// items. So an empty page proves nothing, and a page counts only if it joins
// what was read. It joins if it begins with an item that was modified before
// everything that is still to be read. It also joins if it holds an item that
// this pass has read, in the same version. In both cases no unread item can
// stand before the page. An item may move meanwhile. It is then dated after the
// beginning of the pass, and the next pass reads it.
//
// # How a pass begins
//
// The first pass begins with a bound two seconds before its start. If the page
// does not join, the bound steps back, and at last there is no bound, which
// needs no proof. A later pass begins just before the last item that is not
// after its start. If no such item is known, or the page does not show it, the
// pass begins in the window in which the pass before found its start. That
// window is proven. If it begins long before the start, skip is doubled and
// halved to find the start.
//
// # How a pass goes on
//
// For the next page, a bound just before the last item read is put on trial. It
// costs the server the least. If the page does not join, or shows nothing new,
// the pass returns to the bound that it had and reads on by skip. If a page
// does not join there, the pass steps back. The feed remembers what trials
// show. hiding is the first step whose bounds did not hide anything yet.
// repeats is how many known items a new bound showed. The next trial waits
// until many more new items were read.
type pass[T any] struct {
	feed *Feed[T]
	// clock is when the pass began, by our clock.
	clock time.Time
	// present is just after the first response, by the server's clock. Zero
	// means that there was no response yet.
	present time.Time
	// start is the start of the pass. Older items are of no interest.
	start time.Time

	// at is the window of the next request.
	at window
	// page is the last page, and received is the length of the last page that
	// counted.
	page     []entry
	received int
	// news is the number of items in that page that the pass had not read, and
	// passed is the number of items since the last such item.
	news, passed int
	// seen is the number of new items in the pass, and fresh is the number of
	// new items at the current bound.
	seen, fresh int
	// end is the offset after the page with the last new item.
	end int
	// back is how far the last step back went. It is 0 after a page that
	// counted. shifted reports that a step back led to that page.
	back    int
	shifted bool

	// last is the last item read. newest is the last one of those in order, and
	// reach is when it was modified. others are the items that are not in
	// order.
	last, newest mark
	reach        time.Time
	unordered    map[mark]struct{}
	// windows are those in which the next pass could begin.
	windows []pageStart

	// startFound reports that the start was found.
	startFound bool
	// behind is how far before the start the bound of the first page was set.
	behind time.Duration
	search search
	// rejected is the last bound whose page did not join, before the start was
	// found.
	rejected rejection

	// trial reports that the current bound is on trial.
	trial bool
	// step is the step of the last trial.
	step int
	// fallback is the window to return to if the trial fails.
	fallback window
	// hidden is the item that the last trial should have shown. Zero means
	// none.
	hidden mark
}

// pageStart is the window of a page, and the modification of the first item in
// order that the page showed.
type pageStart struct {
	window
	first time.Time
}

// search is the state of the search for the start by skip.
type search struct {
	// low is the highest offset known whose page joins. last is the last item
	// of that page, or zero, and stuck is how many pages ended with it.
	low   int
	last  mark
	stuck int
	// high is the lowest offset known whose page does not join. 0 means none.
	high int
	// stride is how far the last request moved forward.
	stride int
	// requests is the number of requests so far.
	requests int
}

// rejection is a bound whose page does not join.
type rejection struct {
	bound time.Time
	// behind is how far before the start it was set. 0 means that there was no
	// such bound.
	behind time.Duration
	// first is the modification of the first item in order that it showed. Zero
	// means that there was none.
	first time.Time
}

func newPass[T any](f *Feed[T]) *pass[T] {
	f.passes++
	p := &pass[T]{feed: f, clock: time.Now(), received: f.Count, unordered: make(map[mark]struct{})}
	p.chooseWindow()
	return p
}

// chooseWindow chooses the window to begin in.
func (p *pass[T]) chooseWindow() {
	f := p.feed
	p.start = f.start()
	p.at = f.base.window
	p.at.proven = true
	item, modified, ok := f.yielded.latest(p.start)
	switch {
	case !f.base.known:
		p.setBound(distance(secondStep))
	case ok && (f.base.skip == 0 || f.base.skip >= f.repeats):
		p.newest = item
		p.try(modified, f.hiding)
	}
}

// setBound sets the bound so far before the start.
func (p *pass[T]) setBound(back time.Duration) {
	p.behind = back
	if bound := boundBefore(p.start, back); !bound.IsZero() {
		p.at = window{bound: bound}
	}
}

// widen steps back after a bound whose page does not join: first by as much as
// half a page can show, and then to no bound at all.
func (p *pass[T]) widen() {
	first, _ := p.firstOrdered()
	stepped := p.rejected.behind > 0
	p.rejected = rejection{p.at.bound, p.behind, first}
	p.at = window{proven: true}
	if !stepped {
		p.setBound(p.halfPage())
	}
}

// halfPage returns in what time half a page of items is modified, if they lie
// as densely before the start as in this page. It is at most 49 hours. If they
// lie so densely that the last bound should have shown some, it is a minute.
func (p *pass[T]) halfPage() time.Duration {
	longest, size := distance(dayStep), time.Duration(p.feed.Count)
	each := p.lastOrdered().Sub(p.rejected.first) / time.Duration(max(1, len(p.page)-1))
	switch half := each * size / 2; {
	case each <= 0, each > longest/size:
		return longest
	case half <= p.rejected.behind:
		return distance(minuteStep)
	default:
		return half
	}
}

// try puts a bound before t on trial, if it is later than the current one.
func (p *pass[T]) try(t time.Time, step int) {
	if step == noStep {
		return
	}
	bound := boundBefore(t, distance(step))
	if !bound.After(p.at.bound) || bound.Equal(p.feed.failed) {
		return
	}
	p.trial, p.step, p.hidden = true, step, mark{}
	p.fallback, p.at = p.at, window{bound: bound}
}

// begin takes the server's time from the first response. It reports whether
// that response is void because the feed was to begin in the server's future: a
// clock that is ahead must not hide what changes until the server's clock gets
// there.
func (p *pass[T]) begin(at time.Time) (void bool) {
	// The server tells its time in whole seconds. Dates may be cut to seconds.
	const fraction = time.Second
	f := p.feed
	took := time.Since(p.clock)
	if at.IsZero() {
		at = p.clock.Add(took).UTC().Truncate(fraction)
	}
	f.began, p.present = at, at.Add(fraction)
	// The response may be dated after the pass began. The overlap makes up for
	// less than a second of that.
	if took >= fraction || f.Overlap < fraction {
		f.began = at.Add(-took).Truncate(fraction)
	}
	if f.begun {
		return false
	}
	f.begun, f.position = true, f.Since
	if !f.position.After(p.present) {
		return false
	}
	f.position = f.began
	p.chooseWindow()
	return true
}

// entry is what a pass needs to know of an item.
type entry struct {
	mark
	modified time.Time
	ordered  bool
}

// next returns the next page that counts.
func (p *pass[T]) next(ctx context.Context) ([]T, error) {
	for {
		if err := p.checkSearch(); err != nil {
			return nil, err
		}
		page, err := p.feed.Fetch(ctx, p.at.bound, p.at.skip, p.feed.Count)
		if err != nil {
			return nil, err
		}
		if p.present.IsZero() && p.begin(page.At) {
			continue
		}
		p.page = p.page[:0]
		for i := range page.Items {
			p.page = append(p.page, p.feed.entry(&page.Items[i]))
		}
		if p.accept() {
			p.note()
			return page.Items, nil
		}
	}
}

// accept reports whether the page counts. If not, it has chosen another window.
func (p *pass[T]) accept() bool {
	joins := p.joins()
	p.findHidden()
	switch {
	case p.trial:
		return p.endTrial(joins)
	case joins, p.at.proven && p.at.skip == 0:
		return true
	case p.at.skip > 0:
		p.stepBack()
	default:
		p.widen()
	}
	return false
}

// joins reports whether no unread item can stand before the page.
func (p *pass[T]) joins() bool {
	first, ok := p.firstOrdered()
	return ok && first.Before(later(p.start, p.reach)) || slices.ContainsFunc(p.page, p.isAnchor)
}

// firstOrdered returns the modification of the first item in order.
func (p *pass[T]) firstOrdered() (modified time.Time, ok bool) {
	i := slices.IndexFunc(p.page, func(e entry) bool { return e.ordered })
	if i < 0 {
		return time.Time{}, false
	}
	return p.page[i].modified, true
}

// lastOrdered returns the modification of the last item in order, or zero.
func (p *pass[T]) lastOrdered() (modified time.Time) {
	for _, e := range p.page {
		if e.ordered {
			modified = e.modified
		}
	}
	return modified
}

// isAnchor reports whether the item was read by this pass, or by an earlier one
// and does not stand after the start. An item that is not in order says nothing
// of a bound that is not proven.
func (p *pass[T]) isAnchor(e entry) bool {
	if !e.ordered {
		return p.at.proven && p.isRead(e)
	}
	s, known := p.feed.yielded.states[e.id]
	return p.isRead(e) || known && s.version == e.version && !e.modified.After(p.start)
}

// isRead reports whether this pass has read the item, as far as it remembers.
func (p *pass[T]) isRead(e entry) bool {
	if !e.ordered {
		_, read := p.unordered[e.mark]
		return read
	}
	s, known := p.feed.yielded.states[e.id]
	return known && s.version == e.version && s.pass == p.feed.passes
}

// isNew reports whether the item is in order and this pass has to read it, but
// has not done so yet.
func (p *pass[T]) isNew(e entry) bool {
	return e.ordered && !p.isRead(e) && !e.modified.Before(p.feed.start())
}

// endTrial ends the trial of a bound. The bound is good if its page joins, and
// ends with something new or is the end of the list.
func (p *pass[T]) endTrial(joins bool) bool {
	p.trial = false
	known := len(p.page)
	for known > 0 && (!p.page[known-1].ordered || p.isNew(p.page[known-1])) {
		known--
	}
	goesOn := slices.ContainsFunc(p.page[known:], p.isNew) || p.isLast()
	switch {
	case joins && goesOn:
		p.at.proven, p.fresh = true, 0
		p.feed.repeats = max(p.feed.repeats/2, known)
		return true
	case joins:
		p.feed.repeats = max(p.feed.repeats*2, known)
	default:
		p.hidden = p.newest
	}
	p.feed.failed, p.at = p.at.bound, p.fallback
	return false
}

// findHidden looks for the item that the failed trial did not show. If it is
// there in the same version, the bound hid it, and such bounds are not tried
// any more. If not, it has moved.
func (p *pass[T]) findHidden() {
	if p.trial || p.hidden == (mark{}) {
		return
	}
	if slices.ContainsFunc(p.page, func(e entry) bool { return e.mark == p.hidden }) {
		p.feed.hiding = max(p.feed.hiding, p.step+1)
		p.hidden = mark{}
	}
}

// note remembers what a page that counts shows.
func (p *pass[T]) note() {
	p.news = 0
	for _, e := range p.page {
		if p.isNew(e) || !e.ordered && !p.isRead(e) {
			p.news++
		}
	}
	p.received, p.shifted, p.back = len(p.page), p.back > 0, 0
	p.at.proven = true
	if !p.startFound && (p.isLast() || slices.ContainsFunc(p.page, p.isOfInterest)) {
		p.setBase()
	}
	if first, ok := p.firstOrdered(); ok && p.startFound {
		p.windows = append(p.windows, pageStart{p.at, first})
	}
	older := -1
	for i, e := range p.page {
		p.last = e.mark
		if !e.ordered {
			p.unordered[e.mark] = struct{}{}
			continue
		}
		p.newest, p.reach = e.mark, later(p.reach, e.modified)
		if e.modified.Before(p.start) {
			older = i
		}
	}
	if older >= 0 {
		// The next pass can begin just before it.
		p.feed.yielded.add(p.page[older], 0)
	}
}

// isOfInterest reports whether the item is in order, at the start or after it.
func (p *pass[T]) isOfInterest(e entry) bool { return e.ordered && !e.modified.Before(p.start) }

// setBase ends the search for the start. The next pass can begin here. If the
// page shows an item that a later bound hid, such bounds are not tried any
// more.
func (p *pass[T]) setBase() {
	p.startFound = true
	p.feed.base = base{window: p.at, known: true}
	if p.rejected.behind == 0 || !slices.ContainsFunc(p.page, p.rejected.hid) {
		return
	}
	for p.feed.hiding < noStep && distance(p.feed.hiding) <= p.rejected.behind {
		p.feed.hiding++
	}
}

// hid reports whether the bound should have shown the item and did not.
func (r rejection) hid(e entry) bool {
	// Dates may be printed late.
	const late = 2 * time.Second
	return e.ordered && !e.modified.Before(r.bound.Add(late)) && (r.first.IsZero() || e.modified.Before(r.first))
}

// moveBase lets the next pass begin at the last page that begins before its
// start.
func (p *pass[T]) moveBase() {
	start := p.feed.start()
	for len(p.windows) > 0 && p.windows[0].first.Before(start) {
		p.feed.base.window = p.windows[0].window
		p.windows = p.windows[1:]
	}
}

func (p *pass[T]) isLast() bool { return Last(len(p.page), p.feed.Count) }

// ends reports whether the pass ends with a page that counts: with the end of
// the list, or, if changes keep coming, with the first page that reaches the
// present after the pass has taken longer than the overlap.
func (p *pass[T]) ends() bool {
	return p.isLast() ||
		time.Since(p.clock) > p.feed.Overlap && p.reach.After(p.present)
}

// advance chooses the window of the next page, after a page that counts.
func (p *pass[T]) advance() error {
	switch {
	case p.news > 0:
		p.seen += p.news
		p.fresh += p.news
		p.passed, p.end = 0, p.at.skip+p.received
	case !p.startFound:
		p.stride()
		return nil
	default:
		p.passed += p.received
		if p.passed > p.seen+p.end+2*p.received {
			return fmt.Errorf("%w: the pages do not advance: %d items in a row were known, at skip %d", ErrUnstable,
				p.passed, p.at.skip)
		}
	}
	// A page starts on the last item of the page before. If the list moves, it
	// shares more with that page.
	step := p.received - 1
	if p.shifted && p.news == 0 {
		step = max(1, step/2)
	}
	p.at.skip += step
	// The last item read is repeated in any case. A bound that repeats more is
	// worth it only if many items were read since the last one.
	const worth = 4
	if p.news > 0 && p.startFound && p.fresh >= worth*(p.feed.repeats-1) {
		p.try(p.reach, p.feed.hiding)
	}
	return nil
}

// stride moves forward in a window whose pages are all from before the start.
func (p *pass[T]) stride() {
	s := &p.search
	next := p.received - 1
	if s.stuck++; s.last != p.last {
		s.stuck = 0
	}
	s.low, s.last = p.at.skip, p.last
	if s.high == 0 {
		s.stride = max(next, 2*s.stride)
	} else {
		s.stride = max(next, (s.high-s.low)/2)
	}
	p.at.skip += s.stride
}

// stepBack moves backward after a page that does not join.
func (p *pass[T]) stepBack() {
	s := &p.search
	if !p.startFound && s.last != (mark{}) && p.at.skip > s.low+p.received {
		s.high = p.at.skip
		p.at.skip = s.low + (s.high-s.low)/2
		return
	}
	*s = search{requests: s.requests}
	p.back = max(p.received, 2*p.back)
	p.at.skip = max(0, p.at.skip-p.back)
}

// checkSearch limits the requests of the search for the start.
func (p *pass[T]) checkSearch() error {
	if p.startFound || p.news > 0 {
		return nil
	}
	const maxRequests, maxSkip, maxStuck = 80, 1 << 30, 2
	s := &p.search
	if s.requests++; s.requests > maxRequests || p.at.skip > maxSkip || s.stuck >= maxStuck {
		return fmt.Errorf("%w: no page shows where the items modified since %v begin, up to skip %d", ErrUnstable,
			p.start, p.at.skip)
	}
	return nil
}
