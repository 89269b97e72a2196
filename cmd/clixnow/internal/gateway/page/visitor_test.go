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
