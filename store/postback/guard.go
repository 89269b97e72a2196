package postback

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"code.dny.dev/ssrf"

	"github.com/clixnow/clixnow-go/store/internal/template"
)

const (
	requestTimeout = 20 * time.Second
	maxAnswer      = 64 << 10
)

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
	private := ssrf.New(ssrf.WithAnyPort()).SafeAddr(addr) != nil
	switch {
	case g.onlyLoopback && !addr.IsLoopback():
		return errors.New("the address is not loopback, so http:// is refused")
	case addr.IsUnspecified() || addr.IsMulticast() || private && !g.allowPrivate:
		return errPrivate
	}
	return nil
}

// checkHost checks a host before its name is resolved, to find mistakes early.
// The addresses of a name are checked when they are dialled.
func (g guard) checkHost(host string) error {
	addr, err := netip.ParseAddr(host)
	last := host[strings.LastIndex(strings.TrimSuffix(host, "."), ".")+1:]
	switch {
	case err == nil && addr.Is4In6(), template.IsLoopback(host) && !g.allowPrivate:
		return errPrivate
	case err == nil:
		return g.check(addr)
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
			DialContext: dialer.DialContext, ForceAttemptHTTP2: true, DisableCompression: true,
			TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: time.Minute,
			MaxIdleConnsPerHost: concurrency, MaxResponseHeaderBytes: maxAnswer,
		},
	}
}
