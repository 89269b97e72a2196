// Package reconcile is the command "clixnow reconcile". It compares our
// registrations with the leads that a brand shows.
package reconcile

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	_ "time/tzdata" // for machines without time zones

	"github.com/spf13/cobra"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
)

//go:embed demo.csv
var demo []byte

const help = `Compare registrations of ours with the leads that the brand shows, for
example before an invoice. Each difference is a finding.

Each FILE is a CSV or .xlsx file: results.csv of "clixnow import", or any file
with a column of lead ids or click ids (leadId, lead_id, clickId, click_id ...).
Columns of email, registered, deposit (a date, yes or no) and brand are compared
too. --db adds sign-ups of "clixnow serve". Formats are recognised as "clixnow
import" does it.

The table counts the findings. -o csv prints them for the account manager, and
the table on standard error. Nothing is written anywhere else. A field that the
brand hides or masks is never a difference. docs/reconcile.md explains each
kind of finding.

It also tests whether a first deposit moves updatedOn, which "clixnow sync"
needs. For that it reads what was changed since --from.

Exit codes:
  0  all registrations are there, and nothing differs
  1  a registration is missing there, or something differs
  2  the flags, a file or the database are wrong
  3  the brand could not be read; try again later
  4  the API refused the token, or the host is wrong
  5  nothing is missing, but something could not be told
unknown_here, in_doubt, unmoved_deposit and too_young leave the code at 0.`

// prefetch is the number of pages that are requested ahead.
const prefetch = 4

type settings struct {
	from, to, zone, db string

	mapping []string
	lag     time.Duration
	emails  bool
}

// Command returns the command "reconcile".
func Command(a *app.App) *cobra.Command {
	var s settings
	cmd := &cobra.Command{
		Use: "reconcile --from DAY [--to DAY] [FILE...]", DisableFlagsInUseLine: true,
		Short: "Compare registrations of ours with the brand's leads", Long: help,
		Example: `  clixnow reconcile --demo
  clixnow reconcile --from 2026-10-01 leads.csv.import/results.csv
  clixnow reconcile --from 2026-10-01 --to 2026-10-31 --db signups.db -o csv
  clixnow reconcile --from 2026-10-01 crm.xlsx --map 'Broker ID=leadId'`,
	}
	flags := cmd.Flags()
	flags.StringVar(&s.from, "from", "", "the first `DAY`, such as 2026-10-01")
	flags.StringVar(&s.to, "to", "", "the last `DAY`, included (default today)")
	flags.StringVar(&s.zone, "zone", "UTC", "the `ZONE` of days, and of times without one, such as Europe/Zurich")
	flags.DurationVar(&s.lag, "lag", time.Hour, "what is younger than this `DURATION` counts as too young to tell")
	flags.StringSliceVar(&s.mapping, "map", nil, "meanings of columns with other names, as `COLUMN=MEANING,...`; "+
		"MEANING is leadId, clickId, email, registered, deposit, brand, or - to leave out")
	flags.StringVar(&s.db, "db", "", "the SQLite `FILE` or postgres:// URL of \"clixnow serve\"")
	flags.BoolVar(&s.emails, "emails", false, "print emails too; without it they are compared and not printed")
	format := app.FormatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, files []string) error {
		now := time.Now()
		c, err := s.period(now, a.Demo)
		switch {
		case err != nil:
			return err
		case len(files) == 0 && s.db == "" && !a.Demo:
			return app.Usage("give a FILE with registrations, or --db, or try --demo")
		}
		return s.run(cmd.Context(), a, c, *format, files)
	}
	return cmd
}

// period returns a comparison of the period of the flags.
func (s *settings) period(now time.Time, isDemo bool) (*comparison, error) {
	zone, err := time.LoadLocation(s.zone)
	if err != nil {
		return nil, app.Usage("--zone: %w; write a name such as Europe/Zurich", err)
	}
	from, to := s.from, cmp.Or(s.to, now.In(zone).Format(time.DateOnly))
	if isDemo && from == "" {
		from = now.In(zone).AddDate(0, 0, -7).Format(time.DateOnly)
	}
	first, err := time.ParseInLocation(time.DateOnly, from, zone)
	last, errTo := time.ParseInLocation(time.DateOnly, to, zone)
	switch {
	case from == "":
		return nil, app.Usage("give the period, such as --from 2026-10-01 --to 2026-10-31")
	case err != nil:
		return nil, app.Usage("--from: %q is not a day; write it as 2026-10-01", from)
	case errTo != nil:
		return nil, app.Usage("--to: %q is not a day; write it as 2026-10-31", to)
	case first.After(now):
		return nil, app.Usage("--from: %s is in the future", from)
	case last.Before(first):
		return nil, app.Usage("--to must not be before --from")
	case s.lag < 0:
		return nil, app.Usage("--lag must not be negative")
	}
	return &comparison{from: first, end: last.AddDate(0, 0, 1), now: now, lag: s.lag}, nil
}

func (s *settings) run(ctx context.Context, a *app.App, c *comparison, format string, files []string) error {
	brand, err := a.Settings()
	if err != nil {
		return err
	}
	c.ours = newOurs(brand.Brand)
	if a.Demo && len(files) == 0 && s.db == "" {
		fmt.Fprintln(a.Err, "This is a demo: made-up registrations are compared with a fake brand on this\n"+
			"machine. Some differ on purpose.")
		folder, err := os.MkdirTemp("", "clixnow-reconcile")
		if err != nil {
			return fmt.Errorf("make a folder for the demo: %w", err)
		}
		defer func() { _ = os.RemoveAll(folder) }()
		path := filepath.Join(folder, "demo.csv")
		if err := os.WriteFile(path, demo, 0o600); err != nil {
			return fmt.Errorf("write the demo: %w", err)
		}
		if err := c.ours.readFile(path, "demo.csv", s.mapping, c.from.Location()); err != nil {
			return err
		}
	}
	if err := s.readOurs(ctx, c, files); err != nil {
		return err
	}
	client, err := a.Client(ctx)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	progress := a.Progress("leads read")
	err = c.run(ctx, client, func() { _ = progress.Add(1) })
	_ = progress.Finish()
	if err != nil {
		return err
	}
	if err := s.print(a, c, format); err != nil {
		return err
	}
	return c.verdict()
}

func (s *settings) readOurs(ctx context.Context, c *comparison, files []string) error {
	for _, file := range files {
		if err := c.ours.readFile(file, file, s.mapping, c.from.Location()); err != nil {
			return err
		}
	}
	if s.db != "" {
		from, to := c.bounds()
		if err := c.ours.readOutbox(ctx, s.db, from, to); err != nil {
			return err
		}
	}
	if len(c.ours.all) == 0 {
		return app.Usage("there is no registration to compare (%s)", cmp.Or(c.ours.leftOut(0), "no rows"))
	}
	return nil
}

// bounds returns the bounds of searches. They lie a day outside of the period,
// because it is not known how exactly the API compares them.
func (c *comparison) bounds() (from, to time.Time) {
	return c.from.AddDate(0, 0, -1), c.end.AddDate(0, 0, 1)
}

// compact returns what is kept of a lead, without the memory that it shares.
func compact(lead *clixnow.Lead) *clixnow.Lead {
	return &clixnow.Lead{
		ID: lead.ID, Email: strings.Clone(lead.Email), ClickID: strings.Clone(lead.ClickID),
		Status: strings.Clone(lead.Status), CreatedOn: lead.CreatedOn, UpdatedOn: lead.UpdatedOn, FTDDate: lead.FTDDate,
	}
}

// run reads the brand and makes the findings. It calls count for each lead.
func (c *comparison) run(ctx context.Context, client *clixnow.Client, count func()) error {
	if err := c.readDeposits(ctx, client, count); err != nil {
		return err
	}
	from, to := c.bounds()
	req := clixnow.SearchLeadsRequest{CreatedOnFrom: from, CreatedOnTo: to, Prefetch: prefetch}
	for lead, err := range client.SearchLeads(ctx, req) {
		if err != nil {
			return err
		}
		count()
		c.there.add(lead.ClickID)
		switch {
		case lead.CreatedOn.IsZero():
			c.hidden++
		case c.has(lead.CreatedOn):
			c.leads++
		}
		if !c.add(&lead) {
			c.unmatched = append(c.unmatched, *compact(&lead))
		}
	}
	if err := c.finish(ctx, client); err != nil {
		return err
	}
	if err := c.testDeposits(ctx, client, count); err != nil {
		return err
	}
	order := make(map[kind]int)
	for i, k := range kinds() {
		order[k.kind] = i
	}
	slices.SortStableFunc(c.findings, func(a, b finding) int {
		return cmp.Or(cmp.Compare(order[a.Kind], order[b.Kind]), cmp.Compare(a.LeadID, b.LeadID),
			cmp.Compare(len(a.Source), len(b.Source)), strings.Compare(a.Source, b.Source))
	})
	return nil
}

// kindInfo says what a kind of finding means, and which exit code it has.
type kindInfo struct {
	kind    kind
	meaning string
	code    int
}

// kinds returns the kinds of findings in the order of the table.
func kinds() []kindInfo {
	return []kindInfo{
		{missingThere, "registered here, and not shown there", app.CodeRefused},
		{clickIDDiffers, "the click id there is changed or another one", app.CodeRefused},
		{emailDiffers, "the email there is another one", app.CodeRefused},
		{depositOnlyHere, "a first deposit here, and none there", app.CodeRefused},
		{depositWithdrawn, "a first deposit here, and withdrawn there", app.CodeRefused},
		{depositOnlyThere, "a first deposit there, and none here", app.CodeRefused},
		{depositDate, "the first deposits lie more than a day apart", app.CodeRefused},
		{otherBrand, "shown there, and here it is of another brand", app.CodeRefused},
		{unknownHere, "shown there, and not registered here", app.CodeDone},
		{inDoubt, "our side did not know whether it arrived", app.CodeDone},
		{unmovedDeposit, "a first deposit did not move updatedOn", app.CodeDone},
		{tooYoung, "younger than --lag: compare again later", app.CodeDone},
		{cannotTell, "hidden there, or not looked up", app.CodeDoubt},
	}
}

// counts counts the findings by their kinds.
func (c *comparison) counts() map[kind]int {
	counts := make(map[kind]int)
	for i := range c.findings {
		counts[c.findings[i].Kind]++
	}
	return counts
}

// verdict returns nil, or an error whose code is that of the command.
func (c *comparison) verdict() error {
	codes, counts := make(map[int]int), c.counts()
	for _, k := range kinds() {
		codes[k.code] += counts[k.kind]
	}
	switch different, hidden := codes[app.CodeRefused], codes[app.CodeDoubt]; {
	case different > 0:
		return app.WithCode(app.CodeRefused, fmt.Errorf("%s: something is missing there, or differs",
			count(different, "finding")))
	case hidden > 0:
		return app.WithCode(app.CodeDoubt, fmt.Errorf("%s: it cannot be told whether all is there",
			count(hidden, "finding")))
	}
	return nil
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// print prints the findings, and the table of their counts.
func (s *settings) print(a *app.App, c *comparison, format string) error {
	if format == "table" {
		c.table(a.Out)
		if len(c.findings) > 0 {
			fmt.Fprintln(a.Err, "Add -o csv for the findings.")
		}
		return nil
	}
	c.table(a.Err)
	fields := []string{
		"kind", "source", "leadId", "clickId", "clickIdThere", "registered", "createdOn", "deposit", "ftdDate",
		"updatedOn", "status", "detail",
	}
	if s.emails {
		fields = append(fields, "email", "emailThere")
	}
	printer := app.Printer[finding]{Format: format, Fields: fields}.Open(a)
	for _, f := range c.findings {
		if !s.emails {
			f.Email, f.EmailThere = "", ""
		}
		if err := printer.Print(f); err != nil {
			return err
		}
	}
	return printer.Close()
}

// table prints the counts of the findings.
func (c *comparison) table(out io.Writer) {
	fmt.Fprintf(out, "Brand %s, %s to %s (%s)\n", c.ours.brand, c.from.Format(time.DateOnly),
		c.end.AddDate(0, 0, -1).Format(time.DateOnly), c.from.Location())
	fmt.Fprintf(out, "%s here, %s there; %d found, %d without a difference\n", count(len(c.ours.all), "registration"),
		count(c.leads, "lead"), c.found, c.agree)
	if text := c.ours.leftOut(c.outside); text != "" {
		fmt.Fprintln(out, "Not compared:", text)
	}
	if n := c.ours.withoutDeposits(); n > 0 {
		fmt.Fprintf(out, "Deposits not compared: %s; the file has no such column\n", count(n, "registration"))
	}
	if c.hidden > 0 {
		fmt.Fprintf(out, "Leads that hide when they were created: %d; unknown_here leaves them out\n", c.hidden)
	}
	counts := c.counts()
	if len(counts) > 0 {
		fmt.Fprintln(out)
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, k := range kinds() {
		if counts[k.kind] > 0 {
			fmt.Fprintf(table, "%s\t%7d\t%s\n", k.kind, counts[k.kind], k.meaning)
		}
	}
	_ = table.Flush()
	fmt.Fprintf(out, "\n%s\n", c.deposits.text())
}

// leftOut says which registrations were not compared. It returns "" if all
// were.
func (o *ours) leftOut(outside int) string {
	var parts []string
	for _, part := range []struct {
		n    int
		what string
	}{
		{outside, "outside the period"},
		{o.otherBrands, "of other brands"},
		{o.notSent, "refused or not sent"},
		{o.empty, "without lead id, click id and email"},
		{o.badClickIDs, "with a click id that is a macro or rounded"},
	} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.what))
		}
	}
	return strings.Join(parts, ", ")
}
