package telemetry_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app/apptest"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// collector receives OTLP over HTTP.
type collector struct {
	*httptest.Server

	mu     sync.Mutex
	status int
	// bodies has what was received by path.
	bodies map[string]string
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{status: http.StatusOK, bodies: make(map[string]string)}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.bodies[r.URL.Path] += string(body)
		w.WriteHeader(c.status)
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *collector) answer(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = status
}

// received returns what was received at a path.
func (c *collector) received(path string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bodies[path]
}

// start starts the telemetry with a metric.
func start(t *testing.T, log io.Writer) *telemetry.Telemetry {
	t.Helper()
	registry := prometheus.NewRegistry()
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "clixnow_test_leads"})
	registry.MustRegister(gauge)
	return telemetry.Start(t.Context(), os.Getenv, registry, slog.New(slog.NewTextHandler(log, nil)))
}

// setenv sets variables. Those that other machines may have are emptied.
func setenv(t *testing.T, variables map[string]string) {
	t.Helper()
	for _, name := range []string{"OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT"} {
		t.Setenv(name, "")
	}
	for name, value := range variables {
		t.Setenv(name, value)
	}
}

const token = "CfDJ8-s3cr3t-t0ken"

// secrets must not be exported. They are parts that no form of escaping
// changes.
var secrets = []string{"s3cr3t", "visitor", "example.com", "CLICK", "Password123", "4179555", "Allison", "dbpass"}

func TestExport(t *testing.T) { //nolint:paralleltest // the hooks of OpenTelemetry are global
	c := newCollector(t)
	setenv(t, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": c.URL, "OTEL_RESOURCE_ATTRIBUTES": "site=zurich"})
	server := clixnowtest.NewServer(clixnowtest.WithToken(token))
	defer server.Close()
	server.AddLeads(clixnow.Lead{Email: "visitor1@example.com", ClickID: "CLICK-1"})
	var log apptest.Output
	tel := start(t, &log)
	client := server.Client(clixnow.WithTransport(tel.Transport),
		clixnow.WithRetry(clixnow.RetryPolicy{MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond}))

	_, err := client.FindLeads(t.Context(), clixnow.FindLeadsRequest{Email: "visitor1@example.com"})
	require.NoError(t, err)
	_, err = client.FindLeads(t.Context(), clixnow.FindLeadsRequest{ClickID: "CLICK-1"})
	require.NoError(t, err)
	for _, fault := range []clixnowtest.Fault{
		{},
		{Drop: clixnowtest.DropAfterHandling},
		{Status: 500, Body: "visitor2@example.com"},
		{Status: 302, Header: http.Header{"Location": {"http://visitor2@example.com:x/" + token}}},
		{Status: 200, Body: `{"leadId":"visitor2@example.com"}`},
	} {
		server.Inject(fault)
		_, _ = client.CreateLead(t.Context(), clixnow.CreateLeadRequest{
			FirstName: "Allison", LastName: "Brown", Email: "visitor2@example.com", Phone: "+41795550101",
			Password: "Password123!", CountryCode: "CH", ClickID: "CLICK-2",
		})
	}
	tel.Close(t.Context())

	traces, metrics := c.received("/v1/traces"), c.received("/v1/metrics")
	for _, want := range []string{"HTTP GET", "HTTP POST", "http.response.status_code", "clixnow", "zurich"} {
		assert.Contains(t, traces, want)
	}
	for _, want := range []string{"clixnow_test_leads", "http.client.request.duration", "clixnow", "zurich"} {
		assert.Contains(t, metrics, want)
	}
	for _, secret := range secrets {
		assert.NotContains(t, strings.ToLower(traces+metrics), strings.ToLower(secret))
	}
	assert.NotContains(t, traces, "/leads/search?")
	assert.Empty(t, log.String())
	for _, request := range server.Requests() {
		assert.Empty(t, request.Header.Get("Traceparent"))
	}
}

// TestSignals checks which variables start which export.
func TestSignals(t *testing.T) { //nolint:paralleltest // the hooks of OpenTelemetry are global
	c := newCollector(t)
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT"
	traces, metrics := "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"
	tests := map[string]struct {
		variables       map[string]string
		traces, metrics bool
		log             string
	}{
		"no variable":        {},
		"no endpoint":        {variables: map[string]string{"OTEL_SERVICE_NAME": "x"}},
		"disabled":           {variables: map[string]string{endpoint: c.URL, "OTEL_SDK_DISABLED": "True"}},
		"both":               {variables: map[string]string{endpoint: c.URL}, traces: true, metrics: true},
		"endpoint of traces": {variables: map[string]string{traces: c.URL + "/v1/traces"}, traces: true},
		"endpoint of metrics": {
			variables: map[string]string{metrics: c.URL + "/v1/metrics"}, metrics: true,
		},
		"no traces":  {variables: map[string]string{endpoint: c.URL, "OTEL_TRACES_EXPORTER": "none"}, metrics: true},
		"no metrics": {variables: map[string]string{endpoint: c.URL, "OTEL_METRICS_EXPORTER": "none"}, traces: true},
		"neither": {variables: map[string]string{
			endpoint: c.URL, "OTEL_METRICS_EXPORTER": "none", "OTEL_TRACES_EXPORTER": "none",
		}},
		"exporter by name": {
			variables: map[string]string{traces: c.URL + "/v1/traces", "OTEL_TRACES_EXPORTER": "otlp"}, traces: true,
		},
		"unknown exporter": {
			variables: map[string]string{endpoint: c.URL, "OTEL_TRACES_EXPORTER": "console"}, metrics: true,
			log: "signal=traces exporter=console protocol=http/protobuf",
		},
		"unknown protocol": {
			variables: map[string]string{
				endpoint: c.URL, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
				"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
			}, traces: true,
			log: "signal=metrics exporter=\"\" protocol=grpc",
		},
	}
	for name, test := range tests { //nolint:paralleltest // see above
		t.Run(name, func(t *testing.T) {
			c.mu.Lock()
			clear(c.bodies)
			c.mu.Unlock()
			setenv(t, test.variables)
			server := clixnowtest.NewServer()
			defer server.Close()
			var log apptest.Output
			tel := start(t, &log)
			off := tel.Transport(http.DefaultTransport) == http.DefaultTransport
			assert.Equal(t, !test.traces && !test.metrics, off)
			client := server.Client(clixnow.WithTransport(tel.Transport))
			_, err := client.SearchLeadsPage(t.Context(), clixnow.SearchLeadsRequest{})
			require.NoError(t, err)
			tel.Close(t.Context())
			assert.Equal(t, test.traces, c.received("/v1/traces") != "")
			assert.Equal(t, test.metrics, c.received("/v1/metrics") != "")
			assert.Contains(t, log.String(), test.log)
			assert.Equal(t, test.log == "", log.String() == "", log.String())
		})
	}
}

// TestFailure checks that a collector that fails is logged once, and that the
// requests do not fail.
func TestFailure(t *testing.T) { //nolint:paralleltest // the hooks of OpenTelemetry are global
	c := newCollector(t)
	setenv(t, map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": c.URL, "OTEL_BSP_SCHEDULE_DELAY": "5", "OTEL_METRIC_EXPORT_INTERVAL": "5",
	})
	c.answer(http.StatusForbidden)
	server := clixnowtest.NewServer()
	defer server.Close()
	var log apptest.Output
	tel := start(t, &log)
	client := server.Client(clixnow.WithTransport(tel.Transport))
	// exported sends requests until each signal was exported some times.
	exported := func() {
		c.mu.Lock()
		clear(c.bodies)
		c.mu.Unlock()
		require.Eventually(t, func() bool {
			_, err := client.SearchLeadsPage(t.Context(), clixnow.SearchLeadsRequest{})
			require.NoError(t, err)
			return strings.Count(c.received("/v1/traces"), "service.name") > 3 &&
				strings.Count(c.received("/v1/metrics"), "service.name") > 3
		}, time.Minute, time.Millisecond)
	}
	exported()
	for _, signal := range []string{"traces", "metrics"} {
		assert.Equal(t, 1, strings.Count(log.String(), signal+" cannot be exported"), log.String())
	}
	assert.Contains(t, log.String(), "403")
	c.answer(http.StatusOK)
	exported()
	c.answer(http.StatusForbidden)
	exported()
	tel.Close(t.Context())
	for _, signal := range []string{"traces", "metrics"} {
		assert.Equal(t, 2, strings.Count(log.String(), signal+" cannot be exported"), log.String())
		assert.Equal(t, 1, strings.Count(log.String(), signal+" can be exported again"), log.String())
	}
	assert.Equal(t, 6, strings.Count(log.String(), "\n"), log.String())
}

// TestUnreadableMetrics checks that unreadable metrics are logged once.
func TestUnreadableMetrics(t *testing.T) { //nolint:paralleltest // the hooks of OpenTelemetry are global
	c := newCollector(t)
	setenv(t, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": c.URL, "OTEL_METRIC_EXPORT_INTERVAL": "5"})
	var log apptest.Output
	var read atomic.Int32
	gatherer := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		read.Add(1)
		return nil, errors.New("no database")
	})
	tel := telemetry.Start(t.Context(), os.Getenv, gatherer, slog.New(slog.NewTextHandler(&log, nil)))
	require.Eventually(t, func() bool { return read.Load() > 3 }, time.Minute, time.Millisecond)
	tel.Close(t.Context())
	assert.Equal(t, 1, strings.Count(log.String(), "no database"), log.String())
	assert.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
}

// TestMistakes checks that a wrong variable is logged without its value.
func TestMistakes(t *testing.T) { //nolint:paralleltest // the hooks of OpenTelemetry are global
	c := newCollector(t)
	for name, test := range map[string]struct{ value, log string }{ //nolint:paralleltest // see above
		"OTEL_EXPORTER_OTLP_HEADERS": {"s3cr3t", "parse headers"},
		"OTEL_EXPORTER_OTLP_TIMEOUT": {"long", "parse duration"},
		"OTEL_RESOURCE_ATTRIBUTES":   {"zurich", "missing value"},
		"OTEL_TRACES_SAMPLER":        {"often", "unsupported sampler"},
	} {
		t.Run(name, func(t *testing.T) {
			setenv(t, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": c.URL, name: test.value})
			var log apptest.Output
			start(t, &log).Close(t.Context())
			assert.Contains(t, log.String(), test.log)
			assert.NotContains(t, log.String(), "s3cr3t")
			assert.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
		})
	}
}

// TestHangingCollector checks that Close ends without an answer.
func TestHangingCollector(t *testing.T) { //nolint:paralleltest // the hooks of OpenTelemetry are global
	ctx, release := context.WithCancel(t.Context())
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-ctx.Done() }))
	defer hanging.Close()
	defer release()
	const hour = "3600000"
	setenv(t, map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": hanging.URL, "OTEL_EXPORTER_OTLP_TIMEOUT": hour, "OTEL_BSP_EXPORT_TIMEOUT": hour,
	})
	server := clixnowtest.NewServer()
	defer server.Close()
	var log apptest.Output
	tel := start(t, &log)
	client := server.Client(clixnow.WithTransport(tel.Transport))
	_, err := client.SearchLeadsPage(t.Context(), clixnow.SearchLeadsRequest{})
	require.NoError(t, err)
	tel.Close(t.Context())
	assert.Contains(t, log.String(), "traces cannot be exported")
	assert.Contains(t, log.String(), "metrics cannot be exported")
}
