package clixnow

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"time"

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

// Lead is a registered lead as a search shows it (Clixnow API reference,
// "Response model"). CRMID, BrandID and FTDDate may be hidden from an
// affiliate. A Lead marshals to the JSON of the API and unmarshals from it.
//
// The texts of leads that were read together share memory, in pieces of about
// 16 KiB. If you keep one text, its whole piece stays in memory. If that
// matters, keep a strings.Clone of the text.
type Lead struct {
	// ID identifies the lead within Clixnow. It is positive in what SearchLeads
	// yields.
	ID int64
	// Email is the address of the lead. Some brands mask it. "" means hidden.
	Email string
	// Status is free text and differs by brand. "" means hidden or none.
	Status string
	// CRMID identifies the lead in the system of the brand. It is a number or a
	// string on the wire. "" means hidden or none.
	CRMID string
	// BrandID identifies the broker that accepted the lead. 0 means hidden.
	BrandID int64
	// BrandName is the name of the broker that accepted the lead. "" means
	// hidden or none.
	BrandName string
	// CreatedOn is when the lead was created, in UTC. A date without a zone is
	// read as UTC: if a brand prints local time, CreatedOn is wrong by the
	// offset. A zero time means hidden.
	CreatedOn time.Time
	// UpdatedOn is when the lead was changed last, in UTC. The ModifiedOn
	// filters and order use it. A zero time means hidden or never.
	UpdatedOn time.Time
	// FTDDate is when the first deposit was made, in UTC. A zero time means
	// that there is none, or that it is hidden.
	FTDDate time.Time

	// These five fields are the tracking fields of the registration. "" means
	// that the field was not sent, or that it is hidden.
	ClickID     string
	Sub2        string
	SubCampaign string
	Keyword     string
	Placement   string

	// ClientType should say whether a first deposit was made, but the reference
	// contradicts itself. Use HasFTD instead. "" means hidden or none.
	ClientType ClientType

	// Extra holds the fields that this version does not know. nil means that
	// there are none.
	Extra map[string]json.RawMessage
}

// ClientType is the API's own word for whether a first deposit was made. The
// reference seems to have its two values swapped. Use [Lead.HasFTD] instead.
type ClientType string

// The documented client types.
const (
	ClientTypeClient    ClientType = "Client"
	ClientTypeDepositor ClientType = "Depositor"
)

// HasFTD reports whether the lead shows a first deposit. If it returns false,
// the date may also be hidden from the affiliate.
func (l Lead) HasFTD() bool { return !l.FTDDate.IsZero() }
