//go:build !race

package simulation_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"time"

	"github.com/clixnow/clixnow-go"
)

// host is a brand or a tracker.
type host struct {
	name    string
	handler http.Handler
	// windows are the times in which something is wrong, in their order.
	windows []window
}

type window struct {
	from, to time.Time
	fault    string
}

// faults are what can happen to a request.
var faults = []string{
	"connection refused", "timeout", "dropped before handling", "dropped after handling", "error after handling",
	"gateway error", "rate limit", "page of a gateway", "cap",
}

// RoundTrip sends a request of a process to a host.
func (p *process) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := p.step(); err != nil {
		return nil, err
	}
	body := []byte(nil)
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		_ = r.Body.Close()
	}
	to := p.h.hosts[r.URL.Hostname()]
	count := p.h.requests.Add(1)
	if err := sleep(r.Context(),
		time.Duration(p.h.number(800, "latency", to.name, count))*time.Millisecond); err != nil {
		return nil, err
	}
	fault := p.h.faultOf(to, r, count)
	handle := func() *http.Response {
		r.Body = io.NopCloser(bytes.NewReader(body))
		w := httptest.NewRecorder()
		to.handler.ServeHTTP(w, r)
		return w.Result()
	}
	answer := func(status int, text string) *http.Response {
		return &http.Response{
			StatusCode: status, Status: strconv.Itoa(status), ProtoMajor: 1, ProtoMinor: 1, Request: r,
			Header: http.Header{
				"Content-Type": {"text/html"},
				"Date":         {time.Now().Add(2 * time.Hour).UTC().Format(http.TimeFormat)},
			},
			Body: io.NopCloser(strings.NewReader(text)),
		}
	}
	response, err := (*http.Response)(nil), error(nil)
	switch fault {
	case "":
		response = handle()
	case "connection refused":
		err = fmt.Errorf("connection refused: %w", clixnow.ErrNotSent)
	case "timeout":
		handle()
		<-r.Context().Done()
		err = r.Context().Err()
	case "dropped before handling":
		err = io.ErrUnexpectedEOF
	case "dropped after handling":
		handle()
		err = io.ErrUnexpectedEOF
	case "error after handling":
		handle()
		response = answer(http.StatusInternalServerError, "<h1>Oops</h1>")
	case "gateway error":
		response = answer(http.StatusBadGateway, "<h1>502</h1>")
	case "rate limit":
		response = answer(http.StatusTooManyRequests, "")
		response.Header.Set("Retry-After", "7")
	case "page of a gateway":
		response = answer(http.StatusOK, "<html>Log in</html>")
	case "cap":
		response = answer(http.StatusBadRequest, `{"message":"Daily cap reached"}`)
		response.Header.Set("Content-Type", "application/json")
	}
	if dead := p.step(); dead != nil {
		return nil, dead
	}
	if response != nil && response.StatusCode == http.StatusUnauthorized {
		p.h.mu.Lock()
		p.h.denied[p.name+" "+to.name] = true
		p.h.mu.Unlock()
	}
	return response, err
}

// faultOf returns what happens to a request. "" means nothing.
func (h *history) faultOf(to *host, r *http.Request, count int64) string {
	fault, now := "", time.Now()
	for _, w := range to.windows {
		if !now.Before(w.from) && now.Before(w.to) {
			fault = w.fault
		}
	}
	if fault == "" && h.chance(20, "fault", to.name, count) {
		fault = faults[h.number(len(faults), "which fault", to.name, count)]
	}
	if h.healed.Load() || fault == "cap" && r.Method != http.MethodPost {
		return ""
	}
	if fault != "" {
		h.total.add(fault)
	}
	return fault
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// tracker accepts postbacks.
type tracker struct {
	h    *history
	name string
	// accepted has the requests that were accepted, in their order.
	accepted []conversion
}

type conversion struct{ event, click, kind string }

func (tr *tracker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	tr.h.mu.Lock()
	defer tr.h.mu.Unlock()
	q := r.URL.Query()
	count := len(tr.accepted)
	if !tr.h.healed.Load() && tr.h.chance(15, tr.name, "refuses", count, time.Now().Unix()) {
		tr.h.total.add("success=false")
		_, _ = io.WriteString(w, "success=false; err_msg=try later")
		return
	}
	tr.accepted = append(tr.accepted, conversion{q.Get("id"), q.Get("click"), q.Get("goal_id")})
	_, _ = io.WriteString(w, "success=true;")
}
