package page_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/gateway/page"
)

const androidAgent = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) " +
	"Chrome/143.0.0.0 Mobile Safari/537.36"

func TestDevice(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		agent string
		hints http.Header
		// want has the type, the name, the operating system and the browser.
		want [4]string
	}{
		"iPhone": {
			"Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) " +
				"Version/18.1 Mobile/15E148 Safari/604.1",
			nil,
			[4]string{"Mobile", "iPhone", "iOS", "Safari"},
		},
		"iPad": {
			"Mozilla/5.0 (iPad; CPU OS 10_3_2 like Mac OS X) AppleWebKit/603.2.4 (KHTML, like Gecko) " +
				"Version/10.0 Mobile/14F89 Safari/602.1",
			nil,
			[4]string{"Tablet", "iPad", "iOS", "Safari"},
		},
		"Android without its model": {androidAgent, nil, [4]string{"Mobile", "", "Android", "Chrome"}},
		"Android with its model as a hint": {
			androidAgent,
			http.Header{
				"Sec-Ch-Ua-Model": {`"Pixel 9"`}, "Sec-Ch-Ua-Platform": {`"Android"`}, "Sec-Ch-Ua-Mobile": {"?1"},
			},
			[4]string{"Mobile", "Pixel 9", "Android", "Chrome"},
		},
		"Android with its model": {
			"Mozilla/5.0 (Linux; Android 4.3; GT-I9300 Build/JSS15J) AppleWebKit/537.36 (KHTML, like Gecko) " +
				"Chrome/59.0.3071.125 Mobile Safari/537.36",
			nil,
			[4]string{"Mobile", "GT-I9300", "Android", "Chrome"},
		},
		"Windows": {
			"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 " +
				"Safari/537.36 Edg/143.0.0.0",
			http.Header{"Sec-Ch-Ua-Platform": {`"Windows"`}, "Sec-Ch-Ua-Mobile": {"?0"}},
			[4]string{"Desktop", "", "Windows", "Edge"},
		},
		"Mac": {
			"Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:140.0) Gecko/20100101 Firefox/140.0",
			nil,
			[4]string{"Desktop", "", "macOS", "Firefox"},
		},
		"search engine": {"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", nil, [4]string{}},
		"program":       {"Go-http-client/1.1", nil, [4]string{}},
		"curl":          {"curl/8.5.0", nil, [4]string{}},
		"none":          {"", nil, [4]string{}},
		"not UTF-8": {
			androidAgent, http.Header{"Sec-Ch-Ua-Model": {"\xff\xfe"}}, [4]string{"Mobile", "", "Android", "Chrome"},
		},
		"long hint": {
			androidAgent,
			http.Header{"Sec-Ch-Ua-Model": {strings.Repeat("x", 2000)}},
			[4]string{"Mobile", "", "Android", "Chrome"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
			if test.hints != nil {
				r.Header = test.hints
			}
			r.Header.Set("User-Agent", test.agent)
			var req clixnow.CreateLeadRequest
			page.Complete(&req, r, netip.Addr{})
			assert.Equal(t, test.want, [4]string{req.DeviceType, req.DeviceName, req.OSName, req.Browser})
		})
	}
}

func TestCompleteKeepsWhatIsThere(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
	r.Header.Set("User-Agent", androidAgent)
	visitor, other := netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("198.51.100.1")
	req := clixnow.CreateLeadRequest{Browser: "Chrome Mobile", IPAddress: visitor}
	page.Complete(&req, r, other)
	assert.Equal(t, clixnow.CreateLeadRequest{Browser: "Chrome Mobile", IPAddress: visitor}, req)
	req.IPAddress = netip.Addr{}
	page.Complete(&req, r, other)
	assert.Equal(t, other, req.IPAddress)
}

func TestCompletePhone(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ phone, country, want string }{
		"separators":                      {"+41\u00a079\u2011555–01\t02\u200e", "CH", "+41795550102"},
		"national":                        {"079 555 01 02", "ch", "+41795550102"},
		"national of no country":          {"079 555-01-02", "", "0795550102"},
		"national of an unknown country":  {"079 555-01-02", "XX", "0795550102"},
		"not possible, but only digits":   {"+41 123", "CH", "+41123"},
		"not a phone number":              {"call me", "CH", "call me"},
		"two numbers":                     {"+41 1 or +41 2", "CH", "+41 1 or +41 2"},
		"empty":                           {"", "CH", ""},
		"in the form that the API shows":  {"+41123456789", "CH", "+41123456789"},
		"of another country than the one": {"+49 170 5550190", "CH", "+491705550190"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := clixnow.CreateLeadRequest{Phone: test.phone, CountryCode: test.country}
			page.Complete(&req, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil), netip.Addr{})
			assert.Equal(t, test.want, req.Phone)
			assert.Equal(t, test.country, req.CountryCode)
		})
	}
}

func TestAddress(t *testing.T) {
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
		"single trusted address":                {"10.0.0.1/32", "10.0.0.1:4711", []string{"203.0.113.7"}, "203.0.113.7"},
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
			var trusted []netip.Prefix
			for network := range strings.SplitSeq(test.trusted, ", ") {
				if prefix, err := netip.ParsePrefix(network); err == nil {
					trusted = append(trusted, prefix)
				}
			}
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
			r.RemoteAddr = test.peer
			r.Header["X-Forwarded-For"] = test.forwarded
			var want netip.Addr
			if test.want != "" {
				want = netip.MustParseAddr(test.want)
			}
			assert.Equal(t, want, page.Address(trusted)(r))
		})
	}
}
