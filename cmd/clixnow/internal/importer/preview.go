package importer

import (
	"cmp"
	"fmt"
	"hash/maphash"
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
	fmt.Fprintf(out, "%s, %d rows. The first ones:\n", rows.file.Format, found.rows)
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
		fmt.Fprintf(out, "%d rows cannot be sent (--dry-run lists them):\n%s\n", found.invalid,
			strings.Join(counts(found.problems), "\n"))
	}
	printDropped(out, found)
}

func printDropped(out io.Writer, found survey) {
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
// must be unique but are repeated. It keeps about 100 bytes of memory for each
// such value.
func dryRun(rows *leads, out io.Writer) error {
	fmt.Fprintln(out, rows.file.Format)
	repeated := 0
	seen := make(map[uint64]int) // the first line, by the hash of the value
	seed := maphash.MakeSeed()
	found, err := rows.survey(func(r row) {
		if r.fault != nil {
			for _, f := range r.fault.Fields {
				fmt.Fprintf(out, "line %d: %s %s\n", r.line, f.Field, f.Problem)
			}
		}
		isRepeat := false
		for _, unique := range identities(&r) {
			hash := maphash.String(seed, unique.name+unique.value)
			if first, known := seen[hash]; known {
				fmt.Fprintf(out, "line %d: %s is the same as on line %d\n", r.line, unique.name, first)
				isRepeat = true
			} else {
				seen[hash] = r.line
			}
		}
		if isRepeat {
			repeated++
		}
	})
	fmt.Fprintf(out, "%d rows: %d invalid, %d with a value of an earlier row. Nothing was sent.\n", found.rows,
		found.invalid, repeated)
	printDropped(out, found)
	switch {
	case err != nil:
		return app.WithCode(app.CodeUsage, err)
	case found.invalid+repeated > 0:
		return app.WithCode(app.CodeRefused, fmt.Errorf("%d rows are invalid or repeated", found.invalid+repeated))
	}
	return nil
}

type identity struct{ name, value string }

// identities returns the values that must be unique. The API refuses a second
// lead with the same email or phone, and a search after a lost response takes
// leads with the same email or click id for the same lead.
func identities(r *row) []identity {
	all := []identity{
		{"email", strings.ToLower(r.lead.Email)}, {"phone", r.lead.Phone}, {"clickId", r.lead.ClickID},
	}
	return slices.DeleteFunc(all, func(i identity) bool { return i.value == "" })
}
