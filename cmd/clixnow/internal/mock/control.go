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
	mux.HandleFunc("POST /_mock/page/samples", m.submitSamples)
	mux.HandleFunc("POST /_mock/page/leads/{id}", m.submitLead)
	mux.HandleFunc("POST /_mock/page/faults", m.submitFault)
	mux.HandleFunc("POST /_mock/page/faults/clear", m.submitClear)

	mux.HandleFunc("GET /_mock/leads", respond(func(*http.Request) (any, error) { return m.leads(), nil }))
	mux.HandleFunc("POST /_mock/leads", respond(m.addLeads))
	mux.HandleFunc("PATCH /_mock/leads/{id}", respond(m.patchLead))
	mux.HandleFunc("DELETE /_mock/leads/{id}", respond(m.deleteLead))
	mux.HandleFunc("GET /_mock/requests", respond(func(*http.Request) (any, error) {
		requests, _ := m.recent()
		return requests, nil
	}))
	mux.HandleFunc("GET /_mock/faults", respond(func(*http.Request) (any, error) { return m.faults(), nil }))
	mux.HandleFunc("POST /_mock/faults", respond(m.addFaults))
	mux.HandleFunc("DELETE /_mock/faults", respond(m.clearFaults))
	mux.HandleFunc("POST /_mock/reset", respond(func(*http.Request) (any, error) { m.reset(); return nil, nil }))
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

func (m *mock) changeLead(r *http.Request, c change) (id int64, err error) {
	id, err = leadID(r)
	if err != nil {
		return 0, err
	}
	return id, m.fake.Load().UpdateLead(id, c.apply)
}

func leadID(r *http.Request) (int64, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not the id of a lead", r.PathValue("id"))
	}
	return id, nil
}

func (m *mock) patchLead(r *http.Request) (any, error) {
	var c change
	decoder := json.NewDecoder(withoutMark(r.Body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&c); err != nil {
		return nil, fmt.Errorf(`send {"status":"Call back"}, {"deposited":true}, or both: %w`, err)
	}
	_, err := m.changeLead(r, c)
	return nil, err
}

func (m *mock) deleteLead(r *http.Request) (any, error) {
	id, err := leadID(r)
	if err != nil {
		return nil, err
	}
	return nil, m.fake.Load().DeleteLead(id)
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

func (m *mock) clearFaults(*http.Request) (any, error) {
	m.fake.Load().ClearFaults()
	return m.faults(), nil
}
