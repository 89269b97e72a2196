package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOutcomes(t *testing.T) {
	t.Parallel()
	const refusedFields = `{"message":"One or more validation errors occurred.",
		"errors":{"Phone":["Not a <phone> number."],"Comment":["No."]}}`
	tests := map[string]struct {
		faults []clixnowtest.Fault
		// typed replaces some of the values of allison.
		typed    url.Values
		status   int
		location string
		page     []string
		// absent must not be in the page. It is not checked if it is "".
		absent string
		log    []string
		leads  int
	}{
		"registered": {
			status: http.StatusSeeOther, location: "http://127.0.0.1:",
			log: []string{`level=INFO msg=registered`, "lead_id=123456 recovered=false redirected=true"}, leads: 1,
		},
		"registered, but the response was lost": {
			faults: []clixnowtest.Fault{{Method: "POST", Drop: clixnowtest.DropAfterHandling}},
			status: http.StatusOK, page: []string{"<h1>Thank you, you are signed up</h1>"},
			log: []string{"recovered=true redirected=false"}, leads: 1,
		},
		"registered, and the redirect URL is https": {
			faults: []clixnowtest.Fault{{Status: 200, Body: `{"leadId":7,"redirectUrl":"https://broker.example/"}`}},
			status: http.StatusSeeOther, location: "https://broker.example/",
			log: []string{"lead_id=7 recovered=false redirected=true"},
		},
		"registered, but the redirect URL is not https": {
			faults: []clixnowtest.Fault{{Status: 200, Body: `{"leadId":7,"redirectUrl":"http://broker.example/"}`}},
			status: http.StatusOK, page: []string{"<h1>Thank you, you are signed up</h1>"},
			log: []string{"lead_id=7 recovered=false redirected=false"},
		},
		"registered, but the redirect URL leads to another port of this machine": {
			faults: []clixnowtest.Fault{{Status: 200, Body: `{"leadId":7,"redirectUrl":"http://127.0.0.1:1/"}`}},
			status: http.StatusOK, page: []string{"<h1>Thank you, you are signed up</h1>"},
			log: []string{"lead_id=7 recovered=false redirected=false"},
		},
		"empty or invalid fields": {
			typed: url.Values{
				"firstName": {" "}, "lastName": {""}, "email": {"allison"}, "phone": {""}, "countryCode": {""},
				"acceptTermsAndConditions": {""},
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
				`value="allison" autocapitalize="none" spellcheck="false" aria-invalid="true"` +
					` aria-describedby="email-problem"`,
				`<p class="problem" id="email-problem">`,
				`aria-invalid="true" aria-describedby="phone-hint phone-problem"`,
			},
		},
		"field that the API refuses": {
			faults: []clixnowtest.Fault{{Status: 400, Body: refusedFields}},
			status: http.StatusUnprocessableEntity, absent: "No.",
			page: []string{
				`<li><a href="#phone">Not a &lt;phone&gt; number.</a></li>`,
				`id="phone-problem"><span class="visually-hidden">Error: </span>Not a &lt;phone&gt; number.</p>`,
				`value="Allison"`, `value="Brown"`, `value="allison.brown@example.com"`,
				`value="&#43;41 79 555 01 02"`, `value="CH" selected`,
				`name="acceptTermsAndConditions" type="checkbox" value="yes" checked>`,
				`name="acceptPromotions" type="checkbox" value="yes">`,
			},
			log: []string{"level=INFO", "status=400", `fields="[comment phone]"`},
		},
		"field that the form does not have": {
			faults: []clixnowtest.Fault{{Status: 400, Body: `{"errors":{"Comment":["No."]}}`}},
			status: http.StatusServiceUnavailable, page: []string{"This is our fault, not yours"}, absent: "No.",
			log: []string{"level=ERROR", "the visitor cannot correct it", "status=400", "fields=[comment]"},
		},
		"duplicate": {
			faults: []clixnowtest.Fault{{
				Status: 400,
				Body:   `{"message":"Duplicate lead","errors":{"Email":["Email is already registered."]}}`,
			}},
			status: http.StatusUnprocessableEntity,
			page: []string{
				"<li>This email address or phone number is already registered. You do not need to sign up again.</li>",
				`<li><a href="#email">Email is already registered.</a></li>`,
			},
			log: []string{"level=INFO", "duplicate", "outcome=refused reason=duplicate"},
		},
		"country": {
			faults: []clixnowtest.Fault{{
				Status: 400,
				Body:   `{"message":"Registration is not allowed for country CH","errors":{"CountryCode":["No."]}}`,
			}},
			status: http.StatusUnprocessableEntity, absent: "No.",
			page: []string{
				`<li><a href="#countryCode">We are sorry: people from this country cannot sign up here</a></li>`,
				`id="countryCode-problem"`,
			},
			log: []string{"level=WARN", "country refused"},
		},
		"brand that is full": {
			faults: []clixnowtest.Fault{{Status: 400, Body: `{"message":"Daily cap reached"}`}},
			status: http.StatusServiceUnavailable, absent: "Daily cap",
			page: []string{"You are not signed up yet. Please try again later.", `value="Allison"`},
			log:  []string{"level=WARN", "refused for now", "outcome=refused reason=other status=400"},
		},
		"brand that is closed": {
			faults: []clixnowtest.Fault{{Status: 404, Body: `{"message":"No hubs available"}`}},
			status: http.StatusServiceUnavailable,
			page:   []string{"You are not signed up yet. Please try again later.", `value="Allison"`},
			log:    []string{"level=WARN", "refused for now", "outcome=refused reason=other status=404"},
		},
		"wrong token": {
			faults: []clixnowtest.Fault{{Status: 401, Header: http.Header{"X-Request-Id": {"4bf9"}}}},
			status: http.StatusServiceUnavailable,
			page:   []string{"Sign-up is not possible at the moment", `value="Allison"`},
			log:    []string{"level=ERROR", "check CLIXNOW_TOKEN", "reason=access status=401 request_id=4bf9"},
		},
		"redirect": {
			faults: []clixnowtest.Fault{{Status: 302, Header: http.Header{"Location": {"/login"}}}},
			status: http.StatusServiceUnavailable, page: []string{"Sign-up is not possible at the moment"},
			log: []string{"level=ERROR", "status=302"},
		},
		"too many requests": {
			faults: []clixnowtest.Fault{{Status: 429, Header: http.Header{"Retry-After": {"60"}}}},
			status: http.StatusServiceUnavailable, page: []string{"Too many people", "you are not signed up yet"},
			log: []string{"level=WARN", "slow the campaign down", "retry_after=1m0s"},
		},
		"unknown": {
			faults: []clixnowtest.Fault{{Method: "POST", Status: 502, HandleFirst: true}, {Method: "GET", Status: 403}},
			status: http.StatusServiceUnavailable, page: []string{"<h1>We are not sure yet</h1>", "Check again"},
			absent: "invalid",
			log:    []string{"level=ERROR", "search for this click id"}, leads: 1,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
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
			for _, text := range test.log {
				assert.Contains(t, f.log.String(), text)
			}
			assert.Len(t, f.fake.Leads(), test.leads)
			f.assertNothingLeaks(reply)
		})
	}
}

func TestNotSent(t *testing.T) {
	t.Parallel()
	refuse := roundTripper(func(*http.Request) (*http.Response, error) {
		return nil, fmt.Errorf("breaker: %w", clixnow.ErrNotSent)
	})
	f := newFixture(t, clixnow.WithHTTPClient(&http.Client{Transport: refuse}))
	reply := f.post(f.visit(""))
	assert.Equal(t, http.StatusServiceUnavailable, reply.StatusCode)
	assert.Contains(t, reply.body, "We could not reach our partner, so you are not signed up yet.")
	assert.Contains(t, reply.body, `value="Allison"`)
	assert.Contains(t, f.log.String(), "level=ERROR")
	assert.Contains(t, f.log.String(), "the API cannot be reached")
	f.assertNothingLeaks(reply)
}

func TestSecondPost(t *testing.T) {
	t.Parallel()
	t.Run("after an unknown outcome, and the lead is found", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.fake.Inject(clixnowtest.Fault{Method: "POST", Drop: clixnowtest.DropAfterHandling},
			clixnowtest.Fault{Method: "GET", Status: 503, Times: 12})
		unknown := f.post(f.visit("?subcampaign=autumn"))
		require.Contains(t, unknown.body, "Check again")
		checked := f.post(unknown.hidden())
		assert.Contains(t, checked.body, "Thank you, you are signed up")
		assert.Len(t, f.fake.Leads(), 1)
	})
	t.Run("after an unknown outcome, and the lead is not found", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.fake.Inject(clixnowtest.Fault{Method: "POST", Drop: clixnowtest.DropBeforeHandling},
			clixnowtest.Fault{Method: "GET", Status: 503, Times: 12})
		unknown := f.post(f.visit("?subcampaign=autumn"))
		require.Contains(t, unknown.body, "Check again")
		checked := f.post(unknown.hidden())
		assert.Equal(t, http.StatusSeeOther, checked.StatusCode)
		leads := f.fake.Leads()
		require.Len(t, leads, 1)
		assert.Equal(t, "autumn", leads[0].SubCampaign)
	})
	t.Run("after a refusal, from the browser's history", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		values := f.visit("")
		f.fake.Inject(clixnowtest.Fault{Status: 400, Body: `{"message":"Daily cap reached"}`})
		require.Equal(t, http.StatusServiceUnavailable, f.post(values).StatusCode)
		assert.Equal(t, http.StatusSeeOther, f.post(values).StatusCode)
	})
	t.Run("after a refusal that ended the doubt", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		values := f.visit("")
		form := readForm(values)
		failed := &registration{
			form: form, done: make(chan struct{}), err: clixnow.ErrOutcomeUnknown,
			inDoubtSince: time.Now().Add(-time.Hour),
		}
		close(failed.done)
		f.site.registrations.byID[form.id()] = failed
		f.fake.Inject(clixnowtest.Fault{Method: "POST", Status: 400, Body: `{"message":"Daily cap reached"}`})
		require.Equal(t, http.StatusServiceUnavailable, f.post(values).StatusCode)
		before := len(f.fake.Requests())
		assert.Equal(t, http.StatusSeeOther, f.post(values).StatusCode)
		assert.Len(t, f.fake.Requests(), before+1, "nothing was created, so there is no search")
	})
	t.Run("with another email, which is another sign-up", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		values := f.visit("")
		first := f.post(values)
		values.Set("email", "bruno@example.com")
		values.Set("phone", "+41795550103")
		second := f.post(values)
		assert.NotEqual(t, first.Header.Get("Location"), second.Header.Get("Location"))
		leads := f.fake.Leads()
		require.Len(t, leads, 2)
		assert.NotEqual(t, leads[0].ClickID, leads[1].ClickID)
	})
}

func TestDoubleClick(t *testing.T) {
	t.Parallel()
	gate := newGate(t)
	f := newFixture(t, clixnow.WithHTTPClient(&http.Client{Transport: gate}))
	values := f.visit("")
	const clicks = 10
	replies := make(chan reply, clicks)
	for range clicks {
		go func() { replies <- f.post(values) }()
	}
	<-gate.arrived
	close(gate.open)
	for range clicks {
		got := <-replies
		assert.Equal(t, http.StatusSeeOther, got.StatusCode)
		assert.Contains(t, got.Header.Get("Location"), "/autologin?token=")
	}
	assert.Equal(t, http.StatusSeeOther, f.post(values).StatusCode, "a click after the outcome")
	assert.Len(t, f.fake.Requests(), 1)
}

func TestVisitorWaits(t *testing.T) {
	t.Parallel()
	gate := newGate(t)
	f := newFixture(t, clixnow.WithHTTPClient(&http.Client{Transport: gate}))
	f.site.maxWait = time.Millisecond
	for _, waiting := range []reply{f.post(f.visit("")), f.get("/registration")} {
		assert.Equal(t, http.StatusOK, waiting.StatusCode)
		assert.Contains(t, waiting.body, `<meta http-equiv="refresh" content="1; url=registration">`)
		assert.Contains(t, waiting.body, "Please do not sign up again.")
	}
	stranger, err := http.Get(f.url + "/registration") //nolint:noctx // a test's own server on loopback
	require.NoError(t, err)
	require.NoError(t, stranger.Body.Close())
	assert.Equal(t, http.StatusNotFound, stranger.StatusCode)

	close(gate.open)
	var redirect reply
	require.Eventually(t, func() bool {
		redirect = f.get("/registration")
		return redirect.StatusCode == http.StatusSeeOther
	}, time.Minute, time.Millisecond)
	assert.Contains(t, redirect.Header.Get("Location"), "/autologin?token=")
}

func TestVisitorWaitsForRefusal(t *testing.T) {
	t.Parallel()
	gate := newGate(t)
	f := newFixture(t, clixnow.WithHTTPClient(&http.Client{Transport: gate}))
	f.site.maxWait = time.Millisecond
	f.fake.Inject(clixnowtest.Fault{Status: 400, Body: `{"errors":{"Email":["Mailbox unknown."]}}`})
	f.post(f.visit("?sub2=banner"))
	close(gate.open)
	var refused reply
	require.Eventually(t, func() bool {
		refused = f.get("/registration")
		return refused.StatusCode == http.StatusUnprocessableEntity
	}, time.Minute, time.Millisecond)
	assert.Contains(t, refused.body, `<a href="#email">Mailbox unknown.</a>`)
	assert.Contains(t, refused.body, `value="Allison"`)
	assert.Equal(t, "sub2=banner", refused.hidden().Get("tracking"))
}

func TestVisitorLeaves(t *testing.T) {
	t.Parallel()
	gate := newGate(t)
	f := newFixture(t, clixnow.WithHTTPClient(&http.Client{Transport: gate}))
	values := f.visit("")
	ctx, leave := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url, strings.NewReader(values.Encode()))
		if err == nil {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			_, err = f.browser.Do(r) //nolint:bodyclose // there is no response
		}
		gone <- err
	}()
	<-gate.arrived
	leave()
	require.ErrorIs(t, <-gone, context.Canceled)
	close(gate.open)
	require.Eventually(t, func() bool { return len(f.fake.Leads()) == 1 }, time.Minute, time.Millisecond)
	assert.Equal(t, http.StatusSeeOther, f.post(values).StatusCode, "the second POST gets the outcome of the first")
	assert.Len(t, f.fake.Requests(), 1)
}

func TestStopFinishesRegistrations(t *testing.T) {
	t.Parallel()
	gate := newGate(t)
	fake := clixnowtest.NewServer()
	t.Cleanup(fake.Close)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		gate.wait()
		fake.ServeHTTP(w, r)
	}))
	t.Cleanup(api.Close)
	f := &fixture{T: t, fake: fake, browser: newBrowser(t)}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	reader, writer := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		opts := options{addr: "127.0.0.1:0", brand: fake.Brand, token: fake.Token, api: api.URL}
		ended <- run(ctx, opts, writer, slog.New(slog.NewTextHandler(&f.log, nil)))
	}()
	line, err := bufio.NewReader(reader).ReadString('\n')
	require.NoError(t, err)
	address, err := url.Parse(strings.TrimSpace(strings.TrimPrefix(line, "Open ")))
	require.NoError(t, err)
	f.url = "http://" + address.Host

	first := make(chan reply, 1)
	go func() { first <- f.post(f.visit("")) }()
	<-gate.arrived
	stop()
	require.Eventually(t, func() bool { return strings.Contains(f.log.String(), "stopping") }, time.Minute,
		time.Millisecond)
	late := f.visit("")
	late.Set("email", "late@example.com")
	require.Eventually(t, func() bool { return f.post(late).StatusCode == http.StatusServiceUnavailable },
		time.Minute, time.Millisecond)
	close(gate.open)
	assert.Equal(t, http.StatusSeeOther, (<-first).StatusCode)
	require.NoError(t, <-ended)
	assert.Equal(t, "allison.brown@example.com", fake.Leads()[0].Email)
}

func TestRunAgainstFake(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	var out bytes.Buffer
	require.NoError(t, run(ctx, parseFlags([]string{"-addr", "127.0.0.1:0"}), &out, slog.New(slog.DiscardHandler)))
	assert.Contains(t, out.String(), "Open http://127.0.0.1:")
}

func TestRunNeedsToken(t *testing.T) {
	t.Parallel()
	err := run(t.Context(), options{brand: "acme"}, io.Discard, slog.New(slog.DiscardHandler))
	assert.ErrorContains(t, err, "CLIXNOW_TOKEN is not set")
}

func TestRunCannotListen(t *testing.T) {
	t.Parallel()
	err := run(t.Context(), options{addr: "256.0.0.1:0"}, io.Discard, slog.New(slog.DiscardHandler))
	assert.ErrorContains(t, err, "listen for visitors")
}

func TestParseFlags(t *testing.T) {
	t.Setenv("CLIXNOW_TOKEN", "secret")
	opts := parseFlags([]string{
		"-addr", ":80", "-brand", "acme", "-api", "https://api.example.com", "-url", "https://landing.example.com/go",
		"-trusted-proxies", "10.1.2.3/8,::1",
	})
	assert.Equal(t, options{
		addr: ":80", brand: "acme", api: "https://api.example.com", token: "secret",
		url:     url.URL{Scheme: "https", Host: "landing.example.com", Path: "/go"},
		trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")},
	}, opts)
}

func TestTracking(t *testing.T) {
	t.Parallel()
	landing := url.URL{Scheme: "https", Host: "landing.example.com", Path: "/go"}
	tests := map[string]struct {
		url   url.URL
		query string
		// want has the expected values of the create. "" means that the field
		// must not be sent.
		want map[string]string
	}{
		"all fields": {
			landing, "a_id=7&subcampaign=autumn%22&sub2=s&keyword=k&clickid=tracker-1&placement=p&utm_source=news",
			map[string]string{
				"subCampaign": `autumn"`, "sub2": "s", "keyword": "k", "clickId": "tracker-1", "placement": "p",
				"referralUrl": "https://landing.example.com/go?utm_source=news&a_id=7&subcampaign=autumn%22" +
					"&sub2=s&keyword=k&clickid=tracker-1&placement=p",
			},
		},
		"no query": {
			landing, "",
			map[string]string{"subCampaign": "", "referralUrl": "https://landing.example.com/go"},
		},
		"unknown URL of the page": {
			url.URL{},
			"subcampaign=autumn",
			map[string]string{"subCampaign": "autumn", "referralUrl": ""},
		},
		"broken": {
			landing, "subcampaign=%FF&keyword=%zz&sub2=s",
			map[string]string{"subCampaign": "", "keyword": "", "sub2": "s"},
		},
		"too long": {landing, "subcampaign=" + strings.Repeat("x", 5000), map[string]string{"subCampaign": ""}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.site.url = test.url
			require.Equal(t, http.StatusSeeOther, f.post(f.visit("?"+test.query)).StatusCode)
			sent := f.sent()
			for name, want := range test.want {
				assert.Equal(t, want, sent[name], name)
			}
			if test.want["clickId"] == "" {
				assert.Len(t, sent["clickId"], 32)
			}
			assert.Equal(t, "127.0.0.1", sent["ipAddress"])
			assert.Equal(t, "+41795550102", sent["phone"])
			assert.Equal(t, "EN", sent["languageCode"])
		})
	}
}

func TestTamperedTracking(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.site.url = url.URL{Scheme: "https", Host: "landing.example.com"}
	values := f.visit("")
	values.Set("tracking", "subcampaign=autumn#@evil.example/\x00\r\n")
	require.Equal(t, http.StatusSeeOther, f.post(values).StatusCode)
	referral, err := url.Parse(f.sent()["referralUrl"])
	require.NoError(t, err)
	assert.Equal(t, "landing.example.com", referral.Host)
	values.Set("email", "bruno@example.com")
	values.Set("phone", "+41795550103")
	values.Set("tracking", "subcampaign="+strings.Repeat("x", 5000))
	require.Equal(t, http.StatusSeeOther, f.post(values).StatusCode)
	assert.Empty(t, f.fake.Leads()[1].SubCampaign)
}

func TestPostWithoutFormID(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	values := f.visit("")
	values.Del("form")
	require.Equal(t, http.StatusSeeOther, f.post(values).StatusCode)
	assert.Equal(t, http.StatusUnprocessableEntity, f.post(values).StatusCode,
		"it must not get the login link of the first sign-up")
}

func TestHardening(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.site.url = url.URL{Scheme: "https", Host: "landing.example.com"}
	page := f.get("/")
	assert.Equal(t, "no-store", page.Header.Get("Cache-Control"))
	assert.Equal(t, "same-origin", page.Header.Get("Referrer-Policy"))
	assert.Equal(t, "nosniff", page.Header.Get("X-Content-Type-Options"))
	assert.Contains(t, page.Header.Get("Content-Security-Policy"), "default-src 'none'")
	assert.Contains(t, page.Header.Get("Content-Security-Policy"), "form-action 'self' https: "+f.fake.URL)
	assert.NotContains(t, page.body, "<script")
	assert.NotContains(t, page.body, "style=")
	assert.Equal(t, "text/css; charset=utf-8", f.get("/style.css").Header.Get("Content-Type"))
	assert.Equal(t, http.StatusNotFound, f.get("/page.html").StatusCode)
	assert.Equal(t, http.StatusNotFound, f.get("/registration").StatusCode)

	values := f.visit("")
	for name, header := range map[string][2]string{
		"cross-site":   {"Sec-Fetch-Site", "cross-site"},
		"other origin": {"Origin", "https://evil.example"},
		"no origin":    {"Origin", "null"},
	} {
		assert.Equal(t, http.StatusForbidden, f.post(values, header).StatusCode, name)
	}
	own := f.post(values, [2]string{"Origin", f.url})
	assert.Equal(t, http.StatusSeeOther, own.StatusCode)
	cookie := own.Header.Get("Set-Cookie")
	for _, attribute := range []string{"; HttpOnly", "; Secure", "; SameSite=Strict", "; Max-Age=300"} {
		assert.Contains(t, cookie, attribute)
	}
	assert.NotContains(t, cookie, values.Get("form"))

	values.Set("firstName", strings.Repeat("x", 20_000))
	long := f.post(values)
	assert.Equal(t, http.StatusRequestEntityTooLarge, long.StatusCode)
	assert.Contains(t, long.body, "You are not signed up yet")
	assert.Len(t, f.fake.Leads(), 1)
}

func TestPassword(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	isSpecial := func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }
	for range 10_000 {
		password := newPassword()
		require.GreaterOrEqual(t, len(password), 8)
		for _, kind := range []func(rune) bool{unicode.IsUpper, unicode.IsLower, unicode.IsDigit, isSpecial} {
			require.True(t, strings.ContainsFunc(password, kind), password)
		}
		require.False(t, seen[password], password)
		seen[password] = true
	}
}

func TestRegistrationsAreForgotten(t *testing.T) { //nolint:paralleltest // synctest does not allow t.Parallel
	synctest.Test(t, func(t *testing.T) {
		fake := clixnowtest.NewHandler()
		inMemory := roundTripper(func(r *http.Request) (*http.Response, error) {
			recorder := httptest.NewRecorder()
			fake.ServeHTTP(recorder, r)
			return recorder.Result(), nil
		})
		transport := clixnow.WithHTTPClient(&http.Client{Transport: inMemory})
		client, err := clixnow.NewClient(fake.Brand, fake.Token, transport)
		require.NoError(t, err)
		r := newRegistrations(client, slog.New(slog.DiscardHandler), "")
		f := readForm(allison())
		started := r.start(t.Context(), f, f.request(url.URL{}))
		require.NotNil(t, started)
		<-started.done
		time.Sleep(keepFor - time.Second)
		assert.Same(t, started, r.start(t.Context(), f, f.request(url.URL{})))
		time.Sleep(2 * time.Second)
		assert.Nil(t, r.find(f.id()))

		fake.Inject(clixnowtest.Fault{Method: "POST", Status: 502}, clixnowtest.Fault{Method: "GET", Status: 403})
		f["email"] = "bruno@example.com"
		unknown := r.start(t.Context(), f, f.request(url.URL{}))
		<-unknown.done
		require.ErrorIs(t, unknown.err, clixnow.ErrOutcomeUnknown)
		time.Sleep(keepUnknownFor - time.Second)
		assert.NotNil(t, r.find(f.id()))
		time.Sleep(2 * time.Second)
		assert.Nil(t, r.find(f.id()))
	})
}

func TestRegistrationsAreBounded(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	values := f.visit("")
	require.Equal(t, http.StatusSeeOther, f.post(values).StatusCode)
	known := f.site.registrations.byID
	for i := len(known); i < maxRegistrations; i++ {
		known[strconv.Itoa(i)] = nil
	}
	assert.Equal(t, http.StatusSeeOther, f.post(values).StatusCode, "a known sign-up gets its outcome")
	full := f.post(f.visit(""))
	assert.Equal(t, http.StatusServiceUnavailable, full.StatusCode)
	assert.Contains(t, full.body, "We cannot take sign-ups at the moment, so you are not signed up yet.")
	assert.Contains(t, full.body, `value="Allison"`)
}

// fixture is the site, a fake Clixnow behind it, and a browser that visits it.
type fixture struct {
	*testing.T
	fake    *clixnowtest.Server
	site    *site
	url     string
	log     safeBuffer
	browser *http.Client
}

func newFixture(t *testing.T, opts ...clixnow.Option) *fixture {
	t.Helper()
	f := &fixture{T: t, fake: clixnowtest.NewServer(), browser: newBrowser(t)}
	t.Cleanup(f.fake.Close)
	logger := slog.New(slog.NewTextHandler(&f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	client := f.fake.Client(append(opts, clixnow.WithLogger(logger))...)
	t.Cleanup(client.CloseIdleConnections)
	f.site = newSite(newRegistrations(client, logger, f.fake.URL), options{})
	f.site.maxWait = time.Minute
	server := httptest.NewServer(f.site.handler())
	t.Cleanup(server.Close)
	t.Cleanup(f.site.registrations.finish)
	f.url = server.URL
	return f
}

// newBrowser returns a client that keeps cookies and does not follow redirects.
func newBrowser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	transport := new(http.Transport)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport: transport, Jar: jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type reply struct {
	*http.Response
	body string
}

// visit opens the form and returns its hidden fields with the values of
// allison.
func (f *fixture) visit(query string) url.Values {
	values := f.get("/" + query).hidden()
	maps.Copy(values, allison())
	return values
}

func allison() url.Values {
	return url.Values{
		"firstName": {"Allison "}, "lastName": {"Brown"}, "email": {"allison.brown@example.com"},
		"phone":       {"+41 79 555 01 02"},
		"countryCode": {"CH"}, "acceptTermsAndConditions": {"yes"},
	}
}

func (f *fixture) get(path string) reply { return f.do(http.MethodGet, path, nil) }

func (f *fixture) post(values url.Values, headers ...[2]string) reply {
	return f.do(http.MethodPost, "/", strings.NewReader(values.Encode()), headers...)
}

func (f *fixture) do(method, path string, body io.Reader, headers ...[2]string) reply {
	r, err := http.NewRequestWithContext(f.Context(), method, f.url+path, body)
	if !assert.NoError(f, err) {
		return reply{Response: new(http.Response)}
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, header := range headers {
		r.Header.Set(header[0], header[1])
	}
	response, err := f.browser.Do(r)
	if !assert.NoError(f, err) {
		return reply{Response: new(http.Response)}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	assert.NoError(f, err)
	return reply{response, string(text)}
}

// hidden returns the hidden fields of a page.
func (r reply) hidden() url.Values {
	values := make(url.Values)
	hidden := regexp.MustCompile(`type="hidden" name="([^"]*)" value="([^"]*)"`)
	for _, match := range hidden.FindAllStringSubmatch(r.body, -1) {
		values.Set(match[1], html.UnescapeString(match[2]))
	}
	return values
}

// sent returns the body of the first request that the API received.
func (f *fixture) sent() map[string]string {
	var body map[string]any
	require.NoError(f, json.Unmarshal(f.fake.Requests()[0].Body, &body))
	texts := make(map[string]string)
	for name, value := range body {
		texts[name] = fmt.Sprint(value)
	}
	return texts
}

// assertNothingLeaks checks that the page and the log have no secrets, and that
// the log has no data of the visitor.
func (f *fixture) assertNothingLeaks(r reply) {
	f.Helper()
	logged := f.log.String()
	for _, text := range []string{
		"Allison", "Brown", "allison.brown@example.com", "79555", "79 555", "127.0.0.1",
		f.fake.Token, "broker.example", "autologin",
	} {
		assert.NotContains(f, logged, text)
	}
	isPost := func(r clixnowtest.Request) bool { return r.Method == http.MethodPost }
	if slices.ContainsFunc(f.fake.Requests(), isPost) {
		password := f.sent()["password"]
		require.NotEmpty(f, password)
		assert.NotContains(f, logged, password)
		assert.NotContains(f, r.body, password)
	}
	assert.NotContains(f, r.body, "broker.example")
	assert.NotContains(f, r.body, "autologin")
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// gate holds requests back until it is opened or the test has ended.
type gate struct {
	arrived chan struct{}
	open    chan struct{}
	ended   <-chan struct{}
}

func newGate(t *testing.T) *gate {
	t.Helper()
	return &gate{arrived: make(chan struct{}, 100), open: make(chan struct{}), ended: t.Context().Done()}
}

func (g *gate) wait() {
	g.arrived <- struct{}{}
	select {
	case <-g.open:
	case <-g.ended:
	}
}

func (g *gate) RoundTrip(r *http.Request) (*http.Response, error) {
	g.wait()
	return http.DefaultTransport.RoundTrip(r)
}

// safeBuffer is a buffer that can be read while it is written.
type safeBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
