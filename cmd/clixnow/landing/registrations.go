package main

import (
	"context"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"github.com/clixnow/clixnow-go"
)

const (
	// registrationTimeout is a minute longer than the timeout of one attempt:
	// see EnsureLead.
	registrationTimeout = 90 * time.Second
	// keepFor is the time for which an outcome is kept for its visitor. A
	// second click within this time is not a second sign-up.
	keepFor = 5 * time.Minute
	// keepUnknownFor is the same for an unknown outcome, which the visitor can
	// check again.
	keepUnknownFor = time.Hour
	// maxRegistrations bounds the memory: a registration takes a few KiB.
	maxRegistrations = 5000
)

// registrations holds the sign-ups in progress and those of the last minutes,
// by their ids. A registration does not belong to a connection. So a visitor
// who leaves is still registered, and a visitor who clicks twice is registered
// once.
type registrations struct {
	client *clixnow.Client
	logger *slog.Logger
	// fake is the origin of a fake API, such as "http://127.0.0.1:8080". It is
	// "" for the real API.
	fake string

	running sync.WaitGroup
	mu      sync.Mutex
	byID    map[string]*registration
	closed  bool
}

// registration is one sign-up.
type registration struct {
	form form
	// inDoubtSince is the time of the first attempt of unknown outcome. It is
	// zero if there was none.
	inDoubtSince time.Time
	// done is closed when the other fields are final.
	done chan struct{}
	lead *clixnow.EnsureLeadResponse
	// redirectURL is where the visitor goes. It is "" if the visitor must stay.
	redirectURL string
	err         error
}

// newRegistrations needs the base URL of the API, which may be "".
func newRegistrations(client *clixnow.Client, logger *slog.Logger, api string) *registrations {
	r := &registrations{client: client, logger: logger, byID: make(map[string]*registration)}
	if base, err := url.Parse(api); err == nil && base.Scheme == "http" {
		r.fake = "http://" + base.Host // the SDK refuses http, except on loopback
	}
	return r
}

// start starts the registration of a sign-up. If one with the same id is in
// progress or has succeeded, start returns that one. If that one has failed,
// start starts a new one. It returns nil if there are too many registrations,
// or if the program is stopping.
func (r *registrations) start(ctx context.Context, f form, req clixnow.CreateLeadRequest) *registration {
	r.mu.Lock()
	defer r.mu.Unlock()
	started := &registration{form: f, done: make(chan struct{})}
	known := r.byID[f.id()]
	switch {
	case known != nil && (r.closed || !known.failed()):
		return known
	case r.closed, known == nil && len(r.byID) >= maxRegistrations:
		return nil
	case known != nil:
		started.inDoubtSince = known.inDoubtSince
	}
	r.byID[f.id()] = started
	// The registration goes on if the visitor closes the connection.
	r.running.Go(func() { r.register(context.WithoutCancel(ctx), started, req) })
	return started
}

func (r *registrations) register(ctx context.Context, started *registration, req clixnow.CreateLeadRequest) {
	ctx, cancel := context.WithTimeout(ctx, registrationTimeout)
	defer cancel()
	begin, keep := time.Now(), keepFor
	started.lead, started.err = r.client.EnsureLeadSince(ctx, req, started.inDoubtSince)
	switch clixnow.OutcomeOf(started.err) {
	case clixnow.OutcomeRegistered:
		started.redirectURL = r.secureRedirect(started.lead)
	case clixnow.OutcomeUnknown:
		keep = keepUnknownFor
		if started.inDoubtSince.IsZero() {
			started.inDoubtSince = begin
		}
	default:
		started.inDoubtSince = time.Time{} // nothing was created
	}
	report(ctx, r.logger, req.ClickID, started)
	close(started.done)
	time.AfterFunc(keep, func() { r.forget(started) })
}

// secureRedirect returns the redirect URL of a lead. It returns "" if the URL
// is not https, because the URL logs the visitor in and others could read it.
// The URLs of a fake API on loopback need no https.
func (r *registrations) secureRedirect(lead *clixnow.EnsureLeadResponse) string {
	link, err := url.Parse(lead.RedirectURL)
	if err != nil || link.Host == "" || link.Scheme != "https" && link.Scheme+"://"+link.Host != r.fake {
		return ""
	}
	return lead.RedirectURL
}

func (r *registrations) forget(old *registration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byID[old.form.id()] == old { // a newer one with the same id is kept
		delete(r.byID, old.form.id())
	}
}

// find returns the registration of an id, or nil.
func (r *registrations) find(id string) *registration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byID[id]
}

// finish stops new sign-ups, and returns when those in progress have ended.
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
