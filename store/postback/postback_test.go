package postback_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/internal/postgrestest"
	"github.com/clixnow/clixnow-go/store/mirror"
	"github.com/clixnow/clixnow-go/store/postback"
)

// TestEvents sends the events of two leads, and checks all macros.
func TestEvents(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, k kind) {
		w := newWorld(t, k)
		d := w.destination()
		d.URL = w.URL + "/{brand}/{leadId}?click={clickId}&event={event}&status={status}&ftd={ftdDate}&id={eventId}" +
			"&sub={subCampaign}&sub2={sub2}&key={keyword}&place={placement}"
		d.Statuses = map[string]string{"Deposited": "sale"}
		s := w.sender(moment(0), d)
		first := lead(1, "New", 0)
		first.ClickID, first.SubCampaign, first.Sub2, first.Keyword, first.Placement = "a&b/ü", "spring", "x y", "k+",
			"%"
		w.save(first)
		first.Status, first.UpdatedOn = "Call back", moment(1)
		w.save(first)
		first.Status, first.UpdatedOn, first.FTDDate = "Deposited", moment(2), moment(2)
		w.save(first)
		first.Status, first.UpdatedOn, first.FTDDate = "Chargeback", moment(3), time.Time{}
		w.save(first)
		w.once(s)
		w.mu.Lock()
		requests := w.requests
		w.mu.Unlock()
		var lines []string
		ids := make(map[string]bool)
		for _, r := range requests {
			assert.Equal(t, "/acme/1", r.URL.Path)
			assert.Equal(t, "clixnow-postback/"+clixnow.Version, r.UserAgent())
			assert.Empty(t, r.Header.Get("Content-Type"), "a GET has no form")
			f := r.Form
			lines = append(lines, f.Get("event")+"|"+f.Get("status")+"|"+f.Get("ftd"))
			assert.Equal(t, []string{"a&b/ü", "spring", "x y", "k+", "%"},
				[]string{f.Get("click"), f.Get("sub"), f.Get("sub2"), f.Get("key"), f.Get("place")})
			assert.Regexp(t, "^[0-9a-f]{32}$", f.Get("id"))
			ids[f.Get("id")] = true
		}
		assert.Equal(t, []string{
			"created|New|", "status changed|Call back|", "status changed|sale|2026-05-01T12:02:00Z",
			"deposited|sale|2026-05-01T12:02:00Z", "status changed|Chargeback|", "deposit withdrawn|Chargeback|",
		}, lines)
		assert.Len(t, ids, len(lines))
		w.once(s)
		assert.Len(t, w.taken("id"), len(lines), "nothing is sent twice")
		assert.Equal(t, postback.Health{Name: "tracker", Sent: 6}, w.health(s))
	})
}

// TestEventID checks that the id of an event stays the same if the mirror is
// built anew, and differs between events.
func TestEventID(t *testing.T) {
	t.Parallel()
	ids := func(leads ...clixnow.Lead) []string {
		w := newWorld(t, sqliteKind())
		s := w.sender(moment(-60), w.destination())
		w.save(leads...)
		w.once(s)
		return w.taken("id")
	}
	other := lead(2, "New", 0)
	one := ids(lead(1, "New", 0), lead(1, "Sale", 5, 5))
	rebuilt := ids(other, lead(1, "Another", 9, 5))
	assert.Equal(t, one[0], rebuilt[1], "created")
	assert.Equal(t, one[2], rebuilt[2], "deposited")
	assert.NotEqual(t, one[0], rebuilt[0], "created of another lead")
	assert.NotEqual(t, one[2], ids(lead(1, "Sale", 9, 6))[1], "another deposit")
}

// TestDefaults checks that only first deposits are sent if no events are given,
// and that a destination without a start sends no history.
func TestDefaults(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, k kind) {
		w := newWorld(t, k)
		w.save(lead(1, "New", 0), lead(1, "Sale", 1, 1)) // before the first start
		d := w.destination()
		d.Events = nil
		s := w.sender(time.Time{}, d)
		w.save(lead(2, "Sale", 1, 1)) // history that is read after the start
		now := time.Now()
		fresh := lead(3, "New", 0)
		fresh.CreatedOn, fresh.UpdatedOn = now, now
		w.save(fresh)
		fresh.FTDDate = now.Add(time.Second)
		w.save(fresh)
		w.once(s)
		assert.Equal(t, []string{"3"}, w.taken("lead"))
		assert.Equal(t, postback.Health{Name: "tracker", Sent: 1, SkippedBeforeStart: 1}, w.health(s))
		s = w.sender(time.Time{}, d)
		w.once(s)
		assert.Empty(t, w.taken("lead"))
		assert.Equal(t, postback.Health{Name: "tracker", Sent: 1, SkippedBeforeStart: 1}, w.health(s), "restarted")
	})
}

// TestStart checks which events are before the start of a destination.
func TestStart(t *testing.T) {
	t.Parallel()
	without := func(l clixnow.Lead, change func(*clixnow.Lead)) clixnow.Lead {
		change(&l)
		return l
	}
	hidden := func(l *clixnow.Lead) { l.UpdatedOn = time.Time{} }
	createdAt := func(minutes int) func(*clixnow.Lead) {
		return func(l *clixnow.Lead) { l.CreatedOn = moment(minutes) }
	}
	for _, test := range []struct {
		name     string
		versions []clixnow.Lead
		want     []string
	}{
		{"old lead", []clixnow.Lead{lead(1, "New", 0)}, nil},
		{"old lead with a new status", []clixnow.Lead{lead(1, "New", 20)}, nil},
		{"old deposit of an unknown lead", []clixnow.Lead{lead(1, "Sale", 20, 5)}, nil},
		{"new deposit of an unknown lead", []clixnow.Lead{lead(1, "Sale", 20, 20)}, []string{"deposited"}},
		{"new lead", []clixnow.Lead{without(lead(1, "New", 11), createdAt(11))}, []string{"created"}},
		{"exactly at the start", []clixnow.Lead{without(lead(1, "New", 10), createdAt(10))}, []string{"created"}},
		{
			"a deposit with only a day",
			[]clixnow.Lead{without(lead(1, "Sale", 20, -720), createdAt(11))},
			[]string{"created", "deposited"},
		},
		{"hidden creation", []clixnow.Lead{without(lead(1, "New", 11), createdAt(-1e6))}, nil},
		{
			"no time of the creation",
			[]clixnow.Lead{without(lead(1, "New", 11), func(l *clixnow.Lead) { l.CreatedOn = time.Time{} })},
			[]string{"created"},
		},
		{
			"new status of a known lead",
			[]clixnow.Lead{lead(1, "New", 0), lead(1, "Old", 11)},
			[]string{"status changed"},
		},
		{"old status of a known lead", []clixnow.Lead{lead(1, "New", 0), lead(1, "Old", 9)}, nil},
		{
			"late news of a deposit",
			[]clixnow.Lead{lead(1, "New", 0), lead(1, "New", 11, 5)},
			[]string{"deposited"},
		},
		{
			"withdrawal of an old deposit",
			[]clixnow.Lead{lead(1, "Sale", 0, 0), lead(1, "Sale", 11)},
			[]string{"deposit withdrawn"},
		},
		{
			"hidden time of the change",
			[]clixnow.Lead{lead(1, "New", 0), without(lead(1, "Old", 0), hidden)},
			[]string{"status changed"},
		},
		{
			"all times hidden", []clixnow.Lead{without(lead(1, "Sale", 0), func(l *clixnow.Lead) {
				l.CreatedOn, l.UpdatedOn = time.Time{}, time.Time{}
			})}, nil,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sqliteKind())
			s := w.sender(moment(10), w.destination())
			w.save(test.versions...)
			w.once(s)
			assert.Equal(t, test.want, w.taken("event"))
			assert.NotZero(t, w.health(s).SkippedBeforeStart+w.health(s).Sent)
		})
	}
}

// TestStartStays checks that --postbacks-from does not change a known
// destination, and that a new one beside it has its own start.
func TestStartStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqliteKind())
	first, second := w.destination(), w.destination()
	second.Name = "second"
	w.sender(moment(10), first)
	w.save(lead(1, "New", 0), lead(1, "Old", 5))
	s := w.sender(moment(0), first, second)
	w.once(s)
	all, err := s.Health(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []postback.Health{
		{Name: "second", Sent: 2}, {Name: "tracker", SkippedBeforeStart: 2},
	}, all)
}

// TestStartBeforeRecordedEvents checks that a new destination with a start gets
// events that the mirror has, also if it restarts without a start.
func TestStartBeforeRecordedEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqliteKind())
	w.save(lead(1, "New", 0), lead(1, "Old", 1))
	w.sender(moment(0), w.destination())
	w.once(w.sender(time.Time{}, w.destination()))
	assert.Equal(t, []string{"created", "status changed"}, w.taken("event"))
}

// TestManyEvents checks more events than one transaction takes over.
func TestManyEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqliteKind())
	s := w.sender(moment(0), w.destination())
	leads := make([]clixnow.Lead, 1100)
	for i := range leads {
		leads[i] = lead(int64(i+1), "New", 0)
		leads[i].ClickID = ""
	}
	leads[1099].ClickID = "last"
	w.saveAll(leads)
	w.once(s)
	assert.Equal(t, []string{"last"}, w.taken("click"))
	assert.Equal(t, postback.Health{Name: "tracker", Sent: 1, SkippedNoClickID: 1099}, w.health(s))
}

// TestNoClickID checks that a lead without a click id is skipped and counted.
func TestNoClickID(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, k kind) {
		w := newWorld(t, k)
		s := w.sender(moment(0), w.destination())
		without := lead(1, "New", 0, 0)
		without.ClickID = ""
		w.save(without, lead(2, "New", 0))
		w.once(s)
		assert.Equal(t, []string{"click-2"}, w.taken("click"))
		assert.Equal(t, postback.Health{Name: "tracker", Sent: 1, SkippedNoClickID: 2}, w.health(s))
	})
}

// TestPost checks that POST sends the query as a form.
func TestPost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqliteKind())
	d := w.destination()
	d.URL, d.Method = w.URL+"/p/{leadId}?click={clickId}&key=a%20b", "post"
	s := w.sender(moment(0), d)
	w.save(lead(1, "New", 0))
	w.once(s)
	require.Len(t, w.requests, 1)
	r := w.requests[0]
	assert.Equal(t, "POST /p/1", r.Method+" "+r.RequestURI)
	assert.Equal(t, "click=click-1&key=a+b", r.PostForm.Encode())
}

// TestOrder checks the order of each lead while the tracker fails at random,
// and that a lead whose events are refused does not hold up the others.
func TestOrder(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, k kind) {
		w := newWorld(t, k)
		d := w.destination()
		d.Concurrency = 3
		s := w.sender(moment(0), d)
		var want []string
		for version := range 5 {
			for id := range int64(6) {
				w.save(lead(id+1, fmt.Sprint("status ", version), version))
			}
			want = append(want, fmt.Sprint("status ", version))
		}
		accepted := make(map[string][]string)
		n := 0
		var mu sync.Mutex
		w.setAnswer(func(rw http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			n++
			switch {
			case r.Form.Get("lead") == "1":
				rw.WriteHeader(http.StatusNotFound) // always
			case n%3 == 0:
				rw.WriteHeader([]int{500, 404, 429, 503}[n%4])
			default:
				accepted[r.Form.Get("lead")] = append(accepted[r.Form.Get("lead")], r.Form.Get("status"))
			}
		})
		for range 60 {
			w.once(s)
			s = w.retryNow(d)
		}
		assert.Len(t, accepted, 5)
		for id, statuses := range accepted {
			assert.Equal(t, want, statuses, "lead %s", id)
		}
		h := w.health(s)
		assert.EqualValues(t, 5, h.Waiting, "the events of lead 1")
		assert.EqualValues(t, 25, h.Sent)
	})
}

// TestDestinationsAreIndependent checks that a tracker that hangs does not hold
// up another one.
func TestDestinationsAreIndependent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqliteKind())
	hanging := newTracker(t)
	release := make(chan struct{})
	hanging.setAnswer(func(http.ResponseWriter, *http.Request) { <-release })
	one, two := w.destination(), w.destination()
	one.Name, one.URL = "hanging", hanging.URL+"/?click={clickId}"
	s := w.sender(moment(0), one, two)
	w.save(lead(1, "New", 0), lead(2, "New", 0))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	require.Eventually(t, func() bool {
		all, err := s.Health(t.Context())
		return err == nil && all[1].Sent == 2
	}, 10*time.Second, 5*time.Millisecond)
	stop()
	close(release)
	require.NoError(t, <-done)
}

// TestStopped checks that an attempt that the end of the program interrupts is
// no failure, and that finished attempts of the same batch are saved.
func TestStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqliteKind())
	d := w.destination()
	d.Concurrency = 2
	s := w.sender(moment(0), d)
	w.save(lead(1, "New", 0), lead(2, "New", 0))
	ctx, stop := context.WithCancel(t.Context())
	w.setAnswer(func(_ http.ResponseWriter, r *http.Request) {
		if r.Form.Get("lead") == "2" {
			for w.count() < 2 {
				time.Sleep(time.Millisecond)
			}
			time.Sleep(50 * time.Millisecond) // the other response arrives
			stop()
			<-r.Context().Done()
		}
	})
	require.NoError(t, s.Run(ctx))
	h := w.health(s)
	assert.EqualValues(t, 1, h.Sent)
	assert.EqualValues(t, 1, h.Waiting)
	assert.Zero(t, h.FailingSince)
}

func (tr *tracker) count() int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return len(tr.requests)
}

// TestTakenOver checks that the older of two processes stops.
func TestTakenOver(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, k kind) {
		w := newWorld(t, k)
		old := w.sender(moment(0), w.destination())
		ended := make(chan error, 1)
		go func() { ended <- old.Run(t.Context()) }()
		w.open()
		s := w.sender(moment(0), w.destination())
		w.save(lead(1, "New", 0))
		require.ErrorIs(t, <-ended, mirror.ErrTakenOver)
		w.once(s)
		assert.Equal(t, []string{"click-1"}, w.taken("click"))
	})
}

// TestNotOwner checks that a reader of the mirror cannot send.
func TestNotOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqliteKind())
	reader, err := mirror.OpenReadOnly(t.Context(), w.mirror.DB(), mirror.SQLite)
	require.NoError(t, err)
	_, err = postback.New(t.Context(), reader, postback.Options{Destinations: []postback.Destination{w.destination()}})
	assert.ErrorIs(t, err, mirror.ErrTakenOver)
}

// TestNewRefuses checks a wrong configuration, and tables of a newer program.
func TestNewRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqliteKind())
	d := w.destination()
	w.sender(moment(0), d)
	bad := d
	bad.Name = "a b"
	_, err := postback.New(t.Context(), w.mirror, postback.Options{Destinations: []postback.Destination{d, bad}})
	require.ErrorContains(t, err, "postback 2: the name must have")
	w.exec("INSERT INTO postback_version (version_id, is_applied) VALUES (2, 1)")
	_, err = postback.New(t.Context(), w.mirror, postback.Options{Destinations: []postback.Destination{d}})
	require.ErrorIs(t, err, mirror.ErrWrongDatabase)
	assert.ErrorContains(t, err, "have version 2, but this program needs version 1")
}

// TestDatabaseRestarted kills PostgreSQL while postbacks are sent.
func TestDatabaseRestarted(t *testing.T) {
	t.Parallel()
	server := postgrestest.New(t)
	w := newWorld(t, postgresKind(server))
	d := w.destination()
	d.Concurrency = 3
	s := w.sender(moment(0), d)
	for id := range int64(40) {
		w.save(lead(id+1, "New", 0))
	}
	kill := sync.OnceFunc(func() { server.Kill(); server.Start() })
	w.setAnswer(func(_ http.ResponseWriter, r *http.Request) {
		if r.Form.Get("lead") == "10" {
			kill()
		}
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	require.Eventually(t, func() bool {
		all, err := s.Health(t.Context())
		return err == nil && all[0].Sent == 40
	}, 5*time.Minute, 20*time.Millisecond)
	stop()
	require.NoError(t, <-done)
	ids := w.taken("id")
	slices.Sort(ids)
	assert.Len(t, slices.Compact(ids), 40)
}

// TestFailedAndRetry checks the list of failed events.
func TestFailedAndRetry(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, k kind) {
		w := newWorld(t, k)
		s := w.sender(moment(0), w.destination())
		w.save(lead(1, "New", 0), lead(2, "New", 0), lead(2, "Old", 1))
		w.setAnswer(status(http.StatusNotFound))
		w.once(s)
		w.exec("UPDATE postback_queue SET failing_since = $1 WHERE failing_since IS NOT NULL",
			moment(0).Format("2006-01-02T15:04:05.000000Z"))
		s = w.retryNow(w.destination())
		w.once(s)
		assert.Equal(t, []string{"1", "2", "1", "2", "2"}, w.taken("lead"), "the third waits for the second")
		list := func() (all []postback.Failed) {
			require.NoError(t, postback.ListFailed(t.Context(), w.mirror, func(f postback.Failed) error {
				assert.False(t, f.Since.IsZero())
				f.Since = time.Time{}
				all = append(all, f)
				return nil
			}))
			return all
		}
		const problem = "the tracker answered 404"
		failed := list()
		require.Equal(t, []postback.Failed{
			{Postback: "tracker", EventID: 1, Brand: "acme", LeadID: 1, Event: "created", Attempts: 2, Error: problem},
			{Postback: "tracker", EventID: 2, Brand: "acme", LeadID: 2, Event: "created", Attempts: 2, Error: problem},
		}, failed)
		h := w.health(s)
		assert.Equal(t, []int64{1, 2}, []int64{h.Waiting, h.Failed})
		assert.WithinDuration(t, time.Now(), h.Oldest, time.Minute)

		w.setAnswer(nil)
		number, err := postback.Retry(t.Context(), w.mirror, "tracker", 2, 3, 99)
		require.NoError(t, err)
		assert.EqualValues(t, 1, number, "only event 2 had failed")
		s = w.retryNow(w.destination())
		w.once(s)
		assert.Equal(t, []string{"created", "status changed"}, w.taken("event"), "in order again")
		number, err = postback.Retry(t.Context(), w.mirror, "other")
		require.EqualError(t, err, `unknown postback "other"; the database has tracker`)
		assert.Zero(t, number)
		number, err = postback.Retry(t.Context(), w.mirror, "tracker")
		require.NoError(t, err)
		assert.EqualValues(t, 1, number)
		w.once(s)
		assert.Equal(t, []string{"1"}, w.taken("lead"))
		assert.Empty(t, list())
		assert.Equal(t, postback.Health{Name: "tracker", Sent: 3}, w.health(s))
	})
}

// TestCheck checks the errors of a configuration.
func TestCheck(t *testing.T) {
	t.Parallel()
	const address = "https://a.example/?key=SECRET&c={clickId}"
	for _, test := range []struct {
		name string
		bad  postback.Destination
		want string
	}{
		{"no name", postback.Destination{URL: address}, "postback 2: the name must have"},
		{"a space in the name", postback.Destination{Name: "a b", URL: address}, "postback 2: the name must have"},
		{
			"same name",
			postback.Destination{Name: "GOOD", URL: address},
			`postback "GOOD": another postback has this name`,
		},
		{"no url", postback.Destination{Name: "x"}, `postback "x": the url is missing`},
		{
			"unknown macro",
			postback.Destination{Name: "x", URL: address + "{clickid}"},
			`postback "x": the url has the unknown macro {clickid}; did you mean {clickId}?`,
		},
		{"method", postback.Destination{Name: "x", URL: address, Method: "PUT"}, `postback "x": the method must be`},
		{"concurrency", postback.Destination{Name: "x", URL: address, Concurrency: 65}, `"x": concurrency must be`},
		{"negative concurrency", postback.Destination{Name: "x", URL: address, Concurrency: -1}, "concurrency must be"},
		{
			"event",
			postback.Destination{Name: "x", URL: address, Events: []clixnow.LeadEvent{"ftd"}},
			`postback "x": unknown event "ftd"; the events are created, status changed, deposited, deposit withdrawn`,
		},
		{
			"preset",
			postback.Destination{Name: "x", URL: address, Preset: "Keitaro"},
			`postback "x": unknown preset "Keitaro"; the presets are affise, binom, keitaro, redtrack, tune, voluum`,
		},
		{
			"preset without the path",
			postback.Destination{Name: "x", URL: "https://a.example/?k=SECRET", Preset: "keitaro"},
			`postback "x": the url must have the path that the tracker shows`,
		},
		{
			"events that the tracker cannot tell apart", postback.Destination{
				Name: "x", URL: address, Preset: "voluum", Events: []clixnow.LeadEvent{"created", "deposited"},
			}, `postback "x": voluum would count each of these events as a conversion; add the parameter et to the url`,
		},
		{
			"no click id",
			postback.Destination{Name: "x", URL: "https://a.example/?k=SECRET&lead={leadId}"},
			`postback "x": the url must have the macro {clickId}: without it the tracker could not tell whose`,
		},
		{
			"a preset with a fixed click id",
			postback.Destination{Name: "x", URL: "https://a.example/SECRET?subid=REPLACE", Preset: "keitaro"},
			`postback "x": the url must have the macro {clickId}`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			good := postback.Destination{Name: "good", URL: address}
			err := postback.Check([]postback.Destination{good, test.bad})
			require.ErrorContains(t, err, test.want)
			assert.NotContains(t, err.Error(), "SECRET")
			assert.NotContains(t, fmt.Sprintf("%v %+v %#v %s", test.bad, test.bad, test.bad, &test.bad), "SECRET")
		})
	}
	require.NoError(t, postback.Check([]postback.Destination{{Name: "x", URL: address, Concurrency: 64}}))
	err := postback.Check([]postback.Destination{{Name: "a"}, {Name: "b"}})
	assert.Equal(t, 2, strings.Count(err.Error(), "postback \""), "each mistake is reported")
}
