package outbox

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/riverqueue/river"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/store/internal/tables"
)

// Query selects sign-ups for List.
type Query struct {
	// Status selects one status. "" means all.
	Status Status
	// Search selects sign-ups whose name, email, phone, click id or id contains
	// this text, ignoring case. "" means all.
	Search string
	// Before is the ID of the last sign-up of the page before. "" means the
	// first page.
	Before string
	// OldestFirst reverses the order. False means that the newest come first.
	OldestFirst bool
	// Limit is the number of sign-ups of a page. 0 means 100.
	Limit int
}

// Count is how many sign-ups have a status.
type Count struct {
	// Number is the number of sign-ups.
	Number int64
	// Oldest is when the oldest of them was accepted. A zero time means that
	// there is none.
	Oldest time.Time
	// Due is since when the first pending sign-up waits for a free worker. A
	// zero time means that none waits, or that the status is not Pending.
	Due time.Time
}

// columns are what scan reads.
const columns = `id, click_hash, job_id, lead, status, created_at, tries, waits, attempt_brand, attempt_since,
	next_try_at, settled_at, brand, lead_id, redirect_url, problem, reason, replaced, carried`

// querier is *sql.DB or *sql.Tx.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// Get returns a sign-up by its ID, or ErrNotFound.
func (o *Outbox) Get(ctx context.Context, id string) (*Signup, error) {
	s, err := one(ctx, o.db, "id = $1", tables.Text(id))
	return s, databaseError("read a sign-up", err)
}

// List returns a page of sign-ups.
func (o *Outbox) List(ctx context.Context, q Query) ([]Signup, error) {
	conditions, args := []string{"1 = 1"}, []any{}
	where := func(condition string, values ...any) {
		for _, value := range values {
			args = append(args, value)
			condition = strings.Replace(condition, "?", fmt.Sprintf("$%d", len(args)), 1)
		}
		conditions = append(conditions, condition)
	}
	order, than := "DESC", "<"
	if q.OldestFirst {
		order, than = "ASC", ">"
	}
	if q.Status != "" {
		where("status = ?", tables.Text(string(q.Status)))
	}
	if q.Search != "" {
		pattern := strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(strings.ToLower(tables.Text(q.Search)))
		where(`search LIKE ? ESCAPE '\'`, "%"+pattern+"%")
	}
	if q.Before != "" {
		last, err := o.Get(ctx, q.Before)
		if err != nil {
			return nil, err
		}
		where("(created_at, id) "+than+" (?, ?)", tables.Time(last.CreatedAt), last.ID)
	}
	limit := cmp.Or(max(0, q.Limit), 100)
	statement := fmt.Sprintf("SELECT %s FROM outbox_signups WHERE %s ORDER BY created_at %s, id %s LIMIT %d", columns,
		strings.Join(conditions, " AND "), order, order, limit)
	found, err := query(ctx, o.db, statement, args...)
	return found, databaseError("list sign-ups", err)
}

// Counts returns how many sign-ups have each status.
func (o *Outbox) Counts(ctx context.Context) (map[Status]Count, error) {
	counts := map[Status]Count{Pending: {}, Registered: {}, Refused: {}, Doubtful: {}}
	rows, err := o.db.QueryContext(ctx, "SELECT status, count(*), min(created_at) FROM outbox_signups GROUP BY status")
	if err != nil {
		return nil, databaseError("count sign-ups", err)
	}
	defer func() { _ = rows.Close() }() // rows.Err returns the error
	for rows.Next() {
		var status Status
		var c Count
		if err := rows.Scan(&status, &c.Number, (*tables.Time)(&c.Oldest)); err != nil {
			return nil, databaseError("count sign-ups", err)
		}
		counts[status] = c
	}
	if err := rows.Err(); err != nil {
		return nil, databaseError("count sign-ups", err)
	}
	pending := counts[Pending]
	pending.Due, err = o.due(ctx)
	counts[Pending] = pending
	return counts, databaseError("count sign-ups", err)
}

// due returns since when the first job waits for a free worker.
func (o *Outbox) due(ctx context.Context) (time.Time, error) {
	milli := "CAST(unixepoch(min(at), 'subsec') * 1000 AS INTEGER)"
	if o.dialect == PostgreSQL {
		milli = "CAST(extract(epoch FROM min(at)) * 1000 AS BIGINT)"
	}
	var states []string
	for _, state := range []string{"available", "retryable", "scheduled"} { // an index has the first of each
		states = append(states, fmt.Sprintf(`SELECT min(scheduled_at) AS at FROM river_job WHERE state = '%s'
			AND queue = '%s' AND priority = %d`, state, queue, river.PriorityDefault))
	}
	var first sql.NullInt64
	err := o.db.QueryRowContext(ctx, "SELECT "+milli+" FROM ("+strings.Join(states, " UNION ALL ")+") AS jobs").
		Scan(&first)
	if due := time.UnixMilli(first.Int64); first.Valid && due.Before(time.Now()) {
		return due, err
	}
	return time.Time{}, err
}

// Check reports whether sign-ups can be saved, by saving something else. It
// returns ErrDatabase if the database does not answer or its disk is full.
func (o *Outbox) Check(ctx context.Context) error {
	return o.transact(ctx, "check the database", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO outbox_check (id, checked_at) VALUES (1, $1)
			ON CONFLICT (id) DO UPDATE SET checked_at = excluded.checked_at`, tables.Time(time.Now()))
		return err
	})
}

// one returns the sign-up that meets a condition, or ErrNotFound.
func one(ctx context.Context, db querier, condition string, args ...any) (*Signup, error) {
	rows, err := query(ctx, db, "SELECT "+columns+" FROM outbox_signups WHERE "+condition, args...)
	switch {
	case err != nil:
		return nil, err
	case len(rows) == 0:
		return nil, ErrNotFound
	}
	return &rows[0], nil
}

// lockRow is one, and keeps others from changing the row until the end of the
// transaction.
func (o *Outbox) lockRow(ctx context.Context, tx *sql.Tx, condition string, args ...any) (*Signup, error) {
	if o.dialect == PostgreSQL { // SQLite has one writer
		condition += " FOR UPDATE"
	}
	return one(ctx, tx, condition, args...)
}

// query runs a statement that returns columns. It must not contain input of
// users.
func query(ctx context.Context, db querier, statement string, args ...any) (found []Signup, err error) {
	rows, err := db.QueryContext(ctx, statement, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err returns the error
	for rows.Next() {
		s, err := scan(rows.Scan)
		if err != nil {
			return nil, err
		}
		found = append(found, *s)
	}
	return found, rows.Err()
}

// exec runs a statement and returns the number of rows that it has changed.
func exec(ctx context.Context, db querier, statement string, args ...any) (rows int64, err error) {
	result, err := db.ExecContext(ctx, statement, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// scan reads the columns, and then those of more.
func scan(row func(...any) error, more ...any) (*Signup, error) {
	var s Signup
	var lead, reason string
	err := row(append([]any{
		&s.ID, &s.clickHash, &s.jobID, &lead, &s.Status, (*tables.Time)(&s.CreatedAt), &s.Tries, &s.waits,
		&s.FirstAttempt.Brand, (*tables.Time)(&s.FirstAttempt.Since), (*tables.Time)(&s.NextTryAt),
		(*tables.Time)(&s.SettledAt), &s.Brand, &s.LeadID, &s.RedirectURL, &s.Problem, &reason, &s.replaced, &s.carried,
	}, more...)...)
	if err != nil {
		return nil, err
	}
	for r := range clixnow.ReasonOther + 1 {
		if r.String() == reason {
			s.Reason = r
		}
	}
	return &s, json.Unmarshal([]byte(lead), &s.Lead)
}

func searchText(id string, req *clixnow.CreateLeadRequest) string {
	return strings.ToLower(strings.Join([]string{
		req.FirstName + " " + req.LastName, req.Email, req.Phone, req.ClickID, id,
	}, "\n"))
}

// Wait returns the sign-up when it is no longer pending. If ctx ends before, it
// returns the pending sign-up and no error, unless it could not be read in that
// time. It also notices what another process does.
func (o *Outbox) Wait(ctx context.Context, id string) (*Signup, error) {
	w := o.waiting.Add(id, o.poll)
	defer o.waiting.Remove(id, w)
	s, err := o.Get(ctx, id)
	if err != nil || s.Status != Pending {
		return s, err
	}
	select {
	case <-w.Known():
		settled := *w.Get()
		return &settled, nil
	case <-ctx.Done():
		return s, nil
	}
}

// poll notifies the calls of Wait of what other processes have settled, until
// there are no calls.
func (o *Outbox) poll() {
	elements := map[Dialect]string{SQLite: "json_each($1)", PostgreSQL: "json_array_elements_text($1::json)"}[o.dialect]
	for {
		time.Sleep(200 * time.Millisecond)
		ids := o.waiting.Keys()
		if len(ids) == 0 {
			return
		}
		var settled []Signup // after an error there are none, and the next round repeats it
		if list, err := json.Marshal(ids); err == nil {
			settled, _ = query(context.Background(), o.db, "SELECT "+columns+" FROM outbox_signups "+
				"WHERE status <> 'pending' AND id IN (SELECT value FROM "+elements+")", string(list))
		}
		for i := range settled {
			o.waiting.Notify(settled[i].ID, &settled[i])
		}
	}
}
