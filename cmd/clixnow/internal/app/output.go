package app

import (
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
)

// formats are the values of -o.
var formats = []string{"table", "json", "jsonl", "csv"}

// FormatFlag adds the flag -o to a command. The command does not run if the
// value is wrong.
func FormatFlag(cmd *cobra.Command) *string {
	format := cmd.Flags().StringP("output", "o", formats[0], "the `FORMAT`: table, json, jsonl or csv")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if !slices.Contains(formats, *format) {
			return Usage("unknown format %q: it must be table, json, jsonl or csv", *format)
		}
		return nil
	}
	return format
}

// Printer prints values to Out as they come. Fill its exported fields, call
// Open, and call Close after the last value.
type Printer[T any] struct {
	// Format is a value of -o.
	Format string
	// Single means that JSON is no array.
	Single bool
	// Fields are the members of the JSON of T that CSV shows.
	Fields []string
	// Header is the first line of a table. "" leaves it out.
	Header string
	// Row returns a line of a table. Tabs separate its cells.
	Row func(T) string

	app     *App
	table   *tabwriter.Writer
	csv     *csv.Writer
	printed int
}

// Open returns a printer that is ready.
func (p Printer[T]) Open(a *App) *Printer[T] {
	p.app, p.table, p.csv = a, tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0), csv.NewWriter(a.Out)
	return &p
}

// Print prints a value. A table appears in pieces of some hundred rows.
func (p *Printer[T]) Print(value T) error {
	p.printed++
	if p.Format == "table" {
		if p.printed == 1 && p.Header != "" {
			fmt.Fprintln(p.table, p.Header)
		}
		fmt.Fprintln(p.table, Printable(p.Row(value)))
		if p.printed%500 == 0 {
			return p.table.Flush()
		}
		return nil
	}
	data, err := json.Marshal(value)
	switch {
	case err != nil:
		return err
	case p.Format == "csv":
		return p.printCSV(data)
	case p.Format == "jsonl" || p.Single:
		_, err = fmt.Fprintf(p.app.Out, "%s\n", data)
	case p.printed == 1:
		_, err = fmt.Fprintf(p.app.Out, "[\n%s", data)
	default:
		_, err = fmt.Fprintf(p.app.Out, ",\n%s", data)
	}
	return err
}

func (p *Printer[T]) printCSV(object []byte) error {
	if p.printed == 1 {
		_ = p.csv.Write(p.Fields) // Flush returns the error.
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(object, &members); err != nil {
		return err
	}
	cells := make([]string, len(p.Fields))
	for i, name := range p.Fields {
		if json.Unmarshal(members[name], &cells[i]) != nil {
			cells[i] = string(members[name]) // a number, a boolean, or nothing
		}
		if isTerminal(p.app.Out) {
			cells[i] = Printable(cells[i])
		}
		if cells[i] != "" && strings.ContainsRune("=+-@\t\r", rune(cells[i][0])) {
			cells[i] = "'" + cells[i] // so that a spreadsheet does not run it
		}
	}
	return p.csv.Write(cells)
}

// Flush prints what was held back.
func (p *Printer[T]) Flush() error {
	p.csv.Flush()
	return errors.Join(p.csv.Error(), p.table.Flush())
}

// Close prints what is left. After an error do not call it: JSON then stays
// open, so that no program takes a part for the whole.
func (p *Printer[T]) Close() error {
	var err error
	switch {
	case p.Format == "json" && p.printed == 0:
		_, err = fmt.Fprintln(p.app.Out, "[]")
	case p.Format == "json" && !p.Single:
		_, err = fmt.Fprintln(p.app.Out, "\n]")
	case p.Format == "csv" && p.printed == 0:
		err = p.csv.Write(p.Fields)
	}
	return errors.Join(err, p.Flush())
}

// Printable replaces what could control a terminal. It keeps tabs.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) && r != '\t' {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// Progress returns a counter on Err. It is invisible if Err is not a terminal,
// or if Out is one too.
func (a *App) Progress(what string) *progressbar.ProgressBar {
	return progressbar.NewOptions(-1, progressbar.OptionSetWriter(a.Err), progressbar.OptionSetDescription(what),
		progressbar.OptionSetVisibility(a.Interactive() && !isTerminal(a.Out)), progressbar.OptionShowCount(),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
}

// WriteFile replaces a file in one step. After a crash the file holds the old
// or the new data. Its errors name the path, not the temporary file.
func WriteFile(path string, data []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return &fs.PathError{Op: "write", Path: path, Err: Cause(err)}
	}
	defer func() { _ = os.Remove(temp.Name()) }()
	if err = save(temp, data); err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return &fs.PathError{Op: "write", Path: path, Err: Cause(err)}
	}
	return nil
}

// save writes data into a file and closes it. It returns the first error,
// because the next ones have the same cause.
func save(file *os.File, data []byte) error {
	_, err := file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	return cmp.Or(err, file.Close())
}

// Cause returns the cause of an error of a file, without the name of the file.
func Cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}
