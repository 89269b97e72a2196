package clixnow

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/clixnow/clixnow-go/internal/wire"
)

// This file decides which requests are refused before they are sent. checks has
// the rules.

// Validate returns nil, or a [*ValidationError] with all faults at once: what
// the API is known to refuse, and what cannot be encoded. [Client.CreateLead]
// calls it first. See [WithoutValidation].
func (r CreateLeadRequest) Validate() error {
	_, encodingFaults := wireForm(&r)
	return invalid(append(ruleFaults(&r), encodingFaults...))
}

// DropInvalidOptional empties the optional fields that Validate would refuse,
// and removes such members from Extra. It cuts a comment that is too long. It
// returns the faults that it found in optional fields. Mandatory fields stay
// unchanged.
//
// Use it for values that the visitor did not type, such as those of the
// browser. They must not cost the sign-up.
func (r *CreateLeadRequest) DropInvalidOptional() []FieldError {
	fields := requestFields(r)
	faults := slices.DeleteFunc(append(ruleFaults(r), encodingFaults(fields)...),
		func(fault FieldError) bool { return isMandatory(fault.Field) })
	for _, fault := range faults {
		drop(fields, fault)
	}
	return append(faults, r.dropExtra()...)
}

// isMandatory reports whether a field of a request is mandatory.
func isMandatory(field string) bool {
	all := checks(new(CreateLeadRequest))
	return slices.ContainsFunc(all[:], func(c check) bool { return c.mandatory && c.field == field })
}

// drop empties the field at fault, or cuts it if it is too long.
func drop(fields []wire.Field, fault FieldError) {
	i := slices.IndexFunc(fields, func(f wire.Field) bool { return f.Name == fault.Field })
	text, _ := fields[i].Value.(*string)
	if fault.Code == ProblemTooLong {
		*text = string([]rune(*text)[:maxComment])
		return
	}
	*text = ""
}

// dropExtra removes the members of Extra that cannot be sent. It does not
// change the caller's map.
func (r *CreateLeadRequest) dropExtra() []FieldError {
	_, faults := encodeExtra(r.Extra)
	if len(faults) == 0 {
		return nil
	}
	fields := requestFields(r)
	r.Extra = maps.Clone(r.Extra)
	maps.DeleteFunc(r.Extra, func(name string, value any) bool {
		_, fault := encodeMember(fields, name, value)
		return fault.Code != ""
	})
	return faults
}

// ruleFaults returns the faults for which the API is known to refuse a request.
func ruleFaults(r *CreateLeadRequest) (faults []FieldError) {
	for _, c := range checks(r) {
		switch {
		case c.mandatory && strings.TrimSpace(c.value) == "":
			faults = append(faults, FieldError{Field: c.field, Code: ProblemMissing, Problem: "is missing"})
			continue
		case c.value == "":
			continue
		}
		for _, rule := range c.rules {
			if rule.isValid != nil && !rule.isValid(c.value) {
				faults = append(faults, FieldError{Field: c.field, Code: rule.code, Problem: rule.problem})
			}
		}
	}
	return faults
}

// check holds the rules of the API reference for one field.
type check struct {
	field, value string
	mandatory    bool
	rules        [2]rule
}

// rule is one rule. A nil isValid means that there is no rule.
type rule struct {
	isValid func(string) bool
	code    ProblemCode
	problem string
}

const (
	minPassword = 8
	maxComment  = 1000
)

// checks returns the rules by field. Fields that may have any value are not in
// it.
func checks(r *CreateLeadRequest) [9]check {
	const mandatory, optional = true, false
	isTwoLetters := rule{isAlpha2, ProblemTwoLetters, "must be two letters"}
	return [...]check{
		{"firstName", r.FirstName, mandatory, [2]rule{}},
		{"lastName", r.LastName, mandatory, [2]rule{}},
		{"email", r.Email, mandatory, [2]rule{{isAddress, ProblemEmail, "must be one bare address"}}},
		{"phone", r.Phone, mandatory, [2]rule{}},
		{"password", r.Password, mandatory, [2]rule{
			{isLongPassword, ProblemPasswordLength, "must have at least 8 characters"},
			{hasSpecial, ProblemPasswordSpecial, "must have a character that is neither letter nor digit"},
		}},
		{"countryCode", r.CountryCode, mandatory, [2]rule{isTwoLetters}},
		{"languageCode", r.LanguageCode, optional, [2]rule{isTwoLetters}},
		{"referralUrl", r.ReferralURL, optional, [2]rule{
			{isWebURL, ProblemURL, "must be an absolute http or https URL"},
		}},
		{"comment", r.Comment, optional, [2]rule{
			{isShortComment, ProblemTooLong, "must have at most 1000 characters"},
		}},
	}
}

// isAddress reports whether text is one bare email address. It accepts dots in
// a row, because some carriers give such addresses. The API decides about the
// rest.
func isAddress(text string) bool {
	local, domain, _ := strings.Cut(text, "@")
	return local != "" && strings.Contains(strings.Trim(domain, "."), ".") &&
		!strings.ContainsAny(text, `<>(),;:"[]\`) && !strings.Contains(domain, "@") &&
		!strings.ContainsFunc(text, isInvisible)
}

// isInvisible reports whether r is a space, a control character, or another
// character that one cannot see.
func isInvisible(r rune) bool {
	const brailleBlank = '\u2800'
	if r <= unicode.MaxASCII {
		return r <= ' ' || r == '\x7f'
	}
	return !unicode.IsPrint(r) || r == brailleBlank ||
		unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

func isLongPassword(text string) bool { return utf8.RuneCountInString(text) >= minPassword }

func hasSpecial(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

func isShortComment(text string) bool { return utf8.RuneCountInString(text) <= maxComment }

func isAlpha2(text string) bool {
	letter := func(b byte) bool { return b|0x20 >= 'a' && b|0x20 <= 'z' }
	return len(text) == 2 && letter(text[0]) && letter(text[1])
}

func isWebURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != ""
}
