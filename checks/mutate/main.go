//go:build unix

// Command mutate breaks the library in small ways, one at a time, and reports
// which of the breakages no test notices:
//
//	go run -C checks/mutate . [-sample 300] [-files regexp] [-work folder]
//
// A breakage flips a comparison, an operator or a boolean, changes a number,
// removes a statement or an error, or fixes a condition. It is noticed if a
// test fails, panics or hangs. The tests of the same folder count, and for the
// root and the folders of internal also those of module.also. With -own they do
// not, which is quicker.
//
// All breakages of a module are compiled into the same tests, and the variable
// MUTANT of the environment chooses one of them. First each test runs alone, to
// see how long it takes and which breakages it reaches. Then a breakage costs
// only the tests that reach it, the quickest first. What cannot be switched on
// while the program runs, such as a constant, is compiled alone.
//
// With -work the folder keeps what was found, so that the next run goes on from
// there, such as after -for 2m. To try a breakage once more, delete its line in
// results.txt. equivalent.txt lists the breakages that change no behaviour,
// with reasons. They do not count.
package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

// modules are the modules whose files are broken.
var modules = []module{
	{
		folder:  ".",
		folders: []string{".", "router", "internal/call", "internal/wire", "internal/walk", "internal/punycode"},
		also:    []string{".", "internal/e2e"},
	},
	{
		folder: "store",
		folders: []string{
			"store/internal/batch", "store/internal/sqlitefile", "store/internal/tables", "store/internal/template",
			"store/internal/waiting", "store/mirror", "store/outbox", "store/postback",
		},
		also: []string{"store/mirror", "store/outbox", "store/postback"},
	},
}

type module struct {
	folder string
	// folders are the folders of its packages, from the root of the repository.
	folders []string
	// also are the folders whose tests count for the root and for the folders
	// of internal.
	also []string
}

// tests returns the folders whose tests count for a folder, in the order in
// which they run.
func (m module) tests(folder string) []string {
	if folder != "." && !strings.Contains(folder, "internal/") {
		return []string{folder}
	}
	others := slices.DeleteFunc(slices.Clone(m.also), func(also string) bool { return also == folder })
	return append([]string{folder}, others...)
}

type verdict string

const (
	noticed   verdict = "noticed"
	timedOut  verdict = "timed out"
	survived  verdict = "survived"
	unreached verdict = "not reached"
	// ownOnly is survived or unreached, if only the tests of the same folder
	// ran.
	ownOnly    verdict = "not noticed by the tests of its folder"
	impossible verdict = "does not compile"
)

func run(ctx context.Context, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("mutate", flag.ContinueOnError)
	root := flags.String("root", "../..", "folder of the repository")
	sample := flags.Int("sample", 0, "how many breakages to try, at random; 0 = all")
	seed := flags.Uint64("seed", 1, "of the sample")
	files := flags.String("files", ".", "regular expression of the files to break")
	atOnce := flags.Int("j", 2, "breakages tried at once")
	own := flags.Bool("own", false, "run only the tests of the same folder, to save time")
	work := flags.String("work", "", "folder for what was found; empty = a temporary one")
	limit := flags.Duration("for", 0, "end after this time; 0 = when all is done")
	if err := flags.Parse(args); err != nil {
		return err
	}
	pattern, err := regexp.Compile(*files)
	if err != nil {
		return fmt.Errorf("-files: %w", err)
	}
	if *work == "" {
		if *work, err = os.MkdirTemp("", "mutate"); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(*work) }()     // the system cleans up the rest
		if err := os.Chmod(*work, 0o755); err != nil { //nolint:gosec // PostgreSQL runs as another user
			return err
		}
	}
	if *limit > 0 {
		limited, cancel := context.WithTimeout(ctx, *limit)
		defer cancel()
		ctx = limited
	}
	equivalent, err := readEquivalents(filepath.Join(*root, "checks", "mutate", "equivalent.txt"))
	if err != nil {
		return err
	}
	r, err := newRunner(ctx, *root, *work, pattern)
	if err != nil {
		return err
	}
	r.own = *own
	chosen := slices.DeleteFunc(slices.Clone(r.mutants), func(m *mutant) bool { return !pattern.MatchString(m.file) })
	all := len(chosen)
	if *sample > 0 && *sample < all {
		random := rand.New(rand.NewPCG(*seed, 0)) //nolint:gosec // a seed makes it repeatable
		random.Shuffle(all, func(i, k int) { chosen[i], chosen[k] = chosen[k], chosen[i] })
		chosen = chosen[:*sample]
	}
	fmt.Fprintf(out, "%d of %d breakages, seed %d\n", len(chosen), all, *seed)
	results, err := openResults(filepath.Join(*work, "results.txt"))
	if err != nil {
		return err
	}
	err = r.prepare(ctx, out, chosen, *atOnce)
	if err == nil {
		err = try(ctx, r, chosen, results, *atOnce)
	}
	report(out, chosen, equivalent, results)
	return errors.Join(err, results.file.Close())
}

// try judges the mutants without a result. Those that are compiled alone come
// last.
func try(ctx context.Context, r *runner, chosen []*mutant, results *results, atOnce int) error {
	var todo []*mutant
	for _, m := range chosen {
		if v := results.known[m.name()]; v == "" || v == ownOnly && !r.own {
			todo = append(todo, m)
		}
	}
	slices.SortStableFunc(todo, func(a, b *mutant) int {
		return cmp.Compare(min(1, len(b.switched)), min(1, len(a.switched)))
	})
	return inParallel(ctx, todo, atOnce, func(m *mutant) error {
		v, err := r.judge(ctx, m)
		if err != nil {
			return fmt.Errorf("%s:%d: %w", m.file, m.line, err)
		}
		return results.add(m.name(), v)
	})
}

// inParallel calls f with each item. It ends early when ctx is done, and
// returns all errors.
func inParallel[T any](ctx context.Context, items []T, atOnce int, f func(T) error) error {
	var wg sync.WaitGroup
	slots, failed := make(chan struct{}, atOnce), make([]error, len(items))
	for i, item := range items {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if ctx.Err() == nil {
				failed[i] = f(item)
			}
		})
	}
	wg.Wait()
	return cmp.Or(ctx.Err(), errors.Join(failed...))
}

// report lists what was not noticed, and counts for each folder.
func report(out io.Writer, chosen []*mutant, equivalent map[string]bool, results *results) {
	counts := make(map[string]map[verdict]int)
	var folders []string
	const same, all = "same behaviour", "all"
	for _, m := range chosen {
		v := results.known[m.name()]
		switch {
		case v == "":
			continue
		case equivalent[m.name()] && (v == survived || v == unreached || v == ownOnly):
			v = same
		case v == survived || v == unreached || v == ownOnly:
			fmt.Fprintf(out, "%s: %s:%d: %s\n", v, m.file, m.line, m.name())
		}
		folder := path.Dir(m.file)
		if counts[folder] == nil {
			counts[folder] = make(map[verdict]int)
			folders = append(folders, folder)
		}
		counts[folder][v]++
		counts[folder][all]++
	}
	slices.Sort(folders)
	for _, folder := range folders {
		c := counts[folder]
		good, bad := c[noticed]+c[timedOut], c[survived]+c[unreached]+c[ownOnly]
		fmt.Fprintf(out, "%s: noticed %d of %d that change behaviour (%.1f %%), %d of them by a timeout; "+
			"%d survived, %d not reached; %d known to change none; %d do not compile\n",
			folder, good, good+bad, 100*float64(good)/float64(max(1, good+bad)), c[timedOut],
			c[survived]+c[ownOnly], c[unreached], c[same], c[impossible])
	}
}

// readEquivalents reads names of mutants, each with a reason behind a #.
func readEquivalents(name string) (map[string]bool, error) {
	known := make(map[string]bool)
	return known, readLines(name, func(line string) error {
		name, reason, ok := strings.Cut(line, " # ")
		if !ok || reason == "" {
			return fmt.Errorf("no reason given: %s", line)
		}
		known[name] = true
		return nil
	})
}

// results are the verdicts of a work folder.
type results struct {
	mu    sync.Mutex
	known map[string]verdict
	file  *os.File
}

func openResults(name string) (*results, error) {
	r := &results{known: make(map[string]verdict)}
	err := readLines(name, func(line string) error {
		v, mutant, _ := strings.Cut(line, ": ")
		r.known[mutant] = verdict(v)
		return nil
	})
	if err != nil {
		return nil, err
	}
	//nolint:gosec // a file of the caller
	r.file, err = os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	return r, err
}

func (r *results) add(name string, v verdict) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[name] = v
	_, err := fmt.Fprintf(r.file, "%s: %s\n", v, name)
	return err
}

// readLines reads the lines of a file. A file that does not exist has none.
func readLines(name string, use func(line string) error) error {
	file, err := os.Open(name) //nolint:gosec // a file of the repository or of the caller
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if lines.Text() == "" {
			continue
		}
		if err := use(lines.Text()); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return lines.Err()
}
