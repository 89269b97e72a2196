package postback

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/store/internal/template"
)

// preset is what a tracker documents about its postbacks. docs/postbacks.md
// names the sources.
type preset struct {
	// path is added if the URL has none. "" means that the URL must have one.
	path string
	// parameters are added to the query if the URL does not have them.
	parameters []string
	// statuses are the values of {status} by event.
	statuses map[clixnow.LeadEvent]string
	// kinds are the parameters by which the tracker tells events from each
	// other. One of them is needed for events other than a first deposit.
	kinds []string
	answers
}

// answers say how a 2xx response is read. A nil expression matches nothing.
type answers struct {
	// accepted is a success, also if it looks like a failure.
	accepted *regexp.Regexp
	// refused is a failure.
	refused *regexp.Regexp
	// strict means that everything but accepted is a failure.
	strict bool
}

func presets() map[string]preset {
	statuses := func(created, deposited, withdrawn string) map[clixnow.LeadEvent]string {
		return map[clixnow.LeadEvent]string{
			clixnow.LeadCreated: created, clixnow.LeadDeposited: deposited, clixnow.LeadDepositWithdrawn: withdrawn,
		}
	}
	return map[string]preset{
		"keitaro": {
			parameters: []string{"subid={clickId}", "status={status}", "return=OK"},
			statuses:   statuses("lead", "sale", "rejected"), kinds: []string{"status"},
			answers: answers{accepted: regexp.MustCompile(`^\s*OK\s*$`), strict: true},
		},
		"voluum": {
			path:       "/postback",
			parameters: []string{"cid={clickId}", "txid={eventId}"}, kinds: []string{"et"},
		},
		"binom": {
			path:       "/click.php",
			parameters: []string{"cnv_id={clickId}", "cnv_status={status}"},
			statuses:   statuses("lead", "sale", "rejected"), kinds: []string{"cnv_status"},
		},
		"redtrack": {
			path:       "/postback",
			parameters: []string{"clickid={clickId}", "rdtk_event_id={eventId}"}, kinds: []string{"type", "status"},
		},
		"affise": {
			path:       "/postback",
			parameters: []string{"clickid={clickId}", "action_id={brand}-{leadId}", "status={status}"},
			statuses:   statuses("2", "1", "3"), kinds: []string{"status"},
			// A conversion that exists was sent before.
			answers: answers{
				accepted: regexp.MustCompile(`(?i)conversion exists`),
				refused:  regexp.MustCompile(`"status"\s*:\s*"?2\b`),
			},
		},
		"tune": {
			path:       "/aff_lsr",
			parameters: []string{"transaction_id={clickId}", "conversion_unique_id={eventId}"},
			kinds:      []string{"goal_id", "goal_ref"},
			// A duplicate conversion was sent before.
			answers: answers{
				accepted: regexp.MustCompile(`(?i)^\s*success\s*=\s*true|duplicate conversion`),
				strict:   true,
			},
		},
	}
}

// addTo returns the URL with the preset's path and parameters.
func (p preset) addTo(t *template.URL) (string, error) {
	base, query, _ := strings.Cut(t.Raw, "?")
	if strings.Trim(base[len(t.Origin):], "/") == "" {
		if p.path == "" {
			return "", errors.New("the url must have the path that the tracker shows, which has its key")
		}
		base = t.Origin + p.path
	}
	parameters := slices.DeleteFunc(slices.Clone(p.parameters), func(parameter string) bool {
		name, _, _ := strings.Cut(parameter, "=")
		return t.Query.Has(name)
	})
	if query != "" {
		parameters = slices.Insert(parameters, 0, query)
	}
	return base + "?" + strings.Join(parameters, "&"), nil
}

// successFalse is a failure for all trackers: success=false as text or as JSON.
var successFalse = regexp.MustCompile(`(?i)^\s*(success\s*=\s*false\b|\{.*"success"\s*:\s*false\b)`)

// These errors are about one event. They do not quote the response, because it
// may repeat the click id.
var (
	errAnswerRefused  = errors.New("the tracker answered that it refused the postback; its own log says why")
	errAnswerNotKnown = errors.New("the response is not the one that the tracker documents for a success")
)

// check returns an error if a 2xx response reports a failure.
func (a answers) check(body string) error {
	switch {
	case a.accepted != nil && a.accepted.MatchString(body):
		return nil
	case successFalse.MatchString(body), a.refused != nil && a.refused.MatchString(body):
		return errAnswerRefused
	case a.strict:
		return errAnswerNotKnown
	}
	return nil
}
