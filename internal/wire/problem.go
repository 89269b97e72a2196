package wire

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// Problem is what the body of an error says.
type Problem struct {
	// Message is the text about the request as a whole. "" means none.
	Message string
	// Fields holds the texts about single fields, by the names of the fields.
	// nil means none.
	Fields map[string][]string
	// TraceID is the server's id of the request. "" means none.
	TraceID string
}

// maxProblemLevels is how deep the body of an error may be nested. It is more
// than maxLevels, because a message is useful whatever comes beside it.
const maxProblemLevels = 10_000

// DecodeProblem reads the body of an error. The body is an object, one text, or
// a list of texts or of objects with a text. A byte order mark before it is
// skipped. If the body has no such form, ok is false.
//
// In an object, Message is the first text of these: message; error, or the
// message in it; detail; title; description; msg; reason; the texts in errors
// if that is no object. Otherwise errors holds the texts of Fields. A member of
// an unexpected form is ignored. The keys of Fields are those of names that
// match in any case.
//
// The work grows linearly with the length of the body.
func DecodeProblem(body []byte, names []string) (p Problem, ok bool) {
	d := document(body)
	start := d.start()
	end, err := d.value(start, maxProblemLevels)
	if err != nil || d.space(end) != len(d) {
		return Problem{}, false
	}
	d = d[start:end]
	switch d[0] {
	case '"', '[':
		p.Message = strings.Join(d.texts(), "; ")
		return p, d[0] == '"' || p.Message != ""
	case '{':
	default:
		return Problem{}, false
	}
	p.Message = d.message()
	for name, value := range d.members() {
		switch {
		case equalFold("traceId", name):
			p.TraceID = value.text()
		case equalFold("errors", name) && value[0] == '{':
			p.Fields = value.fieldTexts(names)
		case equalFold("errors", name) && p.Message == "":
			p.Message = strings.Join(value.texts(), "; ")
		}
	}
	return p, true
}

// message returns the first text of an object, in the order of the names.
func (d document) message() string {
	names := [...]string{"message", "error", "detail", "title", "description", "msg", "reason"}
	var texts [len(names)]string
	for name, value := range d.members() {
		i := slices.IndexFunc(names[:], func(known string) bool { return equalFold(known, name) })
		if i < 0 {
			continue
		}
		if text := value.text(); text != "" {
			texts[i] = text
		} else if names[i] == "error" && value[0] == '{' {
			texts[i] = cmp.Or(value.memberText("message"), texts[i])
		}
	}
	return cmp.Or(texts[:]...)
}

// memberText returns the text of the member with the name, or "".
func (d document) memberText(name string) (text string) {
	for known, value := range d.members() {
		if equalFold(name, known) {
			text = cmp.Or(value.text(), text)
		}
	}
	return text
}

// texts returns the texts of an array, or of a single value. The text of an
// object is its message.
func (d document) texts() (texts []string) {
	for value := range d.values() {
		text := value.text()
		if value[0] == '{' {
			text = value.message()
		}
		if text != "" {
			texts = append(texts, text)
		}
	}
	return texts
}

// fieldTexts returns the texts in an object, by the names of fields. If several
// keys mean one field, its texts are in the order of the keys.
func (d document) fieldTexts(names []string) (fields map[string][]string) {
	byKey := make(map[string][]string)
	for key, value := range d.members() {
		if texts := value.texts(); len(texts) > 0 {
			byKey[key] = append(byKey[key], texts...)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		if fields == nil {
			fields = make(map[string][]string)
		}
		name := fieldName(key, names)
		fields[name] = append(fields[name], byKey[key]...)
	}
	return fields
}

// fieldName returns the name that a server's key means. ASP.NET Core writes
// Email, or $.email for a value that it could not read. If the key means none
// of the names, fieldName writes its first letter in lower case.
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

// The methods below read a value that is known to be valid. The document holds
// nothing else.

// text returns the text of a string, and "" for other values.
func (d document) text() string {
	if d[0] != '"' {
		return ""
	}
	end, holds, _ := d.quoted(1)
	return string(appendText(nil, d[1:end-1], holds))
}

// values yields the items of an array. It yields any other value itself.
func (d document) values() iter.Seq[document] {
	return func(yield func(document) bool) {
		if d[0] != '[' {
			yield(d)
			return
		}
		at, more, _ := d.item(1, ']', true)
		for more {
			end, _ := d.value(at, maxProblemLevels)
			if !yield(d[at:end]) {
				return
			}
			at, more, _ = d.item(end, ']', false)
		}
	}
}

// members yields the names and values of the members of an object.
func (d document) members() iter.Seq2[string, document] {
	return func(yield func(string, document) bool) {
		at, more, _ := d.item(1, '}', true)
		for more {
			name, holds, _ := d.name(at)
			start, _ := d.colon(name)
			end, _ := d.value(start, maxProblemLevels)
			if !yield(string(appendText(nil, d[at+1:name-1], holds)), d[start:end]) {
				return
			}
			at, more, _ = d.item(end, '}', false)
		}
	}
}
