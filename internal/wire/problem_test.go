package wire_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/clixnow/clixnow-go/internal/wire"
)

func names() []string { return []string{"email", "phone", "subCampaign", "ipAddress"} }

func TestDecodeProblem(t *testing.T) {
	t.Parallel()
	message := func(s string) wire.Problem { return wire.Problem{Message: s} }
	fields := func(name string, texts ...string) wire.Problem {
		return wire.Problem{Fields: map[string][]string{name: texts}}
	}
	for name, test := range map[string]struct {
		body string
		want wire.Problem
	}{
		"message and errors": {
			`{"message":"Validation failed","errors":{"Email":["is taken"],"Phone":["is short","is odd"]}}`,
			wire.Problem{
				Message: "Validation failed",
				Fields:  map[string][]string{"email": {"is taken"}, "phone": {"is short", "is odd"}},
			},
		},
		"problem+json": {
			`{"type":"https://tools.ietf.org/html/rfc9110","title":"One or more validation errors occurred.",` +
				`"status":400,"traceId":"00-4bf9-01","errors":{"$.phone":["is not text"]}}`,
			wire.Problem{
				Message: "One or more validation errors occurred.", TraceID: "00-4bf9-01",
				Fields: map[string][]string{"phone": {"is not text"}},
			},
		},
		"string":                    {`"Duplicate lead"`, message("Duplicate lead")},
		"message and a code":        {`{"error":{"message":"no","code":"E1"}}`, message("no")},
		"quotes around a word":      {`{"message":"\"a\" is taken"}`, message(`"a" is taken`)},
		"string with spaces":        {" \"no\"\n", message("no")},
		"empty string":              {`""`, message("")},
		"empty object":              {`{}`, message("")},
		"message":                   {`{"title":"t","detail":"d","error":"e","message":"m"}`, message("m")},
		"error":                     {`{"title":"t","detail":"d","error":"e"}`, message("e")},
		"error is an object":        {`{"title":"t","error":{"code":7,"Message":"e"}}`, message("e")},
		"error has no message":      {`{"title":"t","error":{"code":7}}`, message("t")},
		"error is a list":           {`{"title":"t","error":["e"]}`, message("t")},
		"error's message is a list": {`{"title":"t","error":{"message":["e"]}}`, message("t")},
		"detail":                    {`{"title":"t","detail":"d"}`, message("d")},
		"title":                     {`{"title":"t"}`, message("t")},
		"names in another case": {
			`{"MESSAGE":"m","traceID":"x","Errors":{"EMAIL":"taken"}}`,
			wire.Problem{Message: "m", TraceID: "x", Fields: map[string][]string{"email": {"taken"}}},
		},
		"empty message":       {`{"message":"","error":"","detail":"d"}`, message("d")},
		"message is null":     {`{"message":null,"title":"t"}`, message("t")},
		"message is a number": {`{"message":17,"title":"t"}`, message("t")},
		"trace is a number":   {`{"message":"m","traceId":17}`, message("m")},
		"errors are null":     {`{"message":"m","errors":null}`, message("m")},
		"errors are a list":   {`{"message":"m","errors":["e"]}`, message("m")},
		"errors are a text":   {`{"message":"m","errors":"e"}`, message("m")},
		"errors are empty":    {`{"message":"m","errors":{}}`, message("m")},
		"errors have no text": {
			`{"message":"m","errors":{"email":17,"phone":[],"x":[null,""],"y":{"code":1}}}`,
			message("m"),
		},
		"field: text": {`{"errors":{"Email":"taken"}}`, fields("email", "taken")},
		"field: list of objects": {
			`{"errors":{"Email":[{"message":"taken"},{"Message":"odd"},{"code":1}]}}`,
			fields("email", "taken", "odd"),
		},
		"field: object": {`{"errors":{"Email":{"message":"taken"}}}`, fields("email", "taken")},
		"field: list of other objects": {
			`{"errors":{"Email":[{"description":"taken"},{"msg":"odd"},{"error":{"message":"long"}}]}}`,
			fields("email", "taken", "odd", "long"),
		},
		"field: mixed list": {
			`{"errors":{"Email":[17,"taken",null,["x"],{"message":"odd"}]}}`,
			fields("email", "taken", "odd"),
		},
		"field: ours in another case":  {`{"errors":{"SUBCAMPAIGN":"x"}}`, fields("subCampaign", "x")},
		"field: path and case":         {`{"errors":{"$.IPAddress":"x"}}`, fields("ipAddress", "x")},
		"field: unknown":               {`{"errors":{"FavouriteColour":"x"}}`, fields("favouriteColour", "x")},
		"field: unknown, beyond ASCII": {`{"errors":{"Éa":"x"}}`, fields("éa", "x")},
		"field: unknown, path":         {`{"errors":{"$.Foo.Bar":"x"}}`, fields("foo.Bar", "x")},
		"field: document":              {`{"errors":{"$":"x"}}`, fields("$", "x")},
		"field: no name":               {`{"errors":{"":"x"}}`, fields("", "x")},
		"field: merged": {
			`{"errors":{"email":["c"],"Email":["b"],"$.email":"a"}}`,
			fields("email", "a", "b", "c"),
		},
		"field: another without text": {`{"errors":{"Email":"taken","Phone":17}}`, fields("email", "taken")},
		"bytes that are not UTF-8":    {"{\"message\":\"a\xffb\"}", message("a\uFFFDb")},
		"deep member beside it": {
			`{"x":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `,"message":"m"}`,
			message("m"),
		},
		"members of unexpected forms": {
			`{"errors":{"Email":"taken"},"message":{"a":1},"traceId":[]}`,
			fields("email", "taken"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ok := wire.DecodeProblem([]byte(test.body), names())
			assert.True(t, ok)
			assert.Equal(t, test.want, got)
		})
	}
}

// The order is that of the page "How the SDK behaves". Each row drops the first
// text of the row before it.
func TestDecodeProblemMessageOrder(t *testing.T) {
	t.Parallel()
	members := []struct{ json, want string }{
		{`"message":"m"`, "m"},
		{`"error":{"code":7,"message":"e"}`, "e"},
		{`"detail":"d"`, "d"},
		{`"title":"t"`, "t"},
		{`"description":"x"`, "x"},
		{`"msg":"g"`, "g"},
		{`"reason":"r"`, "r"},
		{`"errors":["a",{"msg":"b"}]`, "a; b"},
	}
	for i, first := range members {
		t.Run(first.json, func(t *testing.T) {
			t.Parallel()
			var forward, backward []string
			for _, m := range members[i:] {
				forward = append(forward, m.json)
				backward = append([]string{m.json}, backward...)
			}
			for _, order := range [][]string{forward, backward} {
				body := "{" + strings.Join(order, ",") + "}"
				got, ok := wire.DecodeProblem([]byte(body), names())
				assert.True(t, ok)
				assert.Equal(t, wire.Problem{Message: first.want}, got, body)
			}
		})
	}
}

// Servers write the text of an error in many forms. A text that is lost hides,
// for example, that a lead is a duplicate.
func TestDecodeProblemForms(t *testing.T) {
	t.Parallel()
	const duplicate = "Duplicate lead"
	for name, test := range map[string]struct{ body, want string }{
		"one text":                       {`"Duplicate lead"`, duplicate},
		"list of one text":               {`["Duplicate lead"]`, duplicate},
		"list of texts":                  {`["Duplicate lead","no"]`, "Duplicate lead; no"},
		"list of objects":                {`[{"message":"Duplicate lead"},{"description":"no"}]`, "Duplicate lead; no"},
		"list with other things":         {`[7,null,["x"],"",{},{"code":1},"Duplicate lead"]`, duplicate},
		"errors, list of texts":          {`{"errors":["Duplicate lead"]}`, duplicate},
		"errors, list of two":            {`{"errors":["Duplicate lead","no"]}`, "Duplicate lead; no"},
		"errors, objects with message":   {`{"errors":[{"message":"Duplicate lead"}]}`, duplicate},
		"errors, with error":             {`{"errors":[{"error":"Duplicate lead"}]}`, duplicate},
		"errors, with error and message": {`{"errors":[{"error":{"message":"Duplicate lead"}}]}`, duplicate},
		"errors, with detail":            {`{"errors":[{"code":7,"detail":"Duplicate lead"}]}`, duplicate},
		"errors, with title":             {`{"errors":[{"title":"Duplicate lead"}]}`, duplicate},
		"errors, with description":       {`{"errors":[{"description":"Duplicate lead"}]}`, duplicate},
		"errors, with msg":               {`{"errors":[{"Msg":"Duplicate lead"}]}`, duplicate},
		"errors, with reason":            {`{"errors":[{"reason":"Duplicate lead"}]}`, duplicate},
		"errors, the first text counts":  {`{"errors":[{"title":"no","message":"Duplicate lead"}]}`, duplicate},
		"errors, with other things":      {`{"errors":[null,7,{"code":"x"},{"msg":"Duplicate lead"}]}`, duplicate},
		"errors, one text":               {`{"errors":"Duplicate lead"}`, duplicate},
		"errors, list after empty texts": {`{"message":"","title":null,"errors":["Duplicate lead"]}`, duplicate},
		"msg":                            {`{"msg":"Duplicate lead"}`, duplicate},
		"description":                    {`{"code":7,"description":"Duplicate lead"}`, duplicate},
		"reason":                         {`{"reason":"Duplicate lead"}`, duplicate},
		"error, message in capitals":     {`{"ERROR":{"MESSAGE":"Duplicate lead"}}`, duplicate},
		"byte order mark":                {"\uFEFF{\"message\":\"Duplicate lead\"}", duplicate},
		"byte order mark, one text":      {"\uFEFF \"Duplicate lead\"", duplicate},
		"escapes":                        {`{"m\u0065ssage":"Duplicate\u0020lead"}`, duplicate},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ok := wire.DecodeProblem([]byte(test.body), names())
			assert.True(t, ok)
			assert.Equal(t, wire.Problem{Message: test.want}, got)
		})
	}
}

func TestDecodeProblemNotJSON(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"empty":           "",
		"white space":     " \n",
		"text":            "Bad Gateway",
		"HTML":            "<html><body>502</body></html>",
		"null":            "null",
		"number":          "17",
		"empty list":      `[]`,
		"empty text":      `[""]`,
		"list of numbers": `[1,2]`,
		"list of lists":   `[["a"]]`,
		"objects without": `[{"code":1},{"x":"a"}]`,
		"vertical tab":    "\"m\"\v", // JSON does not allow it as white space
		"mark only":       "\uFEFF",
		"mark, then HTML": "\uFEFF<html>",
		"cut off":         `{"message":"m"`,
		"cut off in text": `"Duplicate le`,
		"trailing":        `{"message":"m"} x`,
		"too deep":        `{"message":"m","x":` + strings.Repeat("[", 1e5) + strings.Repeat("]", 1e5) + `}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ok := wire.DecodeProblem([]byte(body), names())
			assert.False(t, ok)
			assert.Zero(t, got)
		})
	}
}
