package main

import (
	"net"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app/apptest"
)

// startMock starts the program as a user does. TestMain puts it into PATH.
func startMock(t *testing.T, args ...string) (*exec.Cmd, *apptest.Output) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such signals")
	}
	out := new(apptest.Output)
	command := exec.CommandContext(t.Context(), "clixnow", append([]string{"mock"}, args...)...)
	command.Stdout, command.Stderr = out, out
	require.NoError(t, command.Start())
	return command, out
}

func TestMockSignals(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			command, out := startMock(t, "--addr", "127.0.0.1:0")
			out.WaitFor(t, "Press Ctrl-C to stop")
			require.NoError(t, command.Process.Signal(signal))
			require.NoError(t, command.Wait(), "exit code 0")
			assert.Contains(t, out.String(), "Stopping.")
		})
	}
	t.Run("twice", func(t *testing.T) {
		t.Parallel()
		command, out := startMock(t, "--addr", "127.0.0.1:0")
		address := strings.TrimPrefix(out.WaitFor(t, `http://127\.0\.0\.1:\d+`), "http://")
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
		require.NoError(t, err)
		defer conn.Close()
		_, err = conn.Write([]byte("POST /api/system/v1/leads HTTP/1.1\r\n" +
			"Host: localhost\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n"))
		require.NoError(t, err)
		// After "100 Continue" the server waits for the body. So the first
		// signal cannot stop the program at once.
		_, err = conn.Read(make([]byte, 10))
		require.NoError(t, err)
		require.NoError(t, command.Process.Signal(syscall.SIGTERM))
		out.WaitFor(t, "Stopping.")
		// The program may still be about to let go of signals when it prints
		// this.
		ended := make(chan error, 1)
		go func() { ended <- command.Wait() }()
		require.Eventually(t, func() bool {
			_ = command.Process.Signal(syscall.SIGTERM) // it fails if the program has ended
			return len(ended) > 0
		}, 9*time.Second, 10*time.Millisecond)
		require.ErrorContains(t, <-ended, "signal: terminated")
	})
}
