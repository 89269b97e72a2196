package faults_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
)

const pageSize = 50

// addLeads adds leads whose order by id is their order by date.
func (w *world) addLeads(n int) []int64 {
	leads := make([]clixnow.Lead, n)
	began := time.Now().Add(-time.Hour)
	for i := range leads {
		leads[i] = clixnow.Lead{
			Email: "lead" + strconv.Itoa(i) + "@leads.example", Status: "new",
			CreatedOn: began.Add(time.Duration(i) * time.Second),
		}
	}
	var ids []int64
	for _, lead := range w.api.AddLeads(leads...) {
		ids = append(ids, lead.ID)
	}
	return ids
}

// TestSearchLeads checks that a search yields all leads in order, or the first
// of them and then an error.
func TestSearchLeads(t *testing.T) { //nolint:paralleltest // it runs many clients at once
	const walks = 8
	overNetworks(t, 300, 10_000, func(t *testing.T, w *world) {
		ids := w.addLeads(4*pageSize + 7)
		errs := make([]error, walks)
		var running sync.WaitGroup
		for walk := range walks {
			client := w.client(t, uint64(walk), 3,
				clixnow.RetryPolicy{MaxAttempts: 4, MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond})
			running.Go(func() {
				req := clixnow.SearchLeadsRequest{
					Count: pageSize, Prefetch: walk % 4,
					OrderBy: []clixnow.OrderBy{"", clixnow.OrderByModifiedOn}[walk/4],
				}
				read := []int64{}
				_, errs[walk] = inTime(t, w.deadline(), func(ctx context.Context) (any, error) {
					for lead, err := range client.SearchLeads(ctx, req) {
						if err != nil {
							return nil, err
						}
						read = append(read, lead.ID)
					}
					return nil, nil //nolint:nilnil // there is no error
				})
				if errs[walk] == nil {
					assert.Equal(t, ids, read, "%+v", req)
					return
				}
				assertNoSecrets(t, errs[walk].Error())
				assert.Equal(t, ids[:len(read)], read, "%+v", req)
				assert.NotErrorIs(t, errs[walk], clixnow.ErrUnstableResults, "nothing moved")
			})
		}
		running.Wait()
		w.settle(t)
		whole := count(errs, func(err error) bool { return err == nil })
		t.Logf("%d of %d walks read all", whole, walks)
		if w.calm() {
			assert.Equal(t, walks, whole, "%v", errs)
		}
	})
}

var (
	errDone = errors.New("all is there")
	errDies = errors.New("killed before it saved")
)

// TestLeadChanges follows changes over a faulty network and continues from the
// saved position. When the network has become faultless, the copy has the last
// state of every lead.
func TestLeadChanges(t *testing.T) { //nolint:paralleltest // it runs many clients at once
	const leads, changes = 2 * pageSize, 60
	overNetworks(t, 400, 10_000, func(t *testing.T, w *world) {
		ids := w.addLeads(leads)
		follower := &follower{w: w, saved: make(map[int64]string)}
		client := w.client(t, 1, 4, clixnow.RetryPolicy{MaxAttempts: 1}) // retries would hide the faults of the network

		var writing sync.WaitGroup
		writing.Go(func() {
			for i := 0; i < changes || follower.turns.Load() < 4 && w.patience == 0; i++ {
				time.Sleep(10 * time.Millisecond) // between two writes
				assert.NoError(t,
					w.api.UpdateLead(ids[i*31%leads], func(lead *clixnow.Lead) { lead.Status = strconv.Itoa(i) }))
			}
			w.ended.Store(true)
		})
		_,
			err := inTime(t, 2*time.Minute,
			func(ctx context.Context) (any, error) { return nil, follower.follow(ctx, t, client) })
		writing.Wait()
		require.ErrorIs(t, err, errDone)
		w.settle(t)
		t.Logf("%d passes, %d failed", follower.passes, follower.failed)
		if w.calm() {
			assert.Zero(t, follower.failed)
		}
	})
}

// follower keeps a copy of the statuses.
type follower struct {
	w     *world
	saved map[int64]string
	since time.Time

	// turns counts passes and failures.
	turns          atomic.Int64
	passes, failed int
	// calm counts the passes that ended after the network had become faultless
	// and the writes had ended.
	calm int
}

// follow reads until the copy is complete. Sometimes it dies before it has
// saved, and starts again from the saved position.
func (f *follower) follow(ctx context.Context, t *testing.T, client *clixnow.Client) error {
	t.Helper()
	for {
		var batch []clixnow.Lead
		err := f.read(ctx, client, clixnow.LeadChangesRequest{
			Since: f.since, PageSize: pageSize, PollInterval: 20 * time.Millisecond,
			Checkpoint: func(since time.Time, _ bool) error {
				f.turns.Add(1)
				if f.passes++; f.passes%5 == 0 {
					return errDies
				}
				for _, lead := range batch {
					f.saved[lead.ID] = lead.Status
				}
				batch, f.since = nil, since
				return f.compare()
			},
		}, &batch)
		f.failed-- // the last error is not a fault of the network
		if !errors.Is(err, errDies) {
			return err
		}
	}
}

// read continues after errors of the network. It ends with the error of
// Checkpoint or of the context.
func (f *follower) read(ctx context.Context, client *clixnow.Client, req clixnow.LeadChangesRequest,
	batch *[]clixnow.Lead,
) (last error) {
	versions := make(map[string]bool)
	for lead, err := range client.LeadChanges(ctx, req) {
		if last = err; err != nil {
			f.turns.Add(1)
			f.failed++
			continue
		}
		version := fmt.Sprint(lead.ID, lead.UpdatedOn, lead.Status)
		if versions[version] {
			return fmt.Errorf("lead %d came twice in status %q", lead.ID, lead.Status)
		}
		versions[version] = true
		*batch = append(*batch, lead)
	}
	return last
}

// compare returns errDone if the copy is complete. It must be complete after a
// pass that began after the last write.
func (f *follower) compare() error {
	if !f.w.ended.Load() {
		return nil
	}
	missing := slices.DeleteFunc(f.w.api.Leads(),
		func(lead clixnow.Lead) bool { return f.saved[lead.ID] == lead.Status })
	if len(missing) == 0 {
		return errDone
	}
	if f.calm++; f.calm > 2 {
		return fmt.Errorf("%d leads are not as they should be, the first is %d", len(missing), missing[0].ID)
	}
	return nil
}
