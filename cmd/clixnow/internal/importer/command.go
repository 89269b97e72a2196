// Package importer is the command "clixnow import". It registers the leads of a
// file exactly once each, even if it is interrupted and run again, and writes
// the outcome of every row to a results file.
package importer

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/nyaruka/phonenumbers"
	"github.com/spf13/cobra"
	"golang.org/x/time/rate"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/importer/sheet"
)

//go:embed sample.csv
var sample []byte

const help = `Register the leads of a CSV or .xlsx file, each exactly once.

The file must have a header with the names of the API's fields. Upper and
lower case, spaces, "_" and "-" make no difference: "First Name" is firstName.
The columns are
%s.

Delimiter, byte order mark, UTF-8, UTF-16, Windows-1252 and line ends are
recognised. The first rows are shown before anything is sent. Outcomes are
written to FILE.import/results.csv, and rows to correct and import again to
FILE.import/refused.csv, with their passwords. After an interruption, run the
same command again. With --demo the leads go to a fake brand on this machine;
without FILE, the demo has a sample.

Exit codes:
  0  every row is registered (with --dry-run: every row can be sent)
  1  every row is finished, and some were refused (with --dry-run: some are
     invalid or repeated)
  2  the flags or the file are wrong; nothing was sent
  3  some rows are unfinished, for example because the brand is full; run the
     same command again later
  4  the API refused the token, or the host is wrong; fix that and run the
     same command again
  5  some leads may be registered or not; run the same command again: it
     searches for them first`

type settings struct {
	file, folder, sheet, delimiterName, defaultCountry string

	mapping   []string
	delimiter rune

	dryRun, yes, ignoreUnknown, fixCountries, redirectURLs, allowRepeats bool

	perSecond   float64
	concurrency int
}

// Command returns the command "import".
func Command(a *app.App) *cobra.Command { return command(a) }

// command passes opts to the client.
func command(a *app.App, opts ...clixnow.Option) *cobra.Command {
	var s settings
	var names []string
	for line := range slices.Chunk(columnNames(), 4) {
		names = append(names, "  "+strings.Join(line, ", "))
	}
	cmd := &cobra.Command{
		Use: "import FILE", Short: "Register the leads of a CSV or .xlsx file",
		Long: fmt.Sprintf(help, strings.Join(names, ",\n")),
		Example: `  clixnow import leads.csv --dry-run
  clixnow import leads.xlsx --brand acme --default-country CH
  clixnow import leads.csv --map 'Vorname=firstName,Alter=extra:age,Notiz=-'`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) > 1:
				return app.Usage("give one file, not %d", len(args))
			case len(args) == 0 && !a.Demo:
				return app.Usage("give the file to import, or try the sample with --demo")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			s.file = strings.Join(args, "")
			if err := s.check(); err != nil {
				return err
			}
			return s.run(cmd.Context(), a, cmd.Flags().Changed("rate"), opts)
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&s.mapping, "map", nil, "fields of columns with other names, as `COLUMN=FIELD,...`; "+
		"FIELD may be extra:NAME for a field that the brand asks for, or - to leave out")
	flags.BoolVar(&s.ignoreUnknown, "ignore-unknown", false, "leave out unknown columns")
	flags.StringVar(&s.defaultCountry, "default-country", "", "country of phones without a country code, as `CH`; "+
		"the country of the row comes first")
	flags.BoolVar(&s.fixCountries, "fix-countries", false, "replace names of countries and codes of three letters "+
		"by codes of two letters")
	flags.BoolVar(&s.allowRepeats, "allow-repeats", false, "send rows with the email, phone or click id of an earlier "+
		"row of the file; without it they are refused")
	flags.BoolVar(&s.dryRun, "dry-run", false, "check every row, find rows with the same email, phone or click id, "+
		"and send nothing")
	flags.BoolVarP(&s.yes, "yes", "y", false, "send without showing the first rows")
	flags.StringVar(&s.delimiterName, "delimiter", "", "`CHARACTER` that separates columns, or tab")
	flags.StringVar(&s.sheet, "sheet", "", "`NAME` of the sheet of a workbook")
	flags.StringVar(&s.folder, "folder", "", "`FOLDER` for progress and results (default FILE.import)")
	flags.BoolVar(&s.redirectURLs, "redirect-urls", false, "write redirect URLs to the results; they are secrets, "+
		"because each one logs its lead in")
	flags.Float64Var(&s.perSecond, "rate", 5, "largest `NUMBER` of requests per second")
	flags.IntVar(&s.concurrency, "concurrency", 4, "`NUMBER` of rows that are registered at once")
	return cmd
}

// check checks the flags, and fills what is not given.
func (s *settings) check() error {
	if s.delimiterName == "tab" {
		s.delimiterName = "\t"
	}
	var size int
	if s.delimiterName != "" {
		s.delimiter, size = utf8.DecodeRuneInString(s.delimiterName)
	}
	region := strings.ToUpper(s.defaultCountry)
	switch {
	case !(s.perSecond > 0), s.concurrency < 1:
		return app.Usage("--rate and --concurrency must be positive")
	case size != len(s.delimiterName), size > 0 && !sheet.ValidDelimiter(s.delimiter):
		return app.Usage("--delimiter must be one character, but not a quote or a line break")
	case region != "" && !phonenumbers.GetSupportedRegions()[region]:
		return app.Usage("--default-country must be a code of two letters, such as CH")
	}
	if s.folder == "" {
		s.folder = s.file + ".import"
	}
	return nil
}

func (s *settings) run(ctx context.Context, a *app.App, hasRate bool, opts []clixnow.Option) (err error) {
	if a.Demo {
		temporary, err := os.MkdirTemp("", "clixnow-import")
		if err != nil {
			return fmt.Errorf("make a folder for the demo: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(temporary)) }()
		s.folder = temporary
		if s.file == "" {
			s.file = filepath.Join(temporary, "sample.csv")
			if err := os.WriteFile(s.file, sample, 0o600); err != nil {
				return fmt.Errorf("write the sample: %w", err)
			}
			defer fmt.Fprintln(a.Err, "The sample has two rows that are refused on purpose.")
		}
	}
	rows, err := openLeads(*s)
	if err != nil {
		return app.WithCode(app.CodeUsage, err)
	}
	defer func() { _ = rows.file.Close() }()
	if s.dryRun {
		return dryRun(rows, a.Out)
	}
	found, err := rows.survey(nil)
	if err != nil {
		return app.WithCode(app.CodeUsage, err)
	}
	return s.register(ctx, a, rows, found, hasRate, opts)
}

// register runs the import.
func (s *settings) register(ctx context.Context, a *app.App, rows *leads, found survey, hasRate bool,
	opts []clixnow.Option,
) (err error) {
	brand, err := a.Settings()
	if err != nil {
		return err
	}
	if hasRate || brand.Rate == 0 {
		opts = append([]clixnow.Option{clixnow.WithRateLimiter(rate.NewLimiter(rate.Limit(s.perSecond), 1))}, opts...)
	}
	client, err := a.Client(ctx, opts...)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	if a.Demo {
		fmt.Fprintln(a.Err, "This is a demo: the leads go to a fake brand on this machine.")
		// The server creates the lead of the eighth POST, but its response is
		// lost. The importer then finds the lead by search.
		a.DemoServer().Inject(clixnowtest.Fault{Method: "POST", Times: 7},
			clixnowtest.Fault{Method: "POST", Drop: clixnowtest.DropAfterHandling})
	} else if err := s.confirm(a, rows, found, brand); err != nil {
		return err
	}
	l, err := openLedger(s.folder, rows.owner(brand.Brand, brand.BaseURL))
	if err != nil {
		return app.WithCode(app.CodeUsage, err)
	}
	defer func() { err = errors.Join(err, l.db.Close()) }()

	n, _, err := l.count()
	if err != nil {
		return err
	}
	i := &importer{
		client: client, leads: rows, ledger: l, concurrency: s.concurrency, redirectURLs: s.redirectURLs,
		found: found, meter: newMeter(a.Err, found.rows, countFinished(n)),
	}
	runErr := i.run(ctx)
	i.meter.close()
	n, _, err = l.count()
	fmt.Fprintln(a.Err, summary(found.rows, n))
	if rows.file.HasGrown() {
		fmt.Fprintln(a.Err, "The file has grown meanwhile. Put the new rows into a file of their own to import them.")
	}
	refusedPath, resultsErr := l.writeResults(rows, s.redirectURLs)
	if runErr == nil {
		runErr = errors.Join(err, resultsErr)
	}
	s.printResults(a, refusedPath, n)
	return exitError(runErr, found.rows, n)
}

// exitError returns the error of an import with its exit code.
func exitError(err error, rows int, n map[outcome]int) error {
	switch {
	case app.Code(err) == app.CodeAccess:
		return err
	case n[unknown] > 0:
		return app.WithCode(app.CodeDoubt, errors.Join(err, errors.New("some leads may be registered or not: "+
			"run the same command again, and it searches for them")))
	case err != nil:
		return app.WithCode(app.CodeLater, err)
	case rows > countFinished(n):
		return app.WithCode(app.CodeLater, errors.New("some rows are unfinished: run the same command again"))
	case n[refused] > 0:
		return app.WithCode(app.CodeRefused,
			fmt.Errorf("could not register %s: the results say why", count(n[refused])))
	}
	return nil
}

// printResults says where the results are. The folder of the demo is removed,
// so it prints the results.
func (s *settings) printResults(a *app.App, refusedPath string, n map[outcome]int) {
	path := filepath.Join(s.folder, resultsName)
	if a.Demo {
		results, _ := os.ReadFile(path) //nolint:gosec // the demo's own folder
		fmt.Fprintf(a.Out, "%s", results)
		return
	}
	fmt.Fprintln(a.Out, "Results:", path)
	if n[refused] == 0 {
		return
	}
	fmt.Fprintln(a.Out, "Refused rows, with their passwords:", refusedPath)
	if filepath.Base(refusedPath) != refusedName {
		fmt.Fprintf(a.Out, "It has all refused rows. %s was changed, so it was not overwritten.\n", refusedName)
	}
	fmt.Fprintf(a.Out,
		"Correct them there, and import them with the same --map and other flags:\n  clixnow import %s\n",
		shellQuoted(refusedPath))
}

// confirm shows the first rows, and asks whether to send the leads.
func (s *settings) confirm(a *app.App, rows *leads, found survey, brand app.Settings) error {
	if s.yes {
		return nil
	}
	fmt.Fprintf(a.Err, "Brand %q at %s\n", brand.Brand, brand.Address())
	preview(a.Err, rows, found)
	if !a.Interactive() {
		return app.Usage("nothing was sent: give --yes to send the leads to brand %q", brand.Brand)
	}
	fmt.Fprintf(a.Err, "Send %d leads to brand %q? [y/N] ", found.rows-found.invalid, brand.Brand)
	answer, _ := bufio.NewReader(a.In).ReadString('\n')
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return app.Usage("nothing was sent")
	}
	return nil
}
