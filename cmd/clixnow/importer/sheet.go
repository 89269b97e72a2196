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

// sheet is the CSV file of leads. Each reading starts at the beginning of the
// file and reads one row at a time.
type sheet struct {
	file  io.ReadSeeker
	comma rune
	// targets has the result of columnTargets for each column.
	targets []string
}

// row is one lead of the file.
type row struct {
	// line is the line on which the row begins, from 1.
	line int
	lead clixnow.CreateLeadRequest
	// fault is nil if the row can be sent.
	fault *clixnow.ValidationError
}

// validComma reports whether encoding/csv accepts comma.
func validComma(comma rune) bool {
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
	leads.targets, err = columnTargets(header, s)
	return leads, err
}

// reader returns a reader that starts at the beginning of the file. Everything
// that it reads is also written to copied.
func (s *sheet) reader(copied io.Writer) (*csv.Reader, error) {
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("seek to the start: %w", err)
	}
	buffered := bufio.NewReader(io.TeeReader(s.file, copied))
	// Spreadsheets put a byte order mark before UTF-8.
	if mark, _, err := buffered.ReadRune(); err == nil && mark != '\uFEFF' {
		_ = buffered.UnreadRune()
	}
	reader := csv.NewReader(buffered)
	reader.Comma = s.comma
	return reader, nil
}

// rows yields the rows of the file. It yields an error for a row with a wrong
// number of columns, and goes on. Any other error is the last.
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
				err = fmt.Errorf("line %d: the row has %d columns, but the header has %d", lineOf(reader),
					len(values), len(s.targets))
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

// row reads and validates the values of one row.
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
