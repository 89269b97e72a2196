package main

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
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
	// refusedWaits has the waits after temporary refusals, the first refusal
	// first. After one more refusal, a person must decide.
	refusedWaits []time.Duration
	// stopTimeout is how long a stop waits for the tries in progress before it
	// cancels them.
	stopTimeout time.Duration
}

// defaultTiming returns the durations that have no flags.
func defaultTiming() timing {
	return timing{
		minWait: time.Second, stopTimeout: 10 * time.Second,
		refusedWaits: []time.Duration{5 * time.Minute, 15 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour},
	}
}

// rescueAfter returns the time after which another worker takes a sign-up from
// a worker that seems to be dead. It is longer than tryTimeout, so that the
// first worker cannot send anything after it.
func (t timing) rescueAfter() time.Duration { return t.tryTimeout + t.tryTimeout/2 }

// wait returns the wait before the next try, after a try that ended with err.
// It is at least the Retry-After in err.
func (t timing) wait(c *claimed, err error) time.Duration {
	wait := t.maxWait
	if doublings := c.tryNumber - 1; doublings < 32 && t.minWait<<doublings < t.maxWait {
		wait = t.minWait << doublings
	}
	wait -= rand.N(wait/4 + 1) //nolint:gosec // this only spreads the load
	if isTemporary(err) {
		wait = t.refusedWaits[c.refusals]
	}
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
	countTry func(error)
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
	w.countTry(err)
	switch {
	case err == nil:
		return w.saveRegistered(ctx, job, c, lead)
	case isFinal(err):
		return w.saveRefused(ctx, job, c, err)
	case w.timing.needsPerson(c, err):
		return w.saveDoubtful(ctx, job, c, err)
	default:
		return w.reschedule(ctx, job, c, err)
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
		return w.signups.settleRefused(ctx, job, c, reason.Error(),
			visitorText(clixnow.ReasonOf(reason)))
	}))
}

func (w *worker) saveDoubtful(ctx context.Context, job *river.Job[registration], c *claimed, reason error) error {
	w.log.ErrorContext(ctx, "a person must decide: see the status page", "job", job.ID, "try", c.tryNumber)
	return w.snoozeIfClaimed(w.signups.markDoubtful(ctx, job, c, reason))
}

// snoozeIfClaimed keeps the job if another worker has claimed the sign-up,
// because that worker has the same job.
func (w *worker) snoozeIfClaimed(err error) error {
	if errors.Is(err, errWrongStatus) {
		return river.JobSnooze(w.timing.minWait)
	}
	return err
}

func (w *worker) reschedule(ctx context.Context, job *river.Job[registration], c *claimed, reason error) error {
	wait := w.timing.wait(c, reason)
	w.log.WarnContext(ctx, "will retry later", "job", job.ID, "try", c.tryNumber,
		"outcome", clixnow.OutcomeOf(reason), "reason", clixnow.ReasonOf(reason), "wait", wait)
	if err := w.signups.postpone(ctx, c, reason, time.Now().Add(wait)); err != nil {
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

// isFinal reports whether the brand would refuse the lead each time.
func isFinal(err error) bool {
	switch clixnow.ReasonOf(err) {
	case clixnow.ReasonInvalid, clixnow.ReasonDuplicate, clixnow.ReasonCountry:
		return true
	default:
		return false
	}
}

// isTemporary reports whether the brand refused the lead and may take it some
// hours later. ReasonAccess is not such a reason: every lead is refused until a
// person fixes the token or the host.
func isTemporary(err error) bool {
	reason := clixnow.ReasonOf(err)
	return reason == clixnow.ReasonNoCapacity || reason == clixnow.ReasonOther
}

// needsPerson reports whether a person must decide after a try that ended with
// err. Either the brand has refused the lead too often, or the lead has been in
// doubt for so long that further searches would not help.
func (t timing) needsPerson(c *claimed, err error) bool {
	// These times are longer than a search can lag behind, and longer than an
	// outage of the API.
	const maxSearchDelay, maxOutage = time.Hour, 24 * time.Hour
	switch {
	case isTemporary(err):
		return c.refusals >= len(t.refusedWaits)
	case c.firstAttempt.IsZero() || clixnow.OutcomeOf(err) != clixnow.OutcomeUnknown:
		return false
	case errors.Is(err, clixnow.ErrDuplicateLead):
		return time.Since(c.firstAttempt) > maxSearchDelay
	default:
		return time.Since(c.firstAttempt) > maxOutage
	}
}

// visitorText returns the reason of a final refusal for the visitor.
func visitorText(reason clixnow.Reason) string {
	switch reason {
	case clixnow.ReasonDuplicate:
		return "You are already registered."
	case clixnow.ReasonCountry:
		return "Sign-ups from your country are not accepted."
	case clixnow.ReasonInvalid:
		return "Your sign-up was not accepted. Please check what you entered."
	default:
		return "Your sign-up was not accepted."
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
