package monitor

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/store/outbox"
)

// TestStaleBrand checks that a brand that failed long ago counts only as long
// as sign-ups wait, and that it is always listed.
func TestStaleBrand(t *testing.T) {
	t.Parallel()
	const denied = "the brand acme refuses the access since 2100-11-30T20:12:00Z, "
	// The time is a later one, so the state is not read again.
	at := time.Date(2100, 11, 30, 20, 12, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		err     error
		tried   time.Time
		pending int64
		broken  error
		code    int
		want    string
		up      string
	}{
		"tried now": {
			err: clixnow.ErrUnauthorized, tried: at.Add(50 * time.Minute), code: 503, up: "0",
			want: "^" + denied + "last tried at 2100-11-30T21:02:00Z: check its token and its host: [^\n]+\n$",
		},
		"old, and a sign-up waits": {
			err: clixnow.ErrUnauthorized, tried: at, pending: 1, code: 503, up: "0",
			want: "^" + denied + "last tried at 2100-11-30T20:12:00Z: check",
		},
		"old": {
			err: clixnow.ErrUnauthorized, tried: at, code: 200, up: "1",
			want: "^ok\nnot counted, because no sign-up waits: " + denied + "last tried at 2100-11-30T20:12:00Z: check",
		},
		"old failure": {
			err: clixnow.ErrNotSent, tried: at, code: 200, up: "1",
			want: "^ok\nnot counted, because no sign-up waits: the brand acme fails since [^\n]+\n$",
		},
		"old, and it is not known what waits": {
			err: clixnow.ErrNotSent, tried: at, broken: errors.New("closed"), code: 503, up: "0",
			want: "^the database [^\n]+\nthe brand acme fails since ",
		},
		"works": {tried: at, code: 200, up: "1", want: "^ok\n$"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			registry := prometheus.NewRegistry()
			m := New(registry, noop.NewTracerProvider())
			m.Watch(nil)
			m.last = state{
				at: at.Add(time.Hour), err: test.broken,
				counts: map[outbox.Status]outbox.Count{outbox.Pending: {Number: test.pending}},
				brands: []outbox.BrandState{{Brand: "acme", Err: test.err, Since: at, TriedAt: test.tried}},
			}
			get := func(handler http.Handler) *httptest.ResponseRecorder {
				recorder := httptest.NewRecorder()
				handler.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
				return recorder
			}
			health := get(http.HandlerFunc(m.Health))
			assert.Equal(t, test.code, health.Code)
			assert.Regexp(t, test.want, health.Body.String())
			assert.Contains(t, get(m.Metrics()).Body.String(), `clixnow_gateway_brand_up{brand="acme"} `+test.up+"\n")
		})
	}
}
