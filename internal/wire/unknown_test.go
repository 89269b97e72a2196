//go:build !race

package wire_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// With the race detector this test would take minutes and measure memory that
// is not that of a program.

// A small compressed body can hold millions of short members, and each takes
// much more memory in a map than on the wire.
//
//nolint:paralleltest // it measures the memory of the whole process
func TestUnknownMembersAreBounded(t *testing.T) {
	const tooMany = "more than 500000 unknown members in the document"
	nine := "{" + unknownMembers(9) + "}"
	for _, test := range []struct { //nolint:paralleltest // see above
		name, data string
		err        string
		// mib is the most memory that the result may take, in MiB.
		mib int64
	}{
		{"in one element", "[{" + unknownMembers(510_000) + "}]", "[0]: " + tooMany, 90},
		{"nine in each element", "[{}" + strings.Repeat(","+nine, 99_990) + "]", "[55556]: " + tooMany, 90},
		{"one in each element", "[{}" + strings.Repeat(`,{"x":1}`, 99_990) + "]", "", 70},
		{"the same one", `[{"x":1` + strings.Repeat(`,"x":1`, 510_000) + "}]", "[0]: " + tooMany, 20},
		{"beside the array", "{" + unknownMembers(510_000) + `,"items":[]}`, "", 20},
		{"within one member", `[{"x":{` + unknownMembers(510_000) + "}}]", "", 30},
		{"text that is not UTF-8", `[{"x":"` + strings.Repeat("\xff", 2<<20) + `"}]`, "", 20},
		{"field that is not UTF-8", `[{"name":"` + strings.Repeat("\xff", 2<<20) + `"}]`, "", 20},
	} {
		t.Run(test.name, func(t *testing.T) {
			data := []byte(test.data)
			before := allocated()
			var s sample
			list := make([]sample, 0, 100_000)
			err := s.wire().DecodeList(data, func() error {
				list = append(list, s)
				s = sample{}
				return nil
			})
			used := allocated() - before
			if test.err == "" {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, test.err)
			}
			t.Logf("%d MiB for a body of %d MiB", used>>20, len(data)>>20)
			assert.LessOrEqual(t, used>>20, test.mib)
			runtime.KeepAlive(list)
			runtime.KeepAlive(s)
			runtime.KeepAlive(data)
		})
	}
	t.Run("in one object", func(t *testing.T) {
		var s sample
		require.EqualError(t, s.wire().Decode([]byte("{"+unknownMembers(500_001)+"}")), tooMany)
	})
}
