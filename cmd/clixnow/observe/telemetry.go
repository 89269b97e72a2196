package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// telemetry is where spans, metrics and logs go.
type telemetry struct {
	traces *sdktrace.TracerProvider
	meters *sdkmetric.MeterProvider
	logger *slog.Logger
}

// newTelemetry takes any exporters: with otlptracehttp and otlpmetrichttp all
// of it goes to a collector.
func newTelemetry(spans sdktrace.SpanExporter, metrics sdkmetric.Exporter, logs io.Writer) *telemetry {
	service := resource.NewSchemaless(attribute.String("service.name", "observe"))
	text := slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug})
	return &telemetry{
		traces: sdktrace.NewTracerProvider(sdktrace.WithBatcher(spans), sdktrace.WithResource(service)),
		meters: sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewPeriodicReader(metrics)),
			sdkmetric.WithResource(service)),
		logger: slog.New(traced{text}),
	}
}

// shutdown sends what is still here.
func (t *telemetry) shutdown(ctx context.Context) error {
	if err := errors.Join(t.traces.Shutdown(ctx), t.meters.Shutdown(ctx)); err != nil {
		return fmt.Errorf("send the last telemetry: %w", err)
	}
	return nil
}

// traced adds the trace to what is logged under one.
type traced struct{ slog.Handler }

func (h traced) Handle(ctx context.Context, record slog.Record) error {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		record.AddAttrs(slog.String("trace_id", span.TraceID().String()),
			slog.String("span_id", span.SpanID().String()))
	}
	return h.Handler.Handle(ctx, record)
}

func (h traced) WithAttrs(attrs []slog.Attr) slog.Handler { return traced{h.Handler.WithAttrs(attrs)} }

func (h traced) WithGroup(name string) slog.Handler { return traced{h.Handler.WithGroup(name)} }

// discreet hides the text of errors that quote what the server sent: a server
// may send back what it was sent, and otelhttp exports the text. The error
// itself is passed on.
type discreet struct{ *http.Transport }

func (d discreet) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := d.Transport.RoundTrip(r)
	if err == nil {
		resp.Body = discreetBody{resp.Body}
	}
	return resp, hush(err)
}

type discreetBody struct{ io.ReadCloser }

func (b discreetBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	return n, hush(err)
}

func hush(err error) error {
	if err != nil && strings.Contains(err.Error(), `"`) {
		return quiet{err}
	}
	return err
}

type quiet struct{ error }

func (quiet) Error() string   { return "the answer is no HTTP" }
func (q quiet) Unwrap() error { return q.error }
