package browser_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

// programs is the folder of the programs under test: clixnow, and admin.test,
// which shows the admin page.
var programs string //nolint:gochecknoglobals // TestMain sets it, so that each program is built once

func TestMain(m *testing.M) {
	if err := build(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(programs)
		os.Exit(code)
	}))
}

func build() (err error) {
	if programs, err = os.MkdirTemp("", "browser"); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"build", "-o", filepath.Join(programs, "clixnow"), "."},
		{"test", "-c", "-o", filepath.Join(programs, "admin.test"), "./internal/gateway/admin"},
	} {
		command := exec.Command("go", args...) //nolint:noctx // tests have not begun
		command.Dir = filepath.Join("..", "..", "cmd", "clixnow")
		command.Env = append(command.Environ(), "CGO_ENABLED=0") // as in a release
		if output, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("go %s: %w\n%s", args[0], err, output)
		}
	}
	return nil
}
