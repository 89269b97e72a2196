// Package monitor shows how the gateway works: its health, metrics and traces.
package monitor

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/felixge/httpsnoop"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/trace"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/store/outbox"
)

// Monitor watches an outbox and the requests of visitors. It is safe for
// concurrent use.
type Monitor struct {
	registry *prometheus.Registry
	tracer   trace.Tracer
	outbox   *outbox.Outbox

	attempts, settled, requests      *prometheus.CounterVec
	attemptDuration, requestDuration *prometheus.HistogramVec

	mu   sync.Mutex
	last state
}

// New returns a Monitor that registers its metrics in registry and records its
// spans by traces. Call Hook before the outbox is opened, and Watch after it.
func New(registry *prometheus.Registry, traces trace.TracerProvider) *Monitor {
	m := &Monitor{registry: registry, tracer: traces.Tracer("github.com/clixnow/clixnow-go/cmd/clixnow")}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, labels)
		registry.MustRegister(vec)
		return vec
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		vec := prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: prefix + name, Help: help,
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120},
		}, labels)
		registry.MustRegister(vec)
		return vec
	}
	m.attempts = counter("attempts_total", "Attempts to register a lead, by brand, outcome and reason of a refusal.",
		"brand", "outcome", "reason")
	m.attemptDuration = histogram("attempt_duration_seconds", "Durations of attempts at a brand.", "brand", "outcome")
	m.settled = counter("settled_total", "Sign-ups that became registered, refused or doubtful.", "status", "reason")
	m.requests = counter("requests_total", "Requests of visitors, by route and status code.", "route", "code")
	m.requestDuration = histogram("request_duration_seconds",
		"Durations of visitors' requests. A sign-up waits a while for its brand.", "route")
	registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

const prefix = "clixnow_gateway_"

// Hook sets the hooks of an outbox that has its routes. Counters that can grow
// are shown from the start, as 0.
func (m *Monitor) Hook(opts *outbox.Options) {
	opts.Attempted, opts.Ended = m.attempted, m.ended
	opts.Carry, opts.Restore, opts.Tried = carry, m.restore, tried
	m.settled.WithLabelValues(string(outbox.Registered), "")
	for reason := range clixnow.ReasonOther {
		refused, name := clixnow.OutcomeRefused.String(), (reason + 1).String()
		m.settled.WithLabelValues(string(outbox.Refused), name)
		m.settled.WithLabelValues(string(outbox.Doubtful), name)
		for _, route := range opts.Routes {
			m.attempts.WithLabelValues(route.Client.Brand(), refused, name)
		}
	}
	m.settled.WithLabelValues(string(outbox.Doubtful), "")
	for outcome := range clixnow.OutcomeRateLimited + 1 {
		for _, route := range opts.Routes {
			if outcome != clixnow.OutcomeRefused {
				m.attempts.WithLabelValues(route.Client.Brand(), outcome.String(), "")
			}
		}
	}
}

// Watch starts to show the state of an outbox.
func (m *Monitor) Watch(o *outbox.Outbox) {
	m.outbox = o
	m.registry.MustRegister(collector{m})
}

// Metrics serves the metrics to Prometheus.
func (m *Monitor) Metrics() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

func (m *Monitor) attempted(brand string, err error, took time.Duration) {
	outcome := clixnow.OutcomeOf(err).String()
	m.attempts.WithLabelValues(brand, outcome, clixnow.ReasonOf(err).String()).Inc()
	m.attemptDuration.WithLabelValues(brand, outcome).Observe(took.Seconds())
}

func (m *Monitor) ended(s outbox.Signup) {
	m.settled.WithLabelValues(string(s.Status), s.Reason.String()).Inc()
}

// Requests wraps the handler of the visitors' endpoint. It counts the requests,
// and records a span of each. The handler must set the pattern of the request
// as [http.ServeMux] does.
func (m *Monitor) Requests(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r, end := m.startRequest(r)
		began, seen := time.Now(), httpsnoop.Metrics{Code: http.StatusInternalServerError} // if the handler panics
		defer func() {
			route := r.Pattern
			if route == "" {
				route = "other"
			}
			m.requests.WithLabelValues(route, strconv.Itoa(seen.Code)).Inc()
			m.requestDuration.WithLabelValues(route).Observe(time.Since(began).Seconds())
			end(route, seen.Code)
		}()
		seen = httpsnoop.CaptureMetrics(next, w, r)
	})
}
