package wire_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/internal/wire"
)

// requireSameText checks that a document with a name is read, or refused, as by
// encoding/json.
func requireSameText(t *testing.T, data []byte) {
	t.Helper()
	var got sample
	var want struct{ Name string }
	wantErr := json.Unmarshal(data, &want)
	err := got.wire().Decode(data)
	if (err == nil) != (wantErr == nil) || err == nil && got.Name != want.Name { // only then, because require is slow
		require.Failf(t, "differs from encoding/json", "%q: %q, %v; not %q, %v", data, got.Name, err, want.Name,
			wantErr)
	}
}

// Strings are read 16 bytes at a time, except at the end of a document. Each
// byte must be noticed at each position, whatever is beside it.
func TestDecodeEveryByte(t *testing.T) {
	t.Parallel()
	t.Run("alone", func(t *testing.T) {
		t.Parallel()
		read := func(length int, rest string) {
			data := []byte(`{"name":"` + strings.Repeat("a", length) + rest)
			for at := len(`{"name":"`); data[at] == 'a'; at++ {
				for b := range 256 {
					data[at] = byte(b)
					requireSameText(t, data)
				}
				data[at] = 'a'
			}
		}
		for length := 1; length <= 18; length++ {
			read(length, `"}`)
		}
		for _, length := range []int{15, 16, 17, 32, 33} {
			read(length, `","x":"plain","y":"\u00FC"}`)
		}
	})
	t.Run("beside another", func(t *testing.T) {
		t.Parallel()
		data := []byte(`{"name":"aaaaaaaaaaaaaaaaaaaaaaaa","x":"aaaaaaaaaaaaaaaa"}`)
		for first := range 256 {
			for second := range 256 {
				at := len(`{"name":"`) + (first+second)%23
				copy(data[at:], []byte{byte(first), byte(second)})
				requireSameText(t, data)
				copy(data[at:], "aa")
			}
		}
	})
}

func TestDecodeEveryEscape(t *testing.T) {
	t.Parallel()
	for unit := range 1 << 16 {
		requireSameText(t, fmt.Appendf(nil, `{"name":"\u%04x"}`, unit))
		requireSameText(t, fmt.Appendf(nil, `{"name":"\u%04X"}`, unit))
	}
	for letter := range 256 {
		requireSameText(t, []byte(`{"name":"\`+string([]byte{byte(letter)})+`"}`))
	}
}

// In a list, the values of predicted members are read by other code than
// elsewhere, and in a long list texts that repeat are read by other code again.
// The results must be the same.
func TestDecodeListReadsValuesLikeDecode(t *testing.T) {
	t.Parallel()
	values := []string{
		`7`, `0`, `-7`, `07`, `1234567890`, `123456789012345678`, `1234567890123456789`, `9223372036854775808`,
		`12345678901234567890`,
		`1.5`, `7.0`, `-7.000`, `"7.0"`, `7e3`, `7E3`, `null`, `nope`, `true`, `false`, `[]`, `{}`, `["a"]`,
		`""`, `"a"`, `"seven"`, `"7"`, `"true"`, `"null"`, `"\u0037"`, `"\u00FC\n"`, `"ü"`, "\"\xFF\"", "\"a\nb\"",
		"\"a\n,\"b\":\"c\"", `"1.2.3.4"`,
		`"2022-12-19T11:01:58"`, `"2022-12-19T11:01:58Z"`, `"2022-12-19T11:01:58.302Z"`,
		`"2022-12-19T13:01:58.1234567+02:00"`,
		`"2022-12-19T11:01:58.1234567891"`, `"2022-12-19T11:01:58.302Z "`, `"2022-12-19T11:01:58.302Z\u0020"`,
		`"\u0032022-12-19T11:01:58Z"`,
	}
	type row struct {
		first  int64
		last   string
		text   string
		number int64
		truth  bool
		date   time.Time
		addr   netip.Addr
	}
	for name, pointer := range map[string]func(*row) any{
		"text":    func(r *row) any { return &r.text },
		"integer": func(r *row) any { return &r.number },
		"boolean": func(r *row) any { return &r.truth },
		"date":    func(r *row) any { return &r.date },
		"address": func(r *row) any { return &r.addr },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got row
			object := wire.Object{Fields: []wire.Field{
				{Name: "first", Value: &got.first},
				{Name: "value", Value: pointer(&got)},
				{Name: "last", Value: &got.last},
			}}
			check := func(value string) {
				text := `{"first":1,"value":` + value + `,"last":null,"other":"a long one"}`
				got = row{}
				wantErr := object.Decode([]byte(text))
				want := got
				got = row{}
				err := object.DecodeList([]byte("["+text+"]"), func() error { return nil })
				switch {
				case wantErr == nil:
					require.NoError(t, err, text)
					require.Equal(t, want, got, text)
					got = row{}
				case strings.HasPrefix(wantErr.Error(), "value: "):
					require.EqualError(t, err, "[0]."+wantErr.Error(), text)
				default:
					require.Error(t, err, text)
				}
				elements := 0
				long := "[" + text + strings.Repeat(","+text, 3) + "]" + longSpace
				err = object.DecodeList([]byte(long), func() error {
					elements++
					require.Equal(t, want, got, text)
					got = row{}
					return nil
				})
				require.Equal(t, wantErr == nil, err == nil && elements == 4, text)
			}
			for _, value := range values {
				check(value)
				check(" " + value + "\n")
				for at := range value {
					check(value[:at] + value[at+1:])
					for _, b := range "\"\\ \x00,}]09.-+:TZeEa" {
						check(value[:at] + string(b) + value[at+1:])
					}
				}
			}
		})
	}
}

// longSpace makes a list so long that texts that repeat are looked up.
var longSpace = strings.Repeat(" ", 17<<10)

// Texts that repeat are looked up by their first bytes, and are then not read.
// A text must not be taken for another one that begins or ends like it.
func TestDecodeListRepeatsTexts(t *testing.T) {
	t.Parallel()
	const elements = 1000
	texts := []string{
		`""`, `"New"`, `"new"`, `"New "`, `"New\u0022"`, `"New\\"`, `"New\n"`,
		`"No answer"`, `"No answer 2"`, `"No answer 3"`,
		`"Z\u00FCrich"`, `"Z\u00fcrich"`, `"Zürich"`, "\"Z\xFFrich\"", `"\ud800"`, `null`, `7`, `"7"`,
		`"` + strings.Repeat("long ", 500) + `"`,
	}
	type row struct{ status, brand, email string }
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 0))
		few := 1 + random.IntN(len(texts))
		pick := func(n int) string { return texts[random.IntN(n)] }
		var list []string
		for i := range elements {
			email := fmt.Sprintf(`"a%d@example.com"`, i)
			if i/100%2 == 1 {
				email = `"same@example.com"`
			}
			list = append(list, `{"status":`+pick(len(texts))+`,"brand":`+pick(few)+`,"email":`+email+`}`)
		}
		var got row
		object := wire.Object{Fields: []wire.Field{
			{Name: "status", Value: &got.status},
			{Name: "brand", Value: &got.brand},
			{Name: "email", Value: &got.email},
		}}
		var want []row
		for _, element := range list {
			got = row{}
			require.NoError(t, object.Decode([]byte(element)))
			want = append(want, got)
		}
		got = row{}
		var all []row
		data := []byte("[" + strings.Join(list, ",") + "]")
		require.NoError(t, object.DecodeList(data, func() error {
			all = append(all, got)
			got = row{}
			return nil
		}))
		clear(data) // no text may be a part of it
		require.Equal(t, want, all, "seed %d", seed)
	}
}

// The day of a date is compared with the day of the date before it, and is then
// not parsed. Whatever differs in the second date must be found.
func TestDecodeListRepeatsDays(t *testing.T) {
	t.Parallel()
	for _, date := range []string{"2022-12-19T11:01:58.302Z", "2022-12-19T11:01:12.302Z"} {
		requireDatesLikeParseTime(t, date)
	}
}

// requireDatesLikeParseTime reads dates that come after a date in a list.
func requireDatesLikeParseTime(t *testing.T, date string) {
	t.Helper()
	var got struct{ date time.Time }
	object := wire.Object{Fields: []wire.Field{{Name: "date", Value: &got.date}}}
	second := []byte(date)
	check := func() {
		want, ok := wire.ParseTime(second)
		var dates []time.Time
		list := fmt.Appendf(nil, `[{"date":%q},{"date":"%s"},{"other":"a long one"}]`, date, second)
		err := object.DecodeList(list, func() error {
			dates = append(dates, got.date)
			return nil
		})
		if ok != (err == nil) || ok && !dates[1].Equal(want) { // only then, because require is slow
			require.Failf(t, "differs from ParseTime", "%q: %v, %v", second, dates, err)
		}
	}
	for i := range second {
		for b := range 256 {
			if b != '"' && b != '\\' {
				second[i] = byte(b)
				check()
			}
		}
		second[i] = date[i]
	}
	for _, text := range []string{
		"2022-12-19T23:01:58.302Z", "2022-12-19T24:01:58.302Z", "2022-12-19T00:00:00.000Z", "2022-12-20T00:00:00.000Z",
		"2022-12-19T11:59:59.302Z", "2022-12-19T11:60:59.302Z", "2022-12-19T11:59:60.302Z",
		"0001-01-01T00:00:00", "2022-02-29T11:01:58", "2022-02-29T11:01:58.302Z",
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00T11:01:58",
	} {
		second = []byte(text)
		check()
	}
}

// In a list, members are predicted in the order of the fields. Whether a
// prediction is right or wrong, and whatever the lengths of the names, members
// must be read as outside a list, where nothing is predicted.
func TestDecodeListPredictsMembers(t *testing.T) {
	t.Parallel()
	type pair struct {
		first, second string
		extra         map[string]json.RawMessage
	}
	for length := 1; length <= 24; length++ {
		var got pair
		first := strings.Repeat("n", length)
		object := wire.Object{Extra: &got.extra, Fields: []wire.Field{
			{Name: first, Value: &got.first}, {Name: first[1:] + "N", Value: &got.second},
		}}
		for _, text := range []string{
			`{"` + first + `":"a","` + first[1:] + `N":"b","x":"a long one"}`,
			`{"` + first[1:] + `N":"b", "` + first + `" : "a","` + first[1:] + `N":"c"}`,
			`{"x":1,"` + first + `":"a","` + first[1:] + `N":"b"}`,
			`{"` + first + `":"a","` + first + `":"b"}`,
		} {
			for at := range text {
				damaged := []string{text, text[:at] + text[at+1:]}
				for bit := range 8 {
					damaged = append(damaged, text[:at]+string([]byte{text[at] ^ 1<<bit})+text[at+1:])
				}
				for _, text := range damaged {
					got = pair{}
					wantErr := object.Decode([]byte(text))
					want := got
					got = pair{}
					err := object.DecodeList([]byte("["+text+"]"), func() error { return nil })
					require.Equal(t, wantErr == nil, err == nil, text)
					if err == nil {
						require.Equal(t, want, got, text)
					}
				}
			}
		}
	}
}

// Members may be absent, and the predictions after them are then right.
func TestDecodeListSkipsAbsentMembers(t *testing.T) {
	t.Parallel()
	members := []string{
		`"a":"x"`, `"b":null`, `"c":"\u0041"`, `"d":7`, `"e":"2022-12-19T11:01:58Z"`, `"f":12`,
		`"g":"z"`,
	}
	type row struct {
		a, b, c, d, g string
		e             time.Time
		f             int64
		extra         map[string]json.RawMessage
	}
	var got row
	object := wire.Object{Extra: &got.extra, Fields: []wire.Field{
		{Name: "a", Value: &got.a},
		{Name: "b", Value: &got.b},
		{Name: "c", Value: &got.c},
		{Name: "d", Value: &got.d},
		{Name: "e", Value: &got.e},
		{Name: "f", Value: &got.f},
		{Name: "g", Value: &got.g},
	}}
	for set := range 1 << len(members) {
		for _, between := range []string{",", `,"x":1,`, " ,"} {
			var present []string
			for i, member := range members {
				if set>>i&1 == 1 {
					present = append(present, member)
				}
			}
			text := "{" + strings.Join(present, between) + "}"
			got = row{}
			require.NoError(t, object.Decode([]byte(text)))
			want := got
			got = row{}
			// Nothing is predicted near the end of the document.
			list := "[" + text + `,{"other":"a long one, a long one"}]`
			first := true
			require.NoError(t, object.DecodeList([]byte(list), func() error {
				if first {
					require.Equal(t, want, got, text)
				}
				first = false
				return nil
			}))
		}
	}
}

// Integers of all lengths, alone and in a list, where other code reads them.
func TestDecodeIntegers(t *testing.T) {
	t.Parallel()
	var id int64
	object := wire.Object{Fields: []wire.Field{{Name: "id", Value: &id}}}
	for digits := 1; digits <= 19; digits++ {
		text := "1234567890123456789"[:digits]
		want, err := strconv.ParseInt(text, 10, 64)
		require.NoError(t, err)
		for _, end := range []string{``, `,"other":"a long one"`} {
			data := `{"id":` + text + end + `}`
			require.NoError(t, object.Decode([]byte(data)))
			require.Equal(t, want, id, data)
			id = 0
			require.NoError(t, object.DecodeList([]byte(`[`+data+`]`), func() error { return nil }))
			require.Equal(t, want, id, data)
		}
	}
}

func TestDecodeNumbersAndWords(t *testing.T) {
	t.Parallel()
	for _, sign := range []string{"", "-", "+", "--"} {
		for _, whole := range []string{"", "0", "00", "01", "7", "70", "1234567890", "0x7", "7 7", "Infinity"} {
			for _, fraction := range []string{"", ".", ".0", ".07", "..7", ".-7"} {
				for _, exponent := range []string{"", "e", "E7", "e+7", "e-07", "e+-7", "e7.7", "ee7"} {
					requireSameRaw(t, sign+whole+fraction+exponent)
				}
			}
		}
	}
	for _, word := range []string{
		"null", "true", "false", "nul", "tru", "fals", "nulll", "True", "NULL", "none",
		"undefined", "NaN", "'a'", "a", "/", "\x00", `"a`, "\"a\n", "\"a\t", `"a\`, `"a\x"`, `{y":1}`, `{"y:1}`,
		`{1:1}`, `{:1}`, `{,"y":1`, `{"y","z":1`, `{"y" 1}`,
	} {
		requireSameRaw(t, word)
	}
}

// requireSameRaw checks a value that no field names: in arrays and objects, and
// at the end of the document.
func requireSameRaw(t *testing.T, value string) {
	t.Helper()
	for _, data := range []string{
		`{"x":` + value + `}`, `{"x":[` + value + `]}`, `{"x":[` + value + `,1]}`,
		`{"x":{"y":` + value + `}}`, `{"x":` + value,
	} {
		var got sample
		want := json.Valid([]byte(data))
		require.Equal(t, want, got.wire().Decode([]byte(data)) == nil, data)
		if want {
			require.Equal(t, strings.TrimSuffix(strings.TrimPrefix(data, `{"x":`), "}"), string(got.Extra["x"]))
		}
	}
}

func TestDecodeCutOff(t *testing.T) {
	t.Parallel()
	for _, data := range documents() {
		if !json.Valid([]byte(data)) {
			continue
		}
		data = strings.TrimSpace(data)
		for end := range len(data) {
			_, err := decodeList(data[:end])
			require.Error(t, err, data[:end])
		}
	}
}
