package simulation_test

import (
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestFaults puts each fault of testdata/faults.txtar into the code, and runs
// histories until one of them notices the fault. It only runs if CLIXNOW_FAULTS
// is set, to a regular expression for the names of faults.
//
// Each file of the archive is one fault. Its name has a description and, after
// a colon, the path of the file to change. Its text has the code to replace,
// a line =>, and the new code.
func TestFaults(t *testing.T) {
	t.Parallel()
	pattern := os.Getenv("CLIXNOW_FAULTS")
	if pattern == "" {
		t.Skip("SKIPPED: set CLIXNOW_FAULTS=. to run all faults, which takes some minutes")
	}
	wanted := regexp.MustCompile(pattern)
	all := slices.DeleteFunc(readFaults(t), func(f defect) bool { return !wanted.MatchString(f.name) })
	switched := slices.DeleteFunc(slices.Clone(all), func(f defect) bool { return f.function(t) == nil })
	binary := build(t, withSwitches(t, switched))
	how, _, found := notices(t, binary, "none", "0-4")
	require.False(t, found, "the code without faults fails: %s", how)
	var mu sync.Mutex
	var missed []string
	t.Cleanup(func() {
		t.Logf("%d faults noticed, %d not: %q", len(all)-len(missed), len(missed), missed)
		assert.LessOrEqual(t, len(missed), 2)
	})
	for _, f := range all {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			run := binary
			if f.function(t) == nil {
				run = build(t, map[string]string{f.path: strings.Replace(f.source(t), f.before, f.after, 1)})
			}
			how, took, found := notices(t, run, f.name, "0-499") // about ten minutes of one processor
			if !found {
				mu.Lock()
				missed = append(missed, f.name)
				mu.Unlock()
			}
			result := map[bool]string{true: "noticed", false: "NOT noticed"}[found]
			t.Logf("%s after %.0f s: %s", result, took.Seconds(), how)
		})
	}
}

// TestFaultsFit checks that each fault is still a change of the code.
func TestFaultsFit(t *testing.T) {
	t.Parallel()
	all := readFaults(t)
	assert.GreaterOrEqual(t, len(all), 50)
	names := make(map[string]bool)
	for _, f := range all {
		assert.False(t, names[f.name], f.name)
		names[f.name] = true
		assert.Equal(t, 1, strings.Count(f.source(t), f.before), "%s: %s must have this once:\n%s", f.name, f.path,
			f.before)
	}
}

// defect is a fault that a programmer could make. After a change of the file at
// path it is there.
type defect struct{ name, path, before, after string }

func readFaults(t *testing.T) (all []defect) {
	t.Helper()
	archive, err := txtar.ParseFile("testdata/faults.txtar")
	require.NoError(t, err)
	root, err := filepath.Abs("../../../..")
	require.NoError(t, err)
	for _, file := range archive.Files {
		name, path, _ := strings.Cut(file.Name, ": ")
		before, after, ok := strings.Cut(strings.TrimSuffix(string(file.Data), "\n"), "\n=>\n")
		require.True(t, ok, name)
		all = append(all, defect{name, filepath.Join(root, filepath.FromSlash(path)), before, after})
	}
	return all
}

// source returns the file without the fault.
func (f defect) source(t *testing.T) string {
	t.Helper()
	source, err := os.ReadFile(f.path)
	require.NoError(t, err)
	return string(source)
}

// function returns the function that has the fault. It returns nil if the fault
// is not in the body of a function. Positions are offsets plus one.
func (f defect) function(t *testing.T) *ast.FuncDecl {
	t.Helper()
	source := f.source(t)
	file, err := parser.ParseFile(token.NewFileSet(), f.path, source, parser.SkipObjectResolution)
	require.NoError(t, err)
	at := token.Pos(strings.Index(source, f.before) + 1)
	for _, declared := range file.Decls {
		if function, ok := declared.(*ast.FuncDecl); ok && function.Body.Lbrace < at && at < function.Body.Rbrace {
			return function
		}
	}
	return nil
}

// withSwitches returns the files with all faults. One of them is there if its
// name is in the environment, so that only one program has to be built.
func withSwitches(t *testing.T, all []defect) (files map[string]string) {
	t.Helper()
	inserted := make(map[string]map[int]string) // by path and offset
	for _, f := range all {
		function, source := f.function(t), f.source(t)
		begin, end := int(function.Body.Lbrace), int(function.Body.Rbrace)
		body := strings.Replace(source[begin:end], f.before, f.after, 1)
		body = body[:strings.LastIndex(body, "}")]
		if function.Type.Results == nil {
			body += "\nreturn\n"
		}
		if inserted[f.path] == nil {
			inserted[f.path] = make(map[int]string)
		}
		inserted[f.path][begin] += fmt.Sprintf("\nif faultos.Getenv(\"CLIXNOW_FAULT\") == %q {%s}\n", f.name, body)
	}
	files = make(map[string]string)
	for path, texts := range inserted {
		source := defect{path: path}.source(t)
		for _, at := range slices.Backward(slices.Sorted(maps.Keys(texts))) {
			source = source[:at] + texts[at] + source[at:]
		}
		clause := regexp.MustCompile(`(?m)^package \w+$`)
		files[path] = clause.ReplaceAllString(source, `$0; import faultos "os"`)
	}
	return files
}

// build builds the tests of this package with other files.
func build(t *testing.T, files map[string]string) (binary string) {
	t.Helper()
	folder := t.TempDir()
	replace := make(map[string]string)
	for path, text := range files {
		replace[path] = filepath.Join(folder, fmt.Sprintf("%d.go", len(replace)))
		require.NoError(t, os.WriteFile(replace[path], []byte(text), 0o600))
	}
	overlay := filepath.Join(folder, "overlay.json")
	text, err := json.Marshal(map[string]any{"Replace": replace})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(overlay, text, 0o600))
	binary = filepath.Join(folder, "simulation.test")
	output, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-overlay",
		overlay, "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, "%s", output)
	return binary
}

// notices reports whether a history of these seeds fails, what it says first,
// and how much time of one processor the histories took.
func notices(t *testing.T, binary, fault, seeds string) (how string, took time.Duration, found bool) {
	t.Helper()
	const patience = time.Hour // a fault can also make the program repeat something for ever
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, binary, "-test.run=^TestSimulation$", "-test.failfast", "-test.timeout=2h")
	command.Env = append(os.Environ(), "GOMAXPROCS=1", "CLIXNOW_SEED="+seeds, "CLIXNOW_FAULT="+fault)
	output, err := command.CombinedOutput()
	took = command.ProcessState.UserTime() + command.ProcessState.SystemTime()
	if err == nil || ctx.Err() != nil {
		return "", took, false
	}
	for _, pattern := range []string{`(?s)Error:\s.*?Test:\s.*?\n`, `panic: .*`} {
		if text := regexp.MustCompile(pattern).FindString(string(output)); text != "" {
			return strings.Join(strings.Fields(text[:min(len(text), 600)]), " "), took, true
		}
	}
	return string(output[max(0, len(output)-300):]), took, true
}
