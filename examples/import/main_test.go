package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestRun sorts the lines of each run, because leads are registered at once.
func TestRun(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 10)
	for i, line := range lines {
		assert.LessOrEqual(t, len(line), 80)
		// The ids depend on the order of the creates.
		if before, after, ok := strings.Cut(line, "(12345"); ok {
			lines[i] = before + "(ID" + after[1:]
		}
	}
	slices.Sort(lines[:5])
	slices.Sort(lines[6:8])
	assert.Equal(t, []string{
		"line 2: registered (ID)",
		"line 3: open (unknown)",
		"line 4: open (other)",
		"line 5: given up (country)",
		"line 6: given up (invalid)",
		"error of this run: 2 leads are open: run the same command again later",
		"line 3: registered (ID)",
		"line 4: registered (ID)",
		"error of this run: <nil>",
		"The brand has 3 leads.",
	}, lines)
}

const (
	header = "firstName,lastName,email,phone,password,countryCode,clickId,subCampaign\n"
	anna   = "Anna,Example,anna@example.com,+41795550101,Password123!,CH,click-1,autumn\n"
	bruno  = "Bruno,Example,bruno@example.com,+41795550102,Password123!,CH,click-2,autumn\n"
)

// world is a fake brand and a file to import.
type world struct {
	*testing.T

	server *clixnowtest.Server
	client *clixnow.Client
	file   string
}

func newWorld(t *testing.T, content string) *world {
	t.Helper()
	server := clixnowtest.NewServer()
	t.Cleanup(server.Close)
	client := server.Client()
	t.Cleanup(client.CloseIdleConnections)
	w := &world{t, server, client, filepath.Join(t.TempDir(), "leads.csv")}
	w.write(content)
	return w
}

func (w *world) write(content string) {
	w.Helper()
	require.NoError(w, os.WriteFile(w.file, []byte(content), 0o600))
}

// stopper cancels a context when a text has been printed.
type stopper struct {
	strings.Builder

	text string
	stop context.CancelFunc
}

func (s *stopper) Write(data []byte) (int, error) {
	n, err := s.Builder.Write(data)
	if strings.Contains(s.String(), s.text) {
		s.stop()
	}
	return n, err
}

// run imports the file, and returns what was printed in sorted order.
func (w *world) run(ctx context.Context) ([]string, error) {
	w.Helper()
	var out strings.Builder
	err := importFile(ctx, &out, w.client, w.file)
	return slices.Sorted(strings.Lines(out.String())), err
}

func (w *world) results() string {
	w.Helper()
	data, err := os.ReadFile(w.file + ".results.csv")
	require.NoError(w, err)
	return string(data)
}

func TestColumns(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "\ufeff"+"subCampaign,email,clickId,phone,password,countryCode,lastName,firstName\r\n"+
		"\r\n"+`autumn,anna@example.com,7,+41795550101,"Pass,""word""!",CH,Example,Anna`+"\r\n")
	lines, err := w.run(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"line 3: registered (123456)\n"}, lines, "an empty line counts")
	requests := w.server.Requests()
	require.Len(t, requests, 1)
	assert.JSONEq(t, `{
		"firstName": "Anna",
		"lastName": "Example",
		"email": "anna@example.com",
		"phone": "+41795550101",
		"password": "Pass,\"word\"!",
		"countryCode": "CH",
		"clickId": "7",
		"subCampaign": "autumn"
	}`, string(requests[0].Body))
	results := w.results()
	assert.Contains(t, results, ",anna@example.com,registered,,123456\n")
	assert.NotContains(t, results, "Pass")
	assert.NotContains(t, results, "autologin")
}

func TestFilesThatAreRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, content, problem string
	}{
		{"empty", "", "read the header"},
		{"no header", anna + bruno, "the header of column 1 is not known"},
		{"semicolons", strings.ReplaceAll(header+anna, ",", ";"), "the header of column 1 is not known"},
		{
			"unknown column", strings.Replace(header, "clickId", "click", 1) + anna,
			"the header of column 7 is not known",
		},
		{"too few values", header + anna + "Bruno,Example\n", "line 3"},
		{"stray quote", header + strings.Replace(anna, "Example", `Ex"ample`, 1), "line 2"},
		{"line break in a value", header + strings.Replace(anna, "Anna", "\"Anna\nBruno\"", 1), "line break"},
		{
			"two stray quotes",
			header + strings.Replace(anna, "Anna", `"Anna`, 1) + strings.Replace(bruno, "Bruno", `Bruno"`, 1),
			"line",
		},
		{
			"phone of a spreadsheet", header + strings.Replace(anna, "+41795550101", "4.17956E+10", 1),
			"line 2: the phone",
		},
		{
			"phone with a fraction", header + strings.Replace(anna, "+41795550101", "41795550101.0", 1),
			"line 2: the phone",
		},
		{"no phone", header + strings.Replace(anna, "+41795550101", "n/a", 1), "line 2: the phone"},
		{"phone with spaces", header + strings.Replace(anna, "+41795550101", "+41 (0)79 555", 1), "line 2: the phone"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, test.content)
			_, err := w.run(t.Context())
			require.ErrorContains(t, err, test.problem)
			require.ErrorContains(t, err, "nothing was sent")
			for _, value := range []string{"Password123!", "example.com", "Anna", "4179555"} {
				assert.NotContains(t, err.Error(), value, "a value can be a password")
			}
			assert.Empty(t, w.server.Requests())
			assert.NoFileExists(t, w.file+".results.csv")
		})
	}
}

func TestHeaderOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, header)
	lines, err := w.run(t.Context())
	require.NoError(t, err)
	assert.Empty(t, lines)
	assert.Empty(t, w.server.Requests())
}

func TestSettledLeadsAreNotSentAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, header+anna+strings.Replace(bruno, "Password123!", "short", 1))
	lines, err := w.run(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"line 2: registered (123456)\n", "line 3: given up (invalid)\n"}, lines)
	lines, err = w.run(t.Context())
	require.NoError(t, err)
	assert.Empty(t, lines)
	assert.Len(t, w.server.Requests(), 1)

	w.write(header + anna + bruno)
	lines, err = w.run(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"line 3: registered (123457)\n"}, lines, "the corrected line is sent")
}

// TestProcessDies ends the first run in several ways. The second run must
// register the missing leads, and no lead twice.
func TestProcessDies(t *testing.T) {
	t.Parallel()
	t.Run("a response is lost and the context ends", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, header+anna+bruno)
		w.server.Inject(clixnowtest.Fault{Email: "anna@example.com", HandleFirst: true, Delay: time.Hour})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		// Line 2 waits for its response when line 3 has its result.
		out := &stopper{text: "line 3: registered", stop: cancel}
		err := importFile(ctx, out, w.client, w.file)
		require.ErrorIs(t, err, context.Canceled)
		lines, err := w.run(t.Context())
		require.NoError(t, err)
		assert.Contains(t, strings.Join(lines, ""), "line 2: registered")
		assert.Len(t, w.server.Leads(), 2)
	})
	t.Run("the results are lost", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, header+anna+bruno)
		_, err := w.run(t.Context())
		require.NoError(t, err)
		firstRun, _, _ := strings.Cut(w.results(), "\n")
		require.NoError(t, os.WriteFile(w.file+".results.csv", []byte(firstRun+"\n"), 0o600))
		lines, err := w.run(t.Context())
		require.NoError(t, err)
		assert.Len(t, lines, 2)
		assert.Len(t, w.server.Leads(), 2)
	})
	t.Run("the disk is full in the middle of a line", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, header+anna+bruno)
		_, err := w.run(t.Context())
		require.NoError(t, err)
		results := w.results()
		require.NoError(t, os.WriteFile(w.file+".results.csv", []byte(results[:len(results)-10]), 0o600))
		lines, err := w.run(t.Context())
		require.NoError(t, err)
		assert.Len(t, lines, 1)
		assert.Len(t, w.server.Leads(), 2)
		lines, err = w.run(t.Context())
		require.NoError(t, err, "the results can be read")
		assert.Empty(t, lines)
	})
	t.Run("the first line is not complete", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, header+anna)
		require.NoError(t, os.WriteFile(w.file+".results.csv", []byte("first run,2026-"), 0o600))
		_, err := w.run(t.Context())
		require.NoError(t, err)
		assert.Len(t, w.server.Leads(), 1)
		assert.True(t, strings.HasPrefix(w.results(), "first run,"))
	})
}

func TestResultsThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"not a time":   "first run,yesterday,,,,\n",
		"other fields": "a,b,c\nd\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, header+anna)
			require.NoError(t, os.WriteFile(w.file+".results.csv", []byte(content), 0o600))
			_, err := w.run(t.Context())
			require.ErrorContains(t, err, "open the results")
			assert.Empty(t, w.server.Requests())
		})
	}
	t.Run("a directory", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, header+anna)
		require.NoError(t, os.Mkdir(w.file+".results.csv", 0o700))
		_, err := w.run(t.Context())
		require.Error(t, err)
		assert.Empty(t, w.server.Requests())
	})
	t.Run("no file", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, header)
		require.NoError(t, os.Remove(w.file))
		_, err := w.run(t.Context())
		assert.True(t, errors.Is(err, os.ErrNotExist))
	})
}

func TestWrongToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, header+anna+bruno)
	w.server.SetToken("new-token")
	_, err := w.run(t.Context())
	require.ErrorIs(t, err, clixnow.ErrUnauthorized)
	require.ErrorContains(t, err, "2 leads are open")
	w.client = w.server.Client()
	t.Cleanup(w.client.CloseIdleConnections)
	_, err = w.run(t.Context())
	require.NoError(t, err)
	assert.Len(t, w.server.Leads(), 2)
}
