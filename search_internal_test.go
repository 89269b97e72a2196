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

// Whatever a lead shows belongs to its version: a change that goes unnoticed is
// a lead that is not delivered again.
func TestLeadVersion(t *testing.T) {
	t.Parallel()
	version := leadVersion()
	fields := reflect.VisibleFields(reflect.TypeFor[Lead]())
	seen := map[uint64]string{version(&Lead{}): "none"}
	add := func(name string, l Lead) {
		v := version(&l)
		again := l
		again.Extra = maps.Clone(l.Extra)
		assert.Equal(t, v, version(&again), name)
		assert.NotContains(t, seen, v, name)
		seen[v] = name
	}
	for _, field := range fields {
		for _, value := range []any{
			int64(1), int64(2), "a", "b", ClientType("a"), ClientType("b"), time.Unix(1, 0).UTC(),
			time.Unix(1, 1).UTC(), time.Unix(2, 0).UTC(),
			map[string]json.RawMessage{"a": []byte("1")},
			map[string]json.RawMessage{"a": []byte("2")},
			map[string]json.RawMessage{"b": []byte("1")},
			map[string]json.RawMessage{"a": []byte("1"), "b": []byte("2")},
			map[string]json.RawMessage{"a": []byte("2"), "b": []byte("1")},
		} {
			if reflect.TypeOf(value) == field.Type {
				var l Lead
				reflect.ValueOf(&l).Elem().FieldByIndex(field.Index).Set(reflect.ValueOf(value))
				add(field.Name, l)
			}
		}
	}
	for _, field := range fields {
		require.Contains(t, slices.Collect(maps.Values(seen)), field.Name)
	}
}
