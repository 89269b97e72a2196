package mirror_test

import (
	"net"
	"net/url"
	"testing"

	"github.com/clixnow/clixnow-go/internal/postgrestest"
)

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
