package lead

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/spf13/cobra"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
)

// event is what watch prints.
type event struct {
	Time   time.Time         `json:"time"`
	Event  clixnow.LeadEvent `json:"event"`
	ID     int64             `json:"id"`
	Status string            `json:"status"`
	Email  string            `json:"email"`
	Lead   clixnow.Lead      `json:"lead"`
}

// known is what the state file keeps of a lead: what LeadEvents compares.
type known struct {
	Status  string    `json:"status,omitempty"`
	FTDDate time.Time `json:"ftdDate,omitzero"`
}

// state is the content of the state file.
type state struct {
	Brand string `json:"brand"`
	// BaseURL is the address of the API. Older files have none.
	BaseURL string `json:"baseUrl"`
	// Since is the position of LeadChanges.
	Since time.Time `json:"since,omitzero"`
	// Complete means that the leads of the past have been read. Their events
	// are not printed.
	Complete bool            `json:"complete"`
	Leads    map[int64]known `json:"leads"`
}

// watcher follows the changes of a brand.
type watcher struct {
	app     *app.App
	file    string
	state   state
	printer *app.Printer[event]
	// batch holds what was read since the last checkpoint.
	batch []clixnow.Lead
}

func watch(a *app.App) *cobra.Command {
	var file string
	var poll time.Duration
	var once bool
	cmd := &cobra.Command{
		Use: "watch", Short: "Print what happens to leads", Args: app.Args(),
		Long: `Follow the changes of all leads, and print a line for each event: created,
status changed, deposited, or deposit withdrawn. Ctrl-C ends it.

It begins by reading the leads that are there, without printing them. With
--state it saves its position and goes on from there the next time. It prints
each event before it saves the position, so after a crash some events are
printed twice. The file grows with the number of leads.`,
		Example: `  clixnow lead watch
  clixnow lead watch --state leads.json -o jsonl
  clixnow lead watch --state leads.json --once`,
	}
	cmd.Flags().StringVar(&file, "state", "", "the `FILE` that keeps the position")
	cmd.Flags().DurationVar(&poll, "poll", time.Minute, "the `TIME` between two polls")
	cmd.Flags().BoolVar(&once, "once", false, "end when all changes have been read")
	format := app.FormatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if poll <= 0 {
			return app.Usage("--poll must be longer than 0")
		}
		if once {
			poll = 0
		}
		printer := app.Printer[event]{
			Format: *format, Fields: []string{"time", "event", "id", "status", "email"},
			Row: func(e event) string {
				return fmt.Sprintf("%s\tlead %d\t%s\t%s", e.Time.UTC().Format(time.RFC3339), e.ID, e.Event, e.Status)
			},
		}.Open(a)
		w := &watcher{app: a, file: file, printer: printer}
		return w.run(cmd.Context(), poll)
	}
	return cmd
}

func (w *watcher) run(ctx context.Context, poll time.Duration) error {
	settings, _ := w.app.Settings() // Client returns the error.
	client, err := w.app.Client(ctx)
	if err != nil {
		return err
	}
	unlock, err := w.load(settings.Brand, settings.Address())
	if err != nil {
		return err
	}
	defer unlock()
	if w.app.Demo {
		poll = min(poll, time.Second)
		go w.app.ChangeDemo(ctx)
	}
	progress := w.app.Progress("leads read")
	changes := client.LeadChanges(ctx, clixnow.LeadChangesRequest{
		Since: w.state.Since, PollInterval: poll, CheckpointEvery: 1000,
		Checkpoint: func(since time.Time, caughtUp bool) error {
			_ = progress.Finish()
			return w.checkpoint(since, caughtUp)
		},
	})
	for lead, err := range changes {
		switch {
		case errors.Is(err, clixnow.ErrPassFailed):
			fmt.Fprintln(w.app.Err, "clixnow:", app.Text(err))
		case err != nil && ctx.Err() != nil:
			return w.printer.Close() // The user has stopped the program.
		case err != nil:
			return err
		default:
			w.batch = append(w.batch, lead)
			_ = progress.Add(1)
		}
	}
	return w.printer.Close()
}

// checkpoint prints the events of the batch and saves the position.
func (w *watcher) checkpoint(since time.Time, caughtUp bool) error {
	if w.state.Complete && len(w.batch) == 0 {
		return nil // Without changes the old position is as good.
	}
	for _, lead := range w.batch {
		var before *clixnow.Lead
		if old, ok := w.state.Leads[lead.ID]; ok {
			before = &clixnow.Lead{Status: old.Status, FTDDate: old.FTDDate}
		}
		w.state.Leads[lead.ID] = known{strings.Clone(lead.Status), lead.FTDDate}
		if !w.state.Complete {
			continue
		}
		for _, what := range clixnow.LeadEvents(before, lead) {
			at := cmp.Or(lead.UpdatedOn, lead.CreatedOn, time.Now())
			if err := w.printer.Print(event{at, what, lead.ID, lead.Status, lead.Email, lead}); err != nil {
				return err
			}
		}
	}
	w.batch, w.state.Since = nil, since
	if caughtUp && !w.state.Complete {
		w.state.Complete = true
		fmt.Fprintf(w.app.Err, "watching %d leads\n", len(w.state.Leads))
	}
	if err := w.printer.Flush(); err != nil || w.file == "" {
		return err
	}
	data, err := json.Marshal(w.state)
	if err != nil {
		return err
	}
	if err := app.WriteFile(w.file, data); err != nil {
		return fmt.Errorf("save the position: %w", err)
	}
	return nil
}

// load reads the state file and locks it.
func (w *watcher) load(brand, address string) (unlock func(), err error) {
	w.state = state{Brand: brand, BaseURL: address, Leads: map[int64]known{}}
	if w.file == "" {
		return func() {}, nil
	}
	lock := flock.New(w.file + ".lock")
	locked, err := lock.TryLock()
	switch {
	case err != nil:
		return nil, app.Usage("lock the state: %w", err)
	case !locked:
		return nil, app.Usage("another program uses %s: end it, or give another --state", w.file)
	}
	unlock = func() { _ = lock.Unlock() }
	data, err := os.ReadFile(w.file)
	if errors.Is(err, fs.ErrNotExist) {
		return unlock, nil
	}
	var saved state
	if err == nil {
		err = json.Unmarshal(data, &saved)
	}
	switch {
	case err != nil:
		err = app.Usage("read %s: %w; if it is no state file, give another --state", w.file, err)
	case saved.Brand != brand || saved.Leads == nil:
		err = app.Usage("%s is not a state file of brand %q; give another --state", w.file, brand)
	case cmp.Or(saved.BaseURL, address) != address:
		err = app.Usage("%s belongs to %s, not to %s; give another --state", w.file, saved.BaseURL, address)
	default:
		w.state, w.state.BaseURL = saved, address
		fmt.Fprintf(w.app.Err, "resuming with %d leads\n", len(saved.Leads))
		return unlock, nil
	}
	unlock()
	return nil, err
}
