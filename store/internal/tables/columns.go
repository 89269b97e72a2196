package tables

import (
	"database/sql/driver"
	"fmt"
	"strings"
	"time"
)

// Time is a time in a column. Both databases keep microseconds. In SQLite it is
// a text that sorts by time. The zero time is NULL.
type Time time.Time //nolint:recvcheck // the methods of database/sql need both

const timeFormat = "2006-01-02T15:04:05.000000Z"

// Value implements driver.Valuer.
func (t Time) Value() (driver.Value, error) {
	if time.Time(t).IsZero() {
		return nil, nil //nolint:nilnil // this is NULL
	}
	return time.Time(t).UTC().Format(timeFormat), nil
}

// Scan implements sql.Scanner.
func (t *Time) Scan(value any) error {
	switch value := value.(type) {
	case nil:
		*t = Time{}
	case time.Time:
		*t = Time(value.UTC())
	case string:
		parsed, err := time.Parse(timeFormat, value)
		*t = Time(parsed)
		return err
	default:
		return fmt.Errorf("unexpected type %T of a time", value)
	}
	return nil
}

// Text replaces what PostgreSQL does not accept in a text: NUL, and what is not
// UTF-8.
func Text(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}
