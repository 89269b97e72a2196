package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/internal/postgrestest"
)

// childEnv is set to the API's address if a test starts this binary as the
// program.
const childEnv = "OUTBOX_TEST_API"

func TestMain(m *testing.M) {
	if api := os.Getenv(childEnv); api != "" {
		os.Exit(runProgram(api))
	}
	// The tests wait most of the time. A -parallel on the command line replaces
	// this.
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// runProgram is main with short waits.
func runProgram(api string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c, err := parse(os.Args[1:], os.Stderr)
	if err == nil {
		shortenWaits(c, api)
		err = run(ctx, c)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "outbox:", err)
		return 1
	}
	return 0
}

// shortenWaits makes all waits short. The searches after an unknown outcome
// take 700 ms instead of 17.5 s.
func shortenWaits(c *config, api string) {
	c.timing.minWait, c.timing.maxWait = 20*time.Millisecond, 500*time.Millisecond
	c.timing.refusedWaits = []time.Duration{20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond}
	c.timing.stopTimeout = 100 * time.Millisecond
	c.options = []clixnow.Option{
		clixnow.WithBaseURL(api),
		clixnow.WithRetry(clixnow.RetryPolicy{MinBackoff: 10 * time.Millisecond, MaxBackoff: 400 * time.Millisecond}),
		clixnow.WithLooks(50*time.Millisecond, 100*time.Millisecond, 150*time.Millisecond, 400*time.Millisecond),
	}
}

// TestProgram tests the program on each kind of database.
func TestProgram(t *testing.T) {
	t.Parallel()
	tests := map[string]func(t *testing.T, database string){
		"sign-up": testSignUp, "slow API": testSlowAPI, "admin": testAdmin, "worker": testWorker, "stop": testStop,
		"old table": testOldTable,
	}
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, t.TempDir()+"/a name?#%.db")
			})
		}
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		server := postgrestest.New(t)
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				_, err := openDB(t, server.URL).ExecContext(t.Context(), `CREATE DATABASE "`+name+`"`)
				require.NoError(t, err)
				address, err := url.Parse(server.URL)
				require.NoError(t, err)
				address.Path = name
				test(t, address.String())
			})
		}
	})
}

// fakeAPI is a fake Clixnow whose handler a test can replace.
type fakeAPI struct {
	*clixnowtest.Server
	url string

	// down is the status of all responses while the API is down. 0 means that
	// it is up.
	down    atomic.Int64
	handler func(http.ResponseWriter, *http.Request)
}

func newFakeAPI(t *testing.T, options ...clixnowtest.Option) *fakeAPI {
	t.Helper()
	f := &fakeAPI{Server: clixnowtest.NewHandler(options...)}
	f.handler = f.ServeHTTP
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status := f.down.Load(); status != 0 {
			w.WriteHeader(int(status))
			return
		}
		f.handler(w, r)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	t.Cleanup(func() {
		f.Close()
		server.Close()
	})
	f.url = server.URL
	return f
}

// program is outbox running in this process.
type program struct {
	public, admin string
	log           *lines
	stop          func() error
}

func start(t *testing.T, api *fakeAPI, database string, change func(*config)) *program {
	t.Helper()
	log := &lines{}
	c, err := parse([]string{
		"serve", "-db", database, "-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0",
		"-wait", "1m", "-workers", "8",
	}, log)
	require.NoError(t, err)
	c.brand, c.token = api.Brand, api.Token
	shortenWaits(c, api.url)
	if change != nil {
		change(c)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, c) }()
	p := &program{log: log}
	p.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { _ = p.stop() })
	p.admin = log.find(t, `serving the status page" url=(\S+)`)
	p.public = log.find(t, `serving the sign-ups" url=(\S+)`)
	return p
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

// find waits until the log matches an expression, and returns the first group.
func (l *lines) find(t *testing.T, expression string) (found string) {
	t.Helper()
	eventually(t, func() bool {
		if match := regexp.MustCompile(expression).FindStringSubmatch(l.String()); match != nil {
			found = match[1]
		}
		return found != ""
	}, "the log has no %s:\n%s", expression, l)
	return found
}

// eventually waits for a condition. The limit is long, because the machine may
// be busy.
func eventually(t *testing.T, condition func() bool, message ...any) {
	t.Helper()
	within(t, 3*time.Minute, condition, message...)
}

func within(t *testing.T, limit time.Duration, condition func() bool, message ...any) {
	t.Helper()
	for start := time.Now(); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > limit {
			require.Fail(t, "the condition is not met", message...)
		}
	}
}
