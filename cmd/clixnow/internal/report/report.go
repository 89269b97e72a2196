// Package report is the command "clixnow report". It shows the funnel of the
// leads of a period, from sign-up to first deposit (FTD), as tables, as data,
// and as an HTML page that needs no other files.
package report

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"time"
	_ "time/tzdata" // for machines without time zones

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
	"github.com/clixnow/clixnow-go/store/mirror"
)

// options are the flags of the command.
type options struct {
	from, to, zone   string
	top              int
	format, page, db string
	// hasPage reports that --page was given.
	hasPage bool

	period period
}

// Command returns the command "report".
func Command(a *app.App) *cobra.Command { return command(a, time.Now) }

// command passes opts to the clients.
func command(a *app.App, now func() time.Time, opts ...clixnow.Option) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use: "report", Short: "Show how the leads of a period convert", Args: app.Args(),
		Long: `Show how many leads signed up in a period, and how many of them made a first
deposit (FTD): in total, by brand, sub-campaign, status and day. All is
compared with the period of the same length before.

The report is about all configured brands, or the one of --brand. Without a
configuration, --db reads all brands of the database. The report is printed
when all leads have been read. If that fails, nothing is written.
Deposits that were withdrawn are not counted.`,
		Example: `  clixnow report --demo --page report.html
  clixnow report --from 2026-10-01 --to 2026-10-31 --zone Europe/Zurich
  clixnow report --db mirror.db --brand acme -o csv >october.csv`,
	}
	flags := cmd.Flags()
	flags.StringVar(&o.from, "from", "", "the first `DAY`, as 2026-10-01 (default 29 days before the last day)")
	flags.StringVar(&o.to, "to", "", "the last `DAY`, included, not after today (default today)")
	flags.StringVar(&o.zone, "zone", "UTC", "the time `ZONE` of the days, as Europe/Zurich")
	flags.IntVar(&o.top, "top", 10, "show the `N` sub-campaigns with the most leads by name; data has all")
	flags.StringVar(&o.page, "page", "", "write a page with charts to this `FILE`, readable only by you")
	flags.StringVar(&o.db, "db", "", "read from the `DATABASE` of \"clixnow sync\", a file or postgres://...")
	format := app.FormatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		o.format, o.hasPage = *format, flags.Changed("page")
		if a.Demo && o.db != "" {
			return app.Usage("--demo makes up its leads: leave out --db, or leave out --demo")
		}
		now := now()
		if err := o.check(now); err != nil {
			return err
		}
		from, err := o.open(cmd.Context(), a, now, opts)
		if err != nil {
			return err
		}
		defer from.close()
		return o.write(cmd.Context(), a, from)
	}
	return cmd
}

// check checks the flags, so that a mistake is found before anything is read.
func (o *options) check(now time.Time) error {
	zone, err := time.LoadLocation(o.zone)
	if err != nil || o.zone == "" {
		return app.Usage("--zone: unknown time zone %q; give a name such as Europe/Zurich", o.zone)
	}
	today := date(now, zone)
	last, err := parseDay(o.to, today)
	if err != nil {
		return app.Usage("--to: %w", err)
	}
	first, err := parseDay(o.from, last.AddDate(0, 0, -29))
	if err != nil {
		return app.Usage("--from: %w", err)
	}
	o.period = period{first: first, days: int(last.Sub(first).Hours())/24 + 1, zone: zone}
	switch {
	case last.After(today), first.After(today):
		return app.Usage("--from and --to: the period must not end in the future; today is %s in %s",
			today.Format(time.DateOnly), zone)
	case o.period.days < 1 || o.period.days > 2*366:
		return app.Usage("--from and --to: the period must be one day to two years long")
	case o.top < 1:
		return app.Usage("--top must be at least 1")
	case !o.hasPage:
		return nil
	}
	return checkWritable(o.page)
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

// checkWritable checks that the page can be written.
func checkWritable(file string) error {
	if info, err := os.Stat(file); file == "" || file == "-" || err == nil && !info.Mode().IsRegular() {
		return app.Usage("--page: %q is not a file", file)
	}
	test, err := os.CreateTemp(filepath.Dir(file), ".report-*")
	if err != nil {
		return app.Usage("--page: %s cannot be written: %w", file, app.Cause(err))
	}
	return errors.Join(test.Close(), os.Remove(test.Name()))
}

// data is where the leads come from.
type data struct {
	brands []string
	leads  source
	// asOf is the time of the data. It is that of the brand with the oldest
	// news.
	asOf time.Time
	// old has the brands whose news are older than two hours.
	old   []mirror.Position
	close func()
}

func (o *options) open(ctx context.Context, a *app.App, now time.Time, opts []clixnow.Option) (data, error) {
	if o.db != "" {
		brands, err := a.Brands()
		if err != nil {
			return data{}, err
		}
		return fromMirror(ctx, a, o.db, brands, now)
	}
	if a.Demo {
		clients, closeServers := demo(now)
		return fromClients(clients, now, closeServers), nil
	}
	clients, err := a.Clients(ctx, opts...)
	if err != nil {
		return data{}, err
	}
	return fromClients(clients, now, func() {}), nil
}

// prefetch is the number of pages that are requested ahead.
const prefetch = 4

// fromClients reads leads from the API. closeServers is called last.
func fromClients(clients []*clixnow.Client, now time.Time, closeServers func()) data {
	d := data{asOf: now, close: func() {
		for _, client := range clients {
			client.CloseIdleConnections()
		}
		closeServers()
	}}
	for _, client := range clients {
		d.brands = append(d.brands, client.Brand())
	}
	d.leads = func(ctx context.Context, request clixnow.SearchLeadsRequest) iter.Seq2[entry, error] {
		return func(yield func(entry, error) bool) {
			request.Prefetch = prefetch
			for _, client := range clients {
				for lead, err := range client.SearchLeads(ctx, request) {
					if !yield(entry{client.Brand(), lead}, err) || err != nil {
						return
					}
				}
			}
		}
	}
	return d
}

// write reads all leads and then writes the report. If reading fails, it writes
// nothing, because a report with a part of the leads would look complete.
func (o *options) write(ctx context.Context, a *app.App, from data) error {
	f := newFunnel(o.period, from.asOf, from.brands...)
	f.old = from.old
	progress := a.Progress("leads read")
	err := f.read(ctx, from.leads, func() { _ = progress.Add(1) })
	_ = progress.Finish()
	if err != nil {
		return fmt.Errorf("%w; nothing was written", err)
	}
	r := newReport(f, o.top)
	if o.hasPage {
		page, err := r.page()
		if err != nil {
			return fmt.Errorf("draw the page: %w", err)
		}
		if err := app.WriteFile(o.page, page); err != nil {
			return app.Usage("--page: %w", err)
		}
	}
	if o.format != "table" {
		err = r.printData(a, o.format)
	} else {
		var out bytes.Buffer
		r.printTables(&out, width(a.Out))
		_, err = a.Out.Write(out.Bytes())
	}
	if err == nil && o.hasPage {
		file, _ := filepath.Abs(o.page)
		fmt.Fprintf(a.Err, "the page is %s\n", file)
	}
	return err
}

// width returns the number of columns of the terminal. It returns 80 if out is
// not a terminal.
func width(out any) int {
	if file, ok := out.(*os.File); ok {
		if columns, _, err := term.GetSize(int(file.Fd())); err == nil && columns > 0 {
			return columns
		}
	}
	return 80
}
