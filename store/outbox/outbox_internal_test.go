package outbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/router"
	"github.com/clixnow/clixnow-go/store/internal/batch"
)

// tried returns the error of a router whose brands returned errors.
func tried(errs ...error) error {
	failed := &router.Error{}
	for i, err := range errs {
		brand := fmt.Sprint("brand", i+1)
		failed.Tried = append(failed.Tried, router.Try{Brand: brand, Err: err})
		if clixnow.OutcomeOf(err) == clixnow.OutcomeUnknown {
			failed.InDoubt = router.Attempt{Brand: brand, Since: time.Unix(1, 0)}
		}
	}
	return failed
}

func response(status int, message string) error {
	return fmt.Errorf("create: %w", &clixnow.APIError{StatusCode: status, Message: message})
}

// TestNext checks whether a failed try settles the sign-up, is retried, or
// needs a person.
func TestNext(t *testing.T) {
	t.Parallel()
	const soon, later = "soon", "later"
	settled, person := string(Refused), string(Doubtful)
	field := map[string][]string{"phone": {"Not a phone number."}}
	unknown := fmt.Errorf("%w: cut", clixnow.ErrOutcomeUnknown)
	unknownDuplicate := errors.Join(unknown, response(400, "Duplicate lead"))
	full := response(400, "Daily cap reached")
	country := response(400, "Registration is not allowed for country CH")
	const young, old = 1, 20 // tries
	tests := []struct {
		name string
		err  error
		// inDoubt is how long the lead has been in doubt. waits is the number
		// of waits of the schedule that are used.
		inDoubt time.Duration
		waits   int64
		tries   int64
		want    string
	}{
		{"invalid request", &clixnow.ValidationError{}, 0, 0, young, settled},
		{"400 with a field", &clixnow.APIError{StatusCode: 400, Fields: field}, 0, 0, young, settled},
		{"409 with a field", &clixnow.APIError{StatusCode: 409, Fields: field}, 0, 0, young, settled},
		{"422 with a field", &clixnow.APIError{StatusCode: 422, Fields: field}, 0, 5, young, settled},
		{"duplicate", response(409, "Duplicate lead"), 0, 0, young, settled},
		{"country", country, 0, 0, young, settled},

		{"400 Daily cap reached", full, 0, 0, young, later},
		{"404 No hubs available", response(404, "No hubs available"), 0, 4, young, later},
		{"409 without a text", response(409, ""), 0, 0, young, later},
		{"no capacity", errors.Join(clixnow.ErrRefused, clixnow.ErrNoCapacity), 0, 4, young, later},
		{"sixth 400 Daily cap reached", full, 0, 5, young, person},
		{"sixth no capacity", errors.Join(clixnow.ErrRefused, clixnow.ErrNoCapacity), 0, 5, young, person},

		{"wrong token", response(401, ""), 0, 5, old, soon},
		{"forbidden", response(403, "No."), 0, 5, old, soon},
		{"wrong host", response(404, ""), 0, 5, old, soon},
		{"redirect", response(302, ""), 0, 5, old, soon},
		{"not sent", fmt.Errorf("%w: no route", clixnow.ErrNotSent), 0, 5, old, soon},
		{"rate limited", response(429, ""), 0, 5, old, soon},

		{"unknown", unknown, 0, 5, young, soon},
		{"408", response(408, ""), 0, 5, young, soon},
		{"499", response(499, "Duplicate lead"), 0, 5, young, soon},
		{"error without a class", errors.New("broken"), 0, 5, young, soon},
		{"unknown, and a later attempt refused", errors.Join(unknown, response(401, "")), 0, 5, young, soon},
		{"unknown, and a duplicate", unknownDuplicate, 0, 0, young, soon},
		{"unknown, and a duplicate, for 59 minutes", unknownDuplicate, 59 * time.Minute, 0, old, later},
		{"unknown, and a duplicate, for 61 minutes", unknownDuplicate, 61 * time.Minute, 0, young, person},
		{"unknown for a while", unknown, time.Hour, 0, old, later},
		{"unknown for 7 hours", unknown, 7 * time.Hour, 4, old, later},
		{"unknown until the end of the schedule", unknown, 11 * time.Hour, 5, old, person},

		{"all brands refuse the country", tried(country, country), 0, 0, young, settled},
		{"one brand is full, another refuses the country", tried(full, country), 0, 0, young, later},
		{"the same, at the end of the schedule", tried(full, country), 0, 5, young, person},
		{"one brand has a wrong token, another refuses", tried(response(401, ""), country), 0, 5, old, soon},
		{"one brand is full, another was not reached", tried(full, clixnow.ErrNotSent), 0, 5, old, soon},
		{"one brand is full, another is in doubt", tried(full, unknown), 0, 5, young, soon},
		{"the same, at the end of the schedule, for long", tried(full, unknown), time.Hour, 5, old, person},
		{"no route accepts the lead", tried(), 0, 0, young, later},
		{"a brand fails", &notTriedError{}, time.Hour, 5, old, soon},
		{"a brand fails, another refuses the country", &notTriedError{cause: tried(country)}, 0, 5, old, soon},
		{"a brand fails, another is full", &notTriedError{cause: tried(full)}, 0, 5, old, soon},
	}
	o := &Outbox{opts: withDefaults(Options{})}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := &claimed{Signup: &Signup{Status: Pending, waits: test.waits, Tries: test.tries}}
			if test.inDoubt > 0 {
				c.FirstAttempt = router.Attempt{Brand: "brand1", Since: time.Now().Add(-test.inDoubt)}
			}
			e := o.endOf(c, nil, test.err)
			got := string(e.Status)
			if e.Status == Pending {
				got = soon
				assert.LessOrEqual(t, e.wait, 6*time.Hour)
				if e.waits == test.waits+1 {
					got = later
				}
			}
			assert.Equal(t, test.want, got)
			assert.Equal(t, e.Status == Refused, !e.SettledAt.IsZero(), "only then the password is deleted")
		})
	}
}

func TestTiming(t *testing.T) {
	t.Parallel()
	opts := withDefaults(Options{})
	assert.Equal(t, 3*time.Minute, opts.rescueAfter())
	assert.Equal(t, 50, opts.Workers)
	assert.Equal(t, []time.Duration{20 * time.Millisecond, 2 * time.Minute, 24 * time.Hour},
		[]time.Duration{opts.PollInterval, opts.TryTimeout, opts.TokenLifetime})
	assert.Equal(t, timing{
		minWait: time.Second, maxWait: 5 * time.Minute, stopTimeout: 10 * time.Second,
		maintenance: 5 * time.Second, probe: 10 * time.Second,
		schedule: []time.Duration{5 * time.Minute, 15 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour},
	}, opts.timing)
	assert.Equal(t, t.Context(), opts.Restore(t.Context(), "carried"), "Carry without Restore")
	for name, test := range map[string]struct {
		change func(*Options)
		valid  bool
	}{
		"defaults":         {func(*Options) {}, true},
		"negative workers": {func(o *Options) { o.Workers = -1 }, false},
		"negative keep":    {func(o *Options) { o.Keep = -1 }, false},
		"one second":       {func(o *Options) { o.TryTimeout = time.Second }, true},
		"too short":        {func(o *Options) { o.TryTimeout = time.Second - 1 }, false},
	} {
		changed := opts
		test.change(&changed)
		assert.Equal(t, test.valid, changed.check() == nil, name)
	}
	full := &clixnow.APIError{StatusCode: 400, Message: "Daily cap reached"}
	notSent := fmt.Errorf("%w: no route", clixnow.ErrNotSent)
	unknown := fmt.Errorf("%w: cut", clixnow.ErrOutcomeUnknown)
	limited := func(after time.Duration) error { return &clixnow.APIError{StatusCode: 429, RetryAfter: after} }
	tests := []struct {
		try, waits int64
		err        error
		min, max   time.Duration
	}{
		{1, 0, notSent, 750 * time.Millisecond, time.Second},
		{2, 0, notSent, 1500 * time.Millisecond, 2 * time.Second},
		{9, 0, notSent, 192 * time.Second, 256 * time.Second},
		{10, 0, notSent, 225 * time.Second, 300 * time.Second},
		{1 << 40, 0, notSent, 225 * time.Second, 300 * time.Second},
		{1, 0, limited(time.Hour), time.Hour, time.Hour},
		{10, 0, limited(time.Second), 225 * time.Second, 300 * time.Second},
		// Case P21: a moment in seconds since 1970 is not a wait.
		{1, 0, limited(1_795_000_000 * time.Second), time.Hour, time.Hour},
		{1, 0, tried(limited(1_795_000_000 * time.Second)), time.Hour, time.Hour},
		// The brand that was tried asks for a wait, another one fails.
		{1, 0, &notTriedError{brands: []string{"acme"}, cause: tried(limited(time.Minute))}, time.Minute, time.Minute},
		{1, 0, &notTriedError{brands: []string{"acme"}}, 750 * time.Millisecond, time.Second},

		{1, 0, unknown, 750 * time.Millisecond, time.Second},
		{10, 0, unknown, 5 * time.Minute, 5 * time.Minute},
		{11, 1, unknown, 15 * time.Minute, 15 * time.Minute},
		{14, 4, unknown, 6 * time.Hour, 6 * time.Hour},

		{1, 0, full, 5 * time.Minute, 5 * time.Minute},
		{90, 0, full, 5 * time.Minute, 5 * time.Minute},
		{2, 1, full, 15 * time.Minute, 15 * time.Minute},
		{3, 2, full, time.Hour, time.Hour},
		{4, 3, full, 3 * time.Hour, 3 * time.Hour},
		{5, 4, full, 6 * time.Hour, 6 * time.Hour},
		{
			1, 0, &clixnow.APIError{StatusCode: 404, Message: "No hubs", RetryAfter: time.Hour},
			time.Hour, time.Hour,
		},
		// A wrong token is not the brand's decision about this lead.
		{10, 4, &clixnow.APIError{StatusCode: 401}, 225 * time.Second, 300 * time.Second},
	}
	for _, test := range tests {
		for range 100 {
			wait := opts.wait(&claimed{Signup: &Signup{Tries: test.try, waits: test.waits}}, test.err)
			require.GreaterOrEqual(t, wait, test.min, "%+v", test)
			require.LessOrEqual(t, wait, test.max, "%+v", test)
		}
	}
}

// TestDeadline checks that a try sends nothing after its deadline, by the wall
// clock, even if its context has not ended yet: the process may have been
// suspended.
func TestDeadline(t *testing.T) {
	t.Parallel()
	api := clixnowtest.NewServer()
	defer api.Close()
	var limiter deadlines
	client := api.Client(clixnow.WithRateLimiter(&limiter))
	defer client.CloseIdleConnections()
	_, err := client.SearchLeadsPage(t.Context(), clixnow.SearchLeadsRequest{}) // opens a connection
	require.NoError(t, err)
	o := &Outbox{opts: withDefaults(Options{Routes: []router.Route{{Client: client}}})}
	o.brands.log = o.opts.Logger
	taken := time.Now().Add(-o.opts.TryTimeout - time.Millisecond)
	job := &river.Job[registration]{JobRow: &rivertype.JobRow{AttemptedAt: &taken}}
	first := router.Attempt{Brand: client.Brand(), Since: time.Now().Add(-time.Hour)}
	c := &claimed{Signup: &Signup{Lead: clixnow.CreateLeadRequest{
		FirstName: "Allison", LastName: "Brown", Email: "late@example.com", Phone: "+41123456789", CountryCode: "CH",
	}, FirstAttempt: first}, password: "Password123!"}
	_, err = o.register(t.Context(), job, c)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, first, router.InDoubt(err), "it stays in doubt")
	assert.Len(t, api.Requests(), 1)

	taken = time.Now()
	_, err = o.register(t.Context(), job, c)
	require.NoError(t, err)
	assert.Len(t, api.Leads(), 1)
	assert.WithinDuration(t, taken.Add(o.opts.TryTimeout), limiter.last, time.Second)
	assert.NotContains(t, limiter.last.String(), "m=", "the clock of the process may stop while it is suspended")
}

// deadlines is a rate limiter that keeps the last deadline of a request.
type deadlines struct{ last time.Time }

func (d *deadlines) Wait(ctx context.Context) error {
	d.last, _ = ctx.Deadline()
	return nil
}

// TestBrandLines is the library's part of case P13: one line for each change of
// state of a brand.
func TestBrandLines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		b := &brands{log: slog.New(slog.NewTextHandler(&log, nil))}
		lines := func() string {
			defer log.Reset()
			return log.String()
		}
		down := fmt.Errorf("%w: refused", clixnow.ErrNotSent)
		unknown := fmt.Errorf("%w: 503", clixnow.ErrOutcomeUnknown)
		b.observe("acme", nil)
		b.observe("acme", response(400, "Duplicate lead"))
		b.observe("acme", response(400, "Daily cap reached"))
		b.observe("acme", down)
		b.observe("acme", unknown)
		b.observe("acme", nil)
		assert.Empty(t, lines(), "single failures are no change of state")
		for range 700 {
			b.observe("acme", down)
			time.Sleep(20 * time.Millisecond)
		}
		got := lines()
		assert.Equal(t, 1, strings.Count(got, "\n"), got)
		assert.Contains(t, got, "the brand fails; sign-ups that need it are retried")
		require.ErrorIs(t, b.state("acme").Err, clixnow.ErrNotSent)
		time.Sleep(time.Minute)
		for range 100 {
			b.observe("acme", nil)
		}
		got = lines()
		assert.Equal(t, 1, strings.Count(got, "\n"), got)
		assert.Contains(t, got, "the brand works again")
		require.NoError(t, b.state("acme").Err)

		b.observe("beta", response(401, "")) // a wrong token is told at once
		got = lines()
		assert.Contains(t, got, "the brand refuses the access: check the token and the host")
		assert.Contains(t, got, "brand=beta")
		require.NoError(t, b.state("acme").Err, "brands fail alone")
		for range 100 { // a brand that comes and goes is not told each time
			b.observe("beta", nil)
			b.observe("beta", response(403, ""))
		}
		assert.Empty(t, lines())
	})
}

// TestBrandChanges checks that no change of the cause is missed: neither in the
// log, nor in Since.
func TestBrandChanges(t *testing.T) {
	t.Parallel()
	down := fmt.Errorf("%w: refused", clixnow.ErrNotSent)
	hidden := fmt.Errorf("%w: %w", clixnow.ErrOutcomeUnknown, response(401, ""))
	denied := response(401, "")
	const worksLine, failsLine = "the brand works again", "the brand fails; "
	const accessLine = "the brand refuses the access: "
	type step struct {
		after time.Duration
		err   error
		// times is how often the brand is tried. 0 means once.
		times int
		// line is what the line begins with. "" means that there is none.
		line string
		// since reports that Since is the time of this step.
		since bool
	}
	for name, steps := range map[string][]step{
		"access soon after failures": {
			{err: down, times: 3, line: failsLine, since: true},
			{after: time.Second, err: denied, line: accessLine, since: true},
		},
		"access soon after it works again": {
			{err: down, times: 3, line: failsLine, since: true},
			{after: time.Hour, line: worksLine, since: true},
			{after: time.Second, err: denied, line: accessLine, since: true},
			{after: time.Second, err: denied},
		},
		"failures after access": {
			{err: denied, line: accessLine, since: true},
			{after: time.Hour, err: down, times: 2}, // they do not show that the token is right now
			{after: time.Second, err: denied},
			{after: time.Second, err: down, times: 3, line: failsLine, since: true},
		},
		"failures soon after access": {
			{err: denied, line: accessLine, since: true},
			{after: time.Second, err: down, times: 5, since: true},
			{after: time.Minute, err: down, line: failsLine},
		},
		"works between without a line": {
			{err: denied, line: accessLine, since: true},
			{after: time.Second, since: true},
			{after: time.Hour, err: denied, line: accessLine, since: true},
			{after: time.Second, since: true},
			{after: time.Hour, line: worksLine},
		},
		"short failure without a line": {
			{err: down, times: 3, line: failsLine, since: true},
			{after: time.Hour, line: worksLine, since: true},
			{after: time.Second, err: down, times: 3, since: true},
			{after: time.Hour, since: true},
		},
		"works from the first try": {{since: true}, {after: time.Second}},
		"a search shows it":        {{err: hidden, line: accessLine, since: true}},
		"stops": {
			{err: denied, line: accessLine, since: true},
			{after: time.Hour, err: fmt.Errorf("%w: %w", clixnow.ErrNotSent, context.Canceled)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				b := &brands{log: slog.New(slog.NewTextHandler(&log, nil))}
				assert.Zero(t, b.state("acme").TriedAt)
				for i, step := range steps {
					time.Sleep(step.after)
					for range max(1, step.times) {
						b.observe("acme", step.err)
					}
					want := 0
					if step.line != "" {
						want = 1
					}
					assert.Equal(t, want, strings.Count(log.String(), "\n"), "step %d: %s", i, &log)
					assert.Contains(t, log.String(), step.line, "step %d", i)
					log.Reset()
					s := b.state("acme")
					assert.Equal(t, step.since, s.Since.Equal(time.Now()), "step %d: %s", i, s.Since)
					if !errors.Is(step.err, context.Canceled) {
						assert.True(t, s.TriedAt.Equal(time.Now()), "step %d: %s", i, s.TriedAt)
					}
				}
				s := b.state("acme")
				assert.Equal(t, s.Err != nil && !errors.Is(s.Err, clixnow.ErrNotSent), s.RefusesAccess())
			})
		})
	}
}

// TestBrandThatFails checks how often a brand that fails is tried.
func TestBrandThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := []router.Route{{Client: newClient(t, "acme")}, {Client: newClient(t, "beta")}}
		const probe = 10 * time.Second
		o := &Outbox{opts: withDefaults(Options{Routes: all, TryTimeout: time.Minute})}
		b := &o.brands
		b.log = o.opts.Logger
		count := func(length, step time.Duration, may func() bool) (number int) {
			for end := time.Now().Add(length); time.Now().Before(end); time.Sleep(step) {
				if may() {
					number++
				}
			}
			return number
		}
		tries := func(brand string) int {
			return count(100*time.Second, time.Second, func() bool { return b.mayTry(brand, probe) })
		}
		begun := func(length time.Duration) int {
			return count(length, 100*time.Millisecond, func() bool { return b.mayBegin(all, probe) })
		}
		fail := func(brand string, err error) {
			for range 3 {
				b.observe(brand, err)
			}
		}
		assert.Equal(t, 100, tries("acme"), "it works")
		fail("acme", response(429, ""))
		assert.Equal(t, 100, tries("acme"), "it works, but not so fast")
		time.Sleep(probe)
		fail("acme", response(503, ""))
		assert.Equal(t, 10, tries("acme"))
		assert.Equal(t, 100, tries("beta"), "brands fail alone")
		assert.Equal(t, 100, begun(10*time.Second), "beta works")

		fail("beta", response(401, ""))
		assert.True(t, b.mayTry("acme", probe))
		assert.True(t, b.mayTry("beta", probe))
		assert.Zero(t, begun(probe), "both were just tried")
		assert.Equal(t, 10, begun(10*time.Second), "until one of these tries acme or beta")
		assert.True(t, b.mayTry("beta", probe))
		assert.Equal(t, 10, begun(10*time.Second), "acme was not tried")

		assert.True(t, b.mayTry("acme", probe))
		assert.True(t, b.mayTry("beta", probe))
		stopping := make(chan struct{})
		w := &worker{o: o, stopping: stopping}
		began := time.Now()
		assert.True(t, w.waitForBrand())
		assert.Equal(t, probe, time.Since(began), "it finds out whether a brand works")
		assert.True(t, b.mayTry("acme", probe))
		assert.True(t, b.mayTry("beta", probe))
		o.opts.TryTimeout = 20 * time.Second
		began = time.Now()
		assert.False(t, w.waitForBrand())
		assert.Equal(t, 5*time.Second, time.Since(began), "the rest is for the try")
		time.AfterFunc(time.Second, func() { close(stopping) })
		assert.False(t, w.waitForBrand())
		assert.Equal(t, 6*time.Second, time.Since(began))
		time.Sleep(probe)

		var notTried []string
		all[0].Accepts = func(req clixnow.CreateLeadRequest) bool { return req.CountryCode == "CH" }
		routes := b.routes(all, probe, &notTried)
		accepted := func(country string) (accepted []bool) {
			notTried = nil
			for _, route := range routes {
				accepted = append(accepted, route.Accepts(clixnow.CreateLeadRequest{CountryCode: country}))
			}
			return accepted
		}
		assert.Equal(t, []bool{false, true}, accepted("DE"))
		assert.Empty(t, notTried, "acme takes it at no time")
		assert.Equal(t, []bool{true, false}, accepted("CH"))
		assert.Equal(t, []string{"beta"}, notTried)
		assert.Equal(t, []bool{false, false}, accepted("CH"))
		assert.Equal(t, []string{"acme", "beta"}, notTried)
		b.observe("acme", nil)
		assert.Equal(t, []bool{true, false}, accepted("CH"))
		assert.Equal(t, 100, begun(10*time.Second))
	})
}

func newClient(t *testing.T, brand string) *clixnow.Client {
	t.Helper()
	client, err := clixnow.NewClient(brand, "token")
	require.NoError(t, err)
	return client
}

// TestLetVisitorsPass checks that a worker waits while many visitors wait, but
// not for long.
func TestLetVisitorsPass(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := &Outbox{}
		w := &worker{o: o}
		release := make(chan struct{})
		run := func([]*batch.Entry[*addition]) error { //nolint:unparam // Do needs this type
			<-release
			return nil
		}
		visit := func(number int) {
			for range number {
				go func() { assert.NoError(t, o.adding.Do(t.Context(), nil, run)) }()
				synctest.Wait()
			}
		}
		passed := func() time.Duration {
			began := time.Now()
			w.letVisitorsPass()
			return time.Since(began)
		}
		visit(1 + 9)
		assert.Zero(t, passed(), "one is saved and nine wait")
		visit(1)
		assert.Equal(t, 250*time.Millisecond, passed())
		time.AfterFunc(55*time.Millisecond, func() { close(release) })
		assert.Equal(t, 60*time.Millisecond, passed())
	})
}

func TestFaultOfBrand(t *testing.T) {
	t.Parallel()
	unknown := fmt.Errorf("%w: cut", clixnow.ErrOutcomeUnknown)
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"registered": {nil, false}, "duplicate": {response(409, "Duplicate lead"), false},
		"invalid": {&clixnow.ValidationError{}, false}, "full": {response(400, "Daily cap reached"), false},
		"wrong token": {response(401, ""), true}, "wrong host": {response(404, ""), true},
		"rate limited": {response(429, ""), true}, "unknown": {unknown, true},
		"unknown duplicate": {errors.Join(unknown, response(400, "Duplicate lead")), false},
		"not sent":          {clixnow.ErrNotSent, true},
		"stopped":           {fmt.Errorf("%w: %w", clixnow.ErrNotSent, context.Canceled), false},
		"stopped in doubt":  {fmt.Errorf("%w: %w", unknown, context.Canceled), false},
	} {
		assert.Equal(t, test.want, fault(test.err) != nil, name)
	}
}

func TestHistoryLines(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	try := Change{At: at, Kind: ChangeTried, Brand: "acme", Outcome: "unknown", Problem: "a\nb\x00"}
	history := ""
	for i := range 700 {
		try.At = at.Add(time.Duration(i) * time.Second)
		history = withTry(history, try)
	}
	history += Change{At: at, Kind: ChangeCorrected, By: "eve"}.line() + "not JSON\n"
	try.Problem = "other"
	history = withTry(history, try)
	got := readHistory(history)
	require.Len(t, got, 3)
	assert.Equal(t, int64(699), got[0].Repeated)
	assert.Equal(t, []time.Time{at, at.Add(699 * time.Second)}, []time.Time{got[0].At, got[0].Until})
	assert.Equal(t, "a\nb\x00", got[0].Problem)
	assert.Equal(t, "eve", got[1].By)
	for i := range 300 {
		try.Problem = strconv.Itoa(i)
		history = withTry(history, try)
	}
	got = readHistory(history)
	assert.Len(t, got, 100, "it does not grow without end")
	assert.Equal(t, "299", got[99].Problem, "the oldest lines are dropped")

	last := try
	for name, change := range map[string]func(c *Change){
		"kind":    func(c *Change) { c.Kind = ChangeRetried },
		"brand":   func(c *Change) { c.Brand = "other" },
		"outcome": func(c *Change) { c.Outcome = "refused" },
		"reason":  func(c *Change) { c.Reason = "country" },
		"problem": func(c *Change) { c.Problem = "" },
	} {
		c := last
		change(&c)
		assert.Len(t, readHistory(withTry(last.line(), c)), 2, "another "+name)
	}
	now := readHistory(Change{Kind: ChangeRetried}.line())
	assert.WithinDuration(t, time.Now(), now[0].At, time.Minute, "a change without a time is one of now")
}

// TestNotSent checks that a try that ended before anything was sent is no
// attempt at a brand.
func TestNotSent(t *testing.T) {
	t.Parallel()
	attempts := 0
	o := &Outbox{opts: withDefaults(Options{Attempted: func(_ string, _ error, took time.Duration) {
		attempts++
		assert.Zero(t, took, "no attempt began")
	}})}
	o.brands.log = o.opts.Logger
	o.observe(nil, tried(fmt.Errorf("%w: save an attempt", ErrDatabase)), nil)
	o.observe(nil, tried(errLostClaim), nil)
	assert.Zero(t, attempts)
	o.observe(nil, tried(clixnow.ErrNotSent), nil)
	assert.Equal(t, 1, attempts)
}

func TestTextsOfErrors(t *testing.T) {
	t.Parallel()
	failed := &notTriedError{brands: []string{"acme", "beta"}}
	const text = "not sent: waits until acme or beta works again"
	require.EqualError(t, failed, text)
	failed.cause = errors.New("gamma is full")
	require.EqualError(t, failed, text+"; gamma is full")
}

func TestLastBrandInHistory(t *testing.T) {
	t.Parallel()
	o := &Outbox{opts: withDefaults(Options{})}
	full := response(400, "Daily cap reached")
	for want, err := range map[string]error{"": tried(), "brand1": tried(full), "brand2": tried(full, full)} {
		e := o.endOf(&claimed{Signup: &Signup{Status: Pending, Tries: 1}}, nil, err)
		assert.Equal(t, want, e.change.Brand)
	}
}

func TestCorrections(t *testing.T) {
	t.Parallel()
	before := clixnow.CreateLeadRequest{FirstName: "Ann", LastName: "Lee", Email: "a@example.com", Phone: "+411"}
	for name, test := range map[string]struct {
		change     func(*clixnow.CreateLeadRequest)
		difference string
		samePerson bool
	}{
		"nothing": {func(*clixnow.CreateLeadRequest) {}, "", true},
		"email": {
			func(r *clixnow.CreateLeadRequest) { r.Email = "b@example.com" },
			"email a@example.com -> b@example.com", true,
		},
		"phone": {func(r *clixnow.CreateLeadRequest) { r.Phone = "+412" }, "phone +411 -> +412", true},
		"name and email": {
			func(r *clixnow.CreateLeadRequest) { r.FirstName, r.Email = "Bob", "b@example.com" },
			"email a@example.com -> b@example.com", true,
		},
		"name and phone": {
			func(r *clixnow.CreateLeadRequest) { r.LastName, r.Phone = "Ray", "+412" }, "phone +411 -> +412", true,
		},
		"all": {
			func(r *clixnow.CreateLeadRequest) { r.FirstName, r.Email, r.Phone = "Bob", "b@example.com", "+412" },
			"email a@example.com -> b@example.com, phone +411 -> +412", false,
		},
	} {
		after := before
		test.change(&after)
		assert.Equal(t, test.difference, difference(&before, &after), name)
		assert.Equal(t, test.samePerson, mayBeSamePerson(&before, &after), name)
	}
}

func TestRandomTokenKey(t *testing.T) {
	t.Parallel()
	first, second := withDefaults(Options{}), withDefaults(Options{})
	assert.GreaterOrEqual(t, len(first.TokenKey), 16)
	assert.NotEqual(t, first.TokenKey, second.TokenKey)
}

// TestLinesAboutFailures checks that there is at most one line about a failure
// of the database in ten seconds, from this package and from River.
func TestLinesAboutFailures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		o := &Outbox{opts: withDefaults(Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})}
		river := o.riverLogger()
		lines := func() int {
			defer log.Reset()
			return strings.Count(log.String(), "\n")
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		o.logFailure(ended, ErrDatabase)
		assert.Zero(t, lines(), "the worker stops")
		for _, write := range []func(){
			func() { o.logFailure(t.Context(), ErrDatabase) },
			func() { river.Warn("fails") },
		} {
			write()
			assert.Equal(t, 1, lines())
			time.Sleep(9 * time.Second)
			o.logFailure(t.Context(), ErrDatabase)
			river.Error("fails")
			assert.Zero(t, lines(), "too soon")
			time.Sleep(time.Second)
		}
	})
}
