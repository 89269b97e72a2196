// Package npmtest installs npm packages for tests.
package npmtest

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// Install installs the versions of folder/package-lock.json, and returns the
// path of a file of node_modules. The user's cache keeps them.
func Install(t *testing.T, folder, file string) (path string) {
	t.Helper()
	lock, err := os.ReadFile(filepath.Join(folder, "package-lock.json"))
	require.NoError(t, err)
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	place := filepath.Join(cache, "clixnow-go", filepath.Base(folder)+fmt.Sprintf("-%x", sha256.Sum256(lock))[:15])
	path = filepath.Join(place, "node_modules", filepath.FromSlash(file))
	if _, err := os.Stat(path); err == nil {
		return path
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("SKIPPED: there is no npm to install it with: ", err)
	}
	require.NoError(t, os.MkdirAll(filepath.Dir(place), 0o700))
	//nolint:usetesting // in the same folder, because it is renamed
	temporary, err := os.MkdirTemp(filepath.Dir(place), "installing-")
	require.NoError(t, err)
	defer func() { require.NoError(t, os.RemoveAll(temporary)) }() // remove the rest of a failed installation
	for _, name := range []string{"package.json", "package-lock.json"} {
		data, err := os.ReadFile(filepath.Join(folder, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(temporary, name), data, 0o600))
	}
	command := exec.CommandContext(t.Context(), npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund",
		"--fetch-retries=1", "--fetch-retry-mintimeout=1000")
	command.Dir = temporary
	output, err := command.CombinedOutput()
	if err != nil && outOfReach(output) {
		t.Skipf("SKIPPED: npm is out of reach: %s", output)
	}
	require.NoError(t, err, "npm ci: %s", output)
	if err := os.Rename(temporary, place); err != nil { // another run may have installed it first
		require.FileExists(t, path, "%v", err)
	}
	return path
}

// outOfReach reports whether the output of npm says that there is no network.
func outOfReach(output []byte) bool {
	return regexp.MustCompile(`\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|` +
		`ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT)\b`).Match(output)
}
