package monitor_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// smallDisk returns the path of a file on a disk of 2 MB. It skips the test if
// it may not mount one.
func smallDisk(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	mount := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder)
	if output, err := mount.CombinedOutput(); err != nil {
		t.Skipf("cannot mount a disk: %v: %s", err, output)
	}
	t.Cleanup(func() {
		unmount := exec.CommandContext(context.WithoutCancel(t.Context()), "umount", "-l", folder)
		if output, err := unmount.CombinedOutput(); err != nil {
			t.Errorf("cannot unmount the disk: %v: %s", err, output)
		}
	})
	return filepath.Join(folder, "signups.db")
}

// fill signs up until the disk is full.
func fill(t *testing.T, g *gateway) {
	t.Helper()
	for n := 0; ; n++ {
		if code, _ := send(t, "POST", g.visitors+"/signups", leadJSON(strings.Repeat("x", n+1))); code != 200 {
			return
		}
		if n == 900 {
			t.Fatal("the disk is not full")
		}
	}
}
