package snippets_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile("(?m)^#+ (.*)$")
	code    = regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")
)

// TestLinks checks that each link of the documents leads to a file, and to a
// heading of it. It does not ask other sites.
func TestLinks(t *testing.T) {
	t.Parallel()
	links := 0
	for _, page := range pages(t) {
		for _, match := range link.FindAllStringSubmatch(code.ReplaceAllString(read(t, page), ""), -1) {
			target, anchor, _ := strings.Cut(match[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			links++
			file := page
			if target != "" {
				file = filepath.Join(filepath.Dir(page), target)
			}
			_, err := os.Stat(file)
			if assert.NoError(t, err, "%s links to %s", page, match[1]) && anchor != "" {
				assert.Contains(t, anchors(read(t, file)), anchor, "%s links to %s", page, match[1])
			}
		}
	}
	assert.Greater(t, links, 40)
}

// pages returns all documents of the repository.
func pages(t *testing.T) (found []string) {
	t.Helper()
	err := filepath.WalkDir("../..", func(file string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == ".git") {
			return filepath.SkipDir
		}
		if err == nil && filepath.Ext(file) == ".md" {
			found = append(found, file)
		}
		return err
	})
	require.NoError(t, err)
	require.Greater(t, len(found), 20)
	return found
}

// anchors returns the anchors that GitHub gives to the headings of a page.
func anchors(page string) (all []string) {
	for _, match := range heading.FindAllStringSubmatch(page, -1) {
		anchor := regexp.MustCompile(`[^\w\- ]`).ReplaceAllString(strings.ToLower(match[1]), "")
		all = append(all, strings.ReplaceAll(anchor, " ", "-"))
	}
	return all
}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Clean(file))
	require.NoError(t, err)
	return string(data)
}
