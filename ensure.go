package clixnow

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clixnow/clixnow-go/internal/call"
)

// EnsureLeadResponse is a lead that was registered by [Client.EnsureLead]. It
// marshals to the API's JSON with "recovered" added, and unmarshals from it.
// fmt and slog hide its secrets as they do for a [CreateLeadResponse].
type EnsureLeadResponse struct {
	CreateLeadResponse

	// Recovered reports that a search found the lead after an attempt of
	// unknown outcome. RedirectURL is then empty, and it is lost for good: send
	// the visitor to the brand's login page, or thank them. False means that a
	// create was answered.
	Recovered bool
}

// EnsureLead registers a lead exactly once, as far as the API lets a client
// tell. After an attempt of unknown outcome it searches for the lead, several
// times. Each of these looks comes after one of the pauses of [WithLooks]. If a
// look finds the lead, EnsureLead returns it with Recovered. If all looks prove
// that the lead is absent, EnsureLead sends the request again, at most
// MaxAttempts times in all. Otherwise the error is [ErrOutcomeUnknown]: a lead
// in doubt is never sent again. [Client.EnsureLeadSince] says what a refusal of
// the later request means.
//
// Only one call at a time may register a lead: two calls can send it twice. The
// response is nil if there is an error.
//
// Its errors are of the four classes of [Client.CreateLead]. If the API refuses
// a later attempt as a duplicate and no look shows the lead, the error matches
// both ErrOutcomeUnknown and [ErrDuplicateLead]. Sending the lead again would
// not help then: a person has to look.
//
// # Which lead is ours
//
// The click id, the email and the creation date of a lead decide. The window
// starts three minutes before the first attempt, in the server's time if the
// clocks differ by more than a minute.
//
//	click ids             emails                in the window  before it
//	equal                 equal, or one hidden  ours           ours
//	equal                 different             undecided      undecided
//	similar               equal, or one hidden  undecided      other
//	different             equal                 undecided      other
//	different or similar  different             other          other
//	different             one hidden            other          other
//	one is none           equal                 ours           undecided
//	one is none           different             other          other
//	one is none           one hidden            undecided      other
//
// Click ids are equal as text or as integers. They are similar if they differ
// in case, escapes or the form of a number, or if one of them is cut. A click
// id is none if it is empty, 0, or a macro such as {clickid}. Emails are equal
// ignoring case, surrounding white space, and the form of the domain (Unicode
// or punycode). An email is hidden if it is missing, masked, escaped or cut.
//
// If several leads are ours, the one with the lowest id counts. If none is, an
// undecided one leaves the outcome unknown.
//
// A search that shows nothing is no proof that nothing is there, because its
// filter may compare hours or days, or local time. So a look also reads what is
// older, until the search shows a lead from before the first attempt, or has
// read 49 hours before it.
//
// # What no client can know
//
// Another registration with the same email and without a ClickID, at the same
// time, looks like ours. So does one that has our ClickID. Send a ClickID that
// is unique for each sign-up. If the API does not refuse duplicates, and a
// search shows a new lead only after the last look, the lead is registered
// twice. A server that never shows it gives no client a chance.
//
// # How long it takes
//
// With the default looks, an attempt of unknown outcome takes 17.5 to 22
// seconds more, and the time of the searches. A Retry-After can add up to two
// minutes to each look. Three attempts take about a minute if the API answers
// its searches. If the API does not answer, they take as long as the timeouts
// allow, which can be more than 20 minutes. So let the context decide. In a
// handler, use a context that outlives the connection of the visitor, and that
// lasts a minute longer than the timeout of an attempt:
//
//	ctx := context.WithoutCancel(r.Context())
//	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
func (c *Client) EnsureLead(ctx context.Context, req CreateLeadRequest) (*EnsureLeadResponse, error) {
	return c.EnsureLeadSince(ctx, req, time.Time{})
}

// EnsureLeadSince is [Client.EnsureLead] for a lead that an earlier call, or a
// process that has died, may have sent at firstAttempt or later. The clock of
// firstAttempt may differ from the clock of this machine by up to a minute.
// EnsureLeadSince looks for the lead before it sends it. If the API refuses the
// lead as a duplicate, the earlier attempt has arrived, and EnsureLeadSince
// looks again. A zero firstAttempt means that there was no earlier attempt.
//
// So a queue consumer registers each lead once, however often it dies. It saves
// the time with the job before the first attempt, and calls EnsureLead. For a
// job that was delivered before, or that ended in [ErrOutcomeUnknown], it calls
// EnsureLeadSince with the saved time.
//
// A refusal does not say what became of the earlier attempt. So after one, it
// looks again. If the looks prove that the lead is absent, and the refused
// request was sent more than ten minutes after firstAttempt, the error is that
// refusal. All other errors match ErrOutcomeUnknown, except those of
// validation: the earlier attempt cannot have sent such a request.
func (c *Client) EnsureLeadSince(ctx context.Context, req CreateLeadRequest,
	firstAttempt time.Time,
) (*EnsureLeadResponse, error) {
	body, err := c.encode(&req)
	if err != nil {
		return nil, err
	}
	if ctx == nil {
		return nil, c.notSent("ensure lead", errNilContext)
	}
	r := &registration{client: c, req: &req, body: body, mask: c.newMask(&req), firstAttempt: time.Now()}
	if !firstAttempt.IsZero() {
		r.doubt = errors.New("an earlier attempt may have registered the lead")
		if firstAttempt.Before(r.firstAttempt) {
			r.firstAttempt = firstAttempt
		}
	}
	return r.run(ctx)
}

// registration is one call of EnsureLead.
type registration struct {
	client *Client
	req    *CreateLeadRequest
	body   []byte
	mask   *textMask

	// firstAttempt is the time of the first attempt, by our clock.
	firstAttempt time.Time
	// sent is the number of attempts of this call.
	sent int
	// doubt is the error of the last attempt that may have registered the lead.
	// It is nil if there was none.
	doubt error
	// earlierDoubts holds the errors of the attempts before that one.
	earlierDoubts error
	// refusal is set if a later attempt was refused, and not as a duplicate.
	refusal *lateRefusal

	clock serverClock
	// quietUntil is the end of the Retry-After of the last response.
	quietUntil time.Time
	window     window
	// undecided is set once a lead was shown that may be ours.
	undecided bool
}

// lateRefusal is the refusal of a request that was sent after an attempt of
// unknown outcome.
type lateRefusal struct {
	err  error
	sent time.Time
}

func (r *registration) run(ctx context.Context) (*EnsureLeadResponse, error) {
	for {
		if r.doubt != nil {
			lead, err := r.look(ctx)
			switch {
			case lead != nil:
				return recovered(lead), nil
			case err != nil:
				return nil, r.unknown("looking for it", err)
			}
			if err := r.reasonToStop(); err != nil {
				return nil, err
			}
		}
		sent := time.Now()
		resp, o, err := r.client.create(ctx, r.body, r.mask, r.client.retry.MaxAttempts-r.sent)
		r.sent += o.Attempts
		r.observe(&o)
		switch afterSend(r.doubt != nil, createClass(&o), errors.Is(err, ErrDuplicateLead)) {
		case registered:
			return &EnsureLeadResponse{CreateLeadResponse: *resp}, nil
		case failed:
			return nil, err
		case stillUnknown:
			return nil, r.unknown("sending it again", err)
		case refusedLater:
			r.refusal = &lateRefusal{err, sent}
		case exists:
			r.window.reread()
			r.addDoubt(err)
		case maybeRegistered:
			r.addDoubt(err)
		}
	}
}

// reasonToStop returns the error of a registration that ends although all looks
// proved that the lead is absent. It returns nil if the request is to be sent
// again.
func (r *registration) reasonToStop() error {
	// By then, an attempt of unknown outcome is either carried out or lost.
	const settled = 10 * time.Minute
	switch {
	case errors.Is(r.doubt, ErrDuplicateLead):
		return r.unknown("no search shows it", nil)
	case r.refusal != nil && r.refusal.sent.Sub(r.firstAttempt) > settled:
		return r.refusal.err
	case r.refusal != nil:
		return r.unknown("sending it again", r.refusal.err)
	case r.sent >= r.client.retry.MaxAttempts:
		return r.unknown(fmt.Sprintf("no search shows it, and there were %d attempts", r.sent), nil)
	}
	return nil
}

func (r *registration) addDoubt(err error) {
	r.doubt, r.earlierDoubts = err, errors.Join(r.doubt, r.earlierDoubts)
}

// step is what follows a send.
type step int

const (
	registered step = iota
	// failed means that nothing was registered.
	failed
	// maybeRegistered means that the outcome of the send is unknown.
	maybeRegistered
	// exists means that an earlier attempt has registered the lead, or that an
	// earlier registration has.
	exists
	// refusedLater means that this attempt registered nothing, but an earlier
	// attempt may have.
	refusedLater
	// stillUnknown means the same, and that the looks would prove nothing new.
	stillUnknown
)

// afterSend decides what follows a send of the class. inDoubt reports that an
// earlier attempt may have registered the lead.
func afterSend(inDoubt bool, class error, duplicate bool) step {
	switch {
	case class == nil:
		return registered
	case class == ErrOutcomeUnknown: //nolint:errorlint // a class is one of four values
		return maybeRegistered
	case !inDoubt:
		return failed
	case duplicate:
		return exists
	case class == ErrRefused: //nolint:errorlint // a class is one of four values
		return refusedLater
	}
	return stillUnknown
}

// unknown returns the error of a registration that stays in doubt. Its cause
// has all errors, the last one first, because errors.As finds the first.
func (r *registration) unknown(then string, err error) error {
	detail := errorDetail(r.doubt) + "; " + then
	if err != nil {
		detail += ": " + errorDetail(err)
	}
	return &callError{
		brand: r.client.brand, class: ErrOutcomeUnknown, detail: detail,
		cause: errors.Join(err, r.doubt, r.earlierDoubts, r.refusalError()),
	}
}

func (r *registration) refusalError() error {
	if r.refusal == nil {
		return nil
	}
	return r.refusal.err
}

// recovered returns what is known of a create whose response was lost.
func recovered(l *Lead) *EnsureLeadResponse {
	return &EnsureLeadResponse{Recovered: true, CreateLeadResponse: CreateLeadResponse{
		LeadID: l.ID, SubCampaign: l.SubCampaign, Placement: l.Placement, Keyword: l.Keyword, Sub2: l.Sub2,
		ClickID: l.ClickID, CRMID: l.CRMID,
	}}
}

// serverClock is how far the server's clock is ahead of ours. Differences of up
// to a minute count as none.
type serverClock struct {
	known bool
	ahead time.Duration
}

// learn takes the date of the first 2xx. Other responses may come from a
// gateway, which has a clock of another machine. Later dates do not count,
// because the window must not move during a search.
func (c *serverClock) learn(o *call.Outcome) {
	date := o.Date()
	if c.known || date.IsZero() || o.Status < 200 || o.Status > 299 {
		return
	}
	c.known = true
	if ahead := time.Until(date); ahead.Abs() > time.Minute {
		c.ahead = ahead
	}
}

// now returns the time of the server.
func (c *serverClock) now() time.Time { return time.Now().Add(c.ahead) }
