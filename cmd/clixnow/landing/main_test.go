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
	const refusedFields = `{"message":"One or more validation errors occurred.","errors":{"Phone":["Not a <phone> number."],"Comment":["No."]}}`
	tests := map[string]struct {
		faults   []clixnowtest.Fault
		typed    url.Values // instead of what allison would
		status   int
		location string
		page     []string
		absent   string // from the page
		log      []string
		leads    int
	}{
		"registered": {
			status: http.StatusSeeOther, location: "https://broker.example/autologin?token=",
			log: []string{`level=INFO msg=registered`, "lead_id=123456 recovered=false sent_on=true"}, leads: 1,
		},
		"registered, but its answer was lost": {
			faults: []clixnowtest.Fault{{Method: "POST", Drop: clixnowtest.DropAfterHandling}},
			status: http.StatusOK, page: []string{"<h1>Thank you, you are signed up</h1>"},
			log: []string{"recovered=true sent_on=false"}, leads: 1,
		},
		"registered, and the link is readable by all": {
			faults: []clixnowtest.Fault{{Status: 200, Body: `{"leadId":7,"redirectUrl":"http://broker.example/"}`}},
			status: http.StatusOK, page: []string{"<h1>Thank you, you are signed up</h1>"},
			log: []string{"lead_id=7 recovered=false sent_on=false"},
		},
		"nothing typed": {
			typed: url.Values{
				"firstName": {" "}, "lastName": {""}, "email": {"allison"}, "phone": {""}, "countryCode": {""},
				"acceptTermsAndConditions": {""},
			},
			status: http.StatusUnprocessableEntity, absent: "wrong acceptPromotions",
			page: []string{
				"<title>Error: Create your account</title>",
				`<li><a href="#firstName">Enter your first name</a></li>`,
				`<li><a href="#lastName">Enter your last name</a></li>`,
				`<li><a href="#email">Enter an email address like name@example.com</a></li>`,
				`<li><a href="#phone">Enter your phone number</a></li>`,
				`<li><a href="#countryCode">Choose your country</a></li>`,
				`<li><a href="#acceptTermsAndConditions">Accept the terms and conditions</a></li>`,
				`value="allison" autocapitalize="none" spellcheck="false" aria-invalid="true" aria-describedby="email-problem"`,
				`<p class="problem" id="email-problem">`,
				`aria-invalid="true" aria-describedby="phone-hint phone-problem"`,
			},
		},
		"a field that the API refuses": {
			faults: []clixnowtest.Fault{{Status: 400, Body: refusedFields}},
			status: http.StatusUnprocessableEntity, absent: "No.",
			page: []string{
				`<li><a href="#phone">Not a &lt;phone&gt; number.</a></li>`,
				`id="phone-problem"><span class="unseen">Error: </span>Not a &lt;phone&gt; number.</p>`,
				`value="Allison"`, `value="Brown"`, `value="allison.brown@example.com"`,
				`value="&#43;41 79 555 01 02"`, `value="CH" selected`,
				`name="acceptTermsAndConditions" type="checkbox" value="yes" checked>`,
				`name="acceptPromotions" type="checkbox" value="yes">`,
			},
			log: []string{"level=INFO", "status=400", `fields="[comment phone]"`},
		},
		"a field that no visitor can mend": {
			faults: []clixnowtest.Fault{{Status: 400, Body: `{"errors":{"Comment":["No."]}}`}},
			status: http.StatusServiceUnavailable, page: []string{"That is our fault, not yours"}, absent: "No.",
			log: []string{"level=ERROR", "no visitor can mend", "status=400", "fields=[comment]"},
		},
		"duplicate": {
			faults: []clixnowtest.Fault{{
				Status: 400,
				Body:   `{"message":"Duplicate lead","errors":{"Email":["Email is already registered."]}}`,
			}},
			status: http.StatusUnprocessableEntity,
			page: []string{
				"<li>This email address or phone number is registered already. There is no need to sign up again.</li>",
				`<li><a href="#email">Email is already registered.</a></li>`,
			},
			log: []string{"level=INFO", "duplicate"},
		},
		"country": {
			faults: []clixnowtest.Fault{{
				Status: 400,
				Body:   `{"message":"Registration is not allowed for country CH","errors":{"CountryCode":["No."]}}`,
			}},
			status: http.StatusUnprocessableEntity, absent: "No.",
			page: []string{`<li><a href="#countryCode">We are sorry: people from this country cannot sign up here</a></li>`, `id="countryCode-problem"`},
			log:  []string{"level=WARN", "country refused"},
		},
		"wrong token": {
			faults: []clixnowtest.Fault{{Status: 401, Header: http.Header{"X-Request-Id": {"4bf9"}}}},
			status: http.StatusServiceUnavailable,
			page:   []string{"Nobody can sign up here at the moment", `value="Allison"`},
			log:    []string{"level=ERROR", "check CLIXNOW_TOKEN", "status=401 request_id=4bf9"},
		},
		"redirected API": {
			faults: []clixnowtest.Fault{{Status: 302, Header: http.Header{"Location": {"/login"}}}},
			status: http.StatusServiceUnavailable, page: []string{"Nobody can sign up here at the moment"},
			log: []string{"level=ERROR", "status=302"},
		},
		"too many": {
			faults: []clixnowtest.Fault{{Status: 429, Header: http.Header{"Retry-After": {"60"}}}},
			status: http.StatusServiceUnavailable, page: []string{"Too many people", "you are not signed up yet"},
			log: []string{"level=WARN", "slow the campaign down", "retry_after=1m0s"},
		},
		"unknown": {
			faults: []clixnowtest.Fault{{Method: "POST", Status: 502, HandleFirst: true}, {Method: "GET", Status: 403}},
			status: http.StatusServiceUnavailable, page: []string{"<h1>We are not sure yet</h1>", "Check again"},
			absent: "wrong",
			log:    []string{"level=ERROR", "look for this click id"}, leads: 1,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := open(t)
			w.fake.Inject(test.faults...)
			values := w.visit("?subcampaign=autumn")
			maps.Copy(values, test.typed)
			answer := w.post(values)
			assert.Equal(t, test.status, answer.StatusCode)
			assert.True(t, strings.HasPrefix(answer.Header.Get("Location"), test.location))
			assert.Equal(t, test.location == "", answer.Header.Get("Location") == "")
			for _, text := range test.page {
				assert.Contains(t, answer.body, text)
			}
			if test.absent != "" {
				assert.NotContains(t, answer.body, test.absent)
			}
			for _, text := range test.log {
				assert.Contains(t, w.log.String(), text)
			}
			assert.Len(t, w.fake.Leads(), test.leads)
			w.assertNothingLeaks(answer)
		})
	}
}

func TestNotSent(t *testing.T) {
	t.Parallel()
	refuse := roundTripper(func(*http.Request) (*http.Response, error) {
		return nil,
			fmt.Errorf("breaker: %w", clixnow.ErrNotSent)
	})
	w := open(t, clixnow.WithHTTPClient(&http.Client{Transport: refuse}))
	answer := w.post(w.visit(""))
	assert.Equal(t, http.StatusServiceUnavailable, answer.StatusCode)
	assert.Contains(t, answer.body, "We could not reach our partner, so you are not signed up yet.")
	assert.Contains(t, answer.body, `value="Allison"`)
	assert.Contains(t, w.log.String(), "level=ERROR")
	assert.Contains(t, w.log.String(), "out of reach")
	w.assertNothingLeaks(answer)
}

func TestSentAgain(t *testing.T) {
	t.Parallel()
	t.Run("an unknown outcome is looked for", func(t *testing.T) {
		t.Parallel()
		w := open(t)
		w.fake.Inject(clixnowtest.Fault{Method: "POST", Drop: clixnowtest.DropAfterHandling},
			clixnowtest.Fault{Method: "GET", Status: 503, Times: 12})
		unknown := w.post(w.visit("?subcampaign=autumn"))
		require.Contains(t, unknown.body, "Check again")
		checked := w.post(unknown.hidden())
		assert.Contains(t, checked.body, "Thank you, you are signed up")
		assert.Len(t, w.fake.Leads(), 1)
	})
	t.Run("an unknown outcome is sent again when nothing is found", func(t *testing.T) {
		t.Parallel()
		w := open(t)
		w.fake.Inject(clixnowtest.Fault{Method: "POST", Drop: clixnowtest.DropBeforeHandling},
			clixnowtest.Fault{Method: "GET", Status: 503, Times: 12})
		unknown := w.post(w.visit("?subcampaign=autumn"))
		require.Contains(t, unknown.body, "Check again")
		checked := w.post(unknown.hidden())
		assert.Equal(t, http.StatusSeeOther, checked.StatusCode)
		leads := w.fake.Leads()
		require.Len(t, leads, 1)
		assert.Equal(t, "autumn", leads[0].SubCampaign)
	})
	t.Run("a form that was mended", func(t *testing.T) {
		t.Parallel()
		w := open(t)
		values := w.visit("")
		w.fake.Inject(clixnowtest.Fault{Status: 400, Body: `{"message":"Bad phone"}`})
		require.Equal(t, http.StatusServiceUnavailable, w.post(values).StatusCode)
		assert.Equal(t, http.StatusSeeOther, w.post(values).StatusCode) // out of the browser's history
	})
	t.Run("a form with another email is another sign-up", func(t *testing.T) {
		t.Parallel()
		w := open(t)
		values := w.visit("")
		first := w.post(values)
		values.Set("email", "bruno@example.com")
		values.Set("phone", "+41795550103")
		second := w.post(values)
		assert.NotEqual(t, first.Header.Get("Location"), second.Header.Get("Location"))
		leads := w.fake.Leads()
		require.Len(t, leads, 2)
		assert.NotEqual(t, leads[0].ClickID, leads[1].ClickID)
	})
}

func TestDoubleClick(t *testing.T) {
	t.Parallel()
	gate := newGate(t)
	w := open(t, clixnow.WithHTTPClient(&http.Client{Transport: gate}))
	values := w.visit("")
	const clicks = 10
	answers := make(chan answer, clicks)
	for range clicks {
		go func() { answers <- w.post(values) }()
	}
	<-gate.arrived
	close(gate.open)
	for range clicks {
		got := <-answers
		assert.Equal(t, http.StatusSeeOther, got.StatusCode)
		assert.Contains(t, got.Header.Get("Location"), "https://broker.example/")
	}
	assert.Equal(t, http.StatusSeeOther, w.post(values).StatusCode, "a click after the answer")
	assert.Len(t, w.fake.Requests(), 1)
}

func TestVisitorWaits(t *testing.T) {
	t.Parallel()
	gate := newGate(t)
	w := open(t, clixnow.WithHTTPClient(&http.Client{Transport: gate}))
	w.site.patience = time.Millisecond
	for _, waiting := range []answer{w.post(w.visit("")), w.get("/registration")} {
		assert.Equal(t, http.StatusOK, waiting.StatusCode)
		assert.Contains(t, waiting.body, `<meta http-equiv="refresh" content="1; url=registration">`)
		assert.Contains(t, waiting.body, "please do not sign up again")
	}
	stranger, err := http.Get(w.url + "/registration") //nolint:noctx // a test's own server on loopback
	require.NoError(t, err)
	require.NoError(t, stranger.Body.Close())
	assert.Equal(t, http.StatusNotFound, stranger.StatusCode)

	close(gate.open)
	var onward answer
	require.Eventually(t, func() bool {
		onward = w.get("/registration")
		return onward.StatusCode == http.StatusSeeOther
	}, time.Minute, time.Millisecond)
	assert.Contains(t, onward.Header.Get("Location"), "https://broker.example/")
}

func TestVisitorWaitsForRefusal(t *testing.T) {
	t.Parallel()
	gate := newGate(t)
	w := open(t, clixnow.WithHTTPClient(&http.Client{Transport: gate}))
	w.site.patience = time.Millisecond
	w.fake.Inject(clixnowtest.Fault{Status: 400, Body: `{"errors":{"Email":["Mailbox unknown."]}}`})
	w.post(w.visit("?sub2=banner"))
	close(gate.open)
	var refused answer
	require.Eventually(t, func() bool {
		refused = w.get("/registration")
		return refused.StatusCode == http.StatusUnprocessableEntity
	}, time.Minute, time.Millisecond)
	assert.Contains(t, refused.body, `<a href="#email">Mailbox unknown.</a>`)
	assert.Contains(t, refused.body, `value="Allison"`)
	assert.Equal(t, "sub2=banner", refused.hidden().Get("tracking"))
}

func TestVisitorLeaves(t *testing.T) {
	t.Parallel()
	gate := newGate(t)
	w := open(t, clixnow.WithHTTPClient(&http.Client{Transport: gate}))
	values := w.visit("")
	ctx, leave := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, strings.NewReader(values.Encode()))
		if err == nil {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			_, err = w.browser.Do(r) //nolint:bodyclose // there is none
		}
		gone <- err
	}()
	<-gate.arrived
	leave()
	require.ErrorIs(t, <-gone, context.Canceled)
	close(gate.open)
	require.Eventually(t, func() bool { return len(w.fake.Leads()) == 1 }, time.Minute, time.Millisecond)
	assert.Equal(t, http.StatusSeeOther, w.post(values).StatusCode, "who comes back goes on")
	assert.Len(t, w.fake.Requests(), 1)
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
	w := &world{T: t, fake: fake, browser: newBrowser(t)}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	reader, writer := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		opts := options{addr: "127.0.0.1:0", brand: fake.Brand, token: fake.Token, api: api.URL}
		ended <- run(ctx, opts, writer, slog.New(slog.NewTextHandler(&w.log, nil)))
	}()
	line, err := bufio.NewReader(reader).ReadString('\n')
	require.NoError(t, err)
	address, err := url.Parse(strings.TrimSpace(strings.TrimPrefix(line, "Open ")))
	require.NoError(t, err)
	w.url = "http://" + address.Host

	first := make(chan answer, 1)
	go func() { first <- w.post(w.visit("")) }()
	<-gate.arrived
	stop()
	require.Eventually(t, func() bool { return strings.Contains(w.log.String(), "stopping") }, time.Minute,
		time.Millisecond)
	late := w.visit("")
	late.Set("email", "late@example.com")
	require.Eventually(t, func() bool { return w.post(late).StatusCode == http.StatusServiceUnavailable },
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
		want  map[string]string // of what is sent; "" = is not
	}{
		"all of it": {
			landing, "a_id=7&subcampaign=autumn%22&sub2=s&keyword=k&clickid=tracker-1&placement=p&utm_source=news",
			map[string]string{
				"subCampaign": `autumn"`, "sub2": "s", "keyword": "k", "clickId": "tracker-1", "placement": "p",
				"referralUrl": "https://landing.example.com/go?utm_source=news&a_id=7&subcampaign=autumn%22&sub2=s&keyword=k&clickid=tracker-1&placement=p",
			},
		},
		"none": {
			landing, "",
			map[string]string{"subCampaign": "", "referralUrl": "https://landing.example.com/go"},
		},
		"unknown address": {
			url.URL{},
			"subcampaign=autumn",
			map[string]string{"subCampaign": "autumn", "referralUrl": ""},
		},
		"broken": {
			landing, "subcampaign=%FF&keyword=%zz&sub2=s",
			map[string]string{"subCampaign": "", "keyword": "", "sub2": "s"},
		},
		"far too long": {landing, "subcampaign=" + strings.Repeat("x", 5000), map[string]string{"subCampaign": ""}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := open(t)
			w.site.url = test.url
			require.Equal(t, http.StatusSeeOther, w.post(w.visit("?"+test.query)).StatusCode)
			sent := w.sent()
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
	w := open(t)
	w.site.url = url.URL{Scheme: "https", Host: "landing.example.com"}
	values := w.visit("")
	values.Set("tracking", "subcampaign=autumn#@evil.example/\x00\r\n")
	require.Equal(t, http.StatusSeeOther, w.post(values).StatusCode)
	referral, err := url.Parse(w.sent()["referralUrl"])
	require.NoError(t, err)
	assert.Equal(t, "landing.example.com", referral.Host)
	values.Set("email", "bruno@example.com")
	values.Set("phone", "+41795550103")
	values.Set("tracking", "subcampaign="+strings.Repeat("x", 5000))
	require.Equal(t, http.StatusSeeOther, w.post(values).StatusCode)
	assert.Empty(t, w.fake.Leads()[1].SubCampaign)
}

func TestRobotWithoutFormID(t *testing.T) {
	t.Parallel()
	w := open(t)
	values := w.visit("")
	values.Del("form")
	require.Equal(t, http.StatusSeeOther, w.post(values).StatusCode)
	assert.Equal(t, http.StatusUnprocessableEntity, w.post(values).StatusCode, "nobody is handed the link of another")
}

func TestHardening(t *testing.T) {
	t.Parallel()
	w := open(t)
	w.site.url = url.URL{Scheme: "https", Host: "landing.example.com"}
	page := w.get("/")
	assert.Equal(t, "no-store", page.Header.Get("Cache-Control"))
	assert.Equal(t, "same-origin", page.Header.Get("Referrer-Policy"))
	assert.Equal(t, "nosniff", page.Header.Get("X-Content-Type-Options"))
	assert.Contains(t, page.Header.Get("Content-Security-Policy"), "default-src 'none'")
	assert.NotContains(t, page.body, "<script")
	assert.NotContains(t, page.body, "style=")
	assert.Equal(t, "text/css; charset=utf-8", w.get("/style.css").Header.Get("Content-Type"))
	assert.Equal(t, http.StatusNotFound, w.get("/page.html").StatusCode)
	assert.Equal(t, http.StatusNotFound, w.get("/registration").StatusCode)

	values := w.visit("")
	for name, header := range map[string][2]string{
		"cross-site":   {"Sec-Fetch-Site", "cross-site"},
		"other origin": {"Origin", "https://evil.example"},
		"no origin":    {"Origin", "null"},
	} {
		assert.Equal(t, http.StatusForbidden, w.post(values, header).StatusCode, name)
	}
	own := w.post(values, [2]string{"Origin", w.url})
	assert.Equal(t, http.StatusSeeOther, own.StatusCode)
	cookie := own.Header.Get("Set-Cookie")
	for _, attribute := range []string{"; HttpOnly", "; Secure", "; SameSite=Strict", "; Max-Age=300"} {
		assert.Contains(t, cookie, attribute)
	}
	assert.NotContains(t, cookie, values.Get("form"))

	values.Set("firstName", strings.Repeat("x", 20_000))
	long := w.post(values)
	assert.Equal(t, http.StatusRequestEntityTooLarge, long.StatusCode)
	assert.Contains(t, long.body, "You are not signed up yet")
	assert.Len(t, w.fake.Leads(), 1)
}

func TestPassword(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for range 10_000 {
		password := newPassword()
		require.GreaterOrEqual(t, len(password), 8)
		for _, kind := range []func(rune) bool{
			unicode.IsUpper, unicode.IsLower, unicode.IsDigit, func(r rune) bool {
				return !unicode.IsLetter(r) &&
					!unicode.IsDigit(r)
			},
		} {
			require.True(t, strings.ContainsFunc(password, kind), password)
		}
		require.False(t, seen[password], password)
		seen[password] = true
	}
}

func TestRegistrationsForget(t *testing.T) { //nolint:paralleltest // a bubble may not
	synctest.Test(t, func(t *testing.T) {
		fake := clixnowtest.NewHandler()
		inMemory := roundTripper(func(r *http.Request) (*http.Response, error) {
			recorder := httptest.NewRecorder()
			fake.ServeHTTP(recorder, r)
			return recorder.Result(), nil
		})
		client,
			err := clixnow.NewClient(fake.Brand, fake.Token, clixnow.WithHTTPClient(&http.Client{Transport: inMemory}))
		require.NoError(t, err)
		r := newRegistrations(client, slog.New(slog.DiscardHandler))
		f := readForm(allison())
		begun := r.begin(t.Context(), f, f.request(url.URL{}))
		require.NotNil(t, begun)
		<-begun.done
		time.Sleep(remembered - time.Second)
		assert.Same(t, begun, r.begin(t.Context(), f, f.request(url.URL{})))
		time.Sleep(2 * time.Second)
		assert.Nil(t, r.find(f.id()))

		fake.Inject(clixnowtest.Fault{Method: "POST", Status: 502}, clixnowtest.Fault{Method: "GET", Status: 403})
		f["email"] = "bruno@example.com"
		doubtful := r.begin(t.Context(), f, f.request(url.URL{}))
		<-doubtful.done
		require.ErrorIs(t, doubtful.err, clixnow.ErrOutcomeUnknown)
		time.Sleep(inDoubt - time.Second)
		assert.NotNil(t, r.find(f.id()))
		time.Sleep(2 * time.Second)
		assert.Nil(t, r.find(f.id()))
	})
}

func TestRegistrationsAreBounded(t *testing.T) {
	t.Parallel()
	w := open(t)
	values := w.visit("")
	require.Equal(t, http.StatusSeeOther, w.post(values).StatusCode)
	known := w.site.registrations.byID
	for i := len(known); i < mostRemembered; i++ {
		known[strconv.Itoa(i)] = nil
	}
	assert.Equal(t, http.StatusSeeOther, w.post(values).StatusCode, "who is known is served")
	full := w.post(w.visit(""))
	assert.Equal(t, http.StatusServiceUnavailable, full.StatusCode)
	assert.Contains(t, full.body, "We cannot take sign-ups just now, so you are not signed up yet.")
	assert.Contains(t, full.body, `value="Allison"`)
}

// world is the page before a fake Clixnow, and a browser that looks at it.
type world struct {
	*testing.T
	fake    *clixnowtest.Server
	site    *site
	url     string
	log     safeBuffer
	browser *http.Client
}

func open(t *testing.T, opts ...clixnow.Option) *world {
	t.Helper()
	w := &world{T: t, fake: clixnowtest.NewServer(), browser: newBrowser(t)}
	t.Cleanup(w.fake.Close)
	logger := slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	client := w.fake.Client(append(opts, clixnow.WithLogger(logger))...)
	t.Cleanup(client.CloseIdleConnections)
	w.site = newSite(newRegistrations(client, logger), options{})
	w.site.patience = time.Minute
	server := httptest.NewServer(w.site.handler())
	t.Cleanup(server.Close)
	t.Cleanup(w.site.registrations.finish)
	w.url = server.URL
	return w
}

// newBrowser keeps cookies and does not follow redirects.
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

type answer struct {
	*http.Response
	body string
}

// visit opens the form and returns it as allison fills it in.
func (w *world) visit(query string) url.Values {
	values := w.get("/" + query).hidden()
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

func (w *world) get(path string) answer { return w.do(http.MethodGet, path, nil) }

func (w *world) post(values url.Values, headers ...[2]string) answer {
	return w.do(http.MethodPost, "/", strings.NewReader(values.Encode()), headers...)
}

func (w *world) do(method, path string, body io.Reader, headers ...[2]string) answer {
	r, err := http.NewRequestWithContext(w.Context(), method, w.url+path, body)
	if !assert.NoError(w, err) {
		return answer{Response: new(http.Response)}
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, header := range headers {
		r.Header.Set(header[0], header[1])
	}
	response, err := w.browser.Do(r)
	if !assert.NoError(w, err) {
		return answer{Response: new(http.Response)}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	assert.NoError(w, err)
	return answer{response, string(text)}
}

// hidden returns the hidden fields of a page.
func (a answer) hidden() url.Values {
	values := make(url.Values)
	for _, match := range regexp.MustCompile(`type="hidden" name="([^"]*)" value="([^"]*)"`).FindAllStringSubmatch(a.body, -1) {
		values.Set(match[1], html.UnescapeString(match[2]))
	}
	return values
}

// sent returns what the API was sent first.
func (w *world) sent() map[string]string {
	var body map[string]any
	require.NoError(w, json.Unmarshal(w.fake.Requests()[0].Body, &body))
	texts := make(map[string]string)
	for name, value := range body {
		texts[name] = fmt.Sprint(value)
	}
	return texts
}

// assertNothingLeaks looks for secrets in the page and in the log, and for the
// visitor in the log.
func (w *world) assertNothingLeaks(a answer) {
	w.Helper()
	logged := w.log.String()
	for _, text := range []string{
		"Allison", "Brown", "allison.brown@example.com", "79555", "79 555", "127.0.0.1",
		w.fake.Token, "broker.example",
	} {
		assert.NotContains(w, logged, text)
	}
	if i := slices.IndexFunc(w.fake.Requests(),
		func(r clixnowtest.Request) bool { return r.Method == http.MethodPost }); i >= 0 {
		password := w.sent()["password"]
		require.NotEmpty(w, password)
		assert.NotContains(w, logged, password)
		assert.NotContains(w, a.body, password)
	}
	assert.NotContains(w, a.body, "broker.example")
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// gate holds requests back until it is opened, or the test has ended.
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

// safeBuffer is a buffer that is read while it is written.
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
