package faults_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
)

// outcome is what the client reported about a lead.
type outcome struct {
	lead int
	id   int64
	err  error
}

// TestCreateLead compares the class of each create with the leads of the
// server: registered means one lead, unknown means one or none, and every other
// class means none.
func TestCreateLead(t *testing.T) { //nolint:paralleltest // it runs many clients at once
	const workers, each = 8, 3
	overNetworks(t, 600, 400, func(t *testing.T, w *world) {
		outcomes := make([]outcome, workers*each)
		var running sync.WaitGroup
		for worker := range workers {
			client := w.client(t, uint64(worker), 0,
				clixnow.RetryPolicy{MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond})
			random := rand.New(rand.NewPCG(w.seed, uint64(worker)))
			running.Go(func() {
				for i := range each {
					time.Sleep(time.Duration(random.Int64N(int64(30 * time.Millisecond)))) // the connections are idle
					deadline, number := w.deadline(), worker*each+i
					hurried := random.IntN(6) == 0
					if hurried {
						deadline = time.Duration(random.Int64N(int64(50 * time.Millisecond)))
					}
					created, err := inTime(t, deadline, func(ctx context.Context) (*clixnow.CreateLeadResponse, error) {
						return client.CreateLead(ctx, lead(number))
					})
					outcomes[number] = outcome{lead: number, err: err}
					if err == nil {
						outcomes[number].id = created.LeadID
					}
					if hurried {
						continue
					}
					assert.Contains(t, w.creates, class(t, err), "%v", err)
				}
			})
		}
		running.Wait()
		w.requireAgreement(t, outcomes)
		for _, want := range w.creates {
			assert.True(t, slices.ContainsFunc(outcomes, func(o outcome) bool { return errors.Is(o.err, want) }),
				"no create ended in %v", want)
		}
	})
}

// TestEnsureLead checks that EnsureLead registers a lead once or returns an
// error of the right class. So does EnsureLeadSince after an EnsureLead that
// was cancelled.
func TestEnsureLead(t *testing.T) { //nolint:paralleltest // it runs many clients at once
	const leads = 12
	retry := clixnow.RetryPolicy{MinBackoff: 40 * time.Millisecond, MaxBackoff: 2 * time.Second}
	var allRecovered atomic.Int64
	overNetworks(t, 600, 400, func(t *testing.T, w *world) {
		outcomes := make([]outcome, leads)
		var recovered atomic.Int64
		var running sync.WaitGroup
		for number := range leads {
			client := w.client(t, uint64(number), 2+4*(number%2), retry) // half of them rarely get a search through
			random := rand.New(rand.NewPCG(w.seed, uint64(number)))
			running.Go(func() {
				// The clients start at different times, or they would wait for
				// each other.
				time.Sleep(time.Duration(random.Int64N(int64(time.Second))))
				ensure := func(deadline time.Duration, since time.Time) outcome {
					ensured, err := inTime(t, deadline, func(ctx context.Context) (*clixnow.EnsureLeadResponse, error) {
						return client.EnsureLeadSince(ctx, lead(number), since)
					})
					if err != nil {
						//nolint:errorlint // a class is one of four values
						unknown := class(t, err) == clixnow.ErrOutcomeUnknown
						assert.True(t, since.IsZero() || unknown, "an earlier attempt is in doubt: %v", err)
						return outcome{lead: number, err: err}
					}
					if ensured.Recovered {
						recovered.Add(1)
					}
					return outcome{lead: number, id: ensured.LeadID}
				}
				if number%4 < 2 {
					outcomes[number] = ensure(w.deadline(), time.Time{})
					return
				}
				began := time.Now()
				first := ensure(time.Duration(random.Int64N(int64(200*time.Millisecond))), time.Time{})
				outcomes[number] = ensure(w.deadline(), began)
				if first.err == nil && outcomes[number].err == nil {
					assert.Equal(t, first.id, outcomes[number].id)
				}
			})
		}
		running.Wait()
		w.requireAgreement(t, outcomes)
		registered := count(outcomes, func(o outcome) bool { return o.err == nil })
		t.Logf("%d of %d are registered; %d were recovered", registered, leads, recovered.Load())
		allRecovered.Add(recovered.Load())
		if w.calm() {
			assert.Equal(t, leads, registered, "a calm network loses nothing")
		}
		if w.patience == 0 { // otherwise the outcome depends on time
			assert.NotZero(t, registered, "many connections go past the network")
		}
	})
	assert.Greater(t, allRecovered.Load(), int64(leads))
}

// requireAgreement requires that the reported outcomes agree with the leads of
// the server.
func (w *world) requireAgreement(t *testing.T, outcomes []outcome) {
	t.Helper()
	w.settle(t)
	there := make(map[string][]int64)
	for _, lead := range w.api.Leads() {
		there[lead.Email] = append(there[lead.Email], lead.ID)
	}
	for _, o := range outcomes {
		ids := there[lead(o.lead).Email]
		switch class(t, o.err) {
		case nil:
			require.Equal(t, []int64{o.id}, ids, "lead %d was reported", o.lead)
		case clixnow.ErrOutcomeUnknown: //nolint:errorlint // a class is one of four values
			require.LessOrEqual(t, len(ids), 1, "lead %d is there twice: %v", o.lead, o.err)
		default:
			require.Empty(t, ids, "lead %d: %v", o.lead, o.err)
		}
	}
}

// class returns the class of the error of a create, or nil for a nil error.
func class(t *testing.T, err error) (class error) {
	t.Helper()
	if err == nil {
		return nil
	}
	assertNoSecrets(t, err.Error())
	for _, one := range []error{
		clixnow.ErrOutcomeUnknown, clixnow.ErrRefused, clixnow.ErrNotSent,
		clixnow.ErrRateLimited,
	} {
		if errors.Is(err, one) {
			assert.NoError(t, class, "another class of %v", err)
			class = one
		}
	}
	assert.Error(t, class, "%v has no class", err)
	return class
}

func count[T any](all []T, are func(T) bool) (n int) {
	for _, one := range all {
		if are(one) {
			n++
		}
	}
	return n
}
