//go:build !race

package reconcile_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// TestManyRegistrations compares 100,000 registrations. With the race detector
// it takes ten times as long.
func TestManyRegistrations(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("SKIPPED: it is long")
	}
	const n = 100_000
	brand := clixnowtest.NewServer()
	defer brand.Close()
	leads := make([]clixnow.Lead, n)
	var file strings.Builder
	file.WriteString("click_id,email,ftd\n")
	for i := range leads {
		leads[i] = lead(int64(i+1), clickID(fmt.Sprintf("a-click-id-that-is-rather-long-%d-", i)))
		id := leads[i].ClickID
		if i%1000 == 0 {
			id = strings.ToUpper(id)
		}
		fmt.Fprintf(&file, "%s,%s,\n", id, leads[i].Email)
	}
	brand.AddLeads(leads...)
	path := write(t, file.String())
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := time.Now()
	got := run(t, brand, "--from", "2021-11-01", "--to", "2021-11-30", "-o", "jsonl", path)
	runtime.ReadMemStats(&after)
	assert.Equal(t, 1, got.code, got.errs)
	assert.Equal(t, n/1000, strings.Count(got.out, "only upper and lower case differ"))
	assert.Equal(t, n/1000, strings.Count(got.out, "\n"))
	t.Logf("%d registrations in %v; allocated in all %d MiB, heap taken from the system %d MiB more", n,
		time.Since(began).Round(time.Millisecond), (after.TotalAlloc-before.TotalAlloc)>>20,
		(after.HeapSys-before.HeapSys)>>20)
}
