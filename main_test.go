package clixnow_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/clixnow/clixnow-go"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testToken resembles no word, so that a leak of it can be searched for.
const testToken = "CfDJ8-s3cr3t-t0ken"

// quick is a retry policy of milliseconds.
var quick = clixnow.WithRetry(clixnow.RetryPolicy{MinBackoff: time.Millisecond, MaxBackoff: 4 * time.Millisecond})

// newClient returns a client of a server on loopback that handles every request
// by handle.
func newClient(t *testing.T, handle http.HandlerFunc, opts ...clixnow.Option) *clixnow.Client {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	return clientOf(t, server.URL, opts...)
}

func clientOf(t *testing.T, baseURL string, opts ...clixnow.Option) *clixnow.Client {
	t.Helper()
	client,
		err := clixnow.NewClient("acme", testToken,
		append([]clixnow.Option{clixnow.WithBaseURL(baseURL), quick}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(client.CloseIdleConnections)
	return client
}

// answer returns a handler that reads the request and gives one answer.
func answer(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if contentType != "" {
			w.Header().Set("Content-Type", contentType)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// roundTripper is a function as http.RoundTripper.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// vendorsLead is the example of the API reference, with an email: the page
// masks its own.
func vendorsLead() clixnow.CreateLeadRequest {
	return clixnow.CreateLeadRequest{
		FirstName: "Allison", LastName: "Brown", Email: "allison.brown@example.com", Phone: "+41123456789",
		Password: "Password123!", CountryCode: "CH", LanguageCode: "EN", ReferralURL: "https://website.com",
		SubCampaign: "subcampaign", Keyword: "test", Placement: "landing_page", ClickID: "20fn4ngo56n3snf74",
		Sub2:       "sub2",
		DeviceType: "Mobile", DeviceName: "iPhone16", OSName: "iOS", Browser: "Safari Mobile",
		Carrier: clixnow.CarrierMobile,
	}
}
