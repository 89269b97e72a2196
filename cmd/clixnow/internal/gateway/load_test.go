package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app/apptest"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/gateway"
	"github.com/clixnow/clixnow-go/internal/postgrestest"
)

const (
	// visitors sign up at the same time.
	visitors = 100
	// rate is the number of sign-ups per second at which times are measured.
	rate = 100
)

// slowAPI is a fake Clixnow with a latency, which can be down.
type slowAPI struct {
	*clixnowtest.Server
	url     string
	latency time.Duration
	down    atomic.Bool
}

func newSlowAPI(t *testing.T, latency time.Duration) *slowAPI {
	t.Helper()
	api := &slowAPI{Server: clixnowtest.NewHandler(), latency: latency}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(api.latency)
		if api.down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		api.ServeHTTP(w, r)
	}))
	api.url = server.URL
	t.Cleanup(func() {
		server.Close()
		api.Close()
	})
	return api
}

func (api *slowAPI) client(t *testing.T) *clixnow.Client {
	t.Helper()
	client, err := clixnow.NewClient(api.Brand, api.Token, clixnow.WithBaseURL(api.url))
	require.NoError(t, err)
	t.Cleanup(client.CloseIdleConnections)
	return client
}

// contender is a server for sign-ups. A sign-up waits at most wait for its
// brand.
type contender struct {
	name  string
	start func(t *testing.T, api *slowAPI, wait time.Duration) (address string)
}

func contenders() []contender {
	return []contender{
		{"`CreateLead` in the handler", startCreateLead},
		{"gateway, SQLite", func(t *testing.T, api *slowAPI, wait time.Duration) string {
			t.Helper()
			address, _ := startGateway(t, t.TempDir()+"/signups.db", api, wait)
			return address
		}},
		{"gateway, PostgreSQL", func(t *testing.T, api *slowAPI, wait time.Duration) string {
			t.Helper()
			address, _ := startGateway(t, postgrestest.New(t).URL, api, wait)
			return address
		}},
	}
}

// startCreateLead starts a server that calls CreateLead in its handler.
func startCreateLead(t *testing.T, api *slowAPI, _ time.Duration) string {
	t.Helper()
	client := api.client(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var req clixnow.CreateLeadRequest
		if json.NewDecoder(r.Body).Decode(&req) != nil || req.Validate() != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		lead, err := client.CreateLead(r.Context(), req)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"redirectUrl": lead.RedirectURL})
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// startGateway runs "clixnow serve" in this process.
func startGateway(t *testing.T, database string, api *slowAPI, wait time.Duration) (visitors, admin string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.toml")
	require.NoError(t, os.WriteFile(file, []byte("[gateway]\nrate = 0\n"), 0o600))
	variables := map[string]string{
		"CLIXNOW_CONFIG": file, "CLIXNOW_BRAND": api.Brand, "CLIXNOW_TOKEN": api.Token, "CLIXNOW_BASE_URL": api.url,
	}
	var log apptest.Output
	getenv := func(name string) string { return variables[name] }
	a := &app.App{In: strings.NewReader(""), Out: io.Discard, Err: &log, Getenv: getenv}
	cmd := app.Root(a, gateway.Serve(a))
	cmd.SetArgs([]string{
		"serve", "--db", database, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--wait", wait.String(),
	})
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(ctx) }()
	t.Cleanup(func() {
		cancel()
		assert.NoError(t, <-ended)
		a.Close()
	})
	url := func(name string) string {
		_, address, _ := strings.Cut(log.WaitFor(t, "serving the "+name+`" url=http://\S+/`), "url=")
		return strings.TrimSuffix(address, "/")
	}
	return url("sign-ups"), url("admin page")
}

// crowd is a number of visitors who share connections.
type crowd struct {
	*http.Transport
	address string
	number  atomic.Int64
}

func newCrowd(address string) *crowd {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 0, 1000
	return &crowd{Transport: transport, address: address}
}

// signUp signs a new visitor up, and returns the status code.
func (c *crowd) signUp(t *testing.T) (code int) {
	t.Helper()
	n := c.number.Add(1)
	body := fmt.Sprintf(`{"firstName":"Allison","lastName":"Brown","email":"visitor%d@example.com",`+
		`"phone":"+4179%07d","password":"Pass-word-1","countryCode":"CH","clickId":"click-%d"}`, n, n, n)
	address := c.address + "/signups"
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := c.RoundTrip(request)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Error(err)
	}
	return response.StatusCode
}

// most returns the sign-ups per second of visitors who sign up again and again.
func (c *crowd) most(t *testing.T, length time.Duration, want int) float64 {
	t.Helper()
	var number atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for range visitors {
		all.Go(func() {
			for time.Since(began) < length {
				if code := c.signUp(t); code != want {
					t.Errorf("HTTP status %d", code)
					return
				}
				number.Add(1)
			}
		})
	}
	all.Wait()
	return float64(number.Load()) / time.Since(began).Seconds()
}

// times returns the times from request to redirect at a fixed rate, sorted. A
// visitor does not wait for earlier ones.
func (c *crowd) times(t *testing.T, length time.Duration) []time.Duration {
	t.Helper()
	times := make([]time.Duration, int(length.Seconds()*rate))
	var all sync.WaitGroup
	began := time.Now()
	for i := range times {
		due := began.Add(time.Duration(i) * time.Second / rate)
		time.Sleep(time.Until(due))
		all.Go(func() {
			if code := c.signUp(t); code != http.StatusOK {
				t.Errorf("HTTP status %d", code)
			}
			times[i] = time.Since(due)
		})
	}
	all.Wait()
	slices.Sort(times)
	return times
}

// TestLoad measures the tables of docs/gateway.md. It takes a minute and a half
// for each round, and prints medians:
//
//	CLIXNOW_LOAD=3 go test -run Load -v -timeout 20m ./internal/gateway
func TestLoad(t *testing.T) { //nolint:paralleltest // other tests would change the result
	rounds, err := strconv.Atoi(os.Getenv("CLIXNOW_LOAD"))
	if err != nil {
		t.Skip("CLIXNOW_LOAD is not a number of rounds")
	}
	latencies := []time.Duration{0, 50 * time.Millisecond}
	measured := make(map[string][]float64)
	for range rounds { //nolint:paralleltest // each measurement must run alone
		for _, latency := range latencies {
			for _, c := range contenders() {
				t.Run(fmt.Sprintf("%s, %s", latency, c.name), func(t *testing.T) {
					record := func(what string, value float64) {
						cell := fmt.Sprint(latency, c.name, what)
						measured[cell] = append(measured[cell], value)
						t.Logf("%s: %.1f", what, value)
					}
					measure(t, c, newSlowAPI(t, latency), record)
				})
			}
		}
	}
	t.Log(loadTable(latencies, measured))
}

// loadTable returns the medians as the table of docs/gateway.md.
func loadTable(latencies []time.Duration, measured map[string][]float64) string {
	var text strings.Builder
	text.WriteString("\n| API | | sign-ups/s to the redirect | accepted/s | 50 % | 95 % | 99 % |\n" +
		"|--:|---|--:|--:|--:|--:|--:|\n")
	for _, latency := range latencies {
		for _, c := range contenders() {
			fmt.Fprintf(&text, "| %d ms | %s |", latency.Milliseconds(), c.name)
			for _, what := range []string{"redirected", "accepted", "50 %", "95 %", "99 %"} {
				values, format := measured[fmt.Sprint(latency, c.name, what)], " %.1f ms |"
				switch {
				case len(values) == 0:
					text.WriteString(" |")
					continue
				case what == "redirected", what == "accepted":
					format = " %.0f |"
				}
				slices.Sort(values)
				fmt.Fprintf(&text, format, values[len(values)/2])
			}
			text.WriteByte('\n')
		}
	}
	return text.String()
}

func measure(t *testing.T, c contender, api *slowAPI, record func(what string, value float64)) {
	t.Helper()
	crowd := newCrowd(c.start(t, api, 30*time.Second))
	defer crowd.CloseIdleConnections()
	crowd.most(t, time.Second, http.StatusOK) // this warms it up
	times := crowd.times(t, 4*time.Second)
	for _, percent := range []int{50, 95, 99} {
		record(fmt.Sprintf("%d %%", percent), float64(times[len(times)*percent/100].Microseconds())/1000)
	}
	record("redirected", crowd.most(t, 4*time.Second, http.StatusOK))
	if c.name == contenders()[0].name {
		return
	}
	t.Run("accepted", func(t *testing.T) {
		accepting := newCrowd(c.start(t, newSlowAPI(t, api.latency), 0))
		defer accepting.CloseIdleConnections()
		accepting.most(t, time.Second/2, http.StatusAccepted)
		record("accepted", accepting.most(t, 4*time.Second, http.StatusAccepted))
	})
}

// TestOutage lets visitors sign up while the API is down, and reports how long
// the registrations take afterwards. No visitor may be turned away:
//
//	CLIXNOW_OUTAGE=10m go test -run Outage -v -timeout 1h ./internal/gateway
func TestOutage(t *testing.T) { //nolint:paralleltest // other tests would change the result
	outage, err := time.ParseDuration(os.Getenv("CLIXNOW_OUTAGE"))
	if err != nil {
		t.Skip("CLIXNOW_OUTAGE is not a duration")
	}
	const perSecond = 200
	api := newSlowAPI(t, 0)
	address, admin := startGateway(t, t.TempDir()+"/signups.db", api, 5*time.Second)
	crowd := newCrowd(address)
	defer crowd.CloseIdleConnections()

	api.down.Store(true)
	var all sync.WaitGroup
	var away atomic.Int64
	times := make([]time.Duration, int(outage.Seconds()*perSecond))
	began := time.Now()
	for i := range times {
		due := began.Add(time.Duration(i) * time.Second / perSecond)
		time.Sleep(time.Until(due))
		all.Go(func() {
			if code := crowd.signUp(t); code != http.StatusAccepted && code != http.StatusOK {
				away.Add(1)
			}
			times[i] = time.Since(due)
		})
	}
	up := time.Now()
	api.down.Store(false)
	all.Wait()
	slices.Sort(times)
	t.Logf("%d sign-ups, %d turned away; answered after 50 %%: %v, 99 %%: %v, all: %v", len(times), away.Load(),
		times[len(times)/2], times[len(times)*99/100], times[len(times)-1])
	assert.Zero(t, away.Load())
	reportDrain(t, admin, up, len(times))
	emails := make(map[string]bool)
	for _, lead := range api.Leads() {
		emails[lead.Email] = true
	}
	assert.Len(t, emails, len(times))
	assert.Len(t, api.Leads(), len(times), "each exactly once")
}

// reportDrain waits until no sign-up is pending, and reports when half, 90 %,
// 99 % and all of them were registered.
func reportDrain(t *testing.T, admin string, up time.Time, number int) {
	t.Helper()
	parts := []int{50, 90, 99, 100}
	for ; len(parts) > 0; time.Sleep(time.Second) {
		counts := countSignups(t, admin)
		for len(parts) > 0 && counts["registered"] >= number*parts[0]/100 {
			t.Logf("%d %% registered %v after the outage", parts[0], time.Since(up).Round(time.Second))
			parts = parts[1:]
		}
		require.Zero(t, counts["doubtful"]+counts["refused"])
	}
}

// countSignups returns the number of sign-ups by status.
func countSignups(t *testing.T, admin string) map[string]int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, admin+"/metrics", http.NoBody)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	counts := make(map[string]int)
	lines := regexp.MustCompile(`clixnow_gateway_signups{status="(\w+)"} (\S+)`).FindAllStringSubmatch(string(text), -1)
	for _, line := range lines {
		value, err := strconv.ParseFloat(line[2], 64)
		require.NoError(t, err)
		counts[line[1]] = int(value)
	}
	require.Len(t, counts, 4, string(text))
	return counts
}
