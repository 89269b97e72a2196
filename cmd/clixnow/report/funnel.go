package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/clixnow/clixnow-go"
)

// A period is whole days of one time zone.
type period struct {
	first time.Time // a date: midnight UTC, whatever the zone
	days  int
	zone  *time.Location
}

// date returns the date of an instant as people in the zone write it, at
// midnight UTC.
func date(t time.Time, zone *time.Location) time.Time {
	y, m, d := t.In(zone).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}

// day returns which day of the period t belongs to. Days are told apart by
// their dates, so that those of 23 and of 25 hours are days like any other.
func (p period) day(t time.Time) (n int, within bool) {
	n = int(date(t, p.zone).Sub(p.first).Hours()) / 24
	return n, n >= 0 && n < p.days
}

func (p period) date(n int) time.Time { return p.first.AddDate(0, 0, n) }

// bounds returns between which instants to search. They lie an hour further
// apart than the days: where clocks are set at midnight a day has no 0:00 or
// has two, and day drops what is too much.
func (p period) bounds() (from, to time.Time) {
	y, m, d := p.first.Date()
	from = time.Date(y, m, d, 0, 0, 0, 0, p.zone).Add(-time.Hour)
	return from, time.Date(y, m, d+p.days, 0, 0, 0, 0, p.zone).Add(time.Hour)
}

// A group is leads that have something in common: their day, their
// sub-campaign.
type group struct {
	Name     string
	Leads    int
	FTDs     int // how many of these leads have made a first deposit by now, whenever
	Statuses map[string]int
	Paid     paid // on days only
}

// paid is the first deposits that were made on one day, whenever the leads
// signed up.
type paid struct{ Period, Earlier int }

func (p paid) Total() int { return p.Period + p.Earlier }

// count adds more leads to a group.
func count(g *group, more group) {
	g.Leads += more.Leads
	g.FTDs += more.FTDs
	g.Paid.Period += more.Paid.Period
	g.Paid.Earlier += more.Paid.Earlier
	if g.Statuses == nil {
		g.Statuses = map[string]int{}
	}
	for status, n := range more.Statuses {
		g.Statuses[status] += n
	}
}

// Conversion is the share of leads that deposited, in percent.
func (g group) Conversion() float64 { return percent(g.FTDs, g.Leads) }

// Likely is where the true conversion lies with 95 % probability (Wilson's
// interval): one deposit of five leads may be luck.
func (g group) Likely() string {
	if g.Leads == 0 {
		return "-"
	}
	const z = 1.96
	n, share := float64(g.Leads), g.Conversion()/100
	middle, reach := share+z*z/(2*n), z*math.Sqrt(share*(1-share)/n+z*z/(4*n*n))
	scale := 100 / (1 + z*z/n)
	return fmt.Sprintf("%.0f to %.0f %%", max(middle-reach, 0)*scale, (middle+reach)*scale)
}

func percent(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return 100 * float64(part) / float64(whole)
}

// A funnel is what became of the leads of a period. It holds sums alone, so its
// size does not grow with their number.
type funnel struct {
	period
	Total        group
	byDay        []group
	subCampaigns map[string]*group
	waits        map[int]int // first deposits by the days that they came after the sign-up, rounded up
}

func newFunnel(p period) *funnel {
	f := &funnel{period: p, byDay: make([]group, p.days), subCampaigns: map[string]*group{}, waits: map[int]int{}}
	f.Total.Name = "Total"
	for n := range f.byDay {
		f.byDay[n].Name = p.date(n).Format(time.DateOnly)
	}
	return f
}

// readFunnel reads two kinds of leads: those that signed up within the period,
// whose deposits tell what the traffic was worth, and those that made their
// first deposit within it, whose sign-up may be long ago: they tell what is
// earned.
func readFunnel(ctx context.Context, client *clixnow.Client, p period) (*funnel, error) {
	f := newFunnel(p)
	from, to := p.bounds()
	each := func(request clixnow.SearchLeadsRequest, add func(clixnow.Lead)) error {
		request.Prefetch = 2
		for lead, err := range client.SearchLeads(ctx, request) {
			if err != nil {
				return err
			}
			add(lead)
		}
		return nil
	}
	if err := each(clixnow.SearchLeadsRequest{CreatedOnFrom: from, CreatedOnTo: to}, f.addLead); err != nil {
		return nil, fmt.Errorf("read the leads that signed up in the period: %w", err)
	}
	if err := each(clixnow.SearchLeadsRequest{FTDDateFrom: from, FTDDateTo: to}, f.addDeposit); err != nil {
		return nil, fmt.Errorf("read the leads that deposited in the period: %w", err)
	}
	return f, nil
}

// addLead counts a lead under the day on which it signed up.
func (f *funnel) addLead(lead clixnow.Lead) {
	n, within := f.day(lead.CreatedOn)
	if !within {
		return
	}
	one := group{Leads: 1, Statuses: map[string]int{printable(lead.Status): 1}}
	if lead.HasFTD() {
		one.FTDs = 1
		f.waits[max(0, int(math.Ceil(lead.FTDDate.Sub(lead.CreatedOn).Hours()/24)))]++
	}
	name := printable(lead.SubCampaign)
	if f.subCampaigns[name] == nil {
		f.subCampaigns[name] = &group{Name: name}
	}
	count(f.subCampaigns[name], one)
	count(&f.byDay[n], one)
	count(&f.Total, one)
}

// addDeposit counts a first deposit under the day on which it was made.
func (f *funnel) addDeposit(lead clixnow.Lead) {
	n, within := f.day(lead.FTDDate)
	if !within { // or its date is hidden
		return
	}
	one := group{Paid: paid{Earlier: 1}}
	if _, within := f.day(lead.CreatedOn); within {
		one.Paid = paid{Period: 1}
	}
	count(&f.byDay[n], one)
	count(&f.Total, one)
}

// Hidden reports that not one deposit is shown: there was none, or the
// affiliate does not see the dates of deposits.
func (f *funnel) Hidden() bool { return f.Total.FTDs == 0 && f.Total.Paid.Total() == 0 }

// Within returns in how many days after the sign-up so many percent of the
// first deposits came that have come by now.
func (f *funnel) Within(percent int) int {
	seen := 0
	for _, days := range slices.Sorted(maps.Keys(f.waits)) {
		if seen += f.waits[days]; seen*100 >= percent*f.Total.FTDs {
			return days
		}
	}
	return 0
}

// Days returns the leads by the day of their sign-up; of a long period by the
// week, since nobody reads a hundred bars.
func (f *funnel) Days() []group {
	if f.days <= 62 {
		return f.byDay
	}
	var weeks []group
	for n, day := range f.byDay {
		if n == 0 || f.period.date(n).Weekday() == time.Monday {
			weeks = append(weeks, group{Name: day.Name})
		}
		count(&weeks[len(weeks)-1], day)
	}
	return weeks
}

// SubCampaigns returns the n sub-campaigns with the most leads, and the others
// as one.
func (f *funnel) SubCampaigns(n int) []group {
	all := slices.SortedFunc(maps.Values(f.subCampaigns), func(a, b *group) int {
		return cmp.Or(cmp.Compare(b.Leads, a.Leads), cmp.Compare(a.Name, b.Name))
	})
	var rows []group
	for i, g := range all {
		switch {
		case i < n || len(all) == n+1: // "other" would be no shorter than the last one
			rows = append(rows, *g)
			continue
		case i == n:
			rows = append(rows, group{Name: fmt.Sprintf("other (%d more)", len(all)-n)})
		}
		count(&rows[len(rows)-1], *g)
	}
	return rows
}

// Statuses returns the n statuses with the most leads.
func (f *funnel) Statuses(n int) []string {
	all := slices.SortedFunc(maps.Keys(f.Total.Statuses), func(a, b string) int {
		return cmp.Or(cmp.Compare(f.Total.Statuses[b], f.Total.Statuses[a]), cmp.Compare(a, b))
	})
	if len(all) == n+1 { // as above
		return all
	}
	return all[:min(n, len(all))]
}

// printable returns text of the server without what could steer a terminal or
// turn the reading direction of a page. It is a copy: a piece of a lead's text
// would keep the memory of its neighbours.
func printable(text string) string {
	if strings.TrimSpace(text) == "" {
		return "(none)"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.Clone(text))
}
