package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// row holds the medians of one contender in one table.
type row struct {
	name   string
	median figures
	rounds []figures
}

// goal is a figure that the SDK should reach, and the measured figure.
type goal struct {
	what     string
	measured float64
	atMost   float64
	unit     string
	// rounds holds the measured figure of each round. It may be nil.
	rounds []float64
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
		{fmt.Sprintf("Creating %d leads, 64 at once", 2*b.size.creates), b.createAtOnce},
		{fmt.Sprintf("%d brands in one process", b.size.brands), b.manyBrands},
	} {
		if !strings.Contains(strings.ToLower(table.title), strings.ToLower(b.only)) {
			continue
		}
		fmt.Printf("\n## %s, %s\n\n", table.title, runtime.Version())
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
	names = slices.DeleteFunc(slices.Clone(names), b.isAbsent)
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
		rows = append(rows, row{name, m, all[name]})
	}
	return rows, b.profile(ctx, names, j)
}

// isAbsent reports whether a contender cannot be measured, and prints why.
func (b *bench) isAbsent(name string) bool {
	reason, absent := b.absent[name]
	if absent {
		fmt.Printf("Without %s: %s.\n\n", name, reason)
	}
	return absent
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
		Dials:    middle(all, func(f figures) uint64 { return f.Dials }),
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
	b.goals = append(b.goals, goal{what: what, measured: measured, atMost: atMost, unit: unit})
}

// compare adds a goal for the time of one row as a part of that of another. It
// adds nothing if a row is absent.
func (b *bench) compare(what string, rows []row, own, other string, atMost float64) {
	at := func(name string) int { return slices.IndexFunc(rows, func(r row) bool { return r.name == name }) }
	if at(own) < 0 || at(other) < 0 {
		return
	}
	one, two := rows[at(own)], rows[at(other)]
	g := goal{what: what, measured: ratio(one.median.Wall, two.median.Wall), atMost: atMost}
	for i := range one.rounds {
		g.rounds = append(g.rounds, ratio(one.rounds[i].Wall, two.rounds[i].Wall))
	}
	b.goals = append(b.goals, g)
}

// span returns the least and the greatest value, if -spread is set.
func span[T time.Duration | float64](b *bench, values []T, format func(T) string) string {
	if !b.spread || len(values) == 0 {
		return ""
	}
	return fmt.Sprintf(" (%s to %s)", format(slices.Min(values)), format(slices.Max(values)))
}

func (b *bench) wall(r row, format func(time.Duration) string) string {
	walls := make([]time.Duration, len(r.rounds))
	for i, f := range r.rounds {
		walls[i] = f.Wall
	}
	return format(r.median.Wall) + span(b, walls, format)
}

func (b *bench) read(ctx context.Context) error {
	names := []string{
		sdk, sdkPrefetch2, sdkPrefetch4, handJX, handSonic, handGoccy, ogenName, nativeV2, handWrittenV2, oapiCodegen,
		restyName, handWritten, floor,
	}
	rows, err := b.rows(ctx, names, b.rounds, job{URL: scenario{leads: b.size.leads}.url(b.host)})
	if err != nil {
		return err
	}
	b.reading = rows
	leads, least, hand := float64(b.size.leads), find(rows, floor), find(rows, handWritten)
	fmt.Println("| client | time | of hand-written | of the floor | CPU time | allocations per lead | bytes per lead |")
	fmt.Println("|---|--:|--:|--:|--:|--:|--:|")
	for _, r := range rows {
		m := r.median
		fmt.Printf("| %s | %s | %.2f | %.1f | %s | %.2f | %.0f |\n", r.name, b.wall(r, ms), ratio(m.Wall, hand.Wall),
			ratio(m.Wall, least.Wall), ms(m.CPU), float64(m.Allocs)/leads, float64(m.Bytes)/leads)
	}
	b.compare("reading, SDK / hand-written", rows, sdk, handWritten, 0.14)
	b.compare("reading, SDK / encoding/json/v2", rows, sdk, nativeV2, 0.25)
	b.compare("reading, SDK / fastest peer", rows, sdk, fastestPeer(rows), 0.33)
	b.compare("reading, SDK / floor", rows, sdk, floor, 2.4)
	b.compare("reading, Prefetch: 2 / floor", rows, sdkPrefetch2, floor, 1.8)
	b.compare("reading, Prefetch: 4 / floor", rows, sdkPrefetch4, floor, 1.5)
	b.reach("allocations per lead", float64(find(rows, sdk).Allocs)/leads, 0.1, "")
	return nil
}

func fastestPeer(rows []row) string {
	peers := slices.DeleteFunc(slices.Clone(rows), func(r row) bool {
		return r.name == floor || strings.HasPrefix(r.name, sdk)
	})
	return slices.MinFunc(peers, func(a, b row) int { return cmp.Compare(a.median.Wall, b.median.Wall) }).name
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
	names := []string{sdk, sdkPrefetch2, sdkPrefetch4, sdkPrefetch8, handWritten}
	fmt.Println("| late by | " + strings.Join(names, " | ") + " |")
	fmt.Println("|--:" + strings.Repeat("|--:", len(names)) + "|")
	for _, delay := range b.size.delays {
		j := job{URL: scenario{leads: b.size.delayed, delay: delay}.url(b.host)}
		rows, err := b.rows(ctx, names, min(b.rounds, 3), j)
		if err != nil {
			return err
		}
		fmt.Printf("| %v |", delay)
		own := find(rows, sdk)
		for _, r := range rows {
			fmt.Printf(" %s (%.2f) |", b.wall(r, ms), ratio(r.median.Wall, own.Wall))
		}
		fmt.Println()
		if delay == 25*time.Millisecond {
			b.compare("reading at 25 ms, Prefetch: 8 / none", rows, sdkPrefetch8, sdk, 0.16)
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
		fmt.Printf("| %s | %s | %.2f | %.1f | %s |\n", r.name, b.wall(r, ms),
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
			what := fmt.Sprintf("highest heap, reading %d leads", leads)
			b.reach(what, mebibytes(find(watched, sdk).Heap), 4, " MiB")
			b.reach(what+" by ModifiedOn, per lead", float64(find(watched, sdkModified).Heap)/float64(leads), 32,
				" bytes")
		}
	}
	return nil
}

func (b *bench) createEach(ctx context.Context) error {
	names := []string{
		sdk, handWritten, handWrittenV2, nativeV2, handSonic, handGoccy, ogenName, oapiCodegen, restyName,
		retryableNamed,
	}
	rows, err := b.creates(ctx, names, job{URL: scenario{}.url(b.host), Creates: b.size.creates, AtOnce: 1})
	if err != nil {
		return err
	}
	own, hand := find(rows, sdk), find(rows, handWritten)
	b.compare("create, SDK / hand-written", rows, sdk, handWritten, 1)
	b.reach("create, allocations, SDK / hand-written", ratio(own.Allocs, hand.Allocs), 1.05, "")
	return nil
}

// createAtOnce shows what decides between the clients: how often
// http.DefaultClient, which keeps two idle connections, needs a new one.
func (b *bench) createAtOnce(ctx context.Context) error {
	url := scenario{}.url(b.bareHost)
	for _, v := range []struct {
		title string
		job   job
	}{
		{"Server of net/http", job{URL: scenario{}.url(b.host)}},
		{"Server that only answers", job{URL: url, Warm: url}},
		{"Server that only answers, client on one processor", job{URL: url, Warm: url, Procs: 1}},
	} {
		fmt.Printf("%s:\n\n", v.title)
		v.job.Creates, v.job.AtOnce = 2*b.size.creates, 64
		rows, err := b.creates(ctx, []string{sdk, handDefault, handKept}, v.job)
		if err != nil {
			return err
		}
		fmt.Println()
		b.compare("create, 64 at once, SDK / http.DefaultClient; "+v.title, rows, sdk, handDefault, 0.65)
	}
	return nil
}

func (b *bench) creates(ctx context.Context, names []string, j job) ([]row, error) {
	rows, err := b.rows(ctx, names, b.rounds, j)
	if err != nil {
		return nil, err
	}
	creates, hand := float64(j.Creates), rows[1].median
	fmt.Printf("| client | microseconds per create | of %s | CPU time | allocations | bytes | connections |\n",
		strings.TrimPrefix(rows[1].name, "hand-written, "))
	fmt.Println("|---|--:|--:|--:|--:|--:|--:|")
	for _, r := range rows {
		m := r.median
		each := func(d time.Duration) string {
			return fmt.Sprintf("%.1f", float64(d)/creates/float64(time.Microsecond))
		}
		connections := "-" // these have a transport of another kind
		if m.Dials > 0 {
			connections = strconv.FormatUint(m.Dials, 10)
		}
		fmt.Printf("| %s | %s | %.2f | %s | %.0f | %.0f | %s |\n", r.name, b.wall(r, each), ratio(m.Wall, hand.Wall),
			each(m.CPU), float64(m.Allocs)/creates, float64(m.Bytes)/creates, connections)
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
		spread := span(b, g.rounds, func(f float64) string { return fmt.Sprintf("%.2f", f) })
		fmt.Printf("| %s | %g%s | %.2f%s%s | %s |\n", g.what, g.atMost, g.unit, g.measured, g.unit, spread, verdict)
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
