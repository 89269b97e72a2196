package app

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/clixnow/clixnow-go"
)

func TestVersion(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		info *debug.BuildInfo
		want string
	}{
		"a tag":          {&debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}}, "1.2.3"},
		"a changed file": {&debug.BuildInfo{Main: debug.Module{Version: "v1.2.3+dirty"}}, "1.2.3+dirty"},
		"no repository":  {&debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, clixnow.Version},
		"no version":     {&debug.BuildInfo{}, clixnow.Version},
		"no modules":     {nil, clixnow.Version},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, test.want, version(test.info))
		})
	}
}
