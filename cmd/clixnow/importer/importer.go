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

// outcome is what became of a row in one run, as the results tell it.
type outcome string

const (
	registered    outcome = "registered"
	recovered     outcome = "recovered"      // registered, but the answer was lost and the lead found by search
	refused       outcome = "refused"        // not registered, and would be refused again
	unknown       outcome = "unknown"        // perhaps registered: the next run looks for it first
	notSent       outcome = "not sent"       // not registered; sent by the next run
	rateLimited   outcome = "rate limited"   // the same
	accessRefused outcome = "access refused" // the same: the token or the address is at fault, not the row
)

func (o outcome) settles() bool { return o == registered || o == recovered || o == refused }

var (
	errAccess = errors.New("the API refused access; check CLIXNOW_TOKEN and -brand")
	errGaveUp = errors.New("stopped: too many rows in a row came to nothing; try later")
)

// judge says what a result means. In doubt is a row that an earlier run may
// have sent: of it nothing is known but what a search finds, whatever stopped
// this run from looking.
func judge(r *clixnow.BulkResult, inDoubt bool) outcome {
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
	case deniesAccess(r.Err):
		return accessRefused
	default:
		return refused
	}
}

// deniesAccess reports whether every further row would meet the same.
func deniesAccess(err error) bool {
	answer, ok := errors.AsType[*clixnow.APIError](err)
	if !ok {
		return false
	}
	switch answer.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed,
		http.StatusUnsupportedMediaType:
		return true
	}
	return errors.Is(err, clixnow.ErrRedirect)
}

// importer is one run over the file.
type importer struct {
	client      *clixnow.Client
	leads       *sheet
	ledger      *ledger
	concurrency int
	meter       *meter
	failures    int // outcomes in a row that settle nothing
}

// run registers what is not settled yet. First come the rows that are in doubt,
// each looked for before it is sent; the others need no look. When ctx ends,
// what is in flight is finished and nothing more begun: so creates do not go by
// it.
func (i *importer) run(ctx context.Context) error {
	told := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(told)
		i.meter.say("Stopping when what is in flight is finished. Again to stop at once.")
	})
	defer func() {
		if !stop() {
			<-told
		}
	}()
	if doubts := i.ledger.doubts(); doubts > 0 {
		i.meter.say(fmt.Sprintf("Looking for %d rows that an earlier run may have registered: up to half a minute for a few.", doubts))
		if err := i.pass(ctx, true); err != nil || ctx.Err() != nil {
			return err
		}
	}
	return i.pass(ctx, false)
}

func (i *importer) pass(ctx context.Context, inDoubt bool) error {
	opts := clixnow.BulkOptions{Concurrency: i.concurrency, Ensure: true}
	if inDoubt {
		opts.FirstAttempt = i.ledger.began
	}
	var lines sync.Map // of what is in flight, by index
	var broken error   // what ended the taking of rows
	requests := i.requests(ctx, inDoubt, &lines, &broken)
	err := i.client.CreateLeads(context.WithoutCancel(ctx), requests, opts, func(r clixnow.BulkResult) error {
		line, _ := lines.LoadAndDelete(r.Index)
		return i.settle(ctx, line.(int), &r, inDoubt)
	})
	return errors.Join(err, broken)
}

// requests yields the rows of a pass, each noted in the ledger before it is
// sent.
func (i *importer) requests(ctx context.Context, inDoubt bool, lines *sync.Map,
	broken *error,
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
				*broken = err
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

// prepare reports whether a row is to be sent in this pass.
func (i *importer) prepare(row *row, inDoubt bool) (bool, error) {
	switch {
	case !i.ledger.due(row.line, inDoubt):
		return false, nil
	case row.fault != nil:
		i.meter.add()
		return false, i.ledger.finish(row.line, refused, nil, row.fault)
	}
	return true, i.ledger.start(row.line)
}

// settle writes an outcome down, and stops the import where going on would do
// harm.
func (i *importer) settle(ctx context.Context, line int, r *clixnow.BulkResult, inDoubt bool) error {
	const patience = 10
	result := judge(r, inDoubt)
	i.meter.add()
	if err := i.ledger.finish(line, result, r.Response, r.Err); err != nil {
		return err
	}
	if i.failures++; result.settles() {
		i.failures = 0
	}
	switch {
	case deniesAccess(r.Err):
		return fmt.Errorf("%w: %w", errAccess, r.Err)
	case i.failures >= patience && !inDoubt: // rows that stay in doubt, run after run, must not hold up the others
		return errGaveUp
	case result == rateLimited:
		wait(ctx, r.Err)
	}
	return nil
}

// wait does as the API asks that answered 429: a result that takes its time
// holds up the creates.
func wait(ctx context.Context, err error) {
	const longest = 2 * time.Minute
	answer, ok := errors.AsType[*clixnow.APIError](err)
	if !ok {
		return
	}
	select {
	case <-time.After(min(answer.RetryAfter, longest)):
	case <-ctx.Done():
	}
}
