// Command import registers the leads of a CSV file. It may be run again until
// all leads are settled. It talks to a fake Clixnow API that has problems.
package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

//go:embed sample.csv
var sample []byte

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "import:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	server := clixnowtest.NewServer(clixnowtest.WithCountries("CH"))
	defer server.Close()
	// For the real API: clixnow.NewClient("acme", os.Getenv("CLIXNOW_TOKEN")).
	client := server.Client()
	defer client.CloseIdleConnections()
	dir, err := os.MkdirTemp("", "import")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.WriteFile(dir+"/sample.csv", sample, 0o600); err != nil {
		return err
	}
	server.Inject(
		// In the first run, the response for Bruno is lost, all searches fail,
		// and the brand is full for Chloe.
		clixnowtest.Fault{Email: "bruno@example.com", Drop: clixnowtest.DropAfterHandling},
		clixnowtest.Fault{Method: "GET", Status: 503, Times: 12},
		clixnowtest.Fault{Email: "chloe@example.com", Status: 400, Body: `{"message":"Daily cap reached"}`},
	)
	for range 2 {
		err = importFile(ctx, out, client, dir+"/sample.csv")
		fmt.Fprintln(out, "error of this run:", err)
	}
	fmt.Fprintf(out, "The brand has %d leads.\n", len(server.Leads()))
	return err
}

// importFile registers the leads of a file. FILE.results.csv has the results.
func importFile(ctx context.Context, out io.Writer, client *clixnow.Client, file string) error {
	rows, err := readRows(file)
	if err != nil {
		return fmt.Errorf("%s: %w: nothing was sent", file, err)
	}
	results, err := openResults(file + ".results.csv")
	if err != nil {
		return fmt.Errorf("open the results: %w: nothing was sent", err)
	}
	defer func() { _ = results.file.Close() }()
	rows = slices.DeleteFunc(rows, func(r row) bool { return results.settled[r.key] })
	var requests []clixnow.CreateLeadRequest
	for _, r := range rows {
		requests = append(requests, r.request)
	}
	remaining := len(rows)
	options := clixnow.BulkOptions{Ensure: true, FirstAttempt: results.firstRun}
	err = client.CreateLeads(ctx, slices.Values(requests), options, func(result clixnow.BulkResult) error {
		r, outcome, reason := rows[result.Index], clixnow.OutcomeOf(result.Err), clixnow.ReasonOf(result.Err)
		state, leadID := "open", ""
		switch {
		case outcome == clixnow.OutcomeRegistered:
			state, leadID = "registered", strconv.FormatInt(result.Response.LeadID, 10)
			remaining--
		case reason == clixnow.ReasonInvalid, reason == clixnow.ReasonDuplicate, reason == clixnow.ReasonCountry:
			state = "given up"
			remaining--
		}
		fmt.Fprintf(out, "line %d: %s (%s)\n", r.line, state, cmp.Or(leadID, reason.String(), outcome.String()))
		return results.add(state, r.key, r.request.Email, outcome.String(), reason.String(), leadID)
	})
	if err != nil || remaining > 0 {
		return errors.Join(fmt.Errorf("%d leads are open: run the same command again later", remaining), err)
	}
	return nil
}

// row is a lead of the file. Its key is a hash of its line, so a line is sent
// again if it was corrected.
type row struct {
	line    int
	key     string
	request clixnow.CreateLeadRequest
}

// readRows reads the whole file before anything is sent. Its errors do not
// contain values of the file, because they may be passwords.
func readRows(file string) ([]row, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	reader := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))))
	header, err := reader.Read()
	if err != nil {
		return nil, fmt.Errorf("read the header: %w", err)
	}
	phone := regexp.MustCompile(`^\+[0-9]{7,15}$`)
	var rows []row
	for {
		record, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return nil, err
		}
		r := row{key: fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(record, "\n"))))}
		r.line, _ = reader.FieldPos(0)
		fields := map[string]*string{
			"firstName": &r.request.FirstName, "lastName": &r.request.LastName, "email": &r.request.Email,
			"phone": &r.request.Phone, "password": &r.request.Password, "countryCode": &r.request.CountryCode,
			"clickId": &r.request.ClickID, "subCampaign": &r.request.SubCampaign,
		}
		for column, value := range record {
			field, ok := fields[header[column]]
			if !ok {
				return nil, fmt.Errorf("the header of column %d is not known", column+1)
			}
			if strings.ContainsAny(value, "\r\n") {
				return nil, fmt.Errorf("line %d: column %d has a line break", r.line, column+1)
			}
			*field = value
		}
		if !phone.MatchString(r.request.Phone) {
			return nil, fmt.Errorf("line %d: the phone must be + and 7 to 15 digits", r.line)
		}
		rows = append(rows, r)
	}
}

// results is the file of results. Its first line has the time of the first run.
type results struct {
	file     *os.File
	firstRun time.Time
	settled  map[string]bool
}

func openResults(name string) (*results, error) {
	data, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	// A crash can leave half a line at the end.
	data = data[:bytes.LastIndexByte(data, '\n')+1]
	lines, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil {
		return nil, err
	}
	r := &results{settled: make(map[string]bool)}
	for _, line := range lines {
		r.settled[line[1]] = line[0] != "open"
	}
	r.file, err = os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err == nil {
		err = r.file.Truncate(int64(len(data)))
	}
	if err != nil {
		return nil, err
	}
	if len(lines) == 0 {
		return r, r.add("first run", time.Now().Format(time.RFC3339Nano), "", "", "", "")
	}
	r.firstRun, err = time.Parse(time.RFC3339Nano, lines[0][1])
	return r, err
}

func (r *results) add(line ...string) error {
	return errors.Join(csv.NewWriter(r.file).WriteAll([][]string{line}), r.file.Sync())
}
