package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/bits"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// document is text that should be JSON. Each of its methods takes a position,
// checks what begins there by the grammar of RFC 8259 and nothing beyond it,
// and returns the position after it. None copies. A position that comes with an
// error means nothing.
type document []byte

var (
	errSyntax = errors.New("malformed JSON")
	errDeep   = errors.New("nested deeper than " + strconv.Itoa(maxDepth))
)

// peek returns the byte at a position, or 0 at the end. A zero byte in the text
// looks the same: JSON has no place for either.
func (d document) peek(at int) byte {
	if uint(at) < uint(len(d)) { // unsigned: one check instead of two
		return d[at]
	}
	return 0
}

// blank passes over blanks, if there are any.
func (d document) blank(at int) (end int) {
	for at < len(d) && d[at] <= ' ' && (d[at] == ' ' || d[at] == '\t' || d[at] == '\n' || d[at] == '\r') {
		at++
	}
	return at
}

// words returns the sixteen bytes at a position, as two numbers.
func (d document) words(at int) (low, high uint64) {
	sixteen := d[at : at+16 : at+16] // so that the bounds are checked once
	return binary.LittleEndian.Uint64(sixteen), binary.LittleEndian.Uint64(sixteen[8:])
}

const maxPrefix = 16

// prefix is a text of at most maxPrefix bytes in a form that is compared fast:
// as two numbers, without a call.
type prefix struct {
	low, high   uint64
	lows, highs uint64 // which bits of them count
	length      int
}

func newPrefix(text string) (p prefix) {
	var first, mask [maxPrefix]byte
	p.length = copy(first[:], text)
	for i := range p.length {
		mask[i] = 0xFF
	}
	p.low, p.high = document(first[:]).words(0)
	p.lows, p.highs = document(mask[:]).words(0)
	return p
}

// prefix passes over a text if it stands here. Among the last sixteen bytes of
// a document it may miss it.
func (d document) prefix(at int, p *prefix) (end int, ok bool) {
	if at+16 > len(d) {
		return at, false
	}
	low, high := d.words(at)
	return at + p.length, low&p.lows == p.low && high&p.highs == p.high
}

// literal passes over a text if it stands here.
func (d document) literal(at int, text string) (end int, ok bool) {
	if len(d)-at < len(text) || string(d[at:at+len(text)]) != text {
		return at, false
	}
	return at + len(text), true
}

// item passes over what precedes an item of an array or a member of an object:
// nothing before the first, and a comma before the others. more is false where
// the closing bracket comes instead, which it then passes over.
func (d document) item(at int, closing byte, first bool) (end int, more bool, err error) {
	at = d.blank(at)
	switch c := d.peek(at); {
	case c == closing:
		return at + 1, false, nil
	case first:
		return at, true, nil
	case c == ',':
		return d.blank(at + 1), true, nil
	}
	return at, false, errSyntax
}

// colon passes over what stands between a member's name and its value.
func (d document) colon(at int) (end int, err error) {
	if at = d.blank(at); d.peek(at) != ':' {
		return at, errSyntax
	}
	return d.blank(at + 1), nil
}

// value passes over any value; depth is the number of arrays and objects around
// it.
func (d document) value(at, depth int) (end int, err error) {
	switch d.peek(at) {
	case '"':
		end, _, err = d.quoted(at + 1)
		return end, err
	case '[':
		return d.items(at+1, ']', depth+1)
	case '{':
		return d.items(at+1, '}', depth+1)
	case 'n':
		return d.word(at, "null")
	case 't':
		return d.word(at, "true")
	case 'f':
		return d.word(at, "false")
	default:
		return d.number(at)
	}
}

// kind is the word for a value that begins with c; "" where none does.
func kind(c byte) string {
	switch c {
	case '"':
		return "string"
	case '[':
		return "array"
	case '{':
		return "object"
	case 'n':
		return "null"
	case 't', 'f':
		return "boolean"
	}
	if c == '-' || isDigit(c) {
		return "number"
	}
	return ""
}

// items passes over the items of an array or object, and its closing bracket.
func (d document) items(at int, closing byte, depth int) (end int, err error) {
	if depth > maxDepth {
		return at, errDeep
	}
	for first := true; ; first = false {
		var more bool
		at, more, err = d.item(at, closing, first)
		if err == nil && more && closing == '}' {
			if at, _, err = d.name(at); err == nil {
				at, err = d.colon(at)
			}
		}
		if err != nil || !more {
			return at, err
		}
		if at, err = d.value(at, depth); err != nil {
			return at, err
		}
	}
}

func (d document) word(at int, word string) (end int, err error) {
	end, ok := d.literal(at, word)
	if !ok {
		return at, errSyntax
	}
	return end, nil
}

func (d document) number(at int) (end int, err error) {
	if d.peek(at) == '-' {
		at++
	}
	end = d.digits(at)
	ok := end > at && (d[at] != '0' || end == at+1)
	if d.peek(end) == '.' {
		at = end + 1
		end = d.digits(at)
		ok = ok && end > at
	}
	if c := d.peek(end); c == 'e' || c == 'E' {
		at = end + 1
		if c := d.peek(at); c == '+' || c == '-' {
			at++
		}
		end = d.digits(at)
		ok = ok && end > at
	}
	if !ok {
		return at, errSyntax
	}
	return end, nil
}

// integer passes over what JSON takes for an integer: no fraction, exponent,
// leading zero or plus sign.
func (d document) integer(at int) (n int64, end int, ok bool) {
	negative := d.peek(at) == '-'
	if negative {
		at++
	}
	var size uint64
	end = at
	for _, c := range d[at:min(at+len("9223372036854775808"), len(d))] {
		if !isDigit(c) {
			break
		}
		size = 10*size + uint64(c-'0')
		end++
	}
	next := d.peek(end)
	switch {
	case end == at || d[at] == '0' && end > at+1 || isDigit(next) || next == '.' || next|0x20 == 'e':
		return 0, end, false
	case negative:
		return -int64(size), end, size <= 1<<63 // the least int64 is its own opposite
	}
	return int64(size), end, size < 1<<63
}

// digits passes over decimal digits, if there are any.
func (d document) digits(at int) (end int) {
	for at < len(d) && isDigit(d[at]) {
		at++
	}
	return at
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// name passes over a string where one has to be.
func (d document) name(at int) (end int, holds content, err error) {
	if d.peek(at) != '"' {
		return at, 0, errSyntax
	}
	return d.quoted(at + 1)
}

// content tells what a string holds that is not plain. Plain is ASCII without
// escapes.
type content byte

const (
	escapes content = 1 << iota
	beyondASCII
)

// quoted passes over what follows the first quote of a string. What is plain is
// read sixteen bytes at a time, except at the end of the document.
func (d document) quoted(at int) (end int, holds content, err error) {
	for {
		for ; at+16 <= len(d); at += 16 {
			low, high := d.words(at)
			if found := special(low) | special(high)<<8; found != 0 {
				at += bits.TrailingZeros64(found)
				break
			}
		}
		switch c := d.peek(at); {
		case c == '"':
			return at + 1, holds, nil
		case c == '\\':
			n := escapeLength(d[at:])
			if n == 0 {
				return at, 0, errSyntax
			}
			at += n
			holds |= escapes
		case c < ' ': // a control character, or the end
			return at, 0, errSyntax
		case c < utf8.RuneSelf:
			at++
		default:
			holds |= beyondASCII
			for d.peek(at) >= utf8.RuneSelf {
				at++
			}
		}
	}
}

// special returns a bit for each of eight bytes that is not plain: a quote, a
// backslash, a control character, or beyond ASCII.
//
// Each of them has its highest bit set in one of two differences. For the
// first, the quote and the blank are exchanged, so that all below it is to be
// found. Each subtraction may borrow from the bytes above, so that only the
// lowest bit found can be trusted. The product gathers the highest bits in one
// byte.
func special(x uint64) uint64 {
	const ones, highest = 0x0101010101010101, 0x8080808080808080
	const gather = 1 + 1<<7 + 1<<14 + 1<<21 + 1<<28 + 1<<35 + 1<<42 + 1<<49
	control, backslash := (x^ones*('"'^' '))-ones*(' '+1), (x^ones*'\\')-ones
	return (control | backslash) & highest * gather >> 56
}

// escapeLength returns the length of the escape that data begins with, or 0.
func escapeLength(data []byte) int {
	switch {
	case escapedUnit(data) >= 0:
		return len(`\u0000`)
	case len(data) > 1 && unescaped(data[1]) != 0:
		return len(`\n`)
	}
	return 0
}

// The characters that have an escape of one letter, and these letters in the
// same order. A slash needs none, but may have one.
const (
	escapedCharacters = "\"\\\b\f\n\r\t/"
	escapeLetters     = `"\bfnrt/`
)

// unescaped returns what the letter after a backslash stands for, or 0 where it
// means nothing.
func unescaped(letter byte) byte {
	if i := strings.IndexByte(escapeLetters, letter); i >= 0 {
		return escapedCharacters[i]
	}
	return 0
}

// unquote appends valid text to dst with what its escapes stand for: U+FFFD for
// each lone half of a surrogate pair, as encoding/json has it.
func unquote(dst, text []byte) []byte {
	for {
		i := bytes.IndexByte(text, '\\')
		if i < 0 {
			return append(dst, text...)
		}
		dst = append(dst, text[:i]...)
		text = text[i:]
		unit := escapedUnit(text)
		if unit < 0 {
			dst, text = append(dst, unescaped(text[1])), text[len(`\n`):]
			continue
		}
		text = text[len(`\u0000`):]
		if utf16.IsSurrogate(unit) {
			pair := utf16.DecodeRune(unit, escapedUnit(text))
			if pair != utf8.RuneError {
				text = text[len(`\u0000`):]
			}
			unit = pair
		}
		dst = utf8.AppendRune(dst, unit)
	}
}
