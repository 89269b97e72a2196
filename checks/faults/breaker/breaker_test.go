// Package breaker_test puts a circuit breaker into the transport of a client.
// A request that the breaker refuses was not sent, and the client reports so.
package breaker_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// breaker is a RoundTripper that refuses requests for a while after too many
// failures. Its refusals wrap clixnow.ErrNotSent. It returns all other errors
// unchanged.
type breaker struct {
	next    http.RoundTripper
	breaker *gobreaker.CircuitBreaker[*http.Response]
}

func newBreaker(settings gobreaker.Settings) *breaker {
	//nolint:bodyclose // there is no body
	circuit := gobreaker.NewCircuitBreaker[*http.Response](settings)
	return &breaker{new(http.Transport), circuit}
}

func (b *breaker) RoundTrip(req *http.Request) (*http.Response, error) {
	var answer *http.Response
	_, err := b.breaker.Execute(func() (*http.Response, error) {
		var err error
		answer, err = b.next.RoundTrip(req)
		if err == nil && answer.StatusCode >= http.StatusInternalServerError {
			return nil, errors.New(answer.Status) // only for the counts of the breaker
		}
		return answer, err
	})
	switch {
	case answer != nil:
		return answer, nil
	case errors.Is(err, gobreaker.ErrOpenState), errors.Is(err, gobreaker.ErrTooManyRequests):
		return nil, fmt.Errorf("%w: %w", clixnow.ErrNotSent, err)
	}
	return nil, err
}

func (b *breaker) CloseIdleConnections() { b.next.(*http.Transport).CloseIdleConnections() }

func lead() clixnow.CreateLeadRequest {
	return clixnow.CreateLeadRequest{
		FirstName: "Allison", LastName: "Brown", Email: "allison.brown@example.com", Phone: "+41123456789",
		Password: "Password123!", CountryCode: "CH",
	}
}

func posts(server *clixnowtest.Server) (n int) {
	for _, request := range server.Requests() {
		if request.Method == http.MethodPost {
			n++
		}
	}
	return n
}

func setUp(t *testing.T, settings gobreaker.Settings) (*clixnowtest.Server, *clixnow.Client) {
	t.Helper()
	server := clixnowtest.NewServer()
	t.Cleanup(server.Close)
	client := server.Client(clixnow.WithHTTPClient(&http.Client{Transport: newBreaker(settings)}))
	t.Cleanup(client.CloseIdleConnections)
	return server, client
}

func trip(n uint32) func(gobreaker.Counts) bool {
	return func(counts gobreaker.Counts) bool { return counts.ConsecutiveFailures >= n }
}

func requireNotSent(t *testing.T, err error) {
	t.Helper()
	require.ErrorIs(t, err, clixnow.ErrNotSent)
	require.ErrorIs(t, err, gobreaker.ErrOpenState)
	for _, other := range []error{clixnow.ErrOutcomeUnknown, clixnow.ErrRefused, clixnow.ErrRateLimited} {
		require.NotErrorIs(t, err, other)
	}
}

func TestOpenBreaker(t *testing.T) {
	t.Parallel()
	faults := map[string]clixnowtest.Fault{
		"answered 503": {Status: 503, Times: 2},
		"cut":          {Drop: clixnowtest.DropBeforeHandling, Times: 2},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, client := setUp(t, gobreaker.Settings{Timeout: time.Hour, ReadyToTrip: trip(2)})
			server.Inject(fault)
			for range 2 { // the breaker does not change these errors
				_, err := client.CreateLead(t.Context(), lead())
				require.ErrorIs(t, err, clixnow.ErrOutcomeUnknown)
				require.NotErrorIs(t, err, clixnow.ErrNotSent)
			}
			arrived := len(server.Requests())
			assert.Equal(t, 2, arrived)

			_, err := client.CreateLead(t.Context(), lead())
			requireNotSent(t, err)
			_, err = client.EnsureLead(t.Context(), lead())
			requireNotSent(t, err)
			_, err = client.GetLead(t.Context(), 1)
			require.ErrorIs(t, err, clixnow.ErrNotSent)
			assert.Len(t, server.Requests(), arrived, "no request was sent")
		})
	}
}

// An earlier attempt stays in doubt while the breaker refuses the looks.
func TestOpenBreakerAfterAnEarlierTry(t *testing.T) {
	t.Parallel()
	server, client := setUp(t, gobreaker.Settings{Timeout: time.Hour, ReadyToTrip: trip(1)})
	first := time.Now()
	server.Inject(clixnowtest.Fault{HandleFirst: true, Status: 502})
	_, err := client.EnsureLead(t.Context(), lead()) // the breaker opens during the call
	require.ErrorIs(t, err, clixnow.ErrOutcomeUnknown)
	require.NotErrorIs(t, err, clixnow.ErrNotSent)
	require.ErrorIs(t, err, gobreaker.ErrOpenState)
	require.ErrorIs(t, err, clixnow.ErrServer)

	_, err = client.EnsureLeadSince(t.Context(), lead(), first)
	require.ErrorIs(t, err, clixnow.ErrOutcomeUnknown)
	require.NotErrorIs(t, err, clixnow.ErrNotSent)
	assert.Len(t, server.Requests(), 1)
}

// If the breaker closes again before the last look, the lead is found.
func TestBreakerCloses(t *testing.T) {
	t.Parallel()
	server, client := setUp(t, gobreaker.Settings{Timeout: time.Millisecond, ReadyToTrip: trip(1)})
	server.Inject(clixnowtest.Fault{HandleFirst: true, Status: 502})
	got, err := client.EnsureLead(t.Context(), lead())
	require.NoError(t, err)
	assert.True(t, got.Recovered)
	assert.Equal(t, 1, posts(server))
	assert.Len(t, server.Leads(), 1)
}
