package wire_test

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/internal/wire"
)

// Callers read the next response into the same buffer.
func TestDecodeCopies(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("long ", 1000)
	data := []byte(`[{"id":1,"name":"Ann","x":{"y":"z"}},{"name":"B\u006fb"},{"name":"` + long +
		`"},{"name":17,"ipAddress":"fe80::1%eth0"}]`)
	var s sample
	var got []sample
	require.NoError(t, s.wire().DecodeList(data, func() error {
		got = append(got, s)
		s = sample{}
		return nil
	}))
	copy(data, bytes.Repeat([]byte("#"), len(data)))
	assert.Equal(t, []sample{
		{ID: 1, Name: "Ann", Extra: map[string]json.RawMessage{"x": json.RawMessage(`{"y":"z"}`)}},
		{Name: "Bob"},
		{Name: long},
		{Name: "17", Address: netip.MustParseAddr("fe80::1%eth0")},
	}, got)
}

// Decode does not change the caller's buffer, even if text in it is replaced.
func TestDecodeDoesNotChangeInput(t *testing.T) {
	t.Parallel()
	for _, document := range []string{
		"{\"name\":\"\xff\"}", `{"name":"\ud800"}`, "{\"x\":\"\xff\",\"name\":\"\uFFFD\"}",
		`{"x":"\ud800","name":"\udfff"}`,
	} {
		data := []byte(document)
		var s sample
		require.NoError(t, s.wire().Decode(data))
		assert.Equal(t, "\uFFFD", s.Name)
		assert.Equal(t, document, string(data))
	}
}

// Texts share chunks. Each text must be whole, wherever a chunk ends.
func TestDecodeManyTexts(t *testing.T) {
	t.Parallel()
	var data strings.Builder
	var want []sample
	for i := range 3000 {
		name := strings.Repeat(string(rune('a'+i%26)), i%5000)
		want = append(want, sample{Name: name})
		data.WriteString(`,{"name":"` + name + `"}`)
	}
	got, err := decodeList("[" + data.String()[1:] + "]")
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// allocated returns how many bytes of memory are in use.
func allocated() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

func TestDecodePinsOnlyOneChunk(t *testing.T) { //nolint:paralleltest // it measures the memory of the whole process
	const documents = 16
	data := page(1000) // 366 kB
	kept := make([]record, 0, documents)
	before := allocated()
	for range documents {
		var r record
		require.NoError(t, r.wire().DecodeList(data, func() error {
			if r.ID == 500 {
				kept = append(kept, r)
			}
			return nil
		}))
	}
	assert.Less(t, allocated()-before, int64(documents*20<<10))
	runtime.KeepAlive(kept)
	runtime.KeepAlive(data) // otherwise it would count before and not after
}

// unknownMembers returns n members with short names that no field has.
func unknownMembers(n int) string {
	var b []byte
	for i := range n {
		b = append(strconv.AppendInt(append(b, `,"`...), int64(i), 16), `":1`...)
	}
	return string(b[1:])
}

func TestUnknownMembersAreNotLost(t *testing.T) {
	t.Parallel()
	t.Run("in one object", func(t *testing.T) {
		t.Parallel()
		var s sample
		require.NoError(t, s.wire().Decode([]byte("{"+unknownMembers(500_000)+"}")))
		assert.Equal(t, 500_000, len(s.Extra)) // Len would print all of them
	})
	t.Run("in each element of a full page", func(t *testing.T) {
		t.Parallel()
		element := "{" + unknownMembers(100) + "}"
		list, err := decodeList("[" + element + strings.Repeat(","+element, 999) + "]")
		require.NoError(t, err)
		for i := range list {
			require.Len(t, list[i].Extra, 100)
		}
	})
	t.Run("in an object without Extra", func(t *testing.T) {
		t.Parallel()
		s := sample{}
		object := s.wire()
		object.Extra = nil
		require.NoError(t, object.Decode([]byte("{"+unknownMembers(510_000)+`,"id":7}`)))
		assert.Equal(t, sample{ID: 7}, s)
	})
}

func TestDecodeAllocations(t *testing.T) { //nolint:paralleltest // it measures the memory of the whole process
	data := page(1000)
	for name, test := range map[string]struct { //nolint:paralleltest // see above
		data []byte
		most float64
	}{
		"page":                     {data, 100},
		"page, with white space":   {bytes.ReplaceAll(data, []byte(`,`), []byte(" ,\n ")), 100},
		"page, as .NET escapes it": {bytes.ReplaceAll(data, []byte(`+`), []byte(`\u002B`)), 100},
	} {
		t.Run(name, func(t *testing.T) {
			var r record
			object := r.wire()
			n := 0
			got := testing.AllocsPerRun(4, func() {
				if err := object.DecodeList(test.data, func() error { n++; return nil }); err != nil {
					t.Error(err)
				}
			})
			assert.Equal(t, 5*1000, n)
			assert.LessOrEqual(t, got, test.most)
		})
	}
}

// Texts that repeat in a list take memory once.
func TestDecodeListRepeatedTextsTakeNoMemory(t *testing.T) { //nolint:paralleltest // it counts for the whole process
	status := strings.Repeat("x", 200)
	element := `{"id":1,"status":"` + status + `","brandName":"` + status + `"}`
	var r record
	object := r.wire()
	allocatedBy := func(data []byte) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := object.DecodeList(data, func() error { // require would take memory
			if r.Status != status || r.BrandName != status {
				return &wire.Error{Problem: "another text"}
			}
			return nil
		})
		runtime.ReadMemStats(&after)
		require.NoError(t, err)
		return after.TotalAlloc - before.TotalAlloc
	}
	list := []byte("[" + strings.Repeat(element+",", 999) + element + "]")
	assert.Less(t, allocatedBy(list), uint64(40<<10), "400 kB of text")
	assert.Less(t, allocatedBy([]byte("["+element+"]")), uint64(4<<10), "no memory for repetitions in a short list")
}
