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

// survey is what one reading of the whole file finds.
type survey struct {
	rows, lastLine int
	invalid        int    // rows that cannot be sent
	sum            string // of the file's content
}

// survey reads the whole file, shows each row that is well formed, and fails
// where the form is not: an import does not begin on a file that it could not
// finish.
func (s *sheet) survey(show func(row)) (found survey, err error) {
	const most = 20 // faults that are told
	hash := sha256.New()
	var faults []error
	for r, fault := range s.rows(hash) {
		if fault != nil {
			if faults = append(faults, fault); len(faults) == most {
				faults = append(faults, errors.New("and maybe more"))
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

// fingerprint names what progress belongs to: the same rows, read in the same
// way, for the same API.
func (s *sheet) fingerprint(found survey, brand, baseURL string) string {
	parts := append([]string{found.sum, string(s.comma), brand, baseURL}, s.targets...)
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return hex.EncodeToString(sum[:])
}

// dryRun tells what an import would find fault with, by line and field. It
// keeps some 100 bytes for each value that must not come twice.
func dryRun(leads *sheet, out io.Writer) (int, error) {
	repeated := 0
	seen := make(map[uint64]int) // hashes, not the values: files are long
	seed := maphash.MakeSeed()
	found, err := leads.survey(func(r row) {
		if r.fault != nil {
			for _, f := range r.fault.Fields {
				fmt.Fprintf(out, "line %d: %s %s\n", r.line, f.Field, f.Problem)
			}
		}
		again := false
		for _, unique := range identities(&r) {
			hash := maphash.String(seed, unique.name+unique.value)
			if first, twice := seen[hash]; twice {
				fmt.Fprintf(out, "line %d: %s is the same as on line %d\n", r.line, unique.name, first)
				again = true
			} else {
				seen[hash] = r.line
			}
		}
		if again {
			repeated++
		}
	})
	fmt.Fprintf(out, "%d rows: %d invalid, %d repeat what an earlier one has. Nothing was sent.\n", found.rows,
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

// identities are the values of which the API, or the search for a lead whose
// answer was lost, takes two for the same lead.
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
