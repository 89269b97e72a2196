package clixnow

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"
)

// LandingURL is the address under which visitors reach a landing page, taken
// apart (Clixnow API reference, "Landing page URL Example"). Empty parameters
// are left out.
type LandingURL struct {
	Page string // "https://landing.com/"; its own query is kept, and so is its fragment

	AffiliateID   string // a_id
	LandingPageID string // c_id
	FunnelID      string // f_id
	SubCampaign   string // subcampaign
	Sub2          string // sub2
	Keyword       string // keyword
	ClickID       string // clickid
	Placement     string // placement
}

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

// URL puts the address together: the query of Page, without parameters that are
// set here too, then ours in the order of the reference. It is an error when
// Page is empty, cannot be parsed, or is absolute and neither http nor https.
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

// ParseLandingURL takes the address of a visit apart. It may be absolute, or
// relative as the r.URL of a handler is. Other parameters, and ours where their
// value cannot be decoded, stay in Page; of one that is repeated the first that
// is not empty counts. The error does not print the URL.
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

// Apply carries the tracking of a visit into the request of its sign-up. It
// fills what req leaves empty: the tracking fields, and ReferralURL with the
// whole URL where Page is absolute. What Validate would refuse is left out,
// since a broken tracking value must not cost the sign-up.
func (u LandingURL) Apply(req *CreateLeadRequest) {
	fill := func(field *string, value string) {
		if *field == "" && utf8.ValidString(value) {
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

// findParameter returns the parameter that a pair of a query sets; nil when it
// is none of ours.
func findParameter(parameters []parameter, pair string) *parameter {
	escaped, _, _ := strings.Cut(pair, "=")
	name, err := url.QueryUnescape(escaped)
	if err != nil {
		return nil
	}
	for i := range parameters {
		if parameters[i].name == name {
			return &parameters[i]
		}
	}
	return nil
}

// macro matches a placeholder that a tracker should have replaced by a value.
var macro = regexp.MustCompile(`^(\{\{?[^{}]*\}\}?|\$\{[^{}]*\}|\[[^\[\]]*\]|<[^<>]*>|##.*##|__.*__|(?i:%7b).*(?i:%7d))$`)

// isMacro reports whether a tracking value is a placeholder such as {clickid}.
func isMacro(value string) bool { return macro.MatchString(strings.TrimSpace(value)) }
