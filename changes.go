package clixnow

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"time"

	"github.com/clixnow/clixnow-go/internal/call"
	"github.com/clixnow/clixnow-go/internal/walk"
)

// LeadChangesRequest says from where on, and how, changes are read. Its zero
// value reads the whole history once.
type LeadChangesRequest struct {
	// position, as CaughtUp gave it (in mid-pass: UpdatedOn of the lead handled
	// last); zero = the whole history
	Since time.Time
	// how far before its position each pass starts, the first included; 0 = 1
	// minute, <0 = none
	Overlap      time.Duration
	PollInterval time.Duration // 0 = end when caught up; else poll again after it, until ctx is done or the loop breaks
	PageSize     int           // leads per request, 1 to 1000; 0 = MaxPageSize

	// CaughtUp is called at the end of each pass without an error, in the
	// loop's goroutine, before the wait for the next one. Since is the position
	// to save: zero where the request's was zero and nothing was seen. An error
	// of it ends the sequence and is yielded last. Nil = not called.
	CaughtUp func(since time.Time) error
}

const defaultOverlap = time.Minute

// LeadChanges yields the leads that were created or changed, oldest change
// first: statuses, first deposits. It reads in passes, each from a position in
// time up to the present: one, or with PollInterval one after the other.
// Nothing is sent before it is ranged over; ranging again starts again at
// Since. It is safe for concurrent use, each range on its own.
//
// # What is promised
//
// The last state of each lead is delivered, if it was visible within Overlap of
// its UpdatedOn, whatever the API's filter makes of its bound and however
// coarsely it compares dates. A lead that changes while it is being read comes
// again. Within one sequence the same version (id, UpdatedOn and content) is
// not delivered twice in a row; across restarts delivery is at least once: the
// leads of one Overlap come again. A position is worth only as much as the copy
// that it belongs to: with an empty store, or one in memory, begin at zero. So
// write leads by their id, and write the position with them: CaughtUp is the
// place to commit both in one transaction.
//
//	var batch []clixnow.Lead
//	changes := client.LeadChanges(ctx, clixnow.LeadChangesRequest{
//		Since:        saved, // zero at first
//		PollInterval: time.Minute,
//		CaughtUp: func(since time.Time) error {
//			err := saveInOneTransaction(batch, since)
//			batch = nil
//			return err
//		},
//	})
//	for lead, err := range changes {
//		if err != nil {
//			log.Print(err) // a passing one: the next pass tries again
//			continue
//		}
//		batch = append(batch, lead)
//	}
//
// Where a pass is long, as the first one over a long history, leads may be
// written before it ends: only the position must not be ahead of them. To come
// further in it from restart to restart, save the UpdatedOn of the lead handled
// last as position, but none that is later than the beginning of the pass by
// the API's clock, which yours may be ahead of, or a change that shows late may
// be missed. Between two restarts it must come further than one Overlap.
//
// Not promised: states between two passes; deletions, which no search shows;
// leads of one instant that fill more than a page and come in another order
// each time.
//
// It rests on first deposits moving UpdatedOn: an occasional
// [Client.SearchLeads] with FTDDateFrom is the check on that. A lead dated
// ahead of the server's clock hides nothing.
//
// # Errors
//
// Without PollInterval an error is yielded last. With it a passing one is
// yielded, and if the loop goes on, the next pass comes after PollInterval; the
// context's error, [ErrInvalidRequest], a 3xx, and a 4xx other than 408 and 429
// are yielded last, and so is an error of CaughtUp.
//
// # What it costs
//
// The requests of a search for what has changed, and two more; rows of the
// server in proportion to it, and not to its square as paging by offset. (That
// is where the API compares milliseconds and changes lie more than 10 ms apart.
// Elsewhere the leads of about three seconds are read again with each page.)
// Memory: what changed since the pass began, one Overlap and one page.
func (c *Client) LeadChanges(ctx context.Context, req LeadChangesRequest) iter.Seq2[Lead, error] {
	return func(yield func(Lead, error) bool) {
		if err := c.checkChanges(ctx, &req); err != nil {
			yield(Lead{}, err)
			return
		}
		feed := c.leadFeed(&req)
		left := false // the loop
		next := func(lead Lead) bool {
			if ctx.Err() != nil {
				return false // not to go on for the rest of the page
			}
			left = !yield(lead, nil)
			return !left
		}
		for {
			more, err := feed.Pass(ctx, next)
			switch {
			case left:
				return
			case !more:
				err = c.wrap("lead changes", call.ContextError(ctx))
			case errors.Is(err, walk.ErrUnstable):
				err = c.wrap("lead changes", err)
			}
			last := req.PollInterval == 0 || endsChanges(ctx, err)
			if err == nil && req.CaughtUp != nil {
				err = req.CaughtUp(feed.Position())
				last = last || err != nil
			}
			if err != nil && !yield(Lead{}, err) || last {
				return
			}
			if err := call.Sleep(ctx, req.PollInterval); err != nil {
				yield(Lead{}, c.wrap("lead changes", err))
				return
			}
		}
	}
}

// endsChanges reports whether polling on makes no sense.
func endsChanges(ctx context.Context, err error) bool {
	var answer *APIError
	switch {
	case err == nil:
		return false
	case errors.Is(err, ErrInvalidRequest), ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return true
	case errors.As(err, &answer):
		return answer.StatusCode >= 300 && answer.StatusCode <= 499 &&
			answer.StatusCode != http.StatusRequestTimeout && answer.StatusCode != http.StatusTooManyRequests
	}
	return false
}

func (c *Client) leadFeed(req *LeadChangesRequest) *walk.Feed[Lead] {
	feed := &walk.Feed[Lead]{
		Fetch: func(ctx context.Context, from time.Time, skip, count int) (walk.Page[Lead], error) {
			page := SearchLeadsRequest{OrderBy: OrderByModifiedOn, ModifiedOnFrom: from, Skip: skip, Count: count}
			leads, o, err := c.searchPage(ctx, pageRequest{query: page.query(), count: count, check: inOrder})
			return walk.Page[Lead]{Items: leads, At: o.Date()}, err
		},
		ID: leadID, Version: leadVersion(), Modified: func(l *Lead) time.Time { return l.UpdatedOn },
		// a page starts on the last lead of the one before
		Since: req.Since, Overlap: req.Overlap, Count: max(req.PageSize, 2),
	}
	switch {
	case req.Overlap == 0:
		feed.Overlap = defaultOverlap
	case req.Overlap < 0:
		feed.Overlap = 0
	}
	if req.PageSize == 0 {
		feed.Count = MaxPageSize
	}
	return feed
}

// inOrder refuses a page that position in time cannot be read from. One that is
// out of order may have been cut from a list that was just being sorted anew:
// it is asked for again.
func inOrder(leads []Lead) error {
	if err := checkIDs(leads); err != nil {
		return err
	}
	for i := range leads {
		if leads[i].UpdatedOn.IsZero() {
			return leadFault(i, "updatedOn", "missing")
		}
	}
	for i := 1; i < len(leads); i++ {
		if leads[i].UpdatedOn.Before(leads[i-1].UpdatedOn) {
			return call.Retryable(leadFault(i, "updatedOn", "not in ascending order"))
		}
	}
	return nil
}

func (c *Client) checkChanges(ctx context.Context, req *LeadChangesRequest) error {
	if ctx == nil {
		return c.notSent("lead changes", errNilContext)
	}
	var faults []FieldError
	if req.PollInterval < 0 {
		faults = append(faults, FieldError{Field: "pollInterval", Code: ProblemOutOfRange, Problem: "must not be negative"})
	}
	if req.PageSize < 0 {
		faults = append(faults, FieldError{Field: "pageSize", Code: ProblemOutOfRange, Problem: "must not be negative"})
	}
	if c.validate && req.PageSize > MaxPageSize {
		faults = append(faults, FieldError{
			Field: "pageSize", Code: ProblemOutOfRange, Problem: fmt.Sprintf("must be at most %d", MaxPageSize),
		})
	}
	if year := req.Since.UTC().Year(); year < 1 || year > 9999 {
		faults = append(faults, FieldError{
			Field: "since", Code: ProblemOutOfRange, Problem: "must lie in the years 1 to 9999",
		})
	}
	return invalid(faults)
}

// LeadEvent is what happened to a lead between two of its versions.
type LeadEvent string

// The events that affiliates pay attention to.
const (
	LeadCreated       LeadEvent = "created"
	LeadStatusChanged LeadEvent = "status changed"
	LeadDeposited     LeadEvent = "deposited" // its first deposit was made
	// it shows no first deposit any more, or its date is hidden now
	LeadDepositWithdrawn LeadEvent = "deposit withdrawn"
)

// LeadEvents compares a version of a lead with the one that was known before;
// nil if none was. A lead that is seen for the first time was created, and
// deposited if it shows a first deposit: whoever begins with a whole history
// may want to store it without acting on its events. A first deposit that only
// changes its date is no event.
//
// It keeps nothing: what is known of a lead is with whoever stores it. The same
// version gives no events, so a lead that is delivered again does no harm, if
// the version known before is stored together with what was done about its
// events.
func LeadEvents(before *Lead, now Lead) []LeadEvent {
	var (
		events []LeadEvent
		known  Lead
	)
	if before == nil {
		events = append(events, LeadCreated)
		known.Status = now.Status
	} else {
		known = *before
	}
	if known.Status != now.Status {
		events = append(events, LeadStatusChanged)
	}
	switch {
	case !known.HasFTD() && now.HasFTD():
		events = append(events, LeadDeposited)
	case known.HasFTD() && !now.HasFTD():
		events = append(events, LeadDepositWithdrawn)
	}
	return events
}
