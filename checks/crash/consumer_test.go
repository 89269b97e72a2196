// Package crash_test kills a queue consumer many times while it registers
// leads, and then counts the leads.
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

// A job is one line of the job file.
type job struct {
	Number int
	Lead   clixnow.CreateLeadRequest
}

// A record is one line of the journal. The journal holds what must survive the
// death of the consumer. A written record survives a SIGKILL. To survive a
// power failure it would need an fsync.
type record struct {
	Number int
	// First is the time before the first attempt.
	First time.Time
	// LeadID is set if the lead is registered.
	LeadID    int64
	Recovered bool
	// Refused is the reason if the lead was refused.
	Refused string
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

// consumer works on a few jobs at once, and may die at any moment.
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

// handle handles one delivery of a queue. A nil error acknowledges it.
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
		return err // deliver it again
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
	defer func() { _ = journal.Close() }()
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
				for delivered := first[j.Number]; ; { // deliver a failed job again after a while
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
