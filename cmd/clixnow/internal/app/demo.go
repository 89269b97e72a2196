package app

import (
	"fmt"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// DemoServer returns the fake brand of --demo. It starts it at the first call.
func (a *App) DemoServer() *clixnowtest.Server {
	if a.demo != nil {
		return a.demo
	}
	a.demo = clixnowtest.NewServer(clixnowtest.WithBrand("demo"))
	statuses := []string{"New", "No answer", "Call back", "Interested", "Deposited"}
	now := time.Now().UTC().Truncate(time.Minute)
	for i := range 12 {
		created := now.Add(time.Duration(i-12) * 5 * time.Hour)
		lead := clixnow.Lead{
			Email: fmt.Sprintf("visitor%d@example.com", i+1), Status: statuses[i%len(statuses)],
			BrandName: "Demo Broker", CreatedOn: created, UpdatedOn: created.Add(time.Hour),
			ClickID: fmt.Sprintf("click-%d", i+1), SubCampaign: []string{"spring", "autumn"}[i%2],
		}
		if lead.Status == "Deposited" {
			lead.FTDDate = created.Add(time.Hour)
		}
		a.demo.AddLeads(lead)
	}
	return a.demo
}
