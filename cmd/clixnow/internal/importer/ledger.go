package importer

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/clixnow/clixnow-go"
)

// ledger stores the progress of an import in a database in a folder. It stores
// that a row is about to be sent, and later its outcome. If the outcome is
// missing, the program died while the row was in flight, and its lead may
// exist. Each change is synced to the disk before the method returns. A kill, a
// power failure or a full disk loses a whole change, never a part of one.
type ledger struct {
	folder string
	// opened is the time when this run began.
	opened time.Time
	// db has a lock, because two runs at once would register leads twice.
	db *bolt.DB
	// bucket has the rows by their lines. Its name is the owner as JSON.
	bucket []byte
}

const databaseName = "progress.db"

// owner identifies an import: where the leads go, which content the file has,
// and how it is read.
type owner struct {
	Brand   string `json:"brand"`
	BaseURL string `json:"baseUrl"`
	File    string `json:"file"`
	Flags   string `json:"flags"`
}

// state is the progress of one row. Its zero value is a row that was never
// tried.
type state struct {
	Outcome outcome `json:"outcome"`
	// Pending counts the attempts that have no outcome or an unknown one.
	Pending int `json:"pending,omitempty"`
	// Since is the time of the first of these attempts, or of the last one of
	// all.
	Since       time.Time `json:"since"`
	LeadID      int64     `json:"leadId,omitempty"`
	RedirectURL string    `json:"redirectUrl,omitempty"`
	Error       string    `json:"error,omitempty"`
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
	// finished also has the rows that this run could not register.
	finished
)

func (l *ledger) group(s state) group {
	switch {
	case s.Outcome.isFinal():
		return finished
	case s.Pending > 0:
		return inDoubt
	case s.Outcome == refusedForNow && s.Since.Before(l.opened):
		return refusedEarlier
	case s.Outcome == refusedForNow:
		return finished
	}
	return untried
}

// openLedger opens the ledger of an import, or creates it. It returns an error
// if the folder has the progress of another import, unless that one has
// registered nothing.
func openLedger(folder string, is owner) (_ *ledger, err error) {
	l := &ledger{folder: folder, opened: time.Now()}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("create the folder of the import: %w", err)
	}
	path := filepath.Join(folder, databaseName)
	l.db, err = bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Millisecond, FreelistType: bolt.FreelistMapType})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("another import is running in %s: two at once would register leads twice", folder)
	case err != nil:
		return nil, fmt.Errorf("open the progress in %s: %w", path, err)
	}
	if err := l.claim(is); err != nil {
		return nil, errors.Join(err, l.db.Close())
	}
	return l, nil
}

// claim makes the progress that of an import. Each owner has a bucket,
// and placeRefused has one.
func (l *ledger) claim(is owner) (err error) {
	if l.bucket, err = json.Marshal(is); err != nil {
		return err
	}
	err = l.db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(bucket []byte, rows *bolt.Bucket) error {
			var was owner
			if string(bucket) == refusedName {
				return nil
			}
			if err := json.Unmarshal(bucket, &was); err != nil {
				return err
			}
			n, _, err := tally(rows)
			if was != is && n[registered]+n[recovered]+n[unknown] > 0 {
				return fmt.Errorf("the progress in %s belongs to %s", l.folder, was.difference(is))
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	return writeError(l.db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(l.bucket)
		return err
	}))
}

// owner returns the owner of an import of the leads.
func (l *leads) owner(brand, baseURL string) owner {
	flags := fmt.Sprintf("%q %q %t", l.targets, l.cleaner.region, l.cleaner.fixCountries)
	return owner{Brand: brand, BaseURL: baseURL, File: l.file.Sum, Flags: flags}
}

// difference says how an import differs from another one, and what to do.
func (o owner) difference(other owner) string {
	switch {
	case o.Brand != other.Brand:
		return fmt.Sprintf("brand %q: choose another --folder", o.Brand)
	case o.BaseURL != other.BaseURL:
		return "another --base-url: choose another --folder"
	case o.File != other.File:
		return "another file, or to this one before it was changed: if you have added rows, put only these into " +
			"a new file; another --folder would send all rows again"
	}
	return "other flags for columns, phones or countries: give these again; another --folder would send all rows again"
}

func writeError(err error) error {
	if err != nil {
		return fmt.Errorf("write the progress: %w; when that is fixed, run the same command again", err)
	}
	return nil
}

func key(line int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(line)) } //nolint:gosec // not negative

// state returns the progress of a row.
func (l *ledger) state(line int) (s state, err error) {
	err = l.db.View(func(tx *bolt.Tx) error {
		if data := tx.Bucket(l.bucket).Get(key(line)); data != nil {
			return json.Unmarshal(data, &s)
		}
		return nil
	})
	return s, err
}

// update changes the progress of a row.
func (l *ledger) update(line int, change func(*state)) error {
	return writeError(l.db.Update(func(tx *bolt.Tx) error {
		var s state
		rows := tx.Bucket(l.bucket)
		if data := rows.Get(key(line)); data != nil {
			if err := json.Unmarshal(data, &s); err != nil {
				return err
			}
		}
		change(&s)
		data, err := json.Marshal(s)
		return errors.Join(err, rows.Put(key(line), data))
	}))
}

// noteStart stores that a row is about to be sent.
func (l *ledger) noteStart(line int) error {
	return l.update(line, func(s *state) {
		if s.Pending == 0 {
			s.Since = time.Now().UTC()
		}
		s.Pending++
		s.Outcome = unknown
	})
}

// noteOutcome stores the outcome of a row.
func (l *ledger) noteOutcome(line int, result outcome, lead *clixnow.EnsureLeadResponse, failure error) error {
	return l.update(line, func(s *state) {
		s.Outcome, s.Error = result, ""
		if lead != nil {
			s.LeadID, s.RedirectURL = lead.LeadID, lead.RedirectURL
		}
		if failure != nil {
			s.Error = failure.Error()
		}
		switch {
		case result.isFinal():
			s.Pending = 0
		case result != unknown && s.Pending > 0:
			s.Pending--
		}
		if s.Pending > 0 {
			s.Outcome = unknown
		}
	})
}

// count counts the rows that were tried by their outcomes. It also returns the
// time of the first attempt that is in doubt.
func (l *ledger) count() (n map[outcome]int, firstDoubt time.Time, err error) {
	err = l.db.View(func(tx *bolt.Tx) (err error) {
		n, firstDoubt, err = tally(tx.Bucket(l.bucket))
		return err
	})
	return n, firstDoubt, err
}

func tally(rows *bolt.Bucket) (n map[outcome]int, firstDoubt time.Time, err error) {
	n = make(map[outcome]int)
	err = rows.ForEach(func(_, data []byte) error {
		var s state
		err := json.Unmarshal(data, &s)
		n[s.Outcome]++
		if s.Pending > 0 && (firstDoubt.IsZero() || s.Since.Before(firstDoubt)) {
			firstDoubt = s.Since
		}
		return err
	})
	return n, firstDoubt, err
}

// summary returns a text like "25 rows: 20 registered, 1 recovered, 2 refused;
// 2 unfinished: 1 unknown, 1 not sent".
func summary(rows int, n map[outcome]int) string {
	text := fmt.Sprintf("%s: %d registered, %d recovered, %d refused", count(rows), n[registered], n[recovered],
		n[refused])
	if remaining := rows - countFinished(n); remaining > 0 {
		text += fmt.Sprintf("; %d unfinished", remaining)
	}
	var unfinished []string
	for _, result := range slices.Sorted(maps.Keys(n)) {
		if !result.isFinal() {
			unfinished = append(unfinished, fmt.Sprintf("%d %s", n[result], result))
		}
	}
	if unfinished != nil {
		text += ": " + strings.Join(unfinished, ", ")
	}
	return text
}

func countFinished(n map[outcome]int) int { return n[registered] + n[recovered] + n[refused] }
