package main

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/clixnow/clixnow-go"
)

// sheet is the file of leads. It is read from its start for each purpose, a row
// at a time.
type sheet struct {
	file    io.ReadSeeker
	comma   rune
	targets []string // of its columns
}

// row is a lead of the file.
type row struct {
	line  int // on which it begins
	lead  clixnow.CreateLeadRequest
	fault *clixnow.ValidationError // nil = it can be sent
}

func separates(comma rune) bool {
	return comma != '"' && comma != '\r' && comma != '\n' && comma != '\uFFFD'
}

func openSheet(file io.ReadSeeker, s settings) (*sheet, error) {
	leads := &sheet{file: file, comma: []rune(s.comma)[0]}
	reader, err := leads.reader(io.Discard)
	if err != nil {
		return nil, err
	}
	header, err := reader.Read()
	if err != nil {
		return nil, fmt.Errorf("read the header: %w", err)
	}
	leads.targets, err = targetsOf(header, s)
	return leads, err
}

// reader reads from the start. What it reads is written to copied, too.
func (s *sheet) reader(copied io.Writer) (*csv.Reader, error) {
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("go to the start: %w", err)
	}
	buffered := bufio.NewReader(io.TeeReader(s.file, copied))
	// the mark of UTF-8 that spreadsheets put in front
	if mark, _, err := buffered.ReadRune(); err == nil && mark != '\uFEFF' {
		_ = buffered.UnreadRune() // it was just read
	}
	reader := csv.NewReader(buffered)
	reader.Comma = s.comma
	return reader, nil
}

// rows yields the rows, and as errors what is wrong with the form of the file.
// After a wrong number of columns it goes on.
func (s *sheet) rows(copied io.Writer) iter.Seq2[row, error] {
	return func(yield func(row, error) bool) {
		reader, err := s.reader(copied)
		if err == nil {
			_, err = reader.Read() // the header
		}
		if err != nil {
			yield(row{}, fmt.Errorf("read the leads: %w", err))
			return
		}
		for {
			values, err := reader.Read()
			var r row
			switch {
			case err == nil:
				r = s.row(lineOf(reader), values)
			case errors.Is(err, io.EOF):
				return
			case errors.Is(err, csv.ErrFieldCount):
				err = fmt.Errorf("line %d: %d columns, where the header has %d", lineOf(reader), len(values),
					len(s.targets))
			default:
				yield(r, fmt.Errorf("read the leads: %w", err))
				return
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

func lineOf(reader *csv.Reader) int {
	line, _ := reader.FieldPos(0)
	return line
}

func (s *sheet) row(line int, values []string) row {
	r := row{line: line}
	known := make(map[string]field, len(s.targets))
	for _, f := range fields(&r.lead) {
		known[f.name] = f
	}
	var faults []clixnow.FieldError
	for i, target := range s.targets {
		name, extra := strings.CutPrefix(target, extraPrefix)
		switch {
		case target == leaveOut, extra && values[i] == "":
		case extra && r.lead.Extra == nil:
			r.lead.Extra = map[string]any{name: values[i]}
		case extra:
			r.lead.Extra[name] = values[i]
		default:
			if err := known[target].set(values[i]); err != nil {
				faults = append(faults, clixnow.FieldError{Field: target, Problem: err.Error()})
			}
		}
	}
	if invalid, ok := errors.AsType[*clixnow.ValidationError](r.lead.Validate()); ok {
		faults = append(faults, invalid.Fields...)
	}
	if faults != nil {
		r.fault = &clixnow.ValidationError{Fields: faults}
	}
	return r
}
