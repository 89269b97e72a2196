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

// A status is what became of a sign-up.
//
//	pending ──> registered
//	   │  ^
//	   │  └──── by hand ────┐
//	   ├──────> refused ────┤
//	   └──────> doubtful ───┘
type status string

const (
	pending    status = "pending"
	registered status = "registered"
	refused    status = "refused"  // the API judged the lead; nothing was created
	doubtful   status = "doubtful" // its email is registered, and no search shows by whom: for a person
)

var (
	errNoSignup    = errors.New("there is no such sign-up")
	errTaken       = errors.New("the click id is that of another sign-up")
	errNothingToDo = errors.New("the sign-up does not wait for this")
)

// signup is a row of the table of sign-ups.
type signup struct {
	ID, Token      string
	Lead           clixnow.CreateLeadRequest // without its password
	Status         status
	CreatedAt      time.Time
	Tries          int64
	FirstAttemptAt time.Time // zero: nothing was sent that could have arrived
	NextTryAt      time.Time
	SettledAt      time.Time
	LeadID         int64
	RedirectURL    string
	Problem        string
	VisitorProblem string

	jobID int64
}

// signups keeps sign-ups, and a job of River for each one that waits.
type signups struct {
	db      *database
	waiters waiters
}

// add stores a sign-up and the job of registering it, both or none. One with
// the click id of an earlier one is that one: a double click. Its error is
// errTaken where the earlier one is somebody else's.
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
			return errTaken
		}
		return err
	})
	switch {
	case err == nil:
		return added, nil
	case !errors.Is(err, errTaken):
		return nil, fmt.Errorf("store a sign-up: %w", err)
	}
	earlier, err := s.one(ctx, `click_id = $1 AND status <> 'refused'`, lead.ClickID)
	switch {
	case errors.Is(err, errNoSignup): // it was refused just now, and so its click id is free
		return s.add(ctx, lead)
	case err != nil:
		return nil, err
	case !samePerson(earlier.Lead, lead):
		return nil, errTaken // its redirect URL would log this visitor in as somebody else
	}
	return earlier, nil
}

func samePerson(a, b clixnow.CreateLeadRequest) bool { return a.Email == b.Email && a.Phone == b.Phone }

// claimed is a sign-up that a worker is about to register.
type claimed struct {
	id           string
	lead         clixnow.CreateLeadRequest
	try          int64     // this one's number: a later claim has a higher one
	firstAttempt time.Time // of an earlier try that may have arrived; zero: there was none
	thisAttempt  time.Time
}

// claim takes down that a try begins, before anything is sent. Its error is
// errNothingToDo where the sign-up does not wait.
//
// What River knows of attempts would not do: a snooze and a stop count them
// down again, and the time of the last one overwrites that of the first.
func (s *signups) claim(ctx context.Context, id string) (*claimed, error) {
	c := &claimed{id: id, thisAttempt: time.Now()}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("claim a sign-up: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // does nothing after a commit; nothing was sent yet
	var (
		lead     string
		password sql.NullString
		first    sql.NullInt64
	)
	// It changes the row first, which keeps other claims of it waiting until
	// the commit.
	err = tx.QueryRowContext(ctx,
		`UPDATE signups SET tries = tries + 1, next_try_at = NULL WHERE id = $1 AND status = 'pending'
		RETURNING tries, first_attempt_at, lead, password`, id).Scan(&c.try, &first, &lead, &password)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, errNothingToDo
	case err != nil:
		return nil, fmt.Errorf("claim a sign-up: %w", err)
	}
	if err := json.Unmarshal([]byte(lead), &c.lead); err != nil {
		return nil, fmt.Errorf("claim a sign-up: %w", err)
	}
	c.lead.Password = password.String
	c.firstAttempt = fromMilli(first)
	if !first.Valid {
		_,
			err = tx.ExecContext(ctx, `UPDATE signups SET first_attempt_at = $2 WHERE id = $1`, id,
			c.thisAttempt.UnixMilli())
	}
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		return nil, fmt.Errorf("claim a sign-up: %w", err)
	}
	return c, nil
}

// before is when the first try that may have arrived began, for the row, once
// this one has ended with nothing sent.
func (c *claimed) before() sql.NullInt64 { return toMilli(c.firstAttempt) }

// postpone takes down why a try did not settle the sign-up. Where nothing was
// sent, the next one need not look for the lead first. Nothing is changed where
// another worker has claimed it since.
func (s *signups) postpone(ctx context.Context, c *claimed, nothingSent bool, next time.Time, problem string) error {
	first := c.before()
	if !nothingSent && !first.Valid {
		first = toMilli(c.thisAttempt)
	}
	_, err := s.db.ExecContext(ctx, `UPDATE signups SET next_try_at = $3, problem = $4, first_attempt_at = $5
		WHERE id = $1 AND tries = $2 AND status = 'pending'`, c.id, c.try, next.UnixMilli(), problem, first)
	if err != nil {
		return fmt.Errorf("postpone a sign-up: %w", err)
	}
	return nil
}

// settleRegistered ends sign-up and job. A lead that is registered is so
// whoever else is at work on it; where somebody else was first, nothing is
// changed.
func (s *signups) settleRegistered(ctx context.Context, job *river.Job[registration], c *claimed,
	lead *clixnow.EnsureLeadResponse,
) error {
	return s.settle(ctx, c, job,
		`UPDATE signups SET status = 'registered', password = NULL, settled_at = $2, lead_id = $3,
		redirect_url = $4, problem = NULL WHERE id = $1 AND status = 'pending'`,
		c.id, time.Now().UnixMilli(), lead.LeadID, lead.RedirectURL)
}

// settleRefused ends sign-up and job. Its error is errNothingToDo where another
// worker has claimed the sign-up since: the lead may have been refused as a
// duplicate of what that one sent.
func (s *signups) settleRefused(ctx context.Context, job *river.Job[registration], c *claimed, problem,
	forVisitor string,
) error {
	return s.settle(ctx, c, job, `UPDATE signups SET status = 'refused', password = NULL, settled_at = $2, problem = $3,
		visitor_problem = $4, first_attempt_at = $5 WHERE id = $1 AND status = 'pending' AND tries = $6`,
		c.id, time.Now().UnixMilli(), problem, forVisitor, c.before(), c.try)
}

// leaveToPerson ends the job, but not the sign-up.
func (s *signups) leaveToPerson(ctx context.Context, job *river.Job[registration], c *claimed, problem string) error {
	return s.settle(ctx, c, job, `UPDATE signups SET status = 'doubtful', problem = $2
		WHERE id = $1 AND status = 'pending' AND tries = $3`, c.id, problem, c.try)
}

func (s *signups) settle(ctx context.Context, c *claimed, job *river.Job[registration], update string,
	args ...any,
) error {
	err := s.db.transact(ctx, func(tx transaction) error {
		rows, err := tx.exec(ctx, update, args...)
		switch {
		case err != nil:
			return err
		case rows == 0:
			return errNothingToDo
		}
		return tx.complete(ctx, job)
	})
	if err != nil {
		return fmt.Errorf("settle a sign-up: %w", err)
	}
	s.waiters.tell(c.lead.ClickID)
	return nil
}

// tryAgain has a sign-up that is not registered tried at once, whatever became
// of its job. The password of one that was refused is gone: it gets this one.
// Its error is errNothingToDo where the visitor has signed up again since.
func (s *signups) tryAgain(ctx context.Context, id, password string) error {
	row, err := s.one(ctx, `id = $1`, id)
	if err != nil {
		return err
	}
	err = s.db.transact(ctx, func(tx transaction) error {
		rows,
			err := tx.exec(ctx,
			`UPDATE signups SET status = 'pending', password = coalesce(password, $2), settled_at = NULL,
			visitor_problem = NULL WHERE id = $1 AND status <> 'registered' AND NOT EXISTS (
			SELECT 1 FROM signups AS since WHERE since.click_id = signups.click_id AND since.status <> 'refused' AND since.id <> signups.id)`,
			id, password)
		switch {
		case err != nil:
			return err
		case rows == 0:
			return errNothingToDo
		}
		if found, err := tx.hurry(ctx, row.jobID); found || err != nil {
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
		return fmt.Errorf("try a sign-up again: %w", err)
	}
	return nil
}

// giveUp is how a person settles a doubtful sign-up as somebody else's
// registration.
func (s *signups) giveUp(ctx context.Context, id string) error {
	result,
		err := s.db.ExecContext(ctx,
		`UPDATE signups SET status = 'refused', password = NULL, settled_at = $2, visitor_problem = $3
		WHERE id = $1 AND status = 'doubtful'`, id, time.Now().UnixMilli(), forVisitor(clixnow.ErrDuplicateLead))
	if err != nil {
		return fmt.Errorf("give a sign-up up: %w", err)
	}
	if rows, err := result.RowsAffected(); err == nil && rows == 0 {
		return errNothingToDo
	}
	return nil
}

// one returns the sign-up of a condition, or errNoSignup.
func (s *signups) one(ctx context.Context, condition string, args ...any) (*signup, error) {
	rows, err := s.query(ctx, condition, args...)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, errNoSignup
	}
	return &rows[0], nil
}

// list returns some sign-ups of a status: those that wait longest, or were
// settled last, first.
func (s *signups) list(ctx context.Context, of status, limit int) ([]signup, error) {
	order := "created_at DESC"
	if of == pending || of == doubtful {
		order = "created_at"
	}
	return s.query(ctx, `status = $1 ORDER BY `+order+` LIMIT $2`, of, limit)
}

// query reads sign-ups; what follows WHERE is the caller's own text.
func (s *signups) query(ctx context.Context, where string, args ...any) ([]signup, error) {
	rows,
		err := s.db.QueryContext(ctx,
		`SELECT id, token, job_id, lead, status, created_at, tries, first_attempt_at, next_try_at, settled_at,
		coalesce(lead_id, 0), coalesce(redirect_url, ''), coalesce(problem, ''), coalesce(visitor_problem, '')
		FROM signups WHERE `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("read sign-ups: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var found []signup
	for rows.Next() {
		var (
			row                           signup
			lead                          string
			created, first, next, settled sql.NullInt64
		)
		if err := rows.Scan(&row.ID, &row.Token, &row.jobID, &lead, &row.Status, &created, &row.Tries, &first, &next,
			&settled,
			&row.LeadID, &row.RedirectURL, &row.Problem, &row.VisitorProblem); err != nil {
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

// count is how many sign-ups there are of a status, and since when the first
// one.
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

// alive is nil when the table can be read.
func (s *signups) alive(ctx context.Context) error {
	_, err := s.query(ctx, `id = ''`)
	return err
}

func (s *signups) counts(ctx context.Context) (map[status]count, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT status, count(*), min(created_at) FROM signups GROUP BY status`)
	if err != nil {
		return nil, fmt.Errorf("count sign-ups: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	counts := map[status]count{pending: {}, registered: {}, refused: {}, doubtful: {}}
	for rows.Next() {
		var (
			of     status
			number count
			oldest sql.NullInt64
		)
		if err := rows.Scan(&of, &number.Number, &oldest); err != nil {
			return nil, fmt.Errorf("count sign-ups: %w", err)
		}
		number.Oldest = fromMilli(oldest)
		counts[of] = number
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

// toMilli is null for the zero time.
func toMilli(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.UnixMilli(), Valid: !t.IsZero()}
}

// waiters are the handlers of this process that wait for a sign-up to be
// settled, by its click id. The zero value is usable.
type waiters struct {
	mu sync.Mutex
	of map[string]*waiter
}

type waiter struct {
	settled  chan struct{}
	handlers int
}

// add returns a channel that tell closes, and what to call when the handler
// waits no longer.
func (w *waiters) add(clickID string) (settled <-chan struct{}, leave func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of == nil {
		w.of = make(map[string]*waiter)
	}
	one := w.of[clickID]
	if one == nil {
		one = &waiter{settled: make(chan struct{})}
		w.of[clickID] = one
	}
	one.handlers++
	return one.settled, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if one.handlers--; one.handlers == 0 && w.of[clickID] == one {
			delete(w.of, clickID)
		}
	}
}

func (w *waiters) tell(clickID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if one := w.of[clickID]; one != nil {
		close(one.settled)
		delete(w.of, clickID)
	}
}
