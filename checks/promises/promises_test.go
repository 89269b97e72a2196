// Package promises_test checks that each test named in the table of promises
// and in the threat model exists.
package promises_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	declaration = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Z]\w*)\(`)
	name        = regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w*)`")
	folders     = regexp.MustCompile("` in ([^`;]+)$")
)

// declared returns the folders of all tests, by name.
func declared(t *testing.T) map[string][]string {
	t.Helper()
	all := make(map[string][]string)
	require.NoError(t, filepath.WalkDir("../..", func(file string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(file, "_test.go") {
			return err
		}
		source, err := os.ReadFile(file)
		folder, _ := filepath.Rel("../..", filepath.Dir(file))
		for _, match := range declaration.FindAllSubmatch(source, -1) {
			all[string(match[1])] = append(all[string(match[1])], filepath.ToSlash(folder))
		}
		return err
	}))
	return all
}

// isIn reports whether a test is in one of the folders that the text names by
// the ends of their paths. Without a text, it must be a test of the root module
// that is not in a folder of programs.
func isIn(text string, found []string) bool {
	return slices.ContainsFunc(found, func(folder string) bool {
		if text == "" {
			return folder == "." || strings.HasPrefix(folder, "internal/") || folder == "clixnowtest"
		}
		for _, wanted := range regexp.MustCompile(`, | and `).Split(text, -1) {
			if wanted == "the root" && folder == "." || folder == wanted || strings.HasSuffix(folder, "/"+wanted) {
				return true
			}
		}
		return false
	})
}

// docs/promises.md names for each promise the tests that hold it, and
// SECURITY.md for each line of the threat model.
func TestPromisesAreTested(t *testing.T) {
	t.Parallel()
	all := declared(t)
	for page, rows := range map[string]int{"docs/promises.md": 40, "SECURITY.md": 20} {
		text, err := os.ReadFile("../../" + page)
		require.NoError(t, err)
		checked := 0
		for line := range strings.Lines(string(text)) {
			if !strings.HasPrefix(line, "| ") {
				continue
			}
			cells := strings.Split(strings.Trim(line, "| \n"), " | ")
			tests := cells[len(cells)-1]
			if slices.Contains([]string{"tests", "held by"}, tests) {
				continue
			}
			checked++
			named := 0
			for part := range strings.SplitSeq(tests, ";") {
				folder := ""
				if match := folders.FindStringSubmatch(part); match != nil {
					folder = strings.TrimSpace(match[1])
				}
				for _, match := range name.FindAllStringSubmatch(part, -1) {
					named++
					assert.True(t, isIn(folder, all[match[1]]), "%s: there is no %s in %q", page, match[1], folder)
				}
			}
			assert.True(t, named > 0 || strings.Contains(tests, ".golangci.yml"), "%s has no test: %s", page, line)
		}
		assert.GreaterOrEqual(t, checked, rows, page)
	}
}
