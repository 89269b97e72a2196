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
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/postgrestest"
)

const childEnv = "OUTBOX_TEST_API" // the API's address makes this test binary the program

func TestMain(m *testing.M) {
	if api := os.Getenv(childEnv); api != "" {
		os.Exit(beProgram(api))
	}
	// they wait, most of the time; a -parallel that is given wins
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// beProgram is main, in the time of a test.
func beProgram(api string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c, err := parse(os.Args[1:], os.Stderr)
	if err == nil {
		hasten(c, api)
		err = run(ctx, c)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "outbox:", err)
		return 1
	}
	return 0
}

// hasten makes all waits short: four looks take 700 ms instead of 17.5 s.
func hasten(c *config, api string) {
	c.pace.first, c.pace.last, c.pace.stop = 20*time.Millisecond, 500*time.Millisecond, 100*time.Millisecond
	c.options = []clixnow.Option{
		clixnow.WithBaseURL(api),
		clixnow.WithRetry(clixnow.RetryPolicy{MinBackoff: 10 * time.Millisecond, MaxBackoff: 400 * time.Millisecond}),
	}
}

// TestProgram tests the program on each kind of database.
func TestProgram(t *testing.T) {
	t.Parallel()
	tests := map[string]func(t *testing.T, database string){
		"sign-up": testSignUp, "slow API": testSlowAPI, "admin": testAdmin, "worker": testWorker, "stop": testStop,
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
				_, err := peek(t, server.URL).ExecContext(t.Context(), `CREATE DATABASE "`+name+`"`)
				require.NoError(t, err)
				address, err := url.Parse(server.URL)
				require.NoError(t, err)
				address.Path = name
				test(t, address.String())
			})
		}
	})
}

// world is a fake Clixnow behind a door.
type world struct {
	*clixnowtest.Server
	url string

	down atomic.Int64 // where not zero, it answers this to everything and does nothing
	door func(http.ResponseWriter, *http.Request)
}

func newWorld(t *testing.T, options ...clixnowtest.Option) *world {
	t.Helper()
	w := &world{Server: clixnowtest.NewHandler(options...)}
	w.door = w.ServeHTTP
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if status := w.down.Load(); status != 0 {
			rw.WriteHeader(int(status))
			return
		}
		w.door(rw, r)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	t.Cleanup(func() {
		w.Close()
		server.Close()
	})
	w.url = server.URL
	return w
}

// program is one that runs in this process.
type program struct {
	public, admin string
	log           *lines
	stop          func() error
}

func start(t *testing.T, api *world, database string, change func(*config)) *program {
	t.Helper()
	log := &lines{}
	c,
		err := parse([]string{
		"serve", "-db", database, "-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0", "-wait",
		"1m", "-workers", "8",
	}, log)
	require.NoError(t, err)
	c.brand, c.token = api.Brand, api.Token
	hasten(c, api.url)
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

// lines is a log that can be searched while it is written.
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

// eventually waits for a condition. The machine may be busy.
func eventually(t *testing.T, condition func() bool, message ...any) {
	t.Helper()
	within(t, 3*time.Minute, condition, message...)
}

func within(t *testing.T, limit time.Duration, condition func() bool, message ...any) {
	t.Helper()
	for begun := time.Now(); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) > limit {
			require.Fail(t, "it does not come to pass", message...)
		}
	}
}
