// Package page has what visitors see of the gateway: the sign-up form, and the
// pages that tell what became of a sign-up. The pages have no JavaScript and
// need no cookies.
package page

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/language"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/store/outbox"
)

var (
	//go:embed pages.html
	pages string
	//go:embed style.css
	style string
)

// Options configures a Site.
type Options struct {
	// Add saves a sign-up.
	Add func(context.Context, clixnow.CreateLeadRequest) (*outbox.Signup, error)
	// Wait returns a sign-up when it is no longer pending, or after a short
	// time.
	Wait func(ctx context.Context, id string) (*outbox.Signup, error)
	// ByToken returns a sign-up by the token that Add has returned.
	ByToken func(ctx context.Context, token string) (*outbox.Signup, error)
	// Countries are the codes of the countries of the form. Nil means all.
	Countries []string
	// Texts replaces texts of the pages by their keys, see Texts. Nil means
	// none.
	Texts map[string]string
	// Address returns the address of a visitor. Nil means that it is unknown.
	Address func(*http.Request) netip.Addr
	// DemoOrigins are origins of fake brands, such as "http://127.0.0.1:8080".
	// Visitors are sent there although they are not https. Nil means none.
	DemoOrigins []string
	// Log gets the errors of the database. Nil means none.
	Log *slog.Logger
}

// Site serves the pages. It is safe for concurrent use.
type Site struct {
	opts      Options
	texts     map[string]string
	language  string // of the pages, such as "EN"
	countries []option
	pages     *template.Template
	policy    string
}

// New returns an error if a key of opts.Texts is unknown, or a country.
func New(opts Options) (*Site, error) {
	s := &Site{opts: opts}
	var err error
	if s.texts, err = parseTexts(defaultTexts); err != nil {
		return nil, err
	}
	var unknown []string
	for key, text := range opts.Texts {
		if _, known := s.texts[key]; !known {
			unknown = append(unknown, strconv.Quote(key))
		}
		s.texts[key] = text
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return nil, fmt.Errorf("the form has no texts with these keys: %s", strings.Join(unknown, ", "))
	}
	tag, err := language.Parse(s.texts["lang"])
	if err != nil {
		return nil, fmt.Errorf("the text %q must be the code of a language, such as \"en\"", "lang")
	}
	base, _ := tag.Base()
	s.language = strings.ToUpper(base.String())
	if s.countries, err = countryOptions(opts.Countries, tag); err != nil {
		return nil, err
	}
	if s.opts.Log == nil {
		s.opts.Log = slog.New(slog.DiscardHandler)
	}
	if s.opts.Address == nil {
		s.opts.Address = func(*http.Request) netip.Addr { return netip.Addr{} }
	}
	s.pages, err = template.New("").Funcs(template.FuncMap{"text": s.text, "paragraphs": paragraphs}).Parse(
		`{{define "style"}}<style>` + style + `</style>{{end}}` + pages)
	sum := sha256.Sum256([]byte(style))
	// Chromium applies form-action also to the redirect after a form.
	s.policy = "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; frame-ancestors 'none'; base-uri 'none'; form-action 'self' https: " + strings.Join(opts.DemoOrigins, " ")
	return s, err
}

func (s *Site) text(key string) (string, error) {
	text, known := s.texts[key]
	if !known {
		return "", fmt.Errorf("there is no text %q", key)
	}
	return text, nil
}

// paragraphs splits a text at empty lines.
func paragraphs(text string) []string {
	return strings.Split(strings.TrimSpace(text), "\n\n")
}

// Handler serves the form at "/", and what became of its sign-ups.
func (s *Site) Handler() http.Handler {
	const maxBody = 64 << 10 // bytes
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.showForm)
	mux.HandleFunc("POST /{$}", s.signUp)
	mux.HandleFunc("GET /registration/{token}", s.showRegistration)
	mux.HandleFunc("GET /registration/{token}/correct", s.correct)
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.Answer(w, r, nil, StatusError(http.StatusForbidden))
	}))
	return protection.Handler(http.MaxBytesHandler(mux, maxBody))
}

func (s *Site) showForm(w http.ResponseWriter, r *http.Request) {
	// The form has no personal data yet. Without no-store, the button "Back"
	// shows the same form again, and not another one that could sign up twice.
	w.Header().Set("Cache-Control", "private, no-cache")
	s.render(w, http.StatusOK, "form", s.formView(newForm(visitURL(r)), "./"))
}

// signUp saves the sign-up of the form, and waits a while until it is
// registered.
func (s *Site) signUp(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		s.Answer(w, r, nil, err)
		return
	}
	f := readForm(r)
	view := s.formView(f, "./")
	req, problems := s.request(f, r)
	if len(problems) > 0 {
		s.render(w, http.StatusUnprocessableEntity, "form", view.with(problems...))
		return
	}
	signup, err := s.add(r.Context(), req)
	var invalid *clixnow.ValidationError
	switch {
	case errors.As(err, &invalid):
		s.render(w, http.StatusUnprocessableEntity, "form", view.with(s.problems(invalid.Fields)...))
		return
	case errors.Is(err, outbox.ErrClickIDTaken):
		// If this is another person, the next sign-up needs another click id.
		f["form"], f["landing"] = rand.Text(), withoutClickID(f["landing"])
		s.render(w, http.StatusConflict, "form", s.formView(f, "./").with(problem{Text: s.texts["form.taken"]}))
		return
	case err != nil:
		s.opts.Log.ErrorContext(r.Context(), "cannot save a sign-up of the form", "error", err)
		w.Header().Set("Retry-After", "5")
		s.render(w, http.StatusServiceUnavailable, "form", view.with(problem{Text: s.texts["form.trouble"]}))
		return
	}
	token := signup.Token
	if waited, err := s.opts.Wait(r.Context(), signup.ID); err == nil {
		signup = waited
	}
	switch signup.Status {
	case outbox.Registered:
		s.sendOff(w, r, signup)
	case outbox.Refused:
		s.render(w, http.StatusUnprocessableEntity, "form", view.with(s.refusal(signup)))
	default:
		// The location is relative, because a proxy may serve this at another
		// path.
		s.setHeader(w, "same-origin")
		w.Header().Set("Location", "registration/"+url.PathEscape(token))
		w.WriteHeader(http.StatusSeeOther)
	}
}

// add saves a sign-up even if the visitor closes the connection.
func (s *Site) add(ctx context.Context, req clixnow.CreateLeadRequest) (*outbox.Signup, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return s.opts.Add(ctx, req)
}

func (s *Site) byToken(r *http.Request) (*outbox.Signup, error) {
	signup, err := s.opts.ByToken(r.Context(), r.PathValue("token"))
	if errors.Is(err, outbox.ErrDatabase) {
		s.opts.Log.ErrorContext(r.Context(), "cannot read a sign-up", "error", err)
	}
	return signup, err
}

// showRegistration shows what became of a sign-up of the form.
func (s *Site) showRegistration(w http.ResponseWriter, r *http.Request) {
	signup, err := s.byToken(r)
	if err == nil && signup.Status == outbox.Refused {
		view := s.formView(formOf(&signup.Lead), "../")
		s.render(w, http.StatusUnprocessableEntity, "form", view.with(s.refusal(signup)))
		return
	}
	s.answer(w, r, signup, err, "../")
}

// correct shows the form of a sign-up that waits. Outbox.Add decides whether
// it can still be corrected.
func (s *Site) correct(w http.ResponseWriter, r *http.Request) {
	signup, err := s.byToken(r)
	if err != nil || signup.Status == outbox.Registered {
		s.answer(w, r, signup, err, "../../")
		return
	}
	s.render(w, http.StatusOK, "form", s.formView(formOf(&signup.Lead), "../../"))
}

// view is what a page shows.
type view struct {
	// Name is the first part of the keys of its texts.
	Name string
	// Home is the relative URL of the form. "" means that there is no form.
	Home     string
	Form     form
	Fields   []field
	Problems []problem
	// Text is the key of the text of a message. "" means that of Name.
	Text string
	// Busy shows that something is being waited for.
	Busy bool
	// Correct is the relative URL at which the sign-up can be corrected. ""
	// means that it cannot.
	Correct string
}

func (v view) with(problems ...problem) view {
	v.Problems = problems
	for i := range v.Fields {
		for _, p := range problems {
			if p.Field == v.Fields[i].Name && v.Fields[i].Problem == "" {
				v.Fields[i].Problem = p.Text
			}
		}
	}
	return v
}

// formView returns the view of a form. home is the relative URL of the form.
func (s *Site) formView(f form, home string) view {
	v := view{Name: "form", Home: home, Form: f, Fields: formFields()}
	if visit, err := url.Parse(f["landing"]); err == nil && visit.RawQuery != "" && len(f["landing"]) <= longestURL {
		v.Home += "?" + visit.RawQuery // so the tracking stays in the address of the page
	}
	for i := range v.Fields {
		shown := &v.Fields[i]
		shown.Label, shown.Hint, shown.Value = s.label(shown.Name), s.texts["hint."+shown.Name], f[shown.Name]
		if shown.Type == "select" {
			shown.Options = s.countries
		}
	}
	return v
}

// setHeader sets the headers of all pages. Their content is personal.
func (s *Site) setHeader(w http.ResponseWriter, referrers string) {
	header := w.Header()
	if header.Get("Cache-Control") == "" {
		header.Set("Cache-Control", "no-store")
	}
	header.Set("Content-Security-Policy", s.policy)
	header.Set("Referrer-Policy", referrers)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Accept-CH", "Sec-CH-UA-Model")
}

func (s *Site) render(w http.ResponseWriter, status int, page string, v view) {
	var body bytes.Buffer
	if err := s.pages.ExecuteTemplate(&body, page, v); err != nil {
		s.opts.Log.Error("cannot show a page", "page", page, "error", err)
		http.Error(w, "This page is broken. This is our fault, not yours.", http.StatusInternalServerError)
		return
	}
	// With no-referrer, browsers would send the form with "Origin: null", and
	// some would refuse it.
	s.setHeader(w, "same-origin")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = body.WriteTo(w) // it fails if the visitor has closed the connection
}
