// Package outbox accepts sign-ups into a database and registers each of them
// exactly once at one of several brands, even if the API is down or the process
// dies.
//
// [Outbox.Add] saves a sign-up and a job in one transaction. [Outbox.Work]
// registers the sign-ups by package router. It saves each attempt before
// anything is sent, so a later attempt first searches for the lead. The jobs
// are those of [River].
//
// The database is SQLite or PostgreSQL, and the caller opens it:
//
//	db, err := sql.Open("sqlite", outbox.SQLiteAddress("signups.db"))
//	opts := outbox.Options{Routes: routes}
//	o, err := outbox.Open(ctx, db, outbox.SQLite, opts)
//	go o.Work(ctx)
//	signup, err := o.Add(ctx, req)
//	signup, err = o.Wait(ctx, signup.ID)
//
// The [docs] describe the promise and its limits.
//
// [River]: https://github.com/riverqueue/river
// [docs]: https://github.com/clixnow/clixnow-go/blob/main/docs/gateway.md
package outbox

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/router"
	"github.com/clixnow/clixnow-go/store/internal/batch"
	"github.com/clixnow/clixnow-go/store/internal/sqlitefile"
	"github.com/clixnow/clixnow-go/store/internal/tables"
	"github.com/clixnow/clixnow-go/store/internal/waiting"
)

// Dialect is a kind of database.
type Dialect string

// The supported databases.
const (
	// SQLite works with modernc.org/sqlite and an address of SQLiteAddress.
	SQLite Dialect = "sqlite"
	// PostgreSQL works with github.com/jackc/pgx/v5/stdlib.
	PostgreSQL Dialect = "postgres"
)

var (
	// ErrNotFound means that there is no such sign-up, or that a token is wrong
	// or has expired.
	ErrNotFound = errors.New("there is no such sign-up")
	// ErrClickIDTaken means that the click id belongs to a sign-up of another
	// person, or to one that can no longer be corrected because it may have
	// been sent.
	ErrClickIDTaken = errors.New("the click id belongs to another sign-up")
	// ErrWrongStatus means that the status of the sign-up does not allow the
	// action.
	ErrWrongStatus = errors.New("the status of the sign-up does not allow this")
	// ErrInDoubt means that the sign-up cannot be corrected, because a brand
	// may have the lead with the old values.
	ErrInDoubt = errors.New("a brand may have the lead with the old values")
	// ErrLocked means that another process works with the SQLite file.
	ErrLocked = errors.New("another process works with this SQLite database")
	// ErrWrongDatabase means that the database was not opened as this package
	// needs it, or that a newer version of this package has used it.
	ErrWrongDatabase = errors.New("this database cannot be used")
	// ErrDatabase means that the database failed. What was being saved may or
	// may not have been saved. Add can be repeated with the same click id.
	ErrDatabase = errors.New("database")
)

// Options configures an Outbox. The zero value can add and show sign-ups, but
// not work.
type Options struct { //nolint:recvcheck // Format must also work for values
	// Routes are the brands in the order in which they are tried. Work needs
	// them. While a brand fails, it is passed over, but for one sign-up in ten
	// seconds.
	Routes []router.Route
	// Workers is the number of sign-ups that are tried at once. A sign-up in
	// doubt mostly waits, so many are good. 0 means 50.
	Workers int
	// TryTimeout is the timeout of one try to register a sign-up, at all
	// brands together. It must be the same for all processes. 0 means 2
	// minutes.
	TryTimeout time.Duration
	// PollInterval is the time between two looks for sign-ups that are due. 0
	// means 20 milliseconds.
	PollInterval time.Duration
	// Keep is the time after which settled sign-ups are deleted. 0 means never.
	Keep time.Duration
	// TokenKey signs the tokens of sign-ups. It must be secret, and the same
	// for all processes. Nil means a random key, so that the tokens of other
	// processes are not valid.
	TokenKey []byte
	// TokenLifetime is the time after which a token expires. The redirect URL
	// of a registered sign-up is deleted after the same time. 0 means 24 hours.
	TokenLifetime time.Duration
	// Carry returns a text about the context of Add or Correct, such as a W3C
	// traceparent. It is saved with the sign-up, so that Restore can give it to
	// the context in which the sign-up is registered. A text of more than 500
	// bytes is not saved. Nil means that nothing is carried.
	Carry func(ctx context.Context) string
	// Restore returns a context with what Carry has returned. Requests to the
	// brands, Settled and the log lines get this context. Nil means that
	// nothing is restored.
	Restore func(ctx context.Context, carried string) context.Context
	// Logger gets a line for each settlement and each change of state of a
	// brand. Nil means none.
	Logger *slog.Logger
	// Settled is called in the transaction that makes a sign-up registered,
	// refused or doubtful. An error rolls it back, and it is tried again. It
	// must only use tx, and be quick. Nil means that it is not called.
	Settled func(ctx context.Context, tx *sql.Tx, s Signup) error
	// Attempted is called after each attempt at a brand, with its error. It
	// must be safe for concurrent use. Nil means that it is not called.
	Attempted func(brand string, err error, took time.Duration)
	// Tried is called after each try to register a sign-up, with the error of
	// all brands together and the context of Restore. It must be safe for
	// concurrent use. Nil means that it is not called.
	Tried func(ctx context.Context, s Signup, err error)
	// Ended is called after a sign-up became registered, refused or doubtful,
	// when this is saved. If the process dies, the call is lost. It must be
	// safe for concurrent use. Nil means that it is not called.
	Ended func(s Signup)

	timing timing
}

// Format prints the number of routes and workers, for every verb. TokenKey is a
// secret.
func (opts Options) Format(state fmt.State, _ rune) {
	_, _ = fmt.Fprintf(state, "outbox.Options(%d routes, %d workers)", len(opts.Routes), opts.Workers)
}

// LogValue logs what Format prints.
func (opts Options) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(opts)) }

func withDefaults(opts Options) Options {
	opts.Workers = cmp.Or(opts.Workers, 50)
	opts.PollInterval = cmp.Or(opts.PollInterval, 20*time.Millisecond)
	opts.TryTimeout = cmp.Or(opts.TryTimeout, 2*time.Minute)
	opts.TokenLifetime = cmp.Or(opts.TokenLifetime, 24*time.Hour)
	if opts.TokenKey == nil {
		opts.TokenKey = []byte(rand.Text())
	}
	opts.Logger = cmp.Or(opts.Logger, slog.New(slog.DiscardHandler))
	if opts.Carry == nil {
		opts.Carry = func(context.Context) string { return "" }
	}
	if opts.Restore == nil {
		opts.Restore = func(ctx context.Context, _ string) context.Context { return ctx }
	}
	if opts.Attempted == nil {
		opts.Attempted = func(string, error, time.Duration) {}
	}
	if opts.Tried == nil {
		opts.Tried = func(context.Context, Signup, error) {}
	}
	if opts.Ended == nil {
		opts.Ended = func(Signup) {}
	}
	opts.timing = opts.timing.withDefaults()
	return opts
}

func (opts *Options) check() error {
	switch {
	case opts.Workers < 0, opts.Keep < 0:
		return errors.New("outbox: Workers and Keep must not be negative")
	case opts.TryTimeout < time.Second:
		return errors.New("outbox: TryTimeout must be at least a second")
	}
	return nil
}

// Status is the status of a sign-up.
type Status string

// The statuses of a sign-up.
const (
	// Pending means that the sign-up waits for its next try, or is being tried.
	Pending Status = "pending"
	// Registered means that a brand has the lead.
	Registered Status = "registered"
	// Refused means that no brand takes the lead.
	Refused Status = "refused"
	// Doubtful means that a person must decide. The lead may exist and no
	// search shows it, or the brands have refused it too often.
	Doubtful Status = "doubtful"
)

// Signup is an accepted sign-up.
type Signup struct {
	// ID is the id of the sign-up.
	ID string
	// Token lets the visitor ask for the sign-up by ByToken, until it expires.
	// Only Add and ByToken set it. It is not in the database.
	Token string
	// Lead is the request without its password.
	Lead clixnow.CreateLeadRequest
	// Status is the status.
	Status Status
	// CreatedAt is when the sign-up was accepted.
	CreatedAt time.Time
	// NextTryAt is the time of the next try. A zero time means at once, or
	// never if the sign-up is not pending.
	NextTryAt time.Time
	// SettledAt is when the sign-up became registered or refused. A zero time
	// means that it is not settled.
	SettledAt time.Time
	// Brand is the brand that took the lead. "" means none.
	Brand string
	// LeadID is the id of the lead at the brand. 0 means none.
	LeadID int64
	// RedirectURL logs the lead in at the brand. It is a secret. "" means that
	// there is none, that it was lost, or that it was deleted.
	RedirectURL string
	// Tries is the number of tries and corrections.
	Tries int64
	// FirstAttempt is the attempt that may have registered the lead. It is zero
	// if the lead was not sent, or was surely refused.
	FirstAttempt router.Attempt
	// Problem is the error of the last try, for operators. "" means none.
	Problem string
	// Reason is why the lead was refused. ReasonNone means that it was not.
	Reason clixnow.Reason

	clickHash, carried     string
	jobID, waits, replaced int64
}

// String returns the id and the status. The rest is secret or personal.
func (s Signup) String() string { return fmt.Sprintf("sign-up %s (%s)", s.ID, s.Status) }

// Format prints String, for every verb.
func (s Signup) Format(state fmt.State, verb rune) {
	_, _ = fmt.Fprintf(state, fmt.FormatString(state, verb), s.String())
}

// LogValue logs String.
func (s Signup) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Outbox holds sign-ups in a database. It is safe for concurrent use.
type Outbox struct {
	db      *sql.DB
	dialect Dialect
	opts    Options
	// client adds jobs. Work has another one.
	client *river.Client[*sql.Tx]
	// waiting are the calls of Wait, by the ID of the sign-up.
	waiting waiting.Calls[*Signup]
	brands  brands
	// adding joins calls of Add.
	adding       batch.Batcher[*addition]
	transactions *batch.Transactions
	prepared     prepared
	// failureAt is the time of the last line about a failure of the database,
	// in seconds since 1970.
	failureAt atomic.Int64
}

//go:embed migrations
var migrations embed.FS

// Open creates missing tables, its own and those of River. It does not take
// over db, and nothing closes it. It limits an SQLite database to one
// connection, and its files to their owner.
func Open(ctx context.Context, db *sql.DB, dialect Dialect, opts Options) (*Outbox, error) {
	o := &Outbox{
		db: db, dialect: dialect, opts: withDefaults(opts),
		transactions: &batch.Transactions{DB: db, Join: dialect == SQLite},
	}
	o.brands.log = o.opts.Logger
	if err := o.opts.check(); err != nil {
		return nil, err
	}
	if dialect == SQLite {
		db.SetMaxOpenConns(1) // River needs this, and SQLite has only one writer
		if err := sqlitefile.Prepare(ctx, db); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrWrongDatabase, err)
		}
	}
	if err := o.migrate(ctx); err != nil {
		return nil, err
	}
	var err error
	if dialect == SQLite {
		if o.prepared, err = prepare(ctx, db); err != nil {
			return nil, err
		}
	}
	o.client, err = river.NewClient(o.driver(), &river.Config{Logger: o.riverLogger()})
	return o, databaseError("open", err)
}

func (o *Outbox) driver() riverdriver.Driver[*sql.Tx] {
	if o.dialect == SQLite {
		return riversqlite.New(o.db)
	}
	return riverdatabasesql.New(o.db)
}

// migrate brings the tables to the newest version.
func (o *Outbox) migrate(ctx context.Context) error {
	const newest = 1
	version, err := tables.Migrate(ctx, o.db, string(o.dialect), migrations, "outbox_version")
	if err != nil {
		return databaseError("open", err)
	}
	if version != newest {
		return fmt.Errorf("%w: its tables have version %d, but this program needs version %d", ErrWrongDatabase,
			version, newest)
	}
	migrator, err := rivermigrate.New(o.driver(), &rivermigrate.Config{Logger: o.riverLogger()})
	if err != nil {
		return databaseError("open", err)
	}
	for range 20 { // another process may have been faster with one of the versions
		if _, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err == nil {
			break
		}
	}
	return databaseError("create River's tables", err)
}

// transact calls do in a transaction, and commits it if do returns nil. action
// describes it in errors.
func (o *Outbox) transact(ctx context.Context, action string, do func(context.Context, *sql.Tx) error) error {
	return databaseError(action, o.transactions.Do(ctx, do))
}

// transactAlone is transact for callers that hold a lock. It commits nothing
// after it has returned; transact may do so if ctx has ended.
func (o *Outbox) transactAlone(ctx context.Context, action string, do func(context.Context, *sql.Tx) error) error {
	alone := batch.Transactions{DB: o.db}
	return databaseError(action, alone.Do(ctx, do))
}

// databaseError returns err so that it matches ErrDatabase, unless it says what
// is wrong with the call.
func databaseError(action string, err error) error {
	faults := []error{
		ErrDatabase, ErrNotFound, ErrWrongStatus, ErrClickIDTaken, ErrInDoubt, clixnow.ErrInvalidRequest,
	}
	if err == nil || slices.ContainsFunc(faults, func(fault error) bool { return errors.Is(err, fault) }) {
		return err
	}
	return fmt.Errorf("%w: %s: %w", ErrDatabase, action, err)
}
