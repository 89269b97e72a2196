package clixnowtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Fault is something that goes wrong with a request. One with nothing but
// Method and Times lets its requests pass, and so postpones the faults after
// it.
type Fault struct {
	Method string // "POST" or "GET"; "" = any
	// Email limits the fault to creates of this email, ignoring case. "" means
	// any request.
	Email       string
	Times       int           // requests that it strikes; 0 = 1
	HandleFirst bool          // carry the request out, then do the rest: created but answered 502, created but too slow
	Delay       time.Duration // before what follows; when the client goes away meanwhile, what follows is not done
	// answer this, instead of handling the request or, with HandleFirst,
	// instead of its answer; 0 = do not
	Status int
	Header http.Header // of the answer with Status; wins over the server's own, Date and Content-Length included
	Body   string      // of the answer with Status
	Drop   Drop        // cut the connection; wins over Status
}

// Drop says when a fault cuts the connection.
type Drop int

// When the connection is cut.
const (
	NoDrop             Drop = iota
	DropBeforeHandling      // once the request was read; with HandleFirst the same as DropAfterHandling
	DropAfterHandling       // instead of answering: a create was carried out, and its client cannot know
	DropMidBody             // after the first half of the answer's body
)

// Inject adds faults behind those that wait already. A request is struck by the
// first of them that it matches, before the server looks at its token. Inject
// panics on a Status that cannot end a request: one below 200 other than 101,
// or above 999.
func (s *Server) Inject(faults ...Fault) {
	for _, fault := range faults {
		if status := fault.Status; status != 0 && status != http.StatusSwitchingProtocols &&
			(status < 200 || status > 999) {
			panic(fmt.Sprintf("clixnowtest: Inject: HTTP cannot end a request with status %d", status))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, fault := range faults {
		fault.Header = fault.Header.Clone()
		s.faults = append(s.faults, fault)
	}
}

// Faults returns the faults that still wait, in order, each with the Times that
// are left of it.
func (s *Server) Faults() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting := slices.Clone(s.faults)
	for i := range waiting {
		waiting[i].Times = max(waiting[i].Times, 1)
		waiting[i].Header = waiting[i].Header.Clone()
	}
	return waiting
}

// ClearFaults removes the faults that still wait. One that has begun goes on.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// takeFault returns the fault that strikes a request, used up by one time; the
// zero Fault where none does.
func (s *Server) takeFault(r *http.Request, body []byte) Fault {
	i := slices.IndexFunc(s.faults, func(f Fault) bool { return f.matches(r, body) })
	if i < 0 {
		return Fault{}
	}
	fault := s.faults[i]
	s.faults[i].Times--
	if fault.Times <= 1 {
		s.faults = slices.Delete(s.faults, i, i+1)
	}
	return fault
}

func (f Fault) matches(r *http.Request, body []byte) bool {
	if f.Method != "" && f.Method != r.Method {
		return false
	}
	if f.Email == "" {
		return true
	}
	if r.Method != http.MethodPost || r.URL.Path != leadsPath {
		return false
	}
	var lead struct {
		Email string `json:"email"`
	}
	// A body that is no JSON has no email.
	_ = json.Unmarshal(body, &lead)
	return strings.EqualFold(lead.Email, f.Email)
}

// answer handles a request as far as its fault lets it, and panics where that
// cuts the connection before an answer.
func (s *Server) answer(r *http.Request, body []byte, fault Fault) (result answer) {
	replaced := fault.Drop == NoDrop && fault.Status != 0
	if fault.HandleFirst {
		result = s.handle(r, body)
	}
	if !s.wait(r.Context(), fault.Delay) {
		panic(http.ErrAbortHandler)
	}
	if !fault.HandleFirst && !replaced && fault.Drop != DropBeforeHandling {
		result = s.handle(r, body)
	}
	switch {
	case replaced:
		return fault.answer()
	case fault.Drop == DropBeforeHandling, fault.Drop == DropAfterHandling:
		panic(http.ErrAbortHandler)
	}
	return result
}

// answer is the answer with Status.
func (f Fault) answer() answer {
	header := make(http.Header, len(f.Header)+1)
	for name, values := range f.Header {
		header[http.CanonicalHeaderKey(name)] = values
	}
	if _, given := header["Content-Type"]; !given && f.Body != "" {
		header.Set("Content-Type", contentType(f.Body))
	}
	return answer{f.Status, header, []byte(f.Body)}
}

// contentType is what a server would say of a body: net/http's own guess knows
// no JSON.
func contentType(body string) string {
	switch {
	case json.Valid([]byte(body)):
		return "application/json"
	case strings.HasPrefix(strings.TrimSpace(body), "<"):
		return "text/html; charset=utf-8"
	}
	return "text/plain; charset=utf-8"
}
