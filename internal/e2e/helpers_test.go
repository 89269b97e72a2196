package e2e_test

import (
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

func TestMain(m *testing.M) {
	// Many of these tests wait for a timeout. So more of them than the usual
	// one for each processor run at once. -parallel replaces this number.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// testToken is not like any word, so that a test can search for a leak of it.
const testToken = "CfDJ8-s3cr3t-t0ken"

// quick is a retry policy with waits of milliseconds.
var quick = clixnow.WithRetry(clixnow.RetryPolicy{MinBackoff: time.Millisecond, MaxBackoff: 4 * time.Millisecond})

// quickLooks are pauses of milliseconds before the looks of EnsureLead.
var quickLooks = clixnow.WithLooks(time.Millisecond, 2*time.Millisecond, 5*time.Millisecond, 10*time.Millisecond)

// newClient returns a client of a server on loopback that handles every request
// with handle.
func newClient(t *testing.T, handle http.HandlerFunc, opts ...clixnow.Option) *clixnow.Client {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	return clientOf(t, server.URL, opts...)
}

// clientOf returns a client of a server with a base URL.
func clientOf(t *testing.T, baseURL string, opts ...clixnow.Option) *clixnow.Client {
	t.Helper()
	opts = append([]clixnow.Option{clixnow.WithBaseURL(baseURL), quick, quickLooks}, opts...)
	client, err := clixnow.NewClient("acme", testToken, opts...)
	require.NoError(t, err)
	t.Cleanup(client.CloseIdleConnections)
	return client
}

// answer returns a handler that reads the request and always sends the same
// response.
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

// roundTripper makes an http.RoundTripper of a function.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// vendorsLead returns the example of the API reference, with an email: the page
// hides its own.
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

// numbered returns the lead with a number. It differs from the other ones in
// email, phone and click id.
func numbered(n int) clixnow.CreateLeadRequest {
	req := vendorsLead()
	req.Email = fmt.Sprintf("lead%d@example.com", n)
	req.Phone = fmt.Sprintf("+4179%07d", n)
	req.ClickID = fmt.Sprintf("click-%d", n)
	return req
}

// requireOneClass asserts that an error of a create is of exactly one class.
func requireOneClass(t *testing.T, err error) {
	t.Helper()
	n := 0
	for _, class := range []error{
		clixnow.ErrOutcomeUnknown, clixnow.ErrRefused, clixnow.ErrNotSent,
		clixnow.ErrRateLimited,
	} {
		if errors.Is(err, class) {
			n++
		}
	}
	require.Equal(t, 1, n, "classes of %v", err)
}

// requireClass asserts that an error of a create is of one class and no other.
func requireClass(t *testing.T, want, err error) {
	t.Helper()
	require.Error(t, err)
	for _, class := range []error{
		clixnow.ErrOutcomeUnknown, clixnow.ErrRefused, clixnow.ErrNotSent,
		clixnow.ErrRateLimited,
	} {
		//nolint:errorlint // a class is one of four values
		require.Equal(t, class == want, errors.Is(err, class), "%v: %v", class, err)
	}
}

// requireOutcome asserts that an error of a create is of one class and no
// other. A nil class means success.
func requireOutcome(t *testing.T, want, err error) {
	t.Helper()
	if want == nil {
		require.NoError(t, err)
		return
	}
	requireClass(t, want, err)
}

// newAPI returns a Clixnow without a listener that knows testToken.
func newAPI(opts ...clixnowtest.Option) *clixnowtest.Server {
	return clixnowtest.NewHandler(append([]clixnowtest.Option{clixnowtest.WithToken(testToken)}, opts...)...)
}

// inMemory is a transport that calls a handler. It is for bubbles of fake time,
// which have no network.
type inMemory struct{ http.Handler }

func (m inMemory) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	defer func() {
		if cut := recover(); cut != nil {
			if cut != http.ErrAbortHandler { //nolint:errorlint // a panic's value, compared as net/http does
				panic(cut)
			}
			resp, err = nil, io.ErrUnexpectedEOF
		}
	}()
	recorder := httptest.NewRecorder()
	sent := r.Clone(r.Context())
	if sent.Body == nil {
		sent.Body = http.NoBody
	}
	m.ServeHTTP(recorder, sent)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return recorder.Result(), nil
}

// memoryClient returns a client of a handler, without a network. Its looks have
// the default pauses, because it is used with fake time.
func memoryClient(t *testing.T, handler http.Handler, opts ...clixnow.Option) *clixnow.Client {
	t.Helper()
	hc := &http.Client{Transport: inMemory{handler}}
	looks := clixnow.WithLooks(500*time.Millisecond, 2*time.Second, 5*time.Second, 10*time.Second)
	opts = append([]clixnow.Option{clixnow.WithHTTPClient(hc), looks}, opts...)
	return clientOf(t, "https://clixnow.example", opts...)
}

type limiter func(context.Context) error

func (l limiter) Wait(ctx context.Context) error { return l(ctx) }

// A leak of a secret is found by its first five characters, because a precision
// of fmt may cut the rest.
const (
	secretPassword = `P4ss-"w\ord!` // quoting changes it
	secretRedirect = "R3d1r://brand.example/autologin"
	secretExtra    = "Extr4-value"
)

var secrets = []string{testToken, secretPassword, secretRedirect, secretExtra}

// spellings are the forms in which fmt may print the beginning of each secret.
var spellings = func() map[string][]string {
	all := make(map[string][]string)
	for _, secret := range secrets {
		for _, format := range []string{"%d", "%b", "%o", "%O", "%c", "%q", "%U", "%#U"} {
			list := strings.Trim(fmt.Sprintf(format, []rune(secret[:5])), "[]")
			all[secret] = append(all[secret], plainList(list))
		}
	}
	return all
}()

// plainList removes from a list what flags and widths add to it.
func plainList(text string) string {
	fields := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" ,+[]{}", r) })
	for i, field := range fields {
		fields[i] = strings.TrimLeft(field, "0bo")
	}
	return strings.Join(fields, " ")
}

var withoutSpaces = strings.NewReplacer(" ", "", "0x", "", "0X", "", ",", "")

// leaks returns which secrets a text shows.
func leaks(text string) (found []string) {
	list, hexadecimal := plainList(text), strings.ToLower(withoutSpaces.Replace(text))
	for _, secret := range secrets {
		begin := secret[:5]
		if strings.Contains(text, begin) || strings.Contains(hexadecimal, hex.EncodeToString([]byte(begin))) ||
			slices.ContainsFunc(spellings[secret], func(form string) bool { return strings.Contains(list, form) }) {
			found = append(found, secret)
		}
	}
	return found
}
