// Package router registers one lead at one of several brands, and never at two
// of them.
//
// A brand that refuses a lead leaves it to the next brand. A brand that may
// have the lead does not: [Router.Register] then stops and reports the brand in
// doubt. So no lead is sent to a brand while another brand may have it.
//
// This also holds if the process dies. For this, Begin must store the attempt
// with the lead, and the attempt must be passed to the next call of Register:
//
//	r := &router.Router{
//		Routes: []router.Route{{Client: acme}, {Client: beta}},
//		Begin: func(ctx context.Context, a router.Attempt) error {
//			return save(ctx, job, a)
//		},
//	}
//	result, err := r.Register(ctx, job.Lead, job.Attempt)
//	if err != nil {
//		// Zero, unless a brand may have the lead:
//		return errors.Join(err, save(ctx, job, router.InDoubt(err)))
//	}
//	return settle(ctx, job, result) // in one write
//
// After success, mark the job as done in one write, and never clear the attempt
// alone. If the process dies in between, the next call starts with the first
// brand. Only one worker may handle a lead at a time.
//
// See [clixnow.OutcomeOf] for the outcomes and [clixnow.ReasonOf] for the
// reasons of a refusal.
package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/clixnow/clixnow-go"
)

// Route is one brand.
type Route struct {
	// Client is the client of the brand. It must not be nil.
	Client *clixnow.Client
	// Accepts decides about a lead by the caller's own hours, countries and
	// caps. nil means every lead.
	Accepts func(clixnow.CreateLeadRequest) bool
}

// Router registers leads at the first of its brands that takes them. It has no
// state of its own and starts no goroutine, so it is cheap: make one for each
// lead if Begin needs to know the job, and share the clients. It is safe for
// concurrent use if its functions are, and if its fields are not changed
// meanwhile.
type Router struct {
	// Routes are in the order in which they are tried. Their clients have
	// different brands, ignoring case.
	Routes []Route

	// Begin is called before a lead is sent to a brand for the first time. Save
	// both values of the attempt with the lead: Register needs them after the
	// process has died. If Begin returns an error, Register ends with
	// clixnow.ErrNotSent, and nothing was sent to that brand. Without Begin
	// nothing is promised if the process dies.
	Begin func(ctx context.Context, attempt Attempt) error

	// Next decides whether the next brand is tried after err, the error of one
	// brand. It is not called for an unknown outcome. nil means that the next
	// brand is tried, unless err is clixnow.ErrInvalidRequest (no brand would
	// take the lead) or clixnow.ErrDuplicateLead (this brand has the lead).
	Next func(err error) bool
}

// Attempt is the beginning of a registration at a brand. It is zero if there
// was none. It can be stored as JSON.
type Attempt struct {
	// Brand is the brand as Client.Brand returns it.
	Brand string
	// Since is the time before the lead was first sent to the brand.
	Since time.Time
}

func (a Attempt) isZero() bool { return a.Brand == "" && a.Since.IsZero() }

// Try is a brand that did not take the lead, or that may have taken it.
type Try struct {
	// Brand is the brand as Client.Brand returns it.
	Brand string
	// Err is the error of the brand, or of Begin. It matches one of the four
	// classes.
	Err error
}

// Result is a lead that a brand took.
type Result struct {
	// Brand is the brand that took the lead.
	Brand string
	// Lead is the response of that brand. It is never nil.
	Lead *clixnow.EnsureLeadResponse
	// Tried holds the brands that did not take the lead, in order. It is nil if
	// the first brand took it.
	Tried []Try
}

// LogValue logs the result without the redirect URL of the lead.
func (r Result) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("brand", r.Brand)}
	if r.Lead != nil {
		attrs = append(attrs, slog.Any("lead", r.Lead))
	}
	var tried []string
	for _, try := range r.Tried {
		tried = append(tried, try.Err.Error())
	}
	if tried != nil {
		attrs = append(attrs, slog.Any("tried", tried))
	}
	return slog.GroupValue(attrs...)
}

// Register registers the lead at the first route that accepts it and takes it,
// each by [clixnow.Client.EnsureLead]. It validates the request first, by the
// client of the first route that accepts the lead.
//
// last is the attempt that Begin or [InDoubt] stored for this lead, or zero. If
// last is not zero, Register goes on with that brand by
// [clixnow.Client.EnsureLeadSince], and passes over the routes before it. It
// then calls neither Accepts nor Begin for that brand.
//
// The result is nil if there is an error. Each brand takes as long as an
// EnsureLead, so give ctx time for all of them.
//
// If no brand took the lead, the error is an [*Error]. Routes without a client,
// two routes of one brand, no routes and a nil context are errors too. They
// match clixnow.ErrNotSent, or clixnow.ErrOutcomeUnknown if last is not zero. A
// last that names no route, or has no time, is clixnow.ErrOutcomeUnknown.
func (r *Router) Register(
	ctx context.Context, req clixnow.CreateLeadRequest, last Attempt,
) (*Result, error) {
	first, fault := r.check(ctx, last)
	if fault != nil {
		return nil, &Error{InDoubt: last, fault: fault}
	}
	failed := &Error{}
	for i, route := range r.Routes[first:] {
		brand := route.Client.Brand()
		attempt := Attempt{Brand: brand, Since: time.Now()}
		var lead *clixnow.EnsureLeadResponse
		var err error
		switch {
		case i == 0 && !last.isZero():
			attempt = last
			lead, err = route.Client.EnsureLeadSince(ctx, req, last.Since)
		case route.Accepts != nil && !route.Accepts(req):
			continue
		default:
			lead, err = r.begin(ctx, route.Client, req, attempt)
		}
		if err == nil {
			return &Result{Brand: brand, Lead: lead, Tried: failed.Tried}, nil
		}
		failed.Tried = append(failed.Tried, Try{brand, err})
		if clixnow.OutcomeOf(err) == clixnow.OutcomeUnknown {
			failed.InDoubt = attempt
		}
		if !failed.InDoubt.isZero() || !r.next(err) {
			return nil, failed
		}
	}
	return nil, failed
}

// check returns the index of the route of last, or what is wrong with the call.
func (r *Router) check(ctx context.Context, last Attempt) (index int, fault error) {
	brands := make(map[string]bool)
	index = -1
	for i, route := range r.Routes {
		if route.Client == nil {
			fault = fmt.Errorf("route %d has no client", i)
			continue
		}
		brand := strings.ToLower(route.Client.Brand())
		if brands[brand] {
			fault = fmt.Errorf("two routes have the brand %s", brand)
		}
		brands[brand] = true
		if strings.EqualFold(brand, last.Brand) {
			index = i
		}
	}
	switch {
	case !last.isZero() && index < 0:
		return 0, errors.New("the brand of the last attempt is not a route: add the route")
	case !last.isZero() && last.Since.IsZero():
		return 0, errors.New("the last attempt has no time: save both values of the attempt")
	case ctx == nil:
		return 0, errors.New("nil context")
	case len(r.Routes) == 0:
		return 0, errors.New("there are no routes")
	}
	return max(index, 0), fault
}

// begin saves the attempt, and then sends the lead to a brand.
func (r *Router) begin(
	ctx context.Context, client *clixnow.Client, req clixnow.CreateLeadRequest, attempt Attempt,
) (*clixnow.EnsureLeadResponse, error) {
	if err := validate(client, req); err != nil { //nolint:contextcheck // it needs a context that has ended
		return nil, err
	}
	if r.Begin != nil && ctx.Err() == nil {
		if err := r.Begin(ctx, attempt); err != nil {
			return nil, &beginError{err}
		}
	}
	return client.EnsureLead(ctx, req)
}

// beginError is an error of Begin. It ends Register.
type beginError struct{ cause error }

func (e *beginError) Error() string {
	return "clixnow: not sent: saving the attempt: " + e.cause.Error()
}

func (e *beginError) Is(target error) bool {
	switch target {
	case clixnow.ErrOutcomeUnknown, clixnow.ErrRefused, clixnow.ErrNotSent, clixnow.ErrRateLimited:
		return target == clixnow.ErrNotSent
	}
	return errors.Is(e.cause, target)
}

func (e *beginError) As(target any) bool { return errors.As(e.cause, target) }

// validate returns the error with which client refuses req by itself, or nil.
// The client validates before it looks at the context, so it sends nothing with
// a context that has ended.
func validate(client *clixnow.Client, req clixnow.CreateLeadRequest) error {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := client.CreateLead(ended, req); errors.Is(err, clixnow.ErrInvalidRequest) {
		return err
	}
	return nil
}

// next reports whether another brand may be tried after err.
func (r *Router) next(err error) bool {
	var failed *beginError
	if errors.As(err, &failed) {
		return false
	}
	if r.Next != nil {
		return r.Next(err)
	}
	return !errors.Is(err, clixnow.ErrInvalidRequest) && !errors.Is(err, clixnow.ErrDuplicateLead)
}
