package mirror

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
)

// table is a table with a brand, two columns of integers, and columns of texts.
// The code treats dates and JSON as texts, and "" as their NULL.
type table struct {
	name string
	ints [2]string
	// columns are the columns of texts. "column type" means that the column can
	// be NULL, and has this type in PostgreSQL.
	columns []string
}

// record is a row of a table.
type record struct {
	ints  [2]int64
	texts []string
}

// year2000 is when dates of PostgreSQL begin, in microseconds since 1970.
const year2000 = 946_684_800_000_000

// These are positions in the columns of leadTable.
const (
	emailColumn   = 0
	statusColumn  = 1
	updatedColumn = 5
	ftdColumn     = 6
)

var (
	leadTable = table{
		name: "leads", ints: [2]string{"id", "brand_id"},
		columns: []string{
			"email", "status", "crm_id", "brand_name", "created_on timestamptz", "updated_on timestamptz",
			"ftd_date timestamptz", "click_id", "sub2", "sub_campaign", "keyword", "placement", "client_type",
			"extra json",
		},
	}
	eventTable = table{
		name: "lead_events", ints: [2]string{"id", "lead_id"},
		columns: []string{
			"event", "status_before", "status", "ftd_date timestamptz", "updated_on timestamptz",
			"recorded_at timestamptz",
		},
	}
)

// indexes are for questions. Saving does not need them.
var indexes = []string{
	"CREATE INDEX IF NOT EXISTS leads_by_created_on ON leads (created_on)",
	"CREATE INDEX IF NOT EXISTS leads_by_ftd_date ON leads (ftd_date) WHERE ftd_date IS NOT NULL",
	"CREATE INDEX IF NOT EXISTS lead_events_by_lead ON lead_events (lead_id)",
}

// createIndexes creates the indexes in the transaction in which the first brand
// catches up. This is much faster than maintaining them while its history is
// saved.
func (m *Mirror) createIndexes(ctx context.Context, tx *sql.Tx) error {
	var created bool
	const query = "SELECT EXISTS (SELECT 1 FROM mirror_brands WHERE caught_up_at IS NOT NULL)"
	if err := tx.QueryRowContext(ctx, query).Scan(&created); err != nil || created {
		return err
	}
	for _, statement := range indexes {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// texts returns the names of the columns of texts, each after a comma.
func (t table) texts() string {
	var list strings.Builder
	for _, column := range t.columns {
		name, _, _ := strings.Cut(column, " ")
		list.WriteString(", " + name)
	}
	return list.String()
}

func isNullable(column string) bool { return strings.Contains(column, " ") }

func isDate(column string) bool { return strings.HasSuffix(column, " timestamptz") }

// record returns an empty record.
func (t table) record() record { return record{texts: make([]string, len(t.columns))} }

// targets returns what a row of brand, integers and texts is scanned into.
func (r *record) targets(brand *string) []any {
	targets := []any{brand, &r.ints[0], &r.ints[1]}
	for i := range r.texts {
		targets = append(targets, (*text)(&r.texts[i]))
	}
	return targets
}

// stored returns the stored versions of leads, by id.
func (m *Mirror) stored(ctx context.Context, tx *sql.Tx, brand string, leads []record) (map[int64]record, error) {
	known := make(map[int64]record)
	var greatest int64
	err := tx.QueryRowContext(ctx, "SELECT coalesce(max(id), 0) FROM leads WHERE brand = $1", brand).Scan(&greatest)
	if err != nil {
		return nil, err
	}
	var ids []int64
	for i := range leads {
		if id := leads[i].ints[0]; id <= greatest {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return known, nil
	}
	from, arg := "leads AS l WHERE l.id = ANY($2)", any(ids)
	if m.dialect == SQLite {
		list, err := json.Marshal(ids)
		if err != nil {
			return nil, err
		}
		// CROSS JOIN makes SQLite look up each id instead of reading all leads.
		from, arg = "json_each($2) AS j CROSS JOIN leads AS l WHERE l.id = j.value", string(list)
	}
	//nolint:gosec // G202: only names of columns are appended
	statement := "SELECT brand, l.id, brand_id" + leadTable.texts() + " FROM " + from + " AND brand = $1"
	rows, err := tx.QueryContext(ctx, statement, brand, arg)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // Err returns the error
	for rows.Next() {
		r := leadTable.record()
		if err := rows.Scan(r.targets(new(string))...); err != nil {
			return nil, err
		}
		known[r.ints[0]] = r
	}
	return known, rows.Err()
}

// insert inserts records of a brand. end is the end of the statement.
func (m *Mirror) insert(
	ctx context.Context, tx transaction, t table, brand string, records []record, end string,
) error {
	if m.dialect == PostgreSQL {
		if end == "" && tx.conn != nil {
			if err := t.copyIn(ctx, tx.conn, brand, records); !errors.Is(err, errors.ErrUnsupported) {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, t.insertArrays()+end, t.arrays(brand, records)...)
		return err
	}
	// The driver starts a goroutine for each statement whose context can end.
	ctx = context.WithoutCancel(ctx)
	const rows = 20 // more rows cost more memory, and are hardly faster
	many, err := tx.PrepareContext(ctx, t.insertRows(rows)+end)
	if err != nil {
		return err
	}
	defer func() { _ = many.Close() }()
	for ; len(records) >= rows; records = records[rows:] {
		if _, err := many.ExecContext(ctx, t.values(brand, records[:rows])...); err != nil {
			return err
		}
	}
	if len(records) > 0 {
		_, err = tx.ExecContext(ctx, t.insertRows(len(records))+end, t.values(brand, records)...)
	}
	return err
}

// values returns the arguments of insertRows.
func (t table) values(brand string, records []record) []any {
	args := make([]any, 0, 1+len(records)*(2+len(records[0].texts)))
	args = append(args, brand)
	for _, r := range records {
		args = append(args, r.ints[0], r.ints[1])
		for i, text := range r.texts {
			if text == "" && isNullable(t.columns[i]) {
				args = append(args, nil)
			} else {
				args = append(args, text)
			}
		}
	}
	return args
}

// arrays returns the arguments of insertArrays.
func (t table) arrays(brand string, records []record) []any {
	args := []any{brand}
	for i := range t.ints {
		column := make([]int64, len(records))
		for j := range records {
			column[j] = records[j].ints[i]
		}
		args = append(args, column)
	}
	for i, column := range t.columns {
		texts := make([]string, len(records))
		for j := range records {
			texts[j] = records[j].texts[i]
		}
		if isDate(column) {
			args = append(args, dates(texts))
		} else {
			args = append(args, texts)
		}
	}
	return args
}

// copyIn inserts new records by COPY, which is faster than INSERT. It returns
// errors.ErrUnsupported if the driver is not pgx, or hides it.
func (t table) copyIn(ctx context.Context, conn *sql.Conn, brand string, records []record) error {
	statement := "COPY " + t.target() + " FROM STDIN BINARY"
	return conn.Raw(func(driver any) error {
		c, ok := driver.(*stdlib.Conn)
		if !ok {
			return errors.ErrUnsupported
		}
		_, err := c.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(t.binary(brand, records)), statement)
		return err
	})
}

// binary returns records in the binary format of COPY.
func (t table) binary(brand string, records []record) []byte {
	const header = "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	data := append(make([]byte, 0, 300*len(records)), header...)
	size := func(n int) { data = binary.BigEndian.AppendUint32(data, uint32(n)) } //nolint:gosec // texts are short
	text := func(s string) {
		size(len(s))
		data = append(data, s...)
	}
	number := func(n int64) {
		size(8)
		data = binary.BigEndian.AppendUint64(data, uint64(n)) //nolint:gosec // the bits stay the same
	}
	for _, r := range records {
		data = binary.BigEndian.AppendUint16(data, uint16(3+len(r.texts))) //nolint:gosec // a table has few columns
		text(brand)
		number(r.ints[0])
		number(r.ints[1])
		for i, value := range r.texts {
			switch column := t.columns[i]; {
			case value == "" && isNullable(column):
				size(-1)
			case isDate(column):
				number(parseDate(value).UnixMicro() - year2000)
			default:
				text(value)
			}
		}
	}
	return append(data, 0xff, 0xff)
}

// insertRows returns a statement for SQLite that inserts a number of records.
// Parameters cost more than the rest of the statement.
func (t table) insertRows(rows int) string {
	row := "(?1, ?, ?" + strings.Repeat(", ?", len(t.columns)) + ")"
	return "INSERT INTO " + t.target() + " VALUES " + strings.Repeat(row+", ", rows-1) + row
}

// insertArrays returns a statement for PostgreSQL that inserts any number of
// records. Each column is an array.
func (t table) insertArrays() string {
	columns, arrays := "$1, a1, a2", "unnest($2::bigint[]) AS a1, unnest($3::bigint[]) AS a2"
	for i, column := range t.columns {
		value, kind := fmt.Sprintf("b%d", i), "text"
		switch {
		case isDate(column):
			kind = "timestamptz"
		case isNullable(column):
			value = "NULLIF(" + value + ", '')::json"
		}
		columns += ", " + value
		arrays += fmt.Sprintf(", unnest($%d::%s[]) AS b%d", i+4, kind, i)
	}
	return fmt.Sprintf("INSERT INTO %s SELECT %s FROM (SELECT %s) AS u", t.target(), columns, arrays)
}

// target returns the name of the table and those of its columns.
func (t table) target() string {
	return fmt.Sprintf("%s (brand, %s, %s%s)", t.name, t.ints[0], t.ints[1], t.texts())
}

// replace returns the end of an INSERT that replaces known records.
func (t table) replace() string {
	set := []string{t.ints[1] + " = excluded." + t.ints[1]}
	for column := range strings.SplitSeq(t.texts()[2:], ", ") {
		set = append(set, column+" = excluded."+column)
	}
	return " ON CONFLICT (brand, id) DO UPDATE SET " + strings.Join(set, ", ")
}

// dateOf returns the text of a date, such as 2006-01-02T15:04:05.000000Z, which
// sorts by time. Both databases keep microseconds. The date is truncated to
// them, so a position does not become later. The text is empty for the zero
// time and for a date that it cannot hold.
func dateOf(t time.Time) string {
	t = t.UTC()
	if year := t.Year(); t.IsZero() || year < 1 || year > 9999 {
		return ""
	}
	// package time is much faster with RFC 3339 than with another format.
	var buffer [32]byte
	date := t.AppendFormat(buffer[:0], time.RFC3339)
	last := len(date) - 1
	date = strconv.AppendInt(date[:last], int64(1_000_000+t.Nanosecond()/1000), 10)
	date[last] = '.' // instead of the leading 1
	return string(append(date, 'Z'))
}

func parseDate(date string) time.Time {
	t, _ := time.Parse(time.RFC3339, date) // "" is the zero time
	return t
}

// dates returns the dates of texts. nil is NULL.
func dates(texts []string) []*time.Time {
	dates, values := make([]*time.Time, len(texts)), make([]time.Time, len(texts))
	for i, text := range texts {
		if text != "" {
			values[i] = parseDate(text)
			dates[i] = &values[i]
		}
	}
	return dates
}

// text is scanned from a text, a date or JSON. NULL is "".
type text string

// Scan implements sql.Scanner.
func (t *text) Scan(value any) error {
	switch value := value.(type) {
	case nil:
		*t = ""
	case time.Time:
		*t = text(dateOf(value))
	case string:
		*t = text(value)
	case []byte:
		*t = text(value)
	default:
		return fmt.Errorf("unexpected type %T of a text", value)
	}
	return nil
}

// nullable returns the argument of a date. The zero time is NULL.
func nullable(t time.Time) any {
	if date := dateOf(t); date != "" {
		return date
	}
	return nil
}
