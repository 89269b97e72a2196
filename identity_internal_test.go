package clixnow

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// The whole table of evidence.
func TestWeigh(t *testing.T) {
	t.Parallel()
	clickIDs := []clickIDMatch{clickIDsEqual, clickIDsSimilar, clickIDsDifferent, clickIDMissing}
	emails := []emailMatch{emailsEqual, emailHidden, emailsDifferent}
	const same, doubt, other = sameLead, undecided, otherLead
	want := [4][3][2]identity{
		//        emails equal    one hidden      different
		/* equal */ {{same, same}, {same, same}, {doubt, doubt}},
		/* similar */ {{doubt, other}, {doubt, other}, {other, other}},
		/* different */ {{doubt, other}, {other, other}, {other, other}},
		/* one is none */ {{same, doubt}, {doubt, other}, {other, other}},
	}
	for i, clickID := range clickIDs {
		for j, email := range emails {
			inWindow, before := weigh(clickID, email)
			assert.Equal(t, want[i][j], [2]identity{inWindow, before}, "click ids %d, emails %d", clickID, email)
		}
	}
}

func TestIdentify(t *testing.T) {
	t.Parallel()
	window := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	before, longBefore := window.Add(-time.Millisecond), window.AddDate(-1, 0, 0)
	after := window.AddDate(1, 0, 0)
	const email, click = "allison@example.com", "20fn4ngo56n3snf74"
	type sent = CreateLeadRequest
	tests := []struct {
		name  string
		sent  sent
		found Lead
		want  identity
	}{
		{
			"all equal",
			sent{Email: email, ClickID: click},
			Lead{Email: email, ClickID: click, CreatedOn: window},
			sameLead,
		},
		{
			"all equal, long before",
			sent{Email: email, ClickID: click},
			Lead{Email: email, ClickID: click, CreatedOn: longBefore},
			sameLead,
		},
		{
			"all equal, no date",
			sent{Email: email, ClickID: click},
			Lead{Email: email, ClickID: click},
			sameLead,
		},
		{
			"another click id, same email",
			sent{Email: email, ClickID: click},
			Lead{Email: email, ClickID: "another", CreatedOn: after},
			undecided,
		},
		{
			"another click id, same email, before",
			sent{Email: email, ClickID: click},
			Lead{Email: email, ClickID: "another", CreatedOn: before},
			otherLead,
		},
		{
			"another click id, same email, no date",
			sent{Email: email, ClickID: click},
			Lead{Email: email, ClickID: "another"},
			undecided,
		},
		{
			"another click id, another email, no date",
			sent{Email: email, ClickID: click},
			Lead{Email: "b@example.com", ClickID: "another"},
			otherLead,
		},
		{"same email, no click ids", sent{Email: email}, Lead{Email: email, CreatedOn: window}, sameLead},
		{"same email, no click ids, before", sent{Email: email}, Lead{Email: email, CreatedOn: before}, undecided},
		{"same email, no click ids, no date", sent{Email: email}, Lead{Email: email}, undecided},
		{
			"same email, click id hidden",
			sent{Email: email, ClickID: click},
			Lead{Email: email, CreatedOn: window},
			sameLead,
		},
		{"email hidden, no click ids", sent{Email: email}, Lead{CreatedOn: window}, undecided},
		{"email hidden, no click ids, before", sent{Email: email}, Lead{CreatedOn: before}, otherLead},
		{"email hidden, no click ids, no date", sent{Email: email}, Lead{}, undecided},
		{"nothing sent, nothing found", sent{}, Lead{CreatedOn: window}, undecided},
		{"nothing sent, an email found", sent{}, Lead{Email: email, CreatedOn: window}, otherLead},
		{
			"two people with one macro",
			sent{Email: email, ClickID: "{clickid}"},
			Lead{Email: "b@example.com", ClickID: "{clickid}", CreatedOn: window},
			otherLead,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, test.want, identify(&test.sent, &test.found, window))
		})
	}
}

func TestMatchClickIDs(t *testing.T) {
	t.Parallel()
	const id = "20fn4ngo56n3snf74KLmnop"
	tests := []struct {
		a, b string
		want clickIDMatch
	}{
		{"20fn4ngo", "20fn4ngo", clickIDsEqual},
		{"7", "7", clickIDsEqual},
		{"007", "7", clickIDsEqual},
		{"+7", "7", clickIDsEqual},
		{"-7", "-007", clickIDsEqual},
		// Beyond int64, and beyond what a float64 can tell apart.
		{"0092233720368547758089", "92233720368547758089", clickIDsEqual},
		{strings.Repeat("9", 1000), "0" + strings.Repeat("9", 1000), clickIDsEqual},

		{id, strings.ToLower(id), clickIDsSimilar},
		{"K1", "k1", clickIDsSimilar},
		{"k1", " k1\t", clickIDsSimilar},
		{id, id[:20], clickIDsSimilar},
		{"abcdef", "abcdefg", clickIDsSimilar},
		{id, strings.ToUpper(id[:6]), clickIDsSimilar},
		{"a+b/c", "a%2Bb%2Fc", clickIDsSimilar},
		{"a b", "a+b", clickIDsSimilar},
		{"a&b", "a&amp;b", clickIDsSimilar},
		{"a&b<c", "a&amp;amp;b&lt;c", clickIDsSimilar},
		{"a\"b", "a&#34;b", clickIDsSimilar},
		{"a/b", "a%252fb", clickIDsSimilar},
		{"7", "7.0", clickIDsSimilar},
		{"7", "7.", clickIDsSimilar},
		{"12345678901", "1.2E+10", clickIDsSimilar},
		{"12345678901", "1.23457e+10", clickIDsSimilar},
		{"99999", "1E5", clickIDsSimilar},
		{"12000000000", "1.2E+10", clickIDsSimilar},
		{"12345678901234567890", "1.2345678901234567E+19", clickIDsSimilar},
		{"9007199254740993", "9007199254740992.0", clickIDsSimilar},
		// An integer that went through a float64.
		{"9007199254740993", "9007199254740992", clickIDsSimilar},
		{"123456789012345678", "123456789012345680", clickIDsSimilar},

		{"20fn4ngo", "20fn4ngp", clickIDsDifferent},
		{"abcde", "abcdef", clickIDsDifferent},
		{"abcdef", "bcdef", clickIDsDifferent},
		{"7", "-7", clickIDsDifferent},
		{"7", "70", clickIDsDifferent},
		{"7", "8.0", clickIDsDifferent},
		{"7", "7.5", clickIDsDifferent},
		{"10", "0x10", clickIDsDifferent},
		{"12345678901", "1.4E+10", clickIDsDifferent},
		{"12345678901", "12345678902", clickIDsDifferent},
		{"1_000", "1000", clickIDsDifferent},
		{"infinity", "9E999", clickIDsDifferent},
		{"nan", "nil", clickIDsDifferent},
		{"--7", "7", clickIDsDifferent},
		{"+-7", "7", clickIDsDifferent},
		{"1-2", "3-4", clickIDsDifferent},
		{"50%", "60%", clickIDsDifferent},
		{"13000000000", "1.2E+10", clickIDsDifferent},

		{"", "", clickIDMissing},
		{"", "k1", clickIDMissing},
		{"  ", "k1", clickIDMissing},
		{"0", "k1", clickIDMissing},
		{"0", "0", clickIDMissing},
		{"0.0", "k1", clickIDMissing},
		{"{clickid}", "k1", clickIDMissing},
		{"%7Bclickid%7D", "{clickid}", clickIDMissing},
		{"%7bclickid%7d", "k1", clickIDMissing},
		{"{{click.id}}", "k1", clickIDMissing},
		{"${CLICK_ID}", "k1", clickIDMissing},
		{"[clickid]", "k1", clickIDMissing},
		{"<clickid>", "k1", clickIDMissing},
		{"&lt;clickid&gt;", "k1", clickIDMissing},
		{"##clickid##", "k1", clickIDMissing},
		{"__CLICKID__", "k1", clickIDMissing},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%.40q and %.40q", test.a, test.b), func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, test.want, matchClickIDs(test.a, test.b))
			assert.Equal(t, test.want, matchClickIDs(test.b, test.a))
		})
	}
}

func TestMatchEmails(t *testing.T) {
	t.Parallel()
	tests := []struct {
		sent, found string
		want        emailMatch
	}{
		{"a@x.ch", "a@x.ch", emailsEqual},
		{"A.b@X.ch", "a.B@x.CH", emailsEqual},
		{"a@x.ch", " a@x.ch\t", emailsEqual},
		{" a@x.ch", "a@x.ch", emailsEqual},
		{"müller@x.ch", "MÜLLER@x.ch", emailsEqual},
		{"a@müller.example", "a@xn--mller-kva.example", emailsEqual},
		{"a@xn--mller-kva.example", "A@MÜLLER.example", emailsEqual},
		{"@müller.example", "@xn--mller-kva.example", emailsEqual},
		{"a@bücher.рф", "a@XN--BCHER-KVA.XN--P1AI", emailsEqual},
		{"a*@x.ch", "A*@x.ch", emailsEqual},
		{"maxxxl@x.ch", "maxxxl@x.ch", emailsEqual},

		{"a@x.ch", "", emailHidden},
		{"", "", emailHidden},
		{"a@x.ch", "  ", emailHidden},
		{"a@x.ch", "[email protected]", emailHidden},
		{"a@x.ch", "hidden", emailHidden},
		{"müller.example", "xn--mller-kva.example", emailHidden},
		{"a@x.ch", "a*@x.ch", emailHidden},
		{"a@x.ch", "b***@y.ch", emailHidden},
		{"a@x.ch", "•••@x.ch", emailHidden},
		{"a@x.ch", "a…@x.ch", emailHidden},
		{"a@x.ch", "axxx@x.ch", emailHidden},
		{"a@x.ch", "AXXX@x.ch", emailHidden},
		{"allison@example.com", "allison@example", emailHidden},
		{"allison@example.com", "ALLISON@EXAM", emailHidden},
		{"allison@example.com", "allison@example.com.invalid", emailHidden},
		{"a@x.ch", "a%40x.ch", emailHidden},
		{"o'neil@x.ch", "o&#39;neil@x.ch", emailHidden},
		{"o'neil@x.ch", "o%27neil@x.ch", emailHidden},
		{"a+b@x.ch", "a%2Bb@x.ch", emailHidden},
		{"a+b@x.ch", "a b@x.ch", emailHidden},
		{"a&b@x.ch", "a&amp;amp;b@x.ch", emailHidden},
		{"a@müller.example", "a@m&uuml;ller.example", emailHidden},
		{"allison@müller.example", "allison@xn--mller-kva.exa", emailHidden},

		{"a@x.ch", "b@x.ch", emailsDifferent},
		{"a@x.ch", "a@x.c", emailsDifferent},
		{"a@xy.ch", "axx@xy.ch", emailsDifferent},
		{"allison@example.com", "ballison@example.com", emailsDifferent},
		{"a@müller.example", "a@xn--mller-kv.example", emailsDifferent},
		{"", "a@x.ch", emailsDifferent},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%q and %q", test.sent, test.found), func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, test.want, matchEmails(test.sent, test.found))
		})
	}
}
