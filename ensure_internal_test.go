package clixnow

import (
	"errors"
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
		{
			"could have been written",
			call.Outcome{Attempts: 1, Sent: true, Err: failed, ConnectionLost: true},
			ErrOutcomeUnknown,
		},
		{
			"no connection, then stopped",
			call.Outcome{Attempts: 1, Err: failed, ConnectionLost: true, Stopped: failed},
			ErrNotSent,
		},
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
		{"302: a login is required", answered(302), ErrRefused},
		{"303: the result is elsewhere", answered(303), ErrOutcomeUnknown},
		{"307", answered(307), ErrRefused},
		{"400", answered(400), ErrRefused},
		{"401", answered(401), ErrRefused},
		{"408: a proxy may send it after the API has read the request", answered(408), ErrOutcomeUnknown},
		{"499", answered(499), ErrOutcomeUnknown},
		{"500", answered(500), ErrOutcomeUnknown},
		{"503: a proxy may send it after the API has created the lead", answered(503), ErrOutcomeUnknown},
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
		inDoubt   bool
		class     error
		duplicate bool
		want      step
	}{
		{"first send, registered", false, nil, false, registered},
		{"first send, unknown", false, ErrOutcomeUnknown, false, maybeRegistered},
		{"first send, refused", false, ErrRefused, false, failed},
		{"first send, a duplicate of somebody else's lead", false, ErrRefused, true, failed},
		{"first send, not sent", false, ErrNotSent, false, failed},
		{"first send, rate limited", false, ErrRateLimited, false, failed},
		{"later send, registered", true, nil, false, registered},
		{"later send, unknown", true, ErrOutcomeUnknown, false, maybeRegistered},
		{"later send, a duplicate: the earlier one arrived", true, ErrRefused, true, exists},
		{"later send, refused: the earlier one may have arrived", true, ErrRefused, false, refusedLater},
		{"later send, not sent", true, ErrNotSent, false, stillUnknown},
		{"later send, rate limited", true, ErrRateLimited, false, stillUnknown},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, test.want, afterSend(test.inDoubt, test.class, test.duplicate))
		})
	}
}

func TestServerClockLearn(t *testing.T) {
	t.Parallel()
	type response struct {
		status int
		ahead  time.Duration
	}
	const undated = time.Duration(math.MinInt64)
	tests := []struct {
		name      string
		responses []response
		want      time.Duration
	}{
		{"in step", []response{{200, 0}}, 0},
		{"a minute ahead, by latency and rounding", []response{{200, time.Minute}}, 0},
		{"a minute behind", []response{{200, -time.Minute}}, 0},
		{"more than a minute ahead", []response{{200, 61 * time.Second}}, 61 * time.Second},
		{"more than a minute behind", []response{{200, -61 * time.Second}}, -61 * time.Second},
		{"an hour ahead", []response{{201, time.Hour}}, time.Hour},
		{"an hour behind", []response{{299, -time.Hour}}, -time.Hour},
		{"no response", []response{{0, undated}}, 0},
		{"no date", []response{{200, undated}}, 0},
		{"no date at first", []response{{200, undated}, {200, time.Hour}}, time.Hour},
		{"the first date counts", []response{{200, time.Hour}, {200, 0}, {200, 2 * time.Hour}}, time.Hour},
		{"the first date counts if it is in step", []response{{200, 0}, {200, time.Hour}}, 0},
		{"a gateway's error", []response{{502, 2 * time.Hour}}, 0},
		{"a gateway's error, then the API", []response{{502, 2 * time.Hour}, {200, -time.Hour}}, -time.Hour},
		{"a refusal", []response{{400, time.Hour}}, 0},
		{"a 300", []response{{300, time.Hour}}, 0},
		{"a redirect", []response{{302, time.Hour}}, 0},
		{"a 199", []response{{199, time.Hour}}, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { // time stands at a whole second, as Date does
				var clock serverClock
				for _, response := range test.responses {
					header := http.Header{}
					if response.ahead != undated {
						header.Set("Date", time.Now().Add(response.ahead).UTC().Format(http.TimeFormat))
					}
					clock.learn(&call.Outcome{Status: response.status, Header: header})
				}
				assert.Equal(t, test.want, clock.ahead)
			})
		})
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, pause := range []time.Duration{0, 1, time.Millisecond, 500 * time.Millisecond, 10 * time.Second} {
			r := &registration{}
			var shortest, longest time.Duration = math.MaxInt64, 0
			for range 2000 {
				wait := r.wait(pause)
				shortest, longest = min(shortest, wait), max(longest, wait)
			}
			assert.GreaterOrEqual(t, shortest, pause)
			assert.LessOrEqual(t, longest, pause+pause/4)
			if pause >= time.Millisecond { // the waits are spread over the whole quarter
				assert.Less(t, shortest, pause+pause/40)
				assert.Greater(t, longest, pause+pause/4-pause/40)
			}
		}
	})
}

func TestObserveRetryAfter(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		asked []time.Duration
		want  time.Duration
	}{
		{"none", []time.Duration{0}, time.Second},
		{"shorter than the pause", []time.Duration{500 * time.Millisecond}, time.Second},
		{"longer than the pause", []time.Duration{8 * time.Second}, 8 * time.Second},
		{"two minutes", []time.Duration{2 * time.Minute}, 2 * time.Minute},
		{"longer than two minutes", []time.Duration{3 * time.Hour}, 2 * time.Minute},
		{"only the last response counts", []time.Duration{8 * time.Second, 0}, time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := &registration{}
				for _, asked := range test.asked {
					r.observe(&call.Outcome{RetryAfter: asked})
				}
				wait := r.wait(time.Second)
				assert.GreaterOrEqual(t, wait, test.want)
				assert.LessOrEqual(t, wait, max(test.want, 1250*time.Millisecond))
			})
		})
	}
}
