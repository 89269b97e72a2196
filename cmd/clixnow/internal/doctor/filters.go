package doctor

import (
	"context"
	"slices"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
)

// filter is a date filter of the API.
type filter struct {
	name string
	// date is the date of a lead that the filter compares.
	date func(clixnow.Lead) time.Time
	// bound is the place of the bound in a request.
	bound func(*clixnow.SearchLeadsRequest) *time.Time
	// sign is 1 for the earliest date, and -1 for the latest one.
	sign time.Duration
}

// precisions are the units in which an API may compare dates.
var precisions = []struct {
	name string
	unit time.Duration
}{
	{"milliseconds", time.Millisecond},
	{"seconds", time.Second},
	{"minutes", time.Minute},
	{"hours", time.Hour},
	{"days", 24 * time.Hour},
}

// filters finds out how the date filters compare. It asks for a lead that is
// there, by its ID and with bounds around its date.
func (d *doctor) filters(ctx context.Context) error {
	created := func(l clixnow.Lead) time.Time { return l.CreatedOn }
	updated := func(l clixnow.Lead) time.Time { return l.UpdatedOn }
	type request = clixnow.SearchLeadsRequest
	for _, f := range []filter{
		{"createdOnFrom", created, func(r *request) *time.Time { return &r.CreatedOnFrom }, 1},
		{"createdOnTo", created, func(r *request) *time.Time { return &r.CreatedOnTo }, -1},
		{"modifiedOnFrom", updated, func(r *request) *time.Time { return &r.ModifiedOnFrom }, 1},
		{"modifiedOnTo", updated, func(r *request) *time.Time { return &r.ModifiedOnTo }, -1},
	} {
		if err := d.filter(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// filter reports whether a filter includes its bound, and how precise it is.
func (d *doctor) filter(ctx context.Context, f filter) error {
	lead := d.bestLead(f)
	if lead == nil {
		return d.report(f.name, unknown, "", "no lead shows this date")
	}
	date := f.date(*lead).Truncate(time.Millisecond)
	var failure error
	found := func(bound time.Time) bool {
		req := clixnow.SearchLeadsRequest{ID: lead.ID, Count: 1}
		*f.bound(&req) = bound
		page, err := d.client.SearchLeadsPage(ctx, req)
		if err != nil {
			failure = err
			return false
		}
		return len(page.Leads) > 0
	}
	const far = 3 * 24 * time.Hour
	works := found(date.Add(-f.sign*far)) && !found(date.Add(f.sign*far))
	included := works && found(date)
	precision := ""
	for _, p := range precisions {
		if !works {
			break
		}
		// inside is the last bound in the lead's unit. outside is the first bound
		// after it, on the other side of the lead.
		start, end := date.Truncate(p.unit), date.Truncate(p.unit).Add(p.unit)
		inside, outside := end.Add(-time.Millisecond), start.Add(-time.Millisecond)
		if f.sign < 0 {
			inside, outside = start, end
		}
		if included && !found(inside) {
			break
		}
		if included || found(outside) {
			precision = p.name
		}
		if !included && precision != "" {
			break
		}
	}
	switch {
	case failure != nil:
		return d.fail(f.name, app.Code(failure), "try again later", failure)
	case precision == "":
		return d.report(f.name, warning, "decide by the dates of the leads", "the filter works in a way that clixnow does not know")
	case included:
		return d.report(f.name, ok, "", "includes its bound, compares %s", precision)
	}
	return d.report(f.name, ok, "", "does not include its bound, compares %s", precision)
}

// bestLead returns the lead whose date is not at the beginning or end of a
// second, minute, hour and day, or comes close to that. There the precisions
// look alike.
func (d *doctor) bestLead(f filter) *clixnow.Lead {
	score := func(l clixnow.Lead) (n int) {
		date := f.date(l)
		if date.IsZero() {
			return -1
		}
		for i, p := range precisions[1:] {
			finer := precisions[i].unit
			part := date.Sub(date.Truncate(p.unit)) / finer
			if part > 0 && part < p.unit/finer-1 {
				n++
			}
		}
		return n
	}
	if len(d.leads) == 0 {
		return nil
	}
	best := slices.MaxFunc(d.leads, func(a, b clixnow.Lead) int { return score(a) - score(b) })
	if score(best) < 0 {
		return nil
	}
	return &best
}
