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

// LeadChangesRequest says where [Client.LeadChanges] starts and how it reads.
// Its zero value reads the whole history once.
type LeadChangesRequest struct {
	// Since is the position to start at: the value that was last passed to
	// Checkpoint. A zero time means the whole history.
	Since time.Time
	// Overlap is how far before its position each pass starts, including the
	// first pass. It is the longest time that a change may take to show in
	// searches. 0 means 1 minute. A negative value means no overlap.
	Overlap time.Duration
	// PollInterval is the time after which the sequence polls again, until ctx
	// is done or the loop breaks. 0 means that the sequence ends when it has
	// caught up.
	PollInterval time.Duration
	// PageSize is the number of leads per request, at most MaxPageSize. 0 means
	// MaxPageSize.
	PageSize int
	// Checkpoint is called when since is safe to save: at the end of each pass
	// (caughtUp is then true), and as CheckpointEvery says. It runs in the
	// goroutine of the loop, between two leads. If it returns an error, the
	// sequence yields that error and ends. A nil Checkpoint is not called.
	Checkpoint func(since time.Time, caughtUp bool) error
	// CheckpointEvery also calls Checkpoint within a pass, each time after this
	// number of leads. 0 means only at the end of a pass.
	CheckpointEvery int
}

const defaultOverlap = time.Minute

// LeadChanges yields the leads that were created or changed, the oldest change
// first. It reads in passes. Each pass goes from a position in time to the
// present. There is one pass, or with PollInterval one after the other. Nothing
// is sent before the sequence is ranged over, and each range starts at Since.
// It is safe for concurrent use.
//
// # What is promised
//
// The last state of each lead is yielded if it shows in searches within Overlap
// of its UpdatedOn. It does not matter how coarsely the API's filter compares
// dates, or whether it includes its bound. If there is no proof that all leads
// were shown, the error is [ErrUnstableResults]. A lead that changes while it
// is read is yielded again. A lead that shows no UpdatedOn counts as modified
// when it was created.
//
// Within one sequence, the same version of a lead (id, UpdatedOn and content)
// is not yielded twice in a row. After a restart the leads of one Overlap are
// yielded again, so store leads by their id.
//
// Not promised are states between two passes; deletions, which no search shows;
// and leads of one instant that fill more than a page, if the API returns them
// in another order each time. A first deposit is seen only if it moves
// UpdatedOn. Check that now and then by [Client.SearchLeads] with FTDDateFrom.
//
// # The position
//
// Save the position together with the leads, in one transaction. Checkpoint is
// the place for it. A new sequence that starts at the saved position, with the
// same Overlap, misses nothing. If the leads are kept in memory only, start at
// zero each time.
//
//	var batch []clixnow.Lead
//	changes := client.LeadChanges(ctx, clixnow.LeadChangesRequest{
//		Since:           saved, // zero at first
//		PollInterval:    time.Minute,
//		CheckpointEvery: 1000,
//		Checkpoint: func(since time.Time, _ bool) error {
//			err := saveInOneTransaction(batch, since)
//			batch = nil
//			return err
//		},
//	})
//	for lead, err := range changes {
//		if errors.Is(err, clixnow.ErrPassFailed) {
//			log.Print(err) // the next pass goes on from what was read
//			continue
//		}
//		if err != nil {
//			return err
//		}
//		batch = append(batch, lead)
//	}
//
// Between two restarts the position must move by more than one Overlap.
// Otherwise each restart only repeats the leads of that Overlap. After a pass
// the position is never zero, so a zero Since always means a first pass. With
// CheckpointEvery, another Since may still lie within the first pass: save
// caughtUp too if you must know.
//
// # Errors
//
// With PollInterval, an error that matches [ErrPassFailed] is followed by
// another pass, if the loop goes on. These errors do not match it and end the
// sequence: the context's error, [ErrInvalidRequest], a 3xx, a 4xx other than
// 408 and 429, and an error of Checkpoint. Without PollInterval, every error
// ends the sequence.
//
// # Costs
//
// If the API's filter compares milliseconds and changes lie more than 10 ms
// apart, the requests are those of a search for the changes and two more. The
// work of the server grows with the number of changes. With a filter that is
// coarser than that, leads are read again. Memory holds what changed since the
// pass began, one Overlap, and one page.
func (c *Client) LeadChanges(ctx context.Context, req LeadChangesRequest) iter.Seq2[Lead, error] {
	return func(yield func(Lead, error) bool) {
		if err := c.checkChanges(ctx, &req); err != nil {
			yield(Lead{}, err)
			return
		}
		f := c.newFollower(ctx, &req, yield)
		for more := f.pass(); more; more = f.wait() && f.pass() {
			continue
		}
	}
}

// follower is one range over LeadChanges.
type follower struct {
	ctx    context.Context
	client *Client
	req    *LeadChangesRequest
	yield  func(Lead, error) bool

	// changes is the list in order of modification, created that in order of
	// creation. See readCreated.
	changes, created *walk.Feed[Lead]
	// dated reports that a lead was seen that has a date of modification and
	// was never modified. undated reports that a lead without one was seen.
	dated, undated bool

	// handled is the number of leads since the last call of Checkpoint.
	handled int
	// left reports that the loop was left.
	left bool
	// refused is the error of Checkpoint.
	refused error
}

func (c *Client) newFollower(ctx context.Context, req *LeadChangesRequest, yield func(Lead, error) bool) *follower {
	f := &follower{ctx: ctx, client: c, req: req, yield: yield}
	f.changes = f.feed(OrderByModifiedOn)
	f.changes.Modified = modifiedOn
	f.changes.Ordered = func(l *Lead) bool { return !l.UpdatedOn.IsZero() }
	f.changes.Before = f.readCreated
	f.created = f.feed(OrderByCreatedOn)
	f.created.Modified = func(l *Lead) time.Time { return l.CreatedOn }
	f.created.Ordered = func(l *Lead) bool { return !l.CreatedOn.IsZero() }
	return f
}

// modifiedOn returns when the lead was modified last. A lead that was never
// modified may not say so.
func modifiedOn(l *Lead) time.Time {
	if l.UpdatedOn.IsZero() {
		return l.CreatedOn
	}
	return l.UpdatedOn
}

// feed returns a feed of the leads in the order.
func (f *follower) feed(by OrderBy) *walk.Feed[Lead] {
	feed := &walk.Feed[Lead]{
		Fetch: func(ctx context.Context, from time.Time, skip, count int) (walk.Page[Lead], error) {
			return f.fetch(ctx, by, from, skip, count)
		},
		ID: leadID, Version: leadVersion(),
		Since: f.req.Since, Overlap: f.req.Overlap,
		Count: max(f.req.PageSize, 2), // a page starts on the last lead of the page before
	}
	switch {
	case f.req.Overlap == 0:
		feed.Overlap = defaultOverlap
	case f.req.Overlap < 0:
		feed.Overlap = 0
	}
	if f.req.PageSize == 0 {
		feed.Count = MaxPageSize
	}
	return feed
}

// errAllDated ends the reading of created leads.
var errAllDated = errors.New("every lead has a date of modification")

// fetch reads one page of leads, in the order of their dates and from one of
// these dates on.
func (f *follower) fetch(
	ctx context.Context, by OrderBy, from time.Time, skip, count int,
) (walk.Page[Lead], error) {
	req := SearchLeadsRequest{OrderBy: by, ModifiedOnFrom: from, Skip: skip, Count: count}
	date := func(l *Lead) time.Time { return l.UpdatedOn }
	name := "updatedOn"
	if by == OrderByCreatedOn {
		req.ModifiedOnFrom, req.CreatedOnFrom = time.Time{}, from
		date = func(l *Lead) time.Time { return l.CreatedOn }
		name = "createdOn"
	}
	leads, o, err := f.client.searchPage(ctx, pageRequest{
		query: req.query().Encode(), count: count,
		check: func(leads []Lead) error { return checkDates(leads, name, date) },
	})
	if err != nil {
		return walk.Page[Lead]{}, err
	}
	f.note(leads)
	if by == OrderByCreatedOn && f.allDated() {
		return walk.Page[Lead]{}, errAllDated
	}
	return walk.Page[Lead]{Items: leads, At: o.Date()}, nil
}

// checkDates refuses leads that a feed cannot read: they have no id or no date,
// or are not in the order of their dates. If they are not in order, the server
// may just be sorting its list, so the page is requested again.
func checkDates(leads []Lead, name string, date func(*Lead) time.Time) error {
	if err := checkIDs(leads); err != nil {
		return err
	}
	for i := range leads {
		if modifiedOn(&leads[i]).IsZero() {
			return leadFault(i, "updatedOn", "missing, and createdOn too")
		}
	}
	var last time.Time
	for i := range leads {
		at := date(&leads[i])
		if at.IsZero() {
			continue
		}
		if at.Before(last) {
			return call.Retryable(leadFault(i, name, "not in ascending order"))
		}
		last = at
	}
	return nil
}

// note looks at whether leads that were never modified have a date of
// modification.
func (f *follower) note(leads []Lead) {
	for i := range leads {
		switch updated, created := leads[i].UpdatedOn, leads[i].CreatedOn; {
		case updated.IsZero():
			f.undated = true
		case created.IsZero(), created.Equal(updated):
			f.dated = true
		}
	}
}

// allDated reports whether the server dates every lead, as far as is known. If
// it hides createdOn, it has to.
func (f *follower) allDated() bool { return f.dated && !f.undated }

// readCreated reads the leads that were created since the start of the pass,
// and yields those without UpdatedOn: a filter by modification may hide them.
// It runs before anything else of the pass is yielded, so the position does not
// move before it is done.
func (f *follower) readCreated(ctx context.Context) (more bool, err error) {
	if f.allDated() {
		return true, nil
	}
	more, err = f.created.Pass(ctx, func(lead Lead, _ time.Time) bool {
		return !lead.UpdatedOn.IsZero() || f.changes.Deliver(lead, f.deliver)
	})
	if errors.Is(err, errAllDated) {
		return true, nil
	}
	return more, err
}

// deliver yields a lead and calls Checkpoint if it is time. It reports whether
// the pass goes on.
func (f *follower) deliver(lead Lead, position time.Time) bool {
	if f.ctx.Err() != nil {
		return false
	}
	if f.left = !f.yield(lead, nil); f.left {
		return false
	}
	if f.handled++; f.handled != f.req.CheckpointEvery {
		return true
	}
	return f.checkpoint(position, false)
}

// checkpoint calls Checkpoint. If Checkpoint fails, checkpoint returns false.
// Then pass yields the error and ends the sequence.
func (f *follower) checkpoint(since time.Time, caughtUp bool) bool {
	f.handled = 0
	if f.req.Checkpoint != nil {
		f.refused = f.req.Checkpoint(since, caughtUp)
	}
	return f.refused == nil
}

// pass reads once up to the present. It reports whether the sequence goes on.
func (f *follower) pass() bool {
	more, err := f.changes.Pass(f.ctx, f.deliver)
	switch {
	case f.left:
		return false
	case errors.Is(err, walk.ErrUnstable):
		err = f.client.wrap("lead changes", err)
	case err == nil && more:
		f.checkpoint(f.changes.Position(), true)
	case err == nil && f.refused == nil:
		err = f.client.wrap("lead changes", call.ContextError(f.ctx))
	}
	switch {
	case f.refused != nil:
		f.yield(Lead{}, f.refused)
		return false
	case err != nil:
		return f.fail(err)
	}
	return f.req.PollInterval > 0
}

// fail yields the error of a pass. It reports whether the sequence goes on.
func (f *follower) fail(err error) bool {
	if f.ctx.Err() != nil && !errors.Is(err, f.ctx.Err()) {
		err = fmt.Errorf("%w; then %w", err, call.ContextError(f.ctx))
	}
	if f.req.PollInterval == 0 || f.ctx.Err() != nil || isFinal(err) {
		f.yield(Lead{}, err)
		return false
	}
	deadline, ok := f.ctx.Deadline()
	if !ok || time.Until(deadline) > f.req.PollInterval {
		err = &passError{err}
	}
	return f.yield(Lead{}, err)
}

// isFinal reports whether another pass would fail in the same way.
func isFinal(err error) bool {
	var answer *APIError
	if !errors.As(err, &answer) {
		return false
	}
	switch status := answer.StatusCode; status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	default:
		return status >= 300 && status <= 499
	}
}

// wait waits for the next pass. It reports whether the sequence goes on.
func (f *follower) wait() bool {
	err := call.Sleep(f.ctx, f.req.PollInterval)
	if err != nil {
		f.yield(Lead{}, f.client.wrap("lead changes", err))
	}
	return err == nil
}

// passError is the error of a pass that another pass follows.
type passError struct{ err error }

func (e *passError) Error() string { return e.err.Error() + "; another pass follows" }

func (e *passError) Unwrap() []error { return []error{ErrPassFailed, e.err} }

// Format prints what Error returns for every verb.
func (e *passError) Format(state fmt.State, verb rune) { formatError(e, state, verb) }

func (c *Client) checkChanges(ctx context.Context, req *LeadChangesRequest) error {
	if ctx == nil {
		return c.notSent("lead changes", errNilContext)
	}
	var faults []FieldError
	outOfRange := func(field, problem string) {
		faults = append(faults, FieldError{Field: field, Code: ProblemOutOfRange, Problem: problem})
	}
	if req.PollInterval < 0 {
		outOfRange("pollInterval", "must not be negative")
	}
	if req.PageSize < 0 {
		outOfRange("pageSize", "must not be negative")
	}
	if c.validate && req.PageSize > MaxPageSize {
		outOfRange("pageSize", fmt.Sprintf("must be at most %d", MaxPageSize))
	}
	if req.CheckpointEvery < 0 {
		outOfRange("checkpointEvery", "must not be negative")
	}
	if year := req.Since.UTC().Year(); year < 1 || year > 9999 {
		outOfRange("since", "must lie in the years 1 to 9999")
	}
	return invalid(faults)
}

// LeadEvent is what happened to a lead between two of its versions.
type LeadEvent string

// These events matter to affiliates.
const (
	LeadCreated       LeadEvent = "created"
	LeadStatusChanged LeadEvent = "status changed"
	// LeadDeposited means that the lead made its first deposit.
	LeadDeposited LeadEvent = "deposited"
	// LeadDepositWithdrawn means that the lead shows no first deposit any more.
	// Its date may also be hidden now.
	LeadDepositWithdrawn LeadEvent = "deposit withdrawn"
)

// LeadEvents compares a version of a lead with the version that you stored
// before. before is nil if you stored none. The lead was then created, and
// deposited too if it shows a first deposit. A first deposit that only changes
// its date is no event.
//
// LeadEvents remembers nothing. Two equal versions give no events. So a lead
// that is yielded again does no harm, if you store the new version together
// with what you did about its events.
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
