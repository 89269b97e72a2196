package postback_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/internal/postgrestest"
	"github.com/clixnow/clixnow-go/store/mirror"
	"github.com/clixnow/clixnow-go/store/postback"
)

// kind is a kind of database. Its tests run with both kinds.
type kind struct {
	dialect mirror.Dialect
	// create creates an empty database and returns its address.
	create func(*testing.T) string
}

func sqliteKind() kind {
	return kind{mirror.SQLite, func(t *testing.T) string {
		t.Helper()
		return "file:" + filepath.Join(t.TempDir(), "leads.db") +
			"?_txlock=immediate&_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)"
	}}
}

// postgresKind creates its databases on one server.
func postgresKind(server *postgrestest.Server) kind {
	return kind{mirror.PostgreSQL, func(t *testing.T) string {
		t.Helper()
		name := fmt.Sprintf("test_%x", rand.Uint64())
		_, err := openDB(t, mirror.PostgreSQL, server.URL).ExecContext(t.Context(), "CREATE DATABASE "+name)
		require.NoError(t, err)
		address, err := url.Parse(server.URL)
		require.NoError(t, err)
		address.Path = name
		return address.String()
	}}
}

// onBoth runs a test with both kinds of databases.
func onBoth(t *testing.T, test func(*testing.T, kind)) {
	t.Helper()
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		test(t, sqliteKind())
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		test(t, postgresKind(postgrestest.New(t)))
	})
}

func openDB(t *testing.T, dialect mirror.Dialect, address string) *sql.DB {
	t.Helper()
	driver := map[mirror.Dialect]string{mirror.SQLite: "sqlite", mirror.PostgreSQL: "pgx"}[dialect]
	db, err := sql.Open(driver, address)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	return db
}

// world is a mirror and a tracker.
type world struct {
	*tracker
	t      *testing.T
	kind   kind
	db     string
	mirror *mirror.Mirror
}

func newWorld(t *testing.T, k kind) *world {
	t.Helper()
	w := &world{tracker: newTracker(t), t: t, kind: k, db: k.create(t)}
	w.open()
	return w
}

// open makes a new connection the owner of the mirror.
func (w *world) open() {
	w.t.Helper()
	var err error
	w.mirror, err = mirror.Open(w.t.Context(), openDB(w.t, w.kind.dialect, w.db), w.kind.dialect)
	require.NoError(w.t, err)
}

// save saves leads of brand acme in a transaction for each of them.
func (w *world) save(leads ...clixnow.Lead) {
	w.t.Helper()
	for _, lead := range leads {
		w.saveAll([]clixnow.Lead{lead})
	}
}

// saveAll saves leads in one transaction.
func (w *world) saveAll(leads []clixnow.Lead) {
	w.t.Helper()
	require.NoError(w.t, w.mirror.Transact(w.t.Context(), "test", func(ctx context.Context, tx *sql.Tx) error {
		_, err := w.mirror.Apply(ctx, tx, "acme", leads)
		return err
	}))
}

// destination returns a destination for all events, at the tracker. It sends
// one request at a time.
func (w *world) destination() postback.Destination {
	return postback.Destination{
		Name: "tracker", URL: w.URL + "/?click={clickId}&lead={leadId}&event={event}&status={status}&id={eventId}",
		AllowPrivate: []string{"127.0.0.1"}, Concurrency: 1,
		Events: []clixnow.LeadEvent{"created", "status changed", "deposited", "deposit withdrawn"},
	}
}

// sender returns a sender whose new destinations start at from.
func (w *world) sender(from time.Time, destinations ...postback.Destination) *postback.Sender {
	w.t.Helper()
	s, err := postback.New(w.t.Context(), w.mirror, postback.Options{Destinations: destinations, From: from})
	require.NoError(w.t, err)
	return s
}

// once sends what is due.
func (w *world) once(s *postback.Sender) {
	w.t.Helper()
	require.NoError(w.t, s.Once(w.t.Context()))
}

func (w *world) health(s *postback.Sender) postback.Health {
	w.t.Helper()
	all, err := s.Health(w.t.Context())
	require.NoError(w.t, err)
	require.Len(w.t, all, 1)
	return all[0]
}

// exec changes the database directly.
func (w *world) exec(statement string, args ...any) {
	w.t.Helper()
	_, err := w.mirror.DB().ExecContext(w.t.Context(), statement, args...)
	require.NoError(w.t, err)
}

// retryNow ends all waits, and returns a new sender.
func (w *world) retryNow(d postback.Destination) *postback.Sender {
	w.t.Helper()
	past := moment(0).Format("2006-01-02T15:04:05.000000Z")
	w.exec("UPDATE postback_queue SET due_at = $1", past)
	w.exec("UPDATE postback_destinations SET paused_until = NULL")
	return w.sender(moment(0), d)
}

// moment is a time of the tests, some minutes after a fixed time.
func moment(minutes int) time.Time {
	return time.Date(2026, 5, 1, 12, minutes, 0, 0, time.UTC)
}

// lead returns a version of a lead that was created at moment(0).
func lead(id int64, status string, updated int, deposit ...int) clixnow.Lead {
	l := clixnow.Lead{
		ID: id, Email: fmt.Sprintf("lead%d@example.com", id), Status: status, ClickID: fmt.Sprintf("click-%d", id),
		CreatedOn: moment(0), UpdatedOn: moment(updated),
	}
	if len(deposit) > 0 {
		l.FTDDate = moment(deposit[0])
	}
	return l
}

// tracker is a server that records requests.
type tracker struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
	// answer answers a request. nil means 200.
	answer http.HandlerFunc
}

func newTracker(t *testing.T) *tracker {
	t.Helper()
	tr := &tracker{}
	tr.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		tr.mu.Lock()
		tr.requests = append(tr.requests, r)
		answer := tr.answer
		tr.mu.Unlock()
		if answer != nil {
			answer(w, r)
		}
	}))
	t.Cleanup(tr.Close)
	return tr
}

func (tr *tracker) setAnswer(answer http.HandlerFunc) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.answer = answer
}

// taken returns the values of a parameter in all requests since the last call.
func (tr *tracker) taken(parameter string) (all []string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for _, r := range tr.requests {
		all = append(all, r.Form.Get(parameter))
	}
	tr.requests = nil
	return all
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}
