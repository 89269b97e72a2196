// Command importer registers the leads of a CSV file. It registers each lead
// exactly once, even if it is interrupted and run again, and it writes the
// outcome of every row to a results file. Without -brand it rehearses: it
// registers the leads with a fake Clixnow that it starts on loopback. Without a
// file it uses a sample. In the folder cmd/clixnow:
//
//	go run ./importer -dry-run leads.csv
//	CLIXNOW_TOKEN=... go run ./importer -brand your-brand leads.csv
package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"golang.org/x/time/rate"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// The usage text explains the exit codes.
const (
	exitDone       = 0
	exitRefused    = 1
	exitInput      = 2
	exitUnfinished = 3
	exitAccess     = 4
)

const usage = `Usage: importer [flags] [leads.csv]

importer registers the leads of a CSV file. The file must have a header. Without a file, importer uses a sample.
Without -brand, it rehearses with a fake Clixnow on loopback. It reads the token from the environment variable
CLIXNOW_TOKEN. It writes the outcome of each row to leads.csv.import/results.csv. If it was interrupted, run the same
command again to continue.

Columns have the names of the API's fields. Upper and lower case, spaces, "_" and "-" make no difference: "First Name"
is firstName. The columns are
%s.

Exit codes:
  0  every row is registered (with -dry-run: every row can be sent)
  1  every row is finished, and some were refused (with -dry-run: some are invalid or repeated)
  2  the flags or the file are wrong; nothing was sent
  3  some rows are unfinished, for example because the brand is full; run the same command again later
  4  the API refused the token, or this address has no such API; fix that and run the same command again

Flags:
`

//go:embed sample.csv
var sample []byte

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// After stop, a second signal ends the program at once. The next run then
	// searches for the rows that were in flight.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Getenv("CLIXNOW_TOKEN"), os.Stdout, os.Stderr))
}

type settings struct {
	file, brand, baseURL, folder, mapping, comma string

	dryRun, ignoreUnknown, redirectURLs bool
	perSecond                           float64
	concurrency                         int
}

func parse(args []string, help io.Writer) (s settings, err error) {
	flags := flag.NewFlagSet("importer", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // errors are returned
	flags.StringVar(&s.brand, "brand", "", "register at this `brand`, with the token in CLIXNOW_TOKEN")
	flags.StringVar(&s.baseURL, "base-url", "", "with -brand: the `URL` of another host that serves the API")
	flags.StringVar(&s.folder, "folder", "",
		"with -brand: the folder for progress and results (default: the name of the file and \".import\")")
	flags.StringVar(&s.mapping, "map", "",
		"the fields of columns with other names: 'First=firstName,Age=extra:age,Notes=-'; \"-\" leaves a column out")
	flags.StringVar(&s.comma, "comma", ",", "the character that separates columns, or \"tab\"")
	flags.BoolVar(&s.dryRun, "dry-run", false,
		"check every row, find rows with the same email, phone or click id, and send nothing")
	flags.BoolVar(&s.ignoreUnknown, "ignore-unknown", false, "leave out unknown columns")
	flags.BoolVar(&s.redirectURLs, "redirect-urls", false,
		"write redirect URLs to the results; they are secrets, because each one logs its lead in at the brand")
	flags.Float64Var(&s.perSecond, "rate", 5, "the largest number of requests per second, including searches")
	flags.IntVar(&s.concurrency, "concurrency", 4, "the number of rows that are registered at once")
	err = flags.Parse(args)
	s.file = flags.Arg(0)
	switch {
	case errors.Is(err, flag.ErrHelp):
		var names []string
		for line := range slices.Chunk(columnNames(), 8) {
			names = append(names, strings.Join(line, ", "))
		}
		fmt.Fprintf(help, usage, strings.Join(names, ",\n"))
		flags.SetOutput(help)
		flags.PrintDefaults()
		return s, err
	case err != nil:
		return s, err
	case flags.NArg() > 1:
		return s, errors.New("give one file, and give flags before the file")
	case s.brand == "" && (s.baseURL != "" || s.folder != ""):
		return s, errors.New("-base-url and -folder need -brand")
	case s.brand != "" && s.file == "":
		return s, errors.New("-brand needs a file: the sample is only for rehearsals")
	case s.perSecond <= 0, s.concurrency < 1:
		return s, errors.New("-rate and -concurrency must be positive")
	}
	if s.comma == "tab" {
		s.comma = "\t"
	}
	if comma, size := utf8.DecodeRuneInString(s.comma); size != len(s.comma) || !validComma(comma) {
		return s, errors.New("-comma must be one character, but not a quote or a line break")
	}
	if s.folder == "" {
		s.folder = s.file + ".import"
	}
	return s, nil
}

// run runs the program and returns its exit code. Tests pass opts for the
// client.
func run(ctx context.Context, args []string, token string, out, errOut io.Writer, opts ...clixnow.Option) int {
	s, err := parse(args, out)
	if errors.Is(err, flag.ErrHelp) {
		return exitDone
	}
	code := exitInput
	if err == nil {
		code, err = start(ctx, s, token, out, errOut, opts)
	}
	if err != nil {
		fmt.Fprintln(errOut, "importer:", err)
	}
	return code
}

func start(ctx context.Context, s settings, token string, out, errOut io.Writer, opts []clixnow.Option) (int, error) {
	var file io.ReadSeeker = bytes.NewReader(sample)
	if s.file != "" {
		opened, err := os.Open(s.file)
		if err != nil {
			return exitInput, fmt.Errorf("open the leads: %w", err)
		}
		defer func() { _ = opened.Close() }()
		file = opened
	}
	leads, err := openSheet(file, s)
	if err != nil {
		return exitInput, err
	}
	if s.dryRun {
		return dryRun(leads, out)
	}
	found, err := leads.survey(nil)
	if err != nil {
		return exitInput, err
	}
	if s.brand == "" {
		return rehearse(ctx, s, leads, found, out, errOut, opts)
	}
	code, err := register(ctx, s, token, leads, found, errOut, opts)
	if code != exitInput {
		fmt.Fprintln(out, "Results:", filepath.Join(s.folder, resultsName))
	}
	return code, err
}

// rehearse registers the leads with a fake Clixnow and prints the results.
func rehearse(ctx context.Context, s settings, leads *sheet, found survey, out, errOut io.Writer,
	opts []clixnow.Option,
) (int, error) {
	fmt.Fprintln(errOut, "This is a rehearsal with a fake Clixnow on loopback. "+
		"To use the API, set -brand and CLIXNOW_TOKEN.")
	server := clixnowtest.NewServer()
	defer server.Close()
	// The server creates the lead of the eighth POST, but its response is lost.
	// The importer then finds the lead by search.
	server.Inject(
		clixnowtest.Fault{Method: "POST", Times: 7},
		clixnowtest.Fault{Method: "POST", Drop: clixnowtest.DropAfterHandling},
	)
	folder, err := os.MkdirTemp("", "importer")
	if err != nil {
		return exitInput, fmt.Errorf("make a folder for the results: %w", err)
	}
	s.brand, s.baseURL, s.folder = server.Brand, server.URL, folder
	code, err := register(ctx, s, server.Token, leads, found, errOut, opts)
	results, failure := fs.ReadFile(os.DirFS(folder), resultsName)
	fmt.Fprintf(out, "%s", results)
	if code == exitRefused {
		fmt.Fprintln(errOut, "The sample has two rows that are refused on purpose. So the exit code is 1.")
	}
	return code, errors.Join(err, failure, os.RemoveAll(folder))
}

// register runs the import and returns the exit code.
func register(
	ctx context.Context, s settings, token string, leads *sheet, found survey, errOut io.Writer, opts []clixnow.Option,
) (code int, err error) {
	if token == "" {
		return exitInput, errors.New("CLIXNOW_TOKEN is not set")
	}
	opts = append([]clixnow.Option{
		clixnow.WithRateLimiter(rate.NewLimiter(rate.Limit(s.perSecond), 1)),
		clixnow.WithUserAgent("clixnow-importer/1"),
	}, opts...)
	if s.baseURL != "" {
		opts = append(opts, clixnow.WithBaseURL(s.baseURL))
	}
	client, err := clixnow.NewClient(s.brand, token, opts...)
	if err != nil {
		return exitInput, err
	}
	defer client.CloseIdleConnections()
	l, err := openLedger(s.folder, found.lastLine, s.redirectURLs, leads.fingerprint(found, s.brand, s.baseURL))
	if err != nil {
		return exitInput, err
	}
	defer func() { err = errors.Join(err, l.close()) }()

	progress := newMeter(errOut, found.rows, l.countFinished())
	i := &importer{client: client, leads: leads, ledger: l, concurrency: s.concurrency, meter: progress}
	runErr := i.run(ctx)
	progress.close()
	fmt.Fprintln(errOut, l.summary(found.rows))
	unfinished := found.rows - l.countFinished()
	switch {
	case errors.Is(runErr, errAccess):
		return exitAccess, runErr
	case unfinished > 0 && runErr == nil:
		return exitUnfinished, errors.New("some rows are unfinished: run the same command again")
	case unfinished > 0:
		return exitUnfinished, runErr
	case l.total[refused] > 0:
		return exitRefused, runErr
	}
	return exitDone, runErr
}
