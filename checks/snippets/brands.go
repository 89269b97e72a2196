package snippets

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"golang.org/x/time/rate"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/router"
)

func newRefusals(token string) (*clixnow.Client, error) {
	client, err := clixnow.NewClient("acme", token, clixnow.WithRefusals(func(e *clixnow.APIError) error {
		switch {
		case strings.Contains(e.Message, "No hubs available"), strings.Contains(e.Message, "cap reached"):
			return clixnow.ErrNoCapacity
		case strings.Contains(e.Message, "known to us"):
			return clixnow.ErrDuplicateLead
		}
		return nil // The words that this package knows count.
	}))
	return client, err
}

// attempts saves attempts by job.
type attempts map[string]router.Attempt

func (a attempts) SaveAttempt(_ context.Context, id string, attempt router.Attempt) error {
	a[id] = attempt
	return nil
}

func (a attempts) Settle(_ context.Context, id, _ string, _ int64) error {
	delete(a, id)
	return nil
}

// routed is a lead that waits for a brand.
type routed struct {
	ID      string
	Lead    clixnow.CreateLeadRequest
	Attempt router.Attempt
}

func route(ctx context.Context, acme, beta *clixnow.Client, store attempts, job routed) error {
	routes := &router.Router{
		Routes: []router.Route{
			{Client: acme, Accepts: func(req clixnow.CreateLeadRequest) bool { return req.CountryCode == "CH" }},
			{Client: beta},
		},
		Begin: func(ctx context.Context, attempt router.Attempt) error {
			return store.SaveAttempt(ctx, job.ID, attempt)
		},
	}
	result, err := routes.Register(ctx, job.Lead, job.Attempt)
	ctx = context.WithoutCancel(ctx) // the result is stored even if the time is up
	if err != nil {
		// The lead is not placed. OutcomeOf and ReasonOf work on err.
		return errors.Join(err, store.SaveAttempt(ctx, job.ID, router.InDoubt(err)))
	}
	// One write marks the job as done. Never clear the attempt alone.
	return store.Settle(ctx, job.ID, result.Brand, result.Lead.LeadID)
}

func newClient(brand, tokenFile string, refusals func(*clixnow.APIError) error) (*clixnow.Client, error) {
	return clixnow.NewClient(brand, "",
		clixnow.WithTokenSource(func(context.Context) (string, error) {
			//nolint:gosec // the caller names the file
			token, err := os.ReadFile(tokenFile)
			return strings.TrimSpace(string(token)), err
		}),
		clixnow.WithRateLimiter(rate.NewLimiter(rate.Every(100*time.Millisecond), 5)),
		clixnow.WithRefusals(refusals),
	)
}

// Metrics counts creates by Prometheus.
type Metrics struct{ creates *prometheus.CounterVec }

// NewMetrics registers the counters.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	creates := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "clixnow_creates_total", Help: "Creates by brand, outcome and reason of the refusal.",
	}, []string{"brand", "outcome", "reason"})
	registry.MustRegister(creates)
	return &Metrics{creates}
}

// Observe counts one create.
func (m *Metrics) Observe(brand string, err error) {
	m.creates.WithLabelValues(brand, clixnow.OutcomeOf(err).String(), clixnow.ReasonOf(err).String()).Inc()
}

// ObserveRoute counts the tries of one call of Register.
func (m *Metrics) ObserveRoute(result *router.Result, err error) {
	var failed *router.Error
	if errors.As(err, &failed) {
		result = &router.Result{Tried: failed.Tried}
	}
	for _, try := range result.Tried {
		m.Observe(try.Brand, try.Err)
	}
	switch {
	case err == nil:
		m.Observe(result.Brand, nil)
	case len(result.Tried) == 0:
		m.Observe("", err) // no route accepted the lead, or the call was wrong
	}
}

// Observe counts one create by OpenTelemetry.
func Observe(ctx context.Context, creates metric.Int64Counter, brand string, err error) {
	creates.Add(ctx, 1, metric.WithAttributes(
		attribute.String("brand", brand),
		attribute.String("outcome", clixnow.OutcomeOf(err).String()),
		attribute.String("reason", clixnow.ReasonOf(err).String()),
	))
}

func newTraced(token string) (*clixnow.Client, error) {
	return clixnow.NewClient("acme", token,
		clixnow.WithTransport(func(next http.RoundTripper) http.RoundTripper {
			return otelhttp.NewTransport(next)
		}),
	)
}
