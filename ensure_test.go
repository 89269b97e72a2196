package clixnow_test

import (
	"context"
	"encoding/json"
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

// reply is the outcome of a request.
type reply func(*http.Request) (*http.Response, error)

// script is an API in memory that follows a script. So time can be fake, and
// requests can be counted.
type script struct {
	// creates are the replies to the POSTs. A POST too many gets a 418.
	creates []reply
	// looks are the replies to the GETs. Later ones find nothing.
	looks []reply
	// ahead is how far the clock of the API is ahead.
	ahead time.Duration

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
		return s.play(r, s.looks, len(s.gets), nothing)
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
	opts = append(opts, clixnow.WithHTTPClient(&http.Client{Transport: s}))
	client, err := clixnow.NewClient("acme", testToken, opts...)
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

// shows answers a search with leads, and with two of other people: one that was
// created half a minute after the bound, and one that was created just now. So
// the search proves what it does not show.
func shows(leads ...string) reply {
	return func(r *http.Request) (*http.Response, error) {
		bound, err := createdOnFrom(r.URL.RawQuery)
		if err != nil {
			return nil, err
		}
		all := append([]string{
			foundAt(1, "first@example.com", "first", bound.Add(30*time.Second)),
			found(2, "second@example.com", "second", -time.Second),
		}, leads...)
		return says(200, "["+strings.Join(all, ",")+"]")(r)
	}
}

func createdOnFrom(query string) (time.Time, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return time.Time{}, err
	}
	return time.Parse("2006-01-02T15:04:05", values.Get("createdOnFrom"))
}

// found is a lead as a search shows it, created so long after now.
func found(id int, email, clickID string, after time.Duration) string {
	return foundAt(id, email, clickID, time.Now().Add(after))
}

func foundAt(id int, email, clickID string, createdOn time.Time) string {
	return fmt.Sprintf(`{"id":%d,"email":%q,"clickId":%q,"createdOn":%q}`,
		id, email, clickID, createdOn.UTC().Format("2006-01-02T15:04:05.000Z"))
}

// fails loses the connection. A RoundTripper like this one does not report
// whether the request was written.
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
	// These replies are made in the bubble of each case, whose clock they
	// follow.
	lead := func(id int, email, clickID string, after time.Duration) reply {
		return func(r *http.Request) (*http.Response, error) { return shows(found(id, email, clickID, after))(r) }
	}
	ours := lead(77, email, click, 0)
	masked := lead(78, "a***@example.com", "", 0)
	anotherClick := lead(79, email, "another", 0)
	earlier := lead(12, email, "", -time.Hour)
	others := reply(func(r *http.Request) (*http.Response, error) {
		return shows(
			found(40, email, "another", -time.Hour), found(41, "b@example.com", "", 0), found(42, "b***", "x", 0),
		)(r)
	})
	several := reply(func(r *http.Request) (*http.Response, error) {
		return shows(found(90, email, "", 0), found(81, email, click, 0), found(85, email, click, 0))(r)
	})
	closed := says(400, `{"message":"Daily cap reached"}`)
	forbidden := says(403, `{"message":"no searches for you"}`)

	tests := []struct {
		name string
		// attempts is MaxAttempts. 0 means 3.
		attempts int
		// since is the time between the earlier attempt and EnsureLeadSince. 0
		// means EnsureLead.
		since   time.Duration
		creates []reply
		looks   []reply
		posts   int
		gets    int
		// class is nil if the lead is registered.
		class error
		// is holds what else the error matches.
		is []error
		// status is that of the *APIError that errors.As finds. 0 means none.
		status    int
		leadID    int64
		recovered bool
	}{
		{name: "registered at once", creates: in(created), posts: 1, leadID: 500},
		{
			name: "found at the first look", creates: in(lost), looks: in(ours), posts: 1, gets: 1, leadID: 77,
			recovered: true,
		},
		{
			name: "found at the fourth look", creates: in(lost), looks: in(times(3, nothing), ours), posts: 1,
			gets: 4, leadID: 77, recovered: true,
		},
		{name: "sent again after four looks", creates: in(lost, created), posts: 2, gets: 4, leadID: 500},
		{
			name: "leads of others are not ours", creates: in(lost, created), looks: times(4, others), posts: 2,
			gets: 4, leadID: 500,
		},
		{
			name: "the lowest id of several", creates: in(lost), looks: in(several), posts: 1, gets: 1,
			leadID: 81, recovered: true,
		},
		{name: "after a 5xx", creates: in(down), looks: in(ours), posts: 1, gets: 1, leadID: 77, recovered: true},
		{
			name: "after a 303", creates: in(says(303, ``)), looks: in(ours), posts: 1, gets: 1, leadID: 77,
			recovered: true,
		},
		{
			name: "after a 499", creates: in(says(499, ``)), looks: in(ours), posts: 1, gets: 1, leadID: 77,
			recovered: true,
		},
		{
			name: "after a 2xx without id", creates: in(says(200, `{}`)), looks: in(ours), posts: 1, gets: 1,
			leadID: 77, recovered: true,
		},

		// MaxAttempts counts POSTs.
		{
			name: "one attempt still looks", attempts: 1, creates: in(lost), posts: 1, gets: 4,
			class: clixnow.ErrOutcomeUnknown, is: []error{errReset},
		},
		{
			name: "one attempt, found", attempts: 1, creates: in(lost), looks: in(nothing, ours), posts: 1,
			gets: 2, leadID: 77, recovered: true,
		},
		{
			name:    "the error of each attempt is reachable",
			creates: in(lost, down, says(200, `{"leadId":0}`)), posts: 3, gets: 12,
			class: clixnow.ErrOutcomeUnknown, is: []error{errReset, clixnow.ErrServer, clixnow.ErrInvalidResponse},
			status: 200,
		},
		{
			name: "attempts that were not sent or rate limited count", creates: in(neverSent, says(429, ``), lost),
			posts: 3, gets: 4, class: clixnow.ErrOutcomeUnknown, is: []error{errReset},
		},
		{name: "the last attempt registers it", creates: in(lost, lost, created), posts: 3, gets: 8, leadID: 500},

		// A search that fails is not one that found nothing.
		{
			name: "one look fails: the others are made, and no re-send", creates: in(lost),
			looks: in(nothing, times(3, down)), posts: 1, gets: 6,
			class: clixnow.ErrOutcomeUnknown, is: []error{clixnow.ErrServer, errReset}, status: 503,
		},
		{
			name: "the last look fails", creates: in(lost), looks: in(times(3, nothing), times(3, lost)), posts: 1,
			gets: 6, class: clixnow.ErrOutcomeUnknown, is: []error{errReset},
		},
		{
			name: "all looks fail", creates: in(lost), looks: times(12, says(429, ``)), posts: 1, gets: 12,
			class: clixnow.ErrOutcomeUnknown, status: 429,
		},
		{
			name: "a look fails, a later one finds", creates: in(lost), looks: in(times(3, down), nothing, ours),
			posts: 1, gets: 5, leadID: 77, recovered: true,
		},
		{
			name: "a look is retried like any search", creates: in(lost, created), looks: in(down, lost), posts: 2,
			gets: 6, leadID: 500,
		},
		{
			name: "a look is refused: no further one", creates: in(lost), looks: in(forbidden), posts: 1, gets: 1,
			class: clixnow.ErrOutcomeUnknown, is: []error{clixnow.ErrForbidden, errReset}, status: 403,
		},
		{
			name: "a look is unreadable: no further one", creates: in(lost), looks: in(nothing, says(200, `{}`)),
			posts: 1, gets: 2, class: clixnow.ErrOutcomeUnknown, is: []error{clixnow.ErrInvalidResponse}, status: 200,
		},

		// A lead that may be ours.
		{
			name: "undecided at one look: no re-send, whatever later looks show", creates: in(lost),
			looks: in(masked), posts: 1, gets: 4, class: clixnow.ErrOutcomeUnknown, is: []error{errReset},
		},
		{
			name: "our email with another click id", creates: in(lost), looks: in(anotherClick), posts: 1, gets: 4,
			class: clixnow.ErrOutcomeUnknown, is: []error{errReset},
		},
		{
			name: "undecided at the last look", creates: in(lost), looks: in(times(3, nothing), masked),
			posts: 1, gets: 4, class: clixnow.ErrOutcomeUnknown,
		},
		{
			name: "undecided, then found", creates: in(lost), looks: in(masked, ours), posts: 1, gets: 2,
			leadID: 77, recovered: true,
		},
		{
			name: "undecided, then the looks fail", creates: in(lost), looks: in(masked, forbidden), posts: 1, gets: 2,
			class: clixnow.ErrOutcomeUnknown, is: []error{clixnow.ErrForbidden}, status: 403,
		},

		// Refusals of a re-send.
		{
			name: "a duplicate on re-send, found", creates: in(lost, duplicate),
			looks: in(times(5, nothing), ours), posts: 2, gets: 6, leadID: 77, recovered: true,
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
			name: "a duplicate on re-send of an earlier registration", creates: in(lost, duplicate),
			looks: in(times(4, nothing), times(4, earlier)), posts: 2, gets: 8,
			class: clixnow.ErrOutcomeUnknown, is: []error{clixnow.ErrDuplicateLead}, status: 400,
		},
		{
			name: "an earlier registration that may be ours: no re-send", creates: in(lost), looks: times(4, earlier),
			posts: 1, gets: 4, class: clixnow.ErrOutcomeUnknown, is: []error{errReset},
		},
		{
			name: "refused on re-send: it looks again", creates: in(lost, closed), posts: 2, gets: 8,
			class: clixnow.ErrOutcomeUnknown, is: []error{clixnow.ErrBadRequest, errReset}, status: 400,
		},
		{
			name: "refused on re-send, then found", creates: in(lost, closed), looks: in(times(6, nothing), ours),
			posts: 2, gets: 7, leadID: 77, recovered: true,
		},
		{
			name: "refused on re-send, after a 5xx", creates: in(down, closed), posts: 2, gets: 8,
			class: clixnow.ErrOutcomeUnknown, is: []error{clixnow.ErrBadRequest, clixnow.ErrServer}, status: 400,
		},
		{
			name: "redirected on re-send", creates: in(lost, says(302, ``)), posts: 2, gets: 8,
			class: clixnow.ErrOutcomeUnknown, is: []error{clixnow.ErrRedirect}, status: 302,
		},
		{
			name: "rate limited on re-send", creates: in(lost, says(429, ``), says(429, ``)), posts: 3, gets: 4,
			class: clixnow.ErrOutcomeUnknown, is: []error{errReset}, status: 429,
		},
		{
			name: "rate limited on re-send, then registered", creates: in(lost, says(429, ``), created), posts: 3,
			gets: 4, leadID: 500,
		},
		{
			name: "not sent on re-send", attempts: 2, creates: in(lost, neverSent), posts: 2, gets: 4,
			class: clixnow.ErrOutcomeUnknown, is: []error{errBreakerOpen, errReset},
		},

		// The first send fails as that of CreateLead does.
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
		{
			name: "rate limited", creates: times(3, says(429, ``)), posts: 3, class: clixnow.ErrRateLimited,
			status: 429,
		},

		// After an earlier attempt.
		{
			name: "since: found at the first look", since: time.Minute, looks: in(ours), gets: 1, leadID: 77,
			recovered: true,
		},
		{
			name: "since: found at the third look", since: time.Minute, looks: in(nothing, nothing, ours), gets: 3,
			leadID: 77, recovered: true,
		},
		{name: "since: not found, sent", since: time.Minute, creates: in(created), posts: 1, gets: 4, leadID: 500},
		{
			name: "since: not found, one attempt", since: time.Minute, attempts: 1, creates: in(created), posts: 1,
			gets: 4, leadID: 500,
		},
		{
			name: "since: not found, one attempt, lost", since: time.Minute, attempts: 1, creates: in(lost), posts: 1,
			gets: 8, class: clixnow.ErrOutcomeUnknown, is: []error{errReset},
		},
		{
			name: "since: not found, sent, lost, found", since: time.Minute, creates: in(lost),
			looks: in(times(4, nothing), ours), posts: 1, gets: 5, leadID: 77, recovered: true,
		},
		{
			name: "since: a duplicate on the first send, found", since: time.Minute, creates: in(duplicate),
			looks: in(times(4, nothing), ours), posts: 1, gets: 5, leadID: 77, recovered: true,
		},
		{
			name: "since: a duplicate on the first send, not found", since: time.Minute, creates: in(duplicate),
			posts: 1, gets: 8, class: clixnow.ErrOutcomeUnknown, is: []error{clixnow.ErrDuplicateLead}, status: 400,
		},
		{
			name: "since: a duplicate, not found, hours later", since: 5 * time.Hour, creates: in(duplicate),
			posts: 1, gets: 8,
			class: clixnow.ErrOutcomeUnknown, is: []error{clixnow.ErrDuplicateLead}, status: 400,
		},
		{
			name: "since: not sent", since: time.Hour, creates: times(3, neverSent), posts: 3, gets: 4,
			class: clixnow.ErrOutcomeUnknown, is: []error{errBreakerOpen},
		},
		{
			name: "since: rate limited", since: time.Hour, creates: times(3, says(429, ``)), posts: 3, gets: 4,
			class: clixnow.ErrOutcomeUnknown, status: 429,
		},
		{name: "since: undecided", since: time.Minute, looks: in(masked), gets: 4, class: clixnow.ErrOutcomeUnknown},
		{
			name: "since: the looks fail", since: time.Minute, looks: times(12, lost), gets: 12,
			class: clixnow.ErrOutcomeUnknown, is: []error{errReset},
		},

		// A refusal of the re-send, more than ten minutes after the first
		// attempt or not. The looks before it take 17.5 to 22 seconds.
		{
			name: "since: refused after less than ten minutes", since: 9*time.Minute + 30*time.Second,
			creates: in(closed), posts: 1, gets: 8,
			class: clixnow.ErrOutcomeUnknown, is: []error{clixnow.ErrBadRequest}, status: 400,
		},
		{
			name:    "since: refused, and ten minutes passed during the looks",
			since:   9*time.Minute + 45*time.Second,
			creates: in(closed), posts: 1, gets: 8, class: clixnow.ErrRefused, is: []error{clixnow.ErrBadRequest},
			status: 400,
		},
		{
			name: "since: refused after ten minutes", since: 11 * time.Minute, creates: in(closed), posts: 1, gets: 8,
			class: clixnow.ErrRefused, is: []error{clixnow.ErrBadRequest}, status: 400,
		},
		{
			name: "since: refused after ten minutes, then found", since: 11 * time.Minute, creates: in(closed),
			looks: in(times(7, nothing), ours), posts: 1, gets: 8, leadID: 77, recovered: true,
		},
		{
			name: "since: refused after ten minutes, then undecided", since: 11 * time.Minute, creates: in(closed),
			looks: in(times(4, nothing), masked), posts: 1, gets: 8,
			class: clixnow.ErrOutcomeUnknown, is: []error{clixnow.ErrBadRequest}, status: 400,
		},
		{
			name: "since: refused after ten minutes, then a look fails", since: 11 * time.Minute, creates: in(closed),
			looks: in(times(4, nothing), times(3, down)), posts: 1, gets: 10,
			class: clixnow.ErrOutcomeUnknown, is: []error{clixnow.ErrBadRequest, clixnow.ErrServer}, status: 503,
		},
		{
			name: "since: without access after ten minutes", since: 11 * time.Minute, creates: in(says(401, ``)),
			looks: in(times(4, nothing), says(401, ``)), posts: 1, gets: 5,
			class: clixnow.ErrOutcomeUnknown, is: []error{clixnow.ErrUnauthorized}, status: 401,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := &script{creates: test.creates, looks: test.looks}
				client := api.client(t, clixnow.WithRetry(clixnow.RetryPolicy{MaxAttempts: test.attempts}))
				var first time.Time
				if test.since != 0 {
					first = time.Now()
					time.Sleep(test.since)
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
				assert.Equal(t, test.recovered, lead.Recovered)
				assert.Equal(t, test.recovered, lead.RedirectURL == "")
			})
		})
	}
}

// requirePauses asserts the times of the looks after each POST. A pause is made
// longer by at most a quarter.
func requirePauses(t *testing.T, api *script, want []time.Duration) {
	t.Helper()
	require.Len(t, api.gets, len(want)*len(api.posts))
	for i, post := range api.posts {
		before := post.at
		for j, pause := range want {
			look := api.gets[len(want)*i+j].at
			assert.GreaterOrEqual(t, look.Sub(before), pause, "before look %d after POST %d", j+1, i+1)
			assert.LessOrEqual(t, look.Sub(before), pause+pause/4, "before look %d after POST %d", j+1, i+1)
			before = look
		}
		if i+1 < len(api.posts) {
			assert.Equal(t, before, api.posts[i+1].at, "POST %d", i+2)
		}
	}
}

// The retry policy has no influence on the looks.
func TestEnsureLeadPauses(t *testing.T) {
	t.Parallel()
	const s = time.Second
	standard := []time.Duration{s / 2, 2 * s, 5 * s, 10 * s}
	tests := []struct {
		name string
		opts []clixnow.Option
		want []time.Duration
	}{
		{"default", nil, standard},
		{"small MinBackoff", []clixnow.Option{clixnow.WithRetry(clixnow.RetryPolicy{MinBackoff: 1})}, standard},
		{
			"small MaxBackoff",
			[]clixnow.Option{clixnow.WithRetry(clixnow.RetryPolicy{MaxBackoff: time.Millisecond})},
			standard,
		},
		{
			"large MinBackoff",
			[]clixnow.Option{clixnow.WithRetry(clixnow.RetryPolicy{MinBackoff: time.Hour})},
			standard,
		},
		{"one look", []clixnow.Option{clixnow.WithLooks(3 * s)}, []time.Duration{3 * s}},
		{
			"six looks",
			[]clixnow.Option{clixnow.WithLooks(0, 1, s, s, 60*s, s)},
			[]time.Duration{0, 1, s, s, 60 * s, s},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := &script{creates: times(3, lost)}
				_, err := api.client(t, test.opts...).EnsureLead(t.Context(), vendorsLead())
				requireClass(t, clixnow.ErrOutcomeUnknown, err)
				require.Len(t, api.posts, 3)
				requirePauses(t, api, test.want)
			})
		})
	}
}

// Case L2: the search lags six seconds, and the API does not refuse duplicates.
func TestShortBackoffMakesNoSecondLead(t *testing.T) {
	t.Parallel()
	for _, policy := range []clixnow.RetryPolicy{
		{MaxBackoff: time.Second}, {MinBackoff: 1, MaxBackoff: 1}, {MaxAttempts: 10, MaxBackoff: time.Second}, {},
	} {
		t.Run(fmt.Sprintf("%+v", policy), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				lag := func(clixnow.Lead) time.Duration { return 6 * time.Second }
				api := newAPI(clixnowtest.WithSearchDelay(lag), clixnowtest.WithoutDuplicateCheck())
				api.Inject(clixnowtest.Fault{Method: "POST", Drop: clixnowtest.DropAfterHandling})
				client := memoryClient(t, api, clixnow.WithRetry(policy))
				lead, err := client.EnsureLead(t.Context(), vendorsLead())
				require.NoError(t, err)
				assert.True(t, lead.Recovered)
				assert.Len(t, api.Leads(), 1)
			})
		})
	}
}

// busy answers with a status and a Retry-After.
func busy(status int, retryAfter string) reply {
	return func(r *http.Request) (*http.Response, error) {
		resp, err := says(status, ``)(r)
		if err == nil {
			resp.Header.Set("Retry-After", retryAfter)
		}
		return resp, err
	}
}

// The next look comes no sooner than the Retry-After of the response before it.
func TestEnsureLeadWaitsForRetryAfter(t *testing.T) {
	t.Parallel()
	const s = time.Second
	withRetryAfter := func(r *http.Request) (*http.Response, error) {
		resp, err := nothing(r)
		if err == nil {
			resp.Header.Set("Retry-After", "30")
		}
		return resp, err
	}
	tests := []struct {
		name   string
		create reply
		looks  []reply
		want   []time.Duration
	}{
		{"none", down, nil, []time.Duration{s / 2, 2 * s, 5 * s, 10 * s}},
		{"of the create", busy(503, "30"), nil, []time.Duration{30 * s, 2 * s, 5 * s, 10 * s}},
		{"of the create, zero", busy(503, "0"), nil, []time.Duration{s / 2, 2 * s, 5 * s, 10 * s}},
		{"of the create, two minutes", busy(503, "120"), nil, []time.Duration{120 * s, 2 * s, 5 * s, 10 * s}},
		{"of the create, an hour", busy(503, "3600"), nil, []time.Duration{120 * s, 2 * s, 5 * s, 10 * s}},
		{"of a look", down, in(busy(429, "40")), []time.Duration{s / 2, 40 * s, 5 * s, 10 * s}},
		{"of a look, an hour", down, in(nothing, busy(503, "3600")), []time.Duration{s / 2, 2 * s, 120 * s, 10 * s}},
		{"of each look", down, times(4, busy(429, "20")), []time.Duration{s / 2, 20 * s, 20 * s, 20 * s}},
		{
			"of a look that succeeded", down, in(reply(withRetryAfter)),
			[]time.Duration{s / 2, 30 * s, 5 * s, 10 * s},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := &script{creates: in(test.create), looks: test.looks}
				client := api.client(t, clixnow.WithRetry(clixnow.RetryPolicy{MaxAttempts: 1}))
				_, err := client.EnsureLead(t.Context(), vendorsLead())
				requireClass(t, clixnow.ErrOutcomeUnknown, err)
				requirePauses(t, api, test.want)
			})
		})
	}
}

// Case L13: if the context cannot hold the next pause, or a Retry-After, the
// call ends at once.
func TestEnsureLeadEndsAtOnceIfTheContextIsTooShort(t *testing.T) {
	t.Parallel()
	const s = time.Second
	tests := []struct {
		name    string
		timeout time.Duration
		create  reply
		looks   []reply
		gets    int
	}{
		{"Retry-After of a look", 5 * s, nil, in(busy(429, "8")), 1},
		{"Retry-After of a look beyond MaxBackoff", 25 * s, nil, in(busy(429, "3600")), 1},
		{"Retry-After of a look that is not retried", 5 * s, nil, in(nothing, busy(429, "8")), 2},
		{"Retry-After of the create", 5 * s, busy(503, "8"), nil, 0},
		{"Retry-After of the create beyond two minutes", 100 * s, busy(503, "3600"), nil, 0},
		{"first pause", s / 4, lost, nil, 0},
		{"second pause", 2 * s, lost, nil, 1},
		{"last pause", 17 * s, lost, nil, 3},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := &script{creates: in(test.create), looks: test.looks}
				var first time.Time
				if test.create == nil {
					first = time.Now()
				}
				ctx, cancel := context.WithTimeout(t.Context(), test.timeout)
				defer cancel()
				_, err := api.client(t).EnsureLeadSince(ctx, vendorsLead(), first)
				requireClass(t, clixnow.ErrOutcomeUnknown, err)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.NoError(t, ctx.Err(), "it does not wait for the deadline")
				require.Len(t, api.gets, test.gets)
				last := time.Now()
				if test.gets > 0 {
					last = api.gets[test.gets-1].at
				}
				assert.Equal(t, last, time.Now(), "it ends at once")
			})
		})
	}
}

// bounds returns how far before t the searches began.
func (s *script) bounds(t *testing.T, before time.Time) []time.Duration {
	t.Helper()
	var bounds []time.Duration
	for _, get := range s.gets {
		bound, err := createdOnFrom(get.query)
		require.NoError(t, err)
		bounds = append(bounds, before.Sub(bound))
	}
	return bounds
}

// A search begins one minute before the window, and the window three minutes
// before the first attempt.
func TestEnsureLeadLooksInWindow(t *testing.T) {
	t.Parallel()
	const (
		margin = 4 * time.Minute
		hour   = time.Hour
	)
	tests := []struct {
		name string
		// since is the time since the earlier attempt. 0 means EnsureLead.
		since time.Duration
		// ahead is how far the server's clock is ahead.
		ahead time.Duration
		// first is the reply to the first POST.
		first reply
		// want is how far before the call the searches begin. The last one
		// stands for all others.
		want []time.Duration
	}{
		{"EnsureLead", 0, 0, lost, []time.Duration{margin}},
		{"since", 36 * hour, 0, lost, []time.Duration{36*hour + margin}},
		{"since a time to come", -hour, 0, lost, []time.Duration{margin}},
		{"clocks differ by less than a minute", 0, -55 * time.Second, lost, []time.Duration{margin}},
		{"a server ahead, first known from a search", 0, hour, lost, []time.Duration{margin, margin - hour}},
		{"a server behind, first known from a search", 0, -hour, lost, []time.Duration{margin, margin + hour}},
		{
			"a server ahead, known from the create", 0, hour, says(200, `{}`), []time.Duration{margin - hour},
		},
		{
			"a server behind, known from the create", 0, -hour, says(200, `{}`), []time.Duration{margin + hour},
		},
		{
			"the date of an error does not count", 0, 2 * hour, down, []time.Duration{margin, margin - 2*hour},
		},
		{
			"since, a server behind", 10 * time.Minute, -hour, lost,
			[]time.Duration{10*time.Minute + margin, 10*time.Minute + hour + margin},
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
				want := test.want
				for i, bound := range api.bounds(t, began) {
					// a Date has whole seconds
					assert.InDelta(t, want[min(i, len(want)-1)], bound, float64(time.Second), "search %d", i+1)
				}
				if len(want) == 2 { // a search that tells the time is repeated at once
					assert.Equal(t, api.gets[0].at, api.gets[1].at)
				}
				query, err := url.ParseQuery(api.gets[0].query)
				require.NoError(t, err)
				query.Del("createdOnFrom")
				assert.Equal(t, "count=1000&orderBy=CreatedOn", query.Encode())
			})
		})
	}
}

func TestEnsureLeadSinceTheYearOne(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		first time.Time
		// bounded reports that the first search has a bound.
		bounded bool
	}{
		"the bound would lie before the year 1": {time.Date(1, 1, 1, 0, 1, 0, 0, time.UTC), false},
		"the bound lies in the year 1":          {time.Date(1, 6, 1, 0, 0, 0, 0, time.UTC), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := &script{creates: in(created), looks: times(99, says(200, `[]`))}
				_, err := api.client(t).EnsureLeadSince(t.Context(), vendorsLead(), test.first)
				require.NoError(t, err)
				require.NotEmpty(t, api.gets)
				assert.Equal(t, test.bounded, strings.Contains(api.gets[0].query, "createdOnFrom"))
			})
		})
	}
}

// Case L5: the 502 of a gateway has a Date two hours ahead, and the clock of
// the API is right.
func TestDateOfAGatewayIsNotBelieved(t *testing.T) {
	t.Parallel()
	const hour = time.Hour
	for _, status := range []int{300, 303, 404, 408, 429, 499, 500, 502, 503, 520, 600} {
		for _, ahead := range []time.Duration{-48 * hour, -2 * hour, 2 * hour, 48 * hour} {
			t.Run(fmt.Sprintf("%d, %v ahead", status, ahead), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					api := newAPI(clixnowtest.WithoutDuplicateCheck())
					api.Inject(clixnowtest.Fault{
						Method: "POST", HandleFirst: true, Status: status,
						Header: http.Header{"Date": {time.Now().Add(ahead).UTC().Format(http.TimeFormat)}},
					})
					first := time.Now()
					time.Sleep(time.Second)
					client := memoryClient(t, api, clixnow.WithRetry(clixnow.RetryPolicy{MaxAttempts: 1}))
					lead, err := client.EnsureLead(t.Context(), vendorsLead())
					if err != nil {
						lead, err = client.EnsureLeadSince(t.Context(), vendorsLead(), first)
					}
					require.NoError(t, err)
					assert.True(t, lead.Recovered)
					assert.Len(t, api.Leads(), 1)
				})
			})
		}
	}
}

// The server's clock is an hour off. It is known from the Date of the create's
// 2xx or, if there was none, from that of a search.
func TestEnsureLeadByServerClock(t *testing.T) {
	t.Parallel()
	faults := map[string]clixnowtest.Fault{
		"answered":   {Method: "POST", HandleFirst: true, Status: 200},
		"bad status": {Method: "POST", HandleFirst: true, Status: 502},
		"cut":        {Method: "POST", Drop: clixnowtest.DropAfterHandling},
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
				before := server.AddLeads(clixnow.Lead{Email: req.Email, CreatedOn: clock().Add(-6 * time.Minute)})

				server.Inject(fault)
				lead, err := client.EnsureLead(t.Context(), req)
				require.NoError(t, err)
				assert.True(t, lead.Recovered)
				assert.Greater(t, lead.LeadID, before[0].ID)
				assert.Len(t, server.Leads(), 2)

				// A process that died before it got the response.
				lead, err = client.EnsureLeadSince(t.Context(), req, time.Now().Add(-time.Second))
				require.NoError(t, err)
				assert.True(t, lead.Recovered)
				assert.Greater(t, lead.LeadID, before[0].ID)
				assert.Len(t, server.Leads(), 2)
			})
		}
	}
}

// If the server's clock becomes known after a look was complete, the window
// moves, and the absence of the lead needs proof again.
func TestWindowThatMovesNeedsProofAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const behind = 5 * time.Hour
		req := vendorsLead()
		none := says(200, "[]")
		ours := says(200, "["+foundAt(500, req.Email, req.ClickID, time.Now().Add(-behind))+"]")
		gets := []reply{shows(), none, none, ours}
		posts, looks := 0, 0
		transport := roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPost {
				posts++
				return lost(r)
			}
			looks++
			resp, err := gets[min(looks, len(gets))-1](r)
			if looks > 1 {
				resp.Header.Set("Date", time.Now().Add(-behind).UTC().Format(http.TimeFormat))
			}
			return resp, err
		})
		client, err := clixnow.NewClient("acme", testToken, clixnow.WithLooks(0, 0),
			clixnow.WithHTTPClient(&http.Client{Transport: transport}))
		require.NoError(t, err)
		lead, err := client.EnsureLead(t.Context(), req)
		require.NoError(t, err)
		assert.True(t, lead.Recovered)
		assert.Equal(t, int64(500), lead.LeadID)
		assert.Equal(t, 1, posts)
	})
}

// A search that shows nothing proves something only if it also shows a lead
// that is older than the window.
func TestAbsenceNeedsProof(t *testing.T) {
	t.Parallel()
	const (
		m, h  = time.Minute, time.Hour
		start = 3 * m
	)
	steps := func(lookbacks ...time.Duration) []time.Duration {
		for i := range lookbacks {
			lookbacks[i] += start
		}
		return lookbacks
	}
	tests := []struct {
		name string
		opts []clixnowtest.Option
		// leads are the ages of the leads of other people at the first attempt.
		leads []time.Duration
		// since is the age of the first attempt. 0 means EnsureLead.
		since time.Duration
		// want is how far before the first attempt the searches of the first
		// look begin.
		want []time.Duration
	}{
		{name: "no leads", want: steps(m, h, 2*h, 4*h, 8*h, 16*h, 32*h, 49*h)},
		{name: "a lead in the minute before the window", leads: []time.Duration{3*m + 30*time.Second}, want: steps(m)},
		{name: "at the bound", leads: []time.Duration{4 * m}, want: steps(m)},
		{name: "just before the bound", leads: []time.Duration{4*m + 1}, want: steps(m, h)},
		{name: "at the start of the window", leads: []time.Duration{3 * m, 50 * m}, want: steps(m, h)},
		{name: "half an hour before", leads: []time.Duration{30 * m}, want: steps(m, h)},
		{
			name: "in the window only", leads: []time.Duration{0, 2 * m},
			want: steps(m, h, 2*h, 4*h, 8*h, 16*h, 32*h, 49*h),
		},
		{
			name: "a lead every ten hours", leads: []time.Duration{10 * h, 20 * h, 30 * h},
			want: steps(m, h, 2*h, 4*h, 8*h, 16*h, 32*h),
		},
		{
			name: "older than 49 hours", leads: []time.Duration{60 * h},
			want: steps(m, h, 2*h, 4*h, 8*h, 16*h, 32*h, 49*h),
		},
		{
			name:  "dates are hidden",
			opts:  []clixnowtest.Option{clixnowtest.WithHiddenFields("createdOn")},
			leads: []time.Duration{0, 3*m + 1, h, 20 * h}, want: steps(m, h, 2*h, 4*h, 8*h, 16*h, 32*h, 49*h),
		},
		{
			name: "the filter works by day", opts: []clixnowtest.Option{clixnowtest.WithFilterPrecision(24 * h)},
			leads: []time.Duration{0, 3*m + 1, h, 5 * h, 20 * h}, want: steps(m, h, 2*h, 4*h, 8*h),
		},
		{
			name: "the filter works by minute and excludes its bound",
			opts: []clixnowtest.Option{
				clixnowtest.WithFilterPrecision(m), clixnowtest.WithExclusiveBounds(),
			},
			leads: []time.Duration{0, 3*m + 1, 4 * m, 4*m + 1}, want: steps(m, h),
		},
		// Leads of the last minutes before now show that dates are not printed
		// in a zone to the west. Without them, the lead that proves has to be
		// older than the window by as much as the newest lead is old.
		{name: "since, with new leads", since: 30 * h, leads: []time.Duration{4 * m, -29*h - 50*m}, want: steps(m)},
		{
			name: "since, without new leads", since: 30 * h, leads: []time.Duration{4 * m, h + h/2, -29 * h},
			want: steps(m, 2*h),
		},
		{
			name: "since, without leads since", since: 30 * h, leads: []time.Duration{4 * m, h, 2 * h, 14 * h},
			want: steps(m, 16*h),
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(100*24*h + 13*h + 17*m)
				api := newAPI(test.opts...)
				first := time.Now()
				for _, age := range test.leads {
					api.AddLeads(clixnow.Lead{Email: "other@example.com", CreatedOn: first.Add(-age)})
				}
				api.Inject(clixnowtest.Fault{Method: "POST", Drop: clixnowtest.DropBeforeHandling})
				client := memoryClient(t, api)
				var err error
				if test.since == 0 {
					_, err = client.EnsureLead(t.Context(), vendorsLead())
				} else {
					time.Sleep(test.since)
					_, err = client.EnsureLeadSince(t.Context(), vendorsLead(), first)
				}
				require.NoError(t, err)
				assert.Len(t, api.Leads(), len(test.leads)+1)

				gets := searches(api)
				looks := 4
				if test.since != 0 { // it looks before its first send, and after it
					looks = 8
				}
				require.Len(t, gets, len(test.want)-1+looks, "each later look is one request")
				for i, r := range gets {
					bound, err := createdOnFrom(r.Query.Encode())
					require.NoError(t, err)
					want := test.want[min(i, len(test.want)-1)]
					assert.InDelta(t, want, first.Sub(bound), float64(time.Second), "search %d", i+1)
				}
			})
		})
	}
}

// Case L6: filters that are coarser than the dates, and dates in local time
// without a zone.
func TestOddFiltersMakeNoSecondLead(t *testing.T) {
	t.Parallel()
	const h = time.Hour
	bounds := map[string][]clixnowtest.Option{
		"included": nil,
		"excluded": {clixnowtest.WithExclusiveBounds()},
	}
	for _, precision := range []time.Duration{time.Second, time.Minute, h, 24 * h} {
		for name, exclusive := range bounds {
			for _, zone := range []time.Duration{-12 * h, -5 * h, -h, 0, h, 9*h + h/2, 14 * h} {
				for _, others := range []time.Duration{0, 10 * time.Minute, h} {
					t.Run(fmt.Sprintf("by %v, %s, zone %v, others %v", precision, name, zone, others),
						func(t *testing.T) {
							t.Parallel()
							opts := append([]clixnowtest.Option{
								clixnowtest.WithFilterPrecision(precision), clixnowtest.WithoutDuplicateCheck(),
							}, exclusive...)
							if zone != 0 {
								location := time.FixedZone("", int(zone.Seconds()))
								opts = append(opts, clixnowtest.WithDateZone(location))
							}
							synctest.Test(t, func(t *testing.T) { registerAtOddServer(t, opts, others) })
						})
				}
			}
		}
	}
}

// registerAtOddServer loses the response to the create of a lead. A lead of
// another person comes every now and then. 0 means that none comes.
func registerAtOddServer(t *testing.T, opts []clixnowtest.Option, others time.Duration) {
	t.Helper()
	time.Sleep(100*24*time.Hour + 4*time.Hour + 59*time.Minute + 57*time.Second)
	api := newAPI(opts...)
	var added []clixnow.Lead
	for age := others; age > 0 && age < 60*time.Hour; age += others {
		email := fmt.Sprintf("other%v@example.com", age)
		added = append(added, clixnow.Lead{Email: email, ClickID: email, CreatedOn: time.Now().Add(-age)})
	}
	api.AddLeads(added...)
	before := len(api.Leads())
	first := time.Now()
	for _, since := range []time.Duration{0, 30 * time.Second, 6 * time.Hour} {
		api.Inject(clixnowtest.Fault{Method: "POST", Drop: clixnowtest.DropAfterHandling})
		time.Sleep(since)
		firstAttempt := first
		if since == 0 {
			firstAttempt = time.Time{}
		}
		lead, err := memoryClient(t, api).EnsureLeadSince(t.Context(), vendorsLead(), firstAttempt)
		require.NoError(t, err)
		assert.True(t, lead.Recovered)
		assert.Len(t, api.Leads(), before+1)
	}
}

// Cases L7 and L34: the brand shows our click id or our email in another form.
func TestChangedIdentityMakesNoSecondLead(t *testing.T) {
	t.Parallel()
	const (
		email = "zoë.o'neil+ads@müller.example"
		click = "20fn4ngO/56n3snf74&Klmnop"
	)
	type shown struct{ email, click string }
	tests := []struct {
		name  string
		sent  shown
		shown shown
		// recovered is true if the lead is found, and false if it stays
		// undecided.
		recovered bool
	}{
		{"all equal", shown{email, click}, shown{email, click}, true},
		{"click id cut", shown{email, click}, shown{email, click[:20]}, false},
		{"click id in lower case", shown{email, click}, shown{email, strings.ToLower(click)}, false},
		{"click id in upper case", shown{email, click}, shown{email, strings.ToUpper(click)}, false},
		{"click id percent-escaped", shown{email, click}, shown{email, url.QueryEscape(click)}, false},
		{"click id escaped as HTML", shown{email, click}, shown{email, "20fn4ngO/56n3snf74&amp;Klmnop"}, false},
		{"click id as zero", shown{email, click}, shown{email, "0"}, true},
		{"click id hidden", shown{email, click}, shown{email, ""}, true},
		{"click id as an integer", shown{email, "0012345678901"}, shown{email, "12345678901"}, true},
		{"click id as a float", shown{email, "12345678901"}, shown{email, "12345678901.0"}, false},
		{"click id with an exponent", shown{email, "12345678901"}, shown{email, "1.2E+10"}, false},
		{"click id replaced", shown{email, click}, shown{email, "8f14e45f"}, false},
		{"email in upper case", shown{email, click}, shown{"ZOË.O'NEIL+ADS@MÜLLER.EXAMPLE", click}, true},
		{"email in punycode", shown{email, click}, shown{"zoë.o'neil+ads@xn--mller-kva.example", click}, true},
		{"email with spaces", shown{email, click}, shown{" " + email + " ", click}, true},
		{"email hidden", shown{email, click}, shown{"", click}, true},
		{"email masked by stars", shown{email, click}, shown{"z***@müller.example", click}, true},
		{"email masked by x", shown{email, click}, shown{"zxxxxx@müller.example", click}, true},
		{"email masked by bullets", shown{email, click}, shown{"z•••@müller.example", click}, true},
		{"email masked by an ellipsis", shown{email, click}, shown{"zoë…@müller.example", click}, true},
		{"email masked by words", shown{email, click}, shown{"[email protected]", click}, true},
		{"email cut", shown{email, click}, shown{email[:24], click}, true},
		{"email percent-escaped", shown{email, click}, shown{url.QueryEscape(email), click}, true},
		{"email escaped as HTML", shown{email, click}, shown{"zoë.o&#39;neil+ads@m&uuml;ller.example", click}, true},
		{"email replaced", shown{email, click}, shown{"someone@else.example", click}, false},
		{"email masked, click id hidden", shown{email, click}, shown{"z***@müller.example", ""}, false},
		{"email masked, click id cut", shown{email, click}, shown{"z***@müller.example", click[:20]}, false},
		{"email cut, click id in lower case", shown{email, click}, shown{email[:24], strings.ToLower(click)}, false},
		{"email masked, no click id", shown{email, ""}, shown{"z•••@müller.example", ""}, false},
		{"email in punycode, no click id", shown{email, ""}, shown{"zoë.o'neil+ads@xn--mller-kva.example", ""}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				createdOn := time.Now()
				look := reply(func(r *http.Request) (*http.Response, error) {
					lead, err := json.Marshal(clixnow.Lead{
						ID: 77, Email: test.shown.email, ClickID: test.shown.click, CreatedOn: createdOn,
					})
					if err != nil {
						return nil, err
					}
					return shows(string(lead))(r)
				})
				api := &script{creates: in(lost), looks: times(4, look)}
				req := vendorsLead()
				req.Email, req.ClickID = test.sent.email, test.sent.click
				lead, err := api.client(t, clixnow.WithoutValidation()).EnsureLead(t.Context(), req)
				assert.Len(t, api.posts, 1, "never twice")
				if !test.recovered {
					requireClass(t, clixnow.ErrOutcomeUnknown, err)
					return
				}
				require.NoError(t, err)
				assert.Equal(t, int64(77), lead.LeadID)
			})
		})
	}
}

// Case L33: two people with a click id that the tracker did not fill in. The
// create of the second one never arrives.
func TestMacrosAreNoIdentity(t *testing.T) {
	t.Parallel()
	for _, macro := range []string{
		"{clickid}", "%7Bclickid%7D", "{{clickid}}", "${clickid}", "[clickid]", "<clickid>", "##clickid##",
		"__CLICKID__", "0", "",
	} {
		t.Run(macro, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := newAPI()
				client := memoryClient(t, api)
				first, second := numbered(1), numbered(2)
				first.ClickID, second.ClickID = macro, macro
				_, err := client.EnsureLead(t.Context(), first)
				require.NoError(t, err)

				api.Inject(clixnowtest.Fault{Method: "POST", Drop: clixnowtest.DropBeforeHandling})
				lead, err := client.EnsureLead(t.Context(), second)
				require.NoError(t, err)
				assert.False(t, lead.Recovered)
				require.Len(t, api.Leads(), 2)
				assert.Equal(t, second.Email, api.Leads()[1].Email)
			})
		})
	}
}

// searches returns the searches that arrived.
func searches(api *clixnowtest.Server) (gets []clixnowtest.Request) {
	for _, r := range api.Requests() {
		if r.Method == http.MethodGet {
			gets = append(gets, r)
		}
	}
	return gets
}

// Case L11: 20,000 leads since the first attempt cost their pages once.
func TestLooksReadTheWindowOnce(t *testing.T) {
	t.Parallel()
	const leads = 20_000
	for _, quietBefore := range []bool{false, true} {
		t.Run(fmt.Sprintf("no leads before: %v", quietBefore), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := newAPI()
				first := time.Now()
				added := make([]clixnow.Lead, leads)
				for i := range added {
					email := fmt.Sprintf("other%d@example.com", i)
					createdOn := first.Add(time.Duration(i)*time.Second - 4*time.Minute)
					if quietBefore {
						createdOn = createdOn.Add(4 * time.Minute)
					}
					added[i] = clixnow.Lead{Email: email, ClickID: email, CreatedOn: createdOn}
				}
				api.AddLeads(added...)
				time.Sleep(leads * time.Second)
				lead, err := memoryClient(t, api).EnsureLeadSince(t.Context(), vendorsLead(), first)
				require.NoError(t, err)
				assert.False(t, lead.Recovered)
				most := 25
				if quietBefore {
					most += 7
				}
				assert.LessOrEqual(t, len(searches(api)), most)
			})
		})
	}
}

// A brand with 50,000 leads a day pays nothing for the proof.
func TestLooksAtABusyBrand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const apart = 24 * time.Hour / 50_000
		time.Sleep(30 * 24 * time.Hour)
		api := newAPI()
		added := make([]clixnow.Lead, 50_000)
		for i := range added {
			email := fmt.Sprintf("other%d@example.com", i)
			createdOn := time.Now().Add(time.Duration(i+1-len(added)) * apart)
			added[i] = clixnow.Lead{Email: email, ClickID: email, CreatedOn: createdOn}
		}
		api.AddLeads(added...)
		api.Inject(clixnowtest.Fault{Method: "POST", Drop: clixnowtest.DropBeforeHandling})
		_, err := memoryClient(t, api).EnsureLead(t.Context(), vendorsLead())
		require.NoError(t, err)
		assert.Len(t, searches(api), 4*2, "two for each look: a page, and one that settles its end")
	})
}

// Later looks continue where the look before ended. If the list has moved, they
// read the window again.
func TestLooksContinue(t *testing.T) {
	t.Parallel()
	const leads = 2500
	tests := []struct {
		name string
		// between is called before the second look.
		between func(api *clixnowtest.Server, first time.Time)
		// skips are those of the second look.
		skips     []string
		recovered bool
		// status is what the second look fails with. 0 means that it succeeds.
		status int
	}{
		{"nothing new", func(*clixnowtest.Server, time.Time) {}, []string{"2491"}, false, 0},
		{
			"our lead at the end",
			func(api *clixnowtest.Server, _ time.Time) { addOurs(api, time.Now()) },
			[]string{"2491", "2500"},
			true,
			0,
		},
		{
			"our lead among the last leads",
			func(api *clixnowtest.Server, first time.Time) { addOurs(api, first.Add(2498*time.Second)) },
			[]string{"2491", "2500"},
			true,
			0,
		},
		{
			"our lead further in front: the list has moved",
			func(api *clixnowtest.Server, first time.Time) { addOurs(api, first.Add(5*time.Second)) },
			[]string{"2491", "", "999", "1998", "2500"},
			true,
			0,
		},
		{
			"a lead was deleted: the list has moved",
			func(api *clixnowtest.Server, _ time.Time) { _ = api.DeleteLead(api.Leads()[7].ID) },
			[]string{"2491", "", "999", "1998", "2498"},
			false,
			0,
		},
		{
			"all leads were deleted",
			func(api *clixnowtest.Server, _ time.Time) {
				for _, lead := range api.Leads() {
					_ = api.DeleteLead(lead.ID)
				}
			},
			[]string{"2491", ""},
			false,
			0,
		},
		{
			"a failure",
			func(api *clixnowtest.Server, _ time.Time) {
				api.Inject(clixnowtest.Fault{Status: 418, Times: 1})
			},
			[]string{"2491"},
			false,
			418,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := newAPI()
				first := time.Now()
				for i := range leads {
					email := fmt.Sprintf("other%d@example.com", i)
					createdOn := first.Add(time.Duration(i)*time.Second - 4*time.Minute)
					api.AddLeads(clixnow.Lead{Email: email, ClickID: email, CreatedOn: createdOn})
				}
				time.Sleep(leads * time.Second)
				client := memoryClient(t, api, clixnow.WithLooks(time.Second, 10*time.Second))
				time.AfterFunc(5*time.Second, func() { test.between(api, first.Add(-4*time.Minute)) })
				lead, err := client.EnsureLeadSince(t.Context(), vendorsLead(), first)
				if test.status == 0 {
					require.NoError(t, err)
					assert.Equal(t, test.recovered, lead.Recovered)
				} else {
					var answer *clixnow.APIError
					require.ErrorAs(t, err, &answer)
					assert.Equal(t, test.status, answer.StatusCode)
				}

				var skips []string
				for _, r := range searches(api) {
					skips = append(skips, r.Query.Get("skip"))
				}
				assert.Equal(t, append([]string{"", "999", "1998", "2499"}, test.skips...), skips)
			})
		})
	}
}

func addOurs(api *clixnowtest.Server, createdOn time.Time) {
	req := vendorsLead()
	api.AddLeads(clixnow.Lead{Email: req.Email, ClickID: req.ClickID, CreatedOn: createdOn})
}

// If several leads are ours, the lowest id counts, also if a later page shows
// it and the search proves nothing yet.
func TestLowestIDOfSeveralPages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(clixnowtest.WithPageLimit(10))
		first := time.Now()
		req := vendorsLead()
		for i := range 30 {
			lead := clixnow.Lead{ID: int64(100 - i), CreatedOn: first.Add(time.Duration(i) * time.Second)}
			lead.Email = fmt.Sprintf("other%d@example.com", i)
			lead.ClickID = lead.Email
			if i == 3 || i == 25 {
				lead.Email, lead.ClickID = req.Email, req.ClickID
			}
			api.AddLeads(lead)
		}
		time.Sleep(time.Minute)
		lead, err := memoryClient(t, api).EnsureLeadSince(t.Context(), req, first)
		require.NoError(t, err)
		assert.Equal(t, int64(75), lead.LeadID)
	})
}

// A duplicate rejection proves that the lead exists, so the next look reads the
// whole window.
func TestLookAfterDuplicateReadsTheWholeWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := newAPI()
		first := time.Now()
		for i := range 2500 {
			email := fmt.Sprintf("other%d@example.com", i)
			api.AddLeads(clixnow.Lead{
				Email: email, ClickID: email,
				CreatedOn: first.Add(time.Duration(i)*time.Second - 4*time.Minute),
			})
		}
		time.Sleep(2500 * time.Second)
		api.Inject(clixnowtest.Fault{Method: "POST", Status: 400, Body: `{"message":"Duplicate lead"}`})
		client := memoryClient(t, api, clixnow.WithLooks(time.Second, time.Second))
		_, err := client.EnsureLeadSince(t.Context(), vendorsLead(), first)
		requireClass(t, clixnow.ErrOutcomeUnknown, err)
		require.ErrorIs(t, err, clixnow.ErrDuplicateLead)
		var skips []string
		for _, r := range api.Requests() {
			skips = append(skips, r.Method+r.Query.Get("skip"))
		}
		assert.Equal(t, []string{
			"GET", "GET999", "GET1998", "GET2499", "GET2491",
			"POST",
			"GET", "GET999", "GET1998", "GET2499", "GET2491",
		}, skips)
	})
}

// The function of WithRefusals can recognise a duplicate.
func TestEnsureLeadReadsRefusals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		known := says(400, `{"message":"Kunde bereits bekannt"}`)
		read := clixnow.WithRefusals(func(e *clixnow.APIError) error {
			if strings.Contains(e.Message, "bekannt") {
				return clixnow.ErrDuplicateLead
			}
			return nil
		})
		api := &script{creates: in(lost, known)}
		_, err := api.client(t, read).EnsureLead(t.Context(), vendorsLead())
		requireClass(t, clixnow.ErrOutcomeUnknown, err)
		require.ErrorIs(t, err, clixnow.ErrDuplicateLead)
		assert.Len(t, api.gets, 8)

		ours := reply(func(r *http.Request) (*http.Response, error) {
			return shows(found(77, vendorsLead().Email, vendorsLead().ClickID, 0))(r)
		})
		api = &script{creates: in(lost, known), looks: in(times(4, nothing), ours)}
		lead, err := api.client(t, read).EnsureLead(t.Context(), vendorsLead())
		require.NoError(t, err)
		assert.True(t, lead.Recovered)
	})
}

// A call that lasts longer than ten minutes can end in a refusal too.
func TestEnsureLeadRefusedAfterTenMinutes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := &script{creates: in(lost, says(400, `{"message":"Daily cap reached"}`))}
		client := api.client(t, clixnow.WithLooks(6*time.Minute, 6*time.Minute))
		_, err := client.EnsureLead(t.Context(), vendorsLead())
		requireClass(t, clixnow.ErrRefused, err)
		assert.Equal(t, clixnow.ReasonOther, clixnow.ReasonOf(err))
		assert.Len(t, api.gets, 4)
	})
}

// The searches mask what the create would.
func TestLooksMaskTheLead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		req := vendorsLead()
		body := fmt.Sprintf(`{"message":"%s %s %s may not search"}`, req.Email, req.Phone, req.Password)
		api := &script{creates: in(lost), looks: in(says(403, body))}
		_, err := api.client(t).EnsureLead(t.Context(), req)
		requireClass(t, clixnow.ErrOutcomeUnknown, err)
		assert.Contains(t, err.Error(), "may not search")
		for _, hidden := range []string{req.Email, req.Phone, req.Phone[1:], req.Password} {
			assert.NotContains(t, err.Error(), hidden)
		}
		var answer *clixnow.APIError
		require.ErrorAs(t, err, &answer)
		assert.NotContains(t, answer.Message, req.Password)
		assert.Contains(t, answer.Message, req.Email)
	})
}

func TestEnsureLeadRecovers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := &script{creates: in(lost), looks: in(says(200, `{"items":[{
			"id": 77, "email": "ALLISON.BROWN@example.com", "status": "New", "crmId": 1234, "brandId": 5,
			"brandName": "Broker", "createdOn": "2000-01-01T00:00:00.302Z", "updatedOn": "2000-01-01T00:00:01Z",
			"ftdDate": null, "clickId": "20fn4ngo56n3snf74",
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
			name: "cancelled in a pause", context: cancelled(5 * s), creates: in(lost), posts: 1, gets: 2,
			class: clixnow.ErrOutcomeUnknown, is: []error{context.Canceled, errShutdown, errReset}, took: 5 * s,
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
			name: "deadline too short for the next pause", context: deadline(10 * s), creates: in(lost), posts: 1,
			gets: 3, class: clixnow.ErrOutcomeUnknown, is: []error{context.DeadlineExceeded, errReset},
			took: 9375 * time.Millisecond,
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

// If the looks end early, the error also says what the look before found.
func TestEnsureLeadNamesTheLookBefore(t *testing.T) {
	t.Parallel()
	undecided := reply(func(r *http.Request) (*http.Response, error) {
		return shows(found(7, "other@example.com", vendorsLead().ClickID, 0))(r)
	})
	const before = "; the look before: "
	for name, test := range map[string]struct {
		looks []reply
		want  string
	}{
		"found nothing": {in(nothing), ""},
		"failed":        {times(20, down), before + "GET /api/system/v1/leads/search: 503"},
		"was undecided": {
			in(undecided), before + "a lead that may be this one does not show enough to decide",
		},
		"failed, and one was undecided": {
			in(undecided, times(20, down)), before + "GET /api/system/v1/leads/search: 503",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := &script{creates: in(lost), looks: test.looks}
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				client := api.client(t, clixnow.WithLooks(time.Second, time.Second, 2*time.Hour))
				_, err := client.EnsureLead(ctx, vendorsLead())
				requireOutcome(t, clixnow.ErrOutcomeUnknown, err)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				assert.Equal(t, test.want != "", strings.Contains(err.Error(), before))
				require.ErrorContains(t, err, "connection reset by peer; looking for it: ")
				require.ErrorContains(t, err, test.want)
				assert.Equal(t, err.Error(), fmt.Sprint(err))
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
	client, now := api.client(t), time.Now()
	_, err := client.EnsureLead(nil, vendorsLead()) //nolint:staticcheck // SA1012: the test needs a nil context
	requireClass(t, clixnow.ErrNotSent, err)
	_, err = client.EnsureLeadSince(nil, vendorsLead(), now) //nolint:staticcheck // SA1012: the same
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
