package importer

import (
	"crypto/sha256"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"

	bolt "go.etcd.io/bbolt"
)

const (
	resultsName = "results.csv"
	// refusedName is the file of the rows that are refused, to be corrected and
	// imported again. It has the columns of the imported file, and two more.
	refusedName  = "refused.csv"
	lineColumn   = "import_line"
	reasonColumn = "import_reason"
)

// writeResults writes the results and the refused rows. It returns the path of
// the refused rows. If it fails, the files of the run before stay.
func (l *ledger) writeResults(rows *leads, redirectURLs bool) (refusedPath string, err error) {
	refusedPath = filepath.Join(l.folder, refusedName)
	results, err := createCSV(filepath.Join(l.folder, resultsName), ',')
	if err != nil {
		return refusedPath, err
	}
	rejects, err := createCSV(refusedPath, rows.file.Delimiter)
	if err != nil {
		return refusedPath, errors.Join(err, results.finish(false))
	}
	columns := []string{"line", "outcome", "lead_id", "email", "click_id", "error"}
	if redirectURLs {
		columns = append(columns, "redirect_url")
	}
	results.write(columns)
	_, err = rejects.file.WriteString("\uFEFF") // without it, Excel does not read the file as UTF-8
	rejects.write(rows.original(rows.file.Header), lineColumn, reasonColumn)
	for record, rowErr := range rows.records() {
		s, stateErr := l.state(record.Line)
		if err = errors.Join(err, rowErr, stateErr); err != nil {
			break
		}
		line, id := strconv.Itoa(record.Line), ""
		if s.LeadID != 0 {
			id = strconv.FormatInt(s.LeadID, 10)
		}
		if s.Outcome != "" {
			columns = append(columns[:0], line, string(s.Outcome), id, oneLine(rows.value(record, "email")),
				oneLine(rows.value(record, "clickId")), oneLine(s.Error))
			if redirectURLs {
				columns = append(columns, oneLine(s.RedirectURL))
			}
			results.write(columns)
		}
		if s.Outcome == refused {
			rejects.write(rows.original(record.Values), line, oneLine(s.Error))
		}
	}
	rejects.Flush()
	if err == nil && rejects.rows > 1 {
		err = l.placeRefused(rejects)
	}
	return rejects.path, errors.Join(err, results.finish(err == nil), rejects.finish(err == nil))
}

// placeRefused sets the path of the refused rows to the first of refused.csv,
// refused-2.csv and so on that does not exist, or that has not changed since a
// run wrote it. If an earlier run wrote the same rows, and somebody has
// changed that file, placeRefused drops them. The ledger has the sums of what
// was written.
func (l *ledger) placeRefused(t *csvFile) error {
	return writeError(l.db.Update(func(tx *bolt.Tx) error {
		sums, err := tx.CreateBucketIfNotExists([]byte(refusedName))
		sum, sumErr := sumOf(t.file.Name())
		if err = errors.Join(err, sumErr); err != nil {
			return err
		}
		path, isKnown := t.path, sums.Get(sum) != nil
		for n := 2; ; n++ {
			was, err := sumOf(path)
			switch isMissing := errors.Is(err, fs.ErrNotExist); {
			case err == nil && sums.Get(was) != nil, isMissing && (n == 2 || !isKnown):
				t.path = path
				return sums.Put(sum, []byte{1})
			case isMissing:
				t.rows = 0
				return nil
			}
			path = fmt.Sprintf("%s-%d.csv", strings.TrimSuffix(t.path, ".csv"), n)
		}
	}))
}

// sumOf returns the hash of the content of a file.
func sumOf(path string) ([]byte, error) {
	content, err := os.ReadFile(path) //nolint:gosec // the user's folder
	sum := sha256.Sum256(content)
	return sum[:], err
}

// original returns the values of a row without those of lineColumn and
// reasonColumn.
func (l *leads) original(values []string) (record []string) {
	for i, value := range values {
		if column := l.file.Header[i]; column != lineColumn && column != reasonColumn {
			record = append(record, value)
		}
	}
	return record
}

// csvFile writes a CSV file, which replaces an older one when it is finished.
// Its values are no formulas for a spreadsheet.
type csvFile struct {
	*csv.Writer
	file *os.File
	path string
	rows int
}

func createCSV(path string, delimiter rune) (*csvFile, error) {
	file, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600) //nolint:gosec // the user's folder
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	t := &csvFile{csv.NewWriter(file), file, path, 0}
	t.Comma = delimiter
	return t, nil
}

// write writes a row. finish returns its error.
func (t *csvFile) write(values []string, further ...string) {
	record := append([]string(nil), values...)
	record = append(record, further...)
	for i, value := range record {
		record[i] = EscapeFormula(value)
	}
	_ = t.Write(record)
	t.rows++
}

// finish closes the file. It keeps the file if it is complete and has more than
// a header.
func (t *csvFile) finish(isComplete bool) error {
	t.Flush()
	err := errors.Join(t.Error(), t.file.Sync(), t.file.Close())
	switch {
	case err == nil && isComplete && t.rows > 1:
		err = os.Rename(t.file.Name(), t.path)
	default:
		err = errors.Join(err, os.Remove(t.file.Name()))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w; when that is fixed, run the same command again", t.path, err)
	}
	return nil
}

// oneLine returns a text whose line breaks and other characters that cannot be
// printed are escaped.
func oneLine(text string) string {
	var line strings.Builder
	for _, c := range text {
		if unicode.IsPrint(c) {
			line.WriteRune(c)
		} else {
			line.WriteString(strings.Trim(strconv.QuoteRune(c), "'"))
		}
	}
	return line.String()
}

// isFormula reports whether a spreadsheet would calculate a value, or would do
// so if the apostrophes in front of it were removed.
func isFormula(value string) bool {
	value = strings.TrimLeft(value, "'")
	return value != "" && strings.ContainsRune("=+-@\t\r", rune(value[0]))
}

// EscapeFormula puts an apostrophe in front of a value that is a formula, or
// looks like an escaped one.
func EscapeFormula(value string) string {
	if isFormula(value) {
		return "'" + value
	}
	return value
}

// UnescapeFormula undoes EscapeFormula.
func UnescapeFormula(value string) string {
	if isFormula(value) {
		return strings.TrimPrefix(value, "'")
	}
	return value
}
