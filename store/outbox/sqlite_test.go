package outbox_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/router"
	"github.com/clixnow/clixnow-go/store/internal/sqlitefile"
	"github.com/clixnow/clixnow-go/store/outbox"
)

// TestRestartOnSQLite checks that a new process continues at once with the
// running jobs of a killed process.
func TestRestartOnSQLite(t *testing.T) {
	t.Parallel()
	k := sqliteKind()
	api := newFakeAPI(t)
	address := k.create(t)
	long := func(opts *outbox.Options) { opts.TryTimeout = 24 * time.Hour }
	api.down.Store(429)
	r := k.start(t, address, []*fakeAPI{api}, long)
	s := r.add(t, "restart")
	eventually(t, func() bool { return r.get(t, s.ID).Tries > 0 })
	r.stop()
	_, err := r.db.ExecContext(t.Context(), `UPDATE river_job SET state = 'running', attempted_at = datetime('now')`)
	require.NoError(t, err)
	api.down.Store(0)
	r = k.start(t, address, []*fakeAPI{api}, long)
	r.waitFor(t, s.ID, outbox.Registered)
}

func TestSecondProcessOnSQLite(t *testing.T) {
	t.Parallel()
	k := sqliteKind()
	api := newFakeAPI(t)
	address := k.create(t)
	r := k.start(t, address, []*fakeAPI{api}, nil)
	r.waitFor(t, r.add(t, "first").ID, outbox.Registered)
	opts := outbox.Options{Routes: []router.Route{{Client: api.client}}}
	shortWaits(&opts)
	second, err := outbox.Open(t.Context(), k.open(t, address), k.dialect, opts)
	require.NoError(t, err)
	require.ErrorIs(t, second.Work(t.Context()), outbox.ErrLocked)
	_, err = second.MarkRestored(t.Context())
	require.ErrorIs(t, err, outbox.ErrLocked)
	opts.SetTiming(outbox.Timing{
		MinWait: 20 * time.Millisecond, StopTimeout: time.Hour, Maintenance: 50 * time.Millisecond,
	})
	second, err = outbox.Open(t.Context(), k.open(t, address), k.dialect, opts)
	require.NoError(t, err)
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		require.NoError(t, second.Work(ctx), "its context ends while it waits")
		r.stop()
	}
}

// TestStopWhileWorkBegins stops Work at each point of its start, and checks
// that it leaves no lock behind.
func TestStopWhileWorkBegins(t *testing.T) {
	t.Parallel()
	k := sqliteKind()
	api := newFakeAPI(t)
	o, err := outbox.Open(t.Context(), k.open(t, k.create(t)), outbox.SQLite, outbox.Options{
		Routes: []router.Route{{Client: api.client}},
	})
	require.NoError(t, err)
	for i := range 40 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*200*time.Microsecond)
		require.NoError(t, o.Work(ctx))
		cancel()
	}
}

// TestStopBeforeTakeOver checks that a stopped worker does not take over jobs
// later, when another process may work on them.
func TestStopBeforeTakeOver(t *testing.T) {
	t.Parallel()
	k := sqliteKind()
	api := newFakeAPI(t)
	api.down.Store(http.StatusTooManyRequests)
	address := k.create(t)
	r := k.start(t, address, []*fakeAPI{api}, nil)
	s := r.add(t, "first")
	eventually(t, func() bool { return r.get(t, s.ID).Tries > 0 })
	r.stop()
	_, err := r.db.ExecContext(t.Context(), "UPDATE river_job SET state = 'running', attempted_at = datetime('now')")
	require.NoError(t, err)
	o, err := outbox.Open(t.Context(), k.open(t, address), k.dialect, outbox.Options{
		Routes: []router.Route{{Client: api.client}},
	})
	require.NoError(t, err)

	writing, err := r.db.BeginTx(t.Context(), nil) // so that the worker has to wait
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	worked := make(chan error, 1)
	go func() { worked <- o.Work(ctx) }()
	other := k.open(t, address)
	eventually(t, func() bool {
		unlock, err := sqlitefile.Lock(t.Context(), other, 0)
		if err == nil {
			unlock()
		}
		return err != nil
	})
	stop()
	require.NoError(t, <-worked)
	require.NoError(t, writing.Rollback())
	_, err = o.Add(t.Context(), newLead("second")) // transactions that still wait come first
	require.NoError(t, err)
	var state string
	row := other.QueryRowContext(t.Context(), "SELECT state FROM river_job ORDER BY id LIMIT 1")
	require.NoError(t, row.Scan(&state))
	assert.Equal(t, "running", state)
}

// TestWrongSQLite checks that a database that was opened without the settings
// that the promise needs is refused.
func TestWrongSQLite(t *testing.T) {
	t.Parallel()
	for _, query := range []string{
		"", "_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)",
		"_pragma=journal_mode(WAL)&_pragma=secure_delete(ON)&_pragma=synchronous(NORMAL)",
		"_pragma=synchronous(FULL)&_pragma=secure_delete(ON)", "mode=memory",
	} {
		db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "signups.db")+"?"+query)
		require.NoError(t, err)
		_, err = outbox.Open(t.Context(), db, outbox.SQLite, outbox.Options{})
		require.ErrorIs(t, err, outbox.ErrWrongDatabase, query)
		require.NoError(t, db.Close())
	}
}

// TestP10NoPasswordAfterSettlement is case P10: after 1,500 sign-ups are
// settled in each of these ways, no file has a password. After they are
// deleted, no file has anything of them.
func TestP10NoPasswordAfterSettlement(t *testing.T) {
	t.Parallel()
	const number = 1500
	k := sqliteKind()
	api := newFakeAPI(t)
	folder := t.TempDir()
	address := outbox.SQLiteAddress(filepath.Join(folder, "signups.db"))
	r := k.start(t, address, []*fakeAPI{api}, func(opts *outbox.Options) { opts.Workers = 50 })
	api.down.Store(http.StatusTooManyRequests) // so that rows grow while their passwords are there
	time.AfterFunc(3*time.Second, func() { api.down.Store(0) })
	signUp(t, r, number)
	settleOtherwise(t, r, api)
	files := func() (all []byte) {
		entries, err := os.ReadDir(folder)
		require.NoError(t, err)
		for _, entry := range entries {
			info, err := entry.Info()
			require.NoError(t, err)
			assert.Equal(t, os.FileMode(0o600), info.Mode().Perm(), entry.Name())
			text, err := os.ReadFile(filepath.Join(folder, entry.Name()))
			require.NoError(t, err)
			all = append(all, text...)
		}
		return all
	}
	eventually(t, func() bool { return !bytes.Contains(files(), []byte("Secret-")) }, "while it works")
	r.stop()
	assert.NotContains(t, string(files()), "Secret-")
	assert.Contains(t, string(files()), "autologin?token=")
	assert.Contains(t, string(files()), "visitor7@example.com")
	r = k.start(t, address, []*fakeAPI{api}, func(opts *outbox.Options) { opts.Keep = time.Millisecond })
	eventually(t, func() bool { return r.number(t, `SELECT count(*) FROM outbox_signups`) == 0 })
	r.stop()
	assert.NotContains(t, string(files()), "autologin")
	assert.NotContains(t, string(files()), "@example.com")
}

// settleOtherwise settles sign-ups with passwords like Secret-a! in all ways
// but the usual one.
func settleOtherwise(t *testing.T, r *running, api *fakeAPI) {
	t.Helper()
	api.AddLeads(clixnow.Lead{Email: "refused@example.com", CreatedOn: time.Now().Add(-48 * time.Hour)})
	for _, clickID := range []string{"given-up", "corrected", "retried", "replaced"} {
		api.refuse(clickID, 1000)
	}
	ids := make(map[string]string)
	for _, clickID := range []string{"refused", "given-up", "corrected", "retried", "replaced"} {
		lead := newLead(clickID)
		lead.Password = "Secret-" + clickID + "!"
		s, err := r.Add(t.Context(), lead)
		require.NoError(t, err)
		ids[clickID] = s.ID
	}
	r.waitFor(t, ids["refused"], outbox.Refused)
	for _, clickID := range []string{"given-up", "corrected", "retried", "replaced"} {
		r.waitFor(t, ids[clickID], outbox.Doubtful)
	}
	require.NoError(t, r.GiveUp(t.Context(), ids["given-up"], "eve"))
	require.NoError(t, r.Correct(t.Context(), ids["corrected"], outbox.Correction{Email: "fixed@example.com"}, "eve"))
	replaced := newLead("replaced")
	replaced.Email, replaced.Password = "replaced2@example.com", "Secret-other!"
	_, err := r.Add(t.Context(), replaced)
	require.NoError(t, err)
	api.ClearFaults()
	require.NoError(t, r.Retry(t.Context(), ids["retried"], "eve"))
	for _, clickID := range []string{"corrected", "retried", "replaced"} {
		r.waitFor(t, ids[clickID], outbox.Registered)
	}
}

// signUp adds sign-ups with passwords like Secret-7! and waits for them.
func signUp(t *testing.T, r *running, number int) {
	t.Helper()
	var wait sync.WaitGroup
	slots := make(chan struct{}, 500)
	for i := range number {
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			lead := newLead(fmt.Sprint("visitor", i))
			lead.Password = fmt.Sprintf("Secret-%d!", i)
			s, err := r.Add(t.Context(), lead)
			if assert.NoError(t, err) {
				assert.Equal(t, outbox.Registered, r.wait(t, s.ID).Status)
			}
		})
	}
	wait.Wait()
}

// TestBackup makes backups while sign-ups are added and registered.
func TestBackup(t *testing.T) {
	t.Parallel()
	k := sqliteKind()
	api := newFakeAPI(t)
	folder := t.TempDir()
	r := k.start(t, k.create(t), []*fakeAPI{api}, nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		signUp(t, r, 300)
	}()
	backups := 0
	for running := true; running; backups++ {
		select {
		case <-done:
			running = false
		case <-time.After(100 * time.Millisecond): // others must get a turn
		}
		path := filepath.Join(folder, fmt.Sprintf("it's backup %d.db", backups))
		require.NoError(t, r.Backup(t.Context(), path))
		info, err := os.Stat(path)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	}
	for i := range backups {
		file := url.URL{
			Scheme: "file",
			Opaque: (&url.URL{Path: filepath.Join(folder, fmt.Sprintf("it's backup %d.db", i))}).EscapedPath(),
		}
		db := k.open(t, file.String())
		var check string
		require.NoError(t, db.QueryRowContext(t.Context(), `PRAGMA integrity_check`).Scan(&check))
		assert.Equal(t, "ok", check)
		var orphans int
		require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(*) FROM outbox_signups WHERE status = 'pending'
			AND job_id NOT IN (SELECT id FROM river_job WHERE state <> 'completed')`).Scan(&orphans))
		assert.Zero(t, orphans, "each pending sign-up has its job")
	}
	t.Logf("%d backups", backups)
	path := filepath.Join(folder, "it's backup 0.db")
	require.ErrorContains(t, r.Backup(t.Context(), path), "exists")
	assert.FileExists(t, path, "an existing file is kept")
}

// TestRestoredBackup checks that leads that were registered after a backup are
// not registered again.
func TestRestoredBackup(t *testing.T) {
	t.Parallel()
	for name, brands := range map[string][]string{"one brand": {"acme"}, "two brands": {"acme", "beta"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := sqliteKind()
			var apis []*fakeAPI
			for _, brand := range brands {
				apis = append(apis, newFakeAPI(t, clixnowtest.WithBrand(brand), clixnowtest.WithoutDuplicateCheck()))
				apis[len(apis)-1].Inject(clixnowtest.Fault{
					Status: 429, Header: http.Header{"Retry-After": {"3600"}}, Times: 1000,
				})
			}
			backup := filepath.Join(t.TempDir(), "backup.db")
			r := k.start(t, k.create(t), apis, nil)
			s := r.add(t, "restored")
			eventually(t, func() bool { return time.Until(r.get(t, s.ID).NextTryAt) > time.Minute })
			require.NoError(t, r.Backup(t.Context(), backup))
			for _, api := range apis {
				api.ClearFaults()
			}
			require.NoError(t, r.Retry(t.Context(), s.ID, "eve"))
			r.waitFor(t, s.ID, outbox.Registered)
			r.stop()

			address := outbox.SQLiteAddress(backup)
			opts := outbox.Options{}
			for _, api := range apis {
				opts.Routes = append(opts.Routes, router.Route{Client: api.client})
			}
			o, err := outbox.Open(t.Context(), k.open(t, address), k.dialect, opts)
			require.NoError(t, err)
			_, err = o.MarkRestored(t.Context())
			require.NoError(t, err)
			r = k.start(t, address, apis, nil)
			if len(apis) == 1 {
				require.NoError(t, r.Retry(t.Context(), s.ID, "eve"))
			}
			want := outbox.Registered
			if len(apis) > 1 {
				want = outbox.Doubtful
			}
			got := r.waitFor(t, s.ID, want)
			leads := []clixnow.Lead{}
			for _, api := range apis {
				leads = append(leads, api.Leads()...)
			}
			assert.Len(t, leads, 1)
			if want == outbox.Doubtful {
				assert.True(t, strings.HasPrefix(got.Problem, "restored from a backup"))
			}
		})
	}
}

// TestDiskFull checks that a full disk refuses sign-ups and loses none.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	k := sqliteKind()
	api := newFakeAPI(t)
	address := k.create(t)
	full := &running{db: k.open(t, address+"&_pragma=max_page_count(120)"), log: &lines{}}
	var err error
	full.Outbox, err = outbox.Open(t.Context(), full.db, k.dialect, outbox.Options{})
	require.NoError(t, err)
	var accepted []string
	var refused error
	for i := 0; refused == nil; i++ {
		var s *outbox.Signup
		lead := newLead(fmt.Sprint("full", i))
		lead.Comment = strings.Repeat("x", 900)
		if s, refused = full.Add(t.Context(), lead); refused == nil {
			accepted = append(accepted, s.ID)
		}
	}
	require.ErrorIs(t, refused, outbox.ErrDatabase)
	require.ErrorContains(t, refused, "full")
	require.NotEmpty(t, accepted)
	r := k.start(t, address, []*fakeAPI{api}, nil)
	for _, id := range accepted {
		r.waitFor(t, id, outbox.Registered)
	}
	assert.Len(t, api.Leads(), len(accepted))
}
