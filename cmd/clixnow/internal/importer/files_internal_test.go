package importer

import (
	"archive/zip"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/xuri/excelize/v2"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"

	"github.com/clixnow/clixnow-go"
)

const (
	plainHeader = "firstName,lastName,email,phone,password,countryCode,clickId\n"
	plainRow    = "Chloé,Müller,chloe@example.com,+41795550190,Secret-1!,CH,click-1\n"
	plain       = plainHeader + plainRow
)

// plainLead is the lead of plainRow.
func plainLead() clixnow.CreateLeadRequest {
	return clixnow.CreateLeadRequest{
		FirstName: "Chloé", LastName: "Müller", Email: "chloe@example.com", Phone: "+41795550190",
		Password: "Secret-1!", CountryCode: "CH", ClickID: "click-1",
	}
}

func encode(t *testing.T, to encoding.Encoding, text string) string {
	t.Helper()
	encoded, err := to.NewEncoder().String(text)
	require.NoError(t, err)
	return encoded
}

// replace replaces parts of plain.
func replace(oldNew ...string) string { return strings.NewReplacer(oldNew...).Replace(plain) }

// phones returns a file with a row for each phone.
func phones(numbers ...string) string {
	var text strings.Builder
	text.WriteString(plainHeader)
	for i, number := range numbers {
		fmt.Fprintf(&text, "Chloé,Müller,chloe%d@example.com,%s,Secret-1!,CH,click-%d\n", i, number, i)
	}
	return text.String()
}

// workbook returns an .xlsx file with one sheet, "Leads".
func workbook(t *testing.T, rows ...[]any) string {
	t.Helper()
	book := excelize.NewFile()
	defer func() { assert.NoError(t, book.Close()) }()
	require.NoError(t, book.SetSheetName("Sheet1", "Leads"))
	for i, row := range rows {
		require.NoError(t, book.SetSheetRow("Leads", fmt.Sprintf("A%d", i+1), &row))
	}
	var file bytes.Buffer
	require.NoError(t, book.Write(&file))
	return file.String()
}

func cells(csvRow string) (row []any) {
	for value := range strings.SplitSeq(strings.TrimSpace(csvRow), ",") {
		row = append(row, value)
	}
	return row
}

// TestFiles reads the kinds of files that spreadsheets, CRMs and ad platforms
// export.
func TestFiles(t *testing.T) {
	t.Parallel()
	type change = func(*clixnow.CreateLeadRequest)
	same := func(*clixnow.CreateLeadRequest) {}
	utf16le := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM)
	utf16be := unicode.UTF16(unicode.BigEndian, unicode.UseBOM)
	utf16leWithoutMark := unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)
	tabs := strings.ReplaceAll(plain, ",", "\t")
	semicolons := strings.ReplaceAll(plain, ",", ";")
	numbers := cells(plainRow)
	numbers[3] = 41795550190
	lineBreak := cells(plainRow)
	lineBreak[0] = "Chloé\nAnne"
	tests := map[string]struct {
		content string
		flags   settings
		// format is a part of what is told about the file.
		format string
		// rows is the number of rows. 0 means 1.
		rows int
		// lead is the change from plainLead to the first lead. Nil means that
		// the first row cannot be sent.
		lead change
		// problems and dropped are what is wrong with the rows.
		problems, dropped []string
		// err is a part of the error. "" means none.
		err string
	}{
		"CSV":                       {content: plain, format: `CSV, UTF-8, columns separated by ','`, lead: same},
		"without a last line break": {content: strings.TrimSpace(plain), lead: same},
		"Excel, CSV UTF-8":          {content: "\uFEFF" + replace("\n", "\r\n"), format: "UTF-8", lead: same},
		"Excel, German":             {content: semicolons, format: `separated by ';'`, lead: same},
		"Excel, sep=;":              {content: "sep=;\r\n" + semicolons, format: `separated by ';'`, lead: same},
		"Excel, sep=; and a mark": {
			content: "\uFEFFsep=;\r\n" + semicolons, format: `separated by ';'`,
			lead: same,
		},
		"Excel, sep=;, CR":      {content: strings.ReplaceAll("sep=;\n"+semicolons, "\n", "\r"), lead: same},
		"Excel, text with tabs": {content: tabs, format: `separated by '\t'`, lead: same},
		"pipes": {
			content: strings.ReplaceAll(plain, ",", "|"), format: `separated by '|'`,
			lead: same,
		},
		"given delimiter": {
			content: strings.ReplaceAll(plain, ",", "^"), flags: settings{delimiter: '^'},
			lead: same,
		},
		"Excel, Unicode text":     {content: encode(t, utf16le, tabs), format: "UTF-16LE", lead: same},
		"UTF-16BE":                {content: encode(t, utf16be, plain), format: "UTF-16BE", lead: same},
		"UTF-16LE without a mark": {content: encode(t, utf16leWithoutMark, plain), format: "UTF-16LE", lead: same},
		"UTF-16LE, CR": {
			content: encode(t, utf16le, replace("\n", "\r")), format: "UTF-16LE",
			lead: same,
		},
		"Excel, Windows": {
			content: encode(t, charmap.Windows1252, semicolons), format: "Windows-1252",
			lead: same,
		},
		"Windows, after 64 KiB": {content: plain + strings.Repeat(plainRow, 1000)[:64<<10] + "\n" + encode(t,
			charmap.Windows1252, plainRow), err: "columns"},
		"Excel for Mac, CR": {content: replace("\n", "\r"), lead: same},
		"all values quoted": {content: replace(",", `","`, "firstName", `"firstName`, "clickId\n",
			"clickId\"\n", "Chloé", `"Chloé`, "click-1\n", "click-1\"\n"), lead: same},
		"empty columns at the end": {content: replace("\n", ",,,\n"), lead: same},
		"lines of commas": {
			content: plainHeader + ",,,,,,\n\n   \n" + plainRow + ",,,,,,\n, ,,,,,\n",
			lead:    same,
		},
		"empty lines before":  {content: "\n\n" + plain, lead: same},
		"empty file":          {err: "is empty"},
		"line of spaces":      {content: "   \n", err: "has no rows, only empty lines"},
		"commas":              {content: ",,,,\n", err: "has no rows, only empty lines"},
		"header only":         {content: plainHeader, err: "the file has a header, but no rows"},
		"header and commas":   {content: plainHeader + ",,,,,,\n", err: "the file has a header, but no rows"},
		"no header":           {content: plainRow, err: "the first row is not a header"},
		"no header, no email": {content: "Chloé,Müller,Secret-1!,CH\n", err: "the first row is not a header"},
		"letters of a font": {
			content: "Chloé,Müller,Secret-1!,CH,click-LP\n",
			err:     "the first row is not a header",
		},
		"title before the header": {content: "Leads of November\n" + plain, err: "or is its first row a title?"},
		"short row": {
			content: plain + "Chloé,Müller\n",
			err:     "line 3: the row has 2 columns, but the header has 7",
		},
		"long row": {
			content: plain + strings.TrimSpace(plainRow) + ",x\n",
			err:     "line 3: the row has 8 columns",
		},
		"quote in a value": {
			content: replace("Müller", `Mül"ler`),
			err:     `line 2, column 12: bare " in non-quoted-field; check the quotation marks`,
		},
		"quote after a value": {
			content: replace("Müller", `"Mül"ler`),
			err:     `line 2, column 13: extraneous or missing "`,
		},
		"quote that is not closed": {
			content: plain + `"` + plainRow,
			err:     `line 3, column 69: extraneous or missing " in quoted-field`,
		},
		"quote, megabytes": {
			content: plain + `"` + strings.Repeat(plainRow, 20_000),
			err:     "a row is longer than 1 MiB",
		},
		"stray quotes": {
			content: plain + `"` + plainRow + plainRow + plainRow + replaceRow("Chloé",
				`Chloé"`),
			err: "line 3: a value of column 1 (firstName) has a line break. " +
				"A quotation mark (\") is probably not closed, so that lines 3 to 6 became one row",
		},
		"stray quotes, password": {
			content: plain + replaceRow("Secret",
				`"Secret`) + plainRow + replaceRow("Secret-1!", `Secret-1!"`),
			err: "line 3: a value of column 5 (password) has a line break",
		},
		"stray quotes, comment": {content: strings.ReplaceAll(plain, "clickId", "comment") + replaceRow("click",
			`"click`) + plainRow + replaceRow("\n", "\"\n"), err: "lines 3 to 5 became one row"},
		"comment of two lines": {
			content: strings.ReplaceAll(plain, "clickId",
				"comment") + replaceRow("click-1", "\"one\ntwo\"", "chloe@",
				"anna@", "0190", "0191"), rows: 2,
			lead: func(r *clixnow.CreateLeadRequest) { r.ClickID, r.Comment = "", "click-1" },
		},
		"two columns with one name": {content: replace("clickId", "Email"), err: "two columns are email"},
		"old .xls": {
			content: "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + strings.Repeat("x", 600),
			err:     "old .xls workbook",
		},
		"HTML as .xls": {
			content: "<html><table><tr><td>firstName</td></tr></table>",
			err:     "it looks like text/html",
		},
		"PDF":  {content: "%PDF-1.7\nxx", err: "it looks like application/pdf"},
		"gzip": {content: "\x1f\x8b\x08xxxxxxx", err: "it looks like application/x-gzip"},
		"JSON": {content: `[{"email":"chloe@example.com"}]`, err: "the file is JSON"},
		"UTF-32": {
			content: encode(t, utf32.UTF32(utf32.LittleEndian, utf32.UseBOM), plain),
			err:     "UTF-32",
		},
		"zip":                {content: zipOf(t, "leads.csv"), err: "no .xlsx workbook"},
		"half of a workbook": {content: workbook(t, cells(plainHeader))[:2000], err: "no .xlsx workbook"},
		"workbook": {
			content: workbook(t, cells(plainHeader), cells(plainRow)),
			format:  `.xlsx, sheet "Leads" of 1`, lead: same,
		},
		"workbook, phone as number": {
			content: workbook(t, cells(plainHeader), numbers),
			flags:   settings{defaultCountry: "CH"}, lead: same,
		},
		"workbook, empty rows": {
			content: workbook(t, nil, cells(plainHeader), nil, cells(plainRow), nil),
			lead:    same,
		},
		"workbook, short rows": {
			content: workbook(t, cells(plainHeader), cells(plainRow)[:6]),
			lead:    func(r *clixnow.CreateLeadRequest) { r.ClickID = "" },
		},
		"workbook, booleans": {content: workbook(t, append(cells(plainHeader), "acceptPromotions"),
			append(cells(plainRow), true)), lead: func(r *clixnow.CreateLeadRequest) { r.AcceptPromotions = true }},
		"workbook, line break": {
			content:  workbook(t, cells(plainHeader), lineBreak),
			problems: []string{"1 × firstName has a line break"},
		},
		"workbook, other sheet": {
			content: workbook(t, cells(plainHeader)), flags: settings{sheet: "Sheet9"},
			err: `no sheet "Sheet9"; it has ["Leads"]`,
		},
		"workbook, header only": {
			content: workbook(t, cells(plainHeader)),
			err:     "the file has a header, but no rows",
		},
		"empty workbook": {content: workbook(t), err: "has no rows"},
		"German CRM": {
			content: replace("firstName", "Vorname", "lastName", "Nachname",
				"countryCode", "Land"),
			err: "unknown columns: write --map 'Vorname=firstName,Nachname=lastName,Land=countryCode'",
		},
		"German tracker": {
			content: replace("clickId", "Klick-ID,SubID,Alter", "countryCode", "Ländercode", "click-1", "1,2,3"),
			err:     "write --map 'Ländercode=countryCode,Klick-ID=clickId,SubID=subCampaign,Alter=?' if",
		},
		"HubSpot": {content: replace("firstName", "First Name", "phone", "Phone Number",
			"countryCode", "Country/Region"), err: `write --map 'Phone Number=phone,Country/Region=countryCode'`},
		"Mailchimp": {
			content: replace("email,", "Email Address,", "firstName", "First Name",
				"lastName", "Last Name", "clickId", "MEMBER_RATING"),
			err: `write --map 'Email Address=email,MEMBER_RATING=?'`,
		},
		"Facebook lead ads": {content: encode(t, utf16le,
			strings.ReplaceAll(replace("phone", "phone_number", "+41795550190", "p:+41795550190", "clickId", "id"),
				",", "\t")), flags: settings{mapping: []string{"phone_number=phone", "id=clickId"}}, lead: same},
		"Google Ads": {content: replace("clickId", "Gclid", "email,", "User Email,", "click-1",
			"Cj0KCQiA"), err: "Gclid=clickId'"},
		"column name with a comma": {
			content: replace("phone", `"Phone, mobile"`),
			err:     `write --map '"Phone, mobile=?"'`,
		},
		"leading apostrophe": {content: replace("+41795550190", "'+41795550190"), lead: same},
		"formula for text": {
			content: replace("+41795550190", `"=""0795550190"""`),
			flags:   settings{defaultCountry: "CH"}, lead: same,
		},
		"invisible characters": {content: replace("Chloé", "\u200bChlo\u00adé\u00a0", "chloe@",
			"\u202achloe\u200d@", "CH,", "ch\u200e,"), lead: same},
		"password with spaces": {
			content: replace("Secret-1!", " Secret-1! "),
			lead:    func(r *clixnow.CreateLeadRequest) { r.Password = " Secret-1! " },
		},
		"lost characters": {
			content:  replace("Müller", "M\uFFFDller"),
			problems: []string{"1 × lastName has a character that was lost when the file was converted"},
		},
		"errors of formulas": {
			content:  replace("Müller", "#NV!", "click-1", "#N/A"),
			problems: []string{"1 × lastName is an error of a spreadsheet"},
			dropped:  []string{"1 × clickId is an error of a spreadsheet"},
		},
		"column too narrow": {
			content:  replace("+41795550190", "########"),
			problems: []string{"1 × phone is an error of a spreadsheet"},
		},
		"German booleans": {
			content: strings.ReplaceAll(strings.ReplaceAll(plain, "clickId",
				"acceptPromotions"), "click-1", "WAHR"),
			lead: func(r *clixnow.CreateLeadRequest) { r.ClickID, r.AcceptPromotions = "", true },
		},
		"country by name": {
			content:  replace("CH,", "Schweiz,"),
			problems: []string{"1 × countryCode must be two letters: write CH, or give --fix-countries"},
		},
		"country by name, fixed": {
			content: replace("CH,", "SWITZERLAND,"), flags: settings{fixCountries: true},
			lead: same,
		},
		"country by three letters": {
			content: replace("CH,", "che,"), flags: settings{fixCountries: true},
			lead: same,
		},
		"country that does not exist": {
			content: replace("CH,", "Atlantis,"), flags: settings{fixCountries: true},
			problems: []string{"1 × countryCode must be two letters"},
		},
		"macro": {
			content: replace("click-1", "{gclid}"),
			lead:    func(r *clixnow.CreateLeadRequest) { r.ClickID = "" },
			dropped: []string{"1 × clickId is a macro that the tracker did not fill in"},
		},
		"rounded click id": {
			content: replace("click-1", "1.23457E+18"),
			lead:    func(r *clixnow.CreateLeadRequest) { r.ClickID = "" },
			dropped: []string{"1 × clickId was damaged: a spreadsheet has rounded this number"},
		},
		"language of a browser": {
			content: replace("clickId", "languageCode", "click-1", "de-CH"),
			lead:    func(r *clixnow.CreateLeadRequest) { r.ClickID = "" },
			dropped: []string{"1 × languageCode must be two letters"},
		},
		"URL of an app": {
			content: replace("clickId", "referralUrl", "click-1",
				"android-app://com.example"), lead: func(r *clixnow.CreateLeadRequest) { r.ClickID = "" },
			dropped: []string{"1 × referralUrl must be an absolute http or https URL"},
		},
		"extra field": {
			content: replace("clickId", "Age", "click-1", "42"),
			flags:   settings{mapping: []string{"age=extra:age"}},
			lead:    func(r *clixnow.CreateLeadRequest) { r.ClickID, r.Extra = "", map[string]any{"age": "42"} },
		},
		"damaged phones": {
			content: phones("4.17956E+10", `"4,17956E+10"`, "n/a", "795550190", "41795550182.0", "12",
				"+41795550190/+41795550191", "call me"), rows: 8,
			problems: []string{
				"3 × phone has no country code: write it like +41795550190, or give --default-country",
				"3 × phone must be one phone number", "2 × phone was damaged: a spreadsheet has rounded this number",
			},
		},
		"refused rows of an earlier import": {
			content: "\uFEFF" + replace("clickId", "clickId,import_line,import_reason", "+41795550190",
				"'+41795550190", "Secret", "'=Secret", "click-1", "click-1,2,no"),
			lead: func(r *clixnow.CreateLeadRequest) { r.Password = "=Secret-1!" },
		},
	}
	require.GreaterOrEqual(t, len(tests), 40)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.flags.file = filepath.Join(t.TempDir(), "leads.csv")
			require.NoError(t, os.WriteFile(test.flags.file, []byte(test.content), 0o600))
			rows, err := openLeads(test.flags)
			var found survey
			if err == nil {
				defer func() { assert.NoError(t, rows.file.Close()) }()
				found, err = rows.survey(nil)
			}
			if test.err != "" {
				require.ErrorContains(t, err, test.err)
				assert.NotContains(t, err.Error(), "Secret-1!")
				assert.NotContains(t, err.Error(), "chloe@")
				return
			}
			require.NoError(t, err)
			assert.Contains(t, rows.file.Format, test.format)
			assert.Equal(t, max(1, test.rows), found.rows)
			assert.Equal(t, test.problems, trimmed(counts(found.problems)))
			assert.Equal(t, test.dropped, trimmed(counts(found.dropped)))
			if test.lead == nil {
				assert.NotNil(t, found.first[0].fault)
				return
			}
			want := plainLead()
			test.lead(&want)
			assert.Equal(t, want, found.first[0].lead)
			assert.Nil(t, found.first[0].fault)
		})
	}
}

func replaceRow(oldNew ...string) string { return strings.NewReplacer(oldNew...).Replace(plainRow) }

func trimmed(lines []string) (all []string) {
	for _, line := range lines {
		all = append(all, strings.TrimSpace(line))
	}
	return all
}

func zipOf(t *testing.T, name string) string {
	t.Helper()
	var file bytes.Buffer
	archive := zip.NewWriter(&file)
	_, err := archive.Create(name)
	require.NoError(t, err)
	require.NoError(t, archive.Close())
	return file.String()
}
