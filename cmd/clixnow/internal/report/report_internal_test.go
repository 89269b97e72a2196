package report

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net"
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
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon is the time of the reports in the tests.
var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// result is what the command has printed.
type result struct{ out, messages strings.Builder }

// run runs the command. environment has names and values.
func run(ctx context.Context, demo bool, environment map[string]string, opts []clixnow.Option,
	args ...string,
) (*result, error) {
	return runWith(ctx, &app.App{Demo: demo}, environment, opts, args...)
}

// runWith runs the command with the flags of a.
func runWith(ctx context.Context, a *app.App, environment map[string]string, opts []clixnow.Option,
	args ...string,
) (*result, error) {
	r := new(result)
	a.Out, a.Err = &r.out, &r.messages
	a.ConfigFile = cmp.Or(environment["CLIXNOW_CONFIG"], os.DevNull)
	a.Getenv = func(name string) string { return environment[name] }
	defer a.Close()
	cmd := command(a, func() time.Time { return noon }, opts...) //nolint:contextcheck // ExecuteContext passes it
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	return r, cmd.ExecuteContext(ctx)
}

func TestRun(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "report.html")
	r, err := run(t.Context(), true, nil, nil, "--page", file)
	require.NoError(t, err)
	assert.Equal(t, "the page is "+file+"\n", r.messages.String())
	assertGolden(t, "demo.txt", r.out.String())
	page, err := os.ReadFile(file)
	require.NoError(t, err)
	checkPage(t, page, 3)
	assert.Contains(t, string(page), `aria-label="Leads before">Before`)
	assert.Contains(t, string(page), `aria-label="Conversion before">Before`)
	assert.Contains(t, string(page), "background-attachment: local, local, scroll, scroll")
	assert.Contains(t, string(page), "<dt>Leads signed up</dt><dd>3,188</dd><dd>before 3,274")
	assert.Contains(t, string(page), "<title>alpine, harbor, sierra: leads of 27 Oct 2026 to 25 Nov 2026</title>")
	entries, err := os.ReadDir(filepath.Dir(file))
	require.NoError(t, err)
	assert.Len(t, entries, 1, "no temporary file must remain")
}

// assertGolden compares text with a file of testdata. With CLIXNOW_GOLDEN=1 it
// writes the file.
func assertGolden(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if os.Getenv("CLIXNOW_GOLDEN") != "" {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), text)
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
	assert.NotContains(t, string(page), "ZgotmplZ", "no value was refused by the template")
	assert.NotContains(t, string(page), "NaN")
}

// reportOn reports on the leads of a server from 1 to 25 November. It writes no
// page if file is "".
func reportOn(t *testing.T, server *clixnowtest.Server, file string, flags ...string) (table string) {
	t.Helper()
	if file != "" {
		flags = append(flags, "--page", file)
	}
	environment := map[string]string{
		"CLIXNOW_BRAND": server.Brand, "CLIXNOW_TOKEN": server.Token, "CLIXNOW_BASE_URL": server.URL,
		"CLIXNOW_CONFIG": os.DevNull,
	}
	r, err := run(t.Context(), false, environment, nil, append([]string{"--from", "2026-11-01"}, flags...)...)
	require.NoError(t, err)
	return r.out.String()
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
	reportOn(t, server, "", "--zone", "Europe/Zurich")
	requests := server.Requests()
	require.Len(t, requests, 2)
	assert.Equal(t, "count=1000&createdOnFrom=2026-10-06T21%3A00%3A00&createdOnTo=2026-11-26T00%3A00%3A00&orderBy=Id",
		requests[0].Query.Encode())
	assert.Equal(t, "count=1000&ftdDateFrom=2026-10-06T21%3A00%3A00&ftdDateTo=2026-11-26T00%3A00%3A00&orderBy=Id",
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
	table := reportOn(t, serve(t, leads), file)
	assert.NotContains(t, table, "\x1b")
	assert.NotContains(t, table, "\u202e")
	assert.Contains(t, table, "�]0;owned��[2J")
	assert.Contains(t, table, "<script>alert(1)</script>")
	for line := range strings.Lines(table) {
		assert.LessOrEqual(t, utf8.RuneCountInString(line), 81, line)
	}
	page, err := os.ReadFile(file)
	require.NoError(t, err)
	checkPage(t, page, 3)
	assert.NotContains(t, string(page), "\x1b")
	assert.NotContains(t, string(page), "\u202e")
	assert.Contains(t, string(page),
		"<bdi>&lt;script&gt;alert(1)&lt;/script&gt;</bdi><td>1<td class=\"before\">0<td>1<td>100.0 %")
	assert.Contains(t, string(page), "{{.Title}}")
}

func TestWidths(t *testing.T) {
	t.Parallel()
	leads := sampleLeads(noon, 60, 1, 0)
	leads[len(leads)-1].SubCampaign = strings.Repeat("a-long-name-", 20)
	f := newFunnel(period{first: noon.Truncate(24*time.Hour).AddDate(0, 0, -29), days: 30, zone: time.UTC}, noon)
	for _, lead := range leads {
		f.addLead(entry{"acme", lead})
		f.addDeposit(entry{strings.Repeat("long", 20), lead})
	}
	for _, columns := range []int{40, 60, 80, 120, 300} {
		t.Run(strconv.Itoa(columns), func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			newReport(f, 20).printTables(&out, columns)
			widest := 0
			for line := range strings.Lines(out.String()) {
				widest = max(widest, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")))
			}
			assert.LessOrEqual(t, widest, columns)
			assert.Greater(t, widest, columns*9/10)
		})
	}
}

// TestNamesOfBars checks that each bar is beside its name and its numbers.
func TestNamesOfBars(t *testing.T) {
	t.Parallel()
	f := newFunnel(period{first: noon.Truncate(24 * time.Hour), days: 1, zone: time.UTC}, noon)
	for name, ftds := range map[string]int{"first": 4, "second": 1, "third": 2} {
		for i := range 10 {
			lead := clixnow.Lead{SubCampaign: name, Status: "New", CreatedOn: noon.Add(-time.Hour)}
			if i < ftds {
				lead.FTDDate = noon
			}
			f.addLead(entry{"acme", lead})
		}
	}
	page, err := newReport(f, 10).page()
	require.NoError(t, err)
	for name, want := range map[string][2]string{
		"first": {"40.0 %", "left:66.7%"}, "second": {"10.0 %", "left:16.7%"}, "third": {"20.0 %", "left:33.3%"},
	} {
		row := regexp.MustCompile("<bdi>" + name + "</bdi><td>10.*").FindString(string(page))
		assert.Contains(t, row, "<td>"+want[0])
		assert.Contains(t, row, `<b style="`+want[1]+`"`, "60 %% is the end of the axis")
	}
}

func TestScale(t *testing.T) {
	t.Parallel()
	for highest, want := range map[float64][2]float64{
		0: {1, 1}, 1: {1, 1}, 3: {3, 3}, 5: {5, 5}, 6: {6, 3}, 11: {15, 3}, 26.3: {30, 3}, 99: {100, 5},
		100: {100, 5}, 101: {150, 3}, 1234: {1500, 3},
	} {
		end, steps := scale(highest)
		assert.Equal(t, want, [2]float64{end, float64(steps)}, highest)
	}
}

func TestEmptyPeriod(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "report.html")
	table := reportOn(t, serve(t, nil), file)
	page, err := os.ReadFile(file)
	require.NoError(t, err)
	checkPage(t, page, 0)
	for _, text := range []string{table, string(page)} {
		assert.Contains(t, text, "No lead signed up or deposited in these periods.")
		assert.NotContains(t, text, "Leads signed up")
	}
}

func TestOnlyDepositsOfEarlierLeads(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "report.html")
	lead := clixnow.Lead{Email: "a@example.com", CreatedOn: noon.AddDate(-1, 0, 0), FTDDate: noon}
	table := reportOn(t, serve(t, []clixnow.Lead{lead}), file)
	assert.Regexp(t, `\n Leads signed up +0 +0 +\n`, table)
	assert.Regexp(t, `\n Conversion +- +- +\n`, table)
	assert.Regexp(t, `\n FTDs made +1 +0 +\n FTDs made by earlier leads +1 +0 +\n`, table)
	assert.Regexp(t, `\n 2026-11-25 +0 +0 +- +1 +1 `, table)
	assert.NotContains(t, table, "Status")
	page, err := os.ReadFile(file)
	require.NoError(t, err)
	checkPage(t, page, 1)
}

func TestHiddenDeposits(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "report.html")
	server := serve(t, sampleLeads(noon, 60, 1, 0), clixnowtest.WithHiddenFields("ftdDate"))
	table := reportOn(t, server, file)
	assert.Contains(t, table, "hidden from your token")
	page, err := os.ReadFile(file)
	require.NoError(t, err)
	checkPage(t, page, 1) // the chart of sign-ups needs no deposits
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
		code   int
	}{
		{
			"server error",
			clixnowtest.Fault{Status: 503, Times: 50},
			"run the same command again later",
			clixnow.ErrServer, 3,
		},
		{
			"cut pages",
			clixnowtest.Fault{Drop: clixnowtest.DropMidBody, Times: 50},
			"run the same command again later",
			clixnow.ErrInvalidResponse, 3,
		},
		{"token revoked", clixnowtest.Fault{Status: 401}, "check the brand and its token", clixnow.ErrUnauthorized, 4},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, sampleLeads(noon, 60, 1, 0), clixnowtest.WithPageLimit(100))
			server.Inject(afterTwoPages, test.fault)
			policy := clixnow.RetryPolicy{MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond}
			err := checkNothingWritten(t, server.URL, server.Token, clixnow.WithRetry(policy))
			require.ErrorIs(t, err, test.is)
			assert.Contains(t, app.Explain(err), test.advice)
			assert.Equal(t, test.code, app.Code(err))
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
	err := checkNothingWritten(t, server.URL, "token")
	require.ErrorIs(t, err, clixnow.ErrUnstableResults)
	assert.Contains(t, app.Explain(err), "run the same command again later")
}

// checkNothingWritten checks that a report that fails writes nothing.
func checkNothingWritten(t *testing.T, address, token string, opts ...clixnow.Option) error {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.html")
	require.NoError(t, os.WriteFile(file, []byte("yesterday's"), 0o600))
	environment := map[string]string{
		"CLIXNOW_BRAND": "acme", "CLIXNOW_TOKEN": token, "CLIXNOW_BASE_URL": address, "CLIXNOW_CONFIG": os.DevNull,
	}
	r, err := run(t.Context(), false, environment, opts, "--page", file)
	require.ErrorContains(t, err, "nothing was written")
	assert.Empty(t, r.out.String())
	content, readErr := os.ReadFile(file)
	require.NoError(t, readErr)
	assert.Equal(t, "yesterday's", string(content))
	entries, readErr := os.ReadDir(filepath.Dir(file))
	require.NoError(t, readErr)
	assert.Len(t, entries, 1)
	return err
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	file := filepath.Join(t.TempDir(), "report.html")
	r, err := run(ctx, true, nil, nil, "--page", file)
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, app.CodeLater, app.Code(err))
	assert.Empty(t, r.out.String())
	assert.NoFileExists(t, file)
}

func TestOptions(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 25, 23, 30, 0, 0, time.UTC)
	tests := []struct {
		name           string
		from, to, zone string
		first          string
		days           int
		fault          string
	}{
		{"default", "", "", "UTC", "2026-10-27", 30, ""},
		{"zone where it is the next day", "", "", "Europe/Zurich", "2026-10-28", 30, ""},
		{"zone where it is the same day", "", "", "America/New_York", "2026-10-27", 30, ""},
		{"only to", "", "2026-10-31", "UTC", "2026-10-02", 30, ""},
		{"one day", "2026-11-25", "", "UTC", "2026-11-25", 1, ""},
		{"month", "2026-10-01", "2026-10-31", "UTC", "2026-10-01", 31, ""},
		{"month with 25 hours in a day", "2026-10-01", "2026-10-31", "Europe/Zurich", "2026-10-01", 31, ""},
		{"two years", "2024-11-26", "", "UTC", "2024-11-26", 730, ""},
		{"from after to", "2026-11-25", "2026-11-24", "UTC", "", 0, "one day to two years"},
		{
			"end in the future", "", "2026-11-26", "UTC", "", 0,
			"--from and --to: the period must not end in the future; today is 2026-11-25 in UTC",
		},
		{"end that is today in the zone", "", "2026-11-26", "Europe/Zurich", "2026-10-28", 30, ""},
		{"start in the future", "2026-12-01", "", "UTC", "", 0, "must not end in the future"},
		{"too long", "2020-01-01", "", "UTC", "", 0, "one day to two years"},
		{"not a day", "1.10.2026", "", "UTC", "", 0, `--from: "1.10.2026" is not a day; write it as 2026-10-01`},
		{"day that does not exist", "", "2026-02-30", "UTC", "", 0, "--to: "},
		{"city", "", "", "Zurich", "", 0, `--zone: unknown time zone "Zurich"; give a name such as Europe/Zurich`},
		{"empty zone", "", "", "", "", 0, "--zone: "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := options{from: test.from, to: test.to, zone: test.zone, top: 10}
			err := o.check(at)
			if test.fault != "" {
				require.ErrorContains(t, err, test.fault)
				assert.Equal(t, app.CodeUsage, app.Code(err))
				return
			}
			require.NoError(t, err)
			assert.Equal(t, test.first, o.period.first.Format(time.DateOnly))
			assert.Equal(t, test.days, o.period.days)
		})
	}
}

// TestFaultsBeforeReading checks that a wrong flag sends nothing.
func TestFaultsBeforeReading(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	// A device such as /dev/null could be replaced by a mistake of the program.
	socket, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Join(dir, "socket"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = socket.Close() })
	tests := []struct {
		name  string
		args  []string
		fault string
	}{
		{"unknown format", []string{"-o", "xml"}, `unknown format "xml"`},
		{"format with upper case", []string{"-o", "JSON"}, `unknown format "JSON"`},
		{"empty format", []string{"--output="}, `unknown format ""`},
		{
			"page in no folder",
			[]string{"--page", filepath.Join(dir, "no", "page.html")},
			"--page: " + filepath.Join(dir, "no", "page.html") + " cannot be written: no such file or directory",
		},
		{"page on standard output", []string{"--page", "-"}, `--page: "-" is not a file`},
		{"page is a folder", []string{"--page", dir}, "is not a file"},
		{"page is a socket", []string{"--page", socket.Addr().String()}, "is not a file"},
		{"page without a name", []string{"--page="}, "is not a file"},
		{"no sub-campaign", []string{"--top", "0"}, "--top must be at least 1"},
		{"not a day", []string{"--from", "yesterday"}, "--from: "},
		{"end in the future", []string{"--to", "2026-11-26"}, "must not end in the future"},
		{"argument", []string{"october"}, `unexpected argument "october"`},
		{"token", []string{"--token", "x"}, "unknown flag: --token"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, nil)
			environment := map[string]string{
				"CLIXNOW_BRAND": server.Brand, "CLIXNOW_TOKEN": server.Token, "CLIXNOW_BASE_URL": server.URL,
				"CLIXNOW_CONFIG": os.DevNull,
			}
			r, err := run(t.Context(), false, environment, nil, test.args...)
			require.ErrorContains(t, err, test.fault)
			assert.Equal(t, app.CodeUsage, app.Code(err))
			assert.Empty(t, r.out.String())
			assert.Empty(t, server.Requests())
		})
	}
}

// TestWithdrawnDeposits checks that a deposit that was withdrawn does not
// count.
func TestWithdrawnDeposits(t *testing.T) {
	t.Parallel()
	server := serve(t, []clixnow.Lead{
		{ID: 7, Email: "a@example.com", CreatedOn: noon.AddDate(0, 0, -3), FTDDate: noon.AddDate(0, 0, -1)},
		{ID: 8, Email: "b@example.com", CreatedOn: noon.AddDate(0, 0, -3), FTDDate: noon.AddDate(0, 0, -1)},
	})
	assert.Regexp(t, `\n FTDs made +2 `, reportOn(t, server, ""))
	require.NoError(t, server.UpdateLead(7, func(lead *clixnow.Lead) { lead.FTDDate = time.Time{} }))
	table := reportOn(t, server, "")
	assert.Regexp(t, `\n FTDs of these leads +1 `, table)
	assert.Regexp(t, `\n FTDs made +1 `, table)
}

// TestStatuses checks that each status is told, however many there are.
func TestStatuses(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 5, 6, 15, 60} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			t.Parallel()
			var leads []clixnow.Lead
			for i := range n {
				leads = append(leads, clixnow.Lead{
					Email: fmt.Sprintf("lead%d@example.com", i), Status: fmt.Sprintf("Status %03d", i),
					CreatedOn: noon.AddDate(0, 0, -i%9),
				})
			}
			file := filepath.Join(t.TempDir(), "report.html")
			table := reportOn(t, serve(t, leads), file)
			page, err := os.ReadFile(file)
			require.NoError(t, err)
			for i := range n {
				name := fmt.Sprintf("Status %03d", i)
				assert.Regexp(t, `\n `+name+` +1 +`, table)
				assert.Equal(t, 2, strings.Count(string(page), "<bdi>"+name+"</bdi>"), "in both tables")
			}
			assert.NotContains(t, table, "other")
			assert.NotContains(t, string(page), "other (")
		})
	}
}

// TestDaysWithoutLeads checks that no percentage of nothing is shown.
func TestDaysWithoutLeads(t *testing.T) {
	t.Parallel()
	leads := []clixnow.Lead{
		{Email: "a@example.com", CreatedOn: noon.AddDate(0, 0, -2)},
		{Email: "b@example.com", CreatedOn: noon.AddDate(0, 0, -1), FTDDate: noon},
	}
	file := filepath.Join(t.TempDir(), "report.html")
	table := reportOn(t, serve(t, leads), file)
	page, err := os.ReadFile(file)
	require.NoError(t, err)
	for day, conversion := range map[string]string{
		"2026-11-23": `0\.0 %`, "2026-11-24": `100\.0 %`, "2026-11-25": "-",
	} {
		assert.Regexp(t, `\n `+day+` +\d +\d +`+conversion+" ", table)
		assert.Regexp(t, `<th scope="row">`+day+`<td>\d<td>\d<td>`+conversion+`<td>`, string(page))
	}
	assert.Regexp(t, `\n 1 to 22 Nov +none `, table)
	assert.Contains(t, string(page), `<th scope="row">1 to 22 Nov<td>none<`)
	assert.NotContains(t, table+string(page), "2026-11-22")
	assert.Regexp(t, `\n Conversion +50\.0 % +- +\n`, table, "the period before has no leads")
	data := reportOn(t, serve(t, leads), "", "-o", "csv")
	assert.Contains(t, data, "\nday,2026-11-01,0,0,,,,0,0,,,\n")
	assert.Contains(t, data, "\nday,2026-11-23,1,0,0,0,0.793")
}

// TestLines checks that several days or weeks without leads are one line.
func TestLines(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, first string
		days        int
		leads       []string
		want        []string
	}{
		{
			"at both ends", "2026-11-01", 9,
			[]string{"2026-11-04"},
			[]string{"1 to 3 Nov: none", "2026-11-04", "5 to 9 Nov: none"},
		},
		{
			"two days are not many", "2026-11-01", 5,
			[]string{"2026-11-03"},
			[]string{"2026-11-01", "2026-11-02", "2026-11-03", "2026-11-04", "2026-11-05"},
		},
		{
			"in the middle", "2026-10-29", 5,
			[]string{"2026-10-29", "2026-11-02"},
			[]string{"2026-10-29", "30 Oct to 1 Nov: none", "2026-11-02"},
		},
		{"all", "2026-11-01", 30, nil, []string{"1 to 30 Nov: none"}},
		{"two years", "2025-12-30", 4, nil, []string{"30 Dec 2025 to 2 Jan 2026: none"}},
		{
			"one of two years", "2025-12-30", 8,
			[]string{"2025-12-30", "2026-01-02"},
			[]string{"2025-12-30", "2025-12-31", "2026-01-01", "2026-01-02", "3 to 6 Jan 2026: none"},
		},
		{
			"weeks", "2026-01-05", 70,
			[]string{"2026-01-05", "2026-02-03"},
			[]string{"2026-01-05", "12 Jan to 1 Feb: none", "2026-02-02", "9 Feb to 15 Mar: none"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFunnel(newPeriod(t, "UTC", test.first, test.days), noon)
			for _, day := range test.leads {
				f.addLead(entry{"acme", clixnow.Lead{CreatedOn: instant(t, day+"T10:00:00Z")}})
			}
			var lines []string
			for _, line := range newReport(f, 10).Lines() {
				if line.None {
					line.Name += ": none"
				}
				lines = append(lines, line.Name)
			}
			assert.Equal(t, test.want, lines)
		})
	}
}

// TestDates checks that axes have years if the period spans several.
func TestDates(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, first string
		days        int
		want        []string
	}{
		{"days of a year", "2026-01-01", 3, []string{"1 Jan", "2 Jan", "3 Jan"}},
		{"last days of a year", "2026-12-29", 3, []string{"29 Dec", "30 Dec", "31 Dec"}},
		{"days of two years", "2026-12-30", 3, []string{"30 Dec 2026", "31 Dec 2026", "1 Jan 2027"}},
		{"steps", "2026-11-01", 30, []string{
			"1 Nov", "4 Nov", "7 Nov", "10 Nov", "13 Nov", "16 Nov", "19 Nov", "22 Nov", "25 Nov", "28 Nov",
		}},
		{"weeks of a year", "2026-01-01", 120, []string{ // 1 January was a Thursday
			"1 Jan", "12 Jan", "26 Jan", "9 Feb", "23 Feb", "9 Mar", "23 Mar", "6 Apr", "20 Apr",
		}},
		{"weeks of two years", "2025-11-03", 80, []string{
			"3 Nov 2025", "10 Nov 2025", "17 Nov 2025", "24 Nov 2025", "1 Dec 2025", "8 Dec 2025", "15 Dec 2025",
			"22 Dec 2025", "29 Dec 2025", "5 Jan 2026", "12 Jan 2026", "19 Jan 2026",
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newReport(newFunnel(newPeriod(t, "UTC", test.first, test.days), noon), 10)
			var labels []string
			for i, label := range r.Dates() {
				labels = append(labels, strings.TrimSpace(label.Label+" "+label.Year))
				assert.Equal(t, i%3 != 0, label.Minor)
			}
			assert.Equal(t, test.want, labels)
		})
	}
}

// TestTotalOnce checks that each total is told once, with separators of
// thousands.
func TestTotalOnce(t *testing.T) {
	t.Parallel()
	var leads []clixnow.Lead
	for i := range 1234 {
		leads = append(leads, clixnow.Lead{
			Email: fmt.Sprintf("lead%d@example.com", i), Status: strconv.Itoa(i % 2), SubCampaign: strconv.Itoa(i % 2),
			CreatedOn: noon.AddDate(0, 0, -i%2),
		})
	}
	file := filepath.Join(t.TempDir(), "report.html")
	table := reportOn(t, serve(t, leads), file)
	page, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, 1, strings.Count(table, "1,234"))
	assert.Equal(t, 1, strings.Count(string(page), "1,234"))
	assert.NotContains(t, table+string(page), "1234")
}

// TestTitle checks that the title has the brands.
func TestTitle(t *testing.T) {
	t.Parallel()
	for want, brands := range map[string][]string{
		"acme":                         {"acme"},
		"alpine, beta, harbor, sierra": {"sierra", "beta", "harbor", "alpine"},
		"5 brands":                     {"sierra", "beta", "harbor", "alpine", "tundra"},
	} {
		r := newReport(newFunnel(newPeriod(t, "UTC", "2026-11-01", 30), noon, brands...), 10)
		assert.Equal(t, want+": leads of 1 Nov 2026 to 30 Nov 2026", r.Title())
	}
}

// TestPrintRules checks that a heading is not the last line of a printed page.
func TestPrintRules(t *testing.T) {
	t.Parallel()
	_, rules, _ := strings.Cut(pageSource, "@media print {")
	rules, _, _ = strings.Cut(rules, "</style>")
	assert.Contains(t, rules, "h2, h2 + p, .legend, thead { break-after: avoid; }")
	assert.Contains(t, rules, "tr { break-inside: avoid; }")
	assert.Contains(t, pageSource, "@page { size: A4;")
}

// TestData compares the output for programs with files.
func TestData(t *testing.T) {
	t.Parallel()
	lead := func(id int64, subCampaign, status string, created, deposited int) clixnow.Lead {
		l := clixnow.Lead{
			ID: id, Email: fmt.Sprintf("lead%d@example.com", id), SubCampaign: subCampaign, Status: status,
			CreatedOn: noon.AddDate(0, 0, created),
		}
		if deposited != 0 {
			l.FTDDate = noon.AddDate(0, 0, deposited)
		}
		return l
	}
	server := serve(t, []clixnow.Lead{
		lead(1, "autumn", "New", -1, 0), lead(2, "autumn", "Deposited", -2, -1), lead(3, "=cmd", "New", -2, 0),
		lead(4, "<b>", "Call, back", -2, 0), lead(5, "spring", "Deposited", -4, -2), lead(6, "autumn", "New", -4, 0),
		lead(7, "spring", "Deposited", -5, -5), lead(8, "old", "Deposited", -90, -1),
	})
	for _, format := range []string{"json", "jsonl", "csv"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			assertGolden(t, "data."+format, reportOn(t, server, "", "--from", "2026-11-23", "--top", "1", "-o", format))
		})
	}
}
