package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/internal/postgrestest"
)

// databases is a kind of database. Its tests run with both kinds.
type databases struct {
	// create creates an empty database and returns its address.
	create func(*testing.T) string
}

func TestSQLite(t *testing.T) {
	t.Parallel()
	databases{create: func(t *testing.T) string {
		return filepath.Join(t.TempDir(), "of 100%? #1.db")
	}}.test(t)
}

func TestPostgreSQL(t *testing.T) {
	t.Parallel()
	server := postgrestest.New(t)
	databases{create: func(t *testing.T) string {
		name := fmt.Sprintf("test_%x", rand.Uint64())
		_, err := open(t, server.URL).ExecContext(t.Context(), "CREATE DATABASE "+name)
		require.NoError(t, err)
		address, err := url.Parse(server.URL)
		require.NoError(t, err)
		address.Path = name
		return address.String()
	}}.test(t)
}

func (d databases) test(t *testing.T) {
	t.Helper()
	t.Run("events", d.events)
	t.Run("texts", d.texts)
	t.Run("resume", d.resume)
	t.Run("stop", d.stop)
	t.Run("polling", d.polling)
	t.Run("print twice", d.printTwice)
	t.Run("output fails", d.outputFails)
	t.Run("take over", d.takeOver)
	t.Run("rollback", d.rollback)
	t.Run("two versions", d.twoVersions)
	t.Run("wrong database", d.wrongDatabase)
	t.Run("foreign tables", d.foreignTables)
	t.Run("queries", d.queries)
}

func open(t *testing.T, database string) *sql.DB {
	t.Helper()
	db, _, err := openDatabase(database)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	return db
}

// query runs a statement and returns the rows as texts.
func query(t *testing.T, database, statement string) [][]string {
	t.Helper()
	rows, err := open(t, database).QueryContext(t.Context(), statement)
	require.NoError(t, err)
	defer func() { assert.NoError(t, rows.Close()) }()
	columns, err := rows.Columns()
	require.NoError(t, err)
	var all [][]string
	for rows.Next() {
		values, row := make([]any, len(columns)), make([]string, len(columns))
		for i := range values {
			values[i] = new(any)
		}
		require.NoError(t, rows.Scan(values...))
		for i := range values {
			value := *values[i].(*any)
			if at, ok := value.(time.Time); ok {
				value = at.UTC().Format(dateFormat)
			}
			row[i] = fmt.Sprint(value)
		}
		all = append(all, row)
	}
	require.NoError(t, rows.Err())
	return all
}

const eventsQuery = "SELECT lead_id, event, status_before, status, ftd_date FROM lead_events ORDER BY id"

func (d databases) events(t *testing.T) {
	t.Parallel()
	database := d.create(t)
	p := newProgram(t, database)
	may := time.Date(2026, time.May, 4, 12, 0, 0, 0, time.UTC)
	p.AddLeads(
		clixnow.Lead{ID: 1, Status: "New", CreatedOn: may},
		clixnow.Lead{ID: 2, Status: "Customer", CreatedOn: may.Add(time.Hour), FTDDate: may.Add(2 * time.Hour)},
	)
	want := [][]string{
		{"1", "created", "", "New", "<nil>"},
		{"2", "created", "", "Customer", "2026-05-04T14:00:00.000000Z"},
		{"2", "deposited", "", "Customer", "2026-05-04T14:00:00.000000Z"},
	}
	require.NoError(t, p.run(t.Context(), "-once"))
	require.Equal(t, want, query(t, database, eventsQuery))

	require.NoError(t,
		p.UpdateLead(1, func(lead *clixnow.Lead) { lead.Status, lead.FTDDate = "Customer", may.Add(24*time.Hour) }))
	require.NoError(t, p.run(t.Context(), "-once"))
	want = append(want,
		[]string{"1", "status changed", "New", "Customer", "2026-05-05T12:00:00.000000Z"},
		[]string{"1", "deposited", "New", "Customer", "2026-05-05T12:00:00.000000Z"},
	)
	require.Equal(t, want, query(t, database, eventsQuery))

	require.NoError(t, p.UpdateLead(2, func(lead *clixnow.Lead) { lead.FTDDate = time.Time{} }))
	require.NoError(t, p.UpdateLead(1, func(lead *clixnow.Lead) { lead.Keyword = "shoes" })) // makes no event
	for range 2 {
		require.NoError(t, p.run(t.Context(), "-once"))
	}
	want = append(want, []string{"2", "deposit withdrawn", "Customer", "Customer", "<nil>"})
	require.Equal(t, want, query(t, database, eventsQuery))
	assert.Equal(t, [][]string{{"1", "shoes"}, {"2", ""}},
		query(t, database, "SELECT id, keyword FROM leads ORDER BY id"))
	checkLeads(t, p)

	printed := p.out.lines()
	require.Len(t, printed, len(want))
	assert.Equal(t, `      1  2026-05-04 12:00:00  lead 1         created            "New"`, printed[0])
	assert.Equal(t, `      3  2026-05-04 13:00:00  lead 2         deposited          2026-05-04 14:00:00`, printed[2])
	assert.Contains(t, printed[3], `lead 1         status changed     "New" -> "Customer"`)
	assert.True(t, strings.HasSuffix(printed[5], "deposit withdrawn"), printed[5])
	assert.Equal(t, [][]string{{"0"}}, query(t, database, "SELECT count(*) FROM lead_events WHERE printed_at IS NULL"))
}

// checkLeads compares the stored leads with the server's.
func checkLeads(t *testing.T, p *program) {
	t.Helper()
	var want [][]string
	for _, lead := range p.Leads() {
		raw, err := json.Marshal(lead)
		require.NoError(t, err)
		want = append(want,
			[]string{strconv.FormatInt(lead.ID, 10), lead.Status, strconv.FormatBool(lead.HasFTD()), string(raw)})
	}
	got := query(t, p.database, "SELECT id, status, CASE WHEN ftd_date IS NULL THEN 'false' ELSE 'true' END, "+
		"CAST(raw AS TEXT) FROM leads ORDER BY id")
	require.Equal(t, want, got)
}

// texts saves a lead with unusual characters, and with fields that the SDK does
// not know.
func (d databases) texts(t *testing.T) {
	t.Parallel()
	database := d.create(t)
	p := newProgram(t, database)
	p.AddLeads(clixnow.Lead{
		ID: 1, Status: "a\x00b'\n\x1b[2J\u2028", CRMID: "9b1d", BrandID: 7, ClickID: "0017", SubCampaign: `"$1`,
		CreatedOn: time.Now(),
		Extra:     map[string]json.RawMessage{"score": json.RawMessage(`{"a": 1.50, "b": "\u0000"}`)},
	})
	require.NoError(t, p.run(t.Context(), "-once"))
	rows := query(t, database,
		"SELECT status, crm_id, brand_id, click_id, sub_campaign, CAST(extra AS TEXT) FROM leads")
	assert.Equal(t,
		[][]string{{"a\uFFFDb'\n\x1b[2J\u2028", "9b1d", "7", "0017", `"$1`, `{"score":{"a":1.50,"b":"\u0000"}}`}}, rows)
	require.Len(t, p.out.lines(), 1)
	assert.Contains(t, p.out.String(), "\"a\uFFFDb'\\n\\x1b[2J\\u2028\"")
	require.NoError(t, p.run(t.Context(), "-once"))
	assert.Len(t, p.out.lines(), 1, "an unchanged lead makes no event")
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

// resume checks that a first pass that failed continues in the next run.
func (d databases) resume(t *testing.T) {
	t.Parallel()
	database := d.create(t)
	p := newProgram(t, database, clixnowtest.WithPageLimit(100))
	leads := p.AddLeads(lastMonth(1500)...)
	p.Inject(clixnowtest.Fault{Times: 14}, clixnowtest.Fault{Status: 503, Times: 3}) // the 15th page
	require.ErrorIs(t, p.run(t.Context(), "-once"), clixnow.ErrServer)
	first := len(p.Requests())
	require.Equal(t, 17, first)
	assert.Len(t, p.out.lines(), 1387, "14 pages; all but the first begin with the last lead of the page before")
	assert.Equal(t, [][]string{{"1387"}}, query(t, database, "SELECT count(*) FROM leads"),
		"the leads that were read before the failure are saved")
	position := leads[2*batchSize-1].UpdatedOn
	assert.Equal(t, [][]string{{position.Format(dateFormat)}}, query(t, database, "SELECT position FROM sync_state"))

	require.NoError(t, p.run(t.Context(), "-once"))
	requests := p.Requests()[first:]
	assert.Less(t, len(requests), 16, "the whole history has 16 pages")
	from, err := time.Parse("2006-01-02T15:04:05", requests[0].Query.Get("modifiedOnFrom"))
	require.NoError(t, err)
	assert.WithinDuration(t, position.Add(-time.Minute), from, 5*time.Second)
	assert.Len(t, p.out.lines(), 1500)
	checkLeads(t, p)
}

// stop checks that a stop in the middle of a pass saves the leads that were
// read.
func (d databases) stop(t *testing.T) {
	t.Parallel()
	database := d.create(t)
	p := newProgram(t, database, clixnowtest.WithPageLimit(100))
	p.AddLeads(lastMonth(150)...)
	p.Inject(clixnowtest.Fault{Times: 1}, clixnowtest.Fault{Delay: time.Hour}) // the second page never arrives
	running := p.start(t, "-poll", "1h")
	eventually(t, func() bool { return len(p.Requests()) == 2 })
	require.NoError(t, running.stop())
	assert.Equal(t, [][]string{{"100"}}, query(t, database, "SELECT count(*) FROM leads"))
	assert.Len(t, p.out.lines(), 100)

	p.Inject(clixnowtest.Fault{Delay: time.Hour})
	running = p.start(t, "-once")
	eventually(t, func() bool { return len(p.Requests()) == 3 })
	require.ErrorIs(t, running.stop(), context.Canceled, "it has not caught up")
}

// polling checks that a failed pass is logged, and that the next pass reads its
// leads.
func (d databases) polling(t *testing.T) {
	t.Parallel()
	database := d.create(t)
	p := newProgram(t, database)
	running := p.start(t, "-poll", "20ms")
	for i := range 20 {
		p.AddLeads(clixnow.Lead{Status: "New"})
		if i%5 == 0 {
			p.Inject(clixnowtest.Fault{Status: 503, Times: 3})
		}
		eventually(t, func() bool { return len(p.out.lines()) == i+1 })
	}
	require.NoError(t, running.stop())
	checkLeads(t, p)
	assert.Contains(t, p.logs.String(), "a pass failed")

	p.Inject(clixnowtest.Fault{Status: 401})
	err := p.run(t.Context(), "-poll", "20ms")
	require.ErrorIs(t, err, clixnow.ErrUnauthorized)
}

// printTwice checks that an event is printed again if the program died before
// the event was marked as printed.
func (d databases) printTwice(t *testing.T) {
	t.Parallel()
	database := d.create(t)
	p := newProgram(t, database)
	p.AddLeads(lastMonth(3)...)
	require.NoError(t, p.run(t.Context(), "-once"))
	_, err := open(t, database).ExecContext(t.Context(), "UPDATE lead_events SET printed_at = NULL WHERE lead_id = 2")
	require.NoError(t, err)
	require.NoError(t, p.run(t.Context(), "-once"))
	printed := p.out.lines()
	require.Len(t, printed, 4)
	assert.Equal(t, printed[1], printed[3])
}

var errFull = errors.New("disk full")

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

// outputFails checks that events that could not be printed are printed by the
// next run.
func (d databases) outputFails(t *testing.T) {
	t.Parallel()
	database := d.create(t)
	p := newProgram(t, database)
	p.AddLeads(lastMonth(3)...)
	require.ErrorIs(t, run(t.Context(), p.args("-poll", "1h"), p.Token, fullDisk{}, &p.logs), errFull)
	require.NoError(t, p.run(t.Context(), "-once"))
	assert.Len(t, p.out.lines(), 3)
}

// takeOver checks that a second process continues, and that the first one stops
// with exit code 4.
func (d databases) takeOver(t *testing.T) {
	t.Parallel()
	database := d.create(t)
	p := newProgram(t, database)
	p.AddLeads(lastMonth(3)...)
	first := p.start(t, "-poll", "20ms")
	defer first.cancel()
	eventually(t, func() bool { return len(p.out.lines()) == 3 })
	second := p.start(t, "-poll", "20ms")
	defer second.cancel()
	eventually(t, func() bool { return len(first.ended) == 1 })
	err := <-first.ended
	require.ErrorIs(t, err, errTakenOver)
	code, _ := explain(err)
	assert.Equal(t, 4, code)
	p.AddLeads(clixnow.Lead{Status: "New"})
	eventually(t, func() bool { return len(p.out.lines()) == 4 })
	require.NoError(t, second.stop())
	checkLeads(t, p)
}

// rollback checks that a batch with a lead that cannot be saved is not saved at
// all.
func (d databases) rollback(t *testing.T) {
	t.Parallel()
	database := d.create(t)
	s, err := openStore(t.Context(), database, "acme")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.close()) })
	leads := lastMonth(50)
	position := leads[9].CreatedOn
	require.NoError(t, s.save(t.Context(), leads[:10], position))
	leads[49].CreatedOn = time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC) // cannot be encoded as JSON
	require.ErrorIs(t, s.save(t.Context(), leads, leads[48].CreatedOn), errDatabase)
	saved, err := s.position(t.Context())
	require.NoError(t, err)
	assert.WithinDuration(t, position, saved, time.Microsecond)
	for _, table := range []string{"leads", "lead_events"} {
		assert.Equal(t, [][]string{{"10"}}, query(t, database, "SELECT count(*) FROM "+table))
	}
}

// twoVersions checks that two versions of a lead in one batch make the events
// of both, and that the last version is saved.
func (d databases) twoVersions(t *testing.T) {
	t.Parallel()
	database := d.create(t)
	s, err := openStore(t.Context(), database, "acme")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.close()) })
	lead := lastMonth(1)[0]
	later := lead
	later.Status = "No answer"
	require.NoError(t, s.save(t.Context(), []clixnow.Lead{lead, later, later}, later.UpdatedOn))
	assert.Equal(t, [][]string{
		{"1", "created", "", "New", "<nil>"},
		{"1", "status changed", "New", "No answer", "<nil>"},
	}, query(t, database, eventsQuery))
	assert.Equal(t, [][]string{{"No answer"}}, query(t, database, "SELECT status FROM leads"))
}

func (d databases) wrongDatabase(t *testing.T) {
	t.Parallel()
	database := d.create(t)
	s, err := openStore(t.Context(), database, "acme")
	require.NoError(t, err)
	require.NoError(t, s.close())
	_, err = openStore(t.Context(), database, "another")
	require.ErrorIs(t, err, errWrongDatabase)
	require.ErrorContains(t, err, `"acme"`)
	_, err = open(t, database).ExecContext(t.Context(), "UPDATE sync_state SET schema_version = 2")
	require.NoError(t, err)
	_, err = openStore(t.Context(), database, "acme")
	require.ErrorIs(t, err, errWrongDatabase)
	assert.Equal(t, [][]string{{"1"}}, query(t, database, "SELECT owner FROM sync_state"),
		"the two failed calls did not take over the database")
}

// foreignTables checks that a database with other tables of these names is not
// changed.
func (d databases) foreignTables(t *testing.T) {
	t.Parallel()
	database := d.create(t)
	_, err := open(t, database).ExecContext(t.Context(), "CREATE TABLE leads (id BIGINT, name TEXT)")
	require.NoError(t, err)
	_, err = openStore(t.Context(), database, "acme")
	require.ErrorContains(t, err, "leads")
	_, err = open(t, database).QueryContext(t.Context(), "SELECT owner FROM sync_state")
	require.Error(t, err, "no table was created")
}

// queries runs the queries of README.md.
func (d databases) queries(t *testing.T) {
	t.Parallel()
	database := d.create(t)
	p := newProgram(t, database)
	november := time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC)
	p.AddLeads(
		clixnow.Lead{Status: "Customer", SubCampaign: "autumn", CreatedOn: november.Add(-time.Hour), FTDDate: november},
		clixnow.Lead{
			Status: "Customer", SubCampaign: "autumn", CreatedOn: november.Add(time.Hour),
			FTDDate: november.AddDate(0, 1, 0).Add(-time.Millisecond),
		},
		clixnow.Lead{
			Status: "Customer", SubCampaign: "spring", CreatedOn: november.Add(time.Hour),
			FTDDate: november.AddDate(0, 1, 0),
		},
		clixnow.Lead{
			Status: "Customer", SubCampaign: "spring", CreatedOn: november.Add(-2 * time.Hour),
			FTDDate: november.Add(-time.Millisecond),
		},
	)
	require.NoError(t, p.run(t.Context(), "-once"))
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	var results [][][]string
	for _, part := range strings.Split(string(readme), "```sql\n")[1:] {
		statement, _, _ := strings.Cut(part, "```")
		results = append(results, query(t, database, statement))
	}
	require.Len(t, results, 3)
	assert.Equal(t, [][]string{{"autumn", "2"}}, results[0])
	assert.Equal(t, [][]string{{"Customer", "2"}}, results[1])
	assert.Len(t, results[2], 4)
}
