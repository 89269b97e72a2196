package walk

import (
	"context"
	"slices"
	"sync/atomic"
)

// prefetcher delivers pages to one consumer, and requests some of them before
// they are wanted. The pages to come are a guess: the consumer may turn
// elsewhere, and what was requested for nothing is then dropped, its errors
// too.
type prefetcher[T any] struct {
	fetch   func(ctx context.Context, skip, count int, room []T) ([]T, error)
	flights []*flight[T] // requested and not yet delivered, in order of skip
	clock   atomic.Int64 // ticks at each request and each answer, so that one can tell which of two came first
	newest  int64        // tick of the last answer among the pages delivered
	spare   []T          // memory of the page that was consumed last, to be overwritten
}

// flight is a page that was requested ahead.
type flight[T any] struct {
	skip, count int
	cancel      context.CancelFunc
	requested   int64 // tick

	done     chan struct{} // closed when the following are set
	items    []T
	err      error
	answered int64 // tick
}

// next delivers the page at skip. A page is fresh when it was requested after
// all that were delivered before had been answered; of another, the server may
// have taken its picture earlier than of those.
func (p *prefetcher[T]) next(ctx context.Context, skip, count int) (items []T, fresh bool, err error) {
	if ctx.Err() != nil || len(p.flights) == 0 || !p.flights[0].is(skip, count) {
		p.drop()
		items, err = p.now(ctx, skip, count)
		return items, true, err
	}
	f := p.flights[0]
	p.flights = slices.Delete(p.flights, 0, 1) // clears what it leaves: no page outlives its delivery
	<-f.done
	fresh = f.requested > p.newest
	p.newest = max(p.newest, f.answered)
	return f.items, fresh, f.err
}

// now delivers the page at skip by a request of this moment.
func (p *prefetcher[T]) now(ctx context.Context, skip, count int) ([]T, error) {
	items, err := p.load(ctx, skip, count, p.room())
	p.newest = p.clock.Add(1)
	return items, err
}

// ahead requests pages until depth of them are waiting: the first at skip, each
// further one stride after the one before.
func (p *prefetcher[T]) ahead(ctx context.Context, skip, count, stride, depth int) {
	if len(p.flights) > 0 {
		if !p.flights[0].is(skip, count) {
			p.drop()
		} else {
			skip = p.flights[len(p.flights)-1].skip + stride
		}
	}
	for ; len(p.flights) < depth && ctx.Err() == nil; skip += stride {
		p.flights = append(p.flights, p.launch(ctx, skip, count))
	}
}

func (p *prefetcher[T]) launch(ctx context.Context, skip, count int) *flight[T] {
	ctx, cancel := context.WithCancel(ctx)
	f := &flight[T]{skip: skip, count: count, cancel: cancel, requested: p.clock.Add(1), done: make(chan struct{})}
	room := p.room()
	go func() {
		defer close(f.done)
		defer cancel()
		f.items, f.err = p.load(ctx, skip, count, room)
		f.answered = p.clock.Add(1)
	}()
	return f
}

// load fetches a page, and clears what an older one in the same memory left
// beyond it. That is seldom anything: to clear each page when it was consumed
// would write all of it once more.
func (p *prefetcher[T]) load(ctx context.Context, skip, count int, room []T) ([]T, error) {
	items, err := p.fetch(ctx, skip, count, room)
	clear(items[len(items):cap(items)])
	return items, err
}

// reuse takes back the memory of a page that was delivered and consumed.
func (p *prefetcher[T]) reuse(page []T) { p.spare = page[:0] }

// room hands that memory out; nil where there is none.
func (p *prefetcher[T]) room() (room []T) {
	room, p.spare = p.spare, nil
	return room
}

// drop gives up what was requested ahead, and returns when none of it is left
// running.
func (p *prefetcher[T]) drop() {
	for _, f := range p.flights {
		f.cancel()
	}
	for _, f := range p.flights {
		<-f.done
	}
	p.flights = nil
}

func (f *flight[T]) is(skip, count int) bool { return f.skip == skip && f.count == count }
