// Package wire reads and writes JSON objects, given the names of their members
// and the Go variables behind them.
//
// It is strict about grammar, where a doubtful document is better refused, and
// forgiving about form, where servers differ: names match in any case, a text
// may arrive as a number, a date without a zone. It knows nothing of HTTP.
package wire

import (
	"encoding/json"
	"slices"
	"strings"
)

// Field ties one member of an object on the wire to the variable that holds
// its value.
type Field struct {
	Name  string
	Value any  // *string, *int64, *bool, *time.Time or *netip.Addr
	Keep  bool // written even when its value is zero
}

// Object says how a Go value is written and read. It holds pointers into that
// value, so it is as safe for concurrent use as the value itself.
type Object struct {
	Fields []Field
	Extra  *map[string]json.RawMessage // members that no field names; nil drops them on reading
}

// Error says where a document, or a value that was to be written, breaks which
// rule. It holds names, indexes and kinds, but no value: values may be secrets.
type Error struct {
	Path    string // "[3].createdOn", or "" for the document as a whole
	Problem string // "not a date"
}

// Error returns the path and the problem: "[3].createdOn: not a date".
func (e *Error) Error() string {
	if e.Path == "" {
		return e.Problem
	}
	return e.Path + ": " + e.Problem
}

// find returns the index of the field that has the name, or -1. It tries hint
// first, for servers send members in one order. A name in another case counts
// only when none fits exactly.
func (o Object) find(name []byte, hint int) int {
	if hint < len(o.Fields) && o.Fields[hint].Name == string(name) {
		return hint
	}
	exact := slices.IndexFunc(o.Fields, func(f Field) bool { return f.Name == string(name) })
	if exact >= 0 {
		return exact
	}
	return slices.IndexFunc(o.Fields, func(f Field) bool { return equalFold(f.Name, name) })
}

// equalFold compares an ASCII name with another, the case of letters aside.
// The lengths keep out the Kelvin sign and the long s, which Unicode folds to k
// and s.
func equalFold[T string | []byte](name string, other T) bool {
	return len(name) == len(other) && strings.EqualFold(name, string(other))
}
