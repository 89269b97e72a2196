// Command program is the program of README.md.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

func main() {
	server := clixnowtest.NewServer()
	defer server.Close()
	client := server.Client()

	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	lead, err := client.EnsureLead(ctx, clixnow.CreateLeadRequest{
		FirstName: "Allison", LastName: "Brown", Email: "allison.brown@example.com",
		Phone: "+41123456789", Password: "Password123!", CountryCode: "CH",
		ClickID: "20fn4ngo56n3snf74", // unique for each sign-up
	})
	if err != nil {
		log.Fatalf("%s: %v", clixnow.OutcomeOf(err), err)
	}
	fmt.Println("registered lead", lead.LeadID, "recovered:", lead.Recovered)

	for lead, err := range client.SearchLeads(ctx, clixnow.SearchLeadsRequest{}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("lead", lead.ID, lead.Status, "first deposit:", lead.HasFTD())
	}
}
