package clixnowtest

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/clixnow/clixnow-go"
)

// store holds leads, and what searches show of them, in every order. Searches
// must stay cheap where there are hundreds of thousands, so the orders are kept
// and not sorted for each page. It is not safe for concurrent use.
type store struct {
	delay   func(clixnow.Lead) time.Duration // before a change shows; nil = none
	lastID  int64
	records map[int64]*record
	emails  map[string]int // leads by email in lower case
	phones  map[string]int
	orders  [orders][]*version // what searches show, sorted
	waiting []*version         // what they will show, by the time when
}

// record is a lead. A lead that was not registered here has no phone.
type record struct {
	phone   string
	current *version
	shown   *version // in searches; nil = none yet
	// loggedIn reports that the link of the create was used.
	loggedIn bool
}

// version is a state of a lead; it never changes.
type version struct {
	record *record
	lead   clixnow.Lead
	shows  time.Time // from then on, in searches
}

// order is what leads are sorted by. All but the first are also what they can
// be filtered by.
type order int

const (
	byID order = iota
	byCreatedOn
	byModifiedOn
	byFTDDate
	orders // how many there are
)

func (o order) date(v *version) time.Time {
	switch o {
	case byCreatedOn:
		return v.lead.CreatedOn
	case byModifiedOn:
		return v.lead.UpdatedOn
	case byFTDDate:
		return v.lead.FTDDate // zero sorts first, as NULL does in SQL Server
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

// put stores new leads and new states of known ones, all with the same phone.
func (s *store) put(now time.Time, phone string, leads ...clixnow.Lead) {
	s.reveal(now) // first: what shows from now on is newer. And here too, or much would wait where nobody searches
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
		known.current = &version{record: known, lead: lead, shows: s.shows(lead)}
		s.count(known, +1)
		s.forget(known, known.current.shows)
		if known.current.shows.After(now) {
			s.waiting = slices.Insert(s.waiting, s.waitingUntil(known.current.shows), known.current)
		} else {
			visible = append(visible, known.current)
		}
	}
	s.show(visible)
}

// shows returns when a change shows in searches.
func (s *store) shows(lead clixnow.Lead) time.Time {
	if s.delay != nil {
		if delay := s.delay(copied(lead)); delay > 0 {
			return lead.UpdatedOn.Add(delay)
		}
	}
	return time.Time{}
}

// waitingUntil returns how many of those that wait show earlier.
func (s *store) waitingUntil(shows time.Time) int {
	i, _ := slices.BinarySearchFunc(s.waiting, shows, func(v *version, t time.Time) int { return v.shows.Compare(t) })
	return i
}

// forget drops what is waiting of a lead to show at a time or later: a newer
// state will show before it.
func (s *store) forget(r *record, shows time.Time) {
	i := s.waitingUntil(shows)
	kept := slices.DeleteFunc(s.waiting[i:], func(v *version) bool { return v.record == r })
	s.waiting = s.waiting[:i+len(kept)]
}

// reveal shows what has waited until now.
func (s *store) reveal(now time.Time) {
	due, _ := slices.BinarySearchFunc(s.waiting, now, func(v *version, t time.Time) int {
		if v.shows.After(t) {
			return 1
		}
		return -1
	})
	if due > 0 {
		s.show(s.waiting[:due])
		s.waiting = slices.Delete(s.waiting, 0, due)
	}
}

// show lets searches show states of leads; of one lead the last one counts.
func (s *store) show(versions []*version) {
	const many = 1000 // from here on sorting anew costs less than inserting
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

// replace takes a state of a lead out of the orders and puts another one in;
// either may be nil.
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

// remove returns false where there is no such lead.
func (s *store) remove(id int64) bool {
	r, ok := s.records[id]
	if !ok {
		return false
	}
	s.count(r, -1)
	delete(s.records, id)
	s.forget(r, time.Time{})
	s.replace(r.shown, nil)
	return true
}

// count adds n to how often the email and the phone of a lead are known.
func (s *store) count(r *record, n int) {
	add := func(known map[string]int, text string) {
		if known[text] += n; known[text] == 0 || text == "" {
			delete(known, text)
		}
	}
	add(s.emails, strings.ToLower(r.current.lead.Email))
	add(s.phones, r.phone)
}
