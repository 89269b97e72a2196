package gateway

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestAddressOfVisitor(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		trusted, peer string
		// forwarded has a header line for each element.
		forwarded []string
		// want is "" for the zero Addr.
		want string
	}{
		"no proxy":                      {"", "203.0.113.7:4711", nil, "203.0.113.7"},
		"no proxy, IPv6":                {"", "[2001:db8::7]:4711", nil, "2001:db8::7"},
		"no proxy, with zone":           {"", "[fe80::7%eth0]:4711", nil, "fe80::7"},
		"no proxy, IPv4 in IPv6":        {"", "[::ffff:203.0.113.7]:4711", nil, "203.0.113.7"},
		"no trusted proxies":            {"", "203.0.113.7:4711", []string{"198.51.100.1"}, "203.0.113.7"},
		"forged by an untrusted client": {"10.0.0.0/8", "203.0.113.7:4711", []string{"198.51.100.1"}, "203.0.113.7"},
		"forged by an untrusted client, with the address of a proxy": {
			"10.0.0.0/8", "203.0.113.7:4711", []string{"198.51.100.1, 10.0.0.1"}, "203.0.113.7",
		},
		"one proxy":   {"10.0.0.0/8", "10.0.0.1:4711", []string{"203.0.113.7"}, "203.0.113.7"},
		"two proxies": {"10.0.0.0/8", "10.0.0.1:4711", []string{"203.0.113.7, 10.0.0.2"}, "203.0.113.7"},
		"two proxies, one header line each": {
			"10.0.0.0/8", "10.0.0.1:4711", []string{"203.0.113.7", "10.0.0.2"}, "203.0.113.7",
		},
		"two networks": {"10.0.0.0/8, fd00::/8", "[fd00::1]:4711", []string{"203.0.113.7,10.0.0.2"}, "203.0.113.7"},
		"forged by the visitor": {
			"10.0.0.0/8", "10.0.0.1:4711", []string{"198.51.100.1, 203.0.113.7"}, "203.0.113.7",
		},
		"forged by the visitor, with the address of a proxy": {
			"10.0.0.0/8", "10.0.0.1:4711", []string{"10.9.9.9, 203.0.113.7"}, "203.0.113.7",
		},
		"forged by the visitor, not an address": {
			"10.0.0.0/8", "10.0.0.1:4711", []string{"<script>, 203.0.113.7"}, "203.0.113.7",
		},
		"single trusted address": {
			"10.0.0.1/32", "10.0.0.1:4711",
			[]string{"203.0.113.7"},
			"203.0.113.7",
		},
		"address beside the single trusted one": {"10.0.0.1/32", "10.0.0.2:4711", []string{"203.0.113.7"}, "10.0.0.2"},
		"IPv6 proxy": {
			"2001:db8:1::/48", "[2001:db8:1::1]:4711", []string{"2001:db8:2::7"}, "2001:db8:2::7",
		},
		"IPv4 proxy on an IPv6 socket": {
			"10.0.0.0/8", "[::ffff:10.0.0.1]:4711", []string{"203.0.113.7"}, "203.0.113.7",
		},
		"link-local proxy with zone": {"fe80::/10", "[fe80::1%eth0]:4711", []string{"203.0.113.7"}, "203.0.113.7"},
		"forwarded with port":        {"10.0.0.0/8", "10.0.0.1:4711", []string{"203.0.113.7:50123"}, "203.0.113.7"},
		"forwarded IPv6 with port":   {"10.0.0.0/8", "10.0.0.1:4711", []string{"[2001:db8::7]:50123"}, "2001:db8::7"},
		"forwarded IPv6 in brackets": {"10.0.0.0/8", "10.0.0.1:4711", []string{"[2001:db8::7]"}, "2001:db8::7"},
		"forwarded IPv6 with zone":   {"10.0.0.0/8", "10.0.0.1:4711", []string{"fe80::7%eth0"}, "fe80::7"},
		"forwarded IPv4 in IPv6":     {"10.0.0.0/8", "10.0.0.1:4711", []string{"::ffff:203.0.113.7"}, "203.0.113.7"},
		"proxy that sends unknown":   {"10.0.0.0/8", "10.0.0.1:4711", []string{"203.0.113.7, unknown"}, ""},
		"proxy without the header":   {"10.0.0.0/8", "10.0.0.1:4711", nil, ""},
		"only proxies":               {"10.0.0.0/8", "10.0.0.1:4711", []string{"10.0.0.2"}, ""},
		"proxy on a Unix socket":     {"10.0.0.0/8", "@", []string{"203.0.113.7"}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := &guard{warn: func() {}}
			for text := range strings.SplitSeq(test.trusted, ", ") {
				if text != "" {
					g.proxies = append(g.proxies, netip.MustParsePrefix(text))
				}
			}
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
			r.RemoteAddr = test.peer
			r.Header["X-Forwarded-For"] = test.forwarded
			var want netip.Addr
			if test.want != "" {
				want = netip.MustParseAddr(test.want)
			}
			assert.Equal(t, want, g.address(r))
		})
	}
}
