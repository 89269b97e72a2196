package reconcile_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/xuri/excelize/v2"
	"golang.org/x/text/encoding/unicode"

	"github.com/clixnow/clixnow-go/clixnowtest"
)

// TestFiles has files in which lead 1 is right, and lead 2 has a wrong deposit.
func TestFiles(t *testing.T) {
	t.Parallel()
	utf16, err := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().
		String("Lead ID\tDeposit\n1\t2021-11-07\n2\tyes\n")
	require.NoError(t, err)
	for _, test := range []struct{ name, file, flags string }{
		{"commas", "leadId,ftdDate\n1,2021-11-07T09:00:00.000Z\n2,yes\n", ""},
		{"semicolons and German dates", "sep=;\nLead-ID;Deposit on\n1;07.11.2021 09:00\n2;ja\n", ""},
		{"UTF-16 and tabs", utf16, ""},
		{"numbers of a spreadsheet", "lead_id,ftd\n1.0,44507.375\n2,44507\n", ""},
		{"seconds and milliseconds", "lead_id,ftd\n1,1636275600\n2,1636275600000\n", ""},
		{
			"missing values of other programs", "lead_id,ftd\n1,2021-11-07\n2,yes\n3,NULL\n4,0000-00-00\n5,-\n",
			"",
		},
		{"CR only", "lead_id,ftd\r1,2021-11-07\r2,yes\r", ""},
		{
			"other names", "Broker ID,FTD am,clickId\n1,2021-11-07,x\n2,yes,y\n",
			"Broker ID=leadId,FTD am=deposit,clickId=-",
		},
		{"a column that has line breaks", "lead_id,ftd,notes\n1,2021-11-07,\"a\nb\"\n2,yes,\n", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := run(t, filesBrand(t), "--from", "2021-11-01", "--to", "2021-11-30", "-o", "json", "--map",
				test.flags,
				write(t, test.file))
			require.Equal(t, 1, got.code, got.errs)
			assert.NotContains(t, got.out, "missing_there")
			lines := got.findings(t)
			assert.Contains(t, lines[0], "deposit_")
			assert.Contains(t, lines[0], " 2 click-2")
			assert.NotContains(t, strings.Join(lines[1:], " "), "deposit_")
		})
	}
	t.Run("workbook", func(t *testing.T) {
		t.Parallel()
		book := excelize.NewFile()
		for i, row := range [][]any{{"Lead ID", "FTD"}, {1, at(7, 9)}, {2, "yes"}} {
			cell, err := excelize.CoordinatesToCellName(1, i+1)
			require.NoError(t, err)
			require.NoError(t, book.SetSheetRow("Sheet1", cell, &row))
		}
		path := filepath.Join(t.TempDir(), "f.xlsx")
		require.NoError(t, book.SaveAs(path))
		got := run(t, filesBrand(t), "--from", "2021-11-01", "--to", "2021-11-30", "-o", "json", path)
		assert.Equal(t, "deposit_only_here f.xlsx:3 2 click-2", got.findings(t)[0])
	})
}

func filesBrand(t *testing.T) *clixnowtest.Server {
	t.Helper()
	brand := clixnowtest.NewServer()
	t.Cleanup(brand.Close)
	brand.AddLeads(lead(1, deposited(at(7, 9))), lead(2, nil), lead(3, nil), lead(4, nil), lead(5, nil))
	return brand
}

func TestRefusedFiles(t *testing.T) {
	t.Parallel()
	const noColumn = "there is no column of lead ids (leadId, lead_id, clixnowId) and none of click ids (clickId, " +
		"click_id, click, externalId, transactionId). Row 1 was read as the header: add a header row if the file " +
		"has none, or name a column by --map 'COLUMN=leadId' or --map 'COLUMN=clickId'"
	for _, test := range []struct{ name, file, flags, want string }{
		{"no usable column", "name,id\nAnna,1\n", "", noColumn},
		{"no header", "click-1\nclick-2\n", "", noColumn},
		{"two columns", "lead_id,leadId\n1,1\n", "", "two columns mean leadId: leave one out by --map 'COLUMN=-'"},
		{
			"wrong map", "lead_id,x\n1,1\n", "x=phone",
			`--map: "phone" must be leadId, clickId, email, registered, deposit, brand or -`,
		},
		{"map of no column", "lead_id\n1\n", "x=email", `--map: there is no column "x"`},
		{"lead id", "lead_id\n1\nanna@example.com\n", "", "line 3: column 1 (leadId) must be a positive number"},
		{
			"time", "lead_id,created\n1,yesterday\n", "",
			"line 2: column 2 (registered) must be a time such as 2026-10-01 12:00:00, or a day such as 2026-10-01",
		},
		{
			"deposit", "lead_id,ftd\n1,perhaps\n", "",
			"line 2: column 2 (deposit) must be a time such as 2026-10-01 12:00:00, a day, yes, no or empty",
		},
		{
			"quotation mark", "lead_id,notes\n1,\"a\n2,b\n3,c\"\n", "",
			"line 2: a value of column 2 (notes) has a line break. A quotation mark (\") is probably not closed, so " +
				"that lines 2 to 4 became one row",
		},
		{"columns", "lead_id\n1,2\n", "", "line 2: the row has 2 columns, but the header has 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			brand := clixnowtest.NewServer()
			defer brand.Close()
			path := write(t, test.file)
			got := run(t, brand, "--from", "2021-11-01", "--map", test.flags, path)
			assert.Equal(t, "clixnow: "+path+": "+test.want+"\n", got.errs)
			assert.Equal(t, 2, got.code)
			assert.Empty(t, got.out)
			assert.Empty(t, brand.Requests())
		})
	}
}
