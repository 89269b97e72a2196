// Package typed reads what people type and paste: texts and phone numbers.
package typed

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/nyaruka/phonenumbers"
)

// Text returns a text without the characters that one cannot see: those of
// direction, width and joining, control characters, and spaces around it. It
// keeps line breaks inside it, and the joiners that some scripts need.
func Text(text string) string {
	return strings.TrimSpace(strings.Map(func(c rune) rune {
		switch {
		case c == '\n', c == '\u200c', c == '\u200d':
			return c
		case c == '\t', unicode.In(c, unicode.Zs, unicode.Zl, unicode.Zp):
			return ' '
		case unicode.In(c, unicode.Cf, unicode.Cc):
			return -1
		}
		return c
	}, text))
}

// These errors say why a text is not a phone number. They begin with a verb, to
// follow the name of the field.
var (
	// ErrNotOneNumber means that there are other characters than digits and
	// separators.
	ErrNotOneNumber = errors.New("must be one phone number")
	// ErrNoCountryCode means that the number is national, and no region was
	// given.
	ErrNoCountryCode = errors.New("has no country code")
	// ErrUnclear means that the number may be national or of another country.
	ErrUnclear = errors.New("is not clearly of one country")
	// ErrImpossible means that the number has a wrong length or country code.
	ErrImpossible = errors.New(
		"is not a possible phone number: it is too short, too long or has a wrong country code")
)

// Digits returns the digits of a phone number, with a "+" in front if it has
// one or begins with "00". It returns ErrNotOneNumber if text has other
// characters than digits and separators.
func Digits(text string) (string, error) {
	const separators = "()./·−"
	isOther := false
	digits := strings.Map(func(r rune) rune {
		switch {
		case r >= '0' && r <= '9', r == '+':
			return r
		case !unicode.In(r, unicode.Pd, unicode.Zs) && !strings.ContainsRune(separators, r):
			isOther = true
		}
		return -1
	}, strings.Replace(Text(text), "＋", "+", 1))
	if rest, ok := strings.CutPrefix(digits, "00"); ok {
		digits = "+" + rest
	}
	if isOther || digits == "" || strings.LastIndexByte(digits, '+') > 0 {
		return "", ErrNotOneNumber
	}
	return digits, nil
}

// Phone returns a phone number in the form "+41795550190". region is the
// country of numbers without a country code, such as "CH". If it is "", they
// are refused.
func Phone(text, region string) (string, error) {
	digits, err := Digits(text)
	switch {
	case err != nil:
		return "", err
	case digits[0] != '+' && region == "":
		return "", ErrNoCountryCode
	}
	number, err := phonenumbers.Parse(digits, region)
	if err == nil && digits[0] != '+' {
		// A spreadsheet or a person may have left out the "+".
		other, otherErr := phonenumbers.Parse("+"+digits, "")
		isNational, isValid := phonenumbers.IsValidNumber(number), otherErr == nil && phonenumbers.IsValidNumber(other)
		switch {
		case isValid && (!isNational || *other.CountryCode == *number.CountryCode):
			number = other
		case isNational == isValid: // the number fits neither country, or both
			return "", ErrUnclear
		}
	}
	if err != nil || phonenumbers.IsPossibleNumberWithReason(number) != phonenumbers.IS_POSSIBLE {
		return "", ErrImpossible
	}
	return phonenumbers.Format(number, phonenumbers.E164), nil
}

// IsRegion reports whether phone numbers of a country are known. code has two
// letters in upper case.
func IsRegion(code string) bool { return phonenumbers.GetSupportedRegions()[code] }

// Regions returns the codes of all countries whose phone numbers are known.
func Regions() []string { return slices.Sorted(maps.Keys(phonenumbers.GetSupportedRegions())) }
