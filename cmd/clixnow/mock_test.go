package main

import (
	"bytes"
	"net"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// output holds what a program has printed.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(data []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(data)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// waitFor waits until the output matches a pattern, and returns the first
// match.
func (o *output) waitFor(t *testing.T, pattern string) string {
	t.Helper()
	var found string
	require.Eventually(t, func() bool {
		found = regexp.MustCompile(pattern).FindString(o.String())
		return found != ""
	}, time.Minute, time.Millisecond, "waited for %s", pattern)
	return found
}

// startMock starts the program as a user does. TestMain puts it into PATH.
func startMock(t *testing.T, args ...string) (*exec.Cmd, *output) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such signals")
	}
	out := new(output)
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
			out.waitFor(t, "Press Ctrl-C to stop")
			require.NoError(t, command.Process.Signal(signal))
			require.NoError(t, command.Wait(), "exit code 0")
			assert.Contains(t, out.String(), "Stopping.")
		})
	}
	t.Run("twice", func(t *testing.T) {
		t.Parallel()
		command, out := startMock(t, "--addr", "127.0.0.1:0")
		address := strings.TrimPrefix(out.waitFor(t, `http://127\.0\.0\.1:\d+`), "http://")
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
		out.waitFor(t, "Stopping.")
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
