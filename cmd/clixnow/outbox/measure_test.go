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
	"github.com/clixnow/clixnow-go/internal/postgrestest"
)

// TestMeasure measures the table of the README. This command takes three
// minutes and prints medians of five rounds:
//
//	OUTBOX_MEASURE=5 go test -run Measure -v ./outbox
func TestMeasure(t *testing.T) { //nolint:paralleltest // other tests would change the result
	rounds, err := strconv.Atoi(os.Getenv("OUTBOX_MEASURE"))
	if err != nil {
		t.Skip("OUTBOX_MEASURE is not a number of rounds")
	}
	contenders := []contender{
		{"`CreateLead` in the handler", createLead},
		{"outbox, SQLite", func(t *testing.T, api *fakeAPI) string {
			t.Helper()
			return start(t, api, t.TempDir()+"/outbox.db", func(c *config) { c.workers = visitors }).public
		}},
		{"outbox, PostgreSQL", func(t *testing.T, api *fakeAPI) string {
			t.Helper()
			return start(t, api, postgrestest.New(t).URL, func(c *config) { c.workers = visitors }).public
		}},
	}
	latencies := []time.Duration{0, 50 * time.Millisecond}
	measured := make(map[string][]float64)
	for round := range rounds { //nolint:paralleltest // each measurement must run alone
		for _, latency := range latencies {
			for _, c := range contenders {
				cell := c.name + latency.String()
				t.Run(fmt.Sprintf("%d, %s, %s", round+1, latency, c.name), func(t *testing.T) {
					address := c.start(t, newSlowAPI(t, latency))
					measured[cell] = append(measured[cell], throughput(t, address))
					measured[cell+"single"] = append(measured[cell+"single"], medianTime(t, address))
				})
			}
		}
	}
	t.Log("\n" + table(contenders, latencies, measured))
}

type contender struct {
	name string
	// start starts the server and returns its address.
	start func(t *testing.T, api *fakeAPI) (address string)
}

func table(contenders []contender, latencies []time.Duration, measured map[string][]float64) string {
	var text strings.Builder
	text.WriteString("| | API with 0 ms: sign-ups/s | time to the redirect | API with 50 ms: sign-ups/s |" +
		" time to the redirect |\n|---|--:|--:|--:|--:|\n")
	for _, c := range contenders {
		fmt.Fprintf(&text, "| %s |", c.name)
		for _, latency := range latencies {
			cell := c.name + latency.String()
			fmt.Fprintf(&text, " %.0f | %.1f ms |", median(measured[cell]), median(measured[cell+"single"]))
		}
		text.WriteByte('\n')
	}
	return text.String()
}

const visitors = 64 // that sign up at the same time

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

func newSlowAPI(t *testing.T, latency time.Duration) *fakeAPI {
	t.Helper()
	f := newFakeAPI(t)
	f.handler = func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(latency)
		f.ServeHTTP(w, r)
	}
	return f
}

// createLead starts a server that calls CreateLead in its handler.
func createLead(t *testing.T, api *fakeAPI) string {
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

// throughput returns the sign-ups per second of many visitors. Each visitor
// waits for the redirect URL before the next sign-up.
func throughput(t *testing.T, address string) float64 {
	t.Helper()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = visitors
	defer transport.CloseIdleConnections()
	run := func(length time.Duration, name string) float64 {
		var number atomic.Int64
		var all sync.WaitGroup
		start := time.Now()
		for range visitors {
			all.Go(func() {
				for time.Since(start) < length {
					visit(t, transport, address, fmt.Sprint(name, number.Add(1)))
				}
			})
		}
		all.Wait()
		return float64(number.Load()) / time.Since(start).Seconds()
	}
	run(500*time.Millisecond, "warm")
	return run(3*time.Second, "many")
}

// medianTime returns the median time from sign-up to redirect URL in
// milliseconds. The visitors come one after another.
func medianTime(t *testing.T, address string) float64 {
	t.Helper()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	var times []float64
	for n := range 40 {
		start := time.Now()
		visit(t, transport, address, fmt.Sprint("single", n))
		times = append(times, float64(time.Since(start).Microseconds())/1000)
	}
	return median(times)
}

func visit(t *testing.T, transport *http.Transport, address, name string) {
	t.Helper()
	body := strings.NewReader(leadJSON(name, name+"@example.com"))
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address+"/signups", body)
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
	var reply struct{ RedirectURL string }
	text, err := io.ReadAll(response.Body)
	if err != nil || json.Unmarshal(text, &reply) != nil || reply.RedirectURL == "" {
		t.Errorf("HTTP status %d: %s", response.StatusCode, text)
	}
}
