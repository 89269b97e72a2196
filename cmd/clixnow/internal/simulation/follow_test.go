//go:build !race

package simulation_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/clixnow/clixnow-go"
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
		err := h.followOnce(p, done)
		p.stop()
		if err == nil {
			return
		}
		if !p.dead.Load() {
			assert.NoError(t, err)
			return
		}
		time.Sleep(time.Duration(h.number(3600, "follower restarts", life)) * time.Second)
	}
}

// followOnce is one life of the process.
func (h *history) followOnce(p *process, done chan struct{}) error {
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
		Transport: wrapTransport(p),
	})
	if err != nil {
		return err
	}
	for last := false; ; {
		err := m.Run(p.ctx, mirror.RunOptions{Clients: clients, Once: true, Logger: h.logger()})
		if errors.Is(err, mirror.ErrDatabase) || p.dead.Load() {
			return errDead
		}
		if err != nil {
			h.logger().Error("not all leads were read", "error", err)
		}
		if err := sender.Once(p.ctx); err != nil || p.dead.Load() {
			return errors.Join(errDead, err)
		}
		if last {
			return h.sendRest(p, m, sender)
		}
		select {
		case <-done:
			last = true
			time.Sleep(time.Hour)
		case <-time.After(time.Hour):
		}
	}
}

// sendRest gives the postbacks that were given up to a person, who sends them.
func (h *history) sendRest(p *process, m *mirror.Mirror, sender *postback.Sender) error {
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
		time.Sleep(30 * time.Minute)
	}
	return nil
}

func (h *history) destinations() (all []postback.Destination) {
	for _, tr := range h.trackers {
		all = append(all, postback.Destination{
			Name: tr.name, Preset: "tune", Concurrency: 2,
			URL: "https://" + tr.name + ".test/aff?key=tracker-secret&click={clickId}&goal_id={event}&id={eventId}",
			Events: []clixnow.LeadEvent{
				clixnow.LeadCreated, clixnow.LeadDeposited, clixnow.LeadDepositWithdrawn,
			},
		})
	}
	return all
}
