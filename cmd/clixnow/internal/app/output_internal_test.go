package app

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestWriteFile checks that an error names the file that the user gave.
func TestWriteFile(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	tests := []struct{ name, path, fault string }{
		{"new file", filepath.Join(folder, "new"), ""},
		{"missing folder", filepath.Join(folder, "no", "file"), "no such file or directory"},
		{"folder", folder, "file exists"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := WriteFile(test.path, []byte("data"))
			if test.fault != "" {
				require.EqualError(t, err, "write "+test.path+": "+test.fault)
				return
			}
			require.NoError(t, err)
			data, err := os.ReadFile(test.path)
			require.NoError(t, err)
			assert.Equal(t, "data", string(data))
		})
	}
}

// TestFullDisk checks that a full disk is reported once.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("there is no /dev/full")
	}
	err = save(full, []byte("data"))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.EqualError(t, Cause(err), syscall.ENOSPC.Error())
	assert.ErrorIs(t, full.Close(), os.ErrClosed)
}
