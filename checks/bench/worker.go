package main

import (
	"context"
	"encoding/gob"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// job is the work of one client process: one contender, once.
type job struct {
	Client string
	// URL is the base URL of the scenario.
	URL string
	// Warm is the base URL of a small scenario that is read first.
	Warm string
	// Creates is the number of creates. 0 means to read all leads.
	Creates int
	// AtOnce is the number of concurrent creates.
	AtOnce int
	// Procs is the number of processors that the client uses at once. 0 means
	// all.
	Procs int
	// Memory means to watch the heap instead of the time.
	Memory bool
	// Profile is the file for a CPU profile. "" means none.
	Profile string
	// Brands is the number of clients in the table of many brands, which work
	// for Busy at the same time. 0 means another table.
	Brands int
	Busy   time.Duration
}

// figures are the costs of one job.
type figures struct {
	Wall, CPU     time.Duration
	Allocs, Bytes uint64
	// Heap is the highest heap above the idle heap, if Memory is set. It counts
	// live objects, and dead objects that are not yet freed.
	Heap uint64
	// Resident is the largest resident set size of the process.
	Resident uint64
	// Dials is the number of connections of http.DefaultTransport and of its
	// clones.
	Dials uint64
	Tally tally
	// Brands is set only in the table of many brands.
	Brands brandFigures
}

// work reads a job from standard input, does it, and prints its figures.
func work(ctx context.Context) error {
	var j job
	if err := gob.NewDecoder(os.Stdin).Decode(&j); err != nil {
		return err
	}
	runtime.GOMAXPROCS(j.Procs) // 0 changes nothing
	if j.Brands > 0 {
		f, err := j.doBrands(ctx)
		if err != nil {
			return err
		}
		return gob.NewEncoder(os.Stdout).Encode(figures{Brands: f})
	}
	dials := countDials()
	f, err := j.do(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", j.Client, err)
	}
	f.Dials = dials.Load()
	return gob.NewEncoder(os.Stdout).Encode(f)
}

// countDials counts the connections of http.DefaultTransport and of the clones
// that are made later. A program calls it before anything else.
func countDials() *atomic.Uint64 {
	var dials atomic.Uint64
	transport := http.DefaultTransport.(*http.Transport)
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return dial(ctx, network, address)
	}
	return &dials
}

func (j *job) do(ctx context.Context) (figures, error) {
	if j.Client == handWrittenV2 && !strings.Contains(runtime.Version(), "jsonv2") {
		return figures{}, fmt.Errorf("this program was built by %s", runtime.Version())
	}
	if err := j.warmUp(ctx); err != nil {
		return figures{}, err
	}
	c, err := contenders[j.Client](j.URL)
	if err != nil {
		return figures{}, err
	}
	var f figures
	run := func() error { return c.read(ctx, &f.Tally) }
	if j.Creates > 0 {
		run = func() error { return createMany(ctx, c, j.Creates, j.AtOnce) }
	}
	stop, err := profile(j.Profile)
	if err != nil {
		return f, err
	}
	defer stop()
	if j.Memory {
		f.Heap, err = peak(run)
	} else {
		err = f.measure(run)
	}
	f.Resident = resident()
	return f, err
}

// warmUp does what happens once in a process before the measurement. The
// measured client is a new one.
func (j *job) warmUp(ctx context.Context) error {
	c, err := contenders[j.Client](j.Warm)
	if err != nil {
		return err
	}
	if j.Creates > 0 {
		return createMany(ctx, c, 100, 1)
	}
	return c.read(ctx, new(tally))
}

// measure returns the figures of run.
func (f *figures) measure(run func() error) error {
	debug.FreeOSMemory() // it also collects garbage
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu, start := cpuTime(), time.Now()
	err := run()
	f.Wall, f.CPU = time.Since(start), cpuTime()-cpu
	runtime.ReadMemStats(&after)
	f.Allocs, f.Bytes = after.Mallocs-before.Mallocs, after.TotalAlloc-before.TotalAlloc
	return err
}

// peak watches the heap during run, and returns its highest size above the idle
// size.
func peak(run func() error) (uint64, error) {
	debug.FreeOSMemory()
	idle := heap()
	highest := idle
	var watching sync.WaitGroup
	done := make(chan struct{})
	watching.Go(func() {
		tick := time.NewTicker(500 * time.Microsecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				highest = max(highest, heap())
			case <-done:
				return
			}
		}
	})
	err := run()
	close(done)
	watching.Wait()
	return max(highest, heap()) - idle, err
}

func heap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

func usage() syscall.Rusage {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it cannot fail with these arguments
	}
	return u
}

func cpuTime() time.Duration {
	u := usage()
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func resident() uint64 {
	const unit = 1 << 10                 // Linux counts in KiB
	return uint64(usage().Maxrss) * unit //nolint:gosec // never negative
}

// createMany makes n creates, some of them at once.
func createMany(ctx context.Context, c client, n, atOnce int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var left atomic.Int64
	left.Store(int64(n))
	var group sync.WaitGroup
	for range atOnce {
		group.Go(func() {
			for left.Add(-1) >= 0 && ctx.Err() == nil {
				if err := c.create(ctx); err != nil {
					cancel(err)
				}
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

// profile writes a CPU profile to the file until stop is called.
func profile(file string) (stop func(), err error) {
	if file == "" {
		return func() {}, nil
	}
	var w io.WriteCloser
	if w, err = os.Create(file); err != nil { //nolint:gosec // the user names the file
		return nil, err
	}
	if err := pprof.StartCPUProfile(w); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		_ = w.Close()
	}, nil
}
