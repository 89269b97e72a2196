package clixnow

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var errOfCaller = errors.New("of the caller")

// recursive asks errors.Is about its cause itself, as some error types do.
type recursive struct{ cause error }

func (e recursive) Error() string        { return "recursive" }
func (e recursive) Is(target error) bool { return errors.Is(e.cause, target) }

func TestRefusalDecides(t *testing.T) {
	t.Parallel()
	const duplicate, country = "Duplicate lead", "not allowed for country CH"
	for name, test := range map[string]struct {
		status  int
		message string
		read    func(*APIError) error
		matches []error
		reason  Reason
	}{
		"nil: the words decide": {
			400, duplicate, func(*APIError) error { return nil }, []error{ErrDuplicateLead}, ReasonDuplicate,
		},
		"no capacity": {
			400, "cap", func(*APIError) error { return ErrNoCapacity }, []error{ErrNoCapacity}, ReasonNoCapacity,
		},
		"a status that is not about the lead": {
			403, "cap", func(*APIError) error { return ErrNoCapacity },
			[]error{ErrNoCapacity, ErrForbidden},
			ReasonNoCapacity,
		},
		"a duplicate in other words": {
			418, "lead vorhanden", func(*APIError) error { return ErrDuplicateLead },
			[]error{ErrDuplicateLead},
			ReasonDuplicate,
		},
		"a country in other words": {
			400, "geo", func(*APIError) error { return fmt.Errorf("geo: %w", ErrCountryNotAllowed) },
			[]error{ErrCountryNotAllowed},
			ReasonCountry,
		},
		"the words do not count": {
			400, duplicate, func(*APIError) error { return ErrNoCapacity }, []error{ErrNoCapacity}, ReasonNoCapacity,
		},
		"an error of the caller": {
			400, duplicate, func(*APIError) error { return errOfCaller }, []error{errOfCaller}, ReasonOther,
		},
		"joined": {
			400, country, func(*APIError) error { return errors.Join(errOfCaller, ErrDuplicateLead) },
			[]error{errOfCaller, ErrDuplicateLead},
			ReasonDuplicate,
		},
		"its argument": {
			400, duplicate, func(e *APIError) error { return e }, nil, ReasonOther,
		},
		"its argument, wrapped": {
			400, duplicate, func(e *APIError) error { return fmt.Errorf("full: %w: %w", ErrNoCapacity, e) },
			[]error{ErrNoCapacity},
			ReasonNoCapacity,
		},
		"its argument in an error that asks errors.Is": {
			400, duplicate, func(e *APIError) error { return recursive{errors.Join(e, errOfCaller)} },
			[]error{errOfCaller},
			ReasonOther,
		},
		"another class: unknown": {
			400, "x", func(*APIError) error { return errors.Join(ErrOutcomeUnknown, errOfCaller) },
			[]error{errOfCaller},
			ReasonOther,
		},
		"another class: not sent":     {400, "x", func(*APIError) error { return ErrNotSent }, nil, ReasonOther},
		"another class: rate limited": {400, "x", func(*APIError) error { return ErrRateLimited }, nil, ReasonOther},
		"the same class":              {400, "x", func(*APIError) error { return ErrRefused }, nil, ReasonOther},
		"a field at fault": {
			400, "x", func(*APIError) error { return ErrInvalidRequest }, []error{ErrInvalidRequest}, ReasonInvalid,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := &APIError{StatusCode: test.status, Message: test.message}
			e.setRefusal(func(shown *APIError) error {
				assert.Equal(t, test.message, shown.Message)
				require.Equal(t, test.message == duplicate, errors.Is(shown, ErrDuplicateLead), "the words, before")
				return test.read(shown)
			})
			for _, err := range []error{e, fmt.Errorf("wrapped: %w", e), errors.Join(errors.New("x"), e)} {
				for _, target := range []error{
					ErrDuplicateLead, ErrCountryNotAllowed, ErrNoCapacity, ErrInvalidRequest, errOfCaller, ErrForbidden,
				} {
					want := false
					for _, match := range test.matches {
						want = want || match == target //nolint:errorlint // which of them it is
					}
					assert.Equal(t, want, errors.Is(err, target), "%v", target)
				}
				assert.Equal(t, OutcomeRefused, OutcomeOf(err))
				for _, class := range []error{ErrOutcomeUnknown, ErrNotSent, ErrRateLimited} {
					assert.NotErrorIs(t, err, class)
				}
				assert.Equal(t, test.reason, ReasonOf(err))
			}
			assert.NotContains(t, e.Error(), "caller")
		})
	}
}

func TestPanicOfRefusalsComesOut(t *testing.T) {
	t.Parallel()
	e := &APIError{StatusCode: 400}
	assert.PanicsWithValue(t, "boom", func() { e.setRefusal(func(*APIError) error { panic("boom") }) })
}

func TestIsMacro(t *testing.T) {
	t.Parallel()
	for _, value := range []string{
		"{clickid}", "%7Bclickid%7D", "%7bclickid%7d", "{{x}}", "{{click.id}}", "%7B%7Bx%7D%7D", "${x}", "%24%7Bx%7D",
		"[x]", "%5Bx%5D", "<x>", "%3Cx%3E", "##x##", "##CLICK_ID##", "%23%23x%23%23", "__X__", "__CLICK_ID__", " {x} ",
		"{}", "{ click id }", "{x:y}", "{é}", "<%2Fx>",
	} {
		assert.True(t, isMacro(value), value)
	}
	for _, value := range []string{
		"", " ", "x", "{", "}", "{x", "x}", "a{x}", "{x}b", "{a}-{b}", "{{x}", "${x", "$x}", "[x", "x]", "[a] [b]",
		"<x", "x>", "<a><b>", "##", "#x#", "##x", "##a##b##", "__", "_X_", "__X", "X__", "__A__B__", "%7Bx", "%zz",
		"20fn4ngo56n3snf74", "0", "100%", "a__b",
	} {
		assert.False(t, isMacro(value), value)
	}
}
