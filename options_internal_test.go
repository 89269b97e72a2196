package clixnow

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The defaults are those of the documentation. If one bound of the back-off is
// set beyond the default of the other one, that default is moved.
func TestDefaults(t *testing.T) {
	t.Parallel()
	const shortest, longest = 250 * time.Millisecond, 10 * time.Second
	for given, want := range map[RetryPolicy]RetryPolicy{
		{}:                                   {MaxAttempts: 3, MinBackoff: shortest, MaxBackoff: longest},
		{MaxAttempts: 1}:                     {MaxAttempts: 1, MinBackoff: shortest, MaxBackoff: longest},
		{MinBackoff: 1}:                      {MaxAttempts: 3, MinBackoff: 1, MaxBackoff: longest},
		{MinBackoff: time.Minute}:            {MaxAttempts: 3, MinBackoff: time.Minute, MaxBackoff: time.Minute},
		{MaxBackoff: 1}:                      {MaxAttempts: 3, MinBackoff: 1, MaxBackoff: 1},
		{MaxBackoff: time.Minute}:            {MaxAttempts: 3, MinBackoff: shortest, MaxBackoff: time.Minute},
		{MinBackoff: 1, MaxBackoff: 2}:       {MaxAttempts: 3, MinBackoff: 1, MaxBackoff: 2},
		{MinBackoff: longest, MaxBackoff: 0}: {MaxAttempts: 3, MinBackoff: longest, MaxBackoff: longest},
	} {
		client, err := NewClient("acme", "token", WithRetry(given))
		require.NoError(t, err)
		assert.Equal(t, want, client.retry)
		assert.Equal(t, want.MaxAttempts, client.caller.Attempts)
		assert.Equal(t, want.MinBackoff, client.caller.MinBackoff)
		assert.Equal(t, want.MaxBackoff, client.caller.MaxBackoff)
		assert.Equal(t, int64(32<<20), client.caller.MaxBytes)
	}
}
