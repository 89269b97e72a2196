package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/clixnowtest"
)

func TestSignUp(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, address string) {
		t.Helper()
		api := newFakeAPI(t)
		p := start(t, api, address, "")
		signups := p.public + "/signups"

		var wait sync.WaitGroup
		replies := make([]reply, 4)
		for i := range replies {
			wait.Go(func() { replies[i] = send(t, "POST", signups, asJSON, leadJSON("double", "double@example.com")) })
		}
		wait.Wait()
		for _, got := range replies {
			assert.Equal(t, http.StatusOK, got.code, got.body)
			assert.Equal(t, "registered", got.json(t)["status"])
			assert.Contains(t, got.json(t)["redirectUrl"], "/autologin?token=")
			assert.Equal(t, replies[0].body, got.body)
			assert.Equal(t, "no-store", got.header.Get("Cache-Control"))
		}
		require.Len(t, api.Leads(), 1)

		other := strings.ReplaceAll(leadJSON("double", "other@example.com"), "Allison", "Zoë")
		got := send(t, "POST", signups, asJSON, other)
		assert.Equal(t, http.StatusConflict, got.code)
		assert.NotContains(t, got.body, "autologin", "it would log this visitor in as another person")

		got = send(t, "POST", signups, asJSON, leadJSON("new", "double@example.com"))
		assert.Equal(t, http.StatusUnprocessableEntity, got.code)
		assert.Equal(t, map[string]string{
			"status": "refused", "reason": "duplicate",
			"problem": "This email address or phone number is already registered. You do not need to sign up again.",
		}, got.json(t))

		got = send(t, "POST", signups, asJSON, leadJSON("new", "corrected@example.com"))
		assert.Equal(t, http.StatusOK, got.code, "after a refusal the click id can be used again: %s", got.body)

		form := leadForm("of the form", "form@example.com")
		form.Set("landing", "/?clickid=77&subcampaign=autumn")
		got = send(t, "POST", signups, asForm, form.Encode(), "Accept", "text/html")
		assert.Equal(t, http.StatusSeeOther, got.code, got.body)
		assert.Contains(t, got.header.Get("Location"), "/autologin?token=")
		assert.Equal(t, "no-referrer", got.header.Get("Referrer-Policy"), "the brand must not see the page")
		leads := api.Leads()
		last := leads[len(leads)-1]
		assert.Equal(t, []string{"77", "autumn"}, []string{last.ClickID, last.SubCampaign})

		got = send(t, "POST", signups, asJSON, leadJSON("", "without@example.com"))
		assert.Equal(t, http.StatusOK, got.code, got.body)

		typedByDevice := strings.Replace(leadJSON("device", "device@example.com"), "}",
			`,"languageCode":"en-US","referralUrl":"android-app://com.example","browser":"Chrome","x":1}`, 1)
		got = send(t, "POST", signups, asJSON, typedByDevice)
		assert.Equal(t, http.StatusOK, got.code, got.body)
		requests := api.Requests()
		sent := string(requests[len(requests)-1].Body)
		assert.Contains(t, sent, `"browser":"Chrome"`)
		for _, dropped := range []string{"en-US", "android-app", `"x"`} {
			assert.NotContains(t, sent, dropped)
		}
		require.Len(t, api.Leads(), 5)

		assert.Zero(t, p.stop())
		for _, secret := range []string{"example.com", password, "autologin", "Allison"} {
			assert.NotContains(t, p.log.String(), secret)
		}
	})
}

// TestWithoutClickID checks that operators learn that tracking is lost.
func TestWithoutClickID(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t)
	p := start(t, api, t.TempDir()+"/signups.db", "")
	const line = "sign-ups come without a click id"
	require.Equal(t, http.StatusOK, send(t, "POST", p.public+"/signups", asJSON, leadJSON("c", "c@example.com")).code)
	require.Equal(t, http.StatusBadRequest, send(t, "POST", p.public+"/signups", asJSON, "{}").code)
	assert.NotContains(t, p.log.String(), line)
	for i, clickID := range []string{"", "{clickid}", ""} {
		got := send(t, "POST", p.public+"/signups", asJSON, leadJSON(clickID, fmt.Sprintf("v%d@example.com", i)))
		require.Equal(t, http.StatusOK, got.code, got.body)
	}
	assert.Equal(t, 1, strings.Count(p.log.String(), line))
}

// TestInvalid checks that a request that no retry cures is refused at once, and
// leaves nothing behind. Case P8: a click id that a database cannot hold.
func TestInvalid(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, contentType, body, want string }{
		{"half a JSON", asJSON, `{`, "read the JSON: malformed JSON at byte 1"},
		{"JSON list", asJSON, `[]`, "read the JSON: "},
		{"JSON text", asJSON, `"x"`, "read the JSON: "},
		{"empty JSON", asJSON, ``, "read the JSON: "},
		{"null", asJSON, `null`, "firstName: is missing"},
		{
			"invalid field", asJSON, strings.Replace(leadJSON("x", "x@example.com"), `"CH"`, `"Switzerland"`, 1),
			"countryCode: must be two letters",
		},
		{"too large", asJSON, `{"comment":"` + strings.Repeat("x", 70_000) + `"}`, "too large"},
		{"form without fields", asForm, "email=x", "firstName: is missing"},
		{"broken form", asForm, "%", "read the form: "},
		{
			"form that is not UTF-8", asForm,
			strings.Replace(leadForm("x", "x@example.com").Encode(), "Brown", "M%FCller", 1),
			"lastName: must be ",
		},
		{"broken multipart form", "multipart/form-data; boundary=x", "x", "read the form: "},
		{"multipart form without boundary", "multipart/form-data", "x", "read the form: "},
		{"XML", "text/xml", "<lead/>", "Content-Type must be application/json"},
		{
			"long click id", asJSON, leadJSON(strings.Repeat("x", 3_800), "x@example.com"),
			"clickId: must have at most 1000 characters",
		},
		{"NUL in the click id", asJSON, strings.Replace(leadJSON("x", "x@example.com"), `"clickId":"x"`,
			`"clickId":"\u0000"`, 1), "clickId: must be UTF-8 without NUL"},
		{
			"NUL in the name", asForm, strings.Replace(leadForm("x", "x@example.com").Encode(), "Brown", "B%00", 1),
			"lastName: must be UTF-8 without NUL",
		},
		{
			"long name", asJSON,
			strings.Replace(leadJSON("x", "x@example.com"), "Allison", strings.Repeat("x", 1_001), 1),
			"firstName: must have at most 1000 characters",
		},
	}
	eachDatabase(t, func(t *testing.T, address string) {
		t.Helper()
		api := newFakeAPI(t)
		p := start(t, api, address, "")
		for _, test := range tests {
			got := sendOnce(t, "POST", p.public+"/signups", test.contentType, test.body)
			assert.Equal(t, http.StatusBadRequest, got.code, test.name)
			assert.Equal(t, "invalid", got.json(t)["status"], test.name)
			assert.Contains(t, got.json(t)["problem"], test.want, test.name)
		}
		html := sendOnce(t, "POST", p.public+"/signups", asForm, "%", "Accept", "text/html")
		assert.Equal(t, http.StatusBadRequest, html.code)
		assert.Contains(t, html.header.Get("Content-Type"), "text/html")
		var number int
		row := openDB(t, address).QueryRowContext(t.Context(), "SELECT count(*) FROM outbox_signups")
		require.NoError(t, row.Scan(&number))
		assert.Zero(t, number)
		assert.Empty(t, api.Requests())
		assert.NotContains(t, p.log.String(), "level=ERROR")
	})
}

// TestFields checks that all documented fields arrive in each kind of request.
// Cases P22 and P27: an HTML form, a multipart form, and byte order marks.
func TestFields(t *testing.T) {
	t.Parallel()
	fields := map[string]string{
		"firstName": "Zoë", "lastName": "Brown", "email": "", "phone": "", "password": password, "countryCode": "CH",
		"languageCode": "EN", "acceptTermsAndConditions": "true", "acceptPromotions": "true",
		"referralUrl": "https://landing.example/a?b=c", "subCampaign": "autumn", "placement": "top", "keyword": "k",
		"sub2": "s", "clickId": "", "deviceType": "Mobile", "deviceName": "iPhone16", "osName": "iOS",
		"browser": "Safari Mobile", "carrier": "WiFi", "ipAddress": "192.0.2.7", "comment": "call after 5",
	}
	const bom = "\ufeff"
	type encoder func(values map[string]string) (contentType, body string)
	asObject := func(prefix string) encoder {
		return func(values map[string]string) (string, string) {
			object := map[string]any{}
			for name, value := range values {
				object[name] = value
				if value == "true" {
					object[name] = true
				}
			}
			text, err := json.Marshal(object)
			require.NoError(t, err)
			return asJSON, prefix + string(text)
		}
	}
	asURLEncoded := func(prefix, checked string) encoder {
		return func(values map[string]string) (string, string) {
			form := url.Values{}
			for name, value := range values {
				if value == "true" {
					form.Add(name, "false") // a hidden field before the checkbox
					value = checked
				}
				form.Add(name, value)
			}
			return asForm, prefix + form.Encode()
		}
	}
	asMultipart := func(prefix string) encoder {
		return func(values map[string]string) (string, string) {
			var body bytes.Buffer
			writer := multipart.NewWriter(&body)
			for name, value := range values {
				require.NoError(t, writer.WriteField(name, prefix+value))
			}
			file, err := writer.CreateFormFile("photo", "photo.png")
			require.NoError(t, err)
			_, _ = file.Write([]byte("no photo"))
			require.NoError(t, writer.Close())
			return writer.FormDataContentType(), body.String()
		}
	}
	withType := func(kind string, form encoder) encoder {
		return func(values map[string]string) (string, string) {
			_, body := form(values)
			return kind, body
		}
	}
	api := newFakeAPI(t)
	p := start(t, api, t.TempDir()+"/signups.db", "")
	for name, form := range map[string]encoder{
		"JSON":                         asObject(""),
		"JSON with BOM":                asObject(bom),
		"JSON as another type":         withType("application/vnd.api+json; charset=utf-8", asObject("")),
		"JSON as text, as beacons are": withType("text/plain;charset=UTF-8", asObject("")),
		"form":                         asURLEncoded("", "true"),
		"checkbox without value":       asURLEncoded("", "on"),
		"form with BOM":                asURLEncoded(bom, "1"),
		"form with escaped BOM":        asURLEncoded(url.QueryEscape(bom), "yes"),
		"multipart form":               asMultipart(""),
		"multipart form with BOM":      asMultipart(bom),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			values := maps.Clone(fields)
			values["clickId"] = name
			values["email"] = strings.ReplaceAll(strings.ReplaceAll(name, " ", "."), ",", "") + "@example.com"
			values["phone"] = "+41" + values["email"]
			contentType, body := form(values)
			got := send(t, "POST", p.public+"/signups", contentType, body)
			require.Equal(t, http.StatusOK, got.code, got.body)
			sent := sentBody(t, api, values["email"])
			for field, value := range values {
				assert.Equal(t, value, fmt.Sprint(sent[field]), field)
			}
		})
	}
}

// sentBody returns what the brand got for an email.
func sentBody(t *testing.T, api *fakeAPI, email string) (body map[string]any) {
	t.Helper()
	for _, request := range api.Requests() {
		if request.Method == http.MethodPost && strings.Contains(string(request.Body), `"`+email+`"`) {
			require.NoError(t, json.Unmarshal(request.Body, &body))
		}
	}
	require.NotNil(t, body, email)
	return body
}

// TestTracking checks from where the values for tracking come. Case P26: a long
// query keeps them.
func TestTracking(t *testing.T) {
	t.Parallel()
	long := "fbclid=" + strings.Repeat("x", 6_000)
	tests := []struct {
		name, address, landing string
		// click, sub and keyword are those of the request.
		click, sub, keyword string
		// want has the click id, the sub-campaign, the keyword and the referral
		// URL that are sent. A click id of "*" is a random one.
		want [4]string
	}{
		{
			"landing URL", "", "https://landing.example/?clickid=77&subcampaign=autumn&keyword=k", "own", "", "",
			[4]string{"77", "autumn", "k", "https://landing.example/?subcampaign=autumn&keyword=k&clickid=77"},
		},
		{
			"relative landing URL", "", "/?clickid=77&subcampaign=autumn", "own", "", "",
			[4]string{"77", "autumn", "", ""},
		},
		{
			"address of the endpoint", "?clickid=77&subcampaign=autumn", "", "", "", "",
			[4]string{"77", "autumn", "", ""},
		},
		{
			"landing URL before the address", "?clickid=78&keyword=a", "/?clickid=77", "", "", "",
			[4]string{"77", "", "a", ""},
		},
		{
			"fields before URLs", "?subcampaign=b", "/?subcampaign=c&keyword=d", "own", "a", "",
			[4]string{"own", "a", "d", ""},
		},
		{
			"long query", "", "https://landing.example/?" + long + "&clickid=77&subcampaign=autumn", "", "", "",
			[4]string{"77", "autumn", "", "https://landing.example/?" + long + "&subcampaign=autumn&clickid=77"},
		},
		{
			"long query of the address", "?" + long + "&clickid=77&subcampaign=autumn", "", "", "", "",
			[4]string{"77", "autumn", "", ""},
		},
		{"macro", "", "/?clickid={clickid}", "{clickid}", "{{campaign.name}}", "", [4]string{"*", "", "", ""}},
		{"no URL", "", "http://[", "own", "a", "", [4]string{"own", "a", "", ""}},
		{"other scheme", "", "android-app://com.example", "own", "", "", [4]string{"own", "", "", ""}},
		{"too long for the outbox", "", "", "own", "a", strings.Repeat("k", 1_001), [4]string{"own", "a", "", ""}},
		{"NUL", "", "", "own", "a\x00", "", [4]string{"own", "", "", ""}},
		{"nothing", "", "", "", "", "", [4]string{"*", "", "", ""}},
	}
	api := newFakeAPI(t)
	p := start(t, api, t.TempDir()+"/signups.db", "")
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			email := fmt.Sprintf("visitor%d@example.com", i)
			form := leadForm(test.click, email)
			form.Set("subCampaign", test.sub)
			form.Set("keyword", test.keyword)
			form.Set("landing", test.landing)
			// Two tests have the same click id.
			for name, values := range form {
				form[name] = []string{strings.ReplaceAll(strings.ReplaceAll(values[0], "own", "own"+email),
					"clickid=77",
					"clickid=77"+url.QueryEscape(email))}
			}
			address := strings.ReplaceAll(test.address, "clickid=77", "clickid=77"+url.QueryEscape(email))
			got := send(t, "POST", p.public+"/signups"+address, asForm, form.Encode())
			require.Equal(t, http.StatusOK, got.code, got.body)
			sent := sentBody(t, api, email)
			for j, field := range []string{"clickId", "subCampaign", "keyword", "referralUrl"} {
				value, _ := sent[field].(string)
				value = strings.ReplaceAll(strings.ReplaceAll(value, url.QueryEscape(email), ""), email, "")
				if test.want[j] == "*" {
					assert.Regexp(t, "^[A-Z0-9]{26}$", value)
					continue
				}
				assert.Equal(t, test.want[j], value, field)
			}
		})
	}
}

// TestRedirect checks case P25: a visitor is only sent to an https URL.
func TestRedirect(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t)
	p := start(t, api, t.TempDir()+"/signups.db", "")
	for i, test := range []struct {
		redirect string
		sent     bool
	}{
		{"https://brand.example/login?token=secret", true},
		{"http://brand.example/login?token=secret", false},
		{"brand.example/login?token=secret", false},
		{"//brand.example/login?token=secret", false},
		{"/login?token=secret", false},
		{"javascript:alert('token=secret')", false},
		{"https:///login?token=secret", false},
		{"https://[", false},
	} {
		api.redirect.Store(test.redirect)
		body := leadJSON(strconv.Itoa(i), fmt.Sprintf("visitor%d@example.com", i))
		got := send(t, "POST", p.public+"/signups", asJSON, body)
		assert.Equal(t, http.StatusOK, got.code, got.body)
		assert.Equal(t, "registered", got.json(t)["status"])
		html := send(t, "POST", p.public+"/signups", asJSON, body, "Accept", "text/html")
		if test.sent {
			assert.Equal(t, test.redirect, got.json(t)["redirectUrl"])
			assert.Equal(t, http.StatusSeeOther, html.code)
			assert.Equal(t, test.redirect, html.header.Get("Location"))
			continue
		}
		assert.NotContains(t, got.body, "secret", test.redirect)
		assert.Equal(t, http.StatusOK, html.code, test.redirect)
		assert.Empty(t, html.header.Get("Location"), test.redirect)
		assert.NotContains(t, html.body, "secret", test.redirect)
	}
}

func TestSlowAPI(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, address string) {
		t.Helper()
		api := newFakeAPI(t)
		p := start(t, api, address, "", "--wait", "50ms")
		api.Inject(clixnowtest.Fault{Delay: time.Second, Status: http.StatusUnauthorized, Times: 1})

		got := send(t, "POST", p.public+"/signups", asJSON, leadJSON("slow", "slow@example.com"))
		require.Equal(t, http.StatusAccepted, got.code, got.body)
		statusURL := got.json(t)["statusUrl"]
		assert.Equal(t, map[string]string{"status": "pending", "statusUrl": statusURL}, got.json(t))
		assert.Equal(t, statusURL, got.header.Get("Location"))
		assert.Equal(t, "2", got.header.Get("Retry-After"))

		page := send(t, "GET", p.public+statusURL, "", "", "Accept", "text/html")
		assert.Contains(t, []int{http.StatusOK, http.StatusAccepted}, page.code)
		assert.Regexp(t, `^\d+$`, page.header.Get("Refresh"))

		eventually(t, func() bool { return send(t, "GET", p.public+statusURL, "", "").code == http.StatusOK })
		assert.Contains(t, send(t, "GET", p.public+statusURL, "", "").json(t)["redirectUrl"], "/autologin?token=")
		html := send(t, "GET", p.public+statusURL, "", "", "Accept", "text/html")
		assert.Equal(t, http.StatusSeeOther, html.code)
		for _, guess := range []string{
			"guess", "a.b.c", statusURL[len("/signups/"):] + "x", "%00",
			strings.Repeat("x", 5_000),
		} {
			assert.Equal(t, http.StatusNotFound, send(t, "GET", p.public+"/signups/"+guess, "", "").code, guess)
		}
		require.Len(t, api.Leads(), 1)
		assert.Contains(t, p.log.String(), "refuses the access", "after a 401 the lead is retried")
	})
}

// TestCorrected checks case P24: a visitor who corrects a typo in the email
// while the sign-up waits is registered with the corrected one.
func TestCorrected(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, address string) {
		t.Helper()
		api := newFakeAPI(t)
		p := start(t, api, address, "", "--wait", "0s")
		token := api.Token
		api.SetToken("another")
		first := send(t, "POST", p.public+"/signups", asJSON, leadJSON("c", "typo@exmaple.com"))
		require.Equal(t, http.StatusAccepted, first.code, first.body)
		p.log.WaitFor(t, "refuses the access")
		second := send(t, "POST", p.public+"/signups", asJSON,
			strings.Replace(leadJSON("c", "typo@exmaple.com"), `typo@exmaple.com"`, `typo@example.com"`, 1))
		require.Equal(t, http.StatusAccepted, second.code, second.body)
		api.SetToken(token)
		statusURL := second.json(t)["statusUrl"]
		eventually(t, func() bool { return send(t, "GET", p.public+statusURL, "", "").code == http.StatusOK })
		assert.Equal(t, http.StatusNotFound, send(t, "GET", p.public+first.json(t)["statusUrl"], "", "").code,
			"the first token may belong to another person")
		leads := api.Leads()
		require.Len(t, leads, 1)
		assert.Equal(t, "typo@example.com", leads[0].Email)
	})
}

// TestBrands checks that a lead goes to the first brand that takes its country
// and has room, in the order of the configuration.
func TestBrands(t *testing.T) {
	t.Parallel()
	alpha := newFakeAPI(t, clixnowtest.WithBrand("alpha"))
	beta := newFakeAPI(t, clixnowtest.WithBrand("beta"), clixnowtest.WithCapacity(1, "Daily cap reached"))
	p := start(t, beta, t.TempDir()+"/signups.db", fmt.Sprintf("brands = [\"beta\", \"alpha\"]\n[brands.alpha]\n"+
		"base_url = %q\ntoken_file = \"token\"\ncountries = [\"CH\", \"de\"]\n", alpha.url))
	signUp := func(n int, country string) reply {
		body := strings.Replace(leadJSON(strconv.Itoa(n), fmt.Sprintf("visitor%d@example.com", n)), `"CH"`,
			`"`+country+`"`, 1)
		return send(t, "POST", p.public+"/signups", asJSON, body)
	}
	for n, country := range []string{"CH", "CH", "DE"} {
		got := signUp(n, country)
		assert.Equal(t, http.StatusOK, got.code, got.body)
	}
	assert.Len(t, beta.Leads(), 1)
	assert.Len(t, alpha.Leads(), 2)
}

// TestCountry checks that a country that no brand takes is refused at once.
func TestCountry(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t)
	p := start(t, api, t.TempDir()+"/signups.db", fmt.Sprintf("brands = [\"other\"]\n[brands.other]\nbase_url = %q\n"+
		"token_file = \"token\"\ncountries = [\"DE\"]\n", api.url))
	got := send(t, "POST", p.public+"/signups", asJSON, leadJSON("c", "visitor@example.com"))
	assert.Equal(t, http.StatusBadRequest, got.code)
	assert.JSONEq(t,
		`{"status":"invalid","problem":"invalid request: countryCode: is a country that is not accepted","fields":[`+
			`{"field":"countryCode","code":"country_not_accepted","problem":"is a country that is not accepted"}]}`,
		got.body)
	assert.Empty(t, api.Requests())
}

// TestDatabaseFails checks that a visitor is asked to try again while the
// database does not answer, that the log does not have a line for each request
// (case P13), and that the second request is the same sign-up.
func TestDatabaseFails(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t)
	address := t.TempDir() + "/signups.db"
	p := start(t, api, address, "", "--wait", "0s")
	db := openDB(t, address)
	_, err := db.ExecContext(t.Context(), "ALTER TABLE outbox_signups RENAME TO hidden")
	require.NoError(t, err)
	form := leadForm("c", "visitor@example.com").Encode()
	got := sendOnce(t, "POST", p.public+"/signups", asForm, form, "Accept", "text/html")
	assert.Equal(t, http.StatusServiceUnavailable, got.code)
	assert.Contains(t, p.log.String(), "a request cannot be served")
	body := leadJSON("c", "visitor@example.com")
	got = sendOnce(t, "POST", p.public+"/signups", asJSON, body)
	assert.Equal(t, http.StatusServiceUnavailable, got.code)
	assert.Equal(t, "5", got.header.Get("Retry-After"))
	assert.Equal(t, map[string]string{
		"status": "failed", "problem": "The database does not answer. Please try again.",
	}, got.json(t))
	assert.NotContains(t, p.log.String(), "visitor@example.com")
	for range 20 {
		sendOnce(t, "POST", p.public+"/signups", asJSON, body)
	}
	assert.Equal(t, 1, strings.Count(p.log.String(), "a request cannot be served"), p.log)
	_, err = db.ExecContext(t.Context(), "ALTER TABLE hidden RENAME TO outbox_signups")
	require.NoError(t, err)
	for range 2 {
		got = send(t, "POST", p.public+"/signups", asJSON, body)
		assert.Contains(t, []int{http.StatusOK, http.StatusAccepted}, got.code, got.body)
	}
	eventually(t, func() bool { return len(api.Leads()) == 1 })
}

// TestVisitorLeaves checks that a visitor who closes the page is registered,
// and that a second request has the outcome of the first one.
func TestVisitorLeaves(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t)
	p := start(t, api, t.TempDir()+"/signups.db", "")
	api.Inject(slowFault())
	ctx, leave := context.WithCancel(t.Context())
	body := leadJSON("c", "visitor@example.com")
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.public+"/signups", strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Content-Type", asJSON)
	gone := make(chan error, 1)
	go func() {
		_, err := http.DefaultTransport.RoundTrip(request) //nolint:bodyclose // there is no response
		gone <- err
	}()
	eventually(t, func() bool { return len(api.Requests()) > 0 })
	leave()
	require.ErrorIs(t, <-gone, context.Canceled)
	got := send(t, "POST", p.public+"/signups", asJSON, body)
	assert.Equal(t, http.StatusOK, got.code, got.body)
	assert.Len(t, api.Leads(), 1)
	assert.NotContains(t, p.log.String(), "level=ERROR")
}

// TestPhone checks case P23 for servers and pages: separators are taken out.
func TestPhone(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t)
	p := start(t, api, t.TempDir()+"/signups.db", "")
	for i, phone := range []string{
		"+41\u00a079\u00a0555\u00a001\u00a090", "+41\u201179\u2011555\u201101\u201191",
		"+41\u201379\u2013555\u201301\u201392",
		"+41\t79\t555\t01\t93", "\u200e+41 79 555 01 94\u200f", " 079 555 01 95 ", "0041 (0)79/555.01.96",
	} {
		email := fmt.Sprintf("visitor%d@example.com", i)
		form := leadForm(strconv.Itoa(i), email)
		form.Set("phone", phone)
		got := send(t, "POST", p.public+"/signups", asForm, form.Encode())
		require.Equal(t, http.StatusOK, got.code, got.body)
		assert.Equal(t, fmt.Sprintf("+4179555019%d", i), sentBody(t, api, email)["phone"], phone)
	}
}
