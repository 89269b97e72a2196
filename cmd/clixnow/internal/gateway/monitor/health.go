package monitor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
	"github.com/clixnow/clixnow-go/store/outbox"
)

const (
	// maxDue is how long a sign-up may wait for a free worker.
	maxDue = 5 * time.Minute
	// maxAge is longer than all waits after refusals that may pass.
	maxAge = 12 * time.Hour
	// fresh is how long a state is used. A check writes to the database.
	fresh = 2 * time.Second
	// timeout is how long the database may take to answer.
	timeout = 5 * time.Second
	// stale is the time after which an attempt does not show any more whether
	// the brand fails now.
	stale = 15 * time.Minute
)

// state is the state of the outbox at a time.
type state struct {
	at     time.Time
	counts map[outbox.Status]outbox.Count
	brands []outbox.BrandState
	// err is why the database cannot be used.
	err error
}

// state returns a state that is not older than fresh.
func (m *Monitor) state(ctx context.Context) state {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Since(m.last.at) < fresh {
		return m.last
	}
	// Others wait for this check too.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	s := state{brands: m.outbox.Brands()}
	if s.err = m.outbox.Check(ctx); s.err == nil {
		s.counts, s.err = m.outbox.Counts(ctx)
	}
	s.at = time.Now()
	m.last = s
	return s
}

// problems returns a line for each cause that needs a person.
func (s state) problems() (lines []string) {
	if s.err != nil {
		lines = append(lines, "the database "+databaseProblem(s.err)+": "+textOf(s.err))
	}
	pending := s.counts[outbox.Pending]
	switch age := s.at.Sub(pending.Oldest).Round(time.Second); {
	case !pending.Due.IsZero() && s.at.Sub(pending.Due) > maxDue:
		lines = append(lines, "the queue is behind: a sign-up waits for a free worker since "+stamp(pending.Due))
	case !pending.Oldest.IsZero() && age > maxAge:
		lines = append(lines, fmt.Sprintf("the queue is old: the oldest of %d waiting sign-ups was accepted at %s",
			pending.Number, stamp(pending.Oldest)))
	}
	for _, b := range s.brands {
		if s.fails(b) {
			lines = append(lines, brandProblem(b))
		}
	}
	return lines
}

// notes returns a line for each brand that failed and does not count any more.
func (s state) notes() (lines []string) {
	for _, b := range s.brands {
		if b.Err != nil && !s.fails(b) {
			lines = append(lines, "not counted, because no sign-up waits: "+brandProblem(b))
		}
	}
	return lines
}

// fails reports whether a brand counts as one that fails: its last attempts
// failed, and they are not old or sign-ups wait.
func (s state) fails(b outbox.BrandState) bool {
	return b.Err != nil && (s.err != nil || s.counts[outbox.Pending].Number > 0 || s.at.Sub(b.TriedAt) <= stale)
}

func brandProblem(b outbox.BrandState) string {
	what, advice := "fails", ""
	if b.RefusesAccess() {
		what, advice = "refuses the access", "check its token and its host: "
	}
	return fmt.Sprintf("the brand %s %s since %s, last tried at %s: %s%s", b.Brand, what, stamp(b.Since),
		stamp(b.TriedAt), advice, textOf(b.Err))
}

// textOf returns the text of an error in one line.
func textOf(err error) string {
	return app.Printable(strings.Join(strings.Fields(app.Text(err)), " "))
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func databaseProblem(err error) string {
	var sqlite interface{ Code() int }
	var postgres interface{ SQLState() string }
	switch {
	case errors.As(err, &sqlite) && sqlite.Code()&0xff == 13, // SQLITE_FULL
		errors.As(err, &postgres) && postgres.SQLState() == "53100": // disk_full
		return "has no space left on its disk"
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("does not answer within %s", timeout)
	}
	return "cannot be written"
}

// Health answers 200 if nothing needs a person, and 503 with a line for each
// cause if something does. It is for monitoring. It must not be public, because
// the lines have names of brands and errors.
//
// A brand that failed is listed, but is no cause, if it was not tried for a
// while and no sign-up waits.
func (m *Monitor) Health(w http.ResponseWriter, r *http.Request) {
	s := m.state(r.Context())
	answer(w, s.problems(), s.notes())
}

// Ready answers 200 if sign-ups can be saved, and 503 if not. It is for load
// balancers, and can be public. A brand that fails does not count, because its
// sign-ups are saved and wait.
func (m *Monitor) Ready(w http.ResponseWriter, r *http.Request) {
	var lines []string
	if err := m.state(r.Context()).err; err != nil {
		lines = append(lines, "sign-ups cannot be saved: the database "+databaseProblem(err))
	}
	answer(w, lines, nil)
}

// answer writes a line for each problem, and then those of notes.
func answer(w http.ResponseWriter, problems, notes []string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	lines := []string{"ok"}
	if len(problems) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		lines = problems
	}
	// An error means that the client has closed the connection.
	_, _ = fmt.Fprintln(w, strings.Join(append(lines, notes...), "\n"))
}
