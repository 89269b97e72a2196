package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/exporters/stdout/stdoutmetric"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.uber.org/goleak"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDemo(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	require.NoError(t, run(t.Context(), "", "", &out))
	for _, want := range []string{
		`register lead +\w+ +brand=acme outcome=registered recovered=false\n`,
		`register lead +\w+ +brand=acme outcome=registered recovered=true\n` +
			`span +\w+ +HTTP POST +\w+ .* error EOF\n` +
			`span +\w+ +HTTP GET +\w+ .*status_code=503.*\nspan +\w+ +HTTP GET +\w+ .*status_code=200\n`,
		`read leads +\w+ +brand=acme leads=2\n`,
		`msg="lead not registered" brand=acme outcome=refused reason=duplicate status=400 ` +
			`trace_id=[0-9a-f]{32} span_id=[0-9a-f]{16}\n`,
		`msg="lead not registered" brand=acme outcome=refused reason=invalid ` +
			`error="clixnow: invalid request: countryCode: must be two letters" trace_id=`,
		`metric clixnow\.creates: 1  brand=acme outcome=refused reason=duplicate recovered=false\n`,
		`metric clixnow\.creates: 1  brand=acme outcome=refused reason=invalid recovered=false\n`,
		`metric clixnow\.creates: 1  brand=acme outcome=registered recovered=true\n`,
		`metric http\.client\.request\.duration: 1, [0-9.]+ ms on average  method=POST status_code=200\n`,
	} {
		assert.Regexp(t, regexp.MustCompile(want), out.String())
	}
}

// TestCancelled checks that the telemetry is exported if the context has ended.
func TestCancelled(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, run(ctx, "", "", &out), context.Canceled)
	assert.Regexp(t, `span +\w+ +register lead +\w+ +brand=acme outcome=not sent`, out.String())
}

// exported has everything that the program exports, in full, as OpenTelemetry's
// own exporters write it.
type exported struct {
	spans, metrics, logs bytes.Buffer
	*telemetry
}

func newExported(t *testing.T) *exported {
	t.Helper()
	e := new(exported)
	spans, err := stdouttrace.New(stdouttrace.WithWriter(&e.spans))
	require.NoError(t, err)
	metrics, err := stdoutmetric.New(stdoutmetric.WithWriter(&e.metrics))
	require.NoError(t, err)
	e.telemetry = newTelemetry(spans, metrics, &e.logs)
	return e
}

func (e *exported) all(t *testing.T) string {
	t.Helper()
	require.NoError(t, e.shutdown(t.Context()))
	return e.spans.String() + e.metrics.String() + e.logs.String()
}

const token = "CfDJ8-s3cr3t-t0ken"

// secrets must not be exported. They are parts of the sent values, which no
// form of escaping changes.
var secrets = []string{
	token, "s3cr3t", "Password123", "autologin", "lead1", "example.com", "4179555", "Allison",
	"Brown",
}

func TestNoSecretsExported(t *testing.T) {
	t.Parallel()
	echo, err := json.Marshal(lead(1)) // has the password
	require.NoError(t, err)
	message := fmt.Sprintf(`{"message":%q,"errors":{"Email":[%q]}}`, string(echo)+token,
		"lead1@example.com is known, +41795550101 too")
	location := http.Header{"Location": {"https://broker.example/autologin?email=lead1@example.com&token=" + token}}
	post := func(f clixnowtest.Fault) []clixnowtest.Fault {
		f.Method = http.MethodPost
		return []clixnowtest.Fault{f}
	}
	get := func(f clixnowtest.Fault) []clixnowtest.Fault {
		f.Method, f.Times = http.MethodGet, 20
		return append(post(clixnowtest.Fault{Drop: clixnowtest.DropBeforeHandling}), f)
	}
	tests := map[string]struct {
		faults  []clixnowtest.Fault
		outcome string
	}{
		"registered": {nil, "registered recovered=false"},
		"recovered": {
			post(clixnowtest.Fault{Drop: clixnowtest.DropAfterHandling}),
			"registered recovered=true",
		},
		"body cut":              {post(clixnowtest.Fault{Drop: clixnowtest.DropMidBody}), "registered recovered=true"},
		"refused, echo as JSON": {post(clixnowtest.Fault{Status: 400, Body: message}), "refused reason=invalid"},
		"refused, echo as text": {post(clixnowtest.Fault{
			Status: 422,
			Header: http.Header{"Content-Type": {"text/plain"}}, Body: string(echo),
		}), "refused reason=other"},
		"server error, echo": {post(clixnowtest.Fault{Status: 500, Body: message}), "registered"},
		"redirect":           {post(clixnowtest.Fault{Status: 302, Header: location}), "refused reason=access"},
		"redirect to an invalid URL": {post(clixnowtest.Fault{
			Status: 302,
			Header: http.Header{"Location": {"http://lead1@example.com:x/" + token}},
		}), "refused reason=access"},
		"303": {post(clixnowtest.Fault{Status: 303, Header: location}), "registered"},
		"invalid lead id": {post(clixnowtest.Fault{
			Status: 200,
			Body:   fmt.Sprintf(`{"leadId":%q}`, "lead1@example.com Password123!"),
		}), "registered"},
		"not JSON": {
			post(clixnowtest.Fault{Status: 200, Body: "Password123! lead1@example.com"}),
			"registered",
		},
		"rate limited":         {[]clixnowtest.Fault{{Status: 429, Times: 3, Body: message}}, `"rate limited"`},
		"search refused, echo": {get(clixnowtest.Fault{Status: 400, Body: message}), "unknown"},
		"search failed, echo":  {get(clixnowtest.Fault{Status: 503, Body: message}), "unknown"},
		"search with an invalid id": {get(clixnowtest.Fault{
			Status: 200,
			Body:   `[{"id":"lead1@example.com","email":"lead1@example.com"}]`,
		}), "unknown"},
		"search redirected": {get(clixnowtest.Fault{Status: 301, Header: location}), "unknown"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := clixnowtest.NewServer(clixnowtest.WithToken(token))
			defer server.Close()
			server.Inject(test.faults...)
			got := exportAll(t, server.URL)
			assert.Contains(t, got.logs.String(), "outcome="+test.outcome)
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
			got := exportAll(t, server.URL)
			assert.Contains(t, got.logs.String(), "outcome=unknown")
		})
	}
}

// exportAll registers a lead twice and an invalid lead once, and reads leads.
// It checks that the exported telemetry has no secrets, and returns it.
func exportAll(t *testing.T, url string) *exported {
	t.Helper()
	e := newExported(t)
	o, err := newObserved(e.telemetry, "acme", token, clixnow.WithBaseURL(url),
		clixnow.WithRetry(clixnow.RetryPolicy{MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond}),
		clixnow.WithLooks(time.Millisecond, 2*time.Millisecond))
	require.NoError(t, err)
	_ = o.register(t.Context(), lead(1)) // the log has the outcome
	_ = o.register(t.Context(), lead(1))
	invalid := lead(1)
	invalid.Email, invalid.CountryCode = "lead1 at example.com", "Allison"
	err = o.register(t.Context(), invalid)
	require.ErrorIs(t, err, clixnow.ErrInvalidRequest)
	_ = o.read(t.Context(), time.Now().Add(-time.Hour))

	all := e.all(t)
	for _, want := range []string{
		`"Name":"register lead"`, `"Name":"HTTP POST"`, `"Name":"read leads"`,
		"http.client.request.duration", "level=DEBUG",
	} {
		assert.Contains(t, all, want)
	}
	for _, secret := range secrets {
		if at := strings.Index(strings.ToLower(all), strings.ToLower(secret)); at >= 0 {
			t.Errorf("%s was exported: ...%s", secret, all[max(0, at-200):at+len(secret)])
		}
	}
	return e
}
