package clixnow

import (
	"testing"
	"time"
)

func BenchmarkQuery(b *testing.B) {
	search := SearchLeadsRequest{
		Count: MaxPageSize, Skip: 999, OrderBy: OrderByModifiedOn,
		ModifiedOnFrom: time.Date(2022, 12, 19, 11, 1, 58, 302e6, time.UTC),
	}
	b.ReportAllocs()
	for b.Loop() {
		search.query().Encode()
	}
}
