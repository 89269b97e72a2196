package postback_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/store/mirror"
	"github.com/clixnow/clixnow-go/store/postback"
)

// These variables make the test binary a process that follows two brands and
// sends postbacks until it is killed.
const (
	childDialect = "POSTBACK_TEST_DIALECT"
	childDB      = "POSTBACK_TEST_DB"
	childBrands  = "POSTBACK_TEST_BRANDS"
	childTracker = "POSTBACK_TEST_TRACKER"
)

func TestMain(m *testing.M) {
	if os.Getenv(childDB) == "" {
		goleak.VerifyTestMain(m)
	}
	if err := child(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func child(ctx context.Context) error {
	dialect := mirror.Dialect(os.Getenv(childDialect))
	driver := map[mirror.Dialect]string{mirror.SQLite: "sqlite", mirror.PostgreSQL: "pgx"}[dialect]
	db, err := sql.Open(driver, os.Getenv(childDB))
	if err != nil {
		return err
	}
	m, err := mirror.Open(ctx, db, dialect)
	if err != nil {
		return err
	}
	var clients []*clixnow.Client
	for i, address := range bytes.Fields([]byte(os.Getenv(childBrands))) {
		client, err := clixnow.NewClient(fmt.Sprint("brand", i), "test-token",
			clixnow.WithBaseURL(string(address)))
		if err != nil {
			return err
		}
		clients = append(clients, client)
	}
	s, err := postback.New(ctx, m, postback.Options{From: time.Unix(1, 0), Destinations: killDestinations(
		os.Getenv(childTracker))})
	if err != nil {
		return err
	}
	failed := make(chan error, 2)
	go func() { failed <- s.Run(ctx) }()
	go func() { failed <- m.Run(ctx, mirror.RunOptions{Clients: clients, PollInterval: 20 * time.Millisecond}) }()
	return <-failed
}

// killDestinations returns two destinations at one tracker.
func killDestinations(tracker string) (all []postback.Destination) {
	for i := range 2 {
		all = append(all, postback.Destination{
			Name: fmt.Sprint("to", i), AllowPrivate: []string{"127.0.0.1"}, Concurrency: 2,
			URL: fmt.Sprint(tracker, "/?to=", i,
				"&click={clickId}&brand={brand}&lead={leadId}&event={event}&status={status}&id={eventId}"),
			Events: []clixnow.LeadEvent{
				clixnow.LeadCreated, clixnow.LeadStatusChanged, clixnow.LeadDeposited, clixnow.LeadDepositWithdrawn,
			},
		})
	}
	return all
}

// TestKilled kills the process many times between a request and its response,
// or just after it, while leads of two brands change. CLIXNOW_KILLS=100 sets
// the number of kills.
func TestKilled(t *testing.T) {
	t.Parallel()
	kills := 8
	if text := os.Getenv("CLIXNOW_KILLS"); text != "" {
		var err error
		kills, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	onBoth(t, func(t *testing.T, k kind) { killRepeatedly(t, newWorld(t, k), kills) })
}

func killRepeatedly(t *testing.T, w *world, kills int) {
	t.Helper()
	brands := []*clixnowtest.Server{
		clixnowtest.NewServer(clixnowtest.WithToken("test-token")),
		clixnowtest.NewServer(clixnowtest.WithToken("test-token")),
	}
	for _, brand := range brands {
		defer brand.Close()
	}
	var mu sync.Mutex
	var process *os.Process
	uncommitted, untilKill := 0, 0
	w.setAnswer(func(_ http.ResponseWriter, r *http.Request) {
		const find = "SELECT count(*) FROM lead_events WHERE brand = $1 AND lead_id = $2 AND event = $3 AND status = $4"
		var found int
		f := r.Form
		id, _ := strconv.ParseInt(f.Get("lead"), 10, 64)
		err := w.mirror.DB().QueryRowContext(context.WithoutCancel(r.Context()), find,
			f.Get("brand"), id, f.Get("event"), f.Get("status")).Scan(&found)
		mu.Lock()
		defer mu.Unlock()
		if err != nil || found == 0 {
			uncommitted++
		}
		if untilKill--; untilKill == 0 {
			kill := func() { _ = process.Kill() }
			switch rand.IntN(3) {
			case 0:
				kill()
			case 1:
				time.AfterFunc(time.Duration(rand.IntN(3000))*time.Microsecond, kill)
			default:
				time.AfterFunc(time.Duration(rand.IntN(30))*time.Millisecond, kill)
			}
		}
	})
	n := 0
	change := func() {
		for i, brand := range brands {
			n++
			leads := brand.Leads()
			if len(leads) < 5 {
				brand.AddLeads(clixnow.Lead{Status: fmt.Sprint("s", n), ClickID: fmt.Sprint("c", i, n), BrandName: "x"})
				continue
			}
			assert.NoError(t, brand.UpdateLead(leads[rand.IntN(len(leads))].ID, func(l *clixnow.Lead) {
				l.Status = fmt.Sprint("s", n)
				switch rand.IntN(4) {
				case 0:
					l.FTDDate = time.Now()
				case 1:
					l.FTDDate = time.Time{}
				}
			}))
		}
	}
	logs, err := os.Create(filepath.Join(t.TempDir(), "logs"))
	require.NoError(t, err)
	defer func() { _ = logs.Close() }()
	text := func() string {
		text, _ := os.ReadFile(logs.Name())
		return string(text)
	}
	start := func() *exec.Cmd {
		command := exec.CommandContext(t.Context(), os.Args[0])
		command.Env = append(os.Environ(), childDialect+"="+string(w.kind.dialect), childDB+"="+w.db,
			childTracker+"="+w.URL, childBrands+"="+brands[0].URL+" "+brands[1].URL)
		command.Stderr = logs
		require.NoError(t, command.Start())
		return command
	}
	for range kills {
		mu.Lock()
		command := start()
		process, untilKill = command.Process, 1+rand.IntN(12)
		mu.Unlock()
		stop := make(chan struct{})
		var writer sync.WaitGroup
		writer.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(5 * time.Millisecond):
					change()
				}
			}
		})
		err := command.Wait()
		close(stop)
		writer.Wait()
		require.ErrorContains(t, err, "killed", text())
	}
	command := start()
	s, err := postback.New(t.Context(), w.mirror, postback.Options{Destinations: killDestinations(w.URL)})
	require.ErrorIs(t, err, mirror.ErrTakenOver)
	require.Nil(t, s)
	require.Eventually(t, func() bool { return w.settled(brands) }, 5*time.Minute, 50*time.Millisecond)
	require.NoError(t, command.Process.Kill())
	require.ErrorContains(t, command.Wait(), "killed", text())
	assert.Zero(t, uncommitted, "a postback before the commit of its event")
	w.checkDeliveries(t)
}

// settled reports whether all changes are in the mirror, and all events sent.
func (w *world) settled(brands []*clixnowtest.Server) bool {
	ctx := context.Background()
	for i, brand := range brands {
		for _, lead := range brand.Leads() {
			var status string
			err := w.mirror.DB().QueryRowContext(ctx, "SELECT status FROM leads WHERE brand = $1 AND id = $2",
				fmt.Sprint("brand", i), lead.ID).Scan(&status)
			if err != nil || status != lead.Status {
				return false
			}
		}
	}
	const left = "SELECT (SELECT count(*) FROM postback_queue) + (" +
		"SELECT count(*) FROM mirror_readers r, mirror_owner o " +
		"WHERE r.name LIKE 'postback %' AND r.event_id < o.last_event)"
	var n int
	return w.mirror.DB().QueryRowContext(ctx, left).Scan(&n) == nil && n == 0
}

// checkDeliveries compares the requests of each destination with the events of
// the mirror: each event at least once, in the order of its lead, always with
// the same id.
func (w *world) checkDeliveries(t *testing.T) {
	t.Helper()
	const statement = "SELECT brand, lead_id, event, status FROM lead_events ORDER BY id"
	rows, err := w.mirror.DB().QueryContext(t.Context(), statement)
	require.NoError(t, err)
	recorded := make(map[string][]string)
	for rows.Next() {
		var brand, event, status string
		var id int64
		require.NoError(t, rows.Scan(&brand, &id, &event, &status))
		lead := fmt.Sprint(brand, " ", id)
		recorded[lead] = append(recorded[lead], event+" "+status)
	}
	require.NoError(t, rows.Err())
	require.NoError(t, rows.Close())
	require.NotEmpty(t, recorded)
	total, repeated := 0, 0
	for to := range 2 {
		sent := make(map[string][]string)
		ids := make(map[string]string)
		for _, r := range w.requests {
			f := r.Form
			if f.Get("to") != strconv.Itoa(to) {
				continue
			}
			total++
			lead, event := f.Get("brand")+" "+f.Get("lead"), f.Get("event")+" "+f.Get("status")
			known, again := ids[lead+event]
			if !again {
				sent[lead] = append(sent[lead], event)
				ids[lead+event] = f.Get("id")
				continue
			}
			repeated++
			assert.Equal(t, known, f.Get("id"), "%s %s", lead, event)
			assert.Equal(t, event, sent[lead][len(sent[lead])-1], "an event was repeated after a later one")
		}
		assert.Equal(t, recorded, sent)
	}
	t.Logf("%d requests, %d of them repeated", total, repeated)
}
