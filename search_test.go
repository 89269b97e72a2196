package clixnow_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
)

// searchQuery reads one page and returns the query that arrived.
func searchQuery(t *testing.T, req clixnow.SearchLeadsRequest, opts ...clixnow.Option) url.Values {
	t.Helper()
	arrived := make(chan *url.URL, 1)
	client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, http.MethodGet, r.Method)
		assert.Equal(t, "/api/system/v1/leads/search", r.URL.Path)
		assert.NotContains(t, r.Header, "Content-Type")
		arrived <- r.URL
		_, _ = io.WriteString(w, "[]")
	}, opts...)
	_, err := client.SearchLeadsPage(t.Context(), req)
	require.NoError(t, err)
	query, err := url.ParseQuery((<-arrived).RawQuery)
	require.NoError(t, err)
	return query
}

func TestSearchLeadsPageQuery(t *testing.T) {
	t.Parallel()
	type request = clixnow.SearchLeadsRequest
	zurich := time.FixedZone("CET", 3600)
	at := func(nanosecond int) time.Time { return time.Date(2021, 8, 8, 23, 59, 59, nanosecond, time.UTC) }
	for name, test := range map[string]struct {
		req  request
		want string
	}{
		"nothing but the order": {request{}, "orderBy=Id"},
		"the vendor's example": {
			request{CreatedOnFrom: time.Date(2021, 8, 8, 0, 0, 0, 0, time.UTC), CreatedOnTo: at(0), Count: 1000},
			"orderBy=Id&createdOnFrom=2021-08-08T00%3A00%3A00&createdOnTo=2021-08-08T23%3A59%3A59&count=1000",
		},
		"every field": {
			request{
				ID: 123456, OrderBy: clixnow.OrderByModifiedOn, Count: 50, Skip: 100, Limit: 7, Prefetch: 3,
				CreatedOnFrom: at(1e6), CreatedOnTo: at(2e6), ModifiedOnFrom: at(3e6), ModifiedOnTo: at(4e6),
				FTDDateFrom: at(5e6), FTDDateTo: at(6e6),
				Extra: url.Values{"brandId": {"3", "4"}, "q": {"a b&c"}, "empty": {""}},
			},
			"id=123456&orderBy=ModifiedOn&count=50&skip=100&createdOnFrom=2021-08-08T23:59:59.001&createdOnTo=2021-08-08T23:59:59.002" +
				"&modifiedOnFrom=2021-08-08T23:59:59.003&modifiedOnTo=2021-08-08T23:59:59.004&ftdDateFrom=2021-08-08T23:59:59.005&ftdDateTo=2021-08-08T23:59:59.006" +
				"&brandId=3&brandId=4&q=a+b%26c&empty=",
		},
		"order of creation":         {request{OrderBy: clixnow.OrderByCreatedOn}, "orderBy=CreatedOn"},
		"order of deposit":          {request{OrderBy: clixnow.OrderByFTDDate}, "orderBy=FtdDate"},
		"order as it is misprinted": {request{OrderBy: clixnow.OrderByFTDFate}, "orderBy=FtdFate"},
		"order of id":               {request{OrderBy: clixnow.OrderByID}, "orderBy=Id"},
		"From is rounded down": {
			request{ModifiedOnFrom: at(1_999_999)},
			"orderBy=Id&modifiedOnFrom=2021-08-08T23:59:59.001",
		},
		"To is rounded up": {
			request{ModifiedOnTo: at(1_000_001)},
			"orderBy=Id&modifiedOnTo=2021-08-08T23:59:59.002",
		},
		"From down to the second": {request{FTDDateFrom: at(999_999)}, "orderBy=Id&ftdDateFrom=2021-08-08T23:59:59"},
		"To up to the day":        {request{FTDDateTo: at(999_000_001)}, "orderBy=Id&ftdDateTo=2021-08-09T00:00:00"},
		"whole milliseconds stay": {
			request{CreatedOnFrom: at(120e6), CreatedOnTo: at(120e6)},
			"orderBy=Id&createdOnFrom=2021-08-08T23:59:59.120&createdOnTo=2021-08-08T23:59:59.120",
		},
		"in UTC": {
			request{CreatedOnFrom: time.Date(2021, 1, 1, 0, 30, 0, 0, zurich)},
			"orderBy=Id&createdOnFrom=2020-12-31T23:30:00",
		},
		"before the epoch": {
			request{
				CreatedOnFrom: time.Date(1969, 12, 31, 23, 59, 59, 1, time.UTC),
				CreatedOnTo:   time.Date(1969, 12, 31, 23, 59, 59, 1, time.UTC),
			},
			"orderBy=Id&createdOnFrom=1969-12-31T23:59:59&createdOnTo=1969-12-31T23:59:59.001",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want, err := url.ParseQuery(test.want)
			require.NoError(t, err)
			assert.Equal(t, want, searchQuery(t, test.req))
		})
	}
}

func TestSearchLeadsRequestValidate(t *testing.T) {
	t.Parallel()
	type request = clixnow.SearchLeadsRequest
	noon := time.Date(2021, 8, 8, 12, 0, 0, 0, time.UTC)
	var (
		early, late  = noon, noon.Add(1)
		year0        = time.Date(0, 12, 31, 23, 59, 59, 0, time.UTC)
		year1        = time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC)
		year9999     = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
		year10000    = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
		year9999Zone = time.Date(10000, 1, 1, 0, 30, 0, 0, time.FixedZone("CET", 3600))
	)
	for name, test := range map[string]struct {
		req    request
		want   []string
		judged bool // by the server, WithoutValidation
	}{
		"nothing":            {request{}, nil, true},
		"order unknown":      {request{OrderBy: "Email"}, []string{"orderBy"}, true},
		"order in small":     {request{OrderBy: "id"}, []string{"orderBy"}, true},
		"count of 1":         {request{Count: 1}, nil, true},
		"count of 1000":      {request{Count: clixnow.MaxPageSize}, nil, true},
		"count of 1001":      {request{Count: 1001}, []string{"count"}, true},
		"count below 0":      {request{Count: -1}, []string{"count"}, false},
		"skip below 0":       {request{Skip: -1}, []string{"skip"}, false},
		"skip far":           {request{Skip: 1 << 30}, nil, true},
		"id below 0":         {request{ID: -1}, []string{"id"}, false},
		"limit below 0":      {request{Limit: -1}, []string{"limit"}, false},
		"limit above count":  {request{Limit: 5000}, nil, true},
		"prefetch below 0":   {request{Prefetch: -1}, []string{"prefetch"}, false},
		"created backwards":  {request{CreatedOnFrom: late, CreatedOnTo: early}, []string{"createdOnTo"}, true},
		"modified backwards": {request{ModifiedOnFrom: late, ModifiedOnTo: early}, []string{"modifiedOnTo"}, true},
		"deposit backwards":  {request{FTDDateFrom: late, FTDDateTo: early}, []string{"ftdDateTo"}, true},
		"one instant": {request{
			CreatedOnFrom: noon, CreatedOnTo: noon, ModifiedOnFrom: noon,
			ModifiedOnTo: noon, FTDDateFrom: noon, FTDDateTo: noon,
		}, nil, true},
		"one instant in zones": {
			request{CreatedOnFrom: noon, CreatedOnTo: noon.In(time.FixedZone("CET", 3600))},
			nil,
			true,
		},
		"From alone":         {request{CreatedOnFrom: late}, nil, true},
		"To alone":           {request{CreatedOnTo: early}, nil, true},
		"across periods":     {request{CreatedOnFrom: late, ModifiedOnTo: early}, nil, true},
		"first year":         {request{CreatedOnFrom: year1}, nil, true},
		"year 0":             {request{CreatedOnFrom: year0}, []string{"createdOnFrom"}, false},
		"last year":          {request{FTDDateTo: year9999, ModifiedOnTo: year9999Zone}, nil, true},
		"year 10000":         {request{FTDDateTo: year10000}, []string{"ftdDateTo"}, false},
		"Extra":              {request{Extra: url.Values{"brandId": {"3"}, "limit": {"4"}}}, nil, true},
		"Extra that is ours": {request{Extra: url.Values{"count": {"3"}}}, []string{"count"}, false},
		"in another case": {
			request{Extra: url.Values{"ORDERBY": {"x"}, "ftdDATEfrom": {"x"}, "Id": {"x"}}},
			[]string{"Id", "ORDERBY", "ftdDATEfrom"},
			false,
		},
		"everything at once": {
			request{
				OrderBy: "x", Count: 1001, ID: -1, Skip: -1, Limit: -1, Prefetch: -1, CreatedOnFrom: late,
				CreatedOnTo: early, FTDDateFrom: year10000, FTDDateTo: year0, Extra: url.Values{"skip": nil},
			},
			[]string{
				"orderBy", "count", "createdOnTo", "ftdDateTo", "id", "skip", "limit", "prefetch", "ftdDateFrom",
				"ftdDateTo", "skip",
			},
			false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int32
			count := func(w http.ResponseWriter, _ *http.Request) {
				requests.Add(1)
				_, _ = io.WriteString(w, "[]")
			}
			strict, lax := newClient(t, count), newClient(t, count, clixnow.WithoutValidation())
			search := func(client *clixnow.Client) error {
				_, err := client.SearchLeadsPage(t.Context(), test.req)
				for _, walked := range client.SearchLeads(t.Context(), test.req) {
					assert.Equal(t, err, walked)
				}
				return err
			}
			if test.want == nil {
				require.NoError(t, test.req.Validate())
				require.NoError(t, search(strict))
			} else {
				err := search(strict)
				var invalid *clixnow.ValidationError
				require.ErrorAs(t, err, &invalid)
				var names []string
				for _, fault := range invalid.Fields {
					names = append(names, fault.Field)
				}
				assert.Equal(t, test.want, names)
				assert.Equal(t, test.req.Validate(), err)
				assert.ErrorIs(t, err, clixnow.ErrInvalidRequest)
				assert.Zero(t, requests.Load())
			}
			if test.judged {
				require.NoError(t, search(lax))
			} else {
				sent := requests.Load()
				require.ErrorIs(t, search(lax), clixnow.ErrInvalidRequest)
				assert.Equal(t, sent, requests.Load())
			}
		})
	}
}

func TestSearchWithoutValidationSendsWhatTheServerMayJudge(t *testing.T) {
	t.Parallel()
	query := searchQuery(t, clixnow.SearchLeadsRequest{OrderBy: "Email", Count: 5000}, clixnow.WithoutValidation())
	assert.Equal(t, url.Values{"orderBy": {"Email"}, "count": {"5000"}}, query)
}

func TestSearchNilContext(t *testing.T) {
	t.Parallel()
	client := newClient(t, answer(http.StatusOK, "", "[]"))
	_,
		pageErr := client.SearchLeadsPage(nil,
		clixnow.SearchLeadsRequest{}) //nolint:staticcheck // what a nil context does is the question
	_, leadErr := client.GetLead(nil, 7) //nolint:staticcheck // the same
	require.Error(t, pageErr)
	require.Error(t, leadErr)
	for _, err := range client.SearchLeads(nil, clixnow.SearchLeadsRequest{}) { //nolint:staticcheck // the same
		require.Error(t, err)
	}
}

const wholeLeadJSON = `{"id":123456,"email":"allison.brown@example.com","status":"No Answer","crmId":987,"brandId":17,"brandName":"Example Brand",
	"createdOn":"2022-12-19T11:01:58.302Z","updatedOn":"2022-12-20T08:15:00.117Z","ftdDate":"2022-12-21T09:30:12Z","clickId":20,"sub2":"sub2",
	"subCampaign":"subcampaign","keyword":"test","placement":"landing_page","clientType":"Depositor"}`

func storedLead() clixnow.Lead {
	return clixnow.Lead{
		ID: 123456, Email: "allison.brown@example.com", Status: "No Answer", CRMID: "987", BrandID: 17,
		BrandName: "Example Brand",
		CreatedOn: time.Date(2022, 12, 19, 11, 1, 58, 302e6, time.UTC),
		UpdatedOn: time.Date(2022, 12, 20, 8, 15, 0, 117e6, time.UTC),
		FTDDate:   time.Date(2022, 12, 21, 9, 30, 12, 0, time.UTC), ClickID: "20", Sub2: "sub2",
		SubCampaign: "subcampaign", Keyword: "test",
		Placement: "landing_page", ClientType: clixnow.ClientTypeDepositor,
	}
}

func TestSearchLeadsPageForms(t *testing.T) {
	t.Parallel()
	type leads = []clixnow.Lead
	one := leads{{ID: 7}}
	for name, test := range map[string]struct {
		body string
		want leads
	}{
		"every field":                   {"[" + wholeLeadJSON + "]", leads{storedLead()}},
		"an array":                      {`[{"id":7},{"id":8}]`, leads{{ID: 7}, {ID: 8}}},
		"an empty array":                {`[]`, leads{}},
		"an object around it":           {`{"items":[{"id":7}]}`, one},
		"under any name":                {`{"whatever":[{"id":7}],"total":1}`, one},
		"under the name of a field":     {`{"id":[{"id":7}]}`, one},
		"an empty array in an object":   {`{"data":[]}`, leads{}},
		"two empty arrays in it":        {`{"data":[],"errors":[]}`, leads{}},
		"beside arrays of other things": {`{"columns":["id","email"],"sizes":[1,2],"nested":[[{"id":9}]],"data":[{"id":7}],"errors":[]}`, one},
		"beside objects":                {`{"page":{"items":[{"id":9}]},"data":[{"id":7}],"next":null,"ok":true}`, one},
		"no leads beside a list":        {`{"columns":["id"],"data":[]}`, leads{}},
		"names in Pascal case": {
			`[{"Id":7,"CRMId":"a","FtdDate":"2022-12-21T09:30:12","SUBCAMPAIGN":"s"}]`,
			leads{{ID: 7, CRMID: "a", FTDDate: time.Date(2022, 12, 21, 9, 30, 12, 0, time.UTC), SubCampaign: "s"}},
		},
		"ids as text":                  {`[{"id":"7","brandId":"17"}]`, leads{{ID: 7, BrandID: 17}}},
		"null is nothing":              {`[{"id":7,"email":null,"status":null,"crmId":null,"brandId":null,"createdOn":null,"ftdDate":null,"clickId":null,"clientType":null}]`, one},
		"numbers and booleans as text": {`[{"id":7,"clickId":900719925474099312345,"crmId":true,"sub2":1.50,"status":0,"keyword":-1e5,"clientType":false}]`, leads{{ID: 7, ClickID: "900719925474099312345", CRMID: "true", Sub2: "1.50", Status: "0", Keyword: "-1e5", ClientType: "false"}}},
		"unknown fields": {
			`[{"id":7,"country":"CH","tags":[1,{"a":null}]},{"id":8}]`,
			leads{{
				ID: 7,
				Extra: map[string]json.RawMessage{
					"country": json.RawMessage(`"CH"`),
					"tags":    json.RawMessage(`[1,{"a":null}]`),
				},
			}, {ID: 8}},
		},
		"nothing left of a lead before": {`[` + wholeLeadJSON + `,{"id":8}]`, leads{storedLead(), {ID: 8}}},
		"blanks around":                 {" \r\n[ {\"id\" : 7} ]\t", one},
		"client types of another kind":  {`[{"id":7,"clientType":"Whale"}]`, leads{{ID: 7, ClientType: "Whale"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := newClient(t, answer(http.StatusOK, "text/html", test.body))
			page, err := client.SearchLeadsPage(t.Context(), clixnow.SearchLeadsRequest{})
			require.NoError(t, err)
			assert.Equal(t, len(test.want), len(page.Leads))
			for i := range test.want {
				assert.Equal(t, test.want[i], page.Leads[i])
			}
			assert.Nil(t, page.Next)
		})
	}
}

func TestSearchLeadsPageDates(t *testing.T) {
	t.Parallel()
	at := func(nanosecond int) time.Time { return time.Date(2022, 12, 19, 11, 1, 58, nanosecond, time.UTC) }
	for text, want := range map[string]time.Time{
		"2022-12-19T11:01:58.302Z":            at(302e6),
		"2022-12-19T11:01:58Z":                at(0),
		"2022-12-19T11:01:58":                 at(0),
		"2022-12-19T11:01:58.3":               at(300e6),
		"2022-12-19T11:01:58.3021234":         at(302_123_400),
		"2022-12-19T11:01:58.302123456Z":      at(302_123_456),
		"2022-12-19T13:01:58.302+02:00":       at(302e6),
		"2022-12-19T05:31:58-05:30":           at(0),
		"2022-12-20T00:01:58.0000000+13:00":   at(0),
		"2022-12-19T11:01:58+00:00":           at(0),
		"2024-02-29T00:00:00":                 time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC),
		"0001-01-01T00:00:00":                 {},
		"0001-01-01T00:00:00Z":                {},
		"0001-01-01T00:00:00.0000000":         {},
		"0001-01-01T00:00:00+02:00":           {},
		"9999-12-31T23:59:59.9999999":         time.Date(9999, 12, 31, 23, 59, 59, 999_999_900, time.UTC),
		"9999-12-31T23:59:59.9999999+00:00":   time.Date(9999, 12, 31, 23, 59, 59, 999_999_900, time.UTC),
		"2022-12-19T00:00:00.000000000-00:00": time.Date(2022, 12, 19, 0, 0, 0, 0, time.UTC),
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			client := newClient(t,
				answer(http.StatusOK, "",
					fmt.Sprintf(`[{"id":7,"createdOn":%q,"updatedOn":%[1]q,"ftdDate":%[1]q}]`, text)))
			lead, err := client.GetLead(t.Context(), 7)
			require.NoError(t, err)
			for _, got := range []time.Time{lead.CreatedOn, lead.UpdatedOn, lead.FTDDate} {
				assert.Equal(t, want, got)
				assert.Equal(t, time.UTC, got.Location())
			}
			assert.Equal(t, !want.IsZero(), lead.HasFTD())
		})
	}
	for _, text := range []string{
		`" "`, `"2022-12-19"`, `"2022-12-19 11:01:58"`, `"2022-13-19T11:01:58"`, `"2022-02-29T11:01:58"`,
		`"2022-12-19T24:00:00"`, `"2022-12-19T11:01:58.Z"`,
		`"2022-12-19T11:01:58.1234567890"`, `"2022-12-19T11:01:58+0200"`, `"19.12.2022"`, `"/Date(1671447718302)/"`,
		`1671447718302`, `true`, `{}`, `[]`, `"0000-01-01T00:00:00"`,
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			client := newClient(t, answer(http.StatusOK, "", `[{"id":7},{"id":8,"ftdDate":`+text+`}]`))
			_, err := client.SearchLeadsPage(t.Context(), clixnow.SearchLeadsRequest{})
			require.ErrorIs(t, err, clixnow.ErrInvalidResponse)
			assert.Contains(t, err.Error(), "[1].ftdDate")
		})
	}
}

func TestSearchLeadsPageInvalidResponses(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 70) + strings.Repeat("]", 70)
	for name, test := range map[string]struct{ body, want string }{
		"empty":                       {"", ""},
		"blank":                       {" ", ""},
		"null":                        {"null", "null"},
		"an empty object":             {"{}", "array"},
		"an object that says nothing": {`{"total":0}`, "array"},
		"an error with a good status": {`{"message":"No"}`, "array"},
		"an array that is null":       {`{"others":null}`, "array"},
		"a list of other things":      {`{"items":[1,2]}`, "array"},
		"an object of one lead":       {`{"id":7}`, "array"},
		"wrapped twice":               {`{"data":{"items":[{"id":7}]}}`, "array"},
		"two arrays of objects":       {`{"a":[{"id":7}],"b":[{"id":8}]}`, "two"},
		"a number":                    {"7", "number"},
		"a string":                    {`"[]"`, "string"},
		"an array of numbers":         {`[7]`, "[0]"},
		"an array with null":          {`[{"id":7},null]`, "[1]"},
		"an array of arrays":          {`[[{"id":7}]]`, "[0]"},
		"truncated":                   {`[{"id":7},{"id":8`, "malformed"},
		"truncated before its end":    {`[{"id":7}`, "malformed"},
		"trailing data":               {`[{"id":7}][]`, "malformed"},
		"trailing comma":              {`[{"id":7},]`, "malformed"},
		"HTML":                        {"<html>", "malformed"},
		"email in an array":           {`[{"id":7,"email":["x"]}]`, "[0].email"},
		"email in an object":          {`{"items":[{"id":7},{"id":8,"EMAIL":{}}]}`, "[1].email"},
		"id of letters":               {`[{"id":"x"}]`, "[0].id"},
		"id with a fraction":          {`[{"id":7.5}]`, "[0].id"},
		"brand id of letters":         {`[{"id":7,"brandId":"x"}]`, "[0].brandId"},
		"brand id true":               {`[{"id":7,"brandId":true}]`, "[0].brandId"},
		"nested too deep":             {`[{"id":7,"x":` + deep + `}]`, "nested"},
		"nested too deep beside it":   {`{"items":[{"id":7}],"x":` + deep + `}`, "nested"},
		"nested without end":          {strings.Repeat("[", 200_000), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int32
			client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				w.Header().Set("X-Request-Id", "req-77")
				answer(http.StatusOK, "application/json", test.body)(w, r)
			})
			_, pageErr := client.SearchLeadsPage(t.Context(), clixnow.SearchLeadsRequest{})
			_, leadErr := client.GetLead(t.Context(), 7)
			var walkErr error
			for lead, err := range client.SearchLeads(t.Context(), clixnow.SearchLeadsRequest{}) {
				assert.Zero(t, lead)
				walkErr = err
			}
			for _, err := range []error{pageErr, leadErr, walkErr} {
				require.ErrorIs(t, err, clixnow.ErrInvalidResponse)
				for _, sentinel := range sentinels {
					assert.Equal(t, sentinel == clixnow.ErrInvalidResponse, errors.Is(err, sentinel), "%v",
						sentinel) //nolint:errorlint // which it is
				}
				var answered *clixnow.APIError
				require.ErrorAs(t, err, &answered)
				assert.Equal(t, http.StatusOK, answered.StatusCode)
				assert.Equal(t, test.body[:min(len(test.body), 64<<10)], string(answered.Body))
				assert.Equal(t, 1, answered.Attempts)
				assert.Contains(t, err.Error(), "GET /api/system/v1/leads/search: 200 OK")
				assert.Contains(t, err.Error(), "[request req-77]")
				assert.Contains(t, err.Error(), test.want)
			}
			assert.EqualValues(t, 3, requests.Load(), "what cannot be read is not asked for again")
		})
	}
}

func TestLeadJSON(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		read string
		want clixnow.Lead
		back string
	}{
		"every field": {
			wholeLeadJSON, storedLead(),
			`{"id":123456,"email":"allison.brown@example.com","status":"No Answer","crmId":"987","brandId":17,
			"brandName":"Example Brand","createdOn":"2022-12-19T11:01:58.302Z","updatedOn":"2022-12-20T08:15:00.117Z","ftdDate":"2022-12-21T09:30:12.000Z",
			"clickId":"20","sub2":"sub2","subCampaign":"subcampaign","keyword":"test","placement":"landing_page","clientType":"Depositor"}`,
		},
		"finer than milliseconds": {
			`{"id":7,"createdOn":"2022-12-19T13:01:58.1234567+02:00"}`,
			clixnow.Lead{ID: 7, CreatedOn: time.Date(2022, 12, 19, 11, 1, 58, 123_456_700, time.UTC)},
			`{"id":7,"email":"","status":"","createdOn":"2022-12-19T11:01:58.1234567Z"}`,
		},
		"Extra": {
			`{"id":7,"x":{"a":1.0,"b":[null]},"y":12345678901234567890}`,
			clixnow.Lead{
				ID: 7,
				Extra: map[string]json.RawMessage{
					"x": json.RawMessage(`{"a":1.0,"b":[null]}`),
					"y": json.RawMessage(`12345678901234567890`),
				},
			},
			`{"id":7,"email":"","status":"","x":{"a":1.0,"b":[null]},"y":12345678901234567890}`,
		},
		"nothing": {`{}`, clixnow.Lead{}, `{"id":0,"email":"","status":""}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := clixnow.Lead{
				Email: "left over",
				Extra: map[string]json.RawMessage{"left": json.RawMessage(`"over"`)},
			}
			require.NoError(t, json.Unmarshal([]byte(test.read), &got))
			assert.Equal(t, test.want, got)
			written, err := json.Marshal(got)
			require.NoError(t, err)
			assert.Equal(t, members(t, test.back), members(t, string(written)))
			var again clixnow.Lead
			require.NoError(t, json.Unmarshal(written, &again))
			assert.Equal(t, got, again)
			page, err := json.Marshal(clixnow.LeadPage{Leads: []clixnow.Lead{got}})
			require.NoError(t, err)
			assert.Contains(t, string(page), string(written))
		})
	}
	for name, lead := range map[string]clixnow.Lead{
		"a text that is none":    {Status: "\xff"},
		"a date beyond":          {CreatedOn: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"Extra that is no JSON":  {Extra: map[string]json.RawMessage{"x": json.RawMessage(`{`)}},
		"Extra that is no UTF-8": {Extra: map[string]json.RawMessage{"x": json.RawMessage("\"\xff\"")}},
	} {
		_, err := json.Marshal(lead)
		require.Error(t, err, name)
	}
}

func TestGetLead(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		id    int64
		body  string
		found bool
	}{
		"found":               {123456, `[` + wholeLeadJSON + `]`, true},
		"in an object":        {123456, `{"data":[` + wholeLeadJSON + `]}`, true},
		"among others":        {123456, `[{"id":1},` + wholeLeadJSON + `,{"id":2}]`, true},
		"none":                {123456, `[]`, false},
		"none, in an object":  {123456, `{"data":[]}`, false},
		"another":             {123456, `[{"id":123457}]`, false},
		"one without an id":   {123456, `[{"email":"a@example.com"}]`, false},
		"one with a negative": {123456, `[{"id":-123456}]`, false},
		"a filter that is none": {
			7,
			`[{"id":1},{"id":2},{"id":3},{"id":4},{"id":5},{"id":6},{"id":8},{"id":9},{"id":10},{"id":11}]`, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int32
			client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				assert.Equal(t, "/api/system/v1/leads/search", r.URL.Path)
				assert.Equal(t, strconv.FormatInt(test.id, 10), r.URL.Query().Get("id"))
				assert.Equal(t, "Id", r.URL.Query().Get("orderBy"))
				_, _ = io.WriteString(w, test.body)
			})
			lead, err := client.GetLead(t.Context(), test.id)
			assert.EqualValues(t, 1, requests.Load())
			if test.found {
				require.NoError(t, err)
				assert.Equal(t, storedLead(), *lead)
				return
			}
			assert.Nil(t, lead)
			require.ErrorIs(t, err, clixnow.ErrLeadNotFound)
			assert.NotErrorIs(t, err, clixnow.ErrInvalidResponse)
			assert.Contains(t, err.Error(), strconv.FormatInt(test.id, 10))
		})
	}
}

func TestGetLeadRefusesIDs(t *testing.T) {
	t.Parallel()
	for _, opts := range [][]clixnow.Option{nil, {clixnow.WithoutValidation()}} {
		client := newClient(t, func(http.ResponseWriter, *http.Request) { t.Error("sent") }, opts...)
		for _, id := range []int64{0, -1, -1 << 63} {
			_, err := client.GetLead(t.Context(), id)
			var invalid *clixnow.ValidationError
			require.ErrorAs(t, err, &invalid)
			assert.Equal(t, "id", invalid.Fields[0].Field)
			assert.ErrorIs(t, err, clixnow.ErrInvalidRequest)
			assert.NotErrorIs(t, err, clixnow.ErrLeadNotFound)
		}
	}
}

// Next is judged by the end rule: a page of fewer than 10 leads, when more were
// asked for, is the end.
func TestSearchLeadsPageNext(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		count, received int
		next            bool
	}{
		{0, 0, false},
		{0, 9, false},
		{0, 10, true},
		{0, 11, true}, // the API's own count is 10
		{1, 0, false},
		{1, 1, true},
		{1, 2, true},
		{5, 4, false},
		{5, 5, true},
		{5, 7, true},
		{9, 8, false},
		{9, 9, true},
		{10, 9, false},
		{10, 10, true},
		{11, 9, false},
		{11, 10, true},
		{11, 11, true},
		{1000, 0, false},
		{1000, 9, false},
		{1000, 10, true},
		{1000, 500, true},
		{1000, 999, true},
		{1000, 1000, true},
	} {
		t.Run(fmt.Sprintf("%d of %d", test.received, test.count), func(t *testing.T) {
			t.Parallel()
			leads := make([]string, test.received)
			for i := range leads {
				leads[i] = fmt.Sprintf(`{"id":%d}`, i+1)
			}
			client := newClient(t, answer(http.StatusOK, "", "["+strings.Join(leads, ",")+"]"))
			req := clixnow.SearchLeadsRequest{
				OrderBy: clixnow.OrderByCreatedOn, Count: test.count, Skip: 20, Limit: 3, Prefetch: 2,
				CreatedOnFrom: time.Date(2021, 8, 8, 0, 0, 0, 0, time.UTC), Extra: url.Values{"brandId": {"3"}},
			}
			page, err := client.SearchLeadsPage(t.Context(), req)
			require.NoError(t, err)
			assert.Len(t, page.Leads, test.received, "Limit does nothing here")
			if !test.next {
				assert.Nil(t, page.Next)
				return
			}
			want := req
			want.Skip = 20 + test.received
			require.NotNil(t, page.Next)
			assert.Equal(t, want, *page.Next)
		})
	}
}

func TestHasFTD(t *testing.T) {
	t.Parallel()
	assert.False(t, clixnow.Lead{ClientType: clixnow.ClientTypeDepositor, Status: "Deposited"}.HasFTD())
	assert.True(t, clixnow.Lead{ClientType: clixnow.ClientTypeClient, FTDDate: time.Unix(0, 0)}.HasFTD())
}
