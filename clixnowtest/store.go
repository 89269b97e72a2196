package clixnowtest

import (
	"cmp"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/clixnow/clixnow-go"
)

// store holds the leads, and what searches show of them in each order. It keeps
// the orders sorted, so that a search is cheap even among hundreds of thousands
// of leads. It is not safe for concurrent use.
type store struct {
	// delay is the time until a change shows. nil means no delay.
	delay   func(clixnow.Lead) time.Duration
	lastID  int64
	records map[int64]*record
	// emails counts the leads with an email, in lower case.
	emails map[string]int
	phones map[string]int
	// orders holds what searches show, sorted in each order.
	orders [orderCount][]*version
	// pending holds what searches will show later, sorted by visibleFrom.
	pending []*version
}

// record is a lead.
type record struct {
	// phone is "" if the lead was added by AddLeads.
	phone   string
	current *version
	// shown is what searches show. nil means nothing yet.
	shown *version
	// loggedIn means that the autologin link has been used.
	loggedIn bool
}

// version is a state of a lead. It never changes.
type version struct {
	record *record
	lead   clixnow.Lead
	// visibleFrom is the time from which searches show this state. A zero time
	// means always.
	visibleFrom time.Time
}

// order is an order of leads. Each order but byID is also a date that filters
// can use.
type order int

const (
	byID order = iota
	byCreatedOn
	byModifiedOn
	byFTDDate
	// orderCount is the number of orders.
	orderCount
)

func (o order) date(v *version) time.Time {
	switch o {
	case byCreatedOn:
		return v.lead.CreatedOn
	case byModifiedOn:
		return v.lead.UpdatedOn
	case byFTDDate:
		// A zero time comes first, as NULL does in SQL Server.
		return v.lead.FTDDate
	default:
		return time.Time{}
	}
}

func (o order) compare(a, b *version) int {
	return cmp.Or(o.date(a).Compare(o.date(b)), cmp.Compare(a.lead.ID, b.lead.ID))
}

// defaultFirstID is the id of the lead in the API reference.
const defaultFirstID = 123456

func newStore() store {
	return store{
		lastID: defaultFirstID - 1, records: make(map[int64]*record),
		emails: make(map[string]int), phones: make(map[string]int),
	}
}

func (s *store) nextID() int64 {
	s.lastID++
	return s.lastID
}

// put stores new leads, and new states of known leads. All get the same phone.
func (s *store) put(now time.Time, phone string, leads ...clixnow.Lead) {
	// This comes first, because the new states are newer than the pending ones.
	// It also keeps pending short if there are no searches.
	s.showPending(now)
	var visible []*version
	for _, lead := range leads {
		known, ok := s.records[lead.ID]
		if ok {
			s.count(known, -1)
		} else {
			known = new(record)
			s.records[lead.ID] = known
		}
		known.phone = phone
		known.current = &version{record: known, lead: lead, visibleFrom: s.visibleFrom(lead)}
		s.count(known, +1)
		s.dropPending(known, known.current.visibleFrom)
		if known.current.visibleFrom.After(now) {
			s.pending = slices.Insert(s.pending, s.pendingBefore(known.current.visibleFrom), known.current)
		} else {
			visible = append(visible, known.current)
		}
	}
	s.show(visible)
}

// visibleFrom returns the time from which searches show a lead.
func (s *store) visibleFrom(lead clixnow.Lead) time.Time {
	if s.delay != nil {
		if delay := s.delay(copied(lead)); delay > 0 {
			return lead.UpdatedOn.Add(delay)
		}
	}
	return time.Time{}
}

// pendingBefore returns the number of pending states that show before a time.
func (s *store) pendingBefore(t time.Time) int {
	return sort.Search(len(s.pending), func(i int) bool { return !s.pending[i].visibleFrom.Before(t) })
}

// dropPending removes the pending states of a lead that would show at a time or
// later. A newer state shows before them.
func (s *store) dropPending(r *record, from time.Time) {
	i := s.pendingBefore(from)
	kept := slices.DeleteFunc(s.pending[i:], func(v *version) bool { return v.record == r })
	s.pending = s.pending[:i+len(kept)]
}

// showPending makes searches show the states whose time has come.
func (s *store) showPending(now time.Time) {
	n := sort.Search(len(s.pending), func(i int) bool { return s.pending[i].visibleFrom.After(now) })
	if n > 0 {
		s.show(s.pending[:n])
		s.pending = slices.Delete(s.pending, 0, n)
	}
}

// show makes searches show these states. If a lead has several states, the last
// one counts.
func (s *store) show(versions []*version) {
	// many is the number of states from which sorting everything costs less
	// than inserting one by one.
	const many = 1000
	for _, v := range versions {
		if len(versions) < many {
			s.replace(v.record.shown, v)
		}
		v.record.shown = v
	}
	if len(versions) < many {
		return
	}
	for by := range s.orders {
		rows := s.orders[by][:0]
		for _, r := range s.records {
			if r.shown != nil {
				rows = append(rows, r.shown)
			}
		}
		slices.SortFunc(rows, order(by).compare)
		s.orders[by] = rows
	}
}

// replace replaces a state of a lead in the orders. old is nil if the lead is
// new. current is nil if the lead is deleted.
func (s *store) replace(old, current *version) {
	for by := range s.orders {
		rows, compare := s.orders[by], order(by).compare
		if old != nil {
			i, _ := slices.BinarySearchFunc(rows, old, compare)
			if current != nil && compare(old, current) == 0 {
				rows[i] = current
				continue
			}
			rows = slices.Delete(rows, i, i+1)
		}
		if current != nil {
			i, _ := slices.BinarySearchFunc(rows, current, compare)
			rows = slices.Insert(rows, i, current)
		}
		s.orders[by] = rows
	}
}

// remove deletes a lead. It returns false if there is no such lead.
func (s *store) remove(id int64) bool {
	r, ok := s.records[id]
	if !ok {
		return false
	}
	s.count(r, -1)
	delete(s.records, id)
	s.dropPending(r, time.Time{})
	s.replace(r.shown, nil)
	return true
}

// count adds n to the number of leads with the email and phone of r.
func (s *store) count(r *record, n int) {
	add := func(known map[string]int, text string) {
		if known[text] += n; known[text] == 0 || text == "" {
			delete(known, text)
		}
	}
	add(s.emails, strings.ToLower(r.current.lead.Email))
	add(s.phones, r.phone)
}
