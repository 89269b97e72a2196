package mirror

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/store/internal/tables"
)

// Apply saves leads of a brand in a transaction of the caller, and returns the
// events that it recorded. It compares the leads with the stored versions, so
// an unchanged lead makes no event and no write. leads may have several
// versions of one lead, the oldest first.
//
// Apply creates no index for questions. Run does, when the first brand has
// caught up. docs/mirror.md names them.
//
// If another process owns the mirror, Apply returns ErrTakenOver. After an
// error the caller must roll back.
func (m *Mirror) Apply(ctx context.Context, tx *sql.Tx, brand string, leads []clixnow.Lead) ([]Event, error) {
	records := make([]record, len(leads))
	for i := range leads {
		var err error
		if records[i], err = recordOf(&leads[i]); err != nil {
			return nil, err
		}
	}
	recorded, err := m.apply(ctx, transaction{Tx: tx}, brand, records)
	events := make([]Event, len(recorded))
	for i := range recorded {
		events[i] = recorded[i].event(brand)
	}
	return events, err
}

// apply does what Apply does, with records of leads and of events.
func (m *Mirror) apply(
	ctx context.Context, tx transaction, brand string, leads []record,
) (events []record, err error) {
	lastEvent, err := m.claim(ctx, tx.Tx)
	if err != nil {
		return nil, databaseError("save leads", err)
	}
	known, err := m.stored(ctx, tx.Tx, brand, leads)
	if err != nil {
		return nil, databaseError("read the stored leads", err)
	}
	changed, events := compare(known, leads, lastEvent)
	if len(changed) == 0 {
		return nil, nil
	}
	end := ""
	if len(known) > 0 {
		end = leadTable.replace()
	}
	err = m.insert(ctx, tx, leadTable, brand, changed, end)
	if err == nil && len(events) > 0 {
		err = m.insert(ctx, tx, eventTable, brand, events, "")
	}
	if err == nil && len(events) > 0 {
		_, err = tx.ExecContext(ctx, "UPDATE mirror_owner SET last_event = $1", events[len(events)-1].ints[0])
	}
	if err != nil {
		return nil, databaseError("save leads", err)
	}
	return events, nil
}

// compare returns the records of changed leads and of their events. known has
// the stored versions of leads, by id. leads can have several versions of one
// lead.
func compare(known map[int64]record, leads []record, lastEvent int64) (changed, events []record) {
	now := dateOf(time.Now())
	// There is one record for each lead, because PostgreSQL refuses a statement
	// that replaces a row twice. places has its place in changed.
	places := make(map[int64]int, len(leads))
	changed, events = make([]record, 0, len(leads)), make([]record, 0, len(leads)+len(leads)/8)
	for _, r := range leads {
		id := r.ints[0]
		before := known[id]
		place, repeated := places[id]
		if repeated {
			before = changed[place]
		}
		if before.ints == r.ints && slices.Equal(before.texts, r.texts) {
			continue
		}
		status := ""
		if before.texts != nil {
			status = before.texts[statusColumn]
		}
		for _, kind := range eventsOf(before, r) {
			lastEvent++
			t := r.texts
			events = append(events, record{
				[2]int64{lastEvent, id},
				[]string{string(kind), status, t[statusColumn], t[ftdColumn], t[updatedColumn], now},
			})
		}
		if repeated {
			changed[place] = r
		} else {
			places[id] = len(changed)
			changed = append(changed, r)
		}
	}
	return changed, events
}

// eventsOf compares two versions of a lead. before has no texts if the lead is
// new.
func eventsOf(before, now record) []clixnow.LeadEvent {
	version := func(r record) (lead clixnow.Lead) {
		lead.Status = r.texts[statusColumn]
		if r.texts[ftdColumn] != "" {
			lead.FTDDate = time.Unix(0, 0) // only whether there is one is compared
		}
		return lead
	}
	if before.texts == nil {
		return clixnow.LeadEvents(nil, version(now))
	}
	known := version(before)
	events := clixnow.LeadEvents(&known, version(now))
	if otherEmail(before.texts[emailColumn], now.texts[emailColumn]) {
		// It comes first, because the other events may be about another person.
		events = slices.Insert(events, 0, LeadEmailChanged)
	}
	return events
}

// otherEmail reports whether two emails are surely those of two people. An
// email that is hidden or masked proves nothing.
func otherEmail(a, b string) bool {
	masked := func(email string) bool {
		return !strings.Contains(email, "@") || strings.ContainsAny(email, "*•…") ||
			strings.Contains(strings.ToLower(email), "xxx")
	}
	return !masked(a) && !masked(b) && !strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b))
}

// recordOf returns the record of a lead.
func recordOf(l *clixnow.Lead) (record, error) {
	var extra []byte
	if len(l.Extra) > 0 {
		var err error
		if extra, err = json.Marshal(l.Extra); err != nil {
			return record{}, fmt.Errorf("mirror: lead %d: %w", l.ID, err)
		}
	}
	return record{[2]int64{l.ID, l.BrandID}, []string{
		tables.Text(l.Email), tables.Text(l.Status), tables.Text(l.CRMID), tables.Text(l.BrandName),
		dateOf(l.CreatedOn), dateOf(l.UpdatedOn), dateOf(l.FTDDate),
		tables.Text(l.ClickID), tables.Text(l.Sub2), tables.Text(l.SubCampaign), tables.Text(l.Keyword),
		tables.Text(l.Placement),
		tables.Text(string(l.ClientType)), tables.Text(string(extra)),
	}}, nil
}
