package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/clixnow/clixnow-go"
)

//go:embed pages.html
var pageFiles embed.FS

func parsePages() *template.Template {
	return template.Must(template.New("").Funcs(template.FuncMap{
		"ago": func(t time.Time) string {
			if t.IsZero() {
				return "–"
			}
			return time.Since(t).Round(time.Second).String()
		},
		"stamp": func(t time.Time) string {
			if t.IsZero() {
				return "–"
			}
			return t.UTC().Format(time.DateTime)
		},
	}).ParseFS(pageFiles, "pages.html"))
}

// site is the common part of both handlers.
type site struct {
	signups *signups
	pages   *template.Template
	log     *slog.Logger
}

func newSite(s *signups, log *slog.Logger) *site { return &site{s, parsePages(), log} }

// publicHandler returns the handler for visitors. A sign-up request waits for
// at most wait and a few seconds.
func publicHandler(s *signups, wait time.Duration, log *slog.Logger) http.Handler {
	p := &public{newSite(s, log), wait}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.form)
	mux.HandleFunc("POST /signups", p.signUp)
	mux.HandleFunc("GET /signups/{token}", p.showStatus)
	mux.HandleFunc("GET /healthz", p.health)
	return withPrivacyHeaders(mux)
}

// adminHandler returns the handler for operators. It shows the sign-ups and the
// metrics, and has buttons to retry a sign-up or to give it up.
func adminHandler(s *signups, m *metrics, log *slog.Logger) http.Handler {
	a := newSite(s, log)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.overview)
	mux.HandleFunc("GET /signups/{id}", a.details)
	mux.HandleFunc("POST /signups/{id}/retry", a.retry)
	mux.HandleFunc("POST /signups/{id}/give-up", a.giveUp)
	mux.HandleFunc("GET /healthz", a.adminHealth)
	mux.Handle("GET /metrics", m.handler())
	// The protection prevents other sites from using the buttons.
	return withPrivacyHeaders(http.NewCrossOriginProtection().Handler(mux))
}

// withPrivacyHeaders keeps responses out of caches, because they may log a lead
// in. It also keeps the addresses of pages from other sites.
func withPrivacyHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Referrer-Policy", "no-referrer")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("X-Frame-Options", "DENY")
		next.ServeHTTP(w, r)
	})
}

type public struct {
	*site
	wait time.Duration
}

func (p *public) form(w http.ResponseWriter, r *http.Request) {
	p.show(w, http.StatusOK, "form", map[string]any{"ClickID": rand.Text(), "Landing": r.URL.String()})
}

// signUp stores a sign-up and waits a while for it to be registered.
func (p *public) signUp(w http.ResponseWriter, r *http.Request) {
	lead, err := readLead(w, r)
	if err == nil {
		lead.DropInvalidOptional() // the visitor did not type these fields
		err = lead.Validate()
	}
	if err != nil {
		p.reject(w, r, http.StatusBadRequest, err)
		return
	}
	if lead.ClickID == "" {
		lead.ClickID = rand.Text() // EnsureLead recognises the lead by it
	}
	settled, remove := p.signups.waiters.add(lead.ClickID) // before the worker can settle it
	defer remove()
	row, err := p.store(r.Context(), lead)
	switch {
	case errors.Is(err, errClickIDTaken):
		p.reject(w, r, http.StatusConflict, err)
		return
	case err != nil:
		p.fail(w, r, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), p.wait)
	defer cancel()
	row = p.waitUntilSettled(ctx, row, settled)
	p.respond(w, r, row)
}

// store stores the sign-up, even if the visitor closes the connection.
func (p *public) store(ctx context.Context, lead clixnow.CreateLeadRequest) (*signup, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return p.signups.add(ctx, lead)
}

// waitUntilSettled returns the sign-up when it is not pending or when ctx ends.
func (p *public) waitUntilSettled(ctx context.Context, row *signup, settled <-chan struct{}) *signup {
	var poll <-chan time.Time // for a worker in another process, which cannot notify this one
	if p.signups.db.shared {
		ticker := time.NewTicker(200 * time.Millisecond)
		defer ticker.Stop()
		poll = ticker.C
	}
	for row.Status == pending {
		select {
		case <-settled:
			settled = nil
		case <-poll:
		case <-ctx.Done():
			return row
		}
		if now, err := p.signups.one(ctx, `id = $1`, row.ID); err == nil {
			row = now
		}
	}
	return row
}

func (p *public) showStatus(w http.ResponseWriter, r *http.Request) {
	row, err := p.signups.one(r.Context(), `token = $1`, r.PathValue("token"))
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.respond(w, r, row)
}

// respond writes the status of a sign-up for the visitor.
func (p *public) respond(w http.ResponseWriter, r *http.Request, row *signup) {
	statusURL := "/signups/" + row.Token
	body := map[string]string{"status": string(row.Status)}
	code := http.StatusOK
	switch row.Status {
	case registered:
		if row.RedirectURL != "" && wantsHTML(r) {
			http.Redirect(w, r, row.RedirectURL, http.StatusSeeOther)
			return
		}
		if row.RedirectURL != "" {
			body["redirectUrl"] = row.RedirectURL
		}
	case refused:
		code = http.StatusUnprocessableEntity
		body["problem"] = row.VisitorProblem
	case pending, doubtful: // the visitor does not see the difference
		code = http.StatusAccepted
		body["status"], body["statusUrl"] = string(pending), statusURL
		w.Header().Set("Location", statusURL)
		w.Header().Set("Retry-After", "2")
	}
	if wantsHTML(r) {
		p.show(w, code, string(row.Status), map[string]any{"StatusURL": statusURL, "Problem": row.VisitorProblem})
		return
	}
	writeJSON(w, code, body)
}

// reject writes what is wrong with a request.
func (p *public) reject(w http.ResponseWriter, r *http.Request, code int, err error) {
	if wantsHTML(r) {
		p.show(w, code, "refused", map[string]any{"Problem": err.Error()})
		return
	}
	writeJSON(w, code, map[string]string{"status": "invalid", "problem": err.Error()})
}

func wantsHTML(r *http.Request) bool { return strings.Contains(r.Header.Get("Accept"), "text/html") }

// readLead reads a lead from JSON or from a form. The names are those of
// Clixnow's API.
func readLead(w http.ResponseWriter, r *http.Request) (lead clixnow.CreateLeadRequest, err error) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "application/json" {
		if err := json.NewDecoder(r.Body).Decode(&lead); err != nil {
			return lead, fmt.Errorf("read the JSON: %w", err)
		}
		lead.Extra = nil // visitors must not set fields that the SDK does not know
		return lead, nil
	}
	if err := r.ParseForm(); err != nil {
		return lead, fmt.Errorf("read the form: %w", err)
	}
	for name, field := range map[string]*string{
		"firstName": &lead.FirstName, "lastName": &lead.LastName, "email": &lead.Email, "phone": &lead.Phone,
		"password": &lead.Password, "countryCode": &lead.CountryCode, "languageCode": &lead.LanguageCode,
	} {
		*field = r.PostForm.Get(name)
	}
	if landing, err := clixnow.ParseLandingURL(r.PostForm.Get("landing")); err == nil {
		landing.Apply(&lead) // a click id of the landing URL replaces that of the form
	}
	if lead.ClickID == "" {
		lead.ClickID = r.PostForm.Get("clickId")
	}
	return lead, nil
}

func (s *site) overview(w http.ResponseWriter, r *http.Request) {
	const limit = 100
	counts, err := s.signups.counts(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	shown := status(r.URL.Query().Get("status"))
	if _, known := counts[shown]; !known {
		shown = pending
	}
	rows, err := s.signups.list(r.Context(), shown, limit)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.show(w, http.StatusOK, "overview", map[string]any{
		"Statuses": []status{pending, doubtful, refused, registered}, "Counts": counts, "Shown": shown, "Rows": rows,
		"Pending": counts[pending], "More": counts[shown].Number - int64(len(rows)),
		"Database": s.signups.db.name,
	})
}

func (s *site) details(w http.ResponseWriter, r *http.Request) {
	row, err := s.signups.one(r.Context(), `id = $1`, r.PathValue("id"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.show(w, http.StatusOK, "details", row)
}

func (s *site) retry(w http.ResponseWriter, r *http.Request) {
	password := r.PostFormValue("password")
	if password == "" {
		password = rand.Text() + "!" // valid for the API; the visitor can get another one from the brand
	}
	s.redirectToDetails(w, r, s.signups.retry(r.Context(), r.PathValue("id"), password))
}

func (s *site) giveUp(w http.ResponseWriter, r *http.Request) {
	s.redirectToDetails(w, r, s.signups.giveUp(r.Context(), r.PathValue("id")))
}

// redirectToDetails shows the page of the sign-up after an action.
func (s *site) redirectToDetails(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil {
		s.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/signups/"+r.PathValue("id"), http.StatusSeeOther)
}

// health is for a load balancer. The status is 200 if the database answers. It
// does not depend on the API, because sign-ups are accepted while the API is
// down.
func (p *public) health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	if err := p.signups.ping(ctx); err != nil {
		p.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// adminHealth is health with the number of sign-ups by status.
func (s *site) adminHealth(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	counts, err := s.signups.counts(ctx)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"status": "ok", "pending": counts[pending].Number,
		"oldestPendingSeconds": int64(counts[pending].age().Seconds()),
		"doubtful":             counts[doubtful].Number, "refused": counts[refused].Number,
		"registered": counts[registered].Number,
	})
}

func (s *site) show(w http.ResponseWriter, code int, page string, data any) {
	var text bytes.Buffer
	if err := s.pages.ExecuteTemplate(&text, page, data); err != nil {
		s.log.Error("cannot show a page", "page", page, "error", err)
		http.Error(w, "This page cannot be shown.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_, _ = text.WriteTo(w) // it fails if the client has closed the connection
}

func writeJSON(w http.ResponseWriter, code int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(value) //nolint:errchkjson // it fails only if the client has closed the connection
}

// fail writes the response for an error of this program.
func (s *site) fail(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, errNotFound):
		http.NotFound(w, r)
	case errors.Is(err, errWrongStatus):
		http.Error(w, "This is not possible: the status of the sign-up has changed.", http.StatusConflict)
	default:
		s.log.ErrorContext(r.Context(), "cannot serve a request", "error", err)
		w.Header().Set("Retry-After", "5")
		http.Error(w, "The database does not answer. Please try again.", http.StatusServiceUnavailable)
	}
}
