package snippets

import (
	"strings"

	"github.com/clixnow/clixnow-go"
)

// Stage is a status in the words of your own reports.
type Stage string

// Stages maps the statuses of one brand, in lower case.
type Stages map[string]Stage

// Of returns the stage of a lead. It returns "" and false for a status that is
// not mapped.
func (s Stages) Of(lead clixnow.Lead) (stage Stage, known bool) {
	stage, known = s[strings.ToLower(strings.TrimSpace(lead.Status))]
	return stage, known
}

// Count counts leads by stage, and the raw statuses that are not mapped.
func (s Stages) Count(leads []clixnow.Lead) (stages map[Stage]int, unmapped map[string]int) {
	stages, unmapped = make(map[Stage]int), make(map[string]int)
	for _, lead := range leads {
		if stage, known := s.Of(lead); known {
			stages[stage]++
		} else {
			unmapped[lead.Status]++
		}
	}
	return stages, unmapped
}
