package clixnow

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/clixnow/clixnow-go/internal/wire"
)

// This file has the JSON form of each type: requests, responses, leads and
// errors. Package wire reads and writes it. Errors and the values of a
// request's Extra are written by encoding/json.

// requestFields returns the wire form of a request without its Extra, in the
// order of the reference.
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

// fieldNames lists the names that a server may give to fields in an error.
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

// MarshalJSON encodes the request in the form in which it is sent, with its
// password.
func (r CreateLeadRequest) MarshalJSON() ([]byte, error) { return appendRequest(wireForm(&r)) }

func appendRequest(object wire.Object, faults []FieldError) ([]byte, error) {
	const usual = 1024 // bytes
	if len(faults) > 0 {
		return nil, invalid(faults)
	}
	return object.Append(make([]byte, 0, usual))
}

// wireForm returns the wire form of a request, and the faults for which it
// cannot be sent at all. It changes IPAddress into the form that is sent.
func wireForm(r *CreateLeadRequest) (object wire.Object, faults []FieldError) {
	r.IPAddress = r.IPAddress.Unmap().WithZone("")
	object.Fields = requestFields(r)
	faults = encodingFaults(object.Fields)
	if len(r.Extra) > 0 {
		extra, extraFaults := encodeExtra(r.Extra)
		object.Extra = &extra
		faults = append(faults, extraFaults...)
	}
	return object, faults
}

// encodingFaults returns a fault for each text that is not valid UTF-8.
func encodingFaults(fields []wire.Field) (faults []FieldError) {
	for _, field := range fields {
		if text, ok := field.Value.(*string); ok && !utf8.ValidString(*text) {
			faults = append(faults, FieldError{Field: field.Name, Code: ProblemUTF8, Problem: notUTF8})
		}
	}
	return faults
}

const notUTF8 = "must be valid UTF-8"

// encodeExtra returns the members of Extra that can be sent, and a fault for
// each of the others.
func encodeExtra(extra map[string]any) (encoded map[string]json.RawMessage, faults []FieldError) {
	names := requestFields(new(CreateLeadRequest))
	encoded = make(map[string]json.RawMessage, len(extra))
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		value, fault := encodeMember(names, name, extra[name])
		if fault.Code != "" {
			fault.Field = strings.ToValidUTF8(name, "\uFFFD")
			faults = append(faults, fault)
			continue
		}
		encoded[name] = value
	}
	return encoded, faults
}

// encodeMember encodes one member of Extra. The fault has no Code if there is
// none.
func encodeMember(fields []wire.Field, name string, value any) (raw json.RawMessage, fault FieldError) {
	if slices.ContainsFunc(fields, func(f wire.Field) bool { return strings.EqualFold(f.Name, name) }) {
		return nil, FieldError{Code: ProblemReserved, Problem: "is a field of the request and must not be in Extra"}
	}
	raw, err := json.Marshal(value)
	switch {
	case err != nil:
		return nil, FieldError{Code: ProblemNotEncodable, Problem: "cannot be encoded as JSON"}
	case !utf8.ValidString(name), !utf8.Valid(raw), !wire.ValidText(value):
		return nil, FieldError{Code: ProblemUTF8, Problem: notUTF8}
	}
	return raw, FieldError{}
}

// UnmarshalJSON decodes what MarshalJSON encodes, and any body of a create in
// the form of the API reference.
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
		// A float64 would change a long number.
		decoder.UseNumber()
		var member any
		if err := decoder.Decode(&member); err != nil {
			return fmt.Errorf("clixnow: decode create lead request: %w", err)
		}
		read.Extra[name] = member
	}
	*r = read
	return nil
}

// MarshalJSON encodes the response as the API does, with its redirect URL.
func (r CreateLeadResponse) MarshalJSON() ([]byte, error) { return responseObject(&r).Append(nil) }

// UnmarshalJSON decodes a response of the API.
func (r *CreateLeadResponse) UnmarshalJSON(data []byte) error {
	return decode(r, data, "create lead response", responseObject)
}

// decode implements UnmarshalJSON for a type. After an error, and for null, it
// leaves the value unchanged.
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

func ensuredObject(r *EnsureLeadResponse) wire.Object {
	object := responseObject(&r.CreateLeadResponse)
	object.Fields = append(object.Fields, wire.Field{Name: "recovered", Value: &r.Recovered, Keep: true})
	return object
}

// MarshalJSON encodes the response as the API does, with its redirect URL, and
// adds "recovered".
func (r EnsureLeadResponse) MarshalJSON() ([]byte, error) { return ensuredObject(&r).Append(nil) }

// UnmarshalJSON decodes what MarshalJSON encodes, or a response of the API.
func (r *EnsureLeadResponse) UnmarshalJSON(data []byte) error {
	return decode(r, data, "ensure lead response", ensuredObject)
}

// leadObject returns the wire form of a lead, in the order of the reference.
func leadObject(l *Lead) wire.Object {
	return wire.Object{Extra: &l.Extra, Fields: []wire.Field{
		{Name: "id", Value: &l.ID, Keep: true},
		{Name: "email", Value: &l.Email, Keep: true},
		{Name: "status", Value: &l.Status, Keep: true},
		{Name: "crmId", Value: &l.CRMID},
		{Name: "brandId", Value: &l.BrandID},
		{Name: "brandName", Value: &l.BrandName},
		{Name: "createdOn", Value: &l.CreatedOn},
		{Name: "updatedOn", Value: &l.UpdatedOn},
		{Name: "ftdDate", Value: &l.FTDDate},
		{Name: "clickId", Value: &l.ClickID},
		{Name: "sub2", Value: &l.Sub2},
		{Name: "subCampaign", Value: &l.SubCampaign},
		{Name: "keyword", Value: &l.Keyword},
		{Name: "placement", Value: &l.Placement},
		{Name: "clientType", Value: (*string)(&l.ClientType)},
	}}
}

// MarshalJSON encodes the lead as the API does. Dates have at least
// milliseconds.
func (l Lead) MarshalJSON() ([]byte, error) { return leadObject(&l).Append(nil) }

// UnmarshalJSON decodes a lead of the API.
func (l *Lead) UnmarshalJSON(data []byte) error {
	return decode(l, data, "lead", leadObject)
}

// plainAPIError is an APIError without methods. With methods, encoding/json
// would call them again.
type plainAPIError APIError

// apiErrorJSON adds the durations of an APIError in seconds.
type apiErrorJSON struct {
	plainAPIError

	RetryAfter float64 `json:"retryAfter"`
}

// MarshalJSON encodes the error without its Header and Body.
func (e APIError) MarshalJSON() ([]byte, error) {
	return json.Marshal(apiErrorJSON{plainAPIError(e), e.RetryAfter.Seconds()})
}

// UnmarshalJSON decodes what MarshalJSON encodes.
func (e *APIError) UnmarshalJSON(data []byte) error {
	var read apiErrorJSON
	if string(data) == "null" {
		return nil
	}
	if err := json.Unmarshal(data, &read); err != nil {
		return fmt.Errorf("clixnow: decode API error: %w", err)
	}
	const longest = math.MaxInt64 / 2
	nanoseconds := math.Round(read.RetryAfter * float64(time.Second))
	read.plainAPIError.RetryAfter = time.Duration(max(-longest, min(nanoseconds, longest)))
	*e = APIError(read.plainAPIError)
	return nil
}

// maxPageLeads bounds the leads that are read of one page, for a server that
// ignores count. A harmful server could send as many leads as bytes, and each
// lead needs a hundred times its bytes in memory.
const maxPageLeads = 100 * MaxPageSize

// decodeLeads reads the leads of a page into room. A nil room is allocated for
// count leads, if the body is long enough for them.
func decodeLeads(body []byte, room []Lead, count int) ([]Lead, error) {
	const shortestLead = 100 // bytes
	leads := room
	if leads == nil {
		leads = make([]Lead, 0, min(count, len(body)/shortestLead+1))
	}
	var lead Lead
	err := leadObject(&lead).DecodeList(body, func() error {
		if len(leads) == maxPageLeads {
			return &wire.Error{Problem: fmt.Sprintf("more than %d leads", maxPageLeads)}
		}
		leads = append(leads, lead)
		lead = Lead{}
		return nil
	})
	return leads, err
}
