package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// row holds the medians of one contender in one table.
type row struct {
	name   string
	median figures
}

// goal is a figure that the SDK should reach, and the measured figure.
type goal struct {
	what     string
	measured float64
	atMost   float64
	unit     string
}

// tables measures and prints all tables.
func (b *bench) tables(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, b.size.deadline)
	defer cancel()
	fmt.Printf("%s, %s, %d CPUs, %s; medians of %d rounds\n",
		time.Now().Format(time.DateOnly), runtime.Version(), runtime.NumCPU(), processor(), b.rounds)
	for _, table := range []struct {
		title string
		print func(context.Context) error
	}{
		{fmt.Sprintf("Reading %d leads in pages of %d", b.size.leads, pageSize), b.read},
		{fmt.Sprintf("Reading %d leads, each answer late", b.size.delayed), b.readLate},
		{fmt.Sprintf("Reading %d leads, compressed by gzip", b.size.leads), b.readZipped},
		{"Memory while reading, and cost per lead", b.readMore},
		{fmt.Sprintf("Creating %d leads, one after another", b.size.creates), b.createEach},
		{fmt.Sprintf("Creating %d leads, 64 at once", 4*b.size.creates), b.createAtOnce},
	} {
		if !strings.Contains(strings.ToLower(table.title), strings.ToLower(b.only)) {
			continue
		}
		fmt.Printf("\n## %s\n\n", table.title)
		if err := table.print(ctx); err != nil {
			return fmt.Errorf("%s: %w", strings.ToLower(table.title), err)
		}
	}
	b.printGoals()
	return nil
}

// rows runs one job for each contender, in turns, so that other work of the
// machine affects all of them.
func (b *bench) rows(ctx context.Context, names []string, rounds int, j job) ([]row, error) {
	names = slices.DeleteFunc(slices.Clone(names), b.missing)
	all := make(map[string][]figures)
	for round := range rounds {
		for i := range names {
			j := j
			j.Client = names[(i+round)%len(names)]
			f, err := b.do(ctx, j)
			if err != nil {
				return nil, err
			}
			all[j.Client] = append(all[j.Client], f)
		}
	}
	rows := make([]row, 0, len(names))
	var read tally
	for _, name := range names {
		m := median(all[name])
		switch {
		case name == floor || j.Creates > 0:
		case read == tally{}:
			read = m.Tally
		case read != m.Tally:
			return nil, fmt.Errorf("%s: %w", name, errTally)
		}
		rows = append(rows, row{name, m})
	}
	return rows, b.profile(ctx, names, j)
}

// median returns the median of each figure.
func median(all []figures) figures {
	return figures{
		Wall: middle(all, func(f figures) time.Duration { return f.Wall }),
		CPU:  middle(all, func(f figures) time.Duration { return f.CPU }),

		Allocs:   middle(all, func(f figures) uint64 { return f.Allocs }),
		Bytes:    middle(all, func(f figures) uint64 { return f.Bytes }),
		Heap:     middle(all, func(f figures) uint64 { return f.Heap }),
		Resident: middle(all, func(f figures) uint64 { return f.Resident }),
		Tally:    all[0].Tally,
	}
}

func middle[T cmp.Ordered](all []figures, of func(figures) T) T {
	values := make([]T, len(all))
	for i, f := range all {
		values[i] = of(f)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func find(rows []row, name string) figures {
	i := slices.IndexFunc(rows, func(r row) bool { return r.name == name })
	return rows[i].median
}

func ratio[T time.Duration | uint64](a, b T) float64 { return float64(a) / float64(b) }

func (b *bench) reach(what string, measured, atMost float64, unit string) {
	b.goals = append(b.goals, goal{what, measured, atMost, unit})
}

func (b *bench) read(ctx context.Context) error {
	names := []string{
		sdk, sdkPrefetch2, sdkPrefetch4, ogenName, handWrittenV2, oapiCodegen, restyName, handWritten,
		floor,
	}
	rows, err := b.rows(ctx, names, b.rounds, job{URL: scenario{leads: b.size.leads}.url(b.host)})
	if err != nil {
		return err
	}
	b.reading = rows
	leads, least, hand, own := float64(b.size.leads), find(rows, floor), find(rows, handWritten), find(rows, sdk)
	fmt.Println("| client | time | of hand-written | of the floor | CPU time | allocations per lead | bytes per lead |")
	fmt.Println("|---|--:|--:|--:|--:|--:|--:|")
	for _, r := range rows {
		m := r.median
		fmt.Printf("| %s | %s | %.2f | %.1f | %s | %.2f | %.0f |\n", r.name, ms(m.Wall), ratio(m.Wall, hand.Wall),
			ratio(m.Wall, least.Wall), ms(m.CPU), float64(m.Allocs)/leads, float64(m.Bytes)/leads)
	}
	fastest := time.Duration(1<<63 - 1)
	for _, r := range rows {
		if r.name != floor && !strings.HasPrefix(r.name, sdk) {
			fastest = min(fastest, r.median.Wall)
		}
	}
	b.reach("reading, SDK / hand-written", ratio(own.Wall, hand.Wall), 0.25, "")
	b.reach("reading, SDK / fastest peer", ratio(own.Wall, fastest), 1, "")
	b.reach("reading, SDK / floor", ratio(own.Wall, least.Wall), 6.5, "")
	b.reach("reading, SDK with Prefetch 2 / floor", ratio(find(rows, sdkPrefetch2).Wall, least.Wall), 3.5, "")
	b.reach("allocations per lead", float64(own.Allocs)/leads, 1, "")
	return nil
}

// profile lets each contender do the job once more, and writes a CPU profile.
func (b *bench) profile(ctx context.Context, names []string, j job) error {
	if b.profiles == "" || j.Memory {
		return nil
	}
	for _, name := range names {
		b.profiled++
		file, err := filepath.Abs(filepath.Join(b.profiles, fmt.Sprintf("%d.pprof", b.profiled)))
		if err != nil {
			return err
		}
		j.Client, j.Profile = name, file
		if _, err := b.do(ctx, j); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "bench: profile of %s in %s\n", name, file)
	}
	return nil
}

func (b *bench) readLate(ctx context.Context) error {
	names := []string{sdk, sdkPrefetch2, sdkPrefetch4, handWritten}
	fmt.Println("| late by | " + strings.Join(names, " | ") + " |")
	fmt.Println("|--:" + strings.Repeat("|--:", len(names)) + "|")
	for _, delay := range b.size.delays {
		rows,
			err := b.rows(ctx, names, min(b.rounds, 3),
			job{URL: scenario{leads: b.size.delayed, delay: delay}.url(b.host)})
		if err != nil {
			return err
		}
		fmt.Printf("| %v |", delay)
		own := find(rows, sdk)
		for _, r := range rows {
			fmt.Printf(" %s (%.2f) |", ms(r.median.Wall), ratio(r.median.Wall, own.Wall))
		}
		fmt.Println()
		if delay == 25*time.Millisecond {
			b.reach("reading at 25 ms, Prefetch 4 / none", ratio(find(rows, sdkPrefetch4).Wall, own.Wall), 0.33, "")
		}
	}
	return nil
}

func (b *bench) readZipped(ctx context.Context) error {
	names := []string{sdk, sdkKlauspost, sdkPrefetch2, ogenName, handWritten, floor}
	j := job{URL: scenario{leads: b.size.leads, gzip: true}.url(b.host)}
	if _, err := b.rows(ctx, []string{sdk, floor}, 1, j); err != nil { // the server compresses each page once
		return err
	}
	rows, err := b.rows(ctx, names, min(b.rounds, 5), j)
	if err != nil {
		return err
	}
	fmt.Println("| client | time | of the SDK | of the floor | CPU time |")
	fmt.Println("|---|--:|--:|--:|--:|")
	for _, r := range rows {
		fmt.Printf("| %s | %s | %.2f | %.1f | %s |\n", r.name, ms(r.median.Wall),
			ratio(r.median.Wall, find(rows, sdk).Wall), ratio(r.median.Wall, find(rows, floor).Wall), ms(r.median.CPU))
	}
	return nil
}

func (b *bench) readMore(ctx context.Context) error {
	names := []string{sdk, sdkPrefetch4, sdkCreated, sdkModified, handWritten}
	fmt.Println("Highest heap above idle in MiB, and microseconds per lead:")
	fmt.Println()
	fmt.Println("| leads | " + strings.Join(names, " | ") + " |")
	fmt.Println("|--:" + strings.Repeat("|--:", len(names)) + "|")
	for _, leads := range b.size.lists {
		j := job{URL: scenario{leads: leads}.url(b.host)}
		timed, err := b.rows(ctx, names, 3, j)
		if err != nil {
			return err
		}
		j.Memory = true
		watched, err := b.rows(ctx, names, 1, j)
		if err != nil {
			return err
		}
		fmt.Printf("| %d |", leads)
		for i := range names {
			perLead := timed[i].median.Wall / time.Duration(leads)
			fmt.Printf(" %.1f, %.2f |", mebibytes(watched[i].median.Heap), float64(perLead)/float64(time.Microsecond))
		}
		fmt.Println()
		if leads == b.size.lists[len(b.size.lists)-1] {
			b.reach(fmt.Sprintf("highest heap reading %d leads", leads), mebibytes(find(watched, sdk).Heap), 16, " MiB")
		}
	}
	return nil
}

func (b *bench) createEach(ctx context.Context) error {
	names := []string{sdk, handWritten, handWrittenV2, ogenName, oapiCodegen, restyName, retryableNamed}
	rows, err := b.creates(ctx, names, job{Creates: b.size.creates, AtOnce: 1})
	if err != nil {
		return err
	}
	own, hand := find(rows, sdk), find(rows, handWritten)
	b.reach("create, SDK / hand-written", ratio(own.Wall, hand.Wall), 1.05, "")
	b.reach("create, allocations, SDK / hand-written", ratio(own.Allocs, hand.Allocs), 1.25, "")
	return nil
}

func (b *bench) createAtOnce(ctx context.Context) error {
	rows, err := b.creates(ctx, []string{sdk, handDefault, handWritten}, job{Creates: 4 * b.size.creates, AtOnce: 64})
	if err != nil {
		return err
	}
	b.reach("create, 64 at once, SDK / hand-written", ratio(find(rows, sdk).Wall, find(rows, handDefault).Wall), 0.75,
		"")
	return nil
}

func (b *bench) creates(ctx context.Context, names []string, j job) ([]row, error) {
	j.URL = scenario{}.url(b.host)
	rows, err := b.rows(ctx, names, b.rounds, j)
	if err != nil {
		return nil, err
	}
	creates, hand := float64(j.Creates), rows[1].median
	fmt.Println("| client | microseconds per create | of hand-written | CPU time | allocations | bytes |")
	fmt.Println("|---|--:|--:|--:|--:|--:|")
	for _, r := range rows {
		m := r.median
		each := func(d time.Duration) float64 { return float64(d) / creates / float64(time.Microsecond) }
		fmt.Printf("| %s | %.1f | %.2f | %.1f | %.0f | %.0f |\n", r.name, each(m.Wall), ratio(m.Wall, hand.Wall),
			each(m.CPU),
			float64(m.Allocs)/creates, float64(m.Bytes)/creates)
	}
	return rows, nil
}

func (b *bench) printGoals() {
	fmt.Print("\n## Goals\n\n| what | at most | measured | |\n|---|--:|--:|---|\n")
	for _, g := range b.goals {
		verdict := "reached"
		if g.measured > g.atMost {
			verdict = "missed"
		}
		fmt.Printf("| %s | %g%s | %.2f%s | %s |\n", g.what, g.atMost, g.unit, g.measured, g.unit, verdict)
	}
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) }

func mebibytes(n uint64) float64 { return float64(n) / (1 << 20) }

// processor returns the name of the processor, if the system has this file.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
