package mock

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const maxRequests = 100

// request is a request in the log.
type request struct {
	Time   time.Time `json:"time"`
	Method string    `json:"method"`
	// Target is the path and the query, without values that may be secret.
	Target string `json:"target"`
	// Status is 0 if the connection was cut.
	Status       int     `json:"status"`
	Milliseconds float64 `json:"milliseconds"`
	// LeadID is the id of the lead that was created or logged in, or 0.
	LeadID int64 `json:"leadId,omitempty"`
	// Note says why the request was refused or cut. It is "" if it was not.
	Note string `json:"note,omitempty"`
	// Body is the body without secrets. nil means that there was none.
	Body json.RawMessage `json:"body,omitempty"`

	// email is that of a create, in lower case. "" means that there is none.
	email string
}

func (m *mock) log(r *request) {
	m.version.Add(1)
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.creating, r.email)
	m.arrived++
	m.requests = append(m.requests[max(0, len(m.requests)-maxRequests+1):], *r)
	fmt.Fprintln(m.out, r)
}

// recent returns a copy of the logged requests, oldest first, and the number of
// all requests.
func (m *mock) recent() (requests []request, arrived int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]request{}, m.requests...), m.arrived
}

// String returns the line of the log.
func (r *request) String() string {
	line := fmt.Sprintf("%s  %3d %8.2f ms  %-4s %s", r.Time.Format(time.TimeOnly), r.Status, r.Milliseconds, r.Method,
		r.Target)
	if r.LeadID != 0 {
		line += fmt.Sprintf("  lead %d", r.LeadID)
	}
	line = strings.TrimRight(line+"  "+r.Note, " ")
	return strings.Replace(line, "    0 ", "  cut ", 1)
}

// responseRecorder records the response that is written through it.
type responseRecorder struct {
	http.ResponseWriter

	status int
	// body is the first write. The fake writes a whole body at once.
	body []byte
	cut  bool
}

func (w *responseRecorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *responseRecorder) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *responseRecorder) Write(data []byte) (int, error) {
	if w.body == nil {
		w.body = data
	}
	return w.ResponseWriter.Write(data)
}

// describe adds to the entry what the response to r shows.
func (w *responseRecorder) describe(entry *request, r *http.Request, token string) {
	entry.Status = w.status
	entry.Milliseconds = float64(time.Since(entry.Time).Microseconds()/10) / 100
	var body struct {
		LeadID  int64               `json:"leadId"`
		Message string              `json:"message"`
		Errors  map[string][]string `json:"errors"`
	}
	switch {
	case w.cut:
		entry.Status = 0
		if r.Context().Err() != nil {
			entry.Note = "the client closed the connection"
		}
	case w.status == http.StatusUnauthorized:
		entry.Note = unauthorizedNote(r.Header.Get("Authorization"), token)
	case r.Method == http.MethodPost || w.status >= http.StatusBadRequest:
		_ = json.Unmarshal(w.body, &body) // the body of a fault may not be JSON
		entry.LeadID = cmp.Or(body.LeadID, entry.LeadID)
		texts := []string{body.Message}
		for _, field := range slices.Sorted(maps.Keys(body.Errors)) {
			texts = append(texts, body.Errors[field]...)
		}
		entry.Note = shorten(strings.Join(texts, " "))
	case r.URL.Path == "/autologin":
		number, _, _ := strings.Cut(r.URL.Query().Get("token"), ".")
		entry.LeadID, _ = strconv.ParseInt(number, 10, 64) // the fake has checked it
		entry.Note = "the visitor is logged in"
	}
}

// setBody notes what the log shows of the body.
func (r *request) setBody(body []byte, token string) {
	const maxShown = 64 << 10
	var object map[string]any
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber() // keeps numbers as they were sent
	shown := any(fmt.Sprintf("%d bytes, not shown: not a JSON object, or too long", len(body)))
	if err := decoder.Decode(&object); err == nil && !decoder.More() && len(body) <= maxShown {
		email, _ := object["email"].(string)
		r.email, shown = strings.ToLower(email), masked(object, token)
	}
	if data, err := json.Marshal(shown); err == nil && len(body) > 0 { // it was decoded from JSON
		r.Body = data
	}
}

// masked replaces secrets in a JSON value.
func masked(value any, token string) any {
	secrets := []string{"password", "passwd", "token", "secret", "apikey", "authorization"}
	switch value := value.(type) {
	case map[string]any:
		for name, member := range value {
			isIn := func(secret string) bool { return strings.Contains(strings.ToLower(name), secret) }
			value[name] = masked(member, token)
			if slices.ContainsFunc(secrets, isIn) {
				value[name] = "***"
			}
		}
	case []any:
		for i := range value {
			value[i] = masked(value[i], token)
		}
	case string:
		return strings.ReplaceAll(value, token, "***")
	}
	return value
}

// unauthorizedNote says what is wrong with an Authorization header. It shows no
// part of the header that may be a token.
func unauthorizedNote(header, token string) string {
	scheme, _, _ := strings.Cut(header, " ")
	switch {
	case header == "ApiToken "+token:
		return "by a fault: the token was right"
	case header == "":
		return "no Authorization header: send \"ApiToken\", a space and the token"
	case scheme == "ApiToken":
		return "wrong token: use the one that was printed at the start"
	case slices.Contains([]string{"apitoken", "bearer", "basic", "token"}, strings.ToLower(scheme)):
		return fmt.Sprintf("wrong scheme %q in the Authorization header: send \"ApiToken\"", scheme)
	}
	return "no scheme in the Authorization header: send \"ApiToken\", a space and the token"
}

// target returns a path with its query. It hides the values of parameters that
// the API does not have, because a client may put a token there.
func target(u *url.URL) string {
	const known = ",id,orderby,count,skip,createdonfrom,createdonto,modifiedonfrom,modifiedonto,ftddatefrom,ftddateto,"
	query := u.Query()
	pairs := []string{}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		value := "***"
		if strings.Contains(known, ","+strings.ToLower(name)+",") {
			value = strings.ReplaceAll(url.QueryEscape(query.Get(name)), "%3A", ":")
		}
		pairs = append(pairs, url.QueryEscape(name)+"="+value)
	}
	return shorten(strings.TrimSuffix(u.EscapedPath()+"?"+strings.Join(pairs, "&"), "?"))
}

// shorten returns text on one line and with at most 300 characters.
func shorten(text string) string {
	const maxRunes = 300
	isSeparator := func(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) }
	text = strings.Join(strings.FieldsFunc(text, isSeparator), " ")
	if runes := []rune(text); len(runes) > maxRunes {
		return string(runes[:maxRunes]) + "..."
	}
	return text
}
