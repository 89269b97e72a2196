package main

import (
	"bytes"
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// These colours are visible on white and on black.
var (
	ink    = color.NRGBA{R: 0x80, G: 0x88, B: 0x90, A: 0xff}
	accent = color.NRGBA{R: 0x1f, G: 0x8f, B: 0xff, A: 0xff}
	pale   = color.NRGBA{R: 0x90, G: 0x98, B: 0xa2, A: 0xff}
)

// drawChart writes a chart of the times in rows to an SVG file without a
// background. rows are those of the first table.
func drawChart(file, title string, rows []row) error {
	if len(rows) == 0 {
		return fmt.Errorf("%s: the table of reading was not measured", file)
	}
	rows = slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return r.name == sdkPrefetch4 })
	// The first bar is at the bottom.
	slices.SortFunc(rows, func(a, b row) int { return int(b.median.Wall - a.median.Wall) })

	p := plot.New()
	p.BackgroundColor = nil
	p.Title.Text, p.Title.Padding, p.Title.TextStyle = title, vg.Points(8), style(p.Title.TextStyle, 11)
	p.HideX()
	p.Y.Width, p.Y.Tick.Length, p.Y.Tick.Label = 0, 0, style(p.Y.Tick.Label, 9.5)
	names := make([]string, len(rows))
	for i, r := range rows {
		// The spaces are room for fonts that are wider.
		names[i] = strings.TrimPrefix(r.name, "hand-written, ") + "    "
		if err := addBar(p, i, r); err != nil {
			return err
		}
	}
	p.NominalY(names...)
	p.X.Max *= 1.2 // room for the last figure
	p.X.Min = 0

	canvas := vgsvg.New(6.4*vg.Inch, vg.Length(len(rows)+1)*0.3*vg.Inch)
	p.Draw(draw.New(canvas))
	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		return err
	}
	// Readers do not have the fonts that the library expects. This font is
	// about as wide.
	out := strings.ReplaceAll(svg.String(), "font-family:Liberation Sans", "font-family:Helvetica,Arial,sans-serif")
	//nolint:gosec // everyone may read documentation
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(out), 0o644) //nolint:gosec // documentation that everyone may read
}

// addBar adds one bar, and the figure next to it.
func addBar(p *plot.Plot, at int, r row) error {
	millis := float64(r.median.Wall.Microseconds()) / 1000
	bar, err := plotter.NewBarChart(plotter.Values{millis}, vg.Points(13))
	if err != nil {
		return err
	}
	bar.Horizontal, bar.XMin, bar.LineStyle.Width, bar.Color = true, float64(at), 0, pale
	if strings.HasPrefix(r.name, sdk) {
		bar.Color = accent
	}
	labels, err := plotter.NewLabels(plotter.XYLabels{
		XYs: []plotter.XY{{X: millis, Y: float64(at)}}, Labels: []string{fmt.Sprintf("%.0f ms", millis)},
	})
	if err != nil {
		return err
	}
	labels.TextStyle[0] = style(labels.TextStyle[0], 9.5)
	labels.TextStyle[0].YAlign = draw.YCenter
	labels.Offset = vg.Point{X: vg.Points(4), Y: vg.Points(1.5)}
	p.Add(bar, labels)
	return nil
}

func style(s text.Style, points float64) text.Style {
	s.Color, s.Font.Size, s.Font.Variant = ink, vg.Points(points), "Sans"
	return s
}
