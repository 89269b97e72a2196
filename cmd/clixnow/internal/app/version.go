package app

import (
	"runtime/debug"
	"strings"

	"github.com/clixnow/clixnow-go"
)

// Version returns the version of the program: that of the tag or of the commit
// that it was built from. If the build does not know it, Version returns that
// of the SDK.
func Version() string {
	info, _ := debug.ReadBuildInfo()
	return version(info)
}

func version(info *debug.BuildInfo) string {
	if info == nil || !strings.HasPrefix(info.Main.Version, "v") {
		return clixnow.Version
	}
	return info.Main.Version[1:]
}
