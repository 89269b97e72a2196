package clixnow

import (
	"html"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/clixnow/clixnow-go/internal/punycode"
)

// This file decides whether a lead that a search shows is the one that was
// sent. The decision needs the click ids, the emails and the creation date, and
// nothing else.

// identity is the decision about one lead.
type identity int

const (
	otherLead identity = iota
	sameLead
	undecided
)

// identify decides about a lead that a search shows. The window is the time
// before which the sent lead cannot have been created.
func identify(sent *CreateLeadRequest, found *Lead, window time.Time) identity {
	inWindow, before := weigh(matchClickIDs(sent.ClickID, found.ClickID), matchEmails(sent.Email, found.Email))
	switch {
	case inWindow == before:
		return inWindow
	case found.CreatedOn.IsZero():
		return undecided
	case found.CreatedOn.Before(window):
		return before
	}
	return inWindow
}

// weigh is the table in the comment of EnsureLead. It returns the decision for
// a lead that was created in the window, and for one that was created before.
func weigh(clickIDs clickIDMatch, emails emailMatch) (inWindow, before identity) {
	switch {
	case clickIDs == clickIDsEqual && emails == emailsDifferent:
		return undecided, undecided
	case clickIDs == clickIDsEqual:
		return sameLead, sameLead
	case emails == emailsDifferent:
		return otherLead, otherLead
	case clickIDs == clickIDMissing && emails == emailsEqual:
		return sameLead, undecided
	case clickIDs == clickIDsDifferent && emails == emailHidden:
		return otherLead, otherLead
	}
	return undecided, otherLead
}

// clickIDMatch is how two click ids compare.
type clickIDMatch int

const (
	clickIDsDifferent clickIDMatch = iota
	clickIDsSimilar
	clickIDsEqual
	clickIDMissing
)

// matchClickIDs compares two click ids. They are equal as text or as integers:
// the search documents an integer, and "007" comes back as 7. They are similar
// if a server may have changed one into the other.
func matchClickIDs(a, b string) clickIDMatch {
	switch {
	case isNoClickID(a), isNoClickID(b):
		return clickIDMissing
	case sameClickID(a, b):
		return clickIDsEqual
	case similarClickIDs(a, b):
		return clickIDsSimilar
	}
	return clickIDsDifferent
}

func similarClickIDs(a, b string) bool { return sameText(unescape(a), unescape(b)) || sameNumber(a, b) }

func sameClickID(a, b string) bool {
	if a == b {
		return true
	}
	x, okX := integer(a)
	y, okY := integer(b)
	return okX && okY && x == y
}

// isNoClickID reports whether a click id tells nothing: it is empty or zero, or
// a placeholder that a tracker did not fill in.
func isNoClickID(id string) bool {
	id = strings.TrimSpace(id)
	return strings.Trim(id, "+-0.") == "" || isMacro(id) || isMacro(unescape(id))
}

// integer returns the shortest form of an integer.
func integer(text string) (string, bool) {
	digits := strings.TrimLeft(text, "+-")
	if digits == "" || len(text)-len(digits) > 1 || strings.Trim(digits, "0123456789") != "" {
		return "", false
	}
	digits = strings.TrimLeft(digits, "0")
	if text[0] == '-' && digits != "" {
		digits = "-" + digits
	}
	return digits, true
}

// sameNumber reports whether two texts can be forms of one number, such as
// 12345678901 and "1.2E+10". A form with an exponent or a fraction may have
// lost digits.
func sameNumber(a, b string) bool {
	x, precisionX, okX := number(a)
	y, precisionY, okY := number(b)
	return okX && okY && (x == y || math.Abs(x-y) < max(precisionX, precisionY))
}

// number reads a decimal number. The precision is the value of one in the last
// place of a form with an exponent or a fraction, and 0 for an integer.
func number(text string) (value, precision float64, ok bool) {
	if strings.Trim(text, "0123456789.eE+-") != "" {
		return 0, 0, false
	}
	value, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, 0, false
	}
	mantissa, power, _ := strings.Cut(strings.ToLower(text), "e")
	_, fraction, _ := strings.Cut(mantissa, ".")
	if len(mantissa) == len(text) && fraction == "" {
		return value, 0, true
	}
	exponent, _ := strconv.Atoi(power)
	return value, math.Pow10(exponent - len(fraction)), true
}

// emailMatch is how two emails compare.
type emailMatch int

const (
	emailsDifferent emailMatch = iota
	emailHidden
	emailsEqual
)

// matchEmails compares the email of a lead with the one that was sent.
func matchEmails(sent, found string) emailMatch {
	switch {
	case sameEmail(sent, found):
		return emailsEqual
	case isMasked(found), sameText(emailForm(unescape(sent)), emailForm(unescape(found))):
		return emailHidden
	}
	return emailsDifferent
}

// sameEmail ignores case, surrounding white space, and whether the domain is in
// its Unicode form or in its ASCII form.
func sameEmail(a, b string) bool {
	a, b = emailForm(a), emailForm(b)
	return a != "" && a == b
}

func emailForm(email string) string {
	email = strings.TrimSpace(email)
	if at := strings.LastIndexByte(email, '@'); at >= 0 {
		email = email[:at+1] + punycode.DecodeDomain(email[at+1:])
	}
	return foldCase(email)
}

// isMasked reports whether an email is missing, or has a character that brands
// use to mask it.
func isMasked(email string) bool {
	return !strings.Contains(email, "@") || strings.ContainsAny(email, "*•…") ||
		strings.Contains(foldCase(email), "xxx")
}

// sameText reports whether two texts are equal except for case, or one is the
// beginning of the other one.
func sameText(a, b string) bool {
	const shortest = 6
	a, b = foldCase(strings.TrimSpace(a)), foldCase(strings.TrimSpace(b))
	if len(a) > len(b) {
		a, b = b, a
	}
	return a == b || utf8.RuneCountInString(a) >= shortest && strings.HasPrefix(b, a)
}

// unescape undoes HTML and percent escapes, also those of a text that was
// escaped twice.
func unescape(text string) string {
	for range 3 {
		plain := html.UnescapeString(text)
		if unescaped, err := url.QueryUnescape(plain); err == nil {
			plain = unescaped
		}
		if plain == text {
			break
		}
		text = plain
	}
	return text
}

// foldCase returns one form for all texts that differ in case only.
func foldCase(text string) string { return strings.ToLower(strings.ToUpper(text)) }
