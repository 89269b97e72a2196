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
			`{"type":"https://tools.ietf.org/html/rfc9110","title":"One or more validation errors occurred.","status":400,"traceId":"00-4bf9-01","errors":{"$.phone":["is no text"]}}`,
			wire.Problem{
				Message: "One or more validation errors occurred.", TraceID: "00-4bf9-01",
				Fields: map[string][]string{"phone": {"is no text"}},
			},
		},
		"string":                     {`"Duplicate lead"`, message("Duplicate lead")},
		"string with blanks":         {" \"no\"\n", message("no")},
		"empty string":               {`""`, message("")},
		"empty object":               {`{}`, message("")},
		"message":                    {`{"title":"t","detail":"d","error":"e","message":"m"}`, message("m")},
		"error":                      {`{"title":"t","detail":"d","error":"e"}`, message("e")},
		"error is an object":         {`{"title":"t","error":{"code":7,"Message":"e"}}`, message("e")},
		"error is an object without": {`{"title":"t","error":{"code":7}}`, message("t")},
		"error is a list":            {`{"title":"t","error":["e"]}`, message("t")},
		"error's message is a list":  {`{"title":"t","error":{"message":["e"]}}`, message("t")},
		"detail":                     {`{"title":"t","detail":"d"}`, message("d")},
		"title":                      {`{"title":"t"}`, message("t")},
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
		"errors are useless": {
			`{"message":"m","errors":{"email":17,"phone":[],"x":[null,""],"y":{"code":1}}}`,
			message("m"),
		},
		"field: text": {`{"errors":{"Email":"taken"}}`, fields("email", "taken")},
		"field: list of objects": {
			`{"errors":{"Email":[{"message":"taken"},{"Message":"odd"},{"code":1}]}}`,
			fields("email", "taken", "odd"),
		},
		"field: object": {`{"errors":{"Email":{"message":"taken"}}}`, fields("email", "taken")},
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
		"field: useless beside useful": {`{"errors":{"Email":"taken","Phone":17}}`, fields("email", "taken")},
		"bytes that are no UTF-8":      {"{\"message\":\"a\xffb\"}", message("a\uFFFDb")},
		"deep, beside": {`{"x":` + strings.Repeat("[", 5000) + strings.Repeat("]",
			5000) + `,"message":"m"}`, message("m")},
		"member of an unexpected form ": {
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

func TestDecodeProblemNotJSON(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"empty":           "",
		"blank":           " \n",
		"text":            "Bad Gateway",
		"HTML":            "<html><body>502</body></html>",
		"null":            "null",
		"number":          "17",
		"array":           `["a"]`,
		"vertical tab":    "\"m\"\v", // a blank to Go, but not to JSON
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
