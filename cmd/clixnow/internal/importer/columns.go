package importer

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/clixnow/clixnow-go"
)

// columnNames returns the names of the fields in the API.
func columnNames() []string {
	return strings.Fields(`firstName lastName email phone password countryCode languageCode acceptTermsAndConditions
		acceptPromotions referralUrl subCampaign placement keyword sub2 clickId deviceType deviceName osName browser
		carrier ipAddress comment`)
}

// These are the targets of columns other than the names of columnNames.
const (
	leaveOut = "-"
	// extraPrefix is in front of the name of a further field that a brand asks
	// for.
	extraPrefix = "extra:"
)

// synonyms has a line for each field: its name, and names that other programs
// give to it, as Normalize returns them. They are only suggested, because a
// wrong guess would send wrong leads.
const synonyms = `
firstName first fname givenname forename vorname prenom prénom nombre nome voornaam imie imię förnamn fornavn
firstName имя
lastName last lname surname familyname nachname familienname apellido apellidos cognome sobrenome achternaam
lastName nazwisko efternamn фамилия
email mail emailaddress useremail emailadresse courriel correo correoelectronico correoelectrónico posta
email adresemail почта
phone phonenumber mobile mobilephone mobilenumber cell cellphone tel telephone telefon telefonnummer handy mobil
phone portable telephonenumber téléphone telefono teléfono telefone celular cellulare telefoon msisdn
phone numertelefonu телефон
password pass passwort kennwort motdepasse contraseña contrasena senha wachtwoord hasło haslo пароль
countryCode country land staat pays pais país paese kraj geo countryiso iso2 country/region ländercode laendercode
countryCode landescode landeskürzel codepays страна
languageCode language lang locale sprache langue idioma lingua taal język jezyk язык
referralUrl referrer referer url landingpage pageurl landingpageurl website
subCampaign campaign campaignname campaignid kampagne utmcampaign sub1 subid subid1 affsub
placement adset adsetname adname ad utmcontent
keyword utmterm searchterm suchbegriff
sub2 subid2 affsub2 utmsource source quelle
clickId click klickid klickkennung gclid fbclid msclkid ttclid transactionid cid externalid leadgenid
deviceType device platform gerät
osName os operatingsystem betriebssystem
ipAddress ip ipaddr visitorip userip clientip ipadresse
comment comments note notes notiz notizen bemerkung remark remarks description kommentar commentaire comentario
`

// suggestion returns the field that another program may mean by the name of a
// column. It returns "" if it knows no such field.
func suggestion(column string) string {
	for line := range strings.Lines(synonyms) {
		if names := strings.Fields(line); len(names) > 0 && slices.Contains(names[1:], Normalize(column)) {
			return names[0]
		}
	}
	return ""
}

// columnTargets returns the target of each column of the header: the name of a
// field, leaveOut, or extraPrefix and a name. Its error lists all faults.
func columnTargets(header []string, s settings) ([]string, error) {
	if !isHeader(header) {
		return nil, fmt.Errorf("the first row is not a header: the file must begin with the names of its columns, "+
			"such as %s", strings.Join(missingFields(nil), ","))
	}
	mapping, faults := ReadMapping(header, s.mapping)
	var unknown []string
	targets := make([]string, len(header))
	for i, column := range header {
		target, mapped := mapping[i]
		if !mapped {
			target = column
		}
		switch {
		case target == leaveOut, strings.HasPrefix(target, extraPrefix) && target != extraPrefix:
		case fieldName(target) != "":
			target = fieldName(target)
		case mapped:
			faults = append(faults, fmt.Errorf("--map: %q is not a field of a lead, extra:NAME or -", target))
		case s.ignoreUnknown, column == lineColumn, column == reasonColumn:
			target = leaveOut
		default:
			unknown = append(unknown, column)
		}
		if target != leaveOut && slices.Contains(targets[:i], target) {
			faults = append(faults, fmt.Errorf("two columns are %s", target))
		}
		targets[i] = target
	}
	known := targets
	if unknown != nil {
		var err error
		known, err = unknownColumns(unknown, targets)
		faults = append(faults, err)
	}
	if missing := missingFields(known); len(missing) > 0 {
		faults = append(faults, fmt.Errorf("missing columns %s", strings.Join(missing, ", ")))
	}
	if len(header) == 1 && faults != nil {
		faults = append(faults, errors.New("there is only one column: does the file need --delimiter ';' or "+
			"--delimiter tab, or is its first row a title?"))
	}
	return targets, errors.Join(faults...)
}

// isHeader reports whether a row has names of columns. The first row of a file
// without a header is a lead, and must not be printed.
func isHeader(row []string) bool {
	named := false
	for _, value := range row {
		digits := regexp.MustCompile(`[0-9]`).FindAllString(value, -1)
		if strings.Contains(value, "@") || len(digits) >= 7 || len(value) > 200 {
			return false
		}
		named = named || fieldName(value) != "" || suggestion(value) != "" || strings.HasPrefix(value, extraPrefix)
	}
	return named || len(row) == 1
}

// unknownColumns returns the error of columns that are not fields, with the
// flag that would map them, and all targets with that flag.
func unknownColumns(unknown, targets []string) ([]string, error) {
	const undecided = "?"
	var pairs []string
	for _, column := range unknown {
		target := suggestion(column)
		if target == "" || slices.Contains(targets, target) {
			target = undecided
		}
		pairs = append(pairs, quoted(column+"="+target))
		targets = append(slices.Clip(targets), target)
	}
	return targets, fmt.Errorf("unknown columns: write --map %s if that is right (instead of \"?\" write "+
		"a field, extra:NAME, or - to leave the column out), or leave all of them out with --ignore-unknown; "+
		"\"clixnow import --help\" lists the fields", shellQuoted(strings.Join(pairs, ",")))
}

// ReadMapping reads pairs such as "Mobile=phone", and returns the target for
// the index of each column in them. A column with exactly that name comes
// before columns that differ in case, spaces and hyphens.
func ReadMapping(header, pairs []string) (targets map[int]string, faults []error) {
	targets = make(map[int]string)
	for _, pair := range pairs {
		end := strings.LastIndexByte(pair, '=')
		if end < 0 {
			faults = append(faults, fmt.Errorf("--map: %q is not of the form column=field", pair))
			continue
		}
		column := strings.TrimSpace(pair[:end])
		found := find(header, func(name string) bool { return strings.TrimSpace(name) == column })
		if found == nil {
			found = find(header, func(name string) bool { return Normalize(name) == Normalize(column) })
		}
		switch {
		case len(found) == 0:
			faults = append(faults, fmt.Errorf("--map: there is no column %q", column))
			continue
		case len(found) > 1:
			faults = append(faults,
				fmt.Errorf("--map: %d columns are named %q: write the name exactly as in the file, "+
					"or rename them there", len(found), column))
			continue
		case targets[found[0]] != "":
			faults = append(faults, fmt.Errorf("--map: %q repeats a column", pair))
		}
		targets[found[0]] = strings.TrimSpace(pair[end+1:])
	}
	return targets, faults
}

func find(values []string, matches func(string) bool) (found []int) {
	for i, value := range values {
		if matches(value) {
			found = append(found, i)
		}
	}
	return found
}

// fieldName returns the name of the field that a column header means. It
// returns "" if there is no such field.
func fieldName(column string) string {
	for _, name := range columnNames() {
		if Normalize(name) == Normalize(column) {
			return name
		}
	}
	return ""
}

// Normalize returns the same text for "First Name", "first_name" and
// "firstName".
func Normalize(name string) string {
	tidied, _ := Tidy(name)
	return strings.NewReplacer(" ", "", "_", "", "-", "", ".", "").Replace(strings.ToLower(tidied))
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

// shellQuoted returns text as one word of a shell.
func shellQuoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// quoted returns text as a value of a CSV file.
func quoted(text string) string {
	if strings.ContainsAny(text, "\",\r\n") {
		return `"` + strings.ReplaceAll(text, `"`, `""`) + `"`
	}
	return text
}
