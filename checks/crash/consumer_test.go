// Package crash_test kills a consumer again and again while it registers leads,
// and then counts the leads.
package crash_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/clixnow/clixnow-go"
)

// A job is a line of the file of jobs.
type job struct {
	Number int
	Lead   clixnow.CreateLeadRequest
}

// A record is a line of the journal, in which the consumer keeps what must
// outlive it. A record that was written is there after a SIGKILL; that it is
// there after a power failure too would take an fsync.
type record struct {
	Number    int
	First     time.Time // before the first try
	LeadID    int64     // settled: registered
	Recovered bool
	Refused   string // settled: refused, and why
}

func (r record) settles() bool { return r.LeadID != 0 || r.Refused != "" }

// readLines decodes a file of JSON lines.
func readLines[T any](name string) ([]T, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var values []T
	for line := range bytes.Lines(text) {
		var value T
		if err := json.Unmarshal(line, &value); err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", name, len(values)+1, err)
		}
		values = append(values, value)
	}
	return values, nil
}

// consumer works off the jobs, a few at once, and may die at any moment.
type consumer struct {
	client *clixnow.Client

	mu      sync.Mutex
	journal *os.File
}

func (c *consumer) write(r record) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err = c.journal.Write(append(line, '\n'))
	return err
}

// handle is what a consumer of a queue does with one delivery. A nil error
// acknowledges it.
func (c *consumer) handle(ctx context.Context, j job, first time.Time) error {
	if first.IsZero() {
		if err := c.write(record{Number: j.Number, First: time.Now()}); err != nil {
			return err
		}
	}
	lead, err := c.client.EnsureLeadSince(ctx, j.Lead, first)
	switch {
	case err == nil:
		return c.write(record{Number: j.Number, LeadID: lead.LeadID, Recovered: lead.Recovered})
	case errors.Is(err, clixnow.ErrRefused):
		return c.write(record{Number: j.Number, Refused: err.Error()})
	default:
		return err // to be delivered again
	}
}

// consume works until every job is settled.
func consume(ctx context.Context, client *clixnow.Client, jobsFile, journalFile string) error {
	jobs, err := readLines[job](jobsFile)
	if err != nil {
		return err
	}
	records, err := readLines[record](journalFile)
	if err != nil {
		return err
	}
	journal, err := os.OpenFile(journalFile, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = journal.Close() }() // what was written is there
	first, settled := make(map[int]time.Time), make(map[int]bool)
	for _, r := range records {
		if r.settles() {
			settled[r.Number] = true
		} else {
			first[r.Number] = r.First
		}
	}

	c := &consumer{client: client, journal: journal}
	deliveries := make(chan job)
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for j := range deliveries {
				for delivered := first[j.Number]; ; { // a failure is delivered again after a while
					began := time.Now()
					if c.handle(ctx, j, delivered) == nil {
						break
					}
					if delivered.IsZero() {
						delivered = began
					}
					time.Sleep(5 * time.Millisecond)
				}
			}
		})
	}
	for _, j := range jobs {
		if !settled[j.Number] {
			deliveries <- j
		}
	}
	close(deliveries)
	workers.Wait()
	return nil
}
