//go:build !race

package simulation_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"flag"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
)

// TestSimulation runs random histories of two weeks. Visitors sign up at a
// gateway that registers them at three brands. A second process copies the
// leads and tells two trackers about them. Both processes die, or are stopped,
// at random points. Brands and trackers fail in many ways: see faults. At the
// end all faults are over, a person decides about what is in doubt, and check
// asks what each visitor, brand and tracker has.
//
// CLIXNOW_LONG=1 runs many more histories, and CLIXNOW_SEED=7 runs one.
// CLIXNOW_SEED=7-500 runs these seeds.
func TestSimulation(t *testing.T) { //nolint:paralleltest // it registers a function of SQL
	registerDatetime(t)
	debug.SetGCPercent(400) // a history needs little memory, but makes much garbage
	first, last := seeds(t)
	total := &tally{counts: make(map[string]int)}
	began := time.Now()
	t.Cleanup(func() {
		t.Logf("%d histories from seed %d in %v:%s", last-first+1, first, time.Since(began).Round(time.Second), total)
	})
	for seed := first; seed <= last; seed++ {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			if total.failed.Load() && flag.Lookup("test.failfast").Value.String() == "true" {
				t.Skip("SKIPPED: another history has failed")
			}
			t.Cleanup(func() { total.failed.Store(total.failed.Load() || t.Failed()) })
			synctest.Test(t, func(t *testing.T) { newHistory(t, seed, folder, total).run(t) })
		})
	}
}

// seeds returns the first and the last seed.
func seeds(t *testing.T) (first, last uint64) {
	t.Helper()
	text := os.Getenv("CLIXNOW_SEED")
	switch {
	case text != "":
		n, err := fmt.Sscanf(text, "%d-%d", &first, &last)
		if n < 2 {
			first, err = strconv.ParseUint(text, 10, 64)
			last = first
		}
		require.NoError(t, err)
		return first, last
	case os.Getenv("CLIXNOW_LONG") != "":
		return 0, 3999
	}
	return 0, 9
}

// history is one run of the simulation.
type history struct {
	seed   uint64
	folder string
	total  *tally
	sqlite driver.Driver
	began  time.Time

	brands   []*brand
	trackers []*tracker
	hosts    map[string]*host
	visitors []*visitor
	gateway  *gateway
	requests atomic.Int64
	logs     lockedBuffer
	// changed gets a value when leads change quickly.
	changed chan struct{}
	// healed means that nothing fails any more.
	healed atomic.Bool
	// deaths has the names of the processes that died.
	deaths sync.Map
	// givenUpSignups has the ids of the sign-ups that a person gave up.
	givenUpSignups sync.Map

	mu sync.Mutex
	// conns are connections to SQLite that no process uses, by address.
	conns map[string][]*keptConn
	// denied has the processes and the brands that refused their token. The log
	// must say so.
	denied map[string]bool
	// links are the redirect URLs of the brands.
	links map[string]link
	// answers are those of the gateway to visitors.
	answers []answer
	// givenUp has the click ids of postbacks that were given up, by tracker.
	givenUp map[string]bool
}

// link is what a brand has registered with a redirect URL.
type link struct{ brand, email, click string }

const length = 14 * 24 * time.Hour

func newHistory(t *testing.T, seed uint64, folder string, total *tally) *history {
	t.Helper()
	h := &history{
		seed: seed, folder: folder, total: total, began: time.Now(), hosts: make(map[string]*host),
		conns: make(map[string][]*keptConn), denied: make(map[string]bool), links: make(map[string]link),
		givenUp: make(map[string]bool), changed: make(chan struct{}, 1),
	}
	db, err := sql.Open("sqlite", "")
	require.NoError(t, err)
	h.sqlite = db.Driver()
	require.NoError(t, db.Close())
	for i := range 3 {
		b := h.newBrand(i)
		h.newHost(b.Brand, b)
		h.brands = append(h.brands, b)
	}
	for _, name := range []string{"tracker0", "tracker1"} {
		h.trackers = append(h.trackers, h.newTracker(name))
	}
	h.visitors = h.newVisitors()
	h.gateway = &gateway{h: h}
	return h
}

const bursts = 8

// burst returns when the visitors of a burst begin to come.
func (h *history) burst(i int) time.Time {
	return h.began.Add(time.Duration(h.number(int(length/time.Second)*9/10, "burst", i)) * time.Second)
}

// number returns a random number below n. It depends only on the seed and the
// key, so that it does not matter which goroutine asks first.
func (h *history) number(n int, key ...any) int {
	hash := fnv.New64a()
	_, _ = fmt.Fprint(hash, key...)
	// The lowest bits of the hash depend only on those of the key.
	return rand.New(rand.NewPCG(h.seed, hash.Sum64())).IntN(n)
}

// chance returns true once in n times.
func (h *history) chance(n int, key ...any) bool { return h.number(n, key...) == 0 }

func (h *history) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(&h.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// clients returns the clients of a process.
func (h *history) clients(p *process) (clients []*clixnow.Client, err error) {
	for _, b := range h.brands {
		client, err := clixnow.NewClient(b.Brand, "",
			clixnow.WithBaseURL("https://"+b.Brand+".test"), clixnow.WithLogger(h.logger()),
			clixnow.WithHTTPClient(&http.Client{Transport: p, Timeout: 30 * time.Second}),
			clixnow.WithRefusals(b.readRefusal),
			clixnow.WithTokenSource(func(context.Context) (string, error) { return *b.known.Load(), nil }))
		if err != nil {
			return nil, err
		}
		clients = append(clients, client)
	}
	return clients, nil
}

// run runs the history and checks its end.
func (h *history) run(t *testing.T) {
	t.Helper()
	var running sync.WaitGroup
	done := make(chan struct{})
	for _, b := range h.brands {
		running.Go(func() { h.changeLeads(b) })
		running.Go(func() { h.rotateToken(b) })
	}
	running.Go(func() { h.follow(t, done) })
	h.gateway.open(t)
	h.gateway.run(t)
	time.Sleep(time.Until(h.began.Add(length)))
	h.healed.Store(true)
	for _, b := range h.brands {
		token := b.Token
		b.known.Store(&token)
	}
	h.gateway.settle(t)
	close(done)
	running.Wait()
	h.check(t)
	h.gateway.close(t)
	h.closeConns(t)
}

func (h *history) path(name string) string { return filepath.Join(h.folder, name) }
