package wire

import (
	"errors"
	"strconv"
	"unicode/utf8"
)

// document is text that should be JSON. Most methods read what begins at a
// position, check it against the grammar of RFC 8259, and return the position
// after it. If the text breaks the grammar, they return errSyntax and the
// position of the first wrong byte, which is len(document) if the text ends too
// early. No method copies text.
type document []byte

var (
	errSyntax = errors.New("malformed JSON")
	errDeep   = errors.New("nested deeper than " + strconv.Itoa(maxLevels) + " levels")
)

const byteOrderMark = "\uFEFF"

// start returns the position after the byte order mark, if there is one, and
// the white space at the beginning.
func (d document) start() (end int) {
	if len(d) >= len(byteOrderMark) && string(d[:len(byteOrderMark)]) == byteOrderMark {
		end = len(byteOrderMark)
	}
	return d.space(end)
}

// peek returns the byte at a position, or 0 at the end. It also returns 0 for a
// zero byte in the text, which JSON allows nowhere.
func (d document) peek(at int) byte {
	if uint(at) < uint(len(d)) { // the conversion makes the compiler check only once
		return d[at]
	}
	return 0
}

// space reads white space, if there is any.
func (d document) space(at int) (end int) {
	for at < len(d) && d[at] <= ' ' && (d[at] == ' ' || d[at] == '\t' || d[at] == '\n' || d[at] == '\r') {
		at++
	}
	return at
}

// item reads what comes before an item of an array or a member of an object:
// nothing before the first one, and a comma before the others. If the closing
// bracket comes instead, item reads the bracket, and more is false.
func (d document) item(at int, closing byte, first bool) (end int, more bool, err error) {
	at = d.space(at)
	switch c := d.peek(at); {
	case c == closing:
		return at + 1, false, nil
	case first:
		return at, true, nil
	case c == ',':
		return d.space(at + 1), true, nil
	}
	return at, false, errSyntax
}

// name reads the name of a member, without its colon.
func (d document) name(at int) (end int, holds contents, err error) {
	if d.peek(at) != '"' {
		return at, 0, errSyntax
	}
	return d.quoted(at + 1)
}

// colon reads the colon between a name and a value, and white space around it.
func (d document) colon(at int) (end int, err error) {
	if at = d.space(at); d.peek(at) != ':' {
		return at, errSyntax
	}
	return d.space(at + 1), nil
}

// value reads a value of any type. Arrays and objects may be nested as deep as
// levels says. If they are deeper, the error is errDeep.
func (d document) value(at, levels int) (end int, err error) {
	switch d.peek(at) {
	case '"':
		end, _, err = d.quoted(at + 1)
		return end, err
	case '[':
		return d.items(at+1, ']', levels)
	case '{':
		return d.items(at+1, '}', levels)
	case 'n':
		return d.literal(at, "null")
	case 't':
		return d.literal(at, "true")
	case 'f':
		return d.literal(at, "false")
	default:
		return d.number(at)
	}
}

// items reads what follows the opening bracket of an array or object, including
// the closing bracket.
func (d document) items(at int, closing byte, levels int) (end int, err error) {
	if levels == 0 {
		return at, errDeep
	}
	for first := true; ; first = false {
		var more bool
		if at, more, err = d.item(at, closing, first); err != nil || !more {
			return at, err
		}
		if closing == '}' {
			if at, _, err = d.name(at); err != nil {
				return at, err
			}
			if at, err = d.colon(at); err != nil {
				return at, err
			}
		}
		if at, err = d.value(at, levels-1); err != nil {
			return at, err
		}
	}
}

// typeOf returns the JSON type of a value that begins with c, with its article.
func typeOf(c byte) string {
	switch c {
	case '"':
		return "a string"
	case '[':
		return "an array"
	case '{':
		return "an object"
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	}
	return "a number"
}

// literal reads one of the words null, true and false.
func (d document) literal(at int, word string) (end int, err error) {
	for i := range len(word) {
		if d.peek(at+i) != word[i] {
			return at + i, errSyntax
		}
	}
	return at + len(word), nil
}

// number reads a number.
func (d document) number(at int) (end int, err error) {
	if d.peek(at) == '-' {
		at++
	}
	if d.peek(at) == '0' { // no other digit may follow
		at++
	} else if at, err = d.digits(at); err != nil {
		return at, err
	}
	if d.peek(at) == '.' {
		if at, err = d.digits(at + 1); err != nil {
			return at, err
		}
	}
	if c := d.peek(at); c == 'e' || c == 'E' {
		at++
		if c := d.peek(at); c == '+' || c == '-' {
			at++
		}
		return d.digits(at)
	}
	return at, nil
}

// digits reads one or more decimal digits.
func (d document) digits(at int) (end int, err error) {
	end = at
	for isDigit(d.peek(end)) {
		end++
	}
	if end == at {
		return at, errSyntax
	}
	return end, nil
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// contents is a set of things that a string holds and that are not plain. Plain
// text is ASCII without escapes.
type contents byte

const (
	escapes contents = 1 << iota
	nonASCII
)

// quoted reads what follows the opening quote of a string, including the
// closing quote.
func (d document) quoted(at int) (end int, holds contents, err error) {
	for {
		at = d.plain(at) // only for speed
		switch c := d.peek(at); {
		case c == '"':
			return at + 1, holds, nil
		case c == '\\':
			if at, err = d.escape(at + 1); err != nil {
				return at, 0, err
			}
			holds |= escapes
		case c < ' ': // a control character, or the end
			return at, 0, errSyntax
		case c < utf8.RuneSelf:
			at++
		default:
			holds |= nonASCII
			for d.peek(at) >= utf8.RuneSelf {
				at++
			}
		}
	}
}

// escape reads what follows the backslash of an escape.
func (d document) escape(at int) (end int, err error) {
	if d.peek(at) != 'u' {
		if unescaped(d.peek(at)) == 0 {
			return at, errSyntax
		}
		return at + 1, nil
	}
	end = at + len("u00e9")
	for at++; at < end; at++ {
		if !isHex(d.peek(at)) {
			return at, errSyntax
		}
	}
	return end, nil
}

func isHex(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}
