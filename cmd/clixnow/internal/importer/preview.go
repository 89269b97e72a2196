package importer

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
)

// preview shows how the file is read, its first rows as they would be sent,
// and what is wrong with the others. It hides passwords.
func preview(out io.Writer, rows *leads, found survey) {
	fmt.Fprintf(out, "%s, %s. The first ones:\n", rows.file.Format, count(found.rows))
	grid := table.NewWriter()
	grid.SetStyle(table.StyleLight)
	grid.Style().Options = table.OptionsNoBordersAndSeparators
	for column, target := range rows.targets {
		if target == leaveOut {
			continue
		}
		line := table.Row{short(target)}
		for _, r := range found.first {
			value := r.cleaned[target]
			if strings.HasPrefix(target, extraPrefix) {
				value = r.values[column]
			}
			if target == "password" {
				value = "(hidden)"
			}
			line = append(line, short(fmt.Sprint(cmp.Or(value, any("")))))
		}
		grid.AppendRow(line)
	}
	fmt.Fprintln(out, grid.Render())
	if found.invalid > 0 {
		fmt.Fprintf(out, "%s cannot be sent (--dry-run lists them):\n%s\n", count(found.invalid),
			strings.Join(counts(found.problems), "\n"))
	}
	printWarnings(out, rows, found)
}

// printWarnings says what a lead loses.
func printWarnings(out io.Writer, rows *leads, found survey) {
	if !slices.Contains(rows.targets, "clickId") {
		fmt.Fprintln(out, "No column is clickId: a lead whose response is lost is found by email only.")
	}
	if len(found.dropped) > 0 {
		fmt.Fprintf(out, "These optional values are left out:\n%s\n", strings.Join(counts(found.dropped), "\n"))
	}
}

// short returns the beginning of a value, without characters that a terminal
// would take as commands.
func short(value string) string {
	const width = 17
	characters := []rune(value)
	for i, c := range characters {
		if !unicode.IsPrint(c) {
			characters[i] = '·'
		}
	}
	if len(characters) > width {
		return string(characters[:width-1]) + "…"
	}
	return string(characters)
}

// dryRun prints the faults of the rows by line and field, and the values that
// must be unique but are repeated.
func dryRun(rows *leads, out io.Writer) error {
	fmt.Fprintln(out, rows.file.Format)
	found, err := rows.survey(func(r row, repeats string) {
		if r.fault != nil {
			for _, f := range r.fault.Fields {
				fmt.Fprintf(out, "line %d: %s %s\n", r.line, f.Field, f.Problem)
			}
		}
		if repeats != "" {
			fmt.Fprintf(out, "line %d: %s\n", r.line, repeats)
		}
	})
	if err != nil {
		return app.WithCode(app.CodeUsage, err)
	}
	fmt.Fprintf(out, "%s: %d invalid, %d with a value of an earlier row. Nothing was sent.\n", count(found.rows),
		found.invalid-len(found.repeats), len(found.repeats))
	printWarnings(out, rows, found)
	if found.invalid > 0 {
		return app.WithCode(app.CodeRefused, fmt.Errorf("%s cannot be sent", count(found.invalid)))
	}
	return nil
}

// count returns a text like "2 rows".
func count(rows int) string {
	if rows == 1 {
		return "1 row"
	}
	return fmt.Sprintf("%d rows", rows)
}
