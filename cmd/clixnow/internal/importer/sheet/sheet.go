// Package sheet reads tables from the files that spreadsheets, CRMs and ad
// platforms export: CSV in several encodings and with several delimiters, and
// .xlsx. It knows nothing about leads. Its errors contain no value of a row.
package sheet

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"net/http"
	"os"
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// Options sets how a file is read. Its zero value recognises everything.
type Options struct {
	// Delimiter separates the columns of CSV. 0 means that Open recognises it.
	Delimiter rune
	// Sheet is the name of a sheet of a workbook. "" means the first one.
	Sheet string
}

// File is a table with a header.
type File struct {
	// Header has the names of the columns.
	Header []string
	// Format says how the file is read, for a person.
	Format string
	// Sum identifies the content of the file, and how it is read.
	Sum string
	// Delimiter separates the columns. It is a comma for a workbook.
	Delimiter rune

	// IsWorkbook reports whether the file is an .xlsx workbook.
	IsWorkbook bool

	file *os.File
	// size is the size of the file when it was opened. What is appended later
	// is not read.
	size int64
	// close releases what records needs.
	close func() error
	// sum is the hash of the content. It is nil until the file was read once.
	sum []byte
	// records yields all rows, including the header.
	records func() iter.Seq2[Row, error]
}

// Row is one row of a table.
type Row struct {
	// Line is the line on which the row begins, from 1. In a workbook it is the
	// number of the row.
	Line int
	// Values has a value for each column of the header.
	Values []string
}

// RowError is a fault of one row. The rows after it can be read.
type RowError struct {
	Line    int
	Problem string
}

func (e *RowError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Problem) }

// Open opens a file and reads its header. Call Close at the end.
func Open(path string, opts Options) (*File, error) {
	file, err := os.Open(path) //nolint:gosec // the user names the file
	if err != nil {
		return nil, err
	}
	f := &File{Delimiter: ',', file: file, close: func() error { return nil }}
	if err := f.readHeader(opts); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (f *File) readHeader(opts Options) error {
	info, err := f.file.Stat()
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file: save the leads to a file first", f.file.Name())
	case info.Size() == 0:
		return fmt.Errorf("%s is empty", f.file.Name())
	}
	f.size = info.Size()
	if err := f.recognise(opts); err != nil {
		return err
	}
	for row, err := range f.records() {
		f.Header = trimEnd(row.Values)
		return err
	}
	return fmt.Errorf("%s has no rows, only empty lines", f.file.Name())
}

// Close closes the file.
func (f *File) Close() error { return errors.Join(f.close(), f.file.Close()) }

// HasGrown reports whether the file is longer than when it was opened.
func (f *File) HasGrown() bool {
	info, err := f.file.Stat()
	return err == nil && info.Size() > f.size
}

// Rows yields the rows after the header, without those that are empty. It
// yields a *RowError for a row that is at fault, and goes on. Any other error
// is the last. Rows may be called again.
func (f *File) Rows() iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		isHeader := true
		for row, err := range f.records() {
			switch {
			case err == nil && isHeader:
				isHeader = false
				continue
			case err == nil:
				err = f.fit(&row)
			}
			if !yield(row, err) {
				return
			}
		}
	}
}

// fit gives a row as many values as the header has columns.
func (f *File) fit(row *Row) error {
	columns := len(f.Header)
	if len(row.Values) > columns && len(trimEnd(row.Values)) <= columns {
		row.Values = row.Values[:columns]
	}
	if len(row.Values) != columns {
		return &RowError{
			row.Line,
			fmt.Sprintf("the row has %d columns, but the header has %d", len(row.Values), columns),
		}
	}
	return nil
}

// trimEnd cuts off empty values.
func trimEnd(values []string) []string {
	for len(values) > 0 && strings.TrimSpace(values[len(values)-1]) == "" {
		values = values[:len(values)-1]
	}
	return values
}

// recognise finds out how the file is to be read. It reads the whole file,
// because the first byte that is not UTF-8 may come late.
func (f *File) recognise(opts Options) error {
	head := make([]byte, min(f.size, 4096))
	if _, err := io.ReadFull(f.section(), head); err != nil {
		return fmt.Errorf("read the file: %w", err)
	}
	all := f.section()
	_, invalid := io.Copy(io.Discard, transform.NewReader(all, encoding.UTF8Validator))
	if _, err := io.Copy(io.Discard, all); err != nil {
		return fmt.Errorf("read the file: %w", err)
	}
	f.sum = all.hash.Sum(nil)
	decoding, name, err := decoding(head, invalid == nil)
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		err = f.openWorkbook(opts.Sheet)
	case err == nil:
		f.Format = "CSV, " + name
		f.openCSV(decoding, opts.Delimiter)
	}
	f.Sum = fmt.Sprintf("%x %s", f.sum, f.Format)
	return err
}

// section returns a reader of what the file had when it was opened.
func (f *File) section() *section {
	return &section{in: io.NewSectionReader(f.file, 0, f.size), hash: sha256.New(), want: f.sum}
}

// section returns an error at the end if the file has changed.
type section struct {
	in   io.Reader
	hash hash.Hash
	want []byte
}

func (s *section) Read(p []byte) (int, error) {
	n, err := s.in.Read(p)
	_, _ = s.hash.Write(p[:n])
	if err == io.EOF && s.want != nil && !bytes.Equal(s.hash.Sum(nil), s.want) { //nolint:errorlint // io.Reader
		err = errors.New("the file has changed while it was read")
	}
	return n, err
}

// decoding returns how to decode a file that begins with head.
func decoding(head []byte, isUTF8 bool) (encoding.Encoding, string, error) {
	// A text with LP as bytes 35 and 36 counts as a font. A real one has NULs.
	const font = "application/vnd.ms-fontobject"
	switch kind := http.DetectContentType(head); {
	case bytes.HasPrefix(head, []byte("\xff\xfe\x00\x00")), bytes.HasPrefix(head, []byte("\x00\x00\xfe\xff")):
		return nil, "", errors.New("the file is UTF-32: save it as \"CSV UTF-8\"")
	case bytes.HasPrefix(head, []byte("\xff\xfe")), len(head) > 1 && head[1] == 0:
		return unicode.UTF16(unicode.LittleEndian, unicode.UseBOM), "UTF-16LE", nil
	case bytes.HasPrefix(head, []byte("\xfe\xff")), head[0] == 0:
		return unicode.UTF16(unicode.BigEndian, unicode.UseBOM), "UTF-16BE", nil
	case bytes.HasPrefix(head, []byte("\xd0\xcf\x11\xe0")):
		return nil, "", errors.New("the file is an old .xls workbook, or a workbook with a password: " +
			"save it as .xlsx without a password, or as \"CSV UTF-8\"")
	case bytes.IndexAny(bytes.TrimSpace(head), "{[") == 0:
		return nil, "", errors.New("the file is JSON: export the leads as \"CSV UTF-8\" or .xlsx")
	case !strings.HasPrefix(kind, "text/plain") && kind != font, bytes.IndexByte(head, 0) >= 0:
		kind, _, _ = strings.Cut(kind, ";")
		return nil, "", fmt.Errorf("the file is no CSV and no .xlsx (it looks like %s): "+
			"export the leads as \"CSV UTF-8\" or .xlsx", kind)
	case isUTF8:
		return unicode.UTF8BOM, "UTF-8", nil
	}
	return charmap.Windows1252, "Windows-1252", nil
}
