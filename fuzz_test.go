package clixnow_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
)

// leadsLead is the lead in "Response model" of the API reference. The page
// hides its email, so another one is filled in.
const leadsLead = `{"id":123,"email":"test@example.com","status":"New","crmId":4567,"brandId":12,` +
	`"brandName":"Brand","createdOn":"2022-12-19T11:01:58.302Z","updatedOn":"2022-12-19T11:01:58.302Z",` +
	`"ftdDate":null,"clickId":"1c33d66a941ac90a6","sub2":"sub2","subCampaign":"autumn","keyword":"test",` +
	`"placement":"landing_page","clientType":"Client"}`

// bodies returns response bodies, valid and invalid ones.
func bodies() []string {
	return []string{
		leadsLead, "[" + leadsLead + "]", `{"items":[` + leadsLead + `],"total":1}`, `{"data":[]}`, `[]`, `null`,
		`{}`, ``, `[{}]`, `[{"id":-1}]`,
		"\uFEFF[" + leadsLead + "]", `{"data":null}`, `{"tags":["a"],"items":[]}`, `[{"id":7.0,"ftdDate":""}]`,
		`{"ID":"123","Email":7,"createdOn":"2022-12-19T11:01:58","updatedOn":"2022-12-19T11:01:58.3021234+02:00",` +
			`"ftdDate":"0001-01-01T00:00:00","new":[1, "<&>\u2028"]}`,
		`{"updatedOn":"0001-01-01T0:00:00Z"}`, `{"createdOn":"2022-12-19T11:01:58,302Z"}`,
		`{"ftdDate":"2022-12-19T11:01:58+24:60"}`,
		`{"leadId":123456,"redirectUrl":"https://brand.example/autologin?t=1","subCampaign":"autumn",` +
			`"crmId":"0f8fad5b","clickId":20}`,
		"\uFEFF{\"leadId\":123456.0}", `{"leadId":"123456"}`, `{"leadId":0}`, `{"leadId":1e3}`, `{"leadId":123456`,
		"{\"leadId\":1,\"crmId\":\"\xff\"}",
		`{"message":"Duplicate lead","errors":{"Email":["is already registered"],"Phone":"taken"}}`,
		`{"message":"Registration is not allowed for country KP"}`, `{"error":{"message":"no"}}`, `{"error":"no"}`,
		`{"errors":["Duplicate lead",{"description":"no"}]}`, `["Duplicate lead"]`, `{"msg":"Duplicate lead"}`,
		`{"title":"One or more validation errors occurred.","status":400,"traceId":"00-4bf9-01",` +
			`"errors":{"$.phone":[{"message":"x"}]}}`,
		`{"message":"` + testToken + ` and Password123!","errors":{"` + testToken +
			`":["Password123!"]},"traceId":"` + testToken + `"}`,
		`{"Password123!\n` + testToken + `":` + strings.Repeat("[", 65) + strings.Repeat("]", 65) + `}`,
		"<html><title>502 Bad Gateway</title></html>", strings.Repeat("[", 65) + strings.Repeat("]", 65),
		"no\r\nlines\u0085\u2028here",
	}
}

// plainDate is a date as encoding/json reads it. encoding/json also accepts an
// hour of one digit, a comma in place of the point, and offsets of any size.
// plainDate refuses these.
type plainDate struct{ time.Time }

var dateShape = regexp.MustCompile(`^"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)"$`)

func (d *plainDate) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		return nil
	}
	err := d.Time.UnmarshalJSON(text)
	d.Time = d.UTC()
	if known := d.IsZero() || d.Year() > 1 && d.Year() < 10000; !known || !dateShape.Match(text) {
		return errors.New("read in another way by this package")
	}
	return err
}

// plainLead is a lead as encoding/json reads it. It accepts fewer forms than
// Lead.
type plainLead struct {
	ID                                               int64
	Email, Status                                    string
	BrandID                                          int64
	BrandName, Sub2, SubCampaign, Keyword, Placement string
	CreatedOn, UpdatedOn, FTDDate                    plainDate
	ClientType                                       clixnow.ClientType
	CRMID                                            string
	ClickID                                          string
}

func requireSameLead(t *testing.T, want plainLead, got clixnow.Lead) {
	t.Helper()
	require.Equal(t, want, plainLead{
		ID: got.ID, Email: got.Email, Status: got.Status, BrandID: got.BrandID, BrandName: got.BrandName,
		Sub2: got.Sub2, SubCampaign: got.SubCampaign, Keyword: got.Keyword, Placement: got.Placement,
		CreatedOn: plainDate{got.CreatedOn}, UpdatedOn: plainDate{got.UpdatedOn}, FTDDate: plainDate{got.FTDDate},
		ClientType: got.ClientType, CRMID: got.CRMID, ClickID: got.ClickID,
	})
}

// sameRules reports whether this package must accept a document that
// encoding/json accepts. encoding/json also accepts some other letters in
// names, and any depth.
func sameRules(data []byte) bool {
	const folded = "\u017f\u212a"
	return !bytes.ContainsAny(data, folded) && !bytes.Contains(data, []byte(`\u`)) &&
		bytes.Count(data, []byte("["))+bytes.Count(data, []byte("{")) < 64
}

// asWritten returns the members as json.Marshal writes them: without white
// space, and with <, > and & escaped.
func asWritten(t *testing.T, extra map[string]json.RawMessage) map[string]json.RawMessage {
	t.Helper()
	for name, value := range extra {
		written, err := json.Marshal(value)
		require.NoError(t, err)
		extra[name] = written
	}
	return extra
}

func FuzzLead(f *testing.F) {
	for _, seed := range bodies() {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var lead, again clixnow.Lead
		if err := json.Unmarshal(data, &lead); err != nil {
			require.Zero(t, lead)
			var plain plainLead
			accepted := sameRules(data) && json.Unmarshal(data, &plain) == nil
			require.False(t, accepted, "encoding/json accepts it: %v", err)
			return
		}
		require.True(t, json.Valid(data))
		written, err := json.Marshal(lead)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(written, &again))
		lead.Extra = asWritten(t, lead.Extra)
		require.Equal(t, lead, again)
		var plain plainLead
		if sameRules(data) && json.Unmarshal(data, &plain) == nil {
			requireSameLead(t, plain, lead)
		}
	})
}

// answers is a RoundTripper that returns a response with these values.
type answers struct {
	status int
	header http.Header
	body   []byte
}

func (a *answers) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: a.status, Header: a.header, ContentLength: -1, Body: io.NopCloser(bytes.NewReader(a.body)),
	}, nil
}

func (a *answers) client(f *testing.F) *clixnow.Client {
	f.Helper()
	client, err := clixnow.NewClient("acme", testToken, clixnow.WithHTTPClient(&http.Client{Transport: a}),
		clixnow.WithRetry(clixnow.RetryPolicy{MaxAttempts: 1}))
	require.NoError(f, err)
	return client
}

// requireSafeText checks what is promised about the text of every error.
func requireSafeText(t *testing.T, err error) {
	t.Helper()
	text := err.Error()
	require.True(t, strings.HasPrefix(text, "clixnow: "), text)
	require.NotContains(t, text, testToken)
	require.NotContains(t, text, "Password123!")
	require.Equal(t, -1, strings.IndexFunc(text, unicode.IsControl), "%q", text)
	require.Less(t, len(text), 1<<20)
}

func FuzzSearchPage(f *testing.F) {
	for _, seed := range bodies() {
		f.Add([]byte(seed))
	}
	answer := &answers{status: http.StatusOK}
	client := answer.client(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		answer.body = body
		page, err := client.SearchLeadsPage(t.Context(), clixnow.SearchLeadsRequest{})
		var plain []plainLead
		isPlain := sameRules(body) && json.Unmarshal(body, &plain) == nil && plain != nil
		if err != nil {
			require.ErrorIs(t, err, clixnow.ErrInvalidResponse)
			var apiError *clixnow.APIError
			require.ErrorAs(t, err, &apiError)
			requireSafeText(t, err)
			require.Nil(t, page)
			// encoding/json accepts null as a lead
			accepted := isPlain && !bytes.Contains(body, []byte("null"))
			require.False(t, accepted, "encoding/json accepts it: %v", err)
			return
		}
		require.True(t, json.Valid(bytes.TrimPrefix(body, []byte("\uFEFF"))))
		if isPlain {
			require.Len(t, page.Leads, len(plain))
			for i := range plain {
				requireSameLead(t, plain[i], page.Leads[i])
			}
		}
	})
}

func FuzzCreateResponse(f *testing.F) {
	for _, seed := range bodies() {
		f.Add([]byte(seed), true)
	}
	answer := &answers{}
	client := answer.client(f)
	f.Fuzz(func(t *testing.T, body []byte, created bool) {
		answer.status, answer.body = http.StatusOK, body
		if created {
			answer.status = http.StatusCreated
		}
		lead, err := client.CreateLead(t.Context(), vendorsLead())
		if err != nil {
			require.Nil(t, lead)
			require.ErrorIs(t, err, clixnow.ErrInvalidResponse)
			require.ErrorIs(t, err, clixnow.ErrOutcomeUnknown)
			requireOneClass(t, err)
			requireSafeText(t, err)
			return
		}
		require.Positive(t, lead.LeadID)
		written, err := json.Marshal(lead)
		require.NoError(t, err)
		var again clixnow.CreateLeadResponse
		require.NoError(t, json.Unmarshal(written, &again))
		lead.Extra = asWritten(t, lead.Extra)
		require.Equal(t, *lead, again)
	})
}

func FuzzErrorAnswer(f *testing.F) {
	statuses := []int{
		400, 401, 403, 408, 409, 415, 422, 429, 460, 499, 303, 302, 500, 502, 503, 524, 100, 600, 0, -1,
	}
	for i, status := range statuses {
		for _, seed := range bodies() {
			f.Add(status, "text/plain; charset=utf-8", strconv.Itoa(i*i*i*1000), []byte(seed))
		}
	}
	f.Add(429, "application/problem+json", "Fri, 31 Dec 9999 23:59:59 GMT", []byte(nil))
	f.Add(503, "", "99999999999999999999", []byte(nil))
	f.Add(503, "", "-1", []byte(nil))
	answer := &answers{}
	client := answer.client(f)
	f.Fuzz(func(t *testing.T, status int, contentType, retryAfter string, body []byte) {
		if status >= 200 && status <= 299 {
			return // a success
		}
		answer.status, answer.body = status, body
		answer.header = http.Header{"Content-Type": {contentType}, "Retry-After": {retryAfter}}
		_, err := client.CreateLead(t.Context(), vendorsLead())
		requireSafeText(t, err)
		requireOneClass(t, err)
		var apiError *clixnow.APIError
		require.ErrorAs(t, err, &apiError)
		require.Equal(t, status, apiError.StatusCode)
		require.Equal(t, refusing(status), errors.Is(err, clixnow.ErrRefused))
		require.Equal(t, status == 429, errors.Is(err, clixnow.ErrRateLimited))
		require.LessOrEqual(t, len(apiError.Body), 64<<10)
		requireRetryAfter(t, retryAfter, apiError.RetryAfter)
	})
}

// refusing reports whether a create that is answered with the status was
// refused: a 3xx or 4xx, with exceptions.
func refusing(status int) bool {
	return status >= 300 && status <= 499 && !slices.Contains([]int{303, 408, 429, 460, 499}, status)
}

// requireRetryAfter compares with the forms of RFC 9110. More than a day counts
// as a day.
func requireRetryAfter(t *testing.T, text string, got time.Duration) {
	t.Helper()
	const day = 24 * time.Hour
	require.GreaterOrEqual(t, got, time.Duration(0))
	require.LessOrEqual(t, got, day)
	text = textproto.TrimString(text)
	if seconds, err := strconv.ParseUint(text, 10, 32); err == nil {
		require.Equal(t, min(time.Duration(seconds)*time.Second, day), got)
	} else if date, err := http.ParseTime(text); err == nil {
		wait := min(max(time.Until(date), 0), day)
		require.InDelta(t, wait, got, float64(time.Minute)) // the clock goes on
	}
}
