// Package wire reads and writes JSON objects. The caller names the members of
// an object, and gives the Go variables that hold their values.
//
// The package is strict about the grammar of JSON: it refuses a malformed
// document as a whole. It accepts several forms of a value, because servers
// differ: names match in any case, a text may arrive as a number, and a date
// may have no zone. The package does not know HTTP.
package wire

import (
	"encoding/json"
	"slices"
	"strings"
)

// Field connects one member of an object to the variable that holds its value.
type Field struct {
	// Name is the name of the member.
	Name string
	// Value is a *string, *int64, *bool, *time.Time or *netip.Addr.
	Value any
	// Keep writes the member even if its value is zero. False leaves a zero
	// value out.
	Keep bool
}

// Object says how a Go value is written and read. It holds pointers into that
// value, so it is as safe for concurrent use as the value itself.
type Object struct {
	Fields []Field
	// Extra holds the members that no field names, as written. If Extra is nil,
	// reading drops them.
	Extra *map[string]json.RawMessage
}

// Error is a fault in a document, or in a value that was to be written. It
// holds names, indexes and types, but no values, because values may be secrets.
type Error struct {
	// Path is where the fault is, for example "[3].createdOn". "" means the
	// document as a whole.
	Path string
	// Problem is the fault, for example "not a date".
	Problem string
}

// Error returns the path and the problem: "[3].createdOn: not a date".
func (e *Error) Error() string {
	if e.Path == "" {
		return e.Problem
	}
	return e.Path + ": " + e.Problem
}

// find returns the index of the field with the name, or -1. It tries the index
// hint first, because most servers send members in the same order. A name that
// differs in case matches only if no name is equal.
func (o Object) find(name []byte, hint int) int {
	if hint < len(o.Fields) && o.Fields[hint].Name == string(name) {
		return hint
	}
	equal := slices.IndexFunc(o.Fields, func(f Field) bool { return f.Name == string(name) })
	if equal >= 0 {
		return equal
	}
	return slices.IndexFunc(o.Fields, func(f Field) bool { return equalFold(f.Name, name) })
}

// equalFold reports whether two names are equal, ignoring the case of ASCII
// letters. Name must be ASCII. Comparing the lengths excludes the Kelvin sign
// and the long s, which strings.EqualFold treats like k and s.
func equalFold[T string | []byte](name string, other T) bool {
	return len(name) == len(other) && strings.EqualFold(name, string(other))
}

// unsupported panics. The type of a field is a mistake in our own code.
func (f *Field) unsupported() {
	panic("wire: unsupported type of field " + f.Name)
}
