package gateway

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSpellings checks that no tracking is lost because a page writes the names
// of fields in another way.
func TestSpellings(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, body, firstName, clickID, subCampaign string }{
		{"names", `{"firstName":"Zoë","clickId":"1","subCampaign":"autumn"}`, "Zoë", "1", "autumn"},
		{"underscores", `{"first_name":"Zoë","click_id":"1","sub_campaign":"autumn"}`, "Zoë", "1", "autumn"},
		{"hyphens", `{"first-name":"Zoë","click-id":"1","sub-campaign":"autumn"}`, "Zoë", "1", "autumn"},
		{"case", `{"FirstName":"Zoë","CLICKID":"1","subcampaign":"autumn"}`, "Zoë", "1", "autumn"},
		{"all", `{"FIRST_NAME":"Zoë","Click-Id":"1","Sub-Campaign":"autumn"}`, "Zoë", "1", "autumn"},
		{"names come first", `{"FirstName":"x","firstName":"Zoë","click_id":"x","clickId":"1"}`, "Zoë", "1", ""},
		{"even if they are empty", `{"click_id":"x","clickId":""}`, "", "", ""},
		{"landing", `{"Landing":"https://landing.example/?clickid=1&subcampaign=autumn"}`, "", "1", "autumn"},
		{"other fields", `{"first":"x","clickIds":"x","click":"x","click id":"x","":"x","_":"x"}`, "", "", ""},
		{"macro", `{"click_id":"{clickid}"}`, "", "", ""},
	}
	read := func(t *testing.T, contentType, body string) []string {
		t.Helper()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/signups", strings.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		req, err := readSignup(httptest.NewRecorder(), r)
		require.NoError(t, err)
		assert.Empty(t, req.Extra)
		return []string{req.FirstName, req.ClickID, req.SubCampaign}
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			want := []string{test.firstName, test.clickID, test.subCampaign}
			assert.Equal(t, want, read(t, "application/json", test.body))
			var fields map[string]string
			require.NoError(t, json.Unmarshal([]byte(test.body), &fields))
			form := url.Values{}
			for name, value := range fields {
				form.Set(name, value)
			}
			assert.Equal(t, want, read(t, "application/x-www-form-urlencoded", form.Encode()))
		})
	}
}

// TestFieldNames checks that each name belongs to a field.
func TestFieldNames(t *testing.T) {
	t.Parallel()
	values := make(url.Values)
	for _, name := range fieldNames() {
		values.Set(name, "127.0.0.1")
	}
	values.Set("acceptTermsAndConditions", "on")
	values.Set("acceptPromotions", "on")
	req, landing := fromForm(values)
	assert.Equal(t, "127.0.0.1", landing)
	body, err := json.Marshal(req)
	require.NoError(t, err)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(body, &fields))
	for _, name := range fieldNames() {
		if name != "landing" {
			assert.NotEmpty(t, fields[name], name)
		}
	}
	assert.Len(t, fields, len(fieldNames())-1)
}
