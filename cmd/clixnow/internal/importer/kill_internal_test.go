package importer

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/xuri/excelize/v2"
	bolt "go.etcd.io/bbolt"

	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
)

// TestManyRows imports many rows. It kills the program at random moments, and
// lets its disk be full once. CLIXNOW_LONG=1 imports 50,000 rows, kills the
// program 20 times, and takes some minutes.
func TestManyRows(t *testing.T) {
	t.Parallel()
	rows, kills := 600, 8
	if os.Getenv("CLIXNOW_LONG") != "" {
		rows, kills = 50_000, 20
	}
	for _, name := range []string{"leads.csv", "leads.xlsx"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			importMany(t, name, rows, kills)
		})
	}
}

func importMany(t *testing.T, name string, rows, kills int) {
	t.Helper()
	f := newFixture(t, "", clixnowtest.WithRequestLimit(1))
	f.file = filepath.Join(t.TempDir(), name)
	f.folder = f.file + ".import"
	writeMany(t, f.file, rows)
	var arrived atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			arrived.Add(1)
		}
		f.ServeHTTP(rw, r)
	}))
	defer proxy.Close()
	f.URL = proxy.URL

	moments := make([]int64, kills+1)
	for i := range moments {
		moments[i] = 1 + rand.Int64N(int64(rows)-1)
	}
	slices.Sort(moments)
	fullDisk := rand.IntN(len(moments))
	codes, memory := make(map[int]int), 0
	began := time.Now()
	for i, moment := range moments {
		limit := ""
		if i == fullDisk {
			limit = strconv.FormatInt(f.databaseSize(t)*9/10, 10)
		}
		child, output := f.start(t, limit)
		ended := make(chan error, 1)
		go func() { ended <- child.Wait() }()
		for limit == "" && arrived.Load() < moment && len(ended) == 0 {
			time.Sleep(time.Millisecond)
			memory = max(memory, anonymousMemory(child.Process.Pid))
		}
		if limit == "" {
			time.Sleep(rand.N(20 * time.Millisecond))
			_ = child.Process.Kill()
		}
		err := <-ended
		require.Error(t, err, "it was killed, or its disk was full")
		codes[child.ProcessState.ExitCode()]++
		if limit != "" {
			assert.Contains(t, output.String(), "file too large", "the disk was full")
			assert.NotContains(t, output.String(), "panic")
		}
	}
	child, output := f.start(t, "")
	begin, before := time.Now(), arrived.Load()
	err := child.Wait()
	if child.ProcessState.ExitCode() == app.CodeDoubt { // a search may have failed
		child, output = f.start(t, "")
		err = child.Wait()
	}
	require.NoError(t, err, output)
	t.Logf("%d rows in %s, exit codes %v; the last run: %.0f rows a second; memory: %d MiB at most", rows,
		time.Since(began).Round(time.Second), codes, float64(arrived.Load()-before)/time.Since(begin).Seconds(),
		memory>>10)
	most := 50 << 10
	if raceDetector {
		most *= 4
	}
	assert.Less(t, memory, most, "memory does not grow with the file")

	require.Len(t, f.Leads(), rows)
	ids := make(map[string]string)
	for _, record := range f.records(t) {
		ids[record[2]] = record[0]
	}
	require.Len(t, ids, rows)
	for _, lead := range f.Leads() {
		n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(lead.Email, "lead"), "@example.com"))
		require.NoError(t, err)
		require.Equal(t, strconv.Itoa(n+1), ids[strconv.FormatInt(lead.ID, 10)], "the id of %s", lead.Email)
	}
}

// start starts the importer in a new process.
func (f *fixture) start(t *testing.T, limit string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	child := exec.CommandContext(context.WithoutCancel(t.Context()), self, f.args()...)
	child.Env = append(os.Environ(), childEnv+"=1", "CLIXNOW_TOKEN="+token, limitEnv+"="+limit)
	output := new(bytes.Buffer)
	child.Stdout, child.Stderr = output, output
	require.NoError(t, child.Start())
	return child, output
}

// databaseSize returns the number of bytes that the database uses. Its file may
// be longer.
func (f *fixture) databaseSize(t *testing.T) (size int64) {
	t.Helper()
	path := filepath.Join(f.folder, databaseName)
	if _, err := os.Stat(path); os.IsNotExist(err) {
		return 0
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	require.NoError(t, err)
	defer func() { assert.NoError(t, db.Close()) }()
	require.NoError(t, db.View(func(tx *bolt.Tx) error {
		size = tx.Size()
		return nil
	}))
	return size
}

// writeMany writes a file of leads.
func writeMany(t *testing.T, path string, rows int) {
	t.Helper()
	if filepath.Ext(path) == ".csv" {
		require.NoError(t, os.WriteFile(path, []byte(csvOf(rows)), 0o600))
		return
	}
	book := excelize.NewFile()
	defer func() { assert.NoError(t, book.Close()) }()
	sheet, err := book.NewStreamWriter("Sheet1")
	require.NoError(t, err)
	for i, line := range strings.Split(strings.TrimSpace(csvOf(rows)), "\n") {
		var cells []any
		for value := range strings.SplitSeq(line, ",") {
			cells = append(cells, value)
		}
		require.NoError(t, sheet.SetRow(fmt.Sprintf("A%d", i+1), cells))
	}
	require.NoError(t, sheet.Flush())
	require.NoError(t, book.SaveAs(path))
}

// anonymousMemory returns the memory of a process in KiB, without that of its
// files. It returns 0 where there is no /proc.
func anonymousMemory(pid int) (kib int) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		if _, err := fmt.Sscanf(line, "RssAnon: %d", &kib); err == nil {
			return kib
		}
	}
	return 0
}
