package clixnow

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/clixnow/clixnow-go/internal/call"
	"github.com/clixnow/clixnow-go/internal/walk"
	"github.com/clixnow/clixnow-go/internal/wire"
)

// SearchLeadsRequest says which leads to read (Clixnow API reference,
// "Monitoring data"). Its zero value asks for all leads in the order of their
// ids.
//
// Dates are sent in UTC and in milliseconds. A From is rounded down, and a To
// is rounded up. The API seems to include both bounds.
type SearchLeadsRequest struct {
	// ID is the id of the only lead to return. 0 means any lead.
	ID int64 `url:"id,omitempty"`
	// OrderBy is the order of the leads. It is always ascending. "" means
	// OrderByID.
	OrderBy OrderBy `url:"orderBy,omitempty"`
	// Count is the number of leads per request, 1 to 1000. 0 means MaxPageSize
	// for SearchLeads. For SearchLeadsPage 0 means that no count is sent, and
	// the API uses 10.
	Count int `url:"count,omitempty"`
	// Skip is the number of leads to pass over first. 0 means none.
	Skip int `url:"skip,omitempty"`

	// Limit is the largest number of leads that SearchLeads yields in all. 0
	// means no limit. It is never sent.
	Limit int `url:"-"`
	// Prefetch is the largest number of pages that SearchLeads requests ahead
	// of the consumer, at most 64. 1 helps only if the consumer needs time for
	// the leads. 0 means none. It is never sent.
	Prefetch int `url:"-"`

	// CreatedOnFrom is the earliest Lead.CreatedOn. A zero time means no bound.
	CreatedOnFrom time.Time `url:"-"`
	// CreatedOnTo is the latest Lead.CreatedOn. A zero time means no bound.
	CreatedOnTo time.Time `url:"-"`
	// ModifiedOnFrom is the earliest Lead.UpdatedOn. A zero time means no
	// bound.
	ModifiedOnFrom time.Time `url:"-"`
	// ModifiedOnTo is the latest Lead.UpdatedOn. A zero time means no bound.
	ModifiedOnTo time.Time `url:"-"`
	// FTDDateFrom is the earliest Lead.FTDDate. A zero time means no bound.
	FTDDateFrom time.Time `url:"-"`
	// FTDDateTo is the latest Lead.FTDDate. A zero time means no bound.
	FTDDateTo time.Time `url:"-"`

	// Extra holds further query parameters that a host knows. They are sent
	// unchanged. The parameters of the fields above are refused in it, in any
	// case. nil means none.
	Extra url.Values `url:"-"`
}

// OrderBy is what leads are sorted by. The order is always ascending.
type OrderBy string

// The orders of the API.
const (
	OrderByID        OrderBy = "Id"
	OrderByCreatedOn OrderBy = "CreatedOn"
	// OrderByModifiedOn sorts by Lead.UpdatedOn.
	OrderByModifiedOn OrderBy = "ModifiedOn"
	OrderByFTDDate    OrderBy = "FtdDate"
	// OrderByFTDFate is the spelling that the API reference prints, surely a
	// misprint of FtdDate. It is for hosts that know only this spelling.
	OrderByFTDFate OrderBy = "FtdFate"
)

// LeadPage is the result of one request of a search.
type LeadPage struct {
	// Leads are the leads of the page. There may be none.
	Leads []Lead
	// Next is the request for the page after this one. nil means that this page
	// is the last.
	Next *SearchLeadsRequest
}

// SearchLeads yields the leads that match req. It reads them page by page.
// Nothing is sent before the sequence is ranged over. Each range starts again
// from the beginning. If the loop breaks, the requests are cancelled. An error
// is yielded at most once and last, with a zero Lead. This includes the error
// of ctx. The sequence is safe for concurrent use: several ranges do not
// disturb each other.
//
// # What is promised
//
// A lead that is in the result for the whole walk is yielded exactly once, or
// the walk ends with [ErrUnstableResults] (then range again). This holds
// whatever is inserted, changed or deleted meanwhile, in every order, and for
// any limit of ten or more that the server has on pages. Paging by offset alone
// does not promise this. It silently loses a lead for each lead that leaves or
// moves. A lead is yielded as it was when it was first read. A lead that enters
// or leaves the result meanwhile may be yielded or not.
//
// The walk also ends with ErrUnstableResults, after a few requests, if the
// server's pages do not advance: if it ignores skip, for example.
//
// This is not promised for [OrderByFTDDate] while dates are hidden, set
// backwards or withdrawn, or if leads without a date come last. It is also not
// promised for leads of one instant that the server returns in another order
// each time.
//
// # What it costs
//
// One request reads Count-1 new leads, because each page starts on the last
// lead of the page before. One more request may find the end. The server has to
// count the leads that it skips. For N leads this is about N²/(2·Count) rows.
// [Client.LeadChanges] costs the server far less, so use it to keep a copy
// current.
//
// At most Prefetch+1 pages are in memory. Orders other than [OrderByID] also
// need about 50 bytes for each lead that was read.
//
// The number of pages that are requested ahead begins with 1 and doubles up to
// Prefetch. So a short result costs few requests.
func (c *Client) SearchLeads(ctx context.Context, req SearchLeadsRequest) iter.Seq2[Lead, error] {
	return func(yield func(Lead, error) bool) {
		if err := c.checkSearch(ctx, &req); err != nil {
			yield(Lead{}, err)
			return
		}
		list := c.leadList(req, nil, nil)
		for lead, err := range list.Items(ctx) {
			switch {
			case err == nil && ctx.Err() == nil:
				if !yield(*lead, nil) {
					return
				}
				continue
			case err == nil: // do not yield the rest of the page
				err = c.wrap("search leads", call.ContextError(ctx))
			case errors.Is(err, walk.ErrUnstable):
				err = c.wrap("search leads", err)
			}
			yield(Lead{}, err)
			return
		}
	}
}

// leadList returns the list of the leads that match req. mask hides what the
// server repeats of a lead. A nil mask hides only the token. observe is called
// with the outcome of each request. It may be nil.
func (c *Client) leadList(req SearchLeadsRequest, mask *textMask, observe func(*call.Outcome)) walk.List[Lead] {
	count := req.Count
	if count == 0 {
		count = MaxPageSize
	}
	if req.Limit > 0 {
		count = min(count, req.Limit)
	}
	// All pages have the same parameters, except count and skip.
	all := req
	all.Count, all.Skip = 0, 0
	parameters := "&" + all.query().Encode()
	list := walk.List[Lead]{
		Fetch: func(ctx context.Context, skip, count int, room []Lead) ([]Lead, error) {
			query := "count=" + strconv.Itoa(count) + parameters
			if skip > 0 {
				query += "&skip=" + strconv.Itoa(skip)
			}
			leads, o, err := c.searchPage(ctx, pageRequest{
				query: query, count: count, room: room, check: checkIDs, mask: mask,
			})
			if observe != nil {
				observe(&o)
			}
			return leads, err
		},
		ID:   leadID,
		Skip: req.Skip, Count: count, Limit: req.Limit, Prefetch: req.Prefetch,
	}
	switch req.OrderBy {
	case "", OrderByID:
		list.ByID = true
	case OrderByCreatedOn: // leads do not move
	default:
		list.Version = leadVersion()
	}
	return list
}

// SearchLeadsPage reads one page with one request. It is for a list that a
// person pages through. Next follows by plain offset, without the promise of
// [Client.SearchLeads]. Limit and Prefetch do nothing. If the API answered,
// errors.As finds an [*APIError] in the error.
func (c *Client) SearchLeadsPage(ctx context.Context, req SearchLeadsRequest) (*LeadPage, error) {
	if err := c.checkSearch(ctx, &req); err != nil {
		return nil, err
	}
	leads, _, err := c.searchPage(ctx, pageRequest{query: req.query().Encode(), count: req.Count})
	if err != nil {
		return nil, err
	}
	page := &LeadPage{Leads: leads}
	if !walk.Last(len(leads), req.Count) {
		next := req
		next.Skip += len(leads)
		page.Next = &next
	}
	return page, nil
}

// GetLead reads one lead by its id, with one request. It returns
// [ErrLeadNotFound] if the API does not show a lead with that id.
func (c *Client) GetLead(ctx context.Context, id int64) (*Lead, error) {
	if id <= 0 {
		return nil, invalid([]FieldError{{Field: "id", Code: ProblemOutOfRange, Problem: "must be positive"}})
	}
	req := SearchLeadsRequest{ID: id}
	leads, _, err := c.searchPage(ctx, pageRequest{query: req.query().Encode(), count: 1})
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(leads, func(l Lead) bool { return l.ID == id })
	if i < 0 {
		detail := fmt.Sprintf("get lead %d: not found", id)
		return nil, &callError{brand: c.brand, detail: detail, cause: ErrLeadNotFound}
	}
	return &leads[i], nil
}

// pageRequest is one request of a search.
type pageRequest struct {
	// query is the encoded query.
	query string
	// count is the number of leads that are expected at most. 0 means unknown.
	count int
	// room is memory for the leads. A nil room is allocated.
	room []Lead
	// check returns an error if the leads cannot be used. It may be nil.
	check func([]Lead) error
	// mask hides what the server repeats. A nil mask hides only the token.
	mask *textMask
}

// searchPage makes one request of a search. A 204 means no leads.
func (c *Client) searchPage(ctx context.Context, p pageRequest) ([]Lead, call.Outcome, error) {
	leads := []Lead{}
	o, err := c.send(ctx, &request{
		method: http.MethodGet, path: searchPath, query: p.query, mask: p.mask,
		read: func(body []byte) (err error) {
			if leads, err = decodeLeads(body, p.room, p.count); err != nil || p.check == nil {
				return err
			}
			return p.check(leads)
		},
	})
	if err != nil {
		return nil, o, err
	}
	return leads, o, nil
}

// checkIDs refuses leads without an id. A walk could not tell them apart.
func checkIDs(leads []Lead) error {
	for i := range leads {
		if leads[i].ID <= 0 {
			return leadFault(i, "id", "not a positive number")
		}
	}
	return nil
}

func leadFault(index int, field, problem string) error {
	return &wire.Error{Path: fmt.Sprintf("[%d].%s", index, field), Problem: problem}
}
