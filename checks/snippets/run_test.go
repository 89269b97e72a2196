package snippets

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric/noop"
	"go.uber.org/goleak"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/router"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func allison() clixnow.CreateLeadRequest {
	return clixnow.CreateLeadRequest{
		FirstName: "Allison", LastName: "Brown", Email: "allison.brown@example.com", Phone: "+41123456789",
		Password: "Password123!", CountryCode: "CH", ClickID: "20fn4ngo56n3snf74",
	}
}

func newServer(t *testing.T, opts ...clixnowtest.Option) *clixnowtest.Server {
	t.Helper()
	server := clixnowtest.NewServer(opts...)
	t.Cleanup(server.Close)
	return server
}

func newServerClient(t *testing.T, server *clixnowtest.Server) *clixnow.Client {
	t.Helper()
	client := server.Client()
	t.Cleanup(client.CloseIdleConnections)
	return client
}

func TestClassOf(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		faults []clixnowtest.Fault
		want   string
	}{
		"unknown":      {[]clixnowtest.Fault{{Method: "POST", Status: 502}}, "unknown"},
		"refused":      {[]clixnowtest.Fault{{Method: "POST", Status: 400}}, "refused"},
		"rate limited": {[]clixnowtest.Fault{{Method: "POST", Status: 429, Times: 3}}, "rate limited"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newServer(t)
			server.Inject(test.faults...)
			assert.Equal(t, test.want, classOf(t.Context(), newServerClient(t, server), allison()))
		})
	}
	assert.Contains(t, classOf(t.Context(), newServerClient(t, newServer(t)), allison()), "/autologin")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	assert.Equal(t, "not sent", classOf(ended, newServerClient(t, newServer(t)), allison()))
}

func TestRealClient(t *testing.T) {
	t.Setenv("CLIXNOW_TOKEN", "token")
	assert.Equal(t, "acme", newRealClient().Brand())
}

func TestRecoverLost(t *testing.T) {
	t.Parallel()
	lead, err := recoverLost(t.Context(), allison())
	require.NoError(t, err)
	assert.True(t, lead.Recovered)
}

func TestWithFaults(t *testing.T) {
	t.Parallel()
	want := map[string]clixnow.Outcome{
		"lost": clixnow.OutcomeRegistered, "unknown": clixnow.OutcomeUnknown,
		"refused": clixnow.OutcomeRefused, "invalid": clixnow.OutcomeRefused,
		"rate limited": clixnow.OutcomeRateLimited,
	}
	n := 0
	withFaults(func(fault string, client *clixnow.Client) {
		defer client.CloseIdleConnections()
		n++
		req := allison()
		if fault != "refused" { // the fault is that of one email
			req.Email = fault[:4] + "@example.com"
		}
		req.Phone += string(rune('0' + n))
		req.ClickID += fault
		_, err := client.EnsureLead(t.Context(), req)
		assert.Equal(t, want[fault], clixnow.OutcomeOf(err), "%s: %v", fault, err)
		assert.Equal(t, fault == "invalid", clixnow.ReasonOf(err) == clixnow.ReasonInvalid, "%s: %v", fault, err)
	})
	assert.Equal(t, len(want), n)
	assert.Equal(t, clixnow.OutcomeUnknown, clixnow.OutcomeOf(unknownOfMock()))
	server := newServer(t)
	client, err := newClientOf(server)
	require.NoError(t, err)
	defer client.CloseIdleConnections()
	_, err = client.CreateLead(t.Context(), allison())
	require.NoError(t, err)
	printLiteral()
}

func TestHandle(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		faults []clixnowtest.Fault
		change func(*Job)
		done   string
		saved  bool
		err    error
	}{
		"registered": {done: "settled", saved: true},
		"refused":    {change: func(j *Job) { j.Lead.CountryCode = "CHE" }, done: "refused", saved: true},
		"full": {
			faults: []clixnowtest.Fault{{Method: "POST", Status: 400, Body: `{"message":"Daily cap reached"}`}},
			err:    clixnow.ErrRefused,
		},
		"unknown": {
			faults: []clixnowtest.Fault{{Method: "POST", Status: 502}, {Method: "GET", Status: 503, Times: 12}},
			saved:  true, err: clixnow.ErrOutcomeUnknown,
		},
		"rate limited": {
			faults: []clixnowtest.Fault{{Method: "POST", Status: 429, Times: 3}}, err: clixnow.ErrRateLimited,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newServer(t)
			server.Inject(test.faults...)
			job := &Job{Lead: allison()}
			if test.change != nil {
				test.change(job)
			}
			err := handle(t.Context(), newServerClient(t, server), job)
			require.ErrorIs(t, err, test.err)
			assert.Equal(t, test.done, job.Done)
			assert.Equal(t, test.saved, !job.FirstAttempt.IsZero(), "the time is saved")
		})
	}
}

func TestSignUp(t *testing.T) {
	t.Parallel()
	visit, leave := context.WithCancel(t.Context())
	r := httptest.NewRequestWithContext(visit, http.MethodPost, "/", http.NoBody)
	leave()
	lead, err := signUp(r, newServerClient(t, newServer(t)), allison())
	require.NoError(t, err)
	assert.Positive(t, lead.LeadID)
}

func TestResolve(t *testing.T) {
	t.Parallel()
	now := time.Now()
	lead := func(email, clickID string) []clixnow.Lead {
		return []clixnow.Lead{{Email: email, ClickID: clickID, CreatedOn: now}}
	}
	for name, test := range map[string]struct {
		leads []clixnow.Lead
		want  string
	}{
		"the same":         {lead("Allison.Brown@example.com", allison().ClickID), "settled"},
		"another email":    {lead("allisonb@example.com", allison().ClickID), "ask the brand"},
		"another click id": {lead(allison().Email, "other"), "ask the brand"},
		"masked email":     {lead("al***@example.com", "other"), "ask the brand"},
		"no leads":         {nil, "ask the brand"},
		"another lead":     {lead("bruno@example.com", "bruno"), "resubmitted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newServer(t)
			server.AddLeads(test.leads...)
			job := &Job{Lead: allison(), FirstAttempt: now}
			require.NoError(t, resolve(t.Context(), newServerClient(t, server), job))
			assert.Equal(t, test.want, job.Done)
		})
	}
	job := &Job{Lead: allison(), FirstAttempt: now}
	job.Lead.ClickID = ""
	require.NoError(t, resolve(t.Context(), newServerClient(t, newServer(t)), job))
	assert.Equal(t, "ask the brand", job.Done)
}

func TestReading(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	server.AddLeads(clixnow.Lead{Email: "allison.brown@example.com"}, clixnow.Lead{Email: "bruno@example.com"})
	client := newServerClient(t, server)
	require.NoError(t, printJanuary(t.Context(), client))
	require.NoError(t, find(t.Context(), client))

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	store := &mirror{leads: make(map[int64]clixnow.Lead)}
	require.ErrorIs(t, follow(ctx, client, store, time.Time{}), context.DeadlineExceeded)
	assert.Len(t, store.leads, 2)
	assert.False(t, store.since.IsZero())

	var saved []clixnow.Lead
	ctx, cancel = context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	err := followInBatches(ctx, client, time.Time{}, func(batch []clixnow.Lead, _ time.Time) error {
		saved = append(saved, batch...)
		return nil
	})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Len(t, saved, 2)
}

func TestRoute(t *testing.T) {
	t.Parallel()
	acme, beta := newServer(t, clixnowtest.WithBrand("acme"), clixnowtest.WithCapacity(0, "full")),
		newServer(t, clixnowtest.WithBrand("beta"))
	store := make(attempts)
	job := routed{ID: "1", Lead: allison()}
	require.NoError(t, route(t.Context(), newServerClient(t, acme), newServerClient(t, beta), store, job))
	assert.Len(t, beta.Leads(), 1)
	assert.Empty(t, store["1"])
}

func TestClients(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte("token\n"), 0o600))
	_, err := newClient("acme", file, func(*clixnow.APIError) error { return nil })
	require.NoError(t, err)
	for _, build := range []func(string) (*clixnow.Client, error){newRefusals, newTraced} {
		_, err = build("token")
		require.NoError(t, err)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m := NewMetrics(registry)
	m.Observe("acme", nil)
	m.Observe("acme", &clixnow.APIError{StatusCode: 400, Message: "Duplicate lead"})
	m.Observe("acme", errors.New("of a mock"))
	for labels, want := range map[[2]string]float64{
		{"registered", ""}: 1, {"refused", "duplicate"}: 1, {"unknown", ""}: 1,
	} {
		assert.InDelta(t, want, testutil.ToFloat64(m.creates.WithLabelValues("acme", labels[0], labels[1])), 0)
	}
	Observe(t.Context(), noop.Int64Counter{}, "acme", nil)

	full := router.Try{Brand: "beta", Err: &clixnow.APIError{StatusCode: 400, Message: "full"}}
	m.ObserveRoute(&router.Result{Brand: "gamma", Tried: []router.Try{full}}, nil)
	m.ObserveRoute(nil, &router.Error{Tried: []router.Try{full}})
	assert.InDelta(t, 2, testutil.ToFloat64(m.creates.WithLabelValues("beta", "refused", "other")), 0)
	assert.InDelta(t, 1, testutil.ToFloat64(m.creates.WithLabelValues("gamma", "registered", "")), 0)
}

func TestAnswer(t *testing.T) {
	t.Parallel()
	for target, status := range map[string]int{
		"https://brand.example/autologin?t=1": http.StatusSeeOther,
		"":                                    http.StatusOK,
		"http://brand.example/":               http.StatusOK,
		"javascript:alert(1)":                 http.StatusOK,
	} {
		recorder := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", http.NoBody)
		answer(recorder, r, &clixnow.EnsureLeadResponse{
			CreateLeadResponse: clixnow.CreateLeadResponse{RedirectURL: target},
		})
		assert.Equal(t, status, recorder.Code, target)
	}
}

func TestStages(t *testing.T) {
	t.Parallel()
	stages := Stages{"call back": "contacted"}
	counted, unmapped := stages.Count([]clixnow.Lead{{Status: " Call back"}, {Status: "FTD!"}})
	assert.Equal(t, map[Stage]int{"contacted": 1}, counted)
	assert.Equal(t, map[string]int{"FTD!": 1}, unmapped)
}
