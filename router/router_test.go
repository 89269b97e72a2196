package router_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/router"
)

var (
	lost    = clixnowtest.Fault{Method: "POST", Drop: clixnowtest.DropAfterHandling}
	blind   = clixnowtest.Fault{Method: "GET", Status: 503, Times: 100}
	full    = clixnowtest.WithCapacity(0, "Daily cap reached")
	noSwiss = clixnowtest.WithCountries("DE")
)

// journal saves the attempts of Begin.
type journal struct{ attempts []router.Attempt }

func (j *journal) begin(_ context.Context, a router.Attempt) error {
	j.attempts = append(j.attempts, a)
	return nil
}

func (j *journal) brands() (brands []string) {
	for _, a := range j.attempts {
		brands = append(brands, a.Brand)
	}
	return brands
}

func routes(brands ...brand) (routes []router.Route) {
	for _, b := range brands {
		routes = append(routes, router.Route{Client: b.client})
	}
	return routes
}

// requireClass requires that err matches one of the four classes, and none of
// the others.
func requireClass(t *testing.T, want, err error) {
	t.Helper()
	for _, class := range []error{
		clixnow.ErrOutcomeUnknown, clixnow.ErrRefused, clixnow.ErrNotSent, clixnow.ErrRateLimited,
	} {
		require.Equal(t, class == want, errors.Is(err, class), "%v: %v", class, err) //nolint:errorlint // a class
	}
}

func TestRegister(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		first, second []clixnowtest.Option
		faults        []clixnowtest.Fault // of the first brand
		req           func(*clixnow.CreateLeadRequest)
		next          func(error) bool

		brand  string // that took the lead, or ""
		class  error
		reason clixnow.Reason
		tried  []string
		begun  []string
		posts  [2]int
	}{
		"the first brand takes the lead": {
			brand: "acme", begun: []string{"acme"}, posts: [2]int{1, 0},
		},
		"the first brand is full": {
			first: []clixnowtest.Option{full},
			brand: "beta", tried: []string{"acme"}, begun: []string{"acme", "beta"}, posts: [2]int{1, 1},
		},
		"the first brand does not take the country": {
			first: []clixnowtest.Option{noSwiss},
			brand: "beta", tried: []string{"acme"}, begun: []string{"acme", "beta"}, posts: [2]int{1, 1},
		},
		"all are full": {
			first: []clixnowtest.Option{full}, second: []clixnowtest.Option{full},
			class: clixnow.ErrRefused, reason: clixnow.ReasonOther,
			tried: []string{"acme", "beta"}, begun: []string{"acme", "beta"}, posts: [2]int{1, 1},
		},
		"the most hopeful reason counts": {
			first: []clixnowtest.Option{full}, second: []clixnowtest.Option{noSwiss},
			class: clixnow.ErrRefused, reason: clixnow.ReasonOther,
			tried: []string{"acme", "beta"}, begun: []string{"acme", "beta"}, posts: [2]int{1, 1},
		},
		"an invalid request reaches no brand": {
			req:   func(r *clixnow.CreateLeadRequest) { r.CountryCode = "CHE" },
			class: clixnow.ErrRefused, reason: clixnow.ReasonInvalid, tried: []string{"acme"},
		},
		"a lost answer is recovered": {
			faults: []clixnowtest.Fault{lost},
			brand:  "acme", begun: []string{"acme"}, posts: [2]int{1, 0},
		},
		"an unknown outcome ends the registration": {
			faults: []clixnowtest.Fault{lost, blind},
			class:  clixnow.ErrOutcomeUnknown, tried: []string{"acme"}, begun: []string{"acme"}, posts: [2]int{1, 0},
		},
		"an unknown outcome does not ask Next": {
			faults: []clixnowtest.Fault{lost, blind}, next: func(error) bool { panic("Next was called") },
			class: clixnow.ErrOutcomeUnknown, tried: []string{"acme"}, begun: []string{"acme"}, posts: [2]int{1, 0},
		},
		"a limited rate leads to the next brand": {
			faults: []clixnowtest.Fault{{Method: "POST", Status: 429, Times: 3}},
			brand:  "beta", tried: []string{"acme"}, begun: []string{"acme", "beta"}, posts: [2]int{3, 1},
		},
		"a limited rate outweighs a refusal": {
			faults: []clixnowtest.Fault{{Method: "POST", Status: 429, Times: 3}}, second: []clixnowtest.Option{full},
			class: clixnow.ErrRateLimited, tried: []string{"acme", "beta"},
			begun: []string{"acme", "beta"}, posts: [2]int{3, 1},
		},
		"a wrong token leads to the next brand": {
			faults: []clixnowtest.Fault{{Method: "POST", Status: 401}},
			brand:  "beta", tried: []string{"acme"}, begun: []string{"acme", "beta"}, posts: [2]int{1, 1},
		},
		"a duplicate ends the registration": {
			faults: []clixnowtest.Fault{{Method: "POST", Status: 400, Body: `{"message":"Duplicate lead"}`}},
			class:  clixnow.ErrRefused, reason: clixnow.ReasonDuplicate,
			tried: []string{"acme"}, begun: []string{"acme"}, posts: [2]int{1, 0},
		},
		"Next sells a duplicate on": {
			faults: []clixnowtest.Fault{{Method: "POST", Status: 400, Body: `{"message":"Duplicate lead"}`}},
			next:   func(err error) bool { return errors.Is(err, clixnow.ErrDuplicateLead) },
			brand:  "beta", tried: []string{"acme"}, begun: []string{"acme", "beta"}, posts: [2]int{1, 1},
		},
		"Next stops at a full brand": {
			first: []clixnowtest.Option{full}, next: func(error) bool { return false },
			class: clixnow.ErrRefused, reason: clixnow.ReasonOther,
			tried: []string{"acme"}, begun: []string{"acme"}, posts: [2]int{1, 0},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			acme, beta := newBrand(t, "acme", test.first...), newBrand(t, "beta", test.second...)
			acme.Inject(test.faults...)
			var saved journal
			r := &router.Router{Routes: routes(acme, beta), Begin: saved.begin, Next: test.next}
			req := lead(1)
			if test.req != nil {
				test.req(&req)
			}

			result, err := r.Register(t.Context(), req, router.Attempt{})

			assert.Equal(t, test.begun, saved.brands(), "Begin")
			assert.Equal(t, test.posts, [2]int{acme.posts(), beta.posts()}, "posts")
			if test.class == nil {
				require.NoError(t, err)
				assert.Equal(t, test.brand, result.Brand)
				assert.Equal(t, test.tried, brandsOf(result.Tried))
				assert.Positive(t, result.Lead.LeadID)
				assert.Zero(t, router.InDoubt(err))
				return
			}
			assert.Nil(t, result)
			requireClass(t, test.class, err)
			assert.Equal(t, test.reason, clixnow.ReasonOf(err))
			var failed *router.Error
			require.ErrorAs(t, err, &failed)
			assert.Equal(t, test.tried, brandsOf(failed.Tried))
			if errors.Is(test.class, clixnow.ErrOutcomeUnknown) {
				assert.Equal(t, saved.attempts[0], router.InDoubt(fmt.Errorf("wrapped: %w", err)))
			} else {
				assert.Zero(t, router.InDoubt(err))
			}
		})
	}
}

func brandsOf(tries []router.Try) (brands []string) {
	for _, try := range tries {
		brands = append(brands, try.Brand)
	}
	return brands
}

func TestRegisterResumes(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		brand   string // of the last attempt
		created bool   // the last attempt created the lead at beta
		beta    []clixnowtest.Option
		want    string
		posts   [3]int
		begun   []string
	}{
		"the lead is there":           {brand: "beta", created: true, want: "beta"},
		"the lead is not there":       {brand: "beta", want: "beta", posts: [3]int{0, 1, 0}},
		"the brand in another case":   {brand: "BETA", want: "beta", posts: [3]int{0, 1, 0}},
		"the last brand of all":       {brand: "gamma", want: "gamma", posts: [3]int{0, 0, 1}},
		"from the first on":           {brand: "acme", want: "acme", posts: [3]int{1, 0, 0}},
		"it does not ask Accepts":     {brand: "closed", want: "closed"},
		"the brand is full meanwhile": {brand: "beta", beta: []clixnowtest.Option{full}, posts: [3]int{0, 1, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			acme, beta, gamma := newBrand(t, "acme"), newBrand(t, "beta", test.beta...), newBrand(t, "gamma")
			closed := newBrand(t, "closed")
			since := time.Now().Add(-time.Minute)
			if test.created {
				beta.AddLeads(clixnow.Lead{
					Email: lead(1).Email, ClickID: lead(1).ClickID, CreatedOn: since.Add(time.Second),
				})
			}
			var saved journal
			all := routes(acme, beta, gamma, closed)
			all[3].Accepts = func(clixnow.CreateLeadRequest) bool { return false }
			r := &router.Router{Routes: all, Begin: saved.begin}

			result, err := r.Register(t.Context(), lead(1), router.Attempt{Brand: test.brand, Since: since})

			assert.Equal(t, test.begun, saved.brands())
			assert.Equal(t, test.posts, [3]int{acme.posts(), beta.posts(), gamma.posts()})
			if test.want == "" {
				// A refusal does not prove that the earlier try created
				// nothing.
				requireClass(t, clixnow.ErrOutcomeUnknown, err)
				assert.Equal(t, router.Attempt{Brand: test.brand, Since: since}, router.InDoubt(err))
				return
			}
			require.NoError(t, err)
			assert.Equal(t, test.want, result.Brand)
			assert.Equal(t, test.created, result.Lead.Recovered)
		})
	}
}

// An old attempt whose brand has closed ends in a refusal, and the next brand
// takes the lead.
func TestRegisterGoesOnAfterAnOldAttempt(t *testing.T) {
	t.Parallel()
	acme, beta := newBrand(t, "acme", full), newBrand(t, "beta")
	acme.AddLeads(clixnow.Lead{ID: 1, CreatedOn: time.Now().Add(-72 * time.Hour)})
	var saved journal
	r := &router.Router{Routes: routes(acme, beta), Begin: saved.begin}
	result, err := r.Register(t.Context(), lead(1), router.Attempt{Brand: "acme", Since: time.Now().Add(-time.Hour)})
	require.NoError(t, err)
	assert.Equal(t, "beta", result.Brand)
	assert.Equal(t, []string{"acme"}, brandsOf(result.Tried))
	assert.Equal(t, []string{"beta"}, saved.brands())
}

// slog's JSON handler would encode a struct without LogValue in full.
func TestResultHidesRedirectURL(t *testing.T) {
	t.Parallel()
	acme, beta := newBrand(t, "acme", full), newBrand(t, "beta")
	result, err := (&router.Router{Routes: routes(acme, beta)}).Register(t.Context(), lead(1), router.Attempt{})
	require.NoError(t, err)
	require.Contains(t, result.Lead.RedirectURL, "autologin")
	var out strings.Builder
	for _, handler := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
		slog.New(handler).Info("m", "pointer", result, "value", *result, "zero", router.Result{})
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%d"} {
		fmt.Fprintf(&out, format, []any{result, *result})
	}
	assert.NotContains(t, out.String(), "autologin")
	assert.Contains(t, out.String(), `"pointer":{"brand":"beta","lead":{"leadId":`)
	assert.Contains(t, out.String(), `"tried":["clixnow: acme: `)
}

func TestRegisterAccepts(t *testing.T) {
	t.Parallel()
	acme, beta := newBrand(t, "acme"), newBrand(t, "beta")
	never := func(clixnow.CreateLeadRequest) bool { return false }
	all := routes(acme, beta)
	all[0].Accepts = never
	result, err := (&router.Router{Routes: all}).Register(t.Context(), lead(1), router.Attempt{})
	require.NoError(t, err)
	assert.Equal(t, "beta", result.Brand)
	assert.Empty(t, result.Tried)
	assert.Zero(t, acme.posts())

	all[1].Accepts = never
	_, err = (&router.Router{Routes: all}).Register(t.Context(), lead(2), router.Attempt{})
	requireClass(t, clixnow.ErrRefused, err)
	assert.Equal(t, clixnow.ReasonOther, clixnow.ReasonOf(err))
	var failed *router.Error
	require.ErrorAs(t, err, &failed)
	assert.Empty(t, failed.Tried)
	assert.EqualError(t, err, "clixnow: router: refused: no route accepts the lead")
}

func TestRegisterBeginFails(t *testing.T) {
	t.Parallel()
	// The class of the cause is not that of the error.
	errDisk := &fs.PathError{
		Op: "write", Path: "jobs", Err: fmt.Errorf("disk full: %w", clixnow.ErrOutcomeUnknown),
	}
	for name, test := range map[string]struct {
		first []clixnowtest.Option
		fails string
		tried []string
		posts [2]int
	}{
		"at the first brand":  {fails: "acme", tried: []string{"acme"}},
		"at the second brand": {[]clixnowtest.Option{full}, "beta", []string{"acme", "beta"}, [2]int{1, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			acme, beta := newBrand(t, "acme", test.first...), newBrand(t, "beta")
			r := &router.Router{
				Routes: routes(acme, beta),
				Begin: func(_ context.Context, a router.Attempt) error {
					if a.Brand == test.fails {
						return errDisk
					}
					return nil
				},
				Next: func(error) bool { return true },
			}
			_, err := r.Register(t.Context(), lead(1), router.Attempt{})
			requireClass(t, clixnow.ErrNotSent, err)
			require.ErrorIs(t, err, errDisk)
			var inPath *fs.PathError
			require.ErrorAs(t, err, &inPath)
			require.ErrorContains(t, err, "not sent: saving the attempt: write jobs: disk full")
			assert.Zero(t, router.InDoubt(err))
			var failed *router.Error
			require.ErrorAs(t, err, &failed)
			assert.Equal(t, test.tried, brandsOf(failed.Tried))
			assert.Equal(t, test.posts, [2]int{acme.posts(), beta.posts()})
		})
	}
}

// If the context ends after a refusal, the lead can still go to the next brand:
// it is not refused.
func TestRegisterContextEnds(t *testing.T) {
	t.Parallel()
	acme, beta := newBrand(t, "acme", full), newBrand(t, "beta")
	ctx, cancel := context.WithCancel(t.Context())
	var saved journal
	r := &router.Router{
		Routes: routes(acme, beta), Begin: saved.begin,
		Next: func(error) bool { cancel(); return true },
	}
	_, err := r.Register(ctx, lead(1), router.Attempt{})
	requireClass(t, clixnow.ErrNotSent, err)
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, []string{"acme"}, saved.brands())
	assert.Zero(t, beta.posts())
}

func TestRegisterRefusesWrongCalls(t *testing.T) {
	t.Parallel()
	acme, beta := newBrand(t, "acme"), newBrand(t, "beta")
	other := newBrand(t, "ACME")
	last := router.Attempt{Brand: "acme", Since: time.Now()}
	for name, test := range map[string]struct {
		routes []router.Route
		ctx    context.Context //nolint:containedctx // nil is the case
		last   router.Attempt
		class  error
		text   string
	}{
		"no routes": {
			class: clixnow.ErrNotSent,
			text:  "there are no routes",
		},
		"no client": {
			routes: []router.Route{{}}, class: clixnow.ErrNotSent,
			text: "route 0 has no client",
		},
		"a client missing behind another": {
			routes: append(routes(acme), router.Route{}), class: clixnow.ErrNotSent,
			text: "route 1 has no client",
		},
		"two routes of one brand": {
			routes: routes(acme, other), class: clixnow.ErrNotSent,
			text: "two routes have the brand acme",
		},
		"nil context": {
			routes: routes(acme), class: clixnow.ErrNotSent,
			text: "nil context",
		},

		"no routes, with a last attempt": {
			last: last, class: clixnow.ErrOutcomeUnknown,
			text: "the brand of the last attempt is not a route: add the route",
		},
		"no client, with a last attempt": {
			routes: append(routes(acme), router.Route{}), last: last,
			class: clixnow.ErrOutcomeUnknown,
			text:  "route 1 has no client",
		},
		"one brand, with a last attempt": {
			routes: routes(acme, other), last: last, class: clixnow.ErrOutcomeUnknown,
			text: "two routes have the brand acme",
		},
		"nil context, with a last attempt": {
			routes: routes(acme), last: last, class: clixnow.ErrOutcomeUnknown,
			text: "nil context",
		},
		"last attempt at an unknown brand": {
			routes: routes(beta), last: last, class: clixnow.ErrOutcomeUnknown,
			text: "the brand of the last attempt is not a route: add the route",
		},
		"last attempt without a time": {
			routes: routes(acme), last: router.Attempt{Brand: "acme"},
			class: clixnow.ErrOutcomeUnknown,
			text:  "the last attempt has no time: save both values of the attempt",
		},
		"last attempt without a brand": {
			routes: routes(acme), last: router.Attempt{Since: time.Now()}, class: clixnow.ErrOutcomeUnknown,
			text: "the brand of the last attempt is not a route: add the route",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			if name == "nil context" || name == "nil context, with a last attempt" {
				ctx = test.ctx
			}
			r := &router.Router{Routes: test.routes, Begin: func(context.Context, router.Attempt) error {
				panic("Begin was called")
			}}
			_, err := r.Register(ctx, lead(1), test.last)
			requireClass(t, test.class, err)
			assert.ErrorContains(t, err, ": "+test.text)
			assert.Equal(t, test.last, router.InDoubt(err))
			assert.Zero(t, acme.posts()+beta.posts()+other.posts())
		})
	}
}

func TestErrorLiterals(t *testing.T) {
	t.Parallel()
	refusal := func(status int, message string) router.Try {
		return router.Try{Brand: "acme", Err: &clixnow.APIError{StatusCode: status, Message: message}}
	}
	invalid := router.Try{Err: &clixnow.ValidationError{}}
	notSent := router.Try{Err: fmt.Errorf("open: %w", clixnow.ErrNotSent)}
	for name, test := range map[string]struct {
		err    *router.Error
		class  error
		reason clixnow.Reason
	}{
		"zero":    {&router.Error{}, clixnow.ErrRefused, clixnow.ReasonOther},
		"invalid": {&router.Error{Tried: []router.Try{invalid}}, clixnow.ErrRefused, clixnow.ReasonInvalid},
		"duplicate": {
			&router.Error{Tried: []router.Try{invalid, refusal(400, "Duplicate lead")}},
			clixnow.ErrRefused, clixnow.ReasonDuplicate,
		},
		"country": {&router.Error{Tried: []router.Try{
			refusal(400, "Duplicate lead"),
			refusal(400, "not allowed for country CH"),
		}}, clixnow.ErrRefused, clixnow.ReasonCountry},
		"access": {&router.Error{Tried: []router.Try{
			refusal(400, "not allowed for country CH"),
			refusal(401, ""),
		}}, clixnow.ErrRefused, clixnow.ReasonAccess},
		"other": {
			&router.Error{Tried: []router.Try{refusal(401, ""), refusal(400, "full")}},
			clixnow.ErrRefused, clixnow.ReasonOther,
		},
		"rate limited": {
			&router.Error{Tried: []router.Try{refusal(400, "full"), refusal(429, "")}},
			clixnow.ErrRateLimited, clixnow.ReasonNone,
		},
		"not sent": {
			&router.Error{Tried: []router.Try{refusal(429, ""), notSent}}, clixnow.ErrNotSent,
			clixnow.ReasonNone,
		},
		"unknown try": {
			&router.Error{Tried: []router.Try{notSent, refusal(502, "")}},
			clixnow.ErrOutcomeUnknown, clixnow.ReasonNone,
		},
		"in doubt": {
			&router.Error{InDoubt: router.Attempt{Brand: "acme"}}, clixnow.ErrOutcomeUnknown,
			clixnow.ReasonNone,
		},
		"of an unknown class": {
			&router.Error{Tried: []router.Try{{Err: errors.New("of a mock")}}},
			clixnow.ErrOutcomeUnknown, clixnow.ReasonNone,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireClass(t, test.class, test.err)
			assert.Equal(t, test.reason, test.err.Reason())
			assert.Equal(t, test.reason, clixnow.ReasonOf(fmt.Errorf("wrapped: %w", test.err)))
			assert.Contains(t, test.err.Error(), "clixnow: router: ")
		})
	}
}

// Only the errors of the tries of the class are reachable.
func TestErrorReachesItsClass(t *testing.T) {
	t.Parallel()
	err := error(&router.Error{Tried: []router.Try{
		{Brand: "acme", Err: &clixnow.APIError{StatusCode: 400, Brand: "acme"}},
		{Brand: "beta", Err: &clixnow.APIError{StatusCode: 429, Brand: "beta"}},
	}})
	var answer *clixnow.APIError
	require.ErrorAs(t, err, &answer)
	assert.Equal(t, 429, answer.StatusCode)
	require.NotErrorIs(t, err, clixnow.ErrBadRequest)
	require.EqualError(t, err, "clixnow: router: rate limited: acme: 400 Bad Request; beta: 429 Too Many Requests")
	assert.Zero(t, router.InDoubt(errors.New("other")))
	assert.Zero(t, router.InDoubt(nil))
}

func TestAttemptJSON(t *testing.T) {
	t.Parallel()
	want := router.Attempt{Brand: "acme", Since: time.Date(2026, time.May, 4, 12, 0, 0, 1, time.UTC)}
	text, err := json.Marshal(want)
	require.NoError(t, err)
	assert.JSONEq(t, `{"Brand":"acme","Since":"2026-05-04T12:00:00.000000001Z"}`, string(text))
	var got router.Attempt
	require.NoError(t, json.Unmarshal(text, &got))
	assert.Equal(t, want, got)
}
