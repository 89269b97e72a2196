package clixnowtest_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// five returns leads whose order differs by each date.
func five() []clixnow.Lead {
	return []clixnow.Lead{
		{
			ID: 1, CreatedOn: date("2021-08-05T00:00:00Z"), UpdatedOn: date("2021-08-09T00:00:00Z"),
			FTDDate: date("2021-08-10T12:00:00.5Z"),
		},
		{
			ID: 2, CreatedOn: date("2021-08-04T00:00:00Z"), UpdatedOn: date("2021-08-08T00:00:00Z"),
			FTDDate: date("2021-08-10T12:00:00Z"),
		},
		{ID: 3, CreatedOn: date("2021-08-03T00:00:00Z"), UpdatedOn: date("2021-08-10T00:00:00Z")},
		{ID: 4, CreatedOn: date("2021-08-03T00:00:00Z"), UpdatedOn: date("2021-08-08T00:00:00.001Z")},
		{
			ID: 5, CreatedOn: date("2021-08-01T00:00:00Z"), UpdatedOn: date("2021-08-07T23:59:59.999Z"),
			FTDDate: date("2021-08-10T12:00:00Z"),
		},
	}
}

func TestSearch(t *testing.T) {
	t.Parallel()
	tests := []struct {
		query string
		want  []int64
	}{
		{"", []int64{1, 2, 3, 4, 5}},
		{"orderBy=Id", []int64{1, 2, 3, 4, 5}},
		{"orderBy=CreatedOn", []int64{5, 3, 4, 2, 1}},
		{"orderBy=ModifiedOn", []int64{5, 2, 4, 1, 3}},
		// Leads without a date come first, as NULL does in SQL Server.
		{"orderBy=FtdDate", []int64{3, 4, 2, 5, 1}},
		{"orderBy=FtdFate", []int64{3, 4, 2, 5, 1}},

		{"id=3", []int64{3}},
		{"id=6", []int64{}},
		{"id=0", []int64{}},
		{"id=-3", []int64{}},
		{"id=3&skip=1", []int64{}},
		{"id=3&createdOnFrom=2021-08-04T00:00:00", []int64{}},
		{"id=3&orderBy=CreatedOn&createdOnTo=2021-08-03T00:00:00", []int64{3}},

		{"createdOnFrom=2021-08-03T00:00:00", []int64{1, 2, 3, 4}},
		{"createdOnFrom=2021-08-03T00:00:00.001", []int64{1, 2}},
		{"createdOnTo=2021-08-03T00:00:00", []int64{3, 4, 5}},
		{"createdOnTo=2021-08-02T23:59:59.999", []int64{5}},
		{"createdOnFrom=2021-08-03T00:00:00&createdOnTo=2021-08-04T00:00:00", []int64{2, 3, 4}},
		{"createdOnFrom=2021-08-04T00:00:00&createdOnTo=2021-08-03T00:00:00", []int64{}},
		{"orderBy=CreatedOn&createdOnFrom=2021-08-03T00:00:00&createdOnTo=2021-08-04T00:00:00", []int64{3, 4, 2}},
		{"orderBy=CreatedOn&createdOnFrom=2021-08-04T00:00:00&createdOnTo=2021-08-03T00:00:00", []int64{}},

		{"modifiedOnFrom=2021-08-08T00:00:00", []int64{1, 2, 3, 4}},
		{"modifiedOnFrom=2021-08-08T00:00:00.001", []int64{1, 3, 4}},
		{"modifiedOnTo=2021-08-08T00:00:00", []int64{2, 5}},
		{"orderBy=ModifiedOn&modifiedOnFrom=2021-08-08T00:00:00", []int64{2, 4, 1, 3}},
		{"orderBy=ModifiedOn&modifiedOnFrom=2021-08-08T00:00:00.002", []int64{1, 3}},
		{"orderBy=ModifiedOn&modifiedOnTo=2021-08-08T00:00:00.000", []int64{5, 2}},

		{"ftdDateFrom=2021-08-10T12:00:00", []int64{1, 2, 5}},
		{"ftdDateFrom=2021-08-10T12:00:00.001", []int64{1}},
		{"ftdDateTo=2021-08-10T12:00:00", []int64{2, 5}},
		{"orderBy=FtdDate&ftdDateTo=2021-08-10T12:00:00", []int64{2, 5}},
		{"orderBy=FtdDate&ftdDateFrom=0001-01-01T00:00:00", []int64{2, 5, 1}},
		{"ftdDateFrom=2000-01-01T00:00:00&modifiedOnFrom=2021-08-09T00:00:00", []int64{1}},

		{"createdOnFrom=2021-08-03T00:00:00.000Z", []int64{1, 2, 3, 4}},
		{"createdOnFrom=2021-08-03T02:00:00%2B02:00", []int64{1, 2, 3, 4}},
		{"createdOnFrom=2021-08-03T00%3A00%3A00", []int64{1, 2, 3, 4}},
		{"createdOnFrom=", []int64{1, 2, 3, 4, 5}},

		{"count=2", []int64{1, 2}},
		{"count=2&skip=3", []int64{4, 5}},
		{"count=2&skip=4", []int64{5}},
		{"skip=5", []int64{}},
		{"count=0", []int64{}},
		{"count=1000", []int64{1, 2, 3, 4, 5}},
		{"orderBy=ModifiedOn&skip=1&count=2&modifiedOnFrom=2021-08-08T00:00:00", []int64{4, 1}},

		{"OrderBy=ModifiedOn&COUNT=1&Skip=1&ModifiedOnFrom=2021-08-08T00:00:00", []int64{4}},
		{"email=a@example.com&page=7", []int64{1, 2, 3, 4, 5}},
	}
	for _, big := range []bool{false, true} {
		server := start(t)
		if big {
			// Many leads are added at once. Then all but five are deleted.
			many := make([]clixnow.Lead, 1500)
			for i := range many {
				many[i] = clixnow.Lead{ID: int64(i + 1), CreatedOn: date("2021-08-03T00:00:00Z")}
			}
			server.AddLeads(many...)
			for i := int64(6); i <= 1500; i++ {
				require.NoError(t, server.DeleteLead(i))
			}
		}
		server.AddLeads(five()...)
		for _, test := range tests {
			t.Run(fmt.Sprint(test.query, " big=", big), func(t *testing.T) {
				t.Parallel()
				assert.Equal(t, test.want, searchIDs(t, server, test.query))
			})
		}
	}
}

// TestFilterPrecision searches for one lead of 2021-08-08 12:34:56.789.
func TestFilterPrecision(t *testing.T) {
	t.Parallel()
	tests := []struct {
		precision   time.Duration
		exclusive   bool
		firstFrom   string
		tooLateFrom string
		tooEarlyTo  string
		lastTo      string
	}{
		{
			0, false,
			"2021-08-08T12:34:56.789", "2021-08-08T12:34:56.790",
			"2021-08-08T12:34:56.788", "2021-08-08T12:34:56.789",
		},
		{
			time.Millisecond, false,
			"2021-08-08T12:34:56.7899", "2021-08-08T12:34:56.790",
			"2021-08-08T12:34:56.7889", "2021-08-08T12:34:56.789",
		},
		{
			time.Second, false,
			"2021-08-08T12:34:56.999", "2021-08-08T12:34:57.000",
			"2021-08-08T12:34:55.999", "2021-08-08T12:34:56.000",
		},
		{
			time.Minute, false,
			"2021-08-08T12:34:59.999", "2021-08-08T12:35:00.000",
			"2021-08-08T12:33:59.999", "2021-08-08T12:34:00.000",
		},
		{
			time.Hour, false,
			"2021-08-08T12:59:59.999", "2021-08-08T13:00:00.000",
			"2021-08-08T11:59:59.999", "2021-08-08T12:00:00.000",
		},
		{
			24 * time.Hour, false,
			"2021-08-08T23:59:59.999", "2021-08-09T00:00:00.000",
			"2021-08-07T23:59:59.999", "2021-08-08T00:00:00.000",
		},
		{
			0, true,
			"2021-08-08T12:34:56.788", "2021-08-08T12:34:56.789",
			"2021-08-08T12:34:56.789", "2021-08-08T12:34:56.790",
		},
		{
			time.Minute, true,
			"2021-08-08T12:33:59.999", "2021-08-08T12:34:00.000",
			"2021-08-08T12:34:59.999", "2021-08-08T12:35:00.000",
		},
		{
			24 * time.Hour, true,
			"2021-08-07T23:59:59.999", "2021-08-08T00:00:00.000",
			"2021-08-08T23:59:59.999", "2021-08-09T00:00:00.000",
		},
	}
	when := date("2021-08-08T12:34:56.789Z")
	for _, test := range tests {
		t.Run(fmt.Sprint(test.precision, " exclusive=", test.exclusive), func(t *testing.T) {
			t.Parallel()
			options := []clixnowtest.Option{clixnowtest.WithFilterPrecision(test.precision)}
			if test.exclusive {
				options = append(options, clixnowtest.WithExclusiveBounds())
			}
			server := start(t, options...)
			server.AddLeads(clixnow.Lead{ID: 7, CreatedOn: when, UpdatedOn: when, FTDDate: when})
			for _, name := range []string{"createdOn", "modifiedOn", "ftdDate"} {
				for _, order := range []string{"Id", "CreatedOn", "ModifiedOn", "FtdDate"} {
					find := func(bound, date string) []int64 {
						return searchIDs(t, server, "orderBy="+order+"&"+name+bound+"="+date)
					}
					assert.Equal(t, []int64{7}, find("From", test.firstFrom), name, order)
					assert.Empty(t, find("From", test.tooLateFrom), name, order)
					assert.Empty(t, find("To", test.tooEarlyTo), name, order)
					assert.Equal(t, []int64{7}, find("To", test.lastTo), name, order)
				}
			}
		})
	}
	assert.Panics(t, func() { clixnowtest.WithFilterPrecision(-1) })
}

func TestDateZone(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("UTC+5:45", (5*60+45)*60)
	clock := newClock("2021-08-08T20:00:00.5Z")
	server := start(t, clixnowtest.WithDateZone(zone), clixnowtest.WithClock(clock.now),
		clixnowtest.WithHiddenFields("email", "status"))
	server.AddLeads(
		clixnow.Lead{
			ID: 7, Email: "a@example.com", CreatedOn: date("2021-08-08T12:00:00Z"),
			FTDDate: date("2021-08-08T18:15:00.001Z"),
		},
		clixnow.Lead{ID: 8},
	)
	r := search(t, server, "")
	assert.Equal(t, "Sun, 08 Aug 2021 20:00:00 GMT", r.header.Get("Date"))
	assert.JSONEq(t, `[{
		"id": 7,
		"createdOn": "2021-08-08T17:45:00.000",
		"updatedOn": "2021-08-08T17:45:00.000",
		"ftdDate": "2021-08-09T00:00:00.001"
	}, {
		"id": 8,
		"createdOn": "2021-08-09T01:45:00.500",
		"updatedOn": "2021-08-09T01:45:00.500"
	}]`, r.body)
	assert.Equal(t, []int64{7}, searchIDs(t, server, "createdOnTo=2021-08-08T12:00:00"), "filters compare UTC")
	assert.Equal(t, date("2021-08-08T12:00:00Z"), server.Leads()[0].CreatedOn)
	assert.Panics(t, func() { clixnowtest.WithDateZone(nil) })
}

func TestSearchRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		query  string
		fields []string
	}{
		{"count=1001", []string{"Count"}},
		{"count=-1", []string{"Count"}},
		{"count=ten", []string{"Count"}},
		{"count=1.5", []string{"Count"}},
		{"count=99999999999999999999", []string{"Count"}},
		{"skip=-1", []string{"Skip"}},
		{"skip=x", []string{"Skip"}},
		{"id=x", []string{"Id"}},
		{"orderBy=modifiedOn", []string{"OrderBy"}},
		{"orderBy=id", []string{"OrderBy"}},
		{"orderBy=UpdatedOn", []string{"OrderBy"}},
		{"createdOnFrom=yesterday", []string{"CreatedOnFrom"}},
		{"createdOnTo=2021-13-08T00:00:00", []string{"CreatedOnTo"}},
		{"modifiedOnFrom=1628380800", []string{"ModifiedOnFrom"}},
		{"modifiedOnTo=2021-08-08", []string{"ModifiedOnTo"}},
		{"ftdDateFrom=2021-08-08+00:00:00", []string{"FtdDateFrom"}},
		{"ftdDateTo=2021-02-29T00:00:00", []string{"FtdDateTo"}},
		{"COUNT=1001&orderBy=x&ftdDateTo=x", []string{"Count", "FtdDateTo", "OrderBy"}},
	}
	server := start(t)
	for _, test := range tests {
		t.Run(test.query, func(t *testing.T) {
			t.Parallel()
			r := search(t, server, test.query)
			assert.Equal(t, http.StatusBadRequest, r.status)
			message, fields := problem(t, r.body)
			assert.NotEmpty(t, message)
			assert.ElementsMatch(t, test.fields, slices.Collect(maps.Keys(fields)))
			for _, texts := range fields {
				assert.Len(t, texts, 1)
			}
		})
	}
}

func TestSearchPages(t *testing.T) {
	t.Parallel()
	leads := make([]clixnow.Lead, 1200)
	server := start(t)
	server.AddLeads(leads...)
	assert.Len(t, searchIDs(t, server, ""), 10)
	assert.Len(t, searchIDs(t, server, "count=1000"), 1000)
	assert.Len(t, searchIDs(t, server, "count=1000&skip=1000"), 200)

	capped := start(t, clixnowtest.WithPageLimit(12))
	capped.AddLeads(leads...)
	assert.Len(t, searchIDs(t, capped, ""), 10)
	assert.Len(t, searchIDs(t, capped, "count=1000"), 12)
	assert.Len(t, searchIDs(t, capped, "count=11"), 11)
	assert.Equal(t, http.StatusBadRequest, search(t, capped, "count=1001").status)
	assert.Equal(t, int64(123456+12), searchIDs(t, capped, "count=1000&skip=12")[0])
}

func TestSearchEnvelope(t *testing.T) {
	t.Parallel()
	server := start(t, clixnowtest.WithEnvelope("items"))
	assert.JSONEq(t, `{"items":[]}`, search(t, server, "").body)
	server.AddLeads(clixnow.Lead{
		ID: 7, Email: "a@example.com", Status: "New",
		CreatedOn: date("2022-12-19T11:01:58.302Z"),
	})
	assert.JSONEq(t, `{"items":[{"id":7,"email":"a@example.com","status":"New",
		"createdOn":"2022-12-19T11:01:58.302Z","updatedOn":"2022-12-19T11:01:58.302Z"}]}`, search(t, server, "").body)
	assert.Equal(t, "[]", search(t, start(t), "").body)
	assert.Equal(t, http.StatusBadRequest, search(t, server, "count=-1").status)
}

func TestHiddenFields(t *testing.T) {
	t.Parallel()
	server := start(t, clixnowtest.WithHiddenFields("email", "FTDDATE"),
		clixnowtest.WithHiddenFields("score", "updatedOn"))
	server.AddLeads(clixnow.Lead{
		ID: 7, Email: "a@example.com", Status: "New", CreatedOn: date("2022-12-19T11:01:58.302Z"),
		FTDDate: date("2022-12-20T00:00:00Z"),
		Extra:   map[string]jsonValue{"score": jsonValue(`5`), "tier": jsonValue(`"A"`)},
	})
	want := `[{"id":7,"status":"New","createdOn":"2022-12-19T11:01:58.302Z","tier":"A"}]`
	assert.JSONEq(t, want, search(t, server, "").body)
	assert.JSONEq(t, want, search(t, server, "ftdDateFrom=2022-12-20T00:00:00&orderBy=FtdDate").body,
		"filters still use the field")
	assert.Equal(t, "[]", search(t, server, "ftdDateFrom=2022-12-21T00:00:00").body)
}

func TestSearchDelay(t *testing.T) {
	t.Parallel()
	clock := newClock("2021-08-08T12:00:00Z")
	server := start(t, clixnowtest.WithClock(clock.now),
		clixnowtest.WithSearchDelay(func(l clixnow.Lead) time.Duration {
			// The keyword of a change is its delay.
			seconds, err := strconv.Atoi(l.Keyword)
			assert.NoError(t, err)
			return time.Duration(seconds) * time.Second
		}))
	status := func() string {
		body := search(t, server, "id=7").body
		for _, status := range []string{"One", "Two", "Three"} {
			if slices.Contains(searchIDs(t, server, "modifiedOnFrom=2021-08-08T12:00:00"), 7) &&
				strings.Contains(body, status) {
				return status
			}
		}
		return body
	}
	change := func(status, delay string) {
		require.NoError(t, server.UpdateLead(7, func(l *clixnow.Lead) { l.Status, l.Keyword = status, delay }))
	}

	server.AddLeads(clixnow.Lead{ID: 7, Status: "One", Keyword: "10"})
	assert.Equal(t, "[]", status(), "a new lead does not show")
	assert.Equal(t, "One", server.Leads()[0].Status, "the server has the lead")
	clock.set("2021-08-08T12:00:09.999Z")
	assert.Equal(t, "[]", status())
	clock.set("2021-08-08T12:00:10Z")
	assert.Equal(t, "One", status())

	change("Two", "20")
	clock.set("2021-08-08T12:00:29.999Z")
	assert.Equal(t, "One", status(), "the old state shows")
	// This change shows at 34.999.
	change("Three", "5")
	clock.set("2021-08-08T12:00:30Z")
	assert.Equal(t, "Two", status())
	clock.set("2021-08-08T12:00:34.999Z")
	assert.Equal(t, "Three", status())

	change("One", "20")
	change("Two", "10")
	clock.set("2021-08-08T12:00:45Z")
	assert.Equal(t, "Two", status())
	clock.set("2021-08-08T12:01:00Z")
	assert.Equal(t, "Two", status(), "the older change does not show later")

	change("One", "20")
	change("Three", "0")
	assert.Equal(t, "Three", status(), "the change shows at once")
	clock.set("2021-08-08T12:02:00Z")
	assert.Equal(t, "Three", status())

	change("One", "20")
	clock.set("2021-08-08T12:03:00Z")
	// The change to One has had no search.
	change("Two", "0")
	assert.Equal(t, "Two", status())

	server.AddLeads(clixnow.Lead{ID: 7, Status: "One", Keyword: "20"})
	clock.set("2021-08-08T12:04:00Z")
	// The delay of this change is over already.
	server.AddLeads(clixnow.Lead{ID: 7, Status: "Three", Keyword: "10", UpdatedOn: date("2021-08-08T12:03:30Z")})
	assert.Equal(t, "Three", status())

	change("One", "20")
	require.NoError(t, server.DeleteLead(7))
	assert.Equal(t, "[]", status(), "a deletion shows at once")
	clock.set("2021-08-08T12:05:00Z")
	assert.Equal(t, "[]", status())
}

func TestSearchDelayOfCreate(t *testing.T) {
	t.Parallel()
	clock := newClock("2021-08-08T12:00:00Z")
	server := start(t, clixnowtest.WithClock(clock.now),
		clixnowtest.WithSearchDelay(func(clixnow.Lead) time.Duration { return time.Minute }))
	require.Equal(t, http.StatusOK, create(t, server, allison).status)
	assert.Equal(t, http.StatusBadRequest, create(t, server, allison).status, "a pending lead is a duplicate")
	assert.Equal(t, "[]", search(t, server, "id=123456").body)
	clock.set("2021-08-08T12:01:00Z")
	assert.Equal(t, []int64{123456}, searchIDs(t, server, "id=123456"))

	server.AddLeads(clixnow.Lead{ID: 1, UpdatedOn: date("2021-08-08T12:00:00Z")},
		clixnow.Lead{ID: 2, UpdatedOn: date("2021-08-08T12:00:00.001Z")})
	assert.Equal(t, []int64{1, 123456}, searchIDs(t, server, ""), "the delay starts at UpdatedOn")
}

func TestSearchDelayOfMany(t *testing.T) {
	t.Parallel()
	clock := newClock("2021-08-08T12:00:00Z")
	server := start(t, clixnowtest.WithClock(clock.now),
		clixnowtest.WithSearchDelay(func(l clixnow.Lead) time.Duration {
			if l.Status == "Late" {
				return time.Minute
			}
			return 0
		}))
	leads := make([]clixnow.Lead, 1999)
	leads[700].Status = "Late"
	server.AddLeads(leads...)
	assert.Len(t, searchIDs(t, server, "skip=1000&count=1000"), 998)
	clock.set("2021-08-08T12:01:00Z")
	assert.Len(t, searchIDs(t, server, "skip=1000&count=1000"), 999)
}

func BenchmarkSearchLastPage(b *testing.B) {
	server := clixnowtest.NewHandler()
	server.AddLeads(make([]clixnow.Lead, 200_000)...)
	for _, query := range []string{
		"orderBy=ModifiedOn&count=1000&skip=199000",
		"orderBy=ModifiedOn&count=1000&modifiedOnFrom=" +
			url.QueryEscape(server.Leads()[199_000].UpdatedOn.Format(time.RFC3339Nano)),
	} {
		b.Run(query, func(b *testing.B) {
			for b.Loop() {
				_ = serveSearch(server, query)
			}
		})
	}
}
