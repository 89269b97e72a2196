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

// site is the pages that visitors see. They work without JavaScript and have
// none.
type site struct {
	registrations *registrations
	url           url.URL // under which visitors reach it; zero = not known
	trusted       []netip.Prefix
	patience      time.Duration // how long an answer waits for the outcome
	pages         *template.Template
}

func newSite(r *registrations, opts options) *site {
	return &site{
		registrations: r, url: opts.url, trusted: opts.trusted, patience: 5 * time.Second,
		pages: template.Must(template.ParseFS(files, "page.html")),
	}
}

func (s *site) handler() http.Handler {
	const mostSent = 16 << 10 // bytes
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.showForm)
	mux.HandleFunc("POST /{$}", s.signUp)
	mux.HandleFunc("GET /registration", s.showRegistration)
	mux.Handle("GET /style.css", http.FileServerFS(files))
	protected := http.NewCrossOriginProtection().Handler(http.MaxBytesHandler(mux, mostSent))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Cache-Control", "no-store") // what was typed, and the link that logs in
		// Chromium asks form-action about the redirect that follows a form,
		// too.
		header.Set("Content-Security-Policy",
			"default-src 'none'; style-src 'self'; form-action 'self' https:; frame-ancestors 'none'; base-uri 'none'")
		// the brand learns nothing; no-referrer would hide from us too who sent
		// a form
		header.Set("Referrer-Policy", "same-origin")
		header.Set("X-Content-Type-Options", "nosniff")
		protected.ServeHTTP(w, r)
	})
}

func (s *site) showForm(w http.ResponseWriter, r *http.Request) {
	s.render(w, http.StatusOK, "form", newForm(r.URL.RawQuery), nil)
}

const busy = "We cannot take sign-ups just now, so you are not signed up yet. Please try again in a minute."

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
	begun := s.registrations.begin(r.Context(), f, req)
	if begun == nil {
		s.registrations.logger.Warn("a visitor was turned away: this program is stopping, or too many sign up at once")
		s.showProblems(w, http.StatusServiceUnavailable, f, []problem{{"", busy}})
		return
	}
	http.SetCookie(w, s.cookie(f.id()))
	s.answer(w, r, begun)
}

// cookie lets the page that waits find its registration. In the URL the id
// would be in logs, and with it the link that logs in.
func (s *site) cookie(id string) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // a Secure one would not come back to a page that is tried out without TLS
		Name: "registration", Value: id, MaxAge: int(remembered.Seconds()),
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: s.url.Scheme == "https",
	}
}

func (s *site) showRegistration(w http.ResponseWriter, r *http.Request) {
	var begun *registration
	if cookie, err := r.Cookie("registration"); err == nil {
		begun = s.registrations.find(cookie.Value)
	}
	if begun == nil {
		s.render(w, http.StatusNotFound, "forgotten", nil, nil)
		return
	}
	s.answer(w, r, begun)
}

// answer waits a little for the outcome. Making sure can take a minute, so then
// it shows a page that asks again by itself.
func (s *site) answer(w http.ResponseWriter, r *http.Request, begun *registration) {
	select {
	case <-begun.done:
	case <-r.Context().Done(): // nobody is there to be answered
		return
	case <-time.After(s.patience):
		s.render(w, http.StatusOK, "wait", nil, nil)
		return
	}
	switch {
	case begun.err != nil:
		s.showFailure(w, begun.form, begun.err)
	case onward(begun.lead) == "":
		s.render(w, http.StatusOK, "thanks", nil, nil)
	default:
		http.Redirect(w, r, onward(begun.lead),
			http.StatusSeeOther) //nolint:gosec // from the API, not from the visitor
	}
}

func (s *site) showFailure(w http.ResponseWriter, f form, err error) {
	if errors.Is(err, clixnow.ErrOutcomeUnknown) {
		s.render(w, http.StatusServiceUnavailable, "unknown", f, nil) // the same form sent again is the same sign-up
		return
	}
	status, problems := tell(err)
	s.showProblems(w, status, f, problems)
}

// showProblems shows the form again, with all that was typed, for a new
// sign-up.
func (s *site) showProblems(w http.ResponseWriter, status int, f form, problems []problem) {
	again := newForm(f["tracking"])
	for _, field := range fields() {
		again[field.Name] = f[field.Name]
	}
	s.render(w, status, "form", again, problems)
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
		s.registrations.logger.Error("a page cannot be shown: mend its template", "page", page, "error", err)
		http.Error(w, "This page is broken. That is our fault, not yours.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = body.WriteTo(w) // it fails where the visitor has left
}
