package clixnowtest_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// These are the two commands and the body that the API reference prints.
const (
	vendorsCreate = `curl --location --globoff 'https://integration.{brand name}.clixnow.com/api/system/v1/leads' \
--header 'Content-Type: application/json' \
--header 'Authorization: ApiToken {unique API Token provided to the Affiliate}' \
--data '{BODY_DATA}'`
	vendorsBody = `{
"firstName":"Allison",
"lastName":"Brown",
"email":"[email protected]",
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
	vendorsSearch = `curl --location --globoff ` +
		`'https://integration.{brand name}.clixnow.com/api/system/v1/leads/search` +
		`?createdOnFrom=2021-08-08T00%3A00%3A00&createdOnTo=2021-08-08T23%3A59%3A59'\
--header 'Authorization: ApiToken {YourApiToken}'`
)

func TestVendorsCommands(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"sh", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(program, " is not installed")
		}
	}
	clock := newClock("2021-08-08T23:59:59Z")
	server := start(t, clixnowtest.WithClock(clock.now))
	vendors := strings.NewReplacer(
		"https://integration.{brand name}.clixnow.com", server.URL,
		"{unique API Token provided to the Affiliate}", server.Token,
		"{YourApiToken}", server.Token,
		"{BODY_DATA}", strings.Replace(vendorsBody, "[email protected]", "allison.brown@example.com", 1),
		// The second command lacks a space here.
		`'\`, `' \`,
	)
	curl := func(command string) string {
		shell := exec.CommandContext(t.Context(), "sh", "-c", vendors.Replace(command))
		shell.Env = append(os.Environ(), "no_proxy=*")
		out, err := shell.Output()
		require.NoError(t, err)
		return string(out)
	}
	assert.Regexp(t,
		`^\{"leadId":123456,"redirectUrl":"http://127[^"]+","subCampaign":"subcampaign","placement":"landing_page",`+
			`"keyword":"test","sub2":"sub2","clickId":"20fn4ngo56n3snf74","crmId":"7123456"\}$`, curl(vendorsCreate))
	assert.Regexp(t, `^\[\{"id":123456,"email":"allison.brown@example.com","status":"New",`+
		`.*"createdOn":"2021-08-08T23:59:59.000Z".*\}\]$`, curl(vendorsSearch))

	clock.set("2021-08-09T00:00:00Z")
	require.NoError(t, server.DeleteLead(123456))
	curl(vendorsCreate)
	assert.Equal(t, "[]", curl(vendorsSearch))
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	const post, get = http.MethodPost, http.MethodGet
	header := func(name string, values ...string) http.Header { return http.Header{name: values} }
	tests := []struct {
		name           string
		method, target string
		header         http.Header
		status         int
	}{
		{"root path", get, "/", nil, 404},
		{"other path", get, leadsPath + "/1", nil, 404},
		{"other path, no token", get, searchPath + "/", header("Authorization"), 404},
		{"GET of leads", get, leadsPath, nil, 405},
		{"POST to search", post, searchPath, nil, 405},
		{"DELETE", http.MethodDelete, searchPath, nil, 405},
		{"create, no token", post, leadsPath, header("Authorization"), 401},
		{"search, no token", get, searchPath, header("Authorization"), 401},
		{"wrong token", get, searchPath, header("Authorization", "ApiToken wrong"), 401},
		{"start of the token", get, searchPath, header("Authorization", "ApiToken CfDJ8"), 401},
		{"longer token", get, searchPath, header("Authorization", "ApiToken CfDJ8-clixnowtest-token1"), 401},
		{"other scheme", get, searchPath, header("Authorization", "Bearer CfDJ8-clixnowtest-token"), 401},
		{
			"token is checked before media types", post, leadsPath,
			http.Header{"Authorization": nil, "Content-Type": nil},
			401,
		},
		{"no content type", post, leadsPath, header("Content-Type"), 415},
		{"form", post, leadsPath, header("Content-Type", "application/x-www-form-urlencoded"), 415},
		{"text", post, leadsPath, header("Content-Type", "text/plain"), 415},
		{"charset", post, leadsPath, header("Content-Type", "application/json; charset=utf-8"), 400},
		{"other case", post, leadsPath, header("Content-Type", "Application/JSON"), 400},
		{"search with another content type", get, searchPath, header("Content-Type", "text/plain"), 200},
		{"Accept JSON", get, searchPath, header("Accept", "application/json"), 200},
		{"Accept anything", get, searchPath, header("Accept", "*/*"), 200},
		{"Accept applications", get, searchPath, header("Accept", "application/*;q=0.1"), 200},
		{"Accept HTML or anything", get, searchPath, header("Accept", "text/html, */*;q=0.8"), 200},
		{"Accept in two headers", get, searchPath, header("Accept", "text/html", "application/json; q=0.5"), 200},
		{"empty Accept", get, searchPath, header("Accept", ""), 200},
		{"Accept HTML", get, searchPath, header("Accept", "text/html"), 415},
		{"Accept HTML, create", post, leadsPath, header("Accept", "text/html, image/*"), 415},
		{"Accept no JSON", get, searchPath, header("Accept", "*/*, application/json;q=0"), 415},
		{"Accept no applications", get, searchPath, header("Accept", "application/*;q=0.0, */*"), 415},
		{
			"Accept JSON but no other applications", get, searchPath,
			header("Accept", "application/json, application/*;q=0"),
			200,
		},
		{"Accept nonsense", get, searchPath, header("Accept", "json"), 415},
	}
	server := start(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := send(t, server, test.method, test.target, "{}", test.header)
			assert.Equal(t, test.status, r.status, r.body)
			assert.Equal(t, "application/json; charset=utf-8", r.header.Get("Content-Type"))
			if test.status != http.StatusOK {
				message, _ := problem(t, r.body)
				assert.NotEmpty(t, message)
			}
			if test.status == http.StatusMethodNotAllowed {
				want := map[string]string{leadsPath: post, searchPath: get}[test.target]
				assert.Equal(t, want, r.header.Get("Allow"))
			}
			assert.NotContains(t, r.body, server.Token)
		})
	}
}

func TestBodyTooLarge(t *testing.T) {
	t.Parallel()
	server := start(t)
	r := create(t, server, strings.Repeat(" ", 1<<20-len(allison))+allison)
	assert.Equal(t, http.StatusOK, r.status)
	r = create(t, server, strings.Repeat(" ", 1<<20)+allison)
	assert.Equal(t, http.StatusRequestEntityTooLarge, r.status)
	assert.Len(t, server.Leads(), 1)
}

func TestOptions(t *testing.T) {
	t.Parallel()
	server := start(t, clixnowtest.WithToken("other"), clixnowtest.WithBrand("globex"))
	assert.Equal(t, "other", server.Token)
	assert.Equal(t, "globex", server.Brand)
	assert.Equal(t, http.StatusOK, search(t, server, "").status)
	assert.Equal(t, http.StatusUnauthorized, send(t, server, http.MethodGet, searchPath, "",
		http.Header{"Authorization": {"ApiToken CfDJ8-clixnowtest-token"}}).status)
	assert.Panics(t, func() { clixnowtest.WithPageLimit(9) })
}

func TestSetToken(t *testing.T) {
	t.Parallel()
	server := start(t)
	old := server.Client()
	t.Cleanup(old.CloseIdleConnections)
	server.AddLeads(clixnow.Lead{ID: 7})
	_, err := old.GetLead(t.Context(), 7)
	require.NoError(t, err)

	server.SetToken("new-token")
	assert.Equal(t, "new-token", server.Token)
	_, err = old.GetLead(t.Context(), 7)
	require.ErrorIs(t, err, clixnow.ErrUnauthorized)
	current := server.Client()
	t.Cleanup(current.CloseIdleConnections)
	_, err = current.GetLead(t.Context(), 7)
	require.NoError(t, err)
}

func TestRequests(t *testing.T) {
	t.Parallel()
	server := start(t)
	assert.Empty(t, server.Requests())
	server.Inject(clixnowtest.Fault{}, clixnowtest.Fault{Drop: clixnowtest.DropAfterHandling})
	search(t, server, "count=5&Skip=2")
	_, err := trySend(t, server, http.MethodPost, leadsPath, allison, http.Header{"X-Test": {"1"}})
	require.Error(t, err)
	send(t, server, http.MethodPost, "/elsewhere", "body", nil)

	requests := server.Requests()
	require.Len(t, requests, 3)
	assert.Equal(t, "GET", requests[0].Method)
	assert.Equal(t, searchPath, requests[0].Path)
	assert.Equal(t, map[string][]string{"count": {"5"}, "Skip": {"2"}}, map[string][]string(requests[0].Query))
	assert.Equal(t, "ApiToken "+server.Token, requests[0].Header.Get("Authorization"))
	assert.Empty(t, requests[0].Body)
	assert.Equal(t, 200, requests[0].Status)

	assert.Equal(t, "POST", requests[1].Method)
	assert.Equal(t, leadsPath, requests[1].Path)
	assert.Equal(t, "1", requests[1].Header.Get("X-Test"))
	assert.Equal(t, allison, string(requests[1].Body), "the body is recorded if the connection is cut")
	assert.Zero(t, requests[1].Status)

	assert.Equal(t, "body", string(requests[2].Body))
	assert.Equal(t, 404, requests[2].Status)
}

func TestClient(t *testing.T) {
	t.Parallel()
	server := start(t)
	client := server.Client(clixnow.WithUserAgent("test/1"))
	t.Cleanup(client.CloseIdleConnections)
	// The client retries after these within milliseconds.
	server.Inject(clixnowtest.Fault{Times: 2, Status: http.StatusBadGateway})
	server.AddLeads(clixnow.Lead{ID: 7, Email: "a@example.com"})
	lead, err := client.GetLead(t.Context(), 7)
	require.NoError(t, err)
	assert.Equal(t, "a@example.com", lead.Email)
	requests := server.Requests()
	require.Len(t, requests, 3)
	assert.Contains(t, requests[2].Header.Get("User-Agent"), "test/1 ")

	assert.Panics(t, func() { server.Client(clixnow.WithUserAgent("")) })
	assert.Panics(t, func() { start(t, clixnowtest.WithBrand("not a label")).Client() })
	assert.Panics(t, func() { clixnowtest.NewHandler().Client() })
}

// TestClientLooks loses a create before it arrives. The client looks for the
// lead and sends it again.
func TestClientLooks(t *testing.T) {
	t.Parallel()
	lost := clixnowtest.Fault{Method: "POST", Drop: clixnowtest.DropBeforeHandling}
	// The default looks of package clixnow take longer than this.
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()

	server := start(t)
	client := server.Client()
	t.Cleanup(client.CloseIdleConnections)
	server.Inject(lost)
	lead, err := client.EnsureLead(ctx, allisonBrown())
	require.NoError(t, err)
	assert.False(t, lead.Recovered)

	server = start(t)
	client = server.Client(clixnow.WithLooks(time.Hour))
	t.Cleanup(client.CloseIdleConnections)
	server.Inject(lost)
	_, err = client.EnsureLead(ctx, allisonBrown())
	require.ErrorIs(t, err, clixnow.ErrOutcomeUnknown, "the option of the caller wins")
	assert.Len(t, server.Requests(), 1)
}

func TestHandler(t *testing.T) {
	t.Parallel()
	handler := clixnowtest.NewHandler()
	assert.Empty(t, handler.URL)
	mux := http.NewServeMux()
	mux.Handle("/clixnow/", http.StripPrefix("/clixnow", handler))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	client, err := clixnow.NewClient(handler.Brand, handler.Token, clixnow.WithBaseURL(server.URL+"/clixnow"))
	require.NoError(t, err)
	t.Cleanup(client.CloseIdleConnections)
	handler.AddLeads(clixnow.Lead{ID: 7})
	_, err = client.GetLead(t.Context(), 7)
	require.NoError(t, err)
	handler.Close()
	handler.Close()
}

// TestCloseWhileClientsConnect hangs for a minute if Close misses a connection.
func TestCloseWhileClientsConnect(t *testing.T) {
	t.Parallel()
	// If the listener closes in the middle of a handshake, only a keep-alive
	// tells the client. Without this setting it is sent after 15 seconds.
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: time.Second}}
	for range 50 {
		server := clixnowtest.NewServer()
		var clients sync.WaitGroup
		for range 4 {
			clients.Go(func() {
				conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(server.URL, "http://"))
				if err != nil {
					// The server closed first.
					return
				}
				// This waits until the server closes the connection.
				_, _ = conn.Read(make([]byte, 1))
				_ = conn.Close()
			})
		}
		server.Close()
		clients.Wait()
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	server := clixnowtest.NewServer()
	client := server.Client(clixnow.WithRetry(clixnow.RetryPolicy{MaxAttempts: 1}))
	defer client.CloseIdleConnections()
	// The connection of this request stays open.
	_, err := client.GetLead(t.Context(), 7)
	require.ErrorIs(t, err, clixnow.ErrLeadNotFound)
	server.Close()
	server.Close()
	client.CloseIdleConnections()
	_, err = client.GetLead(t.Context(), 7)
	require.ErrorIs(t, err, clixnow.ErrNotSent)
}

func TestRequestLimit(t *testing.T) {
	t.Parallel()
	server := start(t, clixnowtest.WithRequestLimit(2))
	for _, query := range []string{"count=1", "count=2", "count=3"} {
		search(t, server, query)
	}
	requests := server.Requests()
	require.Len(t, requests, 2)
	assert.Equal(t, "2", requests[0].Query.Get("count"))
	assert.Equal(t, 200, requests[0].Status)
	assert.Equal(t, "3", requests[1].Query.Get("count"))
	assert.Equal(t, 200, requests[1].Status)
	assert.Panics(t, func() { clixnowtest.WithRequestLimit(0) })
}

// TestHandlerTakesClientRequests passes a client's request to the handler, as a
// RoundTripper in a test may do. Such a request has no body.
func TestHandlerTakesClientRequests(t *testing.T) {
	t.Parallel()
	server := clixnowtest.NewHandler()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://acme.test"+searchPath, nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "ApiToken "+server.Token)
	recorder := httptest.NewRecorder()
	server.ServeHTTP(recorder, r)
	assert.Equal(t, http.StatusOK, recorder.Code)
	assert.JSONEq(t, `[]`, recorder.Body.String())
	assert.PanicsWithValue(t, "clixnowtest: nil option", func() { clixnowtest.NewHandler(nil) })
}
