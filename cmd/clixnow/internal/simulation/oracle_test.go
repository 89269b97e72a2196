//go:build !race

package simulation_test

import (
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/store/mirror"
	"github.com/clixnow/clixnow-go/store/outbox"
)

// check checks what each visitor, brand and tracker has.
func (h *history) check(t *testing.T) {
	t.Helper()
	o, err := outbox.Open(t.Context(), h.gateway.reader, outbox.SQLite, outbox.Options{})
	require.NoError(t, err)
	all, err := o.List(t.Context(), outbox.Query{Limit: 1000})
	require.NoError(t, err)
	h.checkSignups(t, all)
	h.checkVisitors(t, all)
	h.checkMirror(t)
	h.checkBooks(t, all)
	h.checkErrors(t, all)
	h.checkSecrets(t, all)
	if t.Failed() && os.Getenv("CLIXNOW_LOGS") != "" {
		t.Log(h.logs.String())
	}
}

// place is where a lead is.
type place struct {
	brand, email string
	id           int64
}

// places returns where the leads are, by click id.
func (h *history) places() map[string][]place {
	places := make(map[string][]place)
	for _, b := range h.brands {
		for _, lead := range b.Leads() {
			if lead.ID != 1 {
				places[lead.ClickID] = append(places[lead.ClickID], place{b.Brand, lead.Email, lead.ID})
			}
		}
	}
	return places
}

// checkSignups checks that each registered sign-up is one lead, and that there
// are no other leads.
func (h *history) checkSignups(t *testing.T, all []outbox.Signup) {
	t.Helper()
	places := h.places()
	take := func(s *outbox.Signup) (found []place) {
		for _, at := range places[s.Lead.ClickID] {
			if at.email == s.Lead.Email {
				found = append(found, at)
			}
		}
		places[s.Lead.ClickID] = slices.DeleteFunc(places[s.Lead.ClickID], func(at place) bool {
			return at.email == s.Lead.Email
		})
		if len(places[s.Lead.ClickID]) == 0 {
			delete(places, s.Lead.ClickID)
		}
		return found
	}
	for i := range all {
		if s := &all[i]; s.Status == outbox.Registered {
			assert.Equal(t, []place{{s.Brand, s.Lead.Email, s.LeadID}}, take(s), "%+v", *s)
		}
	}
	for i := range all {
		s := &all[i]
		h.total.add("sign-ups that are " + strings.TrimSpace(string(s.Status)+" "+s.Reason.String()))
		switch s.Status {
		case outbox.Registered:
		case outbox.Refused:
			h.checkRefusal(t, s, all)
			assert.Empty(t, take(s), "%s is refused", s.ID)
		default:
			// Only another sign-up of the same person can leave a doubt.
			assert.LessOrEqual(t, len(take(s)), 1)
			assert.NotEmpty(t, s.FirstAttempt.Brand, "%s", s)
			same := slices.ContainsFunc(all, func(o outbox.Signup) bool {
				return o.ID != s.ID && (o.Lead.Email == s.Lead.Email || o.Lead.Phone == s.Lead.Phone)
			})
			assert.True(t, same, "%s is in doubt: %s", s.ID, s.Problem)
		}
	}
	assert.Empty(t, places, "these leads are at a brand, but not registered here")
}

// checkRefusal checks that there is a reason why no brand takes a sign-up.
func (h *history) checkRefusal(t *testing.T, s *outbox.Signup, all []outbox.Signup) {
	t.Helper()
	_, givenUp := h.givenUpSignups.Load(s.ID)
	same := slices.ContainsFunc(all, func(o outbox.Signup) bool {
		return o.ID != s.ID && (o.Lead.Email == s.Lead.Email || o.Lead.Phone == s.Lead.Phone)
	})
	switch s.Reason {
	case clixnow.ReasonCountry:
		assert.NotContains(t, []string{"CH", "DE"}, s.Lead.CountryCode)
		for _, b := range h.brands { // after a duplicate, no other brand is tried
			assert.True(t, b.isPicky || same, "%s takes all countries", b.Brand)
		}
	case clixnow.ReasonDuplicate:
		assert.True(t, same || givenUp, "%s is no duplicate", s.ID)
	default: // the brands do not give the other reasons
		assert.True(t, givenUp, "%s is refused by reason %q", s.ID, s.Reason)
	}
}

// checkVisitors checks what the gateway has answered to the visitors.
func (h *history) checkVisitors(t *testing.T, all []outbox.Signup) {
	t.Helper()
	for i := range h.answers {
		a := &h.answers[i]
		v := a.visitor
		name := fmt.Sprintf("%s by %s: %d to %s", v.key, v.page, a.code, a.email)
		click := v.req.ClickID
		if click == "" && v.page == "site" {
			click = "form-" + v.key
		}
		isOurs := func(s outbox.Signup) bool {
			isEmail := s.Lead.Email == v.req.Email || s.Lead.Email == v.corrected
			return isEmail && (click == "" || s.Lead.ClickID == click)
		}
		if a.isStale {
			codes := []int{http.StatusNotFound, http.StatusServiceUnavailable}
			assert.Contains(t, codes, a.code, "%s: a token that is not valid", name)
			continue
		}
		if a.link != "" {
			to, ok := h.links[a.link]
			if assert.True(t, ok, "%s: no brand knows the redirect URL", name) {
				isTheirs := to.email == a.email || a.isStatus && to.email == v.corrected
				assert.True(t, isTheirs, "%s: the redirect URL is that of %s", name, to.email)
			}
		}
		switch a.code {
		case http.StatusOK, http.StatusAccepted, http.StatusSeeOther:
			saved := slices.ContainsFunc(all, func(s outbox.Signup) bool {
				return isOurs(s) && (a.statusURL == "" || s.ID == a.signupID())
			})
			assert.True(t, saved, "%s: the sign-up is lost", name)
		case http.StatusUnprocessableEntity:
			assert.Equal(t, !v.invalid, slices.ContainsFunc(all, isOurs), name)
		case http.StatusConflict:
			taken := slices.ContainsFunc(all, func(s outbox.Signup) bool {
				return s.Lead.ClickID == click && s.Lead.Email != a.email
			})
			assert.True(t, taken, "%s: the click id is free", name)
		case http.StatusBadRequest:
			assert.True(t, v.invalid, name)
		case http.StatusForbidden, http.StatusUnauthorized:
			assert.True(t, v.isStranger(), name)
		case http.StatusServiceUnavailable:
			lines := regexp.MustCompile("a request cannot be served|cannot (save|read) a sign-up")
			assert.True(t, lines.MatchString(h.logs.String()), "the log has no error of the database")
		case http.StatusNotFound: // the token of a sign-up that was corrected since
			assert.True(t, a.isStatus && v.corrected != "", name)
		default:
			assert.Fail(t, "unexpected answer", name)
		}
		if v.invalid || v.isStranger() {
			assert.False(t, a.code < 300 || a.code == http.StatusSeeOther, name)
			assert.False(t, slices.ContainsFunc(all, isOurs), "%s: the sign-up was saved", name)
		}
	}
	for _, v := range h.visitors {
		if v.told == nil {
			continue
		}
		found := slices.ContainsFunc(all, func(s outbox.Signup) bool {
			// The answer to a correction can be lost.
			isEmail := s.Lead.Email == v.told.email || v.corrected != "" && s.Lead.Email == v.corrected
			return isEmail && (v.req.ClickID == "" || s.Lead.ClickID == v.req.ClickID)
		})
		assert.True(t, found, "%s was told that %s is saved", v.key, v.told.email)
	}
}

// checkMirror checks the copies of the leads and their events.
func (h *history) checkMirror(t *testing.T) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+h.path("leads.db")+mirrorOptions)
	require.NoError(t, err)
	defer func() { assert.NoError(t, db.Close()) }()
	m, err := mirror.OpenReadOnly(t.Context(), db, mirror.SQLite)
	require.NoError(t, err)
	saved := make(map[string]clixnow.Lead)
	for lead, err := range m.Leads(t.Context(), mirror.Query{}) {
		require.NoError(t, err)
		saved[fmt.Sprint(lead.Brand, " ", lead.Lead.ID)] = lead.Lead
	}
	events, err := m.Events(t.Context(), 0, 100_000)
	require.NoError(t, err)
	deposits, last, wanted := make(map[string]int), int64(0), []mirror.Event(nil)
	for _, e := range events {
		assert.Greater(t, e.ID, last)
		last = e.ID
		key := fmt.Sprint(e.Brand, " ", e.LeadID)
		h.total.add("events: " + string(e.Kind))
		switch e.Kind { //nolint:exhaustive // the others change no deposit
		case clixnow.LeadDeposited:
			deposits[key]++
		case clixnow.LeadDepositWithdrawn:
			deposits[key]--
		}
		assert.Contains(t, []int{0, 1}, deposits[key], "deposits of %s", key)
		if saved[key].ClickID != "" && e.Kind != clixnow.LeadStatusChanged {
			wanted = append(wanted, e)
		}
	}
	h.checkPostbacks(t, wanted, saved)
	for _, b := range h.brands {
		for _, lead := range b.Leads() {
			key := fmt.Sprint(b.Brand, " ", lead.ID)
			got, ok := saved[key]
			if !assert.True(t, ok, "the mirror has no lead %s", key) {
				continue
			}
			assert.Equal(t, lead.Status, got.Status, key)
			assert.Equal(t, lead.Email, got.Email, key)
			assert.Equal(t, lead.ClickID, got.ClickID, key)
			assert.True(t, lead.FTDDate.Equal(got.FTDDate), key)
			want := 0
			if !lead.FTDDate.IsZero() {
				want = 1
			}
			assert.Equal(t, want, deposits[key], "deposits of %s", key)
			created := func(e mirror.Event) bool {
				return e.Kind == clixnow.LeadCreated && e.Brand == b.Brand && e.LeadID == lead.ID
			}
			assert.True(t, slices.ContainsFunc(events, created), "%s has no created event", key)
		}
	}
}

// checkPostbacks checks that each tracker has each event of each lead, in their
// order, and under one id. If an event was given up and sent again by a person,
// the order does not count.
func (h *history) checkPostbacks(t *testing.T, events []mirror.Event, leads map[string]clixnow.Lead) {
	t.Helper()
	for _, tr := range h.trackers {
		want, unordered := make(map[string][]string), make(map[string]bool)
		for _, e := range events {
			key := fmt.Sprint(e.Brand, " ", e.LeadID)
			click := leads[key].ClickID
			want[click] = append(want[click], string(e.Kind))
			unordered[click] = unordered[click] || h.givenUp[tr.name+" "+key]
		}
		got, ids := make(map[string][]string), make(map[string]conversion)
		for _, c := range tr.accepted {
			assert.Equal(t, "tracker-secret", c.secret)
			if first, again := ids[c.event]; again {
				assert.Equal(t, first, c, "two events have one id")
				h.total.add("postbacks that came twice")
				continue
			}
			ids[c.event] = c
			got[c.click] = append(got[c.click], c.kind)
			h.total.add("postbacks")
		}
		for click := range unordered {
			if unordered[click] {
				h.total.add("leads whose postbacks were given up")
				slices.Sort(want[click])
				slices.Sort(got[click])
			}
		}
		assert.Equal(t, want, got, tr.name)
	}
}

// checkErrors checks that the logs have each error that an operator needs.
func (h *history) checkErrors(t *testing.T, all []outbox.Signup) {
	t.Helper()
	logs := h.logs.String()
	for where := range h.denied {
		process, brand, _ := strings.Cut(where, " ")
		line := map[string]string{
			"gateway":  "the brand refuses the access: .*brand=" + brand,
			"follower": "not all leads were read.*" + brand + ".*401 Unauthorized",
		}[process]
		assert.True(t, regexp.MustCompile(line).MatchString(logs), "the log has no %q", line)
		h.total.add("refused tokens that were logged")
	}
	if _, died := h.deaths.Load("gateway"); !died { // otherwise the process may have died before the line
		for _, s := range all {
			if s.Status == outbox.Pending {
				continue
			}
			line := map[outbox.Status]string{
				outbox.Registered: "a sign-up is registered", outbox.Refused: "a sign-up is refused",
				outbox.Doubtful: "a person must decide about a sign-up",
			}[s.Status]
			pattern := regexp.MustCompile(`msg="` + line + `" id=` + s.ID)
			assert.True(t, pattern.MatchString(logs), "the log has no line about %s (%s)", s.ID, s.Status)
			h.total.add("sign-ups that were logged")
		}
	}
	if _, died := h.deaths.Load("follower"); !died && len(h.givenUp) > 0 {
		assert.Contains(t, logs, "events have failed for a day and are given up")
		h.total.add("given up postbacks that were logged")
	}
}

// checkSecrets looks for secrets in the logs, and for the passwords of settled
// sign-ups in the files.
func (h *history) checkSecrets(t *testing.T, all []outbox.Signup) {
	t.Helper()
	logs, seed := h.logs.String(), strconv.FormatUint(h.seed, 10)
	for _, secret := range []string{
		"tracker-secret", "gateway-secret", "token-" + seed, "rotated-", "Secret-", "@example.com",
		".example.com", "4179100", "autologin", "Firstname", "Last" + seed + "-", "81.2.",
	} {
		if at := strings.Index(logs, secret); at >= 0 {
			assert.Fail(t, "a secret is in the logs", "%s: %s", secret, logs[max(0, at-300):min(len(logs), at+100)])
		}
	}
	files, err := filepath.Glob(h.path("signups.db*"))
	require.NoError(t, err)
	for _, file := range files {
		data, err := os.ReadFile(filepath.Clean(file))
		require.NoError(t, err)
		for _, s := range all {
			password := "Secret-" + strings.TrimPrefix(s.Lead.FirstName, "Firstname")
			// A visitor without a click id can have several sign-ups.
			isOpen := slices.ContainsFunc(all, func(o outbox.Signup) bool {
				return o.SettledAt.IsZero() && o.Lead.FirstName == s.Lead.FirstName
			})
			if !isOpen {
				assert.False(t, strings.Contains(string(data), password), "%s is in %s", password, filepath.Base(file))
			}
		}
	}
	assert.NotContains(t, logs, "panic")
}
