package admin

import (
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/importer"
	"github.com/clixnow/clixnow-go/store/outbox"
)

const (
	rowsPerPage = 50
	// maxWaits is the number of waiting sign-ups whose reasons are counted.
	maxWaits = 1000
	// maxRetries is the number of sign-ups that one press of a button retries.
	maxRetries = 1000
)

// filter is what the operator has selected.
type filter struct {
	Status outbox.Status
	Search string
}

// filterOf reads the filter of a request. An unknown status means all.
func filterOf(r *http.Request) filter {
	f := filter{outbox.Status(r.FormValue("status")), strings.TrimSpace(r.FormValue("q"))}
	if !slices.Contains(statuses(), f.Status) {
		f.Status = ""
	}
	return f
}

// Link returns an address with the filter and further values, which are pairs.
func (f filter) Link(path string, values ...string) string {
	query := url.Values{}
	for i, pairs := 0, append([]string{"status", string(f.Status), "q", f.Search}, values...); i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			query.Set(pairs[i], pairs[i+1])
		}
	}
	if len(query) == 0 {
		return path
	}
	return path + "?" + query.Encode()
}

// With returns the filter with another status.
func (f filter) With(status outbox.Status) filter { return filter{status, f.Search} }

// WithoutSearch returns the filter without its text.
func (f filter) WithoutSearch() filter { return filter{Status: f.Status} }

func (f filter) query(limit int) outbox.Query {
	return outbox.Query{Status: f.Status, Search: f.Search, Limit: limit}
}

// listView is the data of the list.
type listView struct {
	head
	filter

	Tiles  []tile
	Brands []brand
	Waits  []wait
	// Oldest reports that Waits has only the oldest of them.
	Oldest bool
	Rows   []outbox.Signup
	// Self is the address of this page. Newer and Older are those of other
	// pages. "" means none.
	Self, Newer, Older string
}

// tile is the number of sign-ups with a status.
type tile struct {
	Status outbox.Status
	outbox.Count
}

// list shows the numbers, the brands, what waits, and a page of sign-ups.
func (a *admin) list(w http.ResponseWriter, r *http.Request) {
	v := listView{head: a.head(r, "Sign-ups"), filter: filterOf(r)}
	err := a.fill(r.Context(), &v, r.FormValue("before"), r.FormValue("after"))
	switch {
	case errors.Is(err, outbox.ErrNotFound): // the sign-up at the end of the page before has been deleted
		http.Redirect(w, r, v.Link("/"), http.StatusSeeOther)
	case err != nil:
		a.fail(w, r, err)
	default:
		a.show(w, r, http.StatusOK, "list.html", v)
	}
}

func (a *admin) fill(ctx context.Context, v *listView, before, after string) error {
	counts, err := a.Outbox.Counts(ctx)
	if err != nil {
		return err
	}
	v.Self = v.Link("/", "before", before, "after", after)
	all := tile{}
	for _, status := range statuses() {
		v.Tiles = append(v.Tiles, tile{status, counts[status]})
		all.Number += counts[status].Number
	}
	v.Tiles = append([]tile{all}, v.Tiles...)
	for _, state := range a.Outbox.Brands() {
		v.Brands = append(v.Brands, brandOf(state))
	}
	waiting, err := a.Outbox.List(ctx, outbox.Query{Status: outbox.Pending, OldestFirst: true, Limit: maxWaits})
	if err != nil {
		return err
	}
	v.Waits, v.Oldest = waits(waiting), counts[outbox.Pending].Number > maxWaits
	return a.page(ctx, v, before, after)
}

// page reads the sign-ups of a page: those after one, or before one, in the
// order of time.
func (a *admin) page(ctx context.Context, v *listView, before, after string) (err error) {
	q := v.query(rowsPerPage + 1)
	q.Before, q.OldestFirst = before, after != ""
	if after != "" {
		q.Before = after
	}
	if v.Rows, err = a.Outbox.List(ctx, q); err != nil {
		return err
	}
	hasMore := len(v.Rows) > rowsPerPage
	v.Rows = v.Rows[:min(len(v.Rows), rowsPerPage)]
	if after != "" {
		if !hasMore { // the first page is always full
			return a.page(ctx, v, "", "")
		}
		slices.Reverse(v.Rows)
	}
	if len(v.Rows) == 0 {
		return nil
	}
	if before != "" || after != "" {
		v.Newer = v.Link("/", "after", v.Rows[0].ID)
	}
	if hasMore || after != "" {
		v.Older = v.Link("/", "before", v.Rows[len(v.Rows)-1].ID)
	}
	return nil
}

// download writes all sign-ups that match the filter as CSV, the newest first.
func (a *admin) download(w http.ResponseWriter, r *http.Request) {
	q := filterOf(r).query(500)
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition",
		`attachment; filename="signups-`+time.Now().UTC().Format("2006-01-02-1504")+`.csv"`)
	_, _ = w.Write([]byte("\uFEFF")) // so that Excel reads UTF-8
	table, rows := csv.NewWriter(w), 0
	_ = table.Write([]string{
		"Id", "Signed up (UTC)", "Status", "Why", "First name", "Last name", "Email", "Phone", "Country", "Click id",
		"Sub-campaign", "Brand", "Lead id", "Tries", "Next try (UTC)", "Settled (UTC)", "Problem",
	}) // Flush returns the error
	for {
		// A long download outlives the timeout of the server.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute))
		page, err := a.Outbox.List(r.Context(), q)
		for i := range page {
			_ = table.Write(record(&page[i]))
		}
		table.Flush()
		rows += len(page)
		switch err = cmp.Or(err, table.Error()); {
		case err != nil:
			a.Log.ErrorContext(r.Context(), "download sign-ups", "rows", rows, "error", err)
			panic(http.ErrAbortHandler) // so that the browser reports that the file is not complete
		case len(page) == 0:
			a.log(r, "downloaded sign-ups", "rows", rows)
			return
		}
		q.Before = page[len(page)-1].ID
	}
}

// record returns the line of a sign-up in CSV. No cell is a formula for a
// spreadsheet.
func record(s *outbox.Signup) []string {
	date := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.DateTime)
	}
	leadID := ""
	if s.LeadID != 0 {
		leadID = strconv.FormatInt(s.LeadID, 10)
	}
	cells := []string{
		s.ID, date(s.CreatedAt), statusName(s.Status), why(s).text, s.Lead.FirstName, s.Lead.LastName, s.Lead.Email,
		s.Lead.Phone, s.Lead.CountryCode, s.Lead.ClickID, s.Lead.SubCampaign, s.Brand, leadID,
		strconv.FormatInt(s.Tries, 10), date(nextTry(s)), date(s.SettledAt), s.Problem,
	}
	for i, cell := range cells {
		cells[i] = importer.EscapeFormula(cell)
	}
	return cells
}

// retryView is the data of the page that retries many sign-ups.
type retryView struct {
	head
	filter

	// Number is how many sign-ups a press of the button retries. More reports
	// that more of them match.
	Number int
	More   bool
	// Before is the last sign-up that was retried. "" means none.
	Before string
	// Done reports that sign-ups were retried. Retried, Changed and Failed say
	// how many.
	Done                     bool
	Retried, Changed, Failed int
}

// askRetry asks whether all that match should be retried, and shows how many
// were retried before.
func (a *admin) askRetry(w http.ResponseWriter, r *http.Request) {
	v := retryView{head: a.head(r, "Retry sign-ups"), filter: filterOf(r), Before: r.FormValue("before")}
	v.Back, v.Done = v.Link("/"), r.FormValue("retried") != ""
	for name, number := range map[string]*int{"retried": &v.Retried, "changed": &v.Changed, "failed": &v.Failed} {
		*number, _ = strconv.Atoi(r.FormValue(name)) // anything but a number means 0
	}
	found, err := a.retryable(r, v.Before)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	v.Number, v.More = min(len(found), maxRetries), len(found) > maxRetries
	a.show(w, r, http.StatusOK, "retry.html", v)
}

// retryable returns the sign-ups that match the filter, the oldest first. If
// more than maxRetries match, it returns one more. Of registered sign-ups, and
// without a status, there are none.
func (a *admin) retryable(r *http.Request, before string) ([]outbox.Signup, error) {
	f := filterOf(r)
	if f.Status == "" || f.Status == outbox.Registered {
		return nil, nil
	}
	q := f.query(maxRetries + 1)
	q.Before, q.OldestFirst = before, true
	return a.Outbox.List(r.Context(), q)
}

// retryAll retries the sign-ups that match the filter, at most maxRetries.
func (a *admin) retryAll(w http.ResponseWriter, r *http.Request) {
	found, err := a.retryable(r, r.PostFormValue("before"))
	if err != nil {
		a.fail(w, r, err)
		return
	}
	found = found[:min(len(found), maxRetries)]
	ctx, name := r.Context(), by(r)
	var mu sync.Mutex
	var retried, changed, failed int
	var group errgroup.Group
	group.SetLimit(50) // the outbox commits them together
	for i := range found {
		group.Go(func() error {
			err := a.Outbox.Retry(ctx, found[i].ID, name)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				retried++
			case errors.Is(err, outbox.ErrWrongStatus), errors.Is(err, outbox.ErrNotFound):
				changed++
			default:
				failed++
				return err
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		a.Log.ErrorContext(r.Context(), "retry sign-ups", "failed", failed, "error", err)
	}
	a.log(r, "retried sign-ups", "retried", retried, "changed", changed, "failed", failed)
	last := ""
	if len(found) > 0 {
		last = found[len(found)-1].ID
	}
	next := filterOf(r).Link("/retry", "before", last, "retried", strconv.Itoa(retried),
		"changed", strconv.Itoa(changed), "failed", strconv.Itoa(failed))
	http.Redirect(w, r, next, http.StatusSeeOther) //nolint:gosec // G710: its path is fixed
}
