package clixnow_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

const theirLeads = `[
	{"id": 9, "email": "allison@example.com", "clickId": "", "createdOn": "2026-03-01T12:00:00Z"},
	{"id": 2, "email": "ALLISON@EXAMPLE.com", "clickId": 7, "createdOn": "2026-03-01T12:00:01Z"},
	{"id": 3, "email": "a***@example.com", "clickId": "20fn4ngo", "createdOn": "2026-03-01T12:00:02Z"},
	{"id": 4, "email": "bob@example.com", "clickId": "007", "createdOn": "2026-03-01T12:00:03Z"},
	{"id": 5, "email": " allison@example.com ", "clickId": "20FN4NGO", "createdOn": "2026-03-01T12:00:04Z"},
	{"id": 6, "email": "", "clickId": "0", "createdOn": "2026-03-01T12:00:05Z"},
	{"id": 7, "email": "bob@müller.example", "clickId": "{clickid}", "createdOn": "2026-03-01T12:00:06Z"}
]`

func TestFindLeads(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		req    clixnow.FindLeadsRequest
		ids    []int64
		hidden int
	}{
		{"by email", clixnow.FindLeadsRequest{Email: "allison@example.com"}, []int64{2, 5, 9}, 2},
		{
			"by email in another case, with spaces",
			clixnow.FindLeadsRequest{Email: " Allison@Example.com\n"},
			[]int64{2, 5, 9},
			2,
		},
		{"by email in punycode", clixnow.FindLeadsRequest{Email: "bob@xn--mller-kva.example"}, []int64{7}, 2},
		{"by email that is the beginning of another", clixnow.FindLeadsRequest{Email: "bob@example.co"}, nil, 3},
		{"by email, none", clixnow.FindLeadsRequest{Email: "carol@example.com"}, nil, 2},
		{"by click id as integer", clixnow.FindLeadsRequest{ClickID: "7"}, []int64{2, 4}, 3},
		{"by click id as integer with zeros", clixnow.FindLeadsRequest{ClickID: "0007"}, []int64{2, 4}, 3},
		{"by click id as text", clixnow.FindLeadsRequest{ClickID: "20fn4ngo"}, []int64{3}, 4},
		{"by click id that was cut", clixnow.FindLeadsRequest{ClickID: "20fn4n"}, nil, 5},
		{"by click id that is a macro", clixnow.FindLeadsRequest{ClickID: "{clickid}"}, []int64{7}, 2},
		{"by click id zero", clixnow.FindLeadsRequest{ClickID: "0"}, []int64{6}, 2},
		{"by both", clixnow.FindLeadsRequest{Email: "allison@example.com", ClickID: "7"}, []int64{2}, 2},
		{
			"by both, of which one is hidden",
			clixnow.FindLeadsRequest{Email: "allison@example.com", ClickID: "20fn4ngo"},
			nil, 4,
		},
		{"email is only spaces", clixnow.FindLeadsRequest{Email: " ", ClickID: "7"}, []int64{2, 4}, 3},
		{"click id is only spaces", clixnow.FindLeadsRequest{Email: "bob@example.com", ClickID: "\t"}, []int64{4}, 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
				assert.Equal(t, "/api/system/v1/leads/search", r.URL.Path)
				assert.Equal(t, "count=1000&orderBy=CreatedOn", r.URL.RawQuery)
				answer(http.StatusOK, "application/json", theirLeads)(w, r)
			})
			found, err := client.FindLeads(t.Context(), test.req)
			require.NoError(t, err)
			var ids []int64
			for _, lead := range found.Leads {
				ids = append(ids, lead.ID)
			}
			assert.Equal(t, test.ids, ids)
			assert.Equal(t, test.hidden, found.Hidden, "hidden")
			assert.Equal(t, 7, found.Read, "read")
		})
	}
}

// FindLeads reads the period, and no more.
func TestFindLeadsInPeriod(t *testing.T) {
	t.Parallel()
	api := newAPI(clixnowtest.WithPageLimit(10))
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i := range 100 {
		api.AddLeads(clixnow.Lead{
			ID: int64(1000 - i), Email: fmt.Sprintf("lead%d@example.com", i%10),
			CreatedOn: start.Add(time.Duration(i) * time.Minute),
		})
	}
	for _, prefetch := range []int{0, 3, 64} {
		found, err := newClient(t, api.ServeHTTP).FindLeads(t.Context(), clixnow.FindLeadsRequest{
			Email: "lead7@example.com", Prefetch: prefetch,
			CreatedOnFrom: start.Add(20 * time.Minute), CreatedOnTo: start.Add(60 * time.Minute),
		})
		require.NoError(t, err)
		assert.Equal(t, 41, found.Read)
		assert.Zero(t, found.Hidden)
		var ids []int64
		for _, lead := range found.Leads {
			ids = append(ids, lead.ID)
		}
		assert.Equal(t, []int64{943, 953, 963, 973}, ids)
	}
}

// FindLeads keeps the promise of SearchLeads while leads are deleted.
func TestFindLeadsWhileLeadsAreDeleted(t *testing.T) {
	t.Parallel()
	api := newAPI(clixnowtest.WithPageLimit(10))
	for i := range 200 {
		api.AddLeads(clixnow.Lead{Email: fmt.Sprintf("lead%d@example.com", i%2), CreatedOn: time.Unix(int64(i), 0)})
	}
	deletable := api.Leads()
	requests := 0
	client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		if requests++; requests%3 == 0 {
			assert.NoError(t, api.DeleteLead(deletable[requests*2].ID)) // lead0, which is not looked for
		}
		api.ServeHTTP(w, r)
	})
	found, err := client.FindLeads(t.Context(), clixnow.FindLeadsRequest{Email: "lead1@example.com"})
	require.NoError(t, err)
	assert.Len(t, found.Leads, 100)
}

func TestFindLeadsRefusesRequests(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name   string
		req    clixnow.FindLeadsRequest
		opts   []clixnow.Option
		fields []string
		code   clixnow.ProblemCode
	}{
		{"neither", clixnow.FindLeadsRequest{}, nil, []string{"email", "clickId"}, clixnow.ProblemMissing},
		{
			"white space",
			clixnow.FindLeadsRequest{Email: " \n", ClickID: "\u00a0"},
			nil,
			[]string{"email", "clickId"},
			clixnow.ProblemMissing,
		},
		{
			"neither, without validation",
			clixnow.FindLeadsRequest{},
			[]clixnow.Option{clixnow.WithoutValidation()},
			[]string{"email", "clickId"},
			clixnow.ProblemMissing,
		},
		{
			"Prefetch over 64",
			clixnow.FindLeadsRequest{Email: "a@x.ch", Prefetch: 65},
			nil,
			[]string{"prefetch"},
			clixnow.ProblemOutOfRange,
		},
		{
			"negative Prefetch",
			clixnow.FindLeadsRequest{Email: "a@x.ch", Prefetch: -1},
			nil,
			[]string{"prefetch"},
			clixnow.ProblemOutOfRange,
		},
		{
			"To before From",
			clixnow.FindLeadsRequest{Email: "a@x.ch", CreatedOnFrom: noon, CreatedOnTo: noon.Add(-1)},
			nil,
			[]string{"createdOnTo"},
			clixnow.ProblemOutOfRange,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			client := newClient(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") },
				test.opts...)
			found, err := client.FindLeads(t.Context(), test.req)
			assert.Nil(t, found)
			require.ErrorIs(t, err, clixnow.ErrInvalidRequest)
			var invalid *clixnow.ValidationError
			require.ErrorAs(t, err, &invalid)
			var fields []string
			for _, fault := range invalid.Fields {
				fields = append(fields, fault.Field)
				assert.Equal(t, test.code, fault.Code)
			}
			assert.Equal(t, test.fields, fields)
		})
	}
}

func TestFindLeadsErrors(t *testing.T) {
	t.Parallel()
	client := newClient(t, answer(http.StatusForbidden, "", ""))
	found, err := client.FindLeads(t.Context(), clixnow.FindLeadsRequest{Email: "a@x.ch"})
	assert.Nil(t, found)
	require.ErrorIs(t, err, clixnow.ErrForbidden)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = client.FindLeads(ctx, clixnow.FindLeadsRequest{Email: "a@x.ch"})
	require.ErrorIs(t, err, context.Canceled)

	req := clixnow.FindLeadsRequest{Email: "a@x.ch"}
	_, err = client.FindLeads(nil, req) //nolint:staticcheck // SA1012: the test needs a nil context
	require.Error(t, err)

	full := slices.Repeat([]byte(`{"id":1,"createdOn":"2026-03-01T12:00:00Z"},`), 1000)
	same := append(append([]byte("["), full[:len(full)-1]...), ']')
	client = newClient(t, answer(http.StatusOK, "application/json", string(same)))
	_, err = client.FindLeads(t.Context(), clixnow.FindLeadsRequest{Email: "a@x.ch"})
	require.ErrorIs(t, err, clixnow.ErrUnstableResults)
}
