package snippets

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/clixnow/clixnow-go"
)

// mirror is a copy of the leads, with its position.
type mirror struct {
	leads map[int64]clixnow.Lead
	since time.Time
}

func (m *mirror) Add(lead clixnow.Lead) { m.leads[lead.ID] = lead }

func (m *mirror) Save(since time.Time, _ bool) error {
	m.since = since
	return nil
}

func follow(ctx context.Context, client *clixnow.Client, store *mirror, saved time.Time) error {
	for lead, err := range client.LeadChanges(ctx, clixnow.LeadChangesRequest{
		Since: saved, PollInterval: time.Minute, Checkpoint: store.Save,
	}) {
		if errors.Is(err, clixnow.ErrPassFailed) {
			log.Print(err) // another pass follows
			continue
		}
		if err != nil {
			return err
		}
		store.Add(lead)
	}
	return nil
}

func followInBatches(
	ctx context.Context, client *clixnow.Client, saved time.Time,
	saveInOneTransaction func([]clixnow.Lead, time.Time) error,
) error {
	var batch []clixnow.Lead
	changes := client.LeadChanges(ctx, clixnow.LeadChangesRequest{
		Since:        saved, // zero at first: the whole history
		PollInterval: time.Minute,
		Checkpoint: func(since time.Time, _ bool) error {
			err := saveInOneTransaction(batch, since)
			batch = nil
			return err
		},
		CheckpointEvery: 1000, // also within a long pass
	})
	for lead, err := range changes {
		if errors.Is(err, clixnow.ErrPassFailed) {
			log.Print(err) // another pass follows
			continue
		}
		if err != nil {
			return err
		}
		batch = append(batch, lead)
	}
	return nil
}

func printJanuary(ctx context.Context, client *clixnow.Client) error {
	first := time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)
	end := first.AddDate(0, 1, 0)
	january := clixnow.SearchLeadsRequest{
		CreatedOnFrom: first.AddDate(0, 0, -1), // a day more on both sides
		CreatedOnTo:   end.AddDate(0, 0, 1),
	}
	for lead, err := range client.SearchLeads(ctx, january) {
		if err != nil {
			return err // an error comes last
		}
		if lead.CreatedOn.IsZero() {
			return errors.New("the brand hides the dates of leads")
		}
		if lead.CreatedOn.Before(first) || !lead.CreatedOn.Before(end) {
			continue
		}
		fmt.Println(lead.ID, lead.Status, lead.HasFTD(), lead.SubCampaign)
	}
	return nil
}

func find(ctx context.Context, client *clixnow.Client) error {
	found, err := client.FindLeads(ctx, clixnow.FindLeadsRequest{
		Email:         "allison.brown@example.com",
		CreatedOnFrom: time.Now().AddDate(0, 0, -2),
	})
	if err != nil {
		return err
	}
	fmt.Println(len(found.Leads), "found,", found.Hidden, "of", found.Read, "leads hide their email")
	return nil
}
