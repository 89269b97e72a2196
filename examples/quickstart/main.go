// Command quickstart shows what package clixnow does. It talks to a fake
// Clixnow API in memory, so it needs no token and no network.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

func main() {
	if len(os.Args) > 1 {
		fmt.Fprintln(os.Stderr, "usage: quickstart (it takes no arguments)")
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	err := run(ctx, os.Stdout)
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	server := clixnowtest.NewServer(clixnowtest.WithCountries("CH", "DE"))
	defer server.Close()
	// For the real API: clixnow.NewClient("acme", os.Getenv("CLIXNOW_TOKEN")).
	client := server.Client()
	defer client.CloseIdleConnections()

	fmt.Fprintln(out, "1. Register a lead")
	if err := register(ctx, out, client, newLead("Anna", "CH")); err != nil {
		return err
	}

	fmt.Fprintln(out, "\n2. The response is lost: the lead is found, and not sent again")
	server.Inject(clixnowtest.Fault{Method: "POST", Drop: clixnowtest.DropAfterHandling})
	if err := register(ctx, out, client, newLead("Bruno", "DE")); err != nil {
		return err
	}
	fmt.Fprintf(out, "   The brand has %d leads.\n", len(server.Leads()))

	fmt.Fprintln(out, "\n3. Refusals")
	noPassword := newLead("Chloe", "CH")
	noPassword.Password = ""
	for _, req := range []clixnow.CreateLeadRequest{newLead("Anna", "CH"), newLead("Chloe", "FR"), noPassword} {
		if err := register(ctx, out, client, req); err != nil {
			return err
		}
	}

	fmt.Fprintln(out, "\n4. Search the leads of the last hour")
	if err := search(ctx, out, client); err != nil {
		return err
	}

	fmt.Fprintln(out, "\n5. Follow changes until a first deposit")
	return follow(ctx, out, client, server)
}

// register registers a lead and prints the outcome.
func register(ctx context.Context, out io.Writer, client *clixnow.Client, req clixnow.CreateLeadRequest) error {
	lead, err := client.EnsureLead(ctx, req)
	outcome := clixnow.OutcomeOf(err)
	fmt.Fprintf(out, "   %s: outcome %s", req.FirstName, outcome)
	switch outcome {
	case clixnow.OutcomeRegistered:
		fmt.Fprintf(out, ", lead %d, recovered %t\n", lead.LeadID, lead.Recovered)
		if lead.Recovered {
			fmt.Fprintln(out, "      Its redirect URL is lost. Show a page that thanks the visitor.")
			return nil
		}
		// The whole URL logs the lead in. It is a secret.
		if redirect, err := url.Parse(lead.RedirectURL); err == nil {
			fmt.Fprintf(out, "      Redirect the visitor to a page of %s.\n", redirect.Host)
		}
		return nil
	case clixnow.OutcomeRefused:
		fmt.Fprintf(out, ", reason %s\n      %s\n", clixnow.ReasonOf(err), text(err))
		return nil
	default:
		fmt.Fprintln(out)
		return fmt.Errorf("register %s: %w", req.FirstName, err)
	}
}

// text returns what a refusal says. err.Error() has more: the brand, the
// request and the status.
func text(err error) string {
	var api *clixnow.APIError
	if errors.As(err, &api) {
		return api.Message
	}
	var invalid *clixnow.ValidationError
	if errors.As(err, &invalid) {
		return invalid.Fields[0].Field + " " + invalid.Fields[0].Problem
	}
	return err.Error()
}

func search(ctx context.Context, out io.Writer, client *clixnow.Client) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "   ID\tEMAIL\tSTATUS\tFIRST DEPOSIT\tSUB-CAMPAIGN")
	lastHour := clixnow.SearchLeadsRequest{CreatedOnFrom: time.Now().Add(-time.Hour)}
	for lead, err := range client.SearchLeads(ctx, lastHour) {
		if err != nil {
			return fmt.Errorf("search: %w", err)
		}
		fmt.Fprintf(table, "   %d\t%s\t%s\t%t\t%s\n", lead.ID, lead.Email, lead.Status, lead.HasFTD(), lead.SubCampaign)
	}
	return table.Flush()
}

// follow prints what happens to leads. It ends after the first deposit.
func follow(ctx context.Context, out io.Writer, client *clixnow.Client, server *clixnowtest.Server) error {
	known := make(map[int64]clixnow.Lead)
	changes := client.LeadChanges(ctx, clixnow.LeadChangesRequest{
		// A real program polls once a minute.
		PollInterval: 10 * time.Millisecond,
		// A real program saves the leads and the position here. In this program
		// the broker reports the deposit of one lead.
		Checkpoint: func(time.Time, bool) error {
			return server.UpdateLead(123456, func(lead *clixnow.Lead) {
				lead.Status, lead.FTDDate = "Deposited", time.Now()
			})
		},
	})
	for lead, err := range changes {
		if err != nil {
			return fmt.Errorf("follow changes: %w", err)
		}
		var before *clixnow.Lead
		if old, ok := known[lead.ID]; ok {
			before = &old
		}
		known[lead.ID] = lead
		for _, event := range clixnow.LeadEvents(before, lead) {
			fmt.Fprintf(out, "   lead %d: %s\n", lead.ID, event)
		}
		if lead.HasFTD() {
			break
		}
	}
	return nil
}

// newLead returns a request. The click id is unique for each sign-up, so that
// a search can find the lead.
func newLead(firstName, country string) clixnow.CreateLeadRequest {
	return clixnow.CreateLeadRequest{
		FirstName:   firstName,
		LastName:    "Example",
		Email:       strings.ToLower(firstName) + "@example.com",
		Phone:       fmt.Sprintf("+4179555%04d", firstName[0]),
		Password:    "Password123!",
		CountryCode: country,
		SubCampaign: "autumn",
		ClickID:     "click-" + firstName,
	}
}
