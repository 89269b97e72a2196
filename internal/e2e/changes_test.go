package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// inBubble runs a test with fake time, at noon of the crowd and so long after.
func inBubble(t *testing.T, after time.Duration, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(noon) + after)
		test(t)
	})
}

func TestLeadChangesOverHTTP(t *testing.T) {
	t.Parallel()
	api := newAPI()
	api.AddLeads(crowd(95)...)
	modify(40, 3, 77)(t, api)
	client := newClient(t, api.ServeHTTP)

	changes := client.LeadChanges(t.Context(), clixnow.LeadChangesRequest{PageSize: 10})
	assert.Empty(t, api.Requests(), "before it is ranged over")
	want := slices.DeleteFunc(upTo(95), func(id int64) bool { return id == 40 || id == 3 || id == 77 })
	for range 2 { // each range starts at Since
		ids, err := drainIDs(t, changes)
		require.NoError(t, err)
		require.Len(t, ids, 95)
		assert.Equal(t, want, ids[:92], "the oldest change first")
		assert.ElementsMatch(t, []int64{40, 3, 77}, ids[92:])
	}
	first := api.Requests()[0]
	assert.Equal(t, "/api/system/v1/leads/search", first.Path)
	assert.Equal(t, url.Values{"orderBy": {"ModifiedOn"}, "count": {"10"}}, first.Query)
}

// The requests for a whole history, and for the changes since a position.
func TestLeadChangesOnTheWire(t *testing.T) {
	t.Parallel()
	at := func(seconds float64) time.Time { return noon.Add(time.Duration(seconds * float64(time.Second))) }
	tests := []struct {
		name  string
		req   clixnow.LeadChangesRequest
		want  []int64
		count string
		from  []string
		skip  map[int]string // by the number of the request; others have none
	}{
		{
			name: "whole history",
			want: upTo(25), count: "1000",
			from: []string{"", "2026-05-04T12:00:23.990"},
		},
		{
			name: "whole history, pages of ten",
			req:  clixnow.LeadChangesRequest{PageSize: 10},
			want: upTo(25), count: "10",
			from: []string{"", "2026-05-04T12:00:08.990", "2026-05-04T12:00:17.990"},
		},
		{
			name: "pages of one",
			req:  clixnow.LeadChangesRequest{PageSize: 1, Since: at(23), Overlap: -1},
			want: from(24, 25), count: "2",
			from: []string{
				"2026-05-04T12:00:21", "2026-05-04T12:00:21", "2026-05-04T12:00:22.990",
				"2026-05-04T12:00:23.990",
			},
			skip: map[int]string{1: "1"},
		},
		{
			name: "since",
			req:  clixnow.LeadChangesRequest{Since: at(75.5)},
			want: from(17, 25), count: "1000",
			from: []string{"2026-05-04T12:00:13", "2026-05-04T12:00:23.990"},
		},
		{
			name: "since, in another zone",
			req:  clixnow.LeadChangesRequest{Since: at(75.5).In(time.FixedZone("", 7200))},
			want: from(17, 25), count: "1000",
			from: []string{"2026-05-04T12:00:13", "2026-05-04T12:00:23.990"},
		},
		{
			name: "short overlap",
			req:  clixnow.LeadChangesRequest{Since: at(20.5), Overlap: 2 * time.Second},
			want: from(20, 25), count: "1000",
			from: []string{"2026-05-04T12:00:16"},
		},
		{
			name: "overlap longer than the history",
			req:  clixnow.LeadChangesRequest{Since: at(20), Overlap: time.Hour},
			want: upTo(25), count: "1000",
			from: []string{"2026-05-04T11:00:18", "2026-05-04T10:52:00", "", "2026-05-04T12:00:23.990"},
		},
		{
			name: "no overlap",
			req:  clixnow.LeadChangesRequest{Since: at(20), Overlap: -1},
			want: from(21, 25), count: "1000",
			from: []string{"2026-05-04T12:00:18"},
		},
		{
			name: "no overlap, between two leads",
			req:  clixnow.LeadChangesRequest{Since: at(20.5), Overlap: -1},
			want: from(22, 25), count: "1000",
			from: []string{"2026-05-04T12:00:18"},
		},
		{
			name:  "nothing new",
			req:   clixnow.LeadChangesRequest{Since: at(90)},
			count: "1000",
			from:  []string{"2026-05-04T12:00:28", "2026-05-02T11:00:30", "2026-05-02T11:00:30"},
			skip:  map[int]string{2: "24"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, time.Hour, func(t *testing.T) {
				api := newAPI()
				api.AddLeads(crowd(25)...)
				client := memoryClient(t, api)
				for range 2 {
					before := len(api.Requests())
					ids, err := drainIDs(t, client.LeadChanges(t.Context(), test.req))
					require.NoError(t, err)
					assert.Equal(t, test.want, ids)
					assert.Equal(t, test.from, queries(api, "modifiedOnFrom")[before:])
				}
				for n, r := range api.Requests() {
					assert.Equal(t, "ModifiedOn", r.Query.Get("orderBy"))
					assert.Equal(t, test.count, r.Query.Get("count"))
					assert.Equal(t, test.skip[n%len(test.from)], r.Query.Get("skip"))
				}
			})
		})
	}
}

func TestLeadChangesRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		req   clixnow.LeadChangesRequest
		field string
	}{
		{"page size", clixnow.LeadChangesRequest{PageSize: 1001}, "pageSize"},
		{"negative page size", clixnow.LeadChangesRequest{PageSize: -1}, "pageSize"},
		{"negative interval", clixnow.LeadChangesRequest{PollInterval: -1}, "pollInterval"},
		{"negative checkpoint", clixnow.LeadChangesRequest{CheckpointEvery: -1}, "checkpointEvery"},
		{"year 10000", clixnow.LeadChangesRequest{Since: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}, "since"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			api := newAPI()
			test.req.Checkpoint = func(time.Time, bool) error { panic("not caught up") }
			leads, err := drain(t, newClient(t, api.ServeHTTP).LeadChanges(t.Context(), test.req))
			var invalid *clixnow.ValidationError
			require.ErrorAs(t, err, &invalid)
			require.Len(t, invalid.Fields, 1)
			assert.Equal(t, test.field, invalid.Fields[0].Field)
			assert.Equal(t, clixnow.ProblemOutOfRange, invalid.Fields[0].Code)
			require.ErrorIs(t, err, clixnow.ErrInvalidRequest)
			require.NotErrorIs(t, err, clixnow.ErrPassFailed)
			assert.Empty(t, leads)
			assert.Empty(t, api.Requests())
		})
	}
	t.Run("nil context", func(t *testing.T) {
		t.Parallel()
		api := newAPI()
		var none context.Context
		client := newClient(t, api.ServeHTTP)
		_, err := drain(t, client.LeadChanges(none, clixnow.LeadChangesRequest{PollInterval: time.Hour}))
		require.ErrorIs(t, err, clixnow.ErrNotSent)
		assert.Empty(t, api.Requests())
	})
	t.Run("year 9999", func(t *testing.T) {
		t.Parallel()
		client := newClient(t, newAPI().ServeHTTP)
		req := clixnow.LeadChangesRequest{Since: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)}
		_, err := drain(t, client.LeadChanges(t.Context(), req))
		require.NoError(t, err)
	})
	t.Run("page size without validation", func(t *testing.T) {
		t.Parallel()
		client := newClient(t, newAPI().ServeHTTP, clixnow.WithoutValidation())
		req := clixnow.LeadChangesRequest{PageSize: 1001, PollInterval: time.Hour}
		_, err := drain(t, client.LeadChanges(t.Context(), req))
		require.ErrorIs(t, err, clixnow.ErrBadRequest)
	})
}

// journal is what a loop over changes met, in order: ids, positions relative to
// noon, and errors.
type journal []string

func (j *journal) note(format string, args ...any) { *j = append(*j, fmt.Sprintf(format, args...)) }

func (j *journal) checkpoint(since time.Time, caughtUp bool) {
	what := "position"
	if caughtUp {
		what = "caught up"
	}
	if since.IsZero() {
		j.note("%s zero", what)
	} else {
		j.note("%s %v", what, since.Sub(noon))
	}
}

// follow reads changes and notes them. It ends after so many checkpoints and
// errors, and calls next after each one before.
func follow(ctx context.Context, client *clixnow.Client, req clixnow.LeadChangesRequest, things int,
	next func(*journal),
) journal {
	var j journal
	enough := errors.New("enough")
	req.Checkpoint = func(since time.Time, caughtUp bool) error {
		j.checkpoint(since, caughtUp)
		if things--; things <= 0 {
			return enough
		}
		next(&j)
		return nil
	}
	for lead, err := range client.LeadChanges(ctx, req) {
		switch {
		case errors.Is(err, enough):
			return j
		case err != nil:
			if errors.Is(err, clixnow.ErrPassFailed) {
				j.note("pass failed")
			} else {
				j.note("error")
			}
			if things--; things <= 0 {
				return j
			}
			next(&j)
		default:
			j.note("%d", lead.ID)
		}
	}
	j.note("end")
	return j
}

func goOn(*journal) {}

func TestLeadChangesCheckpoint(t *testing.T) {
	t.Parallel()
	t.Run("server's time if there has never been a lead", func(t *testing.T) {
		t.Parallel()
		inBubble(t, 0, func(t *testing.T) {
			api := newAPI()
			j := follow(t.Context(), memoryClient(t, api), clixnow.LeadChangesRequest{PollInterval: time.Minute}, 3,
				func(j *journal) {
					if len(*j) == 1 { // after the first pass
						time.AfterFunc(30*time.Second, func() { api.AddLeads(clixnow.Lead{ID: 7}) })
					}
				})
			assert.Equal(t, journal{"caught up 0s", "7", "caught up 30s", "caught up 30s"}, j)
		})
	})
	t.Run("since if nothing was seen", func(t *testing.T) {
		t.Parallel()
		inBubble(t, time.Hour, func(t *testing.T) {
			j := follow(t.Context(), memoryClient(t, newAPI()),
				clixnow.LeadChangesRequest{Since: noon.Add(1500 * time.Millisecond)}, 2, goOn)
			assert.Equal(t, journal{"caught up 1.5s", "end"}, j)
		})
	})
	t.Run("at the end of each pass, with the newest change", func(t *testing.T) {
		t.Parallel()
		inBubble(t, time.Hour, func(t *testing.T) {
			api := newAPI()
			api.AddLeads(crowd(4)...)
			j := follow(t.Context(), memoryClient(t, api), clixnow.LeadChangesRequest{PollInterval: time.Minute}, 3,
				func(*journal) {
					modify(2)(t, api)
				})
			assert.Equal(t, journal{
				"1", "2", "3", "4", "caught up 3s", "2", "caught up 1h0m0s", "2", "caught up 1h1m0s",
			}, j)
		})
	})
	t.Run("never before since", func(t *testing.T) {
		t.Parallel()
		inBubble(t, time.Hour, func(t *testing.T) {
			api := newAPI()
			api.AddLeads(crowd(4)...)
			req := clixnow.LeadChangesRequest{Since: noon.Add(time.Minute), CheckpointEvery: 3}
			j := follow(t.Context(), memoryClient(t, api), req, 3, goOn)
			assert.Equal(t, journal{"1", "2", "3", "position 1m0s", "4", "caught up 1m0s", "end"}, j)
		})
	})
	t.Run("in the goroutine of the loop", func(t *testing.T) {
		t.Parallel()
		inBubble(t, time.Hour, func(t *testing.T) {
			assert.PanicsWithValue(t, "mine", func() {
				req := clixnow.LeadChangesRequest{
					PollInterval: time.Minute,
					Checkpoint:   func(time.Time, bool) error { panic("mine") },
				}
				for _, err := range memoryClient(t, newAPI()).LeadChanges(t.Context(), req) {
					require.NoError(t, err)
					assert.Fail(t, "nothing to yield")
				}
			})
		})
	})
	t.Run("before the wait", func(t *testing.T) {
		t.Parallel()
		inBubble(t, time.Hour, func(t *testing.T) {
			var called []time.Duration
			enough := errors.New("enough")
			req := clixnow.LeadChangesRequest{PollInterval: time.Minute, Checkpoint: func(time.Time, bool) error {
				called = append(called, time.Since(noon)-time.Hour)
				if len(called) == 3 {
					return enough
				}
				time.Sleep(time.Second) // a transaction takes some time
				return nil
			}}
			_, err := drain(t, memoryClient(t, newAPI()).LeadChanges(t.Context(), req))
			require.ErrorIs(t, err, enough)
			assert.Equal(t, []time.Duration{0, 61 * time.Second, 122 * time.Second}, called)
		})
	})
	t.Run("not after a break", func(t *testing.T) {
		t.Parallel()
		inBubble(t, time.Hour, func(t *testing.T) {
			api := newAPI()
			api.AddLeads(crowd(3)...)
			req := clixnow.LeadChangesRequest{
				CheckpointEvery: 3,
				Checkpoint:      func(time.Time, bool) error { panic("called") },
			}
			for lead, err := range memoryClient(t, api).LeadChanges(t.Context(), req) {
				require.NoError(t, err)
				if lead.ID == 3 { // the last one
					break
				}
			}
		})
	})
}

// Within a pass Checkpoint is called after each n leads, with the position of
// the lead that was handled last.
func TestLeadChangesCheckpointEvery(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		every int
		size  int
		want  journal
	}{
		{"never", 0, 1000, journal{"1", "2", "3", "4", "5", "6", "7", "caught up 6s", "end"}},
		{"each lead", 1, 1000, journal{
			"1", "position 0s", "2", "position 1s", "3", "position 2s", "4", "position 3s", "5", "position 4s",
			"6", "position 5s", "7", "position 6s", "caught up 6s", "end",
		}},
		{"every three", 3, 1000, journal{
			"1", "2", "3", "position 2s", "4", "5", "6", "position 5s", "7", "caught up 6s", "end",
		}},
		{"every three, over pages", 3, 2, journal{
			"1", "2", "3", "position 2s", "4", "5", "6", "position 5s", "7", "caught up 6s", "end",
		}},
		{"as many as there are", 7, 1000, journal{
			"1", "2", "3", "4", "5", "6", "7", "position 6s", "caught up 6s", "end",
		}},
		{"more than there are", 8, 1000, journal{"1", "2", "3", "4", "5", "6", "7", "caught up 6s", "end"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, time.Hour, func(t *testing.T) {
				api := newAPI()
				api.AddLeads(crowd(7)...)
				req := clixnow.LeadChangesRequest{PageSize: test.size, CheckpointEvery: test.every}
				assert.Equal(t, test.want, follow(t.Context(), memoryClient(t, api), req, 20, goOn))
			})
		})
	}
	t.Run("the end of a pass counts", func(t *testing.T) {
		t.Parallel()
		inBubble(t, time.Hour, func(t *testing.T) {
			api := newAPI()
			api.AddLeads(crowd(4)...)
			req := clixnow.LeadChangesRequest{PollInterval: time.Minute, CheckpointEvery: 3}
			j := follow(t.Context(), memoryClient(t, api), req, 4, func(j *journal) {
				if len(*j) == 6 { // the end of the first pass
					modify(1, 2)(t, api)
				}
			})
			assert.Equal(t, journal{
				"1", "2", "3", "position 2s", "4", "caught up 3s", "1", "2", "caught up 1h0m0s",
				"caught up 1h0m0s",
			}, j)
		})
	})
	t.Run("not later than the beginning of the pass", func(t *testing.T) {
		t.Parallel()
		inBubble(t, 2*time.Second, func(t *testing.T) {
			api := newAPI()
			api.AddLeads(crowd(5)...) // leads 4 and 5 are dated ahead
			req := clixnow.LeadChangesRequest{CheckpointEvery: 1}
			assert.Equal(t, journal{
				"1", "position 0s", "2", "position 1s", "3", "position 2s", "4", "position 2s", "5", "position 2s",
				"caught up 2s", "end",
			}, follow(t.Context(), memoryClient(t, api), req, 20, goOn))
		})
	})
	t.Run("nil", func(t *testing.T) {
		t.Parallel()
		inBubble(t, time.Hour, func(t *testing.T) {
			api := newAPI()
			api.AddLeads(crowd(5)...)
			changes := memoryClient(t, api).LeadChanges(t.Context(), clixnow.LeadChangesRequest{CheckpointEvery: 2})
			ids, err := drainIDs(t, changes)
			require.NoError(t, err)
			assert.Equal(t, upTo(5), ids)
		})
	})
}

// An error of Checkpoint is the last thing yielded. It is not wrapped.
func TestLeadChangesCheckpointFails(t *testing.T) {
	t.Parallel()
	for _, interval := range []time.Duration{0, time.Minute} {
		for _, every := range []int{0, 2} {
			t.Run(fmt.Sprint(interval, every), func(t *testing.T) {
				t.Parallel()
				inBubble(t, time.Hour, func(t *testing.T) {
					api := newAPI()
					api.AddLeads(crowd(3)...)
					full := errors.New("disk full")
					calls := 0
					req := clixnow.LeadChangesRequest{
						PollInterval: interval, CheckpointEvery: every,
						Checkpoint: func(time.Time, bool) error { calls++; return full },
					}
					ids, err := drainIDs(t, memoryClient(t, api).LeadChanges(t.Context(), req))
					assert.Equal(t, full, err)
					assert.Equal(t, upTo(3-every/2), ids)
					assert.Equal(t, 1, calls)
					assert.Len(t, api.Requests(), 1)
				})
			})
		}
	}
}

func TestLeadChangesResumes(t *testing.T) {
	t.Parallel()
	inBubble(t, time.Hour, func(t *testing.T) {
		api := newAPI()
		api.AddLeads(crowd(200)...)
		client := memoryClient(t, api)
		var saved time.Time
		req := clixnow.LeadChangesRequest{PageSize: 10, Checkpoint: func(since time.Time, _ bool) error {
			saved = since
			return nil
		}}
		ids, err := drainIDs(t, client.LeadChanges(t.Context(), req))
		require.NoError(t, err)
		assert.Equal(t, upTo(200), ids)
		assert.Equal(t, noon.Add(199*time.Second), saved)

		modify(5, 190)(t, api)
		req.Since = saved
		ids, err = drainIDs(t, client.LeadChanges(t.Context(), req))
		require.NoError(t, err)
		assert.Equal(t, append(slices.DeleteFunc(from(140, 200), func(id int64) bool { return id == 190 }), 5, 190),
			ids,
			"the leads of the overlap, then the new changes")
		assert.Equal(t, noon.Add(time.Hour), saved)

		time.Sleep(2 * time.Minute)
		req.Since, req.Overlap = saved, -1
		ids, err = drainIDs(t, client.LeadChanges(t.Context(), req))
		require.NoError(t, err)
		assert.Equal(t, []int64{5, 190}, ids, "the position itself is within")
		assert.Equal(t, noon.Add(time.Hour), saved)
	})
}

// A program that dies within a pass goes on from the position that Checkpoint
// gave it last.
func TestLeadChangesResumesWithinAPass(t *testing.T) {
	t.Parallel()
	inBubble(t, time.Hour, func(t *testing.T) {
		api := newAPI()
		api.AddLeads(crowd(500)...)
		client := memoryClient(t, api)
		seen := make(map[int64]bool)
		var saved time.Time
		runs := 0
		for ; len(seen) < 500 && runs < 100; runs++ {
			read := 0
			var batch []int64
			req := clixnow.LeadChangesRequest{
				Since: saved, PageSize: 10, Overlap: 10 * time.Second, CheckpointEvery: 7,
				Checkpoint: func(since time.Time, _ bool) error {
					for _, id := range batch {
						seen[id] = true
					}
					batch, saved = nil, since
					return nil
				},
			}
			for lead, err := range client.LeadChanges(t.Context(), req) {
				require.NoError(t, err)
				batch = append(batch, lead.ID)
				if read++; read == 50 {
					break
				}
			}
		}
		assert.Len(t, seen, 500)
		assert.Equal(t, 13, runs, "each run comes further than an overlap")
	})
}

// fault is an answer, or none, in place of the server's.
type fault struct {
	name string
	clixnowtest.Fault
	want error
}

// transientFaults are faults after which polling goes on.
func transientFaults() []fault {
	faults := []fault{
		{"not JSON", clixnowtest.Fault{Status: 200, Body: "<html>"}, clixnow.ErrInvalidResponse},
		{"no list", clixnowtest.Fault{Status: 200, Body: "{}"}, clixnow.ErrInvalidResponse},
		{"lead without dates", clixnowtest.Fault{Status: 200, Body: `[{"id":1}]`}, clixnow.ErrInvalidResponse},
		{
			"lead without id",
			clixnowtest.Fault{Status: 200, Body: `[{"updatedOn":"2026-05-04T12:00:00Z"}]`},
			clixnow.ErrInvalidResponse,
		},
		{"no connection", clixnowtest.Fault{Drop: clixnowtest.DropBeforeHandling}, nil},
		{
			"Retry-After of an hour",
			clixnowtest.Fault{Status: 429, Header: http.Header{"Retry-After": {"3600"}}},
			clixnow.ErrRateLimited,
		},
	}
	for _, status := range []int{408, 429, 500, 501, 502, 503, 504, 520, 599} {
		faults = append(faults, fault{strconv.Itoa(status), clixnowtest.Fault{Status: status}, nil})
	}
	return faults
}

// finalFaults are faults that end the polling.
func finalFaults() []fault {
	var faults []fault
	for _, status := range []int{300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 409, 410, 415, 422, 451, 499} {
		faults = append(faults, fault{strconv.Itoa(status), clixnowtest.Fault{Status: status}, nil})
	}
	return faults
}

func TestLeadChangesErrorsWithoutPolling(t *testing.T) {
	t.Parallel()
	for _, fault := range append(transientFaults(), finalFaults()...) {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, time.Hour, func(t *testing.T) {
				api := newAPI()
				api.AddLeads(crowd(100)...)
				fault.Times = 1000
				api.Inject(clixnowtest.Fault{Times: 3}, fault.Fault)
				req := clixnow.LeadChangesRequest{
					PageSize:   10,
					Checkpoint: func(time.Time, bool) error { panic("not caught up") },
				}
				ids, err := drainIDs(t, memoryClient(t, api).LeadChanges(t.Context(), req))
				require.Error(t, err)
				if fault.want != nil {
					require.ErrorIs(t, err, fault.want)
				}
				require.NotErrorIs(t, err, clixnow.ErrPassFailed)
				assert.Equal(t, upTo(28), ids)
			})
		})
	}
}

func TestLeadChangesErrorsWithPolling(t *testing.T) {
	t.Parallel()
	const interval = time.Minute
	for _, fault := range transientFaults() {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, time.Hour, func(t *testing.T) {
				api := newAPI()
				api.AddLeads(crowd(100)...)
				fault.Times = 2
				api.Inject(clixnowtest.Fault{Times: 7}, fault.Fault)
				var failed time.Time
				retried := make(map[time.Duration]bool)
				client := memoryClient(t, before(api, func(int) {
					if !failed.IsZero() {
						retried[time.Since(failed)] = true
					}
				}), clixnow.WithRetry(clixnow.RetryPolicy{MaxAttempts: 1}))
				j := follow(t.Context(), client, clixnow.LeadChangesRequest{PageSize: 10, PollInterval: interval}, 3,
					func(*journal) {
						if failed.IsZero() {
							failed = time.Now()
						}
					})
				var want journal
				for id := 1; id <= 100; id++ {
					want.note("%d", id)
				}
				want = slices.Insert(want, 64, "pass failed", "pass failed")
				assert.Equal(t, append(want, "caught up 1m39s"), j)
				assert.Equal(t, map[time.Duration]bool{interval: true, 2 * interval: true}, retried)
				assert.Equal(t, []string{"2026-05-04T12:00:02.990", "2026-05-04T12:00:02.990"},
					queries(api, "modifiedOnFrom")[8:10],
					"just before lead 4, one overlap before lead 64, the newest yielded")
			})
		})
	}
	for _, fault := range finalFaults() {
		t.Run("final "+fault.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, time.Hour, func(t *testing.T) {
				api := newAPI()
				api.AddLeads(crowd(100)...)
				api.Inject(clixnowtest.Fault{Times: 7}, fault.Fault)
				client := memoryClient(t, api)
				j := follow(t.Context(), client, clixnow.LeadChangesRequest{PageSize: 10, PollInterval: interval}, 3,
					goOn)
				require.Len(t, j, 66)
				assert.Equal(t, journal{"64", "error", "end"}, j[63:])
				assert.Len(t, api.Requests(), 8)
			})
		})
	}
	t.Run("the loop may end at an error", func(t *testing.T) {
		t.Parallel()
		inBubble(t, time.Hour, func(t *testing.T) {
			api := newAPI()
			api.Inject(clixnowtest.Fault{Status: 500, Times: 1000})
			began := time.Now()
			for _, err := range memoryClient(t, api).LeadChanges(t.Context(),
				clixnow.LeadChangesRequest{PollInterval: interval}) {
				require.ErrorIs(t, err, clixnow.ErrServer)
				break
			}
			assert.Less(t, time.Since(began), time.Second)
		})
	})
	t.Run("an outage of a day", func(t *testing.T) {
		t.Parallel()
		inBubble(t, time.Hour, func(t *testing.T) {
			api := newAPI()
			api.AddLeads(crowd(10)...)
			dead := time.Now().Add(24 * time.Hour)
			client := memoryClient(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if time.Now().Before(dead) {
					panic(http.ErrAbortHandler)
				}
				api.ServeHTTP(w, r)
			}))
			failures := 0
			for lead, err := range client.LeadChanges(t.Context(), clixnow.LeadChangesRequest{PollInterval: interval}) {
				if err == nil {
					assert.EqualValues(t, 1, lead.ID)
					break
				}
				failures++
			}
			assert.InDelta(t, 24*60, failures, 3)
		})
	})
}

// ErrPassFailed keeps the error of the pass within reach.
func TestLeadChangesPassFailed(t *testing.T) {
	t.Parallel()
	for _, fault := range transientFaults() {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, time.Hour, func(t *testing.T) {
				api := newAPI()
				fault.Times = 100
				api.Inject(fault.Fault)
				client := memoryClient(t, api)
				_, plain := drain(t, client.LeadChanges(t.Context(), clixnow.LeadChangesRequest{}))
				for _, err := range client.LeadChanges(t.Context(), clixnow.LeadChangesRequest{PollInterval: 1}) {
					require.ErrorIs(t, err, clixnow.ErrPassFailed)
					assert.Equal(t, plain.Error()+"; another pass follows", err.Error())
					assert.Equal(t, err.Error(), fmt.Sprint(err))
					if fault.want != nil {
						require.ErrorIs(t, err, fault.want)
					}
					var want, got *clixnow.APIError
					require.Equal(t, errors.As(plain, &want), errors.As(err, &got))
					if want != nil {
						assert.Equal(t, want.StatusCode, got.StatusCode)
					}
					break
				}
			})
		})
	}
}

// An error is no failed pass if the context ends before the next pass.
func TestLeadChangesLastPassFails(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		deadline time.Duration
		cancels  bool // the context ends while the pass fails
		errors   int  // 0 means any number: the next pass may begin just then
		failed   bool // the first error matches ErrPassFailed
	}{
		{name: "deadline after the next pass", deadline: 61 * time.Second, errors: 3, failed: true},
		{name: "deadline at the next pass", deadline: time.Minute},
		{name: "deadline before the next pass", deadline: 59 * time.Second, errors: 2},
		{name: "cancelled in the last request", cancels: true, errors: 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, time.Hour, func(t *testing.T) {
				api := newAPI()
				api.Inject(clixnowtest.Fault{Status: 501, Times: 100})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if test.deadline > 0 {
					ctx, cancel = context.WithTimeout(ctx, test.deadline)
					defer cancel()
				}
				handler := before(api, func(int) {
					if test.cancels {
						time.AfterFunc(time.Second, cancel)
					}
				})
				client := memoryClient(t, handler,
					clixnow.WithTransport(func(next http.RoundTripper) http.RoundTripper {
						return roundTripper(func(r *http.Request) (*http.Response, error) {
							//nolint:contextcheck // the response arrives although the context has ended
							resp, err := next.RoundTrip(r.WithContext(context.WithoutCancel(r.Context())))
							if test.cancels {
								<-ctx.Done() // the response arrives just then
							}
							return resp, err
						})
					}))
				var errs []error
				for _, err := range client.LeadChanges(ctx, clixnow.LeadChangesRequest{PollInterval: time.Minute}) {
					errs = append(errs, err)
				}
				if test.errors > 0 {
					require.Len(t, errs, test.errors)
				}
				require.ErrorIs(t, errs[0], clixnow.ErrServer)
				assert.Equal(t, test.failed, errors.Is(errs[0], clixnow.ErrPassFailed))
				last := errs[len(errs)-1]
				require.ErrorIs(t, last, ctx.Err())
				require.NotErrorIs(t, last, clixnow.ErrPassFailed)
			})
		})
	}
}

// If the loop ends the context between two leads, the rest of the page is not
// yielded.
func TestLeadChangesContextEndsInTheLoop(t *testing.T) {
	t.Parallel()
	api := newAPI()
	api.AddLeads(crowd(5)...)
	client := newClient(t, api.ServeHTTP)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var leads int
	var errs []error
	for _, err := range client.LeadChanges(ctx, clixnow.LeadChangesRequest{}) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		leads++
		cancel()
	}
	assert.Equal(t, 1, leads)
	require.Len(t, errs, 1)
	require.ErrorIs(t, errs[0], context.Canceled)
	assert.Contains(t, errs[0].Error(), "clixnow: acme: lead changes: ")
}

// A server that answers every request with the same page, whose leads are of
// one instant, must not be read for ever.
func TestLeadChangesOfAServerThatDoesNotAdvance(t *testing.T) {
	t.Parallel()
	var page []string
	for id := range 10 {
		page = append(page, fmt.Sprintf(`{"id":%d,"updatedOn":"2022-12-19T11:01:58Z"}`, id+1))
	}
	client := newClient(t, answer(http.StatusOK, "", "["+strings.Join(page, ",")+"]"))
	var last error
	for _, err := range client.LeadChanges(t.Context(), clixnow.LeadChangesRequest{PageSize: 10}) {
		last = err
	}
	require.ErrorIs(t, last, clixnow.ErrUnstableResults)
	assert.Contains(t, last.Error(), "clixnow: acme: lead changes: ")
}

func TestLeadChangesContext(t *testing.T) {
	t.Parallel()
	cause := errors.New("shutting down")
	tests := []struct {
		name   string
		faults clixnowtest.Fault
		slow   time.Duration
		ends   time.Duration
		before int // errors
	}{
		{name: "before the first request"},
		{name: "in a request", slow: time.Hour, ends: 10 * time.Second},
		{
			name:   "in a back-off",
			faults: clixnowtest.Fault{Status: 503, Header: http.Header{"Retry-After": {"5"}}, Times: 9},
			ends:   3 * time.Second,
		},
		{name: "in the wait", ends: 10 * time.Second},
		{
			name: "in the wait after an error", faults: clixnowtest.Fault{Status: 501, Times: 9},
			ends:   10 * time.Second,
			before: 1,
		},
	}
	for _, test := range tests {
		for _, way := range []string{"cancelled", "deadline"} {
			t.Run(test.name+", "+way, func(t *testing.T) {
				t.Parallel()
				inBubble(t, time.Hour, func(t *testing.T) {
					api := newAPI()
					api.Inject(test.faults)
					handler := slowly(api, func(int) time.Duration { return test.slow })
					client := memoryClient(t, handler, clixnow.WithRetry(clixnow.RetryPolicy{}))
					ctx, cancel := context.WithCancelCause(t.Context())
					defer cancel(nil)
					want := context.Canceled
					began := time.Now()
					switch {
					case way == "deadline":
						var release context.CancelFunc
						ctx, release = context.WithTimeoutCause(ctx, test.ends, cause)
						defer release()
						want = context.DeadlineExceeded
					case test.ends == 0:
						cancel(cause)
					default:
						time.AfterFunc(test.ends, func() { cancel(cause) })
					}
					var errs []error
					req := clixnow.LeadChangesRequest{PollInterval: 24 * time.Hour}
					for _, err := range client.LeadChanges(ctx, req) {
						errs = append(errs, err)
					}
					require.NotEmpty(t, errs)
					last := errs[len(errs)-1]
					require.ErrorIs(t, last, want)
					require.ErrorIs(t, last, cause)
					assert.Equal(t, test.ends, time.Since(began))
					if way == "cancelled" {
						assert.Len(t, errs, test.before+1)
					}
				})
			})
		}
	}
}

// scripted answers each request with the next text, and the last one for ever.
func scripted(requests *int, answers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		text := answers[min(*requests, len(answers)-1)]
		*requests++
		answer(http.StatusOK, "application/json", text)(w, r)
	}
}

func TestLeadChangesPageOutOfOrder(t *testing.T) {
	t.Parallel()
	const (
		inOrder    = `[{"id":1,"updatedOn":"2026-05-04T12:00:00.5Z"},{"id":2,"updatedOn":"2026-05-04T12:00:01Z"}]`
		outOfOrder = `[{"id":2,"updatedOn":"2026-05-04T12:00:01Z"},{"id":1,"updatedOn":"2026-05-04T12:00:00.5Z"}]`
		undated    = `[{"id":1,"updatedOn":"2026-05-04T12:00:01Z"},{"id":2,"updatedOn":null}]`
		none       = `[]`
		created    = `[{"id":2,"createdOn":"2026-05-04T12:00:01Z"},{"id":1,"createdOn":"2026-05-04T12:00:00.5Z"}]`
		both       = `[{"id":1,"updatedOn":"2026-05-04T12:00:01Z"},{"id":2,"updatedOn":"2026-05-04T12:00:00Z"},` +
			`{"id":3}]`
	)
	tests := []struct {
		name     string
		answers  []string
		ids      []int64
		field    string
		requests int
	}{
		{"in order", []string{inOrder}, upTo(2), "", 1},
		{"once", []string{outOfOrder, inOrder}, upTo(2), "", 2},
		{"for ever", []string{outOfOrder}, nil, "[1].updatedOn: not in ascending order", 3},
		{"created leads, for ever", []string{none, created}, nil, "[1].createdOn: not in ascending order", 4},
		{"without a date", []string{undated, inOrder}, nil, "[1].updatedOn: missing", 1},
		{"out of order, and without a date", []string{both, inOrder}, nil, "[2].updatedOn: missing", 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			requests := 0
			client := newClient(t, scripted(&requests, test.answers...))
			ids, err := drainIDs(t, client.LeadChanges(t.Context(), clixnow.LeadChangesRequest{}))
			if test.field == "" {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, clixnow.ErrInvalidResponse)
				require.ErrorContains(t, err, test.field)
				var answer *clixnow.APIError
				require.ErrorAs(t, err, &answer)
				assert.Equal(t, http.StatusOK, answer.StatusCode)
			}
			assert.Equal(t, test.ids, ids)
			assert.Equal(t, test.requests, requests)
		})
	}
}

// Two changes may share an instant. Then only their content differs.
func TestLeadChangesOfOneInstant(t *testing.T) {
	t.Parallel()
	status := func(text string) string {
		return fmt.Sprintf(`[{"id":1,"status":%q,"updatedOn":"2026-05-04T12:00:00Z"}]`, text)
	}
	inBubble(t, time.Hour, func(t *testing.T) {
		requests := 0
		client := memoryClient(t,
			scripted(&requests, status("New"), status("New"), status("Called"), status("New"), status("New")))
		var statuses []string
		req := clixnow.LeadChangesRequest{PollInterval: time.Minute, Checkpoint: func(time.Time, bool) error {
			if requests == 5 {
				return errors.New("enough")
			}
			return nil
		}}
		for lead, err := range client.LeadChanges(t.Context(), req) {
			if err == nil {
				statuses = append(statuses, lead.Status)
			}
		}
		assert.Equal(t, []string{"New", "Called", "New"}, statuses)
	})
}

func TestLeadChangesThatAreDatedAhead(t *testing.T) {
	t.Parallel()
	for _, size := range []int{2, 10, 1000} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			t.Parallel()
			inBubble(t, time.Minute, func(t *testing.T) {
				api := newAPI()
				leads := crowd(12)
				for i := range leads[:3] {
					leads[i].UpdatedOn = noon.Add(time.Duration(100+i) * time.Hour)
				}
				api.AddLeads(leads...)
				j := follow(t.Context(), memoryClient(t, api),
					clixnow.LeadChangesRequest{PageSize: size, PollInterval: time.Minute}, 4, func(*journal) {
						time.Sleep(time.Second)
						modify(5)(t, api)
					})
				assert.Equal(t, journal{
					"4", "5", "6", "7", "8", "9", "10", "11", "12", "1", "2", "3", "caught up 1m0s",
					"5", "caught up 2m1s", "5", "caught up 3m2s", "5", "caught up 4m3s",
				}, j)
			})
		})
	}
}

func TestLeadChangesSinceAhead(t *testing.T) {
	t.Parallel()
	tests := []struct {
		ahead    time.Duration
		position string
		from     []string // the first bounds
	}{
		{ahead: time.Hour, position: "2m0s", from: []string{"2026-05-04T13:01:48", "2026-05-04T12:01:48"}},
		{
			ahead: 1100 * time.Millisecond, position: "2m0s",
			from: []string{"2026-05-04T12:01:49", "2026-05-04T12:01:48"},
		},
		// The server tells its time in whole seconds.
		{ahead: time.Second, position: "2m1s", from: []string{"2026-05-04T12:01:49", "2026-05-02T11:01:51"}},
		{ahead: 0, position: "2m0s", from: []string{"2026-05-04T12:01:48", "2026-05-02T11:01:50"}},
	}
	for _, test := range tests {
		t.Run(test.ahead.String(), func(t *testing.T) {
			t.Parallel()
			inBubble(t, 2*time.Minute, func(t *testing.T) {
				api := newAPI()
				api.AddLeads(crowd(10)...)
				modify(3, 4)(t, api)
				j := follow(t.Context(), memoryClient(t, api), clixnow.LeadChangesRequest{
					Since: noon.Add(2*time.Minute + test.ahead), Overlap: 10 * time.Second, PollInterval: time.Minute,
				}, 2, func(*journal) {
					assert.Equal(t, test.from, queries(api, "modifiedOnFrom")[:2])
					time.Sleep(1500 * time.Millisecond)
					modify(8)(t, api)
				})
				assert.Equal(t, journal{"3", "4", "caught up " + test.position, "8", "caught up 2m1.5s"}, j)
			})
		})
	}
}

// With the server's clock behind ours, changes are dated behind ours too.
func TestLeadChangesGoByTheServersClock(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{-3 * time.Hour, 3 * time.Hour} {
		t.Run(off.String(), func(t *testing.T) {
			t.Parallel()
			inBubble(t, 0, func(t *testing.T) {
				api := newAPI(clixnowtest.WithClock(func() time.Time { return time.Now().Add(off) }))
				api.AddLeads(clixnow.Lead{ID: 1}, clixnow.Lead{ID: 2, UpdatedOn: noon.Add(100 * time.Hour)})
				j := follow(t.Context(), memoryClient(t, api), clixnow.LeadChangesRequest{PollInterval: time.Minute},
					3, func(*journal) {
						modify(1)(t, api)
					})
				assert.Equal(t, journal{
					"1", "2", "caught up " + off.String(), "1", "caught up " + (off + time.Minute).String(),
					"1", "caught up " + (off + 2*time.Minute).String(),
				}, j)
			})
		})
	}
}

// A server that does not tell its time is taken to have ours.
func TestLeadChangesWithoutDate(t *testing.T) {
	t.Parallel()
	inBubble(t, time.Minute, func(t *testing.T) {
		api := newAPI()
		api.AddLeads(clixnow.Lead{ID: 1}, clixnow.Lead{ID: 2, UpdatedOn: noon.Add(100 * time.Hour)})
		client := memoryClient(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			api.ServeHTTP(w, r)
			w.Header()["Date"] = nil
		}))
		j := follow(t.Context(), client, clixnow.LeadChangesRequest{PollInterval: time.Minute}, 2, goOn)
		assert.Equal(t, journal{"1", "2", "caught up 1m0s", "caught up 2m0s"}, j)
	})
}

// Leads of one instant that fill more than a page, as a bulk change at the
// broker makes them.
func TestLeadChangesOfManyAtOneInstant(t *testing.T) {
	t.Parallel()
	for _, size := range []int{2, 3, 10, 30} {
		for _, at := range []string{"beginning", "middle", "end", "all"} {
			t.Run(fmt.Sprintf("pages of %d, %s", size, at), func(t *testing.T) {
				t.Parallel()
				leads := crowd(70)
				bulk := map[string][2]int{"beginning": {0, 35}, "middle": {20, 55}, "end": {35, 70}, "all": {0, 70}}[at]
				for i := range leads[bulk[0]:bulk[1]] {
					leads[bulk[0]+i].UpdatedOn = leads[bulk[0]].UpdatedOn
				}
				inBubble(t, time.Hour, func(t *testing.T) {
					api := newAPI()
					api.AddLeads(leads...)
					client := memoryClient(t, api)
					ids, err := drainIDs(t, client.LeadChanges(t.Context(), clixnow.LeadChangesRequest{PageSize: size}))
					require.NoError(t, err)
					assert.Equal(t, upTo(70), ids)

					ids, err = drainIDs(t, client.LeadChanges(t.Context(), clixnow.LeadChangesRequest{
						PageSize: size, Since: leads[bulk[0]].UpdatedOn, Overlap: -1,
					}))
					require.NoError(t, err)
					assert.Equal(t, from(bulk[0]+1, 70), ids)
				})
			})
		}
	}
}

func TestLeadChangesThatShowLate(t *testing.T) {
	t.Parallel()
	const overlap = 30 * time.Second
	inBubble(t, 0, func(t *testing.T) {
		late := func(lead clixnow.Lead) time.Duration { return time.Duration(lead.ID%30) * time.Second }
		api := newAPI(clixnowtest.WithSearchDelay(late))
		go func() {
			for id := range 300 {
				api.AddLeads(clixnow.Lead{ID: int64(id + 1)})
				time.Sleep(700 * time.Millisecond)
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
		defer cancel()
		ids, err := drainIDs(t, memoryClient(t, api).LeadChanges(ctx, clixnow.LeadChangesRequest{
			PageSize: 10, PollInterval: 5 * time.Second, Overlap: overlap,
		}))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		slices.Sort(ids)
		assert.Equal(t, upTo(300), ids, "each of them once")
	})
}

// A lead that changes while it is read is yielded again, in its new state.
func TestLeadChangesWhileTheLoopChangesLeads(t *testing.T) {
	t.Parallel()
	inBubble(t, time.Hour, func(t *testing.T) {
		api := newAPI()
		api.AddLeads(crowd(30)...)
		seen := make(map[int64][]string)
		for lead, err := range memoryClient(t, api).LeadChanges(t.Context(), clixnow.LeadChangesRequest{PageSize: 10}) {
			require.NoError(t, err)
			seen[lead.ID] = append(seen[lead.ID], lead.Status)
			if lead.Status == "New" {
				time.Sleep(time.Millisecond)
				require.NoError(t, api.UpdateLead(lead.ID, func(lead *clixnow.Lead) { lead.Status = "Called" }))
			}
		}
		for id := range int64(30) {
			assert.Equal(t, []string{"New", "Called"}, seen[id+1], "lead %d", id+1)
		}
	})
}

// If leads change faster than they are read, a pass still ends, and Checkpoint
// is called.
func TestLeadChangesUnderSteadyWrites(t *testing.T) {
	t.Parallel()
	for _, overlap := range []time.Duration{-1, 5 * time.Second, 0} {
		t.Run(overlap.String(), func(t *testing.T) {
			t.Parallel()
			inBubble(t, time.Hour, func(t *testing.T) {
				api := newAPI()
				api.AddLeads(crowd(300)...)
				next := int64(0)
				busy := before(slowly(api, func(int) time.Duration { return time.Second }), func(int) {
					for range 30 {
						modify(next%300+1)(t, api)
						next++
					}
				})
				j := follow(t.Context(), memoryClient(t, busy), clixnow.LeadChangesRequest{
					PageSize: 10, Overlap: overlap, PollInterval: time.Second,
				}, 5, goOn)
				ended := slices.DeleteFunc(slices.Clone(j),
					func(line string) bool { return !strings.HasPrefix(line, "caught up") })
				assert.Len(t, ended, 5)
				assert.NotContains(t, j, "error")
				assert.Less(t, len(api.Requests()), 700)
			})
		})
	}
}

func TestLeadEvents(t *testing.T) {
	t.Parallel()
	lead := clixnow.Lead{ID: 1, Status: "New"}
	called := clixnow.Lead{ID: 1, Status: "Called"}
	paid := clixnow.Lead{ID: 1, Status: "Called", FTDDate: noon}
	paidLater := clixnow.Lead{ID: 1, Status: "Called", FTDDate: noon.Add(time.Hour)}
	tests := []struct {
		name   string
		before *clixnow.Lead
		now    clixnow.Lead
		want   []clixnow.LeadEvent
	}{
		{"new", nil, lead, []clixnow.LeadEvent{clixnow.LeadCreated}},
		{"new, with a deposit", nil, paid, []clixnow.LeadEvent{clixnow.LeadCreated, clixnow.LeadDeposited}},
		{"the same version", &lead, lead, nil},
		{"status", &lead, called, []clixnow.LeadEvent{clixnow.LeadStatusChanged}},
		{"deposit", &called, paid, []clixnow.LeadEvent{clixnow.LeadDeposited}},
		{"status and deposit", &lead, paid, []clixnow.LeadEvent{clixnow.LeadStatusChanged, clixnow.LeadDeposited}},
		{"withdrawn", &paid, called, []clixnow.LeadEvent{clixnow.LeadDepositWithdrawn}},
		{"date of the deposit set anew", &paid, paidLater, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, test.want, clixnow.LeadEvents(test.before, test.now))
		})
	}
}

// The Date of an answer has no fractions: what was changed in the very second
// in which a pass began was there before it.
func TestLeadChangesWithoutOverlapReadsAllPages(t *testing.T) {
	t.Parallel()
	server := clixnowtest.NewServer()
	t.Cleanup(server.Close)
	server.AddLeads(make([]clixnow.Lead, 25)...)
	client := server.Client()
	t.Cleanup(client.CloseIdleConnections)
	n := 0
	for _, err := range client.LeadChanges(t.Context(), clixnow.LeadChangesRequest{Overlap: -1, PageSize: 10}) {
		require.NoError(t, err)
		n++
	}
	assert.Equal(t, 25, n)
}

// The shortest interval is one too.
func TestLeadChangesPollsAfterANanosecond(t *testing.T) {
	t.Parallel()
	inBubble(t, time.Hour, func(t *testing.T) {
		client := memoryClient(t, newAPI())
		j := follow(t.Context(), client, clixnow.LeadChangesRequest{PollInterval: 1}, 3, goOn)
		assert.Len(t, j, 3)
	})
}

// There is no date before the year 1 that could be sent.
func TestLeadChangesSinceTheBeginningOfTime(t *testing.T) {
	t.Parallel()
	server := clixnowtest.NewServer()
	t.Cleanup(server.Close)
	server.AddLeads(clixnow.Lead{})
	client := server.Client()
	t.Cleanup(client.CloseIdleConnections)
	n := 0
	req := clixnow.LeadChangesRequest{Since: time.Time{}.Add(time.Second)}
	for _, err := range client.LeadChanges(t.Context(), req) {
		require.NoError(t, err)
		n++
	}
	assert.Equal(t, 1, n)
}
