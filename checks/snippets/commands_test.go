package snippets_test

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	command  = regexp.MustCompile("((?:\\w+=\\S+ )*)go test ([^`#\n]*)")
	variable = regexp.MustCompile(`CLIXNOW_[A-Z]+`)
	function = regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz)\w+)\(`)
)

// TestCommands checks that the commands "go test" of the documents name
// folders, tests and variables that exist.
func TestCommands(t *testing.T) {
	t.Parallel()
	checked := 0
	for _, page := range pages(t) {
		for _, match := range command.FindAllStringSubmatch(read(t, page), -1) {
			folder, patterns, packages := arguments(strings.Fields(match[2]))
			sources := testsOf(t, filepath.Join("../..", folder), packages)
			require.NotEmpty(t, sources, "%s: %s has no tests", page, match[0])
			var names []string
			for _, found := range function.FindAllStringSubmatch(sources, -1) {
				names = append(names, found[1])
			}
			for _, pattern := range patterns {
				checked++
				matches := regexp.MustCompile(pattern).MatchString
				assert.True(t, slices.ContainsFunc(names, matches), "%s: %s: there is no %s", page, match[0], pattern)
			}
			for _, name := range variable.FindAllString(match[1], -1) {
				assert.True(t, strings.Contains(sources, `"`+name+`"`), "%s: no test reads %s", page, name)
			}
		}
	}
	assert.Greater(t, checked, 10)
}

// arguments returns the folder of a command, the parts of the patterns that
// select tests, and the packages.
func arguments(words []string) (folder string, patterns, packages []string) {
	for i, word := range words {
		flag, value, _ := strings.Cut(word, "=")
		if value == "" && i+1 < len(words) {
			value = words[i+1]
		}
		switch {
		case flag == "-C":
			folder = value
		case slices.Contains([]string{"-run", "-bench", "-fuzz"}, flag):
			for pattern := range strings.SplitSeq(strings.Trim(value, "'"), "|") {
				if !slices.Contains([]string{"^$", "NAME", "^FuzzName$"}, pattern) {
					patterns = append(patterns, pattern)
				}
			}
		case word == "." || strings.HasPrefix(word, "./"):
			packages = append(packages, word)
		}
	}
	if packages == nil {
		packages = []string{"."}
	}
	return folder, patterns, packages
}

// testsOf returns the sources of the tests of packages.
func testsOf(t *testing.T, folder string, packages []string) string {
	t.Helper()
	var sources strings.Builder
	for _, name := range packages {
		name, below := strings.CutSuffix(name, "/...")
		top := filepath.Join(folder, name)
		err := filepath.WalkDir(top, func(file string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() && file != top && !below {
				return filepath.SkipDir
			}
			if err == nil && strings.HasSuffix(file, "_test.go") {
				sources.WriteString(read(t, file))
			}
			return err
		})
		require.NoError(t, err)
	}
	return sources.String()
}
