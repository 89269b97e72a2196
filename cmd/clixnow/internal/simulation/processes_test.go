//go:build !race

package simulation_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

var (
	errDead = errors.New("the process is dead")
	errDisk = errors.New("database or disk is full")
	// errEnded means that the process was stopped, or cannot go on.
	errEnded = errors.New("the process has ended")
)

// process is a process that can die, or be stopped as by SIGTERM. After its
// death it changes nothing: each step in the database and in the network fails.
type process struct {
	h *history
	// name is gateway or follower.
	name string
	ctx  context.Context //nolint:containedctx // it is the life of the process
	// stop ends the process gracefully.
	stop context.CancelFunc

	steps, requests atomic.Int64
	// The process ends at this step, or during this request. 0 means never.
	lastStep, lastRequest int64
	// mayDie means that it then dies. Otherwise it is stopped.
	mayDie bool
	// ended means that it has ended at a random point.
	ended, dead atomic.Bool
	// The disk is full from one step until another one.
	fullFrom, fullUntil int64
	// wasFull means that a step has failed because of it.
	wasFull atomic.Bool
}

// newProcess returns a process that dies or is stopped after a random number of
// steps, or neither.
func (h *history) newProcess(t *testing.T, name string, life int) *process {
	t.Helper()
	p := &process{h: h, name: name}
	p.ctx, p.stop = context.WithCancel(t.Context())
	if h.healed.Load() {
		return p
	}
	p.mayDie = !h.chance(3, name, "never dies") && !h.chance(3, name, "is stopped", life)
	if h.chance(2, name, "ends during a request", life) {
		p.lastRequest = int64(1 + h.number(1<<h.number(10, name, "about", life), name, "request", life))
	} else {
		p.lastStep = int64(1 + h.number(1<<(3+h.number(10, name, "about", life)), name, "step", life))
	}
	if h.chance(5, name, "disk", life) {
		p.fullFrom = int64(100 + h.number(500, name, "full from", life))
		p.fullUntil = p.fullFrom + int64(1+h.number(30, name, "full for", life))
	}
	return p
}

// end ends the process at a random point of its life.
func (p *process) end() {
	p.ended.Store(true)
	if p.mayDie {
		p.h.total.add("fault: death of a " + p.name)
		p.h.deaths.Store(p.name, true)
		p.dead.Store(true)
	} else {
		p.h.total.add("fault: stop of a " + p.name)
	}
	p.stop()
}

// step is a point at which the process may end. It returns errDead if the
// process is dead.
func (p *process) step() error {
	if p.steps.Add(1) == p.lastStep {
		p.end()
	}
	if p.dead.Load() {
		return errDead
	}
	return nil
}

// store is a step in the database. It may also fail because the disk is full.
func (p *process) store() error {
	if err := p.step(); err != nil {
		return err
	}
	if n := p.steps.Load(); n >= p.fullFrom && n < p.fullUntil {
		p.h.total.add("fault: disk of a " + p.name + " is full")
		p.wasFull.Store(true)
		return errDisk
	}
	return nil
}

// mayEnd reports whether the process may end.
func (p *process) mayEnd() bool { return p.ctx.Err() != nil || p.wasFull.Load() }

// denied remembers that a brand has refused the token of the process. It must
// log that, unless it ends too soon.
func (p *process) denied(brand string) {
	time.AfterFunc(5*time.Minute, func() {
		p.h.mu.Lock()
		defer p.h.mu.Unlock()
		if !p.ended.Load() {
			p.h.denied[p.name+" "+brand] = true
		}
	})
}
