package clixnowtest_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/clixnow/clixnow-go/clixnowtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	leadsPath  = "/api/system/v1/leads"
	searchPath = "/api/system/v1/leads/search"

	// The example of the API reference, with an email that is one.
	allison = `{
		"firstName":"Allison",
		"lastName":"Brown",
		"email":"allison.brown@example.com",
		"phone":"+41123456789",
		"countryCode":"CH",
		"referralUrl":"https://website.com",
		"subcampaign":"subcampaign",
		"keyword":"test",
		"placement":"landing_page",
		"clickId":"20fn4ngo56n3snf74",
		"ipAddress":"1.1.1.1",
		"languageCode":"EN",
		"password":"Password123!",
		"sub2":"sub2",
		"deviceType":"Mobile",
		"deviceName":"iPhone16",
		"osName":"iOS",
		"browser":"Safari Mobile",
		"carrier":"Mobile"
	}`
)

// jsonValue is what Lead.Extra holds.
type jsonValue = json.RawMessage

// clock stands still until it is set.
type clock struct {
	mu   sync.Mutex
	time time.Time
}

func newClock(text string) *clock { return &clock{time: date(text)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.time
}

func (c *clock) set(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.time = date(text)
}

// date reads 2021-08-08T12:00:00.123Z.
func date(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t.UTC()
}

func start(t *testing.T, opts ...clixnowtest.Option) *clixnowtest.Server {
	t.Helper()
	server := clixnowtest.NewServer(opts...)
	t.Cleanup(server.Close)
	return server
}

// response is an answer that was read whole.
type response struct {
	status int
	header http.Header
	body   string
}

// send makes one request by plain net/http, as a client of the API would;
// header replaces its headers, nil values remove them.
func send(t *testing.T, server *clixnowtest.Server, method, target, body string, header http.Header) response {
	t.Helper()
	r, err := trySend(t, server, method, target, body, header)
	require.NoError(t, err)
	return r
}

func trySend(t *testing.T, server *clixnowtest.Server, method, target, body string, header http.Header) (response,
	error,
) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, server.URL+target, strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Authorization", "ApiToken "+server.Token)
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/json")
	}
	maps.Copy(request.Header, header)
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(request)
	if err != nil {
		return response{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return response{resp.StatusCode, resp.Header, ""}, nil // its body is the connection and has no end
	}
	data, err := io.ReadAll(resp.Body)
	return response{resp.StatusCode, resp.Header, string(data)}, err
}

// do sends a request and returns the status and the body of its answer.
func do(t *testing.T, client *http.Client, request *http.Request) (status int, body string) {
	t.Helper()
	resp, err := client.Do(request)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(data)
}

func create(t *testing.T, server *clixnowtest.Server, body string) response {
	t.Helper()
	return send(t, server, http.MethodPost, leadsPath, body, nil)
}

func search(t *testing.T, server *clixnowtest.Server, query string) response {
	t.Helper()
	return send(t, server, http.MethodGet, searchPath+"?"+query, "", nil)
}

// searchIDs returns the ids that a search answers with, in order.
func searchIDs(t *testing.T, server *clixnowtest.Server, query string) []int64 {
	t.Helper()
	r := search(t, server, query)
	require.Equal(t, http.StatusOK, r.status, r.body)
	return ids(t, r.body)
}

func ids(t *testing.T, body string) []int64 {
	t.Helper()
	var leads []struct {
		ID int64 `json:"id"`
	}
	require.NoError(t, json.Unmarshal([]byte(body), &leads))
	list := make([]int64, len(leads))
	for i, lead := range leads {
		list[i] = lead.ID
	}
	return list
}

// allisonWith is the example with one line of it replaced.
func allisonWith(line, replacement string) string {
	if !strings.Contains(allison, line) {
		panic("the example has no " + line)
	}
	return strings.Replace(allison, line, replacement, 1)
}
