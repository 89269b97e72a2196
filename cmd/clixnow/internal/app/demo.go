package app

import (
	"context"
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
	now := time.Now().UTC()
	for i := range 12 {
		created := now.Add(time.Duration(i-12) * 317 * time.Minute)
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

// ChangeDemo changes a lead of the fake brand each second, until ctx ends.
func (a *App) ChangeDemo(ctx context.Context) {
	leads := a.DemoServer().Leads()
	for i := 0; ctx.Err() == nil; i++ {
		_ = a.demo.UpdateLead(leads[i%len(leads)].ID, func(lead *clixnow.Lead) {
			lead.Status = []string{"Call back", "Deposited", "Not interested"}[i%3]
			if lead.Status == "Deposited" {
				lead.FTDDate = time.Now()
			}
		})
		time.Sleep(time.Second)
	}
}
