package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
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

// TestRun compares the lines of each job, because the jobs take turns.
func TestRun(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out))
	lines := make(map[string][]string)
	for line := range strings.Lines(out.String()) {
		assert.LessOrEqual(t, len(line), 80)
		name, rest, _ := strings.Cut(strings.TrimSpace(line), ": ")
		lines[name] = append(lines[name], rest)
	}
	full := "refused (other): waiting"
	assert.Equal(t, map[string][]string{
		"job 1":                  {"unknown: waiting", "registered as lead 123456, recovered true"},
		"job 2":                  {full, full, "registered as lead 123457, recovered false"},
		"job 3":                  {"refused (country): given up"},
		"job 4":                  {full, full, full, full, full, "refused (other): needs a person"},
		"The brand has 2 leads.": {""},
	}, lines)
}

func newLead() *clixnow.CreateLeadRequest {
	return &clixnow.CreateLeadRequest{
		FirstName: "Anna", LastName: "Example", Email: "anna@example.com", Phone: "+41795550100",
		Password: "Password123!", CountryCode: "CH", ClickID: "click-1",
	}
}

// newQueue returns a queue with one waiting job.
func newQueue(t *testing.T) *queue {
	t.Helper()
	q, err := open(filepath.Join(t.TempDir(), "queue.json"))
	require.NoError(t, err)
	q.Jobs = append(q.Jobs, &job{ID: 1, State: "waiting", Lead: newLead()})
	require.NoError(t, q.save())
	return q
}

// reopen reads the file of a queue, as a new process does.
func reopen(t *testing.T, q *queue) *queue {
	t.Helper()
	q, err := open(q.file)
	require.NoError(t, err)
	require.Len(t, q.Jobs, 1)
	return q
}

func start(t *testing.T) (*clixnowtest.Server, *clixnow.Client) {
	t.Helper()
	server := clixnowtest.NewServer()
	t.Cleanup(server.Close)
	client := server.Client()
	t.Cleanup(client.CloseIdleConnections)
	return server, client
}

func TestDelivery(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		faults []clixnowtest.Fault
		change func(*clixnow.CreateLeadRequest)
		state  string
		// inDoubt means that the time of the first attempt is kept.
		inDoubt bool
		problem string
	}{
		{"registered", nil, nil, "registered", false, ""},
		{"recovered", []clixnowtest.Fault{{Drop: clixnowtest.DropAfterHandling}}, nil, "registered", false, ""},
		{
			"unknown",
			[]clixnowtest.Fault{{Drop: clixnowtest.DropAfterHandling}, {Status: 500, Times: 100}},
			nil,
			"waiting", true, "500",
		},
		{
			"invalid", nil, func(req *clixnow.CreateLeadRequest) { req.Password = "" },
			"given up", false, "password",
		},
		{
			"duplicate",
			[]clixnowtest.Fault{{Status: 400, Body: `{"message":"Duplicate lead"}`}},
			nil,
			"given up", false, "Duplicate lead",
		},
		{
			"country",
			[]clixnowtest.Fault{{Status: 400, Body: `{"message":"not allowed for country CH"}`}},
			nil,
			"given up", false, "not allowed",
		},
		{
			"full",
			[]clixnowtest.Fault{{Status: 400, Body: `{"message":"Daily cap reached"}`}},
			nil,
			"waiting", false, "Daily cap reached",
		},
		{"wrong token", []clixnowtest.Fault{{Status: 401}}, nil, "waiting", false, "401"},
		{"too many requests", []clixnowtest.Fault{{Status: 429, Times: 100}}, nil, "waiting", false, "429"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server, client := start(t)
			server.Inject(test.faults...)
			q := newQueue(t)
			if test.change != nil {
				test.change(q.Jobs[0].Lead)
			}
			before := time.Now()
			require.NoError(t, q.deliver(t.Context(), io.Discard, client, q.Jobs[0], time.Minute))
			j := reopen(t, q).Jobs[0]
			assert.Equal(t, test.state, j.State)
			assert.Equal(t, test.inDoubt, !j.FirstAttempt.IsZero())
			assert.Contains(t, j.Problem, test.problem)
			assert.Equal(t, test.state == "registered", j.LeadID != 0)
			assert.Equal(t, test.state == "waiting", j.Lead != nil, "a settled job has no password")
			if test.state == "waiting" {
				assert.WithinRange(t, j.Next, before.Add(5*time.Minute), time.Now().Add(5*time.Minute))
			}
		})
	}
}

func TestSchedule(t *testing.T) {
	t.Parallel()
	server, client := start(t)
	server.Inject(clixnowtest.Fault{Status: 400, Body: `{"message":"Paused"}`, Times: 6})
	q := newQueue(t)
	for i, want := range []time.Duration{5 * time.Minute, 15 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour} {
		before := time.Now()
		require.NoError(t, q.deliver(t.Context(), io.Discard, client, q.Jobs[0], time.Minute))
		assert.WithinRange(t, q.Jobs[0].Next, before.Add(want), time.Now().Add(want))
		assert.Equal(t, i+1, q.Jobs[0].Failures)
		assert.Equal(t, "waiting", q.Jobs[0].State)
	}
	require.NoError(t, q.deliver(t.Context(), io.Discard, client, q.Jobs[0], time.Minute))
	j := reopen(t, q).Jobs[0]
	assert.Equal(t, "needs a person", j.State)
	assert.Equal(t, newLead(), j.Lead, "the lead is kept")
}

// death is a RoundTripper that ends the process, as far as a test can do that:
// it panics before or after the request.
type death struct {
	next    http.RoundTripper
	sends   bool
	remains int
}

func (d *death) RoundTrip(r *http.Request) (*http.Response, error) {
	if d.remains--; d.remains != 0 {
		return d.next.RoundTrip(r)
	}
	if d.sends {
		if resp, err := d.next.RoundTrip(r); err == nil {
			_ = resp.Body.Close()
		}
	}
	panic("the process dies")
}

func TestProcessDies(t *testing.T) {
	t.Parallel()
	lost := []clixnowtest.Fault{{Method: "POST", Drop: clixnowtest.DropAfterHandling}}
	tests := []struct {
		name   string
		faults []clixnowtest.Fault
		// request is the number of the request at which the process dies.
		request   int
		sends     bool
		recovered bool
	}{
		{"before the create is sent", nil, 1, false, false},
		{"after the create was sent", nil, 1, true, true},
		{"in the first look", lost, 2, false, true},
		{"after the first look", lost, 2, true, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server, client := start(t)
			transport := &http.Transport{}
			t.Cleanup(transport.CloseIdleConnections)
			dying, err := clixnow.NewClient(server.Brand, server.Token, clixnow.WithBaseURL(server.URL),
				clixnow.WithHTTPClient(&http.Client{Transport: &death{transport, test.sends, test.request}}))
			require.NoError(t, err)
			server.Inject(test.faults...)
			q := newQueue(t)
			assert.Panics(t, func() { _ = q.consume(t.Context(), io.Discard, dying, time.Millisecond) })

			var out strings.Builder
			q = reopen(t, q)
			require.NoError(t, q.consume(t.Context(), &out, client, time.Millisecond))
			want := fmt.Sprintf("job 1: registered as lead 123456, recovered %t\n", test.recovered)
			assert.Equal(t, want, out.String())
			assert.Len(t, server.Leads(), 1)
		})
	}
}

func TestStop(t *testing.T) {
	t.Parallel()
	_, client := start(t)
	q := newQueue(t)
	q.Jobs[0].Next = time.Now().Add(time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, q.consume(ctx, io.Discard, client, time.Minute), context.Canceled)
}

func TestFile(t *testing.T) {
	t.Parallel()
	server, client := start(t)
	q := newQueue(t)
	info, err := os.Stat(q.file)
	require.NoError(t, err)
	if runtime.GOOS != "windows" { // where the folder of the user protects the file
		assert.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "the file holds passwords")
	}
	files, err := os.ReadDir(filepath.Dir(q.file))
	require.NoError(t, err)
	assert.Len(t, files, 1, "no temporary file is left")

	require.NoError(t, os.WriteFile(q.file, []byte(`{"jobs":`), 0o600))
	_, err = open(q.file)
	require.ErrorContains(t, err, "queue.json")

	q.file = filepath.Join(t.TempDir(), "missing", "queue.json")
	require.Error(t, q.consume(t.Context(), io.Discard, client, time.Millisecond))
	assert.Empty(t, server.Requests(), "nothing is sent if the file cannot be written")
}
