package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"
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
	return r.finish(r.object(o, 0))
}

// DecodeList reads a document that is an array of objects, or an object with
// exactly one array of objects among its members, whatever its name: arrays of
// other things do not count, and an empty array is no elements unless another
// has some. It calls each after it has read an element; each has to take the
// value away and leave a zero value for the next one, or to return an *Error,
// which ends the reading. Whoever gets an error, which is an *Error, must
// forget the elements seen so far: the document has no meaning.
func (o Object) DecodeList(data []byte, each func() error) error {
	r := newReader(data)
	r.expectMembers(o)
	if r.data.peek(r.data.blank(0)) == '{' {
		return r.finish(r.envelope(o, each))
	}
	return r.finish(r.elements(o, 0, each))
}

// reader reads one document. Its methods read what begins at a position and
// return the position after it. Their errors are an *Error, or errSyntax, which
// finish turns into one.
type reader struct {
	data     document
	expected []expectation   // where members are predicted
	depth    int             // of arrays and objects around the value that is being read
	index    int             // of the element that is being read; -1 where there is none
	chunk    strings.Builder // the texts that were read last
	unquoted []byte          // the text that was unquoted last
}

// expectation is a member that is predicted.
type expectation struct {
	prefix prefix // what stands before the value, such as ,"email":
	field  *Field
}

func newReader(data []byte) *reader { return &reader{data: data, index: -1} }

// expectMembers prepares for members in the order of the fields and without
// blanks, as nearly all servers send them. What stands between two values can
// then be compared as a whole, which saves a quarter of the time or more. A
// long name ends the prediction.
func (r *reader) expectMembers(o Object) {
	r.expected = make([]expectation, 0, len(o.Fields))
	comma := ""
	for i := range o.Fields {
		text := comma + `"` + o.Fields[i].Name + `":`
		if len(text) > maxPrefix {
			return
		}
		r.expected = append(r.expected, expectation{newPrefix(text), &o.Fields[i]})
		comma = ","
	}
}

// finish makes sure that nothing follows the document, and says what an error
// of the document means. Where that goes wrong, encoding/json tells.
func (r *reader) finish(end int, err error) error {
	if err == nil && r.data.blank(end) == len(r.data) {
		return nil
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
func (r *reader) envelope(o Object, each func() error) (end int, err error) {
	at, err := r.enter(0, '{', "an object")
	var found, empty, more bool
	for first := true; err == nil; first = false {
		if at, more, err = r.data.item(at, '}', first); err != nil || !more {
			break
		}
		if at, _, err = r.name(at); err != nil {
			break
		}
		switch item := r.firstItem(at); {
		case item == '{' && found:
			err = &Error{Problem: "two arrays of objects where one is expected"}
		case item == '{':
			found = true
			at, err = r.elements(o, at, each)
		default:
			empty = empty || item == ']'
			at, _, err = r.raw(at)
		}
	}
	if err == nil && !found && !empty {
		err = &Error{Problem: "object without an array of objects"}
	}
	return at, err
}

// firstItem returns the byte with which the first item of an array begins, its
// closing bracket where it has none, and 0 where no array is.
func (r *reader) firstItem(at int) byte {
	if r.data.peek(at) != '[' {
		return 0
	}
	return r.data.peek(r.data.blank(at + 1))
}

// elements reads an array of objects.
func (r *reader) elements(o Object, at int, each func() error) (end int, err error) {
	at, err = r.enter(at, '[', "an array of objects")
	for first := true; err == nil; first = false {
		var more bool
		if at, more, err = r.data.item(at, ']', first); err != nil || !more {
			break
		}
		r.index++
		if at, err = r.object(o, at); err == nil {
			err = each()
		}
	}
	r.depth--
	r.index = -1
	return at, err
}

// enter passes over the bracket of the array or object that is expected.
func (r *reader) enter(at int, bracket byte, expected string) (end int, err error) {
	at = r.data.blank(at)
	switch c := r.data.peek(at); {
	case c == bracket:
		r.depth++
		return at + 1, nil
	case kind(c) == "":
		return at, errSyntax
	default:
		return at, r.fail("", kind(c)+" where "+expected+" is expected")
	}
}

// object reads one object into the variables of o.
func (r *reader) object(o Object, at int) (end int, err error) {
	at, err = r.enter(at, '{', "an object")
	next := 0 // the field that is expected
	for first := true; err == nil; first = false {
		if next < len(r.expected) && (next > 0 || first) { // without a comma only at first
			if at, next, err = r.predicted(at, next); err != nil {
				break
			}
			first = first && next == 0
		}
		var more bool
		if at, more, err = r.data.item(at, '}', first); err != nil || !more {
			break
		}
		var name []byte
		if at, name, err = r.name(at); err != nil {
			break
		}
		if i := o.find(name, next); i >= 0 {
			at, err = r.field(&o.Fields[i], at)
			next = i + 1
		} else {
			at, err = r.extra(o.Extra, at, name)
		}
	}
	r.depth--
	return at, err
}

// predicted reads members as long as they are the ones expected from next on,
// and returns the first that is not. It reads by itself what stands there
// nearly always: to find the end of each value first, and then what it means,
// takes a tenth more instructions.
func (r *reader) predicted(at, next int) (end, after int, err error) {
	for ; next < len(r.expected); next++ {
		e := &r.expected[next]
		start, ok := r.data.prefix(at, &e.prefix)
		first := r.data.peek(start)
		if !ok || first <= ' ' {
			break
		}
		if v, ok := e.field.Value.(*string); ok && first == '"' {
			end, holds, err := r.data.quoted(start + 1)
			if err != nil {
				return end, next, err
			}
			*v = r.keep(r.text(r.data[start+1:end-1], holds))
			at = end
			continue
		}
		if v, ok := e.field.Value.(*time.Time); ok && first == '"' {
			if t, end, ok := r.data.date(start + 1); ok && r.data.peek(end) == '"' {
				*v = t
				at = end + 1
				continue
			}
		}
		if v, ok := e.field.Value.(*int64); ok {
			if n, end, ok := r.data.integer(start); ok {
				*v = n
				at = end
				continue
			}
		}
		if at, err = r.field(e.field, start); err != nil {
			break
		}
	}
	return at, next, err
}

// name reads a member's name and its colon. The name is good until the next
// text is read.
func (r *reader) name(at int) (end int, name []byte, err error) {
	end, holds, err := r.data.name(at)
	if err != nil {
		return end, nil, err
	}
	name = r.text(r.data[at+1:end-1], holds)
	end, err = r.data.colon(end)
	return end, name, err
}

// field reads a value into the variable of f.
func (r *reader) field(f *Field, at int) (end int, err error) {
	first := r.data.peek(at)
	if first == '"' {
		end, holds, err := r.data.quoted(at + 1)
		if err != nil {
			return end, err
		}
		return end, r.set(f, r.text(r.data[at+1:end-1], holds), true)
	}
	end, err = r.data.value(at, r.depth)
	switch {
	case err != nil:
		return end, r.located(err)
	case first == 'n': // null, as if it were absent
		return end, nil
	case first == '[' || first == '{':
		return end, r.fail(f.Name, kind(first)+" where "+f.expected()+" is expected")
	}
	return end, r.set(f, r.data[at:end], false)
}

// set reads a text into the variable of f. It is that of a string, or else what
// stands in the document, and as such passes for no date or address.
func (r *reader) set(f *Field, text []byte, quoted bool) error {
	var ok bool
	switch v := f.Value.(type) {
	case *string:
		*v, ok = r.keep(text), true
	case *int64:
		*v, ok = parseInteger(text)
	case *bool:
		*v = string(text) == "true"
		ok = !quoted && (*v || string(text) == "false")
	case *time.Time:
		*v, ok = ParseTime(text)
	case *netip.Addr:
		ok = v.UnmarshalText(text) == nil // "" is the zero address
	}
	if !ok {
		return r.fail(f.Name, "not "+f.expected())
	}
	return nil
}

// expected says what the variable of f takes.
func (f *Field) expected() string {
	switch f.Value.(type) {
	case *string:
		return "text"
	case *int64:
		return "an integer"
	case *bool:
		return "true or false"
	case *time.Time:
		return "a date"
	case *netip.Addr:
		return "an IP address"
	}
	panic("wire: no rule for the type of " + f.Name)
}

// extra reads the value of a member that no field names.
func (r *reader) extra(extra *map[string]json.RawMessage, at int, name []byte) (end int, err error) {
	end, raw, err := r.raw(at)
	if err != nil || extra == nil {
		return end, err
	}
	if *extra == nil {
		*extra = make(map[string]json.RawMessage)
	}
	(*extra)[r.keep(name)] = bytes.Clone(repair(raw))
	return end, nil
}

// raw reads a member's value as written.
func (r *reader) raw(at int) (end int, raw []byte, err error) {
	if end, err = r.data.value(at, r.depth); err != nil {
		return end, nil, r.located(err)
	}
	return end, r.data[at:end], nil
}

// located says in which element a value is nested too deep. The name of its
// member would be text that the server chose.
func (r *reader) located(err error) error {
	if errors.Is(err, errDeep) {
		return r.fail("", err.Error())
	}
	return err
}

// text returns what a string stands for, given what is between its quotes. The
// bytes are good until the next call.
func (r *reader) text(quoted []byte, holds content) []byte {
	if holds == 0 {
		return quoted
	}
	return r.unquote(quoted, holds) // apart, so that this function costs no call
}

func (r *reader) unquote(text []byte, holds content) []byte {
	if holds&beyondASCII != 0 {
		text = toValidUTF8(text)
	}
	if holds&escapes != 0 {
		r.unquoted = unquote(r.unquoted[:0], text)
		text = r.unquoted
	}
	return text
}

// keep copies text to a chunk that it shares with its neighbours: an
// allocation for each text would cost more than all the rest, and one string
// for the whole document would live as long as any text of it.
func (r *reader) keep(text []byte) string {
	if len(text) == 0 {
		return ""
	}
	if r.chunk.Cap()-r.chunk.Len() < len(text) {
		if len(text) > chunkSize/4 {
			return string(text)
		}
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

func parseInteger(text []byte) (int64, bool) {
	n, end, ok := document(text).integer(0)
	return n, ok && end == len(text)
}
