package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/clixnowtest"
)

const (
	asJSON = "application/json"
	asForm = "application/x-www-form-urlencoded"

	password = "Password123!"
)

// reply is the response to a request.
type reply struct {
	code   int
	header http.Header
	body   string
}

func (r reply) json(t *testing.T) map[string]string {
	t.Helper()
	var fields map[string]string
	require.NoError(t, json.Unmarshal([]byte(r.body), &fields), r.body)
	return fields
}

// send sends a request and does not follow redirects. After a 503 it tries
// again, as a visitor would, because the database of a busy machine can be
// slow.
func send(t *testing.T, method, address, contentType, body string, header ...string) (got reply) {
	t.Helper()
	eventually(t, func() bool {
		request, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
		require.NoError(t, err)
		request.Close = true
		request.Header.Set("Content-Type", contentType)
		for i := 0; i < len(header); i += 2 {
			request.Header.Set(header[i], header[i+1])
		}
		response, err := http.DefaultTransport.RoundTrip(request)
		require.NoError(t, err)
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		got = reply{response.StatusCode, response.Header, string(text)}
		return got.code != http.StatusServiceUnavailable
	})
	return got
}

// leadJSON returns a sign-up as a page sends it.
func leadJSON(clickID, email string) string {
	return fmt.Sprintf(`{"firstName":"Allison","lastName":"Brown","email":%q,"phone":%q,`+
		`"password":"Password123!","countryCode":"CH","clickId":%q}`, email, "+41"+email, clickID)
}

func testSignUp(t *testing.T, database string) {
	t.Helper()
	api := newFakeAPI(t)
	p := start(t, api, database, nil)
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

	got := send(t, "POST", signups, asJSON, leadJSON("double", "other@example.com"))
	assert.Equal(t, http.StatusConflict, got.code)
	assert.NotContains(t, got.body, "autologin", "it would log this visitor in as another person")

	got = send(t, "POST", signups, asJSON, leadJSON("new", "double@example.com"))
	assert.Equal(t, http.StatusUnprocessableEntity, got.code)
	assert.Equal(t, map[string]string{"status": "refused", "problem": "You are already registered."}, got.json(t))

	got = send(t, "POST", signups, asJSON, leadJSON("new", "corrected@example.com"))
	assert.Equal(t, http.StatusOK, got.code, "after a refusal the click id can be used again: %s", got.body)

	form := url.Values{
		"firstName": {"Zoë"}, "lastName": {"B"}, "email": {"form@example.com"}, "phone": {"+41123"},
		"password": {password}, "countryCode": {"CH"}, "clickId": {"of the form"},
		"landing": {"/?clickid=77&subcampaign=autumn"},
	}
	got = send(t, "POST", signups, asForm, form.Encode(), "Accept", "text/html")
	assert.Equal(t, http.StatusSeeOther, got.code, got.body)
	assert.Contains(t, got.header.Get("Location"), "/autologin?token=")
	assert.Equal(t, "no-referrer", got.header.Get("Referrer-Policy"))
	leads := api.Leads()
	last := leads[len(leads)-1]
	assert.Equal(t, []string{"77", "autumn"}, []string{last.ClickID, last.SubCampaign})

	got = send(t, "POST", signups, asJSON, leadJSON("", "without@example.com"))
	assert.Equal(t, http.StatusOK, got.code, got.body)

	typedByDevice := strings.Replace(leadJSON("device", "device@example.com"), "}",
		`,"languageCode":"en-US","referralUrl":"android-app://com.example","browser":"Chrome"}`, 1)
	got = send(t, "POST", signups, asJSON, typedByDevice)
	assert.Equal(t, http.StatusOK, got.code, got.body)
	requests := api.Requests()
	sent := string(requests[len(requests)-1].Body)
	assert.Contains(t, sent, `"browser":"Chrome"`)
	assert.NotContains(t, sent, "en-US")
	assert.NotContains(t, sent, "android-app")

	for _, bad := range []struct{ contentType, body, want string }{
		{asJSON, `{`, "read the JSON"},
		{asJSON, strings.Replace(leadJSON("x", "x@example.com"), `"CH"`, `"Switzerland"`, 1), "countryCode"},
		{asJSON, `{"comment":"` + strings.Repeat("x", 70_000) + `"}`, "too large"},
		{asForm, "email=x", "firstName"},
		{asForm, "%", "read the form"},
	} {
		got = send(t, "POST", signups, bad.contentType, bad.body)
		assert.Equal(t, http.StatusBadRequest, got.code)
		assert.Contains(t, got.json(t)["problem"], bad.want)
	}
	require.Len(t, api.Leads(), 5)

	page := send(t, "GET", p.public+"/?clickid=5", "", "")
	assert.Contains(t, page.body, `name="landing" value="/?clickid=5"`)
	require.NoError(t, p.stop())
	assert.NotContains(t, p.log.String(), "example.com")
	assert.NotContains(t, p.log.String(), password)
}

func testSlowAPI(t *testing.T, database string) {
	t.Helper()
	api := newFakeAPI(t)
	p := start(t, api, database, func(c *config) { c.wait = 50 * time.Millisecond })
	api.Inject(clixnowtest.Fault{Delay: time.Second, Status: http.StatusUnauthorized, Times: 1})

	got := send(t, "POST", p.public+"/signups", asJSON, leadJSON("slow", "slow@example.com"))
	require.Equal(t, http.StatusAccepted, got.code, got.body)
	statusURL := got.json(t)["statusUrl"]
	assert.Equal(t, map[string]string{"status": "pending", "statusUrl": statusURL}, got.json(t))
	assert.Equal(t, statusURL, got.header.Get("Location"))

	page := send(t, "GET", p.public+statusURL, "", "", "Accept", "text/html")
	assert.Equal(t, http.StatusAccepted, page.code)
	assert.Contains(t, page.body, `content="2; url=`+statusURL)

	eventually(t, func() bool { return send(t, "GET", p.public+statusURL, "", "").code == http.StatusOK })
	assert.Contains(t, send(t, "GET", p.public+statusURL, "", "").json(t)["redirectUrl"], "/autologin?token=")
	assert.Equal(t, http.StatusSeeOther, send(t, "GET", p.public+statusURL, "", "", "Accept", "text/html").code)
	assert.Equal(t, http.StatusNotFound, send(t, "GET", p.public+"/signups/guess", "", "").code)
	require.Len(t, api.Leads(), 1)
	assert.Contains(t, p.log.String(), "outcome=refused reason=access", "after a 401 the lead is retried")
}

func testAdmin(t *testing.T, database string) {
	t.Helper()
	api := newFakeAPI(t)
	p := start(t, api, database, nil)
	const country = `{"message":"Registration is not allowed for country CH"}`
	api.Inject(clixnowtest.Fault{Method: "POST", Status: http.StatusBadRequest, Body: country})
	got := send(t, "POST", p.public+"/signups", asJSON, leadJSON("c", "c@example.com"))
	require.Equal(t, http.StatusUnprocessableEntity, got.code)
	assert.Equal(t, "Sign-ups from your country are not accepted.", got.json(t)["problem"])

	page := send(t, "GET", p.admin+"/?status=refused", "", "")
	assert.Contains(t, page.body, "c@example.com")
	assert.Contains(t, page.body, "not allowed for country CH")
	path := regexp.MustCompile(`/signups/\w+`).FindString(page.body)
	require.NotEmpty(t, path)
	details := send(t, "GET", p.admin+path, "", "")
	assert.Contains(t, details.body, "Retry now")
	assert.NotContains(t, details.body, "give-up")

	got = send(t, "POST", p.admin+path+"/retry", asForm, "", "Origin", "https://evil.example")
	assert.Equal(t, http.StatusForbidden, got.code)
	got = send(t, "POST", p.admin+path+"/give-up", asForm, "", "Origin", p.admin)
	assert.Equal(t, http.StatusConflict, got.code)
	got = send(t, "POST", p.admin+path+"/retry", asForm, "password=Another1!", "Origin", p.admin)
	require.Equal(t, http.StatusSeeOther, got.code, got.body)
	assert.Equal(t, path, got.header.Get("Location"))
	eventually(t, func() bool { return len(api.Leads()) == 1 })
	requests := api.Requests()
	assert.Contains(t, string(requests[len(requests)-1].Body), "Another1!")

	eventually(t, func() bool {
		return send(t, "GET", p.admin+"/healthz", "", "").body ==
			`{"doubtful":0,"oldestPendingSeconds":0,"pending":0,"refused":0,"registered":1,"status":"ok"}`+"\n"
	})
	got = send(t, "POST", p.admin+path+"/retry", asForm, "")
	assert.Equal(t, http.StatusConflict, got.code)
	numbers := send(t, "GET", p.admin+"/metrics", "", "").body
	for _, want := range []string{
		`outbox_signups{status="registered"} 1`, `outbox_signups{status="pending"} 0`,
		`outbox_oldest_seconds{status="pending"} 0`,
		`outbox_tries_total{outcome="refused",reason="country"} 1`,
		`outbox_tries_total{outcome="registered",reason=""} 1`,
		`outbox_tries_total{outcome="unknown",reason=""} 0`, `outbox_tries_total{outcome="not sent",reason=""} 0`,
		`outbox_tries_total{outcome="refused",reason="access"} 0`,
	} {
		assert.Contains(t, numbers, want)
	}
	assert.Equal(t, http.StatusNotFound, send(t, "GET", p.public+"/metrics", "", "").code)
	assert.Equal(t, `{"status":"ok"}`+"\n", send(t, "GET", p.public+"/healthz", "", "").body,
		"the public endpoint shows no numbers")
	for _, secret := range []string{password, "Another1!", "autologin"} {
		for _, shown := range []string{"/?status=registered", path} {
			assert.NotContains(t, send(t, "GET", p.admin+shown, "", "").body, secret)
		}
		assert.NotContains(t, p.log.String(), secret)
	}
}
