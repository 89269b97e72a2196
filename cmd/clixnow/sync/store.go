package main

import (
	"context"
	"database/sql"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/clixnow/clixnow-go"
)

const (
	schemaVersion      = 1
	transactionTimeout = 2 * time.Minute
)

var (
	errDatabase      = errors.New("database")
	errWrongDatabase = errors.New("this database cannot be used")
	errTakenOver     = errors.New("another process has taken over this database")
)

//go:embed schema.sql
var schema string

// store is the database of one brand. It belongs to the process that opened it
// last. If an earlier process tries to save, it gets errTakenOver. So two
// processes cannot overwrite each other's data. There is no lock, so a killed
// process does not block the next one.
type store struct {
	db *sql.DB
	// name is the name of the database for the log, without a password.
	name string
	// owner is the number of this process in sync_state.
	owner int64
}

// openStore opens the database of a brand and takes it over. It creates the
// tables if there are none.
func openStore(ctx context.Context, address, brand string) (*store, error) {
	db, dialect, err := openDatabase(address)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // the transactions run one after another
	s := &store{db: db, name: dialect.name}
	err = s.transact(ctx, "open", func(ctx context.Context, tx *sql.Tx) error {
		return s.takeOver(ctx, tx, dialect, brand)
	})
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	return s, nil
}

// takeOver makes this process the owner of the database. It returns
// errWrongDatabase if the database belongs to another brand or to a newer
// version of the program.
func (s *store) takeOver(ctx context.Context, tx *sql.Tx, d dialect, brand string) error {
	state := d.types.Replace(`CREATE TABLE IF NOT EXISTS sync_state (
		only_row       BIGINT PRIMARY KEY CHECK (only_row = 1),
		schema_version BIGINT NOT NULL,
		brand          TEXT NOT NULL,
		owner          BIGINT NOT NULL, -- the number of times that the database was opened
		position       TIMESTAMPTZ -- all changes before this time were read; NULL: none were read
	)`)
	for _, statement := range []string{
		d.lock, state,
		"INSERT INTO sync_state VALUES (1, 0, '', 0, NULL) ON CONFLICT DO NOTHING",
	} {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	var version int
	var owned string
	err := tx.QueryRowContext(ctx,
		"UPDATE sync_state SET owner = owner + 1 RETURNING schema_version, brand, owner").Scan(&version, &owned,
		&s.owner)
	switch {
	case err != nil:
		return err
	case version > schemaVersion:
		return fmt.Errorf("%w: its tables have version %d, but this program supports only versions up to %d",
			errWrongDatabase, version, schemaVersion)
	case version > 0 && owned != brand:
		return fmt.Errorf("%w: it has the leads of brand %q", errWrongDatabase, owned)
	case version > 0:
		return nil
	}
	if _, err := tx.ExecContext(ctx, d.types.Replace(schema)); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "UPDATE sync_state SET schema_version = $1, brand = $2", schemaVersion, brand)
	return err
}

func (s *store) close() error { return s.db.Close() }

// position returns the saved position.
func (s *store) position(ctx context.Context) (time.Time, error) {
	var position date
	err := s.transact(ctx, "read the position", func(ctx context.Context, tx *sql.Tx) error {
		return takenOver(tx.QueryRowContext(ctx, "SELECT position FROM sync_state WHERE owner = $1",
			s.owner).Scan(&position))
	})
	return time.Time(position), err
}

// save saves leads, their events and the position in one transaction. The order
// of leads must be the order in which they were read. save finds the events by
// comparing the leads with the stored versions. So an unchanged lead makes no
// event.
func (s *store) save(ctx context.Context, leads []clixnow.Lead, position time.Time) error {
	return s.transact(ctx, "save leads", func(ctx context.Context, tx *sql.Tx) error {
		// The first statement is a write. It waits for a transaction of another
		// process, so that the next statements see that process's changes.
		const update = "UPDATE sync_state SET position = $1 WHERE owner = $2 RETURNING owner"
		if err := takenOver(tx.QueryRowContext(ctx, update, dateOf(position), s.owner).Scan(new(int64))); err != nil {
			return err
		}
		known, err := rawLeads(ctx, tx, leads)
		if err != nil {
			return err
		}
		changed, events, err := compare(known, leads)
		if err != nil {
			return err
		}
		if err := insert(ctx, tx, "leads", leadColumns, replaceLead(), changed); err != nil {
			return err
		}
		return insert(ctx, tx, "lead_events", eventColumns, "", events)
	})
}

// compare returns the rows of changed leads and of their events. known has the
// stored versions of leads, by id. compare updates it, because leads can have
// several versions of one lead.
func compare(known map[int64]string, leads []clixnow.Lead) (changed, events [][]any, err error) {
	// There is one row for each lead, because PostgreSQL refuses a statement
	// that replaces a row twice.
	rows := make(map[int64][]any)
	now := time.Now()
	for i := range leads {
		lead := &leads[i]
		raw, err := json.Marshal(lead)
		if err != nil {
			return nil, nil, fmt.Errorf("lead %d: %w", lead.ID, err)
		}
		var before *clixnow.Lead
		switch stored, ok := known[lead.ID]; {
		case stored == string(raw):
			continue
		case ok:
			before = new(clixnow.Lead)
			if err := json.Unmarshal([]byte(stored), before); err != nil {
				return nil, nil, fmt.Errorf("the stored lead %d: %w", lead.ID, err)
			}
		}
		known[lead.ID] = string(raw)
		if rows[lead.ID], err = leadRow(lead, raw); err != nil {
			return nil, nil, fmt.Errorf("lead %d: %w", lead.ID, err)
		}
		events = append(events, eventRows(before, *lead, now)...)
	}
	return slices.Collect(maps.Values(rows)), events, nil
}

// unprinted returns at most limit events that are not marked as printed, the
// oldest first.
func (s *store) unprinted(ctx context.Context, limit int) (events []event, err error) {
	err = s.transact(ctx, "read events", func(ctx context.Context, tx *sql.Tx) error {
		events, err = unprintedEvents(ctx, tx, limit)
		return err
	})
	return events, err
}

// markPrinted marks all events up to the id last as printed.
func (s *store) markPrinted(ctx context.Context, last int64) error {
	const update = "UPDATE lead_events SET printed_at = $1 WHERE printed_at IS NULL AND id <= $2"
	return s.transact(ctx, "mark events as printed", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, update, dateOf(time.Now()), last)
		return err
	})
}

// transact calls do in a transaction. action describes it in errors.
func (s *store) transact(ctx context.Context, action string, do func(context.Context, *sql.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, transactionTimeout)
	defer cancel()
	tx, err := s.db.BeginTx(ctx, nil)
	if err == nil {
		defer func() { _ = tx.Rollback() }() // does nothing after a commit
		err = do(ctx, tx)
	}
	if err == nil {
		err = tx.Commit()
	}
	if err == nil || errors.Is(err, errWrongDatabase) || errors.Is(err, errTakenOver) {
		return err
	}
	return fmt.Errorf("%w: %s: %w", errDatabase, action, err)
}

// takenOver returns errTakenOver if sync_state has no row with this process as
// the owner.
func takenOver(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return errTakenOver
	}
	return err
}
