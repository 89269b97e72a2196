package mirror

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestDates(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("", 2*60*60)
	tests := map[string]struct {
		date time.Time
		want string
	}{
		"zero":                {time.Time{}, ""},
		"seconds":             {time.Date(2026, 5, 4, 12, 0, 9, 0, time.UTC), "2026-05-04T12:00:09.000000Z"},
		"microseconds":        {time.Date(2026, 5, 4, 12, 0, 9, 123_456_000, time.UTC), "2026-05-04T12:00:09.123456Z"},
		"leading zeros":       {time.Date(2026, 5, 4, 12, 0, 9, 1_000, time.UTC), "2026-05-04T12:00:09.000001Z"},
		"truncated":           {time.Date(2026, 5, 4, 12, 0, 9, 999_999_999, time.UTC), "2026-05-04T12:00:09.999999Z"},
		"zone":                {time.Date(2026, 5, 4, 1, 0, 0, 0, zone), "2026-05-03T23:00:00.000000Z"},
		"first year":          {time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC), "0001-01-01T00:00:01.000000Z"},
		"last year":           {time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), "9999-12-31T23:59:59.000000Z"},
		"before the year 1":   {time.Date(1, 1, 1, 0, 0, 0, 0, zone), ""},
		"after the year 9999": {time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, test.want, dateOf(test.date))
			want := test.date.Truncate(time.Microsecond)
			if test.want == "" {
				want = time.Time{}
			}
			assert.True(t, want.Equal(parseDate(test.want)))
		})
	}
}
