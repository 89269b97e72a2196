package walk

import (
	"context"
	"iter"
)

// List is a list that is read by offset. Reading does not change its fields.
type List[T any] struct {
	// Fetch returns the items from skip on, at most count of them. The walk
	// then owns the slice. Fetch may put the items into room. room is nil, or
	// it has length zero and the memory of a page that was consumed. Old items
	// may still be in that memory. With Prefetch, Fetch is called concurrently.
	Fetch func(ctx context.Context, skip, count int, room []T) ([]T, error)

	// ID returns the id of an item. It is positive.
	ID func(*T) int64

	// Version returns a fingerprint of everything that decides the place of an
	// item, and of its content, because two changes may have the same date. nil
	// means that an item never changes its place.
	Version func(*T) uint64

	// ByID says that the request asks for ascending order of ids. Then the
	// highest id tells what was read, and the walk needs no further memory. If
	// the server answers in another order, the walk remembers all ids. false
	// means any other order.
	ByID bool

	// Skip is the number of items to pass over first.
	Skip int
	// Count is the number of items per page. It is at least 1.
	Count int
	// Limit is the largest number of items to yield. 0 means no limit.
	Limit int
	// Prefetch is the largest number of pages to request ahead of the one that
	// is consumed. 0 means none.
	Prefetch int
}

// Items returns the items of the list. Each item is valid until the next one is
// requested. Nothing is fetched before the sequence is ranged over, and each
// range starts at the beginning. The sequence yields at most one error. The
// error comes last and without an item. When the loop ends, all calls of Fetch
// have ended too.
func (l List[T]) Items(ctx context.Context) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		r := listReader[T]{
			place:     place[T]{id: l.ID, version: l.Version, start: l.Skip, skip: l.Skip, count: l.Count},
			pages:     prefetcher[T]{fetch: l.Fetch, most: l.Prefetch},
			limited:   l.Limit > 0,
			remaining: l.Limit,
		}
		if !l.ByID {
			r.place.versions = make(versions)
		}
		if err := r.read(ctx, func(item *T) bool { return yield(item, nil) }); err != nil {
			yield(nil, err)
		}
	}
}

// listReader reads a list once.
type listReader[T any] struct {
	place place[T]
	pages prefetcher[T]
	// limited reports that the list has a Limit.
	limited bool
	// remaining is the number of items that may still be yielded, if limited.
	remaining int
	// wasShort reports that the page before was shorter than asked for.
	wasShort bool
}

func (r *listReader[T]) read(ctx context.Context, yield func(*T) bool) error {
	defer r.pages.drop()
	for {
		page, err := r.nextPage(ctx)
		if err != nil {
			return err
		}
		received, asked := len(page), r.place.count
		unread := r.place.take(page)
		last := Last(received, asked)
		if !last {
			if err := r.place.advance(received); err != nil {
				return err
			}
			r.lookAhead(ctx, received, asked, len(unread))
		}
		if !r.deliver(unread, yield) || last {
			return nil
		}
		r.pages.reuse(page, asked)
	}
}

// nextPage returns the next page that the place accepts.
func (r *listReader[T]) nextPage(ctx context.Context) ([]T, error) {
	for {
		page, fresh, err := r.pages.next(ctx, r.place.skip, r.place.count)
		if err == nil && !fresh && !r.place.continues(page) {
			page, err = r.pages.now(ctx, r.place.skip, r.place.count)
		}
		if err != nil {
			return nil, err
		}
		if accepted, err := r.place.accept(page); accepted || err != nil {
			return page, err
		}
	}
}

// lookAhead requests pages ahead of a page of received items, of which unread
// are new. After a first short page it requests none, because the list may end
// there.
func (r *listReader[T]) lookAhead(ctx context.Context, received, asked, unread int) {
	short, wasShort := received < asked, r.wasShort
	r.wasShort = short
	if short && !wasShort {
		return
	}
	// Each page starts on the last item of the page before.
	stride := r.place.count - 1
	if short {
		stride = received - 1
	}
	if !r.limited {
		r.pages.ahead(ctx, r.place.skip, r.place.count, stride, r.pages.most)
		return
	}
	if wanted := r.remaining - unread; wanted > 0 {
		r.pages.ahead(ctx, r.place.skip, r.place.count, stride, (wanted-1)/stride+1)
	}
}

// deliver yields items. It reports whether more items are wanted.
func (r *listReader[T]) deliver(items []T, yield func(*T) bool) bool {
	for i := range items {
		if !yield(&items[i]) {
			return false
		}
		if r.remaining--; r.limited && r.remaining == 0 {
			return false
		}
	}
	return true
}
