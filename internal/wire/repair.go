package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"unicode/utf16"
	"unicode/utf8"
)

// repair returns a value as written with U+FFFD in place of what is no Unicode
// text, as encoding/json reads it: each byte that is not UTF-8, and each \u
// escape of a lone half of a surrogate pair. Values seldom need it, and come
// back as they are.
func repair(raw []byte) []byte {
	raw = toValidUTF8(raw)
	if bytes.Contains(raw, []byte(`\ud`)) || bytes.Contains(raw, []byte(`\uD`)) {
		raw = replaceLoneSurrogates(bytes.Clone(raw))
	}
	return raw
}

// toValidUTF8 returns text with U+FFFD in place of each byte that is not UTF-8;
// bytes.ToValidUTF8 puts one in place of many.
func toValidUTF8(text []byte) []byte {
	if utf8.Valid(text) {
		return text
	}
	return bytes.Map(func(r rune) rune { return r }, text)
}

func replaceLoneSurrogates(data []byte) []byte {
	const replacement = `\ufffd`
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' {
			continue
		}
		first := escapedUnit(data[i:])
		switch {
		case !utf16.IsSurrogate(first):
			i++ // the escaped character may be a backslash that escapes nothing
		case utf16.DecodeRune(first, escapedUnit(data[i+len(replacement):])) != utf8.RuneError:
			i += 2*len(replacement) - 1
		default:
			i += copy(data[i:], replacement) - 1
		}
	}
	return data
}

// escapedUnit returns the UTF-16 unit whose escape data begins with, or -1.
func escapedUnit(data []byte) rune {
	if len(data) < 6 || data[0] != '\\' || data[1] != 'u' {
		return -1
	}
	var unit [2]byte
	if _, err := hex.Decode(unit[:], data[2:6]); err != nil {
		return -1
	}
	return rune(binary.BigEndian.Uint16(unit[:]))
}
