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

// dialect has the differences between the two databases. All other SQL works
// with both.
type dialect struct {
	// name is the name of the database for the log, without a password.
	name string
	// types replaces PostgreSQL's column types by those of the database.
	types *strings.Replacer
	// lock is a statement that prevents two processes from creating the tables
	// at the same time. It may be empty.
	lock string
}

// openDatabase opens a PostgreSQL database by its URL, or an SQLite database by
// its file name. It does not connect yet.
func openDatabase(address string) (*sql.DB, dialect, error) {
	if strings.HasPrefix(address, "postgres://") || strings.HasPrefix(address, "postgresql://") {
		config, err := pgx.ParseConfig(address)
		if err != nil { // err is left out, because it can contain a part of the password
			return nil, dialect{}, fmt.Errorf("%w: -db is not a valid URL; in the user and the password "+
				"write %%2F for / and %%40 for @", errWrongDatabase)
		}
		return stdlib.OpenDB(*config), dialect{
			name:  fmt.Sprintf("%s on %s", config.Database, config.Host),
			types: strings.NewReplacer(),
			lock:  "SELECT pg_advisory_xact_lock(7046029254386353131)",
		}, nil
	}
	// Such an address may contain a password. It must not be used as a file
	// name, because file names are shown.
	if strings.Contains(address, "://") || strings.Contains(address, "password=") {
		return nil, dialect{}, fmt.Errorf("%w: -db is neither a postgres:// URL nor a file name", errWrongDatabase)
	}
	file := url.URL{Scheme: "file", Opaque: (&url.URL{Path: filepath.ToSlash(address)}).EscapedPath()}
	file.RawQuery = url.Values{
		// With WAL, other processes can read during a write.
		"_pragma": {"busy_timeout(20000)", "journal_mode(WAL)", "synchronous(FULL)"},
		"_txlock": {"immediate"},
	}.Encode()
	db, err := sql.Open("sqlite", file.String())
	types := strings.NewReplacer("BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "INTEGER PRIMARY KEY AUTOINCREMENT",
		"BIGINT", "INTEGER", "TIMESTAMPTZ", "TEXT", "JSON", "TEXT")
	return db, dialect{name: address, types: types}, err
}

// dateFormat is the format of times in columns. In SQLite the column type is
// TEXT: because of the fixed width, it sorts by time. PostgreSQL stores
// microseconds. Format truncates a time to them and does not round it up, so a
// position does not become later.
const dateFormat = "2006-01-02T15:04:05.000000Z"

// dateOf returns the value of a time for a column. The zero time is NULL.
func dateOf(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(dateFormat)
}

// date is a time that is read from a column. NULL is the zero time.
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
		return fmt.Errorf("unexpected type %T of a date", value)
	}
	return nil
}

const (
	leadColumns = "id, email, status, crm_id, brand_id, brand_name, created_on, updated_on, ftd_date, click_id, " +
		"sub2, sub_campaign, keyword, placement, client_type, extra, raw"
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
		l.ID, text(l.Email), text(l.Status), text(l.CRMID), l.BrandID, text(l.BrandName),
		dateOf(l.CreatedOn), dateOf(l.UpdatedOn), dateOf(l.FTDDate),
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

// text replaces NUL, which PostgreSQL does not accept in a text. A lead that
// cannot be saved would stop the sync.
func text(s string) string { return strings.ReplaceAll(s, "\x00", "\uFFFD") }

// rowsPerStatement is the number of rows in one statement. More rows save round
// trips to PostgreSQL, but the cost in SQLite grows with the square of the
// number of parameters.
const rowsPerStatement = 20

// rawLeads returns the stored versions of leads, by id.
func rawLeads(ctx context.Context, tx *sql.Tx, leads []clixnow.Lead) (map[int64]string, error) {
	known := make(map[int64]string)
	for chunk := range slices.Chunk(leads, rowsPerStatement) {
		ids := make([]any, len(chunk))
		for i := range chunk {
			ids[i] = chunk[i].ID
		}
		//nolint:gosec // G202: only placeholders are appended
		statement := "SELECT id, raw FROM leads WHERE id IN " + placeholders(1, len(ids))
		rows, err := tx.QueryContext(ctx, statement, ids...)
		if err != nil {
			return nil, err
		}
		defer func() { _ = rows.Close() }() // Err returns the error
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

// insert inserts rows. onConflict is the end of the statement. It may be empty.
func insert(ctx context.Context, tx *sql.Tx, table, columns, onConflict string, rows [][]any) error {
	for chunk := range slices.Chunk(rows, rowsPerStatement) {
		values := placeholders(len(chunk), len(chunk[0]))
		//nolint:gosec // G201: only names and placeholders are inserted
		statement := fmt.Sprintf("INSERT INTO %s (%s) VALUES %s %s", table, columns, values, onConflict)
		if _, err := tx.ExecContext(ctx, statement, slices.Concat(chunk...)...); err != nil {
			return err
		}
	}
	return nil
}

// replaceLead returns the clause that replaces leads with the same id.
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

// event is a row of lead_events.
type event struct {
	id, lead             int64
	kind                 clixnow.LeadEvent
	statusBefore, status string
	ftdDate, updatedOn   date
}

// unprintedEvents returns at most limit events that are not marked as printed,
// the oldest first.
func unprintedEvents(ctx context.Context, tx *sql.Tx, limit int) (events []event, err error) {
	const statement = "SELECT id, lead_id, event, status_before, status, ftd_date, updated_on FROM lead_events " +
		"WHERE printed_at IS NULL ORDER BY id LIMIT $1"
	rows, err := tx.QueryContext(ctx, statement, limit)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // Err returns the error
	for rows.Next() {
		var e event
		if err := rows.Scan(&e.id, &e.lead, &e.kind, &e.statusBefore, &e.status, &e.ftdDate, &e.updatedOn); err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, rows.Err()
}

// String returns the event as a line. It quotes a status, so that a status with
// control characters cannot forge a line or move the cursor.
func (e event) String() string {
	var detail string
	switch e.kind {
	default: // no detail
	case clixnow.LeadCreated:
		detail = fmt.Sprintf("%q", e.status)
	case clixnow.LeadStatusChanged:
		detail = fmt.Sprintf("%q -> %q", e.statusBefore, e.status)
	case clixnow.LeadDeposited:
		detail = time.Time(e.ftdDate).Format(time.DateTime)
	}
	return strings.TrimRight(fmt.Sprintf("%7d  %s  lead %-8d  %-17s  %s", e.id,
		time.Time(e.updatedOn).Format(time.DateTime), e.lead, e.kind, detail), " ")
}
