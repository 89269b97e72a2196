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
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/postgrestest"
)

// broker changes leads, and remembers their history. Each change gives a lead a
// status that it never had, so that a recorded event tells of which version it
// is.
type broker struct {
	*program
	random  *rand.Rand
	history map[int64][]clixnow.Lead // versions, the oldest first
	ids     []int64
	changes int
}

// newBroker begins with a history of a month. Its clock is slow at first, and
// runs fast: a minute, the overlap of two passes, is over in a tenth of a
// second. So what a lost position has passed over does not come again by
// itself.
func newBroker(t *testing.T, database string, seed uint64) *broker {
	t.Helper()
	began := time.Now()
	clock := func() time.Time {
		passed := time.Since(began)
		return began.Add(-30*24*time.Hour + 600*passed)
	}
	b := &broker{
		program: newProgram(t, database, clixnowtest.WithClock(clock)),
		random:  rand.New(rand.NewPCG(seed, 0)),
		history: make(map[int64][]clixnow.Lead),
	}
	leads := month(1200)
	for i := range leads {
		leads[i].CreatedOn = leads[i].CreatedOn.Add(-30 * 24 * time.Hour)
		leads[i].UpdatedOn = leads[i].CreatedOn
		leads[i].Status = b.status()
	}
	b.remember(b.AddLeads(leads...)...)
	return b
}

func (b *broker) status() string {
	b.changes++
	return "status " + strconv.Itoa(b.changes)
}

func (b *broker) remember(leads ...clixnow.Lead) {
	for _, lead := range leads {
		if len(b.history[lead.ID]) == 0 {
			b.ids = append(b.ids, lead.ID)
		}
		b.history[lead.ID] = append(b.history[lead.ID], lead)
	}
}

// work changes leads, mostly some of the last ones, until ctx is done.
func (b *broker) work(ctx context.Context) error {
	for ctx.Err() == nil {
		if b.random.IntN(4) == 0 {
			b.remember(b.AddLeads(clixnow.Lead{Status: b.status()})...)
		}
		id := b.ids[max(0, len(b.ids)-1-b.random.IntN(50))]
		var now clixnow.Lead
		err := b.UpdateLead(id, func(lead *clixnow.Lead) {
			lead.Status = b.status()
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
		b.remember(now)
		time.Sleep(time.Duration(10+b.random.IntN(50)) * time.Millisecond)
	}
	return nil
}

// check compares the database with the leads, and with their history.
func (b *broker) check(t *testing.T, printed string) {
	t.Helper()
	checkLeads(t, b.program)
	recorded := make(map[int64][]event)
	for _, event := range allEvents(t, b.database) {
		recorded[event.lead] = append(recorded[event.lead], event)
		// Contains would show all of it
		require.True(t, strings.Contains(printed, event.String()+"\n"), "not printed: %s", event)
	}
	require.Len(t, recorded, len(b.history))
	for id, events := range recorded {
		checkEvents(t, b.history[id], events)
	}
	assert.Equal(t, [][]string{{"0"}},
		query(t, b.database, "SELECT count(*) FROM lead_events WHERE printed_at IS NULL"))
}

// checkEvents replays events: those of one version after the other, of the last
// one too, each once.
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
			continue // a state between two passes
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
	require.Empty(t, events, "recorded twice, or in another order")
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

// The program is killed again and again while leads change. CLIXNOW_KILLS=500
// kills it that often; CLIXNOW_SEED=7 repeats a run, as far as times do not
// matter.
func TestKilled(t *testing.T) {
	t.Parallel()
	kills := number(t, "CLIXNOW_KILLS", 20)
	seed := uint64(number(t, "CLIXNOW_SEED", int(time.Now().UnixNano()%1e6)))
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		killAgainAndAgain(t, newBroker(t, filepath.Join(t.TempDir(), "leads.db"), seed), kills)
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		killAgainAndAgain(t, newBroker(t, postgrestest.New(t).URL, seed), kills)
	})
	t.Logf("CLIXNOW_SEED=%d", seed)
}

func number(t *testing.T, name string, unset int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return unset
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}

func killAgainAndAgain(t *testing.T, b *broker, kills int) {
	t.Helper()
	random := rand.New(rand.NewPCG(b.random.Uint64(), 1))
	output, err := os.Create(filepath.Join(t.TempDir(), "output"))
	require.NoError(t, err)
	defer func() { assert.NoError(t, output.Close()) }()
	var logs bytes.Buffer
	child := func(more ...string) *exec.Cmd {
		command := exec.CommandContext(t.Context(), os.Args[0], b.args(more...)...)
		command.Env = append(os.Environ(), childEnv+"=1", "CLIXNOW_TOKEN="+b.Token)
		command.Stdout, command.Stderr = output, &logs
		require.NoError(t, command.Start())
		return command
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var writer sync.WaitGroup
	var failed error
	writer.Go(func() { failed = b.work(ctx) })
	for range kills {
		victim := child("-poll", "10ms")
		requests := len(b.Requests()) + random.IntN(8)
		eventually(t, func() bool { return len(b.Requests()) >= requests }) // it comes this far
		time.Sleep(time.Duration(random.IntN(150)) * time.Millisecond)
		require.NoError(t, victim.Process.Kill())
		require.ErrorContains(t, victim.Wait(), "killed", logs.String())
	}
	cancel()
	writer.Wait()
	require.NoError(t, failed)
	require.NoError(t, child("-once").Wait(), logs.String())
	printed, err := os.ReadFile(output.Name())
	require.NoError(t, err)
	b.check(t, string(printed))
	t.Logf("%d kills, %d changes, %d events printed", kills, b.changes, strings.Count(string(printed), "\n"))
}

// PostgreSQL itself dies and comes back, while the program goes on.
func TestDatabaseKilled(t *testing.T) {
	t.Parallel()
	server := postgrestest.New(t)
	b := newBroker(t, server.URL, 1)
	running := b.start(t, "-poll", "10ms")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var writer sync.WaitGroup
	var failed error
	writer.Go(func() { failed = b.work(ctx) })
	for range 3 {
		printed := len(b.out.lines())
		eventually(t, func() bool { return len(b.out.lines()) > printed+50 })
		outages := strings.Count(b.logs.String(), "will go on when the database answers")
		server.Kill()
		eventually(t,
			func() bool { return strings.Count(b.logs.String(), "will go on when the database answers") > outages })
		server.Start()
	}
	cancel()
	writer.Wait()
	require.NoError(t, failed)
	require.NoError(t, running.stop(), b.logs.String())
	require.NoError(t, b.run(t.Context(), "-once"))
	b.check(t, b.out.String())
}
