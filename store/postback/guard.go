package postback

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	requestTimeout = 20 * time.Second
	maxAnswer      = 64 << 10
)

// specialPrefixes are networks that are not on the public internet, beside
// those that package netip knows. Source: the special-purpose address
// registries of IANA.
var specialPrefixes = parsePrefixes(
	"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15",
	"198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16",
	"3fff::/20", "5f00::/16", "fec0::/10",
)

func parsePrefixes(texts ...string) (prefixes []netip.Prefix) {
	for _, text := range texts {
		prefixes = append(prefixes, netip.MustParsePrefix(text))
	}
	return prefixes
}

// isPublic reports whether an address belongs to the public internet. An
// IPv4-mapped address does not.
func isPublic(addr netip.Addr) bool {
	special := func(prefix netip.Prefix) bool { return prefix.Contains(addr.WithZone("")) }
	return addr.IsGlobalUnicast() && !addr.IsPrivate() && !addr.Is4In6() && !slices.ContainsFunc(specialPrefixes, special)
}

// isLoopback reports whether a host name is a name of this machine.
func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback() || strings.EqualFold(host, "localhost")
}

// guard decides which addresses a destination may reach.
type guard struct {
	// allowPrivate permits private, loopback and link-local addresses.
	allowPrivate bool
	// onlyLoopback is set if the scheme is http.
	onlyLoopback bool
}

// errPrivate is returned for an address that a postback must not reach.
var errPrivate = errors.New("the address is not on the public internet; " +
	"if you trust this host, write its name into allow_private")

// check returns an error if addr must not be reached.
func (g guard) check(addr netip.Addr) error {
	addr = addr.Unmap()
	switch {
	case g.onlyLoopback && !addr.IsLoopback():
		return errors.New("the address is not loopback, so http:// is refused")
	case addr.IsUnspecified() || addr.IsMulticast():
		return errPrivate
	case isPublic(addr) || g.allowPrivate:
		return nil
	}
	return errPrivate
}

// checkHost checks a host name before any name is resolved. It finds mistakes
// early. The addresses of names are checked when they are dialled.
func (g guard) checkHost(host string) error {
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Is4In6() {
			return errPrivate
		}
		return g.check(addr)
	}
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	last := labels[len(labels)-1]
	switch {
	case isLoopback(host) && !g.allowPrivate:
		return errPrivate
	case last == "" || last[0] >= '0' && last[0] <= '9':
		// Some resolvers read 2130706433, 0177.0.0.1 and 0x7f.1 as 127.0.0.1.
		return errors.New("the host must be a name or a usual IP address")
	}
	return nil
}

// control is called with each address before it is dialled. A name that
// resolves to another address the next time therefore gains nothing.
func (g guard) control(_, address string, _ syscall.RawConn) error {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("parse the address to dial: %w", err)
	}
	return g.check(target.Addr())
}

// newClient returns an HTTP client that follows no redirect and uses no proxy.
// A proxy would resolve the host by itself, and the addresses would not be
// checked.
func newClient(g guard, concurrency int, resolver *net.Resolver) *http.Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second, Control: g.control, Resolver: resolver}
	return &http.Client{
		Timeout:       requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:            dialer.DialContext,
			TLSHandshakeTimeout:    10 * time.Second,
			MaxResponseHeaderBytes: maxAnswer,
			MaxIdleConnsPerHost:    concurrency,
			IdleConnTimeout:        time.Minute,
			ForceAttemptHTTP2:      true,
			DisableCompression:     true,
		},
	}
}
