package contract_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	openapi3filter.RegisterBodyDecoder("text/html", openapi3filter.PlainBodyDecoder) // it knows only text/plain
	goleak.VerifyTestMain(m)
}

const (
	leadsPath  = "/api/system/v1/leads"
	searchPath = "/api/system/v1/leads/search"
)

// description is openapi.yaml.
type description struct {
	doc *openapi3.T
	// closed means that only the named members and parameters are allowed.
	closed bool

	mu sync.Mutex
	// judged holds the hashes of the requests and responses that were checked.
	judged map[[sha256.Size]byte]bool
}

// describe reads openapi.yaml.
func describe(t *testing.T) *description {
	t.Helper()
	return &description{
		judged: make(map[[sha256.Size]byte]bool),
		doc:    load(t, func(text string) string { return text }),
	}
}

// describeClosed reads openapi.yaml and allows no members that it does not
// name. The description itself allows them, because brands have fields of their
// own. So a misspelled member, as in the vendor's example, would pass.
func describeClosed(t *testing.T) *description {
	t.Helper()
	const leave, misspelt = "additionalProperties: true", " subcampaign: "
	return &description{closed: true, judged: make(map[[sha256.Size]byte]bool), doc: load(t, func(text string) string {
		require.Contains(t, text, leave)
		return strings.NewReplacer(leave, "additionalProperties: false", misspelt, " subCampaign: ").Replace(text)
	})}
}

func load(t *testing.T, change func(string) string) *openapi3.T {
	t.Helper()
	text, err := os.ReadFile("openapi.yaml")
	require.NoError(t, err)
	doc, err := openapi3.NewLoader().LoadFromData([]byte(change(string(text))))
	require.NoError(t, err)
	return doc
}

// validate checks a document against the OpenAPI specification, and its
// examples against its schemas.
func validate(ctx context.Context, doc *openapi3.T) error {
	err := doc.Validate(ctx, openapi3.EnableExamplesValidation(), openapi3.EnableSchemaFormatValidation(),
		openapi3.EnableMultiError())
	// Validate does not check these.
	return errors.Join(err, doc.WalkSchemas(func(pointer string, schema *openapi3.SchemaRef) error {
		for _, example := range schema.Value.Examples {
			if err := schema.Value.VisitJSON(example, openapi3.EnableJSONSchema2020()); err != nil {
				return fmt.Errorf("%s: the example %v: %w", pointer, example, err)
			}
		}
		return nil
	}))
}

func TestDescriptionIsValid(t *testing.T) {
	t.Parallel()
	doc := describe(t).doc
	assert.Equal(t, "3.1.0", doc.OpenAPI)
	require.NoError(t, validate(t.Context(), doc))
	require.NoError(t, validate(t.Context(), describeClosed(t).doc),
		"an example has a member that its schema does not name")
}

func TestDescriptionIsValidated(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ from, to string }{
		"an example of a body":      {"leadId: 123456", "leadId: '123456'"},
		"an example of a parameter": {"example: '2021-08-08T23:59:59'", "example: '2021-08-08 23:59:59'"},
		"an example of a schema":    {"- '2022-12-19T11:01:58Z'", "- '2022-12-19T11:01:58 GMT'"},
		"a reference":               {"items: {$ref: '#/components/schemas/Lead'}", "items: {type: lead}"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc := load(t, func(text string) string {
				require.Contains(t, text, test.from)
				return strings.ReplaceAll(text, test.from, test.to)
			})
			require.Error(t, validate(t.Context(), doc))
		})
	}
}

// These are the vendor's examples, as the API reference prints them.
const (
	vendorsBody = `{"firstName":"Allison","lastName":"Brown","email":"[email protected]","phone":"+41123456789",
		"countryCode":"CH",
		"referralUrl":"https://website.com","subcampaign":"subcampaign","keyword":"test","placement":"landing_page",
		"clickId":"20fn4ngo56n3snf74","ipAddress":"1.1.1.1","languageCode":"EN","password":"Password123!","sub2":"sub2",
		"deviceType":"Mobile","deviceName":"iPhone16","osName":"iOS","browser":"Safari Mobile","carrier":"Mobile"}`
	vendorsAnswer = `{"leadId":123456,"redirectUrl":"https:…","subCampaign":"subcampaign","placement":"placement",
		"keyword":"keyword",
		"sub2":"sub2","clickId":"clickId","crmId":"crmId"}`
	vendorsLandingPage = "https://landing.com/?a_id=1&c_id=2&f_id=3&subcampaign=subcampaign" +
		"&sub2=sub_name&keyword=test" +
		"&clickid=1c33d66a941ac90a6&placement=test" // numbers replace the placeholders
)

func TestVendorsExamples(t *testing.T) {
	t.Parallel()
	document := pointers(t, describe(t).doc)
	create := "/paths/~1api~1system~1v1~1leads/post"

	// The vendor's host has masked the email.
	body := strings.Replace(vendorsBody, "[email protected]", "allison.brown@example.com", 1)
	assert.JSONEq(t, body, document[create+"/requestBody/content/application~1json/examples/vendor/value"])
	assert.JSONEq(t, vendorsAnswer,
		document["/components/responses/LeadCreated/content/application~1json/examples/vendor/value"])
	assert.Contains(t, document["/components/schemas/CreateLeadRequest/properties/referralUrl/examples"],
		quoted(t, vendorsLandingPage))
	assert.Contains(t, document["/components/schemas/Date/examples"], `"2022-12-19T11:01:58.302Z"`)

	examples := make(map[string]string)
	for _, parameter := range searchParameters(t, describe(t)) {
		if parameter.Example != nil {
			examples[parameter.Name] = fmt.Sprint(parameter.Example)
		}
	}
	assert.Equal(t, map[string]string{
		"createdOnFrom": "2021-08-08T00:00:00", "createdOnTo": "2021-08-08T23:59:59", "count": "1000", "skip": "0",
		"id": "123456",
	}, examples)
}

// These are the words of the reference about each status.
func TestVendorsStatuses(t *testing.T) {
	t.Parallel()
	document := pointers(t, describe(t).doc)
	statuses := map[string]string{
		"BadRequest": "General error when fulfilling the request would cause an invalid state. " +
			"Domain validation errors, missing data, etc.",
		"Unauthorized": "Error code response for missing or invalid authentication token.",
		"Forbidden": "The user is not authorized to perform the operation, " +
			"or a certain item is unavailable for some reason.",
		"UnsupportedMediaType": "Wrong Accept/Content-Type.",
	}
	for name, words := range statuses {
		text := strings.Join(strings.Fields(strings.ReplaceAll(document["/components/responses/"+name+"/description"],
			`\n`, " ")), " ")
		assert.Contains(t, text, words)
	}
	for _, operation := range operations(t, describe(t)) {
		for _, status := range []int{200, 400, 401, 403, 415} {
			assert.NotNil(t, operation.Responses.Status(status), "%s: %d", operation.OperationID, status)
		}
	}
	create, search := operations(t, describe(t))[0], operations(t, describe(t))[1]
	assert.NotNil(t, create.Responses.Value("201"))
	assert.Nil(t, search.Responses.Value("201"), "a search creates nothing")
}

// TestDoubts lists each point where the API reference says nothing, contradicts
// itself or is contradicted by other sources. The x-doubt of this point
// contains the word. The description has no other x-doubt.
func TestDoubts(t *testing.T) {
	t.Parallel()
	const (
		create     = "/paths/~1api~1system~1v1~1leads/post"
		search     = "/paths/~1api~1system~1v1~1leads~1search/get"
		responses  = "/components/responses/"
		schemas    = "/components/schemas/"
		parameters = search + "/parameters/"
	)
	doubts := map[string]string{
		create + "/requestBody/content/application~1json/examples/vendor": "subcampaign",
		create + "/responses/303":     "Never seen",
		search:                        "curl",
		parameters + "orderBy":        "FtdFate",
		parameters + "count":          "lower cap",
		parameters + "skip":           "previous group",
		parameters + "modifiedOnFrom": "updatedOn",
		parameters + "modifiedOnTo":   "modifiedOnFrom",
		parameters + "ftdDateFrom":    "swapped",
		parameters + "ftdDateTo":      "ftdDateFrom",
		search + "/responses/200/content/application~1json/examples/array":    "one lead",
		search + "/responses/200/content/application~1json/examples/envelope": "what it is named",
		responses + "LeadCreated":                             "201",
		responses + "BadRequest":                              "without its form",
		responses + "Unauthorized":                            "empty",
		responses + "Forbidden":                               "empty",
		responses + "UnsupportedMediaType":                    "empty",
		responses + "TooManyRequests":                         "No rate limit",
		responses + "Redirect":                                "Never seen",
		responses + "Refused":                                 "Not documented",
		responses + "ServerError":                             "Cloudflare",
		schemas + "CreateLeadRequest":                         "further fields",
		schemas + "CreateLeadRequest/properties/phone":        "No form",
		schemas + "CreateLeadRequest/properties/password":     "Password",
		schemas + "CreateLeadRequest/properties/languageCode": "country code",
		schemas + "CreateLeadRequest/properties/subCampaign":  "subcampaign",
		schemas + "CreateLeadRequest/properties/carrier":      "no enum",
		schemas + "CreateLeadResponse":                        "null or absent",
		schemas + "CreateLeadResponse/properties/redirectUrl": "form",
		schemas + "SearchResult":                              "only one lead",
		schemas + "LeadEnvelope":                              "Inferred",
		schemas + "Lead":                                      "null or absent",
		schemas + "Lead/properties/email":                     "mask",
		schemas + "Lead/properties/createdOn":                 "updated",
		schemas + "Lead/properties/clientType":                "swapped",
		schemas + "NumberOrText":                              "crmId",
		schemas + "Date":                                      "no zone",
		schemas + "QueryDate":                                 "whether bounds are included",
		schemas + "Error":                                     "shows none",
		schemas + "ProblemDetails":                            "Inferred",
	}
	found := make(map[string]string)
	for pointer, value := range pointers(t, describe(t).doc) {
		if place, ok := strings.CutSuffix(pointer, "/x-doubt"); ok {
			found[place] = value
		}
	}
	for place, word := range doubts {
		assert.Contains(t, found[place], word, "x-doubt of %s", place)
	}
	for place := range found {
		assert.Contains(t, doubts, place, "a doubt that this test does not know")
	}
}

// pointers returns every value of a document, as JSON, by its JSON pointer.
// Parameters are found under their names.
func pointers(t *testing.T, doc *openapi3.T) map[string]string {
	t.Helper()
	data, err := doc.MarshalJSON()
	require.NoError(t, err)
	var root any
	require.NoError(t, json.Unmarshal(data, &root))
	all := make(map[string]string)
	var visit func(pointer string, value any)
	visit = func(pointer string, value any) {
		all[pointer] = quoted(t, value)
		switch value := value.(type) {
		case map[string]any:
			for key, member := range value {
				visit(pointer+"/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(key), member)
			}
		case []any:
			for i, element := range value {
				key := strconv.Itoa(i)
				if object, ok := element.(map[string]any); ok && object["in"] != nil {
					key = fmt.Sprint(object["name"])
				}
				visit(pointer+"/"+key, element)
			}
		}
	}
	visit("", root)
	return all
}

func quoted(t *testing.T, value any) string {
	t.Helper()
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	require.NoError(t, encoder.Encode(value))
	return strings.TrimSpace(text.String())
}

// operations returns the operations that create and search.
func operations(t *testing.T, d *description) []*openapi3.Operation {
	t.Helper()
	create, search := d.doc.Paths.Find(leadsPath).Post, d.doc.Paths.Find(searchPath).Get
	require.NotNil(t, create)
	require.NotNil(t, search)
	return []*openapi3.Operation{create, search}
}

func searchParameters(t *testing.T, d *description) (parameters []*openapi3.Parameter) {
	t.Helper()
	for _, ref := range operations(t, d)[1].Parameters {
		parameters = append(parameters, ref.Value)
	}
	return parameters
}
