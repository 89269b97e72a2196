package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const problemUTF8 = "not valid UTF-8"

// Append appends the object to dst as JSON: its fields in their order, zero
// ones left out unless they are to be kept, then the members of Extra by name.
// A member of Extra that a field already names, in whatever case, is left out.
// Text that is not UTF-8, a date outside the years 1 to 9999 and a member of
// Extra that is not JSON are an *Error, and dst comes back as it was: nothing
// is written other than it was given.
func (o Object) Append(dst []byte) ([]byte, error) {
	out := append(dst, '{') //nolint:gocritic // dst is what it was where an error is returned
	for i := range o.Fields {
		f := &o.Fields[i]
		if !f.Keep && f.isZero() {
			continue
		}
		var problem string
		if out, problem = f.appendValue(appendName(out, f.Name)); problem != "" {
			return dst, &Error{Path: f.Name, Problem: problem}
		}
		out = append(out, ',')
	}
	if o.Extra != nil && len(*o.Extra) > 0 {
		var err error
		if out, err = o.appendExtra(out); err != nil {
			return dst, err
		}
	}
	return append(bytes.TrimSuffix(out, []byte(",")), '}'), nil
}

// appendValue appends the value of f.
func (f *Field) appendValue(dst []byte) (out []byte, problem string) {
	switch v := f.Value.(type) {
	case *string:
		if !utf8.ValidString(*v) {
			return dst, problemUTF8
		}
		return appendString(dst, *v), ""
	case *int64:
		return strconv.AppendInt(dst, *v, 10), ""
	case *bool:
		return strconv.AppendBool(dst, *v), ""
	case *time.Time:
		utc := v.UTC()
		if !writable(utc) {
			return dst, "a date outside the years 1 to 9999"
		}
		return appendTime(dst, utc), ""
	case *netip.Addr:
		text, _ := v.MarshalText() // never fails, and is "" for the zero address
		return appendString(dst, string(text)), ""
	default:
		panic("wire: no rule for the type of " + f.Name)
	}
}

func appendName(dst []byte, name string) []byte { return append(appendString(dst, name), ':') }

// appendString appends text in quotes, with escapes where they must be.
func appendString(dst []byte, text string) []byte {
	dst = append(dst, '"')
	done := 0
	for i := range len(text) {
		c := text[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, text[done:i]...)
		done = i + 1
		if short := strings.IndexByte(escapedCharacters, c); short >= 0 {
			dst = append(dst, '\\', escapeLetters[short])
		} else {
			dst = fmt.Appendf(dst, `\u%04x`, c)
		}
	}
	return append(append(dst, text[done:]...), '"')
}

// isZero says whether the variable of f is zero.
func (f *Field) isZero() bool {
	if date, ok := f.Value.(*time.Time); ok {
		return date.IsZero() // in any location
	}
	return reflect.ValueOf(f.Value).Elem().IsZero()
}

func (o Object) appendExtra(dst []byte) ([]byte, error) {
	for _, name := range slices.Sorted(maps.Keys(*o.Extra)) {
		raw := (*o.Extra)[name]
		switch {
		case o.find([]byte(name), 0) >= 0:
			continue
		case !utf8.ValidString(name) || !utf8.Valid(raw):
			return nil, &Error{Path: strings.ToValidUTF8(name, "\uFFFD"), Problem: problemUTF8}
		case !json.Valid(raw):
			return nil, &Error{Path: name, Problem: "malformed JSON"}
		}
		dst = append(append(appendName(dst, name), raw...), ',')
	}
	return dst, nil
}
