package clixnow_test

import (
	"io"
	"math"
	"net/http"
	"net/url"
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
		"only the order": {request{}, "orderBy=Id"},
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
			"id=123456&orderBy=ModifiedOn&count=50&skip=100" +
				"&createdOnFrom=2021-08-08T23:59:59.001&createdOnTo=2021-08-08T23:59:59.002" +
				"&modifiedOnFrom=2021-08-08T23:59:59.003&modifiedOnTo=2021-08-08T23:59:59.004" +
				"&ftdDateFrom=2021-08-08T23:59:59.005&ftdDateTo=2021-08-08T23:59:59.006" +
				"&brandId=3&brandId=4&q=a+b%26c&empty=",
		},
		"order by creation":            {request{OrderBy: clixnow.OrderByCreatedOn}, "orderBy=CreatedOn"},
		"order by deposit":             {request{OrderBy: clixnow.OrderByFTDDate}, "orderBy=FtdDate"},
		"order in the misprinted form": {request{OrderBy: clixnow.OrderByFTDFate}, "orderBy=FtdFate"},
		"order by id":                  {request{OrderBy: clixnow.OrderByID}, "orderBy=Id"},
		"From is rounded down": {
			request{ModifiedOnFrom: at(1_999_999)},
			"orderBy=Id&modifiedOnFrom=2021-08-08T23:59:59.001",
		},
		"To is rounded up": {
			request{ModifiedOnTo: at(1_000_001)},
			"orderBy=Id&modifiedOnTo=2021-08-08T23:59:59.002",
		},
		"From is rounded down to the second": {
			request{FTDDateFrom: at(999_999)},
			"orderBy=Id&ftdDateFrom=2021-08-08T23:59:59",
		},
		"To is rounded up to the next day": {
			request{FTDDateTo: at(999_000_001)},
			"orderBy=Id&ftdDateTo=2021-08-09T00:00:00",
		},
		"whole milliseconds are kept": {
			request{CreatedOnFrom: at(120e6), CreatedOnTo: at(120e6)},
			"orderBy=Id&createdOnFrom=2021-08-08T23:59:59.120&createdOnTo=2021-08-08T23:59:59.120",
		},
		"in UTC": {
			request{CreatedOnFrom: time.Date(2021, 1, 1, 0, 30, 0, 0, zurich)},
			"orderBy=Id&createdOnFrom=2020-12-31T23:30:00",
		},
		"the last instant is not rounded up": {
			request{CreatedOnTo: time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC)},
			"orderBy=Id&createdOnTo=9999-12-31T23:59:59.999",
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

// aFault is a fault without its text.
type aFault struct {
	field string
	code  clixnow.ProblemCode
}

func TestSearchLeadsRequestValidate(t *testing.T) {
	t.Parallel()
	type request = clixnow.SearchLeadsRequest
	type faults = []aFault
	const (
		reserved   = clixnow.ProblemReserved
		outOfRange = clixnow.ProblemOutOfRange
		unknown    = clixnow.ProblemUnknownValue
	)
	only := func(field string) faults { return faults{{field, outOfRange}} }
	noon := time.Date(2021, 8, 8, 12, 0, 0, 0, time.UTC)
	var (
		early, late  = noon, noon.Add(1)
		zurich       = time.FixedZone("CET", 3600)
		year0        = time.Date(0, 12, 31, 23, 59, 59, 0, time.UTC)
		year1        = time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC)
		year9999     = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
		year10000    = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
		year9999Zone = time.Date(10000, 1, 1, 0, 30, 0, 0, zurich)
		year0Zone    = time.Date(1, 1, 1, 0, 30, 0, 0, zurich)
	)
	for name, test := range map[string]struct {
		req  request
		want faults
		// lax reports that WithoutValidation lets the server check it.
		lax bool
	}{
		"zero":                    {request{}, nil, true},
		"unknown order":           {request{OrderBy: "Email"}, faults{{"orderBy", unknown}}, true},
		"order in lower case":     {request{OrderBy: "id"}, faults{{"orderBy", unknown}}, true},
		"order with a space":      {request{OrderBy: "Id "}, faults{{"orderBy", unknown}}, true},
		"count 1":                 {request{Count: 1}, nil, true},
		"count 1000":              {request{Count: clixnow.MaxPageSize}, nil, true},
		"count 1001":              {request{Count: 1001}, only("count"), true},
		"largest count":           {request{Count: math.MaxInt}, only("count"), true},
		"negative count":          {request{Count: -1}, only("count"), false},
		"negative skip":           {request{Skip: -1}, only("skip"), false},
		"smallest skip":           {request{Skip: math.MinInt}, only("skip"), false},
		"far skip":                {request{Skip: 1 << 30}, nil, true},
		"skip one beyond":         {request{Skip: 1<<30 + 1}, only("skip"), false},
		"largest skip":            {request{Skip: math.MaxInt}, only("skip"), false},
		"largest skip but ten":    {request{Skip: math.MaxInt - 10}, only("skip"), false},
		"negative id":             {request{ID: -1}, only("id"), false},
		"largest id":              {request{ID: math.MaxInt64}, nil, true},
		"negative limit":          {request{Limit: -1}, only("limit"), false},
		"limit above count":       {request{Limit: 5000}, nil, true},
		"largest limit":           {request{Limit: math.MaxInt, Prefetch: 3}, nil, true},
		"negative prefetch":       {request{Prefetch: -1}, only("prefetch"), false},
		"prefetch 64":             {request{Prefetch: 64}, nil, true},
		"prefetch 65":             {request{Prefetch: 65}, only("prefetch"), false},
		"prefetch 1000":           {request{Prefetch: 1000}, only("prefetch"), false},
		"created: To before From": {request{CreatedOnFrom: late, CreatedOnTo: early}, only("createdOnTo"), true},
		"modified: To before From": {
			request{ModifiedOnFrom: late, ModifiedOnTo: early}, only("modifiedOnTo"), true,
		},
		"deposit: To before From": {request{FTDDateFrom: late, FTDDateTo: early}, only("ftdDateTo"), true},
		"one instant": {
			request{
				CreatedOnFrom: noon, CreatedOnTo: noon, ModifiedOnFrom: noon, ModifiedOnTo: noon,
				FTDDateFrom: noon, FTDDateTo: noon,
			}, nil, true,
		},
		"one instant in two zones":     {request{CreatedOnFrom: noon, CreatedOnTo: noon.In(zurich)}, nil, true},
		"only From":                    {request{CreatedOnFrom: late}, nil, true},
		"only To":                      {request{CreatedOnTo: early}, nil, true},
		"From and To of other dates":   {request{CreatedOnFrom: late, ModifiedOnTo: early}, nil, true},
		"year 1":                       {request{CreatedOnFrom: year1}, nil, true},
		"year 0":                       {request{CreatedOnFrom: year0}, only("createdOnFrom"), false},
		"year 0 in UTC":                {request{CreatedOnFrom: year0Zone}, only("createdOnFrom"), false},
		"year 9999":                    {request{FTDDateTo: year9999, ModifiedOnTo: year9999Zone}, nil, true},
		"year 10000":                   {request{FTDDateTo: year10000}, only("ftdDateTo"), false},
		"Extra":                        {request{Extra: url.Values{"brandId": {"3"}, "limit": {"4"}}}, nil, true},
		"count in Extra":               {request{Extra: url.Values{"count": nil}}, faults{{"count", reserved}}, false},
		"another case in Extra":        {request{Extra: url.Values{"SKIP": nil}}, faults{{"SKIP", reserved}}, false},
		"every parameter but the last": {request{Extra: url.Values{"modifiedOnFro": {"x"}}}, nil, true},
		"three in Extra": {
			request{Extra: url.Values{"orderBY": {"x"}, "ftdDATEfrom": {"x"}, "Id": {"x"}}},
			faults{{"Id", reserved}, {"ftdDATEfrom", reserved}, {"orderBY", reserved}},
			false,
		},
		"everything at once": {
			request{
				OrderBy: "x", Count: 1001, ID: -1, Skip: -1, Limit: -1, Prefetch: -1, CreatedOnFrom: late,
				CreatedOnTo: early, FTDDateFrom: year10000, FTDDateTo: year0, Extra: url.Values{"skip": nil},
			},
			faults{
				{"orderBy", unknown},
				{"count", outOfRange},
				{"createdOnTo", outOfRange},
				{"ftdDateTo", outOfRange},
				{"id", outOfRange},
				{"skip", outOfRange},
				{"limit", outOfRange},
				{"prefetch", outOfRange},
				{"ftdDateFrom", outOfRange},
				{"ftdDateTo", outOfRange},
				{"skip", reserved},
			},
			false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int32
			count := func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				assert.NotContains(t, r.URL.RawQuery, "=-", "a negative number")
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
				var got faults
				for _, fault := range invalid.Fields {
					got = append(got, aFault{fault.Field, fault.Code})
					assert.NotEmpty(t, fault.Problem)
				}
				assert.Equal(t, test.want, got)
				assert.Equal(t, test.req.Validate(), err)
				assert.ErrorIs(t, err, clixnow.ErrInvalidRequest)
				assert.Zero(t, requests.Load())
			}
			if test.lax {
				require.NoError(t, search(lax))
			} else {
				sent := requests.Load()
				require.ErrorIs(t, search(lax), clixnow.ErrInvalidRequest)
				assert.Equal(t, sent, requests.Load())
			}
		})
	}
}

func TestSearchLeadsRequestProblems(t *testing.T) {
	t.Parallel()
	noon := time.Date(2021, 8, 8, 12, 0, 0, 0, time.UTC)
	err := clixnow.SearchLeadsRequest{
		OrderBy: "x", Count: 1001, ID: -1, Skip: math.MaxInt, Prefetch: 65, CreatedOnFrom: noon.Add(1),
		CreatedOnTo: noon, FTDDateFrom: noon.AddDate(10_000, 0, 0), Extra: url.Values{"Skip": nil},
	}.Validate()
	assert.EqualError(t, err, "clixnow: invalid request: "+
		"orderBy: must be Id, CreatedOn, ModifiedOn, FtdDate or FtdFate; "+
		"count: must be at most 1000; "+
		"createdOnTo: must not be before createdOnFrom; "+
		"id: must not be negative; "+
		"skip: must be at most 1073741824; "+
		"prefetch: must be at most 64; "+
		"ftdDateFrom: must be in the years 1 to 9999; "+
		"Skip: is a field of the request and must not be in Extra")
}

func TestSearchWithoutValidation(t *testing.T) {
	t.Parallel()
	query := searchQuery(t, clixnow.SearchLeadsRequest{OrderBy: "Email", Count: 5000}, clixnow.WithoutValidation())
	assert.Equal(t, url.Values{"orderBy": {"Email"}, "count": {"5000"}}, query)
}

// The request that follows the last allowed skip is refused. It is not sent
// with a skip that has overflowed.
func TestSearchLeadsPageNextOfLastSkip(t *testing.T) {
	t.Parallel()
	var skips []string
	client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		skips = append(skips, r.URL.Query().Get("skip"))
		_, _ = io.WriteString(w, `[{"id":1},{"id":2}]`)
	})
	page, err := client.SearchLeadsPage(t.Context(), clixnow.SearchLeadsRequest{Skip: 1 << 30, Count: 2})
	require.NoError(t, err)
	require.NotNil(t, page.Next)
	_, err = client.SearchLeadsPage(t.Context(), *page.Next)
	require.ErrorIs(t, err, clixnow.ErrInvalidRequest)
	assert.Equal(t, []string{"1073741824"}, skips)
}
