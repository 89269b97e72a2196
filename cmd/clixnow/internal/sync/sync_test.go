package sync_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app/apptest"
	command "github.com/clixnow/clixnow-go/cmd/clixnow/internal/sync"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run runs the command.
func run(ctx context.Context, server *clixnowtest.Server, out, errs io.Writer, args ...string) error {
	getenv := func(name string) string {
		if strings.HasPrefix(name, "OTEL_") {
			return os.Getenv(name)
		}
		return map[string]string{
			"CLIXNOW_BRAND": server.Brand, "CLIXNOW_BASE_URL": server.URL, "CLIXNOW_TOKEN": server.Token,
		}[name]
	}
	a := &app.App{In: strings.NewReader(""), Out: out, Err: errs, Getenv: getenv}
	defer a.Close()
	cmd := app.Root(a, command.Command(a))
	cmd.SetArgs(append([]string{"sync"}, args...))
	return cmd.ExecuteContext(ctx)
}

func newServer(t *testing.T) *clixnowtest.Server {
	t.Helper()
	server := clixnowtest.NewServer()
	t.Cleanup(server.Close)
	server.AddLeads(clixnow.Lead{Status: "New"}, clixnow.Lead{Status: "Customer", FTDDate: time.Now()})
	return server
}

// TestListen asks for health and metrics while a brand works and fails.
func TestListen(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	var out, errs apptest.Output
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, server, &out, &errs, "--db", filepath.Join(t.TempDir(), "leads.db"), "--poll", "20ms",
			"--listen", "127.0.0.1:0")
	}()
	eventually(t, func() bool { return strings.Contains(errs.String(), "caught up") })
	address := regexp.MustCompile(`address=(\S+)`).FindStringSubmatch(errs.String())[1]
	get := func(path, host string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, http.NoBody)
		require.NoError(t, err)
		req.Host = host
		req.Close = true
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(body)
	}
	code, text := get("/healthz", address)
	assert.Equal(t, http.StatusOK, code)
	assert.Equal(t, "acme: ok\n", text)
	_, text = get("/metrics", address)
	for _, want := range []string{
		`clixnow_sync_up{brand="acme"} 1`, `clixnow_sync_leads_read{brand="acme"} 2`,
		`clixnow_sync_events_recorded{brand="acme"} 3`, `clixnow_sync_caught_up_timestamp_seconds{brand="acme"} 1.`,
	} {
		assert.Contains(t, text, want)
	}
	code, _ = get("/healthz", "evil.example:80")
	assert.Equal(t, http.StatusForbidden, code)

	server.Inject(clixnowtest.Fault{Status: 503, Times: 1_000_000})
	eventually(t, func() bool { code, text = get("/healthz", address); return code == http.StatusServiceUnavailable })
	assert.Contains(t, text, "503")
	assert.NotContains(t, text, "acme: acme")
	_, text = get("/metrics", address)
	assert.Contains(t, text, `clixnow_sync_up{brand="acme"} 0`)
	server.ClearFaults()
	eventually(t, func() bool { code, _ = get("/healthz", address); return code == http.StatusOK })
	cancel()
	require.NoError(t, <-ended)
}

// TestPrivateFile checks that other users of the machine cannot read the leads
// of a new SQLite file. An existing file keeps its mode.
func TestPrivateFile(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no file modes")
	}
	server := newServer(t)
	file := filepath.Join(t.TempDir(), "leads.db")
	for _, mode := range []os.FileMode{0o600, 0o640} {
		require.NoError(t, run(t.Context(), server, io.Discard, io.Discard, "--db", file, "--once"))
		info, err := os.Stat(file)
		require.NoError(t, err)
		assert.Equal(t, mode, info.Mode())
		require.NoError(t, os.Chmod(file, 0o640)) // a group may read the leads
	}
}

// TestPostbackMetrics asks for the metrics of postbacks.
func TestPostbackMetrics(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	tracker := httptest.NewServer(http.NotFoundHandler())
	defer tracker.Close()
	config := filepath.Join(t.TempDir(), "config.toml")
	require.NoError(t, os.WriteFile(config, []byte("[[postbacks]]\nname = \"mine\"\nurl = \""+tracker.URL+
		"/SECRET?{clickId}\"\nallow_private = [\"127.0.0.1\"]\nevents = [\"created\", \"deposited\"]\n"), 0o600))
	server.AddLeads(clixnow.Lead{ClickID: "CLICK", FTDDate: time.Now()})
	var out, errs apptest.Output
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, server, &out, &errs, "--db", filepath.Join(t.TempDir(), "leads.db"), "--poll", "20ms",
			"--listen", "127.0.0.1:0", "--config", config, "--postbacks-from", "2020-01-01T00:00:00Z")
	}()
	eventually(t, func() bool { return strings.Contains(errs.String(), "the tracker refused an event") })
	address := regexp.MustCompile(`address=(\S+)`).FindStringSubmatch(errs.String())[1]
	get := func(path string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, http.NoBody)
		require.NoError(t, err)
		req.Close = true
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(text)
	}
	// The log comes before the result is saved.
	eventually(t, func() bool { _, text := get("/healthz"); return strings.Contains(text, "not accept") })
	code, text := get("/healthz")
	assert.Equal(t, http.StatusOK, code)
	assert.Equal(t, "acme: ok\npostback mine: the tracker does not accept events, 2 wait, 0 failed\n", text)
	_, text = get("/metrics")
	for _, want := range []string{
		`clixnow_postback_up{postback="mine"} 0`, `clixnow_postback_waiting{postback="mine"} 2`,
		`clixnow_postback_failed{postback="mine"} 0`, `clixnow_postback_oldest_timestamp_seconds{postback="mine"} 1.`,
		`clixnow_postback_sent_total{postback="mine"} 0`,
		`clixnow_postback_skipped_total{postback="mine",reason="no click id"} 3`,
		`clixnow_postback_skipped_total{postback="mine",reason="before the start"} 0`,
	} {
		assert.Contains(t, text, want)
	}
	cancel()
	require.NoError(t, <-ended)
	assert.NotContains(t, errs.String(), "SECRET")
	assert.NotContains(t, errs.String(), "CLICK")
}

// TestOpenTelemetry exports to a collector, and searches what it received for
// secrets.
func TestOpenTelemetry(t *testing.T) {
	var received apptest.Output
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		_, _ = received.Write(body)
	}))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	server := clixnowtest.NewServer(clixnowtest.WithToken("TOKEN"))
	defer server.Close()
	server.AddLeads(clixnow.Lead{Email: "visitor@example.com", ClickID: "CLICK", FTDDate: time.Now()})
	tracker := httptest.NewServer(http.NotFoundHandler())
	defer tracker.Close()
	config := filepath.Join(t.TempDir(), "config.toml")
	require.NoError(t, os.WriteFile(config, []byte("[[postbacks]]\nname = \"mine\"\nurl = \""+tracker.URL+
		"/SECRET?{clickId}\"\nallow_private = [\"127.0.0.1\"]\nevents = [\"deposited\"]\n"), 0o600))
	var out, errs apptest.Output
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, server, &out, &errs, "--db", filepath.Join(t.TempDir(), "leads.db"), "--poll", "20ms",
			"--config", config, "--postbacks-from", "2020-01-01T00:00:00Z")
	}()
	eventually(t, func() bool { return strings.Contains(errs.String(), "caught up") })
	cancel()
	require.NoError(t, <-ended)
	for _, want := range []string{
		"HTTP GET", "http.response.status_code", "http.client.request.duration", "clixnow_sync_leads_read", "acme",
		"clixnow_postback_waiting", "mine",
	} {
		assert.Contains(t, received.String(), want)
	}
	for _, secret := range []string{"TOKEN", "visitor", "example.com", "CLICK", "SECRET", "/leads/search?"} {
		assert.NotContains(t, received.String(), secret)
	}
	assert.NotContains(t, errs.String(), "exported")
}

func eventually(t *testing.T, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, time.Minute, 5*time.Millisecond)
}

var errFull = errors.New("disk full")

// fullDisk fails after a number of lines.
type fullDisk struct{ lines int }

func (d *fullDisk) Write(text []byte) (int, error) {
	if d.lines--; d.lines < 0 {
		return 0, errFull
	}
	return len(text), nil
}

// TestOutputFails checks that events that could not be printed are printed by
// the next run.
func TestOutputFails(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	var out, errs apptest.Output
	db := filepath.Join(t.TempDir(), "leads.db")
	err := run(t.Context(), server, &fullDisk{1}, &errs, "--db", db, "--poll", "1h")
	require.ErrorIs(t, err, errFull)
	assert.Equal(t, app.CodeLater, app.Code(err))
	require.NoError(t, run(t.Context(), server, &out, &errs, "--db", db, "--once"))
	assert.Equal(t, 3, strings.Count(out.String(), "\n"), out.String())
}
