package outbox

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

// SQLiteAddress returns the address with which an SQLite file must be opened,
// for the driver of modernc.org/sqlite. With it, a committed sign-up is on the
// disk, and deleted passwords leave no trace in the file.
func SQLiteAddress(file string) string {
	address := url.URL{Scheme: "file", Opaque: (&url.URL{Path: filepath.ToSlash(file)}).EscapedPath()}
	address.RawQuery = url.Values{
		"_pragma": {
			"busy_timeout(20000)", "journal_mode(WAL)", "synchronous(FULL)", "secure_delete(ON)", "temp_store(MEMORY)",
		},
		"_txlock": {"immediate"},
	}.Encode()
	return address.String()
}

// padding stands before a password in an SQLite file. When SQLite moves a row
// to another page, a copy of it can stay behind, and secure_delete does not
// know it. The padding makes the row longer than a page, so its end, which is
// the password, is in a page that belongs to no other row and is overwritten as
// a whole.
var padding = strings.Repeat(" ", 4200) //nolint:gochecknoglobals // a constant

// stored returns the form of a password in the database.
func (o *Outbox) stored(password string) string {
	if o.dialect == SQLite {
		return padding + password
	}
	return password
}

// prepareSQLite checks how a database was opened, and limits its files to their
// owner.
func prepareSQLite(ctx context.Context, db *sql.DB) error {
	db.SetMaxOpenConns(1) // River needs this, and SQLite has only one writer
	path, err := sqlitePath(ctx, db)
	if err != nil {
		return err
	}
	for _, file := range []string{path, path + "-wal", path + "-shm"} {
		info, err := os.Stat(file)
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			err = os.Chmod(file, 0o600)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%w: make its file private: %w", ErrWrongDatabase, err)
		}
	}
	for _, pragma := range []struct {
		name string
		fits func(value string) bool
	}{
		{"secure_delete", func(value string) bool { return value == "1" }},
		{"journal_mode", func(value string) bool { return value == "wal" }},
		{"synchronous", func(value string) bool { return value >= "2" }},
	} {
		var value string
		if err := db.QueryRowContext(ctx, "PRAGMA "+pragma.name).Scan(&value); err != nil {
			return databaseError("open", err)
		}
		if !pragma.fits(value) {
			return fmt.Errorf("%w: PRAGMA %s is %s; open it with SQLiteAddress", ErrWrongDatabase, pragma.name, value)
		}
	}
	return nil
}

// sqlitePath returns the path of the file of a database.
func sqlitePath(ctx context.Context, db *sql.DB) (path string, err error) {
	const statement = "SELECT file FROM pragma_database_list WHERE name = 'main'"
	if err := db.QueryRowContext(ctx, statement).Scan(&path); err != nil {
		return "", databaseError("open", err)
	}
	if path == "" {
		return "", fmt.Errorf("%w: it is not a file", ErrWrongDatabase)
	}
	return path, nil
}

// connector opens connections to a file by the driver of a database, whose name
// this package does not know.
type connector struct {
	driver  driver.Driver
	address string
}

func (c connector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.address) }
func (c connector) Driver() driver.Driver                        { return c.driver }

// createPrivate creates a file that other users cannot read.
func createPrivate(path string, flags int) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|flags, 0o600) //nolint:gosec // G304: the caller chose it
	if err != nil {
		return err
	}
	return file.Close()
}

// lockSQLite excludes other workers until this one ends or dies. It begins a
// transaction in a separate file and never ends it. The file is separate, so
// that backups and other programs can use the database.
func (o *Outbox) lockSQLite(ctx context.Context) (unlock func(), err error) {
	path, err := sqlitePath(ctx, o.db)
	if err != nil {
		return nil, err
	}
	path += ".lock"
	if err := createPrivate(path, 0); err != nil {
		return nil, databaseError("lock the database", err)
	}
	address := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath()}
	lock := sql.OpenDB(connector{o.db.Driver(), address.String()})
	lock.SetMaxOpenConns(1)
	conn, err := lock.Conn(ctx)
	if err != nil {
		_ = lock.Close()
		return nil, databaseError("lock the database", err)
	}
	unlock = func() {
		_ = conn.Close()
		_ = lock.Close()
	}
	// another process may be stopping
	for deadline := time.Now().Add(o.opts.timing.stopTimeout); ; time.Sleep(20 * time.Millisecond) {
		_, err = conn.ExecContext(ctx, "BEGIN EXCLUSIVE")
		if err == nil {
			break
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			unlock()
			return nil, fmt.Errorf("%w: lock %s: %w", ErrLocked, path, err)
		}
	}
	// Because of the lock, no other process works. So running jobs and the
	// leader belong to a process that died.
	err = o.transact(ctx, "take over jobs", func(ctx context.Context, tx *sql.Tx) error {
		_,
			err := tx.ExecContext(ctx,
			"UPDATE river_job SET state = 'available' WHERE state = 'running' AND queue = $1", queue)
		if err == nil {
			_, err = tx.ExecContext(ctx, "DELETE FROM river_leader")
		}
		return err
	})
	if err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// checkpoint removes deleted passwords from the write-ahead log. If a reader
// prevents it, a later call does it.
func (o *Outbox) checkpoint(ctx context.Context) {
	if o.dialect != SQLite {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	conn, err := o.db.Conn(ctx)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }() // this returns the connection to the pool
	var timeout int
	err = conn.QueryRowContext(ctx, "PRAGMA busy_timeout").Scan(&timeout)
	if err == nil { // sign-ups must not wait for a reader, such as a backup
		_, err = conn.ExecContext(ctx, "PRAGMA busy_timeout(50)")
	}
	if err == nil {
		var busy, pages, done int
		err = conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &done)
		_, resetErr := conn.ExecContext(context.WithoutCancel(ctx), fmt.Sprintf("PRAGMA busy_timeout(%d)", timeout))
		err = errors.Join(err, resetErr)
	}
	if err != nil && ctx.Err() == nil {
		o.opts.Logger.WarnContext(ctx, "the write-ahead log cannot be written back", "error", err)
	}
}

// Backup writes a copy of an SQLite database into a new file, which only its
// owner can read. It is safe while sign-ups are added and registered, also by
// other processes. The copy has the passwords of pending sign-ups. Call
// MarkRestored before you work with it.
func (o *Outbox) Backup(ctx context.Context, path string) (err error) {
	if o.dialect != SQLite {
		return errors.New("outbox: Backup is for SQLite; use pg_dump or a standby for PostgreSQL")
	}
	source, err := sqlitePath(ctx, o.db)
	if err != nil {
		return err
	}
	if err := createPrivate(path, os.O_EXCL); err != nil {
		return fmt.Errorf("outbox: back up: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(path)
		}
	}()
	// This is another connection, so that sign-ups can be added meanwhile.
	reader := sql.OpenDB(connector{o.db.Driver(), SQLiteAddress(source)})
	defer func() { _ = reader.Close() }()
	if _, err := reader.ExecContext(ctx, "VACUUM INTO $1", path); err != nil {
		return databaseError("back up", err)
	}
	return syncFile(path)
}

// syncFile waits until a file is on the disk.
func syncFile(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0) //nolint:gosec // G304: the caller chose it
	if err != nil {
		return fmt.Errorf("outbox: back up: %w", err)
	}
	err = errors.Join(file.Sync(), file.Close())
	if err != nil {
		return fmt.Errorf("outbox: back up: %w", err)
	}
	return nil
}

// MarkRestored must be called once after a backup was restored, before Work. A
// brand may have leads that the backup shows as not sent. With one route, the
// pending sign-ups are searched for before they are sent. With several routes,
// a person must decide about them. It returns the number of such sign-ups.
func (o *Outbox) MarkRestored(ctx context.Context) (number int64, err error) {
	const sent = "status = 'pending' AND attempt_brand = ''"
	statement := "UPDATE outbox_signups SET status = 'doubtful', problem = $1 WHERE " + sent
	value := "restored from a backup: search for the lead at all brands"
	switch len(o.opts.Routes) {
	case 0:
		return 0, errors.New("outbox: MarkRestored needs Routes")
	case 1:
		statement = "UPDATE outbox_signups SET attempt_brand = $1, attempt_since = created_at WHERE " + sent
		value = o.opts.Routes[0].Client.Brand()
	}
	err = o.transact(ctx, "mark restored sign-ups", func(ctx context.Context, tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, statement, value)
		if err == nil {
			number, err = result.RowsAffected()
		}
		return err
	})
	return number, err
}
