package contract_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// exchange is a request and its response, if there was one.
type exchange struct {
	Method string
	URL    string
	Header http.Header
	Body   []byte

	// Status is 0 if there was no response.
	Status       int
	AnswerHeader http.Header
	Answer       []byte

	// Unvalidated means that the client had WithoutValidation.
	Unvalidated bool
}

// request returns a key that differs for requests which the description may
// treat differently.
func (e *exchange) request() string {
	u, _ := url.Parse(e.URL)
	return fmt.Sprintf("%s %s %v %s", e.Method, u.RequestURI(), e.Header, e.Body)
}

// answer does the same for responses.
func (e *exchange) answer() string {
	u, _ := url.Parse(e.URL)
	header := e.AnswerHeader.Clone()
	header.Del("Date")
	return fmt.Sprintf("%s %s %d %v %s", e.Method, u.Path, e.Status, header, e.Answer)
}

// errNoOperation means that the description has no operation with the method
// and path of the request.
var errNoOperation = errors.New("the description has no such operation")

// firstOf reports whether something was not checked before. Most traffic
// repeats itself, and the validator compiles its schema for each check.
func (d *description) firstOf(what string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	sum := sha256.Sum256([]byte(what))
	known := d.judged[sum]
	d.judged[sum] = true
	return !known
}

// judgeRequest returns the faults of a request. It reports equal requests once.
func (d *description) judgeRequest(ctx context.Context, e *exchange) error {
	if !d.firstOf("request " + e.request()) {
		return nil
	}
	input, err := d.input(ctx, e)
	if err != nil {
		return err
	}
	if err := openapi3filter.ValidateRequest(ctx, input); err != nil {
		return fmt.Errorf("%s %s: the request: %w", e.Method, input.Route.Path, reason(err))
	}
	for name := range input.QueryParams {
		if d.closed && input.Route.Operation.Parameters.GetByInAndName(openapi3.ParameterInQuery, name) == nil {
			return fmt.Errorf("%s %s: the request: the description has no parameter %q", e.Method, input.Route.Path,
				name)
		}
	}
	return nil
}

// judgeAnswer does the same for a response. If there is no operation, the body
// must be that of an error.
func (d *description) judgeAnswer(ctx context.Context, e *exchange) error {
	if !d.firstOf("answer " + e.answer()) {
		return nil
	}
	input, err := d.input(ctx, e)
	if errors.Is(err, errNoOperation) {
		return d.judgeError(e)
	}
	if err != nil {
		return err
	}
	output := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: e.Status, Header: e.AnswerHeader, Options: input.Options,
	}
	output.SetBodyBytes(e.Answer)
	if err := openapi3filter.ValidateResponse(ctx, output); err != nil {
		return fmt.Errorf("%s %s: the answer %d: %w", e.Method, input.Route.Path, e.Status, reason(err))
	}
	return nil
}

func (d *description) judgeError(e *exchange) error {
	var body any
	if err := json.Unmarshal(e.Answer, &body); err != nil {
		return fmt.Errorf("%s %s: the answer %d: %w", e.Method, e.URL, e.Status, err)
	}
	err := d.doc.Components.Schemas["Error"].Value.VisitJSON(body, openapi3.EnableJSONSchema2020())
	if err != nil || e.Status < 400 {
		return fmt.Errorf("%s %s: the answer %d is no error: %w", e.Method, e.URL, e.Status, err)
	}
	return nil
}

// input finds the operation of a request. Any host and any path prefix are
// allowed.
func (d *description) input(ctx context.Context, e *exchange) (*openapi3filter.RequestValidationInput, error) {
	request, err := http.NewRequestWithContext(ctx, e.Method, e.URL, bytes.NewReader(e.Body))
	if err != nil {
		return nil, err
	}
	request.Header = e.Header.Clone()
	path := request.URL.Path
	if start := strings.Index(path, leadsPath); start >= 0 {
		path = path[start:]
	}
	item := d.doc.Paths.Find(path)
	if item == nil || item.GetOperation(e.Method) == nil {
		return nil, fmt.Errorf("%s %s: %w", e.Method, path, errNoOperation)
	}
	return &openapi3filter.RequestValidationInput{
		Request: request, QueryParams: request.URL.Query(),
		Route: &routers.Route{
			Spec: d.doc, Path: path, PathItem: item, Method: e.Method,
			Operation: item.GetOperation(e.Method),
		},
		Options: &openapi3filter.Options{
			IncludeResponseStatus: true, RejectWhenRequestBodyNotSpecified: true, SkipSettingDefaults: true,
			AuthenticationFunc: hasToken,
		},
	}, nil
}

// hasToken checks the form of the security scheme.
func hasToken(_ context.Context, input *openapi3filter.AuthenticationInput) error {
	scheme := input.SecurityScheme
	token, ok := strings.CutPrefix(input.RequestValidationInput.Request.Header.Get(scheme.Name), "ApiToken ")
	if scheme.In != "header" || !ok || token == "" {
		return errors.New("there is no token in the form of the description")
	}
	return nil
}

// reason shortens an error. Otherwise it would print whole schemas.
func reason(err error) error {
	lines := strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' })
	const enough = 6
	kept := slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, " ") })
	return errors.New(strings.Join(kept[:min(len(kept), enough)], "; "))
}

// seen returns the parts of the description that an exchange uses, such as
// "POST firstName", "GET skip" and "200 POST leadId".
func (e *exchange) seen() (names []string) {
	if u, err := url.Parse(e.URL); err == nil {
		for name := range u.Query() {
			names = append(names, e.Method+" "+name)
		}
	}
	names = append(names, members(e.Method, e.Body)...)
	if e.Status != 0 {
		names = append(names, members(fmt.Sprint(e.Status, " ", e.Method), e.Answer)...)
	}
	return names
}

// members returns the member names of an object, or of all objects in a list.
// The list may be in an envelope.
func members(prefix string, body []byte) (names []string) {
	var object map[string]json.RawMessage
	var list []map[string]json.RawMessage
	switch {
	case json.Unmarshal(body, &list) == nil:
		for _, object := range list {
			for name := range object {
				names = append(names, prefix+" "+name)
			}
		}
	case json.Unmarshal(body, &object) == nil:
		for name, value := range object {
			names = append(names, prefix+" "+name)
			if json.Unmarshal(value, &list) == nil {
				names = append(names, members(prefix, value)...)
			}
		}
	}
	return names
}

// named returns what the description names in requests and in responses with
// status 200, in the form of seen.
func (d *description) named() (names []string) {
	for _, parameter := range d.doc.Paths.Find(searchPath).Get.Parameters {
		names = append(names, "GET "+parameter.Value.Name)
	}
	for prefix, schema := range map[string]string{
		"POST ": "CreateLeadRequest", "200 POST ": "CreateLeadResponse", "200 GET ": "Lead",
	} {
		for name := range d.doc.Components.Schemas[schema].Value.Properties {
			names = append(names, prefix+name)
		}
	}
	slices.Sort(names)
	return names
}

// record forwards a request, and records the request and the response. The
// response can still be read.
func record(next http.RoundTripper, request *http.Request) (*exchange, *http.Response, error) {
	e := &exchange{Method: request.Method, URL: request.URL.String(), Header: request.Header.Clone()}
	if request.GetBody != nil {
		body, err := request.GetBody()
		if err != nil {
			return nil, nil, err
		}
		if e.Body, err = io.ReadAll(body); err != nil {
			return nil, nil, err
		}
	}
	answer, err := next.RoundTrip(request)
	if err != nil {
		return e, nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	rest := cmp.Or(err, io.EOF) // a truncated body stays truncated
	answer.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), failingReader{rest}))
	if err == nil {
		e.Status, e.AnswerHeader, e.Answer = answer.StatusCode, answer.Header.Clone(), body
	}
	return e, answer, nil
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }
