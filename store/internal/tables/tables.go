// Package tables migrates the tables of a package of this module.
package tables

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// Migrate brings tables to their newest version, and returns it. It is higher
// than the newest migration if a newer program has used the database. dialect
// is sqlite or postgres. In all, the folders migrations/sqlite and
// migrations/postgres have the migrations for goose. The table versionTable
// gets the version.
func Migrate(
	ctx context.Context, db *sql.DB, dialect string, all fs.FS, versionTable string,
) (version int64, err error) {
	options := []goose.ProviderOption{
		goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true),
	}
	kind := goose.DialectSQLite3
	if dialect == "postgres" {
		kind = goose.DialectPostgres
		// Two processes may open the database at once.
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 60))
		if err != nil {
			return 0, err
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	folder, err := fs.Sub(all, "migrations/"+dialect)
	if err != nil {
		return 0, err
	}
	provider, err := goose.NewProvider(kind, db, folder, options...)
	if err != nil {
		return 0, err
	}
	if _, err = provider.Up(ctx); err != nil && kind == goose.DialectSQLite3 {
		_, err = provider.Up(ctx) // another process may have been faster
	}
	if err != nil {
		return 0, fmt.Errorf("create the tables: %w", err)
	}
	if version, err = provider.GetDBVersion(ctx); err != nil {
		return 0, fmt.Errorf("read the version of the tables: %w", err)
	}
	return version, nil
}
