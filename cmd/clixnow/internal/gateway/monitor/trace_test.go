package monitor_test

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric/noop"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/telemetry"
)

// startTraced starts a gateway whose spans are kept.
func startTraced(t *testing.T, file string) (*gateway, *tracetest.InMemoryExporter) {
	t.Helper()
	spans := tracetest.NewInMemoryExporter()
	traces := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	return start(t, file, traces, func(next http.RoundTripper) http.RoundTripper {
		return telemetry.Transport(next, traces, noop.NewMeterProvider())
	}), spans
}

// named returns the spans with a name, in the order of their ends.
func named(spans *tracetest.InMemoryExporter, name string) (found []tracetest.SpanStub) {
	for _, span := range spans.GetSpans() {
		if span.Name == name {
			found = append(found, span)
		}
	}
	return found
}

func attributesOf(span tracetest.SpanStub) map[string]any {
	all := make(map[string]any)
	for _, a := range span.Attributes {
		all[string(a.Key)] = a.Value.AsInterface()
	}
	return all
}

// TestTrace checks that one trace leads from the visitor's request over each
// try to the requests to the brand, also if another process makes the try.
func TestTrace(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "signups.db")
	front, requests := startTraced(t, file)
	worker, tries := startTraced(t, file)
	worker.api.Inject(clixnowtest.Fault{Status: 429})
	const foreign = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	code, token := send(t, http.MethodPost, front.visitors+"/signups?clickid=x@example.com", leadJSON("trace"),
		"Traceparent", foreign)
	require.Equal(t, http.StatusOK, code)
	worker.work()
	worker.waitForMetric(t, `clixnow_gateway_settled_total{reason="",status="registered"} 1`)
	require.Eventually(t, func() bool { return len(named(tries, "register a sign-up")) == 2 }, wait, tick)
	send(t, http.MethodGet, front.visitors+"/signups/"+token, "")

	request := named(requests, "POST /signups")[0]
	assert.Equal(t, trace.SpanKindServer, request.SpanKind)
	assert.Equal(t, map[string]any{"http.route": "POST /signups", "http.response.status_code": int64(200)},
		attributesOf(request))
	assert.False(t, request.Parent.IsValid(), "anybody can send a trace id")
	require.Len(t, request.Links, 1)
	assert.Equal(t, "0af7651916cd43dd8448eb211c80319c", request.Links[0].SpanContext.TraceID().String())

	both, posts := named(tries, "register a sign-up"), named(tries, "HTTP POST")
	require.Len(t, posts, 2)
	for i, want := range []map[string]any{
		{"clixnow.outcome": "rate limited", "clixnow.reason": "", "clixnow.signup.try": int64(1)},
		{"clixnow.outcome": "registered", "clixnow.reason": "", "clixnow.signup.try": int64(2)},
	} {
		got := attributesOf(both[i])
		assert.NotEmpty(t, got["clixnow.signup.id"])
		delete(got, "clixnow.signup.id")
		assert.Equal(t, want, got)
		assert.Equal(t, request.SpanContext.SpanID(), both[i].Parent.SpanID())
		assert.Equal(t, request.SpanContext.TraceID(), both[i].SpanContext.TraceID())
		assert.Equal(t, both[i].SpanContext.SpanID(), posts[i].Parent.SpanID())
		assert.Equal(t, request.SpanContext.TraceID(), posts[i].SpanContext.TraceID())
	}
	assert.Equal(t, codes.Error, both[0].Status.Code)
	assert.Equal(t, codes.Unset, both[1].Status.Code)
	assert.NotEmpty(t, named(requests, "GET /signups/{token}"))

	exported, err := json.Marshal(append(requests.GetSpans(), tries.GetSpans()...))
	require.NoError(t, err)
	assertNoSecrets(t, string(exported))
	assert.NotContains(t, string(exported), token)
	for _, sent := range worker.api.Requests() {
		assert.Empty(t, sent.Header.Get("Traceparent"), "brands get no trace ids")
	}
}
