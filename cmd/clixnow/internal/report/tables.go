package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
)

// report is the data of the tables and of the page.
type report struct {
	*funnel
	Days, Brands, SubCampaigns, Statuses []group
}

func newReport(f *funnel, top int) report {
	return report{f, f.Days(), f.brands.sorted(), f.SubCampaigns(top), f.statuses.sorted()}
}

// Title names the brands, or their number if there are many.
func (r report) Title() string {
	var names []string
	for _, g := range r.Brands {
		names = append(names, g.Name)
	}
	if len(names) > 4 {
		names = []string{number(len(names)) + " brands"}
	}
	return fmt.Sprintf("%s: leads of %s", strings.Join(names, ", "), r.period)
}

const timeLayout = "2 Jan 2006, 15:04"

// Notes says what the days and the comparison are.
func (r report) Notes() string {
	before := r.before()
	return fmt.Sprintf("As of %s (%s). Before: %s, as of %s.", r.asOf.Format(timeLayout), r.zone, before.period,
		before.asOf.Format(timeLayout))
}

// Old says which brands have had no news for more than two hours.
func (r report) Old() string {
	var brands []string
	for _, p := range r.old {
		brands = append(brands, printable(p.Brand)+" since "+p.CaughtUpAt.In(r.zone).Format(timeLayout))
	}
	if len(brands) == 0 {
		return ""
	}
	return "There has been no news of " + strings.Join(brands, ", of ") + ". What happened since then is not counted."
}

// Empty reports whether there are no leads and no deposits.
func (r report) Empty() bool { return r.Total.counts == counts{} && r.Total.Before == counts{} }

// Interval is the length of an element of Days.
func (r report) Interval() string {
	if r.Weekly() {
		return "week"
	}
	return "day"
}

// figure is a number of the summary. Change is "" if nothing was there before.
type figure struct{ Name, Now, Before, Change string }

// Summary returns the totals.
func (r report) Summary() []figure {
	count := func(name string, now, before int) figure {
		change := ""
		if before > 0 {
			change = fmt.Sprintf("%+.1f %%", percent(now-before, before))
		}
		return figure{name, number(now), number(before), change}
	}
	now, before := r.Total.counts, r.Total.Before
	conversion := figure{"Conversion", share(now.FTDs, now.Leads), share(before.FTDs, before.Leads), ""}
	if now.Leads > 0 && before.Leads > 0 {
		conversion.Change = fmt.Sprintf("%+.1f points", now.Conversion()-before.Conversion())
	}
	return []figure{
		count("Leads signed up", now.Leads, before.Leads),
		count("FTDs of these leads", now.FTDs, before.FTDs),
		conversion,
		{"Likely range", now.LikelyRange(), before.LikelyRange(), ""},
		count("FTDs made", now.Made, before.Made),
		count("FTDs made by earlier leads", now.Earlier, before.Earlier),
	}
}

// number returns a number with thousands separators.
func number(n int) string { return message.NewPrinter(language.English).Sprint(n) }

// share returns a percentage, or "-" if there is no whole.
func share(part, whole int) string {
	if whole == 0 {
		return "-"
	}
	return strconv.FormatFloat(percent(part, whole), 'f', 1, 64) + " %"
}

func formatDays(n int) string {
	if n == 1 {
		return "1 day"
	}
	return strconv.Itoa(n) + " days"
}

// line is a line of the table of days. It is about a day or week, or about
// several ones without leads and deposits.
type line struct {
	group
	MayGrow, None bool
}

// Lines returns the lines of the table of days. Three or more days or weeks
// without leads and deposits become one line.
func (r report) Lines() (lines []line) {
	for i := 0; i < len(r.Days); {
		end := i
		for end < len(r.Days) && r.Days[end].counts == (counts{}) {
			end++
		}
		if end-i < 3 {
			lines = append(lines, line{group: r.Days[i], MayGrow: r.MayGrow(r.Days[i])})
			i++
			continue
		}
		last := r.date(r.days - 1)
		if end < len(r.Days) {
			last = r.start(end).AddDate(0, 0, -1)
		}
		lines = append(lines, line{group: group{Name: r.formatDates(r.start(i), last)}, None: true})
		i = end
	}
	return lines
}

// start returns the first day of an element of Days.
func (r report) start(n int) time.Time {
	day, _ := time.Parse(time.DateOnly, r.Days[n].Name)
	return day
}

// formatDates returns the first and the last day. They have the year if the
// period spans several.
func (r report) formatDates(first, last time.Time) string {
	from, to := "2 Jan", "2 Jan"
	if r.first.Year() != r.date(r.days-1).Year() {
		to = "2 Jan 2006"
	}
	switch {
	case first.Year() != last.Year():
		from = to
	case first.Month() == last.Month():
		from = "2"
	}
	return first.Format(from) + " to " + last.Format(to)
}

// row is a group in JSON and CSV.
type row struct {
	Group      string         `json:"group"`
	Name       string         `json:"name"`
	Leads      int            `json:"leads"`
	FTDs       int            `json:"ftds"`
	Conversion *float64       `json:"conversion,omitempty"`
	Low        *float64       `json:"conversionLow,omitempty"`
	High       *float64       `json:"conversionHigh,omitempty"`
	Made       *int           `json:"ftdsMade,omitempty"`
	Earlier    *int           `json:"ftdsMadeByEarlierLeads,omitempty"`
	Before     *int           `json:"leadsBefore,omitempty"`
	FTDsBefore *int           `json:"ftdsBefore,omitempty"`
	MadeBefore *int           `json:"ftdsMadeBefore,omitempty"`
	Statuses   map[string]int `json:"statuses,omitempty"`
	AsOf       time.Time      `json:"asOf,omitzero"`
}

// rows returns all groups: those of days are never weeks, and all
// sub-campaigns have their name.
func (r report) rows() (rows []row) {
	all := func(kind string, groups ...group) {
		for _, g := range groups {
			row := row{Group: kind, Name: g.Name, Leads: g.Leads, FTDs: g.FTDs, Statuses: g.Statuses}
			if g.Leads > 0 {
				low, high := g.likely()
				row.Conversion, row.Low, row.High = fraction(g.Conversion()), fraction(low), fraction(high)
			}
			if kind != "status" {
				row.Made, row.Earlier = &g.Made, &g.Earlier
			}
			if kind != "status" && kind != "day" {
				row.Before, row.FTDsBefore, row.MadeBefore = &g.Before.Leads, &g.Before.FTDs, &g.Before.Made
			}
			rows = append(rows, row)
		}
	}
	all("total", r.Total)
	rows[0].AsOf = r.asOf.UTC().Truncate(time.Second)
	all("brand", r.Brands...)
	all("subCampaign", r.subCampaigns.sorted()...)
	all("status", r.Statuses...)
	all("day", r.byDay...)
	return rows
}

// fraction returns a percentage as a fraction of 1.
func fraction(percent float64) *float64 { return new(math.Round(percent*1e4) / 1e6) }

// printData prints the report for programs.
func (r report) printData(a *app.App, format string) error {
	printer := app.Printer[row]{Format: format, Fields: []string{
		"group", "name", "leads", "ftds", "conversion", "conversionLow", "conversionHigh", "ftdsMade",
		"ftdsMadeByEarlierLeads", "leadsBefore", "ftdsBefore", "ftdsMadeBefore",
	}}.Open(a)
	for _, row := range r.rows() {
		if err := printer.Print(row); err != nil {
			return err
		}
	}
	return printer.Close()
}

// printTables prints the report in lines of at most width columns.
func (r report) printTables(out io.Writer, width int) {
	printText := func(words string) { fmt.Fprintln(out, text.WrapSoft(words, width)) }
	printText(r.Title())
	printText(r.Notes())
	if old := r.Old(); old != "" {
		printText(old)
	}
	fmt.Fprintln(out)
	if r.Empty() {
		printText("No lead signed up or deposited in these periods.")
		return
	}
	if r.Hidden() {
		printText(hidden)
		fmt.Fprintln(out)
	}
	tables := []string{r.summaryTable(width)}
	if len(r.Brands) > 1 {
		tables = append(tables, groupTable(width, "Brand", r.Brands))
	}
	tables = append(tables, groupTable(width, "Sub-campaign", r.SubCampaigns))
	if r.Total.Leads > 0 {
		tables = append(tables, r.statusTable(width))
	}
	fmt.Fprintf(out, "%s\n\n", strings.Join(append(tables, r.dayTable(width)), "\n\n"))
	printText(fmt.Sprintf("FTDs: the leads that signed up during that %[1]s and have made a first deposit since then. "+
		"FTDs made: the first deposits that were made during that %[1]s. "+
		"By earlier: those of them by leads that signed up before the period.", r.Interval()))
	if r.Total.FTDs > 0 {
		printText(fmt.Sprintf("*: may still grow, because 90 %% of the first deposits came within %s of the sign-up "+
			"(50 %% within %s).", formatDays(r.DaysUntil(90)), formatDays(r.DaysUntil(50))))
	}
}

const hidden = "There is no first deposit in this period. Either none was made, or the dates of deposits are hidden " +
	"from your token. If they are hidden, every conversion here is 0. Ask your Clixnow manager."

func (r report) summaryTable(width int) string {
	t := newTable(width, 44, "Total", "This period", "Before", "Change")
	for _, f := range r.Summary() {
		t.AppendRow(table.Row{f.Name, f.Now, f.Before, f.Change})
	}
	return t.Render()
}

func groupTable(width int, first string, groups []group) string {
	t := newTable(width, 62, first, "Leads", "Before", "FTDs", "Conversion", "Before", "Likely range")
	for _, g := range groups {
		t.AppendRow(table.Row{
			g.Name, number(g.Leads), number(g.Before.Leads), number(g.FTDs), share(g.FTDs, g.Leads),
			share(g.Before.FTDs, g.Before.Leads), g.LikelyRange(),
		})
	}
	return t.Render()
}

func (r report) statusTable(width int) string {
	t := newTable(width, 46, "Status", "Leads", "Share", "")
	for _, g := range r.Statuses {
		bar := bar(g.Leads, r.Statuses[0].Leads, 24)
		t.AppendRow(table.Row{g.Name, number(g.Leads), share(g.Leads, r.Total.Leads), bar})
	}
	return t.Render()
}

func (r report) dayTable(width int) string {
	first := "Day"
	if r.Weekly() {
		first = "Week from"
	}
	lines, longest := r.Lines(), 0
	for _, line := range lines {
		longest = max(longest, len(line.Name))
	}
	most := slices.MaxFunc(r.Days, func(a, b group) int { return a.Leads - b.Leads }).Leads
	t := newTable(width, 0, first, "Leads", "FTDs", "Conversion", "FTDs made", "By earlier", "")
	for _, day := range lines {
		if day.None {
			t.AppendRow(table.Row{day.Name, "none"})
			continue
		}
		mark := " "
		if day.MayGrow {
			mark = "*"
		}
		t.AppendRow(table.Row{
			day.Name, number(day.Leads), number(day.FTDs), share(day.FTDs, day.Leads) + mark, number(day.Made),
			number(day.Earlier), bar(day.Leads, most, width-longest-54),
		})
	}
	return t.Render()
}

// newTable returns a table. The first column has text, and leaves a width to
// the other ones. A column without a name has bars. The others have numbers,
// aligned to the right.
func newTable(width, others int, header ...string) table.Writer {
	t := table.NewWriter()
	style := table.StyleLight
	style.Options = table.Options{SeparateHeader: true}
	style.Format = table.FormatOptions{Header: text.FormatDefault, Footer: text.FormatDefault, Row: text.FormatDefault}
	style.Size.WidthMax = width
	t.SetStyle(style)
	shorten := func(name string, maxWidth int) string { return text.Snip(name, maxWidth, "…") }
	columns := []table.ColumnConfig{{Number: 1, WidthMax: max(width-others, 12), WidthMaxEnforcer: shorten}}
	row := table.Row{header[0]}
	for i, name := range header[1:] {
		row = append(row, name)
		if name != "" {
			right := table.ColumnConfig{Number: 2 + i, Align: text.AlignRight, AlignHeader: text.AlignRight}
			columns = append(columns, right)
		}
	}
	t.SetColumnConfigs(columns)
	t.AppendHeader(row)
	return t
}

// bar returns a bar whose length is in proportion to n. The bar for highest has
// the full width.
func bar(n, highest, width int) string {
	if highest == 0 || width < 1 {
		return ""
	}
	return strings.Repeat("█", (n*width+highest-1)/highest)
}
