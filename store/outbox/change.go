package outbox

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/store/internal/tables"
)

// ChangeKind is what a Change is about.
type ChangeKind string

// The kinds of changes.
const (
	// ChangeTried means a try to register the sign-up.
	ChangeTried ChangeKind = "tried"
	// ChangeReplaced means that the visitor has corrected the sign-up.
	ChangeReplaced ChangeKind = "replaced"
	// ChangeCorrected means that a person has corrected the sign-up.
	ChangeCorrected ChangeKind = "corrected"
	// ChangeRetried means that a person has started a try.
	ChangeRetried ChangeKind = "retried"
	// ChangeGivenUp means that a person has given the sign-up up.
	ChangeGivenUp ChangeKind = "given up"
)

// Change is something that happened to a sign-up.
type Change struct {
	// At is when it happened.
	At time.Time `json:"at"`
	// Kind says what happened.
	Kind ChangeKind `json:"kind"`
	// By is the person who did it. "" means a worker, or that it is not known.
	By string `json:"by,omitempty"`
	// Text is what was corrected. "" means nothing.
	Text string `json:"text,omitempty"`
	// Brand is the brand that took the lead, or the last one that was tried. ""
	// means none.
	Brand string `json:"brand,omitempty"`
	// Outcome is the outcome of a try, as clixnow.Outcome prints it. "" means
	// that it was no try.
	Outcome string `json:"outcome,omitempty"`
	// Reason is the reason of a refusal, as clixnow.Reason prints it. "" means
	// that it was no refusal.
	Reason string `json:"reason,omitempty"`
	// Problem is the error of a try. "" means none.
	Problem string `json:"problem,omitempty"`
	// Took is how long the try took. 0 means that it was no try.
	Took time.Duration `json:"took,omitempty"`
	// Repeated is how many later tries had the same end. 0 means none.
	Repeated int64 `json:"repeated,omitempty"`
	// Until is the time of the last of them. A zero time means that there were
	// none.
	Until time.Time `json:"until,omitzero"`
}

// line returns the form in the database.
func (c Change) line() string {
	if c.At.IsZero() {
		c.At = time.Now()
	}
	c.At = c.At.UTC().Truncate(time.Millisecond)
	text, err := json.Marshal(c)
	if err != nil {
		return "" // it has only texts and times
	}
	return string(text) + "\n"
}

// readHistory returns the changes, the oldest first. It skips what it cannot
// read.
func readHistory(text string) (all []Change) {
	for line := range strings.Lines(text) {
		var c Change
		if json.Unmarshal([]byte(line), &c) == nil {
			all = append(all, c)
		}
	}
	return all
}

// withTry returns a history with one more try. A try that ends like the one
// before is only counted, so an outage does not make the history long.
func withTry(history string, c Change) string {
	const longest = 100
	all := readHistory(history)
	if n := len(all) - 1; n >= 0 {
		last := all[n]
		if last.Kind == c.Kind && last.Brand == c.Brand && last.Outcome == c.Outcome && last.Reason == c.Reason &&
			last.Problem == c.Problem {
			last.Repeated++
			last.Until = c.At
			all, c = all[:n], last
		}
	}
	var b strings.Builder
	for _, c := range append(all[max(0, len(all)+1-longest):], c) {
		b.WriteString(c.line())
	}
	return b.String()
}

// History returns what happened to a sign-up, the oldest first. Equal tries
// after each other are one Change.
func (o *Outbox) History(ctx context.Context, id string) ([]Change, error) {
	var text string
	err := o.db.QueryRowContext(ctx, "SELECT history FROM outbox_signups WHERE id = $1",
		tables.Text(id)).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	return readHistory(text), databaseError("read a history", err)
}

// Retry starts a try at once, for a sign-up that is not registered. A refused
// sign-up gets a new random password, because its own was deleted. If the
// visitor has signed up again since, Retry returns ErrWrongStatus. by is the
// person who does it.
func (o *Outbox) Retry(ctx context.Context, id, by string) error {
	return o.withRow(ctx, id, "retry a sign-up", func(ctx context.Context, tx *sql.Tx, s *Signup) error {
		_, err := o.reopen(ctx, tx, s, "password = CASE WHEN password = '' THEN $5 ELSE password END",
			Change{Kind: ChangeRetried, By: by}, o.stored(newPassword()))
		return err
	})
}

// withRow calls do in a transaction with a sign-up that others cannot change
// meanwhile.
func (o *Outbox) withRow(
	ctx context.Context, id, action string, do func(context.Context, *sql.Tx, *Signup) error,
) error {
	return o.transact(ctx, action, func(ctx context.Context, tx *sql.Tx) error {
		s, err := o.lockRow(ctx, tx, "id = $1", tables.Text(id))
		if err != nil {
			return err
		}
		return do(ctx, tx, s)
	})
}

// newPassword returns a valid password. The visitor can get another one from
// the brand.
func newPassword() string { return rand.Text() + "!" }

// Correction has the new values of a sign-up.
type Correction struct {
	// Email replaces the email. "" means no change.
	Email string
	// Phone replaces the phone. "" means no change.
	Phone string
}

// Correct changes a sign-up that is not registered, and retries it at once. by
// is the person who does it. Correct returns ErrInDoubt if a brand may have the
// lead with the old values, and a *clixnow.ValidationError if the corrected
// lead is not valid. A refused sign-up gets a new random password, as by Retry.
func (o *Outbox) Correct(ctx context.Context, id string, c Correction, by string) error {
	return o.withRow(ctx, id, "correct a sign-up", func(ctx context.Context, tx *sql.Tx, s *Signup) error {
		req := s.Lead
		req.Email, req.Phone = cmp.Or(c.Email, req.Email), cmp.Or(c.Phone, req.Phone)
		req.Password = newPassword()
		if err := req.Validate(); err != nil {
			return err
		}
		a, err := o.newAddition(ctx, req)
		if err != nil {
			return err
		}
		_, err = o.change(ctx, tx, s, a, Change{Kind: ChangeCorrected, By: by, Text: difference(&s.Lead, &req)})
		return err
	})
}

// difference describes what was corrected, for the history.
func difference(before, after *clixnow.CreateLeadRequest) string {
	var changes []string
	if before.Email != after.Email {
		changes = append(changes, fmt.Sprintf("email %s -> %s", before.Email, after.Email))
	}
	if before.Phone != after.Phone {
		changes = append(changes, fmt.Sprintf("phone %s -> %s", before.Phone, after.Phone))
	}
	return strings.Join(changes, ", ")
}

// GiveUp makes a doubtful sign-up refused. Use it if another sign-up has
// registered the lead, or if no brand will take it. by is the person who does
// it.
func (o *Outbox) GiveUp(ctx context.Context, id, by string) error {
	var given *Signup
	err := o.withRow(ctx, id, "give a sign-up up", func(ctx context.Context, tx *sql.Tx, s *Signup) error {
		reason := clixnow.ReasonOther
		if !s.FirstAttempt.Since.IsZero() {
			reason = clixnow.ReasonDuplicate
		}
		rows, err := query(ctx, tx, `UPDATE outbox_signups SET status = 'refused', password = '', settled_at = $2,
			reason = $3, history = history || $4 WHERE id = $1 AND status = 'doubtful' RETURNING `+columns,
			id, tables.Time(time.Now()), reason.String(), Change{Kind: ChangeGivenUp, By: by}.line())
		switch {
		case err != nil:
			return err
		case len(rows) == 0:
			return ErrWrongStatus
		}
		given = &rows[0]
		if o.opts.Settled == nil {
			return nil
		}
		return o.opts.Settled(ctx, tx, *given)
	})
	if err == nil {
		o.announce(ctx, given, Change{
			Brand: given.FirstAttempt.Brand, Outcome: string(ChangeGivenUp), Reason: given.Reason.String(),
		})
	}
	return err
}
