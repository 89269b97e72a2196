package main

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/clixnow/clixnow-go"
)

// metrics counts the tries of this process. For each scrape it also reads the
// table of sign-ups.
type metrics struct {
	registry *prometheus.Registry
	tries    *prometheus.CounterVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		tries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "outbox_tries_total", Help: "Tries to register a lead, by outcome and reason of the refusal.",
		}, []string{"outcome", "reason"}),
	}
	// Each outcome is shown from the start, as 0.
	for outcome := range clixnow.OutcomeRateLimited + 1 {
		if outcome != clixnow.OutcomeRefused {
			m.tries.WithLabelValues(outcome.String(), "")
		}
	}
	for reason := range clixnow.ReasonOther {
		m.tries.WithLabelValues(clixnow.OutcomeRefused.String(), (reason + 1).String())
	}
	m.registry.MustRegister(m.tries)
	return m
}

func (m *metrics) countTry(err error) {
	m.tries.WithLabelValues(clixnow.OutcomeOf(err).String(), clixnow.ReasonOf(err).String()).Inc()
}

func (m *metrics) addSignups(s *signups) { m.registry.MustRegister(tableMetrics{s}) }

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

var (
	signupsDesc = prometheus.NewDesc("outbox_signups", "Sign-ups by status.", []string{"status"}, nil)
	oldestDesc  = prometheus.NewDesc("outbox_oldest_seconds", "Age of the oldest sign-up that is not settled.",
		[]string{"status"}, nil)
)

// tableMetrics is a [prometheus.Collector] for the table of sign-ups.
type tableMetrics struct{ signups *signups }

// Describe sends the descriptions of the metrics.
func (t tableMetrics) Describe(descs chan<- *prometheus.Desc) {
	descs <- signupsDesc
	descs <- oldestDesc
}

// Collect reads the table.
func (t tableMetrics) Collect(values chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	counts, err := t.signups.counts(ctx)
	if err != nil {
		values <- prometheus.NewInvalidMetric(signupsDesc, err)
		return
	}
	for st, c := range counts {
		values <- prometheus.MustNewConstMetric(signupsDesc, prometheus.GaugeValue, float64(c.Number), string(st))
	}
	for _, st := range []status{pending, doubtful} {
		values <- prometheus.MustNewConstMetric(oldestDesc, prometheus.GaugeValue, counts[st].age().Seconds(),
			string(st))
	}
}
