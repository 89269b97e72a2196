//go:build !race

package simulation_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/reconcile"
	"github.com/clixnow/clixnow-go/store/outbox"
)

// checkBooks compares each brand with the database by "clixnow reconcile", and
// with a file of deposits that has mistakes.
func (h *history) checkBooks(t *testing.T, all []outbox.Signup) {
	t.Helper()
	for _, b := range h.brands {
		want := []string{"unknown_here 1"}
		for _, s := range all {
			if s.SettledAt.IsZero() && s.FirstAttempt.Brand == b.Brand {
				want = append(want, "in_doubt "+h.leadOf(b, &s))
			}
		}
		deposits, mistakes := h.books(b, all)
		path := h.path(b.Brand + ".csv")
		require.NoError(t, os.WriteFile(path, []byte(deposits), 0o600))
		assert.ElementsMatch(t, append(want, mistakes...), h.reconcile(t, b, path), b.Brand)
	}
}

// leadOf returns the id of the lead of a sign-up in doubt, or 0.
func (h *history) leadOf(b *brand, s *outbox.Signup) string {
	for _, lead := range b.Leads() {
		if lead.ClickID == s.Lead.ClickID && lead.Email == s.Lead.Email {
			return strconv.FormatInt(lead.ID, 10)
		}
	}
	return "0"
}

// books returns the deposits of a brand as a CSV file, and the findings of its
// mistakes.
func (h *history) books(b *brand, all []outbox.Signup) (file string, mistakes []string) {
	var rows strings.Builder
	rows.WriteString("leadId,clickId,email,deposit\n")
	mistaken := func(kind string, id int64) { mistakes = append(mistakes, fmt.Sprint(kind, " ", id)) }
	for _, lead := range b.Leads() {
		if lead.ID == 1 || !isRegistered(all, b.Brand, lead.ID) {
			continue
		}
		id, click, email, deposit := strconv.FormatInt(lead.ID, 10), lead.ClickID, lead.Email, "no"
		if lead.HasFTD() {
			deposit = lead.FTDDate.Format(time.RFC3339)
		}
		switch h.number(6, "book", b.Brand, lead.ID) {
		case 0:
			if deposit = "no"; lead.HasFTD() {
				mistaken("deposit_only_there", lead.ID)
			}
		case 1:
			if !lead.HasFTD() {
				deposit = "yes"
				mistaken(depositMistake(b), lead.ID)
			}
		case 2:
			if lead.HasFTD() {
				deposit = lead.FTDDate.Add(-100 * time.Hour).Format(time.RFC3339)
				mistaken("deposit_date_differs", lead.ID)
			}
		case 3:
			id, email = "", strings.ToUpper(email) // the click id is enough
		}
		fmt.Fprintf(&rows, "%s,%s,%s,%s\n", id, click, email, deposit)
	}
	rows.WriteString("777777,click-unheard-of,unheard.of@example.com,no\n")
	mistaken("missing_there", 777777)
	return rows.String(), mistakes
}

// depositMistake is the finding for a deposit that the brand does not have.
func depositMistake(b *brand) string {
	for _, lead := range b.Leads() {
		if lead.HasFTD() {
			return "deposit_only_here"
		}
	}
	return "cannot_tell" // the brand may hide deposits
}

func isRegistered(all []outbox.Signup, brand string, id int64) bool {
	for i := range all {
		if all[i].Status == outbox.Registered && all[i].Brand == brand && all[i].LeadID == id {
			return true
		}
	}
	return false
}

// reconcile runs "clixnow reconcile", and returns the kind and the lead of each
// finding.
func (h *history) reconcile(t *testing.T, b *brand, file string) (findings []string) {
	t.Helper()
	var out, errs bytes.Buffer
	env := map[string]string{
		"CLIXNOW_BRAND": b.Brand, "CLIXNOW_TOKEN": b.Token, "CLIXNOW_BASE_URL": "https://" + b.Brand + ".test",
		"CLIXNOW_CONFIG": h.path("config.toml"),
	}
	require.NoError(t, os.WriteFile(env["CLIXNOW_CONFIG"], nil, 0o600))
	a := &app.App{
		In: strings.NewReader(""), Out: &out, Err: &errs, Getenv: func(name string) string { return env[name] },
		Options: []clixnow.Option{clixnow.WithHTTPClient(&http.Client{Transport: &process{h: h, name: "reconcile"}})},
	}
	defer a.Close()
	root := app.Root(a, reconcile.Command(a))
	root.SetArgs([]string{
		"reconcile", "--from", h.began.Add(-24 * time.Hour).Format(time.DateOnly), "--db", h.path("signups.db"),
		"--lag", "1m", "-o", "jsonl", file,
	})
	err := root.ExecuteContext(t.Context())
	assert.Equal(t, app.CodeRefused, app.Code(err), "%v %s", err, errs.String())
	for line := range strings.Lines(out.String()) {
		var f struct {
			Kind   string
			LeadID int64
		}
		require.NoError(t, json.Unmarshal([]byte(line), &f))
		findings = append(findings, fmt.Sprint(f.Kind, " ", f.LeadID))
		h.total.add("findings: " + f.Kind)
	}
	assert.NotContains(t, out.String()+errs.String(), "@example.com")
	return findings
}
