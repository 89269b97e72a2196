package wire

import (
	"bytes"
	"encoding"
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

// Append appends the object to dst as JSON. It writes the fields in their
// order, without those that are zero and not to be kept, and then the members
// of Extra by name. It leaves out a member of Extra that has the name of a
// field, in any case.
//
// Text that is not UTF-8, a date outside the years 1 to 9999, and a member of
// Extra that is not JSON are an *Error. Append then returns dst unchanged. It
// never writes a value that differs from the given one.
func (o Object) Append(dst []byte) ([]byte, error) {
	out := append(dst, '{') //nolint:gocritic // dst must stay unchanged for the case of an error
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
		if !hasFourDigitYear(utc) {
			return dst, "date outside the years 1 to 9999"
		}
		return appendTime(dst, utc), ""
	case *netip.Addr:
		text, _ := v.MarshalText() // it never fails, and returns "" for the zero address
		return appendString(dst, string(text)), ""
	}
	f.unsupported()
	return dst, ""
}

func appendName(dst []byte, name string) []byte { return append(appendString(dst, name), ':') }

// appendString appends text in quotes. It escapes only the characters that must
// be escaped.
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

// isZero reports whether the variable of f is zero.
func (f *Field) isZero() bool {
	if date, ok := f.Value.(*time.Time); ok {
		return date.IsZero() // in any location
	}
	return reflect.ValueOf(f.Value).Elem().IsZero()
}

func (o Object) appendExtra(dst []byte) ([]byte, error) {
	for _, name := range slices.Sorted(maps.Keys(*o.Extra)) {
		value := (*o.Extra)[name]
		switch {
		case o.find([]byte(name), 0) >= 0:
			continue
		case !utf8.ValidString(name) || !utf8.Valid(value):
			return nil, &Error{Path: strings.ToValidUTF8(name, "\uFFFD"), Problem: problemUTF8}
		case !json.Valid(value):
			return nil, &Error{Path: name, Problem: "malformed JSON"}
		}
		dst = append(append(appendName(dst, name), value...), ',')
	}
	return dst, nil
}

// ValidText reports whether all text in value is valid UTF-8. encoding/json
// replaces invalid UTF-8 without an error, so callers check this before they
// use it. The value must not have cycles. A value that encoding/json has
// encoded has none. ValidText does not look into a value that encodes itself.
func ValidText(value any) bool { return validText(reflect.ValueOf(value)) }

func validText(v reflect.Value) bool {
	if v.IsValid() && encodesItself(v.Type()) {
		return true
	}
	switch v.Kind() {
	case reflect.String:
		return utf8.ValidString(v.String())
	case reflect.Interface, reflect.Pointer:
		return validText(v.Elem())
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if !validText(v.Index(i)) {
				return false
			}
		}
	case reflect.Map:
		for key, value := range v.Seq2() {
			if !validText(key) || !validText(value) {
				return false
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Field(i)
			encoded := (field.IsExported() || field.Anonymous) && field.Tag.Get("json") != "-"
			if encoded && !validText(v.Field(i)) {
				return false
			}
		}
	default: // there is no text in it
	}
	return true
}

func encodesItself(t reflect.Type) bool {
	pointer := reflect.PointerTo(t) // its methods include those of t
	return pointer.Implements(reflect.TypeFor[json.Marshaler]()) ||
		pointer.Implements(reflect.TypeFor[encoding.TextMarshaler]())
}
