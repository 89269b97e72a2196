package clixnow

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/clixnow/clixnow-go/internal/call"
	"github.com/clixnow/clixnow-go/internal/wire"
)

// CreateLeadRequest is a lead to register (Clixnow API reference, "Create a
// Lead via API"). Values are sent as they are given: nothing is trimmed or
// changed in case. Empty optional fields are not sent.
//
// It marshals to the body that is sent, with the password, and unmarshals from
// it, so that it can wait in a queue. fmt and slog hide its password and the
// values of Extra. One exception: slog's JSON handler writes them if it is
// given a struct, slice or map of yours that contains a request.
//
// A struct of yours that stores a request and other values should name the
// field. An embedded request promotes its MarshalJSON, and the other values are
// then not in the JSON.
type CreateLeadRequest struct {
	// These six fields are mandatory. A value of only white space counts as
	// empty, and an empty one is refused.

	// FirstName is any text.
	FirstName string
	// LastName is any text.
	LastName string
	// Email is one bare address, such as "allison.brown@example.com".
	Email string
	// Phone is any text. The reference shows "+" and digits.
	Phone string
	// Password has at least 8 characters. At least one of them is neither a
	// letter nor a digit. It is a secret.
	Password string
	// CountryCode is an ISO 3166-1 alpha-2 code, such as "CH".
	CountryCode string

	// LanguageCode is an ISO 639-1 code, such as "EN". Some brands need it. ""
	// is not sent.
	LanguageCode string
	// AcceptTermsAndConditions reports that the visitor accepted the terms.
	// False is not sent.
	AcceptTermsAndConditions bool
	// AcceptPromotions reports that the visitor accepted promotions. False is
	// not sent.
	AcceptPromotions bool
	// ReferralURL is the absolute http or https URL of the landing page. "" is
	// not sent.
	ReferralURL string

	// The next five fields are for tracking. Each is any text, and the brand
	// can send it back in a postback.

	// SubCampaign is the source or the campaign. "" is not sent.
	SubCampaign string
	// Placement is the landing page or the advertisement. "" is not sent.
	Placement string
	// Keyword is the search word. "" is not sent.
	Keyword string
	// Sub2 is a second source. "" is not sent.
	Sub2 string
	// ClickID is a text that is different for each sign-up. EnsureLead
	// recognises a lead by it. "" is not sent.
	ClickID string

	// DeviceType is the visitor's device, such as "Mobile". "" is not sent.
	DeviceType string
	// DeviceName is for example "iPhone16". "" is not sent.
	DeviceName string
	// OSName is for example "iOS". "" is not sent.
	OSName string
	// Browser is for example "Safari Mobile". "" is not sent.
	Browser string
	// Carrier is how the visitor's device is connected. "" is not sent.
	Carrier Carrier
	// IPAddress is the visitor's address. An IPv4 address in IPv6 form is sent
	// as IPv4, and a zone is not sent. The zero Addr is not sent.
	IPAddress netip.Addr

	// Comment has at most 1000 characters. "" is not sent.
	Comment string

	// Extra holds further fields that a brand asks for, by their wire names.
	// encoding/json encodes the values. After unmarshalling, numbers have the
	// type json.Number. A name of a field above is refused, in any case. Nil
	// means none.
	Extra map[string]any
}

// Carrier is how the visitor's device is connected. Values other than the two
// documented ones are allowed.
type Carrier string

// The documented carriers.
const (
	// CarrierMobile means a mobile network.
	CarrierMobile Carrier = "Mobile"
	// CarrierWiFi means a wireless local network.
	CarrierWiFi Carrier = "WiFi"
)

// CreateLeadResponse is a registered lead (Clixnow API reference, "Response").
// It marshals to the API's own JSON and unmarshals from it. fmt and slog hide
// its RedirectURL and the values of Extra. See [CreateLeadRequest] for
// embedding and for slog's JSON handler.
type CreateLeadResponse struct {
	// LeadID is always positive.
	LeadID int64
	// RedirectURL logs the lead in at the brand. Send the visitor there, and
	// treat it as a secret. "" means that the API gave none.
	RedirectURL string

	// The next five fields repeat those of the request. "" means that the API
	// did not repeat the field.

	SubCampaign string
	Placement   string
	Keyword     string
	Sub2        string
	ClickID     string
	// CRMID is the lead's id in the system of the brand, a number or a text. ""
	// means hidden or none.
	CRMID string

	// Extra holds the fields of the response that this version does not know.
	// Nil means none.
	Extra map[string]json.RawMessage
}

// CreateLead registers a lead. The request is sent again only if it provably
// never reached the server, or was answered 429. It is never sent again after a
// 5xx, a timeout or a lost connection, because the lead may exist. Each error
// matches exactly one of [ErrOutcomeUnknown], [ErrRefused], [ErrNotSent] and
// [ErrRateLimited].
//
// If a visitor closes the page, the context of the handler ends. Pass a context
// that outlives it, so that the create is not cut off:
//
//	ctx := context.WithoutCancel(r.Context())
//	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
func (c *Client) CreateLead(ctx context.Context, req CreateLeadRequest) (*CreateLeadResponse, error) {
	body, err := c.encode(&req)
	if err != nil {
		return nil, err
	}
	resp, _, err := c.create(ctx, body, c.newMask(&req), 0)
	return resp, err
}

// create sends an encoded request, at most attempts times. 0 means the number
// of the retry policy.
func (c *Client) create(ctx context.Context, body []byte, mask *textMask, attempts int) (*CreateLeadResponse,
	call.Outcome, error,
) {
	var resp CreateLeadResponse
	outcome, err := c.send(ctx, &request{
		method: http.MethodPost, path: leadsPath, body: body, attempts: attempts, mask: mask,
		read: func(body []byte) error {
			if err := responseObject(&resp).Decode(body); err != nil {
				return err
			}
			if resp.LeadID <= 0 {
				return &wire.Error{Path: "leadId", Problem: "not a positive number"}
			}
			return nil
		},
	})
	if err != nil {
		return nil, outcome, err
	}
	return &resp, outcome, nil
}

// encode checks a request and returns the body to send.
func (c *Client) encode(req *CreateLeadRequest) ([]byte, error) {
	var faults []FieldError
	if c.validate {
		faults = ruleFaults(req)
	}
	object, encodingFaults := wireForm(req)
	return appendRequest(object, append(faults, encodingFaults...))
}

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
	if characters := []rune(*text); fault.Code == ProblemTooLong && len(characters) > maxComment {
		*text = string(characters[:maxComment])
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
