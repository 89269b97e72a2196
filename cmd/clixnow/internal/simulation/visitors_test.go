//go:build !race

package simulation_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/clixnow/clixnow-go"
)

// visitor is a person who signs up.
type visitor struct {
	key string
	at  time.Time
	req clixnow.CreateLeadRequest
	// page is how the sign-up is sent: script, form, site, server, stranger or
	// stranger's server.
	page string
	// address is the address of the visitor's browser.
	address string
	// corrected is the email that replaces that of req. "" means none.
	corrected string
	// invalid means that the email is not valid.
	invalid bool
	// stale has the status URLs that are not valid any more.
	stale []string
	// told is the last answer that accepted the sign-up. It may be nil.
	told *answer
}

// answer is what the gateway has answered to a visitor.
type answer struct {
	visitor *visitor
	email   string
	code    int
	// link is the redirect URL of the brand. "" means none.
	link string
	// statusURL is where to ask again. "" means nowhere.
	statusURL string
	// isStatus means that it is an answer to a question about the status.
	isStatus bool
	// isStale means that the token in the question was not valid.
	isStale bool
}

// isStranger reports whether the visitor may not send sign-ups.
func (v *visitor) isStranger() bool { return strings.HasPrefix(v.page, "stranger") }

// accepted reports whether the gateway says that the sign-up is saved.
func (a *answer) accepted() bool {
	switch a.code {
	case http.StatusOK, http.StatusAccepted, http.StatusSeeOther:
		return true
	case http.StatusUnprocessableEntity:
		return !a.visitor.invalid
	}
	return false
}

var countries = []string{"CH", "DE", "FR", "US"} //nolint:gochecknoglobals // a constant

func (h *history) newVisitors() (all []*visitor) {
	for burst := range bursts {
		at := h.burst(burst)
		for i := range 1 + h.number(8, "size", burst) {
			all = append(all, h.newVisitor(all, at, fmt.Sprintf("%d-%d-%d", h.seed, burst, i), 1_000*burst+i+1))
		}
	}
	slices.SortFunc(all, func(a, b *visitor) int { return a.at.Compare(b.at) })
	return all
}

func (h *history) newVisitor(before []*visitor, burst time.Time, key string, number int) *visitor {
	v := &visitor{
		key: key, at: burst.Add(time.Duration(h.number(60_000, "visit", key)) * time.Millisecond),
		page:    []string{"script", "script", "form", "site", "server"}[h.number(5, "page", key)],
		address: fmt.Sprintf("81.2.%d.%d", number/250, 1+number%250),
		req: clixnow.CreateLeadRequest{
			FirstName: "Firstname" + key, LastName: "Last" + key, Email: "visitor." + key + "@example.com",
			Phone: fmt.Sprintf("+41791%06d", number), Password: "Secret-" + key,
			CountryCode: countries[h.number(len(countries), "country", key)], LanguageCode: "EN",
			AcceptTermsAndConditions: true, ClickID: "click-" + key, SubCampaign: "autumn",
		},
	}
	if h.chance(6, "corrects", key) {
		v.corrected = "corrected." + key + "@example.com"
	}
	other := v
	if len(before) > 0 {
		other = before[h.number(len(before), "who", key)]
	}
	if len(before) > 0 && h.chance(2, "comes with another", key) {
		other = before[len(before)-1]
		v.at = other.at.Add(time.Duration(h.number(3000, "comes after", key)) * time.Millisecond)
	}
	switch {
	case h.chance(15, "signed up before", key):
		v.req.Email, v.req.Phone, v.corrected, v.invalid = other.req.Email, other.req.Phone, "", other.invalid
	case h.chance(15, "shares a link", key):
		v.req.ClickID = other.req.ClickID
	case h.chance(12, "no click id", key):
		v.req.ClickID = ""
	case h.chance(15, "mistypes", key):
		v.req.Email, v.corrected, v.invalid = "visitor."+key+".example.com", "", true
	case h.chance(20, "stranger", key):
		v.page, v.corrected = []string{"stranger", "stranger's server"}[h.number(2, "which stranger", key)], ""
	}
	return v
}

// visit is what a visitor does.
func (g *gateway) visit(ctx context.Context, t *testing.T, v *visitor) {
	t.Helper()
	h, key := g.h, "visit "+v.key
	h.total.add("visitors by " + v.page)
	if h.chance(5, key, "double click") && v.req.ClickID != "" {
		h.total.add("double clicks")
		other := *v
		other.corrected = ""
		clicked := h.background(func() { g.signUp(ctx, t, &other, other.req, key+" double") })
		defer func() { <-clicked }()
	}
	g.signUp(ctx, t, v, v.req, key)
	if v.corrected != "" && v.req.ClickID != "" && !h.chance(5, key, "double click") {
		_ = sleep(ctx, time.Duration(h.number(5000, key, "sees the mistake"))*time.Millisecond)
		req := v.req
		req.Email = v.corrected
		before := v.told
		if a := g.signUp(ctx, t, v, req, key+" corrected"); a != nil && a.accepted() {
			if before != nil && before.statusURL != "" {
				v.stale = append(v.stale, before.statusURL)
			}
			h.total.add("corrected sign-ups")
		}
	}
	if v.told != nil && v.told.statusURL != "" {
		v.stale = append(v.stale, v.told.statusURL[:len(v.told.statusURL)-1]+"~") // guessed
	}
	for i, statusURL := range v.stale {
		_, _ = g.send(ctx, t, v, v.told.email, http.MethodGet, statusURL, "", key+fmt.Sprint(" stale", i))
	}
	for i := 0; v.told != nil && v.told.statusURL != "" && i < 3; i++ {
		_ = sleep(ctx, time.Duration(1+h.number(20, key, "asks after", i))*time.Second)
		_, _ = g.send(ctx, t, v, v.told.email, http.MethodGet, v.told.statusURL, "", key+fmt.Sprint(" asks", i))
	}
}

// signUp sends a sign-up until the gateway answers or the visitor goes away. It
// returns nil if there was no answer.
func (g *gateway) signUp(
	ctx context.Context, t *testing.T, v *visitor, req clixnow.CreateLeadRequest, key string,
) *answer {
	t.Helper()
	target, body := v.encode(t, req)
	for try := 0; !g.h.chance(10, key, "goes away", try); try++ {
		a, err := g.send(ctx, t, v, req.Email, http.MethodPost, target, body, fmt.Sprint(key, " ", try))
		if err == nil && a.code != http.StatusServiceUnavailable {
			if a.accepted() {
				v.told = a
			}
			return a
		}
		_ = sleep(ctx, 3*time.Second)
	}
	g.h.total.add("visitors that went away")
	return nil
}

// encode returns the URL and the body of a sign-up.
func (v *visitor) encode(t *testing.T, req clixnow.CreateLeadRequest) (target, body string) {
	t.Helper()
	landing := "https://landing.example/offer?subcampaign=" + req.SubCampaign
	if req.ClickID != "" {
		landing += "&clickid=" + req.ClickID
	}
	switch v.page {
	case "form", "site":
		values := url.Values{
			"firstName": {req.FirstName}, "lastName": {req.LastName}, "email": {req.Email}, "phone": {req.Phone},
			"password": {req.Password}, "countryCode": {req.CountryCode}, "acceptTermsAndConditions": {"yes"},
			"landing": {landing}, "form": {"form-" + v.key},
		}
		target = "/signups"
		if v.page == "site" {
			target = "/"
		}
		return target, values.Encode()
	case "script":
		text, err := json.Marshal(map[string]any{
			"first_name": req.FirstName, "last_name": req.LastName, "email": " " + req.Email + " ", "phone": req.Phone,
			"password": req.Password, "countryCode": req.CountryCode, "acceptTermsAndConditions": true,
			"landing": landing,
		})
		assert.NoError(t, err)
		return "/signups", string(text)
	}
	text, err := json.Marshal(req)
	assert.NoError(t, err)
	return "/signups", string(text)
}

var (
	errNoAnswer = errors.New("the gateway does not answer")
	location    = regexp.MustCompile(`^(?:/signups/|registration/|signups/)([^/]+)$`)
)

// send sends a request of a visitor to the gateway, and remembers the answer.
// The request and the answer can be lost.
func (g *gateway) send(
	ctx context.Context, t *testing.T, v *visitor, email, method, target, body, key string,
) (*answer, error) {
	t.Helper()
	var l *life
	if !g.h.chance(40, key, "lost") {
		l = g.begin()
	}
	if l == nil {
		g.h.total.add("fault: visitor without an answer")
		return nil, errNoAnswer
	}
	r := httptest.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	r.RemoteAddr = v.address + ":4000"
	r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	switch v.page {
	case "script", "form", "site":
		r.Header.Set("Origin", pageOrigin)
	case "server":
		r.Header.Set("Authorization", "Bearer "+gatewaySecret)
	case "stranger":
		r.Header.Set("Origin", "https://stranger.example")
	case "stranger's server":
		r.Header.Set("Authorization", "Bearer guessed")
	}
	switch v.page {
	case "form", "site":
		r.Header.Set("Accept", "text/html")
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	default:
		r.Header.Set("Content-Type", "application/json")
	}
	if v.page == "site" {
		r.Header.Set("Origin", "https://"+r.Host)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	w := httptest.NewRecorder()
	l.handler.ServeHTTP(w, r)
	l.requests.Done()
	if l.dead.Load() || g.h.chance(25, key, "answer lost") {
		g.h.total.add("fault: visitor without an answer")
		return nil, errNoAnswer
	}
	a := readAnswer(t, w.Result())
	a.visitor, a.email, a.isStatus = v, email, method == http.MethodGet
	a.isStale = slices.Contains(v.stale, target)
	g.h.total.add(fmt.Sprintf("answers %d to %s", a.code, method))
	g.h.mu.Lock()
	defer g.h.mu.Unlock()
	g.h.answers = append(g.h.answers, *a)
	return a, nil
}

// readAnswer reads an answer of the gateway in JSON or HTML.
func readAnswer(t *testing.T, response *http.Response) *answer {
	t.Helper()
	body, err := io.ReadAll(response.Body)
	assert.NoError(t, err)
	a := &answer{code: response.StatusCode}
	var parsed struct{ RedirectURL, StatusURL string }
	_ = json.Unmarshal(body, &parsed) // HTML has none
	a.link, a.statusURL = parsed.RedirectURL, parsed.StatusURL
	_, refresh, _ := strings.Cut(response.Header.Get("Refresh"), "url=")
	for _, to := range []string{response.Header.Get("Location"), refresh} {
		if found := location.FindString(to); found != "" {
			a.statusURL = "/" + strings.TrimPrefix(found, "/")
		} else if to != "" {
			a.link = to
		}
	}
	return a
}

// signupID returns the id of the sign-up in the token of the answer, or "".
func (a *answer) signupID() string {
	token := a.statusURL[strings.LastIndex(a.statusURL, "/")+1:]
	id, _, _ := strings.Cut(token, ".")
	return id
}
