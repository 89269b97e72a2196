package outbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/router"
	"github.com/clixnow/clixnow-go/store/outbox"
)

// idle opens an outbox that does not work.
func (k kind) idle(t *testing.T, opts outbox.Options) *running {
	t.Helper()
	r := &running{db: k.open(t, k.create(t)), log: &lines{}}
	var err error
	r.Outbox, err = outbox.Open(t.Context(), r.db, k.dialect, opts)
	require.NoError(t, err)
	return r
}

// number returns the number that a statement selects.
func (r *running) number(t *testing.T, statement string, args ...any) (number int64) {
	t.Helper()
	require.NoError(t, r.db.QueryRowContext(t.Context(), statement, args...).Scan(&number))
	return number
}

func (r *running) wait(t *testing.T, id string) *outbox.Signup {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	s, err := r.Wait(ctx, id)
	require.NoError(t, err)
	return s
}

func (k kind) registered(t *testing.T) {
	t.Helper()
	api := newFakeAPI(t)
	r := k.start(t, k.create(t), []*fakeAPI{api}, nil)
	s := r.add(t, "first")
	assert.Equal(t, outbox.Pending, s.Status)
	assert.Empty(t, s.Lead.Password)
	got := r.wait(t, s.ID)
	assert.Equal(t, outbox.Registered, got.Status)
	assert.Equal(t, api.Brand, got.Brand)
	require.Len(t, api.Leads(), 1)
	assert.Equal(t, api.Leads()[0].ID, got.LeadID)
	assert.Contains(t, got.RedirectURL, "/autologin?token=")
	assert.Equal(t, clixnow.ReasonNone, got.Reason)
	assert.WithinDuration(t, time.Now(), got.SettledAt, time.Minute)
	assert.Contains(t, string(api.Requests()[0].Body), password)
	read, err := r.Get(t.Context(), s.ID)
	require.NoError(t, err)
	assert.Equal(t, got, read, "Wait returns what Get returns")
	want := newLead("first")
	want.Password = ""
	assert.Equal(t, want, got.Lead)

	history, err := r.History(t.Context(), s.ID)
	require.NoError(t, err)
	require.Len(t, history, 1)
	assert.Equal(t, []string{"tried", api.Brand, "registered"}, []string{
		string(history[0].Kind), history[0].Brand, history[0].Outcome,
	})
	assert.Positive(t, history[0].Took)
	assert.Zero(t, r.number(t, `SELECT count(*) FROM outbox_signups WHERE password <> ''`))
	eventually(t, func() bool { return r.number(t, `SELECT count(*) FROM river_job WHERE state <> 'completed'`) == 0 })
	assert.NotContains(t, r.log.String(), "example.com", "the log has no data of leads")
	assert.NotContains(t, r.log.String(), "autologin")
	eventually(t, func() bool { return strings.Contains(r.log.String(), `msg="a sign-up is registered"`) })
	assert.Regexp(t, `id=`+s.ID+` brand=`+api.Brand+` outcome=registered reason="" tries=1 duration=\d`, r.log.String())
	assert.Equal(t, 1, strings.Count(r.log.String(), "\n"), r.log)
	for _, format := range []string{"%v", "%+v", "%s"} {
		assert.Equal(t, "sign-up "+s.ID+" (registered)", fmt.Sprintf(format, got), "it has secrets")
	}
	for _, format := range []string{"%#v", "%d", "%q", "%t"} {
		assert.NotContains(t, fmt.Sprintf(format, got), "autologin", format)
		assert.NotContains(t, fmt.Sprintf(format, []any{got, &got}), "example.com", format)
	}
	assert.Equal(t, "<nil>", fmt.Sprint((*outbox.Signup)(nil)))
	assert.Equal(t, "sign-up "+s.ID+" (registered)", got.LogValue().String())
	require.NoError(t, r.Check(t.Context()))
	require.NoError(t, r.Check(t.Context()))

	for _, unknown := range []string{"unknown", "", "\x00", "\xff", "'"} {
		_, err = r.Get(t.Context(), unknown)
		require.ErrorIs(t, err, outbox.ErrNotFound)
		_, err = r.History(t.Context(), unknown)
		require.ErrorIs(t, err, outbox.ErrNotFound)
		_, err = r.Wait(t.Context(), unknown)
		require.ErrorIs(t, err, outbox.ErrNotFound)
		found, err := r.List(t.Context(), outbox.Query{Status: outbox.Status(unknown), Search: "nothing"})
		require.NoError(t, err)
		require.Empty(t, found)
		require.ErrorIs(t, r.Retry(t.Context(), unknown, "eve"), outbox.ErrNotFound)
		require.ErrorIs(t, r.GiveUp(t.Context(), unknown, "eve"), outbox.ErrNotFound)
		require.ErrorIs(t, r.Correct(t.Context(), unknown, outbox.Correction{}, "eve"), outbox.ErrNotFound)
	}
	require.ErrorIs(t, r.Retry(t.Context(), s.ID, "eve"), outbox.ErrWrongStatus)
	require.ErrorIs(t, r.GiveUp(t.Context(), s.ID, "eve"), outbox.ErrWrongStatus)
	require.ErrorIs(t, r.Correct(t.Context(), s.ID, outbox.Correction{Phone: "+4179"}, "eve"), outbox.ErrWrongStatus)
}

func (k kind) doubleClick(t *testing.T) {
	t.Helper()
	api := newFakeAPI(t)
	address := k.create(t)
	r := k.start(t, address, []*fakeAPI{api}, nil)
	other, err := outbox.Open(t.Context(), k.open(t, address), k.dialect, outbox.Options{TokenKey: []byte("key")})
	require.NoError(t, err)
	const clicks, visitors = 4, 30
	var wait sync.WaitGroup
	ids := make([][clicks]string, visitors)
	for visitor := range visitors {
		for click := range clicks {
			o := []*outbox.Outbox{r.Outbox, other}[click%2]
			wait.Go(func() {
				s, err := o.Add(t.Context(), newLead(fmt.Sprint("double", visitor)))
				if assert.NoError(t, err) {
					ids[visitor][click] = s.ID
					got, err := r.ByToken(t.Context(), s.Token)
					assert.NoError(t, err)
					assert.Equal(t, s.ID, got.ID)
				}
			})
		}
	}
	wait.Wait()
	for _, same := range ids {
		for _, id := range same {
			require.Equal(t, same[0], id)
		}
		require.Equal(t, outbox.Registered, r.wait(t, same[0]).Status)
	}
	assert.Len(t, api.Leads(), visitors)
	assert.Equal(t, int64(visitors), r.number(t, `SELECT count(*) FROM river_job`), "one job for each")
	s, err := r.Add(t.Context(), newLead("double3"))
	require.NoError(t, err)
	assert.Equal(t, ids[3][0], s.ID)
	assert.NotEmpty(t, s.RedirectURL, "also after it is registered")

	without := newLead("")
	without.Email, without.Phone = "without@example.com", "+4100"
	s, err = r.Add(t.Context(), without)
	require.NoError(t, err)
	assert.NotEmpty(t, s.Lead.ClickID, "EnsureLead recognises the lead by it")
	assert.Equal(t, outbox.Registered, r.wait(t, s.ID).Status)
}

func (k kind) callersTransaction(t *testing.T) {
	t.Helper()
	r := k.idle(t, outbox.Options{})
	_, err := r.db.ExecContext(t.Context(), `CREATE TABLE orders (id TEXT)`)
	require.NoError(t, err)
	for _, commit := range []bool{false, true} {
		tx, err := r.db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		_, err = tx.ExecContext(t.Context(), `INSERT INTO orders (id) VALUES ('a')`)
		require.NoError(t, err)
		s, err := r.AddTx(t.Context(), tx, newLead("order"))
		require.NoError(t, err)
		again, err := r.AddTx(t.Context(), tx, newLead("order"))
		require.NoError(t, err)
		assert.Equal(t, s.ID, again.ID)
		end, want := tx.Rollback, int64(0)
		if commit {
			end, want = tx.Commit, 1
		}
		require.NoError(t, end())
		for _, table := range []string{"orders", "outbox_signups", "river_job"} {
			assert.Equal(t, want, r.number(t, "SELECT count(*) FROM "+table), table)
		}
	}
}

// texts is case P8: what no retry cures is refused at once.
func (k kind) texts(t *testing.T) {
	t.Helper()
	r := k.idle(t, outbox.Options{})
	for name, change := range map[string]func(*clixnow.CreateLeadRequest){
		"NUL in the click id":           func(l *clixnow.CreateLeadRequest) { l.ClickID = "a\x00b" },
		"NUL in the email":              func(l *clixnow.CreateLeadRequest) { l.Email = "a\x00b@example.com" },
		"NUL in the password":           func(l *clixnow.CreateLeadRequest) { l.Password = "\x00" + password },
		"invalid UTF-8 in the click id": func(l *clixnow.CreateLeadRequest) { l.ClickID = "\xff" },
		"invalid UTF-8 in the name":     func(l *clixnow.CreateLeadRequest) { l.FirstName = "\xc3\x28" },
		"click id of 3,800 characters":  func(l *clixnow.CreateLeadRequest) { l.ClickID = strings.Repeat("x", 3800) },
		"keyword of a million":          func(l *clixnow.CreateLeadRequest) { l.Keyword = strings.Repeat("x", 1e6) },
		"landing page of a million": func(l *clixnow.CreateLeadRequest) {
			l.ReferralURL = strings.Repeat("x", 1e6)
		},
		"value that JSON cannot hold": func(l *clixnow.CreateLeadRequest) { l.Extra = map[string]any{"a": func() {}} },
		"NUL and much more in a comment": func(l *clixnow.CreateLeadRequest) {
			l.Comment = strings.Repeat("\x00", 5000)
		},
	} {
		lead := newLead("bad")
		change(&lead)
		_, err := r.Add(t.Context(), lead)
		var invalid *clixnow.ValidationError
		require.ErrorAs(t, err, &invalid, name)
		require.NotErrorIs(t, err, outbox.ErrDatabase, name)
		assert.Len(t, invalid.Fields, 1, name)
	}
	odd := newLead(strings.Repeat("\u00e9\u2028'\"\\", 200)) // 1,000 characters
	odd.Email, odd.Phone = "odd@example.com", "+41"
	odd.FirstName, odd.Comment, odd.ReferralURL = "Zo\u00eb\n", "\U0001f600",
		"https://example.com/?"+strings.Repeat("q", 9000)
	odd.Extra = map[string]any{"nul": "a\x00b", "many": strings.Repeat("x", 4000)}
	s, err := r.Add(t.Context(), odd)
	require.NoError(t, err)
	again, err := r.Add(t.Context(), odd)
	require.NoError(t, err)
	assert.Equal(t, s.ID, again.ID)
	odd.Password = ""
	assert.Equal(t, odd, again.Lead)
	assert.Equal(t, int64(1), r.number(t, `SELECT count(*) FROM outbox_signups`))
	found, err := r.List(t.Context(), outbox.Query{Search: "a\x00\xff"})
	require.NoError(t, err)
	assert.Empty(t, found)
}

func (k kind) sameClickID(t *testing.T) {
	t.Helper()
	api := newFakeAPI(t)
	r := k.start(t, k.create(t), []*fakeAPI{api}, nil)
	first := r.add(t, "double")
	require.Equal(t, outbox.Registered, r.wait(t, first.ID).Status)

	other := newLead("double")
	other.Email = "other@example.com"
	_, err := r.Add(t.Context(), other)
	require.ErrorIs(t, err, outbox.ErrClickIDTaken, "the redirect URL would log this visitor in as another person")
	require.NotErrorIs(t, err, outbox.ErrDatabase)

	taken := newLead("new")
	taken.Email = "double@example.com"
	s, err := r.Add(t.Context(), taken)
	require.NoError(t, err)
	got := r.wait(t, s.ID)
	assert.Equal(t, outbox.Refused, got.Status)
	assert.Equal(t, clixnow.ReasonDuplicate, got.Reason)
	eventually(t, func() bool { return strings.Contains(r.log.String(), "reason=duplicate") })

	taken.Email = "corrected@example.com"
	again, err := r.Add(t.Context(), taken)
	require.NoError(t, err)
	assert.NotEqual(t, s.ID, again.ID)
	assert.Equal(t, outbox.Registered, r.wait(t, again.ID).Status, "after a refusal the click id can be used again")
	require.ErrorIs(t, r.Retry(t.Context(), s.ID, "eve"), outbox.ErrWrongStatus, "the visitor has signed up again")
}

// correctedByVisitor is case P24.
func (k kind) correctedByVisitor(t *testing.T) {
	t.Helper()
	for name, test := range map[string]struct {
		status int
		change func(*clixnow.CreateLeadRequest)
		// replaces reports whether the second sign-up replaces the first one.
		replaces bool
	}{
		"email":          {429, func(l *clixnow.CreateLeadRequest) { l.Email = "fixed@example.com" }, true},
		"phone":          {429, func(l *clixnow.CreateLeadRequest) { l.Phone = "+4144" }, true},
		"surely refused": {401, func(l *clixnow.CreateLeadRequest) { l.Email = "fixed@example.com" }, true},
		"both, with the same name": {429, func(l *clixnow.CreateLeadRequest) {
			l.Email, l.Phone, l.FirstName = "fixed@example.com", "+4144", "ALLISON"
		}, true},
		"another person": {429, func(l *clixnow.CreateLeadRequest) {
			l.Email, l.Phone, l.FirstName = "fixed@example.com", "+4144", "Bob"
		}, false},
		"in doubt": {503, func(l *clixnow.CreateLeadRequest) { l.Email = "fixed@example.com" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := newFakeAPI(t)
			api.down.Store(int64(test.status))
			r := k.start(t, k.create(t), []*fakeAPI{api}, nil)
			first := r.add(t, "typo")
			eventually(t, func() bool {
				s, err := r.Get(t.Context(), first.ID)
				require.NoError(t, err)
				return s.Tries > 1
			})
			second := newLead("typo")
			second.Password = "Another-1"
			test.change(&second)
			want := second
			if !test.replaces {
				for range 5 {
					eventually(t, func() bool { return !r.get(t, first.ID).NextTryAt.IsZero() })
					_, err := r.Add(t.Context(), second)
					require.ErrorIs(t, err, outbox.ErrClickIDTaken)
				}
				want = newLead("typo")
			} else {
				var s *outbox.Signup
				eventually(t, func() bool { // it may be refused while a try is in progress
					var err error
					s, err = r.Add(t.Context(), second)
					require.True(t, err == nil || errors.Is(err, outbox.ErrClickIDTaken), err)
					return err == nil
				})
				assert.Equal(t, first.ID, s.ID)
				_, err := r.ByToken(t.Context(), first.Token)
				require.ErrorIs(t, err, outbox.ErrNotFound, "it could show another person's redirect URL")
				_, err = r.ByToken(t.Context(), s.Token)
				require.NoError(t, err)
				history, err := r.History(t.Context(), s.ID)
				require.NoError(t, err)
				assert.True(t, slices.ContainsFunc(history, func(c outbox.Change) bool {
					return c.Kind == outbox.ChangeReplaced && c.By == "visitor" && c.Text != ""
				}))
			}
			api.down.Store(0)
			assert.Equal(t, outbox.Registered, r.waitFor(t, first.ID, outbox.Registered).Status)
			require.Len(t, api.Leads(), 1)
			assert.Equal(t, want.Email, api.Leads()[0].Email)
			requests := api.Requests()
			sent := string(requests[len(requests)-1].Body)
			if requests[len(requests)-1].Method == "POST" {
				assert.Contains(t, sent, want.Password)
				assert.Contains(t, sent, want.Phone)
			}
			assert.Equal(t, int64(1), r.number(t, `SELECT count(*) FROM outbox_signups`))
		})
	}
}

func (k kind) tokens(t *testing.T) {
	t.Helper()
	r := k.idle(t, outbox.Options{TokenKey: []byte("key"), TokenLifetime: 24 * time.Hour})
	s := r.add(t, "token")
	got, err := r.ByToken(t.Context(), s.Token)
	require.NoError(t, err)
	assert.Equal(t, s.ID, got.ID)
	assert.Equal(t, s.Token, got.Token)
	id, rest, _ := strings.Cut(s.Token, ".")
	expiry, signature, _ := strings.Cut(rest, ".")
	for _, wrong := range []string{
		"", ".", "..", s.ID, id + "." + expiry, id + "." + expiry + ".", id + "." + expiry + "." + signature + "A",
		id + ".z" + expiry + "." + signature, "x" + s.Token, "\x00." + expiry + "." + signature,
		id + "." + expiry + "." + strings.Repeat("A", len(signature)),
	} {
		_, err := r.ByToken(t.Context(), wrong)
		require.ErrorIs(t, err, outbox.ErrNotFound, wrong)
	}
	open := func(opts outbox.Options) *outbox.Outbox {
		o, err := outbox.Open(t.Context(), r.db, k.dialect, opts)
		require.NoError(t, err)
		return o
	}
	_, err = open(outbox.Options{TokenKey: []byte("key")}).ByToken(t.Context(), s.Token)
	require.NoError(t, err, "all processes have the same key")
	_, err = open(outbox.Options{TokenKey: []byte("other")}).ByToken(t.Context(), s.Token)
	require.ErrorIs(t, err, outbox.ErrNotFound)
	_, err = open(outbox.Options{}).ByToken(t.Context(), s.Token)
	require.ErrorIs(t, err, outbox.ErrNotFound, "a random key")
	short := open(outbox.Options{TokenKey: []byte("key"), TokenLifetime: -time.Second})
	again, err := short.Add(t.Context(), newLead("token"))
	require.NoError(t, err)
	_, err = short.ByToken(t.Context(), again.Token)
	require.ErrorIs(t, err, outbox.ErrNotFound, "it has expired")
	var rows []string
	for _, column := range []string{"lead", "search", "history", "click_hash"} {
		var text string
		require.NoError(t, r.db.QueryRowContext(t.Context(), "SELECT "+column+" FROM outbox_signups").Scan(&text))
		rows = append(rows, text)
	}
	assert.NotContains(t, strings.Join(rows, "\n"), signature, "the database does not have the token")
	found, err := r.List(t.Context(), outbox.Query{})
	require.NoError(t, err)
	assert.Empty(t, found[0].Token)
}

func (k kind) lists(t *testing.T) {
	t.Helper()
	r := k.idle(t, outbox.Options{})
	var ids []string
	for i := range 25 {
		s := r.add(t, fmt.Sprintf("click%02d", i))
		ids = append(ids, s.ID)
		if i%5 == 0 {
			_, err := r.db.ExecContext(t.Context(), `UPDATE outbox_signups SET status = 'doubtful' WHERE id = $1`, s.ID)
			require.NoError(t, err)
		}
	}
	page := func(q outbox.Query) (all []string) {
		found, err := r.List(t.Context(), q)
		require.NoError(t, err)
		for _, s := range found {
			all = append(all, s.Lead.ClickID)
		}
		return all
	}
	var all []string
	q := outbox.Query{Limit: 10, OldestFirst: true}
	for {
		found, err := r.List(t.Context(), q)
		require.NoError(t, err)
		if len(found) == 0 {
			break
		}
		for _, s := range found {
			all = append(all, s.Lead.ClickID)
		}
		q.Before = found[len(found)-1].ID
	}
	require.Len(t, all, 25, "each sign-up is on one page")
	assert.True(t, slices.IsSorted(all), "the oldest come first")
	first, err := r.Get(t.Context(), ids[0])
	require.NoError(t, err)
	slices.Reverse(all)
	assert.Equal(t, all, page(outbox.Query{}), "the newest come first")
	assert.Len(t, page(outbox.Query{Status: outbox.Doubtful}), 5)
	assert.Len(t, page(outbox.Query{Status: outbox.Pending, Limit: 7}), 7)
	assert.Empty(t, page(outbox.Query{Status: outbox.Registered}))
	assert.Equal(t, []string{"click07"}, page(outbox.Query{Search: "CLICK07@exam"}))
	assert.Len(t, page(outbox.Query{Search: "allison brown"}), 25)
	assert.Equal(t, []string{"click03"}, page(outbox.Query{Search: ids[3]}))
	assert.Empty(t, page(outbox.Query{Search: "click_7"}), "an underscore is no wildcard")
	assert.Empty(t, page(outbox.Query{Search: "%"}))
	_, err = r.List(t.Context(), outbox.Query{Before: "unknown"})
	require.ErrorIs(t, err, outbox.ErrNotFound)
	counts, err := r.Counts(t.Context())
	require.NoError(t, err)
	assert.Equal(t, int64(20), counts[outbox.Pending].Number)
	assert.Equal(t, outbox.Count{Number: 5, Oldest: first.CreatedAt}, counts[outbox.Doubtful])
	assert.Equal(t, outbox.Count{}, counts[outbox.Refused])
}

func (k kind) options(t *testing.T) {
	t.Helper()
	db := k.open(t, k.create(t))
	for name, opts := range map[string]outbox.Options{
		"workers": {Workers: -1}, "timeout": {TryTimeout: time.Millisecond}, "keep": {Keep: -1},
	} {
		_, err := outbox.Open(t.Context(), db, k.dialect, opts)
		require.Error(t, err, name)
	}
	var log bytes.Buffer
	secret := outbox.Options{TokenKey: []byte("secret")}
	slog.New(slog.NewJSONHandler(&log, nil)).Info("options", "value", secret)
	assert.Contains(t, log.String(), `"outbox.Options(0 routes, 0 workers)"`)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d"} {
		assert.Equal(t, "outbox.Options(0 routes, 0 workers)", fmt.Sprintf(verb, secret))
	}
	o, err := outbox.Open(t.Context(), db, k.dialect, outbox.Options{})
	require.NoError(t, err)
	require.ErrorContains(t, o.Work(t.Context()), "Routes")
	number, err := o.MarkRestored(t.Context())
	require.ErrorContains(t, err, "Routes")
	assert.Zero(t, number)
	o, err = outbox.Open(t.Context(), db, k.dialect, outbox.Options{
		Routes: []router.Route{{Client: newFakeAPI(t).client}},
	})
	require.NoError(t, err)
	_, err = o.MarkRestored(t.Context())
	require.NoError(t, err)
	if k.dialect == outbox.PostgreSQL {
		require.ErrorContains(t, o.Backup(t.Context(), filepath.Join(t.TempDir(), "backup.db")), "pg_dump")
	}
}

func (k kind) openedAtOnce(t *testing.T) {
	t.Helper()
	address := k.create(t)
	var wait sync.WaitGroup
	for range 4 {
		db := k.open(t, address)
		wait.Go(func() {
			o, err := outbox.Open(t.Context(), db, k.dialect, outbox.Options{})
			if assert.NoError(t, err) {
				_, err = o.Add(t.Context(), newLead("once"))
				assert.NoError(t, err)
			}
		})
	}
	wait.Wait()
}

func (k kind) newerTables(t *testing.T) {
	t.Helper()
	r := k.idle(t, outbox.Options{})
	_, err := r.db.ExecContext(t.Context(), `INSERT INTO outbox_version (version_id, is_applied) VALUES (99, $1)`, true)
	require.NoError(t, err)
	_, err = outbox.Open(t.Context(), r.db, k.dialect, outbox.Options{})
	require.ErrorIs(t, err, outbox.ErrWrongDatabase)
	require.ErrorContains(t, err, "99")
}

// wait checks Wait: it returns at once when the sign-up is settled, and with
// the pending sign-up when its context ends.
func (k kind) wait(t *testing.T) {
	t.Helper()
	r := k.idle(t, outbox.Options{})
	s := r.add(t, "wait")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	got, err := r.Wait(ctx, s.ID)
	require.NoError(t, err)
	assert.Equal(t, outbox.Pending, got.Status)
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), longest)
			defer cancel()
			got, err := r.Wait(ctx, s.ID)
			assert.NoError(t, err)
			assert.Equal(t, outbox.Doubtful, got.Status)
		})
	}
	time.Sleep(50 * time.Millisecond)
	_, err = r.db.ExecContext(t.Context(), `UPDATE outbox_signups SET status = 'doubtful'`) // as another process does
	require.NoError(t, err)
	wait.Wait()
}

// otherProcess checks that what one process adds, another one registers.
func (k kind) otherProcess(t *testing.T) {
	t.Helper()
	api := newFakeAPI(t)
	address := k.create(t)
	k.start(t, address, []*fakeAPI{api}, nil)
	adder := &running{db: k.open(t, address)}
	var err error
	adder.Outbox, err = outbox.Open(t.Context(), adder.db, k.dialect, outbox.Options{})
	require.NoError(t, err)
	for i := range 20 {
		s := adder.add(t, fmt.Sprint("remote", i))
		require.Equal(t, outbox.Registered, adder.wait(t, s.ID).Status)
	}
	assert.Len(t, api.Leads(), 20)
}
