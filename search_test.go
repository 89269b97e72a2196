package clixnow_test

import (
	"context"
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

func TestSearchNilContext(t *testing.T) {
	t.Parallel()
	var (
		client = newClient(t, answer(http.StatusOK, "", "[]"))
		ctx    context.Context
		req    clixnow.SearchLeadsRequest
	)
	_, pageErr := client.SearchLeadsPage(ctx, req)
	_, leadErr := client.GetLead(ctx, 7)
	require.ErrorIs(t, pageErr, clixnow.ErrNotSent)
	require.ErrorIs(t, leadErr, clixnow.ErrNotSent)
	errs := 0
	for _, err := range client.SearchLeads(ctx, req) {
		require.ErrorIs(t, err, clixnow.ErrNotSent)
		errs++
	}
	assert.Equal(t, 1, errs)
}

const wholeLeadJSON = `{"id":123456,"email":"allison.brown@example.com","status":"No Answer","crmId":987,
	"brandId":17,"brandName":"Example Brand","createdOn":"2022-12-19T11:01:58.302Z",
	"updatedOn":"2022-12-20T08:15:00.117Z","ftdDate":"2022-12-21T09:30:12Z","clickId":20,"sub2":"sub2",
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
		"every field":                 {"[" + wholeLeadJSON + "]", leads{storedLead()}},
		"an array":                    {`[{"id":7},{"id":8}]`, leads{{ID: 7}, {ID: 8}}},
		"an empty array":              {`[]`, leads{}},
		"an object around it":         {`{"items":[{"id":7}]}`, one},
		"under any name":              {`{"whatever":[{"id":7}],"total":1}`, one},
		"under the name of a field":   {`{"id":[{"id":7}]}`, one},
		"an empty array in an object": {`{"data":[]}`, leads{}},
		"two empty arrays in it":      {`{"data":[],"errors":[]}`, leads{}},
		"beside arrays of other things": {
			`{"columns":["id","email"],"sizes":[1,2],"nested":[[{"id":9}]],"data":[{"id":7}],"errors":[]}`, one,
		},
		"beside objects": {
			`{"page":{"items":[{"id":9}]},"data":[{"id":7}],"next":null,"ok":true}`, one,
		},
		"null as data":                    {`{"data":null,"total":0}`, leads{}},
		"a byte order mark":               {"\ufeff" + `[{"id":7}]`, one},
		"an id with a fraction of zeros":  {`[{"id":7.0,"brandId":"3.00"}]`, leads{{ID: 7, BrandID: 3}}},
		"empty dates":                     {`[{"id":7,"ftdDate":"","updatedOn":""}]`, one},
		"no leads beside a list of texts": {`{"columns":["id"],"data":[]}`, leads{}},
		"names in Pascal case": {
			`[{"Id":7,"CRMId":"a","FtdDate":"2022-12-21T09:30:12","SUBCAMPAIGN":"s"}]`,
			leads{{ID: 7, CRMID: "a", FTDDate: time.Date(2022, 12, 21, 9, 30, 12, 0, time.UTC), SubCampaign: "s"}},
		},
		"ids as text": {`[{"id":"7","brandId":"17"}]`, leads{{ID: 7, BrandID: 17}}},
		"null is the zero value": {
			`[{"id":7,"email":null,"status":null,"crmId":null,"brandId":null,"createdOn":null,"ftdDate":null,
			"clickId":null,"clientType":null}]`, one,
		},
		"numbers and booleans as text": {
			`[{"id":7,"clickId":900719925474099312345,"crmId":true,"sub2":1.50,"status":0,"keyword":-1e5,
			"clientType":false}]`,
			leads{{
				ID: 7, ClickID: "900719925474099312345", CRMID: "true", Sub2: "1.50", Status: "0", Keyword: "-1e5",
				ClientType: "false",
			}},
		},
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
		"no fields of the lead before": {`[` + wholeLeadJSON + `,{"id":8}]`, leads{storedLead(), {ID: 8}}},
		"white space":                  {" \r\n[ {\"id\" : 7} ]\t", one},
		"another client type":          {`[{"id":7,"clientType":"Whale"}]`, leads{{ID: 7, ClientType: "Whale"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := newClient(t, answer(http.StatusOK, "text/html", test.body))
			page, err := client.SearchLeadsPage(t.Context(), clixnow.SearchLeadsRequest{})
			require.NoError(t, err)
			assert.Equal(t, &clixnow.LeadPage{Leads: test.want}, page)
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
			body := fmt.Sprintf(`[{"id":7,"createdOn":%q,"updatedOn":%[1]q,"ftdDate":%[1]q}]`, text)
			client := newClient(t, answer(http.StatusOK, "", body))
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
		"empty":                        {"", ""},
		"a space":                      {" ", ""},
		"null":                         {"null", "null"},
		"an empty object":              {"{}", "array"},
		"an object without arrays":     {`{"total":0}`, "array"},
		"an error with status 200":     {`{"message":"No"}`, "array"},
		"null in another member":       {`{"others":null}`, "array"},
		"a list of other things":       {`{"items":[1,2]}`, "array"},
		"an object of one lead":        {`{"id":7}`, "array"},
		"an object in it":              {`{"data":{"items":[{"id":7}]}}`, "array"},
		"two arrays of objects":        {`{"a":[{"id":7}],"b":[{"id":8}]}`, "two"},
		"a number":                     {"7", "number"},
		"a string":                     {`"[]"`, "string"},
		"an array of numbers":          {`[7]`, "[0]"},
		"an array with null":           {`[{"id":7},null]`, "[1]"},
		"an array of arrays":           {`[[{"id":7}]]`, "[0]"},
		"truncated":                    {`[{"id":7},{"id":8`, "malformed"},
		"without its last byte":        {`[{"id":7}`, "malformed"},
		"trailing data":                {`[{"id":7}][]`, "malformed"},
		"trailing comma":               {`[{"id":7},]`, "malformed"},
		"HTML":                         {"<html>", "malformed"},
		"email in an array":            {`[{"id":7,"email":["x"]}]`, "[0].email"},
		"email in an object":           {`{"items":[{"id":7},{"id":8,"EMAIL":{}}]}`, "[1].email"},
		"id of letters":                {`[{"id":"x"}]`, "[0].id"},
		"id with a fraction":           {`[{"id":7.5}]`, "[0].id"},
		"brand id of letters":          {`[{"id":7,"brandId":"x"}]`, "[0].brandId"},
		"brand id true":                {`[{"id":7,"brandId":true}]`, "[0].brandId"},
		"nested too deep":              {`[{"id":7,"x":` + deep + `}]`, "nested"},
		"nested too deep beside leads": {`{"items":[{"id":7}],"x":` + deep + `}`, "nested"},
		"nested without end":           {strings.Repeat("[", 200_000), ""},
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
					want := sentinel == clixnow.ErrInvalidResponse //nolint:errorlint // one of the sentinels themselves
					assert.Equal(t, want, errors.Is(err, sentinel), "%v", sentinel)
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
			assert.EqualValues(t, 3, requests.Load(), "no retries")
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
			"brandName":"Example Brand","createdOn":"2022-12-19T11:01:58.302Z",
			"updatedOn":"2022-12-20T08:15:00.117Z","ftdDate":"2022-12-21T09:30:12.000Z","clickId":"20",
			"sub2":"sub2","subCampaign":"subcampaign","keyword":"test","placement":"landing_page",
			"clientType":"Depositor"}`,
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
		"an empty object": {`{}`, clixnow.Lead{}, `{"id":0,"email":"","status":""}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := clixnow.Lead{
				Email: "from before",
				Extra: map[string]json.RawMessage{"before": json.RawMessage(`"x"`)},
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
		"a text that is not UTF-8": {Status: "\xff"},
		"a date in the year 10000": {CreatedOn: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"Extra that is not JSON":   {Extra: map[string]json.RawMessage{"x": json.RawMessage(`{`)}},
		"Extra that is not UTF-8":  {Extra: map[string]json.RawMessage{"x": json.RawMessage("\"\xff\"")}},
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
		"found":                {123456, `[` + wholeLeadJSON + `]`, true},
		"in an object":         {123456, `{"data":[` + wholeLeadJSON + `]}`, true},
		"among others":         {123456, `[{"id":1},` + wholeLeadJSON + `,{"id":2}]`, true},
		"no lead":              {123456, `[]`, false},
		"no lead in an object": {123456, `{"data":[]}`, false},
		"another lead":         {123456, `[{"id":123457}]`, false},
		"a lead without id":    {123456, `[{"email":"a@example.com"}]`, false},
		"a negative id":        {123456, `[{"id":-123456}]`, false},
		"a server that ignores the filter": {
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

func TestSearchWithoutLeads(t *testing.T) {
	t.Parallel()
	for name, handle := range map[string]http.HandlerFunc{
		"an empty array":              answer(http.StatusOK, "application/json", "[]"),
		"an empty array in an object": answer(http.StatusOK, "application/json", `{"items":[]}`),
		"204":                         answer(http.StatusNoContent, "", ""),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int32
			client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				handle(w, r)
			})
			page, err := client.SearchLeadsPage(t.Context(), clixnow.SearchLeadsRequest{})
			require.NoError(t, err)
			assert.NotNil(t, page.Leads, "encoding/json writes [] and not null")
			assert.Equal(t, &clixnow.LeadPage{Leads: []clixnow.Lead{}}, page)
			orders := []clixnow.OrderBy{clixnow.OrderByID, clixnow.OrderByCreatedOn, clixnow.OrderByModifiedOn}
			for _, order := range orders {
				req := clixnow.SearchLeadsRequest{OrderBy: order, Prefetch: 64}
				for lead, err := range client.SearchLeads(t.Context(), req) {
					require.NoError(t, err)
					assert.Fail(t, "yielded", "lead %d", lead.ID)
				}
			}
			_, err = client.GetLead(t.Context(), 7)
			require.ErrorIs(t, err, clixnow.ErrLeadNotFound)
			assert.EqualValues(t, 5, requests.Load())
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
			want := []clixnow.FieldError{
				{Field: "id", Code: clixnow.ProblemOutOfRange, Problem: "must be positive"},
			}
			assert.Equal(t, want, invalid.Fields)
			assert.ErrorIs(t, err, clixnow.ErrInvalidRequest)
			assert.NotErrorIs(t, err, clixnow.ErrLeadNotFound)
		}
	}
}

// A page of fewer than 10 leads, if more were asked for, is the last one.
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

// An error is yielded once and last, also if the loop goes on.
func TestSearchLeadsYieldsOneError(t *testing.T) {
	t.Parallel()
	client := newClient(t, answer(200, "application/json", `[{"id":1},{"id":2},{"id":3}]`))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var ids []int64
	var errs []error
	for lead, err := range client.SearchLeads(ctx, clixnow.SearchLeadsRequest{}) {
		cancel()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		ids = append(ids, lead.ID)
	}
	assert.Equal(t, []int64{1}, ids)
	require.Len(t, errs, 1)
	assert.ErrorIs(t, errs[0], context.Canceled)
}

func TestHasFTD(t *testing.T) {
	t.Parallel()
	assert.False(t, clixnow.Lead{ClientType: clixnow.ClientTypeDepositor, Status: "Deposited"}.HasFTD())
	assert.True(t, clixnow.Lead{ClientType: clixnow.ClientTypeClient, FTDDate: time.Unix(0, 0)}.HasFTD())
}
