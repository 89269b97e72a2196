package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/internal/postgrestest"
)

// broker changes leads and records their history. Each change sets a new
// status, so that an event shows to which version of the lead it belongs.
type broker struct {
	*program
	random *rand.Rand
	// history has the versions of each lead, the oldest first.
	history map[int64][]clixnow.Lead
	ids     []int64
	changes int
}

// newBroker returns a broker with leads of a month. Its clock starts a month
// ago and runs 600 times faster. So the overlap of two passes, a minute, is
// only a tenth of a second. If the program skips a change, the overlap does not
// hide that.
func newBroker(t *testing.T, database string, seed uint64) *broker {
	t.Helper()
	began := time.Now()
	clock := func() time.Time { return began.Add(-30*24*time.Hour + 600*time.Since(began)) }
	b := &broker{
		program: newProgram(t, database, clixnowtest.WithClock(clock)),
		random:  rand.New(rand.NewPCG(seed, 0)),
		history: make(map[int64][]clixnow.Lead),
	}
	leads := lastMonth(1200)
	for i := range leads {
		leads[i].CreatedOn = leads[i].CreatedOn.Add(-30 * 24 * time.Hour)
		leads[i].UpdatedOn = leads[i].CreatedOn
		leads[i].Status = b.newStatus()
	}
	b.record(b.AddLeads(leads...)...)
	return b
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

// check compares the database with the leads and their history. printed is the
// output of all runs.
func (b *broker) check(t *testing.T, printed string) {
	t.Helper()
	checkLeads(t, b.program)
	recorded := make(map[int64][]event)
	for _, event := range allEvents(t, b.database) {
		recorded[event.lead] = append(recorded[event.lead], event)
		// require.Contains would show the whole output in its message.
		require.True(t, strings.Contains(printed, event.String()+"\n"), "not printed: %s", event)
	}
	require.Len(t, recorded, len(b.history))
	for id, events := range recorded {
		checkEvents(t, b.history[id], events)
	}
	assert.Equal(t, [][]string{{"0"}},
		query(t, b.database, "SELECT count(*) FROM lead_events WHERE printed_at IS NULL"))
}

// checkEvents checks that the events of a lead follow its history. Versions
// between two passes may have no events. The last version must have its events.
// No event may be repeated.
func checkEvents(t *testing.T, history []clixnow.Lead, events []event) {
	t.Helper()
	var seen *clixnow.Lead
	for i := range history {
		version := &history[i]
		var want, got []string
		for len(events) > 0 && events[0].status == version.Status {
			got = append(got, fmt.Sprint(events[0].kind, " from ", events[0].statusBefore))
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

func allEvents(t *testing.T, database string) (events []event) {
	t.Helper()
	rows, err := open(t, database).QueryContext(t.Context(),
		"SELECT id, lead_id, event, status_before, status, ftd_date, updated_on FROM lead_events ORDER BY id")
	require.NoError(t, err)
	defer func() { assert.NoError(t, rows.Close()) }()
	for rows.Next() {
		var e event
		require.NoError(t, rows.Scan(&e.id, &e.lead, &e.kind, &e.statusBefore, &e.status, &e.ftdDate, &e.updatedOn))
		events = append(events, e)
	}
	require.NoError(t, rows.Err())
	return events
}

// TestKilled kills the program many times while leads change. CLIXNOW_KILLS=500
// sets the number of kills. CLIXNOW_SEED=7 repeats the random choices of a run,
// but not its timing.
func TestKilled(t *testing.T) {
	t.Parallel()
	kills := envInt(t, "CLIXNOW_KILLS", 20)
	seed := uint64(envInt(t, "CLIXNOW_SEED", int(time.Now().UnixNano()%1e6)))
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		killRepeatedly(t, newBroker(t, filepath.Join(t.TempDir(), "leads.db"), seed), kills)
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		killRepeatedly(t, newBroker(t, postgrestest.New(t).URL, seed), kills)
	})
	t.Logf("CLIXNOW_SEED=%d", seed)
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

func killRepeatedly(t *testing.T, b *broker, kills int) {
	t.Helper()
	random := rand.New(rand.NewPCG(b.random.Uint64(), 1))
	output, err := os.Create(filepath.Join(t.TempDir(), "output"))
	require.NoError(t, err)
	defer func() { assert.NoError(t, output.Close()) }()
	var logs bytes.Buffer
	start := func(flags ...string) *exec.Cmd {
		command := exec.CommandContext(t.Context(), os.Args[0], b.args(flags...)...)
		command.Env = append(os.Environ(), childEnv+"=1", "CLIXNOW_TOKEN="+b.Token)
		command.Stdout, command.Stderr = output, &logs
		require.NoError(t, command.Start())
		return command
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var writer sync.WaitGroup
	var workErr error
	writer.Go(func() { workErr = b.work(ctx) })
	for range kills {
		child := start("-poll", "10ms")
		requests := len(b.Requests()) + random.IntN(8)
		eventually(t, func() bool { return len(b.Requests()) >= requests })
		time.Sleep(time.Duration(random.IntN(150)) * time.Millisecond)
		require.NoError(t, child.Process.Kill())
		require.ErrorContains(t, child.Wait(), "killed", logs.String())
	}
	cancel()
	writer.Wait()
	require.NoError(t, workErr)
	require.NoError(t, start("-once").Wait(), logs.String())
	printed, err := os.ReadFile(output.Name())
	require.NoError(t, err)
	b.check(t, string(printed))
	t.Logf("%d kills, %d changes, %d events printed", kills, b.changes, strings.Count(string(printed), "\n"))
}

// TestDatabaseKilled kills PostgreSQL and starts it again while the program
// runs.
func TestDatabaseKilled(t *testing.T) {
	t.Parallel()
	server := postgrestest.New(t)
	b := newBroker(t, server.URL, 1)
	running := b.start(t, "-poll", "10ms")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var writer sync.WaitGroup
	var workErr error
	writer.Go(func() { workErr = b.work(ctx) })
	outages := func() int { return strings.Count(b.logs.String(), "waiting for the database") }
	for range 3 {
		printed := len(b.out.lines())
		eventually(t, func() bool { return len(b.out.lines()) > printed+50 })
		before := outages()
		server.Kill()
		eventually(t, func() bool { return outages() > before })
		server.Start()
	}
	cancel()
	writer.Wait()
	require.NoError(t, workErr)
	require.NoError(t, running.stop(), b.logs.String())
	require.NoError(t, b.run(t.Context(), "-once"))
	b.check(t, b.out.String())
}
