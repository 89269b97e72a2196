package sheet

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/xuri/excelize/v2"
)

// openWorkbook opens a sheet of an .xlsx workbook, and sets records. Large
// sheets are unpacked to temporary files, which Close removes.
func (f *File) openWorkbook(sheet string) error {
	const inMemory = 1 << 20
	book, err := excelize.OpenFile(f.file.Name(), excelize.Options{
		RawCellValue: true, UnzipXMLSizeLimit: inMemory, UnzipSizeLimit: 4 << 30,
	})
	if err != nil {
		return fmt.Errorf("the file is no .xlsx workbook that can be read (%w): save it as .xlsx or \"CSV UTF-8\"", err)
	}
	f.close = book.Close
	names := book.GetSheetList()
	switch {
	case len(names) == 0:
		return errors.New("the workbook has no sheets")
	case sheet == "":
		sheet = names[0]
	case !slices.Contains(names, sheet):
		return fmt.Errorf("the workbook has no sheet %q; it has %q", sheet, names)
	}
	f.IsWorkbook = true
	f.Format = fmt.Sprintf(".xlsx, sheet %q of %d", sheet, len(names))
	f.records = func() iter.Seq2[Row, error] { return f.workbookRecords(book, sheet) }
	return nil
}

// workbookRecords yields the rows of a sheet. A workbook does not store the
// empty cells at the end of a row.
func (f *File) workbookRecords(book *excelize.File, sheet string) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		rows, err := book.Rows(sheet)
		if err != nil {
			yield(Row{}, fmt.Errorf("read sheet %q: %w", sheet, err))
			return
		}
		defer func() { _ = rows.Close() }()
		for line := 1; rows.Next(); line++ {
			values, err := rows.Columns()
			switch {
			case err != nil:
				yield(Row{}, fmt.Errorf("read row %d of sheet %q: %w", line, sheet, err))
				return
			case len(trimEnd(values)) == 0:
				continue
			}
			for i, value := range values {
				// Workbooks store line breaks in cells as CR and LF, or as LF.
				values[i] = strings.ReplaceAll(value, "\r\n", "\n")
			}
			for len(values) < len(f.Header) {
				values = append(values, "")
			}
			if !yield(Row{Line: line, Values: values}, nil) {
				return
			}
		}
		if err := rows.Error(); err != nil {
			yield(Row{}, fmt.Errorf("read sheet %q: %w", sheet, err))
		}
	}
}
