// Package house_test holds the arrows of the house: what each folder of this module may import.
// CONTRIBUTING.md draws them.
package house_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/clixnow/clixnow-go"

// A room is a folder of this module. Its files may import the standard library, where package testing is for tests alone,
// and what is said here.
type room struct {
	own    []string // these folders of this module
	tests  []string // these too, in tests
	others []string // these modules of others; tests may import any
	never  []string // not these parts of the standard library; tests may
}

var house = map[string]room{
	".": {
		own:    []string{"internal/call", "internal/walk", "internal/wire"},
		tests:  []string{"clixnowtest"},
		others: []string{"github.com/google/go-querystring"},
	},
	"internal/call":  {never: []string{"encoding/json"}},
	"internal/wire":  {never: []string{"net/http"}},
	"internal/walk":  {never: []string{"net/http", "encoding/json"}},
	"internal/house": {},
	"internal/soak":  {tests: []string{".", "clixnowtest"}},
	"clixnowtest":    {own: []string{"."}},
	"clixnowtest/*":  {own: []string{".", "clixnowtest"}},
	"examples/*":     {own: []string{".", "clixnowtest"}},
}

func TestHouse(t *testing.T) {
	t.Parallel()
	faults, err := inspect(os.DirFS("../.."))
	require.NoError(t, err)
	for _, fault := range faults {
		t.Error(fault)
	}
}

func TestInspect(t *testing.T) {
	t.Parallel()
	tests := []struct{ file, imports, fault string }{
		{"leads.go", "net/http", ""},
		{"leads.go", module + "/internal/call", ""},
		{"leads.go", "github.com/google/go-querystring/query", ""},
		{"leads.go", "github.com/google/go-querystrings", "imports"},
		{"leads.go", module + "/clixnowtest", "imports"},
		{"leads_test.go", module + "/clixnowtest", ""},
		{"leads_test.go", module, ""},
		{"leads.go", "testing", "imports"},
		{"leads.go", "testing/synctest", "imports"},
		{"leads_test.go", "testing/synctest", ""},
		{"internal/call/x.go", "net/http/httptrace", ""},
		{"internal/call/x.go", "encoding/json", "imports"},
		{"internal/call/x.go", "github.com/go-faster/jx", "imports"},
		{"internal/call/x.go", module + "/internal/wire", "imports"},
		{"internal/call/x_test.go", module + "/internal/call", ""},
		{"internal/call/x_test.go", module + "/internal/wire", "imports"},
		{"internal/wire/x.go", "github.com/go-faster/jx", "imports"},
		{"internal/wire/x.go", "net/netip", ""},
		{"internal/wire/x.go", "net/http", "imports"},
		{"internal/wire/x_windows.go", "net/http", "imports"},
		{"internal/wire/x_test.go", module, "imports"},
		{"internal/walk/x.go", "iter", ""},
		{"internal/walk/x.go", "net/http/httptest", "imports"},
		{"internal/walk/x.go", "encoding/json/jsontext", "imports"},
		{"internal/walk/x.go", module + "/internal/call", "imports"},
		{"internal/walk/x.go", "github.com/go-faster/jx", "imports"},
		{"clixnowtest/x.go", module, ""},
		{"clixnowtest/x.go", module + "/internal/wire", "imports"},
		{"clixnowtest/x.go", "github.com/stretchr/testify/assert", "imports"},
		{"clixnowtest/x_test.go", "github.com/stretchr/testify/assert", ""},
		{"examples/quickstart/x.go", module + "/clixnowtest", ""},
		{"examples/quickstart/x.go", module + "/internal/wire", "imports"},
		{"internal/attic/x.go", "io", "is in no room"},
		{"internal/walk/testdata/x.go", "net/http", ""},
		{"nested/x.go", "net/http", ""},
	}
	for _, test := range tests {
		t.Run(test.file+" imports "+test.imports, func(t *testing.T) {
			t.Parallel()
			tree := fstest.MapFS{"nested/go.mod": {}}
			for dir := range house {
				tree[path.Join(strings.ReplaceAll(dir, "*", "any"), "doc.go")] = &fstest.MapFile{Data: []byte("package x")}
			}
			tree[test.file] = &fstest.MapFile{Data: []byte("package x\nimport _ " + strconv.Quote(test.imports))}
			faults, err := inspect(tree)
			require.NoError(t, err)
			if test.fault == "" {
				assert.Empty(t, faults)
				return
			}
			require.Len(t, faults, 1)
			assert.Contains(t, faults[0], test.file+" "+test.fault)
		})
	}
}

func TestInspectMissesRooms(t *testing.T) {
	t.Parallel()
	faults, err := inspect(fstest.MapFS{"doc.go": {Data: []byte("package x")}})
	require.NoError(t, err)
	assert.Len(t, faults, len(house)-1)
	assert.Contains(t, faults, "clixnowtest has no Go file")
}

// SECURITY.md names for each promise the tests that hold it.
func TestPromisesAreTested(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../SECURITY.md")
	require.NoError(t, err)
	var sources strings.Builder
	require.NoError(t, filepath.WalkDir("../..", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, "_test.go") {
			return err
		}
		source, err := os.ReadFile(name)
		sources.Write(source)
		return err
	}))
	named := regexp.MustCompile("`((Test|Fuzz)[A-Z]\\w*)`").FindAllStringSubmatch(string(text), -1)
	assert.Greater(t, len(named), 40)
	for _, name := range named {
		assert.True(t, strings.Contains(sources.String(), "func "+name[1]+"("), "there is no "+name[1])
	}
}

// inspect returns what in the module of that tree is against the house, sorted.
func inspect(tree fs.FS) ([]string, error) {
	var faults []string
	empty := maps.Clone(house)
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return skip(tree, name)
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		key := keyOf(path.Dir(name))
		if key == "" {
			faults = append(faults, name+" is in no room of the house")
			return nil
		}
		delete(empty, key)
		imports, err := importsOf(tree, name)
		for _, imported := range imports {
			if !house[key].allows(path.Dir(name), imported, strings.HasSuffix(name, "_test.go")) {
				faults = append(faults, fmt.Sprintf("%s imports %s, against the arrows of the house", name, imported))
			}
		}
		return err
	})
	for key := range empty {
		faults = append(faults, key+" has no Go file")
	}
	slices.Sort(faults)
	return faults, err
}

// skip passes over what is not part of the module: hidden folders, test data and modules of their own.
func skip(tree fs.FS, dir string) error {
	if dir == "." {
		return nil
	}
	_, err := fs.Stat(tree, path.Join(dir, "go.mod"))
	if base := path.Base(dir); base[0] == '.' || base[0] == '_' || base == "testdata" || err == nil {
		return fs.SkipDir
	}
	return nil
}

// keyOf returns the key in house of the room that a folder is, or "".
func keyOf(dir string) string {
	for key := range house {
		if ok, err := path.Match(key, dir); ok && err == nil {
			return key
		}
	}
	return ""
}

func importsOf(tree fs.FS, name string) (imports []string, err error) {
	source, err := fs.ReadFile(tree, name)
	if err != nil {
		return nil, err
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	for _, spec := range file.Imports {
		imports = append(imports, strings.Trim(spec.Path.Value, "\"`"))
	}
	return imports, nil
}

func (r room) allows(dir, imported string, test bool) bool {
	isBelow := func(ancestor string) bool { return below(imported, ancestor) }
	first, _, _ := strings.Cut(imported, "/")
	switch {
	case below(imported, module):
		folder := path.Clean("." + strings.TrimPrefix(imported, module))
		return folder == dir || slices.Contains(r.own, folder) || test && slices.Contains(r.tests, folder)
	case test:
		return true
	case strings.Contains(first, "."): // a module of others
		return slices.ContainsFunc(r.others, isBelow)
	}
	return !below(imported, "testing") && !slices.ContainsFunc(r.never, isBelow)
}

func below(imported, ancestor string) bool {
	return imported == ancestor || strings.HasPrefix(imported, ancestor+"/")
}
