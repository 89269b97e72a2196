package clixnow_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
)

// statusSentinels are those that an *APIError alone can match.
var statusSentinels = []error{
	clixnow.ErrBadRequest, clixnow.ErrUnauthorized, clixnow.ErrForbidden, clixnow.ErrUnsupportedMediaType,
	clixnow.ErrRateLimited, clixnow.ErrServer, clixnow.ErrRedirect, clixnow.ErrDuplicateLead,
	clixnow.ErrCountryNotAllowed, clixnow.ErrRefused,
}

// sentinels are all sentinel errors. byStatus has those that follow from a
// status alone.
var (
	sentinels = append(slices.Clip(statusSentinels), clixnow.ErrInvalidRequest, clixnow.ErrLeadNotFound,
		clixnow.ErrNotSent, clixnow.ErrOutcomeUnknown, clixnow.ErrInvalidResponse, clixnow.ErrResponseTooLarge,
		clixnow.ErrUnstableResults, clixnow.ErrNoCapacity, clixnow.ErrPassFailed)
	byStatus = map[error]func(status int) bool{
		clixnow.ErrBadRequest:           func(status int) bool { return status == 400 },
		clixnow.ErrUnauthorized:         func(status int) bool { return status == 401 },
		clixnow.ErrForbidden:            func(status int) bool { return status == 403 },
		clixnow.ErrUnsupportedMediaType: func(status int) bool { return status == 415 },
		clixnow.ErrRateLimited:          func(status int) bool { return status == 429 },
		clixnow.ErrServer:               func(status int) bool { return status >= 500 && status <= 599 },
		clixnow.ErrRedirect:             func(status int) bool { return status >= 300 && status <= 399 },
		clixnow.ErrRefused: func(status int) bool {
			return status >= 300 && status <= 499 && !slices.Contains([]int{303, 408, 429, 460, 499}, status)
		},
	}
)

func matches(status int, sentinel error) bool {
	match, ok := byStatus[sentinel]
	return ok && match(status)
}

func TestAPIErrorIsByStatus(t *testing.T) {
	t.Parallel()
	for status := range 1000 {
		var literal error = &clixnow.APIError{StatusCode: status}
		for _, sentinel := range sentinels {
			assert.Equal(t, matches(status, sentinel), errors.Is(literal, sentinel), "%d is %v", status, sentinel)
		}
	}
	assert.NotErrorIs(t, &clixnow.APIError{}, errors.New("another"))
}

func TestAPIErrorIsByWords(t *testing.T) {
	t.Parallel()
	type texts = map[string][]string
	for name, test := range map[string]struct {
		message string
		fields  texts
		want    error
	}{
		"words of the API":   {"Duplicate lead", nil, clixnow.ErrDuplicateLead},
		"in another case":    {"DUPLICATE LEAD.", nil, clixnow.ErrDuplicateLead},
		"in a sentence":      {"Refused: duplicate lead (email)", nil, clixnow.ErrDuplicateLead},
		"already exists":     {"A lead with this email Already Exists", nil, clixnow.ErrDuplicateLead},
		"already registered": {"Phone is already registered", nil, clixnow.ErrDuplicateLead},
		"in a field": {
			"Validation failed",
			texts{"email": {"is invalid", "Already registered"}},
			clixnow.ErrDuplicateLead,
		},
		"in a field of any name": {"", texts{"whatever": {"duplicate lead"}}, clixnow.ErrDuplicateLead},
		"country":                {"Registration is not allowed for country CH", nil, clixnow.ErrCountryNotAllowed},
		"country in capitals":    {"NOT ALLOWED FOR COUNTRY", nil, clixnow.ErrCountryNotAllowed},
		"country in a field": {
			"",
			texts{"countryCode": {"Not allowed for country"}},
			clixnow.ErrCountryNotAllowed,
		},
		"other words":            {"lead duplicate", texts{"email": {"exists"}, "country": {"not allowed"}}, nil},
		"the name of a field":    {"", texts{"duplicate lead": {"x"}}, nil},
		"words across two texts": {"duplicate", texts{"email": {"lead", "not allowed", "for country"}}, nil},
		"no text":                {"", nil, nil},
		"words on two lines":     {"duplicate\nlead", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, status := range []int{0, 200, 201, 303, 400, 401, 403, 404, 409, 415, 422, 429, 500, 502, 600} {
				literal := &clixnow.APIError{StatusCode: status, Message: test.message, Fields: test.fields}
				judges := status == 400 || status == 409 || status == 422
				for _, sentinel := range []error{clixnow.ErrDuplicateLead, clixnow.ErrCountryNotAllowed} {
					//nolint:errorlint // compares two sentinels
					assert.Equal(t, judges &&
						sentinel == test.want, errors.Is(literal, sentinel), "%d is %v", status, sentinel)
				}
			}
		})
	}
	both := &clixnow.APIError{
		StatusCode: 422, Message: "Duplicate lead",
		Fields: texts{"countryCode": {"not allowed for country"}},
	}
	require.ErrorIs(t, both, clixnow.ErrDuplicateLead)
	require.ErrorIs(t, both, clixnow.ErrCountryNotAllowed)
	require.NotErrorIs(t, both, clixnow.ErrBadRequest)
}

func TestValidationErrorIs(t *testing.T) {
	t.Parallel()
	for _, literal := range []error{
		&clixnow.ValidationError{},
		&clixnow.ValidationError{Fields: []clixnow.FieldError{{Field: "email", Problem: "duplicate lead"}}},
	} {
		for _, sentinel := range sentinels {
			// ErrInvalidRequest wraps ErrRefused.
			want := errors.Is(sentinel, clixnow.ErrRefused)
			assert.Equal(t, want, errors.Is(literal, sentinel), "%v", sentinel)
		}
	}
	literal := &clixnow.ValidationError{Fields: []clixnow.FieldError{
		{Field: "email", Problem: "is missing"},
		{Field: "countryCode", Problem: "must be two letters"},
	}}
	assert.Equal(t, "clixnow: invalid request: email: is missing; countryCode: must be two letters", literal.Error())
}

func TestErrorSentinelsImply(t *testing.T) {
	t.Parallel()
	require.ErrorIs(t, clixnow.ErrInvalidRequest, clixnow.ErrRefused)
	require.ErrorIs(t, clixnow.ErrResponseTooLarge, clixnow.ErrInvalidResponse)
}

func TestAPIErrorText(t *testing.T) {
	t.Parallel()
	const path = "/api/system/v1/leads"
	type texts = map[string][]string
	long := strings.Repeat("x", 495) // 2000 bytes are four of them with name and "; "
	for name, test := range map[string]struct {
		err  clixnow.APIError
		want string
	}{
		"all parts": {
			clixnow.APIError{
				StatusCode: 400, Brand: "acme", Method: "POST", Path: path, Message: "Duplicate lead",
				Fields: texts{"email": {"already registered"}}, RequestID: "00-4bf9", Attempts: 1,
			},
			"clixnow: acme: POST /api/system/v1/leads: 400 Bad Request: Duplicate lead " +
				"(email: already registered) [request 00-4bf9]",
		},
		"fields, in order of their names": {
			clixnow.APIError{
				StatusCode: 422, Brand: "acme", Method: "POST", Path: path,
				Fields: texts{"phone": {"a", "b"}, "email": {"c"}},
			},
			"clixnow: acme: POST /api/system/v1/leads: 422 Unprocessable Entity (email: c; phone: a, b)",
		},
		"no message": {
			clixnow.APIError{StatusCode: 401, Brand: "acme", Method: "GET", Path: path + "/search"},
			"clixnow: acme: GET /api/system/v1/leads/search: 401 Unauthorized",
		},
		"status without a text": {
			clixnow.APIError{StatusCode: 521, Brand: "acme", Method: "GET", Path: path},
			"clixnow: acme: GET /api/system/v1/leads: 521",
		},
		"attempts and Retry-After": {
			clixnow.APIError{
				StatusCode: 429, Brand: "acme", Method: "GET", Path: path, Attempts: 3,
				RetryAfter: 90 * time.Second,
			},
			"clixnow: acme: GET /api/system/v1/leads: 429 Too Many Requests after 3 attempts, retry after 1m30s",
		},
		"two attempts, and the shortest Retry-After": {
			clixnow.APIError{StatusCode: 429, Attempts: 2, RetryAfter: 1},
			"clixnow: 429 Too Many Requests after 2 attempts, retry after 1ns",
		},
		"longest text": {
			clixnow.APIError{StatusCode: 403, Message: strings.Repeat("x", 500)},
			"clixnow: 403 Forbidden: " + strings.Repeat("x", 500),
		},
		"text that is too long": {
			clixnow.APIError{StatusCode: 403, Message: strings.Repeat("x", 501)},
			"clixnow: 403 Forbidden: " + strings.Repeat("x", 500) + "…",
		},
		"texts of fields that are too long": {
			clixnow.APIError{
				StatusCode: 400, Fields: texts{"a": {long}, "b": {long}, "c": {long}, "d": {long}, "e": {long}},
			},
			"clixnow: 400 Bad Request (a: " + long + "; b: " + long + "; c: " + long + "; d: " + long + "; …)",
		},
		"literal of a mock": {clixnow.APIError{StatusCode: 403}, "clixnow: 403 Forbidden"},
		"line breaks": {
			clixnow.APIError{
				StatusCode: 400, Brand: "acme", Method: "POST", Path: path,
				Message: " a\r\n\tb\u2028c\u0085\x00d\x1b[31m ", Fields: texts{"x\ny": {"p\nq"}}, RequestID: "r\ns",
			},
			"clixnow: acme: POST /api/system/v1/leads: 400 Bad Request: a b c d [31m (x y: p q) [request r s]",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, test.want, test.err.Error())
		})
	}
	huge := clixnow.APIError{StatusCode: 400, Message: strings.Repeat("ü", 10_000)}
	assert.Less(t, len(huge.Error()), 1000, "one text cannot fill a log")
	assert.NotContains(t, huge.Error(), "\uFFFD")
}

func TestAPIErrorBodies(t *testing.T) {
	t.Parallel()
	type texts = map[string][]string
	const asJSON, asProblem = "application/json; charset=utf-8", "application/problem+json"
	for name, test := range map[string]struct {
		contentType, body string
		message           string
		fields            texts
		request           string
	}{
		"production's form": {
			asJSON, `{"message":"Duplicate lead","errors":{"Email":["Email is already registered"],"Phone":["a","b"]}}`,
			"Duplicate lead",
			texts{"email": {"Email is already registered"}, "phone": {"a", "b"}},
			"",
		},
		"problem+json": {
			asProblem,
			`{"type":"https://tools.ietf.org/html/rfc9110#section-15.5.1",
				"title":"One or more validation errors occurred.","status":400,
				"errors":{"$.phone":["The JSON value could not be converted."],"SubCampaign":["too long"]},
				"traceId":"00-4bf92f3577b34da6a3ce929d0e0e4736-00"}`,
			"One or more validation errors occurred.",
			texts{"phone": {"The JSON value could not be converted."}, "subCampaign": {"too long"}},
			"00-4bf92f3577b34da6a3ce929d0e0e4736-00",
		},
		"detail before title": {
			asProblem, `{"title":"Bad Request","detail":"No brand takes this lead"}`,
			"No brand takes this lead", nil, "",
		},
		"message first": {
			asJSON, `{"title":"t","detail":"d","error":"e","message":"m"}`, "m", nil,
			"",
		},
		"error before detail": {asJSON, `{"title":"t","detail":"d","error":"e"}`, "e", nil, ""},
		"error as object":     {asJSON, `{"error":{"code":17,"message":"No"},"title":"t"}`, "No", nil, ""},
		"empty message": {
			asJSON, `{"message":"","error":null,"detail":17,"title":"t"}`, "t", nil,
			"",
		},
		"names in Pascal case": {
			asJSON, `{"Message":"m","Errors":{"CountryCode":["x"]},"TraceId":"t-1"}`,
			"m",
			texts{"countryCode": {"x"}},
			"t-1",
		},
		"a field's text alone": {asJSON, `{"errors":{"Email":"bad"}}`, "", texts{"email": {"bad"}}, ""},
		"a field's texts as objects": {
			asJSON,
			`{"errors":{"Email":[{"message":"bad","code":1},{"Message":"worse"}]}}`, "",
			texts{"email": {"bad", "worse"}},
			"",
		},
		"a field's text as object": {
			asJSON, `{"errors":{"Email":{"message":"bad"}}}`, "",
			texts{"email": {"bad"}},
			"",
		},
		"a field's texts mixed": {
			asJSON, `{"errors":{"Email":["bad",17,null,"",{"message":"worse"}]}}`,
			"",
			texts{"email": {"bad", "worse"}},
			"",
		},
		"one field under two names": {
			asJSON, `{"errors":{"Email":["bad"],"$.email":["worse"]}}`, "",
			texts{"email": {"worse", "bad"}},
			"",
		},
		"names of the SDK": {
			asJSON,
			`{"errors":{"FIRSTNAME":["a"],"$.ReferralUrl":["b"],"clickID":["c"],"IPAddress":["d"],"OSName":["e"],
				"acceptTermsandConditions":["f"],"Password":["g"],"crmID":["h"]}}`, "",
			texts{
				"firstName": {"a"}, "referralUrl": {"b"}, "clickId": {"c"}, "ipAddress": {"d"}, "osName": {"e"},
				"acceptTermsAndConditions": {"f"}, "password": {"g"}, "crmId": {"h"},
			},
			"",
		},
		"a name that the SDK does not know": {
			asJSON, `{"errors":{"BonusCode":["x"]}}`, "",
			texts{"bonusCode": {"x"}},
			"",
		},
		"errors as a list":            {asJSON, `{"message":"m","errors":["a","b"]}`, "m", nil, ""},
		"errors null":                 {asJSON, `{"message":"m","errors":null}`, "m", nil, ""},
		"errors empty":                {asJSON, `{"message":"m","errors":{"Email":[]}}`, "m", nil, ""},
		"empty object":                {asJSON, `{}`, "", nil, ""},
		"null":                        {asJSON, `null`, "", nil, ""},
		"an array":                    {asJSON, `["Duplicate lead"]`, "Duplicate lead", nil, ""},
		"a JSON string":               {asJSON, `"Duplicate lead"`, "Duplicate lead", nil, ""},
		"JSON without a content type": {"", `{"message":"m"}`, "m", nil, ""},
		"JSON with the type of HTML":  {"text/html", `{"message":"m"}`, "m", nil, ""},
		"text": {
			"text/plain; charset=utf-8", " Duplicate lead\n", "Duplicate lead", nil,
			"",
		},
		"text of another case":        {"Text/Plain", "Bad\nRequest", "Bad\nRequest", nil, ""},
		"text that is not UTF-8":      {"text/plain", "caf\xe9", "caf\uFFFD", nil, ""},
		"text like HTML":              {"text/plain", "<none>", "<none>", nil, ""},
		"HTML":                        {"text/html", "<html><h1>duplicate lead</h1></html>", "", nil, ""},
		"HTML with the type of JSON":  {asJSON, "<html><h1>duplicate lead</h1></html>", "", nil, ""},
		"text without a content type": {"application/octet-stream", "duplicate lead", "", nil, ""},
		"empty":                       {"", "", "", nil, ""},
		"empty text":                  {"text/plain", "", "", nil, ""},
		"truncated":                   {asJSON, `{"message":"Duplicate lead"`, "", nil, ""},
		"trailing data":               {asJSON, `{"message":"Duplicate lead"}}`, "", nil, ""},
		"white space around":          {asJSON, "\r\n {\"message\":\"m\"} \n", "m", nil, ""},
		"nested without end":          {asJSON, strings.Repeat(`{"error":`, 20_000), "", nil, ""},
		"nested deep, in an unknown field": {
			asJSON,
			`{"message":"m","x":` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + `}`, "m", nil, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := newClient(t, answer(http.StatusBadRequest, test.contentType, test.body))
			_, err := client.CreateLead(t.Context(), vendorsLead())
			requireClass(t, clixnow.ErrRefused, err)
			var got *clixnow.APIError
			require.ErrorAs(t, err, &got)
			assert.Equal(t, test.message, got.Message)
			assert.Equal(t, test.fields, got.Fields)
			assert.Equal(t, test.request, got.RequestID)
			assert.Equal(t, test.body[:min(len(test.body), 64<<10)], string(got.Body))
			require.ErrorIs(t, err, clixnow.ErrBadRequest)
			says := strings.Contains(strings.ToLower(test.message), "duplicate lead")
			assert.Equal(t, says, errors.Is(err, clixnow.ErrDuplicateLead))
			if test.contentType != "" {
				assert.Equal(t, test.contentType, got.Header.Get("Content-Type"))
			}
			assert.NotContains(t, err.Error(), "\n")
		})
	}
}

// The words of the sentinel errors are found in every form of an error (case
// L31).
func TestWordsInEveryFormOfAnError(t *testing.T) {
	t.Parallel()
	for name, form := range map[string]string{
		"message":                         `{"message":"WORDS"}`,
		"message, Pascal case":            `{"Message":"WORDS"}`,
		"message after a byte order mark": "\ufeff" + `{"message":"WORDS"}`,
		"error":                           `{"error":"WORDS"}`,
		"error with a message":            `{"error":{"code":17,"message":"WORDS"}}`,
		"detail":                          `{"title":"Bad Request","detail":"WORDS"}`,
		"title":                           `{"title":"WORDS","status":400}`,
		"description":                     `{"description":"WORDS"}`,
		"msg":                             `{"msg":"WORDS"}`,
		"reason":                          `{"success":false,"reason":"WORDS"}`,
		"list of texts":                   `{"errors":["WORDS"]}`,
		"list of texts, the second":       `{"errors":["Invalid","WORDS"]}`,
		"list of objects":                 `{"errors":[{"description":"WORDS"}]}`,
		"list of objects with a message":  `{"errors":[{"code":1},{"message":"WORDS"}]}`,
		"field":                           `{"errors":{"Email":"WORDS"}}`,
		"field with a list":               `{"message":"Invalid","errors":{"Email":["bad"],"Phone":["bad","WORDS"]}}`,
		"field with objects":              `{"errors":{"Email":[{"message":"WORDS"}]}}`,
		"one text":                        `"WORDS"`,
		"list alone":                      `["WORDS"]`,
		"list of objects alone":           `[{"description":"WORDS"}]`,
		"plain text":                      `WORDS`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for words, want := range map[string]error{
				"Duplicate lead":             clixnow.ErrDuplicateLead,
				"EMAIL ALREADY EXISTS":       clixnow.ErrDuplicateLead,
				"Already registered.":        clixnow.ErrDuplicateLead,
				"not allowed for country XX": clixnow.ErrCountryNotAllowed,
				"Daily cap reached":          nil,
			} {
				contentType := "application/json"
				if form == "WORDS" {
					contentType = "text/plain"
				}
				handle := answer(http.StatusBadRequest, contentType, strings.ReplaceAll(form, "WORDS", words))
				_, err := newClient(t, handle).CreateLead(t.Context(), vendorsLead())
				requireClass(t, clixnow.ErrRefused, err)
				assert.ErrorContains(t, err, words)
				for _, sentinel := range []error{clixnow.ErrDuplicateLead, clixnow.ErrCountryNotAllowed} {
					//nolint:errorlint // compares two sentinels
					assert.Equal(t, sentinel == want, errors.Is(err, sentinel), "%s: %v", words, sentinel)
				}
			}
		})
	}
}

func TestAPIErrorRequestID(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		header map[string]string
		body   string
		want   string
	}{
		"X-Request-Id":     {map[string]string{"X-Request-Id": "a"}, "", "a"},
		"Request-Id":       {map[string]string{"Request-Id": "b"}, "", "b"},
		"Cloudflare's":     {map[string]string{"CF-Ray": "c-ZRH"}, "", "c-ZRH"},
		"two headers":      {map[string]string{"CF-Ray": "c", "X-Request-Id": "a"}, "", "a"},
		"body and headers": {map[string]string{"CF-Ray": "c", "X-Request-Id": "a"}, `{"traceId":"t"}`, "t"},
		"not a text":       {map[string]string{"CF-Ray": "c"}, `{"traceId":17}`, "c"},
		"none":             {nil, `{"message":"m"}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
				for key, value := range test.header {
					w.Header().Set(key, value)
				}
				answer(http.StatusForbidden, "application/json", test.body)(w, r)
			})
			_, err := client.SearchLeadsPage(t.Context(), clixnow.SearchLeadsRequest{})
			var got *clixnow.APIError
			require.ErrorAs(t, err, &got)
			assert.Equal(t, test.want, got.RequestID)
		})
	}
}

func TestAPIErrorRetryAfter(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		value string
		want  time.Duration
	}{
		"seconds":            {"1200", 20 * time.Minute},
		"spaces around":      {" 700 ", 700 * time.Second},
		"none":               {"", 0},
		"negative":           {"-5000", 0},
		"not a number":       {"soon", 0},
		"a date in the past": {"Wed, 21 Oct 2015 07:28:00 GMT", 0},
		"beyond a century":   {"99999999999999999", 0},
		"beyond integers":    {"999999999999999999999999", 0},
		"beyond Duration":    {"9300000000", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Retry-After", test.value)
				answer(http.StatusServiceUnavailable, "", "")(w, r)
			}, clixnow.WithRetry(clixnow.RetryPolicy{MaxAttempts: 1}))
			_, err := client.SearchLeadsPage(t.Context(), clixnow.SearchLeadsRequest{})
			var got *clixnow.APIError
			require.ErrorAs(t, err, &got)
			assert.GreaterOrEqual(t, got.RetryAfter, time.Duration(0))
			if !strings.Contains(name, "beyond") {
				assert.Equal(t, test.want, got.RetryAfter)
			}
		})
	}
}

func TestAPIErrorKeeps64KiBOfBody(t *testing.T) {
	t.Parallel()
	body := `{"message":"` + strings.Repeat("0123456789abcde\t", 8<<10) + `"}`
	client := newClient(t, answer(http.StatusConflict, "application/json", body))
	_, err := client.CreateLead(t.Context(), vendorsLead())
	var got *clixnow.APIError
	require.ErrorAs(t, err, &got)
	assert.Len(t, got.Body, 64<<10)
	assert.Equal(t, body[:64<<10], string(got.Body))
	assert.Empty(t, got.Message, "truncated JSON has no message")
}

// For every status the error is an *APIError with it. That of a create is of
// one class.
func TestStatuses(t *testing.T) {
	t.Parallel()
	isRetried := map[int]bool{
		408: true, 429: true, 500: true, 502: true, 503: true, 504: true, 520: true, 521: true,
		522: true, 523: true, 524: true,
	}
	class := func(status int) error {
		switch {
		case status == 429:
			return clixnow.ErrRateLimited
		case matches(status, clixnow.ErrRefused):
			return clixnow.ErrRefused
		}
		return clixnow.ErrOutcomeUnknown
	}
	for _, status := range []int{
		101, 300, 301, 302, 303, 304, 305, 307, 308, 399,
		400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 413, 415, 418, 422, 423, 428, 429, 431, 451, 460, 499,
		500, 501, 502, 503, 504, 505, 507, 511, 519, 520, 521, 522, 523, 524, 525, 530, 599, 600, 777, 999,
	} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			t.Parallel()
			client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", "https://elsewhere.example/login")
				w.Header().Set("X-Request-Id", "req-77")
				if status == http.StatusSwitchingProtocols {
					w.Header().Set("Connection", "Upgrade")
					w.Header().Set("Upgrade", "websocket")
				}
				answer(status, "text/html", "")(w, r)
			})
			_, createErr := client.CreateLead(t.Context(), vendorsLead())
			_, pageErr := client.SearchLeadsPage(t.Context(), clixnow.SearchLeadsRequest{})
			_, leadErr := client.GetLead(t.Context(), 7)
			requireClass(t, class(status), createErr)
			for _, err := range []error{createErr, pageErr, leadErr} {
				method, path, attempts := "GET", "/api/system/v1/leads/search", 1
				if err == createErr { //nolint:errorlint // which of the three it is
					method, path = "POST", "/api/system/v1/leads"
				}
				if status == 429 || method == "GET" && isRetried[status] {
					attempts = 3
				}
				var got *clixnow.APIError
				require.ErrorAs(t, err, &got)
				assert.Equal(t, status, got.StatusCode)
				assert.Equal(t, method, got.Method)
				assert.Equal(t, path, got.Path)
				assert.Equal(t, attempts, got.Attempts)
				assert.Equal(t, "req-77", got.RequestID)
				assert.Equal(t, "https://elsewhere.example/login", got.Header.Get("Location"))
				assert.Contains(t, err.Error(), fmt.Sprintf("%s %s: %d", method, path, status))
				for _, sentinel := range sentinels {
					want := matches(status, sentinel)
					if sentinel == clixnow.ErrOutcomeUnknown { //nolint:errorlint // which of them it is
						want = method == "POST" &&
							class(status) == clixnow.ErrOutcomeUnknown //nolint:errorlint // the same
					}
					assert.Equal(t, want, errors.Is(err, sentinel), "%v is %v", err, sentinel)
				}
			}
		})
	}
}

func TestAPIErrorJSON(t *testing.T) {
	t.Parallel()
	client := newClient(t,
		answer(http.StatusBadRequest, "application/json",
			`{"message":"m","errors":{"Email":["x"]},"traceId":"t","secret":"s3cr3t"}`))
	_, err := client.CreateLead(t.Context(), vendorsLead())
	var got *clixnow.APIError
	require.ErrorAs(t, err, &got)
	written, err := json.Marshal(got)
	require.NoError(t, err)
	assert.JSONEq(t,
		`{"statusCode":400,"brand":"acme","method":"POST","path":"/api/system/v1/leads","message":"m",
		"fields":{"email":["x"]},"requestId":"t","retryAfter":0,"attempts":1}`, string(written))
	byValue, err := json.Marshal([]any{*got})
	require.NoError(t, err)
	assert.Equal(t, "["+string(written)+"]", string(byValue))
	var read clixnow.APIError
	require.NoError(t, json.Unmarshal(written, &read))
	assert.Equal(t, got.Error(), read.Error())
	assert.ErrorIs(t, &read, clixnow.ErrBadRequest)
}

func TestAPIErrorJSONDurations(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		json string
		want time.Duration
	}{
		"seconds":  {`90`, 90 * time.Second},
		"fraction": {`2.5`, 2500 * time.Millisecond},
		"day":      {`86400`, 24 * time.Hour},
		"none":     {`0`, 0},
		"small":    {`0.000000001`, 1},
	} {
		literal := clixnow.APIError{StatusCode: 429, RetryAfter: test.want}
		written, err := json.Marshal(literal)
		require.NoError(t, err)
		var members map[string]any
		require.NoError(t, json.Unmarshal(written, &members))
		assert.InDelta(t, test.want.Seconds(), members["retryAfter"], 0, name)
		var read clixnow.APIError
		require.NoError(t, json.Unmarshal([]byte(`{"statusCode":429,"retryAfter":`+test.json+`}`), &read))
		assert.Equal(t, literal, read, name)
	}
}

func TestAPIErrorUnmarshal(t *testing.T) {
	t.Parallel()
	before := clixnow.APIError{StatusCode: 400, Message: "before"}
	read := before
	require.NoError(t, json.Unmarshal([]byte(`null`), &read))
	assert.Equal(t, before, read, "null changes nothing")
	for _, data := range []string{`[]`, `{"statusCode":"s3cr3t"}`, `{"retryAfter":"1s"}`} {
		require.ErrorContains(t, json.Unmarshal([]byte(data), &read), "clixnow: decode API error: ")
		assert.Equal(t, before, read)
	}
	require.NoError(t, json.Unmarshal([]byte(`{"retryAfter":1e300}`), &read))
	assert.Positive(t, read.RetryAfter)
	require.NoError(t, json.Unmarshal([]byte(`{}`), &read))
	assert.Equal(t, clixnow.APIError{}, read)
}

func TestValidationErrorJSON(t *testing.T) {
	t.Parallel()
	err := with(func(r *clixnow.CreateLeadRequest) { r.Email, r.CountryCode = "", "CHE" }).Validate()
	written, marshalErr := json.Marshal(err)
	require.NoError(t, marshalErr)
	assert.JSONEq(t, `{"fields":[{"field":"email","code":"missing","problem":"is missing"},
		{"field":"countryCode","code":"two_letters","problem":"must be two letters"}]}`, string(written))
	var read clixnow.ValidationError
	require.NoError(t, json.Unmarshal(written, &read))
	assert.Equal(t, err, error(&read))
}

// A server, or a key of Extra, cannot fill or break a log.
func TestErrorTextIsOneBoundedLine(t *testing.T) {
	t.Parallel()
	many := make(fieldTexts)
	extra := make(map[string]any)
	for i := range 1000 {
		many[fmt.Sprint("field\n", i)] = []string{strings.Repeat("x\n", 100)}
		extra[fmt.Sprint("key\n\xff", i)] = i
	}
	for _, err := range []error{
		&clixnow.APIError{StatusCode: 400, Message: strings.Repeat("ü", 10_000)},
		&clixnow.APIError{StatusCode: 400, Fields: many, RequestID: strings.Repeat("\xffx\r\n", 1000)},
		with(func(r *clixnow.CreateLeadRequest) { r.Extra = extra }).Validate(),
	} {
		require.Error(t, err)
		assert.Less(t, len(err.Error()), 4000)
		assert.NotContains(t, err.Error(), "\n")
		assert.True(t, utf8.ValidString(err.Error()))
	}
}

// A RoundTripper of a mock may forget the status.
func TestStatusZero(t *testing.T) {
	t.Parallel()
	client, err := clixnow.NewClient("acme", testToken, quick, clixnow.WithHTTPClient(&http.Client{
		Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			return &http.Response{Header: http.Header{}, Body: http.NoBody, Request: r}, nil
		}),
	}))
	require.NoError(t, err)
	var answered *clixnow.APIError
	_, err = client.CreateLead(t.Context(), vendorsLead())
	requireClass(t, clixnow.ErrOutcomeUnknown, err)
	require.ErrorAs(t, err, &answered)
	_, err = client.GetLead(t.Context(), 1)
	require.ErrorAs(t, err, &answered)
	assert.Zero(t, answered.StatusCode)
}

// The texts of a 2xx may hold its redirect URL.
func TestTextsOfASuccessAreNotShown(t *testing.T) {
	t.Parallel()
	const redirect = "https://broker.example/autologin?token=abc"
	for _, status := range []int{200, 299} {
		client := newClient(t, answer(status, "application/json",
			`{"leadId":"x","traceId":"00-4bf9","redirectUrl":"`+redirect+`","message":"`+redirect+`"}`))
		_, err := client.CreateLead(t.Context(), vendorsLead())
		require.ErrorIs(t, err, clixnow.ErrInvalidResponse)
		assert.NotContains(t, err.Error(), "broker.example")
		assert.Contains(t, err.Error(), "00-4bf9")
		var answered *clixnow.APIError
		require.ErrorAs(t, err, &answered)
		assert.Empty(t, answered.Message)
		assert.Empty(t, answered.Fields)
	}

	for _, status := range []int{199, 300} { // just outside the range of a success
		transport := roundTripper(func(*http.Request) (*http.Response, error) {
			body := io.NopCloser(strings.NewReader(`{"message":"choose"}`))
			return &http.Response{StatusCode: status, Body: body}, nil
		})
		client := clientOf(t, "https://clixnow.example", clixnow.WithHTTPClient(&http.Client{Transport: transport}))
		_, err := client.GetLead(t.Context(), 1)
		require.ErrorContains(t, err, "choose")
	}
}
