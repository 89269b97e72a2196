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

// mock is a fake API with what stands around it: a log, and the control of a
// person or a test suite.
type mock struct {
	settings settings
	seed     []clixnow.Lead
	fake     atomic.Pointer[clixnowtest.Server] // replaced by a reset
	control  http.Handler
	template *template.Template // of the page

	mu       sync.Mutex // guards the following
	out      io.Writer
	requests []request // the last ones
}

const maxRequests = 100

// request is one that was answered, or cut, as the log tells of it.
type request struct {
	Time         time.Time `json:"time"`
	Method       string    `json:"method"`
	Target       string    `json:"target"` // path and query, without what may be secret
	Status       int       `json:"status"` // 0 = the connection was cut
	Milliseconds float64   `json:"milliseconds"`
	LeadID       int64     `json:"leadId,omitempty"` // of a create
	Note         string    `json:"note,omitempty"`   // why it was refused or cut
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

// reset puts everything back to how it was at the start.
func (m *mock) reset() {
	forgetful := clixnowtest.WithRequestLimit(1) // the log remembers
	fake := clixnowtest.NewHandler(append([]clixnowtest.Option{forgetful}, m.settings.options...)...)
	fake.AddLeads(m.seed...)
	fake.Inject(m.settings.faults...)
	if old := m.fake.Swap(fake); old != nil {
		old.Close()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests = nil
}

func (m *mock) greet(addr *net.TCPAddr, errs io.Writer) {
	if !addr.IP.IsLoopback() {
		fmt.Fprintln(errs,
			"WARNING: other machines can reach this, and whoever does can read and change all that is in it.")
	}
	host := addr.String()
	if addr.IP.IsUnspecified() {
		host = fmt.Sprintf("127.0.0.1:%d", addr.Port)
	}
	fake := m.fake.Load()
	fmt.Fprintf(m.out, `A Clixnow in memory, of brand %[4]s, with %[5]d leads.

  API          http://%[1]s
  token        %[2]s (made up: it opens nothing else)
  status page  http://%[1]s/_mock/

Register a lead from another terminal; a second time it is a duplicate:

curl --location --globoff 'http://%[1]s/api/system/v1/leads' \
  --header 'Content-Type: application/json' \
  --header 'Authorization: ApiToken %[2]s' \
  --data '{"firstName":"Allison","lastName":"Brown","email":"allison.brown@example.com","phone":"+41123456789",
    "password":"Password123!","countryCode":"CH","clickId":"20fn4ngo56n3snf74","subCampaign":"autumn"}'

Find it:

curl --location --globoff 'http://%[1]s/api/system/v1/leads/search?createdOnFrom=%[3]sT00%%3A00%%3A00' \
  --header 'Authorization: ApiToken %[2]s'

`, host, fake.Token, time.Now().UTC().Format(time.DateOnly), fake.Brand, len(m.seed))
	if waiting := len(fake.Faults()); waiting > 0 {
		fmt.Fprintf(m.out, "%d of -fault wait: the next requests may fail by them.\n\n", waiting)
	}
	fmt.Fprint(m.out, "Ctrl-C stops it. What is asked of it, times in UTC:\n\n")
}

func (m *mock) stop(ctx context.Context, server *http.Server) error {
	m.mu.Lock()
	fmt.Fprintln(m.out, "Stopping. Another signal ends it at once.")
	m.mu.Unlock()
	m.fake.Load().Close()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		_ = server.Close()
		return fmt.Errorf("stop: what was still being served after 10 seconds was cut: %w", err)
	}
	return nil
}

// ServeHTTP hands what is for the API on as it came, and logs it.
func (m *mock) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/" || strings.HasPrefix(r.URL.Path, "/_mock/") {
		m.control.ServeHTTP(w, r)
		return
	}
	fake := m.fake.Load()
	start := time.Now()
	seen := &watcher{ResponseWriter: w, cut: true}
	defer func() { // also where the connection is cut, by a panic
		m.record(seen.request(r, fake.Token, start))
	}()
	fake.ServeHTTP(seen, r)
	seen.cut = false
}

func (m *mock) record(r request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests = append(m.requests[max(0, len(m.requests)-maxRequests+1):], r)
	fmt.Fprintln(m.out, r)
}

// recent returns a copy of the requests, oldest first.
func (m *mock) recent() []request {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]request{}, m.requests...)
}

// String is a line of the log.
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

// watcher remembers an answer that passes through it.
type watcher struct {
	http.ResponseWriter

	status int
	body   []byte // its first write, which is all of it
	cut    bool
}

func (w *watcher) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *watcher) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *watcher) Write(data []byte) (int, error) {
	if w.body == nil {
		w.body = data
	}
	return w.ResponseWriter.Write(data)
}

func (w *watcher) request(r *http.Request, token string, start time.Time) request {
	result := request{
		Time: start.UTC(), Method: short(r.Method), Target: target(r.URL), Status: w.status,
		Milliseconds: float64(time.Since(start).Microseconds()/10) / 100,
	}
	var answer struct {
		LeadID  int64               `json:"leadId"`
		Message string              `json:"message"`
		Errors  map[string][]string `json:"errors"`
	}
	switch {
	case w.cut:
		result.Status = 0
		if r.Context().Err() != nil {
			result.Note = "the client left"
		}
	case w.status == http.StatusUnauthorized:
		result.Note = whyUnauthorized(r.Header.Get("Authorization"), token)
	case r.Method == http.MethodPost || w.status >= http.StatusBadRequest:
		_ = json.Unmarshal(w.body, &answer) // the body of a fault may be anything
		result.LeadID = answer.LeadID
		words := []string{answer.Message}
		for _, field := range slices.Sorted(maps.Keys(answer.Errors)) {
			words = append(words, answer.Errors[field]...)
		}
		result.Note = short(strings.Join(words, " "))
	}
	return result
}

// whyUnauthorized prints nothing of a header that may be a token.
func whyUnauthorized(header, token string) string {
	scheme, _, _ := strings.Cut(header, " ")
	switch {
	case header == "ApiToken "+token:
		return "by a fault: the token was right"
	case header == "":
		return "no Authorization header: send \"ApiToken\", a blank and the token"
	case scheme == "ApiToken":
		return "not the token that was printed at the start"
	case slices.Contains([]string{"apitoken", "bearer", "basic", "token"}, strings.ToLower(scheme)):
		return fmt.Sprintf("scheme %q in the Authorization header, where \"ApiToken\" is wanted", scheme)
	}
	return "no scheme in the Authorization header: send \"ApiToken\", a blank and the token"
}

// target is a path with its query. What a client puts into parameters that the
// API does not know may be anything, even a token, so their values are left
// out.
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
		return short(u.EscapedPath())
	}
	return short(u.EscapedPath() + "?" + strings.Join(pairs, "&"))
}

// short keeps a text on one line of bearable length.
func short(text string) string {
	const most = 300
	blank := func(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) }
	text = strings.Join(strings.FieldsFunc(text, blank), " ")
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "..."
	}
	return text
}
