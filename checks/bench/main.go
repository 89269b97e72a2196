// Bench measures this SDK next to what a user would choose instead, over
// loopback. It prints the results as Markdown tables. docs/speed.md says what
// is measured, and how.
//
//	go run -C checks/bench .            everything, in about ten minutes
//	go run -C checks/bench . -quick     a small part, within a minute
//	go run -C checks/bench . -chart F   everything, and writes a chart to F
//
// It starts itself again as the server and as each client.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/gob"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"time"

	"github.com/bytedance/sonic"
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
		spread   = flag.Bool("spread", false, "also print the least and the greatest figure of the rounds")
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

	b := &bench{size: full, rounds: *rounds, profiles: *profiles, only: *only, spread: *spread}
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
		title := fmt.Sprintf("Reading %d leads over loopback, %s", b.size.leads, runtime.Version())
		return drawChart(*chart, title, b.reading)
	}
	return nil
}

// size is the amount of work that is measured.
type size struct {
	rounds int
	// leads is the number of leads that most tables read.
	leads int
	// lists are the numbers of leads in the table of memory.
	lists []int
	// delays are the times before each response.
	delays  []time.Duration
	creates int
	// delayed is the number of leads that are read with a delay.
	delayed int
	// brands is the number of clients in one process, and busy how long they
	// work at the same time.
	brands   int
	busy     time.Duration
	deadline time.Duration
}

var (
	full = size{
		rounds: 7, leads: 100_000, lists: []int{10_000, 100_000, 1_000_000},
		delays:  []time.Duration{5 * time.Millisecond, 25 * time.Millisecond, 100 * time.Millisecond},
		creates: 5_000, delayed: 100_000, brands: 500, busy: 20 * time.Second, deadline: 20 * time.Minute,
	}
	small = size{
		rounds: 3, leads: 20_000, lists: []int{5_000, 20_000},
		delays: []time.Duration{5 * time.Millisecond}, creates: 500, delayed: 20_000,
		brands: 100, busy: 3 * time.Second, deadline: 5 * time.Minute,
	}
)

// bench is one run of the program.
type bench struct {
	size     size
	rounds   int
	profiles string
	// profiled is the number of profiles that were written.
	profiled int
	only     string

	// spread reports that the least and the greatest figure are printed too.
	spread bool

	// programs maps contenders to programs. "" is the program of all others.
	programs map[string]string
	// absent maps contenders that cannot be measured to the reason.
	absent map[string]string
	server *exec.Cmd
	host   string
	// bareHost is the server that only answers creates.
	bareHost string
	temp     string

	// reading is the table that the chart shows.
	reading []row
	goals   []goal
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
	b.programs, b.absent = map[string]string{"": self}, absent()
	if b.absent[handWrittenV2] == "" {
		if b.programs[handWrittenV2], err = b.build(ctx); err != nil {
			b.absent[handWrittenV2] = err.Error()
		}
	}
	most := max(b.size.leads, b.size.lists[len(b.size.lists)-1])
	//nolint:gosec // it starts itself
	b.server = exec.CommandContext(ctx, self, "-role=server", fmt.Sprint("-leads=", most))
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
	_, err = fmt.Fscanln(out, &b.host, &b.bareHost)
	return err
}

// build compiles this program with the experiment jsonv2, which replaces
// encoding/json.
func (b *bench) build(ctx context.Context) (string, error) {
	program := filepath.Join(b.temp, "jsonv2")
	command := exec.CommandContext(ctx, "go", "build", "-o", program, ".") //nolint:gosec // its own folder
	command.Env = append(os.Environ(), "GOEXPERIMENT=jsonv2")
	if out, err := command.CombinedOutput(); err != nil {
		return "",
			fmt.Errorf("go build (run this program in the folder of its source): %w: %s", err,
				bytes.TrimSpace(out))
	}
	return program, nil
}

func (b *bench) close() {
	_ = b.server.Process.Kill()
	_ = b.server.Wait()
	_ = os.RemoveAll(b.temp)
}

// absent maps the contenders that no program of this Go version can measure to
// the reason.
func absent() map[string]string {
	reasons := make(map[string]string)
	if hasJSONv2 {
		reasons[handWrittenV2] = "encoding/json of this Go version is built on encoding/json/v2"
	} else {
		reasons[nativeV2] = "it is in the standard library since Go 1.27"
	}
	if sonic.APIKind == sonic.UseStdJSON {
		reasons[handSonic] = "it does not support this Go version or processor, and would use encoding/json"
	}
	return reasons
}

// do runs a job in a new process.
func (b *bench) do(ctx context.Context, j job) (figures, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	program := b.programs[j.Client]
	if program == "" {
		program = b.programs[""]
	}
	j.Warm = cmp.Or(j.Warm, scenario{leads: 3 * pageSize}.url(b.host))
	var in, out, problem bytes.Buffer
	if err := gob.NewEncoder(&in).Encode(j); err != nil {
		return figures{}, err
	}
	command := exec.CommandContext(ctx, program, "-role=client") //nolint:gosec // it starts itself
	command.Stdin, command.Stdout, command.Stderr = &in, &out, &problem
	if err := command.Run(); err != nil {
		return figures{}, fmt.Errorf("%w: %s", err, problem.String())
	}
	var f figures
	return f, gob.NewDecoder(&out).Decode(&f)
}

var errTally = errors.New("read other data than the other contenders")
