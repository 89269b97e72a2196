package wire_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/internal/wire"
)

func TestParseTime(t *testing.T) {
	t.Parallel()
	at := func(year int, month time.Month, day, hour, minute, second, nanosecond int) time.Time {
		return time.Date(year, month, day, hour, minute, second, nanosecond, time.UTC)
	}
	for text, want := range map[string]time.Time{
		"2022-12-19T11:01:58.302Z":            moment,
		"2022-12-19T11:01:58.302":             moment,
		"2022-12-19T11:01:58.302+00:00":       moment,
		"2022-12-19T11:01:58.302-00:00":       moment,
		"2022-12-19T13:01:58.302+02:00":       moment,
		"2022-12-19T05:31:58.302-05:30":       moment,
		"2022-12-20T10:00:58.302+22:59":       moment,
		"2022-12-18T11:02:58.302-23:59":       moment,
		"2022-12-19T11:01:58":                 at(2022, 12, 19, 11, 1, 58, 0),
		"2022-12-19T11:01:58Z":                at(2022, 12, 19, 11, 1, 58, 0),
		"2022-12-19T11:01:58.3":               at(2022, 12, 19, 11, 1, 58, 300e6),
		"2022-12-19T11:01:58.0000001Z":        at(2022, 12, 19, 11, 1, 58, 100),
		"2022-12-19T11:01:58.123456789Z":      at(2022, 12, 19, 11, 1, 58, 123456789),
		"2022-12-19T11:01:58.999999999+00:00": at(2022, 12, 19, 11, 1, 58, 999999999),
		"2024-02-29T00:00:00":                 at(2024, 2, 29, 0, 0, 0, 0),
		"2000-02-29T23:59:59":                 at(2000, 2, 29, 23, 59, 59, 0),
		"2022-02-28T23:59:59-01:00":           at(2022, 3, 1, 0, 59, 59, 0),
		"2022-01-31T00:00:00":                 at(2022, 1, 31, 0, 0, 0, 0),
		"2022-04-30T00:00:00":                 at(2022, 4, 30, 0, 0, 0, 0),
		"9999-12-31T23:59:59.9999999":         at(9999, 12, 31, 23, 59, 59, 999999900),
		"0001-01-01T00:00:00":                 {},
		"0001-01-01T00:00:00Z":                {},
		"0001-01-01T00:00:00.0000000":         {},
		"0001-01-01T00:00:00+02:00":           {},
		"0001-01-01T00:00:00-05:00":           {},
		"0001-01-01T00:00:01":                 at(1, 1, 1, 0, 0, 1, 0),
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			got, ok := wire.ParseTime([]byte(text))
			assert.True(t, ok)
			assert.Equal(t, want, got) // the location too
		})
	}
}

func TestParseTimeErrors(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"empty":                        "",
		"null":                         "null",
		"date alone":                   "2022-12-19",
		"no seconds":                   "2022-12-19T11:01",
		"space for T":                  "2022-12-19 11:01:58",
		"small t":                      "2022-12-19t11:01:58",
		"small z":                      "2022-12-19T11:01:58z",
		"slashes":                      "2022/12/19T11:01:58",
		"points":                       "2022-12-19T11.01.58",
		"slash for a hyphen":           "2022-12/19T11:01:58",
		"point for a colon":            "2022-12-19T11:01.58",
		"month 0":                      "2022-00-19T11:01:58",
		"month 13":                     "2022-13-19T11:01:58",
		"day 0":                        "2022-12-00T11:01:58",
		"day 32":                       "2022-12-32T11:01:58",
		"31 April":                     "2022-04-31T11:01:58",
		"30 February":                  "2024-02-30T11:01:58",
		"29 February, not a leap year": "2022-02-29T11:01:58",
		"29 February of a century":     "1900-02-29T11:01:58",
		"hour 24":                      "2022-12-19T24:00:00",
		"minute 60":                    "2022-12-19T11:60:58",
		"second 60":                    "2022-12-19T11:01:60",
		"year 0":                       "0000-12-19T11:01:58",
		"year with a letter":           "2O22-12-19T11:01:58",
		"signed number":                "2022-12-19T+1:01:58",
		"signed minute":                "2022-12-19T11:-1:58",
		"signed second":                "2022-12-19T11:01:-8",
		"year of five digits":          "12022-12-19T11:01:58",
		"fraction without digits":      "2022-12-19T11:01:58.",
		"fraction without digits, Z":   "2022-12-19T11:01:58.Z",
		"fraction after a comma":       "2022-12-19T11:01:58,302Z",
		"fraction of ten digits":       "2022-12-19T11:01:58.1234567890Z",
		"offset without colon":         "2022-12-19T11:01:58+0200",
		"offset without minutes":       "2022-12-19T11:01:58+02",
		"offset without sign":          "2022-12-19T11:01:58 02:00",
		"offset with letters":          "2022-12-19T11:01:58+O2:00",
		"offset with signs":            "2022-12-19T11:01:58+-2:00",
		"offset of 24 hours":           "2022-12-19T11:01:58+24:00",
		"offset of 60 minutes":         "2022-12-19T11:01:58+01:60",
		"space after the zone":         "2022-12-19T11:01:58Z ",
		"offset after Z":               "2022-12-19T11:01:58Z+02:00",
		"name of a zone":               "2022-12-19T11:01:58 UTC",
		"before year 1 in UTC":         "0001-01-01T00:00:01+02:00",
		"after year 9999 in UTC":       "9999-12-31T23:59:59-02:00",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, ok := wire.ParseTime([]byte(text))
			assert.False(t, ok)
		})
	}
}

// A date is read eight bytes at a time. A byte must not hide a fault in the
// byte beside it.
func TestParseTimeEveryTwoBytes(t *testing.T) {
	t.Parallel()
	for _, date := range []string{"2022-12-19T11:01:58", "2022-12-19T11:01:58.302Z"} {
		isDate := func(text string) bool {
			for i := range text {
				digit := '0' <= text[i] && text[i] <= '9'
				if wantDigit := '0' <= date[i] && date[i] <= '9'; digit != wantDigit || !digit && text[i] != date[i] {
					return false
				}
			}
			parsed, err := time.Parse("2006-01-02T15:04:05", strings.TrimSuffix(text, "Z"))
			return err == nil && parsed.Year() > 0
		}
		text := []byte(date)
		for i := range len(strings.TrimSuffix(date, "Z")) - 1 {
			for two := range 1 << 16 {
				text[i], text[i+1] = byte(two), byte(two>>8)
				if _, ok := wire.ParseTime(text); ok != isDate(string(text)) { // only then, because require is slow
					require.Failf(t, "differs from time.Parse", "%q", text)
				}
			}
			text[i], text[i+1] = date[i], date[i+1]
		}
	}
}

// The calendar repeats every 400 years.
func TestParseTimeEveryDay(t *testing.T) {
	t.Parallel()
	for _, from := range []int{1, 1800, 9600} {
		last := time.Date(from+399, time.December, 31, 23, 59, 59, 0, time.UTC)
		first := time.Date(from, time.January, 1, 23, 59, 59, 0, time.UTC)
		for want := first; !want.After(last); want = want.AddDate(0, 0, 1) {
			text := want.AppendFormat(nil, "2006-01-02T15:04:05")
			if got, ok := wire.ParseTime(text); !ok || got != want { // only then, because require is slow
				require.Failf(t, "differs from time.Date", "%s: %v", text, got)
			}
		}
	}
}

func TestParseTimeAllocations(t *testing.T) { //nolint:paralleltest // it counts the allocations of the whole process
	text := []byte("2022-12-19T13:01:58.302+02:00")
	assert.Zero(t, testing.AllocsPerRun(100, func() { wire.ParseTime(text) }))
}

func TestFormatQueryTime(t *testing.T) {
	t.Parallel()
	base := time.Date(2021, 8, 8, 0, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		time     time.Time
		down, up string
	}{
		"whole seconds": {base, "2021-08-08T00:00:00", "2021-08-08T00:00:00"},
		"milliseconds": {
			base.Add(20 * time.Millisecond), "2021-08-08T00:00:00.020",
			"2021-08-08T00:00:00.020",
		},
		"a nanosecond":        {base.Add(1), "2021-08-08T00:00:00", "2021-08-08T00:00:00.001"},
		"a nanosecond before": {base.Add(-1), "2021-08-07T23:59:59.999", "2021-08-08T00:00:00"},
		"finer than milliseconds": {
			base.Add(1500 * time.Microsecond), "2021-08-08T00:00:00.001",
			"2021-08-08T00:00:00.002",
		},
		"another zone": {
			base.In(time.FixedZone("", 3600)).Add(1), "2021-08-08T00:00:00",
			"2021-08-08T00:00:00.001",
		},
		"year of few digits": {time.Time{}, "0001-01-01T00:00:00", "0001-01-01T00:00:00"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, test.down, wire.FormatQueryTime(test.time, false))
			assert.Equal(t, test.up, wire.FormatQueryTime(test.time, true))
		})
	}
}

func TestFormatQueryTimeOfLastDate(t *testing.T) {
	t.Parallel()
	end := time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC)
	assert.Equal(t, "9999-12-31T23:59:59.999", wire.FormatQueryTime(end, true))
}
