package clixnow_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
)

// A leak of a secret is found by its first five characters, because a precision
// may cut the rest.
const (
	secretPassword = `P4ss-"w\ord!` // with characters that are escaped
	secretRedirect = "R3d1r://brand.example/autologin"
	secretExtra    = "Extr4-value"
)

var secrets = []string{testToken, secretPassword, secretRedirect, secretExtra}

// spellings are the lists of numbers as which fmt may print the beginning of
// each secret.
var spellings = func() map[string][]string {
	all := make(map[string][]string)
	for _, secret := range secrets {
		for _, format := range []string{"%d", "%b", "%o", "%O", "%c", "%q", "%U", "%#U"} {
			list := strings.Trim(fmt.Sprintf(format, []rune(secret[:5])), "[]")
			all[secret] = append(all[secret], plainList(list))
		}
	}
	return all
}()

// plainList removes from a list what flags and widths add.
func plainList(text string) string {
	fields := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" ,+[]{}", r) })
	for i, field := range fields {
		fields[i] = strings.TrimLeft(field, "0bo")
	}
	return strings.Join(fields, " ")
}

var withoutSpaces = strings.NewReplacer(" ", "", "0x", "", "0X", "", ",", "")

// leaks returns the secrets that a text shows.
func leaks(text string) (found []string) {
	list, hexadecimal := plainList(text), strings.ToLower(withoutSpaces.Replace(text))
	for _, secret := range secrets {
		begin := secret[:5]
		if strings.Contains(text, begin) || strings.Contains(hexadecimal, hex.EncodeToString([]byte(begin))) ||
			slices.ContainsFunc(spellings[secret], func(form string) bool { return strings.Contains(list, form) }) {
			found = append(found, secret)
		}
	}
	return found
}

func TestLeaks(t *testing.T) {
	t.Parallel()
	assert.Empty(t, leaks("[hidden] http://brand.example 80 52 115"))
	for _, secret := range secrets {
		for _, verb := range []string{"v", "s", "q", "x", "X", "d", "b", "o", "O", "c", "U"} {
			for _, flags := range []string{"", "#", "+", "-", " ", "30", ".5"} {
				format := "<%" + flags + verb + ">"
				for _, value := range []any{
					[]byte(secret), json.RawMessage(secret), secret,
					struct{ X any }{[]byte(secret)},
				} {
					if text := fmt.Sprintf(format, value); !strings.Contains(text, "%!") {
						require.Equal(t, []string{secret}, leaks(text), "%s: %s", format, text)
					}
				}
			}
		}
	}
}

func secretRequest() clixnow.CreateLeadRequest {
	req := vendorsLead()
	req.Password = secretPassword
	req.Extra = map[string]any{
		"bonusKey": secretExtra, "list": []string{secretExtra},
		"raw": json.RawMessage(`"` + secretExtra + `"`),
	}
	return req
}

func secretResponse() clixnow.CreateLeadResponse {
	return clixnow.CreateLeadResponse{
		LeadID: 123456, RedirectURL: secretRedirect, ClickID: "click",
		Extra: map[string]json.RawMessage{"bonusKey": json.RawMessage(`"` + secretExtra + `"`)},
	}
}

// printed is a value of an exported type in the forms in which a program may
// print it.
type printed struct {
	// alone is the value and a pointer to it.
	alone []any
	// shapes are a caller's structs, slices and maps with the value.
	shapes []any
	// inJSON reports that encoding/json writes secrets of the value.
	inJSON bool
}

func shapes[T any](value T, inJSON bool) printed {
	pointer := &value
	type named struct {
		Field   T
		Pointer *T
		Any     any
		Number  int
	}
	all := named{value, pointer, value, 1}
	return printed{
		alone: []any{value, pointer},
		shapes: []any{
			all, &all,
			struct{ Nested named }{all},
			&pointer,
			[]T{value},
			[]*T{pointer},
			[]any{value, pointer},
			[1]T{value},
			&[]T{value},
			[][]T{{value}},
			map[string]T{"k": value},
			map[string]*T{"k": pointer},
			map[string]any{"k": []any{pointer}},
		},
		inJSON: inJSON,
	}
}

// printedTypes has every exported type of the package by its name, except
// functions and interfaces. The values have secrets if the type can hold any.
func printedTypes(t *testing.T) map[string]printed {
	t.Helper()
	client := newClient(t, answer(http.StatusOK, "", "[]"))
	return map[string]printed{
		"Client":             shapes(*client, false),
		"CreateLeadRequest":  shapes(secretRequest(), true),
		"CreateLeadResponse": shapes(secretResponse(), true),
		"EnsureLeadResponse": shapes(clixnow.EnsureLeadResponse{
			CreateLeadResponse: secretResponse(),
			Recovered:          true,
		}, true),
		"BulkResult": shapes(clixnow.BulkResult{
			Request: secretRequest(), Response: &clixnow.EnsureLeadResponse{CreateLeadResponse: secretResponse()},
			Err: secretAnswer(),
		}, true),
		"APIError": shapes(*secretAnswer(), false),
		"ValidationError": shapes(clixnow.ValidationError{Fields: []clixnow.FieldError{{
			Field: "email", Code: clixnow.ProblemMissing, Problem: "is missing",
		}}}, false),
		"FieldError": shapes(clixnow.FieldError{
			Field: "email", Code: clixnow.ProblemMissing, Problem: "is missing",
		}, false),

		// These types hold no secrets.
		"BulkOptions":        shapes(clixnow.BulkOptions{}, false),
		"FindLeadsRequest":   shapes(clixnow.FindLeadsRequest{Email: "a@example.com"}, false),
		"FoundLeads":         shapes(clixnow.FoundLeads{Leads: []clixnow.Lead{{ID: 7}}}, false),
		"LandingURL":         shapes(clixnow.LandingURL{Page: "https://landing.com/"}, false),
		"LeadEvent":          shapes(clixnow.LeadCreated, false),
		"Lead":               shapes(clixnow.Lead{ID: 7, Email: "a@example.com"}, false),
		"LeadChangesRequest": shapes(clixnow.LeadChangesRequest{}, false),
		"LeadPage": shapes(clixnow.LeadPage{
			Leads: []clixnow.Lead{{ID: 7}},
			Next:  &clixnow.SearchLeadsRequest{Skip: 1},
		}, false),
		"Carrier":            shapes(clixnow.CarrierMobile, false),
		"ClientType":         shapes(clixnow.ClientTypeClient, false),
		"OrderBy":            shapes(clixnow.OrderByID, false),
		"Outcome":            shapes(clixnow.OutcomeUnknown, false),
		"ProblemCode":        shapes(clixnow.ProblemMissing, false),
		"Reason":             shapes(clixnow.ReasonInvalid, false),
		"RetryPolicy":        shapes(clixnow.RetryPolicy{}, false),
		"SearchLeadsRequest": shapes(clixnow.SearchLeadsRequest{}, false),
	}
}

func secretAnswer() *clixnow.APIError {
	all := strings.Join(secrets, " ")
	return &clixnow.APIError{
		StatusCode: 400, Brand: "acme", Method: "POST", Path: "/api/system/v1/leads", Message: "Duplicate lead",
		Header: http.Header{"Location": {all}, "X-" + testToken: {"1"}}, Body: []byte(all),
	}
}

// A new type must be added to printedTypes.
func TestEveryExportedTypeIsPrinted(t *testing.T) {
	t.Parallel()
	known := printedTypes(t)
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	var declared []string
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".go") || strings.HasSuffix(entry.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), entry.Name(), nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(file, func(node ast.Node) bool {
			spec, ok := node.(*ast.TypeSpec)
			if !ok || !spec.Name.IsExported() {
				return true
			}
			switch spec.Type.(type) {
			case *ast.FuncType, *ast.InterfaceType:
				return true
			}
			declared = append(declared, spec.Name.Name)
			value, ok := known[spec.Name.Name]
			require.True(t, ok, "add %s to printedTypes", spec.Name.Name)
			assert.Equal(t, spec.Name.Name, reflect.TypeOf(value.alone[0]).Name())
			return true
		})
	}
	assert.Len(t, known, len(declared))
}

// everyFormat has all verbs except %p and %w, for which fmt calls no method of
// a value. It has the usual verbs also with flags and widths.
var everyFormat = func() (all []string) {
	for verb := 'A'; verb <= 'z'; verb++ {
		if verb <= 'Z' || verb >= 'a' && verb != 'p' && verb != 'w' {
			all = append(all, "%"+string(verb))
		}
	}
	for _, verb := range "vsqxXdt" {
		for _, flags := range []string{"+", "#", " ", "0", "+#", "-20", "#20", ".5", "+30.5"} {
			all = append(all, "%"+flags+string(verb))
		}
	}
	return all
}()

var mainFormats = []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "% X", "%d", "%t", "%c", "%z"}

func TestFmtHidesSecrets(t *testing.T) {
	t.Parallel()
	for name, test := range printedTypes(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, value := range append(slices.Clone(test.alone), test.shapes...) {
				for _, format := range everyFormat {
					text := fmt.Sprintf(format, value)
					require.Empty(t, leaks(text), "%s of %T: %s", format, value, text)
					require.NotContains(t, text, "PANIC")
				}
				require.Empty(t, leaks(fmt.Sprint(value, value)))
				require.Empty(t, leaks(fmt.Sprintln(value)))
			}
		})
	}
}

// Values that are not secrets are still shown.
func TestFmtShowsTheRest(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		text := fmt.Sprintf(verb, secretRequest())
		for _, shown := range []string{"Allison", "allison.brown@example.com", "[hidden]", "bonusKey"} {
			assert.Contains(t, text, shown)
		}
		text = fmt.Sprintf(verb, &clixnow.EnsureLeadResponse{CreateLeadResponse: secretResponse()})
		for _, shown := range []string{"click", "[hidden]", "bonusKey"} {
			assert.Contains(t, text, shown)
		}
	}
	assert.Contains(t, fmt.Sprintf("%+v", clixnow.EnsureLeadResponse{Recovered: true}), "Recovered:true")
	assert.Contains(t,
		fmt.Sprintf("%+v", struct{ R *clixnow.EnsureLeadResponse }{&clixnow.EnsureLeadResponse{Recovered: true}}),
		"Recovered:true")
	assert.Contains(t, fmt.Sprintf("%+v", secretResponse()), "LeadID:123456")
	assert.NotContains(t, fmt.Sprint(clixnow.CreateLeadRequest{}, clixnow.CreateLeadResponse{}), "[hidden]",
		"an empty secret shows as empty")
	assert.Equal(t, "clixnow.CreateLeadRequest", fmt.Sprintf("%T", secretRequest()))
	assert.Equal(t, "<nil> <nil>",
		fmt.Sprintf("%v %+v", (*clixnow.CreateLeadResponse)(nil), (*clixnow.EnsureLeadResponse)(nil)))

	result := clixnow.BulkResult{Index: 3, Request: secretRequest(), Err: clixnow.ErrRateLimited}
	for _, shown := range []string{"Index:3", "FirstName:Allison", "Err:clixnow: too many requests"} {
		assert.Contains(t, fmt.Sprintf("%+v", result), shown)
	}

	req, resp := secretRequest(), secretResponse()
	_ = fmt.Sprint(req, &req, resp, &resp)
	assert.Equal(t, secretRequest(), req, "printing does not change the value")
	assert.Equal(t, secretResponse(), resp)
}

// An APIError printed by any verb shows what Error says.
func TestFmtShowsAPIErrorsText(t *testing.T) {
	t.Parallel()
	e := secretAnswer()
	for _, verb := range []string{"%v", "%+v", "%s", "%#v"} {
		want := e.Error()
		if verb == "%#v" {
			want = fmt.Sprintf("%q", want)
		}
		assert.Equal(t, want, fmt.Sprintf(verb, e))
		assert.Equal(t, want, fmt.Sprintf(verb, *e))
	}
	assert.Equal(t, fmt.Sprintf("%q", e.Error()), fmt.Sprintf("%q", e))
	assert.Contains(t, fmt.Sprintf("%+v", struct{ Err error }{e}), e.Error())
}

// slogForms logs a value in every position, with slog's text or JSON handler.
func slogForms(asJSON bool, value any) string {
	var out bytes.Buffer
	options := &slog.HandlerOptions{Level: slog.LevelDebug}
	var handler slog.Handler = slog.NewTextHandler(&out, options)
	if asJSON {
		handler = slog.NewJSONHandler(&out, options)
	}
	logger := slog.New(handler)
	logger.Info("alone", "value", value)
	logger.Info("attribute", slog.Any("value", value))
	logger.Debug("grouped", slog.Group("group", slog.Any("value", value), slog.Group("inner", "value", value)))
	logger.With("value", value).WithGroup("group").With("value", value).Error("with", "value", value)
	logger.Info("group value", slog.Attr{Key: "value", Value: slog.GroupValue(slog.Any("x", value))})
	return out.String()
}

func TestSlogHidesSecrets(t *testing.T) {
	t.Parallel()
	for name, test := range printedTypes(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, value := range test.alone {
				for _, asJSON := range []bool{false, true} {
					text := slogForms(asJSON, value)
					require.Empty(t, leaks(text), text)
					require.NotContains(t, text, "panicked")
				}
			}
			for _, shape := range test.shapes {
				text := slogForms(false, shape)
				require.Empty(t, leaks(text), "%T: %s", shape, text)
				// This is the exception that the doc comments name, because
				// encoding/json is for storing and sending.
				require.Equal(t, test.inJSON, len(leaks(slogForms(true, shape))) > 0, "%T", shape)
			}
		})
	}
}

// A nil pointer has no secret, and a program may log one, such as the response
// of a create that failed. fmt prints it as <nil>. slog calls LogValue of the
// value, recovers from the panic, and writes the rest of the line.
func TestNilPointersArePrinted(t *testing.T) {
	t.Parallel()
	for name, test := range printedTypes(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pointer := reflect.Zero(reflect.PointerTo(reflect.TypeOf(test.alone[0]))).Interface()
			for _, format := range everyFormat {
				assert.NotContains(t, fmt.Sprintf(format, pointer), "PANIC", format)
			}
			var out bytes.Buffer
			slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "value", pointer, "after", 1)
			var line struct {
				Value json.RawMessage
				After int
			}
			require.NoError(t, json.Unmarshal(out.Bytes(), &line), out.String())
			assert.Equal(t, 1, line.After)
			if _, ok := pointer.(slog.LogValuer); ok {
				assert.Contains(t, string(line.Value), "LogValue panicked")
			} else {
				assert.Contains(t, []string{"null", `"<nil>"`}, string(line.Value))
			}
			out.Reset()
			slog.New(slog.NewTextHandler(&out, nil)).Info("m", "value", pointer, "after", 1)
			assert.Contains(t, out.String(), " after=1\n")
		})
	}
}

func TestEncodingJSONWritesSecrets(t *testing.T) {
	t.Parallel()
	for name, test := range printedTypes(t) {
		for _, value := range append(slices.Clone(test.alone), test.shapes...) {
			data, err := json.Marshal(value)
			if err != nil { // a func, which is not a secret
				assert.Equal(t, "LeadChangesRequest", name)
				continue
			}
			assert.Equal(t, test.inJSON, len(leaks(string(data))) > 0, "%T: %s", value, data)
		}
	}
}

func TestSlogShowsTheRest(t *testing.T) {
	t.Parallel()
	request, recovered := secretRequest(),
		clixnow.EnsureLeadResponse{CreateLeadResponse: secretResponse(), Recovered: true}
	for name, test := range map[string]struct {
		value any
		want  string
	}{
		"request": {
			request,
			`{"firstName":"Allison","lastName":"Brown","email":"allison.brown@example.com","phone":"+41123456789",
			"password":"[hidden]","countryCode":"CH","languageCode":"EN","acceptTermsAndConditions":false,
			"acceptPromotions":false,"referralUrl":"https://website.com","subCampaign":"subcampaign",
			"placement":"landing_page","keyword":"test","sub2":"sub2","clickId":"20fn4ngo56n3snf74",
			"deviceType":"Mobile","deviceName":"iPhone16","osName":"iOS","browser":"Safari Mobile",
			"carrier":"Mobile","extra":["bonusKey","list","raw"]}`,
		},
		"address": {
			clixnow.CreateLeadRequest{IPAddress: netip.MustParseAddr("1.1.1.1")},
			`{"acceptTermsAndConditions":false,"acceptPromotions":false,"ipAddress":"1.1.1.1"}`,
		},
		"response": {
			secretResponse(),
			`{"leadId":123456,"redirectUrl":"[hidden]","clickId":"click","extra":["bonusKey"]}`,
		},
		"recovered": {
			recovered,
			`{"leadId":123456,"redirectUrl":"[hidden]","clickId":"click","recovered":true,"extra":["bonusKey"]}`,
		},
		"pointer": {
			&clixnow.EnsureLeadResponse{CreateLeadResponse: clixnow.CreateLeadResponse{LeadID: 7}},
			`{"leadId":7,"recovered":false}`,
		},
		"bulk, registered": {
			clixnow.BulkResult{
				Index:    3,
				Response: &clixnow.EnsureLeadResponse{CreateLeadResponse: clixnow.CreateLeadResponse{LeadID: 7}},
			},
			`{"index":3,"request":{"acceptTermsAndConditions":false,"acceptPromotions":false},
			"response":{"leadId":7,"recovered":false}}`,
		},
		"bulk, failed": {
			clixnow.BulkResult{Err: clixnow.ErrRateLimited},
			`{"index":0,"request":{"acceptTermsAndConditions":false,"acceptPromotions":false},
			"error":"clixnow: too many requests"}`,
		},
		"API error": {
			secretAnswer(),
			`"clixnow: acme: POST /api/system/v1/leads: 400 Bad Request: Duplicate lead"`,
		},
		"API error by value": {
			*secretAnswer(),
			`"clixnow: acme: POST /api/system/v1/leads: 400 Bad Request: Duplicate lead"`,
		},
		"embedded in another": {
			struct{ clixnow.CreateLeadResponse }{clixnow.CreateLeadResponse{LeadID: 7}},
			`{"leadId":7}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "value", test.value)
			var line struct{ Value json.RawMessage }
			require.NoError(t, json.Unmarshal(out.Bytes(), &line))
			assert.JSONEq(t, test.want, string(line.Value))
		})
	}
}

func TestClientKeepsItsTokenFromFmt(t *testing.T) {
	t.Parallel()
	opts := []clixnow.Option{
		clixnow.WithUserAgent("app/1"), clixnow.WithLogger(slog.New(slog.DiscardHandler)),
		clixnow.WithHTTPClient(&http.Client{}),
		clixnow.WithRetry(clixnow.RetryPolicy{}), clixnow.WithoutValidation(), clixnow.WithMaxResponseBytes(1),
		clixnow.WithInsecureHTTP(),
	}
	client, err := clixnow.NewClient("acme", testToken, opts...)
	require.NoError(t, err)
	type private struct {
		client  *clixnow.Client
		value   clixnow.Client
		any     any
		opts    []clixnow.Option
		clients map[string]clixnow.Client
		create  func(context.Context, clixnow.CreateLeadRequest) (*clixnow.CreateLeadResponse, error)
	}
	holder := private{client, *client, *client, opts, map[string]clixnow.Client{"acme": *client}, client.CreateLead}
	for _, value := range []any{client, *client, holder, &holder, []private{holder}, opts, opts[0]} {
		for _, format := range everyFormat {
			text := fmt.Sprintf(format, value)
			require.Empty(t, leaks(text), "%s of %T: %s", format, value, text)
		}
		for _, asJSON := range []bool{true, false} {
			require.Empty(t, leaks(slogForms(asJSON, value)))
		}
	}
}

// requireNoLeak asserts that an error and the errors that it wraps show no
// secret, whatever prints them.
func requireNoLeak(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	require.Empty(t, leaks(err.Error()), err.Error())
	for _, data := range []string{"allison.brown@example.com", "41123456789"} {
		require.NotContains(t, strings.ToLower(err.Error()), data)
	}
	for _, value := range []any{err, struct{ Err error }{err}, []error{err}, &clixnow.BulkResult{Err: err}} {
		for _, format := range mainFormats {
			text := fmt.Sprintf(format, value)
			require.Empty(t, leaks(text), "%s of %T: %s", format, value, text)
		}
	}
	for _, value := range []any{err, fmt.Errorf("job 7: %w", err), errors.Join(err, err), struct{ Err error }{err}} {
		require.Empty(t, leaks(fmt.Sprintf("%v %s %+v %q", value, value, value, value)))
		require.Empty(t, leaks(slogForms(false, value)))
		require.Empty(t, leaks(slogForms(true, value)))
	}
	var answered *clixnow.APIError
	if errors.As(err, &answered) && error(answered) != err { //nolint:errorlint // err itself was checked above
		requireNoLeak(t, answered)
	}
	if inner := errors.Unwrap(err); inner != nil {
		requireNoLeak(t, inner)
	}
}

// echoes are servers that repeat secrets in texts that an error may show.
func echoes() map[string]http.HandlerFunc {
	type form struct {
		status            int
		contentType, body string
	}
	const (
		redirect = `"` + secretRedirect + `"`
		all      = `"ApiToken ` + testToken + ` P4ss-\"w\\ord! Allison.Brown@example.com +41123456789"`
	)
	echoes := make(map[string]http.HandlerFunc)
	for name, form := range map[string]form{
		"message":          {400, "application/json", `{"message":` + all + `}`},
		"message of a 401": {401, "application/json", `{"error":{"message":` + all + `}}`},
		"message of a 429": {429, "application/json", `{"detail":` + all + `}`},
		"fields": {
			422, "application/json",
			`{"errors":{"Password":` + all + `,` + all + `:[` + all + `]}}`,
		},
		"trace id":                    {500, "application/json", `{"traceId":` + all + `}`},
		"text":                        {502, "text/plain", "ApiToken " + testToken + " " + secretPassword},
		"text of JSON":                {503, "text/plain", "got " + all},
		"HTML":                        {500, "text/html", "<p>" + testToken + secretRedirect},
		"a success that is truncated": {200, "application/json", `{"leadId":1,"redirectUrl":` + redirect},
		"a success that is text":      {200, "text/plain", `{"leadId":1,"redirectUrl":` + redirect},
		"a success that is a string":  {201, "application/json", redirect},
		"a success that is a list":    {200, "text/plain", `[` + redirect + `]`},
		"a success without id": {
			200, "application/json",
			`{"redirectUrl":` + redirect + `,"bonus":"` + secretExtra + `"}`,
		},
		"a success of another form": {200, "application/json", `{"leadId":1,"redirectUrl":[` + redirect + `]}`},
		"a success with a text id":  {200, "application/json", `{"leadId":` + redirect + `}`},
		"a success with a message":  {200, "application/json", `{"message":` + all + `}`},
		"a success too large":       {200, "text/plain", secretRedirect + strings.Repeat(" ", 5000)},
	} {
		echoes[name] = func(w http.ResponseWriter, r *http.Request) {
			answer(form.status, form.contentType, asSent(r, form.body))(w, r)
		}
	}
	echoes["redirect"] = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "https://elsewhere.example/"+secretRedirect+testToken)
		answer(307, "", "")(w, r)
	}
	echoes["request id"] = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", r.Header.Get("Authorization"))
		answer(403, "", "")(w, r)
	}
	for name, raw := range map[string]string{
		"status line":       "HTTP/1.1 " + testToken + secretPassword + "\r\n\r\n",
		"status text":       "HTTP/1.1 400 " + testToken + secretPassword + "\r\nContent-Length: 0\r\n\r\n",
		"protocol":          testToken + " " + secretPassword + "\r\n\r\n",
		"header line":       "HTTP/1.1 200 OK\r\n" + testToken + secretPassword + "\r\n\r\n",
		"header key":        "HTTP/1.1 200 OK\r\nX(" + testToken + "): " + secretPassword + "\r\n\r\n",
		"content length":    "HTTP/1.1 200 OK\r\nContent-Length: " + testToken + secretPassword + "\r\n\r\n",
		"transfer encoding": "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + testToken + secretPassword + "\r\n\r\n",
		"chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + testToken + secretPassword +
			"\r\n",
		"trailer": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: " + testToken +
			secretPassword + "\r\n\r\n0\r\n" + testToken + "\r\n\r\n",
		"body that ends early": "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + secretRedirect,
		"two responses":        "HTTP/1.1 100 Continue\r\n\r\n" + testToken + secretPassword + "\r\n\r\n",
	} {
		echoes["raw: "+name] = func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			connection, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			defer connection.Close()
			_, _ = io.WriteString(connection, asSent(r, raw))
		}
	}
	return echoes
}

// asSent removes the password and the lead data from the response to a search,
// because a search does not send them.
func asSent(r *http.Request, text string) string {
	if r.Method == http.MethodPost {
		return text
	}
	return strings.NewReplacer(secretPassword, "", `P4ss-\"w\\ord!`, "", "Allison.Brown@example.com", "",
		"+41123456789", "").Replace(text)
}

// loggedClient returns a client with a log. The test fails if the log shows a
// secret or lead data. The client waits only milliseconds.
func loggedClient(t *testing.T, baseURL string, opts ...clixnow.Option) *clixnow.Client {
	t.Helper()
	var log bytes.Buffer
	t.Cleanup(func() {
		assert.NotEmpty(t, log.String())
		assert.Empty(t, leaks(log.String()), log.String())
		for _, data := range []string{"Allison", "allison.brown", "41123456789"} {
			assert.NotContains(t, log.String(), data)
		}
	})
	return clientOf(t, baseURL,
		append(opts,
			clixnow.WithLogger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))),
			clixnow.WithMaxResponseBytes(4000),
			clixnow.WithRetry(clixnow.RetryPolicy{
				MinBackoff: time.Microsecond, MaxBackoff: time.Millisecond,
				MaxAttempts: 2,
			}))...)
}

func TestErrorsHideSecrets(t *testing.T) {
	t.Parallel()
	for name, handle := range echoes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(handle)
			t.Cleanup(server.Close)
			client := loggedClient(t, server.URL)
			requireNoLeakOfClient(t, client)
		})
	}
}

// requireNoLeakOfClient makes every call of a client. It asserts that each call
// fails and shows no secret.
func requireNoLeakOfClient(t *testing.T, client *clixnow.Client) {
	t.Helper()
	_, err := client.CreateLead(t.Context(), secretRequest())
	requireNoLeak(t, err)
	_, err = client.EnsureLead(t.Context(), secretRequest())
	requireNoLeak(t, err)
	_, err = client.EnsureLeadSince(t.Context(), secretRequest(), time.Now())
	requireNoLeak(t, err)
	_, err = client.GetLead(t.Context(), 7)
	requireNoLeak(t, err)
	_, err = client.SearchLeadsPage(t.Context(), clixnow.SearchLeadsRequest{})
	requireNoLeak(t, err)
	for _, err := range client.SearchLeads(t.Context(), clixnow.SearchLeadsRequest{}) {
		requireNoLeak(t, err)
	}
	for _, err := range client.LeadChanges(t.Context(), clixnow.LeadChangesRequest{}) {
		requireNoLeak(t, err)
	}
	results := 0
	_ = client.CreateLeads(t.Context(), slices.Values([]clixnow.CreateLeadRequest{secretRequest()}),
		clixnow.BulkOptions{}, func(r clixnow.BulkResult) error {
			results++
			requireNoLeak(t, r.Err)
			require.Empty(t, leaks(fmt.Sprintf("%+v %#v", r, &r)))
			return nil
		})
	require.Equal(t, 1, results)
}

// A RoundTripper knows the header and the body that it sends, and its error may
// have them.
func TestTransportErrorsHideSecrets(t *testing.T) {
	t.Parallel()
	dump := func(r *http.Request) string {
		var body []byte
		if r.Body != nil {
			body, _ = io.ReadAll(r.Body)
		}
		mandatory, _, _ := strings.Cut(string(body), `"countryCode`)
		return fmt.Sprint(r.Header, mandatory)
	}
	for name, fail := range map[string]roundTripper{
		"text": func(r *http.Request) (*http.Response, error) { return nil, errors.New(passwordOnly(dump(r))) },
		"wrapped": func(r *http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("%w: %s", net.ErrClosed, passwordOnly(dump(r)))
		},
		"quoted": func(r *http.Request) (*http.Response, error) { return nil, fmt.Errorf("sending %q", r.Header) },
		"refused": func(r *http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("%w: %v", clixnow.ErrNotSent, r.Header)
		},
		"of the connection": func(r *http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Net: testToken, Err: errors.New(fmt.Sprint(r.Header))}
		},
		"body that fails": func(r *http.Request) (*http.Response, error) {
			text := passwordOnly(dump(r))
			return &http.Response{
				StatusCode: 200, Header: http.Header{},
				Body: io.NopCloser(io.MultiReader(strings.NewReader(secretRedirect), failing(text))), Request: r,
			}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireNoLeakOfClient(t,
				loggedClient(t, "https://integration.example", clixnow.WithHTTPClient(&http.Client{Transport: fail})))
		})
	}
}

// passwordOnly removes the values before the password from a dump of a request.
// The SDK does not mask names in the error of a RoundTripper.
func passwordOnly(text string) string {
	before, _, _ := strings.Cut(text, `"firstName"`)
	_, password, _ := strings.Cut(text, `"password"`)
	return before + password
}

type failing string

func (f failing) Read([]byte) (int, error) { return 0, errors.New(string(f)) }

// An error of EnsureLead wraps the errors of its looks.
func TestEnsureLeadErrorsHideSecrets(t *testing.T) {
	t.Parallel()
	all, err := json.Marshal(testToken + " " + secretPassword)
	require.NoError(t, err)
	for name, look := range map[string]http.HandlerFunc{
		"look quotes the lead": answer(403, "application/json",
			`{"message":"Allison.Brown@example.com","errors":{"x":["+41123456789"]}}`),
		"look quotes the lead in HTML": answer(502, "text/plain", "allison.brown&#64;example.com 41123456789"),
		"look refused":                 answer(403, "application/json", `{"message":"`+testToken+`"}`),
		"look is text":                 answer(200, "text/plain", testToken),
		"nothing there":                answer(200, "", "[]"),
		"masked emails":                answer(200, "", `[{"id":1,"email":"a***@example.com"}]`),
		"look is broken":               answer(500, "text/plain", testToken),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var once sync.Once
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				handle := look
				if r.Method == http.MethodPost {
					handle = answer(422, "application/json", `{"message":`+string(all)+`}`)
					once.Do(func() { handle = answer(502, "text/plain", testToken+secretPassword) })
				}
				handle(w, r)
			}))
			t.Cleanup(server.Close)
			_, err := loggedClient(t, server.URL).EnsureLead(t.Context(), secretRequest())
			requireClass(t, clixnow.ErrOutcomeUnknown, err)
			requireNoLeak(t, err)
		})
	}
}

type leaky struct{}

func (leaky) MarshalJSON() ([]byte, error) { return nil, errors.New(secretExtra) }

func TestErrorsBeforeSendingHideSecrets(t *testing.T) {
	t.Parallel()
	client := newClient(t, answer(http.StatusOK, "", "[]"))
	broken := secretRequest()
	broken.Password, broken.Email, broken.ReferralURL, broken.CountryCode = secretPassword+"\xff", secretExtra,
		secretRedirect, secretExtra
	broken.Extra["chan"], broken.Extra["leaky"], broken.Extra["raw"] = make(chan int), leaky{},
		json.RawMessage(secretExtra)
	_, createErr := client.CreateLead(t.Context(), broken)
	_, marshalErr := json.Marshal(broken)
	_, responseErr := json.Marshal(clixnow.CreateLeadResponse{RedirectURL: secretRedirect + "\xff"})
	_, extraErr := json.Marshal(clixnow.EnsureLeadResponse{CreateLeadResponse: clixnow.CreateLeadResponse{
		Extra: map[string]json.RawMessage{"x": json.RawMessage(secretExtra)},
	}})
	_, landingErr := clixnow.ParseLandingURL("https://landing.com:" + secretExtra + "/")
	_, schemeErr := clixnow.ParseLandingURL("ftp://" + secretExtra)
	for name, err := range map[string]error{
		"create": createErr, "validate": broken.Validate(), "marshal": marshalErr, "marshal response": responseErr,
		"marshal extra": extraErr,
		"unmarshal request": json.Unmarshal([]byte(`{"email":"x","password":["`+secretExtra+`"]}`),
			new(clixnow.CreateLeadRequest)),
		"unmarshal address": json.Unmarshal([]byte(`{"ipAddress":"`+secretExtra+`"}`), new(clixnow.CreateLeadRequest)),
		"unmarshal response": json.Unmarshal([]byte(`{"leadId":1,"redirectUrl":["`+secretRedirect+`"]}`),
			new(clixnow.CreateLeadResponse)),
		"unmarshal ensured": json.Unmarshal([]byte(`{"leadId":"`+secretRedirect+`"}`),
			new(clixnow.EnsureLeadResponse)),
		"landing": landingErr, "landing's scheme": schemeErr,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireNoLeak(t, err)
		})
	}
}

func TestNewClientErrorsHideSecrets(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		brand, token string
		opt          clixnow.Option
	}{
		"swapped":         {testToken + "_", "acme", nil},
		"token twice":     {testToken + ".", testToken, nil},
		"token for brand": {testToken + strings.Repeat("x", 63), "acme", nil},
		"newline":         {"acme", testToken + "\n", nil},
		"space":           {"acme", " " + testToken, nil},
		"inner space":     {"acme", "ApiToken " + testToken, nil},
		"beyond ASCII":    {"acme", testToken + "é", nil},
		"base URL with it": {
			"acme", testToken,
			clixnow.WithBaseURL("https://user:" + testToken + "@host.example"),
		},
		"base URL's query":       {"acme", testToken, clixnow.WithBaseURL("https://host.example/?token=" + testToken)},
		"base URL that is it":    {"acme", testToken, clixnow.WithBaseURL(testToken)},
		"base URL with its port": {"acme", testToken, clixnow.WithBaseURL("https://host.example:" + testToken)},
		"base URL that is plain": {"acme", testToken, clixnow.WithBaseURL("http://" + testToken + ".example")},
		"user agent":             {"acme", testToken, clixnow.WithUserAgent(testToken + "\n")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := []clixnow.Option{test.opt}
			if test.opt == nil {
				opts = nil
			}
			_, err := clixnow.NewClient(test.brand, test.token, opts...)
			requireNoLeak(t, err)
		})
	}
}
