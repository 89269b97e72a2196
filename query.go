package clixnow

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/go-querystring/query"

	"github.com/clixnow/clixnow-go/internal/wire"
)

const (
	// maxPrefetch is the largest Prefetch.
	maxPrefetch = 64
	// maxSkip is the largest Skip. It is far beyond any list, and a walk that
	// begins there cannot overflow an int of 32 bits.
	maxSkip = 1 << 30
)

// Validate returns nil, or a [*ValidationError] with all faults at once. It
// refuses an OrderBy that is not one of the constants, a Count over
// MaxPageSize, a Prefetch over 64, a Skip over 1073741824, negative numbers, a
// To before its From, dates outside the years 1 to 9999, and a parameter of the
// SDK in Extra. Searches call Validate first, unless [WithoutValidation] was
// given.
func (r SearchLeadsRequest) Validate() error {
	var faults []FieldError
	switch r.OrderBy {
	case "", OrderByID, OrderByCreatedOn, OrderByModifiedOn, OrderByFTDDate, OrderByFTDFate:
	default:
		faults = append(faults, FieldError{
			Field: "orderBy", Code: ProblemUnknownValue,
			Problem: "must be Id, CreatedOn, ModifiedOn, FtdDate or FtdFate",
		})
	}
	if r.Count > MaxPageSize {
		faults = append(faults, outOfRange("count", "must be at most %d", MaxPageSize))
	}
	for _, p := range r.periods() {
		if !p.from.IsZero() && !p.to.IsZero() && p.to.Before(p.from) {
			faults = append(faults, outOfRange(p.name+"To", "must not be before %sFrom", p.name))
		}
	}
	return invalid(append(faults, r.basicFaults()...))
}

// checkSearch refuses a search before anything is sent.
func (c *Client) checkSearch(ctx context.Context, req *SearchLeadsRequest) error {
	if ctx == nil {
		return c.notSent("search leads", errNilContext)
	}
	if c.validate {
		return req.Validate()
	}
	return invalid(req.basicFaults())
}

// basicFaults returns the faults that are refused even with WithoutValidation,
// because no server could judge them.
func (r SearchLeadsRequest) basicFaults() []FieldError {
	return slices.Concat(r.numberFaults(), r.dateFaults(), r.extraFaults())
}

func (r SearchLeadsRequest) numberFaults() (faults []FieldError) {
	for _, number := range [...]struct {
		name  string
		value int64
	}{
		{"id", r.ID},
		{"count", int64(r.Count)},
		{"skip", int64(r.Skip)},
		{"limit", int64(r.Limit)},
		{"prefetch", int64(r.Prefetch)},
	} {
		if number.value < 0 {
			faults = append(faults, outOfRange(number.name, "must not be negative"))
		}
	}
	if r.Skip > maxSkip {
		faults = append(faults, outOfRange("skip", "must be at most %d", maxSkip))
	}
	if r.Prefetch > maxPrefetch {
		faults = append(faults, outOfRange("prefetch", "must be at most %d", maxPrefetch))
	}
	return faults
}

func (r SearchLeadsRequest) dateFaults() (faults []FieldError) {
	const problem = "must be in the years 1 to 9999"
	for _, p := range r.periods() {
		if !canBeSent(p.from) {
			faults = append(faults, outOfRange(p.name+"From", problem))
		}
		if !canBeSent(p.to) {
			faults = append(faults, outOfRange(p.name+"To", problem))
		}
	}
	return faults
}

// canBeSent reports whether a date has a year of four digits. There is no year
// 0.
func canBeSent(date time.Time) bool {
	year := date.UTC().Year()
	return 1 <= year && year <= 9999
}

func (r SearchLeadsRequest) extraFaults() (faults []FieldError) {
	if len(r.Extra) == 0 {
		return nil
	}
	reserved := []string{"id", "orderBy", "count", "skip"}
	for _, p := range r.periods() {
		reserved = append(reserved, p.name+"From", p.name+"To")
	}
	for _, name := range slices.Sorted(maps.Keys(r.Extra)) {
		if slices.ContainsFunc(reserved, func(own string) bool { return strings.EqualFold(own, name) }) {
			faults = append(faults, FieldError{
				Field: name, Code: ProblemReserved, Problem: "is a field of the request and must not be in Extra",
			})
		}
	}
	return faults
}

func outOfRange(field, format string, args ...any) FieldError {
	return FieldError{Field: field, Code: ProblemOutOfRange, Problem: fmt.Sprintf(format, args...)}
}

// period is one filter by date.
type period struct {
	name     string
	from, to time.Time
}

func (r SearchLeadsRequest) periods() [3]period {
	return [...]period{
		{"createdOn", r.CreatedOnFrom, r.CreatedOnTo},
		{"modifiedOn", r.ModifiedOnFrom, r.ModifiedOnTo},
		{"ftdDate", r.FTDDateFrom, r.FTDDateTo},
	}
}

// query returns the query parameters. They always include the order, because
// the API reference does not name a default.
func (r SearchLeadsRequest) query() url.Values {
	if r.OrderBy == "" {
		r.OrderBy = OrderByID
	}
	values, err := query.Values(r)
	if err != nil {
		panic(err) // the fields are numbers and texts, so there is no error
	}
	for _, p := range r.periods() {
		if !p.from.IsZero() {
			values.Set(p.name+"From", wire.FormatQueryTime(p.from, false))
		}
		if !p.to.IsZero() {
			values.Set(p.name+"To", wire.FormatQueryTime(p.to, true))
		}
	}
	maps.Copy(values, r.Extra)
	return values
}
