// Package waiting lets many calls wait for values that have keys.
package waiting

import (
	"maps"
	"slices"
	"sync"
)

// Calls are the calls that wait, by the key of the value. The zero value is
// usable. It is safe for concurrent use.
type Calls[T any] struct {
	mu    sync.Mutex
	byKey map[string]*Value[T]
	// polling reports that a goroutine polls.
	polling bool
}

// Value is what some calls wait for.
type Value[T any] struct {
	calls int
	known chan struct{}
	value T
}

// Known returns a channel that is closed when the value is known.
func (v *Value[T]) Known() <-chan struct{} { return v.known }

// Get returns the value. It must be known.
func (v *Value[T]) Get() T { return v.value }

// Add adds a call that waits for a key. For the first call it starts poll,
// which must end when Keys returns none.
func (c *Calls[T]) Add(key string, poll func()) *Value[T] {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.polling {
		c.byKey, c.polling = make(map[string]*Value[T]), true
		go poll()
	}
	if c.byKey[key] == nil {
		c.byKey[key] = &Value[T]{known: make(chan struct{})}
	}
	c.byKey[key].calls++
	return c.byKey[key]
}

// Remove removes a call of Add. Each call must be removed.
func (c *Calls[T]) Remove(key string, v *Value[T]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v.calls--
	if v.calls == 0 && c.byKey[key] == v {
		delete(c.byKey, key)
	}
}

// Notify ends the wait of the calls for a key.
func (c *Calls[T]) Notify(key string, value T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v := c.byKey[key]; v != nil {
		delete(c.byKey, key)
		v.value = value
		close(v.known)
	}
}

// Keys returns the keys for which calls wait. If there are none, the poll must
// end.
func (c *Calls[T]) Keys() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.polling = len(c.byKey) > 0
	return slices.Collect(maps.Keys(c.byKey))
}
