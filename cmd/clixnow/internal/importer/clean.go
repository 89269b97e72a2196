package importer

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/typed"
)

// cleaner turns the values of a file into those of a lead. Its errors say what
// is wrong, and do not contain the values.
type cleaner struct {
	// region is the country of phones without a country code, if that of the
	// row is unknown. "" means that they are refused.
	region string
	// fixCountries replaces names of countries and codes of three letters.
	fixCountries bool
	// countries returns the codes of countries by their names in lower case.
	countries func() map[string]string
}

func newCleaner(s settings) *cleaner {
	return &cleaner{strings.ToUpper(s.defaultCountry), s.fixCountries, sync.OnceValue(countryNames)}
}

// clean returns the value of a field as JSON has it. country is the row's. With
// an error, clean returns the value that the results show.
func (c *cleaner) clean(field, value, country string) (any, error) {
	if field == "password" {
		return value, nil // it may begin or end with a space
	}
	value, err := Tidy(value)
	if err != nil || value == "" {
		return value, err
	}
	switch field {
	case "email":
		isJoiner := func(c rune) bool { return c == '\u200c' || c == '\u200d' }
		return strings.TrimPrefix(strings.Join(strings.FieldsFunc(value, isJoiner), ""), "mailto:"), nil
	case "phone":
		return c.phone(value, country)
	case "countryCode":
		return c.country(value)
	case "ipAddress":
		return address(value)
	case "acceptTermsAndConditions", "acceptPromotions":
		return YesOrNo(value)
	case "clickId", "subCampaign", "placement", "keyword", "sub2":
		return Tracking(value)
	}
	return value, nil
}

var (
	// errorValue is what a spreadsheet shows for a formula that fails, and for
	// a column that is too narrow.
	errorValue = regexp.MustCompile(`^#(N/A|[A-ZÄÖÜ0/]+[!?]|#+)$`)
	// scientific is how a spreadsheet shows a number that has many digits.
	scientific = regexp.MustCompile(`(?i)^(\d)(?:[.,](\d+))?E\+?(\d+)$`)
	fraction   = regexp.MustCompile(`^(\d+)\.0+$`)
)

// Tidy returns a value as typed.Text does. It refuses what a spreadsheet has
// broken.
func Tidy(value string) (string, error) {
	// ="0041" tells a spreadsheet to keep the zeros.
	if inner, ok := strings.CutPrefix(value, `="`); ok && strings.HasSuffix(inner, `"`) {
		value = inner[:len(inner)-1]
	}
	value = typed.Text(value)
	switch {
	case errorValue.MatchString(value):
		return "", errors.New("is an error of a spreadsheet")
	case strings.ContainsRune(value, unicode.ReplacementChar):
		return value, errors.New("has a character that was lost when the file was converted")
	}
	return value, nil
}

// Integer undoes the form in which a spreadsheet has stored a long integer.
func Integer(value string) (string, error) {
	if parts := scientific.FindStringSubmatch(value); parts != nil {
		if strconv.Itoa(len(parts[2])) != parts[3] {
			return value, errors.New("was damaged: a spreadsheet has rounded this number")
		}
		return parts[1] + parts[2], nil
	}
	return fraction.ReplaceAllString(value, "$1"), nil
}

// Tracking refuses a macro, because all visitors would have the same value.
func Tracking(value string) (string, error) {
	var probe clixnow.CreateLeadRequest
	clixnow.LandingURL{ClickID: value}.Apply(&probe)
	if probe.ClickID == "" {
		return "", errors.New("is a macro that the tracker did not fill in")
	}
	if len(value) < 6 {
		return value, nil // "1E5" is a name
	}
	return Integer(value)
}

// YesOrNo reads a yes or a no in several languages.
func YesOrNo(value string) (bool, error) {
	switch strings.ToLower(value) {
	case "true", "yes", "y", "t", "1", "on", "wahr", "ja", "vrai", "oui", "verdadero", "sí", "si", "vero", "sì":
		return true, nil
	case "false", "no", "n", "f", "0", "off", "falsch", "nein", "faux", "non", "falso":
		return false, nil
	}
	return false, errors.New("must be true or false, yes or no, 1 or 0")
}

// address takes the port off an IP address, and takes the first one of a list
// such as that of X-Forwarded-For.
func address(value string) (string, error) {
	first, _, _ := strings.Cut(value, ",")
	first = strings.TrimSpace(first)
	if withPort, err := netip.ParseAddrPort(first); err == nil {
		return withPort.Addr().String(), nil
	}
	if ip, err := netip.ParseAddr(strings.Trim(first, "[]")); err == nil {
		return ip.String(), nil
	}
	return "", errors.New("must be an IPv4 or IPv6 address")
}

// phone returns a phone number in the form "+41795550190".
func (c *cleaner) phone(value, country string) (string, error) {
	plain, err := Integer(strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(value, "'"), "p:"), "tel:"))
	if err != nil {
		return value, err
	}
	region := c.region
	if code, err := c.country(strings.TrimSpace(country)); region != "" && err == nil && typed.IsRegion(code) {
		region = code
	}
	number, err := typed.Phone(plain, region)
	switch {
	case errors.Is(err, typed.ErrNoCountryCode):
		return value, errors.New("has no country code: write it like +41795550190, or give --default-country")
	case errors.Is(err, typed.ErrUnclear):
		return value, fmt.Errorf("is not clearly of %s: write it with its country code, like +41795550190", region)
	case err != nil:
		return value, err
	}
	return number, nil
}

// country suggests the code for the name of a country or a code of three
// letters.
func (c *cleaner) country(value string) (string, error) {
	if len(value) == 2 {
		return strings.ToUpper(value), nil
	}
	code := c.countries()[strings.ToLower(value)]
	if region, err := language.ParseRegion(value); err == nil && len(value) == 3 && region.IsCountry() {
		code = region.String()
	}
	switch {
	case code == "":
		return value, nil // the validation refuses it
	case c.fixCountries:
		return code, nil
	}
	return value, fmt.Errorf("must be two letters: write %s, or give --fix-countries", code)
}

// countryNames returns the codes of countries by their names in several
// languages.
func countryNames() map[string]string {
	names := make(map[string]string)
	for i := range 26 * 26 {
		region, err := language.ParseRegion(string([]byte{'A' + byte(i/26), 'A' + byte(i%26)}))
		if err != nil || !region.IsCountry() {
			continue
		}
		for _, tag := range []language.Tag{
			language.English, language.German, language.French, language.Spanish, language.Italian,
			language.Portuguese, language.Dutch, language.Polish, language.Russian,
		} {
			names[strings.ToLower(display.Regions(tag).Name(region))] = region.Canonicalize().String()
		}
	}
	return names
}
