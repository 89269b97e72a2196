package clixnowtest_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// model is a simple form of the server: all states of all leads. Each search
// looks at all of them.
type model map[int64][]state

type state struct {
	id int64
	// dates holds the dates by the name of their order.
	dates map[string]time.Time
	// visibleFrom is the time from which searches show the state.
	visibleFrom time.Time
}

func (m model) put(lead clixnow.Lead, delay time.Duration) {
	visibleFrom := time.Time{}
	if delay > 0 {
		visibleFrom = lead.UpdatedOn.Add(delay)
	}
	m[lead.ID] = append(m[lead.ID], state{lead.ID, map[string]time.Time{
		"CreatedOn": lead.CreatedOn, "ModifiedOn": lead.UpdatedOn, "FtdDate": lead.FTDDate,
	}, visibleFrom})
}

// comparison is how the server compares dates with bounds.
type comparison struct {
	precision time.Duration
	exclusive bool
}

// precedes reports whether a is before b, or at the same time if that counts.
func (c comparison) precedes(a, b time.Time) bool {
	if c.precision > 0 {
		step := c.precision.Milliseconds()
		a, b = time.UnixMilli(a.UnixMilli()/step), time.UnixMilli(b.UnixMilli()/step)
	}
	return a.Before(b) || a.Equal(b) && !c.exclusive
}

func (m model) search(now time.Time, order string, from, to map[string]time.Time, c comparison,
	skip, count int,
) []int64 {
	var states []state
	for _, history := range m {
		for _, s := range slices.Backward(history) {
			// The newest state that is visible counts.
			if !s.visibleFrom.After(now) {
				states = append(states, s)
				break
			}
		}
	}
	states = slices.DeleteFunc(states, func(s state) bool {
		for name, date := range s.dates {
			if bound, ok := from[name]; ok && (date.IsZero() || !c.precedes(bound, date)) {
				return true
			}
			if bound, ok := to[name]; ok && (date.IsZero() || !c.precedes(date, bound)) {
				return true
			}
		}
		return false
	})
	slices.SortFunc(states, func(a, b state) int {
		return cmp.Or(a.dates[order].Compare(b.dates[order]), cmp.Compare(a.id, b.id))
	})
	states = states[min(skip, len(states)):]
	list := make([]int64, 0, count)
	for _, s := range states[:min(count, len(states))] {
		list = append(list, s.id)
	}
	return list
}

// serveSearch passes a search to the handler, without a connection.
func serveSearch(server *clixnowtest.Server, query string) *httptest.ResponseRecorder {
	request := httptest.NewRequestWithContext(context.Background(), http.MethodGet, searchPath+"?"+query, http.NoBody)
	request.Header.Set("Authorization", "ApiToken "+server.Token)
	recorder := httptest.NewRecorder()
	server.ServeHTTP(recorder, request)
	return recorder
}

// TestSearchAgainstModel adds, changes and deletes leads at random. It compares
// each search result with that of the model.
func TestSearchAgainstModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			var (
				random = rand.New(rand.NewPCG(seed, 0))
				begin  = date("2021-08-08T12:00:00Z")
				now    = begin
				delay  time.Duration
				model  = make(model)
				// compare is how this server compares bounds.
				compare = comparison{time.Duration(seed) * 3 * time.Millisecond, seed%2 == 1}
				options = []clixnowtest.Option{
					clixnowtest.WithClock(func() time.Time { return now }),
					clixnowtest.WithSearchDelay(func(clixnow.Lead) time.Duration { return delay }),
					clixnowtest.WithFilterPrecision(compare.precision),
				}
			)
			if compare.exclusive {
				options = append(options, clixnowtest.WithExclusiveBounds())
			}
			server := clixnowtest.NewHandler(options...)
			someTime := func() time.Time { return begin.Add(time.Duration(random.IntN(100)) * time.Millisecond) }
			for range 1000 {
				now = now.Add(time.Duration(random.IntN(3)/2) * time.Millisecond)
				delay = time.Duration(max(0, random.IntN(20)-10)) * time.Millisecond
				id := int64(random.IntN(100) + 1)
				switch random.IntN(4) {
				case 0:
					lead := clixnow.Lead{ID: id, CreatedOn: someTime()}
					if random.IntN(2) == 0 {
						lead.FTDDate = someTime()
					}
					if delete(model, id); server.DeleteLead(id) != nil {
						model.put(server.AddLeads(lead)[0], delay)
					}
				case 1:
					if server.UpdateLead(id, func(l *clixnow.Lead) { l.FTDDate = someTime() }) == nil {
						i := slices.IndexFunc(server.Leads(), func(l clixnow.Lead) bool { return l.ID == id })
						model.put(server.Leads()[i], delay)
					}
				default:
					checkSearch(t, random, server, model, now, compare, someTime)
				}
			}
		})
	}
}

func checkSearch(t *testing.T, random *rand.Rand, server *clixnowtest.Server, m model, now time.Time,
	compare comparison, someTime func() time.Time,
) {
	t.Helper()
	orders := []string{"Id", "CreatedOn", "ModifiedOn", "FtdDate"}
	order, skip, count := orders[random.IntN(4)], random.IntN(30), random.IntN(30)
	query := url.Values{"orderBy": {order}, "skip": {strconv.Itoa(skip)}, "count": {strconv.Itoa(count)}}
	from, to := make(map[string]time.Time), make(map[string]time.Time)
	for _, name := range orders[1:] {
		if random.IntN(3) == 0 {
			from[name] = someTime()
			query.Set(name+"From", from[name].Format("2006-01-02T15:04:05.000"))
		}
		if random.IntN(3) == 0 {
			to[name] = someTime()
			query.Set(name+"To", to[name].Format("2006-01-02T15:04:05.000"))
		}
	}
	recorder := serveSearch(server, query.Encode())
	require.Equal(t, http.StatusOK, recorder.Code)
	assert.Equal(t, m.search(now, order, from, to, compare, skip, count), ids(t, recorder.Body.String()), query)
}
