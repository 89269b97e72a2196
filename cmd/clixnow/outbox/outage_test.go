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

// TestOutage checks that no sign-up is lost while the API is down. The log
// shows how long the registrations take afterwards. With OUTBOX_OUTAGE=3m the
// API is down for three minutes, and the waits have their real length. This
// takes twelve minutes.
func TestOutage(t *testing.T) {
	t.Parallel()
	outage, realTime := 2*time.Second, false
	if text := os.Getenv("OUTBOX_OUTAGE"); text != "" {
		var err error
		outage, err = time.ParseDuration(text)
		require.NoError(t, err)
		realTime = true
	}
	api := newFakeAPI(t)
	database := t.TempDir() + "/outbox.db"
	p := start(t, api, database, func(c *config) {
		if realTime {
			c.workers = 50
			c.timing.minWait, c.timing.maxWait = time.Second, 5*time.Minute
			c.options = c.options[:1] // only the base URL, so that the waits have their real length
		}
		c.wait = time.Millisecond
	})
	const during, after = 20, 5
	signUp := func(n int) {
		got := send(t, "POST", p.public+"/signups", asJSON, leadJSON(strconv.Itoa(n), fmt.Sprintf("%d@example.com", n)))
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
	db := openDB(t, database)
	within(t, 15*time.Minute, func() bool {
		var unfinished int
		const query = `SELECT count(*) FROM signups WHERE status <> 'registered'`
		require.NoError(t, db.QueryRowContext(t.Context(), query).Scan(&unfinished))
		return unfinished == 0
	})
	assert.Len(t, api.Leads(), during+after)

	rows, err := db.QueryContext(t.Context(), `SELECT created_at, settled_at, tries FROM signups ORDER BY created_at`)
	require.NoError(t, err)
	defer func() { _ = rows.Close() }()
	// times are measured from the end of the outage, or from a later sign-up.
	var times []time.Duration
	for rows.Next() {
		var created, settled, tries int64
		require.NoError(t, rows.Scan(&created, &settled, &tries))
		times = append(times, time.UnixMilli(settled).Sub(time.UnixMilli(max(created, up.UnixMilli()))))
	}
	require.NoError(t, rows.Err())
	logTimes := func(group string, times []time.Duration) {
		slices.Sort(times)
		t.Logf("%-40s half after %6.1f s, all after %6.1f s", group, times[len(times)/2].Seconds(),
			times[len(times)-1].Seconds())
	}
	for quarter := range 4 {
		logTimes(fmt.Sprintf("signed up in quarter %d of the outage:", quarter+1),
			times[quarter*during/4:(quarter+1)*during/4])
	}
	logTimes("signed up after the outage:", times[during:])
	require.NoError(t, p.stop())
}
