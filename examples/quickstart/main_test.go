package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestRun(t *testing.T) { //nolint:paralleltest // looks for goroutines that are left
	defer goleak.VerifyNone(t)
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out))
	for _, want := range []string{
		"Registered lead 123456. Send the visitor to\n  https://",
		"allison.brown@example.com  Deposited",
		"lead2@example.com",
		"autumn",
		"a duplicate: true, and nothing was created: true",
		"unauthorized: true",
	} {
		assert.Contains(t, out.String(), want)
	}
	assert.NotContains(t, out.String(), "Password123!")
}
