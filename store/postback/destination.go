package postback

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/store/internal/template"
)

// Destination is where postbacks go. The tags are the keys of a configuration
// file in TOML. docs/postbacks.md explains them.
type Destination struct {
	// Name identifies the destination in the database. A destination with a new
	// name starts with an empty queue.
	Name string `toml:"name"`
	// Preset is keitaro, voluum, binom, redtrack, affise or tune. It completes
	// URL and reads the responses of the tracker. "" means that URL is
	// complete.
	Preset string `toml:"preset"`
	// URL may have macros such as {clickId} in its path and its query. It may
	// also have a secret, so fmt and slog show only its scheme and host.
	URL string `toml:"url"`
	// Method is GET or POST. POST sends the query as a form. "" means GET.
	Method string `toml:"method"`
	// Events are the events to send. nil means only first deposits.
	Events []clixnow.LeadEvent `toml:"events"`
	// Statuses renames the status of the lead for {status}. nil means that a
	// preset's values or the lead's status are sent.
	Statuses map[string]string `toml:"statuses"`
	// AllowPrivate are the host names that may have addresses outside the
	// public internet. nil means none.
	AllowPrivate []string `toml:"allow_private"`
	// Concurrency is the number of requests at the same time. 0 means 4.
	Concurrency int `toml:"concurrency"`
}

// events are the events that can be sent.
var events = []clixnow.LeadEvent{
	clixnow.LeadCreated, clixnow.LeadStatusChanged, clixnow.LeadDeposited, clixnow.LeadDepositWithdrawn,
}

// Format prints the name and the host, but not the URL.
func (d Destination) Format(state fmt.State, _ rune) { _, _ = fmt.Fprint(state, d.describe()) }

// LogValue logs the name and the host, but not the URL.
func (d Destination) LogValue() slog.Value { return slog.StringValue(d.describe()) }

func (d Destination) describe() string {
	if t, err := template.Parse(d.URL); err == nil {
		return fmt.Sprintf("postback %q to %s", d.Name, t.Origin)
	}
	return fmt.Sprintf("postback %q", d.Name)
}

// Check returns an error for each mistake. It sends nothing, and resolves no
// names.
func Check(destinations []Destination) error {
	_, err := compileAll(destinations)
	return err
}

// destination is a Destination that is ready to send. Only the goroutine of the
// destination uses it.
type destination struct {
	Destination
	template *template.URL
	preset   preset
	client   *http.Client

	// cursor is the id of the last event that the queue has taken over. It is 0
	// until the first look for new events.
	cursor int64
	// startsAt is the time of the first event that is sent.
	startsAt time.Time
	// failures counts the failures of the whole destination since the last
	// success. failingSince is the time of the first of them.
	failures                  int
	failingSince, pausedUntil time.Time
	// logged is when each failure was logged last.
	logged map[string]time.Time
	// warned means that a failure of the tracker was logged since it worked.
	warned bool
	// refusing means that a refused event was logged, and that the tracker has
	// not accepted all events since.
	refusing bool
	// givenUp is the number of events that were given up since it was logged,
	// at givenUpLogged.
	givenUp       int64
	givenUpLogged time.Time
}

func compileAll(all []Destination) ([]*destination, error) {
	var compiled []*destination
	var faults []error
	for i, d := range all {
		sameName := func(other Destination) bool { return strings.EqualFold(other.Name, d.Name) }
		ready, err := d.compile()
		switch {
		case !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,59}$`).MatchString(d.Name):
			faults = append(faults, fmt.Errorf(
				"postback %d: the name must have 1 to 60 letters, digits, dots, dashes or underscores", i+1))
		case slices.ContainsFunc(all[:i], sameName):
			faults = append(faults, fmt.Errorf("postback %q: another postback has this name", d.Name))
		case err != nil:
			faults = append(faults, fmt.Errorf("postback %q: %w", d.Name, err))
		}
		compiled = append(compiled, ready)
	}
	return compiled, errors.Join(faults...)
}

func (d Destination) compile() (*destination, error) {
	d.Method = cmp.Or(strings.ToUpper(d.Method), http.MethodGet)
	d.Concurrency = cmp.Or(d.Concurrency, 4)
	if len(d.Events) == 0 {
		d.Events = []clixnow.LeadEvent{clixnow.LeadDeposited}
	}
	switch {
	case d.Method != http.MethodGet && d.Method != http.MethodPost:
		return nil, errors.New("the method must be GET or POST")
	case d.Concurrency < 1 || d.Concurrency > 64:
		return nil, errors.New("concurrency must be between 1 and 64")
	}
	for _, event := range d.Events {
		if !slices.Contains(events, event) {
			return nil, fmt.Errorf("unknown event %q; the events are created, status changed, deposited, "+
				"deposit withdrawn", string(event))
		}
	}
	t, chosen, err := d.complete()
	if err != nil {
		return nil, err
	}
	g := guard{onlyLoopback: strings.HasPrefix(t.Origin, "http:")}
	isHost := func(name string) bool { return strings.EqualFold(name, t.Host) }
	g.allowPrivate = slices.ContainsFunc(d.AllowPrivate, isHost)
	if err := g.checkHost(t.Host); err != nil {
		return nil, fmt.Errorf("host %s: %w", t.Host, err)
	}
	if !strings.Contains(t.Raw, "{clickId}") {
		return nil, errors.New("the url must have the macro {clickId}: " +
			"without it the tracker could not tell whose deposit it is")
	}
	return &destination{
		Destination: d, template: t, preset: chosen, client: newClient(g, d.Concurrency, nil),
		logged: make(map[string]time.Time),
	}, nil
}

// complete returns the URL with what the preset adds, and the preset.
func (d Destination) complete() (*template.URL, preset, error) {
	t, err := template.Parse(d.URL)
	if err != nil || d.Preset == "" {
		return t, preset{}, err
	}
	all := presets()
	chosen, ok := all[d.Preset]
	if !ok {
		return nil, chosen, fmt.Errorf("unknown preset %q; the presets are %s", d.Preset,
			strings.Join(slices.Sorted(maps.Keys(all)), ", "))
	}
	raw, err := chosen.addTo(t)
	if err == nil {
		t, err = template.Parse(raw)
	}
	if err != nil {
		return nil, chosen, err
	}
	isOther := func(event clixnow.LeadEvent) bool { return event != clixnow.LeadDeposited }
	if slices.ContainsFunc(d.Events, isOther) && !slices.ContainsFunc(chosen.kinds, t.Query.Has) {
		return nil, chosen, fmt.Errorf("%s would count each of these events as a conversion; "+
			"add the parameter %s to the url", d.Preset, strings.Join(chosen.kinds, " or "))
	}
	return t, chosen, nil
}

// status returns the value of {status}.
func (d *destination) status(event clixnow.LeadEvent, status string) string {
	if renamed, ok := d.Statuses[status]; ok {
		return renamed
	}
	if byEvent, ok := d.preset.statuses[event]; ok {
		return byEvent
	}
	return status
}
