package clixnow

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/clixnow/clixnow-go/internal/call"
)

func TestCreateClass(t *testing.T) {
	t.Parallel()
	failed := errors.New("failed")
	tests := []struct {
		name string
		o    call.Outcome
		want error
	}{
		{"no attempt began", call.Outcome{Stopped: failed}, ErrNotSent},
		{"no connection", call.Outcome{Attempts: 3, Err: failed, ConnectionLost: true}, ErrNotSent},
		{"could have been written", call.Outcome{Attempts: 1, Sent: true, Err: failed, ConnectionLost: true}, ErrOutcomeUnknown},
		{"no connection, then stopped", call.Outcome{Attempts: 1, Err: failed, ConnectionLost: true, Stopped: failed}, ErrNotSent},
		{"429", answered(429), ErrRateLimited},
		{"429, then stopped", call.Outcome{Attempts: 1, Sent: true, Status: 429, Stopped: failed}, ErrRateLimited},
		{"200 that was read", answered(200), nil},
		{"201 that was read", answered(201), nil},
		{"200 that cannot be read", call.Outcome{Attempts: 1, Sent: true, Status: 200, Err: failed}, ErrOutcomeUnknown},
		{
			"200 that was cut",
			call.Outcome{Attempts: 1, Sent: true, Status: 200, Err: failed, ConnectionLost: true},
			ErrOutcomeUnknown,
		},
		{"101: the server went on in another protocol", answered(101), ErrOutcomeUnknown},
		{"299", answered(299), nil},
		{"300", answered(300), ErrRefused},
		{"302: a login is wanted", answered(302), ErrRefused},
		{"303: done, see there", answered(303), ErrOutcomeUnknown},
		{"307", answered(307), ErrRefused},
		{"400", answered(400), ErrRefused},
		{"401", answered(401), ErrRefused},
		{"408: a proxy may send it after the API has read the request", answered(408), ErrOutcomeUnknown},
		{"499", answered(499), ErrOutcomeUnknown},
		{"500", answered(500), ErrOutcomeUnknown},
		{"503: whoever says so may stand before the one who created it", answered(503), ErrOutcomeUnknown},
		{"599", answered(599), ErrOutcomeUnknown},
		{"600", answered(600), ErrOutcomeUnknown},
		{"999", answered(999), ErrOutcomeUnknown},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, test.want, createClass(&test.o))
		})
	}
}

func answered(status int) call.Outcome { return call.Outcome{Attempts: 1, Sent: true, Status: status} }

func TestAfterSend(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		again     bool
		class     error
		duplicate bool
		want      step
	}{
		{"first send, registered", false, nil, false, settled},
		{"first send, unknown", false, ErrOutcomeUnknown, false, lookForIt},
		{"first send, refused", false, ErrRefused, false, failed},
		{"first send, a duplicate: of somebody else's lead", false, ErrRefused, true, failed},
		{"first send, not sent", false, ErrNotSent, false, failed},
		{"first send, too many", false, ErrRateLimited, false, failed},
		{"sent again, registered", true, nil, false, settled},
		{"sent again, unknown", true, ErrOutcomeUnknown, false, lookForIt},
		{"sent again, a duplicate: the earlier one arrived", true, ErrRefused, true, lookForIt},
		{
			"sent again, refused: the earlier one may have been carried out all the same", true, ErrRefused, false,
			stillUnknown,
		},
		{"sent again, not sent", true, ErrNotSent, false, stillUnknown},
		{"sent again, too many", true, ErrRateLimited, false, stillUnknown},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, test.want, afterSend(test.again, test.class, test.duplicate))
		})
	}
}

func TestIdentify(t *testing.T) {
	t.Parallel()
	from := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	within, before := from.Add(time.Minute), from.Add(-time.Millisecond)
	type sent = CreateLeadRequest
	tests := []struct {
		name  string
		sent  sent
		found Lead
		want  identity
	}{
		// The click ids decide where both have one.
		{"same click id", sent{Email: "a@x.ch", ClickID: "k1"}, Lead{Email: "a@x.ch", ClickID: "k1"}, sameLead},
		{"same click id, email hidden", sent{Email: "a@x.ch", ClickID: "k1"}, Lead{ClickID: "k1"}, sameLead},
		{
			"same click id, email masked",
			sent{Email: "a@x.ch", ClickID: "k1"},
			Lead{Email: "a**@x.ch", ClickID: "k1"},
			sameLead,
		},
		{
			"same click id, another email",
			sent{Email: "a@x.ch", ClickID: "k1"},
			Lead{Email: "b@x.ch", ClickID: "k1"},
			sameLead,
		},
		{
			"same click id as integers",
			sent{Email: "a@x.ch", ClickID: "007"},
			Lead{Email: "b@x.ch", ClickID: "7"},
			sameLead,
		},
		{"another click id", sent{Email: "a@x.ch", ClickID: "k1"}, Lead{Email: "b@x.ch", ClickID: "k2"}, otherLead},
		{
			"another click id, same email: another sign-up",
			sent{Email: "a@x.ch", ClickID: "k1"},
			Lead{Email: "a@x.ch", ClickID: "k2"},
			otherLead,
		},
		{"another click id, email hidden", sent{Email: "a@x.ch", ClickID: "k1"}, Lead{ClickID: "k2"}, otherLead},
		{
			"another click id, email masked",
			sent{Email: "a@x.ch", ClickID: "k1"},
			Lead{Email: "***", ClickID: "k2"},
			otherLead,
		},
		// Otherwise the emails do.
		{"same email, no click ids", sent{Email: "a@x.ch"}, Lead{Email: "a@x.ch"}, sameLead},
		{"same email, found click id only", sent{Email: "a@x.ch"}, Lead{Email: "a@x.ch", ClickID: "k1"}, sameLead},
		{"same email, sent click id only", sent{Email: "a@x.ch", ClickID: "k1"}, Lead{Email: "a@x.ch"}, sameLead},
		{"email in another case", sent{Email: "A.b@X.ch"}, Lead{Email: "a.B@x.CH"}, sameLead},
		{"blanks around the email", sent{Email: "a@x.ch"}, Lead{Email: " a@x.ch\t"}, sameLead},
		{"blanks around the one that was sent", sent{Email: " a@x.ch"}, Lead{Email: "a@x.ch"}, sameLead},
		{"an email with a star of its own", sent{Email: "a*@x.ch"}, Lead{Email: "A*@x.ch"}, sameLead},
		{"another email", sent{Email: "a@x.ch"}, Lead{Email: "b@x.ch"}, otherLead},
		{"another email, found click id only", sent{Email: "a@x.ch"}, Lead{Email: "b@x.ch", ClickID: "k1"}, otherLead},
		{"another email, sent click id only", sent{Email: "a@x.ch", ClickID: "k1"}, Lead{Email: "b@x.ch"}, otherLead},
		// Empty equals nothing.
		{"nothing sent, nothing found", sent{}, Lead{}, undecided},
		{"nothing sent, an email found", sent{}, Lead{Email: "a@x.ch"}, otherLead},
		// What neither can decide.
		{"email hidden", sent{Email: "a@x.ch"}, Lead{}, undecided},
		{"email hidden, sent click id only", sent{Email: "a@x.ch", ClickID: "k1"}, Lead{}, undecided},
		{"email hidden, found click id only", sent{Email: "a@x.ch"}, Lead{ClickID: "k1"}, undecided},
		{"email blank", sent{Email: "a@x.ch"}, Lead{Email: "  "}, undecided},
		{"email masked by stars", sent{Email: "a@x.ch"}, Lead{Email: "a*@x.ch"}, undecided},
		{"email of stars alone", sent{Email: "a@x.ch"}, Lead{Email: "*****"}, undecided},
		{
			"email masked, clearly another's: a mask is not looked through",
			sent{Email: "a@x.ch"},
			Lead{Email: "b***@y.ch"},
			undecided,
		},
		{"email masked by words", sent{Email: "a@x.ch"}, Lead{Email: "[email protected]"}, undecided},
		// Before the window.
		{
			"same click id, of an earlier registration",
			sent{ClickID: "k1"},
			Lead{ClickID: "k1", CreatedOn: before},
			otherLead,
		},
		{
			"same email, of an earlier registration",
			sent{Email: "a@x.ch"},
			Lead{Email: "a@x.ch", CreatedOn: before},
			otherLead,
		},
		{"email hidden, of an earlier registration", sent{Email: "a@x.ch"}, Lead{CreatedOn: before}, otherLead},
		{"at the very start of the window", sent{Email: "a@x.ch"}, Lead{Email: "a@x.ch", CreatedOn: from}, sameLead},
		{
			"far ahead of the window's start",
			sent{Email: "a@x.ch"},
			Lead{Email: "a@x.ch", CreatedOn: from.AddDate(1, 0, 0)},
			sameLead,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if test.found.CreatedOn.IsZero() {
				test.found.CreatedOn = within
			}
			assert.Equal(t, test.want, identify(&test.sent, &test.found, from))
		})
	}
}

// Where a lead does not tell when it was created, the search's own bound has to
// do.
func TestIdentifyWithoutDate(t *testing.T) {
	t.Parallel()
	sent := CreateLeadRequest{Email: "a@x.ch", ClickID: "k1"}
	from := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	assert.Equal(t, sameLead, identify(&sent, &Lead{ClickID: "k1"}, from), "same click id")
	assert.Equal(t, sameLead, identify(&sent, &Lead{Email: "a@x.ch"}, from), "same email")
	assert.Equal(t, undecided, identify(&sent, &Lead{}, from), "email hidden")
	assert.Equal(t, otherLead, identify(&sent, &Lead{ClickID: "k2"}, from), "another click id")
	assert.Equal(t, otherLead, identify(&sent, &Lead{Email: "b@x.ch"}, from), "another email")
}

func TestSameClickID(t *testing.T) {
	t.Parallel()
	tests := []struct {
		a, b string
		want bool
	}{
		{"20fn4ngo", "20fn4ngo", true},
		{"20fn4ngo", "20FN4NGO", false},
		{"k1", "k1 ", false},
		{"7", "7", true},
		{"007", "7", true},
		{"+7", "7", true},
		{"-0", "0", true},
		{"7", "-7", false},
		{"7", "70", false},
		{"7", "7.0", false},
		{"1e3", "1000", false},
		{"0x10", "16", false},
		{"1_000", "1000", false},
		{"7", "", false},
		{"0", "", false},
		// Beyond int64, and beyond what a float64 tells apart.
		{"0092233720368547758089", "92233720368547758089", true},
		{"92233720368547758089", "92233720368547758088", false},
		{"9007199254740993", "9007199254740992", false},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%q and %q", test.a, test.b), func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, test.want, sameClickID(test.a, test.b))
			assert.Equal(t, test.want, sameClickID(test.b, test.a))
		})
	}
}

func TestServerClockLearn(t *testing.T) {
	t.Parallel()
	dated := func(t time.Time) http.Header { return http.Header{"Date": {t.UTC().Format(http.TimeFormat)}} }
	tests := []struct {
		name    string
		headers func(now time.Time) []http.Header
		want    time.Duration
	}{
		{"in step", func(now time.Time) []http.Header { return []http.Header{dated(now)} }, 0},
		{
			"a minute ahead: an answer's way and rounding",
			func(now time.Time) []http.Header { return []http.Header{dated(now.Add(time.Minute))} }, 0,
		},
		{
			"a minute behind", func(now time.Time) []http.Header { return []http.Header{dated(now.Add(-time.Minute))} },
			0,
		},
		{
			"more than a minute ahead",
			func(now time.Time) []http.Header { return []http.Header{dated(now.Add(61 * time.Second))} },
			61 * time.Second,
		},
		{
			"more than a minute behind",
			func(now time.Time) []http.Header { return []http.Header{dated(now.Add(-61 * time.Second))} },
			-61 * time.Second,
		},
		{
			"an hour ahead", func(now time.Time) []http.Header { return []http.Header{dated(now.Add(time.Hour))} },
			time.Hour,
		},
		{
			"an hour behind", func(now time.Time) []http.Header { return []http.Header{dated(now.Add(-time.Hour))} },
			-time.Hour,
		},
		{"no answer", func(time.Time) []http.Header { return []http.Header{nil} }, 0},
		{
			"no answer at first",
			func(now time.Time) []http.Header { return []http.Header{nil, dated(now.Add(time.Hour))} }, time.Hour,
		},
		{"not a date at first", func(now time.Time) []http.Header {
			return []http.Header{{"Date": {"soon"}}, dated(now.Add(time.Hour))}
		}, time.Hour},
		{"the first date stays", func(now time.Time) []http.Header {
			return []http.Header{dated(now.Add(time.Hour)), dated(now), dated(now.Add(2 * time.Hour))}
		}, time.Hour},
		{"also where it is in step", func(now time.Time) []http.Header {
			return []http.Header{dated(now), dated(now.Add(time.Hour))}
		}, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { // where the time stands at a whole second, as Date does
				var clock serverClock
				for _, header := range test.headers(time.Now()) {
					clock.learn(&call.Outcome{Header: header})
				}
				assert.Equal(t, test.want, clock.ahead)
			})
		})
	}
}

func TestRetryPolicyPause(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		policy  RetryPolicy
		longest [4]time.Duration
	}{
		{
			"default",
			RetryPolicy{},
			[4]time.Duration{500 * time.Millisecond, 2 * time.Second, 5 * time.Second, 10 * time.Second},
		},
		{"of milliseconds", RetryPolicy{MinBackoff: time.Millisecond}, [4]time.Duration{2e6, 8e6, 20e6, 40e6}},
		{"MaxBackoff bounds it", RetryPolicy{MaxBackoff: 3 * time.Second}, [4]time.Duration{500e6, 2e9, 3e9, 3e9}},
		{"MaxBackoff below all", RetryPolicy{MaxBackoff: time.Millisecond}, [4]time.Duration{1e6, 1e6, 1e6, 1e6}},
		{
			"MinBackoff is MaxBackoff",
			RetryPolicy{MinBackoff: time.Second, MaxBackoff: time.Second},
			[4]time.Duration{1e9, 1e9, 1e9, 1e9},
		},
		{"one nanosecond", RetryPolicy{MinBackoff: 1, MaxBackoff: 1}, [4]time.Duration{1, 1, 1, 1}},
		{
			"no overflow",
			RetryPolicy{MinBackoff: math.MaxInt64 / 4, MaxBackoff: math.MaxInt64},
			[4]time.Duration{math.MaxInt64 / 4 * 2, math.MaxInt64, math.MaxInt64, math.MaxInt64},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			policy := test.policy.withDefaults()
			for i, factor := range []time.Duration{2, 8, 20, 40} {
				longest := test.longest[i]
				var low, high time.Duration = math.MaxInt64, 0
				for range 2000 {
					pause := policy.pause(factor)
					low, high = min(low, pause), max(high, pause)
				}
				assert.LessOrEqual(t, high, longest)
				assert.GreaterOrEqual(t, low, longest-longest/4)
				if longest > 1000 { // it is spread over all of that quarter
					assert.Greater(t, high, longest-longest/40)
					assert.Less(t, low, longest-longest/4+longest/40)
				}
			}
		})
	}
}
