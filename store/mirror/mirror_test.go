package mirror_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	_ "modernc.org/sqlite"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/internal/postgrestest"
	"github.com/clixnow/clixnow-go/store/mirror"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
		name := fmt.Sprintf("test_%x", rand.Uint64()) //nolint:gosec // G404: a name
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
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
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
}

// query runs a statement and returns the rows as texts.
func query(t *testing.T, m *mirror.Mirror, statement string, args ...any) (all []string) {
	t.Helper()
	rows, err := m.DB().QueryContext(t.Context(), statement, args...)
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
	apply(t, m, "acme", first, second)
	apply(t, m, "beta", first)
	apply(t, m, "acme", second, first)
	want := []string{
		"acme|1|created||New|<nil>",
		"acme|2|created||Customer|2026-05-04T14:00:00.000000Z",
		"acme|2|deposited||Customer|2026-05-04T14:00:00.000000Z",
		"beta|1|created||New|<nil>",
	}
	require.Equal(t, want, query(t, m, eventsQuery))
}
