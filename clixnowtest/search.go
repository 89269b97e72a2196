package clixnowtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
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

// filter keeps leads that have the date, and have it within the bounds.
type filter struct {
	order    order
	from, to time.Time
}

func (f filter) keeps(v *version) bool {
	date := f.order.date(v)
	return !date.IsZero() && !date.Before(f.from) && !date.After(f.to)
}

func (s *Server) search(values url.Values) answer {
	query, faults := readQuery(values)
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
	from,
		_ := slices.BinarySearchFunc(rows, f.from,
		func(v *version, t time.Time) int { return f.order.date(v).Compare(t) })
	rows = rows[from:]
	to, _ := slices.BinarySearchFunc(rows, f.to, func(v *version, t time.Time) int {
		if f.order.date(v).After(t) {
			return 1
		}
		return -1
	})
	return rows[:to]
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
	if len(s.hidden) == 0 {
		return data
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		panic(err) // it was encoded just now
	}
	maps.DeleteFunc(members, func(name string, _ json.RawMessage) bool { return s.hidden[strings.ToLower(name)] })
	return mustMarshal(members)
}

// readQuery reads what it knows and passes over the rest. An empty value is
// none.
func readQuery(values url.Values) (q query, faults map[string][]string) {
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
		if f, given := p.filter(dates.name); given {
			f.order = dates.order
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

func (p parameters) filter(name string) (f filter, given bool) {
	latest := time.Date(9999, time.December, 31, 23, 59, 59, 999_999_999, time.UTC)
	f = filter{from: p.date(name+"From", time.Time{}), to: p.date(name+"To", latest)}
	return f, p.get(name+"From") != "" || p.get(name+"To") != ""
}

// date reads a date like 2021-08-08T00:00:00, which is in UTC, with or without
// a fraction of a second, Z or an offset.
func (p parameters) date(name string, absent time.Time) time.Time {
	text := p.get(name)
	if text == "" {
		return absent
	}
	for _, layout := range []string{"2006-01-02T15:04:05", time.RFC3339} {
		if date, err := time.Parse(layout, text); err == nil {
			return date
		}
	}
	p.fault(name, "The value is not a valid date and time.")
	return absent
}
