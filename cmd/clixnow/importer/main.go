// Command importer registers the leads of a CSV file, each exactly once however
// often it is interrupted, and writes down what became of every row. Without
// flags it rehearses: it registers a sample with a fake Clixnow that it starts
// on loopback.
//
//	go run . -dry-run leads.csv
//	CLIXNOW_TOKEN=... go run . -brand your-brand leads.csv
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

// The exit codes, as -h tells them.
const (
	exitDone       = 0
	exitRefused    = 1
	exitInput      = 2
	exitUnfinished = 3
	exitAccess     = 4
)

const usage = `Usage: importer [flags] [leads.csv]

Registers the leads of a CSV file with a header. Without a file it takes a sample; without -brand it rehearses against a
fake Clixnow on loopback. The token is read from the environment: CLIXNOW_TOKEN. What became of each row is in
leads.csv.import/results.csv. To go on after an interruption, run the same command again.

Columns are named as in the API; case, blanks, "_" and "-" do not matter ("First Name" is firstName). They are
%s.

Exit codes:
  0  every row is registered (with -dry-run: could be)
  1  every row is settled, and some were refused (with -dry-run: would be)
  2  the flags or the file are at fault; nothing was sent
  3  some rows are unfinished; run the same command again
  4  the API refused the token, or is not at this address; run again when that is mended

Flags:
`

//go:embed sample.csv
var sample []byte

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// a second signal ends the program at once, and the next run looks for what
	// was in flight
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
	flags.StringVar(&s.baseURL, "base-url", "", "with -brand: a host that serves the API under another `URL`")
	flags.StringVar(&s.folder, "folder", "",
		"with -brand: where progress and results are kept (default: the file's name and \".import\")")
	flags.StringVar(&s.mapping, "map", "",
		"where columns of other names go: 'First=firstName,Age=extra:age,Notes=-'; \"-\" leaves one out")
	flags.StringVar(&s.comma, "comma", ",", "what separates columns; \"tab\" is one")
	flags.BoolVar(&s.dryRun, "dry-run", false,
		"check every row, find those that share an email, phone or click id, and send nothing")
	flags.BoolVar(&s.ignoreUnknown, "ignore-unknown", false, "leave out columns that are not known")
	flags.BoolVar(&s.redirectURLs, "redirect-urls", false,
		"write redirect URLs to the results: secrets, since each logs its lead in at the brand")
	flags.Float64Var(&s.perSecond, "rate", 5, "requests per second at most, those that look for leads included")
	flags.IntVar(&s.concurrency, "concurrency", 4, "rows registered at once")
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
		return s, errors.New("more than one file, or a flag behind the file: flags come first")
	case s.brand == "" && (s.baseURL != "" || s.folder != ""):
		return s, errors.New("-base-url and -folder need -brand")
	case s.brand != "" && s.file == "":
		return s, errors.New("-brand needs a file: the sample is for rehearsals")
	case s.perSecond <= 0, s.concurrency < 1:
		return s, errors.New("-rate and -concurrency must be positive")
	}
	if s.comma == "tab" {
		s.comma = "\t"
	}
	if comma, size := utf8.DecodeRuneInString(s.comma); size != len(s.comma) || !separates(comma) {
		return s, errors.New("-comma must be one character, and neither a quote nor a line break")
	}
	if s.folder == "" {
		s.folder = s.file + ".import"
	}
	return s, nil
}

// run is the program. Options of the client are for tests.
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
		defer func() { _ = opened.Close() }() // it was only read
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

// rehearse registers the leads with a fake Clixnow and shows the results.
func rehearse(ctx context.Context, s settings, leads *sheet, found survey, out, errOut io.Writer,
	opts []clixnow.Option,
) (int, error) {
	fmt.Fprintln(errOut, "A rehearsal with a fake Clixnow on loopback. With -brand and CLIXNOW_TOKEN it is for real.")
	server := clixnowtest.NewServer()
	defer server.Close()
	server.Inject( // one create is carried out, and its answer lost: the lead is found again by search
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
		fmt.Fprintln(errOut, "Two rows of the sample are refused on purpose, to show it; hence the exit code 1.")
	}
	return code, errors.Join(err, failure, os.RemoveAll(folder))
}

// register runs the import and tells the exit code.
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
	kept, err := openLedger(s.folder, found.lastLine, s.redirectURLs, leads.fingerprint(found, s.brand, s.baseURL))
	if err != nil {
		return exitInput, err
	}
	defer func() { err = errors.Join(err, kept.close()) }()

	progress := newMeter(errOut, found.rows, kept.settled())
	i := &importer{client: client, leads: leads, ledger: kept, concurrency: s.concurrency, meter: progress}
	stopped := i.run(ctx)
	progress.close()
	fmt.Fprintln(errOut, kept.summary(found.rows))
	unfinished := found.rows - kept.settled()
	switch {
	case errors.Is(stopped, errAccess):
		return exitAccess, stopped
	case unfinished > 0 && stopped == nil:
		return exitUnfinished, errors.New("some rows are unfinished: run the same command again")
	case unfinished > 0:
		return exitUnfinished, stopped
	case kept.total[refused] > 0:
		return exitRefused, stopped
	}
	return exitDone, stopped
}
