package postback

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/store/internal/tables"
	"github.com/clixnow/clixnow-go/store/internal/template"
	"github.com/clixnow/clixnow-go/store/mirror"
)

// item is an event in the queue of a destination.
type item struct {
	eventID int64
	// values has the values of the macros as JSON.
	values       string
	attempts     int
	failingSince time.Time
}

// reader is the name of a destination in mirror_readers.
func reader(name string) string { return "postback " + name }

// register adds a destination to the database. If it is new, it starts at from,
// or now if from is the zero time. Then all recorded events are in the past.
func (s *Sender) register(ctx context.Context, d *destination, from time.Time) error {
	const insert = "INSERT INTO postback_destinations (name, starts_at) VALUES ($1, $2) ON CONFLICT DO NOTHING"
	const start = "INSERT INTO mirror_readers (name, event_id) SELECT $1, last_event FROM mirror_owner " +
		"WHERE true ON CONFLICT DO NOTHING"
	const load = "SELECT starts_at, failures, failing_since, paused_until FROM postback_destinations WHERE name = $1"
	startsNow := from.IsZero()
	if startsNow {
		from = time.Now()
	}
	err := s.mirror.Transact(ctx, "add a postback", func(ctx context.Context, tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, insert, d.Name, tables.Time(from))
		if err != nil {
			return err
		}
		if added, err := result.RowsAffected(); err != nil || added == 0 || !startsNow {
			return err
		}
		_, err = tx.ExecContext(ctx, start, reader(d.Name))
		return err
	})
	if err != nil {
		return err
	}
	err = s.mirror.DB().QueryRowContext(ctx, load, d.Name).Scan((*tables.Time)(&d.startsAt), &d.failures,
		(*tables.Time)(&d.failingSince), (*tables.Time)(&d.pausedUntil))
	if err != nil {
		return fmt.Errorf("%w: read the state of a postback: %w", mirror.ErrDatabase, err)
	}
	return nil
}

const (
	// enqueueLimit is the number of events in one transaction.
	enqueueLimit = 500

	// selectEvents joins the created event that was recorded together with an
	// event, and the lead.
	selectEvents = `
SELECT e.id, e.brand, e.lead_id, e.event, e.status, e.ftd_date, e.updated_on, e.recorded_at, c.id IS NOT NULL,
	l.created_on, coalesce(l.click_id, ''), coalesce(l.sub2, ''), coalesce(l.sub_campaign, ''),
	coalesce(l.keyword, ''), coalesce(l.placement, '')
FROM lead_events e
LEFT JOIN leads l ON l.brand = e.brand AND l.id = e.lead_id
LEFT JOIN lead_events c ON c.id = e.id - 1 AND c.brand = e.brand AND c.lead_id = e.lead_id
	AND c.event = 'created' AND c.recorded_at = e.recorded_at
WHERE e.id > $1 AND e.event IN (%s)
ORDER BY e.id LIMIT $2`
)

// event is an event of the mirror with what a postback needs of its lead.
type event struct {
	mirror.Event
	// first means that the lead was recorded together with the event.
	first     bool
	createdOn time.Time
	lead      clixnow.Lead
}

// at returns the time that decides whether the event is before the start of a
// destination. If the lead was unknown before, the event may be old although it
// was recorded now: then the dates of the lead count. If it was known, the
// event is new, even if a date of the lead is older.
func (e *event) at() time.Time {
	switch {
	case e.Kind == clixnow.LeadCreated && e.createdOn.IsZero():
		return e.UpdatedOn
	case e.Kind == clixnow.LeadCreated:
		return e.createdOn
	case e.first:
		return later(e.FTDDate, e.createdOn)
	case e.UpdatedOn.IsZero():
		return e.RecordedAt
	}
	return later(e.UpdatedOn, e.FTDDate)
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// stableID returns {eventId}. It depends only on what the API tells about the
// event. So it stays the same if the mirror is built anew.
func (e *event) stableID() string {
	parts := []string{e.Brand, strconv.FormatInt(e.LeadID, 10), string(e.Kind)}
	switch e.Kind {
	case clixnow.LeadCreated:
	case clixnow.LeadDeposited:
		parts = append(parts, date(e.FTDDate))
	default:
		parts = append(parts, e.Status, date(e.UpdatedOn))
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:16])
}

func date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// macros returns the values of the macros.
func (e *event) macros() template.Values {
	return template.Values{
		"clickId": e.lead.ClickID, "subCampaign": e.lead.SubCampaign, "placement": e.lead.Placement,
		"keyword": e.lead.Keyword, "sub2": e.lead.Sub2, "leadId": strconv.FormatInt(e.LeadID, 10),
		"status": e.Status, "brand": e.Brand, "ftdDate": date(e.FTDDate), "event": string(e.Kind),
		"eventId": e.stableID(),
	}
}

// enqueue takes events over into the queue of a destination, in one transaction
// with the position of the reader. It reports whether there may be more.
func (s *Sender) enqueue(ctx context.Context, d *destination) (more bool, err error) {
	const insert = "INSERT INTO postback_queue (destination, event_id, brand, lead_id, macros, state, " +
		"waiting_since, due_at) VALUES ($1, $2, $3, $4, $5, 'waiting', $6, $6)"
	const count = "UPDATE postback_destinations SET skipped_before_start = skipped_before_start + $1, " +
		"skipped_no_click_id = skipped_no_click_id + $2 WHERE name = $3"
	const moveTo = "INSERT INTO mirror_readers (name, event_id) VALUES ($1, $2) " +
		"ON CONFLICT (name) DO UPDATE SET event_id = excluded.event_id"
	var cursor int64
	err = s.mirror.Transact(ctx, "queue postbacks", func(ctx context.Context, tx *sql.Tx) error {
		// The cursor is read anew, because a commit that seemed to fail may
		// have moved it.
		if err := tx.QueryRowContext(ctx, selectCursor, reader(d.Name)).Scan(&cursor); err != nil {
			return err
		}
		events, err := newEvents(ctx, tx, d, cursor)
		if err != nil {
			return err
		}
		if more = len(events) == enqueueLimit; more {
			cursor = events[len(events)-1].ID
		} else if err := tx.QueryRowContext(ctx, selectLastEvent).Scan(&cursor); err != nil {
			return err
		}
		now, tooOld, noClick := tables.Time(time.Now()), 0, 0
		for i := range events {
			e := &events[i]
			switch {
			case e.at().Before(d.startsAt):
				tooOld++
				continue
			case e.lead.ClickID == "":
				noClick++
				continue
			}
			macros, err := json.Marshal(e.macros())
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, insert, d.Name, e.ID, e.Brand, e.LeadID, string(macros), now); err != nil {
				return err
			}
		}
		if tooOld+noClick > 0 {
			if _, err := tx.ExecContext(ctx, count, tooOld, noClick, d.Name); err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, moveTo, reader(d.Name), cursor)
		return err
	})
	if err == nil {
		d.cursor = cursor
	}
	return more && err == nil, err
}

const (
	selectLastEvent = "SELECT last_event FROM mirror_owner"
	selectCursor    = "SELECT coalesce(max(event_id), 0) FROM mirror_readers WHERE name = $1"
)

// newEvents returns the events after an id that the destination wants.
func newEvents(ctx context.Context, tx *sql.Tx, d *destination, after int64) (all []event, err error) {
	args := []any{after, enqueueLimit}
	var kinds []string
	for _, kind := range d.Events {
		args = append(args, string(kind))
		kinds = append(kinds, "$"+strconv.Itoa(len(args)))
	}
	statement := fmt.Sprintf(selectEvents, strings.Join(kinds, ", "))
	err = query(ctx, tx, statement, args, func(rows *sql.Rows) error {
		var e event
		err := rows.Scan(&e.ID, &e.Brand, &e.LeadID, &e.Kind, &e.Status, (*tables.Time)(&e.FTDDate),
			(*tables.Time)(&e.UpdatedOn), (*tables.Time)(&e.RecordedAt), &e.first, (*tables.Time)(&e.createdOn),
			&e.lead.ClickID, &e.lead.Sub2, &e.lead.SubCampaign, &e.lead.Keyword, &e.lead.Placement)
		all = append(all, e)
		return err
	})
	return all, err
}

// query calls row for each row of a query. Its errors match mirror.ErrDatabase,
// but those of row do not.
func query(ctx context.Context, db interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}, statement string, args []any, row func(*sql.Rows) error,
) error {
	rows, err := db.QueryContext(ctx, statement, args...)
	if err != nil {
		return fmt.Errorf("%w: postbacks: %w", mirror.ErrDatabase, err)
	}
	defer func() { _ = rows.Close() }() // Err returns the error
	for rows.Next() {
		if err := row(rows); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("%w: postbacks: %w", mirror.ErrDatabase, err)
	}
	return nil
}

// due returns the events to send now, at most one of each lead. An event waits
// for the earlier events of its lead. Those that have failed least recently
// come first, so a few bad events do not hold up the others.
func (s *Sender) due(ctx context.Context, d *destination, limit int) (items []item, err error) {
	const statement = `
SELECT event_id, macros, attempts, failing_since FROM postback_queue q
WHERE destination = $1 AND state = 'waiting' AND due_at <= $2 AND NOT EXISTS (
	SELECT 1 FROM postback_queue p WHERE p.destination = q.destination AND p.brand = q.brand
		AND p.lead_id = q.lead_id AND p.state = 'waiting' AND p.event_id < q.event_id)
ORDER BY due_at, event_id LIMIT $3`
	args := []any{d.Name, tables.Time(time.Now()), limit}
	err = query(ctx, s.mirror.DB(), statement, args, func(rows *sql.Rows) error {
		var i item
		err := rows.Scan(&i.eventID, &i.values, &i.attempts, (*tables.Time)(&i.failingSince))
		items = append(items, i)
		return err
	})
	return items, err
}

// save saves the results of a batch. outcomes has one result for each item.
func (s *Sender) save(ctx context.Context, d *destination, items []item, outcomes []outcome, now time.Time) error {
	const accepted = "DELETE FROM postback_queue WHERE destination = $1 AND event_id = $2"
	const refused = "UPDATE postback_queue SET attempts = $3, failing_since = $4, due_at = $5, error = $6, " +
		"state = $7 WHERE destination = $1 AND event_id = $2"
	const state = "UPDATE postback_destinations SET sent = sent + $2, failures = $3, failing_since = $4, " +
		"paused_until = $5 WHERE name = $1"
	const expire = "UPDATE postback_queue SET state = 'failed', error = $2 " +
		"WHERE destination = $1 AND state = 'waiting' AND waiting_since <= $3"
	var givenUp int64
	err := s.mirror.Transact(ctx, "save results of postbacks", func(ctx context.Context, tx *sql.Tx) error {
		sent := 0
		for i, item := range items {
			o := outcomes[i]
			var err error
			switch {
			case o.stopped:
			case o.err == nil:
				sent++
				_, err = tx.ExecContext(ctx, accepted, d.Name, item.eventID)
			default:
				since, state := item.failingSince, "waiting"
				if since.IsZero() {
					since = now
				}
				if now.Sub(since) >= giveUpAfter {
					state = "failed"
					givenUp++
				}
				due := now.Add(max(backoff(item.attempts+1), o.retryAfter))
				_, err = tx.ExecContext(ctx, refused, d.Name, item.eventID, item.attempts+1, tables.Time(since),
					tables.Time(due), o.err.Error(), state)
			}
			if err != nil {
				return err
			}
		}
		args := []any{d.Name, sent, d.failures, tables.Time(d.failingSince), tables.Time(d.pausedUntil)}
		_, err := tx.ExecContext(ctx, state, args...)
		broken := slices.IndexFunc(outcomes, func(o outcome) bool { return o.everyone && !o.stopped })
		if err != nil || broken < 0 || now.Sub(d.failingSince) < giveUpAfter {
			return err
		}
		result, err := tx.ExecContext(ctx, expire, d.Name, outcomes[broken].err.Error(),
			tables.Time(now.Add(-giveUpAfter)))
		if err != nil {
			return err
		}
		expired, err := result.RowsAffected()
		givenUp += expired
		return err
	})
	if err == nil {
		d.givenUp += givenUp
	}
	return err
}
