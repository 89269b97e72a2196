package main

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The API is down for a while and sign-ups go on: none is lost. The log tells
// in what order they are registered afterwards. OUTBOX_OUTAGE=3m keeps it down
// for three minutes, in the real time of the program: twelve minutes in all.
func TestOutage(t *testing.T) {
	t.Parallel()
	outage, realTime := 2*time.Second, false
	if text := os.Getenv("OUTBOX_OUTAGE"); text != "" {
		var err error
		outage, err = time.ParseDuration(text)
		require.NoError(t, err)
		realTime = true
	}
	api := newWorld(t)
	database := t.TempDir() + "/outbox.db"
	p := start(t, api, database, func(c *config) {
		if realTime {
			c.workers = 50
			c.pace.first, c.pace.last = time.Second, 5*time.Minute
			c.options = c.options[:1] // without the short waits
		}
		c.wait = time.Millisecond
	})
	const during, after = 20, 5
	signUp := func(n int) {
		got := ask(t, "POST", p.public+"/signups", asJSON, leadJSON(strconv.Itoa(n), fmt.Sprintf("%d@example.com", n)))
		require.Contains(t, []int{http.StatusAccepted, http.StatusOK}, got.code, got.body)
	}
	api.down.Store(http.StatusServiceUnavailable)
	for n := range during {
		signUp(n)
		time.Sleep(outage / during)
	}
	up := time.Now()
	api.down.Store(0)
	for n := range after {
		signUp(during + n)
		time.Sleep(outage / during)
	}
	db := peek(t, database)
	within(t, 15*time.Minute, func() bool {
		var left int
		require.NoError(t,
			db.QueryRowContext(t.Context(), `SELECT count(*) FROM signups WHERE status <> 'registered'`).Scan(&left))
		return left == 0
	})
	assert.Len(t, api.Leads(), during+after)

	rows, err := db.QueryContext(t.Context(), `SELECT created_at, settled_at, tries FROM signups ORDER BY created_at`)
	require.NoError(t, err)
	defer func() { _ = rows.Close() }()
	var took []time.Duration // from when the API was up again, or from the sign-up where that came later
	for rows.Next() {
		var created, settled, tries int64
		require.NoError(t, rows.Scan(&created, &settled, &tries))
		took = append(took, time.UnixMilli(settled).Sub(time.UnixMilli(max(created, up.UnixMilli()))))
	}
	require.NoError(t, rows.Err())
	tell := func(what string, some []time.Duration) {
		slices.Sort(some)
		t.Logf("%-40s half after %6.1f s, all after %6.1f s", what, some[len(some)/2].Seconds(),
			some[len(some)-1].Seconds())
	}
	for quarter := range 4 {
		tell(fmt.Sprintf("signed up in quarter %d of the outage:", quarter+1),
			took[quarter*during/4:(quarter+1)*during/4])
	}
	tell("signed up after it:", took[during:])
	require.NoError(t, p.stop())
}
