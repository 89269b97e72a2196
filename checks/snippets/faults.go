package snippets

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

func recoverLost(ctx context.Context, req clixnow.CreateLeadRequest) (*clixnow.EnsureLeadResponse, error) {
	server := clixnowtest.NewServer()
	defer server.Close()
	// The lead is created, but the answer is lost.
	server.Inject(clixnowtest.Fault{Method: "POST", Drop: clixnowtest.DropAfterHandling})

	lead, err := server.Client().EnsureLead(ctx, req) // lead.Recovered is true
	return lead, err
}

// withFaults calls do once for each fault of the page, with a server that has
// it.
func withFaults(do func(fault string, client *clixnow.Client)) {
	server := clixnowtest.NewServer()
	defer server.Close()
	client := server.Client()

	// The lead is created, but the answer is lost: EnsureLead recovers it.
	server.Inject(clixnowtest.Fault{Method: "POST", Drop: clixnowtest.DropAfterHandling})
	do("lost", client)

	// The outcome stays unknown, because no search succeeds either.
	server.Inject(
		clixnowtest.Fault{Method: "POST", Drop: clixnowtest.DropAfterHandling},
		clixnowtest.Fault{Method: "GET", Status: 503, Times: 12},
	)
	do("unknown", client)

	// The brand refuses the lead of one email, and takes all others.
	server.Inject(clixnowtest.Fault{
		Method: "POST", Email: "allison.brown@example.com",
		Status: 400, Body: `{"message":"Daily cap reached"}`,
	})
	do("refused", client)

	// The API refuses a field: the reason is ReasonInvalid.
	server.Inject(clixnowtest.Fault{
		Method: "POST", Status: 400,
		Body: `{"message":"The request is invalid.","errors":{"phone":["is not a phone number"]}}`,
	})
	do("invalid", client)

	// The API answers 429 until the retries give up.
	server.Inject(clixnowtest.Fault{Status: 429, Times: 3})
	do("rate limited", client)
}

func printLiteral() {
	err := error(&clixnow.APIError{StatusCode: 400, Message: "Duplicate lead"})
	fmt.Println(clixnow.OutcomeOf(err), clixnow.ReasonOf(err)) // refused duplicate
}

func newClientOf(server *clixnowtest.Server) (*clixnow.Client, error) {
	client, err := clixnow.NewClient(server.Brand, "",
		clixnow.WithBaseURL(server.URL),
		clixnow.WithTokenSource(func(context.Context) (string, error) { return server.Token, nil }),
		clixnow.WithLooks(time.Millisecond, 2*time.Millisecond, 5*time.Millisecond, 10*time.Millisecond),
	)
	return client, err
}

func newRealClient() *clixnow.Client {
	client, err := clixnow.NewClient("acme", os.Getenv("CLIXNOW_TOKEN"))
	if err != nil {
		log.Fatal(err)
	}
	return client
}

func unknownOfMock() error {
	err := fmt.Errorf("%w: %w", clixnow.ErrOutcomeUnknown, &clixnow.APIError{StatusCode: 503})
	return err
}
