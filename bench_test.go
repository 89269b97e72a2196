package clixnow_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
)

// These benchmarks show which part of the package became slower, and these
// tests check what the documents say about allocations. Module checks/bench
// compares the package with others over real connections.

// leadPages is a RoundTripper that answers with leads. Their ids begin with 1.
type leadPages struct {
	// leads are the leads in JSON, each with a comma at its end.
	leads [][]byte
}

func pagesOf(n int) *leadPages {
	l := &leadPages{leads: make([][]byte, n)}
	for i := range l.leads {
		l.leads[i] = fmt.Appendf(nil,
			`{"id":%d,"email":"first.last\u002B%d@example.com","status":"No Answer","crmId":%d,"brandId":17,`+
				`"brandName":"Example Brand","createdOn":"2022-12-19T11:01:58.302Z",`+
				`"updatedOn":"2022-12-20T08:15:00.117Z","ftdDate":null,"clickId":"c0ffee-%08d",`+
				`"sub2":"banner-7","subCampaign":"spring-sale","keyword":"online trading","placement":"sidebar",`+
				`"clientType":"Client"},`, i+1, i, 900000+i, i)
	}
	return l
}

func (l *leadPages) RoundTrip(r *http.Request) (*http.Response, error) {
	query := r.URL.Query()
	skip, _ := strconv.Atoi(query.Get("skip"))
	count, _ := strconv.Atoi(query.Get("count"))
	page := l.leads[min(skip, len(l.leads)):min(skip+count, len(l.leads))]
	body := append([]byte("["), bytes.TrimSuffix(bytes.Join(page, nil), []byte(","))...)
	return answered(r, append(body, ']')), nil
}

func answered(r *http.Request, body []byte) *http.Response {
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body)),
		Request: r,
	}
}

// answerCreate answers every request with the vendor's example.
func answerCreate(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
	}
	return answered(r, []byte(createdLead)), nil
}

const createdLead = `{"leadId":123456,"redirectUrl":"https://brand.example/autologin","subCampaign":"subcampaign",` +
	`"placement":"placement","keyword":"keyword","sub2":"sub2","clickId":"clickId","crmId":"crmId"}`

func clientOver(tb testing.TB, transport http.RoundTripper) *clixnow.Client {
	tb.Helper()
	client, err := clixnow.NewClient("acme", testToken, clixnow.WithHTTPClient(&http.Client{Transport: transport}))
	require.NoError(tb, err)
	return client
}

func readAll(client *clixnow.Client, search clixnow.SearchLeadsRequest) (leads int, err error) {
	for _, err = range client.SearchLeads(context.Background(), search) {
		if err != nil {
			return leads, err
		}
		leads++
	}
	return leads, nil
}

func BenchmarkSearchLeads(b *testing.B) {
	const leads = 10_000
	client := clientOver(b, pagesOf(leads))
	for _, search := range []clixnow.SearchLeadsRequest{
		{}, {Prefetch: 2}, {OrderBy: clixnow.OrderByCreatedOn}, {OrderBy: clixnow.OrderByModifiedOn},
	} {
		b.Run(fmt.Sprintf("order=%s/prefetch=%d", search.OrderBy, search.Prefetch), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				n, err := readAll(client, search)
				require.NoError(b, err)
				require.Equal(b, leads, n)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/leads, "ns/lead")
		})
	}
}

func BenchmarkSearchLeadsPage(b *testing.B) {
	client := clientOver(b, pagesOf(10))
	b.ReportAllocs()
	for b.Loop() {
		_, err := client.SearchLeadsPage(b.Context(), clixnow.SearchLeadsRequest{Count: 10})
		require.NoError(b, err)
	}
}

func BenchmarkCreateLead(b *testing.B) {
	b.Run("sdk", func(b *testing.B) {
		client, lead := clientOver(b, roundTripper(answerCreate)), vendorsLead()
		b.ReportAllocs()
		for b.Loop() {
			_, err := client.CreateLead(b.Context(), lead)
			require.NoError(b, err)
		}
	})
	b.Run("hand-written", func(b *testing.B) {
		hc := &http.Client{Transport: roundTripper(answerCreate)}
		b.ReportAllocs()
		for b.Loop() {
			require.NoError(b, createByHand(b.Context(), hc, "https://integration.acme.clixnow.com"))
		}
	})
}

func BenchmarkValidate(b *testing.B) {
	lead := vendorsLead()
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, lead.Validate())
	}
}

func BenchmarkLandingURL(b *testing.B) {
	const page = "https://landing.com/?a_id=1&c_id=2&f_id=3&subcampaign=subcampaign&sub2=sub_name&keyword=test" +
		"&clickid=1c33d66a941ac90a6&placement=test"
	b.ReportAllocs()
	for b.Loop() {
		landing, err := clixnow.ParseLandingURL(page)
		require.NoError(b, err)
		lead := vendorsLead()
		landing.Apply(&lead)
	}
}

// createByHand sends what CreateLead sends and decodes the response. It has no
// validation, no retries and no limits.
func createByHand(ctx context.Context, hc *http.Client, baseURL string) error {
	type request struct {
		FirstName    string `json:"firstName"`
		LastName     string `json:"lastName"`
		Email        string `json:"email"`
		Phone        string `json:"phone"`
		Password     string `json:"password"`
		CountryCode  string `json:"countryCode"`
		LanguageCode string `json:"languageCode,omitempty"`
		ReferralURL  string `json:"referralUrl,omitempty"`
		SubCampaign  string `json:"subCampaign,omitempty"`
		Placement    string `json:"placement,omitempty"`
		Keyword      string `json:"keyword,omitempty"`
		Sub2         string `json:"sub2,omitempty"`
		ClickID      string `json:"clickId,omitempty"`
		DeviceType   string `json:"deviceType,omitempty"`
		DeviceName   string `json:"deviceName,omitempty"`
		OSName       string `json:"osName,omitempty"`
		Browser      string `json:"browser,omitempty"`
		Carrier      string `json:"carrier,omitempty"`
	}
	var response struct {
		LeadID      int64  `json:"leadId"`
		RedirectURL string `json:"redirectUrl"`
		SubCampaign string `json:"subCampaign"`
		Placement   string `json:"placement"`
		Keyword     string `json:"keyword"`
		Sub2        string `json:"sub2"`
		ClickID     string `json:"clickId"`
		CRMID       string `json:"crmId"`
	}
	l := vendorsLead()
	body, err := json.Marshal(&request{
		l.FirstName, l.LastName, l.Email, l.Phone, l.Password, l.CountryCode, l.LanguageCode, l.ReferralURL,
		l.SubCampaign,
		l.Placement, l.Keyword, l.Sub2, l.ClickID, l.DeviceType, l.DeviceName, l.OSName, l.Browser, string(l.Carrier),
	})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, baseURL+"/api/system/v1/leads", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "ApiToken "+testToken)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "by-hand/1.0")
	resp, err := hc.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(string(text)))
	}
	return json.Unmarshal(text, &response)
}

// Reading costs at most one allocation per lead, including HTTP.
func TestSearchAllocations(t *testing.T) { //nolint:paralleltest // allocations are counted for the whole program
	const leads = 5_000
	for _, prefetch := range []int{0, 2} {
		client := newClient(t, answerLeads(pagesOf(leads)))
		allocations := testing.AllocsPerRun(3, func() {
			n, err := readAll(client, clixnow.SearchLeadsRequest{Prefetch: prefetch})
			assert.NoError(t, err)
			assert.Equal(t, leads, n)
		})
		assert.LessOrEqual(t, allocations/leads, 1.0, "with Prefetch %d, including the server", prefetch)
	}
}

// answerLeads returns a handler that answers as l does.
func answerLeads(l *leadPages) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		resp, err := l.RoundTrip(r)
		if err == nil {
			defer resp.Body.Close()
			_, _ = io.Copy(w, resp.Body)
		}
	}
}

// A create costs at most a quarter more allocations than createByHand, although
// createByHand does not validate and does not find out whether the lead may
// exist.
func TestCreateAllocations(t *testing.T) { //nolint:paralleltest // allocations are counted for the whole program
	address := answerWithoutAllocations(t)
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	hc := &http.Client{Transport: transport, Timeout: time.Minute}
	base := clixnow.WithBaseURL("http://127.0.0.1")
	client, err := clixnow.NewClient("acme", testToken, clixnow.WithHTTPClient(hc), base)
	require.NoError(t, err)
	lead := vendorsLead()
	own := testing.AllocsPerRun(200, func() {
		_, err := client.CreateLead(t.Context(), lead)
		assert.NoError(t, err)
	})
	byHand := testing.AllocsPerRun(200, func() { assert.NoError(t, createByHand(t.Context(), hc, "http://127.0.0.1")) })
	assert.LessOrEqual(t, own, 1.25*byHand)
}

// answerWithoutAllocations answers every request with the vendor's example. It
// does not allocate, so that only the client's allocations are counted.
func answerWithoutAllocations(t *testing.T) (address string) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var serving sync.WaitGroup
	t.Cleanup(func() {
		assert.NoError(t, listener.Close())
		serving.Wait()
	})
	answer := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(createdLead), createdLead)
	serving.Go(func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer connection.Close()
				request := make([]byte, 16<<10)
				for length := 0; ; {
					n, err := connection.Read(request[length:])
					if err != nil {
						return
					}
					if length += n; request[length-1] != '}' {
						continue // the request came in pieces
					}
					length = 0
					if _, err := connection.Write(answer); err != nil {
						return
					}
				}
			})
		}
	})
	return listener.Addr().String()
}
