// Package release_test makes a release of the checkout in temporary folders,
// and installs it as users do. It needs git, and modules of others from a proxy
// or from the cache of modules.
package release_test

import (
	"archive/zip"
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
)

const (
	module  = "github.com/clixnow/clixnow-go"
	version = "v" + clixnow.Version
)

// TestArchive builds the archive for Linux as the workflow of a release does,
// unpacks it, and runs the program.
func TestArchive(t *testing.T) {
	t.Parallel()
	if runtime.GOOS+"/"+runtime.GOARCH != "linux/amd64" {
		t.Skip("the archive is for linux/amd64")
	}
	repo := checkout(t)
	// Nothing is signed, because only the workflow has an identity.
	run(t, repo, []string{"CLIXNOW_ONE_TARGET=1"}, "go", "tool", "-modfile=tools/release.mod",
		"goreleaser", "release", "--snapshot", "--clean", "--skip=sign")
	archives := filepath.Join(repo, "dist", "archives")
	run(t, archives, nil, "sha256sum", "--check", "--strict", "checksums.txt")

	found, err := filepath.Glob(filepath.Join(archives, "clixnow_*_linux_amd64.tar.gz"))
	require.NoError(t, err)
	require.Len(t, found, 1)
	empty := t.TempDir()
	run(t, empty, nil, "tar", "--strip-components=1", "-xzf", found[0])
	for _, name := range []string{
		"LICENSE", "README.md", "docs/clixnow.md", "deploy/clixnow-gateway.service", "deploy/alerts.yml",
		"licenses/go/LICENSE", "licenses/modernc.org/sqlite/LICENSE", "licenses/golang.org/x/net/LICENSE",
	} {
		assert.FileExists(t, filepath.Join(empty, name))
	}
	parts, err := os.ReadFile(strings.TrimSuffix(found[0], ".tar.gz") + ".cdx.json")
	require.NoError(t, err)
	assert.Contains(t, string(parts), `"pkg:golang/modernc.org/sqlite@v`)

	commit := strings.TrimSpace(run(t, repo, nil, "git", "rev-parse", "--short=12", "HEAD"))
	tryProgram(t, filepath.Join(empty, "clixnow"), commit)
}

// TestInstall installs the modules from a proxy that has them as .ci/release
// tags them.
func TestInstall(t *testing.T) {
	t.Parallel()
	repo := checkout(t)
	run(t, repo, nil, ".ci/release", version)
	proxy := newProxy(t, repo)
	shared := strings.TrimSpace(run(t, repo, nil, "go", "env", "GOMODCACHE"))
	others := strings.TrimSpace(run(t, repo, nil, "go", "env", "GOPROXY"))
	bin := t.TempDir()
	env := []string{
		"GOPROXY=file://" + proxy + ",file://" + shared + "/cache/download," + others,
		"GONOSUMDB=" + module,
		"GOMODCACHE=" + t.TempDir(),
		"GOBIN=" + bin,
		"CGO_ENABLED=0",
		"GOFLAGS=-modcacherw " + os.Getenv("GOFLAGS"), // so that what is compiled already is used
	}

	empty := t.TempDir()
	run(t, empty, env, "go", "install", module+"/cmd/clixnow@"+version)
	tryProgram(t, filepath.Join(bin, "clixnow"), clixnow.Version)

	t.Run("program of a user", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		source, err := os.ReadFile("../snippets/program/main.go")
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), source, 0o600))
		run(t, dir, env, "go", "mod", "init", "example.com/user")
		run(t, dir, env, "go", "get", module+"@"+version)
		assert.Contains(t, run(t, dir, env, "go", "run", "."), "registered lead")
		// The module requires more, which only its tests need.
		built := strings.Fields(run(t, dir, env, "go", "list", "-deps",
			"-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}", "."))
		slices.Sort(built)
		assert.Equal(t, []string{module, "github.com/google/go-querystring"}, slices.Compact(built))
	})
	t.Run("program that uses store", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		const source = "package main\n\nimport _ \"" + module + "/store/outbox\"\n\nfunc main() {}\n"
		require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o600))
		run(t, dir, env, "go", "mod", "init", "example.com/user")
		run(t, dir, env, "go", "get", module+"/store/outbox@"+version)
		run(t, dir, env, "go", "run", ".")
		assert.Contains(t, run(t, dir, env, "go", "list", "-m", "all"), module+" "+version+"\n")
	})
	for name, limit := range map[string]uint64{"": 3 << 20, "/store": 1 << 20, "/cmd/clixnow": 4 << 20} {
		t.Run("files of the root"+name, func(t *testing.T) {
			t.Parallel()
			checkFiles(t, filepath.Join(proxy, module+name, "@v", version+".zip"), limit)
		})
	}
}

// checkFiles checks that the zip of a module has no files that its users do not
// need, such as results of a test.
func checkFiles(t *testing.T, name string, limit uint64) {
	t.Helper()
	files, err := zip.OpenReader(name)
	require.NoError(t, err)
	defer func() { assert.NoError(t, files.Close()) }()
	var total uint64
	var names []string
	known := regexp.MustCompile(`\.(go|mod|sum|md|png|svg|html|css|js|toml|csv|jsonl?|txt|txtar|sql|ya?ml|xlsx)$` +
		`|/deploy/[\w-]+\.(service|socket)$|/(LICENSE|\.git\w+|\.ci/\w+)$|/testdata/fuzz/\w+/\w+$`)
	for _, file := range files.File {
		total += file.UncompressedSize64
		names = append(names, path.Base(file.Name))
		assert.Less(t, file.UncompressedSize64, uint64(300<<10), file.Name)
		assert.Regexp(t, known, file.Name)
	}
	assert.Less(t, total, limit)
	assert.Contains(t, names, "LICENSE")
	assert.Contains(t, names, "go.mod")
	assert.NotContains(t, names, "release_test.go", "checks is another module")
}

// tryProgram runs a program clixnow that a user has just installed.
func tryProgram(t *testing.T, program, version string) {
	t.Helper()
	empty := t.TempDir()
	home := []string{"HOME=" + empty, "XDG_CONFIG_HOME=" + empty}
	assert.Regexp(t, `^clixnow version \S*`+regexp.QuoteMeta(version)+`\n$`, run(t, empty, home, program, "--version"))
	assert.Contains(t, run(t, empty, home, program, "help"), "clixnow lead")
	serving := start(t, empty, home, program, "serve", "--demo", "--listen", "127.0.0.1:0",
		"--admin", "127.0.0.1:0")
	address := serving.find(t, `Open the sign-ups: (http://[^/?\s]+)`)
	status, body := post(t, address+"/signups", `{"firstName":"Allison","lastName":"Brown",
		"email":"allison@example.com","phone":"+41795550101","password":"Pass-word-1","countryCode":"CH"}`, nil)
	assert.Equal(t, http.StatusOK, status, body)
	assert.Contains(t, body, `"status":"registered"`)

	mocking := start(t, empty, home, program, "mock", "--addr", "127.0.0.1:0")
	address = mocking.find(t, `(http://127[^/?\s]+)`)
	status, body = post(t, address+"/api/system/v1/leads", `{}`, http.Header{"Authorization": {"ApiToken wrong"}})
	assert.Equal(t, http.StatusUnauthorized, status, body)
	entries, err := os.ReadDir(empty)
	require.NoError(t, err)
	assert.Empty(t, entries, "nothing is left behind")
}

func post(t *testing.T, url, body string, header http.Header) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	require.NoError(t, err)
	if header != nil {
		req.Header = header
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(content)
}

// checkout returns a new repository with the files of this one, those without a
// commit too. CHANGELOG.md has a section for the release.
func checkout(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	repo := t.TempDir()
	run(t, repo, nil, "git", "init", "--quiet")
	run(t, repo, nil, "git", "config", "user.name", "test")
	run(t, repo, nil, "git", "config", "user.email", "test@example.com")
	run(t, root, nil, "git", "--git-dir="+filepath.Join(repo, ".git"), "--work-tree=.", "add", "--all")
	run(t, repo, nil, "git", "commit", "--quiet", "-m", "Copy the checkout")
	run(t, repo, nil, "git", "reset", "--quiet", "--hard")
	changes, err := os.ReadFile(filepath.Join(repo, "CHANGELOG.md"))
	require.NoError(t, err)
	changes = bytes.Replace(changes, []byte("\n## [Unreleased]\n"), []byte("\n## ["+clixnow.Version+"]\n"), 1)
	require.NoError(t, os.WriteFile(filepath.Join(repo, "CHANGELOG.md"), changes, 0o600))
	run(t, repo, nil, "git", "commit", "--quiet", "--all", "--allow-empty", "-m", "Name the release")
	return repo
}

// newProxy returns the folder of a proxy that has the modules of repo. Go makes
// their files from the tags, as a public proxy does.
func newProxy(t *testing.T, repo string) string {
	t.Helper()
	cache := t.TempDir()
	run(t, t.TempDir(), []string{
		"GOMODCACHE=" + cache, "GOFLAGS=-modcacherw", "GOPRIVATE=" + module, "GIT_CONFIG_COUNT=1",
		"GIT_CONFIG_KEY_0=url.file://" + repo + ".insteadOf", "GIT_CONFIG_VALUE_0=https://" + module,
	}, "go", "mod", "download", module+"@"+version, module+"/store@"+version, module+"/cmd/clixnow@"+version)
	return filepath.Join(cache, "cache", "download")
}

// run returns the output of a command that must succeed.
func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), name, args...)
	command.Dir, command.Env = dir, append(command.Environ(), env...)
	var problems bytes.Buffer
	command.Stderr = &problems
	output, err := command.Output()
	require.NoError(t, err, "%s %s\n%s%s", name, strings.Join(args, " "), output, &problems)
	return string(output)
}

// running is a program that runs, and what it has printed.
type running struct {
	mu  sync.Mutex
	out bytes.Buffer
}

// start runs a program until the test ends. Then the program must stop by
// itself after a signal.
func start(t *testing.T, dir string, env []string, name string, args ...string) *running {
	t.Helper()
	r := new(running)
	command := exec.Command(name, args...) //nolint:noctx // it ends by a signal
	command.Dir, command.Env = dir, append(command.Environ(), env...)
	command.Stdout, command.Stderr = r, r
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		assert.NoError(t, command.Process.Signal(os.Interrupt))
		assert.NoError(t, command.Wait(), "%s", &r.out)
	})
	return r
}

func (r *running) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.Write(p)
}

// find waits until the program has printed a text, and returns its group.
func (r *running) find(t *testing.T, pattern string) string {
	t.Helper()
	var found []string
	require.Eventually(t, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		found = regexp.MustCompile(pattern + `[/?\s]`).FindStringSubmatch(r.out.String())
		return found != nil
	}, time.Minute, 10*time.Millisecond)
	return found[1]
}
