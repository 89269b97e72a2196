package mirror

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
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
		f.succeeded(true)
		assert.Equal(t, test.want[0], f.failed(t.Context(), test.err), name+": the first wait after it has caught up")
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
	f.failed(t.Context(), clixnow.ErrUnauthorized)
	require.ErrorIs(t, f.fatal, clixnow.ErrUnauthorized)

	f = newFollower(time.Minute, 2)
	f.failed(t.Context(), clixnow.ErrUnauthorized)
	f.succeeded(true) // it works again
	other = &follower{runner: f.runner, status: Status{Brand: "beta"}}
	other.failed(t.Context(), clixnow.ErrUnauthorized)
	require.NoError(t, f.fatal)
	assert.Zero(t, f.failed(t.Context(), ErrTakenOver))
	require.ErrorIs(t, f.fatal, ErrTakenOver)
}

// TestRecovery checks what ends the error of a brand: a transaction that of the
// database, and only a whole pass that of the brand.
func TestRecovery(t *testing.T) {
	t.Parallel()
	f := newFollower(time.Minute, 2)
	var lines bytes.Buffer
	f.opts.Logger = slog.New(slog.NewTextHandler(&lines, nil))
	other := &follower{runner: f.runner, status: Status{Brand: "beta"}}
	f.failed(t.Context(), ErrDatabase)
	other.failed(t.Context(), ErrDatabase)
	f.succeeded(false)
	require.NoError(t, f.status.Err)
	require.ErrorIs(t, other.status.Err, ErrDatabase)
	assert.NotContains(t, lines.String(), "the database works again", "not for all brands")
	other.succeeded(false)
	assert.Contains(t, lines.String(), "the database works again")

	f.failed(t.Context(), clixnow.ErrPassFailed)
	f.succeeded(false)
	require.ErrorIs(t, f.status.Err, clixnow.ErrPassFailed)
	assert.Zero(t, f.status.CaughtUpAt)
	f.succeeded(true)
	require.NoError(t, f.status.Err)
	assert.NotZero(t, f.status.CaughtUpAt)
}

// openFile opens a mirror in an SQLite file.
func openFile(t *testing.T, file string) *Mirror {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+file+"?_txlock=immediate&_pragma=synchronous(OFF)")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	m, err := Open(t.Context(), db, SQLite)
	require.NoError(t, err)
	return m
}

// TestSaves checks what a follower saves, and what it reports.
func TestSaves(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "leads.db")
	f := newFollower(time.Minute, 1)
	var err error
	f.client, err = clixnow.NewClient(f.status.Brand, "token")
	require.NoError(t, err)
	f.mirror = openFile(t, file)
	var reports []Status
	f.opts.Observe = func(s Status) { reports = append(reports, s) }
	lead, err := recordOf(&clixnow.Lead{ID: 1})
	require.NoError(t, err)

	require.NoError(t, f.saveIncomplete(t.Context()))
	assert.Empty(t, reports, "nothing was read")
	failed := errors.New("failed")
	f.batch, f.saving = []record{lead}, make(chan result, 1)
	f.saving <- result{err: failed}
	require.ErrorIs(t, f.saveIncomplete(t.Context()), failed)
	assert.Empty(t, reports, "nothing is saved after a transaction that failed")
	require.NoError(t, f.saveIncomplete(t.Context()))
	assert.Equal(t, []Status{{Brand: "acme", Leads: 1, Events: 1}}, reports)

	now := time.Now()
	require.NoError(t, f.checkpoint(t.Context(), now, true))
	require.NotZero(t, f.status.CaughtUpAt)
	f.status.CaughtUpAt, reports = time.Time{}, nil
	openFile(t, file)
	require.ErrorIs(t, f.checkpoint(t.Context(), now, true), ErrTakenOver)
	assert.Empty(t, reports, "it has not caught up if another process owns the mirror")
}

// handler answers requests without a network. After 50 of them it calls stop.
type handler struct {
	*clixnowtest.Server
	stop  func()
	mu    sync.Mutex
	times []time.Time
}

func (h *handler) RoundTrip(r *http.Request) (*http.Response, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.times = append(h.times, time.Now()); len(h.times) == 50 {
		h.stop()
	}
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, r)
	return answer.Result(), nil
}

// TestPolls checks when Run polls if no interval is given, and while a brand
// fails.
func TestPolls(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "leads.db")
	synctest.Test(t, func(t *testing.T) {
		m := openFile(t, file)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		h := &handler{Server: clixnowtest.NewHandler(), stop: stop}
		client, err := clixnow.NewClient(h.Brand, h.Token, clixnow.WithRetry(clixnow.RetryPolicy{MaxAttempts: 1}),
			clixnow.WithTransport(func(http.RoundTripper) http.RoundTripper { return h }))
		require.NoError(t, err)
		ended := make(chan error, 1)
		go func() { ended <- m.Run(ctx, RunOptions{Clients: []*clixnow.Client{client}}) }()
		time.Sleep(90 * time.Second)
		h.Inject(clixnowtest.Fault{Status: http.StatusServiceUnavailable, Times: 6})
		require.NoError(t, <-ended)
		var waits []time.Duration
		for i := range h.times[1:] {
			if wait := h.times[i+1].Sub(h.times[i]); wait > 0 {
				waits = append(waits, wait/time.Minute)
			}
		}
		require.Greater(t, len(waits), 10)
		assert.Equal(t, []time.Duration{1, 1, 1, 2, 4, 8, 15, 15, 1, 1}, waits[:10])
	})
}
