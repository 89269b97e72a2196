package contract_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestRecorded runs the tests of the root module and records all requests of
// the client and all responses of the fake server. It checks them against the
// description. The overlay of the go command compiles the recorders in, so that
// the library needs no hook. The recorders are in testdata.
func TestRecorded(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs the tests of the whole module; not with -short")
	}
	t.Parallel()
	records := t.TempDir()
	runRecording(t, records)

	contract := describe(t)
	all := newTally()
	read(t, filepath.Join(records, "requests-*"), func(e *exchange) { all.request(t, contract, e) })
	read(t, filepath.Join(records, "answers-*"), func(e *exchange) { all.answer(t, contract, e) })
	all.judgeLists(t, contract)

	t.Logf("validated %d requests and %d answers", all.requests, all.answers)
	t.Logf("left out: %d requests of clients that were told to send anything (WithoutValidation)", all.unvalidated)
	t.Logf("%d requests were made by hand, to what is no operation: their answers are valid errors", all.noOperation)
	require.NoError(t, errors.Join(all.faults...))
	const fewest = 1000 // there are thousands, unless the tests have changed
	assert.Greater(t, all.requests, fewest)
	assert.Greater(t, all.answers, fewest)
	for _, name := range contract.named() {
		assert.True(t, all.seen[name], "nothing made use of %s, or it has another name in the traffic", name)
	}
}

// runRecording runs tests of the root module with the recorders.
func runRecording(t *testing.T, records string) {
	t.Helper()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	command := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-short", "-vet=off",
		"-skip=Allocations$", "-overlay="+overlay(t, root), ".", "./clixnowtest", "./examples/quickstart")
	command.Dir = root
	command.Env = append(os.Environ(), "CLIXNOW_CONTRACT_RECORD="+records)
	output, err := command.CombinedOutput()
	require.NoError(t, err, "%s", output)
	t.Logf("%s", output)
}

// overlay writes the overlay file of the go command. Each recorder takes the
// name of a function, and the function gets another name.
func overlay(t *testing.T, root string) string {
	t.Helper()
	dir := t.TempDir()
	replace := make(map[string]string)
	for _, recorder := range []struct{ file, function, source string }{
		{"send.go", "func (c *Client) send(", "client_send.go"},
		{"internal/call/attempt.go", "func (c *Caller) roundTrip(", "transport_record.go"},
		{"clixnowtest/server.go", "func (s *Server) handle(", "server_record.go"},
	} {
		original := filepath.Join(root, recorder.file)
		text, err := os.ReadFile(original)
		require.NoError(t, err)
		require.Equal(t, 1, strings.Count(string(text), recorder.function),
			"%s in %s: the recorder needs to know of its new place",
			recorder.function, recorder.file)
		receiver, name, _ := strings.Cut(recorder.function, ") ")
		renamed := receiver + ") unrecorded" + strings.ToUpper(name[:1]) + name[1:]
		changed := filepath.Join(dir, recorder.source)
		require.NoError(t,
			os.WriteFile(changed, []byte(strings.Replace(string(text), recorder.function, renamed, 1)), 0o600))
		source, err := filepath.Abs(filepath.Join("testdata", recorder.source))
		require.NoError(t, err)
		replace[original] = changed
		replace[filepath.Join(filepath.Dir(original), "contract_"+recorder.source)] = source
	}
	data, err := json.Marshal(map[string]any{"Replace": replace})
	require.NoError(t, err)
	file := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(file, data, 0o600))
	return file
}

// tally is the result of checking recorded traffic.
type tally struct {
	requests, answers        int
	unvalidated, noOperation int
	// lists holds the elements of lists, by the name of the envelope.
	lists  map[string][]json.RawMessage
	seen   map[string]bool
	faults []error
}

func newTally() *tally {
	return &tally{lists: make(map[string][]json.RawMessage), seen: make(map[string]bool)}
}

// read calls handle for every exchange in the files.
func read(t *testing.T, pattern string, take func(*exchange)) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	require.NoError(t, err)
	require.NotEmpty(t, files, pattern)
	for _, name := range files {
		file, err := os.Open(name)
		require.NoError(t, err)
		for decoder := json.NewDecoder(bufio.NewReader(file)); decoder.More(); {
			var e exchange
			require.NoError(t, decoder.Decode(&e))
			take(&e)
		}
		require.NoError(t, file.Close())
	}
}

// request checks a request of the client, unless the client had
// WithoutValidation.
func (a *tally) request(t *testing.T, contract *description, e *exchange) {
	t.Helper()
	if e.Unvalidated {
		a.unvalidated++
		return
	}
	a.requests++
	a.note(e)
	a.fault(contract.judgeRequest(t.Context(), e))
}

// answer checks a response of the fake server. Lists are joined first, because
// one check of a list of a thousand elements is as fast as one check of one
// element.
func (a *tally) answer(t *testing.T, contract *description, e *exchange) {
	t.Helper()
	a.answers++
	if name, elements, ok := list(e); ok {
		for _, element := range elements {
			if contract.firstOf(name + string(element)) {
				a.lists[name] = append(a.lists[name], element)
			}
		}
		return
	}
	a.note(e)
	if _, err := contract.input(t.Context(), e); errors.Is(err, errNoOperation) {
		a.noOperation++
	}
	a.fault(contract.judgeAnswer(t.Context(), e))
}

// list returns the elements of a response to a search, and the name of its
// envelope.
func list(e *exchange) (envelope string, elements []json.RawMessage, ok bool) {
	var members map[string]json.RawMessage
	isSearch := e.Status == 200 && strings.HasSuffix(e.AnswerHeader.Get("Content-Type"), "; charset=utf-8") &&
		e.Method == "GET"
	switch {
	case !isSearch:
		return "", nil, false
	case json.Unmarshal(e.Answer, &elements) == nil:
		return "", elements, true
	case json.Unmarshal(e.Answer, &members) != nil, len(members) != 1:
		return "", nil, false
	}
	for name, value := range members {
		envelope = name
		ok = json.Unmarshal(value, &elements) == nil
	}
	return envelope, elements, ok
}

// judgeLists checks the joined lists.
func (a *tally) judgeLists(t *testing.T, contract *description) {
	t.Helper()
	const atOnce = 1000
	for envelope, elements := range a.lists {
		for chunk := range slices.Chunk(elements, atOnce) {
			var body any = chunk
			if envelope != "" {
				body = map[string]any{envelope: chunk}
			}
			data, err := json.Marshal(body)
			require.NoError(t, err)
			a.note(&exchange{Method: "GET", Status: 200, Answer: data})
			a.fault(contract.judgeAnswer(t.Context(), &exchange{
				Method: "GET", URL: searchPath, Status: 200,
				AnswerHeader: http.Header{"Content-Type": {"application/json"}}, Answer: data,
			}))
		}
	}
}

func (a *tally) note(e *exchange) {
	for _, name := range e.seen() {
		a.seen[name] = true
	}
}

func (a *tally) fault(err error) {
	const enough = 20
	if err != nil && len(a.faults) < enough {
		a.faults = append(a.faults, err)
	}
}
