package outbox

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/store/internal/batch"
	"github.com/clixnow/clixnow-go/store/internal/tables"
)

// registration is the job that registers a sign-up. It has only the id and no
// personal data, because River keeps jobs for a while.
type registration struct {
	SignupID string `json:"signup_id"`
}

// Kind returns the name of these jobs in the database.
func (registration) Kind() string { return "clixnow_register" }

// queue is the name of River's queue, so that other programs can use River in
// the same database.
const queue = "clixnow_outbox"

// InsertOpts returns options by which a job is never given up. Snoozed tries do
// not count.
func (registration) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: queue, MaxAttempts: maxAttempts}
}

// addition is one call of Add.
type addition struct {
	req       clixnow.CreateLeadRequest
	clickHash string
	id        string
	// lead is the request in JSON, without the password.
	lead string
	// carried is what Options.Carry has returned.
	carried string
	jobID   int64
	result  *Signup
	err     error
}

// Add saves a sign-up and its job. If Add returns no error, the sign-up is
// registered once, or ends as refused or doubtful. Concurrent calls share a
// transaction.
//
// If there is a sign-up with the same click id that is not refused, Add returns
// that one: it is a double click, or a repetition after an error. If it has
// another email or phone, and otherwise the same person (the same email, phone
// or full name), it is a correction. It replaces the earlier sign-up if that
// one waits and was not sent, or was surely refused. Then the earlier token is
// no longer valid. In all other cases Add returns ErrClickIDTaken. A request
// without a click id gets a random one.
//
// Add does not apply the rules of [clixnow.CreateLeadRequest.Validate]. It
// refuses only what it cannot save, by a *clixnow.ValidationError.
func (o *Outbox) Add(ctx context.Context, req clixnow.CreateLeadRequest) (*Signup, error) {
	return o.add(ctx, req, func(a *addition) error { return o.adding.Do(ctx, a, o.addBatch) })
}

// AddTx is Add in a transaction of the caller. The sign-up exists only if the
// caller commits it. After an error the caller must roll back, unless the error
// matches ErrClickIDTaken or is a *clixnow.ValidationError.
func (o *Outbox) AddTx(ctx context.Context, tx *sql.Tx, req clixnow.CreateLeadRequest) (*Signup, error) {
	return o.add(ctx, req, func(a *addition) error { return o.addAll(ctx, tx, []*addition{a}) })
}

func (o *Outbox) add(
	ctx context.Context, req clixnow.CreateLeadRequest, save func(*addition) error,
) (*Signup, error) {
	if req.ClickID == "" {
		req.ClickID = rand.Text() // EnsureLead recognises the lead by it
	}
	for range 3 {
		a, err := o.newAddition(ctx, req)
		if err != nil {
			return nil, err
		}
		err = databaseError("save a sign-up", save(a))
		if err == nil {
			err = a.err
		}
		if err == nil {
			a.result.Token = o.newToken(a.result)
			return a.result, nil
		}
		if !errors.Is(err, ErrNotFound) { // the earlier one has just been refused, so its click id is free
			return nil, err
		}
	}
	return nil, ErrClickIDTaken
}

func (o *Outbox) newAddition(ctx context.Context, req clixnow.CreateLeadRequest) (*addition, error) {
	const longestCarried = 500
	if err := checkTexts(&req); err != nil {
		return nil, err
	}
	withoutPassword := req
	withoutPassword.Password = ""
	text, err := json.Marshal(withoutPassword)
	if err != nil {
		return nil, fmt.Errorf("save a sign-up: %w", err)
	}
	sum := sha256.Sum256([]byte(req.ClickID))
	carried := tables.Text(o.opts.Carry(ctx))
	if len(carried) > longestCarried {
		carried = ""
	}
	return &addition{
		req: req, clickHash: hex.EncodeToString(sum[:]), id: rand.Text(), lead: string(text), carried: carried,
	}, nil
}

// checkTexts refuses texts that not every database can hold, or that are longer
// than any person would type. A retry would not help.
func checkTexts(req *clixnow.CreateLeadRequest) error {
	const longest = 1000
	var members map[string]any
	text, err := json.Marshal(req) // this refuses what is not UTF-8
	if err == nil {
		err = json.Unmarshal(text, &members)
	}
	if err != nil {
		return fmt.Errorf("save a sign-up: %w", err)
	}
	maps.DeleteFunc(members, func(name string, _ any) bool { _, isExtra := req.Extra[name]; return isExtra })
	var faults []clixnow.FieldError
	for _, name := range slices.Sorted(maps.Keys(members)) {
		value, _ := members[name].(string)
		limit := longest
		if name == "referralUrl" {
			limit = 20 * longest // landing URLs have long queries
		}
		switch {
		case strings.ContainsRune(value, 0):
			faults = append(faults, clixnow.FieldError{
				Field: name, Code: clixnow.ProblemUTF8, Problem: "must be UTF-8 without NUL",
			})
		case utf8.RuneCountInString(value) > limit:
			faults = append(faults, clixnow.FieldError{
				Field: name, Code: clixnow.ProblemTooLong,
				Problem: fmt.Sprintf("must have at most %d characters", limit),
			})
		}
	}
	if len(faults) > 0 {
		return &clixnow.ValidationError{Fields: faults}
	}
	return nil
}

// addBatch saves the sign-ups of several callers in one transaction.
func (o *Outbox) addBatch(entries []*batch.Entry[*addition]) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	all := make([]*addition, len(entries))
	for i, e := range entries {
		all[i] = e.Value
	}
	// Processes that lock rows in the same order do not wait for each other.
	slices.SortFunc(all, func(a, b *addition) int { return strings.Compare(a.clickHash, b.clickHash) })
	return o.transact(ctx, "save sign-ups", func(ctx context.Context, tx *sql.Tx) error {
		return o.addAll(ctx, tx, all)
	})
}

// addAll saves sign-ups and their jobs. It sets the result or the error of
// each.
func (o *Outbox) addAll(ctx context.Context, tx *sql.Tx, all []*addition) error {
	if err := o.enqueueAll(ctx, tx, all); err != nil {
		return err
	}
	added, err := o.insert(ctx, tx, all)
	if err != nil {
		return err
	}
	for _, a := range all {
		i := slices.IndexFunc(added, func(s Signup) bool { return s.ID == a.id })
		if i >= 0 {
			a.result = &added[i]
			continue
		}
		if _, err := o.client.JobDeleteTx(ctx, tx, a.jobID); err != nil {
			return err
		}
		a.result, a.err = o.earlier(ctx, tx, a)
		if a.err != nil && !errors.Is(a.err, ErrNotFound) && !errors.Is(a.err, ErrClickIDTaken) {
			return a.err
		}
	}
	return nil
}

// enqueueAll adds a job for each sign-up.
func (o *Outbox) enqueueAll(ctx context.Context, tx *sql.Tx, all []*addition) error {
	jobs := make([]river.InsertManyParams, len(all))
	for i, a := range all {
		jobs[i] = river.InsertManyParams{Args: registration{a.id}}
	}
	results, err := o.client.InsertManyTx(ctx, tx, jobs)
	if err != nil {
		return err
	}
	ids := make(map[registration]int64, len(all))
	for _, result := range results { // databases may return them in another order
		var job registration
		if err := json.Unmarshal(result.Job.EncodedArgs, &job); err != nil {
			return err
		}
		ids[job] = result.Job.ID
	}
	for _, a := range all {
		a.jobID = ids[registration{a.id}]
	}
	return nil
}

// insert adds the rows whose click id is free, and returns them.
func (o *Outbox) insert(ctx context.Context, tx *sql.Tx, all []*addition) ([]Signup, error) {
	var rows []string
	var args []any
	for _, a := range all {
		var places []string
		for _, value := range []any{
			a.id, a.clickHash, a.jobID, a.lead, o.stored(a.req.Password), searchText(a.id, &a.req), a.carried,
			tables.Time(time.Now()),
		} {
			args = append(args, value)
			places = append(places, "$"+strconv.Itoa(len(args)))
		}
		rows = append(rows, "("+strings.Join(places, ", ")+", 'pending')")
	}
	return query(ctx, tx, `INSERT INTO outbox_signups (id, click_hash, job_id, lead, password, search, carried,
		created_at, status) VALUES `+strings.Join(rows, ", ")+" ON CONFLICT DO NOTHING RETURNING "+columns, args...)
}

// earlier returns the sign-up that has the click id. If the new one is a
// correction of it, it is replaced.
func (o *Outbox) earlier(ctx context.Context, tx *sql.Tx, a *addition) (*Signup, error) {
	s, err := o.lockRow(ctx, tx, "click_hash = $1 AND status <> 'refused'", a.clickHash)
	switch {
	case err != nil:
		return nil, err
	case s.Lead.Email == a.req.Email && s.Lead.Phone == a.req.Phone:
		return s, nil
	case !mayBeSamePerson(&s.Lead, &a.req): // the redirect URL would log one person in as the other
		return nil, ErrClickIDTaken
	}
	s, err = o.change(ctx, tx, s, a, Change{Kind: ChangeReplaced, By: "visitor", Text: difference(&s.Lead, &a.req)})
	if errors.Is(err, ErrInDoubt) || errors.Is(err, ErrWrongStatus) {
		return nil, ErrClickIDTaken
	}
	return s, err
}

// mayBeSamePerson reports whether b may be a correction of a.
func mayBeSamePerson(a, b *clixnow.CreateLeadRequest) bool {
	return a.Email == b.Email || a.Phone == b.Phone ||
		strings.EqualFold(a.FirstName, b.FirstName) && strings.EqualFold(a.LastName, b.LastName)
}

// change gives a sign-up another request, and retries it at once. It returns
// ErrInDoubt if the old request may have arrived at a brand. s must be locked.
func (o *Outbox) change(ctx context.Context, tx *sql.Tx, s *Signup, a *addition, entry Change) (*Signup, error) {
	if s.FirstAttempt.Brand != "" {
		return nil, ErrInDoubt
	}
	replaced := 0
	if entry.Kind == ChangeReplaced {
		replaced = 1
	}
	// With another number of tries, a try in progress cannot save its attempt.
	return o.reopen(ctx, tx, s, `lead = $5, search = $6, carried = $7, replaced = replaced + $8, tries = tries + 1,
		password = CASE WHEN password = '' OR $8 > 0 THEN $9 ELSE password END`,
		entry, a.lead, searchText(s.ID, &a.req), a.carried, replaced, o.stored(a.req.Password))
}

// reopen makes a sign-up pending and starts a try at once. set must not contain
// input of users. Its parameters begin with $5. s must be locked.
func (o *Outbox) reopen(
	ctx context.Context, tx *sql.Tx, s *Signup, set string, entry Change, args ...any,
) (*Signup, error) {
	if s.Status == Registered {
		return nil, ErrWrongStatus
	}
	job, err := o.retryNow(ctx, tx, s)
	if err != nil {
		return nil, err
	}
	args = append([]any{s.ID, job, entry.line(), s.clickHash}, args...)
	rows, err := query(ctx, tx, `UPDATE outbox_signups SET status = 'pending', job_id = $2, settled_at = NULL,
		next_try_at = NULL, waits = 0, problem = '', reason = '', history = history || $3, `+set+`
		WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM outbox_signups AS since WHERE since.click_hash = $4
		AND since.status <> 'refused' AND since.id <> outbox_signups.id) RETURNING `+columns, args...)
	switch {
	case err != nil:
		return nil, err
	case len(rows) == 0: // the visitor has signed up again
		return nil, ErrWrongStatus
	}
	return &rows[0], nil
}

// retryNow starts the job of a sign-up at once, and returns its id. If a try is
// in progress, it does nothing.
//
// A new job is needed if River has deleted the old one, has completed it or is
// about to do so, or is about to put it off. The old one then does nothing,
// because it is not the job of the sign-up any more.
func (o *Outbox) retryNow(ctx context.Context, tx *sql.Tx, s *Signup) (jobID int64, err error) {
	row, err := o.client.JobGetTx(ctx, tx, s.jobID)
	switch {
	case err != nil && !errors.Is(err, rivertype.ErrNotFound):
		return 0, err
	case err == nil && s.Status == Pending && row.FinalizedAt == nil &&
		(row.State != rivertype.JobStateRunning || s.NextTryAt.IsZero()):
		_, err = o.client.JobRetryTx(ctx, tx, s.jobID)
		return s.jobID, err
	}
	result, err := o.client.InsertTx(ctx, tx, registration{s.ID}, nil)
	if err != nil {
		return 0, err
	}
	return result.Job.ID, nil
}
