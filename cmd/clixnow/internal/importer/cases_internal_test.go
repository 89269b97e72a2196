package importer

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
)

// TestForgedResults checks that a text of the server cannot forge a line of the
// results, or become a formula.
func TestForgedResults(t *testing.T) {
	t.Parallel()
	for name, forged := range map[string]string{
		"LF": `\n9,registered,1,,,`, "CR": `\r9,registered,1,,,`, "CRLF": `\r\n9,registered,1,,,`,
		"line separator": `\u20289,registered,1,,,`, "next line": `\u00859,registered,1,,,`, "NUL": `\u00009,`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, csvOf(2))
			f.Inject(
				clixnowtest.Fault{Status: 200, Body: `{"leadId":7,"redirectUrl":"=https://x.example/` + forged + `"}`},
				clixnowtest.Fault{Status: 422, Body: `{"errors":{"Phone":["=1+1` + forged + `"]}}`},
			)
			assert.Equal(t, app.CodeRefused, f.run(t, "--redirect-urls", "--concurrency", "1"))
			for _, file := range []string{resultsName, refusedName} {
				content, err := os.ReadFile(filepath.Join(f.folder, file))
				require.NoError(t, err)
				assert.Equal(t, strings.Count(string(content), "\n"),
					len(strings.FieldsFunc(string(content), func(c rune) bool {
						return strings.ContainsRune("\n\r\u2028\u0085\x00", c)
					})), "each line is one that the importer wrote")
				assert.NotContains(t, string(content), ",=")
			}
			require.Len(t, f.records(t), 2)
			assert.Equal(t, []string{"2", "registered", "7"}, f.records(t)[0][:3])
			assert.True(t, strings.HasPrefix(f.records(t)[0][6], "'=https://x.example/"))
			assert.Equal(t, map[int]string{2: "registered", 3: "refused"}, f.outcomes(t))
		})
	}
}

// TestRefusedRows checks that refused rows can be corrected and imported again.
func TestRefusedRows(t *testing.T) {
	t.Parallel()
	const columns = "firstName,lastName,email,phone,password,countryCode,Notes\n"
	f := newFixture(t, columns+
		"Anna,Meier,anna@example.com,+41795550190,=Secret-1,CH,\"two\nlines\"\n"+
		"Berta,Meier,berta at home,+41795550191,\"'=Secret,2\",CH,-1\n"+
		"Carla,Meier,anna@example.com,+41795550192,Secret-3,CH,Zürich\n")
	assert.Equal(t, app.CodeRefused, f.run(t, "--concurrency", "1", "--map", "Notes=-"))
	assert.Contains(t, f.output.String(), "3 rows: 1 registered, 0 recovered, 2 refused\n")
	assert.Contains(t, f.output.String(), "clixnow: could not register 2 rows: the results say why")
	path := filepath.Join(f.folder, refusedName)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "\uFEFF"+strings.TrimSpace(columns)+",import_line,import_reason\n"+
		"Berta,Meier,berta at home,'+41795550191,\"''=Secret,2\",CH,'-1,4,clixnow: invalid request: "+
		"email: must be one bare address\n"+
		"Carla,Meier,anna@example.com,'+41795550192,Secret-3,CH,Zürich,5,email is the same as on line 2\n",
		string(content))
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	f.file, f.folder = path, path+".import"
	corrected := strings.NewReplacer("berta at home", "berta@example.com", "anna@", "carla@",
		"email is the same as on line 2", "").Replace(string(content))
	f.write(t, path, corrected)
	assert.Equal(t, app.CodeDone, f.run(t, "--map", "Notes=-"))
	assert.Len(t, f.Leads(), 3)
	var bodies strings.Builder
	for _, request := range f.Requests() {
		bodies.Write(request.Body)
	}
	assert.Contains(t, bodies.String(), `"'=Secret,2"`)
	assert.Contains(t, bodies.String(), `"+41795550191"`)
	assert.NoFileExists(t, filepath.Join(f.folder, refusedName))
}

// TestRepeats checks that one person who is on several rows is sent once.
func TestRepeats(t *testing.T) {
	t.Parallel()
	const rows = header +
		"Anna,Meier,anna@example.com,+41795550190,Secret-1!,CH,1\n" +
		"Anna,Meier,ANNA@example.com,+41795550191,Secret-2!,CH,2\n" +
		"Anna,Meier,anna2@example.com,079 555 01 90,Secret-3!,CH,1\n" +
		"Berta,Meier,berta at home,+41795550192,Secret-4!,CH,4\n" +
		"Berta,Meier,berta@example.com,+41795550192,Secret-5!,CH,4\n"
	f := newFixture(t, rows, clixnowtest.WithoutDuplicateCheck())
	assert.Equal(t, app.CodeUsage,
		execute(t.Context(), newApp(&f.output, token), "--brand", f.Brand, "--base-url", f.URL,
			"--default-country", "CH", f.file))
	assert.Contains(t, f.output.String(), "\n3 rows cannot be sent (--dry-run lists them):\n"+
		"     2 × email, phone or clickId is that of an earlier row (--allow-repeats sends it)\n")
	assert.Equal(t, app.CodeRefused, f.run(t, "--default-country", "CH"))
	assert.Equal(t, map[int]string{2: "registered", 3: "refused", 4: "refused", 5: "refused", 6: "registered"},
		f.outcomes(t))
	assert.Equal(t, "email is the same as on line 2", f.records(t)[1][5])
	assert.Equal(t, "phone is the same as on line 2, clickId is the same as on line 2", f.records(t)[2][5])

	// A refused row stays refused until somebody has looked at it.
	f.file = filepath.Join(f.folder, refusedName)
	f.folder = f.file + ".import"
	assert.Equal(t, app.CodeRefused, f.run(t, "--default-country", "CH"))
	assert.Equal(t, map[int]string{2: "refused", 3: "refused", 4: "refused"}, f.outcomes(t))
	assert.Equal(t, "correct this row and empty its import_reason, which says: email is the same as on line 2",
		f.records(t)[0][5])
	assert.Len(t, f.Leads(), 2)

	again := newFixture(t, rows, clixnowtest.WithoutDuplicateCheck())
	assert.Equal(t, app.CodeRefused, again.run(t, "--default-country", "CH", "--allow-repeats"))
	assert.Len(t, again.Leads(), 4)
}

// TestPhonesOfRows checks that the country of a phone without a country code is
// that of its row.
func TestPhonesOfRows(t *testing.T) {
	t.Parallel()
	f := newFixture(t, header+
		"Anna,Meier,anna@example.com,0151 23456789,Secret-1!,DE,1\n"+
		"Berta,Meier,berta@example.com,079 555 01 90,Secret-2!,CH,2\n"+
		"Carla,Meier,carla@example.com,079 555 01 91,Secret-3!,DK,3\n")
	assert.Equal(t, app.CodeRefused, f.run(t, "--default-country", "CH", "--concurrency", "1"))
	assert.Equal(t, map[int]string{2: "registered", 3: "registered", 4: "refused"}, f.outcomes(t))
	assert.Contains(t, string(f.Requests()[0].Body), `"+4915123456789"`)
	assert.Contains(t, string(f.Requests()[1].Body), `"+41795550190"`)
}

// TestRepeatInDoubt checks that a row that may have been sent with
// --allow-repeats is not called refused.
func TestRepeatInDoubt(t *testing.T) {
	t.Parallel()
	f := newFixture(t, strings.ReplaceAll(csvOf(2), "click-2", "click-1"))
	f.createLeads(t, 2)
	f.progress(t, inFlight(3))
	f.run(t)
	assert.Equal(t, "recovered", f.outcomes(t)[3])
}

// TestChangedRefusedRows checks that corrections in refused.csv are never lost.
func TestChangedRefusedRows(t *testing.T) {
	t.Parallel()
	f := newFixture(t, replaced(csvOf(3), "lead1@", "lead1 at "))
	f.Inject(clixnowtest.Fault{
		Email: "lead2@example.com", Times: 2, Status: 400,
		Body: `{"message":"Daily cap reached"}`,
	})
	path, second := filepath.Join(f.folder, refusedName), filepath.Join(f.folder, "refused-2.csv")
	read := func(path string) string {
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		return string(content)
	}
	assert.Equal(t, app.CodeLater, f.run(t))
	assert.Contains(t, f.output.String(), "\n  clixnow import '"+path+"'\n")
	written := read(path)
	require.NoError(t, os.Remove(path))
	assert.Equal(t, app.CodeLater, f.run(t))
	assert.Equal(t, written, read(path), "it is written again if it was removed")

	corrected := replaced(written, "lead1 at ", "lead1@")
	f.write(t, path, corrected)
	f.Inject(clixnowtest.Fault{Email: "lead2@example.com", Status: 400, Body: `{"message":"Daily cap reached"}`})
	assert.Equal(t, app.CodeLater, f.run(t), "no row was refused in this run")
	assert.Equal(t, corrected, read(path))
	assert.NoFileExists(t, second)
	assert.Contains(t, f.output.String(), "\nRefused rows, with their passwords: "+path+"\n")

	f.Inject(clixnowtest.Fault{Email: "lead2@example.com", Status: 422, Body: `{"errors":{"Phone":["Not a phone."]}}`})
	for range 2 {
		assert.Equal(t, app.CodeRefused, f.run(t))
		assert.Equal(t, corrected, read(path))
		assert.Contains(t, read(second), "lead1 at ")
		assert.Contains(t, read(second), "lead2@")
		assert.Contains(t, f.output.String(), "\nRefused rows, with their passwords: "+second+"\n"+
			"It has all refused rows. refused.csv was changed, so it was not overwritten.\n")
	}
	assert.NoFileExists(t, filepath.Join(f.folder, "refused-3.csv"))
}

// TestChangingFile checks an import whose file is changed while it runs.
func TestChangingFile(t *testing.T) {
	t.Parallel()
	appendTo := func(text string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			t.Helper()
			file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			require.NoError(t, err)
			_, err = file.WriteString(text)
			require.NoError(t, err)
			require.NoError(t, file.Close())
		}
	}
	tests := map[string]struct {
		change func(t *testing.T, path string)
		code   int
		says   string
	}{
		"grows": {
			appendTo(csvOf(50)[len(csvOf(40)):]), app.CodeDone, "The file has grown meanwhile.",
		},
		"grows by half of a row": {
			appendTo(`"Anna,Me`), app.CodeDone, "The file has grown meanwhile.",
		},
		"gets shorter": {
			func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 300)) },
			app.CodeLater, "the file has changed while it was read",
		},
		"is emptied": {
			func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 0)) },
			app.CodeLater, "the file has changed while it was read",
		},
		"is replaced by a longer one with other lines": {
			func(t *testing.T, path string) {
				text := strings.ReplaceAll(csvOf(2000), "Allison", "A")
				require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
			},
			app.CodeLater, "the file has changed while it was read",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, csvOf(40))
			changed := make(chan struct{})
			a := newApp(&f.output, token)
			change := clixnow.WithTransport(func(base http.RoundTripper) http.RoundTripper {
				return roundTripper(func(r *http.Request) (*http.Response, error) {
					select {
					case <-changed:
					default:
						test.change(t, f.file)
						close(changed)
					}
					return base.RoundTrip(r)
				})
			})
			code := executeWith(t.Context(), a, append(fastRetries(), change), f.args("--concurrency", "1")...)
			a.Close()
			assert.Equal(t, test.code, code, f.output.String())
			assert.Contains(t, f.output.String(), test.says)
			assert.LessOrEqual(t, len(f.Leads()), 40)
			assert.Len(t, f.Leads(), len(f.Requests()), "each lead was sent once")
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (r roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return r(request) }

// TestMistypedBrand checks that a host that does not exist is named, and that
// the brand can then be corrected.
func TestMistypedBrand(t *testing.T) {
	t.Parallel()
	f := newFixture(t, csvOf(30))
	noSuchHost := clixnow.WithHTTPClient(&http.Client{Transport: &http.Transport{
		DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
			host, _, _ := net.SplitHostPort(address)
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{
				Err: "no such host", Name: host, IsNotFound: true,
			}}
		},
	}})
	a := newApp(&f.output, token)
	code := executeWith(t.Context(), a, append(fastRetries(), noSuchHost), "--brand", "acmee", "--yes", "--rate",
		"1000",
		f.file)
	assert.Equal(t, app.CodeAccess, code)
	assert.Contains(t, f.output.String(),
		"clixnow: the host integration.acmee.clixnow.com does not exist; check --brand and --base-url")
	assert.NotContains(t, f.output.String(), "same command")
	for line, outcome := range f.outcomes(t) {
		assert.Equal(t, "not sent", outcome, line)
	}

	assert.Equal(t, app.CodeDone, f.run(t), f.output.String())
	assert.Len(t, f.Leads(), 30)
	assert.Len(t, f.Requests(), 30, "nothing is in doubt, so there is no search")
}

// TestDemo checks what the demo says about a file of the user.
func TestDemo(t *testing.T) {
	t.Parallel()
	f := newFixture(t, replaced(csvOf(4), "+41790000003", "n/a"))
	assert.Equal(t, app.CodeRefused, execute(t.Context(), newApp(&f.output, ""), "--demo", "--rate", "1000", f.file))
	assert.Contains(t, f.output.String(), "This is a demo: the leads go to a fake brand on this machine.\n")
	assert.NotContains(t, f.output.String(), "sample")
	assert.Contains(t, f.output.String(), "4 rows: 3 registered, 0 recovered, 1 refused\n")
	assert.Contains(t, f.output.String(), "\n4,refused,,lead3@example.com,click-3,")
	assert.NoDirExists(t, f.folder)
	assert.Empty(t, f.Requests())
}

func replaced(text string, oldNew ...string) string {
	return strings.NewReplacer(oldNew...).Replace(text)
}

// TestPreview checks what is shown before anything is sent.
func TestPreview(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "First Name;lastName;email;phone;password;countryCode;clickId;Notes;Plan\r\n"+
		"An\x1b[2Jna;Meier-von der Hohenburg;anna@example.com;079 555 01 90;Secret-1!;ch;{clickid};private;gold\r\n"+
		"Berta;Meier;berta@example.com;n/a;Secret-2!;Schweiz;2;private;blue\r\n")
	args := []string{
		"--brand", f.Brand, "--base-url", f.URL, "--default-country", "CH", "--map", "Notes=-,Plan=extra:plan", f.file,
	}
	assert.Equal(t, app.CodeUsage, execute(t.Context(), newApp(&f.output, token), args...))
	lines := strings.Split(f.output.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
		assert.LessOrEqual(t, len([]rune(lines[i])), 80)
	}
	assert.Equal(t, []string{
		`Brand "acme" at ` + f.URL,
		"CSV, UTF-8, columns separated by ';', 2 rows. The first ones:",
		"firstName    An[2Jna            Berta",
		"lastName     Meier-von der Ho…  Meier",
		"email        anna@example.com   berta@example.com",
		"phone        +41795550190       n/a",
		"password     (hidden)           (hidden)",
		"countryCode  CH                 Schweiz",
		"clickId                         2",
		"extra:plan   gold               blue",
		"1 row cannot be sent (--dry-run lists them):",
		"1 × countryCode must be two letters: write CH, or give --fix-countries",
		"1 × phone must be one phone number",
		"These optional values are left out:",
		"1 × clickId is a macro that the tracker did not fill in",
		`clixnow: nothing was sent: give --yes to send the leads to brand "acme"`,
		"",
	}, lines)
	assert.NoDirExists(t, f.folder)
	assert.Empty(t, f.Requests())
}
