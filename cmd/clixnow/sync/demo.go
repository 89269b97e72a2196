package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// startDemo starts a fake Clixnow with leads of the last month. One of them
// changes each second until stop is called. startDemo changes the settings to
// use the fake. If they have no database, it sets a temporary file.
func startDemo(ctx context.Context, set *settings) (stop func(), err error) {
	folder, err := os.MkdirTemp("", "sync-demo-")
	if err != nil {
		return nil, fmt.Errorf("create a folder for the database of the demo: %w", err)
	}
	server := clixnowtest.NewServer(clixnowtest.WithBrand("demo"))
	leads := make([]clixnow.Lead, set.demoLeads)
	for i := range leads {
		leads[i] = newLead()
		age := 30 * 24 * time.Hour / time.Duration(len(leads)) * time.Duration(len(leads)-i)
		leads[i].CreatedOn = time.Now().Add(-age)
	}
	leads = server.AddLeads(leads...)
	set.brand, set.baseURL, set.token = server.Brand, server.URL, server.Token
	if set.database == "" {
		set.database = filepath.Join(folder, "leads.db")
	}
	ctx, cancel := context.WithCancel(ctx)
	var writer sync.WaitGroup
	writer.Go(func() {
		second := time.NewTicker(time.Second)
		defer second.Stop()
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-second.C:
				leads = append(leads, change(server, leads)...)
			}
		}
	})
	return func() {
		cancel()
		writer.Wait()
		server.Close()
		_ = os.RemoveAll(folder)
	}, nil
}

func newLead() clixnow.Lead {
	return clixnow.Lead{Status: "New", SubCampaign: pick("spring", "summer", "autumn"), ClientType: "Client"}
}

// change makes one random change, as a broker would. It adds a lead, or changes
// the status or the deposit of a lead. It returns the added lead.
func change(server *clixnowtest.Server, leads []clixnow.Lead) []clixnow.Lead {
	if len(leads) == 0 || pick(1, 2, 3) == 1 {
		return server.AddLeads(newLead())
	}
	_ = server.UpdateLead(pick(leads...).ID, func(lead *clixnow.Lead) { // the lead exists, as no lead is deleted
		switch {
		case lead.HasFTD() && pick(true, false):
			lead.Status, lead.FTDDate = "Chargeback", time.Time{}
		case pick(true, false):
			lead.Status = pick("No answer", "Call again", "Not interested")
		default:
			lead.Status, lead.FTDDate = "Deposited", time.Now()
		}
	})
	return nil
}

func pick[T any](values ...T) T { return values[rand.IntN(len(values))] } //nolint:gosec // G404: demo data
