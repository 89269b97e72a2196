package wire_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/internal/wire"
)

// element has a value of each kind that a server may send.
const element = `{"id":"7","Name":"Zo\u00eb \ud83d\ude00","active":true,` +
	`"createdOn":"2022-12-19T11:01:58.3021234+02:00","ipAddress":"2001:db8::1","x":{"y":[1.5e3,null]}}`

func documents() []string {
	return []string{
		element, `[` + element + `,{}]`, `{"items":[` + element + `],"total":1,"links":[]}`, `{"items":[]}`, ` [ ] `,
		`null`, ``, `{}`, `{"data":null}`, `{"Items":null,"tags":["x"]}`, "\uFEFF[" + element + "]",
		`{"id":12345678901234567890}`, `[{"name":-0.0E-1,"id":-0,"id":null}]`, `{"a":[{}],"b":[{}]}`,
		`[{"name":"\ud800\ud83d\ude00","\udfff":"\\"}]`,
		"[{\"name\":\"\xff\xc0\xaf\",\"\xed\xa0\x80\":\"\xff\"}]",
		`[{"createdOn":"0001-01-01T00:00:00"},{"name":false}]`, `[{"id":7.0,"createdOn":""},{"id":"-7.00"}]`,
		`[{"x":` + strings.Repeat("[", 62) + strings.Repeat("]", 62) + `}]`,
		`[{"x":` + strings.Repeat("[", 63) + strings.Repeat("]", 63) + `}]`,
		`{"message":"Duplicate lead","errors":{"Email":["is taken"]}}`, string(page(2)),
		`[` + strings.Repeat(`{"id":1,"name":"Zo\u00eb","createdOn":"2022-12-19T11:01:58.302Z"},`, 3) + `{"x":1}]`,
	}
}

// FuzzDecodeList compares DecodeList with a slow reader that uses
// encoding/json.
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
		long, err := decodeList(string(data) + longSpace)
		require.Equal(t, ok, err == nil, "error: %v", err)
		require.Equal(t, got, long)
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

// FuzzDecode checks that a value that was read is the same after it was written
// and read again.
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

// FuzzDecodeProblem compares DecodeProblem with a slow reader that uses
// encoding/json.
func FuzzDecodeProblem(f *testing.F) {
	for _, seed := range append(documents(), `"no"`, `["a",{"msg":"b"},7]`, `{"errors":["a",{"reason":"b"}]}`,
		`{"error":{"message":"a"},"description":"b","Detail":"c"}`,
		`{"title":"t","traceId":"00-4bf9-01","errors":{"$.phone":[{"message":"x"}],"Éa":{"message":"y"},"":7}}`) {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		input := bytes.Clone(body)
		got, ok := wire.DecodeProblem(body, names())
		require.Equal(t, input, body)
		want, wantOK := slowProblem(body)
		require.Equal(t, wantOK, ok)
		require.Equal(t, want, got)
		require.True(t, utf8.ValidString(got.Message+got.TraceID))
		for name, texts := range got.Fields {
			require.True(t, utf8.ValidString(name))
			require.NotEmpty(t, texts)
			require.NotContains(t, texts, "")
		}
	})
}

// slowProblem is DecodeProblem with encoding/json.
func slowProblem(body []byte) (p wire.Problem, ok bool) {
	body = bytes.TrimPrefix(body, []byte("\uFEFF"))
	if !json.Valid(body) {
		return p, false
	}
	body = bytes.Trim(body, " \t\r\n")
	if !isObject(body) {
		p.Message = strings.Join(slowTexts(body), "; ")
		return p, body[0] == '"' || p.Message != ""
	}
	p.Message = slowMessage(body)
	var errorTexts string
	for _, m := range membersOf(body) {
		switch asciiLower(m.name) {
		case "traceid":
			p.TraceID = slowText(m.value)
		case "errors":
			if !isObject(m.value) {
				errorTexts = cmp.Or(errorTexts, strings.Join(slowTexts(m.value), "; "))
				continue
			}
			p.Fields = nil
			fields := membersOf(m.value)
			slices.SortStableFunc(fields, func(a, b member) int { return strings.Compare(a.name, b.name) })
			for _, field := range fields {
				texts := slowTexts(field.value)
				if len(texts) == 0 {
					continue
				}
				if p.Fields == nil {
					p.Fields = make(map[string][]string)
				}
				name := slowFieldName(field.name)
				p.Fields[name] = append(p.Fields[name], texts...)
			}
		}
	}
	p.Message = cmp.Or(p.Message, errorTexts)
	return p, true
}

func slowText(value json.RawMessage) (text string) {
	_ = json.Unmarshal(value, &text) // a value that is not a string leaves it empty
	return text
}

func slowTexts(value json.RawMessage) (texts []string) {
	values := []json.RawMessage{value}
	if value[0] == '[' {
		_ = json.Unmarshal(value, &values)
	}
	for _, value := range values {
		text := slowText(value)
		if isObject(value) {
			text = slowMessage(value)
		}
		if text != "" {
			texts = append(texts, text)
		}
	}
	return texts
}

func slowMessage(object json.RawMessage) string {
	for _, name := range []string{"message", "error", "detail", "title", "description", "msg", "reason"} {
		var text string
		for _, m := range membersOf(object) {
			if asciiLower(m.name) != name {
				continue
			}
			text = cmp.Or(slowText(m.value), text)
			if name != "error" || !isObject(m.value) {
				continue
			}
			var inner string
			for _, m := range membersOf(m.value) {
				if asciiLower(m.name) == "message" {
					inner = cmp.Or(slowText(m.value), inner)
				}
			}
			text = cmp.Or(inner, text)
		}
		if text != "" {
			return text
		}
	}
	return ""
}

func slowFieldName(key string) string {
	key = strings.TrimPrefix(key, "$.")
	for _, name := range names() {
		if asciiLower(name) == asciiLower(key) {
			return name
		}
	}
	first, size := utf8.DecodeRuneInString(key)
	if size == 0 {
		return ""
	}
	return string(unicode.ToLower(first)) + key[size:]
}

type member struct {
	name  string
	value json.RawMessage
}

// membersOf returns all members of an object in their order.
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

// slowList is DecodeList with encoding/json.
func slowList(data []byte) (list []sample, ok bool) {
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	if !json.Valid(data) || deeper(data, 64) {
		return nil, false
	}
	var elements []json.RawMessage
	if isObject(data) {
		arrays, empties := 0, 0
		for _, m := range membersOf(data) {
			var array []json.RawMessage
			switch {
			case string(m.value) == "null":
				if slices.Contains([]string{"data", "items", "leads", "result", "results"}, asciiLower(m.name)) {
					empties++
				}
			case json.Unmarshal(m.value, &array) != nil:
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

var zeroFraction = regexp.MustCompile(`\.0+$`)

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
			s.ID, err = strconv.ParseInt(zeroFraction.ReplaceAllString(text, ""), 10, 64)
		case "name":
			if composite {
				return s, false
			}
			s.Name = text
		case "active":
			err = json.Unmarshal(m.value, &s.Active)
		case "createdon":
			var ok bool
			if s.Created, ok = wire.ParseTime([]byte(text)); !ok && text != "" || !isText {
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

// deeper reports whether arrays and objects are nested deeper than limit.
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

// meaning decodes members, so that differences in writing do not matter.
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
