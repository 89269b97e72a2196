package outbox_test

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	_ "modernc.org/sqlite"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/internal/postgrestest"
	"github.com/clixnow/clixnow-go/router"
	"github.com/clixnow/clixnow-go/store/outbox"
)

func TestMain(m *testing.M) {
	child()
	// The tests wait most of the time. A -parallel on the command line replaces
	// this.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

const password = "Pass-word-1"

// newLead returns a lead with texts that no other click id has.
func newLead(clickID string) clixnow.CreateLeadRequest {
	return clixnow.CreateLeadRequest{
		FirstName: "Allison", LastName: "Brown", Email: clickID + "@example.com", Phone: "+41" + clickID,
		Password: password, CountryCode: "CH", ClickID: clickID,
	}
}

// kind is a kind of database. Its tests run with both kinds.
type kind struct {
	dialect outbox.Dialect
	// create creates an empty database and returns its address.
	create func(*testing.T) string
}

func sqliteKind() kind {
	return kind{outbox.SQLite, func(t *testing.T) string {
		t.Helper()
		return outbox.SQLiteAddress(filepath.Join(t.TempDir(), "a name?#%.db"))
	}}
}

func postgresKind(t *testing.T) kind {
	t.Helper()
	server := postgrestest.New(t)
	return kind{outbox.PostgreSQL, func(t *testing.T) string {
		t.Helper()
		name := fmt.Sprintf("test_%x", rand.Uint64())
		_, err := kind{dialect: outbox.PostgreSQL}.open(t, server.URL).ExecContext(t.Context(), "CREATE DATABASE "+name)
		require.NoError(t, err)
		address, err := url.Parse(server.URL)
		require.NoError(t, err)
		address.Path = name
		return address.String()
	}}
}

func (k kind) driver() string {
	if k.dialect == outbox.SQLite {
		return "sqlite"
	}
	return "pgx"
}

func (k kind) open(tb testing.TB, address string) *sql.DB {
	tb.Helper()
	db, err := sql.Open(k.driver(), address)
	require.NoError(tb, err)
	tb.Cleanup(func() { assert.NoError(tb, db.Close()) })
	return db
}

// fakeAPI is a fake Clixnow whose handler a test can replace.
type fakeAPI struct {
	*clixnowtest.Server
	url    string
	client *clixnow.Client

	// down is the status of all responses while the API is down, or dropped. 0
	// means that it is up.
	down    atomic.Int64
	handler func(http.ResponseWriter, *http.Request)
}

// dropped means that the API closes the connection without a response.
const dropped = -1

func newFakeAPI(t *testing.T, options ...clixnowtest.Option) *fakeAPI {
	t.Helper()
	f := &fakeAPI{Server: clixnowtest.NewHandler(options...)}
	f.handler = f.ServeHTTP
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status := f.down.Load(); status == dropped {
			panic(http.ErrAbortHandler)
		} else if status != 0 {
			w.WriteHeader(int(status))
			return
		}
		f.handler(w, r)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	f.url = server.URL
	f.client = newClient(t, f.Brand, f.Token, f.url)
	t.Cleanup(func() {
		f.client.CloseIdleConnections()
		f.Close()
		server.Close()
	})
	return f
}

// newClient returns a client with short waits. The searches after an unknown
// outcome take 700 ms instead of 17.5 s.
func newClient(t *testing.T, brand, token, api string) *clixnow.Client {
	t.Helper()
	client, err := clixnow.NewClient(brand, token, clientOptions(api)...)
	require.NoError(t, err)
	return client
}

func clientOptions(api string) []clixnow.Option {
	return []clixnow.Option{
		clixnow.WithBaseURL(api), clixnow.WithInsecureHTTP(),
		clixnow.WithRetry(clixnow.RetryPolicy{MinBackoff: 10 * time.Millisecond, MaxBackoff: 400 * time.Millisecond}),
		clixnow.WithLooks(50*time.Millisecond, 100*time.Millisecond, 150*time.Millisecond, 400*time.Millisecond),
	}
}

// shortWaits makes all waits short.
func shortWaits(opts *outbox.Options) {
	opts.SetTiming(outbox.Timing{
		MinWait:     20 * time.Millisecond,
		MaxWait:     500 * time.Millisecond,
		Schedule:    []time.Duration{20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond},
		StopTimeout: 100 * time.Millisecond, Maintenance: 50 * time.Millisecond,
	})
}

// running is an outbox that works.
type running struct {
	*outbox.Outbox
	db   *sql.DB
	log  *lines
	stop func()
}

// start opens an outbox and works until the end of the test or until stop.
func (k kind) start(t *testing.T, address string, apis []*fakeAPI, change func(*outbox.Options)) *running {
	t.Helper()
	r := &running{db: k.open(t, address), log: &lines{}}
	opts := outbox.Options{Logger: slog.New(slog.NewTextHandler(r.log, nil)), Workers: 8, TokenKey: []byte("key")}
	for _, api := range apis {
		opts.Routes = append(opts.Routes, router.Route{Client: api.client})
	}
	shortWaits(&opts)
	if change != nil {
		change(&opts)
	}
	var err error
	r.Outbox, err = outbox.Open(t.Context(), r.db, k.dialect, opts)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Work(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		assert.NoError(t, <-ended, r.log)
	})
	t.Cleanup(r.stop)
	return r
}

func (r *running) add(t *testing.T, clickID string) *outbox.Signup {
	t.Helper()
	s, err := r.Add(t.Context(), newLead(clickID))
	require.NoError(t, err)
	return s
}

// waitFor waits until a sign-up has a status.
func (r *running) waitFor(t *testing.T, id string, want outbox.Status) *outbox.Signup {
	t.Helper()
	var s *outbox.Signup
	eventually(t, func() bool {
		var err error
		s, err = r.Get(t.Context(), id)
		require.NoError(t, err)
		return s.Status == want
	}, "%s: %v", want, r.log)
	return s
}

// lines is a log that can be read while it is written.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// longest is the limit of a wait for the outbox. It is long, because the
// machine may be busy.
const longest = 5 * time.Minute

// eventually waits for a condition.
func eventually(t *testing.T, condition func() bool, message ...any) {
	t.Helper()
	for start := time.Now(); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > longest {
			require.Fail(t, "the condition is not met", message...)
		}
	}
}

func TestSQLite(t *testing.T) {
	t.Parallel()
	sqliteKind().test(t)
}

func TestPostgreSQL(t *testing.T) {
	t.Parallel()
	postgresKind(t).test(t)
}

func (k kind) test(t *testing.T) {
	t.Helper()
	for name, test := range map[string]func(*testing.T){
		"registered": k.registered, "double click": k.doubleClick, "transaction of the caller": k.callersTransaction,
		"P8 what no retry cures is refused at once": k.texts, "same click id": k.sameClickID,
		"P24 the visitor corrects a typo while the sign-up is pending": k.correctedByVisitor,
		"tokens": k.tokens, "lists": k.lists, "options": k.options, "opened at once": k.openedAtOnce,
		"newer tables": k.newerTables, "nothing was sent": k.nothingSent, "unknown": k.unknown,
		"stale worker": k.staleWorker, "old job": k.oldJob, "duplicate that no search shows": k.duplicateNotFound,
		"full for a while": k.fullForAWhile, "stays full": k.staysFull,
		"P12 a wrong token is one clear line":   k.wrongToken,
		"P13 a few lines while the API is down": k.down, "P21 Retry-After is at most an hour": k.retryAfter,
		"brands": k.severalBrands, "brand in doubt": k.brandInDoubt,
		"a brand that fails is passed over": k.passedOver, "all brands fail": k.allFail,
		"brand that was in doubt does not take it": k.brandPassedOver,
		"corrected": k.corrected, "corrected during a try": k.correctedDuringTry, "hooks": k.hooks, "keep": k.keep,
		"carried": k.carried, "due": k.due, "stop": k.stop, "wait": k.wait, "other process": k.otherProcess,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
}
