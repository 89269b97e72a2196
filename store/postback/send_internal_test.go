package postback

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/store/internal/template"
)

// TestStatusOfAnswer checks which answers accept a postback, and which stop all
// postbacks to the tracker for a while.
func TestStatusOfAnswer(t *testing.T) {
	t.Parallel()
	const accepted = ""
	for status, want := range map[int]struct {
		err      string
		everyone bool
	}{
		200: {accepted, false},
		299: {accepted, false},
		300: {"the tracker answered 300; redirects are not followed", true},
		399: {"the tracker answered 399; redirects are not followed", true},
		400: {"the tracker answered 400", false},
		401: {"the tracker answered 401", true},
		403: {"the tracker answered 403", true},
		404: {"the tracker answered 404", false},
		408: {"the tracker answered 408", true},
		429: {"the tracker answered 429", true},
		499: {"the tracker answered 499", false},
		500: {"the tracker answered 500", true},
	} {
		d := compiled(t, Destination{Name: "a", URL: "https://tracker.example.com/?id={clickId}"})
		d.client = &http.Client{
			Transport:     &fakeTracker{answer: respond(status, "")},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		o := d.send(t.Context(), &item{values: `{"clickId":"CLICK"}`})
		if want.err == accepted {
			require.NoError(t, o.err, status)
		} else {
			require.EqualError(t, o.err, want.err)
		}
		assert.Equal(t, want.everyone, o.everyone, status)
	}
}

// roundTripper answers a request.
type roundTripper func(*http.Request) (*http.Response, error)

func (r roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return r(request) }

// TestEndOfResponse checks responses that break off, that do not come, or that
// are too long.
func TestEndOfResponse(t *testing.T) {
	t.Parallel()
	send := func(ctx context.Context, body io.Reader) outcome {
		d := compiled(t, Destination{Name: "a", URL: "https://a.example/", Preset: "tune"})
		d.client.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			if body == nil {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return &http.Response{StatusCode: 200, Body: io.NopCloser(body), Request: r}, nil
		})
		return d.send(ctx, &item{values: `{"clickId":"CLICK"}`})
	}
	const success, limit = "success=true", 64 << 10
	short, long := strings.Repeat(" ", limit-len(success)), strings.Repeat(" ", limit)
	assert.Equal(t, outcome{}, send(t.Context(), strings.NewReader(short+success)))
	assert.Equal(t, outcome{err: errAnswerNotKnown}, send(t.Context(), strings.NewReader(long+success)))

	broken := io.MultiReader(strings.NewReader(success), iotest.ErrReader(errors.New("SECRET")))
	want := outcome{err: errors.New("the response broke off"), everyone: true}
	assert.Equal(t, want, send(t.Context(), broken))
	stopped, stop := context.WithCancel(t.Context())
	stop()
	want.stopped = true
	assert.Equal(t, want, send(stopped, broken))

	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		want := outcome{err: errors.New("the tracker did not answer in time"), everyone: true}
		assert.Equal(t, want, send(t.Context(), nil))
		assert.Equal(t, 20*time.Second, time.Since(began))
	})
}

// TestEventsThatCannotBeSent checks that they do not hold up other events.
func TestEventsThatCannotBeSent(t *testing.T) {
	t.Parallel()
	d := compiled(t, Destination{Name: "a", URL: "https://a.example/{clickId}"})
	assert.Equal(t, 4, d.Concurrency, "the default")
	assert.Equal(t, outcome{err: template.ErrDotSegment}, d.send(t.Context(), &item{values: `{"clickId":".."}`}))
	assert.Equal(t, outcome{err: errors.New("the stored event cannot be read")},
		d.send(t.Context(), &item{values: "SECRET"}))
}

// TestRetryAfterHeader checks which values of the header are understood.
func TestRetryAfterHeader(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"":                              0,
		"0":                             0,
		"0.5":                           500 * time.Millisecond,
		"30":                            30 * time.Second,
		"599.5":                         599*time.Second + 500*time.Millisecond,
		"-30":                           0,
		"3601":                          longest,
		"1780000000":                    longest,
		"Inf":                           longest,
		"NaN":                           0,
		"1e999":                         0,
		"soon":                          0,
		"Tue, 01 Dec 2026 12:00:20 GMT": 20 * time.Second,
		"Tue, 01 Dec 2026 11:59:59 GMT": 0,
		"Fri, 01 Jan 1999 15:04:05 GMT": 0,
		"Wed, 02 Dec 2026 12:00:00 GMT": longest,
	} {
		assert.Equal(t, want, retryAfter(header, now), header)
	}
}

// TestNetworkProblem checks that a description shows the cause and no secret.
func TestNetworkProblem(t *testing.T) {
	t.Parallel()
	const broken = "the connection failed, or the response is not HTTP"
	for _, test := range []struct {
		err  error
		want string
	}{
		{&net.DNSError{Name: "SECRET"}, "the host name cannot be resolved"},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, "connect: connection refused"},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, "the tracker did not answer in time"},
		{&net.OpError{Op: "read", Err: syscall.ECONNRESET}, broken},
		{errors.New("SECRET"), broken},
	} {
		assert.Equal(t, test.want, networkProblem(fmt.Errorf("SECRET: %w", test.err)))
	}
}

// TestDestinationHidesItsURL checks what fmt prints of a destination.
func TestDestinationHidesItsURL(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"https://tracker.example.com/SECRET?id={clickId}": `postback "a" to https://tracker.example.com`,
		"SECRET {": `postback "a"`,
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			assert.Equal(t, want, fmt.Sprintf(verb, Destination{Name: "a", URL: url}))
		}
	}
}
