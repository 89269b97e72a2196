package clixnow_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// This is the switch over the outcomes of a create. The order of its cases
// matters.
func ExampleClient_CreateLead_errors() {
	server := clixnowtest.NewServer() // a Clixnow in memory
	defer server.Close()
	client := server.Client() // a program calls clixnow.NewClient("acme", token)

	register := func(req clixnow.CreateLeadRequest) {
		lead, err := client.CreateLead(context.Background(), req)
		switch {
		case err == nil:
			fmt.Println("registered: redirect the visitor,", lead.RedirectURL != "")
		case errors.Is(err, clixnow.ErrOutcomeUnknown):
			fmt.Println("unknown: call EnsureLeadSince")
		case errors.Is(err, clixnow.ErrDuplicateLead): // it also matches ErrRefused
			fmt.Println("refused: already registered")
		case errors.Is(err, clixnow.ErrRefused):
			fmt.Println("refused:", err)
		case errors.Is(err, clixnow.ErrNotSent), errors.Is(err, clixnow.ErrRateLimited):
			fmt.Println("not registered: retry later")
		}
	}

	lead := clixnow.CreateLeadRequest{
		FirstName: "Allison", LastName: "Brown", Email: "allison.brown@example.com", Phone: "+41123456789",
		Password: "short!", CountryCode: "CH",
	}
	register(lead)

	lead.Password = "Password123!"
	server.Inject(clixnowtest.Fault{Status: 429, Times: 3})
	register(lead)

	register(lead)
	register(lead)

	lead.Email, lead.Phone = "bob@example.com", "+41123456780"
	server.Inject(clixnowtest.Fault{Drop: clixnowtest.DropAfterHandling})
	register(lead)

	// Output:
	// refused: clixnow: invalid request: password: must have at least 8 characters
	// not registered: retry later
	// registered: redirect the visitor, true
	// refused: already registered
	// unknown: call EnsureLeadSince
}
