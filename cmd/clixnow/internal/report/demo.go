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
func sampleLeads(now time.Time, days int, volume float64, seed uint64) (leads []clixnow.Lead) {
	subCampaigns := []string{
		"search-brand", "autumn-sale", "video-prospecting", "native-quiz", "retargeting", "newsletter", "push-tier-2",
		"",
		"influencer-müller", "webinar", "podcast", "qr-flyer", "partner-exchange",
	}
	statuses := []string{
		"No Answer", "Not Interested", "Call Back", "New", "Wrong Number", "Interested", "No Answer 5+",
		"Low Potential",
		"Language Barrier", "Under 18", "Do Not Call", "Duplicate", "Test Lead", "Reassigned",
	}
	random := rand.New(rand.NewPCG(7+seed, 11)) //nolint:gosec // sample data
	skewed := func(n int) int { return int(math.Pow(random.Float64(), 2) * float64(n)) }
	for day := date(now, time.UTC).AddDate(0, 0, -days); day.Before(now); day = day.AddDate(0, 0, 1) {
		perDay := 70 * volume * (.7 + .6*random.Float64())
		if weekday := day.Weekday(); weekday == time.Saturday || weekday == time.Sunday {
			perDay *= .55
		}
		for range int(perDay + random.Float64()) {
			subCampaign, n := skewed(len(subCampaigns)), len(leads)
			lead := clixnow.Lead{
				ID: int64(100_001 + n), Email: fmt.Sprintf("lead%d@example.com", n),
				SubCampaign: subCampaigns[subCampaign],
				Status:      statuses[skewed(len(statuses))],
				CreatedOn:   day.Add(time.Duration(random.Float64() * 24 * float64(time.Hour))),
			}
			deposit := lead.CreatedOn.Add(time.Duration(random.ExpFloat64() * 80 * float64(time.Hour)))
			if random.Float64() < .01+.014*float64(5*subCampaign%11) && deposit.Before(now) {
				lead.Status, lead.FTDDate = "Deposited", deposit
			}
			if lead.CreatedOn.Before(now) {
				leads = append(leads, lead)
			}
		}
	}
	return leads
}
