//go:build !race

package simulation_test

import (
	"context"
	"database/sql"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
	commands "github.com/clixnow/clixnow-go/cmd/clixnow/internal/gateway"
	"github.com/clixnow/clixnow-go/router"
	"github.com/clixnow/clixnow-go/store/outbox"
)

const (
	pageOrigin    = "https://landing.example"
	gatewaySecret = "gateway-secret-0123456789"
)

// gateway is a process with an outbox and its endpoint, and the next one after
// its death. While there is nothing to do, none runs, because a worker asks the
// database often.
type gateway struct {
	h *history
	// reader is a connection that does not die.
	reader *sql.DB
	lives  int

	mu sync.Mutex
	// now is the process that runs. It is nil if none does.
	now *life
}

// life is one life of the process.
type life struct {
	*process

	outbox  *outbox.Outbox
	handler http.Handler
	// requests are those that it handles.
	requests sync.WaitGroup
}

// begin begins a request to the process that runs. Then the caller must call
// requests.Done. begin returns nil if no process runs.
func (g *gateway) begin() *life {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.now != nil {
		g.now.requests.Add(1)
	}
	return g.now
}

func (g *gateway) set(l *life) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now = l
}

// open creates the database.
func (g *gateway) open(t *testing.T) {
	t.Helper()
	g.reader = (&process{h: g.h}).open(outbox.SQLiteAddress(g.h.path("signups.db")))
	_, err := outbox.Open(t.Context(), g.reader, outbox.SQLite, outbox.Options{})
	require.NoError(t, err)
}

func (g *gateway) close(t *testing.T) {
	t.Helper()
	assert.NoError(t, g.reader.Close())
}

// run lets the visitors sign up until the end of the history. Once in a while a
// person looks at what is in doubt.
func (g *gateway) run(t *testing.T) {
	t.Helper()
	h, next, looks := g.h, 0, 0
	look := func() time.Time {
		minute := (2*looks+1)*24*60 + h.number(24*60, "looks", looks)
		return h.began.Add(time.Duration(minute) * time.Minute)
	}
	var visits sync.WaitGroup
	for end := h.began.Add(length); ; {
		wake := end
		if next < len(h.visitors) && h.visitors[next].at.Before(wake) {
			wake = h.visitors[next].at
		}
		if at := look(); at.Before(wake) {
			wake = at
		}
		if due := g.nextTry(t); !due.IsZero() && due.Before(wake) {
			wake = due
		}
		if !wake.Before(end) {
			break
		}
		time.Sleep(time.Until(wake))
		ctx, stop := context.WithCancel(t.Context())
		running := h.background(func() { g.keep(ctx, t) })
		oldest, since, isStuck := time.Time{}, time.Now(), false
		for quiet := false; !quiet; {
			for ; next < len(h.visitors) && time.Until(h.visitors[next].at) <= 0; next++ {
				v := h.visitors[next]
				visits.Go(func() { g.visit(t.Context(), t, v) })
			}
			if time.Until(look()) <= 0 {
				n := looks
				looks++
				visits.Go(func() { g.decide(t.Context(), n) })
			}
			time.Sleep(5 * time.Second)
			soon := time.Now().Add(time.Minute)
			quiet = next == len(h.visitors) || h.visitors[next].at.After(soon)
			if due := g.nextTry(t); !due.IsZero() && due.Before(soon) {
				quiet = time.Now().After(end)
				if !due.Equal(oldest) {
					oldest, since = due, time.Now()
				}
				isStuck = time.Since(since) > time.Hour
				quiet = quiet || isStuck
			}
		}
		visits.Wait()
		stop()
		<-running
		if !assert.False(t, isStuck, "no worker takes the sign-up that is due since %s", oldest) {
			return
		}
	}
}

// nextTry returns when the next sign-up is due. A zero time means that none
// waits.
func (g *gateway) nextTry(t *testing.T) time.Time {
	t.Helper()
	const statement = "SELECT min(coalesce(next_try_at, created_at)) FROM outbox_signups WHERE status = 'pending'"
	var due sql.NullString
	require.NoError(t, g.reader.QueryRowContext(t.Context(), statement).Scan(&due))
	if !due.Valid {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339Nano, due.String)
	require.NoError(t, err)
	return at
}

// keep runs one process after another until ctx ends.
func (g *gateway) keep(ctx context.Context, t *testing.T) {
	t.Helper()
	for ctx.Err() == nil {
		g.lives++
		p := g.h.newProcess(t, "gateway", g.lives)
		context.AfterFunc(ctx, p.stop)
		err := g.live(t, p) //nolint:contextcheck // the process has a context
		if err != nil && !p.mayEnd() {
			assert.NoError(t, err, "the process ended")
			return
		}
		p.stop()
		_ = sleep(ctx, time.Duration(g.h.number(60, "restart", g.lives))*time.Second)
	}
}

// live is one life of the process.
func (g *gateway) live(t *testing.T, p *process) error {
	t.Helper()
	h := g.h
	db := p.open(outbox.SQLiteAddress(h.path("signups.db")))
	defer func() { _ = db.Close() }()
	clients, err := h.clients(p)
	if err != nil {
		return err
	}
	opts := outbox.Options{Logger: h.logger(), TokenKey: []byte("key"), PollInterval: 2 * time.Second}
	for _, client := range clients {
		opts.Routes = append(opts.Routes, router.Route{Client: client})
	}
	o, err := outbox.Open(p.ctx, db, outbox.SQLite, opts)
	if err != nil {
		return err
	}
	handler, err := commands.Public{
		Outbox: o, Routes: opts.Routes, Secret: gatewaySecret, Wait: 5 * time.Second, Log: h.logger(),
		Config: app.Gateway{Rate: 30, Origins: []string{pageOrigin}, FormCountries: countries},
	}.Handler()
	if err != nil {
		return err
	}
	l := &life{process: p, outbox: o, handler: handler}
	g.set(l)
	ctx, stopWork := context.WithCancel(context.WithoutCancel(p.ctx))
	defer stopWork()
	worked := make(chan struct{})
	context.AfterFunc(p.ctx, func() { // the requests end first, because they wait for the worker
		began := time.Now()
		g.set(nil)
		if !p.dead.Load() {
			l.requests.Wait()
		}
		stopWork()
		<-worked
		assert.Less(t, time.Since(began), time.Minute, "systemd would have killed the process")
	})
	defer close(worked)
	defer g.set(nil)
	return o.Work(ctx)
}

func (h *history) background(do func()) (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	return done
}

// decide is what a person does about sign-ups in doubt. The person gives a
// sign-up up only if no brand can have it.
func (g *gateway) decide(ctx context.Context, look int) {
	for try := 0; try < 20 && !g.decideNow(ctx, look); try++ {
		_ = sleep(ctx, 3*time.Second)
	}
}

// decideNow reports whether the person has seen the sign-ups.
func (g *gateway) decideNow(ctx context.Context, look int) bool {
	l := g.begin()
	if l == nil {
		return false
	}
	defer l.requests.Done()
	all, err := l.outbox.List(ctx, outbox.Query{Status: outbox.Doubtful, Limit: 1000})
	for _, s := range all {
		switch {
		case s.FirstAttempt.Brand == "" && g.h.chance(3, "gives up", look, s.Lead.Email):
			g.h.total.add("sign-ups that a person gave up")
			g.h.givenUpSignups.Store(s.ID, true)
			_ = l.outbox.GiveUp(ctx, s.ID, "operator")
		case g.h.chance(3, "corrects", look, s.Lead.Email):
			g.h.total.add("phones that a person corrected")
			phone := s.Lead.Phone[:len(s.Lead.Phone)-1] + "9"
			_ = l.outbox.Correct(ctx, s.ID, outbox.Correction{Phone: phone}, "operator")
		default:
			g.h.total.add("sign-ups that a person retried")
			_ = l.outbox.Retry(ctx, s.ID, "operator")
		}
	}
	return err == nil
}

// settle retries the sign-ups that are left, as a person does when nothing
// fails any more. Those that stay in doubt are left.
func (g *gateway) settle(t *testing.T) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := g.h.background(func() { g.keep(ctx, t) })
	defer func() { <-done }()
	defer stop()
	settled := make(map[string]int64) // their numbers of tries
	for i := range 5 {
		time.Sleep(2 * time.Minute)
		l := g.begin()
		if !assert.NotNil(t, l, "the gateway does not run") {
			return
		}
		defer l.requests.Done()
		all, err := l.outbox.List(ctx, outbox.Query{Limit: 1000})
		if !assert.NoError(t, err) {
			return
		}
		open := 0
		for _, s := range all {
			isStuck := s.Status == outbox.Pending && !s.NextTryAt.IsZero() && time.Since(s.NextTryAt) > time.Minute
			assert.False(t, isStuck, "%s was not tried at %s", s.ID, s.NextTryAt)
			if tries, ok := settled[s.ID]; ok {
				assert.Equal(t, tries, s.Tries, "%s was settled, and is tried again", s.ID)
			}
			if !s.SettledAt.IsZero() {
				settled[s.ID] = s.Tries
			}
			if s.Status == outbox.Pending || s.Status == outbox.Doubtful {
				open++
				assert.NoError(t, l.outbox.Retry(ctx, s.ID, "operator"))
			}
		}
		if open == 0 && i > 0 {
			return
		}
	}
	time.Sleep(2 * time.Minute)
}
