package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/exporters/stdout/stdoutmetric"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/telemetry"
)

// allison is a lead. All its values are secrets.
func allison() clixnow.CreateLeadRequest {
	return clixnow.CreateLeadRequest{
		FirstName: "Allison", LastName: "Brown", Email: "visitor1@example.com", Phone: "+41795550101",
		Password: "Password123!", CountryCode: "CH", ClickID: "CLICK-1",
	}
}

// TestNoSecretsExported checks that no answer of a server brings data of a lead
// into the telemetry.
func TestNoSecretsExported(t *testing.T) {
	t.Parallel()
	echo, err := json.Marshal(allison()) // has the password
	require.NoError(t, err)
	message := fmt.Sprintf(`{"message":%q,"errors":{"Email":[%q]}}`, string(echo)+token,
		"visitor1@example.com is known, +41795550101 too")
	location := http.Header{"Location": {"https://broker.example/autologin?email=visitor1@example.com&token=" + token}}
	post := func(f clixnowtest.Fault) []clixnowtest.Fault {
		f.Method = http.MethodPost
		return []clixnowtest.Fault{f}
	}
	get := func(f clixnowtest.Fault) []clixnowtest.Fault {
		f.Method, f.Times = http.MethodGet, 20
		return append(post(clixnowtest.Fault{Drop: clixnowtest.DropBeforeHandling}), f)
	}
	for name, test := range map[string]struct {
		faults  []clixnowtest.Fault
		outcome clixnow.Outcome
	}{
		"registered": {nil, clixnow.OutcomeRegistered},
		"recovered": {
			post(clixnowtest.Fault{Drop: clixnowtest.DropAfterHandling}), clixnow.OutcomeRegistered,
		},
		"body cut": {post(clixnowtest.Fault{Drop: clixnowtest.DropMidBody}), clixnow.OutcomeRegistered},
		"refused, echo as JSON": {
			post(clixnowtest.Fault{Status: 400, Body: message}), clixnow.OutcomeRefused,
		},
		"refused, echo as text": {
			post(clixnowtest.Fault{
				Status: 422, Header: http.Header{"Content-Type": {"text/plain"}},
				Body: string(echo),
			}),
			clixnow.OutcomeRefused,
		},
		"server error, echo": {post(clixnowtest.Fault{Status: 500, Body: message}), clixnow.OutcomeRegistered},
		"redirect":           {post(clixnowtest.Fault{Status: 302, Header: location}), clixnow.OutcomeRefused},
		"redirect to an invalid URL": {
			post(clixnowtest.Fault{
				Status: 302, Header: http.Header{"Location": {"http://visitor1@example.com:x/" + token}},
			}), clixnow.OutcomeRefused,
		},
		"303": {post(clixnowtest.Fault{Status: 303, Header: location}), clixnow.OutcomeRegistered},
		"invalid lead id": {
			post(clixnowtest.Fault{Status: 200, Body: `{"leadId":"visitor1@example.com Password123!"}`}),
			clixnow.OutcomeRegistered,
		},
		"not JSON": {
			post(clixnowtest.Fault{Status: 200, Body: "Password123! visitor1@example.com"}), clixnow.OutcomeRegistered,
		},
		"rate limited": {
			[]clixnowtest.Fault{{Status: 429, Times: 3, Body: message}}, clixnow.OutcomeRateLimited,
		},
		"search refused, echo": {get(clixnowtest.Fault{Status: 400, Body: message}), clixnow.OutcomeUnknown},
		"search failed, echo":  {get(clixnowtest.Fault{Status: 503, Body: message}), clixnow.OutcomeUnknown},
		"search with an invalid id": {
			get(clixnowtest.Fault{
				Status: 200, Body: `[{"id":"visitor1@example.com","email":"visitor1@example.com"}]`,
			}), clixnow.OutcomeUnknown,
		},
		"search redirected": {get(clixnowtest.Fault{Status: 301, Header: location}), clixnow.OutcomeUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := clixnowtest.NewServer(clixnowtest.WithToken(token))
			defer server.Close()
			server.Inject(test.faults...)
			assert.Equal(t, test.outcome, exportAll(t, server.URL))
		})
	}
}

// TestNoSecretsExportedFromEcho uses a server that sends the request back as
// invalid HTTP.
func TestNoSecretsExportedFromEcho(t *testing.T) {
	t.Parallel()
	for name, response := range map[string]string{
		"as the whole response": "%s\r\n\r\n",
		"as a status":           "HTTP/1.1 %s\r\n\r\n",
		"as a version":          "HTTP/%s 200 OK\r\n\r\n",
		"as a header":           "HTTP/1.1 200 OK\r\n%s\r\n\r\n",
		"as a length":           "HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n",
		"as an encoding":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: %s\r\n\r\n",
		"as a chunk":            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%s\r\n\r\n",
		"as a trailer":          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n%s\r\n\r\n",
		"as gzip":               "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n%s",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				assert.NoError(t, err)
				conn, _, err := w.(http.Hijacker).Hijack()
				assert.NoError(t, err)
				defer conn.Close()
				fmt.Fprintf(conn, response, string(body)+" "+r.Header.Get("Authorization"))
			}))
			defer server.Close()
			assert.Equal(t, clixnow.OutcomeUnknown, exportAll(t, server.URL))
		})
	}
}

// exportAll registers a lead twice and an invalid lead once, and reads leads.
// It checks that the exported telemetry has no secrets, and returns the outcome
// of the first registration.
func exportAll(t *testing.T, url string) clixnow.Outcome {
	t.Helper()
	var exported bytes.Buffer
	spans, err := stdouttrace.New(stdouttrace.WithWriter(&exported))
	require.NoError(t, err)
	metrics, err := stdoutmetric.New(stdoutmetric.WithWriter(&exported))
	require.NoError(t, err)
	traces := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewPeriodicReader(metrics)))
	client, err := clixnow.NewClient("acme", token, clixnow.WithBaseURL(url),
		clixnow.WithTransport(func(next http.RoundTripper) http.RoundTripper {
			return telemetry.Transport(next, traces, meters)
		}),
		clixnow.WithRetry(clixnow.RetryPolicy{MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond}),
		clixnow.WithLooks(time.Millisecond, 2*time.Millisecond))
	require.NoError(t, err)
	defer client.CloseIdleConnections()
	_, first := client.EnsureLead(t.Context(), allison())
	_, _ = client.EnsureLead(t.Context(), allison())
	invalid := allison()
	invalid.Email, invalid.CountryCode = "visitor1 at example.com", "Allison"
	_, err = client.EnsureLead(t.Context(), invalid)
	require.ErrorIs(t, err, clixnow.ErrInvalidRequest)
	_, _ = client.FindLeads(t.Context(), clixnow.FindLeadsRequest{Email: "visitor1@example.com"})

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = client.EnsureLead(ended, allison())
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, traces.Shutdown(t.Context()))
	require.NoError(t, meters.Shutdown(t.Context()))
	all := exported.String()
	for _, want := range []string{`"Name":"HTTP POST"`, `"Name":"HTTP GET"`, "http.client.request.duration"} {
		assert.Contains(t, all, want)
	}
	for _, secret := range append([]string{"autologin"}, secrets...) {
		if at := strings.Index(strings.ToLower(all), strings.ToLower(secret)); at >= 0 {
			t.Errorf("%s was exported: ...%s", secret, all[max(0, at-200):at+len(secret)])
		}
	}
	return clixnow.OutcomeOf(first)
}
