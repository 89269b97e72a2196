package mirror_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"net"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/internal/postgrestest"
	"github.com/clixnow/clixnow-go/store/mirror"
)

// wrapper wraps the connections of pgx, as drivers that trace statements do.
type wrapper struct{ driver.Connector }

type wrapped struct{ *stdlib.Conn }

func (w wrapper) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := w.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return wrapped{conn.(*stdlib.Conn)}, nil
}

func TestWrappedDriver(t *testing.T) {
	t.Parallel()
	config, err := pgx.ParseConfig(postgresKind(t).create(t))
	require.NoError(t, err)
	db := sql.OpenDB(wrapper{stdlib.GetConnector(*config)})
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	m, err := mirror.Open(t.Context(), db, mirror.PostgreSQL)
	require.NoError(t, err)
	server := newServer(t)
	server.AddLeads(lastMonth(3)...)
	require.NoError(t, once(t, m, server))
	checkLeads(t, m, server)
}

// TestPostgresServer tests the server that the other tests use.
func TestPostgresServer(t *testing.T) {
	t.Parallel()
	server := postgrestest.New(t)
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	listens := func() bool {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address.Host)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	}
	for range 2 {
		if !listens() {
			t.Error("the server does not answer")
		}
		server.Kill()
		if listens() {
			t.Error("the server still answers after it was killed")
		}
		server.Start()
	}
}
