// Package mirror keeps a copy of the leads of any number of brands in a
// database, and records what happened to them: created, status changed,
// deposited, deposit withdrawn, email changed.
//
// The database is SQLite or PostgreSQL. The caller opens it with a driver of
// their choice:
//
//	db, err := sql.Open("sqlite", "file:leads.db?"+
//		"_txlock=immediate&_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)")
//	m, err := mirror.Open(ctx, db, mirror.SQLite)
//	err = m.Run(ctx, mirror.RunOptions{Clients: clients})
//
// Leads, events and positions are saved in one transaction, so the process may
// be killed at any time. Each event is recorded once. The [docs] describe the
// tables and the limits.
//
// [docs]: https://github.com/clixnow/clixnow-go/blob/main/docs/mirror.md
package mirror

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/store/internal/tables"
)

// Dialect is a kind of database.
type Dialect string

// The supported databases.
const (
	// SQLite works with modernc.org/sqlite. Open the database with
	// _txlock=immediate, a busy timeout and, if other processes read it,
	// journal_mode(WAL).
	SQLite Dialect = "sqlite"
	// PostgreSQL works with github.com/jackc/pgx/v5/stdlib. If that driver is
	// wrapped by another one, new leads are saved more slowly.
	PostgreSQL Dialect = "postgres"
)

var (
	// ErrTakenOver means that another process has opened the mirror later. Only
	// the newest one may save.
	ErrTakenOver = errors.New("another process has taken over the mirror")
	// ErrWrongDatabase means that the database has no mirror, or one of another
	// version of this package, or leads of another API.
	ErrWrongDatabase = errors.New("this database cannot be used")
	// ErrDatabase means that the database failed. What was being saved may or
	// may not have been saved.
	ErrDatabase = errors.New("database")
)

// LeadEmailChanged means that a known lead shows another email: the id may
// belong to another person now. A difference in case, and an email that is
// hidden or masked on one side, is no change.
const LeadEmailChanged clixnow.LeadEvent = "email changed"

// Event is something that happened to a lead.
type Event struct {
	// ID ascends in the order in which transactions were committed, so "the
	// events after ID" misses none.
	ID int64
	// Brand is the brand of the lead.
	Brand string
	// LeadID is the id of the lead within the brand.
	LeadID int64
	// Kind is one of the events of package clixnow, or LeadEmailChanged.
	Kind clixnow.LeadEvent
	// StatusBefore is the status before the event. "" means none or hidden.
	StatusBefore string
	// Status is the status after the event. "" means none or hidden.
	Status string
	// FTDDate is the time of the first deposit after the event. A zero time
	// means that there is none, or that it is hidden.
	FTDDate time.Time
	// UpdatedOn is the time of the version of the lead that showed the event. A
	// zero time means hidden.
	UpdatedOn time.Time
	// RecordedAt is when the event was saved.
	RecordedAt time.Time
}

// Mirror is a copy of leads in a database. It is safe for concurrent use.
type Mirror struct {
	db      *sql.DB
	dialect Dialect
	// owner is the number of this process in mirror_owner. 0 means that it only
	// reads.
	owner int64
	// quietInterval is how often a brand without changes is saved, so that
	// readers can tell a quiet brand from one that is not read.
	quietInterval time.Duration
	// saving is held by a transaction of Transact. SQLite would let others wait
	// by polling.
	saving sync.Mutex
}

//go:embed migrations
var migrations embed.FS

const (
	// version is the number of the last migration.
	version      = 1
	versionTable = "mirror_version"
	// transactionTimeout limits a transaction, because the database may not
	// answer.
	transactionTimeout = 2 * time.Minute
)

// Open migrates the tables and makes this process the owner of the mirror: a
// process that has opened it before gets ErrTakenOver when it saves. There is
// no lock, so a killed process does not hold up the next one. Open does not
// take over db, and nothing closes it.
func Open(ctx context.Context, db *sql.DB, dialect Dialect) (*Mirror, error) {
	m := &Mirror{db: db, dialect: dialect, quietInterval: time.Hour}
	found, err := tables.Migrate(ctx, db, string(dialect), migrations, versionTable)
	if err != nil {
		return nil, databaseError("open", err)
	}
	if err := checkVersion(found); err != nil {
		return nil, err
	}
	err = db.QueryRowContext(ctx, "UPDATE mirror_owner SET owner = owner + 1 RETURNING owner").Scan(&m.owner)
	return m, databaseError("open", err)
}

// OpenReadOnly opens a mirror that another process may own. It changes nothing.
// Apply and Run return ErrTakenOver.
func OpenReadOnly(ctx context.Context, db *sql.DB, dialect Dialect) (*Mirror, error) {
	m := &Mirror{db: db, dialect: dialect}
	if err := db.PingContext(ctx); err != nil {
		return nil, databaseError("open", err)
	}
	var found int64
	err := db.QueryRowContext(ctx, "SELECT max(version_id) FROM "+versionTable).Scan(&found)
	if err != nil {
		return nil, fmt.Errorf("%w: it has no mirror: %w", ErrWrongDatabase, err)
	}
	return m, checkVersion(found)
}

func checkVersion(found int64) error {
	if found == version {
		return nil
	}
	return fmt.Errorf("%w: its tables have version %d, but this program needs version %d", ErrWrongDatabase, found,
		version)
}

// Claim saves the address of the API that a brand is read from. If the mirror
// has leads of the brand from another address, it returns ErrWrongDatabase,
// because the leads of the two would be mixed. Call it before Run.
func (m *Mirror) Claim(ctx context.Context, brand, address string) error {
	const insert = "INSERT INTO mirror_brands (brand, base_url) VALUES ($1, $2) ON CONFLICT DO NOTHING"
	const read = "SELECT base_url, EXISTS (SELECT 1 FROM leads WHERE leads.brand = $1) FROM mirror_brands " +
		"WHERE mirror_brands.brand = $1"
	const complete = "UPDATE mirror_brands SET base_url = $2 WHERE brand = $1"
	// Without leads, the address may have been a mistake. The position is one
	// of that address.
	const replace = "UPDATE mirror_brands SET base_url = $2, position = NULL, caught_up_at = NULL WHERE brand = $1"
	var saved string
	var hasLeads bool
	err := m.Transact(ctx, "save the address of brand "+brand, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, insert, brand, address)
		if err == nil {
			err = tx.QueryRowContext(ctx, read, brand).Scan(&saved, &hasLeads)
		}
		switch {
		case err != nil || saved == address:
		case saved == "":
			_, err = tx.ExecContext(ctx, complete, brand, address)
		case !hasLeads:
			_, err = tx.ExecContext(ctx, replace, brand, address)
		}
		return err
	})
	if err == nil && saved != "" && saved != address && hasLeads {
		err = fmt.Errorf("%w: it has leads of brand %q from %s, not from %s", ErrWrongDatabase, brand, saved, address)
	}
	return err
}

// DB returns the database that was given to Open.
func (m *Mirror) DB() *sql.DB { return m.db }

// Dialect returns the dialect that was given to Open.
func (m *Mirror) Dialect() Dialect { return m.dialect }

// Transact calls do in a transaction that only the owner of the mirror can
// begin, and commits it if do returns nil. The transactions run one after
// another. Its errors match ErrDatabase or ErrTakenOver, and those of do.
// action describes it in errors.
func (m *Mirror) Transact(ctx context.Context, action string, do func(context.Context, *sql.Tx) error) error {
	return m.transact(ctx, action, func(ctx context.Context, tx transaction) error {
		_, err := m.claim(ctx, tx.Tx)
		if err == nil {
			err = do(ctx, tx.Tx)
		}
		return err
	})
}

// transaction is a transaction with its connection, by which rows can be
// copied. The connection of a caller's transaction is nil.
type transaction struct {
	*sql.Tx

	conn *sql.Conn
}

// transact does what Transact does, but do must call claim.
func (m *Mirror) transact(ctx context.Context, action string, do func(context.Context, transaction) error) error {
	m.saving.Lock()
	defer m.saving.Unlock()
	ctx, cancel := context.WithTimeout(ctx, transactionTimeout)
	defer cancel()
	conn, err := m.db.Conn(ctx)
	if err != nil {
		return databaseError(action, err)
	}
	defer func() { _ = conn.Close() }() // this returns the connection to the pool
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return databaseError(action, err)
	}
	defer func() { _ = tx.Rollback() }() // does nothing after a commit
	if err = do(ctx, transaction{tx, conn}); err == nil {
		err = tx.Commit()
	}
	return databaseError(action, err)
}

// claim returns ErrTakenOver if another process owns the mirror. It is a write,
// so it waits for a transaction of another process, and the statements after it
// see what that transaction has changed.
func (m *Mirror) claim(ctx context.Context, tx *sql.Tx) (lastEvent int64, err error) {
	const update = "UPDATE mirror_owner SET owner = owner WHERE owner = $1 AND owner > 0 RETURNING last_event"
	err = tx.QueryRowContext(ctx, update, m.owner).Scan(&lastEvent)
	return lastEvent, takenOver(err)
}

// checkOwner returns ErrTakenOver if another process owns the mirror.
func (m *Mirror) checkOwner(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, transactionTimeout)
	defer cancel()
	err := m.db.QueryRowContext(ctx, "SELECT owner FROM mirror_owner WHERE owner = $1", m.owner).Scan(new(int64))
	return databaseError("read the owner", takenOver(err))
}

func takenOver(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return ErrTakenOver
	}
	return err
}

func databaseError(action string, err error) error {
	if err == nil || errors.Is(err, ErrTakenOver) || errors.Is(err, ErrDatabase) {
		return err
	}
	return fmt.Errorf("%w: %s: %w", ErrDatabase, action, err)
}
