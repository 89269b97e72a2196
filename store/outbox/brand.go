package outbox

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/router"
)

// BrandState is what this process knows about a brand since it works.
type BrandState struct {
	// Brand is the brand.
	Brand string
	// Err is why the brand cannot be used at the moment. Its reason is
	// ReasonAccess if the token is wrong. Nil means that it works, or that it
	// was not tried.
	Err error
	// Since is when Err became nil, or not nil. A zero time means that the
	// brand was not tried.
	Since time.Time

	// failures is the number of failures since the last success.
	failures int
	// loggedAt is the time of the last line about the brand. loggedFault
	// reports that the line was about a failure.
	loggedAt    time.Time
	loggedFault bool
}

// brands are the states of the brands. log must be set.
type brands struct {
	log    *slog.Logger
	mu     sync.Mutex
	states []BrandState
}

// Brands returns the states of the brands, in the order of their names.
func (o *Outbox) Brands() []BrandState {
	b := &o.brands
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, route := range o.opts.Routes {
		b.state(route.Client.Brand())
	}
	return slices.SortedFunc(slices.Values(b.states),
		func(a, b BrandState) int { return strings.Compare(a.Brand, b.Brand) })
}

func (b *brands) state(brand string) *BrandState {
	i := slices.IndexFunc(b.states, func(s BrandState) bool { return s.Brand == brand })
	if i < 0 {
		i = len(b.states)
		b.states = append(b.states, BrandState{Brand: brand})
	}
	return &b.states[i]
}

// observe passes the attempts of one try to the hook and to the states of the
// brands. start has the time when the attempt at a brand began.
func (o *Outbox) observe(result *router.Result, err error, start map[string]time.Time) {
	var tried []router.Try
	if failed, ok := errors.AsType[*router.Error](err); ok {
		tried = failed.Tried
	}
	if result != nil {
		tried = append(slices.Clone(result.Tried), router.Try{Brand: result.Brand})
	}
	end := time.Now()
	for _, try := range slices.Backward(tried) {
		if errors.Is(try.Err, ErrDatabase) || errors.Is(try.Err, errLostClaim) {
			continue // nothing was sent
		}
		var took time.Duration
		if began, ok := start[try.Brand]; ok {
			took, end = end.Sub(began), began
		}
		o.opts.Attempted(try.Brand, try.Err, took)
		o.brands.observe(try.Brand, try.Err)
	}
}

// fault returns err if it says that the brand, and not this lead, is the
// problem.
func fault(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, clixnow.ErrDuplicateLead) ||
		clixnow.OutcomeOf(err) == clixnow.OutcomeRefused && clixnow.ReasonOf(err) != clixnow.ReasonAccess {
		return nil
	}
	return err
}

// observe changes the state of a brand after an attempt. It writes one line for
// a change of state, and at most one in a minute. A wrong token is a fault at
// once. Other failures are one when there are three of them without a success.
func (b *brands) observe(brand string, err error) {
	const patience, quiet = 3, time.Minute
	b.mu.Lock()
	defer b.mu.Unlock()
	s, problem, now := b.state(brand), fault(err), time.Now()
	access := clixnow.ReasonOf(problem) == clixnow.ReasonAccess
	s.failures++
	if problem == nil {
		s.failures = 0
	}
	if problem == nil || access || s.failures >= patience {
		if s.Since.IsZero() || (s.Err == nil) != (problem == nil) {
			s.Since = now
		}
		s.Err = problem
	}
	if (s.Err != nil) == s.loggedFault || now.Sub(s.loggedAt) < quiet {
		return
	}
	s.loggedAt, s.loggedFault = now, s.Err != nil
	switch {
	case s.Err == nil:
		b.log.Info("the brand works again", "brand", brand)
	case access:
		b.log.Error("the brand refuses the access: check the token and the host; its sign-ups wait", "brand", brand,
			"error", s.Err)
	default:
		b.log.Error("the brand fails; its sign-ups are retried", "brand", brand, "error", s.Err)
	}
}
