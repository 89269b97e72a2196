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

// group is the sum of the leads of one day or of one sub-campaign.
type group struct {
	Name  string
	Leads int
	// FTDs is the number of these leads that have made a first deposit, at any
	// time until now.
	FTDs     int
	Statuses map[string]int
	// Deposits is set for days only.
	Deposits deposits
}

// deposits counts the first deposits that were made on one day. Period counts
// those of leads that signed up in the period, Earlier those of earlier leads.
type deposits struct{ Period, Earlier int }

func (d deposits) Total() int { return d.Period + d.Earlier }

// addGroup adds the sums of another group to g.
func addGroup(g *group, other group) {
	g.Leads += other.Leads
	g.FTDs += other.FTDs
	g.Deposits.Period += other.Deposits.Period
	g.Deposits.Earlier += other.Deposits.Earlier
	if g.Statuses == nil {
		g.Statuses = map[string]int{}
	}
	for status, n := range other.Statuses {
		g.Statuses[status] += n
	}
}

// Conversion returns the percentage of leads that made a first deposit.
func (g group) Conversion() float64 { return percent(g.FTDs, g.Leads) }

// LikelyRange returns the range in which the true conversion lies with a
// probability of 95 % (Wilson's interval). With few leads the range is wide.
func (g group) LikelyRange() string {
	if g.Leads == 0 {
		return "-"
	}
	const z = 1.96
	n, share := float64(g.Leads), g.Conversion()/100
	center, margin := share+z*z/(2*n), z*math.Sqrt(share*(1-share)/n+z*z/(4*n*n))
	scale := 100 / (1 + z*z/n)
	return fmt.Sprintf("%.0f to %.0f %%", max(center-margin, 0)*scale, (center+margin)*scale)
}

func percent(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return 100 * float64(part) / float64(whole)
}

// funnel has the numbers of leads and first deposits of a period. It holds only
// sums, so that its size does not grow with the number of leads.
type funnel struct {
	period
	Total        group
	byDay        []group
	subCampaigns map[string]*group
	// daysToDeposit counts first deposits by the number of days between the
	// sign-up and the deposit, rounded up.
	daysToDeposit map[int]int
}

func newFunnel(p period) *funnel {
	f := &funnel{
		period: p, byDay: make([]group, p.days), subCampaigns: map[string]*group{},
		daysToDeposit: map[int]int{},
	}
	f.Total.Name = "Total"
	for n := range f.byDay {
		f.byDay[n].Name = p.date(n).Format(time.DateOnly)
	}
	return f
}

// readFunnel reads the leads that signed up in the period, whose first deposits
// show the value of the traffic. It also reads the leads that made their first
// deposit in the period, at any time after their sign-up. They show what was
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
		f.daysToDeposit[max(0, int(math.Ceil(lead.FTDDate.Sub(lead.CreatedOn).Hours()/24)))]++
	}
	name := printable(lead.SubCampaign)
	if f.subCampaigns[name] == nil {
		f.subCampaigns[name] = &group{Name: name}
	}
	addGroup(f.subCampaigns[name], one)
	addGroup(&f.byDay[n], one)
	addGroup(&f.Total, one)
}

// addDeposit counts a first deposit under the day on which it was made.
func (f *funnel) addDeposit(lead clixnow.Lead) {
	n, within := f.day(lead.FTDDate)
	if !within { // also if the date is hidden
		return
	}
	one := group{Deposits: deposits{Earlier: 1}}
	if _, within := f.day(lead.CreatedOn); within {
		one.Deposits = deposits{Period: 1}
	}
	addGroup(&f.byDay[n], one)
	addGroup(&f.Total, one)
}

// Hidden reports whether there is no deposit. Either none was made, or the
// dates of deposits are hidden from the affiliate.
func (f *funnel) Hidden() bool { return f.Total.FTDs == 0 && f.Total.Deposits.Total() == 0 }

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

// Days returns the leads by the day of their sign-up. If the period is longer
// than 62 days, it returns them by week, because a chart of days would have too
// many bars.
func (f *funnel) Days() []group {
	if f.days <= 62 {
		return f.byDay
	}
	var weeks []group
	for n, day := range f.byDay {
		if n == 0 || f.period.date(n).Weekday() == time.Monday {
			weeks = append(weeks, group{Name: day.Name})
		}
		addGroup(&weeks[len(weeks)-1], day)
	}
	return weeks
}

// SubCampaigns returns the n sub-campaigns with the most leads, and one group
// for all others.
func (f *funnel) SubCampaigns(n int) []group {
	all := slices.SortedFunc(maps.Values(f.subCampaigns), func(a, b *group) int {
		return cmp.Or(cmp.Compare(b.Leads, a.Leads), cmp.Compare(a.Name, b.Name))
	})
	var rows []group
	for i, g := range all {
		switch {
		case i < n || len(all) == n+1: // a group for a single other one would save no row
			rows = append(rows, *g)
			continue
		case i == n:
			rows = append(rows, group{Name: fmt.Sprintf("other (%d more)", len(all)-n)})
		}
		addGroup(&rows[len(rows)-1], *g)
	}
	return rows
}

// Statuses returns the n statuses with the most leads. If there are n+1, it
// returns all of them.
func (f *funnel) Statuses(n int) []string {
	all := slices.SortedFunc(maps.Keys(f.Total.Statuses), func(a, b string) int {
		return cmp.Or(cmp.Compare(f.Total.Statuses[b], f.Total.Statuses[a]), cmp.Compare(a, b))
	})
	if len(all) == n+1 {
		return all
	}
	return all[:min(n, len(all))]
}

// printable replaces the characters in text that could control a terminal or
// change the reading direction of a page. It returns a copy, because text is a
// part of a larger string that would stay in memory.
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
