// Command route sends each lead to one of several brands, and never to two of
// them. It runs against three fakes, and some of their answers are lost.
//
// brands.json has the rules: countries, working hours, your own daily cap, and
// weights. Against the real API, replace newFake by
// clixnow.NewClient(rule.Brand, "", clixnow.WithTokenSource(...)).
package main

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/router"
)

//go:embed brands.json
var rulesFile []byte

// schedule is how long a lead waits that all brands refused for now. After the
// last wait a person decides.
var schedule = []time.Duration{5 * time.Minute, 15 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour}

// rule is what brands.json says about one brand.
type rule struct {
	Brand     string   `json:"brand"`
	Countries []string `json:"countries"`
	// From and To are working hours in Zone.
	Zone string `json:"zone"`
	From int    `json:"from"`
	To   int    `json:"to"`
	// DailyCap is the largest number of leads a day. 0 means no cap.
	DailyCap int `json:"daily_cap"`
	// Weight is how often the brand comes first, compared with the others.
	Weight int `json:"weight"`

	zone *time.Location
	day  string
	sent int
}

// accepts decides by country, hours and cap.
func (r *rule) accepts(req clixnow.CreateLeadRequest, now time.Time) bool {
	now = now.In(r.zone)
	if day := now.Format(time.DateOnly); day != r.day {
		r.day, r.sent = day, 0
	}
	return slices.Contains(r.Countries, req.CountryCode) &&
		now.Hour() >= r.From && now.Hour() < r.To &&
		(r.DailyCap == 0 || r.sent < r.DailyCap)
}

// job is a lead, and what is saved with it.
type job struct {
	Lead    clixnow.CreateLeadRequest
	Attempt router.Attempt
	Waits   int
	// Brand is the brand that took the lead. It is "" before.
	Brand string
}

// office routes leads. It is not safe for concurrent use.
type office struct {
	rules   []*rule
	clients map[string]*clixnow.Client
	random  *rand.Rand
	// save writes the job to its store. Here the store is memory.
	save func(*job) error
	// sleep waits. A real program puts the job back into its queue instead.
	sleep func(time.Duration)
}

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	o := &office{
		clients: make(map[string]*clixnow.Client),
		random:  rand.New(rand.NewPCG(1, 2)), //nolint:gosec // it spreads load
		save:    func(*job) error { return nil },
		sleep:   func(time.Duration) {},
	}
	if err := json.Unmarshal(rulesFile, &o.rules); err != nil {
		return fmt.Errorf("brands.json: %w", err)
	}
	for _, r := range o.rules {
		var err error
		if r.zone, err = time.LoadLocation(r.Zone); err != nil {
			return fmt.Errorf("brands.json: %s: %w", r.Brand, err)
		}
		fake := newFake(r.Brand)
		defer fake.Close()
		o.clients[r.Brand] = fake.Client()
		defer o.clients[r.Brand].CloseIdleConnections()
	}
	for i, country := range []string{"CH", "CH", "CH", "DE", "DE", "US"} {
		j := &job{Lead: lead(i, country)}
		fmt.Fprintf(out, "%s (%s): %s\n", j.Lead.FirstName, country, o.place(ctx, j))
	}
	return nil
}

// newFake returns a fake brand. acme loses an answer, and gamma is full.
func newFake(brand string) *clixnowtest.Server {
	options := []clixnowtest.Option{clixnowtest.WithBrand(brand)}
	if brand == "gamma" {
		options = append(options, clixnowtest.WithCapacity(0, "Daily cap reached"))
	}
	server := clixnowtest.NewServer(options...)
	if brand == "acme" {
		server.Inject(clixnowtest.Fault{Method: "POST", Drop: clixnowtest.DropAfterHandling})
	}
	return server
}

func lead(i int, country string) clixnow.CreateLeadRequest {
	names := []string{"Allison", "Bruno", "Chloé", "Davide", "Emma", "Fabio"}
	return clixnow.CreateLeadRequest{
		FirstName: names[i], LastName: "Brown", Email: fmt.Sprintf("lead%d@example.com", i),
		Phone: fmt.Sprintf("+4179555010%d", i), Password: "Password123!", CountryCode: country,
		ClickID: fmt.Sprintf("click-%d", i),
	}
}

// place tries a lead until a brand takes it, the refusal is final, or the
// schedule ends. It returns what became of the lead.
func (o *office) place(ctx context.Context, j *job) string {
	for {
		brand, err := o.register(ctx, j)
		if err == nil {
			return "registered at " + brand
		}
		reason := clixnow.ReasonOf(err)
		switch reason {
		case clixnow.ReasonInvalid, clixnow.ReasonDuplicate, clixnow.ReasonCountry:
			return "given up: " + reason.String()
		default: // another time a brand may take the lead
		}
		if j.Waits == len(schedule) {
			return fmt.Sprintf("a person has to decide: %s, %s", clixnow.OutcomeOf(err), reason)
		}
		o.sleep(schedule[j.Waits])
		j.Waits++
	}
}

// register tries the brands once, in a random order by weight.
func (o *office) register(ctx context.Context, j *job) (brand string, err error) {
	r := &router.Router{
		Begin: func(_ context.Context, attempt router.Attempt) error {
			j.Attempt = attempt
			return o.save(j)
		},
	}
	for _, rule := range o.order() {
		r.Routes = append(r.Routes, router.Route{
			Client:  o.clients[rule.Brand],
			Accepts: func(req clixnow.CreateLeadRequest) bool { return rule.accepts(req, time.Now()) },
		})
	}
	result, err := r.Register(ctx, j.Lead, j.Attempt)
	j.Attempt = router.InDoubt(err)
	if err == nil {
		j.Brand = result.Brand // saved together with the cleared attempt
	}
	if saveErr := o.save(j); saveErr != nil || err != nil {
		return "", errors.Join(err, saveErr)
	}
	for _, rule := range o.rules {
		if rule.Brand == result.Brand {
			rule.sent++
		}
	}
	return result.Brand, nil
}

// order returns the rules in a random order. A brand with weight 2 comes before
// a brand with weight 1 two times out of three.
func (o *office) order() []*rule {
	keys := make(map[*rule]float64)
	for _, r := range o.rules {
		keys[r] = o.random.ExpFloat64() / float64(r.Weight)
	}
	return slices.SortedFunc(slices.Values(o.rules), func(a, b *rule) int { return cmp.Compare(keys[a], keys[b]) })
}
