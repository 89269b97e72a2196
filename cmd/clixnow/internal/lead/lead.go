// Package lead holds the command "clixnow lead", which registers and reads
// leads.
package lead

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
)

// Command returns the command "lead".
func Command(a *app.App) *cobra.Command {
	return app.Group("lead", "Register and read leads", "", create(a), get(a), find(a), list(a), watch(a))
}

func get(a *app.App) *cobra.Command {
	cmd := &cobra.Command{
		Use: "get ID", Short: "Show a lead", Args: app.Args("the ID of the lead"),
		Long:    "Show the lead with an ID. If the API shows no such lead, the exit code is 1.",
		Example: "  clixnow lead get 123456\n  clixnow lead get 123456 -o json",
	}
	format := app.FormatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := strconv.ParseInt(args[0], 10, 64)
		if err != nil || id < 1 {
			return app.Usage("%q is not the ID of a lead: an ID is a positive number", args[0])
		}
		client, err := a.Client(cmd.Context())
		if err != nil {
			return err
		}
		lead, err := client.GetLead(cmd.Context(), id)
		if err != nil {
			return err
		}
		printer := leadPrinter(a, *format, true)
		return errors.Join(printer.Print(*lead), printer.Close())
	}
	return cmd
}

func find(a *app.App) *cobra.Command {
	req := clixnow.FindLeadsRequest{Prefetch: prefetch}
	var created period
	cmd := &cobra.Command{
		Use: "find", Short: "Find leads by email or click ID", Args: app.Args(),
		Long: `Find the leads with an email or a click ID. The API has no such filter, so
this reads all leads of the period, and of a day before and after it.

Some brands hide or mask emails and click IDs, and some leads have none. Their
number is printed at the end. Exit codes: 1 if no lead was found, and 5 if
none was found but some have no such value or hide it.`,
		Example: "  clixnow lead find --email anna@example.com --created-from 7d",
	}
	flags := cmd.Flags()
	flags.StringVar(&req.Email, "email", "", "the `EMAIL`")
	flags.StringVar(&req.ClickID, "click-id", "", "the click `ID`")
	created.flags(cmd, "created", "created")
	format := app.FormatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if strings.TrimSpace(req.Email+req.ClickID) == "" {
			return app.Usage("give --email or --click-id")
		}
		client, err := a.Client(cmd.Context())
		if err != nil {
			return err
		}
		req.CreatedOnFrom, req.CreatedOnTo = created.wide()
		found, err := client.FindLeads(cmd.Context(), req)
		if err != nil {
			return err
		}
		printer := leadPrinter(a, *format, false)
		for _, lead := range found.Leads {
			if err := printer.Print(lead); err != nil {
				return err
			}
		}
		if err := printer.Close(); err != nil {
			return err
		}
		counts := fmt.Sprintf("%d of %d leads match, and %d have no such value or hide it",
			len(found.Leads), found.Read, found.Hidden)
		switch {
		case len(found.Leads) > 0:
			fmt.Fprintln(a.Err, counts)
			return nil
		case found.Hidden > 0:
			return app.WithCode(app.CodeDoubt, fmt.Errorf("%s; the lead may be one of these", counts))
		}
		return app.WithCode(app.CodeRefused, fmt.Errorf("%s; try a longer period", counts))
	}
	return cmd
}

func list(a *app.App) *cobra.Command {
	var created, modified, deposited period
	var order string
	var limit, page int
	cmd := &cobra.Command{
		Use: "list", Short: "List leads", Args: app.Args(),
		Long: `List the leads of a period, the oldest first.

A TIME is a day (2026-10-01), a moment (2026-10-01T12:00:00Z), or an age (90m,
12h, 7d). Days are in UTC, and "to" includes its day.

The leads appear as they are read. If the list ends early because of an
error, the JSON array stays open, and the exit code is not 0.`,
		Example: `  clixnow lead list --created-from 7d
  clixnow lead list --ftd-from 2026-10-01 --ftd-to 2026-10-31 -o csv`,
	}
	created.flags(cmd, "created", "created")
	modified.flags(cmd, "modified", "changed")
	deposited.flags(cmd, "ftd", "that deposited")
	flags := cmd.Flags()
	flags.StringVar(&order, "order", "id", "the `ORDER`: id, created, modified or ftd")
	_ = cmd.RegisterFlagCompletionFunc("order",
		cobra.FixedCompletions([]string{"id", "created", "modified", "ftd"}, cobra.ShellCompDirectiveNoFileComp))
	flags.IntVar(&limit, "limit", 0, "print at most `N` leads (0 means all)")
	flags.IntVar(&page, "page-size", 0, "read `N` leads per request (default 1000)")
	format := app.FormatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		orders := map[string]clixnow.OrderBy{
			"id": clixnow.OrderByID, "created": clixnow.OrderByCreatedOn,
			"modified": clixnow.OrderByModifiedOn, "ftd": clixnow.OrderByFTDDate,
		}
		if orders[order] == "" {
			return app.Usage("unknown order %q: it must be id, created, modified or ftd", order)
		}
		if limit < 0 {
			return app.Usage("the limit must not be negative")
		}
		if page == 0 && limit > 0 {
			page = min(max(limit, 10), clixnow.MaxPageSize)
		}
		req := clixnow.SearchLeadsRequest{OrderBy: orders[order], Count: page, Prefetch: prefetch}
		req.CreatedOnFrom, req.CreatedOnTo = created.wide()
		req.ModifiedOnFrom, req.ModifiedOnTo = modified.wide()
		req.FTDDateFrom, req.FTDDateTo = deposited.wide()
		if err := req.Validate(); err != nil {
			return app.Usage("%w", err)
		}
		client, err := a.Client(cmd.Context())
		if err != nil {
			return err
		}
		printer, progress, printed := leadPrinter(a, *format, false), a.Progress("leads read"), 0
		for lead, err := range client.SearchLeads(cmd.Context(), req) {
			if err != nil {
				_ = progress.Finish()
				_ = printer.Flush() // The error of the search counts.
				return err
			}
			_ = progress.Add(1)
			if !created.has(lead.CreatedOn) || !modified.has(lead.UpdatedOn) || !deposited.has(lead.FTDDate) {
				continue
			}
			if err := printer.Print(lead); err != nil {
				return err
			}
			if printed++; printed == limit {
				break
			}
		}
		_ = progress.Finish()
		if printed == 0 && *format == "table" {
			fmt.Fprintln(a.Err, "no leads")
		}
		return printer.Close()
	}
	return cmd
}

// prefetch is the number of pages that are requested ahead.
const prefetch = 4

func leadPrinter(a *app.App, format string, single bool) *app.Printer[clixnow.Lead] {
	return app.Printer[clixnow.Lead]{
		Format: format, Single: single,
		Fields: []string{
			"id", "email", "status", "createdOn", "updatedOn", "ftdDate", "clickId", "subCampaign", "sub2",
			"keyword", "placement", "brandId", "brandName", "crmId", "clientType",
		},
		Header: "ID\tCREATED\tFTD\tSTATUS\tEMAIL",
		Row: func(l clixnow.Lead) string {
			created, deposited := date(l.CreatedOn, "2006-01-02 15:04"), date(l.FTDDate, time.DateOnly)
			return fmt.Sprintf("%d\t%s\t%s\t%s\t%s", l.ID, created, deposited, l.Status, l.Email)
		},
	}.Open(a)
}

func date(t time.Time, layout string) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(layout)
}

const day = 24 * time.Hour

// period is two flags, such as --created-from and --created-to. The bounds
// belong to it. A zero time means that there is no bound.
type period struct {
	from, to time.Time
}

func (p *period) flags(cmd *cobra.Command, name, verb string) {
	timeFlag(cmd, &p.from, name+"-from", "only leads "+verb+" at this `TIME` or later", false)
	timeFlag(cmd, &p.to, name+"-to", "only leads "+verb+" at this `TIME` or before", true)
}

// wide returns bounds for a search. They lie a day outside, because it is not
// known how exactly the API compares them. See has.
func (p *period) wide() (from, to time.Time) {
	if !p.from.IsZero() {
		from = p.from.Add(-day)
	}
	if !p.to.IsZero() {
		to = p.to.Add(day)
	}
	return from, to
}

// has reports whether a time is in the period. A hidden time, which is zero, is
// left to the API.
func (p *period) has(t time.Time) bool {
	return t.IsZero() || !t.Before(p.from) && (p.to.IsZero() || !t.After(p.to))
}

// timeFlag adds a flag that is a day, a moment or an age. If end is true, a day
// means its end.
func timeFlag(cmd *cobra.Command, value *time.Time, name, usage string, end bool) {
	cmd.Flags().Func(name, usage, func(text string) (err error) {
		number, unit := text, time.Duration(1)
		if days, ok := strings.CutSuffix(text, "d"); ok {
			number, unit = days+"h", 24
		}
		if age, err := time.ParseDuration(number); err == nil && age >= 0 {
			*value = time.Now().Add(-age * unit)
			return nil
		}
		if *value, err = time.Parse(time.DateOnly, text); err == nil {
			if end {
				*value = value.Add(day - time.Nanosecond)
			}
			return nil
		}
		if *value, err = time.Parse(time.RFC3339, text); err != nil {
			return errors.New("write 2026-10-01, 2026-10-01T12:00:00Z, or 7d for seven days ago")
		}
		return nil
	})
}
