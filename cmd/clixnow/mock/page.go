package main

import (
	"bytes"
	"cmp"
	_ "embed" // the page
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/clixnow/clixnow-go"
)

const (
	leadsShown    = 10 // on a page
	requestsShown = 20
)

//go:embed page.html
var pageHTML string

// view is what the page shows.
type view struct {
	Brand             string
	Leads             []clixnow.Lead // the newest first
	Total, Page, Last int            // leads; pages from 1 on
	Requests          []request      // the newest first
	Faults            []string
	Typed, Refused    string // a fault that could not be understood, and why
}

func (m *mock) page(w http.ResponseWriter, r *http.Request) {
	m.show(w, r, http.StatusOK, view{})
}

// show writes the page. It is put together first, so that a fault of the
// template is not half a page.
func (m *mock) show(w http.ResponseWriter, r *http.Request, status int, v view) {
	m.fill(&v, r.FormValue("page"))
	var html bytes.Buffer
	if err := m.template.Execute(&html, v); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Security-Policy",
		"default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; "+
			"base-uri 'none'; frame-ancestors 'none'")
	w.WriteHeader(status)
	_, _ = html.WriteTo(w)
}

func (m *mock) fill(v *view, page string) {
	fake := m.fake.Load()
	leads := fake.Leads()
	slices.SortFunc(leads, func(a, b clixnow.Lead) int {
		return cmp.Or(b.CreatedOn.Compare(a.CreatedOn), cmp.Compare(b.ID, a.ID))
	})
	v.Brand, v.Total = fake.Brand, len(leads)
	v.Last = max(1, (len(leads)+leadsShown-1)/leadsShown)
	number, _ := strconv.Atoi(page) // what is no number is the first page
	v.Page = min(max(1, number), v.Last)
	from := (v.Page - 1) * leadsShown
	v.Leads = leads[from:min(from+leadsShown, len(leads))]
	v.Requests = m.recent()
	slices.Reverse(v.Requests)
	v.Requests = v.Requests[:min(len(v.Requests), requestsShown)]
	v.Faults = m.faults()
}

func parsePage() *template.Template {
	functions := template.FuncMap{"time": utc, "add": func(a, b int) int { return a + b }}
	return template.Must(template.New("page").Funcs(functions).Parse(pageHTML))
}

func utc(t time.Time) string { return t.UTC().Format(time.DateTime) }

// submitLead does what a person changed in the row of a lead.
func (m *mock) submitLead(w http.ResponseWriter, r *http.Request) {
	var c change
	status, deposited := r.PostFormValue("status"), r.PostFormValue("deposited") == "true"
	if r.PostForm.Has("status") {
		c.Status = &status
	}
	if r.PostForm.Has("deposited") {
		c.Deposited = &deposited
	}
	id, err := m.changeLead(r, c)
	if err != nil {
		http.Error(w, err.Error(), statusOf(err))
		return
	}
	back(w, r, fmt.Sprint("lead-", id))
}

func (m *mock) submitFault(w http.ResponseWriter, r *http.Request) {
	typed := r.PostFormValue("fault")
	fault, err := parseFault(typed)
	if err != nil {
		m.show(w, r, http.StatusUnprocessableEntity, view{Typed: typed, Refused: err.Error()})
		return
	}
	m.fake.Load().Inject(fault)
	back(w, r, "faults")
}

func (m *mock) submitClear(w http.ResponseWriter, r *http.Request) {
	m.fake.Load().ClearFaults()
	back(w, r, "faults")
}

// back leads to the page that the form was on, which can be loaded again
// without doing anything again.
func back(w http.ResponseWriter, r *http.Request, anchor string) {
	page, _ := strconv.Atoi(r.PostFormValue("page")) // what is no number is the first page
	here := fmt.Sprintf("/_mock/?page=%d#%s", page, anchor)
	http.Redirect(w, r, here, http.StatusSeeOther) //nolint:gosec // G710: of what was sent it holds numbers alone
}
