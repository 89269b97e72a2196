// Command report reads the leads of a period and shows their funnel, from
// sign-up to first deposit (FTD), by day and by sub-campaign. It prints tables
// in the terminal and writes an HTML page that needs no other files:
//
//	go run ./report -from 2026-10-01 -to 2026-10-31 -zone Europe/Zurich
//
// By default it reads sample leads from a fake Clixnow on loopback. With -brand
// and the environment variable CLIXNOW_TOKEN it reads the leads of a brand.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
	_ "time/tzdata" // for machines without time zones

	"golang.org/x/term"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr, time.Now())
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

type options struct {
	brand  string
	period period
	top    int
	file   string
}

func run(ctx context.Context, args []string, out, messages io.Writer, now time.Time) error {
	opts, err := parse(args, messages, now)
	if err != nil {
		return err
	}
	client, closeClient, err := connect(opts.brand, now)
	if err != nil {
		return err
	}
	defer closeClient()
	return write(ctx, client, opts, out, messages, now)
}

// write reads all leads and then prints the report. If reading fails, it prints
// nothing, because a report with a part of the leads would look complete.
func write(ctx context.Context, client *clixnow.Client, opts options, out, messages io.Writer, now time.Time) error {
	fmt.Fprintln(messages, "Reading leads ...")
	funnel, err := readFunnel(ctx, client, opts.period)
	if err != nil {
		return fmt.Errorf("%w\nNothing was written. %s", err, advice(err))
	}
	report := newReport(funnel, opts.top, now)
	report.printTables(out, width(out))
	if opts.file == "-" {
		return nil
	}
	page, err := report.page()
	if err != nil {
		return fmt.Errorf("draw the page: %w", err)
	}
	if err := replaceFile(opts.file, page); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	file, err := filepath.Abs(opts.file)
	if err != nil {
		file = opts.file
	}
	fmt.Fprintf(messages, "\nThe page with charts is %s\n", file)
	return nil
}

// advice says what to do about a search that failed.
func advice(err error) string {
	switch {
	case errors.Is(err, context.Canceled):
		return "It was interrupted."
	case errors.Is(err, clixnow.ErrUnstableResults):
		return "Leads changed faster than they could be read: run it again."
	case errors.Is(err, clixnow.ErrUnauthorized), errors.Is(err, clixnow.ErrForbidden):
		return "Check that CLIXNOW_TOKEN is the token of this brand."
	case errors.Is(err, clixnow.ErrRedirect), errors.Is(err, clixnow.ErrNotSent):
		return "Check the brand and the connection."
	default:
		return "Run it again later."
	}
}

func parse(args []string, messages io.Writer, now time.Time) (options, error) {
	flags := flag.NewFlagSet("report", flag.ContinueOnError)
	brand := flags.String("brand", "",
		"the `name` of the brand, whose token is in CLIXNOW_TOKEN (default a fake Clixnow with sample leads)")
	from := flags.String("from", "", "the first `day`, such as 2026-10-01 (default 29 days before the last day)")
	to := flags.String("to", "", "the last `day`, included (default today)")
	zoneName := flags.String("zone", "UTC", "the `name` of the time zone of the days, such as Europe/Zurich")
	top := flags.Int("top", 10, "the number of sub-campaigns to show by name: those with the most leads")
	file := flags.String("o", "report.html", "the `file` of the page, readable only by you; - means no page")
	flags.SetOutput(io.Discard) // main prints the error
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(messages, "report shows the funnel of the leads of a period, as tables and as an HTML page.\n\n")
		flags.SetOutput(messages)
		flags.PrintDefaults()
		return options{}, err
	} else if err != nil {
		return options{}, fmt.Errorf("%w; -h lists the flags", err)
	}
	switch {
	case flags.NArg() > 0:
		return options{}, fmt.Errorf("unexpected argument %q; -h lists the flags", flags.Arg(0))
	case *top < 1:
		return options{}, errors.New("-top must be at least 1")
	case *file == "":
		return options{}, errors.New("-o must be a file, or - for no page")
	}
	zone, err := time.LoadLocation(*zoneName)
	if err != nil {
		return options{}, fmt.Errorf("-zone: %w; give a name such as Europe/Zurich", err)
	}
	last, err := parseDay(*to, date(now, zone))
	if err != nil {
		return options{}, fmt.Errorf("-to: %w", err)
	}
	first, err := parseDay(*from, last.AddDate(0, 0, -29))
	if err != nil {
		return options{}, fmt.Errorf("-from: %w", err)
	}
	days := int(last.Sub(first).Hours())/24 + 1
	if days < 1 || days > 2*366 {
		return options{}, errors.New("-from and -to: the period must be one day to two years long")
	}
	return options{brand: *brand, period: period{first: first, days: days, zone: zone}, top: *top, file: *file}, nil
}

func parseDay(text string, fallback time.Time) (time.Time, error) {
	if text == "" {
		return fallback, nil
	}
	day, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is not a day; write it as 2026-10-01", text)
	}
	return day, nil
}

// connect returns a client of the brand and a function that closes it. If brand
// is "", it starts a fake Clixnow.
func connect(brand string, now time.Time) (*clixnow.Client, func(), error) {
	if brand == "" {
		server := clixnowtest.NewServer()
		server.AddLeads(sampleLeads(now)...)
		client := server.Client()
		return client, func() { client.CloseIdleConnections(); server.Close() }, nil
	}
	token := os.Getenv("CLIXNOW_TOKEN")
	if token == "" {
		return nil, nil, errors.New("-brand needs the brand's token in the environment variable CLIXNOW_TOKEN")
	}
	client, err := clixnow.NewClient(brand, token, clixnow.WithUserAgent("clixnow-report/1"))
	if err != nil {
		return nil, nil, fmt.Errorf("create a client: %w", err)
	}
	return client, client.CloseIdleConnections, nil
}

// width returns the number of columns of the terminal. It returns 80 if out is
// not a terminal.
func width(out io.Writer) int {
	if file, ok := out.(*os.File); ok {
		if columns, _, err := term.GetSize(int(file.Fd())); err == nil && columns > 0 {
			return columns
		}
	}
	return 80
}

// replaceFile writes a file. If it fails, it leaves the old file unchanged.
func replaceFile(name string, content []byte) error {
	file, err := os.CreateTemp(filepath.Dir(name), ".report-*")
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}

// sampleLeads returns leads of the two months before now. Except for the dates,
// they are the same each time.
func sampleLeads(now time.Time) []clixnow.Lead {
	traffic := []struct {
		subCampaign        string
		perDay, conversion float64
	}{
		{"search-brand", 14, .13},
		{"autumn-sale", 12, .08},
		{"video-prospecting", 9, .03},
		{"native-quiz", 7, .02},
		{"retargeting", 6, .11},
		{"newsletter", 5, .09},
		{"push-tier-2", 5, .01},
		{"", 4, .05},
		{"influencer-müller", 3, .12},
		{"webinar", 1.5, .2},
		{"podcast", 1, .07},
		{"qr-flyer", .7, .05},
		{"partner-exchange", .5, .1},
	}
	statuses := []string{
		"No Answer", "No Answer", "No Answer", "Not Interested", "Not Interested", "Call Back",
		"Call Back", "New", "Wrong Number",
	}
	random := rand.New(rand.NewPCG(7, 11)) //nolint:gosec // sample data
	var leads []clixnow.Lead
	for midnight := date(now, time.UTC).AddDate(0, 0, -60); midnight.Before(now); midnight = midnight.AddDate(0, 0, 1) {
		volume := .7 + .6*random.Float64()
		if day := midnight.Weekday(); day == time.Saturday || day == time.Sunday {
			volume *= .55
		}
		for _, source := range traffic {
			for range int(volume*source.perDay + random.Float64()) {
				lead := clixnow.Lead{
					ID: int64(100_001 + len(leads)), Email: fmt.Sprintf("lead%d@example.com", len(leads)),
					SubCampaign: source.subCampaign,
					Status:      statuses[random.IntN(len(statuses))],
					CreatedOn:   midnight.Add(time.Duration(random.Float64() * 24 * float64(time.Hour))),
				}
				deposit := lead.CreatedOn.Add(time.Duration(random.ExpFloat64() * 80 * float64(time.Hour)))
				if random.Float64() < source.conversion && deposit.Before(now) {
					lead.Status, lead.FTDDate = "Deposited", deposit
				}
				if lead.CreatedOn.Before(now) {
					leads = append(leads, lead)
				}
			}
		}
	}
	return leads
}
