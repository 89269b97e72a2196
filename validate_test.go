package clixnow_test

import (
	"encoding/json"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCreateLeadRequestValidate(t *testing.T) {
	t.Parallel()
	type request = clixnow.CreateLeadRequest
	field := func(of func(*request) *string) func(string) func(*request) {
		return func(value string) func(*request) { return func(r *request) { *of(r) = value } }
	}
	firstName := field(func(r *request) *string { return &r.FirstName })
	lastName := field(func(r *request) *string { return &r.LastName })
	email := field(func(r *request) *string { return &r.Email })
	phone := field(func(r *request) *string { return &r.Phone })
	password := field(func(r *request) *string { return &r.Password })
	country := field(func(r *request) *string { return &r.CountryCode })
	language := field(func(r *request) *string { return &r.LanguageCode })
	comment := field(func(r *request) *string { return &r.Comment })
	referral := field(func(r *request) *string { return &r.ReferralURL })
	for name, test := range map[string]struct {
		change func(*request)
		// want is the field and the code. It is "" if there is no fault.
		want string
	}{
		"mandatory fields alone": {func(*request) {}, ""},
		"every field":            {func(r *request) { *r = wholeLead() }, ""},

		"no first name":                    {firstName(""), "firstName missing"},
		"first name of spaces":             {firstName(" \t\u00a0"), "firstName missing"},
		"first name of one letter":         {firstName("Ö"), ""},
		"first name with spaces around":    {firstName(" A "), ""},
		"no last name":                     {lastName(""), "lastName missing"},
		"last name of a line break":        {lastName("\n"), "lastName missing"},
		"no email":                         {email(""), "email missing"},
		"email of spaces":                  {email("  "), "email missing"},
		"no phone":                         {phone(""), "phone missing"},
		"phone of a space":                 {phone(" "), "phone missing"},
		"phone in another form":            {phone("(041) 123-45-67"), ""},
		"no password":                      {password(""), "password missing"},
		"password of spaces":               {password("         "), "password missing"},
		"no country":                       {country(""), "countryCode missing"},
		"country of spaces":                {country("  "), "countryCode missing"},
		"email with a plus":                {email("a.b+c@sub.example.co.uk"), ""},
		"email without a dot":              {email("a@b"), "email email"},
		"email beyond ASCII":               {email("zoë@exämple.com"), ""},
		"email with a name":                {email("Al <a@example.com>"), "email email"},
		"email in brackets":                {email("<a@example.com>"), "email email"},
		"email after a space":              {email(" a@example.com"), "email email"},
		"email before a space":             {email("a@example.com "), "email email"},
		"email with a comment":             {email("a@example.com (work)"), "email email"},
		"two emails":                       {email("a@example.com, b@example.com"), "email email"},
		"email without a host":             {email("a@"), "email email"},
		"email without a name":             {email("@example.com"), "email email"},
		"email without an at":              {email("example.com"), "email email"},
		"email with dots in a row":         {email("first..last@carrier.example"), ""},
		"email with a dot first":           {email(".first.@carrier.example"), ""},
		"email with dots in the domain":    {email("a@b..example"), ""},
		"email with odd characters":        {email("o'neil!#$%&*+-/=?^_`{|}~@example.com"), ""},
		"email with a dot at the end only": {email("a@example."), "email email"},
		"email with two at signs":          {email("a@b@example.com"), "email email"},
		"email as Cloudflare masks":        {email("[email protected]"), "email email"},

		"password of 8":                  {password("abcdefg!"), ""},
		"password of 7":                  {password("abcdef!"), "password password_length"},
		"password of 8 beyond ASCII":     {password("äöüäöüä!"), ""},
		"password of 7 in 8 bytes":       {password("äbcdef!"), "password password_length"},
		"password of letters":            {password("abcdefgh"), "password password_special"},
		"password of letters and digits": {password("Passw0rd123"), "password password_special"},
		"password of foreign letters":    {password("пароль١٢٣"), "password password_special"},
		"password with a space":          {password("pass word"), ""},
		"password with an underscore":    {password("pass_word"), ""},
		"password with a foreign symbol": {password("password€"), ""},

		"country in small letters":  {country("ch"), ""},
		"country of one letter":     {country("C"), "countryCode two_letters"},
		"country of three letters":  {country("CHE"), "countryCode two_letters"},
		"country with a digit":      {country("C1"), "countryCode two_letters"},
		"country with a space":      {country("C "), "countryCode two_letters"},
		"country of a first digit":  {country("1C"), "countryCode two_letters"},
		"country from A to Z":       {country("AZ"), ""},
		"country from z to a":       {country("za"), ""},
		"country before A":          {country("C@"), "countryCode two_letters"},
		"country after Z":           {country("C["), "countryCode two_letters"},
		"country beyond ASCII":      {country("É"), "countryCode two_letters"},
		"language in small letters": {language("en"), ""},
		"language with a region":    {language("en-GB"), "languageCode two_letters"},
		"language of a space":       {language(" "), "languageCode two_letters"},
		"language of digits":        {language("12"), "languageCode two_letters"},

		"comment of 1000":                 {comment(strings.Repeat("x", 1000)), ""},
		"comment of 1001":                 {comment(strings.Repeat("x", 1001)), "comment too_long"},
		"comment of 1000, 3000 bytes":     {comment(strings.Repeat("€", 1000)), ""},
		"comment of 1001 foreign letters": {comment(strings.Repeat("€", 1001)), "comment too_long"},

		"referral in plain HTTP":                 {referral("http://example.com"), ""},
		"referral with everything":               {referral("HTTPS://example.com:8443/a?b=c d#e"), ""},
		"referral without a scheme":              {referral("example.com/x"), "referralUrl url"},
		"referral without a host":                {referral("https:///x"), "referralUrl url"},
		"referral with a port alone":             {referral("https://:443/"), "referralUrl url"},
		"referral relative":                      {referral("/x"), "referralUrl url"},
		"referral without a scheme, with a host": {referral("//example.com/"), "referralUrl url"},
		"referral by another scheme":             {referral("ftp://example.com/"), "referralUrl url"},
		"referral of a script":                   {referral("javascript:alert(1)"), "referralUrl url"},
		"referral opaque":                        {referral("https:example.com"), "referralUrl url"},
		"referral unparsable":                    {referral("https://exa mple.com/"), "referralUrl url"},
		"referral of a space":                    {referral(" "), "referralUrl url"},

		"any other text": {func(r *request) {
			r.SubCampaign, r.Placement, r.Keyword, r.Sub2, r.ClickID, r.Carrier = "\x00", "\n", " ", "😀",
				strings.Repeat("x", 5000), "5G"
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := with(test.change)
			err := req.Validate()
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			var invalid *clixnow.ValidationError
			require.ErrorAs(t, err, &invalid)
			require.Len(t, invalid.Fields, 1)
			fault := invalid.Fields[0]
			assert.Equal(t, test.want, fault.Field+" "+string(fault.Code))
			assert.NotEmpty(t, fault.Problem)
			assert.ErrorIs(t, err, clixnow.ErrInvalidRequest)
			assert.ErrorIs(t, err, clixnow.ErrRefused)
			assert.Equal(t, "clixnow: invalid request: "+fault.Field+": "+fault.Problem, err.Error())
		})
	}
}

func TestCreateLeadRequestValidateReturnsAllFaults(t *testing.T) {
	t.Parallel()
	assert.Equal(t, []string{
		"firstName missing", "lastName missing", "email missing", "phone missing", "password missing",
		"countryCode missing",
	}, faultsOf(t, clixnow.CreateLeadRequest{}.Validate()))
	assert.Equal(t, []string{
		"firstName missing", "lastName missing", "email email", "phone missing", "password password_length",
		"password password_special", "countryCode two_letters", "languageCode two_letters", "referralUrl url",
		"comment too_long", "sub2 utf8", "EMAIL reserved", "bonus not_encodable",
	}, faultsOf(t, clixnow.CreateLeadRequest{
		Email: "a@", Password: "short", CountryCode: "CHE", LanguageCode: "e", ReferralURL: "x",
		Comment: strings.Repeat("x", 1001),
		Sub2:    "\xff", Extra: map[string]any{"EMAIL": "x", "bonus": math.NaN()},
	}.Validate()))
}

// An email has no character that one cannot see, and none that separates
// addresses (case L35). Dots in a row are left to the API (case L37).
func TestCharactersOfAnEmail(t *testing.T) {
	t.Parallel()
	isValid := func(email string) bool {
		return with(func(r *clixnow.CreateLeadRequest) { r.Email = email }).Validate() == nil
	}
	for _, r := range " \t\n\r\x00\x1f\x7f<>(),;:\"[]\\@" +
		"\u0085\u00a0\u00ad\u034f\u061c\u115f\u1680\u180e\u2003\u2009\u200b\u200c\u200d\u200e\u200f\u2028\u2029" +
		"\u202a\u202e\u202f\u205f\u2060\u2064\u2066\u2800\u3000\u3164\ufe0f\ufeff\uffa0\ufff9\U000e0001\U000e0100" {
		for _, email := range []string{
			string(r) + "ab@example.com", "a" + string(r) + "b@example.com", "ab" + string(r) + "@example.com",
			"ab@" + string(r) + "example.com", "ab@exam" + string(r) + "ple.com", "ab@example.com" + string(r),
		} {
			assert.False(t, isValid(email), "%q", email)
		}
	}
	for _, r := range "aZ09.!#$%&'*+-/=?^_`{|}~éÖß中аعक" {
		assert.True(t, isValid("a"+string(r)+"b@example.com"), "%q", r)
		assert.True(t, isValid(string(r)+"@example.com"), "%q", r)
	}
	for _, email := range []string{"first..last@carrier.example", "..@a.b", "a@b.c", "a@1.2", "a@example.com."} {
		assert.True(t, isValid(email), "%q", email)
	}
	for _, email := range []string{"@", "a@", "@b.c", "a@b", "a@.", "a@..", "a@b.", "a.b", "a@@b.c", "a@b.c@d.e"} {
		assert.False(t, isValid(email), "%q", email)
	}
}

func TestDropInvalidOptional(t *testing.T) {
	t.Parallel()
	type request = clixnow.CreateLeadRequest
	const broken = "caf\xe9"
	for name, test := range map[string]struct {
		change  func(*request)
		want    func(*request)
		dropped []string
	}{
		"nothing at fault": {func(*request) {}, func(*request) {}, nil},
		"every field":      {func(r *request) { *r = wholeLead() }, func(r *request) { *r = wholeLead() }, nil},
		"values of a visitor's device (case L36)": {
			func(r *request) { r.LanguageCode, r.ReferralURL = "en-US", "android-app://com.example" },
			func(*request) {},
			[]string{"languageCode two_letters", "referralUrl url"},
		},
		"good values stay": {
			func(r *request) { r.LanguageCode, r.ReferralURL, r.Sub2 = "en", "referrer", "sub" },
			func(r *request) { r.LanguageCode, r.Sub2 = "en", "sub" },
			[]string{"referralUrl url"},
		},
		"long comment": {
			func(r *request) { r.Comment = strings.Repeat("€", 1001) },
			func(r *request) { r.Comment = strings.Repeat("€", 1000) },
			[]string{"comment too_long"},
		},
		"long comment, not UTF-8": {
			func(r *request) { r.Comment = strings.Repeat(broken, 1000) }, func(*request) {},
			[]string{"comment too_long", "comment utf8"},
		},
		"not UTF-8": {
			func(r *request) {
				r.LanguageCode, r.ReferralURL = broken, "https://a.example/"+broken
				r.SubCampaign, r.Placement = broken, broken
				r.Keyword, r.Sub2, r.ClickID, r.DeviceType, r.DeviceName = broken, broken, broken, broken, broken
				r.OSName, r.Browser, r.Carrier, r.Comment = broken, broken, broken, broken
			},
			func(*request) {},
			[]string{
				"languageCode two_letters", "languageCode utf8", "referralUrl utf8", "subCampaign utf8",
				"placement utf8", "keyword utf8", "sub2 utf8", "clickId utf8", "deviceType utf8", "deviceName utf8",
				"osName utf8", "browser utf8", "carrier utf8", "comment utf8",
			},
		},
		"long text, not UTF-8": {
			func(r *request) { r.Keyword = strings.Repeat(broken, 1000) }, func(*request) {}, []string{"keyword utf8"},
		},
		"members of Extra": {
			func(r *request) {
				r.Extra = map[string]any{"email": "x", "nan": math.NaN(), "text": broken, broken: 1, "bonus": "b"}
			},
			func(r *request) { r.Extra = map[string]any{"bonus": "b"} },
			[]string{"caf\uFFFD utf8", "email reserved", "nan not_encodable", "text utf8"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := with(test.change)
			faults := asTexts(got.DropInvalidOptional())
			slices.Sort(faults)
			slices.Sort(test.dropped)
			assert.Equal(t, test.dropped, faults)
			assert.Equal(t, with(test.want), got)
			require.NoError(t, got.Validate())
			assert.Empty(t, got.DropInvalidOptional())
		})
	}
}

func TestDropInvalidOptionalKeepsMandatoryFields(t *testing.T) {
	t.Parallel()
	extra := map[string]any{"email": "x"}
	req := clixnow.CreateLeadRequest{
		FirstName: "\xff", Email: "a@", Password: "short", CountryCode: "CHE", LanguageCode: "e", Extra: extra,
	}
	assert.Equal(t, []string{"languageCode two_letters", "email reserved"}, asTexts(req.DropInvalidOptional()))
	assert.Equal(t, clixnow.CreateLeadRequest{
		FirstName: "\xff", Email: "a@", Password: "short", CountryCode: "CHE", Extra: map[string]any{},
	}, req)
	assert.Equal(t, map[string]any{"email": "x"}, extra, "the caller's map is not changed")
	require.Error(t, req.Validate())
}

// A request that no server could judge is refused by name, and nothing is sent.
func TestCreateLeadRefusesWhatCannotBeSent(t *testing.T) {
	t.Parallel()
	type (
		request = clixnow.CreateLeadRequest
		inner   struct{ Text string }
		outer   struct {
			inner

			List    []inner
			Left    string `json:"-"`
			private string
		}
	)
	extra := func(value any) func(*request) {
		return func(r *request) { r.Extra = map[string]any{"bonus": value} }
	}
	broken := "caf\xe9"
	cycle := map[string]any{}
	cycle["cycle"] = cycle
	for name, test := range map[string]struct {
		change func(*request)
		want   []string
	}{
		"first name": {func(r *request) { r.FirstName = broken }, []string{"firstName utf8"}},
		"password":   {func(r *request) { r.Password = "Password123!\xff" }, []string{"password utf8"}},
		"carrier":    {func(r *request) { r.Carrier = clixnow.Carrier(broken) }, []string{"carrier utf8"}},
		"comment":    {func(r *request) { r.Comment = broken }, []string{"comment utf8"}},
		"several, in order": {func(r *request) {
			r.ClickID, r.Sub2, r.Extra = broken, broken, map[string]any{"z": broken, "a": math.Inf(1), "Phone": ""}
		}, []string{"sub2 utf8", "clickId utf8", "Phone reserved", "a not_encodable", "z utf8"}},

		"key that is a field": {
			func(r *request) { r.Extra = map[string]any{"email": "x"} },
			[]string{"email reserved"},
		},
		"key that is a field in another case": {
			func(r *request) { r.Extra = map[string]any{"SUBCAMPAIGN": "x"} },
			[]string{"SUBCAMPAIGN reserved"},
		},
		"key that is a field that is not set": {
			func(r *request) { r.Extra = map[string]any{"IpAddress": nil} },
			[]string{"IpAddress reserved"},
		},
		"key that is a boolean field": {
			func(r *request) { r.Extra = map[string]any{"acceptPromotions": false} },
			[]string{"acceptPromotions reserved"},
		},
		"key that is not UTF-8": {
			func(r *request) { r.Extra = map[string]any{broken: "x"} },
			[]string{"caf\uFFFD utf8"},
		},
		"value that is not UTF-8":             {extra(broken), []string{"bonus utf8"}},
		"value in a list that is not UTF-8":   {extra([]any{"x", broken}), []string{"bonus utf8"}},
		"value in a map that is not UTF-8":    {extra(map[string]string{"x": broken}), []string{"bonus utf8"}},
		"key of a map that is not UTF-8":      {extra(map[string]int{broken: 1}), []string{"bonus utf8"}},
		"value behind a pointer":              {extra(&broken), []string{"bonus utf8"}},
		"value in a struct that is not UTF-8": {extra(outer{List: []inner{{"x"}, {broken}}}), []string{"bonus utf8"}},
		"embedded value that is not UTF-8":    {extra(&outer{inner: inner{broken}}), []string{"bonus utf8"}},
		"raw JSON that is not UTF-8":          {extra(json.RawMessage("\"" + broken + "\"")), []string{"bonus utf8"}},
		"value in a field that is not sent":   {extra(outer{Left: broken, private: broken}), nil},
		"bytes, sent as base64":               {extra([]byte(broken)), nil},
		"a replacement character":             {extra("\uFFFD"), nil},
		"dates":                               {extra(time.Unix(0, 0).UTC()), nil},

		"NaN":                              {extra(math.NaN()), []string{"bonus not_encodable"}},
		"channel":                          {extra(make(chan int)), []string{"bonus not_encodable"}},
		"function in a list":               {extra([]any{func() {}}), []string{"bonus not_encodable"}},
		"cycle":                            {extra(cycle), []string{"bonus not_encodable"}},
		"raw JSON that is malformed":       {extra(json.RawMessage(`{"a":`)), []string{"bonus not_encodable"}},
		"raw JSON of two values":           {extra(json.RawMessage(`1,"leadId":2`)), []string{"bonus not_encodable"}},
		"json.Number that is not a number": {extra(json.Number("1x")), []string{"bonus not_encodable"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int32
			client := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
				requests.Add(1)
				_, _ = io.WriteString(w, `{"leadId":1}`)
			}, clixnow.WithoutValidation())
			req := with(test.change)
			_, err := client.CreateLead(t.Context(), req)
			_, marshalErr := json.Marshal(req)
			if test.want == nil {
				require.NoError(t, err)
				require.NoError(t, marshalErr)
				require.NoError(t, req.Validate())
				return
			}
			for _, err := range []error{err, marshalErr, req.Validate()} {
				assert.Equal(t, test.want, faultsOf(t, err))
			}
			requireClass(t, clixnow.ErrRefused, err)
			assert.Zero(t, requests.Load())
		})
	}
}
