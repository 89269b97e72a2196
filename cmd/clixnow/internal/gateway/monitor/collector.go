package monitor

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clixnow/clixnow-go/store/outbox"
)

// collector shows the state of an outbox. If the database does not answer, the
// metrics that come from it are left out.
type collector struct{ *Monitor }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prefix+name, help, labels, nil)
}

// Describe sends no descriptions, so the registry does not check them.
func (c collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends the metrics.
func (c collector) Collect(metrics chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	s := c.state(context.Background())
	gauge(desc("database_up", "1 if sign-ups can be saved in the database."), one(s.err == nil))
	brand := desc("brand_up", "0 if the last attempts at the brand failed in this process, as /healthz counts it.",
		"brand")
	for _, b := range s.brands {
		gauge(brand, one(!s.fails(b)), b.Brand)
	}
	if s.err != nil {
		return
	}
	number := desc("signups", "Sign-ups in the database, by status.", "status")
	oldest := desc("oldest_seconds", "Age of the oldest sign-up that is not settled, by status.", "status")
	for status, count := range s.counts {
		gauge(number, float64(count.Number), string(status))
		if status == outbox.Pending || status == outbox.Doubtful {
			gauge(oldest, age(s.at, count.Oldest), string(status))
		}
	}
	gauge(desc("due_seconds", "How long the first sign-up has waited for a free worker."),
		age(s.at, s.counts[outbox.Pending].Due))
}

func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// age returns the seconds since a time. It returns 0 if there is no time.
func age(now, since time.Time) float64 {
	if since.IsZero() {
		return 0
	}
	return max(0, now.Sub(since).Seconds())
}
