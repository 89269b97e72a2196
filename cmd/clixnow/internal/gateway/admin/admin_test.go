package admin_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app/apptest"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/gateway/admin"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/importer"
	"github.com/clixnow/clixnow-go/store/outbox"
)

// site is an admin page of a world.
type site struct {
	*world
	url string
	log apptest.Output
}

// newSite serves the page without a login, if change does not change that.
func newSite(t *testing.T, change func(*admin.Options)) *site {
	t.Helper()
	s := &site{world: newWorld(t.Context(), filepath.Join(t.TempDir(), "signups.db"))}
	t.Cleanup(s.close)
	s.serve(t, change)
	return s
}

func (s *site) serve(t *testing.T, change func(*admin.Options)) {
	t.Helper()
	opts := admin.Options{Outbox: s.Outbox, Loopback: true, Log: slog.New(slog.NewTextHandler(&s.log, nil))}
	if change != nil {
		change(&opts)
	}
	handler, err := admin.New(opts)
	require.NoError(t, err)
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	s.url = server.URL
}

// reply is the response to a request.
type reply struct {
	code   int
	header http.Header
	body   string
}

// text returns the text of a page, without tags.
func (r reply) text() string {
	text := regexp.MustCompile(`</?b>`).ReplaceAllString(r.body, "")
	text = regexp.MustCompile(`<[^>]*>`).ReplaceAllString(text, " ")
	return html.UnescapeString(regexp.MustCompile(`\s+`).ReplaceAllString(text, " "))
}

// send sends a request and does not follow redirects. Fields are those of a
// form, or nil.
func (s *site) send(t *testing.T, method, target string, fields url.Values, change func(*http.Request)) reply {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, s.url+target, strings.NewReader(fields.Encode()))
	require.NoError(t, err)
	request.Close = true
	if fields != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if change != nil {
		change(request)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return reply{response.StatusCode, response.Header, string(body)}
}

func (s *site) get(t *testing.T, target string) reply {
	t.Helper()
	return s.send(t, http.MethodGet, target, nil, nil)
}

// retryAll presses the button that retries many, and returns where the page
// redirects to.
func (s *site) retryAll(t *testing.T, fields url.Values) (location string) {
	t.Helper()
	got := s.send(t, http.MethodPost, "/retry", fields, nil)
	require.Equal(t, http.StatusSeeOther, got.code, got.body)
	return got.header.Get("Location")
}

// csv downloads a list.
func (s *site) csv(t *testing.T, target string) [][]string {
	t.Helper()
	got := s.get(t, target)
	require.Equal(t, http.StatusOK, got.code)
	require.Equal(t, "text/csv; charset=utf-8", got.header.Get("Content-Type"))
	text, hasMark := strings.CutPrefix(got.body, "\uFEFF")
	require.True(t, hasMark, "Excel needs it to read UTF-8")
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	require.NoError(t, err)
	return rows
}

var rowPattern = regexp.MustCompile(`<li id="signup-(\w+)"`)

func rows(r reply) (ids []string) {
	for _, match := range rowPattern.FindAllStringSubmatch(r.body, -1) {
		ids = append(ids, match[1])
	}
	return ids
}

// link returns the address behind the text of a link.
func link(t *testing.T, r reply, text string) string {
	t.Helper()
	match := regexp.MustCompile(`<a [^>]*href="([^"]*)"[^>]*>` + regexp.QuoteMeta(text) +
		`</a>`).FindStringSubmatch(r.body)
	require.NotNil(t, match, "there is no link %s", text)
	return html.UnescapeString(match[1])
}

// TestForeignHost checks that a page of a site whose name was changed to the
// address of the listener can neither read nor do anything (case P9).
func TestForeignHost(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	waiting := s.add(t.Context())
	port := s.url[strings.LastIndex(s.url, ":"):]
	for host, want := range map[string]int{
		"127.0.0.1" + port: 200, "localhost" + port: 200, "LOCALHOST": 200, "[::1]" + port: 200, "a.localhost": 200,
		"evil.example" + port: 403, "evil.example": 403, "127.0.0.1.evil.example" + port: 403, "192.0.2.1" + port: 403,
		"0.0.0.0" + port: 403, "leads.example": 403,
	} {
		asHost := func(r *http.Request) { r.Host = host }
		for _, target := range []string{"/", "/signups.csv", "/retry", "/signups/" + waiting.ID, "/page/live.js"} {
			got := s.send(t, http.MethodGet, target, nil, asHost)
			assert.Equal(t, want, got.code, "%s %s", host, target)
			if want == http.StatusForbidden {
				assert.Contains(t, got.body, "Add the name to hosts in [gateway.admin]")
				assert.NotContains(t, got.body, "example.com")
			}
		}
		if want == http.StatusForbidden {
			for _, action := range []string{"retry", "correct", "give-up"} {
				got := s.send(t, http.MethodPost, "/signups/"+waiting.ID+"/"+action,
					url.Values{"email": {"x@evil.example"}}, asHost)
				assert.Equal(t, http.StatusForbidden, got.code)
			}
		}
	}
	history, err := s.History(t.Context(), waiting.ID)
	require.NoError(t, err)
	assert.Empty(t, history)
}

// TestCrossSite checks that the buttons cannot be pressed by other sites.
func TestCrossSite(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	waiting := s.add(t.Context())
	for name, test := range map[string]struct {
		header map[string]string
		want   int
	}{
		"other site":               {map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		"other port":               {map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		"old browser, other site":  {map[string]string{"Origin": "https://evil.example"}, 403},
		"old browser, no referrer": {map[string]string{"Origin": "null"}, 403},
		"this page":                {map[string]string{"Sec-Fetch-Site": "same-origin", "Origin": s.url}, 303},
		"old browser, this page":   {map[string]string{"Origin": s.url}, 303},
		"no browser":               {nil, 303},
	} {
		for _, target := range []string{"/signups/" + waiting.ID + "/retry", "/retry"} {
			got := s.send(t, http.MethodPost, target, url.Values{"status": {"pending"}}, func(r *http.Request) {
				for key, value := range test.header {
					r.Header.Set(key, value)
				}
			})
			assert.Equal(t, test.want, got.code, "%s: %s", name, target)
			if test.want == http.StatusForbidden {
				assert.Contains(t, got.body, "Nothing was done.")
			}
		}
	}
	for _, target := range []string{"/signups/" + waiting.ID + "/retry", "/signups/" + waiting.ID + "/give-up"} {
		assert.NotEqual(t, http.StatusSeeOther, s.get(t, target).code, "a link cannot do it")
	}
	history, err := s.History(t.Context(), waiting.ID)
	require.NoError(t, err)
	assert.Len(t, history, 6, "the three allowed requests with two targets each")
}

// TestNoSecrets reads all pages of an outbox with everything, and looks for
// passwords and redirect URLs.
func TestNoSecrets(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	s.fill(t.Context())
	all, err := s.List(t.Context(), outbox.Query{Limit: 1000})
	require.NoError(t, err)
	withRedirect := 0
	targets := []string{"/signups.csv", "/retry?status=pending", "/retry?status=refused", "/no-such-page"}
	for _, status := range []string{"", "pending", "doubtful", "refused", "registered"} {
		for page := s.get(t, "/?status="+status); ; page = s.get(t, link(t, page, "Older")) {
			assertNoSecrets(t, page)
			if !strings.Contains(page.body, ">Older</a>") {
				break
			}
		}
	}
	for _, signup := range all {
		targets = append(targets, "/signups/"+signup.ID)
		if signup.RedirectURL != "" {
			require.Contains(t, signup.RedirectURL, secretPath)
			withRedirect++
		}
	}
	require.Equal(t, 60, withRedirect)
	for _, target := range targets {
		assertNoSecrets(t, s.get(t, target))
	}
	for _, secret := range []string{"example.com", password, secretPath} {
		assert.NotContains(t, s.log.String(), secret)
	}
}

func assertNoSecrets(t *testing.T, r reply) {
	t.Helper()
	for _, secret := range []string{password, secretPath, "CfDJ8"} {
		assert.NotContains(t, r.body, secret)
	}
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin",
		"X-Content-Type-Options": "nosniff",
	} {
		assert.Equal(t, want, r.header.Get(name))
	}
	assert.Contains(t, r.header.Get("Content-Security-Policy"), "default-src 'none'")
	if strings.HasPrefix(r.header.Get("Content-Type"), "text/html") {
		assert.NotContains(t, r.body, "<script>")
		assert.NotContains(t, r.body, " style=")
	}
}

// TestHostileTexts checks that what a visitor or a brand wrote is text on the
// pages, and neither HTML nor a link that runs a script.
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	const hostile = `"'></title></a><script>alert(1)</script><img src=x onerror=alert(1)>`
	lead := s.lead()
	lead.FirstName, lead.LastName, lead.ClickID, lead.SubCampaign = hostile, hostile, hostile, hostile
	lead.ReferralURL, lead.Browser = "javascript:alert(1)", hostile
	id := must(s.Add(t.Context(), lead)).ID
	s.exec(t.Context(), "UPDATE outbox_signups SET status = 'doubtful', problem = $1, attempt_brand = $1, "+
		"attempt_since = created_at", hostile)
	for _, target := range []string{
		"/", "/?q=" + url.QueryEscape(hostile), "/?status=" + url.QueryEscape(hostile), "/signups/" + id,
		"/signups/" + url.PathEscape(hostile), "/retry?status=doubtful", "/signups/" + id + "?done=" +
			url.QueryEscape(hostile),
	} {
		page := s.get(t, target)
		assert.Contains(t, page.header.Get("Content-Type"), "text/html", target)
		assert.NotContains(t, page.body, "<script>", target)
		assert.NotContains(t, page.body, "<img src=x", target)
		assert.NotContains(t, page.body, "</title></a>", target)
		assert.NotContains(t, page.body, `href="javascript:`, target)
	}
	assert.Contains(t, s.get(t, "/signups/"+id).text(), hostile, "it is shown as text")
}

// TestWords checks that the pages say in words what waits, why, and what
// happened.
func TestWords(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	s.fill(t.Context())
	page := s.get(t, "/").text()
	for _, want := range []string{
		"acme refuses our access: its token or its host is wrong. Sign-ups that need it wait until that is " +
			"fixed.",
		"beta refuses our access", "Waiting 7", "Needs a decision 2", "Refused 3", "Registered 60", "All 72",
		"2 The brand refuses our access: check its token and its host.",
		"3 beta did not answer clearly, so it may have the lead.", "1 It is tried now, or as soon as a worker is free.",
	} {
		assert.Contains(t, page, want)
	}
	assert.Regexp(t, `1 The brand has no capacity at the moment. Next try: in \d+ \w+. It is retried for about `+
		`ten hours. Then a person must decide.`, page)
	for status, wants := range map[string][]string{
		"doubtful": {
			"beta may have the lead, but no search shows it.",
			"The brands have refused it for hours. The brand has no capacity at the moment.",
		},
		"refused": {
			"The brand takes no sign-ups from this country.", "The brand has this person already.",
			"Given up by a person.",
		},
		"registered": {"acme has the lead, with the id 1234"},
	} {
		for _, want := range wants {
			assert.Contains(t, s.get(t, "/?status="+status).text(), want)
		}
	}
	find := func(search string) string {
		ids := rows(s.get(t, "/?q="+search))
		require.Len(t, ids, 1)
		return s.get(t, "/signups/"+ids[0]).text()
	}
	corrected := find("corrected.by.visitor")
	assert.Contains(t, corrected,
		"The visitor corrected it: email hå.72@example.com → corrected.by.visitor@example.com")
	assert.Regexp(t, `Corrected by anna: phone \+41795550072 → \+41795559999`, corrected)
	assert.Contains(t, find("click-65"), "Refused Given up by anna. It is not retried.")
	assert.Regexp(t,
		`Refused by beta: the brand refused it for a reason that this program does not know .* took \d+`,
		find("click-65"))
	assert.Contains(t, find("click-60"), "Registered at acme")
}

// TestNextTry checks that only a sign-up that waits shows its next try.
func TestNextTry(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	ctx := t.Context()
	id := s.add(ctx).ID
	for status, want := range map[string]bool{"pending": true, "doubtful": false, "refused": false} {
		s.exec(ctx, "UPDATE outbox_signups SET status = $1, tries = 1, next_try_at = $2", status, ago(time.Minute))
		for _, target := range []string{"/?status=" + status, "/signups/" + id} {
			shown := strings.Contains(s.get(t, target).text(), "Next try: as soon as a worker is free.")
			assert.Equal(t, want, shown, "%s: %s", status, target)
		}
		assert.Equal(t, want, s.csv(t, "/signups.csv")[1][14] != "", status)
	}
}

// TestGivenUp checks that the page does not take what a person has decided for
// the answer of a brand.
func TestGivenUp(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	ctx := t.Context()
	refused, doubtful := s.add(ctx).ID, s.add(ctx).ID
	s.exec(ctx, "UPDATE outbox_signups SET status = 'doubtful', tries = 9, reason = 'no capacity'")
	s.exec(ctx, `UPDATE outbox_signups SET attempt_brand = 'acme', attempt_since = created_at, reason = ''
		WHERE id = $1`, doubtful)
	for id, want := range map[string][2]string{
		refused:  {"Given up by a person.", "It is not retried. You can correct it, or retry it."},
		doubtful: {"Given up by a person, because acme may have the lead.", "It is not retried. You can retry it."},
	} {
		assert.Contains(t, s.get(t, "/signups/"+id).text(), "If a brand has the lead, it stays there.")
		require.NoError(t, s.GiveUp(ctx, id, "anna"))
		assert.Contains(t, s.get(t, "/?status=refused").text(), want[0])
		page := s.get(t, "/signups/"+id).text()
		assert.Contains(t, page, "Refused Given up by anna. "+want[1])
		assert.NotContains(t, page, "The brand has this person already.")
		assert.NotContains(t, page, "a reason that this program does not know")
	}
}

// TestNotCorrectable checks that the page tells a try that is running from a
// lead in doubt.
func TestNotCorrectable(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	ctx := t.Context()
	signup := s.add(ctx)
	const running = "It is being tried now. Try again in a few seconds."
	const doubt = "This is not possible, because acme may have the lead with these values."
	for name, test := range map[string]struct {
		status string
		since  time.Duration
		next   any
		want   string
	}{
		"running":           {"pending", time.Second, nil, running},
		"waits in doubt":    {"pending", time.Second, ago(-time.Minute), doubt},
		"retried in doubt":  {"pending", time.Hour, nil, doubt},
		"needs a decision":  {"doubtful", time.Second, nil, doubt},
		"given up in doubt": {"refused", time.Second, nil, doubt},
	} {
		s.exec(ctx, `UPDATE outbox_signups SET tries = 1, attempt_brand = 'acme', status = $1, attempt_since = $2,
			next_try_at = $3`, test.status, ago(test.since), test.next)
		page := s.get(t, "/signups/"+signup.ID)
		assert.Contains(t, page.text(), test.want, name)
		assert.NotContains(t, page.body, "Correct and retry", name)
		got := s.send(t, http.MethodPost, "/signups/"+signup.ID+"/correct",
			url.Values{"email": {"new@example.com"}, "phone": {signup.Lead.Phone}}, nil)
		assert.Equal(t, http.StatusConflict, got.code, name)
		assert.Contains(t, got.text(), test.want+" Nothing was done.", name)
	}
}

// TestSignedUpAgain checks that the page leads from a refused sign-up to the
// newer one of the visitor.
func TestSignedUpAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	ctx := t.Context()
	lead := s.lead()
	earlier := must(s.Add(ctx, lead))
	s.exec(ctx, "UPDATE outbox_signups SET status = 'refused', reason = 'duplicate'")
	newer := must(s.Add(ctx, lead))
	require.NotEqual(t, earlier.ID, newer.ID)
	fields := url.Values{"email": {"new@example.com"}, "phone": {lead.Phone}}
	for _, action := range []string{"retry", "correct"} {
		got := s.send(t, http.MethodPost, "/signups/"+earlier.ID+"/"+action, fields, nil)
		assert.Equal(t, http.StatusConflict, got.code, action)
		assert.Contains(t, got.text(), "The visitor has signed up again with the same click id. Only the newer "+
			"sign-up can be retried or corrected. Nothing was done.", action)
		list := s.get(t, link(t, got, "Show the sign-ups with this click id"))
		assert.Contains(t, rows(list), newer.ID)
	}
	got := s.send(t, http.MethodPost, "/signups/"+newer.ID+"/give-up", nil, nil)
	assert.Contains(t, got.text(), "the status of the sign-up has changed. Nothing was done.")
	assert.Equal(t, "/signups/"+newer.ID, link(t, got, "Back to the sign-up"))
}

// TestRestored checks that the page says what to do about a sign-up from a
// backup.
func TestRestored(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	ctx := t.Context()
	id := s.add(ctx).ID
	s.exec(ctx, "UPDATE outbox_signups SET tries = 1, reason = 'no capacity', next_try_at = $1", ago(time.Hour))
	number, err := s.MarkRestored(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 1, number)
	const why = "It was restored from a backup, and a brand may have taken the lead after the backup."
	assert.Contains(t, s.get(t, "/?status=doubtful").text(), why)
	page := s.get(t, "/signups/"+id).text()
	assert.Contains(t, page, why+" Look for the lead at all brands. If one has it, give this sign-up up: it becomes "+
		"refused here, and the lead stays at the brand. If none has it, retry.")
	assert.NotContains(t, page, "refused it for hours")
	assert.NotContains(t, page, "Last error", "it is no error")
}

// TestBrandLastTried checks that a brand that is not tried any more does not
// look as if it were failing now.
func TestBrandLastTried(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	s.acme.SetToken("another token")
	ctx, stop := context.WithCancel(t.Context())
	var worker sync.WaitGroup
	worker.Go(func() { assert.NoError(t, s.Work(ctx)) })
	s.try(t.Context())
	stop()
	worker.Wait()
	at := ` \d+ \w+, \d\d:\d\d, just now\.`
	assert.Regexp(t, `acme refuses our access: [^.]+\. Sign-ups that need it wait until that is fixed\. Since`+at+
		` Last tried`+at, s.get(t, "/").text())
}

// TestPaging adds sign-ups while an operator reads page after page.
func TestPaging(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	var want []string
	for range 120 {
		want = append([]string{s.add(t.Context()).ID}, want...)
	}
	s.exec(t.Context(), `UPDATE outbox_signups SET created_at = substr(created_at, 1, 19) || '.000000Z', -- many at once
		status = CASE rowid % 4 WHEN 0 THEN 'registered' WHEN 1 THEN 'refused' ELSE 'pending' END`)
	all, err := s.List(t.Context(), outbox.Query{Limit: 1000})
	require.NoError(t, err)
	for i := range all {
		want[i] = all[i].ID
	}
	page := s.get(t, "/?q=example.com")
	got := rows(page)
	assert.Len(t, got, 50)
	assert.NotContains(t, page.body, ">Newer</a>")
	for range 2 {
		for range 30 {
			s.add(t.Context())
		}
		page = s.get(t, link(t, page, "Older"))
		got = append(got, rows(page)...)
	}
	assert.Equal(t, want, got)
	assert.NotContains(t, page.body, ">Older</a>")

	page = s.get(t, link(t, page, "Newer"))
	assert.Equal(t, want[50:100], rows(page))
	page = s.get(t, link(t, page, "Newer"))
	assert.Equal(t, want[:50], rows(page))
	assert.Len(t, rows(s.get(t, link(t, page, "Newer"))), 50, "the last page is the newest one, and full")
	assert.Len(t, s.csv(t, link(t, page, "Download")), 181)

	before := link(t, page, "Older")
	s.exec(t.Context(), "DELETE FROM outbox_signups WHERE id = $1", want[49])
	got0 := s.get(t, before)
	assert.Equal(t, http.StatusSeeOther, got0.code)
	assert.Equal(t, "/?q=example.com", got0.header.Get("Location"))
}

// TestSearch looks for texts that mean something else in SQL, HTML or URLs.
func TestSearch(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	for _, email := range []string{"100%@example.com", "a_b@example.com", "axb@example.com", `q"'&@example.com`} {
		lead := s.lead()
		lead.FirstName, lead.LastName, lead.Email = "Zoë", `<b>`, email
		must(s.Add(t.Context(), lead))
	}
	for search, want := range map[string]int{
		"%": 1, "100%": 1, "_": 1, "a_b": 1, "axb": 1, `"'&`: 1, `\`: 0, "zoë": 4, "ZOË": 4, " zoë ": 4, "<B>": 4,
		"+4179555000": 4, "click-2": 1, "nobody": 0, "": 4, "'; DROP TABLE outbox_signups; --": 0, "\x00": 0, "\xff": 0,
	} {
		page := s.get(t, "/?q="+url.QueryEscape(search))
		require.Equal(t, http.StatusOK, page.code)
		assert.Len(t, rows(page), want, search)
		if strings.TrimSpace(search) != "" {
			assert.Contains(t, page.text(), "Only those with", search)
		}
		assert.Len(t, s.csv(t, link(t, page, "Download")), want+1, search)
	}
	assert.NotContains(t, s.get(t, "/").body, "<b></b>")
	assert.Len(t, rows(s.get(t, "/?status=nonsense")), 4)
}

// TestCSV checks that a spreadsheet calculates nothing, and that nothing is
// lost.
func TestCSV(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	evil := []string{"=1+1", "+cmd|' /C calc'!A0", "-1", "@SUM(A1)", "\t=1", "'=1", `a"b;c,d` + "\n" + "=2", "Zoë"}
	for _, name := range evil {
		lead := s.lead()
		lead.FirstName = name
		must(s.Add(t.Context(), lead))
	}
	rows := s.csv(t, "/signups.csv")
	require.Len(t, rows, len(evil)+1)
	assert.Equal(t, []string{
		"Id", "Signed up (UTC)", "Status", "Why", "First name", "Last name", "Email", "Phone", "Country", "Click id",
		"Sub-campaign", "Brand", "Lead id", "Tries", "Next try (UTC)", "Settled (UTC)", "Problem",
	}, rows[0])
	names := make(map[string]bool)
	for _, row := range rows[1:] {
		for _, cell := range row {
			assert.NotRegexp(t, `^[=+\-@\t\r]`, cell)
		}
		names[importer.UnescapeFormula(row[4])] = true
		assert.Equal(t, []string{"Waiting", "It was not tried yet."}, row[2:4])
		assert.Regexp(t, `^'\+4179555\d{4}$`, row[7])
	}
	for _, name := range evil {
		assert.True(t, names[name], "%q", name)
	}
	assert.Len(t, s.csv(t, "/signups.csv?status=registered"), 1)
	assert.Regexp(t, `an operator has downloaded sign-ups" by="someone on this machine" rows=8`, s.log.String())
}

// TestDownloadBreaks checks that a file that is not complete does not look
// complete.
func TestDownloadBreaks(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	s.add(t.Context())
	s.exec(t.Context(), "ALTER TABLE outbox_signups RENAME TO gone")
	response, err := http.Get(s.url + "/signups.csv") //nolint:noctx // it fails at once
	if err == nil {
		_, err = io.ReadAll(response.Body)
		response.Body.Close()
	}
	require.Error(t, err)
	got := s.get(t, "/")
	assert.Equal(t, http.StatusServiceUnavailable, got.code)
	assert.Contains(t, got.text(), "The database does not answer. Please try again.")
	assert.NotContains(t, got.body, "gone")
}

// TestActions presses the buttons of one sign-up.
func TestActions(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(opts *admin.Options) {
		opts.UserHeader, opts.Proxies = "X-Forwarded-User", prefixes("127.0.0.0/8")
	})
	ctx := t.Context()
	as := func(user string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("X-Forwarded-User", user) }
	}
	press := func(id, action string, fields url.Values) reply {
		return s.send(t, http.MethodPost, "/signups/"+id+"/"+action, fields, as("anna"))
	}
	signup := s.add(ctx)
	path := "/signups/" + signup.ID
	got := press(signup.ID, "retry", nil)
	require.Equal(t, http.StatusSeeOther, got.code)
	page := s.send(t, http.MethodGet, got.header.Get("Location"), nil, as("anna"))
	assert.Contains(t, page.text(), "A try has been started.")
	assert.Contains(t, page.text(), "Retried by anna")
	assert.Contains(t, page.text(), "You are anna.")
	assert.NotContains(t, page.text(), "Give up")

	old := url.Values{"old-email": {signup.Lead.Email}, "old-phone": {signup.Lead.Phone}}
	form := func(email, phone string) url.Values {
		return url.Values{
			"email": {email}, "phone": {phone}, "old-email": old["old-email"], "old-phone": old["old-phone"],
		}
	}
	for name, test := range map[string]struct {
		email, phone, want, typed string
	}{
		"no email": {"", signup.Lead.Phone, "The email is missing.", ""},
		"spaces":   {signup.Lead.Email, "  ", "The phone is missing.", ""},
		"no address": {
			"anna at example", signup.Lead.Phone,
			"The email must be one address, such as anna@example.com.", "anna at example",
		},
		"HTML":            {"<script>", signup.Lead.Phone, "The email must be", "&lt;script&gt;"},
		"nothing changed": {signup.Lead.Email, " " + signup.Lead.Phone, "Nothing was changed.", ""},
		"long": {
			signup.Lead.Email, strings.Repeat("1", 1001),
			"The phone must have at most 1000 characters.", "",
		},
	} {
		got := press(signup.ID, "correct", form(test.email, test.phone))
		assert.Equal(t, http.StatusUnprocessableEntity, got.code, name)
		assert.Contains(t, got.text(), test.want, name)
		assert.Contains(t, got.body, `aria-invalid="true"`, name)
		assert.Contains(t, got.body, test.typed, name)
		assert.NotContains(t, got.body, "<script>", name)
	}
	got = press(signup.ID, "correct", form("new@example.com", signup.Lead.Phone))
	require.Equal(t, path+"?done=corrected", got.header.Get("Location"), got.body)
	// The form is still open with the old values, and the operator changes the
	// phone now.
	got = press(signup.ID, "correct", form(signup.Lead.Email, "+41790000000"))
	require.Equal(t, http.StatusSeeOther, got.code)
	after := must(s.Get(ctx, signup.ID))
	assert.Equal(t, "new@example.com", after.Lead.Email, "this was not undone")
	assert.Equal(t, "+41790000000", after.Lead.Phone)

	assert.Equal(t, http.StatusConflict, press(signup.ID, "give-up", nil).code, "it waits")
	s.exec(ctx, "UPDATE outbox_signups SET status = 'doubtful', attempt_brand = 'acme', attempt_since = created_at")
	page = s.send(t, http.MethodGet, path, nil, as("anna"))
	assert.Contains(t, page.text(), "This is not possible, because acme may have the lead with these values.")
	assert.Contains(t, page.text(), "Yes, give this sign-up up")
	got = press(signup.ID, "correct", form("third@example.com", ""))
	assert.Equal(t, http.StatusUnprocessableEntity, got.code)
	got = press(signup.ID, "correct", form("third@example.com", signup.Lead.Phone))
	assert.Equal(t, http.StatusConflict, got.code)
	assert.Contains(t, got.text(), "acme may have the lead with these values. Nothing was done.")
	got = press(signup.ID, "give-up", nil)
	require.Equal(t, path+"?done=given-up", got.header.Get("Location"), got.body)
	assert.Equal(t, outbox.Refused, must(s.Get(ctx, signup.ID)).Status)
	assert.Equal(t, http.StatusConflict, press(signup.ID, "give-up", nil).code)
	require.Equal(t, http.StatusSeeOther, press(signup.ID, "retry", nil).code)

	s.exec(ctx, "UPDATE outbox_signups SET status = 'registered', brand = 'acme', lead_id = 7")
	for _, action := range []string{"retry", "correct", "give-up"} {
		got := press(signup.ID, action, form("fourth@example.com", "+1"))
		assert.Equal(t, http.StatusConflict, got.code, action)
		assert.Contains(t, got.text(), "Nothing was done.")
	}
	page = s.send(t, http.MethodGet, path, nil, as("anna"))
	assert.NotContains(t, page.body, `method="post"`, "there is nothing to do")
	assert.Equal(t, http.StatusNotFound, press("NOSUCHSIGNUP", "retry", nil).code)

	var kinds []string
	for _, change := range must(s.History(ctx, signup.ID)) {
		assert.Equal(t, "anna", change.By)
		kinds = append(kinds, string(change.Kind))
	}
	assert.Equal(t, []string{"retried", "corrected", "corrected", "given up", "retried"}, kinds)
	for _, want := range []string{
		`has retried a sign-up" by=anna id=` + signup.ID, `has corrected a sign-up" by=anna id=` + signup.ID,
		`has given a sign-up up" by=anna id=` + signup.ID,
	} {
		assert.Contains(t, s.log.String(), want)
	}
	assert.NotContains(t, s.log.String(), "example.com")
}

// TestRetryAll retries more sign-ups than one press of the button can.
func TestRetryAll(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	ctx := t.Context()
	for range 5 {
		s.add(ctx)
	}
	s.exec(ctx, `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200)
		INSERT INTO outbox_signups (id, click_hash, job_id, lead, search, status, created_at, password,
			reason, settled_at)
		SELECT 'REFUSED' || i, 'hash' || i, 0, lead, 'refused ' || i, 'refused', printf('2026-01-01T00:00:00.%06dZ', i),
			'', 'other', created_at
		FROM n, (SELECT * FROM outbox_signups LIMIT 1)`)
	// The visitor of the second one has signed up again.
	s.exec(ctx, "UPDATE outbox_signups SET click_hash = 'hash2' WHERE id = (SELECT id FROM outbox_signups LIMIT 1)")

	page := s.get(t, "/?status=refused")
	page = s.get(t, link(t, page, "Retry all…"))
	assert.Contains(t, page.text(), "This starts a try of the oldest 1000 sign-ups with the status Refused.")
	assert.Contains(t, page.text(), "A refused sign-up gets a new random password")
	fields := url.Values{"status": {"refused"}}
	page = s.get(t, s.retryAll(t, fields))
	assert.Contains(t, page.text(), "A try of 999 sign-ups was started.")
	assert.Contains(t, page.text(), "Left out: 1. Their status has changed, or the visitor has signed up again.")
	assert.Contains(t, page.text(), "More sign-ups match. This starts a try of 200 sign-ups with")
	fields.Set("before", regexp.MustCompile(`name="before" value="(\w+)"`).FindStringSubmatch(page.body)[1])
	page = s.get(t, s.retryAll(t, fields))
	assert.Contains(t, page.text(), "A try of 200 sign-ups was started. That was all.")
	counts := must(s.Counts(ctx))
	assert.EqualValues(t, 1, counts[outbox.Refused].Number)
	assert.EqualValues(t, 1204, counts[outbox.Pending].Number)
	assert.Equal(t, 2, strings.Count(s.log.String(), "has retried sign-ups"))
	assert.Equal(t, "someone on this machine", must(s.History(ctx, "REFUSED7"))[0].By)

	page = s.get(t, s.retryAll(t, url.Values{"status": {"pending"}, "q": {"REFUSED 120"}}))
	assert.Contains(t, page.text(), "A try of 2 sign-ups was started.", "120 and 1200")
	for _, status := range []string{"", "registered", "nonsense"} {
		page = s.get(t, s.retryAll(t, url.Values{"status": {status}}))
		assert.Contains(t, page.text(), "A try of 0 sign-ups was started.", "only with a status")
		assert.NotContains(t, s.get(t, "/?status="+status).body, "Retry all")
	}
}

// TestValidatorWords checks the text of each mistake that a correction can
// have.
func TestValidatorWords(t *testing.T) {
	t.Parallel()
	for _, email := range []string{"a", "a@b@c", "a b@example.com", "Anna <anna@example.com>"} {
		req := clixnow.CreateLeadRequest{Email: email}
		var invalid *clixnow.ValidationError
		require.ErrorAs(t, req.Validate(), &invalid)
		for _, fault := range invalid.Fields {
			assert.Regexp(t, `^(is|must) `, fault.Problem, "it follows the name of the field in a sentence")
		}
	}
}

// TestPages checks what all pages have.
func TestPages(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(opts *admin.Options) { opts.Version = "v9.9" })
	page := s.get(t, "/")
	assert.Contains(t, page.text(), "There are no sign-ups yet. They show here as they arrive.")
	assert.Contains(t, page.text(), "acme was not tried since the start.")
	assert.Contains(t, page.text(), "Version v9.9.")
	assert.NotContains(t, page.text(), "You are")
	for _, target := range []string{"/nothing", "/signups/NONE", "/signups/a%2Fb", "/page/list.html", "/page/"} {
		got := s.get(t, target)
		assert.Equal(t, http.StatusNotFound, got.code, target)
		assert.Contains(t, got.text(), "There is no such page.")
	}
	for file, kind := range map[string]string{
		"style.css": "text/css; charset=utf-8", "live.js": "text/javascript; charset=utf-8",
		"icon.svg": "image/svg+xml",
	} {
		got := s.get(t, "/page/"+file)
		assert.Equal(t, http.StatusOK, got.code)
		assert.Equal(t, kind, got.header.Get("Content-Type"))
	}
	got := s.send(t, http.MethodPost, "/retry", url.Values{"q": {string(bytes.Repeat([]byte("x"), 100_000))}}, nil)
	assert.Equal(t, http.StatusSeeOther, got.code, fmt.Sprint("a body that is too large has no fields: ", got.body))
}
