//go:build unix

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMutants(t *testing.T) {
	t.Parallel()
	const source = `package x

import "fmt"

const most = 10

func f(n int, ok bool, err error) error {
	if n < most && !ok {
		return err
	}
	n++
	n -= 2
	switch n {
	case 3, 4:
		fmt.Println("n")
	}
	return nil
}
`
	root := t.TempDir()
	write(t, root, "go.mod", "module x\n\ngo 1.25\n")
	write(t, root, "x.go", source)
	r, err := newRunner(t.Context(), root, t.TempDir(), regexp.MustCompile("."))
	require.NoError(t, err)
	var got, alone []string
	for _, m := range r.mutants {
		got = append(got, m.old+" -> "+m.text)
		assert.Equal(t, source, string(m.apply([]byte(source)))[:m.start]+m.old+source[m.end:], "the rest stays")
		assert.Contains(t, m.name(), "x.go: ")
		if m.switched == nil {
			alone = append(alone, m.old)
		}
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
		"n -= 2 -> _ = 0",
		"-= -> +=",
		"2 -> (2+1)",
		"3,  -> ",
		"3 -> (3+1)",
		"4 -> (4+1)",
		`fmt.Println("n") -> _ = 0`,
	}, got)
	assert.Equal(t, []string{"10"}, alone)
	broken, err := os.ReadFile(filepath.Join(r.work, "src", "x.go"))
	require.NoError(t, err)
	assert.Contains(t, string(broken), "\tif !mutateOn(9) { n -= mutateNegate[int](10, mutateOneMore[int](11, 2)) }\n")
}

func write(t *testing.T, root, name, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(root, name), []byte(text), 0o600))
}

// The module has one test. It reaches two functions of three, and notices the
// breakages of one. A constant is compiled alone. A loop without end is
// noticed.
func TestRun(t *testing.T) {
	t.Parallel()
	root, work := t.TempDir(), t.TempDir()
	write(t, root, "go.mod", "module x\n\ngo 1.25\n")
	write(t, root, "x.go", `package x

func Less(a, b int) bool { return a < b }

func Most() int { return 10 }

func Least() int { return 1 }

const limit = 5

func Limit() int { return limit }

func Count() (n int) {
	for n < 10 {
		n++
	}
	return n
}
`)
	write(t, root, "x_test.go", `package x

import "testing"

func TestAll(t *testing.T) {
	if Less(1, 1) || Most() == 0 || Limit() != 5 || Count() != 10 {
		t.Fatal()
	}
}
`)
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out, []string{"-root", root, "-work", work}))
	assert.Equal(t, `7 of 7 breakages, seed 1
survived: x.go:5: x.go: Most: func Most() int { return 10 }: "10" becomes "(10+1)"
not reached: x.go:7: x.go: Least: func Least() int { return 1 }: "1" becomes "(1+1)"
.: noticed 5 of 7 that change behaviour (71.4 %), 1 of them by a timeout; 1 survived, 1 not reached; `+
		`0 known to change none; 0 do not compile
`, out.String())
	results, err := os.ReadFile(filepath.Join(work, "results.txt"))
	require.NoError(t, err)
	assert.Contains(t, string(results), `timed out: x.go: Count: n++: "++" becomes "--"`)

	// A second run goes on from there.
	write(t, root, "checks/mutate/equivalent.txt",
		`x.go: Most: func Most() int { return 10 }: "10" becomes "(10+1)" # a reason`)
	write(t, work, "results.txt", strings.Replace(string(results), "survived: ", "noticed: ", 1))
	out.Reset()
	require.NoError(t, run(t.Context(), &out, []string{"-root", root, "-work", work}))
	assert.Contains(t, out.String(), "noticed 6 of 7 that change behaviour (85.7 %), 1 of them by a timeout; "+
		"0 survived")
	out.Reset()
	require.NoError(t, run(t.Context(), &out, []string{"-root", root, "-files", "x.go", "-j", "1"}))
	assert.Contains(t, out.String(), "noticed 5 of 6 that change behaviour (83.3 %), 1 of them by a timeout; "+
		"0 survived, 1 not reached; 1 known to change none")
}

// A slow test runs subtest by subtest.
func TestSubtests(t *testing.T) {
	t.Parallel()
	root, work := t.TempDir(), t.TempDir()
	write(t, root, "go.mod", "module x\n\ngo 1.25\n")
	write(t, root, "x.go", `package x

func Less(a, b int) bool { return a < b }

func More(a, b int) bool { return a > b }

func Most() int { return 10 }
`)
	write(t, root, "x_test.go", `package x

import (
	"testing"
	"time"
)

func TestAll(t *testing.T) {
	for name, test := range map[string]func() bool{
		"less (than)": func() bool { return !Less(1, 1) },
		"more|Postgre": func() bool { return !More(1, 1) },
		"more": func() bool { return !More(1, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if !test() {
				t.Error()
			}
		})
	}
	time.Sleep(1100 * time.Millisecond)
	if Most() != 10 {
		t.Error()
	}
}
`)
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out, []string{"-root", root, "-work", work}))
	assert.Contains(t, out.String(), "noticed 3 of 3 that change behaviour")

	r, err := newRunner(t.Context(), root, work, regexp.MustCompile("."))
	require.NoError(t, err)
	require.NoError(t, r.prepare(t.Context(), &out, r.mutants, 1))
	tests := func(id int) [][]string {
		return r.programs["."].batches(func(t *test) bool { return slices.Contains(t.Reached, id) })
	}
	assert.Equal(t, [][]string{{"TestAll/less_(than)"}}, tests(1))
	assert.Equal(t, [][]string{{"TestAll/more"}, {"TestAll/more|Postgre"}}, tests(2))
	assert.Len(t, slices.Concat(tests(3)...), 3, "each subtest begins with the test")
}
