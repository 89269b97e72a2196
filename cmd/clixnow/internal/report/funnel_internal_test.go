package report

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
)

func instant(t *testing.T, text string) time.Time {
	t.Helper()
	parsed, err := time.Parse(time.RFC3339, text)
	require.NoError(t, err)
	return parsed
}

func newPeriod(t *testing.T, zone, first string, days int) period {
	t.Helper()
	location, err := time.LoadLocation(zone)
	require.NoError(t, err)
	return period{first: instant(t, first+"T00:00:00Z"), days: days, zone: location}
}

func TestDay(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, zone, first string
		days              int
		at                string
		day               int
		within            bool
	}{
		{"first instant", "UTC", "2026-10-01", 31, "2026-10-01T00:00:00Z", 0, true},
		{"instant before the first", "UTC", "2026-10-01", 31, "2026-09-30T23:59:59.999Z", -1, false},
		{"last instant", "UTC", "2026-10-01", 31, "2026-10-31T23:59:59.999Z", 30, true},
		{"instant after the last", "UTC", "2026-10-01", 31, "2026-11-01T00:00:00Z", 31, false},
		{"zero time", "UTC", "2026-10-01", 31, "0001-01-01T00:00:00Z", -106751, false},
		{"zone with a later date than UTC", "Europe/Zurich", "2026-10-01", 2, "2026-09-30T22:00:00Z", 0, true},
		{"zone with an earlier date than UTC", "America/New_York", "2026-10-01", 2, "2026-10-02T03:59:59Z", 0, true},
		{"zone with half an hour", "Asia/Kolkata", "2026-10-01", 2, "2026-09-30T18:30:00Z", 0, true},
		{"end of a day with 23 hours", "Europe/Zurich", "2026-03-29", 2, "2026-03-29T21:59:59Z", 0, true},
		{"start of the day after it", "Europe/Zurich", "2026-03-29", 2, "2026-03-29T22:00:00Z", 1, true},
		{"end of a day with 25 hours", "Europe/Zurich", "2026-10-25", 2, "2026-10-25T22:59:59Z", 0, true},
		{"start of the day after 25 hours", "Europe/Zurich", "2026-10-25", 2, "2026-10-25T23:00:00Z", 1, true},
		{"start at 1:00 of a day without 0:00", "Africa/Cairo", "2026-04-24", 1, "2026-04-23T22:00:00Z", 0, true},
		{"end of the day before it", "Africa/Cairo", "2026-04-23", 1, "2026-04-23T21:59:59Z", 0, true},
		{"first 0:00 of a day with two", "America/Havana", "2026-11-01", 1, "2026-11-01T04:00:00Z", 0, true},
		{"second 0:00 of a day with two", "America/Havana", "2026-11-01", 1, "2026-11-01T05:00:00Z", 0, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			day, within := newPeriod(t, test.zone, test.first, test.days).day(instant(t, test.at))
			assert.Equal(t, test.within, within)
			if test.name != "zero time" { // a time.Duration cannot hold 2,000 years
				assert.Equal(t, test.day, day)
			}
		})
	}
}

// TestBounds checks that the search finds all leads of the period, also in
// zones where the clocks change at midnight.
func TestBounds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ zone, first string }{
		{"UTC", "2026-10-01"},
		{"Europe/Zurich", "2026-03-29"},
		{"Europe/Zurich", "2026-10-25"},
		{"Africa/Cairo", "2026-04-24"},   // the first day has no 0:00
		{"Africa/Cairo", "2026-04-22"},   // the day after the last has no 0:00
		{"America/Havana", "2026-11-01"}, // the first day has two 0:00
		{"America/Havana", "2026-10-30"}, // the day after the last has two 0:00
		{"Australia/Lord_Howe", "2026-04-05"},
		{"Pacific/Kiritimati", "2026-12-30"},
	} {
		t.Run(test.zone+" "+test.first, func(t *testing.T) {
			t.Parallel()
			p := newPeriod(t, test.zone, test.first, 2)
			from, to := p.bounds()
			begin := p.first.AddDate(0, 0, -3)
			inside := 0
			for at := begin; at.Before(begin.AddDate(0, 0, 8)); at = at.Add(10 * time.Minute) {
				if _, within := p.day(at); within {
					inside++
					assert.False(t, at.Before(from) || at.After(to), "%s is missed", at)
				}
			}
			assert.InDelta(t, 2*24*6, inside, 6)
			assert.LessOrEqual(t, to.Sub(from), 52*time.Hour)
		})
	}
}

func TestFunnel(t *testing.T) {
	t.Parallel()
	f := newFunnel(newPeriod(t, "Europe/Zurich", "2026-10-24", 3), instant(t, "2026-11-25T12:00:00Z"))
	lead := func(subCampaign, status, created, deposited string) entry {
		l := clixnow.Lead{SubCampaign: subCampaign, Status: status, CreatedOn: instant(t, created)}
		if deposited != "" {
			l.FTDDate = instant(t, deposited)
		}
		return entry{"acme", l}
	}
	for _, l := range []entry{
		lead("a", "New", "2026-10-23T21:59:59Z", ""), // 23 October in Zurich
		lead("a", "New", "2026-10-23T22:00:00Z", ""),
		lead("a", "Deposited", "2026-10-24T10:00:00Z", "2026-10-24T10:05:00Z"),
		// This deposit came after the period. It counts for the day of the
		// sign-up.
		lead("a", "Deposited", "2026-10-25T10:00:00Z", "2026-10-27T10:00:00Z"),
		lead("", "", "2026-10-25T22:59:59Z", ""),
		// This deposit came before the sign-up: a broker imported the lead.
		lead("  ", "New", "2026-10-25T23:00:00Z", "2026-10-23T20:00:00Z"),
		lead("b", "New", "2026-10-26T22:59:59Z", ""),
		lead("b", "New", "2026-10-26T23:00:00Z", ""), // 27 October in Zurich
	} {
		f.addLead(l)
	}
	for _, l := range []entry{
		lead("a", "Deposited", "2026-10-24T10:00:00Z", "2026-10-24T10:05:00Z"),
		lead("", "Deposited", "2026-10-25T23:00:00Z", "2026-10-25T20:00:00Z"),
		lead("b", "Deposited", "2026-01-01T00:00:00Z", "2026-10-26T22:59:59Z"),
		// This is 27 October in Zurich. The search covers an hour more than the
		// period.
		lead("b", "Deposited", "2026-01-01T00:00:00Z", "2026-10-26T23:00:00Z"),
		lead("b", "Deposited", "2026-10-24T10:00:00Z", ""), // the date is hidden
	} {
		f.addDeposit(l)
	}
	assert.Equal(t, []group{
		{
			Name: "2026-10-24", counts: counts{Leads: 2, FTDs: 1, Made: 1},
			Statuses: map[string]int{"New": 1, "Deposited": 1},
		},
		{
			Name: "2026-10-25", counts: counts{Leads: 2, FTDs: 1, Made: 1},
			Statuses: map[string]int{"Deposited": 1, "(none)": 1},
		},
		{
			Name: "2026-10-26", counts: counts{Leads: 2, FTDs: 1, Made: 1, Earlier: 1},
			Statuses: map[string]int{"New": 2},
		},
	}, f.Days())
	assert.Equal(t, []group{
		{
			Name: "a", counts: counts{Leads: 3, FTDs: 2, Made: 1},
			Statuses: map[string]int{"New": 1, "Deposited": 2},
		},
		{
			Name: "(none)", counts: counts{Leads: 2, FTDs: 1, Made: 1},
			Statuses: map[string]int{"New": 1, "(none)": 1},
		},
		{Name: "b", counts: counts{Leads: 1, Made: 1, Earlier: 1}, Statuses: map[string]int{"New": 1}},
	}, f.SubCampaigns(3))
	total := group{
		counts:   counts{Leads: 6, FTDs: 3, Made: 3, Earlier: 1},
		Statuses: map[string]int{"New": 3, "Deposited": 2, "(none)": 1},
	}
	total.Name = "Total"
	assert.Equal(t, total, f.Total)
	total.Name = "acme"
	assert.Equal(t, []group{total}, f.brands.sorted())
	assert.Equal(t, []group{
		{Name: "New", counts: counts{Leads: 3, FTDs: 1}, Statuses: map[string]int{}},
		{Name: "Deposited", counts: counts{Leads: 2, FTDs: 2}, Statuses: map[string]int{}},
		{Name: "(none)", counts: counts{Leads: 1}, Statuses: map[string]int{}},
	}, f.statuses.sorted())
	assert.Equal(t, map[int]int{0: 1, 1: 1, 2: 1}, f.daysToDeposit)
	assert.Equal(t, 1, f.DaysUntil(50))
	assert.Equal(t, 2, f.DaysUntil(90))
	assert.InDelta(t, 50, f.Total.Conversion(), 1e-9)
	assert.False(t, f.Hidden())
}

func TestDaysUntil(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name          string
		daysToDeposit map[int]int
		half, ninety  int
	}{
		{"no deposits", nil, 0, 0},
		{"one deposit", map[int]int{4: 1}, 4, 4},
		{"ten deposits, one late", map[int]int{0: 5, 3: 4, 40: 1}, 0, 3},
		{"ten deposits, two late", map[int]int{0: 4, 1: 1, 3: 3, 40: 2}, 1, 40},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFunnel(period{zone: time.UTC}, noon)
			f.daysToDeposit = test.daysToDeposit
			for _, n := range test.daysToDeposit {
				f.Total.FTDs += n
			}
			assert.Equal(t, test.half, f.DaysUntil(50))
			assert.Equal(t, test.ninety, f.DaysUntil(90))
		})
	}
}

func TestLikelyRange(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]counts{
		"-":               {},
		"4 to 62 %":       {Leads: 5, FTDs: 1},
		"0 to 43 %":       {Leads: 5},
		"57 to 100 %":     {Leads: 5, FTDs: 5},
		"9.2 to 10.9 %":   {Leads: 5000, FTDs: 500},
		"4.6 to 5.4 %":    {Leads: 10_000, FTDs: 500},
		"4.99 to 5.01 %":  {Leads: 10_000_000, FTDs: 500_000},
		"0.0 to 0.4 %":    {Leads: 1000},
		"99.6 to 100.0 %": {Leads: 1000, FTDs: 1000},
	} {
		assert.Equal(t, want, c.LikelyRange())
	}
	// The bounds differ for each size, unless a thousandth is not enough.
	for leads := 1; leads < 1_000_000; leads = leads*3/2 + 1 {
		for ftds := 0; ftds <= leads; ftds += 1 + leads/20 {
			low, high,
				_ := strings.Cut(strings.TrimSuffix(counts{Leads: leads, FTDs: ftds}.LikelyRange(), " %"), " to ")
			assert.NotEqual(t, low, high, "%d of %d", ftds, leads)
		}
	}
}

func TestWeeks(t *testing.T) {
	t.Parallel()
	f := newFunnel(newPeriod(t, "UTC", "2026-08-01", 92), noon) // a Saturday
	for day := range f.days {
		f.addLead(entry{Lead: clixnow.Lead{CreatedOn: f.date(day)}})
	}
	weeks := f.Days()
	require.Len(t, weeks, 14)
	assert.Equal(t, group{Name: "2026-08-01", counts: counts{Leads: 2}, Statuses: map[string]int{"(none)": 2}},
		weeks[0])
	assert.Equal(t, group{Name: "2026-08-03", counts: counts{Leads: 7}, Statuses: map[string]int{"(none)": 7}},
		weeks[1])
	assert.Equal(t, group{Name: "2026-10-26", counts: counts{Leads: 6}, Statuses: map[string]int{"(none)": 6}},
		weeks[13])
}

func TestTop(t *testing.T) {
	t.Parallel()
	f := newFunnel(newPeriod(t, "UTC", "2026-10-01", 1), noon)
	for name, n := range map[string]int{"c": 3, "b": 3, "a": 1, "d": 2, "e": 5} {
		for range n {
			f.addLead(entry{Lead: clixnow.Lead{SubCampaign: name, Status: name, CreatedOn: f.first}})
		}
	}
	names := func(n int) (names []string, leads []int) {
		for _, g := range f.SubCampaigns(n) {
			names, leads = append(names, g.Name), append(leads, g.Leads)
		}
		return names, leads
	}
	got, leads := names(2)
	assert.Equal(t, []string{"e", "b", "other (3 more)"}, got)
	assert.Equal(t, []int{5, 3, 6}, leads)
	got, _ = names(4)
	assert.Equal(t, []string{"e", "b", "c", "d", "a"}, got, "no group for a single other one")
	got, _ = names(9)
	assert.Equal(t, []string{"e", "b", "c", "d", "a"}, got)
	var statuses []string
	for _, g := range newReport(f, 2).Statuses {
		statuses = append(statuses, g.Name)
	}
	assert.Equal(t, []string{"e", "b", "c", "d", "a"}, statuses, "all statuses")
	leads = leads[:0]
	for _, g := range f.SubCampaigns(2) { // a second call must return the same numbers
		leads = append(leads, g.Leads)
	}
	assert.Equal(t, []int{5, 3, 6}, leads)
}

func TestPrintable(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"autumn":           "autumn",
		"Größe 大 🍂":        "Größe 大 🍂",
		"":                 "(none)",
		" \t\n":            "(none)",
		"\x1b[31mred\x07":  "�[31mred�",
		"a\nb\tc\rd":       "a�b�c�d",
		"\u202egnp.exe":    "�gnp.exe",
		"C1 \u009b31m":     "C1 �31m",
		"zero\u200bwidth":  "zero�width",
		"line\u2028breaks": "line�breaks",
	} {
		assert.Equal(t, want, printable(text))
	}
}

func TestMayGrow(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		days  int
		first string
		// mayGrow is the first day or week that may grow.
		mayGrow string
	}{
		{"days", 30, "2026-10-27", "2026-11-19"},
		{"weeks", 93, "2026-08-25", "2026-11-16"}, // the week before it ended on the 15th
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			// It is 25 November in Auckland.
			f := newFunnel(newPeriod(t, "Pacific/Auckland", test.first, test.days), instant(t, "2026-11-24T12:00:00Z"))
			f.daysToDeposit, f.Total.FTDs = map[int]int{1: 5, 7: 4, 30: 1}, 10
			for _, day := range f.Days() {
				assert.False(t, f.MayGrow(day), "%s has no leads", day.Name)
				day.Leads = 1
				assert.Equal(t, day.Name >= test.mayGrow, f.MayGrow(day), day.Name)
			}
		})
	}
}

// TestBefore checks that the period before is counted as it was then.
func TestBefore(t *testing.T) {
	t.Parallel()
	p := newPeriod(t, "Europe/Zurich", "2026-10-24", 3)
	tests := []struct {
		name, created, deposited string
		before                   counts
	}{
		{"first instant", "2026-10-20T22:00:00Z", "", counts{Leads: 1}},
		{"instant before the first", "2026-10-20T21:59:59Z", "", counts{}},
		{"last instant", "2026-10-23T10:59:59Z", "", counts{Leads: 1}},
		{"after the time of day of the report", "2026-10-23T11:00:00Z", "", counts{}},
		{"deposit", "2026-10-21T00:00:00Z", "2026-10-21T01:00:00Z", counts{Leads: 1, FTDs: 1, Made: 1}},
		{"deposit after it", "2026-10-21T00:00:00Z", "2026-10-23T11:00:00Z", counts{Leads: 1}},
		{"deposit in the period", "2026-10-21T00:00:00Z", "2026-10-24T11:00:00Z", counts{Leads: 1}},
		{"deposit of an earlier lead", "2026-01-01T00:00:00Z", "2026-10-21T01:00:00Z", counts{Made: 1, Earlier: 1}},
		{"earlier deposit", "2026-01-01T00:00:00Z", "2026-10-20T21:59:59Z", counts{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			// The clocks went back on the 25th, so 13:00 in Zurich was 11:00
			// UTC.
			f := newFunnel(p, instant(t, "2026-10-26T12:00:00Z"))
			before := f.before()
			assert.Equal(t, instant(t, "2026-10-23T11:00:00Z"), before.asOf.UTC())
			lead := entry{Brand: "acme", Lead: clixnow.Lead{CreatedOn: instant(t, test.created)}}
			if test.deposited != "" {
				lead.FTDDate = instant(t, test.deposited)
			}
			before.addLead(lead)
			before.addDeposit(lead)
			f.compare(before)
			assert.Equal(t, test.before, f.Total.Before)
			for _, g := range []group{*f.brands.get("acme"), *f.subCampaigns.get("(none)")} {
				assert.Equal(t, test.before, g.Before)
			}
		})
	}
}
