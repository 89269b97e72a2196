package main

import (
	"context"
	"encoding/csv"
	"fmt"
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
)

const token = "CfDJ8-s3cr3t-t0ken"

// TestMain is the importer itself where a test started it, to be killed.
func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(run(context.Background(), os.Args[1:], os.Getenv("CLIXNOW_TOKEN"), os.Stdout, os.Stderr, quick()))
	}
	goleak.VerifyTestMain(m)
}

func quick() clixnow.Option {
	return clixnow.WithRetry(clixnow.RetryPolicy{MinBackoff: 2 * time.Millisecond, MaxBackoff: 100 * time.Millisecond})
}

// world is a fake API and the files of an import.
type world struct {
	*clixnowtest.Server
	file, folder string
	output       strings.Builder // of the last run
}

func newWorld(t *testing.T, content string, opts ...clixnowtest.Option) *world {
	t.Helper()
	w := &world{
		Server: clixnowtest.NewServer(append(opts, clixnowtest.WithToken(token))...),
		file:   filepath.Join(t.TempDir(), "leads.csv"),
	}
	t.Cleanup(w.Close)
	w.folder = w.file + ".import"
	w.write(t, w.file, content)
	return w
}

func (w *world) write(t *testing.T, name, content string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o700))
	require.NoError(t, os.WriteFile(name, []byte(content), 0o600))
}

func (w *world) args(flags ...string) []string {
	return append(append([]string{"-brand", w.Brand, "-base-url", w.URL, "-rate", "100000"}, flags...), w.file)
}

// run is one run of the importer. It returns the exit code.
func (w *world) run(t *testing.T, flags ...string) int {
	t.Helper()
	w.output.Reset()
	return run(t.Context(), w.args(flags...), token, &w.output, &w.output, quick())
}

// outcomes are those of the results by line, the last one of each.
func (w *world) outcomes(t *testing.T) map[int]string {
	t.Helper()
	outcomes := make(map[int]string)
	for _, record := range w.records(t) {
		line, err := strconv.Atoi(record[0])
		require.NoError(t, err)
		outcomes[line] = record[1]
	}
	return outcomes
}

func (w *world) records(t *testing.T) [][]string {
	t.Helper()
	file, err := os.Open(filepath.Join(w.folder, resultsName))
	require.NoError(t, err)
	defer func() { _ = file.Close() }() // it was only read
	records, err := csv.NewReader(file).ReadAll()
	require.NoError(t, err)
	return records[1:]
}

// posts counts the creates that arrived.
func (w *world) posts() int {
	n := 0
	for _, request := range w.Requests() {
		if request.Method == http.MethodPost {
			n++
		}
	}
	return n
}

const header = "firstName,lastName,email,phone,password,countryCode,clickId\n"

// people is a file of n leads, on lines 2 to n+1.
func people(n int) string {
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
	assert.Equal(t, exitRefused, run(t.Context(), []string{"-rate", "100000"}, "", &out, &errOut, quick()))
	assert.Contains(t, errOut.String(), "25 rows: 22 registered, 1 recovered, 2 refused\n")
	assert.Contains(t, out.String(), "\n10,refused,,clixnow: invalid request: email: must be one bare address\n")
	assert.Contains(t, out.String(),
		"\n19,refused,,clixnow: acme: POST /api/system/v1/leads: 400 Bad Request: Duplicate lead")
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
		first  string // what becomes of the lead
		says   string
		again  string // and in the next run; "" = it was settled
	}{
		"registered": {nil, exitDone, "registered", "1 rows: 1 registered, 0 recovered, 0 refused\n", ""},
		"recovered": {
			[]clixnowtest.Fault{lost},
			exitDone, "recovered",
			"1 rows: 0 registered, 1 recovered, 0 refused\n", "",
		},
		"created on the second send": {
			[]clixnowtest.Fault{post(clixnowtest.Fault{Drop: clixnowtest.DropBeforeHandling})},
			exitDone,
			"registered", "1 registered", "",
		},
		"country refused": {
			[]clixnowtest.Fault{{Status: 400, Body: `{"message":"Registration is not allowed for country CH"}`}},
			exitRefused, "refused", "0 registered, 0 recovered, 1 refused\n", "",
		},
		"unknown, then found": {
			[]clixnowtest.Fault{lost, {Method: http.MethodGet, Status: 503, Times: 12}},
			exitUnfinished, "unknown", "1 unfinished, in this run: 1 unknown\n", "recovered",
		},
		"unknown, then sent": {
			[]clixnowtest.Fault{post(clixnowtest.Fault{Status: 502}), {Method: http.MethodGet, Status: 503, Times: 12}},
			exitUnfinished, "unknown", "1 unfinished, in this run: 1 unknown\n", "registered",
		},
		"rate limited": {
			[]clixnowtest.Fault{{Status: 429, Times: 3}},
			exitUnfinished, "rate limited",
			"1 rate limited\n", "registered",
		},
		"wrong token": {
			[]clixnowtest.Fault{{Status: 401}},
			exitAccess, "access refused", "check CLIXNOW_TOKEN",
			"registered",
		},
		"forbidden": {
			[]clixnowtest.Fault{{Status: 403}},
			exitAccess, "access refused", "check CLIXNOW_TOKEN",
			"registered",
		},
		"other address": {[]clixnowtest.Fault{{Status: 404}}, exitAccess, "access refused", "-brand", "registered"},
		"moved": {
			[]clixnowtest.Fault{{Status: 301, Header: http.Header{"Location": {"https://other.example"}}}},
			exitAccess, "access refused", "1 access refused\n", "registered",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, people(1))
			w.Inject(test.faults...)
			assert.Equal(t, test.code, w.run(t))
			assert.Contains(t, w.output.String(), test.says)
			assert.Equal(t, map[int]string{2: test.first}, w.outcomes(t))

			before := len(w.Requests())
			if test.again == "" {
				assert.Equal(t, test.code, w.run(t))
				assert.Len(t, w.Requests(), before, "what is settled is not touched")
				return
			}
			assert.Equal(t, exitDone, w.run(t))
			assert.Equal(t, map[int]string{2: test.again}, w.outcomes(t))
			assert.Len(t, w.Leads(), 1)
		})
	}
}

func TestNotSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, people(30))
	url := w.URL
	w.Close() // nobody listens
	assert.Equal(t, exitUnfinished, w.run(t))
	assert.Contains(t, w.output.String(), "stopped: too many rows in a row came to nothing")
	for line, result := range w.outcomes(t) {
		assert.Equal(t, "not sent", result, "line %d", line)
	}
	assert.Less(t, len(w.records(t)), 30)

	// Where the connection comes back, rows that were not sent need no look.
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
	assert.Eventually(t, func() bool { return w.run(t) == exitDone }, time.Minute, time.Millisecond)
	assert.Len(t, api.Handler.(*clixnowtest.Server).Leads(), 30)
	for _, request := range api.Handler.(*clixnowtest.Server).Requests() {
		assert.Equal(t, http.MethodPost, request.Method)
	}
}

// Rows that no run can settle do not keep the others from being registered.
func TestLastingDoubtHoldsUpNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, people(20), clixnowtest.WithHiddenFields("email", "clickId"))
	w.AddLeads(clixnow.Lead{Email: "masked"}) // may be any of them
	w.journal(t, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)
	assert.Equal(t, exitUnfinished, w.run(t))
	assert.Contains(t, w.output.String(),
		"20 rows: 8 registered, 0 recovered, 0 refused; 12 unfinished, in this run: 12 unknown\n")
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, people(40))
	w.Inject(clixnowtest.Fault{Method: http.MethodPost, Times: 8},
		clixnowtest.Fault{Method: http.MethodPost, Delay: 50 * time.Millisecond, Times: 32})
	ctx, interrupt := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, w.args(), token, &w.output, &w.output, quick()) }()
	require.Eventually(t, func() bool { return w.posts() >= 10 }, time.Minute, time.Millisecond)
	interrupt()
	require.Equal(t, exitUnfinished, <-ended)
	assert.Contains(t, w.output.String(), "Stopping when what is in flight is finished.")
	assert.Less(t, len(w.Leads()), 40)
	assert.Len(t, w.records(t), len(w.Leads()), "what was in flight is settled, and nothing else was begun")

	require.Equal(t, exitDone, w.run(t))
	assert.Len(t, w.Leads(), 40)
	for line, result := range w.outcomes(t) {
		assert.Equal(t, "registered", result, "line %d", line)
	}
	assert.Equal(t, 40, w.posts())
	assert.Len(t, w.Requests(), 40, "no row is in doubt, so none is looked for")
}

// Of a row that an earlier run may have sent, no failure of this one says that
// it is not registered.
func TestJudge(t *testing.T) {
	t.Parallel()
	for _, failure := range []error{
		clixnow.ErrOutcomeUnknown, clixnow.ErrNotSent, clixnow.ErrRateLimited,
		&clixnow.APIError{StatusCode: 401},
	} {
		assert.Equal(t, unknown, judge(&clixnow.BulkResult{Err: failure}, true), "%v", failure)
	}
	assert.Equal(t, notSent, judge(&clixnow.BulkResult{Err: clixnow.ErrNotSent}, false))
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
		assert.Equal(t,
			"10 of 110 rows were settled before.\n50 of 100 rows, 5.1 a second, 10s left\n100 of 100 rows, 5.1 a second, 0s left\n", out.String())
	})
}

func TestTooMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t, people(10))
	w.Inject(clixnowtest.Fault{Status: 429, Header: http.Header{"Retry-After": {"3600"}}})
	ctx, interrupt := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, w.args("-concurrency", "1"), token, &w.output, &w.output, quick()) }()
	require.Eventually(t, func() bool {
		results, err := os.ReadFile(filepath.Join(w.folder, resultsName))
		return err == nil && strings.Contains(string(results), "\n2,rate limited,,")
	}, time.Minute, time.Millisecond)
	interrupt()
	assert.Equal(t, exitUnfinished, <-ended)
	assert.Equal(t, 1, w.posts(), "it waited")
	assert.Equal(t, exitDone, w.run(t))
}

// An API that answers 429 is given the time that it asks for, before anything
// else is sent.
func TestWait(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		err  error
		want time.Duration
	}{
		"as long as it asks": {&clixnow.APIError{StatusCode: 429, RetryAfter: time.Minute}, time.Minute},
		"but not for ever": {
			fmt.Errorf("try: %w", &clixnow.APIError{StatusCode: 429, RetryAfter: time.Hour}),
			2 * time.Minute,
		},
		"it asks for nothing": {&clixnow.APIError{StatusCode: 429}, 0},
		"no answer":           {clixnow.ErrRateLimited, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				wait(t.Context(), test.err)
				assert.Equal(t, test.want, time.Since(began))

				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				wait(ctx, test.err)
				assert.Equal(t, test.want, time.Since(began), "an interruption ends it")
			})
		})
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, people(2))
	broken := filepath.Join(t.TempDir(), "broken.csv")
	w.write(t, broken, header+"Allison,Brown\nAllison,Brown,a@example.com,+41,Password!,CH,1,2\n")
	tests := map[string]struct {
		args  []string
		token string
		code  int
		says  string
	}{
		"help":              {[]string{"-h"}, token, exitDone, "4  the API refused the token"},
		"unknown flag":      {[]string{"-x"}, token, exitInput, "-x"},
		"two files":         {[]string{"a.csv", "b.csv"}, token, exitInput, "flags come first"},
		"no such file":      {[]string{"-brand", "acme", w.file + "x"}, token, exitInput, "open the leads"},
		"no token":          {[]string{"-brand", "acme", w.file}, "", exitInput, "CLIXNOW_TOKEN is not set"},
		"no file":           {[]string{"-brand", "acme"}, token, exitInput, "-brand needs a file"},
		"no brand":          {[]string{"-base-url", w.URL, w.file}, token, exitInput, "need -brand"},
		"a brand is a name": {[]string{"-brand", "a.b", w.file}, token, exitInput, "brand"},
		"no rate":           {[]string{"-rate", "0"}, token, exitInput, "must be positive"},
		"no concurrency":    {[]string{"-concurrency", "0"}, token, exitInput, "must be positive"},
		"long comma":        {[]string{"-comma", ";;"}, token, exitInput, "-comma must be one character"},
		"quote for a comma": {[]string{"-comma", `"`}, token, exitInput, "-comma must be one character"},
		"wrong comma":       {[]string{"-comma", ";", w.file}, token, exitInput, "is it -comma"},
		"an empty file":     {[]string{os.DevNull}, token, exitInput, "read the header: EOF"},
		"broken rows": {
			[]string{"-brand", "acme", "-base-url", w.URL, broken},
			token, exitInput,
			"line 2: 2 columns, where the header has 7\nline 3: 8 columns, where the header has 7\n",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			assert.Equal(t, test.code, run(t.Context(), test.args, test.token, &out, &out, quick()))
			assert.Contains(t, out.String(), test.says)
		})
	}
	t.Cleanup(func() { assert.Empty(t, w.Requests(), "nothing is sent") })
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	for _, redirectURLs := range []bool{false, true} {
		t.Run(fmt.Sprintf("redirect URLs %t", redirectURLs), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, people(5))
			w.Inject(
				clixnowtest.Fault{
					Method: http.MethodPost, Status: 400,
					Body: `{"message":"the password Password-1! is weak"}`,
				},
				clixnowtest.Fault{
					Method: http.MethodPost, Status: 500,
					Body: `{"message":"Password-2! of ` + token + `"}`,
				},
			)
			assert.Equal(t, exitRefused, w.run(t, "-concurrency", "1", fmt.Sprintf("-redirect-urls=%t", redirectURLs)))
			var all strings.Builder
			all.WriteString(w.output.String())
			for _, name := range []string{resultsName, journalName} {
				path := filepath.Join(w.folder, name)
				content, err := os.ReadFile(path)
				require.NoError(t, err)
				all.Write(content)
				info, err := os.Stat(path)
				require.NoError(t, err)
				assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
			}
			assert.NotContains(t, all.String(), "Password-")
			assert.NotContains(t, all.String(), token)
			assert.Equal(t, redirectURLs, strings.Contains(all.String(), "https://broker.example/autologin?token="))
		})
	}
}
