// Command queue registers the leads of a queue. It registers each lead once,
// even if the process dies at any moment. It talks to a fake Clixnow API in
// memory that has problems.
package main

import (
	"context"
	"encoding/json"
	"errors"
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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "queue:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	server := clixnowtest.NewServer(clixnowtest.WithCountries("CH"))
	defer server.Close()
	// For the real API: clixnow.NewClient("acme", os.Getenv("CLIXNOW_TOKEN")).
	client := server.Client()
	defer client.CloseIdleConnections()

	dir, err := os.MkdirTemp("", "queue")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	q, err := open(filepath.Join(dir, "queue.json"))
	if err != nil {
		return err
	}
	for i, country := range []string{"CH", "CH", "FR", "CH"} {
		q.Jobs = append(q.Jobs, &job{ID: i + 1, State: "waiting", Lead: &clixnow.CreateLeadRequest{
			FirstName: "Anna", LastName: "Example", Password: "Password123!", CountryCode: country,
			Email: fmt.Sprintf("lead%d@example.com", i+1), Phone: fmt.Sprintf("+417955500%02d", i+1),
			// The click id is unique for each sign-up.
			ClickID: fmt.Sprintf("click-%d", i+1),
		}})
	}
	const full = `{"message":"Daily cap reached"}`
	server.Inject(
		// The response to job 1 is lost, and all searches of its first delivery
		// fail. The brand is full for job 2 two times, and for job 4 always.
		clixnowtest.Fault{Email: "lead1@example.com", Drop: clixnowtest.DropAfterHandling},
		clixnowtest.Fault{Method: "GET", Status: 503, Times: 12},
		clixnowtest.Fault{Email: "lead2@example.com", Status: 400, Body: full, Times: 2},
		clixnowtest.Fault{Email: "lead4@example.com", Status: 400, Body: full, Times: 100},
	)
	// A minute is a millisecond here.
	err = q.consume(ctx, out, client, time.Millisecond)
	fmt.Fprintf(out, "The brand has %d leads.\n", len(server.Leads()))
	return err
}

// job is one lead.
type job struct {
	ID int `json:"id"`
	// State is "waiting", "registered", "given up" or "needs a person".
	State string `json:"state"`
	// Lead holds a password. It is removed when the lead is registered or given
	// up.
	Lead *clixnow.CreateLeadRequest `json:"lead,omitempty"`
	// FirstAttempt is set while the brand may have the lead.
	FirstAttempt time.Time `json:"firstAttempt,omitzero"`
	// Failures is the number of deliveries that failed.
	Failures int `json:"failures"`
	// Next is the time of the next delivery.
	Next   time.Time `json:"next,omitzero"`
	LeadID int64     `json:"leadId,omitempty"`
	// Problem is the error of the last delivery.
	Problem string `json:"problem,omitempty"`
}

// queue is a file of jobs. One process may use it at a time.
type queue struct {
	file string
	Jobs []*job `json:"jobs"`
}

func open(file string) (*queue, error) {
	q := &queue{file: file}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return q, nil
	}
	if err == nil {
		err = json.Unmarshal(data, q)
	}
	if err != nil {
		return nil, fmt.Errorf("read queue %s: %w", file, err)
	}
	return q, nil
}

// save replaces the file in one step. After a crash it holds the old or the new
// state.
func (q *queue) save() error {
	data, err := json.MarshalIndent(q, "", "\t")
	if err != nil {
		return err
	}
	// CreateTemp allows only the owner to read the file.
	temp, err := os.CreateTemp(filepath.Dir(q.file), "queue-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp.Name()) }()
	_, err = temp.Write(data)
	if err := errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), q.file)
}

// consume delivers each waiting job when its time comes. It ends when no job is
// waiting.
func (q *queue) consume(ctx context.Context, out io.Writer, client *clixnow.Client, minute time.Duration) error {
	for {
		var next *job
		for _, j := range q.Jobs {
			if j.State == "waiting" && (next == nil || j.Next.Before(next.Next)) {
				next = j
			}
		}
		if next == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Until(next.Next)):
		}
		if err := q.deliver(ctx, out, client, next, minute); err != nil {
			return err
		}
	}
}

// deliver delivers a job once. It returns an error if the file cannot be
// written.
func (q *queue) deliver(
	ctx context.Context, out io.Writer, client *clixnow.Client, j *job, minute time.Duration,
) error {
	// A zero time means that no earlier delivery can have registered the lead.
	firstAttempt := j.FirstAttempt
	if firstAttempt.IsZero() {
		j.FirstAttempt = time.Now()
		if err := q.save(); err != nil {
			// Nothing has been sent.
			return err
		}
	}
	lead, err := client.EnsureLeadSince(ctx, *j.Lead, firstAttempt)
	outcome, reason := clixnow.OutcomeOf(err), clixnow.ReasonOf(err)
	if outcome != clixnow.OutcomeUnknown {
		j.FirstAttempt = time.Time{}
	}
	schedule := []time.Duration{5, 15, 60, 3 * 60, 6 * 60}
	switch {
	case outcome == clixnow.OutcomeRegistered:
		fmt.Fprintf(out, "job %d: registered as lead %d, recovered %t\n", j.ID, lead.LeadID, lead.Recovered)
		j.State, j.Problem, j.LeadID, j.Lead = "registered", "", lead.LeadID, nil
		return q.save()
	case reason == clixnow.ReasonInvalid, reason == clixnow.ReasonDuplicate, reason == clixnow.ReasonCountry:
		j.State, j.Lead = "given up", nil
	case j.Failures == len(schedule):
		j.State = "needs a person"
	default:
		j.Next = time.Now().Add(schedule[j.Failures] * minute)
		j.Failures++
	}
	result := outcome.String()
	if reason != clixnow.ReasonNone {
		result += " (" + reason.String() + ")"
	}
	fmt.Fprintf(out, "job %d: %s: %s\n", j.ID, result, j.State)
	j.Problem = err.Error()
	return q.save()
}
