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

// ledger stores the progress of an import in a folder. It writes the line of a
// row to the journal before the row is sent, and to the results when the
// outcome is known. If a line is in the journal more often than in the results,
// the program died while the row was in flight, and its lead may exist. Each
// write is synced to the disk before it returns, so that a power failure loses
// no more than a kill does.
type ledger struct {
	// began is the time when the first run of the import began.
	began time.Time

	// lock prevents two runs at once, which would register leads twice.
	lock         *flock.Flock
	redirectURLs bool
	// columns is the header of the results.
	columns string
	// hasHeader reports whether the results file has its header.
	hasHeader bool

	mu      sync.Mutex
	journal *os.File
	results *os.File
	// rows is indexed by line. It has a few bytes for each row, and is the only
	// memory that grows with the file.
	rows []progress
	// total counts the finished rows of all runs.
	total map[outcome]int
	// unfinished counts the outcomes of this run that are not final.
	unfinished map[outcome]int
}

// group is a part of the unfinished rows. A run registers the groups in this
// order. So rows that the brand refuses in each run do not keep the import from
// reaching the others.
type group int

const (
	// inDoubt has the rows that an earlier run may have registered.
	inDoubt group = iota
	// untried also has the rows that were not sent.
	untried
	// refusedEarlier has the rows that an earlier run could not register
	// because of a temporary refusal.
	refusedEarlier
	groups
)

// progress is the state of one row.
type progress struct {
	// finished reports whether the row has a final outcome.
	finished bool
	// pending counts the starts of the row that have no outcome or an unknown
	// one.
	pending int16
	// refusedEarlier reports whether the last outcome of the earlier runs is
	// refusedForNow.
	refusedEarlier bool
}

func (p progress) group() group {
	switch {
	case p.pending > 0:
		return inDoubt
	case p.refusedEarlier:
		return refusedEarlier
	}
	return untried
}

// openLedger opens the ledger of an import, or creates it. It returns an error
// if the folder has the progress of another import.
func openLedger(folder string, lastLine int, redirectURLs bool, fingerprint string) (_ *ledger, err error) {
	l := &ledger{
		lock: flock.New(filepath.Join(folder, lockName)), columns: "line,outcome,lead_id,error",
		redirectURLs: redirectURLs,
		rows:         make([]progress, lastLine+1), total: make(map[outcome]int), unfinished: make(map[outcome]int),
	}
	if redirectURLs {
		l.columns += ",redirect_url"
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("create the folder of the import: %w", err)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, fmt.Errorf("open the folder of the import: %w", err)
	}
	defer func() { _ = root.Close() }() // files opened in it stay open
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	switch locked, err := l.lock.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("lock %s: %w", folder, err)
	case !locked:
		return nil, fmt.Errorf("another importer is running in %s: two at once would register leads twice", folder)
	}
	readJournal := func(line string) error { return l.readJournal(line, fingerprint) }
	if l.journal, err = openLines(root, journalName, readJournal); err != nil {
		return nil, err
	}
	if l.results, err = openLines(root, resultsName, l.readResult); err != nil {
		return nil, err
	}
	if l.began.IsZero() {
		if l.hasHeader {
			return nil, fmt.Errorf("%s has results but no journal: choose another -folder", folder)
		}
		l.began = time.Now()
		err = appendLine(l.journal, fingerprint+" "+l.began.Format(time.RFC3339Nano))
	}
	if err == nil && !l.hasHeader {
		err = appendLine(l.results, l.columns)
	}
	return l, err
}

// openLines opens a file of lines, calls read with each complete line, and sets
// the file's position to its end for writing. It cuts off an incomplete last
// line.
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
		_ = file.Close()
		return nil, fmt.Errorf("read the progress in %s: %w", file.Name(), err)
	}
	return file, nil
}

func appendLine(file *os.File, line string) error {
	if _, err := file.WriteString(line + "\n"); err != nil {
		return fmt.Errorf("write the progress: %w", err)
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("write the progress: %w", err)
	}
	return nil
}

// readJournal reads a line of the journal. The first line has the fingerprint
// and the time when the import began. Each other line has the line number of a
// row that was about to be sent.
func (l *ledger) readJournal(line, fingerprint string) (err error) {
	if l.began.IsZero() {
		owner, began, _ := strings.Cut(line, " ")
		if owner != fingerprint {
			return errors.New("the progress belongs to another file, or to another -brand, -base-url, -comma " +
				"or -map: choose another -folder")
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
	if !l.hasHeader {
		l.hasHeader = true
		if line != l.columns {
			return fmt.Errorf("its columns are not %s: was the earlier run with or without -redirect-urls?", l.columns)
		}
		return nil
	}
	number, rest, _ := strings.Cut(line, ",")
	result, _, _ := strings.Cut(rest, ",")
	row, err := l.row(number)
	if err == nil {
		l.count(row, outcome(result))
		row.refusedEarlier = outcome(result) == refusedForNow
	}
	return err
}

func (l *ledger) row(line string) (*progress, error) {
	number, err := strconv.Atoi(line)
	if err != nil || number < 1 || number >= len(l.rows) {
		return nil, errors.New("it has a line that the importer did not write")
	}
	return &l.rows[number], nil
}

// count updates the state of a row after an outcome.
func (l *ledger) count(row *progress, result outcome) {
	switch {
	case result.isFinal() && !row.finished:
		row.finished = true
		l.total[result]++
	case result != unknown:
		row.pending--
	}
}

// noteStart writes to the journal that a row is about to be sent.
func (l *ledger) noteStart(line int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows[line].pending++
	return appendLine(l.journal, strconv.Itoa(line))
}

// noteOutcome writes the outcome of a row to the results.
func (l *ledger) noteOutcome(line int, result outcome, lead *clixnow.EnsureLeadResponse, failure error) error {
	id, redirectURL, text := "", "", ""
	if lead != nil {
		id, redirectURL = strconv.FormatInt(lead.LeadID, 10), lead.RedirectURL
	}
	if failure != nil {
		text = strings.Join(strings.Fields(failure.Error()), " ") // without line breaks
	}
	record := []string{strconv.Itoa(line), string(result), id, quoted(text)}
	if l.redirectURLs {
		record = append(record, quoted(redirectURL))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count(&l.rows[line], result)
	if !result.isFinal() {
		l.unfinished[result]++
	}
	return appendLine(l.results, strings.Join(record, ","))
}

// quoted returns text as a value of a CSV file.
func quoted(text string) string {
	if !strings.ContainsAny(text, `,"`) {
		return text
	}
	return `"` + strings.ReplaceAll(text, `"`, `""`) + `"`
}

// selects reports whether a row is unfinished and belongs to a group.
func (l *ledger) selects(line int, g group) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	row := l.rows[line]
	return !row.finished && row.group() == g
}

// countInDoubt counts the rows whose leads an earlier run may have registered.
func (l *ledger) countInDoubt() (n int) {
	for _, row := range l.rows {
		if !row.finished && row.group() == inDoubt {
			n++
		}
	}
	return n
}

func (l *ledger) countFinished() int {
	return l.total[registered] + l.total[recovered] + l.total[refused]
}

// summary returns a text like "25 rows: 20 registered, 1 recovered, 2 refused;
// 2 unfinished, in this run: 1 unknown, 1 not sent".
func (l *ledger) summary(rows int) string {
	text := fmt.Sprintf("%d rows: %d registered, %d recovered, %d refused", rows, l.total[registered],
		l.total[recovered], l.total[refused])
	if remaining := rows - l.countFinished(); remaining > 0 {
		text += fmt.Sprintf("; %d unfinished", remaining)
	}
	var outcomes []string
	for _, result := range slices.Sorted(maps.Keys(l.unfinished)) {
		outcomes = append(outcomes, fmt.Sprintf("%d %s", l.unfinished[result], result))
	}
	if outcomes != nil {
		text += ", in this run: " + strings.Join(outcomes, ", ")
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
