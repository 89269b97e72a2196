package clixnow

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/big"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/clixnow/clixnow-go/internal/call"
)

// EnsureLeadResponse is a lead that was registered by [Client.EnsureLead]. It
// marshals to the API's JSON with "recovered" added, and unmarshals from it.
// fmt and slog hide what they hide of a [CreateLeadResponse].
type EnsureLeadResponse struct {
	CreateLeadResponse

	// Recovered: found by search after an attempt of unknown outcome.
	// RedirectURL is then empty, and gone for good: send the visitor to the
	// brand's login page, or thank them.
	Recovered bool
}

// EnsureLead registers a lead exactly once, as far as the API lets one tell.
// After an attempt of unknown outcome it looks for the lead by search, and
// sends the request again only when four looks found nothing that could be it.
// Its errors are of the four classes of [Client.CreateLead];
// [ErrOutcomeUnknown] is left where no look found it, and one of the four
// failed or could not decide, or no attempt was left.
//
// # Which lead is ours
//
// A lead that was created no earlier than 3 minutes before the first attempt,
// by the server's clock where it differs from ours by more than a minute. Where
// both have a click id, the click ids decide, as text or as integers. Otherwise
// the emails do, case and surrounding blanks aside. Of several the one with the
// lowest id is ours.
//
// Some brands hide or mask emails. A lead that may be ours and does not show it
// leaves the search undecided, and then the request is not sent again.
//
// What no client can know: another registration with the same email and no
// ClickID within that time looks like ours, and so does one that shares our
// ClickID. So send a ClickID that is unique per sign-up. A search that shows a
// new lead later than the last look has it sent again: the API then refuses the
// duplicate, which says that the first one arrived, and four more looks are
// made. Where they do not show it, the error is both ErrOutcomeUnknown and
// [ErrDuplicateLead]: sending it again would not help, a person has to look.
//
// # How long it takes
//
// The four looks come 0.5, 2, 5 and 10 seconds (2, 8, 20 and 40 times
// MinBackoff, each at most MaxBackoff) one after the other: 17.5 seconds, and
// the time of four searches, for each of at most MaxAttempts attempts of
// unknown outcome. With the default policy and an API that answers every search
// that is up to 53 seconds and three attempts; an API that hangs makes it as
// long as the timeouts allow, about 20 minutes. So let the context decide: in a
// handler a minute more than the attempt timeout, and outliving a visitor who
// leaves:
//
//	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 90*time.Second)
func (c *Client) EnsureLead(ctx context.Context, req CreateLeadRequest) (*EnsureLeadResponse, error) {
	return c.EnsureLeadSince(ctx, req, time.Time{})
}

// EnsureLeadSince is [Client.EnsureLead] for a lead that an earlier call, or a
// process that has died, may have begun to register at firstAttempt, by the
// clock of this machine or one within a minute of it. It looks before it sends,
// and reads a duplicate rejection of its first send as "the earlier try
// arrived". A zero firstAttempt means that there was none.
//
// So a queue consumer registers each lead once, however often it dies: it saves
// the time with the job before the first try and calls EnsureLead; a
// redelivered job, or one that ended in [ErrOutcomeUnknown], it hands to
// EnsureLeadSince with the saved time. Once an earlier try is in doubt, every
// failure is [ErrOutcomeUnknown], with what happened within reach of errors.As
// and errors.Is: a refusal of this send says nothing of the earlier one. What
// validation refuses was never sent.
//
// A server that neither refuses duplicates nor shows a new lead in searches
// leaves no client a chance.
func (c *Client) EnsureLeadSince(ctx context.Context, req CreateLeadRequest,
	firstAttempt time.Time,
) (*EnsureLeadResponse, error) {
	body, err := c.encode(&req)
	if err != nil {
		return nil, err
	}
	r := &registration{client: c, req: &req, body: body, mask: c.newMask(&req), began: time.Now()}
	if !firstAttempt.IsZero() {
		r.doubt = errors.New("an earlier try may have registered the lead")
		if firstAttempt.Before(r.began) {
			r.began = firstAttempt
		}
	}
	return r.run(ctx)
}

// registration is one EnsureLead under way. Its deciding is in functions below
// that know facts only.
type registration struct {
	client *Client
	req    *CreateLeadRequest
	body   []byte
	mask   *textMask
	began  time.Time // the first attempt, by our clock
	doubt  error     // the latest attempt that leaves the outcome unknown; nil = none
	past   error     // those before it
	sent   int       // attempts so far
	clock  serverClock
}

func (r *registration) run(ctx context.Context) (*EnsureLeadResponse, error) {
	if ctx == nil {
		return nil, r.client.notSent("ensure lead", errNilContext)
	}
	for {
		if r.doubt != nil {
			lead, err := r.look(ctx)
			switch {
			case lead != nil:
				return recovered(lead), nil
			case err != nil:
				return nil, r.unknown("looking for it: %w", err)
			case errors.Is(r.doubt, ErrDuplicateLead):
				return nil, r.unknown("no search shows it")
			case r.sent >= r.client.retry.MaxAttempts:
				return nil, r.unknown("no search shows it, and there were %d attempts", r.sent)
			}
		}
		resp, o, err := r.client.create(ctx, r.body, r.mask, r.client.retry.MaxAttempts-r.sent)
		r.sent += o.Attempts
		r.clock.learn(&o)
		switch afterSend(r.doubt != nil, createClass(&o), errors.Is(err, ErrDuplicateLead)) {
		case settled:
			return &EnsureLeadResponse{CreateLeadResponse: *resp}, nil
		case failed:
			return nil, err
		case stillUnknown:
			return nil, r.unknown("sending it again: %w", err)
		case lookForIt:
			r.doubt, r.past = err, errors.Join(r.doubt, r.past)
		}
	}
}

type step int

const (
	settled      step = iota // registered
	failed                   // the error is the caller's: nothing was registered
	lookForIt                // it may be registered
	stillUnknown             // and no look can tell more
)

// afterSend decides what follows a send of this class. After an attempt of
// unknown outcome a refusal is no answer: the earlier one may have been carried
// out. A refusal as a duplicate says that it was.
func afterSend(again bool, class error, duplicate bool) step {
	switch {
	case class == nil:
		return settled
	case class == ErrOutcomeUnknown, again && duplicate: //nolint:errorlint // a class is one of four values
		return lookForIt
	case again:
		return stillUnknown
	default:
		return failed
	}
}

// unknown is the error of a registration that stays in doubt. All that happened
// is within reach, the latest first: it is what errors.As finds.
func (r *registration) unknown(format string, args ...any) error {
	since := fmt.Errorf(format, args...)
	return &callError{
		brand: r.client.brand, class: ErrOutcomeUnknown,
		// The mask of a search does not know the lead.
		detail: r.mask.forLogs(errorDetail(r.doubt) + "; " + since.Error()),
		cause:  errors.Join(since, r.doubt, r.past),
	}
}

// look searches four times, since a search may lag a create and a slow create
// may still be running. No lead and no error mean that all looks completed and
// none showed anything that could be ours.
func (r *registration) look(ctx context.Context) (*Lead, error) {
	var doubt error
	for _, factor := range []time.Duration{2, 8, 20, 40} {
		if err := call.Pause(ctx, r.client.retry.pause(factor)); err != nil {
			if doubt != nil {
				err = fmt.Errorf("%w; the look before: %w", err, doubt)
			}
			return nil, err
		}
		lead, err := r.search(ctx)
		switch {
		case lead != nil:
			return lead, nil
		case errors.Is(err, errUndecided), isRetryable(err):
			doubt = err
		case err != nil:
			return nil, err
		}
	}
	return nil, doubt
}

// pause is a multiple of MinBackoff, at most MaxBackoff, shortened at random by
// at most a quarter.
func (p RetryPolicy) pause(factor time.Duration) time.Duration {
	wait := p.MaxBackoff
	if p.MinBackoff < wait/factor {
		wait = p.MinBackoff * factor
	}
	return wait - rand.N(wait/4+1) //nolint:gosec // spreads load; nothing to guess
}

// search looks once; and once more from further back when its answer shows that
// the server's clock is behind ours.
func (r *registration) search(ctx context.Context) (*Lead, error) {
	for {
		from := r.windowStart()
		list := r.client.leadList(SearchLeadsRequest{CreatedOnFrom: from}, nil, r.clock.learn)
		ours, err := r.pick(list.Items(ctx))
		if ours != nil || !r.windowStart().Before(from) {
			return ours, err
		}
	}
}

// windowStart is when, by the server's clock, a lead of ours was created at the
// earliest.
func (r *registration) windowStart() time.Time {
	const tolerance = 3 * time.Minute
	return r.began.Add(r.clock.ahead - tolerance)
}

var errUndecided = errors.New("a lead that may be this one hides its email")

// pick returns the lead of the lowest id that is ours, or errUndecided where
// one may be.
func (r *registration) pick(leads iter.Seq2[*Lead, error]) (ours *Lead, err error) {
	for lead, failure := range leads {
		if failure != nil {
			err = failure
			break
		}
		switch identify(r.req, lead, r.windowStart()) {
		case sameLead:
			if ours == nil || lead.ID < ours.ID {
				kept := *lead
				ours = &kept
			}
		case undecided:
			err = errUndecided
		case otherLead:
		}
	}
	if ours != nil {
		return ours, nil
	}
	return nil, err
}

type identity int

const (
	otherLead identity = iota
	sameLead
	undecided
)

// identify decides whether a lead that a search shows is the one that was sent
// at some time after from. Where the lead hides its date, the search's own
// bound has to do.
func identify(sent *CreateLeadRequest, found *Lead, from time.Time) identity {
	if !found.CreatedOn.IsZero() && found.CreatedOn.Before(from) {
		return otherLead
	}
	same := undecided
	email, sentEmail := strings.TrimSpace(found.Email), strings.TrimSpace(sent.Email)
	switch {
	case sent.ClickID != "" && found.ClickID != "":
		same = either(sameClickID(sent.ClickID, found.ClickID))
	case email != "" && strings.EqualFold(email, sentEmail):
		same = sameLead
	case strings.Contains(email, "@") && !strings.Contains(email, "*"):
		same = otherLead
	}
	return same
}

func either(same bool) identity {
	if same {
		return sameLead
	}
	return otherLead
}

// sameClickID compares as text, or as integers: a search documents an integer,
// and "007" comes back as 7.
func sameClickID(a, b string) bool {
	if a == b {
		return true
	}
	x, okX := new(big.Int).SetString(a, 10)
	y, okY := new(big.Int).SetString(b, 10)
	return okX && okY && x.Cmp(y) == 0
}

// recovered is what is left of the response to a create: all but the redirect
// URL.
func recovered(l *Lead) *EnsureLeadResponse {
	return &EnsureLeadResponse{Recovered: true, CreateLeadResponse: CreateLeadResponse{
		LeadID: l.ID, SubCampaign: l.SubCampaign, Placement: l.Placement, Keyword: l.Keyword, Sub2: l.Sub2,
		ClickID: l.ClickID, CRMID: l.CRMID,
	}}
}

// serverClock is how far the server's clock is ahead of ours, where that is
// more than an answer's way and rounding explain.
type serverClock struct {
	known bool
	ahead time.Duration
}

// learn takes the first date that an answer tells; one that changed later would
// move the window under a search.
func (c *serverClock) learn(o *call.Outcome) {
	date := o.Date()
	if c.known || date.IsZero() {
		return
	}
	c.known = true
	if ahead := time.Until(date); ahead.Abs() > time.Minute {
		c.ahead = ahead
	}
}
