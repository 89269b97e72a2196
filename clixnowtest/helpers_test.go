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

	// allison is the example of the API reference, with a valid email.
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

// jsonValue is the type of the values in Lead.Extra.
type jsonValue = json.RawMessage

// clock is a clock that stands still until the next call of set.
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

// date parses a date such as 2021-08-08T12:00:00.123Z.
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

// response is a response whose body has been read.
type response struct {
	status int
	header http.Header
	body   string
}

// send sends a request with net/http. header replaces header fields of the
// request. A nil value removes the field.
func send(t *testing.T, server *clixnowtest.Server, method, target, body string, header http.Header) response {
	t.Helper()
	r, err := trySend(t, server, method, target, body, header)
	require.NoError(t, err)
	return r
}

// trySend does what send does, and returns the error of the request.
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
		// The body is the connection itself and has no end.
		return response{resp.StatusCode, resp.Header, ""}, nil
	}
	data, err := io.ReadAll(resp.Body)
	return response{resp.StatusCode, resp.Header, string(data)}, err
}

// do sends a request and returns the status and the body of the response.
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

// searchIDs returns the ids in the result of a search, in order.
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

// allisonWith returns the example with one text replaced.
func allisonWith(text, replacement string) string {
	if !strings.Contains(allison, text) {
		panic("the example does not contain " + text)
	}
	return strings.Replace(allison, text, replacement, 1)
}

// brunoBody returns the body of a second lead, which is not a duplicate.
func brunoBody() string {
	return strings.NewReplacer("allison.brown", "bruno", "+41123456789", "+41987654321").Replace(allison)
}
