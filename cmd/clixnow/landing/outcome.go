package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/clixnow/clixnow-go"
)

// meaning is what a failed registration means to those whom it concerns.
type meaning struct {
	level    slog.Level
	operator string // what happened, and what to do about it
	status   int    // of the page
	visitor  string // in plain words; "" = said elsewhere
	field    string // that these words belong to; "" = none
}

// explain asks for the unknown outcome first: it may come with any of the
// others.
func explain(err error) meaning {
	// proxies replace a 502 or 504
	const visitorsFault, ourFault = http.StatusUnprocessableEntity, http.StatusServiceUnavailable
	switch {
	case errors.Is(err, clixnow.ErrOutcomeUnknown):
		return meaning{
			level: slog.LevelError, status: ourFault, // the visitor sees a page of its own
			operator: "outcome unknown: look for this click id at Clixnow before anybody registers the visitor by hand",
		}
	case errors.Is(err, clixnow.ErrDuplicateLead):
		return meaning{
			level: slog.LevelInfo, status: visitorsFault,
			operator: "duplicate: email or phone is registered already; nothing to do",
			visitor:  "This email address or phone number is registered already. There is no need to sign up again.",
		}
	case errors.Is(err, clixnow.ErrCountryNotAllowed):
		return meaning{
			level: slog.LevelWarn, status: visitorsFault, field: "countryCode",
			operator: "country refused: aim the campaign at countries that the brand takes",
			visitor:  "We are sorry: people from this country cannot sign up here",
		}
	case len(problemsOf(err)) > 0:
		return meaning{
			level: slog.LevelInfo, status: visitorsFault, // told beside the fields
			operator: "refused: the visitor was asked to mend these fields",
		}
	case errors.Is(err, clixnow.ErrNotSent):
		return meaning{
			level: slog.LevelError, status: ourFault,
			operator: "API out of reach, not registered: check the network, and the brand",
			visitor:  "We could not reach our partner, so you are not signed up yet. Please try again in a few minutes.",
		}
	case errors.Is(err, clixnow.ErrRateLimited):
		return meaning{
			level: slog.LevelWarn, status: ourFault,
			operator: "too many requests, not registered: slow the campaign down, or ask Clixnow for more",
			visitor:  "Too many people are signing up just now, and you are not signed up yet. Please try again in a few minutes.",
		}
	default:
		return meaning{
			level: slog.LevelError, status: ourFault,
			operator: "refused, and no visitor can mend it: check CLIXNOW_TOKEN after 401 and 403, the brand after 3xx; else ask Clixnow",
			visitor:  "Nobody can sign up here at the moment. That is our fault, not yours, and you are not signed up yet. Please try again later.",
		}
	}
}

// report logs the outcome for the operator. What the API wrote is left out,
// since it may repeat what the visitor typed.
func report(ctx context.Context, logger *slog.Logger, clickID string, r *registration) {
	if r.err == nil {
		logger.InfoContext(ctx, "registered", "click_id", clickID, "lead_id", r.lead.LeadID, "recovered",
			r.lead.Recovered, "sent_on", onward(r.lead) != "")
		return
	}
	about := []any{"click_id", clickID}
	if answer := new(clixnow.APIError); errors.As(r.err, &answer) {
		about = append(about, "status", answer.StatusCode, "request_id", answer.RequestID, "retry_after",
			answer.RetryAfter,
			"fields", slices.Sorted(maps.Keys(answer.Fields)))
	} else {
		about = append(about, "error", r.err)
	}
	told := explain(r.err)
	logger.Log(ctx, told.level, told.operator, about...)
}

// problem is what a visitor is told of a field, or with "" of the whole form.
type problem struct{ Field, Text string }

// tell returns what the visitor is told of a failure, that of the whole form
// first, then in the order of the fields.
func tell(err error) (status int, problems []problem) {
	told := explain(err)
	if told.visitor != "" {
		problems = append(problems, problem{told.field, told.visitor})
	}
	for _, more := range problemsOf(err) {
		if more.Field != told.field {
			problems = append(problems, more)
		}
	}
	return told.status, problems
}

// problemsOf returns what was found wrong with fields of the form: by the SDK
// in our own words, by the API in its own.
func problemsOf(err error) (problems []problem) {
	invalid, answer := new(clixnow.ValidationError), new(clixnow.APIError)
	errors.As(err, &invalid)
	errors.As(err, &answer)
	for _, f := range fields() {
		isIt := func(fault clixnow.FieldError) bool { return fault.Field == f.Name }
		if slices.ContainsFunc(invalid.Fields, isIt) {
			problems = append(problems, problem{f.Name, f.Fault})
		} else if texts := answer.Fields[f.Name]; len(texts) > 0 {
			problems = append(problems, problem{f.Name, strings.Join(texts, " ")})
		}
	}
	return problems
}

// onward returns where a new lead is sent, or "". A link that logs somebody in
// is not followed where others can read along.
func onward(lead *clixnow.EnsureLeadResponse) string {
	link, err := url.Parse(lead.RedirectURL)
	if err != nil || link.Scheme != "https" || link.Host == "" {
		return ""
	}
	return lead.RedirectURL
}
