package importer

import (
	"cmp"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/importer/sheet"
)

func TestColumns(t *testing.T) {
	t.Parallel()
	const mandatory = "firstName,lastName,email,phone,password,countryCode"
	tests := map[string]struct {
		header string
		flags  settings
		// want is the list of targets. It is "" if there are faults.
		want   string
		faults []string
	}{
		"wire names": {header: mandatory + ",clickId", want: mandatory + ",clickId"},
		"other spellings": {
			header: "FIRST NAME,last_name,E-Mail, phone ,Password,Country Code,sub_campaign",
			want:   mandatory + ",subCampaign",
		},
		"mapped": {
			header: "First,Last,email,Mobile,password,countryCode,Age,Notes",
			flags:  settings{mapping: pairs("first=firstName, LAST = Last Name,Mobile=phone,Age=extra:age,Notes=-")},
			want:   mandatory + ",extra:age,-",
		},
		"a known name mapped elsewhere": {
			header: mandatory + ",comment", flags: settings{mapping: pairs("comment=keyword")},
			want: mandatory + ",keyword",
		},
		"unknown left out": {
			header: mandatory + ",age,,notes", flags: settings{ignoreUnknown: true},
			want: mandatory + ",-,-,-",
		},
		"unknown": {
			header: mandatory + ",age,notes",
			faults: []string{
				`unknown columns: write --map 'age=?,notes=comment'`, "--ignore-unknown",
				"--help",
			},
		},
		"missing": {
			header: "email,firstName,lastName",
			faults: []string{"missing columns phone, password, countryCode"},
		},
		"repeated": {header: mandatory + ",E-mail", faults: []string{"two columns are email"}},
		"repeated, the second one left out": {
			header: mandatory + ",E-mail", flags: settings{mapping: pairs("E-mail=-")},
			want: mandatory + ",-",
		},
		"repeated, the first one left out": {
			header: "E-mail," + mandatory, flags: settings{mapping: pairs("E-mail=-")},
			want: "-," + mandatory,
		},
		"repeated by the mapping": {
			header: mandatory + ",Mobile", flags: settings{mapping: pairs("Mobile=phone")},
			faults: []string{"two columns are phone"},
		},
		"mapped to an unknown field": {
			header: mandatory + ",age", flags: settings{mapping: pairs("age=years")},
			faults: []string{`--map: "years" is not a field of a lead`},
		},
		"suggestion without a decision": {
			header: mandatory + ",age", flags: settings{mapping: pairs("age=?")},
			faults: []string{`--map: "?" is not a field of a lead, extra:NAME or -`},
		},
		"mapped from an unknown column": {
			header: mandatory, flags: settings{mapping: pairs("age=sub2")},
			faults: []string{`--map: there is no column "age"`},
		},
		"mapped twice": {
			header: mandatory, flags: settings{mapping: pairs("phone=phone,Phone=sub2")},
			faults: []string{"repeats a column"},
		},
		"mapping without =": {
			header: mandatory, flags: settings{mapping: pairs("phone")},
			faults: []string{`--map: "phone" is not of the form column=field`},
		},
		"extra field without a name": {
			header: mandatory + ",a", flags: settings{mapping: pairs("a=extra:")},
			faults: []string{`"extra:" is not a field`},
		},
		"several faults": {
			header: "email,email,age", flags: settings{mapping: pairs("x=y")},
			faults: []string{
				"two columns are email", "unknown columns: write --map 'age=?'", "there is no column",
				"missing columns firstName",
			},
		},
		"another delimiter": {
			header: strings.ReplaceAll(mandatory, ",", ";"),
			faults: []string{"does the file need --delimiter ';'"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			targets, err := columnTargets(strings.Split(test.header, ","), test.flags)
			if test.faults == nil {
				require.NoError(t, err)
				assert.Equal(t, test.want, strings.Join(targets, ","))
			}
			for _, fault := range test.faults {
				assert.ErrorContains(t, err, fault)
			}
		})
	}
}

func pairs(mapping string) []string { return strings.Split(mapping, ",") }

// TestColumnsAreComplete checks that every field of the API has a column.
func TestColumnsAreComplete(t *testing.T) {
	t.Parallel()
	values := map[string]string{
		"email": "a@example.com", "phone": "+41795550190", "password": "Password123!", "countryCode": "CH",
		"languageCode": "EN", "referralUrl": "https://example.com",
		"acceptTermsAndConditions": "yes", "acceptPromotions": "1", "ipAddress": "192.0.2.1",
	}
	record := sheet.Row{Line: 2}
	for _, name := range columnNames() {
		record.Values = append(record.Values, cmp.Or(values[name], name))
	}
	l := &leads{targets: columnNames(), cleaner: newCleaner(settings{}), mandatory: missingFields(nil)}
	r := l.row(record)
	assert.Nil(t, r.fault)
	assert.Empty(t, r.dropped)
	sent, err := r.lead.MarshalJSON()
	require.NoError(t, err)
	assert.JSONEq(t, `{
		"firstName":"firstName","lastName":"lastName","email":"a@example.com","phone":"+41795550190",
		"password":"Password123!","countryCode":"CH","languageCode":"EN",
		"acceptTermsAndConditions":true,"acceptPromotions":true,"referralUrl":"https://example.com",
		"subCampaign":"subCampaign","placement":"placement","keyword":"keyword","sub2":"sub2","clickId":"clickId",
		"deviceType":"deviceType","deviceName":"deviceName","osName":"osName","browser":"browser","carrier":"carrier",
		"ipAddress":"192.0.2.1","comment":"comment"}`, string(sent))
}

// TestUnreadable checks that a file that cannot be read any more is an error.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	f := newFixture(t, csvOf(1))
	rows, err := openLeads(settings{file: f.file})
	require.NoError(t, err)
	require.NoError(t, rows.file.Close())
	_, err = rows.survey(nil)
	assert.ErrorContains(t, err, "read the leads: read the file: ")
	assert.ErrorIs(t, err, os.ErrClosed)
}

func TestDryRun(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		content, flags, want string
		code                 int
	}{
		"fine": {
			csvOf(3), "",
			"3 rows: 0 invalid, 0 with a value of an earlier row. Nothing was sent.\n", app.CodeDone,
		},
		"byte order mark, CRLF and semicolons": {
			"\uFEFF" + strings.NewReplacer(",", ";", "\n", "\r\n").Replace(csvOf(3)), "",
			"3 rows: 0 invalid, 0 with", app.CodeDone,
		},
		"tabs": {
			strings.ReplaceAll(csvOf(3), ",", "\t"), "",
			"3 rows: 0 invalid, 0 with", app.CodeDone,
		},
		"given delimiter": {
			strings.ReplaceAll(csvOf(3), ",", "\t"), "--delimiter=tab", "3 rows: 0 invalid, 0 with",
			app.CodeDone,
		},
		"invalid row after a row of two lines": {
			strings.ReplaceAll(header, "clickId", "ip address,comment") +
				"\"Allison\",Brown,a@example.com,+41790000001,Password!,CH,,\"two\nlines\"\n" +
				"Allison,Brown,b at home,+41790000002,short,Swiss,300.1.1.1,\n", "",
			"line 4: email must be one bare address\n" +
				"line 4: password must have at least 8 characters\n" +
				"line 4: password must have a character that is neither letter nor digit\n" +
				"line 4: countryCode must be two letters\n" +
				"2 rows: 1 invalid, 0 with a value of an earlier row. Nothing was sent.\n" +
				"No column is clickId: a lead whose response is lost is found by email only.\n" +
				"These optional values are left out:\n" +
				"     1 × ipAddress must be an IPv4 or IPv6 address\n", app.CodeRefused,
		},
		"no click id": {
			strings.ReplaceAll(csvOf(1), "clickId", "sub2"), "",
			"Nothing was sent.\nNo column is clickId: ", app.CodeDone,
		},
		"UTF-8 with a byte that is lost": {
			header + "Andr\uFFFD,Brown,a@example.com,+41790000001,Password!,CH,1\n", "",
			"line 2: firstName has a character that was lost when the file was converted\n1 row: 1 invalid",
			app.CodeRefused,
		},
		"not UTF-8": {
			header + "Andr\xe9,Brown,a@example.com,+41790000001,Password!,CH,1\n", "",
			"CSV, Windows-1252, columns separated by ','\n1 row: 0 invalid", app.CodeDone,
		},
		"neither yes nor no": {
			strings.ReplaceAll(header, "clickId", "acceptPromotions") +
				"Allison,Brown,a@example.com,+41790000001,Password!,CH,maybe\n", "",
			"line 2: acceptPromotions must be true or false, yes or no, 1 or 0\n", app.CodeRefused,
		},
		"repeated values": {
			csvOf(2) +
				"A,B,LEAD1@example.com,0041790000009,Password!,CH,\n" +
				"A,B,c@example.com,+41 79 000 00 02,Password!,CH,click-1\n" +
				"A,B,d@example.com,+41790000008,Password!,CH,\n", "",
			"line 4: email is the same as on line 2\n" +
				"line 5: phone is the same as on line 3, clickId is the same as on line 2\n" +
				"5 rows: 0 invalid, 2 with a value of an earlier row. Nothing was sent.\n", app.CodeRefused,
		},
		"rows with a wrong number of columns": {
			csvOf(1) + "A,B\n" + csvOf(1)[len(header):] + "A,B,C,D,E,F,G,H\n", "",
			"clixnow: line 3: the row has 2 columns, but the header has 7; " +
				"line 5: the row has 8 columns, but the header has 7\n",
			app.CodeUsage,
		},
		"broken quotes": {
			csvOf(1) + `A,"B"B,`, "",
			`clixnow: read the leads: line 3, column 5: extraneous or missing " in quoted-field; ` +
				"check the quotation marks",
			app.CodeUsage,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, test.content)
			flags := []string{"--dry-run"}
			if test.flags != "" {
				flags = append(flags, test.flags)
			}
			assert.Equal(t, test.code, f.run(t, flags...))
			assert.Contains(t, f.output.String(), test.want)
			assert.Equal(t, test.code != app.CodeUsage, strings.Contains(f.output.String(), "Nothing was sent."),
				"a file that cannot be read has no totals")
			assert.Empty(t, f.Requests())
			assert.NoDirExists(t, f.folder)
		})
	}
}
