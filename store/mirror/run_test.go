package mirror_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/store/mirror"
)

func newServer(t *testing.T, options ...clixnowtest.Option) *clixnowtest.Server {
	t.Helper()
	server := clixnowtest.NewServer(options...)
	t.Cleanup(server.Close)
	return server
}

// running is a Run in the background.
type running struct {
	cancel context.CancelFunc
	ended  chan error
	logs   *logs
	mu     sync.Mutex
	last   map[string]mirror.Status
}

func start(t *testing.T, m *mirror.Mirror, poll time.Duration, servers ...*clixnowtest.Server) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{cancel: cancel, ended: make(chan error, 1), logs: new(logs), last: make(map[string]mirror.Status)}
	opts := mirror.RunOptions{
		Clients: clients(t, servers...), PollInterval: poll, Logger: slog.New(slog.NewTextHandler(r.logs, nil)),
		Observe: func(s mirror.Status) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.last[s.Brand] = s
		},
	}
	go func() { r.ended <- m.Run(ctx, opts) }()
	t.Cleanup(cancel)
	return r
}

func (r *running) stop() error {
	r.cancel()
	return <-r.ended
}

func (r *running) status(brand string) mirror.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last[brand]
}

func clients(t *testing.T, servers ...*clixnowtest.Server) (all []*clixnow.Client) {
	t.Helper()
	for _, server := range servers {
		client := server.Client(clixnow.WithRetry(clixnow.RetryPolicy{MaxAttempts: 1}))
		t.Cleanup(client.CloseIdleConnections)
		all = append(all, client)
	}
	return all
}

func once(t *testing.T, m *mirror.Mirror, servers ...*clixnowtest.Server) error {
	t.Helper()
	return m.Run(t.Context(), mirror.RunOptions{Clients: clients(t, servers...), Once: true})
}

// logs holds log lines.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(text)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func eventually(t *testing.T, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, 5*time.Minute, 5*time.Millisecond)
}

func count(t *testing.T, m *mirror.Mirror, table string) string {
	t.Helper()
	return query(t, m, "SELECT count(*) FROM "+table)[0]
}

// checkLeads compares the stored leads of a brand with those of its server.
func checkLeads(t *testing.T, m *mirror.Mirror, server *clixnowtest.Server) {
	t.Helper()
	var want, got []string
	form := func(lead clixnow.Lead) string {
		for _, at := range []*time.Time{&lead.CreatedOn, &lead.UpdatedOn, &lead.FTDDate} {
			*at = at.Truncate(time.Microsecond)
		}
		text, err := json.Marshal(lead)
		require.NoError(t, err)
		return string(text)
	}
	for _, lead := range server.Leads() {
		want = append(want, form(lead))
	}
	for _, lead := range readLeads(t, m, mirror.Query{Brand: server.Brand}) {
		got = append(got, form(lead.Lead))
	}
	require.Equal(t, want, got)
}

// resume checks that a first pass that failed continues in the next run.
func (k kind) resume(t *testing.T) {
	t.Parallel()
	m := k.mirror(t)
	server := newServer(t, clixnowtest.WithPageLimit(500))
	leads := server.AddLeads(lastMonth(3 * mirror.BatchSize)...)
	pages := 2*mirror.BatchSize/499 + 1
	server.Inject(clixnowtest.Fault{Times: pages}, clixnowtest.Fault{Status: 503})
	var statuses []mirror.Status
	err := m.Run(t.Context(), mirror.RunOptions{
		Clients: clients(t, server), Once: true, Observe: func(s mirror.Status) { statuses = append(statuses, s) },
	})
	require.ErrorIs(t, err, clixnow.ErrServer)
	first := len(server.Requests())
	require.Equal(t, pages+1, first)
	read, position := 500+499*(pages-1), leads[2*mirror.BatchSize-1].UpdatedOn
	require.Len(t, statuses, 3, "two batches and the rest are saved")
	for _, status := range statuses {
		assert.Zero(t, status.CaughtUpAt)
	}
	assert.Equal(t, int64(read), statuses[2].Leads)
	assert.WithinDuration(t, position, statuses[2].Position, time.Microsecond)
	assert.Len(t, readLeads(t, m, mirror.Query{}), read, "the leads that were read before the failure are saved")
	checkPosition := func() {
		positions, err := m.Positions(t.Context())
		require.NoError(t, err)
		require.Len(t, positions, 1)
		assert.WithinDuration(t, position, positions[0].ReadTo, time.Microsecond)
		assert.Zero(t, positions[0].CaughtUpAt)
	}
	checkPosition()
	server.Inject(clixnowtest.Fault{Times: 3}, clixnowtest.Fault{Status: 503})
	require.ErrorIs(t, once(t, m, server), clixnow.ErrServer)
	require.Greater(t, len(readLeads(t, m, mirror.Query{})), read)
	checkPosition()
	first = len(server.Requests())

	require.NoError(t, once(t, m, server))
	requests := server.Requests()[first:]
	from, err := time.Parse("2006-01-02T15:04:05", requests[0].Query.Get("modifiedOnFrom"))
	require.NoError(t, err)
	assert.WithinDuration(t, position.Add(-time.Minute), from, 5*time.Second)
	assert.Equal(t, count(t, m, "leads"), count(t, m, "lead_events"))
	checkLeads(t, m, server)
	positions, err := m.Positions(t.Context())
	require.NoError(t, err)
	assert.WithinDuration(t, time.Now(), positions[0].CaughtUpAt, time.Minute)
}

// indexes checks that the indexes are created when the first brand catches up,
// also after a run that failed, and also if one exists.
func (k kind) indexes(t *testing.T) {
	t.Parallel()
	m := k.mirror(t)
	names := func() []string {
		if k.dialect == mirror.SQLite {
			return query(t, m, "SELECT name FROM sqlite_schema WHERE type = 'index' AND name LIKE 'lead%' ORDER BY 1")
		}
		return query(t, m, "SELECT indexname FROM pg_indexes WHERE indexname LIKE 'lead%by%' ORDER BY indexname")
	}
	first, second := newServer(t, clixnowtest.WithBrand("acme")), newServer(t, clixnowtest.WithBrand("beta"))
	first.AddLeads(lastMonth(mirror.BatchSize + 1)...)
	first.Inject(clixnowtest.Fault{Times: 2}, clixnowtest.Fault{Status: 503})
	require.ErrorIs(t, once(t, m, first), clixnow.ErrServer)
	require.NotEqual(t, "0", count(t, m, "leads"))
	assert.Empty(t, names())
	_, err := m.DB().ExecContext(t.Context(), "CREATE INDEX leads_by_ftd_date ON leads (ftd_date)")
	require.NoError(t, err)
	for _, server := range []*clixnowtest.Server{first, second} {
		require.NoError(t, once(t, m, server))
		assert.Equal(t, []string{"lead_events_by_lead", "leads_by_created_on", "leads_by_ftd_date"}, names())
	}
	_, err = m.DB().ExecContext(t.Context(), "DROP INDEX leads_by_created_on")
	require.NoError(t, err)
	require.NoError(t, once(t, m, first))
	assert.Equal(t, []string{"lead_events_by_lead", "leads_by_ftd_date"}, names(), "a dropped one is not created again")
}

// stop checks that a stop in the middle of a pass saves the leads that were
// read.
func (k kind) stop(t *testing.T) {
	t.Parallel()
	m := k.mirror(t)
	server := newServer(t, clixnowtest.WithPageLimit(100))
	server.AddLeads(lastMonth(150)...)
	server.Inject(clixnowtest.Fault{Times: 1}, clixnowtest.Fault{Delay: time.Hour}) // the second page never arrives
	run := start(t, m, time.Hour, server)
	eventually(t, func() bool { return len(server.Requests()) == 2 })
	require.NoError(t, run.stop())
	assert.Equal(t, "100", count(t, m, "leads"))
	assert.Equal(t, int64(100), run.status(server.Brand).Leads)

	server.Inject(clixnowtest.Fault{Delay: time.Hour})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := m.Run(ctx, mirror.RunOptions{Clients: clients(t, server), Once: true})
	require.ErrorIs(t, err, context.DeadlineExceeded, "it has not caught up")
}

// polling checks that a failed pass is reported, and that the next pass reads
// its leads.
func (k kind) polling(t *testing.T) {
	t.Parallel()
	m := k.mirror(t)
	server := newServer(t)
	run := start(t, m, 10*time.Millisecond, server)
	for i := range 20 {
		server.AddLeads(clixnow.Lead{Status: "New"})
		if i%5 == 0 {
			server.Inject(clixnowtest.Fault{Status: 503, Times: 3})
		}
		eventually(t, func() bool { return run.status(server.Brand).Events == int64(i+1) })
	}
	eventually(t, func() bool { return strings.Count(run.logs.String(), "the brand works again") == 4 })
	require.NoError(t, run.stop())
	checkLeads(t, m, server)
	assert.Equal(t, int64(20), run.status(server.Brand).Leads, "after a failed pass no lead is read again")
	assert.Equal(t, 4, strings.Count(run.logs.String(), "the brand fails"), run.logs)
	assert.Equal(t, 1, strings.Count(run.logs.String(), "caught up"), run.logs)
}

// quiet checks that a brand without changes is saved again after the quiet
// interval, so that readers see that it is still read.
func (k kind) quiet(t *testing.T) {
	t.Parallel()
	m := k.mirror(t)
	m.SetQuietInterval(0)
	saved := func() time.Time {
		all, err := m.Positions(t.Context())
		require.NoError(t, err)
		if len(all) == 0 {
			return time.Time{}
		}
		return all[0].CaughtUpAt
	}
	run := start(t, m, 10*time.Millisecond, newServer(t))
	eventually(t, func() bool { return !saved().IsZero() })
	first := saved()
	eventually(t, func() bool { return saved().After(first) })
	require.NoError(t, run.stop())
}

// idle checks that a poll without changes costs one request and no write.
func (k kind) idle(t *testing.T) {
	t.Parallel()
	m := k.mirror(t)
	writes := func() string { return query(t, m, "SELECT pg_snapshot_xmax(pg_current_snapshot())::text")[0] }
	server := newServer(t)
	if k.dialect == mirror.SQLite {
		writes = func() string { // each transaction is appended to the log file
			info, err := os.Stat(query(t, m, "SELECT file FROM pragma_database_list")[0] + "-wal")
			require.NoError(t, err)
			return info.ModTime().String()
		}
	} else {
		// The other tests write to the same server, whose transactions have one
		// sequence of numbers.
		m = postgresKind(t).mirror(t)
	}
	server.AddLeads(lastMonth(10)...)
	run := start(t, m, 10*time.Millisecond, server)
	eventually(t, func() bool { return !run.status(server.Brand).CaughtUpAt.IsZero() })
	requests, before := len(server.Requests()), writes()
	caughtUp := run.status(server.Brand).CaughtUpAt
	eventually(t, func() bool { return len(server.Requests()) >= requests+10 })
	eventually(t, func() bool { return run.status(server.Brand).CaughtUpAt.After(caughtUp) })
	assert.Equal(t, before, writes())
	require.NoError(t, run.stop())
	for _, request := range server.Requests()[requests:] {
		assert.Contains(t, []string{"", "0"}, request.Query.Get("skip"), "each pass has one request")
	}
}

// takeOver checks that a second process continues, and that the first one
// stops, even if nothing changes.
func (k kind) takeOver(t *testing.T) {
	t.Parallel()
	address := k.create(t)
	server := newServer(t)
	server.AddLeads(lastMonth(3)...)
	old, err := mirror.Open(t.Context(), k.open(t, address), k.dialect)
	require.NoError(t, err)
	first := start(t, old, 10*time.Millisecond, server)
	eventually(t, func() bool { return !first.status(server.Brand).CaughtUpAt.IsZero() })
	newer, err := mirror.Open(t.Context(), k.open(t, address), k.dialect)
	require.NoError(t, err)
	second := start(t, newer, 10*time.Millisecond, server)
	require.ErrorIs(t, <-first.ended, mirror.ErrTakenOver)
	server.AddLeads(clixnow.Lead{Status: "New"})
	eventually(t, func() bool { return second.status(server.Brand).Events == 1 })
	require.ErrorIs(t, once(t, old, server), mirror.ErrTakenOver)
	require.NoError(t, second.stop())
	checkLeads(t, newer, server)
}

// brandsFailAlone checks that a brand that is down and a brand with a wrong
// token hold up no other brand, and that each is reported once.
func (k kind) brandsFailAlone(t *testing.T) {
	t.Parallel()
	m := k.mirror(t)
	var servers []*clixnowtest.Server
	for _, brand := range []string{"works", "down", "refuses"} {
		server := newServer(t, clixnowtest.WithBrand(brand))
		server.AddLeads(lastMonth(3)...)
		servers = append(servers, server)
	}
	works, down, refuses := servers[0], servers[1], servers[2]
	down.Inject(clixnowtest.Fault{Status: 503, Times: 1_000_000})
	run := start(t, m, 10*time.Millisecond, servers...)
	token := refuses.Token
	refuses.SetToken("another")
	eventually(t, func() bool { return len(down.Requests()) > 4 && run.status("refuses").Err != nil })
	for i := range 5 {
		works.AddLeads(clixnow.Lead{Status: "New"})
		eventually(t, func() bool { return run.status("works").Events == int64(4+i) })
	}
	require.ErrorIs(t, run.status("down").Err, clixnow.ErrServer)
	require.ErrorIs(t, run.status("refuses").Err, clixnow.ErrUnauthorized)
	require.NoError(t, run.status("works").Err)
	down.ClearFaults()
	refuses.SetToken(token)
	eventually(t, func() bool { return run.status("down").Err == nil && run.status("refuses").Err == nil })
	require.NoError(t, run.stop())
	for _, server := range servers {
		checkLeads(t, m, server)
	}
	for _, line := range []string{"the brand fails", "the brand refuses"} {
		assert.Equal(t, 1, strings.Count(run.logs.String(), line), run.logs)
	}
	assert.Equal(t, 2, strings.Count(run.logs.String(), "the brand works again"), run.logs)
	down.Inject(clixnowtest.Fault{Status: 503, Times: 2}) // the server may still handle a request of the last run
	works.AddLeads(clixnow.Lead{Status: "New"})
	require.ErrorIs(t, once(t, m, down, works), clixnow.ErrServer)
	checkLeads(t, m, works)
}

// allRefuse checks that Run ends if no brand is left that can be read.
func (k kind) allRefuse(t *testing.T) {
	t.Parallel()
	m := k.mirror(t)
	first, second := newServer(t, clixnowtest.WithBrand("acme")), newServer(t, clixnowtest.WithBrand("beta"))
	run := start(t, m, 10*time.Millisecond, first, second)
	eventually(t, func() bool {
		return !run.status("acme").CaughtUpAt.IsZero() && !run.status("beta").CaughtUpAt.IsZero()
	})
	first.SetToken("another")
	eventually(t, func() bool { return run.status("acme").Err != nil })
	require.Empty(t, run.ended)
	second.SetToken("another")
	err := <-run.ended
	require.ErrorIs(t, err, clixnow.ErrUnauthorized)
	err = m.Run(t.Context(), mirror.RunOptions{Clients: clients(t, first, first)})
	require.ErrorContains(t, err, `two clients have the brand "acme"`)
}
