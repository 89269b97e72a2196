// Package admin serves the page on which operators watch the sign-ups of an
// outbox, correct them and retry them.
package admin

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/loopback"
	"github.com/clixnow/clixnow-go/store/outbox"
)

// Options configures the page.
type Options struct {
	// Outbox has the sign-ups. It must not be nil.
	Outbox *outbox.Outbox
	// PasswordFile has a line for each user. See HashPassword. "" means that
	// there are no passwords.
	PasswordFile string
	// UserHeader is the header in which a proxy puts the user whose login it
	// has checked. "" means none.
	UserHeader string
	// Proxies are the addresses whose UserHeader and X-Forwarded-For count. Nil
	// means none.
	Proxies []netip.Prefix
	// Hosts are further allowed values of Host. Those of this machine are
	// always allowed.
	Hosts []string
	// Loopback reports that other machines cannot reach the listener. Only then
	// the page works without a login.
	Loopback bool
	// Version is shown on the page. "" means none.
	Version string
	// Log gets a line for each action and each wrong login. It gets no data of
	// leads. Nil means none.
	Log *slog.Logger
}

//go:embed page
var files embed.FS

// admin serves the pages.
type admin struct {
	Options

	pages *template.Template
}

// operator is the key of the name of the operator in a context.
type operator struct{}

// New returns the handler of the page. It returns an error if the login is not
// configured, or if the password file cannot be used.
func New(opts Options) (http.Handler, error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	users, err := newLogin(opts)
	if err != nil {
		return nil, err
	}
	a := &admin{Options: opts, pages: template.Must(template.New("").Funcs(words()).ParseFS(files, "page/*.html"))}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.list)
	mux.HandleFunc("GET /signups.csv", a.download)
	mux.HandleFunc("GET /retry", a.askRetry)
	mux.HandleFunc("POST /retry", a.retryAll)
	mux.HandleFunc("GET /signups/{id}", a.details)
	mux.HandleFunc("POST /signups/{id}/retry", a.retry)
	mux.HandleFunc("POST /signups/{id}/correct", a.correct)
	mux.HandleFunc("POST /signups/{id}/give-up", a.giveUp)
	for _, file := range []string{"style.css", "live.js", "icon.svg"} {
		mux.HandleFunc("GET /page/"+file, func(w http.ResponseWriter, r *http.Request) {
			http.ServeFileFS(w, r, files, "page/"+file)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { a.fail(w, r, outbox.ErrNotFound) })
	sameSite := http.NewCrossOriginProtection()
	sameSite.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.problem(w, r, http.StatusForbidden, "This form is not of this page. Nothing was done.")
	}))
	return a.guard(users, sameSite.Handler(mux)), nil
}

// guard sets the headers of all responses, and lets requests through that are
// meant for this page and have a login.
func (a *admin) guard(users *login, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Cache-Control", "no-store")
		header.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; "+
			"connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		header.Set("Referrer-Policy", "same-origin") // without a referrer, Origin would be null
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("X-Frame-Options", "DENY")
		if !loopback.Allows(r.Host, a.Hosts...) {
			http.Error(w, "This page does not answer to this host name. Add the name to hosts in [gateway.admin].",
				http.StatusForbidden)
			return
		}
		name, denied := users.user(r)
		if denied != nil {
			switch denied.status {
			case http.StatusUnauthorized:
				header.Set("WWW-Authenticate", `Basic realm="Clixnow gateway", charset="UTF-8"`)
			case http.StatusTooManyRequests:
				header.Set("Retry-After", "60")
			}
			http.Error(w, denied.text, denied.status)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), operator{}, name)))
	})
}

// by returns the name of the operator.
func by(r *http.Request) string {
	name, _ := r.Context().Value(operator{}).(string)
	return name
}

// head is what all pages show.
type head struct {
	Title, User, Version string
	// Back is the address of the list.
	Back string
}

func (a *admin) head(r *http.Request, title string) head {
	return head{Title: title, User: strings.TrimPrefix(by(r), noLogin), Version: a.Version, Back: "/"}
}

// show writes a page. It executes the template into a buffer first, so that an
// error of the template does not write half of a page.
func (a *admin) show(w http.ResponseWriter, r *http.Request, status int, page string, data any) {
	var html bytes.Buffer
	if err := a.pages.ExecuteTemplate(&html, page, data); err != nil {
		a.Log.ErrorContext(r.Context(), "show an admin page", "page", page, "error", err)
		http.Error(w, "This page cannot be shown. The log of the gateway says why.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = html.WriteTo(w) // it fails if the client has closed the connection
}

// problemView is the data of a page with a problem.
type problemView struct {
	head

	// Text is the problem. Link is the text of the link to Back.
	Text, Link string
}

// problem writes a page with one sentence about a problem.
func (a *admin) problem(w http.ResponseWriter, r *http.Request, status int, text string) {
	a.show(w, r, status, "problem.html", problemView{a.head(r, "This did not work"), text, "Back to the list"})
}

// fail writes the response for an error of the outbox.
func (a *admin) fail(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, outbox.ErrNotFound):
		a.problem(w, r, http.StatusNotFound,
			"There is no such page. If it was a sign-up, it has been deleted after its time.")
	case r.Context().Err() != nil: // the browser does not wait any more
	default:
		a.Log.ErrorContext(r.Context(), "serve an admin page", "error", err)
		w.Header().Set("Retry-After", "5")
		a.problem(w, r, http.StatusServiceUnavailable, "The database does not answer. Please try again.")
	}
}

// log writes a line about an action of an operator.
func (a *admin) log(r *http.Request, action string, attributes ...any) {
	a.Log.InfoContext(r.Context(), "an operator has "+action, append([]any{"by", by(r)}, attributes...)...)
}

// ago returns how long ago or how far away a time is, in words.
func ago(t time.Time) string {
	d, form := time.Since(t), "%s ago"
	if d < 0 {
		d, form = -d, "in %s"
	}
	unit := func(n time.Duration, name string) string {
		if n != 1 {
			name += "s"
		}
		return fmt.Sprintf(form, fmt.Sprintf("%d %s", n, name))
	}
	switch {
	case d < 10*time.Second && form == "in %s":
		return "now"
	case d < 10*time.Second:
		return "just now"
	case d < 100*time.Second:
		return unit(d/time.Second, "second")
	case d < 100*time.Minute:
		return unit(d/time.Minute, "minute")
	case d < 48*time.Hour:
		return unit(d/time.Hour, "hour")
	}
	return unit(d/(24*time.Hour), "day")
}
