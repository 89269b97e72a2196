package mirror_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	_ "modernc.org/sqlite"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/internal/postgrestest"
	"github.com/clixnow/clixnow-go/store/mirror"
)

func TestMain(m *testing.M) {
	child()
	goleak.VerifyTestMain(m)
}

// kind is a kind of database. Its tests run with both kinds.
type kind struct {
	dialect mirror.Dialect
	// create creates an empty database and returns its address.
	create func(*testing.T) string
}

func sqliteKind() kind {
	return kind{mirror.SQLite, func(t *testing.T) string {
		t.Helper()
		return sqliteAddress(filepath.Join(t.TempDir(), "leads.db"))
	}}
}

func sqliteAddress(file string) string {
	return "file:" + file + "?_txlock=immediate&_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)"
}

func postgresKind(t *testing.T) kind {
	t.Helper()
	server := postgrestest.New(t)
	return kind{mirror.PostgreSQL, func(t *testing.T) string {
		t.Helper()
		name := fmt.Sprintf("test_%x", rand.Uint64())
		_, err := kind{dialect: mirror.PostgreSQL}.open(t, server.URL).ExecContext(t.Context(), "CREATE DATABASE "+name)
		require.NoError(t, err)
		address, err := url.Parse(server.URL)
		require.NoError(t, err)
		address.Path = name
		return address.String()
	}}
}

func (k kind) open(t *testing.T, address string) *sql.DB {
	t.Helper()
	driver := "pgx"
	if k.dialect == mirror.SQLite {
		driver = "sqlite"
	}
	db, err := sql.Open(driver, address)
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.Zero(t, db.Stats().InUse, "each connection was returned")
		assert.NoError(t, db.Close())
	})
	return db
}

// mirror opens a mirror in a new database.
func (k kind) mirror(t *testing.T) *mirror.Mirror {
	t.Helper()
	m, err := mirror.Open(t.Context(), k.open(t, k.create(t)), k.dialect)
	require.NoError(t, err)
	return m
}

func TestSQLite(t *testing.T) {
	t.Parallel()
	sqliteKind().test(t)
}

func TestPostgreSQL(t *testing.T) {
	t.Parallel()
	postgresKind(t).test(t)
}

func (k kind) test(t *testing.T) {
	t.Helper()
	t.Run("events", k.events)
	t.Run("texts", k.texts)
	t.Run("Run saves what Apply saves", k.runAndApply)
	t.Run("another email", k.anotherEmail)
	t.Run("two versions", k.twoVersions)
	t.Run("rollback", k.rollback)
	t.Run("leads", k.leads)
	t.Run("readers", k.readers)
	t.Run("read only", k.readOnly)
	t.Run("opened at once", k.openedAtOnce)
	t.Run("wrong database", k.wrongDatabase)
	t.Run("another address", k.anotherAddress)
	t.Run("foreign tables", k.foreignTables)
	t.Run("resume", k.resume)
	t.Run("indexes", k.indexes)
	t.Run("stop", k.stop)
	t.Run("polling", k.polling)
	t.Run("idle", k.idle)
	t.Run("quiet brand", k.quiet)
	t.Run("take over", k.takeOver)
	t.Run("brands fail alone", k.brandsFailAlone)
	t.Run("all brands refuse", k.allRefuse)
	t.Run("fault of a batch", k.faultOfBatch)
	t.Run("questions", k.questions)
}

// query runs a statement and returns the rows as texts.
func query(t *testing.T, m *mirror.Mirror, statement string) (all []string) {
	t.Helper()
	rows, err := m.DB().QueryContext(t.Context(), statement)
	require.NoError(t, err)
	defer func() { assert.NoError(t, rows.Close()) }()
	columns, err := rows.Columns()
	require.NoError(t, err)
	for rows.Next() {
		values, row := make([]any, len(columns)), make([]string, len(columns))
		for i := range values {
			values[i] = new(any)
		}
		require.NoError(t, rows.Scan(values...))
		for i := range values {
			value := *values[i].(*any)
			if at, ok := value.(time.Time); ok {
				value = at.UTC().Format("2006-01-02T15:04:05.000000Z")
			}
			row[i] = fmt.Sprint(value)
		}
		all = append(all, strings.Join(row, "|"))
	}
	require.NoError(t, rows.Err())
	return all
}

func apply(t *testing.T, m *mirror.Mirror, brand string, leads ...clixnow.Lead) (events []mirror.Event) {
	t.Helper()
	err := m.Transact(t.Context(), "apply", func(ctx context.Context, tx *sql.Tx) (err error) {
		events, err = m.Apply(ctx, tx, brand, leads)
		return err
	})
	require.NoError(t, err)
	return events
}

const eventsQuery = "SELECT brand, lead_id, event, status_before, status, ftd_date FROM lead_events ORDER BY id"

func (k kind) events(t *testing.T) {
	t.Parallel()
	m := k.mirror(t)
	may := time.Date(2026, time.May, 4, 12, 0, 0, 0, time.UTC)
	first := clixnow.Lead{ID: 1, Email: "anna@example.com", Status: "New", CreatedOn: may, UpdatedOn: may}
	second := clixnow.Lead{ID: 2, Status: "Customer", CreatedOn: may.Add(time.Hour), FTDDate: may.Add(2 * time.Hour)}
	recorded := apply(t, m, "acme", first, second)
	require.Len(t, recorded, 3)
	apply(t, m, "beta", first) // the ids of two brands may be equal
	assert.Empty(t, apply(t, m, "acme", second, first), "unchanged leads make no event")
	want := []string{
		"acme|1|created||New|<nil>",
		"acme|2|created||Customer|2026-05-04T14:00:00.000000Z",
		"acme|2|deposited||Customer|2026-05-04T14:00:00.000000Z",
		"beta|1|created||New|<nil>",
	}
	require.Equal(t, want, query(t, m, eventsQuery))

	first.Status, first.FTDDate, first.UpdatedOn = "Customer", may.Add(24*time.Hour), may.Add(25*time.Hour)
	apply(t, m, "acme", first)
	second.FTDDate = time.Time{}
	first.Keyword = "shoes" // makes no event
	apply(t, m, "acme", second, first)
	want = append(want,
		"acme|1|status changed|New|Customer|2026-05-05T12:00:00.000000Z",
		"acme|1|deposited|New|Customer|2026-05-05T12:00:00.000000Z",
		"acme|2|deposit withdrawn|Customer|Customer|<nil>",
	)
	require.Equal(t, want, query(t, m, eventsQuery))
	first.Keyword = "boots"
	assert.Empty(t, apply(t, m, "acme", first), "a change without an event is saved")
	assert.Equal(t, []string{"acme|1|boots|<nil>", "acme|2||<nil>", "beta|1||<nil>"},
		query(t, m, "SELECT brand, id, keyword, extra FROM leads ORDER BY brand, id"))
	assert.Equal(t, []string{"acme|1"}, query(t, m, "SELECT brand, lead_id FROM current_deposits"),
		"a withdrawn deposit is taken off")

	all, err := m.Events(t.Context(), 0, 100)
	require.NoError(t, err)
	require.Len(t, all, len(want))
	assert.Equal(t, recorded, all[:3])
	assert.WithinDuration(t, time.Now(), all[4].RecordedAt, time.Minute)
	all[4].RecordedAt = time.Time{}
	assert.Equal(t, mirror.Event{
		ID: 5, Brand: "acme", LeadID: 1, Kind: clixnow.LeadStatusChanged, StatusBefore: "New", Status: "Customer",
		FTDDate: first.FTDDate, UpdatedOn: first.UpdatedOn,
	}, all[4])
	some, err := m.Events(t.Context(), 5, 1)
	require.NoError(t, err)
	assert.Equal(t, all[5:6], some)
}

// texts saves leads with unusual characters and with fields that the SDK does
// not know, and reads them again.
func (k kind) texts(t *testing.T) {
	t.Parallel()
	m := k.mirror(t)
	at := time.Date(2026, time.May, 4, 12, 0, 0, 123456789, time.UTC)
	// A text that cannot be compressed, because an index would compress it.
	random := rand.New(rand.NewPCG(1, 2))
	long := make([]rune, 3_800)
	for i := range long {
		long[i] = 'a' + random.Int32N(10_000)
	}
	lead := clixnow.Lead{
		ID: 1, Email: "a@example.com", Status: "a\x00b'\n\x1b[2J\u2028", CRMID: "9b1d", BrandID: 7, BrandName: "\xff",
		CreatedOn: at, FTDDate: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC),
		ClickID: string(long), Sub2: strings.Repeat("x", 1<<20), SubCampaign: `"$1`, Keyword: string(long[1:]),
		Placement: string(long[2:]), ClientType: "Client",
		Extra: map[string]json.RawMessage{"score": json.RawMessage(`{"a": 1.50, "b": "\u0000\ud800"}`)},
	}
	for range 2 {
		apply(t, m, "acme", lead)
	}
	assert.Len(t, query(t, m, "SELECT id FROM lead_events"), 1, "an unchanged lead makes no event")
	want := lead
	want.Status, want.BrandName = "a\uFFFDb'\n\x1b[2J\u2028", "\uFFFD"
	want.CreatedOn, want.FTDDate = at.Truncate(time.Microsecond), time.Time{}
	want.Extra = map[string]json.RawMessage{"score": json.RawMessage(`{"a":1.50,"b":"\u0000\ud800"}`)}
	assert.Equal(t, []mirror.Lead{{Brand: "acme", Lead: want}}, readLeads(t, m, mirror.Query{}))
	lead.Status = "a\x00c"
	apply(t, m, "acme", lead)
	assert.Equal(t, []string{"a\uFFFDb'\n\x1b[2J\u2028|a\uFFFDc"},
		query(t, m, "SELECT status_before, status FROM lead_events WHERE id = 2"))
}

// runAndApply checks that Run saves the same as Apply. In PostgreSQL, Run uses
// COPY, and Apply uses INSERT.
func (k kind) runAndApply(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, time.May, 4, 12, 0, 0, 123456000, time.UTC)
	leads := []clixnow.Lead{
		{ID: 1, UpdatedOn: at},
		{ID: 2, Status: "a\x00b'\\\t\n\x1b[2J\u2028", UpdatedOn: at, Sub2: `\N`, Keyword: `{"a",NULL}`},
		{
			ID: math.MaxInt64, BrandID: math.MinInt64, UpdatedOn: at,
			CreatedOn: time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC),
		},
		{
			ID: 3, CreatedOn: time.Date(1999, 12, 31, 23, 59, 59, 999_999_000, time.UTC), UpdatedOn: at, FTDDate: at,
			Extra: map[string]json.RawMessage{"score": json.RawMessage(`{"a":1.50,"b":"\u0000\ud800"}`)},
		},
		{
			ID: 4, UpdatedOn: at, FTDDate: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
			Placement: strings.Repeat("ä", 1<<17),
		},
	}
	server := clixnowtest.NewServer()
	t.Cleanup(server.Close)
	server.AddLeads(leads...)
	ran, applied := k.mirror(t), k.mirror(t)
	for lead, err := range server.Client().LeadChanges(t.Context(), clixnow.LeadChangesRequest{}) {
		require.NoError(t, err)
		apply(t, applied, server.Brand, lead)
	}
	opts := mirror.RunOptions{Clients: []*clixnow.Client{server.Client()}, Once: true}
	require.NoError(t, ran.Run(t.Context(), opts))
	const events = "SELECT id, brand, lead_id, event, status_before, status, ftd_date, updated_on " +
		"FROM lead_events ORDER BY id"
	require.Len(t, query(t, ran, "SELECT id FROM leads"), len(leads))
	for _, statement := range []string{"SELECT * FROM leads ORDER BY id", events} {
		assert.Equal(t, query(t, applied, statement), query(t, ran, statement))
	}
}

func readLeads(t *testing.T, m *mirror.Mirror, q mirror.Query) (leads []mirror.Lead) {
	t.Helper()
	for lead, err := range m.Leads(t.Context(), q) {
		require.NoError(t, err)
		leads = append(leads, lead)
	}
	return leads
}

// anotherEmail checks that another person's email under a known id is an event.
func (k kind) anotherEmail(t *testing.T) {
	t.Parallel()
	m := k.mirror(t)
	tests := []struct {
		name, before, now string
		want              bool
	}{
		{"another person", "anna@example.com", "berta@example.com", true},
		{"another domain", "anna@example.com", "anna@example.org", true},
		{"case", "anna@example.com", "Anna@Example.COM", false},
		{"space", "anna@example.com", " anna@example.com", false},
		{"hidden now", "anna@example.com", "", false},
		{"hidden before", "", "anna@example.com", false},
		{"masked by stars", "anna@example.com", "a***@example.com", false},
		{"masked by dots", "an••@example.com", "berta@example.com", false},
		{"masked by x", "aXXXX@example.com", "berta@example.com", false},
		{"cut", "anna@example.com", "ann…", false},
		{"no address", "anna@example.com", "hidden", false},
		{"equal", "anna@example.com", "anna@example.com", false},
	}
	for i, test := range tests {
		lead := clixnow.Lead{ID: int64(i + 1), Email: test.before, Status: "New"}
		apply(t, m, "acme", lead)
		lead.Email, lead.Status, lead.FTDDate = test.now, "Customer", time.Now()
		var kinds []clixnow.LeadEvent
		for _, event := range apply(t, m, "acme", lead) {
			kinds = append(kinds, event.Kind)
		}
		want := []clixnow.LeadEvent{clixnow.LeadStatusChanged, clixnow.LeadDeposited}
		if test.want {
			want = append([]clixnow.LeadEvent{mirror.LeadEmailChanged}, want...)
		}
		assert.Equal(t, want, kinds, test.name)
		assert.Equal(t, []string{test.now},
			query(t, m, fmt.Sprint("SELECT email FROM leads WHERE id = ", lead.ID)), test.name)
	}
}

// twoVersions checks that two versions of a lead in one batch make the events
// of both, and that the last version is saved.
func (k kind) twoVersions(t *testing.T) {
	t.Parallel()
	m := k.mirror(t)
	lead := lastMonth(1)[0]
	later := lead
	later.Status = "No answer"
	apply(t, m, "acme", lead, later, later)
	apply(t, m, "acme", later, lead, later)
	assert.Equal(t, []string{
		"acme|1|created||New|<nil>",
		"acme|1|status changed|New|No answer|<nil>",
		"acme|1|status changed|No answer|New|<nil>",
		"acme|1|status changed|New|No answer|<nil>",
	}, query(t, m, eventsQuery))
	assert.Equal(t, []string{"No answer"}, query(t, m, "SELECT status FROM leads"))
}

// rollback checks that a batch with a lead that cannot be saved is not saved at
// all, and that the numbers of its events are given to other events.
func (k kind) rollback(t *testing.T) {
	t.Parallel()
	m := k.mirror(t)
	leads := lastMonth(50)
	apply(t, m, "acme", leads[:10]...)
	failed := errors.New("failed")
	err := m.Transact(t.Context(), "apply", func(ctx context.Context, tx *sql.Tx) error {
		events, err := m.Apply(ctx, tx, "acme", leads)
		require.NoError(t, err)
		require.Len(t, events, 40)
		return failed
	})
	require.ErrorIs(t, err, failed)
	leads[49].Extra = map[string]json.RawMessage{"a": json.RawMessage("{")}
	err = m.Transact(t.Context(), "apply", func(ctx context.Context, tx *sql.Tx) error {
		_, err := m.Apply(ctx, tx, "acme", leads)
		return err
	})
	require.ErrorContains(t, err, "lead 50")
	for _, table := range []string{"leads", "lead_events"} {
		assert.Equal(t, []string{"10"}, query(t, m, "SELECT count(*) FROM "+table))
	}
	assert.Equal(t, int64(11), apply(t, m, "acme", leads[10])[0].ID)
}

func (k kind) leads(t *testing.T) {
	t.Parallel()
	m := k.mirror(t)
	leads := lastMonth(10)
	leads[9].CreatedOn = time.Time{}
	for i := 2; i < 8; i++ {
		leads[i].FTDDate = leads[i].CreatedOn.Add(10 * 24 * time.Hour)
	}
	apply(t, m, "beta", leads[5:]...)
	apply(t, m, "acme", leads[:5]...)
	names := func(q mirror.Query) string {
		var names []string
		for _, lead := range readLeads(t, m, q) {
			names = append(names, fmt.Sprint(lead.Brand, lead.Lead.ID))
		}
		return strings.Join(names, " ")
	}
	assert.Equal(t, "acme1 acme2 acme3 acme4 acme5 beta6 beta7 beta8 beta9 beta10", names(mirror.Query{}))
	assert.Equal(t, "acme1 acme2 acme3 acme4 acme5", names(mirror.Query{Brand: "acme"}))
	assert.Empty(t, names(mirror.Query{Brand: "gamma"}))
	from, to := leads[3].CreatedOn, leads[7].CreatedOn
	assert.Equal(t, "acme4 acme5 beta6 beta7", names(mirror.Query{CreatedFrom: from, CreatedTo: to}))
	assert.Equal(t, "beta6 beta7 beta8 beta9", names(mirror.Query{Brand: "beta", CreatedFrom: from}))
	from, to = leads[3].FTDDate, leads[6].FTDDate
	assert.Equal(t, "acme4 acme5 beta6", names(mirror.Query{DepositedFrom: from, DepositedTo: to}))
	assert.Equal(t, "beta6 beta7 beta8", names(mirror.Query{Brand: "beta", DepositedFrom: from}))
	for _, err := range m.Leads(t.Context(), mirror.Query{}) {
		require.NoError(t, err)
		break // the connection is returned
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range m.Leads(ctx, mirror.Query{}) {
		require.ErrorIs(t, err, context.Canceled)
	}
}

func (k kind) readers(t *testing.T) {
	t.Parallel()
	m := k.mirror(t)
	apply(t, m, "acme", lastMonth(5)...)
	var handled []int64
	failed := errors.New("failed")
	handle := func(reader string, failAt int64) error {
		handled = nil
		return m.HandleEvents(t.Context(), reader, 2, func(events []mirror.Event) error {
			require.LessOrEqual(t, len(events), 2)
			for _, event := range events {
				handled = append(handled, event.ID)
				if event.ID == failAt {
					return failed
				}
			}
			return nil
		})
	}
	require.ErrorIs(t, handle("print", 4), failed)
	assert.Equal(t, []int64{1, 2, 3, 4}, handled)
	require.NoError(t, handle("print", 0))
	assert.Equal(t, []int64{3, 4, 5}, handled, "the failed batch is handled again")
	require.NoError(t, handle("print", 0))
	assert.Empty(t, handled)
	require.NoError(t, handle("another reader", 0))
	assert.Equal(t, []int64{1, 2, 3, 4, 5}, handled)
	require.NoError(t, m.SetEventsDone(t.Context(), "print", 2))
	done, err := m.EventsDone(t.Context(), "print")
	require.NoError(t, err)
	assert.Equal(t, int64(5), done, "it never moves back")
	done, err = m.EventsDone(t.Context(), "unknown")
	require.NoError(t, err)
	assert.Zero(t, done)
}

// readOnly checks that a reader does not take over the mirror.
func (k kind) readOnly(t *testing.T) {
	t.Parallel()
	address := k.create(t)
	_, err := mirror.OpenReadOnly(t.Context(), k.open(t, address), k.dialect)
	require.ErrorIs(t, err, mirror.ErrWrongDatabase)
	owner, err := mirror.Open(t.Context(), k.open(t, address), k.dialect)
	require.NoError(t, err)
	closed := k.open(t, address)
	require.NoError(t, closed.Close())
	_, err = mirror.OpenReadOnly(t.Context(), closed, k.dialect)
	require.ErrorIs(t, err, mirror.ErrDatabase)
	require.NotErrorIs(t, err, mirror.ErrWrongDatabase, "it is not known what is in it")
	reader, err := mirror.OpenReadOnly(t.Context(), k.open(t, address), k.dialect)
	require.NoError(t, err)
	apply(t, owner, "acme", lastMonth(2)...)
	assert.Len(t, readLeads(t, reader, mirror.Query{}), 2)
	err = reader.SetEventsDone(t.Context(), "print", 2)
	require.ErrorIs(t, err, mirror.ErrTakenOver)
	server := newServer(t)
	require.ErrorIs(t, once(t, reader, server), mirror.ErrTakenOver)
	assert.Empty(t, server.Requests(), "it is noticed before anything is read")
	_, err = owner.DB().ExecContext(t.Context(), "UPDATE mirror_owner SET owner = 0")
	require.NoError(t, err)
	err = reader.SetEventsDone(t.Context(), "print", 2)
	require.ErrorIs(t, err, mirror.ErrTakenOver, "0 is no owner")
}

// openedAtOnce checks that several processes can open a new database at once.
func (k kind) openedAtOnce(t *testing.T) {
	t.Parallel()
	address := k.create(t)
	mirrors, errs := make([]*mirror.Mirror, 4), make([]error, 4)
	var opened sync.WaitGroup
	for i := range mirrors {
		db := k.open(t, address)
		opened.Go(func() { mirrors[i], errs[i] = mirror.Open(t.Context(), db, k.dialect) })
	}
	opened.Wait()
	require.NoError(t, errors.Join(errs...))
	owners := 0
	for _, m := range mirrors {
		if err := m.SetEventsDone(t.Context(), "print", 1); err == nil {
			owners++
		} else {
			require.ErrorIs(t, err, mirror.ErrTakenOver)
		}
	}
	assert.Equal(t, 1, owners)
}

func (k kind) wrongDatabase(t *testing.T) {
	t.Parallel()
	m := k.mirror(t)
	insert := "INSERT INTO mirror_version (version_id, is_applied) VALUES (99, true)"
	_, err := m.DB().ExecContext(t.Context(), insert)
	require.NoError(t, err)
	_, err = mirror.Open(t.Context(), m.DB(), k.dialect)
	require.ErrorIs(t, err, mirror.ErrWrongDatabase)
	require.ErrorContains(t, err, "version 99")
	_, err = mirror.OpenReadOnly(t.Context(), m.DB(), k.dialect)
	require.ErrorIs(t, err, mirror.ErrWrongDatabase)
	assert.Equal(t, []string{"1"}, query(t, m, "SELECT owner FROM mirror_owner"),
		"the failed calls did not take over the mirror")
}

// foreignTables checks that a database with another table of these names is not
// changed, but for an empty table of versions.
func (k kind) foreignTables(t *testing.T) {
	t.Parallel()
	db := k.open(t, k.create(t))
	_, err := db.ExecContext(t.Context(), "CREATE TABLE lead_events (id BIGINT, name TEXT)")
	require.NoError(t, err)
	_, err = mirror.Open(t.Context(), db, k.dialect)
	require.ErrorContains(t, err, "lead_events")
	_, err = db.ExecContext(t.Context(), "SELECT owner FROM mirror_owner")
	require.Error(t, err)
	_, err = db.ExecContext(t.Context(), "SELECT id FROM leads")
	require.Error(t, err, "the migration was rolled back")
}

// lastMonth returns n leads of the last month, in the order of their ids.
func lastMonth(n int) []clixnow.Lead {
	leads := make([]clixnow.Lead, n)
	began := time.Now().Add(-30 * 24 * time.Hour)
	for i := range leads {
		at := began.Add(time.Duration(i) * time.Minute)
		leads[i] = clixnow.Lead{ID: int64(i + 1), Status: "New", CreatedOn: at, UpdatedOn: at}
	}
	return leads
}

// anotherAddress checks that leads of two APIs are not mixed.
func (k kind) anotherAddress(t *testing.T) {
	t.Parallel()
	m, server := k.mirror(t), newServer(t)
	read := "SELECT coalesce(base_url, '') FROM mirror_brands WHERE position IS NOT NULL"
	require.NoError(t, m.Claim(t.Context(), "acme", "https://typo.example"))
	require.NoError(t, once(t, m, server))
	assert.Equal(t, []string{"https://typo.example"}, query(t, m, read))
	require.NoError(t, m.Claim(t.Context(), "acme", "https://one.example"), "there are no leads")
	assert.Empty(t, query(t, m, read), "the position is one of the other API")
	server.AddLeads(clixnow.Lead{})
	require.NoError(t, once(t, m, server))
	require.NoError(t, m.Claim(t.Context(), "acme", "https://one.example"))
	require.NoError(t, m.Claim(t.Context(), "beta", "https://two.example"))
	err := m.Claim(t.Context(), "acme", "https://two.example")
	require.ErrorIs(t, err, mirror.ErrWrongDatabase)
	require.NotErrorIs(t, err, mirror.ErrDatabase)
	require.ErrorContains(t, err, `leads of brand "acme" from https://one.example, not from https://two.example`)
	assert.Equal(t, []string{"https://one.example"}, query(t, m, read))
	_, err = m.DB().ExecContext(t.Context(), "UPDATE mirror_brands SET base_url = ''")
	require.NoError(t, err)
	require.NoError(t, m.Claim(t.Context(), "acme", "https://three.example"), "it was not claimed before")
	assert.Equal(t, []string{"https://three.example"}, query(t, m, read), "the position stays")
}
