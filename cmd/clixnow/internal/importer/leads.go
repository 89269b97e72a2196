package importer

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/importer/sheet"
)

// leads are the leads of a file.
type leads struct {
	file *sheet.File
	// targets has the result of columnTargets for each column.
	targets []string
	cleaner *cleaner
	// mandatory are the fields without which no row can be sent.
	mandatory []string
	// allowRepeats lets rows be sent that have values of earlier rows.
	allowRepeats bool
}

// row is one lead of the file.
type row struct {
	// line is the line on which the row begins, from 1.
	line int
	// values are the values of the file.
	values []string
	// cleaned are the values as they are sent, by fields.
	cleaned map[string]any
	lead    clixnow.CreateLeadRequest
	// dropped has the faults of optional values, which are left out.
	dropped []clixnow.FieldError
	// fault is nil if the row can be sent.
	fault *clixnow.ValidationError
}

func openLeads(s settings) (*leads, error) {
	file, err := sheet.Open(s.file, sheet.Options{Delimiter: s.delimiter, Sheet: s.sheet})
	if err != nil {
		return nil, err
	}
	l := &leads{file: file, cleaner: newCleaner(s), mandatory: missingFields(nil), allowRepeats: s.allowRepeats}
	if l.targets, err = columnTargets(file.Header, s); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return l, nil
}

// records yields the rows of the file, without cleaning them. It yields a
// *sheet.RowError for a row that makes the whole file doubtful, and goes on.
// Any other error is the last.
func (l *leads) records() iter.Seq2[sheet.Row, error] {
	return func(yield func(sheet.Row, error) bool) {
		isEscaped := slices.Contains(l.file.Header, reasonColumn) // it is a refused.csv
		for record, err := range l.file.Rows() {
			if _, isOfRow := errors.AsType[*sheet.RowError](err); err != nil && !isOfRow {
				err = fmt.Errorf("read the leads: %w", err)
			} else if err == nil {
				err = l.file.CheckLineBreaks(record, l.mayHaveLineBreaks)
			}
			for i := range record.Values {
				if isEscaped {
					record.Values[i] = UnescapeFormula(record.Values[i])
				}
			}
			if !yield(record, err) {
				return
			}
		}
	}
}

// mayHaveLineBreaks reports whether the values of a column may have several
// lines.
func (l *leads) mayHaveLineBreaks(column int) bool {
	target := l.targets[column]
	return target == "comment" || target == leaveOut || strings.HasPrefix(target, extraPrefix)
}

// row cleans and validates the values of one row.
func (l *leads) row(record sheet.Row) row {
	r := row{line: record.Line, values: record.Values, cleaned: make(map[string]any)}
	extra := make(map[string]any)
	var faults []clixnow.FieldError
	country := l.value(record, "countryCode")
	for i, target := range l.targets {
		value := r.values[i]
		if name, ok := strings.CutPrefix(target, extraPrefix); ok && value != "" {
			extra[name] = value
		}
		if target == leaveOut || strings.HasPrefix(target, extraPrefix) {
			continue
		}
		isMandatory := slices.Contains(l.mandatory, target)
		cleaned, err := l.cleaner.clean(target, value, country)
		if text, _ := cleaned.(string); err == nil && isMandatory && strings.Contains(text, "\n") {
			err = errors.New("has a line break")
		}
		if fault := (clixnow.FieldError{Field: target}); err != nil {
			fault.Problem = err.Error()
			if !isMandatory && !strings.HasPrefix(target, "accept") {
				r.dropped = append(r.dropped, fault)
				continue
			}
			faults = append(faults, fault)
		}
		r.cleaned[target] = cleaned
	}
	data, err := json.Marshal(r.cleaned)
	if err := errors.Join(err, r.lead.UnmarshalJSON(data)); err != nil {
		faults = append(faults, clixnow.FieldError{Field: "row", Problem: err.Error()})
	}
	if len(extra) > 0 {
		r.lead.Extra = extra
	}
	r.dropped = append(r.dropped, r.lead.DropInvalidOptional()...)
	if invalid, ok := errors.AsType[*clixnow.ValidationError](r.lead.Validate()); ok {
		inFile := faults // what is wrong in the file explains what is wrong in the lead
		for _, fault := range invalid.Fields {
			if !slices.ContainsFunc(inFile, func(f clixnow.FieldError) bool { return f.Field == fault.Field }) {
				faults = append(faults, fault)
			}
		}
	}
	if faults != nil {
		r.fault = &clixnow.ValidationError{Fields: faults}
	}
	return r
}

// value returns the clean value of one field of a row. It returns "" if the
// file has no such column.
func (l *leads) value(record sheet.Row, field string) string {
	i := slices.Index(l.targets, field)
	if i < 0 {
		return ""
	}
	value, _ := l.cleaner.clean(field, record.Values[i], "")
	return fmt.Sprint(value)
}

// survey is the result of reading the whole file once.
type survey struct {
	rows, lastLine int
	// invalid is the number of rows that cannot be sent.
	invalid int
	// problems counts the faults of these rows, and dropped the values that are
	// left out, by their texts.
	problems, dropped map[string]int
	// repeats says, by the lines of valid rows, which values an earlier row
	// has. It is empty with --allow-repeats.
	repeats map[int]string
	// first are the first rows.
	first []row
}

// survey reads the whole file. It calls show with each row. If the file is not
// valid, or has doubtful rows, it returns an error. So an import does not start
// with a file that it could not finish.
func (l *leads) survey(show func(row, string)) (found survey, err error) {
	const maxFaults, preview = 20, 3
	found = survey{problems: make(map[string]int), dropped: make(map[string]int), repeats: make(map[int]string)}
	seen, seed := make(map[uint64]int32), maphash.MakeSeed() // lines by the hashes of values
	var faults []error
	for record, fault := range l.records() {
		if fault != nil {
			if faults = append(faults, fault); len(faults) == maxFaults {
				faults = append(faults, errors.New("there may be more faults"))
				break
			}
			continue
		}
		r := l.row(record)
		found.add(&r)
		if text := l.repeats(&r, seen, seed); text != "" {
			found.repeats[r.line] = text
			found.invalid++
			found.problems["email, phone or clickId is that of an earlier row (--allow-repeats sends it)"]++
		}
		if len(found.first) < preview {
			found.first = append(found.first, r)
		}
		if show != nil {
			show(r, found.repeats[r.line])
		}
	}
	if err := errors.Join(faults...); err != nil || found.rows > 0 {
		return found, err
	}
	return found, errors.New("the file has a header, but no rows")
}

const (
	sameAs       = "is the same as on line"
	stillRepeats = "correct this row and empty its " + reasonColumn + ", which says: "
)

// repeats says which values of a valid row must be unique, but are those of an
// earlier row that is valid too. The API refuses a second lead with the same
// email or phone, and a search after a lost response takes leads with the same
// email or click id for the same lead. A row of a refused.csv that is refused
// for this reason stays so until somebody removes the reason.
func (l *leads) repeats(r *row, seen map[uint64]int32, seed maphash.Seed) string {
	if r.fault != nil || l.allowRepeats {
		return ""
	}
	var all []string
	if i := slices.Index(l.file.Header, reasonColumn); i >= 0 && strings.Contains(r.values[i], sameAs) {
		all = append(all, stillRepeats+strings.TrimPrefix(oneLine(r.values[i]), stillRepeats))
	}
	for i, value := range []string{strings.ToLower(r.lead.Email), r.lead.Phone, r.lead.ClickID} {
		field := []string{"email", "phone", "clickId"}[i]
		hash := maphash.String(seed, field+value)
		if first, known := seen[hash]; known {
			all = append(all, fmt.Sprintf("%s %s %d", field, sameAs, first))
		} else if value != "" {
			seen[hash] = int32(r.line) //nolint:gosec // a file with more lines does not fit into memory
		}
	}
	return strings.Join(all, ", ")
}

func (s *survey) add(r *row) {
	s.rows++
	s.lastLine = r.line
	for _, fault := range r.dropped {
		s.dropped[fault.Field+" "+fault.Problem]++
	}
	if r.fault == nil {
		return
	}
	s.invalid++
	for _, fault := range r.fault.Fields {
		s.problems[fault.Field+" "+fault.Problem]++
	}
}

// counts returns the texts of a map with their counts, the most frequent first.
func counts(of map[string]int) (lines []string) {
	texts := slices.SortedFunc(maps.Keys(of), func(a, b string) int {
		return cmp.Or(cmp.Compare(of[b], of[a]), strings.Compare(a, b))
	})
	for _, text := range texts {
		lines = append(lines, fmt.Sprintf("%6d × %s", of[text], text))
	}
	return lines
}
