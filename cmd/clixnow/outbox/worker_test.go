package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// TestNext checks whether a failed try settles the sign-up, is retried, or
// needs a person.
func TestNext(t *testing.T) {
	t.Parallel()
	const settled, retried, person = "settled", "retried", "person"
	response := func(status int, message string) error {
		return fmt.Errorf("create: %w", &clixnow.APIError{StatusCode: status, Message: message})
	}
	field := map[string][]string{"phone": {"Not a phone number."}}
	unknown := fmt.Errorf("%w: cut", clixnow.ErrOutcomeUnknown)
	unknownDuplicate := errors.Join(unknown, response(400, "Duplicate lead"))
	tests := []struct {
		name string
		err  error
		// inDoubt is how long the lead has been in doubt, and refusals is the
		// number of earlier temporary refusals.
		inDoubt  time.Duration
		refusals int
		want     string
	}{
		{"invalid request", &clixnow.ValidationError{}, 0, 0, settled},
		{"400 with a field", &clixnow.APIError{StatusCode: 400, Fields: field}, 0, 0, settled},
		{"409 with a field", &clixnow.APIError{StatusCode: 409, Fields: field}, 0, 0, settled},
		{"422 with a field", &clixnow.APIError{StatusCode: 422, Fields: field}, 0, 5, settled},
		{"duplicate", response(409, "Duplicate lead"), 0, 0, settled},
		{"country", response(400, "Registration is not allowed for country CH"), 0, 0, settled},

		{"400 Daily cap reached", response(400, "Daily cap reached"), 0, 0, retried},
		{"404 No hubs available", response(404, "No hubs available"), 0, 4, retried},
		{"409 without a text", response(409, ""), 0, 0, retried},
		{"no capacity", errors.Join(clixnow.ErrRefused, clixnow.ErrNoCapacity), 0, 4, retried},
		{"sixth 400 Daily cap reached", response(400, "Daily cap reached"), 0, 5, person},
		{"sixth no capacity", errors.Join(clixnow.ErrRefused, clixnow.ErrNoCapacity), 0, 5, person},

		{"wrong token", response(401, ""), 0, 5, retried},
		{"forbidden", response(403, "No."), 0, 5, retried},
		{"wrong host", response(404, ""), 0, 5, retried},
		{"redirect", response(302, ""), 0, 5, retried},
		{"not sent", fmt.Errorf("%w: no route", clixnow.ErrNotSent), 0, 5, retried},
		{"rate limited", response(429, ""), 0, 5, retried},

		{"unknown", unknown, 0, 5, retried},
		{"408", response(408, ""), 0, 5, retried},
		{"499", response(499, "Duplicate lead"), 0, 5, retried},
		{"error without a class", errors.New("broken"), 0, 5, retried},
		{"unknown, and a later attempt refused", errors.Join(unknown, response(401, "")), 0, 5, retried},
		{"unknown, and a duplicate", unknownDuplicate, 0, 0, retried},
		{"unknown, and a duplicate, for 59 minutes", unknownDuplicate, 59 * time.Minute, 0, retried},
		{"unknown, and a duplicate, for 61 minutes", unknownDuplicate, 61 * time.Minute, 0, person},
		{"unknown for 23 hours", unknown, 23 * time.Hour, 0, retried},
		{"unknown for 25 hours", unknown, 25 * time.Hour, 0, person},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := &claimed{refusals: test.refusals}
			if test.inDoubt > 0 {
				c.firstAttempt = time.Now().Add(-test.inDoubt)
			}
			got := retried
			switch {
			case isFinal(test.err):
				got = settled
			case defaultTiming().needsPerson(c, test.err):
				got = person
			}
			assert.Equal(t, test.want, got)
		})
	}
}

func TestTiming(t *testing.T) {
	t.Parallel()
	p := defaultTiming()
	p.tryTimeout, p.maxWait = 2*time.Minute, 5*time.Minute
	assert.Equal(t, 3*time.Minute, p.rescueAfter())
	full := &clixnow.APIError{StatusCode: 400, Message: "Daily cap reached"}
	tests := []struct {
		try      int64
		refusals int
		err      error
		min, max time.Duration
	}{
		{1, 0, nil, 750 * time.Millisecond, time.Second},
		{2, 0, nil, 1500 * time.Millisecond, 2 * time.Second},
		{9, 0, nil, 192 * time.Second, 256 * time.Second},
		{10, 0, nil, 225 * time.Second, 300 * time.Second},
		{1 << 40, 0, nil, 225 * time.Second, 300 * time.Second},
		{1, 0, &clixnow.APIError{RetryAfter: time.Hour}, time.Hour, time.Hour},
		{10, 0, &clixnow.APIError{RetryAfter: time.Second}, 225 * time.Second, 300 * time.Second},

		{1, 0, full, 5 * time.Minute, 5 * time.Minute},
		{90, 0, full, 5 * time.Minute, 5 * time.Minute},
		{2, 1, full, 15 * time.Minute, 15 * time.Minute},
		{3, 2, full, time.Hour, time.Hour},
		{4, 3, full, 3 * time.Hour, 3 * time.Hour},
		{5, 4, full, 6 * time.Hour, 6 * time.Hour},
		{1, 0, &clixnow.APIError{StatusCode: 404, Message: "No hubs", RetryAfter: time.Hour}, time.Hour, time.Hour},
		// A wrong token is not the brand's decision about this lead.
		{10, 4, &clixnow.APIError{StatusCode: 401}, 225 * time.Second, 300 * time.Second},
	}
	for _, test := range tests {
		for range 100 {
			wait := p.wait(&claimed{tryNumber: test.try, refusals: test.refusals}, test.err)
			require.GreaterOrEqual(t, wait, test.min, "%+v", test)
			require.LessOrEqual(t, wait, test.max, "%+v", test)
		}
	}
}

// TestDeadlineLimiter checks that a try sends nothing after its deadline, even
// if its context has not ended yet.
func TestDeadlineLimiter(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t)
	c := &config{brand: api.Brand, token: api.Token}
	shortenWaits(c, api.url)
	client, err := newClient(c)
	require.NoError(t, err)
	defer client.CloseIdleConnections()
	lead := clixnow.CreateLeadRequest{
		FirstName: "Allison", LastName: "Brown", Email: "late@example.com", Phone: "+41123456789", Password: password,
		CountryCode: "CH",
	}
	_, err = client.SearchLeadsPage(t.Context(), clixnow.SearchLeadsRequest{}) // opens a connection
	require.NoError(t, err)
	_, err = client.EnsureLead(lateContext{t.Context()}, lead)
	require.ErrorIs(t, err, clixnow.ErrNotSent)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Len(t, api.Requests(), 1)
	ahead, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, deadlineLimiter{}.Wait(ahead))
	require.NoError(t, deadlineLimiter{}.Wait(t.Context()))
}

// lateContext is a context whose deadline has passed but whose timer has not
// run yet, as after a suspension of the process.
type lateContext struct{ context.Context }

func (lateContext) Deadline() (time.Time, bool) { return time.Now().Add(-time.Millisecond), true }

// openDB opens a second connection to the database of a program.
func openDB(t *testing.T, database string) *sql.DB {
	t.Helper()
	driver, address := "pgx", database
	if !isPostgres(database) {
		db, err := openSQLiteFile(database, "_pragma=busy_timeout(60000)")
		require.NoError(t, err)
		t.Cleanup(func() { _ = db.Close() })
		return db
	}
	db, err := sql.Open(driver, address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// signUpWhileDown stores a sign-up while the API answers every request with a
// status. It returns the URL of the sign-up's status.
func signUpWhileDown(t *testing.T, api *fakeAPI, p *program, status int64, clickID string) (statusURL string) {
	t.Helper()
	api.down.Store(status)
	got := send(t, "POST", p.public+"/signups", asJSON, leadJSON(clickID, clickID+"@example.com"))
	require.Equal(t, http.StatusAccepted, got.code, got.body)
	return got.json(t)["statusUrl"]
}

// waitForCode waits until the status page of a sign-up has a status code.
func waitForCode(t *testing.T, p *program, statusURL string, code int) {
	t.Helper()
	eventually(t, func() bool { return send(t, "GET", p.public+statusURL, "", "").code == code })
}

func testWorker(t *testing.T, database string) {
	t.Helper()
	api := newFakeAPI(t)
	p := start(t, api, database, func(c *config) { c.wait = 100 * time.Millisecond })
	db := openDB(t, database)
	one := func(t *testing.T, query string, args ...any) (value sql.NullInt64) {
		t.Helper()
		require.NoError(t, db.QueryRowContext(t.Context(), query, args...).Scan(&value))
		return value
	}
	tries := func(t *testing.T, clickID string) int64 {
		t.Helper()
		return one(t, `SELECT tries FROM signups WHERE click_id = $1`, clickID).Int64
	}

	t.Run("nothing was sent", func(t *testing.T) {
		statusURL := signUpWhileDown(t, api, p, http.StatusTooManyRequests, "limited")
		eventually(t, func() bool { return tries(t, "limited") > 3 })
		eventually(t, func() bool {
			return !one(t, `SELECT first_attempt_at FROM signups WHERE click_id = 'limited'`).Valid
		}, "after a 429 the lead does not exist")
		api.down.Store(0)
		waitForCode(t, p, statusURL, http.StatusOK)
		for _, request := range api.Requests() {
			assert.Equal(t, http.MethodPost, request.Method, "there is nothing to search for")
		}
		assert.Len(t, api.Leads(), 1)
	})

	t.Run("unknown", func(t *testing.T) {
		api.Inject(clixnowtest.Fault{Method: "POST", Drop: clixnowtest.DropAfterHandling},
			clixnowtest.Fault{Method: "GET", Status: 400, Times: 2})
		statusURL := signUpWhileDown(t, api, p, 0, "unknown")
		waitForCode(t, p, statusURL, http.StatusOK)
		got := send(t, "GET", p.public+statusURL, "", "").json(t)
		assert.Equal(t, map[string]string{"status": "registered"}, got, "a lead found by search has no redirect URL")
		page := send(t, "GET", p.public+statusURL, "", "", "Accept", "text/html").body
		assert.Contains(t, page, "Your account has been created")
		assert.Len(t, api.Leads(), 2)
	})

	t.Run("refused after another worker's claim", func(t *testing.T) {
		api.Inject(clixnowtest.Fault{
			Method: "POST", Delay: 3 * time.Second, Status: 400,
			Body: `{"message":"Duplicate lead"}`,
		})
		statusURL := signUpWhileDown(t, api, p, 0, "stale")
		eventually(t, func() bool { return tries(t, "stale") == 1 })
		// This is what the claim of another worker does.
		_, err := db.ExecContext(t.Context(), `UPDATE signups SET tries = 2 WHERE click_id = 'stale'`)
		require.NoError(t, err)
		waitForCode(t, p, statusURL, http.StatusOK)
		assert.Positive(t, one(t, `SELECT lead_id FROM signups WHERE click_id = 'stale'`).Int64)
		assert.Equal(t, int64(3), tries(t, "stale"))
	})

	t.Run("duplicate that no search shows", func(t *testing.T) {
		// With the click id of another sign-up, it cannot be this lead.
		api.AddLeads(clixnow.Lead{
			Email: "doubt@example.com", ClickID: "another", CreatedOn: time.Now().Add(-48 * time.Hour),
		})
		statusURL := signUpWhileDown(t, api, p, http.StatusUnauthorized, "doubt")
		twoHours := time.Now().Add(-2 * time.Hour).UnixMilli()
		eventually(t, func() bool { // a try in progress may reset the value, so this is repeated
			const update = `UPDATE signups SET first_attempt_at = $1 WHERE click_id = 'doubt'`
			_, err := db.ExecContext(t.Context(), update, twoHours)
			require.NoError(t, err)
			before := tries(t, "doubt")
			eventually(t, func() bool { return tries(t, "doubt") > before+1 })
			return one(t, `SELECT first_attempt_at FROM signups WHERE click_id = 'doubt'`).Int64 == twoHours
		})
		api.down.Store(0)
		doubtfuls := func() string { return send(t, "GET", p.admin+"/?status=doubtful", "", "").body }
		eventually(t, func() bool { return regexp.MustCompile(`doubt@example\.com`).MatchString(doubtfuls()) })
		waitForCode(t, p, statusURL, http.StatusAccepted)
		details := regexp.MustCompile(`/signups/\w+`).FindString(doubtfuls())
		assert.Contains(t, send(t, "GET", p.admin+details, "", "").body, "Give up")

		before := tries(t, "doubt")
		require.Equal(t, http.StatusSeeOther, send(t, "POST", p.admin+details+"/retry", asForm, "").code)
		eventually(t, func() bool { return tries(t, "doubt") == before+1 })
		eventually(t, func() bool { return regexp.MustCompile(`doubt@example\.com`).MatchString(doubtfuls()) })
		require.Equal(t, http.StatusSeeOther, send(t, "POST", p.admin+details+"/give-up", asForm, "").code)
		waitForCode(t, p, statusURL, http.StatusUnprocessableEntity)
		assert.Equal(t, "You are already registered.", send(t, "GET", p.public+statusURL, "", "").json(t)["problem"])
	})

	refuseNow := func(clickID string, times int) {
		api.Inject(clixnowtest.Fault{
			Email: clickID + "@example.com", Times: times, Status: http.StatusBadRequest,
			Body: `{"message":"Daily cap reached"}`,
		})
	}
	t.Run("brand that is full for a while", func(t *testing.T) {
		before := len(api.Requests())
		refuseNow("full", 2)
		waitForCode(t, p, signUpWhileDown(t, api, p, 0, "full"), http.StatusOK)
		assert.Equal(t, int64(3), tries(t, "full"))
		for _, request := range api.Requests()[before:] {
			assert.Equal(t, http.MethodPost, request.Method, "there is nothing to search for")
		}
	})

	t.Run("brand that stays full", func(t *testing.T) {
		refuseNow("closed", 4)
		statusURL := signUpWhileDown(t, api, p, 0, "closed")
		doubtfuls := func() string { return send(t, "GET", p.admin+"/?status=doubtful", "", "").body }
		eventually(t, func() bool { return strings.Contains(doubtfuls(), "closed@example.com") })
		waitForCode(t, p, statusURL, http.StatusAccepted)
		assert.Equal(t, int64(4), tries(t, "closed"))
		path := regexp.MustCompile(`/signups/\w+`).FindString(doubtfuls())
		page := send(t, "GET", p.admin+path, "", "").body
		assert.Contains(t, page, "Daily cap reached")
		assert.Contains(t, page, "nothing was created")

		refuseNow("closed", 1)
		jobOf := func() int64 { return one(t, `SELECT job_id FROM signups WHERE click_id = 'closed'`).Int64 }
		completed := jobOf()
		require.Equal(t, http.StatusSeeOther, send(t, "POST", p.admin+path+"/retry", asForm, "").code)
		assert.NotEqual(t, completed, jobOf(), "River may complete the old job once more")
		waitForCode(t, p, statusURL, http.StatusOK) // the waits begin with the first one
		assert.Equal(t, int64(6), tries(t, "closed"))

		refuseNow("given-up", 4)
		statusURL = signUpWhileDown(t, api, p, 0, "given-up")
		eventually(t, func() bool { return strings.Contains(doubtfuls(), "given-up@example.com") })
		path = regexp.MustCompile(`/signups/\w+`).FindString(doubtfuls())
		require.Equal(t, http.StatusSeeOther, send(t, "POST", p.admin+path+"/give-up", asForm, "").code)
		waitForCode(t, p, statusURL, http.StatusUnprocessableEntity)
		assert.Equal(t, "Your sign-up was not accepted.", send(t, "GET", p.public+statusURL, "", "").json(t)["problem"])
		assert.Contains(t, send(t, "GET", p.admin+"/metrics", "", "").body,
			`outbox_tries_total{outcome="refused",reason="other"} 11`)
	})

	t.Run("passwords deleted and jobs completed", func(t *testing.T) {
		assert.Zero(t, one(t, `SELECT count(*) FROM signups WHERE password IS NOT NULL`).Int64)
		eventually(t,
			func() bool { return one(t, `SELECT count(*) FROM river_job WHERE state <> 'completed'`).Int64 == 0 })
	})
}

func testStop(t *testing.T, database string) {
	t.Helper()
	api := newFakeAPI(t)
	slow := func(c *config) { c.wait = 10 * time.Millisecond }
	p := start(t, api, database, slow)
	api.Inject(clixnowtest.Fault{Method: "POST", HandleFirst: true, Delay: time.Hour})
	statusURL := send(t, "POST", p.public+"/signups", asJSON,
		leadJSON("stopped", "stopped@example.com")).json(t)["statusUrl"]
	eventually(t, func() bool { return len(api.Leads()) == 1 })
	require.NoError(t, p.stop(), "a stop cancels a try that takes too long")

	p = start(t, api, database, slow)
	waitForCode(t, p, statusURL, http.StatusOK)
	require.NoError(t, p.stop())
	assert.Len(t, api.Leads(), 1)
}

// TestRestartOnSQLite checks that a new process continues at once with the
// running jobs of a killed process.
func TestRestartOnSQLite(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t)
	database := t.TempDir() + "/outbox.db"
	long := func(c *config) { c.wait, c.timing.tryTimeout = 10*time.Millisecond, 24*time.Hour }
	p := start(t, api, database, long)
	statusURL := signUpWhileDown(t, api, p, http.StatusTooManyRequests, "restart")
	require.NoError(t, p.stop())
	const update = `UPDATE river_job SET state = 'running', attempted_at = datetime('now')`
	_, err := openDB(t, database).ExecContext(t.Context(), update)
	require.NoError(t, err)
	api.down.Store(0)
	p = start(t, api, database, long)
	waitForCode(t, p, statusURL, http.StatusOK)
}

func TestSecondProcessOnSQLite(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t)
	database := t.TempDir() + "/outbox.db"
	p := start(t, api, database, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := openDatabase(ctx, database, nil)
	require.ErrorContains(t, err, "another process")
	require.NoError(t, p.stop())
}

// TestRestoredBackup runs the statement of the README for a restored backup.
func TestRestoredBackup(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	statement := regexp.MustCompile("1. `(UPDATE [^`]+)`").FindSubmatch(readme)
	require.NotNil(t, statement)
	api := newFakeAPI(t, clixnowtest.WithoutDuplicateCheck())
	folder := t.TempDir()
	p := start(t, api, folder+"/outbox.db", func(c *config) { c.wait = time.Millisecond })
	statusURL := signUpWhileDown(t, api, p, http.StatusTooManyRequests, "restored")
	db := openDB(t, folder+"/outbox.db")
	eventually(t, func() bool {
		_, err := db.ExecContext(t.Context(), `VACUUM INTO '`+folder+`/backup.db'`)
		require.NoError(t, err)
		var doubt bool
		require.NoError(t, openDB(t, folder+"/backup.db").QueryRowContext(t.Context(),
			`SELECT first_attempt_at IS NOT NULL FROM signups`).Scan(&doubt))
		if doubt { // a try was in progress
			require.NoError(t, os.Remove(folder+"/backup.db"))
		}
		return !doubt
	})
	api.down.Store(0)
	waitForCode(t, p, statusURL, http.StatusOK)
	require.NoError(t, p.stop())

	_, err = openDB(t, folder+"/backup.db").ExecContext(t.Context(), string(statement[1]))
	require.NoError(t, err)
	p = start(t, api, folder+"/backup.db", nil)
	waitForCode(t, p, statusURL, http.StatusOK)
	assert.Len(t, api.Leads(), 1)
}

// testOldTable checks that the program adds the column that a table of the
// first version does not have.
func testOldTable(t *testing.T, database string) {
	t.Helper()
	old := regexp.MustCompile("(?m)^\trefusals .*$").ReplaceAllString(schema, "")
	require.NotEqual(t, schema, old)
	_, err := openDB(t, database).ExecContext(t.Context(), old)
	require.NoError(t, err)
	api := newFakeAPI(t)
	p := start(t, api, database, nil)
	got := send(t, "POST", p.public+"/signups", asJSON, leadJSON("old", "old@example.com"))
	assert.Equal(t, http.StatusOK, got.code, got.body)
	require.NoError(t, p.stop())
}
