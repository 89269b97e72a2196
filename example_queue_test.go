package clixnow_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// A Job of some queue; what it saves is kept when the process dies.
type Job struct {
	Lead         clixnow.CreateLeadRequest
	FirstAttempt time.Time // zero until it is saved
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
	fmt.Println("for a person:", reason)
	j.Acknowledged = true
	return nil
}

// handle is one delivery. It returns nil where the job is acknowledged;
// otherwise the queue delivers it again later.
func handle(ctx context.Context, client *clixnow.Client, job *Job) error {
	first := job.FirstAttempt // zero on the first delivery
	if first.IsZero() {
		if err := job.SaveFirstAttempt(ctx, time.Now()); err != nil {
			return err // not acknowledged: nothing was sent
		}
	}
	lead, err := client.EnsureLeadSince(ctx, job.Lead, first) // a zero time: EnsureLead
	switch {
	case err == nil:
		return job.Settle(ctx, lead.LeadID) // and acknowledge
	case errors.Is(err, clixnow.ErrOutcomeUnknown):
		if errors.Is(err, clixnow.ErrDuplicateLead) || errors.Is(err, clixnow.ErrBadRequest) {
			return job.Park(ctx, err) // for a person: refused now, and no search shows the earlier try
		}
		return err // deliver it again later
	case errors.Is(err, clixnow.ErrInvalidRequest), errors.Is(err, clixnow.ErrBadRequest),
		errors.Is(err, clixnow.ErrDuplicateLead), errors.Is(err, clixnow.ErrCountryNotAllowed):
		return job.Refuse(ctx, err) // and acknowledge
	default: // not sent, too many, or the fault of token or host (401, 403, a redirect ...): nothing was created
		return errors.Join(err, job.SaveFirstAttempt(ctx, time.Time{})) // deliver it again later
	}
}

// A queue delivers a job again when the process dies, or fails to acknowledge
// it: the lead is still registered once.
func ExampleClient_EnsureLeadSince() {
	server := clixnowtest.NewServer()
	defer server.Close()
	client := server.Client()

	// The lead arrives, but its answer is lost, and no search succeeds: for the
	// job this is as if the process had died.
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
