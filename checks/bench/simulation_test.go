//go:build !race

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
)

const (
	simBrands  = 500
	simPerDay  = 10_000_000
	simRate    = simPerDay / 86400.0 / simBrands // leads per second and brand
	simTimeout = 90 * time.Second                // of one EnsureLead, as its documentation says
	simPause   = 30 * time.Second                // before a lead is tried again
)

// TestManyBrandsSimulation registers leads at 500 brands, as many in a second
// as 10,000,000 a day, in virtual time and without sockets. Each brand is also
// polled by LeadChanges. Brands fail for minutes, and so does the connection to
// all of them. At the end each lead is registered exactly once. CLIXNOW_LONG=1
// simulates 20 minutes instead of two. With the race detector it takes five
// times as long.
func TestManyBrandsSimulation(t *testing.T) {
	t.Parallel()
	length := 2 * time.Minute
	if os.Getenv("CLIXNOW_LONG") != "" {
		length = 20 * time.Minute
	}
	synctest.Test(t, func(t *testing.T) {
		s := newSimulation(length)
		s.run(t)
		s.print(t)
		s.check(t)
	})
}

// simulation is one process and the brands that it talks to.
type simulation struct {
	began          time.Time
	length         time.Duration
	brands         []*simBrand
	inFlight       atomic.Int64
	waiting        atomic.Int64
	heapBefore     uint64
	routinesBefore int
	phases         []*simPhase
}

// simPhase holds the highest figures of one part of the time.
type simPhase struct {
	name                              string
	ends                              time.Duration
	seconds, requests, dials          int64
	busiest                           int64
	inFlight, connections, goroutines int64
	waiting                           int64
	heap                              uint64
}

func newSimulation(length time.Duration) *simulation {
	s := &simulation{began: time.Now(), length: length, phases: []*simPhase{
		{name: "some brands fail", ends: length / 2},
		{name: "no brand answers", ends: length * 6 / 10},
		{name: "all brands answer again", ends: length},
		{name: "no new leads", ends: 100 * length},
	}}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range simBrands {
		b := &simBrand{simulation: s, random: rand.New(rand.NewPCG(3, uint64(i)))}
		if random.IntN(5) == 0 {
			b.fails = 1 + random.IntN(simKinds)
			b.failsFrom = time.Duration(random.Int64N(int64(length / 2)))
			// It is longer than the looks of EnsureLead. Otherwise no outcome
			// would stay unknown.
			b.failsTo = b.failsFrom + 20*time.Second + time.Duration(random.Int64N(int64(length/4)))
		}
		for age := 15 * time.Minute; age > 0; age -= 5 * time.Second {
			b.leads = append(b.leads, simLead{number: -1, created: s.began.Add(-age)})
		}
		s.brands = append(s.brands, b)
	}
	return s
}

func (s *simulation) phase() *simPhase {
	i := slices.IndexFunc(s.phases, func(p *simPhase) bool { return time.Since(s.began) < p.ends })
	return s.phases[i]
}

// run returns when all leads are registered.
func (s *simulation) run(t *testing.T) {
	t.Helper()
	s.heapBefore, s.routinesBefore = liveHeap(), runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(t.Context())
	var following, registering sync.WaitGroup
	for i, b := range s.brands {
		client, err := clixnow.NewClient(fmt.Sprint("brand-", i), token,
			clixnow.WithHTTPClient(&http.Client{Transport: b, Timeout: 30 * time.Second}))
		require.NoError(t, err)
		// The random source of a brand is not for several goroutines.
		pause := time.Duration(b.random.Int64N(int64(time.Minute)))
		arrivals := rand.New(rand.NewPCG(4, b.random.Uint64()))
		following.Go(func() { s.follow(ctx, t, pause, client) })
		registering.Go(func() { s.register(ctx, t, b, arrivals, client, &registering) })
	}
	following.Go(func() { s.watch(ctx) })
	registering.Wait()
	cancel()
	following.Wait()
}

// register starts a goroutine for each new lead of a brand.
func (s *simulation) register(
	ctx context.Context, t *testing.T, b *simBrand, random *rand.Rand, client *clixnow.Client, group *sync.WaitGroup,
) {
	t.Helper()
	for {
		time.Sleep(time.Duration(random.ExpFloat64() / simRate * float64(time.Second)))
		if time.Since(s.began) > s.length {
			return
		}
		number := b.arrived
		b.arrived++
		group.Go(func() {
			s.waiting.Add(1)
			defer s.waiting.Add(-1)
			assert.NoError(t, ensure(ctx, client, number))
		})
	}
}

// ensure registers a lead as a consumer of a queue does.
func ensure(ctx context.Context, client *clixnow.Client, number int) error {
	lead := sdkLead()
	lead.Email, lead.ClickID = fmt.Sprintf("lead%d@example.com", number), fmt.Sprint("click", number)
	first, since := time.Now(), time.Time{}
	for {
		limited, cancel := context.WithTimeout(ctx, simTimeout)
		_, err := client.EnsureLeadSince(limited, lead, since)
		cancel()
		switch clixnow.OutcomeOf(err) {
		case clixnow.OutcomeRegistered:
			return nil
		case clixnow.OutcomeRefused:
			return err
		case clixnow.OutcomeUnknown:
			since = first
		case clixnow.OutcomeNotSent, clixnow.OutcomeRateLimited:
		}
		time.Sleep(simPause)
	}
}

// follow polls a brand for changes, after a pause.
func (s *simulation) follow(ctx context.Context, t *testing.T, pause time.Duration, client *clixnow.Client) {
	t.Helper()
	time.Sleep(pause)
	changes := client.LeadChanges(ctx, clixnow.LeadChangesRequest{Since: s.began, PollInterval: time.Minute})
	for _, err := range changes {
		if err != nil && !errors.Is(err, clixnow.ErrPassFailed) && ctx.Err() == nil {
			assert.NoError(t, err)
			return
		}
	}
}

// watch keeps the highest figures.
func (s *simulation) watch(ctx context.Context) {
	for second := 0; ctx.Err() == nil; second++ {
		time.Sleep(time.Second)
		p := s.phase()
		p.seconds++
		p.inFlight = max(p.inFlight, s.inFlight.Load())
		p.waiting = max(p.waiting, s.waiting.Load())
		p.goroutines = max(p.goroutines, int64(runtime.NumGoroutine()-s.routinesBefore))
		requests, connections, listed := int64(0), s.inFlight.Load(), uint64(0)
		for _, b := range s.brands {
			b.mu.Lock()
			requests += b.requests
			p.dials += b.dials
			b.requests, b.dials = 0, 0
			b.expire()
			connections += int64(len(b.idle))
			listed += uint64(cap(b.leads)) * uint64(simLeadSize)
			b.mu.Unlock()
		}
		p.requests += requests
		p.busiest = max(p.busiest, requests)
		p.connections = max(p.connections, connections)
		if second%20 == 0 {
			heap := liveHeap()
			p.heap = max(p.heap, heap-min(heap, s.heapBefore+listed))
		}
	}
}

func liveHeap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func (s *simulation) print(t *testing.T) {
	t.Helper()
	var table strings.Builder
	table.WriteString("\n| part of the time | requests per second: mean | busiest | in flight | open connections " +
		"| new connections per second | leads in work | goroutines | live heap |\n" +
		"|---|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, p := range s.phases {
		seconds := float64(max(p.seconds, 1))
		fmt.Fprintf(&table, "| %s, %v | %.0f | %d | %d | %d | %.1f | %d | %d | %.0f MiB |\n",
			p.name, time.Duration(p.seconds)*time.Second, float64(p.requests)/seconds, p.busiest, p.inFlight,
			p.connections, float64(p.dials)/seconds, p.waiting, p.goroutines, mebibytes(p.heap))
	}
	t.Log(table.String())
}

func (s *simulation) check(t *testing.T) {
	t.Helper()
	arrived := 0
	for i, b := range s.brands {
		counts := make([]int, b.arrived)
		for _, lead := range b.leads {
			if lead.number >= 0 {
				counts[lead.number]++
			}
		}
		arrived += b.arrived
		for number, count := range counts {
			assert.Equal(t, 1, count, "brand %d, lead %d", i, number)
		}
	}
	expected := s.length.Seconds() * simRate * simBrands
	assert.InEpsilon(t, expected, arrived, 0.05)
}

// These are the ways in which a brand fails.
const (
	simRefuses     = 1 + iota // it accepts no connection
	simUnavailable            // it answers 503
	simHangs                  // it never answers
	simLoses                  // it works, and the response is lost
	simKinds       = iota
)

// simBrand is one brand, and the connections to it.
type simBrand struct {
	simulation *simulation
	// fails is how it fails between failsFrom and failsTo. 0 means not at all.
	fails              int
	failsFrom, failsTo time.Duration
	// arrived is the number of leads that were meant for it.
	arrived int

	mu     sync.Mutex
	random *rand.Rand
	leads  []simLead
	// idle holds since when each idle connection is idle, the oldest first.
	idle            []time.Time
	requests, dials int64
}

type simLead struct {
	number  int
	created time.Time
}

const simLeadSize = 32

// failure returns how the brand fails at the moment.
func (b *simBrand) failure() int {
	phases := b.simulation.phases
	now := time.Since(b.simulation.began)
	switch {
	case now >= phases[0].ends && now < phases[1].ends:
		return simHangs
	case now >= b.failsFrom && now < b.failsTo:
		return b.fails
	}
	return 0
}

// expire closes connections that are idle for as long as the SDK keeps them.
func (b *simBrand) expire() {
	for len(b.idle) > 0 && time.Since(b.idle[0]) >= 30*time.Second {
		b.idle = b.idle[1:]
	}
}

// begin takes a connection, and returns how long the response takes.
func (b *simBrand) begin() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.requests++
	b.expire()
	if n := len(b.idle); n > 0 {
		b.idle = b.idle[:n-1]
	} else {
		b.dials++
	}
	if b.random.IntN(100) == 0 {
		return 3 * time.Second
	}
	return 100*time.Millisecond + time.Duration(b.random.Int64N(int64(400*time.Millisecond)))
}

// RoundTrip is the network and the brand.
func (b *simBrand) RoundTrip(r *http.Request) (*http.Response, error) {
	delay, failure := b.begin(), b.failure()
	switch failure {
	case simRefuses:
		return nil, fmt.Errorf("connection refused: %w", clixnow.ErrNotSent)
	case simHangs:
		delay = time.Hour
	}
	b.simulation.inFlight.Add(1)
	defer b.simulation.inFlight.Add(-1)
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if failure == simUnavailable {
		return b.respond(http.StatusServiceUnavailable, "<html>"), nil
	}
	text := ""
	if r.Method == http.MethodPost {
		text = b.create(r.Body)
	} else {
		text = b.search(r.URL.Query())
	}
	if failure == simLoses {
		return nil, errors.New("connection reset by peer")
	}
	return b.respond(http.StatusOK, text), nil
}

// respond returns a response, and gives the connection back.
func (b *simBrand) respond(status int, text string) *http.Response {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.idle = append(b.idle, time.Now())
	return &http.Response{
		StatusCode: status, Header: http.Header{"Date": {time.Now().UTC().Format(http.TimeFormat)}},
		ContentLength: int64(len(text)), Body: io.NopCloser(strings.NewReader(text)),
	}
}

func (b *simBrand) create(body io.Reader) string {
	var lead struct{ ClickID string }
	if err := json.NewDecoder(body).Decode(&lead); err != nil {
		panic(err)
	}
	number, err := strconv.Atoi(strings.TrimPrefix(lead.ClickID, "click"))
	if err != nil {
		panic(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leads = append(b.leads, simLead{number, time.Now()})
	return fmt.Sprintf(`{"leadId":%d,"redirectUrl":"https://brand.example/autologin"}`, len(b.leads))
}

func (b *simBrand) search(query url.Values) string {
	skip, _ := strconv.Atoi(query.Get("skip"))
	count, _ := strconv.Atoi(query.Get("count"))
	from, err := time.Parse("2006-01-02T15:04:05", cmp.Or(query.Get("createdOnFrom"), query.Get("modifiedOnFrom")))
	if err != nil {
		panic(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	at, _ := slices.BinarySearchFunc(b.leads, from,
		func(l simLead, from time.Time) int { return l.created.Compare(from) })
	at = min(at+skip, len(b.leads))
	page := []byte("[")
	for i, lead := range b.leads[at:min(at+count, len(b.leads))] {
		if i > 0 {
			page = append(page, ',')
		}
		date := lead.created.UTC().Format("2006-01-02T15:04:05.000Z")
		page = fmt.Appendf(page,
			`{"id":%d,"email":"lead%d@example.com","clickId":"click%d","createdOn":%q,"updatedOn":%[4]q}`,
			at+i+1, lead.number, lead.number, date)
	}
	return string(append(page, ']'))
}
