package main

import (
	"bytes"
	"cmp"
	_ "embed" // for page.html
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/clixnow/clixnow-go"
)

const (
	leadsPerPage  = 10
	requestsShown = 20
)

//go:embed page.html
var pageHTML string

// view is the data of the page's template.
type view struct {
	Brand string
	// Leads has the leads of one page, the newest first.
	Leads []clixnow.Lead
	// Total is the number of all leads. Page and Last are page numbers, from 1.
	Total, Page, Last int
	// Requests has the last requests, the newest first.
	Requests []request
	Faults   []string
	// Typed is a fault that is not valid, and Refused says why. Both are "" if
	// there is none.
	Typed, Refused string
}

func (m *mock) page(w http.ResponseWriter, r *http.Request) {
	m.show(w, r, http.StatusOK, view{})
}

// show writes the page. It executes the template into a buffer first, so that
// an error of the template does not write half of a page.
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
	v.Last = max(1, (len(leads)+leadsPerPage-1)/leadsPerPage)
	number, _ := strconv.Atoi(page) // anything but a number means the first page
	v.Page = min(max(1, number), v.Last)
	from := (v.Page - 1) * leadsPerPage
	v.Leads = leads[from:min(from+leadsPerPage, len(leads))]
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

// submitLead changes the status or the deposit of a lead.
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
	redirectBack(w, r, fmt.Sprint("lead-", id))
}

func (m *mock) submitFault(w http.ResponseWriter, r *http.Request) {
	typed := r.PostFormValue("fault")
	fault, err := parseFault(typed)
	if err != nil {
		m.show(w, r, http.StatusUnprocessableEntity, view{Typed: typed, Refused: err.Error()})
		return
	}
	m.fake.Load().Inject(fault)
	redirectBack(w, r, "faults")
}

func (m *mock) submitClear(w http.ResponseWriter, r *http.Request) {
	m.fake.Load().ClearFaults()
	redirectBack(w, r, "faults")
}

// redirectBack redirects to the page with the form. So a reload of that page
// does not send the form again.
func redirectBack(w http.ResponseWriter, r *http.Request, anchor string) {
	page, _ := strconv.Atoi(r.PostFormValue("page")) // anything but a number means the first page
	location := fmt.Sprintf("/_mock/?page=%d#%s", page, anchor)
	http.Redirect(w, r, location, http.StatusSeeOther) //nolint:gosec // G710: only numbers come from the request
}
