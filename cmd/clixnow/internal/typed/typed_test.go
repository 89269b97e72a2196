package typed_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/typed"
)

// TestPhoneTypedWithSeparators has the ways in which people and their devices
// write one number.
func TestPhoneTypedWithSeparators(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"plain":                       "+41795550190",
		"spaces":                      " +41 79 555 01 90 ",
		"no-break spaces":             "+41\u00a079\u00a0555\u00a001\u00a090",
		"narrow no-break spaces":      "+41\u202f79\u202f555\u202f01\u202f90",
		"thin spaces":                 "+41\u200979\u2009555\u200901\u200990",
		"hyphens":                     "+41-79-555-01-90",
		"no-break hyphens":            "+41\u201179\u2011555\u201101\u201190",
		"en dashes":                   "+41\u201379\u2013555\u201301\u201390",
		"minus signs":                 "+41\u221279\u2212555\u221201\u221290",
		"tabs":                        "\t+41\t79\t555\t01\t90\t",
		"direction marks":             "\u202a+41 79 555 01 90\u202c\u200e",
		"isolates":                    "\u2066+41795550190\u2069",
		"zero-width spaces":           "\u200b+41\u200b795550190",
		"byte order mark":             "\ufeff+41795550190",
		"dots and slashes":            "+41.79/555.01.90",
		"parentheses":                 "+41 (0)79 555 01 90",
		"full-width plus":             "＋41795550190",
		"international prefix":        "0041 79 555 01 90",
		"national":                    "079 555 01 90",
		"national without the zero":   "79 555 01 90",
		"country code without a plus": "41795550190",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := typed.Phone(text, "CH")
			assert.NoError(t, err)
			assert.Equal(t, "+41795550190", got)
		})
	}
}

func TestPhoneRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text, region string
		want         error
	}{
		"empty":                          {"", "CH", typed.ErrNotOneNumber},
		"only spaces":                    {" \u00a0\u200b", "CH", typed.ErrNotOneNumber},
		"letters":                        {"call me", "CH", typed.ErrNotOneNumber},
		"two numbers":                    {"+41795550190 +41795550191", "", typed.ErrNotOneNumber},
		"line break":                     {"+41795\n550190", "CH", typed.ErrNotOneNumber},
		"NUL":                            {"+4179\x00", "CH", typed.ErrImpossible},
		"national of an unknown country": {"079 555 01 90", "", typed.ErrNoCountryCode},
		"national of another country":    {"079 555 01 90", "DK", typed.ErrUnclear},
		"of two countries":               {"33612345678", "DE", typed.ErrUnclear},
		"too short":                      {"+4179", "", typed.ErrImpossible},
		"too long":                       {"+41795550190795550190", "", typed.ErrImpossible},
		"no such country code":           {"+999795550190", "", typed.ErrImpossible},
		"only a plus":                    {"+", "CH", typed.ErrImpossible},
		"no such region":                 {"079 555 01 90", "XX", typed.ErrImpossible},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := typed.Phone(test.text, test.region)
			assert.ErrorIs(t, err, test.want)
			assert.Empty(t, got)
		})
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, want string }{
		{" \u00a0Anna\u3000 ", "Anna"},
		{"\ufeffAn\u200bna\u2060\u00ad", "Anna"},
		{"Anna\u00a0Maria", "Anna Maria"},
		{"An\x00n\x1ba", "Anna"},
		{"one\ntwo", "one\ntwo"},
		{"می\u200cخواهم", "می\u200cخواهم"},
		{"\u202aanna@example.com\u202c", "anna@example.com"},
	} {
		assert.Equal(t, test.want, typed.Text(test.text))
	}
}
