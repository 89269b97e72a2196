package clixnow_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
)

// wholeLead has every field set.
func wholeLead() clixnow.CreateLeadRequest {
	req := vendorsLead()
	req.AcceptTermsAndConditions, req.AcceptPromotions = true, true
	req.IPAddress = netip.MustParseAddr("1.1.1.1")
	req.Comment = "Call after six"
	req.Extra = map[string]any{"bonusCode": "WELCOME", "age": 42, "consents": []string{"email"}, "nothing": nil}
	return req
}

const wholeBody = `{
	"firstName":"Allison", "lastName":"Brown", "email":"allison.brown@example.com", "phone":"+41123456789",
	"password":"Password123!", "countryCode":"CH", "languageCode":"EN", "acceptTermsAndConditions":true,
	"acceptPromotions":true, "referralUrl":"https://website.com", "subCampaign":"subcampaign",
	"placement":"landing_page", "keyword":"test", "sub2":"sub2", "clickId":"20fn4ngo56n3snf74",
	"deviceType":"Mobile", "deviceName":"iPhone16", "osName":"iOS", "browser":"Safari Mobile",
	"carrier":"Mobile", "ipAddress":"1.1.1.1", "comment":"Call after six",
	"age":42, "bonusCode":"WELCOME", "consents":["email"], "nothing":null}`

// mandatoryLead has only the mandatory fields.
func mandatoryLead() clixnow.CreateLeadRequest {
	return clixnow.CreateLeadRequest{
		FirstName: "Allison", LastName: "Brown", Email: "allison.brown@example.com", Phone: "+41123456789",
		Password: "Password123!", CountryCode: "CH",
	}
}

func with(change func(*clixnow.CreateLeadRequest)) clixnow.CreateLeadRequest {
	req := mandatoryLead()
	change(&req)
	return req
}

// sentBody creates a lead and returns the body that arrived.
func sentBody(t *testing.T, req clixnow.CreateLeadRequest, opts ...clixnow.Option) string {
	t.Helper()
	bodies := make(chan string, 1)
	client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies <- string(body)
		_, _ = io.WriteString(w, `{"leadId":123456}`)
	}, opts...)
	_, err := client.CreateLead(t.Context(), req)
	require.NoError(t, err)
	return <-bodies
}

func TestCreateLeadBody(t *testing.T) {
	t.Parallel()
	const mandatory = `"firstName":"Allison","lastName":"Brown","email":"allison.brown@example.com",` +
		`"phone":"+41123456789","password":"Password123!","countryCode":"CH"`
	address := func(text string) clixnow.CreateLeadRequest {
		return with(func(r *clixnow.CreateLeadRequest) { r.IPAddress = netip.MustParseAddr(text) })
	}
	for name, test := range map[string]struct {
		req  clixnow.CreateLeadRequest
		want string
	}{
		"the vendor's example": {
			vendorsLead(),
			`{"firstName":"Allison","lastName":"Brown","email":"allison.brown@example.com","phone":"+41123456789",
				"countryCode":"CH","referralUrl":"https://website.com","subCampaign":"subcampaign","keyword":"test",
				"placement":"landing_page","clickId":"20fn4ngo56n3snf74","languageCode":"EN",
				"password":"Password123!","sub2":"sub2","deviceType":"Mobile","deviceName":"iPhone16","osName":"iOS",
				"browser":"Safari Mobile","carrier":"Mobile"}`,
		},
		"every field":            {wholeLead(), wholeBody},
		"empty options left out": {mandatoryLead(), `{` + mandatory + `}`},
		"empty Extra left out": {
			with(func(r *clixnow.CreateLeadRequest) { r.Extra = map[string]any{} }),
			`{` + mandatory + `}`,
		},
		"carrier of another kind": {
			with(func(r *clixnow.CreateLeadRequest) { r.Carrier = "Swisscom" }),
			`{` + mandatory + `,"carrier":"Swisscom"}`,
		},
		"Wi-Fi": {
			with(func(r *clixnow.CreateLeadRequest) { r.Carrier = clixnow.CarrierWiFi }),
			`{` + mandatory + `,"carrier":"WiFi"}`,
		},
		"IPv6":                     {address("2001:db8::1"), `{` + mandatory + `,"ipAddress":"2001:db8::1"}`},
		"IPv4 in IPv6 is unmapped": {address("::ffff:1.2.3.4"), `{` + mandatory + `,"ipAddress":"1.2.3.4"}`},
		"IPv4 in IPv6 with a zone": {address("::ffff:1.2.3.4%eth0"), `{` + mandatory + `,"ipAddress":"1.2.3.4"}`},
		"a zone is left out":       {address("fe80::1%eth0"), `{` + mandatory + `,"ipAddress":"fe80::1"}`},
		"the unspecified address":  {address("0.0.0.0"), `{` + mandatory + `,"ipAddress":"0.0.0.0"}`},
		"spaces and case are kept": {with(func(r *clixnow.CreateLeadRequest) {
			r.Keyword, r.ClickID = " Test ", "\tA\n"
		}), `{` + mandatory + `,"keyword":" Test ","clickId":"\tA\n"}`},
		"any Unicode text is kept": {
			with(func(r *clixnow.CreateLeadRequest) { r.Comment = "<Zoë & 😀> \u2028\x00\"\\" }),
			`{` + mandatory + `,"comment":"<Zoë & 😀> \u2028\u0000\"\\"}`,
		},
		"Extra with a number's text": {with(func(r *clixnow.CreateLeadRequest) {
			r.Extra = map[string]any{
				"n":   json.Number("12345678901234567890.10"),
				"raw": json.RawMessage(` {"a" : [1.0]} `),
			}
		}), `{` + mandatory + `,"n":12345678901234567890.10,"raw":{"a":[1.0]}}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := sentBody(t, test.req)
			assert.JSONEq(t, test.want, body)
			// JSONEq reads numbers as floats. Of two members of one name it
			// reads the last.
			assert.Equal(t, members(t, test.want), members(t, body))
		})
	}
}

// members returns the members of an object, as written.
func members(t *testing.T, object string) map[string]string {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(object))
	_, err := decoder.Token()
	require.NoError(t, err)
	found := make(map[string]string)
	for decoder.More() {
		name, err := decoder.Token()
		require.NoError(t, err)
		require.NotContains(t, found, name, "twice")
		var value json.RawMessage
		require.NoError(t, decoder.Decode(&value))
		var plain any
		require.NoError(t, json.Unmarshal(value, &plain))
		if _, isNumber := plain.(float64); isNumber {
			plain = string(value)
		}
		found[name.(string)] = fmt.Sprint(plain)
	}
	return found
}

func TestCreateLeadWithoutValidation(t *testing.T) {
	t.Parallel()
	for _, email := range []string{"", " not an address "} {
		body := sentBody(t, clixnow.CreateLeadRequest{Email: email, Comment: strings.Repeat("x", 1001)},
			clixnow.WithoutValidation())
		assert.JSONEq(t,
			`{"firstName":"","lastName":"","email":"`+email+`","phone":"","password":"","countryCode":"",
			"comment":"`+strings.Repeat("x", 1001)+`"}`, body)
	}
}

// faultsOf returns the fields and codes of a *ValidationError.
func faultsOf(t *testing.T, err error) []string {
	t.Helper()
	var invalid *clixnow.ValidationError
	require.ErrorAs(t, err, &invalid)
	return asTexts(invalid.Fields)
}

func asTexts(faults []clixnow.FieldError) (texts []string) {
	for _, fault := range faults {
		texts = append(texts, fault.Field+" "+string(fault.Code))
	}
	return texts
}

func TestCreateLeadNilContext(t *testing.T) {
	t.Parallel()
	client := newClient(t, answer(http.StatusOK, "", `{"leadId":1}`))
	_, err := client.CreateLead(nil, vendorsLead()) //nolint:staticcheck // tests a nil context
	requireClass(t, clixnow.ErrNotSent, err)
}

func TestCreateLeadResponses(t *testing.T) {
	t.Parallel()
	whole := clixnow.CreateLeadResponse{
		LeadID: 123456, RedirectURL: "https://brand.example/autologin?t=1", SubCampaign: "subcampaign",
		Placement: "placement",
		Keyword:   "keyword", Sub2: "sub2", ClickID: "clickId", CRMID: "crmId",
	}
	const wholeJSON = `{"leadId":123456,"redirectUrl":"https://brand.example/autologin?t=1","subCampaign":"subcampaign",
		"placement":"placement","keyword":"keyword","sub2":"sub2","clickId":"clickId","crmId":"crmId"}`
	id := clixnow.CreateLeadResponse{LeadID: 123456}
	for name, test := range map[string]struct {
		status            int
		contentType, body string
		want              clixnow.CreateLeadResponse
	}{
		"200":                 {200, "application/json", wholeJSON, whole},
		"201":                 {201, "application/json; charset=utf-8", wholeJSON, whole},
		"202":                 {202, "", wholeJSON, whole},
		"of any content type": {200, "text/html", wholeJSON, whole},
		"names in Pascal case": {
			200, "",
			strings.NewReplacer(`"leadId"`, `"LeadId"`, `"redirectUrl"`, `"RedirectUrl"`, `"subCampaign"`,
				`"SubCampaign"`, `"crmId":`, `"CRMID":`).Replace(wholeJSON), whole,
		},
		"subcampaign as the example": {200, "", strings.Replace(wholeJSON, "subCampaign", "subcampaign", 1), whole},
		"id alone":                   {200, "", `{"leadId":123456}`, id},
		"a byte order mark":          {200, "", "\ufeff" + `{"leadId":123456}`, id},
		"id as text":                 {200, "", `{"leadId":"123456"}`, id},
		"largest id": {
			200, "", `{"leadId":9223372036854775807}`,
			clixnow.CreateLeadResponse{LeadID: math.MaxInt64},
		},
		"nulls": {
			200, "",
			`{"leadId":123456,"redirectUrl":null,"subCampaign":null,"placement":null,"keyword":null,"sub2":null,
				"clickId":null,"crmId":null}`, id,
		},
		"white space around": {200, "", " \r\n{ \"leadId\" : 123456 }\n", id},
		"numbers and booleans as text": {
			200, "",
			`{"leadId":1,"crmId":900719925474099312345,"clickId":-1.50,"sub2":true,"keyword":false,"placement":1e3}`,
			clixnow.CreateLeadResponse{
				LeadID: 1, CRMID: "900719925474099312345", ClickID: "-1.50", Sub2: "true",
				Keyword: "false", Placement: "1e3",
			},
		},
		"unknown fields": {
			200, "",
			`{"leadId":1,"autologin":{"ttl":60},"Broker":"A","n":1.0,"none":null}`,
			clixnow.CreateLeadResponse{
				LeadID: 1,
				Extra: map[string]json.RawMessage{
					"autologin": json.RawMessage(`{"ttl":60}`),
					"Broker":    json.RawMessage(`"A"`), "n": json.RawMessage(`1.0`),
					"none": json.RawMessage(`null`),
				},
			},
		},
		"escapes": {
			200, "", `{"leadId":1,"redirectUrl":"https:\/\/b.example\/?a=1\u0026b=2"}`,
			clixnow.CreateLeadResponse{LeadID: 1, RedirectURL: "https://b.example/?a=1&b=2"},
		},
		"nested to the limit": {
			200, "",
			`{"leadId":1,"x":` + strings.Repeat("[", 63) + strings.Repeat("]", 63) + `}`,
			clixnow.CreateLeadResponse{
				LeadID: 1,
				Extra: map[string]json.RawMessage{
					"x": json.RawMessage(strings.Repeat("[", 63) + strings.Repeat("]", 63)),
				},
			},
		},
		"a name twice: the last one": {200, "", `{"leadId":1,"leadId":2}`, clixnow.CreateLeadResponse{LeadID: 2}},
		"a message beside the id": {
			200, "", `{"leadId":1,"message":"ok"}`,
			clixnow.CreateLeadResponse{
				LeadID: 1,
				Extra:  map[string]json.RawMessage{"message": json.RawMessage(`"ok"`)},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := newClient(t, answer(test.status, test.contentType, test.body))
			resp, err := client.CreateLead(t.Context(), vendorsLead())
			require.NoError(t, err)
			assert.Equal(t, test.want, *resp)
		})
	}
}

func TestCreateLeadInvalidResponses(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 64) + strings.Repeat("]", 64)
	for name, test := range map[string]struct {
		status            int
		contentType, body string
		// want is in the text of the error.
		want string
	}{
		"HTML":                               {200, "text/html", "<html><body>It works!</body></html>", "malformed"},
		"HTML with the type of JSON":         {201, "application/json", "<!DOCTYPE html>", "malformed"},
		"text":                               {200, "text/plain", "duplicate lead", "malformed"},
		"empty":                              {200, "application/json", "", ""},
		"white space":                        {200, "application/json", " \n", ""},
		"204":                                {204, "", "", ""},
		"null":                               {200, "", "null", "null"},
		"a number":                           {200, "", "123456", "number"},
		"a string":                           {200, "", `"123456"`, "string"},
		"truncated":                          {200, "", `{"leadId":123456`, "malformed"},
		"truncated in a text":                {200, "", `{"leadId":123456,"redirectUrl":"https:`, "malformed"},
		"array":                              {200, "", `[{"leadId":123456}]`, "array"},
		"wrapped":                            {200, "", `{"data":{"leadId":123456}}`, "leadId"},
		"trailing data":                      {200, "", `{"leadId":123456}{}`, "malformed"},
		"trailing text":                      {200, "", `{"leadId":123456} ok`, "malformed"},
		"trailing comma":                     {200, "", `{"leadId":123456,}`, "malformed"},
		"no id":                              {201, "", `{"redirectUrl":"https://brand.example"}`, "leadId"},
		"empty object":                       {200, "", `{}`, "leadId"},
		"error with the status of a success": {200, "", `{"message":"Duplicate lead"}`, "leadId"},
		"id null":                            {200, "", `{"leadId":null}`, "leadId"},
		"id zero":                            {200, "", `{"leadId":0}`, "leadId"},
		"id zero, as text":                   {200, "", `{"leadId":"0"}`, "leadId"},
		"id negative":                        {200, "", `{"leadId":-5}`, "leadId"},
		"id of letters":                      {200, "", `{"leadId":"abc"}`, "leadId"},
		"id empty":                           {200, "", `{"leadId":""}`, "leadId"},
		"id with a fraction":                 {200, "", `{"leadId":1.5}`, "leadId"},
		"id too large":                       {200, "", `{"leadId":9223372036854775808}`, "leadId"},
		"id true":                            {200, "", `{"leadId":true}`, "leadId"},
		"id in an array":                     {200, "", `{"leadId":[1]}`, "leadId"},
		"redirect URL in an object": {
			200, "", `{"leadId":1,"redirectUrl":{"url":"https://brand.example"}}`,
			"redirectUrl",
		},
		"click id in an array":        {200, "", `{"leadId":1,"ClickID":["x"]}`, "clickId"},
		"nested too deep":             {200, "", `{"leadId":1,"x":` + deep + `}`, "nested"},
		"nested too deep, never ends": {200, "", strings.Repeat(`{"x":`, 100_000), ""},
		"bytes that are not JSON":     {200, "application/json", "\x1f\x8b\x08\x00\xff", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int32
			client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				w.Header().Set("X-Request-Id", "req-77")
				answer(test.status, test.contentType, test.body)(w, r)
			})
			resp, err := client.CreateLead(t.Context(), vendorsLead())
			assert.Nil(t, resp)
			requireClass(t, clixnow.ErrOutcomeUnknown, err)
			require.ErrorIs(t, err, clixnow.ErrInvalidResponse)
			assert.NotErrorIs(t, err, clixnow.ErrResponseTooLarge)

			var answered *clixnow.APIError
			require.ErrorAs(t, err, &answered)
			assert.Equal(t, test.status, answered.StatusCode)
			assert.Equal(t, "POST", answered.Method)
			assert.Equal(t, "/api/system/v1/leads", answered.Path)
			assert.Equal(t, "req-77", answered.RequestID)
			assert.Equal(t, "req-77", answered.Header.Get("X-Request-Id"))
			assert.Equal(t, test.body[:min(len(test.body), 64<<10)], string(answered.Body))
			assert.Equal(t, 1, answered.Attempts)
			for _, sentinel := range statusSentinels {
				assert.NotErrorIs(t, err, sentinel)
				assert.NotErrorIs(t, answered, sentinel)
			}
			assert.Contains(t, err.Error(),
				fmt.Sprintf("POST /api/system/v1/leads: %d %s", test.status, http.StatusText(test.status)))
			assert.Contains(t, err.Error(), "[request req-77]")
			assert.Contains(t, err.Error(), test.want)
			assert.NotContains(t, err.Error(), "brand.example")
			assert.EqualValues(t, 1, requests.Load(), "never sent again")
		})
	}
}

func TestCreateLeadResponseTooLarge(t *testing.T) {
	t.Parallel()
	const body = `{"leadId":123456,"crmId":"0123456789"}`
	for name, test := range map[string]struct {
		limit int64
		fits  bool
	}{
		"fits to the byte": {int64(len(body)), true},
		"one byte over":    {int64(len(body)) - 1, false},
		"one byte":         {1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := newClient(t, answer(http.StatusCreated, "", body), clixnow.WithMaxResponseBytes(test.limit))
			resp, err := client.CreateLead(t.Context(), vendorsLead())
			if test.fits {
				require.NoError(t, err)
				assert.EqualValues(t, 123456, resp.LeadID)
				return
			}
			requireClass(t, clixnow.ErrOutcomeUnknown, err)
			require.ErrorIs(t, err, clixnow.ErrResponseTooLarge)
			require.ErrorIs(t, err, clixnow.ErrInvalidResponse)
			var answered *clixnow.APIError
			require.ErrorAs(t, err, &answered)
			assert.Equal(t, http.StatusCreated, answered.StatusCode)
			assert.NotErrorIs(t, err, clixnow.ErrServer)
		})
	}
}

func TestCreateLeadTruncatedResponse(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	client := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.Header().Set("Content-Length", "100")
		w.Header().Set("X-Request-Id", "req-77")
		_, _ = io.WriteString(w, `{"leadId":123456}`) // valid JSON, but not the 100 bytes announced
	})
	_, err := client.CreateLead(t.Context(), vendorsLead())
	requireClass(t, clixnow.ErrOutcomeUnknown, err)
	require.ErrorIs(t, err, clixnow.ErrInvalidResponse)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	assert.Contains(t, err.Error(), "200 OK [request req-77]")
	assert.EqualValues(t, 1, requests.Load())
}

func TestCreateLeadRequestJSON(t *testing.T) {
	t.Parallel()
	data, err := json.Marshal(wholeLead())
	require.NoError(t, err)
	assert.JSONEq(t, wholeBody, string(data))
	whole := wholeLead()
	pointed, err := json.Marshal(&[]*clixnow.CreateLeadRequest{&whole})
	require.NoError(t, err)
	assert.Equal(t, "["+string(data)+"]", string(pointed))

	want := wholeLead()
	want.Extra = map[string]any{
		"bonusCode": "WELCOME", "age": json.Number("42"), "consents": []any{"email"},
		"nothing": nil,
	}
	var got clixnow.CreateLeadRequest
	require.NoError(t, json.Unmarshal([]byte(wholeBody), &got))
	assert.Equal(t, want, got)
	again, err := json.Marshal(got)
	require.NoError(t, err)
	assert.Equal(t, string(data), string(again))
}

func TestCreateLeadRequestUnmarshal(t *testing.T) {
	t.Parallel()
	type request = clixnow.CreateLeadRequest
	for name, test := range map[string]struct {
		data string
		want request
	}{
		"the vendor's names": {
			`{"Password":"Password123!","subcampaign":"x","REFERRALURL":"https://a.example"}`,
			request{Password: "Password123!", SubCampaign: "x", ReferralURL: "https://a.example"},
		},
		"nothing": {`{}`, request{}},
		"null": {
			`{"firstName":null,"acceptPromotions":null,"ipAddress":null,"carrier":null}`,
			request{},
		},
		"numbers as text":  {`{"phone":41123456789,"sub2":1.50}`, request{Phone: "41123456789", Sub2: "1.50"}},
		"an empty address": {`{"ipAddress":""}`, request{}},
		"IPv6": {
			`{"ipAddress":"2001:DB8::1"}`,
			request{IPAddress: netip.MustParseAddr("2001:db8::1")},
		},
		"booleans": {
			`{"acceptTermsAndConditions":true,"acceptPromotions":false}`,
			request{AcceptTermsAndConditions: true},
		},
		"numbers of Extra": {
			`{"n":12345678901234567890,"f":1.10,"deep":{"list":[1e400]}}`,
			request{Extra: map[string]any{
				"n": json.Number("12345678901234567890"), "f": json.Number("1.10"),
				"deep": map[string]any{"list": []any{json.Number("1e400")}},
			}},
		},
		"other values of Extra": {
			`{"a":null,"b":true,"c":"\u00e9","d":[]}`,
			request{Extra: map[string]any{"a": nil, "b": true, "c": "é", "d": []any{}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := request{FirstName: "left over", Extra: map[string]any{"left": "over"}}
			require.NoError(t, json.Unmarshal([]byte(test.data), &got))
			assert.Equal(t, test.want, got)
		})
	}
}

func TestUnmarshalErrors(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ data, want string }{
		"array":               {`["s3cr3t"]`, "an object is expected"},
		"number":              {`1`, "an object is expected"},
		"text":                {`"s3cr3t"`, "an object is expected"},
		"text in an array":    {`{"subCampaign":["s3cr3t"]}`, "subCampaign"},
		"text in an object":   {`{"keyword":{"x":"s3cr3t"}}`, "keyword"},
		"nested without end":  {`{"x":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`, "nested"},
		"click id in another": {`{"CLICKID":{}}`, "clickId"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, into := range []any{
				&clixnow.CreateLeadRequest{Keyword: "before"}, &clixnow.CreateLeadResponse{Keyword: "before"},
				&clixnow.EnsureLeadResponse{CreateLeadResponse: clixnow.CreateLeadResponse{Keyword: "before"}},
				&clixnow.Lead{Keyword: "before"},
			} {
				err := json.Unmarshal([]byte(test.data), into)
				require.ErrorContains(t, err, "clixnow: decode ")
				require.ErrorContains(t, err, test.want)
				assert.NotContains(t, err.Error(), "s3cr3t")
				assert.Contains(t, fmt.Sprintf("%+v", into), "before")
			}
		})
	}
	for field, data := range map[string]string{
		"acceptPromotions":         `{"acceptPromotions":"yes"}`,
		"acceptTermsAndConditions": `{"acceptTermsAndConditions":1}`, "ipAddress": `{"ipAddress":"1.2.3"}`,
	} {
		require.ErrorContains(t, json.Unmarshal([]byte(data), new(clixnow.CreateLeadRequest)), field)
	}
	require.ErrorContains(t, json.Unmarshal([]byte(`{"recovered":"yes"}`), new(clixnow.EnsureLeadResponse)),
		"recovered")
}

// By the convention of encoding/json, null does not change a value.
func TestUnmarshalNull(t *testing.T) {
	t.Parallel()
	job := struct {
		Request  clixnow.CreateLeadRequest
		Response clixnow.CreateLeadResponse
		Ensured  clixnow.EnsureLeadResponse
		Lead     clixnow.Lead
	}{Request: wholeLead(), Lead: clixnow.Lead{ID: 7}}
	want := job
	require.NoError(t, json.Unmarshal([]byte(`{"Request":null,"Response":null,"Ensured":null,"Lead":null}`), &job))
	assert.Equal(t, want, job)
}

func TestResponseJSON(t *testing.T) {
	t.Parallel()
	const data = `{"leadId":7,"redirectUrl":"https://brand.example/?a=1&b=2","subCampaign":"s","placement":"p",` +
		`"keyword":"k","sub2":"2","clickId":"c","crmId":"42","broker":{"name":"A","n":1.0}}`
	created := clixnow.CreateLeadResponse{
		LeadID: 7, RedirectURL: "https://brand.example/?a=1&b=2", SubCampaign: "s", Placement: "p", Keyword: "k",
		Sub2: "2", ClickID: "c", CRMID: "42",
		Extra: map[string]json.RawMessage{"broker": json.RawMessage(`{"name":"A","n":1.0}`)},
	}

	var got clixnow.CreateLeadResponse
	require.NoError(t, json.Unmarshal([]byte(data), &got))
	assert.Equal(t, created, got)
	written, err := json.Marshal(created)
	require.NoError(t, err)
	assert.JSONEq(t, data, string(written))
	assert.Contains(t, string(written), `"n":1.0`, "a number of Extra stays as written")

	for _, recovered := range []bool{true, false} {
		want := clixnow.EnsureLeadResponse{CreateLeadResponse: created, Recovered: recovered}
		written, err := json.Marshal(want)
		require.NoError(t, err)
		assert.JSONEq(t, fmt.Sprintf(`%s,"recovered":%t}`, strings.TrimSuffix(data, "}"), recovered), string(written))
		var got clixnow.EnsureLeadResponse
		require.NoError(t, json.Unmarshal(written, &got))
		assert.Equal(t, want, got)
	}
	var ensured clixnow.EnsureLeadResponse
	require.NoError(t, json.Unmarshal([]byte(data), &ensured), "a response of the API has no such field")
	assert.Equal(t, clixnow.EnsureLeadResponse{CreateLeadResponse: created}, ensured)
}

// If the API sends a field "recovered", the JSON has only the one of
// EnsureLeadResponse.
func TestEnsureLeadResponseJSONHasOneRecovered(t *testing.T) {
	t.Parallel()
	var created clixnow.CreateLeadResponse
	require.NoError(t, json.Unmarshal([]byte(`{"leadId":7,"Recovered":true}`), &created))
	written, err := json.Marshal(clixnow.EnsureLeadResponse{CreateLeadResponse: created})
	require.NoError(t, err)
	assert.JSONEq(t, `{"leadId":7,"recovered":false}`, string(written))
}

func TestResponseJSONErrors(t *testing.T) {
	t.Parallel()
	for name, resp := range map[string]clixnow.CreateLeadResponse{
		"Extra that is not JSON": {LeadID: 7, Extra: map[string]json.RawMessage{"broker": json.RawMessage(`{"s3cr3t`)}},
		"empty Extra":            {LeadID: 7, Extra: map[string]json.RawMessage{"broker": nil}},
		"text that is not UTF-8": {LeadID: 7, RedirectURL: "s3cr3t\xff"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, value := range []any{resp, clixnow.EnsureLeadResponse{CreateLeadResponse: resp}} {
				_, err := json.Marshal(value)
				require.Error(t, err)
				assert.NotContains(t, err.Error(), "s3cr3t")
			}
		})
	}
}

// A request is sent in the same way after it was stored and read.
func TestCreateLeadRequestInAQueue(t *testing.T) {
	t.Parallel()
	type job struct {
		Lead         clixnow.CreateLeadRequest `json:"lead"`
		FirstAttempt time.Time                 `json:"firstAttempt"`
	}
	before := job{wholeLead(), time.Date(2026, 8, 8, 12, 0, 0, 0, time.UTC)}
	before.Lead.Extra["big"] = int64(math.MaxInt64)
	before.Lead.IPAddress = netip.MustParseAddr("::ffff:1.2.3.4")
	data, err := json.Marshal(before)
	require.NoError(t, err)
	var after job
	require.NoError(t, json.Unmarshal(data, &after))
	assert.Equal(t, before.FirstAttempt, after.FirstAttempt)
	assert.Equal(t, sentBody(t, before.Lead), sentBody(t, after.Lead))
	require.NoError(t, after.Lead.Validate())
}

// An embedded request promotes its methods, as its doc comment warns.
func TestCreateLeadRequestEmbedded(t *testing.T) {
	t.Parallel()
	written, err := json.Marshal(struct {
		clixnow.CreateLeadRequest

		FirstAttempt time.Time
	}{mandatoryLead(), time.Now()})
	require.NoError(t, err)
	assert.NotContains(t, string(written), "FirstAttempt")
	assert.Contains(t, string(written), `"firstName":"Allison"`)
}
