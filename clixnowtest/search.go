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

const defaultCount = 10 // leads in a page

// query is what a search asks for.
type query struct {
	id      int64
	hasID   bool
	order   order
	filters []filter
	count   int
	skip    int
}

// filter keeps leads that have the date, and have it within the bounds. A nil
// bound means no bound.
type filter struct {
	order    order
	from, to *time.Time
	bounds   bounds
}

// bounds is how filters compare dates with their bounds.
type bounds struct {
	// precision is what dates and bounds are cut to. 0 means that they are not
	// cut.
	precision time.Duration
	// exclusive leaves out dates that equal the bound.
	exclusive bool
}

func (b bounds) inOrder(earlier, later time.Time) bool {
	order := earlier.Truncate(b.precision).Compare(later.Truncate(b.precision))
	return order < 0 || order == 0 && !b.exclusive
}

func (f filter) keeps(v *version) bool {
	return !f.order.date(v).IsZero() && f.afterFrom(v) && f.beforeTo(v)
}

func (f filter) afterFrom(v *version) bool {
	return f.from == nil || f.bounds.inOrder(*f.from, f.order.date(v))
}

func (f filter) beforeTo(v *version) bool {
	return f.to == nil || f.bounds.inOrder(f.order.date(v), *f.to)
}

func (s *Server) search(values url.Values) answer {
	query, faults := readQuery(values, s.bounds)
	if len(faults) > 0 {
		return problem(http.StatusBadRequest, invalid, faults)
	}
	query.count = min(query.count, s.pageLimit)
	return success(s.encode(s.find(query)))
}

func (s *Server) find(q query) []*version {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leads.reveal(s.now())
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
			rows = f.cut(rows)
		}
	}
	var page []*version
	for _, v := range rows {
		switch {
		case len(page) == q.count:
			return page
		case slices.ContainsFunc(q.filters, func(f filter) bool { return !f.keeps(v) }):
		case q.skip > 0:
			q.skip--
		default:
			page = append(page, v)
		}
	}
	return page
}

// cut returns those of rows in the filter's own order that lie within its
// bounds.
func (f filter) cut(rows []*version) []*version {
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
		panic(err) // it was tried when the lead was stored
	}
	if len(s.hidden) == 0 && s.dateZone == nil {
		return data
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		panic(err) // it was encoded just now
	}
	if s.dateZone != nil {
		printIn(s.dateZone, lead, members)
	}
	maps.DeleteFunc(members, func(name string, _ json.RawMessage) bool { return s.hidden[strings.ToLower(name)] })
	return mustMarshal(members)
}

// printIn replaces the dates of an encoded lead by the local time of a zone.
func printIn(zone *time.Location, lead *clixnow.Lead, members map[string]json.RawMessage) {
	for name, date := range map[string]time.Time{
		"createdOn": lead.CreatedOn, "updatedOn": lead.UpdatedOn, "ftdDate": lead.FTDDate,
	} {
		if _, shown := members[name]; shown {
			members[name] = mustMarshal(date.In(zone).Format("2006-01-02T15:04:05.000"))
		}
	}
}

// readQuery reads what it knows and passes over the rest. An empty value is
// none.
func readQuery(values url.Values, bounds bounds) (q query, faults map[string][]string) {
	p := parameters{values: make(map[string]string), faults: make(map[string][]string)}
	for name, given := range values {
		p.values[strings.ToLower(name)] = given[0]
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
			bounds: bounds,
		}
		if f.from != nil || f.to != nil {
			q.filters = append(q.filters, f)
		}
	}
	q.count = int(p.size("Count", defaultCount, clixnow.MaxPageSize))
	q.skip = int(p.size("Skip", 0, 1<<31-1))
	return q, p.faults
}

// parameters reads query parameters and gathers what is wrong with them, by the
// names that ASP.NET Core gives to them.
type parameters struct {
	values map[string]string // by name in lower case, since ASP.NET Core matches names in any case
	faults map[string][]string
}

func (p parameters) get(name string) string { return p.values[strings.ToLower(name)] }

func (p parameters) fault(name, problem string) { p.faults[name] = append(p.faults[name], problem) }

func (p parameters) number(name string, absent int64) int64 {
	text := p.get(name)
	if text == "" {
		return absent
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		p.fault(name, "The value is not a valid integer.")
		return absent
	}
	return n
}

func (p parameters) size(name string, absent, most int64) int64 {
	n := p.number(name, absent)
	if n < 0 || n > most {
		p.fault(name, fmt.Sprintf("The value must be between 0 and %d.", most))
	}
	return n
}

// order reads orderBy, whose values want their big letters (API reference,
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
	p.fault("OrderBy", "The value must be Id, CreatedOn, ModifiedOn, FtdDate or FtdFate.")
	return byID
}

// date reads a date like 2021-08-08T00:00:00, which is in UTC, with or without
// a fraction of a second, Z or an offset. It returns nil if there is none.
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
	p.fault(name, "The value is not a valid date and time.")
	return nil
}
