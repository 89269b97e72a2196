// Command observe shows how to use the SDK with OpenTelemetry. It records a
// span for each operation, with a child span for each HTTP attempt. It also
// records the number of creates by brand, outcome and reason, the duration of
// requests, and log lines with the trace id. None of these contains secrets or
// data of leads.
//
// By default it registers and reads leads at a fake Clixnow on loopback, with a
// few faults. With -brand and CLIXNOW_TOKEN it reads the leads of the last day
// from the API.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	shared "github.com/clixnow/clixnow-go/cmd/clixnow/internal/telemetry"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	flags := flag.NewFlagSet("observe", flag.ExitOnError)
	brand := flags.String("brand", "",
		"read the leads of this `brand`, with the token in CLIXNOW_TOKEN; if empty, use a fake Clixnow on loopback")
	_ = flags.Parse(os.Args[1:]) // it ends the program if it fails
	err := run(ctx, *brand, os.Getenv("CLIXNOW_TOKEN"), os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "observe:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, brand, token string, out io.Writer) (err error) {
	metrics, err := printMetrics(out)
	if err != nil {
		return err
	}
	t := newTelemetry(spanPrinter{out}, metrics, out)
	defer func() { // the telemetry is sent even if ctx has ended
		flushCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = errors.Join(err, t.shutdown(flushCtx))
	}()
	if brand == "" {
		return runDemo(ctx, t)
	}
	o, err := newObserved(t, brand, token)
	if err != nil {
		return err
	}
	return o.read(ctx, time.Now().Add(-24*time.Hour))
}

// observed wraps a client and records its operations.
type observed struct {
	client   *clixnow.Client
	tracer   trace.Tracer
	outcomes metric.Int64Counter
	logger   *slog.Logger
}

func newObserved(t *telemetry, brand, token string, opts ...clixnow.Option) (*observed, error) {
	const scope = "github.com/clixnow/clixnow-go/cmd/clixnow/observe"
	outcomes, err := t.meters.Meter(scope).Int64Counter("clixnow.creates",
		metric.WithDescription("The number of creates by brand, outcome and reason of the refusal."))
	if err != nil {
		return nil, fmt.Errorf("create the counter of creates: %w", err)
	}
	observeAttempts := func(next http.RoundTripper) http.RoundTripper {
		return shared.Transport(next, t.traces, t.meters)
	}
	opts = append(opts, clixnow.WithTransport(observeAttempts), clixnow.WithLogger(t.logger))
	client, err := clixnow.NewClient(brand, token, opts...)
	if err != nil {
		return nil, err
	}
	return &observed{client, t.traces.Tracer(scope), outcomes, t.logger}, nil
}

// register registers one lead.
func (o *observed) register(ctx context.Context, lead clixnow.CreateLeadRequest) error {
	ctx, span := o.tracer.Start(ctx, "register lead")
	defer span.End()
	registered, err := o.client.EnsureLead(ctx, lead)
	result := []attribute.KeyValue{
		attribute.String("brand", o.client.Brand()),
		attribute.Stringer("outcome", clixnow.OutcomeOf(err)),
		attribute.Stringer("reason", clixnow.ReasonOf(err)),
		attribute.Bool("recovered", err == nil && registered.Recovered),
	}
	span.SetAttributes(result...)
	o.outcomes.Add(ctx, 1, metric.WithAttributes(result...))
	logger := o.logger.With("brand", o.client.Brand(), "outcome", clixnow.OutcomeOf(err))
	if err != nil {
		span.SetStatus(codes.Error, "not registered")
		logger.WarnContext(ctx, "lead not registered", "reason", clixnow.ReasonOf(err), errorAttr(err))
		return err
	}
	logger.InfoContext(ctx, "lead registered", "recovered", registered.Recovered, "lead_id", registered.LeadID)
	return nil
}

// errorAttr returns what the log shows of an error. It leaves out the message
// of the API, which may repeat what was sent.
func errorAttr(err error) slog.Attr {
	if invalid, ok := errors.AsType[*clixnow.ValidationError](err); ok {
		return slog.Any("error", invalid) // this text has the fields and the faults, but no values
	}
	if apiErr, ok := errors.AsType[*clixnow.APIError](err); ok {
		return slog.Int("status", apiErr.StatusCode)
	}
	return slog.Attr{}
}

// read reads the leads that were created at or after since.
func (o *observed) read(ctx context.Context, since time.Time) error {
	ctx, span := o.tracer.Start(ctx, "read leads")
	defer span.End()
	leads, deposits := 0, 0
	for lead, err := range o.client.SearchLeads(ctx, clixnow.SearchLeadsRequest{CreatedOnFrom: since}) {
		if err != nil {
			span.SetStatus(codes.Error, "search failed")
			o.logger.ErrorContext(ctx, "search failed", errorAttr(err))
			return err
		}
		leads++
		if lead.HasFTD() {
			deposits++
		}
	}
	span.SetAttributes(attribute.String("brand", o.client.Brand()), attribute.Int("leads", leads))
	o.logger.InfoContext(ctx, "leads read", "leads", leads, "deposits", deposits)
	return nil
}

// runDemo registers and reads leads at a fake API with faults.
func runDemo(ctx context.Context, t *telemetry) error {
	server := clixnowtest.NewServer()
	defer server.Close()
	o, err := newObserved(t, server.Brand, server.Token, clixnow.WithBaseURL(server.URL),
		clixnow.WithRetry(clixnow.RetryPolicy{MinBackoff: 20 * time.Millisecond}),
		clixnow.WithLooks(20*time.Millisecond, 50*time.Millisecond, 100*time.Millisecond))
	if err != nil {
		return err
	}
	server.Inject(
		// This fault does nothing to the first create.
		clixnowtest.Fault{Method: "POST"},
		// The second lead is created, but the response is lost.
		clixnowtest.Fault{Method: "POST", Drop: clixnowtest.DropAfterHandling},
		// The search for it fails once and is retried.
		clixnowtest.Fault{Method: "GET", Status: http.StatusServiceUnavailable},
	)
	invalid := lead(3)
	invalid.CountryCode = "Switzerland"
	for _, request := range []clixnow.CreateLeadRequest{lead(1), lead(2), lead(1), invalid} {
		if err := o.register(ctx, request); err != nil && !errors.Is(err, clixnow.ErrRefused) {
			return err
		}
	}
	return o.read(ctx, time.Now().Add(-24*time.Hour))
}

func lead(n int) clixnow.CreateLeadRequest {
	return clixnow.CreateLeadRequest{
		FirstName: "Allison", LastName: "Brown", Email: fmt.Sprintf("lead%d@example.com", n),
		Phone:    fmt.Sprintf("+4179555010%d", n),
		Password: "Password123!", CountryCode: "CH", ClickID: fmt.Sprintf("click-%d", n),
	}
}
