package batch_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/store/internal/batch"
)

// TestTogether checks that values that arrive while a batch runs are run
// together, at most 100 at once, and that each caller gets its own error.
func TestTogether(t *testing.T) {
	t.Parallel()
	const callers = 250
	odd := errors.New("odd")
	var b batch.Batcher[int]
	started, release := make(chan struct{}), make(chan struct{})
	var sizes []int
	run := func(entries []*batch.Entry[int]) error { //nolint:unparam // Do needs this type
		sizes = append(sizes, len(entries))
		if len(sizes) == 1 {
			close(started)
			<-release
		}
		for _, e := range entries {
			if e.Value%2 == 1 {
				e.Err = odd
			}
		}
		return nil
	}
	var wait sync.WaitGroup
	wait.Go(func() { assert.NoError(t, b.Do(t.Context(), 0, run)) })
	<-started
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range callers {
		// These wait for the batch that runs, so their context ends before.
		require.ErrorIs(t, b.Do(ended, i, run), context.Canceled)
	}
	wait.Go(func() { assert.ErrorIs(t, b.Do(t.Context(), 1, run), odd) })
	wait.Go(func() { assert.NoError(t, b.Do(t.Context(), 2, run)) })
	require.Eventually(t, func() bool { return b.Waiting() == callers+2 }, time.Minute, time.Millisecond)
	close(release)
	wait.Wait()
	assert.Zero(t, b.Waiting())
	total := 0
	for _, size := range sizes {
		assert.LessOrEqual(t, size, 100)
		total += size
	}
	assert.Equal(t, callers+3, total)
	assert.LessOrEqual(t, len(sizes), 6)
}

func TestOneErrorForAll(t *testing.T) {
	t.Parallel()
	failed := errors.New("failed")
	var b batch.Batcher[int]
	for i := range 3 {
		require.ErrorIs(t, b.Do(t.Context(), i, func([]*batch.Entry[int]) error { return failed }), failed)
	}
}
