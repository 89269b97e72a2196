package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// telemetry records spans, metrics and log lines.
type telemetry struct {
	traces *sdktrace.TracerProvider
	meters *sdkmetric.MeterProvider
	logger *slog.Logger
}

// newTelemetry works with any exporters. For example, otlptracehttp and
// otlpmetrichttp send to a collector.
func newTelemetry(spans sdktrace.SpanExporter, metrics sdkmetric.Exporter, logs io.Writer) *telemetry {
	service := resource.NewSchemaless(attribute.String("service.name", "observe"))
	text := slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug})
	return &telemetry{
		traces: sdktrace.NewTracerProvider(sdktrace.WithBatcher(spans), sdktrace.WithResource(service)),
		meters: sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewPeriodicReader(metrics)),
			sdkmetric.WithResource(service)),
		logger: slog.New(traceHandler{text}),
	}
}

// shutdown sends the telemetry that was not sent yet.
func (t *telemetry) shutdown(ctx context.Context) error {
	if err := errors.Join(t.traces.Shutdown(ctx), t.meters.Shutdown(ctx)); err != nil {
		return fmt.Errorf("send the last telemetry: %w", err)
	}
	return nil
}

// traceHandler adds the ids of the trace and the span in ctx to log lines.
type traceHandler struct{ slog.Handler }

func (h traceHandler) Handle(ctx context.Context, record slog.Record) error {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		record.AddAttrs(slog.String("trace_id", span.TraceID().String()),
			slog.String("span_id", span.SpanID().String()))
	}
	return h.Handler.Handle(ctx, record)
}

func (h traceHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return traceHandler{h.Handler.WithAttrs(attrs)}
}

func (h traceHandler) WithGroup(name string) slog.Handler {
	return traceHandler{h.Handler.WithGroup(name)}
}
