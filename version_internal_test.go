package clixnow

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each field of a lead except Extra belongs to its version. If a change went
// unnoticed, the changed lead would not be delivered again.
func TestLeadVersion(t *testing.T) {
	t.Parallel()
	version := leadVersion()
	seen := map[uint64]string{version(&Lead{}): "the zero Lead"}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Lead]()) {
		if field.Name == "Extra" {
			continue
		}
		for _, value := range []any{
			int64(1), int64(2), "a", "b", ClientType("a"), ClientType("b"), time.Unix(1, 0).UTC(),
			time.Unix(1, 1).UTC(), time.Unix(2, 0).UTC(),
		} {
			if reflect.TypeOf(value) != field.Type {
				continue
			}
			var l Lead
			reflect.ValueOf(&l).Elem().FieldByIndex(field.Index).Set(reflect.ValueOf(value))
			v := version(&l)
			assert.Equal(t, v, version(&l))
			assert.NotContains(t, seen, v, field.Name)
			seen[v] = field.Name
		}
		require.Contains(t, slices.Collect(maps.Values(seen)), field.Name)
	}
}

// Extra may hold values that change at each read, such as a signed link.
func TestLeadVersionIgnoresExtra(t *testing.T) {
	t.Parallel()
	version := leadVersion()
	plain := Lead{ID: 7, Status: "New"}
	for _, extra := range []map[string]json.RawMessage{
		{},
		{"link": []byte(`"https://files.example/7?sig=1"`)},
		{"link": []byte(`"https://files.example/7?sig=2"`)},
		{"id": []byte("8"), "status": []byte(`"Called"`)},
	} {
		lead := plain
		lead.Extra = extra
		assert.Equal(t, version(&plain), version(&lead))
	}
}
