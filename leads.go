package clixnow

import (
	"context"
	"encoding/json"
	"net/http"
	"net/mail"
	"net/netip"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/clixnow/clixnow-go/internal/call"
	"github.com/clixnow/clixnow-go/internal/wire"
)

// CreateLeadRequest is a lead to register (Clixnow API reference, "Create a
// Lead via API"). Values are sent as they are given: nothing is trimmed or
// re-cased. Empty optional fields are not sent.
//
// It marshals to the body that is sent, password included, and unmarshals from
// it, so that it can wait in a queue. fmt and slog hide its password and the
// values of Extra, but slog's JSON handler writes them where it is given a
// struct, slice or map of yours with a request in it. A struct of yours that
// stores a request with more beside it should name the field: an embedded
// request promotes its MarshalJSON, and what is beside it is lost.
type CreateLeadRequest struct {
	FirstName   string // mandatory
	LastName    string // mandatory
	Email       string // mandatory; one bare address
	Phone       string // mandatory; the reference shows "+" and digits
	Password    string // mandatory; at least 8 characters, one of them neither letter nor digit. A secret
	CountryCode string // mandatory; ISO 3166-1 alpha-2 ("CH")

	LanguageCode             string // ISO 639-1 ("EN"); mandatory where the brand detects the language by it
	AcceptTermsAndConditions bool
	AcceptPromotions         bool
	ReferralURL              string // of the landing page; absolute http or https

	// Tracking: any text; the brand can send it back in a postback.
	SubCampaign string // source or campaign
	Placement   string // landing page or ad
	Keyword     string
	Sub2        string
	ClickID     string // unique per sign-up, if you can: EnsureLead recognises a lead by it

	// The visitor's device.
	DeviceType string
	DeviceName string
	OSName     string
	Browser    string
	Carrier    Carrier
	IPAddress  netip.Addr // of the visitor; the zero Addr is not sent. IPv4 in IPv6 is sent as IPv4, a zone is left out

	Comment string // at most 1000 characters

	// Extra holds further fields that a brand asks for, by their names on the
	// wire. Values are encoded by encoding/json; unmarshalled, numbers are
	// json.Number. A name of a field above, in any case, is refused.
	Extra map[string]any
}

// Carrier is how the visitor's device is connected. Other values than the two
// documented ones are sent as they are.
type Carrier string

// The documented carriers.
const (
	CarrierMobile Carrier = "Mobile"
	CarrierWiFi   Carrier = "WiFi"
)

// CreateLeadResponse is a registered lead (Clixnow API reference, "Response").
// It marshals to the API's JSON, and unmarshals from it. fmt and slog hide its
// RedirectURL and the values of Extra; see [CreateLeadRequest] for embedding
// and for slog's JSON handler.
type CreateLeadResponse struct {
	LeadID      int64  // always positive
	RedirectURL string // send the visitor there. It logs the lead in at the brand: a secret
	SubCampaign string // this and the following as the API returned them
	Placement   string
	Keyword     string
	Sub2        string
	ClickID     string
	CRMID       string // in the system of the brand: number or text; "" = hidden or none

	// Extra holds fields of the response that this version does not know; nil
	// when there are none.
	Extra map[string]json.RawMessage
}

// CreateLead registers a lead. It is sent again only where it provably never
// reached the server, or was answered 429: never after a 5xx, a timeout or a
// cut connection, where the lead may exist. Each error matches exactly one of
// [ErrOutcomeUnknown], [ErrRefused], [ErrNotSent] and [ErrRateLimited]; they
// say what to do.
//
// A handler should not let a visitor who closes the tab cut the create off:
//
//	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), time.Minute)
func (c *Client) CreateLead(ctx context.Context, req CreateLeadRequest) (*CreateLeadResponse, error) {
	body, err := c.encode(&req)
	if err != nil {
		return nil, err
	}
	resp, _, err := c.create(ctx, body, c.newMask(&req), 0)
	return resp, err
}

// create sends a request that was encoded, at most attempts times (0 = those of
// the retry policy).
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
	object, faults := sendable(req)
	if c.validate {
		faults = append(judge(object.Fields), faults...)
	}
	return appendRequest(object, faults)
}

// Validate returns nil, or a [*ValidationError] with all that the API is known
// to refuse, and what cannot be sent. [Client.CreateLead] calls it first,
// unless [WithoutValidation] was given.
func (r CreateLeadRequest) Validate() error {
	object, unsendable := sendable(&r)
	return invalid(append(judge(object.Fields), unsendable...))
}

// judge finds fault with the fields of a request that the API is known to
// refuse.
func judge(fields []wire.Field) (faults []FieldError) {
	check := func(ok bool, field, problem string) {
		if !ok {
			faults = append(faults, FieldError{field, problem})
		}
	}
	for _, field := range fields {
		text, _ := field.Value.(*string)
		switch {
		case field.Keep && strings.TrimSpace(*text) == "":
			check(false, field.Name, "is missing")
		case field.Name == "email":
			check(isAddress(*text), field.Name, "must be one bare address")
		case field.Name == "password":
			check(utf8.RuneCountInString(*text) >= 8, field.Name, "must have at least 8 characters")
			check(strings.ContainsFunc(*text, isSpecial), field.Name,
				"must have a character that is neither letter nor digit")
		case field.Name == "countryCode", field.Name == "languageCode" && *text != "":
			check(isAlpha2(*text), field.Name, "must be two letters")
		case field.Name == "referralUrl" && *text != "":
			check(isWebURL(*text), field.Name, "must be an absolute http or https URL")
		case field.Name == "comment":
			check(utf8.RuneCountInString(*text) <= 1000, field.Name, "must have at most 1000 characters")
		}
	}
	return faults
}

func isAddress(text string) bool {
	address, err := mail.ParseAddress(text)
	return err == nil && address.Address == text
}

func isSpecial(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }

func isAlpha2(text string) bool {
	letter := func(b byte) bool { return b|0x20 >= 'a' && b|0x20 <= 'z' }
	return len(text) == 2 && letter(text[0]) && letter(text[1])
}

func isWebURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != ""
}
