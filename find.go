package clixnow

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"
)

// FindLeadsRequest says which leads [Client.FindLeads] looks for.
type FindLeadsRequest struct {
	// Email is compared without case and surrounding white space. "" means any
	// email.
	Email string
	// ClickID is compared as text or as an integer. "" means any click id. At
	// least one of Email and ClickID must be given. If both are given, both
	// must match.
	ClickID string
	// CreatedOnFrom is the start of the period to read. Zero means no bound.
	CreatedOnFrom time.Time
	// CreatedOnTo is the end of the period to read. Zero means no bound.
	CreatedOnTo time.Time
	// Prefetch is the number of pages to request ahead, at most 64. 0 means
	// none.
	Prefetch int
}

// FoundLeads is the result of [Client.FindLeads].
type FoundLeads struct {
	// Leads holds the leads that match, in order of their ids. It is empty if
	// there are none.
	Leads []Lead
	// Hidden is the number of leads that may match: they hide or mask what was
	// asked for, or show something similar. 0 means that no lead that was read
	// may match, except Leads.
	Hidden int
	// Read is the number of all leads that were read. If it is 0, the period is
	// empty, or the filter of the server hid its leads.
	Read int
}

// FindLeads reads a period and returns the leads in it that have a given email
// or click id. The API itself filters by id and by dates only, so the cost is
// that of a search for the whole period: give bounds if you can. Some servers
// compare the bounds by day. So ask for a day more on both sides.
//
// It reads in the order of creation, with the promise of [Client.SearchLeads],
// and needs memory for the matches and for the ids that it has read. It
// compares emails and click ids as [Client.EnsureLead] does. A lead that shows
// a different value is no match. If neither Email nor ClickID is given, or only
// white space, the error is [ErrInvalidRequest], also with [WithoutValidation].
func (c *Client) FindLeads(ctx context.Context, req FindLeadsRequest) (*FoundLeads, error) {
	if err := req.validate(); err != nil {
		return nil, err
	}
	search := SearchLeadsRequest{
		OrderBy: OrderByCreatedOn, CreatedOnFrom: req.CreatedOnFrom, CreatedOnTo: req.CreatedOnTo,
		Prefetch: req.Prefetch,
	}
	found := new(FoundLeads)
	for lead, err := range c.SearchLeads(ctx, search) {
		if err != nil {
			return nil, err
		}
		found.Read++
		switch req.match(&lead) {
		case leadMatches:
			found.Leads = append(found.Leads, lead)
		case leadHides:
			found.Hidden++
		case leadDiffers:
		}
	}
	slices.SortFunc(found.Leads, func(a, b Lead) int { return cmp.Compare(a.ID, b.ID) })
	return found, nil
}

func (r *FindLeadsRequest) validate() error {
	if !isBlank(r.Email) || !isBlank(r.ClickID) {
		return nil
	}
	const problem = "must be given, or the other one of email and clickId"
	return invalid([]FieldError{
		{Field: "email", Code: ProblemMissing, Problem: problem},
		{Field: "clickId", Code: ProblemMissing, Problem: problem},
	})
}

func isBlank(text string) bool { return strings.TrimSpace(text) == "" }

// leadMatch is how a lead compares with what was asked for.
type leadMatch int

const (
	leadDiffers leadMatch = iota
	leadHides
	leadMatches
)

func (r *FindLeadsRequest) match(lead *Lead) leadMatch {
	match := leadMatches
	if !isBlank(r.Email) {
		match = min(match, findEmail(r.Email, lead.Email))
	}
	if !isBlank(r.ClickID) {
		match = min(match, findClickID(r.ClickID, lead.ClickID))
	}
	return match
}

func findEmail(asked, found string) leadMatch {
	switch matchEmails(asked, found) {
	case emailsEqual:
		return leadMatches
	case emailHidden:
		return leadHides
	case emailsDifferent:
	}
	return leadDiffers
}

func findClickID(asked, found string) leadMatch {
	switch {
	case sameClickID(asked, found):
		return leadMatches
	case isNoClickID(found), similarClickIDs(asked, found):
		return leadHides
	}
	return leadDiffers
}
