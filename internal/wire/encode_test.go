package wire_test

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/internal/wire"
)

func raw(pairs ...string) map[string]json.RawMessage {
	m := make(map[string]json.RawMessage)
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = json.RawMessage(pairs[i+1])
	}
	return m
}

func TestAppend(t *testing.T) {
	t.Parallel()
	created := func(t time.Time) sample { return sample{Created: t} }
	for name, test := range map[string]struct {
		value sample
		want  string
	}{
		"zero, one kept": {sample{}, `{"id":0}`},
		"all fields, in order": {
			sample{
				ID: -7, Name: "Ann", Active: true, Created: moment,
				Address: netip.MustParseAddr("::1"),
			},
			`{"id":-7,"name":"Ann","active":true,"createdOn":"2022-12-19T11:01:58.302Z","ipAddress":"::1"}`,
		},
		"a number of several digits": {sample{ID: 1234567890}, `{"id":1234567890}`},
		"escapes": {
			sample{Name: "\"\\/\b\f\n\r\t\x00\x1f\x7f"},
			`{"id":0,"name":"\"\\/\b\f\n\r\t\u0000\u001f` + "\x7f" + `"}`,
		},
		"no HTML escapes": {sample{Name: "<a href='x'>&amp;</a>"}, `{"id":0,"name":"<a href='x'>&amp;</a>"}`},
		"beyond ASCII":    {sample{Name: "Zoë 😀 \uFFFD"}, `{"id":0,"name":"Zoë 😀 ` + "\uFFFD" + `"}`},
		"whole seconds": {
			created(moment.Truncate(time.Second)),
			`{"id":0,"createdOn":"2022-12-19T11:01:58.000Z"}`,
		},
		"tenths of a second": {
			created(moment.Truncate(time.Second).Add(300 * time.Millisecond)),
			`{"id":0,"createdOn":"2022-12-19T11:01:58.300Z"}`,
		},
		"another zone": {
			created(moment.In(time.FixedZone("", -3600))),
			`{"id":0,"createdOn":"2022-12-19T11:01:58.302Z"}`,
		},
		"microseconds": {
			created(moment.Add(10 * time.Microsecond)),
			`{"id":0,"createdOn":"2022-12-19T11:01:58.30201Z"}`,
		},
		"nanoseconds": {created(moment.Add(1)), `{"id":0,"createdOn":"2022-12-19T11:01:58.302000001Z"}`},
		"last date": {
			created(time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)),
			`{"id":0,"createdOn":"9999-12-31T23:59:59.000Z"}`,
		},
		"first date": {
			created(time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC)),
			`{"id":0,"createdOn":"0001-01-01T00:00:01.000Z"}`,
		},
		"zero date in another zone": {created(time.Time{}.In(time.FixedZone("", 3600))), `{"id":0}`},
		"extra, sorted": {
			sample{Extra: raw("z", "1", "a", `{"x": [1]}`, "m", "null")},
			`{"id":0,"a":{"x": [1]},"m":null,"z":1}`,
		},
		"extra, name escaped": {sample{Extra: raw(`a"<`, "1")}, `{"id":0,"a\"<":1}`},
		"extra, field is preferred": {sample{
			Name:  "Ann",
			Extra: raw("NAME", `"Bob"`, "active", "true", "CreatedON", "not JSON"),
		}, `{"id":0,"name":"Ann"}`},
		"extra, first field": {sample{ID: 7, Extra: raw("Id", "8")}, `{"id":7}`},
		"extra, empty":       {sample{Extra: raw()}, `{"id":0}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := test.value.wire().Append([]byte("before:"))
			require.NoError(t, err)
			assert.Equal(t, "before:"+test.want, string(got))
		})
	}
}

func TestAppendKeepsZero(t *testing.T) {
	t.Parallel()
	var s sample
	object := s.wire()
	for i := range object.Fields {
		object.Fields[i].Keep = true
	}
	got, err := object.Append(nil)
	require.NoError(t, err)
	assert.Equal(t, `{"id":0,"name":"","active":false,"createdOn":"0001-01-01T00:00:00.000Z","ipAddress":""}`,
		string(got))

	s = sample{ID: 7, Name: "Ann", Active: true, Created: moment, Address: netip.IPv6Loopback()}
	require.NoError(t, object.Decode(got))
	assert.Equal(t, sample{}, s)
}

func TestAppendWithoutFields(t *testing.T) {
	t.Parallel()
	got, err := wire.Object{}.Append(nil)
	require.NoError(t, err)
	assert.Equal(t, `{}`, string(got))

	extra := raw("a", "1")
	got, err = wire.Object{Extra: &extra}.Append(nil)
	require.NoError(t, err)
	assert.Equal(t, `{"a":1}`, string(got))
}

func TestAppendErrors(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		value sample
		want  string
	}{
		"text":                  {sample{Name: "secret\xff"}, "name: not valid UTF-8"},
		"half a surrogate pair": {sample{Name: "secret\xed\xa0\x80"}, "name: not valid UTF-8"},
		"year 10000": {
			sample{Created: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
			"createdOn: date outside the years 1 to 9999",
		},
		"year 10000 in UTC": {
			sample{Created: time.Date(9999, 12, 31, 23, 0, 0, 0, time.FixedZone("", -7200))},
			"createdOn: date outside the years 1 to 9999",
		},
		"year 0": {
			sample{Created: time.Time{}.Add(-1)},
			"createdOn: date outside the years 1 to 9999",
		},
		"extra is not JSON":          {sample{Extra: raw("x", "secret")}, "x: malformed JSON"},
		"extra is two values":        {sample{Extra: raw("x", `1,"name":2`)}, "x: malformed JSON"},
		"extra is empty":             {sample{Extra: raw("x", "")}, "x: malformed JSON"},
		"extra is not UTF-8":         {sample{Extra: raw("x", "\"secret\xff\"")}, "x: not valid UTF-8"},
		"name of extra is not UTF-8": {sample{Extra: raw("x\xff", "1")}, "x\uFFFD: not valid UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := test.value.wire().Append([]byte("before:"))
			require.EqualError(t, err, test.want)
			assert.Equal(t, "before:", string(got))
			var wireError *wire.Error
			require.ErrorAs(t, err, &wireError)
		})
	}
}

func TestAppendAllocations(t *testing.T) { //nolint:paralleltest // it counts the allocations of the whole process
	var r record
	require.NoError(t, r.wire().DecodeList(page(1), func() error { return nil }))
	object := r.wire()
	buffer := make([]byte, 0, 1<<10)
	assert.LessOrEqual(t, testing.AllocsPerRun(100, func() { _, _ = object.Append(buffer) }), 1.0)
}

type selfEncoding struct{ Text string }

func (selfEncoding) MarshalJSON() ([]byte, error) { return []byte(`"x"`), nil }

type selfEncodingPointer struct{ Text string }

func (*selfEncodingPointer) MarshalText() ([]byte, error) { return []byte("x"), nil }

type embedded struct{ Text string }

func TestValidText(t *testing.T) {
	t.Parallel()
	const bad = "a\xff"
	text := bad
	for name, test := range map[string]struct {
		value any
		want  bool
	}{
		"nil":                        {nil, true},
		"number":                     {17, true},
		"text":                       {"Zoë", true},
		"invalid text":               {bad, false},
		"pointer":                    {&text, false},
		"nil pointer":                {(*string)(nil), true},
		"slice":                      {[]string{"a", "b"}, true},
		"slice, first is invalid":    {[]any{bad, 1}, false},
		"slice, last is invalid":     {[]any{1, nil, bad}, false},
		"array":                      {[2]string{"a", bad}, false},
		"map":                        {map[string]any{"a": "b", "c": []string{"d"}}, true},
		"map, key is invalid":        {map[string]int{bad: 1}, false},
		"map, value is invalid":      {map[int]string{1: bad}, false},
		"map, deep value is invalid": {map[string]any{"a": []any{map[string]any{"b": bad}}}, false},
		"struct":                     {struct{ A, B string }{"a", "b"}, true},
		"struct, field is invalid":   {struct{ A, B string }{"a", bad}, false},
		"struct, unexported field": {struct {
			A string
			b string
		}{"a", bad}, true},
		"struct, field is not encoded": {struct {
			A string `json:"-"`
		}{bad}, true},
		"struct, embedded":     {struct{ embedded }{embedded{bad}}, false},
		"encodes itself":       {selfEncoding{bad}, true},
		"pointer encodes":      {&selfEncodingPointer{bad}, true},
		"encodes by a pointer": {[]selfEncodingPointer{{bad}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, test.want, wire.ValidText(test.value))
		})
	}
}
