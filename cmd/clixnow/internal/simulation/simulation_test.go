//go:build !race

package simulation_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// TestSimulation runs random histories of two weeks. Visitors sign up at a
// gateway that registers them at three brands. A second process copies the
// leads and tells two trackers about them. Both processes die at random steps.
// Brands and trackers fail in many ways: see faults. At the end all faults are
// over, a person decides about what is in doubt, and check asks what each
// visitor, brand and tracker has.
//
// CLIXNOW_LONG=1 runs many more histories, and CLIXNOW_SEED=7 runs one.
func TestSimulation(t *testing.T) { //nolint:paralleltest // it registers a function of SQL
	registerDatetime(t)
	seeds, histories := uint64(0), 3
	if os.Getenv("CLIXNOW_LONG") != "" {
		histories = 1000
	}
	if text := os.Getenv("CLIXNOW_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
		seeds, histories = seed, 1
	}
	total := &tally{counts: make(map[string]int)}
	began := time.Now()
	t.Cleanup(func() {
		t.Logf("%d histories from seed %d in %v: %s", histories, seeds, time.Since(began).Round(time.Second), total)
	})
	for i := range uint64(histories) {
		seed := seeds + i
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			synctest.Test(t, func(t *testing.T) { newHistory(t, seed, folder, total).run(t) })
		})
	}
}

// tally counts what happened in all histories.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func (c *tally) add(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[what]++
}

func (c *tally) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var texts []string
	for what, n := range c.counts {
		texts = append(texts, fmt.Sprintf("%s: %d", what, n))
	}
	slices.Sort(texts)
	return strings.Join(texts, ", ")
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
	requests atomic.Int64
	logs     lockedBuffer
	// denied has the brands that refused the token of a gateway.
	denied map[string]bool
	// healed means that nothing fails any more.
	healed atomic.Bool

	mu sync.Mutex
}

// brand is a fake brand.
type brand struct {
	*clixnowtest.Server

	host *host
	// known is the token that the operator has configured.
	known atomic.Pointer[string]
}

const length = 14 * 24 * time.Hour

func newHistory(t *testing.T, seed uint64, folder string, total *tally) *history {
	t.Helper()
	h := &history{
		seed: seed, folder: folder, total: total, began: time.Now(), hosts: make(map[string]*host),
		denied: make(map[string]bool),
	}
	db, err := sql.Open("sqlite", "")
	require.NoError(t, err)
	h.sqlite = db.Driver()
	require.NoError(t, db.Close())
	for i := range 3 {
		b := &brand{Server: clixnowtest.NewHandler(h.brandOptions(i)...)}
		token := b.Token
		b.known.Store(&token)
		// An older lead proves that an empty search is complete.
		b.AddLeads(clixnow.Lead{ID: 1, CreatedOn: time.Now().Add(-time.Hour)})
		b.host = h.newHost(b.Brand, b)
		h.brands = append(h.brands, b)
	}
	for _, name := range []string{"tracker0", "tracker1"} {
		tr := &tracker{h: h, name: name}
		h.newHost(name, tr)
		h.trackers = append(h.trackers, tr)
	}
	h.visitors = h.newVisitors()
	return h
}

func (h *history) brandOptions(i int) []clixnowtest.Option {
	clock := []time.Duration{0, 0, 90 * time.Second, -2 * time.Hour, 10 * time.Minute}[h.number(5, "clock", i)]
	lag := time.Duration(h.number(8, "lag", i)) * time.Second
	options := []clixnowtest.Option{
		clixnowtest.WithBrand(fmt.Sprintf("brand%d", i)), clixnowtest.WithToken(fmt.Sprintf("token-%d-%d", h.seed, i)),
		clixnowtest.WithClock(func() time.Time { return time.Now().Add(clock) }),
		clixnowtest.WithSearchDelay(func(clixnow.Lead) time.Duration { return lag }),
		clixnowtest.WithFirstID(int64(1000 * (i + 1))), clixnowtest.WithRequestLimit(1),
		clixnowtest.WithFilterPrecision([]time.Duration{
			0, time.Minute, time.Hour,
			24 * time.Hour,
		}[h.number(4, "filter", i)]),
	}
	if h.chance(3, "no duplicate check", i) {
		options = append(options, clixnowtest.WithoutDuplicateCheck())
	}
	if h.chance(2, "countries", i) {
		options = append(options, clixnowtest.WithCountries("CH", "DE"))
	}
	return options
}

const bursts = 8

// burst returns when the visitors of a burst begin to come.
func (h *history) burst(i int) time.Time {
	return h.began.Add(time.Duration(h.number(int(length/time.Second)*9/10, "burst", i)) * time.Second)
}

// newHost adds a host that fails while visitors come.
func (h *history) newHost(name string, handler http.Handler) *host {
	to := &host{name: name, handler: handler}
	for i := range bursts {
		if h.chance(3, name, "works", i) {
			continue
		}
		minutes := []int{1, 5, 20, 120}[h.number(4, name, "length", i)]
		from := h.burst(i).Add(-time.Duration(h.number(minutes*60, name, "window", i)) * time.Second)
		to.windows = append(to.windows, window{
			from, from.Add(time.Duration(minutes) * time.Minute), faults[h.number(len(faults), name, "kind", i)],
		})
	}
	h.hosts[name+".test"] = to
	return to
}

// number returns a random number below n. It depends only on the seed and the
// key, so that it does not matter which goroutine asks first.
func (h *history) number(n int, key ...any) int {
	hash := fnv.New64a()
	_ = binary.Write(hash, binary.LittleEndian, h.seed)
	_, _ = fmt.Fprint(hash, key...)
	return int(hash.Sum64() % uint64(n))
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
			clixnow.WithBaseURL("https://"+b.Brand+".test"),
			clixnow.WithHTTPClient(&http.Client{Transport: p, Timeout: 30 * time.Second}),
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
	g := &gateway{h: h}
	g.run(t)
	time.Sleep(time.Until(h.began.Add(length)))
	h.healed.Store(true)
	for _, b := range h.brands {
		token := b.Token
		b.known.Store(&token)
	}
	g.settle(t)
	close(done)
	running.Wait()
	h.check(t)
}

// changeLeads does what a brand does with its leads.
func (h *history) changeLeads(b *brand) {
	statuses := []string{"New", "No answer", "Call again", "Not interested", "Deposited"}
	for i := 0; ; i++ {
		time.Sleep(time.Duration(1+h.number(240, b.Brand, "pause", i)) * time.Minute)
		if time.Since(h.began) >= length {
			return
		}
		leads := b.Leads()
		lead := leads[h.number(len(leads), b.Brand, "lead", i)]
		_ = b.UpdateLead(lead.ID, func(l *clixnow.Lead) {
			l.Status = statuses[h.number(len(statuses), b.Brand, "status", i)]
			switch {
			case l.FTDDate.IsZero() && h.chance(2, b.Brand, "deposit", i):
				h.total.add("deposits")
				l.FTDDate = time.Now()
			case !l.FTDDate.IsZero() && h.chance(6, b.Brand, "withdraw", i):
				h.total.add("withdrawn deposits")
				l.FTDDate = time.Time{}
			}
		})
	}
}

// rotateToken replaces the token of a brand. The operator notices it later.
func (h *history) rotateToken(b *brand) {
	if !h.chance(2, b.Brand, "rotates") {
		return
	}
	time.Sleep(time.Duration(h.number(int(length/time.Minute), b.Brand, "rotated at")) * time.Minute)
	h.total.add("rotated tokens")
	token := fmt.Sprintf("rotated-%d-%s", h.seed, b.Brand)
	b.SetToken(token)
	time.Sleep(time.Duration(1+h.number(600, b.Brand, "noticed after")) * time.Minute)
	b.known.Store(&token)
}

func (h *history) path(name string) string { return filepath.Join(h.folder, name) }

type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
