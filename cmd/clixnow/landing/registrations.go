package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/clixnow/clixnow-go"
)

const (
	registrationTimeout = 90 * time.Second // a minute more than that of one attempt: see EnsureLead
	// how long an outcome waits for its visitor, and a second click is known as
	// one
	remembered     = 5 * time.Minute
	mostRemembered = 5000 // each takes a few KiB
	// how long one of unknown outcome can be checked again without being sent
	// anew
	inDoubt = time.Hour
)

// registrations are the sign-ups under way and those of the last minutes, by
// their ids. They belong to no connection: a visitor who leaves is registered
// all the same, and one who clicks twice is registered once.
type registrations struct {
	client *clixnow.Client
	logger *slog.Logger

	running sync.WaitGroup
	mu      sync.Mutex
	byID    map[string]*registration
	closed  bool
}

// registration is one sign-up.
type registration struct {
	form         form
	inDoubtSince time.Time     // the first attempt of unknown outcome; zero = none
	done         chan struct{} // closed when what follows, and inDoubtSince, is final
	lead         *clixnow.EnsureLeadResponse
	err          error
}

func newRegistrations(client *clixnow.Client, logger *slog.Logger) *registrations {
	return &registrations{client: client, logger: logger, byID: make(map[string]*registration)}
}

// begin registers a sign-up, or returns the registration of its id that is
// under way or has succeeded. One that failed is tried again. It returns nil
// when there are too many, or the program is about to end.
func (r *registrations) begin(ctx context.Context, f form, req clixnow.CreateLeadRequest) *registration {
	r.mu.Lock()
	defer r.mu.Unlock()
	begun := &registration{form: f, done: make(chan struct{})}
	known := r.byID[f.id()]
	switch {
	case known != nil && (r.closed || !known.failed()):
		return known
	case r.closed, known == nil && len(r.byID) >= mostRemembered:
		return nil
	case known != nil:
		begun.inDoubtSince = known.inDoubtSince
	}
	r.byID[f.id()] = begun
	// the visitor who leaves must not cut it off
	r.running.Go(func() { r.register(context.WithoutCancel(ctx), begun, req) })
	return begun
}

func (r *registrations) register(ctx context.Context, begun *registration, req clixnow.CreateLeadRequest) {
	ctx, cancel := context.WithTimeout(ctx, registrationTimeout)
	defer cancel()
	start, keep := time.Now(), remembered
	// EnsureLead, where nothing is in doubt
	begun.lead, begun.err = r.client.EnsureLeadSince(ctx, req, begun.inDoubtSince)
	if errors.Is(begun.err, clixnow.ErrOutcomeUnknown) {
		keep = inDoubt
		if begun.inDoubtSince.IsZero() {
			begun.inDoubtSince = start
		}
	}
	report(ctx, r.logger, req.ClickID, begun)
	close(begun.done)
	time.AfterFunc(keep, func() { r.forget(begun) })
}

func (r *registrations) forget(old *registration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byID[old.form.id()] == old { // it was not tried again since
		delete(r.byID, old.form.id())
	}
}

// find returns the registration of an id, or nil.
func (r *registrations) find(id string) *registration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byID[id]
}

// finish takes no more sign-ups, and returns when those under way have ended.
func (r *registrations) finish() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.running.Wait()
}

func (r *registration) failed() bool {
	select {
	case <-r.done:
		return r.err != nil
	default:
		return false
	}
}
