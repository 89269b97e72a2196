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

// field is a field of a request. Its name is the name in the API. The error of
// set says what the value must be, and does not contain the value.
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
		// A password may begin or end with a space.
		{"password", func(value string) error { r.Password = value; return nil }},
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
			return errors.New("must be an IPv4 or IPv6 address") // err is left out, because it contains the value
		}
		return nil
	}
}

// These are the targets of columns other than the names of columnNames.
const (
	leaveOut = "-"
	// extraPrefix is in front of the name of a further field that a brand asks
	// for.
	extraPrefix = "extra:"
)

// columnTargets returns the target of each column of the header: the name of a
// field, leaveOut, or extraPrefix and a name. Its error lists all faults.
func columnTargets(header []string, s settings) ([]string, error) {
	mapping, err := parseMapping(s.mapping)
	if err != nil {
		return nil, err
	}
	var faults []error
	var unknown []string
	targets := make([]string, len(header))
	for i, column := range header {
		target, mapped := mapping[normalize(column)]
		delete(mapping, normalize(column))
		if !mapped {
			target = column
		}
		switch {
		case target == leaveOut, strings.HasPrefix(target, extraPrefix) && target != extraPrefix:
		case fieldName(target) != "":
			target = fieldName(target)
		case mapped:
			faults = append(faults, fmt.Errorf("-map: %q is not a field of a lead", target))
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
			fmt.Errorf("unknown columns %s: map them with -map, or leave them out with -ignore-unknown; "+
				"the known columns are %s", strings.Join(unknown, ", "), strings.Join(columnNames(), ", ")))
	}
	for column := range mapping {
		faults = append(faults, fmt.Errorf("-map: there is no column %q", column))
	}
	if missing := missingFields(targets); len(missing) > 0 {
		faults = append(faults, fmt.Errorf("missing columns %s", strings.Join(missing, ", ")))
	}
	if len(header) == 1 && faults != nil {
		faults = append(faults, errors.New("there is only one column: does the file need -comma ';' or -comma tab?"))
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
		if _, repeated := mapping[normalize(column)]; !ok || repeated {
			return nil, fmt.Errorf("-map: %q is not of the form column=field, or repeats a column", pair)
		}
		mapping[normalize(column)] = strings.TrimSpace(target)
	}
	return mapping, nil
}

// fieldName returns the name of the field that a column header means. It
// returns "" if there is no such field.
func fieldName(column string) string {
	for _, name := range columnNames() {
		if normalize(name) == normalize(column) {
			return name
		}
	}
	return ""
}

// normalize returns the same text for "First Name", "first_name" and
// "firstName".
func normalize(name string) string {
	return strings.NewReplacer(" ", "", "_", "", "-", "").Replace(strings.ToLower(strings.TrimSpace(name)))
}

// missingFields returns the mandatory fields that have no column. It takes them
// from the validation of an empty request.
func missingFields(targets []string) (names []string) {
	if fault, ok := errors.AsType[*clixnow.ValidationError](clixnow.CreateLeadRequest{}.Validate()); ok {
		for _, f := range fault.Fields {
			if !slices.Contains(targets, f.Field) {
				names = append(names, f.Field)
			}
		}
	}
	return names
}
