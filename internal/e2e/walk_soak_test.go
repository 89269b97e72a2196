package e2e_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// walkSeeds returns the seeds of n simulations. CLIXNOW_SOAK=10 multiplies n by
// ten. CLIXNOW_SEED=7 runs only seed 7.
func walkSeeds(t *testing.T, n int) []uint64 {
	t.Helper()
	number := func(name string) int {
		n, err := strconv.Atoi(cmp.Or(os.Getenv(name), "0"))
		require.NoError(t, err, name)
		return n
	}
	if one := number("CLIXNOW_SEED"); one > 0 {
		return []uint64{uint64(one)}
	}
	var seeds []uint64
	for seed := range n * max(1, number("CLIXNOW_SOAK")) {
		seeds = append(seeds, uint64(seed+1))
	}
	return seeds
}

func oneOf[T any](random *rand.Rand, of ...T) T { return of[random.IntN(len(of))] }

// impatient retries without a pause. A seed could not repeat a pause of random
// length.
var impatient = clixnow.WithRetry(clixnow.RetryPolicy{MaxAttempts: 6, MinBackoff: 1, MaxBackoff: 1})

// someFault returns a fault that a retry survives.
func someFault(random *rand.Rand) clixnowtest.Fault {
	return oneOf(random,
		clixnowtest.Fault{Status: 503, Body: "<html>"},
		clixnowtest.Fault{Status: 429},
		clixnowtest.Fault{HandleFirst: true, Status: 500},
		clixnowtest.Fault{Drop: clixnowtest.DropBeforeHandling},
		clixnowtest.Fault{Drop: clixnowtest.DropMidBody},
	)
}

// unrest is a Clixnow whose leads are changed before each request.
type unrest struct {
	*clixnowtest.Server
	mu     sync.Mutex
	random *rand.Rand
	req    clixnow.SearchLeadsRequest
	now    time.Time
	// pace is the longest time between two changes.
	pace time.Duration
	// grain is the precision of dates.
	grain time.Duration
	// busy is the largest number of changes before one request.
	busy int
	// remaining is the number of changes that may still come. A list that grows
	// faster than it is read has no end.
	remaining int
	// faults is the average number of requests per fault. 0 means no faults.
	faults int
	// repeated reports that some leads come twice in a row.
	repeated bool
	// envelope is the key of the leads in a response. "" means a bare array.
	envelope string
	ops      []func()

	// staying holds the leads that have been in the result since the first
	// answer, without those that the request skips.
	staying map[int64]bool
}

func newUnrest(random *rand.Rand, by clixnow.OrderBy) *unrest {
	u := &unrest{
		random: random, now: noon,
		pace:      oneOf(random, 2*time.Millisecond, 200*time.Millisecond, 2*time.Second),
		grain:     oneOf(random, time.Millisecond, time.Second),
		busy:      oneOf(random, 1, 3, 8),
		remaining: 150,
		faults:    oneOf(random, 0, 6),
		repeated:  random.IntN(3) == 0,
		envelope:  oneOf(random, "", "items"),
	}
	u.Server = newAPI(
		clixnowtest.WithClock(func() time.Time { return u.now.Truncate(u.grain) }),
		clixnowtest.WithPageLimit(oneOf(random, 10, 13, 1000)),
	)
	for range random.IntN(100) {
		u.insert()
		if random.IntN(3) == 0 {
			oneOf(random, u.modify, u.deposit)()
		}
	}
	u.ops = []func(){u.insert, u.modify, u.deposit, u.remove}
	random.Shuffle(len(u.ops), func(i, j int) { u.ops[i], u.ops[j] = u.ops[j], u.ops[i] })
	u.ops = u.ops[:1+random.IntN(len(u.ops))]
	u.req = clixnow.SearchLeadsRequest{OrderBy: by, Count: 1 + random.IntN(40)}
	if leads := u.Leads(); len(leads) > 0 {
		middle := oneOf(random, leads...)
		oneOf(random,
			func() {},
			func() { u.req.CreatedOnFrom = middle.CreatedOn },
			func() { u.req.CreatedOnTo = middle.CreatedOn },
			func() { u.req.ModifiedOnFrom = middle.UpdatedOn },
			func() { u.req.ModifiedOnTo = middle.UpdatedOn },
			func() { u.req.FTDDateFrom = middle.CreatedOn },
			func() { u.req.FTDDateTo = middle.UpdatedOn },
		)()
	}
	return u
}

func (u *unrest) tick() { u.now = u.now.Add(time.Duration(u.random.Int64N(int64(u.pace)))) }

func (u *unrest) insert() {
	u.tick()
	u.AddLeads(clixnow.Lead{})
}

func (u *unrest) some() int64 {
	leads := u.Leads()
	if len(leads) == 0 {
		return 0
	}
	return oneOf(u.random, leads...).ID
}

func (u *unrest) change(change func(*clixnow.Lead)) {
	u.tick()
	_ = u.UpdateLead(u.some(), change) // there may be none
}

func (u *unrest) modify() {
	u.change(func(lead *clixnow.Lead) { lead.Status = strconv.Itoa(u.random.IntN(2)) })
}

func (u *unrest) deposit() {
	u.change(func(lead *clixnow.Lead) { lead.FTDDate = u.now.Truncate(u.grain) })
}

func (u *unrest) remove() { _ = u.DeleteLead(u.some()) }

// result returns the ids that the request asks for, in order. It is a model of
// the filters and orders.
func (u *unrest) result() []int64 {
	within := func(date, from, to time.Time) bool {
		return from.IsZero() && to.IsZero() || !date.IsZero() && !date.Before(from) && (to.IsZero() || !date.After(to))
	}
	leads := slices.DeleteFunc(u.Leads(), func(l clixnow.Lead) bool {
		r := &u.req
		return !within(l.CreatedOn, r.CreatedOnFrom, r.CreatedOnTo) ||
			!within(l.UpdatedOn, r.ModifiedOnFrom, r.ModifiedOnTo) ||
			!within(l.FTDDate, r.FTDDateFrom, r.FTDDateTo)
	})
	slices.SortFunc(leads, func(a, b clixnow.Lead) int {
		by := 0
		switch u.req.OrderBy {
		case clixnow.OrderByCreatedOn:
			by = a.CreatedOn.Compare(b.CreatedOn)
		case clixnow.OrderByModifiedOn:
			by = a.UpdatedOn.Compare(b.UpdatedOn)
		case clixnow.OrderByFTDDate, clixnow.OrderByFTDFate:
			by = a.FTDDate.Compare(b.FTDDate)
		default: // by id
		}
		return cmp.Or(by, cmp.Compare(a.ID, b.ID))
	})
	return idsOf(leads)
}

func (u *unrest) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for range min(u.remaining, u.random.IntN(u.busy+1)) {
		u.remaining--
		oneOf(u.random, u.ops...)()
		u.leave()
	}
	if u.faults > 0 && u.random.IntN(u.faults) == 0 {
		u.Inject(someFault(u.random))
		u.Server.ServeHTTP(w, r)
		return
	}
	if u.staying == nil {
		u.staying = make(map[int64]bool)
		ids := u.result()
		for _, id := range ids[min(u.req.Skip, len(ids)):] {
			u.staying[id] = true
		}
	}
	u.show(w, r)
}

// show answers a request. It adds a field to each lead that changes at each
// read, and repeats some leads.
func (u *unrest) show(w http.ResponseWriter, r *http.Request) {
	recorder := httptest.NewRecorder()
	u.Server.ServeHTTP(recorder, r)
	var leads, shown []map[string]any
	if err := json.Unmarshal(recorder.Body.Bytes(), &leads); err != nil {
		panic(err)
	}
	for i, lead := range leads {
		lead["file"] = fmt.Sprintf("https://files.example/?signature=%d", u.random.Int64())
		shown = append(shown, lead)
		if u.repeated && i%3 == 0 {
			shown = append(shown, lead)
		}
	}
	var body any = shown
	if shown == nil {
		body = []any{}
	}
	if u.envelope != "" {
		body = map[string]any{u.envelope: body}
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(body); err != nil {
		panic(err)
	}
}

// leave notes which leads are no longer in the result.
func (u *unrest) leave() {
	if len(u.staying) == 0 {
		return
	}
	still := make(map[int64]bool)
	for _, id := range u.result() {
		if u.staying[id] {
			still[id] = true
		}
	}
	u.staying = still
}

// walk reads the leads. It reports whether the walk ended with
// ErrUnstableResults.
func (u *unrest) walk(t *testing.T, client *clixnow.Client, seed uint64) (unstable bool) {
	t.Helper()
	yielded := make(map[int64]bool)
	for lead, err := range client.SearchLeads(t.Context(), u.req) {
		if errors.Is(err, clixnow.ErrUnstableResults) {
			return true
		}
		require.NoError(t, err, "seed %d", seed)
		require.False(t, yielded[lead.ID], "seed %d: lead %d twice", seed, lead.ID)
		yielded[lead.ID] = true
	}
	if u.req.Limit > 0 && len(yielded) == u.req.Limit {
		return false
	}
	for id := range u.staying {
		require.True(t, yielded[id], "seed %d: lead %d was missed", seed, id)
	}
	return false
}

// randomly delays each request and each answer by a random time, so that they
// come in any order.
func randomly(seed uint64, next http.RoundTripper) roundTripper {
	return func(r *http.Request) (*http.Response, error) {
		h := fnv.New64a()
		fmt.Fprint(h, seed, r.URL.RawQuery, time.Now().UnixNano())
		random := rand.New(rand.NewPCG(h.Sum64(), 2))
		pause := func() { pauseFor(r.Context(), time.Duration(random.Int64N(int64(time.Second)))) }
		pause()
		resp, err := next.RoundTrip(r)
		pause()
		return resp, err
	}
}

func pauseFor(ctx context.Context, wait time.Duration) {
	select {
	case <-time.After(wait):
	case <-ctx.Done():
	}
}

// TestSearchLeadsSoak walks leads that change before every request, with
// faults, repeated leads and a field that changes at each read. A lead that
// stays in the result must be yielded, and no lead twice, or the walk must end
// with ErrUnstableResults. Without Prefetch the requests go over loopback. With
// Prefetch answers come in any order. This runs in a bubble, so that a seed
// repeats it.
func TestSearchLeadsSoak(t *testing.T) {
	t.Parallel()
	seeds := walkSeeds(t, 8)
	for _, by := range orders[1:] {
		for _, ahead := range []bool{false, true} {
			for _, skips := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, ahead %t, skip %t", by, ahead, skips), func(t *testing.T) {
					t.Parallel()
					unstable, requests := 0, 0
					for _, seed := range seeds {
						random := rand.New(rand.NewPCG(seed, 1))
						u := newUnrest(random, by)
						if skips {
							u.req.Skip = 1 + random.IntN(30)
						}
						if random.IntN(4) == 0 {
							u.req.Limit = 1 + random.IntN(60)
						}
						failed := false
						if ahead {
							u.req.Prefetch = 1 + random.IntN(5)
							synctest.Test(t, func(t *testing.T) {
								hc := &http.Client{Transport: randomly(seed, inMemory{u})}
								client := clientOf(t, "https://clixnow.example", impatient, clixnow.WithHTTPClient(hc))
								failed = u.walk(t, client, seed)
							})
						} else {
							failed = u.walk(t, newClient(t, u.ServeHTTP, impatient), seed)
						}
						if failed {
							unstable++
						}
						requests += len(u.Requests())
					}
					t.Logf("%d of %d walks were unstable; %d requests", unstable, len(seeds), requests)
					if !skips {
						assert.LessOrEqual(t, unstable, max(3, len(seeds)/4), "too many to be useful")
					}
				})
			}
		}
	}
}
