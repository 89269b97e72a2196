package npmtest

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestOutOfReach(t *testing.T) {
	t.Parallel()
	assert.True(t, outOfReach([]byte("npm error code ECONNREFUSED\nnpm error syscall connect")))
	assert.True(t,
		outOfReach([]byte("npm error code ENOTFOUND\nnpm error network request "+
			"to https://registry.npmjs.org/ajv failed")))
	assert.False(t, outOfReach([]byte("npm error code EINTEGRITY\nnpm error sha512-... integrity checksum failed")))
	assert.False(t,
		outOfReach([]byte("npm error code E404\nnpm error 404 Not Found - "+
			"GET https://registry.npmjs.org/@stoplight%2fprism")))
}
