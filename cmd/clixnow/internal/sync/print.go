package sync

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
	"github.com/clixnow/clixnow-go/store/mirror"
)

const (
	// width is the largest number of columns of a line.
	width = 80
	// printBatch is the number of events after which it is saved that they were
	// printed.
	printBatch = 500
)

// printEvents prints the events that were not printed yet.
func (s *syncer) printEvents(ctx context.Context, saved <-chan struct{}) error {
	for more := true; more; {
		_, more = <-saved
		err := s.mirror.HandleEvents(ctx, "print", printBatch, s.printBatch)
		// The mirror reports that the database failed, and ends if it must.
		reported := errors.Is(err, mirror.ErrDatabase) || errors.Is(err, mirror.ErrTakenOver)
		if err != nil && ctx.Err() == nil && !reported {
			return err
		}
	}
	return nil
}

func (s *syncer) printBatch(events []mirror.Event) error {
	for _, event := range events {
		line, err := s.line(event)
		if err != nil {
			return err
		}
		// Each line is written at once, so that a kill does not cut it.
		if _, err := fmt.Fprintln(s.app.Out, line); err != nil {
			return app.WithCode(app.CodeLater, fmt.Errorf("print events: %w", err))
		}
	}
	return nil
}

// eventJSON is the JSON of an event.
type eventJSON struct {
	ID           int64             `json:"id"`
	Brand        string            `json:"brand"`
	LeadID       int64             `json:"leadId"`
	Kind         clixnow.LeadEvent `json:"event"`
	StatusBefore string            `json:"statusBefore,omitempty"`
	Status       string            `json:"status,omitempty"`
	FTDDate      time.Time         `json:"ftdDate,omitzero"`
	UpdatedOn    time.Time         `json:"updatedOn,omitzero"`
	RecordedAt   time.Time         `json:"recordedAt"`
}

func (s *syncer) line(e mirror.Event) (string, error) {
	if s.settings.format == "jsonl" {
		data, err := json.Marshal(eventJSON(e))
		return string(data), err
	}
	var detail string
	switch e.Kind {
	case clixnow.LeadCreated:
		detail = fmt.Sprintf("%q", e.Status)
	case clixnow.LeadStatusChanged:
		detail = fmt.Sprintf("%q -> %q", e.StatusBefore, e.Status)
	case clixnow.LeadDeposited:
		detail = e.FTDDate.Format(time.DateTime)
	default: // no detail
	}
	// A status is quoted, so that it cannot forge a line or move the cursor.
	line := fmt.Sprintf("%7d  %s  %s %d  %s", e.ID,
		cmp.Or(e.UpdatedOn, e.RecordedAt).Format("2006-01-02 15:04"), e.Brand, e.LeadID, e.Kind)
	if detail != "" {
		line += "  " + detail
	}
	return text.Snip(line, width, "…"), nil
}
