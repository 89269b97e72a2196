package page

import (
	"fmt"
	"os"

	"github.com/pelletier/go-toml/v2"
)

// ReadTexts reads a TOML file of texts. A key may be written as "form.title" or
// as title in the table [form].
func ReadTexts(path string) (map[string]string, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the configuration names the file
	if err != nil {
		return nil, err
	}
	var tables map[string]any
	if err := toml.Unmarshal(data, &tables); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	texts := make(map[string]string)
	if err := flatten(texts, "", tables); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return texts, nil
}

func flatten(texts map[string]string, prefix string, table map[string]any) error {
	for key, value := range table {
		switch value := value.(type) {
		case string:
			texts[prefix+key] = value
		case map[string]any:
			if err := flatten(texts, prefix+key+".", value); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%q must be a text in quotation marks", prefix+key)
		}
	}
	return nil
}

// DefaultTexts returns the texts of the pages by their keys, in English. A file
// of texts can replace any of them. An empty line begins a new paragraph.
//
// The text about a fault of a field is that of "problem.FIELD.CODE", or else of
// "problem.any.CODE". FIELD is the name of the API, and CODE is a
// clixnow.ProblemCode.
func DefaultTexts() map[string]string {
	return map[string]string{
		// lang is the language of the pages, and dir is "rtl" if it is written
		// from right to left.
		"lang": "en",
		"dir":  "ltr",

		"form.title":       "Create your account",
		"form.title_error": "Error: Create your account",
		"form.intro":       "This takes a minute. Then we take you to your new account.",
		"form.choose":      "Choose a country",
		"form.button":      "Create account",
		"form.problems":    "There is a problem",
		"form.error":       "Error:", // screen readers say this before the text about a field
		// form.terms_url makes a link of the label of
		// acceptTermsAndConditions.
		"form.terms_url": "",
		"form.taken": "This page was used before to sign up with other details, and they can no longer be changed. " +
			"If that was you, there is nothing more to do. If you are another person, create your account now.",
		"form.trouble": "We could not save your details, so you may not be signed up yet. Please try again in a minute. " +
			"This never signs you up twice.",

		"label.firstName":                "First name",
		"label.lastName":                 "Last name",
		"label.email":                    "Email address",
		"label.phone":                    "Phone number",
		"label.countryCode":              "Country",
		"label.password":                 "Password",
		"label.acceptTermsAndConditions": "I accept the terms and conditions",
		"label.acceptPromotions":         "Send me news and offers (optional)",
		"hint.phone":                     "With the country code if it is not a number of this country, like +41\u00a079\u00a0555\u00a001\u00a002",

		"problem.any.missing":          "Fill in this field",
		"problem.any.email":            "Enter an email address like name@example.com",
		"problem.any.password_length":  "Enter a password of at least 8 characters",
		"problem.any.password_special": "Enter a password with a character that is neither a letter nor a digit",
		"problem.any.two_letters":      "Enter a code of two letters",
		"problem.any.url":              "Enter an address that begins with https://",
		"problem.any.too_long":         "Enter a shorter text",
		"problem.any.utf8":             "Enter this again: it has characters that cannot be read",
		"problem.any.not_encodable":    "Enter this again: it cannot be sent",
		"problem.any.reserved":         "Leave this field out",
		"problem.any.out_of_range":     "Enter another value: this one is too small or too large",
		"problem.any.unknown_value":    "Enter another value: this one is unknown",
		"problem.any.other":            "Enter another value",

		"problem.firstName.missing":                "Enter your first name",
		"problem.lastName.missing":                 "Enter your last name",
		"problem.email.missing":                    "Enter an email address like name@example.com",
		"problem.phone.missing":                    "Enter your phone number",
		"problem.phone.impossible":                 "Enter a phone number with its country code, like +41\u00a079\u00a0555\u00a001\u00a002",
		"problem.countryCode.missing":              "Choose your country",
		"problem.acceptTermsAndConditions.missing": "Accept the terms and conditions",
		"problem.countryCode.country_not_accepted": "We are sorry: people from this country cannot sign up here",

		"pending.title": "We are finishing your registration",
		"pending.text": "This can take a minute or two. This page updates itself. Please do not sign up again.\n\n" +
			"Your registration is finished even if you leave this page.",
		"pending.long": "This takes longer than usual, and you do not need to wait. Please do not sign up again.\n\n" +
			"Your registration is finished even if you leave this page. We will be in touch by email or phone.",
		"pending.busy":    "Registration",
		"pending.again":   "Check now",
		"pending.correct": "Correct my details",

		"registered.title": "Thank you, you are signed up",
		"registered.text":  "We will be in touch by email or phone. There is nothing more to do here.",

		"doubtful.title": "We are checking your registration",
		"doubtful.text": "Your registration needs a person to look at it. Please do not sign up again.\n\n" +
			"We will be in touch by email or phone. You can leave this page.",

		"refused.title": "You are not signed up",
		"refused.text":  "Please go back, correct your details if you can, and send them again.",
		"refused.invalid": "Our partner cannot accept these details. " +
			"Please check your email address, your phone number and your country.",
		"refused.duplicate": "This email address or phone number is already registered. You do not need to sign up again.",
		"refused.country":   "We are sorry: people from this country cannot sign up here",
		"refused.other": "Sign-up is not possible at the moment. This is our fault, not yours. " +
			"You are not signed up yet. Please try again later.",

		"invalid.title": "You are not signed up yet",
		"invalid.text":  "Please go back, correct these details, and send them again.",

		"taken.title": "These details can no longer be changed",
		"taken.text": "This page was used before to sign up with other details.\n\n" +
			"If that was you, there is nothing more to do. If you are another person, please open the form again.",

		"unreadable.title": "We could not read the form",
		"unreadable.text":  "You are not signed up yet. Please fill in the form again.",

		"not_found.title": "There is no registration to show",
		"not_found.text": "The address of this page works for a day, and only until you correct your details.\n\n" +
			"If you have signed up, look for an email first.",

		"forbidden.title": "This form cannot be used from here",
		"forbidden.text":  "You are not signed up yet. Please open the form again and fill it in.",

		"limited.title": "Please wait a minute",
		"limited.text":  "Many sign-ups have come from your network, so you are not signed up yet. Please try again in a minute.",

		"trouble.title": "Something went wrong on our side",
		"trouble.text":  "Please try again in a minute. Trying again never signs you up twice.",

		"home": "Go to the form",
	}
}
