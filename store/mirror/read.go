package mirror

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"github.com/clixnow/clixnow-go"
)

// Lead is a lead of a brand.
type Lead struct {
	// Brand is the brand as Client.Brand returns it.
	Brand string
	// Lead is the last state of the lead.
	Lead clixnow.Lead
}

// Query selects leads. Its zero value selects all.
type Query struct {
	// Brand is the brand of the leads. "" means all brands.
	Brand string
	// CreatedFrom and CreatedTo limit CreatedOn. CreatedTo is not included. A
	// zero time means no limit. Leads that hide CreatedOn are only selected
	// without limits.
	CreatedFrom, CreatedTo time.Time
	// DepositedFrom and DepositedTo limit FTDDate in the same way.
	DepositedFrom, DepositedTo time.Time
}

// Leads yields the selected leads in the order of brand and id. After an error
// the sequence ends. It holds a connection while it is ranged over.
func (m *Mirror) Leads(ctx context.Context, q Query) iter.Seq2[Lead, error] {
	statement := "SELECT brand, id, brand_id" + leadTable.texts() + " FROM leads WHERE ($1 = '' OR brand = $1)"
	args := []any{q.Brand}
	limit := func(condition string, t time.Time) {
		if !t.IsZero() {
			args = append(args, dateOf(t))
			statement += fmt.Sprintf(" AND %s $%d", condition, len(args))
		}
	}
	limit("created_on >=", q.CreatedFrom)
	limit("created_on <", q.CreatedTo)
	limit("ftd_date >=", q.DepositedFrom)
	limit("ftd_date <", q.DepositedTo)
	return func(yield func(Lead, error) bool) {
		lead := Lead{}
		r := leadTable.record()
		err := m.query(ctx, statement+" ORDER BY brand, id", args, r.targets(&lead.Brand), func() (more bool) {
			var err error
			lead.Lead, err = r.lead()
			return yield(lead, err) && err == nil
		})
		if err != nil {
			yield(Lead{}, databaseError("read leads", err))
		}
	}
}

// Events returns the events after an id, the oldest first. There are at most
// limit of them.
func (m *Mirror) Events(ctx context.Context, after int64, limit int) ([]Event, error) {
	statement := "SELECT brand, id, lead_id" + eventTable.texts() +
		" FROM lead_events WHERE id > $1 ORDER BY id LIMIT $2"
	var events []Event
	var brand string
	r := eventTable.record()
	err := m.query(ctx, statement, []any{after, limit}, r.targets(&brand), func() bool {
		events = append(events, r.event(brand))
		return true
	})
	return events, databaseError("read events", err)
}

// EventsDone returns the last event that a reader has handled. It is 0 at
// first.
func (m *Mirror) EventsDone(ctx context.Context, reader string) (id int64, err error) {
	err = m.db.QueryRowContext(ctx, "SELECT coalesce(max(event_id), 0) FROM mirror_readers WHERE name = $1",
		reader).Scan(&id)
	return id, databaseError("read the position of a reader", err)
}

// SetEventsDone saves the last event that a reader has handled. It never moves
// back.
func (m *Mirror) SetEventsDone(ctx context.Context, reader string, id int64) error {
	const upsert = "INSERT INTO mirror_readers (name, event_id) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE " +
		"SET event_id = excluded.event_id WHERE mirror_readers.event_id < excluded.event_id"
	return m.Transact(ctx, "save the position of a reader", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, upsert, reader, id)
		return err
	})
}

// HandleEvents calls do with the events that a reader has not handled yet, at
// most limit at once, until none is left, do returns an error, or ctx is done.
// It saves that they are handled after do has returned. If the process dies
// between the two, the next one handles them again.
func (m *Mirror) HandleEvents(ctx context.Context, reader string, limit int, do func([]Event) error) error {
	done, err := m.EventsDone(ctx, reader)
	for err == nil && ctx.Err() == nil {
		var events []Event
		events, err = m.Events(ctx, done, limit)
		if err != nil || len(events) == 0 {
			break
		}
		if err = do(events); err == nil {
			done = events[len(events)-1].ID
			err = m.SetEventsDone(context.WithoutCancel(ctx), reader, done)
		}
	}
	return err
}

// Position is how far a brand was read.
type Position struct {
	// Brand is the brand.
	Brand string
	// ReadTo is the time before which all changes were read. A zero time means
	// that none were read.
	ReadTo time.Time
	// CaughtUpAt is when all changes had been saved last. While nothing
	// changes, it moves once in an hour. A zero time means that the history was
	// not read completely.
	CaughtUpAt time.Time
}

// Positions returns how far the brands were read, in the order of their names.
func (m *Mirror) Positions(ctx context.Context) ([]Position, error) {
	var all []Position
	var brand string
	var readTo, caughtUpAt text
	err := m.query(ctx, "SELECT brand, position, caught_up_at FROM mirror_brands ORDER BY brand", nil,
		[]any{&brand, &readTo, &caughtUpAt}, func() bool {
			all = append(all, Position{brand, parseDate(string(readTo)), parseDate(string(caughtUpAt))})
			return true
		})
	return all, databaseError("read the positions", err)
}

// query scans each row into targets and calls row, until it returns false.
func (m *Mirror) query(ctx context.Context, statement string, args, targets []any, row func() bool) error {
	rows, err := m.db.QueryContext(ctx, statement, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // Err returns the error
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return err
		}
		if !row() {
			return nil
		}
	}
	return rows.Err()
}

// lead returns the lead of a record of leadTable.
func (r *record) lead() (clixnow.Lead, error) {
	t := r.texts
	lead := clixnow.Lead{
		ID: r.ints[0], BrandID: r.ints[1],
		Email: t[emailColumn], Status: t[statusColumn], CRMID: t[2], BrandName: t[3],
		CreatedOn: parseDate(t[4]), UpdatedOn: parseDate(t[5]), FTDDate: parseDate(t[ftdColumn]),
		ClickID: t[7], Sub2: t[8], SubCampaign: t[9], Keyword: t[10], Placement: t[11],
		ClientType: clixnow.ClientType(t[12]),
	}
	if t[13] == "" {
		return lead, nil
	}
	err := json.Unmarshal([]byte(t[13]), &lead.Extra)
	return lead, err
}

func (r *record) event(brand string) Event {
	t := r.texts
	return Event{
		ID: r.ints[0], Brand: brand, LeadID: r.ints[1], Kind: clixnow.LeadEvent(t[0]), StatusBefore: t[1], Status: t[2],
		FTDDate: parseDate(t[3]), UpdatedOn: parseDate(t[4]), RecordedAt: parseDate(t[5]),
	}
}
