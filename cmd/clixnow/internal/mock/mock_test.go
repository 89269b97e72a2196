package mock_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app/apptest"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/mock"
)

const (
	leadsPath  = "/api/system/v1/leads"
	searchPath = "/api/system/v1/leads/search"
	allison    = `{"firstName":"Allison","lastName":"Brown","email":"allison.brown@example.com",` +
		`"phone":"+41123456789","password":"Password123!","countryCode":"CH","clickId":"20fn4ngo56n3snf74"}`
	authorization = "ApiToken CfDJ8-clixnowtest-token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run runs "clixnow mock" in this process.
func run(ctx context.Context, args []string, out, errs io.Writer) error {
	a := &app.App{Out: out, Err: errs, Getenv: func(string) string { return "" }}
	defer a.Close()
	root := app.Root(a, mock.Command(a))
	root.SetArgs(append([]string{"mock"}, args...))
	return root.ExecuteContext(ctx)
}

// program is the mock running in this process.
type program struct {
	apptest.Output

	url string
	// stop stops the program and returns the result of run.
	stop func() error
}

func start(t *testing.T, args ...string) *program {
	t.Helper()
	p := new(program)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- run(ctx, append([]string{"--addr", "127.0.0.1:0"}, args...), p, p) }()
	p.stop = sync.OnceValue(func() error {
		cancel()
		return <-result
	})
	t.Cleanup(func() { assert.NoError(t, p.stop()) })
	p.url = p.WaitFor(t, `http://127\.0\.0\.1:\d+`)
	return p
}

// send sends one request. It adds the right token, unless header has another
// Authorization. The status is 0 if the connection was cut.
func (p *program) send(t *testing.T, method, target, body string, header ...string) (status int, reply string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, p.url+target, strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Authorization", authorization)
	request.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
		if header[i+1] == "" {
			request.Header.Del(header[i])
		}
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, ""
	}
	defer response.Body.Close()
	data, _ := io.ReadAll(response.Body) // it fails if the connection was cut
	if location := response.Header.Get("Location"); location != "" {
		return response.StatusCode, location
	}
	return response.StatusCode, string(data)
}

func (p *program) create(t *testing.T) int {
	t.Helper()
	status, _ := p.send(t, "POST", leadsPath, allison)
	return status
}

func (p *program) search(t *testing.T, query string) string {
	t.Helper()
	status, reply := p.send(t, "GET", searchPath+"?"+query, "")
	require.Equal(t, 200, status, reply)
	return reply
}

// submit sends a form of the page.
func (p *program) submit(t *testing.T, target, form string) (status int, reply string) {
	t.Helper()
	return p.send(t, "POST", target, form, "Content-Type", "application/x-www-form-urlencoded", "Origin", p.url)
}

// addNoon adds lead 5, which was created at noon.
func (p *program) addNoon(t *testing.T) {
	t.Helper()
	status, reply := p.send(t, "POST", "/_mock/leads", `[{"id":5,"createdOn":"2026-03-04T12:00:00.000Z"}]`)
	require.Equal(t, 200, status, reply)
}

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "leads.json")
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

func TestPrintedCommands(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	p := start(t)
	commands := regexp.MustCompile(`(?ms)^curl .*?\n\n`).FindAllString(p.String(), -1)
	require.Len(t, commands, 2)
	paste := func(command string) string {
		shell := exec.CommandContext(t.Context(), "sh", "-c", command)
		shell.Env = append(os.Environ(), "no_proxy=*")
		out, err := shell.Output()
		require.NoError(t, err)
		return string(out)
	}
	created := paste(commands[0])
	require.Contains(t, created, `{"leadId":123456,"redirectUrl":"`+p.url+`/autologin?token=`)
	link := regexp.MustCompile(`/autologin[^"]*`).FindString(created)
	status, page := p.send(t, "GET", link, "", "Authorization", "")
	assert.Equal(t, 200, status)
	assert.Contains(t, page, "You are logged in as lead 123456.")
	assert.Contains(t, p.String(), "GET  /autologin?token=***")
	assert.Contains(t, paste(commands[0]), "Duplicate lead")
	assert.Contains(t, paste(commands[1]), `[{"id":123456,"email":"allison.brown@example.com","status":"New",`)
	assert.Regexp(t, `(?m)^\d\d:\d\d:\d\d  200 +\d+\.\d\d ms  POST /api/system/v1/leads  lead 123456$`, p.String())
	assert.Regexp(t,
		`(?m)  400 .* POST /api/system/v1/leads  Duplicate lead: already registered\. Email is already registered\.`,
		p.String())
	assert.Regexp(t, `(?m)  200 .* GET  /api/system/v1/leads/search\?createdOnFrom=\d{4}-\d\d-\d\dT00:00:00$`,
		p.String())
}

func TestFlags(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, flag, value string
		check             func(t *testing.T, p *program)
	}{
		{"token", "--token-file", file(t, "another\n"), func(t *testing.T, p *program) {
			status, _ := p.send(t, "GET", searchPath, "")
			assert.Equal(t, 401, status)
			status, _ = p.send(t, "GET", searchPath, "", "Authorization", "ApiToken another")
			assert.Equal(t, 200, status)
			assert.Contains(t, p.String(), "token        that of ")
			assert.NotContains(t, p.String(), "another\n", "a token is never printed")
		}},
		{"brand", "--brand", "globex", func(t *testing.T, p *program) {
			assert.Contains(t, p.String(), "with brand globex")
		}},
		{
			"seed", "--seed", file(t, `[{"id":7,"email":"a@example.com","status":"Call back"}]`),
			func(t *testing.T, p *program) {
				assert.Contains(t, p.search(t, ""), `[{"id":7,"email":"a@example.com","status":"Call back",`)
			},
		},
		{"envelope", "--envelope", "items", func(t *testing.T, p *program) {
			assert.JSONEq(t, `{"items":[]}`, p.search(t, ""))
		}},
		{"page limit", "--page-limit", "10", func(t *testing.T, p *program) {
			status, _ := p.send(t, "POST", "/_mock/leads", strings.Repeat(`{"email":"a@example.com"}`+"\n", 11))
			require.Equal(t, 200, status)
			var leads []map[string]any
			require.NoError(t, json.Unmarshal([]byte(p.search(t, "count=1000")), &leads))
			assert.Len(t, leads, 10)
		}},
		{"search delay", "--search-delay", "1h", func(t *testing.T, p *program) {
			require.Equal(t, 200, p.create(t))
			assert.JSONEq(t, `[]`, p.search(t, ""))
		}},
		{"no duplicate check", "--no-duplicate-check", "", func(t *testing.T, p *program) {
			assert.Equal(t, 200, p.create(t))
			assert.Equal(t, 200, p.create(t))
		}},
		{"hide", "--hide", "email,clickId", func(t *testing.T, p *program) {
			require.Equal(t, 200, p.create(t))
			assert.NotContains(t, p.search(t, ""), "email")
			assert.NotContains(t, p.search(t, ""), "clickId")
		}},
		{"countries", "--countries", "at,DE", func(t *testing.T, p *program) {
			status, reply := p.send(t, "POST", leadsPath, allison)
			assert.Equal(t, 400, status)
			assert.Contains(t, reply, "Registration is not allowed for country CH")
		}},
		{"capacity", "--capacity", "0", func(t *testing.T, p *program) {
			status, reply := p.send(t, "POST", leadsPath, allison)
			assert.Equal(t, 400, status)
			assert.Contains(t, reply, "Daily cap reached")
		}},
		{"first id", "--first-id", "7", func(t *testing.T, p *program) {
			require.Equal(t, 200, p.create(t))
			assert.Contains(t, p.search(t, ""), `"id":7,`)
		}},
		{"filter precision", "--filter-precision", "24h", func(t *testing.T, p *program) {
			p.addNoon(t)
			assert.Contains(t, p.search(t, "createdOnFrom=2026-03-04T13:00:00"), `"id":5,`)
		}},
		{"exclusive bounds", "--exclusive-bounds", "", func(t *testing.T, p *program) {
			p.addNoon(t)
			assert.JSONEq(t, `[]`, p.search(t, "createdOnFrom=2026-03-04T12:00:00"))
			assert.Contains(t, p.search(t, "createdOnFrom=2026-03-04T11:59:59"), `"id":5,`)
		}},
		{"local dates", "--local-dates", "Europe/Zurich", func(t *testing.T, p *program) {
			p.addNoon(t)
			assert.Contains(t, p.search(t, ""), `"createdOn":"2026-03-04T13:00:00.000"`)
		}},
		{"demo", "--demo", "", func(t *testing.T, p *program) {
			assert.Contains(t, p.search(t, "id=123456"), `"email":"visitor1@example.com"`)
			assert.Contains(t, p.String(), "with brand acme and 12 leads")
		}},
		{"fault", "--fault", "POST status=503 times=2", func(t *testing.T, p *program) {
			assert.Equal(t, "[]", p.search(t, ""))
			assert.Equal(t, 503, p.create(t))
			assert.Equal(t, 503, p.create(t))
			assert.Equal(t, 200, p.create(t))
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			args := []string{test.flag}
			if test.value != "" {
				args = append(args, test.value)
			}
			test.check(t, start(t, args...))
		})
	}
}

func TestWrongFlags(t *testing.T) {
	t.Parallel()
	tests := []struct{ args, want string }{
		{"--port|8080", "unknown flag: --port"},
		{"serve", `unknown command "serve" for "clixnow mock"`},
		{"--page-limit|9", "a number of at least 10"},
		{"--page-limit|many", "a number of at least 10"},
		{"--search-delay|5", "a time with a unit"},
		{"--search-delay|-5s", "a time with a unit"},
		{"--token-file|" + file(t, "two words"), "without spaces"},
		{"--token-file|" + file(t, " \n"), "must have one line"},
		{"--token-file|no-such-file", "no-such-file"},
		{"--capacity|-1", "write a number"},
		{"--first-id|0", "--first-id must be from 1 to"},
		{"--filter-precision|second", "a time with a unit"},
		{"--local-dates|Zurich", "the name of a time zone"},
		{"--countries|Switzerland", "write alpha-2 codes"},
		{"--exclusive-bounds=false", "leave the flag out"},
		{"--envelope|", "write a key"},
		{"--hide|emial", "the fields of a lead are id,email,"},
		{"--fault|POST stat=503", `unknown word "stat=503": the words are GET, POST, times=,`},
	}
	for _, test := range tests {
		t.Run(test.args, func(t *testing.T) {
			t.Parallel()
			err := run(t.Context(), strings.Split(test.args, "|"), io.Discard, io.Discard)
			require.ErrorContains(t, err, test.want)
			assert.Equal(t, app.CodeUsage, app.Code(err))
		})
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	var out apptest.Output
	require.NoError(t, run(t.Context(), []string{"-h"}, &out, &out))
	flags, _, _ := strings.Cut(out.String(), "Global Flags:")
	assert.Len(t, regexp.MustCompile(`(?m)^ +(-h, )?--[a-z-]+`).FindAllString(flags, -1), 17)
	for line := range strings.SplitSeq(out.String(), "\n") {
		assert.LessOrEqual(t, len(line), 80, line)
	}
	words := regexp.MustCompile(`(?m)^  ((?:POST |delay=|status=)[^ ]+(?: [^ ]+)*)  `)
	faults := words.FindAllStringSubmatch(out.String(), -1)
	require.Len(t, faults, 7)
	for _, fault := range faults {
		status, reply := start(t).send(t, "POST", "/_mock/faults", `["`+strings.ReplaceAll(fault[1], `"`, `\"`)+`"]`)
		assert.Equal(t, 200, status, "%s: %s", fault, reply)
	}
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	err = run(t.Context(), []string{"--addr", listener.Addr().String()}, io.Discard, io.Discard)
	require.ErrorContains(t, err, listener.Addr().String())
	require.ErrorContains(t, err, "127.0.0.1:0 means any free port")
	assert.Equal(t, app.CodeUsage, app.Code(err))
}

func TestRequestsInTheLog(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, method, target, body, header, want string }{
		{"unknown path", "GET", "/api/leads", "", authorization, "404 GET  /api/leads  Not found."},
		{
			"unknown parameters", "GET", searchPath + "?token=CfDJ8-secret&Count=5&q", "", authorization,
			"200 GET  " + searchPath + "?Count=5&q=***&token=***",
		},
		{
			"not JSON", "POST", leadsPath, "{", authorization,
			"400 POST " + leadsPath + "  One or more validation errors occurred. The body is not a JSON object: ",
		},
		{
			"two fields", "POST", leadsPath, strings.NewReplacer("+41123456789", "", `"CH"`, `"Che"`).Replace(allison),
			authorization, "400 POST " + leadsPath + "  One or more validation errors occurred. " +
				"The CountryCode field must be an alpha-2 code. The Phone field is required.",
		},
		{
			"no header", "GET", searchPath, "", "",
			`401 GET  ` + searchPath + `  no Authorization header: send "ApiToken", a space and the token`,
		},
		{
			"other scheme", "GET", searchPath, "", "Bearer CfDJ8-secret",
			`401 GET  ` + searchPath + `  wrong scheme "Bearer" in the Authorization header: send "ApiToken"`,
		},
		{
			"scheme in lower case", "GET", searchPath, "", "apitoken CfDJ8-clixnowtest-token",
			`401 GET  ` + searchPath + `  wrong scheme "apitoken"`,
		},
		{
			"token without scheme", "GET", searchPath, "", "CfDJ8-secret",
			`401 GET  ` + searchPath + `  no scheme in the Authorization header`,
		},
		{
			"other token", "GET", searchPath, "", "ApiToken CfDJ8-secret",
			`401 GET  ` + searchPath + `  wrong token: use the one that was printed at the start`,
		},
		{
			"long query", "GET", searchPath + "?" + strings.Repeat("x", 1000), "", authorization,
			"200 GET  " + searchPath + "?xxx",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := start(t)
			p.send(t, test.method, test.target, test.body, "Authorization", test.header)
			line := p.WaitFor(t, `(?m)^\d\d:\d\d:\d\d  .*$`)
			assert.Contains(t, regexp.MustCompile(` +\d+\.\d\d ms  `).ReplaceAllString(line, " "), test.want)
			assert.Less(t, len(line), 400)
			assert.NotContains(t, line, "secret")
		})
	}
}

func TestLogKeepsSecrets(t *testing.T) {
	t.Parallel()
	p := start(t)
	greeting := len(p.String())
	_, created := p.send(t, "POST", leadsPath, allison)
	var reply clixnow.CreateLeadResponse
	require.NoError(t, json.Unmarshal([]byte(created), &reply))
	p.create(t)
	p.search(t, "email=allison.brown%40example.com")
	_, requests := p.send(t, "GET", "/_mock/requests", "")
	_, page := p.send(t, "GET", "/_mock/", "")
	for _, secret := range []string{"CfDJ8", "Password123!", reply.RedirectURL, "autologin"} {
		assert.NotContains(t, p.String()[greeting:]+requests+page, secret)
	}
	for _, lead := range []string{"allison.brown", "+4112345", "Allison"} {
		assert.NotContains(t, p.String()[greeting:], lead)
	}
}

func TestCutConnectionsInTheLog(t *testing.T) {
	t.Parallel()
	p := start(t, "--fault", "drop=after-handling", "--fault", "drop=mid-body", "--fault", "status=401")
	assert.Zero(t, p.create(t))
	p.WaitFor(t, `(?m)  cut +\d+\.\d\d ms  POST /api/system/v1/leads  lead 123456$`)
	status, reply := p.send(t, "GET", searchPath+"?id=1", "")
	assert.Equal(t, []any{200, "["}, []any{status, reply}, "half of a body")
	p.WaitFor(t, `(?m)  cut +\d+\.\d\d ms  GET  /api/system/v1/leads/search\?id=1$`)
	status, _ = p.send(t, "GET", searchPath, "")
	assert.Equal(t, 401, status)
	p.WaitFor(t, `by a fault: the token was right`)
}

func TestClosedConnectionsInTheLog(t *testing.T) {
	t.Parallel()
	p := start(t, "--fault", "POST handle-first delay=10m")
	disconnect, _ := p.createSlowly(t)
	disconnect()
	p.WaitFor(t, `(?m)  cut +\d+\.\d\d ms  POST /api/system/v1/leads  lead 123456  the client closed the connection$`)
}

func TestControlOfLeads(t *testing.T) {
	t.Parallel()
	p := start(t, "--seed", file(t, `[{"id":7,"email":"seed@example.com","status":"New"}]`))
	status, reply := p.send(t, "POST", "/_mock/leads",
		`[{"email":"a@example.com","status":"New","createdOn":"2022-12-19T11:01:58.302Z"}]`)
	require.Equal(t, 200, status)
	assert.JSONEq(t, `[{"id":123456,"email":"a@example.com","status":"New",`+
		`"createdOn":"2022-12-19T11:01:58.302Z","updatedOn":"2022-12-19T11:01:58.302Z"}]`, reply)

	change := func(body string) {
		t.Helper()
		status, reply := p.send(t, "PATCH", "/_mock/leads/123456", body, "Content-Type", "")
		require.Equal(t, 204, status, reply)
	}
	change(`{"status":"Call back"}`)
	assert.Contains(t, p.search(t, "id=123456"), `"status":"Call back"`)
	change(`{"deposited":true}`)
	deposited := p.search(t, "id=123456")
	assert.Regexp(t, `"status":"Call back",.*"ftdDate":"20.*"clientType":"Depositor"`, deposited)
	change(`{"deposited":true,"status":"Deposited"}`)
	assert.Contains(t, p.search(t, "id=123456"), regexp.MustCompile(`"ftdDate":"[^"]+"`).FindString(deposited),
		"the date of the first deposit must not change")
	change(`{"deposited":false}`)
	assert.NotContains(t, p.search(t, "id=123456"), "ftdDate")

	status, reply = p.send(t, "GET", "/_mock/leads", "")
	assert.Equal(t, 200, status)
	assert.Regexp(t, `^\[\{"id":7,.*\{"id":123456,.*\}\]\s$`, reply)
	status, _ = p.send(t, "DELETE", "/_mock/leads/123456", "")
	assert.Equal(t, 204, status)
	assert.Equal(t, "[]", p.search(t, "id=123456"))

	status, _ = p.send(t, "POST", "/_mock/reset", "")
	assert.Equal(t, 204, status)
	_, reply = p.send(t, "GET", "/_mock/requests", "")
	assert.JSONEq(t, `[]`, reply)
	assert.Contains(t, p.search(t, ""), `[{"id":7,`)
}

func TestControlOfFaults(t *testing.T) {
	t.Parallel()
	p := start(t, "--fault", "delay=1ms times=2")
	status, reply := p.send(t, "POST", "/_mock/faults",
		`["POST status=400 body={\"message\":\"No, thanks\"}","drop=mid-body"]`)
	require.Equal(t, 200, status)
	assert.JSONEq(t,
		`["times=2 delay=1ms","POST times=1 status=400 body={\"message\":\"No, thanks\"}","times=1 drop=mid-body"]`,
		reply)
	p.search(t, "")
	p.search(t, "")
	_, reply = p.send(t, "POST", leadsPath, allison)
	assert.JSONEq(t, `{"message":"No, thanks"}`, reply)
	_, reply = p.send(t, "GET", "/_mock/faults", "")
	assert.JSONEq(t, `["times=1 drop=mid-body"]`, reply)
	_, reply = p.send(t, "DELETE", "/_mock/faults", "")
	assert.JSONEq(t, `[]`, reply)
	require.Equal(t, 200, p.create(t))
	_, _ = p.send(t, "POST", "/_mock/reset", "")
	_, reply = p.send(t, "GET", "/_mock/faults", "")
	assert.JSONEq(t, `["times=2 delay=1ms"]`, reply)
}

func TestControlOfRequests(t *testing.T) {
	t.Parallel()
	p := start(t)
	for range 100 {
		p.search(t, "count=1")
	}
	p.create(t)
	_, reply := p.send(t, "GET", "/_mock/requests", "")
	var requests []map[string]any
	require.NoError(t, json.Unmarshal([]byte(reply), &requests))
	require.Len(t, requests, 100)
	assert.Equal(t, searchPath+"?count=1", requests[0]["target"])
	last := requests[99]
	assert.Equal(t, []any{"POST", leadsPath, 200.0, 123456.0},
		[]any{last["method"], last["target"], last["status"], last["leadId"]})
}

func TestControlRefuses(t *testing.T) {
	t.Parallel()
	p := start(t, "--seed", file(t, `[{"id":7}]`))
	tests := []struct {
		method, target, body string
		status               int
		want                 string
	}{
		{"PATCH", "/_mock/leads/7", `{"ftdDate":"now"}`, 400, `unknown field`},
		{
			"PATCH", "/_mock/leads/7", `{"deposited":"yes"}`, 400,
			`send {\"status\":\"Call back\"}, {\"deposited\":true}, or both`,
		},
		{"PATCH", "/_mock/leads/seven", `{"status":"x"}`, 400, `\"seven\" is not the id of a lead`},
		{"PATCH", "/_mock/leads/8", `{"status":"x"}`, 404, `lead not found`},
		{"DELETE", "/_mock/leads/8", "", 404, `lead not found`},
		{"POST", "/_mock/leads", `[{"id":"x"}]`, 400, `lead 1: clixnow: decode lead: id: not an integer`},
		{"POST", "/_mock/leads", `[` + strings.Repeat(" ", 8<<20) + `]`, 400, `too large`},
		{"POST", "/_mock/faults", `"POST"`, 400, `send a list of faults`},
		{"POST", "/_mock/faults", `["GET","status=99"]`, 400, `fault 2: status=99 must be`},
		{"PUT", "/_mock/leads", "", 405, ""},
		{"GET", "/_mock/elsewhere", "", 404, ""},
		{"POST", "/_mock/page/leads/8", "", 404, "lead not found"},
	}
	for _, test := range tests {
		status, reply := p.send(t, test.method, test.target, test.body)
		assert.Equal(t, test.status, status, test)
		assert.Contains(t, reply, test.want)
	}
}

// TestCrossOrigin checks that a page of another site cannot control the mock
// through the developer's browser.
func TestCrossOrigin(t *testing.T) {
	t.Parallel()
	p := start(t)
	require.Equal(t, 200, p.create(t))
	for _, target := range []string{
		"/_mock/reset", "/_mock/faults", "/_mock/page/faults", "/_mock/page/leads/123456", "/_mock/page/samples",
	} {
		for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.example"}} {
			status, _ := p.send(t, "POST", target, "", header...)
			assert.Equal(t, 403, status, target)
		}
	}
	assert.Contains(t, p.search(t, ""), "123456")
}

func TestPage(t *testing.T) {
	t.Parallel()
	p := start(t)
	status, location := p.send(t, "GET", "/", "")
	assert.Equal(t, []any{303, "/_mock/"}, []any{status, location})
	_, html := p.send(t, "GET", "/_mock/", "")
	assert.Contains(t, html, "None yet.")

	seed := new(strings.Builder)
	for i := range 25 {
		fmt.Fprintf(seed, `{"id":%d,"email":"lead%d@example.com","status":"<b>\"New\"</b>",`+
			`"createdOn":"2022-12-19T11:01:%02d.000Z"}`+"\n", 100+i, i, i/2)
	}
	status, _ = p.send(t, "POST", "/_mock/leads", seed.String())
	require.Equal(t, 200, status)
	rows := func(query string) (ids []string) {
		status, html = p.send(t, "GET", "/_mock/"+query, "")
		require.Equal(t, 200, status)
		for _, found := range regexp.MustCompile(`<li id="lead-(\d+)"`).FindAllStringSubmatch(html, -1) {
			ids = append(ids, found[1])
		}
		return ids
	}
	first := []string{"124", "123", "122", "121", "120", "119", "118", "117", "116", "115"}
	last := []string{"104", "103", "102", "101", "100"}
	for query, want := range map[string][]string{
		"": first, "?page=1": first, "?page=-5": first, "?page=x": first, "?page=3": last, "?page=99": last,
		"?page=9223372036854775807": last,
	} {
		assert.Equal(t, want, rows(query), query)
	}
	assert.NotContains(t, html, `<b>"New`)
	assert.NotContains(t, html, "<b>&#34;New")
	assert.Contains(t, html, "&lt;b&gt;")

	status, location = p.submit(t, "/_mock/page/leads/104", "status=Call+back&page=3")
	assert.Equal(t, []any{303, "/_mock/?page=3#lead-104"}, []any{status, location})
	status, location = p.submit(t, "/_mock/page/leads/104", "deposited=true&page=%22%3E%0d%0a")
	assert.Equal(t, []any{303, "/_mock/?page=0#lead-104"}, []any{status, location})
	assert.Regexp(t, `"status":"Call back",.*"ftdDate"`, p.search(t, "id=104"))
	_, _ = p.submit(t, "/_mock/page/leads/104", "deposited=false")
	assert.NotContains(t, p.search(t, "id=104"), "ftdDate")
	assert.Contains(t, p.search(t, "id=104"), `"status":"Call back"`)
}

func TestFaultsOnThePage(t *testing.T) {
	t.Parallel()
	p := start(t)
	status, html := p.submit(t, "/_mock/page/faults", "fault="+url.QueryEscape(`POST status=5"03`))
	assert.Equal(t, 422, status)
	assert.Contains(t, html, "must be a number from 200 to 999")
	assert.Contains(t, html, `value="POST status=5&#34;03"`, "the typed text is kept")

	status, location := p.submit(t, "/_mock/page/faults", "fault=POST+status%3D503+times%3D2")
	assert.Equal(t, []any{303, "/_mock/?page=0#faults"}, []any{status, location})
	assert.Equal(t, 503, p.create(t))
	_, html = p.send(t, "GET", "/_mock/", "")
	assert.Contains(t, html, "<code>POST times=1 status=503</code>")
	status, _ = p.submit(t, "/_mock/page/faults/clear", "")
	assert.Equal(t, 303, status)
	assert.Equal(t, 200, p.create(t))
}

func TestStop(t *testing.T) {
	t.Parallel()
	p := start(t, "--fault", "POST handle-first delay=10m")
	_, result := p.createSlowly(t)
	require.NoError(t, p.stop())
	require.Error(t, <-result, "a delay must not delay the stop")
	assert.Contains(t, p.String(), "Stopping.")
}

// createSlowly sends a create whose response is delayed, and returns when the
// lead is created. disconnect closes the connection. result receives the error
// of the create.
func (p *program) createSlowly(t *testing.T) (disconnect func(), result <-chan error) {
	t.Helper()
	ctx, disconnect := context.WithCancel(t.Context())
	t.Cleanup(disconnect)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+leadsPath, strings.NewReader(allison))
	require.NoError(t, err)
	request.Header = http.Header{"Authorization": {authorization}, "Content-Type": {"application/json"}}
	ended := make(chan error, 1)
	go func() {
		response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
		if err == nil {
			response.Body.Close()
		}
		ended <- err
	}()
	require.Eventually(t, func() bool {
		_, leads := p.send(t, "GET", "/_mock/leads", "")
		return strings.Contains(leads, "123456")
	}, time.Minute, 5*time.Millisecond)
	return disconnect, ended
}

// TestForeignHost checks that a page of a site whose name was changed to
// 127.0.0.1 can neither read nor change anything (case P9).
func TestForeignHost(t *testing.T) {
	t.Parallel()
	p := start(t, "--host", "mock.proxy.example")
	port := p.url[strings.LastIndex(p.url, ":"):]
	for host, status := range map[string]int{
		"127.0.0.1" + port: 200, "127.0.0.1": 200, "127.8.8.8": 200, "localhost" + port: 200, "LOCALHOST": 200,
		"localhost.": 200, "acme.localhost" + port: 200, "[::1]" + port: 200, "[::1]": 200, "mock.proxy.example": 200,
		"Mock.Proxy.example:443": 200,
		"evil.example" + port:    403, "evil.example": 403, "127.0.0.1.evil.example" + port: 403, "192.0.2.1": 403,
		"[2001:db8::1]" + port: 403, "notlocalhost": 403, "0.0.0.0" + port: 403,
	} {
		for _, target := range []string{"/_mock/", "/_mock/leads", "/_mock/page/live.js", searchPath} {
			got, reply := p.sendTo(t, host, "GET", target)
			assert.Equal(t, status, got, "%s %s: %s", host, target, reply)
		}
		if status == 403 {
			got, reply := p.sendTo(t, host, "POST", "/_mock/reset")
			assert.Equal(t, 403, got)
			assert.Contains(t, reply, "use localhost, or start it with --host")
			got, _ = p.sendTo(t, host, "POST", leadsPath)
			assert.Equal(t, 403, got)
		}
	}
	p.WaitFor(t, `403 .* this mock serves this machine only, and not the host "evil\.example"`)
}

// sendTo sends a request with another Host.
func (p *program) sendTo(t *testing.T, host, method, target string) (status int, reply string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, p.url+target, strings.NewReader(""))
	require.NoError(t, err)
	request.Host = host
	request.Header.Set("Authorization", authorization)
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(data)
}

// TestIDsAfterRestart checks that no lead gets the id of an earlier one (case
// P17).
func TestIDsAfterRestart(t *testing.T) {
	t.Parallel()
	state := filepath.Join(t.TempDir(), "ids")
	created := func(p *program) string {
		_, reply := p.send(t, "POST", leadsPath, allison)
		return regexp.MustCompile(`"leadId":\d+`).FindString(reply)
	}
	first := start(t, "--state", state, "--fault", "POST drop=after-handling")
	assert.Empty(t, created(first), "lead 123456 is created without an answer")
	status, _ := first.send(t, "DELETE", "/_mock/leads/123456", "")
	require.Equal(t, 204, status)
	killed, err := os.ReadFile(state)
	require.NoError(t, err)
	require.NoError(t, first.stop())

	second := start(t, "--state", state, "--first-id", "5")
	assert.Equal(t, `"leadId":123457`, created(second), "the file comes before --first-id")
	_, _ = second.send(t, "POST", "/_mock/reset", "")
	assert.Equal(t, `"leadId":123458`, created(second), "a reset does not use ids again")
	_, _ = second.send(t, "POST", "/_mock/leads", `[{"id":200000}]`)
	status, _ = second.send(t, "PATCH", "/_mock/leads/123458", `{"status":"Call back"}`)
	require.Equal(t, 204, status)
	require.NoError(t, second.stop())
	saved, err := os.ReadFile(state)
	require.NoError(t, err)
	assert.Equal(t, "200001\n", string(saved))

	// What was in the file when the first mock ran is what a killed one leaves.
	require.NoError(t, os.WriteFile(state, killed, 0o600))
	assert.Equal(t, `"leadId":124457`, created(start(t, "--state", state)))
}

func TestWrongState(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		file(t, "{}"): "must hold the next id", file(t, "0"): "must hold the next id",
		file(t, "99999999999999999999"): "must hold the next id", t.TempDir(): "must hold the next id",
		filepath.Join(t.TempDir(), "no-such-folder", "ids"): "save --state",
	} {
		err := run(t.Context(), []string{"--addr", "127.0.0.1:0", "--state", name}, io.Discard, io.Discard)
		require.ErrorContains(t, err, want, name)
		assert.Equal(t, app.CodeUsage, app.Code(err))
	}
}

func TestRegistrations(t *testing.T) {
	t.Parallel()
	p := start(t, "--fault", "POST drop=after-handling")
	assert.Zero(t, p.create(t))
	assert.Equal(t, 400, p.create(t), "a duplicate")
	const body = `{"clickId":"20fn4ngo56n3snf74","countryCode":"CH","email":"allison.brown@example.com",` +
		`"firstName":"Allison","lastName":"Brown","password":"***","phone":"+41123456789"}`
	_, exported := p.send(t, "GET", "/_mock/leads", "")
	assert.Contains(t, exported, `"id":123456,"email":"allison.brown@example.com","status":"New",`)
	assert.Contains(t, exported, `"registration":`+body, "also if the answer was lost")
	assert.NotContains(t, p.search(t, ""), "registration")
	_, requests := p.send(t, "GET", "/_mock/requests", "")
	assert.Contains(t, requests, `"status":0,`)
	assert.Equal(t, 2, strings.Count(requests, `"body":`+body), requests)
	assert.Equal(t, 1, strings.Count(requests, `"leadId":123456`), requests)

	_, _ = p.send(t, "DELETE", "/_mock/leads/123456", "")
	_, replaced := p.send(t, "POST", "/_mock/leads", `[{"id":123456}]`)
	assert.NotContains(t, replaced, "registration")
	_, replaced = p.send(t, "GET", "/_mock/leads", "")
	assert.NotContains(t, replaced, "registration", "it is another lead")
	_, _ = p.send(t, "POST", "/_mock/reset", "")
	assert.Zero(t, p.create(t))
	_, replaced = p.send(t, "GET", "/_mock/leads", "")
	assert.Contains(t, replaced, `"id":123456,"email":"allison.brown@example.com"`)
	assert.Contains(t, replaced, `"registration":`+body, "a reset starts over")

	copied := start(t, "--seed", file(t, exported))
	_, again := copied.send(t, "GET", "/_mock/leads", "")
	assert.JSONEq(t, exported, again, "what was exported can be used as a seed")
	assert.NotContains(t, copied.search(t, ""), "registration")
}

func TestAutologinInTheLog(t *testing.T) {
	t.Parallel()
	p := start(t)
	_, created := p.send(t, "POST", leadsPath, allison)
	link := regexp.MustCompile(`/autologin[^"]*`).FindString(created)
	for range 2 { // it works once
		p.send(t, "GET", link, "", "Authorization", "")
	}
	p.WaitFor(t, `200 .* GET  /autologin\?token=\*\*\*  lead 123456  the visitor is logged in`)
	p.WaitFor(t, `(?m)410 .* GET  /autologin\?token=\*\*\*$`)
}

func TestByteOrderMarks(t *testing.T) {
	t.Parallel()
	p := start(t)
	const mark = "\ufeff"
	status, reply := p.send(t, "POST", "/_mock/leads", mark+`[{"id":5}]`)
	assert.Equal(t, 200, status, reply)
	status, reply = p.send(t, "PATCH", "/_mock/leads/5", mark+`{"status":"Call back"}`)
	assert.Equal(t, 204, status, reply)
	status, reply = p.send(t, "POST", "/_mock/faults", mark+`["status=503"]`)
	assert.Equal(t, 200, status, reply)
}

func TestSearchOnThePage(t *testing.T) {
	t.Parallel()
	p := start(t)
	require.Equal(t, 200, p.create(t))
	_, _ = p.send(t, "POST", "/_mock/leads", strings.Repeat(`{"email":"x@example.com","clickId":"C-7"}`+"\n", 25))
	for query, found := range map[string]int{
		"123456": 1, "Allison+BROWN": 1, "41123456789": 1, "20FN4": 1, "c-7": 25, "no+such": 0, "": 26, "+": 26,
		"Password123": 0,
	} {
		_, html := p.send(t, "GET", "/_mock/?q="+query, "")
		assert.Equal(t, min(found, 10), strings.Count(html, `<li id="lead-`), query)
		if strings.Trim(query, "+") != "" {
			assert.Contains(t, html, fmt.Sprintf("%d of 26 leads", found))
		}
	}
	_, html := p.send(t, "GET", "/_mock/?q=c-7&page=2", "")
	for _, link := range []string{"page=1&amp;q=c-7", "page=3&amp;q=c-7"} {
		assert.Contains(t, html, `href="/_mock/?`+link, "newest, newer, older and oldest keep the search")
	}
	assert.Contains(t, html, "of 3 <button>Go</button>")
	_, location := p.submit(t, "/_mock/page/leads/123456", "status=Call+back&page=1&q=a%26b")
	assert.Equal(t, "/_mock/?page=1&q=a%26b#lead-123456", location)
}

func TestRefreshOfThePage(t *testing.T) {
	t.Parallel()
	p := start(t)
	get := func(etag string) (status int, next string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+"/_mock/", nil)
		require.NoError(t, err)
		request.Header.Set("If-None-Match", etag)
		response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		assert.NotContains(t, response.Header.Get("Content-Security-Policy"), "unsafe")
		return response.StatusCode, response.Header.Get("ETag")
	}
	_, etag := get("")
	for name, change := range map[string]func(){
		"create":  func() { p.create(t) },
		"search":  func() { p.search(t, "") },
		"patch":   func() { p.send(t, "PATCH", "/_mock/leads/123456", `{"status":"x"}`) },
		"fault":   func() { p.send(t, "POST", "/_mock/faults", `["GET"]`) },
		"samples": func() { p.submit(t, "/_mock/page/samples", "") },
		"reset":   func() { p.send(t, "POST", "/_mock/reset", "") },
	} {
		status, _ := get(etag)
		assert.Equal(t, 304, status, "nothing changed before %s", name)
		change()
		status, etag = get(etag)
		assert.Equal(t, 200, status, name)
	}
}

func TestSamples(t *testing.T) {
	t.Parallel()
	p := start(t)
	_, html := p.send(t, "GET", "/_mock/", "")
	assert.Contains(t, html, "Add sample leads")
	status, _ := p.submit(t, "/_mock/page/samples", "")
	assert.Equal(t, 303, status)
	_, html = p.send(t, "GET", "/_mock/", "")
	assert.NotContains(t, html, "Add sample leads")
	assert.Contains(t, html, "visitor12@example.com")
}
