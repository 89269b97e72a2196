package page_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	_ "modernc.org/sqlite"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app/apptest"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/gateway/page"
	"github.com/clixnow/clixnow-go/router"
	"github.com/clixnow/clixnow-go/store/outbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is the site over an outbox, a fake brand behind it, and a visitor.
type fixture struct {
	*testing.T
	fake    *clixnowtest.Server
	db      *sql.DB
	outbox  *outbox.Outbox
	opts    page.Options
	wait    time.Duration
	url     string
	log     apptest.Output
	visitor http.Client
}

// newFixture returns a fixture whose outbox does not work yet.
func newFixture(t *testing.T, change ...func(*page.Options)) *fixture {
	t.Helper()
	f := &fixture{T: t, fake: clixnowtest.NewServer(), wait: time.Minute}
	t.Cleanup(f.fake.Close)
	logger := slog.New(slog.NewTextHandler(&f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	client := f.fake.Client(clixnow.WithLogger(logger), clixnow.WithLooks(10*time.Millisecond))
	t.Cleanup(client.CloseIdleConnections)
	var err error
	f.db, err = sql.Open("sqlite", outbox.SQLiteAddress(filepath.Join(t.TempDir(), "signups.db")))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, f.db.Close()) })
	f.outbox, err = outbox.Open(t.Context(), f.db, outbox.SQLite,
		outbox.Options{Routes: []router.Route{{Client: client}}, Logger: logger})
	require.NoError(t, err)
	f.opts = page.Options{
		Add: func(ctx context.Context, req clixnow.CreateLeadRequest) (*outbox.Signup, error) {
			return f.outbox.Add(ctx, req)
		},
		Wait: func(ctx context.Context, id string) (*outbox.Signup, error) {
			ctx, cancel := context.WithTimeout(ctx, f.wait)
			defer cancel()
			return f.outbox.Wait(ctx, id)
		},
		ByToken: f.outbox.ByToken, Countries: []string{"CH", "DE", "FR"}, Address: connectedFrom,
		DemoOrigins: []string{f.fake.URL}, Log: logger,
	}
	for _, change := range change {
		change(&f.opts)
	}
	site, err := page.New(f.opts)
	require.NoError(t, err)
	server := httptest.NewServer(site.Handler())
	t.Cleanup(server.Close)
	f.url = server.URL
	transport := new(http.Transport)
	t.Cleanup(transport.CloseIdleConnections)
	f.visitor = http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return f
}

func connectedFrom(r *http.Request) netip.Addr {
	address, _ := netip.ParseAddrPort(r.RemoteAddr) // the zero value is not sent
	return address.Addr()
}

// work lets the outbox work until the end of the test.
func (f *fixture) work() {
	ctx, stop := context.WithCancel(context.WithoutCancel(f.Context()))
	ended := make(chan error, 1)
	go func() { ended <- f.outbox.Work(ctx) }()
	f.Cleanup(func() {
		stop()
		if err := <-ended; err != nil { // it was stopped before it began
			assert.ErrorIs(f, err, context.Canceled)
		}
	})
}

func working(t *testing.T, change ...func(*page.Options)) *fixture {
	t.Helper()
	f := newFixture(t, change...)
	f.work()
	return f
}

// forget deletes all sign-ups and leads, so that a test can go on with the next
// case. A new fixture takes much longer.
func (f *fixture) forget() {
	f.Helper()
	_, err := f.db.ExecContext(f.Context(), "DELETE FROM outbox_signups")
	require.NoError(f, err)
	for _, lead := range f.fake.Leads() {
		require.NoError(f, f.fake.DeleteLead(lead.ID))
	}
}

type reply struct {
	*http.Response
	body string
}

func (f *fixture) get(path string) reply { return f.do(http.MethodGet, path, nil) }

func (f *fixture) post(values url.Values, headers ...[2]string) reply {
	return f.do(http.MethodPost, "/", strings.NewReader(values.Encode()), headers...)
}

func (f *fixture) do(method, path string, body io.Reader, headers ...[2]string) reply {
	f.Helper()
	r, err := http.NewRequestWithContext(f.Context(), method, f.url+path, body)
	if !assert.NoError(f, err) {
		return reply{Response: new(http.Response)}
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, header := range headers {
		r.Header.Set(header[0], header[1])
	}
	response, err := f.visitor.Do(r)
	if !assert.NoError(f, err) {
		return reply{Response: new(http.Response)}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	assert.NoError(f, err)
	return reply{response, string(text)}
}

// visit opens the form, and returns it as Allison fills it in.
func (f *fixture) visit(query string) url.Values {
	f.Helper()
	return f.get("/" + query).filled(nil)
}

// filled returns the hidden fields of a page with Allison's values, of which
// typed replaces some.
func (r reply) filled(typed url.Values) url.Values {
	values := r.hidden()
	maps.Copy(values, url.Values{
		"firstName": {"Allison "}, "lastName": {"Brown"}, "email": {"allison.brown@example.com"},
		"phone": {"+41 79 555 01 02"}, "countryCode": {"CH"}, "acceptTermsAndConditions": {"yes"},
	})
	maps.Copy(values, typed)
	return values
}

func (r reply) hidden() url.Values {
	values := make(url.Values)
	hidden := regexp.MustCompile(`type="hidden" name="([^"]*)" value="([^"]*)"`)
	for _, match := range hidden.FindAllStringSubmatch(r.body, -1) {
		values.Set(match[1], html.UnescapeString(match[2]))
	}
	return values
}

// action returns the path to which the form of a page is sent.
func (r reply) action() string {
	match := regexp.MustCompile(`action="([^"]*)"`).FindStringSubmatch(r.body)
	return r.Request.URL.ResolveReference(mustParse(html.UnescapeString(match[1]))).RequestURI()
}

func mustParse(address string) *url.URL {
	parsed, err := url.Parse(address)
	if err != nil {
		panic(err)
	}
	return parsed
}

// sent returns the body of the last create that the brand received.
func (f *fixture) sent() map[string]string {
	f.Helper()
	body := make(map[string]any)
	for _, request := range slices.Backward(f.fake.Requests()) {
		if request.Method == http.MethodPost {
			require.NoError(f, json.Unmarshal(request.Body, &body))
			break
		}
	}
	texts := make(map[string]string)
	for name, value := range body {
		texts[name] = fmt.Sprint(value)
	}
	return texts
}

// assertNothingLeaks checks that the page, the log and the database have no
// secrets, and that the log has no data of the visitor.
func (f *fixture) assertNothingLeaks(r reply) {
	f.Helper()
	logged := f.log.String()
	for _, text := range []string{
		"Allison", "Brown", "allison.brown@example.com", "79555", "79 555", "127.0.0.1",
		f.fake.Token, "broker.example", "autologin",
	} {
		assert.NotContains(f, logged, text)
	}
	if password := f.sent()["password"]; password != "" {
		assert.NotContains(f, logged, password)
		assert.NotContains(f, r.body, password)
	}
	assert.NotContains(f, r.body, "broker.example")
	assert.NotContains(f, r.body, "autologin")
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	const thanks = "<h1>Thank you, you are signed up</h1>"
	tests := map[string]struct {
		faults []clixnowtest.Fault
		// typed replaces some of Allison's values.
		typed    url.Values
		status   int
		location string
		page     []string
		// absent must not be in the page. It is not checked if it is "".
		absent string
		leads  int
	}{
		"registered": {status: http.StatusSeeOther, location: "http://127.0.0.1:", leads: 1},
		"registered, but the response was lost": {
			faults: []clixnowtest.Fault{{Method: "POST", Drop: clixnowtest.DropAfterHandling}},
			status: http.StatusOK, page: []string{thanks}, leads: 1,
		},
		"registered, and the redirect URL is https": {
			faults: []clixnowtest.Fault{{Status: 200, Body: `{"leadId":7,"redirectUrl":"https://broker.example/"}`}},
			status: http.StatusSeeOther, location: "https://broker.example/",
		},
		"registered, but the redirect URL leads to another port of this machine": {
			faults: []clixnowtest.Fault{{Status: 200, Body: `{"leadId":7,"redirectUrl":"http://127.0.0.1:1/"}`}},
			status: http.StatusOK, page: []string{thanks},
		},
		"empty or invalid fields": {
			typed: url.Values{
				"firstName": {" "}, "lastName": {"\u00a0\u200e"}, "email": {"allison"}, "phone": {""},
				"countryCode": {""}, "acceptTermsAndConditions": {""},
			},
			status: http.StatusUnprocessableEntity, absent: "acceptPromotions invalid",
			page: []string{
				"<title>Error: Create your account</title>",
				`<li><a href="#firstName">Enter your first name</a></li>`,
				`<li><a href="#lastName">Enter your last name</a></li>`,
				`<li><a href="#email">Enter an email address like name@example.com</a></li>`,
				`<li><a href="#phone">Enter your phone number</a></li>`,
				`<li><a href="#countryCode">Choose your country</a></li>`,
				`<li><a href="#acceptTermsAndConditions">Accept the terms and conditions</a></li>`,
				`acceptTermsAndConditions invalid"`,
				`role="alert" tabindex="-1" autofocus`,
				`value="allison" autocapitalize="none" spellcheck="false" dir="ltr" aria-invalid="true"` +
					` aria-describedby="email-problem"`,
				`<p class="problem" id="email-problem">`,
				`aria-invalid="true" aria-describedby="phone-hint phone-problem"`,
			},
		},
		"values are kept after a mistake": {
			typed:  url.Values{"phone": {"12 <3"}, "acceptPromotions": {"yes"}},
			status: http.StatusUnprocessableEntity,
			page: []string{
				`<span class="visually-hidden">Error: </span>Enter a phone number with its country code`,
				`value="Allison"`, `value="Brown"`, `value="allison.brown@example.com"`, `value="12 &lt;3"`,
				`value="CH" selected`, `name="acceptTermsAndConditions" type="checkbox" value="yes" checked>`,
				`name="acceptPromotions" type="checkbox" value="yes" checked>`,
			},
		},
		"too long": {
			typed:  url.Values{"firstName": {strings.Repeat("é", 201)}},
			status: http.StatusUnprocessableEntity, page: []string{`<a href="#firstName">Enter a shorter text</a>`},
		},
		"country that the form does not have": {
			typed:  url.Values{"countryCode": {"US"}},
			status: http.StatusUnprocessableEntity, page: []string{`<a href="#countryCode">Choose your country</a>`},
		},
		"fields that the brand refuses": {
			faults: []clixnowtest.Fault{{Status: 400, Body: `{"errors":{"Phone":["Not a <phone> number."]}}`}},
			status: http.StatusUnprocessableEntity, absent: "Not a",
			page: []string{
				"Our partner cannot accept these details", `value="Allison"`, `value="&#43;41 79 555 01 02"`,
				`value="CH" selected`, `type="checkbox" value="yes" checked>`,
			},
		},
		"duplicate": {
			faults: []clixnowtest.Fault{{Status: 400, Body: `{"message":"Duplicate lead"}`}},
			status: http.StatusUnprocessableEntity,
			page: []string{
				"<li>This email address or phone number is already registered. You do not need to sign up again.</li>",
			},
		},
		"country that the brand refuses": {
			faults: []clixnowtest.Fault{{
				Status: 400, Body: `{"message":"Registration is not allowed for country CH"}`,
			}},
			status: http.StatusUnprocessableEntity,
			page: []string{
				`<li><a href="#countryCode">We are sorry: people from this country cannot sign up here</a></li>`,
				`id="countryCode-problem"`,
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := working(t)
			f.fake.Inject(test.faults...)
			values := f.visit("?subcampaign=autumn")
			maps.Copy(values, test.typed)
			reply := f.post(values)
			assert.Equal(t, test.status, reply.StatusCode)
			assert.True(t, strings.HasPrefix(reply.Header.Get("Location"), test.location))
			assert.Equal(t, test.location == "", reply.Header.Get("Location") == "")
			for _, text := range test.page {
				assert.Contains(t, reply.body, text)
			}
			if test.absent != "" {
				assert.NotContains(t, reply.body, test.absent)
			}
			assert.Len(t, f.fake.Leads(), test.leads)
			f.assertNothingLeaks(reply)
		})
	}
}

// TestTrackingIsKept is about visitors who make several mistakes, open the page
// again, and are refused by the brand in between.
func TestTrackingIsKept(t *testing.T) {
	t.Parallel()
	const query = "?a_id=7&subcampaign=autumn&clickid=PAYME1&utm_source=news"
	f := working(t)
	shown := f.get("/" + query)
	for range 3 {
		shown = f.do(http.MethodPost, shown.action(),
			strings.NewReader(shown.filled(url.Values{"email": {"?"}}).Encode()))
		require.Equal(t, http.StatusUnprocessableEntity, shown.StatusCode)
		assert.Contains(t, f.get(shown.action()).hidden().Get("landing"), "clickid=PAYME1", "a reload of the page")
	}
	f.fake.Inject(clixnowtest.Fault{Status: 400, Body: `{"errors":{"Email":["Mailbox unknown."]}}`})
	shown = f.post(shown.filled(nil))
	require.Equal(t, http.StatusUnprocessableEntity, shown.StatusCode)
	require.Equal(t, http.StatusSeeOther, f.post(shown.filled(nil)).StatusCode)
	sent := f.sent()
	assert.Equal(t, "autumn", sent["subCampaign"])
	assert.Equal(t, "PAYME1", sent["clickId"])
	for _, parameter := range []string{"a_id=7", "clickid=PAYME1", "utm_source=news"} {
		assert.Contains(t, sent["referralUrl"], parameter)
	}
}

func TestTracking(t *testing.T) {
	t.Parallel()
	f := working(t)
	long, wide := strings.Repeat("x", 6<<10), strings.Repeat("%C3%A9", 900)
	tests := map[string]struct {
		query string
		// want has the expected values of the create. "" means that the field
		// must not be sent.
		want map[string]string
		// absent must not be in the referral URL. "" is not checked.
		absent string
	}{
		"all fields": {
			query: "?a_id=7&subcampaign=autumn%22&sub2=s&keyword=k&clickid=tracker-1&placement=p&utm_source=news",
			want: map[string]string{
				"subCampaign": `autumn"`, "sub2": "s", "keyword": "k", "clickId": "tracker-1", "placement": "p",
				"referralUrl": "/?utm_source=news&a_id=7&subcampaign=autumn%22&sub2=s&keyword=k&clickid=tracker-1" +
					"&placement=p",
			},
		},
		"no query": {want: map[string]string{"subCampaign": "", "referralUrl": "/"}},
		"broken": {
			query: "?subcampaign=%FF&keyword=%zz&sub2=s",
			want:  map[string]string{"subCampaign": "", "keyword": "", "sub2": "s"},
		},
		"NUL": {
			query: "?subcampaign=a%00&clickid=c",
			want:  map[string]string{"subCampaign": "", "clickId": "c"}, absent: "%00",
		},
		"macros":         {query: "?clickid={clickid}&sub2=s", want: map[string]string{"clickId": "", "sub2": "s"}},
		"long fbclid":    {"?fbclid=" + long + "&subcampaign=autumn&clickid=c", wantLong, "fbclid"},
		"fbclid at last": {"?subcampaign=autumn&clickid=c&fbclid=" + long, wantLong, "fbclid"},
		"two long parameters": {
			"?fbclid=" + long + "&subcampaign=autumn&gclid=" + long + "&clickid=c", wantLong, "gclid",
		},
		"long value of a field": {
			"?subcampaign=autumn&clickid=c&keyword=" + long,
			map[string]string{"subCampaign": "autumn", "clickId": "c", "keyword": ""},
			"xxx",
		},
		"click id that no database can hold": {
			"?subcampaign=autumn&clickid=" + long, map[string]string{"subCampaign": "autumn", "clickId": ""}, "xxx",
		},
		"long values of all fields": {
			"?subcampaign=" + wide + "&sub2=" + wide + "&keyword=" + wide + "&placement=" + wide + "&clickid=" + wide,
			map[string]string{"subCampaign": strings.Repeat("é", 900), "clickId": strings.Repeat("é", 900)},
			"sub2",
		},
		"many parameters": {
			"?subcampaign=autumn&clickid=c&" + strings.Repeat("p=1&", 2000), wantLong, "p=1",
		},
	}
	for name, test := range tests {
		t.Log(name)
		f.forget()
		mistaken := f.post(f.get("/" + test.query).filled(url.Values{"email": {""}}))
		require.Equal(t, http.StatusUnprocessableEntity, mistaken.StatusCode)
		require.Equal(t, http.StatusSeeOther, f.post(mistaken.filled(nil)).StatusCode)
		sent := f.sent()
		for name, want := range test.want {
			switch {
			case name == "referralUrl":
				want = f.url + want
			case name == "clickId" && want == "":
				assert.Len(t, sent[name], 26, "the id of the form")
				continue
			}
			assert.Equal(t, want, sent[name], name)
		}
		if test.absent != "" {
			assert.NotContains(t, sent["referralUrl"], test.absent)
		}
		assert.Equal(t, "127.0.0.1", sent["ipAddress"])
		assert.Equal(t, "+41795550102", sent["phone"])
		assert.Equal(t, "EN", sent["languageCode"])
	}
}

var wantLong = map[string]string{"subCampaign": "autumn", "clickId": "c"}

// TestTamperedForm sends what the form does not.
func TestTamperedForm(t *testing.T) {
	t.Parallel()
	f := working(t)
	long := strings.Repeat("x", 5000)
	tests := map[string]struct {
		typed url.Values
		want  int
	}{
		"landing with a line break": {
			url.Values{"landing": {"/?subcampaign=autumn#@evil.example/\x00\r\n"}}, http.StatusSeeOther,
		},
		"landing that is a script": {url.Values{"landing": {"javascript:alert(1)"}}, http.StatusSeeOther},
		"no landing, no form":      {url.Values{"landing": {""}, "form": {""}}, http.StatusSeeOther},
		"long id":                  {url.Values{"form": {long}}, http.StatusSeeOther},
		"id with NUL":              {url.Values{"form": {"a\x00"}}, http.StatusSeeOther},
		"id that is not UTF-8":     {url.Values{"form": {"\xff"}}, http.StatusSeeOther},
		"name that is not UTF-8":   {url.Values{"firstName": {"A\xff"}}, http.StatusSeeOther},
		"name of two lines":        {url.Values{"firstName": {"A\r\nB\x00"}}, http.StatusSeeOther},
		"long name":                {url.Values{"lastName": {long}}, http.StatusUnprocessableEntity},
		"long email":               {url.Values{"email": {long + "@example.com"}}, http.StatusUnprocessableEntity},
		"two emails": {
			url.Values{"email": {"a@example.com, b@example.com"}},
			http.StatusUnprocessableEntity,
		},
	}
	for name, test := range tests {
		t.Log(name)
		f.forget()
		values := f.visit("")
		maps.Copy(values, test.typed)
		assert.Equal(t, test.want, f.post(values).StatusCode)
		assert.NotContains(t, f.sent()["referralUrl"], "evil")
		assert.NotContains(t, f.sent()["firstName"], "\n")
	}
}

// TestPhoneSeparators has the ways in which one number is typed.
func TestPhoneSeparators(t *testing.T) {
	t.Parallel()
	f := working(t)
	for name, typed := range map[string]string{
		"no-break space":  "+41\u00a079\u00a0555\u00a001\u00a002",
		"no-break hyphen": "+41\u201179\u2011555\u201101\u201102",
		"en dash":         "+41–79–555–01–02", "tab": "\t+41\t795550102",
		"direction marks": "\u202a+41 79 555 01 02\u202c",
		"national":        "079 555 01 02", "zero in parentheses": "+41 (0)79 555 01 02", "00": "0041 79 555 01 02",
	} {
		t.Log(name)
		f.forget()
		values := f.visit("")
		values.Set("phone", typed)
		require.Equal(t, http.StatusSeeOther, f.post(values).StatusCode)
		assert.Equal(t, "+41795550102", f.sent()["phone"])
	}
}

// TestRedirect has redirect URLs to which a visitor must not be sent.
func TestRedirect(t *testing.T) {
	t.Parallel()
	site, err := page.New(page.Options{DemoOrigins: []string{"http://127.0.0.1:4711"}})
	require.NoError(t, err)
	for address, isSafe := range map[string]bool{
		"https://broker.example/login?token=1": true, "HTTPS://broker.example/": true,
		"http://127.0.0.1:4711/autologin?token=1": true, "https://broker.example:8443/#a": true,
		"": false, "broker.example/login": false, "//broker.example/login": false, "/login": false, "?token=1": false,
		"http://broker.example/": false, "http://127.0.0.1:4712/": false, "http://127.0.0.1:4711@evil.example/": false,
		"javascript:alert(1)": false, "JavaScript://broker.example/%0aalert(1)": false,
		"data:text/html,hello": false, "ftp://broker.example/": false, "https:broker.example": false,
		"https:///login": false, "https://:443/": false, "https://user@broker.example/": false,
		"https://user:secret@broker.example/": false, "https://broker.example/\r\nSet-Cookie: a=b": false,
		"https://broker.example/\n": false, " https://broker.example/": false, "https://broker\\.example": false,
		"https://broker example/": false, "\x00https://broker.example/": false,
	} {
		t.Run(address, func(t *testing.T) {
			t.Parallel()
			signup := &outbox.Signup{Status: outbox.Registered, RedirectURL: address}
			recorder := httptest.NewRecorder()
			site.Answer(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/signups/x", nil),
				signup, nil)
			assert.Equal(t, isSafe, site.RedirectURL(signup) != "")
			assert.Equal(t, isSafe, recorder.Header().Get("Location") != "")
			if isSafe {
				assert.Equal(t, http.StatusSeeOther, recorder.Code)
				assert.Equal(t, "no-referrer", recorder.Header().Get("Referrer-Policy"))
				return
			}
			assert.Equal(t, http.StatusOK, recorder.Code)
			assert.Contains(t, recorder.Body.String(), "Thank you")
		})
	}
}

func TestDoubleClick(t *testing.T) {
	t.Parallel()
	f := working(t)
	f.fake.Inject(clixnowtest.Fault{Method: "POST", HandleFirst: true, Delay: 50 * time.Millisecond})
	values := f.visit("")
	const clicks = 10
	replies := make(chan reply, clicks)
	for range clicks {
		go func() { replies <- f.post(values) }()
	}
	for range clicks {
		got := <-replies
		assert.Equal(t, http.StatusSeeOther, got.StatusCode)
		assert.Contains(t, got.Header.Get("Location"), "/autologin?token=")
	}
	assert.Equal(t, http.StatusSeeOther, f.post(values).StatusCode, "a click after the outcome")
	assert.Len(t, f.fake.Requests(), 1)
	assert.Len(t, f.fake.Leads(), 1)
}

func TestFormSentAgain(t *testing.T) {
	t.Parallel()
	t.Run("after a refusal, from the browser's history", func(t *testing.T) {
		t.Parallel()
		f := working(t)
		values := f.visit("")
		f.fake.Inject(clixnowtest.Fault{Status: 400, Body: `{"errors":{"Email":["Mailbox unknown."]}}`})
		require.Equal(t, http.StatusUnprocessableEntity, f.post(values).StatusCode)
		assert.Equal(t, http.StatusSeeOther, f.post(values).StatusCode)
	})
	for name, query := range map[string]string{
		"by another person": "", "by another person, with a tracker": "?clickid=tracker-1&sub2=s",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := working(t)
			bruno := url.Values{
				"firstName": {"Bruno"}, "lastName": {"Costa"}, "email": {"bruno@example.com"},
				"phone": {"+41795550103"},
			}
			form := f.get("/" + query)
			first := f.post(form.filled(nil))
			require.Equal(t, http.StatusSeeOther, first.StatusCode)
			taken := f.post(form.filled(bruno))
			require.Equal(t, http.StatusConflict, taken.StatusCode, "he must not be logged in as Allison")
			assert.Contains(t, taken.body, "If you are another person, create your account now.")
			assert.Contains(t, taken.body, `value="Bruno"`)
			assert.NotContains(t, taken.body, "Allison")
			second := f.post(taken.filled(bruno))
			require.Equal(t, http.StatusSeeOther, second.StatusCode)
			assert.NotEqual(t, first.Header.Get("Location"), second.Header.Get("Location"))
			leads := f.fake.Leads()
			require.Len(t, leads, 2)
			assert.NotEqual(t, leads[0].ClickID, leads[1].ClickID)
			assert.Equal(t, leads[0].Sub2, leads[1].Sub2)
		})
	}
	t.Run("without its id", func(t *testing.T) {
		t.Parallel()
		f := working(t)
		values := f.visit("")
		values.Del("form")
		require.Equal(t, http.StatusSeeOther, f.post(values).StatusCode)
		assert.Equal(t, http.StatusUnprocessableEntity, f.post(values).StatusCode,
			"it must not get the login link of the first sign-up")
	})
}

// postAndWait posts a form that is not registered soon, and returns the page
// that the browser then shows.
func (f *fixture) postAndWait(values url.Values) reply {
	f.Helper()
	f.wait = time.Millisecond
	posted := f.post(values)
	require.Equal(f, http.StatusSeeOther, posted.StatusCode)
	location := posted.Header.Get("Location")
	require.Regexp(f, `^registration/[^/]+$`, location, "relative, for a proxy that serves it at another path")
	shown := f.get("/" + location)
	require.Equal(f, http.StatusAccepted, shown.StatusCode)
	return shown
}

func TestVisitorWaits(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	waiting := f.postAndWait(f.visit(""))
	assert.Equal(t, "2", waiting.Header.Get("Refresh"))
	assert.Contains(t, waiting.body, "Please do not sign up again.")
	assert.Contains(t, waiting.body, `href="`)
	assert.Equal(t, "no-store", waiting.Header.Get("Cache-Control"))
	path := waiting.Request.URL.Path
	for name, wrong := range map[string]string{
		"guessed": "/registration/guess", "changed": path + "x", "NUL": "/registration/%00",
		"long": path + strings.Repeat("x", 9000),
	} {
		stranger := f.get(wrong)
		assert.Equal(t, http.StatusNotFound, stranger.StatusCode, name)
		assert.Contains(t, stranger.body, "There is no registration to show", name)
	}
	assert.Empty(t, waiting.Cookies())

	f.work()
	var redirect reply
	require.Eventually(t, func() bool {
		redirect = f.get(path)
		return redirect.StatusCode == http.StatusSeeOther
	}, time.Minute, 10*time.Millisecond)
	assert.Contains(t, redirect.Header.Get("Location"), "/autologin?token=")
}

// TestRefreshSlowsDown checks that visitors of a long outage do not ask every
// two seconds.
func TestRefreshSlowsDown(t *testing.T) {
	t.Parallel()
	site, err := page.New(page.Options{})
	require.NoError(t, err)
	for age, want := range map[time.Duration]string{
		0: "2", 10 * time.Second: "2", 100 * time.Second: "10", time.Hour: "60", 48 * time.Hour: "60", -time.Hour: "2",
	} {
		recorder := httptest.NewRecorder()
		site.Answer(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/signups", nil),
			&outbox.Signup{Status: outbox.Pending, CreatedAt: time.Now().Add(-age), Token: "a.b"}, nil)
		assert.Equal(t, want+"; url=signups/a.b", recorder.Header().Get("Refresh"), age)
		assert.Equal(t, age >= time.Hour, strings.Contains(recorder.Body.String(), "longer than usual"))
	}
}

func TestVisitorWaitsForRefusal(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.fake.Inject(clixnowtest.Fault{Status: 400, Body: `{"errors":{"Email":["Mailbox unknown."]}}`})
	waiting := f.postAndWait(f.visit("?sub2=banner&clickid=c&f_id=9"))
	f.work()
	var refused reply
	require.Eventually(t, func() bool {
		refused = f.get(waiting.Request.URL.Path)
		return refused.StatusCode == http.StatusUnprocessableEntity
	}, time.Minute, 10*time.Millisecond)
	for _, text := range []string{
		"Our partner cannot accept these details", `value="Allison"`, `value="&#43;41795550102"`, `value="CH" selected`,
		`id="acceptTermsAndConditions" name="acceptTermsAndConditions" type="checkbox" value="yes" checked`,
	} {
		assert.Contains(t, refused.body, text)
	}
	assert.Equal(t, "/?f_id=9&sub2=banner&clickid=c", refused.action())
	f.wait = time.Minute
	require.Equal(t, http.StatusSeeOther, f.post(refused.filled(nil)).StatusCode)
	assert.Equal(t, "banner", f.sent()["sub2"])
	assert.Equal(t, "c", f.sent()["clickId"])
	assert.Contains(t, f.sent()["referralUrl"], "f_id=9")
}

// TestCorrectedEmailReplacesWaitingSignUp is about a visitor who sees a typo
// while the sign-up waits.
func TestCorrectedEmailReplacesWaitingSignUp(t *testing.T) {
	t.Parallel()
	corrected := url.Values{"email": {"right@example.com"}}
	for name, back := range map[string]func(f *fixture, form, waiting reply) url.Values{
		"by the button Back": func(_ *fixture, form, _ reply) url.Values { return form.filled(corrected) },
		"by the link of the page": func(f *fixture, _, waiting reply) url.Values {
			link := regexp.MustCompile(`href="([^"]*correct)"`).FindStringSubmatch(waiting.body)
			require.NotNil(f, link)
			shown := f.get(waiting.Request.URL.ResolveReference(mustParse(link[1])).Path)
			require.Equal(f, http.StatusOK, shown.StatusCode)
			assert.Contains(f, shown.body, `value="wrong@example.com"`)
			assert.Equal(f, "/?subcampaign=autumn", shown.action())
			return shown.filled(corrected)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			form := f.get("/?subcampaign=autumn")
			waiting := f.postAndWait(form.filled(url.Values{"email": {"wrong@example.com"}}))
			again := f.postAndWait(back(f, form, waiting))
			assert.Equal(t, http.StatusNotFound, f.get(waiting.Request.URL.Path).StatusCode)
			f.work()
			require.Eventually(t, func() bool {
				return f.get(again.Request.URL.Path).StatusCode == http.StatusSeeOther
			}, time.Minute, 10*time.Millisecond)
			leads := f.fake.Leads()
			require.Len(t, leads, 1)
			assert.Equal(t, "right@example.com", leads[0].Email)
			assert.Equal(t, "autumn", leads[0].SubCampaign)
			late := f.get(again.Request.URL.Path + "/correct")
			assert.Equal(t, http.StatusSeeOther, late.StatusCode, "there is nothing to correct")
		})
	}
}

func TestVisitorLeaves(t *testing.T) {
	t.Parallel()
	saved := make(chan struct{})
	f := newFixture(t, func(opts *page.Options) {
		add := opts.Add
		opts.Add = func(ctx context.Context, req clixnow.CreateLeadRequest) (*outbox.Signup, error) {
			saved <- struct{}{}
			<-saved
			return add(ctx, req)
		}
	})
	values := f.visit("")
	ctx, leave := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url, strings.NewReader(values.Encode()))
		if err == nil {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			_, err = f.visitor.Do(r) //nolint:bodyclose // there is no response
		}
		gone <- err
	}()
	<-saved
	leave()
	require.ErrorIs(t, <-gone, context.Canceled)
	saved <- struct{}{}
	f.work()
	require.Eventually(t, func() bool { return len(f.fake.Leads()) == 1 }, time.Minute, 10*time.Millisecond)
}

// TestAddRefuses checks that the visitor learns what the gateway refuses.
func TestAddRefuses(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(opts *page.Options) {
		opts.Add = func(context.Context, clixnow.CreateLeadRequest) (*outbox.Signup, error) {
			return nil, &clixnow.ValidationError{Fields: []clixnow.FieldError{
				{Field: "countryCode", Code: "country_not_accepted"}, {Field: "comment", Code: "new"},
			}}
		}
	})
	refused := f.post(f.visit(""))
	assert.Equal(t, http.StatusUnprocessableEntity, refused.StatusCode)
	assert.Contains(t, refused.body,
		`<a href="#countryCode">We are sorry: people from this country cannot sign up here</a>`)
	assert.Contains(t, refused.body, "<li>Enter another value</li>", "the text for a code that has none")
}

func TestDatabaseFails(t *testing.T) {
	t.Parallel()
	fails := true
	f := working(t, func(opts *page.Options) {
		add := opts.Add
		opts.Add = func(ctx context.Context, req clixnow.CreateLeadRequest) (*outbox.Signup, error) {
			if fails {
				return nil, fmt.Errorf("%w: disk full", outbox.ErrDatabase)
			}
			return add(ctx, req)
		}
	})
	failed := f.post(f.visit("?clickid=c"))
	assert.Equal(t, http.StatusServiceUnavailable, failed.StatusCode)
	assert.Equal(t, "5", failed.Header.Get("Retry-After"))
	assert.Contains(t, failed.body, "This never signs you up twice.")
	assert.Contains(t, failed.body, `value="Allison"`)
	assert.Contains(t, f.log.String(), "disk full")
	fails = false
	assert.Equal(t, http.StatusSeeOther, f.post(failed.filled(nil)).StatusCode)
	assert.Equal(t, "c", f.sent()["clickId"])
}

func TestHardening(t *testing.T) {
	t.Parallel()
	f := working(t)
	values := f.visit("")
	form, mistaken := f.get("/"), f.post(url.Values{})
	pages := map[string]reply{"form": form, "mistakes": mistaken, "not found": f.get("/registration/x")}
	for name, shown := range pages {
		assert.Equal(t, "same-origin", shown.Header.Get("Referrer-Policy"), name)
		assert.Equal(t, "nosniff", shown.Header.Get("X-Content-Type-Options"), name)
		assert.Equal(t, "DENY", shown.Header.Get("X-Frame-Options"), name)
		policy := shown.Header.Get("Content-Security-Policy")
		assert.Contains(t, policy, "default-src 'none'; style-src 'sha256-", name)
		assert.Contains(t, policy, "frame-ancestors 'none'; base-uri 'none'; form-action 'self' https: "+f.fake.URL,
			name)
		assert.NotContains(t, policy, "unsafe", name)
		assert.NotContains(t, shown.body, "<script", name)
		assert.NotContains(t, shown.body, "style=", name)
		assert.Empty(t, shown.Cookies(), name)
	}
	assert.Equal(t, "private, no-cache", form.Header.Get("Cache-Control"), "the button Back shows the same form")
	assert.Equal(t, "no-store", mistaken.Header.Get("Cache-Control"))
	assert.Equal(t, http.StatusNotFound, f.get("/pages.html").StatusCode)
	assert.Equal(t, http.StatusMethodNotAllowed, f.do(http.MethodPut, "/", nil).StatusCode)

	for name, header := range map[string][2]string{
		"cross-site":   {"Sec-Fetch-Site", "cross-site"},
		"other origin": {"Origin", "https://evil.example"},
		"no origin":    {"Origin", "null"},
	} {
		refused := f.post(values, header)
		assert.Equal(t, http.StatusForbidden, refused.StatusCode, name)
		assert.Contains(t, refused.body, "This form cannot be used from here", name)
	}
	assert.Empty(t, f.fake.Leads())
	assert.Equal(t, http.StatusSeeOther, f.post(values, [2]string{"Origin", f.url}).StatusCode)

	values.Set("firstName", strings.Repeat("x", 70_000))
	long := f.post(values)
	assert.Equal(t, http.StatusRequestEntityTooLarge, long.StatusCode)
	assert.Contains(t, long.body, "You are not signed up yet")
	unreadable := f.do(http.MethodPost, "/", strings.NewReader("email=%zz"))
	assert.Equal(t, http.StatusBadRequest, unreadable.StatusCode)
	assert.Contains(t, unreadable.body, "We could not read the form")
	assert.Len(t, f.fake.Leads(), 1)
}

// TestHostileValues checks that what a link or a visitor wrote is text on the
// form, and neither HTML nor an address to which the form is sent.
func TestHostileValues(t *testing.T) {
	t.Parallel()
	f := working(t)
	const hostile = `"'></form><script>alert(1)</script>`
	query := "/?" + url.Values{"clickid": {hostile}, "subcampaign": {hostile}, hostile: {hostile}}.Encode()
	pages := []reply{f.get(query), f.get("/registration/" + url.PathEscape(hostile))}
	for _, landing := range []string{
		hostile, "javascript:alert(1)//" + query, "//evil.example" + query, "https://evil.example/", "data:text/html,x",
	} {
		values := pages[0].filled(url.Values{"landing": {landing}, "form": {hostile}, "email": {hostile}})
		for name := range values {
			if name != "landing" {
				values[name] = []string{hostile}
			}
		}
		pages = append(pages, f.post(values))
		assert.Equal(t, http.StatusUnprocessableEntity, pages[len(pages)-1].StatusCode)
	}
	for _, shown := range pages {
		assert.NotContains(t, shown.body, "<script")
		assert.NotContains(t, shown.body, hostile)
		if strings.Contains(shown.body, "action=") {
			assert.True(t, strings.HasPrefix(shown.action(), "/?") || shown.action() == "/", shown.action())
			assert.Regexp(t, `action="\./`, shown.body, "the form is sent to this site")
		}
	}
	assert.Empty(t, f.fake.Leads())
}

// TestReferralURLBehindProxy checks that the brand gets the URL that the
// visitor has opened.
func TestReferralURLBehindProxy(t *testing.T) {
	t.Parallel()
	f := working(t)
	for name, test := range map[string]struct {
		headers [][2]string
		want    string
	}{
		"scheme and host": {
			[][2]string{{"X-Forwarded-Proto", "https"}, {"X-Forwarded-Host", "go.example"}},
			"https://go.example/?sub2=s",
		},
		"scheme":      {[][2]string{{"X-Forwarded-Proto", "https"}, {"Host", "x"}}, "https://127.0.0.1"},
		"broken host": {[][2]string{{"X-Forwarded-Host", "a b, c"}}, ""},
	} {
		t.Log(name)
		f.forget()
		form := f.do(http.MethodGet, "/?sub2=s", nil, test.headers...)
		require.Equal(t, http.StatusSeeOther, f.post(form.filled(nil)).StatusCode)
		assert.True(t, strings.HasPrefix(f.sent()["referralUrl"], test.want), f.sent()["referralUrl"])
		assert.Equal(t, test.want == "", f.sent()["referralUrl"] == "")
		assert.Equal(t, "s", f.sent()["sub2"])
	}
}

func TestDeviceAndAddressAreSent(t *testing.T) {
	t.Parallel()
	f := working(t)
	const iPhone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) " +
		"Version/18.1 Mobile/15E148 Safari/604.1"
	require.Equal(t, http.StatusSeeOther, f.post(f.visit(""), [2]string{"User-Agent", iPhone}).StatusCode)
	sent := f.sent()
	assert.Equal(t, []string{"Mobile", "iPhone", "iOS", "Safari", "127.0.0.1"},
		[]string{sent["deviceType"], sent["deviceName"], sent["osName"], sent["browser"], sent["ipAddress"]})
}
