package main

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// visitorIP returns the address of the visitor. It is the address of the
// connection. If that is a trusted proxy, it is the last address in
// X-Forwarded-For that is not a trusted proxy. Each proxy appends the address
// of its client, so an untrusted client may have invented the addresses before
// its own. If no address can be trusted, visitorIP returns the zero Addr, which
// is not sent.
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

// parseHop reads an address with or without a port, brackets and a zone,
// because proxies write different forms. It returns the zero Addr if text is
// not an address.
func parseHop(text string) netip.Addr {
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	if err != nil {
		withPort, _ := netip.ParseAddrPort(text) // zero if it fails
		addr = withPort.Addr()
	}
	return addr.Unmap().WithZone("")
}

// parseNetworks reads a list of networks or single addresses, separated by
// commas.
func parseNetworks(text string) (networks []netip.Prefix, err error) {
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		network, err := netip.ParsePrefix(part)
		if addr := parseHop(part); err != nil && addr.IsValid() {
			network, err = addr.Prefix(addr.BitLen())
		}
		if err != nil || network.Addr().Is4In6() {
			return nil, fmt.Errorf("%q is not a network like 10.0.0.0/8 or fd00::/8", part)
		}
		networks = append(networks, network.Masked())
	}
	return networks, nil
}
