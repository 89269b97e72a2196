package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
	"time"
)

//go:embed page.html
var pageSource string

// page returns the report as an HTML page that loads no other files.
func (r report) page() ([]byte, error) {
	page, err := template.New("page").Funcs(template.FuncMap{
		"number": number, "share": share, "days": formatDays, "percent": percent, "hidden": func() string { return hidden },
		"plots": newPlots,
	}).Parse(pageSource)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = page.Execute(&out, r)
	return out.Bytes(), err
}

// chart is a bar chart with one bar for each day or week.
type chart struct {
	// Parts are the names of the parts of a bar, from the bottom.
	Parts []string
	Bars  []chartBar
	Ticks []tick
}

// chartBar has the heights of its parts in percent of the chart.
type chartBar struct {
	Title string
	Parts []float64
}

// tick is a label of an axis. At is its place in percent of the axis.
type tick struct {
	Label, Year string
	At          float64
	// Minor labels are left out on narrow screens.
	Minor bool
}

// newChart returns a chart. value returns the parts of the bar of a day.
func (r report) newChart(unit string, parts []string, value func(group) []float64) chart {
	c := chart{Parts: parts}
	highest := 0.
	for _, g := range r.Days {
		sum := 0.
		for _, v := range value(g) {
			sum += v
		}
		highest = max(highest, sum)
	}
	end, steps := scale(highest)
	for _, g := range r.Days {
		heights := value(g)
		for i := range heights {
			heights[i] *= 100 / end
		}
		title := fmt.Sprintf("%s: %s leads, %s FTDs, %s FTDs made", g.Name, number(g.Leads), number(g.FTDs), number(g.Made))
		c.Bars = append(c.Bars, chartBar{title, heights})
	}
	for i := range steps + 1 {
		at := float64(i) / float64(steps)
		c.Ticks = append(c.Ticks, tick{Label: number(int(math.Round(at*end))) + unit, At: 100 * at})
	}
	return c
}

// scale returns the end of the value axis and the number of its steps. A step
// is a round number. There are at most five steps.
func scale(highest float64) (end float64, steps int) {
	highest = max(highest-1e-9, 1)
	step := 1. // then 2, 5, 10, 20 ...
	for factors := []float64{2, 2.5, 2}; step*5 < highest; factors = append(factors[1:], factors[0]) {
		step *= factors[0]
	}
	return step * math.Ceil(highest/step), int(math.Ceil(highest / step))
}

func (r report) LeadsChart() chart {
	return r.newChart("", []string{"with a first deposit", "without"}, func(g group) []float64 {
		return []float64{float64(g.FTDs), float64(g.Leads - g.FTDs)}
	})
}

func (r report) ConversionChart() chart {
	return r.newChart(" %", []string{"final", "may still grow"}, func(g group) []float64 {
		if r.MayGrow(g) {
			return []float64{0, g.Conversion()}
		}
		return []float64{g.Conversion(), 0}
	})
}

func (r report) DepositsChart() chart {
	parts := []string{"by leads that signed up in this period", "by earlier leads"}
	return r.newChart("", parts, func(g group) []float64 {
		return []float64{float64(g.Made - g.Earlier), float64(g.Earlier)}
	})
}

// Dates returns the labels of the days. They have the year if the period spans
// several.
func (r report) Dates() (labels []tick) {
	step := 1 + (len(r.Days)-1)/12
	for i := 0; i < len(r.Days); i += step {
		day, _ := time.Parse(time.DateOnly, r.Days[i].Name)
		label := tick{
			Label: day.Format("2 Jan"), At: 100 * (float64(i) + .5) / float64(len(r.Days)), Minor: i/step%3 != 0,
		}
		if r.first.Year() != r.date(r.days-1).Year() {
			label.Year = day.Format("2006")
		}
		labels = append(labels, label)
	}
	return labels
}

// plots are the rows of a table of brands or sub-campaigns.
type plots struct {
	First string
	Rows  []group
	// end is the end of the axis of the likely ranges, in percent.
	end float64
}

func newPlots(first string, rows []group) plots {
	p := plots{First: first, Rows: rows, end: 1}
	for _, g := range rows {
		// A range of few leads may be so wide that the others are too small.
		p.end = max(p.end, min(g.Conversion()*2, 100))
	}
	return p
}

// At returns the place of a percentage on the axis, in percent.
func (p plots) At(percent float64) float64 { return min(100, 100*percent/p.end) }

// Range returns the start and the length of the likely range on the axis.
func (p plots) Range(g group) []float64 {
	low, high := g.likely()
	return []float64{p.At(low), p.At(high) - p.At(low)}
}

// Matrix has the percentage of each status in the largest sub-campaigns.
func (r report) Matrix() []group { return r.funnel.SubCampaigns(min(len(r.SubCampaigns), 8)) }

// Course returns the path of an area chart: the number of leads with a status,
// by day. It is one unit high and one unit wide for each day.
func (r report) Course(status string) string {
	highest := slices.MaxFunc(r.Days, func(a, b group) int { return a.Statuses[status] - b.Statuses[status] })
	var path strings.Builder
	path.WriteString("M0 1")
	for i, g := range r.Days {
		share := percent(g.Statuses[status], highest.Statuses[status]) / 100
		fmt.Fprintf(&path, "V%.2fH%d", 1-share, i+1)
	}
	return path.String() + "V1Z"
}
