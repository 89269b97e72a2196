package outbox

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/rivertype"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/router"
)

const (
	maxAttempts = math.MaxInt16
	// saveTimeout limits the time to save an outcome after the try has ended.
	saveTimeout = 10 * time.Second
	// maxRetryAfter limits the wait that a brand asks for. Some send a moment
	// in seconds since 1970.
	maxRetryAfter = time.Hour
)

// timing has the durations that have no options.
type timing struct {
	// minWait is the wait after the first try that was not sent. It doubles
	// with each try, up to maxWait.
	minWait, maxWait time.Duration
	// schedule has the waits after refusals that may pass and of sign-ups in
	// doubt. After the last one, a person must decide.
	schedule []time.Duration
	// stopTimeout is how long a stop waits for the tries in progress before it
	// cancels them.
	stopTimeout time.Duration
	// maintenance is the time between two deletions of old data, and checkpoint
	// that between two checkpoints of SQLite.
	maintenance, checkpoint time.Duration
}

func (t timing) withDefaults() timing {
	if t.minWait > 0 {
		return t
	}
	return timing{
		minWait: time.Second, maxWait: 5 * time.Minute, stopTimeout: 10 * time.Second,
		maintenance: time.Minute, checkpoint: 5 * time.Second,
		schedule: []time.Duration{5 * time.Minute, 15 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour},
	}
}

// rescueAfter returns the time after which another worker takes a sign-up from
// a worker that seems to be dead. It is longer than TryTimeout, so that the
// first worker cannot send anything after it.
func (opts *Options) rescueAfter() time.Duration { return opts.TryTimeout + opts.TryTimeout/2 }

// Work registers sign-ups until ctx ends. Then it gives the tries in progress
// ten seconds to end, and returns nil. The next worker finds out the outcome of
// those that it had to cancel. Any number of processes can work with one
// PostgreSQL database. With SQLite only one can, and Work returns ErrLocked if
// another one works.
func (o *Outbox) Work(ctx context.Context) error {
	if len(o.opts.Routes) == 0 {
		return errors.New("outbox: Work needs Routes")
	}
	unlock := func() {}
	if o.dialect == SQLite {
		var err error
		if unlock, err = o.lockSQLite(ctx); err != nil {
			return unlessEnded(ctx, err)
		}
	}
	defer unlock()
	workers := river.NewWorkers()
	river.AddWorker(workers, &worker{o: o})
	client, err := river.NewClient(o.driver(), &river.Config{
		Queues:                      map[string]river.QueueConfig{queue: {MaxWorkers: o.opts.Workers}},
		Workers:                     workers,
		FetchCooldown:               10 * time.Millisecond,
		FetchPollInterval:           o.opts.PollInterval,
		JobTimeout:                  o.opts.TryTimeout + o.opts.TryTimeout/4, // the one of register is shorter
		RescueStuckJobsAfter:        o.opts.rescueAfter(),
		CompletedJobRetentionPeriod: 10 * time.Minute,
		MaxAttempts:                 maxAttempts,
		SoftStopTimeout:             o.opts.timing.stopTimeout,
		Logger:                      o.riverLogger(),
	})
	if err != nil {
		return databaseError("work", err)
	}
	if err := client.Start(ctx); err != nil {
		return unlessEnded(ctx, databaseError("work", err))
	}
	o.maintain(ctx, client.Stopped())
	return nil
}

// unlessEnded returns nil if ctx ended before the work began.
func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// maintain deletes old data until the worker has stopped.
func (o *Outbox) maintain(ctx context.Context, stopped <-chan struct{}) {
	maintenance, checkpoint := time.NewTicker(o.opts.timing.maintenance), time.NewTicker(o.opts.timing.checkpoint)
	defer maintenance.Stop()
	defer checkpoint.Stop()
	o.deleteOld(ctx)
	for {
		select {
		case <-stopped:
			o.checkpoint(context.WithoutCancel(ctx))
			return
		case <-maintenance.C:
			o.deleteOld(ctx)
		case <-checkpoint.C:
			o.checkpoint(ctx)
		}
	}
}

// deleteOld deletes settled sign-ups after Keep, and redirect URLs when no
// token can show them any more.
func (o *Outbox) deleteOld(ctx context.Context) {
	statements := map[string]time.Duration{
		`UPDATE outbox_signups SET redirect_url = '' WHERE settled_at > 0 AND settled_at < $1 AND redirect_url <> ''
			AND id IN (SELECT id FROM outbox_signups WHERE settled_at > 0 AND settled_at < $1 AND redirect_url <> ''
			LIMIT 1000)`: o.opts.TokenLifetime,
	}
	if o.opts.Keep > 0 {
		statements[`DELETE FROM outbox_signups WHERE id IN (SELECT id FROM outbox_signups
			WHERE settled_at > 0 AND settled_at < $1 LIMIT 1000)`] = o.opts.Keep
	}
	for statement, age := range statements {
		for more := true; more && ctx.Err() == nil; {
			err := o.transact(ctx, "delete old sign-ups", func(ctx context.Context, tx *sql.Tx) error {
				result, err := tx.ExecContext(ctx, statement, time.Now().Add(-age).UnixMilli())
				if err != nil {
					return err
				}
				rows, err := result.RowsAffected()
				more = rows == 1000
				return err
			})
			if err != nil {
				if ctx.Err() == nil {
					o.opts.Logger.WarnContext(ctx, "old sign-ups cannot be deleted", "error", err)
				}
				return
			}
		}
	}
}

// riverLogger returns River's logger. River reports at the level Info what
// nobody needs to know.
func (o *Outbox) riverLogger() *slog.Logger { return slog.New(warnings{o.opts.Logger.Handler()}) }

// warnings is a handler that drops records below the level Warn.
type warnings struct{ slog.Handler }

// Enabled reports whether a record is kept.
func (w warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && w.Handler.Enabled(ctx, level)
}

// worker registers sign-ups. Its process may die at any time.
type worker struct {
	river.WorkerDefaults[registration]

	o *Outbox
}

// claimed is a sign-up that a worker is about to register. Its Tries is the
// number of this try, and a later claim has a higher one.
type claimed struct {
	*Signup

	password, history string
}

// Work makes one try to register a sign-up.
func (w *worker) Work(ctx context.Context, job *river.Job[registration]) error {
	o := w.o
	c, err := o.claim(ctx, job)
	switch {
	case errors.Is(err, ErrWrongStatus):
		return nil
	case err != nil:
		return err
	}
	if o.opts.Restore != nil && c.carried != "" {
		ctx = o.opts.Restore(ctx, c.carried)
	}
	began := time.Now()
	result, err := o.register(ctx, job, c)
	if o.opts.Tried != nil {
		o.opts.Tried(ctx, *c.Signup, err)
	}
	if errors.Is(err, errLostClaim) { // nothing was sent
		return river.JobSnooze(o.opts.timing.minWait)
	}
	// The outcome is saved even if ctx has ended.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	e := o.endOf(c, result, err)
	e.change.At, e.change.Took = began, time.Since(began)
	if e.status != Pending {
		return o.settle(ctx, job, c, e)
	}
	o.opts.Logger.DebugContext(ctx, "a sign-up is retried later", "id", c.ID, "try", c.Tries, "outcome",
		e.change.Outcome,
		"reason", e.change.Reason, "wait", e.wait)
	switch err := o.save(ctx, nil, c, e); {
	case errors.Is(err, errLostClaim):
		return river.JobSnooze(o.opts.timing.minWait)
	case err != nil:
		return err
	}
	return river.JobSnooze(e.wait) // does not count in River's MaxAttempts
}

// NextRetry returns the time of the next try of a job whose worker returned an
// error of the database, or died.
func (w *worker) NextRetry(*river.Job[registration]) time.Time {
	return time.Now().Add(w.o.opts.timing.minWait)
}

// claim records that a try begins. It must be called before anything is sent.
// If the sign-up is not pending, or has another job, it returns ErrWrongStatus.
//
// River's own count of attempts cannot be used for this. A snooze or a stop
// decreases it.
func (o *Outbox) claim(ctx context.Context, job *river.Job[registration]) (*claimed, error) {
	c := &claimed{}
	err := o.transact(ctx, "claim a sign-up", func(ctx context.Context, tx *sql.Tx) (err error) {
		row := tx.QueryRowContext(ctx, `UPDATE outbox_signups SET tries = tries + 1, next_try_at = 0
			WHERE id = $1 AND job_id = $2 AND status = 'pending' RETURNING `+columns+", password, history",
			job.Args.SignupID, job.ID)
		c.Signup, err = scan(row.Scan, &c.password, &c.history)
		c.password = strings.TrimPrefix(c.password, padding)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrWrongStatus
		}
		return err
	})
	return c, err
}

// errLostClaim means that a later claim or a correction has taken the sign-up.
var errLostClaim = errors.New("another worker has taken the sign-up")

// register makes one try at the brands.
func (o *Outbox) register(
	ctx context.Context, job *river.Job[registration], c *claimed,
) (result *router.Result, err error) {
	// The timeout begins when the job was taken, because rescueAfter does. It
	// is one of the wall clock: Round removes the other one. The client
	// compares it with the clock before each attempt, so that a process that
	// was suspended sends nothing later.
	began := time.Now()
	if job.AttemptedAt != nil && job.AttemptedAt.Before(began) {
		began = *job.AttemptedAt
	}
	ctx, cancel := context.WithDeadline(ctx, began.Round(0).Add(o.opts.TryTimeout))
	defer cancel()
	start := map[string]time.Time{}
	r := &router.Router{Routes: o.opts.Routes, Begin: func(ctx context.Context, a router.Attempt) error {
		start[a.Brand] = time.Now()
		return o.saveAttempt(ctx, c, a)
	}}
	req := c.Lead
	req.Password = c.password
	start[c.FirstAttempt.Brand] = began
	result, err = r.Register(ctx, req, c.FirstAttempt)
	o.observe(result, err, start)
	return result, err
}

// saveAttempt saves that the lead is about to be sent to a brand.
func (o *Outbox) saveAttempt(ctx context.Context, c *claimed, a router.Attempt) error {
	return o.transact(ctx, "save an attempt", func(ctx context.Context, tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `UPDATE outbox_signups SET attempt_brand = $3, attempt_since = $4
			WHERE id = $1 AND tries = $2 AND status = 'pending'`, c.ID, c.Tries, a.Brand, toMilli(a.Since))
		if err != nil {
			return err
		}
		rows, err := result.RowsAffected()
		if err == nil && rows == 0 {
			return errLostClaim
		}
		return err
	})
}

// end is how a try ends.
type end struct {
	status      Status
	result      *router.Result
	reason      clixnow.Reason
	problem     string
	attempt     router.Attempt
	wait        time.Duration
	waits       int64
	change      Change
	settledTime time.Time
}

// endOf decides how a try ends.
func (o *Outbox) endOf(c *claimed, result *router.Result, err error) end {
	e := end{
		status: Pending, result: result, reason: clixnow.ReasonOf(err), waits: c.waits,
		change: Change{
			Kind: ChangeTried, Outcome: clixnow.OutcomeOf(err).String(), Reason: clixnow.ReasonOf(err).String(),
		},
	}
	if err == nil {
		e.status, e.settledTime, e.change.Brand = Registered, time.Now(), result.Brand
		return e
	}
	e.problem, e.attempt = clean(err.Error()), router.InDoubt(err)
	e.change.Problem = e.problem
	var failed *router.Error
	if errors.As(err, &failed) && len(failed.Tried) > 0 {
		e.change.Brand = failed.Tried[len(failed.Tried)-1].Brand
	}
	switch {
	case isFinal(err):
		e.status, e.settledTime = Refused, time.Now()
	case o.opts.needsPerson(c, err):
		e.status = Doubtful
	default:
		e.wait = o.opts.wait(c, err)
		if o.opts.usesSchedule(c, err) {
			e.waits++
		}
	}
	return e
}

// settle saves the end of a try and completes the job, in one transaction. If
// the outcome of a registered lead is not saved, a later try finds the lead
// again, but not its redirect URL. So settle tries until ctx ends.
func (o *Outbox) settle(ctx context.Context, job *river.Job[registration], c *claimed, e end) error {
	for {
		err := o.save(ctx, job, c, e)
		switch {
		case errors.Is(err, errLostClaim) && e.status == Registered: // another worker has settled it with the same lead
			return nil
		case errors.Is(err, errLostClaim): // that worker has the same job
			return river.JobSnooze(o.opts.timing.minWait)
		case err == nil:
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// save saves the end of a try. It returns errLostClaim if another worker has
// claimed the sign-up since: that worker may have sent the lead, and this one
// was refused as its duplicate. A registered lead is saved in any case, unless
// the sign-up is already settled. job is completed, unless it is nil.
func (o *Outbox) save(ctx context.Context, job *river.Job[registration], c *claimed, e end) error {
	lead := router.Result{Lead: &clixnow.EnsureLeadResponse{}}
	history, set, tries := e.change.line(), "history = history || $12", int64(math.MaxInt64)
	if e.status != Registered {
		history, set, tries = withTry(c.history, e.change), "history = $12", c.Tries
	} else {
		lead = *e.result
	}
	if !e.settledTime.IsZero() {
		set += ", password = ''"
	}
	var nextTry time.Time
	if e.status == Pending {
		nextTry = time.Now().Add(e.wait)
	}
	var settled *Signup
	err := o.transact(ctx, "save the end of a try", func(ctx context.Context, tx *sql.Tx) error {
		rows, err := query(ctx, tx, `UPDATE outbox_signups SET status = $3, settled_at = $4, brand = $5, lead_id = $6,
			redirect_url = $7, problem = $8, reason = $9, attempt_brand = $10, attempt_since = $11, waits = $13,
			next_try_at = $14, `+set+" WHERE id = $1 AND status = 'pending' AND tries <= $2 RETURNING "+columns,
			c.ID, tries, e.status, toMilli(e.settledTime), lead.Brand, lead.Lead.LeadID, clean(lead.Lead.RedirectURL),
			e.problem, e.reason.String(), e.attempt.Brand, toMilli(e.attempt.Since), history, e.waits,
			toMilli(nextTry))
		switch {
		case err != nil:
			return err
		case len(rows) == 0:
			return errLostClaim
		case job == nil:
			return nil
		}
		settled = &rows[0]
		if err := complete(ctx, tx, job); err != nil {
			return err
		}
		return o.callSettled(ctx, tx, settled)
	})
	if err == nil && settled != nil {
		o.announce(ctx, settled, e.change)
	}
	return err
}

// complete completes a job. If the job is not running, it was taken from this
// worker, because the worker seemed to be dead. Then complete does nothing: the
// next run of the job will find that the sign-up is settled.
func complete(ctx context.Context, tx *sql.Tx, job *river.Job[registration]) error {
	_, err := river.JobCompleteTx[riverdriver.Driver[*sql.Tx]](ctx, tx, job)
	if errors.Is(err, rivertype.ErrNotFound) {
		return nil
	}
	return err
}

func (o *Outbox) callSettled(ctx context.Context, tx *sql.Tx, s *Signup) error {
	if o.opts.Settled == nil {
		return nil
	}
	return o.opts.Settled(ctx, tx, *s)
}

// announce tells Wait and Ended that a sign-up is settled, and writes the
// line about it, which has no data of the lead.
func (o *Outbox) announce(ctx context.Context, s *Signup, try Change) {
	o.waiters.notify(s)
	if o.opts.Ended != nil {
		o.opts.Ended(*s)
	}
	level, message := slog.LevelInfo, "a sign-up is "+string(s.Status)
	if s.Status == Doubtful {
		level, message = slog.LevelError, "a person must decide about a sign-up"
	}
	o.opts.Logger.Log(ctx, level, message, "id", s.ID, "brand", try.Brand, "outcome", try.Outcome, "reason", try.Reason,
		"tries", s.Tries, "duration", time.Since(s.CreatedAt).Round(time.Millisecond))
}

// isFinal reports whether the brands would refuse the lead each time.
func isFinal(err error) bool {
	switch clixnow.ReasonOf(err) {
	case clixnow.ReasonInvalid, clixnow.ReasonDuplicate, clixnow.ReasonCountry:
		return true
	default:
		return false
	}
}

// isTemporary reports whether the brands refused the lead and may take it some
// hours later. ReasonAccess is not such a reason: every lead is refused until a
// person fixes the token or the host.
func isTemporary(err error) bool {
	reason := clixnow.ReasonOf(err)
	return reason == clixnow.ReasonNoCapacity || reason == clixnow.ReasonOther
}

// usesSchedule reports whether the next wait is one of the schedule. A sign-up
// in doubt is first retried soon, because most outages are short.
func (opts *Options) usesSchedule(c *claimed, err error) bool {
	return isTemporary(err) || clixnow.OutcomeOf(err) == clixnow.OutcomeUnknown &&
		opts.backoff(c) == opts.timing.maxWait
}

// needsPerson reports whether a person must decide after a try that ended with
// err. Either the schedule has ended, or the lead is a duplicate that no search
// has shown for longer than a search can lag behind.
func (opts *Options) needsPerson(c *claimed, err error) bool {
	const maxSearchDelay = time.Hour
	inDoubt := clixnow.OutcomeOf(err) == clixnow.OutcomeUnknown && !c.FirstAttempt.Since.IsZero()
	return opts.usesSchedule(c, err) && c.waits >= int64(len(opts.timing.schedule)) ||
		inDoubt && errors.Is(err, clixnow.ErrDuplicateLead) && time.Since(c.FirstAttempt.Since) > maxSearchDelay
}

// backoff returns the wait after a try that was not sent. It doubles with each
// try.
func (opts *Options) backoff(c *claimed) time.Duration {
	doublings := max(0, c.Tries-1)
	if doublings < 32 && opts.timing.minWait<<doublings < opts.timing.maxWait {
		return opts.timing.minWait << doublings
	}
	return opts.timing.maxWait
}

// wait returns the wait before the next try, after a try that ended with err.
// It is at least the Retry-After in err, up to an hour.
func (opts *Options) wait(c *claimed, err error) time.Duration {
	wait := opts.backoff(c)
	wait -= rand.N(wait/4 + 1) //nolint:gosec // this only spreads the load
	if opts.usesSchedule(c, err) {
		wait = opts.timing.schedule[c.waits]
	}
	if apiErr, ok := errors.AsType[*clixnow.APIError](err); ok {
		wait = max(wait, min(apiErr.RetryAfter, maxRetryAfter))
	}
	return wait
}
