package clixnow

import (
	"context"
	"errors"
	"iter"
	"sync"
)

// pool does work for each item of a sequence, for a few items at a time. A slot
// is acquired before an item is taken from the sequence. It is released after
// the result was handled.
type pool[Item, Result any] struct {
	slots int
	// wait is called before each item is taken. If it returns an error, nothing
	// more is taken.
	wait func(accepting context.Context) error
	// work returns the result for one item. late reports that the item was
	// taken after the pool had stopped, and that nothing must be done for it.
	work func(index int, item Item, late bool) Result
}

// run takes items until accepting ends, and calls handle in its own goroutine
// with each result. It returns when all items that were taken are handled. The
// error is nil if the sequence ended while accepting was alive. Otherwise it is
// the cause of accepting, the error of wait, or says that work or the sequence
// ended its goroutine.
//
// A panic of work or of the sequence comes out of run after the other results
// were handled.
func (p *pool[Item, Result]) run(accepting context.Context, items iter.Seq[Item], handle func(Result)) error {
	accepting, stop := context.WithCancel(accepting)
	r := &poolRun[Item, Result]{
		pool: p, stop: stop, slots: make(chan struct{}, p.slots), results: make(chan Result),
	}
	go r.take(accepting, items)
	// If handle panics, stop and drain, so that no goroutine is left behind.
	defer func() {
		stop()
		for range r.results {
		}
	}()
	for result := range r.results {
		handle(result)
		<-r.slots
	}
	if r.panicked != nil {
		panic(r.panicked)
	}
	return r.err
}

// poolRun is one run of a pool.
type poolRun[Item, Result any] struct {
	pool    *pool[Item, Result]
	stop    context.CancelFunc
	slots   chan struct{}
	results chan Result

	// failing guards the fields below, which hold the first failure.
	failing  sync.Mutex
	panicked any
	err      error
}

// take starts the work for each item, and closes results when all of it is
// done.
func (r *poolRun[Item, Result]) take(accepting context.Context, items iter.Seq[Item]) {
	var working sync.WaitGroup
	defer close(r.results)
	defer working.Wait()
	returned := false
	defer func() {
		if !returned {
			r.fail(recover(), errors.New("reqs did not return"))
		}
	}()
	next := 0
	if r.acquire(accepting) {
		for item := range items {
			index, late := next, accepting.Err() != nil
			next++
			working.Go(func() { r.do(index, item, late) })
			if !r.acquire(accepting) {
				break
			}
		}
	}
	returned = true
	// The sequence may have ended because of the context. There may have been
	// more.
	if accepting.Err() != nil {
		r.fail(nil, context.Cause(accepting))
	}
}

// acquire waits for a slot, and reports whether one more item may be taken.
func (r *poolRun[Item, Result]) acquire(accepting context.Context) bool {
	select {
	case r.slots <- struct{}{}:
	case <-accepting.Done():
		return false
	}
	if err := r.pool.wait(accepting); err != nil && accepting.Err() == nil {
		r.fail(nil, err)
	}
	return accepting.Err() == nil
}

func (r *poolRun[Item, Result]) do(index int, item Item, late bool) {
	returned := false
	defer func() {
		if !returned {
			r.fail(recover(), errors.New("a create did not return"))
		}
	}()
	result := r.pool.work(index, item, late)
	returned = true
	r.results <- result
}

// fail records the first failure. panicked is nil if nothing panicked. Nothing
// more is taken then.
func (r *poolRun[Item, Result]) fail(panicked any, err error) {
	r.failing.Lock()
	defer r.stop()
	defer r.failing.Unlock()
	if r.panicked == nil && r.err == nil {
		r.panicked = panicked
		if panicked == nil {
			r.err = err
		}
	}
}
