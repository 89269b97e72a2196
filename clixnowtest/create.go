package clixnowtest

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/clixnow/clixnow-go"
)

// createBody is the body of a create. encoding/json ignores the case of names,
// as ASP.NET Core does. The server does not keep all of these fields, but a
// wrong type in any of them is an error.
type createBody struct {
	FirstName                string `json:"firstName"`
	LastName                 string `json:"lastName"`
	Email                    string `json:"email"`
	Phone                    string `json:"phone"`
	Password                 string `json:"password"`
	CountryCode              string `json:"countryCode"`
	LanguageCode             string `json:"languageCode"`
	AcceptTermsAndConditions bool   `json:"acceptTermsAndConditions"`
	AcceptPromotions         bool   `json:"acceptPromotions"`
	ReferralURL              string `json:"referralUrl"`
	SubCampaign              string `json:"subCampaign"`
	Placement                string `json:"placement"`
	Keyword                  string `json:"keyword"`
	Sub2                     string `json:"sub2"`
	ClickID                  string `json:"clickId"`
	DeviceType               string `json:"deviceType"`
	DeviceName               string `json:"deviceName"`
	OSName                   string `json:"osName"`
	Browser                  string `json:"browser"`
	Carrier                  string `json:"carrier"`
	IPAddress                string `json:"ipAddress"`
	Comment                  string `json:"comment"`
}

// created is the body of the response to a create.
type created struct {
	LeadID      int64  `json:"leadId"`
	RedirectURL string `json:"redirectUrl"`
	SubCampaign string `json:"subCampaign"`
	Placement   string `json:"placement"`
	Keyword     string `json:"keyword"`
	Sub2        string `json:"sub2"`
	ClickID     string `json:"clickId"`
	CRMID       string `json:"crmId"`
}

const invalidMessage = "One or more validation errors occurred."

func (s *Server) create(r *http.Request, data []byte) response {
	var body createBody
	if problems := body.decode(data); len(problems) > 0 {
		return problem(http.StatusBadRequest, invalidMessage, problems)
	}
	if problems := body.validate(); len(problems) > 0 {
		return problem(http.StatusBadRequest, invalidMessage, problems)
	}
	if s.countries != nil && !s.countries[strings.ToUpper(body.CountryCode)] {
		return problem(http.StatusBadRequest, "Registration is not allowed for country "+body.CountryCode, nil)
	}
	lead, refusal := s.register(&body)
	if refusal != nil {
		return *refusal
	}
	return success(mustMarshal(created{
		LeadID: lead.ID, RedirectURL: s.autologinURL(r, lead.ID), CRMID: lead.CRMID,
		SubCampaign: body.SubCampaign, Placement: body.Placement, Keyword: body.Keyword, Sub2: body.Sub2,
		ClickID: body.ClickID,
	}))
}

// register stores a new lead, or returns the response that refuses it.
func (s *Server) register(body *createBody) (lead clixnow.Lead, refusal *response) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if problems := s.leads.duplicates(body); !s.allowDuplicates && len(problems) > 0 {
		refusal := problem(http.StatusBadRequest, "Duplicate lead: already registered.", problems)
		return lead, &refusal
	}
	if len(s.leads.records) >= s.capacity {
		refusal := problem(http.StatusBadRequest, s.capacityMessage, nil)
		return lead, &refusal
	}
	now := s.now()
	id := s.leads.nextID()
	lead = clixnow.Lead{
		ID: id, Email: body.Email, Status: "New",
		CRMID: strconv.FormatInt(7_000_000+id, 10), BrandID: 17, BrandName: "Example Broker",
		CreatedOn: milliseconds(now), UpdatedOn: milliseconds(now),
		ClickID: body.ClickID, Sub2: body.Sub2, SubCampaign: body.SubCampaign, Keyword: body.Keyword,
		Placement: body.Placement,
		// The API reference seems to swap the two types. A lead without a first
		// deposit is a client here.
		ClientType: clixnow.ClientTypeClient,
	}
	s.leads.put(now, body.Phone, lead)
	return lead, nil
}

// duplicates returns a text for each field of a create that is already
// registered.
func (s *store) duplicates(body *createBody) map[string][]string {
	problems := make(map[string][]string)
	if s.emails[strings.ToLower(body.Email)] > 0 {
		problems["Email"] = []string{"Email is already registered."}
	}
	if s.phones[body.Phone] > 0 {
		problems["Phone"] = []string{"Phone is already registered."}
	}
	return problems
}

// decode reads a body. It returns texts by field if the body is not JSON, or a
// field has the wrong type.
func (b *createBody) decode(data []byte) (problems map[string][]string) {
	if !utf8.Valid(data) {
		return map[string][]string{"$": {"The body is not valid UTF-8."}}
	}
	err := json.Unmarshal(data, b)
	if wrong := new(json.UnmarshalTypeError); errors.As(err, &wrong) && wrong.Field != "" {
		name := strings.ToUpper(wrong.Field[:1]) + wrong.Field[1:]
		return map[string][]string{name: {"The JSON value is not a " + wrong.Type.String() + "."}}
	}
	if err != nil {
		return map[string][]string{"$": {"The body is not a JSON object: " + err.Error() + "."}}
	}
	return nil
}

// validate returns texts for all fields that the API reference does not allow.
// The names of the fields are those of ASP.NET Core.
func (b *createBody) validate() map[string][]string {
	problems := make(map[string][]string)
	for _, field := range []struct {
		name, value string
		mandatory   bool
		valid       func(string) bool
		problem     string
	}{
		{"FirstName", b.FirstName, true, nil, ""},
		{"LastName", b.LastName, true, nil, ""},
		{"Email", b.Email, true, isAddress, "is not a valid e-mail address"},
		{"Phone", b.Phone, true, nil, ""},
		{"Password", b.Password, true, isStrong, "must have at least eight characters, one of them special"},
		{"CountryCode", b.CountryCode, true, isAlpha2, "must be an alpha-2 code"},
		{"LanguageCode", b.LanguageCode, false, isAlpha2, "must be an alpha-2 code"},
		{"ReferralUrl", b.ReferralURL, false, isWebURL, "is not a valid http or https URL"},
		{"IpAddress", b.IPAddress, false, isIP, "is neither an IPv4 nor an IPv6 address"},
		{"Comment", b.Comment, false, isComment, "must have at most 1000 characters"},
	} {
		switch {
		case field.mandatory && strings.TrimSpace(field.value) == "":
			problems[field.name] = []string{"The " + field.name + " field is required."}
		case field.value != "" && field.valid != nil && !field.valid(field.value):
			problems[field.name] = []string{"The " + field.name + " field " + field.problem + "."}
		}
	}
	return problems
}

// isAddress accepts dots in a row, which some carriers use.
func isAddress(text string) bool {
	local, domain, found := strings.Cut(text, "@")
	return found && local != "" && strings.Contains(strings.Trim(domain, "."), ".") &&
		!strings.ContainsAny(text, " \t\r\n<>(),;:\"[]\\") && !strings.Contains(domain, "@")
}

func isStrong(password string) bool {
	special := func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }
	return utf8.RuneCountInString(password) >= 8 && strings.ContainsFunc(password, special)
}

func isAlpha2(text string) bool {
	other := func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') }
	return len(text) == 2 && !strings.ContainsFunc(text, other)
}

func isWebURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != ""
}

func isIP(text string) bool {
	_, err := netip.ParseAddr(text)
	return err == nil
}

func isComment(text string) bool { return utf8.RuneCountInString(text) <= 1000 }
