package wire

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

const (
	// maxLevels is how deep arrays and objects may be nested, including the
	// document itself.
	maxLevels = 64
	// maxUnknown is the largest number of members in a document that Extra
	// takes. Each costs about 100 bytes of memory beside its text, and a
	// hostile server sends it in 5 bytes. A thousand elements may have 500 of
	// them each.
	maxUnknown = 500_000
	// chunkSize is the number of bytes of text in one allocation.
	chunkSize = 16 << 10
)

// Decode reads a document that is one object. A byte order mark before it is
// skipped. A member that is null or absent does not change its variable, so the
// variables should be zero before. Their values do not share memory with data.
// An error is an *Error. The variables then hold part of the document.
func (o Object) Decode(data []byte) error {
	r := newReader(data)
	return r.finish(r.object(o, r.data.start()))
}

// DecodeList reads a document that is an array of objects, or an object with
// one array of objects among its members. A byte order mark before it is
// skipped. Which member holds the array does not matter, and arrays of other
// things do not count. If no member is an array of objects, the document must
// have an empty array, or a null member of a usual name such as "items". Then
// it has no elements.
//
// DecodeList calls each after it has read an element. The function must take
// the value from the variables and set them to zero for the next element. It
// may return an *Error, which ends the reading.
//
// An error is an *Error. The caller must then discard all elements, because the
// document may mean anything.
func (o Object) DecodeList(data []byte, each func() error) error {
	r := newReader(data)
	r.predictMembers(o)
	start := r.data.start()
	if r.data.peek(start) == '{' {
		return r.finish(r.envelope(o, start+1, each))
	}
	return r.finish(r.elements(o, start, each))
}

// reader reads one document. Its methods read what begins at a position and
// return the position after it. Their errors are an *Error or errSyntax. In
// case of errSyntax the position is that of the first wrong byte.
type reader struct {
	data document
	// predictions is set by predictMembers.
	predictions []prediction
	// levels is how many levels of arrays and objects may still be opened.
	levels int
	// index is the index of the element that is being read. -1 means none.
	index int
	// unknown is the number of members that were stored in Extra.
	unknown int
	// chunk holds the texts that copyText copied last.
	chunk chunk
	// shared holds the last texts of repetitions. These two are only for speed.
	shared      chunk
	repetitions *[maxRepetitions]repetition
	// decoded holds the last string with escapes, without them.
	decoded []byte
}

func newReader(data []byte) *reader { return &reader{data: data, levels: maxLevels, index: -1} }

// finish checks that nothing follows the document, and returns the error of the
// document. The place of an errSyntax is its position in bytes, counted from 1.
func (r *reader) finish(end int, err error) error {
	if err == nil {
		if end = r.data.space(end); end == len(r.data) {
			return nil
		}
	}
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	return &Error{Problem: "malformed JSON at byte " + strconv.Itoa(min(end+1, len(r.data)))}
}

// envelope reads what follows the opening bracket of an object that holds the
// array of objects.
func (r *reader) envelope(o Object, at int, each func() error) (end int, err error) {
	r.levels--
	var found, empty bool
	for first := true; ; first = false {
		var more bool
		if at, more, err = r.data.item(at, '}', first); err != nil {
			return at, err
		}
		if !more {
			break
		}
		var name []byte
		if at, name, err = r.name(at); err != nil {
			return at, err
		}
		switch {
		case r.firstItem(at) == '{' && found:
			return at, &Error{Problem: "one array of objects is expected, not two"}
		case r.firstItem(at) == '{':
			found = true
			at, err = r.elements(o, at, each)
		default:
			empty = empty || r.firstItem(at) == ']' || r.data.peek(at) == 'n' && namesList(name)
			at, _, err = r.value(at)
		}
		if err != nil {
			return at, err
		}
	}
	if !found && !empty {
		return at, &Error{Problem: "the object has no array of objects"}
	}
	return at, nil
}

// firstItem returns the first byte of the first item of an array, the closing
// bracket of an empty array, or 0 if the value is not an array.
func (r *reader) firstItem(at int) byte {
	if r.data.peek(at) != '[' {
		return 0
	}
	return r.data.peek(r.data.space(at + 1))
}

// namesList reports whether servers use the name for the array of objects. Such
// a member may be null instead of an empty array.
func namesList(name []byte) bool {
	for _, known := range [...]string{"data", "items", "leads", "result", "results"} {
		if equalFold(known, name) {
			return true
		}
	}
	return false
}

// elements reads an array of objects.
func (r *reader) elements(o Object, at int, each func() error) (end int, err error) {
	if at, err = r.open(at, '[', "an array of objects"); err != nil {
		return at, err
	}
	for first := true; ; first = false {
		var more bool
		if at, more, err = r.data.item(at, ']', first); err != nil {
			return at, err
		}
		if !more {
			break
		}
		r.index++
		if at, err = r.object(o, at); err != nil {
			return at, err
		}
		if err = each(); err != nil {
			return at, err
		}
	}
	r.levels++
	r.index = -1
	return at, nil
}

// open reads the opening bracket of the array or object that is expected.
func (r *reader) open(at int, bracket byte, expected string) (end int, err error) {
	c := r.data.peek(at)
	if c == bracket {
		r.levels--
		return at + 1, nil
	}
	if end, err = r.data.value(at, r.levels); errors.Is(err, errSyntax) {
		return end, err
	}
	return at, r.fault("", expected+" is expected, not "+typeOf(c))
}

// object reads one object into the variables of o.
func (r *reader) object(o Object, at int) (end int, err error) {
	if at, err = r.open(at, '{', "an object"); err != nil {
		return at, err
	}
	at, next, err := r.predicted(at, 0) // only for speed
	for first := next == 0; err == nil; first = false {
		var more bool
		if at, more, err = r.data.item(at, '}', first); err != nil {
			return at, err
		}
		if !more {
			break
		}
		if at, next, err = r.member(o, at, next); err != nil {
			return at, err
		}
		at, next, err = r.predicted(at, max(next, 1)) // not 0, which expects no comma
	}
	r.levels++
	return at, err
}

// member reads one member of an object. next is the index of the field that is
// likely, and after is the one that is likely after it.
func (r *reader) member(o Object, at, next int) (end, after int, err error) {
	at, name, err := r.name(at)
	if err != nil {
		return at, next, err
	}
	if i := o.find(name, next); i >= 0 {
		end, err = r.field(&o.Fields[i], at)
		return end, i + 1, err
	}
	end, err = r.extra(o.Extra, at, name)
	return end, next, err
}

// name reads a member's name and its colon. The name is valid until the next
// string is read.
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
	if end, err = r.data.value(at, r.levels); err != nil {
		return end, r.locate(f.Name, err)
	}
	switch first {
	case 'n': // null counts as absent
		return end, nil
	case '[', '{':
		return end, r.fault(f.Name, f.describe()+" is expected, not "+typeOf(first))
	}
	return end, r.set(f, r.data[at:end], false)
}

// set parses text into the variable of f. If quoted is true, it is the text of
// a string, and otherwise a number or boolean as written. Such a value never
// has the form of a date or an address.
func (r *reader) set(f *Field, text []byte, quoted bool) error {
	var ok bool
	switch v := f.Value.(type) {
	case *string:
		*v, ok = r.copyText(text), true
	case *int64:
		*v, ok = parseInteger(text)
	case *bool:
		*v = string(text) == "true"
		ok = !quoted && (*v || string(text) == "false")
	case *time.Time:
		*v, ok = ParseTime(text)
		ok = ok || len(text) == 0 // "" is the zero time
	case *netip.Addr:
		ok = v.UnmarshalText(text) == nil // "" is the zero address
	}
	if !ok {
		return r.fault(f.Name, "not "+f.describe())
	}
	return nil
}

// describe returns what the variable of f can hold.
func (f *Field) describe() string {
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
	f.unsupported()
	return ""
}

// parseInteger parses a JSON number that is an integer. It may have a fraction
// of zeros, such as 7.0.
func parseInteger(text []byte) (int64, bool) {
	if n, end, ok := document(text).shortInteger(0); ok && end == len(text) { // only for speed
		return n, true
	}
	end, err := document(text).number(0)
	if err != nil || end != len(text) {
		return 0, false
	}
	whole, fraction, _ := strings.Cut(string(text), ".")
	if strings.Trim(fraction, "0") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(whole, 10, 64)
	return n, err == nil
}

// extra reads the value of a member that no field names.
func (r *reader) extra(extra *map[string]json.RawMessage, at int, name []byte) (end int, err error) {
	if extra == nil {
		end, _, err = r.value(at)
		return end, err
	}
	if r.unknown++; r.unknown > maxUnknown {
		return at, r.fault("", "more than "+strconv.Itoa(maxUnknown)+" unknown members in the document")
	}
	key := r.copyText(name)
	end, value, err := r.value(at)
	if err != nil {
		return end, err
	}
	if *extra == nil {
		*extra = make(map[string]json.RawMessage)
	}
	(*extra)[key] = cloneValid(value)
	return end, nil
}

// value reads a value that no field names. Its errors do not contain the name,
// because the server chose it.
func (r *reader) value(at int) (end int, value []byte, err error) {
	if end, err = r.data.value(at, r.levels); err != nil {
		return end, nil, r.locate("", err)
	}
	return end, r.data[at:end], nil
}

// locate adds to errDeep in which member it happened. It returns other errors
// unchanged.
func (r *reader) locate(name string, err error) error {
	if errors.Is(err, errDeep) {
		return r.fault(name, err.Error())
	}
	return err
}

// text returns the text of a string, given what is between its quotes. The
// bytes are valid until the next call.
func (r *reader) text(quoted []byte, holds contents) []byte {
	if holds == 0 {
		return quoted
	}
	return r.decode(quoted, holds) // a function of its own, so that text is inlined
}

func (r *reader) decode(quoted []byte, holds contents) []byte {
	if holds == nonASCII {
		return toValidUTF8(quoted)
	}
	r.decoded = appendText(r.decoded[:0], quoted, holds)
	return r.decoded
}

// copyText copies text into a chunk that it shares with other texts. One
// allocation for each text would take most of the time. One string for the
// whole document would stay in memory as long as any text of it.
func (r *reader) copyText(text []byte) string { return r.chunk.copy(text, min(chunkSize, len(r.data))) }

// chunk is memory for several texts.
type chunk struct{ strings.Builder }

// copy copies text into the chunk, or into a new one of the given size. A large
// text gets separate memory.
func (c *chunk) copy(text []byte, size int) string {
	start := c.Len()
	if c.Cap()-start < len(text) {
		if len(text) > min(size, chunkSize/4) {
			return string(text)
		}
		c.Builder = strings.Builder{}
		c.Grow(size)
		start = 0
	}
	_, _ = c.Write(text)
	return c.String()[start:]
}

// fault returns an error about a member of the object that is being read, or
// about the object itself if name is "".
func (r *reader) fault(name, problem string) error {
	path := name
	if r.index >= 0 {
		path = strings.TrimSuffix("["+strconv.Itoa(r.index)+"]."+name, ".")
	}
	return &Error{Path: path, Problem: problem}
}
