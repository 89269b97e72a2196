// Bench measures this SDK beside what a user would pick instead, over loopback,
// and prints the results as tables of Markdown. README.md says what is measured
// how.
//
//	go run -C checks/bench .                               all of it, in about ten minutes
//	go run -C checks/bench . -quick                        a small part, within a minute
//	go run -C checks/bench . -chart ../../docs/speed.svg   also draws the chart of the README
//
// It starts itself again as the server, and as each client.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var (
		quick    = flag.Bool("quick", false, "measure a small part, within a minute")
		chart    = flag.String("chart", "", "draw the times of reading to this SVG `file`")
		profiles = flag.String("profiles", "", "write a CPU profile of each contender in each table to this `folder`")
		only     = flag.String("only", "", "make only the tables whose title contains this `text`")
		rounds   = flag.Int("rounds", 0, "rounds of each table (0: 7, with -quick 3)")
		role     = flag.String("role", "", "for the program itself: server or client")
		leads    = flag.Int("leads", 0, "for the program itself: how many leads the server has")
	)
	flag.Parse()
	switch *role {
	case "server":
		return serve(ctx, *leads)
	case "client":
		return work(ctx)
	}

	b := &bench{size: full, rounds: *rounds, profiles: *profiles, only: *only}
	if *quick {
		b.size = small
	}
	if b.rounds == 0 {
		b.rounds = b.size.rounds
	}
	if err := b.start(ctx); err != nil {
		return err
	}
	defer b.close()
	if err := b.tables(ctx); err != nil {
		return err
	}
	if *chart != "" {
		title := fmt.Sprintf("Reading %d leads over loopback", b.size.leads)
		return drawChart(*chart, title, b.reading)
	}
	return nil
}

// size is how much is measured.
type size struct {
	rounds   int
	leads    int             // read where nothing else is said
	lists    []int           // of so many leads memory, and cost per lead, is measured
	delays   []time.Duration // before each answer
	creates  int
	delayed  int // leads read with delay
	deadline time.Duration
}

var (
	full = size{
		rounds: 7, leads: 100_000, lists: []int{10_000, 100_000, 1_000_000},
		delays:  []time.Duration{5 * time.Millisecond, 25 * time.Millisecond, 100 * time.Millisecond},
		creates: 5_000, delayed: 100_000, deadline: 20 * time.Minute,
	}
	small = size{
		rounds: 3, leads: 20_000, lists: []int{5_000, 20_000},
		delays: []time.Duration{5 * time.Millisecond}, creates: 500, delayed: 20_000, deadline: 5 * time.Minute,
	}
)

// bench is one run of the program.
type bench struct {
	size     size
	rounds   int
	profiles string
	profiled int // how many were written
	only     string

	programs map[string]string // by contender; "" is for all that have none of their own
	server   *exec.Cmd
	host     string
	temp     string

	reading []row  // what the chart shows
	goals   []goal // in order
}

// start builds the second program and starts the server.
func (b *bench) start(ctx context.Context) (err error) {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if b.temp, err = os.MkdirTemp("", "clixnow-bench"); err != nil {
		return err
	}
	b.programs = map[string]string{"": self}
	if program, err := b.build(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "bench: without %s: %v\n", handWrittenV2, err)
	} else {
		b.programs[handWrittenV2] = program
	}
	most := max(b.size.leads, b.size.lists[len(b.size.lists)-1])
	b.server = exec.CommandContext(ctx, self, "-role=server",
		fmt.Sprint("-leads=", most)) //nolint:gosec // this program
	b.server.Stderr = os.Stderr
	if _, err := b.server.StdinPipe(); err != nil { // its end is the server's
		return err
	}
	out, err := b.server.StdoutPipe()
	if err != nil {
		return err
	}
	if err := b.server.Start(); err != nil {
		return err
	}
	b.host, err = bufio.NewReader(out).ReadString('\n')
	b.host = strings.TrimSpace(b.host)
	return err
}

// build compiles this program with the experiment, whose encoding/json is
// another one.
func (b *bench) build(ctx context.Context) (string, error) {
	program := filepath.Join(b.temp, "jsonv2")
	command := exec.CommandContext(ctx, "go", "build", "-o", program, ".") //nolint:gosec // in a folder of our own
	command.Env = append(os.Environ(), "GOEXPERIMENT=jsonv2")
	if out, err := command.CombinedOutput(); err != nil {
		return "",
			fmt.Errorf("go build, which needs the folder of its source as working directory: %w: %s", err,
				bytes.TrimSpace(out))
	}
	return program, nil
}

func (b *bench) close() {
	_ = b.server.Process.Kill()
	_ = b.server.Wait()
	_ = os.RemoveAll(b.temp)
}

// missing says that a contender cannot be run.
func (b *bench) missing(contender string) bool {
	return contender == handWrittenV2 && b.programs[contender] == ""
}

// do runs a job in a process of its own.
func (b *bench) do(ctx context.Context, j job) (figures, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	program := b.programs[j.Client]
	if program == "" {
		program = b.programs[""]
	}
	j.Warm = scenario{leads: 3 * pageSize}.url(b.host)
	var in, out, problem bytes.Buffer
	if err := gob.NewEncoder(&in).Encode(j); err != nil {
		return figures{}, err
	}
	command := exec.CommandContext(ctx, program,
		"-role=client") //nolint:gosec // this program, or the same built otherwise
	command.Stdin, command.Stdout, command.Stderr = &in, &out, &problem
	if err := command.Run(); err != nil {
		return figures{}, fmt.Errorf("%w: %s", err, problem.String())
	}
	var f figures
	return f, gob.NewDecoder(&out).Decode(&f)
}

var errTally = errors.New("read something else than the others")
