//go:build !race

package simulation_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/router"
	"github.com/clixnow/clixnow-go/store/outbox"
)

// visitor is a person who signs up.
type visitor struct {
	at  time.Time
	req clixnow.CreateLeadRequest
	// corrected is the email that replaces that of req. "" means none.
	corrected string
	// email is the email that the visitor was told to be signed up with. ""
	// means that the visitor was told of no sign-up.
	email string
	// id is the id of that sign-up.
	id string
}

func (h *history) newVisitors() (all []*visitor) {
	countries := []string{"CH", "DE", "FR", "US"}
	for burst := range bursts {
		at := h.burst(burst)
		for i := range 1 + h.number(8, "size", burst) {
			key := fmt.Sprintf("%d-%d-%d", h.seed, burst, i)
			v := &visitor{
				at: at.Add(time.Duration(h.number(60_000, "visit", key)) * time.Millisecond),
				req: clixnow.CreateLeadRequest{
					FirstName: "First" + key, LastName: "Last", Email: "visitor." + key + "@example.com",
					Phone: fmt.Sprintf("+4179%07d", 1_000*burst+i+1), Password: "Secret-" + key,
					CountryCode: countries[h.number(len(countries), "country", key)], LanguageCode: "EN",
					AcceptTermsAndConditions: true, ClickID: "click-" + key, SubCampaign: "autumn",
				},
			}
			if h.chance(8, "corrects", key) {
				v.corrected = "corrected." + key + "@example.com"
			}
			if len(all) > 0 && h.chance(15, "signed up before", key) {
				before := all[h.number(len(all), "who", key)].req
				v.req.Email, v.req.Phone, v.corrected = before.Email, before.Phone, ""
			}
			if h.chance(12, "no click id", key) {
				v.req.ClickID = ""
			}
			all = append(all, v)
		}
	}
	slices.SortFunc(all, func(a, b *visitor) int { return a.at.Compare(b.at) })
	return all
}

// gateway is a process with an outbox, and the next one after its death. While
// there is nothing to do, none runs, because a worker asks the database often.
type gateway struct {
	h *history

	mu sync.Mutex
	// current is the outbox of the process that runs. It is nil if none does.
	current *outbox.Outbox
	lives   int
}

func (g *gateway) outbox() *outbox.Outbox {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.current
}

// run lets the visitors sign up until the end of the history.
func (g *gateway) run(t *testing.T) {
	t.Helper()
	h, next := g.h, 0
	var visits sync.WaitGroup
	for end := h.began.Add(length); ; {
		wake := end
		if next < len(h.visitors) {
			wake = h.visitors[next].at
		}
		if due := g.nextTry(t); !due.IsZero() && due.Before(wake) {
			wake = due
		}
		if !wake.Before(end) {
			break
		}
		time.Sleep(time.Until(wake))
		ctx, stop := context.WithCancel(t.Context())
		running := make(chan struct{})
		go func() {
			defer close(running)
			g.keep(ctx, t)
		}()
		for quiet := false; !quiet; {
			for ; next < len(h.visitors) && time.Until(h.visitors[next].at) <= 0; next++ {
				v := h.visitors[next]
				visits.Go(func() { g.visit(t.Context(), v) })
			}
			time.Sleep(5 * time.Second)
			soon := time.Now().Add(time.Minute)
			quiet = next == len(h.visitors) || h.visitors[next].at.After(soon)
			if due := g.nextTry(t); !due.IsZero() && due.Before(soon) {
				quiet = false
			}
		}
		visits.Wait()
		stop()
		<-running
	}
}

// nextTry returns when the next sign-up is due. A zero time means that none
// waits.
func (g *gateway) nextTry(t *testing.T) (due time.Time) {
	t.Helper()
	g.read(t, func(o *outbox.Outbox) {
		waiting, err := o.List(t.Context(), outbox.Query{Status: outbox.Pending, Limit: 1000})
		require.NoError(t, err)
		for _, s := range waiting {
			if s.NextTryAt.Before(time.Now()) {
				due = time.Now()
				return
			}
			if due.IsZero() || s.NextTryAt.Before(due) {
				due = s.NextTryAt
			}
		}
	})
	return due
}

// read gives an outbox that does not work and does not die.
func (g *gateway) read(t *testing.T, do func(*outbox.Outbox)) {
	t.Helper()
	p := &process{h: g.h}
	db := p.open(outbox.SQLiteAddress(g.h.path("signups.db")))
	defer func() { assert.NoError(t, db.Close()) }()
	o, err := outbox.Open(t.Context(), db, outbox.SQLite, outbox.Options{})
	require.NoError(t, err)
	do(o)
}

// keep runs one process after another until ctx ends.
func (g *gateway) keep(ctx context.Context, t *testing.T) {
	t.Helper()
	for ctx.Err() == nil {
		g.lives++
		p := g.h.newProcess(t, "gateway", g.lives)
		context.AfterFunc(ctx, p.stop)
		if err := g.live(p); err != nil && !p.dead.Load() && p.ctx.Err() == nil {
			assert.NoError(t, err, "the process ended")
			return
		}
		p.stop()
		_ = sleep(ctx, time.Duration(g.h.number(60, "restart", g.lives))*time.Second)
	}
}

// live is one life of the process.
func (g *gateway) live(p *process) error {
	h := g.h
	db := p.open(outbox.SQLiteAddress(h.path("signups.db")))
	defer func() { _ = db.Close() }()
	clients, err := h.clients(p)
	if err != nil {
		return err
	}
	opts := outbox.Options{Logger: h.logger(), TokenKey: []byte("key"), PollInterval: time.Second}
	for _, client := range clients {
		opts.Routes = append(opts.Routes, router.Route{Client: client})
	}
	o, err := outbox.Open(p.ctx, db, outbox.SQLite, opts)
	if err != nil {
		return err
	}
	g.set(o)
	defer g.set(nil)
	return o.Work(p.ctx)
}

func (g *gateway) set(o *outbox.Outbox) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.current = o
}

// visit is what a visitor does.
func (g *gateway) visit(ctx context.Context, v *visitor) {
	h, email := g.h, v.req.Email
	key := "visit " + email
	if h.chance(5, key, "double click") && v.req.ClickID != "" {
		h.total.add("double clicks")
		other := *v
		defer func(done chan struct{}) { <-done }(h.background(func() {
			g.signUp(ctx, &other, other.req,
				key+" double")
		}))
	}
	req := v.req
	g.signUp(ctx, v, req, key)
	if v.corrected == "" || v.req.ClickID == "" {
		return
	}
	_ = sleep(ctx, time.Duration(h.number(5000, key, "sees the mistake"))*time.Millisecond)
	req.Email = v.corrected
	if g.signUp(ctx, v, req, key+" corrected") {
		h.total.add("corrected sign-ups")
	}
}

func (h *history) background(do func()) (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	return done
}

// signUp sends a sign-up until it is accepted or the visitor goes away.
func (g *gateway) signUp(ctx context.Context, v *visitor, req clixnow.CreateLeadRequest, key string) bool {
	h := g.h
	for try := 0; !h.chance(10, key, "goes away", try); try++ {
		o := g.outbox()
		if o == nil {
			_ = sleep(ctx, 3*time.Second)
			continue
		}
		limited, cancel := context.WithTimeout(ctx, 10*time.Second)
		s, err := o.Add(limited, req)
		cancel()
		switch {
		case err == nil:
			h.total.add("accepted sign-ups")
			v.email, v.id = s.Lead.Email, s.ID
			limited, cancel = context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			if s, err = o.Wait(limited, s.ID); err == nil && s.Status != outbox.Pending {
				h.total.add("answers in time")
			}
			return true
		case errors.Is(err, outbox.ErrClickIDTaken):
			h.total.add("corrections that came too late")
			return false
		}
		h.total.add("sign-ups that got an error")
		_ = sleep(ctx, 3*time.Second)
	}
	h.total.add("visitors that went away")
	return false
}

// settle retries the sign-ups that are left, as a person does when nothing
// fails any more. Those that stay in doubt are left.
func (g *gateway) settle(t *testing.T) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := g.h.background(func() { g.keep(ctx, t) })
	defer func() { <-done }()
	defer stop()
	for range 5 {
		time.Sleep(2 * time.Minute)
		o := g.outbox()
		if !assert.NotNil(t, o, "the gateway does not run") {
			return
		}
		all, err := o.List(ctx, outbox.Query{Limit: 1000})
		if !assert.NoError(t, err) {
			return
		}
		for _, s := range all {
			if s.Status == outbox.Pending || s.Status == outbox.Doubtful {
				assert.NoError(t, o.Retry(ctx, s.ID, "operator"))
			}
		}
	}
	time.Sleep(2 * time.Minute)
}
