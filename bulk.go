package clixnow

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/clixnow/clixnow-go/internal/call"
)

// BulkOptions says how [Client.CreateLeads] works. Its zero value is usable.
type BulkOptions struct {
	Concurrency int  // creates at once; 0 = 4
	Ensure      bool // register each by EnsureLead instead of CreateLead
	// with Ensure: EnsureLeadSince's, for what an earlier run may have begun;
	// it looks for each before it sends
	FirstAttempt time.Time
}

// BulkResult is what became of one request of [Client.CreateLeads]. fmt and
// slog hide its secrets.
type BulkResult struct {
	Index    int // of the request in reqs, from 0
	Request  CreateLeadRequest
	Response *EnsureLeadResponse // nil when Err is set; without Ensure, Recovered is false
	Err      error               // of one of the four classes of Client.CreateLead
}

const defaultConcurrency = 4

// CreateLeads registers the leads of reqs, a few at once, and calls result once
// for each request that it took from reqs, as outcomes come in, in the caller's
// goroutine. No more than opts.Concurrency requests are taken whose result has
// not returned, so memory does not grow with the number of requests, and a slow
// result holds up the creates.
//
// It stops at an error of result, at a 401 or 403, which every further request
// would meet too, and at the end of ctx: nothing more is taken then, what is in
// flight is finished and reported, and what was taken and not sent is reported
// as [ErrNotSent], or with FirstAttempt as [ErrOutcomeUnknown]: the earlier try
// is still in doubt. It returns what stopped it, and nil at the end of reqs.
// The rate limiter and retry policy of the client hold as for single creates.
//
// The end of ctx cuts off what is in flight, and leaves it unknown. To stop
// gracefully let reqs return instead.
//
// reqs is ranged over in another goroutine; a panic of it comes out here.
// CreateLeads returns after reqs does, so a sequence that waits for something
// should stop waiting when ctx ends.
func (c *Client) CreateLeads(ctx context.Context, reqs iter.Seq[CreateLeadRequest], opts BulkOptions,
	result func(BulkResult) error,
) error {
	if err := c.checkBulk(ctx, reqs, &opts, result); err != nil {
		return err
	}
	taking, halt := context.WithCancel(ctx)
	b := &bulk{client: c, opts: opts, places: make(chan struct{}, opts.Concurrency), results: make(chan BulkResult)}
	go b.take(ctx, taking, reqs)
	defer func() { // where result panicked, nobody asks for results any more, but they must come to an end
		halt()
		for range b.results {
		}
	}()
	var stopped error
	for r := range b.results {
		reason := c.fatal(ctx, r.Err)
		if reason != nil {
			halt() // before result, which may take its time
		}
		if err := result(r); err != nil {
			halt()
			reason = err
		}
		stopped = cmp.Or(stopped, reason)
		<-b.places
	}
	if b.panicked != nil {
		panic(b.panicked)
	}
	return cmp.Or(stopped, b.cut)
}

// fatal returns why nothing more is to be taken after an outcome; nil when it
// goes on.
func (c *Client) fatal(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, ErrUnauthorized), errors.Is(err, ErrForbidden):
		return err
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return c.ended(ctx)
	}
	return nil
}

func (c *Client) ended(ctx context.Context) error {
	return c.wrap("create leads", call.ContextError(ctx))
}

func (c *Client) checkBulk(ctx context.Context, reqs iter.Seq[CreateLeadRequest], opts *BulkOptions,
	result func(BulkResult) error,
) error {
	var faults []FieldError
	if reqs == nil {
		faults = append(faults, FieldError{Field: "reqs", Code: ProblemMissing, Problem: "is nil"})
	}
	if result == nil {
		faults = append(faults, FieldError{Field: "result", Code: ProblemMissing, Problem: "is nil"})
	}
	if opts.Concurrency < 0 {
		faults = append(faults, FieldError{
			Field: "concurrency", Code: ProblemOutOfRange, Problem: "must not be negative",
		})
	}
	if !opts.FirstAttempt.IsZero() && !opts.Ensure {
		faults = append(faults, FieldError{Field: "firstAttempt", Code: ProblemOutOfRange, Problem: "needs Ensure"})
	}
	if faults == nil && ctx == nil {
		return c.notSent("create leads", errNilContext)
	}
	if opts.Concurrency == 0 {
		opts.Concurrency = defaultConcurrency
	}
	return invalid(faults)
}

// bulk is one CreateLeads under way. A request holds a place from before it is
// taken until its result was reported.
type bulk struct {
	client  *Client
	opts    BulkOptions
	places  chan struct{}
	results chan BulkResult

	// Of the taking, written before results is closed.
	cut      error // why it ended before reqs did
	panicked any   // by reqs
}

// take starts a create for each request while the context taking lives, and
// ends when all of them have been reported. The creates go by ctx: what is in
// flight is finished.
func (b *bulk) take(ctx, taking context.Context, reqs iter.Seq[CreateLeadRequest]) {
	var flying sync.WaitGroup
	defer close(b.results)
	defer flying.Wait()
	defer func() { b.panicked = recover() }()

	b.cut = b.client.wrap("create leads", errors.New("reqs did not return")) // but ended its goroutine, as t.FailNow does
	index := 0
	if !b.place(ctx, taking) {
		return
	}
	for req := range reqs {
		r := BulkResult{Index: index, Request: req, Err: b.over(ctx, taking)} // reqs may have taken its time
		index++
		flying.Go(func() {
			if r.Err == nil {
				r.Response, r.Err = b.create(ctx, req)
			}
			b.results <- r
		})
		if !b.place(ctx, taking) {
			return
		}
	}
	b.cut = nil
	if ctx.Err() != nil { // reqs may have ended because of it: as far as anybody can tell there was more
		b.cut = b.client.ended(ctx)
	}
}

// place waits until one more request may be taken, and reports whether one may.
func (b *bulk) place(ctx, taking context.Context) bool {
	select {
	case b.places <- struct{}{}:
	case <-taking.Done():
	}
	if taking.Err() == nil { // a free place does not outweigh a reason to stop
		return true
	}
	b.cut = nil // it is with the outcome that was the reason
	if ctx.Err() != nil {
		b.cut = b.client.ended(ctx)
	}
	return false
}

// over is the error of a request that was taken and is not to be sent; nil when
// it is.
func (b *bulk) over(ctx, taking context.Context) (err error) {
	switch {
	case ctx.Err() != nil:
		err = b.client.notSent("create leads", call.ContextError(ctx))
	case taking.Err() != nil:
		err = b.client.notSent("create leads", errors.New("stopped by an earlier outcome"))
	}
	if err != nil && !b.opts.FirstAttempt.IsZero() {
		// what became of the earlier try is still in doubt
		err = &callError{brand: b.client.brand, class: ErrOutcomeUnknown, detail: errorDetail(err), cause: err}
	}
	return err
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
