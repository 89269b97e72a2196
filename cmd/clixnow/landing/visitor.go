package main

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// visitorIP returns the address of the visitor: that of the connection or,
// where it is a trusted proxy, the last one in X-Forwarded-For that is not.
// Each proxy appends the address that it was called from, so what stands
// further left was written by whoever called, and may be made up. The zero
// Addr, which is not sent, says that no address can be believed.
func visitorIP(r *http.Request, trusted []netip.Prefix) netip.Addr {
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(append(hops, r.RemoteAddr)) {
		addr := parseHop(strings.TrimSpace(hop))
		isProxy := slices.ContainsFunc(trusted, func(network netip.Prefix) bool { return network.Contains(addr) })
		if !isProxy {
			return addr
		}
	}
	return netip.Addr{}
}

// parseHop reads an address with or without port, brackets and zone, as
// different proxies write it.
func parseHop(text string) netip.Addr {
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	if err != nil {
		withPort, _ := netip.ParseAddrPort(text) // failing that too, it is the zero Addr
		addr = withPort.Addr()
	}
	return addr.Unmap().WithZone("")
}

// parseNetworks reads a list of networks, or single addresses, with commas
// between.
func parseNetworks(text string) (networks []netip.Prefix, err error) {
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		network, err := netip.ParsePrefix(part)
		if addr := parseHop(part); err != nil && addr.IsValid() {
			network, err = addr.Prefix(addr.BitLen())
		}
		if err != nil || network.Addr().Is4In6() {
			return nil, fmt.Errorf("%q is no network like 10.0.0.0/8 or fd00::/8", part)
		}
		networks = append(networks, network.Masked())
	}
	return networks, nil
}
