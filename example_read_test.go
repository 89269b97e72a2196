package clixnow_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// exampleAPI returns a Clixnow in memory with three leads, and a client for it.
// By the server's clock it is noon on a Monday.
func exampleAPI() (api *clixnowtest.Server, client *clixnow.Client, end func()) {
	monday := time.Date(2026, time.May, 4, 0, 0, 0, 0, time.UTC)
	api = clixnowtest.NewServer(clixnowtest.WithClock(func() time.Time { return monday.Add(12 * time.Hour) }))
	api.AddLeads(
		clixnow.Lead{ID: 1, Email: "allison@example.com", Status: "New", CreatedOn: monday.Add(-time.Hour)},
		clixnow.Lead{ID: 2, Email: "bruno@example.com", Status: "No answer", CreatedOn: monday.Add(9 * time.Hour)},
		clixnow.Lead{ID: 3, Email: "chiara@example.com", Status: "New", CreatedOn: monday.Add(10 * time.Hour)},
	)
	client = api.Client()
	return api, client, func() {
		client.CloseIdleConnections()
		api.Close()
	}
}

// This reads all leads of a period. An error is yielded once, and last.
func ExampleClient_SearchLeads() {
	_, client, end := exampleAPI()
	defer end()

	ctx := context.Background()
	monday := time.Date(2026, time.May, 4, 0, 0, 0, 0, time.UTC)
	for lead, err := range client.SearchLeads(ctx, clixnow.SearchLeadsRequest{CreatedOnFrom: monday}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(lead.ID, lead.Email, lead.Status)
	}
	// Output:
	// 2 bruno@example.com No answer
	// 3 chiara@example.com New
}

// This reads page by page, for a list that a person looks at.
func ExampleClient_SearchLeadsPage() {
	_, client, end := exampleAPI()
	defer end()

	ctx := context.Background()
	next := &clixnow.SearchLeadsRequest{OrderBy: clixnow.OrderByCreatedOn, Count: 2}
	for number := 1; next != nil; number++ {
		page, err := client.SearchLeadsPage(ctx, *next)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("page", number)
		for _, lead := range page.Leads {
			fmt.Println(lead.ID, lead.Email)
		}
		next = page.Next // it is nil after the last page
	}
	// Output:
	// page 1
	// 1 allison@example.com
	// 2 bruno@example.com
	// page 2
	// 3 chiara@example.com
}

func ExampleClient_GetLead() {
	_, client, end := exampleAPI()
	defer end()

	ctx := context.Background()
	for _, id := range []int64{3, 4} {
		lead, err := client.GetLead(ctx, id)
		switch {
		case err == nil:
			fmt.Println(lead.ID, lead.Status)
		case errors.Is(err, clixnow.ErrLeadNotFound):
			fmt.Println(id, "was not found")
		default:
			fmt.Println(err)
		}
	}
	// Output:
	// 3 New
	// 4 was not found
}

// memoryDB stands for your database.
type memoryDB struct {
	leads    map[int64]clixnow.Lead
	position time.Time
}

// save stores leads and position in one transaction.
func (db *memoryDB) save(leads []clixnow.Lead, position time.Time) error {
	for _, lead := range leads {
		db.leads[lead.ID] = lead
	}
	db.position = position
	return nil
}

// This keeps a copy of the leads up to date. It stores the leads by id, and the
// position in the same transaction. So a program that dies continues at the
// right place, and a lead that is delivered twice does no harm. With
// PollInterval the loop runs until ctx is done.
func ExampleClient_LeadChanges() {
	api, client, end := exampleAPI()
	defer end()

	ctx := context.Background()
	db := &memoryDB{leads: make(map[int64]clixnow.Lead)} // without a position, the whole history is read
	sync := func() {
		var batch []clixnow.Lead
		changes := client.LeadChanges(ctx, clixnow.LeadChangesRequest{
			Since: db.position,
			Checkpoint: func(since time.Time, _ bool) error {
				err := db.save(batch, since)
				batch = nil
				return err
			},
		})
		for lead, err := range changes {
			if err != nil {
				fmt.Println(err)
				continue
			}
			batch = append(batch, lead)
		}
	}
	sync()
	fmt.Println(len(db.leads), "leads,", db.leads[2].Status, "at", db.position.Format(time.TimeOnly))

	err := api.UpdateLead(2, func(lead *clixnow.Lead) { lead.Status = "Deposited" }) // at the broker
	if err != nil {
		fmt.Println(err)
		return
	}
	sync()
	fmt.Println(len(db.leads), "leads,", db.leads[2].Status, "at", db.position.Format(time.TimeOnly))
	// Output:
	// 3 leads, No answer at 10:00:00
	// 3 leads, Deposited at 12:00:00
}

// This compares a lead with what is known of it, and tells what happened.
func ExampleLeadEvents() {
	known := make(map[int64]clixnow.Lead) // your database
	deliver := func(lead clixnow.Lead) {
		var before *clixnow.Lead
		if old, ok := known[lead.ID]; ok {
			before = &old
		}
		fmt.Println(clixnow.LeadEvents(before, lead))
		known[lead.ID] = lead
	}
	lead := clixnow.Lead{ID: 123456, Status: "New"}
	deliver(lead)
	deliver(lead) // a lead that is delivered twice does no harm
	lead.Status = "Customer"
	lead.FTDDate = time.Date(2026, time.May, 4, 12, 0, 0, 0, time.UTC)
	deliver(lead)
	// Output:
	// [created]
	// []
	// [status changed deposited]
}

func ExampleParseLandingURL() {
	visit, err := clixnow.ParseLandingURL("https://landing.example/?a_id=17&clickid=20fn4ngo&keyword=shoes&lang=en")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(visit.AffiliateID, visit.ClickID, visit.Keyword)
	fmt.Println(visit.Page)
	// Output:
	// 17 20fn4ngo shoes
	// https://landing.example/?lang=en
}

// This copies the tracking parameters of the landing page into a sign-up.
func ExampleLandingURL_Apply() {
	signUp := func(_ http.ResponseWriter, r *http.Request) {
		req := clixnow.CreateLeadRequest{Email: r.FormValue("email"), Placement: "popup"}
		if visit, err := clixnow.ParseLandingURL(r.Referer()); err == nil {
			visit.Apply(&req) // fields that are already set do not change
		}
		fmt.Println(req.ClickID, req.SubCampaign, req.Placement)
		fmt.Println(req.ReferralURL)
	}
	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost,
		"/sign-up?email=allison@example.com", nil)
	r.Header.Set("Referer", "https://landing.example/?clickid=20fn4ngo&subcampaign=spring&placement=footer")
	signUp(httptest.NewRecorder(), r)
	// Output:
	// 20fn4ngo spring popup
	// https://landing.example/?subcampaign=spring&clickid=20fn4ngo&placement=footer
}
