package simulation_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestFaults puts each fault of testdata/faults.txtar into the code, and runs
// the simulation until it notices the fault, for at most ten minutes. It only
// runs if CLIXNOW_FAULTS is set, to a part of the name of a fault or to all.
//
// Each file of the archive is one fault. Its name has a description and, after
// a colon, the path of the file to change. Its text has the code to replace,
// a line =>, and the new code.
func TestFaults(t *testing.T) { //nolint:paralleltest // each fault uses all processors
	wanted := os.Getenv("CLIXNOW_FAULTS")
	if wanted == "" {
		t.Skip("SKIPPED: set CLIXNOW_FAULTS=all")
	}
	archive, err := txtar.ParseFile("testdata/faults.txtar")
	require.NoError(t, err)
	root, err := filepath.Abs("../../../..")
	require.NoError(t, err)
	noticed, missed := 0, []string(nil)
	for _, file := range archive.Files {
		if wanted != "all" && !strings.Contains(file.Name, wanted) {
			continue
		}
		name, path, _ := strings.Cut(file.Name, ": ")
		binary := buildWith(t, filepath.Join(root, filepath.FromSlash(path)), string(file.Data))
		began := time.Now()
		if notices(t, binary) {
			noticed++
			t.Logf("noticed after %4.0f s: %s", time.Since(began).Seconds(), name)
		} else {
			missed = append(missed, name)
			t.Logf("NOT noticed in %4.0f s: %s", time.Since(began).Seconds(), name)
		}
	}
	t.Logf("%d faults noticed, %d not: %q", noticed, len(missed), missed)
	assert.LessOrEqual(t, len(missed), 2)
}

// buildWith builds the tests of this package with a change of one file.
func buildWith(t *testing.T, path, change string) (binary string) {
	t.Helper()
	before, after, ok := strings.Cut(strings.TrimSuffix(change, "\n"), "\n=>\n")
	require.True(t, ok, change)
	source, err := os.ReadFile(filepath.Clean(path))
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(source), before), "%s must have this once:\n%s", path, before)
	folder := t.TempDir()
	changed, overlay := filepath.Join(folder, "changed.go"), filepath.Join(folder, "overlay.json")
	require.NoError(t, os.WriteFile(changed, []byte(strings.Replace(string(source), before, after, 1)), 0o600))
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{path: changed}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(overlay, replace, 0o600))
	binary = filepath.Join(folder, "simulation.test")
	output, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", binary,
		".").CombinedOutput()
	require.NoError(t, err, "%s", output)
	return binary
}

// notices reports whether the simulation fails.
func notices(t *testing.T, binary string) bool {
	t.Helper()
	command := exec.CommandContext(t.Context(), binary, "-test.run=^TestSimulation$", "-test.failfast",
		"-test.timeout=10m")
	command.Env = append(os.Environ(), "CLIXNOW_LONG=1")
	output, err := command.CombinedOutput()
	// The end of the time is no failure of the simulation.
	return err != nil && !strings.Contains(string(output), "panic: test timed out after 10m")
}
