package e2e_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// noon is when the first lead of a crowd was registered.
var noon = time.Date(2026, time.May, 4, 12, 0, 0, 0, time.UTC)

// crowd returns leads 1 to n. They were registered one a second from noon on,
// and have not changed since.
func crowd(n int) []clixnow.Lead {
	leads := make([]clixnow.Lead, n)
	for i := range leads {
		at := noon.Add(time.Duration(i) * time.Second)
		leads[i] = clixnow.Lead{
			ID: int64(i + 1), Email: fmt.Sprintf("lead-%d@example.com", i+1), Status: "New", CreatedOn: at,
			UpdatedOn: at,
		}
	}
	return leads
}

// upTo returns the ids of a crowd of n leads.
func upTo(n int) []int64 { return from(1, n) }

func from(first, last int) []int64 {
	var ids []int64
	for id := first; id <= last; id++ {
		ids = append(ids, int64(id))
	}
	return ids
}

// before calls do before each request is handled. n counts the requests from 1.
// Requests are handled one after the other.
func before(api http.Handler, do func(n int)) http.HandlerFunc {
	var (
		mu sync.Mutex
		n  int
	)
	return func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		n++
		do(n)
		api.ServeHTTP(w, r)
	}
}

// drain ranges to the end. It returns the leads and the error. The error must
// be the last thing that is yielded.
func drain(t *testing.T, sequence iter.Seq2[clixnow.Lead, error]) (leads []clixnow.Lead, last error) {
	t.Helper()
	for lead, err := range sequence {
		require.NoError(t, last, "nothing follows an error")
		if err != nil {
			assert.Empty(t, lead)
			last = err
			continue
		}
		leads = append(leads, lead)
	}
	return leads, last
}

func drainIDs(t *testing.T, sequence iter.Seq2[clixnow.Lead, error]) ([]int64, error) {
	t.Helper()
	leads, err := drain(t, sequence)
	return idsOf(leads), err
}

func idsOf(leads []clixnow.Lead) []int64 {
	var ids []int64
	for _, lead := range leads {
		ids = append(ids, lead.ID)
	}
	return ids
}

// queries returns one parameter of all requests. "" means that it was not sent.
func queries(api *clixnowtest.Server, name string) []string {
	var values []string
	for _, r := range api.Requests() {
		values = append(values, r.Query.Get(name))
	}
	return values
}

func TestSearchLeadsIsLazy(t *testing.T) {
	t.Parallel()
	api := newAPI()
	api.AddLeads(crowd(3)...)
	client := newClient(t, api.ServeHTTP)

	leads := client.SearchLeads(t.Context(), clixnow.SearchLeadsRequest{Prefetch: 2})
	assert.Empty(t, api.Requests(), "nothing is sent before the loop")
	ids, err := drainIDs(t, leads)
	require.NoError(t, err)
	assert.Equal(t, upTo(3), ids)
	assert.Len(t, api.Requests(), 1)
}

func TestSearchLeadsCanBeRangedOverAgain(t *testing.T) {
	t.Parallel()
	api := newAPI()
	api.AddLeads(crowd(25)...)
	client := newClient(t, api.ServeHTTP)

	leads := client.SearchLeads(t.Context(), clixnow.SearchLeadsRequest{Count: 10, Skip: 2, Limit: 20, Prefetch: 1})
	for range 2 {
		ids, err := drainIDs(t, leads)
		require.NoError(t, err)
		assert.Equal(t, from(3, 22), ids)
	}
	next, stop := iter.Pull2(leads) // two loops at once
	defer stop()
	ids, err := drainIDs(t, leads)
	require.NoError(t, err)
	first, err, ok := next()
	require.True(t, ok)
	require.NoError(t, err)
	assert.Equal(t, from(3, 22), ids)
	assert.EqualValues(t, 3, first.ID)
}

func TestSearchLeadsStopsWithTheLoop(t *testing.T) {
	t.Parallel()
	api := newAPI()
	api.AddLeads(crowd(100)...)
	client := newClient(t, api.ServeHTTP)

	read := 0
	for _, err := range client.SearchLeads(t.Context(), clixnow.SearchLeadsRequest{Count: 10}) {
		require.NoError(t, err)
		if read++; read == 15 {
			break
		}
	}
	assert.Len(t, api.Requests(), 2)
}

func TestSearchLeadsYieldsAnErrorOnceAndLast(t *testing.T) {
	t.Parallel()
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name     string
		ctx      context.Context
		req      clixnow.SearchLeadsRequest
		faults   []clixnowtest.Fault
		want     error
		leads    int
		requests int
	}{
		{
			name: "refused", ctx: t.Context(), req: clixnow.SearchLeadsRequest{OrderBy: "id"},
			want: clixnow.ErrInvalidRequest,
		},
		{name: "nil context", want: clixnow.ErrNotSent},
		{name: "canceled", ctx: canceled, want: context.Canceled},
		{
			name: "first page", ctx: t.Context(), faults: []clixnowtest.Fault{{Status: 403}},
			want:     clixnow.ErrForbidden,
			requests: 1,
		},
		{
			name: "third page", ctx: t.Context(), req: clixnow.SearchLeadsRequest{Count: 10},
			faults: []clixnowtest.Fault{{Times: 2}, {Status: 403}}, want: clixnow.ErrForbidden, leads: 19, requests: 3,
		},
		{
			name: "third page, after retries", ctx: t.Context(), req: clixnow.SearchLeadsRequest{Count: 10},
			faults: []clixnowtest.Fault{{Times: 2}, {Status: 503, Times: 3}}, want: clixnow.ErrServer, leads: 19,
			requests: 5,
		},
		{
			name: "third page, not a list of leads", ctx: t.Context(), req: clixnow.SearchLeadsRequest{Count: 10},
			faults: []clixnowtest.Fault{{Times: 2}, {Status: 200, Body: `{"message":"soon"}`}},
			want:   clixnow.ErrInvalidResponse, leads: 19, requests: 3,
		},
	}
	for _, test := range tests {
		for _, prefetch := range []int{0, 1} {
			t.Run(fmt.Sprintf("%s, prefetch %d", test.name, prefetch), func(t *testing.T) {
				t.Parallel()
				api := newAPI()
				api.AddLeads(crowd(100)...)
				api.Inject(test.faults...)
				client := newClient(t, api.ServeHTTP)
				req := test.req
				req.Prefetch = prefetch
				ids, err := drainIDs(t, client.SearchLeads(test.ctx, req))
				require.ErrorIs(t, err, test.want)
				assert.Equal(t, upTo(test.leads), ids)
				assert.Len(t, api.Requests(), test.requests)
			})
		}
	}
}

func TestSearchLeadsOnTheWire(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name         string
		req          clixnow.SearchLeadsRequest
		want         []int64
		counts, skip []string
	}{
		{"all", clixnow.SearchLeadsRequest{}, upTo(25), []string{"1000", "1000"}, []string{"", "24"}},
		{
			"pages of ten",
			clixnow.SearchLeadsRequest{Count: 10},
			upTo(25),
			[]string{"10", "10", "10"},
			[]string{"", "9", "18"},
		},
		{
			"skip",
			clixnow.SearchLeadsRequest{Count: 10, Skip: 3},
			from(4, 25),
			[]string{"10", "10", "10"},
			[]string{"3", "12", "21"},
		},
		{"skip all", clixnow.SearchLeadsRequest{Skip: 25}, nil, []string{"1000"}, []string{"25"}},
		{"limit below count", clixnow.SearchLeadsRequest{Count: 10, Limit: 4}, upTo(4), []string{"4"}, []string{""}},
		{
			"limit above count",
			clixnow.SearchLeadsRequest{Count: 10, Limit: 12},
			upTo(12),
			[]string{"10", "10"},
			[]string{"", "9"},
		},
		{"limit of a page", clixnow.SearchLeadsRequest{Count: 10, Limit: 10}, upTo(10), []string{"10"}, []string{""}},
		{"limit alone", clixnow.SearchLeadsRequest{Limit: 12}, upTo(12), []string{"12"}, []string{""}},
		{
			"limit beyond the end",
			clixnow.SearchLeadsRequest{Limit: 40},
			upTo(25),
			[]string{"40", "40"},
			[]string{"", "24"},
		},
		{"limit and skip", clixnow.SearchLeadsRequest{Limit: 5, Skip: 7}, from(8, 12), []string{"5"}, []string{"7"}},
		{"one", clixnow.SearchLeadsRequest{Limit: 1}, upTo(1), []string{"1"}, []string{""}},
		{
			"pages of one",
			clixnow.SearchLeadsRequest{Count: 1, Limit: 4},
			upTo(4),
			[]string{"1", "2", "2", "2"},
			[]string{"", "", "1", "2"},
		},
	}
	for _, test := range tests {
		for _, prefetch := range []int{0, 2} {
			t.Run(fmt.Sprintf("%s, prefetch %d", test.name, prefetch), func(t *testing.T) {
				t.Parallel()
				api := newAPI()
				api.AddLeads(crowd(25)...)
				client := newClient(t, api.ServeHTTP)
				req := test.req
				req.Prefetch = prefetch
				ids, err := drainIDs(t, client.SearchLeads(t.Context(), req))
				require.NoError(t, err)
				assert.Equal(t, test.want, ids)
				if prefetch == 0 {
					assert.Equal(t, test.counts, queries(api, "count"))
					assert.Equal(t, test.skip, queries(api, "skip"))
				} else if req.Limit > 0 && req.Limit < 25 {
					assert.Len(t, api.Requests(), len(test.counts), "no requests beyond the limit")
				}
			})
		}
	}
}

// orders are the orders of the API.
var orders = []clixnow.OrderBy{
	"", clixnow.OrderByID, clixnow.OrderByCreatedOn, clixnow.OrderByModifiedOn, clixnow.OrderByFTDDate,
	clixnow.OrderByFTDFate,
}

// If nothing moves, the walk reads one lead of each page twice, and may need
// one more request to find the end.
func TestSearchLeadsRequestCount(t *testing.T) {
	t.Parallel()
	const none = 1000 // the API's own limit
	tests := []struct{ leads, count, limit int }{
		{0, 10, none},
		{1, 10, none},
		{9, 10, none},
		{10, 10, none},
		{11, 10, none},
		{19, 10, none},
		{20, 10, none},
		{100, 10, none},
		{101, 10, none},
		{34, 20, none},
		{39, 20, none},
		{200, 37, none},
		{500, 50, none},
		{999, 1000, none},
		{1000, 1000, none},
		{1001, 1000, none},
		{20, 2, none},
		{20, 3, none},
		{7, 7, none},
		{100, 1000, 10},
		{10, 1000, 10},
		{19, 1000, 10},
		{91, 40, 10},
		{300, 100, 25},
		{250, 1000, 50},
		{120, 15, 15},
		{120, 15, 20},
	}
	for _, test := range tests {
		for _, by := range orders[1:4] {
			t.Run(fmt.Sprintf("%d leads by %s, %d a page, at most %d", test.leads, by, test.count, test.limit),
				func(t *testing.T) {
					t.Parallel()
					api := newAPI(clixnowtest.WithPageLimit(test.limit))
					api.AddLeads(crowd(test.leads)...)
					client := newClient(t, api.ServeHTTP)
					req := clixnow.SearchLeadsRequest{OrderBy: by, Count: test.count}
					ids, err := drainIDs(t, client.SearchLeads(t.Context(), req))
					require.NoError(t, err)
					assert.Equal(t, upTo(test.leads), ids)

					page := min(test.count, test.limit)
					least := max(1, (test.leads-1+page-2)/(page-1)) // ceil((N-1)/(P-1)), but at least one
					assert.GreaterOrEqual(t, len(api.Requests()), least)
					assert.LessOrEqual(t, len(api.Requests()), max(0, (test.leads-1+page-2)/(page-1))+1)
				})
		}
	}
}

// rewrite changes the query of each request before it is handled.
func rewrite(api http.Handler, change func(url.Values)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r = r.Clone(r.Context())
		values := r.URL.Query()
		change(values)
		r.URL.RawQuery = values.Encode()
		api.ServeHTTP(w, r)
	}
}

// A server may leave out leads after it has counted them. A short page of ten
// or more leads is not the end.
func TestSearchLeadsFromServerThatLeavesLeadsOut(t *testing.T) {
	t.Parallel()
	for _, by := range orders {
		t.Run(string(by), func(t *testing.T) {
			t.Parallel()
			served := 0
			client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
				served++
				skip, _ := strconv.Atoi(r.URL.Query().Get("skip"))
				count, _ := strconv.Atoi(r.URL.Query().Get("count"))
				var shown []string
				for id := skip + 1; id <= min(skip+count, 95); id++ {
					if id%4 != 2 { // rows that a join loses after paging
						shown = append(shown, fmt.Sprintf(`{"id":%d,"updatedOn":"2026-05-04T12:00:00Z"}`, id))
					}
				}
				answer(http.StatusOK, "application/json", "["+strings.Join(shown, ",")+"]")(w, r)
			})
			ids, err := drainIDs(t, client.SearchLeads(t.Context(), clixnow.SearchLeadsRequest{OrderBy: by, Count: 20}))
			require.NoError(t, err)
			assert.Equal(t, slices.DeleteFunc(upTo(95), func(id int64) bool { return id%4 == 2 }), ids)
			assert.Less(t, served, 10)
		})
	}
}

func TestSearchLeadsFromServerThatIgnoresSkip(t *testing.T) {
	t.Parallel()
	for _, by := range orders {
		for _, prefetch := range []int{0, 3} {
			t.Run(fmt.Sprintf("%s, prefetch %d", by, prefetch), func(t *testing.T) {
				t.Parallel()
				api := newAPI()
				api.AddLeads(crowd(100)...)
				client := newClient(t, rewrite(api, func(query url.Values) { query.Del("skip") }))
				req := clixnow.SearchLeadsRequest{OrderBy: by, Count: 10, Prefetch: prefetch}
				ids, err := drainIDs(t, client.SearchLeads(t.Context(), req))
				require.ErrorIs(t, err, clixnow.ErrUnstableResults)
				require.ErrorContains(t, err, "clixnow: acme: search leads: ")
				assert.Equal(t, upTo(10), ids)
				assert.LessOrEqual(t, len(api.Requests()), 5+2*prefetch)
			})
		}
	}
}

func TestSearchLeadsRefusesLeadsWithoutID(t *testing.T) {
	t.Parallel()
	for name, lead := range map[string]string{
		"no id": `{"email":"a@example.com"}`, "null": `{"id":null}`, "zero": `{"id":0}`, "negative": `{"id":-7}`,
		"empty text": `{"id":""}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requests := 0
			client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
				requests++
				answer(http.StatusOK, "application/json", `[{"id":7},`+lead+`]`)(w, r)
			})
			ids, err := drainIDs(t, client.SearchLeads(t.Context(), clixnow.SearchLeadsRequest{}))
			require.ErrorIs(t, err, clixnow.ErrInvalidResponse)
			require.ErrorContains(t, err, "[1].id")
			assert.Empty(t, ids)
			assert.Equal(t, 1, requests)
		})
	}
}

// moves are changes between two requests of a walk in pages of ten. Leads 1 to
// 50 are there before.
var moves = map[string]func(*testing.T, *clixnowtest.Server){
	"the first is deleted":                 remove(1),
	"one that was read is deleted":         remove(4),
	"several that were read are deleted":   remove(1, 2, 3, 5, 8),
	"the last that was read is deleted":    remove(10),
	"the whole page is deleted":            remove(upTo(10)...),
	"all but one are deleted":              remove(upTo(49)...),
	"all are deleted":                      remove(upTo(50)...),
	"a lead that was not read is deleted":  remove(30),
	"one that was read is modified":        modify(4),
	"the last that was read moves":         modify(10),
	"the whole page is modified":           modify(upTo(10)...),
	"all are modified":                     modify(upTo(50)...),
	"a lead that was not read is modified": modify(30),
	"several move, others are deleted":     both(modify(2, 10, 12), remove(3, 11, 9)),
	"deposits are made":                    deposit(3, 10, 11, 27),
	"all make deposits":                    deposit(upTo(50)...),
	"one is inserted in front":             insert(noon.Add(-time.Minute)),
	"one is inserted at the end":           insert(noon.Add(time.Hour)),
	"inserted in front, others deleted":    both(insert(noon.Add(-time.Minute)), remove(4, 10)),
	"nothing happens":                      both(),
}

func both(changes ...func(*testing.T, *clixnowtest.Server)) func(*testing.T, *clixnowtest.Server) {
	return func(t *testing.T, api *clixnowtest.Server) {
		t.Helper()
		for _, change := range changes {
			change(t, api)
		}
	}
}

func remove(ids ...int64) func(*testing.T, *clixnowtest.Server) {
	return func(t *testing.T, api *clixnowtest.Server) {
		t.Helper()
		for _, id := range ids {
			assert.NoError(t, api.DeleteLead(id))
		}
	}
}

func update(change func(*clixnow.Lead), ids ...int64) func(*testing.T, *clixnowtest.Server) {
	return func(t *testing.T, api *clixnowtest.Server) {
		t.Helper()
		for _, id := range ids {
			assert.NoError(t, api.UpdateLead(id, change))
		}
	}
}

func modify(ids ...int64) func(*testing.T, *clixnowtest.Server) {
	return update(func(lead *clixnow.Lead) { lead.Status += "+" }, ids...)
}

func deposit(ids ...int64) func(*testing.T, *clixnowtest.Server) {
	return update(func(lead *clixnow.Lead) { lead.FTDDate = noon.Add(time.Hour) }, ids...)
}

func insert(at time.Time) func(*testing.T, *clixnowtest.Server) {
	return func(_ *testing.T, api *clixnowtest.Server) { api.AddLeads(clixnow.Lead{CreatedOn: at}) }
}

// yieldsAllThatStayed fails if a lead of the crowd is still there and was
// missed, or if a lead came twice.
func yieldsAllThatStayed(t *testing.T, api *clixnowtest.Server, before int, ids []int64) {
	t.Helper()
	seen := make(map[int64]bool)
	for _, id := range ids {
		assert.False(t, seen[id], "lead %d came twice", id)
		seen[id] = true
	}
	for _, lead := range api.Leads() {
		assert.True(t, seen[lead.ID] || lead.ID > int64(before), "lead %d was missed", lead.ID)
	}
}

func TestSearchLeadsLosesNothing(t *testing.T) {
	t.Parallel()
	const leads = 50
	for _, by := range orders[1:5] {
		for name, move := range moves {
			for _, at := range []struct{ request, prefetch int }{{2, 0}, {3, 0}, {2, 3}, {4, 3}} {
				t.Run(fmt.Sprintf("%s, %s before request %d, prefetch %d", by, name, at.request, at.prefetch),
					func(t *testing.T) {
						t.Parallel()
						api := newAPI()
						api.AddLeads(crowd(leads)...)
						client := newClient(t, before(api, func(n int) {
							if n == at.request {
								move(t, api)
							}
						}))
						req := clixnow.SearchLeadsRequest{OrderBy: by, Count: 10, Prefetch: at.prefetch}
						ids, err := drainIDs(t, client.SearchLeads(t.Context(), req))
						require.NoError(t, err)
						yieldsAllThatStayed(t, api, leads, ids)
						assert.Less(t, len(api.Requests()), 25)
					})
			}
		}
	}
}

// Plain offset paging loses a lead for each lead that leaves. SearchLeads
// exists for this reason.
func TestSearchLeadsPageLoses(t *testing.T) {
	t.Parallel()
	api := newAPI()
	api.AddLeads(crowd(50)...)
	client := newClient(t, before(api, func(n int) {
		if n == 2 {
			remove(3, 4)(t, api)
		}
	}))
	var ids []int64
	for next := (&clixnow.SearchLeadsRequest{Count: 10}); next != nil; {
		page, err := client.SearchLeadsPage(t.Context(), *next)
		require.NoError(t, err)
		ids = append(ids, idsOf(page.Leads)...)
		next = page.Next
	}
	assert.Equal(t, slices.DeleteFunc(upTo(50), func(id int64) bool { return id == 11 || id == 12 }), ids)
}

// A loop may change the leads that it reads.
func TestSearchLeadsWhileTheLoopChangesLeads(t *testing.T) {
	t.Parallel()
	changes := map[string]func(*clixnowtest.Server, int64) error{
		"deletes": (*clixnowtest.Server).DeleteLead,
		"modifies": func(api *clixnowtest.Server, id int64) error {
			return api.UpdateLead(id, func(lead *clixnow.Lead) { lead.Status = "Called" })
		},
		"deposits": func(api *clixnowtest.Server, id int64) error {
			return api.UpdateLead(id,
				func(lead *clixnow.Lead) { lead.FTDDate = noon.Add(time.Duration(id) * time.Hour) })
		},
		"deletes every third": func(api *clixnowtest.Server, id int64) error {
			if id%3 == 0 {
				return api.DeleteLead(id)
			}
			return nil
		},
	}
	for _, by := range orders {
		for name, change := range changes {
			for _, prefetch := range []int{0, 2} {
				t.Run(fmt.Sprintf("%s, %s, prefetch %d", by, name, prefetch), func(t *testing.T) {
					t.Parallel()
					api := newAPI()
					api.AddLeads(crowd(60)...)
					client := newClient(t, api.ServeHTTP)
					var ids []int64
					for lead, err := range client.SearchLeads(t.Context(),
						clixnow.SearchLeadsRequest{OrderBy: by, Count: 7, Prefetch: prefetch}) {
						require.NoError(t, err)
						ids = append(ids, lead.ID)
						require.NoError(t, change(api, lead.ID))
					}
					slices.Sort(ids)
					assert.Equal(t, upTo(60), ids)
				})
			}
		}
	}
}

// A walk with a Skip cannot step back to the beginning of the list.
func TestSearchLeadsWithSkipThatCannotStepBack(t *testing.T) {
	t.Parallel()
	api := newAPI()
	api.AddLeads(crowd(50)...)
	client := newClient(t, before(api, func(n int) {
		if n == 2 {
			remove(upTo(15)...)(t, api)
		}
	}))
	ids, err := drainIDs(t, client.SearchLeads(t.Context(), clixnow.SearchLeadsRequest{Count: 10, Skip: 5}))
	require.ErrorIs(t, err, clixnow.ErrUnstableResults)
	assert.Equal(t, from(6, 15), ids)
}

// Leads that are inserted in front, such as imported leads with old dates, push
// the list forward. This is not an error.
func TestSearchLeadsWithInsertionsInFront(t *testing.T) {
	t.Parallel()
	const pages = 30
	api := newAPI()
	api.AddLeads(crowd(50)...)
	client := newClient(t, before(api, func(n int) {
		for i := range 15 {
			if n > 1 && n < pages {
				api.AddLeads(clixnow.Lead{CreatedOn: noon.Add(-time.Duration(n*100+i) * time.Minute)})
			}
		}
	}))
	req := clixnow.SearchLeadsRequest{OrderBy: clixnow.OrderByCreatedOn, Count: 10}
	ids, err := drainIDs(t, client.SearchLeads(t.Context(), req))
	require.NoError(t, err)
	yieldsAllThatStayed(t, api, 50, ids)
	assert.Greater(t, len(api.Requests()), pages, "they came while it went on")
}

// flights counts the requests that are on their way.
type flights struct {
	mu               sync.Mutex
	began, now, most int
}

func (f *flights) watch(next http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		f.add(1)
		defer f.add(-1)
		next.ServeHTTP(w, r)
	}
}

func (f *flights) add(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.began += max(n, 0)
	f.now += n
	f.most = max(f.most, f.now)
}

// requested returns the number of requests that have begun, when all goroutines
// wait.
func (f *flights) requested() int {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.began
}

// skipOf is the offset of a request.
func skipOf(r *http.Request) int {
	skip, _ := strconv.Atoi(cmp.Or(r.URL.Query().Get("skip"), "0"))
	return skip
}

// slowly delays each request, at most until its client has gone.
func slowly(next http.Handler, delay func(skip int) time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(delay(skipOf(r))):
			next.ServeHTTP(w, r)
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
}

func TestSearchLeadsPrefetchIsOrderedAndBounded(t *testing.T) {
	t.Parallel()
	for _, by := range orders {
		for _, prefetch := range []int{1, 3, 8} {
			t.Run(fmt.Sprintf("%s, prefetch %d", by, prefetch), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					const leads, stride = 200, 9
					api := newAPI()
					api.AddLeads(crowd(leads)...)
					var all flights
					// Answers come in the wrong order.
					client := memoryClient(t, all.watch(slowly(api, func(skip int) time.Duration {
						return time.Duration(leads-skip) * time.Second / 10
					})))
					pages := 0
					var ids []int64
					for lead, err := range client.SearchLeads(t.Context(),
						clixnow.SearchLeadsRequest{OrderBy: by, Count: 10, Prefetch: prefetch}) {
						require.NoError(t, err)
						ids = append(ids, lead.ID)
						if first := lead.ID == 1 || lead.ID%stride == 2; first {
							pages++
							assert.LessOrEqual(t, all.requested()-pages, prefetch, "pages ahead at lead %d", lead.ID)
							if pages == 1 {
								assert.Equal(t, 2, all.requested(), "it begins with one page")
							}
						}
					}
					assert.Equal(t, upTo(leads), ids)
					assert.Equal(t, prefetch, all.most, "in flight")
				})
			})
		}
	}
}

// Pages that need a second each are read faster with Prefetch. It grows, so the
// first pages still come one after the other.
func TestSearchLeadsPrefetchSavesTime(t *testing.T) {
	t.Parallel()
	for prefetch, want := range map[int]time.Duration{
		0: 10 * time.Second, 1: 10 * time.Second, 3: 5 * time.Second, 64: 5 * time.Second,
	} {
		t.Run(strconv.Itoa(prefetch), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := newAPI()
				api.AddLeads(crowd(90)...)
				client := memoryClient(t, slowly(api, func(int) time.Duration { return time.Second }))
				began := time.Now()
				req := clixnow.SearchLeadsRequest{Count: 10, Prefetch: prefetch}
				_, err := drain(t, client.SearchLeads(t.Context(), req))
				require.NoError(t, err)
				assert.Equal(t, want, time.Since(began))
			})
		})
	}
}

func TestSearchLeadsPrefetchErrors(t *testing.T) {
	t.Parallel()
	refuse := func(next http.Handler, from int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if skipOf(r) >= from {
				answer(http.StatusForbidden, "", "")(w, r)
				return
			}
			next.ServeHTTP(w, r)
		}
	}
	slowerInFront := func(skip int) time.Duration { return time.Duration(1000-skip) * time.Second }

	t.Run("comes after the leads of earlier pages", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			api := newAPI()
			api.AddLeads(crowd(100)...)
			client := memoryClient(t, refuse(slowly(api, slowerInFront), 27))
			ids, err := drainIDs(t, client.SearchLeads(t.Context(), clixnow.SearchLeadsRequest{Count: 10, Prefetch: 5}))
			require.ErrorIs(t, err, clixnow.ErrForbidden)
			assert.Equal(t, upTo(28), ids)
		})
	})
	t.Run("past the end is dropped", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			api := newAPI()
			api.AddLeads(crowd(44)...)
			var all flights
			aSecond := func(int) time.Duration { return time.Second } // so that all are on their way
			client := memoryClient(t, all.watch(slowly(refuse(api, 44), aSecond)))
			ids, err := drainIDs(t, client.SearchLeads(t.Context(), clixnow.SearchLeadsRequest{Count: 10, Prefetch: 5}))
			require.NoError(t, err)
			assert.Equal(t, upTo(44), ids)
			assert.Greater(t, all.requested(), 5, "some were past the end")
		})
	})
	t.Run("beyond the limit is not requested", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			api := newAPI()
			api.AddLeads(crowd(100)...)
			var all flights
			client := memoryClient(t, all.watch(refuse(api, 27)))
			req := clixnow.SearchLeadsRequest{Count: 10, Prefetch: 5, Limit: 28}
			ids, err := drainIDs(t, client.SearchLeads(t.Context(), req))
			require.NoError(t, err)
			assert.Equal(t, upTo(28), ids)
			assert.Equal(t, 3, all.requested())
		})
	})
}

// A page that was requested ahead may show an older state than the page before
// it.
func TestSearchLeadsPrefetchedPagesMayBeOlder(t *testing.T) {
	t.Parallel()
	for _, by := range orders[1:5] {
		for name, move := range map[string]func(...int64) func(*testing.T, *clixnowtest.Server){
			"deleted":  remove,
			"modified": modify, "deposited": deposit,
		} {
			for _, leads := range []int{28, 37, 40} {
				t.Run(fmt.Sprintf("%s, one of %d is %s", by, leads, name), func(t *testing.T) {
					t.Parallel()
					for moved := 1; moved <= leads; moved++ {
						inBubble(t, time.Hour, func(t *testing.T) {
							api := newAPI()
							api.AddLeads(crowd(leads)...)
							client := memoryClient(t, slowly(beforeThird(api, func() { move(int64(moved))(t, api) }),
								func(skip int) time.Duration { return time.Duration(1000-skip) * time.Second }))
							req := clixnow.SearchLeadsRequest{OrderBy: by, Count: 10, Prefetch: 4}
							ids, err := drainIDs(t, client.SearchLeads(t.Context(), req))
							require.NoError(t, err, "lead %d", moved)
							yieldsAllThatStayed(t, api, leads, ids)
						})
					}
				})
			}
		}
	}
}

// Such a page is not the end of the list. Here one lead moves to the end while
// a new one takes its place, so the pages still fit together.
func TestSearchLeadsPrefetchedPageIsNotTheEnd(t *testing.T) {
	t.Parallel()
	inBubble(t, time.Hour, func(t *testing.T) {
		leads := crowd(37)
		for i := range leads[24:] {
			leads[24+i].FTDDate = leads[24+i].CreatedOn
		}
		api := newAPI()
		api.AddLeads(leads...)
		client := memoryClient(t, slowly(beforeThird(api, func() { both(deposit(21), insert(noon))(t, api) }),
			func(skip int) time.Duration { return time.Duration(100-skip) * time.Second }))
		req := clixnow.SearchLeadsRequest{OrderBy: clixnow.OrderByFTDDate, Count: 10, Prefetch: 3}
		ids, err := drainIDs(t, client.SearchLeads(t.Context(), req))
		require.NoError(t, err)
		yieldsAllThatStayed(t, api, 37, ids)
	})
}

// beforeThird calls do once, before the third page is handled. Prefetch
// requests the third and the fourth page at once, and the fourth is answered
// first.
func beforeThird(api http.Handler, do func()) http.HandlerFunc {
	done := false
	return func(w http.ResponseWriter, r *http.Request) {
		if skipOf(r) == 18 && !done {
			done = true
			do()
		}
		api.ServeHTTP(w, r)
	}
}

func TestSearchLeadsPrefetchIsCancelledAtOnce(t *testing.T) {
	t.Parallel()
	cause := errors.New("shutting down")
	for _, by := range []string{"break", "panic", "context"} {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := newAPI()
				api.AddLeads(crowd(100)...)
				var all flights
				client := memoryClient(t, all.watch(slowly(api, func(skip int) time.Duration {
					return time.Duration(max(0, skip-36)) * time.Hour
				})))
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				began := time.Now()
				read := func() (last error) {
					defer func() { _ = recover() }()
					req := clixnow.SearchLeadsRequest{Count: 10, Prefetch: 4}
					for lead, err := range client.SearchLeads(ctx, req) {
						if last = err; err != nil || lead.ID < 38 {
							continue
						}
						assert.Equal(t, 5+4, all.requested(), "five pages were consumed")
						switch by {
						case "break":
							return nil
						case "panic":
							panic("of the loop")
						case "context":
							cancel(cause)
						}
					}
					return last
				}
				err := read()
				assert.Zero(t, all.now, "no request is on its way when the loop has ended")
				assert.Equal(t, 5+4, all.began)
				assert.Zero(t, time.Since(began))
				if by == "context" {
					require.ErrorIs(t, err, context.Canceled)
					require.ErrorIs(t, err, cause)
				}
			})
		})
	}
}

func TestSearchLeadsPrefetchWaitsForTheRateLimiter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const pace = time.Second
		api := newAPI()
		api.AddLeads(crowd(100)...)
		var (
			mu    sync.Mutex
			due   = time.Now()
			began []time.Time
		)
		limited := limiter(func(ctx context.Context) error {
			mu.Lock()
			wait := time.Until(due)
			due = due.Add(pace)
			mu.Unlock()
			select {
			case <-time.After(wait):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		api.Inject(clixnowtest.Fault{Times: 3}, clixnowtest.Fault{Status: 500, Times: 2}, clixnowtest.Fault{Times: 2},
			clixnowtest.Fault{Drop: clixnowtest.DropBeforeHandling})
		client := memoryClient(t, before(api, func(int) { began = append(began, time.Now()) }),
			clixnow.WithRateLimiter(limited))
		ids, err := drainIDs(t, client.SearchLeads(t.Context(), clixnow.SearchLeadsRequest{Count: 10, Prefetch: 3}))
		require.NoError(t, err)
		assert.Equal(t, upTo(100), ids)
		require.Greater(t, len(began), 14, "retries too")
		for i := range began[1:] {
			assert.GreaterOrEqual(t, began[i+1].Sub(began[i]), pace)
		}
	})
}

func TestSearchLeadsSurvivesFaults(t *testing.T) {
	t.Parallel()
	let := clixnowtest.Fault{}
	for _, prefetch := range []int{0, 1, 4} {
		for name, fault := range map[string]clixnowtest.Fault{
			"500":            {Status: 500},
			"429":            {Status: 429},
			"Cloudflare":     {Status: 522, Body: "<html>"},
			"no answer":      {Drop: clixnowtest.DropBeforeHandling},
			"cut afterwards": {Drop: clixnowtest.DropAfterHandling},
			"cut in mid-way": {Drop: clixnowtest.DropMidBody},
		} {
			t.Run(fmt.Sprintf("%s, prefetch %d", name, prefetch), func(t *testing.T) {
				t.Parallel()
				api := newAPI()
				api.AddLeads(crowd(60)...)
				api.Inject(fault, let, let, fault, let, fault)
				client := newClient(t, api.ServeHTTP,
					clixnow.WithRetry(clixnow.RetryPolicy{MaxAttempts: 4, MinBackoff: 1, MaxBackoff: 1}))
				req := clixnow.SearchLeadsRequest{Count: 10, Prefetch: prefetch}
				ids, err := drainIDs(t, client.SearchLeads(t.Context(), req))
				require.NoError(t, err)
				assert.Equal(t, upTo(60), ids)
			})
		}
	}
}

// Walks of one client, and of one sequence, do not disturb each other.
func TestSearchLeadsConcurrently(t *testing.T) {
	t.Parallel()
	api := newAPI()
	api.AddLeads(crowd(80)...)
	client := newClient(t, api.ServeHTTP)
	shared := client.SearchLeads(t.Context(),
		clixnow.SearchLeadsRequest{OrderBy: clixnow.OrderByModifiedOn, Count: 10, Prefetch: 2})
	var (
		walks  sync.WaitGroup
		failed atomic.Int32
	)
	for range 4 {
		walks.Go(func() {
			var ids []int64
			for lead, err := range shared {
				if err != nil {
					failed.Add(1)
				}
				ids = append(ids, lead.ID)
			}
			if !slices.Equal(ids, upTo(80)) {
				failed.Add(1)
			}
		})
	}
	walks.Wait()
	assert.Zero(t, failed.Load())
	assert.ElementsMatch(t, []string{"ModifiedOn"}, slices.Sorted(maps.Keys(counted(queries(api, "orderBy")))))
}

func counted[T comparable](values []T) map[T]int {
	counts := make(map[T]int)
	for _, value := range values {
		counts[value]++
	}
	return counts
}

// A page of one lead does not show an order. A server that has an order of its
// own can be read in such pages too.
func TestSearchLeadsOneByOneInAnotherOrder(t *testing.T) {
	t.Parallel()
	client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		skip, _ := strconv.Atoi(r.URL.Query().Get("skip"))
		count, _ := strconv.Atoi(r.URL.Query().Get("count"))
		var page []string
		for id := 45 - skip; id > max(0, 45-skip-count); id-- {
			page = append(page, fmt.Sprintf(`{"id":%d}`, id))
		}
		_, _ = fmt.Fprintf(w, "[%s]", strings.Join(page, ","))
	})
	seen := map[int64]int{}
	for lead, err := range client.SearchLeads(t.Context(), clixnow.SearchLeadsRequest{Count: 1}) {
		require.NoError(t, err)
		seen[lead.ID]++
	}
	assert.Len(t, seen, 45)
}

// row returns a lead in JSON. Leads are in the same place in every order.
func row(id int, more string) string {
	date := noon.Add(time.Duration(id) * time.Second).Format(time.RFC3339)
	return fmt.Sprintf(`{"id":%d,"createdOn":%q,"updatedOn":%[2]q,"ftdDate":%[2]q%s}`, id, date, more)
}

// servePages answers each request with the rows that page returns for it. n
// counts the requests from 0.
func servePages(page func(n, skip, count int) []string) (handle http.HandlerFunc, requests *atomic.Int32) {
	requests = new(atomic.Int32)
	return func(w http.ResponseWriter, r *http.Request) {
		count, _ := strconv.Atoi(r.URL.Query().Get("count"))
		rows := page(int(requests.Add(1))-1, skipOf(r), count)
		answer(http.StatusOK, "application/json", "["+strings.Join(rows, ",")+"]")(w, r)
	}, requests
}

// cut returns the part of a list that a request asks for.
func cut[T any](rows []T, skip, count int) []T {
	rows = rows[min(skip, len(rows)):]
	return rows[:min(count, len(rows))]
}

// A server that answers a few pages in turn costs a handful of requests.
func TestSearchLeadsFromServerThatAnswersPagesInTurn(t *testing.T) {
	t.Parallel()
	span := func(first, last int) (rows []string) {
		for _, id := range from(first, last) {
			rows = append(rows, row(int(id), ""))
		}
		return rows
	}
	for name, pages := range map[string][][]string{
		"leads 1-10, 2-11":              {span(1, 10), span(2, 11)},
		"leads 1-10, 11-20":             {span(1, 10), span(11, 20)},
		"leads 1-10, 101-110":           {span(1, 10), span(101, 110)},
		"leads 101-110, 1-10":           {span(101, 110), span(1, 10)},
		"leads 1-10, 2-11, 3-12":        {span(1, 10), span(2, 11), span(3, 12)},
		"leads 1-10, 5-14, 9-18, 13-22": {span(1, 10), span(5, 14), span(9, 18), span(13, 22)},
		"leads 1-10, up to 31-40, back": {span(1, 10), span(11, 20), span(21, 30), span(31, 40), span(21, 30)},
	} {
		for _, by := range orders {
			for _, prefetch := range []int{0, 64} {
				t.Run(fmt.Sprintf("%s, by %s, prefetch %d", name, by, prefetch), func(t *testing.T) {
					t.Parallel()
					handle, requests := servePages(func(n, _, _ int) []string { return pages[n%len(pages)] })
					client := newClient(t, handle)
					req := clixnow.SearchLeadsRequest{OrderBy: by, Count: 10, Prefetch: prefetch}
					ids, err := drainIDs(t, client.SearchLeads(t.Context(), req))
					require.ErrorIs(t, err, clixnow.ErrUnstableResults)
					require.ErrorContains(t, err, "clixnow: acme: search leads: ")
					assert.Len(t, counted(ids), len(ids), "no lead comes twice")
					assert.LessOrEqual(t, int(requests.Load()), 10+5*len(pages)+prefetch)
				})
			}
		}
	}
}

// A short result costs few requests, whatever Prefetch is.
func TestSearchLeadsPrefetchOfShortResult(t *testing.T) {
	t.Parallel()
	for leads, most := range map[int]int{0: 1, 9: 1, 10: 2, 25: 5, 53: 10, 100: 20} {
		for _, by := range orders {
			t.Run(fmt.Sprintf("%d leads, by %s", leads, by), func(t *testing.T) {
				t.Parallel()
				inBubble(t, time.Hour, func(t *testing.T) {
					api := newAPI()
					api.AddLeads(crowd(leads)...)
					client := memoryClient(t, slowly(api, func(int) time.Duration { return time.Second }))
					req := clixnow.SearchLeadsRequest{OrderBy: by, Count: 10, Prefetch: 64}
					ids, err := drainIDs(t, client.SearchLeads(t.Context(), req))
					require.NoError(t, err)
					assert.Equal(t, upTo(leads), ids)
					assert.LessOrEqual(t, len(api.Requests()), most)
				})
			})
		}
	}
}

// A field that this version does not know may change at each read, such as a
// signed link. It is not part of a lead's version.
func TestSearchLeadsWithVolatileExtra(t *testing.T) {
	t.Parallel()
	for _, by := range orders {
		for _, count := range []int{10, 50} {
			for _, prefetch := range []int{0, 3} {
				t.Run(fmt.Sprintf("by %s, %d a page, prefetch %d", by, count, prefetch), func(t *testing.T) {
					t.Parallel()
					handle, requests := servePages(func(n, skip, count int) []string {
						var rows []string
						for id := 1; id <= 50; id++ {
							link := fmt.Sprintf(`,"file":"https://files.example/%d?signature=%d"`, id, n)
							rows = append(rows, row(id, link))
						}
						return cut(rows, skip, count)
					})
					client := newClient(t, handle)
					req := clixnow.SearchLeadsRequest{OrderBy: by, Count: count, Prefetch: prefetch}
					ids, err := drainIDs(t, client.SearchLeads(t.Context(), req))
					require.NoError(t, err)
					assert.Equal(t, upTo(50), ids)
					assert.LessOrEqual(t, int(requests.Load()), 1+50/(count-1)+2*prefetch)
				})
			}
		}
	}
}

// One lead several times in a row is one lead. A server repeats it if it joins
// tables, before or after it cuts the page.
func TestSearchLeadsWithRepeatedLeads(t *testing.T) {
	t.Parallel()
	for name, copies := range map[string]func(id int) int{
		"one, twice":           func(id int) int { return 1 + 150/id*(id/150) },
		"the first, twice":     func(id int) int { return 1 + 1/id },
		"all, twice":           func(int) int { return 2 },
		"every third, 4 times": func(id int) int { return 1 + 3*(id%3/2) },
	} {
		repeat := func(ids []int) (rows []string) {
			for _, id := range ids {
				for range copies(id) {
					rows = append(rows, row(id, ""))
				}
			}
			return rows
		}
		ids := make([]int, 350)
		for i := range ids {
			ids[i] = i + 1
		}
		all := repeat(ids)
		for cuts, page := range map[string]func(n, skip, count int) []string{
			"repeated, then cut": func(_, skip, count int) []string { return cut(all, skip, count) },
			"cut, then repeated": func(_, skip, count int) []string { return repeat(cut(ids, skip, count)) },
		} {
			for _, by := range orders[1:4] {
				for _, count := range []int{10, 100, 0} {
					t.Run(fmt.Sprintf("%s, %s, by %s, count %d", name, cuts, by, count), func(t *testing.T) {
						t.Parallel()
						handle, _ := servePages(page)
						client := newClient(t, handle)
						req := clixnow.SearchLeadsRequest{OrderBy: by, Count: count, Prefetch: 2}
						got, err := drainIDs(t, client.SearchLeads(t.Context(), req))
						require.NoError(t, err)
						assert.Equal(t, upTo(350), got)
					})
				}
			}
		}
	}
}

// A lead that comes again after others is not one lead several times in a row.
// By id, that is not the order that was asked for.
func TestSearchLeadsWithLeadThatComesAgain(t *testing.T) {
	t.Parallel()
	handle, _ := servePages(func(_, skip, count int) []string {
		var rows []string
		for _, id := range slices.Concat(upTo(15), from(12, 30)) {
			rows = append(rows, row(int(id), ""))
		}
		return cut(rows, skip, count)
	})
	client := newClient(t, handle)
	ids, err := drainIDs(t, client.SearchLeads(t.Context(), clixnow.SearchLeadsRequest{Count: 10}))
	require.ErrorIs(t, err, clixnow.ErrUnstableResults)
	assert.Equal(t, upTo(10), ids)
}
