package importer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"sync"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/importer/sheet"
)

// outcome is the result of a row in one run, as the results file has it. The
// README explains each one.
type outcome string

const (
	registered    outcome = "registered"
	recovered     outcome = "recovered"
	refused       outcome = "refused"
	refusedForNow outcome = "refused for now"
	unknown       outcome = "unknown"
)

// isFinal reports whether later runs skip a row with this outcome.
func (o outcome) isFinal() bool { return o == registered || o == recovered || o == refused }

var (
	errAccess = errors.New("the API refused access; check the token, --brand and --base-url")
	errGaveUp = errors.New("stopped, because too many rows in a row could not be finished; try again later")
)

func outcomeOf(r *clixnow.BulkResult) outcome {
	if r.Err == nil && r.Response.Recovered {
		return recovered
	}
	switch clixnow.ReasonOf(r.Err) {
	case clixnow.ReasonNone:
		return outcome(clixnow.OutcomeOf(r.Err).String())
	case clixnow.ReasonInvalid, clixnow.ReasonDuplicate, clixnow.ReasonCountry:
		return refused
	default:
		return refusedForNow
	}
}

// accessError returns an error if every other row would fail in the same way,
// because the token or the address is wrong. A search for a row in doubt can
// fail in this way too.
func accessError(err error) error {
	apiErr, ok := errors.AsType[*clixnow.APIError](err)
	dns, isDNS := errors.AsType[*net.DNSError](err)
	switch {
	case isDNS && dns.IsNotFound:
		return fmt.Errorf("the host %s does not exist; check --brand and --base-url: %w", dns.Name, err)
	case ok && clixnow.ReasonOf(apiErr) == clixnow.ReasonAccess, app.Code(err) == app.CodeAccess:
		return fmt.Errorf("%w: %w", errAccess, err)
	}
	return nil
}

// importer registers the rows of the file in one run of the program.
type importer struct {
	client      *clixnow.Client
	leads       *leads
	ledger      *ledger
	concurrency int
	// redirectURLs reports whether redirect URLs are stored.
	redirectURLs bool
	// found is the survey when the import began.
	found survey
	meter *meter
	// failures counts the rows without a final outcome since the last row with
	// one.
	failures int
}

// run registers the rows that are not finished, one group after the other. When
// ctx ends, run starts no more rows, but it finishes the rows in flight.
func (i *importer) run(ctx context.Context) error {
	printed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(printed)
		i.meter.println("Stopping after the rows in flight are finished. Interrupt again to stop at once.")
	})
	defer func() {
		if !stop() {
			<-printed
		}
	}()
	n, firstDoubt, err := i.ledger.count()
	if err != nil {
		return err
	}
	if n[unknown] > 0 {
		i.meter.println(fmt.Sprintf("Searching for %s that an earlier run may have registered. "+
			"This can take half a minute for a few rows.", count(n[unknown])))
	}
	for g := range groups {
		if g == inDoubt && n[unknown] == 0 || g == refusedEarlier && n[refusedForNow] == 0 {
			continue
		}
		if err := i.registerRows(ctx, g, firstDoubt); err != nil || ctx.Err() != nil {
			return err
		}
	}
	return nil
}

// registerRows registers the rows of a group. The creates do not use the
// cancellation of ctx, so that a row in flight is finished.
func (i *importer) registerRows(ctx context.Context, g group, firstDoubt time.Time) error {
	opts := clixnow.BulkOptions{Concurrency: i.concurrency, Ensure: true}
	if g == inDoubt {
		opts.FirstAttempt = firstDoubt
	}
	i.failures = 0
	var lines sync.Map // the line of each row in flight, by BulkResult.Index
	var rowErr error   // the error of reading or preparing a row
	requests := i.requests(ctx, g, &lines, &rowErr)
	err := i.client.CreateLeads(context.WithoutCancel(ctx), requests, opts, func(r clixnow.BulkResult) error {
		line, _ := lines.LoadAndDelete(r.Index)
		return i.handle(line.(int), &r, g)
	})
	if err == nil {
		err = rowErr
	}
	return err
}

// requests yields the requests of the rows to send. It notes each row in the
// ledger first. If it fails, it stops and sets rowErr.
func (i *importer) requests(ctx context.Context, g group, lines *sync.Map,
	rowErr *error,
) iter.Seq[clixnow.CreateLeadRequest] {
	return func(yield func(clixnow.CreateLeadRequest) bool) {
		index := 0
		for record, err := range i.leads.records() {
			if ctx.Err() != nil {
				return
			}
			if err == nil && record.Line > i.found.lastLine {
				err = errors.New("the file has changed while it was read")
			}
			var lead *clixnow.CreateLeadRequest
			if err == nil {
				lead, err = i.prepare(record, g)
			}
			if err != nil {
				*rowErr = err
				return
			}
			if lead == nil {
				continue
			}
			lines.Store(index, record.Line)
			index++
			if !yield(*lead) {
				return
			}
		}
	}
}

// prepare notes in the ledger that a row will be sent, and returns its lead. It
// returns nil if the row is not among the rows to register, or if it is
// invalid or a repeat: then prepare notes the refusal.
func (i *importer) prepare(record sheet.Row, g group) (*clixnow.CreateLeadRequest, error) {
	state, err := i.ledger.state(record.Line)
	if err != nil || i.ledger.group(state) != g {
		return nil, err
	}
	row := i.leads.row(record)
	if row.fault != nil {
		i.meter.add()
		return nil, i.ledger.noteOutcome(row.line, refused, nil, row.fault)
	}
	// A row in doubt may have been sent with --allow-repeats.
	if repeats := i.found.repeats[row.line]; repeats != "" && g != inDoubt {
		i.meter.add()
		return nil, i.ledger.noteOutcome(row.line, refused, nil, errors.New(repeats))
	}
	return &row.lead, i.ledger.noteStart(row.line)
}

// handle notes the outcome of a row. It returns an error if the import must
// stop, because further rows would fail too.
func (i *importer) handle(line int, r *clixnow.BulkResult, g group) error {
	const maxFailures = 10
	result := outcomeOf(r)
	i.meter.add()
	if r.Response != nil && !i.redirectURLs {
		r.Response.RedirectURL = ""
	}
	if err := i.ledger.noteOutcome(line, result, r.Response, r.Err); err != nil {
		return err
	}
	if i.failures++; result.isFinal() {
		i.failures = 0
	}
	access := accessError(r.Err)
	switch {
	case access != nil:
		return app.WithCode(app.CodeAccess, access)
	case i.failures >= maxFailures && g != inDoubt:
		// Rows in doubt do not stop the import. Some may stay in doubt in every
		// run, and the rows after them must still be registered.
		return fmt.Errorf("%w; the last error is: %w", errGaveUp, r.Err)
	}
	return nil
}
