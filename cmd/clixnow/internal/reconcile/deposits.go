package reconcile

import (
	"context"
	"fmt"
	"time"

	"github.com/clixnow/clixnow-go"
)

// tolerance is how far a first deposit may lie after updatedOn. It is the
// overlap of LeadChanges, so a deposit within it is not missed.
const tolerance = time.Minute

// deposits are the first deposits of the period, as a search by their date
// shows them. They test the assumption of LeadChanges, and so of "clixnow
// sync", that a first deposit moves updatedOn.
type deposits struct {
	leads map[int64]*clixnow.Lead
	// undated means that a lead showed no date, because the brand hides the
	// dates or ignores the filter.
	undated bool
	// hidden counts the leads that hide updatedOn, and unmoved those whose
	// deposit did not move it.
	hidden, unmoved int
}

// readDeposits reads the first deposits of the period, and compares their leads
// with our registrations.
func (c *comparison) readDeposits(ctx context.Context, client *clixnow.Client, count func()) error {
	c.deposits.leads = make(map[int64]*clixnow.Lead)
	from, to := c.bounds()
	req := clixnow.SearchLeadsRequest{FTDDateFrom: from, FTDDateTo: to, Prefetch: prefetch}
	for lead, err := range client.SearchLeads(ctx, req) {
		if err != nil {
			return err
		}
		if count(); !lead.HasFTD() {
			c.deposits.undated = true
			return nil
		}
		c.add(&lead)
		if c.has(lead.FTDDate) {
			c.deposits.leads[lead.ID] = compact(&lead)
		}
	}
	return nil
}

// testDeposits reports the deposits that LeadChanges misses.
func (c *comparison) testDeposits(ctx context.Context, client *clixnow.Client, count func()) error {
	unseen := make(map[int64]bool)
	for id, lead := range c.deposits.leads {
		if lead.UpdatedOn.IsZero() {
			c.deposits.hidden++
			continue
		}
		unseen[id] = true
	}
	if c.deposits.undated || len(unseen) == 0 {
		return nil
	}
	stale := func(lead *clixnow.Lead) bool { return lead.FTDDate.Sub(lead.UpdatedOn) > tolerance }
	for lead, err := range client.LeadChanges(ctx, clixnow.LeadChangesRequest{Since: c.from}) {
		if err != nil {
			return err
		}
		count()
		if known := c.deposits.leads[lead.ID]; known != nil && !stale(known) {
			delete(unseen, lead.ID)
		}
	}
	for id := range unseen {
		c.deposits.unmoved++
		lead := c.deposits.leads[id]
		c.report(unmovedDeposit, c.ours.byID[id], lead, "a reading by updatedOn does not show this deposit")
	}
	return nil
}

// text says in words what the test has shown.
func (d *deposits) text() string {
	tested := len(d.leads) - d.hidden
	switch {
	case d.undated:
		return "Whether a first deposit moves updatedOn cannot be tested: the brand hides the\n" +
			"dates of first deposits, or ignores the filter by them."
	case len(d.leads) == 0:
		return "No first deposit was made in the period, so it was not tested whether one moves\nupdatedOn."
	case tested == 0:
		return "Whether a first deposit moves updatedOn cannot be tested: the brand hides\nupdatedOn."
	case d.unmoved == 0:
		return fmt.Sprintf("Each first deposit of the period (%d) is also found by updatedOn, as \"clixnow\n"+
			"sync\" needs it.", tested)
	}
	return fmt.Sprintf("%d of %d first deposits of the period did not move updatedOn. \"clixnow sync\" and\n"+
		"\"lead watch\" miss such a deposit until the lead changes again. Ask the brand to\n"+
		"change updatedOn with a deposit. Until then, read the deposits by their date:\n"+
		"  clixnow lead list --ftd-from 7d -o csv", d.unmoved, tested)
}
