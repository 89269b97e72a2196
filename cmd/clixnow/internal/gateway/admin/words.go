package admin

import (
	"cmp"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/store/outbox"
)

// words returns the functions of the templates.
func words() template.FuncMap {
	return template.FuncMap{
		"status": statusName, "why": func(s outbox.Signup) string { return why(&s).text },
		"next": func(s outbox.Signup) string { return why(&s).next }, "event": event, "time": stamp, "ago": ago,
		"nextTry": func(s outbox.Signup) time.Time { return nextTry(&s) }, "notCorrectable": notCorrectable,
		"problem": problem,
		"iso":     func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"list":    func(all ...string) []string { return all },
		"took":    took,
		"until":   until, "plain": plain, "count": count,
	}
}

// statuses are the statuses in the order of the page.
func statuses() []outbox.Status {
	return []outbox.Status{outbox.Pending, outbox.Doubtful, outbox.Refused, outbox.Registered}
}

func statusName(s outbox.Status) string {
	switch s {
	case outbox.Pending:
		return "Waiting"
	case outbox.Doubtful:
		return "Needs a decision"
	case outbox.Refused:
		return "Refused"
	case outbox.Registered:
		return "Registered"
	}
	return "All"
}

// explanation is why a sign-up has its status, and what comes next.
type explanation struct{ text, next string }

// why explains the status of a sign-up.
func why(s *outbox.Signup) explanation {
	const (
		untilPerson = "It is retried for about ten hours. Then a person must decide."
		giveUp      = "give this sign-up up: it becomes refused here, and the lead stays at the brand. "
	)
	attempted := s.FirstAttempt.Brand
	switch {
	case s.Status == outbox.Registered:
		return explanation{fmt.Sprintf("%s has the lead, with the id %d.", s.Brand, s.LeadID), ""}
	case isGivenUp(s) && attempted != "":
		return explanation{
			"Given up by a person, because " + attempted + " may have the lead.",
			"It is not retried. You can retry it.",
		}
	case isGivenUp(s):
		return explanation{"Given up by a person.", "It is not retried. You can correct it, or retry it."}
	case s.Status == outbox.Refused:
		return explanation{refusal(s.Reason), "It is not retried. You can correct it, or retry it."}
	case s.Status == outbox.Doubtful && attempted != "":
		return explanation{
			attempted + " may have the lead, but no search shows it.",
			"Look for the lead at " + attempted +
				", by its email and its phone. If it is there, " + giveUp + "If it is not, retry.",
		}
	case isRestored(s):
		return explanation{
			"It was restored from a backup, and a brand may have taken the lead after the backup.",
			"Look for the lead at all brands. If one has it, " + giveUp + "If none has it, retry.",
		}
	case s.Status == outbox.Doubtful && s.Reason == clixnow.ReasonNone:
		return explanation{
			"It is not known whether a brand has the lead.",
			"Look for the lead at all brands. If one has it, " + giveUp + "If none has it, retry.",
		}
	case s.Status == outbox.Doubtful:
		return explanation{
			"The brands have refused it for hours. " + refusal(s.Reason),
			"Ask the brand for the reason. Then retry, or give this sign-up up.",
		}
	case s.Tries == 0:
		return explanation{"It was not tried yet.", "A worker tries it soon."}
	case s.NextTryAt.IsZero():
		return explanation{"It is tried now, or as soon as a worker is free.", ""}
	case attempted != "":
		return explanation{
			attempted + " did not answer clearly, so it may have the lead.",
			"Each try first searches for the lead. After about ten hours a person must decide.",
		}
	case s.Reason == clixnow.ReasonAccess:
		return explanation{refusal(s.Reason), "It is retried until that is fixed."}
	case s.Reason != clixnow.ReasonNone:
		return explanation{refusal(s.Reason), untilPerson}
	}
	return explanation{
		"At least one brand could not be reached, or asked us to wait.", "It is retried until a brand answers.",
	}
}

// isGivenUp reports whether a person has given a sign-up up. A brand's refusal
// for an unknown reason is not final, and a refused lead is not in doubt.
func isGivenUp(s *outbox.Signup) bool {
	return s.Status == outbox.Refused && (s.Reason == clixnow.ReasonOther || s.FirstAttempt.Brand != "")
}

// isRestored reports whether a person must decide about a sign-up because of
// [outbox.Outbox.MarkRestored].
func isRestored(s *outbox.Signup) bool {
	return s.Status == outbox.Doubtful && strings.HasPrefix(s.Problem, "restored from a backup")
}

// problem returns the error of the last try.
func problem(s outbox.Signup) string {
	if isRestored(&s) {
		return ""
	}
	return s.Problem
}

// nextTry returns the time of the next try. It returns a zero time if there is
// none, or if it is not known.
func nextTry(s *outbox.Signup) time.Time {
	if s.Status != outbox.Pending {
		return time.Time{}
	}
	return s.NextTryAt
}

const beingTried = "It is being tried now. Try again in a few seconds."

// notCorrectable returns why a sign-up cannot be corrected. "" means that it
// can.
func notCorrectable(s outbox.Signup) string {
	const maxTry = 2 * time.Minute // a try takes at most about as long
	switch {
	case s.FirstAttempt.Brand == "":
		return ""
	case s.Status == outbox.Pending && s.NextTryAt.IsZero() && time.Since(s.FirstAttempt.Since) < maxTry:
		return beingTried
	}
	return "This is not possible, because " + s.FirstAttempt.Brand + " may have the lead with these values."
}

// refusal explains why brands refuse a lead.
func refusal(reason clixnow.Reason) string {
	switch reason {
	case clixnow.ReasonInvalid:
		return "The brand does not accept what the visitor typed."
	case clixnow.ReasonDuplicate:
		return "The brand has this person already."
	case clixnow.ReasonCountry:
		return "The brand takes no sign-ups from this country."
	case clixnow.ReasonNoCapacity:
		return "The brand has no capacity at the moment."
	case clixnow.ReasonAccess:
		return "The brand refuses our access: check its token and its host."
	case clixnow.ReasonNone, clixnow.ReasonOther:
	}
	return "The brand refused it for a reason that this program does not know."
}

// event says what happened to a sign-up.
func event(c outbox.Change) string {
	by := cmp.Or(c.By, "a person")
	switch c.Kind {
	case outbox.ChangeTried:
		return tried(c)
	case outbox.ChangeReplaced:
		return "The visitor corrected it: " + arrows(c.Text)
	case outbox.ChangeCorrected:
		return "Corrected by " + by + ": " + cmp.Or(arrows(c.Text), "nothing changed")
	case outbox.ChangeRetried:
		return "Retried by " + by
	case outbox.ChangeGivenUp:
		return "Given up by " + by
	}
	return string(c.Kind)
}

// tried says how a try ended.
func tried(c outbox.Change) string {
	brand := cmp.Or(c.Brand, "No brand")
	switch c.Outcome {
	case clixnow.OutcomeRegistered.String():
		return "Registered at " + brand
	case clixnow.OutcomeNotSent.String():
		return brand + " could not be reached, and nothing was sent"
	case clixnow.OutcomeRateLimited.String():
		return brand + " asked us to wait, and took nothing"
	case clixnow.OutcomeRefused.String():
		for reason := range clixnow.ReasonOther + 1 {
			if reason.String() == c.Reason {
				return "Refused by " + brand + ": " + lower(refusal(reason))
			}
		}
		return "Refused by " + brand
	}
	return brand + " did not answer clearly, so it may have the lead"
}

func lower(sentence string) string {
	return strings.ToLower(sentence[:1]) + strings.TrimSuffix(sentence[1:], ".")
}

func arrows(text string) string { return strings.ReplaceAll(text, " -> ", " → ") }

func took(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// plain returns the error of a try without the names of packages.
func plain(problem string) string {
	return strings.TrimPrefix(strings.TrimPrefix(problem, "clixnow: "), "router: ")
}

// count returns a number and a word in the right form.
func count(number any, one, many string) string {
	if fmt.Sprint(number) == "1" {
		return "1 " + one
	}
	return fmt.Sprint(number) + " " + many
}

// until says when the next try is.
func until(t time.Time) string {
	if time.Now().After(t) {
		return "as soon as a worker is free"
	}
	return ago(t)
}

// stamp returns a time in UTC, with the year if it is another one.
func stamp(t time.Time) string {
	if t.UTC().Year() != time.Now().UTC().Year() {
		return t.UTC().Format("2 Jan 2006, 15:04")
	}
	return t.UTC().Format("2 Jan, 15:04")
}

// brand is the state of a brand in words.
type brand struct {
	Name, Text, Problem string
	Since, TriedAt      time.Time
	Fails               bool
}

func brandOf(s outbox.BrandState) brand {
	b := brand{Name: s.Brand, Since: s.Since, TriedAt: s.TriedAt, Fails: s.Err != nil}
	switch {
	case s.RefusesAccess():
		b.Text = "refuses our access: its token or its host is wrong. Sign-ups that need it wait until that is fixed."
	case s.Err != nil:
		b.Text = "fails. Sign-ups that need it are retried."
	case s.TriedAt.IsZero():
		b.Text = "was not tried since the start."
	case s.Since.IsZero():
		b.Text = "did not work at the first tries."
	default:
		b.Text = "works."
	}
	if s.Err != nil {
		b.Problem = s.Err.Error()
	}
	return b
}

// wait is a group of sign-ups that wait for the same reason.
type wait struct {
	Text, Next string
	Number     int
	// First is the time of the first of the next tries. A zero time means that
	// it is not known.
	First time.Time
	// Problem is the error of the last try of one of them. "" means none.
	Problem string
}

// waits groups sign-ups by their reason, the largest group first.
func waits(all []outbox.Signup) (groups []wait) {
	for i := range all {
		s, because := &all[i], why(&all[i])
		at := slices.IndexFunc(groups, func(w wait) bool { return w.Text == because.text })
		if at < 0 {
			at = len(groups)
			groups = append(groups,
				wait{Text: because.text, Next: because.next, First: s.NextTryAt, Problem: s.Problem})
		}
		w := &groups[at]
		w.Number++
		if s.NextTryAt.Before(w.First) {
			w.First = s.NextTryAt
		}
	}
	slices.SortStableFunc(groups, func(a, b wait) int { return cmp.Compare(b.Number, a.Number) })
	return groups
}
