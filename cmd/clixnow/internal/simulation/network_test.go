//go:build !race

package simulation_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
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
	// windows are the times in which something is wrong.
	windows []window
}

type window struct {
	from, to time.Time
	fault    string
	// onlyCreates means that searches work.
	onlyCreates bool
}

// faults are what can happen to a request.
var faults = []string{
	"connection refused", "timeout", "dropped before handling", "dropped after handling", "error after handling",
	"gateway error", "rate limit", "page of a gateway", "cap", "error that repeats the request",
}

// newHost adds a host that fails while visitors come.
func (h *history) newHost(name string, handler http.Handler) *host {
	to := &host{name: name, handler: handler}
	for i := range bursts {
		if strings.HasPrefix(name, "brand") && h.chance(5, "all brands are full", i) {
			from := h.burst(i).Add(-time.Minute)
			to.windows = append(to.windows, window{from, from.Add(2 * time.Hour), "cap", true})
			continue
		}
		if h.chance(3, name, "works", i) {
			continue
		}
		minutes := []int{1, 5, 20, 120}[h.number(4, name, "length", i)]
		from := h.burst(i).Add(-time.Duration(h.number(minutes*60, name, "window", i)) * time.Second)
		to.windows = append(to.windows, window{
			from: from, to: from.Add(time.Duration(minutes) * time.Minute),
			fault:       faults[h.number(len(faults), name, "kind", i)],
			onlyCreates: strings.HasPrefix(name, "brand") && h.chance(2, name, "only creates", i),
		})
	}
	h.hosts[name+".test"] = to
	return to
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
	latency := time.Duration(p.h.number(400, "latency", to.name, count)) * time.Millisecond
	if p.requests.Add(1) == p.lastRequest {
		time.AfterFunc(time.Duration(p.h.number(1+int(2*latency), "last request", count)), p.end)
	}
	if err := sleep(r.Context(), latency); err != nil {
		return nil, err
	}
	response, err := p.h.answer(to, r, body, p.h.faultOf(to, r, count))
	if canceled := sleep(r.Context(), latency); err == nil && canceled != nil {
		return nil, canceled
	}
	if dead := p.step(); dead != nil {
		return nil, dead
	}
	if response != nil && response.StatusCode == http.StatusUnauthorized {
		p.denied(to.name)
	}
	return response, err
}

// answer returns what a process gets for a request if a fault happens.
func (h *history) answer(to *host, r *http.Request, body []byte, fault string) (*http.Response, error) {
	page := func(status int, text string) *http.Response {
		return &http.Response{
			StatusCode: status, Status: strconv.Itoa(status), ProtoMajor: 1, ProtoMinor: 1, Request: r,
			Header: http.Header{
				"Content-Type": {"text/html"},
				"Date":         {time.Now().Add(2 * time.Hour).UTC().Format(http.TimeFormat)},
			},
			Body: io.NopCloser(strings.NewReader(text)),
		}
	}
	switch fault {
	case "connection refused":
		return nil, fmt.Errorf("connection refused: %w", clixnow.ErrNotSent)
	case "timeout":
		h.handle(to, r, body)
		<-r.Context().Done()
		return nil, r.Context().Err()
	case "dropped before handling":
		return nil, io.ErrUnexpectedEOF
	case "dropped after handling":
		h.handle(to, r, body)
		return nil, io.ErrUnexpectedEOF
	case "error after handling":
		h.handle(to, r, body)
		return page(http.StatusInternalServerError, "<h1>Oops</h1>"), nil
	case "error that repeats the request":
		text := fmt.Sprintf("failed: %s %s %s", r.URL, r.Header.Get("Authorization"), body)
		response := page(http.StatusInternalServerError, text)
		response.Header.Set("Content-Type", "text/plain")
		return response, nil
	case "gateway error":
		return page(http.StatusBadGateway, "<h1>502</h1>"), nil
	case "rate limit":
		response := page(http.StatusTooManyRequests, "")
		response.Header.Set("Retry-After", "7")
		return response, nil
	case "page of a gateway":
		return page(http.StatusOK, "<html>Log in</html>"), nil
	case "success=false":
		return page(http.StatusOK, "success=false; err_msg=try later"), nil
	case "cap":
		response := page(http.StatusBadRequest, `{"message":"Daily cap reached"}`)
		response.Header.Set("Content-Type", "application/json")
		return response, nil
	}
	return h.handle(to, r, body), nil
}

// handle lets a host handle a request. It remembers the redirect URLs.
func (h *history) handle(to *host, r *http.Request, body []byte) *http.Response {
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.TLS = &tls.ConnectionState{}
	w := httptest.NewRecorder()
	to.handler.ServeHTTP(w, r)
	var created struct {
		LeadID      int64
		RedirectURL string
	}
	var lead struct{ Email, ClickID string }
	if r.Method == http.MethodPost && json.Unmarshal(w.Body.Bytes(), &created) == nil && created.RedirectURL != "" &&
		json.Unmarshal(body, &lead) == nil {
		h.mu.Lock()
		h.links[created.RedirectURL] = link{to.name, lead.Email, lead.ClickID}
		h.mu.Unlock()
	}
	return w.Result()
}

// faultOf returns what happens to a request. "" means nothing.
func (h *history) faultOf(to *host, r *http.Request, count int64) string {
	fault, now := "", time.Now()
	for _, w := range to.windows {
		if !now.Before(w.from) && now.Before(w.to) && (!w.onlyCreates || r.Method == http.MethodPost) {
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
		h.total.add("fault: " + fault)
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
