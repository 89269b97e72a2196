package mirror_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/internal/postgrestest"
	"github.com/clixnow/clixnow-go/store/mirror"
)

// childEnv holds the job of a child process: this binary, started by a test.
const childEnv = "CLIXNOW_MIRROR_CHILD"

// job says what a child process does.
type job struct {
	Dialect mirror.Dialect
	Address string
	Brands  []brand
	Once    bool
}

type brand struct{ Name, URL, Token string }

// work follows brands and prints their events.
func (j job) work(ctx context.Context) error {
	driver := "pgx"
	if j.Dialect == mirror.SQLite {
		driver = "sqlite"
	}
	db, err := sql.Open(driver, j.Address)
	if err != nil {
		return err
	}
	m, err := mirror.Open(ctx, db, j.Dialect)
	if err != nil {
		return err
	}
	opts := mirror.RunOptions{
		PollInterval: 10 * time.Millisecond, Once: j.Once, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	for _, b := range j.Brands {
		client, err := clixnow.NewClient(b.Name, b.Token, clixnow.WithBaseURL(b.URL), clixnow.WithInsecureHTTP())
		if err != nil {
			return err
		}
		opts.Clients = append(opts.Clients, client)
	}
	saved := make(chan struct{}, 1)
	opts.Observe = func(mirror.Status) {
		select {
		case saved <- struct{}{}:
		default:
		}
	}
	printAll := func() error {
		return m.HandleEvents(ctx, "print", 100, func(events []mirror.Event) error {
			for _, event := range events {
				fmt.Println(lineOf(event)) // each line is written at once, so that a kill does not cut it
			}
			return nil
		})
	}
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx, opts) }()
	for {
		if err := printAll(); err != nil && !errors.Is(err, mirror.ErrDatabase) {
			return err
		}
		select {
		case err := <-ended:
			return errors.Join(err, printAll())
		case <-saved:
		}
	}
}

func lineOf(e mirror.Event) string {
	return fmt.Sprintf("%d %s %d %s %q %q", e.ID, e.Brand, e.LeadID, e.Kind, e.StatusBefore, e.Status)
}

// child runs the job of a child process, if this is one.
func child() {
	text := os.Getenv(childEnv)
	if text == "" {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var j job
	err := json.Unmarshal([]byte(text), &j)
	if err == nil {
		err = j.work(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:gocritic // the process ends
	}
	os.Exit(0)
}

// broker changes the leads of a brand and records their history. Each change
// sets a new status, so that an event shows to which version of the lead it
// belongs.
type broker struct {
	*clixnowtest.Server
	random *rand.Rand
	// history has the versions of each lead, the oldest first.
	history map[int64][]clixnow.Lead
	ids     []int64
	changes int
}

// newBroker returns a broker with leads of a month. Its clock starts a month
// ago and runs 600 times faster. So the overlap of two passes, a minute, is
// only a tenth of a second. If a change is skipped, the overlap does not hide
// that.
func newBroker(t *testing.T, name string, seed uint64) *broker {
	t.Helper()
	began := time.Now()
	clock := func() time.Time { return began.Add(-30*24*time.Hour + 600*time.Since(began)) }
	b := &broker{
		Server:  newServer(t, clixnowtest.WithBrand(name), clixnowtest.WithClock(clock)),
		random:  rand.New(rand.NewPCG(seed, 0)),
		history: make(map[int64][]clixnow.Lead),
	}
	leads := lastMonth(mirror.BatchSize + 500)
	for i := range leads {
		leads[i].CreatedOn = leads[i].CreatedOn.Add(-30 * 24 * time.Hour)
		leads[i].UpdatedOn = leads[i].CreatedOn
		leads[i].Status = b.newStatus()
	}
	b.record(b.AddLeads(leads...)...)
	return b
}

func newBrokers(t *testing.T, seed uint64) (all []*broker) {
	t.Helper()
	for i, name := range []string{"acme", "beta", "gamma"} {
		all = append(all, newBroker(t, name, seed+uint64(i)))
	}
	return all
}

func (b *broker) newStatus() string {
	b.changes++
	return "status " + strconv.Itoa(b.changes)
}

func (b *broker) record(leads ...clixnow.Lead) {
	for _, lead := range leads {
		if len(b.history[lead.ID]) == 0 {
			b.ids = append(b.ids, lead.ID)
		}
		b.history[lead.ID] = append(b.history[lead.ID], lead)
	}
}

// work adds leads and changes some of the last ones until ctx is done.
func (b *broker) work(ctx context.Context) error {
	for ctx.Err() == nil {
		if b.random.IntN(4) == 0 {
			b.record(b.AddLeads(clixnow.Lead{Status: b.newStatus()})...)
		}
		id := b.ids[max(0, len(b.ids)-1-b.random.IntN(50))]
		var now clixnow.Lead
		err := b.UpdateLead(id, func(lead *clixnow.Lead) {
			lead.Status = b.newStatus()
			switch b.random.IntN(4) {
			case 0:
				lead.FTDDate = time.Now()
			case 1:
				lead.FTDDate = time.Time{}
			}
			now = *lead
		})
		if err != nil {
			return err
		}
		b.record(now)
		time.Sleep(time.Duration(10+b.random.IntN(50)) * time.Millisecond)
	}
	return nil
}

// workAll lets brokers work until stop is called.
func workAll(t *testing.T, brokers []*broker) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	errs := make([]error, len(brokers))
	for i, b := range brokers {
		workers.Go(func() { errs[i] = b.work(ctx) })
	}
	stop = func() {
		cancel()
		workers.Wait()
		require.NoError(t, errors.Join(errs...))
	}
	t.Cleanup(func() {
		cancel()
		workers.Wait()
	})
	return stop
}

// check compares the mirror with the leads and their history.
func check(t *testing.T, m *mirror.Mirror, brokers []*broker) (events []mirror.Event) {
	t.Helper()
	events, err := m.Events(t.Context(), 0, 1_000_000)
	require.NoError(t, err)
	for _, b := range brokers {
		checkLeads(t, m, b.Server)
		recorded := make(map[int64][]mirror.Event)
		for _, event := range events {
			if event.Brand == b.Brand {
				recorded[event.LeadID] = append(recorded[event.LeadID], event)
			}
		}
		require.Len(t, recorded, len(b.history))
		for id, events := range recorded {
			checkEvents(t, b.history[id], events)
		}
	}
	return events
}

// checkEvents checks that the events of a lead follow its history. Versions
// between two passes may have no events. The last version must have its events.
// No event may be repeated.
func checkEvents(t *testing.T, history []clixnow.Lead, events []mirror.Event) {
	t.Helper()
	var seen *clixnow.Lead
	for i := range history {
		version := &history[i]
		var want, got []string
		for len(events) > 0 && events[0].Status == version.Status {
			got = append(got, fmt.Sprint(events[0].Kind, " from ", events[0].StatusBefore))
			events = events[1:]
		}
		switch {
		case len(got) == 0 && i < len(history)-1:
			continue // the version was replaced between two passes
		case seen == nil:
			want = append(want, "created from ")
			seen = new(clixnow.Lead)
		default:
			want = append(want, "status changed from "+seen.Status)
		}
		switch {
		case version.HasFTD() && !seen.HasFTD():
			want = append(want, "deposited from "+seen.Status)
		case !version.HasFTD() && seen.HasFTD():
			want = append(want, "deposit withdrawn from "+seen.Status)
		}
		require.Equal(t, want, got, "lead %d, version %d of %d", version.ID, i+1, len(history))
		seen = version
	}
	require.Empty(t, events, "events were recorded twice or in the wrong order")
}

// TestKilled kills the process many times while leads change. CLIXNOW_KILLS=500
// sets the number of kills. CLIXNOW_SEED=7 repeats the random choices of a run,
// but not its timing.
func TestKilled(t *testing.T) {
	t.Parallel()
	kills := envInt(t, "CLIXNOW_KILLS", 20)
	seed := uint64(envInt(t, "CLIXNOW_SEED", int(time.Now().UnixNano()%1e6)))
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		sqliteKind().killRepeatedly(t, newBrokers(t, seed), kills)
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		postgresKind(t).killRepeatedly(t, newBrokers(t, seed), kills)
	})
	t.Logf("CLIXNOW_SEED=%d", seed)
}

func (k kind) killRepeatedly(t *testing.T, brokers []*broker, kills int) {
	t.Helper()
	random := rand.New(rand.NewPCG(brokers[0].random.Uint64(), 1))
	j := job{Dialect: k.dialect, Address: k.create(t)}
	for _, b := range brokers {
		j.Brands = append(j.Brands, brand{b.Brand, b.URL, b.Token})
	}
	output, err := os.Create(filepath.Join(t.TempDir(), "output"))
	require.NoError(t, err)
	defer func() { assert.NoError(t, output.Close()) }()
	var logs bytes.Buffer
	start := func() *exec.Cmd {
		text, err := json.Marshal(j)
		require.NoError(t, err)
		command := exec.CommandContext(t.Context(), os.Args[0])
		command.Env = append(os.Environ(), childEnv+"="+string(text))
		command.Stdout, command.Stderr = output, &logs
		require.NoError(t, command.Start())
		return command
	}
	stop := workAll(t, brokers)
	requests := func() (sum int) {
		for _, b := range brokers {
			sum += len(b.Requests())
		}
		return sum
	}
	for range kills {
		child := start()
		enough := requests() + random.IntN(20)
		eventually(t, func() bool { return requests() >= enough })
		time.Sleep(time.Duration(random.IntN(150)) * time.Millisecond)
		require.NoError(t, child.Process.Kill())
		require.ErrorContains(t, child.Wait(), "killed", logs.String())
	}
	stop()
	j.Once = true
	require.NoError(t, start().Wait(), logs.String())
	printed, err := os.ReadFile(output.Name())
	require.NoError(t, err)
	lines := make(map[string]bool)
	for line := range strings.Lines(string(printed)) {
		lines[strings.TrimSuffix(line, "\n")] = true
	}
	m, err := mirror.OpenReadOnly(t.Context(), k.open(t, j.Address), k.dialect)
	require.NoError(t, err)
	events := check(t, m, brokers)
	for _, event := range events {
		require.True(t, lines[lineOf(event)], "not printed: %s", lineOf(event))
	}
	require.Len(t, lines, len(events), "an event was printed that was not committed")
	t.Logf("%d kills, %d events, %d lines printed", kills, len(events), strings.Count(string(printed), "\n"))
}

// TestDatabaseRestarted kills PostgreSQL and starts it again while several
// brands are followed.
func TestDatabaseRestarted(t *testing.T) {
	t.Parallel()
	server := postgrestest.New(t)
	k := kind{dialect: mirror.PostgreSQL}
	m, err := mirror.Open(t.Context(), k.open(t, server.URL), k.dialect)
	require.NoError(t, err)
	brokers := newBrokers(t, 1)
	var servers []*clixnowtest.Server
	for _, b := range brokers {
		servers = append(servers, b.Server)
	}
	run := start(t, m, 10*time.Millisecond, servers...)
	stop := workAll(t, brokers)
	outages := func() int { return strings.Count(run.logs.String(), "waiting for the database") }
	for i := range 3 {
		for _, b := range brokers {
			events := run.status(b.Brand).Events
			eventually(t, func() bool { return run.status(b.Brand).Events > events+20 })
		}
		server.Kill()
		eventually(t, func() bool { return outages() == i+1 })
		time.Sleep(100 * time.Millisecond) // several attempts are reported once
		server.Start()
		eventually(t, func() bool { return strings.Count(run.logs.String(), "the database works again") == i+1 })
	}
	require.Equal(t, 3, outages(), run.logs)
	stop()
	require.NoError(t, run.stop(), run.logs)
	require.NoError(t, once(t, m, servers...))
	check(t, m, brokers)
}

// TestDiskFull fills the disk of SQLite, and then makes space.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	k := sqliteKind()
	address := k.create(t)
	m, err := mirror.Open(t.Context(), k.open(t, address+"&_pragma=max_page_count(80)"), k.dialect)
	require.NoError(t, err)
	server := newServer(t, clixnowtest.WithPageLimit(100))
	server.AddLeads(lastMonth(2 * mirror.BatchSize)...)
	run := start(t, m, 10*time.Millisecond, server)
	eventually(t, func() bool { return strings.Contains(run.logs.String(), "waiting for the database") })
	require.ErrorIs(t, run.status(server.Brand).Err, mirror.ErrDatabase)
	require.NoError(t, run.stop())
	require.Equal(t, 1, strings.Count(run.logs.String(), "database or disk is full"), run.logs)
	assert.Equal(t, count(t, m, "leads"), count(t, m, "lead_events"))

	m, err = mirror.Open(t.Context(), k.open(t, address), k.dialect)
	require.NoError(t, err)
	require.NoError(t, once(t, m, server))
	checkLeads(t, m, server)
	assert.Equal(t, count(t, m, "leads"), count(t, m, "lead_events"))
}
