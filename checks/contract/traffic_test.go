package contract_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// judge is a RoundTripper that checks all traffic against the description.
type judge struct {
	next     http.RoundTripper
	contract *description

	mu                sync.Mutex
	requests, answers int
	faults            []error
	seen              map[string]bool
}

func newJudge(t *testing.T, contract *description) *judge {
	t.Helper()
	transport := new(http.Transport)
	t.Cleanup(transport.CloseIdleConnections)
	return &judge{next: transport, contract: contract, seen: make(map[string]bool)}
}

func (j *judge) RoundTrip(request *http.Request) (*http.Response, error) {
	e, answer, err := record(j.next, request)
	if e != nil {
		j.judge(request.Context(), e)
	}
	return answer, err
}

func (j *judge) judge(ctx context.Context, e *exchange) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.requests++
	j.note(j.contract.judgeRequest(ctx, e))
	if e.Status != 0 {
		j.answers++
		j.note(j.contract.judgeAnswer(ctx, e))
	}
	for _, name := range e.seen() {
		j.seen[name] = true
	}
}

func (j *judge) note(err error) {
	if err != nil {
		j.faults = append(j.faults, err)
	}
}

// passed fails the test if there was a fault, or no traffic.
func (j *judge) passed(t *testing.T) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	require.NoError(t, errors.Join(j.faults...))
	require.NotZero(t, j.requests)
	t.Logf("validated %d requests and %d answers", j.requests, j.answers)
}

// client returns a client of a server. Its traffic is checked.
func (j *judge) client(t *testing.T, server *clixnowtest.Server, opts ...clixnow.Option) *clixnow.Client {
	t.Helper()
	return j.clientAt(t, server.URL, server.Token, opts...)
}

func (j *judge) clientAt(t *testing.T, baseURL, token string, opts ...clixnow.Option) *clixnow.Client {
	t.Helper()
	client, err := clixnow.NewClient("acme", token, append([]clixnow.Option{
		clixnow.WithBaseURL(baseURL), clixnow.WithHTTPClient(&http.Client{Transport: j}),
		clixnow.WithRetry(clixnow.RetryPolicy{MinBackoff: time.Microsecond, MaxBackoff: time.Millisecond}),
		clixnow.WithLooks(time.Millisecond, 2*time.Millisecond, 5*time.Millisecond, 10*time.Millisecond),
	}, opts...)...)
	require.NoError(t, err)
	return client
}

// use calls every method of the client that sends a request, with every field.
// It returns all errors.
func use(ctx context.Context, client *clixnow.Client, server *clixnowtest.Server) error {
	return errors.Join(create(ctx, client), search(ctx, client, server), follow(ctx, client))
}

// fullLead is the vendor's lead with all other fields added.
func fullLead(number int) clixnow.CreateLeadRequest {
	return clixnow.CreateLeadRequest{
		FirstName: "Allison", LastName: "Brown", Email: fmt.Sprintf("allison.%d@example.com", number),
		Phone:    fmt.Sprint("+4112345", number),
		Password: "Password123!", CountryCode: "CH", LanguageCode: "EN", AcceptTermsAndConditions: true,
		AcceptPromotions: true,
		ReferralURL:      vendorsLandingPage, SubCampaign: "subcampaign", Placement: "landing_page", Keyword: "test",
		Sub2:    "sub2",
		ClickID: fmt.Sprint("click-", number), DeviceType: "Mobile", DeviceName: "iPhone16", OSName: "iOS",
		Browser: "Safari Mobile",
		Carrier: clixnow.CarrierMobile, IPAddress: netip.AddrFrom4([4]byte{1, 1, 1, 1}),
		Comment: strings.Repeat("é", 1000),
	}
}

func shortLead(number int) clixnow.CreateLeadRequest {
	return clixnow.CreateLeadRequest{
		FirstName: "Ünï \"quoted\" \\ \u2028", LastName: "Brown",
		Email: fmt.Sprintf("allison.%d@example.com", number),
		Phone: fmt.Sprint("+4112345", number), Password: "Password123!", CountryCode: "ch",
	}
}

func create(ctx context.Context, client *clixnow.Client) error {
	_, one := client.CreateLead(ctx, fullLead(1))
	_, two := client.CreateLead(ctx, shortLead(2))
	_, three := client.EnsureLead(ctx, shortLead(3))
	_, four := client.EnsureLeadSince(ctx, fullLead(4), time.Now().Add(-time.Hour))
	errs := []error{one, two, three, four}
	for _, ensure := range []bool{false, true} {
		leads := []clixnow.CreateLeadRequest{fullLead(5), shortLead(6)}
		if ensure {
			leads = []clixnow.CreateLeadRequest{fullLead(7), shortLead(8)}
		}
		errs = append(errs,
			client.CreateLeads(ctx, slices.Values(leads), clixnow.BulkOptions{Ensure: ensure},
				func(r clixnow.BulkResult) error {
					errs = append(errs, r.Err)
					return nil
				}))
	}
	return errors.Join(errs...)
}

func search(ctx context.Context, client *clixnow.Client, server *clixnowtest.Server) error {
	from := time.Date(2021, 8, 8, 0, 0, 0, 0, time.UTC)
	to := from.Add(100 * 365 * 24 * time.Hour).Add(302 * time.Millisecond)
	var errs []error
	for _, request := range []clixnow.SearchLeadsRequest{
		{},
		{OrderBy: clixnow.OrderByID, Count: 12, Skip: 3},
		{OrderBy: clixnow.OrderByCreatedOn, CreatedOnFrom: from, CreatedOnTo: to, Count: 12, Prefetch: 2},
		{OrderBy: clixnow.OrderByModifiedOn, ModifiedOnFrom: from, ModifiedOnTo: to, Count: 12},
		{OrderBy: clixnow.OrderByFTDDate, FTDDateFrom: from, FTDDateTo: to, Limit: 5},
		{OrderBy: clixnow.OrderByFTDFate, Limit: 5},
		{ID: 1},
	} {
		errs = append(errs, drain(client.SearchLeads(ctx, request)))
		page, err := client.SearchLeadsPage(ctx, request)
		if err == nil && page.Next != nil {
			_, err = client.SearchLeadsPage(ctx, *page.Next)
		}
		errs = append(errs, err)
	}
	for _, lead := range server.Leads() {
		_, err := client.GetLead(ctx, lead.ID)
		errs = append(errs, err)
		break
	}
	if _, err := client.GetLead(ctx, 1); !errors.Is(err, clixnow.ErrLeadNotFound) {
		errs = append(errs, fmt.Errorf("a lead that is not there: %w", err))
	}
	return errors.Join(errs...)
}

func follow(ctx context.Context, client *clixnow.Client) error {
	return drain(client.LeadChanges(ctx,
		clixnow.LeadChangesRequest{Since: time.Date(2022, 12, 19, 0, 0, 0, 0, time.UTC)}))
}

func drain(leads iter.Seq2[clixnow.Lead, error]) (last error) {
	for _, err := range leads {
		last = err
	}
	return last
}

// addLeads adds leads of all kinds to a server: more than a page, with and
// without a deposit.
func addLeads(server *clixnowtest.Server) {
	day := time.Date(2022, 12, 19, 11, 1, 58, 302e6, time.UTC)
	for i := range 30 {
		lead := clixnow.Lead{
			Email: fmt.Sprintf("lead.%d@example.com", i), Status: "New", CreatedOn: day,
			UpdatedOn: day.Add(time.Duration(i) * time.Hour),
		}
		if i%2 == 0 {
			lead.CRMID, lead.BrandID, lead.BrandName = "0af76519-16cd-43dd", 17, "Example Broker"
			lead.FTDDate, lead.ClientType = day.Add(time.Hour), clixnow.ClientTypeDepositor
			lead.ClickID, lead.Sub2, lead.SubCampaign, lead.Keyword, lead.Placement = "42", "sub2", "subcampaign",
				"test", "ad"
		}
		server.AddLeads(lead)
	}
}

// TestOptionsOfTheServer calls every method of the client against a fake server
// with each of its options.
func TestOptionsOfTheServer(t *testing.T) {
	t.Parallel()
	contract := describeClosed(t)
	clock := func() time.Time { return time.Now().Add(-24 * time.Hour) }
	fields := []string{
		"status", "crmId", "brandId", "brandName", "ftdDate", "clickId", "sub2", "subCampaign", "keyword",
		"placement", "clientType",
	} // except email: without it EnsureLeadSince cannot decide
	for name, opts := range map[string][]clixnowtest.Option{
		"none":                  nil,
		"WithBrand":             {clixnowtest.WithBrand("other")},
		"WithToken":             {clixnowtest.WithToken("CfDJ8-other")},
		"WithClock":             {clixnowtest.WithClock(clock)},
		"WithPageLimit":         {clixnowtest.WithPageLimit(10)},
		"WithEnvelope":          {clixnowtest.WithEnvelope("items")},
		"WithEnvelope, another": {clixnowtest.WithEnvelope("Any Name")},
		"WithHiddenFields":      {clixnowtest.WithHiddenFields(fields...)},
		"WithSearchDelay": {
			clixnowtest.WithSearchDelay(func(clixnow.Lead) time.Duration { return time.Millisecond }),
		},
		"WithoutDuplicateCheck": {clixnowtest.WithoutDuplicateCheck()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := clixnowtest.NewServer(opts...)
			defer server.Close()
			addLeads(server)
			judge := newJudge(t, contract)
			require.NoError(t, use(t.Context(), judge.client(t, server), server))
			judge.passed(t)
			if name == "none" {
				for _, name := range contract.named() {
					assert.True(t, judge.seen[name], "nothing made use of %s, or it has another name in the traffic",
						name)
				}
			}
		})
	}
}

// TestOptionsOfTheClient calls every method of a client with each of its
// options.
func TestOptionsOfTheClient(t *testing.T) {
	t.Parallel()
	contract := describeClosed(t)
	for name, opt := range map[string]clixnow.Option{
		"WithUserAgent":        clixnow.WithUserAgent("my-app/1.2"),
		"WithRetry":            clixnow.WithRetry(clixnow.RetryPolicy{MaxAttempts: 1}),
		"WithRateLimiter":      clixnow.WithRateLimiter(limiter{}),
		"WithLogger":           clixnow.WithLogger(slog.New(slog.DiscardHandler)),
		"WithMaxResponseBytes": clixnow.WithMaxResponseBytes(1 << 20),
		"WithInsecureHTTP":     clixnow.WithInsecureHTTP(),
		"WithoutValidation":    clixnow.WithoutValidation(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := clixnowtest.NewServer()
			defer server.Close()
			addLeads(server)
			judge := newJudge(t, contract)
			require.NoError(t, use(t.Context(), judge.client(t, server, opt), server))
			judge.passed(t)
		})
	}
}

type limiter struct{}

func (limiter) Wait(context.Context) error { return nil }

// The base URL has a path.
func TestBaseURL(t *testing.T) {
	t.Parallel()
	fake := clixnowtest.NewHandler()
	addLeads(fake)
	server := httptest.NewServer(http.StripPrefix("/proxy", fake))
	defer server.Close()
	judge := newJudge(t, describeClosed(t))
	require.NoError(t, use(t.Context(), judge.clientAt(t, server.URL+"/proxy", fake.Token), fake))
	judge.passed(t)
}

// Extra holds fields and parameters that the description does not name.
func TestExtra(t *testing.T) {
	t.Parallel()
	server := clixnowtest.NewServer()
	defer server.Close()
	open, closed := newJudge(t, describe(t)), newJudge(t, describeClosed(t))
	lead := fullLead(1)
	lead.Extra = map[string]any{"bonus": 5, "tags": []string{"a"}}
	for _, judge := range []*judge{open, closed} {
		client := judge.client(t, server)
		_, err := client.EnsureLead(t.Context(), lead)
		require.True(t, err == nil || errors.Is(err, clixnow.ErrDuplicateLead), "%v", err)
		_,
			err = client.SearchLeadsPage(t.Context(),
			clixnow.SearchLeadsRequest{Extra: url.Values{"country": {"CH", "DE"}}})
		require.NoError(t, err)
	}
	open.passed(t)
	require.Len(t, closed.faults, 2, "the closed description takes members and parameters that it does not name")
	assert.ErrorContains(t, closed.faults[0], "bonus")
	assert.ErrorContains(t, closed.faults[1], "country")
}

// The fake server refuses these requests.
func TestRefusals(t *testing.T) {
	t.Parallel()
	server := clixnowtest.NewServer()
	defer server.Close()
	judge := newJudge(t, describeClosed(t))
	stranger := judge.clientAt(t, server.URL, "CfDJ8-wrong")
	_, err := stranger.CreateLead(t.Context(), fullLead(1))
	require.ErrorIs(t, err, clixnow.ErrUnauthorized)
	_, err = stranger.GetLead(t.Context(), 1)
	require.ErrorIs(t, err, clixnow.ErrUnauthorized)
	client := judge.client(t, server)
	_, err = client.CreateLead(t.Context(), fullLead(1))
	require.NoError(t, err)
	_, err = client.CreateLead(t.Context(), fullLead(1))
	require.ErrorIs(t, err, clixnow.ErrDuplicateLead)
	judge.passed(t)
}

// With WithoutValidation, invalid requests are noticed, and the refusals of the
// fake server have the described form.
func TestWithoutValidation(t *testing.T) {
	t.Parallel()
	server := clixnowtest.NewServer()
	t.Cleanup(server.Close)
	wrong := fullLead(1)
	wrong.CountryCode, wrong.Password = "Switzerland", "short"
	for name, send := range map[string]func(*clixnow.Client) error{
		"create": func(c *clixnow.Client) error {
			_, err := c.CreateLead(t.Context(), wrong)
			return err
		},
		"search": func(c *clixnow.Client) error {
			_, err := c.SearchLeadsPage(t.Context(), clixnow.SearchLeadsRequest{OrderBy: "id", Count: 1001})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			judge := newJudge(t, describeClosed(t))
			require.ErrorIs(t, send(judge.client(t, server)), clixnow.ErrInvalidRequest)
			require.Zero(t, judge.requests)
			require.ErrorIs(t, send(judge.client(t, server, clixnow.WithoutValidation())), clixnow.ErrBadRequest)
			require.Len(t, judge.faults, 1, "the request, and not its answer")
			assert.ErrorContains(t, judge.faults[0], "the request")
		})
	}
}

// Every method of the client is called with every kind of fault: retries send
// correct requests too.
func TestFaults(t *testing.T) {
	t.Parallel()
	contract := describeClosed(t)
	const many = 40
	for name, fault := range map[string]clixnowtest.Fault{
		"DropBeforeHandling":       {Drop: clixnowtest.DropBeforeHandling},
		"DropAfterHandling":        {Drop: clixnowtest.DropAfterHandling},
		"DropMidBody":              {Drop: clixnowtest.DropMidBody},
		"DropMidBody, HandleFirst": {Drop: clixnowtest.DropMidBody, HandleFirst: true},
		"Delay":                    {Delay: time.Millisecond},
		"429": {
			Status: 429, Header: http.Header{"Retry-After": {"0"}},
			Body: `{"message":"slow down"}`,
		},
		"502":              {Status: 502, Body: "<html>Bad Gateway</html>"},
		"502, HandleFirst": {Status: 502, Body: "<html>Bad Gateway</html>", HandleFirst: true},
		"521":              {Status: 521, Header: http.Header{"Cf-Ray": {"8f2"}}, Body: "error code: 521"},
		"302":              {Status: 302, Header: http.Header{"Location": {"https://login.example"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := clixnowtest.NewServer()
			defer server.Close()
			addLeads(server)
			judge := newJudge(t, contract)
			client := judge.client(t, server)
			for range 3 { // each time between other requests
				server.Inject(clixnowtest.Fault{Times: 2}, fault, clixnowtest.Fault{Times: 3}, fault, fault, fault)
				_ = use(t.Context(), client, server) // other tests check the result
			}
			fault.Times = many
			server.Inject(fault)
			_ = use(t.Context(), client, server)
			judge.passed(t)
		})
	}
}
