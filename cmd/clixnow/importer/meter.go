package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// meter shows how far a run is: a bar on a terminal, a line now and then
// elsewhere.
type meter struct {
	out   io.Writer
	bar   *progressbar.ProgressBar // nil = lines
	total int

	mu    sync.Mutex
	done  int
	began time.Time
	told  time.Time
}

func newMeter(out io.Writer, rows, settled int) *meter {
	m := &meter{out: out, total: rows - settled, told: time.Now()}
	if settled > 0 {
		fmt.Fprintf(out, "%d of %d rows were settled before.\n", settled, rows)
	}
	if file, ok := out.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		m.bar = progressbar.NewOptions(m.total, progressbar.OptionSetWriter(out),
			progressbar.OptionSetDescription("Registering"),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("rows"),
			progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionFullWidth())
	}
	return m
}

func (m *meter) add() {
	const interval = 10 * time.Second
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.done == 0 {
		m.began = time.Now() // until now it only looked for the first row that is left
	}
	m.done++
	if m.bar != nil {
		_ = m.bar.Add(1) // what it cannot draw is no reason to stop
		return
	}
	if time.Since(m.told) >= interval || m.done == m.total {
		m.told = time.Now()
		perSecond := float64(m.done) / max(1, time.Since(m.began).Seconds())
		left := time.Duration(float64(m.total-m.done) / perSecond * float64(time.Second))
		fmt.Fprintf(m.out, "%d of %d rows, %.1f a second, %s left\n", m.done, m.total, perSecond,
			left.Round(time.Second))
	}
}

// say writes a line without tearing the bar.
func (m *meter) say(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bar != nil {
		_, _ = progressbar.Bprintln(m.bar, text)
		return
	}
	fmt.Fprintln(m.out, text)
}

func (m *meter) close() {
	if m.bar != nil && m.done > 0 {
		_ = m.bar.Exit()
		fmt.Fprintln(m.out)
	}
}
