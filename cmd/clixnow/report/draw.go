package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-analyze/charts"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

//go:embed page.html
var pageSource string

// report is the data of the tables and of the page.
type report struct {
	*funnel
	Days         []group
	SubCampaigns []group
	// Statuses are the most frequent statuses. The last element can be a name
	// for all others.
	Statuses []string
	// Created is the time of the report.
	Created time.Time
}

func newReport(f *funnel, top int, now time.Time) report {
	r := report{
		funnel: f, Days: f.Days(), SubCampaigns: f.SubCampaigns(top), Statuses: f.Statuses(5),
		Created: now.In(f.zone),
	}
	if more := len(f.Total.Statuses) - len(r.Statuses); more > 0 {
		r.Statuses = append(r.Statuses, fmt.Sprintf("other (%d more)", more))
	}
	return r
}

// StatusCounts returns the number of the group's leads with each of Statuses.
func (r report) StatusCounts(g group) []int {
	var counts []int
	rest := g.Leads
	for _, status := range r.Statuses {
		counts = append(counts, g.Statuses[status])
		rest -= g.Statuses[status]
	}
	if rest > 0 {
		counts[len(counts)-1] = rest
	}
	return counts
}

func (r report) Title() string {
	return fmt.Sprintf("Leads of %s to %s", r.first.Format("2 Jan 2006"), r.date(r.days-1).Format("2 Jan 2006"))
}

func (r report) Zone() string { return r.zone.String() }

// Empty reports whether the period has no leads and no deposits.
func (r report) Empty() bool { return r.Total.Leads+r.Total.Deposits.Total() == 0 }

// Weekly reports whether an element of Days is a week.
func (r report) Weekly() bool { return len(r.Days) < r.days }

// MayGrow reports whether the conversion of a day may still grow. It may grow
// until 90 % of the first deposits can be expected.
func (r report) MayGrow(day group) bool {
	wait := r.DaysUntil(90)
	if r.Weekly() {
		wait += 6
	}
	start, err := time.Parse(time.DateOnly, day.Name)
	return err == nil && start.AddDate(0, 0, wait).After(date(r.Created, r.zone))
}

// page returns the report as an HTML page that loads no other files.
func (r report) page() ([]byte, error) {
	functions := template.FuncMap{"percent": formatPercent, "days": formatDays}
	page, err := template.New("page").Funcs(functions).Parse(pageSource)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = page.Execute(&out, r)
	return out.Bytes(), err
}

func formatDays(n int) string {
	if n == 1 {
		return "1 day"
	}
	return strconv.Itoa(n) + " days"
}

func formatPercent(share float64) string { return strconv.FormatFloat(share, 'f', 1, 64) + " %" }

// part has the values of one colour in a bar chart.
type part struct {
	Name string
	// Colour is the number of a colour in the style sheet.
	Colour int
	// values has a value for each group of the chart.
	values []float64
}

// chart is a bar chart with one bar for each group.
type chart struct {
	Parts      []part
	groups     []group
	horizontal bool
	unit       string
}

func (c *chart) add(name string, colour int, value func(group) float64) {
	p := part{Name: name, Colour: colour}
	for _, g := range c.groups {
		p.values = append(p.values, value(g))
	}
	c.Parts = append(c.Parts, p)
}

func (r report) LeadsByDay() *chart {
	c := &chart{groups: r.Days}
	for i, status := range r.Statuses {
		c.add(status, 2+i, func(g group) float64 { return float64(r.StatusCounts(g)[i]) })
	}
	return c
}

func (r report) DepositsByDay() *chart {
	c := &chart{groups: r.Days}
	c.add("by leads that signed up in this period", 2, func(g group) float64 { return float64(g.Deposits.Period) })
	c.add("by earlier leads", 8, func(g group) float64 { return float64(g.Deposits.Earlier) })
	return c
}

func (r report) ConversionByDay() *chart {
	c := &chart{groups: r.Days, unit: " %"}
	mayGrow := func(g group) float64 {
		if r.MayGrow(g) {
			return g.Conversion()
		}
		return 0
	}
	c.add("final", 2, func(g group) float64 { return g.Conversion() - mayGrow(g) })
	c.add("may still grow", 8, mayGrow)
	return c
}

func (r report) ConversionBySubCampaign() *chart {
	c := &chart{groups: r.SubCampaigns, horizontal: true, unit: " %"}
	c.add("conversion", 2, func(g group) float64 { return g.Conversion() })
	return c
}

func (r report) StatusesBySubCampaign() *chart {
	c := &chart{groups: r.SubCampaigns, horizontal: true, unit: " %"}
	for i, status := range r.Statuses {
		c.add(status, 2+i, func(g group) float64 { return percent(r.StatusCounts(g)[i], g.Leads) })
	}
	return c
}

// SVG draws the chart. The width is in pixels.
func (c *chart) SVG(width int) (template.HTML, error) {
	small := charts.FontStyle{FontSize: 9.5, FontColor: colour(0)}
	theme := charts.ThemeOption{
		AxisStrokeColor: colour(1), AxisSplitLineColor: colour(1), BackgroundColor: charts.ColorTransparent,
		TextColor: colour(0), TextColorXAxis: colour(0), TextColorYAxis: colour(0), TextColorLabel: colour(0),
	}
	var values [][]float64
	for _, p := range c.Parts {
		values = append(values, slices.Clone(p.values))
		theme.SeriesColors = append(theme.SeriesColors, colour(p.Colour))
	}
	end, steps := c.scale(width)
	format := func(v float64) string { return strconv.FormatFloat(v, 'f', 0, 64) + c.unit }
	opt := charts.NewBarChartOptionWithData(values)
	opt.Theme = charts.MakeTheme(theme)
	opt.Padding = charts.NewBox(4, 8, 16, 4)
	opt.StackSeries = new(true)
	opt.BarSize = .7
	opt.Legend.Show = new(false)
	opt.CategoryAxis = charts.CategoryAxisOption{
		Labels: c.labels(width), LabelFontStyle: small,
		LabelCount: len(c.groups), BoundaryGap: new(true),
	}
	opt.ValueAxis = []charts.ValueAxisOption{{
		Min: new(0.), Max: &end, RangeValuePaddingScale: new(0.), LabelCount: steps + 1,
		LabelFontStyle: small, ValueFormatter: format,
	}}
	height := 240
	if c.horizontal {
		height = 24*len(c.groups) + 40
		opt.Horizontal = true
		for _, v := range values { // the first bar is at the top
			slices.Reverse(v)
		}
	}
	if c.horizontal && len(c.Parts) == 1 {
		opt.Padding.Right = 50
		opt.SeriesList.SetSeriesLabels(charts.SeriesLabel{
			Show: new(true), ValueFormatter: formatPercent, FontStyle: small,
		})
	}
	painter := charts.NewPainter(charts.PainterOptions{
		OutputFormat: charts.ChartOutputSVG, Width: width, Height: height,
	})
	if err := painter.BarChart(opt); err != nil {
		return "", err
	}
	svg, err := painter.Bytes()
	for n := range 9 {
		svg = bytes.ReplaceAll(svg, []byte(":"+colour(n).StringRGB()), []byte(":var(--c"+strconv.Itoa(n)+")"))
	}
	return template.HTML(svg), err //nolint:gosec // charts escapes texts; TestTextsOfTheServer checks that
}

// scale returns the end of the value axis and the number of its steps. A step
// is a round number. There are at most five steps, or fewer if the axis is
// horizontal and narrow.
func (c *chart) scale(width int) (end float64, steps int) {
	highest := 1.
	for i := range c.groups {
		sum := 0.
		for _, p := range c.Parts {
			sum += p.values[i]
		}
		highest = max(highest, sum-1e-9)
	}
	maxSteps := 5.
	if c.horizontal {
		maxSteps = min(maxSteps, float64(width/110))
	}
	step := 1. // then 2, 5, 10, 20 ...
	for factors := []float64{2, 2.5, 2}; step*maxSteps < highest; factors = append(factors[1:], factors[0]) {
		step *= factors[0]
	}
	return step * math.Ceil(highest/step), int(math.Ceil(highest / step))
}

// labels returns the labels of the bars. It shortens names, and leaves out
// dates if there is not enough space.
func (c *chart) labels(width int) []string {
	labels := make([]string, len(c.groups))
	step := 1 + len(labels)*45/(width-40)
	for i, g := range c.groups {
		day, err := time.Parse(time.DateOnly, g.Name)
		switch {
		case c.horizontal:
			labels[len(labels)-1-i] = text.Snip(g.Name, 20, "…")
		case err == nil && i%step == 0:
			labels[i] = day.Format("2 Jan")
		}
	}
	return labels
}

// colour returns a placeholder for a colour of the style sheet. SVG replaces it
// by a CSS variable, because the colours depend on the browser's light or dark
// mode.
func colour(n int) charts.Color { return charts.ColorFromHex(fmt.Sprintf("#%02x0102", n)) }

// printTables prints the report in lines of at most width columns.
func (r report) printTables(out io.Writer, width int) {
	printText := func(words string) { fmt.Fprintln(out, text.WrapSoft(words, width)) }
	printText(fmt.Sprintf("%s, days in %s\n", r.Title(), r.Zone()))
	switch {
	case r.Empty():
		printText("No lead signed up or deposited in this period.")
		return
	case r.Hidden():
		printText("There is no first deposit in this report. Either none was made, or the dates of deposits are " +
			"hidden from your token. If they are hidden, every conversion here is 0. Ask your Clixnow manager.\n")
	}
	if r.Total.Leads > 0 {
		fmt.Fprintf(out, "%s\n\n%s\n\n", r.subCampaignTable(width), r.statusTable(width))
	}
	fmt.Fprintf(out, "%s\n\n", r.dayTable(width))
	interval := "day"
	if r.Weekly() {
		interval = "week"
	}
	printText(fmt.Sprintf("FTDs: the leads that signed up during that %[1]s and have made a first deposit since then. "+
		"FTDs made: the first deposits that were made during that %[1]s. "+
		"By earlier: those of them by leads that signed up before the period.", interval))
	if r.Total.FTDs > 0 {
		printText(fmt.Sprintf("*: may still grow, because 90 %% of the first deposits came within %s of the sign-up "+
			"(50 %% within %s).", formatDays(r.DaysUntil(90)), formatDays(r.DaysUntil(50))))
	}
}

func (r report) subCampaignTable(width int) string {
	t := newTable(width, "Sub-campaign", "Leads", "FTDs", "Conversion", "Likely range")
	row := func(g group) table.Row {
		return table.Row{g.Name, g.Leads, g.FTDs, formatPercent(g.Conversion()), g.LikelyRange()}
	}
	for _, g := range r.SubCampaigns {
		t.AppendRow(row(g))
	}
	t.AppendFooter(row(r.Total))
	return t.Render()
}

func (r report) statusTable(width int) string {
	t := newTable(width, "Status", "Leads", "Share", "")
	counts := r.StatusCounts(r.Total)
	for i, n := range counts {
		share := formatPercent(percent(n, r.Total.Leads))
		t.AppendRow(table.Row{r.Statuses[i], n, share, bar(n, slices.Max(counts), 24)})
	}
	return t.Render()
}

func (r report) dayTable(width int) string {
	first, mostLeads := "Day", 0
	if r.Weekly() {
		first = "Week from"
	}
	for _, day := range r.Days {
		mostLeads = max(mostLeads, day.Leads)
	}
	t := newTable(width, first, "Leads", "FTDs", "Conversion", "FTDs made", "By earlier", "")
	row := func(g group, mark string) table.Row {
		conversion := formatPercent(g.Conversion()) + mark
		return table.Row{g.Name, g.Leads, g.FTDs, conversion, g.Deposits.Total(), g.Deposits.Earlier}
	}
	for _, day := range r.Days {
		mark := " "
		if r.MayGrow(day) {
			mark = "*"
		}
		t.AppendRow(append(row(day, mark), bar(day.Leads, mostLeads, width-64)))
	}
	t.AppendFooter(row(r.Total, " "))
	return t.Render()
}

// newTable returns a table. The first column has text. A column without a name
// has bars. The others have numbers, aligned to the right.
func newTable(width int, header ...string) table.Writer {
	t := table.NewWriter()
	style := table.StyleLight
	style.Options = table.Options{SeparateHeader: true, SeparateFooter: true}
	style.Format = table.FormatOptions{Header: text.FormatDefault, Footer: text.FormatDefault, Row: text.FormatDefault}
	style.Size.WidthMax = width
	t.SetStyle(style)
	shorten := func(name string, maxWidth int) string { return text.Snip(name, maxWidth, "…") }
	columns := []table.ColumnConfig{{Number: 1, WidthMax: max(width-44, 12), WidthMaxEnforcer: shorten}}
	row := table.Row{header[0]}
	for i, name := range header[1:] {
		row = append(row, name)
		if name != "" {
			columns = append(columns, table.ColumnConfig{
				Number: 2 + i, Align: text.AlignRight, AlignHeader: text.AlignRight, AlignFooter: text.AlignRight,
			})
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
