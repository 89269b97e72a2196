package postback_test

import (
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/internal/postgrestest"
)

// TestSpeed measures how many postbacks are sent in a second. It only runs with
// CLIXNOW_LONG=1.
func TestSpeed(t *testing.T) { //nolint:paralleltest // it measures
	if os.Getenv("CLIXNOW_LONG") == "" {
		t.Skip("SKIPPED: set CLIXNOW_LONG=1")
	}
	postgres := postgresKind(postgrestest.New(t))
	for range 3 {
		for events, latency := range map[int]time.Duration{5000: 0, 1000: 50 * time.Millisecond} {
			for _, concurrency := range []int{4, 32} {
				for _, k := range []kind{sqliteKind(), postgres} {
					w := newWorld(t, k)
					w.setAnswer(func(http.ResponseWriter, *http.Request) { time.Sleep(latency) })
					leads := make([]clixnow.Lead, events)
					for i := range leads {
						leads[i] = lead(int64(i+1), "new", 0)
					}
					w.saveAll(leads)
					d := w.destination()
					d.Concurrency = concurrency
					s := w.sender(moment(0), d)
					began := time.Now()
					w.once(s)
					require.Len(t, w.taken("id"), events)
					t.Logf("%-8s latency %4v, concurrency %2d: %5.0f a second", k.dialect, latency, concurrency,
						float64(events)/time.Since(began).Seconds())
				}
			}
		}
	}
}
