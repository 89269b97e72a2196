package wire_test

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/internal/wire"
)

// element is one that holds whatever a server may send.
const element = `{"id":"7","Name":"Zo\u00eb \ud83d\ude00","active":true,"createdOn":"2022-12-19T11:01:58.3021234+02:00","ipAddress":"2001:db8::1","x":{"y":[1.5e3,null]}}`

func documents() []string {
	return []string{
		element, `[` + element + `,{}]`, `{"items":[` + element + `],"total":1,"links":[]}`, `{"items":[]}`, ` [ ] `,
		`null`, ``,
		`{"id":12345678901234567890}`, `[{"name":-0.0E-1,"id":-0,"id":null}]`, `{"a":[{}],"b":[{}]}`,
		`[{"name":"\ud800\ud83d\ude00","\udfff":"\\"}]`,
		"[{\"name\":\"\xff\xc0\xaf\",\"\xed\xa0\x80\":\"\xff\"}]",
		`[{"createdOn":"0001-01-01T00:00:00"},{"name":false}]`,
		`[{"x":` + strings.Repeat("[", 62) + strings.Repeat("]", 62) + `}]`,
		`[{"x":` + strings.Repeat("[", 63) + strings.Repeat("]", 63) + `}]`,
		`{"message":"Duplicate lead","errors":{"Email":["is taken"]}}`, string(page(2)),
	}
}

// FuzzDecodeList compares with a slow reader made of encoding/json.
func FuzzDecodeList(f *testing.F) {
	for _, seed := range documents() {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		input := bytes.Clone(data)
		got, err := decodeList(string(data))
		want, ok := slowList(data)
		require.Equal(t, ok, err == nil, "error: %v", err)
		require.Equal(t, input, data)
		if err != nil {
			return
		}
		require.Len(t, got, len(want))
		for i := range got {
			require.Equal(t, meaning(t, want[i].Extra), meaning(t, got[i].Extra))
			got[i].Extra, want[i].Extra = nil, nil
			require.Equal(t, want[i], got[i])
		}
	})
}

// FuzzDecode checks that what was read is written, and read again, the same.
func FuzzDecode(f *testing.F) {
	for _, seed := range documents() {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, second sample
		if first.wire().Decode(data) != nil {
			return
		}
		written, err := first.wire().Append(nil)
		require.NoError(t, err)
		require.True(t, json.Valid(written))
		require.True(t, utf8.Valid(written))
		require.NoError(t, second.wire().Decode(written))
		require.Equal(t, first, second)
	})
}

func FuzzParseTime(f *testing.F) {
	for _, seed := range []string{
		"2022-12-19T11:01:58.302Z", "2021-08-08T00:00:00", "0001-01-01T00:00:00", "0001-01-01T00:00:00+02:00",
		"2024-02-29T23:59:59.1234567-05:30",
		"2022-02-29T00:00:00", "2022-12-19T24:00:00", "2022-12-19T11:01:60Z", "9999-12-31T23:59:59-00:01",
		"2022-12-19T1:01:58Z", "2022-12-19T11:01:58,5Z",
	} {
		f.Add(seed)
	}
	shape := regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)?$`)
	f.Fuzz(func(t *testing.T, text string) {
		want, err := time.Parse("2006-01-02T15:04:05Z07:00", text)
		if err != nil {
			want, err = time.Parse("2006-01-02T15:04:05", text)
		}
		ok := err == nil && shape.MatchString(text) && want.Year() > 0
		if want = want.UTC(); ok && strings.HasPrefix(text, "0001-01-01T00:00:00") && want.Nanosecond() == 0 {
			want = time.Time{}
		}
		ok = ok && 0 < want.Year() && want.Year() < 10000

		got, gotOK := wire.ParseTime([]byte(text))
		require.Equal(t, ok, gotOK)
		if ok {
			require.Equal(t, want, got)
		}
	})
}

func FuzzDecodeProblem(f *testing.F) {
	for _, seed := range append(documents(), `"no"`,
		`{"title":"t","traceId":"00-4bf9-01","errors":{"$.phone":[{"message":"x"}],"Éa":{"message":"y"},"":7}}`) {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		p, ok := wire.DecodeProblem(body, names())
		again, _ := wire.DecodeProblem(body, names())
		require.Equal(t, p, again)
		if ok {
			require.True(t, json.Valid(body))
		} else {
			require.Zero(t, p)
		}
		require.True(t, utf8.ValidString(p.Message+p.TraceID))
		require.True(t, p.Fields == nil || len(p.Fields) > 0)
		for name, texts := range p.Fields {
			require.True(t, utf8.ValidString(name))
			require.NotEmpty(t, texts)
			require.NotContains(t, texts, "")
		}
	})
}

type member struct {
	name  string
	value json.RawMessage
}

// membersOf returns the members of an object in their order, doubles included.
func membersOf(object []byte) (members []member) {
	decoder := json.NewDecoder(bytes.NewReader(object))
	_, _ = decoder.Token()
	for decoder.More() {
		name, _ := decoder.Token()
		var value json.RawMessage
		_ = decoder.Decode(&value)
		members = append(members, member{name.(string), value})
	}
	return members
}

func isObject(value json.RawMessage) bool {
	return bytes.HasPrefix(bytes.TrimSpace(value), []byte("{"))
}

func slowList(data []byte) (list []sample, ok bool) {
	if !json.Valid(data) || deeper(data, 64) {
		return nil, false
	}
	var elements []json.RawMessage
	if isObject(data) {
		arrays, empties := 0, 0
		for _, m := range membersOf(data) {
			var array []json.RawMessage
			switch {
			case json.Unmarshal(m.value, &array) != nil || array == nil:
			case len(array) == 0:
				empties++
			case isObject(array[0]):
				arrays++
				elements = array
			}
		}
		if arrays > 1 || arrays+empties == 0 {
			return nil, false
		}
	} else if json.Unmarshal(data, &elements) != nil || elements == nil {
		return nil, false
	}
	for _, element := range elements {
		s, ok := slowObject(element)
		if !ok {
			return nil, false
		}
		list = append(list, s)
	}
	return list, true
}

func slowObject(data json.RawMessage) (s sample, ok bool) {
	if !isObject(data) {
		return s, false
	}
	for _, m := range membersOf(data) {
		var text string
		var err error
		isText := json.Unmarshal(m.value, &text) == nil
		if string(m.value) == "null" &&
			slices.Contains([]string{"id", "name", "active", "createdon", "ipaddress"}, asciiLower(m.name)) {
			continue
		}
		if !isText {
			text = string(m.value)
		}
		composite := strings.ContainsAny(text[:min(1, len(text))], "[{") && !isText
		switch asciiLower(m.name) {
		case "id":
			var number json.Number
			err = json.Unmarshal([]byte(text), &number)
			if err != nil || number.String() != text {
				return s, false
			}
			s.ID, err = strconv.ParseInt(text, 10, 64)
		case "name":
			if composite {
				return s, false
			}
			s.Name = text
		case "active":
			err = json.Unmarshal(m.value, &s.Active)
		case "createdon":
			var ok bool
			if s.Created, ok = wire.ParseTime([]byte(text)); !ok || !isText {
				return s, false
			}
		case "ipaddress":
			s.Address = netip.Addr{}
			if text != "" {
				s.Address, err = netip.ParseAddr(text)
			}
		default:
			if s.Extra == nil {
				s.Extra = make(map[string]json.RawMessage)
			}
			s.Extra[m.name] = m.value
		}
		if err != nil {
			return s, false
		}
	}
	return s, true
}

func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// deeper says whether arrays and objects lie deeper than limit.
func deeper(data []byte, limit int) bool {
	decoder := json.NewDecoder(bytes.NewReader(data))
	for level := 0; ; {
		token, err := decoder.Token()
		if err != nil {
			return false
		}
		switch token {
		case json.Delim('['), json.Delim('{'):
			level++
		case json.Delim(']'), json.Delim('}'):
			level--
		}
		if level > limit {
			return true
		}
	}
}

// meaning is what raw members say, however it is written.
func meaning(t *testing.T, members map[string]json.RawMessage) map[string]any {
	t.Helper()
	values := make(map[string]any)
	for name, value := range members {
		var v any
		decoder := json.NewDecoder(bytes.NewReader(value))
		decoder.UseNumber()
		assert.NoError(t, decoder.Decode(&v))
		values[name] = v
	}
	return values
}
