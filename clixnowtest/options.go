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
	return func(s *Server) { s.allowDuplicates = true }
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

// WithCountries makes the server refuse creates of all other countries with
// 400 and "Registration is not allowed for country XX". Codes are compared
// ignoring case. The codes of several such options add up.
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

// WithCapacity makes the server refuse each create with 400 and the message
// while it has n leads or more. Leads of AddLeads count too. A create that is
// invalid, of another country or a duplicate is refused for that reason. It
// panics if n is negative.
func WithCapacity(n int, message string) Option {
	if n < 0 {
		panic("clixnowtest: WithCapacity: must not be negative")
	}
	return func(s *Server) { s.capacity, s.fullMessage = n, message }
}

// WithFirstID sets the first ID that the server gives to a lead. The default
// is 123456. It panics if id is less than 1.
func WithFirstID(id int64) Option {
	if id < 1 {
		panic("clixnowtest: WithFirstID: must be at least 1")
	}
	return func(s *Server) { s.leads.lastID = id - 1 }
}

// WithFilterPrecision makes the From and To filters of searches compare dates
// and bounds that are cut to d, as some databases do. With a second, a lead of
// 12:00:00.900 is in a search that begins at 12:00:00.999. A day is a UTC day.
// 0 means that the filters compare exactly. It panics if d is negative.
func WithFilterPrecision(d time.Duration) Option {
	if d < 0 {
		panic("clixnowtest: WithFilterPrecision: must not be negative")
	}
	return func(s *Server) { s.bounds.precision = d }
}

// WithExclusiveBounds makes the From and To filters of searches leave out the
// leads whose date equals the bound. By default these leads are included.
func WithExclusiveBounds() Option {
	return func(s *Server) { s.bounds.exclusive = true }
}

// WithDateZone makes searches print dates as the clocks in a zone show them,
// without the zone ("2021-08-08T14:00:00.000"). Filters still compare UTC. It
// panics if zone is nil.
func WithDateZone(zone *time.Location) Option {
	if zone == nil {
		panic("clixnowtest: WithDateZone: the zone is nil")
	}
	return func(s *Server) { s.dateZone = zone }
}
