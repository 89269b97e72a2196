// Package apptest helps to test commands.
package apptest

import (
	"bytes"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Output collects what a command writes. It is safe for concurrent use, so a
// test can read it while the command runs.
type Output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write appends text.
func (o *Output) Write(text []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(text)
}

// String returns what was written so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// WaitFor waits until the output matches a pattern, and returns the first
// match.
func (o *Output) WaitFor(t *testing.T, pattern string) string {
	t.Helper()
	var found string
	require.Eventually(t, func() bool {
		found = regexp.MustCompile(pattern).FindString(o.String())
		return found != ""
	}, time.Minute, time.Millisecond, "waited for %s", pattern)
	return found
}
