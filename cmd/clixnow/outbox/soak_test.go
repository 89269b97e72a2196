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
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/postgrestest"
)

// Sign-ups arrive while processes are killed again and again, the API errs at
// every point and is down for a while, and the database server is killed too.
// Then each sign-up has its own lead, once. OUTBOX_SOAK=10m goes on for ten
// minutes.
func TestSoak(t *testing.T) {
	t.Parallel()
	worlds := map[string]clixnowtest.Option{
		"search that lags": clixnowtest.WithSearchDelay(func(clixnow.Lead) time.Duration {
			return rand.N(time.Second) // four looks take 700 ms
		}),
		"no duplicate check": clixnowtest.WithoutDuplicateCheck(),
	}
	for name, option := range worlds {
		t.Run("SQLite, "+name, func(t *testing.T) {
			t.Parallel()
			s := newSoak(t, option, t.TempDir()+"/outbox.db")
			s.try = time.Minute // nobody but the next process takes anything away from a worker
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

// soak is one run.
type soak struct {
	*testing.T
	api      *world
	database string
	length   time.Duration // of the arrivals
	try      time.Duration
	serving  atomic.Value // the URL for sign-ups of the process that serves, a string
	suspect  atomic.Int64 // requests at the API of the process that is to be suspended
	kills    atomic.Int64

	accepted []string // click ids
}

const suspectPath = "/suspect"

func newSoak(t *testing.T, option clixnowtest.Option, database string) *soak {
	t.Helper()
	s := &soak{T: t, api: newWorld(t, option), database: database, length: 6 * time.Second, try: 3 * time.Second}
	if text := os.Getenv("OUTBOX_SOAK"); text != "" {
		var err error
		s.length, err = time.ParseDuration(text)
		require.NoError(t, err)
	}
	s.serving.Store("")
	api := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		travel()
		if rand.IntN(4) == 0 {
			s.api.Inject(randomFault())
		}
		s.api.ServeHTTP(w, r)
		travel()
	})
	mux := http.NewServeMux()
	mux.Handle("/", api)
	mux.Handle(suspectPath+"/",
		http.StripPrefix(suspectPath, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.suspect.Add(1)
			defer s.suspect.Add(-1)
			api.ServeHTTP(w, r)
		})))
	s.api.door = mux.ServeHTTP
	return s
}

func travel() { time.Sleep(rand.N(30 * time.Millisecond)) } // whoever dies meanwhile

// randomFault returns what goes wrong with a request. The lead itself is never
// refused, which would be an end.
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

// run lets sign-ups arrive while havoc does what it does, and then judges.
func (s *soak) run(havoc func()) {
	s.Helper()
	arriving, stop := context.WithTimeout(s.Context(), s.length)
	defer stop()
	var arrivals sync.WaitGroup
	arrivals.Go(func() { s.arrive(arriving) })
	go func() { // the API is down for a tenth of the time
		select {
		case <-time.After(s.length / 3):
		case <-arriving.Done():
		}
		s.api.down.Store(http.StatusServiceUnavailable)
		time.Sleep(s.length / 10)
		s.api.down.Store(0)
	}()
	havoc()
	last := s.start("serve")
	arrivals.Wait()
	admin := last.log.find(s.T, `serving the status page" url=(\S+)`)
	eventuallySettled(s.T, admin)
	last.end(syscall.SIGTERM)
	require.Zero(s, last.code, "a graceful stop: %s", last.log)
	s.judge()
}

func eventuallySettled(t *testing.T, admin string) {
	t.Helper()
	var health struct{ Pending, Doubtful, Refused, Registered int }
	eventually(t, func() bool {
		got := ask(t, "GET", admin+"/healthz", "", "")
		return json.Unmarshal([]byte(got.body), &health) == nil && health.Pending == 0
	}, "%+v", &health)
}

// arrive signs up again and again, a quarter by a double click. Whoever is not
// answered tries again, as a visitor would.
func (s *soak) arrive(ctx context.Context) {
	var visitors sync.WaitGroup
	visiting := context.WithoutCancel(ctx) // who has arrived stays
	for n := 0; ctx.Err() == nil; n++ {
		clickID := fmt.Sprintf("click%d", n)
		s.accepted = append(s.accepted, clickID)
		for range 1 + max(0, rand.IntN(4)-2) {
			visitors.Go(func() { s.signUp(visiting, clickID) })
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
			s.Errorf("%s: nobody takes it", clickID)
			return
		}
	}
}

// post returns the status of the answer, 0 where there is none.
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

// killServing starts and kills the one process that SQLite allows.
func (s *soak) killServing() {
	s.Helper()
	for until := time.Now().Add(s.length); time.Now().Before(until); {
		s.live(s.start("serve"))
	}
}

// killWorkers starts and kills one worker beside a process that serves; another
// worker is suspended until what it was at has been taken from it, and the
// database server is killed.
func (s *soak) killWorkers(server *postgrestest.Server) {
	s.Helper()
	serving := s.start("serve")
	until := time.Now().Add(s.length)
	var others sync.WaitGroup
	others.Go(func() {
		for time.Now().Before(until) {
			s.live(s.start("work"))
		}
	})
	suspended := s.startAt(suspectPath, "work")
	eventually(s.T, func() bool { return s.suspect.Load() > 0 })
	require.NoError(s, suspended.process.Process.Signal(syscall.SIGSTOP))
	time.Sleep(s.length / 3)
	server.Kill()
	time.Sleep(300 * time.Millisecond)
	server.Start()
	others.Wait()

	// A leader looks for the dead when it takes office, and then each 30 s.
	// This one takes office when the first is gone and, where a killed worker
	// led, after 15 s.
	over := time.Now()
	time.Sleep(pace{try: s.try}.rescue())
	serving.end(syscall.SIGTERM)
	serving = s.start("serve")
	db := peek(s.T, s.database)
	number := func(query string, args ...any) (number int) {
		require.NoError(s, db.QueryRowContext(s.Context(), query, args...).Scan(&number))
		return number
	}
	eventually(s.T, func() bool {
		return number(`SELECT count(*) FROM river_job WHERE state = 'running' AND attempted_at < $1`, over) == 0
	})
	require.NoError(s, suspended.process.Process.Signal(syscall.SIGCONT))
	time.Sleep(500 * time.Millisecond)
	suspended.end(syscall.SIGTERM)
	serving.end(syscall.SIGTERM)
	rescued := number(`SELECT count(*) FROM river_job WHERE metadata ? 'river:rescue_count'`)
	s.Logf("%d jobs were rescued", rescued)
	assert.Positive(s, rescued)
}

// child is a process of the program.
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
		"-wait", "300ms", "-try", s.try.String(), "-workers", "8")
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

// live lets a process work for a while, then ends it in one way or the other.
func (s *soak) live(c *child) {
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
	_ = c.process.Process.Signal(signal) // it may have ended
	<-c.ended
}

// judge compares what is on the server with what is in the table.
func (s *soak) judge() {
	s.Helper()
	leads := make(map[string][]int64)
	for _, lead := range s.api.Leads() {
		leads[lead.Email] = append(leads[lead.Email], lead.ID)
	}
	rows, err := peek(s.T, s.database).QueryContext(s.Context(),
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
		assert.Zero(s, found[clickID], "%s is there once", clickID)
		found[clickID] = lead
		if redirect == "" {
			recovered++
		}
	}
	require.NoError(s, rows.Err())
	for _, clickID := range s.accepted {
		assert.Equal(s, []int64{found[clickID]}, leads[clickID+"@example.com"], "%s has its own lead, once", clickID)
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
