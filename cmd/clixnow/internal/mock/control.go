package mock

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

const maxControlBytes = 8 << 20

var errForeignHost = errors.New("this mock serves this machine only, and not the host")

// routes returns the handler of the page and the control endpoint. It refuses
// requests of other sites' pages in the developer's browser.
func (m *mock) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", http.RedirectHandler("/_mock/", http.StatusSeeOther))
	mux.HandleFunc("GET /_mock/{$}", m.page)
	mux.Handle("GET /_mock/page/", http.StripPrefix("/_mock/", http.FileServerFS(files)))
	mux.HandleFunc("POST /_mock/page/leads/{id}", m.submitLead)
	mux.HandleFunc("POST /_mock/page/faults", m.submitFault)
	mux.HandleFunc("POST /_mock/page/faults/clear", func(w http.ResponseWriter, r *http.Request) {
		m.fake.Load().ClearFaults()
		redirectBack(w, r, "faults")
	})
	mux.HandleFunc("POST /_mock/page/samples", func(w http.ResponseWriter, r *http.Request) {
		m.add(m.fake.Load(), m.samples())
		redirectBack(w, r, "leads")
	})

	handle := func(pattern string, handle func(*http.Request) (any, error)) {
		mux.HandleFunc(pattern, respond(handle))
	}
	handle("GET /_mock/leads", func(*http.Request) (any, error) { return m.leads(), nil })
	handle("POST /_mock/leads", m.addLeads)
	handle("PATCH /_mock/leads/{id}", m.patchLead)
	handle("DELETE /_mock/leads/{id}", func(r *http.Request) (any, error) {
		return nil, onLead(r, m.deleteLead)
	})
	handle("GET /_mock/requests", func(*http.Request) (any, error) {
		requests, _ := m.recent()
		return requests, nil
	})
	handle("GET /_mock/faults", func(*http.Request) (any, error) { return m.faults(), nil })
	handle("POST /_mock/faults", m.addFaults)
	handle("DELETE /_mock/faults", func(*http.Request) (any, error) {
		m.fake.Load().ClearFaults()
		return m.faults(), nil
	})
	handle("POST /_mock/reset", func(*http.Request) (any, error) { m.reset(); return nil, nil })
	return new(http.CrossOriginProtection).Handler(http.MaxBytesHandler(mux, maxControlBytes))
}

// respond returns a handler that writes the result of handle as JSON. If the
// result is nil, the status is 204.
func respond(handle func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		result, err := handle(r)
		status := statusOf(err)
		if err != nil {
			result = map[string]string{"message": err.Error()}
		}
		if result == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(result) // it fails if the client has closed the connection
	}
}

func statusOf(err error) int {
	switch {
	case err == nil:
		return http.StatusOK
	case errors.Is(err, clixnow.ErrLeadNotFound):
		return http.StatusNotFound
	case errors.Is(err, errForeignHost):
		return http.StatusForbidden
	}
	return http.StatusBadRequest
}

func (m *mock) addLeads(r *http.Request) (any, error) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	leads, err := readLeads(data)
	if err != nil {
		return nil, err
	}
	return m.add(m.fake.Load(), leads), nil
}

// change is a change of a lead, as a broker makes it. A nil field changes
// nothing.
type change struct {
	Status    *string `json:"status"`
	Deposited *bool   `json:"deposited"`
}

func (c change) apply(lead *clixnow.Lead) {
	if c.Status != nil {
		lead.Status = *c.Status
	}
	switch {
	case c.Deposited == nil || *c.Deposited == lead.HasFTD():
	case *c.Deposited:
		lead.FTDDate, lead.ClientType = time.Now(), clixnow.ClientTypeDepositor
	default:
		lead.FTDDate, lead.ClientType = time.Time{}, clixnow.ClientTypeClient
	}
}

func (m *mock) changeLead(r *http.Request, c change) error {
	return onLead(r, func(id int64) error { return m.fake.Load().UpdateLead(id, c.apply) })
}

func (m *mock) deleteLead(id int64) error {
	m.mu.Lock()
	delete(m.registrations, id) // a lead with this id may be added again
	m.mu.Unlock()
	return m.fake.Load().DeleteLead(id)
}

// onLead calls do with the id in the path.
func onLead(r *http.Request, do func(id int64) error) error {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return fmt.Errorf("%q is not the id of a lead", r.PathValue("id"))
	}
	return do(id)
}

func (m *mock) patchLead(r *http.Request) (any, error) {
	var c change
	decoder := json.NewDecoder(withoutMark(r.Body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&c); err != nil {
		return nil, fmt.Errorf(`send {"status":"Call back"}, {"deposited":true}, or both: %w`, err)
	}
	return nil, m.changeLead(r, c)
}

func (m *mock) faults() []string {
	texts := []string{}
	for _, fault := range m.fake.Load().Faults() {
		texts = append(texts, formatFault(fault))
	}
	return texts
}

func (m *mock) addFaults(r *http.Request) (any, error) {
	var texts []string
	if err := json.NewDecoder(withoutMark(r.Body)).Decode(&texts); err != nil {
		return nil, fmt.Errorf(`send a list of faults, like ["POST status=503 times=2"]: %w`, err)
	}
	var faults []clixnowtest.Fault
	for i, text := range texts {
		fault, err := parseFault(text)
		if err != nil {
			return nil, fmt.Errorf("fault %d: %w", i+1, err)
		}
		faults = append(faults, fault)
	}
	m.fake.Load().Inject(faults...)
	return m.faults(), nil
}
