// Package promises_test checks that each test named in the table of promises
// exists.
package promises_test

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

// docs/promises.md names for each promise the tests that hold it.
func TestPromisesAreTested(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/promises.md")
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
