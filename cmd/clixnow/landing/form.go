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

// field is one field of the form. Its name is that of the API, by which the
// faults of SDK and API find it.
type field struct {
	Name, Label, Hint, Type, Autocomplete string
	Fault                                 string   // what to say when it is missing or cannot be right
	Options                               []option // of a select
	Value, Problem                        string   // as they are shown
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
			Options: []option{ // those that your campaign is aimed at
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

// form is what a visitor sent, by the names of the fields, and two hidden ones:
// "form", which is made anew for each form that is shown, and "tracking", the
// query of the URL of the visit.
type form map[string]string

func newForm(tracking string) form {
	const longest = 4 << 10 // bytes; a tampered one must not fill our memory, nor a lead
	if len(tracking) > longest {
		tracking = ""
	}
	return form{"form": rand.Text(), "tracking": tracking}
}

func readForm(sent url.Values) form {
	f := newForm(sent.Get("tracking"))
	f["form"] = cmp.Or(sent.Get("form"), f["form"])
	for _, field := range fields() {
		f[field.Name] = strings.TrimSpace(sent.Get(field.Name)) // the keyboards of phones add blanks
	}
	return f
}

// id names a sign-up: the same email in the same form is the same sign-up, sent
// twice. Another email is another person, who came back to the form by the
// browser's history.
func (f form) id() string {
	sum := sha256.Sum256([]byte(f["form"] + "\n" + strings.ToLower(f["email"])))
	return hex.EncodeToString(sum[:16])
}

// request returns the lead to register, for a page of this address.
func (f form) request(page url.URL) clixnow.CreateLeadRequest {
	req := clixnow.CreateLeadRequest{
		FirstName: f["firstName"], LastName: f["lastName"], Email: f["email"], CountryCode: f["countryCode"],
		Phone: strings.NewReplacer(" ", "", "-", "", ".", "", "/", "", "(", "", ")",
			"").Replace(f["phone"]),
		Password:                 newPassword(),
		LanguageCode:             "EN", // of the page
		AcceptTermsAndConditions: f["acceptTermsAndConditions"] != "",
		AcceptPromotions:         f["acceptPromotions"] != "",
	}
	page.RawQuery = f["tracking"]
	if landing, err := clixnow.ParseLandingURL(page.String()); err == nil { // broken tracking must not cost the sign-up
		landing.Apply(&req)
	}
	// The click id of a tracker is passed on: the affiliate is paid by it, and
	// trackers make one for each click. Without one, ours tells EnsureLead that
	// a lead is this sign-up. It is as unique as the sign-up, where a shared
	// link's may not be.
	req.ClickID = cmp.Or(req.ClickID, f.id())
	return req
}

// newPassword makes a password that the visitor never sees: the redirect logs
// them in, and the brand lets them choose another. Its first characters satisfy
// any rule about kinds of characters; the rest are 80 random bits.
func newPassword() string { return "Aa1-" + rand.Text()[:16] }

// check returns what is wrong with a request before it is sent: what the SDK
// finds, and what this page asks for besides.
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
