package e2e_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
)

// The simulation registers leads by EnsureLead and EnsureLeadSince at random
// servers, in virtual time. Requests fail in every way, and processes die. Then
// it counts the leads. Set CLIXNOW_LONG for more than 100,000 registrations.
// CLIXNOW_SEED=7 simulates one world alone.
func TestEnsureLeadSimulation(t *testing.T) {
	t.Parallel()
	const shards = 4
	totals := newTally()
	var done sync.WaitGroup
	done.Add(shards)
	for shard := range shards {
		t.Run(fmt.Sprintf("shard %d", shard), func(t *testing.T) {
			t.Parallel()
			defer done.Done()
			for i, seed := range simSeeds(t) {
				if i%shards == shard {
					simulate(t, seed, totals)
				}
			}
		})
	}
	t.Cleanup(func() {
		done.Wait()
		totals.log(t)
		totals.check(t)
	})
}

// simSeeds returns the seeds of the worlds.
func simSeeds(t *testing.T) (seeds []uint64) {
	t.Helper()
	if text := os.Getenv("CLIXNOW_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
		return []uint64{seed}
	}
	worlds := 24
	if os.Getenv("CLIXNOW_LONG") != "" {
		worlds = 3400
	}
	for i := range worlds {
		seeds = append(seeds, uint64(i+1))
	}
	return seeds
}

// world is how one server behaves.
type world struct {
	// precision is what the filter cuts dates to. 0 means milliseconds, and a
	// negative value means that the filter ignores its bound.
	precision time.Duration
	exclusive bool
	// filterZone and printZone are the offsets of the local times that the
	// filter compares and that are printed.
	filterZone, printZone time.Duration
	hidesDates            bool

	// skew is how far the server's clock is ahead. gatewaySkew is that of the
	// Date of errors.
	skew, gatewaySkew time.Duration
	// lag is the longest time until a search shows a lead.
	lag time.Duration
	// refusesDuplicates reports that no email is registered twice.
	refusesDuplicates bool

	clickIDs, emails string
	// traffic is the time between leads of other people. 0 means that there are
	// none.
	traffic time.Duration
	cap     int
	// closed is how often a create is refused for another reason, in percent.
	closed int
	// faulty is how often a request fails, in percent.
	faulty int
}

func one[T any](random *rand.Rand, values ...T) T { return values[random.IntN(len(values))] }

// usually returns the first value, or one of the others now and then.
func usually[T any](random *rand.Rand, value T, others ...T) T {
	if random.IntN(3) > 0 {
		return value
	}
	return one(random, others...)
}

func newWorld(random *rand.Rand) world {
	const s, m, h = time.Second, time.Minute, time.Hour
	zone := usually(random, 0, -12*h, -8*h, -5*h, -3*h-h/2, -h, h, 2*h, 5*h+h/2, 9*h, 14*h)
	w := world{
		precision: usually(random, 0, datetime, s, m, h, 24*h, -1), exclusive: random.IntN(4) == 0,
		filterZone: usually(random, zone, 0), printZone: zone, hidesDates: random.IntN(25) == 0,
		skew:              usually(random, 0, -3*h, -10*m, -50*s, 50*s, 10*m, 3*h),
		gatewaySkew:       usually(random, 0, -2*h, 2*h, 48*h),
		lag:               usually(random, 0, 100*time.Millisecond, 2*s, 8*s, 14*s, 3*m),
		refusesDuplicates: random.IntN(2) == 0,
		clickIDs:          usually(random, "shown", "hidden", "zero", "lower", "cut", "escaped", "replaced"),
		emails:            usually(random, "shown", "hidden", "stars", "xxx", "upper", "spaces", "escaped"),
		traffic:           one(random, 0, 10*h, 3*h, h, 30*m, 10*m),
		cap:               one(random, 1000, 1000, 100, 40),
		closed:            one(random, 0, 0, 3, 20),
		faulty:            one(random, 10, 30, 60),
	}
	if random.IntN(4) == 0 { // an ordinary server
		w = world{
			precision: one(random, 0, datetime, s), refusesDuplicates: true, clickIDs: "shown", emails: "shown",
			lag: one(random, 0, 100*time.Millisecond, 2*s), traffic: w.traffic, cap: w.cap, closed: w.closed,
			faulty: w.faulty,
		}
	}
	return w
}

// datetime stands for the type of SQL Server, which has steps of 3.33 ms.
const datetime = 3_333_333 * time.Nanosecond

// lastLook is when the last look is made at the earliest, after the response.
const lastLook = 17500 * time.Millisecond

// features names what is unusual about a registration in a world. "ordinary"
// means nothing.
func (w world) features(r *registration) (names []string) {
	add := func(is bool, name string) {
		if is {
			names = append(names, name)
		}
	}
	add(w.precision >= time.Minute, "coarse filter")
	add(w.precision < 0, "filter ignores its bound")
	add(w.exclusive, "bound excluded")
	add(w.printZone != 0 || w.filterZone != 0, "local time")
	add(w.hidesDates, "dates hidden")
	add(w.skew.Abs() > time.Minute, "clock skewed")
	add(w.lag > 2*time.Second, "search lags")
	add(!w.refusesDuplicates, "duplicates accepted")
	add(w.clickIDs != "shown", "click ids "+w.clickIDs)
	add(w.emails != "shown", "emails "+w.emails)
	add(r.shares, "identity shared")
	if names == nil {
		names = []string{"ordinary"}
	}
	return names
}

// promises reports whether this lead may not be doubled at this server: the
// server refuses duplicates, or its searches show the lead in time and in a
// form by which it can be known.
func (w world) promises(r *registration) bool {
	return w.refusesDuplicates || w.showsIdentity(r) && w.lag < lastLook-slowest
}

// showsIdentity reports whether the lead can be known in a search.
func (w world) showsIdentity(r *registration) bool {
	noClickID := len(r.req.ClickID) < 12 || w.clickIDs == "hidden" || w.clickIDs == "zero"
	sameEmail := w.emails == "shown" || w.emails == "upper" || w.emails == "spaces"
	if w.printZone < 0 { // the lead seems to be older than the window
		return noClickID && sameEmail || !noClickID && w.clickIDs == "shown"
	}
	return sameEmail || noClickID || w.clickIDs != "replaced"
}

// slowest is the longest time by which a server carries out a create after the
// client got an error.
const slowest = 3 * time.Second

// simLead is a lead at the server.
type simLead struct {
	id             int64
	email, clickID string
	created        time.Time
	visible        time.Time
	// registration is the number of the registration that sent it. -1 means
	// another person.
	registration int
}

type simServer struct {
	world world

	mu     sync.Mutex
	leads  []simLead // by created
	nextID int64
}

func (s *simServer) now() time.Time { return time.Now().Add(s.world.skew) }

// add stores a lead. s.mu must be held.
func (s *simServer) add(lead simLead) int64 {
	s.nextID++
	lead.id = s.nextID
	i, _ := slices.BinarySearchFunc(s.leads, lead, func(a, b simLead) int {
		return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.id, b.id))
	})
	s.leads = slices.Insert(s.leads, i, lead)
	return lead.id
}

// create carries out a create. The date may be from before the lead is visible.
func (s *simServer) create(body []byte, began time.Time, random *rand.Rand) (status int, text string) {
	var sent struct {
		Email, ClickID string
		Comment        string
	}
	if err := json.Unmarshal(body, &sent); err != nil {
		return http.StatusBadRequest, `{"message":"not JSON"}`
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known := slices.ContainsFunc(s.leads, func(l simLead) bool { return l.email == sent.Email })
	if s.world.refusesDuplicates && known {
		return http.StatusBadRequest, `{"message":"Duplicate lead"}`
	}
	if random.IntN(100) < s.world.closed {
		return http.StatusBadRequest, `{"message":"Daily cap reached"}`
	}
	number, err := strconv.Atoi(sent.Comment)
	if err != nil {
		panic(err)
	}
	visible := s.now()
	if s.world.lag > 0 {
		visible = visible.Add(time.Duration(random.Int64N(int64(s.world.lag))))
	}
	id := s.add(simLead{
		email: sent.Email, clickID: sent.ClickID, created: one(random, began, s.now()), visible: visible,
		registration: number,
	})
	return http.StatusOK, fmt.Sprintf(`{"leadId":%d,"redirectUrl":"https://brand.example/"}`, id)
}

func (s *simServer) search(query url.Values) string {
	skip, _ := strconv.Atoi(query.Get("skip"))
	count, _ := strconv.Atoi(query.Get("count"))
	count = min(count, s.world.cap)
	bound, hasBound := time.Time{}, query.Get("createdOnFrom") != ""
	if hasBound {
		var err error
		if bound, err = time.Parse("2006-01-02T15:04:05", query.Get("createdOnFrom")); err != nil {
			panic(err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	page := []byte("[")
	for i := range s.leads {
		lead := &s.leads[i]
		if lead.visible.After(now) || hasBound && !s.world.shows(lead.created, bound) {
			continue
		}
		if skip--; skip >= 0 {
			continue
		}
		if count--; count < 0 {
			break
		}
		if len(page) > 1 {
			page = append(page, ',')
		}
		page = s.world.appendLead(page, lead)
	}
	return string(append(page, ']'))
}

// shows reports whether the filter lets a date through.
func (w world) shows(created, bound time.Time) bool {
	if w.precision < 0 {
		return true
	}
	precision := max(w.precision, time.Millisecond)
	order := created.Add(w.filterZone).Truncate(precision).Compare(bound.Truncate(precision))
	return order > 0 || order == 0 && !w.exclusive
}

func (w world) appendLead(page []byte, lead *simLead) []byte {
	clickID, email := lead.clickID, lead.email
	switch w.clickIDs {
	case "hidden":
		clickID = ""
	case "zero":
		clickID = "0"
	case "lower":
		clickID = strings.ToLower(clickID)
	case "cut":
		clickID = clickID[:min(20, len(clickID))]
	case "escaped":
		clickID = url.QueryEscape(clickID)
	case "replaced":
		clickID = fmt.Sprintf("%x", len(clickID)*7919+int(lead.id))
	}
	switch w.emails {
	case "hidden":
		email = ""
	case "stars":
		_, domain, _ := strings.Cut(email, "@")
		email = email[:1] + "***@" + domain
	case "xxx":
		_, domain, _ := strings.Cut(email, "@")
		email = "xxxxxx@" + domain
	case "upper":
		email = strings.ToUpper(email)
	case "spaces":
		email = " " + email + " "
	case "escaped":
		email = url.QueryEscape(email)
	}
	date := ""
	if !w.hidesDates {
		format := "2006-01-02T15:04:05.000"
		if w.printZone == 0 {
			format += "Z"
		}
		date = lead.created.Add(w.printZone).UTC().Format(format)
	}
	return fmt.Appendf(page, `{"id":%d,"email":%q,"clickId":%q,"createdOn":%q}`, lead.id, email, clickID, date)
}

// simTransport is the network between one process and the server. Its random
// source belongs to one registration.
type simTransport struct {
	server *simServer
	random *rand.Rand
	// calm is set for the last delivery, after which only the server is odd.
	calm bool
	log  func(format string, args ...any)
}

func (n *simTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	handle := func() (int, string) { return http.StatusOK, n.server.search(r.URL.Query()) }
	if r.Method == http.MethodPost {
		began := n.server.now()
		// The create may be carried out later, in another goroutine.
		random := rand.New(rand.NewPCG(n.random.Uint64(), n.random.Uint64()))
		handle = func() (int, string) { return n.server.create(body, began, random) }
	}
	resp, err := n.fail(r, handle)
	switch {
	case err != nil:
		n.log("%s %s: %v", r.Method, r.URL.RawQuery, err)
	default:
		n.log("%s %s: %d", r.Method, r.URL.RawQuery, resp.StatusCode)
	}
	return resp, err
}

var errSimCut = errors.New("connection reset by peer")

// fail answers a request, or lets it fail in a random way.
func (n *simTransport) fail(r *http.Request, handle func() (int, string)) (*http.Response, error) {
	random := n.random
	if n.calm || random.IntN(100) >= n.server.world.faulty {
		status, text := handle()
		return n.response(r, status, text, n.server.world.skew), nil
	}
	gateway := func(status int) *http.Response {
		return n.response(r, status, "<html>", n.server.world.gatewaySkew)
	}
	carriedOut := random.IntN(2) == 0
	if carriedOut && random.IntN(4) == 0 { // perhaps after the client has gone
		later := time.Duration(random.Int64N(int64(slowest)))
		time.AfterFunc(later, func() { handle() })
	} else if carriedOut {
		handle()
	}
	switch kind := random.IntN(10); kind {
	case 0, 1, 2:
		return nil, errSimCut
	case 3: // the attempt's own timeout
		return nil, n.hang(r, time.Hour)
	case 4:
		if err := n.hang(r, time.Duration(random.Int64N(int64(20*time.Second)))); err != nil {
			return nil, err
		}
		return gateway(http.StatusGatewayTimeout), nil
	case 5, 6:
		resp := gateway(one(random, 500, 502, 503, 504, 520, 303, 408, 499, 460))
		if random.IntN(3) == 0 {
			resp.Header.Set("Retry-After", strconv.Itoa(random.IntN(200)))
		}
		return resp, nil
	case 7: // not understood
		return n.response(r, http.StatusOK, one(random, `{}`, `<html>`, `{"leadId":`, ``), n.server.world.skew), nil
	}
	if carriedOut { // what follows would be a lie
		return nil, errSimCut
	}
	switch random.IntN(4) {
	case 0:
		return nil, fmt.Errorf("breaker: %w", clixnow.ErrNotSent)
	case 1:
		return gateway(one(random, 401, 403)), nil
	}
	resp := gateway(http.StatusTooManyRequests)
	resp.Header.Set("Retry-After", strconv.Itoa(random.IntN(60)))
	return resp, nil
}

func (n *simTransport) hang(r *http.Request, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-r.Context().Done():
		return r.Context().Err()
	}
}

func (n *simTransport) response(r *http.Request, status int, text string, skew time.Duration) *http.Response {
	return &http.Response{
		StatusCode: status, Header: http.Header{
			"Content-Type": {"application/json"},
			"Date":         {time.Now().Add(skew).UTC().Format(http.TimeFormat)},
		},
		Body: io.NopCloser(bytes.NewReader([]byte(text))), ContentLength: int64(len(text)), Request: r,
	}
}

// registration is one lead that is to be registered once.
type registration struct {
	number int
	req    clixnow.CreateLeadRequest
	// shares reports that another registration has the same email or click id.
	shares bool

	lead  *clixnow.EnsureLeadResponse
	err   error
	calls int
	// doubts is the number of calls whose outcome was unknown.
	doubts int
	log    []logLine
}

// logLine is one line of the log of a registration. It is formatted only if the
// test fails.
type logLine struct {
	at     time.Duration
	format string
	args   []any
}

func (l logLine) String() string {
	return fmt.Sprintf("%v "+l.format, append([]any{l.at}, l.args...)...)
}

func simulate(t *testing.T, seed uint64, totals *tally) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 24))
	w := newWorld(random)
	registrations := newRegistrations(random)
	server := &simServer{world: w}
	synctest.Test(t, func(t *testing.T) {
		const span = 12 * time.Hour
		time.Sleep(100*24*time.Hour + time.Duration(random.Int64N(int64(24*time.Hour))))
		server.populate(time.Now().Add(-70*time.Hour), time.Now().Add(span+40*time.Hour))
		var working sync.WaitGroup
		for i := range registrations {
			r := &registrations[i]
			start := time.Duration(random.Int64N(int64(span)))
			working.Go(func() {
				time.Sleep(start)
				r.run(t, server, rand.New(rand.NewPCG(seed, uint64(1000+i))))
			})
		}
		working.Wait()
		time.Sleep(time.Minute) // creates whose client has gone
		synctest.Wait()
	})
	for i := range registrations {
		judge(t, seed, server, &registrations[i], totals)
	}
}

// populate adds the leads of other people. Later ones are not visible yet.
func (s *simServer) populate(from, to time.Time) {
	if s.world.traffic == 0 {
		return
	}
	for at := from; at.Before(to); at = at.Add(s.world.traffic) {
		created := at.Add(s.world.skew)
		email := fmt.Sprintf("other%d@example.com", s.nextID)
		s.leads = append(s.leads, simLead{
			id: s.nextID + 1, email: email, clickID: "Other-" + strconv.FormatInt(s.nextID, 36) + "-0123456789abcd",
			created: created, visible: created, registration: -1,
		})
		s.nextID++
	}
}

func newRegistrations(random *rand.Rand) []registration {
	registrations := make([]registration, 30)
	for i := range registrations {
		r := &registrations[i]
		r.number = i
		r.req = vendorsLead()
		r.req.Comment = strconv.Itoa(i)
		r.req.Email = fmt.Sprintf("%c%d.lead@example.com", 'a'+rune(i%26), i)
		r.req.ClickID = fmt.Sprintf("Kx%d/%016X", i, random.Uint64())
		if i == 0 {
			continue
		}
		before := &registrations[random.IntN(i)]
		switch random.IntN(20) {
		case 0:
			r.req.Email = before.req.Email
			r.shares, before.shares = true, true
		case 1:
			r.req.Email, r.req.ClickID = before.req.Email, ""
			r.shares, before.shares = true, true
		case 2:
			r.req.ClickID = before.req.ClickID
			r.shares, before.shares = true, true
		case 3, 4:
			r.req.ClickID = ""
		case 5:
			r.req.ClickID = one(random, "{clickid}", "0", "__CLICKID__")
		}
	}
	return registrations
}

// run registers the lead as the consumer of a queue does, with processes that
// die.
func (r *registration) run(t *testing.T, server *simServer, random *rand.Rand) {
	t.Helper()
	const deliveries = 6
	began := time.Now()
	network := &simTransport{server: server, random: random}
	network.log = func(format string, args ...any) {
		r.log = append(r.log, logLine{time.Since(began), format, args})
	}
	client, err := clixnow.NewClient("acme", testToken,
		clixnow.WithHTTPClient(&http.Client{Transport: network, Timeout: 30 * time.Second}))
	if !assert.NoError(t, err) {
		return
	}
	var saved time.Time
	for delivery := range deliveries {
		network.calm = delivery == deliveries-1
		first := saved
		if saved.IsZero() { // the clock of another machine
			saved = time.Now().Add(time.Duration(random.Int64N(int64(90*time.Second))) - 45*time.Second)
		}
		ctx, cancel := t.Context(), context.CancelFunc(func() {})
		if !network.calm && random.IntN(3) == 0 {
			ctx, cancel = context.WithTimeout(ctx, time.Duration(random.Int64N(int64(40*time.Second))))
		}
		r.calls++
		network.log("call, first attempt %v", first)
		r.lead, r.err = client.EnsureLeadSince(ctx, r.req, first)
		cancel()
		network.log("returns %v", r.err)
		switch clixnow.OutcomeOf(r.err) {
		case clixnow.OutcomeRegistered:
			return
		case clixnow.OutcomeUnknown:
			r.doubts++
		case clixnow.OutcomeRefused:
			if clixnow.ReasonOf(r.err) == clixnow.ReasonDuplicate {
				return
			}
			saved = time.Time{} // nothing was created
		case clixnow.OutcomeNotSent, clixnow.OutcomeRateLimited:
			saved = time.Time{}
		}
		time.Sleep(one(random, time.Second, time.Minute, 11*time.Minute, time.Hour, 8*time.Hour))
	}
}

// judge compares what was reported with what is there.
func judge(t *testing.T, seed uint64, server *simServer, r *registration, totals *tally) {
	t.Helper()
	var ids []int64
	for _, lead := range server.leads {
		if lead.registration == r.number {
			ids = append(ids, lead.id)
		}
	}
	story := func() string {
		var lines strings.Builder
		for _, line := range r.log {
			lines.WriteString(line.String() + "\n")
		}
		return fmt.Sprintf("CLIXNOW_SEED=%d, registration %d (%s, %q), leads %v\n%+v\n%s", seed, r.number, r.req.Email,
			r.req.ClickID, ids, server.world, lines.String())
	}
	if server.world.promises(r) && len(ids) > 1 {
		require.Fail(t, "doubled", story())
	}
	switch clixnow.OutcomeOf(r.err) {
	case clixnow.OutcomeRegistered:
		if !r.shares && !slices.Contains(ids, r.lead.LeadID) {
			require.Fail(t, "lost", story())
		}
	case clixnow.OutcomeUnknown:
	case clixnow.OutcomeRefused, clixnow.OutcomeNotSent, clixnow.OutcomeRateLimited:
		if server.world.showsIdentity(r) && len(ids) > 0 {
			require.Fail(t, "reported as not registered, and there", story())
		}
	}
	totals.add(server.world, r, len(ids))
}

// tally counts outcomes by kind of server.
type tally struct {
	mu     sync.Mutex
	counts map[string]*outcomes
}

type outcomes struct {
	registrations, calls, doubts, recovered, unknown, refused, other, doubled int
}

func newTally() *tally { return &tally{counts: make(map[string]*outcomes)} }

func (c *tally) add(w world, r *registration, leads int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kinds := append(w.features(r), "all")
	if !w.promises(r) {
		kinds = append(kinds, "without a promise")
	}
	for _, kind := range kinds {
		o := c.counts[kind]
		if o == nil {
			o = new(outcomes)
			c.counts[kind] = o
		}
		o.registrations++
		o.calls += r.calls
		o.doubts += r.doubts
		if leads > 1 {
			o.doubled++
		}
		switch clixnow.OutcomeOf(r.err) {
		case clixnow.OutcomeRegistered:
			if r.lead.Recovered {
				o.recovered++
			}
		case clixnow.OutcomeUnknown:
			o.unknown++
		case clixnow.OutcomeRefused:
			o.refused++
		case clixnow.OutcomeNotSent, clixnow.OutcomeRateLimited:
			o.other++
		}
	}
}

func (c *tally) log(t *testing.T) {
	t.Helper()
	for _, kind := range slices.Sorted(maps.Keys(c.counts)) {
		o := c.counts[kind]
		t.Logf("%-26s %7d registrations, %6.2f %% recovered, %6.2f %% refused, %6.2f %% unknown at the end, "+
			"%6.2f %% of %d calls unknown, %d doubled", kind, o.registrations,
			percent(o.recovered, o.registrations), percent(o.refused, o.registrations),
			percent(o.unknown, o.registrations), percent(o.doubts, o.calls), o.calls, o.doubled)
	}
}

func percent(n, of int) float64 { return 100 * float64(n) / float64(max(of, 1)) }

func (c *tally) check(t *testing.T) {
	t.Helper()
	all := c.counts["all"]
	if all == nil || all.registrations < 500 || t.Failed() {
		return // of a few, chance decides
	}
	assert.Greater(t, percent(all.recovered, all.registrations), 10.0)
	assert.Less(t, percent(all.unknown, all.registrations), 25.0)
	if ordinary := c.counts["ordinary"]; ordinary != nil && ordinary.registrations > 500 {
		assert.Less(t, percent(ordinary.unknown, ordinary.registrations), 1.0)
		assert.Zero(t, ordinary.doubled)
	}
	if os.Getenv("CLIXNOW_LONG") != "" && os.Getenv("CLIXNOW_SEED") == "" {
		assert.Greater(t, all.registrations, 100_000)
	}
}
