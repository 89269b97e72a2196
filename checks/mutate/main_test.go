package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMutantsOf(t *testing.T) {
	t.Parallel()
	const source = `package x

import "fmt"

const most = 10

func f(n int, err error) error {
	if n < most && !ok {
		return err
	}
	n++
	n = 2
	fmt.Println("n")
	return nil
}
`
	mutants, err := mutantsOf("x.go", []byte(source))
	require.NoError(t, err)
	var got []string
	for _, m := range mutants {
		got = append(got, m.old+" -> "+m.text)
		assert.Equal(t, source, string(m.apply([]byte(source)))[:m.start]+m.old+source[m.end:], "the rest stays")
		assert.Contains(t, m.name(), "x.go: ")
	}
	assert.Equal(t, []string{
		"10 -> (10+1)",
		"n < most && !ok -> false && (n < most && !ok)",
		"n < most && !ok -> true || (n < most && !ok)",
		"&& -> ||",
		"< -> <=",
		"! -> ",
		"err -> nil",
		"++ -> --",
		"n = 2 -> _ = 0",
		"2 -> (2+1)",
		`fmt.Println("n") -> _ = 0`,
	}, got)
}

// The module has one test, which notices half of the breakages of its function.
func TestRun(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module x\n\ngo 1.25\n",
		"x.go":   "package x\n\nfunc Less(a, b int) bool { return a < b }\n\nfunc Most() int { return 10 }\n",
		"x_test.go": "package x\n\nimport \"testing\"\n\n" +
			"func TestLess(t *testing.T) {\n\tif Less(1, 1) {\n\t\tt.Fatal()\n\t}\n}\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(root, name), []byte(text), 0o600))
	}
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out, []string{"-root", root}))
	assert.Equal(t, `2 of 2 breakages, seed 1
not noticed: x.go:5: x.go: func Most() int { return 10 }: "10" becomes "(10+1)"
noticed 1 of 2 that change behaviour (50.0 %); 0 known to change none; 0 do not compile
`, out.String())

	known := filepath.Join(root, "checks", "mutate")
	require.NoError(t, os.MkdirAll(known, 0o700))
	line := `x.go: func Most() int { return 10 }: "10" becomes "(10+1)" # nobody calls it`
	require.NoError(t, os.WriteFile(filepath.Join(known, "equivalent.txt"), []byte(line), 0o600))
	out.Reset()
	require.NoError(t, run(t.Context(), &out, []string{"-root", root}))
	assert.Contains(t, out.String(), "noticed 1 of 1 that change behaviour (100.0 %); 1 known to change none")
}
