package wire_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/internal/wire"
)

var moment = time.Date(2022, 12, 19, 11, 1, 58, 302e6, time.UTC)

func TestDecodeValues(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		data string
		want sample
	}{
		"all fields": {
			`{"id":7,"name":"Ann","active":true,"createdOn":"2022-12-19T11:01:58.302Z","ipAddress":"::1"}`,
			sample{ID: 7, Name: "Ann", Active: true, Created: moment, Address: netip.MustParseAddr("::1")},
		},
		"white space everywhere": {" {\t\"id\" :\r\n7 , \"name\": \"Ann\" } \n", sample{ID: 7, Name: "Ann"}},
		"no members":             {`{}`, sample{}},
		"null counts as absent": {
			`{"id":null,"name":null,"active":null,"createdOn":null,"ipAddress":null}`,
			sample{},
		},
		"names in another case": {
			`{"ID":7,"NAME":"Ann","createdon":"2022-12-19T11:01:58.302Z"}`,
			sample{ID: 7, Name: "Ann", Created: moment},
		},
		"names with escapes": {`{"\u0069d":7,"n\u0061me":"Ann"}`, sample{ID: 7, Name: "Ann"}},
		"names in any order": {
			`{"active":true,"name":"Ann","id":7}`,
			sample{ID: 7, Name: "Ann", Active: true},
		},
		"last of two wins":            {`{"id":7,"name":"Ann","id":8,"Name":"Bob"}`, sample{ID: 8, Name: "Bob"}},
		"last of two is null":         {`{"id":7,"name":"Ann","id":null,"name":null}`, sample{ID: 7, Name: "Ann"}},
		"text from number":            {`{"name":17}`, sample{Name: "17"}},
		"text from number as written": {`{"name":-1.50E+02}`, sample{Name: "-1.50E+02"}},
		"text from long number": {
			`{"name":123456789012345678901234567890}`,
			sample{Name: "123456789012345678901234567890"},
		},
		"text from boolean": {`{"name":false}`, sample{Name: "false"}},
		"empty text":        {`{"name":""}`, sample{}},
		"escapes": {
			`{"name":"\"\\\/\b\f\n\r\t\u002b\u00e9\ud83d\ude00"}`,
			sample{Name: "\"\\/\b\f\n\r\t+é😀"},
		},
		"text beyond ASCII":        {`{"name":"Zoë 😀"}`, sample{Name: "Zoë 😀"}},
		"half a surrogate pair":    {`{"name":"a\ud800b"}`, sample{Name: "a\uFFFDb"}},
		"half, pair in capitals":   {`{"name":"\uD83D\uD83D\uDE00"}`, sample{Name: "\uFFFD😀"}},
		"pair in the wrong order":  {`{"name":"\ude00\ud83d"}`, sample{Name: "\uFFFD\uFFFD"}},
		"half a pair, then a pair": {`{"name":"\uD83D\ud83d\ude00"}`, sample{Name: "\uFFFD😀"}},
		"backslash, then ud800":    {`{"name":"\\ud800"}`, sample{Name: `\ud800`}},
		"bytes that are not UTF-8": {"{\"name\":\"a\xff\xfeb\"}", sample{Name: "a\uFFFD\uFFFDb"}},
		"integer from text":        {`{"id":"42"}`, sample{ID: 42}},
		"negative integer":         {`{"id":-42}`, sample{ID: -42}},
		"negative, from text":      {`{"id":"-42"}`, sample{ID: -42}},
		"minus zero":               {`{"id":-0}`, sample{}},
		"largest integer":          {`{"id":9223372036854775807}`, sample{ID: 9223372036854775807}},
		"smallest integer":         {`{"id":-9223372036854775808}`, sample{ID: -9223372036854775808}},
		"integer with fraction 0":  {`{"id":7.0}`, sample{ID: 7}},
		"integer with many zeros":  {`{"id":-7.00000000000000000000}`, sample{ID: -7}},
		"minus zero with fraction": {`{"id":-0.0}`, sample{}},
		"largest with fraction":    {`{"id":9223372036854775807.0}`, sample{ID: 9223372036854775807}},
		"smallest with fraction":   {`{"id":-9223372036854775808.0}`, sample{ID: -9223372036854775808}},
		"integer from text 7.00":   {`{"id":"7.00"}`, sample{ID: 7}},
		"false":                    {`{"active":false}`, sample{}},
		"date is empty text":       {`{"createdOn":""}`, sample{}},
		"date, then empty date":    {`{"createdOn":"2022-12-19T11:01:58","CreatedOn":""}`, sample{}},
		"date that .NET never set": {`{"createdOn":"0001-01-01T00:00:00"}`, sample{}},
		"date with escapes":        {`{"createdOn":"2022-12-19T13:01:58.302\u002b02:00"}`, sample{Created: moment}},
		"empty address":            {`{"ipAddress":""}`, sample{}},
		"IPv4":                     {`{"ipAddress":"192.0.2.1"}`, sample{Address: netip.MustParseAddr("192.0.2.1")}},
		"unknown members": {
			`{"x":1,"id":7,"Y":{"a":[ "b" ]}}`,
			sample{ID: 7, Extra: raw("x", "1", "Y", `{"a":[ "b" ]}`)},
		},
		"unknown, last wins":    {`{"x":1,"x": "2" }`, sample{Extra: raw("x", `"2"`)}},
		"unknown, case matters": {`{"x":1,"X":null}`, sample{Extra: raw("x", "1", "X", "null")}},
		"unknown, name escaped": {`{"\u0078\n":1}`, sample{Extra: raw("x\n", "1")}},
		"unknown, empty name":   {`{"":1}`, sample{Extra: raw("", "1")}},
		"unknown, half a pair":  {`{"\ud800\ud83d\ude00":"\ud800"}`, sample{Extra: raw("\uFFFD😀", `"\ufffd"`)}},
		"unknown, several halves": {
			`{"x":"\ud83d\ude00\udfff\ud800\ud800"}`,
			sample{Extra: raw("x", `"\ud83d\ude00\ufffd\ufffd\ufffd"`)},
		},
		"unknown, not UTF-8": {"{\"x\":[\"a\xff\xfe\"]}", sample{Extra: raw("x", "[\"a\uFFFD\uFFFD\"]")}},
		"long s is not an s": {`{"ipAddre\u017fs":1}`, sample{Extra: raw("ipAddre\u017fs", "1")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got sample
			require.NoError(t, got.wire().Decode([]byte(test.data)))
			assert.Equal(t, test.want, got)

			list, err := decodeList("[" + test.data + "," + test.data + "]")
			require.NoError(t, err)
			assert.Equal(t, []sample{test.want, test.want}, list)
		})
	}
}

func TestDecodeErrors(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ data, want string }{
		"empty":                             {``, "malformed JSON at byte 0"},
		"white space only":                  {" \n", "malformed JSON at byte 2"},
		"null":                              {`null`, "an object is expected, not null"},
		"array":                             {`[]`, "an object is expected, not an array"},
		"text":                              {`"secret"`, "an object is expected, not a string"},
		"HTML":                              {`<html>`, "malformed JSON at byte 1"},
		"cut off":                           {`{"id":1`, "malformed JSON at byte 7"},
		"cut off after the colon":           {`{"id":`, "malformed JSON at byte 6"},
		"cut off after the brace":           {`{`, "malformed JSON at byte 1"},
		"cut off in a text":                 {`{"name":"a`, "malformed JSON at byte 10"},
		"name without a quote":              {`{name":"a"}`, "malformed JSON at byte 2"},
		"escape without a number":           {`{"name":"\ud83d\ude00\ub55g"}`, "malformed JSON at byte 27"},
		"cut off in an escape":              {`{"name":"a\u00`, "malformed JSON at byte 14"},
		"trailing text":                     {`{} x`, "malformed JSON at byte 4"},
		"trailing object":                   {`{}{}`, "malformed JSON at byte 3"},
		"trailing comma":                    {`{"id":1,}`, "malformed JSON at byte 9"},
		"trailing NUL":                      {"{}\x00", "malformed JSON at byte 3"},
		"no colon":                          {`{"id" 1}`, "malformed JSON at byte 7"},
		"no comma":                          {`{"id":1 "name":""}`, "malformed JSON at byte 9"},
		"name without quotes":               {`{id:1}`, "malformed JSON at byte 2"},
		"single quotes":                     {`{'id':1}`, "malformed JSON at byte 2"},
		"leading zero":                      {`{"id":01}`, "malformed JSON at byte 8"},
		"leading plus":                      {`{"id":+1}`, "malformed JSON at byte 7"},
		"hexadecimal":                       {`{"id":0x1}`, "malformed JSON at byte 8"},
		"NaN":                               {`{"name":NaN}`, "malformed JSON at byte 9"},
		"point without digits":              {`{"name":1.}`, "malformed JSON at byte 11"},
		"control character":                 {"{\"name\":\"a\nb\"}", "malformed JSON at byte 11"},
		"bad escape":                        {`{"name":"\x41"}`, "malformed JSON at byte 11"},
		"bad hexadecimal escape":            {`{"name":"\u00g1"}`, "malformed JSON at byte 14"},
		"misspelled true":                   {`{"active":trux}`, "malformed JSON at byte 14"},
		"misspelled null":                   {`{"name":nul}`, "malformed JSON at byte 12"},
		"name cut off":                      {`{"id`, "malformed JSON at byte 4"},
		"text without quotes":               {`not found`, "malformed JSON at byte 2"},
		"word that begins like true":        {`tomorrow`, "malformed JSON at byte 2"},
		"dashes":                            {`-- no --`, "malformed JSON at byte 2"},
		"array, cut off":                    {`[`, "malformed JSON at byte 1"},
		"boolean":                           {`true`, "an object is expected, not a boolean"},
		"no name within unknown":            {`{"x":{1:2}}`, "malformed JSON at byte 7"},
		"no comma within unknown":           {`{"x":[1 2]}`, "malformed JSON at byte 9"},
		"bad within unknown":                {`{"x":[1,{"y":01}]}`, "malformed JSON at byte 15"},
		"control within unknown":            {"{\"x\":\"\t\"}", "malformed JSON at byte 7"},
		"text is object":                    {`{"name":{"secret":1}}`, "name: text is expected, not an object"},
		"text is array":                     {`{"NAME":["secret"]}`, "name: text is expected, not an array"},
		"date is array":                     {`{"createdOn":[]}`, "createdOn: a date is expected, not an array"},
		"integer has fraction":              {`{"id":42.5}`, "id: not an integer"},
		"integer has fraction after zeros":  {`{"id":42.0001}`, "id: not an integer"},
		"integer has fraction and exponent": {`{"id":42.0e0}`, "id: not an integer"},
		"integer too large, with fraction":  {`{"id":9223372036854775808.0}`, "id: not an integer"},
		"integer has exponent":              {`{"id":1e3}`, "id: not an integer"},
		"integer too large":                 {`{"id":9223372036854775808}`, "id: not an integer"},
		"integer far too large":             {`{"id":18446744073709551617}`, "id: not an integer"},
		"integer too small":                 {`{"id":-9223372036854775809}`, "id: not an integer"},
		"integer is boolean":                {`{"id":true}`, "id: not an integer"},
		"integer is object":                 {`{"id":{}}`, "id: an integer is expected, not an object"},
		"integer text is empty":             {`{"id":""}`, "id: not an integer"},
		"integer text is a word":            {`{"id":"secret"}`, "id: not an integer"},
		"integer text has zeros":            {`{"id":"042"}`, "id: not an integer"},
		"integer text begins with a zero":   {`{"id":"05"}`, "id: not an integer"},
		"other than a colon":                {`{"x";7}`, "malformed JSON at byte 5"},
		"no name before a colon":            {`{"x":{:2}}`, "malformed JSON at byte 7"},
		"array ends as an object":           {`{"x":[1}`, "malformed JSON at byte 8"},
		"integer text has a plus":           {`{"id":"+42"}`, "id: not an integer"},
		"integer text has two signs":        {`{"id":"-+42"}`, "id: not an integer"},
		"integer text is a sign":            {`{"id":"-"}`, "id: not an integer"},
		"integer text has a space":          {`{"id":" 42"}`, "id: not an integer"},
		"integer text has fraction":         {`{"id":"42.5"}`, "id: not an integer"},
		"integer text has point only":       {`{"id":"42."}`, "id: not an integer"},
		"integer text has two points":       {`{"id":"42.0.0"}`, "id: not an integer"},
		"integer text has a comma":          {`{"id":"42,0"}`, "id: not an integer"},
		"integer text has an underscore":    {`{"id":"4_2"}`, "id: not an integer"},
		"boolean is text":                   {`{"active":"true"}`, "active: not true or false"},
		"boolean is number":                 {`{"active":1}`, "active: not true or false"},
		"boolean is object":                 {`{"active":{}}`, "active: true or false is expected, not an object"},
		"date is number":                    {`{"createdOn":1671447718}`, "createdOn: not a date"},
		"date is boolean":                   {`{"createdOn":false}`, "createdOn: not a date"},
		"date is a space":                   {`{"createdOn":" "}`, "createdOn: not a date"},
		"date is a word":                    {`{"createdOn":"secret"}`, "createdOn: not a date"},
		"address is a word":                 {`{"ipAddress":"secret"}`, "ipAddress: not an IP address"},
		"address is a number":               {`{"ipAddress":16777343}`, "ipAddress: not an IP address"},
		"address object": {
			`{"ipAddress":{}}`,
			"ipAddress: an IP address is expected, not an object",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s sample
			err := s.wire().Decode([]byte(test.data))
			require.EqualError(t, err, test.want)
			var wireError *wire.Error
			require.ErrorAs(t, err, &wireError)
			assert.NotContains(t, err.Error(), "secret")
		})
	}
}

func TestDecodeList(t *testing.T) {
	t.Parallel()
	none, one, two := []sample(nil), []sample{{ID: 1}}, []sample{{ID: 1}, {ID: 2}}
	for name, test := range map[string]struct {
		data string
		want []sample
	}{
		"bare":                         {`[{"id":1},{"id":2}]`, two},
		"bare, white space":            {" [ {\"id\":1} ,\n{\"id\":2} ] ", two},
		"bare, empty":                  {`[]`, none},
		"empty element":                {`[{}]`, []sample{{}}},
		"wrapped":                      {`{"items":[{"id":1},{"id":2}]}`, two},
		"wrapped, another name":        {`{"Whatever":[{"id":1}]}`, one},
		"wrapped, the name of a field": {`{"id":[{"id":1}]}`, one},
		"wrapped, beside other things": {
			`{"total":2,"next":null,"links":{"a":[{"id":9}]},"items":[{"id":1},{"id":2}],"ok":true}`,
			two,
		},
		"wrapped, beside other arrays": {
			`{"a":[1,{"id":9}],"b":[[{"id":9}]],"items":[{"id":1}],"c":["x"],"d":[null]}`,
			one,
		},
		"wrapped, beside an empty array":     {`{"errors":[],"items":[{"id":1}],"warnings":[]}`, one},
		"wrapped, empty":                     {`{"items":[],"total":0}`, none},
		"wrapped, empty with a space":        {`{"items":[ ]}`, none},
		"wrapped, two empty":                 {`{"items":[],"errors":[]}`, none},
		"wrapped, null data":                 {`{"data":null}`, none},
		"wrapped, null items":                {`{"items":null,"total":0}`, none},
		"wrapped, null leads":                {`{"leads":null}`, none},
		"wrapped, null result":               {`{"result":null}`, none},
		"wrapped, null results":              {`{"results":null}`, none},
		"wrapped, null in another case":      {`{"ok":true,"Data":null}`, none},
		"wrapped, null and an array":         {`{"data":null,"items":[{"id":1}]}`, one},
		"wrapped, an array and null":         {`{"items":[{"id":1}],"data":null}`, one},
		"wrapped, null and other things":     {`{"data":null,"tags":["x"],"error":{"items":[{"id":9}]}}`, none},
		"wrapped, element is empty":          {`{"items":[{}]}`, []sample{{}}},
		"wrapped, empty beside scalars":      {`{"tags":["x"],"items":[]}`, none},
		"wrapped, beside brackets in a text": {`{"note":"{","items":[{"id":1}],"other":{"a":1}}`, one},
		"element does not keep values": {
			`[{"id":1,"name":"Ann","x":1},{"id":2}]`,
			[]sample{{ID: 1, Name: "Ann", Extra: map[string]json.RawMessage{"x": json.RawMessage("1")}}, {ID: 2}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := decodeList(test.data)
			require.NoError(t, err)
			assert.Equal(t, test.want, got)
		})
	}
}

// An error of each ends the reading.
func TestDecodeListEndsWithEach(t *testing.T) {
	t.Parallel()
	var got sample
	for _, data := range []string{`[{"id":1},{"id":2}]`, `{"items":[{"id":1},{"id":2}]}`} {
		calls := 0
		err := got.wire().DecodeList([]byte(data), func() error {
			calls++
			return &wire.Error{Problem: "too many"}
		})
		require.EqualError(t, err, "too many")
		assert.Equal(t, 1, calls)
	}
}

func TestDecodeListErrors(t *testing.T) {
	t.Parallel()
	const noArray = "the object has no array of objects"
	for name, test := range map[string]struct{ data, want string }{
		"empty":                   {``, "malformed JSON at byte 0"},
		"null":                    {`null`, "an array of objects is expected, not null"},
		"name without quotes":     {`{items:[]}`, "malformed JSON at byte 2"},
		"bracket in a text":       {`{"note":"]"}`, noArray},
		"value without a name":    {`{5,"items":[]}`, "malformed JSON at byte 2"},
		"text without a colon":    {`{"x","items":[]}`, "malformed JSON at byte 5"},
		"element without a name":  {`[{5,"id":7}]`, "malformed JSON at byte 3"},
		"element without a colon": {`[{"x","id":7}]`, "malformed JSON at byte 6"},
		"name without a value":    {`{"x":,"items":[]}`, "malformed JSON at byte 6"},
		"no comma before first":   {`[{"x":1"id":7}]`, "malformed JSON at byte 8"},
		"no comma before second":  {`[{"id":7"name":"x"}]`, "malformed JSON at byte 9"},
		"comma before first":      {`[{,"id":7}]`, "malformed JSON at byte 3"},
		"comma before second":     {`[{,"name":"x"}]`, "malformed JSON at byte 3"},
		"field ends":              {`[{"id":`, "malformed JSON at byte 7"},
		"field ends after colon":  {`[{"id":}]`, "malformed JSON at byte 8"},
		"number":                  {`17`, "an array of objects is expected, not a number"},
		"empty object":            {`{}`, noArray},
		"message":                 {`{"message":"secret"}`, noArray},
		"total":                   {`{"total":0}`, noArray},
		"another member is null":  {`{"lead":null,"result ":null,"Items2":null}`, noArray},
		"items are false":         {`{"items":false}`, noArray},
		"items are an object":     {`{"items":{}}`, noArray},
		"items are a text":        {`{"items":""}`, noArray},
		"tags only":               {`{"tags":["x"]}`, noArray},
		"null within data":        {`{"page":{"data":null}}`, noArray},
		"items are numbers":       {`{"items":[1,2]}`, noArray},
		"first item is null":      {`{"items":[null,{"id":1}]}`, noArray},
		"wrapped twice":           {`{"data":{"items":[{"id":1}]}}`, noArray},
		"array in an array":       {`{"items":[[{"id":1}]]}`, noArray},
		"two arrays of objects": {
			`{"a":[{"id":1}],"b":[{"id":2}]}`,
			"one array of objects is expected, not two",
		},
		"the same array twice": {
			`{"a":[{"id":1}],"a":[{"id":2}]}`,
			"one array of objects is expected, not two",
		},
		"bare, element is null":    {`[{"id":1},null]`, "[1]: an object is expected, not null"},
		"bare, element is a word":  {`[{"id":1},none]`, "malformed JSON at byte 12"},
		"bare, element is number":  {`[1]`, "[0]: an object is expected, not a number"},
		"bare, element is array":   {`[[{"id":1}]]`, "[0]: an object is expected, not an array"},
		"wrapped, element is null": {`{"items":[{"id":1},null]}`, "[1]: an object is expected, not null"},
		"bad value":                {`[{"id":1},{"id":2},{},{"createdOn":"secret"}]`, "[3].createdOn: not a date"},
		"bad wrapped value": {
			`{"secret":[{"id":1},{"name":{}}]}`,
			"[1].name: text is expected, not an object",
		},
		"leading comma in an object": {`[{"id":1},{,"name":"Zoe"}]`, "malformed JSON at byte 12"},
		"leading comma, third field": {`[{,"active":true}]`, "malformed JSON at byte 3"},
		"half a word, and the end":   {`[tru}]`, "malformed JSON at byte 5"},
		"cut off":                    {`[{"id":1}`, "malformed JSON at byte 9"},
		"cut off after the bracket":  {`[`, "malformed JSON at byte 1"},
		"cut off after the comma":    {`[{"id":1},`, "malformed JSON at byte 10"},
		"cut off in an element":      {`[{"id":1},{"id"`, "malformed JSON at byte 15"},
		"cut off in the envelope":    {`{"items":[{"id":1}]`, "malformed JSON at byte 19"},
		"cut off, envelope's array":  {`{"items":[`, "malformed JSON at byte 10"},
		"cut off, envelope's brace":  {`{`, "malformed JSON at byte 1"},
		"trailing comma":             {`[{"id":1},]`, "malformed JSON at byte 11"},
		"leading comma":              {`[,{"id":1}]`, "malformed JSON at byte 2"},
		"no comma":                   {`[{"id":1}{"id":2}]`, "malformed JSON at byte 10"},
		"wrong bracket":              {`[{"id":1}}`, "malformed JSON at byte 10"},
		"trailing list":              {`[] []`, "malformed JSON at byte 4"},
		"trailing after an envelope": {`{"items":[]},`, "malformed JSON at byte 13"},
		"bad beside the array":       {`{"items":[{"id":1}],"total":01}`, "malformed JSON at byte 30"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := decodeList(test.data)
			require.EqualError(t, err, test.want)
		})
	}
}

func TestDecodeDepth(t *testing.T) {
	t.Parallel()
	const tooDeep = "nested deeper than 64 levels"
	for name, test := range map[string]struct {
		before string
		// open is the number of arrays and objects that before leaves open.
		open  int
		after string
		path  string
	}{
		"in a member":              {`[{"x":`, 2, `}]`, "[0]: "},
		"in a member, wrapped":     {`{"items":[{"x":`, 3, `}]}`, "[0]: "},
		"before the array":         {`{"x":`, 1, `,"items":[]}`, ""},
		"after the array":          {`{"items":[{},{}],"x":`, 1, `}`, ""},
		"after many elements":      {`[` + strings.Repeat(`{"x":[]},`, 100) + `{"x":`, 2, `}]`, "[100]: "},
		"after brackets in a text": {`[{"x":["\"[[[[[[",`, 3, `]}]`, "[0]: "},
		"after closed brackets":    {`[{"x":[{"y":[[]]},`, 3, `]}]`, "[0]: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nest := func(levels int) string {
				levels -= test.open
				return test.before + strings.Repeat(`[`, levels) + strings.Repeat(`]`, levels) + test.after
			}
			_, err := decodeList(nest(64))
			require.NoError(t, err)
			_, err = decodeList(nest(65))
			require.EqualError(t, err, test.path+tooDeep)
		})
	}

	t.Run("in a field", func(t *testing.T) {
		t.Parallel()
		nest := func(levels int) string {
			return `[{},{"name":` + strings.Repeat(`[`, levels) + strings.Repeat(`]`, levels) + `}]`
		}
		_, err := decodeList(nest(62))
		require.EqualError(t, err, "[1].name: text is expected, not an array")
		_, err = decodeList(nest(63))
		require.EqualError(t, err, "[1].name: "+tooDeep)
	})
	t.Run("in one object", func(t *testing.T) {
		t.Parallel()
		var s sample
		require.NoError(t, s.wire().Decode([]byte(`{"x":`+strings.Repeat(`{"y":`, 62)+`{}`+strings.Repeat(`}`, 63))))
		require.EqualError(t,
			s.wire().Decode([]byte(`{"x":`+strings.Repeat(`{"y":`, 63)+`{}`+strings.Repeat(`}`, 64))), tooDeep)
	})
	t.Run("in an object without fields", func(t *testing.T) {
		t.Parallel()
		err := wire.Object{}.Decode([]byte(`{"x":` + strings.Repeat(`[`, 64) + strings.Repeat(`]`, 64) + `}`))
		require.EqualError(t, err, tooDeep)
	})
	t.Run("a million", func(t *testing.T) {
		t.Parallel()
		deep := strings.Repeat(`[`, 1e6)
		for _, data := range []string{
			deep, `{"x":` + deep, `[{"x":` + deep, `[{"name":` + deep,
			deep + strings.Repeat(`]`, 1e6),
		} {
			_, err := decodeList(data)
			require.Error(t, err)
		}
	})
}

func TestDecodeWithoutExtra(t *testing.T) {
	t.Parallel()
	var id int64
	object := wire.Object{Fields: []wire.Field{{Name: "id", Value: &id}}}
	require.NoError(t, object.Decode([]byte(`{"x":{"y":[1]},"id":7,"z":null}`)))
	assert.Equal(t, int64(7), id)
}

// The text of a JSON fault is the same for every version of Go, because the
// position does not come from encoding/json.
func TestDecodeFaultPosition(t *testing.T) {
	t.Parallel()
	for _, data := range documents() {
		if _, err := decodeList(data); err != nil || strings.HasPrefix(data, "\uFEFF") {
			continue
		}
		data = strings.TrimSpace(data)
		for at := range len(data) {
			_, err := decodeList(data[:at])
			require.EqualError(t, err, fmt.Sprintf("malformed JSON at byte %d", at), "cut off")
			_, err = decodeList(data[:at] + "\x01" + data[at:]) // JSON allows this byte nowhere
			require.EqualError(t, err, fmt.Sprintf("malformed JSON at byte %d", at+1), "wrong byte")
		}
		_, err := decodeList(data + " \x01")
		require.EqualError(t, err, fmt.Sprintf("malformed JSON at byte %d", len(data)+2), "trailing byte")
	}
}

func TestDecodeSkipsByteOrderMark(t *testing.T) {
	t.Parallel()
	const mark = "\uFEFF"
	for name, test := range map[string]struct {
		data string
		want []sample
		err  string
	}{
		"array":                 {mark + `[{"id":1}]`, []sample{{ID: 1}}, ""},
		"array after a space":   {mark + "\r\n [{\"id\":1}]\n", []sample{{ID: 1}}, ""},
		"envelope":              {mark + `{"items":[{"id":1}]}`, []sample{{ID: 1}}, ""},
		"mark in a text":        {`[{"name":"` + mark + `"}]`, []sample{{Name: mark}}, ""},
		"mark only":             {mark, nil, "malformed JSON at byte 3"},
		"two marks":             {mark + mark + `[]`, nil, "malformed JSON at byte 4"},
		"mark after a space":    {" " + mark + `[]`, nil, "malformed JSON at byte 2"},
		"mark at the end":       {`[]` + mark, nil, "malformed JSON at byte 3"},
		"half a mark":           {mark[:2] + `[]`, nil, "malformed JSON at byte 1"},
		"UTF-16":                {"\xFF\xFE[\x00]\x00", nil, "malformed JSON at byte 1"},
		"position counts it":    {mark + `[x]`, nil, "malformed JSON at byte 5"},
		"HTML after it":         {mark + `<html>`, nil, "malformed JSON at byte 4"},
		"wrong type after it":   {mark + `17`, nil, "an array of objects is expected, not a number"},
		"empty object after it": {mark + `{}`, nil, "the object has no array of objects"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := decodeList(test.data)
			if test.err != "" {
				require.EqualError(t, err, test.err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, test.want, got)
		})
	}
	t.Run("one object", func(t *testing.T) {
		t.Parallel()
		var s sample
		require.NoError(t, s.wire().Decode([]byte(mark+` {"id":7}`)))
		assert.Equal(t, sample{ID: 7}, s)
	})
}
