// Package batch runs the values of concurrent callers together.
package batch

import (
	"context"
	"sync"
)

// Batcher runs values in batches: while one batch runs, the next one gathers.
// Its zero value is usable. It is safe for concurrent use.
type Batcher[T any] struct {
	mu      sync.Mutex
	waiting []*Entry[T]
	running bool
}

// Entry is a value of one caller.
type Entry[T any] struct {
	// Value is the value that was given to Do.
	Value T
	// Err is returned by Do. run sets it. Nil means success.
	Err error

	done chan struct{}
}

// Do runs a value together with others, and returns its error. run sets the
// error of each entry, or returns one for all. If ctx ends, Do returns at once,
// and the value may still be run.
func (b *Batcher[T]) Do(ctx context.Context, value T, run func([]*Entry[T]) error) error {
	e := &Entry[T]{Value: value, done: make(chan struct{})}
	b.mu.Lock()
	b.waiting = append(b.waiting, e)
	if !b.running {
		b.running = true
		go b.loop(run)
	}
	b.mu.Unlock()
	select {
	case <-e.done:
		return e.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Waiting returns how many callers wait for the next batch.
func (b *Batcher[T]) Waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiting)
}

// loop runs batches until no caller waits.
func (b *Batcher[T]) loop(run func([]*Entry[T]) error) {
	const limit = 100
	for {
		b.mu.Lock()
		n := min(len(b.waiting), limit)
		batch := b.waiting[:n:n]
		b.waiting = b.waiting[n:]
		b.running = n > 0
		b.mu.Unlock()
		if n == 0 {
			return
		}
		err := run(batch)
		for _, e := range batch {
			if err != nil {
				e.Err = err
			}
			close(e.done)
		}
	}
}
