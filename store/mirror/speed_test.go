package mirror_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/store/mirror"
)

// history serves a history of leads of the year before. Its pages are put
// together from texts that are encoded already, so that it costs little beside
// its client.
type history struct {
	*httptest.Server
	leads int
	// shuffled means that the ids do not ascend with the dates.
	shuffled bool
	began    time.Time
	requests atomic.Int64
}

const historyStep = 20 * time.Second

func newHistory(t *testing.T, leads int, shuffled bool) *history {
	t.Helper()
	began := time.Now().Add(-time.Duration(leads)*historyStep - time.Hour).UTC().Truncate(time.Second)
	h := &history{leads: leads, shuffled: shuffled, began: began}
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Close)
	return h
}

// newFake serves a history from package clixnowtest, which finds and encodes
// each lead for each request.
func newFake(t *testing.T, leads int, shuffled bool) *history {
	t.Helper()
	h := newHistory(t, leads, shuffled)
	server := clixnowtest.NewServer(clixnowtest.WithToken("token"))
	t.Cleanup(server.Close)
	all := make([]clixnow.Lead, leads)
	for i := range all {
		require.NoError(t, json.Unmarshal(h.append(nil, i), &all[i]))
	}
	server.AddLeads(all...)
	h.Config.Handler = server
	return h
}

func (h *history) client(t *testing.T) *clixnow.Client {
	t.Helper()
	client, err := clixnow.NewClient("acme", "token", clixnow.WithBaseURL(h.URL), clixnow.WithInsecureHTTP())
	require.NoError(t, err)
	t.Cleanup(client.CloseIdleConnections)
	return client
}

func (h *history) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.requests.Add(1)
	values := r.URL.Query()
	first, _ := strconv.Atoi(values.Get("skip"))
	count, _ := strconv.Atoi(values.Get("count"))
	if from := values.Get("modifiedOnFrom"); from != "" {
		at, err := time.Parse("2006-01-02T15:04:05", strings.TrimSuffix(from, "Z"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		first += max(0, int((at.Sub(h.began)+historyStep-1)/historyStep))
	}
	page := append(make([]byte, 0, 512*count), '[')
	for i := first; i < min(first+count, h.leads); i++ {
		page = h.append(page, i)
		page = append(page, ',')
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(page[:max(1, len(page)-1)], ']'))
}

func (h *history) append(page []byte, i int) []byte {
	const date = `2006-01-02T15:04:05.000Z"`
	id := i
	if h.shuffled {
		id = i * 7919 % h.leads // a permutation, if leads is no multiple of 7919
	}
	updated := h.began.Add(time.Duration(i) * historyStep)
	created := updated
	if i%3 == 1 {
		created = updated.Add(-time.Hour)
	}
	number := strconv.AppendInt(nil, int64(1_000_000+id), 10)
	page = append(append(page, `{"id":`...), number...)
	page = append(append(page, `,"email":"visitor.number.`...), number...)
	page = append(page, `@example.com","status":"`...)
	page = append(page, [...]string{"New", "No answer", "Call again", "Not interested", "Deposited"}[i%5]...)
	page = append(append(page, `","crmId":"crm-`...), number...)
	page = append(page, `","brandId":17,"brandName":"Some Broker","createdOn":"`...)
	page = append(created.AppendFormat(page, date), `,"updatedOn":"`...)
	page = updated.AppendFormat(page, date)
	if i%20 == 4 {
		page = updated.AppendFormat(append(page, `,"ftdDate":"`...), date)
	}
	page = append(append(page, `,"clickId":"w3k8s7d6f5g4h3j2k1l0-`...), number...)
	page = append(page, `","sub2":"source-12","subCampaign":"autumn-`...)
	page = strconv.AppendInt(page, int64(i%40), 10)
	return append(page, `","keyword":"trading course","placement":"landing-3","clientType":"Client"}`...)
}

// TestSpeed compares a first sync with reading alone. It only runs with
// CLIXNOW_LONG=1. CLIXNOW_LEADS is the number of leads, and CLIXNOW_ROUNDS that
// of the measurements. CLIXNOW_FAKE=1 reads from package clixnowtest, and
// CLIXNOW_SHUFFLED=1 reads leads whose ids do not ascend with their dates.
func TestSpeed(t *testing.T) { //nolint:paralleltest // it measures
	if os.Getenv("CLIXNOW_LONG") == "" {
		t.Skip("SKIPPED: set CLIXNOW_LONG=1")
	}
	leads, rounds := envInt(t, "CLIXNOW_LEADS", 1_000_000), envInt(t, "CLIXNOW_ROUNDS", 3)
	open := newHistory
	if os.Getenv("CLIXNOW_FAKE") != "" {
		open = newFake
	}
	h := open(t, leads, os.Getenv("CLIXNOW_SHUFFLED") != "")
	postgres := postgresKind(t)
	times := make(map[string][]float64)
	for range rounds {
		for _, c := range []struct {
			name string
			do   func() func()
		}{
			{"reading alone", func() func() { return func() { readAll(t, h) } }},
			{"SQLite", func() func() { return syncAll(t, h, sqliteKind()) }},
			{"PostgreSQL", func() func() { return syncAll(t, h, postgres) }},
		} {
			do := c.do()
			began := time.Now()
			do()
			times[c.name] = append(times[c.name], time.Since(began).Seconds())
			load, _ := os.ReadFile("/proc/loadavg") // only Linux has it
			t.Logf("%-14s %6.2f s, load %.14s", c.name, times[c.name][len(times[c.name])-1], load)
		}
	}
	median := func(name string) float64 {
		slices.Sort(times[name])
		return times[name][len(times[name])/2]
	}
	for _, name := range []string{"reading alone", "SQLite", "PostgreSQL"} {
		t.Logf("%-14s median %6.2f s, %5.2f times reading alone, %.0f leads/s",
			name, median(name), median(name)/median("reading alone"), float64(leads)/median(name))
	}
}

func readAll(t *testing.T, h *history) {
	t.Helper()
	read := 0
	for _, err := range h.client(t).LeadChanges(t.Context(), clixnow.LeadChangesRequest{}) {
		require.NoError(t, err)
		read++
	}
	require.Equal(t, h.leads, read)
}

func syncAll(t *testing.T, h *history, k kind) func() {
	t.Helper()
	m := k.mirror(t)
	return func() {
		var heap, first uint64
		var once sync.Once
		observe := func(s mirror.Status) {
			var stats runtime.MemStats
			if s.Leads%100_000 == 0 {
				runtime.ReadMemStats(&stats)
				once.Do(func() { first = stats.Sys })
				heap = max(heap, stats.Sys)
			}
		}
		opts := mirror.RunOptions{Clients: []*clixnow.Client{h.client(t)}, Once: true, Observe: observe}
		require.NoError(t, m.Run(t.Context(), opts))
		t.Logf("%s: memory of the process %d MiB after 100,000 leads, at most %d MiB", k.dialect, first>>20, heap>>20)
		require.Equal(t, []string{strconv.Itoa(h.leads)}, query(t, m, "SELECT count(*) FROM leads"))
		events := strconv.Itoa(h.leads + (h.leads+15)/20)
		require.Equal(t, []string{events}, query(t, m, "SELECT count(*) FROM lead_events"))
		if k.dialect == mirror.SQLite {
			var file string
			require.NoError(t, m.DB().QueryRowContext(t.Context(), "SELECT file FROM pragma_database_list").Scan(&file))
			info, err := os.Stat(filepath.Clean(file))
			require.NoError(t, err)
			t.Logf("the file has %d bytes per lead", info.Size()/int64(h.leads))
		}
	}
}

func envInt(t *testing.T, name string, fallback int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return fallback
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}
