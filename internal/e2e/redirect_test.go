package e2e_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
)

// No redirect is followed. It would carry the lead and the token to another
// host, or turn a POST into a GET whose 200 looks like success.
func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		elsewhere.Add(1)
		answer(200, "", `{"leadId":7}`)(w, r)
	}))
	t.Cleanup(func() {
		other.Close()
		assert.Zero(t, elsewhere.Load(), "requests to the other host")
	})
	locations := map[string]string{
		"no Location":       "",
		"empty Location":    " ",
		"another path":      "/api/system/v1/leads/7",
		"a relative path":   "leads/7",
		"the same host":     "{self}/api/system/v2/leads",
		"another host":      other.URL + "/api/system/v1/leads",
		"no scheme":         strings.TrimPrefix(other.URL, "http:") + "/",
		"another scheme":    "ftp://files.example/leads",
		"a script":          "javascript:alert(1)",
		"unparsable escape": "https://acme.example/%zz",
		"unparsable host":   "http://[::1",
		"unparsable port":   "https://acme.example:port/",
		"not a URL at all":  "://\t",
	}
	for _, status := range []int{301, 302, 303, 307, 308} {
		for name, location := range locations {
			for _, method := range []string{http.MethodPost, http.MethodGet} {
				t.Run(strings.Join([]string{strconv.Itoa(status), method, name}, " "), func(t *testing.T) {
					t.Parallel()
					testRedirect(t, method, status, location)
				})
			}
		}
	}
	for _, status := range []int{300, 304, 305, 306, 310, 399} { // http.Client does not follow these
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			t.Parallel()
			testRedirect(t, http.MethodPost, status, other.URL)
		})
	}
}

func testRedirect(t *testing.T, method string, status int, location string) {
	t.Helper()
	var requests atomic.Int64
	var sent string
	client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if location != "" {
			sent = strings.TrimSpace(strings.ReplaceAll(location, "{self}", "http://"+r.Host))
			w.Header().Set("Location", sent)
		}
		answer(status, "text/html", "<html>Object moved</html>")(w, r)
	})
	err := request(t, client, method)
	require.ErrorIs(t, err, clixnow.ErrRedirect)
	assert.Equal(t, int64(1), requests.Load(), "neither followed nor retried")

	var answered *clixnow.APIError
	require.ErrorAs(t, err, &answered)
	assert.Equal(t, status, answered.StatusCode)
	assert.Equal(t, method, answered.Method)
	assert.Equal(t, 1, answered.Attempts)
	if location == "" {
		assert.NotContains(t, answered.Header, "Location")
	} else {
		assert.Equal(t, []string{sent}, answered.Header["Location"])
	}
	assert.NotContains(t, answered.Header, "location")

	switch {
	case method == http.MethodGet:
		require.NotErrorIs(t, err, clixnow.ErrOutcomeUnknown)
	case status == http.StatusSeeOther: // "done, see there"
		requireClass(t, clixnow.ErrOutcomeUnknown, err)
	default:
		requireClass(t, clixnow.ErrRefused, err)
	}
}

// request makes a create or a search and returns its error.
func request(t *testing.T, client *clixnow.Client, method string) error {
	t.Helper()
	if method == http.MethodGet {
		_, err := client.GetLead(t.Context(), 7)
		return err
	}
	_, err := client.CreateLead(t.Context(), vendorsLead())
	return err
}

// A Location with another status has no effect.
func TestLocationOfASuccess(t *testing.T) {
	t.Parallel()
	client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "/api/system/v1/leads/7")
		answer(201, "", `{"leadId":7}`)(w, r)
	})
	require.NoError(t, request(t, client, http.MethodPost))
}
