package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/clixnow/clixnow-go"
)

const (
	resultsName = "results.csv"
	journalName = "journal"
	lockName    = "lock"
)

// ledger keeps, in a folder, what must outlive the program. A row is noted in
// the journal before it is sent, and in the results once its outcome is known.
// So one that is in the journal more often than in the results was in flight
// when the program died, and its lead may exist. Both files are on the disk
// before work goes on: a power failure loses no more than a kill.
type ledger struct {
	began time.Time // the import, in its first run

	lock         *flock.Flock // two runs at once would register leads twice
	redirectURLs bool
	columns      string // of the results
	headed       bool   // the results have their header

	mu      sync.Mutex
	journal *os.File
	results *os.File
	rows    []progress      // by line: a few bytes a row are all the memory that grows with the file
	total   map[outcome]int // rows that are settled, of all runs
	open    map[outcome]int // outcomes of this run that settle nothing
}

type progress struct {
	settled bool
	pending int16 // times that it was sent, or was about to be, with no outcome or an unknown one
}

// openLedger opens the ledger of an import, or makes a new one. Progress of
// another import is refused.
func openLedger(folder string, lastLine int, redirectURLs bool, fingerprint string) (kept *ledger, err error) {
	l := &ledger{
		lock: flock.New(filepath.Join(folder, lockName)), columns: "line,outcome,lead_id,error",
		redirectURLs: redirectURLs,
		rows:         make([]progress, lastLine+1), total: make(map[outcome]int), open: make(map[outcome]int),
	}
	if redirectURLs {
		l.columns += ",redirect_url"
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the import: %w", err)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, fmt.Errorf("open the folder of the import: %w", err)
	}
	defer func() { _ = root.Close() }() // what was opened in it stays open
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	switch locked, err := l.lock.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("lock %s: %w", folder, err)
	case !locked:
		return nil, fmt.Errorf("another importer works in %s: two at once would register leads twice", folder)
	}
	readStart := func(line string) error { return l.readStart(line, fingerprint) }
	if l.journal, err = openLines(root, journalName, readStart); err != nil {
		return nil, err
	}
	if l.results, err = openLines(root, resultsName, l.readResult); err != nil {
		return nil, err
	}
	if l.began.IsZero() {
		if l.headed {
			return nil, fmt.Errorf("%s has results and no journal: choose another -folder", folder)
		}
		l.began = time.Now()
		err = appendLine(l.journal, fingerprint+" "+l.began.Format(time.RFC3339Nano))
	}
	if err == nil && !l.headed {
		err = appendLine(l.results, l.columns)
	}
	return l, err
}

// openLines opens a file of lines for writing at its end. It hands over the
// lines that are there, and cuts off a last one that was not written to its
// end.
func openLines(folder *os.Root, name string, read func(line string) error) (*os.File, error) {
	file, err := folder.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the progress of the import: %w", err)
	}
	end := int64(0)
	for lines := bufio.NewReader(file); err == nil; {
		var line string
		if line, err = lines.ReadString('\n'); err == nil {
			end += int64(len(line))
			err = read(strings.TrimSuffix(line, "\n"))
		}
	}
	if errors.Is(err, io.EOF) {
		err = file.Truncate(end)
	}
	if err == nil {
		_, err = file.Seek(end, io.SeekStart)
	}
	if err != nil {
		_ = file.Close() // nothing was written
		return nil, fmt.Errorf("read the progress in %s: %w", file.Name(), err)
	}
	return file, nil
}

func appendLine(file *os.File, line string) error {
	if _, err := file.WriteString(line + "\n"); err != nil {
		return fmt.Errorf("write down the progress: %w", err)
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("write down the progress: %w", err)
	}
	return nil
}

func (l *ledger) readStart(line, fingerprint string) (err error) {
	if l.began.IsZero() {
		owner, began, _ := strings.Cut(line, " ")
		if owner != fingerprint {
			return errors.New("it belongs to another file, or to another -brand, -base-url, -comma or -map: choose another -folder")
		}
		l.began, err = time.Parse(time.RFC3339Nano, began)
		return err
	}
	row, err := l.row(line)
	if err == nil {
		row.pending++
	}
	return err
}

func (l *ledger) readResult(line string) error {
	if !l.headed {
		l.headed = true
		if line != l.columns {
			return fmt.Errorf("its columns are not %s: was -redirect-urls set before?", l.columns)
		}
		return nil
	}
	number, rest, _ := strings.Cut(line, ",")
	result, _, _ := strings.Cut(rest, ",")
	row, err := l.row(number)
	if err == nil {
		l.count(row, outcome(result))
	}
	return err
}

func (l *ledger) row(line string) (*progress, error) {
	number, err := strconv.Atoi(line)
	if err != nil || number < 1 || number >= len(l.rows) {
		return nil, errors.New("it holds a line that the importer did not write")
	}
	return &l.rows[number], nil
}

func (l *ledger) count(row *progress, result outcome) {
	switch {
	case result.settles() && !row.settled:
		row.settled = true
		l.total[result]++
	case result != unknown:
		row.pending--
	}
}

// start notes that a row is about to be sent.
func (l *ledger) start(line int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows[line].pending++
	return appendLine(l.journal, strconv.Itoa(line))
}

// finish writes down what became of a row.
func (l *ledger) finish(line int, result outcome, lead *clixnow.EnsureLeadResponse, failure error) error {
	id, redirectURL, text := "", "", ""
	if lead != nil {
		id, redirectURL = strconv.FormatInt(lead.LeadID, 10), lead.RedirectURL
	}
	if failure != nil {
		text = strings.Join(strings.Fields(failure.Error()), " ") // one line for a row
	}
	record := []string{strconv.Itoa(line), string(result), id, quoted(text)}
	if l.redirectURLs {
		record = append(record, quoted(redirectURL))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count(&l.rows[line], result)
	if !result.settles() {
		l.open[result]++
	}
	return appendLine(l.results, strings.Join(record, ","))
}

// quoted is a value of a CSV file.
func quoted(text string) string {
	if !strings.ContainsAny(text, `,"`) {
		return text
	}
	return `"` + strings.ReplaceAll(text, `"`, `""`) + `"`
}

// due reports whether a row is to be run: one that is in doubt, or one that is
// not.
func (l *ledger) due(line int, inDoubt bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	row := l.rows[line]
	return !row.settled && (row.pending > 0) == inDoubt
}

// doubts counts the rows whose leads an earlier run may have registered.
func (l *ledger) doubts() (n int) {
	for _, row := range l.rows {
		if !row.settled && row.pending > 0 {
			n++
		}
	}
	return n
}

func (l *ledger) settled() int { return l.total[registered] + l.total[recovered] + l.total[refused] }

// summary reads like "25 rows: 20 registered, 1 recovered, 2 refused; 2
// unfinished, in this run: 1 unknown, 1 not sent".
func (l *ledger) summary(rows int) string {
	text := fmt.Sprintf("%d rows: %d registered, %d recovered, %d refused", rows, l.total[registered],
		l.total[recovered], l.total[refused])
	if left := rows - l.settled(); left > 0 {
		text += fmt.Sprintf("; %d unfinished", left)
	}
	var open []string
	for _, result := range slices.Sorted(maps.Keys(l.open)) {
		open = append(open, fmt.Sprintf("%d %s", l.open[result], result))
	}
	if open != nil {
		text += ", in this run: " + strings.Join(open, ", ")
	}
	return text
}

func (l *ledger) close() error {
	var errs []error
	for _, file := range []*os.File{l.journal, l.results} {
		if file != nil {
			errs = append(errs, file.Close())
		}
	}
	return errors.Join(append(errs, l.lock.Unlock())...)
}
