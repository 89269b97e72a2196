package clixnow

import (
	"context"
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/mail"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
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

// requestFields is the wire form of a request without its Extra, in the order
// of the reference.
func requestFields(r *CreateLeadRequest) []wire.Field {
	return []wire.Field{
		{Name: "firstName", Value: &r.FirstName, Keep: true},
		{Name: "lastName", Value: &r.LastName, Keep: true},
		{Name: "email", Value: &r.Email, Keep: true},
		{Name: "phone", Value: &r.Phone, Keep: true},
		{Name: "password", Value: &r.Password, Keep: true},
		{Name: "countryCode", Value: &r.CountryCode, Keep: true},
		{Name: "languageCode", Value: &r.LanguageCode},
		{Name: "acceptTermsAndConditions", Value: &r.AcceptTermsAndConditions},
		{Name: "acceptPromotions", Value: &r.AcceptPromotions},
		{Name: "referralUrl", Value: &r.ReferralURL},
		{Name: "subCampaign", Value: &r.SubCampaign},
		{Name: "placement", Value: &r.Placement},
		{Name: "keyword", Value: &r.Keyword},
		{Name: "sub2", Value: &r.Sub2},
		{Name: "clickId", Value: &r.ClickID},
		{Name: "deviceType", Value: &r.DeviceType},
		{Name: "deviceName", Value: &r.DeviceName},
		{Name: "osName", Value: &r.OSName},
		{Name: "browser", Value: &r.Browser},
		{Name: "carrier", Value: (*string)(&r.Carrier)},
		{Name: "ipAddress", Value: &r.IPAddress},
		{Name: "comment", Value: &r.Comment},
	}
}

func responseObject(r *CreateLeadResponse) wire.Object {
	return wire.Object{Extra: &r.Extra, Fields: []wire.Field{
		{Name: "leadId", Value: &r.LeadID, Keep: true},
		{Name: "redirectUrl", Value: &r.RedirectURL},
		{Name: "subCampaign", Value: &r.SubCampaign},
		{Name: "placement", Value: &r.Placement},
		{Name: "keyword", Value: &r.Keyword},
		{Name: "sub2", Value: &r.Sub2},
		{Name: "clickId", Value: &r.ClickID},
		{Name: "crmId", Value: &r.CRMID},
	}}
}

// fieldNames lists the names under which a server may find fault.
func fieldNames() []string {
	var names []string
	for _, field := range requestFields(new(CreateLeadRequest)) {
		names = append(names, field.Name)
	}
	for _, field := range leadObject(new(Lead)).Fields {
		names = append(names, field.Name)
	}
	return names
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
	resp, _, err := c.create(ctx, body, req.Password, 0)
	return resp, err
}

// create sends a request that was encoded, at most attempts times (0 = those of
// the retry policy).
func (c *Client) create(ctx context.Context, body []byte, password string, attempts int) (*CreateLeadResponse,
	call.Outcome, error,
) {
	var resp CreateLeadResponse
	outcome, err := c.send(ctx, &request{
		method: http.MethodPost, path: leadsPath, body: body, attempts: attempts, password: password,
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

// MarshalJSON encodes the request as it is sent, password included.
func (r CreateLeadRequest) MarshalJSON() ([]byte, error) { return appendRequest(sendable(&r)) }

func appendRequest(object wire.Object, faults []FieldError) ([]byte, error) {
	const usual = 1024 // bytes
	if len(faults) > 0 {
		return nil, invalid(faults)
	}
	return object.Append(make([]byte, 0, usual))
}

// sendable returns the wire form of a request, and finds fault with what cannot
// be sent at all.
func sendable(r *CreateLeadRequest) (object wire.Object, faults []FieldError) {
	r.IPAddress = r.IPAddress.Unmap().WithZone("")
	object.Fields = requestFields(r)
	for _, field := range object.Fields {
		if text, ok := field.Value.(*string); ok && !utf8.ValidString(*text) {
			faults = append(faults, FieldError{field.Name, "must be valid UTF-8"})
		}
	}
	if len(r.Extra) == 0 {
		return object, faults
	}
	extra := make(map[string]json.RawMessage, len(r.Extra))
	for _, name := range slices.Sorted(maps.Keys(r.Extra)) {
		value, problem := encodeExtra(object.Fields, name, r.Extra[name])
		if problem != "" {
			faults = append(faults, FieldError{strings.ToValidUTF8(name, "\uFFFD"), problem})
		}
		extra[name] = value
	}
	object.Extra = &extra
	return object, faults
}

func encodeExtra(fields []wire.Field, name string, value any) (raw json.RawMessage, problem string) {
	if slices.ContainsFunc(fields, func(f wire.Field) bool { return strings.EqualFold(f.Name, name) }) {
		return nil, "is a field of its own and must not be in Extra"
	}
	raw, err := json.Marshal(value)
	switch {
	case err != nil:
		return nil, "cannot be encoded as JSON"
	case !utf8.ValidString(name), !utf8.Valid(raw), !validText(reflect.ValueOf(value)):
		return nil, "must be valid UTF-8"
	}
	return raw, ""
}

// validText finds the invalid UTF-8 that encoding/json replaces without a word.
// Its value was encoded: it has no cycles, but maybe in what encodes itself,
// which is not looked into.
func validText(v reflect.Value) bool {
	if v.IsValid() && encodesItself(v.Type()) {
		return true
	}
	switch v.Kind() {
	case reflect.String:
		return utf8.ValidString(v.String())
	case reflect.Interface, reflect.Pointer:
		return validText(v.Elem())
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if !validText(v.Index(i)) {
				return false
			}
		}
	case reflect.Map:
		for key, value := range v.Seq2() {
			if !validText(key) || !validText(value) {
				return false
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Field(i)
			encoded := (field.IsExported() || field.Anonymous) && field.Tag.Get("json") != "-"
			if encoded && !validText(v.Field(i)) {
				return false
			}
		}
	default: // no text
	}
	return true
}

func encodesItself(t reflect.Type) bool {
	pointer := reflect.PointerTo(t) // has the methods of both
	return pointer.Implements(reflect.TypeFor[json.Marshaler]()) ||
		pointer.Implements(reflect.TypeFor[encoding.TextMarshaler]())
}

// UnmarshalJSON decodes what MarshalJSON encodes, and any body in the form of
// the API reference.
func (r *CreateLeadRequest) UnmarshalJSON(data []byte) error {
	var raw map[string]json.RawMessage
	object := func(r *CreateLeadRequest) wire.Object { return wire.Object{Fields: requestFields(r), Extra: &raw} }
	read := *r
	if err := decode(&read, data, "create lead request", object); err != nil {
		return err
	}
	for name, value := range raw {
		if read.Extra == nil {
			read.Extra = make(map[string]any, len(raw))
		}
		decoder := json.NewDecoder(strings.NewReader(string(value)))
		decoder.UseNumber() // a float64 would change a long number
		var member any
		if err := decoder.Decode(&member); err != nil {
			return fmt.Errorf("clixnow: decode create lead request: %w", err)
		}
		read.Extra[name] = member
	}
	*r = read
	return nil
}

// MarshalJSON encodes the response as the API does, redirect URL included.
func (r CreateLeadResponse) MarshalJSON() ([]byte, error) { return responseObject(&r).Append(nil) }

// UnmarshalJSON decodes a response of the API.
func (r *CreateLeadResponse) UnmarshalJSON(data []byte) error {
	return decode(r, data, "create lead response", responseObject)
}

// decode is the UnmarshalJSON of a type. What was there before is left alone by
// an error and, as is the convention, by null.
func decode[T any](into *T, data []byte, what string, object func(*T) wire.Object) error {
	if string(data) == "null" {
		return nil
	}
	var read T
	if err := object(&read).Decode(data); err != nil {
		return fmt.Errorf("clixnow: decode %s: %w", what, err)
	}
	*into = read
	return nil
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
