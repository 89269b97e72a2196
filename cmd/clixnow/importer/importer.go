package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"sync"
	"time"

	"github.com/clixnow/clixnow-go"
)

// outcome is the result of a row in one run, as the results file has it. The
// README explains each one.
type outcome string

const (
	registered    outcome = "registered"
	recovered     outcome = "recovered"
	refused       outcome = "refused"
	unknown       outcome = "unknown"
	notSent       outcome = "not sent"
	rateLimited   outcome = "rate limited"
	accessRefused outcome = "access refused"
)

// isFinal reports whether later runs skip a row with this outcome.
func (o outcome) isFinal() bool { return o == registered || o == recovered || o == refused }

var (
	errAccess = errors.New("the API refused access; check CLIXNOW_TOKEN and -brand")
	errGaveUp = errors.New("stopped, because too many rows in a row could not be finished; try again later")
)

// outcomeOf returns the outcome of a row. A row is in doubt if an earlier run
// may have sent it. If the search for it failed, its outcome is still unknown,
// whatever the error is.
func outcomeOf(r *clixnow.BulkResult, inDoubt bool) outcome {
	switch {
	case r.Err == nil && r.Response.Recovered:
		return recovered
	case r.Err == nil:
		return registered
	case inDoubt, errors.Is(r.Err, clixnow.ErrOutcomeUnknown):
		return unknown
	case errors.Is(r.Err, clixnow.ErrNotSent):
		return notSent
	case errors.Is(r.Err, clixnow.ErrRateLimited):
		return rateLimited
	case isAccessError(r.Err):
		return accessRefused
	default:
		return refused
	}
}

// isAccessError reports whether every other row would fail in the same way,
// because the token or the address is wrong.
func isAccessError(err error) bool {
	apiErr, ok := errors.AsType[*clixnow.APIError](err)
	if !ok {
		return false
	}
	switch apiErr.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed,
		http.StatusUnsupportedMediaType:
		return true
	}
	return errors.Is(err, clixnow.ErrRedirect)
}

// importer registers the rows of the file in one run of the program.
type importer struct {
	client      *clixnow.Client
	leads       *sheet
	ledger      *ledger
	concurrency int
	meter       *meter
	// failures counts the rows without a final outcome since the last row with
	// one.
	failures int
}

// run registers the rows that are not finished. It begins with the rows in
// doubt, because it must search for each of them before it sends it. When ctx
// ends, run starts no more rows, but it finishes the rows in flight.
func (i *importer) run(ctx context.Context) error {
	printed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(printed)
		i.meter.println("Stopping after the rows in flight are finished. Interrupt again to stop at once.")
	})
	defer func() {
		if !stop() {
			<-printed
		}
	}()
	if n := i.ledger.countInDoubt(); n > 0 {
		i.meter.println(fmt.Sprintf("Searching for %d rows that an earlier run may have registered. "+
			"This can take half a minute for a few rows.", n))
		if err := i.registerRows(ctx, true); err != nil || ctx.Err() != nil {
			return err
		}
	}
	return i.registerRows(ctx, false)
}

// registerRows registers either the rows in doubt or the other unfinished rows.
// The creates do not use the cancellation of ctx, so that a row in flight is
// finished.
func (i *importer) registerRows(ctx context.Context, inDoubt bool) error {
	opts := clixnow.BulkOptions{Concurrency: i.concurrency, Ensure: true}
	if inDoubt {
		opts.FirstAttempt = i.ledger.began
	}
	var lines sync.Map // the line of each row in flight, by BulkResult.Index
	var rowErr error   // the error of reading or preparing a row
	requests := i.requests(ctx, inDoubt, &lines, &rowErr)
	err := i.client.CreateLeads(context.WithoutCancel(ctx), requests, opts, func(r clixnow.BulkResult) error {
		line, _ := lines.LoadAndDelete(r.Index)
		return i.handle(ctx, line.(int), &r, inDoubt)
	})
	return errors.Join(err, rowErr)
}

// requests yields the requests of the rows to send. It notes each row in the
// ledger first. If it fails, it stops and sets rowErr.
func (i *importer) requests(ctx context.Context, inDoubt bool, lines *sync.Map,
	rowErr *error,
) iter.Seq[clixnow.CreateLeadRequest] {
	return func(yield func(clixnow.CreateLeadRequest) bool) {
		index := 0
		for row, err := range i.leads.rows(io.Discard) {
			if ctx.Err() != nil {
				return
			}
			ready := false
			if err == nil {
				ready, err = i.prepare(&row, inDoubt)
			}
			if err != nil {
				*rowErr = err
				return
			}
			if !ready {
				continue
			}
			lines.Store(index, row.line)
			index++
			if !yield(row.lead) {
				return
			}
		}
	}
}

// prepare notes in the ledger that a row will be sent, and returns true. It
// returns false if the row is not among the rows to register, or if it is
// invalid: then prepare notes the refusal.
func (i *importer) prepare(row *row, inDoubt bool) (bool, error) {
	switch {
	case !i.ledger.selects(row.line, inDoubt):
		return false, nil
	case row.fault != nil:
		i.meter.add()
		return false, i.ledger.noteOutcome(row.line, refused, nil, row.fault)
	}
	return true, i.ledger.noteStart(row.line)
}

// handle notes the outcome of a row. It returns an error if the import must
// stop, because further rows would fail too. After a 429 it waits, which delays
// the next creates.
func (i *importer) handle(ctx context.Context, line int, r *clixnow.BulkResult, inDoubt bool) error {
	const maxFailures = 10
	result := outcomeOf(r, inDoubt)
	i.meter.add()
	if err := i.ledger.noteOutcome(line, result, r.Response, r.Err); err != nil {
		return err
	}
	if i.failures++; result.isFinal() {
		i.failures = 0
	}
	switch {
	case isAccessError(r.Err):
		return fmt.Errorf("%w: %w", errAccess, r.Err)
	case i.failures >= maxFailures && !inDoubt:
		// Rows in doubt do not stop the import. Some may stay in doubt in every
		// run, and the rows after them must still be registered.
		return errGaveUp
	case result == rateLimited:
		waitRetryAfter(ctx, r.Err)
	}
	return nil
}

// waitRetryAfter waits for the Retry-After of a 429, for two minutes at most,
// or until ctx is done.
func waitRetryAfter(ctx context.Context, err error) {
	const longest = 2 * time.Minute
	apiErr, ok := errors.AsType[*clixnow.APIError](err)
	if !ok {
		return
	}
	select {
	case <-time.After(min(apiErr.RetryAfter, longest)):
	case <-ctx.Done():
	}
}
