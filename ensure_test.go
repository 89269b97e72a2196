package clixnow_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// reply is what becomes of a request.
type reply func(*http.Request) (*http.Response, error)

// script is an API in memory that follows a script: so that time can be fake,
// and requests can be counted.
type script struct {
	creates []reply // of the POSTs, in order; one too many is an error of the test
	looks   []reply // of the GETs, in order; then no lead is found
	ahead   time.Duration

	posts, gets []sentAt
}

type sentAt struct {
	at    time.Time
	body  string
	query string
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	seen := sentAt{at: time.Now(), query: r.URL.RawQuery}
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		seen.body = string(body)
	}
	if r.Method == http.MethodGet {
		s.gets = append(s.gets, seen)
		return s.play(r, s.looks, len(s.gets), says(200, `[]`))
	}
	s.posts = append(s.posts, seen)
	return s.play(r, s.creates, len(s.posts), says(418, `not in the script`))
}

func (s *script) play(r *http.Request, replies []reply, number int, otherwise reply) (*http.Response, error) {
	if number <= len(replies) {
		otherwise = replies[number-1]
	}
	resp, err := otherwise(r)
	if resp != nil {
		resp.Header.Set("Date", time.Now().Add(s.ahead).UTC().Format(http.TimeFormat))
	}
	return resp, err
}

func (s *script) client(t *testing.T, opts ...clixnow.Option) *clixnow.Client {
	t.Helper()
	client,
		err := clixnow.NewClient("acme", testToken, append(opts, clixnow.WithHTTPClient(&http.Client{Transport: s}))...)
	require.NoError(t, err)
	return client
}

// says answers.
func says(status int, body string) reply {
	return func(r *http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}},
			Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: r,
		}, nil
	}
}

// shows answers a search with leads that were created so long before or after
// now, by the server's clock.
func shows(leads ...string) reply {
	return func(r *http.Request) (*http.Response, error) {
		return says(200, "["+strings.Join(leads, ",")+"]")(r)
	}
}

// found is a lead as a search shows it, created so long after now.
func found(id int, email, clickID string, after time.Duration) string {
	return fmt.Sprintf(`{"id":%d,"email":%q,"clickId":%q,"createdOn":%q}`,
		id, email, clickID, time.Now().Add(after).UTC().Format("2006-01-02T15:04:05.000Z"))
}

// fails loses the connection: such a RoundTripper does not say whether the
// request was written.
func fails(err error) reply {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

func times(n int, r reply) []reply {
	var replies []reply
	for range n {
		replies = append(replies, r)
	}
	return replies
}

func in(replies ...any) []reply {
	var flat []reply
	for _, r := range replies {
		switch r := r.(type) {
		case reply:
			flat = append(flat, r)
		case []reply:
			flat = append(flat, r...)
		}
	}
	return flat
}

var (
	errBreakerOpen = errors.New("the breaker is open")
	errReset       = errors.New("connection reset by peer")

	created   = says(200, `{"leadId":500,"redirectUrl":"https://brand.com/login?t=1","clickId":"20fn4ngo56n3snf74"}`)
	lost      = fails(errReset)
	neverSent = fails(fmt.Errorf("%w: %w", errBreakerOpen, clixnow.ErrNotSent))
	duplicate = says(400, `{"message":"Duplicate lead","errors":{"Email":["is already registered"]}}`)
	down      = says(503, ``)
	nothing   = shows()
)

func TestEnsureLead(t *testing.T) {
	t.Parallel()
	const (
		email = "allison.brown@example.com"
		click = "20fn4ngo56n3snf74"
	)
	// Made within the bubble of each case, whose clock they follow.
	ours := func(r *http.Request) (*http.Response, error) { return shows(found(77, email, click, 0))(r) }
	masked := func(r *http.Request) (*http.Response, error) { return shows(found(78, "a***@example.com", "", 0))(r) }
	others := func(r *http.Request) (*http.Response, error) {
		return shows(found(40, email, "another", 0), found(41, "b@example.com", "", 0), found(42, "b***", "x", 0))(r)
	}
	earlier := func(r *http.Request) (*http.Response, error) { return shows(found(12, email, click, -time.Hour))(r) }
	several := func(r *http.Request) (*http.Response, error) {
		return shows(found(90, email, "", 0), found(81, email, click, 0), found(85, email, click, 0))(r)
	}

	tests := []struct {
		name     string
		attempts int  // of the policy; 0 = 3
		since    bool // EnsureLeadSince, a minute after the earlier try
		creates  []reply
		looks    []reply
		posts    int
		gets     int
		class    error   // nil = registered
		is       []error // what err is besides
		status   int     // of the *APIError within reach; 0 = none
		leadID   int64
		recover  bool
	}{
		{name: "registered at once", creates: in(created), posts: 1, leadID: 500},
		{
			name: "found at the first look", creates: in(lost), looks: in(reply(ours)), posts: 1, gets: 1, leadID: 77,
			recover: true,
		},
		{
			name: "found at the fourth look", creates: in(lost), looks: in(times(3, nothing), reply(ours)), posts: 1,
			gets: 4, leadID: 77, recover: true,
		},
		{name: "sent again after four looks", creates: in(lost, created), posts: 2, gets: 4, leadID: 500},
		{
			name: "leads of others are not ours", creates: in(lost, created), looks: times(4, others), posts: 2,
			gets:   4,
			leadID: 500,
		},
		{
			name: "the lowest id of several", creates: in(lost), looks: in(reply(several)), posts: 1, gets: 1,
			leadID: 81, recover: true,
		},
		{name: "after a 5xx", creates: in(down), looks: in(reply(ours)), posts: 1, gets: 1, leadID: 77, recover: true},
		{
			name: "after a 303", creates: in(says(303, ``)), looks: in(reply(ours)), posts: 1, gets: 1, leadID: 77,
			recover: true,
		},
		{
			name: "after an answer without id", creates: in(says(200, `{}`)), looks: in(reply(ours)), posts: 1, gets: 1,
			leadID: 77, recover: true,
		},

		// MaxAttempts counts POSTs.
		{
			name: "one attempt still looks", attempts: 1, creates: in(lost), posts: 1, gets: 4,
			class: clixnow.ErrOutcomeUnknown, is: []error{errReset},
		},
		{
			name: "one attempt, found", attempts: 1, creates: in(lost), looks: in(nothing, reply(ours)), posts: 1,
			gets: 2, leadID: 77, recover: true,
		},
		{
			name:    "all attempts of unknown outcome, each within reach",
			creates: in(lost, down, says(200, `{"leadId":0}`)), posts: 3, gets: 12,
			class: clixnow.ErrOutcomeUnknown, is: []error{errReset, clixnow.ErrServer, clixnow.ErrInvalidResponse},
			status: 200,
		},
		{
			name: "attempts that were not sent or refused for now count", creates: in(neverSent, says(429, ``), lost),
			posts: 3, gets: 4,
			class: clixnow.ErrOutcomeUnknown, is: []error{errReset},
		},
		{name: "the last attempt registers it", creates: in(lost, lost, created), posts: 3, gets: 8, leadID: 500},

		// A search that fails is not one that found nothing.
		{
			name: "one of the looks fails: the others are made, and no re-send", creates: in(lost),
			looks: in(nothing, times(3, down)), posts: 1, gets: 6,
			class: clixnow.ErrOutcomeUnknown, is: []error{clixnow.ErrServer, errReset}, status: 503,
		},
		{
			name: "the last look fails", creates: in(lost), looks: in(times(3, nothing), times(3, lost)), posts: 1,
			gets:  6,
			class: clixnow.ErrOutcomeUnknown, is: []error{errReset},
		},
		{
			name: "all looks fail", creates: in(lost), looks: times(12, says(429, ``)), posts: 1, gets: 12,
			class: clixnow.ErrOutcomeUnknown, status: 429,
		},
		{
			name: "a look fails, a later one finds", creates: in(lost), looks: in(times(3, down), nothing, reply(ours)),
			posts: 1, gets: 5, leadID: 77, recover: true,
		},
		{
			name: "a look is retried like any search", creates: in(lost, created), looks: in(down, lost), posts: 2,
			gets: 6, leadID: 500,
		},
		{
			name: "a look is refused: no further one", creates: in(lost),
			looks: in(says(403, `{"message":"no searches for you"}`)), posts: 1, gets: 1,
			class: clixnow.ErrOutcomeUnknown, is: []error{clixnow.ErrForbidden, errReset}, status: 403,
		},
		{
			name: "a look makes no sense: no further one", creates: in(lost), looks: in(nothing, says(200, `{}`)),
			posts: 1, gets: 2,
			class: clixnow.ErrOutcomeUnknown, is: []error{clixnow.ErrInvalidResponse}, status: 200,
		},

		// A lead that may be ours.
		{
			name: "undecided at one look: no re-send, whatever the others show", creates: in(lost),
			looks: in(reply(masked)), posts: 1, gets: 4,
			class: clixnow.ErrOutcomeUnknown, is: []error{errReset},
		},
		{
			name: "undecided at the last look", creates: in(lost), looks: in(times(3, nothing), reply(masked)),
			posts: 1, gets: 4,
			class: clixnow.ErrOutcomeUnknown,
		},
		{
			name: "undecided, then found", creates: in(lost), looks: in(reply(masked), reply(ours)), posts: 1, gets: 2,
			leadID: 77, recover: true,
		},

		// What a re-send meets.
		{
			name: "a duplicate on re-send, found", creates: in(lost, duplicate),
			looks: in(times(5, nothing), reply(ours)), posts: 2, gets: 6,
			leadID: 77, recover: true,
		},
		{
			name: "a duplicate on re-send, not found", creates: in(lost, duplicate), posts: 2, gets: 8,
			class: clixnow.ErrOutcomeUnknown, is: []error{clixnow.ErrDuplicateLead, clixnow.ErrBadRequest, errReset},
			status: 400,
		},
		{
			name: "a duplicate on re-send, and the looks fail", creates: in(lost, duplicate),
			looks: in(times(4, nothing), says(401, ``)), posts: 2, gets: 5,
			class: clixnow.ErrOutcomeUnknown, is: []error{clixnow.ErrDuplicateLead, clixnow.ErrUnauthorized},
			status: 401,
		},
		{
			name: "a duplicate on re-send that an earlier registration explains", creates: in(lost, duplicate),
			looks: times(8, earlier), posts: 2, gets: 8,
			class: clixnow.ErrOutcomeUnknown, is: []error{clixnow.ErrDuplicateLead}, status: 400,
		},
		{
			name: "refused on re-send", creates: in(lost, says(403, `{}`)), posts: 2, gets: 4,
			class: clixnow.ErrOutcomeUnknown, is: []error{clixnow.ErrForbidden, errReset}, status: 403,
		},
		{
			name:    "found wanting on re-send, after a 5xx",
			creates: in(down, says(400, `{"message":"The email is wrong"}`)), posts: 2, gets: 4,
			class: clixnow.ErrOutcomeUnknown, is: []error{clixnow.ErrBadRequest, clixnow.ErrServer}, status: 400,
		},
		{
			name: "redirected on re-send", creates: in(lost, says(302, ``)), posts: 2, gets: 4,
			class: clixnow.ErrOutcomeUnknown, is: []error{clixnow.ErrRedirect}, status: 302,
		},
		{
			name: "too many on re-send", creates: in(lost, says(429, ``), says(429, ``)), posts: 3, gets: 4,
			class: clixnow.ErrOutcomeUnknown, is: []error{errReset}, status: 429,
		},
		{
			name: "too many on re-send, then registered", creates: in(lost, says(429, ``), created), posts: 3, gets: 4,
			leadID: 500,
		},
		{
			name: "not sent on re-send", attempts: 2, creates: in(lost, neverSent), posts: 2, gets: 4,
			class: clixnow.ErrOutcomeUnknown, is: []error{errBreakerOpen, errReset},
		},

		// The first send fails as CreateLead does.
		{
			name: "a duplicate on the first send", creates: in(duplicate), posts: 1,
			class: clixnow.ErrRefused, is: []error{clixnow.ErrDuplicateLead}, status: 400,
		},
		{
			name: "a duplicate after a 429: nothing of ours arrived", creates: in(says(429, ``), duplicate), posts: 2,
			class: clixnow.ErrRefused, is: []error{clixnow.ErrDuplicateLead}, status: 400,
		},
		{
			name: "refused", creates: in(says(401, ``)), posts: 1, class: clixnow.ErrRefused,
			is: []error{clixnow.ErrUnauthorized}, status: 401,
		},
		{
			name: "not sent", creates: times(3, neverSent), posts: 3, class: clixnow.ErrNotSent,
			is: []error{errBreakerOpen},
		},
		{name: "too many", creates: times(3, says(429, ``)), posts: 3, class: clixnow.ErrRateLimited, status: 429},

		// After an earlier try.
		{
			name: "since: found at the first look", since: true, looks: in(reply(ours)), gets: 1, leadID: 77,
			recover: true,
		},
		{
			name: "since: found at the third look", since: true, looks: in(nothing, nothing, reply(ours)), gets: 3,
			leadID: 77, recover: true,
		},
		{name: "since: not found, sent", since: true, creates: in(created), posts: 1, gets: 4, leadID: 500},
		{
			name: "since: not found, one attempt", since: true, attempts: 1, creates: in(created), posts: 1, gets: 4,
			leadID: 500,
		},
		{
			name: "since: not found, one attempt, lost", since: true, attempts: 1, creates: in(lost), posts: 1, gets: 8,
			class: clixnow.ErrOutcomeUnknown, is: []error{errReset},
		},
		{
			name: "since: not found, sent, lost, found", since: true, creates: in(lost),
			looks: in(times(4, nothing), reply(ours)), posts: 1, gets: 5, leadID: 77, recover: true,
		},
		{
			name: "since: a duplicate on the first send, found", since: true, creates: in(duplicate),
			looks: in(times(4, nothing), reply(ours)), posts: 1, gets: 5, leadID: 77, recover: true,
		},
		{
			name: "since: a duplicate on the first send, not found", since: true, creates: in(duplicate), posts: 1,
			gets:  8,
			class: clixnow.ErrOutcomeUnknown, is: []error{clixnow.ErrDuplicateLead}, status: 400,
		},
		{
			name: "since: an earlier registration is not ours", since: true, creates: in(duplicate),
			looks: times(8, earlier), posts: 1, gets: 8,
			class: clixnow.ErrOutcomeUnknown, is: []error{clixnow.ErrDuplicateLead}, status: 400,
		},
		{
			name: "since: refused", since: true, creates: in(says(401, ``)), posts: 1, gets: 4,
			class: clixnow.ErrOutcomeUnknown, is: []error{clixnow.ErrUnauthorized}, status: 401,
		},
		{
			name: "since: not sent", since: true, creates: times(3, neverSent), posts: 3, gets: 4,
			class: clixnow.ErrOutcomeUnknown, is: []error{errBreakerOpen},
		},
		{
			name: "since: too many", since: true, creates: times(3, says(429, ``)), posts: 3, gets: 4,
			class: clixnow.ErrOutcomeUnknown, status: 429,
		},
		{name: "since: undecided", since: true, looks: in(reply(masked)), gets: 4, class: clixnow.ErrOutcomeUnknown},
		{
			name: "since: the looks fail", since: true, looks: times(12, lost), gets: 12,
			class: clixnow.ErrOutcomeUnknown, is: []error{errReset},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := &script{creates: test.creates, looks: test.looks}
				client := api.client(t, clixnow.WithRetry(clixnow.RetryPolicy{MaxAttempts: test.attempts}))
				var first time.Time
				if test.since {
					first = time.Now()
					time.Sleep(time.Minute)
				}
				lead, err := client.EnsureLeadSince(t.Context(), vendorsLead(), first)

				assert.Len(t, api.posts, test.posts, "POSTs")
				assert.Len(t, api.gets, test.gets, "GETs")
				for _, post := range api.posts {
					assert.Equal(t, api.posts[0].body, post.body)
				}
				requireOutcome(t, test.class, err)
				for _, is := range test.is {
					require.ErrorIs(t, err, is)
				}
				var answer *clixnow.APIError
				if errors.As(err, &answer); test.status != 0 && assert.NotNil(t, answer) {
					assert.Equal(t, test.status, answer.StatusCode)
				} else {
					assert.Nil(t, answer)
				}
				if test.class != nil {
					assert.Nil(t, lead)
					return
				}
				require.NotNil(t, lead)
				assert.Equal(t, test.leadID, lead.LeadID)
				assert.Equal(t, test.recover, lead.Recovered)
				assert.Equal(t, test.recover, lead.RedirectURL == "")
			})
		})
	}
}

// The pauses before the looks, after the request before each.
func TestEnsureLeadPauses(t *testing.T) {
	t.Parallel()
	const s = time.Second
	tests := []struct {
		name    string
		policy  clixnow.RetryPolicy
		longest []time.Duration
	}{
		{"default", clixnow.RetryPolicy{}, []time.Duration{s / 2, 2 * s, 5 * s, 10 * s}},
		{
			"of MinBackoff",
			clixnow.RetryPolicy{MinBackoff: 40 * time.Millisecond},
			[]time.Duration{80e6, 320e6, 800e6, 1600e6},
		},
		{"bounded by MaxBackoff", clixnow.RetryPolicy{MaxBackoff: 3 * s}, []time.Duration{s / 2, 2 * s, 3 * s, 3 * s}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := &script{creates: times(3, lost)}
				_, err := api.client(t, clixnow.WithRetry(test.policy)).EnsureLead(t.Context(), vendorsLead())
				requireClass(t, clixnow.ErrOutcomeUnknown, err)
				require.Len(t, api.posts, 3)
				require.Len(t, api.gets, 12)
				for i, post := range api.posts {
					before := post.at
					for j, longest := range test.longest {
						look := api.gets[4*i+j].at
						pause := look.Sub(before)
						assert.LessOrEqual(t, pause, longest, "before look %d after POST %d", j+1, i+1)
						assert.GreaterOrEqual(t, pause, longest-longest/4, "before look %d after POST %d", j+1, i+1)
						before = look
					}
					if i < 2 { // four looks are waiting enough
						assert.Equal(t, before, api.posts[i+1].at, "POST %d", i+2)
					}
				}
			})
		})
	}
}

func TestEnsureLeadLooksInWindow(t *testing.T) {
	t.Parallel()
	const window = 3 * time.Minute
	tests := []struct {
		name  string
		since time.Duration // before the call; 0 = EnsureLead
		ahead time.Duration // the server's clock
		first reply         // to the first POST
		want  []time.Duration
	}{
		{"EnsureLead", 0, 0, lost, []time.Duration{-window}},
		{"since", 36 * time.Hour, 0, lost, []time.Duration{-36*time.Hour - window}},
		{"since a time to come", -time.Hour, 0, lost, []time.Duration{-window}},
		{"clocks not quite in step", 0, -55 * time.Second, lost, []time.Duration{-window}},
		{
			"a server ahead: only what it answered tells", 0, time.Hour, lost,
			[]time.Duration{-window, time.Hour - window},
		},
		{"a server ahead that answered the create", 0, time.Hour, down, []time.Duration{time.Hour - window}},
		{"a server behind that answered the create", 0, -time.Hour, down, []time.Duration{-time.Hour - window}},
		{
			"a server behind: looks once more at once", 0, -time.Hour, lost,
			[]time.Duration{-window, -time.Hour - window, -time.Hour - window},
		},
		{
			"since, a server behind", time.Hour, -time.Hour, lost,
			[]time.Duration{-time.Hour - window, -2*time.Hour - window, -2*time.Hour - window},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				api := &script{creates: in(test.first, created), ahead: test.ahead}
				var first time.Time
				if test.since != 0 {
					first = began.Add(-test.since)
				}
				_, err := api.client(t).EnsureLeadSince(t.Context(), vendorsLead(), first)
				if test.since == 0 {
					require.NoError(t, err)
				}
				if len(test.want) == 3 { // the first look of too short a window does not count
					assert.Equal(t, api.gets[0].at, api.gets[1].at)
				}
				for i, want := range test.want {
					query, err := url.ParseQuery(api.gets[i].query)
					require.NoError(t, err)
					from, err := time.Parse("2006-01-02T15:04:05", query.Get("createdOnFrom"))
					require.NoError(t, err)
					assert.WithinDuration(t, began.Add(want), from, time.Second) // Date has whole seconds
					query.Del("createdOnFrom")
					assert.Equal(t, "count=1000&orderBy=Id", query.Encode())
				}
			})
		})
	}
}

// The server's clock is an hour off. What tells is the Date of the create's
// answer or, where none came, that of a search.
func TestEnsureLeadByServerClock(t *testing.T) {
	t.Parallel()
	faults := map[string]clixnowtest.Fault{
		"answered": {Method: "POST", HandleFirst: true, Status: 502},
		"cut":      {Method: "POST", Drop: clixnowtest.DropAfterHandling},
	}
	for name, fault := range faults {
		for _, ahead := range []time.Duration{-time.Hour, -2 * time.Minute, 0, 2 * time.Minute, time.Hour} {
			t.Run(fmt.Sprintf("%s, %v ahead", name, ahead), func(t *testing.T) {
				t.Parallel()
				clock := func() time.Time { return time.Now().Add(ahead) }
				server := clixnowtest.NewServer(clixnowtest.WithClock(clock), clixnowtest.WithoutDuplicateCheck())
				t.Cleanup(server.Close)
				client := server.Client()
				t.Cleanup(client.CloseIdleConnections)
				req := vendorsLead()
				before := server.AddLeads(clixnow.Lead{
					Email: req.Email, ClickID: req.ClickID,
					CreatedOn: clock().Add(-6 * time.Minute),
				})

				server.Inject(fault)
				lead, err := client.EnsureLead(t.Context(), req)
				require.NoError(t, err)
				assert.True(t, lead.Recovered)
				assert.Greater(t, lead.LeadID, before[0].ID)
				assert.Len(t, server.Leads(), 2)

				// A process that died before it heard of it.
				lead, err = client.EnsureLeadSince(t.Context(), req, time.Now().Add(-time.Second))
				require.NoError(t, err)
				assert.True(t, lead.Recovered)
				assert.Greater(t, lead.LeadID, before[0].ID)
				assert.Len(t, server.Leads(), 2)
			})
		}
	}
}

func TestEnsureLeadRecovers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := &script{creates: in(lost), looks: in(says(200, `{"items":[{
			"id": 77, "email": "ALLISON.BROWN@example.com", "status": "New", "crmId": 1234, "brandId": 5, "brandName": "Broker",
			"createdOn": "2000-01-01T00:00:00.302Z", "updatedOn": "2000-01-01T00:00:01Z", "ftdDate": null, "clickId": "20fn4ngo56n3snf74",
			"sub2": "s2", "subCampaign": "sc", "keyword": "kw", "placement": "pl", "clientType": "Client", "tier": 1
		}]}`))}
		lead, err := api.client(t).EnsureLead(t.Context(), vendorsLead())
		require.NoError(t, err)
		assert.Equal(t, &clixnow.EnsureLeadResponse{Recovered: true, CreateLeadResponse: clixnow.CreateLeadResponse{
			LeadID: 77, SubCampaign: "sc", Placement: "pl", Keyword: "kw", Sub2: "s2", ClickID: "20fn4ngo56n3snf74",
			CRMID: "1234",
		}}, lead)
	})
}

func TestEnsureLeadContext(t *testing.T) {
	t.Parallel()
	errShutdown := errors.New("shutting down")
	hangs := reply(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	cancelled := func(after time.Duration) func(context.Context) (context.Context, context.CancelFunc) {
		return func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			time.AfterFunc(after, func() { cancel(errShutdown) })
			return ctx, func() { cancel(nil) }
		}
	}
	deadline := func(after time.Duration) func(context.Context) (context.Context, context.CancelFunc) {
		return func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, after)
		}
	}
	const s = time.Second
	tests := []struct {
		name    string
		context func(context.Context) (context.Context, context.CancelFunc)
		since   bool
		creates []reply
		looks   []reply
		posts   int
		gets    int
		class   error
		is      []error
		took    time.Duration // at most; and more than half of it
	}{
		{
			name: "cancelled in a pause", context: cancelled(8 * s), creates: in(lost), posts: 1, gets: 3,
			class: clixnow.ErrOutcomeUnknown, is: []error{context.Canceled, errShutdown, errReset}, took: 8 * s,
		},
		{
			name: "cancelled in a look", context: cancelled(8 * s), creates: in(lost), looks: in(nothing, hangs),
			posts: 1, gets: 2, class: clixnow.ErrOutcomeUnknown, is: []error{context.Canceled, errShutdown, errReset},
			took: 8 * s,
		},
		{
			name: "cancelled in the create", context: cancelled(8 * s), creates: in(hangs), posts: 1,
			class: clixnow.ErrOutcomeUnknown, is: []error{context.Canceled, errShutdown}, took: 8 * s,
		},
		{
			name: "cancelled in the re-send", context: cancelled(30 * s), creates: in(lost, hangs), posts: 2, gets: 4,
			class: clixnow.ErrOutcomeUnknown, is: []error{context.Canceled, errShutdown, errReset}, took: 30 * s,
		},
		{
			name: "cancelled before", context: cancelled(0), class: clixnow.ErrNotSent,
			is: []error{context.Canceled, errShutdown},
		},
		{
			name: "since, cancelled before", context: cancelled(0), since: true, class: clixnow.ErrOutcomeUnknown,
			is: []error{context.Canceled, errShutdown},
		},
		{
			name: "since, cancelled in the first pause", context: cancelled(s / 4), since: true,
			class: clixnow.ErrOutcomeUnknown, is: []error{context.Canceled, errShutdown}, took: s / 4,
		},
		{
			name: "deadline in a look", context: deadline(8 * s), creates: in(lost), looks: in(nothing, hangs),
			posts: 1,
			gets:  2, class: clixnow.ErrOutcomeUnknown, is: []error{context.DeadlineExceeded}, took: 8 * s,
		},
		{
			name: "deadline in the create", context: deadline(8 * s), creates: in(hangs), posts: 1,
			class: clixnow.ErrOutcomeUnknown, is: []error{context.DeadlineExceeded}, took: 8 * s,
		},
		{
			name: "deadline too short for the next pause", context: deadline(9 * s), creates: in(lost), posts: 1,
			gets: 3, class: clixnow.ErrOutcomeUnknown, is: []error{context.DeadlineExceeded, errReset},
			took: 7500 * time.Millisecond,
		},
		{
			name: "deadline too short for the first pause", context: deadline(s / 4), creates: in(lost), posts: 1,
			class: clixnow.ErrOutcomeUnknown, is: []error{context.DeadlineExceeded, errReset},
		},
		{
			name: "since, deadline too short for the first pause", context: deadline(s / 4), since: true,
			class: clixnow.ErrOutcomeUnknown, is: []error{context.DeadlineExceeded},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := &script{creates: test.creates, looks: test.looks}
				var first time.Time
				if test.since {
					first = time.Now().Add(-time.Minute)
				}
				ctx, cancel := test.context(t.Context())
				defer cancel()
				synctest.Wait()
				began := time.Now()
				lead, err := api.client(t).EnsureLeadSince(ctx, vendorsLead(), first)
				took := time.Since(began)

				assert.Nil(t, lead)
				assert.Len(t, api.posts, test.posts, "POSTs")
				assert.Len(t, api.gets, test.gets, "GETs")
				requireOutcome(t, test.class, err)
				for _, is := range test.is {
					require.ErrorIs(t, err, is)
				}
				assert.LessOrEqual(t, took, test.took)
				assert.GreaterOrEqual(t, took, test.took/2)
			})
		})
	}
}

// What is refused before anything is sent was refused before the earlier try
// too.
func TestEnsureLeadRefusesAtOnce(t *testing.T) {
	t.Parallel()
	wrong := vendorsLead()
	wrong.Email, wrong.Password = "allison", "short"
	unsendable := vendorsLead()
	unsendable.Extra = map[string]any{"Email": "b@example.com"}
	tests := []struct {
		name   string
		req    clixnow.CreateLeadRequest
		opts   []clixnow.Option
		fields []string
	}{
		{"invalid", wrong, nil, []string{"email", "password", "password"}},
		{"unsendable", unsendable, []clixnow.Option{clixnow.WithoutValidation()}, []string{"Email"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			api := &script{}
			client := api.client(t, test.opts...)
			for _, first := range []time.Time{{}, time.Now().Add(-time.Hour)} {
				lead, err := client.EnsureLeadSince(t.Context(), test.req, first)
				assert.Nil(t, lead)
				requireClass(t, clixnow.ErrRefused, err)
				var faults *clixnow.ValidationError
				require.ErrorAs(t, err, &faults)
				var fields []string
				for _, fault := range faults.Fields {
					fields = append(fields, fault.Field)
				}
				assert.Equal(t, test.fields, fields)
			}
			assert.Empty(t, api.posts)
			assert.Empty(t, api.gets)
		})
	}
}

func TestEnsureLeadNilContext(t *testing.T) {
	t.Parallel()
	api := &script{}
	_, err := api.client(t).EnsureLead(nil, vendorsLead()) //nolint:staticcheck // SA1012: it is what is tested
	requireClass(t, clixnow.ErrNotSent, err)
	_,
		err = api.client(t).EnsureLeadSince(nil, vendorsLead(),
		time.Now()) //nolint:staticcheck // SA1012: it is what is tested
	requireClass(t, clixnow.ErrNotSent, err)
	assert.Empty(t, api.posts)
}

// A brand that hides or masks what would tell leads apart.
func TestEnsureLeadAtBrandThatHides(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		hidden []string
		class  error // where the answer was lost; nil = recovered
	}{
		{"nothing", nil, nil},
		{"emails", []string{"email"}, nil},
		{"click ids", []string{"clickId"}, nil},
		{"emails and click ids", []string{"email", "clickId"}, clixnow.ErrOutcomeUnknown},
		{"dates", []string{"createdOn"}, nil},
		{"all that may be hidden", []string{"crmId", "brandId", "ftdDate"}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := clixnowtest.NewServer(clixnowtest.WithHiddenFields(test.hidden...))
			t.Cleanup(server.Close)
			client := server.Client()
			t.Cleanup(client.CloseIdleConnections)

			server.Inject(clixnowtest.Fault{Method: "POST", Drop: clixnowtest.DropAfterHandling})
			lead, err := client.EnsureLead(t.Context(), vendorsLead())
			requireOutcome(t, test.class, err)
			require.Len(t, server.Leads(), 1, "never twice")
			if test.class == nil {
				assert.True(t, lead.Recovered)
				assert.Equal(t, server.Leads()[0].ID, lead.LeadID)
			}
		})
	}
}

// An error is one line of a log, also where a look and then the context came to
// nothing.
func TestEnsureLeadErrorIsOneLine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := newAPI()
		api.Inject(
			clixnowtest.Fault{Method: "POST", Drop: clixnowtest.DropAfterHandling},
			clixnowtest.Fault{Method: "GET", Status: http.StatusServiceUnavailable, Times: 99},
		)
		client := memoryClient(t, api, clixnow.WithRetry(clixnow.RetryPolicy{MaxAttempts: 1}))
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // for the first pause, and not for the second
		defer cancel()
		_, err := client.EnsureLead(ctx, vendorsLead())
		requireClass(t, clixnow.ErrOutcomeUnknown, err)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.NotContains(t, err.Error(), "\n")
	})
}
