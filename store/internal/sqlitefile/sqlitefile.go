// Package sqlitefile uses a file of SQLite for data that must be neither lost
// nor read by others.
package sqlitefile

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const busyTimeout = "busy_timeout(20000)"

// Address returns the address of a file for the driver of modernc.org/sqlite.
// With it, a committed transaction is on the disk, and deleted data is
// overwritten.
func Address(file string) string {
	return plainAddress(file) + "?" + url.Values{
		"_pragma": {
			busyTimeout, "journal_mode(WAL)", "synchronous(FULL)", "secure_delete(ON)", "temp_store(MEMORY)",
		},
		"_txlock": {"immediate"},
	}.Encode()
}

// plainAddress returns the address of a file, whose name can have any
// characters.
func plainAddress(file string) string {
	address := url.URL{Scheme: "file", Opaque: (&url.URL{Path: filepath.ToSlash(file)}).EscapedPath()}
	return address.String()
}

// Prepare checks that a database was opened with Address, and limits its files
// to their owner.
func Prepare(ctx context.Context, db *sql.DB) error {
	path, err := pathOf(ctx, db)
	if err != nil {
		return err
	}
	for _, file := range []string{path, path + "-wal", path + "-shm"} {
		info, err := os.Stat(file)
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			err = os.Chmod(file, 0o600)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("make the file private: %w", err)
		}
	}
	for _, pragma := range []struct{ name, wanted string }{
		{"secure_delete", "1"},
		{"journal_mode", "wal"},
		{"synchronous", "2 or 3"},
	} {
		var value string
		if err := db.QueryRowContext(ctx, "PRAGMA "+pragma.name).Scan(&value); err != nil {
			return err
		}
		if !strings.Contains(pragma.wanted, value) {
			return fmt.Errorf("PRAGMA %s is %s, not %s; use the address for SQLite", pragma.name, value, pragma.wanted)
		}
	}
	return nil
}

func pathOf(ctx context.Context, db *sql.DB) (path string, err error) {
	const statement = "SELECT file FROM pragma_database_list WHERE name = 'main'"
	if err := db.QueryRowContext(ctx, statement).Scan(&path); err != nil {
		return "", err
	}
	if path == "" {
		return "", errors.New("the database is not a file")
	}
	return path, nil
}

// connector opens connections by the driver of another database, whose name
// this package does not know.
type connector struct {
	driver  driver.Driver
	address string
}

func (c connector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.address) }
func (c connector) Driver() driver.Driver                        { return c.driver }

// Lock excludes other processes that call Lock until unlock, or until this
// process dies. It waits for another process for a while. It begins a
// transaction in a separate file and never ends it. The file is separate, so
// that backups and other programs can use the database.
func Lock(ctx context.Context, db *sql.DB, wait time.Duration) (unlock func(), err error) {
	path, err := pathOf(ctx, db)
	if err != nil {
		return nil, err
	}
	path += ".lock"
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // G304: the caller chose the path
	if err != nil {
		return nil, err
	}
	_ = file.Close() // nothing was written
	lock := sql.OpenDB(connector{db.Driver(), plainAddress(path)})
	lock.SetMaxOpenConns(1) // this is the connection with the transaction
	for deadline := time.Now().Add(wait); ; time.Sleep(20 * time.Millisecond) {
		if _, err = lock.ExecContext(ctx, "BEGIN EXCLUSIVE"); err == nil {
			return func() { _ = lock.Close() }, nil
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), lock.Close())
		}
	}
}

// Checkpoint removes deleted data from the write-ahead log. If a reader, such
// as a backup, prevents it, Checkpoint does nothing.
func Checkpoint(ctx context.Context, db *sql.DB) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // this returns the connection to the pool
	if _, err = conn.ExecContext(ctx, "PRAGMA busy_timeout(50)"); err == nil {
		_, err = conn.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
	}
	_, resetErr := conn.ExecContext(context.WithoutCancel(ctx), "PRAGMA "+busyTimeout)
	return errors.Join(err, resetErr)
}

// Backup writes a copy of the database into a new file, which only its owner
// can read. Other connections can write meanwhile.
func Backup(ctx context.Context, db *sql.DB, path string) error {
	source, err := pathOf(ctx, db)
	if err != nil {
		return err
	}
	const flags = os.O_CREATE | os.O_EXCL | os.O_RDWR
	file, err := os.OpenFile(path, flags, 0o600) //nolint:gosec // G304: the caller chose the path
	if err != nil {
		return err
	}
	reader := sql.OpenDB(connector{db.Driver(), Address(source)})
	_, err = reader.ExecContext(ctx, "VACUUM INTO $1", path)
	if err = errors.Join(err, file.Sync(), file.Close(), reader.Close()); err != nil {
		_ = os.Remove(path)
	}
	return err
}
