package clixnowtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/clixnow/clixnow-go"
)

// defaultCount is the number of leads in a page if a search has no count.
const defaultCount = 10

// query holds the parameters of a search.
type query struct {
	id      int64
	hasID   bool
	order   order
	filters []filter
	count   int
	skip    int
}

// filter matches leads by one of their dates.
type filter struct {
	order order
	// A nil bound means no bound.
	from, to *time.Time
	comparison
}

// comparison is how filters compare dates with bounds.
type comparison struct {
	// precision is the unit that dates and bounds are cut to. 0 means that
	// nothing is cut.
	precision time.Duration
	// exclusive means that a date does not match if it equals a bound.
	exclusive bool
}

// inOrder reports whether a comes before b. Equal times are in order too,
// unless bounds are exclusive.
func (c comparison) inOrder(a, b time.Time) bool {
	order := a.Truncate(c.precision).Compare(b.Truncate(c.precision))
	return order < 0 || order == 0 && !c.exclusive
}

// matches returns false if the lead does not have the date.
func (f filter) matches(v *version) bool {
	return !f.order.date(v).IsZero() && f.afterFrom(v) && f.beforeTo(v)
}

func (f filter) afterFrom(v *version) bool {
	return f.from == nil || f.inOrder(*f.from, f.order.date(v))
}

func (f filter) beforeTo(v *version) bool {
	return f.to == nil || f.inOrder(f.order.date(v), *f.to)
}

func (s *Server) search(values url.Values) response {
	query, problems := readQuery(values, s.comparison)
	if len(problems) > 0 {
		return problem(http.StatusBadRequest, invalidMessage, problems)
	}
	query.count = min(query.count, s.pageLimit)
	return success(s.encode(s.find(query)))
}

func (s *Server) find(q query) []*version {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leads.showPending(s.now())
	return s.leads.find(q)
}

func (s *store) find(q query) []*version {
	rows := s.orders[q.order]
	if q.hasID {
		rows = nil
		if r, ok := s.records[q.id]; ok && r.shown != nil {
			rows = []*version{r.shown}
		}
	}
	for _, f := range q.filters {
		if f.order == q.order {
			rows = f.narrow(rows)
		}
	}
	var page []*version
	for _, v := range rows {
		switch {
		case len(page) == q.count:
			return page
		case slices.ContainsFunc(q.filters, func(f filter) bool { return !f.matches(v) }):
		case q.skip > 0:
			q.skip--
		default:
			page = append(page, v)
		}
	}
	return page
}

// narrow returns the part of rows that lies within the bounds. rows must be in
// the filter's order.
func (f filter) narrow(rows []*version) []*version {
	rows = rows[sort.Search(len(rows), func(i int) bool { return f.afterFrom(rows[i]) }):]
	return rows[:sort.Search(len(rows), func(i int) bool { return !f.beforeTo(rows[i]) })]
}

func (s *Server) encode(page []*version) []byte {
	leads := make([][]byte, len(page))
	for i, v := range page {
		leads[i] = s.encodeLead(&v.lead)
	}
	list := slices.Concat([]byte("["), bytes.Join(leads, []byte(",")), []byte("]"))
	if s.envelope == "" {
		return list
	}
	return mustMarshal(map[string]json.RawMessage{s.envelope: list})
}

func (s *Server) encodeLead(lead *clixnow.Lead) []byte {
	data, err := lead.MarshalJSON()
	if err != nil {
		// The lead was encoded once before it was stored.
		panic(err)
	}
	if len(s.hidden) == 0 && s.dateZone == nil {
		return data
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		panic(err)
	}
	if s.dateZone != nil {
		setDates(members, lead, s.dateZone)
	}
	maps.DeleteFunc(members, func(name string, _ json.RawMessage) bool { return s.hidden[strings.ToLower(name)] })
	return mustMarshal(members)
}

// setDates replaces the dates of an encoded lead by the local time of a zone.
func setDates(members map[string]json.RawMessage, lead *clixnow.Lead, zone *time.Location) {
	for name, date := range map[string]time.Time{
		"createdOn": lead.CreatedOn, "updatedOn": lead.UpdatedOn, "ftdDate": lead.FTDDate,
	} {
		if _, shown := members[name]; shown {
			members[name] = mustMarshal(date.In(zone).Format("2006-01-02T15:04:05.000"))
		}
	}
}

// readQuery reads the parameters of a search. It ignores unknown parameters and
// empty values. It returns texts by parameter if there are problems.
func readQuery(values url.Values, c comparison) (q query, problems map[string][]string) {
	p := parameters{values: make(map[string]string), problems: make(map[string][]string)}
	for name, texts := range values {
		p.values[strings.ToLower(name)] = texts[0]
	}
	q.hasID = p.values["id"] != ""
	q.id = p.number("Id", 0)
	q.order = p.order()
	for _, dates := range []struct {
		name  string
		order order
	}{{"CreatedOn", byCreatedOn}, {"ModifiedOn", byModifiedOn}, {"FtdDate", byFTDDate}} {
		f := filter{
			order: dates.order, from: p.date(dates.name + "From"), to: p.date(dates.name + "To"),
			comparison: c,
		}
		if f.from != nil || f.to != nil {
			q.filters = append(q.filters, f)
		}
	}
	q.count = int(p.size("Count", defaultCount, clixnow.MaxPageSize))
	q.skip = int(p.size("Skip", 0, 1<<31-1))
	return q, p.problems
}

// parameters reads query parameters and collects the problems with them.
type parameters struct {
	// values has names in lower case, because ASP.NET Core ignores their case.
	values map[string]string
	// problems has the names that ASP.NET Core gives to the parameters.
	problems map[string][]string
}

func (p parameters) get(name string) string { return p.values[strings.ToLower(name)] }

func (p parameters) addProblem(name, text string) { p.problems[name] = append(p.problems[name], text) }

func (p parameters) number(name string, fallback int64) int64 {
	text := p.get(name)
	if text == "" {
		return fallback
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		p.addProblem(name, "The value is not a valid integer.")
		return fallback
	}
	return n
}

func (p parameters) size(name string, fallback, limit int64) int64 {
	n := p.number(name, fallback)
	if n < 0 || n > limit {
		p.addProblem(name, fmt.Sprintf("The value must be between 0 and %d.", limit))
	}
	return n
}

// order reads orderBy. Its values are case-sensitive (API reference,
// "Monitoring data").
func (p parameters) order() order {
	switch p.get("OrderBy") {
	case "", string(clixnow.OrderByID):
		return byID
	case string(clixnow.OrderByCreatedOn):
		return byCreatedOn
	case string(clixnow.OrderByModifiedOn):
		return byModifiedOn
	case string(clixnow.OrderByFTDDate), string(clixnow.OrderByFTDFate):
		return byFTDDate
	}
	p.addProblem("OrderBy", "The value must be Id, CreatedOn, ModifiedOn, FtdDate or FtdFate.")
	return byID
}

// date reads a date such as 2021-08-08T00:00:00. It may have a fraction of a
// second, and a Z or an offset. Without these two it is in UTC. date returns
// nil if there is no value.
func (p parameters) date(name string) *time.Time {
	text := p.get(name)
	if text == "" {
		return nil
	}
	for _, layout := range []string{"2006-01-02T15:04:05", time.RFC3339} {
		if date, err := time.Parse(layout, text); err == nil {
			return &date
		}
	}
	p.addProblem(name, "The value is not a valid date and time.")
	return nil
}
