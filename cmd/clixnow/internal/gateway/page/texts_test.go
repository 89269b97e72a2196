package page_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/gateway/page"
	"github.com/clixnow/clixnow-go/store/outbox"
)

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		opts page.Options
		want string
	}{
		"unknown texts": {
			page.Options{Texts: map[string]string{"form.titel": "", "form.title": "", "Button": ""}},
			`the form has no texts with these keys: "Button", "form.titel"`,
		},
		"language": {page.Options{Texts: map[string]string{"lang": "the best"}}, "the code of a language"},
		"country": {
			page.Options{Countries: []string{"CH", "Switzerland"}},
			`"Switzerland" is not the code of a country`,
		},
		"three letters": {page.Options{Countries: []string{"CHE"}}, `"CHE" is not the code of a country`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := page.New(test.opts)
			assert.ErrorContains(t, err, test.want)
		})
	}
}

func TestReadTexts(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		file string
		want map[string]string
		err  string
	}{
		"keys": {`"form.title" = "Konto"`, map[string]string{"form.title": "Konto"}, ""},
		"dots": {`form.title = "Konto"`, map[string]string{"form.title": "Konto"}, ""},
		"tables": {
			"home = \"a\"\n[problem.email]\nmissing = \"b\"",
			map[string]string{"home": "a", "problem.email.missing": "b"},
			"",
		},
		"lines":    {"home = \"\"\"\na\nb\n\nc\n\"\"\"", map[string]string{"home": "a b\n\nc"}, ""},
		"empty":    {"", map[string]string{}, ""},
		"a number": {"form.title = 1", nil, `"form.title" must be a text`},
		"no TOML":  {"form.title", nil, "texts.toml: toml: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "texts.toml")
			require.NoError(t, os.WriteFile(path, []byte(test.file), 0o600))
			texts, err := page.ReadTexts(path)
			assert.Equal(t, test.want, texts)
			if test.err != "" {
				assert.ErrorContains(t, err, test.err)
				return
			}
			assert.NoError(t, err)
		})
	}
	_, err := page.ReadTexts("missing.toml")
	assert.ErrorIs(t, err, fs.ErrNotExist)
}

// TestKeysOfTexts checks that a file can replace all texts, whether it has
// tables or not: in TOML, a key cannot be both a text and a table.
func TestKeysOfTexts(t *testing.T) {
	t.Parallel()
	texts := defaultTexts(t)
	for key := range texts {
		for table := key; strings.Contains(table, "."); {
			table = table[:strings.LastIndexByte(table, '.')]
			assert.NotContains(t, texts, table, key)
		}
	}
}

// TestTextOfEachProblemCode reads the codes from the source, so that a new one
// is not forgotten.
func TestTextOfEachProblemCode(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "../../../../../errors.go", nil, 0)
	require.NoError(t, err)
	var codes []string
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if ok && strings.HasPrefix(spec.Names[0].Name, "Problem") {
			code, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			require.NoError(t, err)
			codes = append(codes, code)
		}
		return true
	})
	require.Contains(t, codes, string(clixnow.ProblemUnknownValue))
	texts := defaultTexts(t)
	for _, code := range codes {
		assert.NotEmpty(t, texts["problem.any."+code], code)
		shown := answer(t, nil, &clixnow.ValidationError{
			Fields: []clixnow.FieldError{{Field: "comment", Code: clixnow.ProblemCode(code)}},
		})
		assert.Contains(t, shown.Body.String(), "<li>comment: "+texts["problem.any."+code]+"</li>", code)
	}
}

// answer returns the answer to GET /signups/x.
func answer(t *testing.T, signup *outbox.Signup, err error) *httptest.ResponseRecorder {
	t.Helper()
	site, newErr := page.New(page.Options{})
	require.NoError(t, newErr)
	recorder := httptest.NewRecorder()
	site.Answer(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/signups/x", nil), signup, err)
	return recorder
}

func TestAnswer(t *testing.T) {
	t.Parallel()
	registered := outbox.Signup{Status: outbox.Registered}
	pending := outbox.Signup{Status: outbox.Pending, CreatedAt: time.Now()}
	doubtful := outbox.Signup{Status: outbox.Doubtful, CreatedAt: time.Now()}
	tests := map[string]struct {
		signup *outbox.Signup
		err    error
		status int
		want   string
	}{
		"registered": {&registered, nil, http.StatusOK, "Thank you, you are signed up"},
		"pending":    {&pending, nil, http.StatusAccepted, "Please do not sign up again."},
		"doubtful":   {&doubtful, nil, http.StatusAccepted, "Your registration needs a person"},
		"invalid": {
			nil, clixnow.CreateLeadRequest{
				FirstName: "A", LastName: "B", Email: "a@b", Phone: "1", Password: "x",
				CountryCode: "CH",
			}.Validate(),
			http.StatusBadRequest, "<li>Password: Enter a password of at least 8 characters</li>",
		},
		"click id of another person": {
			nil, fmt.Errorf("add: %w", outbox.ErrClickIDTaken), http.StatusConflict, "can no longer be changed",
		},
		"not found": {nil, outbox.ErrNotFound, http.StatusNotFound, "There is no registration to show"},
		"database": {
			nil, outbox.ErrDatabase, http.StatusServiceUnavailable,
			"Trying again never signs you up twice.",
		},
		"too large":  {nil, &http.MaxBytesError{}, http.StatusRequestEntityTooLarge, "We could not read the form"},
		"unreadable": {nil, errors.New("read the form"), http.StatusBadRequest, "We could not read the form"},
		"no secret": {
			nil, page.StatusError(http.StatusUnauthorized), http.StatusUnauthorized,
			"cannot be used from here",
		},
		"other origin": {
			nil, page.StatusError(http.StatusForbidden), http.StatusForbidden,
			"cannot be used from here",
		},
		"too many": {
			nil, page.StatusError(http.StatusTooManyRequests), http.StatusTooManyRequests,
			"Please wait a minute",
		},
		"media type": {
			nil, page.StatusError(http.StatusUnsupportedMediaType), http.StatusUnsupportedMediaType,
			"We could not read the form",
		},
		"shutting down": {
			nil, page.StatusError(http.StatusServiceUnavailable), http.StatusServiceUnavailable,
			"Something went wrong",
		},
		"wrong address": {nil, page.StatusError(http.StatusNotFound), http.StatusNotFound, "no registration"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shown := answer(t, test.signup, test.err)
			assert.Equal(t, test.status, shown.Code)
			assert.Contains(t, shown.Body.String(), test.want)
			assert.NotContains(t, shown.Body.String(), "href=\"../",
				"the form of the gateway is not that of the visitor")
			assert.Equal(t, test.status == http.StatusAccepted, shown.Header().Get("Refresh") != "")
			assert.Equal(t, test.status == http.StatusServiceUnavailable, shown.Header().Get("Retry-After") != "")
			assert.Equal(t, "no-store", shown.Header().Get("Cache-Control"))
			assert.Contains(t, shown.Header().Get("Content-Security-Policy"), "default-src 'none'")
		})
	}
}

// TestTextOfEachReason checks that a visitor reads a reason, and never the
// words of the brand.
func TestTextOfEachReason(t *testing.T) {
	t.Parallel()
	const unavailable = "Sign-up is not possible at the moment. This is our fault, not yours."
	for reason := range clixnow.ReasonOther + 1 {
		want := map[clixnow.Reason]string{
			clixnow.ReasonInvalid:   "Our partner cannot accept these details.",
			clixnow.ReasonDuplicate: "This email address or phone number is already registered.",
			clixnow.ReasonCountry:   "We are sorry: people from this country cannot sign up here",
		}[reason]
		if want == "" {
			want = unavailable
		}
		shown := answer(t, &outbox.Signup{Status: outbox.Refused, Reason: reason, Problem: "Daily cap reached"}, nil)
		assert.Equal(t, http.StatusUnprocessableEntity, shown.Code)
		assert.Contains(t, shown.Body.String(), want, reason)
		assert.NotContains(t, shown.Body.String(), "Daily cap")
	}
}

// TestTranslation replaces each text, and looks for English ones.
func TestTranslation(t *testing.T) {
	t.Parallel()
	texts := defaultTexts(t)
	for key := range texts {
		texts[key] = "«" + key + "»"
	}
	texts["lang"], texts["dir"], texts["form.terms_url"] = "ar", "rtl", "https://example.com/terms"
	f := working(t, func(opts *page.Options) { opts.Texts = texts })
	form, mistaken := f.get("/"), f.post(url.Values{"phone": {"x"}, "form": {"a"}})
	pages := map[string]reply{"form": form, "mistakes": mistaken, "not found": f.get("/registration/x")}
	for name, shown := range pages {
		assert.Contains(t, shown.body, `<html lang="ar" dir="rtl">`, name)
		visible := regexp.MustCompile(`(?s)<head>.*?<title>|<style>.*</style>|<[^>]*>|«[^»]*»|<option.*</option>`).
			ReplaceAllString(shown.body, "")
		assert.NotRegexp(t, `[A-Za-z]{2}`, visible, name)
	}
	assert.Contains(t, form.body, "سويسرا")
	assert.Contains(t, form.body, `<a href="https://example.com/terms"`)
	f.post(f.visit(""))
	assert.Equal(t, "AR", f.sent()["languageCode"])
}

func TestCountries(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		countries []string
		lang      string
		want      []string
	}{
		"English": {
			[]string{"se", "AT", "CH", "AT"},
			"en",
			[]string{"AT Austria", "SE Sweden", "CH Switzerland"},
		},
		"German": {
			[]string{"ZA", "AT", "EG"},
			"de",
			[]string{"EG Ägypten", "AT Österreich", "ZA Südafrika"},
		},
		"language without names":  {[]string{"CH"}, "tlh", []string{"CH Switzerland"}},
		"Swiss German falls back": {[]string{"CH"}, "de-CH", []string{"CH Schweiz"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, func(opts *page.Options) {
				opts.Countries, opts.Texts = test.countries, map[string]string{"lang": test.lang}
			})
			assert.Equal(t, test.want, f.get("/").countries())
		})
	}
	all := newFixture(t, func(opts *page.Options) { opts.Countries = nil }).get("/").countries()
	assert.Greater(t, len(all), 200)
	assert.True(t, slices.Contains(all, "CH Switzerland"))
}

func (r reply) countries() (all []string) {
	options := regexp.MustCompile(`<option value="(\w+)">([^<]+)</option>`)
	for _, match := range options.FindAllStringSubmatch(r.body, -1) {
		all = append(all, match[1]+" "+match[2])
	}
	return all
}

func defaultTexts(t *testing.T) map[string]string {
	t.Helper()
	texts, err := page.ReadTexts("texts.toml")
	require.NoError(t, err)
	return texts
}
