package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/database"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"clixnow": main})
}

// TestScripts runs the program as a user does. Each file of testdata/script is
// a script. It may use two more commands: "clixnow", which also checks the exit
// code, and "fake", which controls a fake brand.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("XDG_CONFIG_HOME", env.WorkDir+"/config")
			env.Setenv("NO_PROXY", "*")
			env.Values[brand{}] = new(brand)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "fake": fake},
	})
}

// exits runs clixnow and checks its exit code: exits CODE ARGUMENTS...
func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec("clixnow", args[1:]...)
	code := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("the exit code is %d, not %s", code, args[0])
	}
}

// brand is the fake brand of a script.
type brand struct {
	*clixnowtest.Server
	tracker *tracker
}

// tracker is a fake tracker, which records the postbacks that it accepts.
type tracker struct {
	*httptest.Server
	mu       sync.Mutex
	accepted []string
	refuse   bool
}

func newTracker() *tracker {
	tr := &tracker{}
	tr.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		if tr.refuse {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		tr.accepted = append(tr.accepted, r.RequestURI)
		_, _ = io.WriteString(w, "OK")
	}))
	return tr
}

// check checks the number of postbacks. If a regular expression is given, one
// of them must match it.
func (tr *tracker) check(ts *testscript.TestScript, number int, args []string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if len(tr.accepted) != number {
		ts.Fatalf("there are %d postbacks, not %d: %q", len(tr.accepted), number, tr.accepted)
	}
	for _, pattern := range args {
		if !slices.ContainsFunc(tr.accepted, regexp.MustCompile("^"+pattern).MatchString) {
			ts.Fatalf("no postback matches %s: %q", pattern, tr.accepted)
		}
	}
}

func (tr *tracker) setRefuse(refuse bool) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.refuse = refuse
}

// dayLater changes the times in the tables of postbacks as if a day had passed.
func dayLater(ts *testscript.TestScript, file string) {
	db, err := database.Open(ts.MkAbs(file))
	ts.Check(err)
	defer func() { _ = db.Close() }()
	earlier := func(column string) string {
		return column + " = strftime('%Y-%m-%dT%H:%M:%S.000000Z', " + column + ", '-25 hours')"
	}
	for _, statement := range []string{
		"UPDATE postback_queue SET " + earlier("waiting_since") + ", " + earlier("due_at") + ", " +
			earlier("failing_since"),
		"UPDATE postback_destinations SET " + earlier("failing_since") + ", " + earlier("paused_until"),
	} {
		_, err := db.ExecContext(context.Background(), statement)
		ts.Check(err)
	}
}

// fake starts and controls a fake brand:
//
//	fake start [KEY=VALUE...]  starts it and sets the environment
//	fake tls DAYS              starts it with a certificate of so many days,
//	                           which it writes to certificate.pem
//	fake add N                 adds leads that were created in November 2021
//	fake new EMAIL             adds a lead that is created now
//	fake fault KEY=VALUE...    adds a fault
//	fake status ID TEXT        changes the status of a lead
//	fake token TEXT            changes the token
//	fake wait N                waits until N requests have arrived
//	fake more N                waits until N more requests have arrived
//	fake idle                  waits until no request arrives any more
//	fake deposit ID            adds a first deposit to a lead
//	fake tracker FILE...       starts a fake tracker, and replaces TRACKER in
//	                           files by its URL
//	fake refuse, fake accept   change what the tracker answers
//	fake postbacks N [REGEXP]  checks the number of postbacks, and one of them
//	fake dayLater DB           lets postbacks wait for a day more
//	fake leads N               checks the number of leads
//	fake posts N               checks the number of creates
func fake(ts *testscript.TestScript, _ bool, args []string) {
	b := ts.Value(brand{}).(*brand)
	verb, args := args[0], args[1:]
	number := func() int {
		n, err := strconv.Atoi(args[0])
		ts.Check(err)
		return n
	}
	switch verb {
	case "tls":
		days := number()
		b.Server = clixnowtest.NewHandler()
		s := httptest.NewUnstartedServer(b.Server)
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate(ts, days)}}
		s.StartTLS()
		ts.Defer(s.Close)
		ts.Setenv("CLIXNOW_BASE_URL", s.URL)
		ts.Setenv("CLIXNOW_BRAND", b.Brand)
		ts.Setenv("CLIXNOW_TOKEN", b.Token)
	case "start":
		b.Server = clixnowtest.NewServer(options(ts, args)...)
		ts.Defer(b.Close)
		ts.Setenv("CLIXNOW_BASE_URL", b.URL)
		ts.Setenv("CLIXNOW_BRAND", b.Brand)
		ts.Setenv("CLIXNOW_TOKEN", b.Token)
	case "add":
		for i := range number() {
			created := time.Date(2021, time.November, 2+i%20, 10, 20, 30, 456789000, time.UTC)
			b.AddLeads(clixnow.Lead{
				Email: fmt.Sprintf("visitor%d@example.com", i+1), Status: "New", ClickID: fmt.Sprint("c-", i+1),
				CreatedOn: created,
			})
		}
	case "new":
		b.AddLeads(clixnow.Lead{Email: args[0], Status: "New"})
	case "fault":
		b.Inject(fault(ts, args))
	case "status":
		status := strings.ReplaceAll(args[1], `\e`, "\x1b")
		ts.Check(b.UpdateLead(int64(number()), func(lead *clixnow.Lead) { lead.Status = status }))
	case "deposit":
		ts.Check(b.UpdateLead(int64(number()), func(lead *clixnow.Lead) { lead.FTDDate = time.Now() }))
	case "tracker":
		b.tracker = newTracker()
		ts.Defer(b.tracker.Close)
		for _, file := range args {
			text := strings.ReplaceAll(ts.ReadFile(file), "TRACKER", b.tracker.URL)
			ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o600))
		}
	case "refuse", "accept":
		b.tracker.setRefuse(verb == "refuse")
	case "postbacks":
		b.tracker.check(ts, number(), args[1:])
	case "dayLater":
		dayLater(ts, args[0])
	case "token":
		b.SetToken(args[0])
	case "idle":
		for last := -1; last != len(b.Requests()); time.Sleep(300 * time.Millisecond) {
			last = len(b.Requests())
		}
	case "more":
		args[0] = strconv.Itoa(len(b.Requests()) + number())
		fallthrough
	case "wait":
		for deadline := time.Now().Add(30 * time.Second); len(b.Requests()) < number(); {
			if time.Now().After(deadline) {
				ts.Fatalf("only %d requests have arrived", len(b.Requests()))
			}
			time.Sleep(5 * time.Millisecond)
		}
	case "leads":
		if len(b.Leads()) != number() {
			ts.Fatalf("there are %d leads, not %s", len(b.Leads()), args[0])
		}
	case "posts":
		posts := 0
		for _, request := range b.Requests() {
			if request.Method == "POST" {
				posts++
			}
		}
		if posts != number() {
			ts.Fatalf("there were %d creates, not %s", posts, args[0])
		}
	default:
		ts.Fatalf("unknown command of fake: %s", verb)
	}
}

// certificate makes a certificate that expires after a number of days.
func certificate(ts *testscript.TestScript, days int) tls.Certificate {
	public, private, err := ed25519.GenerateKey(nil)
	ts.Check(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true,
		BasicConstraintsValid: true, NotBefore: time.Now().AddDate(0, 0, -30),
		// An hour more, so that the rest of the day does not count.
		NotAfter: time.Now().AddDate(0, 0, days).Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	ts.Check(err)
	file := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	ts.Check(os.WriteFile(ts.MkAbs("certificate.pem"), file, 0o600))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}

// options reads the arguments of "fake start".
func options(ts *testscript.TestScript, args []string) (all []clixnowtest.Option) {
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "hide":
			all = append(all, clixnowtest.WithHiddenFields(value))
		case "precision":
			precision, err := time.ParseDuration(value)
			ts.Check(err)
			all = append(all, clixnowtest.WithFilterPrecision(precision))
		case "exclusive":
			all = append(all, clixnowtest.WithExclusiveBounds())
		case "countries":
			all = append(all, clixnowtest.WithCountries(value))
		case "full":
			all = append(all, clixnowtest.WithCapacity(0, value))
		case "pages":
			limit, err := strconv.Atoi(value)
			ts.Check(err)
			all = append(all, clixnowtest.WithPageLimit(limit))
		case "zone":
			zone, err := time.LoadLocation(value)
			ts.Check(err)
			all = append(all, clixnowtest.WithDateZone(zone))
		default:
			ts.Fatalf("unknown option of fake: %s", arg)
		}
	}
	return all
}

// fault reads the arguments of "fake fault".
func fault(ts *testscript.TestScript, args []string) (f clixnowtest.Fault) {
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		var err error
		switch key {
		case "method":
			f.Method = value
		case "status":
			f.Status, err = strconv.Atoi(value)
		case "times":
			f.Times, err = strconv.Atoi(value)
		case "delay":
			f.Delay, err = time.ParseDuration(value)
		case "header":
			name, text, _ := strings.Cut(value, ":")
			f.Header = http.Header{name: {text}}
		case "body":
			f.Body = value
		case "lost":
			f.Drop = clixnowtest.DropAfterHandling
		default:
			ts.Fatalf("unknown word of a fault: %s", arg)
		}
		ts.Check(err)
	}
	return f
}

// TestNoSecretFlags checks that no flag and no argument takes a secret, because
// other users of the machine can see them. A flag may name a file that has one.
func TestNoSecretFlags(t *testing.T) {
	t.Parallel()
	secret := regexp.MustCompile(`(?i)token|passw|secret|credential|^key$|-key`)
	flags := 0
	var check func(cmd *cobra.Command)
	check = func(cmd *cobra.Command) {
		assert.NotRegexp(t, secret, cmd.Use)
		for _, set := range []*pflag.FlagSet{cmd.LocalFlags(), cmd.PersistentFlags()} {
			set.VisitAll(func(f *pflag.Flag) {
				flags++
				kind, _ := pflag.UnquoteUsage(f)
				if secret.MatchString(f.Name) && kind != "FILE" {
					assert.Equal(t, "hash-password USER", f.Name+" "+kind, cmd.CommandPath())
				}
			})
		}
		for _, sub := range cmd.Commands() {
			check(sub)
		}
	}
	check(commands(&app.App{Getenv: func(string) string { return "" }}))
	assert.Greater(t, flags, 50)
}

// TestHelp asks each command for help.
func TestHelp(t *testing.T) {
	t.Parallel()
	var paths [][]string
	var collect func(*cobra.Command, []string)
	collect = func(cmd *cobra.Command, path []string) {
		paths = append(paths, path)
		for _, child := range cmd.Commands() {
			collect(child, append(slices.Clip(path), child.Name()))
		}
	}
	root := commands(new(app.App))
	root.InitDefaultCompletionCmd("x")
	root.InitDefaultHelpCmd()
	collect(root, nil)
	require.Greater(t, len(paths), 10)
	for _, path := range paths {
		t.Run(strings.Join(path, " "), func(t *testing.T) {
			t.Parallel()
			for _, args := range [][]string{append(slices.Clip(path), "--help"), append([]string{"help"}, path...)} {
				var out, errs bytes.Buffer
				getenv := func(string) string { return "" }
				a := &app.App{In: strings.NewReader(""), Out: &out, Err: &errs, Getenv: getenv}
				assert.Zero(t, execute(t.Context(), a, commands(a), args))
				assert.Empty(t, errs.String())
				assert.NotEmpty(t, out.String())
				for line := range strings.Lines(strings.ReplaceAll(out.String(), "\t", "        ")) {
					assert.LessOrEqual(t, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")), 80, line)
				}
				assert.NotContains(t, strings.Join(path, " ")+out.String(), "(default \"\")")
			}
		})
	}
}
