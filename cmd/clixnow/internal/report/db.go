package report

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/database"
	"github.com/clixnow/clixnow-go/store/mirror"
)

// fromMirror reads leads of a brand, or of all brands if it is "", from the
// database of "clixnow sync".
func fromMirror(ctx context.Context, a *app.App, address, brand string, now time.Time) (data, error) {
	m, closeDB, err := database.Read(ctx, address)
	if err != nil {
		return data{}, err
	}
	d := data{close: closeDB}
	positions, err := m.Positions(ctx)
	for _, p := range positions {
		if brand != "" && p.Brand != brand {
			continue
		}
		if p.CaughtUpAt.IsZero() { // A part of the leads would look complete.
			err = app.WithCode(app.CodeLater, fmt.Errorf(
				"the database does not have all leads of %q yet; run \"clixnow sync\" until it has caught up", p.Brand))
			break
		}
		if now.Sub(p.CaughtUpAt) > 2*time.Hour {
			fmt.Fprintf(a.Err,
				"clixnow: warning: the database has had no news of %q since %s; does \"clixnow sync\" run?\n",
				p.Brand, p.CaughtUpAt.UTC().Format(time.RFC3339))
		}
		if p.CaughtUpAt.After(d.asOf) {
			d.asOf = p.CaughtUpAt
		}
		d.brands = append(d.brands, p.Brand)
	}
	if err == nil && len(d.brands) == 0 {
		err = app.Usage("the database has no brand %q", brand)
	}
	if err != nil {
		closeDB()
		return data{}, database.Error(err)
	}
	d.leads = func(ctx context.Context, request clixnow.SearchLeadsRequest) iter.Seq2[entry, error] {
		return func(yield func(entry, error) bool) {
			for lead, err := range m.Leads(ctx, mirror.Query{
				Brand: brand, CreatedFrom: request.CreatedOnFrom, CreatedTo: request.CreatedOnTo,
				DepositedFrom: request.FTDDateFrom, DepositedTo: request.FTDDateTo,
			}) {
				if !yield(entry{lead.Brand, lead.Lead}, database.Error(err)) {
					return
				}
			}
		}
	}
	return d, nil
}
