package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/clixnow/clixnow-go"
)

// field is a field of a request, by its name on the wire. The error of set says
// what the value must be, and does not repeat it.
type field struct {
	name string
	set  func(value string) error
}

func fields(r *clixnow.CreateLeadRequest) []field {
	return []field{
		{"firstName", text(&r.FirstName)},
		{"lastName", text(&r.LastName)},
		{"email", text(&r.Email)},
		{"phone", text(&r.Phone)},
		{"password", func(value string) error { r.Password = value; return nil }}, // a blank may belong to it
		{"countryCode", text(&r.CountryCode)},
		{"languageCode", text(&r.LanguageCode)},
		{"acceptTermsAndConditions", yesOrNo(&r.AcceptTermsAndConditions)},
		{"acceptPromotions", yesOrNo(&r.AcceptPromotions)},
		{"referralUrl", text(&r.ReferralURL)},
		{"subCampaign", text(&r.SubCampaign)},
		{"placement", text(&r.Placement)},
		{"keyword", text(&r.Keyword)},
		{"sub2", text(&r.Sub2)},
		{"clickId", text(&r.ClickID)},
		{"deviceType", text(&r.DeviceType)},
		{"deviceName", text(&r.DeviceName)},
		{"osName", text(&r.OSName)},
		{"browser", text(&r.Browser)},
		{"carrier", text((*string)(&r.Carrier))},
		{"ipAddress", address(&r.IPAddress)},
		{"comment", text(&r.Comment)},
	}
}

func columnNames() []string {
	var names []string
	for _, f := range fields(new(clixnow.CreateLeadRequest)) {
		names = append(names, f.name)
	}
	return names
}

func text(into *string) func(string) error {
	return func(value string) error {
		*into = strings.TrimSpace(value)
		return nil
	}
}

func yesOrNo(into *bool) func(string) error {
	return func(value string) error {
		switch strings.ToLower(strings.TrimSpace(value)) {
		case "true", "yes", "y", "1":
			*into = true
		case "", "false", "no", "n", "0":
		default:
			return errors.New("must be true or false, yes or no, 1 or 0")
		}
		return nil
	}
}

func address(into *netip.Addr) func(string) error {
	return func(value string) (err error) {
		if value = strings.TrimSpace(value); value == "" {
			return nil
		}
		if *into, err = netip.ParseAddr(value); err != nil {
			return errors.New("must be an IPv4 or IPv6 address") // without the value, which the cause repeats
		}
		return nil
	}
}

// Targets of columns that are no field of ours.
const (
	leaveOut    = "-"
	extraPrefix = "extra:" // a further field that a brand asks for
)

// targetsOf says where each column of the header goes. All that is wrong is
// told at once.
func targetsOf(header []string, s settings) ([]string, error) {
	mapping, err := parseMapping(s.mapping)
	if err != nil {
		return nil, err
	}
	var faults []error
	var unknown []string
	targets := make([]string, len(header))
	for i, column := range header {
		target, mapped := mapping[plain(column)]
		delete(mapping, plain(column))
		if !mapped {
			target = column
		}
		switch {
		case target == leaveOut, strings.HasPrefix(target, extraPrefix) && target != extraPrefix:
		case knownAs(target) != "":
			target = knownAs(target)
		case mapped:
			faults = append(faults, fmt.Errorf("-map: %q is no field of a lead", target))
		case s.ignoreUnknown:
			target = leaveOut
		default:
			unknown = append(unknown, strconv.Quote(column))
		}
		if target != leaveOut && slices.Contains(targets[:i], target) {
			faults = append(faults, fmt.Errorf("two columns are %s", target))
		}
		targets[i] = target
	}
	if len(unknown) > 0 {
		faults = append(faults,
			fmt.Errorf("unknown columns %s: name them by -map or leave them out by -ignore-unknown; known are %s",
				strings.Join(unknown, ", "), strings.Join(columnNames(), ", ")))
	}
	for column := range mapping {
		faults = append(faults, fmt.Errorf("-map: there is no column %q", column))
	}
	if missing := missingFrom(targets); len(missing) > 0 {
		faults = append(faults, fmt.Errorf("missing columns %s", strings.Join(missing, ", ")))
	}
	if len(header) == 1 && faults != nil {
		faults = append(faults, errors.New("there is only one column: is it -comma ';' or -comma tab?"))
	}
	return targets, errors.Join(faults...)
}

// parseMapping reads "First=firstName,Mobile=phone".
func parseMapping(flag string) (map[string]string, error) {
	mapping := make(map[string]string)
	if flag == "" {
		return mapping, nil
	}
	for pair := range strings.SplitSeq(flag, ",") {
		column, target, ok := strings.Cut(pair, "=")
		if _, twice := mapping[plain(column)]; !ok || twice {
			return nil, fmt.Errorf("-map: %q is not of the form column=field, or names a column again", pair)
		}
		mapping[plain(column)] = strings.TrimSpace(target)
	}
	return mapping, nil
}

func knownAs(column string) string {
	for _, name := range columnNames() {
		if plain(name) == plain(column) {
			return name
		}
	}
	return ""
}

// plain is a name as people write it in many ways: "First Name", "first_name",
// "firstName".
func plain(name string) string {
	return strings.NewReplacer(" ", "", "_", "", "-", "").Replace(strings.ToLower(strings.TrimSpace(name)))
}

// missingFrom lists what no lead can be without: the SDK knows it.
func missingFrom(targets []string) (names []string) {
	if fault, ok := errors.AsType[*clixnow.ValidationError](clixnow.CreateLeadRequest{}.Validate()); ok {
		for _, f := range fault.Fields {
			if !slices.Contains(targets, f.Field) {
				names = append(names, f.Field)
			}
		}
	}
	return names
}
