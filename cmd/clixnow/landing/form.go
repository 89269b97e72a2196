package main

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/url"
	"strings"

	"github.com/clixnow/clixnow-go"
)

// field is one field of the form. It has the name of the API's field, because
// the errors of the SDK and the API name their fields so.
type field struct {
	Name, Label, Hint, Type, Autocomplete string
	// Fault is the text for a value that is missing or cannot be right.
	Fault string
	// Options are the options of a select. It is nil for other types.
	Options []option
	// Value and Problem are what the page shows in and beside the field.
	Value, Problem string
}

type option struct{ Code, Name string }

func fields() []field {
	return []field{
		{
			Name: "firstName", Label: "First name", Type: "text", Autocomplete: "given-name",
			Fault: "Enter your first name",
		},
		{
			Name: "lastName", Label: "Last name", Type: "text", Autocomplete: "family-name",
			Fault: "Enter your last name",
		},
		{
			Name: "email", Label: "Email address", Type: "email", Autocomplete: "email",
			Fault: "Enter an email address like name@example.com",
		},
		{
			Name: "phone", Label: "Phone number",
			Hint: "With the country code, like +41\u00a079\u00a0555\u00a001\u00a002", Type: "tel",
			Autocomplete: "tel", Fault: "Enter your phone number",
		},
		{
			Name: "countryCode", Label: "Country", Type: "select", Autocomplete: "country",
			Fault: "Choose your country",
			Options: []option{ // list the countries of your campaign here
				{"AT", "Austria"},
				{"FR", "France"},
				{"DE", "Germany"},
				{"IT", "Italy"},
				{"NL", "Netherlands"},
				{"ES", "Spain"},
				{"SE", "Sweden"},
				{"CH", "Switzerland"},
			},
		},
		{
			Name: "acceptTermsAndConditions", Label: "I accept the terms and conditions", Type: "checkbox",
			Fault: "Accept the terms and conditions",
		},
		{Name: "acceptPromotions", Label: "Send me news and offers (optional)", Type: "checkbox"},
	}
}

// form has the values that a visitor sent, by the names of the fields. It also
// has two hidden fields. "form" is a random id, which is new each time the page
// shows a form. "tracking" is the query of the URL that the visitor opened.
type form map[string]string

func newForm(tracking string) form {
	const maxTracking = 4 << 10 // bytes; visitors can change it, so its size is limited
	if len(tracking) > maxTracking {
		tracking = ""
	}
	return form{"form": rand.Text(), "tracking": tracking}
}

func readForm(sent url.Values) form {
	f := newForm(sent.Get("tracking"))
	f["form"] = cmp.Or(sent.Get("form"), f["form"])
	for _, field := range fields() {
		f[field.Name] = strings.TrimSpace(sent.Get(field.Name)) // the keyboards of phones add spaces
	}
	return f
}

// id identifies a sign-up. If the same form comes twice with the same email, it
// is the same sign-up. If it comes with another email, another person used the
// form again from the browser's history.
func (f form) id() string {
	sum := sha256.Sum256([]byte(f["form"] + "\n" + strings.ToLower(f["email"])))
	return hex.EncodeToString(sum[:16])
}

// request returns the lead to register. page is the URL of the landing page
// without its query.
func (f form) request(page url.URL) clixnow.CreateLeadRequest {
	separators := strings.NewReplacer(" ", "", "-", "", ".", "", "/", "", "(", "", ")", "")
	req := clixnow.CreateLeadRequest{
		FirstName: f["firstName"], LastName: f["lastName"], Email: f["email"], CountryCode: f["countryCode"],
		Phone:                    separators.Replace(f["phone"]),
		Password:                 newPassword(),
		LanguageCode:             "EN", // the language of the page
		AcceptTermsAndConditions: f["acceptTermsAndConditions"] != "",
		AcceptPromotions:         f["acceptPromotions"] != "",
	}
	page.RawQuery = f["tracking"]
	// If the tracking is broken, the visitor can still sign up without it.
	if landing, err := clixnow.ParseLandingURL(page.String()); err == nil {
		landing.Apply(&req)
	}
	// The click id of a tracker is kept, because the affiliate is paid by it.
	// Without one, the id of the sign-up is the click id. EnsureLead recognises
	// a lead by its click id.
	req.ClickID = cmp.Or(req.ClickID, f.id())
	return req
}

// newPassword returns a random password. The visitor never sees it, because the
// redirect logs the visitor in, and the brand lets them choose a new one. Its
// first characters satisfy rules about kinds of characters. The rest has 80
// random bits.
func newPassword() string { return "Aa1-" + rand.Text()[:16] }

// check validates a request before it is sent. It adds the rule of this page
// that the terms and conditions must be accepted.
func check(req clixnow.CreateLeadRequest) error {
	invalid := new(clixnow.ValidationError)
	errors.As(req.Validate(), &invalid)
	if !req.AcceptTermsAndConditions {
		invalid.Fields = append(invalid.Fields,
			clixnow.FieldError{Field: "acceptTermsAndConditions", Problem: "must be accepted"})
	}
	if len(invalid.Fields) == 0 {
		return nil
	}
	return invalid
}
