package clixnowtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Fault describes what happens to a request. A fault that sets only Method,
// Email and Times changes nothing: its requests are handled as usual. The next
// fault then strikes later requests.
type Fault struct {
	// Method is "POST" or "GET". "" means any.
	Method string
	// Email limits the fault to creates of this email, ignoring case. "" means
	// any request.
	Email string
	// Times is the number of requests that the fault strikes. 0 means 1.
	Times int
	// HandleFirst carries out the request and then does the rest. Examples:
	// created but answered 502, created but too slow.
	HandleFirst bool
	// Delay is the wait before the steps that follow. If the client goes away
	// meanwhile, they are not done. 0 means no wait.
	Delay time.Duration
	// Status is the status of the response. It replaces the handling of the
	// request or, with HandleFirst, the response to it. 0 means that the fault
	// sends no response.
	Status int
	// Header is sent with Status. It replaces the server's own header fields,
	// also Date and Content-Length.
	Header http.Header
	// Body is sent with Status.
	Body string
	// Drop cuts the connection. It wins over Status. 0 means NoDrop.
	Drop Drop
}

// Drop is the time at which a fault cuts the connection.
type Drop int

// The values of Drop.
const (
	// NoDrop does not cut the connection.
	NoDrop Drop = iota
	// DropBeforeHandling cuts the connection when the request has been read.
	// With HandleFirst it is DropAfterHandling.
	DropBeforeHandling
	// DropAfterHandling carries out the request and cuts the connection without
	// a response. After a create the client cannot know the outcome.
	DropAfterHandling
	// DropMidBody cuts the connection after the first half of the response
	// body.
	DropMidBody
)

// Inject adds faults after those that are waiting. The first fault that matches
// a request strikes it, before the server checks the token. Inject panics if a
// Status cannot end a request: below 200 (but 101 is allowed), or above 999.
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

// Faults returns the faults that are still waiting, in order. Times is the
// number of requests that the fault will still strike.
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

// ClearFaults removes the faults that are still waiting. It does not stop a
// fault that is striking a request.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// takeFault returns the fault that strikes a request, and counts it. It returns
// the zero Fault if no fault matches.
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
	// A body that is not JSON has no email.
	_ = json.Unmarshal(body, &lead)
	return strings.EqualFold(lead.Email, f.Email)
}

// respond handles a request as its fault says. It panics if the fault cuts the
// connection without a response.
func (s *Server) respond(r *http.Request, body []byte, fault Fault) (result response) {
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
		return fault.response()
	case fault.Drop == DropBeforeHandling, fault.Drop == DropAfterHandling:
		panic(http.ErrAbortHandler)
	}
	return result
}

// response returns the response with Status.
func (f Fault) response() response {
	header := make(http.Header, len(f.Header)+1)
	for name, values := range f.Header {
		header[http.CanonicalHeaderKey(name)] = values
	}
	if _, given := header["Content-Type"]; !given && f.Body != "" {
		header.Set("Content-Type", contentType(f.Body))
	}
	return response{f.Status, header, []byte(f.Body)}
}

// contentType guesses the media type of a body. net/http's own guess does not
// know JSON.
func contentType(body string) string {
	switch {
	case json.Valid([]byte(body)):
		return "application/json"
	case strings.HasPrefix(strings.TrimSpace(body), "<"):
		return "text/html; charset=utf-8"
	}
	return "text/plain; charset=utf-8"
}
