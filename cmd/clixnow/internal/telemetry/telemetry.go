// Package telemetry exports traces and metrics by OpenTelemetry, if the usual
// variables of the environment ask for it.
package telemetry

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	bridge "go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
)

// Telemetry exports spans and metrics by OTLP over HTTP. What fails is logged,
// and stops nothing.
type Telemetry struct {
	// traces and meters are nil if nothing is exported.
	traces *sdktrace.TracerProvider
	meters *sdkmetric.MeterProvider
	// spans and metrics log what fails.
	spans, metrics *state
}

// Start starts the exports that the environment asks for: spans, the metrics of
// registry, and the durations of requests. Call Close at the end.
func Start(
	ctx context.Context, getenv func(string) string, registry prometheus.Gatherer, log *slog.Logger,
) *Telemetry {
	exportsTraces, exportsMetrics := wanted(getenv, "TRACES", log), wanted(getenv, "METRICS", log)
	if !exportsTraces && !exportsMetrics {
		return new(Telemetry)
	}
	t := &Telemetry{spans: &state{log: log, name: "traces"}, metrics: &state{log: log, name: "metrics"}}
	// For example, metrics cannot be read, or the collector refuses some spans.
	other := &state{log: log, name: "a part of the telemetry"}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { _ = other.report(err) }))
	// Its arguments are left out. A mistake in a variable may quote a key.
	otel.SetLogger(funcr.New(func(_, text string) { _ = other.report(errors.New(text)) },
		funcr.Options{RenderArgsHook: func([]any) []any { return nil }}))
	// The arguments of the process are left out. They may have a password.
	about, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String("service.name", "clixnow"), attribute.String("service.version", app.Version())),
		resource.WithFromEnv())
	_ = other.report(err)
	traces := []sdktrace.TracerProviderOption{sdktrace.WithResource(about)}
	meters := []sdkmetric.Option{sdkmetric.WithResource(about)}
	if exportsTraces {
		exporter, err := otlptracehttp.New(ctx)
		if _ = t.spans.report(err); err == nil {
			traces = append(traces, sdktrace.WithBatcher(spanExporter{exporter, t.spans}))
		}
	}
	if exportsMetrics {
		exporter, err := otlpmetrichttp.New(ctx)
		if _ = t.metrics.report(err); err == nil {
			producer := sdkmetric.WithProducer(bridge.NewMetricProducer(bridge.WithGatherer(registry)))
			reader := sdkmetric.NewPeriodicReader(metricExporter{exporter, t.metrics}, producer)
			meters = append(meters, sdkmetric.WithReader(reader))
		}
	}
	t.traces, t.meters = sdktrace.NewTracerProvider(traces...), sdkmetric.NewMeterProvider(meters...)
	return t
}

// wanted reports whether the environment asks for the export of a signal.
func wanted(getenv func(string) string, signal string, log *slog.Logger) bool {
	exporter, otlp := getenv("OTEL_"+signal+"_EXPORTER"), "OTEL_EXPORTER_OTLP_"
	endpoint := cmp.Or(getenv(otlp+signal+"_ENDPOINT"), getenv(otlp+"ENDPOINT"))
	protocol := cmp.Or(getenv(otlp+signal+"_PROTOCOL"), getenv(otlp+"PROTOCOL"), "http/protobuf")
	switch {
	case exporter+endpoint == "", exporter == "none", strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true"):
		return false
	case cmp.Or(exporter, "otlp") != "otlp", protocol != "http/protobuf":
		log.Warn("OpenTelemetry is not used: only the exporter otlp and the protocol http/protobuf are supported",
			"signal", strings.ToLower(signal), "exporter", exporter, "protocol", protocol)
		return false
	}
	return true
}

// Transport wraps the transport of a client, if anything is exported.
func (t *Telemetry) Transport(next http.RoundTripper) http.RoundTripper {
	if t.traces == nil {
		return next
	}
	return Transport(next, t.traces, t.meters)
}

// Traces returns where spans are recorded. If nothing is exported, they are not
// recorded.
func (t *Telemetry) Traces() trace.TracerProvider {
	if t.traces == nil {
		return noop.NewTracerProvider()
	}
	return t.traces
}

// Close exports what was not exported yet. It takes at most 5 seconds.
func (t *Telemetry) Close(ctx context.Context) {
	if t.traces == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	var both sync.WaitGroup
	end := func(shutdown func(context.Context) error, s *state) {
		if err := shutdown(ctx); err != nil {
			_ = s.report(err)
		}
	}
	both.Go(func() { end(t.traces.Shutdown, t.spans) })
	both.Go(func() { end(t.meters.Shutdown, t.metrics) })
	both.Wait()
}

// state logs when exports begin to fail, and when they work again.
type state struct {
	log  *slog.Logger
	name string

	mu      sync.Mutex
	failing bool
}

// report returns no error, because OpenTelemetry would report each one.
func (s *state) report(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case errors.Is(err, context.Canceled):
		return nil // Close has stopped it to export all that is left
	case err != nil && !s.failing:
		s.log.Warn(s.name+" cannot be exported", "error", err)
	case err == nil && s.failing:
		s.log.Info(s.name + " can be exported again")
	}
	s.failing = err != nil
	return nil
}

type spanExporter struct {
	sdktrace.SpanExporter
	*state
}

func (e spanExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	return e.report(e.SpanExporter.ExportSpans(ctx, spans))
}

type metricExporter struct {
	sdkmetric.Exporter
	*state
}

func (e metricExporter) Export(ctx context.Context, metrics *metricdata.ResourceMetrics) error {
	return e.report(e.Exporter.Export(ctx, metrics))
}
