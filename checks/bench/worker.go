package main

import (
	"context"
	"encoding/gob"
	"fmt"
	"io"
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

// job is what one client process does: one contender, once.
type job struct {
	Client  string
	URL     string // of the scenario
	Warm    string // of a small one, to be read first
	Creates int    // 0 = read all leads instead
	AtOnce  int    // creates at once
	Memory  bool   // watch the heap instead of the time
	Profile string // file for a CPU profile; "" = none
}

// figures are what one job cost its process.
type figures struct {
	Wall, CPU     time.Duration
	Allocs, Bytes uint64
	Heap          uint64 // Memory: the highest above the idle one; live objects, and dead ones not yet freed
	Resident      uint64 // the most memory that the process had, as the system counts it
	Tally         tally
}

// work does the job that stands on standard input and prints its figures.
func work(ctx context.Context) error {
	var j job
	if err := gob.NewDecoder(os.Stdin).Decode(&j); err != nil {
		return err
	}
	f, err := j.do(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", j.Client, err)
	}
	return gob.NewEncoder(os.Stdout).Encode(f)
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

// warmUp lets what happens once in a process happen before it counts. The
// client that is measured is a new one.
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

// measure takes the figures of run.
func (f *figures) measure(run func() error) error {
	debug.FreeOSMemory() // begins with a collection
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu, start := cpuTime(), time.Now()
	err := run()
	f.Wall, f.CPU = time.Since(start), cpuTime()-cpu
	runtime.ReadMemStats(&after)
	f.Allocs, f.Bytes = after.Mallocs-before.Mallocs, after.TotalAlloc-before.TotalAlloc
	return err
}

// peak watches the heap while run runs, and returns how far above its idle size
// it was at most.
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
	return highest - idle, err
}

func heap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

func usage() syscall.Rusage {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // of these arguments it cannot be
	}
	return u
}

func cpuTime() time.Duration {
	u := usage()
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func resident() uint64 {
	const unit = 1 << 10                 // on Linux; macOS counts bytes
	return uint64(usage().Maxrss) * unit //nolint:gosec // never negative
}

// createMany makes n creates, a number of them at once.
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
	if w, err = os.Create(file); err != nil { //nolint:gosec // a file that the user names
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
