package clixnowtest

import (
	"strings"
	"time"

	"github.com/clixnow/clixnow-go"
)

// Option sets one property of a new [Server]. Functions given to options are
// called one at a time and must not call the server.
type Option func(*Server)

// WithClock replaces time.Now as the source of the dates of leads and of the
// Date header, and as what a search delay is measured by. It may stand still or
// be set back. The delays of faults pass in real time.
func WithClock(now func() time.Time) Option {
	return func(s *Server) { s.now = now }
}

// WithToken replaces the token that the server accepts.
func WithToken(token string) Option {
	return func(s *Server) { s.Token = token }
}

// WithBrand replaces the brand, "acme".
func WithBrand(brand string) Option {
	return func(s *Server) { s.Brand = brand }
}

// WithPageLimit cuts pages of searches to n leads, whatever count asks for: the
// API may do so without saying it. It panics where n is less than 10, the API's
// own default of count.
func WithPageLimit(n int) Option {
	if n < defaultCount {
		panic("clixnowtest: WithPageLimit: must be at least 10")
	}
	return func(s *Server) { s.pageLimit = n }
}

// WithEnvelope answers searches with {"key": [...]} instead of a bare array:
// the API reference does not say which it is.
func WithEnvelope(key string) Option {
	return func(s *Server) { s.envelope = key }
}

// WithSearchDelay makes searches lag: a change, or a new lead, shows only so
// long after its UpdatedOn, by the server's clock. Until then they show the
// lead as it was. It is asked once for each change; zero or less is at once.
// Deletions do not lag.
func WithSearchDelay(delay func(clixnow.Lead) time.Duration) Option {
	return func(s *Server) { s.leads.delay = delay }
}

// WithRequestLimit keeps only the n requests that arrived last, for a server
// that runs for days: Server.Requests returns no more. It panics where n is
// less than 1.
func WithRequestLimit(n int) Option {
	if n < 1 {
		panic("clixnowtest: WithRequestLimit: must be at least 1")
	}
	return func(s *Server) { s.requestLimit = n }
}

// WithoutDuplicateCheck registers a known email or phone again.
func WithoutDuplicateCheck() Option {
	return func(s *Server) { s.duplicates = true }
}

// WithHiddenFields leaves fields of leads out of every answer to a search, as
// Clixnow does for some affiliates. Names are those on the wire ("email",
// "ftdDate", "clickId"), in any case. Filters and orders still know them.
func WithHiddenFields(names ...string) Option {
	return func(s *Server) {
		for _, name := range names {
			s.hidden[strings.ToLower(name)] = true
		}
	}
}
