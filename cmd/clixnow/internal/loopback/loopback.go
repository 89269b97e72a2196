// Package loopback decides which requests are meant for a server of this
// machine, by their Host.
//
// The page of another site can send requests to such a server from a browser
// and read the responses, if that site changes its DNS to the address of the
// server (DNS rebinding). The Host of these requests is still the name of that
// site.
package loopback

import (
	"net"
	"slices"
	"strings"
)

// IsName reports whether a name or an address, without a port, means this
// machine.
func IsName(name string) bool {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	return name == "localhost" || strings.HasSuffix(name, ".localhost") || net.ParseIP(name).IsLoopback()
}

// Allows reports whether a request with this Host is meant for the server: the
// Host means this machine, or it is one of names. The port does not matter.
func Allows(host string, names ...string) bool {
	name := host
	if withoutPort, _, err := net.SplitHostPort(host); err == nil {
		name = withoutPort
	} else if inner, ok := strings.CutPrefix(host, "["); ok {
		name = strings.TrimSuffix(inner, "]")
	}
	name = strings.TrimSuffix(name, ".")
	return IsName(name) || name != "" &&
		slices.ContainsFunc(names, func(other string) bool { return strings.EqualFold(name, other) })
}
