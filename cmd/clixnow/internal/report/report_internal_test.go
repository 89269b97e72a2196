package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/net/html"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon is the time of the reports in the tests.
var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func TestRun(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "report.html")
	var out, messages strings.Builder
	require.NoError(t, run(t.Context(), []string{"-o", file}, &out, &messages, noon))
	assert.Contains(t, messages.String(), "The page with charts is "+file)
	for _, want := range []string{
		"Leads of 27 Oct 2026 to 25 Nov 2026, days in UTC\n",
		"\n search-brand         354    40      11.3 %     8 to 15 % \n",
		"\n (none)               103     3       2.9 %      1 to 8 % \n",
		"\n influencer-müller     78     8      10.3 %     5 to 19 % \n",
		"\n other (3 more)        56     3       5.4 %     2 to 15 % \n",
		"\n Total               1731   111       6.4 %      5 to 8 % \n",
		"\n No Answer         552  31.9 %  ████████████████████████ \n",
		"\n 2026-10-27     62     3      4.8 %           8           8  ████████████ ",
		"\n 2026-11-23     82     4      4.9 %*          6           0  ███████████████ ",
		"\n Total        1731   111      6.4 %         128          17 ",
		"90 % of the first deposits came within 7 days of the",
	} {
		assert.Contains(t, out.String(), want)
	}
	page, err := os.ReadFile(file)
	require.NoError(t, err)
	checkPage(t, page, 5)
	assert.Contains(t, string(page), "<dt>leads signed up</dt><dd>1731</dd>")
	entries, err := os.ReadDir(filepath.Dir(file))
	require.NoError(t, err)
	assert.Len(t, entries, 1, "no temporary file must remain")
}

// checkPage checks that a page loads no files, runs no scripts, and describes
// each of its charts in words.
func checkPage(t *testing.T, page []byte, charts int) {
	t.Helper()
	root, err := html.Parse(bytes.NewReader(page))
	require.NoError(t, err)
	policy, images := "", 0
	for node := range root.Descendants() {
		attributes := map[string]string{}
		for _, attribute := range node.Attr {
			attributes[attribute.Key] = attribute.Val
			assert.NotContains(t, []string{"src", "srcset", "href", "data", "action", "poster", "background"},
				attribute.Key)
			assert.False(t, strings.HasPrefix(attribute.Key, "on"), attribute.Key)
			assert.NotContains(t, attribute.Val, "url(")
		}
		switch {
		case node.Type == html.ElementNode:
			assert.NotContains(t, []string{
				"script", "link", "img", "image", "iframe", "object", "embed", "base", "foreignobject", "use",
			}, node.Data)
		case node.Type == html.TextNode && node.Parent.Data == "style":
			assert.NotContains(t, node.Data, "url(")
			assert.NotContains(t, node.Data, "@import")
		}
		if attributes["http-equiv"] == "Content-Security-Policy" {
			policy = attributes["content"]
		}
		if attributes["role"] == "img" {
			images++
			assert.NotEmpty(t, attributes["aria-label"])
		}
	}
	assert.Equal(t, "default-src 'none'; style-src 'unsafe-inline'", policy)
	assert.Equal(t, charts, images)
	assert.Equal(t, 2*charts, bytes.Count(page, []byte("<svg")), "one for wide screens and one for narrow screens")
	assert.NotRegexp(t, regexp.MustCompile(`:rgb\(\d,1,2\)`), string(page),
		"every colour must come from the style sheet")
}

// reportOn reports on the leads of a server from 1 to 25 November.
func reportOn(t *testing.T, client *clixnow.Client, file string, flags ...string) (table string, err error) {
	t.Helper()
	defer client.CloseIdleConnections()
	args := append([]string{"-from", "2026-11-01", "-o", file}, flags...)
	opts, err := parse(args, io.Discard, noon)
	require.NoError(t, err)
	var out strings.Builder
	err = write(t.Context(), client, opts, &out, io.Discard, noon)
	return out.String(), err
}

func serve(t *testing.T, leads []clixnow.Lead, opts ...clixnowtest.Option) *clixnowtest.Server {
	t.Helper()
	server := clixnowtest.NewServer(opts...)
	t.Cleanup(server.Close)
	server.AddLeads(leads...)
	return server
}

func TestRequests(t *testing.T) {
	t.Parallel()
	server := serve(t, nil)
	_, err := reportOn(t, server.Client(), "-", "-zone", "Europe/Zurich")
	require.NoError(t, err)
	requests := server.Requests()
	require.Len(t, requests, 2)
	assert.Equal(t, "count=1000&createdOnFrom=2026-10-31T22%3A00%3A00&createdOnTo=2026-11-26T00%3A00%3A00&orderBy=Id",
		requests[0].Query.Encode())
	assert.Equal(t, "count=1000&ftdDateFrom=2026-10-31T22%3A00%3A00&ftdDateTo=2026-11-26T00%3A00%3A00&orderBy=Id",
		requests[1].Query.Encode())
}

func TestTextsOfTheServer(t *testing.T) {
	t.Parallel()
	texts := []string{
		"<script>alert(1)</script>", `"><img src=x onerror=alert(1)>`, "</style></svg>&lt;", "{{.Title}}",
		"url(http://evil.example)", "\x1b]0;owned\x07\x1b[2J", "\u202eright to left", "a\nb",
		strings.Repeat("long ", 100), strings.Repeat("大", 60),
	}
	var leads []clixnow.Lead
	for i, text := range texts {
		leads = append(leads, clixnow.Lead{
			Email: fmt.Sprintf("lead%d@example.com", i), SubCampaign: text, Status: texts[len(texts)-1-i],
			CreatedOn: noon.AddDate(0, 0, -i), FTDDate: noon,
		})
	}
	file := filepath.Join(t.TempDir(), "report.html")
	table, err := reportOn(t, serve(t, leads).Client(), file)
	require.NoError(t, err)
	assert.NotContains(t, table, "\x1b")
	assert.NotContains(t, table, "\u202e")
	assert.Contains(t, table, "�]0;owned��[2J")
	assert.Contains(t, table, "<script>alert(1)</script>")
	for line := range strings.Lines(table) {
		assert.LessOrEqual(t, utf8.RuneCountInString(line), 81, line)
	}
	page, err := os.ReadFile(file)
	require.NoError(t, err)
	checkPage(t, page, 5)
	assert.NotContains(t, string(page), "\x1b")
	assert.NotContains(t, string(page), "\u202e")
	assert.Contains(t, string(page), "<bdi>&lt;script&gt;alert(1)&lt;/script&gt;</bdi><td>1<td>1<td>100.0 %")
	assert.Regexp(t, `<text [^>]*>&lt;script&gt;alert\(1\)[^<]*</text>`, string(page), "in a chart")
	assert.Contains(t, string(page), "{{.Title}}")
}

func TestWidths(t *testing.T) {
	t.Parallel()
	leads := sampleLeads(noon)
	leads[len(leads)-1].SubCampaign = strings.Repeat("a-long-name-", 20)
	f := newFunnel(period{first: noon.Truncate(24*time.Hour).AddDate(0, 0, -29), days: 30, zone: time.UTC})
	for _, lead := range leads {
		f.addLead(lead)
		f.addDeposit(lead)
	}
	for _, columns := range []int{40, 60, 80, 120, 300} {
		t.Run(strconv.Itoa(columns), func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			newReport(f, 20, noon).printTables(&out, columns)
			widest := 0
			for line := range strings.Lines(out.String()) {
				widest = max(widest, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")))
			}
			assert.LessOrEqual(t, widest, columns)
			assert.Greater(t, widest, columns*9/10)
		})
	}
}

// TestNamesOfBars checks that each bar is beside its name, for both widths.
func TestNamesOfBars(t *testing.T) {
	t.Parallel()
	r := report{SubCampaigns: []group{
		{Name: "first", Leads: 10, FTDs: 4},
		{Name: "second", Leads: 10, FTDs: 1},
		{Name: "third", Leads: 10, FTDs: 2},
	}}
	words := regexp.MustCompile(`<text x="\d+" y="(\d+)"[^>]*>([^<]+)</text>`)
	c := r.ConversionBySubCampaign()
	for _, width := range []int{860, 350} {
		svg, err := c.SVG(width)
		require.NoError(t, err)
		at := map[string]int{}
		for _, match := range words.FindAllStringSubmatch(string(svg), -1) {
			at[match[2]], err = strconv.Atoi(match[1])
			require.NoError(t, err)
		}
		assert.Positive(t, at["first"])
		assert.Less(t, at["first"], at["second"])
		assert.Less(t, at["second"], at["third"])
		assert.InDelta(t, at["first"], at["40.0 %"], 4)
		assert.InDelta(t, at["second"], at["10.0 %"], 4)
		assert.InDelta(t, at["third"], at["20.0 %"], 4)
	}
}

func TestScale(t *testing.T) {
	t.Parallel()
	for highest, want := range map[float64][2]float64{
		0: {1, 1}, 1: {1, 1}, 3: {3, 3}, 5: {5, 5}, 6: {6, 3}, 11: {15, 3}, 26.3: {30, 3}, 99: {100, 5},
		100: {100, 5}, 101: {150, 3}, 1234: {1500, 3},
	} {
		c := chart{
			groups: make([]group, 1),
			Parts:  []part{{values: []float64{highest / 2}}, {values: []float64{highest / 2}}},
		}
		end, steps := c.scale(860)
		assert.Equal(t, want, [2]float64{end, float64(steps)}, highest)
	}
}

func TestEmptyPeriod(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "report.html")
	table, err := reportOn(t, serve(t, nil).Client(), file)
	require.NoError(t, err)
	page, err := os.ReadFile(file)
	require.NoError(t, err)
	checkPage(t, page, 0)
	for _, text := range []string{table, string(page)} {
		assert.Contains(t, text, "No lead signed up or deposited in this period.")
		assert.NotContains(t, text, "Total")
	}
}

func TestOnlyDepositsOfEarlierLeads(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "report.html")
	lead := clixnow.Lead{Email: "a@example.com", CreatedOn: noon.AddDate(-1, 0, 0), FTDDate: noon}
	table, err := reportOn(t, serve(t, []clixnow.Lead{lead}).Client(), file)
	require.NoError(t, err)
	assert.Regexp(t, `Total +0 +0 +0.0 % +1 +1`, table)
	assert.NotContains(t, table, "Sub-campaign")
	page, err := os.ReadFile(file)
	require.NoError(t, err)
	checkPage(t, page, 1)
}

func TestHiddenDeposits(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "report.html")
	server := serve(t, sampleLeads(noon), clixnowtest.WithHiddenFields("ftdDate"))
	table, err := reportOn(t, server.Client(), file)
	require.NoError(t, err)
	assert.Contains(t, table, "hidden from your token")
	page, err := os.ReadFile(file)
	require.NoError(t, err)
	checkPage(t, page, 2) // the charts of sign-ups and statuses need no deposits
	assert.Contains(t, string(page), "are hidden from your token")
}

func TestFailedRead(t *testing.T) {
	t.Parallel()
	afterTwoPages := clixnowtest.Fault{Times: 2}
	tests := []struct {
		name   string
		fault  clixnowtest.Fault
		advice string
		is     error
	}{
		{"server error", clixnowtest.Fault{Status: 503, Times: 50}, "Run it again later.", clixnow.ErrServer},
		{
			"cut pages",
			clixnowtest.Fault{Drop: clixnowtest.DropMidBody, Times: 50},
			"Run it again later.",
			clixnow.ErrInvalidResponse,
		},
		{"token revoked", clixnowtest.Fault{Status: 401}, "Check that CLIXNOW_TOKEN", clixnow.ErrUnauthorized},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, sampleLeads(noon), clixnowtest.WithPageLimit(100))
			server.Inject(afterTwoPages, test.fault)
			policy := clixnow.RetryPolicy{MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond}
			checkNothingWritten(t, server.Client(clixnow.WithRetry(policy)), test.is, test.advice)
		})
	}
}

func TestUnstableResults(t *testing.T) {
	t.Parallel()
	row := `{"id":%d,"createdOn":"2026-11-20T10:00:00Z","updatedOn":"2026-11-20T10:00:00Z"},`
	var page strings.Builder
	for id := range 1000 {
		fmt.Fprintf(&page, row, 1+id)
	}
	ignoresSkip := func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "[%s]", strings.TrimSuffix(page.String(), ","))
	}
	server := httptest.NewServer(http.HandlerFunc(ignoresSkip))
	t.Cleanup(server.Close)
	client, err := clixnow.NewClient("acme", "token", clixnow.WithBaseURL(server.URL))
	require.NoError(t, err)
	checkNothingWritten(t, client, clixnow.ErrUnstableResults, "run it again.")
}

func checkNothingWritten(t *testing.T, client *clixnow.Client, is error, advice string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.html")
	require.NoError(t, os.WriteFile(file, []byte("yesterday's"), 0o600))
	table, err := reportOn(t, client, file)
	require.ErrorIs(t, err, is)
	assert.ErrorContains(t, err, "\nNothing was written. ")
	assert.ErrorContains(t, err, advice)
	assert.Empty(t, table)
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, "yesterday's", string(content))
	entries, err := os.ReadDir(filepath.Dir(file))
	require.NoError(t, err)
	assert.Len(t, entries, 1)
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	file := filepath.Join(t.TempDir(), "report.html")
	err := run(ctx, []string{"-o", file}, io.Discard, io.Discard, noon)
	require.ErrorIs(t, err, context.Canceled)
	assert.ErrorContains(t, err, "It was interrupted.")
	assert.NoFileExists(t, file)
}

func TestReplaceFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "report.html"), 0o700))
	require.Error(t, replaceFile(filepath.Join(dir, "report.html"), []byte("page")), "a folder has this name")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 1, "no temporary file must remain")
	require.Error(t, replaceFile(filepath.Join(dir, "no", "folder.html"), []byte("page")))
}

func TestParse(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 25, 23, 30, 0, 0, time.UTC)
	tests := []struct {
		args, first string
		days        int
		fault       string
	}{
		{"", "2026-10-27", 30, ""},
		{"-zone Europe/Zurich", "2026-10-28", 30, ""}, // there it is already 26 November
		{"-zone America/New_York", "2026-10-27", 30, ""},
		{"-to 2026-10-31", "2026-10-02", 30, ""},
		{"-from 2026-11-25", "2026-11-25", 1, ""},
		{"-from 2026-10-01 -to 2026-10-31", "2026-10-01", 31, ""},
		{"-from 2026-10-01 -to 2026-10-31 -zone Europe/Zurich", "2026-10-01", 31, ""},
		{"-from 2025-01-01 -to 2026-12-31", "2025-01-01", 730, ""},
		{"-from 2026-11-26", "", 0, "one day to two years"},
		{"-from 2020-01-01", "", 0, "one day to two years"},
		{"-from 1.10.2026", "", 0, `-from: "1.10.2026" is not a day; write it as 2026-10-01`},
		{"-to 2026-02-30", "", 0, "-to: "},
		{"-zone Zurich", "", 0, "-zone: unknown time zone Zurich; give a name such as Europe/Zurich"},
		{"-top 0", "", 0, "-top must be at least 1"},
		{"-o=", "", 0, "-o must be a file"},
		{"october", "", 0, `unexpected argument "october"`},
		{"-token x", "", 0, "flag provided but not defined: -token; -h lists the flags"},
	}
	for _, test := range tests {
		t.Run(test.args, func(t *testing.T) {
			t.Parallel()
			opts, err := parse(strings.Fields(test.args), io.Discard, at)
			if test.fault != "" {
				require.ErrorContains(t, err, test.fault)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, test.first, opts.period.first.Format(time.DateOnly))
			assert.Equal(t, test.days, opts.period.days)
		})
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	var messages strings.Builder
	_, err := parse([]string{"-h"}, &messages, noon)
	require.ErrorIs(t, err, flag.ErrHelp)
	for _, want := range []string{"-brand", "CLIXNOW_TOKEN", "-from", "-to", "-zone", "-top", "-o file"} {
		assert.Contains(t, messages.String(), want)
	}
}

func TestConnectNeedsAToken(t *testing.T) {
	t.Setenv("CLIXNOW_TOKEN", "")
	err := run(t.Context(), []string{"-brand", "acme", "-o", "-"}, io.Discard, io.Discard, noon)
	require.ErrorContains(t, err, "CLIXNOW_TOKEN")
	t.Setenv("CLIXNOW_TOKEN", "secret token")
	err = run(t.Context(), []string{"-brand", "acme", "-o", "-"}, io.Discard, io.Discard, noon)
	require.ErrorContains(t, err, "create a client")
	assert.NotContains(t, err.Error(), "secret")
	t.Setenv("CLIXNOW_TOKEN", "token")
	_, closeClient, err := connect("acme", noon)
	require.NoError(t, err)
	closeClient()
}

func TestAdvice(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"It was interrupted.":                     context.Canceled,
		"Check the brand and the connection.":     clixnow.ErrNotSent,
		"Run it again later.":                     errors.New("anything"),
		"Leads changed faster than they could be": clixnow.ErrUnstableResults,
	} {
		assert.Contains(t, advice(fmt.Errorf("read: %w", err)), want)
	}
}
