package clixnow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/go-querystring/query"

	"github.com/clixnow/clixnow-go/internal/call"
	"github.com/clixnow/clixnow-go/internal/walk"
	"github.com/clixnow/clixnow-go/internal/wire"
)

// SearchLeadsRequest says which leads to read (Clixnow API reference,
// "Monitoring data"). Its zero value asks for all leads in the order of their
// ids. Times are sent in UTC in milliseconds, From rounded down and To rounded
// up; the API seems to include both bounds.
type SearchLeadsRequest struct {
	ID      int64   `url:"id,omitempty"`      // 0 = any
	OrderBy OrderBy `url:"orderBy,omitempty"` // ascending; "" = OrderByID
	// leads per request, 1 to 1000. 0: SearchLeads uses MaxPageSize,
	// SearchLeadsPage leaves it to the API (10)
	Count int `url:"count,omitempty"`
	Skip  int `url:"skip,omitempty"` // leads to pass over first

	Limit int `url:"-"` // SearchLeads: most leads to yield in all; 0 = no limit
	// SearchLeads: pages requested ahead of the consumer, at once; 0 = none. 1
	// helps only where leads take time to handle
	Prefetch int `url:"-"`

	CreatedOnFrom  time.Time `url:"-"` // zero = no bound; so are the others
	CreatedOnTo    time.Time `url:"-"` // belongs to the period, to the millisecond
	ModifiedOnFrom time.Time `url:"-"` // of Lead.UpdatedOn
	ModifiedOnTo   time.Time `url:"-"`
	FTDDateFrom    time.Time `url:"-"`
	FTDDateTo      time.Time `url:"-"`

	// Extra holds further query parameters that a host knows; they are sent as
	// they are. A name of ours, in any case, is refused.
	Extra url.Values `url:"-"`
}

// OrderBy is what leads are sorted by; always ascending.
type OrderBy string

// The orders of the API.
const (
	OrderByID         OrderBy = "Id"
	OrderByCreatedOn  OrderBy = "CreatedOn"
	OrderByModifiedOn OrderBy = "ModifiedOn" // Lead.UpdatedOn
	OrderByFTDDate    OrderBy = "FtdDate"
	// as the API reference prints it, surely a misprint of FtdDate; for hosts
	// that know only this
	OrderByFTDFate OrderBy = "FtdFate"
)

// Lead is a registered lead as a search shows it (Clixnow API reference,
// "Response model"). Which of CRMID, BrandID and FTDDate are shown is set for
// each affiliate. It marshals to the API's JSON and unmarshals from it.
//
// The texts of leads that were read together share memory in pieces of about 16
// KiB: one that is kept for long keeps its piece. Where that matters, keep a
// strings.Clone.
type Lead struct {
	ID          int64  // within Clixnow
	Email       string // some brands mask it
	Status      string // free text, differs by brand
	CRMID       string // in the system of the brand: number or text; "" = hidden or none
	BrandID     int64  // of the broker that accepted the lead; 0 = hidden
	BrandName   string // of the broker that accepted the lead
	CreatedOn   time.Time
	UpdatedOn   time.Time // what ModifiedOn filters and orders speak of
	FTDDate     time.Time // of the first deposit; zero = none, or hidden
	ClickID     string    // this and the following as they were registered
	Sub2        string
	SubCampaign string
	Keyword     string
	Placement   string
	ClientType  ClientType // the reference contradicts itself about its meaning: rely on HasFTD

	// Extra holds fields that this version does not know; nil when there are
	// none.
	Extra map[string]json.RawMessage
}

// ClientType is the API's word for whether a first deposit was made. The
// reference seems to have its two values swapped; build nothing on it, use
// [Lead.HasFTD].
type ClientType string

// The documented client types.
const (
	ClientTypeClient    ClientType = "Client"
	ClientTypeDepositor ClientType = "Depositor"
)

// HasFTD reports whether the lead shows a first deposit. False may also mean
// that its date is hidden from the affiliate.
func (l Lead) HasFTD() bool { return !l.FTDDate.IsZero() }

// LeadPage is what one request of a search returned.
type LeadPage struct {
	Leads []Lead
	Next  *SearchLeadsRequest // for the page after this one; nil when this page is the last
}

// SearchLeads yields the leads that match req, page by page. Nothing is sent
// before it is ranged over; ranging again starts again; leaving the loop ends
// its requests. An error, as of ctx when it ends, is yielded at most once,
// last, with a zero Lead. It is safe for concurrent use, each range on its own.
//
// # What is promised
//
// A lead that is in the result for the whole walk is yielded exactly once,
// whatever is inserted, changed or deleted meanwhile, in every order and
// whatever cap of ten or more the server puts on pages; or the walk ends with
// [ErrUnstableResults]: range again. Paging by offset gives none of that by
// itself: each row that leaves or moves makes it lose one silently. A lead is
// yielded as it was when it was read first. One that enters or leaves the
// result meanwhile may be yielded or not.
//
// Not promised: [OrderByFTDDate] while dates are hidden, set backwards or
// withdrawn, or where leads without a date come last; leads of one instant that
// the server returns in another order each time.
//
// # What it costs
//
// One request for every Count-1 leads, since a page starts on the last lead of
// the page before, and one more. The server has to count what it skips: for N
// leads about N²/(2·Count) rows. Memory: Prefetch+1 pages, and in orders other
// than [OrderByID] about 50 bytes for each lead seen. To keep a copy current,
// [Client.LeadChanges] costs the server far less.
func (c *Client) SearchLeads(ctx context.Context, req SearchLeadsRequest) iter.Seq2[Lead, error] {
	return func(yield func(Lead, error) bool) {
		if err := c.checkSearch(ctx, &req); err != nil {
			yield(Lead{}, err)
			return
		}
		list := c.leadList(req, func(*call.Outcome) {})
		for lead, err := range list.Items(ctx) {
			if errors.Is(err, walk.ErrUnstable) {
				err = c.wrap("search leads", err)
			}
			if err == nil && ctx.Err() != nil { // not to go on for the rest of the page
				err = c.wrap("search leads", call.ContextError(ctx))
			}
			if err != nil {
				yield(Lead{}, err)
				return
			}
			if !yield(*lead, nil) {
				return
			}
		}
	}
}

// leadList is the walk over the leads that match req; observe is shown how each
// of its requests went.
func (c *Client) leadList(req SearchLeadsRequest, observe func(*call.Outcome)) walk.List[Lead] {
	count := req.Count
	if count == 0 {
		count = MaxPageSize
	}
	if req.Limit > 0 {
		count = min(count, req.Limit)
	}
	list := walk.List[Lead]{
		Fetch: func(ctx context.Context, skip, count int, room []Lead) ([]Lead, error) {
			page := req
			page.Skip, page.Count = skip, count
			leads, o, err := c.searchPage(ctx, page.query(), count, room, hasIDs)
			observe(&o)
			return leads, err
		},
		ID:   leadID,
		Skip: req.Skip, Count: count, Limit: req.Limit, Prefetch: req.Prefetch,
	}
	switch req.OrderBy {
	case "", OrderByID:
		list.ByID = true
	case OrderByCreatedOn: // its leads stay where they are
	default:
		list.Version = leadVersion()
	}
	return list
}

// SearchLeadsPage reads one page: for a list that a person pages through.
// Following Next reads on by plain offset, without the promise of
// [Client.SearchLeads]. Limit and Prefetch do nothing. An [*APIError] is within
// reach of its errors where the API answered.
func (c *Client) SearchLeadsPage(ctx context.Context, req SearchLeadsRequest) (*LeadPage, error) {
	if err := c.checkSearch(ctx, &req); err != nil {
		return nil, err
	}
	leads, _, err := c.searchPage(ctx, req.query(), req.Count, nil, nil)
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

// GetLead reads one lead by its id; [ErrLeadNotFound] where the API shows none.
func (c *Client) GetLead(ctx context.Context, id int64) (*Lead, error) {
	if id <= 0 {
		return nil, invalid([]FieldError{{Field: "id", Code: ProblemOutOfRange, Problem: "must be positive"}})
	}
	leads, _, err := c.searchPage(ctx, (&SearchLeadsRequest{ID: id}).query(), 1, nil, nil)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(leads, func(l Lead) bool { return l.ID == id })
	if i < 0 {
		return nil, &callError{brand: c.brand, detail: fmt.Sprintf("get lead %d: not found", id), cause: ErrLeadNotFound}
	}
	return &leads[i], nil
}

// mostLeads is how many are read of one page, for a server that does not know
// count. One that means harm could give as many as there are bytes, and each
// takes a hundred times its bytes here.
const mostLeads = 100 * MaxPageSize

// searchPage makes one request of a search and reads about expected leads, into
// room if they fit; check, if any, is asked whether they will do.
func (c *Client) searchPage(
	ctx context.Context, values url.Values, expected int, room []Lead, check func([]Lead) error,
) ([]Lead, call.Outcome, error) {
	var leads []Lead
	o, err := c.send(ctx, &request{
		method: http.MethodGet, path: searchPath, query: values,
		read: func(body []byte) error {
			if leads = room; leads == nil {
				const shortest = 100 // bytes of a lead: a body of nonsense gets no more room than it can fill
				leads = make([]Lead, 0, min(expected, len(body)/shortest+1))
			}
			var lead Lead
			each := func() error {
				if len(leads) == mostLeads {
					return &wire.Error{Problem: fmt.Sprintf("more than %d leads", mostLeads)}
				}
				leads = append(leads, lead)
				lead = Lead{}
				return nil
			}
			if err := leadObject(&lead).DecodeList(body, each); err != nil {
				return err
			}
			if check == nil {
				return nil
			}
			return check(leads)
		},
	})
	if err != nil {
		return nil, o, err
	}
	return leads, o, nil
}

func leadID(l *Lead) int64 { return l.ID }

// hasIDs refuses leads that a walk could not tell apart.
func hasIDs(leads []Lead) error {
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

// leadVersion returns a function that makes a fingerprint of all that a lead
// shows.
func leadVersion() func(*Lead) uint64 {
	type shown struct {
		texts   [10]string
		numbers [8]int64
	}
	seed := maphash.MakeSeed()
	return func(l *Lead) uint64 {
		version := maphash.Comparable(seed, shown{
			[...]string{
				l.Email, l.Status, l.CRMID, l.BrandName, l.ClickID, l.Sub2, l.SubCampaign, l.Keyword, l.Placement,
				string(l.ClientType),
			},
			[...]int64{
				l.ID, l.BrandID, l.CreatedOn.Unix(), l.UpdatedOn.Unix(), l.FTDDate.Unix(),
				int64(l.CreatedOn.Nanosecond()), int64(l.UpdatedOn.Nanosecond()), int64(l.FTDDate.Nanosecond()),
			},
		})
		for name, value := range l.Extra { // in any order
			version += maphash.Comparable(seed, [...]uint64{maphash.String(seed, name), maphash.Bytes(seed, value)})
		}
		return version
	}
}

// Validate returns nil, or a [*ValidationError] with all that the API is known
// to refuse, and what cannot be asked. Searches call it first, unless
// [WithoutValidation] was given.
func (r SearchLeadsRequest) Validate() error {
	var faults []FieldError
	switch r.OrderBy {
	case "", OrderByID, OrderByCreatedOn, OrderByModifiedOn, OrderByFTDDate, OrderByFTDFate:
	default:
		faults = append(faults, FieldError{
			Field: "orderBy", Code: ProblemUnknownValue, Problem: "must be Id, CreatedOn, ModifiedOn, FtdDate or FtdFate",
		})
	}
	if r.Count > MaxPageSize {
		faults = append(faults, FieldError{
			Field: "count", Code: ProblemOutOfRange, Problem: fmt.Sprintf("must be at most %d", MaxPageSize),
		})
	}
	for _, period := range r.periods() {
		if !period.from.IsZero() && !period.to.IsZero() && period.to.Before(period.from) {
			faults = append(faults, FieldError{
				Field: period.name + "To", Code: ProblemOutOfRange, Problem: "must not be before " + period.name + "From",
			})
		}
	}
	return invalid(append(faults, r.unsendable()...))
}

// checkSearch refuses a search before anything is sent.
func (c *Client) checkSearch(ctx context.Context, req *SearchLeadsRequest) error {
	if ctx == nil {
		return c.notSent("search leads", errNilContext)
	}
	if c.validate {
		return req.Validate()
	}
	return invalid(req.unsendable())
}

// unsendable finds what no server could judge.
func (r SearchLeadsRequest) unsendable() (faults []FieldError) {
	for _, number := range []struct {
		name  string
		value int64
	}{
		{"id", r.ID},
		{"count", int64(r.Count)},
		{"skip", int64(r.Skip)},
		{"limit", int64(r.Limit)},
		{"prefetch", int64(r.Prefetch)},
	} {
		if number.value < 0 {
			faults = append(faults, FieldError{
				Field: number.name, Code: ProblemOutOfRange, Problem: "must not be negative",
			})
		}
	}
	names := []string{"id", "orderBy", "count", "skip"}
	for _, period := range r.periods() {
		for _, bound := range []struct {
			name string
			date time.Time
		}{{period.name + "From", period.from}, {period.name + "To", period.to}} {
			names = append(names, bound.name)
			if year := bound.date.UTC().Year(); year < 1 || year > 9999 {
				faults = append(faults, FieldError{
					Field: bound.name, Code: ProblemOutOfRange, Problem: "must lie in the years 1 to 9999",
				})
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Extra)) {
		if slices.ContainsFunc(names, func(known string) bool { return strings.EqualFold(known, name) }) {
			faults = append(faults, FieldError{
				Field: name, Code: ProblemReserved, Problem: "is a field of the request and must not be in Extra",
			})
		}
	}
	return faults
}

type period struct {
	name     string
	from, to time.Time
}

func (r SearchLeadsRequest) periods() []period {
	return []period{
		{"createdOn", r.CreatedOnFrom, r.CreatedOnTo},
		{"modifiedOn", r.ModifiedOnFrom, r.ModifiedOnTo},
		{"ftdDate", r.FTDDateFrom, r.FTDDateTo},
	}
}

// query is what is sent. The order is always named, since the reference tells
// no default.
func (r SearchLeadsRequest) query() url.Values {
	if r.OrderBy == "" {
		r.OrderBy = OrderByID
	}
	values, err := query.Values(r)
	if err != nil {
		panic(err) // of numbers and texts alone: it cannot be
	}
	for _, period := range r.periods() {
		if !period.from.IsZero() {
			values.Set(period.name+"From", wire.FormatQueryTime(period.from, false))
		}
		if !period.to.IsZero() {
			values.Set(period.name+"To", wire.FormatQueryTime(period.to, true))
		}
	}
	maps.Copy(values, r.Extra)
	return values
}
