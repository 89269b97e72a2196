package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// The characters with an escape of one letter, and those letters in the same
// order. A slash may have an escape and does not need one.
const (
	escapedCharacters = "\"\\\b\f\n\r\t/"
	escapeLetters     = `"\bfnrt/`
)

// unescaped returns the character that a letter after a backslash stands for,
// or 0 if there is none.
func unescaped(letter byte) byte {
	if i := strings.IndexByte(escapeLetters, letter); i >= 0 {
		return escapedCharacters[i]
	}
	return 0
}

// appendText appends the text of a string to dst, given what is between its
// quotes. As in encoding/json, U+FFFD replaces each byte that is not UTF-8, and
// each half of a surrogate pair that has no other half.
func appendText(dst, quoted []byte, holds contents) []byte {
	if holds&nonASCII != 0 {
		quoted = toValidUTF8(quoted)
	}
	for {
		i := bytes.IndexByte(quoted, '\\')
		if i < 0 {
			return append(dst, quoted...)
		}
		dst = append(dst, quoted[:i]...)
		quoted = quoted[i:]
		unit := escapedUnit(quoted)
		if unit < 0 {
			dst, quoted = append(dst, unescaped(quoted[1])), quoted[len(`\n`):]
			continue
		}
		quoted = quoted[len(`\u0000`):]
		if utf16.IsSurrogate(unit) {
			pair := utf16.DecodeRune(unit, escapedUnit(quoted))
			if pair != utf8.RuneError {
				quoted = quoted[len(`\u0000`):]
			}
			unit = pair
		}
		dst = utf8.AppendRune(dst, unit)
	}
}

// escapedUnit returns the UTF-16 unit of the \u escape that data begins with,
// or -1 if it does not begin with one.
func escapedUnit(data []byte) rune {
	if len(data) < len(`\u0000`) || data[0] != '\\' || data[1] != 'u' {
		return -1
	}
	var unit [2]byte
	if _, err := hex.Decode(unit[:], data[2:6]); err != nil {
		return -1
	}
	return rune(binary.BigEndian.Uint16(unit[:]))
}

// toValidUTF8 returns text with U+FFFD in place of each byte that is not UTF-8.
// bytes.ToValidUTF8 is different: it replaces several bytes in a row by one
// U+FFFD.
func toValidUTF8(text []byte) []byte {
	if utf8.Valid(text) {
		return text
	}
	return appendValid(make([]byte, 0, validSize(text)), text)
}

func appendValid(dst, text []byte) []byte {
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		dst, text = utf8.AppendRune(dst, r), text[size:]
	}
	return dst
}

// validSize returns the length of the text that appendValid appends. An exact
// buffer matters, because a hostile text can become three times as long.
func validSize(text []byte) (n int) {
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		n, text = n+utf8.RuneLen(r), text[size:]
	}
	return n
}

// cloneValid returns a copy of a value as written, with the replacements of
// appendText.
func cloneValid(value []byte) []byte {
	if utf8.Valid(value) {
		value = bytes.Clone(value)
	} else {
		value = toValidUTF8(value)
	}
	if bytes.Contains(value, []byte(`\ud`)) || bytes.Contains(value, []byte(`\uD`)) {
		replaceLoneSurrogates(value)
	}
	return value
}

// replaceLoneSurrogates writes \ufffd over the escape of each half of a
// surrogate pair that has no other half.
func replaceLoneSurrogates(value []byte) {
	const replacement = `\ufffd`
	for i := 0; i < len(value); i++ {
		if value[i] != '\\' {
			continue
		}
		first := escapedUnit(value[i:])
		switch {
		case !utf16.IsSurrogate(first):
			i++ // the next character may be a backslash that begins no escape
		case utf16.DecodeRune(first, escapedUnit(value[i+len(replacement):])) != utf8.RuneError:
			i += 2*len(replacement) - 1
		default:
			i += copy(value[i:], replacement) - 1
		}
	}
}
