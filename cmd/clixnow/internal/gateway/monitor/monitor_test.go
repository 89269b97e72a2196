package monitor_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/goleak"
	_ "modernc.org/sqlite"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app/apptest"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/gateway/monitor"
	"github.com/clixnow/clixnow-go/router"
	"github.com/clixnow/clixnow-go/store/outbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	apiToken   = "CfDJ8-s3cr3t-t0ken"
	password   = "Pass-word-1"
	wait, tick = time.Minute, 10 * time.Millisecond
	// stored is the form of times in the database.
	stored = "2006-01-02T15:04:05.000000Z"
)

// gateway is a minimal gateway with a monitor.
type gateway struct {
	*outbox.Outbox
	api     *clixnowtest.Server
	monitor *monitor.Monitor
	db      *sql.DB
	log     apptest.Output
	// visitors and operators are the addresses of the endpoints.
	visitors, operators string
	work                func()
}

// start starts a gateway whose worker does not work before the call of work.
// transport wraps the transport to the brands. It may be nil.
func start(
	t *testing.T, file string, traces trace.TracerProvider, transport func(http.RoundTripper) http.RoundTripper,
) *gateway {
	t.Helper()
	g := &gateway{api: clixnowtest.NewServer(clixnowtest.WithToken(apiToken))}
	t.Cleanup(g.api.Close)
	options := []clixnow.Option{
		clixnow.WithRetry(clixnow.RetryPolicy{
			MaxAttempts: 1, MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond,
		}),
	}
	if transport != nil {
		options = append(options, clixnow.WithTransport(transport))
	}
	g.monitor = monitor.New(prometheus.NewRegistry(), traces)
	opts := outbox.Options{
		Routes: []router.Route{{Client: g.api.Client(options...)}}, TokenKey: []byte("key"),
		Logger: slog.New(slog.NewTextHandler(&g.log, nil)),
	}
	g.monitor.Hook(&opts)
	var err error
	g.db, err = sql.Open("sqlite", outbox.SQLiteAddress(file))
	require.NoError(t, err)
	t.Cleanup(func() { _ = g.db.Close() })
	g.Outbox, err = outbox.Open(t.Context(), g.db, outbox.SQLite, opts)
	require.NoError(t, err)
	g.monitor.Watch(g.Outbox)
	g.serve(t)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var worker sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		worker.Wait()
	})
	g.work = func() { worker.Go(func() { assert.NoError(t, g.Work(ctx)) }) }
	return g
}

// serve serves POST /signups, GET /signups/{token} and the monitor.
func (g *gateway) serve(t *testing.T) {
	t.Helper()
	visitors, operators := http.NewServeMux(), http.NewServeMux()
	visitors.HandleFunc("POST /signups", func(w http.ResponseWriter, r *http.Request) {
		var lead clixnow.CreateLeadRequest
		if json.NewDecoder(r.Body).Decode(&lead) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s, err := g.Add(context.WithoutCancel(r.Context()), lead)
		if err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, s.Token)
	})
	visitors.HandleFunc("GET /signups/{token}", func(http.ResponseWriter, *http.Request) {})
	visitors.HandleFunc("POST /panic", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	operators.HandleFunc("GET /healthz", g.monitor.Health)
	operators.HandleFunc("GET /readyz", g.monitor.Ready)
	operators.Handle("GET /metrics", g.monitor.Metrics())
	g.visitors, g.operators = listen(t, g.monitor.Requests(visitors)), listen(t, operators)
}

func listen(t *testing.T, handler http.Handler) (address string) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

func leadJSON(clickID string) string {
	return `{"firstName":"Allison","lastName":"Brown","email":"` + clickID + `@example.com","phone":"+41795550101",` +
		`"password":"` + password + `","countryCode":"CH","clickId":"` + clickID + `"}`
}

// secrets must not be shown. They are parts that no form of escaping changes.
var secrets = []string{"s3cr3t", "Pass-word", "Allison", "example.com", "4179555"}

func assertNoSecrets(t *testing.T, text string) {
	t.Helper()
	for _, secret := range secrets {
		assert.NotContains(t, text, secret)
	}
}

func send(t *testing.T, method, address, body string, header ...string) (code int, text string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	require.NoError(t, err)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil { // the handler has panicked
		return 0, ""
	}
	defer func() { _ = response.Body.Close() }()
	read, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(read)
}

func (g *gateway) signUp(t *testing.T, clickID string) (token string) {
	t.Helper()
	code, token := send(t, http.MethodPost, g.visitors+"/signups", leadJSON(clickID))
	require.Equal(t, http.StatusOK, code)
	return token
}

// scrape returns the metrics of the gateway.
func (g *gateway) scrape(t *testing.T) string {
	t.Helper()
	code, text := send(t, http.MethodGet, g.operators+"/metrics", "")
	require.Equal(t, http.StatusOK, code, text)
	assertNoSecrets(t, text)
	own := regexp.MustCompile(`(?m)^clixnow_.*\n`).FindAllString(text, -1)
	return strings.Join(own, "")
}

// waitForMetric waits until the metrics have a text.
func (g *gateway) waitForMetric(t *testing.T, want string) (code int, text string) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		code, text = send(t, http.MethodGet, g.operators+"/metrics", "")
		if strings.Contains(text, want) {
			return code, text
		}
		if time.Since(began) > time.Minute {
			require.Contains(t, text, want, &g.log)
		}
	}
}

func (g *gateway) exec(t *testing.T, statement string, args ...any) {
	t.Helper()
	_, err := g.db.ExecContext(t.Context(), statement, args...)
	require.NoError(t, err)
}

// TestHealth is case P12: /healthz has one clear line for each cause.
func TestHealth(t *testing.T) {
	t.Parallel()
	longAgo := time.Now().Add(-24 * time.Hour)
	tests := map[string]struct {
		// file is the database. "" means a new one.
		file   func(t *testing.T) string
		change func(t *testing.T, g *gateway)
		// want is the line of /healthz. "" means that it is healthy.
		want string
		// metric is a line of the metrics.
		metric string
		// unready means that no sign-up can be saved.
		unready bool
	}{
		"idle": {change: func(*testing.T, *gateway) {}, metric: `clixnow_gateway_database_up 1`},
		"registers": {
			change: func(t *testing.T, g *gateway) {
				t.Helper()
				g.signUp(t, "works")
				g.work()
			},
			metric: `clixnow_gateway_settled_total{reason="",status="registered"} 1`,
		},
		"waits for a short time": {
			change: func(t *testing.T, g *gateway) {
				t.Helper()
				g.signUp(t, "waits")
			},
			metric: `clixnow_gateway_signups{status="pending"} 1`,
		},
		"wrong token": {
			change: func(t *testing.T, g *gateway) {
				t.Helper()
				g.api.Inject(clixnowtest.Fault{Status: 401, Times: 1000, Body: `{"message":"` + apiToken + `"}`})
				g.signUp(t, "token")
				g.work()
			},
			want: `^the brand acme refuses the access since 20\S+Z, last tried at 20\S+Z: ` +
				`check its token and its host: .*401`,
			metric: `clixnow_gateway_brand_up{brand="acme"} 0`,
		},
		"brand fails": {
			change: func(t *testing.T, g *gateway) {
				t.Helper()
				g.api.Inject(clixnowtest.Fault{Status: 429, Times: 1000})
				for _, clickID := range []string{"a", "b", "c"} {
					g.signUp(t, clickID)
				}
				g.work()
			},
			want:   `^the brand acme fails since 20\S+Z, last tried at 20\S+Z: .*429`,
			metric: `clixnow_gateway_brand_up{brand="acme"} 0`,
		},
		"no worker": {
			change: func(t *testing.T, g *gateway) {
				t.Helper()
				g.signUp(t, "due")
				g.exec(t, `UPDATE river_job SET scheduled_at = $1`, longAgo.UTC().Format("2006-01-02 15:04:05.000"))
			},
			want:   `^the queue is behind: a sign-up waits for a free worker since 20\S+Z\n$`,
			metric: `clixnow_gateway_due_seconds 864`,
		},
		"old queue": {
			change: func(t *testing.T, g *gateway) {
				t.Helper()
				g.signUp(t, "old")
				g.exec(t, `UPDATE outbox_signups SET created_at = $1`, longAgo.UTC().Format(stored))
			},
			want:   `^the queue is old: the oldest of 1 waiting sign-ups was accepted at 20\S+Z\n$`,
			metric: `clixnow_gateway_oldest_seconds{status="pending"} 864`,
		},
		"full disk": {
			file: smallDisk,
			change: func(t *testing.T, g *gateway) {
				t.Helper()
				fill(t, g)
			},
			want:    `^the database has no space left on its disk: .*full`,
			metric:  `clixnow_gateway_database_up 0`,
			unready: true,
		},
		"database away": {
			change: func(t *testing.T, g *gateway) {
				t.Helper()
				require.NoError(t, g.db.Close())
			},
			want:    `^the database cannot be written: .*closed`,
			metric:  `clixnow_gateway_database_up 0`,
			unready: true,
		},
		"database hangs": {
			change: func(t *testing.T, g *gateway) {
				t.Helper()
				conn, err := g.db.Conn(t.Context()) // the only one
				require.NoError(t, err)
				t.Cleanup(func() { _ = conn.Close() })
			},
			want:    `^the database does not answer within 5s: `,
			metric:  `clixnow_gateway_database_up 0`,
			unready: true,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "signups.db")
			if test.file != nil {
				file = test.file(t)
			}
			g := start(t, file, noop.NewTracerProvider(), nil)
			test.change(t, g)
			g.waitForMetric(t, test.metric)
			assertNoSecrets(t, g.scrape(t))
			wantCode, want := http.StatusOK, `^ok\n$`
			if test.want != "" {
				wantCode, want = http.StatusServiceUnavailable, test.want
			}
			code, text := send(t, http.MethodGet, g.operators+"/healthz", "")
			assert.Equal(t, wantCode, code)
			assert.Regexp(t, want, text)
			assert.Equal(t, 1, strings.Count(text, "\n"), text)
			assertNoSecrets(t, text)

			wantCode, want = http.StatusOK, `^ok\n$`
			if test.unready {
				wantCode, want = http.StatusServiceUnavailable, `^sign-ups cannot be saved: the database [a-z0-9 ]+\n$`
			}
			code, text = send(t, http.MethodGet, g.operators+"/readyz", "")
			assert.Equal(t, wantCode, code)
			assert.Regexp(t, want, text)
		})
	}
}

// TestSeveralProblems checks that each cause has a line, and that a brand that
// works again is no cause.
func TestSeveralProblems(t *testing.T) {
	t.Parallel()
	g := start(t, filepath.Join(t.TempDir(), "signups.db"), noop.NewTracerProvider(), nil)
	g.api.Inject(clixnowtest.Fault{Status: 401, Times: 1})
	g.signUp(t, "two")
	g.exec(t, `UPDATE outbox_signups SET created_at = $1`, time.Now().Add(-24*time.Hour).UTC().Format(stored))
	g.work()
	// The state may be some seconds older than the counters.
	g.waitForMetric(t, `clixnow_gateway_signups{status="registered"} 1`)
	code, text := send(t, http.MethodGet, g.operators+"/healthz", "")
	assert.Equal(t, http.StatusOK, code, text)
	metrics := g.scrape(t)
	for _, want := range []string{
		`clixnow_gateway_attempts_total{brand="acme",outcome="refused",reason="access"} 1`,
		`clixnow_gateway_attempts_total{brand="acme",outcome="registered",reason=""} 1`,
		`clixnow_gateway_attempts_total{brand="acme",outcome="unknown",reason=""} 0`,
		`clixnow_gateway_attempt_duration_seconds_count{brand="acme",outcome="registered"} 1`,
		`clixnow_gateway_brand_up{brand="acme"} 1`,
		`clixnow_gateway_signups{status="registered"} 1`,
		`clixnow_gateway_oldest_seconds{status="pending"} 0`,
		`clixnow_gateway_due_seconds 0`,
	} {
		assert.Contains(t, metrics, want+"\n")
	}
}

// TestRequests checks the metrics of requests. No path is a label, because
// anybody can send any path, and a token is a secret.
func TestRequests(t *testing.T) {
	t.Parallel()
	g := start(t, filepath.Join(t.TempDir(), "signups.db"), noop.NewTracerProvider(), nil)
	token := g.signUp(t, "requests")
	for _, request := range []struct{ method, path string }{
		{"POST", "/signups"},
		{"GET", "/signups/" + token},
		{"GET", "/wp-login.php"},
		{"BREW", "/signups"},
		{"POST", "/panic"},
	} {
		send(t, request.method, g.visitors+request.path, "no JSON")
	}
	_, metrics := g.waitForMetric(t, `route="POST /panic"`)
	for _, want := range []string{
		`clixnow_gateway_requests_total{code="200",route="POST /signups"} 1`,
		`clixnow_gateway_requests_total{code="400",route="POST /signups"} 1`,
		`clixnow_gateway_requests_total{code="200",route="GET /signups/{token}"} 1`,
		`clixnow_gateway_requests_total{code="404",route="other"} 1`,
		`clixnow_gateway_requests_total{code="405",route="other"} 1`,
		`clixnow_gateway_requests_total{code="500",route="POST /panic"} 1`,
		`clixnow_gateway_request_duration_seconds_count{route="POST /signups"} 2`,
	} {
		assert.Contains(t, metrics, want+"\n")
	}
	assert.NotContains(t, metrics, token)
}

// TestDeploy checks that the alert rules and the dashboard use only metrics
// that a gateway shows.
func TestDeploy(t *testing.T) {
	t.Parallel()
	g := start(t, filepath.Join(t.TempDir(), "signups.db"), noop.NewTracerProvider(), nil)
	g.signUp(t, "deploy")
	g.work()
	_, metrics := g.waitForMetric(t, `clixnow_gateway_settled_total{reason="",status="registered"} 1`)
	names := regexp.MustCompile(`(?m)^\w+`).FindAllString(metrics, -1)
	for _, file := range []string{"alerts.yml", "alerts_test.yml", "dashboard.json"} {
		text, err := os.ReadFile("../../../deploy/" + file)
		require.NoError(t, err)
		used := regexp.MustCompile(`\b(?:clixnow_gateway|process|go)_[a-z_]+\b`).FindAllString(string(text), -1)
		assert.Greater(t, len(used), 5, file)
		for _, name := range used {
			assert.Contains(t, names, name, file)
		}
	}
	var dashboard struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	text, err := os.ReadFile("../../../deploy/dashboard.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &dashboard))
	for _, panel := range dashboard.Panels {
		assert.NotEmpty(t, panel.Targets)
	}
}
