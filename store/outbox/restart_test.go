package outbox_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/internal/postgrestest"
	"github.com/clixnow/clixnow-go/store/outbox"
)

// TestDatabaseRestarts checks that Add returns an error that can be repeated
// while PostgreSQL is down, and that Work goes on afterwards.
func TestDatabaseRestarts(t *testing.T) {
	t.Parallel()
	server := postgrestest.New(t)
	k := kind{dialect: outbox.PostgreSQL}
	api := newFakeAPI(t)
	r := k.start(t, server.URL, []*fakeAPI{api}, func(opts *outbox.Options) { opts.TryTimeout = 2 * time.Second })
	for round := range 3 {
		r.waitFor(t, r.add(t, fmt.Sprint("before", round)).ID, outbox.Registered)
		api.down.Store(429)
		waiting := r.add(t, fmt.Sprint("waiting", round))
		server.Kill()
		api.down.Store(0)
		lead := newLead(fmt.Sprint("during", round))
		_, err := r.Add(t.Context(), lead)
		require.ErrorIs(t, err, outbox.ErrDatabase)
		require.ErrorIs(t, r.Check(t.Context()), outbox.ErrDatabase)
		server.Start()
		var s *outbox.Signup
		eventually(t, func() bool {
			s, err = r.Add(t.Context(), lead)
			return err == nil
		})
		require.NoError(t, r.Check(t.Context()))
		r.waitFor(t, s.ID, outbox.Registered)
		r.waitFor(t, waiting.ID, outbox.Registered)
	}
	assert.Len(t, api.Leads(), 9)
	assert.Less(t, strings.Count(r.log.String(), "the database fails"), 5)
}
