package e2e_test

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// apart is the time between two changes in a stream.
const apart = 20 * time.Millisecond

// stream returns leads 1 to n. Each was changed last some time after the one
// before.
func stream(n int) []clixnow.Lead {
	leads := make([]clixnow.Lead, n)
	for i := range leads {
		leads[i] = clixnow.Lead{ID: int64(i + 1), Status: "New", UpdatedOn: noon.Add(time.Duration(i) * apart)}
	}
	return leads
}

// rowsVisited returns how many rows of a stream of n leads a server has to
// visit for these requests. The server has an index on what the leads are
// filtered and ordered by. So it finds the bound at once, but it has to count
// the rows that it skips.
func rowsVisited(tb testing.TB, n int, requests []clixnowtest.Request) (rows int) {
	tb.Helper()
	for _, r := range requests {
		first := 0
		if text := r.Query.Get("modifiedOnFrom"); text != "" {
			bound, err := time.Parse("2006-01-02T15:04:05", text)
			require.NoError(tb, err)
			first = min(n, max(0, int((bound.Sub(noon)+apart-1)/apart)))
		}
		skip, err := strconv.Atoi(cmp.Or(r.Query.Get("skip"), "0"))
		require.NoError(tb, err)
		count, err := strconv.Atoi(r.Query.Get("count"))
		require.NoError(tb, err)
		rows += min(n-first, skip+count)
	}
	return rows
}

// readings are the two ways to read all leads in the order of their changes.
var readings = map[string]func(ctx context.Context, client *clixnow.Client, page int) iter.Seq2[clixnow.Lead, error]{
	"SearchLeads": func(ctx context.Context, client *clixnow.Client, page int) iter.Seq2[clixnow.Lead, error] {
		return client.SearchLeads(ctx, clixnow.SearchLeadsRequest{OrderBy: clixnow.OrderByModifiedOn, Count: page})
	},
	"LeadChanges": func(ctx context.Context, client *clixnow.Client, page int) iter.Seq2[clixnow.Lead, error] {
		return client.LeadChanges(ctx, clixnow.LeadChangesRequest{PageSize: page})
	},
}

func countLeads(tb testing.TB, leads iter.Seq2[clixnow.Lead, error]) (n int) {
	tb.Helper()
	for _, err := range leads {
		require.NoError(tb, err)
		n++
	}
	return n
}

func TestLeadChangesCost(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ leads, page int }{{1000, 100}, {2000, 100}, {4000, 100}, {999, 1000}, {3000, 1000}} {
		t.Run(fmt.Sprintf("%d leads, pages of %d", test.leads, test.page), func(t *testing.T) {
			t.Parallel()
			rows, requests := make(map[string]int), make(map[string]int)
			for _, name := range []string{"SearchLeads", "LeadChanges"} {
				read := readings[name]
				api := newAPI()
				api.AddLeads(stream(test.leads)...)
				assert.Equal(t, test.leads, countLeads(t, read(t.Context(), newClient(t, api.ServeHTTP), test.page)),
					name)
				rows[name] = rowsVisited(t, test.leads, api.Requests())
				requests[name] = len(api.Requests())
			}
			n, page := float64(test.leads), float64(test.page)
			assert.LessOrEqual(t, float64(rows["LeadChanges"]), 1.1*n+10, "in proportion to the leads")
			assert.GreaterOrEqual(t, float64(rows["SearchLeads"]), n*n/page/2, "in proportion to their square")
			assert.LessOrEqual(t, requests["LeadChanges"], requests["SearchLeads"]+2)
		})
	}
}

// The cost of a poll depends on what has changed, not on how many leads there
// are.
func TestLeadChangesCostOfAPoll(t *testing.T) {
	t.Parallel()
	const leads = 2000
	inBubble(t, leads*apart, func(t *testing.T) {
		api := newAPI()
		api.AddLeads(stream(leads)...)
		req := clixnow.LeadChangesRequest{PageSize: 100, PollInterval: time.Minute, Overlap: 10 * time.Second}
		passed := 0
		follow(t.Context(), memoryClient(t, api), req, 5, func(*journal) {
			passed = len(api.Requests())
			modify(7, 8, 9)(t, api)
		})
		assert.Len(t, api.Requests()[passed:], 1)
		assert.Greater(t, passed, 20)
	})
}

// BenchmarkRowsVisited prints what reading all leads once costs the server: the
// rows that it visits, and the rows per lead.
func BenchmarkRowsVisited(b *testing.B) {
	const page = clixnow.MaxPageSize
	for _, leads := range []int{1_000, 5_000, 10_000, 50_000} {
		api := newAPI()
		api.AddLeads(stream(leads)...)
		client, err := clixnow.NewClient("acme", testToken,
			clixnow.WithHTTPClient(&http.Client{Transport: inMemory{api}}))
		require.NoError(b, err)
		for _, name := range []string{"SearchLeads", "LeadChanges"} {
			read := readings[name]
			b.Run(fmt.Sprintf("%s/%d", name, leads), func(b *testing.B) {
				var rows, requests int
				for b.Loop() {
					before := len(api.Requests())
					require.Equal(b, leads, countLeads(b, read(b.Context(), client, page)))
					sent := api.Requests()[before:]
					rows, requests = rowsVisited(b, leads, sent), len(sent)
				}
				b.ReportMetric(float64(rows), "rows/op")
				b.ReportMetric(float64(rows)/float64(leads), "rows/lead")
				b.ReportMetric(float64(requests), "requests/op")
			})
		}
	}
}
