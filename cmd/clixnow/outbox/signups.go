package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/riverqueue/river"

	"github.com/clixnow/clixnow-go"
)

// status is the status of a sign-up. A person can change refused and doubtful
// back to pending.
//
//	pending ──> registered
//	   │  ^
//	   │  └── by a person ──┐
//	   ├──────> refused ────┤
//	   └──────> doubtful ───┘
type status string

const (
	pending    status = "pending"
	registered status = "registered"
	// refused means that the API refused the lead. Nothing was created.
	refused status = "refused"
	// doubtful means that a person must decide: the lead may exist and no
	// search shows it, or the brand has refused it too often.
	doubtful status = "doubtful"
)

var (
	errNotFound     = errors.New("there is no such sign-up")
	errClickIDTaken = errors.New("the click id belongs to another sign-up")
	errWrongStatus  = errors.New("the status of the sign-up does not allow this")
)

// signup is a row of the table of sign-ups.
type signup struct {
	ID, Token string
	// Lead is the request without the password.
	Lead      clixnow.CreateLeadRequest
	Status    status
	CreatedAt time.Time
	Tries     int64
	// FirstAttemptAt is the time of the first try that may have created the
	// lead. It is zero if there was none.
	FirstAttemptAt time.Time
	NextTryAt      time.Time
	// SettledAt is the time when the sign-up became registered or refused.
	SettledAt      time.Time
	LeadID         int64
	RedirectURL    string
	Problem        string
	VisitorProblem string

	jobID int64
}

// signups stores sign-ups, and a River job for each pending one.
type signups struct {
	db      *database
	waiters waiters
}

// add stores a sign-up and its job in one transaction. If there is a sign-up
// with the same click id, add returns that one, because it is a double click.
// If that one belongs to another person, add returns errClickIDTaken.
func (s *signups) add(ctx context.Context, lead clixnow.CreateLeadRequest) (*signup, error) {
	added := &signup{ID: rand.Text(), Token: rand.Text(), Lead: lead, Status: pending, CreatedAt: time.Now()}
	password := lead.Password
	added.Lead.Password = ""
	text, err := json.Marshal(added.Lead)
	if err != nil {
		return nil, fmt.Errorf("store a sign-up: %w", err)
	}
	err = s.db.transact(ctx, func(tx transaction) error {
		job, err := tx.enqueue(ctx, registration{added.ID})
		if err != nil {
			return err
		}
		rows, err := tx.exec(ctx, `INSERT INTO signups (id, token, click_id, job_id, lead, password, status, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, 'pending', $7) ON CONFLICT DO NOTHING`,
			added.ID, added.Token, lead.ClickID, job, string(text), password, added.CreatedAt.UnixMilli())
		if err == nil && rows == 0 {
			return errClickIDTaken
		}
		return err
	})
	switch {
	case err == nil:
		return added, nil
	case !errors.Is(err, errClickIDTaken):
		return nil, fmt.Errorf("store a sign-up: %w", err)
	}
	earlier, err := s.one(ctx, `click_id = $1 AND status <> 'refused'`, lead.ClickID)
	switch {
	case errors.Is(err, errNotFound): // the earlier one has just been refused, so its click id is free
		return s.add(ctx, lead)
	case err != nil:
		return nil, err
	case !samePerson(earlier.Lead, lead):
		return nil, errClickIDTaken // the redirect URL would log this visitor in as the other person
	}
	return earlier, nil
}

func samePerson(a, b clixnow.CreateLeadRequest) bool { return a.Email == b.Email && a.Phone == b.Phone }

// claimed is a sign-up that a worker is about to register.
type claimed struct {
	id   string
	lead clixnow.CreateLeadRequest
	// tryNumber is the number of this try. A later claim has a higher number.
	tryNumber int64
	// firstAttempt is the time of the first earlier try that may have created
	// the lead. It is zero if there was none.
	firstAttempt time.Time
	thisAttempt  time.Time
	// refusals is the number of earlier temporary refusals.
	refusals int
}

// claim records that a try begins. It must be called before anything is sent.
// If the sign-up is not pending, it returns errWrongStatus.
//
// River's own count of attempts cannot be used for this. A snooze or a stop
// decreases it, and River stores only the time of the last attempt.
func (s *signups) claim(ctx context.Context, id string) (*claimed, error) {
	c := &claimed{id: id, thisAttempt: time.Now()}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("claim a sign-up: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // does nothing after a commit, and nothing was sent yet
	var (
		lead     string
		password sql.NullString
		first    sql.NullInt64
	)
	// This update locks the row, so that other claims wait for the commit.
	err = tx.QueryRowContext(ctx,
		`UPDATE signups SET tries = tries + 1, next_try_at = NULL WHERE id = $1 AND status = 'pending'
		RETURNING tries, refusals, first_attempt_at, lead, password`, id).
		Scan(&c.tryNumber, &c.refusals, &first, &lead, &password)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, errWrongStatus
	case err != nil:
		return nil, fmt.Errorf("claim a sign-up: %w", err)
	}
	if err := json.Unmarshal([]byte(lead), &c.lead); err != nil {
		return nil, fmt.Errorf("claim a sign-up: %w", err)
	}
	c.lead.Password = password.String
	c.firstAttempt = fromMilli(first)
	if !first.Valid {
		const update = `UPDATE signups SET first_attempt_at = $2 WHERE id = $1`
		_, err = tx.ExecContext(ctx, update, id, c.thisAttempt.UnixMilli())
	}
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		return nil, fmt.Errorf("claim a sign-up: %w", err)
	}
	return c, nil
}

// inDoubtSince returns the value of first_attempt_at after a try that ended
// with err. It is NULL if nothing was created, so that the next try does not
// search for the lead.
func (c *claimed) inDoubtSince(err error) sql.NullInt64 {
	switch {
	case clixnow.OutcomeOf(err) != clixnow.OutcomeUnknown:
		return sql.NullInt64{}
	case c.firstAttempt.IsZero():
		return toMilli(c.thisAttempt)
	}
	return toMilli(c.firstAttempt)
}

// postpone records why a try did not settle the sign-up. If another worker has
// claimed the sign-up since, it changes nothing.
func (s *signups) postpone(ctx context.Context, c *claimed, reason error, next time.Time) error {
	refusals := c.refusals
	if isTemporary(reason) {
		refusals++
	}
	_, err := s.db.ExecContext(ctx, `UPDATE signups SET next_try_at = $3, problem = $4, first_attempt_at = $5,
		refusals = $6 WHERE id = $1 AND tries = $2 AND status = 'pending'`,
		c.id, c.tryNumber, next.UnixMilli(), reason.Error(), c.inDoubtSince(reason), refusals)
	if err != nil {
		return fmt.Errorf("postpone a sign-up: %w", err)
	}
	return nil
}

// settleRegistered marks a sign-up as registered and completes its job. This is
// right even if another worker has claimed the sign-up since. If that worker
// has settled it, settleRegistered returns errWrongStatus.
func (s *signups) settleRegistered(ctx context.Context, job *river.Job[registration], c *claimed,
	lead *clixnow.EnsureLeadResponse,
) error {
	return s.settle(ctx, c, job,
		`UPDATE signups SET status = 'registered', password = NULL, settled_at = $2, lead_id = $3,
		redirect_url = $4, problem = NULL WHERE id = $1 AND status = 'pending'`,
		c.id, time.Now().UnixMilli(), lead.LeadID, lead.RedirectURL)
}

// settleRefused marks a sign-up as refused and completes its job. If another
// worker has claimed the sign-up since, it returns errWrongStatus: that worker
// may have sent the lead, and this one was refused as its duplicate.
func (s *signups) settleRefused(ctx context.Context, job *river.Job[registration], c *claimed, problem,
	visitorText string,
) error {
	return s.settle(ctx, c, job, `UPDATE signups SET status = 'refused', password = NULL, settled_at = $2, problem = $3,
		visitor_problem = $4, first_attempt_at = NULL WHERE id = $1 AND status = 'pending' AND tries = $5`,
		c.id, time.Now().UnixMilli(), problem, visitorText, c.tryNumber)
}

// markDoubtful marks a sign-up as doubtful and completes its job. If another
// worker has claimed the sign-up since, it returns errWrongStatus.
func (s *signups) markDoubtful(ctx context.Context, job *river.Job[registration], c *claimed, reason error) error {
	return s.settle(ctx, c, job, `UPDATE signups SET status = 'doubtful', problem = $2, first_attempt_at = $3
		WHERE id = $1 AND status = 'pending' AND tries = $4`, c.id, reason.Error(), c.inDoubtSince(reason), c.tryNumber)
}

// settle runs an update, completes the job and notifies the waiting handlers.
// If the update changes no row, it returns errWrongStatus.
func (s *signups) settle(ctx context.Context, c *claimed, job *river.Job[registration], update string,
	args ...any,
) error {
	err := s.db.transact(ctx, func(tx transaction) error {
		rows, err := tx.exec(ctx, update, args...)
		switch {
		case err != nil:
			return err
		case rows == 0:
			return errWrongStatus
		}
		return tx.complete(ctx, job)
	})
	if err != nil {
		return fmt.Errorf("settle a sign-up: %w", err)
	}
	s.waiters.notify(c.lead.ClickID)
	return nil
}

// retry makes a sign-up that is not registered pending and starts a try at
// once. A refused sign-up gets the new password, because its own was deleted.
// If the visitor has signed up again since, retry returns errWrongStatus.
func (s *signups) retry(ctx context.Context, id, password string) error {
	const update = `UPDATE signups SET status = 'pending', password = coalesce(password, $2), settled_at = NULL,
		visitor_problem = NULL, refusals = 0 WHERE id = $1 AND status <> 'registered' AND NOT EXISTS (
		SELECT 1 FROM signups AS since WHERE since.click_id = signups.click_id AND since.status <> 'refused'
		AND since.id <> signups.id)`
	row, err := s.one(ctx, `id = $1`, id)
	if err != nil {
		return err
	}
	err = s.db.transact(ctx, func(tx transaction) error {
		rows, err := tx.exec(ctx, update, id, password)
		switch {
		case err != nil:
			return err
		case rows == 0:
			return errWrongStatus
		}
		if found, err := tx.retryNow(ctx, row.jobID); found || err != nil {
			return err
		}
		job, err := tx.enqueue(ctx, registration{id})
		if err != nil {
			return err
		}
		_, err = tx.exec(ctx, `UPDATE signups SET job_id = $2 WHERE id = $1`, id, job)
		return err
	})
	if err != nil {
		return fmt.Errorf("retry a sign-up: %w", err)
	}
	return nil
}

// giveUp marks a doubtful sign-up as refused. It is for a person who knows that
// another sign-up registered the email, or that the brand will not take the
// lead.
func (s *signups) giveUp(ctx context.Context, id string) error {
	const update = `UPDATE signups SET status = 'refused', password = NULL, settled_at = $2,
		visitor_problem = CASE WHEN first_attempt_at IS NULL THEN $3 ELSE $4 END
		WHERE id = $1 AND status = 'doubtful'`
	result, err := s.db.ExecContext(ctx, update, id, time.Now().UnixMilli(),
		visitorText(clixnow.ReasonOther), visitorText(clixnow.ReasonDuplicate))
	if err != nil {
		return fmt.Errorf("give up a sign-up: %w", err)
	}
	if rows, err := result.RowsAffected(); err == nil && rows == 0 {
		return errWrongStatus
	}
	return nil
}

// one returns the sign-up that meets a condition. If there is none, it returns
// errNotFound.
func (s *signups) one(ctx context.Context, condition string, args ...any) (*signup, error) {
	rows, err := s.query(ctx, condition, args...)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, errNotFound
	}
	return &rows[0], nil
}

// list returns at most limit sign-ups with a status. The oldest come first if
// they are pending or doubtful, else the newest.
func (s *signups) list(ctx context.Context, st status, limit int) ([]signup, error) {
	order := "created_at DESC"
	if st == pending || st == doubtful {
		order = "created_at"
	}
	return s.query(ctx, `status = $1 ORDER BY `+order+` LIMIT $2`, st, limit)
}

// query reads sign-ups. where must not contain input of users.
func (s *signups) query(ctx context.Context, where string, args ...any) ([]signup, error) {
	rows, err := s.db.QueryContext(ctx,
		`SELECT id, token, job_id, lead, status, created_at, tries, first_attempt_at, next_try_at, settled_at,
		coalesce(lead_id, 0), coalesce(redirect_url, ''), coalesce(problem, ''), coalesce(visitor_problem, '')
		FROM signups WHERE `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("read sign-ups: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err returns the error
	var found []signup
	for rows.Next() {
		var (
			row                           signup
			lead                          string
			created, first, next, settled sql.NullInt64
		)
		err := rows.Scan(&row.ID, &row.Token, &row.jobID, &lead, &row.Status, &created, &row.Tries, &first, &next,
			&settled, &row.LeadID, &row.RedirectURL, &row.Problem, &row.VisitorProblem)
		if err != nil {
			return nil, fmt.Errorf("read sign-ups: %w", err)
		}
		if err := json.Unmarshal([]byte(lead), &row.Lead); err != nil {
			return nil, fmt.Errorf("read sign-ups: %w", err)
		}
		row.CreatedAt, row.FirstAttemptAt, row.NextTryAt, row.SettledAt = fromMilli(created), fromMilli(first),
			fromMilli(next), fromMilli(settled)
		found = append(found, row)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read sign-ups: %w", err)
	}
	return found, nil
}

// count has the number of sign-ups with a status, and the time of the oldest.
type count struct {
	Number int64
	Oldest time.Time
}

func (c count) age() time.Duration {
	if c.Oldest.IsZero() {
		return 0
	}
	return time.Since(c.Oldest)
}

// ping checks that the table can be read.
func (s *signups) ping(ctx context.Context) error {
	_, err := s.query(ctx, `id = ''`)
	return err
}

// counts returns the count of each status.
func (s *signups) counts(ctx context.Context) (map[status]count, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT status, count(*), min(created_at) FROM signups GROUP BY status`)
	if err != nil {
		return nil, fmt.Errorf("count sign-ups: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err returns the error
	counts := map[status]count{pending: {}, registered: {}, refused: {}, doubtful: {}}
	for rows.Next() {
		var (
			st     status
			c      count
			oldest sql.NullInt64
		)
		if err := rows.Scan(&st, &c.Number, &oldest); err != nil {
			return nil, fmt.Errorf("count sign-ups: %w", err)
		}
		c.Oldest = fromMilli(oldest)
		counts[st] = c
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("count sign-ups: %w", err)
	}
	return counts, nil
}

func fromMilli(n sql.NullInt64) time.Time {
	if !n.Valid {
		return time.Time{}
	}
	return time.UnixMilli(n.Int64)
}

// toMilli returns NULL for the zero time.
func toMilli(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.UnixMilli(), Valid: !t.IsZero()}
}

// waiters has the handlers of this process that wait for a sign-up, by its
// click id. The zero value is usable.
type waiters struct {
	mu        sync.Mutex
	byClickID map[string]*waiter
}

type waiter struct {
	// settled is closed when the sign-up is settled.
	settled chan struct{}
	// handlers is the number of handlers that wait.
	handlers int
}

// add returns a channel that notify closes. The handler must call remove when
// it stops waiting.
func (w *waiters) add(clickID string) (settled <-chan struct{}, remove func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byClickID == nil {
		w.byClickID = make(map[string]*waiter)
	}
	found := w.byClickID[clickID]
	if found == nil {
		found = &waiter{settled: make(chan struct{})}
		w.byClickID[clickID] = found
	}
	found.handlers++
	return found.settled, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if found.handlers--; found.handlers == 0 && w.byClickID[clickID] == found {
			delete(w.byClickID, clickID)
		}
	}
}

func (w *waiters) notify(clickID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if found := w.byClickID[clickID]; found != nil {
		close(found.settled)
		delete(w.byClickID, clickID)
	}
}
