package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/clixnow/clixnow-go/store/internal/sqlitefile"
)

// SQLiteAddress returns the address with which an SQLite file must be opened,
// for the driver of modernc.org/sqlite. With it, a committed sign-up is on the
// disk, and deleted passwords leave no trace in the file.
func SQLiteAddress(file string) string { return sqlitefile.Address(file) }

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

// lockSQLite excludes other workers, and takes over the jobs of a process that
// died.
func (o *Outbox) lockSQLite(ctx context.Context) (unlock func(), err error) {
	unlock, err = sqlitefile.Lock(ctx, o.db, o.opts.timing.stopTimeout)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLocked, err)
	}
	err = o.transactAlone(ctx, "take over jobs", func(ctx context.Context, tx *sql.Tx) error {
		const takeOver = "UPDATE river_job SET state = 'available' WHERE state = 'running' AND queue = $1"
		if _, err := tx.ExecContext(ctx, takeOver, queue); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM river_leader")
		return err
	})
	if err != nil {
		unlock()
	}
	return unlock, err
}

// checkpoint removes deleted passwords from the write-ahead log.
func (o *Outbox) checkpoint(ctx context.Context) {
	if o.dialect != SQLite {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	if err := sqlitefile.Checkpoint(ctx, o.db); err != nil {
		o.logFailure(ctx, err)
	}
}

// Backup writes a copy of an SQLite database into a new file, which only its
// owner can read. It is safe while sign-ups are added and registered, also by
// other processes. The copy has the passwords of pending sign-ups. Call
// MarkRestored before you work with it.
func (o *Outbox) Backup(ctx context.Context, path string) error {
	if o.dialect != SQLite {
		return errors.New("outbox: Backup is for SQLite; use pg_dump or a standby for PostgreSQL")
	}
	return databaseError("back up", sqlitefile.Backup(ctx, o.db, path))
}

// MarkRestored must be called once after a backup was restored, before Work. A
// brand may have leads that the backup shows as not sent. With one route, the
// pending sign-ups are searched for before they are sent. With several routes,
// a person must decide about them. It returns the number of such sign-ups. With
// SQLite it returns ErrLocked if another process works with the file.
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
	if o.dialect == SQLite {
		const wait = time.Second
		unlock, err := sqlitefile.Lock(ctx, o.db, wait)
		if err != nil {
			return 0, fmt.Errorf("%w: %w", ErrLocked, err)
		}
		defer unlock()
	}
	err = o.transactAlone(ctx, "mark restored sign-ups", func(ctx context.Context, tx *sql.Tx) (err error) {
		number, err = exec(ctx, tx, statement, value)
		return err
	})
	return number, err
}
