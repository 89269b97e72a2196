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

// startDemo starts a fake Clixnow with some leads of the last month, one of
// which changes each second until stop is called. It points the settings at it,
// and at a temporary file where they name no database.
func startDemo(ctx context.Context, set *settings) (stop func(), err error) {
	folder, err := os.MkdirTemp("", "sync-demo-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the database of the demo: %w", err)
	}
	server := clixnowtest.NewServer(clixnowtest.WithBrand("demo"))
	leads := make([]clixnow.Lead, set.demoLeads)
	for i := range leads {
		leads[i] = someLead()
		leads[i].CreatedOn = time.Now().Add(-30 * 24 * time.Hour / time.Duration(len(leads)) * time.Duration(len(leads)-i))
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
		_ = os.RemoveAll(folder) // else it stays among the temporary files
	}, nil
}

func someLead() clixnow.Lead {
	return clixnow.Lead{Status: "New", SubCampaign: pick("spring", "summer", "autumn"), ClientType: "Client"}
}

// change does what a broker does: it takes a lead, calls one, or sees a
// deposit, which it may take back. It returns new leads.
func change(server *clixnowtest.Server, leads []clixnow.Lead) []clixnow.Lead {
	if len(leads) == 0 || pick(1, 2, 3) == 1 {
		return server.AddLeads(someLead())
	}
	_ = server.UpdateLead(pick(leads...).ID, func(lead *clixnow.Lead) { // nobody deletes one
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

func pick[T any](of ...T) T { return of[rand.IntN(len(of))] } //nolint:gosec // G404: this is no secret
