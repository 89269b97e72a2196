package mirror

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
)

func newFollower(poll time.Duration, brands int) *follower {
	return &follower{
		runner: &runner{
			opts: RunOptions{
				PollInterval: poll, Logger: slog.New(slog.DiscardHandler), Clients: make([]*clixnow.Client, brands),
			},
			stop: func() {}, refused: make(map[string]error), noDatabase: make(map[string]bool),
		},
		status: Status{Brand: "acme"},
	}
}

// TestWaits checks how long a brand is left alone after each failure.
func TestWaits(t *testing.T) {
	t.Parallel()
	const minute, milli = time.Minute, time.Millisecond
	for name, test := range map[string]struct {
		poll time.Duration
		err  error
		want []time.Duration
	}{
		"doubles": {minute, clixnow.ErrPassFailed, []time.Duration{
			minute, 2 * minute, 4 * minute, 8 * minute, 15 * minute, 15 * minute,
		}},
		"doubles ten times": {milli, clixnow.ErrPassFailed, []time.Duration{
			milli, 2 * milli, 4 * milli, 8 * milli, 16 * milli, 32 * milli, 64 * milli, 128 * milli, 256 * milli,
			512 * milli, 1024 * milli, 1024 * milli,
		}},
		"refused":            {minute, clixnow.ErrUnauthorized, []time.Duration{minute, 2 * minute}},
		"at least the usual": {20 * minute, clixnow.ErrPassFailed, []time.Duration{20 * minute, 20 * minute}},
		"database":           {minute, ErrDatabase, []time.Duration{databaseDelay, databaseDelay}},
		"database, often":    {milli, ErrDatabase, []time.Duration{milli, milli}},
		"no error":           {minute, nil, []time.Duration{0}},
	} {
		f := newFollower(test.poll, 2)
		for _, want := range test.want {
			assert.Equal(t, want, f.failed(t.Context(), test.err), name)
		}
		require.NoError(t, f.fatal, name)
	}
}

// TestEnd checks that Run ends when all brands refuse, with the first error.
func TestEnd(t *testing.T) {
	t.Parallel()
	f := newFollower(time.Minute, 1)
	f.failed(t.Context(), clixnow.ErrPassFailed)
	require.NoError(t, f.fatal)
	f.failed(t.Context(), clixnow.ErrUnauthorized)
	require.ErrorIs(t, f.fatal, clixnow.ErrUnauthorized)
	assert.Zero(t, f.failed(t.Context(), ErrTakenOver))
	require.NotErrorIs(t, f.fatal, ErrTakenOver)

	f = newFollower(time.Minute, 2)
	f.failed(t.Context(), clixnow.ErrUnauthorized)
	f.failed(t.Context(), clixnow.ErrPassFailed) // it does not refuse any more
	other := &follower{runner: f.runner, status: Status{Brand: "beta"}}
	other.failed(t.Context(), clixnow.ErrUnauthorized)
	require.NoError(t, f.fatal)
	assert.Zero(t, f.failed(t.Context(), ErrTakenOver))
	require.ErrorIs(t, f.fatal, ErrTakenOver)
}
