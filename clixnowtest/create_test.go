package clixnowtest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

func TestCreate(t *testing.T) {
	t.Parallel()
	clock := newClock("2021-08-08T12:00:00.302999Z")
	server := start(t, clixnowtest.WithClock(clock.now))

	r := create(t, server, allison)
	require.Equal(t, http.StatusOK, r.status, r.body)
	link := server.URL + "/autologin?token=123456.F0nwjq4KVeGAB077iNpjF4GvN_Fqp7UdHsHn152Ufb8"
	assert.Equal(t, "application/json; charset=utf-8", r.header.Get("Content-Type"))
	assert.Equal(t, "Sun, 08 Aug 2021 12:00:00 GMT", r.header.Get("Date"))
	assert.JSONEq(t, `{
		"leadId": 123456,
		"redirectUrl": "`+link+`",
		"subCampaign": "subcampaign",
		"placement": "landing_page",
		"keyword": "test",
		"sub2": "sub2",
		"clickId": "20fn4ngo56n3snf74",
		"crmId": "7123456"
	}`, r.body)

	r = search(t, server, "")
	assert.JSONEq(t, `[{
		"id": 123456,
		"email": "allison.brown@example.com",
		"status": "New",
		"crmId": "7123456",
		"brandId": 17,
		"brandName": "Example Broker",
		"createdOn": "2021-08-08T12:00:00.302Z",
		"updatedOn": "2021-08-08T12:00:00.302Z",
		"clickId": "20fn4ngo56n3snf74",
		"sub2": "sub2",
		"subCampaign": "subcampaign",
		"keyword": "test",
		"placement": "landing_page",
		"clientType": "Client"
	}]`, r.body)
}

func TestCreatedIDsAscend(t *testing.T) {
	t.Parallel()
	server := start(t)
	server.AddLeads(clixnow.Lead{ID: 900000})
	links := make(map[string]bool)
	for i := range int64(3) {
		body := strings.NewReplacer("allison", fmt.Sprint("allison", i), "+41123456789",
			fmt.Sprint("+4112345678", i)).Replace(allison)
		var created struct {
			LeadID      int64  `json:"leadId"`
			RedirectURL string `json:"redirectUrl"`
		}
		require.NoError(t, json.Unmarshal([]byte(create(t, server, body).body), &created))
		assert.Equal(t, 900001+i, created.LeadID)
		links[created.RedirectURL] = true
	}
	assert.Len(t, links, 3)
}

func TestCreateForm(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body string
		accepted   bool
		// field is the one key of errors.
		field string
	}{
		{
			"names of the reference's table",
			strings.NewReplacer(`"password"`, `"Password"`, `"subcampaign":`, `"subCampaign":`).Replace(allison),
			true, "",
		},
		{
			"names in other case",
			strings.NewReplacer(`"email"`, `"EMAIL"`, `"firstName"`, `"FirstName"`).Replace(allison),
			true, "",
		},
		{"unknown fields", allisonWith(`{`, `{"funnel":{"id":[1]},`), true, ""},
		{"null", allisonWith(`"sub2":"sub2"`, `"sub2":null,"acceptPromotions":null`), true, ""},
		{"booleans", allisonWith(`{`, `{"acceptTermsAndConditions":true,"acceptPromotions":false,`), true, ""},
		{"number for text", allisonWith(`"phone":"+41123456789"`, `"phone":41123456789`), false, "Phone"},
		{"object for text", allisonWith(`"keyword":"test"`, `"keyword":{}`), false, "Keyword"},
		{"text for boolean", allisonWith(`{`, `{"acceptPromotions":"true",`), false, "AcceptPromotions"},
		{"other carrier", allisonWith(`"carrier":"Mobile"`, `"carrier":"Swisscom"`), true, ""},
		{"empty", ``, false, "$"},
		{"truncated", allison[:100], false, "$"},
		{"trailing", allison + `}`, false, "$"},
		{"array", `[` + allison + `]`, false, "$"},
		{"text", `"lead"`, false, "$"},
		{"invalid UTF-8", allisonWith("Allison", "Allis\xff"), false, "$"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := start(t)
			r := create(t, server, test.body)
			if test.accepted {
				assert.Equal(t, http.StatusOK, r.status, r.body)
				require.Len(t, server.Leads(), 1)
				assert.Equal(t, "allison.brown@example.com", server.Leads()[0].Email)
				assert.Equal(t, "subcampaign", server.Leads()[0].SubCampaign)
				return
			}
			assert.Equal(t, http.StatusBadRequest, r.status)
			message, fields := problem(t, r.body)
			assert.NotEmpty(t, message)
			assert.Len(t, fields, 1)
			assert.Contains(t, fields, test.field)
			assert.NotContains(t, r.body, "41123456789", "a value may be a secret")
			assert.Empty(t, server.Leads())
		})
	}
}

// problem decodes the body of a refusal.
func problem(t *testing.T, body string) (message string, fields map[string][]string) {
	t.Helper()
	var refusal struct {
		Message string              `json:"message"`
		Errors  map[string][]string `json:"errors"`
	}
	require.NoError(t, json.Unmarshal([]byte(body), &refusal))
	return refusal.Message, refusal.Errors
}

func TestCreateReportsAllFieldsAtOnce(t *testing.T) {
	t.Parallel()
	server := start(t)
	r := create(t, server, `{
		"languageCode": "english",
		"referralUrl": "website.com",
		"ipAddress": "1.1.1",
		"comment": "`+strings.Repeat("x", 1001)+`"
	}`)
	assert.Equal(t, http.StatusBadRequest, r.status)
	assert.JSONEq(t, `{
		"message": "One or more validation errors occurred.",
		"errors": {
			"FirstName": ["The FirstName field is required."],
			"LastName": ["The LastName field is required."],
			"Email": ["The Email field is required."],
			"Phone": ["The Phone field is required."],
			"Password": ["The Password field is required."],
			"CountryCode": ["The CountryCode field is required."],
			"LanguageCode": ["The LanguageCode field must be an alpha-2 code."],
			"ReferralUrl": ["The ReferralUrl field is not a valid http or https URL."],
			"IpAddress": ["The IpAddress field is neither an IPv4 nor an IPv6 address."],
			"Comment": ["The Comment field must have at most 1000 characters."]
		}
	}`, r.body)
	assert.Empty(t, server.Leads())
}

func TestCreateValidation(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text, replacement string
		// field is the one key of errors. "" means that the lead is accepted.
		field string
	}{
		{`"Allison"`, `" "`, "FirstName"},
		{`"Brown"`, `""`, "LastName"},
		{`"+41123456789"`, `"\t"`, "Phone"},
		{`allison.brown@example.com`, `allison.brown`, "Email"},
		{`allison.brown@example.com`, `[email protected]`, "Email"},
		{`allison.brown@example.com`, `Allison <allison.brown@example.com>`, "Email"},
		{`allison.brown@example.com`, `allison.brown@example`, "Email"},
		{`allison.brown@example.com`, `allison@brown@example.com`, "Email"},
		{`allison.brown@example.com`, `first..last@carrier.example`, ""},
		{`allison.brown@example.com`, `allison+1@example.com`, ""},
		{`Password123!`, `Pass12!`, "Password"},
		{`Password123!`, `Password1234`, "Password"},
		{`Password123!`, `Pass123!`, ""},
		{`Password123!`, `pässwörd 1`, ""},
		{`"CH"`, `"CHE"`, "CountryCode"},
		{`"CH"`, `"C1"`, "CountryCode"},
		{`"CH"`, `"ch"`, ""},
		{`"EN"`, `"E"`, "LanguageCode"},
		{`"EN"`, `""`, ""},
		{`https://website.com`, `http://website.com/?a=b`, ""},
		{`https://website.com`, `ftp://website.com`, "ReferralUrl"},
		{`https://website.com`, `https://`, "ReferralUrl"},
		{`https://website.com`, ``, ""},
		{`1.1.1.1`, `2001:db8::1`, ""},
		{`1.1.1.1`, `1.1.1.256`, "IpAddress"},
		{`"test"`, `"test","comment":"` + strings.Repeat("ü", 1000) + `"`, ""},
		{`"test"`, `"test","comment":"` + strings.Repeat("ü", 1001) + `"`, "Comment"},
	}
	for i, test := range tests {
		t.Run(fmt.Sprint(i, test.field), func(t *testing.T) {
			t.Parallel()
			r := create(t, start(t), allisonWith(test.text, test.replacement))
			if test.field == "" {
				assert.Equal(t, http.StatusOK, r.status, r.body)
				return
			}
			assert.Equal(t, http.StatusBadRequest, r.status)
			_, fields := problem(t, r.body)
			assert.Len(t, fields, 1)
			assert.Contains(t, fields, test.field)
		})
	}
}

func TestCreateDuplicates(t *testing.T) {
	t.Parallel()
	const message = "Duplicate lead: already registered."
	var (
		otherEmail = allisonWith("allison.brown@", "a.brown@")
		otherPhone = allisonWith("+41123456789", "+41987654321")
	)
	tests := []struct {
		name, body string
		// errors is the value of errors. "" means that the lead is registered.
		errors string
	}{
		{"same", allison, `{"Email":["Email is already registered."],"Phone":["Phone is already registered."]}`},
		{"same email", otherPhone, `{"Email":["Email is already registered."]}`},
		{
			"email in other case",
			strings.Replace(otherPhone, "allison.brown@example.com", "Allison.Brown@EXAMPLE.com", 1),
			`{"Email":["Email is already registered."]}`,
		},
		{"same phone", otherEmail, `{"Phone":["Phone is already registered."]}`},
		{"other email and phone", brunoBody(), ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := start(t)
			require.Equal(t, http.StatusOK, create(t, server, allison).status)
			r := create(t, server, test.body)
			if test.errors == "" {
				assert.Equal(t, http.StatusOK, r.status, r.body)
				return
			}
			assert.Equal(t, http.StatusBadRequest, r.status)
			assert.JSONEq(t, `{"message":"`+message+`","errors":`+test.errors+`}`, r.body)
			assert.Len(t, server.Leads(), 1)
		})
	}

	t.Run("check turned off", func(t *testing.T) {
		t.Parallel()
		server := start(t, clixnowtest.WithoutDuplicateCheck())
		assert.Equal(t, http.StatusOK, create(t, server, allison).status)
		assert.Equal(t, http.StatusOK, create(t, server, allison).status)
		assert.Len(t, server.Leads(), 2)
	})
	t.Run("lead added, changed and deleted", func(t *testing.T) {
		t.Parallel()
		server := start(t)
		server.AddLeads(clixnow.Lead{ID: 1, Email: "Allison.Brown@example.com"})
		assert.Equal(t, http.StatusBadRequest, create(t, server, allison).status)
		require.NoError(t, server.UpdateLead(1, func(l *clixnow.Lead) { l.Email = "" }))
		assert.Equal(t, http.StatusOK, create(t, server, allison).status)
		assert.Equal(t, http.StatusBadRequest, create(t, server, allison).status)

		id := server.Leads()[1].ID
		require.NoError(t, server.UpdateLead(id, func(l *clixnow.Lead) { l.Email = "a***@example.com" }))
		assert.Equal(t, http.StatusBadRequest, create(t, server, allison).status, "the phone is still known")
		require.NoError(t, server.DeleteLead(id))
		assert.Equal(t, http.StatusOK, create(t, server, allison).status)
		assert.Greater(t, server.Leads()[1].ID, id, "an id is not used twice")
	})
}

func TestCountries(t *testing.T) {
	t.Parallel()
	ch := []clixnowtest.Option{clixnowtest.WithCountries("CH")}
	tests := []struct {
		name    string
		options []clixnowtest.Option
		country string
		allowed bool
	}{
		{"no option", nil, "CH", true},
		{"allowed", ch, "CH", true},
		{"allowed, other case of the lead", ch, "ch", true},
		{"allowed, other case of the option", []clixnowtest.Option{clixnowtest.WithCountries("ch")}, "CH", true},
		{"refused", ch, "DE", false},
		{"refused, other case", ch, "de", false},
		{"second of two", []clixnowtest.Option{clixnowtest.WithCountries("DE", "CH")}, "CH", true},
		{
			"two options add up",
			[]clixnowtest.Option{clixnowtest.WithCountries("CH"), clixnowtest.WithCountries("DE")},
			"CH", true,
		},
		{"no country is allowed", []clixnowtest.Option{clixnowtest.WithCountries()}, "CH", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := create(t, start(t, test.options...), allisonWith(`"CH"`, `"`+test.country+`"`))
			if test.allowed {
				assert.Equal(t, http.StatusOK, r.status, r.body)
				return
			}
			assert.Equal(t, http.StatusBadRequest, r.status)
			assert.JSONEq(t, `{"message":"Registration is not allowed for country `+test.country+`"}`, r.body)
		})
	}
}

func TestCapacity(t *testing.T) {
	t.Parallel()
	number := func(i int) string {
		return strings.NewReplacer("allison", fmt.Sprint("allison", i), "+41123456789",
			fmt.Sprint("+4112345678", i)).Replace(allison)
	}
	server := start(t, clixnowtest.WithCapacity(2, "Daily cap reached"))
	server.AddLeads(clixnow.Lead{ID: 1})
	assert.Equal(t, http.StatusOK, create(t, server, number(1)).status, "a lead of AddLeads counts")
	for range 2 {
		r := create(t, server, number(2))
		assert.Equal(t, http.StatusBadRequest, r.status)
		assert.JSONEq(t, `{"message":"Daily cap reached"}`, r.body)
	}
	require.NoError(t, server.DeleteLead(1))
	assert.Equal(t, http.StatusOK, create(t, server, number(2)).status, "a deleted lead makes room")
	assert.Len(t, server.Leads(), 2)

	closed := start(t, clixnowtest.WithCapacity(0, "Closed"))
	assert.JSONEq(t, `{"message":"Closed"}`, create(t, closed, allison).body)
	assert.Panics(t, func() { clixnowtest.WithCapacity(-1, "") })
}

// TestOrderOfRefusals sends leads with several faults. The first fault in the
// order of the checks decides.
func TestOrderOfRefusals(t *testing.T) {
	t.Parallel()
	const (
		invalid   = "One or more validation errors occurred."
		country   = "Registration is not allowed for country DE"
		duplicate = "Duplicate lead: already registered."
		full      = "No hubs available"
	)
	tests := []struct {
		name, body, message string
	}{
		{"all four", allisonWith(`"password":"Password123!"`, `"countryCode":"DE"`), invalid},
		{"country, duplicate and capacity", allisonWith(`"CH"`, `"DE"`), country},
		{"duplicate and capacity", allison, duplicate},
		{
			"capacity", brunoBody(), full,
		},
	}
	server := start(t, clixnowtest.WithCountries("CH"), clixnowtest.WithCapacity(1, full))
	require.Equal(t, http.StatusOK, create(t, server, allison).status)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := create(t, server, test.body)
			assert.Equal(t, http.StatusBadRequest, r.status)
			message, _ := problem(t, r.body)
			assert.Equal(t, test.message, message)
		})
	}
}

func TestFirstID(t *testing.T) {
	t.Parallel()
	server := start(t, clixnowtest.WithFirstID(7))
	assert.Equal(t, int64(7), server.AddLeads(clixnow.Lead{Email: "a@example.com"})[0].ID)
	require.Equal(t, http.StatusOK, create(t, server, allison).status)
	assert.Equal(t, int64(8), server.Leads()[1].ID)

	server = start(t, clixnowtest.WithFirstID(1))
	server.AddLeads(clixnow.Lead{ID: 50})
	require.Equal(t, http.StatusOK, create(t, server, allison).status)
	assert.Equal(t, int64(51), server.Leads()[1].ID, "ids ascend")
	assert.Panics(t, func() { clixnowtest.WithFirstID(0) })
}

func TestCreatesAtOnce(t *testing.T) {
	t.Parallel()
	server := start(t)
	const clients, leads = 8, 20
	var (
		wait    sync.WaitGroup
		mu      sync.Mutex
		created = make(map[int64]bool)
	)
	for range clients {
		client := server.Client()
		t.Cleanup(client.CloseIdleConnections)
		wait.Go(func() {
			for n := range leads {
				resp, err := client.CreateLead(t.Context(), clixnow.CreateLeadRequest{
					FirstName: "Allison", LastName: "Brown", Email: fmt.Sprintf("a%d@example.com", n),
					Phone:    fmt.Sprint("+41", n),
					Password: "Password123!", CountryCode: "CH",
				})
				if err != nil {
					assert.ErrorIs(t, err, clixnow.ErrDuplicateLead)
					continue
				}
				assert.NoError(t, server.UpdateLead(resp.LeadID, func(l *clixnow.Lead) { l.Status = "Seen" }))
				mu.Lock()
				created[resp.LeadID] = true
				mu.Unlock()
				_, err = client.GetLead(t.Context(), resp.LeadID)
				assert.NoError(t, err)
			}
		})
	}
	wait.Wait()
	assert.Len(t, created, leads, "each email is registered once")
	assert.Len(t, server.Leads(), leads)
	assert.Len(t, server.Requests(), clients*leads+leads)
}
