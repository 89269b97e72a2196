package gateway_test

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app/apptest"
	"github.com/clixnow/clixnow-go/internal/postgrestest"
)

// TestDemo checks that everything works in an empty folder with one command.
func TestDemo(t *testing.T) {
	t.Parallel()
	p := &program{log: new(apptest.Output)}
	p.stop = inBackground(t, p.log, "serve", "--demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
	public := p.find(t, `Open the sign-ups: (http://127\.0\.0\.1:\d+/)\?clickid=`)
	admin := p.find(t, `Open the admin page: (http://127\.0\.0\.1:\d+/)\n`)
	folder := filepath.Dir(p.find(t, `opened the database" database=(\S+)`))
	for n, country := range []string{"CH", "FR"} {
		body := strings.Replace(leadJSON(country, country+"@example.com"), `"CH"`, `"`+country+`"`, 1)
		got := send(t, "POST", public+"signups", asJSON, body)
		assert.Equal(t, http.StatusOK, got.code, got.body)
		p.find(t, []string{"brand=(demo) ", "brand=(demo2) "}[n])
	}
	assert.Contains(t, send(t, "GET", admin+"?status=registered", "", "").body, "FR@example.com")
	assert.Equal(t, "ok\n", send(t, "GET", admin+"healthz", "", "").body)
	assert.Zero(t, p.stop())
	assert.NoFileExists(t, folder)
}

// TestPrivateFiles checks that only the owner can read the files, and that a
// backup can be made while the gateway runs.
func TestPrivateFiles(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t)
	folder := t.TempDir()
	address, target := folder+"/signups.db", folder+"/backup.db"
	p := start(t, api, address, "", "--wait", "0s")
	api.SetToken("another")
	got := send(t, "POST", p.public+"/signups", asJSON, leadJSON("c", "visitor@example.com"))
	require.Equal(t, http.StatusAccepted, got.code, got.body)
	code, output := runCommand(t, "backup", "--db", address, target)
	assert.Zero(t, code, output)
	assert.Contains(t, output, "it has passwords: keep it secret")
	assert.NotContains(t, output, password)
	files, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 3)
	for _, file := range files {
		info, err := file.Info()
		require.NoError(t, err)
		assert.Equal(t, fs.FileMode(0o600), info.Mode(), file.Name())
	}
	code, output = runCommand(t, "backup", "--db", address, target)
	assert.Equal(t, 2, code)
	assert.Contains(t, output, target+" exists already")
	assert.Zero(t, p.stop())

	config := api.configure(t, "")
	code, output = runCommand(t, "backup", "--config", config, "--db", target, "--restored")
	assert.Zero(t, code, output)
	assert.Contains(t, output, "1 sign-ups waited when the backup was made; they are searched for before they are sent")
	var brand string
	row := openDB(t, target).QueryRowContext(t.Context(), "SELECT attempt_brand FROM outbox_signups")
	require.NoError(t, row.Scan(&brand))
	assert.Equal(t, "acme", brand)
}

// TestPasswordsLeaveNoTrace checks case P10 for the whole program.
func TestPasswordsLeaveNoTrace(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t)
	folder := t.TempDir()
	p := start(t, api, folder+"/signups.db", "")
	for _, n := range []string{"1", "2", "3"} {
		got := send(t, "POST", p.public+"/signups", asJSON, leadJSON(n, n+"@example.com"))
		require.Equal(t, http.StatusOK, got.code, got.body)
	}
	for _, path := range []string{"/", "/?status=registered", "/signups.csv", "/metrics", "/healthz"} {
		body := send(t, "GET", p.admin+path, "", "").body
		assert.NotContains(t, body, password, path)
		assert.NotContains(t, body, "autologin", path)
	}
	assert.Zero(t, p.stop())
	files, err := filepath.Glob(folder + "/*")
	require.NoError(t, err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		assert.NotContains(t, string(data), password, file)
	}
	assert.NotContains(t, p.log.String(), password)
}

// TestSecondProcess checks that a second process cannot work with an SQLite
// file, and says why.
func TestSecondProcess(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t)
	address := t.TempDir() + "/signups.db"
	start(t, api, address, "")
	code, output := runCommand(t, "serve", "--config", api.configure(t, ""), "--db", address, "--listen", "127.0.0.1:0",
		"--admin", "")
	assert.Equal(t, 1, code)
	assert.Contains(t, output, "another process works with this SQLite database")
	assert.Contains(t, output, "stop that process first, or use PostgreSQL")
}

// TestWork checks that a process can work for another one that accepts
// sign-ups.
func TestWork(t *testing.T) {
	t.Parallel()
	address := postgrestest.New(t).URL
	api := newFakeAPI(t)
	config := api.configure(t, "")
	p := &program{log: new(apptest.Output)}
	stop := inBackground(t, p.log, "work", "--config", config, "--db", address, "--admin", "127.0.0.1:0")
	admin := p.find(t, `serving the admin page" url=(\S+)/`)
	assert.NotContains(t, p.log.String(), "sign-ups\" url")
	server := start(t, api, address, "", "--workers", "1")
	for _, n := range []string{"1", "2", "3", "4"} {
		got := send(t, "POST", server.public+"/signups", asJSON, leadJSON(n, n+"@example.com"))
		assert.Equal(t, http.StatusOK, got.code, got.body)
	}
	assert.Contains(t, send(t, "GET", admin+"/?status=registered", "", "").body, "4@example.com")
	code, output := runCommand(t, "backup", "--db", address, t.TempDir()+"/x")
	assert.Equal(t, 2, code)
	assert.Contains(t, output, "use pg_dump or a standby")
	assert.Zero(t, stop())
	assert.Zero(t, server.stop())
}

// TestTokenKey checks that any process of a database knows the tokens of the
// others, also after a restart.
func TestTokenKey(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t)
	address := t.TempDir() + "/signups.db"
	p := start(t, api, address, "", "--wait", "0s")
	api.Inject(slowFault())
	got := send(t, "POST", p.public+"/signups", asJSON, leadJSON("c", "visitor@example.com"))
	require.Equal(t, http.StatusAccepted, got.code, got.body)
	assert.Zero(t, p.stop())
	p = start(t, api, address, "", "--wait", "0s")
	statusURL := got.json(t)["statusUrl"]
	eventually(t, func() bool { return send(t, "GET", p.public+statusURL, "", "").code == http.StatusOK })
	assert.Zero(t, p.stop())

	api.SetToken("another")
	p = start(t, api, address, "", "--wait", "0s")
	assert.Equal(t, http.StatusNotFound, send(t, "GET", p.public+statusURL, "", "").code)
}

// TestAdminNeedsLogin checks that the admin page is not served to other
// machines without a login.
func TestAdminNeedsLogin(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t)
	code, output := runCommand(t, "serve", "--config", api.configure(t, ""), "--db", t.TempDir()+"/s.db",
		"--listen", "127.0.0.1:0", "--admin", "0.0.0.0:0")
	assert.Equal(t, 2, code)
	assert.Contains(t, output, "--admin: ")
	assert.Contains(t, output, "login")
}
