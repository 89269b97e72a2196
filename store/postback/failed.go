package postback

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/clixnow/clixnow-go/store/internal/tables"
	"github.com/clixnow/clixnow-go/store/internal/template"
	"github.com/clixnow/clixnow-go/store/mirror"
)

// Failed is an event that has failed for a day.
type Failed struct {
	// Postback is the name of the destination.
	Postback string `json:"postback"`
	// EventID is the id of the event in the mirror.
	EventID int64 `json:"eventId"`
	// Brand and LeadID are the lead of the event.
	Brand  string `json:"brand"`
	LeadID int64  `json:"leadId"`
	// Event is the kind of the event, such as "deposited".
	Event string `json:"event"`
	// Since is the time since which the event waited.
	Since time.Time `json:"since"`
	// Attempts is the number of attempts.
	Attempts int `json:"attempts"`
	// Error is the error of the last attempt. It has no URL and no response.
	Error string `json:"error"`
}

// ListFailed calls yield with each event that has failed for a day, the oldest
// first. m need not be the owner of the mirror.
func ListFailed(ctx context.Context, m *mirror.Mirror, yield func(Failed) error) error {
	const statement = "SELECT destination, event_id, brand, lead_id, macros, waiting_since, attempts, error " +
		"FROM postback_queue WHERE state = 'failed' ORDER BY destination, event_id"
	if err := checkTables(ctx, m); err != nil {
		return err
	}
	return query(ctx, m.DB(), statement, nil, func(rows *sql.Rows) error {
		var f Failed
		var macros string
		err := rows.Scan(&f.Postback, &f.EventID, &f.Brand, &f.LeadID, &macros, (*tables.Time)(&f.Since), &f.Attempts,
			&f.Error)
		if err != nil {
			return err
		}
		var v template.Values
		if json.Unmarshal([]byte(macros), &v) == nil {
			f.Event = v["event"]
		}
		return yield(f)
	})
}

// Retry gives failed events of a destination another day, and returns their
// number. Without ids it does so for all of them. The running process sends
// them. m need not be the owner of the mirror.
func Retry(ctx context.Context, m *mirror.Mirror, name string, ids ...int64) (number int64, err error) {
	const all = "UPDATE postback_queue SET state = 'waiting', waiting_since = $1, due_at = $1, attempts = 0, " +
		"failing_since = NULL WHERE destination = $2 AND state = 'failed'"
	if err := checkTables(ctx, m); err != nil {
		return 0, err
	}
	known, err := names(ctx, m)
	if err != nil {
		return 0, err
	}
	if !slices.Contains(known, name) {
		return 0, fmt.Errorf("unknown postback %q; the database has %s", name, strings.Join(known, ", "))
	}
	now := tables.Time(time.Now())
	exec := func(statement string, args ...any) error {
		result, err := m.DB().ExecContext(ctx, statement, args...)
		if err != nil {
			return fmt.Errorf("%w: retry postbacks: %w", mirror.ErrDatabase, err)
		}
		changed, err := result.RowsAffected()
		number += changed
		return err
	}
	if len(ids) == 0 {
		err = exec(all, now, name)
		return number, err
	}
	for _, id := range ids {
		err = errors.Join(err, exec(all+" AND event_id = $3", now, name, id))
	}
	return number, err
}

// names returns the names of the destinations that the database knows.
func names(ctx context.Context, m *mirror.Mirror) (all []string, err error) {
	err = query(ctx, m.DB(), "SELECT name FROM postback_destinations ORDER BY name", nil, func(rows *sql.Rows) error {
		var name string
		err := rows.Scan(&name)
		all = append(all, name)
		return err
	})
	return all, err
}

// checkTables returns mirror.ErrWrongDatabase if no postback was ever
// configured for this mirror.
func checkTables(ctx context.Context, m *mirror.Mirror) error {
	err := m.DB().QueryRowContext(ctx, "SELECT count(*) FROM postback_destinations").Scan(new(int64))
	if err != nil {
		return fmt.Errorf("%w: it has no postbacks: %w", mirror.ErrWrongDatabase, err)
	}
	return nil
}

// Health is the state of a destination.
type Health struct {
	// Name is the name of the destination.
	Name string
	// Waiting and Failed are numbers of events: those that are to be sent, and
	// those that wait for a person.
	Waiting, Failed int64
	// Oldest is the time since which an event waits. A zero time means that
	// none waits.
	Oldest time.Time
	// FailingSince is the time since which the tracker fails. A zero time means
	// that it works, unless Refusing is set.
	FailingSince time.Time
	// Refusing means that events failed, and that the tracker has never
	// accepted one.
	Refusing bool
	// Sent is the number of events that the tracker has accepted.
	Sent int64
	// SkippedBeforeStart and SkippedNoClickID are numbers of events that are
	// not sent.
	SkippedBeforeStart, SkippedNoClickID int64
}

// Health returns the state of each destination.
func (s *Sender) Health(ctx context.Context) ([]Health, error) {
	all, err := ListHealth(ctx, s.mirror)
	return slices.DeleteFunc(all, func(h Health) bool {
		return !slices.ContainsFunc(s.destinations, func(d *destination) bool { return d.Name == h.Name })
	}), err
}

// ListHealth returns the state of each destination that the database knows, in
// the order of their names. m need not be the owner of the mirror.
func ListHealth(ctx context.Context, m *mirror.Mirror) ([]Health, error) {
	const statement = `
SELECT d.name, d.failing_since, d.sent, d.skipped_before_start, d.skipped_no_click_id,
	count(CASE WHEN q.state = 'waiting' THEN 1 END), count(CASE WHEN q.state = 'failed' THEN 1 END),
	min(CASE WHEN q.state = 'waiting' THEN q.waiting_since END),
	d.sent = 0 AND count(CASE WHEN q.attempts > 0 THEN 1 END) > 0
FROM postback_destinations d LEFT JOIN postback_queue q ON q.destination = d.name
GROUP BY d.name ORDER BY d.name`
	var all []Health
	err := query(ctx, m.DB(), statement, nil, func(rows *sql.Rows) error {
		var h Health
		err := rows.Scan(&h.Name, (*tables.Time)(&h.FailingSince), &h.Sent, &h.SkippedBeforeStart, &h.SkippedNoClickID,
			&h.Waiting, &h.Failed, (*tables.Time)(&h.Oldest), &h.Refusing)
		all = append(all, h)
		return err
	})
	return all, err
}
