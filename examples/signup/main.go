// Command signup serves a sign-up form and registers its visitors as leads.
//
//	go run ./examples/signup
//	CLIXNOW_TOKEN=... go run ./examples/signup -brand acme
//
// Without -brand it uses a fake Clixnow API in memory.
package main

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"flag"
	"html/template"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// maxTime is the time that a registration may take.
const maxTime = 90 * time.Second

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen on")
	brand := flag.String("brand", "", "brand to register at (default: a fake in memory)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *addr, *brand)
	stop()
	if err != nil {
		slog.Error("signup", "err", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, addr, brand string) error {
	client, err := clixnow.NewClient(brand, os.Getenv("CLIXNOW_TOKEN"))
	if brand == "" {
		fake := clixnowtest.NewServer()
		defer fake.Close()
		client, err = fake.Client(), nil
	}
	if err != nil {
		return err
	}
	server := &http.Server{
		Addr: addr, Handler: newHandler(client), ReadTimeout: 10 * time.Second, WriteTimeout: maxTime + 10*time.Second,
	}
	stopped := make(chan error, 1)
	// Shutdown waits for the registrations that have begun.
	context.AfterFunc(ctx, func() { stopped <- server.Shutdown(context.WithoutCancel(ctx)) })
	slog.Info("listening", "url", "http://"+addr+"/?subcampaign=autumn&clickid=click-1")
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

func newHandler(client *clixnow.Client) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		// The form keeps the landing URL. So the tracking is not lost when the
		// visitor corrects the form.
		showForm(w, http.StatusOK, "", nil, url.Values{"landing": {r.URL.String()}})
	})
	mux.HandleFunc("POST /{$}", func(w http.ResponseWriter, r *http.Request) { register(w, r, client) })
	return http.NewCrossOriginProtection().Handler(http.MaxBytesHandler(mux, 64<<10))
}

func register(w http.ResponseWriter, r *http.Request, client *clixnow.Client) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, "The form cannot be read.", http.StatusBadRequest)
		return
	}
	// This context outlives the visitor's connection. So a visitor who goes
	// away does not leave the outcome unknown.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), maxTime)
	defer cancel()
	lead, err := client.EnsureLead(ctx, readForm(r))
	outcome, reason := clixnow.OutcomeOf(err), clixnow.ReasonOf(err)
	slog.Info("sign-up", "outcome", outcome, "reason", reason, "err", err)
	switch {
	case outcome == clixnow.OutcomeRegistered:
		redirect(w, r, lead.RedirectURL)
	case outcome == clixnow.OutcomeUnknown:
		// A program with a queue saves the request here. See examples/queue.
		show(w, http.StatusAccepted, page{Title: "We are checking your sign-up", Text: "Please do not sign up again."})
	case reason == clixnow.ReasonInvalid:
		showForm(w, http.StatusUnprocessableEntity, "Please correct the form.", fieldErrors(err), r.PostForm)
	case reason == clixnow.ReasonCountry:
		texts := map[string]string{"countryCode": "This country is not available."}
		showForm(w, http.StatusUnprocessableEntity, "Please correct the form.", texts, r.PostForm)
	case reason == clixnow.ReasonDuplicate:
		showForm(w, http.StatusConflict, "You are registered already.", nil, r.PostForm)
	default:
		// Nothing was created, and the brand may take the lead later.
		w.Header().Set("Retry-After", "300")
		showForm(w, http.StatusServiceUnavailable, "Please try again in a few minutes.", nil, r.PostForm)
	}
}

// readForm returns the request for a form.
func readForm(r *http.Request) clixnow.CreateLeadRequest {
	req := clixnow.CreateLeadRequest{
		FirstName: r.PostForm.Get("firstName"), LastName: r.PostForm.Get("lastName"),
		Email: r.PostForm.Get("email"), Phone: r.PostForm.Get("phone"),
		Password: r.PostForm.Get("password"), CountryCode: r.PostForm.Get("countryCode"),
	}
	// Behind a proxy, take the address from the header that the proxy sets.
	if addr, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		req.IPAddress = addr.Addr()
	}
	if landing, err := clixnow.ParseLandingURL(r.PostForm.Get("landing")); err == nil {
		landing.Apply(&req)
	}
	if req.ClickID == "" {
		// EnsureLead finds a lead by its click id, which must be unique.
		req.ClickID = rand.Text()
	}
	// A value that the visitor did not type must not cost the sign-up.
	req.DropInvalidOptional()
	return req
}

// redirect sends a registered visitor to the brand. The URL logs the visitor
// in, so it is not stored and not logged.
func redirect(w http.ResponseWriter, r *http.Request, rawURL string) {
	target, err := url.Parse(rawURL)
	// The fake uses http. If the lead was recovered, there is no URL.
	if err != nil || target.Host == "" || target.Scheme != "https" && target.Hostname() != "127.0.0.1" {
		show(w, http.StatusOK, page{Title: "Thank you", Text: "You are registered. Our partner will contact you."})
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	http.Redirect(w, r, rawURL, http.StatusSeeOther) //nolint:gosec // G710: the URL is the brand's, not the visitor's
}

// fieldErrors returns the texts of an invalid request by field.
func fieldErrors(err error) map[string]string {
	texts := make(map[string]string)
	if invalid := new(clixnow.ValidationError); errors.As(err, &invalid) {
		for _, fault := range invalid.Fields {
			texts[fault.Field] = fault.Problem
		}
	}
	if api := new(clixnow.APIError); errors.As(err, &api) {
		for field, messages := range api.Fields {
			texts[field] = strings.Join(messages, " ")
		}
	}
	return texts
}

type field struct{ Name, Label, Type, Autocomplete, Value, Error string }

type page struct {
	Title, Text, Landing string
	Fields               []field
	OtherErrors          map[string]string
}

// showForm shows the form with what the visitor typed, except the password.
func showForm(w http.ResponseWriter, status int, text string, texts map[string]string, form url.Values) {
	fields := []field{
		{Name: "firstName", Label: "First name", Type: "text", Autocomplete: "given-name"},
		{Name: "lastName", Label: "Last name", Type: "text", Autocomplete: "family-name"},
		{Name: "email", Label: "Email", Type: "email", Autocomplete: "email"},
		{Name: "phone", Label: "Phone, with country code", Type: "tel", Autocomplete: "tel"},
		{Name: "password", Label: "Password", Type: "password", Autocomplete: "new-password"},
		{Name: "countryCode", Label: "Country, two letters", Type: "text", Autocomplete: "country"},
	}
	form.Del("password")
	for i, f := range fields {
		fields[i].Value, fields[i].Error = form.Get(f.Name), texts[f.Name]
		delete(texts, f.Name)
	}
	show(w, status, page{"Sign up", text, form.Get("landing"), fields, texts})
}

//go:embed page.html
var pageHTML string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

func show(w http.ResponseWriter, status int, p page) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	// An error means that the visitor has gone away.
	_ = pageTemplate.Execute(w, p)
}
