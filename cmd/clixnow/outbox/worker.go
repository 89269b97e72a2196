package main

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/riverqueue/river"

	"github.com/clixnow/clixnow-go"
)

// registration is the job of registering a sign-up. It has no more than the id:
// River keeps jobs a day longer than they last.
type registration struct {
	SignupID string `json:"signup_id"`
}

// Kind is the name of such jobs in the database.
func (registration) Kind() string { return "register" }

// pace is how long a try may take, and how long until the next one: first,
// twice as long each time, at most last. A stop waits so long for tries that
// are under way before it ends them.
type pace struct{ try, first, last, stop time.Duration }

// rescue is after what time a worker that has a sign-up is taken for dead. Its
// last send is long over then.
func (p pace) rescue() time.Duration { return p.try + p.try/2 }

// wait is the time until the next try. That of a server that asks for more is
// kept.
func (p pace) wait(try int64, err error) time.Duration {
	wait := p.last
	if doublings := try - 1; doublings < 32 && p.first<<doublings < p.last {
		wait = p.first << doublings
	}
	wait -= rand.N(wait/4 + 1) //nolint:gosec // spreads load; nothing to guess
	if apiErr, ok := errors.AsType[*clixnow.APIError](err); ok {
		wait = max(wait, apiErr.RetryAfter)
	}
	return wait
}

// worker registers sign-ups. It may die at any moment.
type worker struct {
	river.WorkerDefaults[registration]

	signups *signups
	clixnow *clixnow.Client
	pace    pace
	tried   func(outcome)
	log     *slog.Logger
}

// Work is one try.
func (w *worker) Work(ctx context.Context, job *river.Job[registration]) error {
	// From when the job was taken, as the rescue reckons it too; not from now,
	// which may be much later.
	ctx, cancel := context.WithDeadline(ctx, job.AttemptedAt.Add(w.pace.try))
	defer cancel()
	c, err := w.signups.claim(ctx, job.Args.SignupID)
	switch {
	case errors.Is(err, errNothingToDo):
		return nil
	case err != nil:
		return err
	}
	lead, err := w.clixnow.EnsureLeadSince(ctx, c.lead, c.firstAttempt) // a zero time: EnsureLead

	// What became of it is written down whatever ended the try.
	const within = 10 * time.Second
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), within)
	defer cancel()
	result := outcomeOf(err)
	w.tried(result)
	switch {
	case result == succeeded:
		return w.registered(ctx, job, c, lead)
	case result == judged:
		return w.refused(ctx, job, c, err)
	case hopeless(err, c):
		return w.doubtful(ctx, job, c, err)
	default:
		return w.later(ctx, job, c, result, err)
	}
}

func (w *worker) registered(ctx context.Context, job *river.Job[registration], c *claimed,
	lead *clixnow.EnsureLeadResponse,
) error {
	err := insist(ctx, func() error { return w.signups.settleRegistered(ctx, job, c, lead) })
	if errors.Is(err, errNothingToDo) { // another worker was first, with the same lead
		return nil
	}
	return err
}

func (w *worker) refused(ctx context.Context, job *river.Job[registration], c *claimed, reason error) error {
	err := insist(ctx, func() error { return w.signups.settleRefused(ctx, job, c, reason.Error(), forVisitor(reason)) })
	return w.unlessClaimed(err)
}

func (w *worker) doubtful(ctx context.Context, job *river.Job[registration], c *claimed, reason error) error {
	w.log.ErrorContext(ctx, "for a person to decide: see the status page", "job", job.ID, "try", c.try)
	return w.unlessClaimed(w.signups.leaveToPerson(ctx, job, c, reason.Error()))
}

// unlessClaimed keeps the job alive where another worker has the sign-up now:
// its job is this one.
func (w *worker) unlessClaimed(err error) error {
	if errors.Is(err, errNothingToDo) {
		return river.JobSnooze(w.pace.first)
	}
	return err
}

func (w *worker) later(ctx context.Context, job *river.Job[registration], c *claimed, result outcome,
	reason error,
) error {
	wait := w.pace.wait(c.try, reason)
	w.log.WarnContext(ctx, "will be tried again", "job", job.ID, "try", c.try, "outcome", result, "wait", wait)
	if err := w.signups.postpone(ctx, c, result != unknown, time.Now().Add(wait), reason.Error()); err != nil {
		return err
	}
	return river.JobSnooze(wait) // which is not counted as one of the attempts that River grants
}

// NextRetry is when a job comes again that ended with an error, which is one of
// the database, or by its worker's death.
func (w *worker) NextRetry(*river.Job[registration]) time.Time { return time.Now().Add(w.pace.first) }

// insist does again what the database failed to do, until ctx ends: a lead that
// is registered but not settled will be found again, but its redirect URL will
// not.
func insist(ctx context.Context, do func() error) error {
	for {
		err := do()
		if err == nil || errors.Is(err, errNothingToDo) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// An outcome is what a try came to.
type outcome string

const (
	succeeded outcome = "registered"
	judged    outcome = "refused"
	unknown   outcome = "unknown" // the lead may be registered
	notSent   outcome = "not_sent"
	tooMany   outcome = "too_many"
	blocked   outcome = "blocked" // the fault of token or host, not of the lead; nothing was registered
)

var outcomes = []outcome{succeeded, judged, unknown, notSent, tooMany, blocked}

func outcomeOf(err error) outcome {
	switch {
	case err == nil:
		return succeeded
	case errors.Is(err, clixnow.ErrOutcomeUnknown): // before any reason, which may be that of a later attempt
		return unknown
	case errors.Is(err, clixnow.ErrNotSent):
		return notSent
	case errors.Is(err, clixnow.ErrRateLimited):
		return tooMany
	case errors.Is(err, clixnow.ErrInvalidRequest), isJudgement(err):
		return judged
	default:
		return blocked
	}
}

// isJudgement tells whether the API answered something about the lead. A 401, a
// 403, a 404 or a redirect would be answered to any lead: it is delivered again
// when that is mended.
func isJudgement(err error) bool {
	answer, ok := errors.AsType[*clixnow.APIError](err)
	return ok &&
		slices.Contains([]int{http.StatusBadRequest, http.StatusConflict, http.StatusUnprocessableEntity},
			answer.StatusCode)
}

// hopeless tells that more tries would not help: the email is registered, by an
// earlier try or by somebody else, and no search has shown which for an hour.
func hopeless(err error, c *claimed) bool {
	const lag = time.Hour // of searches, to be on the safe side
	return errors.Is(err, clixnow.ErrDuplicateLead) && !c.firstAttempt.IsZero() && time.Since(c.firstAttempt) > lag
}

// forVisitor says why a lead was refused to whom it is about.
func forVisitor(err error) string {
	switch {
	case errors.Is(err, clixnow.ErrDuplicateLead):
		return "You are registered already."
	case errors.Is(err, clixnow.ErrCountryNotAllowed):
		return "Sign-ups from your country are not taken."
	default:
		return "Your sign-up was not accepted. Please check what you entered."
	}
}

// onTime is a [clixnow.RateLimiter] that lets nothing be sent once the time of
// a try is over, by the wall clock. A context tells that too, but a process
// that was suspended may send before it is told, while another worker has the
// sign-up already.
type onTime struct{}

// Wait returns at once.
func (onTime) Wait(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && time.Now().Round(0).After(deadline.Round(0)) {
		return context.DeadlineExceeded
	}
	return nil
}
