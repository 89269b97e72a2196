package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/postgrestest"
)

// OUTBOX_MEASURE=5 go test -run Measure -v . makes the table of the README:
// medians of five rounds, in three minutes.
func TestMeasure(t *testing.T) { //nolint:paralleltest // it measures
	rounds, err := strconv.Atoi(os.Getenv("OUTBOX_MEASURE"))
	if err != nil {
		t.Skip("OUTBOX_MEASURE is not a number of rounds")
	}
	contenders := []contender{
		{"`CreateLead` in the handler", createLead},
		{"outbox, SQLite", func(t *testing.T, api *world) string {
			t.Helper()
			return start(t, api, t.TempDir()+"/outbox.db", func(c *config) { c.workers = visitors }).public
		}},
		{"outbox, PostgreSQL", func(t *testing.T, api *world) string {
			t.Helper()
			return start(t, api, postgrestest.New(t).URL, func(c *config) { c.workers = visitors }).public
		}},
	}
	latencies := []time.Duration{0, 50 * time.Millisecond}
	measured := make(map[string][]float64)
	for round := range rounds { //nolint:paralleltest // one after the other
		for _, latency := range latencies {
			for _, c := range contenders {
				cell := c.name + latency.String()
				t.Run(fmt.Sprintf("%d, %s, %s", round+1, latency, c.name), func(t *testing.T) {
					address := c.serving(t, slowWorld(t, latency))
					measured[cell] = append(measured[cell], throughput(t, address))
					measured[cell+"alone"] = append(measured[cell+"alone"], alone(t, address))
				})
			}
		}
	}
	t.Log("\n" + table(contenders, latencies, measured))
}

type contender struct {
	name    string
	serving func(t *testing.T, api *world) (address string)
}

func table(contenders []contender, latencies []time.Duration, measured map[string][]float64) string {
	var text strings.Builder
	text.WriteString("| | API answers at once: sign-ups/s | to the redirect | after 50 ms: sign-ups/s | to the redirect |\n|---|--:|--:|--:|--:|\n")
	for _, c := range contenders {
		fmt.Fprintf(&text, "| %s |", c.name)
		for _, latency := range latencies {
			cell := c.name + latency.String()
			fmt.Fprintf(&text, " %.0f | %.1f ms |", median(measured[cell]), median(measured[cell+"alone"]))
		}
		text.WriteByte('\n')
	}
	return text.String()
}

const visitors = 64 // at once

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

func slowWorld(t *testing.T, latency time.Duration) *world {
	t.Helper()
	w := newWorld(t)
	w.door = func(rw http.ResponseWriter, r *http.Request) {
		time.Sleep(latency)
		w.ServeHTTP(rw, r)
	}
	return w
}

// createLead serves sign-ups without an outbox.
func createLead(t *testing.T, api *world) string {
	t.Helper()
	client, err := clixnow.NewClient(api.Brand, api.Token, clixnow.WithBaseURL(api.url))
	require.NoError(t, err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request, err := readLead(w, r)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		lead, err := client.CreateLead(r.Context(), request)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		writeJSON(w, http.StatusOK, map[string]string{"redirectUrl": lead.RedirectURL})
	}))
	t.Cleanup(func() {
		server.Close()
		client.CloseIdleConnections()
	})
	return server.URL
}

// throughput returns the sign-ups a second of many visitors, each of whom waits
// for the redirect URL.
func throughput(t *testing.T, address string) float64 {
	t.Helper()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = visitors
	defer transport.CloseIdleConnections()
	run := func(length time.Duration, name string) float64 {
		var number atomic.Int64
		var all sync.WaitGroup
		begun := time.Now()
		for range visitors {
			all.Go(func() {
				for time.Since(begun) < length {
					visit(t, transport, address, fmt.Sprint(name, number.Add(1)))
				}
			})
		}
		all.Wait()
		return float64(number.Load()) / time.Since(begun).Seconds()
	}
	run(500*time.Millisecond, "warm")
	return run(3*time.Second, "many")
}

// alone returns the median of the times from sign-up to redirect URL, in
// milliseconds, of visitors who come one at a time.
func alone(t *testing.T, address string) float64 {
	t.Helper()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	var took []float64
	for n := range 40 {
		begun := time.Now()
		visit(t, transport, address, fmt.Sprint("alone", n))
		took = append(took, float64(time.Since(begun).Microseconds())/1000)
	}
	return median(took)
}

func visit(t *testing.T, transport *http.Transport, address, name string) {
	t.Helper()
	request,
		err := http.NewRequestWithContext(t.Context(), http.MethodPost, address+"/signups",
		strings.NewReader(leadJSON(name, name+"@example.com")))
	if err != nil {
		t.Error(err)
		return
	}
	request.Header.Set("Content-Type", asJSON)
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Error(err)
		return
	}
	defer response.Body.Close()
	var answer struct{ RedirectURL string }
	text, err := io.ReadAll(response.Body)
	if err != nil || json.Unmarshal(text, &answer) != nil || answer.RedirectURL == "" {
		t.Errorf("HTTP status %d: %s", response.StatusCode, text)
	}
}
