//go:build !race

package simulation_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// brand is a fake brand.
type brand struct {
	*clixnowtest.Server

	// clock is how far the clock of the brand is ahead.
	clock time.Duration
	// isPicky means that it takes only two countries.
	isPicky bool
	// isKnown means that the words of its refusals are known.
	isKnown bool
	// known is the token that the operator has configured.
	known atomic.Pointer[string]
}

func (b *brand) now() time.Time { return time.Now().Add(b.clock) }

func (h *history) newBrand(i int) *brand {
	clocks := []time.Duration{0, 0, 90 * time.Second, -2 * time.Hour, 10 * time.Minute}
	b := &brand{clock: clocks[h.number(len(clocks), "clock", i)], isKnown: h.chance(2, "words are known")}
	lag := time.Duration(h.number(8, "lag", i)) * time.Second
	hasCheck := !h.chance(3, "no duplicate check", i)
	if hasCheck && h.chance(2, "long lag", i) { // longer than EnsureLead looks
		lag = time.Duration(20+h.number(25, "lag", i)) * time.Second
	}
	filter := []time.Duration{0, time.Minute, time.Hour, 24 * time.Hour}[h.number(4, "filter", i)]
	options := []clixnowtest.Option{
		clixnowtest.WithBrand(fmt.Sprintf("brand%d", i)), clixnowtest.WithToken(fmt.Sprintf("token-%d-%d", h.seed, i)),
		clixnowtest.WithClock(b.now), clixnowtest.WithFirstID(int64(1000 * (i + 1))), clixnowtest.WithRequestLimit(1),
		clixnowtest.WithSearchDelay(func(clixnow.Lead) time.Duration { return lag }),
		clixnowtest.WithFilterPrecision(filter), clixnowtest.WithPageLimit(10),
	}
	if !hasCheck {
		options = append(options, clixnowtest.WithoutDuplicateCheck())
	}
	if b.isPicky = h.chance(2, "countries", i); b.isPicky {
		options = append(options, clixnowtest.WithCountries("CH", "DE"))
	}
	b.Server = clixnowtest.NewHandler(options...)
	token := b.Token
	b.known.Store(&token)
	// An older lead proves that an empty search is complete.
	b.AddLeads(clixnow.Lead{ID: 1, Email: "older@example.com", CreatedOn: b.now().Add(-time.Hour)})
	return b
}

// readRefusal reads the words of a brand that is full, if they are known.
func (b *brand) readRefusal(err *clixnow.APIError) error {
	if b.isKnown && strings.Contains(err.Message, "Daily cap reached") {
		return clixnow.ErrNoCapacity
	}
	return nil
}

// changeLeads does what a brand does with its leads. It changes some leads
// several times in a few hours, and some within seconds, while they are read.
func (h *history) changeLeads(b *brand) {
	statuses := []string{"New", "No answer", "Call again", "Not interested", "Deposited"}
	chosen := int64(0)
	for i := 0; ; i++ {
		if h.chance(6, b.Brand, "soon", i) {
			h.readSoon()
			time.Sleep(time.Duration(h.number(40, b.Brand, "pause", i)) * time.Second)
		} else {
			time.Sleep(time.Duration(1+h.number(240, b.Brand, "pause", i)) * time.Minute)
		}
		if time.Since(h.began) >= length {
			return
		}
		leads := b.Leads()
		if h.chance(15, b.Brand, "changes all", i) { // more than fit on a page
			for _, lead := range leads {
				_ = b.UpdateLead(lead.ID, func(l *clixnow.Lead) { l.Status = fmt.Sprint("Round ", i) })
			}
			continue
		}
		if chosen == 0 || h.chance(3, b.Brand, "another lead", i) {
			chosen = leads[h.number(len(leads), b.Brand, "lead", i)].ID
		}
		_ = b.UpdateLead(chosen, func(l *clixnow.Lead) {
			if h.chance(2, b.Brand, "changes status", i) {
				l.Status = statuses[h.number(len(statuses), b.Brand, "status", i)]
			}
			switch {
			case l.FTDDate.IsZero() && h.chance(2, b.Brand, "deposit", i):
				h.total.add("deposits")
				l.FTDDate = b.now()
			case !l.FTDDate.IsZero() && h.chance(3, b.Brand, "withdraw", i):
				h.total.add("withdrawn deposits")
				l.FTDDate = time.Time{}
			}
		})
	}
}

// rotateToken replaces the token of a brand, mostly just before visitors come.
// The operator notices it later.
func (h *history) rotateToken(b *brand) {
	if !h.chance(2, b.Brand, "rotates") {
		return
	}
	at := h.began.Add(time.Duration(h.number(int(length/time.Minute), b.Brand, "rotated at")) * time.Minute)
	if !h.chance(3, b.Brand, "rotates in between") {
		at = h.burst(h.number(bursts, b.Brand, "rotates before a burst"))
	}
	time.Sleep(time.Until(at))
	h.total.add("fault: rotated token")
	token := fmt.Sprintf("rotated-%d-%s", h.seed, b.Brand)
	b.SetToken(token)
	time.Sleep(time.Duration(1+h.number(600, b.Brand, "noticed after")) * time.Minute)
	b.known.Store(&token)
}
