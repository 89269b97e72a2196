package clixnow

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/clixnow/clixnow-go/internal/call"
)

// BulkOptions sets how [Client.CreateLeads] works. Its zero value is usable.
type BulkOptions struct {
	// Concurrency is the number of creates at once. 0 means 4.
	Concurrency int
	// Ensure registers each lead with EnsureLead. False means CreateLead.
	Ensure bool
	// FirstAttempt is the firstAttempt of EnsureLeadSince, for an import that
	// is run again. It needs Ensure. Zero means that there was no earlier run.
	FirstAttempt time.Time
}

// BulkResult is the outcome of one request of [Client.CreateLeads]. fmt and
// slog hide its secrets.
type BulkResult struct {
	// Index is the position of the request in reqs. 0 means the first one.
	Index int
	// Request is the request as it was taken from reqs. It is zero only in a
	// literal.
	Request CreateLeadRequest
	// Response is nil if Err is set. Without Ensure, Recovered is false.
	Response *EnsureLeadResponse
	// Err is of one of the four classes of Client.CreateLead. It is nil if the
	// lead is registered.
	Err error
}

const defaultConcurrency = 4

// CreateLeads registers the leads of reqs, several at once. It calls result
// once for each request that it took from reqs, as the outcomes come in, in the
// caller's goroutine. At most opts.Concurrency requests are outstanding: taken
// from reqs, with result not yet returned. So memory does not grow with the
// number of requests, and a slow result slows the creates down. Rate limiter
// and retry policy of the client apply as for single creates.
//
// After the API answered 429 with a Retry-After, CreateLeads takes nothing more
// from reqs until that time has passed, at most two minutes.
//
// CreateLeads stops at an error of result, at a 401, at a 403 that the function
// of [WithRefusals] did not recognise, and at the end of ctx. It then takes
// nothing more, finishes what is in flight, and reports it. A request that was
// taken and not sent is reported as [ErrNotSent], or with FirstAttempt as
// [ErrOutcomeUnknown], because the earlier attempt is still in doubt.
// CreateLeads returns the error that stopped it, and nil at the end of reqs.
//
// The end of ctx interrupts what is in flight, and its outcome is unknown. To
// stop gracefully, let reqs return instead.
//
// reqs is ranged over in another goroutine. CreateLeads returns after reqs
// does, so a sequence that waits for something should stop waiting when ctx
// ends. A panic of reqs, of a RoundTripper or of the function of WithRefusals
// comes out of CreateLeads. The outcome of the create that panicked is unknown,
// and is not reported.
func (c *Client) CreateLeads(ctx context.Context, reqs iter.Seq[CreateLeadRequest], opts BulkOptions,
	result func(BulkResult) error,
) error {
	if err := c.checkBulk(ctx, reqs, &opts, result); err != nil {
		return err
	}
	accepting, stop := context.WithCancel(ctx)
	defer stop()
	b := newBulk(c, opts)
	creates := pool[CreateLeadRequest, BulkResult]{
		slots: opts.Concurrency,
		wait:  b.waitUntilQuiet,
		work: func(index int, req CreateLeadRequest, late bool) BulkResult {
			r := BulkResult{Index: index, Request: req}
			if late {
				r.Err = b.tooLate(ctx)
			} else {
				r.Response, r.Err = b.create(ctx, req)
			}
			return r
		},
	}
	var stopReason error
	err := creates.run(accepting, reqs, func(r BulkResult) {
		reason := c.reasonToStop(ctx, r.Err)
		if reason != nil {
			stop() // before result, which may take long
		}
		if err := result(r); err != nil {
			stop()
			reason = err
		}
		stopReason = cmp.Or(stopReason, reason)
	})
	switch {
	case stopReason != nil:
		return stopReason
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return c.contextEnded(ctx)
	}
	return c.wrap("create leads", err)
}

func (c *Client) checkBulk(ctx context.Context, reqs iter.Seq[CreateLeadRequest], opts *BulkOptions,
	result func(BulkResult) error,
) error {
	var faults []FieldError
	check := func(ok bool, field string, code ProblemCode, problem string) {
		if !ok {
			faults = append(faults, FieldError{Field: field, Code: code, Problem: problem})
		}
	}
	check(reqs != nil, "reqs", ProblemMissing, "is nil")
	check(result != nil, "result", ProblemMissing, "is nil")
	check(opts.Concurrency >= 0, "concurrency", ProblemOutOfRange, "must not be negative")
	check(opts.FirstAttempt.IsZero() || opts.Ensure, "firstAttempt", ProblemOutOfRange, "needs Ensure")
	if faults == nil && ctx == nil {
		return c.notSent("create leads", errNilContext)
	}
	if opts.Concurrency == 0 {
		opts.Concurrency = defaultConcurrency
	}
	return invalid(faults)
}

// reasonToStop returns why nothing more is to be taken after an outcome. It
// returns nil if CreateLeads goes on.
func (c *Client) reasonToStop(ctx context.Context, err error) error {
	switch {
	case anyAPIError(err, deniesAccess):
		return err
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return c.contextEnded(ctx)
	}
	return nil
}

// deniesAccess reports whether every further request would be refused in the
// same way. A 403 that the function of WithRefusals recognised is about one
// lead.
func deniesAccess(e *APIError) bool {
	return e.StatusCode == http.StatusUnauthorized || e.StatusCode == http.StatusForbidden && e.refusal == nil
}

// anyAPIError reports whether an error within err has the property.
func anyAPIError(err error, has func(*APIError) bool) bool {
	switch e := err.(type) { //nolint:errorlint // this function unwraps errors itself
	case *APIError:
		return has(e)
	case *callError:
		return anyAPIError(e.cause, has)
	case interface{ Unwrap() error }:
		return anyAPIError(e.Unwrap(), has)
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(e.Unwrap(), func(err error) bool { return anyAPIError(err, has) })
	}
	return false
}

func (c *Client) contextEnded(ctx context.Context) error {
	return c.wrap("create leads", call.ContextError(ctx))
}

// bulk is one call of CreateLeads.
type bulk struct {
	client *Client
	opts   BulkOptions

	// responding guards the field below.
	responding sync.Mutex
	// quietUntil is the end of the last Retry-After.
	quietUntil time.Time
}

func newBulk(c *Client, opts BulkOptions) *bulk {
	b := &bulk{opts: opts}
	observed := *c
	observed.observe = b.observe
	b.client = &observed
	return b
}

// observe learns from each response to a request of this call.
func (b *bulk) observe(o *call.Outcome) {
	if o.Status != http.StatusTooManyRequests {
		return
	}
	b.responding.Lock()
	defer b.responding.Unlock()
	until := time.Now().Add(min(o.RetryAfter, longestQuiet))
	if until.After(b.quietUntil) {
		b.quietUntil = until
	}
}

// waitUntilQuiet waits until no Retry-After forbids another create.
func (b *bulk) waitUntilQuiet(ctx context.Context) error {
	for {
		b.responding.Lock()
		wait := time.Until(b.quietUntil)
		b.responding.Unlock()
		if wait <= 0 {
			return nil
		}
		if err := call.Pause(ctx, wait); err != nil {
			return err
		}
	}
}

// tooLate returns the error of a request that was taken and is not sent.
func (b *bulk) tooLate(ctx context.Context) error {
	cause := errors.New("stopped by an earlier outcome")
	if ctx.Err() != nil {
		cause = call.ContextError(ctx)
	}
	err := b.client.notSent("create leads", cause)
	if b.opts.FirstAttempt.IsZero() {
		return err
	}
	// The earlier attempt is still in doubt.
	return &callError{brand: b.client.brand, class: ErrOutcomeUnknown, detail: errorDetail(err), cause: err}
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
