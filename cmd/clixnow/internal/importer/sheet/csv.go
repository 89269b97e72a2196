package sheet

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"golang.org/x/text/encoding"
)

// maxRow is the largest number of bytes of a row. A longer one is the result of
// a quotation mark that is not closed.
const maxRow = 1 << 20

// ValidDelimiter reports whether a character can separate columns.
func ValidDelimiter(delimiter rune) bool {
	return delimiter > 0 && !strings.ContainsRune("\"\r\n\uFFFD", delimiter)
}

// openCSV recognises the delimiter, and sets records.
func (f *File) openCSV(decoding encoding.Encoding, delimiter rune) {
	open := func() *lines {
		return &lines{in: bufio.NewReader(decoding.NewDecoder().Reader(f.section()))}
	}
	in := bufio.NewReaderSize(open(), maxRow)
	declared, skip := rune(0), 0
	head, _ := in.Peek(64)
	if first, _, _ := strings.Cut(string(head), "\n"); strings.HasPrefix(first, "sep=") {
		skip = len(first) + 1
		declared, _, _ = strings.NewReader(strings.TrimSuffix(first[len("sep="):], "\r")).ReadRune()
		_, _ = in.Discard(skip)
	}
	switch {
	case delimiter != 0:
		f.Delimiter = delimiter
	case declared != 0 && ValidDelimiter(declared):
		f.Delimiter = declared
	default:
		text, _ := in.Peek(maxRow / 16)
		f.Delimiter = frequentDelimiter(string(text))
	}
	f.Format += fmt.Sprintf(", columns separated by %q", f.Delimiter)
	f.records = func() iter.Seq2[Row, error] { return f.csvRecords(open(), skip) }
}

// frequentDelimiter returns the delimiter that the first line with text has
// most often outside of quotation marks.
func frequentDelimiter(text string) rune {
	counts := make(map[rune]int)
	quoted := false
	for _, c := range strings.TrimLeft(text, "\r\n") {
		if c == '"' {
			quoted = !quoted
		}
		if c == '\n' && !quoted {
			break
		}
		if !quoted {
			counts[c]++
		}
	}
	best := ','
	for _, c := range ";\t|" {
		if counts[c] > counts[best] {
			best = c
		}
	}
	return best
}

// csvRecords yields the rows of a CSV file.
func (f *File) csvRecords(in *lines, skip int) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		skipped := 0
		if skip > 0 {
			skipped = 1
			if _, err := io.CopyN(io.Discard, in, int64(skip)); err != nil {
				yield(Row{}, fmt.Errorf("read the file: %w", err))
				return
			}
		}
		reader := csv.NewReader(in)
		reader.Comma, reader.FieldsPerRecord = f.Delimiter, -1
		for {
			in.since = 0
			values, err := reader.Read()
			switch {
			case errors.Is(err, io.EOF):
				return
			case err != nil:
				yield(Row{}, csvError(err, skipped))
				return
			case len(trimEnd(values)) == 0:
				continue
			}
			line, _ := reader.FieldPos(0)
			if !yield(Row{Line: line + skipped, Values: values}, nil) {
				return
			}
		}
	}
}

// CheckLineBreaks finds a row that a quotation mark has swallowed. A line break
// is a sign of that, unless the column may have some. In such a column it is a
// line that has as many delimiters as a row. The error is a *RowError.
func (f *File) CheckLineBreaks(row Row, mayHave func(column int) bool) error {
	if f.IsWorkbook {
		return nil
	}
	for i, value := range row.Values {
		if !strings.Contains(value, "\n") {
			continue
		}
		if mayHave(i) {
			columns := len(f.Header)
			isRow := func(line string) bool { return strings.Count(line, string(f.Delimiter)) >= columns-1 }
			if columns == 1 || !slices.ContainsFunc(strings.Split(value, "\n"), isRow) {
				continue
			}
		}
		last := row.Line + strings.Count(strings.Join(row.Values, ""), "\n")
		return &RowError{Line: row.Line, Problem: fmt.Sprintf("a value of column %d (%s) has a line break. "+
			"A quotation mark (\") is probably not closed, so that lines %d to %d became one row", i+1,
			f.Header[i], row.Line, last)}
	}
	return nil
}

// csvError returns the error of a file that cannot be read further. It names
// the line and contains no value.
func csvError(err error, skipped int) error {
	parse, ok := errors.AsType[*csv.ParseError](err)
	if !ok {
		return fmt.Errorf("read the file: %w", err)
	}
	const advice = "check the quotation marks (\") there: a value that contains one must be in quotation marks, " +
		"with each one inside it doubled"
	if parse.StartLine != parse.Line {
		return fmt.Errorf("lines %d to %d: %w; %s", parse.StartLine+skipped, parse.Line+skipped, parse.Err, advice)
	}
	return fmt.Errorf("line %d, column %d: %w; %s", parse.Line+skipped, parse.Column, parse.Err, advice)
}

// lines reads text and replaces each CR that is not followed by LF by LF. Old
// programs for Mac end lines so.
type lines struct {
	in *bufio.Reader
	// since counts the bytes since the last record.
	since int
}

func (l *lines) Read(p []byte) (int, error) {
	if l.since > maxRow {
		return 0, errors.New("a row is longer than 1 MiB: a quotation mark (\") is probably not closed")
	}
	n, err := l.in.Read(p)
	l.since += n
	for i := range p[:n] {
		if p[i] != '\r' {
			continue
		}
		next := byte('\n')
		if i+1 < n {
			next = p[i+1]
		} else if peeked, err := l.in.Peek(1); err == nil {
			next = peeked[0]
		}
		if next != '\n' {
			p[i] = '\n'
		}
	}
	return n, err
}
