package reconcile

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/clixnow/clixnow-go"
)

// kind is a kind of finding. docs/reconcile.md says what to do about each one.
type kind string

const (
	missingThere     kind = "missing_there"
	clickIDDiffers   kind = "click_id_differs"
	emailDiffers     kind = "email_differs"
	depositOnlyHere  kind = "deposit_only_here"
	depositWithdrawn kind = "deposit_withdrawn"
	depositOnlyThere kind = "deposit_only_there"
	depositDate      kind = "deposit_date_differs"
	otherBrand       kind = "other_brand"
	unknownHere      kind = "unknown_here"
	inDoubt          kind = "in_doubt"
	unmovedDeposit   kind = "unmoved_deposit"
	tooYoung         kind = "too_young"
	cannotTell       kind = "cannot_tell"
)

// finding is one difference between the two sides.
type finding struct {
	Kind kind `json:"kind"`
	// Source says where our registration is stored. "" means that there is
	// none.
	Source  string `json:"source,omitempty"`
	LeadID  int64  `json:"leadId,omitempty"`
	ClickID string `json:"clickId,omitempty"`
	// ClickIDThere is that of the lead at the brand, if it differs.
	ClickIDThere string `json:"clickIdThere,omitempty"`
	Email        string `json:"email,omitempty"`
	// EmailThere is that of the lead at the brand, if it differs.
	EmailThere string `json:"emailThere,omitempty"`
	// Registered and Deposit are the times of our side, and the next three
	// those of the lead at the brand.
	Registered time.Time `json:"registered,omitzero"`
	Deposit    time.Time `json:"deposit,omitzero"`
	CreatedOn  time.Time `json:"createdOn,omitzero"`
	UpdatedOn  time.Time `json:"updatedOn,omitzero"`
	FTDDate    time.Time `json:"ftdDate,omitzero"`
	Status     string    `json:"status,omitempty"`
	Detail     string    `json:"detail,omitempty"`
}

// comparison compares our registrations with the leads at the brand.
type comparison struct {
	ours *ours
	// The period begins at from, and ends before end.
	from, end, now time.Time
	// What is younger than lag may not have arrived on the other side.
	lag      time.Duration
	findings []finding
	// unmatched has the leads that have no registration yet, without Extra.
	unmatched []clixnow.Lead
	// leads counts the leads of the period, and hidden those that were read and
	// hide when they were created. found counts the registrations whose leads
	// were found, agree those without a difference, and outside those that were
	// not made in the period.
	leads, hidden, found, agree, outside int
	deposits                             deposits
	// here and there are the lengths of the click ids of both sides.
	here, there lengths
	// These mean that a lead shows a first deposit, a click id or an email.
	showsDeposits, showsClickIDs, showsEmails bool
}

// add compares a lead with the registration that has its id or its click id. It
// reports whether there is one.
func (c *comparison) add(lead *clixnow.Lead) bool {
	c.showsDeposits = c.showsDeposits || lead.HasFTD()
	c.showsClickIDs = c.showsClickIDs || !isHidden(lead.ClickID)
	c.showsEmails = c.showsEmails || !isMasked(lead.Email)
	r := c.ours.byID[lead.ID]
	if r == nil {
		if r = c.ours.byClickID[lead.ClickID]; r != nil && r.leadID != 0 {
			return false // see unknown
		}
	}
	if r != nil && !r.settled {
		c.compare(r, lead)
	}
	return r != nil
}

// has reports whether a time is in the period.
func (c *comparison) has(t time.Time) bool { return !t.Before(c.from) && t.Before(c.end) }

// compare compares a registration with its lead.
func (c *comparison) compare(r *registration, lead *clixnow.Lead) {
	r.settled, r.leadID = true, lead.ID
	c.ours.byID[lead.ID] = r
	if !c.isJudged(r) && !c.has(lead.CreatedOn) && !c.has(lead.FTDDate) {
		c.outside++ // it was read because bounds are not exact
		return
	}
	c.found++
	defer func() {
		if !r.differs {
			c.agree++
		}
	}()
	if r.inDoubt {
		c.report(inDoubt, r, lead, "the lead is there")
	}
	if detail := compareClickIDs(r.clickID, lead.ClickID); detail != "" {
		c.report(clickIDDiffers, r, lead, detail)
	}
	if !isMasked(r.email) && !isMasked(lead.Email) && emailForm(r.email) != emailForm(lead.Email) {
		c.report(emailDiffers, r, lead, "")
	}
	if r.deposit.isKnown {
		c.compareDeposits(r, lead)
	}
}

func (c *comparison) compareDeposits(r *registration, lead *clixnow.Lead) {
	on := r.deposit.on
	switch {
	case r.deposit.isMade == lead.HasFTD():
		const day = 24 * time.Hour
		if !on.isZero() && (lead.FTDDate.Before(on.first.Add(-day)) || lead.FTDDate.After(on.last.Add(day))) {
			c.report(depositDate, r, lead, "")
		}
	case c.isYoung(lead.FTDDate), c.isYoung(on.last):
		c.report(tooYoung, r, lead, "the first deposit")
	case lead.HasFTD():
		c.report(depositOnlyThere, r, lead, "")
	case !on.isZero() && lead.UpdatedOn.After(on.last):
		c.report(depositWithdrawn, r, lead, "the lead was changed after the deposit, and shows none")
	default:
		c.report(depositOnlyHere, r, lead, "")
	}
}

func (c *comparison) isYoung(t time.Time) bool { return !t.IsZero() && t.After(c.now.Add(-c.lag)) }

// report adds a finding. r or lead may be nil.
func (c *comparison) report(k kind, r *registration, lead *clixnow.Lead, detail string) {
	f := finding{Kind: k, Detail: detail}
	if r != nil {
		r.differs = true
		f.Source, f.LeadID, f.ClickID, f.Email = r.source, r.leadID, r.clickID, r.email
		f.Registered, f.Deposit = c.local(r.registered.first), c.local(r.deposit.on.first)
	}
	if lead != nil {
		f.LeadID, f.Status = lead.ID, strings.Clone(lead.Status)
		f.CreatedOn, f.UpdatedOn = c.local(lead.CreatedOn), c.local(lead.UpdatedOn)
		f.FTDDate = c.local(lead.FTDDate)
		if lead.ClickID != f.ClickID {
			f.ClickIDThere = strings.Clone(lead.ClickID)
		}
		if lead.Email != f.Email {
			f.EmailThere = strings.Clone(lead.Email)
		}
	}
	c.findings = append(c.findings, f)
}

// local returns a time in the zone of the period.
func (c *comparison) local(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.In(c.from.Location())
}

// maxLookups is the number of leads that are read one by one, because the
// period does not show them.
const maxLookups = 200

// finish reports what has no counterpart. It looks up leads by id first,
// because they may have been created outside the period.
func (c *comparison) finish(ctx context.Context, client *clixnow.Client) error {
	c.matchSimilar()
	lookups := 0
	for _, r := range c.ours.all {
		looksUp := !r.settled && r.leadID != 0 && c.isJudged(r)
		if !looksUp || lookups == maxLookups {
			continue
		}
		lookups++
		lead, err := client.GetLead(ctx, r.leadID)
		switch {
		case err == nil:
			c.compare(r, lead)
		case errors.Is(err, clixnow.ErrLeadNotFound):
			c.absent(r, "")
			r.settled = true
		default:
			return err
		}
	}
	candidates := newCandidates(c.unmatched)
	// The one that ends first takes a lead first, so that the leads are enough
	// for as many registrations as possible.
	slices.SortStableFunc(c.ours.all, func(a, b *registration) int { return a.registered.compare(b.registered) })
	for _, r := range c.ours.all {
		switch {
		case r.settled:
		case !c.isJudged(r):
			c.outside++
		case r.leadID != 0 && r.registered.isZero():
			c.report(cannotTell, r, nil, "the lead was not created in the period, and was not looked up")
		case r.leadID != 0:
			c.absent(r, "the lead was not created in the period, and was not looked up by its id")
		default:
			if n := candidates.take(r, c.hidesAll(r)); n > 0 {
				detail := fmt.Sprintf("leads that hide what was compared: %d; it may be one of them", n)
				c.report(cannotTell, r, nil, detail)
				continue
			}
			c.absent(r, "")
		}
	}
	for i := range c.unmatched {
		if c.has(c.unmatched[i].CreatedOn) {
			c.unknown(&c.unmatched[i])
		}
	}
	if !c.showsDeposits {
		for i, f := range c.findings {
			if f.Kind == depositOnlyHere || f.Kind == depositWithdrawn {
				c.findings[i].Kind, c.findings[i].Detail = cannotTell, "the brand shows no first deposit of any lead"
			}
		}
	}
	return nil
}

// isJudged reports whether a registration belongs to the period. One without a
// time does. So does one with a deposit in the period, if its lead can be
// looked up.
func (c *comparison) isJudged(r *registration) bool {
	overlaps := func(m moment) bool { return !m.last.Before(c.from) && m.first.Before(c.end) }
	return r.registered.isZero() || overlaps(r.registered) ||
		r.leadID != 0 && !r.deposit.on.isZero() && overlaps(r.deposit.on)
}

// absent reports a registration that was not found.
func (c *comparison) absent(r *registration, detail string) {
	switch {
	case r.inDoubt:
		c.report(inDoubt, r, nil, "the lead is not there")
	case c.isYoung(r.registered.last):
		c.report(tooYoung, r, nil, "the registration")
	case r.similar != "":
		c.report(missingThere, r, nil, "the brand has a lead with the similar click id "+r.similar)
	case r.leadID == 0 && r.registered.isZero():
		c.report(missingThere, r, nil, "it has no time: it may be of another period")
	default:
		c.report(missingThere, r, nil, detail)
	}
}

// unknown reports a lead that has no registration.
func (c *comparison) unknown(lead *clixnow.Lead) {
	r, elsewhere := c.ours.byClickID[lead.ClickID], c.ours.elsewhere[lead.ClickID]
	switch {
	case c.isYoung(lead.CreatedOn):
		c.report(tooYoung, nil, lead, "the lead")
	case r != nil:
		c.report(unknownHere, nil, lead, r.source+" has its click id, but another lead id")
	case elsewhere != nil:
		c.report(otherBrand, nil, lead, fmt.Sprintf("%s says brand %s", elsewhere.source, elsewhere.brand))
	default:
		c.report(unknownHere, nil, lead, "")
	}
}

// matchSimilar matches registrations without a lead id by their email, or else
// by a click id that was changed on the way. A match must be the only one.
func (c *comparison) matchSimilar() {
	byEmail, byForm := make(map[string][]*registration), make(map[string][]*registration)
	var forms []string
	for _, r := range c.ours.all {
		c.here.add(r.clickID)
		if r.settled || r.leadID != 0 {
			continue
		}
		if !isMasked(r.email) {
			byEmail[emailForm(r.email)] = append(byEmail[emailForm(r.email)], r)
		}
		if r.clickID != "" {
			form := clickIDForm(r.clickID)
			forms, byForm[form] = append(forms, form), append(byForm[form], r)
		}
	}
	slices.Sort(forms)
	forms = slices.Compact(forms)
	c.unmatched = slices.DeleteFunc(c.unmatched, func(lead clixnow.Lead) bool {
		found := byEmail[emailForm(lead.Email)]
		hasEmail := len(found) == 1
		if !hasEmail && !isHidden(lead.ClickID) && !c.ours.hasClickID(lead.ClickID) {
			found = similar(clickIDForm(lead.ClickID), forms, byForm)
		}
		contradicts := len(found) == 1 && !isMasked(lead.Email) && !isMasked(found[0].email) &&
			emailForm(lead.Email) != emailForm(found[0].email)
		if len(found) != 1 || found[0].settled || contradicts {
			return false
		}
		if !hasEmail && !c.isCut(found[0], &lead) {
			found[0].similar = lead.ClickID
			return false
		}
		c.compare(found[0], &lead)
		return true
	})
}

// lengths counts the longest click ids of one side, in characters.
type lengths struct{ longest, count int }

func (l *lengths) add(clickID string) {
	switch n := utf8.RuneCountInString(clickID); {
	case n > l.longest:
		l.longest, l.count = n, 1
	case n == l.longest:
		l.count++
	}
}

// isCut reports whether the click id of a lead is that of r, changed on the
// way, where one begins with the other or both have the same form. A common
// beginning alone proves nothing: click-1 is no cut click-112.
func (c *comparison) isCut(r *registration, lead *clixnow.Lead) bool {
	const long, digits = 20, "0123456789"
	form, whole := clickIDForm(lead.ClickID), clickIDForm(r.clickID)
	if form == whole || !isMasked(r.email) && emailForm(r.email) == emailForm(lead.Email) {
		return true
	}
	length, side := utf8.RuneCountInString(lead.ClickID), c.there
	if len(form) > len(whole) {
		form, whole = whole, form
		length, side = utf8.RuneCountInString(r.clickID), c.here
	}
	isOtherNumber := strings.ContainsAny(form[len(form)-1:], digits) && strings.Trim(whole[len(form):], digits) == ""
	return length >= long || length == side.longest && side.count > 1 && !isOtherNumber
}

// similar returns the registrations whose click id has this form, or begins
// with it, or is its beginning.
func similar(form string, forms []string, byForm map[string][]*registration) []*registration {
	const shortest = 6
	if found := byForm[form]; len(found) > 0 || len(form) < shortest {
		return found
	}
	var found []*registration
	for i, _ := slices.BinarySearch(forms, form); i < len(forms) && strings.HasPrefix(forms[i], form); i++ {
		if found = append(found, byForm[forms[i]]...); len(found) > 1 {
			return found
		}
	}
	for end := shortest; end < len(form) && len(found) < 2; end++ {
		found = append(found, byForm[form[:end]]...)
	}
	return found
}

// hidesAll reports whether the brand shows nothing of any lead by which r could
// be found.
func (c *comparison) hidesAll(r *registration) bool {
	return (r.clickID == "" || !c.showsClickIDs) && (isMasked(r.email) || !c.showsEmails)
}

// candidates has when leads without a registration were created, in seconds
// since 1970 and in order. 0 means that the lead hides it. The index adds
// hidesClickID and hidesEmail.
type candidates [4][]int64

const hidesClickID, hidesEmail = 1, 2

func newCandidates(leads []clixnow.Lead) (found candidates) {
	for i := range leads {
		hides := 0
		if isHidden(leads[i].ClickID) {
			hides += hidesClickID
		}
		if isMasked(leads[i].Email) {
			hides += hidesEmail
		}
		found[hides] = append(found[hides], max(0, leads[i].CreatedOn.Unix()))
	}
	for i := range found {
		slices.Sort(found[i])
	}
	return found
}

// take counts the leads that may be that of r: they hide what could tell them
// apart, and were created within a day of it. Unless the brand hides that of
// all leads, take removes one of them, so that no lead stands for two
// registrations.
func (found *candidates) take(r *registration, hidesAll bool) (n int) {
	const day = 24 * 60 * 60
	first, last := int64(1), int64(math.MaxInt64)
	if !r.registered.isZero() {
		first, last = r.registered.first.Unix()-day, r.registered.last.Unix()+day+1
	}
	isTaken := hidesAll
	for hides, times := range found {
		if r.clickID != "" && hides&hidesClickID == 0 || !isMasked(r.email) && hides&hidesEmail == 0 {
			continue
		}
		undated, _ := slices.BinarySearch(times, 1)
		begin, _ := slices.BinarySearch(times, first)
		end, _ := slices.BinarySearch(times, last)
		count := undated + end - begin
		if n += count; count > 0 && !isTaken {
			if begin == end {
				begin = 0
			}
			isTaken, found[hides] = true, slices.Delete(times, begin, begin+1)
		}
	}
	return n
}

// compareClickIDs says how two click ids differ. It returns "" if they are
// equal, or if one of them is not known.
func compareClickIDs(here, there string) string {
	a, b := clickIDForm(here), clickIDForm(there)
	switch {
	case here == there, here == "", isHidden(there):
		return ""
	case strings.EqualFold(here, there):
		return "only upper and lower case differ"
	case a == b:
		return "only zeros at the beginning differ"
	case strings.HasPrefix(a, b):
		return fmt.Sprintf("cut there after %d characters", len([]rune(there)))
	case strings.HasPrefix(b, a):
		return fmt.Sprintf("cut here after %d characters", len([]rune(here)))
	}
	return "another click id"
}

// isNoClickID reports whether a click id is missing. The API documents it as a
// number, so 0 means none.
func isNoClickID(id string) bool { return strings.Trim(strings.TrimSpace(id), "+-0.") == "" }

// isHidden reports whether a click id of a lead is missing, hidden or masked.
func isHidden(id string) bool { return isNoClickID(id) || strings.ContainsAny(id, "*•…") }

// clickIDForm returns one form for click ids that differ in case, or as numbers
// in zeros at the beginning.
func clickIDForm(id string) string {
	form := strings.ToLower(id)
	if strings.Trim(form, "0123456789") == "" {
		form = strings.TrimLeft(form, "0")
	}
	return form
}

// isMasked reports whether an email is missing, hidden or masked.
func isMasked(email string) bool {
	return !strings.Contains(email, "@") || strings.ContainsAny(email, "*•…") ||
		strings.Contains(strings.ToLower(email), "xxx")
}

// emailForm returns one form for emails that differ in case, in spaces around
// them, or in how their domain is written.
func emailForm(email string) string {
	email = strings.ToLower(strings.TrimSpace(email))
	if name, domain, ok := strings.Cut(email, "@"); ok {
		if plain, err := idna.ToUnicode(domain); err == nil {
			return name + "@" + plain
		}
	}
	return email
}
