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

// journal writes the journal of an import that began an hour ago and died with
// these lines begun.
func (w *world) journal(t *testing.T, lines ...int) {
	t.Helper()
	text := []string{w.owner(t) + " " + time.Now().Add(-time.Hour).Format(time.RFC3339Nano)}
	for _, line := range lines {
		text = append(text, strconv.Itoa(line))
	}
	w.write(t, filepath.Join(w.folder, journalName), strings.Join(text, "\n")+"\n")
}

// owner is the fingerprint of the world's import.
func (w *world) owner(t *testing.T) string {
	t.Helper()
	file, err := os.Open(w.file)
	require.NoError(t, err)
	defer func() { _ = file.Close() }() // it was only read
	leads, err := openSheet(file, settings{comma: ","})
	require.NoError(t, err)
	found, err := leads.survey(nil)
	require.NoError(t, err)
	return leads.fingerprint(found, w.Brand, w.URL)
}

// Whatever moment an import dies at, the next run registers each lead once.
func TestResume(t *testing.T) {
	t.Parallel()
	const columns = "line,outcome,lead_id,error\n"
	tests := map[string]struct {
		prepare func(t *testing.T, w *world)
		want    [3]string // of the three leads
		looks   bool
	}{
		"before anything": {
			func(*testing.T, *world) {},
			[3]string{"registered", "registered", "registered"},
			false,
		},
		"with an empty journal": {
			func(t *testing.T,
				w *world,
			) {
				w.write(t, filepath.Join(w.folder, journalName), "")
			},
			[3]string{"registered", "registered", "registered"},
			false,
		},
		"with half the journal's first line": {
			func(t *testing.T, w *world) { w.write(t, filepath.Join(w.folder, journalName), w.owner(t)) },
			[3]string{"registered", "registered", "registered"},
			false,
		},
		"with half the results' first line": {
			func(t *testing.T, w *world) {
				w.journal(t)
				w.write(t, filepath.Join(w.folder, resultsName), "line,outc")
			}, [3]string{"registered", "registered", "registered"}, false,
		},
		"with half a line of the journal": {
			func(t *testing.T, w *world) {
				w.write(t, filepath.Join(w.folder, journalName), w.owner(t)+" "+time.Now().Format(time.RFC3339)+"\n2")
			}, [3]string{"registered", "registered", "registered"}, false,
		},
		"before a send": {
			func(t *testing.T, w *world) { w.journal(t, 2) },
			[3]string{"registered", "registered", "registered"},
			true,
		},
		"after a send": {
			func(t *testing.T, w *world) {
				w.journal(t, 2)
				w.arrived(t, 1)
			}, [3]string{"recovered", "registered", "registered"}, true,
		},
		"in the middle of a result": {
			func(t *testing.T, w *world) {
				w.journal(t, 2, 3)
				w.arrived(t, 2)
				w.write(t, filepath.Join(w.folder, resultsName),
					columns+"3,registered,123457,\n2,unknown,,"+strings.Repeat("x", 500))
			}, [3]string{"recovered", "registered", "registered"}, true,
		},
		"in a second try of what was not sent before": {
			func(t *testing.T, w *world) {
				w.journal(t, 2, 2)
				w.arrived(t, 1)
				w.write(t, filepath.Join(w.folder, resultsName), columns+"2,not sent,,\n")
			}, [3]string{"recovered", "registered", "registered"}, true,
		},
		"after a try that was not sent": {
			func(t *testing.T, w *world) {
				w.journal(t, 2, 3)
				w.write(t, filepath.Join(w.folder, resultsName), columns+"2,not sent,,\n3,rate limited,,\n")
			}, [3]string{"registered", "registered", "registered"}, false,
		},
		"with an unknown outcome": {
			func(t *testing.T, w *world) {
				w.journal(t, 2)
				w.arrived(t, 1)
				w.write(t, filepath.Join(w.folder, resultsName), columns+"2,unknown,,\"clixnow: a, b\"\n")
			}, [3]string{"recovered", "registered", "registered"}, true,
		},
		"after a look for what was unknown": {
			func(t *testing.T, w *world) {
				w.journal(t, 2, 2)
				w.arrived(t, 1)
				w.write(t, filepath.Join(w.folder, resultsName), columns+"2,unknown,,\n2,recovered,123456,\n")
			}, [3]string{"recovered", "registered", "registered"}, false,
		},
		"after a refusal": {
			func(t *testing.T, w *world) {
				w.journal(t, 2)
				w.write(t, filepath.Join(w.folder, resultsName), columns+"2,refused,,\n")
			}, [3]string{"refused", "registered", "registered"}, false,
		},
	}
	for _, checked := range []bool{true, false} {
		for name, test := range tests {
			t.Run(fmt.Sprintf("%s, duplicates noticed %t", name, checked), func(t *testing.T) {
				t.Parallel()
				var opts []clixnowtest.Option
				if !checked {
					opts = append(opts, clixnowtest.WithoutDuplicateCheck())
				}
				w := newWorld(t, people(3), opts...)
				test.prepare(t, w)
				w.run(t)
				assert.Equal(t, map[int]string{2: test.want[0], 3: test.want[1], 4: test.want[2]}, w.outcomes(t),
					w.output.String())
				seen := make(map[string]int)
				for _, lead := range w.Leads() {
					seen[lead.Email]++
				}
				for email, n := range seen {
					assert.Equal(t, 1, n, email)
				}
				looks := false
				for _, request := range w.Requests() {
					looks = looks || request.Method == http.MethodGet
				}
				assert.Equal(t, test.looks, looks, "a look costs seconds")
			})
		}
	}
}

// arrived puts the leads of the first rows on the server, as an earlier run
// did.
func (w *world) arrived(t *testing.T, n int) {
	t.Helper()
	file, err := os.Open(w.file)
	require.NoError(t, err)
	defer func() { _ = file.Close() }() // it was only read
	leads, err := openSheet(file, settings{comma: ","})
	require.NoError(t, err)
	client := w.Client()
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
		prepare func(t *testing.T, w *world)
		says    string
	}{
		"of another file": {
			func(t *testing.T, w *world) { w.write(t, w.file, people(2)) },
			"it belongs to another file",
		},
		"of another brand": {
			func(_ *testing.T, w *world) { w.Brand = "other" },
			"it belongs to another file, or to another -brand",
		},
		"without a journal": {
			func(t *testing.T,
				w *world,
			) {
				require.NoError(t, os.Remove(filepath.Join(w.folder, journalName)))
			},
			"has results and no journal",
		},
		"with other columns": {
			func(t *testing.T,
				w *world,
			) {
				w.write(t, filepath.Join(w.folder, resultsName), "line;outcome\n")
			},
			"was -redirect-urls set before?",
		},
		"with a line that is none": {
			func(t *testing.T, w *world) {
				w.write(t, filepath.Join(w.folder, resultsName), "line,outcome,lead_id,error\n99,registered,1,\n")
			}, "holds a line that the importer did not write",
		},
		"in use": {func(t *testing.T, w *world) {
			lock := flock.New(filepath.Join(w.folder, lockName))
			locked, err := lock.TryLock()
			require.NoError(t, err)
			require.True(t, locked)
			t.Cleanup(func() { assert.NoError(t, lock.Unlock()) })
		}, "another importer works in"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, people(1))
			require.Equal(t, exitDone, w.run(t))
			before := len(w.Requests())
			test.prepare(t, w)
			assert.Equal(t, exitInput, w.run(t))
			assert.Contains(t, w.output.String(), test.says)
			assert.Len(t, w.Requests(), before)
		})
	}
}

// The importer is killed again and again, at random moments, over an API on
// which requests take their time and fail. Then each lead is there once, under
// the id that the results give it.
func TestKilled(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]clixnowtest.Option{
		"API":                        nil,
		"that notices no duplicates": {clixnowtest.WithoutDuplicateCheck()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kill(t, 20, opts)
		})
	}
}

func kill(t *testing.T, kills int, opts []clixnowtest.Option) {
	t.Helper()
	w := newWorld(t, people(8*kills), opts...)
	var arrived atomic.Int64
	travel := func() { time.Sleep(rand.N(20 * time.Millisecond)) } // whoever dies meanwhile
	slow := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		arrived.Add(1)
		travel()
		if r.Method == http.MethodPost && rand.IntN(8) == 0 {
			w.Inject(clixnowtest.Fault{Method: http.MethodPost, Drop: clixnowtest.Drop(1 + rand.IntN(3))})
		}
		w.ServeHTTP(rw, r)
		travel()
	}))
	slow.Config.ErrorLog = log.New(io.Discard, "", 0)
	slow.Start()
	defer slow.Close()
	w.URL = slow.URL

	killed := 0
	for ; killed < kills; killed++ {
		if !w.liveAndDie(t, &arrived) {
			break
		}
	}
	assert.GreaterOrEqual(t, killed, 15)
	for range 5 { // an outcome may stay unknown in a run or two
		if code := w.run(t); code == exitDone {
			break
		}
	}
	results := make(map[string][]string)
	counts := make(map[string]int)
	for _, record := range w.records(t) {
		counts[record[1]]++
		if record[2] != "" {
			results[record[2]] = append(results[record[2]], record[0])
		}
	}
	t.Logf("%d kills: %v", killed, counts)
	assert.Positive(t, counts["recovered"])
	require.Len(t, w.Leads(), 8*kills)
	for _, lead := range w.Leads() {
		var n int
		_, err := fmt.Sscanf(lead.Email, "lead%d@", &n)
		require.NoError(t, err)
		assert.Equal(t, []string{strconv.Itoa(n + 1)}, results[strconv.FormatInt(lead.ID, 10)],
			"%s is settled once, and by its id", lead.Email)
	}
}

// liveAndDie starts the importer and kills it at some moment, mostly after its
// first request. It reports false where the importer ended by itself.
func (w *world) liveAndDie(t *testing.T, arrived *atomic.Int64) bool {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	child := exec.CommandContext(t.Context(), self, w.args()...)
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
	case <-time.After(rand.N(80 * time.Millisecond)): // the moment is any
		_ = child.Process.Kill() // it may just have come to its end
		err = <-ended
	}
	if child.ProcessState.Exited() {
		require.Contains(t, []int{exitDone, exitUnfinished}, child.ProcessState.ExitCode(), "%v: %s", err,
			output.String())
		return false
	}
	return true
}
