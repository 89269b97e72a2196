//go:build !race

package simulation_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/clixnow/clixnow-go/store/mirror"
	"github.com/clixnow/clixnow-go/store/postback"
)

const mirrorOptions = "?_txlock=immediate&_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)"

// follow copies the leads and sends postbacks, until done is closed and nothing
// is left to do.
func (h *history) follow(t *testing.T, done chan struct{}) {
	t.Helper()
	for life := 0; ; life++ {
		p := h.newProcess(t, "follower", life)
		err := h.followOnce(t, p, done)
		mayEnd := p.mayEnd()
		p.stop()
		if err == nil || !mayEnd {
			assert.NoError(t, err)
			return
		}
		time.Sleep(time.Duration(h.number(3600, "follower restarts", life)) * time.Second)
	}
}

// readSoon makes the follower read the leads before the hour is over.
func (h *history) readSoon() {
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

// followOnce is one life of the process.
func (h *history) followOnce(t *testing.T, p *process, done chan struct{}) error {
	t.Helper()
	db := p.open("file:" + h.path("leads.db") + mirrorOptions)
	defer func() { _ = db.Close() }()
	m, err := mirror.Open(p.ctx, db, mirror.SQLite)
	if err != nil {
		return err
	}
	clients, err := h.clients(p)
	if err != nil {
		return err
	}
	sender, err := postback.New(p.ctx, m, postback.Options{
		Destinations: h.destinations(), From: time.Unix(1, 0), Logger: h.logger(),
		Transport: func(http.RoundTripper) http.RoundTripper { return p },
	})
	if err != nil {
		return err
	}
	for last := false; ; {
		err := m.Run(p.ctx, mirror.RunOptions{Clients: clients, Once: true, Logger: h.logger()})
		if errors.Is(err, mirror.ErrDatabase) || p.ctx.Err() != nil {
			return errEnded
		}
		if err != nil {
			h.logger().Error("not all leads were read", "error", err)
		}
		if err := sender.Once(p.ctx); err != nil || p.ctx.Err() != nil {
			return errors.Join(errEnded, err)
		}
		if last {
			return h.sendRest(t, p, m, sender)
		}
		select {
		case <-done:
			last = true
			time.Sleep(time.Hour)
		case <-h.changed:
			time.Sleep(time.Duration(h.number(30, "reads after", p.steps.Load())) * time.Second)
		case <-time.After(time.Hour):
		}
	}
}

// sendRest gives the postbacks that were given up to a person, who sends them.
func (h *history) sendRest(t *testing.T, p *process, m *mirror.Mirror, sender *postback.Sender) error {
	t.Helper()
	err := postback.ListFailed(p.ctx, m, func(f postback.Failed) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.givenUp[fmt.Sprint(f.Postback, " ", f.Brand, " ", f.LeadID)] = true
		isLong := func(w window) bool { return w.to.Sub(w.from) >= 20*time.Hour && w.to.After(f.Since) }
		for _, tr := range h.trackers {
			failed := tr.name != f.Postback || slices.ContainsFunc(tr.outages, isLong)
			assert.True(t, failed, "%s has not failed for a day since %v", tr.name, f.Since)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, d := range h.destinations() {
		n, err := postback.Retry(p.ctx, m, d.Name)
		if err != nil {
			return err
		}
		for range n {
			h.total.add("postbacks that a person sent again")
		}
	}
	for range 48 {
		if err := sender.Once(p.ctx); err != nil {
			return err
		}
		health, err := sender.Health(p.ctx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(health, func(d postback.Health) bool { return d.Waiting > 0 }) {
			return nil
		}
		time.Sleep(30 * time.Minute)
	}
	return nil
}
