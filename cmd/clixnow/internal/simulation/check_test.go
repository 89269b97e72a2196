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
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/store/mirror"
	"github.com/clixnow/clixnow-go/store/outbox"
)

func wrapTransport(p *process) func(http.RoundTripper) http.RoundTripper {
	return func(http.RoundTripper) http.RoundTripper { return p }
}

// check checks what each visitor, brand and tracker has.
func (h *history) check(t *testing.T) {
	t.Helper()
	settled := h.checkSignups(t)
	h.checkMirror(t)
	h.checkSecrets(t, settled)
	h.checkErrors(t)
	if t.Failed() {
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
			if lead.ClickID != "" {
				places[lead.ClickID] = append(places[lead.ClickID], place{b.Brand, lead.Email, lead.ID})
			}
		}
	}
	return places
}

// checkSignups checks the sign-ups, and returns the passwords of those that are
// settled.
func (h *history) checkSignups(t *testing.T) (settled []string) {
	t.Helper()
	places := h.places()
	signups := make(map[string]outbox.Signup)
	(&gateway{h: h}).read(t, func(o *outbox.Outbox) {
		all, err := o.List(t.Context(), outbox.Query{Limit: 1000})
		require.NoError(t, err)
		for _, s := range all {
			signups[s.ID] = s
			h.total.add(string(s.Status) + " " + s.Reason.String())
			at := places[s.Lead.ClickID]
			delete(places, s.Lead.ClickID)
			if !s.SettledAt.IsZero() {
				settled = append(settled, "Secret-"+strings.TrimPrefix(s.Lead.FirstName, "First"))
			}
			switch s.Status {
			case outbox.Registered:
				assert.Equal(t, []place{{s.Brand, s.Lead.Email, s.LeadID}}, at, "%+v", s)
			case outbox.Refused:
				assert.NotEqual(t, clixnow.ReasonNone, s.Reason)
				assert.Empty(t, at, "%+v", s)
			default:
				// Only another sign-up of the same person can leave a doubt.
				assert.LessOrEqual(t, len(at), 1)
				assert.NotEmpty(t, s.FirstAttempt.Brand, "%+v", s)
				same := slices.ContainsFunc(all, func(o outbox.Signup) bool {
					return o.ID != s.ID && (o.Lead.Email == s.Lead.Email || o.Lead.Phone == s.Lead.Phone)
				})
				assert.True(t, same, "%+v", s)
			}
		}
	})
	assert.Empty(t, places, "these leads are at a brand, but not registered here")
	for _, v := range h.visitors {
		if v.email == "" {
			continue
		}
		s, ok := signups[v.id]
		if assert.True(t, ok, "the sign-up of %s is lost", v.email) {
			assert.Equal(t, v.email, s.Lead.Email)
		}
	}
	return settled
}

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
	// These are by brand and lead, and by click id.
	deposits, kinds := make(map[string]int), make(map[string][]string)
	events, err := m.Events(t.Context(), 0, 100_000)
	require.NoError(t, err)
	for _, e := range events {
		key := fmt.Sprint(e.Brand, " ", e.LeadID)
		switch e.Kind { //nolint:exhaustive // the others change no deposit
		case clixnow.LeadCreated:
			h.total.add("created events")
		case clixnow.LeadDeposited:
			deposits[key]++
		case clixnow.LeadDepositWithdrawn:
			deposits[key]--
		}
		assert.Contains(t, []int{0, 1}, deposits[key], "deposits of %s", key)
		if click := saved[key].ClickID; click != "" && e.Kind != clixnow.LeadStatusChanged {
			kinds[click] = append(kinds[click], string(e.Kind))
		}
	}
	h.checkPostbacks(t, kinds)
	for _, b := range h.brands {
		for _, lead := range b.Leads() {
			key := fmt.Sprint(b.Brand, " ", lead.ID)
			got, ok := saved[key]
			if !assert.True(t, ok, "the mirror has no lead %s", key) {
				continue
			}
			assert.Equal(t, lead.Status, got.Status, key)
			assert.True(t, lead.FTDDate.Equal(got.FTDDate), key)
			want := 0
			if !lead.FTDDate.IsZero() {
				want = 1
			}
			assert.Equal(t, want, deposits[key], "deposits of %s", key)
		}
	}
}

// checkPostbacks checks that each tracker has each event of each lead, in their
// order, and under one id.
func (h *history) checkPostbacks(t *testing.T, want map[string][]string) {
	t.Helper()
	for _, tr := range h.trackers {
		got, ids := make(map[string][]string), make(map[string]conversion)
		for _, c := range tr.accepted {
			if first, again := ids[c.event]; again {
				assert.Equal(t, first, c, "two events have one id")
				continue
			}
			ids[c.event] = c
			got[c.click] = append(got[c.click], c.kind)
			h.total.add("postbacks")
		}
		assert.Equal(t, want, got, tr.name)
	}
}

// checkErrors checks that each process told of each brand that refused its
// token.
func (h *history) checkErrors(t *testing.T) {
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
}

// checkSecrets looks for secrets in the logs, and for the passwords of settled
// sign-ups in the files.
func (h *history) checkSecrets(t *testing.T, settled []string) {
	t.Helper()
	logs := h.logs.String()
	secrets := []string{"tracker-secret", "token-", "rotated-", "Secret-", "@example.com", "+4179", "autologin"}
	for _, secret := range secrets {
		if i := strings.Index(logs, secret); i >= 0 {
			assert.Fail(t, "a secret is in the logs", logs[max(0, i-300):min(len(logs), i+100)])
		}
	}
	files, err := filepath.Glob(h.path("signups.db*"))
	require.NoError(t, err)
	for _, file := range files {
		data, err := os.ReadFile(filepath.Clean(file))
		require.NoError(t, err)
		for _, password := range settled {
			assert.False(t, strings.Contains(string(data), password), "%s is in %s", password, filepath.Base(file))
		}
	}
}
