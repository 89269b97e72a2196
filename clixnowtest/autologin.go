package clixnowtest

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

const autologinPath = "/autologin"

// autologinURL returns the link that logs a lead in. It has the host of the
// request. If the server is mounted under a path prefix, the link has it too.
func (s *Server) autologinURL(r *http.Request, id int64) string {
	link := url.URL{Scheme: "http", Host: r.Host, Path: autologinPath}
	if r.TLS != nil {
		link.Scheme = "https"
	}
	if original, err := url.ParseRequestURI(r.RequestURI); err == nil {
		if prefix, ok := strings.CutSuffix(original.Path, r.URL.Path); ok {
			link.Path = prefix + autologinPath
		}
	}
	link.RawQuery = "token=" + s.autologinToken(id)
	return link.String()
}

// autologinToken returns the token of a lead's link. It is the same in every
// run, so that tests can expect it.
func (s *Server) autologinToken(id int64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", s.Brand, id))
	return fmt.Sprintf("%d.%s", id, base64.RawURLEncoding.EncodeToString(sum[:]))
}

// serveAutologin is the login page of the fake broker. A link works once.
func (s *Server) serveAutologin(w http.ResponseWriter, r *http.Request) {
	status, text := s.logIn(r)
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Date", s.date())
	if status == http.StatusMethodNotAllowed {
		header.Set("Allow", http.MethodGet)
	}
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, autologinPage, text)
}

const autologinPage = `<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Example Broker</title>
<h1>Example Broker</h1>
<p>%s</p>
<p>This page is part of clixnowtest, a fake Clixnow API for tests.</p>
</html>
`

// logIn checks the link of a request and uses it up. text contains no input of
// the request.
func (s *Server) logIn(r *http.Request) (status int, text string) {
	if r.Method != http.MethodGet {
		return http.StatusMethodNotAllowed, "This page answers GET requests only."
	}
	token := r.URL.Query().Get("token")
	number, _, _ := strings.Cut(token, ".")
	id, err := strconv.ParseInt(number, 10, 64)
	if err != nil || token != s.autologinToken(id) {
		return http.StatusNotFound, "This login link is not valid."
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	record, ok := s.leads.records[id]
	if !ok || record.loggedIn {
		return http.StatusGone, "This login link no longer works."
	}
	record.loggedIn = true
	return http.StatusOK, fmt.Sprintf("You are logged in as lead %d.", id)
}
