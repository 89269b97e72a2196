package walk

import (
	"context"
	"slices"
	"sync/atomic"
)

// prefetcher delivers pages to one consumer, and requests some of them ahead.
// It guesses which pages come next. If the consumer asks for another page, the
// pages that were requested ahead are dropped, and their errors too.
//
// The number of pages that are requested ahead begins with 1 and doubles up to
// most, see grow. List lowers it for a Limit, and for short pages.
type prefetcher[T any] struct {
	fetch func(ctx context.Context, skip, count int, room []T) ([]T, error)
	// most is the largest number of pages to request ahead. 0 means none.
	most int
	// window is the number of pages to request ahead now. It begins with 1, so
	// that a short list does not cost many requests, and doubles up to most.
	window int
	// delivered is the number of pages that were requested ahead and delivered
	// since the window changed.
	delivered int

	// flights are the pages that were requested and not yet delivered, in order
	// of skip.
	flights []*flight[T]
	// clock counts requests and responses, to put them in order.
	clock atomic.Int64
	// newest is the tick of the last response among the delivered pages.
	newest int64
	// spare is the memory of the page that was consumed last. nil means none.
	spare []T
}

// flight is a page that was requested ahead.
type flight[T any] struct {
	skip, count int
	cancel      context.CancelFunc
	// requested is the tick of the request.
	requested int64

	// done is closed when the fields below are set.
	done  chan struct{}
	items []T
	err   error
	// answered is the tick of the response.
	answered int64
}

// next delivers the page at skip. A page is fresh if it was requested after the
// responses of all pages that were delivered before. A page that is not fresh
// may show an older state than the pages before it.
func (p *prefetcher[T]) next(ctx context.Context, skip, count int) (items []T, fresh bool, err error) {
	if ctx.Err() != nil || len(p.flights) == 0 || !p.flights[0].is(skip, count) {
		p.drop()
		items, err = p.now(ctx, skip, count)
		return items, true, err
	}
	f := p.flights[0]
	p.flights = slices.Delete(p.flights, 0, 1) // it clears the last element, so no page is kept alive
	<-f.done
	fresh = f.requested > p.newest
	p.newest = max(p.newest, f.answered)
	p.delivered++
	return f.items, fresh, f.err
}

// now requests the page at skip and delivers it.
func (p *prefetcher[T]) now(ctx context.Context, skip, count int) ([]T, error) {
	items, err := p.load(ctx, skip, count, p.room())
	p.newest = p.clock.Add(1)
	return items, err
}

// ahead requests pages until the window is full or wanted of them are waiting.
// The first page is at skip. Each further page is one stride after the one
// before.
func (p *prefetcher[T]) ahead(ctx context.Context, skip, count, stride, wanted int) {
	if len(p.flights) > 0 {
		if !p.flights[0].is(skip, count) {
			p.drop()
		} else {
			skip = p.flights[len(p.flights)-1].skip + stride
		}
	}
	p.grow()
	for ; len(p.flights) < min(wanted, p.window) && ctx.Err() == nil; skip += stride {
		p.flights = append(p.flights, p.launch(ctx, skip, count))
	}
}

// grow doubles the window if as many pages as it holds were delivered.
func (p *prefetcher[T]) grow() {
	switch {
	case p.window == 0:
		p.window, p.delivered = min(1, p.most), 0
	case p.delivered >= p.window:
		p.window, p.delivered = min(2*p.window, p.most), 0
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

// load fetches a page. If an older page in the same memory was longer, load
// clears the rest of it. This is rare. To clear each page when it was consumed
// would write all of its memory once more.
func (p *prefetcher[T]) load(ctx context.Context, skip, count int, room []T) ([]T, error) {
	items, err := p.fetch(ctx, skip, count, room)
	clear(items[len(items):cap(items)])
	return items, err
}

// reuse takes back the memory of a page that was consumed. If the page was far
// longer than asked for, reuse leaves it to the garbage collector, because it
// would stay in memory until the walk ends.
func (p *prefetcher[T]) reuse(page []T, asked int) {
	if cap(page) <= 2*asked {
		p.spare = page[:0]
	}
}

// room returns the spare memory and gives it away.
func (p *prefetcher[T]) room() (room []T) {
	room, p.spare = p.spare, nil
	return room
}

// drop cancels the requests for the pages ahead and waits until they have
// ended. If there were any, the guess was wrong, and the window begins again.
func (p *prefetcher[T]) drop() {
	if len(p.flights) == 0 {
		return
	}
	for _, f := range p.flights {
		f.cancel()
	}
	for _, f := range p.flights {
		<-f.done
	}
	p.flights, p.window = nil, 0
}

func (f *flight[T]) is(skip, count int) bool { return f.skip == skip && f.count == count }
