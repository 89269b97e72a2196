package doctor

import (
	"context"
	"slices"
	"time"

	"github.com/clixnow/clixnow-go"
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

func filters() []filter {
	created := func(l clixnow.Lead) time.Time { return l.CreatedOn }
	updated := func(l clixnow.Lead) time.Time { return l.UpdatedOn }
	type request = clixnow.SearchLeadsRequest
	return []filter{
		{"createdOnFrom", created, func(r *request) *time.Time { return &r.CreatedOnFrom }, 1},
		{"createdOnTo", created, func(r *request) *time.Time { return &r.CreatedOnTo }, -1},
		{"modifiedOnFrom", updated, func(r *request) *time.Time { return &r.ModifiedOnFrom }, 1},
		{"modifiedOnTo", updated, func(r *request) *time.Time { return &r.ModifiedOnTo }, -1},
	}
}

// units are those in which an API may compare dates.
func units() []time.Duration {
	return []time.Duration{time.Millisecond, time.Second, time.Minute, time.Hour, 24 * time.Hour}
}

// filter finds out whether a filter includes its bound, and how precise it is.
// It asks for a lead by its ID, with bounds around its date.
func (d *doctor) filter(ctx context.Context, f filter) (finding, error) {
	lead, found := d.bestLead(f)
	if !found {
		return finding{Result: "unknown", Detail: "no lead shows this date"}, nil
	}
	date := f.date(lead).Truncate(time.Millisecond)
	var failure error
	shows := func(bound time.Time) bool {
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
	works := shows(date.Add(-f.sign*far)) && !shows(date.Add(f.sign*far))
	included := works && shows(date)
	precision := time.Duration(0)
	for _, unit := range units() {
		// inside is the bound in the lead's unit that excludes most. outside is
		// the first bound beside this unit that excludes less.
		start := date.Truncate(unit)
		inside, outside := start.Add(unit-time.Millisecond), start.Add(-time.Millisecond)
		if f.sign < 0 {
			inside, outside = start, start.Add(unit)
		}
		if included && shows(inside) {
			precision = unit // and perhaps a coarser one
			continue
		}
		if works && !included && shows(outside) {
			precision = unit
		}
		if included || precision > 0 {
			break
		}
	}
	names := map[time.Duration]string{
		time.Millisecond: "milliseconds", time.Second: "seconds", time.Minute: "minutes", time.Hour: "hours",
		24 * time.Hour: "days",
	}
	switch {
	case failure != nil || precision == 0:
		return finding{
			Result: "warning", Detail: "the filter works in a way that clixnow does not know",
			Fix: "decide by the dates of the leads",
		}, failure
	case included:
		return finding{Detail: "includes its bound, compares " + names[precision]}, nil
	}
	return finding{Detail: "does not include its bound, compares " + names[precision]}, nil
}

// bestLead returns the lead whose date is least often at the beginning or end
// of a unit. There the units look alike.
func (d *doctor) bestLead(f filter) (best clixnow.Lead, found bool) {
	score := func(l clixnow.Lead) (n int) {
		for i, unit := range units()[1:] {
			finer := units()[i]
			part := f.date(l).Sub(f.date(l).Truncate(unit)) / finer
			if part > 0 && part < unit/finer-1 {
				n++
			}
		}
		return n
	}
	leads := slices.DeleteFunc(slices.Clone(d.leads), func(l clixnow.Lead) bool { return f.date(l).IsZero() })
	if len(leads) == 0 {
		return best, false
	}
	return slices.MaxFunc(leads, func(a, b clixnow.Lead) int { return score(a) - score(b) }), true
}
