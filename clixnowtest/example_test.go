package clixnowtest_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

func allisonBrown() clixnow.CreateLeadRequest {
	return clixnow.CreateLeadRequest{
		FirstName: "Allison", LastName: "Brown", Email: "allison.brown@example.com", Phone: "+41123456789",
		Password: "Password123!", CountryCode: "CH",
	}
}

// Your code uses the client. UpdateLead does what the broker does.
func Example() {
	clock := func() time.Time { return time.Date(2026, time.May, 4, 12, 0, 0, 0, time.UTC) }
	server := clixnowtest.NewServer(clixnowtest.WithClock(clock))
	defer server.Close()
	client := server.Client()
	defer client.CloseIdleConnections()

	ctx := context.Background()
	created, err := client.CreateLead(ctx, allisonBrown())
	if err != nil {
		fmt.Println(err)
		return
	}
	err = server.UpdateLead(created.LeadID, func(lead *clixnow.Lead) {
		lead.Status = "Deposited"
		lead.FTDDate = clock()
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for lead, err := range client.SearchLeads(ctx, clixnow.SearchLeadsRequest{FTDDateFrom: clock().Add(-time.Hour)}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(lead.ID, lead.Email, lead.Status, lead.FTDDate)
	}
	// Output: 123456 allison.brown@example.com Deposited 2026-05-04 12:00:00 +0000 UTC
}

// The server registers the lead and cuts the connection without a response.
func ExampleServer_Inject() {
	server := clixnowtest.NewServer()
	defer server.Close()
	client := server.Client()
	defer client.CloseIdleConnections()

	server.Inject(clixnowtest.Fault{Method: "POST", Drop: clixnowtest.DropAfterHandling})
	_, err := client.CreateLead(context.Background(), allisonBrown())
	fmt.Println("unknown:", errors.Is(err, clixnow.ErrOutcomeUnknown))
	fmt.Println("requests:", len(server.Requests()))
	fmt.Println("leads:", len(server.Leads()))
	// Output:
	// unknown: true
	// requests: 1
	// leads: 1
}
