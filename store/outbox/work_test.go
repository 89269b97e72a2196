package outbox_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/router"
	"github.com/clixnow/clixnow-go/store/internal/tables"
	"github.com/clixnow/clixnow-go/store/outbox"
)

const capReached = `{"message":"Daily cap reached"}`

// refuse lets the API refuse the next creates of a lead, as a full brand does.
func (f *fakeAPI) refuse(clickID string, times int) {
	f.Inject(clixnowtest.Fault{Email: clickID + "@example.com", Times: times, Status: 400, Body: capReached})
}

// creates returns how many creates of a lead have arrived.
func (f *fakeAPI) creates(clickID string) (number int) {
	for _, request := range f.Requests() {
		if request.Method == http.MethodPost && strings.Contains(string(request.Body), clickID+"@example.com") {
			number++
		}
	}
	return number
}

func (r *running) get(t *testing.T, id string) *outbox.Signup {
	t.Helper()
	s, err := r.Get(t.Context(), id)
	require.NoError(t, err)
	return s
}

func (k kind) nothingSent(t *testing.T) {
	t.Helper()
	api := newFakeAPI(t)
	api.down.Store(http.StatusTooManyRequests)
	r := k.start(t, k.create(t), []*fakeAPI{api}, nil)
	s := r.add(t, "limited")
	eventually(t, func() bool { return r.get(t, s.ID).Tries > 3 })
	eventually(t, func() bool { return r.get(t, s.ID).FirstAttempt == router.Attempt{} },
		"after a 429 the lead does not exist")
	eventually(t, func() bool { return !r.get(t, s.ID).NextTryAt.IsZero() })
	assert.Contains(t, r.get(t, s.ID).Problem, "429")
	api.down.Store(0)
	assert.Empty(t, r.waitFor(t, s.ID, outbox.Registered).Problem)
	for _, request := range api.Requests() {
		assert.Equal(t, http.MethodPost, request.Method, "there is nothing to search for")
	}
	assert.Len(t, api.Leads(), 1)
	history, err := r.History(t.Context(), s.ID)
	require.NoError(t, err)
	assert.Positive(t, history[0].Repeated, "equal tries are one change")
	assert.Equal(t, "rate limited", history[0].Outcome)
}

func (k kind) unknown(t *testing.T) {
	t.Helper()
	api := newFakeAPI(t)
	api.Inject(clixnowtest.Fault{Method: "POST", Drop: clixnowtest.DropAfterHandling},
		clixnowtest.Fault{Method: "GET", Status: 400, Times: 2})
	r := k.start(t, k.create(t), []*fakeAPI{api}, nil)
	got := r.waitFor(t, r.add(t, "unknown").ID, outbox.Registered)
	assert.Empty(t, got.RedirectURL, "a lead found by search has no redirect URL")
	assert.Equal(t, api.Leads()[0].ID, got.LeadID)
	assert.Len(t, api.Leads(), 1)
}

// staleWorker checks that a refusal counts only if no other worker has claimed
// the sign-up since: that worker may have sent the lead.
func (k kind) staleWorker(t *testing.T) {
	t.Helper()
	api := newFakeAPI(t)
	api.Inject(clixnowtest.Fault{Method: "POST", Delay: time.Second, Status: 400, Body: `{"message":"Duplicate lead"}`})
	r := k.start(t, k.create(t), []*fakeAPI{api}, nil)
	s := r.add(t, "stale")
	eventually(t, func() bool { return r.get(t, s.ID).FirstAttempt.Brand != "" })
	assert.Equal(t, api.Brand, r.get(t, s.ID).FirstAttempt.Brand, "it is saved before anything is sent")
	// This is what the claim of another worker does.
	_, err := r.db.ExecContext(t.Context(), `UPDATE outbox_signups SET tries = 2`)
	require.NoError(t, err)
	got := r.waitFor(t, s.ID, outbox.Registered)
	assert.Positive(t, got.LeadID)
	assert.Equal(t, int64(3), got.Tries)
}

func (k kind) duplicateNotFound(t *testing.T) {
	t.Helper()
	api := newFakeAPI(t)
	// With the click id of another sign-up, it cannot be this lead.
	api.AddLeads(clixnow.Lead{
		Email: "doubt@example.com", ClickID: "another", CreatedOn: time.Now().Add(-48 * time.Hour),
	})
	api.down.Store(http.StatusUnauthorized)
	r := k.start(t, k.create(t), []*fakeAPI{api}, nil)
	s := r.add(t, "doubt")
	twoHours := time.Now().Add(-2 * time.Hour).Truncate(time.Microsecond)
	eventually(t, func() bool { // a try in progress may reset the value, so this is repeated
		_, err := r.db.ExecContext(t.Context(), `UPDATE outbox_signups SET attempt_brand = $1, attempt_since = $2`,
			api.Brand, tables.Time(twoHours))
		require.NoError(t, err)
		before := r.get(t, s.ID).Tries
		eventually(t, func() bool { return r.get(t, s.ID).Tries > before+1 })
		return r.get(t, s.ID).FirstAttempt.Since.Equal(twoHours)
	})
	api.down.Store(0)
	got := r.waitFor(t, s.ID, outbox.Doubtful)
	assert.True(t, got.SettledAt.IsZero())
	assert.Equal(t, api.Brand, got.FirstAttempt.Brand)
	eventually(t, func() bool { return strings.Contains(r.log.String(), "a person must decide") })
	assert.Equal(t, int64(1), r.number(t, `SELECT count(*) FROM outbox_signups WHERE password LIKE $1`, "%"+password),
		"the password is kept until the person decides")

	require.ErrorIs(t, r.Correct(t.Context(), s.ID, outbox.Correction{Email: "b@example.com"}, "eve"),
		outbox.ErrInDoubt)
	before := r.get(t, s.ID).Tries
	require.NoError(t, r.Retry(t.Context(), s.ID, "eve"))
	eventually(t, func() bool { return r.get(t, s.ID).Tries == before+1 })
	r.waitFor(t, s.ID, outbox.Doubtful)
	require.NoError(t, r.GiveUp(t.Context(), s.ID, "eve"))
	got = r.get(t, s.ID)
	assert.Equal(t, outbox.Refused, got.Status)
	assert.Equal(t, clixnow.ReasonDuplicate, got.Reason)
	history, err := r.History(t.Context(), s.ID)
	require.NoError(t, err)
	last := history[len(history)-1]
	assert.Equal(t, []string{"given up", "eve"}, []string{string(last.Kind), last.By})
}

// oldJob checks that a job does nothing if it was replaced by another one, or
// if the sign-up is settled.
func (k kind) oldJob(t *testing.T) {
	t.Helper()
	api := newFakeAPI(t)
	address := k.create(t)
	adder := &running{db: k.open(t, address)}
	var err error
	adder.Outbox, err = outbox.Open(t.Context(), adder.db, k.dialect, outbox.Options{})
	require.NoError(t, err)
	s := adder.add(t, "old")
	_, err = adder.db.ExecContext(t.Context(), `UPDATE outbox_signups SET job_id = job_id + 1000`)
	require.NoError(t, err)
	r := k.start(t, address, []*fakeAPI{api}, nil)
	eventually(t, func() bool { return r.number(t, `SELECT count(*) FROM river_job WHERE state = 'completed'`) == 1 })
	assert.Zero(t, r.get(t, s.ID).Tries)
	assert.Empty(t, api.Requests())
	require.NoError(t, r.Retry(t.Context(), s.ID, "eve"))
	settled := r.waitFor(t, s.ID, outbox.Registered)

	eventually(t, func() bool { return r.number(t, `SELECT count(*) FROM river_job WHERE state = 'completed'`) == 2 })
	_, err = r.db.ExecContext(t.Context(), `UPDATE river_job SET state = 'available', finalized_at = NULL`)
	require.NoError(t, err)
	eventually(t, func() bool { return r.number(t, `SELECT count(*) FROM river_job WHERE state = 'completed'`) == 2 })
	assert.Equal(t, settled, r.get(t, s.ID))
	assert.Len(t, api.Requests(), 1)
}

func (k kind) fullForAWhile(t *testing.T) {
	t.Helper()
	api := newFakeAPI(t)
	api.refuse("full", 2)
	r := k.start(t, k.create(t), []*fakeAPI{api}, nil)
	got := r.waitFor(t, r.add(t, "full").ID, outbox.Registered)
	assert.Equal(t, int64(3), got.Tries)
	for _, request := range api.Requests() {
		assert.Equal(t, http.MethodPost, request.Method, "there is nothing to search for")
	}
}

func (k kind) staysFull(t *testing.T) {
	t.Helper()
	api := newFakeAPI(t)
	api.refuse("closed", 4)
	r := k.start(t, k.create(t), []*fakeAPI{api}, nil)
	s := r.add(t, "closed")
	got := r.waitFor(t, s.ID, outbox.Doubtful)
	assert.Equal(t, int64(4), got.Tries)
	assert.Contains(t, got.Problem, "Daily cap reached")
	assert.Equal(t, clixnow.ReasonOther, got.Reason)
	assert.Equal(t, router.Attempt{}, got.FirstAttempt, "nothing was created")

	api.refuse("closed", 1)
	job := func() int64 { return r.number(t, `SELECT job_id FROM outbox_signups WHERE id = $1`, s.ID) }
	completed := job()
	require.NoError(t, r.Retry(t.Context(), s.ID, "eve"))
	assert.NotEqual(t, completed, job(), "River may complete the old job once more")
	got = r.waitFor(t, s.ID, outbox.Registered) // the waits begin with the first one
	assert.Equal(t, int64(6), got.Tries)
	requests := api.Requests()
	assert.Contains(t, string(requests[len(requests)-1].Body), password, "the password was kept")

	api.refuse("given-up", 4)
	s = r.add(t, "given-up")
	r.waitFor(t, s.ID, outbox.Doubtful)
	require.NoError(t, r.GiveUp(t.Context(), s.ID, "eve"))
	got = r.get(t, s.ID)
	assert.Equal(t, outbox.Refused, got.Status)
	assert.Equal(t, clixnow.ReasonOther, got.Reason)
	assert.Regexp(t,
		`msg="a sign-up is refused" id=`+s.ID+` brand="" outcome="given up" reason=other tries=\d+ duration=`,
		r.log.String())
	assert.False(t, got.SettledAt.IsZero())
	assert.Zero(t, r.number(t, `SELECT count(*) FROM outbox_signups WHERE password <> ''`))

	require.NoError(t, r.Retry(t.Context(), s.ID, "eve"))
	r.waitFor(t, s.ID, outbox.Registered)
	requests = api.Requests()
	body := string(requests[len(requests)-1].Body)
	assert.NotContains(t, body, password, "its password was deleted, so it gets a new one")
	assert.Regexp(t, `"password":"[A-Z0-9]{20,}!"`, body)
}

// wrongToken is case P12: leads are not refused by it, they wait, and one line
// says why.
func (k kind) wrongToken(t *testing.T) {
	t.Helper()
	for _, status := range []int64{401, 403, 302, 415} {
		t.Run(strconv.FormatInt(status, 10), func(t *testing.T) {
			t.Parallel()
			api := newFakeAPI(t)
			api.down.Store(status)
			r := k.start(t, k.create(t), []*fakeAPI{api}, nil)
			assert.Equal(t, []outbox.BrandState{{Brand: api.Brand}}, r.Brands(), "not tried yet")
			var ids []string
			for i := range 20 {
				ids = append(ids, r.add(t, fmt.Sprint("waits", i)).ID)
			}
			eventually(t, func() bool { return r.get(t, ids[0]).Tries > 6 }, "more than the schedule has")
			state := r.Brands()[0]
			assert.Equal(t, clixnow.ReasonAccess, clixnow.ReasonOf(state.Err))
			assert.WithinDuration(t, time.Now(), state.Since, time.Minute)
			assert.Equal(t, outbox.Pending, r.get(t, ids[0]).Status)
			assert.Equal(t, 1, strings.Count(r.log.String(), "\n"), r.log)
			assert.Contains(t, r.log.String(), "the brand refuses the access: check the token and the host")
			api.down.Store(0)
			for _, id := range ids {
				r.waitFor(t, id, outbox.Registered)
			}
			assert.NoError(t, r.Brands()[0].Err)
		})
	}
}

// down is case P13: the API is down, and the log has a few lines.
func (k kind) down(t *testing.T) {
	t.Helper()
	for name, status := range map[string]int64{
		"503": http.StatusServiceUnavailable, "502": http.StatusBadGateway, "429": http.StatusTooManyRequests,
		"no response": dropped,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := newFakeAPI(t)
			api.down.Store(status)
			r := k.start(t, k.create(t), []*fakeAPI{api}, func(opts *outbox.Options) {
				opts.Workers = 50
				opts.SetTiming(outbox.Timing{
					MinWait: 20 * time.Millisecond, Probe: 200 * time.Millisecond,
					Schedule:    make([]time.Duration, 1000),
					StopTimeout: 100 * time.Millisecond, Maintenance: time.Second,
				})
			})
			number := 10
			if name == "503" {
				number = 150
			}
			var ids []string
			for i := range number {
				ids = append(ids, r.add(t, fmt.Sprint("down", i)).ID)
			}
			eventually(t, func() bool {
				return r.number(t, `SELECT CAST(sum(tries) AS BIGINT) FROM outbox_signups`) >= int64(3*number)
			})
			assert.Equal(t, 1, strings.Count(r.log.String(), "\n"), r.log)
			assert.Contains(t, r.log.String(), "the brand fails; sign-ups that need it are retried")
			api.down.Store(0)
			for _, id := range ids {
				require.Equal(t, outbox.Registered, r.wait(t, id).Status)
			}
			assert.Len(t, api.Leads(), number)
			assert.Less(t, strings.Count(r.log.String(), "\n"), number+5, "one line for each settlement, and a few")
		})
	}
}

// retryAfter is case P21.
func (k kind) retryAfter(t *testing.T) {
	t.Helper()
	now := time.Now()
	for header, want := range map[string]time.Duration{
		strconv.FormatInt(now.Add(time.Minute).Unix(), 10):      time.Hour, // a moment in seconds since 1970
		strconv.FormatInt(now.Add(time.Minute).UnixMilli(), 10): time.Hour, // or in milliseconds
		now.Add(48 * time.Hour).UTC().Format(http.TimeFormat):   time.Hour,
		"3601": time.Hour, "1800": 30 * time.Minute, "99999999999999999999": time.Hour, "-5": 0, "soon": 0,
	} {
		t.Run(header, func(t *testing.T) {
			t.Parallel()
			api := newFakeAPI(t)
			api.Inject(clixnowtest.Fault{Status: 429, Header: http.Header{"Retry-After": {header}}, Times: 100})
			r := k.start(t, k.create(t), []*fakeAPI{api}, nil)
			s := r.add(t, "epoch")
			var next time.Time
			eventually(t, func() bool {
				next = r.get(t, s.ID).NextTryAt
				return !next.IsZero()
			})
			assert.WithinDuration(t, time.Now().Add(want), next, 5*time.Minute)
			api.ClearFaults()
			if want > 0 {
				require.NoError(t, r.Retry(t.Context(), s.ID, "eve"), "a person need not wait")
			}
			assert.Equal(t, outbox.Registered, r.wait(t, s.ID).Status)
		})
	}
}

func (k kind) severalBrands(t *testing.T) {
	t.Helper()
	apis := []*fakeAPI{
		newFakeAPI(t, clixnowtest.WithBrand("acme")), newFakeAPI(t, clixnowtest.WithBrand("beta")),
		newFakeAPI(t, clixnowtest.WithBrand("gamma")),
	}
	var attempts sync.Map
	r := k.start(t, k.create(t), apis, func(opts *outbox.Options) {
		opts.Attempted = func(brand string, err error, took time.Duration) {
			n, _ := attempts.LoadOrStore(brand+" "+clixnow.OutcomeOf(err).String(), new(atomic.Int64))
			n.(*atomic.Int64).Add(1)
			assert.GreaterOrEqual(t, took, time.Duration(0))
		}
	})
	apis[0].refuse("second", 1)
	apis[0].Inject(clixnowtest.Fault{
		Email: "third@example.com", Status: 400, Body: `{"message":"Registration is not allowed for country CH"}`,
	})
	apis[1].refuse("third", 1)
	for i, clickID := range []string{"first", "second", "third"} {
		got := r.waitFor(t, r.add(t, clickID).ID, outbox.Registered)
		assert.Equal(t, apis[i].Brand, got.Brand)
		assert.Equal(t, int64(1), got.Tries)
		require.Len(t, apis[i].Leads(), 1)
		assert.Equal(t, apis[i].Leads()[0].ID, got.LeadID)
	}
	for _, api := range apis {
		api.refuse("all", 1)
	}
	got := r.waitFor(t, r.add(t, "all").ID, outbox.Registered)
	assert.Equal(t, "acme", got.Brand)
	assert.Equal(t, int64(2), got.Tries, "the first one is tried first again")
	duplicate := newLead("again")
	duplicate.Email = "first@example.com"
	s, err := r.Add(t.Context(), duplicate)
	require.NoError(t, err)
	assert.Equal(t, clixnow.ReasonDuplicate, r.waitFor(t, s.ID, outbox.Refused).Reason)
	counted := map[string]int64{}
	attempts.Range(func(key, n any) bool {
		counted[key.(string)] = n.(*atomic.Int64).Load()
		return true
	})
	assert.Equal(t, map[string]int64{
		"acme registered": 2, "acme refused": 4, "beta registered": 1, "beta refused": 2, "gamma registered": 1,
		"gamma refused": 1,
	}, counted)
}

// brandPassedOver checks that a brand that was in doubt and does not take the
// lead does not decide for the brands before it. They were full in an earlier
// try.
func (k kind) brandPassedOver(t *testing.T) {
	t.Helper()
	apis := []*fakeAPI{
		newFakeAPI(t, clixnowtest.WithBrand("acme")),
		newFakeAPI(t, clixnowtest.WithBrand("beta"), clixnowtest.WithCountries("FR")),
	}
	address := k.create(t)
	adder := &running{db: k.open(t, address)}
	var err error
	adder.Outbox, err = outbox.Open(t.Context(), adder.db, k.dialect, outbox.Options{})
	require.NoError(t, err)
	s := adder.add(t, "passed")
	_, err = adder.db.ExecContext(t.Context(), `UPDATE outbox_signups SET attempt_brand = 'beta', attempt_since = $1`,
		tables.Time(time.Now().Add(-time.Hour)))
	require.NoError(t, err)
	r := k.start(t, address, apis, nil)
	got := r.waitFor(t, s.ID, outbox.Registered)
	assert.Equal(t, "acme", got.Brand)
	assert.Equal(t, int64(2), got.Tries)
	assert.Len(t, apis[0].Leads(), 1)

	apis[0].Inject(clixnowtest.Fault{
		Email: "nowhere@example.com", Status: 400, Body: `{"message":"Registration is not allowed for country CH"}`,
	})
	s = r.add(t, "nowhere")
	assert.Equal(t, clixnow.ReasonCountry, r.waitFor(t, s.ID, outbox.Refused).Reason)
}

// brandInDoubt checks that a lead that one brand may have is sent to no other
// one, also after the process has died.
func (k kind) brandInDoubt(t *testing.T) {
	t.Helper()
	apis := []*fakeAPI{
		newFakeAPI(t, clixnowtest.WithBrand("acme")), newFakeAPI(t, clixnowtest.WithBrand("beta")),
		newFakeAPI(t, clixnowtest.WithBrand("gamma")),
	}
	address := k.create(t)
	r := k.start(t, address, apis, nil)
	apis[0].refuse("doubt", 1000)
	apis[1].Inject(clixnowtest.Fault{Method: "POST", HandleFirst: true, Delay: time.Hour})
	s := r.add(t, "doubt")
	eventually(t, func() bool { return len(apis[1].Leads()) == 1 })
	assert.Equal(t, "beta", r.get(t, s.ID).FirstAttempt.Brand)
	assert.Equal(t, 1, apis[0].creates("doubt"))
	r.stop() // cancels the try
	r = k.start(t, address, apis, nil)
	got := r.waitFor(t, s.ID, outbox.Registered)
	assert.Equal(t, "beta", got.Brand)
	assert.Equal(t, 1, apis[0].creates("doubt"), "beta may have the lead")
	assert.Zero(t, apis[2].creates("doubt"))
	assert.Len(t, apis[1].Leads(), 1)
}

// rareProbes lets a brand that fails be tried only once. A stop does not cancel
// a try, because it would be in doubt.
func rareProbes(opts *outbox.Options) {
	opts.SetTiming(outbox.Timing{
		MinWait: 20 * time.Millisecond, MaxWait: 100 * time.Millisecond, Schedule: make([]time.Duration, 3),
		StopTimeout: time.Minute, Maintenance: time.Second, Probe: time.Hour,
	})
}

// passedOver checks that sign-ups go to the next brand while one fails, and
// that a refusal there does not count, because the first one was not asked.
func (k kind) passedOver(t *testing.T) {
	t.Helper()
	apis := []*fakeAPI{newFakeAPI(t, clixnowtest.WithBrand("acme")), newFakeAPI(t, clixnowtest.WithBrand("beta"))}
	address := k.create(t)
	var tries atomic.Int64
	r := k.start(t, address, apis, func(opts *outbox.Options) {
		rareProbes(opts)
		opts.Attempted = func(brand string, _ error, _ time.Duration) {
			if brand == "acme" {
				tries.Add(1)
			}
		}
	})
	apis[0].down.Store(http.StatusServiceUnavailable)
	var doubtful []string
	for i := range 3 { // a brand that has answered these is down
		doubtful = append(doubtful, r.add(t, fmt.Sprint("doubt", i)).ID)
	}
	eventually(t, func() bool { return r.Brands()[0].Err != nil })
	for _, id := range doubtful { // at most one more try is made, when the brand begins to fail
		seen := r.get(t, id).Tries
		eventually(t, func() bool { return r.get(t, id).Tries > seen+1 })
	}
	before := tries.Load()
	assert.Equal(t, "beta", r.waitFor(t, r.add(t, "next").ID, outbox.Registered).Brand)

	var waits []string
	for _, message := range []string{"Registration is not allowed for country CH", "Duplicate lead"} {
		clickID := fmt.Sprint("refused", len(waits))
		apis[1].Inject(clixnowtest.Fault{
			Email: clickID + "@example.com", Times: 1000, Status: 400, Body: `{"message":"` + message + `"}`,
		})
		waits = append(waits, r.add(t, clickID).ID)
	}
	for _, id := range waits {
		eventually(t, func() bool { return r.get(t, id).Tries > 4 }, "more than the schedule has")
		eventually(t, func() bool { return strings.Contains(r.get(t, id).Problem, "waits until acme works again") })
		assert.Equal(t, outbox.Pending, r.get(t, id).Status)
	}
	for _, id := range doubtful {
		assert.Equal(t, "acme", r.get(t, id).FirstAttempt.Brand, "it is sent to no other brand")
	}
	assert.Equal(t, before, tries.Load(), "acme is left alone")
	r.stop()

	apis[0].down.Store(0)
	r = k.start(t, address, apis, nil)
	for _, id := range append(doubtful, waits...) {
		assert.Equal(t, "acme", r.waitFor(t, id, outbox.Registered).Brand)
	}
	assert.Len(t, apis[0].Leads(), 5)
	assert.Len(t, apis[1].Leads(), 1)
}

// allFail checks that sign-ups stay untouched in the queue while all brands
// fail, that a worker that waits stops at once, and that all are registered
// when a probe finds out that a brand works again.
func (k kind) allFail(t *testing.T) {
	t.Helper()
	apis := []*fakeAPI{newFakeAPI(t, clixnowtest.WithBrand("acme")), newFakeAPI(t, clixnowtest.WithBrand("beta"))}
	address := k.create(t)
	r := k.start(t, address, apis, rareProbes)
	for _, api := range apis {
		api.down.Store(http.StatusUnauthorized)
	}
	eventually(t, func() bool {
		r.add(t, fmt.Sprint("first", len(apis[0].Requests())))
		return r.Brands()[0].Err != nil && r.Brands()[1].Err != nil
	})
	ids := make([]string, 20)
	for i := range ids {
		ids[i] = r.add(t, fmt.Sprint("waits", i)).ID
	}
	time.Sleep(200 * time.Millisecond)
	untouched := 0
	for _, id := range ids {
		if r.get(t, id).Tries == 0 {
			untouched++
		}
	}
	assert.GreaterOrEqual(t, untouched, len(ids)-2, "one of them may find out whether a brand works")
	r.stop()

	r = k.start(t, address, apis, nil)
	eventually(t, func() bool { return r.Brands()[0].Err != nil && r.Brands()[1].Err != nil })
	for _, api := range apis {
		api.down.Store(0)
	}
	for _, id := range ids {
		r.waitFor(t, id, outbox.Registered)
	}
}

func (k kind) corrected(t *testing.T) {
	t.Helper()
	api := newFakeAPI(t)
	api.AddLeads(clixnow.Lead{Email: "typo@example.com", CreatedOn: time.Now().Add(-48 * time.Hour)})
	r := k.start(t, k.create(t), []*fakeAPI{api}, nil)
	s := r.add(t, "typo")
	r.waitFor(t, s.ID, outbox.Refused)
	var invalid *clixnow.ValidationError
	require.ErrorAs(t, r.Correct(t.Context(), s.ID, outbox.Correction{Email: "no email"}, "eve"), &invalid)
	require.ErrorAs(t, r.Correct(t.Context(), s.ID, outbox.Correction{Phone: "\x00"}, "eve"), &invalid)
	correction := outbox.Correction{Email: "fixed@example.com", Phone: "+4144"}
	require.NoError(t, r.Correct(t.Context(), s.ID, correction, "eve"))
	got := r.waitFor(t, s.ID, outbox.Registered)
	assert.Equal(t, []string{"fixed@example.com", "+4144"}, []string{got.Lead.Email, got.Lead.Phone})
	assert.Equal(t, "fixed@example.com", api.Leads()[1].Email)
	requests := api.Requests()
	assert.Regexp(t, `"password":"[A-Z0-9]{20,}!"`, string(requests[len(requests)-1].Body), "its own was deleted")
	history, err := r.History(t.Context(), s.ID)
	require.NoError(t, err)
	require.Len(t, history, 3)
	assert.Equal(t, "eve", history[1].By)
	assert.Equal(t, "email typo@example.com -> fixed@example.com, phone +41typo -> +4144", history[1].Text)
	found, err := r.List(t.Context(), outbox.Query{Search: "fixed@"})
	require.NoError(t, err)
	assert.Len(t, found, 1)

	api.refuse("full", 1000)
	s = r.add(t, "full")
	r.waitFor(t, s.ID, outbox.Doubtful)
	require.NoError(t, r.Correct(t.Context(), s.ID, outbox.Correction{Email: "other@example.com"}, "eve"))
	r.waitFor(t, s.ID, outbox.Registered)
	requests = api.Requests()
	assert.Contains(t, string(requests[len(requests)-1].Body), password, "it was kept, and is not replaced")
}

// correctedDuringTry checks that a correction between claim and attempt wins,
// and that one after the attempt is refused.
func (k kind) correctedDuringTry(t *testing.T) {
	t.Helper()
	api := newFakeAPI(t)
	inRoute, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	r := k.start(t, k.create(t), []*fakeAPI{api}, func(opts *outbox.Options) {
		opts.Routes[0].Accepts = func(clixnow.CreateLeadRequest) bool { // before Begin
			once.Do(func() {
				close(inRoute)
				<-release
			})
			return true
		}
	})
	s := r.add(t, "race")
	<-inRoute
	require.NoError(t, r.Correct(t.Context(), s.ID, outbox.Correction{Email: "fixed@example.com"}, "eve"))
	close(release)
	r.waitFor(t, s.ID, outbox.Registered)
	require.Len(t, api.Leads(), 1)
	assert.Equal(t, "fixed@example.com", api.Leads()[0].Email)
	assert.Zero(t, api.creates("race"), "the old email was never sent")

	api.Inject(clixnowtest.Fault{Method: "POST", HandleFirst: true, Delay: time.Second})
	s = r.add(t, "late")
	eventually(t, func() bool { return len(api.Leads()) == 2 })
	err := r.Correct(t.Context(), s.ID, outbox.Correction{Email: "late2@example.com"}, "eve")
	require.ErrorIs(t, err, outbox.ErrInDoubt)
	r.waitFor(t, s.ID, outbox.Registered)
}

// hooks checks that Settled is part of the transaction that settles.
func (k kind) hooks(t *testing.T) {
	t.Helper()
	api := newFakeAPI(t)
	api.refuse("doubtful", 4)
	address := k.create(t)
	_, err := k.open(t, address).ExecContext(t.Context(), `CREATE TABLE told (click_id TEXT, status TEXT)`)
	require.NoError(t, err)
	var failures atomic.Int64
	var told calls
	r := k.start(t, address, []*fakeAPI{api}, func(opts *outbox.Options) {
		opts.Settled = func(ctx context.Context, tx *sql.Tx, s outbox.Signup) error {
			const insert = `INSERT INTO told (click_id, status) VALUES ($1, $2)`
			_, err := tx.ExecContext(ctx, insert, s.Lead.ClickID, s.Status)
			switch failures.Add(1) {
			case 1:
				return errors.Join(err, errors.New("not yet"))
			case 2:
				panic("a fault of the caller")
			}
			return err
		}
		opts.Tried = func(_ context.Context, s outbox.Signup, err error) {
			told.record(fmt.Sprint("tried ", s.Lead.ClickID, " ", clixnow.OutcomeOf(err)))
		}
		opts.Ended = func(s outbox.Signup) { told.record(fmt.Sprint(s.Lead.ClickID, " ", s.Status)) }
	})
	for _, want := range []struct {
		clickID string
		status  outbox.Status
	}{{"ok", outbox.Registered}, {"doubtful", outbox.Doubtful}} { // the first one meets the failures
		r.waitFor(t, r.add(t, want.clickID).ID, want.status)
		assert.Equal(t, int64(1), r.number(t, `SELECT count(*) FROM told WHERE click_id = $1 AND status = $2`,
			want.clickID, want.status))
	}
	assert.Len(t, api.Leads(), 1)
	found, err := r.List(t.Context(), outbox.Query{Status: outbox.Doubtful})
	require.NoError(t, err)
	require.NoError(t, r.GiveUp(t.Context(), found[0].ID, "eve"))
	assert.Equal(t, int64(1), r.number(t, `SELECT count(*) FROM told WHERE status = 'refused'`))
	for _, text := range []string{"tried ok registered", "tried doubtful refused"} {
		assert.Positive(t, told.number(text), text)
	}
	for _, text := range []string{"ok registered", "doubtful doubtful", "doubtful refused"} {
		eventually(t, func() bool { return told.number(text) == 1 }, text)
	}
}

// calls counts the calls of hooks.
type calls struct {
	mu   sync.Mutex
	made []string
}

func (c *calls) record(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made = append(c.made, text)
}

func (c *calls) number(text string) (number int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, call := range c.made {
		if call == text {
			number++
		}
	}
	return number
}

// due checks since when the first sign-up waits for a free worker. A sign-up
// that waits for its time, or that is being tried, is not due.
func (k kind) due(t *testing.T) {
	t.Helper()
	api := newFakeAPI(t)
	address := k.create(t)
	o, err := outbox.Open(t.Context(), k.open(t, address), k.dialect, outbox.Options{})
	require.NoError(t, err)
	due := func() time.Time {
		counts, err := o.Counts(t.Context())
		require.NoError(t, err)
		return counts[outbox.Pending].Due
	}
	assert.True(t, due().IsZero())
	before := time.Now().Truncate(time.Millisecond)
	_, err = o.Add(t.Context(), newLead("first"))
	require.NoError(t, err)
	eventually(t, func() bool { return !due().IsZero() })
	first := due()
	assert.WithinRange(t, first, before, time.Now())
	_, err = o.Add(t.Context(), newLead("second"))
	require.NoError(t, err)
	assert.Equal(t, first, due())

	api.Inject(clixnowtest.Fault{Method: "POST", Status: 429, Times: 1000, Header: http.Header{"Retry-After": {"600"}}})
	r := k.start(t, address, []*fakeAPI{api}, nil)
	eventually(t, func() bool { return due().IsZero() }, "they wait for the time of the next try")
	pending, err := r.List(t.Context(), outbox.Query{Status: outbox.Pending})
	require.NoError(t, err)
	assert.Len(t, pending, 2)
}

type contextKey struct{}

// carried checks that a W3C traceparent gets from the context of Add to the
// requests, to Settled and to the log, also after a restart.
func (k kind) carried(t *testing.T) {
	t.Helper()
	const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	api := newFakeAPI(t)
	api.down.Store(http.StatusTooManyRequests)
	address := k.create(t)
	var settled sync.Map
	change := func(opts *outbox.Options) {
		opts.Carry = func(ctx context.Context) string {
			text, _ := ctx.Value(contextKey{}).(string)
			return text
		}
		opts.Restore = func(ctx context.Context, carried string) context.Context {
			return context.WithValue(ctx, contextKey{}, "restored "+carried)
		}
		opts.Settled = func(ctx context.Context, _ *sql.Tx, s outbox.Signup) error {
			settled.Store(s.ID, ctx.Value(contextKey{}))
			return nil
		}
		transport := roundTripper(func(request *http.Request) (*http.Response, error) {
			if text, ok := request.Context().Value(contextKey{}).(string); ok {
				request = request.Clone(request.Context())
				request.Header.Set("Traceparent", text)
			}
			return http.DefaultTransport.RoundTrip(request)
		})
		client, err := clixnow.NewClient(api.Brand, api.Token, append(clientOptions(api.url),
			clixnow.WithHTTPClient(&http.Client{Transport: transport}))...)
		require.NoError(t, err)
		t.Cleanup(client.CloseIdleConnections)
		opts.Routes[0].Client = client
	}
	r := k.start(t, address, []*fakeAPI{api}, change)
	for text, want := range map[string]any{
		traceparent: "restored " + traceparent, "": nil, strings.Repeat("x", 501): nil, "a\x00b": "restored a\uFFFDb",
	} {
		api.down.Store(http.StatusTooManyRequests)
		s, err := r.Add(context.WithValue(t.Context(), contextKey{}, text), newLead(fmt.Sprint("trace", len(text))))
		require.NoError(t, err)
		r.stop()
		r = k.start(t, address, []*fakeAPI{api}, change)
		api.down.Store(0)
		r.waitFor(t, s.ID, outbox.Registered)
		got, _ := settled.Load(s.ID)
		assert.Equal(t, want, got)
		requests := api.Requests()
		header := requests[len(requests)-1].Header.Get("Traceparent")
		if text, ok := want.(string); ok && !strings.Contains(text, "\uFFFD") {
			assert.Equal(t, text, header)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

func (k kind) keep(t *testing.T) {
	t.Helper()
	api := newFakeAPI(t)
	address := k.create(t)
	r := k.start(t, address, []*fakeAPI{api}, nil)
	old, young := r.add(t, "old"), r.add(t, "young")
	for _, s := range []*outbox.Signup{old, young} {
		r.waitFor(t, s.ID, outbox.Registered)
	}
	api.down.Store(429)
	waiting := r.add(t, "waiting")
	r.stop()
	day := 24 * time.Hour
	for _, statement := range []string{
		`UPDATE outbox_signups SET created_at = $1 WHERE id <> $2`,
		`UPDATE outbox_signups SET settled_at = $1 WHERE id <> $2 AND settled_at IS NOT NULL`,
	} {
		_, err := r.db.ExecContext(t.Context(), statement, tables.Time(time.Now().Add(-31*day)), young.ID)
		require.NoError(t, err)
	}
	r = k.start(t, address, []*fakeAPI{api}, func(opts *outbox.Options) { opts.TokenLifetime = day })
	eventually(t, func() bool { return r.get(t, old.ID).RedirectURL == "" }, "no token can show it any more")
	assert.NotEmpty(t, r.get(t, young.ID).RedirectURL)
	r.stop()
	r = k.start(t, address, []*fakeAPI{api}, func(opts *outbox.Options) { opts.Keep = 30 * day })
	eventually(t, func() bool {
		_, err := r.Get(t.Context(), old.ID)
		return errors.Is(err, outbox.ErrNotFound)
	})
	assert.Equal(t, outbox.Registered, r.get(t, young.ID).Status)
	assert.Equal(t, outbox.Pending, r.get(t, waiting.ID).Status, "it is not settled")
}

func (k kind) stop(t *testing.T) {
	t.Helper()
	api := newFakeAPI(t)
	address := k.create(t)
	r := k.start(t, address, []*fakeAPI{api}, nil)
	api.Inject(clixnowtest.Fault{Method: "POST", HandleFirst: true, Delay: time.Hour})
	s := r.add(t, "stopped")
	eventually(t, func() bool { return len(api.Leads()) == 1 })
	r.stop() // cancels a try that takes too long

	r = k.start(t, address, []*fakeAPI{api}, nil)
	r.waitFor(t, s.ID, outbox.Registered)
	r.stop()
	assert.Len(t, api.Leads(), 1)

	r = k.start(t, address, []*fakeAPI{api}, func(opts *outbox.Options) {
		opts.SetTiming(outbox.Timing{
			MinWait: 20 * time.Millisecond, StopTimeout: time.Minute, Maintenance: time.Second,
		})
	})
	api.Inject(clixnowtest.Fault{Method: "POST", Delay: 300 * time.Millisecond})
	s = r.add(t, "finished")
	eventually(t, func() bool { return r.get(t, s.ID).FirstAttempt.Brand != "" })
	r.stop()
	assert.Equal(t, outbox.Registered, r.get(t, s.ID).Status, "a stop waits for the tries in progress")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := r.Add(ended, newLead("late"))
	require.Error(t, err)
}

// TestOutage checks that no sign-up is lost while the API is down, for each way
// to be down, and that they are registered soon afterwards.
func TestOutage(t *testing.T) {
	t.Parallel()
	for name, down := range map[string]func(http.ResponseWriter, *http.Request){
		"503": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"429": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) },
		"401": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
		"no response": func(http.ResponseWriter, *http.Request) {
			panic(http.ErrAbortHandler)
		},
		"page of a proxy": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusOK)
			_, _ = io.WriteString(w, "<html>Maintenance</html>")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := newFakeAPI(t)
			var isDown atomic.Bool
			api.handler = func(w http.ResponseWriter, r *http.Request) {
				if isDown.Load() {
					down(w, r)
					return
				}
				api.ServeHTTP(w, r)
			}
			isDown.Store(true)
			k := sqliteKind()
			r := k.start(t, k.create(t), []*fakeAPI{api}, func(opts *outbox.Options) {
				schedule := make([]time.Duration, 100)
				for i := range schedule {
					schedule[i] = 100 * time.Millisecond
				}
				opts.SetTiming(outbox.Timing{
					MinWait: 20 * time.Millisecond, Schedule: schedule, StopTimeout: 100 * time.Millisecond,
					Maintenance: time.Second,
				})
			})
			const during, after = 20, 5
			var ids []string
			for n := range during + after {
				if n == during {
					isDown.Store(false)
				}
				ids = append(ids, r.add(t, fmt.Sprint("outage", n)).ID)
				time.Sleep(50 * time.Millisecond)
			}
			for _, id := range ids {
				r.waitFor(t, id, outbox.Registered)
			}
			assert.Len(t, api.Leads(), during+after)
		})
	}
}

// TestRescue checks that a worker takes the jobs of a dead one, but not before
// the dead one can no longer send.
func TestRescue(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t)
	k := postgresKind(t)
	address := k.create(t)
	change := func(opts *outbox.Options) { opts.TryTimeout = time.Minute }
	api.down.Store(http.StatusTooManyRequests)
	r := k.start(t, address, []*fakeAPI{api}, change)
	dead, slow := r.add(t, "dead"), r.add(t, "slow")
	eventually(t, func() bool { return r.get(t, dead.ID).Tries > 0 && r.get(t, slow.ID).Tries > 0 })
	r.stop()
	for id, age := range map[string]string{dead.ID: "91 seconds", slow.ID: "40 seconds"} {
		_, err := r.db.ExecContext(t.Context(), `UPDATE river_job SET state = 'running',
			attempted_at = now() - $1::interval WHERE args->>'signup_id' = $2`, age, id)
		require.NoError(t, err)
	}
	api.down.Store(0)
	tries := r.get(t, slow.ID).Tries
	r = k.start(t, address, []*fakeAPI{api}, change)
	r.waitFor(t, dead.ID, outbox.Registered)
	assert.Equal(t, tries, r.get(t, slow.ID).Tries)
}
