package main

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/riverqueue/river"

	"github.com/clixnow/clixnow-go"
)

// registration is the job that registers a sign-up. It has only the id and no
// personal data, because River keeps jobs for a day after their end.
type registration struct {
	SignupID string `json:"signup_id"`
}

// Kind returns the name of these jobs in the database.
func (registration) Kind() string { return "register" }

// timing has the durations of the worker. See the flags.
type timing struct {
	tryTimeout time.Duration
	// minWait is the wait after the first try. It doubles with each try, up to
	// maxWait.
	minWait, maxWait time.Duration
	// stopTimeout is how long a stop waits for the tries in progress before it
	// cancels them.
	stopTimeout time.Duration
}

// rescueAfter returns the time after which another worker takes a sign-up from
// a worker that seems to be dead. It is longer than tryTimeout, so that the
// first worker cannot send anything after it.
func (t timing) rescueAfter() time.Duration { return t.tryTimeout + t.tryTimeout/2 }

// wait returns the wait before the next try. It is at least the Retry-After in
// err.
func (t timing) wait(try int64, err error) time.Duration {
	wait := t.maxWait
	if doublings := try - 1; doublings < 32 && t.minWait<<doublings < t.maxWait {
		wait = t.minWait << doublings
	}
	wait -= rand.N(wait/4 + 1) //nolint:gosec // this only spreads the load
	if apiErr, ok := errors.AsType[*clixnow.APIError](err); ok {
		wait = max(wait, apiErr.RetryAfter)
	}
	return wait
}

// worker registers sign-ups. Its process may die at any time.
type worker struct {
	river.WorkerDefaults[registration]

	signups  *signups
	clixnow  *clixnow.Client
	timing   timing
	countTry func(outcome)
	log      *slog.Logger
}

// Work makes one try to register a sign-up.
func (w *worker) Work(ctx context.Context, job *river.Job[registration]) error {
	// The timeout begins when the job was taken, because rescueAfter does. The
	// current time may be much later.
	ctx, cancel := context.WithDeadline(ctx, job.AttemptedAt.Add(w.timing.tryTimeout))
	defer cancel()
	c, err := w.signups.claim(ctx, job.Args.SignupID)
	switch {
	case errors.Is(err, errWrongStatus):
		return nil
	case err != nil:
		return err
	}
	lead, err := w.clixnow.EnsureLeadSince(ctx, c.lead, c.firstAttempt)

	// The outcome is saved even if ctx has ended.
	const saveTimeout = 10 * time.Second
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	result := outcomeOf(err)
	w.countTry(result)
	switch {
	case result == succeeded:
		return w.saveRegistered(ctx, job, c, lead)
	case result == rejected:
		return w.saveRefused(ctx, job, c, err)
	case needsPerson(err, c):
		return w.saveDoubtful(ctx, job, c, err)
	default:
		return w.reschedule(ctx, job, c, result, err)
	}
}

func (w *worker) saveRegistered(ctx context.Context, job *river.Job[registration], c *claimed,
	lead *clixnow.EnsureLeadResponse,
) error {
	err := retryUntilDone(ctx, func() error { return w.signups.settleRegistered(ctx, job, c, lead) })
	if errors.Is(err, errWrongStatus) { // another worker has settled it with the same lead
		return nil
	}
	return err
}

func (w *worker) saveRefused(ctx context.Context, job *river.Job[registration], c *claimed, reason error) error {
	return w.snoozeIfClaimed(retryUntilDone(ctx, func() error {
		return w.signups.settleRefused(ctx, job, c, reason.Error(), visitorText(reason))
	}))
}

func (w *worker) saveDoubtful(ctx context.Context, job *river.Job[registration], c *claimed, reason error) error {
	w.log.ErrorContext(ctx, "a person must decide: see the status page", "job", job.ID, "try", c.tryNumber)
	return w.snoozeIfClaimed(w.signups.markDoubtful(ctx, job, c, reason.Error()))
}

// snoozeIfClaimed keeps the job if another worker has claimed the sign-up,
// because that worker has the same job.
func (w *worker) snoozeIfClaimed(err error) error {
	if errors.Is(err, errWrongStatus) {
		return river.JobSnooze(w.timing.minWait)
	}
	return err
}

func (w *worker) reschedule(ctx context.Context, job *river.Job[registration], c *claimed, result outcome,
	reason error,
) error {
	wait := w.timing.wait(c.tryNumber, reason)
	w.log.WarnContext(ctx, "will try again later", "job", job.ID, "try", c.tryNumber, "outcome", result, "wait", wait)
	if err := w.signups.postpone(ctx, c, result != unknown, time.Now().Add(wait), reason.Error()); err != nil {
		return err
	}
	return river.JobSnooze(wait) // does not count in River's MaxAttempts
}

// NextRetry returns the time of the next try of a job whose worker returned an
// error of the database, or died.
func (w *worker) NextRetry(*river.Job[registration]) time.Time {
	return time.Now().Add(w.timing.minWait)
}

// retryUntilDone retries a transaction until ctx ends. If the outcome of a
// registered lead is not saved, a later try finds the lead again, but not its
// redirect URL.
func retryUntilDone(ctx context.Context, do func() error) error {
	for {
		err := do()
		if err == nil || errors.Is(err, errWrongStatus) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// outcome is the outcome of a try.
type outcome string

const (
	succeeded   outcome = "registered"
	rejected    outcome = "refused"
	unknown     outcome = "unknown"
	notSent     outcome = "not_sent"
	rateLimited outcome = "too_many"
	// blocked means that nothing was registered, because the token or the host
	// is wrong. Every lead would fail.
	blocked outcome = "blocked"
)

var outcomes = []outcome{succeeded, rejected, unknown, notSent, rateLimited, blocked}

func outcomeOf(err error) outcome {
	switch {
	case err == nil:
		return succeeded
	case errors.Is(err, clixnow.ErrOutcomeUnknown): // first, because such an error can also match the others
		return unknown
	case errors.Is(err, clixnow.ErrNotSent):
		return notSent
	case errors.Is(err, clixnow.ErrRateLimited):
		return rateLimited
	case errors.Is(err, clixnow.ErrInvalidRequest), isLeadRefusal(err):
		return rejected
	default:
		return blocked
	}
}

// isLeadRefusal reports whether the API refused this lead. After a 401, a 403,
// a 404 or a redirect it returns false, because any lead would get that
// response.
func isLeadRefusal(err error) bool {
	apiErr, ok := errors.AsType[*clixnow.APIError](err)
	if !ok {
		return false
	}
	switch apiErr.StatusCode {
	case http.StatusBadRequest, http.StatusConflict, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// needsPerson reports whether further tries would not help. The email has been
// registered for an hour, by an earlier try or by another sign-up, and no
// search shows by which.
func needsPerson(err error, c *claimed) bool {
	const maxSearchDelay = time.Hour // longer than a search can lag behind
	return errors.Is(err, clixnow.ErrDuplicateLead) && !c.firstAttempt.IsZero() &&
		time.Since(c.firstAttempt) > maxSearchDelay
}

// visitorText returns the reason of a refusal for the visitor.
func visitorText(err error) string {
	switch {
	case errors.Is(err, clixnow.ErrDuplicateLead):
		return "You are already registered."
	case errors.Is(err, clixnow.ErrCountryNotAllowed):
		return "Sign-ups from your country are not accepted."
	default:
		return "Your sign-up was not accepted. Please check what you entered."
	}
}

// deadlineLimiter is a [clixnow.RateLimiter] that refuses to send after the
// deadline of a try, by the wall clock. The context also ends then. But after a
// process was suspended, it may send before the context's timer runs, while
// another worker already has the sign-up.
type deadlineLimiter struct{}

// Wait returns at once.
func (deadlineLimiter) Wait(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && time.Now().Round(0).After(deadline.Round(0)) {
		return context.DeadlineExceeded
	}
	return nil
}
