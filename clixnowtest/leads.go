package clixnowtest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/clixnow/clixnow-go"
)

// AddLeads puts leads straight in, as the broker's side does; one with a used
// ID replaces that lead. It returns them as they were stored: missing IDs and
// dates filled in (UpdatedOn from CreatedOn or the other way round, else both
// from the server's clock), dates cut to milliseconds. It panics on a lead that
// has no JSON form.
func (s *Server) AddLeads(leads ...clixnow.Lead) []clixnow.Lead {
	s.changes.Lock()
	defer s.changes.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range leads {
		s.leads.lastID = max(s.leads.lastID, leads[i].ID) // first, so that no ID that is filled in is one that follows
	}
	now := s.now()
	added := make([]clixnow.Lead, len(leads))
	for i := range leads {
		lead := stored(leads[i])
		lead.CreatedOn = cmp.Or(lead.CreatedOn, lead.UpdatedOn, milliseconds(now))
		lead.UpdatedOn = cmp.Or(lead.UpdatedOn, lead.CreatedOn)
		if lead.ID == 0 {
			lead.ID = s.leads.nextID()
		}
		if _, err := lead.MarshalJSON(); err != nil {
			panic(fmt.Sprintf("clixnowtest: AddLeads: lead %d: %v", lead.ID, err))
		}
		added[i] = lead
	}
	s.leads.put(now, "", added...)
	return copies(added)
}

// UpdateLead lets change alter a lead, and sets its UpdatedOn from the server's
// clock; an ID cannot be altered. Its errors are [clixnow.ErrLeadNotFound], and
// that the lead has no JSON form any more, which leaves it as it was.
//
// While change runs, the server answers requests with the lead as it was.
// change itself may use the server, other than by AddLeads, UpdateLead and
// DeleteLead, which wait for it.
func (s *Server) UpdateLead(id int64, change func(*clixnow.Lead)) error {
	s.changes.Lock()
	defer s.changes.Unlock()
	lead, ok := s.lead(id)
	if !ok {
		return fmt.Errorf("clixnowtest: update lead %d: %w", id, clixnow.ErrLeadNotFound)
	}
	change(&lead)
	lead = stored(lead)
	lead.ID = id
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	lead.UpdatedOn = milliseconds(now)
	if _, err := lead.MarshalJSON(); err != nil {
		return fmt.Errorf("clixnowtest: update lead %d: %w", id, err)
	}
	s.leads.put(now, s.leads.records[id].phone, lead)
	return nil
}

// DeleteLead removes a lead: it leaves every search at once, and its email and
// phone are free again. Its error is [clixnow.ErrLeadNotFound]. Its ID is not
// used again.
func (s *Server) DeleteLead(id int64) error {
	s.changes.Lock()
	defer s.changes.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.leads.remove(id) {
		return fmt.Errorf("clixnowtest: delete lead %d: %w", id, clixnow.ErrLeadNotFound)
	}
	return nil
}

// Leads returns a copy of all leads by ID, whatever searches show of them yet.
func (s *Server) Leads() []clixnow.Lead {
	s.mu.Lock()
	defer s.mu.Unlock()
	leads := make([]clixnow.Lead, 0, len(s.leads.records))
	for _, id := range slices.Sorted(maps.Keys(s.leads.records)) {
		leads = append(leads, s.leads.records[id].current.lead)
	}
	return copies(leads)
}

func (s *Server) lead(id int64) (lead clixnow.Lead, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	record, ok := s.leads.records[id]
	if !ok {
		return lead, false
	}
	return copied(record.current.lead), true
}

// stored is a lead of a caller as it is kept: sharing nothing with the caller,
// with dates as the API has them.
func stored(lead clixnow.Lead) clixnow.Lead {
	lead = copied(lead)
	lead.CreatedOn = milliseconds(lead.CreatedOn)
	lead.UpdatedOn = milliseconds(lead.UpdatedOn)
	lead.FTDDate = milliseconds(lead.FTDDate)
	return lead
}

func milliseconds(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

func copied(lead clixnow.Lead) clixnow.Lead {
	lead.Extra = maps.Clone(lead.Extra)
	for name, value := range lead.Extra {
		lead.Extra[name] = slices.Clone(value)
	}
	return lead
}

func copies(leads []clixnow.Lead) []clixnow.Lead {
	for i := range leads {
		leads[i] = copied(leads[i])
	}
	return leads
}
