package mirror

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/clixnow/clixnow-go"
)

// RunOptions says which brands Run follows, and how.
type RunOptions struct {
	// Clients are the clients of the brands. Each must have another brand.
	Clients []*clixnow.Client
	// PollInterval is the time between two passes of a brand. 0 means a minute.
	PollInterval time.Duration
	// Once ends Run when each brand has caught up or has failed.
	Once bool
	// Logger gets a line for each change of state. Nil means none.
	Logger *slog.Logger
	// Observe is called after each transaction and each change of state. The
	// calls do not overlap, and hold up the brand. Nil means that it is not
	// called.
	Observe func(Status)
}

// Status is the state of a brand.
type Status struct {
	// Brand is the brand.
	Brand string
	// Position is the time before which all changes are saved. A zero time
	// means that none are saved.
	Position time.Time
	// Leads is the number of leads that were read since Run began.
	Leads int64
	// Events is the number of events that were recorded since Run began.
	Events int64
	// CaughtUpAt is when all changes had been read last. A zero time means not
	// since Run began.
	CaughtUpAt time.Time
	// Err says why the brand cannot be followed at the moment. Run retries. Nil
	// means that it can be followed.
	Err error
}

const (
	// batchSize is the number of leads in one transaction.
	batchSize = 2000
	// longestDelay is the longest time between two attempts after failures of a
	// brand.
	longestDelay = 15 * time.Minute
	// databaseDelay is the longest time between two attempts to reach the
	// database.
	databaseDelay = 5 * time.Second
)

// Run follows the changes of all brands at once, each with its own position. It
// ends without an error when ctx is done.
//
// If a brand fails, Run retries it after a time that grows up to 15 minutes,
// and goes on with the other brands. If each brand refuses its token or its
// requests at the same time, Run ends with their errors. If the database fails,
// Run waits for it, and continues from the saved positions. If another process
// takes over the mirror, Run ends with ErrTakenOver.
//
// With Once, Run reads each brand until it has caught up, and returns the
// errors of those that failed.
func (m *Mirror) Run(ctx context.Context, opts RunOptions) error {
	brands := make(map[string]bool)
	for _, client := range opts.Clients {
		if brands[client.Brand()] {
			return fmt.Errorf("mirror: two clients have the brand %q", client.Brand())
		}
		brands[client.Brand()] = true
	}
	if opts.PollInterval <= 0 {
		opts.PollInterval = time.Minute
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	r := &runner{mirror: m, opts: opts, stop: stop, refused: make(map[string]error), noDatabase: make(map[string]bool)}
	errs := make([]error, len(opts.Clients))
	var brandsDone sync.WaitGroup
	for i, client := range opts.Clients {
		f := &follower{runner: r, client: client, status: Status{Brand: client.Brand()}}
		brandsDone.Go(func() { errs[i] = f.run(ctx) })
	}
	brandsDone.Wait()
	if !opts.Once {
		return r.fatal
	}
	return errors.Join(errs...)
}

// runner is one call of Run.
type runner struct {
	mirror *Mirror
	opts   RunOptions
	// stop ends all brands.
	stop func()

	mu sync.Mutex
	// refused has the errors of the brands that refuse to be read.
	refused map[string]error
	// noDatabase has the brands for which the database failed.
	noDatabase map[string]bool
	// fatal is the error that ends Run. It may be nil.
	fatal error
}

// follower follows one brand.
type follower struct {
	*runner
	client *clixnow.Client
	status Status
	// failures is the number of failures since the brand was read last.
	failures int

	// caughtUpSaved is when caught_up_at was saved last. A zero time means not
	// yet.
	caughtUpSaved time.Time
	// batch has the leads that were read since the last checkpoint.
	batch []record
	// saving gives the result of the transaction that runs. It may be nil.
	saving chan result
}

// result is the result of a transaction.
type result struct {
	position time.Time
	events   int
	err      error
}

// run follows the brand until ctx is done. With Once it returns when the brand
// has caught up or has failed.
func (f *follower) run(ctx context.Context) error {
	err := f.follow(ctx)
	for !f.opts.Once && ctx.Err() == nil {
		sleep(ctx, f.failed(ctx, err))
		err = f.follow(ctx)
	}
	return err
}

// follow reads one sequence of changes until it ends, and returns the error
// that ended it. While it saves a batch, it reads the next one.
func (f *follower) follow(ctx context.Context) error {
	since, err := f.position(ctx)
	if err != nil {
		return err
	}
	f.status.Position, f.batch = since, nil
	req := clixnow.LeadChangesRequest{
		Since: since, PollInterval: f.opts.PollInterval, CheckpointEvery: batchSize,
		Checkpoint: func(position time.Time, caughtUp bool) error { return f.checkpoint(ctx, position, caughtUp) },
	}
	if f.opts.Once {
		req.PollInterval = 0
	}
	for lead, err := range f.client.LeadChanges(ctx, req) {
		var r record
		if err == nil {
			r, err = recordOf(&lead)
		}
		if err == nil {
			f.batch = append(f.batch, r) // meanwhile the database saves the batch before
			continue
		}
		if saveErr := f.saveIncomplete(ctx); saveErr != nil {
			return saveErr
		}
		if !errors.Is(err, clixnow.ErrPassFailed) {
			return err
		}
		sleep(ctx, f.failed(ctx, err)-f.opts.PollInterval) // the sequence waits too
	}
	return nil
}

// checkpoint waits for the batch before, and begins to save this one.
func (f *follower) checkpoint(ctx context.Context, position time.Time, caughtUp bool) error {
	if err := f.saved(); err != nil {
		return err
	}
	f.status.Leads += int64(len(f.batch))
	if len(f.batch) == 0 && caughtUp && time.Since(f.caughtUpSaved) < f.mirror.quietInterval {
		// Without changes the saved position is as good.
		err := f.mirror.checkOwner(ctx)
		if err == nil {
			f.succeeded(true)
		}
		return err
	}
	f.save(ctx, position, caughtUp)
	if !caughtUp {
		return nil
	}
	err := f.saved()
	if err == nil {
		f.caughtUpSaved = time.Now()
		f.succeeded(true)
	}
	return err
}

// saveIncomplete saves the batch after a failure. The position stays where it
// is, so the next sequence reads these leads again.
func (f *follower) saveIncomplete(ctx context.Context) error {
	if err := f.saved(); err != nil || len(f.batch) == 0 {
		return err
	}
	f.status.Leads += int64(len(f.batch))
	f.save(ctx, f.status.Position, false)
	return f.saved()
}

// save begins to save the batch with a position. If ctx is done, the
// transaction is still completed.
func (f *follower) save(ctx context.Context, position time.Time, caughtUp bool) {
	batch := f.batch
	f.batch = make([]record, 0, len(batch))
	f.saving = make(chan result, 1)
	go func() {
		events, err := f.mirror.save(context.WithoutCancel(ctx), f.client.Brand(), batch, position, caughtUp)
		f.saving <- result{position, events, err}
	}()
}

// saved waits for the transaction that runs.
func (f *follower) saved() error {
	if f.saving == nil {
		return nil
	}
	r := <-f.saving
	f.saving = nil
	if r.err == nil {
		f.status.Position = r.position
		f.status.Events += int64(r.events)
		f.succeeded(false)
	}
	return r.err
}

// save saves leads, their events and the position in one transaction. It
// returns the number of events.
func (m *Mirror) save(
	ctx context.Context, brand string, leads []record, position time.Time, caughtUp bool,
) (events int, err error) {
	const upsert = "INSERT INTO mirror_brands (brand, position, caught_up_at) VALUES ($1, $2, $3) " +
		"ON CONFLICT (brand) DO UPDATE SET position = excluded.position, " +
		"caught_up_at = coalesce(excluded.caught_up_at, mirror_brands.caught_up_at)"
	var caughtUpAt time.Time
	if caughtUp {
		caughtUpAt = time.Now()
	}
	err = m.transact(ctx, "save leads of brand "+brand, func(ctx context.Context, tx transaction) error {
		recorded, err := m.apply(ctx, tx, brand, leads)
		if err != nil {
			return err
		}
		events = len(recorded)
		if caughtUp {
			if err := m.createIndexes(ctx, tx.Tx); err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, upsert, brand, nullable(position), nullable(caughtUpAt))
		return err
	})
	return events, err
}

// position returns the saved position.
func (f *follower) position(ctx context.Context) (time.Time, error) {
	if err := f.mirror.checkOwner(ctx); err != nil {
		return time.Time{}, err
	}
	var position text
	err := f.mirror.db.QueryRowContext(ctx, "SELECT position FROM mirror_brands WHERE brand = $1",
		f.status.Brand).Scan(&position)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return parseDate(string(position)), databaseError("read the position", err)
}

// succeeded reports that the brand was saved. caughtUp means that it has caught
// up.
func (f *follower) succeeded(caughtUp bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	log := f.opts.Logger.With("brand", f.status.Brand)
	if f.noDatabase[f.status.Brand] {
		f.status.Err = nil
		delete(f.noDatabase, f.status.Brand)
		if len(f.noDatabase) == 0 {
			f.opts.Logger.Info("the database works again")
		}
	}
	if caughtUp {
		first := f.status.CaughtUpAt.IsZero()
		f.status.CaughtUpAt = time.Now()
		f.failures = 0
		delete(f.refused, f.status.Brand)
		if f.status.Err != nil {
			log.Info("the brand works again")
		}
		if first {
			log.Info("caught up", "leads", f.status.Leads, "position", f.status.Position)
		}
		f.status.Err = nil
	}
	f.observe()
}

// failed reports a failure and returns the time to wait.
func (f *follower) failed(ctx context.Context, err error) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil || ctx.Err() != nil {
		return 0
	}
	before := f.status.Err
	f.status.Err = err
	defer f.observe()
	log := f.opts.Logger.With("brand", f.status.Brand)
	switch {
	case errors.Is(err, ErrTakenOver):
		f.end(err)
		return 0
	case errors.Is(err, ErrDatabase):
		if len(f.noDatabase) == 0 {
			f.opts.Logger.Error("waiting for the database", "error", err)
		}
		f.noDatabase[f.status.Brand] = true
		return min(f.opts.PollInterval, databaseDelay)
	case errors.Is(err, clixnow.ErrPassFailed):
		delete(f.refused, f.status.Brand)
		if before == nil {
			log.Error("the brand fails; it is retried", "error", err)
		}
	case f.refused[f.status.Brand] == nil:
		f.refused[f.status.Brand] = err
		log.Error("the brand refuses to be read; it is retried", "error", err)
	}
	if len(f.refused) == len(f.opts.Clients) {
		f.end(errors.Join(slices.Collect(maps.Values(f.refused))...))
	}
	delay := min(f.opts.PollInterval<<min(f.failures, 10), max(longestDelay, f.opts.PollInterval))
	f.failures++
	return delay
}

// end ends Run with an error.
func (r *runner) end(err error) {
	if r.fatal == nil {
		r.fatal = err
	}
	r.stop()
}

func (f *follower) observe() {
	if f.opts.Observe != nil {
		f.opts.Observe(f.status)
	}
}

// sleep waits until a time has passed or ctx is done.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
