package sync

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/loopback"
	"github.com/clixnow/clixnow-go/store/mirror"
	"github.com/clixnow/clixnow-go/store/postback"
)

// monitor serves the state of the brands.
type monitor struct {
	registry                    *prometheus.Registry
	up, leads, events, caughtUp *prometheus.GaugeVec

	mu     sync.Mutex
	brands map[string]mirror.Status
	// sender is nil without postbacks.
	sender *postback.Sender
}

func newMonitor() *monitor {
	m := &monitor{registry: prometheus.NewRegistry(), brands: make(map[string]mirror.Status)}
	gauge := func(name, help string) *prometheus.GaugeVec {
		vec := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "clixnow_sync_" + name, Help: help}, []string{"brand"})
		m.registry.MustRegister(vec)
		return vec
	}
	m.up = gauge("up", "1 if the brand can be followed.")
	m.leads = gauge("leads_read", "Leads that were read since the start.")
	m.events = gauge("events_recorded", "Events that were recorded since the start.")
	m.caughtUp = gauge("caught_up_timestamp_seconds", "When all changes had been read last. 0: not since the start.")
	return m
}

func (m *monitor) set(s mirror.Status) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.brands[s.Brand] = s
	up, caughtUp := 1.0, 0.0
	if s.Err != nil {
		up = 0
	}
	if !s.CaughtUpAt.IsZero() {
		caughtUp = float64(s.CaughtUpAt.UnixMilli()) / 1000
	}
	m.up.WithLabelValues(s.Brand).Set(up)
	m.leads.WithLabelValues(s.Brand).Set(float64(s.Leads))
	m.events.WithLabelValues(s.Brand).Set(float64(s.Events))
	m.caughtUp.WithLabelValues(s.Brand).Set(caughtUp)
}

func (m *monitor) setSender(sender *postback.Sender) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sender = sender
}

// listen serves /healthz and /metrics.
func (m *monitor) listen(ctx context.Context, address string, log *slog.Logger) (closeServer func(), err error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil || !loopback.IsName(host) {
		return nil, app.Usage("--listen must be a loopback address such as 127.0.0.1:9100")
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, app.Usage("--listen: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", m.health)
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			if !loopback.Allows(r.Host) {
				http.Error(w, "this serves this machine only", http.StatusForbidden)
				return
			}
			mux.ServeHTTP(w, r)
		})}
	go func() { _ = server.Serve(listener) }()
	log.Info("serving /healthz and /metrics", "address", listener.Addr().String())
	return func() { _ = server.Close() }, nil
}

// health answers 200 if each brand can be followed, and else 503. It also shows
// the state of each postback.
func (m *monitor) health(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	sender := m.sender
	m.mu.Unlock()
	postbacks := ""
	if sender != nil {
		postbacks = postbackStates(r.Context(), sender)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var text strings.Builder
	code := http.StatusOK
	for _, brand := range slices.Sorted(maps.Keys(m.brands)) {
		state := "ok"
		switch s := m.brands[brand]; {
		case s.Err != nil:
			// The text begins with the brand too.
			state = strings.TrimPrefix(app.Printable(app.Text(s.Err)), brand+": ")
			code = http.StatusServiceUnavailable
		case s.CaughtUpAt.IsZero():
			state = fmt.Sprintf("catching up, %d leads read", s.Leads)
		}
		text.WriteString(brand + ": " + state + "\n")
	}
	w.WriteHeader(code)
	_, _ = fmt.Fprint(w, text.String()+postbacks)
}
