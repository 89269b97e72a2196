package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"strings"
	"time"
)

//go:embed page.html
var pageSource string

// page returns the report as an HTML page that loads no other files.
func (r report) page() ([]byte, error) {
	page, err := template.New("page").Funcs(template.FuncMap{
		"number": number, "share": share, "percent": percent, "hidden": func() string { return hidden },
		"list": func(values ...any) []any { return values },
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
	Heading, Text string
	// Parts are the names of the two parts of a bar, from the bottom.
	Parts [2]string
	// Bars are the heights of the parts in percent of the chart.
	Bars  [][2]float64
	Ticks []tick
}

// tick is a label of an axis. At is its place in percent of the axis.
type tick struct {
	Label, Year string
	At          float64
	// Minor labels are left out on narrow screens.
	Minor bool
}

// Charts returns the charts that have something to show.
func (r report) Charts() (charts []chart) {
	if r.Total.Leads > 0 {
		c := chart{Heading: "How many leads signed up?", Text: "By " + r.Interval() + " of sign-up."}
		c.Parts = [2]string{"with a first deposit", "without"}
		charts = append(charts, r.fill(c, "", func(g group) [2]float64 {
			return [2]float64{float64(g.FTDs), float64(g.Leads - g.FTDs)}
		}))
	}
	if r.Total.FTDs > 0 {
		c := chart{Heading: "How well did they convert?", Parts: [2]string{"final", "may still grow"}}
		c.Text = fmt.Sprintf("The percentage of the leads of a %s that have made a first deposit (FTD), at any time "+
			"until now. 50 %% of the first deposits came within %s of the sign-up, and 90 %% within %s. The "+
			"conversion of younger leads may still grow.",
			r.Interval(), formatDays(r.DaysUntil(50)), formatDays(r.DaysUntil(90)))
		charts = append(charts, r.fill(c, " %", func(g group) [2]float64 {
			if r.MayGrow(g) {
				return [2]float64{0, g.Conversion()}
			}
			return [2]float64{g.Conversion(), 0}
		}))
	}
	if r.Total.Made > 0 {
		c := chart{Heading: "When were first deposits made?"}
		c.Text = "By " + r.Interval() + " of the deposit. Their leads may have signed up earlier."
		c.Parts = [2]string{"by leads that signed up in this period", "by earlier leads"}
		charts = append(charts, r.fill(c, "", func(g group) [2]float64 {
			return [2]float64{float64(g.Made - g.Earlier), float64(g.Earlier)}
		}))
	}
	return charts
}

// fill fills a chart. value returns the parts of the bar of a day or week.
func (r report) fill(c chart, unit string, value func(group) [2]float64) chart {
	highest := 0.
	for _, g := range r.Days {
		parts := value(g)
		highest = max(highest, parts[0]+parts[1])
	}
	end, steps := scale(highest)
	for _, g := range r.Days {
		parts := value(g)
		c.Bars = append(c.Bars, [2]float64{100 * parts[0] / end, 100 * parts[1] / end})
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

// Dates returns the labels of the days. They have the year if the period spans
// several.
func (r report) Dates() (labels []tick) {
	step := 1 + (len(r.Days)-1)/12
	for i := 0; i < len(r.Days); i += step {
		day, _ := time.Parse(time.DateOnly, r.Days[i].Name)
		label := tick{
			Label: day.Format("2 Jan"), At: 100 * (float64(i) + .5) / float64(len(r.Days)),
			Minor: i/step%3 != 0,
		}
		if r.first.Year() != r.date(r.days-1).Year() {
			label.Year = day.Format("2006")
		}
		labels = append(labels, label)
	}
	return labels
}

// Range returns the start and the length of the likely range of a group, and
// its conversion, in percent of an axis that is common to all groups.
func (r report) Range(g group) [3]float64 {
	end := 1.
	for _, other := range append(r.SubCampaigns, r.Brands...) {
		// A range of few leads may be so wide that the others are too small.
		end = max(end, min(1.5*other.Conversion(), 100))
	}
	at := func(percent float64) float64 { return min(100, 100*percent/end) }
	low, high := g.likely()
	return [3]float64{at(low), at(high) - at(low), at(g.Conversion())}
}

// Matrix has the largest sub-campaigns: more columns do not fit on paper.
func (r report) Matrix() []group { return r.funnel.SubCampaigns(min(len(r.SubCampaigns), 8)) }

// Course returns the path of a bar chart of the number of leads with a status.
// It is one unit high, and one unit wide for each day or week.
func (r report) Course(status string) string {
	highest := 1
	for _, g := range r.Days {
		highest = max(highest, g.Statuses[status])
	}
	path := new(strings.Builder)
	path.WriteString("M0 1")
	for i, g := range r.Days {
		fmt.Fprintf(path, "V%.2fH%d", 1-float64(g.Statuses[status])/float64(highest), i+1)
	}
	return path.String() + "V1Z"
}
