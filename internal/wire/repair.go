package wire

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// repair returns data with U+FFFD in place of what is no Unicode text, as
// encoding/json reads it: each byte that is not UTF-8, and each \u escape of a
// lone half of a surrogate pair. Doing it first leaves one kind of text to
// everything after it. Documents seldom need it, and come back as they are.
func repair(data []byte) []byte {
	if !utf8.Valid(data) {
		data = bytes.Map(func(r rune) rune { return r }, data)
	}
	if bytes.Contains(data, []byte(`\ud`)) || bytes.Contains(data, []byte(`\uD`)) {
		data = replaceLoneSurrogates(bytes.Clone(data))
	}
	return data
}

func replaceLoneSurrogates(data []byte) []byte {
	const escape = `\ufffd`
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' {
			continue
		}
		first := escapedUnit(data[i:])
		switch {
		case !utf16.IsSurrogate(first):
			i++ // the escaped character may be a backslash that escapes nothing
		case utf16.DecodeRune(first, escapedUnit(data[i+len(escape):])) != utf8.RuneError:
			i += 2*len(escape) - 1
		default:
			i += copy(data[i:], escape) - 1
		}
	}
	return data
}

// escapedUnit returns the UTF-16 unit whose escape data begins with, or -1.
func escapedUnit(data []byte) rune {
	if len(data) < 6 || data[0] != '\\' || data[1] != 'u' {
		return -1
	}
	unit, err := strconv.ParseUint(string(data[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(unit)
}

// depth returns how many arrays and objects of a valid JSON value lie within
// each other at most.
func depth(value []byte) (deepest int) {
	level, quoted := 0, false
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++
		case quoted:
		case c == '[' || c == '{':
			level++
			deepest = max(deepest, level)
		case c == ']' || c == '}':
			level--
		}
	}
	return deepest
}
