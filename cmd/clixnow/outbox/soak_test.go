package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/internal/postgrestest"
)

// TestSoak signs up visitors while processes are killed, the API fails in many
// ways and is down for a while, and the database server is killed. At the end
// each sign-up must have one lead. OUTBOX_SOAK=10m runs it for ten minutes.
func TestSoak(t *testing.T) {
	t.Parallel()
	options := map[string]clixnowtest.Option{
		"search that lags": clixnowtest.WithSearchDelay(func(clixnow.Lead) time.Duration {
			return rand.N(time.Second) // longer than the 700 ms of the searches
		}),
		"no duplicate check": clixnowtest.WithoutDuplicateCheck(),
	}
	for name, option := range options {
		t.Run("SQLite, "+name, func(t *testing.T) {
			t.Parallel()
			s := newSoak(t, option, t.TempDir()+"/outbox.db")
			s.tryTimeout = time.Minute // only the next process takes jobs from a worker
			s.run(s.killServing)
		})
		t.Run("PostgreSQL, "+name, func(t *testing.T) {
			t.Parallel()
			server := postgrestest.New(t)
			s := newSoak(t, option, server.URL)
			s.run(func() { s.killWorkers(server) })
		})
	}
}

// soak is one run of the test.
type soak struct {
	*testing.T
	api      *fakeAPI
	database string
	// length is the time during which visitors arrive.
	length     time.Duration
	tryTimeout time.Duration
	// serving is the URL for sign-ups of the current process. It is a string.
	serving atomic.Value
	// suspendable is the number of requests in progress of the worker that will
	// be suspended.
	suspendable atomic.Int64
	kills       atomic.Int64

	// accepted has the click ids of all sign-ups.
	accepted []string
}

// suspendablePath is the base path of the API for the worker that will be
// suspended.
const suspendablePath = "/suspendable"

func newSoak(t *testing.T, option clixnowtest.Option, database string) *soak {
	t.Helper()
	s := &soak{
		T: t, api: newFakeAPI(t, option), database: database,
		length: 6 * time.Second, tryTimeout: 3 * time.Second,
	}
	if text := os.Getenv("OUTBOX_SOAK"); text != "" {
		var err error
		s.length, err = time.ParseDuration(text)
		require.NoError(t, err)
	}
	s.serving.Store("")
	api := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		delay()
		if rand.IntN(4) == 0 {
			s.api.Inject(randomFault())
		}
		s.api.ServeHTTP(w, r)
		delay()
	})
	mux := http.NewServeMux()
	mux.Handle("/", api)
	counted := func(w http.ResponseWriter, r *http.Request) {
		s.suspendable.Add(1)
		defer s.suspendable.Add(-1)
		api.ServeHTTP(w, r)
	}
	mux.Handle(suspendablePath+"/", http.StripPrefix(suspendablePath, http.HandlerFunc(counted)))
	s.api.handler = mux.ServeHTTP
	return s
}

func delay() { time.Sleep(rand.N(30 * time.Millisecond)) }

// randomFault returns a random fault. It never refuses the lead itself, because
// that would settle the sign-up.
func randomFault() clixnowtest.Fault {
	handled := rand.IntN(2) == 0
	switch rand.IntN(6) {
	case 0:
		return clixnowtest.Fault{Status: 429}
	case 1:
		return clixnowtest.Fault{Status: []int{301, 401, 403, 404}[rand.IntN(4)]}
	case 2:
		return clixnowtest.Fault{HandleFirst: handled, Delay: rand.N(100 * time.Millisecond)}
	case 3:
		return clixnowtest.Fault{HandleFirst: handled, Status: []int{200, 303, 500, 502, 503, 504, 520}[rand.IntN(7)]}
	default:
		return clixnowtest.Fault{Drop: clixnowtest.Drop(1 + rand.IntN(3))}
	}
}

// run signs up visitors while disturb kills processes. Then it checks the
// leads.
func (s *soak) run(disturb func()) {
	s.Helper()
	ctx, stop := context.WithTimeout(s.Context(), s.length)
	defer stop()
	var visits sync.WaitGroup
	visits.Go(func() { s.visit(ctx) })
	go func() { // the API is down for a tenth of the time
		select {
		case <-time.After(s.length / 3):
		case <-ctx.Done():
		}
		s.api.down.Store(http.StatusServiceUnavailable)
		time.Sleep(s.length / 10)
		s.api.down.Store(0)
	}()
	disturb()
	last := s.start("serve")
	visits.Wait()
	admin := last.log.find(s.T, `serving the status page" url=(\S+)`)
	eventuallySettled(s.T, admin)
	last.end(syscall.SIGTERM)
	require.Zero(s, last.code, "a graceful stop: %s", last.log)
	s.check()
}

func eventuallySettled(t *testing.T, admin string) {
	t.Helper()
	var health struct{ Pending, Doubtful, Refused, Registered int }
	eventually(t, func() bool {
		got := send(t, "GET", admin+"/healthz", "", "")
		return json.Unmarshal([]byte(got.body), &health) == nil && health.Pending == 0
	}, "%+v", &health)
}

// visit signs up visitors until ctx ends. A quarter of them make a double
// click. Visitors without a response try again.
func (s *soak) visit(ctx context.Context) {
	var visitors sync.WaitGroup
	visitCtx := context.WithoutCancel(ctx) // a visitor who has arrived goes on after ctx
	for n := 0; ctx.Err() == nil; n++ {
		clickID := fmt.Sprintf("click%d", n)
		s.accepted = append(s.accepted, clickID)
		for range 1 + max(0, rand.IntN(4)-2) {
			visitors.Go(func() { s.signUp(visitCtx, clickID) })
		}
		time.Sleep(rand.N(120 * time.Millisecond))
	}
	visitors.Wait()
}

func (s *soak) signUp(ctx context.Context, clickID string) {
	body := leadJSON(clickID, clickID+"@example.com")
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		code := post(ctx, s.serving.Load().(string)+"/signups", body)
		switch {
		case code == http.StatusOK, code == http.StatusAccepted:
			return
		case code != 0 && code != http.StatusServiceUnavailable:
			s.Errorf("%s: HTTP status %d", clickID, code)
			return
		case time.Now().After(deadline):
			s.Errorf("%s: not accepted within the deadline", clickID)
			return
		}
	}
}

// post returns the status of the response. It returns 0 if there is no
// response.
func post(ctx context.Context, address, body string) int {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		return 0
	}
	request.Close = true
	request.Header.Set("Content-Type", asJSON)
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return 0
	}
	response.Body.Close()
	return response.StatusCode
}

// killServing starts and kills processes one after another, because SQLite
// allows only one process.
func (s *soak) killServing() {
	s.Helper()
	for until := time.Now().Add(s.length); time.Now().Before(until); {
		s.runAndKill(s.start("serve"))
	}
}

// killWorkers starts and kills workers beside a process that serves. It
// suspends another worker until its jobs have been taken by others, and it
// kills the database server.
func (s *soak) killWorkers(server *postgrestest.Server) {
	s.Helper()
	serving := s.start("serve")
	until := time.Now().Add(s.length)
	var others sync.WaitGroup
	others.Go(func() {
		for time.Now().Before(until) {
			s.runAndKill(s.start("work"))
		}
	})
	suspended := s.startAt(suspendablePath, "work")
	eventually(s.T, func() bool { return s.suspendable.Load() > 0 })
	require.NoError(s, suspended.process.Process.Signal(syscall.SIGSTOP))
	time.Sleep(s.length / 3)
	server.Kill()
	time.Sleep(300 * time.Millisecond)
	server.Start()
	others.Wait()

	// River's leader rescues the jobs of dead workers when it becomes the
	// leader, and then every 30 s. The new process becomes the leader when the
	// old one has stopped. If a killed worker was the leader, this takes 15 s.
	end := time.Now()
	time.Sleep(timing{tryTimeout: s.tryTimeout}.rescueAfter())
	serving.end(syscall.SIGTERM)
	serving = s.start("serve")
	db := openDB(s.T, s.database)
	number := func(query string, args ...any) (number int) {
		require.NoError(s, db.QueryRowContext(s.Context(), query, args...).Scan(&number))
		return number
	}
	eventually(s.T, func() bool {
		return number(`SELECT count(*) FROM river_job WHERE state = 'running' AND attempted_at < $1`, end) == 0
	})
	require.NoError(s, suspended.process.Process.Signal(syscall.SIGCONT))
	time.Sleep(500 * time.Millisecond)
	suspended.end(syscall.SIGTERM)
	serving.end(syscall.SIGTERM)
	rescued := number(`SELECT count(*) FROM river_job WHERE metadata ? 'river:rescue_count'`)
	s.Logf("%d jobs were rescued", rescued)
	assert.Positive(s, rescued)
}

// child is the program in another process.
type child struct {
	process *exec.Cmd
	log     *lines
	ended   chan struct{}
	code    int
}

func (s *soak) start(command string) *child {
	s.Helper()
	return s.startAt("", command)
}

func (s *soak) startAt(path, command string) *child {
	s.Helper()
	self, err := os.Executable()
	require.NoError(s, err)
	c := &child{log: &lines{}, ended: make(chan struct{})}
	c.process = exec.CommandContext(context.Background(), self, command, "-db", s.database, "-brand", s.api.Brand,
		"-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0",
		"-wait", "300ms", "-try", s.tryTimeout.String(), "-workers", "8")
	c.process.Env = append(os.Environ(), childEnv+"="+s.api.url+path, "CLIXNOW_TOKEN="+s.api.Token)
	c.process.Stderr = c.log
	require.NoError(s, c.process.Start())
	go func() {
		_ = c.process.Wait()
		c.code = c.process.ProcessState.ExitCode()
		close(c.ended)
	}()
	s.Cleanup(func() { c.end(syscall.SIGKILL) })
	ready, name := regexp.MustCompile(`serving the status page" url=(\S+)`), "admin"
	if command == "serve" {
		ready, name = regexp.MustCompile(`serving the sign-ups" url=(\S+)`), "public"
	}
	eventually(s.T, func() bool {
		match := ready.FindStringSubmatch(c.log.String())
		if match != nil && name == "public" {
			s.serving.Store(match[1])
		}
		select {
		case <-c.ended:
			return true
		default:
			return match != nil
		}
	}, "%s does not start:\n%s", command, c.log)
	return c
}

// runAndKill lets a process run for a while and then kills it. Half of the
// processes get the chance to stop before.
func (s *soak) runAndKill(c *child) {
	time.Sleep(500*time.Millisecond + rand.N(1500*time.Millisecond))
	if rand.IntN(2) == 0 {
		_ = c.process.Process.Signal(syscall.SIGTERM)
		select {
		case <-c.ended:
		case <-time.After(rand.N(300 * time.Millisecond)):
		}
	}
	c.end(syscall.SIGKILL)
	s.kills.Add(1)
}

// end signals a process and waits for its end.
func (c *child) end(signal syscall.Signal) {
	_ = c.process.Process.Signal(signal) // it fails if the process has ended
	<-c.ended
}

// check compares the leads of the API with the table of sign-ups.
func (s *soak) check() {
	s.Helper()
	leads := make(map[string][]int64)
	for _, lead := range s.api.Leads() {
		leads[lead.Email] = append(leads[lead.Email], lead.ID)
	}
	rows, err := openDB(s.T, s.database).QueryContext(s.Context(),
		`SELECT click_id, status, coalesce(lead_id, 0), coalesce(redirect_url, ''), coalesce(problem, '') FROM signups`)
	require.NoError(s, err)
	defer func() { _ = rows.Close() }()
	found := make(map[string]int64)
	recovered := 0
	for rows.Next() {
		var (
			clickID, status, redirect, problem string
			lead                               int64
		)
		require.NoError(s, rows.Scan(&clickID, &status, &lead, &redirect, &problem))
		assert.Equal(s, string(registered), status, "%s: %s", clickID, problem)
		assert.Zero(s, found[clickID], "%s must have one row", clickID)
		found[clickID] = lead
		if redirect == "" {
			recovered++
		}
	}
	require.NoError(s, rows.Err())
	for _, clickID := range s.accepted {
		assert.Equal(s, []int64{found[clickID]}, leads[clickID+"@example.com"], "%s must have one lead", clickID)
	}
	assert.Len(s, found, len(s.accepted))
	assert.Len(s, s.api.Leads(), len(s.accepted))
	creates := 0
	for _, request := range s.api.Requests() {
		if request.Method == http.MethodPost {
			creates++
		}
	}
	s.Logf("%d sign-ups, %d kills, %d creates arrived, %d leads found by search", len(s.accepted), s.kills.Load(),
		creates, recovered)
	assert.Positive(s, recovered)
}
