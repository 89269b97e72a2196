// Command quickstart registers leads and reads them back, against a fake
// Clixnow that it starts on loopback. It needs nothing else. Against the real
// API, all but the first lines of run stay as they are:
//
//	client, err := clixnow.NewClient("your-brand", os.Getenv("CLIXNOW_TOKEN"))
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"text/tabwriter"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

func main() {
	if len(os.Args) > 1 {
		fmt.Fprintln(os.Stderr, "quickstart takes no arguments: it always talks to a fake Clixnow")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	server := clixnowtest.NewServer()
	defer server.Close()
	client := server.Client()
	defer client.CloseIdleConnections()

	lead, err := client.CreateLead(ctx, allison())
	if err != nil {
		return fmt.Errorf("register the first lead: %w", err)
	}
	fmt.Fprintf(out, "Registered lead %d. Send the visitor to\n  %s\n\n", lead.LeadID, lead.RedirectURL)

	for i, name := range []string{"Bruno", "Chloé", "Davide"} {
		another := allison()
		another.FirstName = name
		another.Email = fmt.Sprintf("lead%d@example.com", i)
		another.Phone = fmt.Sprintf("+4179555010%d", i)
		another.ClickID = fmt.Sprintf("click-%d", i)
		another.SubCampaign = "autumn"
		if _, err := client.CreateLead(ctx, another); err != nil {
			return fmt.Errorf("register %s: %w", name, err)
		}
	}
	// The brand reports a first deposit: what the affiliate is paid for.
	err = server.UpdateLead(lead.LeadID, func(l *clixnow.Lead) {
		l.Status, l.FTDDate = "Deposited", time.Now()
	})
	if err != nil {
		return fmt.Errorf("mark a deposit: %w", err)
	}
	if err := printLeads(ctx, out, client); err != nil {
		return err
	}

	_, err = client.CreateLead(ctx, allison())
	fmt.Fprintf(out, "\nThe first lead once more:\n  %v\n  a duplicate: %t, and nothing was created: %t\n",
		err, errors.Is(err, clixnow.ErrDuplicateLead), errors.Is(err, clixnow.ErrRefused))

	stranger, err := clixnow.NewClient(server.Brand, "not-the-token", clixnow.WithBaseURL(server.URL))
	if err != nil {
		return fmt.Errorf("make a client with a wrong token: %w", err)
	}
	defer stranger.CloseIdleConnections()
	_, err = stranger.SearchLeadsPage(ctx, clixnow.SearchLeadsRequest{})
	fmt.Fprintf(out, "\nA wrong token:\n  %v\n  unauthorized: %t\n", err, errors.Is(err, clixnow.ErrUnauthorized))
	return nil
}

func printLeads(ctx context.Context, out io.Writer, client *clixnow.Client) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tEMAIL\tSTATUS\tCREATED\tFTD\tSUB-CAMPAIGN")
	today := clixnow.SearchLeadsRequest{CreatedOnFrom: time.Now().Add(-24 * time.Hour)}
	for lead, err := range client.SearchLeads(ctx, today) {
		if err != nil {
			return fmt.Errorf("list leads: %w", err)
		}
		deposit := "-"
		if lead.HasFTD() {
			deposit = lead.FTDDate.Format(time.DateTime)
		}
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%s\n", lead.ID, lead.Email, lead.Status,
			lead.CreatedOn.Format(time.DateTime), deposit, lead.SubCampaign)
	}
	return table.Flush()
}

// allison is the lead of the API reference.
func allison() clixnow.CreateLeadRequest {
	return clixnow.CreateLeadRequest{
		FirstName:    "Allison",
		LastName:     "Brown",
		Email:        "allison.brown@example.com",
		Phone:        "+41123456789",
		Password:     "Password123!",
		CountryCode:  "CH",
		LanguageCode: "EN",
		ReferralURL:  "https://website.com",
		SubCampaign:  "subcampaign",
		Keyword:      "test",
		Placement:    "landing_page",
		ClickID:      "20fn4ngo56n3snf74",
		Sub2:         "sub2",
		DeviceType:   "Mobile",
		DeviceName:   "iPhone16",
		OSName:       "iOS",
		Browser:      "Safari Mobile",
		Carrier:      clixnow.CarrierMobile,
		IPAddress:    netip.MustParseAddr("1.1.1.1"),
	}
}
