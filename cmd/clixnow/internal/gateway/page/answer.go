package page

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/store/outbox"
)

// StatusError is an error that the gateway answers with this HTTP status.
type StatusError int

// Error returns the text of the status.
func (e StatusError) Error() string { return http.StatusText(int(e)) }

// Answer writes the answer in HTML to POST /signups or GET /signups/{token}.
//
// If err is nil, it redirects to the brand, or shows what became of the
// sign-up. The page of a pending one reloads itself, so signup.Token must be
// set. Otherwise the error decides: a *clixnow.ValidationError is a 400, the
// errors of the outbox are a 404, 409 or 503, a *http.MaxBytesError is a 413,
// a StatusError has its status, and any other is a 400.
func (s *Site) Answer(w http.ResponseWriter, r *http.Request, signup *outbox.Signup, err error) {
	s.answer(w, r, signup, err, "")
}

// answer is Answer. home is the relative URL of the form. "" means that the
// page has no link to it.
func (s *Site) answer(w http.ResponseWriter, r *http.Request, signup *outbox.Signup, err error, home string) {
	if err != nil {
		s.answerError(w, err, home)
		return
	}
	v := view{Name: string(signup.Status), Home: home}
	switch signup.Status {
	case outbox.Registered:
		s.sendOff(w, r, signup)
		return
	case outbox.Refused:
		v.Problems = []problem{s.refusal(signup)}
		s.render(w, http.StatusUnprocessableEntity, "message", v)
		return
	case outbox.Pending:
		v.Busy = true
		if time.Since(signup.CreatedAt) > 5*time.Minute {
			v.Text = "pending.long"
		}
		if home != "" {
			v.Correct = url.PathEscape(signup.Token) + "/correct"
		}
	case outbox.Doubtful: // only a person can go on with it
	}
	// axe and WCAG object to <meta http-equiv="refresh">, but nothing is lost
	// when this page is loaded again.
	wait := min(max(time.Since(signup.CreatedAt)/10, 2*time.Second), time.Minute)
	refresh := strconv.Itoa(int(wait.Seconds()))
	if r.Method == http.MethodPost {
		refresh += "; url=signups/" + url.PathEscape(signup.Token)
	}
	w.Header().Set("Refresh", refresh)
	s.render(w, http.StatusAccepted, "message", v)
}

// sendOff redirects a registered visitor to the brand, or thanks.
func (s *Site) sendOff(w http.ResponseWriter, r *http.Request, signup *outbox.Signup) {
	link := s.RedirectURL(signup)
	if link == "" {
		s.render(w, http.StatusOK, "message", view{Name: "registered"})
		return
	}
	s.setHeader(w, "no-referrer")
	http.Redirect(w, r, link, http.StatusSeeOther) //nolint:gosec // the URL comes from the brand, not from the visitor
}

// RedirectURL returns the redirect URL of a sign-up if a visitor can be sent
// there, and "" otherwise. It must be https, because it logs the visitor in,
// and others could read it.
func (s *Site) RedirectURL(signup *outbox.Signup) string {
	link, err := url.Parse(signup.RedirectURL)
	switch {
	case err != nil, link.Hostname() == "", link.User != nil:
		return ""
	case link.Scheme != "https" && !slices.Contains(s.opts.DemoOrigins, link.Scheme+"://"+link.Host):
		return ""
	}
	return link.String()
}

// refusal returns what the visitor learns about a refused sign-up.
func (s *Site) refusal(signup *outbox.Signup) problem {
	p := problem{Text: s.Refusal(signup)}
	if signup.Reason == clixnow.ReasonCountry {
		p.Field = "countryCode"
	}
	return p
}

// Refusal returns the text that tells a visitor why the sign-up was refused.
func (s *Site) Refusal(signup *outbox.Signup) string {
	switch signup.Reason {
	case clixnow.ReasonInvalid, clixnow.ReasonDuplicate, clixnow.ReasonCountry:
		return s.texts["refused."+signup.Reason.String()]
	case clixnow.ReasonNone, clixnow.ReasonNoCapacity, clixnow.ReasonAccess, clixnow.ReasonOther:
	}
	return s.texts["refused.other"] // the visitor cannot change this
}

func (s *Site) answerError(w http.ResponseWriter, err error, home string) {
	var invalid *clixnow.ValidationError
	var status StatusError
	var tooLarge *http.MaxBytesError
	code, v := http.StatusBadRequest, view{Name: "unreadable", Home: home}
	switch {
	case errors.As(err, &status):
		code = int(status)
		v.Name = map[int]string{
			http.StatusUnauthorized: "forbidden", http.StatusForbidden: "forbidden", http.StatusNotFound: "not_found",
			http.StatusTooManyRequests: "limited", http.StatusServiceUnavailable: "trouble",
		}[code]
		if v.Name == "" {
			v.Name = "unreadable"
		}
	case errors.As(err, &invalid):
		v.Name = "invalid"
		for _, fault := range invalid.Fields {
			v.Problems = append(v.Problems, problem{Text: s.label(fault.Field) + ": " + s.problemText(fault)})
		}
	case errors.As(err, &tooLarge):
		code = http.StatusRequestEntityTooLarge
	case errors.Is(err, outbox.ErrClickIDTaken):
		code, v.Name = http.StatusConflict, "taken"
	case errors.Is(err, outbox.ErrNotFound):
		code, v.Name = http.StatusNotFound, "not_found"
	case errors.Is(err, outbox.ErrDatabase):
		code, v.Name = http.StatusServiceUnavailable, "trouble"
	}
	if code == http.StatusServiceUnavailable && w.Header().Get("Retry-After") == "" {
		w.Header().Set("Retry-After", "5")
	}
	s.render(w, code, "message", v)
}
