package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"slices"
	"strings"
)

// survey is the result of reading the whole file once.
type survey struct {
	rows, lastLine int
	// invalid is the number of rows that cannot be sent.
	invalid int
	// sum is the hash of the file's content.
	sum string
}

// survey reads the whole file. It calls show with each row that has the right
// number of columns. If other rows have not, or the file is not valid CSV, it
// returns an error. So an import does not start with a file that it could not
// finish.
func (s *sheet) survey(show func(row)) (found survey, err error) {
	const maxFaults = 20
	hash := sha256.New()
	var faults []error
	for r, fault := range s.rows(hash) {
		if fault != nil {
			if faults = append(faults, fault); len(faults) == maxFaults {
				faults = append(faults, errors.New("there may be more faults"))
				break
			}
			continue
		}
		found.rows++
		found.lastLine = r.line
		if r.fault != nil {
			found.invalid++
		}
		if show != nil {
			show(r)
		}
	}
	found.sum = hex.EncodeToString(hash.Sum(nil))
	return found, errors.Join(faults...)
}

// fingerprint identifies an import. Progress belongs to an import with the same
// fingerprint: the same file, read in the same way, for the same API.
func (s *sheet) fingerprint(found survey, brand, baseURL string) string {
	parts := append([]string{found.sum, string(s.comma), brand, baseURL}, s.targets...)
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return hex.EncodeToString(sum[:])
}

// dryRun prints the faults of the rows by line and field, and the values that
// must be unique but are repeated. It keeps about 100 bytes of memory for each
// such value.
func dryRun(leads *sheet, out io.Writer) (int, error) {
	repeated := 0
	seen := make(map[uint64]int) // the first line, by the hash of the value
	seed := maphash.MakeSeed()
	found, err := leads.survey(func(r row) {
		if r.fault != nil {
			for _, f := range r.fault.Fields {
				fmt.Fprintf(out, "line %d: %s %s\n", r.line, f.Field, f.Problem)
			}
		}
		isRepeat := false
		for _, unique := range identities(&r) {
			hash := maphash.String(seed, unique.name+unique.value)
			if first, known := seen[hash]; known {
				fmt.Fprintf(out, "line %d: %s is the same as on line %d\n", r.line, unique.name, first)
				isRepeat = true
			} else {
				seen[hash] = r.line
			}
		}
		if isRepeat {
			repeated++
		}
	})
	fmt.Fprintf(out, "%d rows: %d invalid, %d with a value of an earlier row. Nothing was sent.\n", found.rows,
		found.invalid, repeated)
	switch {
	case err != nil:
		return exitInput, err
	case found.invalid+repeated > 0:
		return exitRefused, nil
	}
	return exitDone, nil
}

type identity struct{ name, value string }

// identities returns the values that must be unique. The API refuses a second
// lead with the same email or phone, and a search after a lost response takes
// leads with the same email or click id for the same lead.
func identities(r *row) []identity {
	digits := strings.Map(func(c rune) rune {
		if c < '0' || c > '9' {
			return -1
		}
		return c
	}, r.lead.Phone)
	all := []identity{{"email", strings.ToLower(r.lead.Email)}, {"phone", digits}, {"clickId", r.lead.ClickID}}
	return slices.DeleteFunc(all, func(i identity) bool { return i.value == "" })
}
