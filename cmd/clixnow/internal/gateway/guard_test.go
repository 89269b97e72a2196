package gateway_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const secret = "a-long-secret-of-servers"

// withSecret returns the configuration of a secret in a file.
func withSecret(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "gateway.secret")
	require.NoError(t, os.WriteFile(file, []byte(secret+"\n"), 0o600))
	return fmt.Sprintf("secret_file = %q\n", file)
}

// TestOrigins checks which pages may read the answers.
func TestOrigins(t *testing.T) {
	t.Parallel()
	const allowed = "https://landing.example"
	tests := []struct {
		name, origins, origin string
		want                  bool
	}{
		{"allowed", `["https://landing.example"]`, allowed, true},
		{"second", `["http://localhost:3000", "https://landing.example"]`, allowed, true},
		{"another", `["https://landing.example"]`, "https://evil.example", false},
		{"another port", `["https://landing.example"]`, allowed + ":8443", false},
		{"another scheme", `["https://landing.example"]`, "http://landing.example", false},
		{"longer name", `["https://landing.example"]`, allowed + ".evil.example", false},
		{"null", `["https://landing.example"]`, "null", false},
		{"none configured", `[]`, allowed, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			api := newFakeAPI(t)
			p := start(t, api, t.TempDir()+"/signups.db", "origins = "+test.origins)
			want := ""
			if test.want {
				want = test.origin
			}
			preflight := send(t, "OPTIONS", p.public+"/signups", "", "", "Origin", test.origin,
				"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type")
			assert.Equal(t, want, preflight.header.Get("Access-Control-Allow-Origin"))
			if test.want {
				assert.Equal(t, "content-type", preflight.header.Get("Access-Control-Allow-Headers"))
				assert.Equal(t, "POST", preflight.header.Get("Access-Control-Allow-Methods"))
			}
			got := send(t, "POST", p.public+"/signups", asJSON, leadJSON("c", "visitor@example.com"), "Origin",
				test.origin)
			assert.Equal(t, http.StatusOK, got.code, got.body)
			assert.Equal(t, want, got.header.Get("Access-Control-Allow-Origin"))
			assert.Empty(t, got.header.Get("Access-Control-Allow-Credentials"))
			status := send(t, "GET", p.public+"/signups/x", "", "", "Origin", test.origin)
			assert.Equal(t, want, status.header.Get("Access-Control-Allow-Origin"))
		})
	}
}

// TestSecret checks who may send sign-ups if servers have a secret.
func TestSecret(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t)
	p := start(t, api, t.TempDir()+"/signups.db", withSecret(t)+"origins = [\"https://landing.example\"]\nrate = 3")
	_, host, _ := strings.Cut(p.public, "//")
	tests := []struct {
		name   string
		header []string
		want   int
	}{
		{"secret", []string{"Authorization", "Bearer " + secret}, http.StatusOK},
		{
			"secret and page",
			[]string{"Authorization", "Bearer " + secret, "Origin", "https://evil.example"},
			http.StatusOK,
		},
		{"nothing", nil, http.StatusUnauthorized},
		{"wrong secret", []string{"Authorization", "Bearer x"}, http.StatusUnauthorized},
		{"empty secret", []string{"Authorization", "Bearer "}, http.StatusUnauthorized},
		{"no bearer", []string{"Authorization", secret}, http.StatusUnauthorized},
		{"allowed page", []string{"Origin", "https://landing.example", "Sec-Fetch-Site", "cross-site"}, http.StatusOK},
		{
			"another page",
			[]string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"},
			http.StatusForbidden,
		},
		{"page without origin", []string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		{"page of the gateway", []string{"Origin", "http://" + host, "Sec-Fetch-Site", "same-origin"}, http.StatusOK},
		{"page of the gateway in an old browser", []string{"Origin", "http://" + host}, http.StatusOK},
	}
	for i, test := range tests {
		got := send(t, "POST", p.public+"/signups", asJSON,
			leadJSON(strconv.Itoa(i), fmt.Sprintf("visitor%d@example.com", i)), test.header...)
		assert.Equal(t, test.want, got.code, test.name)
		if got.code == http.StatusUnauthorized {
			assert.Equal(t, "Bearer", got.header.Get("WWW-Authenticate"))
		}
	}
	assert.Len(t, api.Leads(), 5)
	limited := sendOnce(t, "POST", p.public+"/signups", asJSON, leadJSON("l", "l@example.com"), "Origin",
		"http://"+host)
	assert.Equal(t, http.StatusTooManyRequests, limited.code)
	server := send(t, "POST", p.public+"/signups", asJSON, leadJSON("s", "s@example.com"),
		"Authorization", "Bearer "+secret)
	assert.Equal(t, http.StatusOK, server.code, "the address of a server is not that of a visitor")
	assert.NotContains(t, p.log.String(), secret)
}

// TestRate checks the limit by address. Proxies name the address.
func TestRate(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t)
	p := start(t, api, t.TempDir()+"/signups.db",
		"rate = 2\ntrusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\", \"fd00::/8\"]")
	n := 0
	signUp := func(forwarded string) int {
		n++
		got := sendOnce(t, "POST", p.public+"/signups", asJSON,
			leadJSON(strconv.Itoa(n), fmt.Sprintf("v%d@example.com", n)),
			"X-Forwarded-For", forwarded)
		if got.code == http.StatusTooManyRequests {
			assert.NotEmpty(t, got.header.Get("Retry-After"))
			assert.Equal(t, "limited", got.json(t)["status"])
		}
		return got.code
	}
	for _, test := range []struct {
		name string
		// same have the address of a visitor, and other has another one.
		same  [3]string
		other string
	}{
		{"IPv4", [3]string{"192.0.2.1", "192.0.2.1", "192.0.2.1"}, "192.0.2.2"},
		{"IPv4 in IPv6", [3]string{"192.0.2.3", "::ffff:192.0.2.3", "192.0.2.3:443"}, "::ffff:192.0.2.4"},
		{"IPv6 network", [3]string{"2001:db8:1::1", "[2001:db8:1::2]:443", "2001:db8:1::ffff:1"}, "2001:db8:2::1"},
		{
			"invented hops",
			[3]string{"1.1.1.1, 192.0.2.5", "1.1.1.2, 192.0.2.5", "x, 192.0.2.5"},
			"192.0.2.5, 192.0.2.6",
		},
		{
			"two proxies",
			[3]string{"192.0.2.7, 10.1.1.1", "192.0.2.7, 10.1.1.2", "192.0.2.7, fd00::1"},
			"192.0.2.8, 10.1.1.1",
		},
	} {
		codes := []int{signUp(test.same[0]), signUp(test.same[1]), signUp(test.same[2]), signUp(test.other)}
		assert.Equal(t, []int{http.StatusOK, http.StatusOK, http.StatusTooManyRequests, http.StatusOK}, codes,
			test.name)
	}
	html := sendOnce(t, "POST", p.public+"/signups", asJSON, "{", "X-Forwarded-For", "192.0.2.1", "Accept", "text/html")
	assert.Equal(t, http.StatusTooManyRequests, html.code)
	assert.Contains(t, html.body, "Please try again in a minute.")
	form := sendOnce(t, "POST", p.public+"/", asForm, "", "X-Forwarded-For", "192.0.2.1")
	assert.Equal(t, http.StatusTooManyRequests, form.code, "the form has the same limit")
	for range 5 {
		assert.NotEqual(t, http.StatusTooManyRequests, sendOnce(t, "GET", p.public+"/", "", "").code)
	}
	assert.NotContains(t, p.log.String(), "trusted_proxies")
}

// TestAddress checks which address of the visitor is sent to the brand.
func TestAddress(t *testing.T) {
	t.Parallel()
	const page, none = "https://landing.example", ""
	tests := []struct {
		name, proxies, forwarded, origin, sent string
		want                                   any
	}{
		{"visitor without proxy", `["192.0.2.0/24"]`, "", page, "", "127.0.0.1"},
		{"one proxy", `[]`, "192.0.2.7", page, "", "192.0.2.7"},
		{"two proxies", `["127.0.0.1", "198.51.100.0/24"]`, "192.0.2.7, 198.51.100.1", page, "", "192.0.2.7"},
		{"invented address before its own", `[]`, "192.0.2.66, 192.0.2.7", page, "", "192.0.2.7"},
		{"proxy that is not trusted", `["10.0.0.0/8"]`, "192.0.2.7", page, "", "127.0.0.1"},
		{"port", `[]`, "192.0.2.7:1234", page, "", "192.0.2.7"},
		{"IPv6 with port", `[]`, "[2001:db8::7]:1234", page, "", "2001:db8::7"},
		{"zone", `[]`, "fe80::7%eth0", page, "", "fe80::7"},
		{"only proxies", `[]`, "127.0.0.2", page, "", nil},
		{"no address", `[]`, "unknown", page, "", nil},
		{"server", `[]`, "192.0.2.7", none, "", nil},
		{"server with the address of the visitor", `[]`, "192.0.2.7", none, "203.0.113.9", "203.0.113.9"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			api := newFakeAPI(t)
			p := start(t, api, t.TempDir()+"/signups.db", "trusted_proxies = "+test.proxies)
			body := strings.Replace(leadJSON("c", "visitor@example.com"), "}", `,"ipAddress":"`+test.sent+`"}`, 1)
			header := []string{"X-Forwarded-For", test.forwarded}
			if test.forwarded == "" {
				header = nil
			}
			if test.origin != "" {
				header = append(header, "Origin", test.origin)
			}
			got := send(t, "POST", p.public+"/signups", asJSON, body, header...)
			require.Equal(t, http.StatusOK, got.code, got.body)
			assert.Equal(t, test.want, sentBody(t, api, "visitor@example.com")["ipAddress"])
			assert.NotContains(t, p.log.String(), "192.0.2.")
		})
	}
}

// TestUnknownProxy checks that a proxy that was forgotten in the configuration
// is reported once, without the address of a visitor.
func TestUnknownProxy(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t)
	p := start(t, api, t.TempDir()+"/signups.db", "rate = 100\ntrusted_proxies = [\"10.0.0.0/8\"]")
	for range 3 {
		got := send(t, "POST", p.public+"/signups", asJSON, "{", "X-Forwarded-For", "192.0.2.7")
		require.Equal(t, http.StatusBadRequest, got.code)
	}
	assert.Equal(t, 1, strings.Count(p.log.String(), "trusted_proxies"))
	assert.NotContains(t, p.log.String(), "192.0.2.7")
	assert.NotContains(t, p.log.String(), "127.0.0.1 ")
}

// TestHosts checks case P9: the admin page and the metrics refuse the Host of
// another site, whose name may mean this machine after DNS rebinding.
func TestHosts(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t)
	p := start(t, api, t.TempDir()+"/signups.db", "[gateway.admin]\nhosts = [\"leads.example\"]\n"+
		"user_header = \"X-User\"")
	for _, path := range []string{"/", "/healthz", "/readyz", "/metrics"} {
		for host, want := range map[string]int{
			"":                   http.StatusOK,
			"localhost:8081":     http.StatusOK,
			"[::1]:8081":         http.StatusOK,
			"leads.example":      http.StatusOK,
			"leads.example:8081": http.StatusOK,
			"evil.example":       http.StatusForbidden,
			"evil.example:8081":  http.StatusForbidden,
			"127.0.0.1.evil.com": http.StatusForbidden,
		} {
			header := []string{"X-User", "anna", "Host", host}
			if host == "" {
				header = header[:2]
			}
			assert.Equal(t, want, send(t, "GET", p.admin+path, "", "", header...).code, path+" "+host)
		}
	}
	assert.Equal(t, http.StatusOK, send(t, "GET", p.admin+"/metrics", "", "", "Host", "192.0.2.1:8081").code,
		"monitoring uses addresses")
	for _, path := range []string{"/metrics", "/debug/pprof/"} {
		assert.Equal(t, http.StatusNotFound, send(t, "GET", p.public+path, "", "").code)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		assert.Equal(t, "ok\n", send(t, "GET", p.public+path, "", "").body, "the public endpoint shows no numbers")
	}
}
