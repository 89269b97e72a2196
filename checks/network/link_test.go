package network_test

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// The addresses of a network. The kernel of the server has all of them except
// that of the client.
const (
	apiAddress    = "10.99.0.1"
	clientAddress = "10.99.0.2"
	proxyAddress  = "10.99.0.3"
	// movedAddress also serves the API.
	movedAddress  = "10.99.0.4"
	portalAddress = "10.99.0.5"
	dnsAddress    = "10.99.0.53"
)

// namespace is a network namespace. Its file keeps it alive.
type namespace struct{ file *os.File }

// newNamespace creates a network namespace with a TUN device that has the
// addresses. What the device sends is read from tun, and what is written to tun
// arrives at the device.
func newNamespace(addresses ...string) (space *namespace, tun *os.File, err error) {
	err = onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return os.NewSyscallError("unshare", err)
		}
		file, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			return err
		}
		tun, err = newTUN(addresses)
		if err != nil {
			return errors.Join(err, file.Close())
		}
		space = &namespace{file}
		return nil
	})
	return space, tun, err
}

// do calls f in a thread that is in the namespace. What f opens or starts is in
// the namespace too.
func (n *namespace) do(f func() error) error {
	return onOwnThread(func() error {
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return os.NewSyscallError("setns", err)
		}
		return f()
	})
}

// onOwnThread calls f in a thread that ends with f.
func onOwnThread(f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // A goroutine that ends locked ends its thread.
		result <- f()
	}()
	return <-result
}

func newTUN(addresses []string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "/dev/net/tun", Err: err}
	}
	if err := configure(fd, addresses); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "tun"), nil
}

// configure creates the device t0, gives it the addresses, and starts it and
// the loopback device.
func configure(tun int, addresses []string) error {
	control, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(control) }()
	set := func(fd int, request uint, device string, fill func(*unix.Ifreq) error) error {
		r, err := unix.NewIfreq(device)
		if err != nil {
			return err
		}
		return errors.Join(fill(r), os.NewSyscallError("ioctl", unix.IoctlIfreq(fd, request, r)))
	}
	flags := func(value uint16) func(*unix.Ifreq) error {
		return func(r *unix.Ifreq) error {
			r.SetUint16(value)
			return nil
		}
	}
	address := func(text string) func(*unix.Ifreq) error {
		ip := netip.MustParseAddr(text).As4()
		return func(r *unix.Ifreq) error { return r.SetInet4Addr(ip[:]) }
	}
	all := []error{
		set(tun, unix.TUNSETIFF, "t0", flags(unix.IFF_TUN|unix.IFF_NO_PI)),
		set(control, unix.SIOCSIFFLAGS, "lo", flags(unix.IFF_UP)),
	}
	for i, text := range addresses {
		device := "t0"
		if i > 0 {
			device += ":" + string(rune('0'+i))
		}
		all = append(all,
			set(control, unix.SIOCSIFADDR, device, address(text)),
			set(control, unix.SIOCSIFNETMASK, device, address("255.255.255.0")))
	}
	all = append(all, set(control, unix.SIOCSIFFLAGS, "t0", flags(unix.IFF_UP|unix.IFF_RUNNING)))
	return errors.Join(all...)
}

// packet is an IPv4 packet on its way.
type packet struct {
	data     []byte
	toServer bool
	// port is the port of the client in TCP. 0 means another protocol.
	port uint16
	// server is the address of the server.
	server string
	// opens reports that the packet opens a connection.
	opens bool
}

func parse(data []byte, toServer bool) (packet, bool) {
	const tcp = 6
	if len(data) < 20 || data[0]>>4 != 4 {
		return packet{}, false
	}
	p := packet{data: data, toServer: toServer}
	header, server, port := int(data[0]&15)*4, 12, 2
	if toServer {
		server, port = 16, 0
	}
	p.server = netip.AddrFrom4([4]byte(data[server : server+4])).String()
	if data[9] == tcp && len(data) >= header+20 {
		p.port = binary.BigEndian.Uint16(data[header+port:])
		p.opens = toServer && data[header+13]&0x12 == 0x02 // SYN without ACK
	}
	return p, true
}

// rule decides what happens to a packet. It calls send for each copy that
// arrives. send may also be called later, with the lock of the link.
type rule func(p packet, send func(packet))

func pass(p packet, send func(packet)) { send(p) }

// link carries packets between the client and the server.
type link struct {
	client, server *os.File
	running        sync.WaitGroup

	mu   sync.Mutex
	rule rule
	// ports holds the ports of all connections that the client has opened.
	ports []uint16
}

func newLink(client, server *os.File) *link {
	l := &link{client: client, server: server, rule: pass}
	l.running.Go(func() { l.carry(client, true) })
	l.running.Go(func() { l.carry(server, false) })
	return l
}

func (l *link) carry(from *os.File, toServer bool) {
	data := make([]byte, 1<<16)
	for {
		n, err := from.Read(data)
		if err != nil {
			return
		}
		p, ok := parse(slices.Clone(data[:n]), toServer)
		if !ok {
			continue
		}
		l.mu.Lock()
		if p.opens {
			l.ports = append(l.ports, p.port)
		}
		l.rule(p, l.send)
		l.mu.Unlock()
	}
}

func (l *link) send(p packet) {
	to := l.client
	if p.toServer {
		to = l.server
	}
	_, _ = to.Write(p.data) // The device may be closed.
}

func (l *link) set(r rule) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rule = r
}

// open returns the ports of the connections so far.
func (l *link) open() []uint16 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.ports)
}

func (l *link) close() {
	_ = l.client.Close()
	_ = l.server.Close()
	l.running.Wait()
}
