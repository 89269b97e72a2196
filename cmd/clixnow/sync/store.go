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
	schemaVersion = 1
	patience      = 2 * time.Minute // with one transaction
)

var (
	errDatabase  = errors.New("database")
	errUnfit     = errors.New("this database does not fit")
	errTakenOver = errors.New("another process has taken over this database")
)

//go:embed schema.sql
var schema string

// store is the database of one brand. It belongs to the process that opened it
// last: what an earlier one tries to save fails with errTakenOver. So two of
// them cannot write over each other, and one that was killed locks nobody out.
type store struct {
	db    *sql.DB
	name  string // without a password
	owner int64
}

// openStore opens the database of a brand, makes its tables where there are
// none, and takes it over.
func openStore(ctx context.Context, address, brand string) (*store, error) {
	db, dialect, err := openDatabase(address)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // the program does one thing after the other
	s := &store{db: db, name: dialect.name}
	err = s.transact(ctx, "open", func(ctx context.Context, tx *sql.Tx) error {
		return s.takeOver(ctx, tx, dialect, brand)
	})
	if err != nil {
		_ = db.Close() // nothing was written
		return nil, err
	}
	return s, nil
}

func (s *store) takeOver(ctx context.Context, tx *sql.Tx, d dialect, brand string) error {
	state := d.types.Replace(`CREATE TABLE IF NOT EXISTS sync_state (
		only_row       BIGINT PRIMARY KEY CHECK (only_row = 1),
		schema_version BIGINT NOT NULL,
		brand          TEXT NOT NULL,
		owner          BIGINT NOT NULL, -- how often the database was opened
		position       TIMESTAMPTZ -- what was updated before it has been read; NULL: nothing has
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
		return fmt.Errorf("%w: its tables are of version %d, this program knows up to %d", errUnfit, version,
			schemaVersion)
	case version > 0 && owned != brand:
		return fmt.Errorf("%w: it holds leads of %q", errUnfit, owned)
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

// position returns where to go on reading.
func (s *store) position(ctx context.Context) (time.Time, error) {
	var position date
	err := s.transact(ctx, "read the position", func(ctx context.Context, tx *sql.Tx) error {
		return missing(tx.QueryRowContext(ctx, "SELECT position FROM sync_state WHERE owner = $1",
			s.owner).Scan(&position))
	})
	return time.Time(position), err
}

// save writes leads in the order in which they came, what happened to them, and
// the position: all or nothing. What happened is found by comparing with what
// is stored, within the transaction, so a lead that comes again makes no event.
func (s *store) save(ctx context.Context, leads []clixnow.Lead, position time.Time) error {
	return s.transact(ctx, "save leads", func(ctx context.Context, tx *sql.Tx) error {
		// First of all a write: it waits for a transaction of another process,
		// and what follows sees what that one did.
		const move = "UPDATE sync_state SET position = $1 WHERE owner = $2 RETURNING owner"
		if err := missing(tx.QueryRowContext(ctx, move, dateOf(position), s.owner).Scan(new(int64))); err != nil {
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

// compare returns the rows to write for leads of which known holds the stored
// versions. It keeps known current, since a lead may come in two versions.
func compare(known map[int64]string, leads []clixnow.Lead) (changed, events [][]any, err error) {
	rows := make(map[int64][]any) // one for each lead: PostgreSQL refuses to insert over what it has just inserted
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

// unprinted returns the oldest events that are not known to have been printed,
// at most as many.
func (s *store) unprinted(ctx context.Context, most int) (events []event, err error) {
	err = s.transact(ctx, "read events", func(ctx context.Context, tx *sql.Tx) error {
		events, err = unprintedEvents(ctx, tx, most)
		return err
	})
	return events, err
}

// printed marks the events up to the one of this id.
func (s *store) printed(ctx context.Context, last int64) error {
	return s.transact(ctx, "mark events as printed", func(ctx context.Context, tx *sql.Tx) error {
		_,
			err := tx.ExecContext(ctx, "UPDATE lead_events SET printed_at = $1 WHERE printed_at IS NULL AND id <= $2",
			dateOf(time.Now()), last)
		return err
	})
}

// transact calls do within a transaction.
func (s *store) transact(ctx context.Context, what string, do func(context.Context, *sql.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tx, err := s.db.BeginTx(ctx, nil)
	if err == nil {
		defer func() { _ = tx.Rollback() }() // does nothing after a commit
		err = do(ctx, tx)
	}
	if err == nil {
		err = tx.Commit()
	}
	if err == nil || errors.Is(err, errUnfit) || errors.Is(err, errTakenOver) {
		return err
	}
	return fmt.Errorf("%w: %s: %w", errDatabase, what, err)
}

// missing says what it means that our row of the state is not there.
func missing(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return errTakenOver
	}
	return err
}
