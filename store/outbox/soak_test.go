package outbox_test

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
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
	"github.com/clixnow/clixnow-go/router"
	"github.com/clixnow/clixnow-go/store/outbox"
)

// childEnv holds the job of a child process: this binary, started by a test.
const childEnv = "CLIXNOW_OUTBOX_CHILD"

// job says what a child process does.
type job struct {
	Dialect outbox.Dialect
	Address string
	Brands  []brand
	// Serve lets it accept sign-ups by HTTP.
	Serve      bool
	TryTimeout time.Duration
}

type brand struct{ Name, URL, Token string }

// child runs the job of a child process, if this is one.
func child() {
	text := os.Getenv(childEnv)
	if text == "" {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var j job
	err := json.Unmarshal([]byte(text), &j)
	if err == nil {
		err = j.work(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:gocritic // the process ends
	}
	os.Exit(0)
}

// work registers sign-ups, and prints the address for them or "-".
func (j job) work(ctx context.Context) error {
	db, err := sql.Open(kind{dialect: j.Dialect}.driver(), j.Address)
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(20)
	opts := outbox.Options{
		Workers: 16, TryTimeout: j.TryTimeout,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	schedule := make([]time.Duration, 10_000)
	for i := range schedule {
		schedule[i] = 50 * time.Millisecond
	}
	opts.SetTiming(outbox.Timing{
		MinWait: 20 * time.Millisecond, MaxWait: 500 * time.Millisecond, Schedule: schedule,
		StopTimeout: 100 * time.Millisecond, Maintenance: time.Second,
	})
	for i, b := range j.Brands {
		client, err := clixnow.NewClient(b.Name, b.Token, clientOptions(b.URL)...)
		if err != nil {
			return err
		}
		accepts := func(req clixnow.CreateLeadRequest) bool {
			return int(crc32.ChecksumIEEE([]byte(req.Email))%3) <= i // the last one accepts every lead
		}
		opts.Routes = append(opts.Routes, router.Route{Client: client, Accepts: accepts})
	}
	o, err := outbox.Open(ctx, db, j.Dialect, opts)
	if err != nil {
		return err
	}
	if !j.Serve {
		fmt.Println("-")
		return o.Work(ctx)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			if _, err := o.Add(r.Context(), newLead(r.URL.Query().Get("click"))); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
			}
		})}
	go func() { _ = server.Serve(listener) }()
	fmt.Println("http://" + listener.Addr().String())
	return errors.Join(o.Work(ctx), server.Close())
}

// TestSoak signs up visitors at three brands while processes are killed, the
// brands fail in many ways and are down for a while, one worker is suspended
// for longer than the rescue, and the database server is killed. At the end
// each sign-up must have one lead at one brand. CLIXNOW_LONG=1 runs it with at
// least 10,000 sign-ups and 500 kills, in four times two to three minutes.
func TestSoak(t *testing.T) {
	t.Parallel()
	var signups, kills atomic.Int64
	t.Run("all", func(t *testing.T) { //nolint:paralleltest // it waits for all runs
		for name, option := range map[string]clixnowtest.Option{
			"search that lags": clixnowtest.WithSearchDelay(func(clixnow.Lead) time.Duration {
				return rand.N(600 * time.Millisecond) // the searches take 700 ms
			}),
			"no duplicate check": clixnowtest.WithoutDuplicateCheck(),
		} {
			t.Run("SQLite, "+name, func(t *testing.T) { //nolint:paralleltest // the long form runs them one by one
				parallelIfShort(t)
				s := newSoak(t, option, outbox.SQLite, sqliteKind().create(t))
				s.job.TryTimeout = time.Minute // only the next process takes jobs from a worker
				s.run(s.killServing)
				signups.Add(int64(len(s.accepted)))
				kills.Add(s.kills.Load())
			})
			t.Run("PostgreSQL, "+name, func(t *testing.T) { //nolint:paralleltest // the same
				parallelIfShort(t)
				server := postgrestest.New(t)
				s := newSoak(t, option, outbox.PostgreSQL, server.URL)
				s.run(func() { s.killWorkers(server) })
				signups.Add(int64(len(s.accepted)))
				kills.Add(s.kills.Load())
			})
		}
	})
	t.Logf("%d sign-ups, %d kills", signups.Load(), kills.Load())
}

func isLong() bool { return os.Getenv("CLIXNOW_LONG") != "" }

func parallelIfShort(t *testing.T) {
	t.Helper()
	if !isLong() {
		t.Parallel()
	}
}

// soak is one run of the test.
type soak struct {
	*testing.T
	apis []*fakeAPI
	job  job
	// length is the time during which visitors arrive, and pause the longest
	// time between two of them. life is the longest life of a process.
	length, pause, life time.Duration
	// serving is the URL for sign-ups of the current process. It is a string.
	serving atomic.Value
	// suspendable is the number of requests in progress of the worker that will
	// be suspended.
	suspendable atomic.Int64
	kills       atomic.Int64
	// calm is set when the brands do not fail any more, so that the backlog
	// ends soon.
	calm atomic.Bool

	// accepted has the click ids of all sign-ups.
	accepted []string
}

// suspendablePath is the base path of the APIs for the worker that will be
// suspended.
const suspendablePath = "/suspendable"

func newSoak(t *testing.T, option clixnowtest.Option, dialect outbox.Dialect, address string) *soak {
	t.Helper()
	s := &soak{
		T: t, job: job{Dialect: dialect, Address: address, TryTimeout: 3 * time.Second},
		length: 6 * time.Second, pause: 100 * time.Millisecond, life: 1500 * time.Millisecond,
	}
	if isLong() {
		s.length, s.pause, s.life = 2*time.Minute, 60*time.Millisecond, 300*time.Millisecond
	}
	s.serving.Store("")
	for _, name := range []string{"acme", "beta", "gamma"} {
		f := newFakeAPI(t, option, clixnowtest.WithBrand(name))
		api := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			delay()
			if !s.calm.Load() && rand.IntN(4) == 0 {
				f.Inject(randomFault())
			}
			f.ServeHTTP(w, r)
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
		f.handler = mux.ServeHTTP
		s.apis = append(s.apis, f)
		s.job.Brands = append(s.job.Brands, brand{f.Brand, f.url, f.Token})
	}
	return s
}

func delay() { time.Sleep(rand.N(20 * time.Millisecond)) }

// randomFault returns a random fault. A refusal is one that may pass, because
// another would settle the sign-up.
func randomFault() clixnowtest.Fault {
	handled := rand.IntN(2) == 0
	switch rand.IntN(7) {
	case 0:
		return clixnowtest.Fault{Status: 429}
	case 1:
		return clixnowtest.Fault{Status: []int{301, 401, 403, 404}[rand.IntN(4)]}
	case 2:
		return clixnowtest.Fault{HandleFirst: handled, Delay: rand.N(100 * time.Millisecond)}
	case 3:
		return clixnowtest.Fault{HandleFirst: handled, Status: []int{200, 303, 500, 502, 503, 504, 520}[rand.IntN(7)]}
	case 4:
		return clixnowtest.Fault{Status: 400, Body: capReached}
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
	go func() { // each brand is down for a tenth of the time
		for _, api := range s.apis {
			select {
			case <-time.After(s.length / 5):
			case <-ctx.Done():
			}
			api.down.Store(http.StatusServiceUnavailable)
			time.Sleep(s.length / 10)
			api.down.Store(0)
		}
	}()
	disturb()
	last := s.start(true)
	visits.Wait()
	s.calm.Store(true)
	db := kind{dialect: s.job.Dialect}.open(s, s.job.Address)
	defer s.explain(db)
	eventually(s.T, func() bool {
		var pending int
		err := db.QueryRowContext(s.Context(),
			`SELECT count(*) FROM outbox_signups WHERE status = 'pending'`).Scan(&pending)
		return err == nil && pending == 0
	}, "%s", last.log)
	last.end(syscall.SIGTERM)
	require.Zero(s, last.process.ProcessState.ExitCode(), "a graceful stop: %s", last.log)
	s.check(db)
}

// explain logs the sign-ups that are still pending after a failure.
func (s *soak) explain(db *sql.DB) {
	if !s.Failed() {
		return
	}
	rows, err := db.QueryContext(context.Background(), `SELECT s.id, s.tries, s.next_try_at, s.problem, j.id, j.state,
		j.attempt, j.scheduled_at, j.attempted_at FROM outbox_signups AS s LEFT JOIN river_job AS j ON j.id = s.job_id
		WHERE s.status = 'pending' LIMIT 5`)
	if err != nil {
		s.Log(err)
		return
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		values := make([]any, 9)
		for i := range values {
			values[i] = new(any)
		}
		s.Log(rows.Scan(values...))
		for i := range values {
			s.Log(*values[i].(*any))
		}
	}
}

// visit signs up visitors until ctx ends. A quarter of them make a double
// click. Visitors without a response try again.
func (s *soak) visit(ctx context.Context) {
	var visitors sync.WaitGroup
	visitCtx := context.WithoutCancel(ctx) // a visitor who has arrived goes on after ctx
	for n := 0; ctx.Err() == nil; n++ {
		clickID := fmt.Sprintf("click%dx", n)
		s.accepted = append(s.accepted, clickID)
		for range 1 + max(0, rand.IntN(4)-2) {
			visitors.Go(func() { s.signUp(visitCtx, clickID) })
		}
		time.Sleep(rand.N(s.pause))
	}
	visitors.Wait()
}

func (s *soak) signUp(ctx context.Context, clickID string) {
	for deadline := time.Now().Add(longest); ; time.Sleep(50 * time.Millisecond) {
		address := s.serving.Load().(string) + "/?click=" + clickID
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			continue
		}
		request.Close = true
		if response, err := http.DefaultTransport.RoundTrip(request); err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(deadline) {
			s.Errorf("%s: not accepted within the deadline", clickID)
			return
		}
	}
}

// killServing starts and kills processes one after another, because only one
// process can work with SQLite.
func (s *soak) killServing() {
	s.Helper()
	for until := time.Now().Add(s.length); time.Now().Before(until); {
		s.runAndKill(s.start(true))
	}
}

// killWorkers starts and kills workers beside a process that serves. It
// suspends another worker until its jobs have been taken by others, and it
// kills the database server.
func (s *soak) killWorkers(server *postgrestest.Server) {
	s.Helper()
	serving := s.start(true)
	until := time.Now().Add(s.length)
	var others sync.WaitGroup
	others.Go(func() {
		for time.Now().Before(until) {
			s.runAndKill(s.start(false))
		}
	})
	suspended := s.startAt(suspendablePath, false)
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
	time.Sleep(s.job.TryTimeout + s.job.TryTimeout/2)
	serving.end(syscall.SIGTERM)
	db := kind{dialect: s.job.Dialect}.open(s, s.job.Address)
	defer s.explain(db)
	if !isLong() {
		_, err := db.ExecContext(s.Context(), `DELETE FROM river_leader`)
		require.NoError(s, err)
	}
	serving = s.start(true)
	number := func(query string, args ...any) (number int) {
		require.NoError(s, db.QueryRowContext(s.Context(), query, args...).Scan(&number))
		return number
	}
	eventually(s.T, func() bool {
		return number(`SELECT count(*) FROM river_job WHERE state = 'running' AND attempted_at < $1`, end) == 0
	}, "%s", serving.log)
	require.NoError(s, suspended.process.Process.Signal(syscall.SIGCONT))
	time.Sleep(500 * time.Millisecond)
	suspended.end(syscall.SIGTERM)
	serving.end(syscall.SIGTERM)
	rescued := number(`SELECT count(*) FROM river_job WHERE metadata ? 'river:rescue_count'`)
	s.Logf("%d jobs were rescued", rescued)
	assert.Positive(s, rescued)
}

// process is a child process.
type process struct {
	process *exec.Cmd
	log     *lines
	ended   chan struct{}
}

func (s *soak) start(serve bool) *process {
	s.Helper()
	return s.startAt("", serve)
}

func (s *soak) startAt(path string, serve bool) *process {
	s.Helper()
	j := s.job
	j.Serve, j.Brands = serve, append([]brand(nil), j.Brands...)
	for i := range j.Brands {
		j.Brands[i].URL += path
	}
	text, err := json.Marshal(j)
	require.NoError(s, err)
	self, err := os.Executable()
	require.NoError(s, err)
	p := &process{process: exec.CommandContext(context.Background(), self), log: &lines{}, ended: make(chan struct{})}
	p.process.Env = append(os.Environ(), childEnv+"="+string(text))
	p.process.Stderr = p.log
	output, err := p.process.StdoutPipe()
	require.NoError(s, err)
	require.NoError(s, p.process.Start())
	line, _ := bufio.NewReader(output).ReadString('\n') // "" if the process has failed
	if serve && line != "" {
		s.serving.Store(strings.TrimSpace(line))
	}
	go func() {
		_ = p.process.Wait()
		close(p.ended)
	}()
	s.Cleanup(func() { p.end(syscall.SIGKILL) })
	return p
}

// runAndKill lets a process run for a while and then kills it. Half of the
// processes get the chance to stop before.
func (s *soak) runAndKill(p *process) {
	time.Sleep(300*time.Millisecond + rand.N(s.life))
	if rand.IntN(2) == 0 {
		_ = p.process.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.ended:
		case <-time.After(rand.N(200 * time.Millisecond)):
		}
	}
	p.end(syscall.SIGKILL)
	s.kills.Add(1)
}

// end signals a process and waits for its end.
func (p *process) end(signal syscall.Signal) {
	_ = p.process.Process.Signal(signal) // it fails if the process has ended
	<-p.ended
}

// check compares the leads of the brands with the table of sign-ups.
func (s *soak) check(db *sql.DB) {
	s.Helper()
	leads := make(map[string][]string)
	total, creates := 0, 0
	perBrand := make(map[string]int)
	for _, api := range s.apis {
		for _, lead := range api.Leads() {
			leads[lead.Email] = append(leads[lead.Email], fmt.Sprint(api.Brand, lead.ID))
			perBrand[api.Brand]++
			total++
		}
		for _, request := range api.Requests() {
			if request.Method == http.MethodPost {
				creates++
			}
		}
	}
	o, err := outbox.Open(s.Context(), db, s.job.Dialect, outbox.Options{})
	require.NoError(s, err)
	rows, err := o.List(s.Context(), outbox.Query{Limit: 1_000_000})
	require.NoError(s, err)
	found := make(map[string]string)
	recovered := 0
	for _, row := range rows {
		clickID := row.Lead.ClickID
		assert.Equal(s, outbox.Registered, row.Status, "%s: %s", clickID, row.Problem)
		assert.Empty(s, found[clickID], "%s must have one row", clickID)
		found[clickID] = fmt.Sprint(row.Brand, row.LeadID)
		if row.RedirectURL == "" {
			recovered++
		}
	}
	for _, clickID := range s.accepted {
		assert.Equal(s, []string{found[clickID]}, leads[clickID+"@example.com"], "%s must have one lead", clickID)
	}
	assert.Len(s, found, len(s.accepted))
	var passwords int
	require.NoError(s, db.QueryRowContext(s.Context(),
		`SELECT count(*) FROM outbox_signups WHERE password <> ''`).Scan(&passwords))
	assert.Zero(s, passwords, "all sign-ups are settled")
	assert.Equal(s, len(s.accepted), total)
	s.Logf("%d sign-ups, %d kills, %d creates arrived, %d leads found by search, %v", len(s.accepted), s.kills.Load(),
		creates, recovered, perBrand)
	assert.Positive(s, recovered)
	assert.Len(s, perBrand, 3)
}
