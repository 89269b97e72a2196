// Package postback tells trackers about the events of a mirror: a tracker gets
// an HTTP request for each first deposit, or for other events.
//
//	s, err := postback.New(ctx, m, postback.Options{Destinations: all})
//	err = s.Run(ctx) // beside m.Run
//
// Each event is sent at least once, always with the same {eventId}, and after
// it was committed to the mirror. The events of a lead are sent in their order.
// Each destination has a queue in the database of the mirror, so the
// destinations do not wait for each other, and a restart loses nothing. An
// event that has failed for a day stays in the database until Retry.
//
// The [docs] describe the configuration, the presets and the limits.
//
// [docs]: https://github.com/clixnow/clixnow-go/blob/main/docs/postbacks.md
package postback

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/clixnow/clixnow-go/store/internal/tables"
	"github.com/clixnow/clixnow-go/store/mirror"
)

// Options says where postbacks go.
type Options struct {
	// Destinations are the trackers.
	Destinations []Destination
	// From is the time of the first event that a new destination gets. Earlier
	// events are skipped. A zero time means now. It does not change
	// destinations that the database knows.
	From time.Time
	// Transport wraps the transport of each destination, for traces, metrics or
	// tests. The transport that it gets refuses private addresses. Nil means
	// that it is used directly.
	Transport func(http.RoundTripper) http.RoundTripper
	// Logger gets a line for each change of state. Nil means none.
	Logger *slog.Logger
}

// Sender sends postbacks.
type Sender struct {
	mirror       *mirror.Mirror
	destinations []*destination
	log          *slog.Logger
	// poll is the time between two looks for new events.
	poll time.Duration
}

//go:embed migrations
var migrations embed.FS

const (
	// version is the number of the last migration.
	version = 1
	// databaseDelay is the time between two attempts to reach the database.
	databaseDelay = 5 * time.Second
)

// New checks the destinations, migrates the tables, and adds new destinations
// to the database. m must be the owner of the mirror. New sends nothing.
func New(ctx context.Context, m *mirror.Mirror, opts Options) (*Sender, error) {
	destinations, err := compileAll(opts.Destinations)
	if err != nil {
		return nil, err
	}
	found, err := tables.Migrate(ctx, m.DB(), string(m.Dialect()), migrations, "postback_version")
	if err != nil {
		return nil, fmt.Errorf("%w: open postbacks: %w", mirror.ErrDatabase, err)
	}
	if found != version {
		return nil, fmt.Errorf("%w: its tables of postbacks have version %d, but this program needs version %d",
			mirror.ErrWrongDatabase, found, version)
	}
	s := &Sender{mirror: m, destinations: destinations, log: opts.Logger, poll: time.Second}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	for _, d := range destinations {
		if opts.Transport != nil {
			d.client.Transport = opts.Transport(d.client.Transport)
		}
		if err := s.register(ctx, d, opts.From); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Run sends postbacks until ctx is done. Then it returns nil. If the database
// fails, Run waits for it. If another process takes over the mirror, Run
// returns mirror.ErrTakenOver.
func (s *Sender) Run(ctx context.Context) error {
	return s.each(ctx, func(ctx context.Context, d *destination) error {
		failing := false
		for ctx.Err() == nil {
			err := s.drain(ctx, d, false)
			switch {
			case errors.Is(err, mirror.ErrTakenOver):
				return err
			case err == nil || ctx.Err() != nil:
				failing = false
				sleep(ctx, s.poll)
			default:
				if !failing {
					s.log.Error("postbacks wait for the database", "postback", d.Name, "error", err)
				}
				failing = true
				sleep(ctx, databaseDelay)
			}
		}
		return nil
	})
}

// Once sends what is due, and returns. What fails stays in the queue.
func (s *Sender) Once(ctx context.Context) error {
	return s.each(ctx, func(ctx context.Context, d *destination) error { return s.drain(ctx, d, true) })
}

// each calls do for all destinations at once. The first error ends all.
func (s *Sender) each(ctx context.Context, do func(context.Context, *destination) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var all sync.WaitGroup
	errs := make([]error, len(s.destinations))
	for i, d := range s.destinations {
		all.Go(func() {
			defer d.client.CloseIdleConnections()
			if errs[i] = do(ctx, d); errs[i] != nil {
				stop()
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return nil
}

// drain queues the new events of a destination, and sends what is due. With
// once it does not wait for a database that fails.
func (s *Sender) drain(ctx context.Context, d *destination, once bool) error {
	defer s.logGivenUp(d)
	var last int64
	if err := s.mirror.DB().QueryRowContext(ctx, selectLastEvent).Scan(&last); err != nil {
		return fmt.Errorf("%w: read the last event: %w", mirror.ErrDatabase, err)
	}
	for more := last > d.cursor; more; {
		var err error
		if more, err = s.enqueue(ctx, d); err != nil {
			return err
		}
	}
	for ctx.Err() == nil && !time.Now().Before(d.pausedUntil) {
		limit := d.Concurrency
		if d.failures > 0 {
			limit = 1 // one request shows whether the tracker works again
		}
		items, err := s.due(ctx, d, limit)
		if err != nil || len(items) == 0 {
			return err
		}
		if err := s.attempt(ctx, d, items, once); err != nil {
			return err
		}
	}
	return nil
}

// attempt sends a batch and saves the results. It does not return before they
// are saved, or ctx is done: otherwise a full disk would make it send the batch
// again and again.
func (s *Sender) attempt(ctx context.Context, d *destination, items []item, once bool) error {
	outcomes := make([]outcome, len(items))
	var batch sync.WaitGroup
	for i := range items {
		batch.Go(func() { outcomes[i] = d.send(ctx, &items[i]) })
	}
	batch.Wait()
	now := time.Now()
	s.note(d, outcomes, now)
	failing := false
	for {
		// The results are saved even if ctx is done.
		saving, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		err := s.save(saving, d, items, outcomes, now)
		if err == nil && d.refusing {
			s.checkRefusing(saving, d, outcomes)
		}
		cancel()
		if err == nil || errors.Is(err, mirror.ErrTakenOver) || once || ctx.Err() != nil {
			return err
		}
		if !failing {
			s.log.Error("results of postbacks wait for the database", "postback", d.Name, "error", err)
		}
		failing = true
		sleep(ctx, databaseDelay)
	}
}

// note changes the state of the destination after a batch, and logs failures.
func (s *Sender) note(d *destination, outcomes []outcome, now time.Time) {
	succeeded, retryAfter := false, time.Duration(0)
	var broken, refused error
	for _, o := range outcomes {
		switch {
		case o.stopped:
		case o.err == nil:
			succeeded = true
		case o.everyone:
			broken, retryAfter = o.err, max(retryAfter, o.retryAfter)
		default:
			refused = o.err
		}
	}
	log := s.log.With("postback", d.Name, "host", d.template.Origin)
	warn := func(text string, err error, state *bool) {
		if err != nil && now.Sub(d.logged[err.Error()]) >= time.Hour {
			d.logged[err.Error()], *state = now, true
			log.Warn(text, "error", err)
		}
	}
	warn("the tracker does not accept postbacks; they wait and are retried", broken, &d.warned)
	warn("the tracker refused an event; it is retried, and does not hold up others", refused, &d.refusing)
	switch {
	case broken != nil:
		if d.failures == 0 || succeeded {
			d.failures, d.failingSince = 0, now
		}
		d.failures++
		d.pausedUntil = now.Add(max(backoff(d.failures), retryAfter))
	case succeeded && !d.failingSince.IsZero():
		long := now.Sub(d.failingSince) >= time.Minute
		if long || d.warned {
			log.Info("the tracker works again")
		}
		if long {
			clear(d.logged)
		}
		d.warned = false
		d.failures, d.failingSince, d.pausedUntil = 0, time.Time{}, time.Time{}
	case refused != nil:
		// It answers, so nothing is held up. It fails until it accepts one.
		d.failures, d.pausedUntil = 0, time.Time{}
	}
}

// logGivenUp logs the number of events that were given up, once in an hour.
func (s *Sender) logGivenUp(d *destination) {
	if d.givenUp == 0 || time.Since(d.givenUpLogged) < time.Hour {
		return
	}
	s.log.Error("events have failed for a day and are given up; see \"clixnow postback list\"",
		"postback", d.Name, "events", d.givenUp)
	d.givenUp, d.givenUpLogged = 0, time.Now()
}

// checkRefusing logs that no event is refused any more.
func (s *Sender) checkRefusing(ctx context.Context, d *destination, outcomes []outcome) {
	const statement = "SELECT count(*) FROM postback_queue WHERE destination = $1 AND state = 'waiting' " +
		"AND attempts > 0"
	if !slices.ContainsFunc(outcomes, func(o outcome) bool { return o.err == nil && !o.stopped }) {
		return
	}
	var waiting int64
	err := s.mirror.DB().QueryRowContext(ctx, statement, d.Name).Scan(&waiting)
	if err == nil && waiting == 0 { // after an error, the next success shows it
		s.log.Info("the tracker accepts all events again", "postback", d.Name)
		d.refusing = false
	}
}

// sleep waits until a time has passed or ctx is done.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
