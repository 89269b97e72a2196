package report

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// demo starts fake brands with leads of the last days. It returns a client of
// each, and a function that ends them.
func demo(now time.Time) (clients []*clixnow.Client, closeServers func()) {
	closeServers = func() {}
	for i, brand := range []string{"alpine", "harbor", "sierra"} {
		server, others := clixnowtest.NewServer(clixnowtest.WithBrand(brand)), closeServers
		server.AddLeads(sampleLeads(now, 90, 1/float64(i+1), uint64(i))...)
		clients = append(clients, server.Client())
		closeServers = func() { others(); server.Close() }
	}
	return clients, closeServers
}

// sampleLeads returns leads of the days before now. Except for the dates, the
// same seed returns the same leads.
func sampleLeads(now time.Time, days int, volume float64, seed uint64) []clixnow.Lead {
	traffic := []struct {
		subCampaign        string
		perDay, conversion float64
	}{
		{"search-brand", 14, .13},
		{"autumn-sale", 12, .08},
		{"video-prospecting", 9, .03},
		{"native-quiz", 7, .02},
		{"retargeting", 6, .11},
		{"newsletter", 5, .09},
		{"push-tier-2", 5, .01},
		{"", 4, .05},
		{"influencer-müller", 3, .12},
		{"webinar", 1.5, .2},
		{"podcast", 1, .07},
		{"qr-flyer", .7, .05},
		{"partner-exchange", .5, .1},
	}
	statuses := []string{
		"No Answer", "Not Interested", "Call Back", "New", "Wrong Number", "Interested", "No Answer 5+", "Low Potential",
		"Language Barrier", "Under 18", "Do Not Call", "Duplicate", "Test Lead", "Reassigned",
	}
	random := rand.New(rand.NewPCG(7+seed, 11)) //nolint:gosec // sample data
	var leads []clixnow.Lead
	for day := date(now, time.UTC).AddDate(0, 0, -days); day.Before(now); day = day.AddDate(0, 0, 1) {
		today := volume * (.7 + .6*random.Float64())
		if weekday := day.Weekday(); weekday == time.Saturday || weekday == time.Sunday {
			today *= .55
		}
		for _, source := range traffic {
			for range int(today*source.perDay + random.Float64()) {
				n := len(leads)
				lead := clixnow.Lead{
					ID: int64(100_001 + n), Email: fmt.Sprintf("lead%d@example.com", n), SubCampaign: source.subCampaign,
					Status:    statuses[int(math.Pow(random.Float64(), 2)*float64(len(statuses)))],
					CreatedOn: day.Add(time.Duration(random.Float64() * 24 * float64(time.Hour))),
				}
				deposit := lead.CreatedOn.Add(time.Duration(random.ExpFloat64() * 80 * float64(time.Hour)))
				if random.Float64() < source.conversion && deposit.Before(now) {
					lead.Status, lead.FTDDate = "Deposited", deposit
				}
				if lead.CreatedOn.Before(now) {
					leads = append(leads, lead)
				}
			}
		}
	}
	return leads
}
