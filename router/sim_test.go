package router_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/router"
)

// TestRegisterSim registers leads at two to five random brands, in fake time.
// Brands lose answers, are full, closed or slow, refuse countries, and show
// leads late. The process dies at random moments and resumes. At the end no
// lead is at two brands, and each lead is where the result says.
//
// CLIXNOW_LONG=1 runs many more histories, and CLIXNOW_SEED=7 runs one.
func TestRegisterSim(t *testing.T) {
	t.Parallel()
	seeds, histories := uint64(0), 60
	if os.Getenv("CLIXNOW_LONG") != "" {
		histories = 1500
	}
	if text := os.Getenv("CLIXNOW_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
		seeds, histories = seed, 1
	}
	total := &tally{counts: make(map[string]int)}
	t.Cleanup(func() { t.Logf("%d histories from seed %d: %s", histories, seeds, total) })
	for i := range uint64(histories) {
		seed := seeds + i
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { newHistory(t, seed, total).run() })
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
		texts = append(texts, fmt.Sprintf("%d %s", n, what))
	}
	slices.Sort(texts)
	return strings.Join(texts, ", ")
}

// history is one run of the simulation.
type history struct {
	t      *testing.T
	random *rand.Rand
	total  *tally
	brands []brand
	router *router.Router
	stored router.Attempt // what outlives a death
	die    func()
}

func newHistory(t *testing.T, seed uint64, total *tally) *history {
	t.Helper()
	h := &history{t: t, random: rand.New(rand.NewPCG(seed, 0)), total: total}
	h.router = &router.Router{Begin: func(_ context.Context, a router.Attempt) error {
		h.maybeDie()
		if h.chance(50) {
			return errors.New("the store fails")
		}
		h.stored = a
		h.maybeDie()
		return nil
	}}
	for i := range 2 + h.random.IntN(4) {
		b := newMemoryBrand(t, fmt.Sprintf("brand%d", i), h.before, h.options()...)
		// An older lead proves that an empty search is complete.
		b.AddLeads(clixnow.Lead{ID: 1, CreatedOn: time.Now().Add(-time.Hour)})
		h.brands = append(h.brands, b)
		closed := h.chance(5)
		h.router.Routes = append(h.router.Routes, router.Route{
			Client:  b.client,
			Accepts: func(clixnow.CreateLeadRequest) bool { return !closed || h.chance(2) },
		})
	}
	if h.chance(4) {
		h.router.Next = func(err error) bool { return !errors.Is(err, clixnow.ErrDuplicateLead) }
	}
	return h
}

// chance returns true once in n times.
func (h *history) chance(n int) bool { return h.random.IntN(n) == 0 }

func (h *history) options() (options []clixnowtest.Option) {
	if h.chance(3) {
		options = append(options, clixnowtest.WithCapacity(1+h.random.IntN(4), "Daily cap reached"))
	}
	if h.chance(5) {
		options = append(options, clixnowtest.WithCountries("DE"))
	}
	if h.chance(3) {
		lag := time.Duration(h.random.IntN(8)) * time.Second
		options = append(options, clixnowtest.WithSearchDelay(func(clixnow.Lead) time.Duration { return lag }))
	}
	return options
}

// before happens before a request is handled.
func (h *history) before(*http.Request) error {
	h.maybeDie()
	time.Sleep(time.Duration(h.random.IntN(2000)) * time.Millisecond)
	h.maybeDie()
	if h.chance(12) {
		return fmt.Errorf("no route to host: %w", clixnow.ErrNotSent)
	}
	return nil
}

// maybeDie ends the process at this point: nothing that happens afterwards is
// stored.
func (h *history) maybeDie() {
	if h.die != nil && h.chance(12) {
		h.total.add("deaths")
		h.die()
	}
}

func (h *history) inject() {
	faults := []clixnowtest.Fault{
		{Method: "POST", Drop: clixnowtest.DropAfterHandling},
		{Method: "POST", Drop: clixnowtest.DropBeforeHandling},
		{Method: "POST", Status: 502, HandleFirst: true},
		{Method: "POST", Status: 503},
		{Method: "POST", Status: 429, Times: 3},
		{Method: "POST", Status: 401},
		{Method: "GET", Status: 503, Times: 1 + h.random.IntN(12)},
		{Method: "POST", Delay: 40 * time.Second, HandleFirst: true},
	}
	for _, b := range h.brands {
		for h.chance(2) {
			b.Inject(faults[h.random.IntN(len(faults))])
		}
	}
}

func (h *history) run() {
	for n := range 6 {
		h.inject()
		h.register(lead(n))
	}
}

// register registers one lead as a queue does, and checks where it is.
func (h *history) register(req clixnow.CreateLeadRequest) {
	h.stored = router.Attempt{}
	var result *router.Result
	var err error
	for try := 0; ; try++ {
		ctx, cancel := context.WithTimeout(h.t.Context(), 2*time.Minute)
		dead := false
		h.die = nil
		if try < 4 {
			h.die = func() { dead = true; cancel() }
		}
		last := h.stored
		result, err = h.router.Register(ctx, req, last)
		cancel()
		if dead { // the result is lost with the process
			continue
		}
		h.stored = router.InDoubt(err)
		if again := err != nil && !final(err) && try < 12; !again {
			break
		}
		time.Sleep(15 * time.Minute)
	}
	h.check(req, result, err)
}

// final reports whether a queue gives the lead up.
func final(err error) bool {
	switch clixnow.ReasonOf(err) {
	case clixnow.ReasonInvalid, clixnow.ReasonDuplicate, clixnow.ReasonCountry:
		return true
	default:
		return false
	}
}

func (h *history) check(req clixnow.CreateLeadRequest, result *router.Result, err error) {
	var at []string
	for _, b := range h.brands {
		for _, l := range b.Leads() {
			if l.Email == req.Email {
				at = append(at, b.Brand)
			}
		}
	}
	require.LessOrEqual(h.t, len(at), 1, "%s is at %v", req.Email, at)
	outcome := clixnow.OutcomeOf(err)
	h.total.add(cmp.Or(strings.TrimSpace(outcome.String()+" "+clixnow.ReasonOf(err).String()), "none"))
	switch outcome {
	case clixnow.OutcomeRegistered:
		require.Equal(h.t, []string{result.Brand}, at)
	case clixnow.OutcomeUnknown:
		require.False(h.t, h.stored == (router.Attempt{}), "an unknown outcome has a brand in doubt")
		if len(at) > 0 {
			require.Equal(h.t, []string{h.stored.Brand}, at)
		}
	default:
		require.Empty(h.t, at, "%v", err)
	}
}
