package clixnow_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
)

// refusal returns the error of a create that is answered with a 400.
func refusal(t *testing.T, req clixnow.CreateLeadRequest, contentType, body string) *clixnow.APIError {
	t.Helper()
	client := newClient(t, answer(http.StatusBadRequest, contentType, body), clixnow.WithoutValidation())
	_, err := client.CreateLead(t.Context(), req)
	var got *clixnow.APIError
	require.ErrorAs(t, err, &got)
	assert.Equal(t, body, string(got.Body), "the body is not changed")
	return got
}

// The token and the password that a server repeats are hidden, after the search
// for the words of the sentinel errors.
func TestAPIErrorMasks(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		password, body string
		message        string
		fields         fieldTexts
		duplicate      bool
	}{
		"token": {
			"", `{"message":"bad token ` + testToken + `, I said ` + testToken + `"}`,
			"bad token [hidden], I said [hidden]", nil, false,
		},
		"token escaped": {
			"", `{"message":"bad token CfDJ8\u002Ds3cr3t-t0ken"}`, "bad token [hidden]", nil, false,
		},
		"token as the name of a field": {
			"", `{"errors":{"` + testToken + `":["unknown"]}}`, "", fieldTexts{"[hidden]": {"unknown"}}, false,
		},
		"token in the name of a field": {
			"", `{"errors":{"$.a ` + testToken + `":["unknown"]}}`, "", fieldTexts{"a [hidden]": {"unknown"}}, false,
		},
		"password": {
			"Password123!", `{"message":"Password123! is weak"}`, "[hidden] is weak", nil, false,
		},
		"password in texts of fields": {
			"Password123!", `{"errors":{"Password":["Password123! is weak","` + testToken + `"]}}`, "",
			fieldTexts{"password": {"[hidden] is weak", "[hidden]"}},
			false,
		},
		"password as the name of a field": {
			"secret-123", `{"errors":{"secret-123":["is weak"]}}`, "", fieldTexts{"[hidden]": {"is weak"}}, false,
		},
		"password with a capital as the name of a field": {
			"Secret-123", `{"errors":{"Secret-123":["a"],"b":["Secret-123"]}}`, "",
			fieldTexts{"[hidden]": {"a"}, "b": {"[hidden]"}},
			false,
		},
		"password with the prefix of a name": {
			"$.Secret-123", `{"errors":{"$.Secret-123":["is weak"]}}`, "", fieldTexts{"[hidden]": {"is weak"}}, false,
		},
		"two names that are hidden": {
			"Secret-123", `{"errors":{"Secret-123":["a"],"` + testToken + `":["b"]}}`, "",
			fieldTexts{"[hidden]": {"b", "a"}},
			false,
		},
		"password that is a word of the API": {
			"duplicate lead", `{"message":"Duplicate lead (duplicate lead)"}`,
			"Duplicate lead ([hidden])", nil, true,
		},
		"words that the mask hides": {
			"already registered!", `{"message":"Email already registered!"}`, "Email [hidden]", nil, true,
		},
		"words of a field that the mask hides": {
			"already registered!", `{"errors":{"Email":["already registered!"]}}`, "",
			fieldTexts{"email": {"[hidden]"}},
			true,
		},
		"password of 8":            {"abcdef-8", `{"message":"abcdef-8"}`, "[hidden]", nil, false},
		"password of 7":            {"abcde-7", `{"message":"abcde-7"}`, "abcde-7", nil, false},
		"password of 7 in 8 bytes": {"äbcde-7", `{"message":"äbcde-7"}`, "äbcde-7", nil, false},
		"password of spaces":       {"          ", `{"message":"a          b"}`, "a[hidden]b", nil, false},
		"password with spaces around": {
			" abcdef-8 ", `{"message":"abcdef-8 is weak"}`, "[hidden] is weak", nil, false,
		},
		"empty password":     {"", `{"message":"m"}`, "m", nil, false},
		"password, repeated": {"abcdef-8", `{"message":"abcdef-8abcdef-8"}`, "[hidden][hidden]", nil, false},
		"password, other case": {
			"abcdef-8", `{"message":"ABCDEF-8"}`, "ABCDEF-8", nil, false,
		},
		"beginning of a long password": {
			"correct horse battery staple", `{"message":"correct horse battery is weak"}`,
			"[hidden]is weak", nil, false,
		},
		"16 characters of a long password": {
			"correct horse battery staple", `{"message":"correct horse bar is weak"}`, "[hidden]r is weak", nil, false,
		},
		"15 characters of a long password": {
			"correct horse battery staple", `{"message":"correct horse box is weak"}`,
			"correct horse box is weak", nil, false,
		},
		"beginning of a short password": {
			"Password123!", `{"message":"Password is weak"}`, "Password is weak", nil, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := with(func(r *clixnow.CreateLeadRequest) { r.Password = test.password })
			got := refusal(t, req, "application/json", test.body)
			assert.Equal(t, test.message, got.Message)
			assert.Equal(t, test.fields, got.Fields)
			assert.Equal(t, test.duplicate, errors.Is(got, clixnow.ErrDuplicateLead))
			assert.NotContains(t, got.Error(), testToken)
			copied := *got
			assert.Equal(t, test.duplicate, errors.Is(&copied, clixnow.ErrDuplicateLead))
		})
	}
}

func TestAPIErrorMasksRequestID(t *testing.T) {
	t.Parallel()
	client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", strings.TrimPrefix(r.Header.Get("Authorization"), "ApiToken "))
		answer(http.StatusForbidden, "", "")(w, r)
	})
	_, err := client.GetLead(t.Context(), 7)
	var got *clixnow.APIError
	require.ErrorAs(t, err, &got)
	assert.Equal(t, "[hidden]", got.RequestID)
}

// A token of fewer than four characters may be part of a word.
func TestAPIErrorMasksShortTokens(t *testing.T) {
	t.Parallel()
	for token, want := range map[string]string{"abcd": "bad [hidden]", "abc": "bad abc"} {
		server := httptest.NewServer(answer(http.StatusBadRequest, "application/json", `{"message":"bad `+token+`"}`))
		t.Cleanup(server.Close)
		client, err := clixnow.NewClient("acme", token, clixnow.WithBaseURL(server.URL))
		require.NoError(t, err)
		t.Cleanup(client.CloseIdleConnections)
		_, err = client.GetLead(t.Context(), 1)
		var got *clixnow.APIError
		require.ErrorAs(t, err, &got)
		assert.Equal(t, want, got.Message)
	}
}

// All tokens of a call are hidden, also if one begins with the other.
func TestAPIErrorMasksAllTokens(t *testing.T) {
	t.Parallel()
	for _, tokens := range [][]string{{"abcd1", "abcd12"}, {"abcd12", "abcd1"}} {
		server := httptest.NewServer(answer(http.StatusUnauthorized, "text/plain", "bad abcd12, bad abcd1"))
		t.Cleanup(server.Close)
		source := clixnow.WithTokenSource(sourceOf(tokens...))
		client, err := clixnow.NewClient("acme", "", source, clixnow.WithBaseURL(server.URL))
		require.NoError(t, err)
		t.Cleanup(client.CloseIdleConnections)
		_, err = client.GetLead(t.Context(), 1)
		var got *clixnow.APIError
		require.ErrorAs(t, err, &got)
		assert.Equal(t, "bad [hidden], bad [hidden]", got.Message)
	}
}

// A server may escape what it repeats (case L18).
func TestAPIErrorMasksEscapedPasswords(t *testing.T) {
	t.Parallel()
	const password = "P\"ss\\\u00a0w<&>'é😀d" // as sent
	req := with(func(r *clixnow.CreateLeadRequest) { r.Password = password })
	inJSON, err := json.Marshal(password)
	require.NoError(t, err)
	for name, text := range map[string]string{
		"unchanged":               password,
		"JSON":                    string(inJSON),
		"JSON, quotes escaped":    `P\"ss\\` + "\u00a0" + `w<&>'é😀d`,
		"JSON, all escaped":       `P\u0022ss\u005C\u00A0w\u003C\u0026\u003E\u0027\u00e9\uD83D\uDE00d`,
		"JSON, some escaped":      `P\u0022ss\\` + "\u00a0" + `w\u003c&\u003E'é😀\u0064`,
		"Go":                      strconv.Quote(password),
		"Go, ASCII":               strconv.QuoteToASCII(password),
		"HTML":                    html.EscapeString(password),
		"HTML, all escaped":       `P&quot;ss&#92;&nbsp;w&lt;&amp;&gt;&#x27;&eacute;&#128512;d`,
		"HTML, hexadecimal":       `P&#x22;ss&#x5C;&#xA0;w&#x3C;&#X26;&#x3E;&#39;&#xE9;&#x1F600;d`,
		"HTML, leading zeros":     `P&#034;ss\` + "\u00a0" + `w<&>&#039;é😀d`,
		"HTML in JSON":            `P&quot;ss\\&nbsp;w&lt;&amp;&gt;&#39;\u00e9\ud83d\ude00d`,
		"URL":                     url.QueryEscape(password),
		"URL, some escaped":       `P%22ss\%c2%a0w<%26>'é%F0%9F%98%80d`,
		"URL and HTML":            `P%22ss\` + "\u00a0" + `w&lt;%26>'é😀d`,
		"URL, HTML and JSON":      `P%22ss\\` + "\u00a0" + `w&lt;&\u003e'é😀d`,
		"slashes are not escapes": `/P"ss\` + "\u00a0" + `w<&>'é😀d/`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body, err := json.Marshal(map[string]any{
				"message": "bad " + text + " here", "errors": map[string]string{"x": text},
			})
			require.NoError(t, err)
			for contentType, body := range map[string]string{
				"application/json": string(body), "text/plain": "bad " + text + " here",
			} {
				got := refusal(t, req, contentType, body)
				assert.Equal(t, "bad [hidden] here", strings.NewReplacer(`"`, "", "/", "").Replace(got.Message))
				for _, shown := range []string{got.Message, got.Error(), fmt.Sprint(got.Fields)} {
					assert.NotContains(t, shown, "ss")
				}
			}
		})
	}
}

// A server may escape only a part of the characters, and a password may look as
// if it was escaped.
func TestAPIErrorMasksPasswordsThatLookEscaped(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ password, text string }{
		"entity, unchanged":           {`ab&lt;cd-12`, `ab&lt;cd-12`},
		"entity, in a URL":            {`ab&lt;cd-12`, `ab&lt;cd%2D12`},
		"percent, unchanged":          {`ab%41cd-12`, `ab%41cd-12`},
		"percent, in HTML":            {`ab%41cd-12`, `ab%41cd&#45;12`},
		"percent, no digits":          {`ab%zz-"12"`, `ab%zz-%2212%22`},
		"backslash, unchanged":        {`ab\u0041cd-12`, `ab\u0041cd-12`},
		"backslash, not of an escape": {`ab\é-"12"`, `ab\é-\"12\"`},
		"backslash and u":             {`ab\users"12"`, `ab\users\"12\"`},
		"a pair at the end":           {`abcdef-8😀`, `abcdef-8\ud83d\ude00`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := with(func(r *clixnow.CreateLeadRequest) { r.Password = test.password })
			assert.Equal(t, "bad [hidden]", refusal(t, req, "text/plain", "bad "+test.text).Message)
			assert.Equal(t, `bad [hidden] \`, refusal(t, req, "text/plain", "bad "+test.text+` \`).Message)
		})
	}
}

// Lead data and login links that a server quotes are masked in texts for logs.
// Message keeps the lead data, for the visitor (case L17).
func TestAPIErrorMasksLeadData(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		text string
		// message and logged are the text in Message and in Error.
		message, logged string
	}{
		"email":         {"allison.brown@example.com is taken", "", "[hidden] is taken"},
		"email, case":   {"Allison.BROWN@Example.com is taken", "", "[hidden] is taken"},
		"email in HTML": {"allison.brown&#64;example.com is taken", "", "[hidden] is taken"},
		"email in URLs": {"allison.brown%40example.com is taken", "", "[hidden] is taken"},
		"email in JSON": {`allison.brown\u0040example.com is taken`, "", "[hidden] is taken"},
		"email, quoted": {"<allison.brown@example.com>", "", "<[hidden]>"},
		"phone":         {"+41 (0)79, +41123456789", "", "+41 (0)79, [hidden]"},
		"phone in HTML": {"&#43;41123456789 is taken", "", "[hidden] is taken"},
		"without plus":  {"41123456789 is taken", "", "[hidden] is taken"},
		"with zeros":    {"0041123456789 is taken", "", "00[hidden] is taken"},
		"both":          {"41123456789/ALLISON.BROWN@EXAMPLE.COM", "", "[hidden]/[hidden]"},
		"other people":  {"bob@example.com, +41123456780", "", "bob@example.com, +41123456780"},

		"link": {
			"log in at https://broker.example/autologin?token=abc#x now",
			"log in at https://broker.example now", "",
		},
		"link with a port": {
			"(http://broker.example:8443/autologin).", "(http://broker.example:8443).", "",
		},
		"link with user info": {
			"https://me:pw@broker.example/a", "https://broker.example", "",
		},
		"link without a path": {
			"see https://broker.example?token=abc, please", "see https://broker.example, please", "",
		},
		"host alone":     {"see https://broker.example.", "see https://broker.example.", ""},
		"host with dots": {"HTTPS://Login.Broker.Example/x", "HTTPS://Login.Broker.Example", ""},
		"IPv6":           {"https://[2001:db8::1]:80/a?b", "https://[2001:db8::1]:80", ""},
		"IPv4":           {"https://10.0.0.9:9090/a?b", "https://10.0.0.9:9090", ""},
		"not a port":     {"https://broker.example:abc/d", "https://broker.example", ""},
		"two colons":     {"https://broker.example::80/d", "https://broker.example", ""},
		"no dot":         {"http://localhost:8080/a?t=abc", "http://localhost:8080", ""},
		"short schemes": {
			"a://a/1 z://z/1 A://A/1 Z://Z/1 0://0/1 9://9/1 a:://b/1",
			"a://a z://z A://A Z://Z 0://0 9://9 a:://b/1", "",
		},
		"app link":  {"myapp+v1://login.example/abc", "myapp+v1://login.example", ""},
		"no scheme": {"at //broker.example/autologin?t=abc", "at //broker.example", ""},
		"comment":   {"either//or/neither is no link", "either//or/neither is no link", ""},
		"two links": {
			"https://a.example/abc, https://b.example/def", "https://a.example, https://b.example", "",
		},
		"link in quotes": {`got "https://broker.example/a?t=abc" twice`, `got "https://broker.example" twice`, ""},
		"link in tags":   {"<https://broker.example/a?t=abc>", "<https://broker.example>", ""},
		"link in JSON": {
			`{\"url\":\"https:\/\/broker.example\/a?t=abc\"} and`, `{\"url\":\"https:\/\/broker.example"} and`, "",
		},
		"link in JSON, all escaped": {
			`https\u003a\u002f\u002fbroker.example\u002fabc`, `https\u003a\u002f\u002fbroker.example`, "",
		},
		"link in HTML": {
			"https:&#x2F;&#x2F;broker.example&#x2F;a?t=abc&quot; ok", "https:&#x2F;&#x2F;broker.example&quot; ok", "",
		},
		"link in a URL": {
			"https%3A%2F%2Fbroker.example%2Fautologin%3Ftoken%3Dabc ok", "https%3A%2F%2Fbroker.example ok", "",
		},
		"link, path escaped":   {"https://broker.example%2Fautologin%3Fabc", "https://broker.example", ""},
		"link with lead data":  {"https://a.example/?e=allison.brown@example.com", "https://a.example", ""},
		"link with a password": {"https://a.example/?p=Password123!", "https://a.example", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body, err := json.Marshal(map[string]any{"message": test.text, "errors": map[string]string{"x": test.text}})
			require.NoError(t, err)
			bodies := map[string]string{"application/json": string(body), "text/plain": test.text}
			for contentType, body := range bodies {
				got := refusal(t, mandatoryLead(), contentType, body)
				message := test.message
				if message == "" {
					message = test.text
				}
				logged := test.logged
				if logged == "" {
					logged = message
				}
				assert.Equal(t, message, got.Message)
				want := "clixnow: acme: POST /api/system/v1/leads: 400 Bad Request: " + logged
				if contentType == "application/json" {
					assert.Equal(t, fieldTexts{"x": {message}}, got.Fields)
					want += " (x: " + logged + ")"
				}
				assert.Equal(t, want, got.Error())
				assert.Equal(t, want, fmt.Sprintf("%+v", *got))
				assert.Equal(t, want, got.LogValue().String())
			}
		})
	}
}

// The name of a lead is hidden if it is a whole word.
func TestAPIErrorMasksNames(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ first, last, text, logged string }{
		"both":            {"Ann", "Lee", "Ann Lee is known", "[hidden] [hidden] is known"},
		"two letters":     {"Al", "Lee", "Al Lee", "[hidden] [hidden]"},
		"case":            {"Ann", "Lee", "LEE, ann", "[hidden], [hidden]"},
		"parts of words":  {"Ann", "Lee", "Anna sleeps. Annoyed? cannLeel", "Anna sleeps. Annoyed? cannLeel"},
		"with digits":     {"Ann", "Lee", "ann.lee79@a.example", "[hidden].[hidden]79@a.example"},
		"in JSON":         {"Ann", "Lee", `not {"n":"Ann","s":"\nLee\n"}`, `not {"n":"[hidden]","s":"\n[hidden]\n"}`},
		"escaped":         {"Zoë", "Lee", `Zo\u00eb &#76;ee`, "[hidden] [hidden]"},
		"a single letter": {"A", "Lee", "A Lee", "A [hidden]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := with(func(r *clixnow.CreateLeadRequest) { r.FirstName, r.LastName = test.first, test.last })
			got := refusal(t, req, "text/plain", test.text)
			assert.Equal(t, test.text, got.Message, "a program can show it to the visitor")
			assert.Equal(t, "clixnow: acme: POST /api/system/v1/leads: 400 Bad Request: "+test.logged, got.Error())
		})
	}
}

// The address of a visitor is hidden in each case of its letters.
func TestAPIErrorMasksAddresses(t *testing.T) {
	t.Parallel()
	for address, test := range map[string]struct{ text, logged string }{
		"203.0.113.7":  {"from 203.0.113.7", "from [hidden]"},
		"2001:db8::a7": {"from 2001:DB8::A7", "from [hidden]"},
		"::1":          {"from ::1", "from [hidden]"},
		"":             {"invalid IP", "invalid IP"},
	} {
		req := with(func(r *clixnow.CreateLeadRequest) { r.IPAddress, _ = netip.ParseAddr(address) })
		got := refusal(t, req, "text/plain", test.text)
		assert.Equal(t, "clixnow: acme: POST /api/system/v1/leads: 400 Bad Request: "+test.logged, got.Error())
	}
}

// The forms of a phone that a server may show.
func TestAPIErrorMasksPhones(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ phone, text, logged string }{
		"with spaces":         {"+41 12 345 67 89", "+41 12 345 67 89 is taken", "[hidden] is taken"},
		"spaces, no plus":     {"+41 12 345 67 89", "41 12 345 67 89 is taken", "[hidden] is taken"},
		"only the digits":     {"+41 (02) 345-67-89", "41023456789 is taken", "[hidden] is taken"},
		"plus and the digits": {"41 12 345 67 89", "+41123456789 is taken", "+[hidden] is taken"},
		"five digits":         {"12345", "12345 is taken", "[hidden] is taken"},
		"very short":          {"+400", "is not 400", "is not 400"},
		"none":                {"", "is missing", "is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := with(func(r *clixnow.CreateLeadRequest) { r.Phone, r.Email = test.phone, "" })
			got := refusal(t, req, "text/plain", test.text)
			assert.Equal(t, test.text, got.Message)
			assert.True(t, strings.HasSuffix(got.Error(), ": "+test.logged), got.Error())
		})
	}
}

// A very short email may be a part of a word.
func TestAPIErrorMasksShortEmails(t *testing.T) {
	t.Parallel()
	for email, logged := range map[string]string{"a@bc": "[hidden] is taken", "a@b": "a@b is taken"} {
		req := with(func(r *clixnow.CreateLeadRequest) { r.Email = email })
		got := refusal(t, req, "text/plain", email+" is taken")
		assert.True(t, strings.HasSuffix(got.Error(), ": "+logged), got.Error())
	}
}

// An error that was made by hand, or stored and read again, has no request.
func TestLiteralMasksNothing(t *testing.T) {
	t.Parallel()
	const text = "allison.brown@example.com"
	literal := &clixnow.APIError{StatusCode: 400, Message: text}
	assert.Contains(t, literal.Error(), text)
	stored, err := json.Marshal(refusal(t, mandatoryLead(), "text/plain", text))
	require.NoError(t, err)
	var read clixnow.APIError
	require.NoError(t, json.Unmarshal(stored, &read))
	assert.Equal(t, text, read.Message)
	assert.Contains(t, read.Error(), text)
}

func TestRandomSecretsAreMasked(t *testing.T) {
	t.Parallel()
	letters := []rune("abcABC019-_.!\"'\\&<>%+/#;: \u00a0é€😀\u200b")
	escapers := map[string]func(string) string{
		"none": func(text string) string { return text },
		"JSON": func(text string) string {
			data, err := json.Marshal(text)
			require.NoError(t, err)
			return string(data[1 : len(data)-1])
		},
		"HTML":  html.EscapeString,
		"URL":   url.QueryEscape,
		"path":  url.PathEscape,
		"Go":    func(text string) string { text = strconv.Quote(text); return text[1 : len(text)-1] },
		"ASCII": func(text string) string { text = strconv.QuoteToASCII(text); return text[1 : len(text)-1] },
		"both":  func(text string) string { return strings.ReplaceAll(html.EscapeString(text), `\`, `\\`) },
	}
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for range 100 {
		password := make([]rune, 8+random.IntN(20))
		for i := range password {
			password[i] = letters[random.IntN(len(letters))]
		}
		req := with(func(r *clixnow.CreateLeadRequest) { r.Password = "<" + string(password) + ">" })
		for name, escape := range escapers {
			before, after := string(letters[random.IntN(len(letters))]), string(letters[random.IntN(len(letters))])
			body := "x" + before + escape(req.Password) + after + "y"
			transport := &answers{http.StatusBadRequest, http.Header{"Content-Type": {"text/plain"}}, []byte(body)}
			client := clientOf(t, "https://clixnow.example", clixnow.WithoutValidation(),
				clixnow.WithHTTPClient(&http.Client{Transport: transport}))
			_, err := client.CreateLead(t.Context(), req)
			var got *clixnow.APIError
			require.ErrorAs(t, err, &got)
			if name == "URL" && strings.Contains(req.Password, " ") {
				continue // a plus for a space
			}
			require.NotContains(t, got.Message, escape(req.Password), "seed %d, %s", seed, name)
			require.Contains(t, got.Message, "[hidden]", "seed %d, %s", seed, name)
		}
	}
}

// fmt reaches an unexported field without calling the methods of its type.
func TestMaskIsNotPrinted(t *testing.T) {
	t.Parallel()
	req := with(func(r *clixnow.CreateLeadRequest) { r.Password = secretPassword })
	type private struct {
		value   clixnow.APIError
		pointer *clixnow.APIError
	}
	got := refusal(t, req, "application/json", `{"message":"m"}`)
	for _, holder := range []any{private{*got, got}, &private{*got, got}, []private{{*got, got}}} {
		for _, format := range everyFormat {
			text := fmt.Sprintf(format, holder)
			require.Empty(t, leaks(text), "%s: %s", format, text)
			require.NotContains(t, text, "allison")
			require.NotContains(t, text, "41123456789")
		}
	}
}
