package router_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/router"
)

// A brand that is full leaves the lead to the next brand.
func ExampleRouter_Register() {
	acme := clixnowtest.NewServer(clixnowtest.WithBrand("acme"), clixnowtest.WithCapacity(0, "Daily cap reached"))
	defer acme.Close()
	beta := clixnowtest.NewServer(clixnowtest.WithBrand("beta"))
	defer beta.Close()

	r := &router.Router{
		Routes: []router.Route{{Client: acme.Client()}, {Client: beta.Client()}},
		Begin: func(_ context.Context, attempt router.Attempt) error {
			fmt.Println("save the attempt at", attempt.Brand)
			return nil
		},
	}
	result, err := r.Register(context.Background(), lead(1), router.Attempt{})
	if err != nil {
		fmt.Println(clixnow.OutcomeOf(err), clixnow.ReasonOf(err))
		return
	}
	fmt.Println("registered at", result.Brand)
	for _, try := range result.Tried {
		fmt.Println(try.Brand, "refused:", clixnow.ReasonOf(try.Err))
	}
	// Output:
	// save the attempt at acme
	// save the attempt at beta
	// registered at beta
	// acme refused: other
}

// The process died after it had sent the lead to acme. With the saved attempt,
// Register asks acme first, and finds the lead there.
func ExampleRouter_Register_resume() {
	acme := clixnowtest.NewServer(clixnowtest.WithBrand("acme"))
	defer acme.Close()
	beta := clixnowtest.NewServer(clixnowtest.WithBrand("beta"))
	defer beta.Close()
	r := &router.Router{Routes: []router.Route{{Client: acme.Client()}, {Client: beta.Client()}}}

	saved := router.Attempt{Brand: "acme", Since: time.Now()} // what Begin saved
	acme.AddLeads(clixnow.Lead{Email: lead(1).Email, ClickID: lead(1).ClickID, CreatedOn: time.Now()})

	result, err := r.Register(context.Background(), lead(1), saved)
	if err != nil {
		fmt.Println("still in doubt:", router.InDoubt(err).Brand)
		return
	}
	fmt.Println("registered at", result.Brand, "recovered:", result.Lead.Recovered)
	// Output:
	// registered at acme recovered: true
}

// A caller who sells duplicates to the next brand says so by Next.
func ExampleRouter_next() {
	acme := clixnowtest.NewServer(clixnowtest.WithBrand("acme"))
	defer acme.Close()
	acme.AddLeads(clixnow.Lead{Email: lead(1).Email})
	beta := clixnowtest.NewServer(clixnowtest.WithBrand("beta"))
	defer beta.Close()

	r := &router.Router{
		Routes: []router.Route{{Client: acme.Client()}, {Client: beta.Client()}},
		Next:   func(err error) bool { return !errors.Is(err, clixnow.ErrInvalidRequest) },
	}
	result, err := r.Register(context.Background(), lead(1), router.Attempt{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("registered at", result.Brand, "after", clixnow.ReasonOf(result.Tried[0].Err))
	// Output:
	// registered at beta after duplicate
}
