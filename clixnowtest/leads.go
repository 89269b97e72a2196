package clixnowtest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/clixnow/clixnow-go"
)

// AddLeads adds leads directly to the state. A lead with a used ID replaces the
// old one. It returns the leads with missing IDs and dates filled in, and with
// dates cut to milliseconds. A missing CreatedOn or UpdatedOn is copied from
// the other. If both are missing, they are set from the server's clock.
// AddLeads panics if a lead cannot be encoded as JSON.
func (s *Server) AddLeads(leads ...clixnow.Lead) []clixnow.Lead {
	s.changes.Lock()
	defer s.changes.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	// This comes first, so that no new ID is the ID of a later lead.
	for i := range leads {
		s.leads.lastID = max(s.leads.lastID, leads[i].ID)
	}
	now := s.now()
	added := make([]clixnow.Lead, len(leads))
	for i := range leads {
		lead := normalize(leads[i])
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

// UpdateLead calls change with a lead, stores the result, and sets UpdatedOn
// from the server's clock. A change of the ID is ignored. UpdateLead returns
// [clixnow.ErrLeadNotFound] if there is no such lead. It also returns an error,
// and does not change the lead, if the result cannot be encoded as JSON.
//
// While change runs, the server answers requests with the old state. change may
// call the server. But it must not call AddLeads, UpdateLead or DeleteLead,
// because these wait until change returns.
func (s *Server) UpdateLead(id int64, change func(*clixnow.Lead)) error {
	s.changes.Lock()
	defer s.changes.Unlock()
	lead, ok := s.lead(id)
	if !ok {
		return fmt.Errorf("clixnowtest: update lead %d: %w", id, clixnow.ErrLeadNotFound)
	}
	change(&lead)
	lead = normalize(lead)
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

// DeleteLead removes a lead from every search at once. Its email and phone can
// then be registered again. Its ID is never used again. DeleteLead returns
// [clixnow.ErrLeadNotFound] if there is no such lead.
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

// Leads returns a copy of the leads, in order of their IDs. A search delay does
// not affect it.
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

// normalize returns a copy of a caller's lead in the form in which it is
// stored. Dates are in UTC and cut to milliseconds.
func normalize(lead clixnow.Lead) clixnow.Lead {
	lead = copied(lead)
	lead.CreatedOn = milliseconds(lead.CreatedOn)
	lead.UpdatedOn = milliseconds(lead.UpdatedOn)
	lead.FTDDate = milliseconds(lead.FTDDate)
	return lead
}

func milliseconds(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// copied returns a deep copy of a lead.
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
