// Package clixnowtest is a Clixnow in memory, for the tests of programs that
// use package clixnow:
//
//	server := clixnowtest.NewServer()
//	defer server.Close()
//	client := server.Client() // a *clixnow.Client like any other
//
// It judges requests as the API does: token, media types, mandatory fields,
// duplicates. What happens at a broker later is done by [Server.AddLeads],
// [Server.UpdateLead] and [Server.DeleteLead]; what goes wrong between here and
// there, by [Server.Inject]. [Server.Leads] and [Server.Requests] show what
// came of it. Programs in any language can use it over HTTP.
//
// Where the API reference is silent (whether bounds are included, which lead of
// one instant comes first, where leads without a first deposit stand), one
// plausible answer was chosen. Code that works here may yet rely on what the
// API never promised.
package clixnowtest

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"io"
	"log"
	"maps"
	"math"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/clixnow/clixnow-go"
)

const (
	leadsPath  = "/api/system/v1/leads"
	searchPath = "/api/system/v1/leads/search"

	maxBodyBytes = 1 << 20 // a create takes a few thousand
)

// Server is a Clixnow of one brand and one token, with its leads in memory.
// Create it with [NewServer] or [NewHandler]. All its methods are safe for
// concurrent use; its fields are not to be changed.
type Server struct {
	URL   string // where it listens, such as http://127.0.0.1:40123; "" where it was made by NewHandler
	Brand string
	Token string // the one that it accepts

	now          func() time.Time
	pageLimit    int
	envelope     string
	hidden       map[string]bool // by name in lower case
	requestLimit int             // of arrived

	// What creates are refused for. Nil countries means that all are allowed.
	allowDuplicates bool
	countries       map[string]bool
	capacity        int
	fullMessage     string

	// bounds is how filters compare. A nil dateZone means that dates are
	// printed in UTC, with a Z.
	bounds   bounds
	dateZone *time.Location

	changes sync.Mutex // held while a function of the caller changes a lead; taken before mu
	mu      sync.Mutex // guards the following
	leads   store
	faults  []Fault
	arrived []*Request

	closed  chan struct{}
	close   func()         // closes closed, once
	http    *http.Server   // nil without a listener
	serving sync.WaitGroup // the listener and its connections
}

// Request is a request that arrived. Its maps and its body are shared between
// all who ask: they are not to be changed.
type Request struct {
	Method string
	Path   string
	Query  url.Values
	Header http.Header
	Body   []byte
	Status int // of the answer; 0 while there is none, and where the connection was cut instead
}

// NewServer starts a server on a free port of the loopback interface; call
// Close when done. It panics where it cannot listen.
func NewServer(opts ...Option) *Server {
	s := NewHandler(opts...)
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		panic("clixnowtest: " + err.Error())
	}
	s.URL = "http://" + listener.Addr().String()
	s.http = &http.Server{
		Handler: s, ConnState: s.track, ReadHeaderTimeout: time.Minute,
		ErrorLog: log.New(io.Discard, "", 0),
	}
	s.serving.Go(func() { _ = s.http.Serve(listener) }) // always an error: that it was closed
	return s
}

// NewHandler returns a server without a listener, to be served by yourself:
// under TLS, HTTP/2 or a path of your own. Faults that cut the connection panic
// with [http.ErrAbortHandler]; what stands between must let that pass.
func NewHandler(opts ...Option) *Server {
	s := &Server{ //nolint:gosec // G101: the token opens nothing
		Brand: "acme", Token: "CfDJ8-clixnowtest-token",
		now: time.Now, pageLimit: clixnow.MaxPageSize, hidden: make(map[string]bool), requestLimit: math.MaxInt,
		capacity: math.MaxInt, leads: newStore(), closed: make(chan struct{}),
	}
	s.close = sync.OnceFunc(func() { close(s.closed) })
	for _, opt := range opts {
		if opt == nil {
			panic("clixnowtest: nil option")
		}
		opt(s)
	}
	return s
}

// Close ends every delay, cuts every connection and returns when no request is
// being served. Of a server without a listener it ends the delays alone. It may
// be called more than once.
func (s *Server) Close() {
	s.close()
	if s.http == nil {
		return
	}
	_ = s.http.Close() // the listener's error, of which nobody could make anything
	s.serving.Wait()
}

// track counts connections, since http.Server.Close waits for none.
func (s *Server) track(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.serving.Add(1)
		select {
		case <-s.closed: // http.Server.Close may have come too early to know of it
			_ = conn.Close()
		default:
		}
	case http.StateClosed, http.StateHijacked:
		s.serving.Done()
	default: // it is still the same connection
	}
}

// Client returns a new client for the server. Its back-off takes milliseconds,
// so a Retry-After of a second is not waited out, and the answer is returned at
// once; opts can change that. It panics where [clixnow.NewClient] fails, and on
// a server without a listener.
func (s *Server) Client(opts ...clixnow.Option) *clixnow.Client {
	if s.URL == "" {
		panic("clixnowtest: a server without a listener has no URL: use clixnow.NewClient with that of yours")
	}
	own := []clixnow.Option{
		clixnow.WithBaseURL(s.URL),
		clixnow.WithRetry(clixnow.RetryPolicy{MinBackoff: time.Millisecond, MaxBackoff: 50 * time.Millisecond}),
	}
	client, err := clixnow.NewClient(s.Brand, s.token(), append(own, opts...)...)
	if err != nil {
		panic("clixnowtest: " + err.Error())
	}
	return client
}

// SetToken sets a new token. From then on the server refuses the old one.
// Clients that exist already keep the old one.
func (s *Server) SetToken(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Token = token
}

func (s *Server) token() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Token
}

// Requests returns what arrived, in order, whatever became of it. A request has
// arrived when its body was read.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	requests := make([]Request, len(s.arrived))
	for i, request := range s.arrived {
		requests[i] = *request
	}
	return requests
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == autologinPath {
		s.serveAutologin(w, r)
		return
	}
	var (
		body []byte
		err  error
	)
	if r.Body != nil { // nil in a client's request that a RoundTripper hands on as it is
		body, err = io.ReadAll(io.LimitReader(r.Body, maxBodyBytes+1))
	}
	request, fault := s.arrive(r, body)
	if err != nil {
		panic(http.ErrAbortHandler) // the client cut the connection
	}
	a := s.answer(r, body, fault)
	header := w.Header()
	header.Set("Date", s.date())
	if len(a.body) > 0 {
		header.Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	maps.Copy(header, a.header)
	if fault.Drop == DropMidBody {
		w.WriteHeader(a.status)
		_, _ = w.Write(a.body[:len(a.body)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	s.settle(request, a.status) // before the client can see the answer, and then ask for this
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}

func (s *Server) date() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now().UTC().Format(http.TimeFormat)
}

// arrive records a request, and takes the fault that strikes it, if any.
func (s *Server) arrive(r *http.Request, body []byte) (*Request, Fault) {
	request := &Request{Method: r.Method, Path: r.URL.Path, Query: r.URL.Query(), Header: r.Header.Clone(), Body: body}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.arrived) == s.requestLimit {
		s.arrived[0] = nil
		s.arrived = s.arrived[1:]
	}
	s.arrived = append(s.arrived, request)
	return request, s.takeFault(r, body)
}

func (s *Server) settle(request *Request, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	request.Status = status
}

// answer is a response before it is sent.
type answer struct {
	status int
	header http.Header // its names in canonical form
	body   []byte
}

// handle carries a request out.
func (s *Server) handle(r *http.Request, body []byte) answer {
	method := http.MethodGet
	switch r.URL.Path {
	case searchPath:
	case leadsPath:
		method = http.MethodPost
	default:
		return problem(http.StatusNotFound, "Not found.", nil)
	}
	authorization := []byte(r.Header.Get("Authorization"))
	switch {
	case r.Method != method:
		refusal := problem(http.StatusMethodNotAllowed, "Method not allowed.", nil)
		refusal.header.Set("Allow", method)
		return refusal
	case subtle.ConstantTimeCompare(authorization, []byte("ApiToken "+s.token())) == 0:
		return problem(http.StatusUnauthorized, "The authentication token is missing or invalid.", nil)
	case !acceptsJSON(r.Header), method == http.MethodPost && !holdsJSON(r.Header):
		return problem(http.StatusUnsupportedMediaType, "Wrong Accept or Content-Type.", nil)
	case len(body) > maxBodyBytes:
		return problem(http.StatusRequestEntityTooLarge, "The request body is too large.", nil)
	case method == http.MethodPost:
		return s.create(r, body)
	}
	return s.search(r.URL.Query())
}

func success(body []byte) answer {
	return answer{http.StatusOK, http.Header{"Content-Type": {"application/json; charset=utf-8"}}, body}
}

// problem is the API's answer to a request that it refuses; faults are by
// field, and may be nil.
func problem(status int, message string, faults map[string][]string) answer {
	refusal := success(mustMarshal(struct {
		Message string              `json:"message"`
		Errors  map[string][]string `json:"errors,omitempty"`
	}{message, faults}))
	refusal.status = status
	return refusal
}

// mustMarshal encodes what is known to have a JSON form.
func mustMarshal(value any) []byte {
	data, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return data
}

func holdsJSON(header http.Header) bool {
	mediaType, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	return err == nil && mediaType == "application/json"
}

// acceptsJSON reports what the most precise of the media ranges that cover JSON
// says (RFC 9110, section 12.5.1).
func acceptsJSON(header http.Header) bool {
	accept := strings.Join(header.Values("Accept"), ",")
	if strings.TrimSpace(accept) == "" {
		return true
	}
	best, accepted := 0, false
	for item := range strings.SplitSeq(accept, ",") {
		mediaRange, parameters, err := mime.ParseMediaType(item)
		precision := slices.Index([]string{"", "*/*", "application/*", "application/json"}, mediaRange)
		if err != nil || precision < 1 || precision < best {
			continue
		}
		quality, given := parameters["q"]
		weight, err := strconv.ParseFloat(quality, 64)
		best, accepted = precision, !given || err == nil && weight > 0
	}
	return accepted
}

// wait returns false where the client, or the server, has gone before the time
// is over.
func (s *Server) wait(ctx context.Context, delay time.Duration) bool {
	if delay <= 0 {
		return true
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-s.closed:
	}
	return false
}
