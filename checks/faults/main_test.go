// Package faults_test puts faulty networks between the client and a Clixnow, by
// toxiproxy, and compares what the client reports with the state of the server.
//
// CLIXNOW_SOAK=10 runs ten times as many seeds. CLIXNOW_SEED=7 runs one seed,
// with the same networks, offsets and deadlines.
package faults_test

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

func TestMain(m *testing.M) {
	toxics.Register("cut", new(cut))
	const proxy = "github.com/Shopify/toxiproxy/v2"
	goleak.VerifyTestMain(
		m,
		// If a connection ends while toxiproxy still has bytes of it, toxiproxy
		// leaves goroutines behind.
		goleak.IgnoreAnyFunction(proxy+".(*ToxicLink).read"),
		goleak.IgnoreAnyFunction(proxy+"/toxics.(*ToxicStub).Run"),
	)
}

func seeds(t *testing.T) []int64 {
	t.Helper()
	number := func(name string) int64 {
		n, err := strconv.ParseInt(cmp.Or(os.Getenv(name), "0"), 10, 64)
		require.NoError(t, err, name)
		return n
	}
	if one := number("CLIXNOW_SEED"); one > 0 {
		return []int64{one}
	}
	var all []int64
	for seed := range max(1, number("CLIXNOW_SOAK")) {
		all = append(all, seed+1)
	}
	return all
}

// overNetworks runs a test over all networks at the same time, because they
// mostly wait.
func overNetworks(t *testing.T, request, answer int64, test func(*testing.T, *world)) {
	t.Helper()
	for _, seed := range seeds(t) {
		var running sync.WaitGroup
		for i, n := range networks(seed, request, answer) {
			running.Go(func() {
				t.Run(n.name+", seed "+strconv.FormatInt(seed, 10), func(t *testing.T) {
					test(t, newWorld(t, n, uint64(seed)<<8|uint64(i)))
				})
			})
		}
		running.Wait()
	}
}

const (
	testToken = "CfDJ8-s3cr3t-t0ken"
	password  = "Pa55word-s3cr3t!"
)

// world is a Clixnow behind a network.
type world struct {
	network

	api  *clixnowtest.Server
	seed uint64
	// near is the address of the API. far is its address behind the network.
	near, far string
	// stop stops the API and the network.
	stop func()
	// ended is set when the network has become faultless.
	ended  atomic.Bool
	log    *slog.Logger
	logged bytes.Buffer

	// open counts open connections, and unclosed counts response bodies that
	// were not closed.
	open, unclosed atomic.Int64
	clients        []*clixnow.Client
}

func newWorld(t *testing.T, n network, seed uint64) *world {
	t.Helper()
	// The server does not look for duplicates: two sends make two leads.
	w := &world{
		network: n, seed: seed,
		api: clixnowtest.NewHandler(clixnowtest.WithToken(testToken), clixnowtest.WithoutDuplicateCheck()),
	}
	w.log = slog.New(slog.NewTextHandler(&w.logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	server := httptest.NewUnstartedServer(w.api)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Config.IdleTimeout = n.idle
	server.Start()
	w.near = server.Listener.Addr().String()
	far, stop := n.start(t, w.near)
	w.far, w.stop = far, sync.OnceFunc(func() {
		stop()
		server.Close()
	})
	t.Cleanup(w.stop)
	return w
}

// client returns a client with its own connections. Every second client uses
// each connection only once. One connection in bypass goes around the network.
// 0 means none.
func (w *world) client(t *testing.T, number uint64, bypass int, retry clixnow.RetryPolicy) *clixnow.Client {
	t.Helper()
	random := rand.New(rand.NewPCG(w.seed, number+1))
	var mu sync.Mutex // a search with Prefetch dials concurrently
	past := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return w.ended.Load() || bypass > 0 && random.IntN(bypass) == 0
	}
	transport := &http.Transport{
		DisableKeepAlives: number%2 == 1,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			address := w.far
			if past() {
				address = w.near
			}
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			w.open.Add(1)
			return &countedConn{conn, sync.OnceFunc(func() { w.open.Add(-1) })}, nil
		},
	}
	client, err := clixnow.NewClient(
		"acme", testToken, clixnow.WithBaseURL("http://"+w.near), clixnow.WithRetry(retry),
		// The looks take three seconds. That is much longer than any of the
		// networks delays a request.
		clixnow.WithLooks(80*time.Millisecond, 320*time.Millisecond, 800*time.Millisecond, 1600*time.Millisecond),
		clixnow.WithHTTPClient(&http.Client{
			Transport: countingTransport{transport, w},
			Timeout:   cmp.Or(w.patience, 30*time.Second),
		}),
		clixnow.WithLogger(w.log),
	)
	require.NoError(t, err)
	w.clients = append(w.clients, client)
	return client
}

// settle requires that no client left a connection or body open, and that no
// secret was logged. No request reaches the API afterwards.
func (w *world) settle(t *testing.T) {
	t.Helper()
	require.Zero(t, w.unclosed.Load(), "bodies that were not closed")
	for _, client := range w.clients {
		client.CloseIdleConnections()
	}
	require.Eventually(t, func() bool { return w.open.Load() == 0 }, time.Minute, time.Millisecond,
		"connections are open")
	assertNoSecrets(t, w.logged.String())
	w.stop()
}

type countedConn struct {
	net.Conn

	closed func()
}

func (c *countedConn) Close() error {
	c.closed()
	return c.Conn.Close()
}

// countingTransport counts the response bodies that are not closed.
type countingTransport struct {
	*http.Transport

	w *world
}

func (c countingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.Transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	c.w.unclosed.Add(1)
	resp.Body = &countedBody{resp.Body, sync.OnceFunc(func() { c.w.unclosed.Add(-1) })}
	return resp, nil
}

type countedBody struct {
	io.ReadCloser

	closed func()
}

func (b *countedBody) Close() error {
	b.closed()
	return b.ReadCloser.Close()
}

// lead returns lead n. Every third lead has no click id, so only its email
// identifies it.
func lead(n int) clixnow.CreateLeadRequest {
	number := strconv.Itoa(n)
	req := clixnow.CreateLeadRequest{
		FirstName: "Allison", LastName: "Brown-Zweifel", Email: "lead" + number + "@leads.example",
		Phone:    "+4155" + number,
		Password: password, CountryCode: "CH",
	}
	if n%3 > 0 {
		req.ClickID = "click-" + number
	}
	return req
}

func assertNoSecrets(t *testing.T, text string) {
	t.Helper()
	for _, secret := range []string{testToken, password, "@leads.example", "+4155", "Zweifel", "autologin"} {
		assert.NotContains(t, text, secret)
	}
}

// inTime makes a call with a deadline, and fails the test if the call exceeds
// the deadline.
func inTime[T any](t *testing.T, deadline time.Duration, call func(context.Context) (T, error)) (result T, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		result, err = call(ctx)
	}()
	select {
	case <-returned:
		return result, err
	case <-ctx.Done():
	}
	select {
	case <-returned:
		return result, err
	case <-time.After(time.Minute):
		panic("a call has not returned a minute after its deadline")
	}
}
