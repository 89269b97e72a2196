package monitor

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/store/outbox"
)

const header = "traceparent"

// startRequest begins the span of a visitor's request. Call end when the
// response is written. The span has neither the path nor the query nor the
// address of the visitor, because they are secret or personal.
//
// Anybody can send a trace id. So it becomes a link, and not the parent.
func (m *Monitor) startRequest(r *http.Request) (traced *http.Request, end func(route string, code int)) {
	options := []trace.SpanStartOption{trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindServer)}
	remote := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	if link := trace.LinkFromContext(remote); link.SpanContext.IsValid() {
		options = append(options, trace.WithLinks(link))
	}
	ctx, span := m.tracer.Start(r.Context(), "request", options...)
	return r.WithContext(ctx), func(route string, code int) {
		span.SetName(route)
		span.SetAttributes(attribute.String("http.route", route), attribute.Int("http.response.status_code", code))
		if code >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// carry returns what connects a later try with the trace of ctx.
func carry(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier[header]
}

// restore begins the span of a try to register a sign-up. It is a part of the
// trace of the visitor's request. The requests to the brands are its children.
// The span ends when tried is called.
func (m *Monitor) restore(ctx context.Context, carried string) context.Context {
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{header: carried})
	ctx, _ = m.tracer.Start(ctx, "register a sign-up", trace.WithSpanKind(trace.SpanKindConsumer))
	return ctx
}

func tried(ctx context.Context, s outbox.Signup, err error) {
	span := trace.SpanFromContext(ctx)
	span.SetAttributes(attribute.String("clixnow.signup.id", s.ID), attribute.Int64("clixnow.signup.try", s.Tries),
		attribute.String("clixnow.outcome", clixnow.OutcomeOf(err).String()),
		attribute.String("clixnow.reason", clixnow.ReasonOf(err).String()))
	if err != nil {
		span.SetStatus(codes.Error, "")
	}
	span.End()
}
