package clixnow_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// The types in the tables below are short names.
type (
	apiError   = clixnow.APIError
	fieldTexts = map[string][]string
)

func TestOutcomeOf(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err  error
		want clixnow.Outcome
	}{
		"nil":          {nil, clixnow.OutcomeRegistered},
		"unknown":      {clixnow.ErrOutcomeUnknown, clixnow.OutcomeUnknown},
		"refused":      {clixnow.ErrRefused, clixnow.OutcomeRefused},
		"not sent":     {clixnow.ErrNotSent, clixnow.OutcomeNotSent},
		"rate limited": {clixnow.ErrRateLimited, clixnow.OutcomeRateLimited},
		"wrapped": {
			fmt.Errorf("job 7: %w", fmt.Errorf("create: %w", clixnow.ErrNotSent)),
			clixnow.OutcomeNotSent,
		},
		"joined": {
			errors.Join(context.Canceled, errors.Join(errors.New("x"), clixnow.ErrRateLimited)),
			clixnow.OutcomeRateLimited,
		},
		"validation":         {&clixnow.ValidationError{}, clixnow.OutcomeRefused},
		"ErrInvalidRequest":  {clixnow.ErrInvalidRequest, clixnow.OutcomeRefused},
		"literal of a 400":   {&apiError{StatusCode: 400}, clixnow.OutcomeRefused},
		"literal of a 302":   {&apiError{StatusCode: 302}, clixnow.OutcomeRefused},
		"literal of a 429":   {fmt.Errorf("x: %w", &apiError{StatusCode: 429}), clixnow.OutcomeRateLimited},
		"literal of a 303":   {&apiError{StatusCode: 303}, clixnow.OutcomeUnknown},
		"literal of a 408":   {&apiError{StatusCode: 408}, clixnow.OutcomeUnknown},
		"literal of a 460":   {&apiError{StatusCode: 460}, clixnow.OutcomeUnknown},
		"literal of a 499":   {&apiError{StatusCode: 499}, clixnow.OutcomeUnknown},
		"literal of a 503":   {&apiError{StatusCode: 503}, clixnow.OutcomeUnknown},
		"mock without class": {errors.New("connection reset"), clixnow.OutcomeUnknown},
		"reason without a class": {
			clixnow.ErrDuplicateLead, clixnow.OutcomeUnknown,
		},
		"context": {context.DeadlineExceeded, clixnow.OutcomeUnknown},
		"unknown wins": {
			errors.Join(&apiError{StatusCode: 400}, clixnow.ErrNotSent, clixnow.ErrOutcomeUnknown),
			clixnow.OutcomeUnknown,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, test.want, clixnow.OutcomeOf(test.err))
		})
	}
}

// allReasons has one error for each reason, in the order in which the first
// reason that fits counts.
func allReasons() []error {
	return []error{
		&apiError{StatusCode: 409, Message: "Duplicate lead"},
		&apiError{StatusCode: 422, Message: "Registration is not allowed for country CH"},
		clixnow.ErrNoCapacity,
		&clixnow.ValidationError{},
		&apiError{StatusCode: 401},
		&apiError{StatusCode: 400},
	}
}

func TestReasonOf(t *testing.T) {
	t.Parallel()
	fields := fieldTexts{"phone": {"is invalid"}}
	for name, test := range map[string]struct {
		err  error
		want clixnow.Reason
	}{
		"nil":                {nil, clixnow.ReasonNone},
		"unknown":            {clixnow.ErrOutcomeUnknown, clixnow.ReasonNone},
		"not sent":           {clixnow.ErrNotSent, clixnow.ReasonNone},
		"rate limited":       {clixnow.ErrRateLimited, clixnow.ReasonNone},
		"mock without class": {errors.New("boom"), clixnow.ReasonNone},
		"reason, no class":   {clixnow.ErrDuplicateLead, clixnow.ReasonNone},
		"unknown with a duplicate": {
			fmt.Errorf("%w: %w", clixnow.ErrOutcomeUnknown, clixnow.ErrDuplicateLead), clixnow.ReasonNone,
		},
		"unknown with a refusal": {
			errors.Join(clixnow.ErrOutcomeUnknown, &apiError{StatusCode: 401}), clixnow.ReasonNone,
		},
		"408 with words": {&apiError{StatusCode: 408, Message: "Duplicate lead"}, clixnow.ReasonNone},
		"500 with words": {&apiError{StatusCode: 500, Message: "Duplicate lead"}, clixnow.ReasonNone},

		"validation":         {&clixnow.ValidationError{}, clixnow.ReasonInvalid},
		"ErrInvalidRequest":  {fmt.Errorf("x: %w", clixnow.ErrInvalidRequest), clixnow.ReasonInvalid},
		"400 with fields":    {&apiError{StatusCode: 400, Fields: fields}, clixnow.ReasonInvalid},
		"409 with fields":    {&apiError{StatusCode: 409, Fields: fields}, clixnow.ReasonInvalid},
		"422 with fields":    {&apiError{StatusCode: 422, Fields: fields}, clixnow.ReasonInvalid},
		"403 with fields":    {&apiError{StatusCode: 403, Fields: fields}, clixnow.ReasonAccess},
		"406 with fields":    {&apiError{StatusCode: 406, Fields: fields}, clixnow.ReasonOther},
		"400 without fields": {&apiError{StatusCode: 400, Fields: fieldTexts{}}, clixnow.ReasonOther},
		"duplicate":          {&apiError{StatusCode: 400, Message: "Duplicate lead"}, clixnow.ReasonDuplicate},
		"duplicate in fields": {
			&apiError{StatusCode: 400, Fields: fieldTexts{"email": {"already exists"}}}, clixnow.ReasonDuplicate,
		},
		"country": {&apiError{StatusCode: 400, Message: "not allowed for country"}, clixnow.ReasonCountry},
		"country in fields": {
			&apiError{StatusCode: 400, Fields: fieldTexts{"countryCode": {"Not allowed for country"}}},
			clixnow.ReasonCountry,
		},
		"403 with words": {&apiError{StatusCode: 403, Message: "Duplicate lead"}, clixnow.ReasonAccess},

		"301": {&apiError{StatusCode: 301}, clixnow.ReasonAccess},
		"307": {&apiError{StatusCode: 307, Message: "moved"}, clixnow.ReasonAccess},
		"399": {&apiError{StatusCode: 399}, clixnow.ReasonAccess},
		"401": {&apiError{StatusCode: 401, Message: "bad token"}, clixnow.ReasonAccess},
		"403": {&apiError{StatusCode: 403, Message: "no"}, clixnow.ReasonAccess},
		"407": {&apiError{StatusCode: 407}, clixnow.ReasonAccess},
		"415": {&apiError{StatusCode: 415}, clixnow.ReasonAccess},
		"421": {&apiError{StatusCode: 421}, clixnow.ReasonAccess},
		"404": {&apiError{StatusCode: 404}, clixnow.ReasonAccess},
		"405": {&apiError{StatusCode: 405}, clixnow.ReasonAccess},
		"410": {&apiError{StatusCode: 410}, clixnow.ReasonAccess},

		"404 with its own text":   {&apiError{StatusCode: 404, Message: "NOT FOUND"}, clixnow.ReasonAccess},
		"405 with its own text":   {&apiError{StatusCode: 405, Message: "Method Not Allowed"}, clixnow.ReasonAccess},
		"410 with its own text":   {&apiError{StatusCode: 410, Message: " gone\n"}, clixnow.ReasonAccess},
		"404 with another text":   {&apiError{StatusCode: 404, Message: "Gone"}, clixnow.ReasonOther},
		"404 with words":          {&apiError{StatusCode: 404, Message: "No hubs available"}, clixnow.ReasonOther},
		"405 with words":          {&apiError{StatusCode: 405, Message: "closed"}, clixnow.ReasonOther},
		"410 with words":          {&apiError{StatusCode: 410, Message: "campaign ended"}, clixnow.ReasonOther},
		"402":                     {&apiError{StatusCode: 402}, clixnow.ReasonOther},
		"406":                     {&apiError{StatusCode: 406}, clixnow.ReasonOther},
		"413":                     {&apiError{StatusCode: 413}, clixnow.ReasonOther},
		"451":                     {&apiError{StatusCode: 451}, clixnow.ReasonOther},
		"400 with unknown words":  {&apiError{StatusCode: 400, Message: "Daily cap reached"}, clixnow.ReasonOther},
		"409 with unknown words":  {&apiError{StatusCode: 409, Message: "paused"}, clixnow.ReasonOther},
		"ErrRefused of a mock":    {fmt.Errorf("mock: %w", clixnow.ErrRefused), clixnow.ReasonOther},
		"capacity, not a literal": {&apiError{StatusCode: 400, Message: "no capacity"}, clixnow.ReasonOther},

		"mock of a duplicate": {
			fmt.Errorf("%w: %w", clixnow.ErrRefused, clixnow.ErrDuplicateLead), clixnow.ReasonDuplicate,
		},
		"mock of a country": {
			fmt.Errorf("%w: %w", clixnow.ErrRefused, clixnow.ErrCountryNotAllowed), clixnow.ReasonCountry,
		},
		"mock of no capacity": {
			fmt.Errorf("%w: %w", clixnow.ErrNoCapacity, &apiError{StatusCode: 400}), clixnow.ReasonNoCapacity,
		},
		"mock of a 401": {errors.Join(clixnow.ErrRefused, clixnow.ErrUnauthorized), clixnow.ReasonAccess},
		"wrapped":       {fmt.Errorf("job 7: %w", &apiError{StatusCode: 401}), clixnow.ReasonAccess},
		"joined, second": {
			errors.Join(&apiError{StatusCode: 402}, &apiError{StatusCode: 407}), clixnow.ReasonAccess,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, test.want, clixnow.ReasonOf(test.err))
		})
	}
}

func TestReasonOfTakesTheFirstThatFits(t *testing.T) {
	t.Parallel()
	wants := []clixnow.Reason{
		clixnow.ReasonDuplicate, clixnow.ReasonCountry, clixnow.ReasonNoCapacity, clixnow.ReasonInvalid,
		clixnow.ReasonAccess, clixnow.ReasonOther,
	}
	for i, want := range wants {
		errs := allReasons()[i:]
		slices.Reverse(errs)
		// Without a refusal, ErrNoCapacity alone has no class.
		errs = append(errs, &apiError{StatusCode: 402})
		assert.Equal(t, want, clixnow.ReasonOf(errors.Join(errs...)), "%v", want)
	}
}

// reasoned is an error with a method Reason, as that of package router.
type reasoned struct {
	reason clixnow.Reason
	class  error
}

func (e reasoned) Error() string          { return "reasoned" }
func (e reasoned) Reason() clixnow.Reason { return e.reason }
func (e reasoned) Unwrap() error          { return e.class }

func TestReasonOfAnErrorWithAReason(t *testing.T) {
	t.Parallel()
	duplicate := &apiError{StatusCode: 400, Message: "Duplicate lead"}
	for name, test := range map[string]struct {
		err  error
		want clixnow.Reason
	}{
		"it decides":             {reasoned{clixnow.ReasonNoCapacity, duplicate}, clixnow.ReasonNoCapacity},
		"wrapped":                {fmt.Errorf("%w", reasoned{clixnow.ReasonAccess, duplicate}), clixnow.ReasonAccess},
		"joined":                 {errors.Join(duplicate, reasoned{clixnow.ReasonCountry, nil}), clixnow.ReasonCountry},
		"none":                   {reasoned{clixnow.ReasonNone, duplicate}, clixnow.ReasonNone},
		"without a class":        {reasoned{clixnow.ReasonInvalid, nil}, clixnow.ReasonInvalid},
		"of an unknown outcome":  {reasoned{clixnow.ReasonAccess, clixnow.ErrOutcomeUnknown}, clixnow.ReasonNone},
		"of a create not sent":   {reasoned{clixnow.ReasonAccess, clixnow.ErrNotSent}, clixnow.ReasonNone},
		"of a rate limited call": {reasoned{clixnow.ReasonAccess, clixnow.ErrRateLimited}, clixnow.ReasonNone},
	} {
		assert.Equal(t, test.want, clixnow.ReasonOf(test.err), name)
	}
}

func TestOutcomeAndReasonString(t *testing.T) {
	t.Parallel()
	for outcome, want := range map[clixnow.Outcome]string{
		clixnow.OutcomeRegistered: "registered", clixnow.OutcomeUnknown: "unknown",
		clixnow.OutcomeRefused: "refused", clixnow.OutcomeNotSent: "not sent",
		clixnow.OutcomeRateLimited: "rate limited", 5: "Outcome(5)", -1: "Outcome(-1)",
	} {
		assert.Equal(t, want, outcome.String())
		assert.Equal(t, want, fmt.Sprint(outcome))
	}
	for reason, want := range map[clixnow.Reason]string{
		clixnow.ReasonNone: "", clixnow.ReasonInvalid: "invalid", clixnow.ReasonDuplicate: "duplicate",
		clixnow.ReasonCountry: "country", clixnow.ReasonNoCapacity: "no capacity", clixnow.ReasonAccess: "access",
		clixnow.ReasonOther: "other", 7: "Reason(7)", -1: "Reason(-1)",
	} {
		assert.Equal(t, want, reason.String())
	}
}

// A brand that is full refuses. Nothing was created, and it may take the lead
// later (case L9).
func TestRefusalThatIsNotFinal(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		status int
		body   string
		want   clixnow.Reason
	}{
		"daily cap":          {400, `{"message":"Daily cap reached"}`, clixnow.ReasonOther},
		"no hubs":            {404, `{"message":"No hubs available"}`, clixnow.ReasonOther},
		"closed":             {410, `{"error":{"message":"Campaign closed"}}`, clixnow.ReasonOther},
		"paused":             {409, `{"detail":"Paused until Monday"}`, clixnow.ReasonOther},
		"problem+json":       {400, `{"title":"Bad Request","status":400}`, clixnow.ReasonOther},
		"empty object":       {422, `{}`, clixnow.ReasonOther},
		"field at fault":     {400, `{"message":"m","errors":{"Phone":["is invalid"]}}`, clixnow.ReasonInvalid},
		"text of a field":    {422, `{"errors":{"Phone":"is invalid"}}`, clixnow.ReasonInvalid},
		"wrong host":         {404, `<html>Not here</html>`, clixnow.ReasonAccess},
		"wrong path":         {404, `{"title":"Not Found","status":404}`, clixnow.ReasonAccess},
		"duplicate":          {400, `{"message":"Duplicate lead"}`, clixnow.ReasonDuplicate},
		"duplicate by field": {400, `{"errors":{"Email":["Email is already registered"]}}`, clixnow.ReasonDuplicate},
		"country":            {400, `{"message":"Registration is not allowed for country KP"}`, clixnow.ReasonCountry},
		"login page":         {302, ``, clixnow.ReasonAccess},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := newClient(t, answer(test.status, "application/json", test.body))
			_, err := client.CreateLead(t.Context(), vendorsLead())
			requireClass(t, clixnow.ErrRefused, err)
			assert.Equal(t, clixnow.OutcomeRefused, clixnow.OutcomeOf(err))
			assert.Equal(t, test.want, clixnow.ReasonOf(err))
			assert.NotErrorIs(t, err, clixnow.ErrNoCapacity, "no phrase is guessed")
		})
	}
}

// A proxy sends these statuses when a connection ends, perhaps after the lead
// was created (case L8).
func TestStatusThatDoesNotSayWhatHappened(t *testing.T) {
	t.Parallel()
	for _, status := range []int{303, 408, 460, 499, 500, 502, 503, 504, 520, 524, 599} {
		for _, body := range []string{"", `{"message":"Duplicate lead","errors":{"Email":["already exists"]}}`} {
			t.Run(fmt.Sprint(status, len(body)), func(t *testing.T) {
				t.Parallel()
				api := newAPI()
				api.Inject(clixnowtest.Fault{Method: "POST", HandleFirst: true, Status: status, Body: body})
				_, err := newClient(t, api.ServeHTTP).CreateLead(t.Context(), vendorsLead())
				requireClass(t, clixnow.ErrOutcomeUnknown, err)
				assert.Equal(t, clixnow.OutcomeUnknown, clixnow.OutcomeOf(err))
				assert.Equal(t, clixnow.ReasonNone, clixnow.ReasonOf(err))
				assert.Len(t, api.Leads(), 1)
				assert.Len(t, api.Requests(), 1, "never sent again")
			})
		}
	}
}

// The outcome of a real call follows from its class.
func TestOutcomeOfCalls(t *testing.T) {
	t.Parallel()
	lost := roundTripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("reset") })
	breaker := roundTripper(func(*http.Request) (*http.Response, error) { return nil, clixnow.ErrNotSent })
	for name, test := range map[string]struct {
		transport http.RoundTripper
		want      clixnow.Outcome
	}{
		"registered":   {inMemory{answer(201, "", `{"leadId":1}`)}, clixnow.OutcomeRegistered},
		"lost":         {lost, clixnow.OutcomeUnknown},
		"breaker":      {breaker, clixnow.OutcomeNotSent},
		"rate limited": {inMemory{answer(429, "", "")}, clixnow.OutcomeRateLimited},
		"refused":      {inMemory{answer(403, "", "")}, clixnow.OutcomeRefused},
		"unreadable":   {inMemory{answer(200, "", "<html>")}, clixnow.OutcomeUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hc := &http.Client{Transport: test.transport}
			client := clientOf(t, "https://clixnow.example", clixnow.WithHTTPClient(hc))
			_, err := client.CreateLead(t.Context(), vendorsLead())
			assert.Equal(t, test.want, clixnow.OutcomeOf(err), "%v", err)
			if err != nil {
				requireOneClass(t, err)
			}
		})
	}
	client := newClient(t, answer(200, "", `{"leadId":1}`))
	_, err := client.CreateLead(t.Context(), clixnow.CreateLeadRequest{})
	require.Equal(t, clixnow.OutcomeRefused, clixnow.OutcomeOf(err))
	require.Equal(t, clixnow.ReasonInvalid, clixnow.ReasonOf(err))
	require.True(t, strings.HasPrefix(err.Error(), "clixnow: invalid request: "))
}

var errOfCaller = errors.New("of the caller")

// recursive asks errors.Is about its cause itself, as some error types do.
type recursive struct{ cause error }

func (e recursive) Error() string        { return "recursive" }
func (e recursive) Is(target error) bool { return errors.Is(e.cause, target) }

func TestReasonOfWithRefusals(t *testing.T) {
	t.Parallel()
	returns := func(err error) func(*apiError) error { return func(*apiError) error { return err } }
	const duplicate, country = "Duplicate lead", "not allowed for country CH"
	for name, test := range map[string]struct {
		status  int
		message string
		read    func(*apiError) error
		matches []error
		reason  clixnow.Reason
	}{
		"nil: the words decide": {
			400, duplicate, returns(nil), []error{clixnow.ErrDuplicateLead}, clixnow.ReasonDuplicate,
		},
		"no capacity": {
			400, "cap", returns(clixnow.ErrNoCapacity), []error{clixnow.ErrNoCapacity}, clixnow.ReasonNoCapacity,
		},
		"a status that is not about the lead": {
			403, "cap", returns(clixnow.ErrNoCapacity),
			[]error{clixnow.ErrNoCapacity, clixnow.ErrForbidden},
			clixnow.ReasonNoCapacity,
		},
		"a duplicate in other words": {
			418, "lead vorhanden", returns(clixnow.ErrDuplicateLead),
			[]error{clixnow.ErrDuplicateLead},
			clixnow.ReasonDuplicate,
		},
		"a country in other words": {
			400, "geo", returns(fmt.Errorf("geo: %w", clixnow.ErrCountryNotAllowed)),
			[]error{clixnow.ErrCountryNotAllowed},
			clixnow.ReasonCountry,
		},
		"the words do not count": {
			400, duplicate, returns(clixnow.ErrNoCapacity), []error{clixnow.ErrNoCapacity}, clixnow.ReasonNoCapacity,
		},
		"an error of the caller": {
			400, duplicate, returns(errOfCaller), []error{errOfCaller}, clixnow.ReasonOther,
		},
		"joined": {
			400, country, returns(errors.Join(errOfCaller, clixnow.ErrDuplicateLead)),
			[]error{errOfCaller, clixnow.ErrDuplicateLead},
			clixnow.ReasonDuplicate,
		},
		"its argument": {
			400, duplicate, func(e *apiError) error { return e }, nil, clixnow.ReasonOther,
		},
		"its argument, wrapped": {
			400, duplicate, func(e *apiError) error { return fmt.Errorf("full: %w: %w", clixnow.ErrNoCapacity, e) },
			[]error{clixnow.ErrNoCapacity},
			clixnow.ReasonNoCapacity,
		},
		"its argument in an error that asks errors.Is": {
			400, duplicate, func(e *apiError) error { return recursive{errors.Join(e, errOfCaller)} },
			[]error{errOfCaller},
			clixnow.ReasonOther,
		},
		"another class: unknown": {
			400, "x", returns(errors.Join(clixnow.ErrOutcomeUnknown, errOfCaller)),
			[]error{errOfCaller},
			clixnow.ReasonOther,
		},
		"another class: not sent":     {400, "x", returns(clixnow.ErrNotSent), nil, clixnow.ReasonOther},
		"another class: rate limited": {400, "x", returns(clixnow.ErrRateLimited), nil, clixnow.ReasonOther},
		"the same class":              {400, "x", returns(clixnow.ErrRefused), nil, clixnow.ReasonOther},
		"a field at fault": {
			400, "x", returns(clixnow.ErrInvalidRequest), []error{clixnow.ErrInvalidRequest}, clixnow.ReasonInvalid,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			read := func(e *apiError) error {
				assert.Equal(t, test.message, e.Message)
				assert.Equal(t, test.message == duplicate, errors.Is(e, clixnow.ErrDuplicateLead), "by its words")
				return test.read(e)
			}
			handle := answer(test.status, "application/json", `{"message":"`+test.message+`"}`)
			_, err := newClient(t, handle, clixnow.WithRefusals(read)).CreateLead(t.Context(), vendorsLead())
			requireClass(t, clixnow.ErrRefused, err)
			for _, err := range []error{err, fmt.Errorf("wrapped: %w", err), errors.Join(errors.New("x"), err)} {
				for _, target := range []error{
					clixnow.ErrDuplicateLead, clixnow.ErrCountryNotAllowed, clixnow.ErrNoCapacity,
					clixnow.ErrInvalidRequest, clixnow.ErrForbidden, errOfCaller,
				} {
					assert.Equal(t, slices.Contains(test.matches, target), errors.Is(err, target), "%v", target)
				}
				assert.Equal(t, clixnow.OutcomeRefused, clixnow.OutcomeOf(err))
				assert.Equal(t, test.reason, clixnow.ReasonOf(err))
			}
			assert.NotContains(t, err.Error(), "caller")
		})
	}
}

func TestPanicOfRefusalsComesOut(t *testing.T) {
	t.Parallel()
	client := newClient(t, answer(http.StatusBadRequest, "", ""),
		clixnow.WithRefusals(func(*apiError) error { panic("boom") }))
	assert.PanicsWithValue(t, "boom", func() { _, _ = client.CreateLead(t.Context(), vendorsLead()) })
	assert.PanicsWithValue(t, "boom", func() { _, _ = client.EnsureLead(t.Context(), vendorsLead()) })
	assert.PanicsWithValue(t, "boom", func() {
		reqs := slices.Values([]clixnow.CreateLeadRequest{vendorsLead()})
		_ = client.CreateLeads(t.Context(), reqs, clixnow.BulkOptions{}, func(clixnow.BulkResult) error { return nil })
	})
}

// Only a response to a create that refuses it is read.
func TestRefusalsAreReadOfRefusedCreates(t *testing.T) {
	t.Parallel()
	for _, status := range []int{200, 201, 300, 303, 307, 400, 401, 403, 404, 408, 409, 429, 460, 499, 500, 503} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			client := newClient(t, answer(status, "", "{}"), clixnow.WithRefusals(func(e *apiError) error {
				calls.Add(1)
				assert.Equal(t, status, e.StatusCode)
				return nil
			}))
			_, _ = client.GetLead(t.Context(), 7)
			assert.Zero(t, calls.Load(), "a search")
			_, _ = client.CreateLead(t.Context(), vendorsLead())
			want := int32(0)
			if matches(status, clixnow.ErrRefused) {
				want = 1
			}
			assert.Equal(t, want, calls.Load())
		})
	}
}

// Secrets are masked before the function of WithRefusals is called.
func TestRefusalsAreMasked(t *testing.T) {
	t.Parallel()
	var seen clixnow.APIError
	client := newClient(t, answer(http.StatusBadRequest, "text/plain", testToken+" Password123! +41123456789"),
		clixnow.WithRefusals(func(e *apiError) error {
			seen = *e
			return nil
		}))
	_, err := client.CreateLead(t.Context(), vendorsLead())
	require.Error(t, err)
	assert.Equal(t, "[hidden] [hidden] +41123456789", seen.Message)
	assert.Equal(t, err.Error(), seen.Error())
}
