package clixnow

import (
	"html"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// escapes is a set of kinds of escapes. A server may escape a secret before it
// repeats it.
type escapes uint8

const (
	// backslashes are the escapes of JSON and Go, such as \" and \u0022.
	backslashes escapes = 1 << iota
	// entities are the escapes of HTML, such as &quot; and &#34;.
	entities
	// percents are the escapes of URLs, such as %22.
	percents
	allEscapes = backslashes | entities | percents
)

// possibleEscapes returns all sets of the kinds that can be in a text.
func possibleEscapes(text string) (all []escapes) {
	var found escapes
	for i, mark := range []string{`\`, "&", "%"} {
		if strings.Contains(text, mark) {
			found |= 1 << i
		}
	}
	for e := range allEscapes + 1 {
		if e&^found == 0 {
			all = append(all, e)
		}
	}
	return all
}

// next returns the first character of a text that is not empty, and how many
// bytes of the text stand for it.
func (e escapes) next(text string) (r rune, size int) {
	switch {
	case text[0] == '\\' && e&backslashes != 0:
		r, size = unescapeBackslash(text)
	case text[0] == '&' && e&entities != 0:
		r, size = unescapeEntity(text)
	case text[0] == '%' && e&percents != 0:
		r, size = unescapePercents(text)
	}
	if size == 0 {
		return utf8.DecodeRuneInString(text)
	}
	return r, size
}

// unescapeBackslash returns a size of 0 if there is no escape.
func unescapeBackslash(text string) (r rune, size int) {
	if len(text) > 1 && strings.IndexByte(`"'/`, text[1]) >= 0 {
		return rune(text[1]), 2
	}
	if r, size = unescapeUTF16(text); size > 0 {
		if low, more := unescapeUTF16(text[size:]); utf16.DecodeRune(r, low) != utf8.RuneError {
			return utf16.DecodeRune(r, low), size + more
		}
		return r, size
	}
	r, _, rest, err := strconv.UnquoteChar(text, 0)
	if err != nil {
		return 0, 0
	}
	return r, len(text) - len(rest)
}

func unescapeUTF16(text string) (r rune, size int) {
	const length = len(`\u0022`)
	if len(text) < length || text[:2] != `\u` {
		return 0, 0
	}
	unit, err := strconv.ParseUint(text[2:length], 16, 16)
	if err != nil {
		return 0, 0
	}
	return rune(unit), length
}

func unescapeEntity(text string) (r rune, size int) {
	const longest = 40
	end := strings.IndexByte(text[:min(len(text), longest)], ';') + 1
	unescaped := html.UnescapeString(text[:end])
	r, n := utf8.DecodeRuneInString(unescaped)
	if n != len(unescaped) {
		return 0, 0
	}
	return r, end
}

func unescapePercents(text string) (r rune, size int) {
	const length = len("%22")
	var decoded [utf8.UTFMax]byte
	n := 0
	for n < len(decoded) && !utf8.FullRune(decoded[:n]) && len(text) >= length && text[0] == '%' {
		b, err := strconv.ParseUint(text[1:length], 16, 8)
		if err != nil {
			break
		}
		decoded[n] = byte(b)
		n++
		text = text[length:]
	}
	r, n = utf8.DecodeRune(decoded[:n])
	return r, n * length
}

// secret is a text to hide.
type secret struct {
	text string
	// shortest is the number of characters that it must have to be hidden.
	shortest int
	// anyCase hides it in upper and lower case. False hides it only as given.
	anyCase bool
	// isWord hides it only if no letter is before it or after it.
	isWord bool
}

// hideAll replaces the secret wherever text has it, unchanged or escaped. It
// also replaces a long beginning of the secret, because that says too much
// already. So the time grows only with the length of the text.
func hideAll(text string, s secret) string {
	const longBeginning = 16
	if trimmed := strings.TrimSpace(s.text); utf8.RuneCountInString(trimmed) >= s.shortest {
		s.text = trimmed
	}
	length := utf8.RuneCountInString(s.text)
	if length < s.shortest {
		return text
	}
	return replaceAll(text, func(rest string, e escapes) (string, int) {
		matched, size := s.match(rest, e)
		if matched < min(length, longBeginning) {
			return "", 0
		}
		if s.isWord && (endsInLetter(text[:len(text)-len(rest)]) || e.startsWithLetter(rest[size:])) {
			return "", 0
		}
		return hidden, size
	})
}

// endsInLetter reports whether the last character of a text is a letter, and
// not one of an escape such as \n.
func endsInLetter(text string) bool {
	last, size := utf8.DecodeLastRuneInString(text)
	return unicode.IsLetter(last) && !strings.HasSuffix(text[:len(text)-size], `\`)
}

func (e escapes) startsWithLetter(text string) bool {
	return e.skip(text, 0, 1, unicode.IsLetter) > 0
}

// match returns how many characters of the secret are at the beginning of text,
// and how many bytes of text stand for them.
func (s secret) match(text string, e escapes) (matched, size int) {
	for _, want := range s.text {
		if size == len(text) {
			break
		}
		r, n := e.next(text[size:])
		if r != want && (!s.anyCase || !sameLetter(r, want)) {
			break
		}
		size += n
		matched++
	}
	return matched, size
}

func sameLetter(a, b rune) bool {
	return unicode.ToLower(unicode.ToUpper(a)) == unicode.ToLower(unicode.ToUpper(b))
}

// cutURLs cuts each URL in text to its scheme and host. The rest may log a lead
// in.
func cutURLs(text string) string { return replaceAll(text, cutURL) }

// cutURL returns the scheme and the host of the URL with which text begins, and
// the number of bytes of the whole URL. The size is 0 if there is no URL.
func cutURL(text string, e escapes) (origin string, size int) {
	authority, hasScheme := e.authority(text)
	if authority == 0 {
		return "", 0
	}
	host, end := authority, authority
	for end < len(text) {
		r, n := e.next(text[end:])
		if endsURL(r) || strings.ContainsRune(`/\?#`, r) {
			break
		}
		end += n
		if r == '@' { // the text before it is user info
			host = end
		}
	}
	hostEnd := e.hostEnd(text, host)
	if !hasScheme && !strings.Contains(text[host:hostEnd], ".") {
		return "", 0
	}
	size = e.skip(text, end, len(text), func(r rune) bool { return !endsURL(r) })
	size = len(strings.TrimRight(text[:size], ".,;:!?)'"))
	return text[:authority] + text[host:hostEnd], max(size, hostEnd)
}

// authority returns where the authority of the URL with which text begins
// starts, behind "https://" or "//". It returns 0 if there is no URL.
func (e escapes) authority(text string) (start int, hasScheme bool) {
	const longestScheme, mostSlashes = 32, 8
	isSchemeRune := func(r rune) bool { return isASCIIAlphanumeric(r) || strings.ContainsRune("+-.", r) }
	isSlash := func(r rune) bool { return r == '/' || r == '\\' }
	start = e.skip(text, 0, longestScheme, isSchemeRune)
	if start > 0 {
		colon := e.skip(text, start, 1, func(r rune) bool { return r == ':' })
		if colon == start {
			return 0, false
		}
		start, hasScheme = colon, true
	}
	first := e.skip(text, start, 1, isSlash)
	second := e.skip(text, first, 1, isSlash)
	if first == start || second == first {
		return 0, false
	}
	return e.skip(text, second, mostSlashes, isSlash), hasScheme
}

// hostEnd returns the end of the host and the port that start at from.
func (e escapes) hostEnd(text string, from int) int {
	isDigit := func(r rune) bool { return r >= '0' && r <= '9' }
	end := e.skip(text, from, len(text), func(r rune) bool {
		return unicode.IsLetter(r) || isDigit(r) || strings.ContainsRune("-._", r)
	})
	if bracket := e.skip(text, from, 1, func(r rune) bool { return r == '[' }); bracket > from { // IPv6
		end = e.skip(text, bracket, len(text), func(r rune) bool {
			return isASCIIAlphanumeric(r) || strings.ContainsRune(":.]", r)
		})
	}
	colon := e.skip(text, end, 1, func(r rune) bool { return r == ':' })
	if port := e.skip(text, colon, len(text), isDigit); colon > end && port > colon {
		return port
	}
	return end
}

// skip returns the position after the characters that are accepted, at most n.
func (e escapes) skip(text string, from, n int, accept func(rune) bool) int {
	for ; from < len(text) && n > 0; n-- {
		r, size := e.next(text[from:])
		if !accept(r) {
			break
		}
		from += size
	}
	return from
}

func endsURL(r rune) bool {
	return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune("\"<>`", r)
}

func isASCIIAlphanumeric(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// replaceAll calls match at each character of text, with each set of escapes
// that can be in it. It replaces the longest match that begins there. A size of
// 0 means no match.
func replaceAll(text string, match func(text string, e escapes) (replacement string, size int)) string {
	all := possibleEscapes(text)
	var b strings.Builder
	for text != "" {
		_, size := utf8.DecodeRuneInString(text)
		replacement, longest := text[:size], 0
		for _, e := range all {
			if r, n := match(text, e); n > longest {
				replacement, longest = r, n
			}
		}
		b.WriteString(replacement)
		text = text[max(size, longest):]
	}
	return b.String()
}
