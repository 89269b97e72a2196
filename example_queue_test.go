package clixnow_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// A Job belongs to a queue. What it saves survives the end of the process.
type Job struct {
	Lead clixnow.CreateLeadRequest
	// FirstAttempt is zero until it is saved.
	FirstAttempt time.Time
	Acknowledged bool
}

func (j *Job) SaveFirstAttempt(_ context.Context, at time.Time) error {
	j.FirstAttempt = at
	return nil
}

func (j *Job) Settle(_ context.Context, leadID int64) error {
	fmt.Println("settled: lead", leadID)
	j.Acknowledged = true
	return nil
}

func (j *Job) Refuse(_ context.Context, reason error) error {
	fmt.Println("refused:", reason)
	j.Acknowledged = true
	return nil
}

// handle processes one delivery of a job. It returns nil if the job is
// acknowledged. Otherwise the queue delivers the job again later.
func handle(ctx context.Context, client *clixnow.Client, job *Job) error {
	first := job.FirstAttempt // zero on the first delivery
	if first.IsZero() {
		if err := job.SaveFirstAttempt(ctx, time.Now()); err != nil {
			return err // nothing was sent
		}
	}
	lead, err := client.EnsureLeadSince(ctx, job.Lead, first) // with a zero time it is EnsureLead
	switch clixnow.OutcomeOf(err) {
	case clixnow.OutcomeRegistered:
		return job.Settle(ctx, lead.LeadID)
	case clixnow.OutcomeUnknown:
		return err // the next delivery looks for the lead first
	case clixnow.OutcomeRefused:
		switch clixnow.ReasonOf(err) {
		case clixnow.ReasonInvalid, clixnow.ReasonDuplicate, clixnow.ReasonCountry:
			return job.Refuse(ctx, err)
		default: // another time the brand may take the lead
		}
	default: // the request was not sent, or there were too many requests
	}
	// Nothing was created. Clear the time, so that a later refusal is clear.
	return errors.Join(err, job.SaveFirstAttempt(ctx, time.Time{}))
}

// A queue delivers a job again if the process dies before it acknowledges the
// job. The lead is still registered only once.
func ExampleClient_EnsureLeadSince() {
	server := clixnowtest.NewServer()
	defer server.Close()
	client := server.Client()

	// The lead arrives, but the response is lost and no search succeeds. The
	// job is then in the same state as after the end of the process.
	server.Inject(
		clixnowtest.Fault{Method: "POST", Drop: clixnowtest.DropAfterHandling},
		clixnowtest.Fault{Method: "GET", Status: 503, Times: 12},
	)
	job := &Job{Lead: clixnow.CreateLeadRequest{
		FirstName: "Allison", LastName: "Brown", Email: "allison.brown@example.com", Phone: "+41123456789",
		Password: "Password123!", CountryCode: "CH", ClickID: "20fn4ngo56n3snf74",
	}}
	err := handle(context.Background(), client, job)
	fmt.Println("acknowledged:", job.Acknowledged, "-", clixnow.OutcomeOf(err))

	// The queue delivers the job again.
	if err := handle(context.Background(), client, job); err != nil {
		fmt.Println(err)
	}
	fmt.Println("acknowledged:", job.Acknowledged, "- leads:", len(server.Leads()))

	// Output:
	// acknowledged: false - unknown
	// settled: lead 123456
	// acknowledged: true - leads: 1
}
