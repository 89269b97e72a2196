package postback

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// privateAddresses are addresses that no postback may reach by itself.
func privateAddresses() []string {
	return []string{
		"127.0.0.1", "127.8.9.10", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
		"169.254.169.254", "100.64.0.1", "100.127.255.255", "192.0.0.8", "192.0.2.1", "198.18.0.1", "198.51.100.1",
		"203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::127.0.0.1", "::ffff:0.0.0.0", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
		"64:ff9b:1::1", "100::1", "2001:db8::1", "2001::1", "2002:7f00:1::",
		"fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1",
	}
}

func TestGuard(t *testing.T) {
	t.Parallel()
	for _, text := range privateAddresses() {
		addr := netip.MustParseAddr(text)
		assert.Error(t, guard{}.check(addr), text)
		assert.Error(t, guard{}.control("tcp", netip.AddrPortFrom(addr, 443).String(), nil), text)
		assert.Error(t, guard{onlyLoopback: true, allowPrivate: true}.check(netip.MustParseAddr("10.0.0.1")), text)
		unmapped := addr.Unmap()
		if unmapped.IsMulticast() || unmapped.IsUnspecified() {
			assert.Error(t, guard{allowPrivate: true}.check(addr), text)
		} else {
			assert.NoError(t, guard{allowPrivate: true}.check(addr), text)
		}
	}
	for _, text := range []string{
		"1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.32.0.1", "2606:4700::1111",
	} {
		assert.NoError(t, guard{}.check(netip.MustParseAddr(text)), text)
		assert.Error(t, guard{onlyLoopback: true}.check(netip.MustParseAddr(text)), text)
	}
	assert.Error(t, guard{}.control("tcp", "fe80::1%eth0", nil))
	assert.Error(t, guard{}.control("tcp", "[fe80::1%eth0]:443", nil))
}

// TestHosts checks hosts that are refused before anything is sent.
func TestHosts(t *testing.T) {
	t.Parallel()
	hosts := []string{
		"localhost", "LOCALHOST", "2130706433", "0177.0.0.1", "0x7f.0.0.1", "0x7f000001", "127.1", "127.0.0.1.",
		"[::ffff:8.8.8.8]", "1.2.3.4.5", "a.example.0x7f", "a.example.9",
	}
	for _, address := range privateAddresses() {
		if strings.Contains(address, ":") {
			address = "[" + address + "]"
		}
		hosts = append(hosts, address)
	}
	for _, host := range hosts {
		err := Check([]Destination{{Name: "a", URL: "https://" + host + "/SECRET"}})
		if assert.Error(t, err, host) {
			assert.Contains(t, err.Error(), `postback "a": host `)
			assert.NotContains(t, err.Error(), "SECRET")
		}
	}
	for _, host := range []string{
		"a.example", "A.EXAMPLE:8443", "1.1.1.1", "[2606:4700::1111]:443",
		"xn--bcher-kva.example",
	} {
		assert.NoError(t, Check([]Destination{{Name: "a", URL: "https://" + host + "/{clickId}"}}), host)
	}
	allowed := []Destination{
		{Name: "a", URL: "https://Tracker.LAN/{clickId}", AllowPrivate: []string{"other", "tracker.lan"}},
	}
	assert.NoError(t, Check(allowed))
	allowed = []Destination{{Name: "a", URL: "https://10.0.0.1/{clickId}", AllowPrivate: []string{"10.0.0.1"}}}
	assert.NoError(t, Check(allowed))
}

// resolverOf returns a resolver that answers every question with an address.
func resolverOf(t *testing.T, address func() netip.Addr) *net.Resolver {
	t.Helper()
	server, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buffer := make([]byte, 512)
		for {
			n, from, err := server.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(dnsAnswer(buffer[:n], address()), from)
		}
	}()
	t.Cleanup(func() {
		assert.NoError(t, server.Close())
		<-done
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
}

// dnsAnswer answers a question. It has no record if the question asks for the
// other family of addresses.
func dnsAnswer(query []byte, address netip.Addr) []byte {
	end := 12
	for query[end] != 0 {
		end += int(query[end]) + 1
	}
	question := query[12 : end+5]
	kind, raw := uint16(1), address.AsSlice()
	if address.Is6() {
		kind = 28
	}
	answers := uint16(0)
	if binary.BigEndian.Uint16(question[len(question)-4:]) == kind {
		answers = 1
	}
	answer := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, byte(answers), 0, 0, 0, 0}, question...)
	if answers == 1 {
		answer = append(answer, 0xc0, 12, 0, byte(kind), 0, 1, 0, 0, 0, 0, 0, byte(len(raw)))
		answer = append(answer, raw...)
	}
	return answer
}

// TestResolvedAddresses checks names that resolve to addresses that must not be
// reached. A server on loopback counts the connections.
func TestResolvedAddresses(t *testing.T) {
	t.Parallel()
	var connections atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { connections.Add(1) }))
	defer server.Close()
	port := netip.MustParseAddrPort(server.Listener.Addr().String()).Port()
	get := func(client *http.Client) error {
		target := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port).String()
		address := "http://tracker.example" + strings.TrimPrefix(target, "127.0.0.1")
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		require.NoError(t, err)
		response, err := client.Do(request)
		if err == nil {
			_ = response.Body.Close()
		}
		client.CloseIdleConnections()
		return err
	}
	for _, text := range privateAddresses() {
		client := newClient(guard{}, 1, resolverOf(t, func() netip.Addr { return netip.MustParseAddr(text) }))
		err := get(client)
		require.ErrorIs(t, err, errPrivate, text)
		assert.Equal(t, "connect: "+errPrivate.Error(), networkProblem(err), text)
	}
	assert.Zero(t, connections.Load())

	// The name changes its address after the first connection.
	rebound := resolverOf(t, func() netip.Addr { return netip.MustParseAddr("127.0.0.1") })
	require.NoError(t, get(newClient(guard{allowPrivate: true}, 1, rebound)))
	assert.EqualValues(t, 1, connections.Load())
	require.ErrorIs(t, get(newClient(guard{}, 1, rebound)), errPrivate)
	assert.EqualValues(t, 1, connections.Load())
}

// TestRedirects checks that a redirect is not followed, to whatever place.
func TestRedirects(t *testing.T) {
	t.Parallel()
	var followed atomic.Int64
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
	defer target.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", target.URL+"/"+r.URL.RawQuery)
			w.WriteHeader(status)
		}))
		d := compiled(t,
			Destination{Name: "a", URL: server.URL + "/?id={clickId}", AllowPrivate: []string{"127.0.0.1"}})
		o := d.send(t.Context(), &item{values: `{"clickId":"CLICK"}`})
		d.client.CloseIdleConnections()
		server.Close()
		require.ErrorContains(t, o.err, "redirects are not followed")
		assert.True(t, o.everyone)
		assert.NotContains(t, o.err.Error(), "CLICK")
	}
	assert.Zero(t, followed.Load())
}

func compiled(t *testing.T, d Destination) *destination {
	t.Helper()
	ready, err := d.compile()
	require.NoError(t, err)
	return ready
}

// TestClient checks what the client does not do.
func TestClient(t *testing.T) {
	t.Parallel()
	transport := newClient(guard{}, 1, nil).Transport.(*http.Transport)
	assert.Nil(t, transport.Proxy, "a proxy would resolve the host by itself")
	assert.Positive(t, transport.TLSHandshakeTimeout, "a handshake does not end with its request")

	// A response may be endless. The rest is not read.
	var sent atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Empty(t, r.Header.Get("Accept-Encoding"), "a compressed response may be much longer")
		line := strings.Repeat("x", 1024)
		for r.Context().Err() == nil {
			n, err := io.WriteString(w, line)
			if err != nil {
				return
			}
			sent.Add(int64(n))
		}
	}))
	defer server.Close()
	d := compiled(t, Destination{Name: "a", URL: server.URL + "/?{clickId}", AllowPrivate: []string{"127.0.0.1"}})
	defer d.client.CloseIdleConnections()
	assert.NoError(t, d.send(t.Context(), &item{values: "{}"}).err)
	assert.Less(t, sent.Load(), int64(64<<20))

	// A certificate that nobody has signed is refused.
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	secure.Config.ErrorLog = nil
	d = compiled(t, Destination{Name: "a", URL: secure.URL + "/?{clickId}", AllowPrivate: []string{"127.0.0.1"}})
	o := d.send(t.Context(), &item{values: "{}"})
	require.ErrorContains(t, o.err, "certificate")
	assert.True(t, o.everyone)
}

// TestNoSecretsInErrors checks the errors of servers that repeat the request.
func TestNoSecretsInErrors(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			buffer := make([]byte, 4096)
			n, _ := conn.Read(buffer)
			_, _ = conn.Write(buffer[:n]) // the first line of the response is that of the request
			_ = conn.Close()
		}
	}()
	for _, address := range []string{"http://" + listener.Addr().String(), "http://127.0.0.1:1"} {
		d := compiled(t, Destination{
			Name: "a", URL: address + "/SECRET?id={clickId}", AllowPrivate: []string{"127.0.0.1"},
		})
		o := d.send(t.Context(), &item{values: `{"clickId":"CLICK"}`})
		require.Error(t, o.err)
		assert.True(t, o.everyone)
		assert.NotContains(t, o.err.Error(), "SECRET")
		assert.NotContains(t, o.err.Error(), "CLICK")
	}
}
