package wire_test

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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

// The caller's buffer is its own, even where the text in it has to be repaired.
func TestDecodeLeavesInputAlone(t *testing.T) {
	t.Parallel()
	for _, document := range []string{"{\"name\":\"\xff\"}", `{"name":"\ud800"}`} {
		data := []byte(document)
		var s sample
		require.NoError(t, s.wire().Decode(data))
		assert.Equal(t, "\uFFFD", s.Name)
		assert.Equal(t, document, string(data))
	}
}

// Texts share chunks: each must come out whole, wherever a chunk ends.
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

func TestDecodePinsOnlyOneChunk(t *testing.T) { //nolint:paralleltest // counts what the whole process allocates
	const documents = 16
	data := page(1000) // 366 kB
	kept := make([]string, 0, documents)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range documents {
		var r record
		require.NoError(t, r.wire().DecodeList(data, func() error {
			if r.ID == 500 {
				kept = append(kept, r.Email)
			}
			return nil
		}))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	assert.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(documents*20<<10))
	runtime.KeepAlive(kept)
	runtime.KeepAlive(data) // which would be missing after and not before
}

func TestDecodeAllocations(t *testing.T) { //nolint:paralleltest // counts what the whole process allocates
	data := page(1000)
	for name, test := range map[string]struct { //nolint:paralleltest // see above
		data []byte
		most float64
	}{
		"page":                     {data, 100},
		"page, with blanks":        {bytes.ReplaceAll(data, []byte(`,`), []byte(" ,\n ")), 100},
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
