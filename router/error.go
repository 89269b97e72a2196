package router

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/clixnow/clixnow-go"
)

// Error means that no brand took the lead, or that a call of Register was
// wrong. It matches exactly one of the four classes of errors, the first of
// these that fits:
//
//   - unknown: a brand may have the lead
//   - not sent: a try was not sent
//   - rate limited: a try was rate limited
//   - refused: all tries were refused, or no route accepted the lead
//
// errors.Is and errors.As reach the errors of the tries of that class, and no
// others.
type Error struct {
	// Tried holds the brands that did not take the lead, in order. The last one
	// may be the brand in doubt, or one that got nothing because Begin failed.
	Tried []Try
	// InDoubt is the brand that may have the lead. A zero InDoubt means none.
	InDoubt Attempt

	// fault is what was wrong with the call. It is nil if brands were tried.
	fault error
}

// InDoubt returns the value to store after an error of Register. It is the zero
// Attempt unless a brand may have the lead. After a wrong call with a last
// attempt it returns that attempt.
func InDoubt(err error) Attempt {
	var failed *Error
	if errors.As(err, &failed) {
		return failed.InDoubt
	}
	return Attempt{}
}

// Error returns a text that names each brand that was tried and its error.
func (e *Error) Error() string {
	var texts []string
	if e.fault != nil {
		texts = append(texts, e.fault.Error())
	}
	for _, try := range e.Tried {
		texts = append(texts, strings.TrimPrefix(try.Err.Error(), "clixnow: "))
	}
	if len(texts) == 0 {
		texts = append(texts, "no route accepts the lead")
	}
	return fmt.Sprintf("clixnow: router: %s: %s", e.outcome(), strings.Join(texts, "; "))
}

// Reason returns the most hopeful reason of the tries: no capacity, other,
// access, country, duplicate, invalid. It is ReasonOther if no route accepted
// the lead, and ReasonNone if the lead was not refused.
func (e *Error) Reason() clixnow.Reason {
	if e.outcome() != clixnow.OutcomeRefused {
		return clixnow.ReasonNone
	}
	for _, reason := range []clixnow.Reason{
		clixnow.ReasonNoCapacity, clixnow.ReasonOther, clixnow.ReasonAccess,
		clixnow.ReasonCountry, clixnow.ReasonDuplicate, clixnow.ReasonInvalid,
	} {
		if slices.ContainsFunc(e.Tried, func(t Try) bool { return clixnow.ReasonOf(t.Err) == reason }) {
			return reason
		}
	}
	return clixnow.ReasonOther
}

// Is matches the class of e, and what the errors of the tries of that class
// match.
func (e *Error) Is(target error) bool {
	switch target {
	case clixnow.ErrOutcomeUnknown:
		return e.outcome() == clixnow.OutcomeUnknown
	case clixnow.ErrNotSent:
		return e.outcome() == clixnow.OutcomeNotSent
	case clixnow.ErrRateLimited:
		return e.outcome() == clixnow.OutcomeRateLimited
	case clixnow.ErrRefused:
		return e.outcome() == clixnow.OutcomeRefused
	}
	return slices.ContainsFunc(e.causes(), func(err error) bool { return errors.Is(err, target) })
}

// As finds target among the errors of the tries of the class of e.
func (e *Error) As(target any) bool {
	return slices.ContainsFunc(e.causes(), func(err error) bool { return errors.As(err, target) })
}

// outcome is what is known about the lead at all brands together.
func (e *Error) outcome() clixnow.Outcome {
	if !e.InDoubt.isZero() {
		return clixnow.OutcomeUnknown
	}
	if e.fault != nil {
		return clixnow.OutcomeNotSent
	}
	for _, outcome := range []clixnow.Outcome{
		clixnow.OutcomeUnknown, clixnow.OutcomeNotSent, clixnow.OutcomeRateLimited,
	} {
		if slices.ContainsFunc(e.Tried, func(t Try) bool { return clixnow.OutcomeOf(t.Err) == outcome }) {
			return outcome
		}
	}
	return clixnow.OutcomeRefused
}

// causes returns the errors of the tries of the class of e.
func (e *Error) causes() (causes []error) {
	for _, try := range e.Tried {
		if clixnow.OutcomeOf(try.Err) == e.outcome() {
			causes = append(causes, try.Err)
		}
	}
	return causes
}
