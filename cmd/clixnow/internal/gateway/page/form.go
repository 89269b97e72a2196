package page

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/collate"
	"golang.org/x/text/language"
	"golang.org/x/text/language/display"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/typed"
)

// field is one field of the form. It has the name of the API's field.
type field struct {
	Name, Label, Hint, Type, Autocomplete string
	// Options are the options of a select. It is nil for other types.
	Options []option
	// Value and Problem are what the page shows in and beside the field.
	Value, Problem string
}

type option struct{ Code, Name string }

// problem is a text for the visitor about one field. If Field is "", it is
// about the whole form.
type problem struct{ Field, Text string }

func formFields() []field {
	return []field{
		{Name: "firstName", Type: "text", Autocomplete: "given-name"},
		{Name: "lastName", Type: "text", Autocomplete: "family-name"},
		{Name: "email", Type: "email", Autocomplete: "email"},
		{Name: "countryCode", Type: "select", Autocomplete: "country"},
		{Name: "phone", Type: "tel", Autocomplete: "tel"},
		{Name: "acceptTermsAndConditions", Type: "checkbox"},
		{Name: "acceptPromotions", Type: "checkbox"},
	}
}

// label returns the label of a field. If the form does not have the field, it
// returns its name.
func (s *Site) label(field string) string { return cmp.Or(s.texts["label."+field], field) }

// problemText returns the text about a fault.
func (s *Site) problemText(fault clixnow.FieldError) string {
	code := string(fault.Code)
	return cmp.Or(s.texts["problem."+fault.Field+"."+code], s.texts["problem.any."+code], s.texts["problem.any.other"])
}

// countryOptions returns the countries in the order of their names.
func countryOptions(codes []string, tag language.Tag) (countries []option, err error) {
	names := display.Regions(tag)
	if names == nil {
		names = display.Regions(language.English)
	}
	if len(codes) == 0 {
		codes = typed.Regions()
	}
	for _, code := range codes {
		region, err := language.ParseRegion(code)
		if err != nil || len(code) != 2 || !region.IsCountry() {
			return nil, fmt.Errorf("%q is not the code of a country, such as \"CH\"", code)
		}
		code = strings.ToUpper(code)
		countries = append(countries, option{code, names.Name(region)})
	}
	order := collate.New(tag)
	slices.SortFunc(countries, func(a, b option) int { return order.CompareString(a.Name, b.Name) })
	return slices.Compact(countries), nil
}

// form has the values that a visitor sent, by the names of the fields. It also
// has two hidden fields. "form" is a random id. It is the click id of a visit
// that has none, so it stays the same until the sign-up is registered.
// "landing" is the URL that the visitor opened.
type form map[string]string

func newForm(landing string) form { return form{"form": rand.Text(), "landing": keep(landing)} }

func readForm(r *http.Request) form {
	f := newForm(cmp.Or(r.PostForm.Get("landing"), visitURL(r)))
	if id := r.PostForm.Get("form"); id != "" && isTracking(id) {
		f["form"] = id
	}
	for _, field := range formFields() {
		text := strings.ReplaceAll(strings.ToValidUTF8(r.PostForm.Get(field.Name), ""), "\n", " ")
		f[field.Name] = typed.Text(text)
	}
	return f
}

// formOf returns the form of a sign-up.
func formOf(lead *clixnow.CreateLeadRequest) form {
	visit, _ := clixnow.ParseLandingURL(lead.ReferralURL) // its zero value has no tracking
	visit.Page = cmp.Or(visit.Page, "/")
	visit.SubCampaign, visit.Sub2, visit.Keyword = lead.SubCampaign, lead.Sub2, lead.Keyword
	visit.Placement = lead.Placement
	f := form{
		"form": lead.ClickID, "firstName": lead.FirstName, "lastName": lead.LastName, "email": lead.Email,
		"phone": lead.Phone, "countryCode": lead.CountryCode,
	}
	if landing, err := visit.URL(); err == nil {
		f["landing"] = landing.String()
	}
	for name, isChecked := range map[string]bool{
		"acceptTermsAndConditions": lead.AcceptTermsAndConditions, "acceptPromotions": lead.AcceptPromotions,
	} {
		if isChecked {
			f[name] = "yes"
		}
	}
	return f
}

// request returns the lead to register, or the problems of the form. r is the
// request that sent it.
func (s *Site) request(f form, r *http.Request) (clixnow.CreateLeadRequest, []problem) {
	req := clixnow.CreateLeadRequest{
		FirstName: f["firstName"], LastName: f["lastName"], Email: f["email"], Phone: f["phone"],
		CountryCode: f["countryCode"], Password: newPassword(), LanguageCode: s.language,
		AcceptTermsAndConditions: f["acceptTermsAndConditions"] != "",
		AcceptPromotions:         f["acceptPromotions"] != "",
	}
	if visit, err := clixnow.ParseLandingURL(f["landing"]); err == nil {
		visit.Apply(&req)
	}
	if len(req.ReferralURL) > longestURL { // its fields are in the request
		req.ReferralURL = ""
	}
	// The affiliate is paid by the click id of the tracker.
	req.ClickID = cmp.Or(req.ClickID, f["form"])
	Complete(&req, r, s.opts.Address(r))
	req.DropInvalidOptional() // the visitor did not type these fields
	return req, s.problems(s.check(&req))
}

// check returns the faults of a request, also by the rules of this form.
func (s *Site) check(req *clixnow.CreateLeadRequest) []clixnow.FieldError {
	const longest = 200 // characters; people do not type more
	isOption := func(o option) bool { return o.Code == req.CountryCode }
	if !slices.ContainsFunc(s.countries, isOption) {
		req.CountryCode = ""
	}
	invalid := new(clixnow.ValidationError)
	errors.As(req.Validate(), &invalid)
	faults := invalid.Fields
	for name, value := range map[string]string{
		"firstName": req.FirstName, "lastName": req.LastName, "email": req.Email, "phone": req.Phone,
	} {
		if utf8.RuneCountInString(value) > longest {
			faults = append(faults, clixnow.FieldError{Field: name, Code: clixnow.ProblemTooLong})
		}
	}
	number, err := typed.Phone(req.Phone, req.CountryCode)
	switch {
	case req.Phone == "": // this is one of the faults
	case err == nil:
		req.Phone = number
	case errors.Is(err, typed.ErrNoCountryCode): // the country is missing
	default:
		faults = append(faults, clixnow.FieldError{Field: "phone", Code: "impossible"})
	}
	if !req.AcceptTermsAndConditions {
		faults = append(faults, clixnow.FieldError{
			Field: "acceptTermsAndConditions", Code: clixnow.ProblemMissing,
		})
	}
	return faults
}

// problems returns one text for each field at fault, in the order of the form.
// A fault of another field is one of the whole form.
func (s *Site) problems(faults []clixnow.FieldError) (problems []problem) {
	for _, f := range formFields() {
		isField := func(fault clixnow.FieldError) bool { return fault.Field == f.Name }
		if i := slices.IndexFunc(faults, isField); i >= 0 {
			problems = append(problems, problem{f.Name, s.problemText(faults[i])})
			faults = slices.DeleteFunc(faults, isField)
		}
	}
	for _, fault := range faults {
		problems = append(problems, problem{Text: s.problemText(fault)})
	}
	return problems
}

// newPassword returns a random password. The visitor never sees it, because the
// redirect logs the visitor in, and the brand lets them choose a new one. Its
// first characters satisfy rules about kinds of characters. The rest has 80
// random bits.
func newPassword() string { return "Aa1-" + rand.Text()[:16] }

// visitURL returns the URL that the visitor opened.
func visitURL(r *http.Request) string {
	visit := *r.URL
	visit.Scheme, visit.Host = "http", cmp.Or(r.Header.Get("X-Forwarded-Host"), r.Host)
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		visit.Scheme = "https"
	}
	if _, err := clixnow.ParseLandingURL(visit.String()); err != nil || visit.Host == "" { // the host is broken
		return r.URL.String()
	}
	return visit.String()
}

// longestURL is the size in bytes of a URL that all servers accept.
const longestURL = 4 << 10

// keep returns the part of a landing URL that is kept. A value that the outbox
// would refuse is left out, because the visitor cannot correct it. If the rest
// is long, for example by an fbclid, only the documented parameters are kept.
func keep(landing string) string {
	visit, err := clixnow.ParseLandingURL(landing)
	if err != nil {
		return ""
	}
	for _, value := range []*string{
		&visit.AffiliateID, &visit.LandingPageID, &visit.FunnelID, &visit.SubCampaign, &visit.Sub2, &visit.Keyword,
		&visit.ClickID, &visit.Placement,
	} {
		if !isTracking(*value) {
			*value = ""
		}
	}
	if len(landing) > longestURL {
		visit.Page, _, _ = strings.Cut(visit.Page, "?")
	}
	kept, err := visit.URL()
	if err != nil {
		return ""
	}
	return kept.String()
}

// isTracking reports whether the outbox can hold a value for tracking.
func isTracking(value string) bool {
	return utf8.ValidString(value) && !strings.ContainsRune(value, 0) && utf8.RuneCountInString(value) <= 1000
}

func withoutClickID(landing string) string {
	visit, _ := clixnow.ParseLandingURL(landing) // its zero value has no page
	visit.ClickID = ""
	kept, err := visit.URL()
	if err != nil {
		return ""
	}
	return kept.String()
}
