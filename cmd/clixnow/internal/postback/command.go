// Package postback is the command "clixnow postback".
package postback

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/database"
	"github.com/clixnow/clixnow-go/store/mirror"
	"github.com/clixnow/clixnow-go/store/postback"
)

// Command returns the command "clixnow postback".
func Command(a *app.App) *cobra.Command {
	return app.Group("postback", "Look after postbacks that failed",
		`Postbacks tell a tracker about first deposits or other events. "clixnow sync"
sends those that the configuration file has under [[postbacks]]. An event that
a tracker did not accept for a day waits for you: look why it failed, and send
it again.`, list(a), retry(a))
}

func list(a *app.App) *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List events that failed for a day", Args: app.Args(),
		Long: `List the events that failed for a day. A line has at most 80 columns; the
other formats have whole texts and times.`,
		Example: `  clixnow postback list
  clixnow postback list --db leads.db -o csv`,
	}
	address := databaseFlag(cmd)
	format := app.FormatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		m, closeDB, err := database.Read(cmd.Context(), *address)
		if err != nil {
			return err
		}
		defer closeDB()
		found := 0
		printer := app.Printer[postback.Failed]{
			Format: *format, Header: fmt.Sprintf(columns, "POSTBACK", "EVENT ID", "LEAD", "EVENT", "SINCE", "ERROR"),
			Fields: []string{"postback", "eventId", "brand", "leadId", "event", "since", "attempts", "error"},
			Row: func(f postback.Failed) string {
				found++
				return text.Snip(fmt.Sprintf(columns, f.Postback, strconv.FormatInt(f.EventID, 10),
					fmt.Sprintf("%s %d", f.Brand, f.LeadID), f.Event, f.Since.Format(time.DateOnly),
					strings.TrimPrefix(f.Error, "the tracker ")), width, "…")
			},
		}.Open(a)
		if err := postback.ListFailed(cmd.Context(), m, printer.Print); err != nil {
			return database.Error(err)
		}
		if *format == "table" && found == 0 {
			return nothing(cmd.Context(), a, m)
		}
		return printer.Close()
	}
	return cmd
}

const (
	// width is the largest number of columns of a line.
	width = 80
	// columns is the format of a line of the table.
	columns = "%-10s  %8s  %-14s  %-10s  %-10s  %s"
)

// nothing says that no event is listed.
func nothing(ctx context.Context, a *app.App, m *mirror.Mirror) error {
	all, err := postback.ListHealth(ctx, m)
	if err != nil {
		return database.Error(err)
	}
	waiting := int64(0)
	for _, h := range all {
		waiting += h.Waiting
	}
	if waiting > 0 {
		fmt.Fprintf(a.Err, "nothing has failed; events that wait: %d\n", waiting)
		return nil
	}
	fmt.Fprintln(a.Err, "nothing waits or failed")
	return nil
}

func retry(a *app.App) *cobra.Command {
	cmd := &cobra.Command{
		Use: "retry POSTBACK [EVENT-ID...]", Short: "Send events that failed for a day again",
		Long: `Give events that failed another day. Without event ids, it does so for all
failed events of the postback. "clixnow sync" sends them.`,
		Example: `  clixnow postback retry tracker --db leads.db
  clixnow postback retry tracker 1045 1046 --db leads.db`,
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return app.Args("POSTBACK")(cmd, args)
		}
		return nil
	}
	address := databaseFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var ids []int64
		for _, arg := range args[1:] {
			id, err := strconv.ParseInt(arg, 10, 64)
			if err != nil {
				return app.Usage("%q is not an event id; see \"clixnow postback list\"", arg)
			}
			ids = append(ids, id)
		}
		m, closeDB, err := database.Read(cmd.Context(), *address)
		if err != nil {
			return err
		}
		defer closeDB()
		number, err := postback.Retry(cmd.Context(), m, args[0], ids...)
		if err != nil {
			return database.Error(err)
		}
		if number == 0 && len(ids) == 0 {
			_, err = fmt.Fprintf(a.Out, "nothing of %s has failed\n", args[0])
			return err
		}
		_, err = fmt.Fprintf(a.Out, "%d events of %s are sent again by \"clixnow sync\"\n", number, args[0])
		if err == nil && number < int64(len(ids)) {
			return app.WithCode(app.CodeRefused,
				errors.New("not all of them have failed; see \"clixnow postback list\""))
		}
		return err
	}
	return cmd
}

func databaseFlag(cmd *cobra.Command) *string {
	return cmd.Flags().String("db", "leads.db", "the database of \"clixnow sync\": a `FILE` or a postgres:// URL")
}
