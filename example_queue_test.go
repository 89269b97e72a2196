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

func (j *Job) Park(_ context.Context, reason error) error {
	fmt.Println("needs a person:", reason)
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
	switch {
	case err == nil:
		return job.Settle(ctx, lead.LeadID)
	case errors.Is(err, clixnow.ErrOutcomeUnknown):
		if errors.Is(err, clixnow.ErrDuplicateLead) || errors.Is(err, clixnow.ErrBadRequest) {
			// The lead was refused now, and no search shows the lead of the
			// earlier attempt. A person must decide.
			return job.Park(ctx, err)
		}
		return err
	case errors.Is(err, clixnow.ErrInvalidRequest), errors.Is(err, clixnow.ErrBadRequest),
		errors.Is(err, clixnow.ErrDuplicateLead), errors.Is(err, clixnow.ErrCountryNotAllowed):
		return job.Refuse(ctx, err)
	default:
		// Nothing was created. The request was not sent, there were too many
		// requests, or the token or host is wrong (401, 403, a redirect).
		return errors.Join(err, job.SaveFirstAttempt(ctx, time.Time{}))
	}
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
	fmt.Println("acknowledged:", job.Acknowledged, "- unknown:", errors.Is(err, clixnow.ErrOutcomeUnknown))

	// The queue delivers the job again.
	if err := handle(context.Background(), client, job); err != nil {
		fmt.Println(err)
	}
	fmt.Println("acknowledged:", job.Acknowledged, "- leads:", len(server.Leads()))

	// Output:
	// acknowledged: false - unknown: true
	// settled: lead 123456
	// acknowledged: true - leads: 1
}
