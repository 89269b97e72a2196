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
	// Err is why the brand could not be used when it was last tried. Nil means
	// that it works, or that it was not tried.
	Err error
	// Since is when the brand began to work, to fail, or to refuse the access.
	// A zero time means that none of them is known.
	Since time.Time
	// TriedAt is when the last attempt at the brand ended. A zero time means
	// that the brand was not tried.
	TriedAt time.Time

	// failures is the number of failures since the brand last worked or refused
	// the access.
	failures int
	// logged is what the last line about the brand says. loggedAt is its time.
	logged   condition
	loggedAt time.Time
	// probedAt is when a lead was last sent although the brand fails.
	probedAt time.Time
}

// isDown reports whether leads are not sent to the brand for now. One that
// limits the rate takes leads.
func (s BrandState) isDown() bool { return s.Err != nil && !errors.Is(s.Err, clixnow.ErrRateLimited) }

// RefusesAccess reports whether the brand refuses the token or the host. This
// also holds if only a search showed it, after an unknown outcome.
func (s BrandState) RefusesAccess() bool { return conditionOf(s.Err) == refusesAccess }

// condition is the condition of a brand.
type condition int

const (
	works condition = iota
	fails
	refusesAccess
)

// conditionOf returns the condition that an error of fault shows.
func conditionOf(err error) condition {
	switch {
	case err == nil:
		return works
	case clixnow.ReasonOf(err) == clixnow.ReasonAccess, errors.Is(err, clixnow.ErrUnauthorized),
		errors.Is(err, clixnow.ErrForbidden):
		return refusesAccess
	}
	return fails
}

// brands are the states of the brands. log must be set.
type brands struct {
	log    *slog.Logger
	mu     sync.Mutex
	states []BrandState
	// begunAt is when a try last began although all brands failed.
	begunAt time.Time
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

// mayTry reports whether a lead may be sent to a brand. While the brand fails,
// this holds for one lead in the time probe, which finds out whether the brand
// works again. The others would be in doubt, and each doubt takes long to end.
func (b *brands) mayTry(brand string, probe time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.state(brand)
	if s.isDown() && time.Since(s.probedAt) < probe {
		return false
	}
	s.probedAt = time.Now()
	return true
}

// mayBegin reports whether a try may begin, although its brand is not known
// yet. While all brands fail, a few may, so that one of them meets mayTry.
func (b *brands) mayBegin(routes []router.Route, probe time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	isDue := false
	for _, route := range routes {
		s := b.state(route.Client.Brand())
		if !s.isDown() {
			return true
		}
		isDue = isDue || time.Since(s.probedAt) >= probe
	}
	if !isDue || time.Since(b.begunAt) < probe/10 {
		return false
	}
	b.begunAt = time.Now()
	return true
}

// routes returns routes that pass over brands that may not be tried. They are
// added to notTried.
func (b *brands) routes(all []router.Route, probe time.Duration, notTried *[]string) []router.Route {
	routes := slices.Clone(all)
	for i := range routes {
		brand, accepts := routes[i].Client.Brand(), routes[i].Accepts
		routes[i].Accepts = func(req clixnow.CreateLeadRequest) bool {
			if accepts != nil && !accepts(req) {
				return false
			}
			mayTry := b.mayTry(brand, probe)
			if !mayTry {
				*notTried = append(*notTried, brand)
			}
			return mayTry
		}
	}
	return routes
}

// notTriedError means that nothing was sent, because a brand fails and may not
// be tried for now.
type notTriedError struct {
	brands []string
	// inDoubt is the attempt that may have registered the lead before.
	inDoubt router.Attempt
	// cause is the error of the brands that were tried. Nil means that none was
	// tried.
	cause error
}

// Error returns a text for operators.
func (e *notTriedError) Error() string {
	text := "not sent: waits until " + strings.Join(e.brands, " or ") + " works again"
	if e.cause != nil {
		text += "; " + e.cause.Error()
	}
	return text
}

// Is matches clixnow.ErrNotSent.
func (e *notTriedError) Is(target error) bool { return target == clixnow.ErrNotSent }

// As finds the errors of the brands that were tried, for their Retry-After.
func (e *notTriedError) As(target any) bool { return e.cause != nil && errors.As(e.cause, target) }

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

// observe changes the state of a brand after an attempt. A refused access shows
// at once. Other failures show when there are three of them in a row.
//
// It writes one line for a change, and at most one in a minute. Only the first
// line about a refused access does not wait for the minute to end.
func (b *brands) observe(brand string, err error) {
	const patience, quiet = 3, time.Minute
	if errors.Is(err, context.Canceled) {
		return // this process stops, which says nothing about the brand
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s, problem, now := b.state(brand), fault(err), time.Now()
	is := conditionOf(problem)
	s.TriedAt = now
	s.failures++
	if is != fails {
		s.failures = 0
	}
	if is == fails && s.failures < patience {
		is, problem = conditionOf(s.Err), s.Err
	} else if s.Since.IsZero() {
		s.Since = now
	}
	changed := is != conditionOf(s.Err)
	if s.Err = problem; changed {
		s.Since = now
	}
	switch {
	case is == refusesAccess && s.logged != refusesAccess:
	case now.Sub(s.loggedAt) < quiet:
		return
	case is == s.logged && (is == works || !changed): // a fault can be new although no line says that it was away
		return
	}
	s.logged, s.loggedAt = is, now
	switch is {
	case works:
		b.log.Info("the brand works again", "brand", brand)
	case refusesAccess:
		b.log.Error("the brand refuses the access: check the token and the host; sign-ups that need it wait",
			"brand", brand, "error", s.Err)
	case fails:
		b.log.Error("the brand fails; sign-ups that need it are retried", "brand", brand, "error", s.Err)
	}
}
