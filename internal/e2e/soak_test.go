package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// The soaks register leads by EnsureLead, 16 at once, while random faults
// happen. Then they compare what was reported with what is there. Time is
// virtual and the network is in memory, so the real pauses and timeouts apply.
// net/http is real on both ends. CLIXNOW_SOAK=10 makes the soaks ten times as
// long. CLIXNOW_SEED=7 runs one seed alone.

func TestSoak(t *testing.T) {
	t.Parallel()
	lag := func(random *rand.Rand) clixnowtest.Option {
		return clixnowtest.WithSearchDelay(func(clixnow.Lead) time.Duration {
			if random.IntN(4) == 0 { // later than the last look
				return time.Duration(random.Int64N(int64(time.Minute)))
			}
			return time.Duration(random.Int64N(int64(6 * time.Second)))
		})
	}
	worlds := map[string]func(*rand.Rand) clixnowtest.Option{
		// A lead that is sent twice is there twice.
		"server that accepts duplicates": func(*rand.Rand) clixnowtest.Option {
			return clixnowtest.WithoutDuplicateCheck()
		},
		"search that lags": lag,
	}
	for name, world := range worlds {
		for _, seed := range seeds(t) {
			t.Run(fmt.Sprintf("%s, seed %d", name, seed), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { soak(t, seed, world) })
			})
		}
	}
}

func seeds(t *testing.T) []uint64 {
	t.Helper()
	if text := os.Getenv("CLIXNOW_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
		return []uint64{seed}
	}
	return []uint64{1, 2, 3}
}

// soakLeads is how many leads a soak registers.
func soakLeads(t *testing.T) int {
	t.Helper()
	times := 1
	if text := os.Getenv("CLIXNOW_SOAK"); text != "" {
		var err error
		times, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	if testing.Short() {
		return 300 * times // of fewer, chance may leave too few to lose
	}
	return 600 * times
}

func soak(t *testing.T, seed uint64, world func(*rand.Rand) clixnowtest.Option) {
	t.Helper()
	const atOnce = 16
	leads := soakLeads(t)
	api := clixnowtest.NewHandler(clixnowtest.WithToken(testToken), world(rand.New(rand.NewPCG(seed, 0))))
	network := serveInMemory(t, api)

	type outcome struct {
		lead  *clixnow.EnsureLeadResponse
		err   error
		since bool
	}
	outcomes := make([]outcome, leads)
	numbers := make(chan int)
	var workers sync.WaitGroup
	for worker := range atOnce {
		workers.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(worker)+1))
			hc := &http.Client{
				Transport: &http.Transport{DialContext: network.dialer(random), MaxIdleConnsPerHost: atOnce},
				Timeout:   30 * time.Second,
			}
			client, err := clixnow.NewClient("acme", testToken, clixnow.WithBaseURL("http://127.0.0.1"),
				clixnow.WithHTTPClient(hc))
			assert.NoError(t, err)
			defer client.CloseIdleConnections()
			for number := range numbers {
				// A look reads what was registered in its window. The time
				// between registrations keeps that short.
				time.Sleep(time.Duration(random.Int64N(int64(5 * time.Minute))))
				api.Inject(randomFaults(random)...)
				ctx, cancel := t.Context(), context.CancelFunc(func() {})
				if random.IntN(20) == 0 {
					ctx, cancel = context.WithTimeout(ctx, time.Duration(random.Int64N(int64(20*time.Second))))
				}
				var first time.Time
				since := random.IntN(8) == 0
				if since {
					first = time.Now()
				}
				lead, err := client.EnsureLeadSince(ctx, numbered(number), first)
				cancel()
				outcomes[number] = outcome{lead, err, since}
			}
		})
	}
	for number := range leads {
		numbers <- number
	}
	close(numbers)
	workers.Wait()

	ids := make(map[string][]int64)
	for _, lead := range api.Leads() {
		ids[lead.Email] = append(ids[lead.Email], lead.ID)
	}
	counts := make(map[string]int)
	for number, got := range outcomes {
		there := ids[numbered(number).Email]
		require.LessOrEqual(t, len(there), 1, "lead %d is there twice", number)
		switch {
		case got.err == nil:
			require.Equal(t, []int64{got.lead.LeadID}, there, "lead %d was reported", number)
			counts["registered"]++
			if got.lead.Recovered {
				counts["recovered"]++
			}
			continue
		case errors.Is(got.err, clixnow.ErrOutcomeUnknown):
			counts["unknown"]++
			counts["unknown, and there"] += len(there)
		case got.since:
			require.Fail(t, "an earlier try is in doubt", "lead %d: %v", number, got.err)
		default:
			require.Empty(t, there, "lead %d: %v", number, got.err)
			counts["not registered"]++
		}
		requireOneClass(t, got.err)
	}
	counts["POSTs"] = posts(api)
	t.Logf("%d leads: %v", leads, counts)
	assert.Greater(t, counts["recovered"], leads/20)
	assert.Greater(t, counts["unknown"], leads/100)
	assert.Greater(t, counts["registered"], leads*2/3)
	assert.Greater(t, counts["not registered"], 0)
}

// randomFaults returns faults for a few requests. Most of the time there are
// none. No fault lies: a request that was handled is not answered by a refusal.
func randomFaults(random *rand.Rand) []clixnowtest.Fault {
	faults := make([]clixnowtest.Fault, random.IntN(4))
	for i := range faults {
		if random.IntN(3) == 0 {
			continue // lets a request pass
		}
		fault := clixnowtest.Fault{HandleFirst: random.IntN(2) == 0}
		switch random.IntN(12) {
		case 0, 1, 2:
			fault.Drop = clixnowtest.Drop(1 + random.IntN(3))
		case 3: // slow, or too slow
			fault.Delay = time.Duration(random.Int64N(int64(40 * time.Second)))
		case 4:
			fault.Delay = time.Duration(random.Int64N(int64(3 * time.Second)))
		case 5: // refused; a search may be, too
			fault.HandleFirst = false
			fault.Status = []int{400, 401, 404, 429, 302}[random.IntN(5)]
		case 6:
			fault.HandleFirst = false
			fault.Status, fault.Times = 429, 1+random.IntN(4)
		default:
			fault.Status = []int{200, 201, 303, 408, 460, 499, 500, 502, 503, 504, 520, 524}[random.IntN(12)]
			fault.Body = []string{"", "<html>", `{"leadId":`, "null", "{}"}[random.IntN(5)]
		}
		faults[i] = fault
	}
	return faults
}

// memoryNet is a network within the process. Its connections wait while virtual
// time stands still.
type memoryNet struct {
	conns chan net.Conn
	gone  chan struct{}
}

func serveInMemory(t *testing.T, handler http.Handler) *memoryNet {
	t.Helper()
	n := &memoryNet{conns: make(chan net.Conn), gone: make(chan struct{})}
	server := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(n) })
	t.Cleanup(func() {
		_ = server.Close()
		serving.Wait()
	})
	return n
}

func (n *memoryNet) Accept() (net.Conn, error) {
	select {
	case conn := <-n.conns:
		return conn, nil
	case <-n.gone:
		return nil, net.ErrClosed
	}
}

func (n *memoryNet) Close() error {
	close(n.gone)
	return nil
}

func (n *memoryNet) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// dialer returns a function that connects, and fails in one of ten cases.
func (n *memoryNet) dialer(random *rand.Rand) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		if random.IntN(10) == 0 {
			return nil, errors.New("connection refused")
		}
		ours, theirs := net.Pipe()
		select {
		case n.conns <- theirs:
			return ours, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
