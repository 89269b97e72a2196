package sqlitefile_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/clixnow/clixnow-go/store/internal/faulty"
	"github.com/clixnow/clixnow-go/store/internal/sqlitefile"
)

func open(t *testing.T, address string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", address)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	return db
}

func TestPrepare(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"signups.db", "a name?#%&.db", "it's.db", "\u00e4.db"} {
		folder := t.TempDir()
		path := filepath.Join(folder, name)
		require.NoError(t, os.WriteFile(path, nil, 0o644))
		db := open(t, sqlitefile.Address(path))
		_, err := db.ExecContext(t.Context(), "CREATE TABLE numbers (n INTEGER)")
		require.NoError(t, err)
		require.NoError(t, sqlitefile.Prepare(t.Context(), db))
		files, err := os.ReadDir(folder)
		require.NoError(t, err)
		assert.Len(t, files, 3, "the file is where its name says")
		for _, file := range files {
			info, err := file.Info()
			require.NoError(t, err)
			assert.Equal(t, os.FileMode(0o600), info.Mode().Perm(), file.Name())
		}
	}
	for address, want := range map[string]string{
		":memory:":                             "the database is not a file",
		filepath.Join(t.TempDir(), "plain.db"): "PRAGMA secure_delete is",
	} {
		require.ErrorContains(t, sqlitefile.Prepare(t.Context(), open(t, address)), want)
	}
	path := filepath.Join(t.TempDir(), "test.db")
	require.NoError(t, os.Symlink("test.db-shm", path+"-shm")) // it has no mode, because it points to itself
	require.ErrorContains(t, sqlitefile.Prepare(t.Context(), open(t, path)), "make the file private")
	db, faults := faulty.Open(t, sqlitefile.Address(filepath.Join(t.TempDir(), "test.db")))
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	faults.Each(t, "Prepare", func() error { return sqlitefile.Prepare(t.Context(), db) })
}

func TestLock(t *testing.T) {
	t.Parallel()
	address := sqlitefile.Address(filepath.Join(t.TempDir(), "test.db"))
	first, second := open(t, address), open(t, address)
	unlock, err := sqlitefile.Lock(t.Context(), first, time.Second)
	require.NoError(t, err)
	_, err = sqlitefile.Lock(t.Context(), second, 10*time.Millisecond)
	require.ErrorContains(t, err, "locked")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = sqlitefile.Lock(ended, second, time.Hour)
	require.ErrorIs(t, err, context.Canceled)
	_, err = second.ExecContext(t.Context(), "CREATE TABLE numbers (n INTEGER)")
	require.NoError(t, err, "the database itself is not locked")
	time.AfterFunc(20*time.Millisecond, unlock)
	unlock, err = sqlitefile.Lock(t.Context(), second, time.Hour)
	require.NoError(t, err, "it waits for the other one")
	unlock()

	path := filepath.Join(t.TempDir(), "test.db")
	require.NoError(t, os.Mkdir(path+".lock", 0o700))
	_, err = sqlitefile.Lock(t.Context(), open(t, sqlitefile.Address(path)), 0)
	require.ErrorContains(t, err, "test.db.lock")
}

// TestCheckpoint checks that the write-ahead log is emptied, unless a reader
// needs it, and that a later statement waits for a lock again.
func TestCheckpoint(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	db, reader := open(t, sqlitefile.Address(path)), open(t, sqlitefile.Address(path))
	db.SetMaxOpenConns(1)
	size := func() int64 {
		info, err := os.Stat(path + "-wal")
		require.NoError(t, err)
		return info.Size()
	}
	_, err := db.ExecContext(t.Context(), "CREATE TABLE numbers (n INTEGER)")
	require.NoError(t, err)
	rows, err := reader.QueryContext(t.Context(), "SELECT name FROM sqlite_master")
	require.NoError(t, err)
	require.True(t, rows.Next())
	_, err = db.ExecContext(t.Context(), "INSERT INTO numbers (n) VALUES (1)")
	require.NoError(t, err)
	require.NoError(t, sqlitefile.Checkpoint(t.Context(), db))
	assert.Positive(t, size())
	require.NoError(t, rows.Close())
	require.NoError(t, sqlitefile.Checkpoint(t.Context(), db))
	assert.Zero(t, size())
	var timeout int
	require.NoError(t, db.QueryRowContext(t.Context(), "PRAGMA busy_timeout").Scan(&timeout))
	assert.Equal(t, 20_000, timeout)
	require.NoError(t, db.Close())
	require.Error(t, sqlitefile.Checkpoint(t.Context(), db))
}

// TestBackup checks the copy, and that a backup that fails leaves no file and
// replaces none.
func TestBackup(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	db := open(t, sqlitefile.Address(filepath.Join(folder, "test.db")))
	_, err := db.ExecContext(t.Context(), "CREATE TABLE numbers (n INTEGER)")
	require.NoError(t, err)
	backup := filepath.Join(folder, "backup.db")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, sqlitefile.Backup(ended, db, backup), context.Canceled)
	require.NoFileExists(t, backup)

	require.NoError(t, sqlitefile.Backup(t.Context(), db, backup))
	var number int
	require.NoError(t, open(t, sqlitefile.Address(backup)).QueryRowContext(t.Context(),
		"SELECT count(*) FROM numbers").Scan(&number))
	require.ErrorIs(t, sqlitefile.Backup(t.Context(), db, backup), os.ErrExist)
	require.FileExists(t, backup)

	full := sql.OpenDB(onlyOnce{db.Driver(), sqlitefile.Address(filepath.Join(folder, "test.db"))})
	t.Cleanup(func() { assert.NoError(t, full.Close()) })
	other := filepath.Join(folder, "other.db")
	require.ErrorIs(t, sqlitefile.Backup(t.Context(), full, other), errFull)
	require.NoFileExists(t, other)
}

var errFull = errors.New("too many open files")

// onlyOnce connects to a database whose driver opens no other connection.
type onlyOnce struct {
	driver  driver.Driver
	address string
}

func (o onlyOnce) Connect(context.Context) (driver.Conn, error) { return o.driver.Open(o.address) }
func (o onlyOnce) Driver() driver.Driver                        { return o }
func (o onlyOnce) Open(string) (driver.Conn, error)             { return nil, errFull }
