package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/go-faster/jx"
)

const (
	maxDepth  = 64       // of arrays and objects, the document itself included
	chunkSize = 16 << 10 // bytes of text in one allocation
)

// Decode reads a document that is one object. A member that is null or absent
// leaves its variable alone, so begin with a zero value. What the variables
// hold afterwards does not refer to data. Where Decode returns an error, which
// is an *Error, they hold part of the document.
func (o Object) Decode(data []byte) error {
	r := newReader(data)
	return r.finish(r.object(o))
}

// DecodeList reads a document that is an array of objects, or an object with
// exactly one array of objects among its members, whatever its name: arrays of
// other things do not count, and an empty array is no elements unless another
// has some. It calls each after it has read an element; each has to take the
// value away and leave a zero value for the next one, or to return an *Error,
// which ends the reading. Whoever gets an error, which is an *Error, must forget
// the elements seen so far: the document has no meaning.
func (o Object) DecodeList(data []byte, each func() error) error {
	r := newReader(data)
	if r.dec.Next() == jx.Object {
		return r.finish(r.envelope(o, each))
	}
	return r.finish(r.elements(o, each))
}

// reader reads one document. Its methods return an *Error, or an error of jx
// where the document is not JSON.
type reader struct {
	data     []byte
	dec      jx.Decoder
	depth    int             // of arrays and objects around the value that is being read
	index    int             // of the element that is being read; -1 where there is none
	chunk    strings.Builder // the texts that were read last
	unquoted []byte          // the text that was read last, where it is to go elsewhere
}

func newReader(data []byte) *reader {
	r := &reader{data: repair(data), index: -1}
	r.dec.ResetBytes(r.data)
	return r
}

// finish makes sure that nothing follows the document, and replaces an error of
// jx, which quotes the document. Where that goes wrong, encoding/json tells.
func (r *reader) finish(err error) error {
	if err == nil {
		if err = r.dec.Skip(); errors.Is(err, io.EOF) {
			return nil
		}
	}
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	problem := "malformed JSON"
	var syntax *json.SyntaxError
	if errors.As(json.Unmarshal(r.data, new(json.RawMessage)), &syntax) {
		problem += " at byte " + strconv.FormatInt(syntax.Offset, 10)
	}
	return &Error{Problem: problem}
}

// envelope reads the object around an array of objects.
func (r *reader) envelope(o Object, each func() error) error {
	members, err := r.dec.ObjIter()
	if err != nil {
		return err
	}
	r.depth++
	var found, empty bool
	for members.Next() {
		ahead := r.dec // a copy, so that the value stays unread
		more, err := ahead.Elem()
		if err == nil && more && ahead.Next() == jx.Object {
			if found {
				return &Error{Problem: "two arrays of objects where one is expected"}
			}
			found, err = true, r.elements(o, each)
		} else {
			empty = empty || err == nil && !more
			_, err = r.skip(members.Key())
		}
		if err != nil {
			return err
		}
	}
	if members.Err() == nil && !found && !empty {
		return &Error{Problem: "object without an array of objects"}
	}
	return members.Err()
}

// elements reads an array of objects.
func (r *reader) elements(o Object, each func() error) error {
	if kind := r.dec.Next(); kind != jx.Array && kind != jx.Invalid {
		return r.fail("", kind.String()+" where an array of objects is expected")
	}
	array, err := r.dec.ArrIter()
	if err != nil {
		return err
	}
	r.depth++
	for array.Next() {
		r.index++
		if err := r.object(o); err != nil {
			return err
		}
		if err := each(); err != nil {
			return err
		}
	}
	r.depth--
	r.index = -1
	return array.Err()
}

// object reads one object into the variables of o.
func (r *reader) object(o Object) error {
	if kind := r.dec.Next(); kind != jx.Object && kind != jx.Invalid {
		return r.fail("", kind.String()+" where an object is expected")
	}
	members, err := r.dec.ObjIter()
	if err != nil {
		return err
	}
	r.depth++
	next := 0
	for members.Next() {
		if i := o.find(members.Key(), next); i >= 0 {
			next = i + 1
			err = r.field(&o.Fields[i])
		} else {
			err = r.extra(o.Extra, members.Key())
		}
		if err != nil {
			return err
		}
	}
	r.depth--
	return members.Err()
}

// field reads one value into the variable of f.
func (r *reader) field(f *Field) error {
	kind := r.dec.Next()
	text, err := r.text(kind)
	if err != nil {
		return err
	}
	if kind == jx.Null {
		return nil
	}
	// What is not a string comes as written, and as such passes for no date or
	// address. So only text and booleans have to look at the kind.
	composite := kind == jx.Array || kind == jx.Object
	var expected string
	var ok bool
	switch v := f.Value.(type) {
	case *string:
		expected, ok = "text", !composite
		*v = r.keep(text)
	case *int64:
		expected = "an integer"
		*v, ok = parseInteger(text)
	case *bool:
		expected, ok = "true or false", kind == jx.Bool
		*v = string(text) == "true"
	case *time.Time:
		expected = "a date"
		*v, ok = ParseTime(text)
	case *netip.Addr:
		expected = "an IP address"
		ok = v.UnmarshalText(text) == nil // "" is the zero address
	default:
		panic("wire: no rule for the type of " + f.Name)
	}
	switch {
	case ok:
		return nil
	case composite:
		return r.fail(f.Name, kind.String()+" where "+expected+" is expected")
	default:
		return r.fail(f.Name, "not "+expected)
	}
}

// extra reads the value of a member that no field names.
func (r *reader) extra(extra *map[string]json.RawMessage, name []byte) error {
	raw, err := r.skip(name)
	if err != nil || extra == nil {
		return err
	}
	if *extra == nil {
		*extra = make(map[string]json.RawMessage)
	}
	(*extra)[r.keep(name)] = bytes.Clone(raw)
	return nil
}

// skip passes over one value and returns it as written.
func (r *reader) skip(name []byte) ([]byte, error) {
	raw, err := r.dec.Raw()
	if err == nil && r.depth+depth(raw) > maxDepth {
		err = r.fail(string(name), "nested deeper than "+strconv.Itoa(maxDepth))
	}
	return raw, err
}

// text reads a string without its quotes and escapes, or any other value as
// written. The bytes are good until the next call.
func (r *reader) text(kind jx.Type) (text []byte, err error) {
	if kind != jx.String {
		return r.dec.Raw()
	}
	r.unquoted, err = r.dec.StrAppend(r.unquoted[:0])
	return r.unquoted, err
}

// keep copies text to a chunk that it shares with its neighbours: an
// allocation for each text would cost more than all the rest, and one string
// for the whole document would live as long as any text of it.
func (r *reader) keep(text []byte) string {
	if len(text) == 0 || len(text) > chunkSize/4 {
		return string(text)
	}
	if r.chunk.Cap()-r.chunk.Len() < len(text) {
		r.chunk = strings.Builder{}
		r.chunk.Grow(min(chunkSize, len(r.data)))
	}
	start := r.chunk.Len()
	r.chunk.Write(text)
	return r.chunk.String()[start:]
}

// fail returns an error about a member of the object that is being read, or
// about the object itself where name is empty.
func (r *reader) fail(name, problem string) error {
	path := name
	if r.index >= 0 {
		path = strings.TrimSuffix("["+strconv.Itoa(r.index)+"]."+name, ".")
	}
	return &Error{Path: path, Problem: problem}
}

// parseInteger takes what JSON takes for an integer: no fraction, exponent,
// leading zero or plus sign.
func parseInteger(text []byte) (int64, bool) {
	n, err := strconv.ParseInt(string(text), 10, 64)
	digits := bytes.TrimPrefix(text, []byte("-"))
	return n, err == nil && digits[0] != '+' && (digits[0] != '0' || len(digits) == 1)
}
