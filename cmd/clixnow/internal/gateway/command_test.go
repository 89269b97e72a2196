package gateway_test

import (
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/clixnowtest"
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
	api.Inject(clixnowtest.Fault{
		Method: "POST", Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"3600"}},
	})
	got := send(t, "POST", p.public+"/signups", asJSON, leadJSON("c", "visitor@example.com"))
	require.Equal(t, http.StatusAccepted, got.code, got.body)
	db := openDB(t, address)
	eventually(t, func() (ended bool) { // a sign-up with a try in progress is searched for anyway
		row := db.QueryRowContext(t.Context(), "SELECT next_try_at IS NOT NULL FROM outbox_signups")
		require.NoError(t, row.Scan(&ended))
		return ended
	})
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
	assert.Contains(t, output, ": 1 sign-ups are searched for before they are sent")
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

// TestRefusedByPostgreSQL checks that a wrong user or database is a mistake of
// the configuration, and that a server that does not answer is not.
func TestRefusedByPostgreSQL(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t)
	config, address := api.configure(t, ""), postgrestest.New(t).URL
	parsed, err := url.Parse(address)
	require.NoError(t, err)
	const advice = "check the user, the password and the database of --db"
	for name, test := range map[string]struct {
		change func(*url.URL)
		code   int
		want   string
	}{
		"no such database": {func(u *url.URL) { u.Path = "/missing" }, 2, advice},
		"no such user":     {func(u *url.URL) { u.User = url.User("stranger") }, 2, advice},
		"no server":        {func(u *url.URL) { u.Host = "127.0.0.1:1" }, 3, "run the command again"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			changed := *parsed
			test.change(&changed)
			code, output := runCommand(t, "serve", "--config", config, "--db", changed.String(),
				"--listen", "127.0.0.1:0", "--admin", "")
			assert.Equal(t, test.code, code, output)
			assert.Contains(t, output, test.want)
		})
	}
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

// TestTokenKeyOfSecret checks that a new token of a brand breaks no status page
// if servers have a secret, and that another secret does.
func TestTokenKeyOfSecret(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t)
	address := t.TempDir() + "/signups.db"
	p := start(t, api, address, withSecret(t), "--wait", "0s")
	api.Inject(slowFault())
	got := send(t, "POST", p.public+"/signups", asJSON, leadJSON("c", "visitor@example.com"),
		"Authorization", "Bearer "+secret)
	require.Equal(t, http.StatusAccepted, got.code, got.body)
	statusURL := got.json(t)["statusUrl"]
	assert.Zero(t, p.stop())

	api.SetToken("another")
	p = start(t, api, address, withSecret(t), "--wait", "0s")
	eventually(t, func() bool { return send(t, "GET", p.public+statusURL, "", "").code == http.StatusOK })
	assert.Zero(t, p.stop())

	file := filepath.Join(t.TempDir(), "other.secret")
	require.NoError(t, os.WriteFile(file, []byte("another-secret-of-servers"), 0o600))
	p = start(t, api, address, fmt.Sprintf("secret_file = %q\n", file), "--wait", "0s")
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

// TestRestoredWhileInUse checks that a database is marked as restored only if
// no gateway works with it, and that an old write-ahead log is not written into
// the restored file.
func TestRestoredWhileInUse(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t)
	address := t.TempDir() + "/a name?#%.db"
	config := api.configure(t, "")
	restored := func() (code int, output string) {
		return runCommand(t, "backup", "--config", config, "--db", address, "--restored")
	}
	p := start(t, api, address, "", "--wait", "0s")
	api.SetToken("another")
	got := send(t, "POST", p.public+"/signups", asJSON, leadJSON("c", "visitor@example.com"))
	require.Equal(t, http.StatusAccepted, got.code, got.body)
	p.log.WaitFor(t, "refuses the access") // now it has the lock
	code, output := restored()
	assert.Equal(t, 1, code)
	assert.Equal(t, "clixnow: another process works with this database: stop the gateway first\n", output)
	assert.Zero(t, p.stop())

	before := readClosed(t, address)
	require.NoError(t, os.WriteFile(address+"-wal", []byte("the log of another database"), 0o600))
	code, output = restored()
	assert.Equal(t, 2, code)
	assert.Contains(t, output, address+"-wal exists")
	assert.Contains(t, output, "delete "+address+"-wal and "+address+"-shm")
	after, err := os.ReadFile(address)
	require.NoError(t, err)
	assert.Equal(t, before, after)
	require.NoError(t, os.Remove(address+"-wal"))
	code, output = restored()
	assert.Zero(t, code, output)
}

// TestMalformedDatabase checks that the error names the files that damage a
// restored backup.
func TestMalformedDatabase(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t)
	address := t.TempDir() + "/signups.db"
	require.Zero(t, start(t, api, address, "").stop())
	data := readClosed(t, address)
	for i := 100; i < len(data); i++ {
		data[i] = 0xff
	}
	require.NoError(t, os.WriteFile(address, data, 0o600))
	code, output := runCommand(t, "serve", "--config", api.configure(t, ""), "--db", address, "--listen", "127.0.0.1:0",
		"--admin", "")
	assert.Equal(t, 2, code)
	assert.Contains(t, output, "delete FILE-wal and FILE-shm")
}

// TestRestoredWithSeveralBrands checks that the result says that a person must
// decide.
func TestRestoredWithSeveralBrands(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t)
	address := t.TempDir() + "/signups.db"
	p := start(t, api, address, "", "--wait", "0s")
	api.SetToken("another")
	require.Equal(t, http.StatusAccepted,
		send(t, "POST", p.public+"/signups", asJSON, leadJSON("c", "visitor@example.com")).code)
	assert.Zero(t, p.stop())
	db := openDB(t, address)
	_, err := db.ExecContext(t.Context(), "UPDATE outbox_signups SET attempt_brand = ''")
	require.NoError(t, err)
	require.NoError(t, db.Close()) // this also removes the write-ahead log
	other := fmt.Sprintf("\n[brands.beta]\nbase_url = %q\ntoken_file = \"token\"\n", api.url)
	code, output := runCommand(t, "backup", "--config", api.configure(t, other), "--db", address, "--restored")
	assert.Zero(t, code, output)
	assert.Contains(t, output, ": 1 sign-ups need a decision")
}
