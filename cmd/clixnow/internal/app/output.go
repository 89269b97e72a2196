package app

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"
)

// Format is the value of -o.
type Format string

// The formats of -o.
const (
	Table Format = "table"
	JSON  Format = "json"
	JSONL Format = "jsonl"
	CSV   Format = "csv"
)

// FormatFlag adds the flag -o to a command.
func FormatFlag(cmd *cobra.Command) *Format {
	format := Table
	cmd.Flags().VarP(&format, "output", "o", "the `FORMAT`: table, json, jsonl or csv")
	complete := cobra.FixedCompletions([]string{"table", "json", "jsonl", "csv"}, cobra.ShellCompDirectiveNoFileComp)
	_ = cmd.RegisterFlagCompletionFunc("output", complete)
	return &format
}

// Single returns the format of a single value: JSON is then no array.
func (f *Format) Single() Format {
	if *f == JSON {
		return JSONL
	}
	return *f
}

// Set sets the format from the value of the flag.
func (f *Format) Set(text string) error {
	if !slices.Contains([]Format{Table, JSON, JSONL, CSV}, Format(text)) {
		return fmt.Errorf("the format must be table, json, jsonl or csv")
	}
	*f = Format(text)
	return nil
}

// String returns the value of the flag.
func (f *Format) String() string { return string(*f) }

// Type returns "" because the usage text of the flag names the type.
func (f *Format) Type() string { return "" }

// Column is a column of a table.
type Column[T any] struct {
	Name string
	Cell func(T) string
}

// Printer prints values as they come. Call Close after the last one.
type Printer[T any] struct {
	app    *App
	format Format
	// columns are those of a table, and fields are those of CSV.
	columns []Column[T]
	fields  []string
	table   *tabwriter.Writer
	csv     *csv.Writer
	printed int
}

// NewPrinter returns a printer to Out. fields are the members of the JSON of T
// that CSV shows.
func NewPrinter[T any](a *App, format Format, fields []string, columns ...Column[T]) *Printer[T] {
	return &Printer[T]{
		app: a, format: format, columns: columns, fields: fields,
		table: tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0), csv: csv.NewWriter(a.Out),
	}
}

// Print prints a value. A table appears in pieces of some hundred rows.
func (p *Printer[T]) Print(value T) error {
	p.printed++
	if p.format == Table {
		return p.printRow(value)
	}
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	switch {
	case p.format == CSV:
		return p.printCSV(data)
	case p.format == JSONL:
		_, err = fmt.Fprintf(p.app.Out, "%s\n", data)
	case p.printed == 1:
		_, err = fmt.Fprintf(p.app.Out, "[\n%s", data)
	default:
		_, err = fmt.Fprintf(p.app.Out, ",\n%s", data)
	}
	return err
}

func (p *Printer[T]) printRow(value T) error {
	var names, cells []string
	for _, column := range p.columns {
		names = append(names, strings.ToUpper(column.Name))
		cells = append(cells, Printable(column.Cell(value)))
	}
	if p.printed == 1 {
		fmt.Fprintln(p.table, strings.Join(names, "\t"))
	}
	fmt.Fprintln(p.table, strings.Join(cells, "\t"))
	if p.printed%500 == 0 {
		return p.table.Flush()
	}
	return nil
}

func (p *Printer[T]) printCSV(data []byte) error {
	if p.printed == 1 {
		_ = p.csv.Write(p.fields) // Flush returns the error.
	}
	cells, err := Texts(data, p.fields)
	if err != nil {
		return err
	}
	for i := range cells {
		cells[i] = escapeFormula(cells[i])
	}
	return p.csv.Write(cells)
}

// Texts returns members of a JSON object as texts. A member that is missing or
// null is "".
func Texts(object []byte, names []string) ([]string, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(object, &members); err != nil {
		return nil, err
	}
	texts := make([]string, len(names))
	for i, name := range names {
		if json.Unmarshal(members[name], &texts[i]) != nil && members[name] != nil {
			texts[i] = string(members[name])
		}
	}
	return texts, nil
}

// Flush prints what was held back.
func (p *Printer[T]) Flush() error {
	p.csv.Flush()
	return errors.Join(p.csv.Error(), p.table.Flush())
}

// Close prints what is left. After an error do not call it: JSON then stays
// open, so that no program takes a part for the whole.
func (p *Printer[T]) Close() error {
	switch {
	case p.format == JSON && p.printed == 0:
		_, err := fmt.Fprintln(p.app.Out, "[]")
		return err
	case p.format == JSON:
		_, err := fmt.Fprintln(p.app.Out, "\n]")
		return err
	case p.format == CSV && p.printed == 0:
		_ = p.csv.Write(p.fields) // Flush returns the error.
	}
	return p.Flush()
}

// Printable replaces what could control a terminal.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// escapeFormula keeps spreadsheets from running a cell.
func escapeFormula(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r", rune(text[0])) {
		return "'" + text
	}
	return text
}

// Progress returns a function that draws a count on Err, and a function that
// removes it. They do nothing if Err is not a terminal, or if Out is one too.
func (a *App) Progress(what string) (count func(n int), remove func()) {
	if !a.Interactive() || isTerminal(a.Out) {
		return func(int) {}, func() {}
	}
	var last time.Time
	count = func(n int) {
		if now := time.Now(); now.Sub(last) > 200*time.Millisecond {
			last = now
			fmt.Fprintf(a.Err, "\r%d %s", n, what)
		}
	}
	return count, func() { fmt.Fprint(a.Err, "\r\033[K") }
}

// WriteFile replaces a file in one step. After a crash the file holds the old
// or the new data.
func WriteFile(path string, data []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp.Name()) }()
	_, err = temp.Write(data)
	if err := errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}
