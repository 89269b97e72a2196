package main

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
	"testing"
	"time"

	"github.com/gofrs/flock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/clixnowtest"
)

const childEnv = "CLIXNOW_IMPORTER_CHILD"

// journal writes the journal of an import that began an hour ago, started these
// lines and died.
func (f *fixture) journal(t *testing.T, lines ...int) {
	t.Helper()
	text := []string{f.fingerprint(t) + " " + time.Now().Add(-time.Hour).Format(time.RFC3339Nano)}
	for _, line := range lines {
		text = append(text, strconv.Itoa(line))
	}
	f.write(t, filepath.Join(f.folder, journalName), strings.Join(text, "\n")+"\n")
}

// fingerprint returns the fingerprint of the fixture's import.
func (f *fixture) fingerprint(t *testing.T) string {
	t.Helper()
	file, err := os.Open(f.file)
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	leads, err := openSheet(file, settings{comma: ","})
	require.NoError(t, err)
	found, err := leads.survey(nil)
	require.NoError(t, err)
	return leads.fingerprint(found, f.Brand, f.URL)
}

// TestResume checks that a run registers each lead once, whatever the progress
// was when the run before it died.
func TestResume(t *testing.T) {
	t.Parallel()
	const columns = "line,outcome,lead_id,error\n"
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
		"empty journal": {
			func(t *testing.T, f *fixture) { f.write(t, filepath.Join(f.folder, journalName), "") },
			[3]string{"registered", "registered", "registered"},
			false,
		},
		"half of the journal's first line": {
			func(t *testing.T, f *fixture) { f.write(t, filepath.Join(f.folder, journalName), f.fingerprint(t)) },
			[3]string{"registered", "registered", "registered"},
			false,
		},
		"half of the results' first line": {
			func(t *testing.T, f *fixture) {
				f.journal(t)
				f.write(t, filepath.Join(f.folder, resultsName), "line,outc")
			}, [3]string{"registered", "registered", "registered"}, false,
		},
		"half of a journal line": {
			func(t *testing.T, f *fixture) {
				f.write(t, filepath.Join(f.folder, journalName),
					f.fingerprint(t)+" "+time.Now().Format(time.RFC3339)+"\n2")
			}, [3]string{"registered", "registered", "registered"}, false,
		},
		"before a POST": {
			func(t *testing.T, f *fixture) { f.journal(t, 2) },
			[3]string{"registered", "registered", "registered"},
			true,
		},
		"after a POST": {
			func(t *testing.T, f *fixture) {
				f.journal(t, 2)
				f.createLeads(t, 1)
			}, [3]string{"recovered", "registered", "registered"}, true,
		},
		"half of a result": {
			func(t *testing.T, f *fixture) {
				f.journal(t, 2, 3)
				f.createLeads(t, 2)
				f.write(t, filepath.Join(f.folder, resultsName),
					columns+"3,registered,123457,\n2,unknown,,"+strings.Repeat("x", 500))
			}, [3]string{"recovered", "registered", "registered"}, true,
		},
		"during the second try of a row that was not sent": {
			func(t *testing.T, f *fixture) {
				f.journal(t, 2, 2)
				f.createLeads(t, 1)
				f.write(t, filepath.Join(f.folder, resultsName), columns+"2,not sent,,\n")
			}, [3]string{"recovered", "registered", "registered"}, true,
		},
		"after outcomes that are not final": {
			func(t *testing.T, f *fixture) {
				f.journal(t, 2, 3)
				f.write(t, filepath.Join(f.folder, resultsName), columns+"2,not sent,,\n3,rate limited,,\n")
			}, [3]string{"registered", "registered", "registered"}, false,
		},
		"after an unknown outcome": {
			func(t *testing.T, f *fixture) {
				f.journal(t, 2)
				f.createLeads(t, 1)
				f.write(t, filepath.Join(f.folder, resultsName), columns+"2,unknown,,\"clixnow: a, b\"\n")
			}, [3]string{"recovered", "registered", "registered"}, true,
		},
		"after a recovery": {
			func(t *testing.T, f *fixture) {
				f.journal(t, 2, 2)
				f.createLeads(t, 1)
				f.write(t, filepath.Join(f.folder, resultsName), columns+"2,unknown,,\n2,recovered,123456,\n")
			}, [3]string{"recovered", "registered", "registered"}, false,
		},
		"after a refusal": {
			func(t *testing.T, f *fixture) {
				f.journal(t, 2)
				f.write(t, filepath.Join(f.folder, resultsName), columns+"2,refused,,\n")
			}, [3]string{"refused", "registered", "registered"}, false,
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
	file, err := os.Open(f.file)
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	leads, err := openSheet(file, settings{comma: ","})
	require.NoError(t, err)
	client := f.Client()
	defer client.CloseIdleConnections()
	for r, err := range leads.rows(io.Discard) {
		require.NoError(t, err)
		if n--; n < 0 {
			break
		}
		_, err = client.CreateLead(t.Context(), r.lead)
		require.NoError(t, err)
	}
}

func TestRefusedFolders(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		prepare func(t *testing.T, f *fixture)
		says    string
	}{
		"other file": {
			func(t *testing.T, f *fixture) { f.write(t, f.file, csvOf(2)) },
			"the progress belongs to another file",
		},
		"other brand": {
			func(_ *testing.T, f *fixture) { f.Brand = "other" },
			"the progress belongs to another file, or to another -brand",
		},
		"no journal": {
			func(t *testing.T, f *fixture) {
				require.NoError(t, os.Remove(filepath.Join(f.folder, journalName)))
			},
			"has results but no journal",
		},
		"other columns": {
			func(t *testing.T, f *fixture) {
				f.write(t, filepath.Join(f.folder, resultsName), "line;outcome\n")
			},
			"was the earlier run with or without -redirect-urls?",
		},
		"line that the file does not have": {
			func(t *testing.T, f *fixture) {
				f.write(t, filepath.Join(f.folder, resultsName), "line,outcome,lead_id,error\n99,registered,1,\n")
			},
			"has a line that the importer did not write",
		},
		"in use": {
			func(t *testing.T, f *fixture) {
				lock := flock.New(filepath.Join(f.folder, lockName))
				locked, err := lock.TryLock()
				require.NoError(t, err)
				require.True(t, locked)
				t.Cleanup(func() { assert.NoError(t, lock.Unlock()) })
			},
			"another importer is running in",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, csvOf(1))
			require.Equal(t, exitDone, f.run(t))
			before := len(f.Requests())
			test.prepare(t, f)
			assert.Equal(t, exitInput, f.run(t))
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
		if code := f.run(t); code == exitDone {
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
		require.Contains(t, []int{exitDone, exitUnfinished}, child.ProcessState.ExitCode(), "%v: %s", err,
			output.String())
		return false
	}
	return true
}
