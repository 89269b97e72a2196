package call_test

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/internal/call"
)

// A GET changes nothing, so it is retried if another attempt may help. A POST
// is retried only if the first attempt provably did nothing.
func TestWhatIsRetried(t *testing.T) {
	t.Parallel()
	var (
		dial       = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
		lookup     = &net.DNSError{Err: "no such host", Name: "acme.example", IsNotFound: true}
		reset      = &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
		unreadable = errors.New("not JSON")
		refused    = errors.Join(errors.New("breaker is open"), call.ErrNotSent)
	)
	tests := []struct {
		name      string
		answer    step
		read      error
		get, post bool
	}{
		{name: "200", answer: status(200)},
		{name: "201", answer: status(201)},
		{name: "204", answer: status(204)},
		// The server has carried out the POST. A second GET would be unreadable
		// too.
		{name: "200 unreadable", answer: status(200), read: unreadable},
		{name: "200 marked as retryable", answer: status(200), read: call.Retryable(unreadable), get: true},
		{name: "200 too large", answer: answer(200, large)},
		{name: "200 truncated", answer: answer(200, truncated), get: true},

		{name: "101", answer: status(101)},
		{name: "199", answer: status(199)},
		{name: "301", answer: status(301, "Location", "/other")},
		{name: "302", answer: status(302, "Location", "/other")},
		{name: "303", answer: status(303, "Location", "/other")}, // "done, see there"
		{name: "304", answer: status(304)},
		// 307 and 308 mean "send it to the other host", with lead and token.
		{name: "307", answer: status(307, "Location", "/other")},
		{name: "308", answer: status(308, "Location", "/other")},

		{name: "400", answer: status(400)},
		{name: "401", answer: status(401)},
		{name: "403", answer: status(403)},
		{name: "404", answer: status(404)},
		// A proxy may send 408 or 499 after the API has read the whole POST.
		{name: "408", answer: status(408), get: true},
		{name: "409", answer: status(409)},
		{name: "422", answer: status(422)},
		{name: "423", answer: status(423)},
		{name: "425", answer: status(425)},
		{name: "429", answer: status(429), get: true, post: true},
		{name: "429 truncated", answer: answer(429, truncated), get: true, post: true},
		{name: "451", answer: status(451)},
		{name: "499", answer: status(499)},

		// A POST with a 5xx may have failed after the lead was stored.
		{name: "500", answer: status(500), get: true},
		{name: "501", answer: status(501)},
		{name: "502", answer: status(502), get: true},
		{name: "503", answer: status(503), get: true},
		{name: "503 with Retry-After", answer: status(503, "Retry-After", "1"), get: true},
		{name: "503 truncated", answer: answer(503, truncated), get: true},
		{name: "504", answer: status(504), get: true},
		{name: "505", answer: status(505)},
		{name: "507", answer: status(507)},
		{name: "511", answer: status(511)}, // of a captive portal
		{name: "519", answer: status(519)},
		{name: "520", answer: status(520), get: true},
		// 521 means "web server is down". That is likely, but no proof.
		{name: "521", answer: status(521), get: true},
		{name: "522", answer: status(522), get: true},
		{name: "523", answer: status(523), get: true},
		{name: "524", answer: status(524), get: true},
		{name: "525", answer: status(525)}, // Cloudflare and the origin do not agree on TLS
		{name: "526", answer: status(526)},
		{name: "600", answer: status(600)},

		{name: "no connection", answer: asks(fails(dial)), get: true, post: true},
		{name: "no host", answer: asks(fails(lookup)), get: true, post: true},
		{name: "no connection in time", answer: asks(hangs), get: true, post: true},
		{name: "no response in time", answer: connects(hangs), get: true},
		{name: "connection reset", answer: connects(fails(reset)), get: true},
		{name: "connection closed", answer: connects(fails(io.EOF)), get: true},
		// The RoundTripper has sent the request. Then it failed to connect for
		// a second attempt of its own.
		{name: "dial error after a connection", answer: connects(fails(dial)), get: true},
		// A RoundTripper that reports nothing may have sent the request.
		{name: "dial error of a silent RoundTripper", answer: fails(dial), get: true},
		{name: "DNS error of a silent RoundTripper", answer: fails(lookup), get: true},
		{name: "timeout of a silent RoundTripper", answer: hangs, get: true},
		// It is believed if it says that it did not, unless it got a
		// connection.
		{name: "refused by a RoundTripper", answer: fails(refused), get: true, post: true},
		{name: "refused by a RoundTripper that asked", answer: asks(fails(refused)), get: true, post: true},
		{name: "refused by a RoundTripper that connected", answer: connects(fails(refused)), get: true},
	}
	for _, test := range tests {
		for method, retried := range map[string]bool{http.MethodGet: test.get, http.MethodPost: test.post} {
			inBubble(t, method+" "+test.name, func(t *testing.T) {
				s := &script{steps: []step{test.answer, status(200)}}
				r, reads := newRequest(method, "https://acme.example/leads"), 0
				r.Read = func([]byte) error {
					if reads++; reads == 1 {
						return test.read
					}
					return nil
				}
				o := newCaller(s).Do(t.Context(), r)
				want := 1
				if retried {
					want = 2
				}
				assert.Len(t, s.began, want)
				assert.Equal(t, want, o.Attempts)
			})
		}
	}
}

// large is more than a caller reads.
func large(context.Context) io.Reader { return strings.NewReader(strings.Repeat("x", 2<<20)) }

func TestRetryable(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		outcome call.Outcome
		want    bool
	}{
		{"503", call.Outcome{Status: 503}, true},
		{"429", call.Outcome{Status: 429}, true},
		{"400", call.Outcome{Status: 400}, false},
		{"truncated", call.Outcome{Status: 200, Err: io.ErrUnexpectedEOF, ConnectionLost: true}, true},
		{"unreadable", call.Outcome{Status: 200, Err: errors.New("not JSON")}, false},
		{"success", call.Outcome{Status: 200}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, test.want, test.outcome.Retryable())
		})
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		min, max time.Duration
		// limits are the longest waits.
		limits []time.Duration
	}{
		{
			"doubles", time.Second, time.Minute,
			[]time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second},
		},
		{
			"does not exceed the maximum", time.Second, 3 * time.Second,
			[]time.Duration{time.Second, 2 * time.Second, 3 * time.Second, 3 * time.Second},
		},
		{"begins at the maximum", time.Second, time.Second, []time.Duration{time.Second, time.Second, time.Second}},
		{"none", 0, 0, []time.Duration{1, 1, 1}},
	}
	for _, test := range tests {
		inBubble(t, test.name, func(t *testing.T) {
			longest := make([]time.Duration, len(test.limits))
			for range 300 {
				s := &script{steps: []step{status(503)}}
				caller := newCaller(s)
				caller.Attempts, caller.MinBackoff, caller.MaxBackoff = len(test.limits)+1, test.min, test.max
				caller.Do(t.Context(), newRequest(http.MethodGet, "https://acme.example/"))
				waits := s.waits()
				require.Len(t, waits, len(test.limits))
				for i, wait := range waits {
					require.LessOrEqual(t, wait, test.limits[i])
					longest[i] = max(longest[i], wait)
				}
			}
			// That none of 300 waits is in the upper tenth has a probability of
			// 10^-13.
			for i, limit := range test.limits {
				assert.GreaterOrEqual(t, longest[i], (limit-1)*9/10, "full jitter uses the whole range")
			}
		})
	}
	inBubble(t, "many attempts", func(t *testing.T) {
		s := &script{steps: []step{status(503)}}
		caller := newCaller(s)
		caller.Attempts = 100
		caller.Do(t.Context(), newRequest(http.MethodGet, "https://acme.example/"))
		assert.GreaterOrEqual(t, slices.Max(s.waits()[80:]), caller.MaxBackoff/10)
	})
	inBubble(t, "longer than a duration after doubling", func(t *testing.T) {
		s := &script{steps: []step{status(503)}}
		caller := newCaller(s)
		caller.Attempts, caller.MinBackoff, caller.MaxBackoff = 3, 1<<62, math.MaxInt64
		ctx, cancel := context.WithTimeout(t.Context(), 200*365*24*time.Hour) // the first wait is shorter
		defer cancel()
		caller.Do(ctx, newRequest(http.MethodGet, "https://acme.example/"))
		for _, wait := range s.waits() {
			assert.Greater(t, wait, time.Second)
		}
	})
	inBubble(t, "without overflow", func(t *testing.T) {
		caller := newCaller(status(503))
		caller.Attempts, caller.MinBackoff, caller.MaxBackoff = 2, math.MaxInt64, math.MaxInt64
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour) // the wait may be 292 years
		defer cancel()
		require.NotPanics(t, func() { caller.Do(ctx, newRequest(http.MethodGet, "https://acme.example/")) })
	})
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	date := func(d time.Duration) func() string {
		return func() string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	}
	tests := []struct {
		name   string
		header func() string
		// server is how far the clock of the server is ahead.
		server time.Duration
		// read is the RetryAfter of the outcome. 0 means that there is none,
		// and then the wait is a back-off of at most 250 ms.
		read time.Duration
	}{
		{name: "seconds", header: text("7"), read: 7 * time.Second},
		{name: "between spaces", header: text(" 7 "), read: 7 * time.Second},
		{name: "as long as allowed", header: text("10"), read: 10 * time.Second},
		{name: "longer than allowed", header: text("11"), read: 11 * time.Second},
		{name: "an hour", header: text("3600"), read: time.Hour},
		{name: "zero", header: text("0")},
		{name: "negative", header: text("-5")},
		{name: "below an int64", header: text("-99999999999999999999")},

		{name: "a half", header: text("2.5"), read: 3 * time.Second},
		{name: "a whole number with a fraction", header: text("2.0"), read: 2 * time.Second},
		{name: "little more than a whole number", header: text("2.0001"), read: 3 * time.Second},
		{name: "less than a second", header: text("0.001"), read: time.Second},
		{name: "a fraction only", header: text(".5"), read: time.Second},
		{name: "no fraction after the point", header: text("5."), read: 5 * time.Second},
		{name: "negative fraction", header: text("-0.5")},

		{name: "a day", header: text("86400"), read: day},
		{name: "more than a day", header: text("86401"), read: day},
		{name: "the time in epoch seconds", header: text("1796025600"), read: day},
		{name: "the time in epoch milliseconds", header: text("1796025600000"), read: day},
		{name: "longer than a Duration", header: text("9999999999999"), read: day},
		{name: "longer than an int64", header: text("99999999999999999999"), read: day},
		{name: "longer than a float64", header: text("1" + strings.Repeat("0", 400)), read: day},

		{name: "date", header: date(5 * time.Second), read: 5 * time.Second},
		{name: "late date", header: date(time.Minute), read: time.Minute},
		{name: "date in a year", header: date(365 * day), read: day},
		{name: "past date", header: date(-time.Minute)},
		{
			name: "date of a server that is an hour ahead", server: time.Hour, header: date(time.Hour + 5*time.Second),
			read: 5 * time.Second,
		},
		{
			name: "date of a server that is an hour behind", server: -time.Hour,
			header: date(-time.Hour + 5*time.Second),
			read:   5 * time.Second,
		},
		{name: "past date of a server that is an hour ahead", server: time.Hour, header: date(time.Minute)},

		{name: "not a number", header: text("soon")},
		{name: "two points", header: text("1.2.3")},
		{name: "a point only", header: text(".")},
		{name: "an exponent", header: text("1e3")},
		{name: "infinity", header: text("Inf")},
		{name: "a unit", header: text("5s")},
		{name: "empty", header: text("")},
	}
	for _, test := range tests {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			inBubble(t, method+" "+test.name, func(t *testing.T) {
				header := []string{"Retry-After", test.header()}
				if test.server != 0 {
					header = append(header, "Date", date(test.server)())
				}
				o, _ := scripted(t.Context(), method, status(404, header...))
				assert.Equal(t, test.read, o.RetryAfter)

				o, s := scripted(t.Context(), method, status(429, header...), status(200))
				switch {
				case test.read > 10*time.Second: // MaxBackoff
					assert.Len(t, s.began, 1)
					assert.Equal(t, 429, o.Status)
					assert.NoError(t, o.Stopped, "the response is the reason, not the context")
					assert.Zero(t, time.Since(s.began[0]))
				case test.read > 0:
					assert.Equal(t, []time.Duration{test.read}, s.waits())
				default:
					require.Len(t, s.waits(), 1)
					assert.LessOrEqual(t, s.waits()[0], 250*time.Millisecond)
				}
			})
		}
	}
}

func text(s string) func() string { return func() string { return s } }
