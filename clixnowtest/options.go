package clixnowtest

import (
	"strings"
	"time"

	"github.com/clixnow/clixnow-go"
)

// Option sets one property of a new [Server]. The server calls the functions
// that are given to options one at a time. They must not call the server.
type Option func(*Server)

// WithClock replaces time.Now. The server uses the clock for the dates of
// leads, for the Date header and for search delays. The clock may stand still
// or go back. The delays of faults use real time.
func WithClock(now func() time.Time) Option {
	return func(s *Server) { s.now = now }
}

// WithToken sets the token that the server accepts. The default is a made-up
// token.
func WithToken(token string) Option {
	return func(s *Server) { s.Token = token }
}

// WithBrand sets the brand. The default is "acme".
func WithBrand(brand string) Option {
	return func(s *Server) { s.Brand = brand }
}

// WithPageLimit sets the server's own cap on count, because the API may have
// one. The default is 1000. It panics if n is less than 10, which is the API's
// default of count.
func WithPageLimit(n int) Option {
	if n < defaultCount {
		panic("clixnowtest: WithPageLimit: must be at least 10")
	}
	return func(s *Server) { s.pageLimit = n }
}

// WithEnvelope wraps search results in {"key": [...]} instead of a bare array.
// The API reference does not say which form the API uses.
func WithEnvelope(key string) Option {
	return func(s *Server) { s.envelope = key }
}

// WithSearchDelay makes searches lag. A new lead or a change shows in searches
// only this long after its UpdatedOn, by the server's clock. Until then
// searches show the old state. The server calls delay once for each change.
// Zero or less means no delay. Deletions always show at once.
func WithSearchDelay(delay func(clixnow.Lead) time.Duration) Option {
	return func(s *Server) { s.leads.delay = delay }
}

// WithRequestLimit makes the server keep only the last n requests for
// [Server.Requests]. Use it for a server that runs for days. By default all
// requests are kept. It panics if n is less than 1.
func WithRequestLimit(n int) Option {
	if n < 1 {
		panic("clixnowtest: WithRequestLimit: must be at least 1")
	}
	return func(s *Server) { s.requestLimit = n }
}

// WithoutDuplicateCheck makes the server register a known email or phone again.
func WithoutDuplicateCheck() Option {
	return func(s *Server) { s.allowDuplicates = true }
}

// WithHiddenFields leaves the named fields out of all search results, as
// Clixnow does for some affiliates. Names are wire names ("email", "ftdDate",
// "clickId"), ignoring case. Filters and orders still use hidden fields. The
// names of several such options add up.
func WithHiddenFields(names ...string) Option {
	return func(s *Server) {
		for _, name := range names {
			s.hidden[strings.ToLower(name)] = true
		}
	}
}

// WithCountries makes the server answer creates of all other countries with 400
// "Registration is not allowed for country XX". Case is ignored. The codes of
// several such options add up.
func WithCountries(codes ...string) Option {
	return func(s *Server) {
		if s.countries == nil {
			s.countries = make(map[string]bool)
		}
		for _, code := range codes {
			s.countries[strings.ToUpper(code)] = true
		}
	}
}

// WithCapacity makes the server answer creates with 400 and the message while
// it has n leads or more. Leads of AddLeads count too. Validation, country and
// duplicates are checked first. It panics if n is negative.
func WithCapacity(n int, message string) Option {
	if n < 0 {
		panic("clixnowtest: WithCapacity: must not be negative")
	}
	return func(s *Server) { s.capacity, s.capacityMessage = n, message }
}

// WithFirstID sets the first ID that the server gives to a lead. The default is
// 123456. It panics if id is less than 1.
func WithFirstID(id int64) Option {
	if id < 1 {
		panic("clixnowtest: WithFirstID: must be at least 1")
	}
	return func(s *Server) { s.leads.lastID = id - 1 }
}

// WithFilterPrecision makes the From and To filters of searches compare dates
// and bounds cut to d, as some databases do. Example: with a precision of a
// second, a search from 12:00:00.999 shows a lead of 12:00:00.001. A day is a
// UTC day. 0 means the default: nothing is cut. It panics if d is negative.
func WithFilterPrecision(d time.Duration) Option {
	if d < 0 {
		panic("clixnowtest: WithFilterPrecision: must not be negative")
	}
	return func(s *Server) { s.comparison.precision = d }
}

// WithExclusiveBounds makes From and To exclude their bounds: a lead whose date
// equals a bound is not found. By default it is found.
func WithExclusiveBounds() Option {
	return func(s *Server) { s.comparison.exclusive = true }
}

// WithDateZone makes searches print dates in the local time of a zone, without
// the zone: "2021-08-08T14:00:00.000". Filters still use UTC. By default dates
// are in UTC, with a Z. It panics if zone is nil.
func WithDateZone(zone *time.Location) Option {
	if zone == nil {
		panic("clixnowtest: WithDateZone: the zone is nil")
	}
	return func(s *Server) { s.dateZone = zone }
}
