package clixnow

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"time"

	"github.com/clixnow/clixnow-go/internal/call"
)

// This file looks for the lead of a registration. Its hard part is to know when
// a search that does not show the lead proves that the lead is absent.

var errUndecided = errors.New("a lead that may be this one does not show enough to decide")

// look searches for the lead after each of the pauses, because a search may lag
// behind a create, and a slow create may still be running. If it returns
// neither a lead nor an error, all looks have proved that the lead is absent.
func (r *registration) look(ctx context.Context) (*Lead, error) {
	var inconclusive error
	for _, pause := range r.client.looks {
		if err := call.Pause(ctx, r.wait(pause)); err != nil {
			return nil, r.interrupted(err, inconclusive)
		}
		lead, err := r.search(ctx)
		switch {
		case lead != nil:
			return lead, nil
		case isRetryable(err), errors.Is(err, ErrUnstableResults):
			inconclusive = err
		case err != nil:
			return nil, err
		}
	}
	if inconclusive == nil && r.undecided {
		return nil, errUndecided
	}
	return nil, inconclusive
}

// wait returns how long to wait before the next look. A pause is made longer at
// random, by at most a quarter, so that clients that failed together do not all
// return at once.
func (r *registration) wait(pause time.Duration) time.Duration {
	pause += min(rand.N(pause/4+1), math.MaxInt64-pause) //nolint:gosec // not a secret
	return max(pause, time.Until(r.quietUntil))
}

// interrupted returns the error of looks that ended early. before is the error
// of an earlier look, or nil.
func (r *registration) interrupted(err, before error) error {
	if before == nil && r.undecided {
		before = errUndecided
	}
	if before == nil {
		return err
	}
	return &callError{
		brand:  r.client.brand,
		detail: errorDetail(err) + "; the look before: " + errorDetail(before),
		cause:  errors.Join(err, before),
	}
}

// longestQuiet is the longest Retry-After that is waited for between the
// requests of one registration or import.
const longestQuiet = 2 * time.Minute

// observe learns from a response of the API.
func (r *registration) observe(o *call.Outcome) {
	r.clock.learn(o)
	r.quietUntil = time.Now().Add(min(o.RetryAfter, longestQuiet))
}

// windowStart returns the earliest time, by the server's clock, at which our
// lead can have been created.
func (r *registration) windowStart() time.Time {
	const tolerance = 3 * time.Minute
	return r.firstAttempt.Add(r.clock.ahead - tolerance)
}

// window is what the looks of a registration have found out.
type window struct {
	// lookback is the index of the lookback that the searches use.
	lookback int
	// ids holds the ids of the leads that the last search showed, in its order.
	ids []int64
	// page is the number of leads in the longest page.
	page int
	// complete reports that the whole window was read, and that the search
	// proves what is absent.
	complete bool
}

// overlap is the number of leads that a look reads again when it continues. It
// is so small that a page without new leads ends the search.
const overlap = 9

// canContinue reports whether the next look may begin at the last leads that
// were read. If all leads fit on one page, reading them again costs no more.
func (w *window) canContinue() bool {
	return w.complete && len(w.ids) > max(w.page, overlap)
}

// reread makes the next look read the whole window.
func (w *window) reread() { w.ids = nil }

// lookbacks returns how far before the window a search may begin. A search that
// proves nothing is repeated with the next one. What the last one shows is
// believed: no zone and no filter by days can hide the window from it.
func lookbacks() []time.Duration {
	const h = time.Hour
	return []time.Duration{time.Minute, h, 2 * h, 4 * h, 8 * h, 16 * h, 32 * h, 49 * h}
}

// search makes one look. It returns the lead, or nil if the lead is absent or
// the look is undecided.
func (r *registration) search(ctx context.Context) (*Lead, error) {
	if r.window.canContinue() {
		if lead, done, err := r.readOn(ctx); done {
			return lead, err
		}
	}
	return r.readWindow(ctx)
}

// readWindow reads all leads of the window.
func (r *registration) readWindow(ctx context.Context) (*Lead, error) {
	steps := lookbacks()
	w := &r.window
	w.ids = nil
	for {
		start := r.windowStart()
		s := reading{registration: r, windowStart: start, bound: searchBound(start, steps[w.lookback])}
		s.needsProof = !w.complete && w.lookback < len(steps)-1
		err := s.read(ctx)
		switch {
		case s.ours != nil:
			return s.ours, nil
		case errors.Is(err, errWindowMoved):
			w.complete = false
		case errors.Is(err, errNoProof):
			w.lookback++
		case err != nil:
			return nil, err
		case s.needsProof && !s.proves():
			w.lookback++
			for steps[w.lookback] < s.zoneDoubt() {
				w.lookback++
			}
		default:
			w.complete, w.ids, w.page = true, s.ids, s.page
			return nil, nil
		}
	}
}

// searchBound returns the bound of a search. It has no fraction of a second,
// because dates may be printed without one.
func searchBound(windowStart time.Time, lookback time.Duration) time.Time {
	bound := windowStart.Add(-lookback).UTC().Truncate(time.Second)
	if bound.Year() < 1 {
		return time.Time{} // it cannot be sent, and means no bound
	}
	return bound
}

// readOn reads what comes after the leads that were read last. done is false if
// the list has moved. The whole window must then be read again.
func (r *registration) readOn(ctx context.Context) (lead *Lead, done bool, err error) {
	w := &r.window
	start := r.windowStart()
	known := len(w.ids) - overlap
	s := reading{
		registration: r, windowStart: start, bound: searchBound(start, lookbacks()[w.lookback]),
		skip: known, begins: w.ids[known],
	}
	err = s.read(ctx)
	switch {
	case s.ours != nil:
		return s.ours, true, nil
	case errors.Is(err, errMoved), errors.Is(err, errWindowMoved), errors.Is(err, ErrUnstableResults):
		return nil, false, nil
	case err != nil:
		return nil, true, err
	}
	w.ids = append(w.ids[:known], s.ids...)
	return nil, true, nil
}

// reading is one search of a look. It may take several requests.
type reading struct {
	registration *registration
	windowStart  time.Time
	bound        time.Time
	// needsProof makes the search end after its first page if that page proves
	// nothing.
	needsProof bool
	skip       int
	// begins is the id with which the search must begin. 0 means any.
	begins int64

	ours *Lead
	ids  []int64
	// first is the creation date of the first lead.
	first time.Time
	// newest is the latest creation date that is not in the future.
	newest time.Time
	pages  int
	page   int
}

// These errors end a search early.
var (
	errNoProof     = errors.New("the first page proves nothing")
	errWindowMoved = errors.New("the server's clock differs from ours")
	errMoved       = errors.New("the list has moved")
)

func (s *reading) read(ctx context.Context) error {
	req := SearchLeadsRequest{OrderBy: OrderByCreatedOn, CreatedOnFrom: s.bound, Skip: s.skip}
	list := s.registration.client.leadList(req, s.registration.mask, s.registration.observe)
	fetch := list.Fetch
	list.Fetch = func(ctx context.Context, skip, count int, room []Lead) ([]Lead, error) {
		if s.pages > 0 && s.needsProof && s.ours == nil && !s.beginsBeforeWindow() {
			return nil, errNoProof
		}
		page, err := fetch(ctx, skip, count, room)
		if err != nil {
			return nil, err
		}
		if !s.registration.windowStart().Equal(s.windowStart) {
			return nil, errWindowMoved
		}
		if s.pages == 0 && s.begins != 0 && (len(page) == 0 || page[0].ID != s.begins) {
			return nil, errMoved
		}
		s.pages, s.page = s.pages+1, max(s.page, len(page))
		return page, nil
	}
	for lead, err := range list.Items(ctx) {
		if err != nil {
			return err
		}
		s.add(lead)
	}
	return nil
}

func (s *reading) add(lead *Lead) {
	if len(s.ids) == 0 {
		s.first = lead.CreatedOn
	}
	s.ids = append(s.ids, lead.ID)
	soon := s.registration.clock.now().Add(time.Minute)
	if lead.CreatedOn.After(s.newest) && lead.CreatedOn.Before(soon) {
		s.newest = lead.CreatedOn
	}
	switch identify(s.registration.req, lead, s.windowStart) {
	case sameLead:
		if s.ours == nil || lead.ID < s.ours.ID {
			kept := *lead
			s.ours = &kept
		}
	case undecided:
		s.registration.undecided = true
	case otherLead:
	}
}

// proves reports whether the search proves that each lead of the window is
// shown. It does if it shows a lead that is certainly older than the window:
// a filter that lets this lead through lets newer ones through. A page that
// begins before its bound proves nothing, because the filter or the dates are
// not what they seem.
func (s *reading) proves() bool {
	return s.beginsBeforeWindow() && !s.first.After(s.windowStart.Add(-s.zoneDoubt()))
}

func (s *reading) beginsBeforeWindow() bool {
	return !s.first.IsZero() && !s.first.Before(s.bound) && s.first.Before(s.windowStart)
}

// zoneDoubt returns how much later than its printed date the first lead may
// have been created. Dates may be printed in the local time of a zone west of
// Greenwich. All of them then lie in the past by the hours of that zone. So the
// age of the newest lead limits these hours.
func (s *reading) zoneDoubt() time.Duration {
	const nearest, farthest = 50 * time.Minute, 12 * time.Hour
	age := s.registration.clock.now().Sub(s.newest)
	if s.newest.IsZero() || age < nearest {
		return 0
	}
	return min(age, farthest)
}
