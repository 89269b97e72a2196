package mock

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	texttemplate "text/template"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/loopback"
)

//go:embed page text
var files embed.FS

// registration is the field of /_mock/leads that has the body of the create.
const registration = "registration"

// mock is a fake API with a log, a web page and a control endpoint.
type mock struct {
	settings settings
	seed     []clixnow.Lead
	// fake is replaced by a reset.
	fake     atomic.Pointer[clixnowtest.Server]
	control  http.Handler
	template *template.Template
	// version changes whenever the page may have changed.
	version atomic.Int64
	// isLocal reports that only this machine can reach the mock.
	isLocal bool

	// mu guards the fields after it. It is not held while fake is called.
	mu  sync.Mutex
	out io.Writer
	// requests holds the last maxRequests requests.
	requests []request
	// arrived is the number of all requests since the last reset.
	arrived int
	// creating holds the creates that the fake has not answered, by email.
	creating map[string]*request
	// registrations holds the masked bodies of creates by the ids of leads.
	registrations map[int64]json.RawMessage
	ids           ids
}

func newMock(set settings, out io.Writer) (*mock, error) {
	m := &mock{settings: set, out: out, template: parsePage(), ids: ids{path: set.state}}
	m.version.Store(time.Now().UnixNano())
	if set.seed != "" {
		data, err := os.ReadFile(set.seed)
		if err != nil {
			return nil, fmt.Errorf("read --seed: %w", err)
		}
		if m.seed, err = readLeads(data); err != nil {
			return nil, fmt.Errorf("read --seed %s: %w", set.seed, err)
		}
	}
	if set.isDemo {
		m.seed = append(m.seed, m.samples()...)
	}
	if err := m.ids.load(max(1, set.firstID)); err != nil {
		return nil, err
	}
	m.control = m.routes()
	m.reset()
	return m, m.ids.save(0)
}

// samples returns leads for trying the page, without ids.
func (m *mock) samples() []clixnow.Lead {
	samples := m.settings.demo().Leads()
	for i := range samples {
		samples[i].ID = 0
	}
	return samples
}

// reset restores the state of the start. With --state, ids go on.
func (m *mock) reset() {
	m.mu.Lock()
	m.requests, m.arrived = nil, 0
	m.creating, m.registrations = make(map[string]*request), make(map[int64]json.RawMessage)
	if m.ids.path == "" {
		m.ids.next = max(1, m.settings.firstID)
	}
	first := m.ids.next
	m.mu.Unlock()
	fake := clixnowtest.NewHandler(append(slices.Clone(m.settings.options), clixnowtest.WithFirstID(first),
		clixnowtest.WithSearchDelay(m.observe), clixnowtest.WithRequestLimit(1))...) // the log holds the requests
	m.add(fake, m.seed)
	fake.Inject(m.settings.faults...)
	if old := m.fake.Swap(fake); old != nil {
		old.Close()
	}
}

// observe is called by the fake for each new or changed lead, before the
// response to the request. It returns the time until searches show the change.
func (m *mock) observe(changed clixnow.Lead) time.Duration {
	m.version.Add(1)
	m.mu.Lock()
	defer m.mu.Unlock()
	if create := m.creating[strings.ToLower(changed.Email)]; create != nil && changed.ID >= m.ids.next {
		create.LeadID, m.registrations[changed.ID] = changed.ID, create.Body
	}
	if err := m.ids.use(changed.ID); err != nil {
		fmt.Fprintln(m.out, "WARNING: after a restart, ids may be used again:", err)
	}
	return m.settings.lag
}

// add adds leads as the broker would. It returns them with their ids.
func (m *mock) add(fake *clixnowtest.Server, leads []clixnow.Lead) []clixnow.Lead {
	leads = slices.Clone(leads)
	bodies := make([]json.RawMessage, len(leads))
	for i := range leads {
		bodies[i], leads[i].Extra = leads[i].Extra[registration], maps.Clone(leads[i].Extra)
		delete(leads[i].Extra, registration) // searches do not show it
	}
	added := fake.AddLeads(leads...)
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, body := range bodies {
		if body != nil {
			m.registrations[added[i].ID] = body
		}
	}
	return added
}

// leads returns all leads with their registrations, in order of their ids.
func (m *mock) leads() []clixnow.Lead {
	leads := m.fake.Load().Leads()
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range leads {
		if body := m.registrations[leads[i].ID]; body != nil {
			if leads[i].Extra == nil {
				leads[i].Extra = make(map[string]json.RawMessage)
			}
			leads[i].Extra[registration] = body
		}
	}
	return leads
}

// greet prints the address, the token and commands to try.
func (m *mock) greet(addr *net.TCPAddr, errs io.Writer) {
	m.isLocal = addr.IP.IsLoopback()
	if !m.isLocal {
		fmt.Fprintln(errs,
			"WARNING: other machines can reach this address. They can read and change everything in this mock.")
	}
	fake, host := m.fake.Load(), addr.String()
	if addr.IP.IsUnspecified() {
		host = fmt.Sprintf("127.0.0.1:%d", addr.Port)
	}
	token, origin := fake.Token, fake.Token+" (fake: only this mock accepts it)"
	if file := m.settings.tokenFile; file != "" {
		token, origin = "$(cat '"+file+"')", "that of "+file
	}
	greeting := texttemplate.Must(texttemplate.ParseFS(files, "text/greeting.txt"))
	_ = greeting.Execute(m.out, map[string]any{
		"Brand": fake.Brand, "Leads": len(m.seed), "URL": "http://" + host, "Token": token, "Origin": origin,
		"Today": time.Now().UTC().Format(time.DateOnly), "Faults": len(fake.Faults()),
	})
}

func (m *mock) stop(ctx context.Context, server *http.Server) error {
	m.mu.Lock()
	fmt.Fprintln(m.out, "Stopping. Another signal stops it at once.")
	m.mu.Unlock()
	m.fake.Load().Close()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err := server.Shutdown(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		_ = server.Close()
		fmt.Fprintln(m.out, "Connections that were still open after 10 seconds were closed.")
	}
	return m.ids.save(0)
}

// ServeHTTP serves the page and the control endpoint. It passes all other
// requests to the fake API and logs them.
func (m *mock) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	entry := &request{Time: time.Now().UTC(), Method: shorten(r.Method), Target: target(r.URL)}
	isControl := r.URL.Path == "/" || strings.HasPrefix(r.URL.Path, "/_mock/")
	switch {
	case !m.isAllowed(r.Host):
		err := fmt.Errorf("%w %q: use localhost, or start it with --host", errForeignHost, shorten(r.Host))
		respond(func(*http.Request) (any, error) { return nil, err })(w, r)
		entry.Status, entry.Note = http.StatusForbidden, err.Error()
		m.log(entry)
		return
	case isControl && r.Method != http.MethodGet:
		defer m.version.Add(1)
		fallthrough
	case isControl:
		m.control.ServeHTTP(w, r)
		return
	}
	fake := m.fake.Load()
	body, _ := io.ReadAll(io.LimitReader(r.Body, maxControlBytes)) // the fake gets the error too
	r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), r.Body))
	entry.setBody(body, fake.Token)
	if entry.email != "" {
		m.mu.Lock()
		m.creating[entry.email] = entry
		m.mu.Unlock()
	}
	recorder := &responseRecorder{ResponseWriter: w, cut: true}
	defer func() { // deferred, because the fake cuts a connection with a panic
		recorder.describe(entry, r, fake.Token)
		m.log(entry)
	}()
	fake.ServeHTTP(recorder, r)
	recorder.cut = false
}

// isAllowed reports whether a request to a host is meant for the mock. On
// loopback it refuses other names, because a page of a site in the developer's
// browser may have made its name point to this machine (DNS rebinding).
func (m *mock) isAllowed(host string) bool {
	return !m.isLocal || loopback.Allows(host, m.settings.hosts...)
}
