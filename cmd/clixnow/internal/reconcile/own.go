package reconcile

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/importer"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/importer/sheet"
)

// registration is a registration of ours.
type registration struct {
	// source says where it is stored, such as "leads.csv:12".
	source string
	// leadID is 0 if it is not known.
	leadID int64
	// These are "" if they are not known.
	clickID, email, brand string
	// registered is when it was made. It is zero if that is not known.
	registered moment
	deposit    deposit
	// inDoubt means that our side does not know whether the lead exists.
	inDoubt bool
	// similar is a click id of a lead that may be another one. "" means no
	// such lead.
	similar string
	// settled means that its lead was found, or is missing. differs means that
	// there is a finding about it.
	settled, differs bool
}

// deposit is what our side knows about a first deposit.
type deposit struct {
	// isKnown means that our side knows whether there is one.
	isKnown, isMade bool
	// on is zero if the date is not known.
	on moment
}

// moment is a time, or a whole day.
type moment struct{ first, last time.Time }

func (m moment) isZero() bool { return m.first.IsZero() }

// compare orders moments by their ends. Those that are not known come last.
func (m moment) compare(other moment) int {
	switch {
	case m.isZero() == other.isZero():
		return m.last.Compare(other.last)
	case m.isZero():
		return 1
	}
	return -1
}

// ours holds our registrations.
type ours struct {
	all []*registration
	// byID and byClickID have the registrations at the brand.
	byID      map[int64]*registration
	byClickID map[string]*registration
	// elsewhere has those at other brands, by click id.
	elsewhere map[string]*registration
	brand     string
	// These count what was left out: refused or never sent, without a value to
	// compare, click ids that are macros or damaged, and other brands.
	notSent, empty, badClickIDs, otherBrands int
}

func newOurs(brand string) *ours {
	return &ours{
		byID: make(map[int64]*registration), byClickID: make(map[string]*registration),
		elsewhere: make(map[string]*registration), brand: brand,
	}
}

// add adds a registration. If it is there already, add completes that one.
func (o *ours) add(r *registration) {
	if isNoClickID(r.clickID) {
		r.clickID = ""
	} else if clickID, err := importer.Tracking(r.clickID); err != nil {
		r.clickID = ""
		o.badClickIDs++
	} else {
		r.clickID = clickID
	}
	switch {
	case r.leadID == 0 && r.clickID == "" && r.email == "":
		o.empty++
		return
	case r.brand != "" && !strings.EqualFold(r.brand, o.brand):
		o.otherBrands++
		if r.clickID != "" {
			o.elsewhere[r.clickID] = r
		}
		return
	}
	known := o.byID[r.leadID]
	same := o.byClickID[r.clickID]
	if known == nil && same != nil && (same.leadID == 0 || r.leadID == 0) && (same.email == "" || r.email == "" ||
		emailForm(same.email) == emailForm(r.email)) {
		known = same
	}
	if known != nil {
		known.complete(r)
		r = known
	} else {
		o.all = append(o.all, r)
	}
	if r.leadID != 0 {
		o.byID[r.leadID] = r
	}
	if r.clickID != "" && o.byClickID[r.clickID] == nil {
		o.byClickID[r.clickID] = r
	}
}

// hasClickID reports whether a registration has exactly this click id.
func (o *ours) hasClickID(id string) bool { return o.byClickID[id] != nil || o.elsewhere[id] != nil }

// withoutDeposits counts the registrations whose deposits are not compared.
func (o *ours) withoutDeposits() (n int) {
	for _, r := range o.all {
		if !r.deposit.isKnown {
			n++
		}
	}
	return n
}

// complete takes over what r does not know yet.
func (r *registration) complete(other *registration) {
	r.leadID = cmp.Or(r.leadID, other.leadID)
	r.clickID = cmp.Or(r.clickID, other.clickID)
	r.email = cmp.Or(r.email, other.email)
	r.registered = cmp.Or(r.registered, other.registered)
	r.inDoubt = r.inDoubt && other.inDoubt
	if !r.deposit.isMade && other.deposit.isKnown {
		r.deposit = other.deposit
	}
}

// columnNames has a line for each meaning and its names, as importer.Normalize
// returns them.
const columnNames = `leadId leadid clixnowid clixnowleadid brokerleadid
clickId clickid click klickid externalid transactionid
email email mail emailaddress
registered registered registeredon registeredat registrationdate registrationtime createdon createdat created signupdate
deposit deposit ftd ftddate ftdon firstdeposit firstdepositdate firstdepositon depositdate depositon depositedon
brand brand`

// columnsOf returns the column of each meaning that the file has.
func columnsOf(header, mapping []string) (map[string]int, error) {
	mapped, faults := importer.ReadMapping(header, mapping)
	columns := make(map[string]int)
	isResults := slices.Contains(header, "line") && slices.Contains(header, "lead_id") // of "clixnow import"
	for i, name := range header {
		meaning := meaningOf(name)
		if target, ok := mapped[i]; ok {
			if meaning = meaningOf(target); meaning == "" && target != "-" {
				faults = append(faults, fmt.Errorf("--map: %q must be leadId, clickId, email, registered, deposit, "+
					"brand or -", target))
			}
		} else if name == "outcome" && isResults {
			meaning = name
		}
		if _, twice := columns[meaning]; twice && meaning != "" {
			faults = append(faults, fmt.Errorf("two columns mean %s: leave one out by --map 'COLUMN=-'", meaning))
		}
		columns[meaning] = i
	}
	delete(columns, "")
	_, hasID := columns["leadId"]
	_, hasClickID := columns["clickId"]
	if !hasID && !hasClickID && faults == nil {
		faults = append(faults, errors.New("there is no column of lead ids (leadId, lead_id, clixnowId) and none of "+
			"click ids (clickId, click_id, click, externalId, transactionId). Row 1 was read as the header: add a "+
			"header row if the file has none, or name a column by --map 'COLUMN=leadId' or --map 'COLUMN=clickId'"))
	}
	return columns, errors.Join(faults...)
}

// meaningOf returns the meaning of a column. It returns "" if it knows none.
func meaningOf(name string) string {
	for line := range strings.Lines(columnNames) {
		if names := strings.Fields(line); slices.Contains(names[1:], importer.Normalize(name)) {
			return names[0]
		}
	}
	return ""
}

// readFile adds the registrations of a CSV or .xlsx file. name is how findings
// call it.
func (o *ours) readFile(path, name string, mapping []string, zone *time.Location) error {
	file, err := sheet.Open(path, sheet.Options{})
	if err != nil {
		return fileError(path, err)
	}
	defer func() { _ = file.Close() }()
	columns, err := columnsOf(file.Header, mapping)
	if err != nil {
		return fileError(path, err)
	}
	isUsed := make([]bool, len(file.Header))
	for _, i := range columns {
		isUsed[i] = true
	}
	for row, err := range file.Rows() {
		if err == nil {
			err = file.CheckLineBreaks(row, func(column int) bool { return !isUsed[column] })
		}
		if err == nil {
			err = o.addRow(name, row, columns, zone)
		}
		if err != nil {
			return fileError(path, err)
		}
	}
	return nil
}

func fileError(path string, err error) error {
	if strings.Contains(err.Error(), path) {
		return app.WithCode(app.CodeUsage, err)
	}
	return app.Usage("%s: %w", path, err)
}

func (o *ours) addRow(file string, row sheet.Row, columns map[string]int, zone *time.Location) error {
	value := func(meaning string) string {
		i, ok := columns[meaning]
		if !ok {
			return ""
		}
		text, _ := importer.Tidy(importer.UnescapeFormula(row.Values[i]))
		return strings.Clone(text)
	}
	fault := func(meaning, problem string) error {
		return fmt.Errorf("line %d: column %d (%s) must be %s", row.Line, columns[meaning]+1, meaning, problem)
	}
	r := &registration{
		source: fmt.Sprintf("%s:%d", file, row.Line), clickID: value("clickId"), email: value("email"),
		brand: value("brand"),
	}
	switch outcome := value("outcome"); outcome {
	case "", "registered", "recovered":
	case "unknown":
		r.inDoubt = true
	default:
		o.notSent++
		return nil
	}
	if id, _ := importer.Integer(value("leadId")); !isNothing(id) {
		var err error
		if r.leadID, err = strconv.ParseInt(id, 10, 64); err != nil || r.leadID < 1 {
			return fault("leadId", "a positive number")
		}
	}
	var ok bool
	if text := value("registered"); !isNothing(text) {
		if r.registered, ok = parseMoment(text, zone); !ok {
			return fault("registered", "a time such as 2026-10-01 12:00:00, or a day such as 2026-10-01")
		}
	}
	if _, r.deposit.isKnown = columns["deposit"]; r.deposit.isKnown {
		if r.deposit.isMade, r.deposit.on, ok = parseDeposit(value("deposit"), zone); !ok {
			return fault("deposit", "a time such as 2026-10-01 12:00:00, a day, yes, no or empty")
		}
	}
	o.add(r)
	return nil
}

// isNothing reports whether a program writes a text for a missing value.
func isNothing(text string) bool {
	switch text = strings.ToLower(text); text {
	case "", "-", "0", "null", "none", "n/a", "nan":
		return true
	}
	return strings.HasPrefix(text, "0000-00-00") || strings.HasPrefix(text, "0001-01-01")
}

func parseDeposit(text string, zone *time.Location) (made bool, on moment, ok bool) {
	if isNothing(text) {
		return false, on, true
	}
	if yes, err := importer.YesOrNo(text); err == nil {
		return yes, on, true
	}
	on, ok = parseMoment(text, zone)
	return true, on, ok
}

// parseMoment reads a time. A time without a zone is one of zone. A number is
// the form of a workbook, or counts seconds or milliseconds since 1970.
func parseMoment(text string, zone *time.Location) (m moment, ok bool) {
	for _, layout := range []string{
		time.RFC3339, "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05 Z0700", "2006-01-02 15:04:05 MST",
		"2006-01-02T15:04:05", time.DateTime, "2006-01-02 15:04", "2006-01-02T15:04", "02.01.2006 15:04:05",
		"02.01.2006 15:04",
	} {
		if t, err := time.ParseInLocation(layout, text, zone); err == nil {
			return moment{t, t}, true
		}
	}
	for _, layout := range []string{time.DateOnly, "02.01.2006"} {
		if t, err := time.ParseInLocation(layout, text, zone); err == nil {
			return moment{t, t.AddDate(0, 0, 1).Add(-time.Nanosecond)}, true
		}
	}
	number, err := strconv.ParseFloat(text, 64)
	whole := int64(number)
	switch {
	case err != nil:
		return m, false
	case number >= 20_000 && number < 80_000: // days since the end of 1899
		day := time.Date(1899, time.December, 30+int(whole), 0, 0, 0, 0, zone)
		t := day.Add(time.Duration((number - float64(whole)) * float64(24*time.Hour))).Round(time.Second)
		if number == float64(whole) {
			return moment{t, day.AddDate(0, 0, 1).Add(-time.Nanosecond)}, true
		}
		return moment{t, t}, true
	case number >= 1e9 && number < 1e10:
		return moment{time.Unix(whole, 0), time.Unix(whole, 0)}, true
	case number >= 1e12 && number < 1e13:
		return moment{time.UnixMilli(whole), time.UnixMilli(whole)}, true
	}
	return m, false
}
