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

// batchSize is the number of leads that one transaction saves, and the number
// of events that are printed at once.
const batchSize = 500

// syncer keeps a store current and prints the events.
type syncer struct {
	client *clixnow.Client
	store  *store
	// poll is the time between two passes. 0 means to stop when caught up.
	poll     time.Duration
	out      io.Writer
	log      *slog.Logger
	progress *progress

	// batch has the leads that were read but not saved yet.
	batch []clixnow.Lead
	// position is the saved position.
	position time.Time
}

// run follows the changes until ctx is done. If poll is 0, it returns when it
// has caught up.
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
		// The last transaction may or may not have been committed. So follow
		// reads the position from the database again.
		s.log.Error("waiting for the database", "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(min(s.poll, 5*time.Second)):
		}
	}
}

// follow reads one sequence of changes until it ends. It returns the error that
// ended it.
func (s *syncer) follow(ctx context.Context) error {
	since, err := s.store.position(ctx)
	if err != nil {
		return err
	}
	if err := s.printEvents(ctx); err != nil { // events that an earlier run saved but did not print
		return err
	}
	s.log.Info("following changes", "since", since, "poll", s.poll)
	s.batch, s.position = nil, since
	defer s.progress.end()
	changes := s.client.LeadChanges(ctx, clixnow.LeadChangesRequest{
		Since: since, PollInterval: s.poll, CheckpointEvery: batchSize,
		Checkpoint: func(position time.Time, caughtUp bool) error {
			return s.checkpoint(ctx, position, caughtUp)
		},
	})
	for lead, err := range changes {
		if err == nil {
			s.batch = append(s.batch, lead)
			s.progress.add(lead)
			continue
		}
		if saveErr := s.saveIncomplete(ctx); saveErr != nil {
			return saveErr
		}
		if !errors.Is(err, clixnow.ErrPassFailed) {
			return err
		}
		s.log.Error("a pass failed", "error", err)
	}
	return nil
}

// saveIncomplete saves the batch after a failure. The position stays where it
// is, so the next sequence reads these leads again.
func (s *syncer) saveIncomplete(ctx context.Context) error {
	if len(s.batch) == 0 {
		return nil
	}
	return s.commit(ctx, s.position)
}

// checkpoint saves the batch with the position.
func (s *syncer) checkpoint(ctx context.Context, position time.Time, caughtUp bool) error {
	if err := s.commit(ctx, position); err != nil || !caughtUp {
		return err
	}
	if leads := s.progress.end(); leads > 0 || s.poll == 0 {
		s.log.Info("caught up", "leads", leads, "position", position)
	}
	return nil
}

// commit saves the batch with a position and prints its events. If ctx is done,
// the transaction is still completed.
func (s *syncer) commit(ctx context.Context, position time.Time) error {
	batch := s.batch
	s.batch = nil
	if err := s.store.save(context.WithoutCancel(ctx), batch, position); err != nil {
		return err
	}
	s.position = position
	return s.printEvents(ctx)
}

// printEvents prints the events that are not marked as printed. If ctx is done,
// it leaves the rest to the next run.
func (s *syncer) printEvents(ctx context.Context) error {
	for {
		n, err := s.printBatch(context.WithoutCancel(ctx))
		if err != nil || n < batchSize || ctx.Err() != nil {
			return err
		}
	}
}

// printBatch prints at most batchSize events and then marks them as printed. If
// the program dies between the two, the next run prints them again.
func (s *syncer) printBatch(ctx context.Context) (n int, err error) {
	events, err := s.store.unprinted(ctx, batchSize)
	if err != nil || len(events) == 0 {
		return 0, err
	}
	s.progress.pause()
	for _, event := range events {
		// Each line is written at once, so that a kill does not cut a line.
		if _, err := fmt.Fprintln(s.out, event); err != nil {
			return 0, fmt.Errorf("print events: %w", err)
		}
	}
	return len(events), s.store.markPrinted(ctx, events[len(events)-1].id)
}
