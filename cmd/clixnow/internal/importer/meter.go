package importer

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// meter shows the progress of a run. On a terminal it draws a bar. Elsewhere it
// prints a line every ten seconds.
type meter struct {
	out io.Writer
	// bar is nil if out is not a terminal.
	bar   *progressbar.ProgressBar
	total int

	mu      sync.Mutex
	done    int
	began   time.Time
	printed time.Time
}

func newMeter(out io.Writer, rows, finished int) *meter {
	m := &meter{out: out, total: rows - finished, printed: time.Now()}
	if finished > 0 {
		fmt.Fprintf(out, "%d of %d rows were finished before this run.\n", finished, rows)
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

// add counts one more row.
func (m *meter) add() {
	const interval = 10 * time.Second
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.done == 0 {
		m.began = time.Now() // the time spent on finding the first row does not count
	}
	m.done++
	if m.bar != nil {
		_ = m.bar.Add(1)
		return
	}
	if time.Since(m.printed) >= interval || m.done == m.total {
		m.printed = time.Now()
		perSecond := float64(m.done) / max(1, time.Since(m.began).Seconds())
		left := time.Duration(float64(m.total-m.done) / perSecond * float64(time.Second))
		fmt.Fprintf(m.out, "%d of %d rows, %.1f a second, %s left\n", m.done, m.total, perSecond,
			left.Round(time.Second))
	}
}

// println prints a line and keeps the bar intact.
func (m *meter) println(text string) {
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
