package outbox

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/riverqueue/river"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/router"
	"github.com/clixnow/clixnow-go/store/internal/tables"
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
	// maintenance is the time between two deletions of old data.
	maintenance time.Duration
	// probe is the time between two leads that are sent to a brand that fails.
	probe time.Duration
}

func (t timing) withDefaults() timing {
	if t.minWait > 0 {
		return t
	}
	return timing{
		minWait: time.Second, maxWait: 5 * time.Minute, stopTimeout: 10 * time.Second,
		maintenance: 5 * time.Second, probe: 10 * time.Second,
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
	if o.dialect == SQLite {
		unlock, err := o.lockSQLite(ctx)
		switch {
		case err == nil:
			defer unlock()
		case ctx.Err() != nil:
			return nil
		default:
			return err
		}
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, &worker{o: o, stopping: ctx.Done()})
	client, err := river.NewClient(o.driver(), &river.Config{
		// River's notifications would ask SQLite even more often.
		PollOnly:                    true,
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
		if ctx.Err() != nil {
			return nil
		}
		return databaseError("work", err)
	}
	o.maintain(ctx, client.Stopped())
	return nil
}

// maintain deletes old data until the worker has stopped.
func (o *Outbox) maintain(ctx context.Context, stopped <-chan struct{}) {
	ticker := time.NewTicker(o.opts.timing.maintenance)
	defer ticker.Stop()
	for {
		select {
		case <-stopped:
			o.checkpoint(context.WithoutCancel(ctx))
			return
		case <-ticker.C:
			o.deleteOld(ctx)
			o.checkpoint(ctx)
		}
	}
}

// deleteOld deletes settled sign-ups after Keep, and redirect URLs when no
// token can show them any more.
func (o *Outbox) deleteOld(ctx context.Context) {
	o.repeat(ctx, o.opts.TokenLifetime, `UPDATE outbox_signups SET redirect_url = '' WHERE id IN
		(SELECT id FROM outbox_signups WHERE settled_at < $1 AND redirect_url <> '' LIMIT 1000)`)
	if o.opts.Keep > 0 {
		o.repeat(ctx, o.opts.Keep, `DELETE FROM outbox_signups WHERE id IN
			(SELECT id FROM outbox_signups WHERE settled_at < $1 LIMIT 1000)`)
	}
}

// repeat runs a statement for what is older than age until it changes no rows.
func (o *Outbox) repeat(ctx context.Context, age time.Duration, statement string) {
	for rows := int64(1); rows > 0 && ctx.Err() == nil; {
		err := o.transact(ctx, "delete old sign-ups", func(ctx context.Context, tx *sql.Tx) (err error) {
			rows, err = exec(ctx, tx, statement, tables.Time(time.Now().Add(-age)))
			return err
		})
		if err != nil {
			o.opts.Logger.WarnContext(ctx, "old sign-ups cannot be deleted", "error", err)
			return
		}
	}
}

// riverLogger returns River's logger. River reports at the level Info what no
// operator needs to know, and each failure of the database many times.
func (o *Outbox) riverLogger() *slog.Logger { return slog.New(riverLog{o.opts.Logger.Handler(), o}) }

// riverLog is a handler that drops records below the level Warn, and all but
// one in ten seconds of the others.
type riverLog struct {
	slog.Handler

	o *Outbox
}

// Enabled reports whether a record is kept.
func (l riverLog) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && l.Handler.Enabled(ctx, level)
}

// Handle writes a record, unless another one was written just before.
func (l riverLog) Handle(ctx context.Context, record slog.Record) error {
	if !l.o.mayLogFailure() {
		return nil
	}
	return l.Handler.Handle(ctx, record)
}

// worker registers sign-ups. Its process may die at any time.
type worker struct {
	river.WorkerDefaults[registration]

	o *Outbox
	// stopping is closed when the worker begins to stop.
	stopping <-chan struct{}
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
	if !w.waitForBrand() {
		return river.JobSnooze(0)
	}
	w.letVisitorsPass()
	c, err := o.claim(ctx, job)
	switch {
	case errors.Is(err, ErrWrongStatus):
		return nil
	case err != nil:
		o.logFailure(ctx, err)
		return err
	}
	if c.carried != "" {
		ctx = o.opts.Restore(ctx, c.carried)
	}
	began := time.Now()
	result, err := o.register(ctx, job, c)
	o.opts.Tried(ctx, *c.Signup, err)
	if errors.Is(err, errLostClaim) { // nothing was sent
		return river.JobSnooze(o.opts.timing.minWait)
	}
	e := o.endOf(c, result, err)
	e.change.At, e.change.Took = began, time.Since(began)
	err = o.saveUntilDone(ctx, c, &e)
	switch {
	case errors.Is(err, errLostClaim) && e.Status == Registered: // another worker has settled it with the same lead
		return nil
	case errors.Is(err, errLostClaim): // that worker has the same job
		return river.JobSnooze(o.opts.timing.minWait)
	case err != nil:
		o.logFailure(ctx, err)
		return err
	case e.Status == Pending:
		return river.JobSnooze(e.wait) // does not count in River's MaxAttempts
	}
	return nil
}

// waitForBrand waits while all brands fail. The sign-ups stay in the queue, and
// one in a while finds out whether a brand works again. It returns false if the
// job must go back into the queue.
func (w *worker) waitForBrand() bool {
	opts := &w.o.opts
	end := time.After(opts.TryTimeout / 4) // a part of it must remain for the try
	for !w.o.brands.mayBegin(opts.Routes, opts.timing.probe) {
		select {
		case <-time.After(opts.timing.probe / 50):
		case <-end:
			return false
		case <-w.stopping:
			return false
		}
	}
	return true
}

// letVisitorsPass waits a moment while many calls of Add wait. A registration
// can wait, but a visitor who gets no answer is lost.
func (w *worker) letVisitorsPass() {
	const many, steps, step = 10, 25, 10 * time.Millisecond
	for range steps {
		if w.o.adding.Waiting() < many {
			return
		}
		time.Sleep(step)
	}
}

// logFailure writes a line about a failure of the database.
func (o *Outbox) logFailure(ctx context.Context, err error) {
	if ctx.Err() == nil && o.mayLogFailure() {
		o.opts.Logger.ErrorContext(ctx, "the database fails; the sign-ups are retried", "error", err)
	}
}

// mayLogFailure allows one line about a failure in ten seconds.
func (o *Outbox) mayLogFailure() bool {
	now, last := time.Now().Unix(), o.failureAt.Load()
	return now-last >= 10 && o.failureAt.CompareAndSwap(last, now)
}

// NextRetry returns the time of the next try of a job whose worker returned an
// error of the database, or died.
func (w *worker) NextRetry(*river.Job[registration]) time.Time {
	return time.Now().Add(w.o.opts.timing.minWait)
}

// claimStatement is the one of claim.
const claimStatement = `UPDATE outbox_signups SET tries = tries + 1, next_try_at = NULL
	WHERE id = $1 AND job_id = $2 AND status = 'pending' RETURNING ` + columns + ", password, history"

// claim records that a try begins. It must be called before anything is sent.
// If the sign-up is not pending, or has another job, it returns ErrWrongStatus.
//
// River's own count of attempts cannot be used for this. A snooze or a stop
// decreases it.
func (o *Outbox) claim(ctx context.Context, job *river.Job[registration]) (*claimed, error) {
	c := &claimed{}
	err := o.single(ctx, "claim a sign-up", func(ctx context.Context, db querier) (err error) {
		rows, err := db.QueryContext(ctx, claimStatement, job.Args.SignupID, job.ID)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }() // rows.Err returns the error
		if !rows.Next() {
			return cmp.Or(rows.Err(), ErrWrongStatus)
		}
		c.Signup, err = scan(rows.Scan, &c.password, &c.history)
		c.password = strings.TrimPrefix(c.password, padding)
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
	if brand := c.FirstAttempt.Brand; brand != "" && !o.brands.mayTry(brand, o.opts.timing.probe) {
		return nil, &notTriedError{brands: []string{brand}, inDoubt: c.FirstAttempt}
	}
	var notTried []string
	routes := o.brands.routes(o.opts.Routes, o.opts.timing.probe, &notTried)
	start := map[string]time.Time{}
	r := &router.Router{Routes: routes, Begin: func(ctx context.Context, a router.Attempt) error {
		start[a.Brand] = time.Now()
		return o.saveAttempt(ctx, c, a)
	}}
	req := c.Lead
	req.Password = c.password
	start[c.FirstAttempt.Brand] = began
	result, err = r.Register(ctx, req, c.FirstAttempt)
	o.observe(result, err, start)
	if err == nil || len(notTried) == 0 || clixnow.OutcomeOf(err) == clixnow.OutcomeUnknown ||
		errors.Is(err, clixnow.ErrInvalidRequest) { // no brand would take it
		return result, err
	}
	return nil, &notTriedError{brands: notTried, cause: err}
}

// attemptStatement is the one of saveAttempt.
const attemptStatement = `UPDATE outbox_signups SET attempt_brand = $3, attempt_since = $4
	WHERE id = $1 AND tries = $2 AND status = 'pending'`

// saveAttempt saves that the lead is about to be sent to a brand.
func (o *Outbox) saveAttempt(ctx context.Context, c *claimed, a router.Attempt) error {
	return o.single(ctx, "save an attempt", func(ctx context.Context, db querier) error {
		rows, err := exec(ctx, db, attemptStatement, c.ID, c.Tries, a.Brand, tables.Time(a.Since))
		if err == nil && rows == 0 {
			return errLostClaim
		}
		return err
	})
}

// end is how a try ends.
type end struct {
	// Signup is the sign-up after the try.
	Signup

	change Change
	// wait is the wait before the next try.
	wait time.Duration
}

// endOf decides how a try ends.
func (o *Outbox) endOf(c *claimed, result *router.Result, err error) end {
	e := end{Signup: *c.Signup, change: Change{
		Kind: ChangeTried, Outcome: clixnow.OutcomeOf(err).String(), Reason: clixnow.ReasonOf(err).String(),
	}}
	e.Reason, e.FirstAttempt, e.Problem = clixnow.ReasonOf(err), router.InDoubt(err), ""
	if err == nil {
		e.Status, e.SettledAt, e.change.Brand = Registered, time.Now(), result.Brand
		e.Brand, e.LeadID, e.RedirectURL = result.Brand, result.Lead.LeadID, tables.Text(result.Lead.RedirectURL)
		return e
	}
	if failed, ok := errors.AsType[*notTriedError](err); ok {
		e.FirstAttempt = failed.inDoubt
	}
	e.Problem = tables.Text(err.Error())
	e.change.Problem = e.Problem
	if failed, ok := errors.AsType[*router.Error](err); ok && len(failed.Tried) > 0 {
		e.change.Brand = failed.Tried[len(failed.Tried)-1].Brand
	}
	switch {
	case isFinal(err) && !o.beganLater(c):
		e.Status, e.SettledAt = Refused, time.Now()
	case o.opts.needsPerson(c, err):
		e.Status = Doubtful
	default:
		e.wait = o.opts.wait(c, err)
		e.NextTryAt = time.Now().Add(e.wait)
		if o.opts.usesSchedule(c, err) {
			e.waits++
		}
	}
	return e
}

// saveUntilDone saves the end of a try, also if ctx has ended. If the outcome
// of a registered lead is not saved, a later try finds the lead again, but not
// its redirect URL. So a failure is repeated for a while.
func (o *Outbox) saveUntilDone(ctx context.Context, c *claimed, e *end) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	for {
		err := o.save(ctx, c, e)
		if err == nil || errors.Is(err, errLostClaim) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// saveStatement is the one of save. A person may have added a line to the
// history since the claim.
const saveStatement = `UPDATE outbox_signups SET status = $3, settled_at = $4, brand = $5, lead_id = $6,
	redirect_url = $7, problem = $8, reason = $9, attempt_brand = $10, attempt_since = $11, waits = $12,
	next_try_at = $13, history = CASE WHEN history = $14 THEN $15 ELSE history || $16 END,
	password = CASE WHEN $3 IN ('registered', 'refused') THEN '' ELSE password END
	WHERE id = $1 AND status = 'pending' AND (tries = $2 OR $3 = 'registered') RETURNING ` + columns

// save saves the end of a try. It returns errLostClaim if another worker has
// claimed the sign-up since: that worker may have sent the lead, and this one
// was refused as its duplicate. A registered lead is saved in any case, unless
// the sign-up is already settled.
//
// River completes the job afterwards. If the process dies before that, the next
// run of the job finds that the sign-up is not pending, and does nothing.
func (o *Outbox) save(ctx context.Context, c *claimed, e *end) error {
	const action = "save the end of a try"
	var saved []Signup
	update := func(ctx context.Context, db querier) (err error) {
		saved, err = query(ctx, db, saveStatement, c.ID, c.Tries, e.Status,
			tables.Time(e.SettledAt), e.Brand, e.LeadID, e.RedirectURL, e.Problem, e.Reason.String(),
			e.FirstAttempt.Brand, tables.Time(e.FirstAttempt.Since), e.waits, tables.Time(e.NextTryAt), c.history,
			withTry(c.history, e.change), e.change.line())
		if err == nil && len(saved) == 0 {
			return errLostClaim
		}
		return err
	}
	var err error
	if o.opts.Settled == nil || e.Status == Pending {
		err = o.single(ctx, action, update)
	} else {
		err = o.transact(ctx, action, func(ctx context.Context, tx *sql.Tx) error {
			if err := update(ctx, o.prepared.in(tx)); err != nil {
				return err
			}
			return o.opts.Settled(ctx, tx, saved[0])
		})
	}
	if err == nil && e.Status != Pending {
		o.announce(ctx, &saved[0], e.change)
	}
	return err
}

// announce tells Wait and Ended that a sign-up is settled, and writes the
// line about it, which has no data of the lead.
func (o *Outbox) announce(ctx context.Context, s *Signup, try Change) {
	o.waiting.Notify(s.ID, s)
	o.opts.Ended(*s)
	level, message := slog.LevelInfo, "a sign-up is "+string(s.Status)
	if s.Status == Doubtful {
		level, message = slog.LevelError, "a person must decide about a sign-up"
	}
	o.opts.Logger.Log(ctx, level, message, "id", s.ID, "brand", try.Brand, "outcome", try.Outcome, "reason", try.Reason,
		"tries", s.Tries, "duration", time.Since(s.CreatedAt).Round(time.Millisecond))
}

// beganLater reports whether a try began with a brand in doubt that is not the
// first one. The brands before it were not tried, and may take the lead. So if
// that brand refuses it, the next try begins with the first brand.
func (o *Outbox) beganLater(c *claimed) bool {
	return c.FirstAttempt.Brand != "" && !strings.EqualFold(c.FirstAttempt.Brand, o.opts.Routes[0].Client.Brand())
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
