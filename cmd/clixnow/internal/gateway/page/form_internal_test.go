package page

import (
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

func TestPassword(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	isSpecial := func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }
	for range 10_000 {
		password := newPassword()
		require.GreaterOrEqual(t, len(password), 8)
		for _, kind := range []func(rune) bool{unicode.IsUpper, unicode.IsLower, unicode.IsDigit, isSpecial} {
			require.True(t, strings.ContainsFunc(password, kind), password)
		}
		require.False(t, seen[password], password)
		seen[password] = true
	}
}
