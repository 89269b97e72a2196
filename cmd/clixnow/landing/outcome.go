package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/clixnow/clixnow-go"
)

// explanation explains a failed registration to the operator and to the
// visitor.
type explanation struct {
	// level and operator are the log line. It says what happened and what to
	// do.
	level    slog.Level
	operator string
	// status is the status code of the page.
	status int
	// visitor is the text for the visitor. It is "" if the page or the fields
	// already explain the failure.
	visitor string
	// field is the field beside which the text for the visitor is shown. ""
	// means the whole form.
	field string
}

// These are the status codes of pages that show a failure. They are not 502 or
// 504, because proxies replace such pages.
const (
	visitorsFault = http.StatusUnprocessableEntity
	ourFault      = http.StatusServiceUnavailable
)

func explain(err error) explanation {
	switch clixnow.OutcomeOf(err) {
	case clixnow.OutcomeUnknown:
		return explanation{ // the page "unknown" explains it to the visitor
			level: slog.LevelError, status: ourFault,
			operator: "outcome unknown: search for this click id at Clixnow before you register the visitor yourself",
		}
	case clixnow.OutcomeNotSent:
		return explanation{
			level: slog.LevelError, status: ourFault,
			operator: "not registered, because the API cannot be reached: check the network and the brand",
			visitor: "We could not reach our partner, so you are not signed up yet. " +
				"Please try again in a few minutes.",
		}
	case clixnow.OutcomeRateLimited:
		return explanation{
			level: slog.LevelWarn, status: ourFault,
			operator: "not registered, because of too many requests: slow the campaign down, " +
				"or ask Clixnow for a higher limit",
			visitor: "Too many people are signing up at the moment, and you are not signed up yet. " +
				"Please try again in a few minutes.",
		}
	default:
		return explainRefusal(err)
	}
}

func explainRefusal(err error) explanation {
	const notNow = "Sign-up is not possible at the moment. This is our fault, not yours. " +
		"You are not signed up yet. Please try again later."
	switch reason := clixnow.ReasonOf(err); {
	case reason == clixnow.ReasonDuplicate:
		return explanation{
			level: slog.LevelInfo, status: visitorsFault,
			operator: "duplicate: the email or phone is already registered; there is nothing to do",
			visitor:  "This email address or phone number is already registered. You do not need to sign up again.",
		}
	case reason == clixnow.ReasonCountry:
		return explanation{
			level: slog.LevelWarn, status: visitorsFault, field: "countryCode",
			operator: "country refused: limit the campaign to countries that the brand accepts",
			visitor:  "We are sorry: people from this country cannot sign up here",
		}
	case reason == clixnow.ReasonInvalid && len(problemsOf(err)) > 0:
		return explanation{ // the fields explain it to the visitor
			level: slog.LevelInfo, status: visitorsFault,
			operator: "refused: the visitor was asked to correct these fields",
		}
	case reason == clixnow.ReasonInvalid:
		return explanation{
			level: slog.LevelError, status: ourFault, visitor: notNow,
			operator: "refused, and the visitor cannot correct it: the form has none of these fields",
		}
	case reason == clixnow.ReasonAccess:
		return explanation{
			level: slog.LevelError, status: ourFault, visitor: notNow,
			operator: "refused, and every sign-up will be: check CLIXNOW_TOKEN and the brand",
		}
	default:
		return explanation{
			level: slog.LevelWarn, status: ourFault, visitor: notNow,
			operator: "refused for now: the brand may be full or closed; ask Clixnow if this goes on",
		}
	}
}

// report logs the outcome for the operator. It leaves out the API's message,
// which may repeat what the visitor typed.
func report(ctx context.Context, logger *slog.Logger, clickID string, r *registration) {
	if r.err == nil {
		logger.InfoContext(ctx, "registered", "click_id", clickID, "lead_id", r.lead.LeadID, "recovered",
			r.lead.Recovered, "redirected", r.redirectURL != "")
		return
	}
	attrs := []any{"click_id", clickID, "outcome", clixnow.OutcomeOf(r.err), "reason", clixnow.ReasonOf(r.err)}
	if apiErr := new(clixnow.APIError); errors.As(r.err, &apiErr) {
		attrs = append(attrs, "status", apiErr.StatusCode, "request_id", apiErr.RequestID, "retry_after",
			apiErr.RetryAfter, "fields", slices.Sorted(maps.Keys(apiErr.Fields)))
	} else {
		attrs = append(attrs, "error", r.err)
	}
	e := explain(r.err)
	logger.Log(ctx, e.level, e.operator, attrs...)
}

// problem is a text for the visitor about one field. If Field is "", it is
// about the whole form.
type problem struct{ Field, Text string }

// problemsFor returns the status code and the texts of the page that shows a
// failure. The text about the whole form comes first. The others have the order
// of the fields.
func problemsFor(err error) (status int, problems []problem) {
	e := explain(err)
	if e.visitor != "" {
		problems = append(problems, problem{e.field, e.visitor})
	}
	for _, p := range problemsOf(err) {
		if p.Field != e.field {
			problems = append(problems, p)
		}
	}
	return e.status, problems
}

// problemsOf returns the faults of the form's fields in err. For faults that
// the SDK found, it uses the texts of this page. For others it uses those of
// the API.
func problemsOf(err error) (problems []problem) {
	invalid, apiErr := new(clixnow.ValidationError), new(clixnow.APIError)
	errors.As(err, &invalid)
	errors.As(err, &apiErr)
	for _, f := range fields() {
		isField := func(fault clixnow.FieldError) bool { return fault.Field == f.Name }
		if slices.ContainsFunc(invalid.Fields, isField) {
			problems = append(problems, problem{f.Name, f.Fault})
		} else if texts := apiErr.Fields[f.Name]; len(texts) > 0 {
			problems = append(problems, problem{f.Name, strings.Join(texts, " ")})
		}
	}
	return problems
}
