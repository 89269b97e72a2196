// Package lead holds the command "clixnow lead", which registers and reads
// leads.
package lead

import (
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
		return printAll(a, format.Single(), *lead)
	}
	return cmd
}

func find(a *app.App) *cobra.Command {
	var req clixnow.FindLeadsRequest
	var created period
	cmd := &cobra.Command{
		Use: "find", Short: "Find leads by email or click ID", Args: app.Args(),
		Long: `Find the leads with an email or a click ID. The API has no such filter, so
this reads all leads of the period, and of a day before and after it.

Some brands hide or mask emails and click IDs. The number of such leads is
printed at the end. Exit codes: 1 if no lead was found, and 5 if none was
found but some hide what was asked for.`,
		Example: "  clixnow lead find --email anna@example.com --created-from 7d",
	}
	flags := cmd.Flags()
	flags.StringVar(&req.Email, "email", "", "the `EMAIL`")
	flags.StringVar(&req.ClickID, "click-id", "", "the click `ID`")
	created.flags(cmd, "created")
	format := app.FormatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if strings.TrimSpace(req.Email+req.ClickID) == "" {
			return app.Usage("give --email or --click-id")
		}
		client, err := a.Client(cmd.Context())
		if err != nil {
			return err
		}
		req.CreatedOnFrom, req.CreatedOnTo, req.Prefetch = created.wideFrom(), created.wideTo(), prefetch
		found, err := client.FindLeads(cmd.Context(), req)
		if err != nil {
			return err
		}
		if err := printAll(a, *format, found.Leads...); err != nil {
			return err
		}
		counts := fmt.Sprintf("%d of %d leads match, and %d hide the email or the click ID",
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
	created.flags(cmd, "created")
	modified.flags(cmd, "modified")
	deposited.flags(cmd, "ftd")
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
		req := clixnow.SearchLeadsRequest{
			OrderBy: orders[order], Count: page, Prefetch: prefetch,
			CreatedOnFrom: created.wideFrom(), CreatedOnTo: created.wideTo(),
			ModifiedOnFrom: modified.wideFrom(), ModifiedOnTo: modified.wideTo(),
			FTDDateFrom: deposited.wideFrom(), FTDDateTo: deposited.wideTo(),
		}
		if err := req.Validate(); err != nil {
			return app.Usage("%w", err)
		}
		client, err := a.Client(cmd.Context())
		if err != nil {
			return err
		}
		printer := app.NewPrinter(a, *format, leadFields, leadColumns()...)
		count, remove := a.Progress("leads read")
		read, printed := 0, 0
		for lead, err := range client.SearchLeads(cmd.Context(), req) {
			if err != nil {
				remove()
				_ = printer.Flush() // The error of the search counts.
				return err
			}
			read++
			count(read)
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
		remove()
		return printer.Close()
	}
	return cmd
}

// prefetch is the number of pages that are requested ahead.
const prefetch = 4

// leadFields are the fields of a lead in CSV.
var leadFields = []string{
	"id", "email", "status", "createdOn", "updatedOn", "ftdDate", "clickId", "subCampaign", "sub2",
	"keyword", "placement", "brandId", "brandName", "crmId", "clientType",
}

func leadColumns() []app.Column[clixnow.Lead] {
	return []app.Column[clixnow.Lead]{
		{Name: "id", Cell: func(l clixnow.Lead) string { return strconv.FormatInt(l.ID, 10) }},
		{Name: "created", Cell: func(l clixnow.Lead) string { return date(l.CreatedOn, "2006-01-02 15:04") }},
		{Name: "ftd", Cell: func(l clixnow.Lead) string { return date(l.FTDDate, time.DateOnly) }},
		{Name: "status", Cell: func(l clixnow.Lead) string { return l.Status }},
		{Name: "email", Cell: func(l clixnow.Lead) string { return l.Email }},
	}
}

func date(t time.Time, layout string) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(layout)
}

func printAll(a *app.App, format app.Format, leads ...clixnow.Lead) error {
	printer := app.NewPrinter(a, format, leadFields, leadColumns()...)
	for _, lead := range leads {
		if err := printer.Print(lead); err != nil {
			return err
		}
	}
	return printer.Close()
}

// period is two flags, such as --created-from and --created-to.
type period struct {
	from, to moment
}

func (p *period) flags(cmd *cobra.Command, what string) {
	p.to.end = true
	cmd.Flags().Var(&p.from, what+"-from", "the earliest "+what+" `TIME`")
	cmd.Flags().Var(&p.to, what+"-to", "the latest "+what+" `TIME`")
}

// wideFrom and wideTo return the bounds of a search. They lie a day outside,
// because it is not known how exactly the API compares them. See has.
func (p *period) wideFrom() time.Time { return p.from.add(-day) }

func (p *period) wideTo() time.Time { return p.to.add(day) }

const day = 24 * time.Hour

// has reports whether a time is in the period. A hidden time, which is zero, is
// left to the API.
func (p *period) has(t time.Time) bool {
	if t.IsZero() {
		return true
	}
	return !t.Before(p.from.time) && (p.to.time.IsZero() || !t.After(p.to.time))
}

// moment is the value of a flag that is a time.
type moment struct {
	time time.Time
	text string
	// end means that a day stands for its end.
	end bool
}

// Set reads a day, a moment or an age.
func (m *moment) Set(text string) error {
	m.text = text
	if days, err := strconv.Atoi(strings.TrimSuffix(text, "d")); err == nil && strings.HasSuffix(text, "d") && days >= 0 {
		m.time = time.Now().AddDate(0, 0, -days)
		return nil
	}
	if age, err := time.ParseDuration(text); err == nil && age >= 0 {
		m.time = time.Now().Add(-age)
		return nil
	}
	if start, err := time.Parse(time.DateOnly, text); err == nil {
		m.time = start
		if m.end {
			m.time = start.Add(day - time.Nanosecond)
		}
		return nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return fmt.Errorf("write 2026-10-01, 2026-10-01T12:00:00Z, or 7d for seven days ago")
	}
	m.time = t
	return nil
}

// String returns the text of the flag.
func (m *moment) String() string { return m.text }

// Type returns "" because the usage text of the flag names the type.
func (m *moment) Type() string { return "" }

func (m *moment) add(d time.Duration) time.Time {
	if m.time.IsZero() {
		return time.Time{}
	}
	return m.time.Add(d)
}
