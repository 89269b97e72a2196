package e2e_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// filter is how a server compares dates with a bound.
type filter struct {
	name string
	// first returns the first date, in milliseconds, that the bound shows. A
	// zero time means that the bound is ignored.
	first func(bound time.Time) time.Time
}

// units are what servers may compare.
var units = []struct {
	name string
	// step returns the first date of the unit of t, or of a unit that is so
	// many further on.
	step func(t time.Time, further int) time.Time
}{
	{"milliseconds", stepsOf(time.Millisecond)},
	{"datetime", datetimeStep},
	{"seconds", stepsOf(time.Second)},
	{"minutes", stepsOf(time.Minute)},
	{"hours", stepsOf(time.Hour)},
	{"days", stepsOf(24 * time.Hour)},
}

func stepsOf(unit time.Duration) func(t time.Time, further int) time.Time {
	return func(t time.Time, further int) time.Time {
		return t.Truncate(unit).Add(time.Duration(further) * unit)
	}
}

// filters returns the filters that the API reference leaves open.
func filters() []filter {
	all := []filter{{"ignored", func(time.Time) time.Time { return time.Time{} }}}
	for _, unit := range units {
		all = append(all,
			filter{unit.name + ", included", func(bound time.Time) time.Time { return unit.step(bound, 0) }},
			filter{unit.name + ", excluded", func(bound time.Time) time.Time { return unit.step(bound, 1) }},
			// As CAST(ModifiedOn AS date) >= @from: only the dates are cut.
			filter{unit.name + ", bound not cut", func(bound time.Time) time.Time {
				if first := unit.step(bound, 0); first.Equal(bound) {
					return first
				}
				return unit.step(bound, 1)
			}},
		)
	}
	return all
}

// someFilters returns filters of each kind, and all of them for long tests.
func someFilters() []filter {
	all := filters()
	if isLong() {
		return all
	}
	names := []string{
		"ignored", "milliseconds, included", "seconds, excluded", "hours, included", "days, bound not cut",
	}
	return slices.DeleteFunc(all, func(f filter) bool { return !slices.Contains(names, f.name) })
}

// isLong reports whether tests should try more.
func isLong() bool { return os.Getenv("CLIXNOW_LONG") != "" }

// datetimeStep returns the first millisecond that SQL Server rounds to the same
// .000, .003 or .007 of a second as t, or to the step so many further on.
func datetimeStep(t time.Time, further int) time.Time {
	base := t.Truncate(10 * time.Millisecond).Add(-10 * time.Millisecond)
	var starts []time.Time
	for range 4 {
		for _, first := range []time.Duration{2, 5, 9} { // of .003, of .007, of the next .000
			starts = append(starts, base.Add(first*time.Millisecond))
		}
		base = base.Add(10 * time.Millisecond)
	}
	after := slices.IndexFunc(starts, func(start time.Time) bool { return start.After(t) })
	return starts[after-1+further]
}

func TestDatetimeStep(t *testing.T) {
	t.Parallel()
	for milliseconds, want := range map[int]int{
		0: -1, 1: -1, 2: 2, 3: 2, 4: 2, 5: 5, 6: 5, 7: 5, 8: 5, 9: 9, 10: 9, 11: 9, 12: 12,
	} {
		at := noon.Add(time.Duration(milliseconds) * time.Millisecond)
		assert.Equal(t, time.Duration(want)*time.Millisecond, datetimeStep(at, 0).Sub(noon), milliseconds)
	}
	assert.Equal(t, 2*time.Millisecond, datetimeStep(noon, 1).Sub(noon))
}

const queryTime = "2006-01-02T15:04:05"

// filtering makes a server that includes its bound and compares milliseconds
// act as another one.
func (f filter) filtering(api http.Handler) http.HandlerFunc {
	return rewrite(api, func(query url.Values) {
		for _, name := range []string{"modifiedOnFrom", "createdOnFrom"} {
			bound, err := time.Parse(queryTime, query.Get(name))
			if err != nil {
				continue // the request has no bound
			}
			query.Del(name)
			if first := f.first(bound); !first.IsZero() {
				query.Set(name, first.Format(queryTime+".000"))
			}
		}
	})
}

var printedDate = regexp.MustCompile(`"(updatedOn|createdOn)":"([^"]*)"`)

// printing rewrites the dates in responses.
func printing(api http.Handler, shown func(time.Time) time.Time) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		recorder := httptest.NewRecorder()
		api.ServeHTTP(recorder, r)
		maps.Copy(w.Header(), recorder.Header())
		w.Header().Del("Content-Length")
		w.WriteHeader(recorder.Code)
		_, _ = w.Write(printedDate.ReplaceAllFunc(recorder.Body.Bytes(), func(member []byte) []byte {
			parts := printedDate.FindSubmatch(member)
			date, err := time.Parse(time.RFC3339, string(parts[2]))
			if err != nil {
				panic(err)
			}
			return fmt.Appendf(nil, `"%s":"%s"`, parts[1], shown(date).Format(time.RFC3339Nano))
		}))
	}
}

// prints are the ways to print dates.
var prints = map[string]func(time.Time) time.Time{
	"milliseconds":    func(t time.Time) time.Time { return t },
	"cut to seconds":  func(t time.Time) time.Time { return t.Truncate(time.Second) },
	"rounded seconds": func(t time.Time) time.Time { return t.Round(time.Second) },
}

// Whatever the server makes of the bound, nothing is lost, if dates are a few
// milliseconds apart, and if many share one.
func TestLeadChangesWhateverTheFilter(t *testing.T) {
	t.Parallel()
	for _, filter := range someFilters() {
		for printed, shown := range prints {
			t.Run(filter.name+", printed "+printed, func(t *testing.T) {
				t.Parallel()
				inBubble(t, time.Minute, func(t *testing.T) {
					api := newAPI()
					var leads []clixnow.Lead
					at := noon
					for id := range int64(70) {
						leads = append(leads, clixnow.Lead{ID: id + 1, UpdatedOn: at})
						at = at.Add(time.Duration([]int{0, 1, 3, 7, 90, 700}[id%6]) * time.Millisecond)
					}
					api.AddLeads(leads...)
					client := memoryClient(t, printing(filter.filtering(api), shown))

					changes := client.LeadChanges(t.Context(), clixnow.LeadChangesRequest{PageSize: 10})
					ids, err := drainIDs(t, changes)
					require.NoError(t, err)
					assert.Equal(t, upTo(70), ids, "the whole history")

					for _, since := range []int{31, 32, 33, 34} {
						ids, err = drainIDs(t, client.LeadChanges(t.Context(), clixnow.LeadChangesRequest{
							PageSize: 10, Since: shown(leads[since].UpdatedOn), Overlap: -1,
						}))
						require.NoError(t, err)
						assert.Subset(t, ids, from(since+1, 70), "since lead %d", since+1)
					}

					passes := 0
					seen := make(map[int64]string)
					req := clixnow.LeadChangesRequest{
						PageSize: 10, PollInterval: time.Second,
						Checkpoint: func(time.Time, bool) error {
							if passes++; passes == 8 {
								return errors.New("enough")
							}
							for n := range int64(7) {
								modify(int64(passes)*13%63+n+1)(t, api)
								time.Sleep(time.Duration(n) * time.Millisecond)
							}
							return nil
						},
					}
					for lead, err := range client.LeadChanges(t.Context(), req) {
						if err == nil {
							seen[lead.ID] = lead.Status
						}
					}
					for _, lead := range api.Leads() {
						assert.Equal(t, lead.Status, seen[lead.ID], "lead %d", lead.ID)
					}
					assert.Less(t, len(api.Requests()), 250)
				})
			})
		}
	}
}

// 3,000 leads, one a second, of servers that compare modifiedOnFrom by minute,
// hour or day: all are yielded (case L3).
func TestLeadChangesYieldsAllBehindACoarseFilter(t *testing.T) {
	t.Parallel()
	for _, precision := range []time.Duration{0, time.Second, time.Minute, time.Hour, 24 * time.Hour} {
		for _, exclusive := range []bool{false, true} {
			if exclusive && precision == 0 && !isLong() {
				continue
			}
			for _, size := range []int{100, 1000} {
				for _, first := range []int{0, 2900} {
					if first == 0 && (size < 1000 || precision < time.Minute) && !isLong() {
						continue
					}
					t.Run(fmt.Sprint(precision, exclusive, size, first), func(t *testing.T) {
						t.Parallel()
						inBubble(t, 2*time.Hour, func(t *testing.T) {
							options := []clixnowtest.Option{clixnowtest.WithFilterPrecision(precision)}
							if exclusive {
								options = append(options, clixnowtest.WithExclusiveBounds())
							}
							api := newAPI(options...)
							api.AddLeads(crowd(3000)...)
							req := clixnow.LeadChangesRequest{PageSize: size, Overlap: -1}
							if first > 0 {
								req.Since = noon.Add(time.Duration(first) * time.Second)
							}
							ids, err := drainIDs(t, memoryClient(t, api).LeadChanges(t.Context(), req))
							require.NoError(t, err)
							assert.Equal(t, from(first+1, 3000), ids)
							pages := (3000-first)/(size-1) + 1
							assert.LessOrEqual(t, len(api.Requests()), pages+pages/2+18)
						})
					})
				}
			}
		}
	}
}

// Ten days of polling, also of a server that runs CAST(ModifiedOn AS date) >=
// @from: all leads are yielded (case L4).
func TestLeadChangesPollsAFilterOfDays(t *testing.T) {
	t.Parallel()
	for _, filter := range someFilters() {
		leads := 120
		if filter.name == "days, bound not cut" {
			leads = 480
		}
		if isLong() {
			leads = 2400
		}
		every := 240 * time.Hour / time.Duration(leads)
		t.Run(filter.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, 0, func(t *testing.T) {
				api := newAPI()
				added := 0
				enough := errors.New("enough")
				req := clixnow.LeadChangesRequest{
					PollInterval: every,
					Checkpoint: func(time.Time, bool) error {
						if added == leads {
							return enough
						}
						added++
						time.AfterFunc(every-time.Second, func() { api.AddLeads(clixnow.Lead{ID: int64(added)}) })
						return nil
					},
				}
				client := memoryClient(t, filter.filtering(api))
				ids, err := drainIDs(t, client.LeadChanges(t.Context(), req))
				require.ErrorIs(t, err, enough)
				assert.Equal(t, upTo(leads), ids)
				assert.LessOrEqual(t, len(api.Requests()), 3*leads+20)
			})
		})
	}
}

// If the start of a pass does not move, the window that was proven is used
// again. So a poll without changes costs one request.
func TestLeadChangesPollWithoutChanges(t *testing.T) {
	t.Parallel()
	for _, filter := range filters() {
		for _, leads := range []int{1, 5, 300} {
			t.Run(fmt.Sprint(filter.name, leads), func(t *testing.T) {
				t.Parallel()
				inBubble(t, 400*time.Hour, func(t *testing.T) {
					api := newAPI()
					for n := range leads {
						api.AddLeads(clixnow.Lead{ID: int64(n + 1), CreatedOn: noon.Add(time.Duration(n) * time.Hour)})
					}
					last := noon.Add(time.Duration(leads-1) * time.Hour)
					for _, since := range []time.Time{{}, last} {
						var requests []int
						req := clixnow.LeadChangesRequest{Since: since, PollInterval: time.Minute}
						follow(t.Context(), memoryClient(t, filter.filtering(api)), req, 12, func(*journal) {
							requests = append(requests, len(api.Requests()))
						})
						n, most := len(requests), 2
						if leads > 10 && (filter.name == "ignored" || strings.HasPrefix(filter.name, "days")) {
							most = 4 // after a page of ten or more, one more request shows that it was the last one
						}
						assert.LessOrEqual(t, requests[n-1]-requests[n-3], most, "two polls")
					}
				})
			})
		}
	}
}

// undatedServer shows leads as a server does that gives them no date of
// modification until they are modified.
type undatedServer struct {
	leads []clixnow.Lead
	// place is where such leads stand in the order of modification: "front",
	// "end", or "creation" for where their creation puts them.
	place string
	// hides reports that a filter by modification hides such leads.
	hides    bool
	filter   filter
	requests []url.Values
}

func (s *undatedServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	s.requests = append(s.requests, query)
	date := s.modified
	if query.Get("orderBy") == "CreatedOn" {
		date = func(l clixnow.Lead) time.Time { return l.CreatedOn }
	}
	found := []clixnow.Lead{}
	for _, lead := range s.leads {
		if s.shows(query, lead) {
			found = append(found, lead)
		}
	}
	slices.SortStableFunc(found, func(a, b clixnow.Lead) int { return date(a).Compare(date(b)) })
	skip, _ := strconv.Atoi(cmp.Or(query.Get("skip"), "0"))
	count, _ := strconv.Atoi(query.Get("count"))
	found = found[min(skip, len(found)):]
	body, err := json.Marshal(found[:min(count, len(found))])
	if err != nil {
		panic(err)
	}
	w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
	_, _ = w.Write(body)
}

// modified returns by what the lead is sorted.
func (s *undatedServer) modified(lead clixnow.Lead) time.Time {
	if !lead.UpdatedOn.IsZero() {
		return lead.UpdatedOn
	}
	switch s.place {
	case "front":
		return time.Time{}
	case "end":
		return noon.Add(1e6 * time.Hour)
	}
	return lead.CreatedOn
}

func (s *undatedServer) shows(query url.Values, lead clixnow.Lead) bool {
	if bound, err := time.Parse(queryTime, query.Get("createdOnFrom")); err == nil {
		return !lead.CreatedOn.Before(s.filter.first(bound))
	}
	bound, err := time.Parse(queryTime, query.Get("modifiedOnFrom"))
	if err != nil || s.filter.first(bound).IsZero() {
		return true
	}
	if lead.UpdatedOn.IsZero() {
		return !s.hides && (s.place != "creation" || !lead.CreatedOn.Before(s.filter.first(bound)))
	}
	return !lead.UpdatedOn.Before(s.filter.first(bound))
}

// Leads that were never modified may have no updatedOn. They count as modified
// when they were created, wherever they stand, and even if the filter hides
// them.
func TestLeadChangesOfLeadsThatWereNeverModified(t *testing.T) {
	t.Parallel()
	for _, filter := range someFilters() {
		for _, place := range []string{"front", "end", "creation"} {
			for _, hides := range []bool{false, true} {
				if filter.name == "ignored" && (hides || place == "creation") && !isLong() {
					continue // it makes no difference
				}
				t.Run(fmt.Sprintf("%s, %s, hidden %t", filter.name, place, hides), func(t *testing.T) {
					t.Parallel()
					inBubble(t, time.Hour, func(t *testing.T) {
						server := &undatedServer{place: place, hides: hides, filter: filter}
						for id := range int64(60) { // every third one was modified
							lead := clixnow.Lead{ID: id + 1, CreatedOn: noon.Add(time.Duration(id) * time.Second)}
							if id%3 == 0 {
								lead.UpdatedOn = lead.CreatedOn.Add(10 * time.Minute)
							}
							server.leads = append(server.leads, lead)
						}
						client := memoryClient(t, server)
						for _, size := range []int{7, 1000} {
							req := clixnow.LeadChangesRequest{PageSize: size}
							ids, err := drainIDs(t, client.LeadChanges(t.Context(), req))
							require.NoError(t, err)
							assert.ElementsMatch(t, upTo(60), ids, "the whole history, once")

							req.Since, req.Overlap = noon.Add(30*time.Second), 10*time.Second
							ids, err = drainIDs(t, client.LeadChanges(t.Context(), req))
							require.NoError(t, err)
							want := slices.DeleteFunc(upTo(60), func(id int64) bool { return id <= 20 && id%3 != 1 })
							assert.ElementsMatch(t, want, ids, "from 20 seconds after noon on")
						}

						state := 0
						seen := make(map[int64]string)
						req := clixnow.LeadChangesRequest{
							PageSize: 7, PollInterval: time.Minute,
							Checkpoint: func(time.Time, bool) error {
								if state++; state == 8 {
									return errors.New("enough")
								}
								now := time.Now().UTC()
								id := int64(len(server.leads) + 1)
								server.leads = append(server.leads, clixnow.Lead{ID: id, CreatedOn: now})
								changed := &server.leads[state*7]
								changed.Status, changed.UpdatedOn = strconv.Itoa(state), now
								return nil
							},
						}
						for lead, err := range client.LeadChanges(t.Context(), req) {
							if err == nil {
								seen[lead.ID] = lead.Status
							}
						}
						for _, lead := range server.leads {
							status, yielded := seen[lead.ID]
							assert.True(t, yielded, "lead %d", lead.ID)
							assert.Equal(t, lead.Status, status, "lead %d", lead.ID)
						}
					})
				})
			}
		}
	}
}

// One of 30 leads has no updatedOn: all are yielded (case L28).
func TestLeadChangesYieldsALeadWithoutUpdatedOn(t *testing.T) {
	t.Parallel()
	for _, undated := range []int{0, 7, 29} {
		for _, since := range []time.Time{{}, noon} {
			t.Run(fmt.Sprint(undated, since.IsZero()), func(t *testing.T) {
				t.Parallel()
				inBubble(t, time.Hour, func(t *testing.T) {
					server := &undatedServer{leads: crowd(30), place: "creation", filter: filters()[1]}
					server.leads[undated].UpdatedOn = time.Time{}
					client := memoryClient(t, server)
					for range 2 {
						req := clixnow.LeadChangesRequest{Since: since}
						ids, err := drainIDs(t, client.LeadChanges(t.Context(), req))
						require.NoError(t, err)
						assert.ElementsMatch(t, upTo(30), ids)
					}
				})
			})
		}
	}
}

// The leads that were created since the start are read first, and the position
// stays meanwhile.
func TestLeadChangesReadsCreatedLeadsFirst(t *testing.T) {
	t.Parallel()
	inBubble(t, time.Hour, func(t *testing.T) {
		server := &undatedServer{place: "creation", hides: true, filter: filters()[1]}
		for id := range int64(6) {
			lead := clixnow.Lead{ID: id + 1, CreatedOn: noon.Add(time.Duration(id) * time.Minute)}
			if id < 3 {
				lead.UpdatedOn = lead.CreatedOn.Add(20 * time.Minute)
			}
			server.leads = append(server.leads, lead)
		}
		req := clixnow.LeadChangesRequest{
			Since: noon.Add(2 * time.Minute), PollInterval: time.Minute, CheckpointEvery: 1,
		}
		requests := 0
		j := follow(t.Context(), memoryClient(t, server), req, 8, func(*journal) { requests = len(server.requests) })
		assert.Equal(t, journal{
			"4", "position 2m0s", "5", "position 2m0s", "6", "position 2m0s",
			"1", "position 20m0s", "2", "position 21m0s", "3", "position 22m0s",
			"caught up 22m0s", "caught up 22m0s",
		}, j)
		assert.Len(t, server.requests[requests:], 2, "a poll without changes reads both orders")
	})
}

// Once a lead was seen that was never modified and has an updatedOn, the
// created leads are not read any more.
func TestLeadChangesEndsTheReadingOfCreatedLeads(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(leads []clixnow.Lead) []clixnow.Lead
		since  time.Time
		// want says in which passes created leads are read.
		want [2]bool
	}{
		{name: "all are dated", change: func(leads []clixnow.Lead) []clixnow.Lead { return leads }},
		{name: "created on is hidden", change: func(leads []clixnow.Lead) []clixnow.Lead {
			for i := range leads {
				leads[i].CreatedOn = time.Time{}
			}
			return leads
		}},
		{name: "all were modified", change: func(leads []clixnow.Lead) []clixnow.Lead {
			for i := range leads {
				leads[i].UpdatedOn = leads[i].UpdatedOn.Add(time.Millisecond)
			}
			return leads
		}, want: [2]bool{true, true}},
		{name: "all that show were modified", change: func(leads []clixnow.Lead) []clixnow.Lead {
			leads[0].UpdatedOn = noon.Add(20 * time.Minute)
			leads[1].UpdatedOn = noon.Add(30 * time.Minute)
			return leads
		}, since: noon.Add(21*time.Minute + time.Second), want: [2]bool{true, false}},
		{name: "one is not dated", change: func(leads []clixnow.Lead) []clixnow.Lead {
			leads[3].UpdatedOn = time.Time{}
			return leads
		}, want: [2]bool{true, true}},
		{name: "none", change: func([]clixnow.Lead) []clixnow.Lead { return nil }, want: [2]bool{true, true}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, time.Hour, func(t *testing.T) {
				server := &undatedServer{leads: test.change(crowd(5)), place: "creation", filter: filters()[1]}
				first := 0
				req := clixnow.LeadChangesRequest{Since: test.since, PollInterval: time.Minute}
				j := follow(t.Context(), memoryClient(t, server), req, 2,
					func(*journal) { first = len(server.requests) })
				assert.NotContains(t, j, "pass failed")
				created := func(query url.Values) bool { return query.Get("orderBy") == "CreatedOn" }
				assert.Equal(t, test.want, [2]bool{
					slices.ContainsFunc(server.requests[:first], created),
					slices.ContainsFunc(server.requests[first:], created),
				})
			})
		})
	}
}

// The reading of the created leads ends with the page that shows that all leads
// are dated.
func TestLeadChangesEndsTheReadingOfCreatedLeadsWithinAPass(t *testing.T) {
	t.Parallel()
	inBubble(t, time.Hour, func(t *testing.T) {
		server := &undatedServer{leads: crowd(45), place: "creation", filter: filters()[1]}
		for i := range server.leads {
			lead := &server.leads[i]
			if i < 15 { // a page of leads that were modified, and more
				lead.UpdatedOn = lead.UpdatedOn.Add(20 * time.Minute)
				continue
			}
			lead.CreatedOn = lead.CreatedOn.Add(30 * time.Minute)
			lead.UpdatedOn = lead.CreatedOn
		}
		req := clixnow.LeadChangesRequest{Since: noon.Add(20 * time.Minute), PageSize: 10}
		ids, err := drainIDs(t, memoryClient(t, server).LeadChanges(t.Context(), req))
		require.NoError(t, err)
		assert.ElementsMatch(t, upTo(45), ids)
		created := 0
		for _, query := range server.requests {
			if query.Get("orderBy") == "CreatedOn" {
				created++
			}
		}
		assert.Equal(t, 1, created)
	})
}

// The loop may end while the created leads are read.
func TestLeadChangesEndsWhileCreatedLeadsAreRead(t *testing.T) {
	t.Parallel()
	server := func() *undatedServer {
		s := &undatedServer{leads: crowd(5), place: "creation", filter: filters()[1]}
		for i := range s.leads {
			s.leads[i].UpdatedOn = time.Time{}
		}
		return s
	}
	t.Run("break", func(t *testing.T) {
		t.Parallel()
		inBubble(t, time.Hour, func(t *testing.T) {
			read := 0
			for _, err := range memoryClient(t, server()).LeadChanges(t.Context(), clixnow.LeadChangesRequest{}) {
				require.NoError(t, err)
				if read++; read == 2 {
					break
				}
			}
			assert.Equal(t, 2, read)
		})
	})
	t.Run("context", func(t *testing.T) {
		t.Parallel()
		inBubble(t, time.Hour, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			client := memoryClient(t, server())
			var last error
			read := 0
			for _, err := range client.LeadChanges(ctx, clixnow.LeadChangesRequest{PollInterval: time.Minute}) {
				if last = err; err == nil {
					read++
					cancel()
				}
			}
			assert.Equal(t, 1, read)
			require.ErrorIs(t, last, context.Canceled)
			require.NotErrorIs(t, last, clixnow.ErrPassFailed)
		})
	})
	t.Run("error of Checkpoint", func(t *testing.T) {
		t.Parallel()
		inBubble(t, time.Hour, func(t *testing.T) {
			full := errors.New("disk full")
			req := clixnow.LeadChangesRequest{
				PollInterval: time.Minute, CheckpointEvery: 2,
				Checkpoint: func(time.Time, bool) error { return full },
			}
			ids, err := drainIDs(t, memoryClient(t, server()).LeadChanges(t.Context(), req))
			assert.Equal(t, full, err)
			assert.Equal(t, upTo(2), ids)
		})
	})
	t.Run("failed request", func(t *testing.T) {
		t.Parallel()
		inBubble(t, time.Hour, func(t *testing.T) {
			handler := before(server(), func(n int) {
				if n == 2 {
					panic(http.ErrAbortHandler)
				}
			})
			client := memoryClient(t, handler, clixnow.WithRetry(clixnow.RetryPolicy{MaxAttempts: 1}))
			j := follow(t.Context(), client, clixnow.LeadChangesRequest{PollInterval: time.Minute}, 2, goOn)
			assert.Equal(t, journal{"pass failed", "1", "2", "3", "4", "5", "caught up 4s"}, j)
		})
	})
}
