package tables_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/store/internal/tables"
)

func TestTime(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 30, 13, 0, 0, 123_456_789, time.FixedZone("", 3600))
	value, err := tables.Time(at).Value()
	require.NoError(t, err)
	assert.Equal(t, "2026-11-30T12:00:00.123456Z", value)
	for name, test := range map[string]struct {
		stored any
		want   time.Time
	}{
		"text of SQLite":     {value, at.Truncate(time.Microsecond)},
		"time of PostgreSQL": {at, at},
		"NULL":               {nil, time.Time{}},
	} {
		got := tables.Time(at.Add(time.Hour))
		require.NoError(t, got.Scan(test.stored), name)
		assert.True(t, test.want.Equal(time.Time(got)), name)
	}
	value, err = tables.Time{}.Value()
	require.NoError(t, err)
	assert.Nil(t, value)
	var got tables.Time
	require.Error(t, got.Scan("yesterday"))
	require.Error(t, got.Scan(int64(1)))
}

func TestText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "", "Zoë": "Zoë", "a\x00b": "a\uFFFDb", "a\xffb": "a\uFFFDb", "\xff\x00": "\uFFFD\uFFFD",
	} {
		assert.Equal(t, want, tables.Text(text))
	}
}
