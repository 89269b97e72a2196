package report

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/database"
	"github.com/clixnow/clixnow-go/store/mirror"
)

// fromMirror reads leads of brands from the database of "clixnow sync". If
// configured is empty, it reads those of all brands.
func fromMirror(ctx context.Context, a *app.App, address string, configured []string, now time.Time) (data, error) {
	m, closeDB, err := database.Read(ctx, address)
	if err != nil {
		return data{}, err
	}
	d := data{close: closeDB}
	positions, err := m.Positions(ctx)
	if err == nil {
		err = d.addBrands(a, positions, configured, now)
	}
	if err != nil {
		closeDB()
		return data{}, fmt.Errorf("%w; nothing was written", database.Error(err))
	}
	query := mirror.Query{}
	if len(d.brands) == 1 {
		query.Brand = d.brands[0]
	}
	d.leads = func(ctx context.Context, request clixnow.SearchLeadsRequest) iter.Seq2[entry, error] {
		return func(yield func(entry, error) bool) {
			query.CreatedFrom, query.CreatedTo = request.CreatedOnFrom, request.CreatedOnTo
			query.DepositedFrom, query.DepositedTo = request.FTDDateFrom, request.FTDDateTo
			for lead, err := range m.Leads(ctx, query) {
				reported := err != nil || slices.Contains(d.brands, lead.Brand)
				if reported && !yield(entry{lead.Brand, lead.Lead}, database.Error(err)) {
					return
				}
			}
		}
	}
	return d, nil
}

// addBrands adds the brands of the report. Each must have its whole history in
// the database, because a part of the leads would look complete.
func (d *data) addBrands(a *app.App, positions []mirror.Position, configured []string, now time.Time) error {
	if len(positions) == 0 {
		return app.WithCode(app.CodeLater,
			errors.New("the database has no leads yet; run \"clixnow sync\" until it has caught up"))
	}
	var others []string
	for _, p := range positions {
		if len(configured) > 0 && !slices.Contains(configured, p.Brand) {
			others = append(others, strconv.Quote(p.Brand))
			continue
		}
		if p.CaughtUpAt.IsZero() {
			return app.WithCode(app.CodeLater, fmt.Errorf(
				"the database does not have all leads of %q yet; run \"clixnow sync\" until it has caught up", p.Brand))
		}
		if now.Sub(p.CaughtUpAt) > 2*time.Hour {
			fmt.Fprintf(a.Err,
				"clixnow: warning: the database has had no news of %q since %s; does \"clixnow sync\" run?\n",
				p.Brand, p.CaughtUpAt.UTC().Format(time.RFC3339))
			d.old = append(d.old, p)
		}
		if d.asOf.IsZero() || p.CaughtUpAt.Before(d.asOf) {
			d.asOf = p.CaughtUpAt
		}
		d.brands = append(d.brands, p.Brand)
	}
	for _, brand := range configured {
		if !slices.Contains(d.brands, brand) {
			return app.Usage("the database has no brand %q; run \"clixnow sync\" for it, or select another one "+
				"by --brand", brand)
		}
	}
	if len(others) > 0 && cmp.Or(a.Brand, a.Getenv("CLIXNOW_BRAND")) == "" {
		fmt.Fprintf(a.Err, "clixnow: warning: the configuration does not have %s of the database; the report is "+
			"without these leads\n", strings.Join(others, ", "))
	}
	return nil
}
