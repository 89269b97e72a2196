package tables_test

import (
	"database/sql"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/clixnow/clixnow-go/store/internal/tables"
)

// TestMigrateRefuses checks wrong migrations. Those of the packages are tested
// there.
func TestMigrateRefuses(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "test.db"))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	for _, test := range []struct {
		name, dialect string
		files         fstest.MapFS
	}{
		{"no migrations", "sqlite", fstest.MapFS{"migrations/sqlite/README.md": {}}},
		{"name of no folder", "sqlite/../..", fstest.MapFS{}},
		{"migration that fails", "sqlite", fstest.MapFS{
			"migrations/sqlite/1_test.sql": {Data: []byte("-- +goose Up\nCREATE nothing;\n")},
		}},
	} {
		version, err := tables.Migrate(t.Context(), db, test.dialect, test.files, "test_version")
		require.Error(t, err, test.name)
		assert.Zero(t, version, test.name)
	}
}
