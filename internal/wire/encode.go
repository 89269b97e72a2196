package wire

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-faster/jx"
)

const problemUTF8 = "not valid UTF-8"

// Append appends the object to dst as JSON: its fields in their order, zero
// ones left out unless they are to be kept, then the members of Extra by name.
// A member of Extra that a field already names, in whatever case, is left out.
// Text that is not UTF-8, a date outside the years 1 to 9999 and a member of
// Extra that is not JSON are an *Error, and dst comes back as it was: nothing
// is written other than it was given.
func (o Object) Append(dst []byte) ([]byte, error) {
	w := jx.Writer{Buf: append(dst, '{')}
	for i := range o.Fields {
		f := &o.Fields[i]
		if !f.Keep && f.isZero() {
			continue
		}
		w.FieldStart(f.Name)
		if problem := f.write(&w); problem != "" {
			return dst, &Error{Path: f.Name, Problem: problem}
		}
		w.Comma()
	}
	if o.Extra != nil && len(*o.Extra) > 0 {
		if err := o.writeExtra(&w); err != nil {
			return dst, err
		}
	}
	return append(bytes.TrimSuffix(w.Buf, []byte(",")), '}'), nil
}

// write appends the value of f to w.
func (f *Field) write(w *jx.Writer) (problem string) {
	switch v := f.Value.(type) {
	case *string:
		if !utf8.ValidString(*v) {
			return problemUTF8
		}
		w.Str(*v)
	case *int64:
		w.Int64(*v)
	case *bool:
		w.Bool(*v)
	case *time.Time:
		utc := v.UTC()
		if !writable(utc) {
			return "a date outside the years 1 to 9999"
		}
		w.Buf = appendTime(w.Buf, utc)
	case *netip.Addr:
		text, _ := v.MarshalText() // never fails, and is "" for the zero address
		w.ByteStr(text)
	default:
		panic("wire: no rule for the type of " + f.Name)
	}
	return ""
}

// isZero says whether the variable of f is zero.
func (f *Field) isZero() bool {
	if date, ok := f.Value.(*time.Time); ok {
		return date.IsZero() // in any location
	}
	return reflect.ValueOf(f.Value).Elem().IsZero()
}

func (o Object) writeExtra(w *jx.Writer) error {
	for _, name := range slices.Sorted(maps.Keys(*o.Extra)) {
		raw := (*o.Extra)[name]
		switch {
		case o.find([]byte(name), 0) >= 0:
			continue
		case !utf8.ValidString(name) || !utf8.Valid(raw):
			return &Error{Path: strings.ToValidUTF8(name, "\uFFFD"), Problem: problemUTF8}
		case !json.Valid(raw):
			return &Error{Path: name, Problem: "malformed JSON"}
		}
		w.FieldStart(name)
		w.Raw(raw)
		w.Comma()
	}
	return nil
}
