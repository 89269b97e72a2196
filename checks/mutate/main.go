// Command mutate breaks the library in small ways, one at a time, and reports
// which of the breakages no test notices:
//
//	go run -C checks/mutate . [-sample 300] [-seed 1] [-files regexp]
//
// A breakage flips a comparison, an operator or a boolean, changes a number,
// removes a statement or an error, or fixes a condition. It is noticed if a
// test fails, panics or hangs. The tests of the same folder run first, then
// those of the root and of internal/e2e. equivalent.txt lists the breakages
// that change no behaviour, with reasons. They do not count.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// endToEnd is the folder with the tests of the root from outside.
const endToEnd = "internal/e2e"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

// folders are the folders whose files are broken.
var folders = []string{".", "router", "internal/call", "internal/wire", "internal/walk", "internal/punycode"}

type runner struct {
	root, temp string
	timeout    time.Duration
	// sources holds the text of each file.
	sources map[string][]byte
}

func run(ctx context.Context, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("mutate", flag.ContinueOnError)
	root := flags.String("root", "../..", "folder of the module")
	sample := flags.Int("sample", 0, "how many breakages to try, at random; 0 = all")
	seed := flags.Uint64("seed", 1, "of the sample")
	files := flags.String("files", ".", "regular expression of the files to break")
	atOnce := flags.Int("j", 2, "breakages tried at once")
	timeout := flags.Duration("timeout", 5*time.Minute,
		"for the tests of one breakage; one that takes longer is noticed")
	if err := flags.Parse(args); err != nil {
		return err
	}
	pattern, err := regexp.Compile(*files)
	if err != nil {
		return fmt.Errorf("-files: %w", err)
	}
	temp, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(temp) }() // the system cleans up the rest
	r := &runner{root: *root, temp: temp, timeout: *timeout, sources: make(map[string][]byte)}
	all, err := r.mutants(pattern)
	if err != nil {
		return err
	}
	chosen := all
	if *sample > 0 && *sample < len(all) {
		random := rand.New(rand.NewPCG(*seed, 0)) //nolint:gosec // a seed makes it repeatable
		random.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
		chosen = all[:*sample]
	}
	equivalent, err := readEquivalents(filepath.Join(*root, "checks", "mutate", "equivalent.txt"))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d of %d breakages, seed %d\n", len(chosen), len(all), *seed)
	return r.try(ctx, out, chosen, equivalent, *atOnce)
}

// mutants returns the breakages of every file that is not a test.
func (r *runner) mutants(pattern *regexp.Regexp) (all []*mutant, err error) {
	for _, room := range folders {
		names, err := filepath.Glob(filepath.Join(r.root, room, "*.go"))
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			file := filepath.ToSlash(filepath.Join(room, filepath.Base(name)))
			if strings.HasSuffix(name, "_test.go") || !pattern.MatchString(file) {
				continue
			}
			source, err := os.ReadFile(name) //nolint:gosec // a file of the module
			if err != nil {
				return nil, err
			}
			r.sources[file] = source
			found, err := mutantsOf(file, source)
			if err != nil {
				return nil, err
			}
			all = append(all, found...)
		}
	}
	return all, nil
}

// readEquivalents reads names of mutants, each with a reason behind a #.
func readEquivalents(name string) (map[string]bool, error) {
	file, err := os.Open(name) //nolint:gosec // a file of the module
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	known := make(map[string]bool)
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if name, reason, ok := strings.Cut(lines.Text(), " # "); ok && reason != "" {
			known[name] = true
		} else if lines.Text() != "" {
			return nil, fmt.Errorf("%s: no reason given: %s", file.Name(), lines.Text())
		}
	}
	return known, lines.Err()
}

type verdict int

const (
	survived verdict = iota
	noticed
	impossible // it does not compile
)

func (r *runner) try(ctx context.Context, out io.Writer, chosen []*mutant, equivalent map[string]bool,
	atOnce int,
) error {
	var (
		mu     sync.Mutex
		counts [3]int
		same   int
		wg     sync.WaitGroup
		next   = make(chan *mutant)
		failed error
	)
	for worker := range atOnce {
		wg.Go(func() {
			folder := filepath.Join(r.temp, strconv.Itoa(worker))
			for m := range next {
				v, err := r.judge(ctx, folder, m)
				mu.Lock()
				switch {
				case err != nil:
					failed = errors.Join(failed, fmt.Errorf("%s:%d: %w", m.file, m.line, err))
				case v == survived && equivalent[m.name()]:
					same++
				default:
					counts[v]++
				}
				if v == survived && err == nil && !equivalent[m.name()] {
					fmt.Fprintf(out, "not noticed: %s:%d: %s\n", m.file, m.line, m.name())
				}
				mu.Unlock()
			}
		})
	}
	for _, m := range chosen {
		if ctx.Err() != nil {
			break
		}
		next <- m
	}
	close(next)
	wg.Wait()
	fmt.Fprintf(out, "noticed %d of %d that change behaviour (%.1f %%); %d known to change none; %d do not compile\n",
		counts[noticed], counts[noticed]+counts[survived],
		100*float64(counts[noticed])/float64(max(1, counts[noticed]+counts[survived])),
		same, counts[impossible])
	return errors.Join(failed, ctx.Err())
}

// judge builds the tests with the broken file instead of the original, and runs
// them.
func (r *runner) judge(ctx context.Context, folder string, m *mutant) (verdict, error) {
	root, err := filepath.Abs(r.root)
	if err != nil {
		return survived, err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return survived, err
	}
	broken, overlay, program := filepath.Join(folder, "broken.go"), filepath.Join(folder, "overlay.json"),
		filepath.Join(folder, "tests")
	mapping, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, m.file): broken}})
	if err != nil {
		return survived, err
	}
	err = errors.Join(os.WriteFile(broken, m.apply(r.sources[m.file]), 0o600), os.WriteFile(overlay, mapping, 0o600))
	if err != nil {
		return survived, err
	}
	own := filepath.Dir(m.file)
	for _, tested := range slices.Compact([]string{own, ".", endToEnd}) {
		if _, err := os.Stat(filepath.Join(root, tested)); tested == endToEnd && err != nil {
			continue // a test of this program has no such folder
		}
		//nolint:gosec // these are our own files
		build := exec.CommandContext(ctx, "go", "test", "-c", "-overlay", overlay, "-o", program, "./"+tested)
		build.Dir = root
		if output, err := build.CombinedOutput(); err != nil {
			// The compiler shortens long paths.
			if bytes.Contains(output, []byte(filepath.Base(m.file)+":")) ||
				bytes.Contains(output, []byte(filepath.Base(broken)+":")) {
				return impossible, nil
			}
			return survived, fmt.Errorf("go test -c: %w\n%s", err, output)
		}
		if passed, err := r.passes(ctx, program, filepath.Join(root, tested)); err != nil || !passed {
			return noticed, err
		}
	}
	return survived, nil
}

// passes runs a test program. A breakage may make it use too much memory or
// time, so it gets 10 GiB of address space and a time limit.
func (r *runner) passes(ctx context.Context, program, folder string) (bool, error) {
	//nolint:gosec // these are our own files
	test := exec.CommandContext(ctx, "sh", "-c", "ulimit -v 10485760; exec \"$@\"", "sh", program,
		"-test.short", "-test.failfast", "-test.timeout", r.timeout.String())
	test.Dir = folder
	err := test.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case err == nil:
		return true, nil
	case errors.As(err, &exit):
		return false, nil
	}
	return false, err
}
