package report

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
	"github.com/clixnow/clixnow-go/store/mirror"
)

// period is a number of whole days in one time zone.
type period struct {
	// first is the date of the first day, at midnight UTC in every zone.
	first time.Time
	days  int
	zone  *time.Location
}

// date returns the date of t in the zone, at midnight UTC.
func date(t time.Time, zone *time.Location) time.Time {
	y, m, d := t.In(zone).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}

// day returns the number of the day of t in the period, from 0. It compares
// dates, because a day can have 23 or 25 hours.
func (p period) day(t time.Time) (n int, within bool) {
	n = int(date(t, p.zone).Sub(p.first).Hours()) / 24
	return n, n >= 0 && n < p.days
}

func (p period) date(n int) time.Time { return p.first.AddDate(0, 0, n) }

// bounds returns the bounds of the search. On both sides they are an hour wider
// than the period, because in some zones the clocks change at midnight. Such a
// day has no 0:00, or two of them. The method day excludes the extra leads.
func (p period) bounds() (from, to time.Time) {
	y, m, d := p.first.Date()
	from = time.Date(y, m, d, 0, 0, 0, 0, p.zone).Add(-time.Hour)
	return from, time.Date(y, m, d+p.days, 0, 0, 0, 0, p.zone).Add(time.Hour)
}

// String returns the first and the last day.
func (p period) String() string {
	const layout = "2 Jan 2006"
	return p.first.Format(layout) + " to " + p.date(p.days-1).Format(layout)
}

// counts are sums of leads.
type counts struct {
	Leads int
	// FTDs is the number of these leads that have made a first deposit, at any
	// time until the report.
	FTDs int
	// Made is the number of first deposits that were made in a time, and
	// Earlier those of them by leads that signed up before the period.
	Made, Earlier int
}

func (c counts) plus(d counts) counts {
	return counts{c.Leads + d.Leads, c.FTDs + d.FTDs, c.Made + d.Made, c.Earlier + d.Earlier}
}

// Conversion returns the percentage of leads that made a first deposit.
func (c counts) Conversion() float64 { return percent(c.FTDs, c.Leads) }

// likely returns the range in which the true conversion lies with a probability
// of 95 % (Wilson's interval). With few leads the range is wide. There must be
// leads.
func (c counts) likely() (low, high float64) {
	const z = 1.96
	n, share := float64(c.Leads), c.Conversion()/100
	center, margin := share+z*z/(2*n), z*math.Sqrt(share*(1-share)/n+z*z/(4*n*n))
	scale := 100 / (1 + z*z/n)
	return max(center-margin, 0) * scale, (center + margin) * scale
}

// LikelyRange returns the range of likely with as many decimals as it needs for
// its bounds to differ by at least two steps.
func (c counts) LikelyRange() string {
	if c.Leads == 0 {
		return "-"
	}
	low, high := c.likely()
	decimals := 0
	for width := high - low; width < 2 && decimals < 3; width *= 10 {
		decimals++
	}
	return fmt.Sprintf("%.*f to %.*f %%", decimals, low, decimals, high)
}

func percent(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return 100 * float64(part) / float64(whole)
}

// group is the sum of the leads of a day, a brand, a sub-campaign or a status.
type group struct {
	Name string
	counts
	// Before is about the period before. It is zero for days and statuses.
	Before   counts
	Statuses map[string]int
}

// add adds the sums of another group.
func (g *group) add(other group) {
	g.counts, g.Before = g.plus(other.counts), g.Before.plus(other.Before)
	if g.Statuses == nil {
		g.Statuses = map[string]int{}
	}
	for status, n := range other.Statuses {
		g.Statuses[status] += n
	}
}

// groups are groups by name.
type groups map[string]*group

func (all groups) get(name string) *group {
	if all[name] == nil {
		all[name] = &group{Name: name}
	}
	return all[name]
}

// sorted returns the groups with the most leads first.
func (all groups) sorted() (list []group) {
	for _, g := range all {
		list = append(list, *g)
	}
	slices.SortFunc(list, func(a, b group) int {
		return cmp.Or(cmp.Compare(b.Leads, a.Leads), cmp.Compare(b.Before.Leads, a.Before.Leads),
			cmp.Compare(a.Name, b.Name))
	})
	return list
}

// entry is a lead of a brand.
type entry struct {
	Brand string
	clixnow.Lead
}

// source reads leads from the API or from a mirror.
type source func(context.Context, clixnow.SearchLeadsRequest) iter.Seq2[entry, error]

// funnel has the numbers of leads and first deposits of a period. It holds only
// sums, so that its size does not grow with the number of leads.
type funnel struct {
	period
	// asOf is the time of the numbers.
	asOf time.Time
	// old has the brands whose news are too old.
	old []mirror.Position
	// past means that what happened after asOf is not counted.
	past                           bool
	Total                          group
	byDay                          []group
	brands, subCampaigns, statuses groups
	// daysToDeposit counts first deposits by the number of days between the
	// sign-up and the deposit, rounded up.
	daysToDeposit map[int]int
}

func newFunnel(p period, asOf time.Time, brands ...string) *funnel {
	f := &funnel{
		period: p, asOf: asOf.In(p.zone), Total: group{Name: "Total"}, byDay: make([]group, p.days),
		brands: groups{}, subCampaigns: groups{}, statuses: groups{}, daysToDeposit: map[int]int{},
	}
	for n := range f.byDay {
		f.byDay[n].Name = p.date(n).Format(time.DateOnly)
	}
	for _, brand := range brands {
		f.brands.get(brand)
	}
	return f
}

// before returns an empty funnel of the period of the same length before. It
// counts that period as it was then, so that its leads are not older than those
// of f. Else its conversion would always look better.
func (f *funnel) before() *funnel {
	p := f.period
	p.first = p.date(-p.days)
	before := newFunnel(p, f.asOf.AddDate(0, 0, -p.days))
	before.past = true
	return before
}

// compare adds the numbers of the period before to those of f.
func (f *funnel) compare(before *funnel) {
	f.Total.Before = before.Total.counts
	for name, g := range before.brands {
		f.brands.get(name).Before = g.counts
	}
	for name, g := range before.subCampaigns {
		f.subCampaigns.get(name).Before = g.counts
	}
}

// read reads the leads that signed up in the period or in the period before,
// whose first deposits show the value of the traffic. It also reads the leads
// that made their first deposit in these periods, at any time after their
// sign-up. They show what was earned. It calls each after each lead.
func (f *funnel) read(ctx context.Context, leads source, each func()) error {
	before := f.before()
	from, _ := before.bounds()
	_, to := f.bounds()
	for lead, err := range leads(ctx, clixnow.SearchLeadsRequest{CreatedOnFrom: from, CreatedOnTo: to}) {
		if err != nil {
			return err
		}
		f.addLead(lead)
		before.addLead(lead)
		each()
	}
	for lead, err := range leads(ctx, clixnow.SearchLeadsRequest{FTDDateFrom: from, FTDDateTo: to}) {
		if err != nil {
			return err
		}
		f.addDeposit(lead)
		before.addDeposit(lead)
		each()
	}
	f.compare(before)
	return nil
}

// counted returns the day of t, and whether what happened at t is counted.
func (f *funnel) counted(t time.Time) (day int, ok bool) {
	day, ok = f.day(t)
	return day, ok && (!f.past || t.Before(f.asOf))
}

// add adds a group to those of a lead and of a day.
func (f *funnel) add(lead entry, day int, one group) {
	brand, subCampaign := f.brands.get(printable(lead.Brand)), f.subCampaigns.get(printable(lead.SubCampaign))
	for _, g := range []*group{&f.Total, &f.byDay[day], brand, subCampaign} {
		g.add(one)
	}
}

// addLead counts a lead under the day on which it signed up.
func (f *funnel) addLead(lead entry) {
	day, ok := f.counted(lead.CreatedOn)
	if !ok {
		return
	}
	status := printable(lead.Status)
	one := group{counts: counts{Leads: 1}, Statuses: map[string]int{status: 1}}
	if lead.HasFTD() && (!f.past || lead.FTDDate.Before(f.asOf)) {
		one.FTDs = 1
		f.daysToDeposit[max(0, int(math.Ceil(lead.FTDDate.Sub(lead.CreatedOn).Hours()/24)))]++
	}
	f.add(lead, day, one)
	f.statuses.get(status).add(group{counts: one.counts})
}

// addDeposit counts a first deposit under the day on which it was made. A
// deposit that was withdrawn or is hidden has no date, and is not counted.
func (f *funnel) addDeposit(lead entry) {
	day, ok := f.counted(lead.FTDDate)
	if !ok {
		return
	}
	one := group{counts: counts{Made: 1}}
	if _, within := f.day(lead.CreatedOn); !within {
		one.Earlier = 1
	}
	f.add(lead, day, one)
}

// Hidden reports whether there is no deposit. Either none was made, or the
// dates of deposits are hidden from the affiliate.
func (f *funnel) Hidden() bool { return f.Total.FTDs == 0 && f.Total.Made == 0 }

// DaysUntil returns the number of days after the sign-up within which this
// percentage of the first deposits was made. It counts the deposits until now.
func (f *funnel) DaysUntil(percent int) int {
	seen := 0
	for _, days := range slices.Sorted(maps.Keys(f.daysToDeposit)) {
		if seen += f.daysToDeposit[days]; seen*100 >= percent*f.Total.FTDs {
			return days
		}
	}
	return 0
}

// Weekly reports whether an element of Days is a week. A chart of more than 62
// days would have too many bars.
func (f *funnel) Weekly() bool { return f.days > 62 }

// Days returns the leads by the day or week of their sign-up.
func (f *funnel) Days() []group {
	if !f.Weekly() {
		return f.byDay
	}
	var weeks []group
	for n, day := range f.byDay {
		if n == 0 || f.date(n).Weekday() == time.Monday {
			weeks = append(weeks, group{Name: day.Name})
		}
		weeks[len(weeks)-1].add(day)
	}
	return weeks
}

// MayGrow reports whether the conversion of a day or week may still grow. It
// may grow until 90 % of the first deposits can be expected.
func (f *funnel) MayGrow(day group) bool {
	wait := f.DaysUntil(90)
	if f.Weekly() {
		wait += 6
	}
	start, err := time.Parse(time.DateOnly, day.Name)
	return err == nil && day.Leads > 0 && start.AddDate(0, 0, wait).After(date(f.asOf, f.zone))
}

// SubCampaigns returns the n sub-campaigns with the most leads, and one group
// for all others.
func (f *funnel) SubCampaigns(n int) []group {
	all := f.subCampaigns.sorted()
	if len(all) <= n+1 { // a group for a single other one would save no row
		return all
	}
	rest := group{Name: fmt.Sprintf("other (%d more)", len(all)-n)}
	for _, g := range all[n:] {
		rest.add(g)
	}
	return append(all[:n:n], rest)
}

// printable replaces the characters in text that could control a terminal or
// change the reading direction of a page. It returns a copy, because text is a
// part of a larger string that would stay in memory.
func printable(text string) string {
	if strings.TrimSpace(text) == "" {
		return "(none)"
	}
	return app.Printable(strings.ReplaceAll(strings.Clone(text), "\t", "\ufffd"))
}
