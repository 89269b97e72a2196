package router_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func lead(n int) clixnow.CreateLeadRequest {
	return clixnow.CreateLeadRequest{
		FirstName: "Allison", LastName: "Brown", Email: fmt.Sprintf("allison.%d@example.com", n),
		Phone: fmt.Sprintf("+4179%07d", n), Password: "Password123!", CountryCode: "CH",
		ClickID: fmt.Sprintf("click-%d", n),
	}
}

// brand is a fake Clixnow and a client of it.
type brand struct {
	*clixnowtest.Server
	client *clixnow.Client
}

func newBrand(t *testing.T, name string, opts ...clixnowtest.Option) brand {
	t.Helper()
	server := clixnowtest.NewServer(append([]clixnowtest.Option{clixnowtest.WithBrand(name)}, opts...)...)
	t.Cleanup(server.Close)
	client := server.Client()
	t.Cleanup(client.CloseIdleConnections)
	return brand{server, client}
}

// posts returns the number of creates that the brand received.
func (b brand) posts() (n int) {
	for _, r := range b.Requests() {
		if r.Method == http.MethodPost {
			n++
		}
	}
	return n
}

// inMemory is a transport that hands requests to a handler, without a network:
// a bubble of fake time has none. If before returns an error, the request is
// not handled.
type inMemory struct {
	handler http.Handler
	before  func(*http.Request) error
}

func (m inMemory) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	defer func() {
		if cut := recover(); cut != nil {
			if cut != http.ErrAbortHandler { //nolint:errorlint // the value of a panic, compared as net/http does
				panic(cut)
			}
			resp, err = nil, io.ErrUnexpectedEOF
		}
	}()
	if err := m.before(r); err != nil {
		return nil, err
	}
	recorder := httptest.NewRecorder()
	m.handler.ServeHTTP(recorder, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return recorder.Result(), nil
}

// newMemoryBrand returns a brand without a listener. Its client has looks that
// take a few seconds of fake time.
func newMemoryBrand(
	t *testing.T, name string, before func(*http.Request) error, opts ...clixnowtest.Option,
) brand {
	t.Helper()
	opts = append([]clixnowtest.Option{clixnowtest.WithBrand(name), clixnowtest.WithClock(time.Now)}, opts...)
	server := clixnowtest.NewHandler(opts...)
	client, err := clixnow.NewClient(name, server.Token,
		clixnow.WithHTTPClient(&http.Client{Transport: inMemory{server, before}, Timeout: 30 * time.Second}))
	require.NoError(t, err)
	return brand{server, client}
}
