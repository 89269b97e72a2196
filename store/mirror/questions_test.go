package mirror_test

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
)

// questions runs the queries of docs/mirror.md.
func (k kind) questions(t *testing.T) {
	t.Parallel()
	m := k.mirror(t)
	november := time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC)
	lead := func(id int64, days float64, status, campaign, placement string, depositAfter float64) clixnow.Lead {
		l := clixnow.Lead{
			ID: id, Status: status, SubCampaign: campaign, Placement: placement,
			ClickID:   "click-" + strconv.FormatInt(id, 10),
			CreatedOn: november.Add(time.Duration(days * 24 * float64(time.Hour))),
		}
		l.UpdatedOn = l.CreatedOn
		if depositAfter > 0 {
			l.FTDDate = l.CreatedOn.Add(time.Duration(depositAfter * 24 * float64(time.Hour)))
		}
		return l
	}
	withdrawn, returned := lead(2, 3, "Customer", "autumn", "page-1", 1), lead(3, 4, "Customer", "spring", "page-1", 8)
	apply(t, m, "acme",
		lead(1, -0.01, "Customer", "autumn", "page-1", 0.02), // created before November, deposited in it
		withdrawn, returned,
		lead(4, 5, "New", "spring", "page-2", 0),
		lead(5, 29.99, "New", "autumn", "page-2", 0),
	)
	apply(t, m, "beta",
		lead(2, 3.5, "New", "autumn", "page-3", 0),
		lead(6, 9, "Customer", "autumn", "page-1", 2),
		lead(7, 30, "Customer", "autumn", "page-1", 1), // created in December
	)
	later := withdrawn
	later.Status, later.FTDDate, later.UpdatedOn = "Chargeback", time.Time{}, november.Add(4*24*time.Hour+10*time.Hour)
	without := returned
	without.FTDDate = time.Time{}
	apply(t, m, "acme", later, without)
	apply(t, m, "acme", returned)

	page, err := os.ReadFile("../../docs/mirror.md")
	require.NoError(t, err)
	var got []string
	for _, part := range strings.Split(string(page), "```sql\n")[1:] {
		statement, _, _ := strings.Cut(part, "```")
		var rows []string
		for _, row := range query(t, m, statement) {
			rows = append(rows, plain(row))
		}
		got = append(got, strings.Join(rows, "; "))
	}
	assert.Equal(t, []string{
		"autumn|4|1|25; spring|2|1|50",
		"beta|3|66.7; acme|3|33.3",
		"2026-11-01|1; 2026-11-12|1; 2026-11-13|1",
		"beta|6|click-6; acme|3|click-3; beta|7|click-7",
		"acme|4; beta|1.5",
		"autumn|2; spring|1",
		"acme|2|click-2",
		"2026-11-04|acme|2|created||Customer; 2026-11-04|acme|2|deposited||Customer; " +
			"2026-11-04T12:00:00.000000Z|beta|2|created||New; " +
			"2026-11-05T10:00:00.000000Z|acme|2|status changed|Customer|Chargeback; " +
			"2026-11-05T10:00:00.000000Z|acme|2|deposit withdrawn|Customer|Chargeback",
		"page-2|2; page-3|1",
		"acme|1; beta|1",
	}, got[:10])
	assert.Len(t, strings.Split(got[10], "; "), 17)
}

// plain removes the differences between the databases: "50.0" is "50", and a
// day has no time.
func plain(row string) string {
	cells := strings.Split(row, "|")
	for i, cell := range cells {
		if number, err := strconv.ParseFloat(cell, 64); err == nil {
			cells[i] = strconv.FormatFloat(number, 'f', -1, 64)
		}
		cells[i] = strings.TrimSuffix(cells[i], "T00:00:00.000000Z")
	}
	return strings.Join(cells, "|")
}

// TestComments checks that PostgreSQL has a comment for each table and column.
func TestComments(t *testing.T) {
	t.Parallel()
	m := postgresKind(t).mirror(t)
	missing := query(t, m, `SELECT c.relname, coalesce(a.attname, '') FROM pg_class c
		LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
		WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v') AND c.relname <> 'mirror_version'
			AND (obj_description(c.oid) IS NULL OR col_description(c.oid, a.attnum) IS NULL)`)
	assert.Empty(t, missing)
	assert.NotEqual(t, "0", query(t, m, "SELECT count(*) FROM pg_description WHERE objoid = 'leads'::regclass")[0])
}
