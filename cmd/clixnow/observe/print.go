package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/stdout/stdoutmetric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// spanPrinter prints each span as a line, in the order of their starts. The
// spans of attempts are indented.
type spanPrinter struct{ out io.Writer }

func (p spanPrinter) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	byStart := func(a, b sdktrace.ReadOnlySpan) int { return a.StartTime().Compare(b.StartTime()) }
	for _, span := range slices.SortedFunc(slices.Values(spans), byStart) {
		name := span.Name()
		if span.Parent().IsValid() {
			name = "  " + name
		}
		duration := span.EndTime().Sub(span.StartTime()).Round(time.Millisecond)
		fmt.Fprintf(p.out, "span   %.8s %-15s %6s  %s", span.SpanContext().TraceID(), name, duration,
			labels(span.Attributes()))
		if span.Status().Code == codes.Error {
			fmt.Fprint(p.out, "  ", strings.TrimSpace("error "+span.Status().Description))
		}
		fmt.Fprintln(p.out)
	}
	return nil
}

func (spanPrinter) Shutdown(context.Context) error { return nil }

// printMetrics returns an exporter that prints each metric as a line.
func printMetrics(out io.Writer) (sdkmetric.Exporter, error) {
	return stdoutmetric.New(stdoutmetric.WithEncoder(metricPrinter{out}))
}

type metricPrinter struct{ out io.Writer }

func (p metricPrinter) Encode(v any) error {
	all, ok := v.(*metricdata.ResourceMetrics)
	if !ok {
		return fmt.Errorf("cannot print a %T", v)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, point := range data.DataPoints {
					fmt.Fprintf(p.out, "metric %s: %d  %s\n", m.Name, point.Value, labels(point.Attributes.ToSlice()))
				}
			case metricdata.Histogram[float64]:
				for _, point := range data.DataPoints {
					average := 1000 * point.Sum / float64(point.Count)
					fmt.Fprintf(p.out, "metric %s: %d, %.1f ms on average  %s\n", m.Name, point.Count, average,
						labels(point.Attributes.ToSlice()))
				}
			}
		}
	}
	return nil
}

// labels returns the attributes that a line shows.
func labels(attributes []attribute.KeyValue) string {
	var texts []string
	for _, a := range attributes {
		name, value := string(a.Key), a.Value.String()
		switch name {
		case "brand", "outcome", "reason", "recovered", "leads", "http.response.status_code", "http.request.method":
			if value != "" {
				texts = append(texts, name[strings.LastIndex(name, ".")+1:]+"="+value)
			}
		}
	}
	return strings.Join(texts, " ")
}
