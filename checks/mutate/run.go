//go:build unix

package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

//go:embed runtime.go.txt
var runtimeSource string

var runtimeImports = []string{"cmp", "fmt", "os", "strconv", "sync/atomic"}

type runner struct {
	root, work string
	mutants    []*mutant
	// sources holds the text of each file.
	sources map[string][]byte
	// programs are the tests of each folder.
	programs map[string]*program
	// own reports that only the tests of the same folder count.
	own bool
}

// tests returns the folders whose tests count for a folder of a module.
func (r *runner) tests(m module, folder string) []string {
	if r.own {
		return []string{folder}
	}
	return m.tests(folder)
}

// program is the test program of a folder.
type program struct {
	folder, path string
	// Tests are its tests and, for a slow test, its subtests.
	Tests map[string]*test
}

// test is what a test or a subtest did when it ran alone.
type test struct {
	CPU    time.Duration `json:"cpu"`
	Time   time.Duration `json:"time"`
	Failed bool          `json:"failed"`
	// Reached are the ids of the mutants that it reached.
	Reached []int `json:"reached"`
	// Subtests are the names of its subtests, if it is slow.
	Subtests []string `json:"subtests"`
}

// newRunner finds the mutants of each module. It prepares to switch those of
// the packages with a file that matches pattern.
func newRunner(ctx context.Context, root, work string, pattern *regexp.Regexp) (*runner, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	work, err = filepath.Abs(work)
	if err != nil {
		return nil, err
	}
	r := &runner{root: root, work: work, sources: make(map[string][]byte), programs: make(map[string]*program)}
	for _, m := range modules {
		if _, err := os.Stat(filepath.Join(root, m.folder, "go.mod")); err != nil {
			continue // a test of this program has fewer modules
		}
		if err := r.breakModule(ctx, m, pattern); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// listed is what go list tells about a package.
type listed struct {
	Dir        string   `json:"Dir"`
	ImportPath string   `json:"ImportPath"`
	Name       string   `json:"Name"`
	Export     string   `json:"Export"`
	GoFiles    []string `json:"GoFiles"`
}

// breakModule finds the mutants of a module, and writes an overlay for the go
// command with those of the packages with a file that matches pattern.
func (r *runner) breakModule(ctx context.Context, m module, pattern *regexp.Regexp) error {
	args := []string{"list", "-export", "-deps", "-json=Dir,ImportPath,Name,Export,GoFiles", "./..."}
	list := exec.CommandContext(ctx, "go", append(args, runtimeImports...)...) //nolint:gosec // fixed arguments
	list.Dir = filepath.Join(r.root, m.folder)
	list.Stderr = os.Stderr
	output, err := list.Output()
	if err != nil {
		return fmt.Errorf("go list: %w", err)
	}
	exports := make(map[string]string)
	var packages []listed
	for decoder := json.NewDecoder(bytes.NewReader(output)); decoder.More(); {
		var p listed
		if err := decoder.Decode(&p); err != nil {
			return err
		}
		exports[p.ImportPath] = p.Export
		if folder, err := filepath.Rel(r.root, p.Dir); err == nil && slices.Contains(m.folders, folder) {
			packages = append(packages, p)
		}
	}
	c := &checker{
		set: token.NewFileSet(), next: 1,
		lookup: func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) },
	}
	replaced := make(map[string]string)
	for _, p := range packages {
		folder, err := filepath.Rel(r.root, p.Dir)
		if err != nil {
			return err
		}
		sources := make(map[string][]byte)
		for _, name := range p.GoFiles {
			file := path.Join(filepath.ToSlash(folder), name)
			//nolint:gosec // a file of the module
			if sources[file], err = os.ReadFile(filepath.Join(p.Dir, name)); err != nil {
				return err
			}
		}
		maps.Copy(r.sources, sources)
		mutants, broken, err := c.breakPackage(p, sources)
		if err != nil {
			return err
		}
		r.mutants = append(r.mutants, mutants...)
		if !slices.ContainsFunc(slices.Collect(maps.Keys(sources)), pattern.MatchString) {
			continue
		}
		for file, text := range broken {
			name := filepath.Join(r.work, "src", file)
			err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, text, 0o600))
			if err != nil {
				return err
			}
			replaced[filepath.Join(r.root, file)] = name
		}
	}
	return writeOverlay(r.overlay(m), replaced)
}

func (r *runner) overlay(m module) string {
	return filepath.Join(r.work, "src", m.folder, "overlay.json")
}

func writeOverlay(name string, replaced map[string]string) error {
	text, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return err
	}
	return errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, text, 0o600))
}

// checker checks types.
type checker struct {
	set    *token.FileSet
	lookup importer.Lookup
	// next is the id of the next mutant.
	next int
}

// breakPackage returns the mutants of a package, and its files with all of
// them. A mutant that does not compile among the others is left to be compiled
// alone.
func (c *checker) breakPackage(p listed, sources map[string][]byte) ([]*mutant, map[string][]byte, error) {
	var mutants []*mutant
	trees, info, local, failed, err := c.check(p, sources)
	if err = errors.Join(append(failed, err)...); err != nil {
		return nil, nil, err
	}
	for _, file := range slices.Sorted(maps.Keys(sources)) {
		f := &finder{file: file, source: sources[file], set: c.set, info: info, local: local, next: c.next}
		f.find(trees[file])
		c.next = f.next
		mutants = append(mutants, f.found...)
	}
	for {
		broken := make(map[string][]byte)
		for file, source := range sources {
			var edits []edit
			for _, m := range mutants {
				if m.file == file {
					edits = append(edits, m.switched...)
				}
			}
			broken[file] = apply(source, edits)
		}
		own := path.Join(path.Dir(mutants[0].file), "zz_mutate.go")
		broken[own] = []byte("package " + p.Name + "\n" + runtimeSource)
		_, _, _, failed, err := c.check(p, broken)
		if err != nil {
			return nil, nil, err
		}
		if len(failed) == 0 {
			return mutants, broken, nil
		}
		dropped := false
		for _, err := range failed {
			var wrong types.Error
			_ = errors.As(err, &wrong)
			at := c.set.Position(wrong.Pos)
			for _, m := range mutants {
				if m.file == at.Filename && m.line == at.Line && m.switched != nil {
					m.switched, dropped = nil, true
				}
			}
		}
		if !dropped {
			return nil, nil, errors.Join(failed...)
		}
	}
}

func (c *checker) check(p listed, sources map[string][]byte) (
	trees map[string]*ast.File, info *types.Info, local *types.Package, failed []error, err error,
) {
	trees = make(map[string]*ast.File)
	var files []*ast.File
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		tree, err := parser.ParseFile(c.set, name, sources[name], parser.SkipObjectResolution)
		if err != nil {
			return nil, nil, nil, nil, err
		}
		trees[name] = tree
		files = append(files, tree)
	}
	info = &types.Info{
		Types: make(map[ast.Expr]types.TypeAndValue), Defs: make(map[*ast.Ident]types.Object),
		Uses: make(map[*ast.Ident]types.Object),
	}
	config := types.Config{
		Importer: importer.ForCompiler(c.set, "gc", c.lookup),
		Error:    func(err error) { failed = append(failed, err) },
	}
	local, _ = config.Check(p.ImportPath, c.set, files, info)
	return trees, info, local, failed, nil
}

// prepare builds the tests that the mutants need, and runs each test alone.
func (r *runner) prepare(ctx context.Context, out io.Writer, chosen []*mutant, atOnce int) error {
	for _, m := range modules {
		folders := make(map[string]bool)
		for _, mutant := range chosen {
			if folder := path.Dir(mutant.file); slices.Contains(m.folders, folder) {
				for _, tested := range r.tests(m, folder) {
					folders[tested] = true
				}
			}
		}
		for _, folder := range slices.Sorted(maps.Keys(folders)) {
			if _, err := os.Stat(filepath.Join(r.root, folder)); err != nil {
				continue // a test of this program has fewer folders
			}
			p := &program{
				folder: filepath.Join(r.root, folder),
				path:   filepath.Join(r.work, strings.ReplaceAll(folder, "/", "-")+".test"),
			}
			if err := r.build(ctx, r.overlay(m), p.path, folder); err != nil {
				return err
			}
			if err := r.measure(ctx, p, atOnce); err != nil {
				return fmt.Errorf("tests of %s: %w", folder, err)
			}
			for _, name := range slices.Sorted(maps.Keys(p.Tests)) {
				if p.Tests[name].Failed {
					fmt.Fprintf(out, "left out, because it fails alone: %s in %s\n", name, folder)
				}
			}
			r.programs[folder] = p
		}
	}
	return nil
}

// build builds a test program.
func (r *runner) build(ctx context.Context, overlay, program, folder string) error {
	//nolint:gosec // these are our own files
	build := exec.CommandContext(ctx, "go", "test", "-c", "-overlay", overlay, "-o", program, ".")
	build.Dir = filepath.Join(r.root, folder)
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go test -c in %s: %w\n%s", folder, err, output)
	}
	return nil
}

// slow is how long a test with subtests takes at least whose subtests run one
// by one.
const slow = time.Second

// measure runs each test of a program alone, and each subtest of a slow test.
// A file beside the program keeps the results as long as the program stays the
// same.
func (r *runner) measure(ctx context.Context, p *program, atOnce int) error {
	binary, err := os.ReadFile(p.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // there are no tests
	}
	if err != nil {
		return err
	}
	kept := fmt.Sprintf("%s-%x.json", p.path, sha256.Sum256(binary))
	p.Tests = make(map[string]*test)
	if text, err := os.ReadFile(kept); err == nil { //nolint:gosec // a file of the work folder
		if err := json.Unmarshal(text, &p.Tests); err != nil {
			return err
		}
	}
	list := exec.CommandContext(ctx, p.path, "-test.list", ".") //nolint:gosec // our own file
	list.Dir = p.folder
	output, err := list.Output()
	if err != nil {
		return err
	}
	names := regexp.MustCompile(`(?m)^(Test|Example|Fuzz)\w*$`).FindAllString(string(output), -1)
	err = r.runAlone(ctx, p, names, atOnce)
	var parts []string
	for _, name := range names {
		if t := p.Tests[name]; t != nil {
			parts = append(parts, t.Subtests...)
		}
	}
	err = errors.Join(err, r.runAlone(ctx, p, parts, atOnce))
	text, failed := json.Marshal(p.Tests)
	//nolint:gosec // a file of the work folder
	if err := errors.Join(err, failed, os.WriteFile(kept, text, 0o600)); err != nil {
		return err
	}
	for _, name := range names {
		p.divide(p.Tests[name])
	}
	return nil
}

// divide leaves to a test only the mutants that none of its subtests reaches.
func (p *program) divide(t *test) {
	reached := make(map[int]bool)
	for _, name := range t.Subtests {
		if part := p.Tests[name]; !part.Failed {
			for _, id := range part.Reached {
				reached[id] = true
			}
		}
	}
	t.Reached = slices.DeleteFunc(t.Reached, func(id int) bool { return reached[id] })
}

// runAlone runs each of the tests alone that did not run before.
func (r *runner) runAlone(ctx context.Context, p *program, names []string, atOnce int) error {
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return p.Tests[name] != nil })
	var mu sync.Mutex
	return inParallel(ctx, names, atOnce, func(name string) error {
		file, err := os.CreateTemp(r.work, "reached")
		if err != nil {
			return err
		}
		defer func() { _ = errors.Join(file.Close(), os.Remove(file.Name())) }()
		result, err := r.start(ctx, p, p.path, unlimited, []string{name}, "MUTANTS_REACHED="+file.Name())
		if err != nil {
			return err
		}
		t := &test{CPU: result.cpu, Time: result.time, Failed: result.verdict != survived}
		if t.Time > slow && !strings.Contains(name, "/") {
			t.Subtests = subtests(name, result.output)
		}
		text, err := io.ReadAll(file)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			if id, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && !slices.Contains(t.Reached, id) {
				t.Reached = append(t.Reached, id)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		p.Tests[name] = t
		return nil
	})
}

// subtests returns the subtests of a test that the output of -test.v shows. One
// alone would only repeat the test.
func subtests(name string, output []byte) (names []string) {
	pattern := regexp.MustCompile(`(?m)^=== RUN +(` + name + `/[^/\n]+)$`)
	for _, match := range pattern.FindAllSubmatch(output, -1) {
		names = append(names, string(match[1]))
	}
	if len(names) < 2 {
		return nil
	}
	return names
}

// judge runs the tests that reach a mutant, the quickest first.
func (r *runner) judge(ctx context.Context, m *mutant) (verdict, error) {
	index := slices.IndexFunc(modules, func(a module) bool { return slices.Contains(a.folders, path.Dir(m.file)) })
	alone := m.switched == nil
	if alone {
		if v, err := r.compiles(ctx, m); v == impossible || err != nil {
			return v, err
		}
	}
	v := unreached
	for _, folder := range r.tests(modules[index], path.Dir(m.file)) {
		p := r.programs[folder]
		if p == nil {
			continue
		}
		batches := p.batches(func(t *test) bool { return alone || slices.Contains(t.Reached, m.id) })
		if len(batches) == 0 {
			continue
		}
		program := p.path
		if alone {
			program = r.overlayOf(m) + ".test"
			if err := r.build(ctx, r.overlayOf(m), program, folder); err != nil {
				return "", err
			}
		}
		for _, batch := range batches {
			if v, err := r.runBatch(ctx, p, program, batch, m.id); err != nil || v != survived {
				return v, err
			}
		}
		v = survived
	}
	if r.own && len(modules[index].tests(path.Dir(m.file))) > 1 {
		v = ownOnly
	}
	return v, nil
}

// batches returns the chosen tests, the quickest first. Each batch takes up to
// as long as those before it, because most breakages are noticed early. The
// last one has all tests with PostgreSQL, because its start takes long.
func (p *program) batches(chosen func(*test) bool) (batches [][]string) {
	names := slices.DeleteFunc(slices.Collect(maps.Keys(p.Tests)), func(name string) bool {
		t := p.Tests[name]
		return t.Failed || !chosen(t) || len(t.Subtests) > 0 && len(t.Reached) == 0
	})
	postgres := func(name string) int { return min(1, strings.Count(name, "Postgre")) }
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(postgres(a)-postgres(b), cmp.Compare(p.Tests[a].Time, p.Tests[b].Time), cmp.Compare(a, b))
	})
	size, used := time.Second, time.Duration(0)
	for i, name := range names {
		used += p.Tests[name].Time
		if i == 0 || postgres(name) > postgres(names[i-1]) || postgres(name) == 0 && used > size {
			batches = append(batches, nil)
			size, used = min(2*size, 16*time.Second), p.Tests[name].Time
		}
		batches[len(batches)-1] = append(batches[len(batches)-1], name)
	}
	return batches
}

// The limits of a run of tests. A breakage may make them use too much time, so
// they may take some times as long as usual, and this much in addition.
const (
	times    = 3
	moreCPU  = 2 * time.Second
	moreTime = 3 * time.Second
)

// limits are those of a run of tests.
type limits struct{ cpu, time time.Duration }

var unlimited = limits{time.Hour, time.Hour} //nolint:gochecknoglobals // a constant

// runBatch runs some tests with a mutant. A timeout counts only if the same
// tests without the mutant take at most half of the limit right afterwards.
// Otherwise the machine may be busy, and the tests run once more.
func (r *runner) runBatch(ctx context.Context, p *program, program string, tests []string, id int) (verdict, error) {
	var cpu, longest time.Duration
	for _, name := range tests {
		cpu += p.Tests[name].CPU
		longest = max(longest, p.Tests[name].Time)
	}
	limit := limits{times*cpu + moreCPU, times*(longest+cpu) + moreTime} // they run in parallel
	for {
		result, err := r.start(ctx, p, program, limit, tests, "MUTANT="+strconv.Itoa(id))
		if err != nil || !result.late {
			return result.verdict, err
		}
		usual, err := r.start(ctx, p, p.path, unlimited, tests, "MUTANT=0")
		if err != nil || 2*usual.time <= limit.time {
			return timedOut, err
		}
		limit.time = times*usual.time + moreTime
	}
}

func (r *runner) overlayOf(m *mutant) string { return filepath.Join(r.work, strconv.Itoa(m.id)) }

// compiles writes an overlay with one mutant, and reports whether it compiles.
func (r *runner) compiles(ctx context.Context, m *mutant) (verdict, error) {
	broken := r.overlayOf(m) + ".go"
	err := errors.Join(os.WriteFile(broken, m.apply(r.sources[m.file]), 0o600),
		writeOverlay(r.overlayOf(m), map[string]string{filepath.Join(r.root, m.file): broken}))
	if err != nil {
		return "", err
	}
	//nolint:gosec // these are our own files
	build := exec.CommandContext(ctx, "go", "build", "-overlay", r.overlayOf(m), "-o", os.DevNull, ".")
	build.Dir = filepath.Join(r.root, path.Dir(m.file))
	output, err := build.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err == nil:
		return survived, nil
	case !errors.As(err, &exit), !bytes.Contains(output, []byte(".go:")):
		return "", fmt.Errorf("go build: %w\n%s", err, output)
	}
	return impossible, nil
}

type result struct {
	verdict   verdict
	cpu, time time.Duration
	// late reports that the limit of the time ended it, not that of the CPU.
	late   bool
	output []byte
}

// start runs some tests of a program, with 10 GiB of address space. It ends all
// processes of the tests after a time limit.
func (r *runner) start(ctx context.Context, p *program, program string, limit limits, tests []string,
	variable string,
) (result, error) {
	temp, err := os.MkdirTemp(r.work, "tmp")
	if err != nil {
		return result{}, err
	}
	defer func() { _ = os.RemoveAll(temp) }()     // a new run does not need it to be gone
	if err := os.Chmod(temp, 0o755); err != nil { //nolint:gosec // PostgreSQL runs as another user
		return result{}, err
	}
	patterns := make([]string, len(tests))
	for i, name := range tests {
		patterns[i] = "^" + strings.ReplaceAll(regexp.QuoteMeta(name), "/", "$/^") + "$"
	}
	limited, cancel := context.WithTimeout(ctx, limit.time)
	defer cancel()
	//nolint:gosec // these are our own files
	run := exec.CommandContext(limited, "sh", "-c", `ulimit -v 10485760; ulimit -t "$1"; shift; exec "$@"`, "sh",
		strconv.Itoa(int(limit.cpu/time.Second)+1), program,
		"-test.v", "-test.short", "-test.failfast", "-test.run", strings.Join(patterns, "|"))
	run.Dir = p.folder
	run.Env = append(os.Environ(), variable, "TMPDIR="+temp)
	run.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	run.Cancel = func() error { return syscall.Kill(-run.Process.Pid, syscall.SIGKILL) }
	run.WaitDelay = time.Second // a process that outlives the tests may hold their output
	began := time.Now()
	output, err := run.Output()
	if ctx.Err() != nil {
		return result{}, ctx.Err()
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		return result{}, err
	}
	if run.Process != nil {
		_ = syscall.Kill(-run.Process.Pid, syscall.SIGKILL) // what the tests left behind
	}
	found := result{
		verdict: survived, time: time.Since(began), output: output,
		cpu: run.ProcessState.UserTime() + run.ProcessState.SystemTime(),
	}
	if exit != nil {
		found.verdict = noticed
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signal() == syscall.SIGKILL {
			found.verdict, found.late = timedOut, limited.Err() != nil
		}
	}
	return found, nil
}
