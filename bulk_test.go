package clixnow_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
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
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// serve answers a create.
type serve func(r *http.Request, email string) (*http.Response, error)

// importAPI is an API in memory that counts what is sent to it. Each create
// takes what serve says; nil: a second.
type importAPI struct {
	serve serve

	mu           sync.Mutex
	emails       []string
	flying, most int
}

func (a *importAPI) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	_, email, _ := strings.Cut(string(body), `"email":"`)
	email, _, _ = strings.Cut(email, `"`)
	a.mu.Lock()
	a.emails = append(a.emails, email)
	a.flying++
	a.most = max(a.most, a.flying)
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		a.flying--
		a.mu.Unlock()
	}()
	if a.serve != nil {
		return a.serve(r, email)
	}
	return takes(time.Second, created)(r)
}

// takes answers after a while, unless the request is given up.
func takes(while time.Duration, then reply) reply {
	return func(r *http.Request) (*http.Response, error) {
		select {
		case <-time.After(while):
			return then(r)
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

func (a *importAPI) client(t *testing.T, opts ...clixnow.Option) *clixnow.Client {
	t.Helper()
	opts = append(opts, clixnow.WithHTTPClient(&http.Client{Transport: a}))
	client, err := clixnow.NewClient("acme", testToken, opts...)
	require.NoError(t, err)
	return client
}

// list yields numbered leads, and counts how many were taken.
func list(n int, taken *atomic.Int64) iter.Seq[clixnow.CreateLeadRequest] {
	return func(yield func(clixnow.CreateLeadRequest) bool) {
		for i := range n {
			taken.Add(1)
			if !yield(numbered(i)) {
				return
			}
		}
	}
}

// collector gathers results and sees to it that they come one at a time.
type collector struct {
	t       *testing.T
	busy    atomic.Bool
	results map[int]clixnow.BulkResult
	then    func(clixnow.BulkResult) error
}

func collect(t *testing.T, then func(clixnow.BulkResult) error) *collector {
	t.Helper()
	return &collector{t: t, results: make(map[int]clixnow.BulkResult), then: then}
}

func (c *collector) result(r clixnow.BulkResult) error {
	assert.False(c.t, c.busy.Swap(true), "result is called while it is running")
	defer c.busy.Store(false)
	assert.NotContains(c.t, c.results, r.Index, "one result for each")
	assert.Equal(c.t, numbered(r.Index), r.Request)
	assert.NotEqual(c.t, r.Err == nil, r.Response == nil)
	c.results[r.Index] = r
	if c.then == nil {
		return nil
	}
	return c.then(r)
}

// check asserts that there is one honest result for each request that was
// taken.
func (c *collector) check(taken, sent int) {
	c.t.Helper()
	require.Len(c.t, c.results, taken, "results")
	reported := 0
	for i := range taken {
		require.Contains(c.t, c.results, i)
		err := c.results[i].Err
		if err != nil {
			requireOneClass(c.t, err)
		}
		if !errors.Is(err, clixnow.ErrNotSent) {
			reported++
		}
	}
	assert.Equal(c.t, sent, reported, "were sent")
}

func TestCreateLeads(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name        string
		requests    int
		concurrency int
		most        int           // creates at once
		took        time.Duration // where each takes a second
	}{
		{"none", 0, 4, 0, 0},
		{"one", 1, 4, 1, time.Second},
		{"four at once where nothing is said", 10, 0, 4, 3 * time.Second},
		{"one at a time", 5, 1, 1, 5 * time.Second},
		{"seven at once", 21, 7, 7, 3 * time.Second},
		{"more at once than there are", 5, 100, 5, time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := &importAPI{}
				var taken atomic.Int64
				seen := collect(t, nil)
				began := time.Now()
				err := api.client(t).CreateLeads(t.Context(), list(test.requests, &taken),
					clixnow.BulkOptions{Concurrency: test.concurrency}, seen.result)
				require.NoError(t, err)
				assert.Equal(t, test.took, time.Since(began))
				assert.Equal(t, test.most, api.most)
				assert.Len(t, api.emails, test.requests)
				seen.check(test.requests, test.requests)
				for _, r := range seen.results {
					require.NoError(t, r.Err)
					assert.Equal(t, int64(500), r.Response.LeadID)
					assert.False(t, r.Response.Recovered)
				}
			})
		})
	}
}

// Each outcome is told honestly, and none but 401 and 403 ends the import.
func TestCreateLeadsReportsOutcomes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		replies := map[string]reply{
			"lead1@example.com": duplicate,
			"lead2@example.com": down,
			"lead3@example.com": neverSent,
			"lead4@example.com": says(429, ``),
			"lead5@example.com": says(415, ``),
			"lead7@example.com": says(302, ``),
		}
		api := &importAPI{serve: func(r *http.Request, email string) (*http.Response, error) {
			if reply, ok := replies[email]; ok {
				return reply(r)
			}
			return created(r)
		}}
		want := map[int]error{
			1: clixnow.ErrRefused, 2: clixnow.ErrOutcomeUnknown, 3: clixnow.ErrNotSent, 4: clixnow.ErrRateLimited,
			5: clixnow.ErrRefused,
			6: clixnow.ErrRefused, 7: clixnow.ErrRefused,
		}
		reqs := func(yield func(clixnow.CreateLeadRequest) bool) {
			for i := range 9 {
				req := numbered(i)
				if i == 6 {
					req.Password = "short"
				}
				if !yield(req) {
					return
				}
			}
		}
		n := 0
		err := api.client(t).CreateLeads(t.Context(), reqs, clixnow.BulkOptions{}, func(r clixnow.BulkResult) error {
			n++
			requireOutcome(t, want[r.Index], r.Err)
			return nil
		})
		require.NoError(t, err)
		assert.Equal(t, 9, n)
	})
}

func TestCreateLeadsStops(t *testing.T) {
	t.Parallel()
	errFull := errors.New("the disk is full")
	refusal := func(status int) serve {
		return func(r *http.Request, email string) (*http.Response, error) {
			if email == "lead10@example.com" {
				return takes(time.Second, says(status, ``))(r)
			}
			return takes(2*time.Second, created)(r)
		}
	}
	tests := []struct {
		name   string
		serve  serve
		result func(cancel context.CancelCauseFunc, r clixnow.BulkResult) error
		is     []error
	}{
		{name: "at 401", serve: refusal(401), is: []error{clixnow.ErrUnauthorized, clixnow.ErrRefused}},
		{name: "at 403", serve: refusal(403), is: []error{clixnow.ErrForbidden, clixnow.ErrRefused}},
		{
			name: "at an error of result",
			result: func(_ context.CancelCauseFunc, r clixnow.BulkResult) error {
				if r.Index == 10 {
					return errFull
				}
				return nil
			},
			is: []error{errFull},
		},
		{
			name: "at an error of result about a 401", serve: refusal(401),
			result: func(_ context.CancelCauseFunc, r clixnow.BulkResult) error {
				if r.Err != nil {
					return fmt.Errorf("line %d: %w: %w", r.Index, errFull, r.Err)
				}
				return nil
			},
			is: []error{errFull, clixnow.ErrUnauthorized},
		},
		{
			name: "at the context's end",
			result: func(cancel context.CancelCauseFunc, r clixnow.BulkResult) error {
				if r.Index == 10 {
					cancel(errFull)
				}
				return nil
			},
			is: []error{context.Canceled, errFull},
		},
	}
	for _, test := range tests {
		for _, concurrency := range []int{1, 4, 30} {
			t.Run(fmt.Sprintf("%s, %d at once", test.name, concurrency), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					api := &importAPI{serve: test.serve}
					var taken atomic.Int64
					ctx, cancel := context.WithCancelCause(t.Context())
					defer cancel(nil)
					var atStop int64
					seen := collect(t, func(r clixnow.BulkResult) error {
						if test.result == nil {
							return nil
						}
						err := test.result(cancel, r)
						if r.Index == 10 {
							atStop = taken.Load()
						}
						return err
					})
					err := api.client(t).CreateLeads(ctx, list(1000, &taken),
						clixnow.BulkOptions{Concurrency: concurrency}, seen.result)
					for _, is := range test.is {
						require.ErrorIs(t, err, is)
					}
					if atStop == 0 {
						atStop = taken.Load()
					}
					assert.Equal(t, atStop, taken.Load(), "nothing more was taken")
					assert.LessOrEqual(t, taken.Load(), int64(11+2*concurrency))
					seen.check(int(taken.Load()), len(api.emails))
					for i, r := range seen.results {
						if i != 10 && ctx.Err() == nil {
							assert.NoError(t, r.Err, "what was in flight is finished")
						}
					}
				})
			})
		}
	}
}

// A sequence that waits may hand out one more request after the reason to stop.
func TestCreateLeadsTakenAndNotSent(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		err  error
		is   []error
	}{
		{"stopped by a result", errors.New("enough"), nil},
		{"stopped by the context", nil, []error{context.Canceled}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := &importAPI{}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var taken atomic.Int64
				slow := func(yield func(clixnow.CreateLeadRequest) bool) {
					for req := range list(1000, &taken) {
						time.Sleep(10 * time.Second)
						if !yield(req) {
							return
						}
					}
				}
				seen := collect(t, func(r clixnow.BulkResult) error {
					if r.Index == 1 {
						if test.err == nil {
							cancel()
						}
						return test.err
					}
					return nil
				})
				err := api.client(t).CreateLeads(ctx, slow, clixnow.BulkOptions{}, seen.result)
				require.Error(t, err)
				assert.Equal(t, int64(3), taken.Load())
				seen.check(3, 2)
				requireClass(t, clixnow.ErrNotSent, seen.results[2].Err)
				for _, is := range test.is {
					require.ErrorIs(t, err, is)
					require.ErrorIs(t, seen.results[2].Err, is)
				}
				if test.err != nil {
					require.ErrorIs(t, err, test.err)
					assert.NotErrorIs(t, seen.results[2].Err, context.Canceled)
					assert.ErrorContains(t, seen.results[2].Err, "stopped by an earlier outcome")
				}
			})
		})
	}
}

// Where an earlier run may have begun it, a lead that this run did not send is
// in doubt, and not free to be created.
func TestCreateLeadsTakenAndNotSentAgain(t *testing.T) {
	t.Parallel()
	for class, opts := range map[error]clixnow.BulkOptions{
		clixnow.ErrNotSent:        {Ensure: true},
		clixnow.ErrOutcomeUnknown: {Ensure: true, FirstAttempt: time.Now()},
	} {
		t.Run(class.Error(), func(t *testing.T) {
			t.Parallel()
			client := newClient(t, func(http.ResponseWriter, *http.Request) { t.Error("a request") })
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			leads := func(yield func(clixnow.CreateLeadRequest) bool) {
				cancel()
				yield(vendorsLead())
			}
			var outcomes []error
			err := client.CreateLeads(ctx, leads, opts, func(r clixnow.BulkResult) error {
				outcomes = append(outcomes, r.Err)
				return nil
			})
			require.ErrorIs(t, err, context.Canceled)
			require.Len(t, outcomes, 1)
			requireClass(t, class, outcomes[0])
			require.ErrorIs(t, outcomes[0], context.Canceled)
			assert.Equal(t, 1, strings.Count(outcomes[0].Error(), "clixnow: "), outcomes[0])
		})
	}
}

func TestCreateLeadsWithEndedContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	api := &importAPI{}
	var taken atomic.Int64
	seen := collect(t, nil)
	err := api.client(t).CreateLeads(ctx, list(10, &taken), clixnow.BulkOptions{}, seen.result)
	require.ErrorIs(t, err, context.Canceled)
	assert.Zero(t, taken.Load())
	assert.Empty(t, seen.results)
}

// What is in flight when the context ends is reported, and that is why it
// stopped, though there was nothing more to take.
func TestCreateLeadsContextEndsWithTheLast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := &importAPI{serve: func(r *http.Request, _ string) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var taken atomic.Int64
		seen := collect(t, nil)
		err := api.client(t).CreateLeads(ctx, list(3, &taken), clixnow.BulkOptions{}, seen.result)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		seen.check(3, 3)
		for _, r := range seen.results {
			requireClass(t, clixnow.ErrOutcomeUnknown, r.Err)
		}
	})
}

func TestCreateLeadsRateLimiter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turn := make(chan struct{}, 1)                    // a mutex would stop the bubble's clock
		oneByOne := limiter(func(context.Context) error { // one each ten seconds
			turn <- struct{}{}
			time.Sleep(10 * time.Second)
			<-turn
			return nil
		})
		api := &importAPI{}
		var taken atomic.Int64
		seen := collect(t, nil)
		began := time.Now()
		err := api.client(t, clixnow.WithRateLimiter(oneByOne)).CreateLeads(t.Context(), list(20, &taken),
			clixnow.BulkOptions{Concurrency: 8}, seen.result)
		require.NoError(t, err)
		seen.check(20, 20)
		assert.Equal(t, 201*time.Second, time.Since(began))
		assert.Equal(t, 1, api.most)
	})
}

func TestCreateLeadsRateLimiterRefuses(t *testing.T) {
	t.Parallel()
	errNoTurn := errors.New("no turn left")
	var calls atomic.Int64
	fiveTimes := limiter(func(context.Context) error {
		if calls.Add(1) > 5 {
			return errNoTurn
		}
		return nil
	})
	api := &importAPI{serve: func(r *http.Request, _ string) (*http.Response, error) { return created(r) }}
	var taken atomic.Int64
	seen := collect(t, nil)
	err := api.client(t, clixnow.WithRateLimiter(fiveTimes)).CreateLeads(t.Context(), list(20, &taken),
		clixnow.BulkOptions{Concurrency: 1}, seen.result)
	require.NoError(t, err)
	seen.check(20, 5)
	require.ErrorIs(t, seen.results[19].Err, errNoTurn)
}

// A slow result holds up the creates, so that outcomes do not pile up.
func TestCreateLeadsSlowResult(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const concurrency = 3
		api := &importAPI{}
		var taken atomic.Int64
		reported := 0
		seen := collect(t, func(clixnow.BulkResult) error {
			time.Sleep(time.Minute)
			assert.LessOrEqual(t, taken.Load(), int64(reported+concurrency))
			reported++
			return nil
		})
		err := api.client(t).CreateLeads(t.Context(), list(20, &taken), clixnow.BulkOptions{Concurrency: concurrency},
			seen.result)
		require.NoError(t, err)
		seen.check(20, 20)
	})
}

// However long the import, no more than a few of its requests are alive.
func TestCreateLeadsMemory(t *testing.T) {
	t.Parallel()
	const requests, every = 5000, 1000
	api := &importAPI{serve: func(r *http.Request, _ string) (*http.Response, error) {
		_ = r.Body.Close()
		return created(r)
	}}
	var alive atomic.Int64
	reqs := func(yield func(clixnow.CreateLeadRequest) bool) {
		for i := range requests {
			req := numbered(i)
			token := new([16]byte)
			alive.Add(1)
			runtime.AddCleanup(token, func(int) { alive.Add(-1) }, 0)
			req.Extra = map[string]any{"token": token}
			if !yield(req) {
				return
			}
		}
	}
	const concurrency = 8
	results, most := 0, int64(0)
	err := api.client(t).CreateLeads(t.Context(), reqs, clixnow.BulkOptions{Concurrency: concurrency},
		func(r clixnow.BulkResult) error {
			results++
			if results%every == 0 {
				api.mu.Lock()
				api.emails = nil
				api.mu.Unlock()
				for range 100 { // cleanups run some time after the collection
					runtime.GC()
					if alive.Load() <= 4*concurrency {
						break
					}
					runtime.Gosched()
				}
				most = max(most, alive.Load())
			}
			return r.Err
		})
	require.NoError(t, err)
	assert.Equal(t, requests, results)
	assert.LessOrEqual(t, most, int64(4*concurrency))
}

// A sequence may wait for the results of what it yielded before.
func TestCreateLeadsSequenceWaitsForResults(t *testing.T) {
	t.Parallel()
	for _, concurrency := range []int{1, 4} {
		t.Run(strconv.Itoa(concurrency), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := &importAPI{}
				done := make(chan int, 1)
				reqs := func(yield func(clixnow.CreateLeadRequest) bool) {
					for i := range 10 {
						if !yield(numbered(i)) {
							return
						}
						assert.Equal(t, i, <-done)
					}
				}
				seen := collect(t, func(r clixnow.BulkResult) error {
					done <- r.Index
					return nil
				})
				if concurrency > 1 {
					// Also where nothing is between result and sequence.
					done = make(chan int)
				}
				require.NoError(t,
					api.client(t).CreateLeads(t.Context(), reqs, clixnow.BulkOptions{Concurrency: concurrency},
						seen.result))
				seen.check(10, 10)
			})
		})
	}
}

func TestCreateLeadsEnsure(t *testing.T) {
	t.Parallel()
	server := clixnowtest.NewServer()
	t.Cleanup(server.Close)
	client := server.Client()
	t.Cleanup(client.CloseIdleConnections)
	first := time.Now()
	run := func(opts clixnow.BulkOptions) *collector {
		var taken atomic.Int64
		seen := collect(t, nil)
		require.NoError(t, client.CreateLeads(t.Context(), list(20, &taken), opts, seen.result))
		seen.check(20, 20)
		return seen
	}

	server.Inject(clixnowtest.Fault{Method: "POST", Times: 5, Drop: clixnowtest.DropAfterHandling})
	recovered := 0
	ids := make(map[int]int64)
	for i, r := range run(clixnow.BulkOptions{Ensure: true}).results {
		require.NoError(t, r.Err)
		ids[i] = r.Response.LeadID
		if r.Response.Recovered {
			recovered++
		}
	}
	assert.Equal(t, 5, recovered)
	assert.Len(t, server.Leads(), 20)

	// An import that is run again: each lead is found, and none is booked as a
	// duplicate of itself.
	for i, r := range run(clixnow.BulkOptions{Ensure: true, FirstAttempt: first}).results {
		require.NoError(t, r.Err)
		assert.True(t, r.Response.Recovered)
		assert.Equal(t, ids[i], r.Response.LeadID)
	}
	for _, opts := range []clixnow.BulkOptions{{Ensure: true}, {}} {
		for _, r := range run(opts).results {
			requireClass(t, clixnow.ErrRefused, r.Err)
			require.ErrorIs(t, r.Err, clixnow.ErrDuplicateLead)
		}
	}
	assert.Len(t, server.Leads(), 20)
}

// What user code does that leaves in the middle: nothing of ours is left behind
// (see TestMain), and it gets through.
func TestCreateLeadsLeftInTheMiddle(t *testing.T) {
	t.Parallel()
	t.Run("result panics", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			api := &importAPI{}
			var taken atomic.Int64
			assert.PanicsWithValue(t, "result", func() {
				_ = api.client(t).CreateLeads(t.Context(), list(1000, &taken), clixnow.BulkOptions{},
					func(clixnow.BulkResult) error { panic("result") })
			})
			assert.LessOrEqual(t, taken.Load(), int64(4))
		})
	})
	t.Run("result ends its goroutine", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			api := &importAPI{}
			var taken atomic.Int64
			var gone sync.WaitGroup
			gone.Go(func() {
				_ = api.client(t).CreateLeads(t.Context(), list(1000, &taken), clixnow.BulkOptions{},
					func(clixnow.BulkResult) error {
						runtime.Goexit() // as t.FailNow does
						return nil
					})
			})
			gone.Wait()
			assert.LessOrEqual(t, taken.Load(), int64(4))
		})
	})
	t.Run("reqs panics", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			api := &importAPI{}
			var taken atomic.Int64
			seen := collect(t, nil)
			reqs := func(yield func(clixnow.CreateLeadRequest) bool) {
				list(2, &taken)(yield)
				panic("reqs")
			}
			assert.PanicsWithValue(t, "reqs", func() {
				_ = api.client(t).CreateLeads(t.Context(), reqs, clixnow.BulkOptions{}, seen.result)
			})
			seen.check(2, 2)
		})
	})
	t.Run("reqs ends its goroutine", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			api := &importAPI{}
			var taken atomic.Int64
			seen := collect(t, nil)
			reqs := func(yield func(clixnow.CreateLeadRequest) bool) {
				list(2, &taken)(yield)
				runtime.Goexit()
			}
			err := api.client(t).CreateLeads(t.Context(), reqs, clixnow.BulkOptions{}, seen.result)
			require.ErrorContains(t, err, "reqs did not return")
			seen.check(2, 2)
		})
	})
}

func TestCreateLeadsRefusesOptions(t *testing.T) {
	t.Parallel()
	reqs := slices.Values([]clixnow.CreateLeadRequest{vendorsLead()})
	result := func(clixnow.BulkResult) error { return nil }
	tests := []struct {
		name   string
		reqs   iter.Seq[clixnow.CreateLeadRequest]
		opts   clixnow.BulkOptions
		result func(clixnow.BulkResult) error
		fields []string
	}{
		{"nil sequence", nil, clixnow.BulkOptions{}, result, []string{"reqs"}},
		{"nil result", reqs, clixnow.BulkOptions{}, nil, []string{"result"}},
		{"negative concurrency", reqs, clixnow.BulkOptions{Concurrency: -1}, result, []string{"concurrency"}},
		{
			"first attempt without Ensure", reqs,
			clixnow.BulkOptions{FirstAttempt: time.Now()},
			result,
			[]string{"firstAttempt"},
		},
		{
			"all at once", nil,
			clixnow.BulkOptions{Concurrency: -1, FirstAttempt: time.Now()},
			nil,
			[]string{"reqs", "result", "concurrency", "firstAttempt"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			api := &importAPI{}
			err := api.client(t).CreateLeads(t.Context(), test.reqs, test.opts, test.result)
			requireClass(t, clixnow.ErrRefused, err)
			var invalid *clixnow.ValidationError
			require.ErrorAs(t, err, &invalid)
			var fields []string
			for _, fault := range invalid.Fields {
				fields = append(fields, fault.Field)
			}
			assert.Equal(t, test.fields, fields)
			assert.Empty(t, api.emails)
		})
	}
	client := (&importAPI{}).client(t)
	err := client.CreateLeads(nil, reqs, clixnow.BulkOptions{}, result) //nolint:staticcheck // nil is tested
	requireClass(t, clixnow.ErrNotSent, err)
}

// A sequence that ends because the context did looks like one at its end: what
// is missing must not pass for done.
func TestCreateLeadsSequenceEndsWithTheContext(t *testing.T) {
	t.Parallel()
	client := newClient(t, answer(http.StatusOK, "application/json", `{"leadId":7}`))
	boom := errors.New("boom")
	ctx, cancel := context.WithCancelCause(t.Context())
	reqs := func(yield func(clixnow.CreateLeadRequest) bool) {
		if yield(vendorsLead()) {
			<-ctx.Done()
		}
	}
	results := 0
	err := client.CreateLeads(ctx, reqs, clixnow.BulkOptions{}, func(r clixnow.BulkResult) error {
		results++
		cancel(boom)
		return r.Err
	})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, boom)
	assert.Equal(t, 1, results)
}

// After a 429, nothing more is taken until its Retry-After has passed.
func TestCreateLeadsWaitsForRetryAfter(t *testing.T) {
	t.Parallel()
	const s = time.Second
	once := clixnow.WithRetry(clixnow.RetryPolicy{MaxAttempts: 1})
	tests := []struct {
		name string
		opts []clixnow.Option
		// limited is the reply to the first create of lead 5.
		limited reply
		ensure  bool
		// quiet is how long nothing more is taken after that reply.
		quiet time.Duration
	}{
		{name: "not retried", opts: []clixnow.Option{once}, limited: busy(429, "30"), quiet: 30 * s},
		{name: "retried", limited: busy(429, "8"), quiet: 8 * s},
		{name: "with Ensure", limited: busy(429, "8"), ensure: true, quiet: 8 * s},
		{name: "beyond MaxBackoff", limited: busy(429, "60"), quiet: 60 * s},
		{name: "two minutes", limited: busy(429, "120"), quiet: 120 * s},
		{name: "an hour", limited: busy(429, "3600"), quiet: 120 * s},
		{name: "none", opts: []clixnow.Option{once}, limited: says(429, ``)},
		{name: "zero", opts: []clixnow.Option{once}, limited: busy(429, "0")},
		{name: "of a 503", opts: []clixnow.Option{once}, limited: busy(503, "30")},
		{name: "of a 400", opts: []clixnow.Option{once}, limited: busy(400, "30")},
	}
	for _, test := range tests {
		for _, concurrency := range []int{1, 4} {
			t.Run(fmt.Sprintf("%s, %d at once", test.name, concurrency), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					var limitedAt time.Time
					api := &importAPI{serve: func(r *http.Request, email string) (*http.Response, error) {
						if email == "lead5@example.com" && limitedAt.IsZero() {
							limitedAt = time.Now()
							return test.limited(r)
						}
						return takes(s, created)(r)
					}}
					var takenAt []time.Time
					reqs := func(yield func(clixnow.CreateLeadRequest) bool) {
						for i := range 20 {
							takenAt = append(takenAt, time.Now())
							if !yield(numbered(i)) {
								return
							}
						}
					}
					seen := collect(t, nil)
					opts := clixnow.BulkOptions{Concurrency: concurrency, Ensure: test.ensure}
					require.NoError(t, api.client(t, test.opts...).CreateLeads(t.Context(), reqs, opts, seen.result))
					require.Len(t, seen.results, 20)
					var next time.Time
					for _, at := range takenAt {
						if at.After(limitedAt) {
							next = at
							break
						}
					}
					assert.GreaterOrEqual(t, next.Sub(limitedAt), test.quiet)
					assert.LessOrEqual(t, next.Sub(limitedAt), test.quiet+2*s)
				})
			})
		}
	}
}

// The Retry-After that ends last counts.
func TestCreateLeadsWaitsForTheLastRetryAfter(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	tests := []struct {
		name string
		// first is the Retry-After of a reply after 100 ms, and second that of
		// a reply after 500 ms.
		first, second string
		// asked is when a slot is free.
		asked, quiet time.Duration
	}{
		{"a shorter one follows", "60", "1", 1000 * ms, 60100 * ms},
		{"a longer one follows during the wait", "1", "60", 200 * ms, 60500 * ms},
		{"a longer one follows before the wait", "1", "60", 1000 * ms, 60500 * ms},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := &importAPI{serve: func(r *http.Request, email string) (*http.Response, error) {
					switch email {
					case "lead0@example.com":
						return takes(100*ms, busy(429, test.first))(r)
					case "lead1@example.com":
						return takes(500*ms, busy(429, test.second))(r)
					}
					return created(r)
				}}
				client := api.client(t, clixnow.WithRetry(clixnow.RetryPolicy{MaxAttempts: 1}))
				began := time.Now()
				reqs := func(yield func(clixnow.CreateLeadRequest) bool) {
					if yield(numbered(0)) && yield(numbered(1)) {
						time.Sleep(test.asked)
						yield(numbered(2))
						assert.Equal(t, test.quiet, time.Since(began))
					}
				}
				opts := clixnow.BulkOptions{Concurrency: 4}
				require.NoError(t, client.CreateLeads(t.Context(), reqs, opts, collect(t, nil).result))
			})
		})
	}
}

// foreignContext is a context that does not come from package context. For each
// context that is derived from it, a goroutine runs until that one is canceled.
type foreignContext struct {
	context.Context //nolint:containedctx // this is a context
	done            chan struct{}
}

func (c foreignContext) Done() <-chan struct{} { return c.done }

// The goroutines of the bubble must end, although the context does not.
func TestCreateLeadsReleasesItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := foreignContext{t.Context(), make(chan struct{})}
		none := slices.Values([]clixnow.CreateLeadRequest(nil))
		err := (&importAPI{}).client(t).CreateLeads(ctx, none, clixnow.BulkOptions{}, collect(t, nil).result)
		require.NoError(t, err)
	})
}

// If the context cannot hold a Retry-After, the import ends at once.
func TestCreateLeadsRetryAfterBeyondTheDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := &importAPI{serve: func(r *http.Request, _ string) (*http.Response, error) { return busy(429, "60")(r) }}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		began := time.Now()
		var taken atomic.Int64
		seen := collect(t, nil)
		err := api.client(t).CreateLeads(ctx, list(100, &taken), clixnow.BulkOptions{Concurrency: 1}, seen.result)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, began, time.Now())
		seen.check(1, 1)
	})
}

// Case L20: a panic within a create comes out of CreateLeads.
func TestCreateLeadsPanicInACreate(t *testing.T) {
	t.Parallel()
	panics := reply(func(*http.Request) (*http.Response, error) { panic("boom") })
	refused := says(400, `{"message":"unknown words"}`)
	reads := func(then func()) clixnow.Option {
		return clixnow.WithRefusals(func(*clixnow.APIError) error {
			then()
			return nil
		})
	}
	tests := []struct {
		name   string
		opts   []clixnow.Option
		ensure bool
		serve  reply
		want   any
	}{
		{name: "RoundTripper", serve: panics, want: "boom"},
		{name: "RoundTripper, with Ensure", ensure: true, serve: panics, want: "boom"},
		{
			name: "RoundTripper, at a search", ensure: true, want: "boom",
			serve: func(r *http.Request) (*http.Response, error) {
				if r.Method == http.MethodGet {
					panic("boom")
				}
				return lost(r)
			},
		},
		{
			name: "function of WithRefusals", serve: refused, want: "read",
			opts: []clixnow.Option{reads(func() { panic("read") })},
		},
		{
			name: "function of WithRefusals, with Ensure", ensure: true, serve: refused, want: "read",
			opts: []clixnow.Option{reads(func() { panic("read") })},
		},
		{
			name: "RoundTripper ends its goroutine",
			serve: func(*http.Request) (*http.Response, error) {
				runtime.Goexit()
				return nil, errReset
			},
		},
	}
	for _, test := range tests {
		for _, concurrency := range []int{1, 4} {
			t.Run(fmt.Sprintf("%s, %d at once", test.name, concurrency), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					api := &importAPI{serve: func(r *http.Request, email string) (*http.Response, error) {
						if email == "lead10@example.com" || email == "" {
							return test.serve(r)
						}
						return takes(time.Second, created)(r)
					}}
					var taken atomic.Int64
					seen := collect(t, nil)
					opts := clixnow.BulkOptions{Concurrency: concurrency, Ensure: test.ensure}
					create := func() error {
						return api.client(t, test.opts...).CreateLeads(t.Context(), list(1000, &taken), opts,
							seen.result)
					}
					if test.want != nil {
						assert.PanicsWithValue(t, test.want, func() { _ = create() })
					} else {
						require.ErrorContains(t, create(), "did not return")
					}
					assert.LessOrEqual(t, taken.Load(), int64(11+concurrency), "nothing more is taken")
					assert.Len(t, seen.results, int(taken.Load())-1, "the others are reported")
					assert.NotContains(t, seen.results, 10)
					for _, r := range seen.results {
						assert.NoError(t, r.Err, "what was in flight is finished")
					}
				})
			})
		}
	}
}

// A 403 that the function of WithRefusals recognises is about one lead.
func TestCreateLeadsGoesOnAfterARecognisedRefusal(t *testing.T) {
	t.Parallel()
	errBlocked := errors.New("blocked")
	tests := []struct {
		name   string
		status int
		read   error
		ensure bool
		since  bool
		stops  bool
	}{
		{name: "403, recognised", status: 403, read: errBlocked},
		{name: "403, recognised, with Ensure", status: 403, read: clixnow.ErrNoCapacity, ensure: true},
		{name: "403, recognised, in doubt", status: 403, read: clixnow.ErrNoCapacity, ensure: true, since: true},
		{name: "403, not recognised", status: 403, stops: true},
		{name: "403, not recognised, in doubt", status: 403, ensure: true, since: true, stops: true},
		{name: "401, recognised", status: 401, read: errBlocked, stops: true},
		{name: "401, not recognised", status: 401, stops: true},
		{name: "400, recognised", status: 400, read: errBlocked},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := &importAPI{serve: func(r *http.Request, email string) (*http.Response, error) {
					switch email {
					case "":
						return nothing(r)
					case "lead3@example.com":
						return says(test.status, `{"message":"blocked"}`)(r)
					}
					return created(r)
				}}
				read := clixnow.WithRefusals(func(*clixnow.APIError) error { return test.read })
				opts := clixnow.BulkOptions{Concurrency: 1, Ensure: test.ensure}
				if test.since {
					opts.FirstAttempt = time.Now().Add(-time.Minute)
				}
				var taken atomic.Int64
				seen := collect(t, nil)
				err := api.client(t, read).CreateLeads(t.Context(), list(10, &taken), opts, seen.result)
				if !test.stops {
					require.NoError(t, err)
					assert.Len(t, seen.results, 10)
					return
				}
				require.Error(t, err)
				assert.Equal(t, seen.results[3].Err, err)
				assert.Len(t, seen.results, 4)
			})
		})
	}
}
