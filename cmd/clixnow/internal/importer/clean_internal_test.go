package importer

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestClean(t *testing.T) {
	t.Parallel()
	const (
		one      = "must be one phone number"
		noCode   = "has no country code: write it like +41795550190, or give --default-country"
		possible = "is not a possible phone number: it is too short, too long or has a wrong country code"
		rounded  = "was damaged: a spreadsheet has rounded this number"
		macro    = "is a macro that the tracker did not fill in"
		broken   = "is an error of a spreadsheet"
		address  = "must be an IPv4 or IPv6 address"
		yes      = "must be true or false, yes or no, 1 or 0"
	)
	of := func(country string) string {
		return "is not clearly of " + country + ": write it with its country code, like +41795550190"
	}
	tests := []struct {
		name, field, value, region string
		want                       any
		err                        string
		country                    string
	}{
		{"national of the row", "phone", "0151 23456789", "CH", "+4915123456789", "", "DE"},
		{"national of the row, lower case", "phone", "0151 23456789", "CH", "+4915123456789", "", " de "},
		{"national of the row, no flag", "phone", "0151 23456789", "", nil, noCode, "DE"},
		{"national of no country", "phone", "079 555 01 90", "CH", "+41795550190", "", "Atlantis"},
		{"national of another country", "phone", "079 555 01 90", "CH", nil, of("DK"), "DK"},
		{"without the plus, also a national number", "phone", "4915123456789", "CH", "+4915123456789", "", "DE"},
		{
			"of France without the plus, or of Germany without the zero", "phone", "33612345678", "CH", nil, of("DE"),
			"DE",
		},
		{"national, not valid", "phone", "0151 23456789", "CH", nil, of("CH"), ""},
		{"without the plus, row of another country", "phone", "41795550182", "CH", "+41795550182", "", "AT"},
		{"foreign number, row of another country", "phone", "+49 170 5550190", "CH", "+491705550190", "", "CH"},

		{"national", "phone", "079 555 01 90", "CH", "+41795550190", "", ""},
		{"national without the zero", "phone", "795550190", "CH", "+41795550190", "", ""},
		{"national, no country", "phone", "079 555 01 90", "", nil, noCode, ""},
		{"without the plus", "phone", "41795550182", "CH", "+41795550182", "", ""},
		{"without the plus, from another country", "phone", "41795550182", "AT", "+41795550182", "", ""},
		{"as a decimal number", "phone", "41795550182.0", "CH", "+41795550182", "", ""},
		{"as a whole scientific number", "phone", "4.1795550182E+10", "CH", "+41795550182", "", ""},
		{"rounded", "phone", "4.17956E+10", "CH", nil, rounded, ""},
		{"rounded, German", "phone", "4,17956E+10", "CH", nil, rounded, ""},
		{"rounded, lower case", "phone", "4.18e+10", "CH", nil, rounded, ""},
		{"zero in parentheses", "phone", "+41 (0)79 555 01 90", "", "+41795550190", "", ""},
		{"zero of Italy", "phone", "+39 06 1234 5678", "", "+390612345678", "", ""},
		{"international prefix", "phone", "0041795550190", "", "+41795550190", "", ""},
		{"foreign number", "phone", "+49 170 5550190", "CH", "+491705550190", "", ""},
		{"dots and slashes", "phone", "+41.79/555.01.90", "", "+41795550190", "", ""},
		{"no-break spaces", "phone", "+41\u00a079\u00a0555\u202f01\u00a090", "", "+41795550190", "", ""},
		{"no-break hyphen", "phone", "+41\u201179\u2011555", "", nil, possible, ""},
		{"no-break hyphens", "phone", "+41\u201179\u2011555\u201101\u201190", "", "+41795550190", "", ""},
		{"en dashes", "phone", "+41–79–555–01–90", "", "+41795550190", "", ""},
		{"minus signs", "phone", "+41−79−555−01−90", "", "+41795550190", "", ""},
		{"tabs", "phone", "\t+41\t795550190\t", "", "+41795550190", "", ""},
		{"direction marks", "phone", "\u202a+41795550190\u202c\u200e", "", "+41795550190", "", ""},
		{"full-width plus", "phone", "＋41795550190", "", "+41795550190", "", ""},
		{"apostrophe", "phone", "'+41795550190", "", "+41795550190", "", ""},
		{"prefix of Facebook", "phone", "p:+41795550190", "", "+41795550190", "", ""},
		{"link", "phone", "tel:+41795550190", "", "+41795550190", "", ""},
		{"not available", "phone", "n/a", "CH", nil, one, ""},
		{"two numbers", "phone", "+41795550190 +41795550191", "", nil, one, ""},
		{"text", "phone", "+41795550190 (office)", "", nil, one, ""},
		{"too short", "phone", "+4179", "", nil, possible, ""},
		{"too long", "phone", "+41795550190795550190", "", nil, possible, ""},
		{"no such country code", "phone", "+999795550190", "", nil, possible, ""},
		{"only a plus", "phone", "+", "CH", nil, possible, ""},
		{"error", "phone", "#NUM!", "CH", nil, broken, ""},

		{"spaces", "firstName", " \u00a0Anna\u3000 ", "", "Anna", "", ""},
		{"invisible", "firstName", "\ufeffAn\u200bna\u2060\u00ad", "", "Anna", "", ""},
		{"joiner of a script", "firstName", "می\u200cخواهم", "", "می\u200cخواهم", "", ""},
		{"control characters", "firstName", "An\x00n\x1ba", "", "Anna", "", ""},
		{"line break", "comment", "one\ntwo", "", "one\ntwo", "", ""},
		{"formula for text", "firstName", `="Anna"`, "", "Anna", "", ""},
		{"a name like an error", "firstName", "#Anna", "", "#Anna", "", ""},
		{"email", "email", "\u200bmailto:a@example.com\u200d ", "", "a@example.com", "", ""},
		{"password", "password", " \u200b=1 ", "", " \u200b=1 ", "", ""},

		{"click id", "clickId", "abc", "", "abc", "", ""},
		{"short click id", "clickId", "1E5", "", "1E5", "", ""},
		{"click id as a number", "clickId", "1234567890.0", "", "1234567890", "", ""},
		{"rounded click id", "clickId", "1.23457E+18", "", nil, rounded, ""},
		{"macro", "clickId", "{clickid}", "", nil, macro, ""},
		{"macro of Google", "keyword", "{keyword}", "", nil, macro, ""},
		{"macro of Facebook", "placement", "{{placement}}", "", nil, macro, ""},
		{"macro, escaped", "sub2", "%7Bsub2%7D", "", nil, macro, ""},
		{"macro of TikTok", "clickId", "__CLICKID__", "", nil, macro, ""},

		{"address", "ipAddress", "192.0.2.1", "", "192.0.2.1", "", ""},
		{"port", "ipAddress", "192.0.2.1:443", "", "192.0.2.1", "", ""},
		{"IPv6", "ipAddress", "2001:DB8::1", "", "2001:db8::1", "", ""},
		{"IPv6, port", "ipAddress", "[2001:db8::1]:443", "", "2001:db8::1", "", ""},
		{"IPv6, brackets", "ipAddress", "[2001:db8::1]", "", "2001:db8::1", "", ""},
		{"forwarded", "ipAddress", "192.0.2.1, 10.0.0.1", "", "192.0.2.1", "", ""},
		{"no address", "ipAddress", "unknown", "", nil, address, ""},

		{"yes", "acceptPromotions", "WAHR", "", true, "", ""},
		{"no", "acceptPromotions", "faux", "", false, "", ""},
		{"neither", "acceptPromotions", "maybe", "", nil, yes, ""},

		{"two letters", "countryCode", "ch", "", "CH", "", ""},
		{"three letters", "countryCode", "DEU", "", nil, "must be two letters: write DE, or give --fix-countries", ""},
		{
			"English", "countryCode", "United Kingdom", "", nil,
			"must be two letters: write GB, or give --fix-countries", "",
		},
		{"German", "countryCode", "Österreich", "", nil, "must be two letters: write AT, or give --fix-countries", ""},
		{"French", "countryCode", "états-unis", "", nil, "must be two letters: write US, or give --fix-countries", ""},
		{"no country", "countryCode", "Atlantis", "", "Atlantis", "", ""},
	}
	for _, test := range tests {
		t.Run(test.field+", "+test.name, func(t *testing.T) {
			t.Parallel()
			got, err := newCleaner(settings{defaultCountry: test.region}).clean(test.field, test.value, test.country)
			if test.err != "" {
				assert.EqualError(t, err, test.err)
				return
			}
			assert.NoError(t, err)
			assert.Equal(t, test.want, got)
		})
	}
}

// TestEscapeFormula checks that a spreadsheet does not calculate what is
// written, and that nothing is lost when it is read again.
func TestEscapeFormula(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"":             "",
		"Anna":         "Anna",
		"'Anna":        "'Anna",
		"=1+1":         "'=1+1",
		"+41795550190": "'+41795550190",
		"-1":           "'-1",
		"@SUM(A1)":     "'@SUM(A1)",
		"\t=1":         "'\t=1",
		"'=1":          "''=1",
		"''=1":         "'''=1",
		"'":            "'",
	} {
		assert.Equal(t, want, EscapeFormula(value))
		assert.Equal(t, value, UnescapeFormula(EscapeFormula(value)))
	}
}
