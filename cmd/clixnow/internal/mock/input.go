package mock

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	utf "golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

const (
	maxDelay = 10 * time.Minute
	// maxID is the largest integer that programs which read JSON numbers as
	// floats read correctly.
	maxID = 1 << 53
)

// parseFault reads a fault like "POST status=503 times=2". The package comment
// explains the words.
func parseFault(text string) (fault clixnowtest.Fault, err error) {
	seen := make(map[string]bool)
	rest := strings.TrimSpace(text)
	if rest == "" {
		return fault, errors.New("the fault is empty: write one like POST status=503 times=2")
	}
	for rest != "" {
		word := rest
		if i := strings.IndexFunc(rest, unicode.IsSpace); i >= 0 && !strings.HasPrefix(rest, "body=") {
			word = rest[:i]
		}
		rest = strings.TrimLeftFunc(rest[len(word):], unicode.IsSpace)
		_, value, _ := strings.Cut(word, "=")
		name := strings.TrimSuffix(word, value) // includes the "="
		if seen[name] && name != "header=" {
			return fault, fmt.Errorf("%s is given twice", name)
		}
		seen[name] = true
		if err := setWord(&fault, name, value); err != nil {
			return fault, err
		}
	}
	switch {
	case seen["GET"] && seen["POST"]:
		return fault, errors.New("GET and POST are both given: leave them out to match any request")
	case fault.Status == 0 && (seen["header="] || seen["body="]):
		return fault, errors.New("header= and body= need a response: add status=")
	case fault.Status != 0 && fault.Drop != clixnowtest.NoDrop:
		return fault, errors.New("status= and drop= exclude each other: a connection that is cut has no status")
	}
	return fault, nil
}

func setWord(fault *clixnowtest.Fault, name, value string) (err error) {
	switch name {
	case "GET", "POST":
		fault.Method = name
	case "handle-first":
		fault.HandleFirst = true
	case "body=":
		fault.Body = value
	case "status=":
		if fault.Status, err = strconv.Atoi(value); err != nil || fault.Status < 200 || fault.Status > 999 {
			return fmt.Errorf("status=%s must be a number from 200 to 999", value)
		}
	case "times=":
		if fault.Times, err = strconv.Atoi(value); err != nil || fault.Times < 1 {
			return fmt.Errorf("times=%s must be a number of at least 1", value)
		}
	case "delay=":
		if fault.Delay, err = time.ParseDuration(value); err != nil || fault.Delay <= 0 || fault.Delay > maxDelay {
			return fmt.Errorf("delay=%s must be positive, at most 10m, and have a unit: 300ms, 2s, 1m", value)
		}
	case "drop=":
		if fault.Drop = clixnowtest.Drop(slices.Index(drops(), value)); fault.Drop <= clixnowtest.NoDrop {
			return fmt.Errorf("drop=%s must be before-handling, after-handling or mid-body", value)
		}
	case "header=":
		field, text, found := strings.Cut(value, ":")
		if field == "" || !found {
			return fmt.Errorf("header=%s must have a name and a colon: header=Retry-After:5", value)
		}
		if fault.Header == nil {
			fault.Header = make(http.Header)
		}
		fault.Header.Add(field, text)
	default:
		return fmt.Errorf("unknown word %q: the words are GET, POST, times=, status=, header=, handle-first, "+
			"delay=, drop= and body=", name+value)
	}
	return nil
}

// drops returns the words for the values of clixnowtest.Drop.
func drops() []string { return []string{"", "before-handling", "after-handling", "mid-body"} }

// formatFault returns the text that parseFault reads as fault.
func formatFault(fault clixnowtest.Fault) string {
	words := []string{fault.Method, fmt.Sprint("times=", max(1, fault.Times))}
	add := func(isSet bool, word ...any) {
		if isSet {
			words = append(words, fmt.Sprint(word...))
		}
	}
	add(fault.HandleFirst, "handle-first")
	add(fault.Delay > 0, "delay=", fault.Delay)
	add(fault.Status > 0, "status=", fault.Status)
	add(fault.Drop != clixnowtest.NoDrop, "drop=", drops()[fault.Drop])
	for _, name := range slices.Sorted(maps.Keys(fault.Header)) {
		for _, value := range fault.Header[name] {
			add(true, "header=", name, ":", value)
		}
	}
	add(fault.Body != "", "body=", fault.Body)
	return strings.TrimSpace(strings.Join(words, " "))
}

// withoutMark returns the text of a file or a body as UTF-8. It follows a byte
// order mark, and leaves it out.
func withoutMark(r io.Reader) io.Reader {
	return transform.NewReader(r, utf.BOMOverride(transform.Nop))
}

// readLeads reads a JSON array of leads, or one lead per line.
func readLeads(data []byte) ([]clixnow.Lead, error) {
	data, err := io.ReadAll(withoutMark(bytes.NewReader(data)))
	if err != nil {
		return nil, err
	}
	var elements []json.RawMessage
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("[")) {
		if err := json.Unmarshal(data, &elements); err != nil {
			line := 1
			if syntax := new(json.SyntaxError); errors.As(err, &syntax) {
				line += bytes.Count(data[:syntax.Offset], []byte("\n"))
			}
			return nil, fmt.Errorf("line %d of the array of leads: %w", line, err)
		}
	} else {
		for line := range bytes.Lines(data) {
			if line = bytes.TrimSpace(line); len(line) > 0 {
				elements = append(elements, line)
			}
		}
	}
	leads := make([]clixnow.Lead, len(elements))
	numbers := make(map[int64]int) // the position of each lead in data, from 1, by its id
	for i, element := range elements {
		lead, err := readLead(element)
		if err != nil {
			return nil, fmt.Errorf("lead %d: %w", i+1, err)
		}
		if first := numbers[lead.ID]; first > 0 && lead.ID > 0 {
			return nil, fmt.Errorf("lead %d: has the id of lead %d; leave the id out to get a new one", i+1, first)
		}
		leads[i], numbers[lead.ID] = lead, i+1
	}
	return leads, nil
}

func readLead(data []byte) (lead clixnow.Lead, err error) {
	if err := json.Unmarshal(data, &lead); err != nil {
		return lead, fmt.Errorf(`%w; write a JSON array of leads, or one lead per line, like `+
			`{"email":"a@example.com","status":"New","createdOn":"2022-12-19T11:01:58.302Z"}`, err)
	}
	isPassword := func(name string) bool { return strings.EqualFold(name, "password") }
	fields := slices.Sorted(maps.Keys(lead.Extra))
	switch {
	case slices.ContainsFunc(fields, isPassword):
		return lead, errors.New("has a password, so it is a registration: POST it to /api/system/v1/leads")
	case lead.ID == 0 && lead.Email == "":
		return lead, fmt.Errorf("has neither id nor email, but %q: write leads in the form of a search result, "+
			"without an object around them", fields)
	case lead.ID < 0 || lead.ID > maxID:
		return lead, fmt.Errorf("id must be from 1 to %d", int64(maxID))
	}
	_, err = lead.MarshalJSON() // a lead that cannot be encoded could not be returned later
	return lead, err
}
