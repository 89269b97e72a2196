package importer

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
)

const token = "CfDJ8-s3cr3t-t0ken"

// TestMain runs the command if a test started this binary as the importer that
// it kills.
func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		limitFiles(os.Getenv(limitEnv))
		os.Exit(execute(context.Background(), &app.App{
			In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv,
		}, os.Args[1:]...))
	}
	goleak.VerifyTestMain(m)
}

// execute runs the command as main does, and returns its exit code.
func execute(ctx context.Context, a *app.App, args ...string) int {
	defer a.Close()
	return executeWith(ctx, a, fastRetries(), args...)
}

func executeWith(ctx context.Context, a *app.App, opts []clixnow.Option, args ...string) int {
	root := app.Root(a, command(a, opts...)) //nolint:contextcheck // ExecuteContext passes it
	root.SetArgs(append([]string{"import"}, args...))
	err := root.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintln(a.Err, "clixnow:", app.Explain(err))
	}
	return app.Code(err)
}

// newApp returns an App with an environment that has nothing but a token.
func newApp(out io.Writer, token string) *app.App {
	return &app.App{
		In: strings.NewReader(""), Out: out, Err: out,
		Getenv: func(name string) string { return map[string]string{"CLIXNOW_TOKEN": token}[name] },
	}
}

// fastRetries shortens the waits between attempts and searches.
func fastRetries() []clixnow.Option {
	return []clixnow.Option{
		clixnow.WithRetry(clixnow.RetryPolicy{MinBackoff: 2 * time.Millisecond, MaxBackoff: 100 * time.Millisecond}),
		clixnow.WithLooks(2*time.Millisecond, 10*time.Millisecond, 30*time.Millisecond, 60*time.Millisecond),
	}
}

// fixture is a fake API and the files of an import.
type fixture struct {
	*clixnowtest.Server
	file, folder string
	// output is the output of the last run.
	output strings.Builder
}

func newFixture(t *testing.T, content string, opts ...clixnowtest.Option) *fixture {
	t.Helper()
	f := &fixture{
		Server: clixnowtest.NewServer(append(opts, clixnowtest.WithToken(token))...),
		file:   filepath.Join(t.TempDir(), "leads.csv"),
	}
	t.Cleanup(f.Close)
	f.folder = f.file + ".import"
	f.write(t, f.file, content)
	return f
}

func (f *fixture) write(t *testing.T, name, content string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o700))
	require.NoError(t, os.WriteFile(name, []byte(content), 0o600))
}

func (f *fixture) args(flags ...string) []string {
	return append(append([]string{"--brand", f.Brand, "--base-url", f.URL, "--rate", "100000", "--yes"}, flags...),
		f.file)
}

// run runs the importer once and returns its exit code.
func (f *fixture) run(t *testing.T, flags ...string) int {
	t.Helper()
	f.output.Reset()
	return execute(t.Context(), newApp(&f.output, token), f.args(flags...)...)
}

// outcomes returns the last outcome of each line in the results.
func (f *fixture) outcomes(t *testing.T) map[int]string {
	t.Helper()
	outcomes := make(map[int]string)
	for _, record := range f.records(t) {
		line, err := strconv.Atoi(record[0])
		require.NoError(t, err)
		outcomes[line] = record[1]
	}
	return outcomes
}

func (f *fixture) records(t *testing.T) [][]string {
	t.Helper()
	file, err := os.Open(filepath.Join(f.folder, resultsName))
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	records, err := csv.NewReader(file).ReadAll()
	require.NoError(t, err)
	return records[1:]
}

// posts counts the creates that arrived.
func (f *fixture) posts() int {
	n := 0
	for _, request := range f.Requests() {
		if request.Method == http.MethodPost {
			n++
		}
	}
	return n
}

const header = "firstName,lastName,email,phone,password,countryCode,clickId\n"

// csvOf returns a file with n leads on the lines 2 to n+1.
func csvOf(n int) string {
	text := strings.Builder{}
	text.WriteString(header)
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&text, "Allison,Brown,lead%d@example.com,+4179%07d,Password-%d!,CH,click-%d\n", i, i, i, i)
	}
	return text.String()
}

func TestRehearsal(t *testing.T) {
	t.Parallel()
	var out, errOut strings.Builder
	a := newApp(&out, "")
	a.Err = &errOut
	assert.Equal(t, app.CodeRefused, execute(t.Context(), a, "--demo", "--rate", "100000"))
	assert.Contains(t, errOut.String(), "25 rows: 22 registered, 1 recovered, 2 refused\n")
	assert.Contains(t, out.String(),
		"\n10,refused,,lead09.example.com,sample-09,clixnow: invalid request: email: must be one bare address\n")
	assert.Contains(t, out.String(),
		"\n19,refused,,lead04@example.com,sample-18,email is the same as on line 5\n")
	assert.Contains(t, errOut.String(), "The sample has two rows that are refused on purpose.")
	assert.NotContains(t, out.String()+errOut.String(), "Sample-Password")
	assert.Equal(t, 26, strings.Count(out.String(), "\n"), "a header, and a line for each row")
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	post := func(f clixnowtest.Fault) clixnowtest.Fault { f.Method = http.MethodPost; return f }
	lost := post(clixnowtest.Fault{Drop: clixnowtest.DropAfterHandling})
	tests := map[string]struct {
		faults []clixnowtest.Fault
		code   int
		// first is the outcome of the first run.
		first string
		says  string
		// second is the outcome of the second run. It is "" if the first one is
		// final.
		second string
	}{
		"registered": {
			nil,
			app.CodeDone, "registered", "1 row: 1 registered, 0 recovered, 0 refused\n", "",
		},
		"recovered": {
			[]clixnowtest.Fault{lost},
			app.CodeDone, "recovered", "1 row: 0 registered, 1 recovered, 0 refused\n", "",
		},
		"created by the second POST": {
			[]clixnowtest.Fault{post(clixnowtest.Fault{Drop: clixnowtest.DropBeforeHandling})},
			app.CodeDone, "registered", "1 registered", "",
		},
		"country refused": {
			[]clixnowtest.Fault{{Status: 400, Body: `{"message":"Registration is not allowed for country CH"}`}},
			app.CodeRefused, "refused", "0 registered, 0 recovered, 1 refused\n", "",
		},
		"field refused": {
			[]clixnowtest.Fault{{Status: 422, Body: `{"errors":{"Phone":["Not a phone number."]}}`}},
			app.CodeRefused, "refused", "0 registered, 0 recovered, 1 refused\n", "",
		},
		"brand that is full": {
			[]clixnowtest.Fault{{Status: 400, Body: `{"message":"Daily cap reached"}`}},
			app.CodeLater, "refused for now", "1 unfinished: 1 refused for now\n", "registered",
		},
		"brand that is closed": {
			[]clixnowtest.Fault{{Status: 404, Body: `{"message":"No hubs available"}`}},
			app.CodeLater, "refused for now", "run the same command again", "registered",
		},
		"created, but answered by 408": {
			[]clixnowtest.Fault{post(clixnowtest.Fault{HandleFirst: true, Status: 408})},
			app.CodeDone, "recovered", "1 recovered", "",
		},
		"unknown, then found": {
			[]clixnowtest.Fault{lost, {Method: http.MethodGet, Status: 503, Times: 12}},
			app.CodeDoubt, "unknown", "1 unfinished: 1 unknown\n", "recovered",
		},
		"unknown, then sent": {
			[]clixnowtest.Fault{post(clixnowtest.Fault{Status: 502}), {Method: http.MethodGet, Status: 503, Times: 12}},
			app.CodeDoubt, "unknown", "1 unfinished: 1 unknown\n", "registered",
		},
		"rate limited": {
			[]clixnowtest.Fault{{Status: 429, Times: 3}},
			app.CodeLater, "rate limited", "1 rate limited\n", "registered",
		},
		"wrong token": {
			[]clixnowtest.Fault{{Status: 401}},
			app.CodeAccess, "refused for now", "check the token", "registered",
		},
		"forbidden": {
			[]clixnowtest.Fault{{Status: 403}},
			app.CodeAccess, "refused for now", "check the token", "registered",
		},
		"wrong address": {
			[]clixnowtest.Fault{{Status: 404}},
			app.CodeAccess, "refused for now", "--brand", "registered",
		},
		"redirect": {
			[]clixnowtest.Fault{{Status: 301, Header: http.Header{"Location": {"https://other.example"}}}},
			app.CodeAccess, "refused for now", "1 refused for now\n", "registered",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, csvOf(1))
			f.Inject(test.faults...)
			assert.Equal(t, test.code, f.run(t))
			assert.Contains(t, f.output.String(), test.says)
			assert.Equal(t, map[int]string{2: test.first}, f.outcomes(t))

			before := len(f.Requests())
			if test.second == "" {
				assert.Equal(t, test.code, f.run(t))
				assert.Len(t, f.Requests(), before, "a finished row is not sent")
				return
			}
			assert.Equal(t, app.CodeDone, f.run(t))
			assert.Equal(t, map[int]string{2: test.second}, f.outcomes(t))
			assert.Len(t, f.Leads(), 1)
		})
	}
}

func TestNotSent(t *testing.T) {
	t.Parallel()
	f := newFixture(t, csvOf(30))
	url := f.URL
	f.Close()
	assert.Equal(t, app.CodeLater, f.run(t))
	assert.Contains(t, f.output.String(), "stopped, because too many rows in a row could not be finished")
	for line, result := range f.outcomes(t) {
		assert.Equal(t, "not sent", result, "line %d", line)
	}
	assert.Less(t, len(f.records(t)), 30)

	// When the API can be reached, rows that were not sent need no search.
	api := &http.Server{
		Addr:    strings.TrimPrefix(url, "http://"),
		Handler: clixnowtest.NewHandler(clixnowtest.WithToken(token)),
	}
	listening := make(chan error, 1)
	go func() { listening <- api.ListenAndServe() }()
	defer func() {
		assert.NoError(t, api.Close())
		assert.ErrorIs(t, <-listening, http.ErrServerClosed)
	}()
	assert.Eventually(t, func() bool { return f.run(t) == app.CodeDone }, time.Minute, time.Millisecond)
	assert.Len(t, api.Handler.(*clixnowtest.Server).Leads(), 30)
	for _, request := range api.Handler.(*clixnowtest.Server).Requests() {
		assert.Equal(t, http.MethodPost, request.Method)
	}
}

// TestRowsThatStayInDoubt checks that the other rows are registered if no run
// can finish some of the rows.
func TestRowsThatStayInDoubt(t *testing.T) {
	t.Parallel()
	f := newFixture(t, csvOf(20), clixnowtest.WithHiddenFields("email", "clickId"))
	f.AddLeads(clixnow.Lead{Email: "masked"}) // this may be the lead of any row
	f.progress(t, inFlight(2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13))
	// The row after them is not the one failure too many.
	f.Inject(clixnowtest.Fault{Email: "lead13@example.com", Status: 400, Body: `{"message":"Daily cap reached"}`})
	assert.Equal(t, app.CodeDoubt, f.run(t, "--concurrency", "1"))
	assert.Contains(t, f.output.String(), "20 rows: 7 registered, 0 recovered, 0 refused; 13 unfinished: "+
		"1 refused for now, 12 unknown\n")
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	f := newFixture(t, csvOf(40))
	f.Inject(clixnowtest.Fault{Method: http.MethodPost, Times: 8},
		clixnowtest.Fault{Method: http.MethodPost, Delay: 50 * time.Millisecond, Times: 32})
	ctx, interrupt := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() { ended <- execute(ctx, newApp(&f.output, token), f.args()...) }()
	require.Eventually(t, func() bool { return f.posts() >= 10 }, time.Minute, time.Millisecond)
	interrupt()
	require.Equal(t, app.CodeLater, <-ended)
	assert.Contains(t, f.output.String(), "Stopping after the rows in flight are finished.")
	assert.Less(t, len(f.Leads()), 40)
	assert.Len(t, f.records(t), len(f.Leads()), "the rows in flight were finished, and no other row was started")

	require.Equal(t, app.CodeDone, f.run(t))
	assert.Len(t, f.Leads(), 40)
	for line, result := range f.outcomes(t) {
		assert.Equal(t, "registered", result, "line %d", line)
	}
	assert.Equal(t, 40, f.posts())
	assert.Len(t, f.Requests(), 40, "no row is in doubt, so there is no search")
}

// TestStillInDoubt checks that a row in doubt stays in doubt if the API gives
// no clear answer in the next run.
func TestStillInDoubt(t *testing.T) {
	t.Parallel()
	get := func(status, times int) clixnowtest.Fault {
		return clixnowtest.Fault{Method: http.MethodGet, Status: status, Times: times}
	}
	tests := map[string]struct {
		faults []clixnowtest.Fault
		code   int
	}{
		"search that fails":                {[]clixnowtest.Fault{get(503, 12)}, app.CodeDoubt},
		"search that is rate limited":      {[]clixnowtest.Fault{get(429, 12)}, app.CodeDoubt},
		"search with a wrong token":        {[]clixnowtest.Fault{get(401, 1)}, app.CodeAccess},
		"search at a wrong address":        {[]clixnowtest.Fault{get(404, 1)}, app.CodeAccess},
		"connection that cannot be opened": {nil, app.CodeDoubt},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, csvOf(1))
			f.progress(t, inFlight(2))
			f.Inject(test.faults...)
			if test.faults == nil {
				f.Close()
			}
			assert.Equal(t, test.code, f.run(t))
			assert.Equal(t, map[int]string{2: "unknown"}, f.outcomes(t))
			if test.faults == nil {
				return
			}
			f.Inject(get(503, 12))
			assert.Equal(t, app.CodeDoubt, f.run(t), "it still searches before it sends")
			assert.Zero(t, f.posts())
		})
	}
}

// TestFullBrand checks that an import stops if the brand takes no more leads.
func TestFullBrand(t *testing.T) {
	t.Parallel()
	f := newFixture(t, csvOf(60), clixnowtest.WithCapacity(5, "Daily cap reached"))
	assert.Equal(t, app.CodeLater, f.run(t))
	assert.Contains(t, f.output.String(), "stopped, because too many rows in a row could not be finished")
	assert.Contains(t, f.output.String(), "Daily cap reached")
	assert.Len(t, f.Leads(), 5)
	assert.Less(t, f.posts(), 30)
}

// TestRowsThatAreRefusedEachTime checks that such rows do not keep the import
// from reaching the other rows.
func TestRowsThatAreRefusedEachTime(t *testing.T) {
	t.Parallel()
	f := newFixture(t, csvOf(40))
	for row := 1; row <= 15; row++ {
		f.Inject(clixnowtest.Fault{
			Email: fmt.Sprintf("lead%d@example.com", row), Times: 100, Status: 400, Body: `{"message":"Not today"}`,
		})
	}
	assert.Equal(t, app.CodeLater, f.run(t))
	assert.Empty(t, f.Leads())
	assert.Equal(t, app.CodeLater, f.run(t))
	assert.Len(t, f.Leads(), 25)
	before := f.posts()
	assert.Equal(t, app.CodeLater, f.run(t))
	assert.Greater(t, f.posts(), before, "the refused rows are sent in each run")
	for line, result := range f.outcomes(t) {
		want := []string{"registered"}
		if line <= 16 {
			want = []string{"refused for now", "not sent"} // not sent: it was taken just before the stop
		}
		assert.Contains(t, want, result, "line %d", line)
	}
}

func TestMeter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		m := newMeter(&out, 110, 10)
		for range 100 {
			time.Sleep(200 * time.Millisecond)
			m.add()
		}
		m.close()
		assert.Equal(t, "10 of 110 rows were finished before this run.\n"+
			"50 of 100 rows, 5.1 a second, 10s left\n"+
			"100 of 100 rows, 5.1 a second, 0s left\n", out.String())
	})
}

// TestRateLimited checks that a 429 is no reason to stop: CreateLeads waits for
// the Retry-After, and then the other rows are registered.
func TestRateLimited(t *testing.T) {
	t.Parallel()
	f := newFixture(t, csvOf(10))
	f.Inject(clixnowtest.Fault{Status: 429, Header: http.Header{"Retry-After": {"1"}}})
	assert.Equal(t, app.CodeLater, f.run(t, "--concurrency", "1"))
	assert.Contains(t, f.output.String(),
		"9 registered, 0 recovered, 0 refused; 1 unfinished: 1 rate limited")
	assert.Equal(t, app.CodeDone, f.run(t))
}

func TestUsage(t *testing.T) {
	t.Parallel()
	f := newFixture(t, csvOf(2))
	broken, empty := filepath.Join(t.TempDir(), "broken.csv"), filepath.Join(t.TempDir(), "empty.csv")
	f.write(t, broken, header+"Allison,Brown\nAllison,Brown,a@example.com,+41,Password!,CH,1,2\n")
	f.write(t, empty, "")
	tests := map[string]struct {
		args  []string
		token string
		code  int
		says  string
	}{
		"help":         {[]string{"-h"}, token, app.CodeDone, "4  the API refused the token"},
		"unknown flag": {[]string{"-x"}, token, app.CodeUsage, "-x"},
		"two files":    {[]string{"a.csv", "b.csv"}, token, app.CodeUsage, "give one file, not 2"},
		"no such file": {[]string{"--brand", "acme", f.file + "x"}, token, app.CodeUsage, "no such file"},
		"folder":       {[]string{"--brand", "acme", t.TempDir()}, token, app.CodeUsage, "not a regular file"},
		"no token":     {[]string{"--brand", "acme", f.file}, "", app.CodeUsage, "CLIXNOW_TOKEN"},
		"no file":      {[]string{"--brand", "acme"}, token, app.CodeUsage, "give the file to import"},
		"no brand":     {[]string{"--base-url", f.URL, f.file}, token, app.CodeUsage, "give --brand"},
		"brand with a dot": {
			[]string{"--brand", "a.b", f.file},
			token, app.CodeUsage, "brand",
		},
		"rate 0":        {[]string{"--rate", "0", f.file}, token, app.CodeUsage, "must be positive"},
		"rate NaN":      {[]string{"--rate", "NaN", f.file}, token, app.CodeUsage, "must be positive"},
		"concurrency 0": {[]string{"--concurrency", "0", f.file}, token, app.CodeUsage, "must be positive"},
		"long delimiter": {
			[]string{"--delimiter", ";;", f.file},
			token, app.CodeUsage,
			"--delimiter must be one character",
		},
		"quote as delimiter": {
			[]string{"--delimiter", `"`, f.file},
			token, app.CodeUsage, "--delimiter must be one character",
		},
		"wrong delimiter": {
			[]string{"--delimiter", ";", f.file},
			token, app.CodeUsage, "does the file need --delimiter",
		},
		"unknown country": {
			[]string{"--default-country", "Schweiz", f.file},
			token, app.CodeUsage, "must be a code of two letters",
		},
		"not confirmed": {
			[]string{"--brand", "acme", "--base-url", f.URL, f.file},
			token, app.CodeUsage, "nothing was sent: give --yes",
		},
		"empty file": {[]string{empty}, token, app.CodeUsage, "empty.csv is empty"},
		"device":     {[]string{os.DevNull}, token, app.CodeUsage, "is not a regular file"},
		"rows with a wrong number of columns": {
			[]string{"--brand", "acme", "--base-url", f.URL, broken},
			token, app.CodeUsage,
			"line 2: the row has 2 columns, but the header has 7; " +
				"line 3: the row has 8 columns, but the header has 7\n",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			assert.Equal(t, test.code, execute(t.Context(), newApp(&out, test.token), test.args...))
			assert.Contains(t, out.String(), test.says)
			assert.NotContains(t, out.String(), "Password-")
		})
	}
	t.Cleanup(func() { assert.Empty(t, f.Requests(), "nothing is sent") })
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	for _, redirectURLs := range []bool{false, true} {
		t.Run(fmt.Sprintf("redirect URLs %t", redirectURLs), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, csvOf(5))
			f.Inject(
				clixnowtest.Fault{
					Method: http.MethodPost, Status: 400,
					Body: `{"message":"the password Password-1! is weak"}`,
				},
				clixnowtest.Fault{
					Method: http.MethodPost, Status: 500,
					Body: `{"message":"Password-2! of ` + token + `"}`,
				},
			)
			assert.Equal(t, app.CodeLater,
				f.run(t, "--concurrency", "1", fmt.Sprintf("--redirect-urls=%t", redirectURLs)))
			var all strings.Builder
			all.WriteString(f.output.String())
			for _, name := range []string{resultsName, databaseName} {
				path := filepath.Join(f.folder, name)
				content, err := os.ReadFile(path)
				require.NoError(t, err)
				all.Write(content)
				info, err := os.Stat(path)
				require.NoError(t, err)
				assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
			}
			assert.NotContains(t, all.String(), "Password-")
			assert.NotContains(t, all.String(), token)
			assert.Equal(t, redirectURLs, strings.Contains(all.String(), "/autologin?token="))
		})
	}
}
