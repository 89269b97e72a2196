package clixnowtest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/clixnowtest"
)

// redirectURL returns the autologin link in the response to a create.
func redirectURL(t *testing.T, body string) string {
	t.Helper()
	var created struct {
		RedirectURL string `json:"redirectUrl"`
	}
	require.NoError(t, json.Unmarshal([]byte(body), &created))
	return created.RedirectURL
}

func TestAutologin(t *testing.T) {
	t.Parallel()
	server := start(t)
	target := strings.TrimPrefix(redirectURL(t, create(t, server, allison).body), server.URL)
	noToken := http.Header{"Authorization": nil}
	server.Inject(fault{Status: http.StatusBadGateway})
	for _, test := range []struct {
		name, method, target string
		status               int
		text                 string
	}{
		{"no token", http.MethodGet, "/autologin", 404, "not valid"},
		{"no number", http.MethodGet, "/autologin?token=x", 404, "not valid"},
		{"no secret", http.MethodGet, "/autologin?token=123456", 404, "not valid"},
		{"wrong secret", http.MethodGet, target + "A", 404, "not valid"},
		{"other lead", http.MethodGet, strings.Replace(target, "123456", "123457", 1), 404, "not valid"},
		{"POST", http.MethodPost, target, 405, "GET requests only"},
		{"first use", http.MethodGet, target, 200, "You are logged in as lead 123456."},
		{"second use", http.MethodGet, target, 410, "no longer works"},
		{"third use", http.MethodGet, target, 410, "no longer works"},
	} {
		r := send(t, server, test.method, test.target, "", noToken)
		assert.Equal(t, test.status, r.status, test.name)
		assert.Contains(t, r.body, test.text, test.name)
		assert.Equal(t, "text/html; charset=utf-8", r.header.Get("Content-Type"), test.name)
		assert.NotContains(t, r.body, "{", test.name)
	}
	assert.Len(t, server.Requests(), 1, "only the create is recorded")
	assert.Len(t, server.Faults(), 1, "the fault is still waiting")
}

func TestAutologinWorksOnceForEachLead(t *testing.T) {
	t.Parallel()
	server := start(t)
	for i, body := range []string{allison, brunoBody()} {
		target := strings.TrimPrefix(redirectURL(t, create(t, server, body).body), server.URL)
		assert.Equal(t, 200, send(t, server, http.MethodGet, target, "", nil).status, i)
		assert.Equal(t, 410, send(t, server, http.MethodGet, target, "", nil).status, i)
	}
}

func TestAutologinOfDeletedLead(t *testing.T) {
	t.Parallel()
	server := start(t)
	target := strings.TrimPrefix(redirectURL(t, create(t, server, allison).body), server.URL)
	require.NoError(t, server.DeleteLead(123456))
	assert.Equal(t, 410, send(t, server, http.MethodGet, target, "", nil).status)
}

// TestAutologinHost serves the fake in several ways, creates a lead and follows
// its link.
func TestAutologinHost(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, prefix string
		tls          bool
	}{
		{"plain", "", false},
		{"path prefix", "/brands/acme", false},
		{"TLS", "", true},
		{"TLS and path prefix", "/clixnow", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			handler := clixnowtest.NewHandler()
			mux := http.NewServeMux()
			mux.Handle(test.prefix+"/", http.StripPrefix(test.prefix, handler))
			front := httptest.NewUnstartedServer(mux)
			if test.tls {
				front.StartTLS()
			} else {
				front.Start()
			}
			t.Cleanup(front.Close)
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, front.URL+test.prefix+leadsPath,
				strings.NewReader(allison))
			require.NoError(t, err)
			request.Header.Set("Authorization", "ApiToken "+handler.Token)
			request.Header.Set("Content-Type", "application/json")
			status, body := do(t, front.Client(), request)
			require.Equal(t, 200, status, body)

			link := redirectURL(t, body)
			assert.True(t, strings.HasPrefix(link, front.URL+test.prefix+"/autologin?"), link)
			request, err = http.NewRequestWithContext(t.Context(), http.MethodGet, link, http.NoBody)
			require.NoError(t, err)
			status, body = do(t, front.Client(), request)
			assert.Equal(t, 200, status, body)
		})
	}
	t.Run("host name", func(t *testing.T) {
		t.Parallel()
		handler := clixnowtest.NewHandler()
		request := httptest.NewRequestWithContext(t.Context(), http.MethodPost,
			"http://integration.acme.example:8080"+leadsPath, strings.NewReader(allison))
		request.Header.Set("Authorization", "ApiToken "+handler.Token)
		request.Header.Set("Content-Type", "application/json")
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, request)
		link, err := url.Parse(redirectURL(t, recorder.Body.String()))
		require.NoError(t, err)
		assert.Equal(t, "http://integration.acme.example:8080/autologin", link.Scheme+"://"+link.Host+link.Path)
	})
}
