package network_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
)

// never is a timeout that no call reaches. soon is one for calls that get no
// response.
const (
	never = 2 * time.Minute
	soon  = 5 * time.Second
)

// scenario is a network and what it does to a call.
type scenario struct {
	name string
	// open means that the client has an open connection when the fault begins.
	open bool
	// http1 means that the API does not speak HTTP/2.
	http1 bool
	// timeout is that of an attempt.
	timeout time.Duration
	// plain means that the client uses plain HTTP.
	plain bool
	// roots means that the client trusts the root of its company.
	roots bool
	// proxy means that the client uses the proxy.
	proxy bool
	// unlisted means that the result depends on time, and is not in the table.
	unlisted bool
	// fault begins right before the call.
	fault func(*world)
}

func (w *world) dead() {
	w.set(func(packet, func(packet)) {})
}

// forget drops the packets of the connections that are open, as a router does
// that has forgotten them.
func (w *world) forget() {
	ports := w.open()
	w.set(func(p packet, send func(packet)) {
		if !slices.Contains(ports, p.port) {
			send(p)
		}
	})
}

// deadUntilNew drops the packets of the connections that are open until the
// client opens another one.
func (w *world) deadUntilNew() {
	ports, dead := w.open(), true
	w.set(func(p packet, send func(packet)) {
		known := slices.Contains(ports, p.port)
		if p.opens && !known {
			dead = false
		}
		if !dead || !known {
			send(p)
		}
	})
}

func (w *world) lose(percent int) {
	random := rand.New(rand.NewPCG(1, 0))
	w.set(func(p packet, send func(packet)) {
		if p.port == 0 || random.IntN(100) >= percent {
			send(p)
		}
	})
}

func (w *world) duplicate() {
	w.set(func(p packet, send func(packet)) {
		send(p)
		send(p)
	})
}

// reorder lets every second packet of a direction arrive after the next one, or
// after 5 ms if none follows.
func (w *world) reorder() {
	var held [2]*packet
	w.set(func(p packet, send func(packet)) {
		waiting := &held[0]
		if p.toServer {
			waiting = &held[1]
		}
		if *waiting != nil {
			send(p)
			send(**waiting)
			*waiting = nil
			return
		}
		mine := &p
		*waiting = mine
		time.AfterFunc(5*time.Millisecond, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			if *waiting == mine {
				send(p)
				*waiting = nil
			}
		})
	})
}

// narrow drops packets of more than 600 bytes, and tells no one.
func (w *world) narrow(toServer, toClient bool) {
	w.set(func(p packet, send func(packet)) {
		if len(p.data) <= 600 || p.toServer && !toServer || !p.toServer && !toClient {
			send(p)
		}
	})
}

// rcode makes the next DNS answers have a code, as many as times. 0 means all.
func (w *world) rcode(code, times int) {
	w.state.Lock()
	defer w.state.Unlock()
	answers := 0
	w.resolve = func(q *dns.Msg) *dns.Msg {
		w.state.Lock()
		defer w.state.Unlock()
		if answers++; answers == times {
			w.resolve = nil
		}
		return new(dns.Msg).SetRcode(q, code)
	}
}

func (w *world) silentDNS() {
	w.state.Lock()
	defer w.state.Unlock()
	w.resolve = func(*dns.Msg) *dns.Msg { return nil }
}

func (w *world) answerConnect(text string) {
	w.state.Lock()
	defer w.state.Unlock()
	w.connect = func(client net.Conn) {
		_, _ = io.WriteString(client, text)
		_ = client.Close()
	}
}

func answer(status int, location string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		if location != "" {
			w.Header().Set("Location", location)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "<!DOCTYPE html><title>Welcome to our hotel</title>")
	}
}

func scenarios() []scenario {
	return []scenario{
		{name: "no fault", timeout: never, fault: func(*world) {}},
		{name: "20 % of the packets of TCP are lost", timeout: never, fault: func(w *world) { w.lose(20) }},
		{name: "packets overtake each other", timeout: never, fault: (*world).reorder},
		{name: "each packet arrives twice", timeout: never, fault: (*world).duplicate},

		{
			name: "large packets vanish, new connection", timeout: soon,
			fault: func(w *world) { w.narrow(true, true) },
		},
		{
			name: "large packets to the API vanish, open connection", open: true, http1: true, timeout: soon,
			fault: func(w *world) { w.narrow(true, false) },
		},
		{
			name: "large packets to the client vanish, open connection", open: true, http1: true, timeout: soon,
			fault: func(w *world) { w.narrow(false, true) },
		},

		{name: "link dies, new connection", timeout: soon, fault: (*world).dead},
		{name: "link dies, open connection", open: true, http1: true, timeout: soon, fault: (*world).dead},
		{
			name: "link dies before the response", open: true, http1: true, timeout: soon,
			fault: func(w *world) { w.at(handled, w.dead) },
		},
		{
			name: "link dies in the middle of the response", open: true, http1: true, timeout: soon,
			fault: func(w *world) { w.at(halfSent, w.dead) },
		},
		{
			name: "router forgets the open connection, HTTP/1.1", open: true, http1: true, timeout: soon,
			fault: (*world).forget,
		},
		{name: "router forgets the open connection, HTTP/2", open: true, timeout: never, fault: (*world).forget},
		{
			name: "router forgets the connection before the response, HTTP/1.1", open: true, http1: true, timeout: soon,
			fault: func(w *world) { w.at(handled, w.forget) },
		},
		{
			name: "open connection is dead until the client opens another one, HTTP/1.1",
			open: true, http1: true, timeout: soon, fault: (*world).deadUntilNew,
		},
		{
			name: "open connection is dead until the client opens another one, HTTP/2",
			open: true, timeout: never, fault: (*world).deadUntilNew,
		},

		// HTTP/2 keeps a connection after a timeout. A create may still arrive.
		{name: "link dies, HTTP/2", open: true, timeout: soon, unlisted: true, fault: (*world).dead},
		{
			name: "link dies before the response, HTTP/2", open: true, timeout: soon, unlisted: true,
			fault: func(w *world) { w.at(handled, w.dead) },
		},
		{
			name: "router forgets the open connection, HTTP/2, no ping", open: true, timeout: soon, unlisted: true,
			fault: (*world).forget,
		},
		{
			name: "large packets to the API vanish, HTTP/2", open: true, timeout: soon, unlisted: true,
			fault: func(w *world) { w.narrow(true, false) },
		},

		{name: "DNS does not answer", timeout: soon, fault: (*world).silentDNS},
		{name: "DNS says that there is no such name", timeout: never, fault: func(w *world) {
			w.rcode(dns.RcodeNameError, 0)
		}},
		{name: "DNS fails twice (SERVFAIL), and then works", timeout: never, fault: func(w *world) {
			w.rcode(dns.RcodeServerFailure, 2)
		}},
		{
			name: "name moves, the old address still works", open: true, timeout: never,
			fault: func(w *world) { w.move(movedAddress) },
		},
		{
			name: "name moves, the old address is silent", open: true, http1: true, timeout: soon,
			fault: func(w *world) {
				w.move(movedAddress)
				w.set(func(p packet, send func(packet)) {
					if p.server != apiAddress {
						send(p)
					}
				})
			},
		},

		{name: "captive portal with the certificate of a stranger", timeout: never, fault: func(w *world) {
			w.portal(portalAddress+":443", answer(200, ""))
		}},
		{name: "captive portal answers 200 with HTML, plain HTTP", plain: true, timeout: never, fault: func(w *world) {
			w.portal(portalAddress+":80", answer(200, ""))
		}},
		{name: "captive portal answers 302, plain HTTP", plain: true, timeout: never, fault: func(w *world) {
			w.portal(portalAddress+":80", answer(302, "http://login.hotel.example/"))
		}},
		{name: "captive portal answers 511, plain HTTP", plain: true, timeout: never, fault: func(w *world) {
			w.portal(portalAddress+":80", answer(511, ""))
		}},

		{name: "proxy works", proxy: true, timeout: never, fault: func(*world) {}},
		{name: "proxy answers 407", proxy: true, timeout: never, fault: func(w *world) {
			w.answerConnect("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
		}},
		{name: "proxy closes in the middle of its answer", proxy: true, timeout: never, fault: func(w *world) {
			w.answerConnect("HTTP/1.1 200 Conn")
		}},
		{name: "proxy dies before the response", proxy: true, timeout: never, fault: func(w *world) {
			w.at(handled, w.closeTunnels)
		}},
		{
			name: "proxy dies in the middle of the response", proxy: true, http1: true, timeout: never,
			fault: func(w *world) { w.at(halfSent, w.closeTunnels) },
		},

		{name: "TLS is intercepted, root is unknown", timeout: never, fault: (*world).intercept},
		{name: "TLS is intercepted, root is trusted", timeout: never, roots: true, fault: (*world).intercept},
	}
}

// calls are the columns of the table.
var calls = []string{callCreate, callEnsure, callSearch, callChanges}

// TestNetworks makes each call over each network, all at the same time, because
// they mostly wait. CLIXNOW_TABLE=1 writes the table of docs/network.md.
func TestNetworks(t *testing.T) {
	t.Parallel()
	needNamespaces(t)
	roots := authorities{newAuthority(t, "public"), newAuthority(t, "company"), newAuthority(t, "stranger")}
	all := scenarios()
	cells := make([][]string, len(all))
	places := make(chan struct{}, 64)
	var running sync.WaitGroup
	for i, s := range all { //nolint:paralleltest // each runs in a goroutine
		cells[i] = make([]string, len(calls))
		for j, call := range calls {
			running.Go(func() {
				places <- struct{}{}
				defer func() { <-places }()
				t.Run(s.name+"/"+call, func(t *testing.T) { cells[i][j] = s.run(t, roots, call) })
			})
		}
	}
	running.Wait()
	if t.Failed() {
		return
	}
	table := format(all, cells)
	const name = "../../docs/network.md"
	page, err := os.ReadFile(name)
	require.NoError(t, err)
	rows := regexp.MustCompile(`(?m)(^\|.*\n)+`)
	if os.Getenv("CLIXNOW_TABLE") != "" {
		require.NoError(t, os.WriteFile(name, rows.ReplaceAll(page, []byte(table)), 0o600))
		return
	}
	assert.Equal(t, table, string(rows.Find(page)), "CLIXNOW_TABLE=1 writes the table")
}

// format returns the table of the page.
func format(all []scenario, cells [][]string) string {
	var table strings.Builder
	table.WriteString("| network | `" + strings.Join(calls, "` | `") + "` |\n|---|---|---|---|---|\n")
	for i, s := range all {
		if !s.unlisted {
			table.WriteString("| " + s.name + " | " + strings.Join(cells[i], " | ") + " |\n")
		}
	}
	return table.String()
}

// run makes a call and returns the cell of the table.
func (s scenario) run(t *testing.T, roots authorities, call string) string {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(!s.http1)
	w := newWorld(t, roots, protocols)
	p := plan{Call: call, Open: s.open, Timeout: s.timeout}
	if s.plain {
		p.BaseURL = "http://" + host
	}
	if s.roots {
		p.Roots = roots.company.file
	}
	var environment []string
	if s.proxy {
		environment = append(environment, "HTTPS_PROXY=http://"+proxyAddress+":3128")
	}
	client := w.start(p, environment...)
	s.fault(w)
	result := client.next()
	requireNoSecrets(t, result.Err)
	switch call {
	case callCreate:
		w.heal()
		client.settle()
		return w.checkCreate(t, result)
	case callEnsure:
		w.heal()
		last := result
		if result.Outcome != clixnow.OutcomeRegistered {
			last = client.next()
		}
		client.settle()
		return w.checkEnsure(t, result, last)
	default:
		client.end()
		return w.checkWalk(t, result)
	}
}

// checkCreate fails if the client says something that is not so.
func (w *world) checkCreate(t *testing.T, r report) string {
	t.Helper()
	created := w.created()
	switch r.Outcome {
	case clixnow.OutcomeRegistered:
		assert.Equal(t, 1, created)
	case clixnow.OutcomeUnknown:
		assert.LessOrEqual(t, created, 1, r.Err)
	default:
		assert.Zero(t, created, r.Err)
	}
	return fmt.Sprintf("%s, %d", r.Outcome, created)
}

// checkEnsure fails unless there is one lead in the end.
func (w *world) checkEnsure(t *testing.T, first, last report) string {
	t.Helper()
	assert.Equal(t, clixnow.OutcomeRegistered, last.Outcome, "%s; then %s", first.Err, last.Err)
	assert.Equal(t, 1, w.created(), "%s; then %s", first.Err, last.Err)
	text := first.Outcome.String()
	if first.Outcome != last.Outcome {
		text += ", then " + last.Outcome.String()
	}
	if last.Recovered {
		text += " (found)"
	}
	return text
}

// checkWalk fails if a walk yields a lead twice, or misses a lead without an
// error.
func (w *world) checkWalk(t *testing.T, r report) string {
	t.Helper()
	if r.Err == "" {
		assert.ElementsMatch(t, w.seeded, r.Read)
		return "all leads"
	}
	assert.Subset(t, w.seeded, r.Read)
	sorted := slices.Sorted(slices.Values(r.Read))
	assert.Len(t, slices.Compact(sorted), len(r.Read), "a lead came twice")
	return "error"
}

func requireNoSecrets(t *testing.T, text string) {
	t.Helper()
	for _, secret := range []string{testToken, password, "@leads.example", "+4155", "Zweifel", "autologin", "hotel"} {
		require.NotContains(t, text, secret)
	}
}
