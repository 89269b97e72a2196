package mock

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/clixnow/clixnow-go"
)

const (
	leadsPerPage  = 10
	requestsShown = 20
)

// view is the data of the page's template.
type view struct {
	Brand, URL string
	Behaviour  []string
	// Query is the text that is searched. "" means all leads.
	Query string
	// Leads has the leads of one page, the newest first.
	Leads []clixnow.Lead
	// Found is the number of leads with Query, and Total that of all leads.
	Found, Total int
	// Page and Last are page numbers, from 1.
	Page, Last int
	// Requests has the last requests, the newest first. Arrived is the number
	// of all requests.
	Requests []request
	Arrived  int
	Faults   []string
	// Typed is a fault that is not valid, and Refused says why. Both are "" if
	// there is none.
	Typed, Refused string
}

// Link returns the address of a page of leads.
func (v view) Link(page int) string { return link(page, v.Query) }

func link(page int, query string) string {
	address := "/_mock/?page=" + strconv.Itoa(page)
	if query != "" {
		address += "&q=" + url.QueryEscape(query)
	}
	return address
}

// person returns who registered, or "".
func person(lead clixnow.Lead) string {
	var p struct {
		FirstName   string `json:"firstName"`
		LastName    string `json:"lastName"`
		CountryCode string `json:"countryCode"`
	}
	_ = json.Unmarshal(lead.Extra[registration], &p) // a seed may have anything
	words := []string{strings.TrimSpace(p.FirstName + " " + p.LastName), p.CountryCode}
	return strings.Join(slices.DeleteFunc(words, func(word string) bool { return word == "" }), ", ")
}

// contains reports whether the search of the page finds a lead. text is in
// lower case.
func contains(lead clixnow.Lead, text string) bool {
	all := fmt.Sprintln(lead.ID, lead.Email, lead.Status, lead.CRMID, lead.BrandName, lead.ClickID, lead.Sub2,
		lead.SubCampaign, lead.Keyword, lead.Placement, person(lead), string(lead.Extra[registration]))
	return strings.Contains(strings.ToLower(all), text)
}

func (m *mock) page(w http.ResponseWriter, r *http.Request) {
	etag := fmt.Sprintf(`"%d"`, m.version.Load())
	w.Header().Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	m.show(w, r, http.StatusOK, view{})
}

// show writes the page. It executes the template into a buffer first, so that
// an error of the template does not write half of a page.
func (m *mock) show(w http.ResponseWriter, r *http.Request, status int, v view) {
	v.URL = "http://" + r.Host
	m.fill(&v, r.FormValue("page"), strings.TrimSpace(r.FormValue("q")))
	var html bytes.Buffer
	if err := m.template.Execute(&html, v); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; "+
		"connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	w.WriteHeader(status)
	_, _ = html.WriteTo(w)
}

func (m *mock) fill(v *view, page, query string) {
	v.Brand, v.Behaviour, v.Query, v.Faults = m.fake.Load().Brand, m.settings.behaviour, query, m.faults()
	leads := m.leads()
	v.Total = len(leads)
	if query != "" {
		text := strings.ToLower(query)
		leads = slices.DeleteFunc(leads, func(lead clixnow.Lead) bool { return !contains(lead, text) })
	}
	slices.SortFunc(leads, func(a, b clixnow.Lead) int {
		return cmp.Or(b.CreatedOn.Compare(a.CreatedOn), cmp.Compare(b.ID, a.ID))
	})
	v.Found = len(leads)
	v.Last = max(1, (len(leads)+leadsPerPage-1)/leadsPerPage)
	number, _ := strconv.Atoi(page) // anything but a number means the first page
	v.Page = min(max(1, number), v.Last)
	from := (v.Page - 1) * leadsPerPage
	v.Leads = leads[from:min(from+leadsPerPage, len(leads))]
	v.Requests, v.Arrived = m.recent()
	slices.Reverse(v.Requests)
	v.Requests = v.Requests[:min(len(v.Requests), requestsShown)]
}

func parsePage() *template.Template {
	functions := template.FuncMap{
		"add": func(a, b int) int { return a + b }, "json": indented, "person": person,
		"time": func(t time.Time) string { return t.UTC().Format(time.DateTime) },
	}
	return template.Must(template.New("index.html").Funcs(functions).ParseFS(files, "page/index.html"))
}

func indented(value any) (string, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // the template does it
	encoder.SetIndent("", "  ")
	err := encoder.Encode(value)
	return text.String(), err
}

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
	if err := m.changeLead(r, c); err != nil {
		http.Error(w, err.Error(), statusOf(err))
		return
	}
	redirectBack(w, r, "lead-"+r.PathValue("id"))
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

// redirectBack redirects to the page with the form. So a reload of that page
// does not send the form again.
func redirectBack(w http.ResponseWriter, r *http.Request, anchor string) {
	page, _ := strconv.Atoi(r.PostFormValue("page")) // anything but a number means the first page
	location := link(page, r.PostFormValue("q")) + "#" + anchor
	http.Redirect(w, r, location, http.StatusSeeOther)
}
