package sync

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
	"github.com/clixnow/clixnow-go/store/postback"
)

// postbacksFromFlag adds the flag --postbacks-from.
func postbacksFromFlag(cmd *cobra.Command, from *time.Time) {
	const usage = "the first `DAY` or time of a new postback (now)"
	cmd.Flags().Func("postbacks-from", usage, func(text string) (err error) {
		if *from, err = time.Parse(time.DateOnly, text); err == nil {
			return nil
		}
		if *from, err = time.Parse(time.RFC3339, text); err != nil {
			return errors.New("write 2026-10-01 or 2026-10-01T12:00:00Z")
		}
		return nil
	})
}

// postbacks returns the task that sends the postbacks of the configuration.
func (s *syncer) postbacks(ctx context.Context, destinations []postback.Destination) (task, error) {
	sender, err := postback.New(ctx, s.mirror, postback.Options{
		Destinations: destinations, From: s.settings.postbacksFrom, Logger: s.log,
	})
	if err != nil {
		return nil, err
	}
	s.sender = sender
	s.monitor.registry.MustRegister(&postbackMetrics{context.WithoutCancel(ctx), sender})
	s.monitor.setSender(sender)
	for _, name := range []string{"HTTPS_PROXY", "https_proxy"} {
		if s.app.Getenv(name) != "" {
			s.log.Warn("postbacks do not use the proxy of the environment", "variable", name)
		}
	}
	return func(ctx context.Context, saved <-chan struct{}) error {
		if s.settings.once {
			for range saved {
			}
			return sender.Once(ctx)
		}
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		go func() {
			for range saved {
			}
			stop()
		}()
		return sender.Run(ctx)
	}, nil
}

// waiting returns an error if postbacks wait. After Once, all that wait have
// failed.
func waiting(ctx context.Context, sender *postback.Sender) error {
	all, err := sender.Health(ctx)
	for _, h := range all {
		if h.Waiting > 0 {
			err = errors.Join(err, app.WithCode(app.CodeLater,
				fmt.Errorf("postback %s: events wait after a failure (%d); run the command again", h.Name, h.Waiting)))
		}
	}
	return err
}

// works reports whether a tracker works.
func works(h postback.Health) bool { return h.FailingSince.IsZero() && !h.Refusing }

// postbackStates returns a line for each postback.
func postbackStates(ctx context.Context, sender *postback.Sender) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	all, err := sender.Health(ctx)
	if err != nil {
		return "postbacks: the database does not answer\n"
	}
	var text strings.Builder
	for _, h := range all {
		state := "ok"
		if !works(h) {
			state = "the tracker does not accept events"
		}
		fmt.Fprintf(&text, "postback %s: %s, %d wait, %d failed\n", h.Name, state, h.Waiting, h.Failed)
	}
	return text.String()
}

// postbackMetrics reads the state of postbacks when it is asked for.
type postbackMetrics struct {
	// ctx does not end, because metrics are also exported after the context of
	// the command has ended. Prometheus passes no context.
	ctx    context.Context
	sender *postback.Sender
}

// Describe implements prometheus.Collector. The metrics depend on the
// configuration.
func (m *postbackMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m *postbackMetrics) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(m.ctx, 5*time.Second)
	defer cancel()
	all, err := m.sender.Health(ctx)
	if err != nil {
		out <- prometheus.NewInvalidMetric(prometheus.NewInvalidDesc(err), err)
		return
	}
	for _, h := range all {
		metric := func(kind prometheus.ValueType, name, help string, value float64, labels ...string) {
			labels = append([]string{"postback", h.Name}, labels...)
			constant := make(prometheus.Labels)
			for i := 0; i < len(labels); i += 2 {
				constant[labels[i]] = labels[i+1]
			}
			desc := prometheus.NewDesc("clixnow_postback_"+name, help, nil, constant)
			out <- prometheus.MustNewConstMetric(desc, kind, value)
		}
		working, oldest := 1.0, 0.0
		if !works(h) {
			working = 0
		}
		if !h.Oldest.IsZero() {
			oldest = float64(h.Oldest.Unix())
		}
		const skipped = "Events that are not sent."
		metric(prometheus.GaugeValue, "up", "1 if the tracker works.", working)
		metric(prometheus.GaugeValue, "waiting", "Events that are to be sent.", float64(h.Waiting))
		metric(prometheus.GaugeValue, "failed", "Events that failed for a day and wait for a person.",
			float64(h.Failed))
		metric(prometheus.GaugeValue, "oldest_timestamp_seconds", "Since when an event waits. 0: none waits.", oldest)
		metric(prometheus.CounterValue, "sent_total", "Events that the tracker has accepted.", float64(h.Sent))
		metric(prometheus.CounterValue, "skipped_total", skipped, float64(h.SkippedNoClickID), "reason", "no click id")
		metric(prometheus.CounterValue, "skipped_total", skipped, float64(h.SkippedBeforeStart), "reason",
			"before the start")
	}
}
