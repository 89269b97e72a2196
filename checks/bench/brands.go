package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/clixnow/clixnow-go"
)

// brandFigures are the costs of the clients of many brands in one process.
type brandFigures struct {
	// Idle holds the costs of clients that do nothing.
	Idle []idleFigures
	// Busy is the highest of each cost while all brands are walked and get
	// creates at the same time.
	Busy idleFigures
	// Leads and Creates are the work done for each brand in that time.
	Leads, Creates []int64
}

// idleFigures are costs of all clients together.
type idleFigures struct {
	State                   string
	Heap, Stacks            uint64
	Goroutines, Connections int64
}

// afterIdleTimeout is the state of a client that was used once, half a minute
// ago.
const afterIdleTimeout = "later, when its connection is closed"

// doBrands measures the clients of many brands.
func (j *job) doBrands(ctx context.Context) (f brandFigures, err error) {
	if err := j.warmUpBrands(ctx); err != nil {
		return f, err
	}
	open := countOpen()
	settle(open, 1)
	before := costs("", open)
	note := func(state string) {
		settle(open, before.Goroutines)
		f.Idle = append(f.Idle, costs(state, open).above(before))
	}
	newClients := func(state string, opts ...clixnow.Option) ([]*clixnow.Client, error) {
		clients, err := j.clients(opts...)
		note(state)
		runtime.KeepAlive(clients)
		return clients, err
	}
	shared := &http.Client{Transport: newTransport(), Timeout: time.Minute}
	if _, err := newClients("new, one transport for all", clixnow.WithHTTPClient(shared)); err != nil {
		return f, err
	}
	clients, err := newClients("new")
	if err != nil {
		return f, err
	}
	for _, c := range clients {
		if _, err := c.CreateLead(ctx, sdkLead()); err != nil {
			return f, err
		}
		if _, err := c.SearchLeadsPage(ctx, clixnow.SearchLeadsRequest{}); err != nil {
			return f, err
		}
	}
	note("after a create and a page")
	closeIdle := func() {
		for _, c := range clients {
			c.CloseIdleConnections()
		}
	}
	closeIdle()
	note(afterIdleTimeout)
	if err := f.work(ctx, clients, j.Busy, open); err != nil {
		return f, err
	}
	closeIdle()
	note("after much work, when its connections are closed")
	runtime.KeepAlive(clients)
	return f, nil
}

// warmUpBrands does what happens once in a process.
func (j *job) warmUpBrands(ctx context.Context) error {
	c, err := clixnow.NewClient("warm", token, clixnow.WithBaseURL(j.Warm))
	if err != nil {
		return err
	}
	defer c.CloseIdleConnections()
	if _, err := c.CreateLead(ctx, sdkLead()); err != nil {
		return err
	}
	_, err = c.SearchLeadsPage(ctx, clixnow.SearchLeadsRequest{})
	return err
}

func (j *job) clients(opts ...clixnow.Option) ([]*clixnow.Client, error) {
	clients := make([]*clixnow.Client, j.Brands)
	for i := range clients {
		var err error
		clients[i], err = clixnow.NewClient(fmt.Sprint("brand-", i), token, append(opts, clixnow.WithBaseURL(j.URL))...)
		if err != nil {
			return nil, err
		}
	}
	return clients, nil
}

// work walks each brand and creates leads at it, all at the same time, until
// the time is over.
func (f *brandFigures) work(
	ctx context.Context, clients []*clixnow.Client, busy time.Duration, open *atomic.Int64,
) error {
	ctx, cancel := context.WithTimeout(ctx, busy)
	defer cancel()
	f.Leads, f.Creates = make([]int64, len(clients)), make([]int64, len(clients))
	var (
		group sync.WaitGroup
		mu    sync.Mutex
		fault error
	)
	each := func(work func() error) {
		group.Go(func() {
			for ctx.Err() == nil {
				if err := work(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
					mu.Lock()
					fault = errors.Join(fault, err)
					mu.Unlock()
					cancel()
				}
			}
		})
	}
	for i, c := range clients {
		each(func() error {
			for _, err := range c.SearchLeads(ctx, clixnow.SearchLeadsRequest{}) {
				if err != nil {
					return err
				}
				f.Leads[i]++
			}
			return nil
		})
		each(func() error {
			_, err := c.CreateLead(ctx, sdkLead())
			if err == nil {
				f.Creates[i]++
			}
			return err
		})
	}
	for ctx.Err() == nil {
		f.Busy = f.Busy.highest(costs("", open))
		time.Sleep(5 * time.Millisecond)
	}
	group.Wait()
	slices.Sort(f.Leads)
	slices.Sort(f.Creates)
	return fault
}

// countOpen counts the open connections of the clones of http.DefaultTransport.
func countOpen() *atomic.Int64 {
	var open atomic.Int64
	transport := http.DefaultTransport.(*http.Transport)
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		open.Add(1)
		return &countedConn{Conn: conn, open: open.Add}, nil
	}
	return &open
}

// countedConn counts when it is closed.
type countedConn struct {
	net.Conn
	open func(delta int64) int64
	once sync.Once
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.open(-1) })
	return c.Conn.Close()
}

// settle waits until the goroutines of closed connections have ended, and
// collects garbage. A sync.Pool needs two collections.
func settle(open *atomic.Int64, goroutines int64) {
	const perConnection = 2
	for range 100 {
		if int64(runtime.NumGoroutine()) <= goroutines+perConnection*open.Load() {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	for range 3 {
		runtime.GC()
	}
}

func costs(state string, open *atomic.Int64) idleFigures {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return idleFigures{state, m.HeapAlloc, m.StackInuse, int64(runtime.NumGoroutine()), open.Load()}
}

func (f idleFigures) above(before idleFigures) idleFigures {
	return idleFigures{
		f.State, f.Heap - min(f.Heap, before.Heap), f.Stacks - min(f.Stacks, before.Stacks),
		f.Goroutines - before.Goroutines, f.Connections - before.Connections,
	}
}

func (f idleFigures) highest(other idleFigures) idleFigures {
	return idleFigures{
		f.State, max(f.Heap, other.Heap), max(f.Stacks, other.Stacks), max(f.Goroutines, other.Goroutines),
		max(f.Connections, other.Connections),
	}
}

func (b *bench) manyBrands(ctx context.Context) error {
	const listed = 20 * pageSize
	n := b.size.brands
	measured, err := b.do(ctx, job{Brands: n, Busy: b.size.busy, URL: scenario{leads: listed}.url(b.host)})
	if err != nil {
		return err
	}
	f := measured.Brands
	fmt.Println("| idle client | heap | stacks | goroutines | connections |")
	fmt.Println("|---|--:|--:|--:|--:|")
	for _, s := range f.Idle {
		each := func(total float64) float64 { return total / float64(n) }
		fmt.Printf("| %s | %.1f KiB | %.1f KiB | %.2f | %.2f |\n", s.State, each(float64(s.Heap)/1024),
			each(float64(s.Stacks)/1024), each(float64(s.Goroutines)), each(float64(s.Connections)))
	}
	fmt.Printf("\nAll brands for %v, each walked by one goroutine while another one creates:\n\n", b.size.busy)
	fmt.Println("| done for a brand | least | median | greatest | all brands, per second |")
	fmt.Println("|---|--:|--:|--:|--:|")
	for _, work := range []struct {
		what string
		done []int64
	}{{"leads read", f.Leads}, {"leads created", f.Creates}} {
		total := int64(0)
		for _, done := range work.done {
			total += done
		}
		fmt.Printf("| %s | %d | %d | %d | %.0f |\n", work.what, work.done[0], work.done[n/2], work.done[n-1],
			float64(total)/b.size.busy.Seconds())
	}
	fmt.Printf("\nAt most %d goroutines, %d connections, %.0f MiB of heap and %.0f MiB of stacks.\n",
		f.Busy.Goroutines, f.Busy.Connections, mebibytes(f.Busy.Heap), mebibytes(f.Busy.Stacks))
	at := slices.IndexFunc(f.Idle, func(s idleFigures) bool { return s.State == afterIdleTimeout })
	idle := f.Idle[at]
	b.reach("idle client of a brand, heap and stacks", float64(idle.Heap+idle.Stacks)/float64(n)/1024, 8, " KiB")
	b.reach("idle client of a brand, goroutines", float64(idle.Goroutines)/float64(n), 0, "")
	return nil
}
