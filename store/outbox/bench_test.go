package outbox_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/internal/postgrestest"
	"github.com/clixnow/clixnow-go/store/outbox"
)

// BenchmarkAdd measures how many sign-ups are accepted in a second, with
// parallel callers:
//
//	go test -run '^$' -bench Add -cpu 2 ./outbox
func BenchmarkAdd(b *testing.B) {
	b.Run("SQLite", func(b *testing.B) {
		benchmarkAdd(b, outbox.SQLite, outbox.SQLiteAddress(b.TempDir()+"/signups.db"))
	})
	b.Run("PostgreSQL", func(b *testing.B) { benchmarkAdd(b, outbox.PostgreSQL, postgrestest.New(b).URL) })
}

func benchmarkAdd(b *testing.B, dialect outbox.Dialect, address string) {
	b.Helper()
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("%d callers", callers), func(b *testing.B) {
			o, err := outbox.Open(b.Context(), kind{dialect: dialect}.open(b, address), dialect, outbox.Options{})
			require.NoError(b, err)
			var n atomic.Int64
			b.SetParallelism(max(1, callers/2)) // times GOMAXPROCS, which is 2
			b.ResetTimer()
			work := func() {
				lead := newLead(fmt.Sprintf("%s-%d-%d", b.Name(), b.N, n.Add(1)))
				if _, err := o.Add(b.Context(), lead); err != nil {
					b.Error(err)
				}
			}
			if callers == 1 {
				for b.Loop() {
					work()
				}
			} else {
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						work()
					}
				})
			}
			b.ReportMetric(float64(n.Load())/b.Elapsed().Seconds(), "accepted/s")
		})
	}
}
