// Command sync keeps a copy of all leads in a JSON file and prints what happens
// to them: new statuses and first deposits.
//
//	go run ./examples/sync
//	CLIXNOW_TOKEN=... go run ./examples/sync -brand acme -file leads.json
//
// Without -brand it runs a demonstration with a fake Clixnow API in memory.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

func main() {
	brand := flag.String("brand", "", "brand to read from (default: a demonstration)")
	file := flag.String("file", "leads.json", "file of the copy, with -brand")
	poll := flag.Duration("poll", time.Minute, "time between two polls, with -brand")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout, *brand, *file, *poll)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "sync:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, brand, file string, poll time.Duration) error {
	if brand == "" {
		return demo(ctx, out)
	}
	client, err := clixnow.NewClient(brand, os.Getenv("CLIXNOW_TOKEN"))
	if err != nil {
		return err
	}
	err = follow(ctx, out, client, file, poll)
	if errors.Is(err, context.Canceled) {
		// The user has stopped the program.
		return nil
	}
	return err
}

// demo follows a fake brand with three leads. The broker changes two of them
// between two runs.
func demo(ctx context.Context, out io.Writer) error {
	server := clixnowtest.NewServer()
	defer server.Close()
	client := server.Client()
	defer client.CloseIdleConnections()
	dir, err := os.MkdirTemp("", "sync")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	isNew := clixnow.Lead{Status: "New"}
	leads := server.AddLeads(isNew, isNew, isNew)
	file := filepath.Join(dir, "leads.json")
	fmt.Fprintln(out, "First run:")
	if err := follow(ctx, out, client, file, 0); err != nil {
		return err
	}
	err = errors.Join(
		server.UpdateLead(leads[0].ID, func(lead *clixnow.Lead) { lead.Status = "No answer" }),
		server.UpdateLead(leads[1].ID, func(lead *clixnow.Lead) {
			lead.Status, lead.FTDDate = "Deposited", time.Now()
		}),
	)
	if err != nil {
		return err
	}
	server.AddLeads(isNew)
	fmt.Fprintln(out, "Second run, after changes at the brand:")
	return follow(ctx, out, client, file, 0)
}

// state is the content of the file. For more than some 10,000 leads use a
// database, and write the leads and the position in one transaction.
type state struct {
	// Since is the position of LeadChanges.
	Since time.Time `json:"since,omitzero"`
	// Complete means that the whole history has been read once.
	Complete bool                   `json:"complete"`
	Leads    map[int64]clixnow.Lead `json:"leads"`
}

// follow reads changes into a file. It ends after one pass if poll is 0.
func follow(ctx context.Context, out io.Writer, client *clixnow.Client, file string, poll time.Duration) error {
	saved, err := load(file)
	if err != nil {
		return err
	}
	// batch holds what was read since the last save.
	var batch []clixnow.Lead
	changes := client.LeadChanges(ctx, clixnow.LeadChangesRequest{
		Since:           saved.Since,
		PollInterval:    poll,
		CheckpointEvery: 1000,
		Checkpoint: func(since time.Time, caughtUp bool) error {
			if saved.Complete && len(batch) == 0 {
				// Without changes the old position is as good.
				return nil
			}
			saved.apply(out, batch)
			batch = nil
			saved.Since = since
			if caughtUp && !saved.Complete {
				saved.Complete = true
				fmt.Fprintf(out, "copied the history: %d leads\n", len(saved.Leads))
			}
			return saved.write(file)
		},
	})
	for lead, err := range changes {
		switch {
		case errors.Is(err, clixnow.ErrPassFailed):
			// The next pass tries again.
			fmt.Fprintln(out, err)
		case err != nil:
			return err
		default:
			batch = append(batch, lead)
		}
	}
	return nil
}

// apply stores leads and prints their events. If the process dies before the
// file is written, the events are printed again.
func (s *state) apply(out io.Writer, batch []clixnow.Lead) {
	for _, lead := range batch {
		var before *clixnow.Lead
		if known, ok := s.Leads[lead.ID]; ok {
			before = &known
		}
		s.Leads[lead.ID] = lead
		if !s.Complete {
			// Events of the past are not news.
			continue
		}
		for _, event := range clixnow.LeadEvents(before, lead) {
			fmt.Fprintf(out, "lead %d: %s (%s)\n", lead.ID, event, lead.Status)
		}
	}
}

func load(file string) (*state, error) {
	s := &state{Leads: make(map[int64]clixnow.Lead)}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(data, s)
	}
	if err != nil {
		return nil, fmt.Errorf("read the copy in %s: %w", file, err)
	}
	return s, nil
}

// write replaces the file in one step. After a crash it holds the old or the
// new state, and the position always belongs to the leads beside it.
func (s *state) write(file string) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(file), "leads-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp.Name()) }()
	_, err = temp.Write(data)
	if err := errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), file)
}
