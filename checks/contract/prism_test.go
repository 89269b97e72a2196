package contract_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/checks/npmtest"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// TestPrism lets a second implementation of OpenAPI, Stoplight Prism, act as a
// server made from the description, and as a proxy between the client and the
// fake server.
func TestPrism(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("Prism is downloaded at first; not with -short")
	}
	cli := npmtest.Install(t, "prism", "@stoplight/prism-cli/dist/index.js")
	t.Run("mock", func(t *testing.T) {
		t.Parallel()
		mock := startPrism(t, cli, "mock", "openapi.yaml", "--errors")
		t.Run("examples", func(t *testing.T) { t.Parallel(); mockExamples(t, mock) })
		t.Run("errors", func(t *testing.T) { t.Parallel(); mockErrors(t, mock) })
		t.Run("every method", func(t *testing.T) { t.Parallel(); mockEveryMethod(t, mock) })
		t.Run("made-up answers", func(t *testing.T) { t.Parallel(); mockDynamic(t, mock) })
	})
	t.Run("proxy", func(t *testing.T) {
		t.Parallel()
		servers := map[string]*clixnowtest.Server{ // they share one Prism, because it takes seconds to start
			"a list": clixnowtest.NewHandler(clixnowtest.WithToken("CfDJ8-list"), clixnowtest.WithPageLimit(10)),
			"an envelope": clixnowtest.NewHandler(clixnowtest.WithToken("CfDJ8-envelope"),
				clixnowtest.WithEnvelope("items")),
			"hidden fields": clixnowtest.NewHandler(clixnowtest.WithToken("CfDJ8-hidden"),
				clixnowtest.WithHiddenFields("crmId", "ftdDate")),
			"broken": clixnowtest.NewHandler(clixnowtest.WithToken("CfDJ8-broken")),
		}
		upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for _, server := range servers {
				if r.Header.Get("Authorization") == "ApiToken "+server.Token {
					server.ServeHTTP(w, r)
				}
			}
		}))
		t.Cleanup(upstream.Close)
		proxy := startPrism(t, cli, "proxy", "openapi.yaml", upstream.URL, "--errors")
		for name, server := range servers {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				if name == "broken" {
					proxyNotices(t, proxy, server)
				} else {
					proxyEveryMethod(t, proxy, server)
				}
			})
		}
	})
}

const mockToken = "CfDJ8-token" // Prism accepts any token

// preferring asks Prism for a certain response, and fails the test if Prism
// finds a fault.
type preferring struct {
	next   http.RoundTripper
	prefer string
	// seed selects a generated response. 0 means an example.
	seed int

	mu         sync.Mutex
	violations []string
	last       *exchange
}

func (p *preferring) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	if p.prefer != "" {
		request.Header.Set("Prefer", p.prefer)
	}
	if p.seed != 0 {
		query := request.URL.Query()
		query.Set("__seed", strconv.Itoa(p.seed))
		query.Set("__dynamic", "true")
		request.URL.RawQuery = query.Encode()
	}
	e, answer, err := record(p.next, request)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = e
	if err == nil {
		p.violations = append(p.violations, answer.Header.Values("Sl-Violations")...)
	}
	return answer, err
}

// prefer returns a client of Prism.
func (j *judge) prefer(t *testing.T, baseURL, token, prefer string) *clixnow.Client {
	t.Helper()
	transport := &preferring{next: j.next, prefer: prefer}
	prism := &judge{next: transport, contract: j.contract, seen: j.seen}
	t.Cleanup(func() {
		assert.Empty(t, transport.violations, "what Prism says")
		assert.Empty(t, prism.faults)
		assert.NotZero(t, prism.requests)
	})
	return prism.clientAt(t, baseURL, token)
}

func mockExamples(t *testing.T, mock string) {
	t.Helper()
	judge := newJudge(t, describeClosed(t))
	created, err := judge.prefer(t, mock, mockToken, "").CreateLead(t.Context(), fullLead(1))
	require.NoError(t, err)
	assert.Equal(t, &clixnow.CreateLeadResponse{
		LeadID: 123456, RedirectURL: "https:…", SubCampaign: "subcampaign", Placement: "placement",
		Keyword: "keyword", Sub2: "sub2",
		ClickID: "clickId", CRMID: "crmId",
	}, created)

	date := time.Date(2022, 12, 19, 11, 1, 58, 302e6, time.UTC)
	for example, want := range map[string][]clixnow.Lead{
		"array": {{
			ID: 123456, Email: "allison.brown@example.com", Status: "New", CRMID: "987654", BrandID: 17,
			BrandName: "Example Brand",
			CreatedOn: date, UpdatedOn: date, FTDDate: time.Date(2022, 12, 20, 9, 30, 0, 0, time.UTC),
			ClickID: "20fn4ngo56n3snf74", Sub2: "sub2", SubCampaign: "subcampaign", Keyword: "test",
			Placement:  "landing_page",
			ClientType: clixnow.ClientTypeDepositor,
		}},
		"envelope": {{
			ID: 123456, Email: "allison.brown@example.com", Status: "New", CreatedOn: date, UpdatedOn: date,
			ClientType: clixnow.ClientTypeClient,
		}},
		"none": {},
	} {
		page,
			err := judge.prefer(t, mock, mockToken, "example="+example).SearchLeadsPage(t.Context(),
			clixnow.SearchLeadsRequest{})
		require.NoError(t, err)
		assert.Equal(t, want, page.Leads)
	}
}

func mockErrors(t *testing.T, mock string) {
	t.Helper()
	judge := newJudge(t, describe(t))
	for _, operation := range operations(t, judge.contract) {
		for key := range operation.Responses.Map() {
			for _, status := range concrete(t, key) {
				client := judge.prefer(t, mock, mockToken, fmt.Sprint("code=", status))
				err := call(t.Context(), client, operation)
				if status < 300 {
					require.NoError(t, err)
					continue
				}
				var answer *clixnow.APIError
				require.ErrorAs(t, err, &answer, "%s, %d", operation.OperationID, status)
				assert.Equal(t, status, answer.StatusCode)
				if operation.OperationID == createLead {
					assert.ErrorIs(t, err, class(status))
				}
			}
		}
	}
}

func mockEveryMethod(t *testing.T, mock string) {
	t.Helper()
	client := newJudge(t, describeClosed(t)).prefer(t, mock, mockToken, "")
	require.NoError(t, use(t.Context(), client, clixnowtest.NewHandler()))
}

// mockDynamic reads responses that Prism generates. Prism does not follow all
// of the description. Responses that contradict the schema, or what the
// description says in words, are left out.
func mockDynamic(t *testing.T, mock string) {
	t.Helper()
	contract := describe(t)
	judge := newJudge(t, contract)
	const seeds, fewest = 60, 15
	used := 0
	leftOut := make(map[string]int)
	for seed := 1; seed <= seeds; seed++ {
		transport := &preferring{next: judge.next, seed: seed}
		client := clientOf(t, mock, mockToken, transport)
		created, err := client.CreateLead(t.Context(), fullLead(1))
		require.NoError(t, err, "seed %d: %s", seed, transport.last.Answer)
		createdMembers().same(t, decoded(t, transport.last.Answer), created, created.Extra)
		require.Empty(t, transport.violations)

		page, err := client.SearchLeadsPage(t.Context(), clixnow.SearchLeadsRequest{})
		answer := decoded(t, transport.last.Answer)
		if why := contradicts(t, contract, answer); why != "" {
			leftOut[why]++
			continue
		}
		require.Empty(t, transport.violations)
		require.NoError(t, err, "seed %d: %s", seed, transport.last.Answer)
		want := unwrapped(t, answer)
		require.Len(t, page.Leads, len(want))
		for i := range want {
			leadMembers().same(t, want[i], &page.Leads[i], page.Leads[i].Extra)
		}
		used++
	}
	t.Logf("%d made-up answers to creates and %d to searches were read; left out of the latter: %v", seeds, used,
		leftOut)
	assert.GreaterOrEqual(t, used, fewest)
}

// contradicts reports where a response to a search contradicts the description.
func contradicts(t *testing.T, contract *description, answer any) string {
	t.Helper()
	lists := listsIn(answer)
	switch {
	case !allows(contract.doc.Components.Schemas["SearchResult"].Value, answer):
		return "not of the schema"
	case len(lists) > 1:
		return "more than one list"
	}
	for _, lead := range slices.Concat(lists...) {
		for _, name := range []string{"createdOn", "updatedOn", "ftdDate"} {
			date, _, _ := strings.Cut(text(lead.(map[string]any)[name]), "T")
			if _, err := time.Parse(time.DateOnly, date); date != "" && err != nil || strings.HasPrefix(date, "0000") {
				return "a date of no calendar"
			}
		}
	}
	return ""
}

func clientOf(t *testing.T, baseURL, token string, transport http.RoundTripper,
	opts ...clixnow.Option,
) *clixnow.Client {
	t.Helper()
	client, err := clixnow.NewClient("acme", token, append(opts, clixnow.WithBaseURL(baseURL),
		clixnow.WithHTTPClient(&http.Client{Transport: transport}),
		clixnow.WithRetry(clixnow.RetryPolicy{MaxAttempts: 1}))...)
	require.NoError(t, err)
	return client
}

func proxyEveryMethod(t *testing.T, proxy string, server *clixnowtest.Server) {
	t.Helper()
	addLeads(server)
	client := newJudge(t, describeClosed(t)).prefer(t, proxy, server.Token, "")
	require.NoError(t, use(t.Context(), client, server))

	_, err := client.CreateLead(t.Context(), fullLead(1))
	require.ErrorIs(t, err, clixnow.ErrDuplicateLead)
	server.Inject( // each with a body: the description cannot describe an empty one
		clixnowtest.Fault{Status: 403, Body: `{"message":"Forbidden"}`},
		clixnowtest.Fault{Status: 400, Body: `{"message":"Registration is not allowed for country KP"}`},
		clixnowtest.Fault{Status: 502, Body: "<html>Bad Gateway</html>"})
	for _, want := range []error{clixnow.ErrForbidden, clixnow.ErrCountryNotAllowed, clixnow.ErrServer} {
		_, err := client.CreateLead(t.Context(), fullLead(99))
		require.ErrorIs(t, err, want)
	}
}

// proxyNotices checks that Prism reports faults.
func proxyNotices(t *testing.T, proxy string, server *clixnowtest.Server) {
	t.Helper()
	server.Inject(clixnowtest.Fault{Status: 200, Body: `[{"identifier":123456}]`})
	transport := &preferring{next: newJudge(t, describe(t)).next}
	client := clientOf(t, proxy, server.Token, transport)
	_, err := client.SearchLeadsPage(t.Context(), clixnow.SearchLeadsRequest{})
	require.ErrorIs(t, err, clixnow.ErrServer)
	assert.Contains(t, string(transport.last.Answer), "must have required property 'id'")

	client = clientOf(t, proxy, server.Token, transport, clixnow.WithoutValidation())
	_, err = client.SearchLeadsPage(t.Context(), clixnow.SearchLeadsRequest{OrderBy: "id"})
	require.ErrorContains(t, err, "422")
}

// startPrism starts Prism on a free port and returns its URL. Prism ends with
// the test.
func startPrism(t *testing.T, cli string, args ...string) (url string) {
	t.Helper()
	args = slices.Concat([]string{"--require", "./prism/end-with-parent.js", cli}, args,
		[]string{"--port", "0", "--host", "127.0.0.1"})
	command := exec.CommandContext(t.Context(), "node", args...)
	_, err := command.StdinPipe() // it stays open as long as this process lives
	require.NoError(t, err)
	output, err := command.StdoutPipe()
	require.NoError(t, err)
	command.Stderr = command.Stdout
	require.NoError(t, command.Start())
	listening := make(chan string, 1)
	var log bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		found := regexp.MustCompile(`listening on (http://\S+)`)
		for lines := bufio.NewScanner(output); lines.Scan(); {
			log.WriteString(lines.Text() + "\n")
			if match := found.FindStringSubmatch(lines.Text()); match != nil {
				listening <- match[1]
			}
		}
	}()
	t.Cleanup(func() { // the end of t.Context has killed it
		<-done
		_ = command.Wait() // the error says that it was killed
		if t.Failed() {
			const enough = 4000 // bytes from the end of the output
			t.Logf("Prism: %s", log.Bytes()[max(0, log.Len()-enough):])
		}
	})
	const patience = time.Minute
	select {
	case url = <-listening:
	case <-done:
		require.FailNow(t, "Prism has ended", log.String())
	case <-time.After(patience):
		require.FailNow(t, "Prism does not listen")
	}
	return url
}
