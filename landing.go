package clixnow

import (
	"errors"
	"net/url"
	"strings"
	"unicode/utf8"
)

// LandingURL is the parts of the URL under which a visitor reaches a landing
// page (Clixnow API reference, "Landing page URL Example").
type LandingURL struct {
	// Page is for example "https://landing.com/". Its own query and its
	// fragment are kept. URL returns an error if it is "".
	Page string

	// AffiliateID is the parameter a_id. "" leaves it out.
	AffiliateID string
	// LandingPageID is the parameter c_id. "" leaves it out.
	LandingPageID string
	// FunnelID is the parameter f_id. "" leaves it out.
	FunnelID string
	// SubCampaign is the parameter subcampaign. "" leaves it out.
	SubCampaign string
	// Sub2 is the parameter sub2. "" leaves it out.
	Sub2 string
	// Keyword is the parameter keyword. "" leaves it out.
	Keyword string
	// ClickID is the parameter clickid. "" leaves it out.
	ClickID string
	// Placement is the parameter placement. "" leaves it out.
	Placement string
}

// parameter is a query parameter of a landing page.
type parameter struct {
	name  string
	value *string
}

func landingParameters(u *LandingURL) []parameter {
	return []parameter{
		{"a_id", &u.AffiliateID},
		{"c_id", &u.LandingPageID},
		{"f_id", &u.FunnelID},
		{"subcampaign", &u.SubCampaign},
		{"sub2", &u.Sub2},
		{"keyword", &u.Keyword},
		{"clickid", &u.ClickID},
		{"placement", &u.Placement},
	}
}

// URL builds the URL. The query has first the parameters of Page that no field
// sets, and then the fields in the order of the reference. URL returns an error
// if Page is empty, cannot be parsed, or is absolute and neither http nor
// https.
func (u LandingURL) URL() (*url.URL, error) {
	if u.Page == "" {
		return nil, errors.New("clixnow: landing URL: Page is empty")
	}
	page, err := parsePage(u.Page)
	if err != nil {
		return nil, err
	}
	parameters := landingParameters(&u)
	pairs := splitQuery(page.RawQuery)
	kept := pairs[:0]
	for _, pair := range pairs {
		if p := findParameter(parameters, pair); p == nil || *p.value == "" {
			kept = append(kept, pair)
		}
	}
	for _, p := range parameters {
		if *p.value != "" {
			kept = append(kept, p.name+"="+url.QueryEscape(*p.value))
		}
	}
	page.RawQuery = strings.Join(kept, "&")
	page.ForceQuery = false
	return page, nil
}

// ParseLandingURL reads the URL of a visit. It may be absolute, or relative as
// the r.URL of a handler is. Other parameters stay in Page. So does a parameter
// whose value cannot be decoded. If a parameter is repeated, the first one that
// is not empty counts. The error does not contain the URL.
func ParseLandingURL(rawURL string) (LandingURL, error) {
	page, err := parsePage(rawURL)
	if err != nil {
		return LandingURL{}, err
	}
	var u LandingURL
	parameters := landingParameters(&u)
	pairs := splitQuery(page.RawQuery)
	kept := pairs[:0]
	for _, pair := range pairs {
		p := findParameter(parameters, pair)
		_, escaped, _ := strings.Cut(pair, "=")
		value, err := url.QueryUnescape(escaped)
		if p == nil || err != nil {
			kept = append(kept, pair)
		} else if *p.value == "" {
			*p.value = value
		}
	}
	page.RawQuery = strings.Join(kept, "&")
	page.ForceQuery = false
	u.Page = page.String()
	return u, nil
}

// Apply copies the tracking of a visit into a request. It fills only what req
// leaves empty: the tracking fields, and ReferralURL with the whole URL if Page
// is absolute.
//
// It leaves out a value that Validate would refuse, because a broken tracking
// value must not cost the sign-up. It also leaves out a value that is still a
// macro, such as {clickid}, because all visitors would have the same one.
func (u LandingURL) Apply(req *CreateLeadRequest) {
	fill := func(field *string, value string) {
		if *field == "" && utf8.ValidString(value) && !isMacro(value) {
			*field = value
		}
	}
	fill(&req.SubCampaign, u.SubCampaign)
	fill(&req.Sub2, u.Sub2)
	fill(&req.Keyword, u.Keyword)
	fill(&req.ClickID, u.ClickID)
	fill(&req.Placement, u.Placement)
	if whole, err := u.URL(); err == nil && isWebURL(whole.String()) {
		fill(&req.ReferralURL, whole.String())
	}
}

func parsePage(raw string) (*url.URL, error) {
	page, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("clixnow: landing URL: not a URL")
	}
	if page.Scheme != "" && !isWebURL(raw) {
		return nil, errors.New("clixnow: landing URL: must be http or https, or relative")
	}
	return page, nil
}

func splitQuery(raw string) []string {
	if raw == "" {
		return nil
	}
	return strings.Split(raw, "&")
}

// findParameter returns the parameter that a pair of a query sets. It returns
// nil if the pair sets another parameter.
func findParameter(parameters []parameter, pair string) *parameter {
	escaped, _, _ := strings.Cut(pair, "=")
	name, _ := url.QueryUnescape(escaped) // "" if it cannot be decoded
	for i := range parameters {
		if parameters[i].name == name {
			return &parameters[i]
		}
	}
	return nil
}

// isMacro reports whether a tracking value is still a placeholder such as
// {clickid}, which the tracker should have replaced by a value.
func isMacro(value string) bool {
	if unescaped, err := url.PathUnescape(value); err == nil {
		value = unescaped
	}
	value = strings.TrimSpace(value)
	for _, marks := range [...]struct{ open, end string }{
		{"{", "}"}, {"{{", "}}"}, {"${", "}"}, {"[", "]"}, {"<", ">"}, {"##", "##"}, {"__", "__"},
	} {
		inner, opened := strings.CutPrefix(value, marks.open)
		inner, ended := strings.CutSuffix(inner, marks.end)
		if opened && ended && !strings.Contains(inner, marks.open) && !strings.Contains(inner, marks.end) {
			return true
		}
	}
	return false
}
