package postback

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/clixnow/clixnow-go"
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
	// kinds are the parameters by which the tracker tells events from each other.
	// One of them is needed for events other than a first deposit.
	kinds []string
	// accepts returns an error if a 2xx response reports a failure.
	accepts func(body string) error
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
			statuses:   statuses("lead", "sale", "rejected"),
			kinds:      []string{"status"}, accepts: acceptsKeitaro,
		},
		"voluum": {
			path:       "/postback",
			parameters: []string{"cid={clickId}", "txid={eventId}"},
			kinds:      []string{"et"}, accepts: accepts,
		},
		"binom": {
			path:       "/click.php",
			parameters: []string{"cnv_id={clickId}", "cnv_status={status}"},
			statuses:   statuses("lead", "sale", "rejected"),
			kinds:      []string{"cnv_status"}, accepts: accepts,
		},
		"redtrack": {
			path:       "/postback",
			parameters: []string{"clickid={clickId}", "rdtk_event_id={eventId}"},
			kinds:      []string{"type", "status"}, accepts: accepts,
		},
		"affise": {
			path:       "/postback",
			parameters: []string{"clickid={clickId}", "action_id={brand}-{leadId}", "status={status}"},
			statuses:   statuses("2", "1", "3"),
			kinds:      []string{"status"}, accepts: acceptsAffise,
		},
		"tune": {
			path:       "/aff_lsr",
			parameters: []string{"transaction_id={clickId}", "conversion_unique_id={eventId}"},
			kinds:      []string{"goal_id", "goal_ref"}, accepts: acceptsTUNE,
		},
	}
}

// addTo returns the URL with the preset's path and parameters.
func (p preset) addTo(raw string, keys []string) (string, error) {
	base, query, _ := strings.Cut(raw, "?")
	_, afterScheme, _ := strings.Cut(base, "://")
	_, path, _ := strings.Cut(afterScheme, "/")
	if path == "" {
		if p.path == "" {
			return "", errors.New("the url must have the path that the tracker shows, which has its key")
		}
		base = strings.TrimSuffix(base, "/") + p.path
	}
	has := make(map[string]bool)
	for _, key := range keys {
		has[key] = true
	}
	for _, parameter := range p.parameters {
		if name, _, _ := strings.Cut(parameter, "="); !has[name] {
			query += "&" + parameter
		}
	}
	return base + "?" + strings.TrimPrefix(query, "&"), nil
}

// These errors are about one event. They do not quote the response, because it
// may repeat the click id.
var (
	errAnswerRefused  = errors.New("the tracker answered that it refused the postback; its own log says why")
	errAnswerNotKnown = errors.New("the response is not the one that the tracker documents for a success")
)

// accepts is the rule for all trackers: success=false in the body is a failure,
// as text or as JSON.
func accepts(body string) error {
	var answer struct {
		Success *bool `json:"success"`
	}
	compact := strings.ToLower(strings.Join(strings.Fields(body), ""))
	if strings.HasPrefix(compact, "success=false") ||
		json.Unmarshal([]byte(body), &answer) == nil && answer.Success != nil && !*answer.Success {
		return errAnswerRefused
	}
	return nil
}

// acceptsKeitaro expects the text that the parameter "return" asks for.
func acceptsKeitaro(body string) error {
	if strings.TrimSpace(body) != "OK" {
		return errAnswerNotKnown
	}
	return nil
}

// acceptsAffise accepts every response but the older one with status 2. A
// conversion that exists already was sent before.
func acceptsAffise(body string) error {
	var answer struct {
		Status json.RawMessage `json:"status"`
	}
	refused := json.Unmarshal([]byte(body), &answer) == nil && strings.Trim(string(answer.Status), `"`) == "2"
	if refused && !strings.Contains(strings.ToLower(body), "conversion exists") {
		return errAnswerRefused
	}
	return accepts(body)
}

// acceptsTUNE expects success=true. A duplicate conversion was sent before.
func acceptsTUNE(body string) error {
	compact := strings.ToLower(strings.Join(strings.Fields(body), ""))
	switch {
	case strings.HasPrefix(compact, "success=true"), strings.Contains(compact, "duplicateconversion"):
		return nil
	case strings.HasPrefix(compact, "success=false"):
		return errAnswerRefused
	}
	return errAnswerNotKnown
}
