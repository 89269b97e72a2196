package e2e_test

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// writers are the broker's side of a Clixnow in a bubble. They change leads
// while a reader follows the changes.
type writers struct {
	*clixnowtest.Server
	random  *rand.Rand
	overlap time.Duration
	// pace is the longest time between two changes.
	pace time.Duration
	// grain is the precision of dates.
	grain time.Duration
	// lag is the longest time that a request or a response takes.
	lag time.Duration
	// One of faults requests meets a fault. 0 means none.
	faults int
	state  int
}

// ahead is the status of a lead that was changed by someone whose clock is
// wrong. It shows at once.
const ahead = "ahead"

func newWriters(random *rand.Rand) *writers {
	w := &writers{
		random:  random,
		overlap: oneOf(random, -1, 3*time.Second, 10*time.Second, time.Minute),
		pace:    oneOf(random, 5*time.Millisecond, 300*time.Millisecond, 4*time.Second),
		grain:   oneOf(random, time.Millisecond, time.Second),
		lag:     oneOf(random, time.Millisecond, 200*time.Millisecond, 3*time.Second),
		faults:  oneOf(random, 0, 7),
	}
	salt := random.Uint64()
	w.Server = newAPI(
		clixnowtest.WithClock(func() time.Time { return time.Now().Truncate(w.grain) }),
		clixnowtest.WithPageLimit(oneOf(random, 10, 17, 1000)),
		clixnowtest.WithSearchDelay(func(lead clixnow.Lead) time.Duration {
			// It is a second less than the overlap, because the server tells
			// its time in whole seconds.
			longest := w.overlap - time.Second
			h := fnv.New64a()
			fmt.Fprint(h, salt, lead.ID, lead.UpdatedOn)
			if lead.Status == ahead || longest <= 0 || h.Sum64()%3 > 0 {
				return 0
			}
			return time.Duration(h.Sum64() % uint64(longest))
		}),
	)
	for range random.IntN(100) {
		w.write()
	}
	return w
}

// write makes a change, or several at one instant. Then it waits.
func (w *writers) write() {
	leads := w.Leads()
	switch {
	case len(leads) == 0 || w.random.IntN(3) == 0:
		w.AddLeads(clixnow.Lead{Status: w.status()})
	case w.random.IntN(30) == 0:
		_ = w.DeleteLead(oneOf(w.random, leads...).ID)
	case w.random.IntN(50) == 0:
		lead := oneOf(w.random, leads...)
		lead.Status, lead.UpdatedOn = ahead, time.Now().Add(time.Hour).Truncate(w.grain)
		w.AddLeads(lead)
	case w.random.IntN(40) == 0:
		for range w.random.IntN(40) {
			w.change(oneOf(w.random, leads...).ID)
		}
	default:
		w.change(oneOf(w.random, leads...).ID)
	}
	time.Sleep(time.Duration(w.random.Int64N(int64(w.pace))))
}

func (w *writers) change(id int64) {
	status := w.status()
	_ = w.UpdateLead(id, func(lead *clixnow.Lead) { lead.Status = status })
}

// status is never the same twice.
func (w *writers) status() string {
	w.state++
	return strconv.Itoa(w.state)
}

// network delays requests and responses, and loses some.
func (w *writers) network(random *rand.Rand, next http.RoundTripper) roundTripper {
	return func(r *http.Request) (*http.Response, error) {
		if w.faults > 0 && random.IntN(w.faults) == 0 {
			w.Inject(someFault(random))
		}
		pauseFor(r.Context(), time.Duration(random.Int64N(int64(w.lag))))
		resp, err := next.RoundTrip(r)
		pauseFor(r.Context(), time.Duration(random.Int64N(int64(w.lag))))
		return resp, err
	}
}

// reader keeps a copy of the leads by LeadChanges, as its doc comment says. It
// dies now and then, and goes on from what it saved.
type reader struct {
	t      *testing.T
	client *clixnow.Client
	random *rand.Rand
	req    clixnow.LeadChangesRequest

	// leads are saved, as is req.Since.
	leads map[int64]clixnow.Lead
	// batch is not saved yet.
	batch []clixnow.Lead

	unstable, failed, passes, deaths int
}

var errDeath = errors.New("killed")

func (r *reader) dies(odds int) bool { return odds > 0 && r.random.IntN(odds) == 0 }

// read is one life. If it is calm, it ends when it has caught up.
func (r *reader) read(calm bool) {
	odds := oneOf(r.random, 5, 50, 500)
	req := r.req
	req.PollInterval = oneOf(r.random, 0, time.Second, 20*time.Second)
	if calm {
		odds, req.PollInterval = 0, time.Second
	}
	req.Checkpoint = func(since time.Time, caughtUp bool) error {
		if caughtUp {
			r.passes++
		}
		if r.dies(odds) || caughtUp && r.random.IntN(8) == 0 && !calm {
			return errDeath
		}
		r.save(since)
		if calm && caughtUp {
			return errDeath
		}
		return nil
	}
	last := make(map[int64]clixnow.Lead) // of this sequence
	r.batch = nil
	for lead, err := range r.client.LeadChanges(r.t.Context(), req) {
		switch {
		case errors.Is(err, errDeath):
			r.deaths++
			return
		case errors.Is(err, clixnow.ErrUnstableResults):
			r.unstable++
			continue
		case err != nil:
			require.False(r.t, calm, err)
			r.failed++
			continue
		}
		before, known := last[lead.ID]
		require.False(r.t, known && before.UpdatedOn.Equal(lead.UpdatedOn) &&
			before.Status == lead.Status, "lead %d came twice", lead.ID)
		last[lead.ID] = lead
		r.batch = append(r.batch, lead)
		if r.dies(10 * odds) {
			r.deaths++
			return
		}
	}
}

// save is the transaction of leads and position.
func (r *reader) save(since time.Time) {
	for _, lead := range r.batch {
		r.leads[lead.ID] = lead
	}
	r.batch = nil
	r.req.Since = since
}

// TestLeadChangesSoak follows changes past faults, deaths and restarts. Changes
// show late, dates are coarse, and filters are of every kind. In the end the
// last state of each lead must be the last that was yielded and saved.
func TestLeadChangesSoak(t *testing.T) {
	t.Parallel()
	seeds := walkSeeds(t, 2)
	if isLong() {
		seeds = walkSeeds(t, 50)
	}
	for _, filter := range someFilters() {
		for printed, shown := range prints {
			t.Run(filter.name+", printed "+printed, func(t *testing.T) {
				t.Parallel()
				var all reader
				for _, seed := range seeds {
					synctest.Test(t, func(t *testing.T) {
						r := followWriters(t, seed, filter, shown)
						all.passes += r.passes
						all.unstable += r.unstable
						all.failed += r.failed
						all.deaths += r.deaths
					})
				}
				t.Logf("%d of %d passes were unstable; %d failed; %d deaths", all.unstable,
					all.passes+all.unstable+all.failed, all.failed, all.deaths)
			})
		}
	}
}

func followWriters(t *testing.T, seed uint64, f filter, shown func(time.Time) time.Time) *reader {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	w := newWriters(random)
	handler := printing(f.filtering(w), shown)
	hc := &http.Client{Transport: w.network(rand.New(rand.NewPCG(seed, 2)), inMemory{handler})}
	r := &reader{
		t: t, random: rand.New(rand.NewPCG(seed, 3)), leads: make(map[int64]clixnow.Lead),
		client: clientOf(t, "https://clixnow.example",
			clixnow.WithRetry(clixnow.RetryPolicy{MaxAttempts: 2, MinBackoff: 1, MaxBackoff: 1}),
			clixnow.WithHTTPClient(hc)),
	}
	r.req = clixnow.LeadChangesRequest{
		Overlap: w.overlap, PageSize: 2 + r.random.IntN(40), CheckpointEvery: oneOf(random, 0, 1, 13),
	}

	changes := oneOf(random, 30, 150)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range changes {
			w.write()
		}
	}()
	for writing := true; writing; {
		r.read(false)
		pauseFor(t.Context(), time.Duration(r.random.Int64N(int64(30*time.Second))))
		select {
		case <-done:
			writing = false
		default:
		}
	}
	time.Sleep(time.Hour + time.Minute + time.Second) // until all shows, and the dates ahead have come
	w.faults = 0
	r.read(true)
	for _, lead := range w.Leads() {
		require.Equal(t, lead.Status, r.leads[lead.ID].Status, "seed %d: lead %d, modified %v", seed, lead.ID,
			lead.UpdatedOn)
	}
	return r
}
