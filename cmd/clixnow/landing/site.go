package main

import (
	"bytes"
	"embed"
	"errors"
	"html/template"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/clixnow/clixnow-go"
)

//go:embed page.html style.css
var files embed.FS

// site serves the pages that visitors see. The pages have no JavaScript.
type site struct {
	registrations *registrations
	// url is the URL of the page for its visitors. Zero means unknown.
	url     url.URL
	trusted []netip.Prefix
	// maxWait is the longest time that a response waits for the outcome.
	maxWait time.Duration
	pages   *template.Template
}

func newSite(r *registrations, opts options) *site {
	return &site{
		registrations: r, url: opts.url, trusted: opts.trusted, maxWait: 5 * time.Second,
		pages: template.Must(template.ParseFS(files, "page.html")),
	}
}

func (s *site) handler() http.Handler {
	const maxBody = 16 << 10 // bytes
	// Chromium applies form-action also to the redirect after a form.
	policy := "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; " +
		"form-action 'self' https: " + s.registrations.fake
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.showForm)
	mux.HandleFunc("POST /{$}", s.signUp)
	mux.HandleFunc("GET /registration", s.showRegistration)
	mux.Handle("GET /style.css", http.FileServerFS(files))
	protected := http.NewCrossOriginProtection().Handler(http.MaxBytesHandler(mux, maxBody))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		// Responses have personal data and the login link.
		header.Set("Cache-Control", "no-store")
		header.Set("Content-Security-Policy", policy)
		// The brand gets no referrer. With no-referrer, browsers would send the
		// forms with "Origin: null", which the protection refuses.
		header.Set("Referrer-Policy", "same-origin")
		header.Set("X-Content-Type-Options", "nosniff")
		protected.ServeHTTP(w, r)
	})
}

func (s *site) showForm(w http.ResponseWriter, r *http.Request) {
	s.render(w, http.StatusOK, "form", newForm(r.URL.RawQuery), nil)
}

const busyText = "We cannot take sign-ups at the moment, so you are not signed up yet. Please try again in a minute."

func (s *site) signUp(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		status := http.StatusBadRequest
		if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
			status = http.StatusRequestEntityTooLarge
		}
		s.render(w, status, "unreadable", nil, nil)
		return
	}
	f := readForm(r.PostForm)
	req := f.request(s.url)
	req.IPAddress = visitorIP(r, s.trusted)
	if err := check(req); err != nil {
		s.showFailure(w, f, err)
		return
	}
	started := s.registrations.start(r.Context(), f, req)
	if started == nil {
		s.registrations.logger.Warn("a sign-up was refused: this program is stopping, or there are too many sign-ups")
		s.showProblems(w, http.StatusServiceUnavailable, f, []problem{{"", busyText}})
		return
	}
	http.SetCookie(w, s.cookie(f.id()))
	s.respond(w, r, started)
}

// cookie lets the waiting page find its registration. The id is not in the URL,
// because URLs are logged, and the id gives access to the login link.
func (s *site) cookie(id string) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // Secure depends on the URL, so that the page can be tried without TLS
		Name: "registration", Value: id, MaxAge: int(keepFor.Seconds()),
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: s.url.Scheme == "https",
	}
}

func (s *site) showRegistration(w http.ResponseWriter, r *http.Request) {
	var started *registration
	if cookie, err := r.Cookie("registration"); err == nil {
		started = s.registrations.find(cookie.Value)
	}
	if started == nil {
		s.render(w, http.StatusNotFound, "not found", nil, nil)
		return
	}
	s.respond(w, r, started)
}

// respond waits for the outcome of a registration and shows it. An outcome can
// take a minute. So after maxWait it shows a page that reloads itself.
func (s *site) respond(w http.ResponseWriter, r *http.Request, started *registration) {
	select {
	case <-started.done:
	case <-r.Context().Done():
		return
	case <-time.After(s.maxWait):
		s.render(w, http.StatusOK, "wait", nil, nil)
		return
	}
	switch {
	case started.err != nil:
		s.showFailure(w, started.form, started.err)
	case started.redirectURL == "":
		s.render(w, http.StatusOK, "thanks", nil, nil)
	default:
		//nolint:gosec // the URL comes from the API, not from the visitor
		http.Redirect(w, r, started.redirectURL, http.StatusSeeOther)
	}
}

func (s *site) showFailure(w http.ResponseWriter, f form, err error) {
	if clixnow.OutcomeOf(err) == clixnow.OutcomeUnknown {
		// The page sends the same form, so it continues this sign-up.
		s.render(w, http.StatusServiceUnavailable, "unknown", f, nil)
		return
	}
	status, problems := problemsFor(err)
	s.showProblems(w, status, f, problems)
}

// showProblems shows the problems and a new form with the values of f.
func (s *site) showProblems(w http.ResponseWriter, status int, f form, problems []problem) {
	next := newForm(f["tracking"])
	for _, field := range fields() {
		next[field.Name] = f[field.Name]
	}
	s.render(w, status, "form", next, problems)
}

func (s *site) render(w http.ResponseWriter, status int, page string, f form, problems []problem) {
	shown := fields()
	for i := range shown {
		shown[i].Value = f[shown[i].Name]
		for _, problem := range problems {
			if problem.Field == shown[i].Name {
				shown[i].Problem = problem.Text
			}
		}
	}
	var body bytes.Buffer
	err := s.pages.ExecuteTemplate(&body, page, map[string]any{"Form": f, "Fields": shown, "Problems": problems})
	if err != nil {
		s.registrations.logger.Error("cannot show a page: fix its template", "page", page, "error", err)
		http.Error(w, "This page is broken. This is our fault, not yours.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = body.WriteTo(w) // it fails if the visitor has closed the connection
}
