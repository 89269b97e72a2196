package contract_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// decoded decodes JSON with UseNumber.
func decoded(t *testing.T, data []byte) (value any) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	require.NoError(t, decoder.Decode(&value))
	return value
}

// answering is a RoundTripper that returns the same response to every request.
// It keeps the body and the query of the last request.
type answering struct {
	status      int
	contentType string
	body        string

	sentBody  []byte
	sentQuery url.Values
}

func (a *answering) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Body != nil {
		defer request.Body.Close()
		var err error
		if a.sentBody, err = io.ReadAll(request.Body); err != nil {
			return nil, err
		}
	}
	a.sentQuery = request.URL.Query()
	header := make(http.Header)
	if a.contentType != "" {
		header.Set("Content-Type", a.contentType)
	}
	return &http.Response{
		StatusCode: a.status, Header: header, Request: request, Body: io.NopCloser(strings.NewReader(a.body)),
		ContentLength: -1,
	}, nil
}

func clientFor(t *testing.T, transport http.RoundTripper) *clixnow.Client {
	t.Helper()
	client, err := clixnow.NewClient("acme", "CfDJ8-token", clixnow.WithHTTPClient(&http.Client{Transport: transport}),
		clixnow.WithRetry(clixnow.RetryPolicy{MaxAttempts: 1}))
	require.NoError(t, err)
	return client
}

// success returns all bodies that an operation may return with a status.
func success(t *testing.T, operation *openapi3.Operation, status int) []variant {
	t.Helper()
	response := operation.Responses.Status(status)
	require.NotNil(t, response)
	return bodies(t, response.Value.Content["application/json"])
}

// bodies returns the examples and variants of a body.
func bodies(t *testing.T, media *openapi3.MediaType) (all []variant) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(media.Examples)) {
		all = append(all, variant{"the example " + name, exact(t, media.Examples[name].Value.Value)})
	}
	all = append(all, variants(t, media.Schema)...)
	together := make([]any, len(all))
	for i, v := range all {
		together[i] = v.value
	}
	list := openapi3.NewArraySchema()
	list.Items = media.Schema
	require.NoError(t, list.VisitJSON(together, openapi3.EnableJSONSchema2020()), "the generator is wrong")
	return all
}

// finders map the name of a member to the place of its value in a Go struct.
// The names are written here again. If they came from the client, a misspelled
// name would not be noticed.
type finders[T any] map[string]func(*T) any

func leadMembers() finders[clixnow.Lead] {
	return finders[clixnow.Lead]{
		"id":          func(l *clixnow.Lead) any { return l.ID },
		"email":       func(l *clixnow.Lead) any { return l.Email },
		"status":      func(l *clixnow.Lead) any { return l.Status },
		"crmId":       func(l *clixnow.Lead) any { return l.CRMID },
		"brandId":     func(l *clixnow.Lead) any { return l.BrandID },
		"brandName":   func(l *clixnow.Lead) any { return l.BrandName },
		"createdOn":   func(l *clixnow.Lead) any { return l.CreatedOn },
		"updatedOn":   func(l *clixnow.Lead) any { return l.UpdatedOn },
		"ftdDate":     func(l *clixnow.Lead) any { return l.FTDDate },
		"clickId":     func(l *clixnow.Lead) any { return l.ClickID },
		"sub2":        func(l *clixnow.Lead) any { return l.Sub2 },
		"subCampaign": func(l *clixnow.Lead) any { return l.SubCampaign },
		"keyword":     func(l *clixnow.Lead) any { return l.Keyword },
		"placement":   func(l *clixnow.Lead) any { return l.Placement },
		"clientType":  func(l *clixnow.Lead) any { return string(l.ClientType) },
	}
}

func createdMembers() finders[clixnow.CreateLeadResponse] {
	return finders[clixnow.CreateLeadResponse]{
		"leadId":      func(r *clixnow.CreateLeadResponse) any { return r.LeadID },
		"redirectUrl": func(r *clixnow.CreateLeadResponse) any { return r.RedirectURL },
		"subCampaign": func(r *clixnow.CreateLeadResponse) any { return r.SubCampaign },
		"placement":   func(r *clixnow.CreateLeadResponse) any { return r.Placement },
		"keyword":     func(r *clixnow.CreateLeadResponse) any { return r.Keyword },
		"sub2":        func(r *clixnow.CreateLeadResponse) any { return r.Sub2 },
		"clickId":     func(r *clixnow.CreateLeadResponse) any { return r.ClickID },
		"crmId":       func(r *clixnow.CreateLeadResponse) any { return r.CRMID },
	}
}

// same compares the values of an object with those of a Go value.
func (m finders[T]) same(t *testing.T, object any, got *T, extra map[string]json.RawMessage) {
	t.Helper()
	rest := maps.Clone(object.(map[string]any))
	for name, find := range m {
		assert.Equal(t, expected(t, rest[name], find(got)), find(got), name)
		delete(rest, name)
	}
	if len(rest) == 0 {
		rest = nil
	}
	assert.Equal(t, rest, anyOf(t, extra), "Extra")
}

// expected converts a JSON value to the type of a Go value. Null and absent are
// the zero value.
func expected(t *testing.T, value, kind any) any {
	t.Helper()
	text := fmt.Sprint(value)
	if value == nil {
		text = ""
	}
	switch kind.(type) {
	case int64:
		n, err := strconv.ParseInt(cmp.Or(text, "0"), 10, 64)
		require.NoError(t, err)
		return n
	case time.Time:
		for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05"} {
			if date, err := time.Parse(layout, text); err == nil {
				return date.UTC()
			}
		}
		require.Empty(t, text)
		return time.Time{}
	}
	return text
}

func anyOf(t *testing.T, raw map[string]json.RawMessage) (all map[string]any) {
	t.Helper()
	for name, value := range raw {
		if all == nil {
			all = make(map[string]any)
		}
		all[name] = decoded(t, value)
	}
	return all
}

func properties(d *description, schema string) []string {
	return slices.Sorted(maps.Keys(d.doc.Components.Schemas[schema].Value.Properties))
}

// The client reads every response to a create that the description allows, and
// loses no value.
func TestGeneratedCreated(t *testing.T) {
	t.Parallel()
	contract := describe(t)
	require.Equal(t, properties(contract, "CreateLeadResponse"), slices.Sorted(maps.Keys(createdMembers())))
	for _, status := range []int{200, 201} {
		answers := success(t, operations(t, contract)[0], status)
		t.Logf("%d: %d answers", status, len(answers))
		for _, answer := range answers {
			t.Run(fmt.Sprint(status, " ", answer.what), func(t *testing.T) {
				t.Parallel()
				client := clientFor(t,
					&answering{status: status, contentType: "application/json", body: quoted(t, answer.value)})
				got, err := client.CreateLead(t.Context(), fullLead(1))
				require.NoError(t, err)
				createdMembers().same(t, answer.value, got, got.Extra)
			})
		}
	}
}

// The client reads every response to a search, as a list or in an envelope.
func TestGeneratedLeads(t *testing.T) {
	t.Parallel()
	contract := describe(t)
	require.Equal(t, properties(contract, "Lead"), slices.Sorted(maps.Keys(leadMembers())))
	answers := success(t, operations(t, contract)[1], 200)
	t.Logf("%d answers", len(answers))
	for _, answer := range answers {
		t.Run(answer.what, func(t *testing.T) {
			t.Parallel()
			client := clientFor(t,
				&answering{status: 200, contentType: "application/json; charset=utf-8", body: quoted(t, answer.value)})
			page, err := client.SearchLeadsPage(t.Context(), clixnow.SearchLeadsRequest{})
			require.NoError(t, err)
			want := unwrapped(t, answer.value)
			require.Len(t, page.Leads, len(want))
			for i := range want {
				leadMembers().same(t, want[i], &page.Leads[i], page.Leads[i].Extra)
			}
		})
	}
}

// unwrapped returns the list in a response: the response itself, or its only
// member that is a list with elements.
func unwrapped(t *testing.T, answer any) []any {
	t.Helper()
	found := listsIn(answer)
	if len(found) == 0 {
		return nil
	}
	require.Len(t, found, 1)
	return found[0]
}

// listsIn returns the lists that have elements.
func listsIn(answer any) (found [][]any) {
	members, ok := answer.(map[string]any)
	if !ok {
		members = map[string]any{"": answer}
	}
	for _, member := range members {
		if list, _ := member.([]any); len(list) > 0 {
			found = append(found, list)
		}
	}
	return found
}

// concrete returns the statuses that a key of responses means.
func concrete(t *testing.T, key string) []int {
	t.Helper()
	ranges := map[string][]int{
		"3XX": {301, 302, 304, 307, 308}, "4XX": {404, 409, 422, 451},
		"5XX": {500, 502, 503, 504, 520, 521, 524, 599},
	}
	if statuses, ok := ranges[key]; ok {
		return statuses
	}
	status, err := strconv.Atoi(key)
	require.NoError(t, err)
	return []int{status}
}

// Every response that is not a success, in every form of its body, becomes an
// error of the right kind with the text of the body.
func TestGeneratedErrors(t *testing.T) {
	t.Parallel()
	contract := describe(t)
	for _, operation := range operations(t, contract) {
		for key, response := range operation.Responses.Map() {
			statuses := concrete(t, key)
			if statuses[0] < 300 {
				continue
			}
			t.Run(operation.OperationID+" "+key, func(t *testing.T) {
				t.Parallel()
				all := map[string][]variant{"": {{"no body", ""}}}
				for mediaType, media := range response.Value.Content {
					all[mediaType] = bodies(t, media)
				}
				for _, status := range statuses {
					for mediaType, bodies := range all {
						for _, body := range bodies {
							fails(t, operation, answering{status: status, contentType: mediaType}, body)
						}
					}
				}
			})
		}
	}
}

const createLead = "createLead"

// call calls the client's method for an operation, with a valid request.
func call(ctx context.Context, client *clixnow.Client, operation *openapi3.Operation) (err error) {
	if operation.OperationID == createLead {
		_, err = client.CreateLead(ctx, fullLead(1))
	} else {
		_, err = client.GetLead(ctx, 123456)
	}
	return err
}

func fails(t *testing.T, operation *openapi3.Operation, transport answering, body variant) {
	t.Helper()
	object, isObject := body.value.(map[string]any)
	if isObject {
		transport.body = quoted(t, body.value)
	} else {
		transport.body = body.value.(string)
	}
	what := fmt.Sprint(transport.contentType, ", ", body.what)
	client := clientFor(t, &transport)
	err := call(t.Context(), client, operation)
	if operation.OperationID == createLead {
		assert.ErrorIs(t, err, class(transport.status), what)
	}
	if kind := kind(transport.status); kind != nil {
		assert.ErrorIs(t, err, kind, what)
	}
	var answer *clixnow.APIError
	require.ErrorAs(t, err, &answer, what)
	assert.Equal(t, transport.status, answer.StatusCode, what)
	assert.Equal(t, transport.body, string(answer.Body), what)
	if !isObject {
		return
	}
	assert.Equal(t, cmp.Or(text(object["message"]), text(object["detail"]), text(object["title"])), answer.Message,
		what)
	assert.Equal(t, text(object["traceId"]), answer.RequestID, what)
	assert.Equal(t, fieldTexts(object["errors"]), answer.Fields, what)
}

// class is the class of a create that fails with a status.
func class(status int) error {
	switch {
	case status == 303, status >= 500:
		return clixnow.ErrOutcomeUnknown
	case status == 429:
		return clixnow.ErrRateLimited
	}
	return clixnow.ErrRefused
}

func kind(status int) error {
	switch {
	case status < 400:
		return clixnow.ErrRedirect
	case status >= 500:
		return clixnow.ErrServer
	}
	return map[int]error{
		400: clixnow.ErrBadRequest, 401: clixnow.ErrUnauthorized, 403: clixnow.ErrForbidden,
		415: clixnow.ErrUnsupportedMediaType,
		429: clixnow.ErrRateLimited,
	}[status]
}

func text(value any) string {
	s, _ := value.(string)
	return s
}

// fieldTexts returns the texts by field, under names that begin with a
// lower-case letter.
func fieldTexts(value any) map[string][]string {
	var all map[string][]string
	errors, _ := value.(map[string]any)
	for name, value := range errors {
		name = strings.TrimPrefix(name, "$.")
		name = strings.ToLower(name[:1]) + name[1:]
		list, ok := value.([]any)
		if !ok {
			list = []any{value}
		}
		for _, element := range list {
			if text(element) != "" {
				if all == nil {
					all = make(map[string][]string)
				}
				all[name] = append(all[name], text(element))
			}
		}
	}
	return all
}

// These functions set the fields of a request.
type setters[T any] map[string]func(request *T, value any)

func texted[T any](field func(*T) *string) func(*T, any) {
	return func(request *T, value any) { *field(request) = value.(string) }
}

func leadSetters() setters[clixnow.CreateLeadRequest] {
	type request = clixnow.CreateLeadRequest
	return setters[request]{
		"firstName":                texted(func(r *request) *string { return &r.FirstName }),
		"lastName":                 texted(func(r *request) *string { return &r.LastName }),
		"email":                    texted(func(r *request) *string { return &r.Email }),
		"phone":                    texted(func(r *request) *string { return &r.Phone }),
		"password":                 texted(func(r *request) *string { return &r.Password }),
		"countryCode":              texted(func(r *request) *string { return &r.CountryCode }),
		"languageCode":             texted(func(r *request) *string { return &r.LanguageCode }),
		"acceptTermsAndConditions": func(r *request, value any) { r.AcceptTermsAndConditions = value.(bool) },
		"acceptPromotions":         func(r *request, value any) { r.AcceptPromotions = value.(bool) },
		"referralUrl":              texted(func(r *request) *string { return &r.ReferralURL }),
		"subCampaign":              texted(func(r *request) *string { return &r.SubCampaign }),
		"placement":                texted(func(r *request) *string { return &r.Placement }),
		"keyword":                  texted(func(r *request) *string { return &r.Keyword }),
		"sub2":                     texted(func(r *request) *string { return &r.Sub2 }),
		"clickId":                  texted(func(r *request) *string { return &r.ClickID }),
		"deviceType":               texted(func(r *request) *string { return &r.DeviceType }),
		"deviceName":               texted(func(r *request) *string { return &r.DeviceName }),
		"osName":                   texted(func(r *request) *string { return &r.OSName }),
		"browser":                  texted(func(r *request) *string { return &r.Browser }),
		"carrier":                  texted(func(r *request) *string { return (*string)(&r.Carrier) }),
		"ipAddress":                func(r *request, value any) { r.IPAddress = netip.MustParseAddr(value.(string)) },
		"comment":                  texted(func(r *request) *string { return &r.Comment }),
	}
}

// generatedRequests returns every create that the description allows.
func generatedRequests(t *testing.T, d *description) []variant {
	t.Helper()
	return bodies(t, operations(t, d)[0].RequestBody.Value.Content["application/json"])
}

// The client sends every request that the description allows, unchanged. It
// leaves out empty values and false.
func TestGeneratedCreateIsSent(t *testing.T) {
	t.Parallel()
	contract := describe(t)
	setters := leadSetters()
	require.Equal(t, properties(contract, "CreateLeadRequest"), slices.Sorted(maps.Keys(setters)))
	requests := generatedRequests(t, contract)
	t.Logf("%d requests", len(requests))
	for _, generated := range requests {
		t.Run(generated.what, func(t *testing.T) {
			t.Parallel()
			body := maps.Clone(generated.value.(map[string]any))
			if value, ok := body["subcampaign"]; ok { // the vendor's example has it; names match in any case
				delete(body, "subcampaign")
				body["subCampaign"] = value
			}
			var request clixnow.CreateLeadRequest
			for name, value := range body {
				if set, ok := setters[name]; ok {
					set(&request, value)
					continue
				}
				request.Extra = map[string]any{name: value}
			}
			transport := &answering{status: 200, contentType: "application/json", body: `{"leadId":1}`}
			_, err := clientFor(t, transport).CreateLead(t.Context(), request)
			require.NoError(t, err)
			maps.DeleteFunc(body, func(_ string, value any) bool { return value == "" || value == false })
			assert.Equal(t, any(body), decoded(t, transport.sentBody))
		})
	}
}

// The fake server accepts each of these requests, stores its values unchanged,
// and returns them.
func TestGeneratedCreateIsTaken(t *testing.T) {
	t.Parallel()
	contract := describe(t)
	for _, generated := range generatedRequests(t, contract) {
		t.Run(generated.what, func(t *testing.T) {
			t.Parallel()
			server := clixnowtest.NewHandler()
			status, answer := post(t, server, quoted(t, generated.value))
			require.Equal(t, 200, status, "%s", answer)
			require.Len(t, server.Leads(), 1)
			lead := server.Leads()[0]
			created := decoded(t, answer).(map[string]any)
			assert.Equal(t, json.Number(strconv.FormatInt(lead.ID, 10)), created["leadId"])
			stored := leadMembers()
			for name, value := range generated.value.(map[string]any) {
				if name == "subcampaign" {
					name = "subCampaign"
				}
				switch name {
				case "email":
					assert.Equal(t, value, stored[name](&lead))
				case "clickId", "sub2", "subCampaign", "keyword", "placement":
					assert.Equal(t, value, stored[name](&lead))
					assert.Equal(t, value, created[name])
				}
			}
			assert.JSONEq(t, quoted(t, generated.value), string(server.Requests()[0].Body))
		})
	}
}

// The fake server refuses what the description forbids: a missing mandatory
// field, and a value of a wrong type in any field.
func TestGeneratedCreateIsRefused(t *testing.T) {
	t.Parallel()
	contract := describe(t)
	schema := contract.doc.Components.Schemas["CreateLeadRequest"].Value
	whole := variants(t, openapi3.NewSchemaRef("", schema))[0].value.(map[string]any)
	for name := range schema.Properties {
		wrong := maps.Clone(whole)
		wrong[name] = []any{}
		refuses(t, contract, name+" of a wrong type", name, wrong)
	}
	for _, name := range schema.Required {
		wrong := maps.Clone(whole)
		delete(wrong, name)
		refuses(t, contract, "without "+name, name, wrong)
	}
}

func refuses(t *testing.T, contract *description, what, field string, body map[string]any) {
	t.Helper()
	t.Run(what, func(t *testing.T) {
		t.Parallel()
		require.False(t, allows(contract.doc.Components.Schemas["CreateLeadRequest"].Value, body))
		server := clixnowtest.NewHandler()
		status, answer := post(t, server, quoted(t, body))
		require.Equal(t, 400, status)
		assert.Contains(t, decoded(t, answer).(map[string]any)["errors"], strings.ToUpper(field[:1])+field[1:])
		assert.Empty(t, server.Leads())
	})
}

func post(t *testing.T, server *clixnowtest.Server, body string) (status int, answer []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, leadsPath, strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	return ask(server, request)
}

func searchSetters() setters[clixnow.SearchLeadsRequest] {
	type request = clixnow.SearchLeadsRequest
	number := func(value any) int64 {
		n, _ := value.(json.Number).Int64()
		return n
	}
	date := func(field func(*request) *time.Time) func(*request, any) {
		return func(r *request, value any) { *field(r), _ = time.Parse("2006-01-02T15:04:05", value.(string)) }
	}
	return setters[request]{
		"orderBy":        texted(func(r *request) *string { return (*string)(&r.OrderBy) }),
		"id":             func(r *request, value any) { r.ID = number(value) },
		"count":          func(r *request, value any) { r.Count = int(number(value)) },
		"skip":           func(r *request, value any) { r.Skip = int(number(value)) },
		"modifiedOnFrom": date(func(r *request) *time.Time { return &r.ModifiedOnFrom }),
		"modifiedOnTo":   date(func(r *request) *time.Time { return &r.ModifiedOnTo }),
		"createdOnFrom":  date(func(r *request) *time.Time { return &r.CreatedOnFrom }),
		"createdOnTo":    date(func(r *request) *time.Time { return &r.CreatedOnTo }),
		"ftdDateFrom":    date(func(r *request) *time.Time { return &r.FTDDateFrom }),
		"ftdDateTo":      date(func(r *request) *time.Time { return &r.FTDDateTo }),
	}
}

// The client sends every value of every search parameter in the form of the
// description, and the fake server accepts it.
func TestGeneratedSearch(t *testing.T) {
	t.Parallel()
	setters := searchSetters()
	parameters := searchParameters(t, describe(t))
	require.Len(t, setters, len(parameters))
	server := clixnowtest.NewHandler()
	addLeads(server)
	for _, parameter := range parameters {
		require.Contains(t, setters, parameter.Name)
		for _, v := range variants(t, parameter.Schema) {
			t.Run(parameter.Name+" "+v.what, func(t *testing.T) {
				t.Parallel()
				var request clixnow.SearchLeadsRequest
				setters[parameter.Name](&request, v.value)
				transport := &answering{status: 200, contentType: "application/json", body: `[]`}
				_, err := clientFor(t, transport).SearchLeadsPage(t.Context(), request)
				if request.Skip == math.MaxInt32 { // the client refuses what a walk could not add to
					require.ErrorIs(t, err, clixnow.ErrInvalidRequest)
					return
				}
				require.NoError(t, err)
				want := url.Values{"orderBy": {"Id"}, parameter.Name: {fmt.Sprint(v.value)}}
				if v.value == json.Number("0") { // the default is not sent
					delete(want, parameter.Name)
				}
				assert.Equal(t, want, transport.sentQuery)

				httpRequest,
					err := http.NewRequestWithContext(t.Context(), http.MethodGet, searchPath+"?"+want.Encode(),
					http.NoBody)
				require.NoError(t, err)
				status, answer := ask(server, httpRequest)
				assert.Equal(t, 200, status, "%s", answer)
			})
		}
	}
}

// ask sends a request with the token to the fake server.
func ask(server *clixnowtest.Server, request *http.Request) (status int, answer []byte) {
	request.Header.Set("Authorization", "ApiToken "+server.Token)
	recorder := httptest.NewRecorder()
	server.ServeHTTP(recorder, request)
	return recorder.Code, recorder.Body.Bytes()
}
