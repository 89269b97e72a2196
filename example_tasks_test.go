package clixnow_test

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// This registers a lead. The program then redirects the visitor.
func ExampleClient_CreateLead() {
	server := clixnowtest.NewServer()
	defer server.Close()
	client := server.Client() // a program calls clixnow.NewClient("acme", os.Getenv("CLIXNOW_TOKEN"))
	defer client.CloseIdleConnections()

	lead, err := client.CreateLead(context.Background(), clixnow.CreateLeadRequest{
		FirstName: "Allison", LastName: "Brown", Email: "allison.brown@example.com", Phone: "+41123456789",
		Password: "Password123!", CountryCode: "CH", ClickID: "20fn4ngo56n3snf74", SubCampaign: "autumn",
	})
	if err != nil {
		fmt.Println(err) // it is of one of four classes, see the other example
		return
	}
	fmt.Println("lead", lead.LeadID, "of", lead.SubCampaign, "- redirect:", lead.RedirectURL != "")
	// Output: lead 123456 of autumn - redirect: true
}

// This finds the faults in a request, for messages beside the fields of a form.
func ExampleCreateLeadRequest_Validate() {
	err := clixnow.CreateLeadRequest{
		FirstName: "Allison", LastName: "Brown", Email: "allison", Phone: "+41123456789",
		Password: "Password123!",
	}.Validate()
	var invalid *clixnow.ValidationError
	if errors.As(err, &invalid) {
		for _, fault := range invalid.Fields {
			fmt.Println(fault.Field, fault.Problem)
		}
	}
	// Output:
	// email must be one bare address
	// countryCode is missing
}

// The response is lost, and the lead is registered only once.
func ExampleClient_EnsureLead() {
	server := clixnowtest.NewServer()
	defer server.Close()
	client := server.Client()
	defer client.CloseIdleConnections()

	server.Inject(clixnowtest.Fault{Method: "POST", Drop: clixnowtest.DropAfterHandling})
	lead, err := client.EnsureLead(context.Background(), clixnow.CreateLeadRequest{
		FirstName: "Allison", LastName: "Brown", Email: "allison.brown@example.com", Phone: "+41123456789",
		Password: "Password123!", CountryCode: "CH", ClickID: "20fn4ngo56n3snf74",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("lead", lead.LeadID, "- recovered:", lead.Recovered, "- leads at the broker:", len(server.Leads()))
	// Output: lead 123456 - recovered: true - leads at the broker: 1
}

// This registers many leads and prints the outcome of each.
func ExampleClient_CreateLeads() {
	server := clixnowtest.NewServer()
	defer server.Close()
	client := server.Client()
	defer client.CloseIdleConnections()

	lead := func(email, phone string) clixnow.CreateLeadRequest {
		return clixnow.CreateLeadRequest{
			FirstName: "Allison", LastName: "Brown", Email: email, Phone: phone, Password: "Password123!",
			CountryCode: "CH",
		}
	}
	leads := []clixnow.CreateLeadRequest{
		lead("a@example.com", "+4112345671"), lead("b", "+4112345672"),
		lead("a@example.com", "+4112345673"),
	}
	err := client.CreateLeads(context.Background(), slices.Values(leads), clixnow.BulkOptions{Concurrency: 1},
		func(r clixnow.BulkResult) error {
			switch {
			case r.Err == nil:
				fmt.Println(r.Index, "registered as", r.Response.LeadID)
			case errors.Is(r.Err, clixnow.ErrDuplicateLead):
				fmt.Println(r.Index, "a duplicate")
			default:
				fmt.Println(r.Index, r.Err)
			}
			return nil // an error would stop the import
		})
	fmt.Println(err)
	// Output:
	// 0 registered as 123456
	// 1 clixnow: invalid request: email: must be one bare address
	// 2 a duplicate
	// <nil>
}
