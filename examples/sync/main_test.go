package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
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

func TestRun(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out, "", "", 0))
	assert.Equal(t, `First run:
copied the history: 3 leads
Second run, after changes at the brand:
lead 123456: status changed (No answer)
lead 123457: status changed (Deposited)
lead 123457: deposited (Deposited)
lead 123459: created (New)
`, out.String())
	require.ErrorContains(t, run(t.Context(), io.Discard, "not a brand", "", 0), "brand")
}

// sync is a copy of a fake brand.
type sync struct {
	*testing.T

	server *clixnowtest.Server
	client *clixnow.Client
	file   string
}

func newSync(t *testing.T, leads int) *sync {
	t.Helper()
	server := clixnowtest.NewServer(clixnowtest.WithFirstID(1))
	t.Cleanup(server.Close)
	client := server.Client()
	t.Cleanup(client.CloseIdleConnections)
	for i := range leads {
		server.AddLeads(clixnow.Lead{CreatedOn: time.Now().Add(time.Duration(i-leads) * time.Minute)})
	}
	return &sync{t, server, client, filepath.Join(t.TempDir(), "leads.json")}
}

// follow returns what one run prints.
func (s *sync) follow() string {
	s.Helper()
	var out strings.Builder
	require.NoError(s, follow(s.Context(), &out, s.client, s.file, 0))
	return out.String()
}

func (s *sync) setStatus(id int64, status string) {
	s.Helper()
	require.NoError(s, s.server.UpdateLead(id, func(lead *clixnow.Lead) { lead.Status = status }))
}

func (s *sync) saved() *state {
	s.Helper()
	saved, err := load(s.file)
	require.NoError(s, err)
	return saved
}

func TestCopyIsComplete(t *testing.T) {
	t.Parallel()
	s := newSync(t, 2500)
	assert.Equal(t, "copied the history: 2500 leads\n", s.follow())
	assert.Empty(t, s.follow(), "nothing has changed")
	s.setStatus(7, "Callback")
	assert.Equal(t, "lead 7: status changed (Callback)\n", s.follow())
	saved := s.saved()
	assert.Len(t, saved.Leads, 2500)
	for _, lead := range s.server.Leads() {
		assert.Equal(t, lead, saved.Leads[lead.ID])
	}
}

// TestHistoryIsContinued fails in the middle of the first pass.
func TestHistoryIsContinued(t *testing.T) {
	t.Parallel()
	s := newSync(t, 2500)
	s.server.Inject(clixnowtest.Fault{Times: 2}, clixnowtest.Fault{Status: 500, Times: 3})
	require.ErrorIs(t, follow(t.Context(), io.Discard, s.client, s.file, 0), clixnow.ErrServer)
	saved := s.saved()
	assert.GreaterOrEqual(t, len(saved.Leads), 1000)
	assert.Less(t, len(saved.Leads), 2500)
	assert.False(t, saved.Complete)
	assert.Equal(t, "copied the history: 2500 leads\n", s.follow(), "no events of the past are printed")
	assert.Len(t, s.saved().Leads, 2500)
}

func TestEmptyHistory(t *testing.T) {
	t.Parallel()
	s := newSync(t, 0)
	assert.Equal(t, "copied the history: 0 leads\n", s.follow())
	s.server.AddLeads(clixnow.Lead{Status: "New"})
	assert.Equal(t, "lead 1: created (New)\n", s.follow())
}

func TestFailureLosesNothing(t *testing.T) {
	t.Parallel()
	s := newSync(t, 3)
	s.server.Inject(clixnowtest.Fault{Status: 500, Times: 3})
	require.ErrorIs(t, follow(t.Context(), io.Discard, s.client, s.file, 0), clixnow.ErrServer)
	assert.NoFileExists(t, s.file)
	s.follow()

	s.setStatus(1, "Callback")
	s.server.Inject(clixnowtest.Fault{Status: 500, Times: 3})
	require.ErrorIs(t, follow(t.Context(), io.Discard, s.client, s.file, 0), clixnow.ErrServer)
	assert.Equal(t, "lead 1: status changed (Callback)\n", s.follow())
}

// TestEventsAreRepeated runs with a file that cannot be written. This stands
// for a process that dies before the write.
func TestEventsAreRepeated(t *testing.T) {
	t.Parallel()
	s := newSync(t, 1)
	s.follow()
	s.setStatus(1, "Callback")
	const event = "lead 1: status changed (Callback)\n"
	saved, err := os.ReadFile(s.file)
	require.NoError(t, err)
	dir := filepath.Dir(s.file)
	require.NoError(t, os.Rename(s.file, filepath.Join(t.TempDir(), "leads.json")))
	require.NoError(t, os.Mkdir(s.file, 0o700))
	require.Error(t, follow(t.Context(), io.Discard, s.client, s.file, 0), "the file is a directory")

	require.NoError(t, os.Remove(s.file))
	require.NoError(t, os.WriteFile(s.file, saved, 0o600))
	assert.Equal(t, event, s.follow())
	assert.Empty(t, s.follow())
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, files, 1, "no temporary file is left")
}

func TestDamagedFile(t *testing.T) {
	t.Parallel()
	s := newSync(t, 1)
	require.NoError(t, os.WriteFile(s.file, []byte(`{"since":`), 0o600))
	require.ErrorContains(t, follow(t.Context(), io.Discard, s.client, s.file, 0), "leads.json")
	assert.Empty(t, s.server.Requests())
}

// stopper cancels a context once a text has been printed.
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

// TestPolling lets the first two passes fail.
func TestPolling(t *testing.T) {
	t.Parallel()
	s := newSync(t, 3)
	s.server.Inject(clixnowtest.Fault{Status: 500, Times: 6})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &stopper{text: "copied", stop: cancel}
	require.ErrorIs(t, follow(ctx, out, s.client, s.file, time.Millisecond), context.Canceled)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 3)
	assert.Contains(t, lines[0], "500")
	assert.Contains(t, lines[1], "500")
	assert.Equal(t, "copied the history: 3 leads", lines[2])
	assert.Len(t, s.saved().Leads, 3)
}
