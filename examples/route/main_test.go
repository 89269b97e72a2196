package main

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/router"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRun(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out))
	assert.Equal(t, `Allison (CH): registered at beta
Bruno (CH): registered at acme
Chloé (CH): registered at acme
Davide (DE): a person has to decide: refused, other
Emma (DE): a person has to decide: refused, other
Fabio (US): a person has to decide: refused, other
`, out.String())
}

func TestAccepts(t *testing.T) {
	t.Parallel()
	zurich, err := time.LoadLocation("Europe/Zurich")
	require.NoError(t, err)
	noon := time.Date(2026, time.May, 4, 10, 0, 0, 0, time.UTC) // 12:00 in Zurich
	for name, test := range map[string]struct {
		rule rule
		now  time.Time
		want bool
	}{
		"country and hours fit": {rule{Countries: []string{"CH"}, From: 12, To: 13}, noon, true},
		"other country":         {rule{Countries: []string{"DE"}, From: 0, To: 24}, noon, false},
		"before opening":        {rule{Countries: []string{"CH"}, From: 13, To: 24}, noon, false},
		"after closing":         {rule{Countries: []string{"CH"}, From: 0, To: 12}, noon, false},
		"cap reached": {
			rule{Countries: []string{"CH"}, To: 24, DailyCap: 1, sent: 1, day: "2026-05-04"},
			noon, false,
		},
		"cap of yesterday": {
			rule{Countries: []string{"CH"}, To: 24, DailyCap: 1, sent: 1, day: "2026-05-03"},
			noon, true,
		},
		"below the cap": {
			rule{Countries: []string{"CH"}, To: 24, DailyCap: 2, sent: 1, day: "2026-05-04"},
			noon, true,
		},
		"the day is that of the zone": {
			rule{Countries: []string{"CH"}, To: 24, DailyCap: 1, sent: 1, day: "2026-05-04"},
			noon.Add(13 * time.Hour), true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := test.rule
			r.zone = zurich
			assert.Equal(t, test.want, r.accepts(lead(0, "CH"), test.now))
		})
	}
}

func TestOrderFollowsWeights(t *testing.T) {
	t.Parallel()
	heavy, light := &rule{Brand: "heavy", Weight: 2}, &rule{Brand: "light", Weight: 1}
	o := &office{rules: []*rule{light, heavy}, random: rand.New(rand.NewPCG(1, 1))}
	first := 0
	for range 3000 {
		if o.order()[0] == heavy {
			first++
		}
	}
	assert.InDelta(t, 2000, first, 100)
}

// An attempt is saved before the lead is sent, and cleared after the outcome is
// known. A lead in doubt keeps its attempt.
func TestRegisterSavesTheAttempt(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		faults []clixnowtest.Fault
		saved  []string
	}{
		"registered": {saved: []string{"acme", ""}},
		"in doubt": {
			faults: []clixnowtest.Fault{
				{Method: "POST", Drop: clixnowtest.DropAfterHandling}, {Method: "GET", Status: 503, Times: 100},
			},
			saved: []string{"acme", "acme"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := clixnowtest.NewServer(clixnowtest.WithBrand("acme"))
			defer server.Close()
			server.Inject(test.faults...)
			client := server.Client()
			defer client.CloseIdleConnections()
			var saved []string
			o := &office{
				rules:   []*rule{{Brand: "acme", Countries: []string{"CH"}, To: 24, Weight: 1, zone: time.UTC}},
				clients: map[string]*clixnow.Client{"acme": client},
				random:  rand.New(rand.NewPCG(1, 1)),
				save:    func(j *job) error { saved = append(saved, j.Attempt.Brand); return nil },
			}
			j := &job{Lead: lead(0, "CH")}
			_, err := o.register(t.Context(), j)
			assert.Equal(t, test.saved, saved)
			assert.Equal(t, router.InDoubt(err), j.Attempt)
		})
	}
}
