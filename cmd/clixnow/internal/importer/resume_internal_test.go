package importer

import (
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
)

const (
	childEnv = "CLIXNOW_IMPORTER_CHILD"
	// limitEnv is the largest size of the files that the child can write.
	limitEnv = "CLIXNOW_IMPORTER_FILE_LIMIT"
)

// limitFiles makes writes fail as on a full disk, after a part was written. The
// limit is a number of bytes. "" means no limit.
func limitFiles(limit string) {
	if size, err := strconv.ParseUint(limit, 10, 64); err == nil {
		_ = syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: size})
	}
}

// progress makes the progress of an import that began an hour ago and died.
func (f *fixture) progress(t *testing.T, states map[int]state) {
	t.Helper()
	rows := f.leads(t)
	l, err := openLedger(f.folder, rows.owner(f.Brand, f.URL))
	require.NoError(t, err)
	for line, with := range states {
		with.Since = time.Now().Add(-time.Hour)
		require.NoError(t, l.update(line, func(s *state) { *s = with }))
	}
	require.NoError(t, l.db.Close())
}

// inFlight returns the progress of an import that died while these lines were
// in flight.
func inFlight(lines ...int) map[int]state {
	states := make(map[int]state)
	for _, line := range lines {
		states[line] = state{Outcome: unknown, Pending: 1}
	}
	return states
}

func (f *fixture) leads(t *testing.T) *leads {
	t.Helper()
	rows, err := openLeads(settings{file: f.file})
	require.NoError(t, err)
	t.Cleanup(func() { _ = rows.file.Close() })
	return rows
}

// TestResume checks that a run registers each lead once, whatever the progress
// was when the run before it died.
func TestResume(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		prepare func(t *testing.T, f *fixture)
		// want has the outcomes of the three leads.
		want     [3]string
		searches bool
	}{
		"before the first run": {
			func(*testing.T, *fixture) {},
			[3]string{"registered", "registered", "registered"},
			false,
		},
		"empty database": {
			func(t *testing.T, f *fixture) { f.write(t, filepath.Join(f.folder, databaseName), "") },
			[3]string{"registered", "registered", "registered"},
			false,
		},
		"half of the results": {
			func(t *testing.T, f *fixture) {
				f.progress(t, nil)
				f.write(t, filepath.Join(f.folder, resultsName), "line,outc")
				f.write(t, filepath.Join(f.folder, resultsName+".tmp"), strings.Repeat("x", 500))
			}, [3]string{"registered", "registered", "registered"}, false,
		},
		"before a POST": {
			func(t *testing.T, f *fixture) { f.progress(t, inFlight(2)) },
			[3]string{"registered", "registered", "registered"},
			true,
		},
		"after a POST": {
			func(t *testing.T, f *fixture) {
				f.progress(t, inFlight(2))
				f.createLeads(t, 1)
			}, [3]string{"recovered", "registered", "registered"}, true,
		},
		"after a POST and a result": {
			func(t *testing.T, f *fixture) {
				f.createLeads(t, 2)
				f.progress(t,
					map[int]state{2: {Outcome: unknown, Pending: 1}, 3: {Outcome: registered, LeadID: 123457}})
			}, [3]string{"recovered", "registered", "registered"}, true,
		},
		"during the second try of a row that was not sent": {
			func(t *testing.T, f *fixture) {
				f.createLeads(t, 1)
				f.progress(t, map[int]state{2: {Outcome: unknown, Pending: 1, Error: "not sent"}})
			}, [3]string{"recovered", "registered", "registered"}, true,
		},
		"after outcomes that are not final": {
			func(t *testing.T, f *fixture) {
				f.progress(t, map[int]state{2: {Outcome: "not sent"}, 3: {Outcome: "rate limited"}})
			}, [3]string{"registered", "registered", "registered"}, false,
		},
		"after a refusal that may pass": {
			func(t *testing.T, f *fixture) { f.progress(t, map[int]state{2: {Outcome: refusedForNow}}) },
			[3]string{"registered", "registered", "registered"},
			false,
		},
		"after an unknown outcome": {
			func(t *testing.T, f *fixture) {
				f.createLeads(t, 1)
				f.progress(t, map[int]state{2: {Outcome: unknown, Pending: 2, Error: "clixnow: a, b"}})
			}, [3]string{"recovered", "registered", "registered"}, true,
		},
		"after a recovery": {
			func(t *testing.T, f *fixture) {
				f.createLeads(t, 1)
				f.progress(t, map[int]state{2: {Outcome: recovered, LeadID: 123456}})
			}, [3]string{"recovered", "registered", "registered"}, false,
		},
		"after a refusal": {
			func(t *testing.T, f *fixture) {
				f.progress(t, map[int]state{2: {Outcome: registered, LeadID: 1}, 3: {Outcome: refused}})
			}, [3]string{"registered", "refused", "registered"}, false,
		},
	}
	for _, refusesDuplicates := range []bool{true, false} {
		for name, test := range tests {
			t.Run(fmt.Sprintf("%s, API refuses duplicates %t", name, refusesDuplicates), func(t *testing.T) {
				t.Parallel()
				var opts []clixnowtest.Option
				if !refusesDuplicates {
					opts = append(opts, clixnowtest.WithoutDuplicateCheck())
				}
				f := newFixture(t, csvOf(3), opts...)
				test.prepare(t, f)
				f.run(t)
				assert.Equal(t, map[int]string{2: test.want[0], 3: test.want[1], 4: test.want[2]}, f.outcomes(t),
					f.output.String())
				seen := make(map[string]int)
				for _, lead := range f.Leads() {
					seen[lead.Email]++
				}
				for email, n := range seen {
					assert.Equal(t, 1, n, email)
				}
				searches := false
				for _, request := range f.Requests() {
					searches = searches || request.Method == http.MethodGet
				}
				assert.Equal(t, test.searches, searches, "it searches only if it must, because that takes seconds")
			})
		}
	}
}

// createLeads creates the leads of the first n rows on the server, as an
// earlier run would have done.
func (f *fixture) createLeads(t *testing.T, n int) {
	t.Helper()
	rows := f.leads(t)
	client := f.Client()
	defer client.CloseIdleConnections()
	for record, err := range rows.records() {
		require.NoError(t, err)
		if n--; n < 0 {
			break
		}
		_, err = client.CreateLead(t.Context(), rows.row(record).lead)
		require.NoError(t, err)
	}
}

func TestRefusedFolders(t *testing.T) {
	t.Parallel()
	const belongs = "leads.csv.import belongs to "
	tests := map[string]struct {
		prepare func(t *testing.T, f *fixture)
		flags   []string
		says    string
	}{
		"other file": {
			func(t *testing.T, f *fixture) { f.write(t, f.file, csvOf(2)) }, nil,
			belongs +
				"another file, or to this one before it was changed: if you have added rows, put only these into " +
				"a new file; another --folder would send all rows again\n",
		},
		"other brand": {
			func(_ *testing.T, f *fixture) { f.Brand = "other" }, nil,
			belongs + `brand "acme": choose another --folder`,
		},
		"other host": {
			func(_ *testing.T, f *fixture) { f.URL = "http://127.0.0.1:1" }, nil,
			belongs + "another --base-url: choose another --folder\n",
		},
		"other columns": {
			func(*testing.T, *fixture) {},
			[]string{"--map", "clickId=sub2"},
			belongs +
				"other flags for columns, phones or countries: give these again; " +
				"another --folder would send all rows again\n",
		},
		"other country": {
			func(*testing.T, *fixture) {},
			[]string{"--default-country", "DE"},
			belongs +
				"other flags for columns, phones or countries: give these again; " +
				"another --folder would send all rows again\n",
		},
		"file that is no database": {
			func(t *testing.T, f *fixture) {
				f.write(t, filepath.Join(f.folder, databaseName), strings.Repeat("line,outcome,lead_id,error\n", 999))
			}, nil,
			"open the progress in",
		},
		"half of a database": {
			func(t *testing.T, f *fixture) {
				require.NoError(t, os.Truncate(filepath.Join(f.folder, databaseName), 5000))
			},
			nil, "open the progress in",
		},
		"in use": {
			func(t *testing.T, f *fixture) {
				l, err := openLedger(f.folder, f.leads(t).owner(f.Brand, f.URL))
				require.NoError(t, err)
				t.Cleanup(func() { assert.NoError(t, l.db.Close()) })
			}, nil,
			"another import is running in",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, csvOf(1))
			require.Equal(t, app.CodeDone, f.run(t))
			before := len(f.Requests())
			test.prepare(t, f)
			assert.Equal(t, app.CodeUsage, f.run(t, test.flags...))
			assert.Contains(t, f.output.String(), test.says)
			assert.Len(t, f.Requests(), before)
		})
	}
}

// TestKilled kills the importer many times at random moments, with an API that
// is slow and loses requests. At the end each lead must exist once, with the id
// that the results give.
func TestKilled(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]clixnowtest.Option{
		"API that refuses duplicates": nil,
		"API that takes duplicates":   {clixnowtest.WithoutDuplicateCheck()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kill(t, 20, opts)
		})
	}
}

func kill(t *testing.T, kills int, opts []clixnowtest.Option) {
	t.Helper()
	f := newFixture(t, csvOf(8*kills), opts...)
	var arrived atomic.Int64
	delay := func() { time.Sleep(rand.N(20 * time.Millisecond)) }
	slow := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		arrived.Add(1)
		delay()
		if r.Method == http.MethodPost && rand.IntN(8) == 0 {
			f.Inject(clixnowtest.Fault{Method: http.MethodPost, Drop: clixnowtest.Drop(1 + rand.IntN(3))})
		}
		f.ServeHTTP(rw, r)
		delay()
	}))
	slow.Config.ErrorLog = log.New(io.Discard, "", 0)
	slow.Start()
	defer slow.Close()
	f.URL = slow.URL

	killed := 0
	for ; killed < kills; killed++ {
		if !f.runAndKill(t, &arrived) {
			break
		}
	}
	assert.GreaterOrEqual(t, killed, 15)
	for range 5 { // outcomes may stay unknown in the first runs
		if code := f.run(t); code == app.CodeDone {
			break
		}
	}
	results := make(map[string][]string)
	counts := make(map[string]int)
	for _, record := range f.records(t) {
		counts[record[1]]++
		if record[2] != "" {
			results[record[2]] = append(results[record[2]], record[0])
		}
	}
	t.Logf("%d kills: %v", killed, counts)
	assert.Positive(t, counts["recovered"])
	require.Len(t, f.Leads(), 8*kills)
	for _, lead := range f.Leads() {
		var n int
		_, err := fmt.Sscanf(lead.Email, "lead%d@", &n)
		require.NoError(t, err)
		assert.Equal(t, []string{strconv.Itoa(n + 1)}, results[strconv.FormatInt(lead.ID, 10)],
			"%s has one result with its id", lead.Email)
	}
}

// runAndKill starts the importer and kills it at a random moment, mostly after
// its first request. It returns false if the importer ended by itself.
func (f *fixture) runAndKill(t *testing.T, arrived *atomic.Int64) bool {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	child := exec.CommandContext(t.Context(), self, f.args()...)
	child.Env = append(os.Environ(), childEnv+"=1", "CLIXNOW_TOKEN="+token)
	var output strings.Builder
	child.Stdout, child.Stderr = &output, &output
	before := arrived.Load()
	require.NoError(t, child.Start())
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	early := rand.IntN(4) == 0
	for deadline := time.Now().Add(time.Minute); !early && arrived.Load() == before && len(ended) == 0 &&
		time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	select {
	case err = <-ended:
	case <-time.After(rand.N(80 * time.Millisecond)):
		_ = child.Process.Kill() // this fails if the importer has just ended
		err = <-ended
	}
	if child.ProcessState.Exited() {
		require.Contains(t, []int{app.CodeDone, app.CodeLater, app.CodeDoubt}, child.ProcessState.ExitCode(),
			"%v: %s", err,
			output.String())
		return false
	}
	return true
}
