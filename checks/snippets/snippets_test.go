package snippets

import (
	"go/format"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var goBlock = regexp.MustCompile("(?s)```go\n(.*?)```")

// TestEachBlockIsCompiled checks that the lines of each Go block of the
// documents stand in one Go file, in the same order. That file is compiled.
func TestEachBlockIsCompiled(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	documents, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	require.NoError(t, err)
	sources := goFiles(t, ".", filepath.Join(root, "examples"), filepath.Join(root, "router"))
	blocks := 0
	for _, document := range append(documents, filepath.Join(root, "README.md")) {
		text, err := os.ReadFile(document)
		require.NoError(t, err)
		for _, match := range goBlock.FindAllSubmatch(text, -1) {
			blocks++
			block := lines(string(match[1]))
			found := false
			for _, source := range sources {
				found = found || contains(source, block)
			}
			assert.True(t, found, "%s: no Go file has the block that begins with %q", document, block[0])
		}
	}
	assert.Greater(t, blocks, 15)
}

func goFiles(t *testing.T, folders ...string) (files [][]string) {
	t.Helper()
	for _, folder := range folders {
		require.NoError(t, filepath.WalkDir(folder, func(name string, _ fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(name) != ".go" {
				return err
			}
			text, err := os.ReadFile(name)
			files = append(files, lines(string(text)))
			return err
		}))
	}
	return files
}

// lines returns the lines of a text without indentation and without empty
// lines.
func lines(text string) (lines []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// contains reports whether the lines of block stand in file in the same order.
// Other lines may stand between them.
func contains(file, block []string) bool {
	for _, line := range file {
		if len(block) > 0 && strings.Join(strings.Fields(line), " ") == strings.Join(strings.Fields(block[0]), " ") {
			block = block[1:]
		}
	}
	return len(block) == 0
}

func TestContains(t *testing.T) {
	t.Parallel()
	file := lines("a\n\tb\nc\n")
	assert.True(t, contains(file, []string{"a", "c"}))
	assert.False(t, contains(file, []string{"c", "a"}))
	assert.False(t, contains(file, []string{"d"}))
}

// TestProgram runs the program of README.md, and compares what it prints with
// what README.md says.
func TestProgram(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	require.NoError(t, err)
	block := goBlock.FindSubmatch(text)[1]
	formatted, err := format.Source(block)
	require.NoError(t, err)
	assert.Equal(t, string(formatted), string(block), "the program of README.md is not formatted")

	program := exec.CommandContext(t.Context(), "go", "run", "./program")
	program.Env = append(program.Environ(), "CGO_ENABLED=0") // as in a release
	output, err := program.CombinedOutput()
	require.NoError(t, err, "%s", output)
	var want strings.Builder
	_, after, _ := strings.Cut(string(text), "It prints:\n\n")
	for line := range strings.Lines(after) {
		if !strings.HasPrefix(line, "    ") {
			break
		}
		want.WriteString(strings.TrimPrefix(line, "    "))
	}
	assert.Equal(t, want.String(), string(output))
}
