package clixnow

import (
	"errors"
	"strconv"
)

// Outcome is what is known about a create. It has the classes of errors as
// values, for a switch, a metric or a log. See [OutcomeOf].
type Outcome int

// The outcomes of a create. The zero value is OutcomeRegistered.
const (
	// OutcomeRegistered means that the error is nil.
	OutcomeRegistered Outcome = iota
	// OutcomeUnknown means ErrOutcomeUnknown, or an error that matches none of
	// the four classes.
	OutcomeUnknown
	// OutcomeRefused means ErrRefused. ReasonOf says why.
	OutcomeRefused
	// OutcomeNotSent means ErrNotSent.
	OutcomeNotSent
	// OutcomeRateLimited means ErrRateLimited.
	OutcomeRateLimited
)

// OutcomeOf returns the outcome of a create that returned err. If err matches
// none of the four classes, the lead may exist, so it returns OutcomeUnknown.
func OutcomeOf(err error) Outcome {
	switch {
	case err == nil:
		return OutcomeRegistered
	case errors.Is(err, ErrOutcomeUnknown):
		return OutcomeUnknown
	case errors.Is(err, ErrRefused):
		return OutcomeRefused
	case errors.Is(err, ErrNotSent):
		return OutcomeNotSent
	case errors.Is(err, ErrRateLimited):
		return OutcomeRateLimited
	}
	return OutcomeUnknown
}

// String returns "registered", "unknown", "refused", "not sent" or "rate
// limited".
func (o Outcome) String() string {
	return nameOf("Outcome", int(o), "registered", "unknown", "refused", "not sent", "rate limited")
}

// Reason is why a create was refused. The reasons are grouped by what to do
// about them. See [ReasonOf].
type Reason int

// The reasons of a refusal. The zero value is ReasonNone.
const (
	// ReasonNone means that the create was not refused.
	ReasonNone Reason = iota
	// ReasonInvalid means that a field is at fault: ErrInvalidRequest, or a
	// response with texts by field. Let the visitor fix it.
	ReasonInvalid
	// ReasonDuplicate means ErrDuplicateLead. Do not register the lead at this
	// brand again.
	ReasonDuplicate
	// ReasonCountry means ErrCountryNotAllowed. Try another brand.
	ReasonCountry
	// ReasonNoCapacity means ErrNoCapacity. Try again later (after 5 minutes,
	// 15 minutes, 1 hour, 3 hours, 6 hours), or try another brand.
	ReasonNoCapacity
	// ReasonAccess means that the token, the host or a proxy is at fault. All
	// leads would fail in this way. Keep them, and fix the cause.
	ReasonAccess
	// ReasonOther means none of the other reasons, for example words that this
	// package does not know. The brand may take the lead later. Do what
	// ReasonNoCapacity says, and then ask a person.
	ReasonOther
)

// ReasonOf returns why a create that returned err was refused. If several
// reasons fit, it returns the first one in the order duplicate, country, no
// capacity, invalid, access, other. If err was not refused, it returns
// ReasonNone.
//
// If an error in the chain has a method Reason() Reason, that method decides.
func ReasonOf(err error) Reason {
	outcome := OutcomeOf(err)
	if outcome != OutcomeRefused && (outcome != OutcomeUnknown || errors.Is(err, ErrOutcomeUnknown)) {
		return ReasonNone
	}
	var own interface{ Reason() Reason }
	switch {
	case errors.As(err, &own):
		return own.Reason()
	case outcome != OutcomeRefused:
		return ReasonNone
	case errors.Is(err, ErrDuplicateLead):
		return ReasonDuplicate
	case errors.Is(err, ErrCountryNotAllowed):
		return ReasonCountry
	case errors.Is(err, ErrNoCapacity):
		return ReasonNoCapacity
	case errors.Is(err, ErrInvalidRequest), errors.Is(err, errFieldTexts):
		return ReasonInvalid
	case errors.Is(err, errNoAccess), errors.Is(err, ErrUnauthorized), errors.Is(err, ErrForbidden),
		errors.Is(err, ErrUnsupportedMediaType), errors.Is(err, ErrRedirect):
		return ReasonAccess
	}
	return ReasonOther
}

// These errors are never returned. An *APIError matches them, so that errors.Is
// finds the response in wrapped and in joined errors.
var (
	errFieldTexts = errors.New("clixnow: the response has texts by field")
	errNoAccess   = errors.New("clixnow: host or proxy at fault")
)

// String returns "", "invalid", "duplicate", "country", "no capacity", "access"
// or "other".
func (r Reason) String() string {
	return nameOf("Reason", int(r), "", "invalid", "duplicate", "country", "no capacity", "access", "other")
}

// nameOf returns the name of a constant. For a value without a name it returns
// for example "Reason(9)".
func nameOf(kind string, value int, names ...string) string {
	if value < 0 || value >= len(names) {
		return kind + "(" + strconv.Itoa(value) + ")"
	}
	return names[value]
}
