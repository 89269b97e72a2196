package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/clixnow/clixnow-go"
)

const (
	batchSize  = 500              // leads saved in one transaction, and events printed at once
	clockError = 10 * time.Minute // how far our clock may run ahead of the API's
)

// syncer keeps a store current, and prints what happened.
type syncer struct {
	client   *clixnow.Client
	store    *store
	poll     time.Duration // 0: end when caught up
	out      io.Writer
	log      *slog.Logger
	progress *progress

	batch    []clixnow.Lead // read, not saved yet
	position time.Time      // saved
	began    time.Time      // the pass that is being read, or earlier
}

// run follows the changes until ctx is done, or, where it is not to poll, until
// it has caught up.
func (s *syncer) run(ctx context.Context) error {
	for {
		err := s.follow(ctx)
		switch {
		case s.poll == 0:
			return err
		case ctx.Err() != nil && errors.Is(err, ctx.Err()):
			return nil
		case !errors.Is(err, errDatabase):
			return err
		}
		// Whether the last transaction was committed is not known. The database
		// knows: go on from what it holds.
		s.log.Error("will go on when the database answers", "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(min(s.poll, 5*time.Second)):
		}
	}
}

// follow reads one sequence of changes, and returns what ended it.
func (s *syncer) follow(ctx context.Context) error {
	since, err := s.store.position(ctx)
	if err != nil {
		return err
	}
	if err := s.publish(ctx); err != nil { // what an earlier run did not come to
		return err
	}
	s.log.Info("following changes", "since", since, "poll", s.poll)
	s.batch, s.position, s.began = nil, since, time.Now()
	defer s.progress.end()
	var reading, saving error
	changes := s.client.LeadChanges(ctx, clixnow.LeadChangesRequest{
		Since: since, PollInterval: s.poll,
		CaughtUp: func(since time.Time) error {
			saving = s.caughtUp(ctx, since)
			return saving
		},
	})
	for lead, err := range changes {
		if err == nil {
			saving = s.add(ctx, lead)
		} else if saving == nil { // a pass failed, or the program is to stop: what was read is whole
			reading, saving = err, s.flush(ctx)
			if s.poll != 0 && ctx.Err() == nil {
				s.log.Error("a pass failed", "error", err)
			}
		}
		if saving != nil {
			return saving
		}
	}
	return reading
}

func (s *syncer) add(ctx context.Context, lead clixnow.Lead) error {
	s.batch = append(s.batch, lead)
	s.progress.add(lead)
	if len(s.batch) < batchSize {
		return nil
	}
	return s.flush(ctx) // a first pass over a long history is no single transaction
}

// flush saves what has been read in the middle of a pass.
func (s *syncer) flush(ctx context.Context) error {
	if len(s.batch) == 0 {
		return nil
	}
	return s.commit(ctx, s.midPass())
}

// midPass is the position to save in the middle of a pass: that of the lead
// read last, but none later than the beginning of the pass, as LeadChanges
// asks. That beginning is one of the API's clock, so ours is given some room.
func (s *syncer) midPass() time.Time {
	position := s.batch[len(s.batch)-1].UpdatedOn
	if latest := s.began.Add(-clockError); position.After(latest) {
		position = latest
	}
	if position.Before(s.position) { // the leads of one overlap come again
		position = s.position
	}
	return position
}

func (s *syncer) caughtUp(ctx context.Context, position time.Time) error {
	if err := s.commit(ctx, position); err != nil {
		return err
	}
	s.began = time.Now()
	if leads := s.progress.end(); leads > 0 || s.poll == 0 {
		s.log.Info("caught up", "leads", leads, "position", position)
	}
	return nil
}

// commit saves the batch with a position, and prints its events. A stop does
// not cut it in two.
func (s *syncer) commit(ctx context.Context, position time.Time) error {
	batch := s.batch
	s.batch = nil
	if err := s.store.save(context.WithoutCancel(ctx), batch, position); err != nil {
		return err
	}
	s.position = position
	return s.publish(ctx)
}

// publish prints the events that are not known to have been printed.
func (s *syncer) publish(ctx context.Context) error {
	for {
		n, err := s.publishSome(context.WithoutCancel(ctx))
		if err != nil || n < batchSize || ctx.Err() != nil { // a stop leaves the rest to the next run
			return err
		}
	}
}

// publishSome prints first and marks then, so what a death between the two
// leaves unmarked is printed again.
func (s *syncer) publishSome(ctx context.Context) (n int, err error) {
	events, err := s.store.unprinted(ctx, batchSize)
	if err != nil || len(events) == 0 {
		return 0, err
	}
	s.progress.pause()
	for _, event := range events {
		if _, err := fmt.Fprintln(s.out, event); err != nil { // each in one write: a death leaves no half of a line
			return 0, fmt.Errorf("print events: %w", err)
		}
	}
	return len(events), s.store.printed(ctx, events[len(events)-1].id)
}
