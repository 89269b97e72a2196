package snippets

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/clixnow/clixnow-go"
)

// Job is a lead in a queue.
type Job struct {
	Lead         clixnow.CreateLeadRequest
	FirstAttempt time.Time
	// Done is what became of the job: "settled", "refused" and so on.
	Done string
}

// SaveFirstAttempt saves the time of the first attempt.
func (j *Job) SaveFirstAttempt(_ context.Context, first time.Time) error {
	j.FirstAttempt = first
	return nil
}

// Settle acknowledges the job.
func (j *Job) Settle(context.Context, int64) error { j.Done = "settled"; return nil }

// Refuse gives the lead up.
func (j *Job) Refuse(context.Context, error) error { j.Done = "refused"; return nil }

// AskBrand leaves the job to a person.
func (j *Job) AskBrand(context.Context) error { j.Done = "ask the brand"; return nil }

// Resubmit makes a new job of the lead.
func (j *Job) Resubmit(context.Context) error { j.Done = "resubmitted"; return nil }

func handle(ctx context.Context, client *clixnow.Client, job *Job) error {
	first := job.FirstAttempt // zero on the first delivery: then EnsureLeadSince does what EnsureLead does
	if first.IsZero() {
		if err := job.SaveFirstAttempt(ctx, time.Now()); err != nil {
			return err // nothing was sent
		}
	}
	lead, err := client.EnsureLeadSince(ctx, job.Lead, first)
	ctx = context.WithoutCancel(ctx) // the result is stored even if the time is up
	switch clixnow.OutcomeOf(err) {
	case clixnow.OutcomeRegistered:
		return job.Settle(ctx, lead.LeadID)
	case clixnow.OutcomeUnknown:
		return err // deliver it again later, with the saved time
	case clixnow.OutcomeRefused:
		switch clixnow.ReasonOf(err) {
		case clixnow.ReasonInvalid, clixnow.ReasonDuplicate, clixnow.ReasonCountry:
			return job.Refuse(ctx, err)
		default: // another time the brand may take the lead
		}
	default: // the request was not sent, or there were too many requests
	}
	// Nothing was created. Clear the time, and deliver the job again later.
	return errors.Join(err, job.SaveFirstAttempt(ctx, time.Time{}))
}

func signUp(
	r *http.Request, client *clixnow.Client, req clixnow.CreateLeadRequest,
) (*clixnow.EnsureLeadResponse, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 90*time.Second)
	defer cancel()
	lead, err := client.EnsureLead(ctx, req)
	return lead, err
}

func resolve(ctx context.Context, client *clixnow.Client, job *Job) error {
	if job.Lead.ClickID == "" {
		return job.AskBrand(ctx) // Many leads can have the same email.
	}
	doubtful := false
	for _, asked := range []clixnow.FindLeadsRequest{{Email: job.Lead.Email}, {ClickID: job.Lead.ClickID}} {
		// A filter may compare days, and a date may be local time.
		asked.CreatedOnFrom = job.FirstAttempt.Add(-49 * time.Hour)
		asked.CreatedOnTo = job.FirstAttempt.Add(49 * time.Hour)
		found, err := client.FindLeads(ctx, asked)
		if err != nil {
			return err
		}
		for _, lead := range found.Leads {
			if lead.ClickID == job.Lead.ClickID && strings.EqualFold(lead.Email, job.Lead.Email) {
				return job.Settle(ctx, lead.ID) // The lead was registered.
			}
		}
		doubtful = doubtful || len(found.Leads)+found.Hidden > 0 || found.Read == 0
	}
	if doubtful {
		return job.AskBrand(ctx) // Only the brand can say whether it has the lead.
	}
	return job.Resubmit(ctx) // The lead is not there: make a new job without a saved time.
}
