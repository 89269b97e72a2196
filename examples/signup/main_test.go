package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

const landing = "/?a_id=7&subcampaign=autumn&clickid=click-1&utm_source=mail&fbclid=0123456789"

// visitor is a browser with the form of one site.
type visitor struct {
	*testing.T

	fake *clixnowtest.Server
	site *httptest.Server
}

func newVisitor(t *testing.T, opts ...clixnowtest.Option) *visitor {
	t.Helper()
	fake := clixnowtest.NewServer(opts...)
	t.Cleanup(fake.Close)
	client := fake.Client()
	t.Cleanup(client.CloseIdleConnections)
	site := httptest.NewServer(newHandler(client))
	t.Cleanup(site.Close)
	return &visitor{t, fake, site}
}

type response struct {
	status int
	header http.Header
	body   string
}

func (v *visitor) send(method, target string, form url.Values, header http.Header) response {
	v.Helper()
	request, err := http.NewRequestWithContext(v.Context(), method, target, strings.NewReader(form.Encode()))
	require.NoError(v, err)
	maps.Copy(request.Header, header)
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	client := v.site.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(request)
	require.NoError(v, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(v, err)
	return response{resp.StatusCode, resp.Header, string(body)}
}

func (v *visitor) post(form url.Values) response {
	v.Helper()
	return v.send(http.MethodPost, v.site.URL+"/", form, nil)
}

// filled returns a valid form with one field replaced.
func filled(name, value string) url.Values {
	form := url.Values{
		"landing": {landing}, "firstName": {"Anna"}, "lastName": {"Example"}, "email": {"anna@example.com"},
		"phone": {"+41795550100"}, "password": {"Password123!"}, "countryCode": {"CH"},
	}
	if name != "" {
		form.Set(name, value)
	}
	return form
}

// sent returns the body of the last create that the fake got.
func (v *visitor) sent() map[string]any {
	v.Helper()
	var body map[string]any
	for _, request := range v.fake.Requests() {
		if request.Method == http.MethodPost {
			require.NoError(v, json.Unmarshal(request.Body, &body))
		}
	}
	return body
}

func TestForm(t *testing.T) {
	t.Parallel()
	v := newVisitor(t)
	r := v.send(http.MethodGet, v.site.URL+landing, nil, nil)
	assert.Equal(t, http.StatusOK, r.status)
	assert.Contains(t, r.body, `name="landing" value="`+strings.ReplaceAll(landing, "&", "&amp;")+`"`)
	assert.Contains(t, r.body, `<input id="email" name="email" type="email"`)
	assert.NotContains(t, r.body, "alert")
	assert.Equal(t, http.StatusNotFound, v.send(http.MethodGet, v.site.URL+"/other", nil, nil).status)
}

func TestRegistered(t *testing.T) {
	t.Parallel()
	v := newVisitor(t)
	r := v.post(filled("", ""))
	require.Equal(t, http.StatusSeeOther, r.status, r.body)
	assert.Equal(t, "no-store", r.header.Get("Cache-Control"))
	assert.Equal(t, "no-referrer", r.header.Get("Referrer-Policy"))
	sent := v.sent()
	assert.Equal(t, "autumn", sent["subCampaign"])
	assert.Equal(t, "click-1", sent["clickId"])
	assert.Equal(t, "127.0.0.1", sent["ipAddress"])

	location := r.header.Get("Location")
	require.True(t, strings.HasPrefix(location, v.fake.URL+"/autologin?"), location)
	assert.Contains(t, v.send(http.MethodGet, location, nil, nil).body, "You are logged in")
}

func TestClickIDIsUnique(t *testing.T) {
	t.Parallel()
	v := newVisitor(t, clixnowtest.WithoutDuplicateCheck())
	ids := make(map[string]bool)
	for range 2 {
		require.Equal(t, http.StatusSeeOther, v.post(filled("landing", "/")).status)
		id, _ := v.sent()["clickId"].(string)
		assert.NotEmpty(t, id)
		ids[id] = true
	}
	assert.Len(t, ids, 2)
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	fault := func(faults ...clixnowtest.Fault) []clixnowtest.Fault { return faults }
	lost := clixnowtest.Fault{Method: "POST", Drop: clixnowtest.DropAfterHandling}
	created := func(redirectURL string) []clixnowtest.Fault {
		return fault(clixnowtest.Fault{Status: 200, Body: `{"leadId":7,"redirectUrl":"` + redirectURL + `"}`})
	}
	tests := []struct {
		name   string
		form   url.Values
		faults []clixnowtest.Fault
		status int
		// texts are all on the page.
		texts []string
	}{
		{"recovered", filled("", ""), fault(lost), 200, []string{"Thank you"}},
		{"no redirect URL", filled("", ""), created(""), 200, []string{"Thank you"}},
		{"plain http", filled("", ""), created("http://broker.example/"), 200, []string{"Thank you"}},
		{"javascript", filled("", ""), created("javascript:alert(1)"), 200, []string{"Thank you"}},
		{"path only", filled("", ""), created("/autologin"), 200, []string{"Thank you"}},
		{
			"unknown", filled("", ""), fault(lost, clixnowtest.Fault{Method: "GET", Status: 500, Times: 100}),
			202,
			[]string{"We are checking your sign-up", "Please do not sign up again."},
		},
		{
			"invalid here", filled("email", "anna"), nil, 422,
			[]string{"Please correct the form.", `id="email-error">must be one bare address`, `value="anna"`},
		},
		{
			"invalid there", filled("", ""),
			fault(clixnowtest.Fault{
				Status: 400,
				Body:   `{"message":"Invalid","errors":{"Phone":["Too short.","<b>"]}}`,
			}),
			422,
			[]string{
				`id="phone-error">Too short. &lt;b&gt;<`,
				`href="#phone">Phone, with country code: Too short. &lt;b&gt;<`,
			},
		},
		{
			"field that is not in the form", filled("", ""),
			fault(clixnowtest.Fault{Status: 400, Body: `{"message":"Invalid","errors":{"Comment":["No thanks."]}}`}),
			422,
			[]string{"comment: No thanks."},
		},
		{
			"country", filled("countryCode", "FR"), nil, 422,
			[]string{`id="countryCode-error">This country is not available.`, `value="FR"`},
		},
		{"duplicate", filled("email", "known@example.com"), nil, 409, []string{"You are registered already."}},
		{
			"full", filled("", ""), fault(clixnowtest.Fault{Status: 400, Body: `{"message":"Daily cap reached"}`}),
			503,
			[]string{"Please try again in a few minutes."},
		},
		{
			"wrong token", filled("", ""), fault(clixnowtest.Fault{Status: 401}),
			503,
			[]string{"Please try again in a few minutes."},
		},
		{
			"too many requests", filled("", ""), fault(clixnowtest.Fault{Status: 429, Times: 9}),
			503,
			[]string{"Please try again in a few minutes."},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			v := newVisitor(t, clixnowtest.WithCountries("CH"))
			v.fake.AddLeads(clixnow.Lead{Email: "known@example.com"})
			v.fake.Inject(test.faults...)
			r := v.post(test.form)
			assert.Equal(t, test.status, r.status)
			for _, text := range test.texts {
				assert.Contains(t, r.body, text)
			}
			assert.NotContains(t, r.body, "Password123!")
			assert.Empty(t, r.header.Get("Location"))
			if strings.Contains(r.body, "<form") {
				assert.Contains(t, r.body, strings.ReplaceAll(landing, "&", "&amp;"), "the tracking is kept")
			}
			assert.Equal(t, test.status == 503, r.header.Get("Retry-After") != "")
		})
	}
}

// TestVisitorGoesAway closes the visitor's connection while the brand is slow.
func TestVisitorGoesAway(t *testing.T) {
	t.Parallel()
	v := newVisitor(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		// net/http notices the end of a connection once the body has been read.
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		r.Body = io.NopCloser(bytes.NewReader(body))
		cancel()
		<-r.Context().Done()
		v.site.Config.Handler.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	request,
		err := http.NewRequestWithContext(ctx, http.MethodPost, front.URL, strings.NewReader(filled("", "").Encode()))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := front.Client().Do(request)
	if err == nil {
		_ = resp.Body.Close()
	}
	require.ErrorIs(t, err, context.Canceled)
	<-done
	assert.Len(t, v.fake.Leads(), 1)
}

func TestRefusedForms(t *testing.T) {
	t.Parallel()
	v := newVisitor(t)
	target := v.site.URL + "/"
	other := http.Header{"Sec-Fetch-Site": {"cross-site"}}
	assert.Equal(t, http.StatusForbidden, v.send(http.MethodPost, target, filled("", ""), other).status)
	large := filled("firstName", strings.Repeat("x", 65<<10))
	assert.Equal(t, http.StatusBadRequest, v.send(http.MethodPost, target, large, nil).status)
	assert.Empty(t, v.fake.Requests())
}

func TestRun(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := listener.Addr().String()
	require.Error(t, run(t.Context(), addr, ""), "the address is in use")
	require.Error(t, run(t.Context(), addr, "not a brand"))
	require.NoError(t, listener.Close())

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, run(ctx, "127.0.0.1:0", ""), "the server stops when the context ends")
}
