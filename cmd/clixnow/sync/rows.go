package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/clixnow/clixnow-go"
)

// A dialect is in what the two databases differ. All else is SQL that both
// understand.
type dialect struct {
	name  string            // of the database, without a password
	types *strings.Replacer // of the columns, from PostgreSQL's
	lock  string            // keeps another process from making the tables at the same time
}

// openDatabase takes the URL of a PostgreSQL, or the name of an SQLite file. It
// does not connect yet.
func openDatabase(address string) (*sql.DB, dialect, error) {
	if strings.HasPrefix(address, "postgres://") || strings.HasPrefix(address, "postgresql://") {
		config, err := pgx.ParseConfig(address)
		if err != nil { // whose text may hold a piece of the password
			return nil, dialect{},
				fmt.Errorf("%w: -db is not a valid URL; in user and password write %%2F for / and %%40 for @", errUnfit)
		}
		return stdlib.OpenDB(*config), dialect{
			name:  fmt.Sprintf("%s on %s", config.Database, config.Host),
			types: strings.NewReplacer(),
			lock:  "SELECT pg_advisory_xact_lock(7046029254386353131)",
		}, nil
	}
	// not to be shown as the name of a file
	if strings.Contains(address, "://") || strings.Contains(address, "password=") {
		return nil, dialect{}, fmt.Errorf("%w: -db is neither a postgres:// URL nor the name of a file", errUnfit)
	}
	file := url.URL{Scheme: "file", Opaque: (&url.URL{Path: filepath.ToSlash(address)}).EscapedPath()}
	file.RawQuery = url.Values{
		"_pragma": {"busy_timeout(20000)", "journal_mode(WAL)", "synchronous(FULL)"}, // WAL: others may read meanwhile
		"_txlock": {"immediate"},
	}.Encode()
	db, err := sql.Open("sqlite", file.String())
	types := strings.NewReplacer("BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "INTEGER PRIMARY KEY AUTOINCREMENT",
		"BIGINT", "INTEGER", "TIMESTAMPTZ", "TEXT", "JSON", "TEXT")
	return db, dialect{name: address, types: types}, err
}

// dateFormat is how a time is written to a column: a TIMESTAMPTZ, or in SQLite
// a TEXT, which this fixed width lets sort by time. Microseconds are what
// PostgreSQL has. They are cut, not rounded: a position must not run ahead.
const dateFormat = "2006-01-02T15:04:05.000000Z"

// dateOf is a time for a column; the zero time is NULL.
func dateOf(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(dateFormat)
}

// date is a time from a column.
type date time.Time

// Scan implements sql.Scanner.
func (d *date) Scan(value any) error {
	switch value := value.(type) {
	case nil:
		*d = date{}
	case time.Time:
		*d = date(value.UTC())
	case string:
		parsed, err := time.Parse(dateFormat, value)
		*d = date(parsed)
		return err
	default:
		return fmt.Errorf("a date of type %T", value)
	}
	return nil
}

const (
	leadColumns = "id, email, status, crm_id, brand_id, brand_name, created_on, updated_on, ftd_date, click_id, sub2, sub_campaign, " +
		"keyword, placement, client_type, extra, raw"
	eventColumns = "lead_id, event, status_before, status, ftd_date, updated_on, recorded_at"
)

func leadRow(l *clixnow.Lead, raw []byte) ([]any, error) {
	var extra any // NULL
	if l.Extra != nil {
		encoded, err := json.Marshal(l.Extra)
		if err != nil {
			return nil, err
		}
		extra = string(encoded)
	}
	return []any{
		l.ID, text(l.Email), text(l.Status), text(l.CRMID), l.BrandID, text(l.BrandName), dateOf(l.CreatedOn),
		dateOf(l.UpdatedOn), dateOf(l.FTDDate),
		text(l.ClickID), text(l.Sub2), text(l.SubCampaign), text(l.Keyword), text(l.Placement),
		text(string(l.ClientType)), extra, string(raw),
	}, nil
}

func eventRows(before *clixnow.Lead, now clixnow.Lead, at time.Time) (rows [][]any) {
	var known clixnow.Lead
	if before != nil {
		known = *before
	}
	for _, kind := range clixnow.LeadEvents(before, now) {
		rows = append(rows, []any{
			now.ID, string(kind), text(known.Status), text(now.Status), dateOf(now.FTDDate), dateOf(now.UpdatedOn),
			dateOf(at),
		})
	}
	return rows
}

// text replaces the one character that PostgreSQL does not take, lest a lead
// that has it holds up all that follow.
func text(s string) string { return strings.ReplaceAll(s, "\x00", "\uFFFD") }

// rowsAtOnce go into one statement: more save PostgreSQL round trips, but cost
// SQLite the square of their parameters.
const rowsAtOnce = 20

// rawLeads returns the stored versions of leads, by id.
func rawLeads(ctx context.Context, tx *sql.Tx, leads []clixnow.Lead) (map[int64]string, error) {
	known := make(map[int64]string)
	for chunk := range slices.Chunk(leads, rowsAtOnce) {
		ids := make([]any, len(chunk))
		for i := range chunk {
			ids[i] = chunk[i].ID
		}
		rows,
			err := tx.QueryContext(ctx, "SELECT id, raw FROM leads WHERE id IN "+placeholders(1, len(ids)),
			ids...) //nolint:gosec // G202: no values
		if err != nil {
			return nil, err
		}
		defer func() { _ = rows.Close() }() // Err says what failed
		for rows.Next() {
			var id int64
			var raw string
			if err := rows.Scan(&id, &raw); err != nil {
				return nil, err
			}
			known[id] = raw
		}
		if err := rows.Err(); err != nil {
			return nil, err
		}
	}
	return known, nil
}

// insert writes rows, and where onConflict says so, over what is there.
func insert(ctx context.Context, tx *sql.Tx, table, columns, onConflict string, rows [][]any) error {
	for chunk := range slices.Chunk(rows, rowsAtOnce) {
		values := placeholders(len(chunk), len(chunk[0]))
		statement := fmt.Sprintf("INSERT INTO %s (%s) VALUES %s %s", table, columns, values,
			onConflict) //nolint:gosec // G201: no values
		if _, err := tx.ExecContext(ctx, statement, slices.Concat(chunk...)...); err != nil {
			return err
		}
	}
	return nil
}

// replaceLead ends an insert of leads by their id.
func replaceLead() string {
	var set []string
	for column := range strings.SplitSeq(leadColumns, ", ") {
		set = append(set, column+" = excluded."+column)
	}
	return "ON CONFLICT (id) DO UPDATE SET " + strings.Join(set, ", ")
}

// placeholders returns "($1,$2),($3,$4)" for two rows of two columns.
func placeholders(rows, columns int) string {
	var list strings.Builder
	for i := range rows * columns {
		switch {
		case i == 0:
			list.WriteByte('(')
		case i%columns == 0:
			list.WriteString("),(")
		default:
			list.WriteByte(',')
		}
		fmt.Fprintf(&list, "$%d", i+1)
	}
	return list.String() + ")"
}

// An event is a line of lead_events.
type event struct {
	id, lead             int64
	kind                 clixnow.LeadEvent
	statusBefore, status string
	ftdDate, updatedOn   date
}

// unprintedEvents returns the oldest ones, at most as many.
func unprintedEvents(ctx context.Context, tx *sql.Tx, most int) (events []event, err error) {
	rows,
		err := tx.QueryContext(ctx,
		"SELECT id, lead_id, event, status_before, status, ftd_date, updated_on FROM lead_events "+
			"WHERE printed_at IS NULL ORDER BY id LIMIT $1", most)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // Err says what failed
	for rows.Next() {
		var e event
		if err := rows.Scan(&e.id, &e.lead, &e.kind, &e.statusBefore, &e.status, &e.ftdDate, &e.updatedOn); err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, rows.Err()
}

// String shows the event as a line. Quotes keep a status from forging another
// line, or moving the cursor.
func (e event) String() string {
	var what string
	switch e.kind {
	default: // its name says it all
	case clixnow.LeadCreated:
		what = fmt.Sprintf("%q", e.status)
	case clixnow.LeadStatusChanged:
		what = fmt.Sprintf("%q -> %q", e.statusBefore, e.status)
	case clixnow.LeadDeposited:
		what = time.Time(e.ftdDate).Format(time.DateTime)
	}
	return strings.TrimRight(fmt.Sprintf("%7d  %s  lead %-8d  %-17s  %s", e.id,
		time.Time(e.updatedOn).Format(time.DateTime), e.lead, e.kind, what), " ")
}
