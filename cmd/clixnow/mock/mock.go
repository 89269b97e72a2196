package main

import (
	"context"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// mock is a fake API with a log, a web page and a control endpoint.
type mock struct {
	settings settings
	seed     []clixnow.Lead
	// fake is replaced by a reset.
	fake     atomic.Pointer[clixnowtest.Server]
	control  http.Handler
	template *template.Template

	// mu guards the fields after it.
	mu  sync.Mutex
	out io.Writer
	// requests holds the last maxRequests requests.
	requests []request
}

const maxRequests = 100

// request is a request in the log.
type request struct {
	Time   time.Time `json:"time"`
	Method string    `json:"method"`
	// Target is the path and the query, without values that may be secret.
	Target string `json:"target"`
	// Status is 0 if the connection was cut.
	Status       int     `json:"status"`
	Milliseconds float64 `json:"milliseconds"`
	// LeadID is the id of the created lead. It is 0 for other requests.
	LeadID int64 `json:"leadId,omitempty"`
	// Note says why the request was refused or cut. It is "" if it was not.
	Note string `json:"note,omitempty"`
}

func newMock(set settings, out io.Writer) (*mock, error) {
	m := &mock{settings: set, out: out, template: parsePage()}
	if set.seed != "" {
		data, err := os.ReadFile(set.seed)
		if err != nil {
			return nil, fmt.Errorf("read -seed: %w", err)
		}
		if m.seed, err = readLeads(data); err != nil {
			return nil, fmt.Errorf("read -seed %s: %w", set.seed, err)
		}
	}
	m.control = m.routes()
	m.reset()
	return m, nil
}

// reset restores the state of the start.
func (m *mock) reset() {
	limit := clixnowtest.WithRequestLimit(1) // the log holds the requests
	fake := clixnowtest.NewHandler(append([]clixnowtest.Option{limit}, m.settings.options...)...)
	fake.AddLeads(m.seed...)
	fake.Inject(m.settings.faults...)
	if old := m.fake.Swap(fake); old != nil {
		old.Close()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests = nil
}

// greet prints the address, the token and commands to try.
func (m *mock) greet(addr *net.TCPAddr, errs io.Writer) {
	if !addr.IP.IsLoopback() {
		fmt.Fprintln(errs,
			"WARNING: other machines can reach this address. They can read and change everything in this mock.")
	}
	host := addr.String()
	if addr.IP.IsUnspecified() {
		host = fmt.Sprintf("127.0.0.1:%d", addr.Port)
	}
	fake := m.fake.Load()
	fmt.Fprintf(m.out, `A fake Clixnow in memory, with brand %[4]s and %[5]d leads.

  API          http://%[1]s
  token        %[2]s (fake: only this mock accepts it)
  status page  http://%[1]s/_mock/

Register a lead from another terminal. The second time, it is a duplicate:

curl --location --globoff 'http://%[1]s/api/system/v1/leads' \
  --header 'Content-Type: application/json' \
  --header 'Authorization: ApiToken %[2]s' \
  --data '{"firstName":"Allison","lastName":"Brown","email":"allison.brown@example.com","phone":"+41123456789",
    "password":"Password123!","countryCode":"CH","clickId":"20fn4ngo56n3snf74","subCampaign":"autumn"}'

Find it:

curl --location --globoff 'http://%[1]s/api/system/v1/leads/search?createdOnFrom=%[3]sT00%%3A00%%3A00' \
  --header 'Authorization: ApiToken %[2]s'

`, host, fake.Token, time.Now().UTC().Format(time.DateOnly), fake.Brand, len(m.seed))
	if pending := len(fake.Faults()); pending > 0 {
		fmt.Fprintf(m.out, "Pending faults: %d. They apply to the next requests.\n\n", pending)
	}
	fmt.Fprint(m.out, "Press Ctrl-C to stop. Requests, with times in UTC:\n\n")
}

func (m *mock) stop(ctx context.Context, server *http.Server) error {
	m.mu.Lock()
	fmt.Fprintln(m.out, "Stopping. Another signal stops it at once.")
	m.mu.Unlock()
	m.fake.Load().Close()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		_ = server.Close()
		return fmt.Errorf("stop: connections that were still open after 10 seconds were closed: %w", err)
	}
	return nil
}

// ServeHTTP serves the page and the control endpoint. It passes all other
// requests to the fake API and logs them.
func (m *mock) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/" || strings.HasPrefix(r.URL.Path, "/_mock/") {
		m.control.ServeHTTP(w, r)
		return
	}
	fake := m.fake.Load()
	start := time.Now()
	recorder := &responseRecorder{ResponseWriter: w, cut: true}
	defer func() { // deferred, because the fake cuts a connection with a panic
		m.log(recorder.request(r, fake.Token, start))
	}()
	fake.ServeHTTP(recorder, r)
	recorder.cut = false
}

func (m *mock) log(r request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests = append(m.requests[max(0, len(m.requests)-maxRequests+1):], r)
	fmt.Fprintln(m.out, r)
}

// recent returns a copy of the logged requests, oldest first.
func (m *mock) recent() []request {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]request{}, m.requests...)
}

// String returns the line of the log.
func (r request) String() string {
	status := "cut"
	if r.Status != 0 {
		status = strconv.Itoa(r.Status)
	}
	line := fmt.Sprintf("%s  %s %8.2f ms  %-4s %s", r.Time.Format(time.TimeOnly), status, r.Milliseconds, r.Method,
		r.Target)
	if r.LeadID != 0 {
		line += fmt.Sprintf("  lead %d", r.LeadID)
	}
	if r.Note != "" {
		line += "  " + r.Note
	}
	return line
}

// responseRecorder records the response that is written through it.
type responseRecorder struct {
	http.ResponseWriter

	status int
	// body is the first write. The fake writes a whole body at once.
	body []byte
	cut  bool
}

func (w *responseRecorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *responseRecorder) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *responseRecorder) Write(data []byte) (int, error) {
	if w.body == nil {
		w.body = data
	}
	return w.ResponseWriter.Write(data)
}

// request returns what the log shows of r and its response.
func (w *responseRecorder) request(r *http.Request, token string, start time.Time) request {
	result := request{
		Time: start.UTC(), Method: shorten(r.Method), Target: target(r.URL), Status: w.status,
		Milliseconds: float64(time.Since(start).Microseconds()/10) / 100,
	}
	var body struct {
		LeadID  int64               `json:"leadId"`
		Message string              `json:"message"`
		Errors  map[string][]string `json:"errors"`
	}
	switch {
	case w.cut:
		result.Status = 0
		if r.Context().Err() != nil {
			result.Note = "the client closed the connection"
		}
	case w.status == http.StatusUnauthorized:
		result.Note = unauthorizedNote(r.Header.Get("Authorization"), token)
	case r.Method == http.MethodPost || w.status >= http.StatusBadRequest:
		_ = json.Unmarshal(w.body, &body) // the body of a fault may not be JSON
		result.LeadID = body.LeadID
		texts := []string{body.Message}
		for _, field := range slices.Sorted(maps.Keys(body.Errors)) {
			texts = append(texts, body.Errors[field]...)
		}
		result.Note = shorten(strings.Join(texts, " "))
	}
	return result
}

// unauthorizedNote says what is wrong with an Authorization header. It shows no
// part of the header that may be a token.
func unauthorizedNote(header, token string) string {
	scheme, _, _ := strings.Cut(header, " ")
	switch {
	case header == "ApiToken "+token:
		return "by a fault: the token was right"
	case header == "":
		return "no Authorization header: send \"ApiToken\", a space and the token"
	case scheme == "ApiToken":
		return "wrong token: use the one that was printed at the start"
	case slices.Contains([]string{"apitoken", "bearer", "basic", "token"}, strings.ToLower(scheme)):
		return fmt.Sprintf("wrong scheme %q in the Authorization header: send \"ApiToken\"", scheme)
	}
	return "no scheme in the Authorization header: send \"ApiToken\", a space and the token"
}

// target returns a path with its query. It hides the values of parameters that
// the API does not have, because a client may put a token there.
func target(u *url.URL) string {
	known := []string{
		"id", "orderby", "count", "skip", "createdonfrom", "createdonto", "modifiedonfrom", "modifiedonto",
		"ftddatefrom", "ftddateto",
	}
	var pairs []string
	query := u.Query()
	for _, name := range slices.Sorted(maps.Keys(query)) {
		value := "***"
		if slices.Contains(known, strings.ToLower(name)) {
			value = strings.ReplaceAll(url.QueryEscape(query.Get(name)), "%3A", ":")
		}
		pairs = append(pairs, url.QueryEscape(name)+"="+value)
	}
	if len(pairs) == 0 {
		return shorten(u.EscapedPath())
	}
	return shorten(u.EscapedPath() + "?" + strings.Join(pairs, "&"))
}

// shorten returns text on one line and with at most 300 characters.
func shorten(text string) string {
	const maxRunes = 300
	isSeparator := func(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) }
	text = strings.Join(strings.FieldsFunc(text, isSeparator), " ")
	if runes := []rune(text); len(runes) > maxRunes {
		return string(runes[:maxRunes]) + "..."
	}
	return text
}
