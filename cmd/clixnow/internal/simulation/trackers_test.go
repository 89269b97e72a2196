//go:build !race

package simulation_test

import (
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/store/postback"
)

// tracker accepts postbacks.
type tracker struct {
	h    *history
	name string
	// accepted has the requests that were accepted, in their order.
	accepted []conversion
	// outages are the times in which it fails.
	outages []window
}

type conversion struct{ event, click, kind, secret string }

func (h *history) newTracker(name string) *tracker {
	tr := &tracker{h: h, name: name}
	to := h.newHost(name, tr)
	// Trackers also fail for hours, so that several events of a lead wait.
	for i := range 4 {
		hours := []int{3, 8, 20, 30}[h.number(4, name, "hours", i)]
		from := h.began.Add(time.Duration(h.number(int(length/time.Minute), name, "outage", i)) * time.Minute)
		fault := []string{"connection refused", "gateway error", "success=false"}[h.number(3, name, "outage kind", i)]
		to.windows = append(to.windows, window{
			from: from, to: from.Add(time.Duration(hours) * time.Hour), fault: fault,
		})
	}
	slices.SortFunc(to.windows, func(a, b window) int { return a.from.Compare(b.from) })
	for _, w := range to.windows {
		if n := len(tr.outages) - 1; n < 0 || w.from.After(tr.outages[n].to) {
			tr.outages = append(tr.outages, w)
		} else if w.to.After(tr.outages[n].to) {
			tr.outages[n].to = w.to
		}
	}
	return tr
}

func (tr *tracker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	tr.h.mu.Lock()
	defer tr.h.mu.Unlock()
	q := r.URL.Query()
	count := len(tr.accepted)
	if !tr.h.healed.Load() && tr.h.chance(15, tr.name, "refuses", count, time.Now().Unix()) {
		tr.h.total.add("fault: success=false")
		_, _ = io.WriteString(w, "success=false; err_msg=try later")
		return
	}
	tr.accepted = append(tr.accepted, conversion{q.Get("id"), q.Get("click"), q.Get("goal_id"), q.Get("key")})
	_, _ = io.WriteString(w, "success=true;")
}

// destinations returns the trackers as they are configured.
func (h *history) destinations() (all []postback.Destination) {
	for _, tr := range h.trackers {
		all = append(all, postback.Destination{
			Name: tr.name, Preset: "tune", Concurrency: 2,
			URL: "https://" + tr.name + ".test/aff?key=tracker-secret&click={clickId}&goal_id={event}&id={eventId}",
			Events: []clixnow.LeadEvent{
				clixnow.LeadCreated, clixnow.LeadDeposited, clixnow.LeadDepositWithdrawn,
			},
		})
	}
	return all
}
