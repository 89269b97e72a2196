// Command report reads the leads of a period and draws their funnel, from
// sign-up to first deposit (FTD), by day and by sub-campaign: as tables in the
// terminal, and as one HTML page that needs nothing beside itself.
//
//	go run . -from 2026-10-01 -to 2026-10-31 -zone Europe/Zurich -o october.html
//
// By itself it reports on made-up leads of a fake Clixnow that it starts on
// loopback. With -brand, and the token in the environment variable
// CLIXNOW_TOKEN, it reports on yours.
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
	_ "time/tzdata" // the zones, for machines that have none

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
	client, closeClient, err := connect(opts.brand, now) //nolint:contextcheck // the fake lives until it is closed
	if err != nil {
		return err
	}
	defer closeClient()
	return write(ctx, client, opts, out, messages, now)
}

// write reads everything first: a report of half the leads would be believed.
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
	fmt.Fprintf(messages, "\nThe same with charts is in %s\n", file)
	return nil
}

// advice says what to do about a search that failed.
func advice(err error) string {
	switch {
	case errors.Is(err, context.Canceled):
		return "It was interrupted."
	case errors.Is(err, clixnow.ErrUnstableResults):
		return "Leads moved faster than they could be read: run it again."
	case errors.Is(err, clixnow.ErrUnauthorized), errors.Is(err, clixnow.ErrForbidden):
		return "Check that CLIXNOW_TOKEN is the token of this brand."
	case errors.Is(err, clixnow.ErrRedirect), errors.Is(err, clixnow.ErrNotSent):
		return "Check the brand and the connection."
	default:
		return "Run it again in a while."
	}
}

func parse(args []string, messages io.Writer, now time.Time) (options, error) {
	flags := flag.NewFlagSet("report", flag.ContinueOnError)
	brand := flags.String("brand", "",
		"`name` of the brand, whose token is in CLIXNOW_TOKEN (default a fake with made-up leads)")
	from := flags.String("from", "", "first `day`, such as 2026-10-01 (default 29 days before the last)")
	to := flags.String("to", "", "last `day`, which belongs to the period (default today)")
	zoneName := flags.String("zone", "UTC", "`name` of the time zone that days are told by, such as Europe/Zurich")
	top := flags.Int("top", 10, "how many sub-campaigns to show by name, those with the most leads")
	file := flags.String("o", "report.html", "`file` for the page, which only you may read; - for none")
	flags.SetOutput(io.Discard) // main prints the error
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(messages, "report draws the funnel of a period's leads, as tables and as an HTML page.\n\n")
		flags.SetOutput(messages)
		flags.PrintDefaults()
		return options{}, err
	} else if err != nil {
		return options{}, fmt.Errorf("%w; -h lists the flags", err)
	}
	if flags.NArg() > 0 || *top < 1 || *file == "" {
		return options{}, errors.New("-top takes a number from 1, -o a file, and all else needs a flag; -h lists them")
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
		return options{}, errors.New("-from and -to: a period is one day to two years long")
	}
	return options{brand: *brand, period: period{first: first, days: days, zone: zone}, top: *top, file: *file}, nil
}

func parseDay(text string, otherwise time.Time) (time.Time, error) {
	if text == "" {
		return otherwise, nil
	}
	day, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is no day; write it as 2026-10-01", text)
	}
	return day, nil
}

// connect returns a client of the brand, or of a fake Clixnow where there is
// none, and what closes it.
func connect(brand string, now time.Time) (*clixnow.Client, func(), error) {
	if brand == "" {
		server := clixnowtest.NewServer()
		server.AddLeads(madeUpLeads(now)...)
		client := server.Client()
		return client, func() { client.CloseIdleConnections(); server.Close() }, nil
	}
	token := os.Getenv("CLIXNOW_TOKEN")
	if token == "" {
		return nil, nil, errors.New("-brand needs the brand's token in the environment variable CLIXNOW_TOKEN")
	}
	client, err := clixnow.NewClient(brand, token, clixnow.WithUserAgent("clixnow-report/1"))
	if err != nil {
		return nil, nil, fmt.Errorf("make a client: %w", err)
	}
	return client, client.CloseIdleConnections, nil
}

// width returns how many columns the terminal has.
func width(out io.Writer) int {
	if file, ok := out.(*os.File); ok {
		if columns, _, err := term.GetSize(int(file.Fd())); err == nil && columns > 0 {
			return columns
		}
	}
	return 80
}

// replaceFile writes a file as a whole or not at all.
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

// madeUpLeads are those of the two months before now; but for the dates they
// are the same each time.
func madeUpLeads(now time.Time) []clixnow.Lead {
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
	random := rand.New(rand.NewPCG(7, 11)) //nolint:gosec // not for secrets
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
