package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app/apptest"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/database"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/gateway"
	"github.com/clixnow/clixnow-go/internal/postgrestest"
)

// childEnv is set if a test starts this binary as the program.
const childEnv = "GATEWAY_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		code := execute(ctx, &app.App{Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv}, os.Args[1:])
		stop()
		os.Exit(code)
	}
	// The tests wait most of the time. A -parallel on the command line replaces
	// this.
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// execute runs a command and returns its exit code.
func execute(ctx context.Context, a *app.App, args []string) int {
	defer a.Close()
	root := app.Root(a, gateway.Serve(a), gateway.Work(a), gateway.Backup(a))
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintln(a.Err, "clixnow:", app.Explain(err))
	}
	return app.Code(err)
}

// eachDatabase runs a test with an SQLite file and with a PostgreSQL database.
func eachDatabase(t *testing.T, test func(t *testing.T, address string)) {
	t.Helper()
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		test(t, t.TempDir()+"/a name?#%.db")
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		test(t, postgrestest.New(t).URL)
	})
}

// fakeAPI is a fake brand. Its redirect URLs are https, as those of a real one
// are.
type fakeAPI struct {
	*clixnowtest.Server

	// down is the status of all responses while the API is down. 0 means that
	// it is up.
	down atomic.Int64
	// redirect replaces the redirect URL. "" means that only the scheme is
	// changed.
	redirect atomic.Value
	url      string
}

func newFakeAPI(t *testing.T, options ...clixnowtest.Option) *fakeAPI {
	t.Helper()
	f := &fakeAPI{Server: clixnowtest.NewHandler(options...)}
	f.redirect.Store("")
	links := regexp.MustCompile(`"redirectUrl":"http://[^"]*"`)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status := f.down.Load(); status != 0 {
			w.WriteHeader(int(status))
			return
		}
		recorded := httptest.NewRecorder()
		f.ServeHTTP(recorded, r)
		maps.Copy(w.Header(), recorded.Header())
		body := links.ReplaceAllFunc(recorded.Body.Bytes(), func(link []byte) []byte {
			if other := f.redirect.Load().(string); other != "" {
				return fmt.Appendf(nil, `"redirectUrl":%q`, other)
			}
			return bytes.Replace(link, []byte("http:"), []byte("https:"), 1)
		})
		w.Header().Del("Content-Length")
		w.WriteHeader(recorded.Code)
		_, _ = w.Write(body)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	t.Cleanup(func() {
		f.Close()
		server.Close()
	})
	f.url = server.URL
	return f
}

// configure writes a configuration with a brand, and returns its file. more is
// added to its table [gateway].
func (f *fakeAPI) configure(t *testing.T, more string) string {
	t.Helper()
	folder := t.TempDir()
	token := filepath.Join(folder, "token")
	require.NoError(t, os.WriteFile(token, []byte(f.Token), 0o600))
	file := filepath.Join(folder, "config.toml")
	if !strings.Contains(more, "rate =") {
		more = "rate = 0\n" + more
	}
	text := fmt.Sprintf("[gateway]\n%s\n[brands.%s]\nbase_url = %q\ntoken_file = \"token\"\n", more, f.Brand, f.url)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// program is "clixnow serve" in this process.
type program struct {
	public, admin string
	log           *apptest.Output
	// stop stops it and returns the exit code.
	stop func() int
}

// start starts the program with a database. more is added to the configuration,
// and args to the command line.
func start(t *testing.T, api *fakeAPI, address, more string, args ...string) *program {
	t.Helper()
	p := &program{log: new(apptest.Output)}
	args = append([]string{
		"serve", "--config", api.configure(t, more), "--db", address, "--listen", "127.0.0.1:0", "--admin",
		"127.0.0.1:0",
		"--wait", "1m", "--workers", "8",
	}, args...)
	p.stop = inBackground(t, p.log, args...)
	p.public = p.find(t, `serving the sign-ups" url=(\S+)/`)
	p.admin = p.find(t, `serving the admin page" url=(\S+)/`)
	return p
}

// inBackground runs a command until the test or the returned function ends it.
func inBackground(t *testing.T, out *apptest.Output, args ...string) (stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	go func() {
		ended <- execute(ctx, &app.App{Out: out, Err: out, Getenv: func(string) string { return "" }}, args)
	}()
	stop = sync.OnceValue(func() int {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { _ = stop() })
	return stop
}

// runCommand runs a command that ends by itself. If it does not, it is stopped
// after minutes, and its code is 0.
func runCommand(t *testing.T, args ...string) (code int, output string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out apptest.Output
	a := &app.App{Out: &out, Err: &out, Getenv: func(string) string { return "" }}
	return execute(ctx, a, args), out.String()
}

// find waits until the log matches an expression, and returns the first group.
func (p *program) find(t *testing.T, expression string) string {
	t.Helper()
	var match []string
	eventually(t, func() bool {
		match = regexp.MustCompile(expression).FindStringSubmatch(p.log.String())
		return match != nil
	}, "the log has no %s:\n%s", expression, p.log)
	return match[1]
}

const (
	asJSON = "application/json"
	asForm = "application/x-www-form-urlencoded"

	password = "Password123!"
)

// reply is the response to a request.
type reply struct {
	code   int
	header http.Header
	body   string
}

func (r reply) json(t *testing.T) map[string]string {
	t.Helper()
	var fields map[string]any
	require.NoError(t, json.Unmarshal([]byte(r.body), &fields), r.body)
	texts := make(map[string]string)
	for name, value := range fields {
		if text, ok := value.(string); ok {
			texts[name] = text
		}
	}
	return texts
}

// send sends a request and does not follow redirects. It repeats it after a
// 503, as a visitor would, because the database of a busy machine can be slow.
func send(t *testing.T, method, address, contentType, body string, header ...string) (got reply) {
	t.Helper()
	eventually(t, func() bool {
		got = sendOnce(t, method, address, contentType, body, header...)
		return got.code != http.StatusServiceUnavailable
	})
	return got
}

func sendOnce(t *testing.T, method, address, contentType, body string, header ...string) reply {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	require.NoError(t, err)
	request.Close = true
	request.Header.Set("Content-Type", contentType)
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			request.Host = header[i+1]
			continue
		}
		request.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return reply{response.StatusCode, response.Header, string(text)}
}

// leadJSON returns a sign-up as a page sends it.
func leadJSON(clickID, email string) string {
	return fmt.Sprintf(`{"firstName":"Allison","lastName":"Brown","email":%q,"phone":%q,`+
		`"password":"Password123!","countryCode":"CH","clickId":%q}`, email, "+41"+email, clickID)
}

// leadForm is leadJSON as the values of a form.
func leadForm(clickID, email string) url.Values {
	return url.Values{
		"firstName": {"Allison"}, "lastName": {"Brown"}, "email": {email}, "phone": {"+41" + email},
		"password": {password}, "countryCode": {"CH"}, "clickId": {clickID},
	}
}

// openDB opens the database of a program.
func openDB(t *testing.T, address string) *database.Outbox {
	t.Helper()
	db, err := database.OpenOutbox(address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// readClosed returns the content of an SQLite file after its program has ended.
// It waits for the last connection, which rolls back what the end interrupted.
func readClosed(t *testing.T, file string) []byte {
	t.Helper()
	eventually(t, func() bool {
		_, err := os.Stat(file + "-wal")
		return errors.Is(err, fs.ErrNotExist)
	})
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	return data
}

// patience is how long tests wait. It is long, because the machine may be busy.
const patience = 3 * time.Minute

// eventually waits for a condition.
func eventually(t *testing.T, condition func() bool, message ...any) {
	t.Helper()
	for start := time.Now(); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > patience {
			require.Fail(t, "the condition is not met", message...)
		}
	}
}

// slowFault lets a create take so long that the answer to the visitor comes
// first.
func slowFault() clixnowtest.Fault {
	return clixnowtest.Fault{Method: http.MethodPost, Delay: 300 * time.Millisecond}
}
