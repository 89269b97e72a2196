package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/gateway/page"
	"github.com/clixnow/clixnow-go/router"
	"github.com/clixnow/clixnow-go/store/outbox"
)

// saveTimeout limits the time to save a sign-up.
const saveTimeout = 20 * time.Second

// endpoint accepts sign-ups.
type endpoint struct {
	outbox *outbox.Outbox
	routes []router.Route
	guard  *guard
	// wait is the longest time that an answer waits for a brand.
	wait time.Duration
	site *page.Site
	// hourly limits the log lines about sign-ups without a click id.
	hourly limiter
	log    *slog.Logger
}

// add saves a sign-up, even if the visitor closes the connection.
func (e *endpoint) add(ctx context.Context, req clixnow.CreateLeadRequest) (*outbox.Signup, error) {
	req.DropInvalidOptional() // the visitor did not type these fields
	if err := req.Validate(); err != nil {
		return nil, err
	}
	takes := func(route router.Route) bool { return route.Accepts == nil || route.Accepts(req) }
	if !slices.ContainsFunc(e.routes, takes) {
		return nil, &clixnow.ValidationError{Fields: []clixnow.FieldError{{
			Field: "countryCode", Code: "country_not_accepted", Problem: "is a country that is not accepted",
		}}}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	return e.outbox.Add(ctx, req)
}

// waitFor returns the sign-up when it is settled, or after the longest wait.
func (e *endpoint) waitFor(ctx context.Context, id string) (*outbox.Signup, error) {
	ctx, cancel := context.WithTimeout(ctx, e.wait)
	defer cancel()
	return e.outbox.Wait(ctx, id)
}

// signUp saves a sign-up and waits a while for it to be registered.
func (e *endpoint) signUp(w http.ResponseWriter, r *http.Request) {
	req, err := readSignup(w, r)
	if err != nil {
		e.respond(w, r, nil, err)
		return
	}
	e.complete(&req, r)
	s, err := e.add(r.Context(), req)
	if err == nil && req.ClickID == "" && e.hourly.allows("") {
		e.log.WarnContext(r.Context(), "sign-ups come without a click id: a page does not send it, or sends a "+
			"macro that the tracker has not replaced")
	}
	if err == nil && e.wait > 0 { // after an error of waitFor it is still saved
		if now, waitErr := e.waitFor(r.Context(), s.ID); waitErr == nil {
			now.Token = s.Token
			s = now
		}
	}
	e.respond(w, r, s, err)
}

// show returns what became of a sign-up.
func (e *endpoint) show(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), saveTimeout)
	defer cancel()
	s, err := e.outbox.ByToken(ctx, r.PathValue("token"))
	e.respond(w, r, s, err)
}

// answer is the JSON form of a sign-up for visitors.
type answer struct {
	// Status is registered, refused, pending, invalid or limited.
	Status string `json:"status"`
	// RedirectURL logs the visitor in. It is "" if it was lost.
	RedirectURL string `json:"redirectUrl,omitempty"`
	// StatusURL is where to ask again.
	StatusURL string `json:"statusUrl,omitempty"`
	// Problem is a text for the visitor.
	Problem string `json:"problem,omitempty"`
	// Reason is why the brand refused the sign-up, for texts in other
	// languages.
	Reason string `json:"reason,omitempty"`
	// Fields are the faults of the request, for texts in other languages.
	Fields []clixnow.FieldError `json:"fields,omitempty"`
}

// respond writes what became of a sign-up, or the error.
func (e *endpoint) respond(w http.ResponseWriter, r *http.Request, s *outbox.Signup, err error) {
	if errors.Is(err, outbox.ErrDatabase) {
		e.log.ErrorContext(r.Context(), "a request cannot be served", "error", err)
	}
	if wantsHTML(r) {
		e.site.Answer(w, r, s, err)
		return
	}
	var invalid *clixnow.ValidationError
	code, a := http.StatusBadRequest, answer{Status: "invalid"}
	switch {
	case err == nil:
		e.writeSignup(w, s)
		return
	case errors.As(err, &invalid):
		a.Fields = invalid.Fields
	case errors.Is(err, outbox.ErrClickIDTaken):
		code = http.StatusConflict
	case errors.Is(err, outbox.ErrNotFound):
		code = http.StatusNotFound
	case errors.Is(err, errUnreadable):
	default: // outbox.ErrDatabase
		w.Header().Set("Retry-After", "5")
		writeJSON(w, http.StatusServiceUnavailable, answer{
			Status: "failed", Problem: "The database does not answer. Please try again.",
		})
		return
	}
	a.Problem = strings.TrimPrefix(err.Error(), "clixnow: ")
	writeJSON(w, code, a)
}

func (e *endpoint) writeSignup(w http.ResponseWriter, s *outbox.Signup) {
	switch s.Status {
	case outbox.Registered:
		writeJSON(w, http.StatusOK, answer{Status: string(s.Status), RedirectURL: e.site.RedirectURL(s)})
	case outbox.Refused:
		writeJSON(w, http.StatusUnprocessableEntity, answer{
			Status: string(s.Status), Problem: e.site.Refusal(s), Reason: s.Reason.String(),
		})
	default: // the visitor does not see the difference between pending and doubtful
		statusURL := "/signups/" + s.Token
		w.Header().Set("Location", statusURL)
		w.Header().Set("Retry-After", "2")
		writeJSON(w, http.StatusAccepted, answer{Status: string(outbox.Pending), StatusURL: statusURL})
	}
}

// refuse answers a request that is not allowed.
func (e *endpoint) refuse(w http.ResponseWriter, r *http.Request, code int, status, problem string) {
	if wantsHTML(r) {
		e.site.Answer(w, r, nil, page.StatusError(code))
		return
	}
	writeJSON(w, code, answer{Status: status, Problem: problem})
}

func wantsHTML(r *http.Request) bool { return strings.Contains(r.Header.Get("Accept"), "text/html") }

func writeJSON(w http.ResponseWriter, code int, value answer) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(value) //nolint:errchkjson // it fails only if the client has closed the connection
}
