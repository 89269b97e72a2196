// Package clixnowtest is a fake Clixnow API in memory, for the tests of
// programs that use package clixnow:
//
//	server := clixnowtest.NewServer()
//	defer server.Close()
//	client := server.Client() // a *clixnow.Client like any other
//
// The server checks requests as the API does: token, media types, mandatory
// fields and duplicates. [Server.AddLeads], [Server.UpdateLead] and
// [Server.DeleteLead] do what a broker does later. [Server.Inject] adds faults,
// such as a 502 or a lost connection. [Server.Leads] and [Server.Requests]
// return what the server has stored and received. Programs in other languages
// can use the server over HTTP too.
//
// The API reference leaves some questions open: whether bounds are included,
// which of two leads with the same date comes first, and where leads without a
// first deposit come. For each question the server uses one plausible answer.
// For some of them an option selects another answer, so that a test can try
// both.
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

	// maxBodyBytes is the limit of a request body. A create has a few thousand
	// bytes.
	maxBodyBytes = 1 << 20
)

// Server is a fake Clixnow API for one brand. It keeps its leads in memory.
// Create it with [NewServer] or [NewHandler]. Its methods are safe for
// concurrent use. Do not change its fields.
type Server struct {
	// URL is the base URL of the server, such as "http://127.0.0.1:40123". It
	// is "" if the server was created by NewHandler.
	URL string
	// Brand is the brand that Client uses.
	Brand string
	// Token is the token that the server accepts. SetToken changes it.
	Token string

	now          func() time.Time
	pageLimit    int
	requestLimit int
	// envelope is the key of the object around search results. "" means that
	// there is no object.
	envelope string
	// hidden holds the names of hidden fields in lower case.
	hidden map[string]bool

	allowDuplicates bool
	// countries holds the allowed codes in upper case. nil allows all.
	countries map[string]bool
	// capacity is the number of leads at which creates are refused.
	capacity        int
	capacityMessage string

	comparison comparison
	// dateZone is the zone of the dates in searches. nil means UTC, with a Z.
	dateZone *time.Location

	// changes is held while a function of the caller changes a lead. It is
	// locked before mu.
	changes sync.Mutex
	// mu guards the token and the fields below it.
	mu       sync.Mutex
	leads    store
	faults   []Fault
	requests []*Request

	closed chan struct{}
	// close closes the channel closed. It may be called more than once.
	close func()
	// http is nil if there is no listener.
	http *http.Server
	// serving counts the listener and its connections.
	serving sync.WaitGroup
}

// Request is a request that arrived. Do not change its maps and its body: all
// results of [Server.Requests] share them.
type Request struct {
	Method string
	Path   string
	Query  url.Values
	Header http.Header
	Body   []byte
	// Status is the status of the response. It is 0 if the server has sent no
	// response yet, or has cut the connection.
	Status int
}

// NewServer starts a server on a free loopback port. Call Close when you are
// done. It panics if it cannot listen.
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
	s.serving.Go(func() {
		// Serve always returns an error: that the server was closed.
		_ = s.http.Serve(listener)
	})
	return s
}

// NewHandler returns a server without a listener. Use it to serve the fake
// yourself, for example with TLS, HTTP/2 or a path prefix. Faults that cut the
// connection panic with [http.ErrAbortHandler]. Middleware must not recover
// this panic.
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

// Close ends all delays, cuts all connections and waits until no request is
// being served. If the server has no listener, Close only ends the delays. It
// may be called more than once.
func (s *Server) Close() {
	s.close()
	if s.http == nil {
		return
	}
	// The error is the listener's. A caller could do nothing about it.
	_ = s.http.Close()
	s.serving.Wait()
}

// track counts the open connections, because http.Server.Close does not wait
// for them.
func (s *Server) track(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.serving.Add(1)
		select {
		case <-s.closed:
			// http.Server.Close may have run before it knew this connection.
			_ = conn.Close()
		default:
		}
	case http.StateClosed, http.StateHijacked:
		s.serving.Done()
	default: // The connection stays open.
	}
}

// Client returns a new client for the server, with the current token. Its
// back-off and the looks of its EnsureLead take milliseconds. So it does not
// wait for a Retry-After of a second or more, but returns the error at once.
// opts are applied after these settings. Client panics if [clixnow.NewClient]
// returns an error, or if the server has no listener.
func (s *Server) Client(opts ...clixnow.Option) *clixnow.Client {
	if s.URL == "" {
		panic("clixnowtest: Client: the server has no listener; use clixnow.NewClient with your own base URL")
	}
	own := []clixnow.Option{
		clixnow.WithBaseURL(s.URL),
		clixnow.WithRetry(clixnow.RetryPolicy{MinBackoff: time.Millisecond, MaxBackoff: 50 * time.Millisecond}),
		clixnow.WithLooks(time.Millisecond, 2*time.Millisecond, 5*time.Millisecond, 10*time.Millisecond),
	}
	client, err := clixnow.NewClient(s.Brand, s.token(), append(own, opts...)...)
	if err != nil {
		panic("clixnowtest: " + err.Error())
	}
	return client
}

// SetToken sets a new token. The server refuses the old token from then on.
// Clients that exist already keep the old token.
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

// Requests returns all requests that arrived, in order, also those that were
// refused or cut. A request has arrived when its body has been read.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	requests := make([]Request, len(s.requests))
	for i, request := range s.requests {
		requests[i] = *request
	}
	return requests
}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == autologinPath {
		s.serveAutologin(w, r)
		return
	}
	var (
		body []byte
		err  error
	)
	// The body is nil if a RoundTripper passes a client's request on unchanged.
	if r.Body != nil {
		body, err = io.ReadAll(io.LimitReader(r.Body, maxBodyBytes+1))
	}
	request, fault := s.arrive(r, body)
	if err != nil {
		// The client has cut the connection.
		panic(http.ErrAbortHandler)
	}
	resp := s.respond(r, body, fault)
	header := w.Header()
	header.Set("Date", s.date())
	if len(resp.body) > 0 {
		header.Set("Content-Length", strconv.Itoa(len(resp.body)))
	}
	maps.Copy(header, resp.header)
	if fault.Drop == DropMidBody {
		w.WriteHeader(resp.status)
		_, _ = w.Write(resp.body[:len(resp.body)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	// The status is set first, because a client that has the response may call
	// Requests at once.
	s.setStatus(request, resp.status)
	w.WriteHeader(resp.status)
	_, _ = w.Write(resp.body)
}

func (s *Server) date() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now().UTC().Format(http.TimeFormat)
}

// arrive records a request and takes the fault that strikes it.
func (s *Server) arrive(r *http.Request, body []byte) (*Request, Fault) {
	request := &Request{Method: r.Method, Path: r.URL.Path, Query: r.URL.Query(), Header: r.Header.Clone(), Body: body}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.requests) == s.requestLimit {
		s.requests[0] = nil
		s.requests = s.requests[1:]
	}
	s.requests = append(s.requests, request)
	return request, s.takeFault(r, body)
}

func (s *Server) setStatus(request *Request, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	request.Status = status
}

// response is a response that has not been sent yet.
type response struct {
	status int
	// header has canonical names.
	header http.Header
	body   []byte
}

// handle carries out a request.
func (s *Server) handle(r *http.Request, body []byte) response {
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

func success(body []byte) response {
	return response{http.StatusOK, http.Header{"Content-Type": {"application/json; charset=utf-8"}}, body}
}

// problem returns the API's response to a request that it refuses. problems
// holds texts by field. It may be nil.
func problem(status int, message string, problems map[string][]string) response {
	refusal := success(mustMarshal(struct {
		Message string              `json:"message"`
		Errors  map[string][]string `json:"errors,omitempty"`
	}{message, problems}))
	refusal.status = status
	return refusal
}

// mustMarshal encodes a value that can always be encoded.
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

// acceptsJSON reports whether a response may be JSON. The most precise media
// range that covers JSON decides (RFC 9110, section 12.5.1).
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

// wait waits for a delay. It returns false if the client goes away first, or
// the server is closed.
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
