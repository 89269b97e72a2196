package walk

import (
	"context"
	"iter"
)

// List is a list that is read by offset. Its fields are not changed by reading.
type List[T any] struct {
	// Fetch returns the items from skip on, at most count of them, in a slice
	// that is the walk's from then on. It may put them into room, which is nil,
	// or of length zero in the memory of a page that was consumed, whose items
	// may still stand there. With Prefetch it is called concurrently.
	Fetch func(ctx context.Context, skip, count int, room []T) ([]T, error)

	// ID returns the item's id, a positive number.
	ID func(*T) int64

	// Version returns a fingerprint of all that decides where an item stands,
	// and of its content, since dates may be too coarse to tell two changes
	// apart. It is nil where an item's place never changes.
	Version func(*T) uint64

	// ByID says that the list was asked for in ascending order of ids. The
	// highest id read then tells what was read, and memory is flat. A server
	// that answers in another order is read all the same, with all ids
	// remembered.
	ByID bool

	Skip     int // items to pass over first
	Count    int // items to ask for per page, at least 1
	Limit    int // most items to yield; 0: no limit
	Prefetch int // most pages to request ahead of the one being consumed
}

// Items returns the items of the list, each good until the next one is asked
// for. Nothing is fetched before it is ranged over, and each range starts anew.
// There is at most one error, and it comes last, without an item. When the loop
// ends, so has every call of Fetch.
func (l List[T]) Items(ctx context.Context) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		if err := l.walk(ctx, func(item *T) bool { return yield(item, nil) }); err != nil {
			yield(nil, err)
		}
	}
}

func (l List[T]) walk(ctx context.Context, yield func(*T) bool) error {
	at := place[T]{id: l.ID, version: l.Version, start: l.Skip, skip: l.Skip, count: l.Count}
	if !l.ByID {
		at.versions = make(map[int64]uint64)
	}
	pages := prefetcher[T]{fetch: l.Fetch}
	defer pages.drop()

	left := l.Limit
	short := false // the page before was
	for {
		page, fresh, err := pages.next(ctx, at.skip, at.count)
		if err == nil && !fresh && !at.continues(page) {
			page, err = pages.now(ctx, at.skip, at.count)
		}
		if err != nil {
			return err
		}
		if ok, err := at.accept(page); err != nil {
			return err
		} else if !ok {
			continue
		}

		received, asked := len(page), at.count
		news := at.take(page)
		last := Last(received, asked)
		if !last {
			if err := at.advance(received); err != nil {
				return err
			}
			full := received >= asked
			if full || short && len(news) > 0 { // else this may well be the end
				expected := at.count
				if !full {
					expected = received
				}
				pages.ahead(ctx, at.skip, at.count, expected-1, l.depth(left-len(news), expected-1))
			}
			short = !full
		}
		for i := range news {
			if !yield(&news[i]) {
				return nil
			}
			if left--; left == 0 {
				return nil
			}
		}
		if last {
			return nil
		}
		pages.reuse(page)
	}
}

// depth is how many pages ahead are worth a request, where left items are
// wanted after the current page and each page brings up to stride.
func (l List[T]) depth(left, stride int) int {
	if l.Limit == 0 {
		return l.Prefetch
	}
	return min(l.Prefetch, (left+stride-1)/stride)
}
