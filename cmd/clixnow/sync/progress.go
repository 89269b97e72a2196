package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/clixnow/clixnow-go"
)

// progress shows the progress of a pass. On a terminal it draws a bar.
// Elsewhere it logs a line every ten seconds. Changes come in the order of
// their time. So the bar shows how much of the time from the first change until
// now was read.
type progress struct {
	out      io.Writer
	log      *slog.Logger
	terminal bool

	// leads is the number of leads in the current pass.
	leads int
	first clixnow.Lead
	began time.Time
	shown time.Time
	// bar is nil before a pass has lasted long enough to show it.
	bar *progressbar.ProgressBar
}

func newProgress(out io.Writer, log *slog.Logger) *progress {
	file, ok := out.(*os.File)
	return &progress{out: out, log: log, terminal: ok && term.IsTerminal(int(file.Fd()))}
}

func (p *progress) add(lead clixnow.Lead) {
	now := time.Now()
	if p.leads == 0 {
		p.first, p.began, p.shown = lead, now, now
	}
	p.leads++
	interval := 10 * time.Second
	if p.terminal {
		interval = 200 * time.Millisecond
	}
	if now.Sub(p.shown) < interval {
		return
	}
	p.shown = now
	perSecond := int(float64(p.leads) / now.Sub(p.began).Seconds())
	if !p.terminal {
		p.log.Info("catching up", "leads", p.leads, "per_second", perSecond, "position", lead.UpdatedOn)
		return
	}
	if p.bar == nil {
		p.bar = progressbar.NewOptions64(max(1, seconds(p.began.Sub(p.first.UpdatedOn))),
			progressbar.OptionSetWriter(p.out),
			progressbar.OptionSetWidth(20), progressbar.OptionClearOnFinish(), progressbar.OptionUseANSICodes(true))
	}
	_ = p.bar.Set64(min(seconds(lead.UpdatedOn.Sub(p.first.UpdatedOn)), p.bar.GetMax64()-1))
	p.bar.Describe(fmt.Sprintf("%7d leads, %5d/s, at %s", p.leads, perSecond,
		lead.UpdatedOn.UTC().Format(time.DateTime)))
}

// pause removes the bar, so that a line of text can be printed. The next add
// draws it again.
func (p *progress) pause() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

// end ends the pass, and returns its number of leads.
func (p *progress) end() int {
	leads := p.leads
	p.pause()
	p.bar, p.leads = nil, 0
	return leads
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }
