package clixnow

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/clixnow/clixnow-go/internal/call"
)

// BulkOptions says how [Client.CreateLeads] works. Its zero value is usable.
type BulkOptions struct {
	Concurrency  int       // creates at once; 0 = 4
	Ensure       bool      // register each by EnsureLead instead of CreateLead
	FirstAttempt time.Time // with Ensure: EnsureLeadSince's, for an import that is run again
}

// BulkResult is what became of one request of [Client.CreateLeads]. slog hides its secrets.
type BulkResult struct {
	Index    int // of the request in reqs, from 0
	Request  CreateLeadRequest
	Response *EnsureLeadResponse // nil when Err is set; without Ensure, Recovered is false
	Err      error               // of one of the four classes of [Client.CreateLead]
}

const defaultConcurrency = 4

// CreateLeads registers the leads of reqs, a few at once, and calls result once for each request that it took from reqs,
// as outcomes come in, in the caller's goroutine. reqs is ranged over in another one. Memory does not grow with the number of requests.
//
// It stops at an error of result, at a 401 or 403, which every further request would meet too, and at the end of ctx: nothing more is taken
// then, what is in flight is finished and reported, and what was taken and not sent is reported as [ErrNotSent]. It returns
// what stopped it, and nil at the end of reqs. The rate limiter and retry policy of the client hold as for single creates.
func (c *Client) CreateLeads(ctx context.Context, reqs iter.Seq[CreateLeadRequest], opts BulkOptions, result func(BulkResult) error) error {
	if err := checkBulk(ctx, reqs, &opts, result); err != nil {
		return err
	}
	b := &bulk{client: c, opts: opts, halted: make(chan struct{}), results: make(chan BulkResult)}
	go b.take(ctx, reqs)
	defer b.abandon() // does nothing unless result panicked
	for r := range b.results {
		if err := result(r); err != nil {
			b.halt(err)
		}
		switch {
		case errors.Is(r.Err, ErrUnauthorized), errors.Is(r.Err, ErrForbidden):
			b.halt(r.Err)
		case r.Err != nil && ctx.Err() != nil:
			b.halt(fmt.Errorf("clixnow: create leads: %w", call.ContextError(ctx)))
		}
	}
	return b.stopped
}

func checkBulk(ctx context.Context, reqs iter.Seq[CreateLeadRequest], opts *BulkOptions, result func(BulkResult) error) error {
	var faults []FieldError
	if reqs == nil {
		faults = append(faults, FieldError{"reqs", "is nil"})
	}
	if result == nil {
		faults = append(faults, FieldError{"result", "is nil"})
	}
	if opts.Concurrency < 0 {
		faults = append(faults, FieldError{"concurrency", "must not be negative"})
	}
	if !opts.FirstAttempt.IsZero() && !opts.Ensure {
		faults = append(faults, FieldError{"firstAttempt", "needs Ensure"})
	}
	if faults == nil && ctx == nil {
		return notSent("create leads", errNilContext)
	}
	if opts.Concurrency == 0 {
		opts.Concurrency = defaultConcurrency
	}
	return invalid(faults)
}

// bulk is one CreateLeads under way.
type bulk struct {
	client  *Client
	opts    BulkOptions
	halted  chan struct{} // closed when nothing more is to be taken
	stopped error         // why; written once, before halted is closed
	results chan BulkResult
}

// halt is called by the caller's goroutine alone.
func (b *bulk) halt(reason error) {
	if b.stopped == nil {
		b.stopped = reason
		close(b.halted)
	}
}

// abandon ends what is under way when nobody will ask for its results.
func (b *bulk) abandon() {
	b.halt(errors.New("abandoned"))
	for range b.results { //nolint:revive // only to let the senders end
	}
}

// take starts a create for each request, and ends when all of them have been reported.
func (b *bulk) take(ctx context.Context, reqs iter.Seq[CreateLeadRequest]) {
	var flying sync.WaitGroup
	defer close(b.results)
	defer flying.Wait()
	places := make(chan struct{}, b.opts.Concurrency)
	index := 0
	for req := range reqs {
		r := BulkResult{Index: index, Request: req}
		index++
		if r.Err = b.place(ctx, places); r.Err != nil {
			b.results <- r
			return
		}
		flying.Go(func() {
			r.Response, r.Err = b.create(ctx, req)
			b.results <- r
			<-places // only now: a slow result func is to hold up the creates, not to let outcomes pile up
		})
	}
}

// place waits until one more create may begin.
func (b *bulk) place(ctx context.Context, places chan<- struct{}) error {
	select {
	case places <- struct{}{}:
	case <-b.halted:
	case <-ctx.Done():
	}
	select { // a free place does not outweigh a reason to stop
	case <-b.halted:
		return notSent("create leads", errors.New("stopped by an earlier outcome"))
	case <-ctx.Done():
		return notSent("create leads", call.ContextError(ctx))
	default:
		return nil
	}
}

func (b *bulk) create(ctx context.Context, req CreateLeadRequest) (*EnsureLeadResponse, error) {
	if b.opts.Ensure {
		return b.client.EnsureLeadSince(ctx, req, b.opts.FirstAttempt)
	}
	resp, err := b.client.CreateLead(ctx, req)
	if err != nil {
		return nil, err
	}
	return &EnsureLeadResponse{CreateLeadResponse: *resp}, nil
}
