package waiting_test

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/clixnow/clixnow-go/store/internal/waiting"
)

func TestCalls(t *testing.T) {
	t.Parallel()
	var calls waiting.Calls[int]
	var polls atomic.Int64
	started := make(chan struct{}, 10)
	poll := func() {
		polls.Add(1)
		started <- struct{}{}
	}
	first, second := calls.Add("a", poll), calls.Add("a", poll)
	other := calls.Add("b", poll)
	assert.ElementsMatch(t, []string{"a", "b"}, calls.Keys())
	calls.Notify("unknown", 1)
	calls.Notify("a", 7)
	calls.Notify("a", 8) // the first value counts
	<-first.Known()
	<-second.Known()
	assert.Equal(t, 7, second.Get())

	later := calls.Add("a", poll) // waits for a new value
	calls.Remove("a", first)
	calls.Remove("a", second)
	assert.ElementsMatch(t, []string{"a", "b"}, calls.Keys(), "the later call still waits")
	select {
	case <-later.Known():
		assert.Fail(t, "an old value was given to a later call")
	default:
	}
	calls.Remove("a", later)
	assert.Equal(t, []string{"b"}, calls.Keys())
	calls.Remove("b", calls.Add("b", poll))
	assert.Equal(t, []string{"b"}, calls.Keys(), "the first call for it still waits")
	<-started
	assert.Equal(t, int64(1), polls.Load(), "one goroutine polls")
	calls.Remove("b", other)
	assert.Empty(t, calls.Keys())
	calls.Remove("c", calls.Add("c", poll))
	<-started
	assert.Equal(t, int64(2), polls.Load(), "the next call starts it again")
}
