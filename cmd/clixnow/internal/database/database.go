// Package database opens the database of a mirror or an outbox by its address.
package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
	"github.com/clixnow/clixnow-go/store/mirror"
	"github.com/clixnow/clixnow-go/store/outbox"
)

// Database is an open database.
type Database struct {
	*sql.DB
	// Dialect is the kind of database.
	Dialect mirror.Dialect
	// Name is for people. It has no password.
	Name string
}

// Open opens a PostgreSQL database by its URL, or an SQLite database by its
// file name. A new file can be read only by its owner. It does not connect yet.
// Its errors never show a password.
func Open(address string) (*Database, error) {
	db, err := openMirror(address)
	if err == nil && db.Dialect == mirror.SQLite {
		err = createPrivate(db.DB, address)
	}
	return db, err
}

func openMirror(address string) (*Database, error) {
	db, isFile, name, err := open(address, sqliteAddress)
	if err != nil {
		return nil, err
	}
	if isFile {
		return &Database{db, mirror.SQLite, name}, nil
	}
	return &Database{db, mirror.PostgreSQL, name}, nil
}

// createPrivate creates the file of a database if it does not exist. Only its
// owner can read it. SQLite gives its other files the same mode.
func createPrivate(db *sql.DB, path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the user names the file
	if err != nil {
		_ = db.Close()
		return app.Usage("--db: %w", err)
	}
	return file.Close()
}

// sqliteAddress returns the address by which the SQLite file of a mirror is
// opened.
func sqliteAddress(path string) string {
	file := url.URL{Scheme: "file", Opaque: (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath()}
	file.RawQuery = url.Values{
		// With WAL, other processes can read during a write.
		"_pragma": {"busy_timeout(20000)", "journal_mode(WAL)", "synchronous(FULL)"},
		"_txlock": {"immediate"},
	}.Encode()
	return file.String()
}

// Outbox is an open database of an outbox.
type Outbox struct {
	*sql.DB
	// Dialect is the kind of database.
	Dialect outbox.Dialect
	// Name is for people. It has no password.
	Name string
}

// OpenOutbox is Open for an outbox. It creates an SQLite file that only its
// owner can read.
func OpenOutbox(address string) (*Outbox, error) {
	db, isFile, name, err := open(address, outbox.SQLiteAddress)
	switch {
	case err != nil:
		return nil, err
	case isFile:
		return &Outbox{db, outbox.SQLite, name}, createPrivate(db, address)
	}
	// Each sign-up that is being registered may use a connection for a moment.
	const connections = 30
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return &Outbox{db, outbox.PostgreSQL, name}, nil
}

// open opens a database. toAddress returns the address of an SQLite file.
func open(address string, toAddress func(path string) string) (db *sql.DB, isFile bool, name string, err error) {
	if strings.HasPrefix(address, "postgres://") || strings.HasPrefix(address, "postgresql://") {
		config, err := pgx.ParseConfig(address)
		if err != nil { // err is left out, because it can contain a part of the password
			return nil, false, "", app.Usage("--db is not a valid URL; in the user and the password write %%2F for / " +
				"and %%40 for @")
		}
		return stdlib.OpenDB(*config), false, fmt.Sprintf("%s on %s", config.Database, config.Host), nil
	}
	// Such an address may contain a password. It must not be used as a file
	// name, because file names are shown.
	if strings.Contains(address, "://") || strings.Contains(address, "password=") {
		return nil, false, "", app.Usage("--db is neither a postgres:// URL nor a file name")
	}
	if _, err := os.Stat(filepath.Dir(address)); err != nil {
		return nil, false, "", app.Usage("--db: %w", err)
	}
	if err := checkFile(address); err != nil {
		return nil, false, "", err
	}
	db, err = sql.Open("sqlite", toAddress(address))
	return db, true, address, err
}

// checkFile returns an error if a file exists and is no SQLite database. An
// empty file is one.
func checkFile(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 && info.Mode().IsRegular() {
		return nil
	}
	const magic = "SQLite format 3\x00"
	file, err := os.Open(path) //nolint:gosec // the user names the file
	if err != nil {
		return app.Usage("--db: %w", err)
	}
	defer func() { _ = file.Close() }()
	begin := make([]byte, len(magic))
	if _, err := io.ReadFull(file, begin); err != nil || string(begin) != magic {
		return app.Usage("%s is not an SQLite database; give another --db", path)
	}
	return nil
}

// Read opens the mirror at an address to read from it. Another process may be
// writing to it. Call close at the end.
func Read(ctx context.Context, address string) (m *mirror.Mirror, closeDB func(), err error) {
	db, err := openMirror(address)
	if err != nil {
		return nil, nil, err
	}
	if db.Dialect == mirror.SQLite {
		_, err = os.Stat(address) // SQLite would create the file
	}
	if err == nil {
		m, err = mirror.OpenReadOnly(ctx, db.DB, db.Dialect)
	}
	if err != nil {
		_ = db.Close()
		return nil, nil, Error(err)
	}
	return m, func() { _ = db.Close() }, nil
}

// Error gives an error of a mirror its exit code.
func Error(err error) error {
	switch {
	case errors.Is(err, mirror.ErrTakenOver):
		return app.WithCode(app.CodeRefused,
			fmt.Errorf("%w: only the process that was started last continues; start only one", err))
	case errors.Is(err, mirror.ErrWrongDatabase), errors.Is(err, fs.ErrNotExist):
		return app.Usage("%w; give another --db", err)
	case errors.Is(err, mirror.ErrDatabase):
		return app.WithCode(app.CodeLater, fmt.Errorf("%w; what is saved is consistent: run the command again", err))
	}
	return err
}
