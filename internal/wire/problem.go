package wire

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// Problem is what a server says in the body of an error.
type Problem struct {
	Message string
	Fields  map[string][]string // what it says of single fields, by their names; nil when nothing
	TraceID string
}

// DecodeProblem reads the body of an error: an object with a message under
// message, error, detail or title, the first that is not empty, or a string,
// which is then the message. Members of an unexpected form are passed over,
// for half an explanation is better than none; ok is false where the body is
// neither. The keys of Fields are the given names where they match in any case.
func DecodeProblem(body []byte, names []string) (p Problem, ok bool) {
	if !json.Valid(body) {
		return Problem{}, false
	}
	switch bytes.TrimSpace(body)[0] {
	case '"':
		return Problem{Message: text(body)}, true
	case '{':
	default:
		return Problem{}, false
	}
	var members struct {
		Message json.RawMessage `json:"message"`
		Error   json.RawMessage `json:"error"`
		Detail  json.RawMessage `json:"detail"`
		Title   json.RawMessage `json:"title"`
		TraceID json.RawMessage `json:"traceId"`
		Errors  json.RawMessage `json:"errors"`
	}
	_ = json.Unmarshal(body, &members) // cannot fail: a raw message takes any value
	for _, candidate := range []json.RawMessage{members.Message, members.Error, members.Detail, members.Title} {
		if p.Message == "" {
			p.Message = text(candidate)
		}
	}
	p.TraceID = text(members.TraceID)
	p.Fields = fieldTexts(members.Errors, names)
	return p, true
}

// text returns a JSON string, or the message of a JSON object, or "".
func text(value json.RawMessage) (s string) {
	if json.Unmarshal(value, &s) == nil {
		return s
	}
	var object struct {
		Message json.RawMessage `json:"message"`
	}
	_ = json.Unmarshal(value, &object) // anything but an object leaves it empty
	_ = json.Unmarshal(object.Message, &s)
	return s
}

// fieldTexts reads an object of texts, or lists of texts, by field name.
func fieldTexts(object json.RawMessage, names []string) map[string][]string {
	var members map[string]json.RawMessage
	_ = json.Unmarshal(object, &members) // anything but an object leaves it empty
	var fields map[string][]string
	for _, key := range slices.Sorted(maps.Keys(members)) {
		var values []json.RawMessage
		if json.Unmarshal(members[key], &values) != nil {
			values = []json.RawMessage{members[key]}
		}
		name := fieldName(key, names)
		for _, value := range values {
			if s := text(value); s != "" {
				if fields == nil {
					fields = make(map[string][]string)
				}
				fields[name] = append(fields[name], s)
			}
		}
	}
	return fields
}

// fieldName returns which of the names a server's key means: ASP.NET Core
// writes Email or, for what it could not read, $.email. A key that means none
// of them at least gets the lower-case first letter that names have.
func fieldName(key string, names []string) string {
	key = strings.TrimPrefix(key, "$.")
	for _, name := range names {
		if equalFold(name, key) {
			return name
		}
	}
	_, first := utf8.DecodeRuneInString(key)
	return strings.ToLower(key[:first]) + key[first:]
}
